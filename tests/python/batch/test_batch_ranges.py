"""How an analyzer cuts work into ranges."""

from typing import Any

import pytest
from tasker_core import batch_processing
from tasker_core.batch_processing import BatchWorkerConfig, batchable
from tasker_core.types import CursorConfig


def spans(configs: list[CursorConfig]) -> list[tuple[int, int]]:
    return [(config.start_cursor, config.end_cursor) for config in configs]


@pytest.mark.parametrize("module", [batch_processing, batchable])
def test_both_modules_offer_the_three_public_names(module: Any) -> None:
    assert set(module.__all__) == {"Batchable", "BatchWorkerConfig", "BatchAggregationScenario"}
    assert all(getattr(module, name) is getattr(batch_processing, name) for name in module.__all__)


def test_a_cursor_config_has_the_given_bounds_and_a_step_of_one(bare: Any) -> None:
    config = bare.create_cursor_config(10, 20)
    assert config == CursorConfig(start_cursor=10, end_cursor=20, step_size=1, metadata={})


def test_a_cursor_config_takes_step_size_and_metadata(bare: Any) -> None:
    config = bare.create_cursor_config(0, 9, 3, {"region": "eu"})
    assert (config.step_size, config.metadata) == (3, {"region": "eu"})


def test_a_cursor_config_may_run_backwards(bare: Any) -> None:
    assert spans([bare.create_cursor_config(9, 3)]) == [(9, 3)]


@pytest.mark.parametrize(
    ("total", "size", "most", "expected"),
    [
        (250, 100, None, [(0, 100), (100, 200), (200, 250)]),
        (200, 100, None, [(0, 100), (100, 200)]),
        (5, 100, None, [(0, 5)]),
        (500, 100, 10, [(0, 100), (100, 200), (200, 300), (300, 400), (400, 500)]),
        (10000, 100, 10, [(n * 1000, (n + 1) * 1000) for n in range(10)]),
        (1000000, 1000, 50, [(n * 20000, (n + 1) * 20000) for n in range(50)]),
        (10, 1, 7, [(0, 2), (2, 4), (4, 6), (6, 8), (8, 10)]),
    ],
)
def test_ranges_cover_all_items_without_gaps(
    bare: Any, total: int, size: int, most: int | None, expected: list[tuple[int, int]]
) -> None:
    assert spans(bare.create_cursor_ranges(total, size, max_batches=most)) == expected


@pytest.mark.parametrize("most", [0, -1, None])
def test_a_limit_that_is_not_positive_is_no_limit(bare: Any, most: int | None) -> None:
    assert len(bare.create_cursor_ranges(100, 1, max_batches=most)) == 100


def test_ranges_carry_the_step_size_and_no_metadata(bare: Any) -> None:
    ranges = bare.create_cursor_ranges(20, 10, 5)
    assert [(config.step_size, config.metadata) for config in ranges] == [(5, {}), (5, {})]


def test_no_items_give_no_ranges_whatever_the_batch_size(bare: Any) -> None:
    assert bare.create_cursor_ranges(0, 0) == []


def test_a_total_that_came_as_a_float_is_cut_too(bare: Any) -> None:
    assert spans(bare.create_cursor_ranges(10.0, 4)) == [(0, 4), (4, 8), (8, 10)]


def test_a_negative_total_gives_no_ranges(bare: Any) -> None:
    assert bare.create_cursor_ranges(-5, 10) == []


@pytest.mark.parametrize(("total", "size"), [(1, 0), (1, -1), (-1, 0)])
def test_a_batch_size_that_is_not_positive_is_refused(bare: Any, total: int, size: int) -> None:
    with pytest.raises(ValueError, match=r"^batch_size must be > 0$"):
        bare.create_cursor_ranges(total, size)


