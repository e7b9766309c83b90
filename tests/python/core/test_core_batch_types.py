"""Decisions and batches as models (§7.7)."""

from typing import Any, get_args

import pytest
from tasker_core import types
from tasker_core.types import (
    BatchWorkerContext,
    CursorConfig,
    DecisionPointOutcome,
    DecisionType,
)


def test_the_outcome_of_a_decision_to_go_on() -> None:
    outcome = DecisionPointOutcome.create_steps(["a", "b"], [{"name": "c"}], {"why": 1})
    assert outcome.decision_type is DecisionType.CREATE_STEPS
    assert (outcome.next_step_names, outcome.dynamic_steps) == (["a", "b"], [{"name": "c"}])
    assert (outcome.reason, outcome.routing_context) == (None, {"why": 1})
    assert DecisionPointOutcome.create_steps(["a"]).routing_context == {}


def test_the_outcome_of_a_decision_to_stop() -> None:
    outcome = DecisionPointOutcome.no_branches("nothing to do", {"why": 1})
    assert outcome.decision_type is DecisionType.NO_BRANCHES
    assert (outcome.next_step_names, outcome.reason) == ([], "nothing to do")
    assert outcome.routing_context == {"why": 1}


def test_an_analyzers_outcome_from_ranges() -> None:
    outcome = types.BatchAnalyzerOutcome.from_ranges([(0, 5), (5, 7)], 2, 7, {"m": 1})
    assert outcome.cursor_configs == [
        CursorConfig(start_cursor=0, end_cursor=5, step_size=2),
        CursorConfig(start_cursor=5, end_cursor=7, step_size=2),
    ]
    assert (outcome.total_items, outcome.batch_metadata) == (7, {"m": 1})
    assert types.BatchAnalyzerOutcome.from_ranges([]).batch_metadata == {}


def test_outcomes_for_orchestration() -> None:
    cursor = types.RustCursorConfig(
        batch_id="001", start_cursor="2026-01", end_cursor={"id": 5}, batch_size=5
    )
    created = types.create_batches("crunch", 1, [cursor], 5)
    assert created.model_dump() == {
        "type": "create_batches",
        "worker_template_name": "crunch",
        "worker_count": 1,
        "cursor_configs": [
            {
                "batch_id": "001",
                "start_cursor": "2026-01",
                "end_cursor": {"id": 5},
                "batch_size": 5,
            }
        ],
        "total_items": 5,
    }
    assert types.no_batches().model_dump() == {"type": "no_batches"}


def test_every_worker_needs_its_cursor() -> None:
    problem = r"cursor_configs length \(0\) must equal worker_count \(2\)"
    with pytest.raises(ValueError, match=problem):
        types.create_batches("crunch", 2, [], 5)


def test_the_outcome_of_batch_processing_is_one_of_two() -> None:
    from tasker_core.types import BatchProcessingOutcome

    assert get_args(BatchProcessingOutcome) == (
        types.NoBatchesOutcome,
        types.CreateBatchesOutcome,
    )


def test_results_of_workers_are_summed_up() -> None:
    total = types.aggregate_batch_results(
        [
            {"items_processed": 4, "items_succeeded": 3, "items_failed": 1, "errors": [{"e": 1}]},
            None,
            {"items_processed": 4, "items_succeeded": 3, "items_skipped": 1, "errors": "none"},
            {},
        ]
    )
    assert (total.total_processed, total.total_succeeded, total.total_failed) == (8, 6, 1)
    assert (total.total_skipped, total.batch_count, total.success_rate) == (1, 3, 0.75)
    assert (total.errors, total.error_count) == ([{"e": 1}], 1)


def test_only_so_many_errors_are_kept_but_all_are_counted() -> None:
    total = types.aggregate_batch_results([{"errors": [{"n": n} for n in range(5)]}], 2)
    assert (len(total.errors), total.error_count, total.success_rate) == (2, 5, 0.0)


def worker(checkpoint: dict[str, Any]) -> BatchWorkerContext:
    return BatchWorkerContext(
        batch_id="001",
        cursor_config=CursorConfig(start_cursor=5, end_cursor=9, step_size=2),
        batch_index=0,
        total_batches=1,
        checkpoint=checkpoint,
    )


def test_a_batch_shows_its_cursor() -> None:
    batch = worker({})
    assert (batch.start_cursor, batch.end_cursor, batch.step_size) == (5, 9, 2)


def test_a_batch_without_a_checkpoint() -> None:
    batch = worker({})
    assert batch.has_checkpoint() is False
    assert (batch.checkpoint_cursor, batch.accumulated_results) == (None, None)
    assert batch.checkpoint_items_processed == 0


def test_a_batch_with_a_checkpoint_at_zero() -> None:
    batch = worker({"cursor": 0, "items_processed": 7, "accumulated_results": {"sum": 1}})
    assert batch.has_checkpoint() is True
    assert (batch.checkpoint_cursor, batch.accumulated_results) == (0, {"sum": 1})
    assert batch.checkpoint_items_processed == 7
