"""A worker with everything it needs, started and stopped as one."""

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any

from tasker_core.bootstrap import (
    bootstrap_worker,
    is_worker_running,
    stop_worker,
    transition_to_graceful_shutdown,
)
from tasker_core.event_bridge import EventBridge, EventNames
from tasker_core.event_poller import EventPoller
from tasker_core.handler import HandlerRegistry
from tasker_core.logging import log_error, log_info, log_warn
from tasker_core.step_execution_subscriber import StepExecutionSubscriber
from tasker_core.types import BootstrapConfig, BootstrapResult, FfiStepEvent

__all__ = ["Worker"]


class Worker:
    """The worker of this process.

    ::

        with Worker.start(handler_packages=["myapp.handlers"]) as worker:
            print(worker.worker_id)
            wait_for_signal()

    Until it is started it has neither an id nor a bootstrap result:

    >>> worker = Worker()
    >>> worker.is_running, worker.worker_id
    (False, '')
    """

    _instance: "Worker | None" = None
    # Starting and stopping take turns. Reading does not wait for them: a
    # handler may ask for the worker while the worker waits for the handler.
    __life_lock = threading.RLock()
    __state_lock = threading.Lock()

    def __init__(self) -> None:
        self._bootstrap_result: BootstrapResult | None = None
        self._poller: EventPoller | None = None
        self._subscriber: StepExecutionSubscriber | None = None
        self._bridge: EventBridge | None = None
        self._running = False

    @classmethod
    def start(
        cls,
        handler_packages: list[str] | None = None,
        config: BootstrapConfig | None = None,
    ) -> "Worker":
        """Start the worker, or return the one that runs.

        Handlers found in ``handler_packages`` replace those of the same names
        that templates have led to. If a part cannot be started, those started
        before it are stopped again.

        Raises:
            RuntimeError: the host cannot start a worker (``Bootstrap failed: …``).
        """
        with Worker.__life_lock:
            running = Worker._instance
            if running is not None and running._running:
                log_warn("Worker is running already; start() returns it as it is")
                return running
            worker = cls()
            worker._start(handler_packages=handler_packages, config=config)
            Worker._instance = worker
            return worker

    @classmethod
    def instance(cls) -> "Worker | None":
        """Return the worker that runs in this process, or ``None``."""
        worker = Worker._instance
        return worker if worker is not None and worker._running else None

    @classmethod
    def reset_instance(cls) -> None:
        """Stop and forget the worker of this process, if there is one."""
        worker = Worker._instance
        if worker is not None:
            worker.stop()
        Worker._instance = None

    def stop(self) -> None:
        """Stop the worker; nothing if it does not run.

        A part that cannot be stopped is logged, and the others are stopped.

        Raises:
            RuntimeError: the host cannot stop its worker.
        """
        with Worker.__state_lock:
            if not self._running:
                return
            self._running = False
        with Worker.__life_lock:
            try:
                self.__stop_parts()
                _leave_gracefully()
                stop_worker()
            finally:
                if Worker._instance is self:
                    Worker._instance = None
        log_info(f"Worker {self.worker_id} stopped", {"worker_id": self.worker_id})

    @property
    def worker_id(self) -> str:
        """The worker's id; empty before it is started."""
        return "" if self._bootstrap_result is None else self._bootstrap_result.worker_id

    @property
    def is_running(self) -> bool:
        """Whether the worker is started and not stopped."""
        return self._running

    @property
    def bootstrap_result(self) -> BootstrapResult:
        """What the host answered to the start.

        Raises:
            RuntimeError: the worker has not been started.
        """
        if self._bootstrap_result is None:
            raise RuntimeError("Worker has not been started")
        return self._bootstrap_result

    def __enter__(self) -> "Worker":
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _start(
        self,
        handler_packages: list[str] | None = None,
        config: BootstrapConfig | None = None,
    ) -> None:
        result = bootstrap_worker(config)
        self._bootstrap_result = result
        try:
            self.__start_parts(result.worker_id, handler_packages or [])
        except BaseException:
            self.__stop_parts()
            # A worker that ran before belongs to whoever has started it.
            if result.success:
                _attempt("the host's worker", stop_worker)
            raise
        self._running = True
        log_info(f"Worker {result.worker_id} started", {"worker_id": result.worker_id})

    def __start_parts(self, worker_id: str, handler_packages: list[str]) -> None:
        registry = HandlerRegistry.instance(skip_bootstrap=True)
        registry.bootstrap_handlers()
        for package in handler_packages:
            registry.discover_handlers(package)

        bridge = EventBridge.instance()
        self._bridge = bridge
        bridge.start()

        self._subscriber = StepExecutionSubscriber(
            event_bridge=bridge, handler_registry=registry, worker_id=worker_id
        )
        self._subscriber.start()

        def deliver(event: FfiStepEvent) -> None:
            bridge.publish(EventNames.STEP_EXECUTION_RECEIVED, event)

        self._poller = EventPoller()
        self._poller.on_step_event(deliver)
        self._poller.start()

    def __stop_parts(self) -> None:
        if self._poller is not None:
            _attempt("the poller", self._poller.stop)
        if self._subscriber is not None:
            _attempt("the subscriber", self._subscriber.stop)
        if self._bridge is not None:
            _attempt("the event bridge", self._bridge.stop)


def _leave_gracefully() -> None:
    """Let the steps that the host still has in hand finish."""

    def leave() -> None:
        if is_worker_running():
            transition_to_graceful_shutdown()

    _attempt("taking steps", leave)


def _attempt(what: str, stop: Callable[[], Any]) -> None:
    try:
        stop()
    except Exception as exc:
        log_error(f"Worker: stopping {what} failed: {type(exc).__name__}: {exc}")
