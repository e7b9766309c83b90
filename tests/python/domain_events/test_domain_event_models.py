"""What publishers are told."""

from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from pydantic import ValidationError
from tasker_core import domain_events
from tasker_core.domain_events import EventDeclaration, PublishContext, StepEventContext, StepResult

TASK = "0190c0de-0000-7000-8000-000000000001"
STEP = "0190c0de-0000-7000-8000-000000000002"
CORRELATION = "0190c0de-0000-7000-8000-000000000004"


def step_context(task: Any) -> Any:
    return SimpleNamespace(
        task_uuid=UUID(TASK),
        step_uuid=UUID(STEP),
        correlation_id=UUID(CORRELATION),
        handler_name="PaymentHandler",
        event=SimpleNamespace(task_sequence_step=task),
    )


def test_the_module_offers_ten_public_names() -> None:
    assert set(domain_events.__all__) == {
        "EventDeclaration",
        "StepResult",
        "PublishContext",
        "StepEventContext",
        "BasePublisher",
        "DefaultPublisher",
        "PublisherRegistry",
        "BaseSubscriber",
        "SubscriberRegistry",
        "InProcessDomainEventPoller",
    }


@pytest.mark.parametrize(
    "name", ["DomainEventCallback", "ErrorCallback", "_poll_in_process_events"]
)
def test_other_names_can_be_reached_too(name: str) -> None:
    assert hasattr(domain_events, name)


def test_a_declaration_needs_no_more_than_a_name() -> None:
    declared = EventDeclaration(name="x.y")
    assert (declared.condition, declared.delivery_mode, declared.publisher) == (None, None, None)
    assert declared.schema is None


def test_a_declaration_without_name_is_refused() -> None:
    with pytest.raises(ValidationError):
        EventDeclaration()  # type: ignore[call-arg]


@pytest.mark.parametrize("key", ["schema", "schema_"])
def test_a_schema_is_given_by_either_name(key: str) -> None:
    given: dict[str, Any] = {"name": "x.y", key: {"type": "object"}}
    declared = EventDeclaration(**given)
    assert declared.schema == declared.schema_ == {"type": "object"}


@pytest.mark.parametrize(("by_alias", "key"), [(False, "schema_"), (True, "schema")])
def test_a_schema_is_dumped_by_field_name_or_alias(by_alias: bool, key: str) -> None:
    declared = EventDeclaration.model_validate({"name": "x.y", "schema": {"a": 1}})
    assert declared.model_dump(by_alias=by_alias)[key] == {"a": 1}


@pytest.mark.parametrize(
    "condition", ["success", "failure", "retryable_failure", "permanent_failure", "always"]
)
def test_known_conditions_are_taken(condition: Any) -> None:
    assert EventDeclaration(name="x.y", condition=condition).condition == condition


@pytest.mark.parametrize("mode", ["durable", "fast", "broadcast"])
def test_known_delivery_modes_are_taken(mode: Any) -> None:
    assert EventDeclaration(name="x.y", delivery_mode=mode).delivery_mode == mode


@pytest.mark.parametrize("field", ["condition", "delivery_mode"])
def test_unknown_words_are_refused(field: str) -> None:
    given: dict[str, Any] = {"name": "x.y", field: "sometimes"}
    with pytest.raises(ValidationError):
        EventDeclaration(**given)


def test_a_step_result_needs_no_more_than_success() -> None:
    result = StepResult(success=False)
    assert (result.success, result.result, result.metadata) == (False, None, None)


def test_a_step_event_context_has_no_result_and_empty_metadata_by_default() -> None:
    ctx = StepEventContext(
        task_uuid="t", step_uuid="s", step_name="n", namespace="ns", correlation_id="c"
    )
    assert (ctx.result, ctx.metadata) == (None, {})


@pytest.mark.parametrize("field", ["task_uuid", "step_uuid", "correlation_id"])
def test_a_step_event_context_takes_ids_as_text_only(ctx: StepEventContext, field: str) -> None:
    with pytest.raises(ValidationError):
        StepEventContext(**{**ctx.model_dump(), field: UUID(TASK)})


def test_a_publish_context_needs_no_more_than_name_and_result() -> None:
    context = PublishContext(event_name="x.y", step_result=StepResult(success=True))
    assert (context.event_declaration, context.step_context) == (None, None)


def test_a_publish_context_holds_declaration_and_step(ctx: StepEventContext) -> None:
    declared = EventDeclaration(name="x.y")
    context = PublishContext(
        event_name="x.y",
        step_result=StepResult(success=True),
        event_declaration=declared,
        step_context=ctx,
    )
    assert (context.event_declaration, context.step_context) == (declared, ctx)


def test_the_context_of_a_step_has_its_ids_as_text_and_the_handler_as_name() -> None:
    given = step_context({"task": {"task": {"namespace": "shop"}}})
    made = StepEventContext.from_step_context(given, {"amount": 5}, {"region": "eu"})
    assert made == StepEventContext(
        task_uuid=TASK,
        step_uuid=STEP,
        step_name="PaymentHandler",
        namespace="shop",
        correlation_id=CORRELATION,
        result={"amount": 5},
        metadata={"region": "eu"},
    )


def test_the_context_of_a_step_has_no_result_and_empty_metadata_by_default() -> None:
    made = StepEventContext.from_step_context(step_context({}))
    assert (made.result, made.metadata) == (None, {})


@pytest.mark.parametrize("task", [{}, {"task": {}}, {"task": {"task": {}}}, {"task": None}])
def test_a_step_without_namespace_is_in_the_default_one(task: Any) -> None:
    assert StepEventContext.from_step_context(step_context(task)).namespace == "default"


@pytest.mark.parametrize(
    "task",
    [
        {"task": {"task": {"context": {}}, "namespace_name": "shop"}},
        {"task": {"task": {"namespace_name": "shop"}}},
        {"task": {"namespace_name": "shop"}},
    ],
)
def test_fix_the_namespace_is_found_where_the_host_puts_it(task: Any) -> None:
    assert StepEventContext.from_step_context(step_context(task)).namespace == "shop"
