"""Split a step's work into batches and sum up what became of them.

An analyzer step cuts the work into cursor ranges, one worker step per range
processes it, and an aggregator step sums up. :class:`Batchable` gives all
three what they need.
"""

from tasker_core.batch_processing.batchable import (
    Batchable,
    BatchAggregationScenario,
    BatchWorkerConfig,
)

__all__ = ["BatchAggregationScenario", "BatchWorkerConfig", "Batchable"]
