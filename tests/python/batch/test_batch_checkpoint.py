"""What a worker returns to be run again from where it is."""

from typing import Any

import pytest


def test_a_yield_tells_cursor_and_count(bare: Any) -> None:
    result = bare.checkpoint_yield(cursor=500, items_processed=500)
    assert result.is_success
    assert result.result == {"type": "checkpoint_yield", "cursor": 500, "items_processed": 500}
    assert result.metadata == {"checkpoint_yield": True, "batch_worker": True}


@pytest.mark.parametrize(
    "cursor",
    [0, -1, "", "página_2_日本", {}, {"shard": {"id": 3, "keys": ["a", "ü"]}}, [1, 2]],
)
def test_a_yield_keeps_the_cursor_as_it_is(bare: Any, cursor: Any) -> None:
    assert bare.checkpoint_yield(cursor, 1).result["cursor"] == cursor


@pytest.mark.parametrize("count", [0, 10_000_000_000])
def test_a_yield_takes_any_count(bare: Any, count: int) -> None:
    assert bare.checkpoint_yield(1, count).result["items_processed"] == count


@pytest.mark.parametrize("gathered", [{}, {"total": 3}, [1], 0, ""])
def test_a_yield_carries_what_was_gathered(bare: Any, gathered: Any) -> None:
    result = bare.checkpoint_yield(1, 1, accumulated_results=gathered).result
    assert result["accumulated_results"] == gathered


def test_a_yield_of_a_handler_is_the_same(handler: Any, bare: Any) -> None:
    assert handler.checkpoint_yield(1, 2, {"a": 3}) == bare.checkpoint_yield(1, 2, {"a": 3})


def test_a_yield_may_have_no_cursor(bare: Any) -> None:
    assert bare.checkpoint_yield(None, 1).result["cursor"] is None


def test_fix_a_yield_without_cursor_is_warned_of(
    bare: Any, caplog: pytest.LogCaptureFixture
) -> None:
    bare.checkpoint_yield(None, 1)
    assert "checkpoint_yield: cursor is None" in caplog.text


def test_a_yield_with_a_cursor_warns_of_nothing(
    bare: Any, caplog: pytest.LogCaptureFixture
) -> None:
    bare.checkpoint_yield(0, 1)
    assert caplog.text == ""
