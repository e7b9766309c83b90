"""A step whose events a publisher shapes and subscribers write down, a line each."""

import json
import os
import signal
from pathlib import Path
from typing import Any

from tasker_core import StepContext, StepHandler, StepHandlerResult
from tasker_core.domain_events import (
    BasePublisher,
    BaseSubscriber,
    PublisherRegistry,
    StepEventContext,
    SubscriberRegistry,
)

FOLDER = Path(os.environ.get("NOTICES", "."))


class PayHandler(StepHandler):
    """Takes the amount; -1 cannot be taken."""

    handler_name = "notices.PayHandler"

    def call(self, context: StepContext) -> StepHandlerResult:
        """Return what was paid."""
        amount = context.get_input("amount")
        if amount == -1:
            return self.failure("no funds", error_type="PaymentError", retryable=False)
        return self.success({"amount": amount, "card": "4111"})


class PaymentPublisher(BasePublisher):
    """Publishes amounts without cards, and nothing of gifts."""

    publisher_name = "notices.PaymentPublisher"

    def should_publish(self, ctx: StepEventContext) -> bool:
        """Hold gifts back; what has no amount at all cannot be judged."""
        return bool((ctx.result or {}).get("amount", "unknown"))

    def transform_payload(self, ctx: StepEventContext) -> dict[str, Any]:
        """Leave the card out; 666 is an amount that cannot be shaped."""
        if (ctx.result or {}).get("amount") == 666:
            raise ValueError("no such amount")
        return {key: value for key, value in (ctx.result or {}).items() if key != "card"}

    def additional_metadata(self, ctx: StepEventContext) -> dict[str, Any]:
        """Say who may see it."""
        return {"audience": "accounting"}

    def after_publish(
        self, event_name: str, payload: dict[str, Any], metadata: dict[str, Any]
    ) -> None:
        """Fail, which nobody is to notice."""
        raise RuntimeError("after the event is before the event")


class Ledger(BaseSubscriber):
    """Writes payments down."""

    @classmethod
    def subscribes_to(cls) -> list[str]:
        """Return what has to do with payments."""
        return ["payment.*"]

    def handle(self, event: dict[str, Any]) -> None:
        """Write one line, and be killed if the input wants it, once."""
        write("ledger", event)
        killed = FOLDER / "killed"
        unlucky = self.business_payload(event).get("amount") == 13
        if unlucky and event["event_name"] == "payment.made" and not killed.exists():
            killed.touch()
            os.kill(os.getpid(), signal.SIGKILL)


class Broken(BaseSubscriber):
    """Fails with every event."""

    @classmethod
    def subscribes_to(cls) -> list[str]:
        """Return everything."""
        return ["*"]

    def handle(self, event: dict[str, Any]) -> None:
        """Fail."""
        raise RuntimeError("broken")

    def on_handle_error(self, event: dict[str, Any], error: Exception) -> None:
        """Write down that it failed."""
        write("errors", event)


def write(name: str, event: dict[str, Any]) -> None:
    """Append an event to a file, in one write."""
    line = {
        "id": str(event["event_id"]),
        "name": event["event_name"],
        "payload": event["payload"]["payload"],
        "fired_by": event["metadata"]["fired_by"],
    }
    log = os.open(FOLDER / name, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(log, f"{json.dumps(line)}\n".encode())
    os.close(log)


PublisherRegistry.instance().register(PaymentPublisher())
SubscriberRegistry.instance().register(Ledger)
SubscriberRegistry.instance().register_instance(Broken())
