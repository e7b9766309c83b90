"""What the host publishes for a step that has ended."""

from typing import Any
from unittest.mock import Mock

import pytest
from tasker_core.domain_events import DefaultPublisher, PublisherRegistry, StepEventContext
from tasker_core.domain_events._publication import publish_step_events

from tests.python.domain_events.odd import ODD

SUCCESS = {"success": True, "result": {"amount": 5}, "metadata": {"retryable": False}}
RETRYABLE = {
    "success": False,
    "result": None,
    "metadata": {"retryable": True, "error_code": "E7", "error_type": "PaymentError"},
    "error": {"message": "declined", "error_type": "PaymentError"},
}
PERMANENT = {**RETRYABLE, "metadata": {"retryable": False}}


def step(*declared: Any, **changes: Any) -> dict[str, Any]:
    return {
        "task": {
            "task": {"task_uuid": "task-1", "correlation_id": "correlation-1"},
            "namespace_name": "shop",
        },
        "workflow_step": {"workflow_step_uuid": "step-1", "name": "process_payment"},
        "step_definition": {"publishes_events": list(declared)},
        **changes,
    }


def published(payload: dict[str, Any], result: dict[str, Any]) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = []
    assert publish_step_events(payload, result, events.append) == len(events)
    return events


def names(payload: dict[str, Any], result: dict[str, Any]) -> list[str]:
    return [event["event_name"] for event in published(payload, result)]


def register(publisher: Any) -> None:
    PublisherRegistry.instance().register(publisher, name="payments")


NAMED = {"name": "payment.processed", "publisher": "payments"}


def test_an_event_tells_what_the_step_returned() -> None:
    (event,) = published(step({"name": "payment.processed", "delivery_mode": "fast"}), SUCCESS)
    metadata = event.pop("metadata")
    assert event == {
        "declaration": 0,
        "event_name": "payment.processed",
        "delivery_mode": "fast",
        "payload": {"amount": 5},
        "fired_by": "DefaultDomainEventPublisher",
    }
    assert metadata.pop("published_at")
    assert metadata == {
        "publisher": "default",
        "task_uuid": "task-1",
        "step_uuid": "step-1",
        "step_name": "process_payment",
        "namespace": "shop",
        "correlation_id": "correlation-1",
    }


def test_an_event_is_durable_unless_declared_otherwise() -> None:
    (event,) = published(step({"name": "a.b"}), SUCCESS)
    assert event["delivery_mode"] == "durable"


@pytest.mark.parametrize("definition", [None, {}, {"publishes_events": None}])
def test_a_step_that_declares_nothing_publishes_nothing(definition: Any) -> None:
    assert published(step(step_definition=definition), SUCCESS) == []


EVERY_CONDITION = [
    {"name": "a.default"},
    {"name": "a.success", "condition": "success"},
    {"name": "a.failure", "condition": "failure"},
    {"name": "a.retryable", "condition": "retryable_failure"},
    {"name": "a.permanent", "condition": "permanent_failure"},
    {"name": "a.always", "condition": "always"},
]


def test_a_success_publishes_what_is_due_after_a_success() -> None:
    assert names(step(*EVERY_CONDITION), SUCCESS) == ["a.default", "a.success", "a.always"]


def test_fix_a_retryable_failure_publishes_its_own_events() -> None:
    assert names(step(*EVERY_CONDITION), RETRYABLE) == ["a.failure", "a.retryable", "a.always"]


def test_fix_a_permanent_failure_publishes_its_own_events() -> None:
    assert names(step(*EVERY_CONDITION), PERMANENT) == ["a.failure", "a.permanent", "a.always"]


def test_a_failure_without_metadata_is_permanent() -> None:
    assert "a.permanent" in names(step(*EVERY_CONDITION), {"success": False, "error": None})


def test_each_event_says_which_declaration_it_comes_from() -> None:
    events = published(step(*EVERY_CONDITION), PERMANENT)
    assert [event["declaration"] for event in events] == [2, 4, 5]


@pytest.mark.parametrize("result", [None, {}])
def test_fix_a_failure_without_result_tells_its_error(result: Any) -> None:
    failed = {**RETRYABLE, "result": result}
    (event,) = published(step({"name": "payment.failed", "condition": "failure"}), failed)
    assert event["payload"] == {
        "error_code": "E7",
        "error_message": "declined",
        "error_type": "PaymentError",
        "retryable": True,
    }


