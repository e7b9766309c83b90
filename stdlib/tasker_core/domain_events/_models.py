"""What publishers are told about a step and about the events it declares."""

from typing import TYPE_CHECKING, Any, Literal

from pydantic import ConfigDict, Field

from tasker_core.types._model import Model

if TYPE_CHECKING:
    from tasker_core.types import StepContext

__all__ = ["EventDeclaration", "PublishContext", "StepEventContext", "StepResult"]

_DEFAULT_NAMESPACE = "default"


class EventDeclaration(Model):
    """An event that a template says a step publishes.

    >>> declared = EventDeclaration(name="order.validated", schema={"type": "object"})
    >>> declared.schema
    {'type': 'object'}
    >>> declared.condition is None
    True

    What is ``None`` is left to the defaults of templates: condition
    ``success``, delivery mode ``durable``, the default publisher.
    """

    model_config = ConfigDict(populate_by_name=True)

    name: str
    condition: (
        Literal["success", "failure", "retryable_failure", "permanent_failure", "always"] | None
    ) = None
    delivery_mode: Literal["durable", "fast", "broadcast"] | None = None
    publisher: str | None = None
    # Named so because pydantic's models have a method called schema.
    schema_: dict[str, Any] | None = Field(default=None, alias="schema")

    @property
    def schema(self) -> dict[str, Any] | None:  # type: ignore[override]
        """The JSON schema that the event's payload must fit."""
        return self.schema_


class StepResult(Model):
    """How a step ended, as publishers see it.

    >>> StepResult(success=True, result={"total": 3}).result
    {'total': 3}
    """

    success: bool
    result: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None


class StepEventContext(Model):
    """The step that an event tells of.

    >>> ctx = StepEventContext(
    ...     task_uuid="0190c0de-0000-7000-8000-000000000001",
    ...     step_uuid="0190c0de-0000-7000-8000-000000000002",
    ...     step_name="validate_order",
    ...     namespace="shop",
    ...     correlation_id="0190c0de-0000-7000-8000-000000000003",
    ...     result={"order_id": "A-1"},
    ... )
    >>> ctx.result
    {'order_id': 'A-1'}
    """

    task_uuid: str
    step_uuid: str
    step_name: str
    namespace: str
    correlation_id: str
    result: dict[str, Any] | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)

    @classmethod
    def from_step_context(
        cls,
        step_context: "StepContext",
        result: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> "StepEventContext":
        """Return the context of a step, seen from within its handler.

        ``step_name`` is the handler's name.
        """
        return cls(
            task_uuid=str(step_context.task_uuid),
            step_uuid=str(step_context.step_uuid),
            step_name=step_context.handler_name,
            namespace=namespace_of(step_context.event.task_sequence_step),
            correlation_id=str(step_context.correlation_id),
            result=result,
            metadata=metadata or {},
        )


class PublishContext(Model):
    """All there is to know when one event is published.

    >>> PublishContext(event_name="a.b", step_result=StepResult(success=True)).event_name
    'a.b'
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    event_name: str
    step_result: StepResult
    event_declaration: EventDeclaration | None = None
    step_context: StepEventContext | None = None


def namespace_of(task_sequence_step: dict[str, Any]) -> str:
    """Return the namespace of the task that a step's payload belongs to."""
    outer = task_sequence_step.get("task") or {}
    inner = outer.get("task") or {}
    namespace = inner.get("namespace") or outer.get("namespace_name") or inner.get("namespace_name")
    return namespace or _DEFAULT_NAMESPACE
