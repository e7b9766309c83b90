"""One long batch that hands back its progress on the way."""

from typing import Any

import pytest
from tasker_core.handler import HandlerRegistry
from tasker_core.testing import StepRun

from tests.python.workflows.batch_runs import Workflow, run_batches, workers_of

CLASSES, FUNCTIONS = "", "_dsl_py"
TEMPLATES = {CLASSES: "checkpoint_yield_test", FUNCTIONS: "checkpoint_yield_test_dsl"}


@pytest.fixture(params=[CLASSES, FUNCTIONS])
def suffix(request: pytest.FixtureRequest) -> str:
    """Of the steps: handlers as classes, or with decorators."""
    return str(request.param)


@pytest.fixture
def workflow(handler_registry: HandlerRegistry, suffix: str) -> Workflow:
    return Workflow(handler_registry, "checkpoint_yield", TEMPLATES[suffix])


def run_all(workflow: Workflow, suffix: str, input_data: dict[str, Any]) -> Any:
    steps = f"analyze_items{suffix}", f"aggregate_results{suffix}"
    return run_batches(workflow, *steps, input_data)[steps[1]]


class Worker:
    """The worker step of a task, dispatched as often as it takes."""

    def __init__(self, workflow: Workflow, suffix: str, input_data: dict[str, Any]) -> None:
        self.workflow = workflow
        self.input_data = input_data
        analyzer = f"analyze_items{suffix}"
        analyzed = workflow.run(analyzer, input_data=input_data).assert_success()
        workers = workers_of(workflow, analyzer, analyzed)
        ((self.name, (self.template, self.inputs)),) = workers.items()
        self.checkpoint: dict[str, Any] | None = None

    def attempt(self, number: int) -> tuple[list[tuple[int, int]], StepRun]:
        """Run one attempt; return its yields as cursor and running total, and its end."""
        yields: list[tuple[int, int]] = []
        while True:
            run = self.workflow.run(
                self.template,
                input_data=self.input_data,
                step_inputs=self.inputs,
                retry_count=number - 1,
                checkpoint=self.checkpoint,
            )
            if run.checkpoint is None:
                return yields, run
            self.checkpoint = run.checkpoint
            gathered = run.checkpoint["accumulated_results"]
            yields.append((run.checkpoint["cursor"], gathered["running_total"]))


def aggregate(processed: int, total: int, items: int, checkpoints: int) -> dict[str, Any]:
    return {
        "total_processed": processed,
        "running_total": total,
        "item_count": items,
        "checkpoints_used": checkpoints,
        "test_passed": True,
        "worker_count": 1,
        "scenario": "with_batches",
    }


def test_the_template_names_the_steps_and_types_of_the_workflow(
    workflow: Workflow, suffix: str
) -> None:
    assert {name: step["type"] for name, step in workflow.steps.items()} == {
        f"analyze_items{suffix}": "batchable",
        f"checkpoint_yield_batch{suffix}": "batch_worker",
        f"aggregate_results{suffix}": "deferred_convergence",
    }
    assert workflow.template["namespace_name"] == "python_e2e_checkpoint_yield"


def test_all_items_are_one_batch(workflow: Workflow, suffix: str) -> None:
    analyzed = workflow.run(f"analyze_items{suffix}", input_data={}).assert_success()
    outcome = analyzed["batch_processing_outcome"]
    assert outcome["worker_template_name"] == f"checkpoint_yield_batch{suffix}"
    assert outcome["cursor_configs"] == [
        {"batch_id": "001", "start_cursor": 0, "end_cursor": 100, "batch_size": 100}
    ]
    assert analyzed["batch_metadata"] == {"test_type": "checkpoint_yield", "items_per_batch": 100}


