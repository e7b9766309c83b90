"""Handlers of a shop whose orders end in every way."""

import time
from pathlib import Path

from tasker_core import StepContext, StepHandler, StepHandlerResult


class Check(StepHandler):
    """Wait until the order says that it may go on."""

    handler_name = "handlers.Check"

    def call(self, context: StepContext) -> StepHandlerResult:
        """Return the amount."""
        until = context.get_input("until")
        while until and not Path(until).exists():
            time.sleep(0.005)
        return self.success({"amount": context.get_input("amount")})


class Pay(StepHandler):
    """Fail if the order says so."""

    handler_name = "handlers.Pay"

    def call(self, context: StepContext) -> StepHandlerResult:
        """Return what was paid."""
        failure = context.get_input("failure")
        if failure:
            return self.failure("no cover", "PaymentError", retryable=failure == "retryable")
        return self.success({"paid": context.get_dependency_result("check")["amount"]})
