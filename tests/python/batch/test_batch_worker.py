"""What a batch worker reads and returns."""

from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock, Mock
from uuid import UUID

import pytest
from pydantic import ValidationError
from tasker_core.batch_processing import Batchable
from tasker_core.types import BatchWorkerOutcome, CursorConfig, FailureStrategy

Inputs = dict[str, Any]


def test_inputs_are_read_and_others_keys_ignored(
    bare: Any, build_context: Any, worker_inputs: Inputs
) -> None:
    inputs = bare.get_batch_worker_inputs(build_context(worker_inputs))
    assert inputs.cursor.model_dump() == worker_inputs["cursor"]
    assert inputs.batch_metadata.failure_strategy is FailureStrategy.FAIL_FAST
    assert inputs.is_no_op is False


@pytest.mark.parametrize("start", ["2026-01-01", {"id": 7}, None])
def test_cursors_of_any_type_are_read(
    bare: Any, build_context: Any, worker_inputs: Inputs, start: Any
) -> None:
    worker_inputs["cursor"]["start_cursor"] = start
    inputs = bare.get_batch_worker_inputs(build_context(worker_inputs))
    assert inputs.cursor.start_cursor == start


@pytest.mark.parametrize("inputs", [None, {}])
def test_a_step_without_inputs_has_no_batch(bare: Any, inputs: Any) -> None:
    context = SimpleNamespace(step_inputs=inputs)
    assert bare.get_batch_worker_inputs(context) is None
    assert bare.handle_no_op_worker(context) is None


@pytest.mark.parametrize("key", ["cursor", "batch_metadata", "is_no_op"])
def test_inputs_without_a_needed_key_are_no_batch(
    bare: Any, build_context: Any, worker_inputs: Inputs, key: str
) -> None:
    del worker_inputs[key]
    assert bare.get_batch_worker_inputs(build_context(worker_inputs)) is None


def test_an_unknown_failure_strategy_is_no_batch(
    bare: Any, build_context: Any, worker_inputs: Inputs
) -> None:
    worker_inputs["batch_metadata"]["failure_strategy"] = "ContinueOnFailure"
    assert bare.get_batch_worker_inputs(build_context(worker_inputs)) is None


def test_a_placeholder_worker_answers_with_a_no_op(
    bare: Any, build_context: Any, worker_inputs: Inputs
) -> None:
    worker_inputs["is_no_op"] = True
    worker_inputs["cursor"]["batch_id"] = "000"
    result = bare.handle_no_op_worker(build_context(worker_inputs))
    processed_at = result.result.pop("processed_at")
    assert result.is_success
    assert result.result == {
        "batch_id": "000",
        "no_op": True,
        "processed_count": 0,
        "message": "No batches to process",
    }
    assert result.metadata == {}
    assert datetime.fromisoformat(processed_at).utcoffset() == timedelta(0)


def test_a_real_worker_is_no_placeholder(
    bare: Any, build_context: Any, worker_inputs: Inputs
) -> None:
    assert bare.handle_no_op_worker(build_context(worker_inputs)) is None


def test_the_batch_context_comes_from_the_step(
    bare: Any, build_context: Any, worker_inputs: Inputs
) -> None:
    batch = bare.get_batch_context(build_context(worker_inputs, checkpoint={"cursor": 250}))
    assert (batch.batch_id, batch.start_cursor, batch.end_cursor) == ("002", 200, 400)
    assert batch.checkpoint_cursor == 250


def test_a_step_without_batch_has_no_batch_context(bare: Any, build_context: Any) -> None:
    assert bare.get_batch_context(build_context()) is None


def test_a_batch_context_made_by_hand_has_an_id_of_its_own(bare: Any) -> None:
    config = CursorConfig(start_cursor=0, end_cursor=10)
    one, other = (bare.create_batch_context(config, 1, 4, {"a": 1}) for _ in range(2))
    assert UUID(one.batch_id) != UUID(other.batch_id)
    assert (one.cursor_config, one.batch_index, one.total_batches) == (config, 1, 4)
    assert (one.batch_metadata, one.checkpoint) == ({"a": 1}, {})


