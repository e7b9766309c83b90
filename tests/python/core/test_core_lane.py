"""One step on a lane: from the event's bytes to the result's (taskerpy_host.lane)."""

import asyncio
import contextvars
import json
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import tasker_core
from pydantic import BaseModel, Field
from pydantic_core import SchemaSerializer
from tasker_core import (
    EventBridge,
    HandlerRegistry,
    PermanentError,
    RateLimitError,
    StepContext,
    StepExecutionSubscriber,
    StepHandler,
    StepHandlerResult,
    step_execution_subscriber,
)
from tasker_core._payloads import completion
from tasker_core.testing import step_event
from taskerpy_host import lane
from taskerpy_host.context import StepTimeout, current_step


def run(body: Callable[[Any], Any], **given: Any) -> tuple[bytes, dict[str, Any]]:
    """Run a step whose handler's call() is ``body``; return the outcome and what is stored."""

    class Subject(StepHandler):
        handler_name = "subject"

        def call(self, context: Any) -> Any:
            return body(context)

        def refund(self, context: Any) -> Any:
            return {"called": "refund"}

    HandlerRegistry.instance(skip_bootstrap=True).register("subject", Subject)
    return run_event(step_event(handler="subject", **given).model_dump())


def run_event(event: dict[str, Any]) -> tuple[bytes, dict[str, Any]]:
    answer = lane.run_step(json.dumps(event).encode())
    stored: dict[str, Any] = json.loads(answer[1:])
    return answer[:1], stored


class Order(BaseModel):
    order_id: int = Field(alias="orderId")


def raising(error: BaseException) -> Callable[[Any], Any]:
    def body(context: Any) -> Any:
        raise error

    return body


