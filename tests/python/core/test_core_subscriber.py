"""From a step event to the handler, and the result back to the host (§12)."""

import asyncio
import enum
import uuid
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any
from unittest import mock

import pytest
from tasker_core import (
    EventBridge,
    EventNames,
    HandlerRegistry,
    StepExecutionError,
    StepExecutionResult,
    StepExecutionSubscriber,
    StepHandler,
    StepHandlerResult,
)
from tasker_core.testing import step_event

from tests.python.core.conftest import Calls
from tests.python.core.execution import Async, Parts, handle, handler, raising, submit

# Life cycle (§12.1)


def test_arguments_may_be_given_by_name() -> None:
    made = StepExecutionSubscriber(
        event_bridge=EventBridge(), handler_registry=HandlerRegistry(), worker_id="w"
    )
    assert (made.worker_id, made.is_active) == ("w", False)


def test_starting_subscribes_once(parts: Parts) -> None:
    parts.subscriber.start()
    parts.subscriber.start()
    assert parts.subscriber.is_active is True
    assert parts.bridge.listeners(EventNames.STEP_EXECUTION_RECEIVED) == [
        parts.subscriber._handle_execution_event
    ]


def test_starting_works_on_an_inactive_bridge(parts: Parts) -> None:
    parts.bridge.stop()
    parts.subscriber.start()
    assert parts.bridge.listener_count(EventNames.STEP_EXECUTION_RECEIVED) == 1


def test_stopping_unsubscribes_and_may_be_repeated(parts: Parts) -> None:
    parts.subscriber.start()
    parts.subscriber.stop()
    parts.subscriber.stop()
    assert parts.subscriber.is_active is False
    assert parts.bridge.listener_count(EventNames.STEP_EXECUTION_RECEIVED) == 0


def test_stopping_after_the_bridge_does_not_raise(parts: Parts) -> None:
    parts.subscriber.start()
    parts.bridge.stop()
    parts.subscriber.stop()
    assert parts.subscriber.is_active is False


def test_a_published_event_is_executed(parts: Parts) -> None:
    parts.registry.register("orders", handler(lambda context: None))
    parts.subscriber.start()
    parts.bridge.publish(EventNames.STEP_EXECUTION_RECEIVED, step_event(handler="orders"))
    assert parts.complete.call_count == 1


# The name of the handler (§12.3)


@pytest.mark.parametrize(
    ("payload", "name"),
    [
        (
            {
                "step_definition": {"handler": {"callable": "a"}},
                "workflow_step": {"template_step_name": "b"},
            },
            "a",
        ),
        (
            {
                "step_definition": {"handler": {"callable": ""}},
                "workflow_step": {"template_step_name": "b"},
            },
            "b",
        ),
        ({"step_template": {"handler_class": "c"}}, "c"),
        ({"step_definition": {"handler": {"callable": 5}}}, "5"),
        ({"step_definition": None, "workflow_step": {}}, "unknown_handler"),
        ({}, "unknown_handler"),
    ],
)
def test_the_name_of_the_handler(parts: Parts, payload: dict[str, Any], name: str) -> None:
    event = step_event().model_copy(update={"task_sequence_step": payload})
    assert parts.subscriber._get_handler_name(event) == name


# Execution (§12.2, 12.4)


def test_a_success_is_submitted(parts: Parts) -> None:
    event = step_event(handler="orders", input_data={"n": 2})
    sent = handle(
        parts, lambda c: StepHandlerResult.success({"n": c.get_input("n")}, {"m": 1}), event
    )
    elapsed = sent.pop("execution_time_ms")
    assert isinstance(elapsed, int)
    assert sent == {
        "step_uuid": event.step_uuid,
        "task_uuid": event.task_uuid,
        "success": True,
        "status": "completed",
        "result": {"n": 2},
        "error": None,
        "worker_id": "worker-1",
        "correlation_id": event.correlation_id,
        "metadata": {"m": 1},
    }
    assert parts.complete.call_args.args[0] == event.event_id


