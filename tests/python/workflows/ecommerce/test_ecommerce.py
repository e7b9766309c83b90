"""An order from the cart to its confirmation, as classes and as functions."""

import re
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tasker_core.errors import PermanentError, RetryableError
from tasker_core.testing import StepRun, run_step, run_task, step_context

from tests.python.workflows.ecommerce import dsl_handlers, handlers

HERE = Path(__file__).parent
ITEMS: list[dict[str, Any]] = [{"product_id": 1, "quantity": 2}, {"product_id": 2, "quantity": 1}]
CUSTOMER: dict[str, Any] = {"email": "ada@example.com", "name": "Ada"}
PAYMENT: dict[str, Any] = {"method": "credit_card", "token": "tok_test_valid", "amount": 124.76}
ORDER: dict[str, Any] = {"cart_items": ITEMS, "customer_info": CUSTOMER, "payment_info": PAYMENT}

CLASSES = SimpleNamespace(
    suffix="",
    module=handlers,
    template="ecommerce_order_processing_py.yaml",
    permanent="PermanentError",
    retryable="RetryableError",
    validate_cart=handlers.ValidateCartHandler,
    process_payment=handlers.ProcessPaymentHandler,
    update_inventory=handlers.UpdateInventoryHandler,
    create_order=handlers.CreateOrderHandler,
    send_confirmation=handlers.SendConfirmationHandler,
    message_id=r"msg_[0-9a-f]{24}",
)
FUNCTIONS = SimpleNamespace(
    suffix="_dsl_py",
    module=dsl_handlers,
    template="ecommerce_order_processing_dsl_py.yaml",
    permanent="permanent_error",
    retryable="retryable_error",
    validate_cart=dsl_handlers.validate_cart,
    process_payment=dsl_handlers.process_payment,
    update_inventory=dsl_handlers.ecommerce_update_inventory,
    create_order=dsl_handlers.create_order,
    send_confirmation=dsl_handlers.send_confirmation,
    message_id=r"mock_[0-9a-f]{16}",
)


