"""How a subscriber handles events."""

import threading
from collections.abc import Callable
from typing import Any
from unittest.mock import Mock
from uuid import UUID

import pytest
from tasker_core.domain_events import BaseSubscriber, InProcessDomainEventPoller
from tasker_core.types import InProcessDomainEvent
from taskerpy_host.context import StepTimeout

from tests.python.domain_events.odd import ODD

BuildEvent = Callable[[str], InProcessDomainEvent]


def deliver(poller: InProcessDomainEventPoller, event: InProcessDomainEvent) -> None:
    for callback in list(poller._event_callbacks):
        callback(event)


@pytest.fixture
def poller() -> InProcessDomainEventPoller:
    return InProcessDomainEventPoller()


@pytest.fixture
def mock_poller() -> Mock:
    return Mock(spec=InProcessDomainEventPoller)


def test_a_subscriber_must_say_what_it_handles_and_how() -> None:
    with pytest.raises(TypeError):
        BaseSubscriber()  # type: ignore[abstract]


def test_a_new_subscriber_is_inactive(recorder: Any) -> None:
    assert (recorder.active, recorder.subscriptions) == (False, [])


def test_subscriptions_are_a_copy(recorder: Any, poller: Any) -> None:
    recorder.start(poller)
    recorder.subscriptions.clear()
    assert recorder.subscriptions == ["payment.*"]


@pytest.mark.parametrize(
    ("pattern", "name", "fits"),
    [
        ("payment.*", "payment.processed", True),
        ("payment.*", "payment.card.declined", True),
        ("payment.*", "payment.", True),
        ("payment.*", "order.created", False),
        ("payment.*", "Payment.processed", False),
        ("*", "", True),
        ("*.created", "order.created", True),
        ("order.?", "order.1", True),
        ("order.?", "order.12", False),
        ("order.[ab]", "order.b", True),
        ("order.created", "order.created", True),
        ("order.created", "order.created.twice", False),
    ],
)
def test_names_are_matched_as_a_shell_would(
    recorder_for: Any, pattern: str, name: str, fits: bool
) -> None:
    assert recorder_for(pattern).matches(name) is fits


def test_one_fitting_pattern_is_enough(recorder_for: Any) -> None:
    assert recorder_for("order.*", "payment.*").matches("payment.processed") is True


def test_without_patterns_nothing_fits(recorder_for: Any) -> None:
    assert recorder_for().matches("payment.processed") is False


def test_patterns_may_come_from_an_instance(mock_poller: Mock) -> None:
    class Configured(BaseSubscriber):
        def __init__(self, pattern: str) -> None:
            super().__init__()
            self.pattern = pattern

        def subscribes_to(self) -> list[str]:  # type: ignore[override]
            return [self.pattern]

        def handle(self, event: dict[str, Any]) -> None:
            pass

    subscriber = Configured("order.*")
    subscriber.start(mock_poller)
    assert subscriber.subscriptions == ["order.*"]
    assert subscriber.matches("order.created") is True


def test_starting_registers_one_callback_per_pattern(recorder_for: Any, mock_poller: Mock) -> None:
    recorder = recorder_for("a.*", "b.*", "c.*")
    recorder.start(mock_poller)
    assert mock_poller.on_event.call_count == 3
    assert (recorder.active, recorder.subscriptions) == (True, ["a.*", "b.*", "c.*"])


def test_starting_twice_registers_once(recorder: Any, mock_poller: Mock) -> None:
    recorder.start(mock_poller)
    recorder.start(mock_poller)
    assert mock_poller.on_event.call_count == 1


def test_a_fitting_event_is_handled_as_a_dict(
    recorder: Any, poller: Any, event: BuildEvent
) -> None:
    recorder.start(poller)
    deliver(poller, event("payment.processed"))
    assert recorder.handled == [event("payment.processed").model_dump()]
    assert isinstance(recorder.handled[0]["event_id"], UUID)


def test_another_event_is_not_handled(recorder: Any, poller: Any, event: BuildEvent) -> None:
    recorder.start(poller)
    deliver(poller, event("order.created"))
    assert recorder.handled == []


def test_a_pattern_is_all_that_a_callback_looks_at(recorder: Any, event: BuildEvent) -> None:
    recorder._active = True
    recorder._handle_if_matches(event("order.created"), "order.*")
    recorder._handle_if_matches(event("order.created"), "refund.*")
    assert recorder.names == ["order.created"]


def test_fix_overlapping_patterns_handle_an_event_once(
    recorder_for: Any, poller: Any, event: BuildEvent
) -> None:
    recorder = recorder_for("payment.*", "*", "payment.*")
    recorder.start(poller)
    deliver(poller, event("payment.processed"))
    deliver(poller, event("order.created"))
    assert recorder.names == ["payment.processed", "order.created"]


