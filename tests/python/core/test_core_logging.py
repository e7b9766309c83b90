"""Log functions of the package and of the native module (§2.5, §4)."""

import logging
from typing import Any
from unittest import mock

import pytest
import tasker_core.logging
from tasker_core import LogContext, _tasker_core
from taskerpy_host.context import StepInfo, current_step

from tests.python.core.conftest import FakeHost

LEVELS = ["error", "warn", "info", "debug", "trace"]
normalize = tasker_core.logging._normalize_fields


def test_no_fields_stay_no_fields() -> None:
    assert normalize(None) is None


def test_fields_of_a_context_that_are_not_set_are_left_out() -> None:
    context = LogContext(task_uuid="t-1", operation="charge")
    assert normalize(context) == {"task_uuid": "t-1", "operation": "charge"}


def test_all_entries_of_a_dict_become_text_none_too() -> None:
    assert normalize({"a": 1, "b": None, "c": "x"}) == {"a": "1", "b": "None", "c": "x"}


class Unprintable:
    def __str__(self) -> str:
        raise LookupError("no text")


def test_a_value_without_text_does_not_break_the_line() -> None:
    assert normalize({"a": Unprintable()}) == {"a": "<Unprintable: str() raised LookupError>"}


@pytest.mark.parametrize("level", LEVELS)
def test_each_function_calls_the_native_one_with_two_arguments(level: str) -> None:
    with mock.patch.object(tasker_core.logging, f"_log_{level}") as native:
        getattr(tasker_core.logging, f"log_{level}")("hello", {"n": 5})
    native.assert_called_once_with("hello", {"n": "5"})


@pytest.mark.parametrize("level", LEVELS)
def test_lines_reach_the_host_with_all_their_fields(level: str, host: FakeHost) -> None:
    getattr(tasker_core, f"log_{level}")("hello", {"n": 5, "custom": "x"})
    assert host.only_call == (
        f"log_{level}",
        {"message": "hello", "fields": {"n": "5", "custom": "x"}},
    )


def test_a_line_of_a_step_says_which_step(host: FakeHost) -> None:
    token = current_step.set(StepInfo("charge", "task-1", "corr-1", "event-1"))
    try:
        tasker_core.log_info("hello")
    finally:
        current_step.reset(token)
    assert host.only_call[1] == {
        "message": "hello",
        "fields": {},
        "step": "charge",
        "task_uuid": "task-1",
        "correlation_id": "corr-1",
    }


@pytest.mark.parametrize(
    ("level", "number"),
    [("error", 40), ("warn", 30), ("info", 20), ("debug", 10), ("trace", 5)],
)
def test_without_a_host_lines_go_to_pythons_logging(
    level: str, number: int, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(1, logger="tasker_core"):
        getattr(_tasker_core, f"log_{level}")("hello", {"n": "5"})
    assert caplog.record_tuples == [("tasker_core", number, "hello n=5")]


def test_a_host_that_goes_down_does_not_make_logging_raise(
    host: FakeHost, caplog: pytest.LogCaptureFixture
) -> None:
    host.answers["log_warn"] = RuntimeError("closing")
    tasker_core.log_warn("still worth writing")
    assert "still worth writing" in caplog.text


def test_text_that_is_not_valid_unicode_is_carried(host: FakeHost) -> None:
    tasker_core.log_info("bad \udcff byte")
    assert host.only_call[1]["message"] == "bad \udcff byte"


@pytest.mark.parametrize("fields", [None, {}, {"a": object()}, LogContext()])
def test_logging_never_raises_for_valid_fields(fields: Any) -> None:
    logging.getLogger("tasker_core").setLevel(logging.CRITICAL)
    try:
        for level in LEVELS:
            getattr(tasker_core, f"log_{level}")("hello", fields)
    finally:
        logging.getLogger("tasker_core").setLevel(logging.NOTSET)
