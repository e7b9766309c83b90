"""Starting and stopping a worker with everything it needs."""

import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock, patch

import pytest
from tasker_core import (
    BootstrapConfig,
    EventBridge,
    EventNames,
    EventPoller,
    HandlerRegistry,
    StepContext,
    StepExecutionSubscriber,
    StepHandler,
    StepHandlerResult,
    Worker,
)

from tests.python.more.fake_host import FakeHost

HANDLERS = """
from tasker_core import StepHandler


class Greet(StepHandler):
    handler_name = "greet"

    def call(self, context):
        return self.success({"greeting": f"Hello {context.get_input('name')}"})
"""


@pytest.fixture
def handler_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    name = "worker_life_handlers_package"
    package = tmp_path / name
    package.mkdir()
    (package / "__init__.py").write_text(HANDLERS)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield name
    sys.modules.pop(name, None)


def test_a_new_worker_has_started_nothing() -> None:
    worker = Worker()
    assert (worker.is_running, worker.worker_id) == (False, "")
    assert worker._bootstrap_result is None
    assert [worker._poller, worker._subscriber, worker._bridge] == [None, None, None]


def test_before_the_start_there_is_no_bootstrap_result() -> None:
    with pytest.raises(RuntimeError, match=r"^Worker has not been started$"):
        _ = Worker().bootstrap_result


def test_a_started_worker_runs(host: FakeHost) -> None:
    worker = Worker.start()
    assert worker.is_running
    assert worker.worker_id.startswith("python-worker-")
    assert worker.bootstrap_result.success
    assert Worker.instance() is worker


def test_the_parts_are_started_by_a_method_that_tests_replace() -> None:
    config = BootstrapConfig(namespace="shop")
    with patch.object(Worker, "_start") as start:
        worker = Worker.start(["shop.handlers"], config)
    start.assert_called_once_with(handler_packages=["shop.handlers"], config=config)
    assert Worker._instance is worker


def test_the_configuration_reaches_the_host(host: FakeHost) -> None:
    Worker.start(config=BootstrapConfig(namespace="shop"))
    assert host.configs[0]["namespace"] == "shop"


def test_steps_reach_their_handlers(host: FakeHost, handler_package: str) -> None:
    Worker.start(handler_packages=[handler_package])
    host.deliver("greet", {"name": "Ada"})
    assert host.completed.wait(30)
    assert host.completions[0]["result"] == {"greeting": "Hello Ada"}


def test_results_carry_the_workers_id(host: FakeHost, handler_package: str) -> None:
    worker = Worker.start(handler_packages=[handler_package])
    host.deliver("greet", {})
    assert host.completed.wait(30)
    assert host.completions[0]["metadata"]["worker_id"] == worker.worker_id


def test_given_packages_override_what_was_found_before(
    host: FakeHost, handler_package: str
) -> None:
    class Other(StepHandler):
        handler_name = "greet"

        def call(self, context: StepContext) -> StepHandlerResult:
            return self.success()

    HandlerRegistry.instance(skip_bootstrap=True).register("greet", Other)
    Worker.start(handler_packages=[handler_package])
    found = HandlerRegistry.instance().get_handler_class("greet")
    assert found is not None and found.__name__ == "Greet"


def test_a_package_that_does_not_exist_is_passed_over(host: FakeHost) -> None:
    assert Worker.start(handler_packages=["nonexistent.handlers"]).is_running


def test_starting_twice_returns_the_same_worker(host: FakeHost) -> None:
    worker = Worker.start()
    assert Worker.start(handler_packages=["ignored"]) is worker
    assert host.called("bootstrap_worker") == ["bootstrap_worker"]


def test_a_worker_can_be_started_again_after_it_was_stopped(host: FakeHost) -> None:
    first = Worker.start()
    first.stop()
    second = Worker.start()
    assert second is not first
    assert second.is_running


def test_stopping_ends_everything(host: FakeHost) -> None:
    worker = Worker.start()
    poller = worker._poller
    worker.stop()
    assert poller is not None and not poller.is_running
    assert not EventBridge.instance().is_active
    assert not worker.is_running
    assert not host.running
    assert Worker.instance() is None


def test_stopping_twice_is_fine(host: FakeHost) -> None:
    worker = Worker.start()
    worker.stop()
    worker.stop()
    assert host.called("stop_worker") == ["stop_worker"]


def test_stopping_what_never_started_is_fine(host: FakeHost) -> None:
    Worker().stop()
    assert host.calls == []


def test_the_parts_are_stopped_in_their_order(host: FakeHost) -> None:
    stopped = Mock()
    worker = Worker()
    worker._running = True
    worker._poller, worker._subscriber, worker._bridge = (
        stopped.poller,
        stopped.subscriber,
        stopped.bridge,
    )
    with patch("tasker_core.worker.stop_worker", stopped.host):
        worker.stop()
    assert [name for name, _, _ in stopped.mock_calls] == [
        "poller.stop",
        "subscriber.stop",
        "bridge.stop",
        "host",
    ]


def test_a_stop_with_missing_parts_is_fine(host: FakeHost) -> None:
    worker = Worker()
    worker._running = True
    worker.stop()
    assert host.called("stop_worker") == ["stop_worker"]


def test_a_with_block_stops_the_worker(host: FakeHost) -> None:
    with Worker.start() as worker:
        assert worker.is_running
    assert not worker.is_running


def test_a_with_block_lets_exceptions_through(host: FakeHost) -> None:
    with pytest.raises(KeyError), Worker.start() as worker:
        raise KeyError("x")
    assert not worker.is_running


def test_there_is_no_instance_before_the_start() -> None:
    assert Worker.instance() is None


def test_a_worker_that_does_not_run_is_no_instance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Worker, "_instance", Worker())
    assert Worker.instance() is None


