"""A refund that one team decides and another pays: handlers as functions."""

from tasker_core import StepContext, StepHandlerResult
from tasker_core.step_handler import depends_on, inputs, step_handler

from . import customer_success_rules as success_rules
from . import payments_rules
from .refusal import Data, answer

_SUCCESS = "team_scaling_dsl_py.customer_success.step_handlers"
_PAYMENTS = "team_scaling_dsl_py.payments.step_handlers"


@step_handler(f"{_SUCCESS}.validate_refund_request")
def cs_validate_refund_request(context: StepContext) -> Data | StepHandlerResult:
    """Look whether the request is complete and its ticket open."""
    return answer(lambda: success_rules.validate_request(context.input_data))


@step_handler(f"{_SUCCESS}.check_refund_policy")
@depends_on(validated="validate_refund_request_dsl_py")
@inputs("refund_amount")
def cs_check_refund_policy(
    validated: Data | None, refund_amount: int | None
) -> Data | StepHandlerResult:
    """Look what the policy of the customer's tier says."""
    return answer(lambda: success_rules.check_policy(validated, refund_amount))


@step_handler(f"{_SUCCESS}.get_manager_approval")
@depends_on(policy="check_refund_policy_dsl_py", validated="validate_refund_request_dsl_py")
@inputs("refund_reason")
def cs_get_manager_approval(
    policy: Data | None, validated: Data | None, _refund_reason: str | None
) -> Data | StepHandlerResult:
    """Have a manager approve, where that is needed."""
    return answer(lambda: success_rules.approve(policy, validated))


@step_handler(f"{_SUCCESS}.execute_refund_workflow")
@depends_on(approval="get_manager_approval_dsl_py", validated="validate_refund_request_dsl_py")
@inputs("correlation_id")
def cs_execute_refund_workflow(
    approval: Data | None, validated: Data | None, correlation_id: str | None
) -> Data | StepHandlerResult:
    """Hand the refund to the payments team."""
    return answer(lambda: success_rules.delegate(approval, validated, correlation_id))


@step_handler(f"{_SUCCESS}.update_ticket_status")
@depends_on(delegation="execute_refund_workflow_dsl_py", validated="validate_refund_request_dsl_py")
@inputs("refund_amount")
def cs_update_ticket_status(
    delegation: Data | None, validated: Data | None, refund_amount: int | None
) -> Data | StepHandlerResult:
    """Resolve the ticket."""
    return answer(lambda: success_rules.resolve_ticket(delegation, validated, refund_amount))


@step_handler(f"{_PAYMENTS}.validate_payment_eligibility")
def pay_validate_payment_eligibility(context: StepContext) -> Data | StepHandlerResult:
    """Look whether the payment can be paid back."""
    return answer(lambda: payments_rules.validate_eligibility(context.input_data))


@step_handler(f"{_PAYMENTS}.process_gateway_refund")
@depends_on(validated="validate_payment_eligibility_dsl_py")
@inputs("refund_reason", "partial_refund")
def pay_process_gateway_refund(
    validated: Data | None, _refund_reason: str | None, _partial_refund: bool | None
) -> Data | StepHandlerResult:
    """Have the gateway pay back."""
    return answer(lambda: payments_rules.refund(validated))


@step_handler(f"{_PAYMENTS}.update_payment_records")
@depends_on(refunded="process_gateway_refund_dsl_py")
def pay_update_payment_records(refunded: Data | None) -> Data | StepHandlerResult:
    """Write down that was paid back."""
    return answer(lambda: payments_rules.update_records(refunded))


@step_handler(f"{_PAYMENTS}.notify_customer")
@depends_on(refunded="process_gateway_refund_dsl_py")
@inputs("customer_email")
def pay_notify_customer(
    refunded: Data | None, customer_email: str | None
) -> Data | StepHandlerResult:
    """Tell the customer; no mail fails on purpose here."""
    return answer(lambda: payments_rules.notify(refunded, customer_email, payments_rules.NONE))
