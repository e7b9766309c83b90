"""Templates that name a method of a handler."""

import re
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from tasker_core.testing import run_step, run_task

from tests.python.workflows.resolver_tests import dsl_handlers, handlers

HERE = Path(__file__).parent
DATA = {"data": {"amount": 100.0, "reason": "broken"}}


def run_classes(input_data: dict[str, Any]) -> Any:
    return run_task(HERE / "method_dispatch_py.yaml", input_data=input_data, handlers=handlers)


def test_each_step_calls_its_method() -> None:
    results = run_classes(DATA).assert_complete()
    assert {step: result["invoked_method"] for step, result in results.items()} == {
        "validate_step_py": "validate",
        "process_step_py": "process",
        "refund_step_py": "refund",
        "default_call_step_py": "call",
    }


def test_each_result_tells_handler_message_and_step() -> None:
    for result in run_classes(DATA).assert_complete().values():
        assert result["handler"] == "MultiMethodHandler"
        assert UUID(result["step_uuid"])
        assert result["message"]


def test_validating_returns_the_data() -> None:
    result = run_classes(DATA).assert_complete()["validate_step_py"]
    assert (result["validated"], result["input_validated"]) == (True, DATA["data"])
    assert result["message"] == "Validation completed successfully"


@pytest.mark.parametrize("data", [{}, {"data": None}, {"data": {"reason": "broken"}}])
def test_validating_refuses_data_without_an_amount(data: dict[str, Any]) -> None:
    run = run_step(handlers.MultiMethodHandler, method="validate", input_data=data)
    run.assert_failure("validation_error", retryable=False)
    assert run.error_message == 'Validation failed: missing required field "amount"'


def test_processing_adds_the_fee() -> None:
    result = run_classes(DATA).assert_complete()["process_step_py"]
    assert result["original_amount"] == 100.0
    assert result["processed_amount"] == 110.00000000000001
    assert result["processing_fee"] == 10.000000000000014
    assert result["message"] == "Processing completed"


def test_refunding_returns_amount_reason_and_id() -> None:
    result = run_classes(DATA).assert_complete()["refund_step_py"]
    assert (result["refund_amount"], result["refund_reason"]) == (100.0, "broken")
    assert re.fullmatch(r"refund_\d+", result["refund_id"])
    assert result["message"] == "Refund processed"


def test_a_refund_without_a_reason_says_so() -> None:
    run = run_step(handlers.MultiMethodHandler, method="refund", input_data={"data": {"amount": 1}})
    assert run.assert_success()["refund_reason"] == "not_specified"


def test_the_usual_method_returns_what_came_in() -> None:
    result = run_classes(DATA).assert_complete()["default_call_step_py"]
    assert result["input_received"] == DATA["data"]
    assert result["message"] == "Default call method invoked"


def test_the_alternate_handler_has_a_usual_method() -> None:
    result = run_step(handlers.AlternateMethodHandler).assert_success()
    assert result["message"] == "Alternate handler default method"
    assert result["handler"] == "AlternateMethodHandler"


@pytest.mark.parametrize(
    ("input_data", "action"), [({}, "default_action"), ({"action_type": "ping"}, "ping")]
)
def test_the_alternate_handler_executes_an_action(input_data: dict[str, Any], action: str) -> None:
    run = run_step(handlers.AlternateMethodHandler, method="execute_action", input_data=input_data)
    result = run.assert_success()
    assert result["action_type"] == action
    assert result["message"] == "Custom action executed"


def test_a_function_is_called_whatever_method_the_template_names() -> None:
    task = run_task(HERE / "method_dispatch_dsl_py.yaml", input_data=DATA, handlers=dsl_handlers)
    results = task.assert_complete()
    assert list(results) == [
        "validate_step_dsl_py",
        "process_step_dsl_py",
        "refund_step_dsl_py",
        "default_call_step_dsl_py",
    ]
    for result in results.values():
        assert result["invoked_method"] == "call"
        assert result["input_received"] == DATA["data"]


def test_the_alternate_function_has_the_usual_method() -> None:
    result = run_step(dsl_handlers.alternate_method).assert_success()
    assert result["message"] == "Alternate handler default method"
