"""Steps that the program does not answer in time are failed when it cleans up, and come again."""

import time
from typing import Any

from tasker_core import TaskerClient, bootstrap_worker, stop_worker
from tasker_core import _tasker_core as native


def polled() -> dict[str, Any]:
    deadline = time.monotonic() + 60
    while (event := native.poll_step_events()) is None:
        assert time.monotonic() < deadline
        time.sleep(0.002)
    return event


bootstrap_worker()
client = TaskerClient()
task = client.create_task("hasty", namespace="programs", context={})
late = polled()
assert native.cleanup_timeouts() == 0
deadline = time.monotonic() + 60
while native.cleanup_timeouts() == 0:
    assert time.monotonic() < deadline
    time.sleep(0.01)
assert native.cleanup_timeouts() == 0
assert native.complete_step_event(late["event_id"], {"success": True}) is False

again = polled()
before = again["task_sequence_step"]["workflow_step"]
assert before["attempts"] == 1
assert before["results"]["error"]["error_type"] == "timeout"
assert before["results"]["error"]["message"] == "FFI handler timed out after 1000ms"
assert before["results"]["metadata"]["retryable"] is True
assert native.complete_step_event(again["event_id"], {"success": True, "result": {}})
deadline = time.monotonic() + 60
while client.get_task(task.task_uuid).status != "complete":
    assert time.monotonic() < deadline
    time.sleep(0.002)
stop_worker()
print("done")
