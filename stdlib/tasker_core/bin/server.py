#!/usr/bin/env python3
"""A worker as a process of its own: ``python server.py``.

It imports the handlers below ``PYTHON_HANDLER_PATH``, starts the host's
worker, and hands steps to handlers until it is told to stop (``SIGTERM`` or
``SIGINT``). ``SIGUSR1`` logs how the worker is.

Exit codes: 0 stopped by a signal, 1 the shutdown met an error, 3 the host did
not start a worker (one runs already), 4 anything else went wrong.
"""

import importlib
import importlib.util
import logging
import os
import platform
import queue
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

if not __package__:
    # Run as a script: only this folder is on the path yet.
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tasker_core.bootstrap import (
    bootstrap_worker,
    get_worker_status,
    is_worker_running,
    stop_worker,
    transition_to_graceful_shutdown,
)
from tasker_core.event_bridge import EventBridge, EventNames
from tasker_core.event_poller import EventPoller
from tasker_core.handler import HandlerRegistry
from tasker_core.step_execution_subscriber import StepExecutionSubscriber
from tasker_core.step_handler.base import StepHandler
from tasker_core.types import BootstrapConfig, FfiStepEvent

_LOG_LEVELS = {
    "trace": logging.DEBUG,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
}
_RULE = "=" * 60
# Seconds between two looks at how the worker is, and after how many of them
# its health is checked.
_PERIOD = 1.0
_PRODUCTION_PERIOD = 5.0
_TURNS_PER_HEALTH_CHECK = 60
_POLLER_STOP_SECONDS = 5.0
_OWN_PACKAGES = frozenset({"tasker_core", "taskerpy_host", "_taskerpy"})


def _log_level() -> str:
    """Return the level that ``RUST_LOG`` asks for in general.

    The variable may hold directives (``info,sqlx=warn``) and capitals.
    """
    for directive in os.environ.get("RUST_LOG", "").split(","):
        word = directive.strip().lower()
        if word in _LOG_LEVELS:
            return word
    return "info"


logging.basicConfig(
    level=_LOG_LEVELS[_log_level()],
    format="%(asctime)s [%(levelname)s] %(name)s: %(message)s",
    datefmt="%Y-%m-%dT%H:%M:%S%z",
    stream=sys.stderr,
)
logger = logging.getLogger("python-worker")


def show_banner() -> None:
    """Log what the worker starts with. No secret is among it."""
    environment = os.environ.get("TASKER_ENV") or "development"
    database = "[REDACTED]" if os.environ.get("DATABASE_URL") else "Not set"
    logger.info(_RULE)
    logger.info("Starting Python Worker Bootstrap System")
    logger.info(_RULE)
    logger.info("Environment: %s", environment)
    logger.info("Python Version: %s", platform.python_version())
    logger.info("Database URL: %s", database)
    for title, variable in (
        ("Template Path", "TASKER_TEMPLATE_PATH"),
        ("Web Bind Address", "TASKER_WEB_BIND_ADDRESS"),
        ("Config Path", "TASKER_CONFIG_PATH"),
    ):
        logger.info("%s: %s", title, os.environ.get(variable) or "Not set")
    logger.info("Configuration:")
    logger.info("  Log Level: %s", _log_level())
    logger.info("  Handler Path: %s", os.environ.get("PYTHON_HANDLER_PATH") or "Not set")
    if environment == "production":
        logger.info("  Production optimizations: Enabled")


def health_check() -> dict[str, Any]:
    """Return whether the worker runs, and its status or what keeps it from telling.

    >>> health_check()["healthy"]
    False
    """
    try:
        status = get_worker_status()
    except Exception as exc:
        return {"healthy": False, "error": str(exc)}
    return {"healthy": status.running, "status": status.model_dump()}


