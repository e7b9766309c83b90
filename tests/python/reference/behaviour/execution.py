"""Execution: what a subscriber hands to the host for what handlers do."""

from __future__ import annotations

import copy
import datetime
import decimal
import enum
import uuid
from typing import Any
from unittest import mock

from tasker_core import (
    EventBridge,
    EventNames,
    EventPoller,
    HandlerRegistry,
    StepContext,
    StepExecutionSubscriber,
    StepHandler,
    StepHandlerResult,
)
from tasker_core import step_execution_subscriber as module

from tests.python.reference import sample
from tests.python.reference.recording import Recording, plain

seen = Recording()


class Colour(enum.Enum):
    RED = "red"


class Odd:
    pass


answers: dict[str, Any] = {
    "success": StepHandlerResult.success({"a": 1}, {"m": 1}),
    "success of nothing": StepHandlerResult.success(None),
    "failure": StepHandlerResult.failure("no", "kind", True, {"m": 1}),
    "permanent failure": StepHandlerResult.failure("no", "kind", False),
    "values": StepHandlerResult.success(
        {
            "when": datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc),
            "day": datetime.date(2026, 1, 2),
            "id": uuid.UUID(int=1),
            "money": decimal.Decimal("1.50"),
            "colour": Colour.RED,
            "set": {1},
            "tuple": (1, 2),
            "bytes": b"abc",
            "keys": {1: "a", None: "b"},
            "nan": float("nan"),
        }
    ),
    "an object": StepHandlerResult.success({"odd": Odd()}),
    "bytes that are no text": StepHandlerResult.success({"bytes": b"\xff"}),
    "checkpoint": StepHandlerResult.success(
        {"cursor": 5, "items_processed": 5, "accumulated_results": {"n": 1}, "more": 1},
        {"checkpoint_yield": True},
    ),
    "bare checkpoint": StepHandlerResult.success({}, {"checkpoint_yield": True}),
    "no checkpoint": StepHandlerResult.success({}, {"checkpoint_yield": 1}),
}
circular: dict[str, Any] = {}
circular["self"] = circular
answers["circular"] = StepHandlerResult.model_construct(
    is_success=True, result=circular, metadata={}, retryable=True
)
errors: dict[str, Exception] = {
    "RuntimeError": RuntimeError("no"),
    "ValueError": ValueError("no"),
    "KeyError": KeyError("no"),
    "OSError": OSError(5, "no"),
}


class Answering(StepHandler):
    handler_name = "charge_handler"
    answer: Any = None

    def call(self, context: StepContext) -> StepHandlerResult:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer  # type: ignore[no-any-return]


class Later(Answering):
    async def call(self, context: StepContext) -> StepHandlerResult:  # type: ignore[override]
        return super().call(context)


def described(value: Any) -> Any:
    """Returns what a listener was told; what it was told about need not be JSON."""
    try:
        return plain(value)
    except Exception:
        return type(value).__name__


def handle(event: Any, answer: Any, kind: Any = Answering, accepted: Any = True) -> Any:
    """Returns all that is handed over and told while a step is handled."""
    bridge, registry = EventBridge(), HandlerRegistry()
    if kind is not None:
        registry.register("charge_handler", type(kind.__name__, (kind,), {"answer": answer}))
    told: list[Any] = []
    bridge.start()
    for name in (
        EventNames.HANDLER_ERROR,
        EventNames.STEP_COMPLETION_SENT,
        EventNames.STEP_CHECKPOINT_YIELD,
    ):
        bridge.subscribe(
            name, lambda *given, name=name: told.append([name, *map(described, given)])
        )
    subscriber = StepExecutionSubscriber(bridge, registry, "worker-1")
    subscriber.start()
    handed: list[Any] = []

    def take(function: str, answers: list[Any]) -> Any:
        def taken(event_id: str, data: dict[str, Any]) -> Any:
            handed.append([function, event_id, copy.deepcopy(data)])
            given = answers[min(len(handed), len(answers)) - 1]
            if isinstance(given, Exception):
                raise given
            return given

        return taken

    raised: Any = None
    replies = accepted if isinstance(accepted, list) else [accepted]
    with (
        mock.patch.object(module, "_complete_step_event", take("complete", replies)),
        mock.patch.object(module, "_checkpoint_yield_step_event", take("checkpoint", replies)),
        mock.patch("time.time", return_value=1.0),
        mock.patch("time.monotonic", return_value=1.0),
        mock.patch("time.perf_counter", return_value=1.0),
    ):
        try:
            subscriber._handle_execution_event(event)
        except Exception as exc:
            raised = exc
    return {"handed": handed, "told": told, "raised": raised}


event = sample.event()
for name, answer in {**answers, **errors}.items():
    seen.note(f"{name}", handle(event, answer))
    seen.note(f"{name} later", handle(event, answer, Later))
seen.note("not found", handle(event, None, None))
names: dict[str, Any] = {
    "callable": {},
    "template step": {"step_definition": {"handler": {}}},
    "no definition": {"step_definition": {}},
    "class": {
        "step_definition": {},
        "workflow_step": {"template_step_name": None},
        "step_template": {"handler_class": "c"},
    },
    "nothing": {"step_definition": {}, "workflow_step": {"template_step_name": None}},
}
subscriber = StepExecutionSubscriber(EventBridge(), HandlerRegistry(), "worker-1")
for name, sections in names.items():
    given = copy.deepcopy(sample.PAYLOAD)
    for section, values in sections.items():
        if section == "workflow_step":
            given[section].update(values)
        else:
            given[section] = values
    seen.call(f"name by {name}", subscriber._get_handler_name, sample.event(given))
success = answers["success"]
for name, replies in {
    "refused": [False],
    "failing": [RuntimeError("down"), RuntimeError("still down")],
    "failing once": [RuntimeError("down"), True],
    "failing and refused": [RuntimeError("down"), False],
}.items():
    seen.note(f"host {name}", handle(event, success, accepted=replies))
    seen.note(
        f"host {name} for a checkpoint", handle(event, answers["checkpoint"], accepted=replies)
    )
seen.note("error result", subscriber._create_error_result(ValueError("no")))
seen.note("not found result", subscriber._create_handler_not_found_result("x"))
seen.note("safe failure", subscriber._build_ffi_safe_failure(event, success, ValueError("x" * 600)))
seen.note("subscriber", [subscriber.is_active, subscriber.worker_id])

poller = EventPoller(20, 3, 5)
seen.note(
    "poller",
    [
        poller._polling_interval,
        poller._starvation_check_interval,
        poller._cleanup_interval,
        poller.is_running,
        poller._poll_count,
    ],
)
got: list[Any] = []
poller.on_step_event(lambda each: got.append(each.event_id))
poller.on_error(lambda error: got.append(type(error).__name__))
poller._process_event(event.model_dump())
poller._process_event({"event_id": "x"})
seen.note("poller: events", got)
poller._running = True
seen.call("poller: start twice", poller.start)
seen.note("poller: running", poller.is_running)
poller._running = False
seen.call("poller: stop when idle", poller.stop)
seen.call("poller: metrics", poller.get_metrics)

seen.write()
