"""The steps of an approval, as classes and as functions."""

from types import SimpleNamespace
from typing import Any

import pytest
from tasker_core.testing import StepRun, run_step

from tests.python.workflows.conditional_approval import dsl_handlers, handlers

REQUEST = {"amount": 500, "requester": "Ada", "purpose": "books", "_test_run_id": "x"}

CLASSES = SimpleNamespace(
    validate=handlers.ValidateRequestHandler,
    route=handlers.RoutingDecisionHandler,
    auto=handlers.AutoApproveHandler,
    manager=handlers.ManagerApprovalHandler,
    finance=handlers.FinanceReviewHandler,
    finalize=handlers.FinalizeApprovalHandler,
    suffix="_py",
)
FUNCTIONS = SimpleNamespace(
    validate=dsl_handlers.validate_request,
    route=dsl_handlers.routing_decision,
    auto=dsl_handlers.auto_approve,
    manager=dsl_handlers.manager_approval,
    finance=dsl_handlers.finance_review,
    finalize=dsl_handlers.finalize_approval,
    suffix="_dsl_py",
)


@pytest.fixture(params=[CLASSES, FUNCTIONS], ids=["classes", "functions"])
def family(request: pytest.FixtureRequest) -> Any:
    return request.param


def route(family: Any, validated: dict[str, Any] | None) -> StepRun:
    results = {} if validated is None else {f"validate_request{family.suffix}": validated}
    return run_step(family.route, dependency_results=results)


def approve(family: Any, step: str, amount: float) -> Any:
    routed = {f"routing_decision{family.suffix}": {"routing_context": {"amount": amount}}}
    return run_step(getattr(family, step), dependency_results=routed).assert_success()


def test_a_complete_request_is_validated(family: Any) -> None:
    assert run_step(family.validate, input_data=REQUEST).assert_success() == {
        "validated": True,
        "amount": 500,
        "requester": "Ada",
        "purpose": "books",
    }


@pytest.mark.parametrize(
    ("request_data", "errors"),
    [
        ({}, "amount is required, requester is required, purpose is required"),
        ({**REQUEST, "amount": 0}, "amount must be a positive number"),
        ({**REQUEST, "amount": "much"}, "amount must be a positive number"),
        ({**REQUEST, "amount": True}, "amount must be a positive number"),
        ({**REQUEST, "requester": ""}, "requester is required"),
        ({**REQUEST, "purpose": 7}, "purpose is required"),
    ],
)
def test_an_incomplete_request_is_refused(
    family: Any, request_data: dict[str, Any], errors: str
) -> None:
    run = run_step(family.validate, input_data=request_data)
    run.assert_failure("validation_error", retryable=False)
    assert run.error_message == f"Validation failed: {errors}"


@pytest.mark.parametrize(
    ("amount", "steps", "path", "threshold"),
    [
        (0.01, ["auto_approve"], "auto", "small"),
        (999.99, ["auto_approve"], "auto", "small"),
        (1000, ["manager_approval"], "manager", "medium"),
        (4999.99, ["manager_approval"], "manager", "medium"),
        (5000, ["manager_approval", "finance_review"], "dual", "large"),
    ],
)
def test_the_amount_decides_who_approves(
    family: Any, amount: float, steps: list[str], path: str, threshold: str
) -> None:
    assert route(family, {"amount": amount}).assert_success() == {
        "decision_point_outcome": {
            "type": "create_steps",
            "step_names": [f"{step}{family.suffix}" for step in steps],
        },
        "routing_context": {
            "approval_path": path,
            "amount": amount,
            "threshold_used": threshold,
        },
    }


def test_a_decision_tells_who_made_it(family: Any) -> None:
    custom = route(family, {"amount": 1}).metadata["custom"]
    handler = getattr(family.route, "_handler_class", family.route)
    assert custom["decision_handler"] == handler.handler_name
    assert custom["decision_version"] == "1.0.0"


def test_without_a_validated_request_there_is_no_decision(family: Any) -> None:
    run = route(family, None)
    run.assert_failure("dependency_error", retryable=family is FUNCTIONS)
    assert run.error_message == f"Missing validation result from validate_request{family.suffix}"


def test_without_an_amount_there_is_no_decision(family: Any) -> None:
    run = route(family, {"validated": True})
    run.assert_failure("dependency_error", retryable=family is FUNCTIONS)
    assert run.error_message == "Missing amount in validation result"


def test_a_small_amount_is_approved_by_the_system(family: Any) -> None:
    assert approve(family, "auto", 500) == {
        "approved": True,
        "approval_type": "auto",
        "approved_amount": 500,
        "approver": "system",
        "notes": "Auto-approved for amounts under $1,000",
    }


def test_a_manager_approves(family: Any) -> None:
    assert approve(family, "manager", 2500) == {
        "approved": True,
        "approval_type": "manager",
        "approved_amount": 2500,
        "approver": "manager@example.com",
        "notes": "Manager approved after review",
    }


def test_finance_approves(family: Any) -> None:
    assert approve(family, "finance", 10000) == {
        "approved": True,
        "approval_type": "finance",
        "approved_amount": 10000,
        "approver": "finance@example.com",
        "budget_code": "CAPEX-2024",
        "notes": "Finance review completed for large amount",
    }


def test_an_amount_that_is_not_told_is_nothing(family: Any) -> None:
    routed: dict[str, Any] = {f"routing_decision{family.suffix}": {"decision_point_outcome": {}}}
    run = run_step(family.auto, dependency_results=routed)
    assert run.assert_success()["approved_amount"] == 0


@pytest.mark.parametrize("step", ["auto", "manager", "finance"])
def test_without_a_decision_nobody_approves(family: Any, step: str) -> None:
    run = run_step(getattr(family, step))
    run.assert_failure("dependency_error", retryable=True)
    assert run.error_message == "Missing routing decision result"


def test_the_approvals_that_there_are_come_together(family: Any) -> None:
    results = {
        f"finance_review{family.suffix}": approve(family, "finance", 6000),
        f"manager_approval{family.suffix}": approve(family, "manager", 6000),
    }
    assert run_step(family.finalize, dependency_results=results).assert_success() == {
        "approvals": [
            {"type": "manager", "approved": True, "approver": "manager@example.com"},
            {"type": "finance", "approved": True, "approver": "finance@example.com"},
        ],
        "approval_count": 2,
        "all_approved": True,
        "final_status": "approved",
    }


def test_one_refusal_rejects(family: Any) -> None:
    refused = {**approve(family, "manager", 6000), "approved": False}
    run = run_step(
        family.finalize, dependency_results={f"manager_approval{family.suffix}": refused}
    )
    assert run.assert_success()["final_status"] == "rejected"


def test_no_approvals_count_as_approved(family: Any) -> None:
    finalized = run_step(family.finalize).assert_success()
    assert (finalized["approval_count"], finalized["final_status"]) == (0, "approved")


def test_the_thresholds_are_those_of_the_class() -> None:
    handler = handlers.RoutingDecisionHandler
    assert (handler.SMALL_THRESHOLD, handler.LARGE_THRESHOLD) == (1000.0, 5000.0)