@pytest.mark.parametrize(
    ("total", "workers", "expected"),
    [
        (1000, 3, [334, 334, 332]),
        (900, 3, [300, 300, 300]),
        (5, 4, [2, 2, 1]),
        (3, 10, [1, 1, 1]),
    ],
)
def test_items_are_shared_out_evenly(
    bare: Any, total: int, workers: int, expected: list[int]
) -> None:
    assert [c.row_count for c in bare.create_cursor_configs(total, workers)] == expected


def test_shares_are_contiguous(bare: Any) -> None:
    configs = bare.create_cursor_configs(1000, 3)
    assert [(c.cursor_start, c.cursor_end) for c in configs] == [(0, 334), (334, 668), (668, 1000)]


def test_shares_are_numbered_from_one_in_their_ids_and_from_zero_in_their_index(
    bare: Any,
) -> None:
    configs = bare.create_cursor_configs(20, 2)
    assert [(c.batch_id, c.worker_index) for c in configs] == [("001", 0), ("002", 1)]


def test_a_number_of_items_may_be_a_float(bare: Any) -> None:
    shares = [share.to_dict() for share in bare.create_cursor_configs(1000.0, 3)]
    assert shares == [share.to_dict() for share in bare.create_cursor_configs(1000, 3)]


def test_shares_tell_the_number_of_workers_asked_for(bare: Any) -> None:
    assert {c.total_workers for c in bare.create_cursor_configs(3, 10)} == {10}


@pytest.mark.parametrize("total", [0, -3])
def test_without_items_there_are_no_shares(bare: Any, total: int) -> None:
    assert bare.create_cursor_configs(total, 3) == []


@pytest.mark.parametrize("workers", [0, -1])
def test_a_worker_count_that_is_not_positive_is_refused_before_items_are_counted(
    bare: Any, workers: int
) -> None:
    with pytest.raises(ValueError, match=r"^worker_count must be > 0$"):
        bare.create_cursor_configs(0, workers)


def test_a_worker_config_is_made_positionally_or_by_keyword() -> None:
    given = {
        "batch_id": "001",
        "cursor_start": 0,
        "cursor_end": 5,
        "row_count": 5,
        "worker_index": 0,
        "total_workers": 2,
    }
    made = BatchWorkerConfig(*given.values()), BatchWorkerConfig(**given)  # type: ignore[arg-type]
    assert [config.to_dict() for config in made] == [given, given]


def test_worker_configs_are_equal_only_to_themselves() -> None:
    one, other = (BatchWorkerConfig("001", 0, 5, 5, 0, 2) for _ in range(2))
    assert one != other
    assert [one, other].index(other) == 1


@pytest.mark.parametrize("missing", range(6))
def test_a_worker_config_needs_every_value(missing: int) -> None:
    with pytest.raises(TypeError):
        BatchWorkerConfig(*["001", 0, 5, 5, 0, 2][:missing])  # type: ignore[arg-type]


def test_an_outcome_has_ranges_total_and_metadata(bare: Any) -> None:
    outcome = bare.create_batch_outcome(100, 25, 5, {"source": "s3"})
    assert spans(outcome.cursor_configs) == [(0, 25), (25, 50), (50, 75), (75, 100)]
    assert {config.step_size for config in outcome.cursor_configs} == {5}
    assert (outcome.total_items, outcome.batch_metadata) == (100, {"source": "s3"})


def test_an_outcome_without_metadata_has_an_empty_one(bare: Any) -> None:
    assert bare.create_batch_outcome(1, 1).batch_metadata == {}


def test_an_outcome_from_ranges_takes_them_as_they_are(bare: Any) -> None:
    outcome = bare.create_batch_outcome_from_ranges([(0, 10), (50, 60)], 2, 20, {"a": 1})
    assert spans(outcome.cursor_configs) == [(0, 10), (50, 60)]
    assert {config.step_size for config in outcome.cursor_configs} == {2}
    assert (outcome.total_items, outcome.batch_metadata) == (20, {"a": 1})


def test_an_outcome_from_ranges_does_not_guess_the_total(bare: Any) -> None:
    assert bare.create_batch_outcome_from_ranges([(0, 10)]).total_items is None
