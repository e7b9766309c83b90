"""A diamond: square an even number, take it two ways, average the two ends."""

from tasker_core import ErrorType, StepContext, StepHandler, StepHandlerResult

START = "diamond_start_py"
BRANCH_B = "diamond_branch_b_py"
BRANCH_C = "diamond_branch_c_py"


def start_value(context: StepContext) -> int | StepHandlerResult:
    """Return the square that the branches begin with, or the failure to answer with."""
    start = context.get_dependency_result(START)
    if start is None:
        return StepHandlerResult.failure(
            f"Missing result from {START}", error_type="dependency_error", retryable=True
        )
    value = start.get("result") if isinstance(start, dict) else start
    if value is None:
        return StepHandlerResult.failure(
            f"Missing 'result' field in {START} output",
            error_type="dependency_error",
            retryable=True,
        )
    number: int = value
    return number


class DiamondStartHandler(StepHandler):
    """Square the number of the task's input."""

    handler_name = "diamond_workflow.step_handlers.DiamondStartHandler"
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
            {"result": number * number, "operation": "square", "step_type": "initial"}
        )


class DiamondBranchBHandler(StepHandler):
    """Add 25."""

    handler_name = "diamond_workflow.step_handlers.DiamondBranchBHandler"
    handler_version = "1.0.0"

    CONSTANT = 25

    def call(self, context: StepContext) -> StepHandlerResult:
        """Return the sum."""
        number = start_value(context)
        if isinstance(number, StepHandlerResult):
            return number
        return self.success(
            {
                "result": number + self.CONSTANT,
                "operation": "add",
                "constant": self.CONSTANT,
                "input_value": number,
                "branch": "B",
            }
        )


class DiamondBranchCHandler(StepHandler):
    """Multiply by 2."""

    handler_name = "diamond_workflow.step_handlers.DiamondBranchCHandler"
    handler_version = "1.0.0"

    FACTOR = 2

    def call(self, context: StepContext) -> StepHandlerResult:
        """Return the product."""
        number = start_value(context)
        if isinstance(number, StepHandlerResult):
            return number
        return self.success(
            {
                "result": number * self.FACTOR,
                "operation": "multiply",
                "factor": self.FACTOR,
                "input_value": number,
                "branch": "C",
            }
        )


class DiamondEndHandler(StepHandler):
    """Average the two branches."""

    handler_name = "diamond_workflow.step_handlers.DiamondEndHandler"
    handler_version = "1.0.0"

    def call(self, context: StepContext) -> StepHandlerResult:
        """Return the average once both branches have a value."""
        b = context.get_dependency_field(BRANCH_B, "result")
        c = context.get_dependency_field(BRANCH_C, "result")
        missing = [name for name, value in ((BRANCH_B, b), (BRANCH_C, c)) if value is None]
        if missing:
            return self.failure(
                f"Missing results from: {', '.join(missing)}",
                error_type="dependency_error",
                retryable=True,
            )
        return self.success(
            {
                "result": (b + c) / 2,
                "operation": "average",
                "branch_b_value": b,
                "branch_c_value": c,
                "step_type": "convergence",
            }
        )
