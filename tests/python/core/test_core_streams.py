"""Output of handlers on its way to the host (taskerpy_host.streams)."""

import json
import logging
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import pytest
from taskerpy_host import streams
from taskerpy_host.context import StepInfo, current_step
from taskerpy_host.streams import HostLogHandler, HostStream

STEP = StepInfo("charge", "task-1", "corr-1", "event-1")
OTHER = StepInfo("refund", "task-1", "corr-1", "event-2")


class Host:
    """Keeps the records that it is sent."""

    def __init__(self) -> None:
        self.records: list[tuple[str, dict[str, Any]]] = []
        self.closed = False

    def call(self, kind: str, payload: bytes) -> None:
        if self.closed:
            raise RuntimeError("the host is going down")
        self.records.append((kind, json.loads(payload)))

    @property
    def lines(self) -> list[str]:
        return [record["line"] for kind, record in self.records if kind == "emit"]


@pytest.fixture(autouse=True)
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    fake = Host()
    monkeypatch.setattr(streams, "_taskerpy", fake)
    return fake


@pytest.fixture
def stream() -> HostStream:
    return HostStream("stdout", 2)


@pytest.fixture
def in_step() -> Iterator[None]:
    token = current_step.set(STEP)
    yield
    current_step.reset(token)


def test_a_stream_is_a_text_file_for_writing(stream: HostStream) -> None:
    assert (stream.name, stream.mode, stream.encoding) == ("stdout", "w", "utf-8")
    assert (stream.writable(), stream.readable(), stream.isatty()) == (True, False, False)
    assert (stream.fileno(), stream.buffer.fileno()) == (2, 2)
    assert stream.buffer.writable()
    assert stream.write("text\n") == 5


def test_only_text_can_be_written(stream: HostStream) -> None:
    with pytest.raises(TypeError, match="must be str, not bytes"):
        stream.write(b"bytes")  # type: ignore[arg-type]


def test_a_line_is_sent_when_it_is_whole(stream: HostStream, host: Host) -> None:
    print("half", end="", file=stream)
    assert host.lines == []
    print(" and", "half", file=stream)
    assert host.records == [("emit", {"stream": "stdout", "line": "half and half"})]


def test_several_lines_at_once_are_several_records(stream: HostStream, host: Host) -> None:
    stream.write("a\nb\r\n\nc")
    assert host.lines == ["a", "b", ""]


def test_a_line_says_which_step_wrote_it(stream: HostStream, host: Host, in_step: None) -> None:
    print("hello", file=stream)
    assert host.records[0][1] == {
        "stream": "stdout",
        "line": "hello",
        "step": "charge",
        "task_uuid": "task-1",
        "correlation_id": "corr-1",
    }


def test_an_unfinished_line_is_sent_when_its_step_ends(
    stream: HostStream, host: Host, in_step: None
) -> None:
    stream.write("half")
    stream.finish_step(OTHER)
    assert host.lines == []
    stream.finish_step(STEP)
    assert host.lines == ["half"]


def test_unfinished_lines_of_steps_do_not_mix(stream: HostStream, host: Host) -> None:
    for step, text in [(STEP, "a"), (OTHER, "b"), (STEP, "a"), (OTHER, "b")]:
        token = current_step.set(step)
        stream.write(text)
        current_step.reset(token)
    stream.finish_all()
    assert sorted(host.lines) == ["aa", "bb"]


def test_unfinished_lines_of_threads_do_not_mix(stream: HostStream, host: Host) -> None:
    """Not even if the second thread gets the number of the first, which is gone."""
    for text in ("a", "b"):
        thread = threading.Thread(target=stream.write, args=(text,))
        thread.start()
        thread.join()
    stream.finish_all()
    assert sorted(host.lines) == ["a", "b"]


def test_a_line_without_end_is_sent_in_pieces(stream: HostStream, host: Host) -> None:
    stream.write("x" * streams.MAX_LINE)
    assert host.lines == []
    stream.write("x")
    assert host.lines == ["x" * (streams.MAX_LINE + 1)]


def test_unfinished_lines_of_threads_that_have_ended_do_not_pile_up(
    stream: HostStream, host: Host
) -> None:
    for n in range(streams.MAX_UNFINISHED + 2):
        thread = threading.Thread(target=stream.write, args=(f"thread {n}",))
        thread.start()
        thread.join()
    assert host.lines == ["thread 0", "thread 1"]


def test_flushing_does_not_break_lines(stream: HostStream, host: Host) -> None:
    stream.write("half")
    stream.flush()
    assert host.lines == []


def test_bytes_are_decoded_even_if_they_come_in_parts(stream: HostStream, host: Host) -> None:
    data = "grün\n".encode()
    assert stream.buffer.write(data[:3]) == 3
    stream.buffer.write(memoryview(data[3:]))
    stream.buffer.write(b"\xff\n")
    assert host.lines == ["grün", "\\xff"]


