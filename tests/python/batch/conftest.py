"""Steps as the host hands them to handlers, for the tests of batches."""

from collections.abc import Callable
from typing import Any

import pytest
from tasker_core.batch_processing import Batchable
from tasker_core.step_handler import StepHandler
from tasker_core.types import FfiStepEvent, StepContext, StepHandlerResult

TASK = "0190c0de-0000-7000-8000-000000000001"
STEP = "0190c0de-0000-7000-8000-000000000002"
EVENT = "0190c0de-0000-7000-8000-000000000003"
CORRELATION = "0190c0de-0000-7000-8000-000000000004"

BuildContext = Callable[..., StepContext]


@pytest.fixture
def build_context() -> BuildContext:
    """A step's context, made of what the host would deliver."""

    def build(
        inputs: dict[str, Any] | None = None,
        *,
        checkpoint: dict[str, Any] | None = None,
        config: dict[str, Any] | None = None,
        task_context: dict[str, Any] | None = None,
    ) -> StepContext:
        event = FfiStepEvent(
            event_id=EVENT,
            task_uuid=TASK,
            step_uuid=STEP,
            correlation_id=CORRELATION,
            task_sequence_step={
                "task": {"task": {"context": task_context or {}}},
                "workflow_step": {"inputs": inputs, "checkpoint": checkpoint},
                "step_definition": {"handler": {"initialization": config or {}}},
            },
        )
        return StepContext.from_ffi_event(event, "worker")

    return build


@pytest.fixture
def worker_inputs() -> dict[str, Any]:
    """What orchestration puts into the inputs of a batch worker."""
    return {
        "operation": "inventory",
        "cursor": {
            "batch_id": "002",
            "start_cursor": 200,
            "end_cursor": 400,
            "batch_size": 200,
        },
        "batch_metadata": {"cursor_field": "id", "failure_strategy": "fail_fast"},
        "is_no_op": False,
        "__template_step_name": "process",
    }


class Bare(Batchable):
    """The mixin without a handler around it."""


class HandlerFirst(StepHandler, Batchable):
    """A handler with the mixin behind StepHandler."""

    def call(self, context: StepContext) -> StepHandlerResult:
        return self.success({})


class MixinFirst(Batchable, StepHandler):
    """A handler with the mixin before StepHandler."""

    def call(self, context: StepContext) -> StepHandlerResult:
        return self.success({})


@pytest.fixture
def bare() -> Bare:
    return Bare()


@pytest.fixture(params=[HandlerFirst, MixinFirst])
def handler(request: pytest.FixtureRequest) -> HandlerFirst | MixinFirst:
    """A batch handler; every test that uses it runs with both orders of bases."""
    made: HandlerFirst | MixinFirst = request.param()
    return made
