"""The shop: its products, its prices, and what it refuses.

Nothing is stored: each step computes from what it is given.
"""

import re
from datetime import datetime, timedelta, timezone
from random import SystemRandom
from typing import Any, NamedTuple
from uuid import uuid4

from tasker_core.errors import PermanentError, RetryableError

_TAX_RATE = 0.08
_WEIGHT_PER_ITEM = 0.5
# Up to which weight a parcel costs how much; heavier ones cost the last.
_SHIPPING = ((2.0, 5.99), (10.0, 9.99))
_HEAVY_SHIPPING = 14.99
_TOLERANCE = 0.01
_FEE_RATE = 0.029
_FIXED_FEE = 0.30
_STOCK_WAIT_SECONDS = 30
_GATEWAY_WAIT_SECONDS = 15
_DELIVERY_DAYS = 7
_EMAIL = re.compile(r"^[^@\s]+@[^@\s]+$")
_DECLINED = {
    "tok_test_declined": "Card was declined by issuer",
    "tok_test_insufficient_funds": "Insufficient funds",
}
_UNREACHABLE_TOKEN = "tok_test_network_error"

Data = dict[str, Any]


class Product(NamedTuple):
    """What the shop sells."""

    name: str
    price: float
    stock: int
    active: bool


PRODUCTS = {
    1: Product("Widget A", 29.99, 100, True),
    2: Product("Widget B", 49.99, 50, True),
    3: Product("Widget C", 19.99, 25, True),
    4: Product("Widget D", 39.99, 0, True),
    5: Product("Widget E", 59.99, 10, False),
}


def now() -> str:
    """Return the time as results tell it."""
    return datetime.now(timezone.utc).isoformat()


def new_id(prefix: str, digits: int) -> str:
    """Return an id of so many hexadecimal digits."""
    return f"{prefix}_{uuid4().hex[:digits]}"


def price_cart(cart_items: list[Data] | None) -> Data:
    """Return what the items of a cart cost together."""
    if not cart_items:
        raise PermanentError(
            "Cart items are required but were not provided", error_code="MISSING_CART_ITEMS"
        )
    items = [_line(number, item) for number, item in enumerate(cart_items, start=1)]
    subtotal = sum(item["line_total"] for item in items)
    tax = round(subtotal * _TAX_RATE, 2)
    shipping = _shipping(sum(item["quantity"] for item in items))
    return {
        "validated_items": items,
        "subtotal": subtotal,
        "tax": tax,
        "shipping": shipping,
        "total": subtotal + tax + shipping,
        "item_count": len(items),
        "validated_at": now(),
    }


def _line(number: int, item: Data) -> Data:
    product_id, quantity = item.get("product_id"), item.get("quantity")
    if not product_id:
        raise PermanentError(
            f"Product ID is required for cart item {number}", error_code="MISSING_PRODUCT_ID"
        )
    if not quantity or quantity <= 0:
        raise PermanentError(
            f"Valid quantity is required for cart item {number}", error_code="INVALID_QUANTITY"
        )
    product = _product(product_id)
    if not product.active:
        raise PermanentError(
            f"Product {product.name} is no longer available", error_code="PRODUCT_INACTIVE"
        )
    _require_stock(product, quantity)
    return {
        "product_id": product_id,
        "name": product.name,
        "price": product.price,
        "quantity": quantity,
        "line_total": round(product.price * quantity, 2),
    }


def _product(product_id: Any) -> Product:
    product = PRODUCTS.get(product_id)
    if product is None:
        raise PermanentError(f"Product {product_id} not found", error_code="PRODUCT_NOT_FOUND")
    return product


def _require_stock(product: Product, quantity: int) -> None:
    if quantity > product.stock:
        raise RetryableError(
            f"Insufficient stock for {product.name}. "
            f"Available: {product.stock}, Requested: {quantity}",
            retry_after=_STOCK_WAIT_SECONDS,
        )


def _shipping(quantity: int) -> float:
    weight = quantity * _WEIGHT_PER_ITEM
    return next((price for limit, price in _SHIPPING if weight <= limit), _HEAVY_SHIPPING)


