"""Publish an event that no template declares."""

from typing import Any
from uuid import UUID, uuid4

from tasker_core import _tasker_core as _native

_NO_TASK = str(UUID(int=0))


def publish_domain_event(
    name: str, payload: dict[str, Any], metadata: dict[str, Any] | None = None
) -> str:
    """Give an event to the subscribers and pollers of this process; return its id.

    The event is *fast*: it is not kept, and nobody outside of this process
    gets it. Events that must not be lost are declared in a template, under
    ``publishes_events``. Subscribers find ``payload`` where a declared event
    has its own (:meth:`BaseSubscriber.business_payload`).

    ``metadata`` is added to the event's, which in a handler names the step's
    task and step, and elsewhere an all-zero ``task_uuid``. To belong to
    another task, give ``task_uuid`` and ``correlation_id``::

        publish_domain_event("stock.low", {"sku": "A-17", "left": 3})

    Raises:
        TypeError: an argument is of a wrong type.
        ValueError: the name is empty, or JSON cannot hold the payload.
        RuntimeError: there is no worker.
    """
    _expect("name", name, str)
    _expect("payload", payload, dict)
    if metadata is not None:
        _expect("metadata", metadata, dict)
    if not name:
        raise ValueError("a domain event needs a name")
    step = _native._labels()
    return _native._publish_domain_event(
        name,
        payload,
        {
            "task_uuid": step.get("task_uuid", _NO_TASK),
            "step_uuid": None,
            "step_name": step.get("step"),
            "namespace": None,
            "correlation_id": step.get("correlation_id") or str(uuid4()),
            "fired_by": step.get("step", "publish_domain_event"),
            **(metadata or {}),
        },
    )


def _expect(name: str, value: Any, kind: type) -> None:
    if not isinstance(value, kind):
        raise TypeError(f"{name} must be {kind.__name__}, not {type(value).__name__}")
