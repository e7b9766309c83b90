"""Take an order and tell others what happens to it: as functions."""

from typing import Any
from uuid import uuid4

from tasker_core import StepContext, StepHandlerResult
from tasker_core.step_handler import inputs, step_handler

from . import publishers
from .handlers import checks_of, items, now

_MODULE = "domain_events_dsl_py.step_handlers"

publishers.register("domain_events_dsl_py")


@step_handler(f"{_MODULE}.validate_order")
@inputs("order_id", "amount")
def validate_order(
    order_id: str | None, amount: float | None, context: StepContext
) -> dict[str, Any] | StepHandlerResult:
    """Look whether the order is complete."""
    if context.get_config("validation_mode") == "strict" and (amount or 0) <= 0:
        return StepHandlerResult.failure(
            "Amount must be positive in strict mode", "ValidationError", retryable=False
        )
    return {
        "order_id": order_id or str(uuid4()),
        "validation_timestamp": now(),
        "validation_checks": checks_of(amount or 0),
        "validated": True,
    }


@step_handler(f"{_MODULE}.process_payment")
@inputs("order_id", "amount", "simulate_failure")
def process_payment(
    order_id: str | None, amount: float | None, simulate_failure: bool | None
) -> dict[str, Any] | StepHandlerResult:
    """Take the payment."""
    if simulate_failure:
        return StepHandlerResult.failure(
            "Simulated payment failure",
            "PaymentError",
            metadata={"order_id": order_id, "failed_at": now()},
        )
    return {
        "transaction_id": f"TXN-{uuid4()}",
        "amount": 0 if amount is None else amount,
        "payment_method": "credit_card",
        "processed_at": now(),
        "status": "success",
    }


@step_handler(f"{_MODULE}.update_inventory")
@inputs("order_id")
def update_inventory(order_id: str | None) -> dict[str, Any]:
    """Take the goods from the stock."""
    return {
        "order_id": "unknown" if order_id is None else order_id,
        "items": items(),
        "success": True,
        "updated_at": now(),
    }


@step_handler(f"{_MODULE}.send_notification")
@inputs("customer_id")
def send_notification(customer_id: str | None, context: StepContext) -> dict[str, Any]:
    """Tell the customer."""
    return {
        "notification_id": f"NOTIF-{uuid4()}",
        "channel": context.get_config("notification_type") or "email",
        "recipient": "unknown" if customer_id is None else customer_id,
        "sent_at": now(),
        "status": "delivered",
    }
