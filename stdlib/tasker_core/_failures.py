"""What an exception of a handler tells about the failure that it stands for.

What describes a failure must not be the reason for another one: an exception
may raise one itself where it is read, and then counts as one that tells nothing.
"""

import traceback
from collections.abc import Callable
from typing import Any, TypeVar

from tasker_core.types import StepHandlerResult

_T = TypeVar("_T")


def is_failure(error: BaseException) -> bool:
    """Return whether an exception fails the step, and not the whole program."""
    return not isinstance(error, KeyboardInterrupt)


def told(read: Callable[[], _T], otherwise: _T) -> _T:
    """Return what is read of an exception, or ``otherwise`` if that raises another one."""
    try:
        return read()
    except BaseException as second:
        if not is_failure(second):
            raise
        return otherwise


def failure_of(error: BaseException) -> StepHandlerResult:
    """Return the failure that an exception of a handler stands for.

    It is retryable unless the exception itself says otherwise, by a boolean
    attribute ``retryable`` as the classes of :mod:`tasker_core.errors` have
    it. Their ``metadata`` and ``error_code`` are taken over.
    """
    kind = type(error).__name__
    retryable = told(lambda: getattr(error, "retryable", True), True)
    error_code = told(lambda: getattr(error, "error_code", None), None)
    return StepHandlerResult.failure(
        message_of(error),
        error_type=kind,
        retryable=retryable if isinstance(retryable, bool) else True,
        metadata={
            **metadata_of(error),
            "traceback": traceback_of(error),
        },
        error_code=error_code if isinstance(error_code, str) else None,
    )


def message_of(error: BaseException) -> str:
    """Return the text of an exception, or its class if it cannot tell one."""
    return told(lambda: _storable(str(error)), type(error).__name__)


def line_of(error: BaseException) -> str:
    """Return the class and the text of an exception, for a line that tells of it."""
    return f"{type(error).__name__}: {message_of(error)}"


def traceback_of(error: BaseException) -> str:
    """Return the formatted traceback of an exception, without causes if they cannot be told."""
    lines = told(lambda: traceback.format_exception(error), None)
    if lines is None:
        trace = told(lambda: error.__traceback__, None)
        head = "Traceback (most recent call last):\n" if trace else ""
        last = f"{line_of(error)}\n"
        lines = [head, *traceback.format_tb(trace), last]
    return _storable("".join(lines))


def metadata_of(error: BaseException) -> dict[str, Any]:
    """Return the ``metadata`` of an exception, as far as it can be stored.

    Classes whose constructor does not call that of their base have none.
    """
    return told(lambda: _metadata(getattr(error, "metadata", None)), {})


def _metadata(given: Any) -> dict[str, Any]:
    if not isinstance(given, dict):
        return {}
    return {str(key): value for key, value in given.items()}


def _storable(text: str) -> str:
    # Bytes that are no text, as in names of files, stand in it as surrogates,
    # which JSON cannot carry.
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
