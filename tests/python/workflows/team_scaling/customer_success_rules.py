"""How the customer success team decides about refunds. Amounts are in cents."""

from datetime import datetime, timedelta, timezone
from typing import NamedTuple
from uuid import uuid4
from zlib import crc32

from .refusal import (
    Data,
    RefundRefusedError,
    Simulated,
    new_id,
    now,
    refuse_simulated,
    require,
    require_fields,
)

_NAMESPACE = {"namespace": "customer_success"}
_DAYS_SINCE_PURCHASE = 30
_MANAGERS = 5


class _Policy(NamedTuple):
    window_days: int
    requires_approval: bool
    max_amount: int


_POLICIES = {
    "standard": _Policy(30, True, 10_000),
    "gold": _Policy(60, False, 50_000),
    "premium": _Policy(90, False, 100_000),
}

CLOSED_TICKETS: Simulated = {
    f"ticket_{state}": (f"TICKET_{state.upper()}", f"Ticket is {state}, no refund is made", False)
    for state in ("closed", "cancelled", "duplicate")
}
DENIED_TICKETS: Simulated = {
    "ticket_denied": ("APPROVAL_DENIED", "Manager denied the refund request", False)
}
PENDING_TICKETS: Simulated = {
    "ticket_pending": ("APPROVAL_PENDING", "Waiting for manager approval", True)
}
STUCK_TICKETS: Simulated = {
    "ticket_locked": ("TICKET_LOCKED", "Ticket is locked by another agent", True),
    "ticket_update_error": ("UPDATE_FAILED", "Ticket system did not take the update", True),
}


def validate_request(request: Data) -> Data:
    """Return who asks for the refund, and what for."""
    require_fields(request, ("ticket_id", "customer_id", "refund_amount"), "refund validation")
    refuse_simulated(request["ticket_id"], CLOSED_TICKETS)
    purchased = datetime.now(timezone.utc) - timedelta(days=_DAYS_SINCE_PURCHASE)
    return {
        "request_validated": True,
        "ticket_id": request["ticket_id"],
        "customer_id": request["customer_id"],
        "ticket_status": "open",
        "customer_tier": _tier(str(request["customer_id"])),
        "original_purchase_date": purchased.isoformat(),
        "payment_id": new_id("pay_", 12),
        "validation_timestamp": now(),
        **_NAMESPACE,
    }


def _tier(customer_id: str) -> str:
    if "vip" in customer_id or "premium" in customer_id:
        return "premium"
    return "gold" if "gold" in customer_id else "standard"


def check_policy(validated: Data | None, refund_amount: int | None) -> Data:
    """Return what the policy of the customer's tier says."""
    validated = require(
        validated,
        "request_validated",
        "MISSING_VALIDATION",
        "Request validation must be completed before the policy is checked",
    )
    tier = validated["customer_tier"]
    policy = _POLICIES.get(tier, _POLICIES["standard"])
    purchased = datetime.fromisoformat(validated["original_purchase_date"])
    days = (datetime.now(timezone.utc) - purchased).days
    if days > policy.window_days:
        raise RefundRefusedError(
            "OUTSIDE_REFUND_WINDOW",
            f"Refund request outside policy window: {days} days (max: {policy.window_days} days)",
        )
    amount = refund_amount or 0
    if amount > policy.max_amount:
        raise RefundRefusedError(
            "EXCEEDS_AMOUNT_LIMIT",
            f"Refund amount exceeds policy limit: ${amount / 100:.2f} "
            f"(max: ${policy.max_amount / 100:.2f})",
        )
    return {
        "policy_checked": True,
        "policy_compliant": True,
        "customer_tier": tier,
        "refund_window_days": policy.window_days,
        "days_since_purchase": days,
        "within_refund_window": True,
        "requires_approval": policy.requires_approval,
        "max_allowed_amount": policy.max_amount,
        "policy_checked_at": now(),
        **_NAMESPACE,
    }


def approve(
    policy: Data | None, validated: Data | None, simulated: Simulated = DENIED_TICKETS
) -> Data:
    """Return the approval of a manager, or that none is needed."""
    policy = require(
        policy,
        "policy_checked",
        "MISSING_POLICY_CHECK",
        "Policy check must be completed before approval",
    )
    ticket_id = (validated or {}).get("ticket_id")
    approval = {"approval_obtained": True, "approved_at": now(), **_NAMESPACE}
    if not policy["requires_approval"]:
        return {
            **approval,
            "approval_required": False,
            "auto_approved": True,
            "approval_id": None,
            "manager_id": None,
            "manager_notes": f"Auto-approved for customer tier {policy['customer_tier']}",
        }
    refuse_simulated(ticket_id, simulated)
    # A checksum: the manager of a ticket is the same in every process.
    manager = crc32(str(ticket_id).encode()) % _MANAGERS + 1
    return {
        **approval,
        "approval_required": True,
        "auto_approved": False,
        "approval_id": new_id("appr_", 16),
        "manager_id": f"mgr_{manager}",
        "manager_notes": (
            f"Approved refund request for customer {(validated or {}).get('customer_id')}"
        ),
    }


def delegate(approval: Data | None, validated: Data | None, correlation_id: str | None) -> Data:
    """Return the task that was handed to the payments team."""
    require(
        approval,
        "approval_obtained",
        "MISSING_APPROVAL",
        "Manager approval must be obtained before the refund is executed",
    )
    require(validated, "payment_id", "MISSING_PAYMENT_ID", "Payment ID not found")
    return {
        "task_delegated": True,
        "target_namespace": "payments",
        "target_workflow": "process_refund",
        "delegated_task_id": f"task_{uuid4()}",
        "delegated_task_status": "created",
        "delegation_timestamp": now(),
        "correlation_id": correlation_id or new_id("cs-", 16),
        **_NAMESPACE,
    }


def resolve_ticket(
    delegation: Data | None,
    validated: Data | None,
    refund_amount: int | None,
    simulated: Simulated = STUCK_TICKETS,
) -> Data:
    """Return the ticket's new state."""
    delegation = require(
        delegation,
        "task_delegated",
        "MISSING_DELEGATION",
        "Refund must be delegated before the ticket is updated",
    )
    ticket_id = (validated or {}).get("ticket_id")
    refuse_simulated(ticket_id, simulated)
    task, correlation = delegation["delegated_task_id"], delegation["correlation_id"]
    return {
        "ticket_updated": True,
        "ticket_id": ticket_id,
        "previous_status": "in_progress",
        "new_status": "resolved",
        "resolution_note": (
            f"Refund of ${(refund_amount or 0) / 100:.2f} processed successfully. "
            f"Delegated task ID: {task}. Correlation ID: {correlation}"
        ),
        "updated_at": now(),
        "refund_completed": True,
        "delegated_task_id": task,
        **_NAMESPACE,
    }
