"""Handlers made of functions (§13.5)."""

import asyncio
import functools
import inspect
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel, RootModel, field_validator
from tasker_core import (
    ErrorType,
    PermanentError,
    RateLimitError,
    RetryableError,
    StepExecutionError,
    StepHandler,
    StepHandlerResult,
    TaskerError,
    errors,
)
from tasker_core.step_handler import (
    FunctionalHandler,
    api_handler,
    batch_analyzer,
    batch_worker,
    decision_handler,
    depends_on,
    functional,
    inputs,
    step_handler,
)
from tasker_core.testing import step_context

from tests.python.core.functions import FIRST, call, result


def decorators() -> list[Callable[..., Any]]:
    return [
        step_handler("own"),
        decision_handler("own"),
        batch_analyzer("own", worker_template="worker"),
        batch_worker("own"),
        api_handler("own", base_url="https://x"),
    ]


@pytest.mark.parametrize(
    "decorator", [step_handler, decision_handler, batch_analyzer, batch_worker, api_handler]
)
def test_a_handler_decorator_without_parentheses_is_refused(decorator: Any) -> None:
    def function() -> None: ...

    with pytest.raises(TypeError, match=r'write @\w+\("NAME"\)|required positional argument'):
        decorator(function)


def test_the_exports_of_the_module() -> None:
    assert set(functional.__all__) == {
        "BatchConfig",
        "Decision",
        "FunctionalHandler",
        "HandlerDecorator",
        "api_handler",
        "batch_analyzer",
        "batch_worker",
        "decision_handler",
        "depends_on",
        "inputs",
        "step_handler",
    }


# Principle (§13.5.1)


@pytest.mark.parametrize("decorate", decorators())
def test_the_function_stays_what_it_was(decorate: Callable[..., Any]) -> None:
    def double(number: int) -> int:
        """Doubles."""
        return 2 * number

    decorated = decorate(double)
    assert decorated is double
    assert decorated(4) == 8
    assert isinstance(decorated, FunctionalHandler)


@pytest.mark.parametrize("decorate", decorators())
def test_the_class_that_hangs_on_the_function(decorate: Callable[..., Any]) -> None:
    def double() -> None:
        """Doubles."""

    cls = decorate(double)._handler_class
    assert issubclass(cls, StepHandler)
    assert (cls.handler_name, cls.handler_version) == ("own", "1.0.0")
    assert (cls.__name__, cls.__doc__) == ("double", "Doubles.")
    assert cls.__qualname__ == double.__qualname__
    assert cls().capabilities == ["process"]


def test_a_version_may_be_given() -> None:
    assert step_handler("own", "2.0.0")(lambda: {})._handler_class.handler_version == "2.0.0"


def test_call_is_a_coroutine_function_exactly_if_the_function_is() -> None:
    async def later() -> None: ...

    def now() -> None: ...

    assert inspect.iscoroutinefunction(step_handler("a")(later)._handler_class.call)
    assert not inspect.iscoroutinefunction(step_handler("a")(now)._handler_class.call)


def test_an_analyzer_needs_a_worker_template() -> None:
    with pytest.raises(TypeError):
        batch_analyzer("own")  # type: ignore[call-arg]


def test_a_partial_can_be_a_handler() -> None:
    def add(a: int, b: int) -> int:
        return a + b

    fn = inputs("b")(functools.partial(add, 1))
    assert result(step_handler("own")(fn), input_data={"b": 2}) == {"result": 3}


def test_a_callable_without_a_signature_gets_what_is_asked_for() -> None:
    class Odd:
        __signature__ = "none"

        def __call__(self, **arguments: Any) -> Any:
            return arguments

    assert result(step_handler("own")(inputs("a")(Odd())), input_data={"a": 1}) == {"a": 1}


# Injection (§13.5.3)


def test_nothing_is_injected_into_a_function_without_parameters() -> None:
    assert result(step_handler("own")(lambda: {"a": 1})) == {"a": 1}


