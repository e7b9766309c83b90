"""Decisions, batches and APIs as functions, and what is mended in injection (§13.5, §15.2)."""

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import (
    AliasChoices,
    AliasPath,
    BaseModel,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)
from tasker_core import (
    BatchWorkerContext,
    DecisionPointOutcome,
    PermanentError,
    RetryableError,
    StepContext,
    StepHandler,
    StepHandlerResult,
)
from tasker_core.step_handler import (
    BatchConfig,
    Decision,
    api_handler,
    batch_analyzer,
    batch_worker,
    decision_handler,
    depends_on,
    inputs,
    step_handler,
)
from tasker_core.testing import step_context

from tests.python.core.functions import FIRST, call, result

# Decisions


def test_a_decision_to_route() -> None:
    @decision_handler("own")
    def decide() -> Decision:
        return Decision.route(["a", "b"], why=1)

    assert result(decide) == {
        "decision_point_outcome": {"type": "create_steps", "step_names": ["a", "b"]},
        "routing_context": {"why": 1},
    }
    assert call(decide).metadata == {"decision_handler": "own", "decision_version": "1.0.0"}


@pytest.mark.parametrize(("reason", "told"), [("too small", "too small"), ("", "No branches")])
def test_a_decision_to_skip(reason: str, told: str) -> None:
    @decision_handler("own")
    def decide() -> Decision:
        return Decision.skip(reason=reason, why=1)

    assert result(decide) == {
        "decision_point_outcome": {"type": "no_branches"},
        "reason": told,
        "routing_context": {"why": 1},
    }


def test_a_bare_outcome_is_just_data() -> None:
    @decision_handler("own")
    def decide() -> Any:
        return DecisionPointOutcome.create_steps(["a"])

    assert result(decide)["next_step_names"] == ["a"]


def test_the_type_of_an_outcome_may_be_its_text() -> None:
    @decision_handler("own")
    def decide() -> Decision:
        decision = Decision.route(["a"], why=1)
        decision.outcome.decision_type = "create_steps"  # type: ignore[assignment]
        return decision

    assert result(decide) == {
        "decision_point_outcome": {"type": "create_steps", "step_names": ["a"]},
        "routing_context": {"why": 1},
    }


def test_a_decision_cannot_be_changed() -> None:
    decision = Decision.skip("x")
    with pytest.raises(AttributeError):
        decision.outcome = None  # type: ignore[misc, assignment]
    assert decision == Decision(DecisionPointOutcome.no_branches("x"))


# Batches


def test_a_batch_configuration_becomes_batches() -> None:
    @batch_analyzer("own", worker_template="crunch")
    def analyze() -> BatchConfig:
        return BatchConfig(250, 100, {"file": "x"})

    made = call(analyze)
    assert made.result is not None
    outcome = made.result["batch_processing_outcome"]
    assert (outcome["type"], outcome["worker_template_name"]) == ("create_batches", "crunch")
    assert [
        (c["batch_id"], c["start_cursor"], c["end_cursor"]) for c in outcome["cursor_configs"]
    ] == [
        ("001", 0, 100),
        ("002", 100, 200),
        ("003", 200, 250),
    ]
    assert (made.result["worker_count"], made.result["total_items"]) == (3, 250)
    assert made.result["batch_metadata"] == {"file": "x"}
    assert made.metadata == {"batch_analyzer": True}


def test_nothing_to_do_makes_no_batches() -> None:
    made = call(batch_analyzer("own", worker_template="w")(lambda: BatchConfig(0, 100)))
    assert made.result == {
        "batch_processing_outcome": {"type": "no_batches"},
        "reason": "empty_dataset",
    }
    assert made.metadata == {"batch_analyzer": True, "no_batches": True}


def test_batches_of_nothing_are_a_failure() -> None:
    made = call(batch_analyzer("own", worker_template="w")(lambda: BatchConfig(5, 0)))
    assert made.error_message == "batch_size must be > 0"


def test_a_worker_gets_its_batch() -> None:
    @batch_worker("own")
    def work(batch_context: BatchWorkerContext | None) -> Any:
        return {"end": batch_context.end_cursor if batch_context else None}

    assert result(work, step_inputs={"cursor": {"end_cursor": 9}}) == {"end": 9}
    assert result(work) == {"end": None}


# APIs


def test_an_api_handler_gets_itself() -> None:
    @api_handler("own", "https://x", timeout=5.0, default_headers={"a": "b"})
    def fetch(api: Any) -> Any:
        return {"url": api.base_url, "timeout": api.default_timeout, "headers": api.default_headers}

    assert result(fetch) == {"url": "https://x", "timeout": 5.0, "headers": {"a": "b"}}


def test_an_api_handler_has_no_headers_by_default() -> None:
    assert api_handler("own", "https://x")(lambda api: {})._handler_class.default_headers == {}  # type: ignore[attr-defined]


# Equivalence with classes (§13.5.7)


@pytest.mark.parametrize(
    ("error", "error_type", "retryable"),
    [
        (RetryableError("no"), "retryable_error", True),
        (PermanentError("no"), "permanent_error", False),
    ],
)
def test_functions_and_classes_give_equal_results(
    error: Exception, error_type: str, retryable: bool
) -> None:
    class ByClass(StepHandler):
        def call(self, context: StepContext) -> StepHandlerResult:
            return self.failure("no", error_type=error_type, retryable=retryable)

    def by_function() -> None:
        raise error

    of_class = ByClass().call(step_context())
    of_function = call(step_handler("own")(by_function))
    assert isinstance(of_class, StepHandlerResult)
    for attribute in ("is_success", "retryable", "error_type", "result", "error_message"):
        assert getattr(of_class, attribute) == getattr(of_function, attribute)