@pytest.mark.parametrize(
    ("input_data", "expected"),
    [
        ({"total_items": 100, "items_per_checkpoint": 25}, aggregate(100, 5050, 100, 4)),
        ({"total_items": 50, "items_per_checkpoint": 5}, aggregate(50, 1275, 50, 10)),
        ({"total_items": 10, "items_per_checkpoint": 20}, aggregate(10, 55, 10, 0)),
        ({}, aggregate(100, 5050, 100, 4)),
    ],
)
def test_checkpoints_change_nothing_about_the_sum(
    workflow: Workflow, suffix: str, input_data: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert run_all(workflow, suffix, input_data) == expected


@pytest.mark.parametrize(
    ("total", "per_checkpoint", "expected"),
    [
        (100, 25, [(25, 325), (50, 1275), (75, 2850)]),
        (50, 5, [(n * 5, n * 5 * (n * 5 + 1) // 2) for n in range(1, 10)]),
        (10, 20, []),
    ],
)
def test_a_worker_yields_while_items_remain(
    workflow: Workflow,
    suffix: str,
    total: int,
    per_checkpoint: int,
    expected: list[tuple[int, int]],
) -> None:
    worker = Worker(
        workflow, suffix, {"total_items": total, "items_per_checkpoint": per_checkpoint}
    )
    yields, run = worker.attempt(1)
    assert yields == expected
    assert run.assert_success()["batch_metadata"]["final_cursor"] == total


def test_a_worker_tells_the_items_it_has_processed(workflow: Workflow, suffix: str) -> None:
    worker = Worker(workflow, suffix, {"total_items": 3, "items_per_checkpoint": 2})
    _, run = worker.attempt(1)
    assert run.assert_success() == {
        "items_processed": 3,
        "items_succeeded": 3,
        "items_failed": 0,
        "items_skipped": 0,
        "last_cursor": 3,
        "batch_metadata": {
            "running_total": 6,
            "item_ids": ["item_0000", "item_0001", "item_0002"],
            "final_cursor": 3,
            "checkpoints_used": 1,
        },
    }


def test_a_retry_goes_on_at_the_last_checkpoint(workflow: Workflow, suffix: str) -> None:
    worker = Worker(
        workflow,
        suffix,
        {"total_items": 100, "items_per_checkpoint": 20, "fail_after_items": 50},
    )
    yields, failed = worker.attempt(1)
    assert yields == [(20, 210), (40, 820)]
    failed.assert_failure("retryable_error", retryable=True)
    assert failed.error_message == "Injected transient failure after 50 items"
    assert failed.metadata["custom"] == {
        "items_processed": 50,
        "cursor_at_failure": 50,
        "failure_type": "transient",
    }

    yields, run = worker.attempt(2)
    assert yields == [(60, 1830), (80, 3240)]
    batch = run.assert_success()["batch_metadata"]
    assert (batch["running_total"], len(batch["item_ids"])) == (5050, 100)
    assert batch["checkpoints_used"] == 5


def test_a_permanent_failure_is_worth_no_retry(workflow: Workflow, suffix: str) -> None:
    worker = Worker(
        workflow,
        suffix,
        {"total_items": 100, "fail_after_items": 30, "permanent_failure": True},
    )
    yields, failed = worker.attempt(1)
    assert yields == [(25, 325)]
    failed.assert_failure("permanent_error", retryable=False)
    assert failed.error_message == "Injected permanent failure after 30 items"
    assert failed.metadata["custom"]["failure_type"] == "permanent"


def test_a_failure_waits_for_its_attempt(workflow: Workflow, suffix: str) -> None:
    worker = Worker(
        workflow, suffix, {"total_items": 10, "fail_after_items": 5, "fail_on_attempt": 2}
    )
    _, run = worker.attempt(1)
    run.assert_success()


def test_fix_a_checkpoint_without_what_was_gathered_does_not_break_the_worker(
    workflow: Workflow, suffix: str
) -> None:
    worker = Worker(workflow, suffix, {"total_items": 4})
    worker.checkpoint = {"cursor": 2, "items_processed": 2, "accumulated_results": None}
    _, run = worker.attempt(1)
    assert run.assert_success()["batch_metadata"]["running_total"] == 3 + 4


@pytest.mark.parametrize(
    ("suffix", "reason"), [(CLASSES, "no_items_to_process"), (FUNCTIONS, "empty_dataset")]
)
@pytest.mark.parametrize("total", [0, -1])
def test_no_items_are_no_batches(workflow: Workflow, suffix: str, reason: str, total: int) -> None:
    analyzed = workflow.run(f"analyze_items{suffix}", input_data={"total_items": total})
    assert analyzed.assert_success()["reason"] == reason
    assert run_all(workflow, suffix, {"total_items": total, "items_per_checkpoint": 10}) == {
        "worker_count": 0,
        "scenario": "no_batches",
        "total_processed": 0,
        "running_total": 0,
        "test_passed": True,
    }


@pytest.mark.parametrize(
    ("suffix", "message"),
    [
        (CLASSES, "No batch inputs found - is this a batch worker step?"),
        (FUNCTIONS, "No batch inputs found"),
    ],
)
def test_a_worker_needs_a_batch(workflow: Workflow, suffix: str, message: str) -> None:
    run = workflow.run(f"checkpoint_yield_batch{suffix}")
    run.assert_failure("validation_error", retryable=False)
    assert run.error_message == message
