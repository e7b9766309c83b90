"""What the steps of the tests do. The task's input says the rest."""

import os
import signal
import time
from pathlib import Path
from typing import Any

from tasker_core import (
    PermanentError,
    RetryableError,
    StepContext,
    StepHandler,
    StepHandlerResult,
    TaskerClient,
)

POLL = 0.005


def note(context: StepContext, what: str) -> None:
    """Leave a line for the test: which step, which attempt, which process."""
    line = f"{context.step_uuid} {context.retry_count + 1} {os.getpid()}\n"
    with (Path(context.input_data["notes"]) / what).open("a") as file:
        file.write(line)


def value(context: StepContext) -> dict[str, Any]:
    """Count one more than the steps before: a step that ran on the wrong input is seen."""
    before = [context.get_dependency_result(name) for name in context.dependency_results]
    counts = [result["value"] for result in before if isinstance(result, dict)]
    return {"value": 1 + max(counts, default=context.input_data.get("start", 0))}


class Work(StepHandler):
    """Take as long as the input says, in milliseconds."""

    handler_name = "steps.Work"

    def call(self, context: StepContext) -> StepHandlerResult:
        """Return one more than the step before."""
        note(context, "ran")
        time.sleep(context.input_data.get("ms", 0) / 1000)
        return self.success(value(context))


class Tiny(StepHandler):
    """Do nothing at all."""

    handler_name = "steps.Tiny"

    def call(self, context: StepContext) -> StepHandlerResult:
        """Return a constant."""
        return self.success({"value": 1})


class Gate(StepHandler):
    """Stay inside until the test lets it go."""

    handler_name = "steps.Gate"

    def call(self, context: StepContext) -> StepHandlerResult:
        """Wait for a file called open."""
        note(context, "entered")
        while not (Path(context.input_data["notes"]) / "open").exists():
            time.sleep(POLL)
        note(context, "left")
        return self.success({"attempt": context.retry_count + 1, **value(context)})


class Deadly(StepHandler):
    """Take its process along, at every attempt up to the one that the input names."""

    handler_name = "steps.Deadly"

    def call(self, context: StepContext) -> StepHandlerResult:
        """Die, or return."""
        note(context, "ran")
        if context.retry_count + 1 <= context.input_data["deaths"]:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.success(value(context))


class Failing(StepHandler):
    """Fail as the input says, as often as it says."""

    handler_name = "steps.Failing"

    def call(self, context: StepContext) -> StepHandlerResult:
        """Raise, or return."""
        note(context, "ran")
        if context.retry_count + 1 > context.input_data["failures"]:
            return self.success(value(context))
        if context.input_data["permanent"]:
            raise PermanentError("it will never work")
        raise RetryableError("it may work later")


class Strange(StepHandler):
    """Return what is hard to store."""

    handler_name = "steps.Strange"

    def call(self, context: StepContext) -> StepHandlerResult:
        """Return the kind of result that the input names."""
        note(context, "ran")
        kind = context.input_data["kind"]
        results: dict[str, Any] = {
            "nul": {"text": "a\0b"},
            "surrogate": {"text": "\ud800"},
            "nan": {"nan": float("nan"), "inf": float("inf"), "one": 1.5},
            "large": {"text": "ä" * (5 << 19)},
            "integer": {"number": 10**400},
        }
        if kind in results:
            return self.success({**results[kind], **value(context)})
        deep: Any = "bottom"
        for _ in range(int(kind)):
            deep = [deep]
        return self.success({"deep": deep, **value(context)})


class Wordy(StepHandler):
    """Return as many characters as the input says, each of two bytes."""

    handler_name = "steps.Wordy"

    def call(self, context: StepContext) -> StepHandlerResult:
        """Return them."""
        text = "ä" * context.input_data["characters"]
        return self.success({"text": text, "notes": context.input_data["notes"]})


class Decide(StepHandler):
    """Decide as the input says."""

    handler_name = "steps.Decide"

    def call(self, context: StepContext) -> StepHandlerResult:
        """Return the outcome."""
        return self.success({"decision_point_outcome": context.input_data["outcome"], "value": 1})


class Ask(StepHandler):
    """Ask the orchestration API how it is."""

    handler_name = "steps.Ask"

    def call(self, context: StepContext) -> StepHandlerResult:
        """Leave what it has said for the test."""
        try:
            said = str(TaskerClient().health_check().status)
        except RuntimeError as error:
            said = str(error)
        (Path(context.input_data["notes"]) / "said").write_text(said)
        return self.success(value(context))