def test_a_failure_is_submitted(parts: Parts) -> None:
    failure = StepHandlerResult.failure("no stock", "stock", False, {"sku": 1})
    sent = handle(parts, lambda c: failure)
    assert (sent["success"], sent["status"], sent["result"]) == (False, "permanent_error", None)
    assert sent["error"] == {
        "error_type": "stock",
        "message": "no stock",
        "stack_trace": None,
        "retryable": False,
        "metadata": {"sku": 1},
    }
    assert sent["metadata"] == {"sku": 1, "retryable": False}


def test_a_retryable_failure_says_so_in_two_places(parts: Parts) -> None:
    sent = handle(parts, lambda c: StepHandlerResult.failure("later"))
    assert (sent["status"], sent["metadata"]) == ("retryable_error", {"retryable": True})


def test_a_failure_without_words_gets_some(parts: Parts) -> None:
    failure = StepHandlerResult(is_success=False)
    sent = handle(parts, lambda c: failure)
    assert (sent["error"]["error_type"], sent["error"]["message"]) == ("unknown", "Unknown error")


def test_an_unknown_handler_fails_the_step_for_good(parts: Parts, calls: Calls) -> None:
    parts.bridge.subscribe(EventNames.HANDLER_ERROR, calls)
    parts.subscriber._handle_execution_event(step_event(handler="missing"))
    sent = parts.complete.call_args.args[1]
    assert (sent["status"], sent["error"]["error_type"]) == (
        "permanent_error",
        "handler_not_found",
    )
    assert sent["error"]["message"] == "Handler not found: missing"
    assert calls == []


def test_the_result_for_an_unknown_handler(parts: Parts) -> None:
    result = parts.subscriber._create_handler_not_found_result("missing")
    assert (result.error_type, result.retryable) == ("handler_not_found", False)
    assert result.error_message == "Handler not found: missing"


def test_an_exception_is_a_retryable_error_of_its_class(parts: Parts, calls: Calls) -> None:
    error = RuntimeError("gateway is down")
    event = step_event(handler="orders")
    parts.bridge.subscribe(EventNames.HANDLER_ERROR, calls)
    sent = handle(parts, raising(error), event)
    assert (sent["status"], sent["error"]["error_type"]) == ("retryable_error", "RuntimeError")
    assert sent["error"]["message"] == "gateway is down"
    assert "gateway is down" in sent["metadata"]["traceback"]
    assert calls == [(event, error)]


def test_a_value_error_is_retryable_too(parts: Parts) -> None:
    result = parts.subscriber._create_error_result(ValueError("bad"))
    assert (result.retryable, result.error_type, result.error_message) == (
        True,
        "ValueError",
        "bad",
    )
    assert "traceback" in result.metadata


def test_an_exception_without_a_message_has_none(parts: Parts) -> None:
    assert parts.subscriber._create_error_result(ValueError()).error_message == ""
    error = handle(parts, raising(ValueError()))["error"]
    assert (error["error_type"], error["message"]) == ("ValueError", "Unknown error")


def test_a_context_that_cannot_be_built_is_an_error_of_the_step(parts: Parts) -> None:
    event = step_event(handler="orders", input_data=[1])
    assert handle(parts, lambda c: None, event)["error"]["error_type"] == "ValidationError"


def test_the_context_names_the_handler_and_not_the_callable(parts: Parts) -> None:
    parts.registry.register("alias", handler(lambda c: {"name": c.handler_name}, "own_name"))
    parts.subscriber._handle_execution_event(step_event(handler="alias"))
    assert parts.complete.call_args.args[1]["result"] == {"name": "own_name"}


def test_a_coroutine_function_is_run_to_its_end(parts: Parts) -> None:
    assert parts.subscriber._execute_handler(step_event(), Async()).result == {"done": True}


def test_a_coroutine_function_is_run_inside_a_running_loop_too(parts: Parts) -> None:
    async def outer() -> Any:
        return parts.subscriber._execute_handler(step_event(), Async()).result

    assert asyncio.run(outer()) == {"done": True}


