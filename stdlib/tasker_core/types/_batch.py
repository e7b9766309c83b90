"""Decisions about further steps, and work that is split into batches."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field

from tasker_core.types._enums import DecisionType, FailureStrategy
from tasker_core.types._model import Model

if TYPE_CHECKING:
    from tasker_core.types._context import StepContext


class DecisionPointOutcome(Model):
    """Which steps a decision step wants to be created.

    >>> DecisionPointOutcome.create_steps(["pay"], routing_context={"path": "auto"}).next_step_names
    ['pay']
    >>> DecisionPointOutcome.no_branches("nothing to do").reason
    'nothing to do'
    """

    decision_type: DecisionType
    next_step_names: list[str] = Field(default_factory=list)
    dynamic_steps: list[dict[str, Any]] | None = None
    reason: str | None = None
    routing_context: dict[str, Any] = Field(default_factory=dict)

    @classmethod
    def create_steps(
        cls,
        step_names: list[str],
        dynamic_steps: list[dict[str, Any]] | None = None,
        routing_context: dict[str, Any] | None = None,
    ) -> "DecisionPointOutcome":
        """Return the decision to go on with ``step_names``."""
        return cls(
            decision_type=DecisionType.CREATE_STEPS,
            next_step_names=step_names,
            dynamic_steps=dynamic_steps,
            routing_context=routing_context or {},
        )

    @classmethod
    def no_branches(
        cls, reason: str, routing_context: dict[str, Any] | None = None
    ) -> "DecisionPointOutcome":
        """Return the decision to create nothing, and why."""
        return cls(
            decision_type=DecisionType.NO_BRANCHES,
            reason=reason,
            routing_context=routing_context or {},
        )


class CursorConfig(Model):
    """A half-open range of items: ``start_cursor`` up to before ``end_cursor``.

    >>> CursorConfig(start_cursor=0, end_cursor=100).step_size
    1
    """

    start_cursor: int
    end_cursor: int
    step_size: int = 1
    metadata: dict[str, Any] = Field(default_factory=dict)


class BatchAnalyzerOutcome(Model):
    """The ranges that an analyzer has split the work into.

    >>> outcome = BatchAnalyzerOutcome.from_ranges([(0, 100), (100, 150)], total_items=150)
    >>> [cursor.end_cursor for cursor in outcome.cursor_configs]
    [100, 150]
    """

    cursor_configs: list[CursorConfig] = Field(default_factory=list)
    total_items: int | None = None
    batch_metadata: dict[str, Any] = Field(default_factory=dict)

    @classmethod
    def from_ranges(
        cls,
        ranges: Iterable[tuple[int, int]],
        step_size: int = 1,
        total_items: int | None = None,
        batch_metadata: dict[str, Any] | None = None,
    ) -> "BatchAnalyzerOutcome":
        """Return an outcome with one range per ``(start, end)`` pair."""
        return cls(
            cursor_configs=[
                CursorConfig(start_cursor=start, end_cursor=end, step_size=step_size)
                for start, end in ranges
            ],
            total_items=total_items,
            batch_metadata=batch_metadata or {},
        )


class BatchWorkerContext(Model):
    """The batch that a worker step is to process.

    >>> from tasker_core.testing import step_context
    >>> context = step_context(
    ...     step_inputs={"cursor": {"batch_id": "002", "start_cursor": 100, "end_cursor": 200}}
    ... )
    >>> batch = BatchWorkerContext.from_step_context(context)
    >>> batch.batch_id, batch.start_cursor, batch.end_cursor
    ('002', 100, 200)
    """

    batch_id: str
    cursor_config: CursorConfig
    batch_index: int
    total_batches: int
    batch_metadata: dict[str, Any] = Field(default_factory=dict)
    checkpoint: dict[str, Any] = Field(default_factory=dict)

    @classmethod
    def from_step_context(cls, step_context: "StepContext") -> "BatchWorkerContext | None":
        """Return the batch of a step, or ``None`` if it has none.

        Raises:
            pydantic.ValidationError: the cursors are not integers; use
                :class:`RustBatchWorkerInputs` for such batches.
        """
        checkpoint = _checkpoint(step_context)
        inputs = step_context.step_inputs
        if inputs and "cursor" in inputs:
            cursor = inputs["cursor"]
            return cls(
                batch_id=cursor.get("batch_id") or "",
                cursor_config=CursorConfig(
                    start_cursor=cursor.get("start_cursor", 0),
                    end_cursor=cursor.get("end_cursor", 0),
                    step_size=cursor.get("step_size", cursor.get("batch_size", 1)),
                    metadata=cursor.get("metadata") or {},
                ),
                batch_index=0,
                total_batches=1,
                batch_metadata=inputs.get("batch_metadata") or {},
                checkpoint=checkpoint,
            )
        batch = step_context.step_config.get("batch_context")
        if batch is None:
            batch = step_context.input_data.get("batch_context")
        if batch is None:
            return None
        cursor = batch.get("cursor_config") or {}
        return cls(
            batch_id=batch.get("batch_id", ""),
            cursor_config=CursorConfig(
                start_cursor=cursor.get("start_cursor", 0),
                end_cursor=cursor.get("end_cursor", 0),
                step_size=cursor.get("step_size", 1),
                metadata=cursor.get("metadata") or {},
            ),
            batch_index=batch.get("batch_index", 0),
            total_batches=batch.get("total_batches", 1),
            batch_metadata=batch.get("batch_metadata") or {},
            checkpoint=checkpoint,
        )

    @property
    def start_cursor(self) -> int:
        """The first item of the batch."""
        return self.cursor_config.start_cursor

    @property
    def end_cursor(self) -> int:
        """The first item after the batch."""
        return self.cursor_config.end_cursor

    @property
    def step_size(self) -> int:
        """How far the cursor moves at a time."""
        return self.cursor_config.step_size

    @property
    def checkpoint_cursor(self) -> Any:
        """Where to go on from, or ``None``."""
        return self.checkpoint.get("cursor")

    @property
    def accumulated_results(self) -> Any:
        """What earlier runs have gathered, or ``None``."""
        return self.checkpoint.get("accumulated_results")

    @property
    def checkpoint_items_processed(self) -> int:
        """How many items earlier runs have processed."""
        return int(self.checkpoint.get("items_processed") or 0)

    def has_checkpoint(self) -> bool:
        """Return whether there is a place to go on from (0 is one)."""
        return self.checkpoint_cursor is not None


def _checkpoint(step_context: Any) -> dict[str, Any]:
    """Return the stored progress of a step.

    It is read from the event, and not from ``step_context.checkpoint``: tests
    pass contexts of their own that have little more than an event and inputs.
    """
    payload = getattr(getattr(step_context, "event", None), "task_sequence_step", None)
    step = payload.get("workflow_step") if isinstance(payload, dict) else None
    checkpoint = step.get("checkpoint") if isinstance(step, dict) else None
    return checkpoint or {}


class BatchWorkerOutcome(Model):
    """What became of the items of one batch.

    >>> BatchWorkerOutcome(items_processed=10, items_failed=1).items_skipped
    0
    """

    items_processed: int = 0
    items_succeeded: int = 0
    items_failed: int = 0
    items_skipped: int = 0
    results: list[dict[str, Any]] = Field(default_factory=list)
    errors: list[dict[str, Any]] = Field(default_factory=list)
    last_cursor: int | None = None
    batch_metadata: dict[str, Any] = Field(default_factory=dict)


class RustCursorConfig(Model):
    """A batch as orchestration knows it; cursors may be of any JSON type."""

    batch_id: str
    start_cursor: Any
    end_cursor: Any
    batch_size: int


class BatchMetadata(Model):
    """How orchestration runs the batches of a step."""

    cursor_field: str
    failure_strategy: FailureStrategy


class RustBatchWorkerInputs(Model):
    """The inputs that orchestration gives to a batch worker step."""

    cursor: RustCursorConfig
    batch_metadata: BatchMetadata
    is_no_op: bool


class NoBatchesOutcome(Model):
    """An analyzer found nothing to do."""

    type: str = "no_batches"


class CreateBatchesOutcome(Model):
    """An analyzer wants worker steps to be created."""

    type: str = "create_batches"
    worker_template_name: str
    worker_count: int
    cursor_configs: list[RustCursorConfig]
    total_items: int


BatchProcessingOutcome = NoBatchesOutcome | CreateBatchesOutcome


class BatchAggregationResult(Model):
    """The results of all batches, summed up."""

    total_processed: int
    total_succeeded: int
    total_failed: int
    total_skipped: int
    batch_count: int
    success_rate: float
    errors: list[dict[str, Any]] = Field(default_factory=list)
    error_count: int


def no_batches() -> NoBatchesOutcome:
    """Return the outcome of an analyzer that found nothing to do."""
    return NoBatchesOutcome()


def create_batches(
    worker_template_name: str,
    worker_count: int,
    cursor_configs: list[RustCursorConfig],
    total_items: int,
) -> CreateBatchesOutcome:
    """Return the outcome of an analyzer that wants ``worker_count`` workers.

    Raises:
        ValueError: there is not exactly one cursor configuration per worker.
    """
    if len(cursor_configs) != worker_count:
        raise ValueError(
            f"cursor_configs length ({len(cursor_configs)}) "
            f"must equal worker_count ({worker_count})"
        )
    return CreateBatchesOutcome(
        worker_template_name=worker_template_name,
        worker_count=worker_count,
        cursor_configs=cursor_configs,
        total_items=total_items,
    )


def aggregate_batch_results(
    worker_results: Sequence[Mapping[str, Any] | None], max_errors: int = 100
) -> BatchAggregationResult:
    """Sum up the results of batch workers; ``None`` entries do not count.

    At most ``max_errors`` errors are kept; ``error_count`` tells how many
    there were.
    """
    results = [result for result in worker_results if result is not None]
    errors: list[dict[str, Any]] = []
    for result in results:
        found = result.get("errors")
        if isinstance(found, list):
            errors.extend(found)
    processed = sum(result.get("items_processed", 0) for result in results)
    succeeded = sum(result.get("items_succeeded", 0) for result in results)
    return BatchAggregationResult(
        total_processed=processed,
        total_succeeded=succeeded,
        total_failed=sum(result.get("items_failed", 0) for result in results),
        total_skipped=sum(result.get("items_skipped", 0) for result in results),
        batch_count=len(results),
        success_rate=succeeded / processed if processed > 0 else 0.0,
        errors=errors[:max_errors],
        error_count=len(errors),
    )
