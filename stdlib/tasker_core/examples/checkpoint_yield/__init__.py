"""A batch whose worker hands back its progress and is called again to go on."""

from tasker_core.examples.checkpoint_yield.handlers import (
    CheckpointYieldAggregatorHandler,
    CheckpointYieldAnalyzerHandler,
    CheckpointYieldWorkerHandler,
)

__all__ = [
    "CheckpointYieldAggregatorHandler",
    "CheckpointYieldAnalyzerHandler",
    "CheckpointYieldWorkerHandler",
]
