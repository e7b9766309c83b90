"""Three extracts, three transforms, one report: handlers as functions."""

from tasker_core import StepContext
from tasker_core.step_handler import depends_on, step_handler

from . import analytics
from .analytics import Data

_MODULE = "data_pipeline_dsl_py.step_handlers"


@step_handler(f"{_MODULE}.extract_sales_data")
def extract_sales_data(_context: StepContext) -> Data:
    """Read the orders."""
    return analytics.extract_sales()


@step_handler(f"{_MODULE}.extract_inventory_data")
def extract_inventory_data(_context: StepContext) -> Data:
    """Read what lies in the warehouses."""
    return analytics.extract_inventory()


@step_handler(f"{_MODULE}.extract_customer_data")
def extract_customer_data(_context: StepContext) -> Data:
    """Read the customers."""
    return analytics.extract_customers()


@step_handler(f"{_MODULE}.transform_sales")
@depends_on(extracted="extract_sales_data_dsl_py")
def transform_sales(extracted: Data | None) -> Data:
    """Sum up the orders by day and by product."""
    return analytics.transform_sales(extracted)


@step_handler(f"{_MODULE}.transform_inventory")
@depends_on(extracted="extract_inventory_data_dsl_py")
def transform_inventory(extracted: Data | None) -> Data:
    """Sum up the stock by warehouse and by product."""
    return analytics.transform_inventory(extracted)


@step_handler(f"{_MODULE}.transform_customers")
@depends_on(extracted="extract_customer_data_dsl_py")
def transform_customers(extracted: Data | None) -> Data:
    """Sum up the customers by tier and by value."""
    return analytics.transform_customers(extracted)


@step_handler(f"{_MODULE}.aggregate_metrics")
@depends_on(
    sales="transform_sales_dsl_py",
    inventory="transform_inventory_dsl_py",
    customers="transform_customers_dsl_py",
)
def aggregate_metrics(sales: Data | None, inventory: Data | None, customers: Data | None) -> Data:
    """Put the figures side by side."""
    return analytics.aggregate(
        {
            "transform_sales_dsl_py": sales,
            "transform_inventory_dsl_py": inventory,
            "transform_customers_dsl_py": customers,
        }
    )


@step_handler(f"{_MODULE}.generate_insights")
@depends_on(metrics="aggregate_metrics_dsl_py")
def generate_insights(metrics: Data | None) -> Data:
    """Say what the figures mean."""
    return analytics.insights(metrics)
