"""The words that states, results and errors are told in."""

from enum import Enum


class WorkerState(str, Enum):
    """Where a worker is in its life.

    >>> WorkerState("running") is WorkerState.RUNNING
    True
    """

    STARTING = "starting"
    RUNNING = "running"
    SHUTTING_DOWN = "shutting_down"
    STOPPED = "stopped"
    ERROR = "error"


class ResultStatus(str, Enum):
    """How the execution of a step ended.

    >>> ResultStatus.SUCCESS.value, ResultStatus.RETRYABLE_ERROR.value
    ('completed', 'retryable_error')
    """

    SUCCESS = "completed"
    FAILURE = "error"
    RETRYABLE_ERROR = "retryable_error"
    PERMANENT_ERROR = "permanent_error"


class ErrorType(str, Enum):
    """Usual values of ``error_type``; handlers may use their own words.

    >>> ErrorType.TIMEOUT == "timeout", ErrorType.is_typically_retryable("timeout")
    (True, True)
    """

    PERMANENT_ERROR = "permanent_error"
    RETRYABLE_ERROR = "retryable_error"
    VALIDATION_ERROR = "validation_error"
    TIMEOUT = "timeout"
    HANDLER_ERROR = "handler_error"

    @classmethod
    def is_standard(cls, error_type: str) -> bool:
        """Return whether ``error_type`` is the value of a member."""
        return error_type in _STANDARD_ERROR_TYPES

    @classmethod
    def is_typically_retryable(cls, error_type: str) -> bool:
        """Return whether this kind of error usually passes by itself."""
        return error_type in (cls.RETRYABLE_ERROR.value, cls.TIMEOUT.value)


_STANDARD_ERROR_TYPES = frozenset(member.value for member in ErrorType)


class DecisionType(str, Enum):
    """What a decision step decided.

    >>> DecisionType.CREATE_STEPS.value
    'create_steps'
    """

    CREATE_STEPS = "create_steps"
    NO_BRANCHES = "no_branches"


class FailureStrategy(str, Enum):
    """What happens to the other batches when one fails."""

    CONTINUE_ON_FAILURE = "continue_on_failure"
    FAIL_FAST = "fail_fast"
    ISOLATE = "isolate"
