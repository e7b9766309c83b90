"""A thread that fetches the domain events of this process."""

import threading
from collections.abc import Callable
from typing import Any

from tasker_core import domain_events
from tasker_core._failures import is_failure, line_of
from tasker_core.types import InProcessDomainEvent

__all__ = ["DomainEventCallback", "ErrorCallback", "InProcessDomainEventPoller"]

DomainEventCallback = Callable[[InProcessDomainEvent], None]
"""Takes a domain event."""

ErrorCallback = Callable[[Exception], None]
"""Takes what went wrong."""

# After an error the next poll waits this many intervals.
_ERROR_INTERVALS = 10
# Seconds that stop() may have to wait for a thread that has nothing to do.
_LONGEST_SLEEP = 0.5


class InProcessDomainEventPoller:
    """Polls for domain events on a daemon thread and calls those who want them.

    >>> poller = InProcessDomainEventPoller(polling_interval_ms=50)
    >>> seen = []
    >>> poller.on_event(lambda event: seen.append(event.event_name))
    >>> poller.is_running, poller.stats["events_processed"]
    (False, 0)

    Callbacks run on that thread, one after the other: while one of them
    works, nothing is polled, and the worker drops the events that its queue
    has no room for.

    Args:
        polling_interval_ms: Milliseconds between polls when there is nothing.
        max_events_per_poll: How many events are fetched at a time.
    """

    DEFAULT_POLL_INTERVAL_MS = 10
    DEFAULT_MAX_EVENTS_PER_POLL = 100

    def __init__(
        self,
        polling_interval_ms: int = DEFAULT_POLL_INTERVAL_MS,
        max_events_per_poll: int = DEFAULT_MAX_EVENTS_PER_POLL,
    ) -> None:
        self._polling_interval = polling_interval_ms / 1000.0
        self._max_events_per_poll = max_events_per_poll
        self._running = False
        self._thread: threading.Thread | None = None
        self._poll_count = 0
        self._events_processed = 0
        self._events_lagged = 0
        self._event_callbacks: list[DomainEventCallback] = []
        self._error_callbacks: list[ErrorCallback] = []
        self.__life_lock = threading.Lock()
        self.__callbacks_lock = threading.Lock()
        # Set to end the wait between two polls. Each run has its own: a
        # thread that outlived stop() must not come back to life with the next.
        self.__stopped = threading.Event()

    def on_event(self, callback: DomainEventCallback) -> None:
        """Have ``callback`` called with each event."""
        with self.__callbacks_lock:
            self._event_callbacks.append(callback)

    def off_event(self, callback: DomainEventCallback) -> None:
        """Call ``callback`` no more; one that is not called is fine."""
        with self.__callbacks_lock:
            if callback in self._event_callbacks:
                self._event_callbacks.remove(callback)

    def on_error(self, callback: ErrorCallback) -> None:
        """Have ``callback`` called with what goes wrong."""
        with self.__callbacks_lock:
            self._error_callbacks.append(callback)

    def start(self) -> None:
        """Start polling.

        Raises:
            RuntimeError: it has been started already.
        """
        with self.__life_lock:
            if self._running:
                raise RuntimeError("InProcessDomainEventPoller already running")
            self.__stopped = threading.Event()
            thread = threading.Thread(
                target=self._poll_loop, name="tasker-domain-event-poller", daemon=True
            )
            self._running, self._thread = True, thread
            try:
                thread.start()
            except BaseException:
                self._running, self._thread = False, None
                raise

    def stop(self, timeout: float = 5.0) -> None:
        """Stop polling; waits up to ``timeout`` seconds for a callback to end.

        Called by a callback it does not wait. Stopping what is not running is
        fine.
        """
        with self.__life_lock:
            if not self._running:
                return
            self._running = False
            self.__stopped.set()
            thread, self._thread = self._thread, None
        if thread is None or thread is threading.current_thread():
            return
        thread.join(timeout=timeout)
        if thread.is_alive():
            domain_events.log_warn(
                f"InProcessDomainEventPoller: a callback is still running {timeout} s after stop()"
            )

    @property
    def is_running(self) -> bool:
        """Whether the thread is there and polls."""
        return self._running and self._thread is not None and self._thread.is_alive()

    @property
    def stats(self) -> dict[str, int]:
        """How often was polled, how many events came, how many were lost."""
        return {
            "poll_count": self._poll_count,
            "events_processed": self._events_processed,
            "events_lagged": self._events_lagged,
        }

    def _poll_loop(self) -> None:
        stopped = self.__stopped
        while self._running and stopped is self.__stopped:
            self._poll_count += 1
            try:
                if _poll_once(self, stopped) == 0:
                    self.__sleep(stopped, self._polling_interval)
            except Exception as exc:
                self._emit_error(exc)
                self.__sleep(stopped, self._polling_interval * _ERROR_INTERVALS)

    def __sleep(self, stopped: threading.Event, seconds: float) -> None:
        """Sleep, but wake up soon after a stop.

        ``time.sleep`` of the package and no lock: tests put a mock there that
        ends the loop.
        """
        while True:
            slice_ = min(seconds, _LONGEST_SLEEP)
            domain_events.time.sleep(slice_)
            seconds -= slice_
            if seconds <= 0 or stopped.is_set() or not self._running:
                return

    def _process_event(self, event_data: dict[str, Any]) -> None:
        try:
            self.__count_lost(event_data)
            event = InProcessDomainEvent.model_validate(_with_execution_result(event_data))
        except Exception as exc:
            domain_events.log_error(
                f"InProcessDomainEventPoller: an event cannot be read: {type(exc).__name__}: {exc}"
            )
            self._emit_error(exc)
            return
        with self.__callbacks_lock:
            callbacks = tuple(self._event_callbacks)
        for callback in callbacks:
            try:
                callback(event)
            except BaseException as exc:
                if not is_failure(exc):
                    raise
                domain_events.log_error(
                    f"InProcessDomainEventPoller: a callback failed with {event.event_name}: "
                    f"{line_of(exc)}"
                )
                self._emit_error(exc)

    def __count_lost(self, event_data: dict[str, Any]) -> None:
        """Count what the worker says it had to drop before this event."""
        lost = event_data.get("lagged")
        if type(lost) is int and lost > 0:
            self._events_lagged += lost
            domain_events.log_warn(
                f"InProcessDomainEventPoller: {lost} events were lost, callbacks are too slow"
            )

    def _emit_error(self, error: BaseException) -> None:
        with self.__callbacks_lock:
            callbacks = tuple(self._error_callbacks)
        for callback in callbacks:
            try:
                # It is told of exits too, which its type does not promise.
                callback(error)  # type: ignore[arg-type]
            except BaseException as exc:
                if not is_failure(exc):
                    raise
                domain_events.log_warn(
                    f"InProcessDomainEventPoller: an error callback failed: {line_of(exc)}"
                )


