"""Handlers to read and to run."""

from tasker_core.examples.checkpoint_yield import (
    CheckpointYieldAggregatorHandler,
    CheckpointYieldAnalyzerHandler,
    CheckpointYieldWorkerHandler,
)

__all__ = [
    "CheckpointYieldAggregatorHandler",
    "CheckpointYieldAnalyzerHandler",
    "CheckpointYieldWorkerHandler",
]
