"""Standard streams and logging of handlers, handed to the host line by line.

A line reaches the host whole and labelled with its step. What was printed
without a newline waits until its step ends, or until the process flushes at
exit: nothing is lost and no two threads mix within a line.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import itertools
import json
import logging
import os
import sys
import threading
import traceback
from collections.abc import Iterable
from typing import Any

from taskerpy_host.context import StepInfo, current_step

try:
    import _taskerpy
except ImportError:  # outside the binary, where streams are not installed
    _taskerpy = None  # type: ignore[assignment]

# Longer unfinished lines are passed on in pieces, so that a handler which
# prints for ever without a newline cannot take all memory.
MAX_LINE = 256 * 1024

# More unfinished lines than these are passed on as they are, the oldest first:
# those of threads that have ended would wait, and be looked through, for ever.
MAX_UNFINISHED = 256


def send(kind: str, fields: dict[str, object], info: StepInfo | None) -> None:
    """Gives one record to the host; drops it where no host can be reached."""
    if info is not None:
        fields.update(info.labels())
    payload = json.dumps(fields, default=str, ensure_ascii=True)
    with contextlib.suppress(RuntimeError):
        _taskerpy.call(kind, payload.encode("ascii"))


class _Writer(threading.local):
    """What a thread is told apart by; unlike its ident never given to another."""

    _numbers = itertools.count(1)

    def __init__(self) -> None:
        self.number = next(self._numbers)
        self.decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")


_Key = tuple[int, StepInfo | None]


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
        # Reentrant: a destructor may print while its thread is inside write().
        self._lock = threading.RLock()
        # Unfinished lines by thread and step: coroutines of several steps may
        # share one thread, and one step may print from several.
        self._partial: dict[_Key, str] = {}
        self._writer = _Writer()
        self.buffer = HostBuffer(self)
        # In a forked child: where to write instead.
        self._plain: io.TextIOWrapper | None = None

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
        if self._plain is not None:
            return self._plain.write(text)
        info = current_step.get()
        key = (self._writer.number, info)
        with self._lock:
            whole = self._partial.pop(key, "") + text
            head, newline, tail = whole.rpartition("\n")
            if len(tail) > MAX_LINE:
                head, newline, tail = whole, "\n", ""
            if tail:
                self._partial[key] = self._partial.get(key, "") + tail
            crowded = len(self._partial) > MAX_UNFINISHED
            oldest = next(iter(self._partial)) if crowded else None
        if newline:
            self._emit(head, info)
        if oldest is not None:
            self._finish([oldest])
        return len(text)

    def write_bytes(self, data: bytes) -> None:
        """Writes UTF-8, which may end within a character."""
        self.write(self._writer.decoder.decode(data))

    def _emit(self, text: str, info: StepInfo | None) -> None:
        for line in text.split("\n"):
            send("emit", {"stream": self.name, "line": line.removesuffix("\r")}, info)

    def flush(self) -> None:
        """Does nothing: whole lines are out already, parts wait for their end."""
        if self._plain is not None:
            self._plain.flush()

    def finish_step(self, info: StepInfo) -> None:
        """Emits what the step printed without a final newline."""
        if self._partial:
            self._finish([key for key in list(self._partial) if key[1] == info])

    def finish_all(self) -> None:
        """Emits every unfinished line, at exit."""
        self._finish(list(self._partial))

    def _finish(self, keys: Iterable[_Key]) -> None:
        for key in keys:
            with self._lock:
                rest = self._partial.pop(key, "")
            if rest:
                self._emit(rest, key[1])

    def write_plainly(self, stream: io.TextIOWrapper) -> None:
        """Writes to another stream from now on, in a forked child.

        The lock may have been held by a thread that the child does not have,
        and the parent finishes the lines that it has begun.
        """
        self._lock = threading.RLock()
        self._partial = {}
        self._plain = stream


class HostBuffer(io.RawIOBase):
    """The binary side of a HostStream, for code that writes to ``sys.stdout.buffer``."""

    def __init__(self, text: HostStream) -> None:
        super().__init__()
        self._text = text

    def fileno(self) -> int:
        return self._text.fileno()

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        raw = bytes(data)
        self._text.write_bytes(raw)
        return len(raw)


class HostLogHandler(logging.Handler):
    """Gives records of Python's ``logging`` to the host."""

    def handle(self, record: logging.LogRecord) -> bool:
        # Without the lock of handlers, which nothing here needs: a timeout that
        # hits its step right after it was taken would leave it taken for ever.
        passed: bool | logging.LogRecord = self.filter(record)
        if passed:
            self.emit(passed if isinstance(passed, logging.LogRecord) else record)
        return bool(passed)

    def emit(self, record: logging.LogRecord) -> None:
        # What the host has logged itself does not go to its log again.
        if record.name == "tasker_core.host":
            return
        try:
            fields: dict[str, object] = {
                "level": record.levelno,
                "logger": record.name,
                "message": record.getMessage(),
                "source": f"{record.pathname}:{record.lineno}",
            }
            details = []
            if record.exc_info and record.exc_info[0] is not None:
                details.append("".join(traceback.format_exception(*record.exc_info)))
            elif record.exc_text:
                details.append(record.exc_text)
            if record.stack_info:
                details.append(record.stack_info)
            if details:
                fields["exception"] = "\n".join(details)
            send("log", fields, current_step.get())
        except Exception:
            self.handleError(record)


# What install() has put in place: stdout and stderr.
_streams: tuple[HostStream, ...] = ()


def install(log_level: int) -> None:
    """Takes over ``sys.stdout``, ``sys.stderr`` and the root logger."""
    global _streams
    _streams = (HostStream("stdout", 2), HostStream("stderr", 2))
    for stream in _streams:
        # Both names each: what a program has saved and put back is one of ours too.
        setattr(sys, stream.name, stream)
        setattr(sys, f"__{stream.name}__", stream)
    logging.getLogger().addHandler(HostLogHandler())
    logging.getLogger().setLevel(log_level)
    logging.captureWarnings(True)
    os.register_at_fork(after_in_child=_restore_plain_streams)


def _restore_plain_streams() -> None:
    """In a forked child the host cannot be reached: write to stderr directly."""
    plain = open(2, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)  # noqa: SIM115
    for stream in _streams:
        # Whoever has kept one of them writes to the same place.
        stream.write_plainly(plain)
    sys.stdout = sys.stderr = plain
    root = logging.getLogger()
    for handler in [h for h in root.handlers if isinstance(h, HostLogHandler)]:
        root.removeHandler(handler)
        root.addHandler(logging.StreamHandler(plain))


def finish_step(info: StepInfo) -> None:
    """Emits unfinished lines of a step that ended."""
    for stream in _streams:
        stream.finish_step(info)


def finish_all() -> None:
    """Emits every unfinished line."""
    for stream in _streams:
        stream.finish_all()
