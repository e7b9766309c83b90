"""One step that succeeds, one that may be tried again, one that may not: as functions."""

from typing import Any

from tasker_core import StepHandlerResult
from tasker_core.step_handler import inputs, step_handler

from .handlers import now

_MODULE = "test_scenarios_dsl_py.step_handlers"


@step_handler(f"{_MODULE}.success_step")
@inputs("message")
def success_step(message: str | None) -> dict[str, Any]:
    """Succeed."""
    return {
        "status": "success",
        "message": "Step completed successfully" if message is None else message,
        "timestamp": now(),
        "handler": "SuccessStepHandler",
    }


@step_handler(f"{_MODULE}.retryable_error_step")
@inputs("error_message")
def retryable_error_step(error_message: str | None) -> StepHandlerResult:
    """Fail in a way that may pass."""
    return StepHandlerResult.failure(
        error_message or "Temporary failure - please retry", "temporary_error", retryable=True
    )


@step_handler(f"{_MODULE}.permanent_error_step")
@inputs("error_message")
def permanent_error_step(error_message: str | None) -> StepHandlerResult:
    """Fail for good."""
    return StepHandlerResult.failure(
        error_message or "Permanent failure - do not retry", "permanent_error", retryable=False
    )
