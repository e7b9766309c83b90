"""Finishes the task that an earlier program has left, named as argument."""

import sys
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
event = polled()
assert event["task_uuid"] == sys.argv[1]
step = event["task_sequence_step"]["workflow_step"]
assert step["attempts"] == 1
assert step["results"]["error"]["error_type"] == "worker_lost"
assert native.complete_step_event(event["event_id"], {"success": True, "result": {}})
deadline = time.monotonic() + 60
while TaskerClient().get_task(event["task_uuid"]).status != "complete":
    assert time.monotonic() < deadline
    time.sleep(0.002)
stop_worker()
print("done")
