"""What programs do with the package when they test: mocks for contexts, hosts, parts and sleeps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest.mock import MagicMock, Mock, patch

from tasker_core import (
    Batchable,
    BatchAggregationScenario,
    BootstrapConfig,
    InProcessDomainEventPoller,
    StepHandler,
    StepHandlerResult,
    Worker,
    observability,
)
from tasker_core.domain_events import BaseSubscriber, SubscriberRegistry
from tasker_core.examples import (
    CheckpointYieldAggregatorHandler,
    CheckpointYieldAnalyzerHandler,
    CheckpointYieldWorkerHandler,
)
from tasker_core.types import ComponentHealth

from tests.python.reference.recording import Recording

seen = Recording()

# Contexts.


class Handler(StepHandler, Batchable):
    handler_name = "h"

    def call(self, context: Any) -> StepHandlerResult:
        return self.success({})


def context(**values: Any) -> MagicMock:
    made = MagicMock(step_inputs={}, step_config={}, input_data={}, dependency_results={})
    made.retry_count = 0
    made.event.task_sequence_step = {}
    made.configure_mock(**values)
    return made


def batch(start: int, end: int) -> dict[str, Any]:
    return {
        "cursor": {"batch_id": "1", "start_cursor": start, "end_cursor": end, "batch_size": 5},
        "batch_metadata": {"cursor_field": "id", "failure_strategy": "fail_fast"},
        "is_no_op": False,
    }


def stored(cursor: Any) -> Any:
    progress = {
        "cursor": cursor,
        "items_processed": 4,
        "accumulated_results": {"running_total": 10, "item_ids": ["a"]},
    }
    return Mock(task_sequence_step={"workflow_step": {"checkpoint": progress}})


handler = Handler()
legacy = {"batch_context": {"batch_id": "x", "cursor_config": {"end_cursor": 4}}}
for name, values in {
    "inputs": {"step_inputs": batch(5, 10)},
    "inputs and progress": {"step_inputs": batch(5, 10), "event": stored(7)},
    "no event": {"step_inputs": batch(5, 10), "event": None},
    "no inputs": {"step_inputs": None},
    "nothing set": {"step_inputs": MagicMock(), "step_config": MagicMock(get=lambda key: None)},
    "settings": {"step_config": legacy},
    "input": {"input_data": legacy},
    "empty settings": {"step_config": {"batch_context": {}}, "input_data": legacy},
}.items():
    seen.call(f"batch context of {name}", handler.get_batch_context, context(**values))
    seen.call(f"inputs of {name}", handler.get_batch_worker_inputs, context(**values))
    seen.call(f"no-op of {name}", handler.handle_no_op_worker, context(**values))

# Hosts of the mixin.

results = BatchAggregationScenario(False, {}, {"w": {}}, 1)
builds: dict[str, Callable[[Any], Any]] = {
    "analyzer": lambda host: host.batch_analyzer_success(
        host.create_batch_outcome(9, 5), {"kept": 1}
    ),
    "no batches": lambda host: host.no_batches_outcome("why", {"more": 1}),
    "worker": lambda host: host.batch_worker_success(items_processed=3),
    "worker of nothing": lambda host: host.batch_worker_success(),
    "partial": lambda host: host.batch_worker_partial_failure(host.create_worker_outcome(3), "m"),
    "no sum": lambda host: host.no_batches_aggregation_result({"zero": 0}),
    "sum": lambda host: host.aggregate_batch_worker_results(results),
}
for name, build in builds.items():
    host = type("Host", (Batchable,), {"success": MagicMock(), "failure": MagicMock()})()
    build(host)
    seen.note(
        f"host: {name}",
        [
            [list(call.args), call.kwargs]
            for mock in (host.success, host.failure)
            for call in mock.call_args_list
        ],
    )

# The bundled example.

for inputs in ({}, {"total_items": 0}, {"total_items": 7}):
    seen.call(
        f"example analyzer {inputs}",
        CheckpointYieldAnalyzerHandler().call,
        context(input_data=inputs, step_config={"worker_template_name": "w"}),
    )
for name, values in {
    "yields": {"input_data": {"items_per_checkpoint": 4}},
    "yields by settings": {"step_config": {"items_per_checkpoint": 3}},
    "resumes": {"input_data": {"items_per_checkpoint": 4}, "event": stored(4)},
    "fails": {"input_data": {"fail_after_items": 3}},
    "fails for good": {"input_data": {"fail_after_items": 3, "permanent_failure": True}},
    "has no batch": {"step_inputs": {}},
}.items():
    seen.call(
        f"example worker {name}",
        CheckpointYieldWorkerHandler().call,
        context(**{"step_inputs": batch(0, 10), **values}),
    )
seen.call(
    "example aggregator",
    CheckpointYieldAggregatorHandler().call,
    context(
        dependency_results={
            "analyze_items": {"result": {"batch_processing_outcome": {"type": "no_batches"}}}
        }
    ),
)

# Domain events.


class Subscriber(BaseSubscriber):
    def __init__(self) -> None:
        self._active = False
        self._subscriptions = []

    @classmethod
    def subscribes_to(cls) -> list[str]:
        return ["a.*"]

    def handle(self, event: dict[str, Any]) -> None: ...


class Unstoppable(Subscriber):
    def stop(self) -> None:
        raise RuntimeError("not now")


poller = Mock(spec=InProcessDomainEventPoller)
registry = SubscriberRegistry()
registry.register(Subscriber)
registry.register_instance(Unstoppable())
for time in ("first", "second"):
    seen.note(f"subscribers: {time} start", [registry.start_all(poller), registry.active_count])
seen.note("subscribers: registered callbacks", poller.on_event.call_count)
registry._active_subscribers[0].stop()
seen.note("subscribers: one stopped", registry.stats())
seen.note("subscribers: stopped", [registry.stop_all(), registry.active_count])


def refuse() -> None:
    raise RuntimeError("gone")


for name, poll in {"nothing": lambda: None, "an error": refuse}.items():
    looping = InProcessDomainEventPoller(polling_interval_ms=10)
    looping._running = True

    def wake(seconds: float, woken: InProcessDomainEventPoller = looping) -> None:
        woken._running = False

    with (
        patch("tasker_core.domain_events._poll_in_process_events", side_effect=poll),
        patch("tasker_core.domain_events.time.sleep", side_effect=wake) as sleep,
    ):
        looping._poll_loop()
    seen.note(f"poller: sleeps after {name}", [list(call.args) for call in sleep.call_args_list])
thread = Mock()
looping._running, looping._thread = True, thread
looping.stop(timeout=2.0)
seen.note("poller: joined", [list(thread.join.call_args.args), thread.join.call_args.kwargs])

# Worker and observability.

with patch.object(Worker, "_start") as start:
    Worker.start(["shop.handlers"], BootstrapConfig(namespace="shop"))
seen.note("worker: started by", [list(start.call_args.args), start.call_args.kwargs])
Worker._instance = None

cache = {"components": {"cache": ComponentHealth(name="cache", status="healthy")}}
with patch.object(observability, "_get_health_check", return_value=cache):
    seen.call("health of a component", observability.get_health_check)

seen.write()
