"""The log of the host as records of Python's ``logging``."""

import atexit
import logging
import threading
from types import TracebackType
from typing import Any

from tasker_core import _tasker_core as _native

LOGGER = "tasker_core.host"

# The host answers a stop at once; a handler of the program may hang.
_STOP_TIMEOUT_SECONDS = 5.0


class HostRecords:
    """Hands what the host logs to the logger ``tasker_core.host`` until :meth:`stop`.

    As a context manager it stops at the end of the block.
    """

    def __init__(self, level: int) -> None:
        _native._receive_host_records(level)
        self._thread = threading.Thread(
            target=self._receive, name="tasker-host-records", daemon=True
        )
        self._thread.start()
        atexit.register(self.stop)

    def stop(self) -> None:
        """Stop, once everything logged so far was handed on. Stopping twice is fine."""
        if not self._thread.is_alive():
            return
        _native._stop_host_records()
        if threading.current_thread() is not self._thread:
            self._thread.join(_STOP_TIMEOUT_SECONDS)
        atexit.unregister(self.stop)

    def __enter__(self) -> "HostRecords":
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _receive(self) -> None:
        logger = logging.getLogger(LOGGER)
        while (batch := _native._next_host_records()) is not None:
            for record in batch["records"] or ():
                if logger.isEnabledFor(record["level"]):
                    logger.handle(_record(record))
            if batch["lost"]:
                logger.warning("%d records of the host were dropped", batch["lost"])


def _record(given: dict[str, Any]) -> logging.LogRecord:
    fields: dict[str, Any] = given["fields"]
    record = logging.LogRecord(
        LOGGER,
        given["level"],
        pathname="",
        lineno=0,
        msg=" ".join([given["message"], *(f"{key}={value}" for key, value in fields.items())]),
        args=None,
        exc_info=None,
    )
    record.created = given["time"]
    record.msecs = given["time"] % 1 * 1000
    record.relativeCreated = (given["time"] - _started()) * 1000
    record.fields = fields
    return record


def _started() -> float:
    """Return when ``logging`` began to count, in seconds since 1970."""
    now = logging.makeLogRecord({})
    return now.created - now.relativeCreated / 1000
