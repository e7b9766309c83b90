"""Tell whether an exception is worth another attempt."""

import builtins
from typing import Any, ClassVar

from tasker_core.errors import (
    AuthenticationError,
    AuthorizationError,
    BusinessLogicError,
    ConfigurationError,
    NetworkError,
    NotFoundError,
    PermanentError,
    RateLimitError,
    ResourceContentionError,
    RetryableError,
    ServiceUnavailableError,
    TimeoutError,
    ValidationError,
)

__all__ = ["ErrorClassifier", "get_classifier", "is_permanent", "is_retryable"]


class ErrorClassifier:
    """Sorts exceptions into those worth a retry and those that are not.

    An attribute ``retryable`` on the exception decides; without one its class
    does; a class that is in neither list gets ``default_retryable``.

    >>> classifier = ErrorClassifier()
    >>> classifier.retryable(ConnectionResetError())
    True
    >>> classifier.classify(KeyError("order_id"))
    {'error_type': 'KeyError', 'retryable': False, 'classification': 'permanent_class'}
    """

    PERMANENT_ERROR_CLASSES: ClassVar[tuple[type[BaseException], ...]] = (
        PermanentError,
        ValidationError,
        NotFoundError,
        AuthenticationError,
        AuthorizationError,
        ConfigurationError,
        BusinessLogicError,
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        IndexError,
        AssertionError,
        SyntaxError,
        NameError,
        ImportError,
        NotImplementedError,
    )
    RETRYABLE_ERROR_CLASSES: ClassVar[tuple[type[BaseException], ...]] = (
        RetryableError,
        TimeoutError,
        NetworkError,
        RateLimitError,
        ServiceUnavailableError,
        ResourceContentionError,
        ConnectionError,
        ConnectionRefusedError,
        ConnectionResetError,
        ConnectionAbortedError,
        BrokenPipeError,
        builtins.TimeoutError,
        BlockingIOError,
        InterruptedError,
        OSError,
    )

    def __init__(self, *, default_retryable: bool = True) -> None:
        self._default_retryable = default_retryable

    def retryable(self, exception: BaseException) -> bool:
        """Return whether another attempt may succeed."""
        return self.__decide(exception)[0]

    def permanent(self, exception: BaseException) -> bool:
        """Return whether every further attempt would fail too."""
        return not self.retryable(exception)

    def classify(self, exception: BaseException) -> dict[str, Any]:
        """Return ``error_type``, ``retryable`` and what decided it."""
        retryable, classification = self.__decide(exception)
        return {
            "error_type": type(exception).__name__,
            "retryable": retryable,
            "classification": classification,
        }

    def __decide(self, exception: BaseException) -> tuple[bool, str]:
        if hasattr(exception, "retryable"):
            return bool(exception.retryable), "explicit_attribute"
        if isinstance(exception, self.PERMANENT_ERROR_CLASSES):
            return False, "permanent_class"
        if isinstance(exception, self.RETRYABLE_ERROR_CLASSES):
            return True, "retryable_class"
        return self._default_retryable, "default"


_default_classifier: ErrorClassifier | None = None


def get_classifier() -> ErrorClassifier:
    """Return the classifier that the functions of this module use.

    >>> get_classifier().classify(ValueError("x"))
    {'error_type': 'ValueError', 'retryable': False, 'classification': 'permanent_class'}
    """
    global _default_classifier
    if _default_classifier is None:
        _default_classifier = ErrorClassifier()
    return _default_classifier


def is_retryable(exception: BaseException) -> bool:
    """Return whether another attempt may succeed.

    >>> is_retryable(ConnectionResetError()), is_retryable(KeyError("x"))
    (True, False)
    """
    return get_classifier().retryable(exception)


def is_permanent(exception: BaseException) -> bool:
    """Return whether every further attempt would fail too.

    >>> is_permanent(KeyError("x"))
    True
    """
    return get_classifier().permanent(exception)
