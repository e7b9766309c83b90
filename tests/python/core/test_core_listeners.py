"""What listeners on the bridge of the process learn of steps that lanes run."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import tasker_core
from tasker_core import (
    EventBridge,
    EventNames,
    FfiStepEvent,
    HandlerRegistry,
    StepExecutionResult,
    StepExecutionSubscriber,
    StepHandlerResult,
    step_execution_subscriber,
)
from tasker_core.testing import step_event
from taskerpy_host import lane
from taskerpy_host.context import StepTimeout

from tests.python.core.execution import handler, raising

EVENTS = (
    EventNames.STEP_EXECUTION_RECEIVED,
    EventNames.STEP_COMPLETION_SENT,
    EventNames.STEP_CHECKPOINT_YIELD,
    EventNames.HANDLER_ERROR,
)


@pytest.fixture
def heard() -> list[tuple[Any, ...]]:
    """What listeners of all events are called with, the event's name first."""
    calls: list[tuple[Any, ...]] = []

    def listener(name: str) -> Callable[..., None]:
        return lambda *arguments: calls.append((name, *arguments))

    for name in EVENTS:
        EventBridge.instance().subscribe(name, listener(name))
    return calls


def run(body: Callable[[Any], Any], event: FfiStepEvent | None = None) -> bytes:
    HandlerRegistry.instance(skip_bootstrap=True).register("orders", handler(body))
    event = event or step_event(handler="orders")
    return lane.run_step(json.dumps(event.model_dump()).encode())


def by_subscriber(body: Callable[[Any], Any], event: FfiStepEvent) -> list[tuple[Any, ...]]:
    """Return what listeners hear of a step that a program executes which polls."""
    bridge, calls = EventBridge(), []
    bridge.start()
    for name in EVENTS[1:]:
        bridge.subscribe(name, lambda *arguments, name=name: calls.append((name, *arguments)))
    registry = HandlerRegistry()
    registry.register("orders", handler(body))
    subscriber = StepExecutionSubscriber(bridge, registry, "taskerpy")
    with mock.patch.multiple(
        step_execution_subscriber,
        _complete_step_event=mock.Mock(return_value=True),
        _checkpoint_yield_step_event=mock.Mock(return_value=True),
    ):
        subscriber._handle_execution_event(event)
    return calls


def comparable(calls: list[tuple[Any, ...]]) -> list[list[Any]]:
    """Return calls without the times in them, and exceptions as their texts."""
    return [
        [
            argument.model_dump(exclude={"execution_time_ms", "completed_at", "error"})
            if isinstance(argument, StepExecutionResult)
            else repr(argument)
            for argument in call
        ]
        for call in calls
    ]


@pytest.mark.parametrize(
    ("body", "names"),
    [
        (lambda context: {"total": 3}, [EventNames.STEP_COMPLETION_SENT]),
        (
            lambda context: StepHandlerResult.failure("no", retryable=False),
            [EventNames.STEP_COMPLETION_SENT],
        ),
        (
            lambda context: StepHandlerResult.success({"cursor": 5}, {"checkpoint_yield": True}),
            [EventNames.STEP_CHECKPOINT_YIELD],
        ),
        # Stored as a failure; told as what it was.
        (lambda context: {"value": object}, [EventNames.STEP_COMPLETION_SENT]),
        # No result at all.
        (
            lambda context: StepHandlerResult.model_construct(
                is_success=True, result=[1], metadata={}
            ),
            [],
        ),
    ],
)
def test_listeners_learn_how_a_step_ended_as_from_a_program_that_polls(
    body: Callable[[Any], Any], names: list[str], heard: list[tuple[Any, ...]]
) -> None:
    event = step_event(handler="orders")
    run(body, event)
    received, *ends = heard
    assert (received[0], received[1].event_id) == (EVENTS[0], event.event_id)
    assert [name for name, *_ in ends] == names
    assert comparable(ends) == comparable(by_subscriber(body, event))


def test_listeners_learn_what_a_handler_raises(heard: list[tuple[Any, ...]]) -> None:
    error = ValueError("no")
    event = step_event(handler="orders")
    run(raising(error), event)
    assert [name for name, *_ in heard] == [EVENTS[0], EVENTS[3], EVENTS[1]]
    _, told, raised = heard[1]
    assert (told.model_dump(), raised) == (event.model_dump(), error)
    assert heard[2][1].error.message == "no"


class Unreadable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize(
    "error", [ValueError("listener"), StepTimeout(), SystemExit(1), Unreadable()]
)
def test_listeners_that_fail_do_not_change_what_became_of_a_step(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    for name in EVENTS:
        EventBridge.instance().subscribe(name, mock.Mock(side_effect=error))
    answer = run(lambda context: {"total": 3})
    assert (answer[:1], json.loads(answer[1:])["result"]) == (lane.SUCCESS, {"total": 3})
    assert run(raising(ValueError("no")))[:1] == lane.RETRYABLE
    assert f"A listener of 'step.completion.sent' failed: {type(error).__name__}" in caplog.text


def test_an_interrupt_of_the_program_passes_a_listener() -> None:
    EventBridge.instance().subscribe(EVENTS[1], mock.Mock(side_effect=KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        run(lambda context: None)


def test_a_step_is_not_executed_again_by_what_executes_steps_that_are_polled() -> None:
    registry = HandlerRegistry.instance(skip_bootstrap=True)
    StepExecutionSubscriber(EventBridge.instance(), registry, "w").start()
    ran: list[None] = []
    run(lambda context: ran.append(None))
    assert ran == [None]


def test_a_bridge_without_listeners_is_left_alone() -> None:
    bridge = EventBridge.instance()
    run(lambda context: None)
    assert not bridge.is_active


SILENT = """
import sys
from taskerpy_host import lane
from tasker_core import HandlerRegistry, StepHandler
from tasker_core.testing import step_event

class Subject(StepHandler):
    def call(self, context):
        return {}

HandlerRegistry.instance(skip_bootstrap=True).register("subject", Subject)
lane.run_step(step_event(handler="subject").model_dump_json().encode())
loaded = {"pyee", "taskerpy_host.listeners"} & {*sys.modules}
assert not loaded, loaded
"""


def test_a_program_that_has_no_bridge_pays_for_none(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SILENT],
        cwd=tmp_path,
        env={"PYTHONPATH": str(Path(tasker_core.__file__).parent.parent)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
