"""Handlers for measuring workers, in the words of the published package."""

import time

from tasker_core import StepContext, StepHandler, StepHandlerResult


class Echo(StepHandler):
    """Returns its input."""

    handler_name = "measured.Echo"

    def call(self, context: StepContext) -> StepHandlerResult:
        """Return what the task was given."""
        return self.success({"n": context.input_data.get("n")})


class Wait(StepHandler):
    """Waits as a call of another service does."""

    handler_name = "measured.Wait"

    def call(self, context: StepContext) -> StepHandlerResult:
        """Wait for a tenth of a second."""
        time.sleep(0.1)
        return self.success({"waited": True})
