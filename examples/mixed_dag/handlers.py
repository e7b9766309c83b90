"""A graph with every shape in it: a fork, a join, two chains and a last join."""

import math

from tasker_core import ErrorType, StepContext, StepHandler, StepHandlerResult

INIT = "dag_init_py"
LEFT = "dag_process_left_py"
RIGHT = "dag_process_right_py"
VALIDATE = "dag_validate_py"
TRANSFORM = "dag_transform_py"
ANALYZE = "dag_analyze_py"


def square_of(context: StepContext, *parents: str) -> StepHandlerResult:
    """Return the square of the product of what ``parents`` computed."""
    values = {parent: context.get_dependency_field(parent, "result") for parent in parents}
    missing = [parent for parent, value in values.items() if value is None]
    if missing:
        return StepHandlerResult.failure(
            f"Missing results from: {', '.join(missing)}",
            error_type="dependency_error",
            retryable=True,
        )
    return StepHandlerResult.success(
        {
            "result": math.prod(values.values()) ** 2,
            "operation": "square" if len(parents) == 1 else "multiply_and_square",
            "input_values": values,
        }
    )


class DagInitHandler(StepHandler):
    """Square the number of the task's input."""

    handler_name = "mixed_dag_workflow.step_handlers.DagInitHandler"
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


class DagProcessLeftHandler(StepHandler):
    """Square the first value."""

    handler_name = "mixed_dag_workflow.step_handlers.DagProcessLeftHandler"
    handler_version = "1.0.0"

    def call(self, context: StepContext) -> StepHandlerResult:
        """Return the square."""
        return square_of(context, INIT)


class DagProcessRightHandler(StepHandler):
    """Square the first value."""

    handler_name = "mixed_dag_workflow.step_handlers.DagProcessRightHandler"
    handler_version = "1.0.0"

    def call(self, context: StepContext) -> StepHandlerResult:
        """Return the square."""
        return square_of(context, INIT)


class DagValidateHandler(StepHandler):
    """Join both sides: square their product."""

    handler_name = "mixed_dag_workflow.step_handlers.DagValidateHandler"
    handler_version = "1.0.0"

    def call(self, context: StepContext) -> StepHandlerResult:
        """Return the square of the product."""
        return square_of(context, LEFT, RIGHT)


class DagTransformHandler(StepHandler):
    """Go on with the left side alone."""

    handler_name = "mixed_dag_workflow.step_handlers.DagTransformHandler"
    handler_version = "1.0.0"

    def call(self, context: StepContext) -> StepHandlerResult:
        """Return the square."""
        return square_of(context, LEFT)


class DagAnalyzeHandler(StepHandler):
    """Go on with the right side alone."""

    handler_name = "mixed_dag_workflow.step_handlers.DagAnalyzeHandler"
    handler_version = "1.0.0"

    def call(self, context: StepContext) -> StepHandlerResult:
        """Return the square."""
        return square_of(context, RIGHT)


class DagFinalizeHandler(StepHandler):
    """Join all three: square their product."""

    handler_name = "mixed_dag_workflow.step_handlers.DagFinalizeHandler"
    handler_version = "1.0.0"

    def call(self, context: StepContext) -> StepHandlerResult:
        """Return the square of the product."""
        return square_of(context, VALIDATE, TRANSFORM, ANALYZE)
