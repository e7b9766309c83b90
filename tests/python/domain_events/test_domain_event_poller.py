"""How events come from the host to callbacks."""

import threading
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import Mock, patch

import pytest
from tasker_core import domain_events
from tasker_core.domain_events import InProcessDomainEventPoller
from tasker_core.domain_events._poller import _poll_once

from tests.python.domain_events.odd import ODD

BuildData = Callable[..., dict[str, Any]]

# Far longer than anything here takes; only a broken test waits for it.
DEADLINE = 20.0


class Host:
    """What the native poll answers, one after the other; then nothing more."""

    def __init__(self, answers: list[Any]) -> None:
        self.answers = answers
        self.polls = 0
        self.idle = threading.Event()

    def poll(self) -> Any:
        self.polls += 1
        if not self.answers:
            self.idle.set()
            return None
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    made = Host([])
    monkeypatch.setattr(domain_events, "_poll_in_process_events", made.poll)
    return made


@pytest.fixture
def poller() -> Iterator[InProcessDomainEventPoller]:
    made = InProcessDomainEventPoller(polling_interval_ms=1)
    yield made
    made.stop()


def run(poller: InProcessDomainEventPoller, host: Host) -> None:
    """Poll until the host has nothing more."""
    poller.start()
    assert host.idle.wait(DEADLINE)
    poller.stop()


def test_a_new_poller_has_the_defaults_and_does_not_run() -> None:
    poller = InProcessDomainEventPoller()
    assert (poller.DEFAULT_POLL_INTERVAL_MS, poller.DEFAULT_MAX_EVENTS_PER_POLL) == (10, 100)
    assert (poller._polling_interval, poller._max_events_per_poll) == (0.01, 100)
    assert (poller._running, poller._thread, poller.is_running) == (False, None, False)
    assert poller.stats == {"poll_count": 0, "events_processed": 0, "events_lagged": 0}
    assert (poller._event_callbacks, poller._error_callbacks) == ([], [])


def test_the_interval_is_kept_in_seconds() -> None:
    assert InProcessDomainEventPoller(50, 7)._polling_interval == 0.05
    assert InProcessDomainEventPoller(50, 7)._max_events_per_poll == 7


def test_a_poller_that_runs_does_not_start_again() -> None:
    poller = InProcessDomainEventPoller()
    poller._running = True
    with pytest.raises(RuntimeError, match=r"^InProcessDomainEventPoller already running$"):
        poller.start()


def test_a_poller_without_thread_is_not_running() -> None:
    poller = InProcessDomainEventPoller()
    poller._running = True
    assert poller.is_running is False


def test_a_poller_polls_on_a_daemon_thread_of_its_own(poller: Any, host: Host) -> None:
    poller.start()
    thread = poller._thread
    assert (thread.name, thread.daemon) == ("tasker-domain-event-poller", True)
    assert poller.is_running is True
    poller.stop()
    assert (poller.is_running, poller._thread, thread.is_alive()) == (False, None, False)


def test_a_stopped_poller_starts_again(poller: Any, host: Host, event_data: BuildData) -> None:
    seen: list[Any] = []
    poller.on_event(seen.append)
    run(poller, host)
    host.answers.append(event_data())
    host.idle.clear()
    run(poller, host)
    assert len(seen) == 1


