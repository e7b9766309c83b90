"""Create tasks and follow them through the orchestration API.

::

    client = TaskerClient(initiator="checkout", source_system="web")
    task = client.create_task("order_intake", namespace="shop", context={"order_id": "A-1"})
    for step in client.list_task_steps(task.task_uuid):
        print(step.name, step.current_state)

The answers are frozen dataclasses. Building one from a dict never fails:
unknown keys are ignored and missing ones have defaults.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from tasker_core._rest import TaskerClientError as TaskerClientError

_Answer = TypeVar("_Answer", bound="_FromDict")


class _FromDict:
    """What the answers have in common."""

    @classmethod
    def from_dict(cls: type[_Answer], data: dict[str, Any]) -> _Answer:
        """Build one from the API's answer."""
        return cls(**_known(cls, data))


@dataclass(frozen=True)
class PaginationInfo(_FromDict):
    """Which part of a list an answer holds.

    >>> PaginationInfo.from_dict({"page": 2, "total_count": 80}).per_page
    50
    """

    page: int = 0
    per_page: int = 50
    total_count: int = 0
    total_pages: int = 0
    has_next: bool = False
    has_previous: bool = False


@dataclass(frozen=True)
class TaskResponse(_FromDict):
    """A task with the progress of its steps.

    >>> task = TaskResponse.from_dict({"name": "order_intake", "total_steps": 4})
    >>> task.name, task.total_steps, task.steps
    ('order_intake', 4, [])
    """

    task_uuid: str = ""
    name: str = ""
    namespace: str = ""
    version: str = ""
    status: str = ""
    created_at: str = ""
    updated_at: str = ""
    completed_at: str | None = None
    context: dict[str, Any] = field(default_factory=dict)
    initiator: str = ""
    source_system: str = ""
    reason: str = ""
    priority: int | None = None
    tags: list[str] | None = None
    correlation_id: str = ""
    parent_correlation_id: str | None = None
    total_steps: int = 0
    pending_steps: int = 0
    in_progress_steps: int = 0
    completed_steps: int = 0
    failed_steps: int = 0
    ready_steps: int = 0
    execution_status: str = ""
    recommended_action: str = ""
    completion_percentage: float = 0.0
    health_status: str = ""
    steps: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class TaskListResponse(_FromDict):
    """A page of tasks.

    >>> page = TaskListResponse.from_dict({"tasks": [{"name": "order_intake"}]})
    >>> [task.name for task in page.tasks], page.pagination.has_next
    (['order_intake'], False)
    """

    tasks: list[TaskResponse] = field(default_factory=list)
    pagination: PaginationInfo = field(default_factory=PaginationInfo)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "TaskListResponse":
        """Build one from the API's answer; items that are not dicts stay as they are."""
        pagination = data.get("pagination")
        return cls(
            tasks=_each(TaskResponse.from_dict, data.get("tasks", [])),
            pagination=(
                PaginationInfo.from_dict(pagination)
                if isinstance(pagination, dict)
                else PaginationInfo()
            ),
        )


@dataclass(frozen=True)
class StepResponse(_FromDict):
    """One step of a task.

    ``results`` is the stored result of the step; its key ``result`` holds
    what the handler gave.

    >>> StepResponse.from_dict({"name": "pay", "current_state": "complete"}).current_state
    'complete'
    """

    step_uuid: str = ""
    task_uuid: str = ""
    name: str = ""
    created_at: str = ""
    updated_at: str = ""
    completed_at: str | None = None
    results: dict[str, Any] | None = None
    current_state: str = ""
    dependencies_satisfied: bool = False
    retry_eligible: bool = False
    ready_for_execution: bool = False
    total_parents: int = 0
    completed_parents: int = 0
    attempts: int = 0
    max_attempts: int = 0
    last_failure_at: str | None = None
    next_retry_at: str | None = None
    last_attempted_at: str | None = None


@dataclass(frozen=True)
class StepAuditResponse(_FromDict):
    """One recorded execution of a step.

    >>> StepAuditResponse.from_dict({"step_name": "pay", "success": True}).success
    True
    """

    audit_uuid: str = ""
    workflow_step_uuid: str = ""
    transition_uuid: str = ""
    task_uuid: str = ""
    recorded_at: str = ""
    worker_uuid: str | None = None
    correlation_id: str | None = None
    success: bool = False
    execution_time_ms: int | None = None
    result: dict[str, Any] | None = None
    step_name: str = ""
    from_state: str | None = None
    to_state: str = ""


@dataclass(frozen=True)
class HealthResponse(_FromDict):
    """Whether the orchestration API answers.

    >>> HealthResponse.from_dict({"healthy": True})
    HealthResponse(healthy=True, status='', timestamp='')
    """

    healthy: bool = False
    status: str = ""
    timestamp: str = ""


