"""Domain events: publishers, subscribers, registries, the poller without its thread."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from tasker_core import (
    BasePublisher,
    BaseSubscriber,
    EventBridge,
    EventDeclaration,
    EventNames,
    InProcessDomainEventPoller,
    PublishContext,
    StepEventContext,
    StepResult,
)
from tasker_core.domain_events import DefaultPublisher, PublisherRegistry, SubscriberRegistry

from tests.python.reference import sample
from tests.python.reference.recording import Recording

seen = Recording()
hooks: list[Any] = []


class Publisher(BasePublisher):
    publisher_name = "orders"
    fail_in = ""
    refuse_in = ""

    def answer(self, hook: str, *values: Any) -> bool:
        hooks.append([hook, *values])
        if self.fail_in == hook:
            raise RuntimeError(f"{hook} failed")
        return self.refuse_in != hook

    def should_publish(self, ctx: StepEventContext) -> bool:
        return self.answer("should_publish", ctx.step_name)

    def transform_payload(self, ctx: StepEventContext) -> dict[str, Any]:
        self.answer("transform_payload")
        return {"order": (ctx.result or {}).get("order")}

    def additional_metadata(self, ctx: StepEventContext) -> dict[str, Any]:
        self.answer("additional_metadata")
        return {"extra": 1}

    def before_publish(self, event_name: str, payload: Any, metadata: Any) -> bool:
        return self.answer("before_publish", event_name, payload, metadata)

    def after_publish(self, event_name: str, payload: Any, metadata: Any) -> None:
        self.answer("after_publish", event_name, payload, metadata)

    def on_publish_error(self, event_name: str, error: Exception, payload: Any) -> None:
        self.answer("on_publish_error", event_name, error, payload)


fields = {
    "task_uuid": sample.TASK,
    "step_uuid": sample.STEP,
    "step_name": "charge",
    "namespace": "shop",
    "correlation_id": sample.CORRELATION,
}
step_context = StepEventContext.model_validate(fields)


def published_step(**given: Any) -> StepEventContext:
    values = {**fields, "result": {"order": 7}, "metadata": {"m": 1}, **given}
    return StepEventContext.model_validate(values)


declaration = {"name": "order.charged", "schema": {"type": "object"}}
seen.call(
    "publish context",
    PublishContext.model_validate,
    {
        "event_name": "order.charged",
        "step_result": {"success": True},
        "event_declaration": declaration,
        "step_context": step_context,
    },
)
seen.call("publish context of nothing", PublishContext.model_validate, {})
seen.call("step event context of nothing", StepEventContext.model_validate, {})
seen.call("step event context of a UUID", published_step, task_uuid=UUID(int=1))
for result in (None, {"a": 1}):
    seen.call(
        f"step event context with {result}",
        StepEventContext.from_step_context,
        sample.context(),
        result,
        {"m": 1},
    )
seen.call("step result of nothing", StepResult.model_validate, {})
seen.call("step result", StepResult.model_validate, {"success": True, "result": {"a": 1}})
for given in (
    {"name": "x.y"},
    {"name": "x.y", "condition": "success", "delivery_mode": "fast", "schema": {"type": "object"}},
    {"name": "x.y", "condition": "sometimes"},
    {"name": "x.y", "delivery_mode": "pigeon"},
    {"name": "x.y", "publisher": "p", "schema_": {}},
    {},
):
    made = seen.call(f"declaration {given}", EventDeclaration.model_validate, given)
    if made is not None:
        seen.note(f"declaration {given}: by alias", made.model_dump(by_alias=True))

for way, settings in {
    "": {},
    "refused first": {"refuse_in": "should_publish"},
    "refused last": {"refuse_in": "before_publish"},
    "failing before": {"fail_in": "before_publish"},
    "failing after": {"fail_in": "after_publish"},
    "failing in should": {"fail_in": "should_publish"},
    "failing in transform": {"fail_in": "transform_payload"},
    "failing in metadata": {"fail_in": "additional_metadata"},
}.items():
    publisher = Publisher()
    for key, value in settings.items():
        setattr(publisher, key, value)
    for name in (None, "order.renamed"):
        hooks.clear()
        seen.call(f"publish {way} as {name}", publisher.publish, published_step(), name)
        seen.note(f"publish {way} as {name}: hooks", hooks)
seen.call("publish by default", DefaultPublisher().publish, published_step())
seen.note("default publisher", [DefaultPublisher().publisher_name])
seen.note("default payload", DefaultPublisher().transform_payload(published_step(result=None)))
seen.call("base publisher", BasePublisher)

publishers = PublisherRegistry.instance()
seen.call("publishers: register", publishers.register, Publisher())
seen.call("publishers: register by name", publishers.register, Publisher(), "named")
seen.call("publishers: register no publisher", publishers.register, 5)
seen.note("publishers: list", publishers.list_publishers())
seen.note(
    "publishers: get", [publishers.get("orders"), publishers.get("default"), publishers.get("x")]
)
seen.note("publishers: or default", publishers.get_or_default("x"))
seen.note("publishers: missing", publishers.validate_required(["orders", "x", "y"]))
publishers.freeze()
seen.call("publishers: frozen register", publishers.register, Publisher())
seen.call("publishers: frozen clear", publishers.clear)
publishers.unfreeze()
seen.call("publishers: clear", publishers.clear)
seen.note("publishers: cleared", publishers.list_publishers())

handled: list[Any] = []


class Subscriber(BaseSubscriber):
    @classmethod
    def subscribes_to(cls) -> list[str]:
        return ["order.*", "exact"]

    def handle(self, event: dict[str, Any]) -> None:
        handled.append(["handle", event["event_name"], sorted(event)])
        if event["event_name"] == "order.bad":
            raise RuntimeError("cannot handle")

    def before_handle(self, event: dict[str, Any]) -> bool:
        handled.append(["before", event["event_name"]])
        return bool(event["event_name"] != "order.refused")

    def after_handle(self, event: dict[str, Any]) -> None:
        handled.append(["after", event["event_name"]])

    def on_handle_error(self, event: dict[str, Any], error: Exception) -> None:
        handled.append(["error", event["event_name"], error])


class Unmakeable(Subscriber):
    def __init__(self) -> None:
        raise RuntimeError("cannot be made")


def event(name: str) -> dict[str, Any]:
    return {
        "event_id": "018f0000-0000-7000-8000-000000000001",
        "event_name": name,
        "event_version": "1.0",
        "metadata": {
            "task_uuid": sample.TASK,
            "step_uuid": sample.STEP,
            "step_name": "charge",
            "namespace": "shop",
            "correlation_id": sample.CORRELATION,
            "fired_at": "2026-02-03T10:00:00Z",
            "fired_by": "sample",
        },
        "payload": {"order": 7},
    }


subscriber = Subscriber()
for name in ("order.paid", "order.", "orders", "exact", "exact.not", "", "order.a.b"):
    seen.note(f"subscriber: matches {name!r}", subscriber.matches(name))
subscriber.handle_event_safely(event("order.paid"))
seen.note("subscriber: inactive", [handled, subscriber.active, subscriber.subscriptions])
poller = InProcessDomainEventPoller(50, 7)
seen.note(
    "poller: new",
    [
        poller._polling_interval,
        poller._max_events_per_poll,
        poller.is_running,
        poller.stats,
        poller.DEFAULT_POLL_INTERVAL_MS,
        poller.DEFAULT_MAX_EVENTS_PER_POLL,
    ],
)
failures: list[Any] = []
poller.on_error(failures.append)
subscriber.start(poller)
seen.note("subscriber: started", [subscriber.active, subscriber.subscriptions])
for name in ("order.paid", "order.bad", "order.refused", "exact", "other"):
    handled.clear()
    poller._process_event(event(name))
    seen.note(f"subscriber: event {name}", handled)
poller._process_event({"event_name": "order.odd"})
seen.note("poller: malformed", [type(each).__name__ for each in failures])
subscriber.stop()
handled.clear()
poller._process_event(event("order.paid"))
seen.note("subscriber: stopped", [handled, subscriber.active, subscriber.subscriptions])
poller._running = True
seen.call("poller: start twice", poller.start)
poller._running = False
seen.call("poller: stop when idle", poller.stop)

subscribers = SubscriberRegistry.instance()
seen.call("subscribers: register", subscribers.register, Subscriber)
seen.call("subscribers: register broken", subscribers.register, Unmakeable)
seen.call("subscribers: register no class", subscribers.register, 5)
seen.call("subscribers: register an instance", subscribers.register_instance, Subscriber(), "named")
seen.call("subscribers: register no instance", subscribers.register_instance, 5)
seen.note("subscribers: listed", subscribers.list_registered())
seen.call("subscribers: start", subscribers.start_all, InProcessDomainEventPoller())
seen.note("subscribers: stats", [subscribers.active_count, subscribers.stats()])
seen.call("subscribers: stop", subscribers.stop_all)
subscribers.clear()
seen.note("subscribers: cleared", subscribers.list_registered())

bridge = EventBridge.instance()
told: list[Any] = []


def listen(*given: Any, **named: Any) -> None:
    told.append([given, named])


seen.note("bridge: names", {k: v for k, v in vars(EventNames).items() if k.isupper()})
seen.note("bridge: new", [bridge.is_active, bridge is EventBridge.instance()])
bridge.subscribe("a", listen)
bridge.publish("a", 1)
seen.note("bridge: inactive", told)
bridge.start()
bridge.publish("a", 1, key=2)
bridge.publish("b", 3)
seen.note("bridge: active", told)
seen.call("bridge: count", bridge.listener_count, "a")
bridge.unsubscribe("a", listen)
bridge.subscribe_once("a", listen)
told.clear()
bridge.publish("a", 1)
bridge.publish("a", 2)
seen.note("bridge: once", told)
bridge.stop()
seen.note("bridge: stopped", [bridge.is_active, bridge.listener_count("a")])

seen.write()
