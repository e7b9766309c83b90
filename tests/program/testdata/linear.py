"""Poller, bridge and subscriber run the steps of a task that the client has created."""

import importlib.util
import os
import time
from pathlib import Path

from tasker_core import (
    EventBridge,
    EventNames,
    EventPoller,
    HandlerRegistry,
    StepExecutionResult,
    StepExecutionSubscriber,
    TaskerClient,
    bootstrap_worker,
    stop_worker,
)
from tasker_core.client import StepResponse
from tasker_core.step_handler import StepHandler

folder = Path(os.environ["TASKER_TEMPLATE_PATH"])
spec = importlib.util.spec_from_file_location("linear_handlers", folder / "handlers.py")
assert spec is not None and spec.loader is not None
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
registry = HandlerRegistry.instance(skip_bootstrap=True)
registry._scan_module_for_handlers(module, StepHandler)

result = bootstrap_worker()
bridge = EventBridge.instance()
bridge.start()
subscriber = StepExecutionSubscriber(bridge, registry, result.worker_id)
subscriber.start()
sent: list[StepExecutionResult] = []
bridge.subscribe(EventNames.STEP_COMPLETION_SENT, sent.append)
poller = EventPoller()
poller.on_step_event(lambda event: bridge.publish(EventNames.STEP_EXECUTION_RECEIVED, event))
errors: list[Exception] = []
poller.on_error(errors.append)
poller.start()

client = TaskerClient()
task = client.create_task(
    "mathematical_sequence_py", namespace="linear_workflow_py", context={"even_number": 6}
)
deadline = time.monotonic() + 60
while client.get_task(task.task_uuid).execution_status != "all_complete":
    assert time.monotonic() < deadline, client.get_task(task.task_uuid)
    time.sleep(0.01)

steps: dict[str, StepResponse] = {
    step.name: step for step in client.list_task_steps(task.task_uuid)
}
values = []
for n in range(1, 5):
    step = steps[f"linear_step_{n}_py"]
    assert (step.current_state, step.attempts) == ("complete", 1), step
    stored = step.results
    assert stored is not None
    assert stored["metadata"]["worker_id"] == result.worker_id, stored
    values.append(stored["result"]["result"])
assert values == [36, 46, 138, 69.0], values
assert client.get_task(task.task_uuid).status == "complete"
assert [str(done.step_uuid) for done in sent] == [step.step_uuid for step in steps.values()]
assert not errors, errors

poller.stop()
subscriber.stop()
bridge.stop()
assert stop_worker() == "Worker system stopped"
print("done")
