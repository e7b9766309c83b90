"""Decisions: what a decision handler hands to orchestration."""

from __future__ import annotations

from typing import Any

from tasker_core import (
    DecisionHandler,
    DecisionPointOutcome,
    StepContext,
    StepHandler,
    StepHandlerResult,
)
from tasker_core.step_handler import Decision
from tasker_core.step_handler.mixins import DecisionMixin

from tests.python.reference.recording import Recording

seen = Recording()


class Route(DecisionHandler):
    handler_name = "route"
    handler_version = "2.0.0"

    def call(self, context: StepContext) -> StepHandlerResult:
        return self.success({})


class Mixed(DecisionMixin, StepHandler):
    def call(self, context: StepContext) -> StepHandlerResult:
        return self.success({})


outcomes = {
    "steps": DecisionPointOutcome.create_steps(["a", "b"]),
    "no steps": DecisionPointOutcome.create_steps([]),
    "dynamic": DecisionPointOutcome.create_steps(["a"], [{"name": "x"}], {"amount": 5}),
    "nothing": DecisionPointOutcome.no_branches("too small"),
    "nothing with context": DecisionPointOutcome.no_branches("too small", {"amount": 5}),
}
for handler in (Route(), Mixed()):
    kind = type(handler).__name__
    seen.note(f"{kind}: capabilities", [handler.capabilities, handler.decision_capabilities])
    for name, outcome in outcomes.items():
        seen.call(f"{kind}: success {name}", handler.decision_success_with_outcome, outcome)
        seen.call(
            f"{kind}: success {name} with metadata",
            handler.decision_success_with_outcome,
            outcome,
            {"kept": 1},
        )
        seen.call(f"{kind}: no branches {name}", handler.decision_no_branches, outcome)
    calls: dict[str, tuple[Any, ...]] = {
        "alone": (["a"],),
        "with context": (["a", "b"], {"amount": 5}),
        "with metadata": (["a"], None, {"kept": 1}),
        "of none": ([],),
    }
    for name, arguments in calls.items():
        seen.call(f"{kind}: decide {name}", handler.decision_success, *arguments)
        seen.call(f"{kind}: route {name}", handler.route_to_steps, *arguments)
    seen.call(f"{kind}: skip", handler.skip_branches, "too small")
    seen.call(f"{kind}: skip with all", handler.skip_branches, "small", {"amount": 1}, {"kept": 1})
    seen.call(f"{kind}: skip for no reason", handler.skip_branches, "")
    seen.call(f"{kind}: failure", handler.decision_failure, "cannot decide")
    seen.call(
        f"{kind}: failure with all", handler.decision_failure, "no", "kind", True, {"kept": 1}
    )
for name, outcome in outcomes.items():
    seen.note(f"outcome {name}", outcome)
seen.note("decision route", Decision.route(["a", "b"], amount=5).outcome)
seen.note("decision skip", Decision.skip("too small", amount=5).outcome)
seen.note("decision skip alone", Decision.skip(reason="too small").outcome)
seen.call("decision is frozen", setattr, Decision.skip("x"), "outcome", None)

seen.write()
