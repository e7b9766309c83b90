"""From an event's bytes to a result's bytes: what a lane calls for each step.

The answer is one byte, the outcome as dispatch spells it, and then the JSON
that is stored (engine-semantics §6.1) or, for a checkpoint, its four fields.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from functools import partial
from inspect import isawaitable
from types import ModuleType
from typing import Any

from pydantic_core import SchemaSerializer, core_schema, from_json
from tasker_core._execution import (
    Registry,
    as_result,
    complete_models,
    find_handler,
    name_of,
    not_found,
)
from tasker_core._failures import failure_of, is_failure, told
from tasker_core._payloads import now_text, requested_wait, stored_error, stored_metadata
from tasker_core.event_bridge import EventBridge
from tasker_core.handler import HandlerRegistry
from tasker_core.types import StepContext, StepHandlerResult

from taskerpy_host import streams
from taskerpy_host.context import StepInfo, current_step

SUCCESS = b"S"
DIRECTIVE = b"D"
RETRYABLE = b"R"
PERMANENT = b"F"
CHECKPOINT = b"Y"

_MAX_ERROR_TEXT = 500

_log = logging.getLogger("taskerpy.lane")


def _json_writer() -> Callable[[Any], bytes]:
    """What writes values as a model that holds them is dumped.

    Models among them are written by the names of their fields, unless they
    say otherwise themselves; NaN and the infinities as null.
    """
    write = SchemaSerializer(core_schema.any_schema()).to_json
    try:
        write(None, by_alias=None)
    except TypeError:
        # Releases of pydantic before 2.11 use aliases unless told not to.
        return partial(write, by_alias=False)
    return write


_to_json = _json_writer()


def _plain_tail(worker_id: str) -> bytes:
    """The end of a result's metadata if the handler gave none; it never changes."""
    metadata = stored_metadata({}, execution_time_ms=0, worker_id=worker_id)
    for key in ("execution_time_ms", "handler_version", "retryable", "completed_at"):
        del metadata[key]
    return b"," + _to_json(metadata)[1:]


_worker_id = "taskerpy"
_plain_metadata_tail = _plain_tail(_worker_id)
_run_to_end: Callable[[Awaitable[Any]], Any] | None = None


def start(worker_id: bytes) -> None:
    """Takes the name of this worker for results, and warms up what the first step needs."""
    global _worker_id, _plain_metadata_tail
    _worker_id = worker_id.decode()
    _plain_metadata_tail = _plain_tail(_worker_id)
    HandlerRegistry.instance(skip_bootstrap=True)


def run_step(data: bytes) -> bytes:
    """Runs one step's handler. It raises nothing but a defect of the host."""
    return run(data, HandlerRegistry._instance or HandlerRegistry.instance())


def run(data: bytes, registry: Registry) -> bytes:
    """Runs one step with a handler of ``registry``.

    The step runs in a context of its own: what it sets in context variables
    is gone when the next one starts.
    """
    started = time.perf_counter_ns()
    event = from_json(data)
    return copy_context().run(_run, event, registry, started)


def _run(event: dict[str, Any], registry: Registry, started: int) -> bytes:
    payload = event["task_sequence_step"]
    info = StepInfo(
        payload["workflow_step"]["name"],
        event["task_uuid"],
        event["correlation_id"],
        event["event_id"],
    )
    current_step.set(info)
    try:
        bridge = EventBridge._instance
        if bridge is not None:
            _listeners().received(bridge, event, payload)
        try:
            result = _execute(event, payload, registry)
        except BaseException as error:  # SystemExit and cancellation are failures of the step too
            if not is_failure(error):
                raise
            result = failure_of(_without_host_frames(error))
            bridge = EventBridge._instance
            if bridge is not None:
                _listeners().failed(bridge, event, payload, error)
        milliseconds = (time.perf_counter_ns() - started) // 1_000_000
        answer = _encode(event["step_uuid"], result, milliseconds)
        bridge = EventBridge._instance
        if bridge is not None:
            _tell_end(bridge, event, payload, result, answer, milliseconds)
        return answer
    finally:
        streams.finish_step(info)


def _execute(
    event: dict[str, Any], payload: dict[str, Any], registry: Registry
) -> StepHandlerResult:
    spec = payload["step_definition"]["handler"]
    name = spec.get("callable") or payload["workflow_step"].get("template_step_name")
    name = str(name or "unknown_handler")
    handler = find_handler(registry, spec, name)
    if handler is None:
        return not_found(name)
    result = handler.call(StepContext._from_trusted_payload(event, payload, name_of(handler)))
    if type(result) is StepHandlerResult:
        return result
    if isawaitable(result):
        result = _wait_for(result)
    return as_result(result)


def _wait_for(awaitable: Awaitable[Any]) -> Any:
    # Not every worker has handlers that are coroutines, and asyncio takes
    # long to import.
    global _run_to_end
    if _run_to_end is None:
        from taskerpy_host.loops import run_to_end

        _run_to_end = run_to_end
    return _run_to_end(awaitable)


def _listeners() -> ModuleType:
    # Few programs have a bridge.
    from taskerpy_host import listeners

    return listeners


