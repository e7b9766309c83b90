"""From an event's bytes to a result's bytes: what a lane calls for each step.

The answer is one byte, the outcome as dispatch spells it, and then the JSON
that is stored (engine-semantics §6.1) or, for a checkpoint, its four fields.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
import traceback
from collections.abc import Awaitable
from datetime import datetime, timezone
from typing import Any

from pydantic_core import from_json, to_json
from tasker_core.handler import HandlerRegistry
from tasker_core.registry import HandlerDefinition, ResolverNotFoundError
from tasker_core.step_handler.functional import _wrap_result
from tasker_core.types import StepContext, StepHandlerResult

from taskerpy_host import streams
from taskerpy_host.context import StepInfo, current_step

SUCCESS = b"S"
DIRECTIVE = b"D"
RETRYABLE = b"R"
PERMANENT = b"F"
CHECKPOINT = b"Y"

# Keys of a stored result's metadata, with what their values may be; anything
# else that a handler puts there is kept under "custom".
_TEXT = (str, type(None))
_TYPED = {
    "handler_version": _TEXT,
    "completed_at": _TEXT,
    "worker_id": _TEXT,
    "worker_hostname": _TEXT,
    "started_at": _TEXT,
    "error_code": _TEXT,
    "error_type": _TEXT,
    "context": dict,
    "custom": dict,
}
_DIRECTIVES = ("decision_point_outcome", "batch_processing_outcome")
_MAX_TEXT = 500

_log = logging.getLogger("taskerpy.lane")
_worker_id = "taskerpy"


def start(worker_id: bytes) -> None:
    """Takes the name of this worker for results, and warms up what the first step needs."""
    global _worker_id
    _worker_id = worker_id.decode()
    HandlerRegistry.instance(skip_bootstrap=True)


def run_step(data: bytes) -> bytes:
    """Runs one step's handler. It raises nothing but a defect of the host."""
    started = time.perf_counter_ns()
    event = from_json(data)
    payload = event["task_sequence_step"]
    step = payload["workflow_step"]
    info = StepInfo(
        step["name"], event["task_uuid"], event["correlation_id"], event["event_id"]
    )
    token = current_step.set(info)
    try:
        try:
            result = _execute(event, payload)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # SystemExit and cancellation are failures of the step too
            result = error_result(error)
        milliseconds = (time.perf_counter_ns() - started) // 1_000_000
        return _encode(event["step_uuid"], result, milliseconds)
    finally:
        streams.finish_step(info)
        current_step.reset(token)


def _execute(event: dict[str, Any], payload: dict[str, Any]) -> StepHandlerResult:
    spec = payload["step_definition"]["handler"]
    callable_name = (
        spec.get("callable") or payload["workflow_step"].get("template_step_name") or "unknown_handler"
    )
    handler = resolve(spec, str(callable_name))
    if handler is None:
        return StepHandlerResult.failure(
            f"Handler not found: {callable_name}", error_type="handler_not_found", retryable=False
        )
    context = StepContext._from_trusted_payload(event, payload, handler.name)
    result = handler.call(context)
    if type(result) is StepHandlerResult:
        return result
    if inspect.isawaitable(result):
        result = asyncio.run(_await(result))
    return result if isinstance(result, StepHandlerResult) else _wrap_result(result)


