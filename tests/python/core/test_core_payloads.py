"""What a completion becomes before it is stored (§2.7, §15.2)."""

import re
from typing import Any

import pytest
from tasker_core._payloads import (
    checkpoint,
    completion,
    fitting_metadata,
    now_text,
    requested_wait,
    stored_error,
    stored_metadata,
    task_request,
)

STEP = "018f0000-0000-7000-8000-000000000001"
NIL = "00000000-0000-0000-0000-000000000000"
FAILED = {"message": "no", "retryable": True}
REQUEST = {
    "name": "order",
    "namespace": "shop",
    "version": "1.0.0",
    "context": {},
    "initiator": "test",
    "source_system": "test",
    "reason": "test",
}


def test_an_empty_completion_is_a_failure_without_an_error() -> None:
    stored = completion({})
    assert (stored["step_uuid"], stored["success"], stored["status"]) == (NIL, False, "failed")
    assert (stored["result"], stored["error"], stored["orchestration_metadata"]) == (None,) * 3


def test_an_empty_status_is_read_from_the_success() -> None:
    assert completion({"success": True, "status": ""})["status"] == "completed"
    assert completion({"success": True, "status": "done"})["status"] == "done"


def test_metadata_has_eleven_entries_with_their_defaults() -> None:
    metadata = completion({})["metadata"]
    assert metadata.pop("completed_at").endswith("Z")
    assert metadata == {
        "execution_time_ms": 0,
        "handler_version": None,
        "retryable": False,
        "worker_id": None,
        "worker_hostname": None,
        "started_at": None,
        "custom": {},
        "error_code": None,
        "error_type": None,
        "context": {},
    }


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ({"step_uuid": "x"}, "step_uuid: expected a UUID, found str 'x'"),
        ({"success": 1}, "success: expected a bool, found int 1"),
        ({"status": None}, "status: expected a str"),
        ({"metadata": []}, "metadata: expected a dict"),
        ({"metadata": {"retryable": None}}, "metadata.retryable: expected a bool"),
        ({"metadata": {"execution_time_ms": 1.5}}, "metadata.execution_time_ms: expected an int"),
        ({"metadata": {"execution_time_ms": 2**63}}, "metadata.execution_time_ms: expected an"),
        ({"metadata": {"completed_at": "2026-01-01T00:00:00"}}, "metadata.completed_at: expected"),
        ({"metadata": {"completed_at": "2026-02-30T00:00:00Z"}}, "metadata.completed_at"),
        ({"metadata": {"completed_at": "2026-02-03T00:00:61Z"}}, "metadata.completed_at"),
        ({"metadata": {"worker_id": 5}}, "metadata.worker_id: expected a str or None"),
        ({"metadata": {"custom": None}}, "metadata.custom: expected a dict"),
        ({"error": "no"}, "error: expected a dict or None"),
        ({"error": {"retryable": True}}, "missing field 'error.message'"),
        ({"error": {"message": "no"}}, "missing field 'error.retryable'"),
        ({"error": {**FAILED, "backtrace": "x"}}, "error.backtrace: expected a list of str"),
        ({"error": {**FAILED, "backtrace": [5]}}, "error.backtrace: expected a list of str"),
        ({"error": {**FAILED, "status_code": 65536}}, "error.status_code: expected an int from"),
        ({"error": {**FAILED, "status_code": True}}, "error.status_code: expected an int from"),
        ({"orchestration_metadata": {}}, "missing field 'orchestration_metadata.headers'"),
        (
            {"orchestration_metadata": {"headers": {"a": 1}, "custom": {}}},
            "orchestration_metadata.headers: expected a dict of str",
        ),
        (
            {
                "orchestration_metadata": {
                    "headers": {},
                    "custom": {},
                    "backoff_hint": {"backoff_type": "Never", "delay_seconds": 1},
                }
            },
            "orchestration_metadata.backoff_hint.backoff_type: expected one of ServerRequested",
        ),
    ],
)
def test_a_known_key_of_a_wrong_type_is_named(data: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=re.escape(problem)):
        completion(data)


def test_long_values_are_cut_in_the_message() -> None:
    with pytest.raises(ValueError, match=r"\.\.\.$"):
        completion({"status": ["x" * 500]})


def test_unknown_keys_are_let_pass() -> None:
    stored = completion({"task_uuid": STEP, "error": {**FAILED, "unknown": 1}})
    assert "task_uuid" not in stored
    assert "unknown" not in stored["error"]


