"""Tests of programs pass mocks and small objects where the package has parts of its own."""

import json
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
from pydantic import BaseModel
from tasker_core import (
    EventNames,
    HandlerDefinition,
    HandlerRegistry,
    ResolverChain,
    StepExecutionSubscriber,
    StepHandler,
)
from tasker_core.step_handler import depends_on, inputs, step_handler
from tasker_core.step_handler.functional import _inject_args
from tasker_core.testing import step_event
from taskerpy_host import lane

from tests.python.core.execution import Parts, handler

SPECIAL = [{"step_config": {"limit": 5}}, {"method": "refund"}, {"resolver": "shop"}]


class Ping(StepHandler):
    handler_name = "ping"

    def call(self, context: Any) -> Any:
        return self.success({"pong": True})


# For a registry (§12.2).


@pytest.mark.parametrize("special", SPECIAL)
def test_a_mocked_registry_is_asked_by_name(parts: Parts, special: dict[str, Any]) -> None:
    registry = mock.Mock()
    registry.resolve.return_value = Ping()
    subscriber = StepExecutionSubscriber(parts.bridge, registry, "w")
    subscriber._handle_execution_event(step_event(handler="orders", **special))
    registry.resolve.assert_called_once_with("orders")
    assert parts.complete.call_args.args[1]["result"] == {"pong": True}


@pytest.mark.parametrize("special", SPECIAL)
def test_a_registry_that_knows_names_only_will_do(parts: Parts, special: dict[str, Any]) -> None:
    registry: Any = SimpleNamespace(resolve={"orders": Ping()}.get)
    subscriber = StepExecutionSubscriber(parts.bridge, registry, "w")
    subscriber._handle_execution_event(step_event(handler="orders", **special))
    assert parts.complete.call_args.args[1]["result"] == {"pong": True}


def test_a_registry_whose_resolve_is_replaced_is_asked_by_name(parts: Parts) -> None:
    with mock.patch.object(parts.registry, "resolve", return_value=Ping()) as resolve:
        parts.subscriber._handle_execution_event(step_event(handler="orders", method="refund"))
    resolve.assert_called_once_with("orders")


class OwnRegistry(HandlerRegistry):
    """A program's registry, which knows names as the published package asks for them."""

    def resolve(self, handler_spec: Any) -> Any:
        assert isinstance(handler_spec, str)
        return super().resolve(handler_spec.upper())


@pytest.mark.parametrize("special", SPECIAL)
def test_a_registry_with_a_resolve_of_its_own_is_asked_by_name(
    parts: Parts, special: dict[str, Any]
) -> None:
    registry = OwnRegistry()
    registry.register("ORDERS", Ping)
    event = step_event(handler="orders", **special)
    stored = json.loads(lane.run(json.dumps(event.model_dump()).encode(), registry)[1:])
    assert stored["result"] == {"pong": True}
    StepExecutionSubscriber(parts.bridge, registry, "w")._handle_execution_event(event)
    assert parts.complete.call_args.args[1]["result"] == {"pong": True}


# For a result (§12.4, §12.5).


def stand_in(**fields: Any) -> SimpleNamespace:
    """What is read of a result, without being one."""
    plain = {"result": None, "error_message": None, "error_type": None, "retryable": True}
    return SimpleNamespace(**{"is_success": True, "metadata": {}, **plain, **fields})


def run(parts: Parts, value: Any) -> dict[str, Any]:
    parts.registry.register("orders", handler(lambda context: value, "orders"))
    parts.subscriber._handle_execution_event(step_event(handler="orders"))
    parts.complete.assert_called_once()
    sent: dict[str, Any] = parts.complete.call_args.args[1]
    return sent


def test_what_looks_like_a_success_is_submitted_as_one(parts: Parts) -> None:
    sent = run(parts, stand_in(result={"a": 1}, metadata={"b": 2}))
    assert (sent["status"], sent["result"]) == ("completed", {"a": 1})
    assert sent["metadata"] == {"b": 2}


def test_what_looks_like_a_failure_is_submitted_as_one(parts: Parts) -> None:
    sent = run(parts, stand_in(is_success=False, error_message="no", retryable=False))
    assert (sent["status"], sent["error"]["message"]) == ("permanent_error", "no")