def test_dependencies_and_inputs_are_injected_by_name() -> None:
    @step_handler("own")
    @depends_on(before="first")
    @inputs("amount", "missing")
    def total(before: Any, amount: int, missing: Any) -> Any:
        return {"total": before["price"] * amount, "missing": missing}

    assert result(total, **FIRST) == {"total": 6, "missing": None}


def test_a_missing_dependency_is_none() -> None:
    @step_handler("own")
    @depends_on(before="first")
    def show(before: Any) -> Any:
        return {"before": before}

    assert result(show) == {"before": None}


@pytest.mark.parametrize(
    ("parameters", "passed"),
    [("context", "context"), ("_context", "_context"), ("context, _context=None", "context")],
)
def test_the_context_is_passed_where_it_is_wanted(parameters: str, passed: str) -> None:
    made: dict[str, Any] = {}
    exec(f"def fn({parameters}): return {{'name': {passed}.handler_name}}", made)
    assert result(step_handler("own")(made["fn"])) == {"name": "test_handler"}


def test_keyword_arguments_alone_do_not_get_the_context() -> None:
    @step_handler("own")
    @inputs("amount")
    def show(**arguments: Any) -> Any:
        return arguments

    assert result(show, **FIRST) == {"amount": 2}


def test_a_parameter_that_nobody_injects_is_a_failure_and_no_exception() -> None:
    made = call(step_handler("own")(lambda other: {}))
    assert (made.error_type, made.retryable) == ("handler_error", True)
    assert made.metadata["exception_type"] == "TypeError"


class Price(BaseModel):
    price: float
    currency: str = "EUR"


def test_a_dependency_is_read_into_its_model() -> None:
    @step_handler("own")
    @depends_on(before=("first", Price))
    def show(before: Price) -> Any:
        return before

    given = {"dependency_results": {"first": {"price": "3.5"}}}
    assert result(show, **given) == {"price": 3.5, "currency": "EUR"}


@pytest.mark.parametrize("value", [None, 5, [1]])
def test_a_dependency_that_is_no_object_needs_no_model(value: Any) -> None:
    @step_handler("own")
    @depends_on(before=("first", Price))
    def show(before: Any) -> Any:
        return {"before": before}

    assert result(show, dependency_results={"first": value}) == {"before": value}


def test_stacked_dependencies_merge_and_the_upper_wins() -> None:
    @step_handler("own")
    @depends_on(a="upper")
    @depends_on(a=("lower", Price), b="other")
    def show(a: Any, b: Any) -> Any:
        return {"a": a, "b": b}

    assert show._depends_on == {"a": "upper", "b": "other"}  # type: ignore[attr-defined]
    assert show._dep_models == {}  # type: ignore[attr-defined]
    results = {"upper": {"x": 1}, "lower": {"price": 1}, "other": 2}
    assert result(show, dependency_results=results) == {"a": {"x": 1}, "b": 2}


def test_stacked_inputs_come_from_the_inside_out() -> None:
    @inputs("c")
    @inputs("a", "b")
    def show() -> None: ...

    assert show._inputs == ["a", "b", "c"]  # type: ignore[attr-defined]


def test_a_model_may_be_none() -> None:
    @step_handler("own")
    @depends_on(before=("first", None))
    def show(before: Any) -> Any:
        return before

    assert result(show, **FIRST) == {"price": 3}


def test_a_dependency_of_a_wrong_form_is_named() -> None:
    with pytest.raises(ValueError, match="before must be a step's name or"):
        depends_on(before=("first", Price, 5))(lambda before: None)  # type: ignore[arg-type]


class Order(BaseModel):
    amount: int
    note: str | None
    size: int | None = None


def test_all_inputs_in_one_model() -> None:
    @step_handler("own")
    @inputs(Order)
    def show(inputs: Order) -> Any:
        return inputs

    assert result(show, input_data={"amount": "2", "size": 5, "more": 1}) == {
        "amount": 2,
        "note": None,
        "size": 5,
    }


def test_a_model_goes_before_keys() -> None:
    @step_handler("own")
    @inputs("amount")
    @inputs(Order)
    def show(inputs: Order) -> Any:
        return {"amount": inputs.amount}

    assert result(show, input_data={"amount": 2}) == {"amount": 2}


