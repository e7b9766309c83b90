"""What an aggregator finds and returns."""

from typing import Any

import pytest
from tasker_core.batch_processing import BatchAggregationScenario
from tasker_core.types import aggregate_batch_results

CREATED = {"batch_processing_outcome": {"type": "create_batches"}, "worker_count": 2}
NOTHING = {"batch_processing_outcome": {"type": "no_batches"}, "reason": "empty_dataset"}


def detect(results: dict[str, Any]) -> BatchAggregationScenario:
    return BatchAggregationScenario.detect(results, "analyze", "process_")


def stored(result: Any) -> dict[str, Any]:
    return {"result": result, "error": None, "metadata": {}}


@pytest.mark.parametrize("wrap", [stored, dict])
def test_workers_are_found_by_their_prefix(wrap: Any) -> None:
    scenario = detect(
        {
            "analyze": wrap(CREATED),
            "process_001": wrap({"n": 1}),
            "other": wrap({"n": 9}),
            "process_002": wrap({"n": 2}),
        }
    )
    assert scenario == BatchAggregationScenario(
        False, CREATED, {"process_001": {"n": 1}, "process_002": {"n": 2}}, 2
    )
    assert list(scenario.batch_results) == ["process_001", "process_002"]
    assert scenario.no_batches() is False


@pytest.mark.parametrize("wrap", [stored, dict])
def test_an_analyzer_without_batches_is_found(wrap: Any) -> None:
    scenario = detect({"analyze": wrap(NOTHING), "process_000": wrap({"no_op": True})})
    assert scenario == BatchAggregationScenario(
        is_no_batches=True, batchable_result=NOTHING, batch_results={}, worker_count=0
    )
    assert scenario.no_batches() is True


@pytest.mark.parametrize("results", [{}, {"analyze": None}, {"analyze": {"result": None}}])
def test_an_analyzer_without_result_is_an_error(results: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"^Missing batchable step dependency: analyze$"):
        detect(results)


def test_no_workers_after_an_analyzer_that_wanted_some_is_an_error() -> None:
    with pytest.raises(ValueError) as refusal:
        detect({"analyze": stored(CREATED)})
    assert str(refusal.value) == (
        "No batch workers found with prefix 'process_' and batchable step 'analyze' did not "
        "return NoBatches outcome. This indicates a workflow configuration error."
    )


@pytest.mark.parametrize("outcome", ["no_batches", None, ["no_batches"], {"kind": "no_batches"}])
def test_only_an_object_of_type_no_batches_means_no_batches(outcome: Any) -> None:
    scenario = detect({"analyze": {"batch_processing_outcome": outcome}, "process_001": {"n": 1}})
    assert scenario.is_no_batches is False


def test_an_analyzer_result_that_is_no_object_counts_as_empty() -> None:
    assert detect({"analyze": "done", "process_001": {}}).batchable_result == {}


@pytest.mark.parametrize("result", [None, 3, [1], {"result": None}])
def test_a_worker_result_that_is_no_object_counts_as_empty(result: Any) -> None:
    scenario = detect({"analyze": CREATED, "process_001": result})
    assert (scenario.batch_results, scenario.worker_count) == ({"process_001": {}}, 1)


def test_an_analyzer_that_fits_the_prefix_is_counted_as_a_worker() -> None:
    scenario = BatchAggregationScenario.detect(
        {"batch_analyze": CREATED, "batch_001": {"n": 1}}, "batch_analyze", "batch_"
    )
    assert list(scenario.batch_results) == ["batch_analyze", "batch_001"]


def test_fix_a_prefix_that_fits_the_analyzer_is_warned_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    BatchAggregationScenario.detect(
        {"batch_analyze": CREATED, "batch_001": {"n": 1}}, "batch_analyze", "batch_"
    )
    assert "also fits the batchable step 'batch_analyze'" in caplog.text


def test_a_prefix_that_fits_workers_only_is_not_warned_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    detect({"analyze": CREATED, "process_001": {"n": 1}})
    assert caplog.text == ""


