"""One long batch that hands back its progress on the way: with a decorator.

Only the analyzer is a function; what works on batches are classes here too.
"""

from typing import Any

from tasker_core import Batchable, StepContext, StepHandler, StepHandlerResult
from tasker_core.step_handler import BatchConfig, batch_analyzer, inputs

from . import handlers

_MODULE = "checkpoint_yield_dsl_py.step_handlers"


@batch_analyzer(
    f"{_MODULE}.checkpoint_yield_analyzer", worker_template="checkpoint_yield_batch_dsl_py"
)
@inputs("total_items")
def checkpoint_yield_analyzer(total_items: int | None) -> BatchConfig:
    """Put all items into one batch."""
    total = 100 if total_items is None else total_items
    if total <= 0:
        return BatchConfig(total_items=0, batch_size=1)
    return BatchConfig(
        total_items=total,
        batch_size=total,
        metadata={"test_type": "checkpoint_yield", "items_per_batch": total},
    )


class CheckpointYieldWorkerDslHandler(handlers.CheckpointYieldWorkerHandler):
    """Process the batch from checkpoint to checkpoint."""

    handler_name = f"{_MODULE}.checkpoint_yield_worker"

    def call(self, context: StepContext) -> StepHandlerResult:
        """Go on where the last checkpoint is, to the next one or to the end."""
        if self.get_batch_worker_inputs(context) is None:
            return self.failure(
                "No batch inputs found", error_type="validation_error", retryable=False
            )
        return super().call(context)


class CheckpointYieldAggregatorDslHandler(StepHandler, Batchable):
    """Add up what was processed."""

    handler_name = f"{_MODULE}.checkpoint_yield_aggregator"

    def call(self, context: StepContext) -> StepHandlerResult:
        """Return the sums, all zero if there were no batches."""
        scenario = self.detect_aggregation_scenario(
            context.dependency_results, "analyze_items_dsl_py", "checkpoint_yield_batch_dsl_py_"
        )
        return self.aggregate_batch_worker_results(
            scenario,
            zero_metrics={"total_processed": 0, "running_total": 0, "test_passed": True},
            aggregation_fn=_sums,
        )


def _sums(results: dict[str, dict[str, Any]]) -> dict[str, Any]:
    processed = sum(result["items_processed"] for result in results.values())
    batches = [result["batch_metadata"] for result in results.values()]
    return {
        "total_processed": processed,
        "running_total": sum(batch["running_total"] for batch in batches),
        "item_count": sum(len(batch["item_ids"]) for batch in batches),
        "checkpoints_used": sum(batch["checkpoints_used"] for batch in batches),
        "test_passed": True,
    }
