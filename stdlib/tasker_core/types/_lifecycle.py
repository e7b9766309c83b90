"""Starting a worker, asking how it is, and writing log lines about it."""

from typing import Any

from pydantic import ConfigDict, Field

from tasker_core.types._model import Model


class BootstrapConfig(Model):
    """What a worker is started with.

    >>> BootstrapConfig(namespace="shop").log_level
    'info'
    """

    model_config = ConfigDict(extra="forbid")

    worker_id: str | None = None
    namespace: str = "default"
    config_path: str | None = None
    log_level: str = Field(default="info", pattern="^(trace|debug|info|warn|error)$")


class BootstrapResult(Model):
    """What became of starting a worker.

    >>> result = BootstrapResult(success=True, handle_id="h", worker_id="w", status="started")
    >>> result.message is None
    True
    """

    success: bool
    handle_id: str
    worker_id: str
    status: str
    message: str | None = None
    error_message: str | None = None


class WorkerStatus(Model):
    """How the worker is; only ``running`` and ``error`` when there is none.

    >>> WorkerStatus(running=False, error="Worker system not initialized").environment is None
    True
    """

    running: bool
    environment: str | None = None
    worker_core_status: str | None = None
    web_api_enabled: bool | None = None
    supported_namespaces: list[str] | None = None
    database_pool_size: int | None = None
    database_pool_idle: int | None = None
    error: str | None = None


class StepHandlerCallResult(Model):
    """A step's result in its plainest form.

    >>> StepHandlerCallResult(success=True, result={"total": 3}).metadata
    {}
    """

    success: bool
    result: dict[str, Any] = Field(default_factory=dict)
    error_message: str | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)


class LogContext(Model):
    """Fields that a log line carries so that it can be found again.

    >>> LogContext(namespace="shop", operation="charge").model_dump(exclude_none=True)
    {'namespace': 'shop', 'operation': 'charge'}
    """

    correlation_id: str | None = None
    task_uuid: str | None = None
    step_uuid: str | None = None
    namespace: str | None = None
    operation: str | None = None
