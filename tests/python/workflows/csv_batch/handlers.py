"""Cut a product file into batches and add up what the stock is worth: as classes."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tasker_core import StepContext, StepHandler, StepHandlerResult
from tasker_core.batch_processing import Batchable

_MODULE = "batch_processing.step_handlers"


def rows_of(path: str) -> Iterator[dict[str, str]]:
    """Return the rows of a file after its header."""
    with Path(path).open(newline="", encoding="utf-8") as file:
        yield from csv.DictReader(file)


class CsvAnalyzerHandler(StepHandler, Batchable):
    """Count the rows and cut them into batches."""

    handler_name = f"{_MODULE}.CsvAnalyzerHandler"
    handler_version = "1.0.0"

    DEFAULT_BATCH_SIZE = 200
    DEFAULT_MAX_WORKERS = 5

    def call(self, context: StepContext) -> StepHandlerResult:
        """Ask for one worker per batch, or for none if there is nothing to do."""
        path = context.get_input("csv_file_path")
        if not path:
            return self.failure(
                "csv_file_path is required", error_type="validation_error", retryable=False
            )
        if not Path(path).is_file():
            return self._nothing("File not found", path, file_exists=False)
        try:
            total = sum(1 for _ in rows_of(path))
        except (OSError, UnicodeDecodeError, csv.Error) as exc:
            return self.failure(
                f"Failed to read CSV file: {exc}", error_type="file_error", retryable=True
            )
        if total == 0:
            return self._nothing("No data rows", path, file_exists=True)
        batch_size = context.step_config.get("batch_size", self.DEFAULT_BATCH_SIZE)
        return self.batch_analyzer_success(
            cursor_configs=self.create_cursor_ranges(
                total,
                batch_size,
                max_batches=context.step_config.get("max_workers", self.DEFAULT_MAX_WORKERS),
            ),
            total_items=total,
            worker_template_name="process_csv_batch_py",
            batch_metadata={
                "csv_file_path": path,
                "batch_size": batch_size,
                "analysis_mode": context.get_input_or("analysis_mode", "default"),
            },
        )

    def _nothing(self, reason: str, path: str, *, file_exists: bool) -> StepHandlerResult:
        return self.no_batches_outcome(
            reason, metadata={"csv_file_path": path, "file_exists": file_exists}
        )


class CsvBatchProcessorHandler(StepHandler, Batchable):
    """Add up the stock of one batch."""

    handler_name = f"{_MODULE}.CsvBatchProcessorHandler"
    handler_version = "1.0.0"

    ANALYZER_STEP = "analyze_csv_py"

    def call(self, context: StepContext) -> StepHandlerResult:
        """Return what the stock of each row is worth, and the rows that cannot be read."""
        if context.step_inputs.get("is_no_op"):
            return self.batch_worker_success(
                items_processed=0, last_cursor=0, metadata={"no_op": True}
            )
        analyzed = context.get_dependency_result(self.ANALYZER_STEP)
        if not isinstance(analyzed, dict):
            return self.failure(
                f"Missing {self.ANALYZER_STEP} result", error_type="dependency_error"
            )
        path = (analyzed.get("batch_metadata") or {}).get("csv_file_path")
        if not path:
            return self.failure(
                "csv_file_path not found in batch metadata",
                error_type="dependency_error",
                retryable=False,
            )
        cursor = context.step_inputs.get("cursor") or {}
        try:
            return self._process(path, cursor)
        except Exception as exc:
            return self.failure(f"Batch processing failed: {exc}", error_type="processing_error")

    def _process(self, path: str, cursor: dict[str, Any]) -> StepHandlerResult:
        start, end = cursor["start_cursor"], cursor["end_cursor"]
        items: list[dict[str, Any]] = []
        errors: list[dict[str, Any]] = []
        for number, row in enumerate(rows_of(path), start=1):
            if number > end:
                break
            if number <= start:
                continue
            try:
                items.append(_item(number, row))
            except (KeyError, TypeError, ValueError) as exc:
                errors.append({"row_number": number, "error": str(exc)})
        return self.batch_worker_success(
            items_processed=len(items) + len(errors),
            items_succeeded=len(items),
            items_failed=len(errors),
            results=items,
            errors=errors,
            last_cursor=end,
            metadata={"batch_id": cursor.get("batch_id"), "batch_index": 0},
        )


def _item(number: int, row: dict[str, str]) -> dict[str, Any]:
    price, stock = float(row["price"]), int(row["stock"])
    return {
        "row_number": number,
        "product_id": row["id"],
        "inventory_value": price * stock,
        "price": price,
        "stock": stock,
    }


class CsvResultsAggregatorHandler(StepHandler, Batchable):
    """Add up the batches."""

    handler_name = f"{_MODULE}.CsvResultsAggregatorHandler"
    handler_version = "1.0.0"

    WORKER_PREFIX = "process_csv_batch_"

    def call(self, context: StepContext) -> StepHandlerResult:
        """Return how much was processed and what it is worth."""
        batches: list[dict[str, Any] | None] = [
            result
            for result in context.get_all_dependency_results(self.WORKER_PREFIX)
            if isinstance(result, dict)
        ]
        sums = self.aggregate_worker_results(batches)
        value = sum(
            item["inventory_value"]
            for batch in batches
            if batch is not None
            for item in batch.get("results", [])
        )
        return self.success(
            {
                "total_processed": sums["total_processed"],
                "total_succeeded": sums["total_succeeded"],
                "total_failed": sums["total_failed"],
                "worker_count": sums["batch_count"],
                "total_inventory_value": value,
                "result": {
                    "total_processed": sums["total_processed"],
                    "total_inventory_value": value,
                    "worker_count": sums["batch_count"],
                },
            }
        )
