"""The handlers of a worker, by name (§11)."""

import threading
import types
from typing import Any
from unittest import mock

import pytest
from tasker_core import (
    HandlerDefinition,
    HandlerRegistry,
    HandlerWrapper,
    RegistryResolver,
    ResolverNotFoundError,
    StepHandler,
)
from tasker_core import handler as handler_module
from tasker_core.step_handler import step_handler
from tasker_core.step_handler.base import StepHandler as BaseStepHandler

from tests.python.core.test_core_resolver_chain import Fixed, Table


class Orders(StepHandler):
    handler_name = "orders"

    def __init__(self, config: dict[str, Any] | None = None) -> None:
        self.config = config

    def call(self, context: Any) -> Any:
        return self.success({"called": "call"})

    def refund(self, context: Any) -> Any:
        return self.success({"called": "refund"})


class OtherOrders(Orders):
    pass


class NeedsSettings(Orders):
    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config


class Broken(Orders):
    def __init__(self) -> None:
        raise ValueError("no")


class Nameless(StepHandler):
    def call(self, context: Any) -> Any:
        return self.success()


@step_handler("decorated")
def decorated() -> dict[str, Any]:
    return {}


def test_the_exports_of_the_module() -> None:
    assert set(handler_module.__all__) == {"StepHandler", "HandlerRegistry"}
    assert handler_module.StepHandler is BaseStepHandler
    assert hasattr(handler_module, "HandlerSpec")


def test_a_new_registry_is_empty(registry: HandlerRegistry) -> None:
    assert (registry.list_handlers(), registry.handler_count()) == ([], 0)
    assert registry._bootstrapped is False
    assert registry.resolver_chain is registry._resolver_chain
    assert registry.resolver_chain.resolver_names == ["explicit_mapping", "class_lookup"]


# The singleton


def test_there_is_one_instance_until_it_is_reset() -> None:
    first = HandlerRegistry.instance(skip_bootstrap=True)
    assert HandlerRegistry.instance() is first
    HandlerRegistry.reset_instance()
    assert HandlerRegistry._instance is None
    assert HandlerRegistry.instance(skip_bootstrap=True) is not first


def test_making_the_instance_looks_for_handlers_unless_told_not_to() -> None:
    assert HandlerRegistry.instance()._bootstrapped is True
    HandlerRegistry.reset_instance()
    assert HandlerRegistry.instance(skip_bootstrap=True)._bootstrapped is False
    assert HandlerRegistry.instance()._bootstrapped is False


def test_many_threads_get_the_same_instance() -> None:
    found: list[HandlerRegistry] = []
    threads = [
        threading.Thread(target=lambda: found.append(HandlerRegistry.instance())) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(registry) for registry in found}) == 1


# Registering


def test_registering_a_class(registry: HandlerRegistry) -> None:
    registry.register("shop.orders", Orders)
    assert registry.is_registered("shop.orders") is True
    assert registry.get_handler_class("shop.orders") is Orders
    assert registry.list_handlers() == ["shop.orders"]
    assert registry.resolver_chain.registered_callables() == ["shop.orders"]


@pytest.mark.parametrize("bad", [object, "orders", None, Orders(), decorated])
def test_what_is_no_handler_class_is_refused(registry: HandlerRegistry, bad: Any) -> None:
    with pytest.raises(ValueError) as caught:
        registry.register("bad", bad)
    assert str(caught.value) == f"handler_class must be a StepHandler subclass, got {bad!r}"
    assert registry.handler_count() == 0


def test_registering_again_replaces(registry: HandlerRegistry) -> None:
    registry.register("orders", Orders)
    registry.register("orders", OtherOrders)
    assert registry.handler_count() == 1
    assert type(registry.resolve("orders")) is OtherOrders


def test_another_class_under_a_name_is_warned_of(registry: HandlerRegistry) -> None:
    registry.register("orders", Orders)
    with mock.patch("tasker_core.handler.log_warn") as log_warn:
        registry.register("orders", OtherOrders)
    log_warn.assert_called_once()


