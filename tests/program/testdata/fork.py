"""A forked child may end as a program does; the worker stays with its parent."""

import os
import sys
import time

from tasker_core import TaskerClient, bootstrap_worker, is_worker_running, stop_worker
from tasker_core import _tasker_core as native

bootstrap_worker()
for code in (0, 4):
    child = os.fork()
    if child == 0:
        try:
            native.poll_step_events()
        except RuntimeError as error:
            assert "forked process" in str(error)
            sys.exit(code)
        sys.exit(99)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == code

assert is_worker_running()
task = TaskerClient().create_task("one_step", namespace="programs", context={})
deadline = time.monotonic() + 60
while (event := native.poll_step_events()) is None:
    assert time.monotonic() < deadline
    time.sleep(0.002)
assert event["task_uuid"] == task.task_uuid
assert native.complete_step_event(event["event_id"], {"success": True, "result": {}})
assert stop_worker() == "Worker system stopped"
print("done")
