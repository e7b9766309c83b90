"""Errors that a step raises to say whether trying again can help.

Raise a :class:`RetryableError` (or one of its kinds) for trouble that may
pass, and a :class:`PermanentError` for trouble that will not:

>>> from tasker_core.errors import PermanentError, RateLimitError
>>> RateLimitError("quota used up", retry_after=30).metadata
{'retry_after': 30}
>>> PermanentError("card is stolen", error_code="CARD_STOLEN").retryable
False

The names ``TimeoutError``, ``TaskerError`` and ``FFIError`` of this module
are unrelated to the built-in and to those of :mod:`tasker_core.exceptions`.
"""

from typing import Any

__all__ = [
    "AuthenticationError",
    "AuthorizationError",
    "BusinessLogicError",
    "ConfigurationError",
    "FFIError",
    "NetworkError",
    "NotFoundError",
    "PermanentError",
    "RateLimitError",
    "ResourceContentionError",
    "RetryableError",
    "ServiceUnavailableError",
    "TaskerError",
    "TimeoutError",
    "ValidationError",
]


class TaskerError(Exception):
    """Base of the errors a step raises.

    Args:
        message: What happened, for people; ``str(error)``.
        retryable: Overrides the class's own answer for this one error.
        metadata: Details stored with the step's result. Copied.
        error_code: A code for programs; also stored in ``metadata``.
        retry_after: Seconds to wait before the next attempt; also stored in
            ``metadata``.
        context: More details, merged into ``metadata`` last.
    """

    retryable: bool = True

    def __init__(
        self,
        message: str,
        *,
        retryable: bool | None = None,
        metadata: dict[str, Any] | None = None,
        error_code: str | None = None,
        retry_after: int | float | None = None,
        context: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        if retryable is not None:
            self.retryable = retryable
        self.error_code = error_code
        self.retry_after = retry_after
        self.metadata: dict[str, Any] = dict(metadata or {})
        if error_code is not None:
            self.metadata["error_code"] = error_code
        if retry_after is not None:
            self.metadata["retry_after"] = retry_after
        if context:
            self.metadata.update(context)

    def to_dict(self) -> dict[str, Any]:
        """Return ``error_type``, ``message``, ``retryable`` and ``metadata``."""
        return {
            "error_type": type(self).__name__,
            "message": self.message,
            "retryable": self.retryable,
            "metadata": self.metadata,
        }


class RetryableError(TaskerError):
    """Trouble that may pass: the step is tried again."""


class PermanentError(TaskerError):
    """Trouble that will not pass: the step fails for good."""

    retryable = False


class TimeoutError(RetryableError):
    """Something took longer than it may."""


class NetworkError(RetryableError):
    """The other side could not be reached."""


class RateLimitError(RetryableError):
    """The other side asks for fewer calls; ``retry_after`` says until when."""


class ServiceUnavailableError(RetryableError):
    """The other side is down for the moment."""


class ResourceContentionError(RetryableError):
    """Somebody else holds what the step needs."""


class ValidationError(PermanentError):
    """The step's input is not what the step can work with."""


class NotFoundError(PermanentError):
    """What the step refers to does not exist."""


class AuthenticationError(PermanentError):
    """The other side does not know who is calling."""


class AuthorizationError(PermanentError):
    """The caller may not do this."""


class ConfigurationError(PermanentError):
    """The step is set up wrongly."""


class BusinessLogicError(PermanentError):
    """A rule of the business says no."""


class FFIError(TaskerError):
    """A call into the host failed during a step."""
