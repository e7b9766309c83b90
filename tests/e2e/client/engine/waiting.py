"""A handler that never succeeds and is tried again after a minute."""

from __future__ import annotations

from tasker_core import RetryableError
from tasker_core.step_handler import step_handler


@step_handler("wait_for_ever")
def wait_for_ever() -> None:
    """Ask for another attempt."""
    raise RetryableError("not yet", retry_after=60)
