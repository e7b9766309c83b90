"""How the payments team pays back. Amounts are in cents."""

import re
from datetime import datetime, timedelta, timezone

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

_NAMESPACE = {"namespace": "payments"}
_GATEWAY = "MockPaymentGateway"
_PAYMENT_ID = re.compile(r"^pay_[a-zA-Z0-9_]+$")
_EMAIL = re.compile(r"^[^@\s]+@[^@\s]+$")
# What was paid, beyond what is paid back.
_KEPT_AMOUNT = 1000
_ARRIVAL_DAYS = 5

INELIGIBLE_PAYMENTS: Simulated = {
    "pay_test_insufficient": ("INSUFFICIENT_FUNDS", "Insufficient funds for the refund", False),
    "pay_test_processing": ("PAYMENT_PROCESSING", "Payment is still being processed", True),
    "pay_test_ineligible": ("PAYMENT_INELIGIBLE", "Payment is not eligible for a refund", False),
}
GATEWAY_FAILURES: Simulated = {
    "pay_test_gateway_timeout": ("GATEWAY_TIMEOUT", "Gateway did not answer in time", True),
    "pay_test_gateway_error": ("GATEWAY_REFUND_FAILED", "Gateway refused the refund", False),
    "pay_test_rate_limit": ("RATE_LIMITED", "Gateway asks for fewer calls", True),
}
RECORD_FAILURES: Simulated = {
    "pay_test_record_lock": ("RECORD_LOCKED", "Payment record is locked", True),
    "pay_test_record_error": ("UPDATE_FAILED", "Payment record was not updated", True),
}
MAIL_FAILURES: Simulated = {
    "@test_bounce": ("EMAIL_BOUNCED", "Customer's mail bounced", False),
    "@test_invalid": ("INVALID_EMAIL", "Mail service does not know the address", False),
    "@test_rate_limit": ("RATE_LIMITED", "Mail service asks for fewer calls", True),
}
NONE: Simulated = {}


def validate_eligibility(request: Data) -> Data:
    """Return a payment that can be paid back."""
    require_fields(request, ("payment_id", "refund_amount"), "payment validation")
    payment_id, amount = request["payment_id"], request["refund_amount"]
    if amount <= 0:
        raise RefundRefusedError(
            "INVALID_REFUND_AMOUNT", f"Refund amount must be positive, got: {amount}"
        )
    if _PAYMENT_ID.match(str(payment_id)) is None:
        raise RefundRefusedError("INVALID_PAYMENT_ID", f"Invalid payment ID format: {payment_id}")
    refuse_simulated(payment_id, INELIGIBLE_PAYMENTS)
    return {
        "payment_validated": True,
        "payment_id": payment_id,
        "original_amount": amount + _KEPT_AMOUNT,
        "refund_amount": amount,
        "payment_method": "credit_card",
        "gateway_provider": _GATEWAY,
        "eligibility_status": "eligible",
        "validation_timestamp": now(),
        **_NAMESPACE,
    }


def refund(validated: Data | None) -> Data:
    """Return the gateway's refund."""
    validated = require(
        validated,
        "payment_validated",
        "MISSING_VALIDATION",
        "Payment validation must be completed before the refund",
    )
    refuse_simulated(validated["payment_id"], GATEWAY_FAILURES)
    processed = datetime.now(timezone.utc)
    return {
        "refund_processed": True,
        "refund_id": new_id("rfnd_", 24),
        "payment_id": validated["payment_id"],
        "refund_amount": validated["refund_amount"],
        "refund_status": "processed",
        "gateway_transaction_id": new_id("gtx_", 20),
        "gateway_provider": _GATEWAY,
        "processed_at": processed.isoformat(),
        "estimated_arrival": (processed + timedelta(days=_ARRIVAL_DAYS)).isoformat(),
        **_NAMESPACE,
    }


def _refunded(refunded: Data | None) -> Data:
    return require(
        refunded,
        "refund_processed",
        "MISSING_REFUND",
        "Gateway refund must be completed first",
    )


def update_records(refunded: Data | None) -> Data:
    """Return the payment's new record."""
    refunded = _refunded(refunded)
    refuse_simulated(refunded["payment_id"], RECORD_FAILURES)
    return {
        "records_updated": True,
        "payment_id": refunded["payment_id"],
        "refund_id": refunded["refund_id"],
        "record_id": new_id("rec_", 16),
        "payment_status": "refunded",
        "refund_status": "completed",
        "history_entries_created": 2,
        "updated_at": now(),
        **_NAMESPACE,
    }


def notify(
    refunded: Data | None, customer_email: str | None, simulated: Simulated = MAIL_FAILURES
) -> Data:
    """Return the mail to the customer."""
    refunded = _refunded(refunded)
    if not customer_email:
        raise RefundRefusedError("MISSING_CUSTOMER_EMAIL", "Customer email is required")
    if _EMAIL.match(customer_email) is None:
        raise RefundRefusedError(
            "INVALID_EMAIL_FORMAT", f"Invalid customer email format: {customer_email}"
        )
    refuse_simulated(customer_email, simulated)
    return {
        "notification_sent": True,
        "customer_email": customer_email,
        "message_id": new_id("msg_", 24),
        "notification_type": "refund_confirmation",
        "sent_at": now(),
        "delivery_status": "delivered",
        "refund_id": refunded["refund_id"],
        "refund_amount": refunded["refund_amount"],
        **_NAMESPACE,
    }
