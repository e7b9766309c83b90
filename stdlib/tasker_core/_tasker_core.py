"""The native module: the functions through which Python reaches the host.

Inside the ``taskerpy`` binary each function checks its arguments, hands them
to the host as a JSON object keyed by their names, and gives back the host's
JSON answer. The host is entered with the GIL released.

Outside the binary (an editor, a plain ``pytest``, a spawned child) there is
no worker: the module works as far as it can without one. In a forked child
the host cannot be entered, and functions that would do so raise.

Only built-in exceptions are raised: ``TypeError`` for an argument of a wrong
type, ``ValueError`` for a wrong value, ``RuntimeError`` for what the host says.
"""

import json as _json
import os as _os
import sys as _sys
from typing import Any as _Any

from tasker_core import _conversion, _payloads, _rest

try:
    import _taskerpy
except ImportError:
    _taskerpy = None  # type: ignore[assignment]

__all__ = [
    "__version__",
    "bootstrap_worker",
    "check_starvation_warnings",
    "checkpoint_yield_step_event",
    "cleanup_timeouts",
    "client_cancel_task",
    "client_create_task",
    "client_get_step",
    "client_get_step_audit_history",
    "client_get_task",
    "client_health_check",
    "client_list_task_steps",
    "client_list_tasks",
    "complete_step_event",
    "get_ffi_dispatch_metrics",
    "get_health_check",
    "get_metrics",
    "get_rust_version",
    "get_version",
    "get_worker_config",
    "get_worker_status",
    "health_check",
    "is_worker_running",
    "log_debug",
    "log_error",
    "log_info",
    "log_trace",
    "log_warn",
    "poll_in_process_events",
    "poll_step_events",
    "stop_worker",
    "transition_to_graceful_shutdown",
]

__version__ = "0.1.8"

_OWNER_PID = _os.getpid()
_NO_WORKER = "Worker not initialized. Call bootstrap_worker() first."
# Python's logging has no level below debug (10).
_LOG_LEVELS = {"error": 40, "warn": 30, "info": 20, "debug": 10, "trace": 5}


def get_version() -> str:
    """Return the version of the package.

    >>> get_version() == __version__
    True
    """
    return __version__


def get_rust_version() -> str:
    """Return what the host is, with the words that programs look for.

    >>> "tasker-py" in get_rust_version()
    True
    """
    return f"tasker-py {__version__} (rustc-compatible host: taskerpy)"


def health_check() -> bool:
    """Return ``True``: the module is there.

    >>> health_check()
    True
    """
    return True


def bootstrap_worker(config: dict[str, _Any] | None = None) -> dict[str, _Any]:
    """Start the worker; ``status`` of the answer is ``started`` or ``already_running``."""
    if config is not None:
        _expect("config", config, dict)
        if "namespace" in config:
            _expect("config['namespace']", config["namespace"], str)
    if _taskerpy is None:
        raise RuntimeError("Bootstrap failed: not running inside taskerpy")
    return _enter_dict("bootstrap_worker", {"config": config, "environment": _environment()})


def stop_worker() -> str:
    """Stop the worker if there is one, and say which."""
    if _taskerpy is None:
        return "Worker system not running"
    return str(_enter("stop_worker"))


def get_worker_status() -> dict[str, _Any]:
    """Return how the worker is."""
    if _taskerpy is None:
        return {"running": False, "error": "Worker system not initialized"}
    return _enter_dict("get_worker_status")


def transition_to_graceful_shutdown() -> str:
    """Take no more steps and let the running ones finish."""
    return str(_enter("transition_to_graceful_shutdown"))


def is_worker_running() -> bool:
    """Return whether there is a worker that has not been stopped."""
    return _taskerpy is not None and bool(_enter("is_worker_running"))


def log_error(message: str, fields: dict[str, _Any] | None = None) -> None:
    """Write a log line of level error."""
    _log("error", message, fields)


def log_warn(message: str, fields: dict[str, _Any] | None = None) -> None:
    """Write a log line of level warn."""
    _log("warn", message, fields)


def log_info(message: str, fields: dict[str, _Any] | None = None) -> None:
    """Write a log line of level info."""
    _log("info", message, fields)


def log_debug(message: str, fields: dict[str, _Any] | None = None) -> None:
    """Write a log line of level debug."""
    _log("debug", message, fields)


def log_trace(message: str, fields: dict[str, _Any] | None = None) -> None:
    """Write a log line of level trace."""
    _log("trace", message, fields)


def poll_step_events() -> dict[str, _Any] | None:
    """Return the next step that waits for Python, or ``None``.

    >>> poll_step_events()
    Traceback (most recent call last):
        ...
    RuntimeError: Worker not initialized. Call bootstrap_worker() first.
    """
    return _enter_dict_or_none("poll_step_events")


