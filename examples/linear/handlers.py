"""Four steps in a row: square an even number, add 10, multiply by 3, halve."""

from tasker_core import ErrorType, StepContext, StepHandler, StepHandlerResult


def number_from(context: StepContext, step: str) -> int | float | StepHandlerResult:
    """Return the number that ``step`` computed, or the failure to answer with."""
    value = context.get_dependency_result(step)
    if value is None:
        return StepHandlerResult.failure(
            f"Missing result from {step}", error_type="dependency_error", retryable=True
        )
    if isinstance(value, dict):
        value = value.get("result")
    if value is None:
        return StepHandlerResult.failure(
            f"Missing 'result' field in {step} output",
            error_type="dependency_error",
            retryable=True,
        )
    number: int | float = value
    return number


class LinearStep1Handler(StepHandler):
    """Square the number of the task's input."""

    handler_name = "linear_workflow.step_handlers.LinearStep1Handler"
    handler_version = "1.0.0"

    def call(self, context: StepContext) -> StepHandlerResult:
        """Return the square, or a failure that no retry can mend."""
        number = context.get_input("even_number")
        if number is None:
            return self.failure(
                "Task context must contain an even_number",
                error_type=ErrorType.VALIDATION_ERROR,
                retryable=False,
            )
        if type(number) is not int or number % 2 != 0:  # True is an int, but no number
            return self.failure(
                f"even_number must be an even integer, got: {number}",
                error_type=ErrorType.VALIDATION_ERROR,
                retryable=False,
            )
        return self.success(
            {
                "result": number * number,
                "operation": "square",
                "step_type": "initial",
                "input_refs": {"even_number": "task.context.even_number"},
            }
        )


class LinearStep2Handler(StepHandler):
    """Add 10."""

    handler_name = "linear_workflow.step_handlers.LinearStep2Handler"
    handler_version = "1.0.0"

    CONSTANT = 10

    def call(self, context: StepContext) -> StepHandlerResult:
        """Return the sum."""
        number = number_from(context, "linear_step_1_py")
        if isinstance(number, StepHandlerResult):
            return number
        return self.success(
            {
                "result": number + self.CONSTANT,
                "operation": "add",
                "constant": self.CONSTANT,
                "input_value": number,
            }
        )


class LinearStep3Handler(StepHandler):
    """Multiply by 3."""

    handler_name = "linear_workflow.step_handlers.LinearStep3Handler"
    handler_version = "1.0.0"

    FACTOR = 3

    def call(self, context: StepContext) -> StepHandlerResult:
        """Return the product."""
        number = number_from(context, "linear_step_2_py")
        if isinstance(number, StepHandlerResult):
            return number
        return self.success(
            {
                "result": number * self.FACTOR,
                "operation": "multiply",
                "factor": self.FACTOR,
                "input_value": number,
            }
        )


class LinearStep4Handler(StepHandler):
    """Divide by 2."""

    handler_name = "linear_workflow.step_handlers.LinearStep4Handler"
    handler_version = "1.0.0"

    DIVISOR = 2

    def call(self, context: StepContext) -> StepHandlerResult:
        """Return the quotient."""
        number = number_from(context, "linear_step_3_py")
        if isinstance(number, StepHandlerResult):
            return number
        return self.success(
            {
                "result": number / self.DIVISOR,
                "operation": "divide",
                "divisor": self.DIVISOR,
                "input_value": number,
            }
        )