def test_the_same_event_is_handled_as_often_as_it_is_delivered(
    recorder: Any, poller: Any, event: BuildEvent
) -> None:
    recorder.start(poller)
    deliver(poller, event("payment.processed"))
    deliver(poller, event("payment.processed"))
    assert len(recorder.handled) == 2


def test_a_stopped_subscriber_handles_nothing(
    recorder: Any, poller: Any, event: BuildEvent
) -> None:
    recorder.start(poller)
    recorder.stop()
    deliver(poller, event("payment.processed"))
    assert (recorder.active, recorder.subscriptions, recorder.handled) == (False, [], [])


def test_stopping_what_was_not_started_is_fine(recorder: Any) -> None:
    recorder.stop()
    assert recorder.active is False


def test_fix_stopping_takes_the_callbacks_out_of_the_poller(recorder_for: Any, poller: Any) -> None:
    recorder = recorder_for("a.*", "b.*")
    poller.on_event(print)
    recorder.start(poller)
    recorder.stop()
    assert poller._event_callbacks == [print]


def test_fix_start_stop_start_handles_an_event_once(
    recorder: Any, poller: Any, event: BuildEvent
) -> None:
    recorder.start(poller)
    recorder.stop()
    recorder.start(poller)
    deliver(poller, event("payment.processed"))
    assert len(recorder.handled) == 1


def test_fix_callbacks_that_a_poller_keeps_do_nothing_after_a_new_start(
    recorder: Any, event: BuildEvent
) -> None:
    kept: list[Callable[[InProcessDomainEvent], None]] = []
    keeping = Mock(spec=["on_event"])
    keeping.on_event.side_effect = kept.append
    recorder.start(keeping)
    recorder.stop()
    recorder.start(keeping)
    for callback in kept:
        callback(event("payment.processed"))
    assert (len(kept), len(recorder.handled)) == (2, 1)


def test_a_poller_that_refuses_leaves_the_subscriber_stopped(
    recorder_for: Any, mock_poller: Mock
) -> None:
    mock_poller.on_event.side_effect = [None, RuntimeError("full")]
    recorder = recorder_for("a.*", "b.*")
    with pytest.raises(RuntimeError, match="full"):
        recorder.start(mock_poller)
    assert (recorder.active, recorder.subscriptions) == (False, [])
    assert mock_poller.off_event.call_count == 1


