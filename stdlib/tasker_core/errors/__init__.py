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

from typing import TYPE_CHECKING, Any

from tasker_core._patchable import patchable

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
    """Trouble that may pass: the step is tried again.

    >>> error = RetryableError("the bank is closed", retry_after=60)
    >>> error.retryable, error.metadata
    (True, {'retry_after': 60})
    """


class PermanentError(TaskerError):
    """Trouble that will not pass: the step fails for good.

    >>> error = PermanentError("no such order", error_code="NO_ORDER")
    >>> error.retryable, error.to_dict()["metadata"]
    (False, {'error_code': 'NO_ORDER'})
    """

    retryable = False


class TimeoutError(RetryableError):
    """Something took longer than it may.

    >>> error = TimeoutError("no answer in 5 s")
    >>> str(error), error.retryable
    ('no answer in 5 s', True)
    """


class NetworkError(RetryableError):
    """The other side could not be reached.

    >>> error = NetworkError("no route")
    >>> str(error), error.retryable
    ('no route', True)
    """


class RateLimitError(RetryableError):
    """The other side asks for fewer calls; ``retry_after`` says until when.

    >>> error = RateLimitError("slow down", retry_after=30)
    >>> str(error), error.retryable
    ('slow down', True)
    """


class ServiceUnavailableError(RetryableError):
    """The other side is down for the moment.

    >>> error = ServiceUnavailableError("down for repairs")
    >>> str(error), error.retryable
    ('down for repairs', True)
    """


class ResourceContentionError(RetryableError):
    """Somebody else holds what the step needs.

    >>> error = ResourceContentionError("the row is locked")
    >>> str(error), error.retryable
    ('the row is locked', True)
    """


class ValidationError(PermanentError):
    """The step's input is not what the step can work with.

    >>> error = ValidationError("amount is negative")
    >>> str(error), error.retryable
    ('amount is negative', False)
    """


class NotFoundError(PermanentError):
    """What the step refers to does not exist.

    >>> error = NotFoundError("no such customer")
    >>> str(error), error.retryable
    ('no such customer', False)
    """


class AuthenticationError(PermanentError):
    """The other side does not know who is calling.

    >>> error = AuthenticationError("the token has expired")
    >>> str(error), error.retryable
    ('the token has expired', False)
    """


class AuthorizationError(PermanentError):
    """The caller may not do this.

    >>> error = AuthorizationError("may not refund")
    >>> str(error), error.retryable
    ('may not refund', False)
    """


class ConfigurationError(PermanentError):
    """The step is set up wrongly.

    >>> error = ConfigurationError("no API key is set")
    >>> str(error), error.retryable
    ('no API key is set', False)
    """


class BusinessLogicError(PermanentError):
    """A rule of the business says no.

    >>> error = BusinessLogicError("refunded already")
    >>> str(error), error.retryable
    ('refunded already', False)
    """


class FFIError(TaskerError):
    """A call into the host failed during a step."""


# The classifier needs this module, and is there without being imported.
if not TYPE_CHECKING:
    __getattr__ = patchable(__name__, {"error_classifier": "tasker_core.errors.error_classifier"})
