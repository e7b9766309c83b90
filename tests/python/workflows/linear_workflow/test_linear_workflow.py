"""The sequence of ``examples/linear`` as functions (python-api-more §14.2, §14.15)."""

from pathlib import Path
from typing import Any

import pytest
from tasker_core.testing import run_step, run_task

from tests.python.workflows.linear_workflow import dsl_handlers

TEMPLATE = Path(__file__).parent / "mathematical_sequence_dsl_py.yaml"
STEPS = [
    (dsl_handlers.linear_step_2, "linear_step_1_dsl_py"),
    (dsl_handlers.linear_step_3, "linear_step_2_dsl_py"),
    (dsl_handlers.linear_step_4, "linear_step_3_dsl_py"),
]


@pytest.mark.parametrize(
    ("n", "values"),
    [
        (4, [16, 26, 78, 39.0]),
        (6, [36, 46, 138, 69.0]),
        (8, [64, 74, 222, 111.0]),
        (10, [100, 110, 330, 165.0]),
    ],
)
def test_each_step_goes_on_with_what_the_one_before_it_computed(n: int, values: list[Any]) -> None:
    results = run_task(
        TEMPLATE, input_data={"even_number": n}, handlers=dsl_handlers
    ).assert_complete()
    a, b, c, d = values
    assert results == {
        "linear_step_1_dsl_py": {
            "result": a,
            "operation": "square",
            "step_type": "initial",
            "input_refs": {"even_number": "task.context.even_number"},
        },
        "linear_step_2_dsl_py": {
            "result": b,
            "operation": "add",
            "constant": 10,
            "input_value": a,
        },
        "linear_step_3_dsl_py": {
            "result": c,
            "operation": "multiply",
            "factor": 3,
            "input_value": b,
        },
        "linear_step_4_dsl_py": {
            "result": d,
            "operation": "divide",
            "divisor": 2,
            "input_value": c,
        },
    }


@pytest.mark.parametrize("number", [7, 6.0, "6", True])
def test_a_number_that_is_not_even_is_refused(number: Any) -> None:
    run = run_step(dsl_handlers.linear_step_1, input_data={"even_number": number})
    run.assert_failure("validation_error", retryable=False)
    assert run.error_message == f"even_number must be an even integer, got: {number}"


def test_a_missing_number_is_refused() -> None:
    run = run_step(dsl_handlers.linear_step_1)
    run.assert_failure("validation_error", retryable=False)
    assert run.error_message == "Task context must contain an even_number"


def test_nothing_is_an_even_number_too() -> None:
    result = run_step(dsl_handlers.linear_step_1, input_data={"even_number": 0}).assert_success()
    assert result["result"] == 0


@pytest.mark.parametrize(("step", "before"), STEPS)
def test_a_missing_result_may_still_come(step: Any, before: str) -> None:
    run = run_step(step)
    run.assert_failure("dependency_error", retryable=True)
    assert run.error_message == f"Missing result from {before}"


@pytest.mark.parametrize(("step", "before"), STEPS)
def test_a_result_without_a_number_may_still_get_one(step: Any, before: str) -> None:
    run = run_step(step, dependency_results={before: {"operation": "square"}})
    run.assert_failure("dependency_error", retryable=True)
    assert run.error_message == f"Missing 'result' field in {before} output"


def test_a_bare_number_will_do() -> None:
    run = run_step(dsl_handlers.linear_step_2, dependency_results={"linear_step_1_dsl_py": 5})
    assert run.assert_success()["result"] == 15
