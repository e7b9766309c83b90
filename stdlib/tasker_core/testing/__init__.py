"""Test step handlers and whole workflows, without a server or a database.

A step runs here on the way it takes in production: its event is written as
JSON, decoded, its handler is resolved and called, and what it returns is
written as JSON again. So a test sees what later steps will see.

>>> from tasker_core.step_handler import depends_on, inputs, step_handler
>>> @step_handler("load_prices")
... def load_prices():
...     return {"prices": [10, 5]}
>>> @step_handler("total")
... @depends_on(loaded="load_prices")
... @inputs("discount")
... def total(loaded, discount):
...     return {"total": sum(loaded["prices"]) - discount}

One step, with the results of earlier steps given:

>>> run = run_step(
...     total, input_data={"discount": 3}, dependency_results={"load_prices": {"prices": [1, 2]}}
... )
>>> run.assert_success()
{'total': 0}

A whole workflow, from a template or from what the decorators say:

>>> task = run_task(handlers=[load_prices, total], input_data={"discount": 3})
>>> task.status
'complete'
>>> task.steps["total"].result
{'total': 12}

The pytest plugin ``tasker_core.testing.plugin`` has fixtures; ``taskerpy
test`` loads it.
"""

from tasker_core.testing._events import step_context, step_event
from tasker_core.testing._steps import StepRun, run_step
from tasker_core.testing._tasks import TaskRun, TaskStep, run_task

__all__ = [
    "StepRun",
    "TaskRun",
    "TaskStep",
    "run_step",
    "run_task",
    "step_context",
    "step_event",
]
