"""An order from the cart to its confirmation: handlers as classes.

What is refused is raised: ``PermanentError`` for good, ``RetryableError`` for now.
"""

from tasker_core import StepContext, StepHandler, StepHandlerResult

from . import shop


class ValidateCartHandler(StepHandler):
    """Look up the items and add up what they cost."""

    handler_name = "ecommerce.step_handlers.ValidateCartHandler"
    handler_version = "1.0.0"

    def call(self, context: StepContext) -> StepHandlerResult:
        """Return the priced cart."""
        cart = shop.price_cart(context.get_input("cart_items"))
        return self.success(
            cart, metadata={"operation": "validate_cart", "item_count": cart["item_count"]}
        )


class ProcessPaymentHandler(StepHandler):
    """Charge the cart's total."""

    handler_name = "ecommerce.step_handlers.ProcessPaymentHandler"
    handler_version = "1.0.0"

    def call(self, context: StepContext) -> StepHandlerResult:
        """Return the payment; its fees are in the metadata."""
        payment = shop.charge(
            context.get_input("payment_info"), context.get_dependency_result("validate_cart")
        )
        return self.success(
            payment,
            metadata={
                "operation": "process_payment",
                "fees": shop.fees(payment["amount_charged"]),
            },
        )


class UpdateInventoryHandler(StepHandler):
    """Reserve the items."""

    handler_name = "ecommerce.step_handlers.UpdateInventoryHandler"
    handler_version = "1.0.0"

    def call(self, context: StepContext) -> StepHandlerResult:
        """Return the reservations."""
        inventory = shop.reserve(
            context.get_dependency_result("validate_cart"), context.get_input("customer_info")
        )
        return self.success(
            inventory,
            metadata={
                "operation": "update_inventory",
                "items_reserved": inventory["total_items_reserved"],
            },
        )


class CreateOrderHandler(StepHandler):
    """Make the order of cart, payment and reservations."""

    handler_name = "ecommerce.step_handlers.CreateOrderHandler"
    handler_version = "1.0.0"

    def call(self, context: StepContext) -> StepHandlerResult:
        """Return the order."""
        placed = shop.order(
            context.get_input("customer_info"),
            context.get_dependency_result("validate_cart"),
            context.get_dependency_result("process_payment"),
            context.get_dependency_result("update_inventory"),
        )
        return self.success(
            placed,
            metadata={"operation": "create_order", "order_number": placed["order_number"]},
        )


class SendConfirmationHandler(StepHandler):
    """Tell the customer."""

    handler_name = "ecommerce.step_handlers.SendConfirmationHandler"
    handler_version = "1.0.0"

    def call(self, context: StepContext) -> StepHandlerResult:
        """Return the mail that was sent."""
        mail = shop.confirmation(
            context.get_input("customer_info"),
            context.get_dependency_result("create_order"),
            context.get_dependency_result("validate_cart"),
            shop.new_id("msg", 24),
        )
        return self.success(
            mail, metadata={"operation": "send_confirmation", "recipient": mail["recipient"]}
        )
