"""Contexts: what a handler reads of its step."""

from __future__ import annotations

from typing import Any

from tasker_core import BatchWorkerContext, StepContext, TaskSequenceStepWrapper
from tasker_core import models as m

from tests.python.reference import sample
from tests.python.reference.recording import Recording

seen = Recording()


def ask(name: str, context: StepContext) -> None:
    """Notes all that a context answers."""
    seen.note(
        f"{name}: fields",
        {
            field: getattr(context, field)
            for field in StepContext.model_fields
            if field not in ("event",)
        },
    )
    questions: dict[str, Any] = {
        "retry": context.is_retry,
        "last retry": context.is_last_retry,
        "keys": context.get_dependency_result_keys,
        "has checkpoint": context.has_checkpoint,
        "checkpoint": lambda: context.checkpoint,
        "cursor": lambda: context.checkpoint_cursor,
        "items": lambda: context.checkpoint_items_processed,
        "accumulated": lambda: context.accumulated_results,
        "wrapper": lambda: context.task_sequence_step,
        "batch": lambda: BatchWorkerContext.from_step_context(context),
    }
    for question, answer in questions.items():
        seen.call(f"{name}: {question}", answer)
    for step in ("load", "load_bare", "load_list", "load_none", "load_empty", "nowhere"):
        seen.call(f"{name}: result of {step}", context.get_dependency_result, step)
        seen.call(f"{name}: all of {step}", context.get_all_dependency_results, step)
        seen.call(f"{name}: field of {step}", context.get_dependency_field, step, "total")
        seen.call(f"{name}: deep field of {step}", context.get_dependency_field, step, "deep", "n")
        seen.call(f"{name}: no field of {step}", context.get_dependency_field, step)
    seen.call(f"{name}: all results", context.get_all_dependency_results, "")
    for key in ("order_id", "note", "zero", "nothing"):
        seen.call(f"{name}: input {key}", context.get_input, key)
        seen.call(f"{name}: input {key} or 5", context.get_input_or, key, 5)
        seen.call(f"{name}: input {key} or none", context.get_input_or, key)
    seen.call(f"{name}: config", context.get_config, "currency")
    seen.call(f"{name}: no config", context.get_config, "nothing")


checkpoint = {"cursor": 5, "items_processed": 5, "accumulated_results": {"n": 1}}
cursor = {
    "cursor": {"batch_id": "003", "start_cursor": 10, "end_cursor": 20, "batch_size": 10},
    "batch_metadata": {"cursor_field": "id", "failure_strategy": "fail_fast"},
    "is_no_op": False,
}
batch = {"batch_id": "b", "cursor_config": {"start_cursor": 1, "end_cursor": 2}, "batch_index": 3}
payloads: dict[str, Any] = {
    "whole": sample.PAYLOAD,
    "empty": {},
    "flat task": sample.payload(task={"task_uuid": "t", "context": {"order_id": 8}}),
    "flat only": {"task": {"context": {"order_id": 9}, "task_name": "flat"}},
    "misplaced": {"input_data": {"order_id": 1}, "handler_name": "x", "retry_count": 4},
    "checkpoint": sample.payload(workflow_step={"checkpoint": checkpoint}),
    "checkpoint at zero": sample.payload(workflow_step={"checkpoint": {"cursor": 0}}),
    "checkpoint empty": sample.payload(workflow_step={"checkpoint": {}}),
    "checkpoint of text": sample.payload(workflow_step={"checkpoint": "later"}),
    "batch by inputs": sample.payload(workflow_step={"inputs": cursor, "checkpoint": checkpoint}),
    "batch by config": sample.payload(
        step_definition={"handler": {"initialization": {"batch_context": batch}}}
    ),
    "batch of texts": sample.payload(
        workflow_step={"inputs": {"cursor": {"start_cursor": "a", "end_cursor": "b"}}}
    ),
    "attempts used": sample.payload(workflow_step={"attempts": 2}),
    "attempts null": sample.payload(workflow_step={"attempts": None, "max_attempts": None}),
    "attempts none": sample.payload(workflow_step={"attempts": 0, "max_attempts": 0}),
    "only one": sample.payload(workflow_step={"attempts": 0, "max_attempts": 1}),
}
for name, payload in payloads.items():
    ask(name, sample.context(payload))

seen.call(
    "context of a list",
    sample.context,
    sample.payload(task={"task": {"context": [1]}}),
)
for field in ("task_uuid", "step_uuid", "correlation_id"):
    malformed = sample.event().model_copy(update={field: "x"})
    seen.call(f"malformed {field}", StepContext.from_ffi_event, malformed, "h")
event = sample.event(trace_id="t", span_id="s", parent_correlation_id="p", task_correlation_id="c")
seen.note("event", event)
seen.call("event is frozen", setattr, event, "event_id", "x")
seen.call("event of nothing", type(event).model_validate, {})

wrappers: dict[str, Any] = {
    "handler": m.HandlerWrapper,
    "definition": m.StepDefinitionWrapper,
    "results": m.DependencyResultsWrapper,
    "step": m.WorkflowStepWrapper,
    "task": m.TaskWrapper,
    "whole": TaskSequenceStepWrapper,
}
for name, wrapper in wrappers.items():
    seen.call(f"wrapper {name} of nothing", wrapper.from_dict, {})
    seen.call(f"wrapper {name} of none", wrapper.from_dict, None)
nulls = dict.fromkeys(sample.PAYLOAD["step_definition"])
seen.call("definition of nulls", m.StepDefinitionWrapper.from_dict, nulls)
results = m.DependencyResultsWrapper.from_dict(sample.PAYLOAD["dependency_results"])
seen.note("results: keys", results.keys())
seen.note("results: iteration", list(results))
seen.note("results: in", ["load" in results, "x" in results, results["x"], results["load"]])
seen.note("results: unwrapped", [results.get_results(key) for key in (*results, "x")])
seen.note("results: raw", [results.get_result(key) for key in (*results, "x")])
whole = TaskSequenceStepWrapper.from_dict(sample.PAYLOAD)
seen.note("whole: field", [whole.get_task_field("order_id"), whole.get_task_field("x")])
seen.note("whole: results", [whole.get_results("load"), whole.get_dependency_result("x")])

seen.write()
