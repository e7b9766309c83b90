"""The linear workflow as taskerpy runs it, for benchmarks."""

from tasker_core import StepContext, StepHandler, StepHandlerResult


class Square(StepHandler):
    handler_name = "square"

    def call(self, context: StepContext) -> StepHandlerResult:
        n = context.input_data["n"]
        return self.success({"n": n * n})


class Add(StepHandler):
    handler_name = "add"

    def call(self, context: StepContext) -> StepHandlerResult:
        return self.success({"n": context.get_dependency_result("square")["n"] + 10})


class Multiply(StepHandler):
    handler_name = "multiply"

    def call(self, context: StepContext) -> StepHandlerResult:
        return self.success({"n": context.get_dependency_result("add")["n"] * 3})


class Divide(StepHandler):
    handler_name = "divide"

    def call(self, context: StepContext) -> StepHandlerResult:
        return self.success({"n": context.get_dependency_result("multiply")["n"] / 2})