def test_a_poller_that_cannot_start_its_thread_is_not_running(
    poller: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(thread: Any) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        poller.start()
    assert (poller._running, poller._thread) == (False, None)


def test_stopping_what_does_not_run_is_fine() -> None:
    InProcessDomainEventPoller().stop()


def test_a_callback_may_stop_the_poller(poller: Any, host: Host, event_data: BuildData) -> None:
    stopped = threading.Event()

    def stop(event: Any) -> None:
        poller.stop()
        stopped.set()

    host.answers += [event_data(), event_data()]
    poller.on_event(stop)
    poller.start()
    thread = poller._thread
    assert stopped.wait(DEADLINE)
    if thread is not None:
        thread.join(DEADLINE)
    assert (poller.is_running, poller.stats["events_processed"]) == (False, 1)


def test_a_callback_that_outlives_stop_is_warned_of(
    poller: Any, host: Host, event_data: BuildData, caplog: pytest.LogCaptureFixture
) -> None:
    entered, leave = threading.Event(), threading.Event()

    def wait(event: Any) -> None:
        entered.set()
        leave.wait(DEADLINE)

    host.answers.append(event_data())
    poller.on_event(wait)
    poller.start()
    thread = poller._thread
    assert entered.wait(DEADLINE)
    poller.stop(timeout=0)
    leave.set()
    thread.join(DEADLINE)
    assert "a callback is still running 0 s after stop()" in caplog.text


def test_a_stop_in_time_is_not_warned_of(
    poller: Any, host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    run(poller, host)
    assert caplog.text == ""


class Sleeps:
    """Stands for ``time.sleep``: writes down how long a loop sleeps, and ends it after some."""

    def __init__(self, poller: Any, most: int) -> None:
        self.poller = poller
        self.most = most
        self.seconds: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)
        if len(self.seconds) == self.most:
            self.poller._running = False


def test_a_loop_sleeps_only_when_there_is_nothing_and_longer_after_an_error(
    host: Host, event_data: BuildData
) -> None:
    poller = InProcessDomainEventPoller(polling_interval_ms=50, max_events_per_poll=1)
    sleeps = Sleeps(poller, most=2)
    poller._running = True
    host.answers += [event_data(), event_data(), RuntimeError("gone")]
    with patch("tasker_core.domain_events.time.sleep", sleeps):
        poller._poll_loop()
    assert sleeps.seconds == [0.5, 0.05]
    assert poller.stats == {"poll_count": 4, "events_processed": 2, "events_lagged": 0}


def test_a_mock_for_the_time_module_is_slept_with(host: Host) -> None:
    poller = InProcessDomainEventPoller()
    sleeps = Sleeps(poller, most=1)
    poller._running = True
    with patch("tasker_core.domain_events.time") as time:
        time.sleep.side_effect = sleeps
        poller._poll_loop()
    assert sleeps.seconds == [0.01]


def test_a_long_sleep_is_one_of_short_ones_that_a_stop_ends(host: Host) -> None:
    poller = InProcessDomainEventPoller(polling_interval_ms=60_000)
    sleeps = Sleeps(poller, most=3)
    poller._running = True
    with patch("tasker_core.domain_events.time.sleep", sleeps):
        poller._poll_loop()
    assert sleeps.seconds == [0.5, 0.5, 0.5]


def test_stopping_joins_the_thread_with_the_timeout() -> None:
    poller: Any = InProcessDomainEventPoller()
    thread = Mock()
    poller._running, poller._thread = True, thread
    poller.stop(timeout=2.0)
    thread.join.assert_called_once_with(timeout=2.0)
    assert (poller._running, poller._thread) == (False, None)


def test_events_reach_every_callback_in_order(
    poller: Any, host: Host, event_data: BuildData
) -> None:
    seen: list[tuple[str, str]] = []
    poller.on_event(lambda event: seen.append(("first", event.event_name)))
    poller.on_event(lambda event: seen.append(("second", event.event_name)))
    host.answers += [event_data("a.b"), event_data("c.d")]
    run(poller, host)
    assert seen == [("first", "a.b"), ("second", "a.b"), ("first", "c.d"), ("second", "c.d")]
    assert poller.stats["events_processed"] == 2
    assert poller.stats["poll_count"] >= 1


def test_a_callback_that_was_taken_out_is_not_called(
    poller: Any, host: Host, event_data: BuildData
) -> None:
    seen: list[Any] = []
    poller.on_event(seen.append)
    poller.off_event(seen.append)
    poller.off_event(seen.append)
    host.answers.append(event_data())
    run(poller, host)
    assert seen == []


def test_one_turn_fetches_up_to_the_limit(host: Host, event_data: BuildData) -> None:
    poller = InProcessDomainEventPoller(max_events_per_poll=2)
    host.answers += [event_data() for _ in range(3)]
    assert _poll_once(poller, threading.Event()) == 2
    assert (host.polls, poller.stats["events_processed"]) == (2, 2)


def test_one_turn_ends_when_the_host_has_no_more(host: Host, event_data: BuildData) -> None:
    poller = InProcessDomainEventPoller()
    host.answers.append(event_data())
    assert _poll_once(poller, threading.Event()) == 1
    assert host.polls == 2


def test_a_loop_ends_with_the_running_flag(host: Host, event_data: BuildData) -> None:
    poller = InProcessDomainEventPoller()

    def finish(event: Any) -> None:
        poller._running = False

    poller.on_event(finish)
    host.answers.append(event_data())
    poller._running = True
    poller._poll_loop()
    assert poller.stats["poll_count"] == 1


def test_a_failing_callback_does_not_keep_the_event_from_others(
    poller: Any, host: Host, event_data: BuildData, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[Any] = []
    errors: list[Exception] = []
    error = ValueError("no")

    def fail(event: Any) -> None:
        raise error

    poller.on_event(fail)
    poller.on_event(seen.append)
    poller.on_error(errors.append)
    poller._process_event(event_data("a.b"))
    assert (len(seen), errors) == (1, [error])
    assert "a callback failed with a.b: ValueError: no" in caplog.text


@pytest.mark.parametrize("error", ODD)
def test_an_exit_of_a_callback_does_not_end_the_polling(
    poller: Any,
    host: Host,
    event_data: BuildData,
    caplog: pytest.LogCaptureFixture,
    error: BaseException,
) -> None:
    seen: list[Any] = []
    errors: list[BaseException] = []
    poller.on_event(Mock(side_effect=error))
    poller.on_event(lambda event: seen.append(event.event_name))
    poller.on_error(errors.append)
    host.answers += [event_data("a.b"), event_data("c.d")]
    run(poller, host)
    assert (seen, errors) == (["a.b", "c.d"], [error, error])
    assert f"a callback failed with a.b: {type(error).__name__}: " in caplog.text


@pytest.mark.parametrize("error", ODD)
def test_an_exit_of_an_error_callback_does_not_keep_the_error_from_others(
    poller: Any, caplog: pytest.LogCaptureFixture, error: BaseException
) -> None:
    errors: list[Exception] = []
    poller.on_error(Mock(side_effect=error))
    poller.on_error(errors.append)
    poller._emit_error(ValueError("bad"))
    assert len(errors) == 1
    assert f"an error callback failed: {type(error).__name__}: " in caplog.text


def test_an_interrupt_of_the_program_passes_a_callback(poller: Any, event_data: BuildData) -> None:
    poller.on_event(Mock(side_effect=KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        poller._process_event(event_data())


def test_an_interrupt_of_the_program_passes_an_error_callback(poller: Any) -> None:
    poller.on_error(Mock(side_effect=KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        poller._emit_error(ValueError("bad"))


@pytest.mark.parametrize("data", [{}, {"event_id": "no uuid"}, "text"])
def test_an_event_that_cannot_be_read_is_reported(poller: Any, data: Any) -> None:
    seen: list[Any] = []
    errors: list[Exception] = []
    poller.on_event(seen.append)
    poller.on_error(errors.append)
    poller._process_event(data)
    assert (seen, len(errors)) == ([], 1)


def test_polling_goes_on_after_an_error_of_the_host(
    poller: Any, host: Host, event_data: BuildData
) -> None:
    seen: list[Any] = []
    errors: list[Exception] = []
    error = RuntimeError("Worker not initialized. Call bootstrap_worker() first.")
    poller.on_event(seen.append)
    poller.on_error(errors.append)
    host.answers += [error, event_data()]
    run(poller, host)
    assert (errors, len(seen)) == ([error], 1)


def test_a_failing_error_callback_does_not_keep_the_error_from_others(
    poller: Any, caplog: pytest.LogCaptureFixture
) -> None:
    errors: list[Exception] = []

    def fail(error: Exception) -> None:
        raise KeyError("worse")

    poller.on_error(fail)
    poller.on_error(errors.append)
    poller._emit_error(ValueError("bad"))
    assert len(errors) == 1
    assert "an error callback failed: KeyError: 'worse'" in caplog.text


def test_without_a_worker_polling_is_an_error() -> None:
    poller = InProcessDomainEventPoller()
    with pytest.raises(RuntimeError, match="Worker not initialized"):
        _poll_once(poller, threading.Event())


def test_fix_events_that_the_host_dropped_are_counted(
    poller: Any, event_data: BuildData, caplog: pytest.LogCaptureFixture
) -> None:
    poller._process_event(event_data(lagged=3))
    poller._process_event(event_data())
    poller._process_event(event_data(lagged=2))
    assert poller.stats["events_lagged"] == 5
    assert "3 events were lost" in caplog.text


@pytest.mark.parametrize("lagged", [0, -1, "3", None, True])
def test_a_count_of_dropped_events_that_is_none_is_not_counted(
    poller: Any, event_data: BuildData, caplog: pytest.LogCaptureFixture, lagged: Any
) -> None:
    poller._process_event(event_data(lagged=lagged))
    assert (poller.stats["events_lagged"], caplog.text) == (0, "")


def seen_result(poller: Any, data: dict[str, Any]) -> Any:
    seen: list[Any] = []
    poller.on_event(seen.append)
    poller._process_event(data)
    return seen[0].execution_result


def test_fix_the_execution_result_of_a_success_is_filled(
    poller: Any, event_data: BuildData
) -> None:
    stored = {
        "success": True,
        "result": {"amount": 5},
        "metadata": {"execution_time_ms": 41},
        "error": None,
    }
    found = seen_result(poller, event_data(payload={"execution_result": stored}))
    assert found.model_dump() == {
        "success": True,
        "result": {"amount": 5},
        "error_message": None,
        "error_type": None,
        "execution_time_ms": 41,
    }


def test_fix_the_execution_result_of_a_failure_is_filled(
    poller: Any, event_data: BuildData
) -> None:
    stored = {
        "success": False,
        "result": None,
        "metadata": {"execution_time_ms": 7},
        "error": {"message": "declined", "error_type": "PaymentError"},
    }
    found = seen_result(poller, event_data(payload={"execution_result": stored}))
    assert found.model_dump() == {
        "success": False,
        "result": None,
        "error_message": "declined",
        "error_type": "PaymentError",
        "execution_time_ms": 7,
    }


def test_a_stored_result_with_odd_parts_fills_what_it_can(
    poller: Any, event_data: BuildData
) -> None:
    stored = {"success": True, "result": [1], "metadata": {"execution_time_ms": "7"}, "error": "x"}
    found = seen_result(poller, event_data(payload={"execution_result": stored}))
    assert found.model_dump() == {
        "success": True,
        "result": None,
        "error_message": None,
        "error_type": None,
        "execution_time_ms": None,
    }


@pytest.mark.parametrize(
    "payload", [{}, {"payload": {}}, {"execution_result": "text"}, {"execution_result": {}}]
)
def test_a_payload_without_stored_result_leaves_the_execution_result_open(
    poller: Any, event_data: BuildData, payload: Any
) -> None:
    assert seen_result(poller, event_data(payload=payload)) is None


def test_an_execution_result_of_the_event_itself_is_kept(
    poller: Any, event_data: BuildData
) -> None:
    data = event_data(
        execution_result={"success": False},
        payload={"execution_result": {"success": True}},
    )
    assert seen_result(poller, data).success is False


def test_the_payload_stays_the_envelope_it_came_as(poller: Any, event_data: BuildData) -> None:
    payload = {"payload": {"amount": 5}, "execution_result": {"success": True}}
    seen: list[Any] = []
    poller.on_event(seen.append)
    poller._process_event(event_data(payload=payload))
    assert seen[0].payload == payload
