"""The orchestration API over HTTP, for the native module's ``client_*`` functions.

Each request uses a connection of its own. A kept connection would have to be
guarded against forks and against servers that close it while it idles: then a
request that must not be sent twice cannot be told from one that never arrived.

Waiting for an answer lets other threads run.
"""

import os
import time
from collections.abc import Callable, Iterable
from datetime import datetime, timezone
from typing import Any, NamedTuple
from uuid import uuid4

from tasker_core import _conversion

_NOT_CONFIGURED = "Client not initialized. Orchestration client may not be configured."
_URL_VARIABLE = "TASKER_ORCHESTRATION_URL"
_TIMEOUT_VARIABLE = "TASKER_ORCHESTRATION_TIMEOUT_MS"
_TOKEN_VARIABLES = ("TASKER_ORCHESTRATION_AUTH_TOKEN", "TASKER_AUTH_TOKEN")
_KEY_VARIABLE = "TASKER_API_KEY"
_KEY_HEADER_VARIABLE = "TASKER_API_KEY_HEADER"
_DEFAULT_KEY_HEADER = "X-API-Key"
_DEFAULT_TIMEOUT_SECONDS = 30.0
# Seconds to wait before the second and the third attempt to create a task.
_CREATE_WAITS = (2.0, 4.0)
# Of an answer's text that goes into an error.
_MAX_DETAIL = 2000

_TASK = (
    "task_uuid",
    "name",
    "namespace",
    "version",
    "status",
    "created_at",
    "updated_at",
    "context",
    "initiator",
    "source_system",
    "reason",
    "correlation_id",
    "total_steps",
    "pending_steps",
    "in_progress_steps",
    "completed_steps",
    "failed_steps",
    "ready_steps",
    "execution_status",
    "recommended_action",
    "completion_percentage",
    "health_status",
    "steps",
)
_TASK_OPTIONAL = ("completed_at", "priority", "tags", "parent_correlation_id")
_PAGINATION = ("page", "per_page", "total_count", "total_pages", "has_next", "has_previous")
_STEP = (
    "step_uuid",
    "task_uuid",
    "name",
    "created_at",
    "updated_at",
    "current_state",
    "dependencies_satisfied",
    "retry_eligible",
    "ready_for_execution",
    "total_parents",
    "completed_parents",
    "attempts",
    "max_attempts",
)
_STEP_OPTIONAL = (
    "completed_at",
    "results",
    "last_failure_at",
    "next_retry_at",
    "last_attempted_at",
)
_AUDIT = (
    "audit_uuid",
    "workflow_step_uuid",
    "transition_uuid",
    "task_uuid",
    "recorded_at",
    "success",
    "step_name",
    "to_state",
)
_AUDIT_OPTIONAL = ("worker_uuid", "correlation_id", "execution_time_ms", "result", "from_state")


