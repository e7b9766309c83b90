"""Take an order and tell others what happens to it: as classes."""

import os
import time
from datetime import datetime, timezone
from typing import Any
from uuid import uuid4

from tasker_core import StepContext, StepHandler, StepHandlerResult

from . import publishers

_MODULE = "domain_events_py.step_handlers"

# The worker asks the registry for the publishers that templates name.
publishers.register("domain_events_py")


def now() -> str:
    """Return the time as handlers tell it."""
    return datetime.now(timezone.utc).isoformat()


def checks_of(amount: float) -> list[str]:
    """Return what an order of this amount has passed."""
    checks = ["order_id_present", "customer_id_present"]
    return [*checks, "amount_positive"] if amount > 0 else checks


def items() -> list[dict[str, Any]]:
    """Return what every order here is made of."""
    return [{"sku": "ITEM-001", "quantity": 1}, {"sku": "ITEM-002", "quantity": 2}]


def setting(context: StepContext, key: str, default: str) -> str:
    """Return a setting that the template gives the handler."""
    return str(context.step_config.get(key, default))


def metadata(handler: StepHandler, started: float, **settings: str) -> dict[str, Any]:
    """Return what a result tells beside itself, and say in tests that there is one."""
    if os.environ.get("TASKER_ENV") == "test":
        print(f"{type(handler).__name__} done: {settings}")
    return {"execution_time_ms": int((time.monotonic() - started) * 1000), **settings}


class ValidateOrderHandler(StepHandler):
    """Look whether the order is complete."""

    handler_name = f"{_MODULE}.ValidateOrderHandler"
    handler_version = "1.0.0"

    def call(self, context: StepContext) -> StepHandlerResult:
        """Return the checks that the order has passed."""
        started = time.monotonic()
        mode = setting(context, "validation_mode", "standard")
        amount = context.get_input_or("amount", 0)
        if mode == "strict" and amount <= 0:
            return self.failure(
                "Amount must be positive in strict mode",
                error_type="ValidationError",
                retryable=False,
            )
        return self.success(
            {
                "order_id": context.get_input("order_id") or str(uuid4()),
                "validation_timestamp": now(),
                "validation_checks": checks_of(amount),
                "validated": True,
            },
            metadata(self, started, validation_mode=mode),
        )


class ProcessPaymentHandler(StepHandler):
    """Take the payment."""

    handler_name = f"{_MODULE}.ProcessPaymentHandler"
    handler_version = "1.0.0"

    def call(self, context: StepContext) -> StepHandlerResult:
        """Return the payment, or fail if the input asks for it."""
        started = time.monotonic()
        provider = setting(context, "payment_provider", "mock")
        if context.get_input("simulate_failure"):
            return self.failure(
                "Simulated payment failure",
                error_type="PaymentError",
                retryable=True,
                metadata={"order_id": context.get_input("order_id"), "failed_at": now()},
            )
        return self.success(
            {
                "transaction_id": f"TXN-{uuid4()}",
                "amount": context.get_input_or("amount", 0),
                "payment_method": "credit_card",
                "processed_at": now(),
                "status": "success",
            },
            metadata(self, started, payment_provider=provider),
        )


class UpdateInventoryHandler(StepHandler):
    """Take the goods from the stock."""

    handler_name = f"{_MODULE}.UpdateInventoryHandler"
    handler_version = "1.0.0"

    def call(self, context: StepContext) -> StepHandlerResult:
        """Return what was taken."""
        started = time.monotonic()
        source = setting(context, "inventory_source", "mock")
        return self.success(
            {
                "order_id": context.get_input_or("order_id", "unknown"),
                "items": items(),
                "success": True,
                "updated_at": now(),
            },
            metadata(self, started, inventory_source=source),
        )


class SendNotificationHandler(StepHandler):
    """Tell the customer."""

    handler_name = f"{_MODULE}.SendNotificationHandler"
    handler_version = "1.0.0"

    def call(self, context: StepContext) -> StepHandlerResult:
        """Return how the customer was told."""
        started = time.monotonic()
        channel = setting(context, "notification_type", "email")
        return self.success(
            {
                "notification_id": f"NOTIF-{uuid4()}",
                "channel": channel,
                "recipient": context.get_input_or("customer_id", "unknown"),
                "sent_at": now(),
                "status": "delivered",
            },
            metadata(self, started, notification_type=channel),
        )