def test_fix_a_failure_without_code_has_its_type_for_one() -> None:
    (event,) = published(step({"name": "payment.failed", "condition": "failure"}), PERMANENT)
    assert (event["payload"]["error_code"], event["payload"]["retryable"]) == (
        "PaymentError",
        False,
    )


def test_a_failure_with_a_result_tells_the_result() -> None:
    failed = {**RETRYABLE, "result": {"attempted": 3}}
    (event,) = published(step({"name": "a.b", "condition": "always"}), failed)
    assert event["payload"] == {"attempted": 3}


@pytest.mark.parametrize("result", [None, {}, [1], "text"])
def test_a_success_without_an_object_publishes_an_empty_one(result: Any) -> None:
    (event,) = published(step({"name": "a.b"}), {"success": True, "result": result})
    assert event["payload"] == {}


def test_fix_a_registered_publisher_is_called() -> None:
    class Shaping(DefaultPublisher):
        publisher_name = "payments"

        def transform_payload(self, ctx: StepEventContext) -> dict[str, Any]:
            return {"cents": (ctx.result or {})["amount"] * 100}

        def additional_metadata(self, ctx: StepEventContext) -> dict[str, Any]:
            return {"region": "eu"}

    register(Shaping())
    (event,) = published(step(NAMED), SUCCESS)
    assert event["payload"] == {"cents": 500}
    assert (event["metadata"]["region"], event["fired_by"]) == ("eu", "payments")


def test_a_publisher_may_hold_an_event_back() -> None:
    class Picky(DefaultPublisher):
        def should_publish(self, ctx: StepEventContext) -> bool:
            return bool((ctx.result or {})["amount"] > 100)

    register(Picky())
    assert published(step(NAMED), SUCCESS) == []


def test_a_publisher_that_overrides_publish_is_called() -> None:
    class Renaming(DefaultPublisher):
        def publish(self, ctx: StepEventContext, event_name: str | None = None) -> bool:
            return super().publish(ctx, f"eu.{event_name}")

    register(Renaming())
    assert names(step(NAMED), SUCCESS) == ["eu.payment.processed"]


def test_a_publisher_that_publishes_elsewhere_publishes_nothing_here() -> None:
    class Elsewhere(DefaultPublisher):
        def publish(self, ctx: StepEventContext, event_name: str | None = None) -> bool:
            return True

    register(Elsewhere())
    assert published(step(NAMED), SUCCESS) == []


def test_the_first_declaration_chooses_the_publisher_of_the_step() -> None:
    register(DefaultPublisher())
    declared = NAMED, {"name": "payment.audited", "publisher": "audit"}, {"name": "payment.done"}
    events = published(step(*declared), SUCCESS)
    assert [event["fired_by"] for event in events] == ["default", "default", "default"]


def test_the_first_declaration_chooses_even_if_its_own_event_is_not_due() -> None:
    register(DefaultPublisher())
    declared = {**NAMED, "condition": "failure"}, {"name": "payment.done"}
    (event,) = published(step(*declared), SUCCESS)
    assert event["fired_by"] == "default"


def test_a_publisher_that_is_not_registered_is_warned_of_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    (event,) = published(step(NAMED), SUCCESS)
    published(step(NAMED), SUCCESS)
    assert (event["payload"], event["fired_by"]) == ({"amount": 5}, "DefaultDomainEventPublisher")
    assert caplog.text.count("No publisher 'payments' is registered") == 1


def test_a_step_that_names_no_publisher_is_not_warned_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    published(step({"name": "a.b"}), SUCCESS)
    assert caplog.text == ""


def test_publishers_cannot_change_the_result_or_the_other_events() -> None:
    class Careless(DefaultPublisher):
        def transform_payload(self, ctx: StepEventContext) -> dict[str, Any]:
            assert ctx.result is not None
            ctx.result["lines"].append("more")
            return ctx.result

    register(Careless())
    result = {"success": True, "result": {"lines": []}}
    events = published(step(NAMED, {"name": "a.b"}), result)
    assert [event["payload"] for event in events] == [{"lines": ["more"]}, {"lines": ["more"]}]
    assert result["result"] == {"lines": []}


def test_an_event_that_the_host_refuses_is_an_error_of_publishing() -> None:
    class Listening(DefaultPublisher):
        errors: list[tuple[str, str, Any]] = []

        def on_publish_error(self, event_name: str, error: Exception, payload: Any) -> None:
            self.errors.append((event_name, str(error), payload))

    def refuse(event: dict[str, Any]) -> None:
        raise ValueError("amount is required")

    register(Listening())
    assert publish_step_events(step(NAMED), SUCCESS, refuse) == 0
    assert Listening.errors == [("payment.processed", "amount is required", {"amount": 5})]