def _tell_end(
    bridge: EventBridge,
    event: dict[str, Any],
    payload: dict[str, Any],
    result: StepHandlerResult,
    answer: bytes,
    milliseconds: int,
) -> None:
    listeners = _listeners()
    if answer.startswith(CHECKPOINT):
        listeners.yielded(bridge, event["step_uuid"], result)
    elif result.metadata.get("checkpoint_yield") is not True:
        listeners.ended(bridge, event, payload, result, milliseconds, _worker_id)


def _without_host_frames(error: BaseException) -> BaseException:
    """Takes the frames above the handler out of the traceback: they are no news."""
    trace = told(lambda: error.__traceback__, None)
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    return error if trace is None else BaseException.with_traceback(error, trace)


def _encode(step_uuid: str, result: StepHandlerResult, milliseconds: int) -> bytes:
    """The answer for a result; a safe failure if it cannot be written as JSON."""
    try:
        if result.metadata.get("checkpoint_yield") is True:
            return CHECKPOINT + _checkpoint(step_uuid, result)
        if not isinstance(result, StepHandlerResult):
            result = _validated(result)
        if result.is_success:
            return _success(step_uuid, result, milliseconds)
        return _failure(step_uuid, result, milliseconds)
    except Exception as error:
        if complete_models():
            return _encode(step_uuid, result, milliseconds)
        _log.error("result cannot be written as JSON: %s", error)
        return PERMANENT + _to_json(_unserializable(step_uuid, result, error, milliseconds))


def _validated(stand_in: Any) -> StepHandlerResult:
    """The result that an object of a program's own stands for."""
    error_code = getattr(stand_in, "error_code", None)
    if stand_in.is_success:
        return StepHandlerResult.success(stand_in.result or {}, stand_in.metadata)
    return StepHandlerResult.failure(
        stand_in.error_message or "Unknown error",
        stand_in.error_type or "unknown",
        stand_in.retryable,
        stand_in.metadata,
        error_code if isinstance(error_code, str) else None,
    )


def _checkpoint(step_uuid: str, result: StepHandlerResult) -> bytes:
    given = result.result or {}
    return _to_json(
        {
            "step_uuid": step_uuid,
            "cursor": given.get("cursor"),
            "items_processed": given.get("items_processed", 0),
            "accumulated_results": given.get("accumulated_results"),
        }
    )


def _success(step_uuid: str, result: StepHandlerResult, milliseconds: int) -> bytes:
    # Put together from JSON: all but the handler's own value is known before.
    value = result.result or {}
    if "decision_point_outcome" in value or "batch_processing_outcome" in value:
        outcome = DIRECTIVE
    else:
        outcome = SUCCESS
    return b"".join(
        (
            outcome,
            b'{"step_uuid":"',
            step_uuid.encode("ascii"),
            b'","success":true,"status":"completed","result":',
            _to_json(value),
            b',"metadata":',
            _success_metadata(result.metadata, milliseconds),
            b',"error":null,"orchestration_metadata":null}',
        )
    )


def _success_metadata(given: dict[str, Any], milliseconds: int) -> bytes:
    if not given:
        head = (
            f'{{"execution_time_ms":{milliseconds},"handler_version":null,'
            f'"retryable":false,"completed_at":"{now_text()}"'
        )
        return head.encode("ascii") + _plain_metadata_tail
    return _to_json(stored_metadata(given, execution_time_ms=milliseconds, worker_id=_worker_id))


def _failure(step_uuid: str, result: StepHandlerResult, milliseconds: int) -> bytes:
    retryable = result.retryable
    given = result.metadata
    error_type = result.error_type or "unknown"
    metadata = stored_metadata(
        {key: value for key, value in given.items() if key != "traceback"},
        execution_time_ms=milliseconds,
        worker_id=_worker_id,
    )
    metadata["retryable"] = retryable
    metadata["error_type"] = metadata["error_type"] or error_type
    metadata["error_code"] = metadata["error_code"] or result.error_code
    stored = {
        "step_uuid": step_uuid,
        "success": False,
        "status": "retryable_error" if retryable else "permanent_error",
        "result": None,
        "metadata": metadata,
        "error": stored_error(
            result.error_message or "Unknown error", error_type, retryable, given
        ),
        "orchestration_metadata": (
            requested_wait((given, given.get("custom"), given.get("context")))
            if retryable
            else None
        ),
    }
    return (RETRYABLE if retryable else PERMANENT) + _to_json(stored)


def _unserializable(
    step_uuid: str, result: StepHandlerResult, error: Exception, milliseconds: int
) -> dict[str, Any]:
    kind = "FFI_SERIALIZATION_ERROR"
    custom = {
        "ffi_serialization_error": str(error)[:_MAX_ERROR_TEXT],
        "original_success": str(result.is_success),
    }
    metadata = stored_metadata(
        {"custom": custom, "error_type": kind},
        execution_time_ms=milliseconds,
        worker_id=_worker_id,
    )
    message = f"FFI serialization failed: {error}"[:_MAX_ERROR_TEXT]
    return {
        "step_uuid": step_uuid,
        "success": False,
        "status": "error",
        "result": {},
        "metadata": metadata,
        "error": stored_error(message, kind, False, {}),
        "orchestration_metadata": None,
    }
