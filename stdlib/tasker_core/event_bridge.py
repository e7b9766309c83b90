"""Publish and subscribe within the process, by event names."""

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from tasker_core._patchable import patchable
from tasker_core.logging import log_warn

if TYPE_CHECKING:
    from pyee.base import EventEmitter as EventEmitter

__all__ = ["EventBridge", "EventNames"]


class EventNames:
    """The events of a step's way through Python.

    >>> EventNames.STEP_COMPLETION_SENT
    'step.completion.sent'
    """

    STEP_EXECUTION_RECEIVED = "step.execution.received"
    STEP_COMPLETION_SENT = "step.completion.sent"
    STEP_CHECKPOINT_YIELD = "step.checkpoint_yield.sent"
    HANDLER_REGISTERED = "handler.registered"
    HANDLER_ERROR = "handler.error"
    POLLER_METRICS = "poller.metrics"
    POLLER_ERROR = "poller.error"


_EVENT_SCHEMA = {
    EventNames.STEP_EXECUTION_RECEIVED: "FfiStepEvent",
    EventNames.STEP_COMPLETION_SENT: "StepExecutionResult",
    EventNames.STEP_CHECKPOINT_YIELD: "dict[str, Any]",
    EventNames.HANDLER_REGISTERED: "tuple[str, type]",
    EventNames.HANDLER_ERROR: "tuple[FfiStepEvent, Exception]",
    EventNames.POLLER_METRICS: "FfiDispatchMetrics",
    EventNames.POLLER_ERROR: "Exception",
}


class EventBridge:
    """Calls the listeners of an event, on the thread that publishes it.

    >>> bridge = EventBridge()
    >>> bridge.subscribe("greeting", print)
    >>> bridge.start()
    >>> bridge.publish("greeting", "hello")
    hello
    """

    _instance: "EventBridge | None" = None
    __instance_lock = threading.Lock()

    def __init__(self) -> None:
        # By way of the module, where tests may have put another emitter; pyee
        # is only paid for by programs that use a bridge.
        from tasker_core import event_bridge

        self._emitter: EventEmitter = event_bridge.EventEmitter()
        self._active = False
        self._event_schema = dict(_EVENT_SCHEMA)

    @classmethod
    def instance(cls) -> "EventBridge":
        """Return the bridge of this process."""
        with EventBridge.__instance_lock:
            if cls._instance is None:
                cls._instance = cls()
            return cls._instance

    @classmethod
    def reset_instance(cls) -> None:
        """Stop and forget the bridge of this process."""
        with EventBridge.__instance_lock:
            bridge, cls._instance = cls._instance, None
        if bridge is not None:
            bridge.stop()

    def start(self) -> None:
        """Deliver events from now on. Starting twice is fine."""
        self._active = True

    def stop(self) -> None:
        """Deliver no more and drop all listeners; nothing if not started."""
        if self._active:
            self._active = False
            self._emitter.remove_all_listeners()

    @property
    def is_active(self) -> bool:
        """Whether events are delivered."""
        return self._active

    def subscribe(self, event: str, handler: Callable[..., Any]) -> None:
        """Have ``handler`` called for each such event; before the start too."""
        self._emitter.on(event, handler)

    def subscribe_once(self, event: str, handler: Callable[..., Any]) -> None:
        """Have ``handler`` called for the next such event only."""
        self._emitter.once(event, handler)

    def unsubscribe(self, event: str, handler: Callable[..., Any]) -> None:
        """Have ``handler`` called no more; nothing if it was not subscribed."""
        with suppress(KeyError):
            self._emitter.remove_listener(event, handler)

    def publish(self, event: str, *args: Any, **kwargs: Any) -> None:
        """Call the listeners, in the order they subscribed.

        What a listener raises is passed on, and those behind it are not
        called. While the bridge is not active the event is dropped.
        """
        if not self._active:
            log_warn(f"Event {event!r} dropped: the event bridge is not started", {"event": event})
            return
        self._emitter.emit(event, *args, **kwargs)

    def listener_count(self, event: str) -> int:
        """Return how many listeners an event has."""
        return len(self._emitter.listeners(event))

    def listeners(self, event: str) -> list[Callable[..., Any]]:
        """Return the listeners of an event."""
        return list(self._emitter.listeners(event))

    @property
    def event_schema(self) -> dict[str, str]:
        """What each event of :class:`EventNames` is published with."""
        return dict(self._event_schema)


if not TYPE_CHECKING:
    __getattr__ = patchable(
        __name__,
        {
            "EventEmitter": "pyee.base:EventEmitter",
            "log_debug": "tasker_core.logging:log_debug",
            "log_info": "tasker_core.logging:log_info",
        },
    )