def charge(payment_info: Data | None, cart: Data | None) -> Data:
    """Return the payment of a cart's total."""
    if not payment_info:
        raise PermanentError(
            "Payment information is required but was not provided",
            error_code="MISSING_PAYMENT_INFO",
        )
    if not payment_info.get("method"):
        raise PermanentError("Payment method is required", error_code="MISSING_PAYMENT_METHOD")
    token = payment_info.get("token")
    if not token:
        raise PermanentError("Payment token is required", error_code="MISSING_PAYMENT_TOKEN")
    total = (cart or {}).get("total")
    if total is None:
        raise PermanentError("The cart has no total to charge", error_code="MISSING_CART_TOTAL")
    amount = payment_info.get("amount")
    if amount is None or abs(amount - total) > _TOLERANCE:
        raise PermanentError(
            f"Payment amount mismatch. Expected: ${total:.2f}, Provided: {amount}",
            error_code="PAYMENT_AMOUNT_MISMATCH",
        )
    if token in _DECLINED:
        raise PermanentError(f"Payment declined: {_DECLINED[token]}", error_code="PAYMENT_DECLINED")
    if token == _UNREACHABLE_TOKEN:
        raise RetryableError(
            "Payment service temporarily unavailable", retry_after=_GATEWAY_WAIT_SECONDS
        )
    return {
        "payment_id": new_id("pay", 24),
        "amount_charged": amount,
        "currency": "USD",
        "payment_method_type": payment_info["method"],
        "transaction_id": new_id("txn", 24),
        "processed_at": now(),
        "status": "completed",
    }


def fees(amount: float) -> float:
    """Return what the gateway takes for a payment."""
    return round(amount * _FEE_RATE, 2) + _FIXED_FEE


def reserve(cart: Data | None, customer_info: Data | None) -> Data:
    """Return the reservations for a cart."""
    items = (cart or {}).get("validated_items")
    if not items:
        raise PermanentError(
            "Validated cart items are required but were not found",
            error_code="MISSING_VALIDATED_ITEMS",
        )
    _require_customer(customer_info)
    reserved_at, log_id = now(), new_id("log", 16)
    products, changes = [], []
    for item in items:
        product, quantity = _product(item["product_id"]), item["quantity"]
        _require_stock(product, quantity)
        reservation_id = new_id("rsv", 16)
        products.append(
            {
                "product_id": item["product_id"],
                "name": product.name,
                "previous_stock": product.stock,
                "new_stock": product.stock - quantity,
                "quantity_reserved": quantity,
                "reservation_id": reservation_id,
            }
        )
        changes.append(
            {
                "product_id": item["product_id"],
                "change_type": "reservation",
                "quantity": -quantity,
                "reason": "order_checkout",
                "timestamp": reserved_at,
                "reservation_id": reservation_id,
                "inventory_log_id": log_id,
            }
        )
    return {
        "updated_products": products,
        "total_items_reserved": sum(item["quantity"] for item in items),
        "inventory_changes": changes,
        "inventory_log_id": log_id,
        "updated_at": reserved_at,
    }


def order(
    customer_info: Data | None, cart: Data | None, payment: Data | None, inventory: Data | None
) -> Data:
    """Return the order for a cart that is paid and reserved."""
    customer = _require_customer(customer_info)
    cart = _require_cart(cart)
    if not payment or not payment.get("payment_id"):
        raise PermanentError(
            "Payment result is required but was not found", error_code="MISSING_PAYMENT_RESULT"
        )
    if not inventory or not inventory.get("updated_products"):
        raise PermanentError(
            "Inventory result is required but was not found",
            error_code="MISSING_INVENTORY_RESULT",
        )
    created = datetime.now(timezone.utc)
    return {
        "order_id": SystemRandom().randint(1000, 9999),
        "order_number": f"ORD-{created:%Y%m%d}-{uuid4().hex[:8].upper()}",
        "status": "confirmed",
        "total_amount": cart["total"],
        "customer_email": customer.get("email"),
        "created_at": created.isoformat(),
        "estimated_delivery": f"{created + timedelta(days=_DELIVERY_DAYS):%B %d, %Y}",
    }


def confirmation(
    customer_info: Data | None, placed: Data | None, cart: Data | None, message_id: str
) -> Data:
    """Return the mail that confirms an order."""
    email = (customer_info or {}).get("email")
    if not email:
        raise PermanentError("Customer email is required", error_code="MISSING_CUSTOMER_EMAIL")
    if not placed or not placed.get("order_id"):
        raise PermanentError(
            "Order result is required but was not found", error_code="MISSING_ORDER_RESULT"
        )
    _require_cart(cart)
    if _EMAIL.match(email) is None:
        raise PermanentError(f"Invalid email address: {email}", error_code="INVALID_EMAIL")
    return {
        "email_sent": True,
        "recipient": email,
        "email_type": "order_confirmation",
        "sent_at": now(),
        "message_id": message_id,
    }


def _require_customer(customer_info: Data | None) -> Data:
    if not customer_info:
        raise PermanentError(
            "Customer information is required but was not provided",
            error_code="MISSING_CUSTOMER_INFO",
        )
    return customer_info


def _require_cart(cart: Data | None) -> Data:
    if not cart or not cart.get("validated_items"):
        raise PermanentError(
            "Cart validation is required but was not found",
            error_code="MISSING_CART_VALIDATION",
        )
    return cart
