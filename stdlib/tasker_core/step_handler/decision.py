"""A handler that decides which steps come next."""

from tasker_core.step_handler.base import StepHandler
from tasker_core.step_handler.mixins.decision import DecisionMixin

__all__ = ["DecisionHandler"]


class DecisionHandler(DecisionMixin, StepHandler):
    """A step handler that routes; see :class:`DecisionMixin`."""

    @property
    def capabilities(self) -> list[str]:
        """What the handler can do."""
        return ["process", "decision", "routing"]
