"""The log of the host, received through Python's ``logging``."""

import json
import logging
import queue
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import tasker_core.logging
from tasker_core import _tasker_core
from tasker_core.logging import receive_host_records
from taskerpy_host.streams import HostLogHandler

BATCH = {
    "records": [
        {
            "time": 1700000000.25,
            "level": 30,
            "message": "disk is slow",
            "fields": {"took": "2s", "tries": 3},
        },
        {"time": 1700000001.0, "level": 10, "message": "detail", "fields": {}},
    ],
    "lost": 0,
}


class LoggingHost:
    """Answers a receiver with batches until it stops."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.batches: queue.Queue[dict[str, Any] | None] = queue.Queue()

    def call(self, name: str, payload: bytes | None = None) -> bytes | None:
        self.calls.append((name, None if payload is None else json.loads(payload)))
        if name == "stop_host_records":
            self.batches.put(None)
        if name != "next_host_records":
            return None
        batch = self.batches.get()
        return None if batch is None else json.dumps(batch).encode()


class Keep(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> LoggingHost:
    fake = LoggingHost()
    monkeypatch.setattr(_tasker_core, "_taskerpy", fake)
    return fake


@pytest.fixture
def kept() -> Iterator[list[logging.LogRecord]]:
    """What the logger of the host is given."""
    logger, keep = logging.getLogger("tasker_core.host"), Keep()
    logger.addHandler(keep)
    logger.setLevel(logging.INFO)
    yield keep.records
    logger.removeHandler(keep)
    logger.setLevel(logging.NOTSET)


def test_records_of_the_host_go_to_its_logger(
    host: LoggingHost, kept: list[logging.LogRecord]
) -> None:
    host.batches.put(BATCH)
    with receive_host_records(logging.DEBUG):
        pass
    assert host.calls[0] == ("receive_host_records", {"level": logging.DEBUG})
    (record,) = kept  # the logger itself decides on its level
    assert (record.name, record.levelname) == ("tasker_core.host", "WARNING")
    assert record.getMessage() == "disk is slow took=2s tries=3"
    assert record.__dict__["fields"] == {"took": "2s", "tries": 3}
    assert (record.created, record.msecs) == (1700000000.25, 250.0)
    now = logging.makeLogRecord({})
    assert record.relativeCreated == pytest.approx(
        now.relativeCreated - (now.created - record.created) * 1000, abs=1000
    )


def test_information_is_received_unless_asked_otherwise(host: LoggingHost) -> None:
    receive_host_records().stop()
    assert host.calls[0] == ("receive_host_records", {"level": logging.INFO})


def test_dropped_records_are_told(host: LoggingHost, kept: list[logging.LogRecord]) -> None:
    host.batches.put({"records": None, "lost": 7})
    receive_host_records().stop()
    assert [record.getMessage() for record in kept] == ["7 records of the host were dropped"]


def test_stopping_waits_for_the_thread_and_may_be_done_twice(host: LoggingHost) -> None:
    receiving = receive_host_records()
    receiving.stop()
    assert "tasker-host-records" not in [thread.name for thread in threading.enumerate()]
    receiving.stop()
    assert [name for name, _ in host.calls].count("stop_host_records") == 1


def test_a_handler_may_stop_its_own_receiver(
    host: LoggingHost, kept: list[logging.LogRecord]
) -> None:
    receiving = None
    stopped = threading.Event()

    class StopAtFirst(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            assert receiving is not None
            receiving.stop()
            stopped.set()

    handler = StopAtFirst()
    logging.getLogger("tasker_core.host").addHandler(handler)
    try:
        receiving = receive_host_records()
        host.batches.put(BATCH)
        assert stopped.wait(60)
        receiving._thread.join(60)
        assert not receiving._thread.is_alive()
    finally:
        logging.getLogger("tasker_core.host").removeHandler(handler)


def test_outside_of_taskerpy_there_is_nothing_to_receive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_tasker_core, "_taskerpy", None)
    with pytest.raises(RuntimeError, match="only inside taskerpy"):
        receive_host_records()


def test_receiving_is_no_part_of_the_export_list() -> None:
    assert "receive_host_records" not in tasker_core.logging.__all__


def test_what_the_host_has_logged_does_not_go_to_its_log_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sent: list[str] = []
    monkeypatch.setattr(
        "taskerpy_host.streams.send", lambda name, fields, step: sent.append(fields["message"])
    )
    handler = HostLogHandler()
    for name in ("tasker_core.host", "tasker_core", "shop"):
        handler.handle(logging.makeLogRecord({"name": name, "msg": name}))
    assert sent == ["tasker_core", "shop"]
