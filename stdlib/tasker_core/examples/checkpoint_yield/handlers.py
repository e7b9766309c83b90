"""Process many items with checkpoints, fail on purpose, and sum up.

The three handlers belong to a template with a ``batchable`` step
``analyze_items``, a ``batch_worker`` step ``checkpoint_yield_batch`` and a
``deferred_convergence`` step. What they read:

========================  =======  ==========================================
input                     default  meaning
========================  =======  ==========================================
``total_items``           100      how many items there are
``items_per_checkpoint``  25       how many to process before handing back
``fail_after_items``      never    after how many items to fail
``fail_on_attempt``       1        in which attempt to do so
``permanent_failure``     false    whether that failure is worth no retry
========================  =======  ==========================================
"""

from typing import Any

from tasker_core.batch_processing import Batchable
from tasker_core.step_handler.base import StepHandler
from tasker_core.types import (
    BatchWorkerOutcome,
    CursorConfig,
    ErrorType,
    StepContext,
    StepHandlerResult,
)

__all__ = [
    "CheckpointYieldAggregatorHandler",
    "CheckpointYieldAnalyzerHandler",
    "CheckpointYieldWorkerHandler",
]

_PREFIX = "tasker_core.examples.checkpoint_yield"
_ITEMS_PER_CHECKPOINT = 25
_TOTAL_ITEMS = 100
_WORKER_TEMPLATE = "checkpoint_yield_batch"
_ANALYZER_STEP = "analyze_items"


class CheckpointYieldAnalyzerHandler(StepHandler, Batchable):
    """Puts all items into one batch.

    >>> CheckpointYieldAnalyzerHandler().name
    'tasker_core.examples.checkpoint_yield.CheckpointYieldAnalyzerHandler'
    """

    handler_name = f"{_PREFIX}.CheckpointYieldAnalyzerHandler"

    def call(self, context: StepContext) -> StepHandlerResult:
        """Ask for one worker, or for none if there are no items."""
        total_items = _input(context, "total_items", _TOTAL_ITEMS)
        if total_items <= 0:
            return self.no_batches_outcome(reason="no_items_to_process")
        return self.batch_analyzer_success(
            cursor_configs=[CursorConfig(start_cursor=0, end_cursor=total_items)],
            total_items=total_items,
            worker_template_name=context.step_config.get("worker_template_name", _WORKER_TEMPLATE),
            batch_metadata={
                "test_type": "checkpoint_yield",
                "items_per_batch": total_items,
            },
        )


class CheckpointYieldWorkerHandler(StepHandler, Batchable):
    """Processes its batch, a checkpoint's worth of items at a time.

    >>> CheckpointYieldWorkerHandler()._process_item(7)
    {'id': 'item_0007', 'value': 8}
    """

    handler_name = f"{_PREFIX}.CheckpointYieldWorkerHandler"

    def call(self, context: StepContext) -> StepHandlerResult:
        """Go on where the last checkpoint is, to the next one or to the end."""
        no_op = self.handle_no_op_worker(context)
        if no_op is not None:
            return no_op
        batch = self.get_batch_worker_inputs(context)
        if batch is None:
            return self.failure(
                "No batch inputs found - is this a batch worker step?",
                ErrorType.VALIDATION_ERROR,
                retryable=False,
            )
        wanted = _input(
            context,
            "items_per_checkpoint",
            context.step_config.get("items_per_checkpoint", _ITEMS_PER_CHECKPOINT),
        )
        per_checkpoint = max(1, wanted)
        cursor = batch.cursor.start_cursor
        progress = self.get_batch_context(context)
        if progress is not None and progress.has_checkpoint():
            cursor = progress.checkpoint_cursor
        processed = 0 if progress is None else progress.checkpoint_items_processed
        # A copy: what a failing attempt adds must not reach the next one.
        resumed = (None if progress is None else progress.accumulated_results) or {}
        accumulated: dict[str, Any] = {
            "running_total": resumed.get("running_total", 0),
            "item_ids": [*resumed.get("item_ids", [])],
        }

        since_checkpoint = 0
        while cursor < batch.cursor.end_cursor:
            if since_checkpoint == per_checkpoint:
                return self.checkpoint_yield(cursor, processed, accumulated)
            if self.__must_fail(context, processed):
                permanent = bool(_input(context, "permanent_failure", False))
                return self._inject_failure(processed, cursor, permanent)
            item = self._process_item(cursor)
            accumulated["running_total"] += item["value"]
            accumulated["item_ids"].append(item["id"])
            cursor += 1
            processed += 1
            since_checkpoint += 1

        return self.batch_worker_success(
            BatchWorkerOutcome(
                items_processed=processed,
                items_succeeded=processed,
                last_cursor=cursor,
                batch_metadata={
                    **accumulated,
                    "final_cursor": cursor,
                    "checkpoints_used": processed // per_checkpoint,
                },
            )
        )

    def __must_fail(self, context: StepContext, processed: int) -> bool:
        fail_after = _input(context, "fail_after_items", None)
        if fail_after is None or processed < fail_after:
            return False
        attempt = context.retry_count + 1
        return bool(attempt == _input(context, "fail_on_attempt", 1))

    def _process_item(self, cursor: int) -> dict[str, Any]:
        return {"id": f"item_{cursor:04d}", "value": cursor + 1}

    def _inject_failure(
        self, items_processed: int, cursor: int, permanent: bool
    ) -> StepHandlerResult:
        kind = "permanent" if permanent else "transient"
        return self.failure(
            f"Injected {kind} failure after {items_processed} items",
            ErrorType.PERMANENT_ERROR if permanent else ErrorType.RETRYABLE_ERROR,
            retryable=not permanent,
            metadata={
                "items_processed": items_processed,
                "cursor_at_failure": cursor,
                "failure_type": kind,
            },
        )


class CheckpointYieldAggregatorHandler(StepHandler, Batchable):
    """Sums up what the workers have done.

    >>> CheckpointYieldAggregatorHandler().name
    'tasker_core.examples.checkpoint_yield.CheckpointYieldAggregatorHandler'
    """

    handler_name = f"{_PREFIX}.CheckpointYieldAggregatorHandler"

    def call(self, context: StepContext) -> StepHandlerResult:
        """Return the sums, all zero if there were no batches."""
        scenario = self.detect_aggregation_scenario(
            context.dependency_results, _ANALYZER_STEP, f"{_WORKER_TEMPLATE}_"
        )
        if scenario.is_no_batches:
            return self.no_batches_aggregation_result(
                {"total_processed": 0, "running_total": 0, "test_passed": True}
            )
        return self.aggregate_batch_worker_results(scenario, aggregation_fn=self.__sum)

    def __sum(self, results: dict[str, dict[str, Any]]) -> dict[str, Any]:
        batches = [result.get("batch_metadata") or {} for result in results.values()]
        return {
            "total_processed": sum(result.get("items_processed", 0) for result in results.values()),
            "running_total": sum(batch.get("running_total", 0) for batch in batches),
            "item_count": sum(len(batch.get("item_ids", [])) for batch in batches),
            "checkpoints_used": sum(batch.get("checkpoints_used", 0) for batch in batches),
            "test_passed": True,
        }


def _input(context: StepContext, name: str, default: Any) -> Any:
    value = context.input_data.get(name)
    return default if value is None else value
