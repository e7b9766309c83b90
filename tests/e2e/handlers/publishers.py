"""Publishers of domain events that do not do what they should."""

import time
from pathlib import Path
from typing import Any

from tasker_core.domain_events import DefaultPublisher, PublisherRegistry, StepEventContext

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
