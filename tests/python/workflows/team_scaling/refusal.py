"""What both teams mean by a refusal."""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timezone
from typing import Any
from uuid import uuid4

from tasker_core import StepContext, StepHandler, StepHandlerResult

Data = dict[str, Any]
# What a value contains that is to be refused: code, message, retryable.
Simulated = Mapping[str, tuple[str, str, bool]]


class RefundRefusedError(Exception):
    """A step of a refund does not go on."""

    def __init__(self, code: str, message: str, retryable: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.retryable = retryable


class RefundHandler(StepHandler):
    """A step of a refund as a class: refusals fail it with their code."""

    handler_version = "1.0.0"

    def call(self, context: StepContext) -> StepHandlerResult:
        """Return what the step did, or why it does not go on."""
        try:
            result = self.work(context)
        except RefundRefusedError as refused:
            return self.failure(
                str(refused),
                "handler_error",
                retryable=refused.retryable,
                error_code=refused.code,
            )
        return self.success(
            result, metadata={"operation": self.name.rsplit(".", 1)[-1], "completed_at": now()}
        )

    @abstractmethod
    def work(self, context: StepContext) -> Data:
        """Do the step's work."""


def answer(work: Callable[[], Data]) -> Data | StepHandlerResult:
    """Do the work of a step that is a function: its code is the type of the error."""
    try:
        return work()
    except RefundRefusedError as refused:
        return StepHandlerResult.failure(str(refused), refused.code, retryable=refused.retryable)


def now() -> str:
    """Return the time as results tell it."""
    return datetime.now(timezone.utc).isoformat()


def new_id(prefix: str, digits: int) -> str:
    """Return an id of so many hexadecimal digits."""
    return f"{prefix}{uuid4().hex[:digits]}"


def require_fields(request: Data, names: Iterable[str], purpose: str) -> None:
    """Refuse a request in which something is missing."""
    missing = [name for name in names if not request.get(name) and request.get(name) != 0]
    if missing:
        raise RefundRefusedError(
            "MISSING_REQUIRED_FIELDS",
            f"Missing required fields for {purpose}: {', '.join(missing)}",
        )


def require(result: Data | None, field: str, code: str, message: str) -> Data:
    """Return a result that says yes in ``field``; refuse any other."""
    if not result or not result.get(field):
        raise RefundRefusedError(code, message)
    return result


def refuse_simulated(text: Any, simulated: Simulated) -> None:
    """Refuse what a test asks to be refused by a part of an id or address."""
    for part, (code, message, retryable) in simulated.items():
        if part in str(text):
            raise RefundRefusedError(code, message, retryable)
