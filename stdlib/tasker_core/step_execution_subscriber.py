"""From a step event to the handler, and the handler's result back to the host."""

import inspect
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any
from uuid import UUID

from tasker_core._execution import (
    as_result,
    awaited,
    complete_models,
    find_handler,
    has_running_loop,
    in_other_thread,
    name_of,
    not_found,
)
from tasker_core._failures import failure_of, is_failure
from tasker_core._patchable import patchable
from tasker_core._payloads import fitting_metadata
from tasker_core._tasker_core import (
    checkpoint_yield_step_event as _checkpoint_yield_step_event,
)
from tasker_core._tasker_core import complete_step_event as _complete_step_event
from tasker_core.event_bridge import EventBridge, EventNames
from tasker_core.handler import HandlerRegistry
from tasker_core.logging import log_error, log_warn
from tasker_core.types import (
    FfiStepEvent,
    StepContext,
    StepError,
    StepExecutionResult,
    StepHandlerResult,
)

__all__ = ["StepExecutionError", "StepExecutionSubscriber"]

# Of an error's text that goes into the stored result when nothing else can.
_MAX_ERROR_TEXT = 500
_UNKNOWN_HANDLER = "unknown_handler"


class StepExecutionError(Exception):
    """For programs around handlers that want to say how a step failed.

    >>> error = StepExecutionError("no funds", error_type="declined", retryable=False)
    >>> str(error), error.error_type, error.retryable
    ('no funds', 'declined', False)
    """

    def __init__(
        self,
        message: str,
        error_type: str = "step_execution_error",
        retryable: bool = True,
    ) -> None:
        super().__init__(message)
        self.error_type = error_type
        self.retryable = retryable


