"""Standard streams and logging of handlers, handed to the host line by line.

A line reaches the host whole and labelled with its step. What was printed
without a newline waits until its step ends, or until the process flushes at
exit: nothing is lost and no two threads mix within a line.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import json
import logging
import os
import sys
import threading
import traceback
from collections.abc import Iterable

import _taskerpy

from taskerpy_host.context import StepInfo, current_step

# Longer unfinished lines are passed on in pieces, so that a handler which
# prints for ever without a newline cannot take all memory.
MAX_LINE = 256 * 1024


def send(kind: str, fields: dict[str, object], info: StepInfo | None) -> None:
    """Gives one record to the host; drops it where no host can be reached."""
    if info is not None:
        fields.update(step=info.step, task_uuid=info.task_uuid, correlation_id=info.correlation_id)
    payload = json.dumps(fields, default=str, ensure_ascii=True)
    with contextlib.suppress(RuntimeError):
        _taskerpy.call(kind, payload.encode("ascii"))


class HostStream(io.TextIOBase):
    """A text stream whose lines go to the host's log."""

    encoding = "utf-8"
    errors = "backslashreplace"
    newlines = None
    line_buffering = True

    def __init__(self, name: str, fd: int) -> None:
        super().__init__()
        self.name = name
        self.mode = "w"
        self._fd = fd
        self._lock = threading.Lock()
        # Unfinished lines by thread and step: coroutines of several steps may
        # share one thread, and one step may print from several.
        self._partial: dict[tuple[int, StepInfo | None], str] = {}
        self.buffer = HostBuffer(self)

    def fileno(self) -> int:
        """The descriptor that subprocesses inherit; their output is not labelled."""
        return self._fd

    def isatty(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def write(self, text: str, /) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        info = current_step.get()
        key = (threading.get_ident(), info)
        with self._lock:
            whole = self._partial.pop(key, "") + text
            head, newline, tail = whole.rpartition("\n")
            if len(tail) > MAX_LINE:
                head, newline, tail = whole, "\n", ""
            if tail:
                self._partial[key] = tail
        if newline:
            self._emit(head, info)
        return len(text)

    def _emit(self, text: str, info: StepInfo | None) -> None:
        for line in text.split("\n"):
            send("emit", {"stream": self.name, "line": line.removesuffix("\r")}, info)

    def flush(self) -> None:
        """Does nothing: whole lines are out already, parts wait for their end."""

    def finish_step(self, info: StepInfo) -> None:
        """Emits what the step printed without a final newline."""
        if self._partial:
            self._finish([key for key in list(self._partial) if key[1] == info])

    def finish_all(self) -> None:
        """Emits every unfinished line, at exit."""
        self._finish(list(self._partial))

    def _finish(self, keys: Iterable[tuple[int, StepInfo | None]]) -> None:
        for key in keys:
            with self._lock:
                rest = self._partial.pop(key, "")
            if rest:
                self._emit(rest, key[1])


class HostBuffer(io.RawIOBase):
    """The binary side of a HostStream, for code that writes to ``sys.stdout.buffer``."""

    def __init__(self, text: HostStream) -> None:
        super().__init__()
        self._text = text
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")

    def fileno(self) -> int:
        return self._text.fileno()

    def writable(self) -> bool:
        return True

    def write(self, data, /) -> int:  # type: ignore[no-untyped-def, override]
        raw = bytes(data)
        self._text.write(self._decoder.decode(raw))
        return len(raw)


class HostLogHandler(logging.Handler):
    """Gives records of Python's ``logging`` to the host."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            fields: dict[str, object] = {
                "level": record.levelno,
                "logger": record.name,
                "message": record.getMessage(),
                "source": f"{record.pathname}:{record.lineno}",
            }
            if record.exc_info and record.exc_info[0] is not None:
                fields["exception"] = "".join(traceback.format_exception(*record.exc_info))
            send("log", fields, current_step.get())
        except Exception:
            self.handleError(record)


stdout: HostStream | None = None
stderr: HostStream | None = None


def install(log_level: int) -> None:
    """Takes over ``sys.stdout``, ``sys.stderr`` and the root logger."""
    global stdout, stderr
    stdout = HostStream("stdout", 2)
    stderr = HostStream("stderr", 2)
    sys.stdout = sys.__stdout__ = stdout
    sys.stderr = sys.__stderr__ = stderr
    logging.getLogger().addHandler(HostLogHandler())
    logging.getLogger().setLevel(log_level)
    logging.captureWarnings(True)
    os.register_at_fork(after_in_child=_restore_plain_streams)


def _restore_plain_streams() -> None:
    """In a forked child the host cannot be reached: write to stderr directly."""
    plain = open(2, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)  # noqa: SIM115
    sys.stdout = sys.stderr = plain
    root = logging.getLogger()
    for handler in [h for h in root.handlers if isinstance(h, HostLogHandler)]:
        root.removeHandler(handler)
        root.addHandler(logging.StreamHandler(plain))


def finish_step(info: StepInfo) -> None:
    """Emits unfinished lines of a step that ended."""
    if stdout is not None and stderr is not None:
        stdout.finish_step(info)
        stderr.finish_step(info)


def finish_all() -> None:
    """Emits every unfinished line."""
    if stdout is not None and stderr is not None:
        stdout.finish_all()
        stderr.finish_all()
