"""An order from the cart to its confirmation: handlers as functions."""

from tasker_core.step_handler import depends_on, inputs, step_handler

from . import shop
from .shop import Data

_MODULE = "ecommerce_dsl_py.step_handlers"


@step_handler(f"{_MODULE}.validate_cart")
@inputs("cart_items")
def validate_cart(cart_items: list[Data] | None) -> Data:
    """Look up the items and add up what they cost."""
    return shop.price_cart(cart_items)


@step_handler(f"{_MODULE}.process_payment")
@depends_on(cart="validate_cart_dsl_py")
@inputs("payment_info")
def process_payment(cart: Data | None, payment_info: Data | None) -> Data:
    """Charge the cart's total."""
    return shop.charge(payment_info, cart)


@step_handler(f"{_MODULE}.update_inventory")
@depends_on(cart="validate_cart_dsl_py")
@inputs("customer_info")
def ecommerce_update_inventory(cart: Data | None, customer_info: Data | None) -> Data:
    """Reserve the items."""
    return shop.reserve(cart, customer_info)


@step_handler(f"{_MODULE}.create_order")
@depends_on(
    cart="validate_cart_dsl_py",
    payment="process_payment_dsl_py",
    inventory="update_inventory_dsl_py",
)
@inputs("customer_info")
def create_order(
    cart: Data | None,
    payment: Data | None,
    inventory: Data | None,
    customer_info: Data | None,
) -> Data:
    """Make the order of cart, payment and reservations."""
    return shop.order(customer_info, cart, payment, inventory)


@step_handler(f"{_MODULE}.send_confirmation")
@depends_on(placed="create_order_dsl_py", cart="validate_cart_dsl_py")
@inputs("customer_info")
def send_confirmation(placed: Data | None, cart: Data | None, customer_info: Data | None) -> Data:
    """Tell the customer."""
    return shop.confirmation(customer_info, placed, cart, shop.new_id("mock", 16))