def test_fix_start_and_stop_from_many_threads_leave_no_callback_behind(
    recorder: Any, poller: Any
) -> None:
    go = threading.Barrier(8)

    def toggle() -> None:
        go.wait()
        for _ in range(50):
            recorder.start(poller)
            recorder.stop()

    threads = [threading.Thread(target=toggle) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (recorder.active, poller._event_callbacks) == (False, [])


def test_an_inactive_subscriber_handles_nothing(recorder: Any) -> None:
    recorder.handle_event_safely({"event_name": "payment.processed"})
    assert recorder.handled == []


class Hooked(BaseSubscriber):
    """Writes down its hooks; fails where ``failing`` says."""

    def __init__(self, failing: str = "", wanted: Any = True) -> None:
        super().__init__()
        self._active = True
        self.failing = failing
        self.wanted = wanted
        self.calls: list[Any] = []

    @classmethod
    def subscribes_to(cls) -> list[str]:
        return ["*"]

    def _hook(self, name: str) -> None:
        self.calls.append(name)
        if self.failing == name:
            raise ValueError(name)

    def before_handle(self, event: dict[str, Any]) -> Any:
        self._hook("before_handle")
        return self.wanted

    def handle(self, event: dict[str, Any]) -> None:
        self._hook("handle")

    def after_handle(self, event: dict[str, Any]) -> None:
        self._hook("after_handle")
        super().after_handle(event)

    def on_handle_error(self, event: dict[str, Any], error: Exception) -> None:
        self.calls.append((event, str(error)))


def test_hooks_are_called_around_the_handler() -> None:
    subscriber = Hooked()
    subscriber.handle_event_safely({})
    assert subscriber.calls == ["before_handle", "handle", "after_handle"]


def test_events_are_wanted_unless_a_subscriber_says_otherwise(recorder: Any) -> None:
    assert recorder.before_handle({}) is True


@pytest.mark.parametrize("no", [False, None])
def test_an_event_that_is_not_wanted_is_not_handled(no: Any) -> None:
    subscriber = Hooked(wanted=no)
    subscriber.handle_event_safely({})
    assert subscriber.calls == ["before_handle"]


@pytest.mark.parametrize("hook", ["before_handle", "handle", "after_handle"])
def test_an_error_of_any_hook_is_reported_and_not_raised(hook: str) -> None:
    subscriber = Hooked(failing=hook)
    subscriber.handle_event_safely({"event_name": "a.b"})
    assert subscriber.calls[-1] == ({"event_name": "a.b"}, hook)


class Failing(BaseSubscriber):
    """Fails with ``error`` in one of its hooks, and tells of it as others do."""

    def __init__(self, hook: str, error: BaseException) -> None:
        super().__init__()
        setattr(self, hook, Mock(side_effect=error))

    @classmethod
    def subscribes_to(cls) -> list[str]:
        return ["*"]

    def handle(self, event: dict[str, Any]) -> None: ...


@pytest.mark.parametrize("error", ODD)
@pytest.mark.parametrize("hook", ["before_handle", "handle", "after_handle"])
def test_an_exit_of_any_hook_is_reported_and_not_raised(
    poller: Any,
    event: BuildEvent,
    caplog: pytest.LogCaptureFixture,
    hook: str,
    error: BaseException,
) -> None:
    Failing(hook, error).start(poller)
    deliver(poller, event("a.b"))
    assert "Failing: Failed to handle event a.b: " in caplog.text


@pytest.mark.parametrize("error", ODD)
def test_an_exit_while_reporting_an_error_is_not_raised(
    poller: Any, event: BuildEvent, caplog: pytest.LogCaptureFixture, error: BaseException
) -> None:
    class Hopeless(Failing):
        def on_handle_error(self, event: dict[str, Any], error: Exception) -> None:
            raise error

    Hopeless("handle", error).start(poller)
    deliver(poller, event("a.b"))
    assert f"Hopeless: on_handle_error failed: {type(error).__name__}: " in caplog.text


@pytest.mark.parametrize("hook", ["handle", "on_handle_error"])
def test_an_interrupt_of_the_program_passes_a_subscriber(
    poller: Any, event: BuildEvent, hook: str
) -> None:
    subscriber = Failing("handle", ValueError("first"))
    setattr(subscriber, hook, Mock(side_effect=KeyboardInterrupt))
    subscriber.start(poller)
    with pytest.raises(KeyboardInterrupt):
        deliver(poller, event("a.b"))


def test_a_handler_that_gives_a_subscriber_an_event_can_be_interrupted_in_it(poller: Any) -> None:
    subscriber = Failing("handle", StepTimeout())
    subscriber.start(poller)
    with pytest.raises(StepTimeout):
        subscriber.handle_event_safely({})


@pytest.mark.parametrize(("event", "name"), [({"event_name": "a.b"}, "a.b"), ({}, "unknown")])
def test_an_error_is_logged_with_the_name_of_the_event(
    recorder: Any, caplog: pytest.LogCaptureFixture, event: Any, name: str
) -> None:
    recorder.on_handle_error(event, ValueError("no"))
    assert f"Recorder: Failed to handle event {name}: no" in caplog.text


def test_an_error_while_reporting_an_error_is_not_raised(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Hopeless(Hooked):
        def on_handle_error(self, event: dict[str, Any], error: Exception) -> None:
            raise KeyError("second")

    Hopeless(failing="handle").handle_event_safely({})
    assert "on_handle_error failed: KeyError: 'second'" in caplog.text


@pytest.mark.parametrize(
    ("event", "payload"),
    [
        ({"payload": {"payload": {"amount": 5}, "execution_result": {}}}, {"amount": 5}),
        ({"payload": {"amount": 5}}, {"amount": 5}),
        ({"payload": None}, {}),
        ({}, {}),
    ],
)
def test_fix_the_business_payload_is_at_hand(event: Any, payload: Any) -> None:
    assert BaseSubscriber.business_payload(event) == payload


class OfItsOwn(BaseSubscriber):
    """Its constructor sets what the documents name, and does not call the base's."""

    def __init__(self) -> None:
        self._active = False
        self._subscriptions = []

    @classmethod
    def subscribes_to(cls) -> list[str]:
        return ["payment.*"]

    def handle(self, event: dict[str, Any]) -> None: ...


def test_a_subscriber_need_not_call_the_constructor_of_its_base(poller: Any) -> None:
    subscriber = OfItsOwn()
    subscriber.start(poller)
    assert (subscriber.active, subscriber.subscriptions) == (True, ["payment.*"])
    subscriber.stop()
    assert (subscriber.active, subscriber.subscriptions, poller._event_callbacks) == (False, [], [])
