"""What programs hand to the host, checked and brought into the host's form.

Each function takes a dict as a caller wrote it and raises ``ValueError``
naming the field that is not what it must be. Unknown keys are let pass.
"""

import re
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from math import ceil
from typing import Any, NamedTuple

from tasker_core._conversion import uuid_text

_NIL_UUID = "00000000-0000-0000-0000-000000000000"
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
    metadata = _stored_metadata(data, given)
    trace = metadata["custom"].get("traceback")
    if isinstance(trace, str) and error is not None:
        del metadata["custom"]["traceback"]
    if orchestration is None and not success and metadata["retryable"]:
        orchestration = _requested_wait(given, error)
    return {
        "step_uuid": uuid_text(data["step_uuid"]) if "step_uuid" in data else _NIL_UUID,
        "success": success,
        "result": data.get("result"),
        "status": data.get("status") or ("completed" if success else "failed"),
        "metadata": metadata,
        "error": None if error is None else _stored_error(error, trace),
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


def _stored_metadata(data: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    elapsed = data.get("execution_time_ms")
    worker_id = data.get("worker_id")
    unknown = {key: value for key, value in given.items() if key not in _METADATA}
    return {
        "execution_time_ms": given.get(
            "execution_time_ms", elapsed if _is_int(elapsed) else 0
        ),
        "handler_version": given.get("handler_version"),
        "retryable": given.get("retryable", False),
        "completed_at": given.get("completed_at") or datetime.now(timezone.utc).isoformat(),
        "worker_id": given.get("worker_id") or (worker_id if isinstance(worker_id, str) else None),
        "worker_hostname": given.get("worker_hostname"),
        "started_at": given.get("started_at"),
        "custom": {**unknown, **given.get("custom", {})},
        "error_code": given.get("error_code"),
        "error_type": given.get("error_type"),
        "context": given.get("context", {}),
    }


def _stored_error(error: dict[str, Any], trace: Any) -> dict[str, Any]:
    backtrace = error.get("backtrace")
    stack = error.get("stack_trace")
    for text in (stack, trace):
        if backtrace is None and isinstance(text, str):
            backtrace = text.splitlines()
    metadata = error.get("metadata")
    context = {**metadata, **error.get("context", {})} if isinstance(metadata, dict) else (
        error.get("context", {})
    )
    if isinstance(context.get("traceback"), str) and backtrace is not None:
        context = {key: value for key, value in context.items() if key != "traceback"}
    stored: dict[str, Any] = {
        "message": error["message"],
        "error_type": error.get("error_type"),
        "backtrace": backtrace,
        "retryable": error["retryable"],
        "context": context,
    }
    status_code = error.get("status_code", context.get("status_code"))
    if _is_status_code(status_code):
        stored["status_code"] = status_code
    return stored


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


def _requested_wait(
    metadata: dict[str, Any], error: dict[str, Any] | None
) -> dict[str, Any] | None:
    """Return what asks orchestration to wait as long as the handler wants."""
    places: list[Any] = [metadata, metadata.get("custom"), metadata.get("context")]
    if error is not None:
        places += [error.get("metadata"), error.get("context")]
    for place in places:
        for key in ("retry_after_seconds", "retry_after"):
            seconds = place.get(key) if isinstance(place, dict) else None
            if isinstance(seconds, (int, float)) and 0 < seconds < 2**32 and seconds is not True:
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
    "started_at": _Field(
        "an RFC 3339 timestamp with zone or None", _is_zoned_timestamp, null=True
    ),
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
