"""The diamond of ``handlers`` as functions; these expect wrapped results."""

from typing import Any

from tasker_core import StepHandlerResult
from tasker_core.step_handler import depends_on, inputs, step_handler

from .handlers import merge


@step_handler("diamond_init_dsl")
@inputs("initial_value")
def diamond_init(initial_value: Any) -> dict[str, Any]:
    """Take the number to begin with."""
    return {
        "initialized": True,
        "value": 100 if initial_value is None else initial_value,
        "metadata": {"workflow": "diamond", "init_timestamp": "2025-01-01T00:00:00Z"},
    }


@step_handler("diamond_path_a_dsl")
@depends_on(init="diamond_init")
def diamond_path_a(init: dict[str, Any] | None) -> dict[str, Any]:
    """Double the number."""
    value = (init or {}).get("value", 0)
    return {"path_a_result": value * 2, "operation": "multiply_by_2", "input_value": value}


@step_handler("diamond_path_b_dsl")
@depends_on(init="diamond_init")
def diamond_path_b(init: dict[str, Any] | None) -> dict[str, Any]:
    """Add 50."""
    value = (init or {}).get("value", 0)
    return {"path_b_result": value + 50, "operation": "add_50", "input_value": value}


@step_handler("diamond_merge_dsl")
@depends_on(path_a="diamond_path_a", path_b="diamond_path_b")
def diamond_merge(path_a: dict[str, Any] | None, path_b: dict[str, Any] | None) -> Any:
    """Add the ends of both paths."""
    merged = merge(path_a or {}, path_b or {})
    if merged is None:
        return StepHandlerResult.failure(
            "Missing results from both paths", "dependency_error", retryable=True
        )
    return merged