def test_an_input_that_does_not_fit_its_model_is_a_retryable_failure() -> None:
    @step_handler("own")
    @inputs(Order)
    def show(inputs: Order) -> None: ...

    made = call(show, input_data={"amount": "many"})
    assert (made.error_type, made.retryable) == ("handler_error", True)
    assert made.metadata["exception_type"] == "ValidationError"


@pytest.mark.parametrize(("error", "retryable"), [(PermanentError, False), (RetryableError, True)])
def test_errors_of_validators_pass_through_the_model(
    error: type[errors.TaskerError], retryable: bool
) -> None:
    class Strict(BaseModel):
        amount: int

        @field_validator("amount")
        @classmethod
        def positive(cls, amount: int) -> int:
            raise error("the amount is wrong")

    @step_handler("own")
    @inputs(Strict)
    def show(inputs: Strict) -> None: ...

    made = call(show, input_data={"amount": 2})
    assert (made.retryable, made.error_message) == (retryable, "the amount is wrong")


def test_arguments_can_be_asked_for_directly() -> None:
    def fn(before: Any, amount: Any, context: Any) -> None: ...

    context = step_context(**FIRST)
    arguments = functional._inject_args(fn, context, {"before": "first"}, ["amount"])
    assert arguments == {"before": {"price": 3}, "amount": 2, "context": context}


def test_a_built_in_is_asked_for_its_parameters_each_time() -> None:
    assert functional._inject_args(len, step_context(), {}, ["obj"]) == {"obj": None}


# Return values (§13.5.4)


class Answer(BaseModel):
    at: Any = None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"a": 1}, {"a": 1}),
        ({}, {}),
        (None, {}),
        (Answer(at=b"x"), {"at": "x"}),
        (RootModel[list[int]]([1]), {"result": [1]}),
        ([1], {"result": [1]}),
        (5, {"result": 5}),
        ("text", {"result": "text"}),
        ((1, 2), {"result": (1, 2)}),
        (False, {"result": False}),
    ],
)
def test_what_is_returned_is_the_result(value: Any, expected: Any) -> None:
    for decorate in decorators():
        fn = decorate(lambda **arguments: value)
        assert result(fn) == expected


@pytest.mark.parametrize(
    "value", [StepHandlerResult.success({"a": 1}), StepHandlerResult.failure("no")]
)
def test_a_handlers_result_is_passed_through(value: StepHandlerResult) -> None:
    for decorate in decorators():
        assert call(decorate(lambda **arguments: value)) is value


def test_a_coroutine_that_a_plain_function_returns_is_awaited() -> None:
    async def later() -> Any:
        return {"done": True}

    async def fail() -> Any:
        raise PermanentError("no")

    assert result(step_handler("own")(lambda: later())) == {"done": True}
    assert call(step_handler("own")(lambda: fail())).error_type == "permanent_error"


def test_an_async_function_is_awaited() -> None:
    @step_handler("own")
    @inputs("amount")
    async def later(amount: int) -> Any:
        await asyncio.sleep(0)
        return {"amount": amount}

    assert result(later, **FIRST) == {"amount": 2}


# Exceptions (§13.5.5)


class OwnTasker(errors.TaskerError):
    retryable = False


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize(
    ("error", "error_type", "retryable"),
    [
        (PermanentError("no"), "permanent_error", False),
        (errors.ValidationError("no"), "permanent_error", False),
        (PermanentError("no", retryable=True), "permanent_error", False),
        (RetryableError("no"), "retryable_error", True),
        (RateLimitError("no", retryable=False), "retryable_error", True),
        (errors.FFIError("no"), "handler_error", True),
        (OwnTasker("no"), "handler_error", False),
        (TaskerError("no"), "handler_error", True),
        (StepExecutionError("no", retryable=False), "handler_error", True),
        (ValueError("no"), "handler_error", True),
    ],
)
def test_exceptions_become_failures(
    error: Exception, error_type: str, retryable: bool, asynchronous: bool
) -> None:
    def fail() -> None:
        raise error

    async def fail_later() -> None:
        raise error

    made = call(step_handler("own")(fail_later if asynchronous else fail))
    assert (made.is_success, made.error_type, made.retryable) == (False, error_type, retryable)
    assert (made.error_message, made.error_code) == ("no", None)


