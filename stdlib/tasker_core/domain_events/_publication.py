"""What the host calls when a step has ended: publish the events it declares.

The host knows where events go; this knows which of them are due, and lets the
publishers of this process shape them.
"""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

from pydantic import ValidationError

from tasker_core import domain_events
from tasker_core._failures import is_failure, line_of
from tasker_core.domain_events._models import EventDeclaration, StepEventContext, namespace_of
from tasker_core.domain_events._publisher import (
    BasePublisher,
    Delivery,
    delivering,
    failure_text,
    report,
    telling,
)
from tasker_core.domain_events._publisher_registry import PublisherRegistry, warn_of_missing

__all__ = ["publish_step_events"]

# The name that events carry which no publisher of this process has shaped.
_BUILT_IN = "DefaultDomainEventPublisher"


def publish_step_events(
    task_sequence_step: dict[str, Any],
    execution_result: dict[str, Any],
    deliver: Callable[[dict[str, Any]], None],
    failed: Callable[[str, BaseException], None] = lambda name, error: None,
) -> int:
    """Publish what a step's template declares; return how many events went out.

    Args:
        task_sequence_step: What the step's handler was given.
        execution_result: The step's result as it is stored.
        deliver: Called with each event; raises if the event cannot be taken,
            for instance because its payload does not fit its schema. Events
            have the keys ``event_name``, ``delivery_mode``, ``payload``,
            ``metadata``, ``fired_by``, and ``declaration``, the position in
            ``publishes_events`` of what they come from.
        failed: Called with the name of each event that was due and did not go
            out because of an error, and the error. One that a publisher holds
            back is none of them.

    The publisher that the first declaration names serves all of a step. What
    publishers and ``deliver`` raise is logged, exits and cancellations too:
    the step has ended already, and no event changes how.

    >>> payload = {
    ...     "task": {"task": {"task_uuid": "t", "correlation_id": "c"}, "namespace_name": "shop"},
    ...     "workflow_step": {"workflow_step_uuid": "s", "name": "pay"},
    ...     "step_definition": {"publishes_events": [{"name": "order.paid"}]},
    ... }
    >>> events = []
    >>> publish_step_events(payload, {"success": True, "result": {"total": 3}}, events.append)
    1
    >>> events[0]["event_name"], events[0]["delivery_mode"], events[0]["payload"]
    ('order.paid', 'durable', {'total': 3})
    """
    declared = (task_sequence_step.get("step_definition") or {}).get("publishes_events") or []
    due = [
        (index, declaration)
        for index, declaration in _read(declared, failed)
        if _is_due(declaration, execution_result)
    ]
    if not due:
        return 0
    publisher, fired_by = _choose_publisher(declared[0])
    outlet = _Outlet(deliver, fired_by)
    result = _published_result(execution_result)
    for index, declaration in due:
        # Each event has a copy of its own: publishers may change what they get.
        ctx = _step_event_context(task_sequence_step, deepcopy(result))
        before = outlet.count
        with delivering(outlet.of(index, declaration)) as errors:
            _publish(publisher, ctx, declaration.name, errors, outlet)
        if errors and outlet.count == before:
            failed(declaration.name, errors[0])
    return outlet.count


class _Outlet:
    """Hands a step's events to the host and counts them."""

    def __init__(self, deliver: Callable[[dict[str, Any]], None], fired_by: str) -> None:
        self.count = 0
        self._deliver = deliver
        self._fired_by = fired_by

    def of(self, index: int, declaration: EventDeclaration) -> Delivery:
        """Return where a publisher delivers the event of one declaration."""

        def take(name: str, payload: dict[str, Any], metadata: dict[str, Any]) -> None:
            self._deliver(
                {
                    "declaration": index,
                    "event_name": name,
                    "delivery_mode": declaration.delivery_mode or "durable",
                    "payload": payload,
                    "metadata": metadata,
                    "fired_by": self._fired_by,
                }
            )
            self.count += 1

        return take


def _read(
    declared: list[Any], failed: Callable[[str, BaseException], None]
) -> list[tuple[int, EventDeclaration]]:
    declarations = []
    for index, item in enumerate(declared):
        try:
            declarations.append((index, EventDeclaration.model_validate(item)))
        except ValidationError as exc:
            domain_events.log_error(
                f"publishes_events[{index}] cannot be read, no event is published: {exc}"
            )
            name = item.get("name") if isinstance(item, dict) else None
            failed(name if isinstance(name, str) else f"publishes_events[{index}]", exc)
    return declarations


def _is_due(declaration: EventDeclaration, execution_result: dict[str, Any]) -> bool:
    succeeded = execution_result.get("success") is True
    match declaration.condition:
        case "always":
            return True
        case "failure":
            return not succeeded
        case "retryable_failure":
            return not succeeded and _is_retryable(execution_result)
        case "permanent_failure":
            return not succeeded and not _is_retryable(execution_result)
        case _:
            return succeeded


def _is_retryable(execution_result: dict[str, Any]) -> bool:
    return (execution_result.get("metadata") or {}).get("retryable") is True


def _choose_publisher(first: Any) -> tuple[BasePublisher, str]:
    """Return the publisher of a step, and the name that its events carry."""
    name = first.get("publisher") if isinstance(first, dict) else None
    registry = PublisherRegistry.instance()
    publisher = registry.get(name) if isinstance(name, str) else None
    if publisher is not None:
        return publisher, publisher.publisher_name
    if isinstance(name, str):
        warn_of_missing(registry, name)
    return registry.get_or_default(None), _BUILT_IN


def _published_result(execution_result: dict[str, Any]) -> dict[str, Any] | None:
    """Return what an event tells of the step's end.

    A failed step usually has no result; then its error stands in, so that an
    event such as ``payment.failed`` has something to tell.
    """
    result = execution_result.get("result")
    if isinstance(result, dict) and (result or execution_result.get("success") is True):
        return result
    if execution_result.get("success") is True:
        return None
    error = execution_result.get("error") or {}
    metadata = execution_result.get("metadata") or {}
    error_type = error.get("error_type") or metadata.get("error_type")
    return {
        "error_code": metadata.get("error_code") or error_type,
        "error_message": error.get("message"),
        "error_type": error_type,
        "retryable": _is_retryable(execution_result),
    }


def _step_event_context(
    task_sequence_step: dict[str, Any], result: dict[str, Any] | None
) -> StepEventContext:
    outer = task_sequence_step.get("task") or {}
    task = outer.get("task") or outer
    step = task_sequence_step.get("workflow_step") or {}
    return StepEventContext(
        task_uuid=task.get("task_uuid") or step.get("task_uuid") or "",
        step_uuid=step.get("workflow_step_uuid") or "",
        step_name=step.get("name") or "",
        namespace=namespace_of(task_sequence_step),
        correlation_id=task.get("correlation_id") or "",
        result=result,
    )


def _publish(
    publisher: BasePublisher,
    ctx: StepEventContext,
    event_name: str,
    errors: list[BaseException],
    outlet: _Outlet,
) -> None:
    before = outlet.count
    try:
        publisher.publish(ctx, event_name)
    except BaseException as exc:
        if not is_failure(exc):
            raise
        # One of the hooks that publish() lets through.
        errors.append(exc)
        with telling(is_out=outlet.count > before):
            try:
                report(publisher, event_name, exc, ctx.result or {})
            except BaseException as second:
                if not is_failure(second):
                    raise
                domain_events.log_error(
                    f"{failure_text(publisher, event_name)}: "
                    f"{line_of(exc)}; and on_publish_error failed: {line_of(second)}"
                )