def complete_step_event(event_id_str: str, completion_data: dict[str, _Any]) -> bool:
    """Hand in the result of a step; ``False`` if nobody waits for it.

    >>> complete_step_event("7", {})
    Traceback (most recent call last):
        ...
    ValueError: Invalid event_id format: ...
    """
    _expect("event_id_str", event_id_str, str)
    _expect("completion_data", completion_data, dict)
    event_id = _uuid(event_id_str, "Invalid event_id format")
    arguments = _convert(
        lambda: {
            "event_id_str": event_id,
            "completion_data": _payloads.completion(completion_data),
        },
        "Conversion error: Failed to convert completion data",
    )
    return bool(_enter("complete_step_event", arguments))


def checkpoint_yield_step_event(event_id_str: str, checkpoint_data: dict[str, _Any]) -> bool:
    """Store a step's progress and have it delivered again."""
    _expect("event_id_str", event_id_str, str)
    _expect("checkpoint_data", checkpoint_data, dict)
    event_id = _uuid(event_id_str, "Invalid event_id format")
    arguments = _convert(
        lambda: {
            "event_id_str": event_id,
            "checkpoint_data": _payloads.checkpoint(checkpoint_data),
        },
        "Conversion error: Failed to convert checkpoint data",
    )
    return bool(_enter("checkpoint_yield_step_event", arguments))


def get_ffi_dispatch_metrics() -> dict[str, _Any]:
    """Return counts and ages of the steps that Python has not answered.

    >>> get_ffi_dispatch_metrics()
    Traceback (most recent call last):
        ...
    RuntimeError: Worker not initialized. Call bootstrap_worker() first.
    """
    return _enter_dict("get_ffi_dispatch_metrics")


def check_starvation_warnings() -> bool:
    """Log every step that Python has kept for too long.

    >>> check_starvation_warnings()
    Traceback (most recent call last):
        ...
    RuntimeError: Worker not initialized. Call bootstrap_worker() first.
    """
    return bool(_enter("check_starvation_warnings"))


def cleanup_timeouts() -> int:
    """Fail the steps that Python will not answer any more; return how many.

    >>> cleanup_timeouts()
    Traceback (most recent call last):
        ...
    RuntimeError: Worker not initialized. Call bootstrap_worker() first.
    """
    return int(_enter("cleanup_timeouts"))


def poll_in_process_events() -> dict[str, _Any] | None:
    """Return the next domain event of this process, or ``None``.

    >>> poll_in_process_events()
    Traceback (most recent call last):
        ...
    RuntimeError: Worker not initialized. Call bootstrap_worker() first.
    """
    return _enter_dict_or_none("poll_in_process_events")


def get_health_check() -> dict[str, _Any]:
    """Return the health of the worker and its parts."""
    return _enter_dict("get_health_check")


def get_metrics() -> dict[str, _Any]:
    """Return the worker's counts."""
    return _enter_dict("get_metrics")


def get_worker_config() -> dict[str, _Any]:
    """Return the configuration the worker runs with."""
    return _enter_dict("get_worker_config")


def _publish_domain_event(name: str, payload: dict[str, _Any], metadata: dict[str, _Any]) -> str:
    """Publish a fast event of this process; return its id."""
    arguments = _convert(
        lambda: {"event_name": name, "payload": payload, "metadata": metadata},
        "Conversion error: Failed to convert domain event",
    )
    return str(_enter("publish_domain_event", arguments))


def _receive_host_records(level: int) -> None:
    """Have the host keep its log from a level of ``logging`` on."""
    if _taskerpy is None:
        raise RuntimeError("records of the host can be received only inside taskerpy")
    _enter("receive_host_records", {"level": level})


def _next_host_records() -> dict[str, _Any] | None:
    """Wait for records of the host; ``None`` when there will be no more."""
    return _enter_dict_or_none("next_host_records")


def _stop_host_records() -> None:
    """Wake who waits for records; there will be no more."""
    _enter("stop_host_records")


def client_create_task(request: dict[str, _Any]) -> dict[str, _Any]:
    """Create a task and return it."""
    _expect("request", request, dict)
    body = _convert(
        lambda: _rest.complete_request(_payloads.task_request(request)), "Invalid task request"
    )
    return _api().create_task(body)


def client_get_task(task_uuid: str) -> dict[str, _Any]:
    """Return a task."""
    task = _one_uuid(task_uuid)
    return _api().get_task(task)


def client_cancel_task(task_uuid: str) -> dict[str, _Any]:
    """Cancel a task."""
    task = _one_uuid(task_uuid)
    return _api().cancel_task(task)


def client_list_task_steps(task_uuid: str) -> list[dict[str, _Any]]:
    """Return the steps of a task."""
    task = _one_uuid(task_uuid)
    return _api().list_task_steps(task)


