"""Where publishers and subscribers are kept."""

import threading
from typing import Any
from unittest.mock import Mock

import pytest
from tasker_core.domain_events import (
    BaseSubscriber,
    DefaultPublisher,
    InProcessDomainEventPoller,
    PublisherRegistry,
    SubscriberRegistry,
)


class Orders(DefaultPublisher):
    publisher_name = "orders"


class OrderSubscriber(BaseSubscriber):
    @classmethod
    def subscribes_to(cls) -> list[str]:
        return ["order.*"]

    def handle(self, event: dict[str, Any]) -> None:
        pass


class Unmakeable(OrderSubscriber):
    def __init__(self) -> None:
        raise ValueError("no connection")


class Unstartable(OrderSubscriber):
    def start(self, poller: Any) -> None:
        raise ValueError("no poller")


class Unstoppable(OrderSubscriber):
    def stop(self) -> None:
        raise ValueError("not now")


@pytest.fixture
def publishers() -> PublisherRegistry:
    return PublisherRegistry.instance()


@pytest.fixture
def subscribers() -> SubscriberRegistry:
    return SubscriberRegistry.instance()


@pytest.fixture
def poller() -> Mock:
    return Mock(spec=InProcessDomainEventPoller)


@pytest.mark.parametrize("registry", [PublisherRegistry, SubscriberRegistry])
def test_there_is_one_registry_until_it_is_reset(registry: Any) -> None:
    first = registry.instance()
    assert registry.instance() is first is registry._instance
    registry.reset()
    assert registry._instance is None
    assert registry.instance() is not first


@pytest.mark.parametrize("registry", [PublisherRegistry, SubscriberRegistry])
def test_a_registry_has_a_lock(registry: Any) -> None:
    with registry._lock:
        assert registry.instance() is registry.instance()


@pytest.mark.parametrize("registry", [PublisherRegistry, SubscriberRegistry])
def test_threads_that_ask_at_once_get_the_same_registry(registry: Any) -> None:
    go, seen = threading.Barrier(8), []

    def ask() -> None:
        go.wait()
        seen.append(registry.instance())

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 8
    assert {id(found) for found in seen} == {id(registry.instance())}


def test_a_publisher_is_kept_under_its_own_name(publishers: PublisherRegistry) -> None:
    publisher = Orders()
    publishers.register(publisher)
    assert publishers.get("orders") is publisher
    assert publishers._publishers == {"orders": publisher}


def test_a_publisher_is_kept_under_the_name_it_is_given(publishers: PublisherRegistry) -> None:
    publisher = Orders()
    publishers.register(publisher, name="shop.publishers.Orders")
    assert publishers.list_publishers() == ["shop.publishers.Orders"]


