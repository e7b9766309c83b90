"""A worker of the published package, as its container runs it.

usage: reference_worker.py FILE, which is made when the worker takes steps. The
handlers are the modules in PYTHON_HANDLER_PATH.
"""

from __future__ import annotations

import importlib
import logging
import os
import pkgutil
import signal
import sys
import threading
from pathlib import Path

import tasker_core
from tasker_core import (
    BootstrapConfig,
    EventBridge,
    EventNames,
    EventPoller,
    HandlerRegistry,
    StepExecutionSubscriber,
)


def import_handlers(folder: str) -> None:
    """Import every module and package of a folder."""
    sys.path.insert(0, folder)
    for module in pkgutil.walk_packages([folder]):
        if not module.name.startswith("_"):
            importlib.import_module(module.name)


def main(ready: Path) -> None:
    """Work until SIGTERM."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    done = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: done.set())
    import_handlers(os.environ["PYTHON_HANDLER_PATH"])
    registry = HandlerRegistry.instance()

    result = tasker_core.bootstrap_worker(BootstrapConfig(namespace="default", log_level="info"))
    if not result.success:
        sys.exit(f"bootstrap_worker: {result.error_message or result.message}")
    bridge = EventBridge.instance()
    bridge.start()
    subscriber = StepExecutionSubscriber(bridge, registry, worker_id="tasker-py")
    subscriber.start()
    poller = EventPoller(
        polling_interval_ms=10, starvation_check_interval=100, cleanup_interval=1000
    )
    poller.on_step_event(lambda event: bridge.publish(EventNames.STEP_EXECUTION_RECEIVED, event))
    poller.on_error(lambda error: logging.error("poller: %s", error))
    poller.start()
    ready.touch()

    done.wait()
    poller.stop(timeout=5.0)
    subscriber.stop()
    bridge.stop()
    if tasker_core.is_worker_running():
        tasker_core.transition_to_graceful_shutdown()
        tasker_core.stop_worker()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
