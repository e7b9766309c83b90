"""How a publisher shapes an event."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest
from tasker_core.domain_events import BasePublisher, DefaultPublisher, StepEventContext
from taskerpy_host.context import StepTimeout


class Tracer(BasePublisher):
    """Writes down the hooks that are called; ``answers`` is what they do."""

    publisher_name = "tracer"

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.calls: list[str] = []
        self.arguments: dict[str, tuple[Any, ...]] = {}

    def _hook(self, name: str, default: Any, *arguments: Any) -> Any:
        self.calls.append(name)
        self.arguments[name] = arguments
        answer = self.answers.get(name, default)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def should_publish(self, ctx: Any) -> Any:
        return self._hook("should_publish", True, ctx)

    def transform_payload(self, ctx: Any) -> Any:
        return self._hook("transform_payload", {"total": 5}, ctx)

    def additional_metadata(self, ctx: Any) -> Any:
        return self._hook("additional_metadata", {}, ctx)

    def before_publish(self, *arguments: Any) -> Any:
        return self._hook("before_publish", True, *arguments)

    def after_publish(self, *arguments: Any) -> Any:
        return self._hook("after_publish", None, *arguments)

    def on_publish_error(self, *arguments: Any) -> Any:
        return self._hook("on_publish_error", None, *arguments)


def test_a_publisher_without_name_cannot_be_made() -> None:
    with pytest.raises(TypeError):
        BasePublisher()  # type: ignore[abstract]


def test_a_publisher_may_name_itself_with_a_property() -> None:
    class Named(BasePublisher):
        @property
        def publisher_name(self) -> str:
            return "orders"

    assert Named().publisher_name == "orders"


def test_a_publisher_may_be_a_dataclass() -> None:
    @dataclass
    class Configured(BasePublisher):
        region: str
        publisher_name = "configured"

    assert Configured("eu").region == "eu"


def test_the_default_publisher_is_called_default() -> None:
    assert DefaultPublisher().publisher_name == "default"


@pytest.mark.parametrize(("result", "payload"), [({"a": 1}, {"a": 1}), (None, {}), ({}, {})])
def test_the_default_publisher_publishes_the_result(
    ctx: StepEventContext, result: Any, payload: Any
) -> None:
    ctx.result = result
    assert DefaultPublisher().transform_payload(ctx) == payload


def test_the_hooks_do_nothing_special_by_themselves(ctx: StepEventContext) -> None:
    publisher = DefaultPublisher()
    assert publisher.should_publish(ctx) is True
    assert publisher.additional_metadata(ctx) == {}
    assert publisher.before_publish("x.y", {}, {}) is True


def test_publishing_with_the_default_hooks_succeeds(ctx: StepEventContext) -> None:
    assert DefaultPublisher().publish(ctx) is True


def test_hooks_are_called_in_order(ctx: StepEventContext) -> None:
    publisher = Tracer()
    assert publisher.publish(ctx) is True
    assert publisher.calls == [
        "should_publish",
        "transform_payload",
        "additional_metadata",
        "before_publish",
        "after_publish",
    ]


def test_hooks_are_given_name_payload_and_metadata(ctx: StepEventContext) -> None:
    publisher = Tracer(additional_metadata={"region": "eu"})
    publisher.publish(ctx, event_name="payment.processed")
    name, payload, metadata = publisher.arguments["before_publish"]
    assert (name, payload, metadata["region"]) == ("payment.processed", {"total": 5}, "eu")
    assert publisher.arguments["after_publish"] == (name, payload, metadata)


@pytest.mark.parametrize("given", [None, ""])
def test_an_event_without_name_is_called_as_the_step(ctx: StepEventContext, given: Any) -> None:
    publisher = Tracer()
    publisher.publish(ctx, given)
    assert publisher.arguments["before_publish"][0] == "process_payment"


def test_metadata_tells_who_published_what_and_when(ctx: StepEventContext) -> None:
    publisher = Tracer()
    publisher.publish(ctx)
    metadata = publisher.arguments["before_publish"][2]
    published_at = datetime.fromisoformat(metadata.pop("published_at"))
    assert published_at.utcoffset() == timedelta(0)
    assert metadata == {
        "publisher": "tracer",
        "task_uuid": ctx.task_uuid,
        "step_uuid": ctx.step_uuid,
        "step_name": "process_payment",
        "namespace": "shop",
        "correlation_id": ctx.correlation_id,
    }


def test_metadata_of_the_step_lies_over_the_usual_and_the_additional_over_both(
    ctx: StepEventContext,
) -> None:
    ctx.metadata = {"namespace": "step", "source": "step"}
    publisher = Tracer(additional_metadata={"source": "publisher", "publisher": "me"})
    publisher.publish(ctx)
    metadata = publisher.arguments["before_publish"][2]
    assert (metadata["namespace"], metadata["source"]) == ("step", "publisher")
    assert metadata["publisher"] == "me"


@pytest.mark.parametrize("no", [False, None, 0])
def test_a_declined_event_calls_nothing_else(ctx: StepEventContext, no: Any) -> None:
    publisher = Tracer(should_publish=no)
    assert publisher.publish(ctx) is False
    assert publisher.calls == ["should_publish"]


@pytest.mark.parametrize("no", [False, None])
def test_an_event_held_back_is_not_reported_as_published(ctx: StepEventContext, no: Any) -> None:
    publisher = Tracer(before_publish=no)
    assert publisher.publish(ctx) is False
    assert publisher.calls[-1] == "before_publish"


@pytest.mark.parametrize("hook", ["before_publish", "after_publish"])
def test_an_error_around_publishing_is_reported(ctx: StepEventContext, hook: str) -> None:
    error = ValueError("no")
    publisher = Tracer(**{hook: error})
    assert publisher.publish(ctx, "x.y") is False
    assert publisher.arguments["on_publish_error"] == ("x.y", error, {"total": 5})


def test_an_error_of_a_publisher_is_logged(
    ctx: StepEventContext, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(DefaultPublisher):
        def before_publish(self, *_: Any) -> bool:
            raise ValueError("no stock")

    Failing().publish(ctx, "x.y")
    assert "Failing: x.y was not published: ValueError: no stock" in caplog.text


@pytest.mark.parametrize("hook", ["before_publish", "after_publish"])
def test_a_handler_that_publishes_can_be_interrupted_in_a_hook(
    ctx: StepEventContext, hook: str
) -> None:
    publisher = Tracer(**{hook: StepTimeout()})
    with pytest.raises(StepTimeout):
        publisher.publish(ctx)
    assert "on_publish_error" not in publisher.calls


@pytest.mark.parametrize("hook", ["should_publish", "transform_payload", "additional_metadata"])
def test_an_error_before_there_is_an_event_reaches_the_caller(
    ctx: StepEventContext, hook: str
) -> None:
    publisher = Tracer(**{hook: ValueError("no")})
    with pytest.raises(ValueError, match="no"):
        publisher.publish(ctx)
    assert "on_publish_error" not in publisher.calls
