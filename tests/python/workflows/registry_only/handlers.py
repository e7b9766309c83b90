"""Handlers that no template names: a row of three and a diamond (python-api-more §14.1)."""

from typing import Any

from tasker_core import StepContext, StepHandler, StepHandlerResult


class FetchDataHandler(StepHandler):
    """Fetch three items."""

    handler_name = "fetch_data"
    handler_version = "1.0.0"

    def call(self, context: StepContext) -> StepHandlerResult:
        """Return the items of the source that the input names."""
        return self.success(
            {
                "source": context.get_input_or("source", "default"),
                "items": [{"id": n, "value": f"item_{n}"} for n in range(1, 4)],
                "fetch_timestamp": "2025-01-01T00:00:00Z",
            }
        )


class TransformDataHandler(StepHandler):
    """Write the items' values in capitals."""

    handler_name = "transform_data"
    handler_version = "1.0.0"

    def call(self, context: StepContext) -> StepHandlerResult:
        """Return the changed items."""
        items = context.get_dependency_field("fetch_data", "items")
        if not items:
            return self.failure("No items to transform", "validation_error", retryable=False)
        changed = [
            {"id": item.get("id"), "value": str(item.get("value", "")).upper(), "processed": True}
            for item in items
        ]
        return self.success({"transformed_items": changed, "transform_count": len(changed)})


class StoreDataHandler(StepHandler):
    """Store the changed items."""

    handler_name = "store_data"
    handler_version = "1.0.0"

    def call(self, context: StepContext) -> StepHandlerResult:
        """Return what was stored."""
        items = context.get_dependency_field("transform_data", "transformed_items")
        if not items:
            return self.failure("No items to store", "validation_error", retryable=False)
        return self.success(
            {
                "stored_count": len(items),
                "stored_ids": [item["id"] for item in items if item.get("id")],
                "storage_location": "database",
                "store_timestamp": "2025-01-01T00:00:01Z",
            }
        )


class DiamondInitHandler(StepHandler):
    """Take the number to begin with."""

    handler_name = "diamond_init"
    handler_version = "1.0.0"

    def call(self, context: StepContext) -> StepHandlerResult:
        """Return the number."""
        return self.success(
            {
                "initialized": True,
                "value": context.get_input_or("initial_value", 100),
                "metadata": {"workflow": "diamond", "init_timestamp": "2025-01-01T00:00:00Z"},
            }
        )


class DiamondPathAHandler(StepHandler):
    """Double the number."""

    handler_name = "diamond_path_a"
    handler_version = "1.0.0"

    def call(self, context: StepContext) -> StepHandlerResult:
        """Return the double."""
        value = _raw(context, "diamond_init").get("value", 0)
        return self.success(
            {"path_a_result": value * 2, "operation": "multiply_by_2", "input_value": value}
        )


class DiamondPathBHandler(StepHandler):
    """Add 50."""

    handler_name = "diamond_path_b"
    handler_version = "1.0.0"

    def call(self, context: StepContext) -> StepHandlerResult:
        """Return the sum."""
        value = _raw(context, "diamond_init").get("value", 0)
        return self.success(
            {"path_b_result": value + 50, "operation": "add_50", "input_value": value}
        )


class DiamondMergeHandler(StepHandler):
    """Add the ends of both paths."""

    handler_name = "diamond_merge"
    handler_version = "1.0.0"

    def call(self, context: StepContext) -> StepHandlerResult:
        """Return the sum, once there is one."""
        a, b = _raw(context, "diamond_path_a"), _raw(context, "diamond_path_b")
        merged = merge(a, b)
        if merged is None:
            return self.failure(
                "Missing results from both paths", "dependency_error", retryable=True
            )
        return self.success(merged)


def merge(a: dict[str, Any], b: dict[str, Any]) -> dict[str, Any] | None:
    """Return the result of both paths, ``None`` if neither has left anything."""
    left, right = a.get("path_a_result", 0), b.get("path_b_result", 0)
    if left == 0 and right == 0:
        return None
    return {
        "merged_result": left + right,
        "path_a_value": left,
        "path_b_value": right,
        "merge_summary": {
            "total": left + right,
            "path_a_operation": a.get("operation", "unknown"),
            "path_b_operation": b.get("operation", "unknown"),
        },
    }


def _raw(context: StepContext, step: str) -> dict[str, Any]:
    """Return what a step left without unwrapping it, as these handlers expect it."""
    raw: dict[str, Any] = context.dependency_results.get(step) or {}
    return raw
