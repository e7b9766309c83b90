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
    """Base of the exceptions of this module."""


class WorkerNotInitializedError(TaskerError):
    """Something was asked of a worker that has not been started."""


class WorkerBootstrapError(TaskerError):
    """The worker could not be started."""


class WorkerAlreadyRunningError(TaskerError):
    """A worker was to be started while one is running."""


class FFIError(TaskerError):
    """A call into the host failed."""


class ConversionError(TaskerError):
    """A value could not be carried between Python and the host."""