def test_an_outcome_holds_what_it_is_given(bare: Any) -> None:
    outcome = bare.create_worker_outcome(
        10, 7, 2, 1, [{"id": 1}], [{"row": 2}], last_cursor=10, batch_metadata={"a": 1}
    )
    assert outcome == BatchWorkerOutcome(
        items_processed=10,
        items_succeeded=7,
        items_failed=2,
        items_skipped=1,
        results=[{"id": 1}],
        errors=[{"row": 2}],
        last_cursor=10,
        batch_metadata={"a": 1},
    )


def test_all_items_of_an_outcome_have_succeeded_unless_told(bare: Any) -> None:
    outcome = bare.create_worker_outcome(10)
    assert outcome == BatchWorkerOutcome(items_processed=10, items_succeeded=10)


def test_the_default_of_items_succeeded_stays_zero_for_who_looks(bare: Any) -> None:
    defaults = type(bare).create_worker_outcome.__defaults__
    assert (defaults[0], repr(defaults[0])) == (0, "0")


def test_a_default_call_with_failures_counts_all_as_succeeded(bare: Any) -> None:
    assert bare.create_worker_outcome(10, items_failed=2).items_succeeded == 10


def test_a_written_zero_without_failures_counts_all_as_succeeded(bare: Any) -> None:
    assert bare.create_worker_outcome(10, items_succeeded=0).items_succeeded == 10


@pytest.mark.parametrize(
    "told", [{"items_failed": 10}, {"items_skipped": 10}, {"errors": [{"row": 1}]}]
)
def test_fix_a_written_zero_beside_failures_stays_zero(bare: Any, told: dict[str, Any]) -> None:
    assert bare.create_worker_outcome(10, items_succeeded=0, **told).items_succeeded == 0


def test_success_tells_the_counts(handler: Any) -> None:
    result = handler.batch_worker_success(items_processed=10, items_failed=1, items_skipped=2)
    assert result.is_success
    assert result.result == {
        "items_processed": 10,
        "items_succeeded": 10,
        "items_failed": 1,
        "items_skipped": 2,
        "last_cursor": None,
        "batch_metadata": {},
    }
    assert result.metadata == {"batch_worker": True}


def test_success_keeps_a_zero_of_succeeded_items(handler: Any) -> None:
    result = handler.batch_worker_success(items_processed=10, items_succeeded=0, items_failed=10)
    assert result.result["items_succeeded"] == 0


def test_success_with_zero_items_is_a_success(handler: Any) -> None:
    assert handler.batch_worker_success(items_processed=0).result["items_succeeded"] == 0


@pytest.mark.parametrize("last", [7, "2026-01-01", {"id": 7}])
def test_the_last_cursor_may_be_of_any_type(handler: Any, last: Any) -> None:
    result = handler.batch_worker_success(items_processed=1, last_cursor=last)
    assert result.result["last_cursor"] == last


def test_results_and_errors_are_told_only_if_there_are_some(handler: Any) -> None:
    result = handler.batch_worker_success(
        items_processed=1, results=[{"id": 1}], errors=[{"row": 1}], batch_metadata={"a": 1}
    ).result
    assert (result["results"], result["errors"]) == ([{"id": 1}], [{"row": 1}])
    assert result["batch_metadata"] == {"a": 1}
    result = handler.batch_worker_success(items_processed=1, results=[], errors=[]).result
    assert not {"results", "errors"} & set(result)


def test_success_tells_an_outcome(handler: Any) -> None:
    outcome = handler.create_worker_outcome(
        10, 9, 1, results=[{"id": 1}], errors=[{"row": 2}], last_cursor=10, batch_metadata={"a": 1}
    )
    result = handler.batch_worker_success(outcome, {"took_ms": 5})
    assert result.result == {
        "items_processed": 10,
        "items_succeeded": 9,
        "items_failed": 1,
        "items_skipped": 0,
        "last_cursor": 10,
        "batch_metadata": {"a": 1},
        "results": [{"id": 1}],
        "errors": [{"row": 2}],
    }
    assert result.metadata == {"took_ms": 5, "batch_worker": True}


def test_counts_win_over_an_outcome(handler: Any) -> None:
    outcome = handler.create_worker_outcome(10, results=[{"id": 1}])
    result = handler.batch_worker_success(outcome, items_processed=3).result
    assert result["items_processed"] == 3
    assert "results" not in result


