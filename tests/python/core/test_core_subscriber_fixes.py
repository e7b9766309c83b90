"""Weaknesses of the execution path that are mended (§15.2)."""

import asyncio
from typing import Any
from unittest import mock

import pytest
from tasker_core import (
    EventNames,
    PermanentError,
    StepExecutionSubscriber,
    StepHandler,
    StepHandlerResult,
)
from tasker_core.testing import step_event

from tests.python.core.execution import Async, Parts, handle, handler, raising, submit


def test_method_of_the_template_is_honoured(parts: Parts) -> None:
    event = step_event(handler="orders", method="refund")
    assert handle(parts, lambda c: {"called": "call"}, event)["result"] == {"called": "refund"}


@pytest.mark.parametrize("wanted", [{"method": "missing"}, {"resolver": "missing"}])
def test_method_or_resolver_that_does_not_exist_falls_back_to_the_plain_handler(
    parts: Parts, wanted: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    event = step_event(handler="orders", **wanted)  # type: ignore[arg-type]
    assert handle(parts, lambda c: {"called": "call"}, event)["result"] == {"called": "call"}
    assert "is called plainly" in caplog.text


def test_method_of_an_unknown_handler_is_still_not_found(parts: Parts) -> None:
    parts.subscriber._handle_execution_event(step_event(handler="missing", method="refund"))
    assert parts.complete.call_args.args[1]["error"]["error_type"] == "handler_not_found"


def test_initialization_reaches_constructors_that_need_it(parts: Parts) -> None:
    class Configured(StepHandler):
        handler_name = "configured"

        def __init__(self, config: dict[str, Any]) -> None:
            self.config = config

        def call(self, context: Any) -> Any:
            return self.success(self.config)

    parts.registry.register("configured", Configured)
    for method in (None, "missing"):
        event = step_event(handler="configured", method=method, step_config={"limit": 5})
        parts.subscriber._handle_execution_event(event)
        assert parts.complete.call_args.args[1]["result"] == {"limit": 5}


def test_a_plain_step_resolves_by_its_name_alone(parts: Parts) -> None:
    registry = mock.Mock()
    registry.resolve.return_value = None
    StepExecutionSubscriber(parts.bridge, registry, "w")._handle_execution_event(
        step_event(handler="orders", method="call")
    )
    registry.resolve.assert_called_once_with("orders")


def test_permanent_errors_of_class_handlers_are_not_retried(parts: Parts) -> None:
    error = PermanentError("stolen", error_code="CARD", metadata={"card": 1})
    sent = handle(parts, raising(error))
    assert (sent["status"], sent["metadata"]["retryable"]) == ("permanent_error", False)
    assert (sent["metadata"]["card"], sent["metadata"]["error_code"]) == (1, "CARD")


def test_an_attribute_that_is_no_bool_does_not_decide(parts: Parts) -> None:
    error = RuntimeError("x")
    error.retryable = "no"  # type: ignore[attr-defined]
    assert handle(parts, raising(error))["status"] == "retryable_error"


def test_metadata_with_other_keys_does_not_hide_the_error(parts: Parts) -> None:
    error = RuntimeError("x")
    error.metadata = {1: 2}  # type: ignore[attr-defined]
    assert handle(parts, raising(error))["metadata"]["1"] == 2


def test_an_error_without_text_is_named_by_its_class(parts: Parts) -> None:
    class Unprintable(Exception):
        def __str__(self) -> str:
            raise LookupError

    assert handle(parts, raising(Unprintable()))["error"]["message"] == "Unprintable"


@pytest.mark.parametrize(
    ("value", "result"), [(None, {}), ({"a": 1}, {"a": 1}), ([1], {"result": [1]})]
)
def test_other_return_values_are_wrapped(parts: Parts, value: Any, result: Any) -> None:
    assert handle(parts, lambda c: value)["result"] == result


def test_an_awaitable_that_a_plain_handler_returns_is_awaited(parts: Parts) -> None:
    async def later() -> Any:
        return {"done": True}

    assert handle(parts, lambda c: later())["result"] == {"done": True}


def test_an_async_method_behind_dispatch_is_awaited(parts: Parts) -> None:
    class WithLater(StepHandler):
        handler_name = "later"

        def call(self, context: Any) -> Any:
            return self.failure("not this one")

        async def later(self, context: Any) -> Any:
            return self.success({"done": True})

    parts.registry.register("later", WithLater)
    parts.subscriber._handle_execution_event(step_event(handler="later", method="later"))
    assert parts.complete.call_args.args[1]["result"] == {"done": True}


def test_listeners_that_fail_do_not_break_delivery(parts: Parts) -> None:
    for name in (EventNames.HANDLER_ERROR, EventNames.STEP_COMPLETION_SENT):
        parts.bridge.subscribe(name, mock.Mock(side_effect=ValueError("listener")))
    sent = handle(parts, raising(RuntimeError("x")))
    assert sent["error"]["error_type"] == "RuntimeError"


def test_a_runtime_error_inside_a_running_loop_stays_what_it_is(parts: Parts) -> None:
    async def outer() -> Any:
        return parts.subscriber._execute_handler(step_event(input_data={"fail": True}), Async())

    with pytest.raises(RuntimeError, match="failed later"):
        asyncio.run(outer())


@pytest.mark.parametrize("error", [SystemExit(3), asyncio.CancelledError(), GeneratorExit()])
def test_exits_and_cancellations_fail_the_step_and_not_the_thread(
    parts: Parts, error: BaseException
) -> None:
    sent = handle(parts, raising(error))
    assert sent["error"]["error_type"] == type(error).__name__


def test_an_interrupt_of_the_program_passes(parts: Parts) -> None:
    parts.registry.register("orders", handler(raising(KeyboardInterrupt())))
    with pytest.raises(KeyboardInterrupt):
        parts.subscriber._handle_execution_event(step_event(handler="orders"))
    parts.complete.assert_not_called()


def test_a_malformed_id_ends_in_a_safe_failure(parts: Parts) -> None:
    event = step_event().model_copy(update={"correlation_id": "x"})
    assert submit(parts, StepHandlerResult.success({}), event)["error"]["error_type"] == (
        "FFI_SERIALIZATION_ERROR"
    )


def test_metadata_that_collides_with_the_hosts_does_not_spoil_a_success(parts: Parts) -> None:
    sent = handle(parts, lambda c: StepHandlerResult.success({}, {"context": "shop", "rows": 1}))
    assert sent["success"] is True
    assert sent["metadata"] == {"rows": 1, "custom": {"context": "shop"}}


def test_the_error_code_of_a_failure_is_transmitted(parts: Parts) -> None:
    sent = handle(parts, lambda c: StepHandlerResult.failure("no", error_code="E1"))
    assert sent["metadata"]["error_code"] == "E1"


def test_time_is_measured_with_a_clock_that_cannot_be_set_back(parts: Parts) -> None:
    with mock.patch("time.time", side_effect=AssertionError("the wall clock was asked")):
        handle(parts, lambda c: None)
