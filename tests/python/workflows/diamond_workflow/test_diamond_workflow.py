"""The diamond of ``examples/diamond`` as functions (python-api-more §14.3, §14.15)."""

from pathlib import Path
from typing import Any

import pytest
from tasker_core.testing import run_step, run_task

from tests.python.workflows.diamond_workflow import dsl_handlers

TEMPLATE = Path(__file__).parent / "parallel_computation_dsl_py.yaml"
BRANCHES = [dsl_handlers.diamond_branch_b, dsl_handlers.diamond_branch_c]


@pytest.mark.parametrize(
    ("n", "start", "b", "c", "end"),
    [(4, 16, 41, 32, 36.5), (6, 36, 61, 72, 66.5), (10, 100, 125, 200, 162.5)],
)
def test_the_ends_of_both_branches_are_averaged(
    n: int, start: int, b: int, c: int, end: float
) -> None:
    results = run_task(
        TEMPLATE, input_data={"even_number": n}, handlers=dsl_handlers
    ).assert_complete()
    assert results == {
        "diamond_start_dsl_py": {
            "result": start,
            "operation": "square",
            "step_type": "initial",
        },
        "diamond_branch_b_dsl_py": {
            "result": b,
            "operation": "add",
            "constant": 25,
            "input_value": start,
            "branch": "B",
        },
        "diamond_branch_c_dsl_py": {
            "result": c,
            "operation": "multiply",
            "factor": 2,
            "input_value": start,
            "branch": "C",
        },
        "diamond_end_dsl_py": {
            "result": end,
            "operation": "average",
            "branch_b_value": b,
            "branch_c_value": c,
            "step_type": "convergence",
        },
    }


@pytest.mark.parametrize(
    ("input_data", "message"),
    [
        ({}, "Task context must contain an even_number"),
        ({"even_number": 7}, "even_number must be an even integer, got: 7"),
        ({"even_number": True}, "even_number must be an even integer, got: True"),
    ],
)
def test_a_number_that_is_not_even_is_refused(input_data: dict[str, Any], message: str) -> None:
    run = run_step(dsl_handlers.diamond_start, input_data=input_data)
    run.assert_failure("validation_error", retryable=False)
    assert run.error_message == message


@pytest.mark.parametrize("branch", BRANCHES)
@pytest.mark.parametrize(
    ("results", "message"),
    [
        ({}, "Missing result from diamond_start_dsl_py"),
        ({"diamond_start_dsl_py": {}}, "Missing 'result' field in diamond_start_dsl_py output"),
    ],
)
def test_a_branch_waits_for_its_start(branch: Any, results: dict[str, Any], message: str) -> None:
    run = run_step(branch, dependency_results=results)
    run.assert_failure("dependency_error", retryable=True)
    assert run.error_message == message


@pytest.mark.parametrize(
    ("results", "missing"),
    [
        ({}, "diamond_branch_b_dsl_py, diamond_branch_c_dsl_py"),
        ({"diamond_branch_b_dsl_py": {"result": 1}}, "diamond_branch_c_dsl_py"),
    ],
)
def test_the_end_says_which_branches_are_missing(results: dict[str, Any], missing: str) -> None:
    run = run_step(dsl_handlers.diamond_end, dependency_results=results)
    run.assert_failure("dependency_error", retryable=True)
    assert run.error_message == f"Missing results from: {missing}"