def test_text_that_is_not_valid_unicode_is_carried(stream: HostStream, host: Host) -> None:
    print("\udcff", file=stream)
    assert host.lines == ["\udcff"]


def test_a_host_that_goes_down_does_not_make_print_raise(stream: HostStream, host: Host) -> None:
    host.closed = True
    print("lost", file=stream)


def test_a_destructor_may_print_while_its_thread_prints(stream: HostStream, host: Host) -> None:
    class Printing(dict[Any, str]):
        """Stands for garbage that is collected inside of write()."""

        def pop(self, key: Any, default: str = "") -> str:  # type: ignore[override]
            text: str = super().pop(key, default)
            if not host.lines:
                stream._partial = {}
                stream.write("from the destructor\n")
            return text

    stream._partial = Printing()
    stream.write("own line\n")
    assert host.lines == ["from the destructor", "own line"]


# Logging


def log_record(**more: Any) -> logging.LogRecord:
    return logging.LogRecord("shop", 30, "/shop.py", 7, "low stock: %d", (3,), None, **more)


def test_log_records_are_sent_with_their_place(host: Host, in_step: None) -> None:
    HostLogHandler().emit(log_record())
    assert host.records == [
        (
            "log",
            {
                "level": 30,
                "logger": "shop",
                "message": "low stock: 3",
                "source": "/shop.py:7",
                "step": "charge",
                "task_uuid": "task-1",
                "correlation_id": "corr-1",
            },
        )
    ]


def test_log_records_carry_their_exception_and_stack(host: Host) -> None:
    record = log_record()
    try:
        1 / 0  # noqa: B018
    except ZeroDivisionError:
        record.exc_info = sys.exc_info()
    record.stack_info = "Stack: here"
    HostLogHandler().emit(record)
    text = host.records[0][1]["exception"]
    assert "ZeroDivisionError" in text
    assert text.endswith("Stack: here")


def test_log_records_may_carry_the_text_of_an_exception(host: Host) -> None:
    record = log_record()
    record.exc_text = "formatted elsewhere"
    HostLogHandler().emit(record)
    assert host.records[0][1]["exception"] == "formatted elsewhere"


def test_a_record_that_cannot_be_formatted_is_reported_and_not_raised(
    host: Host, capsys: pytest.CaptureFixture[str]
) -> None:
    record = log_record()
    record.args = ("no number",)
    HostLogHandler().emit(record)
    assert host.records == []
    assert "Logging error" in capsys.readouterr().err


# Installation


@contextmanager
def installed() -> Iterator[None]:
    """Install the streams, and put everything back.

    No fixture, because pytest replaces the streams between fixtures and test.
    """
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    with (
        mock.patch.multiple(sys, stdout=None, stderr=None, __stdout__=None, __stderr__=None),
        mock.patch.object(streams, "_streams", ()),
        mock.patch.object(os, "register_at_fork"),
    ):
        streams.install(logging.INFO)
        try:
            yield
        finally:
            root.handlers[:] = handlers
            root.setLevel(level)
            logging.captureWarnings(False)


def test_installed_streams_take_over_output_and_logging(host: Host) -> None:
    with installed():
        print("out")
        print("err", file=sys.__stderr__)
        logging.getLogger("shop").info("logged")
        logging.getLogger("shop").debug("not logged")
    assert [(kind, r.get("line") or r.get("message")) for kind, r in host.records] == [
        ("emit", "out"),
        ("emit", "err"),
        ("log", "logged"),
    ]


def test_both_streams_are_finished(host: Host) -> None:
    with installed():
        for stream in (sys.stdout, sys.stderr):
            stream.write("half")
        streams.finish_step(STEP)
        assert host.lines == []
        streams.finish_all()
    assert host.lines == ["half", "half"]


def test_without_installed_streams_there_is_nothing_to_finish() -> None:
    with mock.patch.object(streams, "_streams", ()):
        streams.finish_step(STEP)
        streams.finish_all()


def test_a_forked_child_writes_to_stderr_whatever_it_has_kept(
    host: Host, capfd: pytest.CaptureFixture[str]
) -> None:
    with installed():
        kept = sys.stdout
        kept.write("half a line of the parent")
        # A thread that the child does not have held the lock.
        assert isinstance(kept, HostStream)
        lock = kept._lock
        holder = threading.Thread(target=lock.acquire)
        holder.start()
        holder.join()
        streams._restore_plain_streams()
        print("kept", file=kept)
        kept.flush()
        print("new")
        logging.getLogger("shop").warning("logged")
    assert host.records == []
    assert capfd.readouterr().err == "kept\nnew\nlogged\n"
