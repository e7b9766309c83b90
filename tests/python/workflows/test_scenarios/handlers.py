"""One step that succeeds, one that may be tried again, one that may not."""

from datetime import datetime, timezone

from tasker_core import StepContext, StepHandler, StepHandlerResult


def now() -> str:
    """Return the time as handlers tell it."""
    return datetime.now(timezone.utc).isoformat()


class SuccessStepHandler(StepHandler):
    """Succeed."""

    handler_name = "test_scenarios.step_handlers.SuccessStepHandler"
    handler_version = "1.0.0"

    def call(self, context: StepContext) -> StepHandlerResult:
        """Return the input's message."""
        return self.success(
            {
                "status": "success",
                "message": context.get_input_or("message", "Step completed successfully"),
                "timestamp": now(),
                "handler": "SuccessStepHandler",
            }
        )


class RetryableErrorStepHandler(StepHandler):
    """Fail in a way that may pass."""

    handler_name = "test_scenarios.step_handlers.RetryableErrorStepHandler"
    handler_version = "1.0.0"

    def call(self, context: StepContext) -> StepHandlerResult:
        """Return a failure that may be tried again."""
        return self.failure(
            context.get_input("error_message") or "Temporary failure - please retry",
            error_type="temporary_error",
            retryable=True,
            metadata={"handler": "RetryableErrorStepHandler", "timestamp": now()},
        )


class PermanentErrorStepHandler(StepHandler):
    """Fail for good."""

    handler_name = "test_scenarios.step_handlers.PermanentErrorStepHandler"
    handler_version = "1.0.0"

    def call(self, context: StepContext) -> StepHandlerResult:
        """Return a failure that no retry can mend."""
        return self.failure(
            context.get_input("error_message") or "Permanent failure - do not retry",
            error_type="permanent_error",
            retryable=False,
            metadata={"handler": "PermanentErrorStepHandler", "timestamp": now()},
        )
