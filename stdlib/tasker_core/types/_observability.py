"""Domain events as subscribers see them, and what a worker tells of itself."""

from typing import Any
from uuid import UUID

from pydantic import Field

from tasker_core.types._model import Model


class DomainEventMetadata(Model):
    """Who fired a domain event, when and for which task.

    >>> from uuid import uuid4
    >>> DomainEventMetadata(
    ...     task_uuid=uuid4(), correlation_id=uuid4(), fired_at="", fired_by="me"
    ... ).step_name is None
    True
    """

    task_uuid: UUID
    step_uuid: UUID | None = None
    step_name: str | None = None
    namespace: str | None = None
    correlation_id: UUID
    fired_at: str
    fired_by: str


class ExecutionResult(Model):
    """How the step ended that a domain event tells of.

    >>> ExecutionResult(success=True, result={"total": 3}, execution_time_ms=12).error_type is None
    True
    """

    success: bool
    result: dict[str, Any] | None = None
    error_message: str | None = None
    error_type: str | None = None
    execution_time_ms: int | None = None


class InProcessDomainEvent(Model):
    """A domain event delivered inside the worker's own process.

    >>> from uuid import uuid4
    >>> event = InProcessDomainEvent(
    ...     event_id=uuid4(),
    ...     event_name="order.paid",
    ...     event_version="1.0",
    ...     metadata={
    ...         "task_uuid": uuid4(), "correlation_id": uuid4(), "fired_at": "", "fired_by": "me"
    ...     },
    ... )
    >>> event.payload
    {}
    """

    event_id: UUID
    event_name: str
    event_version: str
    metadata: DomainEventMetadata
    payload: dict[str, Any] = Field(default_factory=dict)
    execution_result: ExecutionResult | None = None


class ComponentHealth(Model):
    """Health of one part of a worker.

    >>> ComponentHealth(name="database", status="healthy", pool_size=5).pool_idle is None
    True
    """

    name: str
    status: str
    pool_size: int | None = None
    pool_idle: int | None = None


class HealthCheck(Model):
    """Health of a worker and its parts.

    >>> HealthCheck(status="healthy", is_running=True).components
    {}
    """

    status: str
    is_running: bool
    components: dict[str, ComponentHealth] = Field(default_factory=dict)
    rust: dict[str, Any] = Field(default_factory=dict)
    python: dict[str, Any] = Field(default_factory=dict)


class WorkerMetrics(Model):
    """Counts and ages of what a worker has in hand; ages in milliseconds.

    >>> WorkerMetrics().steps_in_progress
    0
    """

    dispatch_channel_pending: int = 0
    oldest_pending_age_ms: int | None = None
    newest_pending_age_ms: int | None = None
    starvation_detected: bool = False
    starving_event_count: int = 0
    database_pool_size: int = 0
    database_pool_idle: int = 0
    environment: str | None = None
    steps_processed: int = 0
    steps_succeeded: int = 0
    steps_failed: int = 0
    steps_in_progress: int = 0


class WorkerConfig(Model):
    """The configuration a worker runs with; intervals in milliseconds.

    >>> WorkerConfig().handler_timeout_ms
    30000
    """

    environment: str | None = None
    supported_namespaces: list[str] = Field(default_factory=list)
    web_api_enabled: bool = False
    database_pool_size: int = 0
    polling_interval_ms: int = 10
    starvation_threshold_ms: int = 1000
    max_concurrent_handlers: int = 10
    handler_timeout_ms: int = 30000
