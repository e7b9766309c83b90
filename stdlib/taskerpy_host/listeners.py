"""What lanes tell the listeners on the bridge of the process.

Programs subscribe to the events of their steps there, which a worker that
polls publishes. A lane hands its answer in when it returns, so here listeners
learn how a step ended just before that; what they do does not change it.
"""

from __future__ import annotations

from typing import Any

from tasker_core._failures import is_failure, line_of
from tasker_core.event_bridge import EventBridge, EventNames
from tasker_core.logging import log_warn
from tasker_core.step_execution_subscriber import StepExecutionSubscriber, _execution_result
from tasker_core.types import FfiStepEvent, StepHandlerResult


def received(bridge: EventBridge, event: dict[str, Any], payload: dict[str, Any]) -> None:
    """Tells that a step is about to run."""
    name = EventNames.STEP_EXECUTION_RECEIVED
    # What executes the steps that a program polls for listens too; this one is ours.
    if any(
        isinstance(getattr(listener, "__self__", None), StepExecutionSubscriber)
        for listener in bridge.listeners(name)
    ):
        return
    if bridge.listener_count(name):
        _publish(bridge, name, FfiStepEvent._from_trusted_payload(event, payload))


def failed(
    bridge: EventBridge, event: dict[str, Any], payload: dict[str, Any], error: BaseException
) -> None:
    """Tells that a handler has raised an exception."""
    if bridge.listener_count(EventNames.HANDLER_ERROR):
        told = FfiStepEvent._from_trusted_payload(event, payload)
        _publish(bridge, EventNames.HANDLER_ERROR, told, error)


def yielded(bridge: EventBridge, step_uuid: str, result: StepHandlerResult) -> None:
    """Tells that a step has stored how far it is."""
    given = result.result or {}
    data = {
        "step_uuid": step_uuid,
        "cursor": given.get("cursor"),
        "items_processed": given.get("items_processed", 0),
        "accumulated_results": given.get("accumulated_results"),
    }
    _publish(bridge, EventNames.STEP_CHECKPOINT_YIELD, data)


def ended(
    bridge: EventBridge,
    event: dict[str, Any],
    payload: dict[str, Any],
    result: StepHandlerResult,
    milliseconds: int,
    worker_id: str,
) -> None:
    """Tells how a step has ended, unless the handler's result is none."""
    if not bridge.listener_count(EventNames.STEP_COMPLETION_SENT):
        return
    told = FfiStepEvent._from_trusted_payload(event, payload)
    try:
        completion = _execution_result(told, result, milliseconds, worker_id)
    except Exception:
        # The step has failed for that, and says so.
        return
    _publish(bridge, EventNames.STEP_COMPLETION_SENT, completion)


def _publish(bridge: EventBridge, name: str, *arguments: Any) -> None:
    if not bridge.listener_count(name):
        return
    # Programs leave that to the worker.
    bridge.start()
    try:
        bridge.publish(name, *arguments)
    except BaseException as error:  # the time of the step may be over, too
        if not is_failure(error):
            raise
        log_warn(f"A listener of {name!r} failed: {line_of(error)}")
