"""Steps that leave a trace in a file each time they run, and who writes events down."""

from __future__ import annotations

import os
from typing import Any

from tasker_core import Batchable, StepContext, StepHandlerResult
from tasker_core.domain_events import BaseSubscriber, SubscriberRegistry
from tasker_core.step_handler import (
    BatchConfig,
    Decision,
    batch_analyzer,
    batch_worker,
    decision_handler,
    depends_on,
    inputs,
    step_handler,
)

ITEMS = 12
BATCH = 4
COUNTED = 4


def write(variable: str, line: str) -> None:
    """Append one line in one write, so that a killed process leaves whole lines."""
    log = os.open(os.environ[variable], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(log, f"{line}\n".encode())
    finally:
        os.close(log)


def trace(context: StepContext) -> None:
    """Say that a step runs, in which attempt, and from which checkpoint."""
    cursor = context.checkpoint_cursor or 0
    write("CRASH_TRACE", f"{context.task_uuid} {context.step_uuid} {context.retry_count} {cursor}")


@step_handler("first")
@inputs("n")
def first(n: int, context: StepContext) -> dict[str, Any]:
    trace(context)
    return {"value": n, "big": 2**70 + n}


@decision_handler("route")
@depends_on(before="first")
def route(before: dict[str, Any], context: StepContext) -> Decision:
    trace(context)
    return Decision.route([["left", "right"], ["split"], ["count"]][before["value"] % 3])


@step_handler("left")
@depends_on(before="first")
def left(before: dict[str, Any], context: StepContext) -> dict[str, Any]:
    trace(context)
    return {"value": before["value"] * 2}


@step_handler("right")
@depends_on(before="first")
def right(before: dict[str, Any], context: StepContext) -> dict[str, Any]:
    trace(context)
    return {"value": before["value"] * 3}


def one_more(
    context: StepContext, items: list[int], factor: int
) -> dict[str, Any] | StepHandlerResult:
    """Deal with the item that the checkpoint says is next, and hand back until it is the last."""
    done = context.checkpoint_cursor or 0
    value = (context.accumulated_results or 0) + factor * items[done]
    if done + 1 < len(items):
        return Batchable().checkpoint_yield(done + 1, done + 1, value)
    return {"value": value}


@step_handler("count")
@depends_on(before="first")
def count(before: dict[str, Any], context: StepContext) -> dict[str, Any] | StepHandlerResult:
    trace(context)
    return one_more(context, list(range(1, COUNTED + 1)), before["value"])


@batch_analyzer("split", worker_template="crunch")
def split(context: StepContext) -> BatchConfig:
    trace(context)
    return BatchConfig(total_items=ITEMS, batch_size=BATCH)


@batch_worker("crunch")
@depends_on(before="first")
def crunch(
    before: dict[str, Any], batch_context: Any, context: StepContext
) -> dict[str, Any] | StepHandlerResult:
    trace(context)
    items = list(range(batch_context.start_cursor, batch_context.end_cursor))
    return one_more(context, items, before["value"])


@step_handler("gather")
def gather(context: StepContext) -> dict[str, Any]:
    trace(context)
    batches = [name for name in context.dependency_results if name.startswith("crunch_")]
    return {"value": sum(context.get_dependency_result(name)["value"] for name in batches)}


@step_handler("last")
def last(context: StepContext) -> dict[str, Any]:
    trace(context)
    parts = [context.get_dependency_result(n) for n in ("left", "right", "count", "gather")]
    return {"value": sum(part["value"] for part in parts if part)}


class Ledger(BaseSubscriber):
    """Writes every event down."""

    @classmethod
    def subscribes_to(cls) -> list[str]:
        """Return everything."""
        return ["crash.*"]

    def handle(self, event: dict[str, Any]) -> None:
        """Write one line."""
        task = event["metadata"]["task_uuid"]
        write("CRASH_EVENTS", f"{task} {event['event_name']} {event['event_id']}")


SubscriberRegistry.instance().register(Ledger)