def initialize_handler_registry() -> int:
    """Import the handlers and enter them; return how many there are.

    Those below ``PYTHON_HANDLER_PATH`` are entered whatever the environment
    is, in addition to what the registry finds by itself.
    """
    package = None
    handler_path = os.environ.get("PYTHON_HANDLER_PATH")
    if handler_path:
        if Path(handler_path).is_dir():
            if handler_path not in sys.path:
                sys.path.insert(0, handler_path)
            _import_handlers_from_path(handler_path)
            package = Path(handler_path).resolve().name
        else:
            logger.warning(
                "PYTHON_HANDLER_PATH=%s is not a directory, no handlers are imported from it",
                handler_path,
            )
    registry = HandlerRegistry.instance()
    if package is not None:
        for name, module in sorted(sys.modules.items()):
            if name == package or name.startswith(f"{package}."):
                registry._scan_module_for_handlers(module, StepHandler)
    count = registry.handler_count()
    logger.info("Registered %d handlers: %s", count, ", ".join(sorted(registry.list_handlers())))
    return count


def main() -> int:
    """Run the worker until a signal ends it; return the exit code."""
    shutdown = _Shutdown()
    stops: list[tuple[str, Callable[[], Any]]] = []
    try:
        show_banner()
        _install_signal_handlers(shutdown)
        initialize_handler_registry()
        if not _start(stops):
            return 3
        _run_until(shutdown)
    except Exception as exc:
        logger.critical("Worker failed: %s", exc, exc_info=True)
        _shut_down(stops)
        return 4
    finally:
        shutdown.finish()
    return 0 if _shut_down(stops) else 1


class _Shutdown(threading.Event):
    """Set by a signal; has a thread that does what signal handlers have to do.

    A signal may come while the main thread is writing a log line, and a stream
    that is being written to cannot be entered again: the line would be lost,
    and the error could end the program or, worse, the shutdown. Or it comes
    while the main thread holds the event's lock, for which ``set`` would wait
    for ever.
    """

    def __init__(self) -> None:
        super().__init__()
        # put() of this queue may be called by signal handlers at any time.
        self._sayings: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._speaker = threading.Thread(target=self._speak, name="tasker-signals", daemon=True)
        self._speaker.start()

    def say(self, what: Callable[[], None]) -> None:
        """Let ``what`` be called by the thread."""
        self._sayings.put(what)

    def finish(self) -> None:
        """Wait until everything is said."""
        self._sayings.put(None)
        self._speaker.join()

    def _speak(self) -> None:
        while (what := self._sayings.get()) is not None:
            what()


def _start(stops: list[tuple[str, Callable[[], Any]]]) -> bool:
    """Start the worker's parts, and note in ``stops`` how each is stopped again.

    Returns ``False`` if the host did not start a worker.
    """
    result = bootstrap_worker(
        BootstrapConfig(
            namespace=os.environ.get("TASKER_NAMESPACE") or "default", log_level=_log_level()
        )
    )
    if not result.success:
        logger.error("The worker was not started: %s", result.message or result.status)
        return False
    stops.append(("worker", _stop_host))
    logger.info("Worker started: %s", result.worker_id)

    bridge = EventBridge.instance()
    bridge.start()
    stops.append(("event bridge", bridge.stop))

    subscriber = StepExecutionSubscriber(
        event_bridge=bridge,
        handler_registry=HandlerRegistry.instance(),
        worker_id=os.environ.get("HOSTNAME") or "python-worker",
    )
    subscriber.start()
    stops.append(("subscriber", subscriber.stop))

    def deliver(event: FfiStepEvent) -> None:
        bridge.publish(EventNames.STEP_EXECUTION_RECEIVED, event)

    def report(error: Exception) -> None:
        logger.error("Poller: %s: %s", type(error).__name__, error)
        bridge.publish(EventNames.POLLER_ERROR, error)

    poller = EventPoller(
        polling_interval_ms=10, starvation_check_interval=100, cleanup_interval=1000
    )
    poller.on_step_event(deliver)
    poller.on_error(report)
    poller.start()
    stops.append(("poller", lambda: poller.stop(timeout=_POLLER_STOP_SECONDS)))
    # Stopped first: the worker is not ready any more while its last step runs.
    stops.append(("intake", _stop_intake))

    logger.info(_RULE)
    logger.info("Worker ready and processing tasks")
    logger.info(_RULE)
    return True


def _run_until(shutdown: threading.Event) -> None:
    production = os.environ.get("TASKER_ENV") == "production"
    period = _PRODUCTION_PERIOD if production else _PERIOD
    turn = 0
    while not shutdown.wait(period):
        turn += 1
        if turn % _TURNS_PER_HEALTH_CHECK == 0:
            health = health_check()
            level = logging.DEBUG if health["healthy"] else logging.WARNING
            logger.log(level, "Health check: %s", health)


