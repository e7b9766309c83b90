"""An event that a polled handler publishes by itself names the handler's step and task."""

import time
from typing import Any

import tasker_core
from tasker_core import (
    HandlerRegistry,
    StepContext,
    StepHandler,
    StepHandlerResult,
    TaskerClient,
    Worker,
)


class Work(StepHandler):
    """Publishes an event."""

    handler_name = "work"

    def call(self, context: StepContext) -> StepHandlerResult:
        tasker_core.publish_domain_event("stock.low", {"left": 3})
        return self.success({})


def next_event() -> dict[str, Any]:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        event = tasker_core.poll_in_process_events()
        if event is not None:
            return event
        time.sleep(0.01)
    raise AssertionError("no event")


with Worker.start():
    HandlerRegistry.instance().register("work", Work)
    task = TaskerClient().create_task("one_step", namespace="programs")
    metadata = next_event()["metadata"]
    assert metadata["task_uuid"] == task.task_uuid, metadata
    assert metadata["correlation_id"] == task.correlation_id, metadata
    assert (metadata["step_name"], metadata["fired_by"]) == ("work", "work"), metadata
    tasker_core.publish_domain_event("stock.low", {"left": 2})
    assert next_event()["metadata"]["step_name"] is None
print("done")
