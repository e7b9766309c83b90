"""Batches: ranges, outcomes, aggregation, checkpoints."""

from __future__ import annotations

from typing import Any

from tasker_core import (
    Batchable,
    BatchAggregationScenario,
    BatchAnalyzerOutcome,
    BatchWorkerOutcome,
    CursorConfig,
    StepContext,
    StepHandler,
    StepHandlerResult,
)
from tasker_core import types as t

from tests.python.reference import sample
from tests.python.reference.recording import Recording

seen = Recording()


class Batches(StepHandler, Batchable):
    handler_name = "batches"

    def call(self, context: StepContext) -> StepHandlerResult:
        return self.success({})


handler = Batches()


def config(each: Any) -> Any:
    return {**each.to_dict(), "class": type(each).__name__}


for total, size, limit in (
    (0, 10, None),
    (0, 0, None),
    (-1, 10, None),
    (10, 0, None),
    (10, -1, None),
    (1, 10, None),
    (250, 100, None),
    (10000, 100, 10),
    (1000000, 1000, 50),
    (500, 100, 10),
    (10, 1, 7),
    (10, 3, 0),
    (10, 3, -1),
):
    seen.call(
        f"ranges of {total} by {size} at most {limit}",
        handler.create_cursor_ranges,
        total,
        size,
        max_batches=limit,
    )
for total, count in ((0, 3), (0, 0), (-5, 2), (10, 0), (3, 10), (1000, 3), (900, 3), (5, 4)):
    seen.call(
        f"configs of {total} for {count}",
        lambda total=total, count=count: [
            config(each) for each in handler.create_cursor_configs(total, count)
        ],
    )
seen.call("cursor config", handler.create_cursor_config, 1, 2, 3, {"a": 1})
seen.call("cursor config backwards", handler.create_cursor_config, 5, 2)

outcomes: dict[str, Any] = {
    "empty": handler.create_batch_outcome(0, 10),
    "three": handler.create_batch_outcome(25, 10, 2, {"source": "s"}),
    "ranges": handler.create_batch_outcome_from_ranges([(0, 5), (5, 9)], 2, 9, {"a": 1}),
    "ranges without total": handler.create_batch_outcome_from_ranges([(0, 5)]),
    "none": None,
}
for name, outcome in outcomes.items():
    seen.note(f"outcome {name}", outcome)
    for template in (None, "process_batch"):
        arguments: dict[str, Any] = {} if template is None else {"worker_template_name": template}
        seen.call(
            f"analyzer {name} for {template}",
            handler.batch_analyzer_success,
            outcome,
            {"kept": 1},
            **arguments,
        )
seen.call(
    "analyzer of configs",
    handler.batch_analyzer_success,
    worker_template_name="w",
    cursor_configs=handler.create_cursor_configs(10, 3),
    total_items=10,
    batch_metadata={"a": 1},
)
seen.call(
    "analyzer of cursors",
    handler.batch_analyzer_success,
    BatchAnalyzerOutcome(cursor_configs=[CursorConfig(start_cursor=0, end_cursor=3)]),
)
seen.call("no batches", handler.no_batches_outcome, "nothing there", {"kept": 1})
seen.call("no batches alone", handler.no_batches_outcome, "nothing there")

workers: dict[str, Any] = {
    "plain": handler.create_worker_outcome(10),
    "counted": handler.create_worker_outcome(10, 7, 2, 1, [{"r": 1}], [{"e": 1}], 10, {"b": 1}),
    "none right": handler.create_worker_outcome(10, 0, 10),
}
for name, outcome in workers.items():
    seen.note(f"worker outcome {name}", outcome)
    seen.call(f"worker success {name}", handler.batch_worker_success, outcome, {"kept": 1})
    seen.call(f"worker partial {name}", handler.batch_worker_partial_failure, outcome)
    seen.call(
        f"worker partial {name} told",
        handler.batch_worker_partial_failure,
        outcome,
        "some failed",
        {"kept": 1},
    )
seen.call("worker success by counts", handler.batch_worker_success, items_processed=5)
seen.call(
    "worker success by all counts",
    handler.batch_worker_success,
    items_processed=5,
    items_succeeded=3,
    items_failed=1,
    items_skipped=1,
    results=[{"r": 1}],
    errors=[{"e": 1}],
    last_cursor=5,
    batch_metadata={"b": 1},
)
seen.call("worker success of nothing", handler.batch_worker_success)
yields: list[tuple[Any, ...]] = [(5, 5), (5, 5, {"sum": 3}), ("abc", 2, {}), ({"page": 2}, 0)]
for arguments_of in [*yields, (None, 0)]:
    seen.call(f"yield {arguments_of}", handler.checkpoint_yield, *arguments_of)