class TaskerClient:
    """Creates tasks and follows them.

    It holds no connection and may be shared between threads. A request that
    fails raises :class:`TaskerClientError`, a ``RuntimeError`` that also tells
    the HTTP status and whether trying again may help.

    >>> client = TaskerClient(initiator="checkout")
    >>> client.initiator, client.source_system
    ('checkout', 'tasker-core')
    """

    def __init__(
        self,
        initiator: str = "tasker-core-python",
        source_system: str = "tasker-core",
    ) -> None:
        self.initiator = initiator
        self.source_system = source_system

    def create_task(
        self,
        name: str,
        *,
        namespace: str = "default",
        context: dict[str, Any] | None = None,
        version: str = "1.0.0",
        reason: str = "Task requested",
        **kwargs: Any,
    ) -> TaskResponse:
        """Create a task of the template ``name`` and return it.

        Further keywords go into the request: ``tags``, ``priority``,
        ``correlation_id``, ``parent_correlation_id``, ``idempotency_key``,
        ``requested_at``, ``options``; also ``initiator`` and
        ``source_system`` in place of the client's own.

        Raises:
            ValueError: a part of the request is of a wrong type
                (``Invalid task request: …``).
            RuntimeError: there is no worker and no configured API, or the
                request failed.
        """
        request: dict[str, Any] = {
            "name": name,
            "namespace": namespace,
            "version": version,
            "context": context or {},
            "initiator": self.initiator,
            "source_system": self.source_system,
            "reason": reason,
        }
        request.update(kwargs)
        return _one(TaskResponse.from_dict, _native().client_create_task(request))

    def get_task(self, task_uuid: str) -> TaskResponse:
        """Return a task with the readiness of its steps.

        Raises:
            ValueError: ``task_uuid`` is not a UUID.
            RuntimeError: as for :meth:`create_task`.
        """
        return _one(TaskResponse.from_dict, _native().client_get_task(task_uuid))

    def list_tasks(
        self,
        *,
        limit: int = 50,
        offset: int = 0,
        namespace: str | None = None,
        status: str | None = None,
    ) -> TaskListResponse:
        """Return ``limit`` tasks after the first ``offset``, newest first.

        Raises:
            ValueError: ``limit`` or ``offset`` is negative or not 32 bits wide.
            RuntimeError: as for :meth:`create_task`; also if ``limit`` is
                more than the API gives at once.
        """
        answer = _native().client_list_tasks(limit, offset, namespace, status)
        return _one(TaskListResponse.from_dict, answer)

    def cancel_task(self, task_uuid: str) -> dict[str, Any]:
        """Cancel a task.

        Raises:
            ValueError: ``task_uuid`` is not a UUID.
            RuntimeError: as for :meth:`create_task`.
        """
        answer: dict[str, Any] = _native().client_cancel_task(task_uuid)
        return answer

    def list_task_steps(self, task_uuid: str) -> list[StepResponse]:
        """Return the steps of a task.

        Raises:
            ValueError: ``task_uuid`` is not a UUID.
            RuntimeError: as for :meth:`create_task`.
        """
        return _each(StepResponse.from_dict, _native().client_list_task_steps(task_uuid))

    def get_step(self, task_uuid: str, step_uuid: str) -> StepResponse:
        """Return one step of a task.

        Raises:
            ValueError: an argument is not a UUID.
            RuntimeError: as for :meth:`create_task`.
        """
        return _one(StepResponse.from_dict, _native().client_get_step(task_uuid, step_uuid))

    def get_step_audit_history(self, task_uuid: str, step_uuid: str) -> list[StepAuditResponse]:
        """Return the recorded executions of a step.

        Raises:
            ValueError: an argument is not a UUID.
            RuntimeError: as for :meth:`create_task`.
        """
        answer = _native().client_get_step_audit_history(task_uuid, step_uuid)
        return _each(StepAuditResponse.from_dict, answer)

    def health_check(self) -> HealthResponse:
        """Return the health of the API, which is always a good one.

        Raises:
            RuntimeError: as for :meth:`create_task`; also if the API is not
                healthy.
        """
        return _one(HealthResponse.from_dict, _native().client_health_check())


def _native() -> Any:
    # Looked up with each call, so that a replaced function is the one called.
    from tasker_core import _tasker_core

    return _tasker_core


def _known(cls: type[Any], data: dict[str, Any]) -> dict[str, Any]:
    return {known.name: data[known.name] for known in fields(cls) if known.name in data}


def _one(build: Callable[[dict[str, Any]], _Answer], answer: Any) -> _Answer:
    """Build an answer; what is no dict is passed on as it is."""
    if isinstance(answer, dict):
        return build(answer)
    passed_on: _Answer = answer
    return passed_on


def _each(build: Callable[[dict[str, Any]], _Answer], answer: Any) -> list[_Answer]:
    """Build each item of a list; what is no list is passed on as it is."""
    if isinstance(answer, list):
        return [_one(build, item) for item in answer]
    passed_on: list[_Answer] = answer
    return passed_on