class StepExecutionSubscriber:
    """Executes each step that is published, and hands in exactly one result.

    Works on the thread that publishes, so one step after the other as long as
    one thread publishes.

    >>> subscriber = StepExecutionSubscriber(EventBridge(), HandlerRegistry(), "worker-1")
    >>> subscriber.start()
    >>> subscriber.is_active
    True
    """

    def __init__(
        self, event_bridge: EventBridge, handler_registry: HandlerRegistry, worker_id: str
    ) -> None:
        self._event_bridge = event_bridge
        self._registry = handler_registry
        self._worker_id = worker_id
        self._active = False

    def start(self) -> None:
        """Execute steps from now on. Starting twice is fine."""
        if not self._active:
            self._active = True
            self._event_bridge.subscribe(
                EventNames.STEP_EXECUTION_RECEIVED, self._handle_execution_event
            )

    def stop(self) -> None:
        """Execute no more steps. Stopping twice is fine."""
        if self._active:
            self._active = False
            # The bridge may have dropped its listeners already.
            with suppress(KeyError):
                self._event_bridge.unsubscribe(
                    EventNames.STEP_EXECUTION_RECEIVED, self._handle_execution_event
                )

    @property
    def is_active(self) -> bool:
        """Whether steps are executed."""
        return self._active

    @property
    def worker_id(self) -> str:
        """The worker that results are signed with."""
        return self._worker_id

    def _handle_execution_event(self, event: FfiStepEvent) -> None:
        started = time.monotonic()
        try:
            name = self._get_handler_name(event)
            handler = find_handler(self._registry, _handler_section(event), name)
            if handler is None:
                result = self._create_handler_not_found_result(name)
            else:
                result = as_result(self._execute_handler(event, handler))
        except BaseException as exc:
            # A handler that exits or is cancelled must not take the polling
            # thread with it; an interrupt of the whole program must.
            if not is_failure(exc):
                raise
            result = self._create_error_result(exc)
            log_error(
                f"Step failed: {result.error_type}: {result.error_message}",
                {**_log_fields(event), "error_type": result.error_type},
            )
            self.__publish(EventNames.HANDLER_ERROR, event, exc)
        elapsed_ms = int((time.monotonic() - started) * 1000)
        self._submit_result(event, result, elapsed_ms)

    def _get_handler_name(self, event: FfiStepEvent) -> str:
        payload = event.task_sequence_step
        name = (
            _handler_section(event).get("callable")
            or _section(payload, "workflow_step").get("template_step_name")
            or _section(payload, "step_template").get("handler_class")
        )
        if name:
            return str(name)
        log_warn("The event of a step names no handler", _log_fields(event))
        return _UNKNOWN_HANDLER

    def _execute_handler(self, event: FfiStepEvent, handler: Any) -> Any:
        """Return what the handler has returned, as it is."""
        context = StepContext.from_ffi_event(event, name_of(handler))
        call = handler.call
        with _labelled(event):
            if inspect.iscoroutinefunction(call):
                return self._run_async_handler(call, context)
            result = call(context)
            if inspect.isawaitable(result):
                pending = result
                result = self._run_async_handler(lambda _: pending, context)
        return result

    def _run_async_handler(
        self, call_method: Callable[[StepContext], Awaitable[Any]], context: StepContext
    ) -> Any:
        """Run a coroutine to its end, whether or not this thread has a loop."""
        import asyncio

        def run() -> Any:
            return asyncio.run(awaited(call_method(context)))

        return in_other_thread(run) if has_running_loop() else run()

    def _create_handler_not_found_result(self, handler_name: str) -> StepHandlerResult:
        return not_found(handler_name)

    def _create_error_result(self, error: BaseException) -> StepHandlerResult:
        """Return the failure that an exception stands for.

        It is retryable unless the exception itself says otherwise.
        """
        return failure_of(error)

    def _submit_result(
        self, event: FfiStepEvent, handler_result: StepHandlerResult, execution_time_ms: int
    ) -> None:
        if handler_result.metadata.get("checkpoint_yield") is True:
            self._submit_checkpoint_yield(event, handler_result)
            return
        result: StepExecutionResult | None = None
        try:
            result = _execution_result(event, handler_result, execution_time_ms, self._worker_id)
            data = _as_json(result)
        except Exception as exc:
            log_error(
                f"The result of a step cannot be written as JSON: {type(exc).__name__}: {exc}",
                _log_fields(event),
            )
            data = self._build_ffi_safe_failure(event, handler_result, exc)
        try:
            accepted = _complete_step_event(str(event.event_id), data)
        except Exception as exc:
            self.__submit_safe_failure(event, handler_result, exc)
            return
        if not accepted:
            log_error(
                "The host did not take the result of a step: nobody waits for it any more",
                _log_fields(event),
            )
        elif result is not None:
            self.__publish(EventNames.STEP_COMPLETION_SENT, result)

    def __submit_safe_failure(
        self, event: FfiStepEvent, handler_result: StepHandlerResult, error: Exception
    ) -> None:
        """Hand in that a result could not be handed in.

        Raises:
            RuntimeError: the host does not take this either.
            Exception: what the host raises about this one too.
        """
        data = self._build_ffi_safe_failure(event, handler_result, error)
        try:
            accepted = _complete_step_event(str(event.event_id), data)
        except Exception as second:
            log_error(
                f"Step {event.step_uuid} is orphaned: its result was refused ({error}), "
                f"and so was the failure in its place ({second})",
                _log_fields(event),
            )
            raise second from error
        if not accepted:
            raise RuntimeError(
                f"Both primary and fallback FFI submissions rejected for event {event.event_id}. "
                f"Step {event.step_uuid} is orphaned."
            ) from error
        log_warn(
            f"The result of a step was refused, a failure was handed in: {error}",
            _log_fields(event),
        )

    def _submit_checkpoint_yield(
        self, event: FfiStepEvent, handler_result: StepHandlerResult
    ) -> None:
        given = handler_result.result or {}
        data = {
            "step_uuid": str(event.step_uuid),
            "cursor": given.get("cursor"),
            "items_processed": given.get("items_processed", 0),
            "accumulated_results": given.get("accumulated_results"),
        }
        try:
            accepted = _checkpoint_yield_step_event(str(event.event_id), data)
        except Exception as exc:
            log_error(
                f"The checkpoint of a step was refused: {type(exc).__name__}: {exc}",
                _log_fields(event),
            )
            raise
        if accepted:
            self.__publish(EventNames.STEP_CHECKPOINT_YIELD, data)
        else:
            log_error("The host did not take the checkpoint of a step", _log_fields(event))

    def _build_ffi_safe_failure(
        self, event: FfiStepEvent, handler_result: StepHandlerResult, error: Exception
    ) -> dict[str, Any]:
        """Return a failure that can be handed in whatever the handler returned."""
        text = str(error)
        return {
            "step_uuid": str(event.step_uuid),
            "success": False,
            "status": "error",
            "result": {},
            "metadata": {
                "execution_time_ms": 0,
                "retryable": False,
                "completed_at": datetime.now(timezone.utc).isoformat(),
                "worker_id": self._worker_id,
                "custom": {
                    "ffi_serialization_error": text[:_MAX_ERROR_TEXT],
                    "original_success": str(handler_result.is_success),
                },
            },
            "error": {
                "error_type": "FFI_SERIALIZATION_ERROR",
                "message": f"FFI serialization failed: {text}"[:_MAX_ERROR_TEXT],
                "retryable": False,
            },
        }

    def __publish(self, event_name: str, *args: Any) -> None:
        """Tell listeners; what they raise does not change what became of the step."""
        try:
            self._event_bridge.publish(event_name, *args)
        except Exception as exc:
            log_warn(f"A listener of {event_name!r} failed: {type(exc).__name__}: {exc}")


