"""Records of three systems, and what they say when they are put together."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timezone
from typing import Any

from tasker_core.errors import PermanentError

Data = dict[str, Any]

_SALES = [
    ("ORD-001", "2025-11-01", "PROD-A", 5, 499.95),
    ("ORD-002", "2025-11-05", "PROD-B", 3, 299.97),
    ("ORD-003", "2025-11-10", "PROD-A", 2, 199.98),
    ("ORD-004", "2025-11-15", "PROD-C", 10, 1499.90),
    ("ORD-005", "2025-11-18", "PROD-B", 7, 699.93),
]
_INVENTORY = [
    ("PROD-A", "SKU-A-001", "WH-01", 150, 50),
    ("PROD-B", "SKU-B-002", "WH-01", 75, 25),
    ("PROD-C", "SKU-C-003", "WH-02", 200, 100),
    ("PROD-A", "SKU-A-001", "WH-02", 100, 50),
    ("PROD-B", "SKU-B-002", "WH-03", 50, 25),
]
_CUSTOMERS = [
    ("CUST-001", "Alice Johnson", "gold", 5000.00, "2024-01-15"),
    ("CUST-002", "Bob Smith", "silver", 2500.00, "2024-03-20"),
    ("CUST-003", "Carol White", "premium", 15000.00, "2023-11-10"),
    ("CUST-004", "David Brown", "standard", 500.00, "2025-01-05"),
    ("CUST-005", "Eve Davis", "gold", 7500.00, "2024-06-12"),
]

_HIGH_VALUE = 10_000
_MEDIUM_VALUE = 1_000
_HEALTHY_REVENUE_PER_CUSTOMER = 500
_HEALTHY_LIFETIME_VALUE = 3_000
_RATINGS = ((80, "Excellent"), (60, "Good"), (40, "Fair"))


def _now() -> str:
    return datetime.now(timezone.utc).isoformat()


def _records(names: str, rows: Iterable[tuple[Any, ...]]) -> list[Data]:
    return [dict(zip(names.split(), row, strict=True)) for row in rows]


def _total(records: Iterable[Mapping[str, Any]], name: str) -> Any:
    """Return the sum of a field, in whole cents if there are cents."""
    total = sum(record[name] for record in records)
    return round(total, 2) if isinstance(total, float) else total


def _grouped(records: Iterable[Data], key: str) -> dict[str, list[Data]]:
    groups: dict[str, list[Data]] = {}
    for record in records:
        groups.setdefault(record[key], []).append(record)
    return groups


def _summarize(
    records: list[Data], key: str, summary: Callable[[list[Data]], Data]
) -> dict[str, Data]:
    return {name: summary(group) for name, group in _grouped(records, key).items()}


def extract_sales() -> Data:
    """Return the orders."""
    records = _records("order_id date product_id quantity amount", _SALES)
    dates = [record["date"] for record in records]
    return {
        "records": records,
        "extracted_at": _now(),
        "source": "SalesDatabase",
        "total_amount": _total(records, "amount"),
        "date_range": {"start_date": min(dates), "end_date": max(dates)},
    }


def extract_inventory() -> Data:
    """Return what lies in the warehouses."""
    records = _records("product_id sku warehouse quantity_on_hand reorder_point", _INVENTORY)
    return {
        "records": records,
        "extracted_at": _now(),
        "source": "InventorySystem",
        "total_quantity": _total(records, "quantity_on_hand"),
        "warehouses": sorted({record["warehouse"] for record in records}),
        "products_tracked": len({record["product_id"] for record in records}),
    }


def extract_customers() -> Data:
    """Return the customers."""
    records = _records("customer_id name tier lifetime_value join_date", _CUSTOMERS)
    total = _total(records, "lifetime_value")
    return {
        "records": records,
        "extracted_at": _now(),
        "source": "CRMSystem",
        "total_customers": len(records),
        "total_lifetime_value": total,
        "tier_breakdown": dict(Counter(record["tier"] for record in records)),
        "avg_lifetime_value": total / len(records),
    }


def _extracted(what: str, extracted: Data | None) -> list[Data]:
    records: list[Data] = (extracted or {}).get("records") or []
    if not records:
        raise PermanentError(
            f"{what} extraction results not found", error_code="MISSING_EXTRACT_RESULTS"
        )
    return records


def transform_sales(extracted: Data | None) -> Data:
    """Return the orders by day and by product."""
    records = _extracted("Sales", extracted)

    def of_day(orders: list[Data]) -> Data:
        total = _total(orders, "amount")
        return {
            "total_amount": total,
            "order_count": len(orders),
            "avg_order_value": round(total / len(orders), 2),
        }

    def of_product(orders: list[Data]) -> Data:
        return {
            "total_quantity": _total(orders, "quantity"),
            "total_revenue": _total(orders, "amount"),
            "order_count": len(orders),
        }

    return {
        "record_count": len(records),
        "daily_sales": _summarize(records, "date", of_day),
        "product_sales": _summarize(records, "product_id", of_product),
        "total_revenue": _total(records, "amount"),
        "transformation_type": "sales_analytics",
        "source": "extract_sales_data",
    }


def transform_inventory(extracted: Data | None) -> Data:
    """Return the stock by warehouse and by product."""
    records = _extracted("Inventory", extracted)

    def alerts(stock: list[Data]) -> int:
        return sum(place["quantity_on_hand"] <= place["reorder_point"] for place in stock)

    def of_warehouse(stock: list[Data]) -> Data:
        return {
            "total_quantity": _total(stock, "quantity_on_hand"),
            "product_count": len({place["product_id"] for place in stock}),
            "reorder_alerts": alerts(stock),
        }

    def of_product(stock: list[Data]) -> Data:
        total = _total(stock, "quantity_on_hand")
        return {
            "total_quantity": total,
            "warehouse_count": len({place["warehouse"] for place in stock}),
            "needs_reorder": total < _total(stock, "reorder_point"),
        }

    return {
        "record_count": len(records),
        "warehouse_summary": _summarize(records, "warehouse", of_warehouse),
        "product_inventory": _summarize(records, "product_id", of_product),
        "total_quantity_on_hand": _total(records, "quantity_on_hand"),
        "reorder_alerts": alerts(records),
        "transformation_type": "inventory_analytics",
        "source": "extract_inventory_data",
    }


def transform_customers(extracted: Data | None) -> Data:
    """Return the customers by tier and by value."""
    records = _extracted("Customer", extracted)

    def of_tier(customers: list[Data]) -> Data:
        total = _total(customers, "lifetime_value")
        return {
            "customer_count": len(customers),
            "total_lifetime_value": total,
            "avg_lifetime_value": total / len(customers),
        }

    values = [record["lifetime_value"] for record in records]
    total = _total(records, "lifetime_value")
    return {
        "record_count": len(records),
        "tier_analysis": _summarize(records, "tier", of_tier),
        "value_segments": {
            "high_value": sum(value >= _HIGH_VALUE for value in values),
            "medium_value": sum(_MEDIUM_VALUE <= value < _HIGH_VALUE for value in values),
            "low_value": sum(value < _MEDIUM_VALUE for value in values),
        },
        "total_lifetime_value": total,
        "avg_customer_value": total / len(records),
        "transformation_type": "customer_analytics",
        "source": "extract_customer_data",
    }


def aggregate(transforms: Mapping[str, Data | None]) -> Data:
    """Return the figures of sales, inventory and customers side by side.

    The keys are the names of the steps that have transformed them, in this order.
    """
    missing = [step for step, result in transforms.items() if not result]
    if missing:
        raise PermanentError(
            f"Missing transform results: {', '.join(missing)}",
            error_code="MISSING_TRANSFORM_RESULTS",
        )
    sales, inventory, customers = (result or {} for result in transforms.values())
    revenue, quantity = sales["total_revenue"], inventory["total_quantity_on_hand"]
    customer_count = customers["record_count"]
    return {
        "total_revenue": revenue,
        "total_inventory_quantity": quantity,
        "total_customers": customer_count,
        "total_customer_lifetime_value": customers["total_lifetime_value"],
        "sales_transactions": sales["record_count"],
        "inventory_reorder_alerts": inventory["reorder_alerts"],
        "revenue_per_customer": round(revenue / customer_count, 2) if customer_count else 0.0,
        "inventory_turnover_indicator": round(revenue / quantity, 4) if quantity else 0.0,
        "aggregation_complete": True,
        "sources_included": len(transforms),
    }


def insights(metrics: Data | None) -> Data:
    """Return what the figures mean."""
    if not metrics:
        raise PermanentError("Aggregated metrics not found", error_code="MISSING_AGGREGATE_RESULTS")
    per_customer = metrics["revenue_per_customer"]
    alerts = metrics["inventory_reorder_alerts"]
    customers = metrics["total_customers"]
    lifetime_value = metrics["total_customer_lifetime_value"] / customers if customers else 0.0
    found = []
    if metrics["total_revenue"] > 0:
        found.append(
            _insight(
                "Revenue",
                f"Total revenue of ${metrics['total_revenue']:.2f} with {customers} customers",
                per_customer,
                "Consider upselling strategies"
                if per_customer < _HEALTHY_REVENUE_PER_CUSTOMER
                else "Customer spend is healthy",
            )
        )
    if alerts > 0:
        finding, advice = (
            f"{alerts} products need reordering",
            "Review reorder points and place purchase orders",
        )
    else:
        finding, advice = "All products above reorder points", "Inventory levels are healthy"
    found.append(_insight("Inventory", finding, alerts, advice))
    found.append(
        _insight(
            "Customer Value",
            f"Average customer lifetime value: ${lifetime_value:.2f}",
            lifetime_value,
            "Focus on retention programs"
            if lifetime_value > _HEALTHY_LIFETIME_VALUE
            else "Increase customer engagement",
        )
    )
    return {
        "insights": found,
        "health_score": _health(per_customer, alerts, lifetime_value),
        "total_metrics_analyzed": len(metrics),
        "pipeline_complete": True,
        "generated_at": _now(),
    }


def _insight(category: str, finding: str, metric: float, recommendation: str) -> Data:
    return {
        "category": category,
        "finding": finding,
        "metric": metric,
        "recommendation": recommendation,
    }


def _health(per_customer: float, alerts: int, lifetime_value: float) -> Data:
    score = 0
    if per_customer > _HEALTHY_REVENUE_PER_CUSTOMER:
        score += 40
    if alerts == 0:
        score += 30
    if lifetime_value > _HEALTHY_LIFETIME_VALUE:
        score += 30
    rating = next((word for least, word in _RATINGS if score >= least), "Needs Improvement")
    return {"score": score, "max_score": 100, "rating": rating}