async def _await(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


def resolve(spec: dict[str, Any], callable_name: str) -> Any:
    """Gives the handler that a step's definition names, or None.

    A plain name is resolved as such. A method, a resolver or initialization
    goes through the whole definition; if the method does not exist or the
    resolver is unknown the plain handler is taken, as the reference would
    (python-api-core §15.2).
    """
    registry = HandlerRegistry.instance()
    method = spec.get("method")
    dispatched = bool(method) and method != "call"
    hint = spec.get("resolver")
    if not dispatched and not hint and not spec.get("initialization"):
        return registry.resolve(callable_name)
    try:
        handler = registry.resolve(HandlerDefinition.from_dict(spec))
    except ResolverNotFoundError:
        handler = None
    if handler is None and (dispatched or hint):
        handler = registry.resolve(callable_name)
        if handler is not None:
            wanted = f"method {method!r}" if dispatched else f"resolver {hint!r}"
            _log.warning("%s: %s not found, running the plain handler", callable_name, wanted)
    return handler


def error_result(error: BaseException) -> StepHandlerResult:
    """The failure that an exception from a handler becomes.

    Retryable, unless the exception says otherwise by its own ``retryable``
    attribute, as those of ``tasker_core.errors`` do.
    """
    retryable = getattr(error, "retryable", True)
    metadata = getattr(error, "metadata", None)
    code = getattr(error, "error_code", None)
    return StepHandlerResult.failure(
        str(error) or type(error).__name__,
        error_type=type(error).__name__,
        retryable=retryable if isinstance(retryable, bool) else True,
        metadata={
            **(metadata if isinstance(metadata, dict) else {}),
            "traceback": "".join(
                traceback.format_exception(type(error), error, error.__traceback__)
            ),
        },
        error_code=code if isinstance(code, str) else None,
    )


def _encode(step_uuid: str, result: StepHandlerResult, milliseconds: int) -> bytes:
    """The answer for a result; a safe failure if it cannot be written as JSON."""
    try:
        if result.metadata.get("checkpoint_yield") is True:
            return CHECKPOINT + _checkpoint(step_uuid, result)
        if result.is_success:
            outcome, stored = _success(step_uuid, result, milliseconds)
        else:
            outcome, stored = _failure(step_uuid, result, milliseconds)
        return outcome + to_json(stored, inf_nan_mode="null")
    except Exception as error:
        _log.error("result cannot be written as JSON: %s", error)
        return PERMANENT + to_json(_unserializable(step_uuid, result, error, milliseconds))


def _checkpoint(step_uuid: str, result: StepHandlerResult) -> bytes:
    given = result.result or {}
    return to_json(
        {
            "step_uuid": step_uuid,
            "cursor": given.get("cursor"),
            "items_processed": given.get("items_processed", 0),
            "accumulated_results": given.get("accumulated_results"),
        },
        inf_nan_mode="null",
    )


def _success(
    step_uuid: str, result: StepHandlerResult, milliseconds: int
) -> tuple[bytes, dict[str, Any]]:
    value = result.result or {}
    outcome = SUCCESS
    for key in _DIRECTIVES:
        if key in value:
            outcome = DIRECTIVE
    stored = {
        "step_uuid": step_uuid,
        "success": True,
        "status": "completed",
        "result": value,
        "metadata": _metadata(result.metadata, milliseconds, False),
        "error": None,
        "orchestration_metadata": None,
    }
    return outcome, stored


def _failure(
    step_uuid: str, result: StepHandlerResult, milliseconds: int
) -> tuple[bytes, dict[str, Any]]:
    retryable = result.retryable
    given = dict(result.metadata)
    trace = given.pop("traceback", None)
    error_type = result.error_type or "unknown"
    metadata = _metadata(given, milliseconds, retryable)
    if metadata["error_type"] is None:
        metadata["error_type"] = error_type
    if metadata["error_code"] is None:
        metadata["error_code"] = result.error_code
    status = given.get("status_code")
    stored = {
        "step_uuid": step_uuid,
        "success": False,
        "status": "retryable_error" if retryable else "permanent_error",
        "result": None,
        "metadata": metadata,
        "error": {
            "message": result.error_message or "Unknown error",
            "error_type": error_type,
            "backtrace": trace.splitlines() if isinstance(trace, str) else None,
            "retryable": retryable,
            "status_code": status if type(status) is int and 0 <= status < 65536 else None,
            "context": given,
        },
        "orchestration_metadata": _backoff(given) if retryable else None,
    }
    return (RETRYABLE if retryable else PERMANENT), stored


def _metadata(given: dict[str, Any], milliseconds: int, retryable: bool) -> dict[str, Any]:
    """The ten keys of stored metadata (engine-semantics §6.1)."""
    metadata: dict[str, Any] = {
        "execution_time_ms": milliseconds,
        "handler_version": None,
        "retryable": retryable,
        "completed_at": datetime.now(timezone.utc).isoformat().replace("+00:00", "Z"),
        "worker_id": _worker_id,
        "worker_hostname": None,
        "started_at": None,
        "custom": {},
        "error_code": None,
        "error_type": None,
        "context": {},
    }
    if given:
        custom: dict[str, Any] = {}
        for key, value in given.items():
            kind = _TYPED.get(key)
            if kind is not None and isinstance(value, kind):
                metadata[key] = value
            elif key != "retryable":
                custom[key] = value
        if custom:
            metadata["custom"] = {**metadata["custom"], **custom}
    return metadata


def _backoff(metadata: dict[str, Any]) -> dict[str, Any] | None:
    """The delay that a failure asks for, as the orchestration reads it."""
    for key in ("retry_after_seconds", "retry_after"):
        seconds = metadata.get(key)
        if isinstance(seconds, (int, float)) and not isinstance(seconds, bool) and seconds >= 0:
            return {
                "headers": {},
                "custom": {},
                "error_context": None,
                "backoff_hint": {
                    "backoff_type": "ServerRequested",
                    "delay_seconds": seconds,
                    "context": None,
                },
            }
    return None


def _unserializable(
    step_uuid: str, result: StepHandlerResult, error: Exception, milliseconds: int
) -> dict[str, Any]:
    metadata = _metadata({}, milliseconds, False)
    metadata["error_type"] = "FFI_SERIALIZATION_ERROR"
    metadata["custom"] = {
        "ffi_serialization_error": str(error)[:_MAX_TEXT],
        "original_success": str(result.is_success),
    }
    return {
        "step_uuid": step_uuid,
        "success": False,
        "status": "error",
        "result": {},
        "metadata": metadata,
        "error": {
            "message": f"FFI serialization failed: {error}"[:_MAX_TEXT],
            "error_type": "FFI_SERIALIZATION_ERROR",
            "backtrace": None,
            "retryable": False,
            "status_code": None,
            "context": {},
        },
        "orchestration_metadata": None,
    }
