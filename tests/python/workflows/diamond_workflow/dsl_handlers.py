"""The four steps of ``examples/diamond`` as functions."""

from typing import Any

from tasker_core import ErrorType, StepHandlerResult
from tasker_core.step_handler import depends_on, inputs, step_handler

_MODULE = "diamond_workflow_dsl_py.step_handlers"
_START = "diamond_start_dsl_py"
_BRANCH_B = "diamond_branch_b_dsl_py"
_BRANCH_C = "diamond_branch_c_dsl_py"


def start_value(start: Any) -> Any:
    """Return the square that the branches begin with, or the failure to answer with."""
    if start is None:
        return StepHandlerResult.failure(
            f"Missing result from {_START}", "dependency_error", retryable=True
        )
    value = start.get("result") if isinstance(start, dict) else start
    if value is None:
        return StepHandlerResult.failure(
            f"Missing 'result' field in {_START} output", "dependency_error", retryable=True
        )
    return value


def branch_value(branch: Any) -> Any:
    """Return what a branch computed, ``None`` if it did not."""
    return branch.get("result") if isinstance(branch, dict) else branch


@step_handler(f"{_MODULE}.diamond_start")
@inputs("even_number")
def diamond_start(even_number: Any) -> Any:
    """Square the number of the task's input."""
    if even_number is None:
        return StepHandlerResult.failure(
            "Task context must contain an even_number",
            ErrorType.VALIDATION_ERROR,
            retryable=False,
        )
    if type(even_number) is not int or even_number % 2 != 0:  # True is an int, but no number
        return StepHandlerResult.failure(
            f"even_number must be an even integer, got: {even_number}",
            ErrorType.VALIDATION_ERROR,
            retryable=False,
        )
    return {"result": even_number * even_number, "operation": "square", "step_type": "initial"}


@step_handler(f"{_MODULE}.diamond_branch_b")
@depends_on(start=_START)
def diamond_branch_b(start: Any) -> Any:
    """Add 25."""
    number = start_value(start)
    if isinstance(number, StepHandlerResult):
        return number
    return {
        "result": number + 25,
        "operation": "add",
        "constant": 25,
        "input_value": number,
        "branch": "B",
    }


@step_handler(f"{_MODULE}.diamond_branch_c")
@depends_on(start=_START)
def diamond_branch_c(start: Any) -> Any:
    """Multiply by 2."""
    number = start_value(start)
    if isinstance(number, StepHandlerResult):
        return number
    return {
        "result": number * 2,
        "operation": "multiply",
        "factor": 2,
        "input_value": number,
        "branch": "C",
    }


@step_handler(f"{_MODULE}.diamond_end")
@depends_on(branch_b=_BRANCH_B, branch_c=_BRANCH_C)
def diamond_end(branch_b: Any, branch_c: Any) -> Any:
    """Average the two branches."""
    b, c = branch_value(branch_b), branch_value(branch_c)
    missing = [name for name, value in ((_BRANCH_B, b), (_BRANCH_C, c)) if value is None]
    if missing:
        return StepHandlerResult.failure(
            f"Missing results from: {', '.join(missing)}", "dependency_error", retryable=True
        )
    return {
        "result": (b + c) / 2,
        "operation": "average",
        "branch_b_value": b,
        "branch_c_value": c,
        "step_type": "convergence",
    }
