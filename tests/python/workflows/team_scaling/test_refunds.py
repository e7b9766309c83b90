"""A refund that one team decides and another pays, as classes and as functions."""

import re
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tasker_core.testing import StepRun, run_step, run_task

from tests.python.workflows.team_scaling import dsl_handlers, handlers

HERE = Path(__file__).parent
TICKET = {
    "ticket_id": "ticket_1",
    "customer_id": "customer_1",
    "refund_amount": 5000,
    "customer_email": "ada@example.com",
    "refund_reason": "broken",
    "correlation_id": "c-1",
}
PAYMENT = {
    "payment_id": "pay_1",
    "refund_amount": 5000,
    "customer_email": "ada@example.com",
    "refund_reason": "broken",
}

CLASSES = SimpleNamespace(
    suffix="",
    module=handlers,
    template="{}_process_refund_py.yaml",
    validate_refund_request=handlers.ValidateRefundRequestHandler,
    check_refund_policy=handlers.CheckRefundPolicyHandler,
    get_manager_approval=handlers.GetManagerApprovalHandler,
    execute_refund_workflow=handlers.ExecuteRefundWorkflowHandler,
    update_ticket_status=handlers.UpdateTicketStatusHandler,
    validate_payment_eligibility=handlers.ValidatePaymentEligibilityHandler,
    process_gateway_refund=handlers.ProcessGatewayRefundHandler,
    update_payment_records=handlers.UpdatePaymentRecordsHandler,
    notify_customer=handlers.NotifyCustomerHandler,
)
FUNCTIONS = SimpleNamespace(
    suffix="_dsl_py",
    module=dsl_handlers,
    template="{}_process_refund_dsl_py.yaml",
    validate_refund_request=dsl_handlers.cs_validate_refund_request,
    check_refund_policy=dsl_handlers.cs_check_refund_policy,
    get_manager_approval=dsl_handlers.cs_get_manager_approval,
    execute_refund_workflow=dsl_handlers.cs_execute_refund_workflow,
    update_ticket_status=dsl_handlers.cs_update_ticket_status,
    validate_payment_eligibility=dsl_handlers.pay_validate_payment_eligibility,
    process_gateway_refund=dsl_handlers.pay_process_gateway_refund,
    update_payment_records=dsl_handlers.pay_update_payment_records,
    notify_customer=dsl_handlers.pay_notify_customer,
)


@pytest.fixture(params=[CLASSES, FUNCTIONS], ids=["classes", "functions"])
def family(request: pytest.FixtureRequest) -> Any:
    return request.param


def run_all(family: Any, team: str, input_data: dict[str, Any]) -> dict[str, Any]:
    task = run_task(
        HERE / family.template.format(team), input_data=input_data, handlers=family.module
    )
    return {
        step.removesuffix(family.suffix): result for step, result in task.assert_complete().items()
    }


def ask(family: Any, **changes: Any) -> dict[str, Any]:
    """What the steps of the team that decides return."""
    return run_all(family, "customer_success", {**TICKET, **changes})


def pay(family: Any, **changes: Any) -> dict[str, Any]:
    """What the steps of the team that pays return."""
    return run_all(family, "payments", {**PAYMENT, **changes})


def run(
    family: Any,
    step: str,
    input_data: dict[str, Any],
    results: dict[str, Any] | None = None,
) -> StepRun:
    return run_step(
        getattr(family, step),
        input_data=input_data,
        dependency_results={
            f"{name}{family.suffix}": result for name, result in (results or {}).items()
        },
    )


def refused(
    family: Any, run: StepRun, code: str, *, retryable: bool = False, message: str | None = None
) -> None:
    """A class tells the code as a code, a function as the type of the error."""
    if family is CLASSES:
        run.assert_failure("handler_error", retryable=retryable)
        assert run.metadata["error_code"] == code
    else:
        run.assert_failure(code, retryable=retryable)
        assert run.metadata["error_code"] is None
    if message is not None:
        assert run.error_message == message


def times(result: dict[str, Any], *names: str) -> None:
    """Take out fields that tell times."""
    for name in names:
        assert datetime.fromisoformat(result.pop(name))


def test_a_request_is_validated(family: Any) -> None:
    validated = ask(family)["validate_refund_request"]
    purchased = datetime.fromisoformat(validated["original_purchase_date"])
    assert (datetime.now(timezone.utc) - purchased).days == 30
    assert re.fullmatch(r"pay_[0-9a-f]{12}", validated.pop("payment_id"))
    times(validated, "original_purchase_date", "validation_timestamp")
    assert validated == {
        "request_validated": True,
        "ticket_id": "ticket_1",
        "customer_id": "customer_1",
        "ticket_status": "open",
        "customer_tier": "standard",
        "namespace": "customer_success",
    }


