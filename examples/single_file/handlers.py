"""A whole workflow in one file: what an order costs.

There is no template: the decorators say which step needs which. The task is
named after the file, its namespace is ``default``. Money is in cents.
"""

from typing import Any

from tasker_core.errors import PermanentError
from tasker_core.step_handler.functional import depends_on, inputs, step_handler

FREE_SHIPPING_FROM = 5_000
SHIPPING = 490


@step_handler("check_order")
@inputs("items")
def check_order(items: list[dict[str, Any]] | None) -> dict[str, Any]:
    """Refuse an order without items; count what there is."""
    if not items:
        raise PermanentError("The order has no items")
    return {"items": items, "count": sum(item["quantity"] for item in items)}


@step_handler("price_items")
@depends_on(order="check_order")
@inputs("discount_percent")
def price_items(order: dict[str, Any], discount_percent: int | None) -> dict[str, Any]:
    """Add up the items and take off the discount."""
    full = sum(item["quantity"] * item["price"] for item in order["items"])
    discount = full * (discount_percent or 0) // 100
    return {"full": full, "discount": discount, "net": full - discount}


@step_handler("price_shipping")
@depends_on(order="check_order")
def price_shipping(order: dict[str, Any]) -> dict[str, Any]:
    """Shipping costs something below a certain value."""
    value = sum(item["quantity"] * item["price"] for item in order["items"])
    return {"shipping": 0 if value >= FREE_SHIPPING_FROM else SHIPPING}


@step_handler("write_receipt")
@depends_on(order="check_order", prices="price_items", delivery="price_shipping")
def write_receipt(
    order: dict[str, Any], prices: dict[str, Any], delivery: dict[str, Any]
) -> dict[str, Any]:
    """Put everything together."""
    total = prices["net"] + delivery["shipping"]
    return {"total": total, "text": f"{order['count']} items, {total / 100:.2f} EUR"}