def _shut_down(stops: list[tuple[str, Callable[[], Any]]]) -> bool:
    """Stop what was started, last first; return whether all went well."""
    clean = True
    for what, stop in reversed(stops):
        try:
            stop()
            logger.info("Stopped the %s", what)
        except Exception as exc:
            clean = False
            logger.error("Stopping the %s failed: %s", what, exc)
    return clean


def _stop_intake() -> None:
    if is_worker_running():
        transition_to_graceful_shutdown()


def _stop_host() -> None:
    """Stop the host's worker, which waits for the step that runs still."""
    if is_worker_running():
        stop_worker()


def _install_signal_handlers(shutdown: _Shutdown) -> None:
    def stop(number: int, frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        shutdown.say(lambda: logger.info("Received %s signal, initiating shutdown...", name))
        shutdown.say(shutdown.set)

    def tell_status() -> None:
        try:
            logger.info("Worker Status: %s", get_worker_status().model_dump())
        except Exception as exc:
            logger.error("The worker's status cannot be had: %s", exc)

    def report(number: int, frame: FrameType | None) -> None:
        shutdown.say(tell_status)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    if hasattr(signal, "SIGUSR1"):
        signal.signal(signal.SIGUSR1, report)


def _import_handlers_from_path(path: str) -> None:
    """Import a directory as a package, with everything in it.

    What cannot be imported is logged and left out. Names that begin with an
    underscore and folders without ``__init__.py`` are passed over.
    """
    directory = Path(path).resolve()
    name = directory.name
    if name in sys.stdlib_module_names or name in _OWN_PACKAGES:
        logger.warning("Handlers in %s: rename the folder, %r is another module", path, name)
        return
    package = sys.modules.get(name)
    if package is None or not _is_at(package, directory):
        _forget(name)
        package = _import_root(name, directory)
    _import_entries(name, directory)


def _import_root(name: str, directory: Path) -> ModuleType:
    """Import the package that the directory is, whatever the way to it."""
    source = directory / "__init__.py"
    if source.is_file():
        spec = importlib.util.spec_from_file_location(
            name, source, submodule_search_locations=[str(directory)]
        )
        if spec is not None and spec.loader is not None:
            package = importlib.util.module_from_spec(spec)
            sys.modules[name] = package
            try:
                spec.loader.exec_module(package)
            except (Exception, SystemExit) as exc:
                _forget(name)
                _log_left_out("package", name, exc)
            else:
                logger.info("  Imported package: %s", name)
                return package
    # The modules beside a missing or broken __init__.py can be imported still.
    package = ModuleType(name)
    package.__path__ = [str(directory)]
    sys.modules[name] = package
    return package


def _import_entries(package_name: str, directory: Path) -> None:
    for entry in sorted(directory.iterdir()):
        if entry.name.startswith("_"):
            continue
        if entry.is_dir() and (entry / "__init__.py").is_file():
            if _import("package", f"{package_name}.{entry.name}"):
                _import_entries(f"{package_name}.{entry.name}", entry)
        elif entry.suffix == ".py" and entry.is_file():
            _import("module", f"{package_name}.{entry.stem}")


def _import(what: str, name: str) -> bool:
    try:
        # What a package has imported already is not executed again.
        importlib.import_module(name)
    except (Exception, SystemExit) as exc:
        _log_left_out(what, name, exc)
        return False
    logger.info("  Imported %s: %s", what, name)
    return True


def _log_left_out(what: str, name: str, exc: BaseException) -> None:
    logger.warning("  %s %s is left out: %s: %s", what.capitalize(), name, type(exc).__name__, exc)


def _is_at(package: ModuleType, directory: Path) -> bool:
    places = [Path(place).resolve() for place in getattr(package, "__path__", [])]
    return directory in places


def _forget(name: str) -> None:
    for loaded in [key for key in sys.modules if key == name or key.startswith(f"{name}.")]:
        del sys.modules[loaded]


if __name__ == "__main__":
    sys.exit(main())
