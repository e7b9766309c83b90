"""A handler that calls an HTTP API."""

from tasker_core.step_handler.base import StepHandler
from tasker_core.step_handler.mixins.api import APIMixin, ApiResponse

__all__ = ["ApiHandler", "ApiResponse"]


class ApiHandler(APIMixin, StepHandler):
    """A step handler with an HTTP client; see :class:`APIMixin`.

    >>> class Rates(ApiHandler):
    ...     handler_name = "rates"
    ...     base_url = "https://rates.example"
    ...
    ...     def call(self, context):
    ...         response = self.get("/rates/EUR")
    ...         return self.api_success(response) if response.ok else self.api_failure(response)
    >>> Rates().capabilities
    ['process', 'http', 'api']
    """

    @property
    def capabilities(self) -> list[str]:
        """What the handler can do."""
        return ["process", "http", "api"]
