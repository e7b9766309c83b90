"""A handler that decides which steps come next."""

from tasker_core.step_handler.base import StepHandler
from tasker_core.step_handler.mixins.decision import DecisionMixin

__all__ = ["DecisionHandler"]


class DecisionHandler(DecisionMixin, StepHandler):
    """A step handler that routes; see :class:`DecisionMixin`.

    >>> class Route(DecisionHandler):
    ...     handler_name = "route"
    ...
    ...     def call(self, context):
    ...         large = context.get_input("amount") > 1000
    ...         return self.route_to_steps(["ask_manager" if large else "approve"])
    >>> from tasker_core.testing import run_step
    >>> run_step(Route, input_data={"amount": 5}).result["decision_point_outcome"]
    {'type': 'create_steps', 'step_names': ['approve']}
    """

    @property
    def capabilities(self) -> list[str]:
        """What the handler can do."""
        return ["process", "decision", "routing"]