def test_a_success_is_stored_with_all_its_fields() -> None:
    outcome, stored = run(lambda context: {"total": 3})
    assert outcome == lane.SUCCESS
    assert list(stored) == [
        "step_uuid",
        "success",
        "status",
        "result",
        "metadata",
        "error",
        "orchestration_metadata",
    ]
    assert (stored["success"], stored["status"], stored["result"]) == (
        True,
        "completed",
        {"total": 3},
    )
    metadata = stored["metadata"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", metadata.pop("completed_at"))
    assert isinstance(metadata.pop("execution_time_ms"), int)
    assert metadata == {
        "handler_version": None,
        "retryable": False,
        "worker_id": "taskerpy",
        "worker_hostname": None,
        "started_at": None,
        "custom": {},
        "error_code": None,
        "error_type": None,
        "context": {},
    }
    assert (stored["error"], stored["orchestration_metadata"]) == (None, None)


def test_the_worker_signs_its_results(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane, "_worker_id", lane._worker_id)
    monkeypatch.setattr(lane, "_plain_metadata_tail", lane._plain_metadata_tail)
    lane.start('wörker "1"'.encode())
    assert run(lambda c: None)[1]["metadata"]["worker_id"] == 'wörker "1"'
    with_metadata = StepHandlerResult.success({}, {"rows": 1})
    assert run(lambda c: with_metadata)[1]["metadata"]["worker_id"] == 'wörker "1"'


def test_metadata_of_a_handler_is_kept_beside_the_hosts() -> None:
    given = {"rows": 1, "handler_version": "2", "context": "no dict", "custom": {"own": 1}}
    _, stored = run(lambda c: StepHandlerResult.success({}, given))
    assert stored["metadata"]["handler_version"] == "2"
    assert stored["metadata"]["context"] == {}
    assert stored["metadata"]["custom"] == {"rows": 1, "context": "no dict", "own": 1}


@pytest.mark.parametrize("key", ["decision_point_outcome", "batch_processing_outcome"])
def test_a_result_with_a_directive_says_so(key: str) -> None:
    assert run(lambda c: {key: {}})[0] == lane.DIRECTIVE


def test_a_checkpoint_is_four_fields() -> None:
    given = {"cursor": {"at": 5}, "items_processed": 3, "accumulated_results": [1], "more": 1}
    yielded = StepHandlerResult.success(given, {"checkpoint_yield": True})
    outcome, stored = run(lambda c: yielded)
    assert outcome == lane.CHECKPOINT
    assert stored.pop("step_uuid")
    assert stored == {"cursor": {"at": 5}, "items_processed": 3, "accumulated_results": [1]}


def test_a_failure_is_stored_with_all_its_fields() -> None:
    failure = StepHandlerResult.failure("no stock", "stock", False, {"sku": 1}, "E1")
    outcome, stored = run(lambda c: failure)
    assert outcome == lane.PERMANENT
    assert (stored["success"], stored["status"], stored["result"]) == (
        False,
        "permanent_error",
        None,
    )
    assert stored["error"] == {
        "message": "no stock",
        "error_type": "stock",
        "backtrace": None,
        "retryable": False,
        "status_code": None,
        "context": {"sku": 1},
    }
    metadata = stored["metadata"]
    assert (metadata["retryable"], metadata["error_type"]) == (False, "stock")
    assert (metadata["error_code"], metadata["custom"]) == ("E1", {"sku": 1})


def test_a_retryable_failure() -> None:
    outcome, stored = run(lambda c: StepHandlerResult.failure("later"))
    assert (outcome, stored["status"]) == (lane.RETRYABLE, "retryable_error")
    assert stored["metadata"]["retryable"] is stored["error"]["retryable"] is True
    assert stored["orchestration_metadata"] is None


def test_a_failure_without_words_gets_some() -> None:
    failure = StepHandlerResult(is_success=False)
    error = run(lambda c: failure)[1]["error"]
    assert (error["message"], error["error_type"]) == ("Unknown error", "unknown")


def test_a_handler_cannot_call_its_failure_retryable_by_metadata() -> None:
    failure = StepHandlerResult.failure("no", retryable=False, metadata={"retryable": True})
    outcome, stored = run(lambda c: failure)
    assert (outcome, stored["metadata"]["retryable"]) == (lane.PERMANENT, False)


@pytest.mark.parametrize(
    "metadata",
    [{"retry_after": 30}, {"retry_after_seconds": 30}, {"custom": {"retry_after": 30}}],
)
def test_a_wait_that_a_failure_asks_for_is_told(metadata: dict[str, Any]) -> None:
    _, stored = run(lambda c: StepHandlerResult.failure("later", metadata=metadata))
    assert stored["orchestration_metadata"]["headers"] == {"retry-after": "30"}


def test_an_error_that_asks_for_a_wait() -> None:
    _, stored = run(raising(RateLimitError("slow down", retry_after=0.5)))
    assert stored["orchestration_metadata"]["backoff_hint"]["delay_seconds"] == 1


def test_an_exception_is_a_retryable_failure_with_its_traceback() -> None:
    outcome, stored = run(raising(RuntimeError("gateway is down")))
    assert outcome == lane.RETRYABLE
    error = stored["error"]
    assert (error["error_type"], error["message"]) == ("RuntimeError", "gateway is down")
    assert error["backtrace"][-1] == "RuntimeError: gateway is down"
    assert (error["context"], stored["metadata"]["custom"]) == ({}, {})


def test_frames_of_the_host_are_not_in_the_traceback() -> None:
    _, stored = run(raising(RuntimeError("x")))
    files = [line for line in stored["error"]["backtrace"] if line.startswith("  File")]
    assert not any("taskerpy_host" in line for line in files)
    assert "test_core_lane.py" in files[0]


def test_an_exception_of_the_host_itself_keeps_its_frames() -> None:
    _, stored = run(lambda c: None, input_data=[1])
    assert any("_context.py" in line for line in stored["error"]["backtrace"])


def test_an_exception_may_say_that_it_is_permanent() -> None:
    outcome, stored = run(raising(PermanentError("stolen", error_code="CARD")))
    assert outcome == lane.PERMANENT
    assert stored["metadata"]["error_code"] == "CARD"


def test_a_message_with_bytes_that_are_no_text_can_be_stored() -> None:
    name = b"caf\xe9.csv".decode("utf-8", "surrogateescape")
    outcome, stored = run(raising(ValueError(f"cannot read {name}")))
    assert outcome == lane.RETRYABLE
    assert stored["error"]["message"] == r"cannot read caf\udce9.csv"
    assert stored["error"]["backtrace"][-1] == r"ValueError: cannot read caf\udce9.csv"


def unreadable(name: str, second: BaseException) -> type[Exception]:
    """Return a class of exceptions that raise another one where ``name`` is read or called."""

    def fail(*_: Any) -> Any:
        raise second

    return type("Odd", (Exception,), {name: fail if name == "__str__" else property(fail)})


@pytest.mark.parametrize("second", [ValueError("second"), SystemExit(3), StepTimeout()])
@pytest.mark.parametrize("name", ["retryable", "error_code", "metadata", "__traceback__"])
def test_an_exception_that_cannot_be_read_fails_as_an_ordinary_one(
    name: str, second: BaseException
) -> None:
    outcome, stored = run(raising(unreadable(name, second)("stolen")))
    assert (outcome, stored["status"]) == (lane.RETRYABLE, "retryable_error")
    error = stored["error"]
    assert (error["error_type"], error["message"]) == ("Odd", "stolen")
    assert error["backtrace"][-1].endswith("Odd: stolen")
    assert (stored["metadata"]["error_code"], stored["metadata"]["custom"]) == (None, {})


def test_what_an_exception_cannot_tell_does_not_hide_what_it_can() -> None:
    error = unreadable("retryable", ValueError("second"))("stolen")
    error.error_code, error.metadata = "CARD", {"card": 1}  # type: ignore[attr-defined]
    _, stored = run(raising(error))
    assert stored["metadata"]["error_code"] == "CARD"
    assert stored["metadata"]["custom"] == {"card": 1}


@pytest.mark.parametrize("second", [ValueError("second"), SystemExit(3)])
def test_an_exception_without_text_is_named_by_its_class(second: BaseException) -> None:
    outcome, stored = run(raising(unreadable("__str__", second)()))
    assert (outcome, stored["error"]["message"]) == (lane.RETRYABLE, "Odd")
    assert stored["error"]["backtrace"][-1].endswith("Odd: <exception str() failed>")


@pytest.mark.parametrize("name", ["__cause__", "__notes__"])
def test_an_exception_whose_traceback_cannot_be_written_tells_where_it_was_raised(
    name: str,
) -> None:
    _, stored = run(raising(unreadable(name, ValueError("second"))("stolen")))
    backtrace = stored["error"]["backtrace"]
    assert any("test_core_lane.py" in line for line in backtrace)
    assert any(line.endswith("Odd: stolen") for line in backtrace)


def test_an_interrupt_passes_while_an_exception_is_read() -> None:
    with pytest.raises(KeyboardInterrupt):
        run(raising(unreadable("retryable", KeyboardInterrupt())()))


@pytest.mark.parametrize("error", [SystemExit(3), asyncio.CancelledError(), GeneratorExit()])
def test_exits_and_cancellations_are_failures_of_the_step(error: BaseException) -> None:
    assert run(raising(error))[1]["error"]["error_type"] == type(error).__name__


def test_an_interrupt_passes() -> None:
    with pytest.raises(KeyboardInterrupt):
        run(raising(KeyboardInterrupt()))


def test_an_unknown_handler() -> None:
    outcome, stored = run_event(step_event(handler="missing").model_dump())
    assert outcome == lane.PERMANENT
    assert stored["error"]["error_type"] == "handler_not_found"
    assert stored["error"]["message"] == "Handler not found: missing"


@pytest.mark.parametrize(("template_name", "name"), [("sub", "sub"), (None, "unknown_handler")])
def test_a_step_without_a_callable_is_looked_up_by_its_template(
    template_name: str | None, name: str
) -> None:
    event = step_event().model_dump()
    event["task_sequence_step"]["step_definition"]["handler"]["callable"] = None
    event["task_sequence_step"]["workflow_step"]["template_step_name"] = template_name
    assert run_event(event)[1]["error"]["message"] == f"Handler not found: {name}"


def test_a_method_is_dispatched_to() -> None:
    assert run(lambda c: None, method="refund")[1]["result"] == {"called": "refund"}


@pytest.mark.parametrize("wanted", [{"method": "missing"}, {"resolver": "missing"}])
def test_what_does_not_exist_is_passed_over(wanted: dict[str, str]) -> None:
    assert run(lambda c: {"plain": 1}, **wanted)[1]["result"] == {"plain": 1}


def test_an_object_without_a_name_can_be_a_handler() -> None:
    class Bare:
        def call(self, context: StepContext) -> Any:
            return {"name": context.handler_name}

    registry = HandlerRegistry.instance(skip_bootstrap=True)
    registry.resolver_chain.register("bare", Bare)
    assert run_event(step_event(handler="bare").model_dump())[1]["result"] == {"name": "Bare"}


# Values


def test_values_are_written_as_by_the_package() -> None:
    _, stored = run(lambda c: {"day": date(2026, 2, 3), "set": {1}, "nan": float("nan")})
    assert stored["result"] == {"day": "2026-02-03", "set": [1], "nan": None}


def test_models_within_values_are_written_by_the_names_of_their_fields() -> None:
    given = {"cursor": Order(orderId=7), "accumulated_results": [Order(orderId=8)]}
    assert run(lambda c: given)[1]["result"] == {
        "cursor": {"order_id": 7},
        "accumulated_results": [{"order_id": 8}],
    }
    _, stored = run(lambda c: StepHandlerResult.success(given, {"checkpoint_yield": True}))
    assert (stored["cursor"], stored["accumulated_results"]) == (
        {"order_id": 7},
        [{"order_id": 8}],
    )


def test_releases_of_pydantic_that_prefer_aliases_are_told_not_to_use_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class BeforeAliasesWereOptional:
        def __init__(self, schema: Any) -> None:
            self.serializer = SchemaSerializer(schema)

        def to_json(self, value: Any, *, by_alias: bool = True) -> bytes:
            if by_alias is None:
                raise TypeError("by_alias must be a bool")
            return self.serializer.to_json(value, by_alias=by_alias)

    monkeypatch.setattr(lane, "SchemaSerializer", BeforeAliasesWereOptional)
    assert lane._json_writer()([Order(orderId=7)]) == b'[{"order_id":7}]'


def test_integers_are_exact_and_keys_keep_their_order() -> None:
    _, stored = run(lambda c: {"z": c.get_input("n") ** 9, "a": 1}, input_data={"n": 2**40})
    assert list(stored["result"].items()) == [("z", 2**360), ("a", 1)]


RETURNS_ITS_EVENT = """
import json
from unittest import mock
from tasker_core import *
from tasker_core import step_execution_subscriber as module
from tasker_core.testing import step_event
from taskerpy_host import lane

class Subject(StepHandler):
    def call(self, context):
        return {"event": context.event, "result": self.success({"a": 1})}

registry = HandlerRegistry.instance(skip_bootstrap=True)
registry.register("subject", Subject)
event = step_event(handler="subject")
fields = {name: value for name, value in event}
"""
BY_LANE = """
answer = json.loads(lane.run_step(json.dumps(fields).encode())[1:])
"""
BY_PROGRAM = """
with mock.patch.object(module, "_complete_step_event") as complete:
    StepExecutionSubscriber(EventBridge(), registry, "w")._handle_execution_event(event)
answer = complete.call_args.args[1]
"""


@pytest.mark.parametrize("way", [BY_LANE, BY_PROGRAM])
def test_a_handler_may_return_models_that_were_never_validated(way: str, tmp_path: Path) -> None:
    """In an interpreter of its own: here other tests have validated them."""
    check = "assert answer['result']['event']['step_uuid'] == event.step_uuid, answer"
    source = Path(tasker_core.__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-c", RETURNS_ITS_EVENT + way + check],
        cwd=tmp_path,
        env={"PYTHONPATH": str(source)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("value", [object(), b"\xff"])
def test_what_cannot_be_written_becomes_a_safe_failure(
    value: Any, caplog: pytest.LogCaptureFixture
) -> None:
    outcome, stored = run(lambda c: {"v": value})
    assert (outcome, stored["status"], stored["result"]) == (lane.PERMANENT, "error", {})
    assert stored["error"]["error_type"] == "FFI_SERIALIZATION_ERROR"
    assert stored["metadata"]["custom"]["original_success"] == "True"
    assert "cannot be written as JSON" in caplog.text


def test_a_failure_that_cannot_be_written_becomes_a_safe_failure_too() -> None:
    failure = StepHandlerResult.failure("no", metadata={"v": object()})
    _, stored = run(lambda c: failure)
    assert stored["metadata"]["custom"]["original_success"] == "False"


def stored_of(
    result: Any, monkeypatch: pytest.MonkeyPatch
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what a lane and a program that polls store of what a handler returns."""
    complete = mock.Mock(return_value=True)
    monkeypatch.setattr(step_execution_subscriber, "_complete_step_event", complete)
    event = step_event(handler="subject")
    _, by_lane = run(lambda c: result, ids=dict(event))
    registry = HandlerRegistry.instance()
    StepExecutionSubscriber(EventBridge(), registry, "taskerpy")._handle_execution_event(event)
    return by_lane, completion(complete.call_args.args[1])


@pytest.mark.parametrize(
    "result",
    [
        StepHandlerResult.success({"a": 1}, {"rows": 1, "handler_version": "2"}),
        StepHandlerResult.success({}),
        StepHandlerResult.success({"orders": [Order(orderId=7)]}, {"order": Order(orderId=7)}),
        StepHandlerResult.failure("no", metadata={"order": Order(orderId=7)}),
        StepHandlerResult.failure(
            "no", "own", True, {"retry_after": 3, "k": 1, "traceback": "a\nb", "status_code": 503}
        ),
        StepHandlerResult.failure("no", retryable=False, error_code="E1"),
    ],
)
def test_lanes_and_programs_that_poll_store_the_same(
    result: StepHandlerResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_lane, by_program = stored_of(result, monkeypatch)
    for stored in (by_lane, by_program):
        del stored["metadata"]["completed_at"], stored["metadata"]["execution_time_ms"]
    assert by_lane == by_program


class OwnResult(BaseModel):
    """A result of a program's own, with what is read of one."""

    is_success: Any
    result: Any = None
    error_message: Any = None
    error_type: Any = None
    retryable: Any = True
    metadata: dict[str, Any] = {}


@pytest.mark.parametrize(
    "own",
    [
        OwnResult(is_success=False, error_message="boom", error_type="own", retryable=False),
        OwnResult(is_success=False, metadata={"retry_after": 3}),
        OwnResult(is_success=True, result={"a": Order(orderId=7)}, metadata={"rows": 1}),
        OwnResult(is_success=1),
        # What does not fit becomes a safe failure.
        OwnResult(is_success=True, result=[1]),
        OwnResult(is_success=False, error_message=5),
    ],
)
def test_results_of_a_programs_own_are_stored_alike_by_lanes_and_programs_that_poll(
    own: OwnResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_lane, by_program = stored_of(own, monkeypatch)
    for key in ("success", "status", "result"):
        assert by_lane[key] == by_program[key]
    by_lane["error"], by_program["error"] = by_lane["error"] or {}, by_program["error"] or {}
    for key in ("error_type", "retryable"):
        assert by_lane["error"].get(key) == by_program["error"].get(key)
    # What follows a colon tells which model did not take a value.
    messages = [stored["error"].get("message", "") for stored in (by_lane, by_program)]
    assert len({message.partition(":")[0] for message in messages}) == 1
    assert by_lane["metadata"]["custom"].keys() == by_program["metadata"]["custom"].keys()


def test_a_checkpoint_may_be_a_result_of_a_programs_own() -> None:
    own = OwnResult(is_success=True, result={"cursor": 5}, metadata={"checkpoint_yield": True})
    outcome, stored = run(lambda c: own)
    assert (outcome, stored["cursor"]) == (lane.CHECKPOINT, 5)


# Surroundings of a step


def test_the_running_step_is_known_while_it_runs() -> None:
    event = step_event("charge", handler="subject")
    run(lambda c: None)
    seen: list[Any] = []
    HandlerRegistry.instance().register("subject", handler_that(lambda: current_step.get(), seen))
    lane.run_step(json.dumps(event.model_dump()).encode())
    assert seen[0].labels() == {
        "step": "charge",
        "task_uuid": event.task_uuid,
        "correlation_id": event.correlation_id,
    }
    assert current_step.get() is None


def handler_that(look: Callable[[], Any], seen: list[Any]) -> type[StepHandler]:
    class Looking(StepHandler):
        def call(self, context: StepContext) -> StepHandlerResult:
            seen.append(look())
            return self.success()

    return Looking


def test_context_variables_of_a_step_do_not_reach_the_next_one() -> None:
    variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable", default=0)

    def count(context: Any) -> Any:
        variable.set(variable.get() + 1)
        return {"count": variable.get()}

    assert [run(count)[1]["result"]["count"] for _ in range(2)] == [1, 1]


def test_unfinished_lines_are_finished_with_the_step() -> None:
    with mock.patch("taskerpy_host.lane.streams.finish_step") as finish:
        run(lambda c: None)
        run(raising(RuntimeError()))
    assert [call.args[0].step for call in finish.call_args_list] == ["test_step"] * 2


# Coroutines
