"""The class Worker starts and stops all parts as one, again and again."""

import sys
import time
import types

from tasker_core import (
    StepContext,
    StepHandler,
    StepHandlerResult,
    TaskerClient,
    Worker,
    is_worker_running,
)


class Work(StepHandler):
    """Doubles a number; asynchronous, as handlers may be."""

    handler_name = "work"

    async def call(self, context: StepContext) -> StepHandlerResult:
        return self.success({"double": 2 * context.get_input("n")})


handlers = types.ModuleType("program_handlers")
handlers.Work = Work  # type: ignore[attr-defined]
sys.modules["program_handlers"] = handlers

assert Worker.instance() is None
with Worker.start(handler_packages=["nonexistent.handlers", "program_handlers"]) as worker:
    assert worker.is_running and worker.bootstrap_result.success
    assert worker.worker_id == worker.bootstrap_result.worker_id != ""
    assert Worker.start() is worker is Worker.instance()
    client = TaskerClient()
    task = client.create_task("one_step", namespace="programs", context={"n": 21})
    deadline = time.monotonic() + 60
    while client.get_task(task.task_uuid).status != "complete":
        assert time.monotonic() < deadline, client.get_task(task.task_uuid)
        time.sleep(0.005)
    (step,) = client.list_task_steps(task.task_uuid)
    assert step.results is not None and step.results["result"] == {"double": 42}
assert not worker.is_running and not is_worker_running() and Worker.instance() is None
worker.stop()

second = Worker.start(handler_packages=["program_handlers"])
assert second is not worker and second.is_running and second.worker_id != worker.worker_id
assert client.get_task(task.task_uuid).status == "complete"
Worker.reset_instance()
assert not is_worker_running() and Worker.instance() is None
Worker.reset_instance()
print("done")
