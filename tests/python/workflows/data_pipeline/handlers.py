"""Three extracts, three transforms, one report: handlers as classes."""

from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

from tasker_core import StepContext, StepHandler, StepHandlerResult

from . import analytics
from .analytics import Data

_MODULE = "data_pipeline.step_handlers"


def _metadata(operation: str, **details: Any) -> Data:
    return {
        "operation": operation,
        **details,
        "timestamp": datetime.now(timezone.utc).isoformat(),
    }


class _ExtractHandler(StepHandler):
    handler_version = "1.0.0"
    operation = ""
    extract: Callable[[], Data]

    def call(self, context: StepContext) -> StepHandlerResult:
        """Return the records of one system."""
        extracted = type(self).extract()
        return self.success(
            extracted,
            metadata=_metadata(
                self.operation,
                source=extracted["source"],
                records_extracted=len(extracted["records"]),
            ),
        )


class ExtractSalesDataHandler(_ExtractHandler):
    """Read the orders."""

    handler_name = f"{_MODULE}.ExtractSalesDataHandler"
    operation = "extract_sales"
    extract = staticmethod(analytics.extract_sales)


class ExtractInventoryDataHandler(_ExtractHandler):
    """Read what lies in the warehouses."""

    handler_name = f"{_MODULE}.ExtractInventoryDataHandler"
    operation = "extract_inventory"
    extract = staticmethod(analytics.extract_inventory)


class ExtractCustomerDataHandler(_ExtractHandler):
    """Read the customers."""

    handler_name = f"{_MODULE}.ExtractCustomerDataHandler"
    operation = "extract_customers"
    extract = staticmethod(analytics.extract_customers)


class _TransformHandler(StepHandler):
    handler_version = "1.0.0"
    operation = ""
    source_step = ""
    transform: Callable[[Data | None], Data]

    def call(self, context: StepContext) -> StepHandlerResult:
        """Return one system's records, summed up."""
        transformed = type(self).transform(context.get_dependency_result(self.source_step))
        return self.success(
            transformed,
            metadata=_metadata(
                self.operation,
                source_step=self.source_step,
                record_count=transformed["record_count"],
            ),
        )


class TransformSalesHandler(_TransformHandler):
    """Sum up the orders by day and by product."""

    handler_name = f"{_MODULE}.TransformSalesHandler"
    operation = "transform_sales"
    source_step = "extract_sales_data"
    transform = staticmethod(analytics.transform_sales)


class TransformInventoryHandler(_TransformHandler):
    """Sum up the stock by warehouse and by product."""

    handler_name = f"{_MODULE}.TransformInventoryHandler"
    operation = "transform_inventory"
    source_step = "extract_inventory_data"
    transform = staticmethod(analytics.transform_inventory)


class TransformCustomersHandler(_TransformHandler):
    """Sum up the customers by tier and by value."""

    handler_name = f"{_MODULE}.TransformCustomersHandler"
    operation = "transform_customers"
    source_step = "extract_customer_data"
    transform = staticmethod(analytics.transform_customers)


class AggregateMetricsHandler(StepHandler):
    """Put the figures side by side."""

    handler_name = f"{_MODULE}.AggregateMetricsHandler"
    handler_version = "1.0.0"

    STEPS = ("transform_sales", "transform_inventory", "transform_customers")

    def call(self, context: StepContext) -> StepHandlerResult:
        """Return the figures."""
        metrics = analytics.aggregate(
            {step: context.get_dependency_result(step) for step in self.STEPS}
        )
        return self.success(
            metrics, metadata=_metadata("aggregate_metrics", sources=len(self.STEPS))
        )


class GenerateInsightsHandler(StepHandler):
    """Say what the figures mean."""

    handler_name = f"{_MODULE}.GenerateInsightsHandler"
    handler_version = "1.0.0"

    def call(self, context: StepContext) -> StepHandlerResult:
        """Return the report."""
        report = analytics.insights(context.get_dependency_result("aggregate_metrics"))
        return self.success(
            report,
            metadata=_metadata(
                "generate_insights",
                source_step="aggregate_metrics",
                insights_count=len(report["insights"]),
            ),
        )
