"""Handlers that a registry finds and no template names (python-api-more §14.1, §14.15)."""

from typing import Any

import pytest
from tasker_core import FfiStepEvent, HandlerRegistry, StepContext, StepHandlerResult
from tasker_core.handler import StepHandler
from tasker_core.testing import run_step

from tests.python.workflows.registry_only import dsl_handlers, handlers


@pytest.fixture
def registry() -> HandlerRegistry:
    registry = HandlerRegistry()
    for module in (handlers, dsl_handlers):
        registry._scan_module_for_handlers(module, StepHandler)
    return registry


def call(
    registry: HandlerRegistry, name: str, task: dict[str, Any], results: dict[str, Any]
) -> StepHandlerResult:
    """Call a handler with results exactly as given."""
    event = FfiStepEvent(
        event_id="e",
        task_uuid="00000000-0000-0000-0000-000000000001",
        step_uuid="00000000-0000-0000-0000-000000000002",
        correlation_id="00000000-0000-0000-0000-000000000003",
        task_sequence_step={"task": task, "dependency_results": results},
    )
    handler = registry.resolve(name)
    assert handler is not None
    result: StepHandlerResult = handler.call(StepContext.from_ffi_event(event, name))
    return result


def test_the_registry_has_them_all(registry: HandlerRegistry) -> None:
    assert set(registry.list_handlers()) == {
        *("fetch_data", "transform_data", "store_data"),
        *("diamond_init", "diamond_path_a", "diamond_path_b", "diamond_merge"),
        *("diamond_init_dsl", "diamond_path_a_dsl", "diamond_path_b_dsl", "diamond_merge_dsl"),
    }


@pytest.mark.parametrize("task", [{"context": {"source": "s"}}, {"task": {"context": {}}}])
@pytest.mark.parametrize("wrapped", [True, False])
def test_the_row_stores_what_it_has_fetched(
    registry: HandlerRegistry, task: dict[str, Any], wrapped: bool
) -> None:
    def left(result: StepHandlerResult) -> Any:
        return {"result": result.result} if wrapped else result.result

    fetched = call(registry, "fetch_data", task, {})
    assert fetched.result == {
        "source": "s" if "context" in task else "default",
        "items": [{"id": n, "value": f"item_{n}"} for n in (1, 2, 3)],
        "fetch_timestamp": "2025-01-01T00:00:00Z",
    }
    transformed = call(registry, "transform_data", task, {"fetch_data": left(fetched)})
    assert transformed.result == {
        "transformed_items": [
            {"id": n, "value": f"ITEM_{n}", "processed": True} for n in (1, 2, 3)
        ],
        "transform_count": 3,
    }
    stored = call(registry, "store_data", task, {"transform_data": left(transformed)})
    assert stored.result == {
        "stored_count": 3,
        "stored_ids": [1, 2, 3],
        "storage_location": "database",
        "store_timestamp": "2025-01-01T00:00:01Z",
    }


@pytest.mark.parametrize(
    ("handler", "before", "message"),
    [
        (handlers.TransformDataHandler, {"fetch_data": {"items": []}}, "No items to transform"),
        (handlers.TransformDataHandler, {}, "No items to transform"),
        (handlers.StoreDataHandler, {}, "No items to store"),
    ],
)
def test_without_items_there_is_nothing_to_do(
    handler: Any, before: dict[str, Any], message: str
) -> None:
    run = run_step(handler, dependency_results=before)
    run.assert_failure("validation_error", retryable=False)
    assert run.error_message == message


@pytest.mark.parametrize(("given", "value"), [({}, 100), ({"initial_value": 7}, 7)])
@pytest.mark.parametrize("suffix", ["", "_dsl"])
def test_the_diamond_adds_both_paths(
    registry: HandlerRegistry, given: dict[str, Any], value: int, suffix: str
) -> None:
    """The functions are given wrapped results, the classes bare ones."""

    def left(result: StepHandlerResult) -> Any:
        return {"result": result.result} if suffix else result.result

    task = {"task": {"context": given}}
    init = call(registry, f"diamond_init{suffix}", task, {})
    assert init.result == {
        "initialized": True,
        "value": value,
        "metadata": {"workflow": "diamond", "init_timestamp": "2025-01-01T00:00:00Z"},
    }
    before = {"diamond_init": left(init)}
    a = call(registry, f"diamond_path_a{suffix}", task, before)
    assert a.result == {
        "path_a_result": value * 2,
        "operation": "multiply_by_2",
        "input_value": value,
    }
    b = call(registry, f"diamond_path_b{suffix}", task, before)
    assert b.result == {
        "path_b_result": value + 50,
        "operation": "add_50",
        "input_value": value,
    }
    both = {"diamond_path_a": left(a), "diamond_path_b": left(b)}
    assert call(registry, f"diamond_merge{suffix}", task, both).result == {
        "merged_result": value * 3 + 50,
        "path_a_value": value * 2,
        "path_b_value": value + 50,
        "merge_summary": {
            "total": value * 3 + 50,
            "path_a_operation": "multiply_by_2",
            "path_b_operation": "add_50",
        },
    }


@pytest.mark.parametrize("name", ["diamond_merge", "diamond_merge_dsl"])
def test_the_diamond_waits_for_its_paths(registry: HandlerRegistry, name: str) -> None:
    result = call(registry, name, {}, {})
    assert (result.error_message, result.error_type, result.retryable) == (
        "Missing results from both paths",
        "dependency_error",
        True,
    )


def test_a_path_without_a_name_for_what_it_did_is_unknown(registry: HandlerRegistry) -> None:
    result = call(registry, "diamond_merge", {}, {"diamond_path_a": {"path_a_result": 2}})
    assert result.result is not None
    assert result.result["merge_summary"] == {
        "total": 2,
        "path_a_operation": "unknown",
        "path_b_operation": "unknown",
    }
