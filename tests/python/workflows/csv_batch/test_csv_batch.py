"""A product file in five batches."""

from pathlib import Path
from typing import Any

import pytest
from tasker_core.handler import HandlerRegistry

from tests.python.workflows.batch_runs import Workflow, run_batches, worker_inputs

HERE = Path(__file__).parent
PRODUCTS = str(HERE / "products.csv")
EMPTY = str(HERE / "products_empty.csv")
CLASSES, FUNCTIONS = "_py", "_dsl_py"


@pytest.fixture(params=[CLASSES, FUNCTIONS])
def suffix(request: pytest.FixtureRequest) -> str:
    """Of the template and its steps: handlers as classes, or with decorators."""
    return str(request.param)


@pytest.fixture
def workflow(handler_registry: HandlerRegistry, suffix: str) -> Workflow:
    return Workflow(handler_registry, "csv_batch", f"csv_product_inventory_analyzer{suffix}")


def run_all(workflow: Workflow, suffix: str, path: str) -> dict[str, Any]:
    return run_batches(
        workflow,
        f"analyze_csv{suffix}",
        f"aggregate_csv_results{suffix}",
        {"csv_file_path": path, "_test_run_id": "1"},
    )


def work(workflow: Workflow, suffix: str, start: int, end: int, path: str) -> Any:
    step = f"process_csv_batch{suffix}"
    cursor = {
        "batch_id": "001",
        "start_cursor": start,
        "end_cursor": end,
        "batch_size": end - start,
    }
    return workflow.run(
        step,
        step_inputs=worker_inputs(workflow.steps[step], cursor),
        dependency_results={f"analyze_csv{suffix}": {"batch_metadata": {"csv_file_path": path}}},
    )


def test_the_template_names_the_steps_and_types_of_the_workflow(
    workflow: Workflow, suffix: str
) -> None:
    assert {name: step["type"] for name, step in workflow.steps.items()} == {
        f"analyze_csv{suffix}": "batchable",
        f"process_csv_batch{suffix}": "batch_worker",
        f"aggregate_csv_results{suffix}": "deferred_convergence",
    }
    assert workflow.template["namespace_name"] == f"csv_processing{suffix}"


def test_a_thousand_rows_make_five_batches(workflow: Workflow, suffix: str) -> None:
    analyzed = workflow.run(
        f"analyze_csv{suffix}", input_data={"csv_file_path": PRODUCTS}
    ).assert_success()
    outcome = analyzed["batch_processing_outcome"]
    assert outcome["worker_template_name"] == f"process_csv_batch{suffix}"
    assert [
        (cursor["batch_id"], cursor["start_cursor"], cursor["end_cursor"])
        for cursor in outcome["cursor_configs"]
    ] == [
        ("001", 0, 200),
        ("002", 200, 400),
        ("003", 400, 600),
        ("004", 600, 800),
        ("005", 800, 1000),
    ]
    assert (analyzed["worker_count"], analyzed["total_items"]) == (5, 1000)
    assert analyzed["batch_metadata"] == {
        "csv_file_path": PRODUCTS,
        "batch_size": 200,
        "analysis_mode": "default",
    }


def test_all_batches_together_are_the_whole_stock(workflow: Workflow, suffix: str) -> None:
    results = run_all(workflow, suffix, PRODUCTS)
    aggregate = results[f"aggregate_csv_results{suffix}"]
    value = aggregate.pop("total_inventory_value")
    assert value == aggregate["result"].pop("total_inventory_value")
    assert value == pytest.approx(35588047.00)
    assert aggregate == {
        "total_processed": 1000,
        "total_succeeded": 1000,
        "total_failed": 0,
        "worker_count": 5,
        "result": {"total_processed": 1000, "worker_count": 5},
    }
    assert len(results) == 7


def test_each_batch_has_two_hundred_rows_of_the_same_worth(workflow: Workflow, suffix: str) -> None:
    results = run_all(workflow, suffix, PRODUCTS)
    for number in range(1, 6):
        batch = results[f"process_csv_batch{suffix}_00{number}"]
        assert (batch["items_processed"], batch["last_cursor"]) == (200, number * 200)
        worth = sum(item["inventory_value"] for item in batch["results"])
        assert worth == pytest.approx(7117609.40)


def test_a_batch_tells_the_worth_of_each_row(workflow: Workflow, suffix: str) -> None:
    items = work(workflow, suffix, 0, 200, PRODUCTS).assert_success()["results"]
    assert items[0] == {
        "row_number": 1,
        "product_id": "1",
        "inventory_value": pytest.approx(989.01),
        "price": 9.99,
        "stock": 99,
    }
    assert items[99]["inventory_value"] == pytest.approx(8709.33)


def test_a_batch_begins_after_its_start_and_ends_with_its_end(
    workflow: Workflow, suffix: str
) -> None:
    items = work(workflow, suffix, 200, 203, PRODUCTS).assert_success()["results"]
    assert [item["row_number"] for item in items] == [201, 202, 203]


def test_a_row_that_cannot_be_read_is_told_and_passed_over(
    workflow: Workflow, suffix: str, tmp_path: Path
) -> None:
    file = tmp_path / "odd.csv"
    file.write_text("id,price,stock\n1,2.50,4\n2,cheap,4\n3,1.00\n", encoding="utf-8")
    batch = work(workflow, suffix, 0, 3, str(file)).assert_success()
    assert (batch["items_processed"], batch["items_succeeded"], batch["items_failed"]) == (3, 1, 2)
    assert [error["row_number"] for error in batch["errors"]] == [2, 3]


