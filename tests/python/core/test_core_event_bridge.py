"""Publishing and subscribing within the process (§8)."""

from typing import Any

import pytest
from tasker_core import EventBridge, EventNames

from tests.python.core.conftest import Calls


@pytest.fixture
def bridge() -> EventBridge:
    started = EventBridge()
    started.start()
    return started


def test_the_names_of_events() -> None:
    names = {key: value for key, value in vars(EventNames).items() if key.isupper()}
    assert names == {
        "STEP_EXECUTION_RECEIVED": "step.execution.received",
        "STEP_COMPLETION_SENT": "step.completion.sent",
        "STEP_CHECKPOINT_YIELD": "step.checkpoint_yield.sent",
        "HANDLER_REGISTERED": "handler.registered",
        "HANDLER_ERROR": "handler.error",
        "POLLER_METRICS": "poller.metrics",
        "POLLER_ERROR": "poller.error",
    }


def test_there_is_one_instance_until_it_is_reset() -> None:
    first = EventBridge.instance()
    assert EventBridge.instance() is first
    EventBridge.reset_instance()
    assert EventBridge._instance is None
    assert EventBridge.instance() is not first


def test_resetting_stops_the_instance(calls: Calls) -> None:
    first = EventBridge.instance()
    first.start()
    first.subscribe("e", calls)
    EventBridge.reset_instance()
    assert (first.is_active, first.listener_count("e")) == (False, 0)


def test_resetting_without_an_instance_is_fine() -> None:
    EventBridge.reset_instance()
    EventBridge.reset_instance()


def test_a_fresh_bridge_is_not_active() -> None:
    assert EventBridge().is_active is False
    assert EventBridge.instance()._active is False


def test_starting_twice_is_fine(bridge: EventBridge) -> None:
    bridge.start()
    assert bridge.is_active is True


def test_an_inactive_bridge_drops_events(calls: Calls) -> None:
    bridge = EventBridge()
    bridge.subscribe("e", calls)
    bridge.publish("e", 1)
    assert calls == []


def test_subscribing_before_the_start_counts(calls: Calls) -> None:
    bridge = EventBridge()
    bridge.subscribe("e", calls)
    bridge.start()
    bridge.publish("e", 1)
    assert calls == [(1,)]


def test_stopping_drops_all_listeners(bridge: EventBridge, calls: Calls) -> None:
    bridge.subscribe("a", calls)
    bridge.subscribe("b", calls)
    bridge.stop()
    assert (bridge.listener_count("a"), bridge.listener_count("b")) == (0, 0)
    assert bridge.is_active is False


def test_stopping_an_inactive_bridge_keeps_the_listeners(calls: Calls) -> None:
    bridge = EventBridge()
    bridge.subscribe("e", calls)
    bridge.stop()
    assert bridge.listener_count("e") == 1


def test_arguments_arrive_unchanged(bridge: EventBridge) -> None:
    got: list[Any] = []
    bridge.subscribe("e", lambda *args, **kwargs: got.append((args, kwargs)))
    payload: dict[str, Any] = {}
    bridge.publish("e", payload, 2, key="value")
    assert got == [((payload, 2), {"key": "value"})]
    assert got[0][0][0] is payload


def test_listeners_are_called_in_the_order_they_subscribed(bridge: EventBridge) -> None:
    order: list[str] = []
    bridge.subscribe("e", lambda: order.append("first"))
    bridge.subscribe("e", lambda: order.append("second"))
    bridge.publish("e")
    assert order == ["first", "second"]


def test_the_same_callable_counts_once(bridge: EventBridge, calls: Calls) -> None:
    def listener() -> None:
        calls()

    bridge.subscribe("e", listener)
    bridge.subscribe("e", listener)
    bridge.publish("e")
    assert (len(calls), bridge.listener_count("e")) == (1, 1)


def test_a_callable_without_a_name_can_listen(bridge: EventBridge) -> None:
    class Listener:
        heard = 0

        def __call__(self) -> None:
            self.heard += 1

    listener = Listener()
    bridge.subscribe("e", listener)
    bridge.publish("e")
    assert listener.heard == 1


def test_listening_once(bridge: EventBridge) -> None:
    heard: list[int] = []
    bridge.subscribe_once("e", heard.append)
    assert bridge.listeners("e") == [heard.append]
    bridge.publish("e", 1)
    bridge.publish("e", 2)
    assert heard == [1]


def test_a_listener_is_gone_before_its_only_call(bridge: EventBridge) -> None:
    counts: list[int] = []
    bridge.subscribe_once("e", lambda: counts.append(bridge.listener_count("e")))
    bridge.publish("e")
    assert counts == [0]


def test_unsubscribing(bridge: EventBridge) -> None:
    heard: list[int] = []
    bridge.subscribe("e", heard.append)
    bridge.unsubscribe("e", heard.append)
    bridge.publish("e", 1)
    assert heard == []


def test_unsubscribing_what_is_unknown_does_not_raise(bridge: EventBridge) -> None:
    bridge.unsubscribe("e", print)
    bridge.subscribe("e", len)
    bridge.unsubscribe("e", print)
    assert bridge.listeners("e") == [len]


def test_an_exception_of_a_listener_reaches_the_publisher(
    bridge: EventBridge, calls: Calls
) -> None:
    def fail() -> None:
        raise ValueError("no")

    bridge.subscribe("e", fail)
    bridge.subscribe("e", calls.append)
    with pytest.raises(ValueError, match="no"):
        bridge.publish("e")
    assert calls == []


def test_subscribing_while_publishing_counts_for_the_next_time(bridge: EventBridge) -> None:
    heard: list[str] = []

    def first() -> None:
        heard.append("first")
        bridge.subscribe("e", second)

    def second() -> None:
        heard.append("second")

    bridge.subscribe("e", first)
    bridge.publish("e")
    assert heard == ["first"]
    bridge.publish("e")
    assert heard == ["first", "first", "second"]


def test_publishing_to_nobody_is_fine(bridge: EventBridge) -> None:
    bridge.publish("nobody", 1)
    assert (bridge.listener_count("nobody"), bridge.listeners("nobody")) == (0, [])


def test_the_list_of_listeners_is_a_copy(bridge: EventBridge) -> None:
    bridge.subscribe("e", len)
    bridge.listeners("e").clear()
    assert bridge.listener_count("e") == 1


def test_the_schema_names_what_each_event_carries() -> None:
    bridge = EventBridge()
    expected = {
        "step.execution.received": "FfiStepEvent",
        "step.completion.sent": "StepExecutionResult",
        "step.checkpoint_yield.sent": "dict[str, Any]",
        "handler.registered": "tuple[str, type]",
        "handler.error": "tuple[FfiStepEvent, Exception]",
        "poller.metrics": "FfiDispatchMetrics",
        "poller.error": "Exception",
    }
    assert bridge.event_schema == expected
    bridge.event_schema.clear()
    assert bridge.event_schema == expected
