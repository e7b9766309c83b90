"""What programs hand to the host, checked and brought into the host's form.

Each function takes a dict as a caller wrote it and raises ``ValueError``
naming the field that is not what it must be. Unknown keys are let pass.
"""

import re
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from math import ceil
from typing import Any, NamedTuple

from tasker_core._conversion import uuid_text

_last_second = (-1, "")
_NIL_UUID = "00000000-0000-0000-0000-000000000000"
# What a wait must stay below to be stored as an unsigned 32-bit number.
_MAX_SECONDS = 2**32 - 1
_BACKOFF_TYPES = ("ServerRequested", "RateLimit", "ServiceUnavailable", "Custom")
_TIMESTAMP = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.\d+)?([Zz]|[+-]\d\d:\d\d)?"
)


class _Field(NamedTuple):
    expected: str
    fits: Callable[[Any], bool]
    required: bool = False
    null: bool = False


def completion(data: dict[str, Any]) -> dict[str, Any]:
    """Return a completion as the host stores it: every field, with its default.

    What the stored form has no room for is kept where it does have room: the
    execution time and worker of the top level in ``metadata``, unknown
    metadata in ``metadata.custom``, a stack trace in ``error.backtrace``, the
    error's metadata in ``error.context``, and a wait that a retryable failure
    asks for in ``orchestration_metadata``.
    """
    _check(data, _COMPLETION, "")
    given = data.get("metadata", {})
    _check(given, _METADATA, "metadata.")
    error = data.get("error")
    if error is not None:
        _check(error, _ERROR, "error.")
    orchestration = data.get("orchestration_metadata")
    if orchestration is not None:
        orchestration = _orchestration(orchestration)

    success: bool = data.get("success", False)
    elapsed: Any = data.get("execution_time_ms")
    worker_id = data.get("worker_id")
    metadata = stored_metadata(
        given,
        execution_time_ms=elapsed if _is_signed_64(elapsed) else 0,
        worker_id=worker_id if isinstance(worker_id, str) else None,
    )
    fault = None
    if error is not None:
        if metadata["error_type"] is None:
            metadata["error_type"] = error.get("error_type")
        trace = metadata["custom"].get("traceback")
        if isinstance(trace, str):
            del metadata["custom"]["traceback"]
        fault = _completion_error(error, trace)
    if orchestration is None and not success and metadata["retryable"]:
        places = [given, given.get("custom"), given.get("context")]
        if error is not None:
            places += [error.get("metadata"), error.get("context")]
        orchestration = requested_wait(places)
    return {
        "step_uuid": uuid_text(data["step_uuid"]) if "step_uuid" in data else _NIL_UUID,
        "success": success,
        "result": data.get("result"),
        "status": data.get("status") or ("completed" if success else "failed"),
        "metadata": metadata,
        "error": fault,
        "orchestration_metadata": orchestration,
    }


def checkpoint(data: dict[str, Any]) -> dict[str, Any]:
    """Return a checkpoint with its four keys."""
    _check(data, _CHECKPOINT, "")
    return {
        "step_uuid": uuid_text(data["step_uuid"]),
        "cursor": data["cursor"],
        "items_processed": data["items_processed"],
        "accumulated_results": data.get("accumulated_results"),
    }


def task_request(data: dict[str, Any]) -> dict[str, Any]:
    """Return a task request with the keys that the host knows and that are set."""
    _check(data, _TASK_REQUEST, "")
    request = {key: data[key] for key in _TASK_REQUEST if data.get(key) is not None}
    request["context"] = data["context"]
    for key in ("correlation_id", "parent_correlation_id"):
        if key in request:
            request[key] = uuid_text(request[key])
    return request