@pytest.mark.parametrize("hook", ["should_publish", "transform_payload", "additional_metadata"])
def test_fix_an_error_of_any_hook_is_reported_and_stays_here(hook: str) -> None:
    errors: list[Any] = []

    def fail(ctx: StepEventContext) -> Any:
        raise ValueError("no")

    publisher = DefaultPublisher()
    setattr(publisher, hook, fail)
    setattr(publisher, "on_publish_error", lambda *given: errors.append(given))  # noqa: B010
    register(publisher)
    assert published(step(NAMED), SUCCESS) == []
    ((name, error, payload),) = errors
    assert (name, str(error), payload) == ("payment.processed", "no", {"amount": 5})


def test_fix_an_event_counts_as_published_though_the_hook_after_it_failed() -> None:
    class Late(DefaultPublisher):
        def after_publish(self, *_: Any) -> None:
            raise ValueError("no")

    register(Late())
    assert names(step(NAMED), SUCCESS) == ["payment.processed"]


def test_fix_an_error_after_publishing_is_not_called_a_failure_to_publish(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Late(DefaultPublisher):
        def after_publish(self, *_: Any) -> None:
            raise ValueError("no")

    register(Late())
    assert names(step(NAMED), SUCCESS) == ["payment.processed"]
    assert (
        "Late: after_publish of payment.processed failed, the event is published: ValueError: no"
        in caplog.text
    )
    assert "not published" not in caplog.text


def test_an_error_of_reporting_one_after_publishing_says_that_the_event_is_published(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Hopeless(DefaultPublisher):
        def after_publish(self, *_: Any) -> None:
            raise ValueError("first")

        def on_publish_error(self, *_: Any) -> None:
            raise KeyError("second")

    register(Hopeless())
    assert names(step(NAMED), SUCCESS) == ["payment.processed"]
    assert "the event is published: KeyError: 'second'; and on_publish_error failed" in caplog.text
    assert "not published" not in caplog.text


def failures(payload: dict[str, Any]) -> list[tuple[str, str]]:
    """Publish for a success and return which events could not be, and why."""
    failed: list[tuple[str, str]] = []
    publish_step_events(
        payload, SUCCESS, lambda event: None, lambda name, error: failed.append((name, str(error)))
    )
    return failed


@pytest.mark.parametrize(
    "hook", ["should_publish", "transform_payload", "additional_metadata", "before_publish"]
)
def test_fix_an_event_that_a_hook_keeps_from_going_out_is_counted(hook: str) -> None:
    def fail(*_: Any) -> Any:
        raise ValueError("no")

    publisher = DefaultPublisher()
    setattr(publisher, hook, fail)
    register(publisher)
    assert failures(step(NAMED, {"name": "a.b", "condition": "failure"})) == [
        ("payment.processed", "no")
    ]


def test_an_error_after_publishing_is_no_failed_event() -> None:
    class Late(DefaultPublisher):
        def after_publish(self, *_: Any) -> None:
            raise ValueError("no")

    register(Late())
    assert failures(step(NAMED)) == []


def test_an_event_that_is_held_back_is_no_failed_event() -> None:
    class Picky(DefaultPublisher):
        def before_publish(self, *_: Any) -> bool:
            return False

    register(Picky())
    assert failures(step(NAMED)) == []


def test_an_event_that_the_host_refuses_is_counted_once() -> None:
    def refuse(event: dict[str, Any]) -> None:
        raise ValueError("amount is required")

    class Hopeless(DefaultPublisher):
        def on_publish_error(self, *_: Any) -> None:
            raise KeyError("second")

    register(Hopeless())
    failed: list[str] = []
    publish_step_events(step(NAMED), SUCCESS, refuse, lambda name, _: failed.append(name))
    assert failed == ["payment.processed"]


def test_a_declaration_that_cannot_be_read_is_counted() -> None:
    assert [name for name, _ in failures(step({"name": "a.b", "condition": "never"}))] == ["a.b"]
    assert [name for name, _ in failures(step("order.paid"))] == ["publishes_events[0]"]


def test_an_error_while_reporting_an_error_stays_here(caplog: pytest.LogCaptureFixture) -> None:
    class Hopeless(DefaultPublisher):
        def should_publish(self, ctx: StepEventContext) -> bool:
            raise ValueError("first")

        def on_publish_error(self, *_: Any) -> None:
            raise KeyError("second")

    register(Hopeless())
    assert published(step(NAMED), SUCCESS) == []
    assert "ValueError: first; and on_publish_error failed: KeyError: 'second'" in caplog.text


HOOKS = ["should_publish", "transform_payload", "additional_metadata", "before_publish"]


def failing_once(hook: str, error: BaseException) -> DefaultPublisher:
    """Return a publisher whose hook raises ``error`` for the first event of a step."""
    publisher = DefaultPublisher()
    as_usual = getattr(publisher, hook)
    errors = [error]

    def fail(*given: Any) -> Any:
        if errors:
            raise errors.pop()
        return as_usual(*given)

    setattr(publisher, hook, fail)
    return publisher


@pytest.mark.parametrize("error", ODD)
@pytest.mark.parametrize("hook", HOOKS)
def test_an_exit_of_a_hook_costs_its_own_event_alone(
    hook: str, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    register(failing_once(hook, error))
    assert names(step(NAMED, {"name": "a.b"}), SUCCESS) == ["a.b"]
    assert f"payment.processed was not published: {type(error).__name__}: " in caplog.text


@pytest.mark.parametrize("error", ODD)
def test_an_exit_of_the_hook_after_publishing_costs_no_event(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    register(failing_once("after_publish", error))
    assert names(step(NAMED, {"name": "a.b"}), SUCCESS) == ["payment.processed", "a.b"]
    assert f"the event is published: {type(error).__name__}: " in caplog.text


@pytest.mark.parametrize("error", ODD)
@pytest.mark.parametrize("hook", HOOKS)
def test_an_exit_while_reporting_an_error_costs_no_other_event(
    hook: str, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    def report(*_: Any) -> None:
        raise error

    publisher = failing_once(hook, ValueError("first"))
    setattr(publisher, "on_publish_error", report)  # noqa: B010
    register(publisher)
    assert names(step(NAMED, {"name": "a.b"}), SUCCESS) == ["a.b"]
    assert f"on_publish_error failed: {type(error).__name__}: " in caplog.text


@pytest.mark.parametrize("hook", HOOKS)
def test_an_event_that_an_exit_of_a_hook_keeps_from_going_out_is_counted(hook: str) -> None:
    register(failing_once(hook, SystemExit("no")))
    assert failures(step(NAMED)) == [("payment.processed", "no")]


def test_an_exit_around_publishing_is_reported_with_the_payload_of_the_event() -> None:
    errors: list[Any] = []
    error = SystemExit(3)
    publisher = failing_once("before_publish", error)
    setattr(publisher, "transform_payload", lambda ctx: {"total": 5})  # noqa: B010
    setattr(publisher, "on_publish_error", lambda *given: errors.append(given))  # noqa: B010
    register(publisher)
    published(step(NAMED), SUCCESS)
    assert errors == [("payment.processed", error, {"total": 5})]


@pytest.mark.parametrize("hook", [*HOOKS, "after_publish"])
def test_an_interrupt_of_the_program_passes_a_hook(hook: str) -> None:
    register(failing_once(hook, KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        published(step(NAMED), SUCCESS)


def test_an_interrupt_of_the_program_passes_the_report_of_an_error() -> None:
    publisher = failing_once("on_publish_error", KeyboardInterrupt())
    setattr(publisher, "should_publish", Mock(side_effect=ValueError))  # noqa: B010
    register(publisher)
    with pytest.raises(KeyboardInterrupt):
        published(step(NAMED), SUCCESS)


@pytest.mark.parametrize("odd", ["order.paid", {"name": "a.b", "condition": "never"}, None])
def test_a_declaration_that_cannot_be_read_is_passed_over(
    odd: Any, caplog: pytest.LogCaptureFixture
) -> None:
    assert names(step(odd, {"name": "c.d"}), SUCCESS) == ["c.d"]
    assert "publishes_events[0] cannot be read" in caplog.text


def test_a_step_without_ids_still_publishes() -> None:
    payload = {"step_definition": {"publishes_events": [{"name": "a.b"}]}}
    (event,) = published(payload, SUCCESS)
    assert event["metadata"]["namespace"] == "default"


def test_publishing_by_hand_reaches_nobody(ctx: StepEventContext) -> None:
    events = published(step({"name": "a.b"}), SUCCESS)
    assert DefaultPublisher().publish(ctx) is True
    assert len(events) == 1
