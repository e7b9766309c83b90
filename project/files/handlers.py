"""The steps of templates/checkout.yaml.

Each function is one step: it gets values of the task's input and results of the
steps it depends on, and returns its own result.
"""

import logging
from typing import Any

from tasker_core.errors import PermanentError
from tasker_core.step_handler import depends_on, inputs, step_handler

log = logging.getLogger(__name__)


@step_handler("check_cart")
@inputs("items")
def check_cart(items: list[dict[str, Any]] | None) -> dict[str, Any]:
    """Refuse an empty cart: trying again would not help, so the error is permanent."""
    if not items:
        raise PermanentError("the cart is empty")
    return {"items": items, "count": sum(item["quantity"] for item in items)}


@step_handler("price_items")
@depends_on(cart="check_cart")
def price_items(cart: dict[str, Any]) -> dict[str, int]:
    """Add up what the items cost."""
    return {"cents": sum(item["price_cents"] * item["quantity"] for item in cart["items"])}


@step_handler("price_shipping")
@depends_on(cart="check_cart")
def price_shipping(cart: dict[str, Any]) -> dict[str, int]:
    """Ship up to three pieces for one price. Runs while price_items does."""
    return {"cents": 490 if cart["count"] <= 3 else 990}


@step_handler("total")
@depends_on(goods="price_items", shipping="price_shipping")
def total(goods: dict[str, int], shipping: dict[str, int]) -> dict[str, int]:
    """Put the two prices together."""
    cents = goods["cents"] + shipping["cents"]
    log.info("to pay: %d.%02d", *divmod(cents, 100))
    return {"cents": cents}
