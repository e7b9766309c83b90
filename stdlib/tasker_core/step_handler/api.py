"""A handler that calls an HTTP API."""

from tasker_core.step_handler.base import StepHandler
from tasker_core.step_handler.mixins.api import APIMixin, ApiResponse

__all__ = ["ApiHandler", "ApiResponse"]


class ApiHandler(APIMixin, StepHandler):
    """A step handler with an HTTP client; see :class:`APIMixin`."""

    @property
    def capabilities(self) -> list[str]:
        """What the handler can do."""
        return ["process", "http", "api"]
