"""Shape the events of the payment and notification steps, whichever way these are written."""

from typing import Any

from tasker_core.domain_events import DefaultPublisher, PublisherRegistry, StepEventContext


class PaymentEventPublisher(DefaultPublisher):
    """Publish what accounting may see of a payment."""

    def __init__(self, name: str) -> None:
        self.name = name

    @property
    def publisher_name(self) -> str:  # type: ignore[override]
        """The name that the template uses."""
        return self.name

    def transform_payload(self, ctx: StepEventContext) -> dict[str, Any]:
        """Return the payment, or its refusal, without more."""
        result = ctx.result or {}
        wanted = (
            "transaction_id",
            "amount",
            "payment_method",
            "error_code",
            "error_message",
        )
        return {key: result[key] for key in wanted if key in result}

    def additional_metadata(self, ctx: StepEventContext) -> dict[str, Any]:
        """Return for whom the event is of interest."""
        return {"audience": "accounting"}


class NotificationEventPublisher(DefaultPublisher):
    """Publish that a customer was told."""

    def __init__(self, name: str) -> None:
        self.name = name

    @property
    def publisher_name(self) -> str:  # type: ignore[override]
        """The name that the template uses."""
        return self.name

    def additional_metadata(self, ctx: StepEventContext) -> dict[str, Any]:
        """Return by which way the customer was told."""
        return {"channel": (ctx.result or {}).get("channel")}


def register(package: str) -> None:
    """Make the publishers known under the names that a template uses."""
    registry = PublisherRegistry.instance()
    for publisher in (PaymentEventPublisher, NotificationEventPublisher):
        registry.register(publisher(f"{package}.publishers.{publisher.__name__}"))
