"""Creates a task, takes its step and ends without a word: with exit code 7, or by being killed."""

import sys
import time

from tasker_core import TaskerClient, bootstrap_worker
from tasker_core import _tasker_core as native

bootstrap_worker()
task = TaskerClient().create_task("one_step", namespace="programs", context={"n": 1})
while native.poll_step_events() is None:
    time.sleep(0.002)
print(task.task_uuid, flush=True)
if sys.argv[1:] == ["wait"]:
    time.sleep(1000)
sys.exit(7)