def test_a_mocked_result_is_submitted_with_what_was_set(parts: Parts) -> None:
    fields = vars(stand_in(is_success=False, error_message="no", error_type="t"))
    sent = run(parts, mock.MagicMock(**fields))
    assert sent["error"]["error_type"] == "t"
    assert sent["metadata"] == {"retryable": True}


def test_the_execution_gives_what_the_handler_gave(parts: Parts) -> None:
    given = object()
    assert (
        parts.subscriber._execute_handler(step_event(), handler(lambda context: given)()) is given
    )


# For a context (§13.5.3).


class Order(BaseModel):
    amount: int
    note: str | None = None
    currency: str = "EUR"


@step_handler("pay")
@depends_on(cart="fill_cart")
@inputs(Order)
def pay(cart: Any, inputs: Order) -> Any:
    return {"cart": cart, **inputs.model_dump()}


def contexts() -> list[Any]:
    get_input = {"amount": 3, "note": "x"}.get
    mocked = mock.MagicMock()
    mocked.get_input.side_effect = get_input
    mocked.get_dependency_result.return_value = {"n": 1}
    return [
        mocked,
        SimpleNamespace(get_input=get_input, get_dependency_result=lambda name: {"n": 1}),
    ]


@pytest.mark.parametrize("context", contexts(), ids=["mock", "object"])
def test_a_context_is_asked_for_its_inputs_by_its_methods(context: Any) -> None:
    result: Any = pay._handler_class().call(context)
    assert result.result == {"cart": {"n": 1}, "amount": 3, "note": "x", "currency": "EUR"}


def test_a_context_is_asked_for_each_input_of_a_model_by_its_name() -> None:
    context = contexts()[0]
    _inject_args(pay, context, {}, [])
    assert [call.args for call in context.get_input.call_args_list] == [
        ("amount",),
        ("note",),
        ("currency",),
    ]


# For a resolver (§10.7) and a module (§11.2, §11.3).


@pytest.mark.parametrize("hint", [None, "shop"])
def test_a_resolver_may_look_into_its_configuration(hint: str | None) -> None:
    resolver = mock.Mock(priority=1)
    resolver.name = "shop"
    chain = ResolverChain().add_resolver(resolver)
    definition = HandlerDefinition("orders", resolver=hint)
    chain.can_resolve(definition)
    chain.resolve(definition)
    resolver.can_resolve.assert_called_with(definition, {})
    resolver.resolve.assert_called_once_with(definition, {})


@pytest.mark.parametrize("module", [SimpleNamespace(ping=Ping), mock.Mock(spec=["ping"])])
def test_handlers_are_discovered_in_what_an_import_is_made_to_give(module: Any) -> None:
    module.ping = Ping
    registry = HandlerRegistry()
    with mock.patch("tasker_core.handler.importlib.import_module", return_value=module) as imported:
        assert registry.discover_handlers("shop") == 1
    imported.assert_called_once_with("shop")
    assert registry.list_handlers() == ["ping"]


def test_discovery_is_replaced_where_it_is_defined() -> None:
    registry = HandlerRegistry()
    with (
        mock.patch("tasker_core.template_discovery.TemplatePath") as paths,
        mock.patch("tasker_core.template_discovery.HandlerDiscovery") as discovery,
        mock.patch.object(registry, "_find_and_load_handler_class", return_value=Ping),
    ):
        paths.find_template_config_directory.return_value = "templates"
        discovery.discover_all_handlers.return_value = ["shop.Ping"]
        assert registry._discover_handlers_from_templates() == 1
    assert registry.list_handlers() == ["ping"]


def test_a_bridge_that_is_mocked_is_told_of_the_completion(parts: Parts) -> None:
    bridge = mock.Mock()
    parts.registry.register("ping", Ping)
    subscriber = StepExecutionSubscriber(bridge, parts.registry, "w")
    subscriber._handle_execution_event(step_event(handler="ping"))
    bridge.publish.assert_called_once_with(EventNames.STEP_COMPLETION_SENT, mock.ANY)
