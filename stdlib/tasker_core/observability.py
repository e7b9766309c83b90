"""What the worker of this process tells of itself.

>>> from tasker_core.observability import get_metrics
>>> get_metrics()
Traceback (most recent call last):
...
tasker_core.exceptions.WorkerNotInitializedError: Worker is not running
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tasker_core._patchable import patchable
from tasker_core._tasker_core import get_health_check as _get_health_check
from tasker_core._tasker_core import get_metrics as _get_metrics
from tasker_core._tasker_core import get_worker_config as _get_worker_config
from tasker_core.exceptions import WorkerNotInitializedError
from tasker_core.types import ComponentHealth, HealthCheck, WorkerConfig, WorkerMetrics

__all__ = ["get_health_check", "get_metrics", "get_worker_config"]


def get_health_check() -> HealthCheck:
    """Return the health of the worker and its parts.

    Raises:
        WorkerNotInitializedError: there is no worker.
        RuntimeError: the worker cannot be asked.

    >>> from unittest.mock import patch
    >>> answer = {"status": "healthy", "is_running": True}
    >>> with patch("tasker_core.observability._get_health_check", return_value=answer):
    ...     get_health_check().status
    'healthy'
    """
    answer = _ask(_get_health_check)
    components = answer.get("components") or {}
    return HealthCheck(
        status=answer.get("status", "unknown"),
        is_running=answer.get("is_running", False),
        components={
            name: ComponentHealth.model_validate(
                {"name": name, **health} if isinstance(health, dict) else health
            )
            for name, health in components.items()
        },
        rust=answer.get("rust") or {},
        python=answer.get("python") or {},
    )


def get_metrics() -> WorkerMetrics:
    """Return counts and ages of what the worker has in hand.

    Raises:
        WorkerNotInitializedError: there is no worker.
        RuntimeError: the worker cannot be asked.

    >>> from unittest.mock import patch
    >>> answer = {"steps_in_progress": 3}
    >>> with patch("tasker_core.observability._get_metrics", return_value=answer):
    ...     get_metrics().steps_in_progress
    3
    """
    return WorkerMetrics.model_validate(_ask(_get_metrics))


def get_worker_config() -> WorkerConfig:
    """Return the configuration the worker runs with.

    Raises:
        WorkerNotInitializedError: there is no worker.
        RuntimeError: the worker cannot be asked.

    >>> from unittest.mock import patch
    >>> answer = {"environment": "production"}
    >>> with patch("tasker_core.observability._get_worker_config", return_value=answer):
    ...     get_worker_config().environment
    'production'
    """
    return WorkerConfig.model_validate(_ask(_get_worker_config))


def _ask(native: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    try:
        return native()
    except RuntimeError as exc:
        text = str(exc).lower()
        if "not initialized" in text or "not running" in text:
            raise WorkerNotInitializedError("Worker is not running") from exc
        raise


if not TYPE_CHECKING:
    __getattr__ = patchable(__name__, {"log_debug": "tasker_core.logging:log_debug"})
