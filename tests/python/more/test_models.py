"""The wrappers around a step's payload."""

from dataclasses import fields
from typing import Any

import pytest
from tasker_core import StepContext
from tasker_core.models import (
    DependencyResultsWrapper,
    HandlerWrapper,
    StepDefinitionWrapper,
    TaskSequenceStepWrapper,
    TaskWrapper,
    WorkflowStepWrapper,
)
from tasker_core.types import FfiStepEvent

from tests.python.more.fake_host import CORRELATION, STEP, TASK

WRAPPERS: list[Any] = [
    HandlerWrapper,
    StepDefinitionWrapper,
    DependencyResultsWrapper,
    WorkflowStepWrapper,
    TaskWrapper,
    TaskSequenceStepWrapper,
]


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_none_is_like_an_empty_dict(wrapper: Any) -> None:
    assert wrapper.from_dict(None) == wrapper.from_dict({})


def test_a_wrapper_can_be_changed() -> None:
    handler = HandlerWrapper.from_dict({})
    handler.callable = "shop.Pay"
    assert handler.callable == "shop.Pay"


def test_a_handler_is_wrapped() -> None:
    handler = HandlerWrapper.from_dict(
        {"callable": "shop.Pay", "initialization": {"a": 1}, "method": "refund", "resolver": "r"}
    )
    assert handler == HandlerWrapper("shop.Pay", {"a": 1}, "refund", "r")


def test_an_empty_handler_has_no_callable_and_no_settings() -> None:
    assert HandlerWrapper.from_dict({}) == HandlerWrapper("", {}, None, None)


def test_a_handlers_null_settings_are_empty() -> None:
    assert HandlerWrapper.from_dict({"initialization": None}).initialization == {}


def test_a_handlers_method_is_not_read_from_another_key() -> None:
    assert HandlerWrapper.from_dict({"handler_method": "refund"}).handler_method is None


def test_a_step_definition_is_wrapped() -> None:
    event = {"name": "order.paid", "condition": "success"}
    definition = StepDefinitionWrapper.from_dict(
        {
            "name": "pay",
            "description": "Takes the money",
            "handler": {"callable": "shop.Pay"},
            "dependencies": ["price"],
            "retry": {"max_attempts": 5},
            "timeout_seconds": 60,
            "publishes_events": [event],
        }
    )
    assert definition == StepDefinitionWrapper(
        "pay",
        "Takes the money",
        HandlerWrapper("shop.Pay"),
        ["price"],
        {"max_attempts": 5},
        60,
        [event],
    )


def test_an_empty_step_definition_has_defaults() -> None:
    assert StepDefinitionWrapper.from_dict({}) == StepDefinitionWrapper(
        "", "", HandlerWrapper(""), [], {}, 30, []
    )


def test_null_lists_and_dicts_of_a_step_definition_are_empty() -> None:
    definition = StepDefinitionWrapper.from_dict(
        {"dependencies": None, "retry": None, "publishes_events": None, "handler": None}
    )
    assert (definition.dependencies, definition.retry) == ([], {})
    assert (definition.publishes_events, definition.handler) == ([], HandlerWrapper(""))


@pytest.mark.parametrize("field", ["name", "description", "timeout_seconds"])
def test_other_nulls_of_a_step_definition_stay(field: str) -> None:
    assert getattr(StepDefinitionWrapper.from_dict({field: None}), field) is None


RESULTS = {
    "wrapped": {"result": {"n": 3}, "error": None},
    "null": {"result": None},
    "raw": {"n": 4},
    "number": 5,
}


def test_a_result_is_given_as_it_is() -> None:
    results = DependencyResultsWrapper.from_dict(RESULTS)
    assert results.get_result("wrapped") == {"result": {"n": 3}, "error": None}
    assert results["wrapped"] == results.get_result("wrapped")


def test_a_missing_result_is_none() -> None:
    results = DependencyResultsWrapper.from_dict(RESULTS)
    assert results.get_result("missing") is None
    assert results["missing"] is None
    assert results.get_results("missing") is None


@pytest.mark.parametrize(
    ("name", "value"), [("wrapped", {"n": 3}), ("null", None), ("raw", {"n": 4}), ("number", 5)]
)
def test_a_result_is_unwrapped(name: str, value: Any) -> None:
    assert DependencyResultsWrapper.from_dict(RESULTS).get_results(name) == value


def test_the_names_of_results_are_a_list() -> None:
    results = DependencyResultsWrapper.from_dict(RESULTS)
    assert results.keys() == ["wrapped", "null", "raw", "number"]
    assert list(results) == results.keys()


def test_it_can_be_asked_whether_there_is_a_result() -> None:
    results = DependencyResultsWrapper.from_dict(RESULTS)
    assert "raw" in results
    assert "missing" not in results


def test_results_have_no_length() -> None:
    assert not hasattr(DependencyResultsWrapper, "__len__")