@pytest.mark.parametrize("text", ["2026-02-03T10:00:00Z", "2026-02-03t10:00:60.123+02:00"])
def test_times_with_a_zone_are_kept_as_they_are(text: str) -> None:
    assert completion({"metadata": {"completed_at": text}})["metadata"]["completed_at"] == text


def test_orchestration_metadata_is_passed_on() -> None:
    given = {
        "headers": {"retry-after": "5"},
        "custom": {"a": 1},
        "backoff_hint": {"backoff_type": "RateLimit", "delay_seconds": 5, "more": 1},
    }
    stored = completion({"orchestration_metadata": given})["orchestration_metadata"]
    assert stored == {
        "headers": {"retry-after": "5"},
        "error_context": None,
        "backoff_hint": {"backoff_type": "RateLimit", "delay_seconds": 5, "context": None},
        "custom": {"a": 1},
    }


def test_orchestration_metadata_needs_no_hint() -> None:
    given: dict[str, Any] = {"headers": {}, "custom": {}}
    assert completion({"orchestration_metadata": given})["orchestration_metadata"] == {
        "headers": {},
        "error_context": None,
        "backoff_hint": None,
        "custom": {},
    }


# What the reference loses at the boundary (§15.2, information loss).


def test_execution_time_and_worker_of_the_top_level_are_kept() -> None:
    metadata = completion({"execution_time_ms": 7, "worker_id": "w-1"})["metadata"]
    assert (metadata["execution_time_ms"], metadata["worker_id"]) == (7, "w-1")


def test_execution_time_and_worker_of_the_metadata_win() -> None:
    metadata = completion(
        {
            "execution_time_ms": "later",
            "worker_id": 5,
            "metadata": {"execution_time_ms": 9, "worker_id": "w-2"},
        }
    )["metadata"]
    assert (metadata["execution_time_ms"], metadata["worker_id"]) == (9, "w-2")


def test_values_of_the_top_level_that_do_not_fit_are_left_out() -> None:
    metadata = completion({"execution_time_ms": "soon", "worker_id": 5})["metadata"]
    assert (metadata["execution_time_ms"], metadata["worker_id"]) == (0, None)


def test_unknown_metadata_is_kept_in_custom() -> None:
    metadata = completion({"metadata": {"rows": 5, "custom": {"own": 1}}})["metadata"]
    assert metadata["custom"] == {"rows": 5, "own": 1}


def test_a_stack_trace_becomes_the_backtrace() -> None:
    error = completion({"error": {**FAILED, "stack_trace": "a\nb"}})["error"]
    assert error["backtrace"] == ["a", "b"]


def test_a_traceback_of_the_metadata_becomes_the_backtrace() -> None:
    stored = completion(
        {
            "metadata": {"traceback": "a\nb"},
            "error": {**FAILED, "metadata": {"traceback": "a\nb", "order": 1}},
        }
    )
    assert stored["error"]["backtrace"] == ["a", "b"]
    assert stored["error"]["context"] == {"order": 1}
    assert stored["metadata"]["custom"] == {}


def test_a_backtrace_that_is_given_stays() -> None:
    error = {**FAILED, "backtrace": ["given"], "stack_trace": "a\nb"}
    assert completion({"error": error})["error"]["backtrace"] == ["given"]


def test_the_metadata_of_an_error_becomes_its_context() -> None:
    error = {**FAILED, "metadata": {"a": 1, "b": 1}, "context": {"b": 2}}
    assert completion({"error": error})["error"]["context"] == {"a": 1, "b": 2}


def test_a_status_code_of_the_context_becomes_the_errors() -> None:
    error = {**FAILED, "metadata": {"status_code": 503}}
    assert completion({"error": error})["error"]["status_code"] == 503


def test_the_type_of_an_error_is_told_in_the_metadata_too() -> None:
    stored = completion({"error": {**FAILED, "error_type": "gateway"}})
    assert stored["metadata"]["error_type"] == "gateway"


