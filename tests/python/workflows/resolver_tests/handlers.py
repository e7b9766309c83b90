"""Handlers with more than one method, which templates choose from."""

import time
from typing import Any

from tasker_core import StepContext, StepHandler, StepHandlerResult

_FEE_RATE = 1.1


class MultiMethodHandler(StepHandler):
    """Do one of several things with the input's ``data``."""

    handler_name = "resolver_tests.step_handlers.MultiMethodHandler"
    handler_version = "1.0.0"

    def call(self, context: StepContext) -> StepHandlerResult:
        """Return what came in."""
        return self._done(
            context,
            "call",
            "Default call method invoked",
            {"input_received": self._data(context)},
        )

    def validate(self, context: StepContext) -> StepHandlerResult:
        """Look whether there is an amount."""
        data = self._data(context)
        if data.get("amount") is None:
            return self.failure(
                'Validation failed: missing required field "amount"',
                error_type="validation_error",
                retryable=False,
            )
        return self._done(
            context,
            "validate",
            "Validation completed successfully",
            {"validated": True, "input_validated": data},
        )

    def process(self, context: StepContext) -> StepHandlerResult:
        """Add the fee."""
        amount = self._data(context).get("amount", 0)
        processed = amount * _FEE_RATE
        return self._done(
            context,
            "process",
            "Processing completed",
            {
                "original_amount": amount,
                "processed_amount": processed,
                "processing_fee": processed - amount,
            },
        )

    def refund(self, context: StepContext) -> StepHandlerResult:
        """Give the amount back."""
        data = self._data(context)
        return self._done(
            context,
            "refund",
            "Refund processed",
            {
                "refund_amount": data.get("amount", 0),
                "refund_reason": data.get("reason") or "not_specified",
                "refund_id": f"refund_{int(time.time())}",
            },
        )

    def _data(self, context: StepContext) -> dict[str, Any]:
        data: dict[str, Any] = context.get_input("data") or {}
        return data

    def _done(
        self, context: StepContext, method: str, message: str, result: dict[str, Any]
    ) -> StepHandlerResult:
        return self.success(
            {
                "invoked_method": method,
                "handler": type(self).__name__,
                "message": message,
                "step_uuid": str(context.step_uuid),
                **result,
            }
        )


class AlternateMethodHandler(MultiMethodHandler):
    """Do something else."""

    handler_name = "resolver_tests.step_handlers.AlternateMethodHandler"

    def call(self, context: StepContext) -> StepHandlerResult:
        """Return that the usual method was called."""
        return self._done(context, "call", "Alternate handler default method", {})

    def execute_action(self, context: StepContext) -> StepHandlerResult:
        """Return which action was asked for."""
        action = context.get_input("action_type") or "default_action"
        return self._done(
            context, "execute_action", "Custom action executed", {"action_type": action}
        )