@pytest.mark.parametrize(
    ("customer", "tier"),
    [("vip_1", "premium"), ("premium_1", "premium"), ("gold_1", "gold"), ("c1", "standard")],
)
def test_the_customers_id_tells_the_tier(family: Any, customer: str, tier: str) -> None:
    assert ask(family, customer_id=customer)["validate_refund_request"]["customer_tier"] == tier


def test_an_incomplete_request_is_refused(family: Any) -> None:
    refused(
        family,
        run(family, "validate_refund_request", {"customer_id": "c1"}),
        "MISSING_REQUIRED_FIELDS",
        message="Missing required fields for refund validation: ticket_id, refund_amount",
    )


@pytest.mark.parametrize("state", ["closed", "cancelled", "duplicate"])
def test_a_ticket_that_is_not_open_is_refused(family: Any, state: str) -> None:
    ticket = {**TICKET, "ticket_id": f"ticket_{state}_1"}
    refused(family, run(family, "validate_refund_request", ticket), f"TICKET_{state.upper()}")


@pytest.mark.parametrize(
    ("customer", "tier", "window", "approval", "limit"),
    [
        ("c1", "standard", 30, True, 10000),
        ("gold_1", "gold", 60, False, 50000),
        ("vip_1", "premium", 90, False, 100000),
    ],
)
def test_each_tier_has_its_policy(
    family: Any, customer: str, tier: str, window: int, approval: bool, limit: int
) -> None:
    policy = ask(family, customer_id=customer)["check_refund_policy"]
    times(policy, "policy_checked_at")
    assert policy == {
        "policy_checked": True,
        "policy_compliant": True,
        "customer_tier": tier,
        "refund_window_days": window,
        "days_since_purchase": 30,
        "within_refund_window": True,
        "requires_approval": approval,
        "max_allowed_amount": limit,
        "namespace": "customer_success",
    }


def check(family: Any, amount: int, days: int = 30) -> StepRun:
    purchased = datetime.now(timezone.utc) - timedelta(days=days)
    validated = {
        "request_validated": True,
        "customer_tier": "standard",
        "original_purchase_date": purchased.isoformat(),
    }
    results = {"validate_refund_request": validated}
    return run(family, "check_refund_policy", {**TICKET, "refund_amount": amount}, results)


def test_the_limit_itself_is_within_it(family: Any) -> None:
    assert check(family, 10000).assert_success()["policy_compliant"] is True


def test_more_than_the_limit_is_refused(family: Any) -> None:
    refused(
        family,
        check(family, 10001),
        "EXCEEDS_AMOUNT_LIMIT",
        message="Refund amount exceeds policy limit: $100.01 (max: $100.00)",
    )


def test_after_the_window_is_refused(family: Any) -> None:
    refused(family, check(family, 100, days=31), "OUTSIDE_REFUND_WINDOW")


def test_a_manager_approves_where_that_is_needed(family: Any) -> None:
    approval = ask(family)["get_manager_approval"]
    assert re.fullmatch(r"appr_[0-9a-f]{16}", approval.pop("approval_id"))
    assert re.fullmatch(r"mgr_[1-5]", approval.pop("manager_id"))
    times(approval, "approved_at")
    assert approval == {
        "approval_obtained": True,
        "approval_required": True,
        "auto_approved": False,
        "manager_notes": "Approved refund request for customer customer_1",
        "namespace": "customer_success",
    }


def test_the_manager_of_a_ticket_is_the_same_in_every_process(family: Any) -> None:
    """The manager was chosen by a hash that differs from process to process."""
    assert ask(family)["get_manager_approval"]["manager_id"] == "mgr_4"


def test_where_no_approval_is_needed_none_is_asked_for(family: Any) -> None:
    approval = ask(family, customer_id="gold_1")["get_manager_approval"]
    times(approval, "approved_at")
    assert approval == {
        "approval_obtained": True,
        "approval_required": False,
        "auto_approved": True,
        "approval_id": None,
        "manager_id": None,
        "manager_notes": "Auto-approved for customer tier gold",
        "namespace": "customer_success",
    }


def approve(family: Any, ticket: str) -> StepRun:
    results = {
        "check_refund_policy": {"policy_checked": True, "requires_approval": True},
        "validate_refund_request": {"ticket_id": ticket, "customer_id": "c1"},
    }
    return run(family, "get_manager_approval", TICKET, results)


def test_a_manager_can_deny(family: Any) -> None:
    refused(family, approve(family, "ticket_denied_1"), "APPROVAL_DENIED")


