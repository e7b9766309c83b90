"""Each step is answered once, by the id of its event."""

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


bootstrap_worker()
client = TaskerClient()
task = client.create_task("one_step", namespace="programs", context={"n": 2**70, "text": "grüße"})
event = polled()
assert set(event) == {
    "event_id",
    "task_uuid",
    "step_uuid",
    "correlation_id",
    "task_correlation_id",
    "task_sequence_step",
}
assert event["task_uuid"] == task.task_uuid
assert event["correlation_id"] == event["task_correlation_id"] == task.correlation_id
step = event["task_sequence_step"]
assert step["task"]["task"]["context"] == {"n": 2**70, "text": "grüße"}
assert step["workflow_step"]["name"] == "work"
assert step["step_definition"]["handler"]["callable"] == "work"
assert native.poll_step_events() is None

metrics = native.get_ffi_dispatch_metrics()
assert metrics["pending_count"] == 1 and metrics["oldest_event_id"] == event["event_id"]
assert native.get_metrics()["steps_in_progress"] == 1

assert native.complete_step_event(str(uuid.uuid4()), {}) is False
failure = {
    "success": False,
    "status": "retryable_error",
    "metadata": {"retryable": True},
    "error": {"message": "not yet", "error_type": "TooEarly", "retryable": True},
}
try:
    native.complete_step_event(event["event_id"], {"success": True, "metadata": "none"})
except ValueError as error:
    assert str(error).startswith("Conversion error: Failed to convert completion data:")
else:
    raise AssertionError("a completion that cannot be read was taken")
# The id is read in any of its forms.
assert native.complete_step_event(f"urn:uuid:{event['event_id']}", failure) is True
assert native.complete_step_event(event["event_id"], failure) is False

second = polled()
assert second["step_uuid"] == event["step_uuid"] and second["event_id"] != event["event_id"]
assert second["task_sequence_step"]["workflow_step"]["attempts"] == 1
assert native.complete_step_event(second["event_id"], {"success": True, "result": {"n": 2**70}})

deadline = time.monotonic() + 60
while client.get_task(task.task_uuid).status != "complete":
    assert time.monotonic() < deadline
    time.sleep(0.002)
(done,) = client.list_task_steps(task.task_uuid)
assert (done.current_state, done.attempts) == ("complete", 2)
assert done.results is not None and done.results["result"] == {"n": 2**70}

metrics = native.get_ffi_dispatch_metrics()
assert metrics == {
    "pending_count": 0,
    "oldest_pending_age_ms": None,
    "newest_pending_age_ms": None,
    "oldest_event_id": None,
    "starvation_detected": False,
    "starving_event_count": 0,
}
counts = native.get_metrics()
assert (counts["steps_processed"], counts["steps_succeeded"], counts["steps_failed"]) == (2, 1, 1)
assert native.get_health_check()["status"] == "healthy"
assert native.get_worker_config()["supported_namespaces"] == ["programs"]
assert native.check_starvation_warnings() is True
stop_worker()
print("done")
