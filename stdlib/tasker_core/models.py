"""The payload of a step behind typed names.

A step event carries a nested dict. These classes wrap its parts, so that a
handler can write ``step.workflow_step.attempts`` instead of chained
subscripts. They never raise for what is missing; what each field holds then
is in its class. Values are handed through as they are: nothing is copied,
timestamps stay texts, and an explicit null stays ``None`` where a field
allows it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass
class HandlerWrapper:
    """Which handler a step wants, and the settings it is given.

    >>> HandlerWrapper.from_dict({"callable": "shop.Pay", "method": "refund"})
    HandlerWrapper(callable='shop.Pay', initialization={}, handler_method='refund', resolver=None)
    """

    callable: str
    initialization: dict[str, Any] = field(default_factory=dict)
    handler_method: str | None = None
    resolver: str | None = None

    @classmethod
    def from_dict(cls, data: dict[str, Any] | None) -> "HandlerWrapper":
        """Wrap ``step_definition.handler``; its ``method`` is :attr:`handler_method`."""
        data = data or {}
        return cls(
            callable=data.get("callable", ""),
            initialization=data.get("initialization") or {},
            handler_method=data.get("method"),
            resolver=data.get("resolver"),
        )


@dataclass
class StepDefinitionWrapper:
    """A step as its template defines it.

    >>> StepDefinitionWrapper.from_dict({"name": "pay"}).timeout_seconds
    30
    """

    name: str
    description: str
    handler: HandlerWrapper
    dependencies: list[str] = field(default_factory=list)
    retry: dict[str, Any] = field(default_factory=dict)
    timeout_seconds: int = 30
    publishes_events: list[Any] = field(default_factory=list)

    @classmethod
    def from_dict(cls, data: dict[str, Any] | None) -> "StepDefinitionWrapper":
        """Wrap ``step_definition``."""
        data = data or {}
        return cls(
            name=data.get("name", ""),
            description=data.get("description", ""),
            handler=HandlerWrapper.from_dict(data.get("handler")),
            dependencies=data.get("dependencies") or [],
            retry=data.get("retry") or {},
            timeout_seconds=data.get("timeout_seconds", 30),
            publishes_events=data.get("publishes_events") or [],
        )


@dataclass
class DependencyResultsWrapper:
    """The stored results of the steps that come before this one, by step name.

    >>> results = DependencyResultsWrapper.from_dict({"count": {"result": {"n": 3}}})
    >>> results.get_results("count")
    {'n': 3}
    >>> results["count"]
    {'result': {'n': 3}}
    >>> results["missing"] is None
    True
    """

    _results: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, data: dict[str, Any] | None) -> "DependencyResultsWrapper":
        """Wrap ``dependency_results``."""
        return cls(_results=data or {})

    def get_result(self, step_name: str) -> Any:
        """Return the stored result of a step as it is, or ``None``."""
        return self._results.get(step_name)

    def get_results(self, step_name: str) -> Any:
        """Return what the handler of a step gave, or ``None``.

        That is the value under ``result`` of a dict that has this key, and
        else the stored value itself.
        """
        stored = self._results.get(step_name)
        if isinstance(stored, dict) and "result" in stored:
            return stored["result"]
        return stored

    def keys(self) -> list[str]:
        """Return the names of the steps that have a result."""
        return list(self._results)

    def __getitem__(self, name: str) -> Any:
        return self.get_result(name)

    def __contains__(self, name: object) -> bool:
        return name in self._results

    def __iter__(self) -> Iterator[str]:
        return iter(self._results)


@dataclass
class WorkflowStepWrapper:
    """The state of a step before this run of it.

    The host may send ``None`` for whatever is typed so, ``attempts`` of a
    step's first run among them.

    >>> step = WorkflowStepWrapper.from_dict({"name": "pay", "attempts": 2})
    >>> step.attempts, step.max_attempts, step.checkpoint
    (2, 3, None)
    """

    workflow_step_uuid: str
    task_uuid: str
    name: str
    named_step_uuid: str | None = None
    retryable: bool | None = True
    max_attempts: int | None = 3
    in_process: bool | None = False
    processed: bool | None = False
    processed_at: str | None = None
    attempts: int | None = 0
    last_attempted_at: str | None = None
    backoff_request_seconds: int | None = 0
    inputs: dict[str, Any] = field(default_factory=dict)
    results: dict[str, Any] = field(default_factory=dict)
    created_at: str | None = None
    updated_at: str | None = None
    checkpoint: dict[str, Any] | None = None

    @classmethod
    def from_dict(cls, data: dict[str, Any] | None) -> "WorkflowStepWrapper":
        """Wrap ``workflow_step``."""
        data = data or {}
        return cls(
            workflow_step_uuid=data.get("workflow_step_uuid", ""),
            task_uuid=data.get("task_uuid", ""),
            name=data.get("name", ""),
            named_step_uuid=data.get("named_step_uuid"),
            retryable=data.get("retryable", True),
            max_attempts=data.get("max_attempts", 3),
            in_process=data.get("in_process", False),
            processed=data.get("processed", False),
            processed_at=data.get("processed_at"),
            attempts=data.get("attempts", 0),
            last_attempted_at=data.get("last_attempted_at"),
            backoff_request_seconds=data.get("backoff_request_seconds", 0),
            inputs=data.get("inputs") or {},
            results=data.get("results") or {},
            created_at=data.get("created_at"),
            updated_at=data.get("updated_at"),
            checkpoint=data.get("checkpoint"),
        )


@dataclass
class TaskWrapper:
    """The task that a step belongs to.

    Both forms of the payload are read: the task itself, and the task inside
    ``task`` with its names beside it. Names beside it win.

    >>> task = TaskWrapper.from_dict(
    ...     {"task": {"task_uuid": "t1", "context": {"n": 1}}, "namespace_name": "shop"}
    ... )
    >>> task.task_uuid, task.context, task.namespace_name
    ('t1', {'n': 1}, 'shop')
    """

    task_uuid: str
    context: dict[str, Any] = field(default_factory=dict)
    namespace_name: str = ""
    task_name: str = ""
    task_version: str = ""
    correlation_id: str | None = None
    parent_correlation_id: str | None = None

    @classmethod
    def from_dict(cls, data: dict[str, Any] | None) -> "TaskWrapper":
        """Wrap ``task``."""
        outer = data or {}
        inner = outer.get("task") or outer
        return cls(
            task_uuid=inner.get("task_uuid", ""),
            context=inner.get("context") or {},
            namespace_name=_name(outer, inner, "namespace_name"),
            task_name=_name(outer, inner, "task_name"),
            task_version=_name(outer, inner, "task_version"),
            correlation_id=inner.get("correlation_id"),
            parent_correlation_id=inner.get("parent_correlation_id"),
        )


@dataclass
class TaskSequenceStepWrapper:
    """The whole payload of a step.

    :attr:`tasker_core.StepContext.task_sequence_step` gives it to handlers.

    >>> step = TaskSequenceStepWrapper.from_dict(
    ...     {
    ...         "task": {"task": {"context": {"order_id": "A-1"}}},
    ...         "dependency_results": {"price": {"result": 12}},
    ...     }
    ... )
    >>> step.get_task_field("order_id"), step.get_dependency_result("price")
    ('A-1', 12)
    """

    task: TaskWrapper
    workflow_step: WorkflowStepWrapper
    dependency_results: DependencyResultsWrapper
    step_definition: StepDefinitionWrapper

    @classmethod
    def from_dict(cls, data: dict[str, Any] | None) -> "TaskSequenceStepWrapper":
        """Wrap ``task_sequence_step``."""
        data = data or {}
        return cls(
            task=TaskWrapper.from_dict(data.get("task")),
            workflow_step=WorkflowStepWrapper.from_dict(data.get("workflow_step")),
            dependency_results=DependencyResultsWrapper.from_dict(data.get("dependency_results")),
            step_definition=StepDefinitionWrapper.from_dict(data.get("step_definition")),
        )

    def get_task_field(self, field_name: str) -> Any:
        """Return a value of the task's input, or ``None``."""
        return self.task.context.get(field_name)

    def get_dependency_result(self, step_name: str) -> Any:
        """Return what the handler of an earlier step gave, or ``None``."""
        return self.dependency_results.get_results(step_name)

    def get_results(self, step_name: str) -> Any:
        """Return what the handler of an earlier step gave, or ``None``."""
        return self.dependency_results.get_results(step_name)


def _name(outer: dict[str, Any], inner: dict[str, Any], key: str) -> str:
    name: str = outer.get(key) or inner.get(key) or ""
    return name