def test_a_manager_can_take_time() -> None:
    refused(CLASSES, approve(CLASSES, "ticket_pending_1"), "APPROVAL_PENDING", retryable=True)
    assert approve(FUNCTIONS, "ticket_pending_1").is_success


def test_the_refund_is_handed_to_the_other_team(family: Any) -> None:
    delegation = ask(family)["execute_refund_workflow"]
    assert re.fullmatch(r"task_[0-9a-f-]{36}", delegation.pop("delegated_task_id"))
    times(delegation, "delegation_timestamp")
    assert delegation == {
        "task_delegated": True,
        "target_namespace": "payments",
        "target_workflow": "process_refund",
        "delegated_task_status": "created",
        "correlation_id": "c-1",
        "namespace": "customer_success",
    }


def test_a_refund_without_a_correlation_gets_one(family: Any) -> None:
    delegation = ask(family, correlation_id=None)["execute_refund_workflow"]
    assert re.fullmatch(r"cs-[0-9a-f]{16}", delegation["correlation_id"])


def test_a_refund_that_was_not_approved_is_not_handed_on(family: Any) -> None:
    refused(family, run(family, "execute_refund_workflow", TICKET), "MISSING_APPROVAL")


def test_a_refund_without_a_payment_is_not_handed_on(family: Any) -> None:
    results = {"get_manager_approval": {"approval_obtained": True}}
    refused(family, run(family, "execute_refund_workflow", TICKET, results), "MISSING_PAYMENT_ID")


def test_the_ticket_is_resolved(family: Any) -> None:
    results = ask(family)
    ticket = results["update_ticket_status"]
    task = results["execute_refund_workflow"]["delegated_task_id"]
    times(ticket, "updated_at")
    assert ticket == {
        "ticket_updated": True,
        "ticket_id": "ticket_1",
        "previous_status": "in_progress",
        "new_status": "resolved",
        "resolution_note": (
            "Refund of $50.00 processed successfully. "
            f"Delegated task ID: {task}. Correlation ID: c-1"
        ),
        "refund_completed": True,
        "delegated_task_id": task,
        "namespace": "customer_success",
    }


@pytest.mark.parametrize(
    ("ticket", "code"),
    [("ticket_locked_1", "TICKET_LOCKED"), ("ticket_update_error_1", "UPDATE_FAILED")],
)
def test_a_ticket_can_be_stuck(family: Any, ticket: str, code: str) -> None:
    results = {
        "execute_refund_workflow": {
            "task_delegated": True,
            "delegated_task_id": "t",
            "correlation_id": "c",
        },
        "validate_refund_request": {"ticket_id": ticket},
    }
    refused(family, run(family, "update_ticket_status", TICKET, results), code, retryable=True)


@pytest.mark.parametrize(
    ("step", "code"),
    [
        ("check_refund_policy", "MISSING_VALIDATION"),
        ("get_manager_approval", "MISSING_POLICY_CHECK"),
        ("update_ticket_status", "MISSING_DELEGATION"),
        ("process_gateway_refund", "MISSING_VALIDATION"),
        ("update_payment_records", "MISSING_REFUND"),
        ("notify_customer", "MISSING_REFUND"),
    ],
)
def test_a_step_needs_the_one_before(family: Any, step: str, code: str) -> None:
    refused(family, run(family, step, {**TICKET, **PAYMENT}), code)


def test_a_payment_is_validated(family: Any) -> None:
    validated = pay(family)["validate_payment_eligibility"]
    times(validated, "validation_timestamp")
    assert validated == {
        "payment_validated": True,
        "payment_id": "pay_1",
        "original_amount": 6000,
        "refund_amount": 5000,
        "payment_method": "credit_card",
        "gateway_provider": "MockPaymentGateway",
        "eligibility_status": "eligible",
        "namespace": "payments",
    }


@pytest.mark.parametrize(
    ("payment", "code", "retryable"),
    [
        ({"refund_amount": 1}, "MISSING_REQUIRED_FIELDS", False),
        ({"payment_id": "pay_1"}, "MISSING_REQUIRED_FIELDS", False),
        ({"payment_id": "pay_1", "refund_amount": 0}, "INVALID_REFUND_AMOUNT", False),
        ({"payment_id": "pay_1", "refund_amount": -1}, "INVALID_REFUND_AMOUNT", False),
        ({"payment_id": "1", "refund_amount": 1}, "INVALID_PAYMENT_ID", False),
        (
            {"payment_id": "pay_test_insufficient", "refund_amount": 1},
            "INSUFFICIENT_FUNDS",
            False,
        ),
        ({"payment_id": "pay_test_processing", "refund_amount": 1}, "PAYMENT_PROCESSING", True),
        ({"payment_id": "pay_test_ineligible", "refund_amount": 1}, "PAYMENT_INELIGIBLE", False),
    ],
)
def test_a_payment_can_be_refused(
    family: Any, payment: dict[str, Any], code: str, retryable: bool
) -> None:
    validated = run(family, "validate_payment_eligibility", payment)
    refused(family, validated, code, retryable=retryable)