@pytest.fixture(params=[CLASSES, FUNCTIONS], ids=["classes", "functions"])
def family(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def results(family: Any) -> dict[str, Any]:
    """What the steps of a whole order return, by their names without suffix."""
    task = run_task(HERE / family.template, input_data=ORDER, handlers=family.module)
    return {
        step.removesuffix(family.suffix): result for step, result in task.assert_complete().items()
    }


def run(
    family: Any,
    step: str,
    input_data: dict[str, Any] | None = None,
    results: dict[str, Any] | None = None,
) -> StepRun:
    return run_step(
        getattr(family, step),
        input_data=ORDER if input_data is None else input_data,
        dependency_results={
            f"{name}{family.suffix}": result for name, result in (results or {}).items()
        },
    )


def price(family: Any, *items: dict[str, Any]) -> StepRun:
    return run(family, "validate_cart", {"cart_items": list(items)})


def refused(family: Any, run: StepRun, code: str, message: str | None = None) -> None:
    run.assert_failure(family.permanent, retryable=False)
    assert run.metadata["error_code"] == code
    if message is not None:
        assert run.error_message == message


def put_off(family: Any, run: StepRun, seconds: int, message: str) -> None:
    run.assert_failure(family.retryable, retryable=True)
    assert run.stored["orchestration_metadata"]["backoff_hint"]["delay_seconds"] == seconds
    assert run.error_message == message


def test_a_cart_is_priced(results: dict[str, Any]) -> None:
    cart = results["validate_cart"]
    assert datetime.fromisoformat(cart.pop("validated_at"))
    assert cart == {
        "validated_items": [
            {
                "product_id": 1,
                "name": "Widget A",
                "price": 29.99,
                "quantity": 2,
                "line_total": 59.98,
            },
            {
                "product_id": 2,
                "name": "Widget B",
                "price": 49.99,
                "quantity": 1,
                "line_total": 49.99,
            },
        ],
        "subtotal": 109.97,
        "tax": 8.8,
        "shipping": 5.99,
        "total": 124.75999999999999,
        "item_count": 2,
    }


@pytest.mark.parametrize(
    ("quantity", "shipping"), [(1, 5.99), (4, 5.99), (5, 9.99), (20, 9.99), (21, 14.99)]
)
def test_shipping_goes_by_weight(family: Any, quantity: int, shipping: float) -> None:
    cart = price(family, {"product_id": 1, "quantity": quantity}).assert_success()
    assert cart["shipping"] == shipping


@pytest.mark.parametrize("items", [[], None])
def test_an_empty_cart_is_refused(family: Any, items: Any) -> None:
    refused(
        family,
        run(family, "validate_cart", {"cart_items": items}),
        "MISSING_CART_ITEMS",
        "Cart items are required but were not provided",
    )


def test_an_empty_cart_is_raised_by_a_class_and_returned_by_a_function() -> None:
    context = step_context(input_data={"cart_items": []})
    with pytest.raises(PermanentError):
        handlers.ValidateCartHandler().call(context)
    result: Any = dsl_handlers.validate_cart._handler_class().call(context)
    assert (result.is_success, result.error_type) == (False, "permanent_error")


def test_an_item_without_a_product_is_refused(family: Any) -> None:
    refused(
        family,
        price(family, ITEMS[0], {"quantity": 1}),
        "MISSING_PRODUCT_ID",
        "Product ID is required for cart item 2",
    )


@pytest.mark.parametrize("item", [{"product_id": 1}, {"product_id": 1, "quantity": -1}])
def test_an_item_without_a_quantity_is_refused(family: Any, item: dict[str, Any]) -> None:
    refused(
        family,
        price(family, item),
        "INVALID_QUANTITY",
        "Valid quantity is required for cart item 1",
    )


def test_an_unknown_product_is_refused(family: Any) -> None:
    unknown = price(family, {"product_id": 99, "quantity": 1})
    refused(family, unknown, "PRODUCT_NOT_FOUND", "Product 99 not found")


def test_a_product_that_is_not_sold_any_more_is_refused(family: Any) -> None:
    refused(
        family,
        price(family, {"product_id": 5, "quantity": 1}),
        "PRODUCT_INACTIVE",
        "Product Widget E is no longer available",
    )


def test_too_little_stock_puts_the_cart_off(family: Any) -> None:
    put_off(
        family,
        price(family, {"product_id": 4, "quantity": 1}),
        30,
        "Insufficient stock for Widget D. Available: 0, Requested: 1",
    )


def test_the_total_is_charged(results: dict[str, Any]) -> None:
    payment = results["process_payment"]
    assert re.fullmatch(r"pay_[0-9a-f]{24}", payment.pop("payment_id"))
    assert re.fullmatch(r"txn_[0-9a-f]{24}", payment.pop("transaction_id"))
    assert datetime.fromisoformat(payment.pop("processed_at"))
    assert payment == {
        "amount_charged": 124.76,
        "currency": "USD",
        "payment_method_type": "credit_card",
        "status": "completed",
    }


def test_the_metadata_of_a_class_tell_the_fees() -> None:
    cart = {"validate_cart": {"total": 124.76}}
    payment = run(CLASSES, "process_payment", results=cart)
    assert payment.metadata["custom"]["fees"] == 3.62 + 0.30


CART = {"validate_cart": {"total": 100.0, "validated_items": [{"product_id": 1, "quantity": 1}]}}


def pay(family: Any, cart: dict[str, Any] = CART, **payment: Any) -> StepRun:
    payment_info = {**PAYMENT, "amount": 100.0, **payment}
    return run(family, "process_payment", {"payment_info": payment_info}, cart)


def test_without_payment_information_nothing_is_charged(family: Any) -> None:
    refused(family, run(family, "process_payment", {}, CART), "MISSING_PAYMENT_INFO")


@pytest.mark.parametrize(
    ("payment", "code"),
    [
        ({"method": None}, "MISSING_PAYMENT_METHOD"),
        ({"token": ""}, "MISSING_PAYMENT_TOKEN"),
        ({"amount": 100.02}, "PAYMENT_AMOUNT_MISMATCH"),
        ({"amount": None}, "PAYMENT_AMOUNT_MISMATCH"),
    ],
)
def test_payment_information_must_be_complete(
    family: Any, payment: dict[str, Any], code: str
) -> None:
    refused(family, pay(family, **payment), code)


def test_a_cent_of_difference_does_not_matter(family: Any) -> None:
    assert pay(family, amount=100.005).assert_success()["amount_charged"] == 100.005


@pytest.mark.parametrize("cart", [{}, {"validate_cart": {}}])
def test_without_a_total_nothing_is_charged(family: Any, cart: dict[str, Any]) -> None:
    refused(family, pay(family, cart), "MISSING_CART_TOTAL")


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        ("tok_test_declined", "Card was declined by issuer"),
        ("tok_test_insufficient_funds", "Insufficient funds"),
    ],
)
def test_a_card_can_be_declined(family: Any, token: str, reason: str) -> None:
    refused(family, pay(family, token=token), "PAYMENT_DECLINED", f"Payment declined: {reason}")


def test_a_gateway_that_cannot_be_reached_puts_the_payment_off(family: Any) -> None:
    put_off(
        family,
        pay(family, token="tok_test_network_error"),
        15,
        "Payment service temporarily unavailable",
    )


def test_what_may_pass_is_raised_by_a_class() -> None:
    payment = {**PAYMENT, "amount": 100.0, "token": "tok_test_network_error"}
    context = step_context(input_data={"payment_info": payment}, dependency_results=CART)
    with pytest.raises(RetryableError) as caught:
        handlers.ProcessPaymentHandler().call(context)
    assert caught.value.retry_after == 15


def test_the_items_are_reserved(results: dict[str, Any]) -> None:
    inventory = results["update_inventory"]
    products = inventory["updated_products"]
    assert [
        (p["product_id"], p["previous_stock"], p["new_stock"], p["quantity_reserved"])
        for p in products
    ] == [(1, 100, 98, 2), (2, 50, 49, 1)]
    assert all(re.fullmatch(r"rsv_[0-9a-f]{16}", p["reservation_id"]) for p in products)
    assert inventory["total_items_reserved"] == 3