def test_the_same_class_under_a_name_is_no_news(registry: HandlerRegistry) -> None:
    registry.register("orders", Orders)
    with mock.patch("tasker_core.handler.log_warn") as log_warn:
        registry.register("orders", Orders)
    log_warn.assert_not_called()


def test_an_abstract_class_can_be_registered_but_not_made(registry: HandlerRegistry) -> None:
    class Abstract(StepHandler):
        handler_name = "abstract"

    registry.register("abstract", Abstract)  # type: ignore[type-abstract]
    assert registry.resolve("abstract") is None


def test_unregistering(registry: HandlerRegistry) -> None:
    registry.register("orders", Orders)
    assert registry.unregister("orders") is True
    assert registry.unregister("orders") is False
    assert registry.get_handler_class("orders") is None
    assert registry.resolve("orders") is None


def test_a_resolver_of_the_programs_may_take_the_place_of_the_explicit_one(
    registry: HandlerRegistry,
) -> None:
    table = Table()
    registry.resolver_chain.remove_resolver("explicit_mapping")
    registry.resolver_chain.add_resolver(table)
    registry.register("orders", Orders)
    assert table.table == {"orders": Orders}
    assert registry.unregister("orders") is True
    assert table.table == {}


@pytest.mark.parametrize("others", [[], [Fixed("explicit_mapping", 10, None)]])
def test_registering_without_an_explicit_resolver(
    registry: HandlerRegistry, others: list[Fixed]
) -> None:
    registry.resolver_chain.remove_resolver("explicit_mapping")
    for resolver in others:
        registry.resolver_chain.add_resolver(resolver)
    registry.register("orders", Orders)
    assert registry.get_handler_class("orders") is Orders
    assert registry.unregister("orders") is True


def test_unregistering_without_an_explicit_resolver(registry: HandlerRegistry) -> None:
    registry.register("orders", Orders)
    registry.resolver_chain.remove_resolver("explicit_mapping")
    assert registry.unregister("orders") is True


def test_clearing_forgets_everything(registry: HandlerRegistry) -> None:
    registry.register("orders", Orders)
    registry.bootstrap_handlers()
    registry.resolver_chain.add_resolver(RegistryResolver())
    registry.clear()
    assert (registry.handler_count(), registry._bootstrapped) == (0, False)
    assert registry.resolver_chain.resolver_names == ["explicit_mapping", "class_lookup"]
    assert registry.resolve("orders") is None


# Resolving


@pytest.mark.parametrize(
    "spec",
    [
        "orders",
        HandlerDefinition("orders"),
        HandlerDefinition("orders", "call"),
        HandlerWrapper(callable="orders", initialization={}),
    ],
)
def test_a_handler_can_be_asked_for_in_three_ways(registry: HandlerRegistry, spec: Any) -> None:
    registry.register("orders", Orders)
    assert type(registry.resolve(spec)) is Orders


def test_each_resolution_gives_a_new_handler(registry: HandlerRegistry) -> None:
    registry.register("orders", Orders)
    assert registry.resolve("orders") is not registry.resolve("orders")


@pytest.mark.parametrize("spec", [None, 5, ["orders"]])
def test_other_specs_give_nothing(registry: HandlerRegistry, spec: Any) -> None:
    assert registry.resolve(spec) is None


@pytest.mark.parametrize("name", ["unknown", "", "no.such.module.Name"])
def test_an_unknown_name_gives_nothing(registry: HandlerRegistry, name: str) -> None:
    assert registry.resolve(name) is None


def test_a_class_that_cannot_be_made_gives_nothing(registry: HandlerRegistry) -> None:
    registry.register("broken", Broken)
    assert registry.resolve("broken") is None