@pytest.mark.parametrize("made", [Async(), handler(raising(RuntimeError("failed later")))()])
def test_exceptions_pass_through_the_execution(parts: Parts, made: StepHandler) -> None:
    with pytest.raises(RuntimeError, match="failed later"):
        parts.subscriber._execute_handler(step_event(input_data={"fail": True}), made)


def test_an_async_handler_is_run_by_the_helper_that_tests_replace(parts: Parts) -> None:
    answer = StepHandlerResult.success({"from": "helper"})
    with mock.patch.object(parts.subscriber, "_run_async_handler", return_value=answer) as run:
        made = Async()
        assert parts.subscriber._execute_handler(step_event(), made) is answer
    assert run.call_args.args[0] == made.call


# Submission (§12.5)


def test_a_completion_that_is_taken_is_published_once(parts: Parts, calls: Calls) -> None:
    parts.bridge.subscribe(EventNames.STEP_COMPLETION_SENT, calls)
    handle(parts, lambda c: StepHandlerResult.success({"a": 1}))
    ((result,),) = calls
    assert isinstance(result, StepExecutionResult)
    assert result.result == {"a": 1}


def test_a_completion_that_is_not_taken_is_not_published(
    parts: Parts, calls: Calls, caplog: pytest.LogCaptureFixture
) -> None:
    parts.complete.return_value = False
    parts.bridge.subscribe(EventNames.STEP_COMPLETION_SENT, calls)
    handle(parts, lambda c: None)
    assert calls == []
    assert "did not take the result" in caplog.text


class Colour(enum.Enum):
    RED = "red"


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (datetime(2026, 2, 3, tzinfo=timezone.utc), "2026-02-03T00:00:00Z"),
        (uuid.UUID(int=1), str(uuid.UUID(int=1))),
        (Decimal("1.50"), "1.50"),
        (Colour.RED, "red"),
        ({1}, [1]),
        ((1, 2), [1, 2]),
        (b"text", "text"),
        ({1: 2, None: 3}, {"1": 2, "None": 3}),
        (float("nan"), None),
        (float("inf"), None),
    ],
)
def test_what_handlers_return_is_written_as_json(parts: Parts, value: Any, written: Any) -> None:
    assert submit(parts, StepHandlerResult.success({"v": value}))["result"] == {"v": written}


CIRCULAR: dict[str, Any] = {}
CIRCULAR["self"] = CIRCULAR


@pytest.mark.parametrize("value", [object(), b"\xff", CIRCULAR])
def test_what_cannot_be_written_becomes_a_safe_failure(parts: Parts, value: Any) -> None:
    sent = submit(parts, StepHandlerResult.success({"v": value}))
    assert parts.complete.call_count == 1
    assert sent["error"]["error_type"] == "FFI_SERIALIZATION_ERROR"


def test_a_failing_model_dump_leads_to_one_safe_failure(parts: Parts, calls: Calls) -> None:
    parts.bridge.subscribe(EventNames.STEP_COMPLETION_SENT, calls)
    error = ValueError("cannot dump this")
    with mock.patch.object(StepExecutionResult, "model_dump", side_effect=error):
        sent = submit(parts, StepHandlerResult.success({}))
    assert parts.complete.call_count == 1
    assert "cannot dump this" in sent["metadata"]["custom"]["ffi_serialization_error"]
    assert len(calls) == 1


def test_a_submission_that_raises_is_followed_by_a_safe_failure(
    parts: Parts, calls: Calls, caplog: pytest.LogCaptureFixture
) -> None:
    parts.bridge.subscribe(EventNames.STEP_COMPLETION_SENT, calls)
    parts.complete.side_effect = [ValueError("Conversion error"), True]
    sent = submit(parts, StepHandlerResult.success({}))
    assert parts.complete.call_count == 2
    assert sent["error"]["error_type"] == "FFI_SERIALIZATION_ERROR"
    assert calls == []
    assert "a failure was handed in" in caplog.text


