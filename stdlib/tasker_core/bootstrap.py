"""Start the worker of this process, stop it, and ask how it is."""

from tasker_core._tasker_core import bootstrap_worker as _bootstrap_worker
from tasker_core._tasker_core import get_worker_status as _get_worker_status
from tasker_core._tasker_core import is_worker_running as _is_worker_running
from tasker_core._tasker_core import stop_worker as _stop_worker
from tasker_core._tasker_core import (
    transition_to_graceful_shutdown as _transition_to_graceful_shutdown,
)
from tasker_core.types import BootstrapConfig, BootstrapResult, WorkerStatus

__all__ = [
    "bootstrap_worker",
    "get_worker_status",
    "is_worker_running",
    "stop_worker",
    "transition_to_graceful_shutdown",
]


def bootstrap_worker(config: BootstrapConfig | None = None) -> BootstrapResult:
    """Start the worker.

    Starting while a worker runs is not an error: the result then has
    ``success=False`` and the status ``already_running``.

    Raises:
        RuntimeError: the worker cannot be started (``Bootstrap failed: …``).

    >>> bootstrap_worker(BootstrapConfig(namespace="shop")).status  # doctest: +SKIP
    'started'
    """
    answer = _bootstrap_worker(None if config is None else config.model_dump())
    status = answer.get("status", "")
    return BootstrapResult(
        success=status == "started",
        handle_id=answer.get("handle_id", ""),
        worker_id=answer.get("worker_id", ""),
        status=status,
        message=answer.get("message"),
    )


def stop_worker() -> str:
    """Stop the worker and say so; without a worker, say that there is none.

    Raises:
        RuntimeError: the worker cannot be stopped.

    >>> stop_worker()
    'Worker system not running'
    """
    return _stop_worker()


def get_worker_status() -> WorkerStatus:
    """Return how the worker is.

    Raises:
        RuntimeError: there is a worker but it cannot be asked.

    >>> get_worker_status().running
    False
    """
    return WorkerStatus.model_validate(_get_worker_status())


def transition_to_graceful_shutdown() -> str:
    """Take no more steps, let the running ones finish, and say so.

    Raises:
        RuntimeError: there is no worker, or it cannot be stopped.

    >>> transition_to_graceful_shutdown()
    Traceback (most recent call last):
        ...
    RuntimeError: Worker not initialized. Call bootstrap_worker() first.
    """
    return _transition_to_graceful_shutdown()


def is_worker_running() -> bool:
    """Return whether this process has a worker.

    >>> is_worker_running()
    False
    """
    return _is_worker_running()
