"""Cut a product file into batches and add up what the stock is worth: with a decorator.

Only the analyzer is a function; what works on batches are classes here too.
"""

import csv
from pathlib import Path

from tasker_core import StepContext, StepHandlerResult
from tasker_core.step_handler import BatchConfig, batch_analyzer, inputs

from . import handlers

_MODULE = "batch_processing_dsl_py.step_handlers"


@batch_analyzer(f"{_MODULE}.csv_analyzer", worker_template="process_csv_batch_dsl_py")
@inputs("csv_file_path", "analysis_mode")
def csv_analyzer(
    csv_file_path: str | None, analysis_mode: str | None, context: StepContext
) -> BatchConfig | StepHandlerResult:
    """Count the rows and cut them evenly among the workers."""
    if not csv_file_path:
        return StepHandlerResult.failure(
            "csv_file_path is required", "validation_error", retryable=False
        )
    batch_size = context.step_config.get("batch_size", 200)
    try:
        rows = sum(1 for _ in handlers.rows_of(csv_file_path)) if _exists(csv_file_path) else 0
    except (OSError, UnicodeDecodeError, csv.Error):
        rows = 0
    if rows == 0:
        return BatchConfig(total_items=0, batch_size=batch_size)
    workers = min(-(-rows // batch_size), context.step_config.get("max_workers", 5))
    return BatchConfig(
        total_items=rows,
        batch_size=-(-rows // workers),
        metadata={
            "csv_file_path": csv_file_path,
            "batch_size": batch_size,
            "analysis_mode": analysis_mode or "default",
        },
    )


def _exists(path: str) -> bool:
    return Path(path).is_file()


class CsvBatchProcessorDslHandler(handlers.CsvBatchProcessorHandler):
    """Add up the stock of one batch."""

    handler_name = f"{_MODULE}.csv_batch_processor"

    ANALYZER_STEP = "analyze_csv_dsl_py"


class CsvResultsAggregatorDslHandler(handlers.CsvResultsAggregatorHandler):
    """Add up the batches."""

    handler_name = f"{_MODULE}.csv_results_aggregator"

    WORKER_PREFIX = "process_csv_batch_dsl_py_"
