"""What an analyzer returns."""

from typing import Any

import pytest
from tasker_core.types import BatchAnalyzerOutcome, CursorConfig


def cursor(number: int, start: int, end: int) -> dict[str, Any]:
    return {
        "batch_id": f"{number:03d}",
        "start_cursor": start,
        "end_cursor": end,
        "batch_size": end - start,
    }


def test_an_outcome_asks_for_one_worker_per_range(handler: Any) -> None:
    result = handler.batch_analyzer_success(handler.create_batch_outcome(100, 25))
    assert result.is_success
    assert result.result == {
        "batch_processing_outcome": {
            "type": "create_batches",
            "worker_template_name": "batch_worker",
            "worker_count": 4,
            "cursor_configs": [
                cursor(1, 0, 25),
                cursor(2, 25, 50),
                cursor(3, 50, 75),
                cursor(4, 75, 100),
            ],
            "total_items": 100,
        },
        "worker_count": 4,
        "total_items": 100,
    }
    assert result.metadata == {"batch_analyzer": True}


def test_the_worker_template_is_named_in_the_outcome(handler: Any) -> None:
    outcome = handler.create_batch_outcome(10, 10)
    result = handler.batch_analyzer_success(outcome, worker_template_name="process_csv")
    assert result.result["batch_processing_outcome"]["worker_template_name"] == "process_csv"


def test_batch_metadata_is_in_the_result_only_if_there_is_some(handler: Any) -> None:
    outcome = handler.create_batch_outcome(10, 10, batch_metadata={"source": "s3"})
    assert handler.batch_analyzer_success(outcome).result["batch_metadata"] == {"source": "s3"}
    outcome = handler.create_batch_outcome(10, 10)
    assert "batch_metadata" not in handler.batch_analyzer_success(outcome).result


def test_cursor_configs_may_be_given_without_an_outcome(handler: Any) -> None:
    result = handler.batch_analyzer_success(
        cursor_configs=[CursorConfig(start_cursor=5, end_cursor=9, step_size=2)],
        total_items=4,
        batch_metadata={"a": 1},
    ).result
    assert result["batch_processing_outcome"]["cursor_configs"] == [cursor(1, 5, 9)]
    assert (result["total_items"], result["batch_metadata"]) == (4, {"a": 1})


def test_cursor_configs_win_over_an_outcome(handler: Any) -> None:
    result = handler.batch_analyzer_success(
        handler.create_batch_outcome(100, 10, batch_metadata={"from": "outcome"}),
        cursor_configs=[CursorConfig(start_cursor=0, end_cursor=1)],
    ).result
    assert (result["worker_count"], result["total_items"]) == (1, 0)
    assert "batch_metadata" not in result


def test_without_ranges_or_outcome_there_are_no_batches(handler: Any) -> None:
    assert handler.batch_analyzer_success().result == {
        "batch_processing_outcome": {"type": "no_batches"},
        "reason": "no_cursor_configs_provided",
    }


@pytest.mark.parametrize(
    "arguments", [{"cursor_configs": []}, {"outcome": BatchAnalyzerOutcome(total_items=0)}]
)
def test_an_empty_list_of_ranges_means_an_empty_dataset(
    handler: Any, arguments: dict[str, Any]
) -> None:
    result = handler.batch_analyzer_success(**arguments)
    assert result.result == {
        "batch_processing_outcome": {"type": "no_batches"},
        "reason": "empty_dataset",
    }
    assert result.metadata == {"batch_analyzer": True, "no_batches": True}


def test_batch_metadata_tells_why_there_are_no_batches(handler: Any) -> None:
    facts = {"reason": "file not found", "path": "/tmp/x.csv"}
    result = handler.batch_analyzer_success(cursor_configs=[], batch_metadata=facts).result
    assert result == {"batch_processing_outcome": {"type": "no_batches"}, **facts}


def test_metadata_of_no_batches_goes_into_the_result(handler: Any) -> None:
    result = handler.no_batches_outcome("nothing", {"reason": "better", "checked": 3})
    assert result.is_success
    assert result.result == {
        "batch_processing_outcome": {"type": "no_batches"},
        "reason": "better",
        "checked": 3,
    }
    assert result.metadata == {"batch_analyzer": True, "no_batches": True}


def test_the_caller_metadata_is_joined_by_the_marker(handler: Any) -> None:
    outcome = handler.create_batch_outcome(1, 1)
    result = handler.batch_analyzer_success(outcome, {"took_ms": 5, "batch_analyzer": False})
    assert result.metadata == {"took_ms": 5, "batch_analyzer": True}


def test_fix_builders_leave_the_metadata_of_the_caller_alone(handler: Any) -> None:
    given = {"took_ms": 5}
    handler.batch_analyzer_success(handler.create_batch_outcome(1, 1), given)
    handler.batch_worker_success(items_processed=1, metadata=given)
    handler.batch_worker_partial_failure(handler.create_worker_outcome(1), metadata=given)
    assert given == {"took_ms": 5}


def test_fix_total_items_of_an_outcome_from_ranges_is_derived(handler: Any) -> None:
    outcome = handler.create_batch_outcome_from_ranges([(0, 10), (50, 75)])
    result = handler.batch_analyzer_success(outcome).result
    assert result["total_items"] == 35
    assert result["batch_processing_outcome"]["total_items"] == 35


def test_a_total_that_the_outcome_tells_is_kept(handler: Any) -> None:
    outcome = handler.create_batch_outcome_from_ranges([(0, 10)], total_items=7)
    assert handler.batch_analyzer_success(outcome).result["total_items"] == 7
