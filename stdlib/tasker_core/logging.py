"""Log lines that carry the fields by which a task can be followed.

They go where the worker's own log goes. Without a worker they may be written
too, and no call of these functions raises.
"""

from typing import TYPE_CHECKING, Any

from tasker_core._conversion import text_of
from tasker_core._tasker_core import log_debug as _log_debug
from tasker_core._tasker_core import log_error as _log_error
from tasker_core._tasker_core import log_info as _log_info
from tasker_core._tasker_core import log_trace as _log_trace
from tasker_core._tasker_core import log_warn as _log_warn
from tasker_core.types import LogContext

if TYPE_CHECKING:
    from tasker_core._host_records import HostRecords

__all__ = ["log_debug", "log_error", "log_info", "log_trace", "log_warn"]

Fields = dict[str, Any] | LogContext | None
"""What a log line carries besides its message; values are written as text."""


def log_error(message: str, fields: Fields = None) -> None:
    """Log that something failed.

    >>> log_error("charged", {"order_id": 7})
    """
    _log_error(message, _normalize_fields(fields))


def log_warn(message: str, fields: Fields = None) -> None:
    """Log something that somebody should look at.

    >>> log_warn("charged", {"order_id": 7})
    """
    _log_warn(message, _normalize_fields(fields))


def log_info(message: str, fields: Fields = None) -> None:
    """Log what happens in the ordinary course of work.

    >>> log_info("charged", {"order_id": 7})
    """
    _log_info(message, _normalize_fields(fields))


def log_debug(message: str, fields: Fields = None) -> None:
    """Log what helps to find out why something happened.

    >>> log_debug("charged", {"order_id": 7})
    """
    _log_debug(message, _normalize_fields(fields))


def log_trace(message: str, fields: Fields = None) -> None:
    """Log every little thing.

    >>> log_trace("charged", {"order_id": 7})
    """
    _log_trace(message, _normalize_fields(fields))


def receive_host_records(level: int = 20) -> "HostRecords":
    """Hand what the host logs to Python's ``logging``, as logger ``tasker_core.host``.

    ``level`` is one of ``logging`` (20 is ``INFO``): the host keeps nothing
    below it. The records carry the host's fields in their message, and as a
    dict in ``record.fields``. A thread of its own hands them on; at most 1000
    wait for it, and what is dropped beyond is told in a warning. While nobody
    receives, the host keeps nothing. Returns what to ``stop()``; it is a
    context manager too::

        logging.basicConfig()
        with receive_host_records(logging.WARNING):
            ...

    What the host writes itself does not change. In a worker whose handlers
    taskerpy calls, these records are not written to its log once more.

    Raises:
        RuntimeError: this program does not run inside taskerpy, or somebody
            receives the records already.
    """
    from tasker_core._host_records import HostRecords

    return HostRecords(level)


def _normalize_fields(fields: Fields) -> dict[str, str] | None:
    """Return the fields as texts; those a ``LogContext`` leaves open are dropped."""
    if fields is None:
        return None
    if isinstance(fields, LogContext):
        return {key: str(value) for key, value in fields if value is not None}
    return {key: text_of(value) for key, value in fields.items()}