def test_the_gateway_pays_back(family: Any) -> None:
    refund = pay(family)["process_gateway_refund"]
    processed = datetime.fromisoformat(refund["processed_at"])
    arrival = datetime.fromisoformat(refund["estimated_arrival"])
    assert arrival - processed == timedelta(days=5)
    assert re.fullmatch(r"rfnd_[0-9a-f]{24}", refund.pop("refund_id"))
    assert re.fullmatch(r"gtx_[0-9a-f]{20}", refund.pop("gateway_transaction_id"))
    times(refund, "processed_at", "estimated_arrival")
    assert refund == {
        "refund_processed": True,
        "payment_id": "pay_1",
        "refund_amount": 5000,
        "refund_status": "processed",
        "gateway_provider": "MockPaymentGateway",
        "namespace": "payments",
    }


@pytest.mark.parametrize(
    ("payment", "code", "retryable"),
    [
        ("pay_test_gateway_timeout", "GATEWAY_TIMEOUT", True),
        ("pay_test_gateway_error", "GATEWAY_REFUND_FAILED", False),
        ("pay_test_rate_limit", "RATE_LIMITED", True),
    ],
)
def test_the_gateway_can_fail(family: Any, payment: str, code: str, retryable: bool) -> None:
    validated = {"payment_validated": True, "payment_id": payment, "refund_amount": 1}
    results = {"validate_payment_eligibility": validated}
    refused(
        family,
        run(family, "process_gateway_refund", PAYMENT, results),
        code,
        retryable=retryable,
    )


def test_the_record_tells_what_was_paid_back(family: Any) -> None:
    results = pay(family)
    record = results["update_payment_records"]
    assert re.fullmatch(r"rec_[0-9a-f]{16}", record.pop("record_id"))
    times(record, "updated_at")
    assert record == {
        "records_updated": True,
        "payment_id": "pay_1",
        "refund_id": results["process_gateway_refund"]["refund_id"],
        "payment_status": "refunded",
        "refund_status": "completed",
        "history_entries_created": 2,
        "namespace": "payments",
    }


@pytest.mark.parametrize(
    ("payment", "code"),
    [("pay_test_record_lock", "RECORD_LOCKED"), ("pay_test_record_error", "UPDATE_FAILED")],
)
def test_the_record_can_be_stuck(family: Any, payment: str, code: str) -> None:
    refunded = {"refund_processed": True, "payment_id": payment, "refund_id": "r"}
    results = {"process_gateway_refund": refunded}
    stuck = run(family, "update_payment_records", PAYMENT, results)
    refused(family, stuck, code, retryable=True)


def test_the_customer_is_told(family: Any) -> None:
    results = pay(family)
    mail = results["notify_customer"]
    assert re.fullmatch(r"msg_[0-9a-f]{24}", mail.pop("message_id"))
    times(mail, "sent_at")
    assert mail == {
        "notification_sent": True,
        "customer_email": "ada@example.com",
        "notification_type": "refund_confirmation",
        "delivery_status": "delivered",
        "refund_id": results["process_gateway_refund"]["refund_id"],
        "refund_amount": 5000,
        "namespace": "payments",
    }


def tell(family: Any, email: str | None) -> StepRun:
    refunded = {"refund_processed": True, "refund_id": "r", "refund_amount": 1}
    results = {"process_gateway_refund": refunded}
    return run(family, "notify_customer", {"customer_email": email}, results)


@pytest.mark.parametrize(
    ("email", "code"),
    [(None, "MISSING_CUSTOMER_EMAIL"), ("ada at home", "INVALID_EMAIL_FORMAT")],
)
def test_a_customer_without_an_address_cannot_be_told(
    family: Any, email: str | None, code: str
) -> None:
    refused(family, tell(family, email), code)


@pytest.mark.parametrize(
    ("email", "code", "retryable"),
    [
        ("ada@test_bounce.com", "EMAIL_BOUNCED", False),
        ("ada@test_invalid.com", "INVALID_EMAIL", False),
        ("ada@test_rate_limit.com", "RATE_LIMITED", True),
    ],
)
def test_a_mail_can_fail_in_classes_only(email: str, code: str, retryable: bool) -> None:
    refused(CLASSES, tell(CLASSES, email), code, retryable=retryable)
    assert tell(FUNCTIONS, email).is_success
