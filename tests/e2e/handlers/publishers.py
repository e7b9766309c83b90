"""Publishers of domain events that do not do what they should, and a subscriber."""

import time
from pathlib import Path
from typing import Any

from tasker_core.domain_events import (
    BaseSubscriber,
    DefaultPublisher,
    PublisherRegistry,
    StepEventContext,
    SubscriberRegistry,
)

POLL = 0.005


class Broken(DefaultPublisher):
    """Fail."""

    publisher_name = "publishers.Broken"

    def transform_payload(self, ctx: StepEventContext) -> dict[str, Any]:
        """Raise."""
        raise RuntimeError("this publisher is broken")


class Slow(DefaultPublisher):
    """Wait until the test lets it go."""

    publisher_name = "publishers.Slow"

    def transform_payload(self, ctx: StepEventContext) -> dict[str, Any]:
        """Return the result once there is a file called open."""
        result: dict[str, Any] = ctx.result or {}
        notes = Path(result["notes"])
        (notes / "publishing").write_text(f"{ctx.step_uuid}\n")
        while not (notes / "open").exists():
            time.sleep(POLL)
        return result


for publisher in (Broken(), Slow()):
    PublisherRegistry.instance().register(publisher)


class Counter(BaseSubscriber):
    """Leave a line for each event that is handed on in the process."""

    @classmethod
    def subscribes_to(cls) -> list[str]:
        """Subscribe to the events of the tests that count them."""
        return ["counted.*"]

    def handle(self, event: dict[str, Any]) -> None:
        """Note the event's name."""
        with (Path(self.business_payload(event)["notes"]) / "counted").open("a") as file:
            file.write(f"{event['event_name']}\n")


SubscriberRegistry.instance().register(Counter)