def test_the_last_publisher_of_a_name_stays_and_is_warned_of(
    publishers: PublisherRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    publishers.register(Orders())
    last = Orders()
    publishers.register(last)
    assert publishers.get("orders") is last
    assert "'orders' takes the place of another publisher" in caplog.text


def test_the_first_of_a_name_is_not_warned_of(
    publishers: PublisherRegistry,
    subscribers: SubscriberRegistry,
    caplog: pytest.LogCaptureFixture,
) -> None:
    publishers.register(Orders())
    subscribers.register(OrderSubscriber)
    assert caplog.text == ""


@pytest.mark.parametrize("thing", [Orders, "orders", None])
def test_what_is_no_publisher_is_refused(publishers: PublisherRegistry, thing: Any) -> None:
    with pytest.raises(ValueError, match=r"^Expected BasePublisher instance, got "):
        publishers.register(thing)


def test_an_unknown_publisher_is_none(publishers: PublisherRegistry) -> None:
    assert publishers.get("orders") is None


def test_the_default_publisher_has_no_entry(publishers: PublisherRegistry) -> None:
    assert publishers.get("default") is None
    assert publishers.list_publishers() == []


@pytest.mark.parametrize("name", ["orders", None])
def test_the_default_publisher_stands_in(publishers: PublisherRegistry, name: Any) -> None:
    publisher = publishers.get_or_default(name)
    assert publisher is publishers._default_publisher
    assert isinstance(publisher, DefaultPublisher)


def test_a_registered_publisher_needs_nobody_to_stand_in(publishers: PublisherRegistry) -> None:
    publisher = Orders()
    publishers.register(publisher)
    assert publishers.get_or_default("orders") is publisher


def test_names_that_are_required_and_missing_are_told_in_order(
    publishers: PublisherRegistry,
) -> None:
    publishers.register(Orders())
    assert publishers.validate_required(["z", "orders", "a"]) == ["z", "a"]


def test_a_frozen_registry_takes_no_publishers(publishers: PublisherRegistry) -> None:
    publishers.freeze()
    assert publishers.is_frozen is True
    with pytest.raises(RuntimeError) as refusal:
        publishers.register("not even a publisher")  # type: ignore[arg-type]
    assert str(refusal.value) == "PublisherRegistry is frozen, cannot register new publishers"


def test_a_frozen_registry_is_not_cleared(publishers: PublisherRegistry) -> None:
    publishers.register(Orders())
    publishers.freeze()
    with pytest.raises(RuntimeError, match=r"^PublisherRegistry is frozen, cannot clear$"):
        publishers.clear()
    assert publishers.list_publishers() == ["orders"]


def test_an_unfrozen_registry_takes_publishers_again(publishers: PublisherRegistry) -> None:
    publishers.freeze()
    publishers.unfreeze()
    publishers.register(Orders())
    assert (publishers.is_frozen, publishers.list_publishers()) == (False, ["orders"])


def test_a_cleared_registry_is_empty(publishers: PublisherRegistry) -> None:
    publishers.register(Orders())
    publishers.clear()
    assert publishers.list_publishers() == []


def test_publishers_are_listed_in_the_order_they_came(publishers: PublisherRegistry) -> None:
    for name in ("z", "a", "m"):
        publishers.register(Orders(), name)
    assert publishers.list_publishers() == ["z", "a", "m"]


@pytest.mark.parametrize("thing", [OrderSubscriber(), "orders", str, None])
def test_what_is_no_subscriber_class_is_refused(
    subscribers: SubscriberRegistry, thing: Any
) -> None:
    with pytest.raises(ValueError, match=r"^Expected BaseSubscriber subclass, got "):
        subscribers.register(thing)


@pytest.mark.parametrize("thing", [OrderSubscriber, "orders", None])
def test_what_is_no_subscriber_is_refused(subscribers: SubscriberRegistry, thing: Any) -> None:
    with pytest.raises(ValueError, match=r"^Expected BaseSubscriber instance, got "):
        subscribers.register_instance(thing)


def test_subscribers_are_kept_by_class_name_or_given_name(subscribers: SubscriberRegistry) -> None:
    subscribers.register(OrderSubscriber)
    subscribers.register_instance(OrderSubscriber())
    subscribers.register_instance(OrderSubscriber(), name="second")
    assert subscribers.list_registered() == {
        "classes": ["OrderSubscriber"],
        "instances": ["OrderSubscriber", "second"],
    }


def test_the_last_subscriber_of_a_name_stays_and_is_warned_of(
    subscribers: SubscriberRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    subscribers.register_instance(OrderSubscriber())
    last = OrderSubscriber()
    subscribers.register_instance(last)
    assert subscribers._subscriber_instances == {"OrderSubscriber": last}
    assert "'OrderSubscriber' takes the place of another subscriber" in caplog.text


def test_starting_starts_classes_and_then_instances(
    subscribers: SubscriberRegistry, poller: Mock
) -> None:
    instance = OrderSubscriber()
    subscribers.register_instance(instance)
    subscribers.register(OrderSubscriber)
    assert subscribers.start_all(poller) == 2
    made, given = subscribers._active_subscribers
    assert given is instance
    assert made is not instance
    assert (made.active, given.active, subscribers.active_count) == (True, True, 2)


@pytest.mark.parametrize(
    ("broken", "text"),
    [
        (Unmakeable, "Unmakeable was not made: ValueError: no connection"),
        (Unstartable, "Unstartable was not started: ValueError: no poller"),
    ],
)
def test_a_subscriber_that_fails_does_not_keep_others_from_starting(
    subscribers: SubscriberRegistry,
    poller: Mock,
    caplog: pytest.LogCaptureFixture,
    broken: type[BaseSubscriber],
    text: str,
) -> None:
    subscribers.register(broken)
    subscribers.register(OrderSubscriber)
    assert subscribers.start_all(poller) == 1
    assert text in caplog.text


def test_starting_again_makes_new_objects_of_the_classes(
    subscribers: SubscriberRegistry, poller: Mock
) -> None:
    subscribers.register(OrderSubscriber)
    subscribers.start_all(poller)
    assert subscribers.start_all(poller) == 1
    assert len({id(found) for found in subscribers._active_subscribers}) == 2


def test_starting_again_counts_running_instances_and_subscribes_them_once(
    subscribers: SubscriberRegistry, poller: Mock
) -> None:
    subscribers.register_instance(OrderSubscriber())
    subscribers.start_all(poller)
    assert subscribers.start_all(poller) == 1
    assert (subscribers.active_count, poller.on_event.call_count) == (2, 1)


def test_stopping_stops_all_and_tells_how_many(
    subscribers: SubscriberRegistry, poller: Mock
) -> None:
    instance = OrderSubscriber()
    subscribers.register(OrderSubscriber)
    subscribers.register_instance(instance)
    subscribers.start_all(poller)
    assert subscribers.stop_all() == 2
    assert (instance.active, subscribers.active_count, subscribers.stop_all()) == (False, 0, 0)


def test_a_subscriber_that_does_not_stop_does_not_keep_others_from_stopping(
    subscribers: SubscriberRegistry, poller: Mock, caplog: pytest.LogCaptureFixture
) -> None:
    instance = OrderSubscriber()
    subscribers.register(Unstoppable)
    subscribers.register_instance(instance)
    subscribers.start_all(poller)
    assert subscribers.stop_all() == 1
    assert (instance.active, subscribers.active_count) == (False, 0)
    assert "Unstoppable was not stopped: ValueError: not now" in caplog.text


def test_stats_tell_what_is_registered_and_at_work(
    subscribers: SubscriberRegistry, poller: Mock
) -> None:
    subscribers.register(OrderSubscriber)
    subscribers.register_instance(OrderSubscriber())
    subscribers.register_instance(OrderSubscriber(), "second")
    subscribers.start_all(poller)
    entry = {"class": "OrderSubscriber", "patterns": ["order.*"], "active": True}
    assert subscribers.stats() == {
        "registered_classes": 1,
        "registered_instances": 2,
        "active_subscribers": 3,
        "subscriptions": [entry, entry, entry],
    }


def test_stats_of_a_subscriber_that_was_stopped_by_itself_tell_no_patterns(
    subscribers: SubscriberRegistry, poller: Mock
) -> None:
    subscribers.register(OrderSubscriber)
    subscribers.start_all(poller)
    subscribers._active_subscribers[0].stop()
    assert subscribers.stats()["subscriptions"] == [
        {"class": "OrderSubscriber", "patterns": [], "active": False}
    ]


def test_stats_of_an_empty_registry_are_zero(subscribers: SubscriberRegistry) -> None:
    assert subscribers.stats() == {
        "registered_classes": 0,
        "registered_instances": 0,
        "active_subscribers": 0,
        "subscriptions": [],
    }


def test_clearing_stops_and_forgets(subscribers: SubscriberRegistry, poller: Mock) -> None:
    instance = OrderSubscriber()
    subscribers.register(OrderSubscriber)
    subscribers.register_instance(instance)
    subscribers.start_all(poller)
    subscribers.clear()
    assert instance.active is False
    assert subscribers.list_registered() == {"classes": [], "instances": []}


def test_resetting_stops_what_is_at_work(subscribers: SubscriberRegistry, poller: Mock) -> None:
    instance = OrderSubscriber()
    subscribers.register_instance(instance)
    subscribers.start_all(poller)
    SubscriberRegistry.reset()
    assert instance.active is False
