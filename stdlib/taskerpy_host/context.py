"""Which step the running code belongs to."""

from __future__ import annotations

from contextvars import ContextVar
from typing import NamedTuple


class StepInfo(NamedTuple):
    """What output of a handler is labelled with."""

    step: str
    task_uuid: str
    correlation_id: str
    event_id: str


current_step: ContextVar[StepInfo | None] = ContextVar("taskerpy_current_step", default=None)