def test_details_of_an_error_are_kept() -> None:
    def fail() -> None:
        raise RateLimitError("slow", retry_after=30, error_code="E1", metadata={"a": 1})

    assert call(step_handler("own")(fail)).metadata == {
        "a": 1,
        "error_code": "E1",
        "retry_after": 30,
    }


class Gone(PermanentError):
    """Its constructor does not call that of its base."""

    def __init__(self, code: int) -> None:
        Exception.__init__(self, f"gone {code}")


class Busy(RetryableError):
    def __init__(self, code: int) -> None:
        Exception.__init__(self, f"busy {code}")


class Odd(errors.TaskerError):
    def __init__(self, code: int) -> None:
        Exception.__init__(self, f"odd {code}")


@pytest.mark.parametrize(
    ("error", "message", "error_type", "retryable"),
    [
        (Gone(4), "gone 4", "permanent_error", False),
        (Busy(4), "busy 4", "retryable_error", True),
        (Odd(4), "odd 4", "handler_error", True),
    ],
)
def test_errors_whose_constructor_does_not_call_that_of_their_base_are_failures_as_well(
    error: Exception, message: str, error_type: str, retryable: bool
) -> None:
    def fail() -> None:
        raise error

    made = call(step_handler("own")(fail))
    assert (made.error_message, made.error_type) == (message, error_type)
    assert (made.retryable, made.metadata) == (retryable, {})


class Unreadable(PermanentError):
    metadata: Any = ["no dict"]

    def __init__(self) -> None:
        """Leave all of it unset."""

    def __str__(self) -> str:
        return f"gone {self.code}"  # type: ignore[attr-defined]


class Numbered(PermanentError):
    def __init__(self) -> None:
        super().__init__("no", metadata={1: "a"})  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("error", "message", "metadata"),
    [(Unreadable(), "Unreadable", {}), (Numbered(), "no", {"1": "a"})],
)
def test_what_describes_an_error_is_no_reason_for_another_one(
    error: Exception, message: str, metadata: dict[str, Any]
) -> None:
    def fail() -> None:
        raise error

    made = call(step_handler("own")(fail))
    assert (made.error_message, made.error_type) == (message, "permanent_error")
    assert made.metadata == metadata


class Undecided(errors.TaskerError):
    @property
    def retryable(self) -> bool:  # type: ignore[override]
        raise LookupError

    def __init__(self) -> None:
        super().__init__("no", metadata={"order": 1})


def test_an_error_that_cannot_tell_whether_it_is_retryable_is() -> None:
    def fail() -> None:
        raise Undecided

    made = call(step_handler("own")(fail))
    assert (made.error_message, made.error_type) == ("no", "handler_error")
    assert (made.retryable, made.metadata) == (True, {"order": 1})


def test_other_exceptions_bring_their_class_and_traceback() -> None:
    def fail() -> None:
        raise KeyError("order_id")

    made = call(step_handler("own")(fail))
    assert made.metadata["exception_type"] == "KeyError"
    assert "raise KeyError" in made.metadata["traceback"]


def test_an_error_of_wrapping_is_a_failure_too() -> None:
    made = call(step_handler("own")(lambda: {1: 2}))
    assert (made.error_type, made.metadata["exception_type"]) == (
        "handler_error",
        "ValidationError",
    )


def test_a_failure_holds_no_text_that_cannot_be_stored() -> None:
    name = b"caf\xe9.csv".decode("utf-8", "surrogateescape")
    made = functional._wrap_exception(ValueError(f"cannot read {name}"))
    assert made.error_message == r"cannot read caf\udce9.csv"
    assert made.metadata["traceback"].rstrip() == r"ValueError: cannot read caf\udce9.csv"


def test_the_wrappers_can_be_called_directly() -> None:
    assert functional._wrap_result(None) == StepHandlerResult.success({})
    made = functional._wrap_exception(ValueError("no"))
    assert made.error_type == ErrorType.HANDLER_ERROR