# No method: programs may derive from the class, and call theirs the same.
def _poll_once(poller: InProcessDomainEventPoller, stopped: threading.Event) -> int:
    """Fetch and process what there is, up to the limit; return how many."""
    # domain_events is asked at each turn: programs may have put another there.
    for count in range(poller._max_events_per_poll):
        if stopped.is_set():
            return count
        data = domain_events._poll_in_process_events()
        if data is None:
            return count
        poller._process_event(data)
        poller._events_processed += 1
    return poller._max_events_per_poll


def _with_execution_result(event_data: dict[str, Any]) -> dict[str, Any]:
    """Return the event with the step's outcome at the place the model has for it.

    The worker sends it inside the payload, in the form results are stored in.
    """
    payload = event_data.get("payload")
    stored = payload.get("execution_result") if isinstance(payload, dict) else None
    if event_data.get("execution_result") is not None or not isinstance(stored, dict):
        return event_data
    if type(stored.get("success")) is not bool:
        return event_data
    error = stored.get("error")
    error = error if isinstance(error, dict) else {}
    metadata = stored.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    result = stored.get("result")
    return {
        **event_data,
        "execution_result": {
            "success": stored["success"],
            "result": result if isinstance(result, dict) else None,
            "error_message": _text(error.get("message")),
            "error_type": _text(error.get("error_type") or metadata.get("error_type")),
            "execution_time_ms": _integer(metadata.get("execution_time_ms")),
        },
    }


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _integer(value: Any) -> int | None:
    return value if type(value) is int else None
