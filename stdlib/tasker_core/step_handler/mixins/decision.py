"""Results by which a handler says which steps come next."""

from typing import TYPE_CHECKING, Any

from tasker_core.types import DecisionPointOutcome, StepHandlerResult

if TYPE_CHECKING:
    from tasker_core.step_handler.base import StepHandler as _Host
else:
    _Host = object

__all__ = ["DecisionMixin"]


class DecisionMixin(_Host):
    """Lets a step handler route; put it before ``StepHandler`` in the bases.

    >>> from tasker_core import StepHandler
    >>> class Route(DecisionMixin, StepHandler):
    ...     def call(self, context):
    ...         return self.route_to_steps(["manual_review"])
    >>> Route().call(None).result
    {'decision_point_outcome': {'type': 'create_steps', 'step_names': ['manual_review']}}
    """

    @property
    def decision_capabilities(self) -> list[str]:
        """What this mixin adds."""
        return ["decision", "routing"]

    def decision_success(
        self,
        steps: list[str],
        routing_context: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> StepHandlerResult:
        """Return the decision to go on with ``steps``."""
        outcome = DecisionPointOutcome.create_steps(steps, routing_context=routing_context)
        return self.decision_success_with_outcome(outcome, metadata=metadata)

    def decision_success_with_outcome(
        self, outcome: DecisionPointOutcome, metadata: dict[str, Any] | None = None
    ) -> StepHandlerResult:
        """Return the decision that ``outcome`` tells."""
        result: dict[str, Any] = {
            "decision_point_outcome": {
                "type": outcome.decision_type.value,
                "step_names": outcome.next_step_names,
            }
        }
        if outcome.dynamic_steps:
            result["dynamic_steps"] = outcome.dynamic_steps
        if outcome.routing_context:
            result["routing_context"] = outcome.routing_context
        return self.success(result, metadata=_decision_metadata(self, metadata))

    def decision_no_branches(
        self, outcome: DecisionPointOutcome, metadata: dict[str, Any] | None = None
    ) -> StepHandlerResult:
        """Return the decision to create nothing."""
        result: dict[str, Any] = {
            "decision_point_outcome": {"type": outcome.decision_type.value},
            "reason": outcome.reason,
        }
        if outcome.routing_context:
            result["routing_context"] = outcome.routing_context
        return self.success(result, metadata=_decision_metadata(self, metadata))

    def route_to_steps(
        self,
        step_names: list[str],
        routing_context: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> StepHandlerResult:
        """Return the decision to go on with ``step_names``."""
        return self.decision_success(step_names, routing_context, metadata)

    def skip_branches(
        self,
        reason: str,
        routing_context: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> StepHandlerResult:
        """Return the decision to create nothing, and why."""
        outcome = DecisionPointOutcome.no_branches(reason, routing_context)
        return self.decision_no_branches(outcome, metadata=metadata)

    def decision_failure(
        self,
        message: str,
        error_type: str = "decision_error",
        retryable: bool = False,
        metadata: dict[str, Any] | None = None,
    ) -> StepHandlerResult:
        """Return that no decision could be made."""
        return self.failure(
            message=message,
            error_type=error_type,
            retryable=retryable,
            metadata=_decision_metadata(self, metadata),
        )


# No method: handlers may have one of any name, and it would be called instead.
def _decision_metadata(handler: _Host, metadata: dict[str, Any] | None) -> dict[str, Any]:
    return {
        **(metadata or {}),
        "decision_handler": handler.name,
        "decision_version": handler.version,
    }
