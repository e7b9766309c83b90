"""Events, publishers and subscribers for the tests of domain events."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tasker_core.domain_events import (
    BaseSubscriber,
    PublisherRegistry,
    StepEventContext,
    SubscriberRegistry,
)
from tasker_core.types import InProcessDomainEvent

TASK = "0190c0de-0000-7000-8000-000000000001"
STEP = "0190c0de-0000-7000-8000-000000000002"
EVENT = "0190c0de-0000-7000-8000-000000000003"
CORRELATION = "0190c0de-0000-7000-8000-000000000004"


@pytest.fixture(autouse=True)
def _fresh_registries() -> Iterator[None]:
    yield
    PublisherRegistry.reset()
    SubscriberRegistry.reset()


@pytest.fixture
def ctx() -> StepEventContext:
    """The context of a step that has taken a payment."""
    return StepEventContext(
        task_uuid=TASK,
        step_uuid=STEP,
        step_name="process_payment",
        namespace="shop",
        correlation_id=CORRELATION,
        result={"amount": 5},
    )


@pytest.fixture
def event_data() -> Callable[..., dict[str, Any]]:
    """An event as the native poll returns it."""

    def build(name: str = "payment.processed", **changes: Any) -> dict[str, Any]:
        return {
            "event_id": EVENT,
            "event_name": name,
            "event_version": "1.0",
            "metadata": {
                "task_uuid": TASK,
                "step_uuid": STEP,
                "step_name": "process_payment",
                "namespace": "shop",
                "correlation_id": CORRELATION,
                "fired_at": "2026-02-03T10:00:00.123456Z",
                "fired_by": "DefaultDomainEventPublisher",
            },
            "payload": {"payload": {"amount": 5}},
            **changes,
        }

    return build


@pytest.fixture
def event(event_data: Callable[..., dict[str, Any]]) -> Callable[[str], InProcessDomainEvent]:
    """An event as the poller hands it to callbacks."""
    return lambda name: InProcessDomainEvent.model_validate(event_data(name))


class Recorder(BaseSubscriber):
    """Writes down what it handles."""

    patterns = ("payment.*",)

    def __init__(self) -> None:
        super().__init__()
        self.handled: list[dict[str, Any]] = []

    @classmethod
    def subscribes_to(cls) -> list[str]:
        return list(cls.patterns)

    def handle(self, event: dict[str, Any]) -> None:
        self.handled.append(event)

    @property
    def names(self) -> list[str]:
        return [event["event_name"] for event in self.handled]


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def recorder_for() -> Callable[..., Recorder]:
    """A recorder with patterns of its own."""

    def build(*patterns: str) -> Recorder:
        made: Recorder = type("Recorder", (Recorder,), {"patterns": patterns})()
        return made

    return build
