"""One long batch that hands back its progress on the way: the handlers of the package.

``tasker_core.examples.checkpoint_yield`` has what they do; here they get the
names that the template calls them by.
"""

from tasker_core.examples import checkpoint_yield

_MODULE = "CheckpointYield.StepHandlers"


class CheckpointYieldAnalyzerHandler(checkpoint_yield.CheckpointYieldAnalyzerHandler):
    """Put all items into one batch."""

    handler_name = f"{_MODULE}.CheckpointYieldAnalyzerHandler"
    handler_version = "1.0.0"


class CheckpointYieldWorkerHandler(checkpoint_yield.CheckpointYieldWorkerHandler):
    """Process the batch from checkpoint to checkpoint."""

    handler_name = f"{_MODULE}.CheckpointYieldWorkerHandler"
    handler_version = "1.0.0"


class CheckpointYieldAggregatorHandler(checkpoint_yield.CheckpointYieldAggregatorHandler):
    """Add up what was processed."""

    handler_name = f"{_MODULE}.CheckpointYieldAggregatorHandler"
    handler_version = "1.0.0"
