"""Three extracts, three transforms, one report, as classes and as functions."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tasker_core.testing import StepRun, run_step, run_task

from tests.python.workflows.data_pipeline import dsl_handlers, handlers

HERE = Path(__file__).parent

CLASSES = SimpleNamespace(
    suffix="",
    module=handlers,
    template="analytics_pipeline_py.yaml",
    permanent="PermanentError",
    transform_sales=handlers.TransformSalesHandler,
    transform_inventory=handlers.TransformInventoryHandler,
    transform_customers=handlers.TransformCustomersHandler,
    aggregate_metrics=handlers.AggregateMetricsHandler,
    generate_insights=handlers.GenerateInsightsHandler,
)
FUNCTIONS = SimpleNamespace(
    suffix="_dsl_py",
    module=dsl_handlers,
    template="analytics_pipeline_dsl_py.yaml",
    permanent="permanent_error",
    transform_sales=dsl_handlers.transform_sales,
    transform_inventory=dsl_handlers.transform_inventory,
    transform_customers=dsl_handlers.transform_customers,
    aggregate_metrics=dsl_handlers.aggregate_metrics,
    generate_insights=dsl_handlers.generate_insights,
)
METRICS = {
    "total_revenue": 3199.73,
    "total_inventory_quantity": 575,
    "total_customers": 5,
    "total_customer_lifetime_value": 30500.0,
    "sales_transactions": 5,
    "inventory_reorder_alerts": 0,
    "revenue_per_customer": 639.95,
    "inventory_turnover_indicator": 5.5647,
    "aggregation_complete": True,
    "sources_included": 3,
}


@pytest.fixture(params=[CLASSES, FUNCTIONS], ids=["classes", "functions"])
def family(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def results(family: Any) -> dict[str, Any]:
    """What the steps of a whole pipeline return, by their names without suffix."""
    task = run_task(HERE / family.template, handlers=family.module)
    return {
        step.removesuffix(family.suffix): result for step, result in task.assert_complete().items()
    }


def run(family: Any, step: str, results: dict[str, Any] | None = None) -> StepRun:
    return run_step(
        getattr(family, step),
        dependency_results={
            f"{name}{family.suffix}": result for name, result in (results or {}).items()
        },
    )


def report(family: Any, **changes: Any) -> Any:
    metrics = {**METRICS, **changes}
    return run(family, "generate_insights", {"aggregate_metrics": metrics}).assert_success()


def without(result: dict[str, Any], *names: str) -> dict[str, Any]:
    assert set(names) <= set(result)
    return {name: value for name, value in result.items() if name not in names}


def test_eight_steps_complete(results: dict[str, Any]) -> None:
    assert list(results) == [
        "extract_sales_data",
        "extract_inventory_data",
        "extract_customer_data",
        "transform_sales",
        "transform_inventory",
        "transform_customers",
        "aggregate_metrics",
        "generate_insights",
    ]


def test_sales_are_extracted(results: dict[str, Any]) -> None:
    sales = results["extract_sales_data"]
    assert sales["records"][0] == {
        "order_id": "ORD-001",
        "date": "2025-11-01",
        "product_id": "PROD-A",
        "quantity": 5,
        "amount": 499.95,
    }
    assert len(sales["records"]) == 5
    assert without(sales, "records", "extracted_at") == {
        "source": "SalesDatabase",
        "total_amount": 3199.73,
        "date_range": {"start_date": "2025-11-01", "end_date": "2025-11-18"},
    }


def test_inventory_is_extracted(results: dict[str, Any]) -> None:
    inventory = results["extract_inventory_data"]
    assert inventory["records"][4] == {
        "product_id": "PROD-B",
        "sku": "SKU-B-002",
        "warehouse": "WH-03",
        "quantity_on_hand": 50,
        "reorder_point": 25,
    }
    assert without(inventory, "records", "extracted_at") == {
        "source": "InventorySystem",
        "total_quantity": 575,
        "warehouses": ["WH-01", "WH-02", "WH-03"],
        "products_tracked": 3,
    }


def test_customers_are_extracted(results: dict[str, Any]) -> None:
    customers = results["extract_customer_data"]
    assert customers["records"][2] == {
        "customer_id": "CUST-003",
        "name": "Carol White",
        "tier": "premium",
        "lifetime_value": 15000.0,
        "join_date": "2023-11-10",
    }
    assert without(customers, "records", "extracted_at") == {
        "source": "CRMSystem",
        "total_customers": 5,
        "total_lifetime_value": 30500.0,
        "tier_breakdown": {"gold": 2, "silver": 1, "premium": 1, "standard": 1},
        "avg_lifetime_value": 6100.0,
    }


def test_sales_are_summed_up(results: dict[str, Any]) -> None:
    sales = results["transform_sales"]
    assert sales["daily_sales"]["2025-11-15"] == {
        "total_amount": 1499.9,
        "order_count": 1,
        "avg_order_value": 1499.9,
    }
    assert len(sales["daily_sales"]) == 5
    assert sales["product_sales"] == {
        "PROD-A": {"total_quantity": 7, "total_revenue": 699.93, "order_count": 2},
        "PROD-B": {"total_quantity": 10, "total_revenue": 999.9, "order_count": 2},
        "PROD-C": {"total_quantity": 10, "total_revenue": 1499.9, "order_count": 1},
    }
    assert without(sales, "daily_sales", "product_sales") == {
        "record_count": 5,
        "total_revenue": 3199.73,
        "transformation_type": "sales_analytics",
        "source": "extract_sales_data",
    }


def test_inventory_is_summed_up(results: dict[str, Any]) -> None:
    assert results["transform_inventory"] == {
        "record_count": 5,
        "warehouse_summary": {
            "WH-01": {"total_quantity": 225, "product_count": 2, "reorder_alerts": 0},
            "WH-02": {"total_quantity": 300, "product_count": 2, "reorder_alerts": 0},
            "WH-03": {"total_quantity": 50, "product_count": 1, "reorder_alerts": 0},
        },
        "product_inventory": {
            "PROD-A": {"total_quantity": 250, "warehouse_count": 2, "needs_reorder": False},
            "PROD-B": {"total_quantity": 125, "warehouse_count": 2, "needs_reorder": False},
            "PROD-C": {"total_quantity": 200, "warehouse_count": 1, "needs_reorder": False},
        },
        "total_quantity_on_hand": 575,
        "reorder_alerts": 0,
        "transformation_type": "inventory_analytics",
        "source": "extract_inventory_data",
    }


def test_low_stock_alerts(family: Any) -> None:
    places = [
        {"product_id": "P", "warehouse": "W1", "quantity_on_hand": 5, "reorder_point": 5},
        {"product_id": "P", "warehouse": "W2", "quantity_on_hand": 6, "reorder_point": 7},
    ]
    inventory = run(
        family, "transform_inventory", {"extract_inventory_data": {"records": places}}
    ).assert_success()
    assert inventory["reorder_alerts"] == 2
    assert inventory["product_inventory"]["P"]["needs_reorder"] is True


def test_customers_are_summed_up(results: dict[str, Any]) -> None:
    def tier(count: int, total: float, average: float) -> dict[str, Any]:
        return {
            "customer_count": count,
            "total_lifetime_value": total,
            "avg_lifetime_value": average,
        }

    assert results["transform_customers"] == {
        "record_count": 5,
        "tier_analysis": {
            "gold": tier(2, 12500, 6250),
            "silver": tier(1, 2500, 2500),
            "premium": tier(1, 15000, 15000),
            "standard": tier(1, 500, 500),
        },
        "value_segments": {"high_value": 1, "medium_value": 3, "low_value": 1},
        "total_lifetime_value": 30500.0,
        "avg_customer_value": 6100.0,
        "transformation_type": "customer_analytics",
        "source": "extract_customer_data",
    }


def test_the_figures_stand_side_by_side(results: dict[str, Any]) -> None:
    assert results["aggregate_metrics"] == METRICS


def test_the_report_tells_what_they_mean(results: dict[str, Any]) -> None:
    assert without(results["generate_insights"], "generated_at") == {
        "insights": [
            {
                "category": "Revenue",
                "finding": "Total revenue of $3199.73 with 5 customers",
                "metric": 639.95,
                "recommendation": "Customer spend is healthy",
            },
            {
                "category": "Inventory",
                "finding": "All products above reorder points",
                "metric": 0,
                "recommendation": "Inventory levels are healthy",
            },
            {
                "category": "Customer Value",
                "finding": "Average customer lifetime value: $6100.00",
                "metric": 6100.0,
                "recommendation": "Focus on retention programs",
            },
        ],
        "health_score": {"score": 100, "max_score": 100, "rating": "Excellent"},
        "total_metrics_analyzed": 10,
        "pipeline_complete": True,
    }


def test_without_revenue_there_is_nothing_to_say_about_it(family: Any) -> None:
    told = report(family, total_revenue=0, revenue_per_customer=0)
    assert [insight["category"] for insight in told["insights"]] == [
        "Inventory",
        "Customer Value",
    ]


def test_low_figures_bring_other_advice(family: Any) -> None:
    told = report(
        family,
        revenue_per_customer=499.99,
        inventory_reorder_alerts=2,
        total_customer_lifetime_value=15000,
    )
    assert [insight["recommendation"] for insight in told["insights"]] == [
        "Consider upselling strategies",
        "Review reorder points and place purchase orders",
        "Increase customer engagement",
    ]
    assert told["insights"][1]["finding"] == "2 products need reordering"


@pytest.mark.parametrize(
    ("per_customer", "alerts", "lifetime_value", "score", "rating"),
    [
        (501, 0, 3001, 100, "Excellent"),
        (501, 0, 3000, 70, "Good"),
        (500, 0, 3001, 60, "Good"),
        (501, 1, 3000, 40, "Fair"),
        (500, 0, 3000, 30, "Needs Improvement"),
        (500, 1, 3000, 0, "Needs Improvement"),
    ],
)
def test_the_health_is_scored(
    family: Any,
    per_customer: float,
    alerts: int,
    lifetime_value: float,
    score: int,
    rating: str,
) -> None:
    told = report(
        family,
        revenue_per_customer=per_customer,
        inventory_reorder_alerts=alerts,
        total_customer_lifetime_value=lifetime_value * 5,
    )
    assert told["health_score"] == {"score": score, "max_score": 100, "rating": rating}


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ("transform_sales", "Sales extraction results not found"),
        ("transform_inventory", "Inventory extraction results not found"),
        ("transform_customers", "Customer extraction results not found"),
    ],
)
def test_a_transform_needs_its_extract(family: Any, step: str, message: str) -> None:
    failed = run(family, step)
    failed.assert_failure(family.permanent, retryable=False)
    assert failed.metadata["error_code"] == "MISSING_EXTRACT_RESULTS"
    assert failed.error_message == message


def test_the_figures_need_all_transforms(family: Any, results: dict[str, Any]) -> None:
    failed = run(
        family, "aggregate_metrics", {"transform_inventory": results["transform_inventory"]}
    )
    failed.assert_failure(family.permanent, retryable=False)
    assert failed.metadata["error_code"] == "MISSING_TRANSFORM_RESULTS"
    missing = f"transform_sales{family.suffix}, transform_customers{family.suffix}"
    assert failed.error_message == f"Missing transform results: {missing}"


def test_the_report_needs_the_figures(family: Any) -> None:
    failed = run(family, "generate_insights")
    failed.assert_failure(family.permanent, retryable=False)
    assert failed.metadata["error_code"] == "MISSING_AGGREGATE_RESULTS"
    assert failed.error_message == "Aggregated metrics not found"


def test_the_metadata_of_classes_tell_what_they_did() -> None:
    task = run_task(HERE / CLASSES.template, handlers=handlers)
    custom = task.steps["transform_sales"].runs[-1].metadata["custom"]
    assert custom["operation"] == "transform_sales"
    assert (custom["source_step"], custom["record_count"]) == ("extract_sales_data", 5)
    assert task.steps["extract_sales_data"].runs[-1].metadata["custom"]["source"] == (
        "SalesDatabase"
    )
