"""What an exception of a handler tells about the failure that it stands for."""

import traceback
from typing import Any

from tasker_core.types import StepHandlerResult


def failure_of(error: BaseException) -> StepHandlerResult:
    """Return the failure that an exception of a handler stands for.

    It is retryable unless the exception itself says otherwise, by a boolean
    attribute ``retryable`` as the classes of :mod:`tasker_core.errors` have
    it. Their ``metadata`` and ``error_code`` are taken over.
    """
    kind = type(error).__name__
    retryable = getattr(error, "retryable", True)
    error_code = getattr(error, "error_code", None)
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
    try:
        return _storable(str(error))
    except Exception:
        return type(error).__name__


def traceback_of(error: BaseException) -> str:
    """Return the formatted traceback of an exception."""
    return _storable("".join(traceback.format_exception(error)))


def metadata_of(error: BaseException) -> dict[str, Any]:
    """Return the ``metadata`` of an exception, as far as it can be stored.

    Classes whose constructor does not call that of their base have none. What
    describes a failure must not be the reason for another one.
    """
    metadata = getattr(error, "metadata", None)
    if not isinstance(metadata, dict):
        return {}
    return {str(key): value for key, value in metadata.items()}


def _storable(text: str) -> str:
    # Bytes that are no text, as in names of files, stand in it as surrogates,
    # which JSON cannot carry.
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
