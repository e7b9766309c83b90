"""Steps that leave a trace in a file each time they run."""

from __future__ import annotations

import os
from typing import Any

from tasker_core import StepContext
from tasker_core.step_handler import depends_on, inputs, step_handler


def trace(context: StepContext) -> None:
    """Appends one line in one write, so that a killed process leaves whole lines."""
    line = f"{context.task_uuid} {context.step_uuid} {context.retry_count}\n"
    log = os.open(os.environ["CRASH_TRACE"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(log, line.encode())
    finally:
        os.close(log)


@step_handler("first")
@inputs("n")
def first(n: int, context: StepContext) -> dict[str, Any]:
    trace(context)
    return {"value": n, "big": 2**70 + n}


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


@step_handler("last")
@depends_on(a="left", b="right")
def last(a: dict[str, Any], b: dict[str, Any], context: StepContext) -> dict[str, Any]:
    trace(context)
    return {"value": a["value"] + b["value"]}
