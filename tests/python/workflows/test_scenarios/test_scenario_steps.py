"""Steps that succeed, fail for now and fail for good, as classes and as functions."""

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from tasker_core.testing import TaskRun, run_task

from tests.python.workflows.test_scenarios import dsl_handlers, handlers

HERE = Path(__file__).parent


@pytest.fixture(params=["py", "dsl_py"])
def suffix(request: pytest.FixtureRequest) -> str:
    text: str = request.param
    return text


def run(scenario: str, suffix: str, input_data: dict[str, Any]) -> TaskRun:
    module = handlers if suffix == "py" else dsl_handlers
    template = HERE / f"{scenario}_only_{suffix}.yaml"
    return run_task(template, input_data=input_data, handlers=module)


def test_success_tells_the_usual_message(suffix: str) -> None:
    results = run("success", suffix, {}).assert_complete()
    result = results[f"success_step_{suffix}"]
    assert datetime.fromisoformat(result.pop("timestamp"))
    assert result == {
        "status": "success",
        "message": "Step completed successfully",
        "handler": "SuccessStepHandler",
    }


def test_success_tells_the_inputs_message(suffix: str) -> None:
    results = run("success", suffix, {"message": "well done"}).assert_complete()
    assert results[f"success_step_{suffix}"]["message"] == "well done"


@pytest.mark.parametrize(
    ("told", "message"), [(None, "Temporary failure - please retry"), ("busy", "busy")]
)
def test_a_failure_for_now_is_tried_as_often_as_the_template_says(
    suffix: str, told: str | None, message: str
) -> None:
    step = run("retryable_error", suffix, {"error_message": told}).steps[
        f"retryable_error_step_{suffix}"
    ]
    step.runs[-1].assert_failure("temporary_error", retryable=True)
    assert (step.state, step.attempts, step.error_message) == ("error", 3, message)


@pytest.mark.parametrize(
    ("told", "message"), [(None, "Permanent failure - do not retry"), ("no", "no")]
)
def test_a_failure_for_good_is_tried_once(suffix: str, told: str | None, message: str) -> None:
    step = run("permanent_error", suffix, {"error_message": told}).steps[
        f"permanent_error_step_{suffix}"
    ]
    step.runs[-1].assert_failure("permanent_error", retryable=False)
    assert (step.state, step.attempts, step.error_message) == ("error", 1, message)


@pytest.mark.parametrize(
    ("scenario", "handler"),
    [
        ("retryable_error", "RetryableErrorStepHandler"),
        ("permanent_error", "PermanentErrorStepHandler"),
    ],
)
def test_a_failure_of_a_class_tells_its_handler_and_time(scenario: str, handler: str) -> None:
    custom = run(scenario, "py", {}).steps[f"{scenario}_step_py"].runs[-1].metadata["custom"]
    assert custom["handler"] == handler
    assert datetime.fromisoformat(custom["timestamp"])
