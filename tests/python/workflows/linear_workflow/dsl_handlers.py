"""The four steps of ``examples/linear`` as functions."""

from typing import Any

from tasker_core import ErrorType, StepHandlerResult
from tasker_core.step_handler import depends_on, inputs, step_handler

_MODULE = "linear_workflow_dsl_py.step_handlers"


class Missing(Exception):
    """A number that an earlier step should have left."""


def number_in(value: Any, step: str) -> Any:
    """Return the number that ``step`` computed.

    Raises:
        Missing: there is none.
    """
    if value is None:
        raise Missing(f"Missing result from {step}")
    number = value.get("result") if isinstance(value, dict) else value
    if number is None:
        raise Missing(f"Missing 'result' field in {step} output")
    return number


def missing(error: Missing) -> StepHandlerResult:
    """Return the failure of a step whose number is missing."""
    return StepHandlerResult.failure(str(error), "dependency_error", retryable=True)


def checked(number: Any) -> int | StepHandlerResult:
    """Return the input's number, or the failure to answer with."""
    if number is None:
        return StepHandlerResult.failure(
            "Task context must contain an even_number",
            ErrorType.VALIDATION_ERROR,
            retryable=False,
        )
    if type(number) is not int or number % 2 != 0:  # True is an int, but no number
        return StepHandlerResult.failure(
            f"even_number must be an even integer, got: {number}",
            ErrorType.VALIDATION_ERROR,
            retryable=False,
        )
    return number


@step_handler(f"{_MODULE}.linear_step_1")
@inputs("even_number")
def linear_step_1(even_number: Any) -> Any:
    """Square the number of the task's input."""
    number = checked(even_number)
    if isinstance(number, StepHandlerResult):
        return number
    return {
        "result": number * number,
        "operation": "square",
        "step_type": "initial",
        "input_refs": {"even_number": "task.context.even_number"},
    }


@step_handler(f"{_MODULE}.linear_step_2")
@depends_on(squared="linear_step_1_dsl_py")
def linear_step_2(squared: Any) -> Any:
    """Add 10."""
    try:
        number = number_in(squared, "linear_step_1_dsl_py")
    except Missing as error:
        return missing(error)
    return {"result": number + 10, "operation": "add", "constant": 10, "input_value": number}


@step_handler(f"{_MODULE}.linear_step_3")
@depends_on(added="linear_step_2_dsl_py")
def linear_step_3(added: Any) -> Any:
    """Multiply by 3."""
    try:
        number = number_in(added, "linear_step_2_dsl_py")
    except Missing as error:
        return missing(error)
    return {"result": number * 3, "operation": "multiply", "factor": 3, "input_value": number}


@step_handler(f"{_MODULE}.linear_step_4")
@depends_on(multiplied="linear_step_3_dsl_py")
def linear_step_4(multiplied: Any) -> Any:
    """Divide by 2."""
    try:
        number = number_in(multiplied, "linear_step_3_dsl_py")
    except Missing as error:
        return missing(error)
    return {"result": number / 2, "operation": "divide", "divisor": 2, "input_value": number}
