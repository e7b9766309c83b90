"""An approval whose way depends on the amount: handlers as functions."""

from typing import Any

from tasker_core import StepContext, StepHandlerResult
from tasker_core.step_handler import Decision, decision_handler, depends_on, step_handler

from . import rules

_MODULE = "conditional_approval_dsl_py.step_handlers"


@step_handler(f"{_MODULE}.validate_request")
def validate_request(context: StepContext) -> dict[str, Any] | StepHandlerResult:
    """Look whether the request tells what is needed."""
    errors = rules.errors_of(context.input_data)
    if errors:
        return StepHandlerResult.failure(
            f"Validation failed: {', '.join(errors)}", "validation_error", retryable=False
        )
    return {"validated": True, **rules.request_of(context.input_data)}


@decision_handler(f"{_MODULE}.routing_decision")
@depends_on(validated="validate_request_dsl_py")
def routing_decision(validated: dict[str, Any] | None) -> Decision | StepHandlerResult:
    """Decide who is to approve."""
    if not validated:
        return StepHandlerResult.failure(
            "Missing validation result from validate_request_dsl_py", "dependency_error"
        )
    amount = validated.get("amount")
    if amount is None:
        return StepHandlerResult.failure("Missing amount in validation result", "dependency_error")
    path, threshold, steps = rules.route(amount)
    return Decision.route(
        [f"{step}_dsl_py" for step in steps],
        approval_path=path,
        amount=amount,
        threshold_used=threshold,
    )


def _approve(
    approval_type: str, routed: dict[str, Any] | None
) -> dict[str, Any] | StepHandlerResult:
    if not routed:
        return StepHandlerResult.failure("Missing routing decision result", "dependency_error")
    return rules.approval(approval_type, rules.amount_of(routed))


@step_handler(f"{_MODULE}.auto_approve")
@depends_on(routed="routing_decision_dsl_py")
def auto_approve(routed: dict[str, Any] | None) -> dict[str, Any] | StepHandlerResult:
    """Approve a small amount."""
    return _approve("auto", routed)


@step_handler(f"{_MODULE}.manager_approval")
@depends_on(routed="routing_decision_dsl_py")
def manager_approval(routed: dict[str, Any] | None) -> dict[str, Any] | StepHandlerResult:
    """Have a manager approve."""
    return _approve("manager", routed)


@step_handler(f"{_MODULE}.finance_review")
@depends_on(routed="routing_decision_dsl_py")
def finance_review(routed: dict[str, Any] | None) -> dict[str, Any] | StepHandlerResult:
    """Have finance approve a large amount."""
    return _approve("finance", routed)


@step_handler(f"{_MODULE}.finalize_approval")
@depends_on(
    auto="auto_approve_dsl_py",
    manager="manager_approval_dsl_py",
    finance="finance_review_dsl_py",
)
def finalize_approval(
    auto: dict[str, Any] | None,
    manager: dict[str, Any] | None,
    finance: dict[str, Any] | None,
) -> dict[str, Any]:
    """Sum up the approvals that there are."""
    return rules.finalized([auto, manager, finance])
