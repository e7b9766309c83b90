"""Without a worker, what needs one says so, and what is wrong with arguments comes first."""

import uuid
from collections.abc import Callable
from typing import Any

from tasker_core import EventPoller, TaskerClient
from tasker_core import _tasker_core as native
from tasker_core.bootstrap import transition_to_graceful_shutdown

ID = str(uuid.uuid4())
REQUEST = {
    "name": "n",
    "namespace": "s",
    "version": "1",
    "context": {},
    "initiator": "i",
    "source_system": "s",
    "reason": "r",
}


def raises(kind: type[Exception], text: str, call: Callable[..., Any], *args: Any) -> None:
    try:
        answer = call(*args)
    except Exception as error:
        assert type(error) is kind, (call, error)
        assert str(error).startswith(text), (call, error)
    else:
        raise AssertionError(f"{call} returned {answer}")


NO_WORKER = "Worker not initialized. Call bootstrap_worker() first."
raises(RuntimeError, NO_WORKER, native.poll_step_events)
raises(RuntimeError, NO_WORKER, native.complete_step_event, ID, {})
raises(
    RuntimeError,
    NO_WORKER,
    native.checkpoint_yield_step_event,
    ID,
    {"step_uuid": ID, "cursor": 1, "items_processed": 1},
)
raises(RuntimeError, NO_WORKER, native.get_ffi_dispatch_metrics)
raises(RuntimeError, NO_WORKER, native.check_starvation_warnings)
raises(RuntimeError, NO_WORKER, native.cleanup_timeouts)
raises(RuntimeError, NO_WORKER, native.poll_in_process_events)
raises(RuntimeError, NO_WORKER, native.get_health_check)
raises(RuntimeError, NO_WORKER, native.get_metrics)
raises(RuntimeError, NO_WORKER, native.get_worker_config)
raises(RuntimeError, NO_WORKER, native.client_health_check)
raises(RuntimeError, NO_WORKER, native.client_create_task, REQUEST)
raises(RuntimeError, NO_WORKER, native.client_get_task, ID)
raises(RuntimeError, NO_WORKER, transition_to_graceful_shutdown)

raises(ValueError, "Invalid event_id format: ", native.complete_step_event, "no uuid", {})
raises(
    ValueError,
    "Conversion error: Failed to convert completion data:",
    native.complete_step_event,
    ID,
    {"success": "perhaps"},
)
raises(ValueError, "Invalid UUID: ", native.client_get_task, "no uuid")
raises(ValueError, "Invalid task request: ", native.client_create_task, {"name": "n"})
raises(TypeError, "", native.complete_step_event, 7, {})
raises(TypeError, "", native.complete_step_event, ID, [])

assert EventPoller().get_metrics() is None
assert TaskerClient() is not None
native.log_info("nobody needs a worker to log", {"key": 1})
print("done")