def fitting_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return a handler's metadata with what cannot be stored as it is moved.

    Handlers use any keys they like, the host means something by some of them.
    A value of such a key that the host would refuse goes into ``custom``, so
    that it cannot spoil the result of a step that did its work.
    """
    fitting: dict[str, Any] = {}
    moved: dict[str, Any] = {}
    for key, value in metadata.items():
        field = _METADATA.get(key)
        if field is None or _fits(field, value):
            fitting[key] = value
        else:
            moved[key] = value
    if moved:
        fitting["custom"] = {**fitting.get("custom", {}), **moved}
    return fitting


def stored_metadata(
    given: Mapping[str, Any], *, execution_time_ms: int, worker_id: str | None
) -> dict[str, Any]:
    """Return the ten entries of a stored result's metadata, and ``custom``.

    What ``given`` says wins over the arguments; an entry that is unknown, or
    of a type that cannot be stored under its name, is kept in ``custom``.
    """
    stored: dict[str, Any] = {
        "execution_time_ms": execution_time_ms,
        "handler_version": None,
        "retryable": False,
        "completed_at": None,
        "worker_id": worker_id,
        "worker_hostname": None,
        "started_at": None,
        "custom": {},
        "error_code": None,
        "error_type": None,
        "context": {},
    }
    custom: dict[str, Any] = {}
    for key, value in given.items():
        field = _METADATA.get(key)
        if field is None or not _fits(field, value):
            custom[key] = value
        elif value is not None:
            stored[key] = value
    if custom:
        stored["custom"] = {**custom, **stored["custom"]}
    if stored["completed_at"] is None:
        stored["completed_at"] = now_text()
    return stored


def stored_error(
    message: str,
    error_type: str | None,
    retryable: bool,
    context: Mapping[str, Any],
    backtrace: list[str] | None = None,
    status_code: Any = None,
) -> dict[str, Any]:
    """Return the error of a stored result.

    A ``traceback`` in ``context`` becomes the backtrace, and its
    ``status_code`` the error's, unless they are given.
    """
    details = dict(context)
    trace = details.get("traceback")
    if isinstance(trace, str):
        del details["traceback"]
        if backtrace is None:
            backtrace = trace.splitlines()
    if status_code is None:
        status_code = details.get("status_code")
    return {
        "message": message,
        "error_type": error_type,
        "backtrace": backtrace,
        "retryable": retryable,
        "status_code": status_code if _is_status_code(status_code) else None,
        "context": details,
    }


def requested_wait(places: Iterable[Any]) -> dict[str, Any] | None:
    """Return what asks orchestration to wait as long as the handler wants.

    ``places`` are dicts that may say it, in seconds, as ``retry_after_seconds``
    or ``retry_after``. Orchestration reads whole seconds only, so parts of a
    second are rounded up.
    """
    for place in places:
        for key in ("retry_after_seconds", "retry_after"):
            seconds = place.get(key) if isinstance(place, dict) else None
            if (
                isinstance(seconds, (int, float))
                and not isinstance(seconds, bool)
                and 0 <= seconds < _MAX_SECONDS
            ):
                whole = ceil(seconds)
                return {
                    "headers": {"retry-after": str(whole)},
                    "error_context": None,
                    "backoff_hint": {
                        "backoff_type": "ServerRequested",
                        "delay_seconds": whole,
                        "context": None,
                    },
                    "custom": {},
                }
    return None


def now_text() -> str:
    """Return the time as results are stamped with it: RFC 3339, UTC, microseconds."""
    # Most results fall into a second that was written out before.
    global _last_second
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    known, text = _last_second
    if known != seconds:
        text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
        _last_second = (seconds, text)
    return f"{text}.{nanoseconds // 1000:06d}Z"


def _completion_error(error: dict[str, Any], trace: Any) -> dict[str, Any]:
    backtrace = error.get("backtrace")
    for text in (error.get("stack_trace"), trace):
        if backtrace is None and isinstance(text, str):
            backtrace = text.splitlines()
    metadata = error.get("metadata")
    return stored_error(
        error["message"],
        error.get("error_type"),
        error["retryable"],
        {**(metadata if isinstance(metadata, dict) else {}), **error.get("context", {})},
        backtrace=backtrace,
        status_code=error.get("status_code"),
    )


def _orchestration(given: dict[str, Any]) -> dict[str, Any]:
    _check(given, _ORCHESTRATION, "orchestration_metadata.")
    hint = given.get("backoff_hint")
    if hint is not None:
        _check(hint, _BACKOFF_HINT, "orchestration_metadata.backoff_hint.")
        hint = {
            "backoff_type": hint["backoff_type"],
            "delay_seconds": hint["delay_seconds"],
            "context": hint.get("context"),
        }
    return {
        "headers": given["headers"],
        "error_context": given.get("error_context"),
        "backoff_hint": hint,
        "custom": given["custom"],
    }


def _check(data: dict[str, Any], fields: dict[str, _Field], where: str) -> None:
    for name, field in fields.items():
        if name not in data:
            if field.required:
                raise ValueError(f"missing field {where + name!r}")
        elif not _fits(field, data[name]):
            value = data[name]
            shown = repr(value)
            if len(shown) > 80:
                shown = f"{shown[:77]}..."
            raise ValueError(
                f"{where}{name}: expected {field.expected}, found {type(value).__name__} {shown}"
            )


def _fits(field: _Field, value: Any) -> bool:
    return (field.null and value is None) or field.fits(value)


def _is_anything(value: Any) -> bool:
    return True


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool)


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_signed_64(value: Any) -> bool:
    return _is_int(value) and -(2**63) <= value < 2**63


def _is_signed_32(value: Any) -> bool:
    return _is_int(value) and -(2**31) <= value < 2**31


def _is_count(value: Any) -> bool:
    return _is_int(value) and 0 <= value < 2**64


def _is_seconds(value: Any) -> bool:
    return _is_int(value) and 0 <= value < 2**32


def _is_status_code(value: Any) -> bool:
    return _is_int(value) and 0 <= value < 2**16


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_texts(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value)


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _is_text_object(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(item, str) for item in value.values())


def _is_backoff_type(value: Any) -> bool:
    return value in _BACKOFF_TYPES


def _is_uuid(value: Any) -> bool:
    try:
        return isinstance(value, str) and bool(uuid_text(value))
    except ValueError:
        return False


def _is_zoned_timestamp(value: Any) -> bool:
    return _is_timestamp(value, zoned=True)


def _is_naive_timestamp(value: Any) -> bool:
    return _is_timestamp(value, zoned=False)


def _is_timestamp(value: Any, zoned: bool) -> bool:
    match = _TIMESTAMP.fullmatch(value) if isinstance(value, str) else None
    if match is None or (match[7] is not None) != zoned:
        return False
    year, month, day, hour, minute, second = (int(match[group]) for group in range(1, 7))
    try:
        # A leap second is a time too.
        datetime(year, month, day, hour, minute, min(second, 59))
    except ValueError:
        return False
    return second <= 60


_COMPLETION = {
    "step_uuid": _Field("a UUID", _is_uuid),
    "success": _Field("a bool", _is_bool),
    "result": _Field("a JSON value", _is_anything),
    "status": _Field("a str", _is_text),
    "metadata": _Field("a dict", _is_object),
    "error": _Field("a dict or None", _is_object, null=True),
    "orchestration_metadata": _Field("a dict or None", _is_object, null=True),
}
_METADATA = {
    "execution_time_ms": _Field("an int", _is_signed_64),
    "handler_version": _Field("a str or None", _is_text, null=True),
    "retryable": _Field("a bool", _is_bool),
    "completed_at": _Field("an RFC 3339 timestamp with zone", _is_zoned_timestamp),
    "worker_id": _Field("a str or None", _is_text, null=True),
    "worker_hostname": _Field("a str or None", _is_text, null=True),
    "started_at": _Field("an RFC 3339 timestamp with zone or None", _is_zoned_timestamp, null=True),
    "custom": _Field("a dict", _is_object),
    "error_code": _Field("a str or None", _is_text, null=True),
    "error_type": _Field("a str or None", _is_text, null=True),
    "context": _Field("a dict", _is_object),
}
_ERROR = {
    "message": _Field("a str", _is_text, required=True),
    "retryable": _Field("a bool", _is_bool, required=True),
    "error_type": _Field("a str or None", _is_text, null=True),
    "backtrace": _Field("a list of str or None", _is_texts, null=True),
    "status_code": _Field("an int from 0 to 65535 or None", _is_status_code, null=True),
    "context": _Field("a dict", _is_object),
}
_ORCHESTRATION = {
    "headers": _Field("a dict of str", _is_text_object, required=True),
    "custom": _Field("a dict", _is_object, required=True),
    "error_context": _Field("a str or None", _is_text, null=True),
    "backoff_hint": _Field("a dict or None", _is_object, null=True),
}
_BACKOFF_HINT = {
    "backoff_type": _Field(f"one of {', '.join(_BACKOFF_TYPES)}", _is_backoff_type, required=True),
    "delay_seconds": _Field("an int from 0 to 4294967295", _is_seconds, required=True),
    "context": _Field("a str or None", _is_text, null=True),
}
_CHECKPOINT = {
    "step_uuid": _Field("a UUID", _is_uuid, required=True),
    "cursor": _Field("a JSON value", _is_anything, required=True),
    "items_processed": _Field("an int of at least 0", _is_count, required=True),
    "accumulated_results": _Field("a JSON value", _is_anything),
}
_TASK_REQUEST = {
    "name": _Field("a str", _is_text, required=True),
    "namespace": _Field("a str", _is_text, required=True),
    "version": _Field("a str", _is_text, required=True),
    "context": _Field("a JSON value", _is_anything, required=True),
    "initiator": _Field("a str", _is_text, required=True),
    "source_system": _Field("a str", _is_text, required=True),
    "reason": _Field("a str", _is_text, required=True),
    "tags": _Field("a list of str or None", _is_texts, null=True),
    "requested_at": _Field(
        "a timestamp without zone such as 2026-02-03T10:00:00 or None",
        _is_naive_timestamp,
        null=True,
    ),
    "options": _Field("a dict or None", _is_object, null=True),
    "priority": _Field("a 32-bit int or None", _is_signed_32, null=True),
    "correlation_id": _Field("a UUID or None", _is_uuid, null=True),
    "parent_correlation_id": _Field("a UUID or None", _is_uuid, null=True),
    "idempotency_key": _Field("a str or None", _is_text, null=True),
}
