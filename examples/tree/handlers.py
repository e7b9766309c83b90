"""A tree: every node squares its parent; the leaves meet again at the end.

The numbers grow fast: the last result is the input to the 64th power, far
beyond what 64 bits hold.
"""

import math

from tasker_core import ErrorType, StepContext, StepHandler, StepHandlerResult

ROOT = "tree_root_py"
LEFT = "tree_branch_left_py"
RIGHT = "tree_branch_right_py"
LEAVES = ["tree_leaf_d_py", "tree_leaf_e_py", "tree_leaf_f_py", "tree_leaf_g_py"]


def square_of(context: StepContext, parent: str) -> StepHandlerResult:
    """Return the result of a node: the square of its parent's value."""
    value = context.get_dependency_field(parent, "result")
    if value is None:
        return StepHandlerResult.failure(
            f"Missing result from {parent}", error_type="dependency_error", retryable=True
        )
    return StepHandlerResult.success(
        {"result": value * value, "operation": "square", "input_value": value}
    )


class TreeRootHandler(StepHandler):
    """Square the number of the task's input."""

    handler_name = "tree_workflow.step_handlers.TreeRootHandler"
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


class TreeBranchLeftHandler(StepHandler):
    """Square the root's value."""

    handler_name = "tree_workflow.step_handlers.TreeBranchLeftHandler"
    handler_version = "1.0.0"

    def call(self, context: StepContext) -> StepHandlerResult:
        """Return the square."""
        return square_of(context, ROOT)


class TreeBranchRightHandler(StepHandler):
    """Square the root's value."""

    handler_name = "tree_workflow.step_handlers.TreeBranchRightHandler"
    handler_version = "1.0.0"

    def call(self, context: StepContext) -> StepHandlerResult:
        """Return the square."""
        return square_of(context, ROOT)


class TreeLeafDHandler(StepHandler):
    """Square the left branch."""

    handler_name = "tree_workflow.step_handlers.TreeLeafDHandler"
    handler_version = "1.0.0"

    def call(self, context: StepContext) -> StepHandlerResult:
        """Return the square."""
        return square_of(context, LEFT)


class TreeLeafEHandler(StepHandler):
    """Square the left branch."""

    handler_name = "tree_workflow.step_handlers.TreeLeafEHandler"
    handler_version = "1.0.0"

    def call(self, context: StepContext) -> StepHandlerResult:
        """Return the square."""
        return square_of(context, LEFT)


class TreeLeafFHandler(StepHandler):
    """Square the right branch."""

    handler_name = "tree_workflow.step_handlers.TreeLeafFHandler"
    handler_version = "1.0.0"

    def call(self, context: StepContext) -> StepHandlerResult:
        """Return the square."""
        return square_of(context, RIGHT)


class TreeLeafGHandler(StepHandler):
    """Square the right branch."""

    handler_name = "tree_workflow.step_handlers.TreeLeafGHandler"
    handler_version = "1.0.0"

    def call(self, context: StepContext) -> StepHandlerResult:
        """Return the square."""
        return square_of(context, RIGHT)


class TreeFinalConvergenceHandler(StepHandler):
    """Multiply the four leaves and square the product."""

    handler_name = "tree_workflow.step_handlers.TreeFinalConvergenceHandler"
    handler_version = "1.0.0"

    def call(self, context: StepContext) -> StepHandlerResult:
        """Return the square once all leaves have a value."""
        values = {leaf: context.get_dependency_field(leaf, "result") for leaf in LEAVES}
        missing = [leaf for leaf, value in values.items() if value is None]
        if missing:
            return self.failure(
                f"Missing results from: {', '.join(missing)}",
                error_type="dependency_error",
                retryable=True,
            )
        return self.success(
            {
                "result": math.prod(values.values()) ** 2,
                "operation": "multiply_and_square",
                "leaf_values": values,
                "step_type": "convergence",
            }
        )
