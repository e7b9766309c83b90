"""The bundled handlers that process items with checkpoints."""

import copy
import importlib
from typing import Any
from unittest.mock import MagicMock

import pytest
from tasker_core import Batchable, StepContext, StepHandler
from tasker_core.examples import (
    CheckpointYieldAggregatorHandler,
    CheckpointYieldAnalyzerHandler,
    CheckpointYieldWorkerHandler,
)
from tasker_core.types import FfiStepEvent, StepHandlerResult

from tests.python.more.fake_host import CORRELATION, STEP, TASK

NAMES = [
    "CheckpointYieldAggregatorHandler",
    "CheckpointYieldAnalyzerHandler",
    "CheckpointYieldWorkerHandler",
]


def context(
    inputs: dict[str, Any],
    *,
    step: dict[str, Any] | None = None,
    config: dict[str, Any] | None = None,
    results: dict[str, Any] | None = None,
) -> StepContext:
    event = FfiStepEvent(
        event_id=STEP,
        task_uuid=TASK,
        step_uuid=STEP,
        correlation_id=CORRELATION,
        task_sequence_step={
            "task": {"task": {"context": inputs}},
            "workflow_step": step or {},
            "step_definition": {"handler": {"initialization": config or {}}},
            "dependency_results": results or {},
        },
    )
    return StepContext.from_ffi_event(event, "handler")


def batch(total: int) -> dict[str, Any]:
    return {
        "cursor": {"batch_id": "001", "start_cursor": 0, "end_cursor": total, "batch_size": total},
        "batch_metadata": {"cursor_field": "id", "failure_strategy": "fail_fast"},
        "is_no_op": False,
    }


def work(inputs: dict[str, Any], *, total: int, retries: int = 0) -> list[StepHandlerResult]:
    """Dispatch the worker until it is done or has failed ``retries`` + 1 times."""
    results: list[StepHandlerResult] = []
    step: dict[str, Any] = {"inputs": batch(total), "attempts": 0}
    while True:
        # As on its way through the host: a fresh copy each time.
        result = CheckpointYieldWorkerHandler().call(context(inputs, step=copy.deepcopy(step)))
        results.append(copy.deepcopy(result))
        if result.metadata.get("checkpoint_yield"):
            step["checkpoint"] = {**(result.result or {})}
        elif result.is_success or step["attempts"] >= retries or not result.retryable:
            return results
        else:
            step["attempts"] += 1


def yields(results: list[StepHandlerResult]) -> list[tuple[int, int]]:
    """The cursors at which the worker yielded, with the running totals there."""
    return [
        (result.result["cursor"], result.result["accumulated_results"]["running_total"])
        for result in results
        if result.result and result.metadata.get("checkpoint_yield")
    ]


def aggregate(total: int, last: StepHandlerResult) -> dict[str, Any]:
    analyzed = CheckpointYieldAnalyzerHandler().call(context({"total_items": total}))
    summed = CheckpointYieldAggregatorHandler().call(
        context(
            {},
            results={
                "analyze_items": {"result": analyzed.result},
                "checkpoint_yield_batch_001": {"result": last.result},
            },
        )
    )
    assert summed.result is not None
    return summed.result


@pytest.mark.parametrize(
    "module",
    [
        "tasker_core.examples",
        "tasker_core.examples.checkpoint_yield",
        "tasker_core.examples.checkpoint_yield.handlers",
    ],
)
def test_the_handlers_are_exported(module: str) -> None:
    exporting = importlib.import_module(module)
    assert sorted(exporting.__all__) == NAMES
    assert exporting.CheckpointYieldWorkerHandler is CheckpointYieldWorkerHandler


@pytest.mark.parametrize("name", NAMES)
def test_a_handler_is_named_after_its_package(name: str) -> None:
    handler = getattr(importlib.import_module("tasker_core.examples"), name)
    assert issubclass(handler, StepHandler) and issubclass(handler, Batchable)
    assert handler.handler_name == f"tasker_core.examples.checkpoint_yield.{name}"
    assert handler.handler_version == "1.0.0"


