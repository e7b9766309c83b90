"""A step that yields a checkpoint comes back under another event, with the checkpoint."""

import time
import uuid
from typing import Any

from tasker_core import TaskerClient, bootstrap_worker, stop_worker
from tasker_core import _tasker_core as native


def polled() -> dict[str, Any]:
    deadline = time.monotonic() + 60
    while (event := native.poll_step_events()) is None:
        assert time.monotonic() < deadline
        time.sleep(0.002)
    return event


def step_of(event: dict[str, Any]) -> dict[str, Any]:
    step: dict[str, Any] = event["task_sequence_step"]["workflow_step"]
    return step


bootstrap_worker()
client = TaskerClient()
task = client.create_task("one_step", namespace="programs", context={})
first = polled()
assert step_of(first)["checkpoint"] is None
checkpoint = {
    "step_uuid": first["step_uuid"],
    "cursor": {"page": "ü"},
    "items_processed": 25,
    "accumulated_results": {"sum": 2**70},
}
assert native.checkpoint_yield_step_event(str(uuid.uuid4()), checkpoint) is False
assert native.checkpoint_yield_step_event(first["event_id"], checkpoint) is True
assert native.checkpoint_yield_step_event(first["event_id"], checkpoint) is False
assert native.complete_step_event(first["event_id"], {"success": True}) is False

second = polled()
assert second["event_id"] != first["event_id"]
for key in ("task_uuid", "step_uuid", "correlation_id", "task_correlation_id"):
    assert second[key] == first[key], key
assert checkpoint.items() <= step_of(second)["checkpoint"].items()
assert step_of(second)["attempts"] == step_of(first)["attempts"] == 0
(running,) = client.list_task_steps(task.task_uuid)
assert (running.current_state, running.attempts) == ("in_progress", 1)

# The checkpoint outlives a failure.
failure = {
    "success": False,
    "metadata": {"retryable": True},
    "error": {"message": "later", "retryable": True},
}
assert native.complete_step_event(second["event_id"], failure)
third = polled()
kept = step_of(third)["checkpoint"]
assert kept["cursor"] == {"page": "ü"} and kept["items_processed"] == 25
assert kept["accumulated_results"] == {"sum": 2**70}
assert [entry["cursor"] for entry in kept["history"]] == [{"page": "ü"}]
assert step_of(third)["attempts"] == 1
assert native.complete_step_event(third["event_id"], {"success": True, "result": {}})
stop_worker()
print("done")