def test_equal_results_are_equal() -> None:
    assert DependencyResultsWrapper({"a": 1}) == DependencyResultsWrapper({"a": 1})
    assert DependencyResultsWrapper({"a": 1}) != DependencyResultsWrapper({"a": 2})


def test_an_empty_workflow_step_has_defaults() -> None:
    step = WorkflowStepWrapper.from_dict(None)
    assert {field.name: getattr(step, field.name) for field in fields(step)} == {
        "workflow_step_uuid": "",
        "task_uuid": "",
        "name": "",
        "named_step_uuid": None,
        "retryable": True,
        "max_attempts": 3,
        "in_process": False,
        "processed": False,
        "processed_at": None,
        "attempts": 0,
        "last_attempted_at": None,
        "backoff_request_seconds": 0,
        "inputs": {},
        "results": {},
        "created_at": None,
        "updated_at": None,
        "checkpoint": None,
    }


def test_a_workflow_step_is_wrapped_with_its_texts_as_they_are() -> None:
    step = WorkflowStepWrapper.from_dict(
        {"workflow_step_uuid": STEP, "attempts": 2, "created_at": "2026-02-03T10:00:00"}
    )
    assert (step.workflow_step_uuid, step.attempts) == (STEP, 2)
    assert step.created_at == "2026-02-03T10:00:00"


@pytest.mark.parametrize("field", ["retryable", "max_attempts", "attempts", "name"])
def test_a_null_of_a_workflow_step_stays(field: str) -> None:
    assert getattr(WorkflowStepWrapper.from_dict({field: None}), field) is None


@pytest.mark.parametrize("field", ["inputs", "results"])
def test_null_inputs_and_results_of_a_workflow_step_are_empty(field: str) -> None:
    assert getattr(WorkflowStepWrapper.from_dict({field: None}), field) == {}


def test_a_workflow_step_gives_access_to_its_checkpoint() -> None:
    """There was no way to a checkpoint through the wrapper."""
    checkpoint = {"cursor": 7, "items_processed": 7}
    assert WorkflowStepWrapper.from_dict({"checkpoint": checkpoint}).checkpoint == checkpoint


NESTED = {
    "task": {
        "task_uuid": TASK,
        "context": {"n": 1},
        "correlation_id": CORRELATION,
        "parent_correlation_id": STEP,
        "namespace_name": "inner",
        "task_name": "inner",
        "task_version": "0",
    },
    "namespace_name": "shop",
    "task_name": "order_intake",
    "task_version": "1.0.0",
}


def test_a_nested_task_is_wrapped_and_outer_names_win() -> None:
    assert TaskWrapper.from_dict(NESTED) == TaskWrapper(
        TASK, {"n": 1}, "shop", "order_intake", "1.0.0", CORRELATION, STEP
    )


def test_a_flat_task_is_wrapped() -> None:
    flat = {"task_uuid": TASK, "context": {"n": 1}, "task_name": "order_intake"}
    assert TaskWrapper.from_dict(flat) == TaskWrapper(TASK, {"n": 1}, "", "order_intake", "")


@pytest.mark.parametrize("outer", [None, ""])
def test_inner_names_serve_where_outer_ones_are_empty(outer: Any) -> None:
    task = TaskWrapper.from_dict({**NESTED, "namespace_name": outer})
    assert task.namespace_name == "inner"


def test_an_empty_task_has_defaults() -> None:
    assert TaskWrapper.from_dict({}) == TaskWrapper("", {}, "", "", "", None, None)


def test_a_null_task_context_is_empty() -> None:
    assert TaskWrapper.from_dict({"task_uuid": TASK, "context": None}).context == {}


PAYLOAD: dict[str, Any] = {
    "task": NESTED,
    "workflow_step": {"name": "pay"},
    "dependency_results": RESULTS,
    "step_definition": {"handler": {"callable": "shop.Pay"}},
}


def test_a_payload_is_wrapped_part_by_part() -> None:
    step = TaskSequenceStepWrapper.from_dict(PAYLOAD)
    assert step.task == TaskWrapper.from_dict(NESTED)
    assert step.workflow_step == WorkflowStepWrapper.from_dict({"name": "pay"})
    assert step.dependency_results == DependencyResultsWrapper(RESULTS)
    assert step.step_definition.handler == HandlerWrapper("shop.Pay")


def test_a_payload_gives_input_and_unwrapped_results() -> None:
    step = TaskSequenceStepWrapper.from_dict(PAYLOAD)
    assert step.get_task_field("n") == 1
    assert step.get_task_field("missing") is None
    assert step.get_dependency_result("wrapped") == {"n": 3}
    assert step.get_results("wrapped") == {"n": 3}


def test_a_step_context_wraps_its_event() -> None:
    event = FfiStepEvent(
        event_id=STEP,
        task_uuid=TASK,
        step_uuid=STEP,
        correlation_id=CORRELATION,
        task_sequence_step=PAYLOAD,
    )
    context = StepContext.from_ffi_event(event, "pay")
    assert context.task_sequence_step == TaskSequenceStepWrapper.from_dict(PAYLOAD)
