"""A program that polls for the steps of a deployment by itself.

usage: my_worker.py FOLDER: the program leaves the uuid of its task in a file
called task there, and goes on when there is one called go.
"""

import os
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from tasker_core import TaskerClient, bootstrap_worker, get_worker_status, stop_worker
from tasker_core import _tasker_core as native

T = TypeVar("T")


def until(ready: Callable[[], T | None]) -> T:
    """Wait until there is a value."""
    deadline = time.monotonic() + 60
    while (value := ready()) is None:
        assert time.monotonic() < deadline, "nothing within a minute"
        time.sleep(0.002)
    return value


def step_of(event: dict[str, Any]) -> dict[str, Any]:
    """Return the step as it was when it was claimed."""
    step: dict[str, Any] = event["task_sequence_step"]["workflow_step"]
    return step


folder = Path(sys.argv[1])
assert bootstrap_worker().success
status = get_worker_status()
assert status.running and status.supported_namespaces == ["polled"], status

client = TaskerClient()
run = str(uuid.uuid4())
try:
    task = client.create_task("one_step", namespace="polled", context={"run": run})
except RuntimeError:
    # Now and then the server says that it failed, although it has made the task.
    (task,) = (t for t in client.list_tasks(namespace="polled").tasks if t.context["run"] == run)
first = until(native.poll_step_events)
assert first["task_uuid"] == task.task_uuid
assert first["correlation_id"] == task.correlation_id
assert step_of(first)["checkpoint"] is None and not step_of(first)["attempts"]
(folder / "task").write_text(task.task_uuid)
until(lambda: (folder / "go").exists() or None)

checkpoint = {
    "step_uuid": first["step_uuid"],
    "cursor": {"page": "ü"},
    "items_processed": 25,
    "accumulated_results": {"sum": 325},
}
assert native.checkpoint_yield_step_event(str(uuid.uuid4()), checkpoint) is False
assert native.checkpoint_yield_step_event(first["event_id"], checkpoint) is True
assert native.complete_step_event(first["event_id"], {"success": True}) is False

second = until(native.poll_step_events)
assert second["event_id"] != first["event_id"] and second["step_uuid"] == first["step_uuid"]
assert step_of(second)["checkpoint"]["cursor"] == {"page": "ü"}
(running,) = client.list_task_steps(task.task_uuid)
assert (running.current_state, running.attempts) == ("in_progress", 1)

failure = {
    "success": False,
    "metadata": {"retryable": True},
    "error": {"message": "later", "error_type": "Later", "retryable": True},
}
assert native.complete_step_event(second["event_id"], failure)
third = until(native.poll_step_events)
assert step_of(third)["attempts"] == 1
kept = step_of(third)["checkpoint"]
assert kept["items_processed"] == 25 and kept["accumulated_results"] == {"sum": 325}
assert [entry["cursor"] for entry in kept["history"]] == [{"page": "ü"}]
assert native.poll_in_process_events() is None
assert native.complete_step_event(third["event_id"], {"success": True, "result": {"total": 325}})
assert native.complete_step_event(third["event_id"], {"success": True}) is False

done, told = (until(native.poll_in_process_events) for _ in range(2))
assert [done["event_name"], told["event_name"]] == ["work.done", "work.told"]
for event in (done, told):
    assert event["payload"]["payload"] == {"total": 325}
    assert str(event["metadata"]["task_uuid"]) == task.task_uuid
until(lambda: client.get_task(task.task_uuid).status == "complete" or None)
assert native.get_ffi_dispatch_metrics()["pending_count"] == 0
stop_worker()
assert not get_worker_status().running
print("done", os.getpid())
