"""An approval whose way depends on the amount: handlers as classes."""

from tasker_core import StepContext, StepHandler, StepHandlerResult
from tasker_core.step_handler import DecisionHandler

from . import rules


class ValidateRequestHandler(StepHandler):
    """Look whether the request tells what is needed."""

    handler_name = "conditional_approval.step_handlers.ValidateRequestHandler"
    handler_version = "1.0.0"

    def call(self, context: StepContext) -> StepHandlerResult:
        """Return the request, or everything that is wrong with it."""
        errors = rules.errors_of(context.input_data)
        if errors:
            return self.failure(
                f"Validation failed: {', '.join(errors)}",
                error_type="validation_error",
                retryable=False,
            )
        return self.success({"validated": True, **rules.request_of(context.input_data)})


class RoutingDecisionHandler(DecisionHandler):
    """Decide who is to approve."""

    handler_name = "conditional_approval.step_handlers.RoutingDecisionHandler"
    handler_version = "1.0.0"

    SMALL_THRESHOLD = rules.SMALL_THRESHOLD
    LARGE_THRESHOLD = rules.LARGE_THRESHOLD

    def call(self, context: StepContext) -> StepHandlerResult:
        """Return the steps of those who are to approve."""
        validated = context.get_dependency_result("validate_request_py")
        if not validated:
            return self.decision_failure(
                "Missing validation result from validate_request_py",
                error_type="dependency_error",
            )
        amount = validated.get("amount")
        if amount is None:
            return self.decision_failure(
                "Missing amount in validation result", error_type="dependency_error"
            )
        path, threshold, steps = rules.route(amount)
        return self.decision_success(
            [f"{step}_py" for step in steps],
            routing_context={
                "approval_path": path,
                "amount": amount,
                "threshold_used": threshold,
            },
        )


class _ApprovalHandler(StepHandler):
    handler_version = "1.0.0"
    approval_type = ""

    def call(self, context: StepContext) -> StepHandlerResult:
        """Return the approval, if the way leads here."""
        routed = context.get_dependency_result("routing_decision_py")
        if not routed:
            return self.failure(
                "Missing routing decision result", error_type="dependency_error", retryable=True
            )
        return self.success(rules.approval(self.approval_type, rules.amount_of(routed)))


class AutoApproveHandler(_ApprovalHandler):
    """Approve a small amount."""

    handler_name = "conditional_approval.step_handlers.AutoApproveHandler"
    approval_type = "auto"


class ManagerApprovalHandler(_ApprovalHandler):
    """Have a manager approve."""

    handler_name = "conditional_approval.step_handlers.ManagerApprovalHandler"
    approval_type = "manager"


class FinanceReviewHandler(_ApprovalHandler):
    """Have finance approve a large amount."""

    handler_name = "conditional_approval.step_handlers.FinanceReviewHandler"
    approval_type = "finance"


class FinalizeApprovalHandler(StepHandler):
    """Sum up the approvals that there are."""

    handler_name = "conditional_approval.step_handlers.FinalizeApprovalHandler"
    handler_version = "1.0.0"

    def call(self, context: StepContext) -> StepHandlerResult:
        """Return the approvals and whether they are enough."""
        return self.success(
            rules.finalized(
                context.get_dependency_result(f"{step}_py") for step in rules.APPROVAL_STEPS
            )
        )
