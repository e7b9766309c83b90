"""Who approves what."""

from collections.abc import Iterable
from typing import Any

SMALL_THRESHOLD = 1000.0
LARGE_THRESHOLD = 5000.0

APPROVAL_STEPS = ("auto_approve", "manager_approval", "finance_review")

_APPROVALS: dict[str, dict[str, Any]] = {
    "auto": {"approver": "system", "notes": "Auto-approved for amounts under $1,000"},
    "manager": {"approver": "manager@example.com", "notes": "Manager approved after review"},
    "finance": {
        "approver": "finance@example.com",
        "budget_code": "CAPEX-2024",
        "notes": "Finance review completed for large amount",
    },
}


def errors_of(request: dict[str, Any]) -> list[str]:
    """Return what is wrong with a request."""
    errors = []
    amount = request.get("amount")
    if amount is None:
        errors.append("amount is required")
    elif isinstance(amount, bool) or not isinstance(amount, (int, float)) or amount <= 0:
        errors.append("amount must be a positive number")
    for name in ("requester", "purpose"):
        text = request.get(name)
        if not isinstance(text, str) or not text.strip():
            errors.append(f"{name} is required")
    return errors


def request_of(given: dict[str, Any]) -> dict[str, Any]:
    """Return what later steps need of a request."""
    return {name: given[name] for name in ("amount", "requester", "purpose")}


def route(amount: float) -> tuple[str, str, list[str]]:
    """Return the way's name, the threshold's name and the steps to take."""
    if amount < SMALL_THRESHOLD:
        return "auto", "small", ["auto_approve"]
    if amount < LARGE_THRESHOLD:
        return "manager", "medium", ["manager_approval"]
    return "dual", "large", ["manager_approval", "finance_review"]


def amount_of(routed: dict[str, Any]) -> float:
    """Return the amount that the decision was about."""
    amount: float = (routed.get("routing_context") or {}).get("amount", 0)
    return amount


def approval(approval_type: str, amount: float) -> dict[str, Any]:
    """Return one approval."""
    return {
        "approved": True,
        "approval_type": approval_type,
        "approved_amount": amount,
        **_APPROVALS[approval_type],
    }


def finalized(results: Iterable[dict[str, Any] | None]) -> dict[str, Any]:
    """Return what the approvals come to; steps that were not taken count for nothing."""
    approvals = [
        {
            "type": result["approval_type"],
            "approved": result["approved"],
            "approver": result["approver"],
        }
        for result in results
        if result
    ]
    all_approved = all(approval["approved"] for approval in approvals)
    return {
        "approvals": approvals,
        "approval_count": len(approvals),
        "all_approved": all_approved,
        "final_status": "approved" if all_approved else "rejected",
    }