def test_a_record_may_take_more_than_one_line(
    workflow: Workflow, suffix: str, tmp_path: Path
) -> None:
    file = tmp_path / "lines.csv"
    file.write_text('id,description,price,stock\n1,"two\nlines",2.50,4\n', encoding="utf-8")
    analyzed = workflow.run(f"analyze_csv{suffix}", input_data={"csv_file_path": str(file)})
    assert analyzed.assert_success()["total_items"] == 1


def test_a_batch_needs_the_result_of_the_analyzer(workflow: Workflow, suffix: str) -> None:
    run = workflow.run(f"process_csv_batch{suffix}", step_inputs={"is_no_op": False})
    run.assert_failure("dependency_error", retryable=True)
    assert run.error_message == f"Missing analyze_csv{suffix} result"


def test_a_batch_needs_the_file_of_the_analyzer(workflow: Workflow, suffix: str) -> None:
    run = workflow.run(
        f"process_csv_batch{suffix}",
        step_inputs={"is_no_op": False},
        dependency_results={f"analyze_csv{suffix}": {"worker_count": 1}},
    )
    run.assert_failure("dependency_error", retryable=False)
    assert run.error_message == "csv_file_path not found in batch metadata"


def test_a_batch_whose_file_is_gone_may_be_tried_again(
    workflow: Workflow, suffix: str, tmp_path: Path
) -> None:
    run = work(workflow, suffix, 0, 1, str(tmp_path / "gone.csv"))
    run.assert_failure("processing_error", retryable=True)
    assert str(run.error_message).startswith("Batch processing failed: ")


def test_a_placeholder_worker_processes_nothing(workflow: Workflow, suffix: str) -> None:
    run = workflow.run(f"process_csv_batch{suffix}", step_inputs={"is_no_op": True})
    assert run.assert_success() == {
        "items_processed": 0,
        "items_succeeded": 0,
        "items_failed": 0,
        "items_skipped": 0,
        "last_cursor": 0,
        "batch_metadata": {},
    }
    assert run.metadata["custom"]["no_op"] is True


def test_a_file_must_be_named(workflow: Workflow, suffix: str) -> None:
    run = workflow.run(f"analyze_csv{suffix}", input_data={})
    run.assert_failure("validation_error", retryable=False)
    assert run.error_message == "csv_file_path is required"


def test_more_rows_than_workers_can_take_make_larger_batches(
    workflow: Workflow, suffix: str, tmp_path: Path
) -> None:
    file = tmp_path / "long.csv"
    file.write_text("id\n" + "1\n" * 1501, encoding="utf-8")
    analyzed = workflow.run(f"analyze_csv{suffix}", input_data={"csv_file_path": str(file)})
    cursors = analyzed.assert_success()["batch_processing_outcome"]["cursor_configs"]
    assert [cursor["batch_size"] for cursor in cursors] == [301, 301, 301, 301, 297]


@pytest.mark.parametrize("suffix", [FUNCTIONS])
def test_few_rows_are_shared_evenly_by_the_function(
    workflow: Workflow, suffix: str, tmp_path: Path
) -> None:
    file = tmp_path / "few.csv"
    file.write_text("id\n" + "1\n" * 250, encoding="utf-8")
    analyzed = workflow.run(f"analyze_csv{suffix}", input_data={"csv_file_path": str(file)})
    cursors = analyzed.assert_success()["batch_processing_outcome"]["cursor_configs"]
    assert [cursor["batch_size"] for cursor in cursors] == [125, 125]


@pytest.mark.parametrize("suffix", [CLASSES])
@pytest.mark.parametrize(
    ("path", "reason", "exists"),
    [("/no/such/file.csv", "File not found", False), (EMPTY, "No data rows", True)],
)
def test_without_rows_the_class_ends_the_task(
    workflow: Workflow, suffix: str, path: str, reason: str, exists: bool
) -> None:
    assert run_all(workflow, suffix, path) == {
        f"analyze_csv{suffix}": {
            "batch_processing_outcome": {"type": "no_batches"},
            "reason": reason,
            "csv_file_path": path,
            "file_exists": exists,
        }
    }


@pytest.mark.parametrize("suffix", [FUNCTIONS])
@pytest.mark.parametrize("path", ["/no/such/file.csv", EMPTY])
def test_without_rows_the_function_leaves_one_placeholder_worker(
    workflow: Workflow, suffix: str, path: str
) -> None:
    results = run_all(workflow, suffix, path)
    assert results[f"analyze_csv{suffix}"]["reason"] == "empty_dataset"
    assert list(results)[1:] == [f"process_csv_batch{suffix}_000", f"aggregate_csv_results{suffix}"]
    assert results[f"aggregate_csv_results{suffix}"]["total_processed"] == 0


@pytest.mark.parametrize("suffix", [CLASSES])
def test_a_file_that_cannot_be_read_may_be_tried_again(
    workflow: Workflow, suffix: str, tmp_path: Path
) -> None:
    file = tmp_path / "binary.csv"
    file.write_bytes(b"id,price\n\xff\xfe,1\n")
    run = workflow.run(f"analyze_csv{suffix}", input_data={"csv_file_path": str(file)})
    run.assert_failure("file_error", retryable=True)
    assert str(run.error_message).startswith("Failed to read CSV file: ")
