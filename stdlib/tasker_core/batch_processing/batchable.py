"""The mixin for analyzers, batch workers and aggregators."""

from collections.abc import Callable, Iterable
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, cast
from uuid import uuid4

from pydantic import ValidationError

from tasker_core.batch_processing._scenario import BatchAggregationScenario
from tasker_core.logging import log_debug, log_warn
from tasker_core.types import (
    BatchAnalyzerOutcome,
    BatchWorkerContext,
    BatchWorkerOutcome,
    CursorConfig,
    RustBatchWorkerInputs,
    RustCursorConfig,
    StepContext,
    StepHandlerResult,
    create_batches,
    no_batches,
)

if TYPE_CHECKING:
    from tasker_core.step_handler.base import StepHandler

__all__ = ["BatchAggregationScenario", "BatchWorkerConfig", "Batchable"]

_MAX_AGGREGATED_ERRORS = 100


class _Zero(int):
    """A zero that can be told from one that a caller has written."""

    def __repr__(self) -> str:
        return "0"


_NOT_GIVEN = _Zero(0)


class BatchWorkerConfig:
    """One worker's share of the work: ``cursor_start`` up to before ``cursor_end``.

    >>> config = BatchWorkerConfig("001", 0, 334, 334, worker_index=0, total_workers=3)
    >>> config.to_dict()["row_count"]
    334
    """

    def __init__(
        self,
        batch_id: str,
        cursor_start: int,
        cursor_end: int,
        row_count: int,
        worker_index: int,
        total_workers: int,
    ) -> None:
        self.batch_id = batch_id
        self.cursor_start = cursor_start
        self.cursor_end = cursor_end
        self.row_count = row_count
        self.worker_index = worker_index
        self.total_workers = total_workers

    def to_dict(self) -> dict[str, Any]:
        """Return the attributes by their names."""
        return {
            "batch_id": self.batch_id,
            "cursor_start": self.cursor_start,
            "cursor_end": self.cursor_end,
            "row_count": self.row_count,
            "worker_index": self.worker_index,
            "total_workers": self.total_workers,
        }


