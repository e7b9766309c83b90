"""An HTTP client for handlers, and results made from its answers."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from tasker_core._patchable import patchable
from tasker_core.types import StepHandlerResult

if TYPE_CHECKING:
    import httpx as httpx

    from tasker_core.step_handler.base import StepHandler as _Host
else:
    _Host = object

__all__ = ["APIMixin", "ApiResponse"]

CLIENT_ERROR_CODES = range(400, 500)
SERVER_ERROR_CODES = range(500, 600)
NON_RETRYABLE_STATUS_CODES = {400, 401, 403, 404, 405, 406, 410, 422}
RETRYABLE_STATUS_CODES = {408, 429, 500, 502, 503, 504}

_DEFAULT_TIMEOUT_SECONDS = 30.0
# Waited when the server asks to wait in a way that is not a number of seconds.
_FALLBACK_RETRY_AFTER_SECONDS = 60

_STATUS_WORDS: dict[int, tuple[str, str]] = {
    400: ("bad_request", "Bad Request"),
    401: ("unauthorized", "Unauthorized"),
    403: ("forbidden", "Forbidden"),
    404: ("not_found", "Not Found"),
    405: ("method_not_allowed", "Method Not Allowed"),
    408: ("request_timeout", "Request Timeout"),
    409: ("conflict", "Conflict"),
    410: ("gone", "Gone"),
    422: ("unprocessable_entity", "Unprocessable Entity"),
    429: ("rate_limited", "Too Many Requests"),
    500: ("internal_server_error", "Internal Server Error"),
    502: ("bad_gateway", "Bad Gateway"),
    503: ("service_unavailable", "Service Unavailable"),
    504: ("gateway_timeout", "Gateway Timeout"),
}
_ERROR_TEXT_KEYS = ("error", "message", "detail", "error_message", "msg")


class _Response(Protocol):
    """What :class:`ApiResponse` needs of a response."""

    @property
    def status_code(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]: ...

    @property
    def text(self) -> str: ...

    def json(self) -> Any: ...


class ApiResponse:
    """An HTTP answer with its body decoded.

    ``body`` is the decoded JSON if the answer says it is JSON, else the text.

    >>> import httpx
    >>> response = ApiResponse(httpx.Response(503, json={"error": "busy"}))
    >>> response.body, response.ok, response.is_retryable
    ({'error': 'busy'}, False, True)
    """

    def __init__(self, response: _Response, body: Any = None) -> None:
        self.raw_response = response
        self.status_code = response.status_code
        self.headers: dict[str, str] = dict(response.headers)
        self.body: Any = _decode(response) if body is None else body

    @property
    def ok(self) -> bool:
        """Whether the status is a success (200-299)."""
        return 200 <= self.status_code < 300

    @property
    def is_client_error(self) -> bool:
        """Whether the request was at fault (400-499)."""
        return self.status_code in CLIENT_ERROR_CODES

    @property
    def is_server_error(self) -> bool:
        """Whether the server was at fault (500-599)."""
        return self.status_code in SERVER_ERROR_CODES

    @property
    def is_retryable(self) -> bool:
        """Whether the same request may succeed later."""
        return self.status_code in RETRYABLE_STATUS_CODES

    @property
    def retry_after(self) -> int | None:
        """Seconds that the server asks to wait; 60 if it does not say seconds."""
        text = self.headers.get("retry-after")
        if text is None:
            return None
        try:
            return int(text)
        except ValueError:
            return _FALLBACK_RETRY_AFTER_SECONDS

    def to_dict(self) -> dict[str, Any]:
        """Return ``status_code``, ``headers`` and ``body``."""
        return {"status_code": self.status_code, "headers": self.headers, "body": self.body}


def _decode(response: _Response) -> Any:
    if "application/json" in response.headers.get("content-type", ""):
        try:
            return response.json()
        except ValueError:
            return response.text
    return response.text


class APIMixin(_Host):
    """Gives a step handler an HTTP client; put it before ``StepHandler`` in the bases.

    Nothing is retried here: a handler says by its result whether the step is
    to be tried again::

        class Charge(APIMixin, StepHandler):
            base_url = "https://payments.example.com"

            def call(self, context):
                response = self.post("/charges", json=context.input_data)
                return self.api_success(response) if response.ok else self.api_failure(response)
    """

    base_url: str = ""
    default_timeout: float = _DEFAULT_TIMEOUT_SECONDS
    default_headers: dict[str, str] = {}  # noqa: RUF012 -- subclasses and instances override it

    # Here too for handlers whose constructor does not call this one.
    _client: "httpx.Client | None" = None

    def __init__(self) -> None:
        super().__init__()
        self._client = None

    def __del__(self) -> None:
        try:
            self.close()
        except Exception:
            # The interpreter may be half gone, and nobody could be told.
            return

    @property
    def api_capabilities(self) -> list[str]:
        """What this mixin adds."""
        return ["http", "api"]

    @property
    def client(self) -> "httpx.Client":
        """The client, made on first use and kept until :meth:`close`."""
        if self._client is None:
            # By way of the module, where tests may have put another httpx.
            from tasker_core.step_handler.mixins import api

            self._client = api.httpx.Client(
                base_url=self.base_url,
                timeout=self.default_timeout,
                headers=self.default_headers,
            )
        return self._client

    def close(self) -> None:
        """Close the client if there is one. The next request opens another."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def get(
        self,
        path: str,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> ApiResponse:
        """Send a GET request. Errors of the connection are raised by httpx."""
        return ApiResponse(self.client.get(path, params=params, headers=headers, **kwargs))

    def post(
        self,
        path: str,
        json: Any = None,
        data: Any = None,
        headers: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> ApiResponse:
        """Send a POST request. Errors of the connection are raised by httpx."""
        return ApiResponse(self.client.post(path, json=json, data=data, headers=headers, **kwargs))

    def put(
        self,
        path: str,
        json: Any = None,
        data: Any = None,
        headers: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> ApiResponse:
        """Send a PUT request. Errors of the connection are raised by httpx."""
        return ApiResponse(self.client.put(path, json=json, data=data, headers=headers, **kwargs))

    def patch(
        self,
        path: str,
        json: Any = None,
        data: Any = None,
        headers: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> ApiResponse:
        """Send a PATCH request. Errors of the connection are raised by httpx."""
        return ApiResponse(self.client.patch(path, json=json, data=data, headers=headers, **kwargs))

    def delete(
        self, path: str, headers: Mapping[str, str] | None = None, **kwargs: Any
    ) -> ApiResponse:
        """Send a DELETE request. Errors of the connection are raised by httpx."""
        return ApiResponse(self.client.delete(path, headers=headers, **kwargs))

    def request(self, method: str, path: str, **kwargs: Any) -> ApiResponse:
        """Send a request of any method. Errors of the connection are raised by httpx."""
        return ApiResponse(self.client.request(method, path, **kwargs))

    def api_success(
        self,
        response: ApiResponse,
        result: dict[str, Any] | None = None,
        include_response: bool = True,
    ) -> StepHandlerResult:
        """Return a success with ``result``, or else with the answer's body."""
        if result is None:
            result = response.body if isinstance(response.body, dict) else {"data": response.body}
        metadata: dict[str, Any] = {}
        if include_response:
            metadata = {"status_code": response.status_code, "headers": response.headers}
        return self.success(result, metadata=metadata)

    def api_failure(self, response: ApiResponse, message: str | None = None) -> StepHandlerResult:
        """Return a failure that is retryable if the answer's status is."""
        metadata: dict[str, Any] = {
            "status_code": response.status_code,
            "headers": response.headers,
        }
        if response.retry_after is not None:
            metadata["retry_after_seconds"] = response.retry_after
        if response.body:
            metadata["response_body"] = response.body
        return self.failure(
            message=self._format_error_message(response) if message is None else message,
            error_type=self._classify_error(response),
            retryable=response.is_retryable,
            metadata=metadata,
        )

    def connection_error(self, error: Exception, context: str | None = None) -> StepHandlerResult:
        """Return a retryable failure: the other side could not be reached."""
        return _transport_failure(self, "Connection error", "connection_error", error, context)

    def timeout_error(self, error: Exception, context: str | None = None) -> StepHandlerResult:
        """Return a retryable failure: the other side took too long."""
        return _transport_failure(self, "Request timeout", "timeout", error, context)

    def _classify_error(self, response: ApiResponse) -> str:
        if response.status_code in _STATUS_WORDS:
            return _STATUS_WORDS[response.status_code][0]
        if response.is_client_error:
            return "client_error"
        return "server_error" if response.is_server_error else "http_error"

    def _format_error_message(self, response: ApiResponse) -> str:
        detail = _error_text(response.body)
        if detail is None:
            detail = _STATUS_WORDS.get(response.status_code, ("", "HTTP Error"))[1]
        return f"HTTP {response.status_code}: {detail}"


# No method: handlers may have one of any name, and it would be called instead.
def _transport_failure(
    handler: _Host, what: str, error_type: str, error: Exception, context: str | None
) -> StepHandlerResult:
    doing = f" while {context}" if context else ""
    return handler.failure(
        message=f"{what}{doing}: {error}",
        error_type=error_type,
        retryable=True,
        metadata={"exception_type": type(error).__name__},
    )


def _error_text(body: Any) -> str | None:
    """Return what the body says went wrong, if it says so in a usual place."""
    if not isinstance(body, dict):
        return None
    for key in _ERROR_TEXT_KEYS:
        value = body.get(key)
        if isinstance(value, str):
            return value
        if isinstance(value, dict) and "message" in value:
            return str(value["message"])
    return None


if not TYPE_CHECKING:
    __getattr__ = patchable(__name__, {"httpx": "httpx"})
