"""Domain events: the publishers and subscribers of this process, called by the host."""

from __future__ import annotations

from typing import Any

import _taskerpy
from pydantic_core import from_json, to_json
from tasker_core.domain_events import (
    BaseSubscriber,
    InProcessDomainEventPoller,
    SubscriberRegistry,
)
from tasker_core.domain_events._publication import publish_step_events

# One for each subscriber, so that the host can call them one by one. They are
# never started: the host delivers instead of being polled.
_outlets: dict[str, InProcessDomainEventPoller] = {}
_subscribers: list[BaseSubscriber] = []


def publish(request: bytes) -> bytes:
    """Lets the publishers of a step shape its events.

    Request: ``{"task_sequence_step": …, "execution_result": …}``. Answer:
    ``{"events": […], "failed": […]}`` with the events as
    :func:`publish_step_events` delivers them, and the names of those that did
    not go out because they do not fit their schema or a publisher failed.
    """
    step = from_json(request)
    events: list[dict[str, Any]] = []
    failed: list[str] = []

    def deliver(event: dict[str, Any]) -> None:
        declared = step["task_sequence_step"]["step_definition"]["publishes_events"]
        schema = declared[event["declaration"]].get("schema")
        _taskerpy.call(
            "check_domain_event", to_json({"schema": schema, "payload": event["payload"]})
        )
        events.append(event)

    publish_step_events(
        step["task_sequence_step"],
        step["execution_result"],
        deliver,
        lambda name, error: failed.append(name),
    )
    return to_json({"events": events, "failed": failed})


def subscribe(_: bytes) -> bytes:
    """Starts the registered subscribers and answers with their names.

    A program that has started them itself polls for their events, so then
    there are none for the host.
    """
    registry = SubscriberRegistry.instance()
    if registry.active_count > 0:
        return b"[]"
    makers: dict[str, Any] = dict(registry._subscriber_classes)
    makers.update((name, lambda it=it: it) for name, it in registry._subscriber_instances.items())
    for name, make in makers.items():
        outlet = InProcessDomainEventPoller()
        try:
            subscriber: BaseSubscriber = make()
            subscriber.start(outlet)
        except Exception as error:
            raise RuntimeError(
                f"subscriber {name} cannot be started: {type(error).__name__}: {error}"
            ) from error
        _outlets[name] = outlet
        _subscribers.append(subscriber)
    return to_json(list(_outlets))


def handle(request: bytes) -> None:
    """Gives one event to one subscriber.

    Request: ``{"subscriber": name, "event": …}``. What the subscriber raises
    goes to its own ``on_handle_error``.
    """
    delivery = from_json(request)
    _outlets[delivery["subscriber"]]._process_event(delivery["event"])
