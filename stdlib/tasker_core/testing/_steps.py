"""Run one step as a worker does."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from taskerpy_host import lane

from tasker_core._conversion import decode, encode
from tasker_core.handler import HandlerRegistry
from tasker_core.step_handler.base import StepHandler
from tasker_core.testing._events import step_event
from tasker_core.types import FfiStepEvent

Outcome = Literal["success", "retryable_failure", "permanent_failure", "checkpoint"]

_OUTCOMES: dict[bytes, Outcome] = {
    lane.SUCCESS: "success",
    lane.DIRECTIVE: "success",
    lane.RETRYABLE: "retryable_failure",
    lane.PERMANENT: "permanent_failure",
    lane.CHECKPOINT: "checkpoint",
}


@dataclass(frozen=True)
class StepRun:
    """What one execution of a step gave."""

    step_name: str
    outcome: Outcome
    stored: dict[str, Any]
    """What is stored of it: a step result or, for a checkpoint, its four fields."""

    @property
    def is_success(self) -> bool:
        """Whether the step did its work."""
        return self.outcome == "success"

    @property
    def is_failure(self) -> bool:
        """Whether the step failed, for good or not."""
        return self.outcome in ("retryable_failure", "permanent_failure")

    @property
    def retryable(self) -> bool:
        """Whether the step failed and may be tried again."""
        return self.outcome == "retryable_failure"

    @property
    def result(self) -> Any:
        """What later steps see; ``None`` unless the step did its work."""
        return self.stored["result"] if self.is_success else None

    @property
    def checkpoint(self) -> dict[str, Any] | None:
        """The checkpoint that the step has yielded, if it did."""
        return self.stored if self.outcome == "checkpoint" else None

    @property
    def metadata(self) -> dict[str, Any]:
        """What is stored beside the result; a handler's own entries are in ``custom``."""
        metadata: dict[str, Any] = self.stored.get("metadata", {})
        return metadata

    @property
    def error_message(self) -> str | None:
        """Why the step failed, for people."""
        message: str | None = self._error("message")
        return message

    @property
    def error_type(self) -> str | None:
        """Why the step failed, in a word; the class of an exception."""
        error_type: str | None = self._error("error_type")
        return error_type

    @property
    def traceback(self) -> str | None:
        """Where the handler raised the exception that failed the step."""
        lines = self._error("backtrace")
        return None if lines is None else "\n".join(lines)

    def assert_success(self) -> Any:
        """Return the result; fail the test, saying what happened, if there is none."""
        __tracebackhide__ = True
        if not self.is_success:
            raise AssertionError(
                f"step {self.step_name!r} should have succeeded: {self.describe()}"
            )
        return self.result

    def assert_failure(
        self, error_type: str | None = None, *, retryable: bool | None = None
    ) -> None:
        """Fail the test unless the step failed, and did so in this way.

        >>> run_step("no_such_handler").assert_failure("handler_not_found", retryable=False)
        """
        __tracebackhide__ = True
        wrong = (
            not self.is_failure
            or error_type not in (None, self.error_type)
            or retryable not in (None, self.retryable)
        )
        if wrong:
            kind = {None: "", True: " retryably", False: " for good"}[retryable]
            expected = f"failed{kind}" + (f" with {error_type!r}" if error_type else "")
            raise AssertionError(
                f"step {self.step_name!r} should have {expected}: {self.describe()}"
            )

    def describe(self) -> str:
        """Return what happened, in a line and the handler's traceback."""
        if self.is_success:
            return f"success, result {self.result!r}"
        if self.checkpoint is not None:
            return f"checkpoint at cursor {self.checkpoint['cursor']!r}"
        kind = self.outcome.replace("_", " ")
        text = f"{kind}, {self.error_type}: {self.error_message}"
        return text if self.traceback is None else f"{text}\n{self.traceback}"

    def _error(self, key: str) -> Any:
        return self.stored["error"][key] if self.is_failure else None


def run_step(
    handler: Any,
    *,
    method: str | None = None,
    input_data: Any = None,
    dependency_results: Mapping[str, Any] | None = None,
    step_config: Mapping[str, Any] | None = None,
    step_inputs: Any = None,
    retry_count: int = 0,
    max_retries: int = 3,
    checkpoint: Mapping[str, Any] | None = None,
) -> StepRun:
    """Run one step and return what it gave.

    Args:
        handler: A handler class, a decorated function, a handler, or the name
            of a handler that is registered in ``HandlerRegistry.instance()``.

    The other arguments are those of :func:`step_event`.

    >>> from tasker_core import PermanentError, StepHandler
    >>> class Charge(StepHandler):
    ...     def call(self, context):
    ...         if context.get_input("amount") < 0:
    ...             raise PermanentError("nothing to charge")
    ...         return self.success({"charged": context.get_input("amount")})
    >>> run_step(Charge, input_data={"amount": 3}).result
    {'charged': 3}
    >>> run_step(Charge, input_data={"amount": -1}).assert_failure("PermanentError")
    """
    if isinstance(handler, str):
        registry, name = HandlerRegistry.instance(), handler
    else:
        registry = HandlerRegistry()
        name = register(registry, handler)
    event = step_event(
        name,
        method=method,
        input_data=input_data,
        dependency_results=dependency_results,
        step_config=step_config,
        step_inputs=step_inputs,
        retry_count=retry_count,
        max_retries=max_retries,
        checkpoint=checkpoint,
    )
    return run_event(event, registry)


def register(registry: HandlerRegistry, handler: Any) -> str:
    """Enter a handler of any kind and return the name it is found by."""
    handler = getattr(handler, "_handler_class", handler)
    if not callable(getattr(handler, "call", None)):
        raise TypeError(
            f"{handler!r} is no handler: give a class derived from StepHandler, "
            "a function decorated with @step_handler or its kin, or an object with call()"
        )
    kind = handler if isinstance(handler, type) else type(handler)
    name = str(getattr(handler, "handler_name", "") or kind.__name__)
    if isinstance(handler, type) and issubclass(handler, StepHandler):
        registry.register(name, handler)
    else:
        registry.resolver_chain.register(name, handler)
    return name


def run_event(event: FfiStepEvent, registry: HandlerRegistry) -> StepRun:
    """Run the step of an event on the way that lanes take."""
    # Hosts leave out what is not set.
    fields = {name: value for name, value in event if value is not None}
    answer = lane.run(encode(fields), registry)
    step_name = event.task_sequence_step["workflow_step"]["name"]
    return StepRun(step_name, _OUTCOMES[answer[:1]], decode(answer[1:]))