def test_success_of_nothing_at_all_is_a_failure(handler: Any) -> None:
    result = handler.batch_worker_success()
    assert not result.is_success
    assert result.error_message == "batch_worker_success requires either outcome or items_processed"
    assert (result.error_type, result.retryable) == ("invalid_args", False)


def test_partial_failure_is_a_success_that_says_so(handler: Any) -> None:
    outcome = handler.create_worker_outcome(
        10, 8, 2, results=[{"id": 1}], errors=[{"row": 2}, {"row": 3}]
    )
    result = handler.batch_worker_partial_failure(outcome, message="2 rows", metadata={"t": 1})
    assert result.is_success
    assert result.result == {
        "items_processed": 10,
        "items_succeeded": 8,
        "items_failed": 2,
        "items_skipped": 0,
        "last_cursor": None,
        "batch_metadata": {},
        "partial_failure": True,
        "partial_failure_message": "2 rows",
        "results": [{"id": 1}],
        "errors": [{"row": 2}, {"row": 3}],
    }
    assert result.metadata == {"t": 1, "batch_worker": True, "had_failures": True}


@pytest.mark.parametrize("message", [None, ""])
def test_partial_failure_without_message_has_no_message(handler: Any, message: Any) -> None:
    result = handler.batch_worker_partial_failure(handler.create_worker_outcome(1), message)
    assert "partial_failure_message" not in result.result


def test_results_of_the_handler_need_a_handler(bare: Any) -> None:
    with pytest.raises(AttributeError):
        bare.batch_worker_success(items_processed=1)


def test_cursors_that_are_no_integers_do_not_fit_a_batch_context(
    bare: Any, build_context: Any, worker_inputs: Inputs
) -> None:
    worker_inputs["cursor"]["start_cursor"] = "2026-01-01"
    with pytest.raises(ValidationError):
        bare.get_batch_context(build_context(worker_inputs))


def mock_context(**values: Any) -> MagicMock:
    """A context as programs mock it: an event, inputs and settings, and no more."""
    context = MagicMock()
    context.event.task_sequence_step = {}
    context.step_inputs, context.step_config, context.input_data = {}, {}, {}
    context.configure_mock(**values)
    return context


@pytest.mark.parametrize(
    "event", [None, SimpleNamespace(task_sequence_step={"workflow_step": None})]
)
def test_a_mock_context_without_progress_gives_a_batch(
    bare: Any, worker_inputs: dict[str, Any], event: Any
) -> None:
    batch = bare.get_batch_context(mock_context(step_inputs=worker_inputs, event=event))
    assert (batch.batch_id, batch.start_cursor, batch.checkpoint) == ("002", 200, {})


def test_the_checkpoint_of_a_mock_context_is_read_from_its_event(
    bare: Any, worker_inputs: dict[str, Any]
) -> None:
    stored = {"cursor": 300, "items_processed": 100, "accumulated_results": {"sum": 7}}
    context = mock_context(step_inputs=worker_inputs)
    context.event.task_sequence_step = {"workflow_step": {"checkpoint": stored}}
    batch = bare.get_batch_context(context)
    assert (batch.checkpoint_cursor, batch.accumulated_results) == (300, {"sum": 7})


def test_a_context_without_inputs_or_event_may_have_a_batch_in_its_settings(bare: Any) -> None:
    context = SimpleNamespace(
        step_inputs=None,
        step_config={"batch_context": {"batch_id": "x", "cursor_config": {"end_cursor": 4}}},
        input_data={},
    )
    batch = bare.get_batch_context(context)
    assert (batch.batch_id, batch.start_cursor, batch.end_cursor) == ("x", 0, 4)


def test_empty_settings_of_a_batch_are_a_batch_and_win_over_the_input(bare: Any) -> None:
    batch = bare.get_batch_context(
        mock_context(
            step_config={"batch_context": {}}, input_data={"batch_context": {"batch_id": "x"}}
        )
    )
    assert (batch.batch_id, batch.end_cursor, batch.total_batches) == ("", 0, 1)


def test_results_are_built_by_the_host_handler_with_metadata_by_name() -> None:
    class Host(Batchable):
        success = Mock(return_value="built")

    built: Any = Host().batch_worker_success(items_processed=1)
    assert built == "built"
    assert Host.success.call_args.kwargs == {"metadata": {"batch_worker": True}}
