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

    def labels(self) -> dict[str, str]:
        """The fields of a line that tell where it comes from."""
        return {
            "step": self.step,
            "task_uuid": self.task_uuid,
            "correlation_id": self.correlation_id,
        }


current_step: ContextVar[StepInfo | None] = ContextVar("taskerpy_current_step", default=None)


class StepTimeout(BaseException):
    """Raised in a handler that has been running for longer than its step allows.

    Not an ``Exception``, so that ``except Exception`` in a handler lets it pass.
    """
