"""Classes to derive handlers from, and what mixins add (§13.1 to 13.4)."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest
import tasker_core.step_handler
from tasker_core import (
    ApiHandler,
    Batchable,
    DecisionHandler,
    DecisionPointOutcome,
    ErrorType,
    StepContext,
    StepHandler,
    StepHandlerResult,
    step_handler,
)
from tasker_core.step_handler import mixins
from tasker_core.step_handler.mixins import APIMixin, DecisionMixin
from tasker_core.step_handler.mixins.api import ApiResponse


class Plain(StepHandler):
    def call(self, context: StepContext) -> StepHandlerResult:
        return self.success()


class Named(Plain):
    handler_name = "shop.named"
    handler_version = "2.1.0"


def test_the_exports_of_the_package() -> None:
    assert set(tasker_core.step_handler.__all__) == {
        "StepHandler",
        "ApiHandler",
        "ApiResponse",
        "DecisionHandler",
        "mixins",
        "api_handler",
        "step_handler",
        "depends_on",
        "inputs",
        "decision_handler",
        "batch_analyzer",
        "batch_worker",
        "Decision",
        "BatchConfig",
        "FunctionalHandler",
        "HandlerDecorator",
    }


def test_the_import_paths_in_use() -> None:
    from tasker_core.step_handler import api, base, decision
    from tasker_core.step_handler.mixins import api as api_mixin
    from tasker_core.step_handler.mixins import decision as decision_mixin

    assert base.StepHandler is StepHandler
    assert api.ApiHandler is ApiHandler
    assert decision.DecisionHandler is DecisionHandler
    assert api.ApiResponse is mixins.ApiResponse is api_mixin.ApiResponse
    assert (api_mixin.APIMixin, decision_mixin.DecisionMixin) == (APIMixin, DecisionMixin)
    assert hasattr(base, "StepHandlerCallResult")


def test_a_handler_must_have_a_call() -> None:
    class Abstract(StepHandler):
        pass

    with pytest.raises(TypeError):
        Abstract()  # type: ignore[abstract]


def test_the_name_falls_back_to_the_class() -> None:
    assert (Plain.handler_name, Plain.handler_version) == ("", "1.0.0")
    assert (Plain().name, Plain().version) == ("Plain", "1.0.0")
    assert (Named().name, Named().version) == ("shop.named", "2.1.0")


def test_the_text_of_a_handler() -> None:
    assert repr(Named()) == "Named(name='shop.named', version='2.1.0')"


def test_what_a_plain_handler_can_do() -> None:
    assert Plain().capabilities == ["process"]
    assert Plain().config_schema() is None


def test_a_success_of_a_handler() -> None:
    assert Plain().success() == StepHandlerResult.success({})
    assert Plain().success({"a": 1}, {"m": 1}) == StepHandlerResult.success({"a": 1}, {"m": 1})


def test_a_failure_of_a_handler() -> None:
    assert Plain().failure("no") == StepHandlerResult.failure("no")
    assert Plain().failure("no").error_type == "handler_error"
    assert Plain().failure("no", ErrorType.TIMEOUT).error_type == "timeout"
    failed = Plain().failure("no", "own", False, {"m": 1}, "E1")
    assert failed == StepHandlerResult.failure("no", "own", False, {"m": 1}, "E1")


def test_handlers_may_have_constructors_of_their_own() -> None:
    class Own(Plain):
        def __init__(self, config: dict[str, Any]) -> None:
            self.config = config

    assert Own(config={"a": 1}).config == {"a": 1}


def test_capabilities_of_specialised_handlers() -> None:
    class Api(ApiHandler):
        call = Plain.call

    class Decide(DecisionHandler):
        call = Plain.call

    assert Api().capabilities == ["process", "http", "api"]
    assert Decide().capabilities == ["process", "decision", "routing"]


def test_a_mixin_alone_leaves_the_capabilities() -> None:
    class Both(APIMixin, DecisionMixin, Plain):
        pass

    assert Both().capabilities == ["process"]
    assert Both().api_capabilities == ["http", "api"]
    assert Both().decision_capabilities == ["decision", "routing"]


def test_mixins_combine_in_either_order() -> None:
    class First(Batchable, Plain):
        pass

    class Last(Plain, Batchable):
        pass

    for cls in (First, Last):
        assert cls().success() == StepHandlerResult.success({})


def test_the_attribute_of_the_root_is_the_package() -> None:
    assert step_handler is tasker_core.step_handler


# Decisions (§13.4)


class Route(DecisionMixin, Plain):
    handler_name = "route"
    handler_version = "3.0.0"


SIGNED = {"decision_handler": "route", "decision_version": "3.0.0"}


def test_a_decision_to_go_on() -> None:
    result = Route().decision_success(["a", "b"], {"why": 1}, {"m": 1})
    assert result.result == {
        "decision_point_outcome": {"type": "create_steps", "step_names": ["a", "b"]},
        "routing_context": {"why": 1},
    }
    assert (result.is_success, result.metadata) == (True, {"m": 1, **SIGNED})


def test_a_decision_without_a_routing_context_has_none() -> None:
    assert Route().decision_success(["a"]).result == {
        "decision_point_outcome": {"type": "create_steps", "step_names": ["a"]}
    }


def test_an_outcome_with_dynamic_steps() -> None:
    outcome = DecisionPointOutcome.create_steps(["a"], dynamic_steps=[{"name": "a"}])
    result = Route().decision_success_with_outcome(outcome)
    assert result.result == {
        "decision_point_outcome": {
            "type": "create_steps",
            "step_names": ["a"],
        },
        "dynamic_steps": [{"name": "a"}],
    }


def test_routing_is_a_decision() -> None:
    assert Route().route_to_steps(["a"], {"why": 1}, {"m": 1}) == Route().decision_success(
        ["a"], {"why": 1}, {"m": 1}
    )


def test_a_decision_to_stop() -> None:
    result = Route().skip_branches("nothing to do", {"why": 1}, {"m": 1})
    assert result.result == {
        "decision_point_outcome": {"type": "no_branches"},
        "reason": "nothing to do",
        "routing_context": {"why": 1},
    }
    assert (result.is_success, result.metadata) == (True, {"m": 1, **SIGNED})


def test_an_outcome_without_branches() -> None:
    outcome = DecisionPointOutcome.no_branches("nothing to do")
    assert Route().decision_no_branches(outcome).result == {
        "decision_point_outcome": {"type": "no_branches"},
        "reason": "nothing to do",
    }


def test_a_decision_that_fails_is_not_retried() -> None:
    result = Route().decision_failure("no data")
    assert (result.error_message, result.error_type) == ("no data", "decision_error")
    assert (result.retryable, result.metadata) == (False, SIGNED)
    assert Route().decision_failure("no data", "own", True, {"m": 1}).retryable is True


class ByName(Plain):
    """Takes by name what the published package passes by name."""

    def success(self, result: Any = None, **named: Any) -> StepHandlerResult:  # type: ignore[override]
        return super().success(result, **named)

    def failure(self, **named: Any) -> StepHandlerResult:  # type: ignore[override]
        return super().failure(**named)


class RouteByName(DecisionMixin, ByName):
    def decision_success_with_outcome(self, outcome: Any, **named: Any) -> StepHandlerResult:  # type: ignore[override]
        return super().decision_success_with_outcome(outcome, **named)

    def decision_no_branches(self, outcome: Any, **named: Any) -> StepHandlerResult:  # type: ignore[override]
        return super().decision_no_branches(outcome, **named)


class CallByName(APIMixin, ByName):
    pass


class Call(APIMixin, Plain):
    pass


@pytest.mark.parametrize(
    "decide",
    [
        lambda it: it.decision_success(["a"], {"why": 1}, {"m": 1}),
        lambda it: it.route_to_steps(["a"]),
        lambda it: it.skip_branches("nothing to do", metadata={"m": 1}),
        lambda it: it.decision_failure("no data", metadata={"m": 1}),
    ],
)
def test_what_decisions_are_made_with_may_take_its_arguments_by_name(
    decide: Callable[[DecisionMixin], StepHandlerResult],
) -> None:
    made, usual = decide(RouteByName()), decide(Route())
    assert (made.result, made.error_message) == (usual.result, usual.error_message)
    assert {**made.metadata, **SIGNED} == usual.metadata


@pytest.mark.parametrize(
    "answer",
    [
        lambda it: it.api_success(ApiResponse(httpx.Response(200, json={"a": 1}))),
        lambda it: it.api_failure(ApiResponse(httpx.Response(500, json={"a": 1}))),
        lambda it: it.connection_error(OSError("refused")),
        lambda it: it.timeout_error(OSError("too slow")),
    ],
)
def test_what_answers_are_made_of_may_take_its_arguments_by_name(
    answer: Callable[[APIMixin], StepHandlerResult],
) -> None:
    assert answer(CallByName()) == answer(Call())


# §15.2: decision helpers write into the caller's metadata.


def test_the_callers_metadata_stays_as_it_is() -> None:
    given = {"m": 1}
    Route().decision_success(["a"], metadata=given)
    Route().skip_branches("x", metadata=given)
    Route().decision_failure("x", metadata=given)
    assert given == {"m": 1}