def test_settings_reach_the_constructor(registry: HandlerRegistry) -> None:
    registry.register("orders", NeedsSettings)
    definition = HandlerDefinition("orders", initialization={"limit": 5})
    assert registry.resolve(definition).config == {"limit": 5}


@pytest.mark.parametrize(
    "spec",
    [
        HandlerDefinition("orders", "refund"),
        HandlerWrapper(callable="orders", initialization={}, handler_method="refund"),
    ],
)
def test_a_method_is_dispatched_to(registry: HandlerRegistry, spec: Any) -> None:
    registry.register("orders", Orders)
    handler = registry.resolve(spec)
    assert handler.call(None).result == {"called": "refund"}
    assert (handler.name, handler.version, handler.target_method) == ("orders", "1.0.0", "refund")


# §15.2: double wrapping on dispatch.


def test_a_dispatched_handler_is_wrapped_once(registry: HandlerRegistry) -> None:
    registry.register("orders", Orders)
    assert type(registry.resolve(HandlerDefinition("orders", "refund")).unwrap()) is Orders


def test_a_missing_method_gives_nothing(registry: HandlerRegistry) -> None:
    registry.register("orders", Orders)
    assert registry.resolve(HandlerDefinition("orders", "cancel")) is None


def test_an_unknown_resolver_is_an_error(registry: HandlerRegistry) -> None:
    with pytest.raises(ResolverNotFoundError):
        registry.resolve(HandlerDefinition("orders", resolver="unknown"))


def test_a_class_path_needs_no_registration(registry: HandlerRegistry) -> None:
    made = registry.resolve("tests.python.core.test_core_handler_registry.Orders")
    assert made.name == "orders"


def test_a_custom_resolver_of_a_lower_priority_is_asked_first(registry: HandlerRegistry) -> None:
    class First(RegistryResolver):
        _name, _priority, prefix = "first", 1, "ord"

        def resolve_handler(self, definition: HandlerDefinition, config: dict[str, Any]) -> Any:
            return "from the custom one"

    registry.register("orders", Orders)
    registry.resolver_chain.add_resolver(First())
    assert registry.resolve("orders") == "from the custom one"


# Scanning


def module_with(**attributes: Any) -> types.ModuleType:
    module = types.ModuleType("some_module")
    vars(module).update(attributes)
    return module


def scan(registry: HandlerRegistry, module: Any, base: type = StepHandler) -> int:
    return registry._scan_module_for_handlers(module, base)


def test_scanning_registers_named_classes_and_decorated_functions(
    registry: HandlerRegistry,
) -> None:
    module = module_with(Orders=Orders, decorated=decorated, Nameless=Nameless, number=5, text="x")
    assert scan(registry, module) == 2
    assert registry.list_handlers() == ["orders", "decorated"]


def test_the_base_class_itself_is_skipped(registry: HandlerRegistry) -> None:
    assert scan(registry, module_with(StepHandler=StepHandler, Orders=Orders), Orders) == 0
    assert scan(registry, module_with(Orders=Orders, Other=OtherOrders), Orders) == 1


def test_a_class_is_counted_under_each_of_its_names(registry: HandlerRegistry) -> None:
    assert scan(registry, module_with(A=Orders, B=Orders)) == 2
    assert registry.handler_count() == 1


def test_anything_with_attributes_can_be_scanned(registry: HandlerRegistry) -> None:
    class Namespace:
        inner = Orders

    assert scan(registry, Namespace) == 1


def test_a_generic_alias_is_no_handler(registry: HandlerRegistry) -> None:
    assert scan(registry, module_with(alias=list[int], function=len)) == 0


def test_an_attribute_that_cannot_be_looked_at_is_left_out(registry: HandlerRegistry) -> None:
    class Proxy:
        def __getattr__(self, name: str) -> Any:
            raise RuntimeError("outside of a request")

        def __call__(self) -> None:
            pass

    assert scan(registry, module_with(A_proxy=Proxy(), Orders=Orders)) == 1