def test_reservations_are_told_as_changes_of_the_inventory(results: dict[str, Any]) -> None:
    inventory = results["update_inventory"]
    assert re.fullmatch(r"log_[0-9a-f]{16}", inventory["inventory_log_id"])
    assert inventory["inventory_changes"] == [
        {
            "product_id": product["product_id"],
            "change_type": "reservation",
            "quantity": -product["quantity_reserved"],
            "reason": "order_checkout",
            "timestamp": inventory["updated_at"],
            "reservation_id": product["reservation_id"],
            "inventory_log_id": inventory["inventory_log_id"],
        }
        for product in inventory["updated_products"]
    ]


@pytest.mark.parametrize("cart", [{}, {"validate_cart": {"validated_items": []}}])
def test_without_items_nothing_is_reserved(family: Any, cart: dict[str, Any]) -> None:
    refused(family, run(family, "update_inventory", results=cart), "MISSING_VALIDATED_ITEMS")


def test_without_a_customer_nothing_is_reserved(family: Any) -> None:
    refused(family, run(family, "update_inventory", {}, CART), "MISSING_CUSTOMER_INFO")


def test_an_unknown_product_is_not_reserved(family: Any) -> None:
    cart = {"validate_cart": {"validated_items": [{"product_id": 99, "quantity": 1}]}}
    refused(family, run(family, "update_inventory", results=cart), "PRODUCT_NOT_FOUND")


def test_too_little_stock_puts_the_reservation_off(family: Any) -> None:
    cart = {"validate_cart": {"validated_items": [{"product_id": 3, "quantity": 26}]}}
    put_off(
        family,
        run(family, "update_inventory", results=cart),
        30,
        "Insufficient stock for Widget C. Available: 25, Requested: 26",
    )


def test_an_order_is_made(results: dict[str, Any]) -> None:
    order = results["create_order"]
    created = datetime.fromisoformat(order["created_at"])
    assert 1000 <= order["order_id"] <= 9999
    assert re.fullmatch(rf"ORD-{created:%Y%m%d}-[0-9A-F]{{8}}", order["order_number"])
    assert order["estimated_delivery"] == f"{created + timedelta(days=7):%B %d, %Y}"
    assert order["status"] == "confirmed"
    assert order["total_amount"] == 124.75999999999999
    assert order["customer_email"] == "ada@example.com"
    assert created.tzinfo == timezone.utc


@pytest.mark.parametrize(
    ("missing", "code"),
    [
        ("validate_cart", "MISSING_CART_VALIDATION"),
        ("process_payment", "MISSING_PAYMENT_RESULT"),
        ("update_inventory", "MISSING_INVENTORY_RESULT"),
    ],
)
def test_an_order_needs_all_earlier_results(
    family: Any, results: dict[str, Any], missing: str, code: str
) -> None:
    del results[missing]
    refused(family, run(family, "create_order", results=results), code)


def test_an_order_needs_a_customer(family: Any, results: dict[str, Any]) -> None:
    refused(family, run(family, "create_order", {}, results), "MISSING_CUSTOMER_INFO")


def test_the_order_is_confirmed(family: Any, results: dict[str, Any]) -> None:
    mail = results["send_confirmation"]
    assert re.fullmatch(family.message_id, mail.pop("message_id"))
    assert datetime.fromisoformat(mail.pop("sent_at"))
    assert mail == {
        "email_sent": True,
        "recipient": "ada@example.com",
        "email_type": "order_confirmation",
    }


@pytest.mark.parametrize(
    ("missing", "code"),
    [("create_order", "MISSING_ORDER_RESULT"), ("validate_cart", "MISSING_CART_VALIDATION")],
)
def test_a_confirmation_needs_order_and_cart(
    family: Any, results: dict[str, Any], missing: str, code: str
) -> None:
    del results[missing]
    refused(family, run(family, "send_confirmation", results=results), code)


@pytest.mark.parametrize(
    ("customer", "code"),
    [
        (None, "MISSING_CUSTOMER_EMAIL"),
        ({"name": "Ada"}, "MISSING_CUSTOMER_EMAIL"),
        ({"email": "ada at example.com"}, "INVALID_EMAIL"),
    ],
)
def test_a_confirmation_needs_an_address(
    family: Any, results: dict[str, Any], customer: Any, code: str
) -> None:
    refused(family, run(family, "send_confirmation", {"customer_info": customer}, results), code)


def test_a_refused_order_stops_there(family: Any) -> None:
    declined = {**ORDER, "payment_info": {**PAYMENT, "token": "tok_test_declined"}}
    task = run_task(HERE / family.template, input_data=declined, handlers=family.module)
    assert {name.removesuffix(family.suffix): step.state for name, step in task.steps.items()} == {
        "validate_cart": "complete",
        "process_payment": "error",
        "update_inventory": "pending",
        "create_order": "pending",
        "send_confirmation": "pending",
    }