def test_the_analyzer_asks_for_one_batch_of_everything() -> None:
    result = CheckpointYieldAnalyzerHandler().call(context({"total_items": 30})).result
    assert result is not None
    outcome = result["batch_processing_outcome"]
    assert outcome["worker_template_name"] == "checkpoint_yield_batch"
    assert outcome["cursor_configs"] == [
        {"batch_id": "001", "start_cursor": 0, "end_cursor": 30, "batch_size": 30}
    ]
    assert result["batch_metadata"] == {"test_type": "checkpoint_yield", "items_per_batch": 30}
    assert result["total_items"] == 30


def test_the_analyzer_has_a_hundred_items_unless_told() -> None:
    result = CheckpointYieldAnalyzerHandler().call(context({})).result
    assert result is not None
    assert result["total_items"] == 100


def test_the_worker_template_can_be_configured() -> None:
    result = CheckpointYieldAnalyzerHandler().call(
        context({}, config={"worker_template_name": "other"})
    )
    assert result.result is not None
    assert result.result["batch_processing_outcome"]["worker_template_name"] == "other"


@pytest.mark.parametrize("total", [0, -1])
def test_the_analyzer_finds_nothing_to_process(total: int) -> None:
    result = CheckpointYieldAnalyzerHandler().call(context({"total_items": total})).result
    assert result is not None
    assert result["batch_processing_outcome"] == {"type": "no_batches"}
    assert result["reason"] == "no_items_to_process"


def test_the_worker_yields_at_its_checkpoints() -> None:
    results = work({"items_per_checkpoint": 25}, total=100)
    assert yields(results) == [(25, 325), (50, 1275), (75, 2850)]


def test_the_worker_tells_what_it_has_done() -> None:
    last = work({"items_per_checkpoint": 5}, total=10)[-1].result
    assert last is not None
    assert (last["items_processed"], last["items_succeeded"], last["last_cursor"]) == (10, 10, 10)
    assert last["batch_metadata"] == {
        "running_total": 55,
        "item_ids": [f"item_{cursor:04d}" for cursor in range(10)],
        "final_cursor": 10,
        "checkpoints_used": 2,
    }


@pytest.mark.parametrize(
    ("total", "per_checkpoint", "running_total", "checkpoints", "yielded"),
    [(100, 25, 5050, 4, 3), (50, 5, 1275, 10, 9), (10, 20, 55, 0, 0)],
)
def test_a_batch_with_checkpoints_adds_up(
    total: int, per_checkpoint: int, running_total: int, checkpoints: int, yielded: int
) -> None:
    results = work({"items_per_checkpoint": per_checkpoint}, total=total)
    assert len(yields(results)) == yielded
    assert aggregate(total, results[-1]) == {
        "total_processed": total,
        "running_total": running_total,
        "item_count": total,
        "checkpoints_used": checkpoints,
        "test_passed": True,
        "worker_count": 1,
        "scenario": "with_batches",
    }


def test_after_a_failure_the_worker_goes_on_from_its_checkpoint() -> None:
    inputs = {"items_per_checkpoint": 20, "fail_after_items": 50, "fail_on_attempt": 1}
    results = work(inputs, total=100, retries=1)
    assert yields(results) == [(20, 210), (40, 820), (60, 1830), (80, 3240)]
    failure = next(result for result in results if not result.is_success)
    assert failure.error_message == "Injected transient failure after 50 items"
    assert (failure.error_type, failure.retryable) == ("retryable_error", True)
    assert failure.metadata == {
        "items_processed": 50,
        "cursor_at_failure": 50,
        "failure_type": "transient",
    }
    assert aggregate(100, results[-1])["running_total"] == 5050


def test_a_permanent_failure_is_not_retried() -> None:
    inputs = {"items_per_checkpoint": 25, "fail_after_items": 30, "permanent_failure": True}
    results = work(inputs, total=100, retries=2)
    assert yields(results) == [(25, 325)]
    assert results[-1].error_message == "Injected permanent failure after 30 items"
    assert (results[-1].error_type, results[-1].retryable) == ("permanent_error", False)
    assert results[-1].metadata["failure_type"] == "permanent"


def test_a_failure_is_for_the_attempt_that_is_named() -> None:
    results = work({"fail_after_items": 0, "fail_on_attempt": 2}, total=10)
    assert [result.is_success for result in results] == [True]