def test_a_scenario_needs_every_value_and_can_be_changed() -> None:
    with pytest.raises(TypeError):
        BatchAggregationScenario(True, {}, {})  # type: ignore[call-arg]
    scenario = BatchAggregationScenario(True, {}, {}, 0)
    scenario.worker_count = 3
    assert scenario.worker_count == 3


def test_the_mixin_detects_the_same_scenario(bare: Any) -> None:
    results = {"analyze": CREATED, "process_001": {"n": 1}}
    assert bare.detect_aggregation_scenario(results, "analyze", "process_") == detect(results)


def test_the_sum_of_no_batches_tells_so(handler: Any) -> None:
    result = handler.no_batches_aggregation_result()
    assert result.is_success
    assert result.result == {"worker_count": 0, "scenario": "no_batches"}


def test_zero_metrics_may_override_the_sum_of_no_batches(handler: Any) -> None:
    zero = {"total": 0, "scenario": "nothing", "worker_count": -1}
    assert handler.no_batches_aggregation_result(zero).result == zero


def test_aggregation_without_batches_gives_the_zero_metrics(handler: Any) -> None:
    scenario = BatchAggregationScenario(True, NOTHING, {}, 0)
    result = handler.aggregate_batch_worker_results(
        scenario, {"total": 0}, lambda results: {"total": 1 // 0}
    )
    assert result.result == {"worker_count": 0, "scenario": "no_batches", "total": 0}


def test_aggregation_calls_the_function_with_the_results_by_step(handler: Any) -> None:
    scenario = BatchAggregationScenario(False, CREATED, {"p_1": {"n": 1}, "p_2": {"n": 2}}, 2)
    result = handler.aggregate_batch_worker_results(
        scenario, {"total": 0}, lambda results: {"total": sum(r["n"] for r in results.values())}
    )
    assert result.is_success
    assert result.result == {"total": 3, "worker_count": 2, "scenario": "with_batches"}


def test_the_count_of_workers_wins_over_that_of_the_function(handler: Any) -> None:
    scenario = BatchAggregationScenario(False, CREATED, {"p_1": {}}, 1)
    result = handler.aggregate_batch_worker_results(
        scenario, aggregation_fn=lambda results: {"worker_count": 9, "scenario": "mine"}
    )
    assert result.result == {"worker_count": 1, "scenario": "with_batches"}


def test_aggregation_without_function_hands_the_results_on(handler: Any) -> None:
    scenario = BatchAggregationScenario(False, CREATED, {"p_1": {"n": 1}}, 1)
    assert handler.aggregate_batch_worker_results(scenario).result == {
        "batch_results": {"p_1": {"n": 1}},
        "worker_count": 1,
        "scenario": "with_batches",
    }


def test_the_static_helper_sums_up(bare: Any) -> None:
    sums = bare.aggregate_worker_results(
        [
            {"items_processed": 6, "items_succeeded": 5, "items_failed": 1, "errors": [{"r": 1}]},
            {"items_processed": 2, "items_succeeded": 1, "items_skipped": 1, "errors": None},
        ]
    )
    assert sums == {
        "total_processed": 8,
        "total_succeeded": 6,
        "total_failed": 1,
        "total_skipped": 1,
        "batch_count": 2,
        "success_rate": 0.75,
        "errors": [{"r": 1}],
        "error_count": 1,
    }


def test_the_static_helper_sums_up_nothing(bare: Any) -> None:
    sums = bare.aggregate_worker_results([])
    assert (sums["total_processed"], sums["batch_count"], sums["success_rate"]) == (0, 0, 0.0)


def test_the_static_helper_keeps_a_hundred_errors_and_counts_all(bare: Any) -> None:
    sums = bare.aggregate_worker_results([{"errors": [{"r": n} for n in range(150)]}])
    assert sums["errors"] == [{"r": n} for n in range(100)]
    assert sums["error_count"] == 150


def test_the_two_helpers_count_workers_without_result_differently(bare: Any) -> None:
    results = [{"items_processed": 1}, None]
    assert bare.aggregate_worker_results(results)["batch_count"] == 2
    assert aggregate_batch_results(results).batch_count == 1
