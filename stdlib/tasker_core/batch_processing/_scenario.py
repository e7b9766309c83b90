"""What an aggregator finds among the results of the steps before it."""

from dataclasses import dataclass
from typing import Any

from tasker_core.logging import log_warn
from tasker_core.models import DependencyResultsWrapper

__all__ = ["BatchAggregationScenario"]


@dataclass
class BatchAggregationScenario:
    """Whether there were batches, and what their workers returned.

    >>> scenario = BatchAggregationScenario.detect(
    ...     {
    ...         "analyze": {"result": {"batch_processing_outcome": {"type": "create_batches"}}},
    ...         "process_001": {"result": {"items_processed": 7}},
    ...     },
    ...     "analyze",
    ...     "process_",
    ... )
    >>> scenario.no_batches(), scenario.worker_count
    (False, 1)
    >>> scenario.batch_results
    {'process_001': {'items_processed': 7}}
    """

    is_no_batches: bool
    """Whether the analyzer asked for no batches."""

    batchable_result: dict[str, Any]
    """What the analyzer returned."""

    batch_results: dict[str, dict[str, Any]]
    """What each worker returned, by the name of its step."""

    worker_count: int
    """How many workers there were."""

    def no_batches(self) -> bool:
        """Return whether the analyzer asked for no batches."""
        return self.is_no_batches

    @classmethod
    def detect(
        cls,
        dependency_results: dict[str, Any],
        batchable_step_name: str,
        batch_worker_prefix: str,
    ) -> "BatchAggregationScenario":
        """Return what the results tell; they may be wrapped as steps store them.

        Every step whose name starts with ``batch_worker_prefix`` counts as a
        worker, so the prefix should fit nothing else (``process_``, with the
        template step's whole name, rather than ``proc``).

        Raises:
            ValueError: the analyzer has no result, or it wanted batches and
                no worker is found.
        """
        results = DependencyResultsWrapper.from_dict(dependency_results)
        analyzer_result = results.get_results(batchable_step_name)
        if analyzer_result is None:
            raise ValueError(f"Missing batchable step dependency: {batchable_step_name}")
        batchable_result = _dict_or_empty(analyzer_result)
        outcome = batchable_result.get("batch_processing_outcome")
        if isinstance(outcome, dict) and outcome.get("type") == "no_batches":
            return cls(
                is_no_batches=True,
                batchable_result=batchable_result,
                batch_results={},
                worker_count=0,
            )
        batch_results = {
            name: _dict_or_empty(results.get_results(name))
            for name in results
            if name.startswith(batch_worker_prefix)
        }
        if not batch_results:
            raise ValueError(
                f"No batch workers found with prefix '{batch_worker_prefix}' and batchable step "
                f"'{batchable_step_name}' did not return NoBatches outcome. "
                "This indicates a workflow configuration error."
            )
        if batchable_step_name in batch_results:
            log_warn(
                f"Batch worker prefix {batch_worker_prefix!r} also fits the batchable step "
                f"{batchable_step_name!r}, which is counted as a worker; use a longer prefix"
            )
        return cls(
            is_no_batches=False,
            batchable_result=batchable_result,
            batch_results=batch_results,
            worker_count=len(batch_results),
        )


def _dict_or_empty(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
