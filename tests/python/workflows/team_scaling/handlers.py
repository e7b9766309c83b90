"""A refund that one team decides and another pays: handlers as classes."""

from tasker_core import StepContext

from . import customer_success_rules as success_rules
from . import payments_rules
from .refusal import Data, RefundHandler

_SUCCESS = "team_scaling.customer_success.step_handlers"
_PAYMENTS = "team_scaling.payments.step_handlers"
_APPROVAL_FAILURES = {**success_rules.DENIED_TICKETS, **success_rules.PENDING_TICKETS}


class ValidateRefundRequestHandler(RefundHandler):
    """Look whether the request is complete and its ticket open."""

    handler_name = f"{_SUCCESS}.ValidateRefundRequestHandler"

    def work(self, context: StepContext) -> Data:
        """Return the validated request."""
        return success_rules.validate_request(context.input_data)


class CheckRefundPolicyHandler(RefundHandler):
    """Look what the policy of the customer's tier says."""

    handler_name = f"{_SUCCESS}.CheckRefundPolicyHandler"

    def work(self, context: StepContext) -> Data:
        """Return what the policy says."""
        return success_rules.check_policy(
            context.get_dependency_result("validate_refund_request"),
            context.get_input("refund_amount"),
        )


class GetManagerApprovalHandler(RefundHandler):
    """Have a manager approve, where that is needed."""

    handler_name = f"{_SUCCESS}.GetManagerApprovalHandler"

    def work(self, context: StepContext) -> Data:
        """Return the approval."""
        return success_rules.approve(
            context.get_dependency_result("check_refund_policy"),
            context.get_dependency_result("validate_refund_request"),
            _APPROVAL_FAILURES,
        )


class ExecuteRefundWorkflowHandler(RefundHandler):
    """Hand the refund to the payments team."""

    handler_name = f"{_SUCCESS}.ExecuteRefundWorkflowHandler"

    def work(self, context: StepContext) -> Data:
        """Return the task of the payments team."""
        return success_rules.delegate(
            context.get_dependency_result("get_manager_approval"),
            context.get_dependency_result("validate_refund_request"),
            context.get_input("correlation_id"),
        )


class UpdateTicketStatusHandler(RefundHandler):
    """Resolve the ticket."""

    handler_name = f"{_SUCCESS}.UpdateTicketStatusHandler"

    def work(self, context: StepContext) -> Data:
        """Return the ticket's new state."""
        return success_rules.resolve_ticket(
            context.get_dependency_result("execute_refund_workflow"),
            context.get_dependency_result("validate_refund_request"),
            context.get_input("refund_amount"),
        )


class ValidatePaymentEligibilityHandler(RefundHandler):
    """Look whether the payment can be paid back."""

    handler_name = f"{_PAYMENTS}.ValidatePaymentEligibilityHandler"

    def work(self, context: StepContext) -> Data:
        """Return the validated payment."""
        return payments_rules.validate_eligibility(context.input_data)


class ProcessGatewayRefundHandler(RefundHandler):
    """Have the gateway pay back."""

    handler_name = f"{_PAYMENTS}.ProcessGatewayRefundHandler"

    def work(self, context: StepContext) -> Data:
        """Return the gateway's refund."""
        return payments_rules.refund(context.get_dependency_result("validate_payment_eligibility"))


class UpdatePaymentRecordsHandler(RefundHandler):
    """Write down that was paid back."""

    handler_name = f"{_PAYMENTS}.UpdatePaymentRecordsHandler"

    def work(self, context: StepContext) -> Data:
        """Return the payment's new record."""
        return payments_rules.update_records(
            context.get_dependency_result("process_gateway_refund")
        )


class NotifyCustomerHandler(RefundHandler):
    """Tell the customer."""

    handler_name = f"{_PAYMENTS}.NotifyCustomerHandler"

    def work(self, context: StepContext) -> Data:
        """Return the mail."""
        return payments_rules.notify(
            context.get_dependency_result("process_gateway_refund"),
            context.get_input("customer_email"),
        )