def _execution_result(
    event: FfiStepEvent, handler_result: StepHandlerResult, execution_time_ms: int, worker_id: str
) -> StepExecutionResult:
    """Return the result of a step as it is handed in."""
    step_uuid = UUID(event.step_uuid)
    task_uuid = UUID(event.task_uuid)
    correlation_id = UUID(event.correlation_id)
    metadata = fitting_metadata(handler_result.metadata)
    if handler_result.is_success:
        return StepExecutionResult.success_result(
            step_uuid=step_uuid,
            task_uuid=task_uuid,
            result=handler_result.result or {},
            execution_time_ms=execution_time_ms,
            worker_id=worker_id,
            correlation_id=correlation_id,
            metadata=metadata,
        )
    error = StepError(
        error_type=handler_result.error_type or "unknown",
        message=handler_result.error_message or "Unknown error",
        retryable=handler_result.retryable,
        metadata=handler_result.metadata,
    )
    # Orchestration reads here whether to try again.
    metadata["retryable"] = handler_result.retryable
    error_code = getattr(handler_result, "error_code", None)
    if isinstance(error_code, str):
        metadata.setdefault("error_code", error_code)
    return StepExecutionResult.failure_result(
        step_uuid=step_uuid,
        task_uuid=task_uuid,
        error=error,
        execution_time_ms=execution_time_ms,
        worker_id=worker_id,
        correlation_id=correlation_id,
        metadata=metadata,
    )


def _as_json(result: StepExecutionResult) -> dict[str, Any]:
    try:
        return result.model_dump(mode="json")
    except Exception:
        if not complete_models():
            raise
        return result.model_dump(mode="json")


def _handler_section(event: FfiStepEvent) -> dict[str, Any]:
    return _section(_section(event.task_sequence_step, "step_definition"), "handler")


def _section(payload: dict[str, Any], name: str) -> dict[str, Any]:
    section = payload.get(name)
    return section if isinstance(section, dict) else {}


@contextmanager
def _labelled(event: FfiStepEvent) -> Iterator[None]:
    """Let log lines and domain events of the handler tell which step they are of."""
    try:
        from taskerpy_host import context as host
    except ModuleNotFoundError:  # outside of the host nobody asks
        yield
        return
    name = str(_section(event.task_sequence_step, "workflow_step").get("name", ""))
    info = host.StepInfo(name, str(event.task_uuid), str(event.correlation_id), str(event.event_id))
    token = host.current_step.set(info)
    try:
        yield
    finally:
        host.current_step.reset(token)


def _log_fields(event: FfiStepEvent) -> dict[str, Any]:
    return {
        "event_id": event.event_id,
        "task_uuid": event.task_uuid,
        "step_uuid": event.step_uuid,
        "correlation_id": event.correlation_id,
    }


if not TYPE_CHECKING:
    __getattr__ = patchable(
        __name__,
        {
            "asyncio": "asyncio",
            "log_debug": "tasker_core.logging:log_debug",
            "log_info": "tasker_core.logging:log_info",
            "traceback": "traceback",
        },
    )