def client_list_tasks(
    limit: int = 50, offset: int = 0, namespace: str | None = None, status: str | None = None
) -> dict[str, _Any]:
    """Return a page of tasks."""
    for name, number in (("limit", limit), ("offset", offset)):
        _expect(name, number, int)
        if not 0 <= number < 2**31:
            raise ValueError(f"{name} must be between 0 and {2**31 - 1}, not {number}")
    for name, text in (("namespace", namespace), ("status", status)):
        if text is not None:
            _expect(name, text, str)
    return _api().list_tasks(int(limit), int(offset), namespace, status)


def client_get_step(task_uuid: str, step_uuid: str) -> dict[str, _Any]:
    """Return one step of a task."""
    task, step = _two_uuids(task_uuid, step_uuid)
    return _api().get_step(task, step)


def client_get_step_audit_history(task_uuid: str, step_uuid: str) -> list[dict[str, _Any]]:
    """Return the recorded executions of a step."""
    task, step = _two_uuids(task_uuid, step_uuid)
    return _api().get_step_audit_history(task, step)


def client_health_check() -> dict[str, _Any]:
    """Return whether the orchestration API answers."""
    return _api().health_check()


def _enter(name: str, arguments: dict[str, _Any] | bytes | None = None) -> _Any:
    """Call the host's function and return its answer."""
    if _taskerpy is None:
        raise RuntimeError(_NO_WORKER)
    if _os.getpid() != _OWNER_PID:
        raise RuntimeError(
            f"{name}() cannot be called in a forked process: the worker lives in process "
            f"{_OWNER_PID}; call it there, or start children with the 'spawn' method"
        )
    if isinstance(arguments, dict):
        arguments = _convert(lambda: arguments, "Conversion error")
    answer = _taskerpy.call(name, arguments)
    return None if answer is None else _conversion.decode(answer)


def _enter_dict(name: str, arguments: dict[str, _Any] | bytes | None = None) -> dict[str, _Any]:
    answer: dict[str, _Any] = _enter(name, arguments)
    return answer


def _enter_dict_or_none(name: str) -> dict[str, _Any] | None:
    answer: dict[str, _Any] | None = _enter(name)
    return answer


def _environment() -> dict[str, str]:
    """Return the environment as the program has made it, which the host cannot see."""
    # Bytes that are no text stand in it as surrogates, which JSON cannot carry.
    return {key: value for key, value in _os.environ.items() if _is_text(key + value)}


def _is_text(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _api() -> _rest.Api:
    """Return the orchestration API; the host knows its address, if there is one."""
    return _rest.Api(_rest.Endpoint.configured(lambda: _enter("client_endpoint")))


def _log(level: str, message: str, fields: dict[str, _Any] | None) -> None:
    _expect("message", message, str)
    texts: dict[str, str] = {}
    if fields is not None:
        _expect("fields", fields, dict)
        for key, value in fields.items():
            _expect("a key of fields", key, str)
            texts[key] = _conversion.text_of(value)
    if _taskerpy is not None and _os.getpid() == _OWNER_PID:
        # ASCII, so that text which is not valid Unicode is carried too.
        record = _json.dumps({"message": message, "fields": texts, **_labels()}).encode("ascii")
        try:
            _taskerpy.call(f"log_{level}", record)
            return
        except Exception:
            # The host is going down. The line is still worth writing.
            _log_without_host(level, message, texts)
            return
    _log_without_host(level, message, texts)


def _labels() -> dict[str, str]:
    """Return which step writes the line, if one does."""
    context = _sys.modules.get("taskerpy_host.context")
    step = None if context is None else context.current_step.get()
    return {} if step is None else step.labels()


def _log_without_host(level: str, message: str, fields: dict[str, str]) -> None:
    import logging

    line = " ".join([message, *(f"{key}={value}" for key, value in fields.items())])
    logging.getLogger("tasker_core").log(_LOG_LEVELS[level], "%s", line)


def _expect(name: str, value: _Any, kind: type) -> None:
    if not isinstance(value, kind):
        raise TypeError(f"{name} must be {kind.__name__}, not {type(value).__name__}")


def _uuid(text: str, problem: str) -> str:
    try:
        return _conversion.uuid_text(text)
    except ValueError as exc:
        raise ValueError(f"{problem}: {exc}") from None


def _one_uuid(task_uuid: str) -> str:
    _expect("task_uuid", task_uuid, str)
    return _uuid(task_uuid, "Invalid UUID")


def _two_uuids(task_uuid: str, step_uuid: str) -> tuple[str, str]:
    _expect("task_uuid", task_uuid, str)
    _expect("step_uuid", step_uuid, str)
    return _uuid(task_uuid, "Invalid task UUID"), _uuid(step_uuid, "Invalid step UUID")


def _convert(build: _Any, problem: str) -> bytes:
    """Return what ``build`` returns as JSON; a refusal starts with ``problem``."""
    try:
        return _conversion.encode(build())
    except ValueError as exc:
        raise ValueError(f"{problem}: {exc}") from None