# §15.2, context and injection: each test is named after what it fixes.


def test_defaults_of_a_model_are_not_overridden_by_missing_inputs() -> None:
    class WithDefault(BaseModel):
        size: int = 7

    @step_handler("own")
    @inputs(WithDefault)
    def show(inputs: WithDefault) -> Any:
        return inputs

    assert result(show) == {"size": 7}


class Aliased(BaseModel):
    one: int = Field(alias="One")
    two: int = Field(default=0, validation_alias=AliasChoices("Two", "zwei"))
    three: int = Field(default=0, validation_alias=AliasPath("three", "deep"))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"One": 1, "Two": 2, "three": {"deep": 3}}, (1, 2, 3)),
        ({"One": 1, "zwei": 2}, (1, 2, 0)),
        ({"one": 1, "two": 2}, (1, 2, 0)),
    ],
)
def test_aliases_of_a_model_are_honoured(given: dict[str, Any], expected: Any) -> None:
    @step_handler("own")
    @inputs(Aliased)
    def show(inputs: Aliased) -> Any:
        return {"all": [inputs.one, inputs.two, inputs.three]}

    assert result(show, input_data=given) == {"all": list(expected)}


class Currency(BaseModel):
    currency: str | None = None

    @field_validator("currency", mode="before")
    @classmethod
    def usual(cls, value: Any) -> Any:
        return value or "USD"


class Discounted(Currency):
    discount: int = None  # type: ignore[assignment]


class Either(BaseModel):
    a: int | None = None
    b: int | None = None

    @model_validator(mode="before")
    @classmethod
    def first(cls, data: Any) -> Any:
        return {**data, "a": data["a"] or data["b"]}


class EitherByName(Either):
    model_config = ConfigDict(populate_by_name=True, alias_generator=str.upper)


@pytest.mark.parametrize(
    ("model", "given", "read"),
    [
        (Currency, {}, {"currency": "USD"}),
        (Either, {"b": 3}, {"a": 3, "b": 3}),
        (EitherByName, {"b": 3}, {"a": 3, "b": 3}),
        # Not null for a field that does not take it.
        (Discounted, {}, {"currency": None, "discount": None}),
        (Discounted, {"discount": 1}, {"currency": "USD", "discount": 1}),
    ],
)
def test_missing_inputs_are_null_to_a_model_whose_defaults_are_null(
    model: type[BaseModel], given: dict[str, Any], read: dict[str, Any]
) -> None:
    @step_handler("own")
    def show(inputs: BaseModel) -> Any:
        return inputs

    assert result(inputs(model)(show), input_data=given) == read


class ByNameOnly(BaseModel):
    model_config = ConfigDict(
        alias_generator=str.upper, validate_by_name=True, validate_by_alias=False
    )
    amount: int


def test_aliases_of_a_model_that_does_not_go_by_them_are_not_used() -> None:
    @step_handler("own")
    @inputs(ByNameOnly)
    def show(inputs: ByNameOnly) -> Any:
        return inputs

    assert result(show, input_data={"amount": 3}) == {"amount": 3}
    assert not call(show, input_data={"AMOUNT": 3}).is_success


def test_metadata_decorators_above_the_handler_decorator_count() -> None:
    @inputs("amount")
    @depends_on(before="first")
    @step_handler("own")
    def total(before: Any, amount: int) -> Any:
        return {"total": before["price"] * amount}

    assert result(total, **FIRST) == {"total": 6}


def handler_of(
    fn: Callable[..., Any], below: list[Callable[..., Any]], above: list[Callable[..., Any]]
) -> type[StepHandler]:
    """Make a handler of a function with metadata decorators on both sides."""
    for decorate in (*below, step_handler("own"), *above):
        fn = decorate(fn)
    return fn._handler_class  # type: ignore[attr-defined, no-any-return]


@pytest.mark.parametrize("later_is_above", [False, True])
def test_each_handler_of_a_function_takes_what_was_said_when_it_was_made(
    later_is_above: bool,
) -> None:
    def show(x: Any, **keys: Any) -> Any:
        return {"x": x, "keys": keys}

    of_first = [depends_on(x="first"), inputs("a")]
    of_second = [depends_on(x="second"), inputs("b")]
    first = handler_of(show, of_first, [])
    second = handler_of(show, *(([], of_second) if later_is_above else (of_second, [])))
    context = step_context(
        dependency_results={"first": 1, "second": 2}, input_data={"a": 3, "b": 4}
    )
    assert isinstance(made := first().call(context), StepHandlerResult)
    assert made.result == {"x": 1, "keys": {"a": 3}}
    assert isinstance(made := second().call(context), StepHandlerResult)
    assert made.result == {"x": 2, "keys": {"a": 3, "b": 4}}


def test_parameters_spelled_as_unused_get_their_value() -> None:
    @api_handler("own", "https://x")
    @depends_on(before="first")
    @inputs("amount")
    def show(_before: Any, _amount: Any, _api: Any) -> Any:
        return {"before": _before, "amount": _amount, "api": _api is not None}

    assert result(show, **FIRST) == {"before": {"price": 3}, "amount": 2, "api": True}


def test_dynamic_steps_of_a_decision_are_forwarded() -> None:
    @decision_handler("own")
    def decide() -> Decision:
        return Decision(DecisionPointOutcome.create_steps(["a"], [{"name": "a"}]))

    assert result(decide)["dynamic_steps"] == [{"name": "a"}]
