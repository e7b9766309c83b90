"""Exceptions of the package as a whole.

These are for user code that wants to name what went wrong with the worker;
errors that a step raises to steer its retries are in
:mod:`tasker_core.errors`.
"""

__all__ = [
    "ConversionError",
    "FFIError",
    "TaskerError",
    "WorkerAlreadyRunningError",
    "WorkerBootstrapError",
    "WorkerNotInitializedError",
]


class TaskerError(Exception):
    """Base of the exceptions of this module.

    >>> issubclass(WorkerNotInitializedError, TaskerError)
    True
    """


class WorkerNotInitializedError(TaskerError):
    """Something was asked of a worker that has not been started.

    >>> from tasker_core import get_metrics
    >>> get_metrics()
    Traceback (most recent call last):
        ...
    tasker_core.exceptions.WorkerNotInitializedError: Worker is not running
    """


class WorkerBootstrapError(TaskerError):
    """The worker could not be started.

    >>> str(WorkerBootstrapError("no templates"))
    'no templates'
    """


class WorkerAlreadyRunningError(TaskerError):
    """A worker was to be started while one is running.

    >>> str(WorkerAlreadyRunningError("one runs already"))
    'one runs already'
    """


class FFIError(TaskerError):
    """A call into the host failed.

    >>> str(FFIError("the host is gone"))
    'the host is gone'
    """


class ConversionError(TaskerError):
    """A value could not be carried between Python and the host.

    >>> str(ConversionError("a set is no JSON"))
    'a set is no JSON'
    """