def test_a_checkpoint_is_taken_before_a_failure_that_falls_on_it() -> None:
    results = work({"items_per_checkpoint": 25, "fail_after_items": 25}, total=50)
    assert yields(results) == [(25, 325)]
    assert results[-1].metadata["cursor_at_failure"] == 25


@pytest.mark.parametrize("accumulated", [None, {}])
def test_a_checkpoint_without_accumulated_results_can_be_gone_on_from(accumulated: Any) -> None:
    """A checkpoint whose accumulated results are null or empty broke the worker."""
    step = {
        "inputs": batch(10),
        "checkpoint": {
            "cursor": 8,
            "items_processed": 8,
            "accumulated_results": accumulated,
        },
    }
    result = CheckpointYieldWorkerHandler().call(context({}, step=step)).result
    assert result is not None
    assert result["batch_metadata"]["item_ids"] == ["item_0008", "item_0009"]


def test_a_failing_attempt_leaves_its_checkpoint_as_it_was() -> None:
    checkpoint = {
        "cursor": 2,
        "items_processed": 2,
        "accumulated_results": {"running_total": 3, "item_ids": ["item_0000", "item_0001"]},
    }
    kept = copy.deepcopy(checkpoint)
    step = {"inputs": batch(10), "checkpoint": checkpoint}
    CheckpointYieldWorkerHandler().call(context({"fail_after_items": 5}, step=step))
    assert checkpoint == kept


def test_the_checkpoint_interval_comes_from_the_settings_next() -> None:
    result = CheckpointYieldWorkerHandler().call(
        context({}, step={"inputs": batch(10)}, config={"items_per_checkpoint": 4})
    )
    assert yields([result]) == [(4, 10)]


def test_the_checkpoint_interval_is_twenty_five_last() -> None:
    result = CheckpointYieldWorkerHandler().call(context({}, step={"inputs": batch(30)}))
    assert yields([result]) == [(25, 325)]


def test_an_interval_of_nothing_is_one_item() -> None:
    results = work({"items_per_checkpoint": 0}, total=3)
    assert yields(results) == [(1, 1), (2, 3)]


def test_a_placeholder_has_nothing_to_do() -> None:
    inputs = {**batch(0), "is_no_op": True}
    result = CheckpointYieldWorkerHandler().call(context({}, step={"inputs": inputs})).result
    assert result is not None
    assert (result["no_op"], result["processed_count"]) == (True, 0)


def test_a_worker_without_a_batch_fails() -> None:
    result = CheckpointYieldWorkerHandler().call(context({}))
    assert result.error_message == "No batch inputs found - is this a batch worker step?"
    assert (result.error_type, result.retryable) == ("validation_error", False)


def test_without_batches_the_sums_are_zero() -> None:
    analyzed = CheckpointYieldAnalyzerHandler().call(context({"total_items": 0}))
    summed = CheckpointYieldAggregatorHandler().call(
        context({}, results={"analyze_items": {"result": analyzed.result}})
    )
    assert summed.result == {
        "worker_count": 0,
        "scenario": "no_batches",
        "total_processed": 0,
        "running_total": 0,
        "test_passed": True,
    }


def mocked(inputs: dict[str, Any], step: dict[str, Any]) -> MagicMock:
    """A context as programs mock it, with no more than the documents name."""
    made = MagicMock(input_data=inputs, step_config={}, step_inputs=step.get("inputs"))
    made.event.task_sequence_step = {"workflow_step": step}
    made.retry_count = 0
    return made


def test_the_analyzer_takes_a_context_that_is_a_mock() -> None:
    result = CheckpointYieldAnalyzerHandler().call(mocked({"total_items": 7}, {}))
    assert result.result is not None
    assert result.result["total_items"] == 7


def test_the_worker_takes_a_context_that_is_a_mock() -> None:
    stored = {
        "cursor": 4,
        "items_processed": 4,
        "accumulated_results": {"running_total": 10, "item_ids": ["a", "b", "c", "d"]},
    }
    step = {"inputs": batch(10), "checkpoint": stored}
    result = CheckpointYieldWorkerHandler().call(mocked({"items_per_checkpoint": 4}, step)).result
    assert result is not None
    assert (result["cursor"], result["accumulated_results"]["running_total"]) == (8, 36)