@pytest.mark.parametrize("place", ["metadata", "custom", "context", "error", "error context"])
def test_a_wait_that_a_handler_asks_for_reaches_orchestration(place: str) -> None:
    wait = {"retry_after": 30}
    data: dict[str, Any] = {"metadata": {"retryable": True}, "error": dict(FAILED)}
    if place == "metadata":
        data["metadata"].update(wait)
    elif place in ("custom", "context"):
        data["metadata"][place] = wait
    elif place == "error":
        data["error"]["metadata"] = wait
    else:
        data["error"]["context"] = wait
    stored = completion(data)["orchestration_metadata"]
    assert stored["headers"] == {"retry-after": "30"}
    assert stored["backoff_hint"]["delay_seconds"] == 30


def test_only_retryable_failures_ask_for_a_wait() -> None:
    assert completion({"metadata": {"retry_after": 30}})["orchestration_metadata"] is None
    done = completion({"success": True, "metadata": {"retryable": True, "retry_after": 30}})
    assert done["orchestration_metadata"] is None


@pytest.mark.parametrize(("seconds", "header"), [(0, "0"), (0.2, "1"), (2.5, "3"), (60, "60")])
def test_a_wait_is_rounded_up_to_whole_seconds(seconds: float, header: str) -> None:
    wait = requested_wait([None, {"retry_after_seconds": seconds}])
    assert wait is not None
    assert wait["headers"] == {"retry-after": header}


@pytest.mark.parametrize("seconds", [True, "30", -1, 2**32, float("nan"), float("inf"), None])
def test_what_is_no_number_of_seconds_asks_for_nothing(seconds: Any) -> None:
    assert requested_wait([{"retry_after": seconds}]) is None


def test_metadata_that_fits_is_stored_and_the_rest_is_custom() -> None:
    stored = stored_metadata(
        {"started_at": "yesterday", "error_code": "E1", "context": 5, "worker_id": None, "x": 1},
        execution_time_ms=3,
        worker_id="w-1",
    )
    assert (stored["error_code"], stored["worker_id"]) == ("E1", "w-1")
    assert (stored["started_at"], stored["context"]) == (None, {})
    assert stored["custom"] == {"started_at": "yesterday", "context": 5, "x": 1}


def test_metadata_of_a_handler_is_made_to_fit_for_the_host() -> None:
    given = {"custom": {"own": 1}, "retryable": "perhaps", "rows": 5, "error_type": "x"}
    assert fitting_metadata(given) == {
        "custom": {"own": 1, "retryable": "perhaps"},
        "rows": 5,
        "error_type": "x",
    }


def test_a_custom_that_is_no_dict_is_kept_in_custom() -> None:
    assert fitting_metadata({"custom": [1]}) == {"custom": {"custom": [1]}}


def test_an_error_takes_traceback_and_status_from_its_context() -> None:
    error = stored_error("no", None, False, {"traceback": "a\nb", "status_code": "x", "k": 1})
    assert error == {
        "message": "no",
        "error_type": None,
        "backtrace": ["a", "b"],
        "retryable": False,
        "status_code": None,
        "context": {"status_code": "x", "k": 1},
    }


def test_results_are_stamped_with_microseconds() -> None:
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", now_text())


def test_times_do_not_go_backwards_between_two_results() -> None:
    times = [now_text() for _ in range(100)]
    assert times == sorted(times)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ({"step_uuid": STEP, "cursor": 1}, "missing field 'items_processed'"),
        ({"step_uuid": STEP, "items_processed": 1}, "missing field 'cursor'"),
        ({"step_uuid": STEP, "cursor": 1, "items_processed": -1}, "an int of at least 0"),
    ],
)
def test_a_checkpoint_needs_its_fields(data: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        checkpoint(data)


@pytest.mark.parametrize("missing", REQUEST)
def test_a_task_request_needs_seven_keys(missing: str) -> None:
    request = {key: value for key, value in REQUEST.items() if key != missing}
    with pytest.raises(ValueError, match=f"missing field '{missing}'"):
        task_request(request)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("tags", "a"),
        ("requested_at", "2026-02-03T10:00:00Z"),
        ("options", []),
        ("priority", 2**31),
        ("correlation_id", "x"),
        ("idempotency_key", 5),
    ],
)
def test_a_task_request_refuses_wrong_values(key: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{key}: expected"):
        task_request({**REQUEST, key: value})


def test_a_task_request_keeps_what_is_set() -> None:
    more = {"tags": ["a"], "requested_at": "2026-02-03T10:00:00.5", "priority": -3}
    assert task_request({**REQUEST, **more, "options": None}) == {**REQUEST, **more}


def test_a_context_of_null_is_kept() -> None:
    assert task_request({**REQUEST, "context": None})["context"] is None