class Batchable:
    """Lets a step handler work in batches; put it before or after ``StepHandler``.

    What only computes (ranges, outcomes, contexts, scenarios) works on any
    class; what returns a result of the handler needs ``StepHandler``.

    >>> from tasker_core import Batchable, StepHandler
    >>> class Analyze(StepHandler, Batchable):
    ...     def call(self, context):
    ...         outcome = self.create_batch_outcome(total_items=250, batch_size=100)
    ...         return self.batch_analyzer_success(outcome, worker_template_name="process")
    >>> result = Analyze().call(None).result
    >>> result["worker_count"], result["total_items"]
    (3, 250)
    >>> result["batch_processing_outcome"]["cursor_configs"][2]
    {'batch_id': '003', 'start_cursor': 200, 'end_cursor': 250, 'batch_size': 50}
    """

    # Analyzer: cut the work.

    def create_cursor_config(
        self,
        start: int,
        end: int,
        step_size: int = 1,
        metadata: dict[str, Any] | None = None,
    ) -> CursorConfig:
        """Return the range from ``start`` up to before ``end``.

        >>> Batchable().create_cursor_config(0, 100).end_cursor
        100
        """
        return CursorConfig(
            start_cursor=start, end_cursor=end, step_size=step_size, metadata=metadata or {}
        )

    def create_cursor_ranges(
        self,
        total_items: int,
        batch_size: int,
        step_size: int = 1,
        max_batches: int | None = None,
    ) -> list[CursorConfig]:
        """Return ranges of ``batch_size`` items that cover all items.

        The ranges grow where there would be more than ``max_batches``.

        >>> ranges = Batchable().create_cursor_ranges(250, 100)
        >>> [(r.start_cursor, r.end_cursor) for r in ranges]
        [(0, 100), (100, 200), (200, 250)]

        Raises:
            ValueError: there are items, and ``batch_size`` is not positive.
        """
        if total_items == 0:
            return []
        if batch_size <= 0:
            raise ValueError("batch_size must be > 0")
        if (
            max_batches is not None
            and max_batches > 0
            and _ceil_div(total_items, batch_size) > max_batches
        ):
            batch_size = _ceil_div(total_items, max_batches)
        ranges = []
        start = 0
        # Not range(): a total that came as JSON may be 250.0.
        while start < total_items:
            end = min(start + batch_size, total_items)
            ranges.append(self.create_cursor_config(start, end, step_size))
            start = end
        return ranges

    def create_cursor_configs(self, total_items: int, worker_count: int) -> list[BatchWorkerConfig]:
        """Return the shares of ``worker_count`` workers, fewer if items run out.

        >>> [c.row_count for c in Batchable().create_cursor_configs(1000, 3)]
        [334, 334, 332]

        Raises:
            ValueError: ``worker_count`` is not positive.
        """
        if worker_count <= 0:
            raise ValueError("worker_count must be > 0")
        if total_items <= 0:
            return []
        share = _ceil_div(total_items, worker_count)
        # Programs divide, and give the items as a float.
        starts = [index * share for index in range(int(_ceil_div(total_items, share)))]
        return [
            BatchWorkerConfig(
                batch_id=_batch_id(index),
                cursor_start=start,
                cursor_end=min(start + share, total_items),
                row_count=min(start + share, total_items) - start,
                worker_index=index,
                total_workers=worker_count,
            )
            for index, start in enumerate(starts)
        ]

    def create_batch_outcome(
        self,
        total_items: int,
        batch_size: int,
        step_size: int = 1,
        batch_metadata: dict[str, Any] | None = None,
    ) -> BatchAnalyzerOutcome:
        """Return an outcome with ranges of ``batch_size`` items.

        >>> len(Batchable().create_batch_outcome(100, 25).cursor_configs)
        4

        Raises:
            ValueError: there are items, and ``batch_size`` is not positive.
        """
        return BatchAnalyzerOutcome(
            cursor_configs=self.create_cursor_ranges(total_items, batch_size, step_size),
            total_items=total_items,
            batch_metadata=batch_metadata or {},
        )

    def create_batch_outcome_from_ranges(
        self,
        ranges: Iterable[tuple[int, int]],
        step_size: int = 1,
        total_items: int | None = None,
        batch_metadata: dict[str, Any] | None = None,
    ) -> BatchAnalyzerOutcome:
        """Return an outcome with one range per ``(start, end)`` pair.

        >>> outcome = Batchable().create_batch_outcome_from_ranges([(0, 10), (10, 40)])
        >>> outcome.cursor_configs[1].end_cursor
        40
        """
        return BatchAnalyzerOutcome.from_ranges(ranges, step_size, total_items, batch_metadata)

    def batch_analyzer_success(
        self,
        outcome: BatchAnalyzerOutcome | None = None,
        metadata: dict[str, Any] | None = None,
        worker_template_name: str = "batch_worker",
        cursor_configs: list[CursorConfig] | None = None,
        total_items: int | None = None,
        batch_metadata: dict[str, Any] | None = None,
    ) -> StepHandlerResult:
        """Return that one worker step per range is to be created.

        The ranges come from ``cursor_configs`` if given, else from
        ``outcome``; without any there are no batches. An outcome that does
        not know its total has as many items as its ranges cover.
        ``worker_template_name`` is the template's step of type
        ``batch_worker``.
        """
        if cursor_configs is not None:
            configs = cursor_configs
            total = total_items or 0
            facts = batch_metadata or {}
        elif outcome is not None:
            configs = outcome.cursor_configs
            total = outcome.total_items if outcome.total_items is not None else _covered(configs)
            facts = outcome.batch_metadata
        else:
            return self.no_batches_outcome(reason="no_cursor_configs_provided")
        if not configs:
            return self.no_batches_outcome(
                reason=facts.get("reason", "empty_dataset"), metadata=facts
            )
        cursors = [
            RustCursorConfig(
                batch_id=_batch_id(index),
                start_cursor=config.start_cursor,
                end_cursor=config.end_cursor,
                batch_size=config.end_cursor - config.start_cursor,
            )
            for index, config in enumerate(configs)
        ]
        batches = create_batches(worker_template_name, len(cursors), cursors, total)
        result: dict[str, Any] = {
            "batch_processing_outcome": batches.model_dump(),
            "worker_count": len(cursors),
            "total_items": total,
        }
        if facts:
            result["batch_metadata"] = facts
        return _host(self).success(result, metadata={**(metadata or {}), "batch_analyzer": True})

    def no_batches_outcome(
        self, reason: str, metadata: dict[str, Any] | None = None
    ) -> StepHandlerResult:
        """Return that there is nothing to process, and why.

        ``metadata`` goes into the result. The aggregator still runs if the
        analyzer's settings name ``worker_template_name``.
        """
        result = {
            "batch_processing_outcome": no_batches().model_dump(),
            "reason": reason,
            **(metadata or {}),
        }
        return _host(self).success(result, metadata={"batch_analyzer": True, "no_batches": True})

    # Worker: process one batch.

    def get_batch_worker_inputs(self, context: StepContext) -> RustBatchWorkerInputs | None:
        """Return the batch as orchestration gave it; ``None`` if it is not one."""
        inputs = context.step_inputs
        if not inputs:
            return None
        try:
            return RustBatchWorkerInputs.model_validate(inputs)
        except ValidationError as exc:
            log_debug(f"The inputs of a step are not those of a batch worker: {exc}")
            return None

    def handle_no_op_worker(self, context: StepContext) -> StepHandlerResult | None:
        """Return the result of a placeholder worker; ``None`` for a real one.

        A batch worker starts with it, as an analyzer without batches has one
        placeholder created::

            no_op = self.handle_no_op_worker(context)
            if no_op is not None:
                return no_op
        """
        inputs = self.get_batch_worker_inputs(context)
        if inputs is None or not inputs.is_no_op:
            return None
        return StepHandlerResult.success(
            {
                "batch_id": inputs.cursor.batch_id,
                "no_op": True,
                "processed_count": 0,
                "message": "No batches to process",
                "processed_at": datetime.now(timezone.utc).isoformat(),
            }
        )

    def get_batch_context(self, context: StepContext) -> BatchWorkerContext | None:
        """Return the batch and the checkpoint of a step; ``None`` if it has no batch.

        Raises:
            pydantic.ValidationError: the cursors are not integers; use
                :meth:`get_batch_worker_inputs` for such batches.
        """
        return BatchWorkerContext.from_step_context(context)

    def create_batch_context(
        self,
        cursor_config: CursorConfig,
        batch_index: int,
        total_batches: int,
        batch_metadata: dict[str, Any] | None = None,
    ) -> BatchWorkerContext:
        """Return a batch made by hand, with an id of its own and no checkpoint."""
        return BatchWorkerContext(
            batch_id=str(uuid4()),
            cursor_config=cursor_config,
            batch_index=batch_index,
            total_batches=total_batches,
            batch_metadata=batch_metadata or {},
        )

    def create_worker_outcome(
        self,
        items_processed: int,
        items_succeeded: int = _NOT_GIVEN,
        items_failed: int = 0,
        items_skipped: int = 0,
        results: list[dict[str, Any]] | None = None,
        errors: list[dict[str, Any]] | None = None,
        last_cursor: int | None = None,
        batch_metadata: dict[str, Any] | None = None,
    ) -> BatchWorkerOutcome:
        """Return what became of a batch.

        Without ``items_succeeded`` all processed items have succeeded. A
        written 0 stays 0 where failed or skipped items or errors are told
        with it, and means the same as nothing otherwise.

        >>> Batchable().create_worker_outcome(10).items_succeeded
        10
        >>> Batchable().create_worker_outcome(10, 0, items_failed=10).items_succeeded
        0
        """
        told = items_succeeded is not _NOT_GIVEN and bool(items_failed or items_skipped or errors)
        return BatchWorkerOutcome(
            items_processed=items_processed,
            items_succeeded=items_succeeded if told else items_succeeded or items_processed,
            items_failed=items_failed,
            items_skipped=items_skipped,
            results=results or [],
            errors=errors or [],
            last_cursor=last_cursor,
            batch_metadata=batch_metadata or {},
        )

    def batch_worker_success(
        self,
        outcome: BatchWorkerOutcome | None = None,
        metadata: dict[str, Any] | None = None,
        items_processed: int | None = None,
        items_succeeded: int | None = None,
        items_failed: int = 0,
        items_skipped: int = 0,
        results: list[dict[str, Any]] | None = None,
        errors: list[dict[str, Any]] | None = None,
        last_cursor: Any = None,
        batch_metadata: dict[str, Any] | None = None,
    ) -> StepHandlerResult:
        """Return that a batch is done, as ``outcome`` or as the counts tell.

        The counts win if ``items_processed`` is given; ``items_succeeded`` is
        then all of them unless given too.
        """
        if items_processed is not None:
            result = {
                "items_processed": items_processed,
                "items_succeeded": (
                    items_processed if items_succeeded is None else items_succeeded
                ),
                "items_failed": items_failed,
                "items_skipped": items_skipped,
                "last_cursor": last_cursor,
                "batch_metadata": batch_metadata or {},
            }
        elif outcome is not None:
            result = _outcome_result(outcome)
            results, errors = outcome.results, outcome.errors
        else:
            return _host(self).failure(
                message="batch_worker_success requires either outcome or items_processed",
                error_type="invalid_args",
                retryable=False,
            )
        _add_lists(result, results, errors)
        return _host(self).success(result, metadata={**(metadata or {}), "batch_worker": True})

    def batch_worker_partial_failure(
        self,
        outcome: BatchWorkerOutcome,
        message: str | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> StepHandlerResult:
        """Return that a batch is done though some of its items failed.

        It is a success: the step is not tried again.
        """
        result = _outcome_result(outcome)
        result["partial_failure"] = True
        if message:
            result["partial_failure_message"] = message
        _add_lists(result, outcome.results, outcome.errors)
        return _host(self).success(
            result, metadata={**(metadata or {}), "batch_worker": True, "had_failures": True}
        )

    def checkpoint_yield(
        self,
        cursor: Any,
        items_processed: int,
        accumulated_results: Any = None,
    ) -> StepHandlerResult:
        """Return that a batch is not done yet, and where to go on.

        The handler must *return* this. The progress is stored, and the step
        is run again with it: ``context.checkpoint_cursor``,
        ``context.checkpoint_items_processed``, ``context.accumulated_results``.
        ``cursor`` may be any JSON value but ``None``, which would not be
        seen as a place to go on from.

        >>> Batchable().checkpoint_yield(cursor=500, items_processed=500).result
        {'type': 'checkpoint_yield', 'cursor': 500, 'items_processed': 500}
        """
        if cursor is None:
            log_warn(
                "checkpoint_yield: cursor is None, so the step will start from the beginning "
                "again; give the place to go on from"
            )
        result: dict[str, Any] = {
            "type": "checkpoint_yield",
            "cursor": cursor,
            "items_processed": items_processed,
        }
        if accumulated_results is not None:
            result["accumulated_results"] = accumulated_results
        return StepHandlerResult.success(result, {"checkpoint_yield": True, "batch_worker": True})

    # Aggregator: sum up.

    def detect_aggregation_scenario(
        self,
        dependency_results: dict[str, Any],
        batchable_step_name: str,
        batch_worker_prefix: str,
    ) -> BatchAggregationScenario:
        """Return whether there were batches, and their results.

        Raises:
            ValueError: see :meth:`BatchAggregationScenario.detect`.
        """
        return BatchAggregationScenario.detect(
            dependency_results, batchable_step_name, batch_worker_prefix
        )

    def no_batches_aggregation_result(
        self, zero_metrics: dict[str, Any] | None = None
    ) -> StepHandlerResult:
        """Return the sum of nothing; ``zero_metrics`` are its own numbers."""
        return _host(self).success(
            {"worker_count": 0, "scenario": "no_batches", **(zero_metrics or {})}
        )

    def aggregate_batch_worker_results(
        self,
        scenario: BatchAggregationScenario,
        zero_metrics: dict[str, Any] | None = None,
        aggregation_fn: Callable[[dict[str, dict[str, Any]]], dict[str, Any]] | None = None,
    ) -> StepHandlerResult:
        """Return what ``aggregation_fn`` makes of the workers' results.

        It is called with the results by step name. Without batches the result
        is that of :meth:`no_batches_aggregation_result`.
        """
        if scenario.is_no_batches:
            return self.no_batches_aggregation_result(zero_metrics)
        if aggregation_fn is None:
            summed: dict[str, Any] = {"batch_results": scenario.batch_results}
        else:
            summed = aggregation_fn(scenario.batch_results)
        return _host(self).success(
            {**summed, "worker_count": scenario.worker_count, "scenario": "with_batches"}
        )

    @staticmethod
    def aggregate_worker_results(
        worker_results: list[dict[str, Any] | None],
    ) -> dict[str, Any]:
        """Return the sums of what batch workers returned.

        ``None`` stands for a worker without result: it adds nothing and is
        counted in ``batch_count``. (``tasker_core.types.aggregate_batch_results``
        does not count it.) The first 100 errors are kept.

        >>> done = {"items_processed": 4, "items_succeeded": 3, "items_failed": 1}
        >>> sums = Batchable.aggregate_worker_results([done, None])
        >>> sums["success_rate"], sums["batch_count"]
        (0.75, 2)
        """
        results = [result for result in worker_results if result is not None]
        errors: list[Any] = []
        for result in results:
            errors.extend(result.get("errors") or [])
        processed, succeeded, failed, skipped = (
            sum(result.get(key) or 0 for result in results)
            for key in ("items_processed", "items_succeeded", "items_failed", "items_skipped")
        )
        return {
            "total_processed": processed,
            "total_succeeded": succeeded,
            "total_failed": failed,
            "total_skipped": skipped,
            "batch_count": len(worker_results),
            "success_rate": succeeded / processed if processed > 0 else 0.0,
            "errors": errors[:_MAX_AGGREGATED_ERRORS],
            "error_count": len(errors),
        }


def _host(mixin: Batchable) -> "StepHandler":
    """Return the handler that the mixin is part of.

    The mixin cannot say so in its bases: it may stand after ``StepHandler``.
    """
    return cast("StepHandler", mixin)


def _ceil_div(items: int, parts: int) -> int:
    return -(-items // parts)


def _batch_id(index: int) -> str:
    return f"{index + 1:03d}"


def _covered(configs: list[CursorConfig]) -> int:
    return sum(config.end_cursor - config.start_cursor for config in configs)


def _outcome_result(outcome: BatchWorkerOutcome) -> dict[str, Any]:
    return {
        "items_processed": outcome.items_processed,
        "items_succeeded": outcome.items_succeeded,
        "items_failed": outcome.items_failed,
        "items_skipped": outcome.items_skipped,
        "last_cursor": outcome.last_cursor,
        "batch_metadata": outcome.batch_metadata,
    }


def _add_lists(
    result: dict[str, Any],
    results: list[dict[str, Any]] | None,
    errors: list[dict[str, Any]] | None,
) -> None:
    if results:
        result["results"] = results
    if errors:
        result["errors"] = errors
