"""The thread that polls for steps (§9)."""

import threading
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import pytest
from tasker_core import EventPoller, FfiDispatchMetrics, event_poller
from tasker_core.event_poller import ErrorCallback, MetricsCallback, StepEventCallback

from tests.python.core.conftest import Calls

EVENT = {
    "event_id": "018f0000-0000-7000-8000-000000000009",
    "task_uuid": "t-1",
    "step_uuid": "018f0000-0000-7000-8000-000000000002",
    "correlation_id": "c-1",
    "task_sequence_step": {},
}
METRICS = {"pending_count": 1}


class Native:
    """The native functions that a poller calls."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.poll = self._replace(monkeypatch, "_poll_step_events", None)
        self.warn = self._replace(monkeypatch, "_check_starvation_warnings", True)
        self.metrics = self._replace(monkeypatch, "_get_ffi_dispatch_metrics", METRICS)
        self.cleanup = self._replace(monkeypatch, "_cleanup_timeouts", 0)
        self.complete = self._replace(monkeypatch, "_complete_step_event", True)

    def _replace(self, monkeypatch: pytest.MonkeyPatch, name: str, answer: Any) -> mock.Mock:
        function = mock.Mock(return_value=answer)
        monkeypatch.setattr(event_poller, name, function)
        return function


@pytest.fixture
def native(monkeypatch: pytest.MonkeyPatch) -> Native:
    return Native(monkeypatch)


def run_loop(poller: EventPoller, native: Native, *answers: Any) -> None:
    """Run the loop in this thread until the answers to its polls are used up."""
    waiting = iter(answers)

    def poll() -> Any:
        answer = next(waiting)
        if poller._poll_count >= len(answers):
            poller._running = False
        if isinstance(answer, Exception):
            raise answer
        return answer

    native.poll.side_effect = poll
    poller._running = True
    poller._poll_loop()


def quick(**intervals: int) -> EventPoller:
    return EventPoller(polling_interval_ms=0, **intervals)


def test_the_defaults() -> None:
    poller = EventPoller()
    assert poller._polling_interval == 0.01
    assert (poller._starvation_check_interval, poller._cleanup_interval) == (100, 1000)
    assert (poller._running, poller._thread, poller._poll_count) == (False, None, 0)
    assert (poller._step_event_callbacks, poller._metrics_callbacks) == ([], [])
    assert poller._error_callbacks == []
    assert EventPoller.DEFAULT_POLL_INTERVAL_MS == 10
    assert EventPoller.DEFAULT_STARVATION_CHECK_INTERVAL == 100
    assert EventPoller.DEFAULT_CLEANUP_INTERVAL == 1000


def test_intervals_as_given() -> None:
    poller = EventPoller(20, 50, 60)
    assert poller._polling_interval == 0.02
    assert (poller._starvation_check_interval, poller._cleanup_interval) == (50, 60)


@pytest.mark.parametrize(
    ("name", "value"),
    [("polling_interval_ms", -1), ("starvation_check_interval", 0), ("cleanup_interval", 0)],
)
def test_intervals_that_would_fail_in_every_round_are_refused(name: str, value: int) -> None:
    with pytest.raises(ValueError, match=f"{name} must be at least"):
        EventPoller(**{name: value})


def test_the_types_of_callbacks_are_exported() -> None:
    assert all((StepEventCallback, MetricsCallback, ErrorCallback))


def test_an_event_reaches_every_callback_in_order(native: Native, calls: Calls) -> None:
    poller = quick()
    poller.on_step_event(lambda event: calls("first", event.event_id))
    poller.on_step_event(lambda event: calls("second", event.event_id))
    run_loop(poller, native, EVENT)
    assert calls == [("first", EVENT["event_id"]), ("second", EVENT["event_id"])]


def test_a_failing_callback_does_not_stop_the_others(native: Native, calls: Calls) -> None:
    error = ValueError("no")
    poller = quick()
    poller.on_step_event(mock.Mock(side_effect=error))
    poller.on_step_event(lambda event: calls(event.event_id))
    poller.on_error(calls)
    run_loop(poller, native, EVENT)
    assert calls == [(error,), (EVENT["event_id"],)]


def test_after_an_event_the_next_poll_comes_at_once(native: Native) -> None:
    poller = EventPoller(polling_interval_ms=3_600_000)
    run_loop(poller, native, EVENT, EVENT)
    assert poller._poll_count == 2


def test_without_an_event_the_poller_waits(native: Native) -> None:
    poller = EventPoller(polling_interval_ms=20)
    with mock.patch("tasker_core.event_poller.time.sleep") as sleep:
        run_loop(poller, native, None, EVENT, None)
    assert [call.args for call in sleep.call_args_list] == [(0.02,), (0.02,)]


def test_a_mock_of_sleep_can_end_the_loop(native: Native) -> None:
    poller = EventPoller(polling_interval_ms=3_600_000)
    poller._running = True

    def sleep(seconds: float) -> None:
        poller._running = poller._poll_count < 3

    with mock.patch("tasker_core.event_poller.time.sleep", side_effect=sleep):
        poller._poll_loop()
    assert native.poll.call_count == 3


def test_a_long_wait_is_made_of_short_ones(native: Native) -> None:
    poller = EventPoller(polling_interval_ms=600)
    poller._running = True
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        poller._running = sum(waits) < 0.599

    with mock.patch("tasker_core.event_poller.time.sleep", side_effect=sleep):
        poller._poll_loop()
    assert sum(waits) == pytest.approx(0.6)
    assert max(waits) == 0.25


def test_after_an_error_the_poller_waits_ten_times_as_long(native: Native, calls: Calls) -> None:
    error = RuntimeError("no worker")
    poller = EventPoller(20, 1, 1)
    poller.on_error(calls)
    with mock.patch("tasker_core.event_poller.time.sleep") as sleep:
        run_loop(poller, native, error, EVENT)
    sleep.assert_called_once_with(0.2)
    assert calls == [(error,)]
    assert native.warn.call_count == native.cleanup.call_count == 1


def test_an_error_callback_that_fails_is_passed_over(native: Native, calls: Calls) -> None:
    poller = quick()
    poller.on_error(mock.Mock(side_effect=ValueError))
    poller.on_error(calls)
    run_loop(poller, native, RuntimeError("x"), EVENT)
    assert len(calls) == 1


def test_a_look_for_starving_steps_comes_every_so_many_polls(native: Native) -> None:
    run_loop(quick(starvation_check_interval=2), native, *[EVENT] * 5)
    assert (native.warn.call_count, native.metrics.call_count) == (2, 2)


def test_metrics_reach_their_callbacks(native: Native, calls: Calls) -> None:
    poller = quick(starvation_check_interval=1)
    poller.on_metrics(mock.Mock(side_effect=ValueError))
    poller.on_metrics(calls)
    run_loop(poller, native, EVENT)
    assert calls == [(FfiDispatchMetrics(pending_count=1),)]


def test_starving_steps_are_warned_about(native: Native, caplog: pytest.LogCaptureFixture) -> None:
    native.metrics.return_value = {
        "pending_count": 3,
        "starvation_detected": True,
        "starving_event_count": 2,
    }
    run_loop(quick(starvation_check_interval=1), native, EVENT)
    assert "2 steps wait for Python for too long" in caplog.text


def test_a_failing_look_for_starving_steps_is_swallowed(native: Native, calls: Calls) -> None:
    native.warn.side_effect = RuntimeError("no worker")
    poller = quick(starvation_check_interval=1)
    poller.on_error(calls)
    poller.on_metrics(calls)
    run_loop(poller, native, EVENT)
    assert calls == []


def test_a_clean_up_comes_every_so_many_polls(
    native: Native, caplog: pytest.LogCaptureFixture
) -> None:
    native.cleanup.return_value = 2
    run_loop(quick(cleanup_interval=2), native, *[EVENT] * 5)
    assert native.cleanup.call_count == 2
    assert "2 steps timed out waiting for Python" in caplog.text


def test_a_failing_clean_up_is_swallowed(native: Native, calls: Calls) -> None:
    native.cleanup.side_effect = RuntimeError("no worker")
    poller = quick(cleanup_interval=1)
    poller.on_error(calls)
    run_loop(poller, native, EVENT)
    assert calls == []


def test_metrics_on_request(native: Native) -> None:
    assert EventPoller().get_metrics() == FfiDispatchMetrics(pending_count=1)
    native.metrics.side_effect = RuntimeError("no worker")
    assert EventPoller().get_metrics() is None


def test_without_a_worker_there_are_no_metrics() -> None:
    assert EventPoller().get_metrics() is None


# §15.2: an event that cannot be validated is lost until a server-side time-out.


def test_an_event_that_cannot_be_read_fails_its_step(native: Native, calls: Calls) -> None:
    poller = quick()
    poller.on_error(calls)
    run_loop(poller, native, {**EVENT, "task_sequence_step": None})
    assert len(calls) == 1
    event_id, completion = native.complete.call_args.args
    assert event_id == EVENT["event_id"]
    assert (completion["success"], completion["metadata"]) == (False, {"retryable": True})
    assert completion["error"]["error_type"] == "invalid_event"


@pytest.mark.parametrize("event", [{}, "text"])
def test_an_event_without_an_id_is_only_reported(
    native: Native, calls: Calls, event: Any, caplog: pytest.LogCaptureFixture
) -> None:
    poller = quick()
    poller.on_error(calls)
    run_loop(poller, native, event)
    assert len(calls) == 1
    assert "cannot be failed either" in caplog.text


@pytest.fixture
def polling(native: Native) -> Iterator[Callable[[EventPoller], EventPoller]]:
    """Start pollers, and stop them after the test."""
    started: list[EventPoller] = []

    def start(poller: EventPoller) -> EventPoller:
        poller.start()
        started.append(poller)
        return poller

    yield start
    for poller in started:
        poller.stop()


Start = Callable[[EventPoller], EventPoller]


def test_a_started_poller_runs_on_a_daemon_thread(polling: Start) -> None:
    poller = polling(EventPoller())
    assert poller.is_running is True
    assert poller._thread is not None
    assert (poller._thread.name, poller._thread.daemon) == ("tasker-event-poller", True)


def test_a_second_start_is_refused(polling: Start) -> None:
    poller = polling(EventPoller())
    with pytest.raises(RuntimeError, match=r"^EventPoller already running$"):
        poller.start()


def test_a_start_is_refused_if_only_the_flag_is_set() -> None:
    poller = EventPoller()
    poller._running = True
    with pytest.raises(RuntimeError, match="already running"):
        poller.start()
    assert poller.is_running is False


def test_stopping_an_idle_poller_is_silent() -> None:
    EventPoller().stop()


def test_a_stopped_poller_can_be_started_again(polling: Start, native: Native) -> None:
    poller = polling(EventPoller(polling_interval_ms=1))
    poller.stop()
    assert (poller._running, poller._thread, poller.is_running) == (False, None, False)
    before = poller._poll_count
    polled = threading.Event()
    native.poll.side_effect = lambda: polled.set()
    poller.start()
    assert polled.wait(10)
    poller.stop()
    assert poller._poll_count > before


def test_stopping_does_not_wait_for_the_next_poll(polling: Start) -> None:
    poller = polling(EventPoller(polling_interval_ms=3_600_000))
    thread = poller._thread
    assert thread is not None
    poller.stop(timeout=10)
    assert not thread.is_alive()


def test_a_callback_may_stop_its_poller(polling: Start, native: Native) -> None:
    poller = EventPoller()
    stopped = threading.Event()

    def stop(_: object) -> None:
        poller.stop()
        stopped.set()

    poller.on_step_event(stop)
    native.poll.return_value = EVENT
    polling(poller)
    assert stopped.wait(10)
    assert poller.is_running is False


def test_a_callback_that_does_not_end_is_warned_about(
    polling: Start, native: Native, caplog: pytest.LogCaptureFixture
) -> None:
    poller = EventPoller()
    entered, leave = threading.Event(), threading.Event()

    def wait(_: object) -> None:
        entered.set()
        leave.wait(10)

    poller.on_step_event(wait)
    native.poll.return_value = EVENT
    polling(poller)
    assert entered.wait(10)
    poller.stop(timeout=0)
    leave.set()
    assert "a callback is still running" in caplog.text


def test_a_thread_that_cannot_be_started_leaves_the_poller_stopped() -> None:
    poller = EventPoller()
    with (
        mock.patch.object(threading.Thread, "start", side_effect=RuntimeError("no thread")),
        pytest.raises(RuntimeError, match="no thread"),
    ):
        poller.start()
    assert (poller._running, poller._thread) == (False, None)
