"""A thread that asks the host for steps and calls those who want them."""

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tasker_core._patchable import patchable
from tasker_core._tasker_core import check_starvation_warnings as _check_starvation_warnings
from tasker_core._tasker_core import cleanup_timeouts as _cleanup_timeouts
from tasker_core._tasker_core import complete_step_event as _complete_step_event
from tasker_core._tasker_core import get_ffi_dispatch_metrics as _get_ffi_dispatch_metrics
from tasker_core._tasker_core import poll_step_events as _poll_step_events
from tasker_core.logging import log_debug, log_error, log_warn
from tasker_core.types import FfiDispatchMetrics, FfiStepEvent

__all__ = ["EventPoller"]

StepEventCallback = Callable[[FfiStepEvent], None]
MetricsCallback = Callable[[FfiDispatchMetrics], None]
ErrorCallback = Callable[[Exception], None]

# After an error the next poll waits this many intervals.
_ERROR_INTERVALS = 10
# A longer wait is made of several, so that stop() does not take as long.
_LONGEST_SLEEP_SECONDS = 0.25


class EventPoller:
    """Polls for steps on a daemon thread.

    Callbacks run on that thread, one after the other: while one of them
    works, nothing is polled.

    Args:
        polling_interval_ms: Milliseconds between polls when there is nothing.
        starvation_check_interval: Polls between looks for starving steps.
        cleanup_interval: Polls between looks for timed-out steps.

    >>> poller = EventPoller(polling_interval_ms=20)
    >>> poller.on_step_event(print)
    >>> poller.is_running
    False
    """

    DEFAULT_POLL_INTERVAL_MS = 10
    DEFAULT_STARVATION_CHECK_INTERVAL = 100
    DEFAULT_CLEANUP_INTERVAL = 1000

    def __init__(
        self,
        polling_interval_ms: int = DEFAULT_POLL_INTERVAL_MS,
        starvation_check_interval: int = DEFAULT_STARVATION_CHECK_INTERVAL,
        cleanup_interval: int = DEFAULT_CLEANUP_INTERVAL,
    ) -> None:
        for name, value, least in (
            ("polling_interval_ms", polling_interval_ms, 0),
            ("starvation_check_interval", starvation_check_interval, 1),
            ("cleanup_interval", cleanup_interval, 1),
        ):
            if value < least:
                raise ValueError(f"EventPoller: {name} must be at least {least}, not {value}")
        self._polling_interval = polling_interval_ms / 1000.0
        self._starvation_check_interval = starvation_check_interval
        self._cleanup_interval = cleanup_interval
        self._running = False
        self._thread: threading.Thread | None = None
        self._poll_count = 0
        self._step_event_callbacks: list[StepEventCallback] = []
        self._metrics_callbacks: list[MetricsCallback] = []
        self._error_callbacks: list[ErrorCallback] = []
        self.__life_lock = threading.Lock()
        # Set to end a long wait between two polls. Each run has its own: a
        # thread that outlived stop() must not come back to life with the next.
        self.__stopped = threading.Event()

    def on_step_event(self, callback: StepEventCallback) -> None:
        """Have ``callback`` called with each step."""
        self._step_event_callbacks.append(callback)

    def on_metrics(self, callback: MetricsCallback) -> None:
        """Have ``callback`` called with the metrics from time to time."""
        self._metrics_callbacks.append(callback)

    def on_error(self, callback: ErrorCallback) -> None:
        """Have ``callback`` called with what goes wrong."""
        self._error_callbacks.append(callback)

    def start(self) -> None:
        """Start polling.

        Raises:
            RuntimeError: it has been started already.
        """
        with self.__life_lock:
            if self._running:
                raise RuntimeError("EventPoller already running")
            self.__stopped = threading.Event()
            thread = threading.Thread(
                target=self._poll_loop, name="tasker-event-poller", daemon=True
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
            log_warn(f"EventPoller: a callback is still running {timeout} s after stop()")

    @property
    def is_running(self) -> bool:
        """Whether the thread is there and polls."""
        return self._running and self._thread is not None and self._thread.is_alive()

    def get_metrics(self) -> FfiDispatchMetrics | None:
        """Return the metrics, or ``None`` if they cannot be had."""
        try:
            return FfiDispatchMetrics.model_validate(_get_ffi_dispatch_metrics())
        except Exception:
            return None

    def _poll_loop(self) -> None:
        stopped = self.__stopped
        while self._running and stopped is self.__stopped:
            self._poll_count += 1
            try:
                event = _poll_step_events()
                if event is None:
                    self.__sleep(self._polling_interval, stopped)
                else:
                    self._process_event(event)
            except Exception as exc:
                self._emit_error(exc)
                self.__sleep(self._polling_interval * _ERROR_INTERVALS, stopped)
                continue
            if self._poll_count % self._starvation_check_interval == 0:
                self._check_starvation()
            if self._poll_count % self._cleanup_interval == 0:
                self._cleanup_timeouts()

    def __sleep(self, seconds: float, stopped: threading.Event) -> None:
        """Wait until the time is over or the poller has been stopped.

        With ``time.sleep``, where tests of programs put a mock that ends the
        loop.
        """
        while True:
            time.sleep(min(seconds, _LONGEST_SLEEP_SECONDS))
            seconds -= _LONGEST_SLEEP_SECONDS
            if seconds <= 0 or stopped.is_set() or not self._running:
                return

    def _process_event(self, event_data: dict[str, Any]) -> None:
        try:
            event = FfiStepEvent.model_validate(event_data)
        except Exception as exc:
            self._emit_error(exc)
            self.__refuse_event(event_data, exc)
            return
        for callback in self._step_event_callbacks:
            try:
                callback(event)
            except Exception as exc:
                self._emit_error(exc)

    def __refuse_event(self, event_data: Any, error: Exception) -> None:
        """Fail a step that cannot be read, so that nobody waits for it."""
        try:
            _complete_step_event(
                event_data["event_id"],
                {
                    "step_uuid": event_data["step_uuid"],
                    "success": False,
                    "metadata": {"retryable": True},
                    "error": {
                        "error_type": "invalid_event",
                        "message": f"The step's event cannot be read: {error}",
                        "retryable": True,
                    },
                },
            )
        except Exception as exc:
            log_error(f"EventPoller: a step that cannot be read cannot be failed either: {exc}")

    def _check_starvation(self) -> None:
        try:
            _check_starvation_warnings()
            metrics = FfiDispatchMetrics.model_validate(_get_ffi_dispatch_metrics())
        except Exception as exc:
            log_debug(f"EventPoller: no look for starving steps: {exc}")
            return
        for callback in self._metrics_callbacks:
            try:
                callback(metrics)
            except Exception as exc:
                log_warn(f"EventPoller: a metrics callback failed: {type(exc).__name__}: {exc}")
        if metrics.starvation_detected:
            log_warn(
                f"{metrics.starving_event_count} steps wait for Python for too long",
                {
                    "pending_count": metrics.pending_count,
                    "oldest_pending_age_ms": metrics.oldest_pending_age_ms,
                },
            )

    def _cleanup_timeouts(self) -> None:
        try:
            count = _cleanup_timeouts()
        except Exception as exc:
            log_debug(f"EventPoller: no look for timed-out steps: {exc}")
            return
        if count > 0:
            log_warn(f"{count} steps timed out waiting for Python", {"count": count})

    def _emit_error(self, error: Exception) -> None:
        for callback in self._error_callbacks:
            try:
                callback(error)
            except Exception as exc:
                log_warn(f"EventPoller: an error callback failed: {type(exc).__name__}: {exc}")


if not TYPE_CHECKING:
    __getattr__ = patchable(__name__, {"log_info": "tasker_core.logging:log_info"})