def test_resetting_stops_the_worker(host: FakeHost) -> None:
    worker = Worker.start()
    Worker.reset_instance()
    assert not worker.is_running
    assert Worker._instance is None


def test_resetting_without_a_worker_is_fine() -> None:
    Worker.reset_instance()
    assert Worker._instance is None


def test_a_host_that_cannot_start_says_so_itself(host: FakeHost) -> None:
    host.failures["bootstrap_worker"] = RuntimeError("Bootstrap failed: no database")
    with pytest.raises(RuntimeError, match=r"^Bootstrap failed: no database$"):
        Worker.start()
    assert Worker._instance is None


def test_outside_the_binary_there_is_no_worker_to_start() -> None:
    with pytest.raises(RuntimeError, match=r"^Bootstrap failed: "):
        Worker.start()


def test_a_failing_part_takes_back_what_was_started(
    host: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A start that failed half-way left the host's worker and the bridge running."""
    monkeypatch.setattr(EventPoller, "start", Mock(side_effect=RuntimeError("no threads left")))
    with pytest.raises(RuntimeError, match=r"^no threads left$"):
        Worker.start()
    assert not host.running
    assert not EventBridge.instance().is_active
    assert Worker._instance is None


def test_a_failing_registry_takes_back_the_hosts_worker(
    host: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A start that failed before any part was there left the host's worker running."""
    monkeypatch.setattr(HandlerRegistry, "bootstrap_handlers", Mock(side_effect=KeyError("x")))
    with pytest.raises(KeyError):
        Worker.start()
    assert not host.running


def test_a_failing_start_leaves_a_worker_alone_that_ran_before(
    host: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A start that meets a running worker must not stop what it has not started."""
    host.running = True
    monkeypatch.setattr(EventPoller, "start", Mock(side_effect=RuntimeError("no threads left")))
    with pytest.raises(RuntimeError):
        Worker.start()
    assert host.running


def test_a_start_beside_a_running_worker_continues(host: FakeHost) -> None:
    host.running = True
    worker = Worker.start()
    assert worker.is_running
    assert worker.bootstrap_result.status == "already_running"


@pytest.mark.parametrize("part", [EventPoller, StepExecutionSubscriber, EventBridge])
def test_a_part_that_cannot_be_stopped_does_not_keep_the_others(
    host: FakeHost, monkeypatch: pytest.MonkeyPatch, part: type[Any]
) -> None:
    """A stop ended half-way if one part raised."""
    worker = Worker.start()
    poller = worker._poller
    original = part.stop

    def stop(self: Any) -> None:
        original(self)
        raise RuntimeError("stuck")

    with monkeypatch.context() as patched:
        patched.setattr(part, "stop", stop)
        worker.stop()
    assert poller is not None and not poller.is_running
    assert not EventBridge.instance().is_active
    assert not host.running


def test_a_host_that_cannot_stop_says_so_and_the_worker_is_forgotten(host: FakeHost) -> None:
    worker = Worker.start()
    host.failures["stop_worker"] = RuntimeError("busy")
    with pytest.raises(RuntimeError, match=r"^busy$"):
        worker.stop()
    assert not worker.is_running
    assert Worker._instance is None


def test_the_host_finishes_its_steps_before_it_is_stopped(host: FakeHost) -> None:
    """A stop never took the graceful way."""
    Worker.start().stop()
    assert host.called("transition_to_graceful_shutdown", "stop_worker") == [
        "transition_to_graceful_shutdown",
        "stop_worker",
    ]


def test_a_host_that_is_gone_already_is_not_asked_to_finish(host: FakeHost) -> None:
    worker = Worker.start()
    host.running = False
    worker.stop()
    assert host.called("transition_to_graceful_shutdown") == []


def test_a_graceful_way_that_fails_does_not_keep_the_host(host: FakeHost) -> None:
    host.failures["transition_to_graceful_shutdown"] = RuntimeError("no")
    Worker.start().stop()
    assert not host.running


def test_starting_on_many_threads_starts_one_worker(host: FakeHost) -> None:
    """The worker of the process was made without a lock."""
    together, workers = threading.Barrier(8), []

    def start() -> None:
        together.wait(30)
        workers.append(Worker.start())

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(workers) == 8 and len(set(map(id, workers))) == 1
    assert host.called("bootstrap_worker") == ["bootstrap_worker"]


def test_stopping_on_many_threads_stops_once(host: FakeHost) -> None:
    """Two threads that stopped a worker at once stopped it twice."""
    worker, together = Worker.start(), threading.Barrier(8)

    def stop() -> None:
        together.wait(30)
        worker.stop()

    threads = [threading.Thread(target=stop) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert host.called("stop_worker") == ["stop_worker"]


def test_a_handler_may_stop_the_worker(host: FakeHost) -> None:
    stopped = threading.Event()

    class Stop(StepHandler):
        handler_name = "stop"

        def call(self, context: StepContext) -> StepHandlerResult:
            worker = Worker.instance()
            assert worker is not None
            worker.stop()
            stopped.set()
            return self.success()

    HandlerRegistry.instance(skip_bootstrap=True).register("stop", Stop)
    Worker.start()
    host.deliver("stop", {})
    assert stopped.wait(30)
    assert Worker.instance() is None


def test_received_steps_are_published(host: FakeHost) -> None:
    received, arrived = [], threading.Event()

    def listen(event: Any) -> None:
        received.append(event)
        arrived.set()

    Worker.start()
    EventBridge.instance().subscribe(EventNames.STEP_EXECUTION_RECEIVED, listen)
    host.deliver("nobody", {"n": 1})
    assert arrived.wait(30)
    assert received[0].task_sequence_step["task"]["task"]["context"] == {"n": 1}
