"""What one step costs in Python: decode, resolve, call, encode, in microseconds.

Run it with the interpreter to be measured, and ``stdlib`` importable::

    PYTHONPATH=stdlib python tests/bench/lane_step.py [--profile]

The event is one of the linear example: 1.5 KB, one dependency, a real
``StepContext`` and ``StepHandlerResult``. The best of several rounds is
printed, in time of the processor: what else the machine does must not count.
"""

import argparse
import asyncio
import cProfile
import json
import pstats
import time

from tasker_core import HandlerRegistry, StepContext, StepHandler, StepHandlerResult
from tasker_core.step_handler import depends_on, inputs, step_handler
from taskerpy_host import lane

STEPS = 5_000
ROUNDS = 7


class Square(StepHandler):
    handler_name = "square"

    def call(self, context: StepContext) -> StepHandlerResult:
        before = context.get_dependency_result("linear_step_1")
        number = before["result"] if before else context.get_input("even_number")
        return self.success(
            {"result": number * number, "operation": "square", "step_type": "intermediate"},
            metadata={"operation": "square", "input_refs": {"even_number": "task.context"}},
        )


class Nothing(StepHandler):
    handler_name = "nothing"

    def call(self, context: StepContext) -> StepHandlerResult:
        return self.success({})


class Failing(StepHandler):
    handler_name = "failing"

    def call(self, context: StepContext) -> StepHandlerResult:
        raise RuntimeError("gateway is down")


@step_handler("square_function")
@depends_on(before="linear_step_1")
@inputs("even_number")
def square_function(before: dict[str, int], even_number: int) -> dict[str, object]:
    return {"result": before["result"] ** 2, "operation": "square"}


@step_handler("later")
async def later(context: StepContext) -> dict[str, object]:
    await asyncio.sleep(0)
    return {}


def event(handler: str) -> bytes:
    task, step, correlation = (f"018f0000-0000-7000-8000-00000000000{n}" for n in (1, 2, 3))
    stored = {
        "step_uuid": task,
        "success": True,
        "status": "completed",
        "result": {"result": 36, "operation": "square", "step_type": "initial"},
        "metadata": {
            "execution_time_ms": 1,
            "handler_version": None,
            "retryable": False,
            "completed_at": "2026-02-03T10:00:00.123456Z",
            "worker_id": "bench",
            "worker_hostname": None,
            "started_at": None,
            "custom": {},
            "error_code": None,
            "error_type": None,
            "context": {},
        },
        "error": None,
        "orchestration_metadata": None,
    }
    return json.dumps(
        {
            "event_id": correlation,
            "task_uuid": task,
            "step_uuid": step,
            "correlation_id": correlation,
            "task_correlation_id": correlation,
            "task_sequence_step": {
                "task": {
                    "task": {
                        "task_uuid": task,
                        "named_task_uuid": task,
                        "complete": False,
                        "requested_at": "2026-02-03T10:00:00.000000",
                        "initiator": "bench",
                        "source_system": "bench",
                        "reason": "measure",
                        "tags": [],
                        "context": {"even_number": 6},
                        "identity_hash": "0" * 32,
                        "priority": 0,
                        "correlation_id": correlation,
                        "parent_correlation_id": None,
                        "completed_at": None,
                        "created_at": "2026-02-03T10:00:00.000000",
                        "updated_at": "2026-02-03T10:00:00.000000",
                    },
                    "task_name": "mathematical_sequence_py",
                    "task_version": "1.0.0",
                    "namespace_name": "linear_workflow_py",
                },
                "workflow_step": {
                    "workflow_step_uuid": step,
                    "task_uuid": task,
                    "named_step_uuid": step,
                    "name": "linear_step_2",
                    "template_step_name": "linear_step_2",
                    "retryable": True,
                    "max_attempts": 3,
                    "in_process": False,
                    "processed": False,
                    "processed_at": None,
                    "attempts": 0,
                    "last_attempted_at": None,
                    "backoff_request_seconds": None,
                    "inputs": None,
                    "results": None,
                    "checkpoint": None,
                    "created_at": "2026-02-03T10:00:00.000000",
                    "updated_at": "2026-02-03T10:00:00.000000",
                },
                "dependency_results": {"linear_step_1": stored},
                "step_definition": {
                    "name": "linear_step_2",
                    "description": "Squares the number",
                    "handler": {
                        "callable": handler,
                        "method": None,
                        "resolver": None,
                        "initialization": {},
                    },
                    "type": "standard",
                    "system_dependency": None,
                    "dependencies": ["linear_step_1"],
                    "retry": {
                        "retryable": True,
                        "max_attempts": 3,
                        "backoff": "exponential",
                        "backoff_base_ms": 1000,
                        "max_backoff_ms": 30000,
                    },
                    "timeout_seconds": 30,
                    "publishes_events": [],
                    "batch_config": None,
                },
            },
        }
    ).encode()


def best_microseconds(data: bytes) -> float:
    run = lane.run_step
    best = float("inf")
    for _ in range(ROUNDS):
        started = time.thread_time_ns()
        for _ in range(STEPS):
            run(data)
        best = min(best, (time.thread_time_ns() - started) / STEPS / 1000)
    return best


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--profile", action="store_true", help="profile the first kind of step")
    arguments = parser.parse_args()
    registry = HandlerRegistry.instance(skip_bootstrap=True)
    for handler in (Square, Nothing, Failing):
        registry.register(handler.handler_name, handler)
    for function in (square_function, later):
        handler_class = function._handler_class
        registry.register(handler_class.handler_name, handler_class)
    lane.start(b"bench")
    if arguments.profile:
        data = event("square")
        with cProfile.Profile() as profile:
            for _ in range(20_000):
                lane.run_step(data)
        pstats.Stats(profile).sort_stats("tottime").print_stats(25)
        return
    print(f"event of {len(event('square'))} bytes")
    for name in ("square", "nothing", "square_function", "failing", "later"):
        print(f"{name:16} {best_microseconds(event(name)):7.1f} us per step")


if __name__ == "__main__":
    main()