def test_two_rejections_are_an_orphaned_step(parts: Parts) -> None:
    first = ValueError("first")
    parts.complete.side_effect = [first, False]
    event = step_event()
    with pytest.raises(RuntimeError) as caught:
        submit(parts, StepHandlerResult.success({}), event)
    assert str(caught.value) == (
        f"Both primary and fallback FFI submissions rejected for event {event.event_id}. "
        f"Step {event.step_uuid} is orphaned."
    )
    assert caught.value.__cause__ is first


def test_two_exceptions_raise_the_second(parts: Parts) -> None:
    first, second = ValueError("first"), ValueError("second")
    parts.complete.side_effect = [first, second]
    with pytest.raises(ValueError, match="second") as caught:
        submit(parts, StepHandlerResult.success({}))
    assert caught.value.__cause__ is first


def test_the_safe_failure(parts: Parts) -> None:
    event = step_event()
    result = StepHandlerResult.success({})
    data = parts.subscriber._build_ffi_safe_failure(event, result, ValueError("x" * 900))
    completed_at = datetime.fromisoformat(data["metadata"].pop("completed_at"))
    assert completed_at.tzinfo is not None
    assert data == {
        "step_uuid": event.step_uuid,
        "success": False,
        "status": "error",
        "result": {},
        "metadata": {
            "execution_time_ms": 0,
            "retryable": False,
            "worker_id": "worker-1",
            "custom": {"ffi_serialization_error": "x" * 500, "original_success": "True"},
        },
        "error": {
            "error_type": "FFI_SERIALIZATION_ERROR",
            "message": ("FFI serialization failed: " + "x" * 900)[:500],
            "retryable": False,
        },
    }


# Checkpoints (§12.6)

YIELD = {"cursor": 5, "items_processed": 3, "accumulated_results": {"sum": 1}, "more": 1}


def checkpoint_result(result: dict[str, Any] | None = None, flag: Any = True) -> StepHandlerResult:
    return StepHandlerResult.success(result, {"checkpoint_yield": flag})


def test_a_checkpoint_is_handed_in_instead_of_a_completion(parts: Parts, calls: Calls) -> None:
    parts.bridge.subscribe(EventNames.STEP_CHECKPOINT_YIELD, calls)
    event = step_event()
    parts.subscriber._submit_result(event, checkpoint_result(YIELD), 5)
    data = {
        "step_uuid": event.step_uuid,
        "cursor": 5,
        "items_processed": 3,
        "accumulated_results": {"sum": 1},
    }
    parts.checkpoint.assert_called_once_with(event.event_id, data)
    assert calls == [(data,)]
    parts.complete.assert_not_called()


def test_a_checkpoint_without_data_has_defaults(parts: Parts) -> None:
    parts.subscriber._submit_result(step_event(), checkpoint_result(), 5)
    data = parts.checkpoint.call_args.args[1]
    assert (data["cursor"], data["items_processed"], data["accumulated_results"]) == (None, 0, None)


def test_only_true_itself_asks_for_a_checkpoint(parts: Parts) -> None:
    submit(parts, checkpoint_result(YIELD, flag=1))
    parts.checkpoint.assert_not_called()


def test_a_checkpoint_that_is_not_taken_is_only_logged(
    parts: Parts, calls: Calls, caplog: pytest.LogCaptureFixture
) -> None:
    parts.checkpoint.return_value = False
    parts.bridge.subscribe(EventNames.STEP_CHECKPOINT_YIELD, calls)
    parts.subscriber._submit_result(step_event(), checkpoint_result(YIELD), 5)
    assert calls == []
    parts.complete.assert_not_called()
    assert "did not take the checkpoint" in caplog.text


def test_what_a_refused_checkpoint_raises_is_raised_again(parts: Parts) -> None:
    parts.checkpoint.side_effect = ValueError("Conversion error")
    with pytest.raises(ValueError, match="Conversion error"):
        parts.subscriber._submit_result(step_event(), checkpoint_result(YIELD), 5)


def test_the_exception_for_programs_around_handlers() -> None:
    error = StepExecutionError("no")
    assert (str(error), error.error_type, error.retryable) == ("no", "step_execution_error", True)
    assert StepExecutionError("no", "own", False).retryable is False