inputs: dict[str, Any] = {
    "none": None,
    "empty": {},
    "whole": {
        "cursor": {"batch_id": "001", "start_cursor": 0, "end_cursor": 10, "batch_size": 10},
        "batch_metadata": {"cursor_field": "id", "failure_strategy": "continue_on_failure"},
        "is_no_op": False,
    },
    "no-op": {
        "cursor": {"batch_id": "no_op", "start_cursor": 0, "end_cursor": 0, "batch_size": 0},
        "batch_metadata": {"cursor_field": "id", "failure_strategy": "fail_fast"},
        "is_no_op": True,
        "unknown": 1,
    },
    "another spelling": {
        "cursor": {"batch_id": "001", "start_cursor": 0, "end_cursor": 10, "batch_size": 10},
        "batch_metadata": {"cursor_field": "id", "failure_strategy": "FailFast"},
        "is_no_op": False,
    },
    "texts": {
        "cursor": {"batch_id": "1", "start_cursor": "a", "end_cursor": "b", "batch_size": 2},
        "batch_metadata": {"cursor_field": "id", "failure_strategy": "isolate"},
        "is_no_op": False,
    },
}
for name, given in inputs.items():
    context = sample.context(sample.payload(workflow_step={"inputs": given}))
    seen.call(f"inputs {name}", handler.get_batch_worker_inputs, context)
    seen.call(f"no-op of {name}", handler.handle_no_op_worker, context)
    seen.call(f"batch context of {name}", handler.get_batch_context, context)
cursor = CursorConfig(start_cursor=0, end_cursor=5)
context_made = handler.create_batch_context(cursor, 2, 4, {"a": 1})
seen.note("batch context made", context_made)
seen.note(
    "batch context answers",
    [
        context_made.start_cursor,
        context_made.end_cursor,
        context_made.step_size,
        context_made.checkpoint_cursor,
        context_made.accumulated_results,
        context_made.checkpoint_items_processed,
        context_made.has_checkpoint(),
    ],
)

worker = {"items_processed": 3, "items_succeeded": 2, "items_failed": 1, "errors": [{"e": 1}]}
cases: dict[str, dict[str, Any]] = {
    "workers": {
        "analyze": {"result": {"batch_processing_outcome": {"type": "create_batches"}}},
        "batch_001": {"result": worker},
        "batch_002": worker,
        "other": {"result": {}},
    },
    "no batches": {"analyze": {"batch_processing_outcome": {"type": "no_batches"}}},
    "no batches as text": {"analyze": {"batch_processing_outcome": "no_batches"}},
    "missing": {"batch_001": worker},
    "null": {"analyze": {"result": None}},
    "no workers": {"analyze": {"result": {}}},
    "odd workers": {"analyze": "text", "batch_001": {"result": [1]}, "batch_002": None},
}
for name, dependencies in cases.items():
    scenario = seen.call(
        f"scenario {name}", handler.detect_aggregation_scenario, dependencies, "analyze", "batch_"
    )
    if isinstance(scenario, BatchAggregationScenario):
        seen.note(f"scenario {name}: no batches", scenario.no_batches())
        seen.call(
            f"aggregate {name}", handler.aggregate_batch_worker_results, scenario, {"total": 0}
        )
        seen.call(
            f"aggregate {name} by function",
            handler.aggregate_batch_worker_results,
            scenario,
            {"total": 0},
            lambda results: {"names": sorted(results)},
        )
        seen.call(f"aggregate {name} bare", handler.aggregate_batch_worker_results, scenario)
seen.call("aggregate nothing", handler.no_batches_aggregation_result)
seen.call("aggregate nothing with zeros", handler.no_batches_aggregation_result, {"total": 0})
lists: dict[str, Any] = {
    "two": [worker, worker],
    "nulls": [None, worker],
    "none": [],
    "odd": [{"errors": "x"}, {}],
    "many errors": [{"items_processed": 1, "errors": [{"n": n} for n in range(150)]}],
}
for name, given in lists.items():
    seen.call(f"aggregate list {name}", handler.aggregate_worker_results, given)
    seen.call(f"types aggregate {name}", t.aggregate_batch_results, given)
    seen.call(f"types aggregate {name} at most 1", t.aggregate_batch_results, given, 1)

part = t.RustCursorConfig(batch_id="1", start_cursor=0, end_cursor=1, batch_size=1)
seen.call("create batches", t.create_batches, "w", 1, [part], 1)
seen.call("create batches of a wrong count", t.create_batches, "w", 2, [part], 1)
seen.call("no batches type", t.no_batches)
seen.note("worker outcome defaults", BatchWorkerOutcome())
seen.call("worker outcome of text", BatchWorkerOutcome.model_validate, {"items_processed": "x"})

seen.write()
