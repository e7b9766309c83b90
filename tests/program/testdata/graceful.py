"""A worker on its way out gives no more steps but takes the results of those it gave."""

import time
from typing import Any

from tasker_core import (
    TaskerClient,
    bootstrap_worker,
    get_worker_status,
    is_worker_running,
    stop_worker,
)
from tasker_core import _tasker_core as native
from tasker_core.bootstrap import transition_to_graceful_shutdown


def polled() -> dict[str, Any]:
    deadline = time.monotonic() + 60
    while (event := native.poll_step_events()) is None:
        assert time.monotonic() < deadline
        time.sleep(0.002)
    return event


bootstrap_worker()
client = TaskerClient()
tasks = [client.create_task("one_step", namespace="programs", context={"n": n}) for n in range(3)]
event = polled()
assert transition_to_graceful_shutdown() == "Worker system transitioned to graceful shutdown"
assert is_worker_running()
status = get_worker_status()
assert not status.running and status.worker_core_status == "Stopped"
assert native.get_health_check()["status"] == "unhealthy"
assert native.poll_step_events() is None
assert native.complete_step_event(event["event_id"], {"success": True, "result": {"n": 1}})
assert transition_to_graceful_shutdown() == "Worker system transitioned to graceful shutdown"
assert stop_worker() == "Worker system stopped"

# What was not answered is there at the next start.
bootstrap_worker()
left = {polled()["task_uuid"] for _ in range(2)}
assert left == {task.task_uuid for task in tasks} - {event["task_uuid"]}
assert client.get_task(event["task_uuid"]).status == "complete"
stop_worker()
print("done")
