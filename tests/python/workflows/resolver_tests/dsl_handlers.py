"""Functions as handlers: they have one method, whatever a template names."""

from typing import Any

from tasker_core import StepContext
from tasker_core.step_handler import inputs, step_handler

_MODULE = "resolver_tests_dsl_py.step_handlers"


@step_handler(f"{_MODULE}.multi_method")
@inputs("data")
def multi_method(data: dict[str, Any] | None, context: StepContext) -> dict[str, Any]:
    """Return what came in."""
    return {
        "invoked_method": "call",
        "handler": "MultiMethodHandler",
        "message": "Default call method invoked",
        "step_uuid": str(context.step_uuid),
        "input_received": data or {},
    }


@step_handler(f"{_MODULE}.alternate_method")
def alternate_method(context: StepContext) -> dict[str, Any]:
    """Return that the usual method was called."""
    return {
        "invoked_method": "call",
        "handler": "AlternateMethodHandler",
        "message": "Alternate handler default method",
        "step_uuid": str(context.step_uuid),
    }
