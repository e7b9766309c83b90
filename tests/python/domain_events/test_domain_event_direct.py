"""Events that a program publishes itself."""

from typing import Any
from uuid import UUID

import pytest
import tasker_core
from tasker_core import _tasker_core
from tasker_core.domain_events import publish_domain_event
from taskerpy_host.context import StepInfo, current_step

from tests.python.core.conftest import FakeHost

EVENT = "018f0000-0000-7000-8000-000000000001"


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> FakeHost:
    """A host that publishes everything."""
    fake = FakeHost()
    fake.answers["publish_domain_event"] = EVENT
    monkeypatch.setattr(_tasker_core, "_taskerpy", fake)
    return fake


def request(host: FakeHost) -> dict[str, Any]:
    name, payload = host.only_call
    assert name == "publish_domain_event"
    assert isinstance(payload, dict)
    return payload


def test_an_event_is_handed_to_the_host(host: FakeHost) -> None:
    assert tasker_core.publish_domain_event("stock.low", {"left": 3}) == EVENT
    published = request(host)
    assert (published["event_name"], published["payload"]) == ("stock.low", {"left": 3})
    metadata = published["metadata"]
    UUID(metadata.pop("correlation_id"))
    assert metadata == {
        "task_uuid": "00000000-0000-0000-0000-000000000000",
        "step_uuid": None,
        "step_name": None,
        "namespace": None,
        "fired_by": "publish_domain_event",
    }


def test_an_event_of_a_handler_belongs_to_its_step(host: FakeHost) -> None:
    token = current_step.set(StepInfo("pay", "task-1", "correlation-1", "event-1"))
    try:
        publish_domain_event("stock.low", {})
    finally:
        current_step.reset(token)
    metadata = request(host)["metadata"]
    assert (metadata["task_uuid"], metadata["correlation_id"]) == ("task-1", "correlation-1")
    assert metadata["step_name"] == metadata["fired_by"] == "pay"


def test_metadata_is_added_and_wins(host: FakeHost) -> None:
    publish_domain_event("stock.low", {}, {"namespace": "shop", "task_uuid": "t", "tries": 2})
    metadata = request(host)["metadata"]
    assert (metadata["namespace"], metadata["task_uuid"], metadata["tries"]) == ("shop", "t", 2)


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ((5, {}), TypeError, "name must be str, not int"),
        (("", {}), ValueError, "needs a name"),
        (("a", []), TypeError, "payload must be dict, not list"),
        (("a", {}, []), TypeError, "metadata must be dict, not list"),
        (("a", {"x": object()}), ValueError, "Failed to convert domain event"),
    ],
)
def test_wrong_arguments_are_refused(
    host: FakeHost, arguments: tuple[Any, ...], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        publish_domain_event(*arguments)
    assert host.calls == []


def test_publishing_needs_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_tasker_core, "_taskerpy", None)
    with pytest.raises(RuntimeError, match="not initialized"):
        publish_domain_event("stock.low", {})
