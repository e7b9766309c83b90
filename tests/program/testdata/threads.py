"""Many threads may poll and answer at the same time; no step is lost and none comes twice."""

import threading
import time

from tasker_core import TaskerClient, bootstrap_worker, stop_worker
from tasker_core import _tasker_core as native

TASKS, THREADS = 60, 8
bootstrap_worker()
client = TaskerClient()
counting = threading.Lock()
answered: list[str] = []
problems: list[BaseException] = []
ended = threading.Event()


def work() -> None:
    try:
        while not ended.is_set():
            event = native.poll_step_events()
            if event is None:
                time.sleep(0.001)
                continue
            n = event["task_sequence_step"]["task"]["task"]["context"]["n"]
            native.log_debug("working", {"n": n})
            assert native.complete_step_event(
                event["event_id"], {"success": True, "result": {"n": n}}
            )
            native.get_ffi_dispatch_metrics()
            with counting:
                answered.append(event["step_uuid"])
    except BaseException as problem:
        problems.append(problem)


threads = [threading.Thread(target=work, daemon=True) for _ in range(THREADS)]
for thread in threads:
    thread.start()
tasks = [
    client.create_task("one_step", namespace="programs", context={"n": n}) for n in range(TASKS)
]
deadline = time.monotonic() + 120
while client.list_tasks(limit=1, status="complete").pagination.total_count < TASKS:
    assert time.monotonic() < deadline, problems
    time.sleep(0.01)
ended.set()
for thread in threads:
    thread.join()
assert not problems, problems
assert len(answered) == len(set(answered)) == TASKS
for n, task in enumerate(tasks):
    (step,) = client.list_task_steps(task.task_uuid)
    assert step.attempts == 1 and step.results is not None and step.results["result"] == {"n": n}
assert native.get_metrics()["steps_succeeded"] == TASKS
stop_worker()
print("done")