class TaskerClientError(RuntimeError):
    """A request to the orchestration API failed.

    ``operation`` is what was asked, such as ``create_task``; ``status_code``
    the HTTP status, ``None`` if there was no answer; ``code`` the API's own
    word for the error, such as ``NOT_FOUND``; ``retryable`` whether trying
    again may help; ``retry_after_seconds`` how long the API asks to wait.

    >>> error = TaskerClientError("get_task", "HTTP 503: busy", status_code=503, retryable=True)
    >>> str(error), error.status_code, error.retryable
    ('get_task failed: HTTP 503: busy', 503, True)
    """

    def __init__(
        self,
        operation: str,
        detail: str,
        *,
        status_code: int | None = None,
        code: str | None = None,
        retryable: bool = False,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(f"{operation} failed: {detail}")
        self.operation = operation
        self.detail = detail
        self.status_code = status_code
        self.code = code
        self.retryable = retryable
        self.retry_after_seconds = retry_after_seconds

    def __reduce__(self) -> tuple[Any, ...]:
        # Errors of handlers cross process borders; the text alone would not
        # build this one.
        return _rebuild_error, (self.operation, self.detail, self.__dict__)


class Endpoint(NamedTuple):
    """Where the API is and what a request to it carries."""

    base_url: str
    timeout_seconds: float
    headers: tuple[tuple[str, str], ...]

    @classmethod
    def configured(cls, ask_host: Callable[[], Any]) -> "Endpoint":
        """Return what the host says, or else what the environment says.

        ``ask_host`` returns a dict with ``base_url`` and, if they differ from
        the usual, ``timeout_ms`` and ``headers``; or ``None`` if the host has
        no orchestration client. The host has the environment in what it says,
        and files and flags besides.

        Raises:
            RuntimeError: there is no API, its address is not usable, or
                whatever ``ask_host`` raises.
        """
        url = os.environ.get(_URL_VARIABLE, "").strip()
        try:
            told = ask_host()
        except RuntimeError:
            if not url:
                raise
            told = None  # there is no worker to ask
        if told is not None:
            timeout_ms = told.get("timeout_ms")
            return cls(
                _checked_url(told["base_url"], "the orchestration client's base_url"),
                _timeout() if timeout_ms is None else timeout_ms / 1000,
                tuple((told.get("headers") or {}).items()) or _credentials(),
            )
        if not url:
            raise RuntimeError(_NOT_CONFIGURED)
        return cls(_checked_url(url, _URL_VARIABLE), _timeout(), _credentials())


class Api:
    """The requests, with answers in the form that the native module gives them."""

    def __init__(self, endpoint: Endpoint, sleep: Callable[[float], None] | None = None) -> None:
        self._endpoint = endpoint
        self._sleep = time.sleep if sleep is None else sleep

    def create_task(self, request: bytes) -> dict[str, Any]:
        """Create a task; a busy or unreachable API is tried again twice."""
        operation = "create_task"
        for wait in _CREATE_WAITS:
            try:
                answer = self._request(operation, "POST", "/v1/tasks", request)
                break
            except TaskerClientError as exc:
                if not exc.retryable:
                    raise
                self._sleep(wait)
        else:
            answer = self._request(operation, "POST", "/v1/tasks", request)
        return self._task(operation, answer)

    def get_task(self, task_uuid: str) -> dict[str, Any]:
        """Return a task."""
        operation = "get_task"
        return self._task(operation, self._request(operation, "GET", f"/v1/tasks/{task_uuid}"))

    def cancel_task(self, task_uuid: str) -> dict[str, Any]:
        """Cancel a task."""
        self._request("cancel_task", "DELETE", f"/v1/tasks/{task_uuid}")
        return {"cancelled": True}

    def list_tasks(
        self, limit: int, offset: int, namespace: str | None, status: str | None
    ) -> dict[str, Any]:
        """Return ``limit`` tasks after the first ``offset``.

        The API has pages only. A part that lies across two of them is cut out
        of both.
        """
        page, skipped = divmod(offset, limit) if limit else (0, 0)
        answer = self._page(page + 1, limit, namespace, status)
        if not skipped:
            return answer
        tasks, pagination = answer["tasks"][skipped:], answer["pagination"]
        if pagination["has_next"]:
            tasks += self._page(page + 2, limit, namespace, status)["tasks"][:skipped]
        pagination["has_next"] = pagination["total_count"] > offset + limit
        pagination["has_previous"] = True
        return {"tasks": tasks, "pagination": pagination}

    def list_task_steps(self, task_uuid: str) -> list[dict[str, Any]]:
        """Return the steps of a task."""
        operation = "list_task_steps"
        answer = self._request(operation, "GET", f"/v1/tasks/{task_uuid}/workflow_steps")
        return [self._step(operation, step) for step in self._list(operation, answer)]

    def get_step(self, task_uuid: str, step_uuid: str) -> dict[str, Any]:
        """Return one step of a task."""
        operation = "get_step"
        path = f"/v1/tasks/{task_uuid}/workflow_steps/{step_uuid}"
        return self._step(operation, self._request(operation, "GET", path))

    def get_step_audit_history(self, task_uuid: str, step_uuid: str) -> list[dict[str, Any]]:
        """Return the recorded executions of a step; keys that are not set are left out."""
        operation = "get_step_audit_history"
        path = f"/v1/tasks/{task_uuid}/workflow_steps/{step_uuid}/audit"
        answer = self._list(operation, self._request(operation, "GET", path))
        records = [self._object(operation, record, _AUDIT, _AUDIT_OPTIONAL) for record in answer]
        return [
            {
                key: value
                for key, value in record.items()
                if value is not None or key not in _AUDIT_OPTIONAL
            }
            for record in records
        ]

    def health_check(self) -> dict[str, Any]:
        """Return that the API is healthy.

        Raises:
            TaskerClientError: it is not, or it does not answer.
        """
        operation = "health_check"
        answer = self._object(
            operation, self._request(operation, "GET", "/health"), ("status",), ("timestamp",)
        )
        if answer["status"] != "healthy":
            raise TaskerClientError(
                operation,
                f"{self._endpoint.base_url} is {answer['status']}",
                status_code=200,
                retryable=True,
            )
        return {
            "healthy": True,
            "status": answer["status"],
            "timestamp": answer["timestamp"] or "",
        }

    def _page(
        self, page: int, per_page: int, namespace: str | None, status: str | None
    ) -> dict[str, Any]:
        from urllib.parse import urlencode

        operation = "list_tasks"
        query = {"page": page, "per_page": per_page, "namespace": namespace, "status": status}
        text = urlencode({key: value for key, value in query.items() if value is not None})
        answer = self._request(operation, "GET", f"/v1/tasks?{text}")
        found = self._object(operation, answer, ("tasks", "pagination"))
        tasks = self._list(operation, found["tasks"])
        return {
            "tasks": [self._task(operation, task) for task in tasks],
            "pagination": self._object(operation, found["pagination"], _PAGINATION),
        }

    def _task(self, operation: str, answer: Any) -> dict[str, Any]:
        task = self._object(operation, answer, _TASK, _TASK_OPTIONAL)
        # JSON has no floats: 100 may be meant as one.
        if type(task["completion_percentage"]) is int:
            task["completion_percentage"] = float(task["completion_percentage"])
        return task

    def _step(self, operation: str, answer: Any) -> dict[str, Any]:
        return self._object(operation, answer, _STEP, _STEP_OPTIONAL)

    def _object(
        self,
        operation: str,
        answer: Any,
        required: Iterable[str],
        optional: Iterable[str] = (),
    ) -> dict[str, Any]:
        """Return the named fields of an answer; optional ones may be ``None``."""
        if not isinstance(answer, dict):
            raise self._foreign(operation, "an answer that is not an object")
        found = {}
        for name in required:
            if name not in answer:
                raise self._foreign(operation, f"an answer without {name!r}")
            found[name] = answer[name]
        found.update((name, answer.get(name)) for name in optional)
        return found

    def _list(self, operation: str, answer: Any) -> list[Any]:
        if not isinstance(answer, list):
            raise self._foreign(operation, "an answer that is not a list")
        return answer

    def _foreign(self, operation: str, what: str) -> TaskerClientError:
        return TaskerClientError(
            operation, f"{what} came from {self._endpoint.base_url}; is that a Tasker API?"
        )

    def _request(self, operation: str, method: str, path: str, body: bytes | None = None) -> Any:
        """Send a request and return its decoded answer."""
        status, retry_after, answer = self._exchange(operation, method, path, body)
        if 200 <= status < 300:
            try:
                return _conversion.decode(answer)
            except ValueError:
                raise self._foreign(operation, "an answer that is not JSON") from None
        told = _error_body(answer)
        text = answer.decode("utf-8", "replace").strip()
        if len(text) > _MAX_DETAIL:
            text = f"{text[:_MAX_DETAIL]}..."
        raise TaskerClientError(
            operation,
            f"HTTP {status}: {text}",
            status_code=status,
            code=told.get("code"),
            retryable=status >= 500 or status in (408, 429),
            retry_after_seconds=_seconds(retry_after, told.get("retry_after_seconds")),
        )

    def _exchange(
        self, operation: str, method: str, path: str, body: bytes | None
    ) -> tuple[int, str | None, bytes]:
        """Return the status, the ``Retry-After`` header and the body of the answer."""
        # Programs that never ask the API do not pay for the imports.
        from http.client import HTTPException
        from urllib.error import HTTPError, URLError
        from urllib.request import Request

        endpoint = self._endpoint
        request = Request(
            endpoint.base_url + path, data=body, method=method, headers=dict(endpoint.headers)
        )
        request.add_header("Accept", "application/json")
        if body is not None:
            request.add_header("Content-Type", "application/json")
        try:
            with _opener(endpoint.base_url).open(
                request, timeout=endpoint.timeout_seconds
            ) as answer:
                return answer.status, None, answer.read()
        except HTTPError as refused:
            with refused:
                return refused.code, refused.headers.get("Retry-After"), _rest_of(refused)
        except (OSError, HTTPException) as exc:
            reason = exc.reason if isinstance(exc, URLError) else exc
            if isinstance(reason, TimeoutError):
                problem = (
                    f"{endpoint.base_url} did not answer within {endpoint.timeout_seconds:g} s"
                )
            else:
                problem = f"cannot reach {endpoint.base_url}: {_reason(reason)}"
            # Where in the HTTP library it failed helps nobody.
            raise TaskerClientError(
                operation,
                f"{problem}; is the server up, and is {_URL_VARIABLE} its address?",
                retryable=True,
            ) from None


def complete_request(request: dict[str, Any]) -> dict[str, Any]:
    """Return a checked task request with what may be left out filled in."""
    return {
        "tags": [],
        "requested_at": datetime.now(timezone.utc).replace(tzinfo=None).isoformat(),
        "correlation_id": str(uuid4()),
        **request,
    }


def _opener(base_url: str) -> Any:
    from urllib.parse import urlsplit
    from urllib.request import HTTPRedirectHandler, ProxyHandler, build_opener

    class Refuse(HTTPRedirectHandler):
        """Credentials go to the configured server and to no other."""

        def redirect_request(self, *args: Any) -> None:
            return None

    handlers: list[Any] = [Refuse()]
    if urlsplit(base_url).hostname in ("localhost", "127.0.0.1", "::1"):
        # A proxy's own loopback is another machine's.
        handlers.append(ProxyHandler({}))
    return build_opener(*handlers)


def _rest_of(refused: Any) -> bytes:
    """Return what can still be read of a refusal; its status counts, not its text."""
    from http.client import HTTPException

    try:
        text: bytes = refused.read(_MAX_DETAIL * 8)
    except (OSError, HTTPException):
        return b""
    return text


def _reason(error: Any) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(text.split())


def _error_body(answer: bytes) -> dict[str, Any]:
    try:
        decoded = _conversion.decode(answer)
    except ValueError:
        return {}
    error = decoded.get("error") if isinstance(decoded, dict) else None
    return error if isinstance(error, dict) else {}


def _seconds(*candidates: Any) -> float | None:
    for candidate in candidates:
        try:
            return float(candidate)
        except (TypeError, ValueError):
            continue
    return None


def _checked_url(url: str, where: str) -> str:
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or not url.isascii() or not url.isprintable() or " " in url:
        raise RuntimeError(
            f"Client not initialized. {where} is not an address like http://localhost:8080"
        )
    if "@" in parts.netloc:
        raise RuntimeError(
            f"Client not initialized. {where} holds a user name; "
            f"give credentials in {_TOKEN_VARIABLES[0]}"
        )
    return url.rstrip("/")


def _timeout() -> float:
    text = os.environ.get(_TIMEOUT_VARIABLE, "").strip()
    if text:
        if not (text.isascii() and text.isdigit()) or int(text) == 0:
            raise RuntimeError(
                f"Client not initialized. {_TIMEOUT_VARIABLE}={text!r} is not a number of "
                "milliseconds"
            )
        return int(text) / 1000
    return _DEFAULT_TIMEOUT_SECONDS


def _credentials() -> tuple[tuple[str, str], ...]:
    for variable in _TOKEN_VARIABLES:
        token = _header_value(variable)
        if token:
            return (("Authorization", f"Bearer {token}"),)
    key = _header_value(_KEY_VARIABLE)
    if key:
        return ((_header_value(_KEY_HEADER_VARIABLE) or _DEFAULT_KEY_HEADER, key),)
    return ()


def _header_value(variable: str) -> str:
    """Return a variable's value. It is a secret, no error may show it."""
    value = os.environ.get(variable, "").strip()
    if not (value.isascii() and (not value or value.isprintable())):
        raise RuntimeError(
            f"Client not initialized. {variable} holds characters that HTTP cannot carry"
        )
    return value


def _rebuild_error(operation: str, detail: str, attributes: dict[str, Any]) -> TaskerClientError:
    error = TaskerClientError(operation, detail)
    error.__dict__.update(attributes)
    return error
