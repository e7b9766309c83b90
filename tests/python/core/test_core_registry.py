"""Definitions, dispatch and resolvers (§10)."""

import asyncio
import copy
import pickle
import sys
import types
from typing import Any
from unittest import mock

import pytest
from tasker_core import (
    BaseResolver,
    ClassLookupResolver,
    ExplicitMappingResolver,
    HandlerDefinition,
    MethodDispatchWrapper,
    RegistryResolver,
    StepHandler,
    registry,
)


class Orders(StepHandler):
    handler_name = "orders"

    def call(self, context: Any) -> Any:
        return f"call {context}"

    def refund(self, context: Any) -> Any:
        return f"refund {context}"

    async def refund_later(self, context: Any) -> Any:
        return f"refund later {context}"


class Configured:
    """A handler that does not do without settings."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config

    def call(self, context: Any) -> Any:
        return context


class Broken:
    def __init__(self) -> None:
        raise ValueError("cannot be made")

    def call(self, context: Any) -> Any:
        return context


def test_the_exports_of_the_package() -> None:
    from tasker_core.registry import resolvers

    assert set(registry.__all__) == {
        "HandlerDefinition",
        "BaseResolver",
        "RegistryResolver",
        "ResolverChain",
        "ResolverNotFoundError",
        "ResolutionError",
        "ExplicitMappingResolver",
        "ClassLookupResolver",
        "MethodDispatchWrapper",
    }
    assert set(resolvers.__all__) == {"ExplicitMappingResolver", "ClassLookupResolver"}


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("base_resolver", "BaseResolver"),
        ("handler_definition", "HandlerDefinition"),
        ("method_dispatch_wrapper", "MethodDispatchWrapper"),
        ("registry_resolver", "RegistryResolver"),
        ("resolver_chain", "ResolverChain"),
        ("resolvers.class_lookup", "ClassLookupResolver"),
        ("resolvers.explicit_mapping", "ExplicitMappingResolver"),
    ],
)
def test_the_import_paths_in_use(path: str, name: str) -> None:
    module = sys.modules[f"tasker_core.registry.{path}"]
    assert getattr(module, name) is getattr(registry, name)


# Definitions (§10.1)


def test_the_order_of_a_definitions_fields() -> None:
    definition = HandlerDefinition("orders", "refund", "own", {"a": 1})
    assert (definition.callable, definition.handler_method) == ("orders", "refund")
    assert (definition.resolver, definition.initialization) == ("own", {"a": 1})


def test_a_definition_can_be_changed_and_compared() -> None:
    definition = HandlerDefinition.from_callable("orders")
    assert definition == HandlerDefinition("orders", None, None, {})
    definition.handler_method = "refund"
    assert definition != HandlerDefinition("orders")


@pytest.mark.parametrize(
    ("method", "effective", "dispatches"),
    [(None, "call", False), ("call", "call", False), ("", "call", True), ("refund",) * 2 + (True,)],
)
def test_the_method_of_a_definition(method: str | None, effective: str, dispatches: bool) -> None:
    definition = HandlerDefinition("orders", method)
    assert definition.effective_method() == effective
    assert definition.uses_method_dispatch() is dispatches


@pytest.mark.parametrize(("resolver", "hint"), [(None, False), ("", False), ("own", True)])
def test_the_resolver_hint_of_a_definition(resolver: str | None, hint: bool) -> None:
    assert HandlerDefinition("orders", resolver=resolver).has_resolver_hint() is hint


@pytest.mark.parametrize("data", [None, {}])
def test_a_definition_of_nothing(data: Any) -> None:
    assert HandlerDefinition.from_dict(data) == HandlerDefinition("")


def test_a_definition_from_a_template() -> None:
    data = {
        "callable": "orders",
        "method": "refund",
        "handler_method": "ignored",
        "resolver": "own",
        "initialization": None,
    }
    assert HandlerDefinition.from_dict(data) == HandlerDefinition("orders", "refund", "own", {})


# Dispatch (§10.2)


def test_call_reaches_the_target_method() -> None:
    wrapper = MethodDispatchWrapper(Orders(), "refund")
    assert wrapper.call("A-1") == "refund A-1"
    assert wrapper.target_method == "refund"


def test_all_else_is_the_handlers_own() -> None:
    handler = Orders()
    wrapper = MethodDispatchWrapper(handler, "refund")
    assert wrapper.handler is wrapper.unwrap() is handler
    assert (wrapper.name, wrapper.version) == ("orders", "1.0.0")
    with pytest.raises(AttributeError):
        _ = wrapper.missing


def test_an_async_target_gives_a_coroutine() -> None:
    later = MethodDispatchWrapper(Orders(), "refund_later").call("A-1")
    assert asyncio.run(later) == "refund later A-1"


def test_a_missing_method_is_an_attribute_error() -> None:
    problem = "^Handler Orders does not have method 'cancel'$"
    with pytest.raises(AttributeError, match=problem):
        MethodDispatchWrapper(Orders(), "cancel")


def test_the_wrappers_text() -> None:
    wrapper = MethodDispatchWrapper(Orders(), "refund")
    assert repr(wrapper) == "MethodDispatchWrapper(Orders, target_method='refund')"


def test_copies_of_a_wrapper_do_not_recurse_for_ever() -> None:
    wrapper = MethodDispatchWrapper(Orders(), "refund")
    for twin in (copy.copy(wrapper), copy.deepcopy(wrapper), pickle.loads(pickle.dumps(wrapper))):
        assert twin.call("A-1") == "refund A-1"
    with pytest.raises(AttributeError):
        _ = MethodDispatchWrapper.__new__(MethodDispatchWrapper).name


# Resolvers (§10.3, 10.4)


def test_the_base_resolver_is_abstract_and_knows_nothing() -> None:
    class Own(BaseResolver):
        name = "own"
        priority = 1

        def can_resolve(
            self, definition: HandlerDefinition, config: dict[str, Any] | None = None
        ) -> bool:
            return True

        def resolve(
            self, definition: HandlerDefinition, config: dict[str, Any] | None = None
        ) -> Any:
            return "handler"

    with pytest.raises(TypeError):
        BaseResolver()  # type: ignore[abstract]
    assert Own().registered_callables() == []


class Payments(RegistryResolver):
    _name = "payments"
    _priority = 20

    def resolve_handler(self, definition: HandlerDefinition, config: dict[str, Any]) -> Any:
        return (definition.callable, config)


class ByPattern(Payments):
    pattern = r"pay:\w+"
    prefix = "other:"


class ByPrefix(Payments):
    prefix = "pay:"


class Renamed(RegistryResolver):
    name = "renamed"
    priority = 5


def test_the_defaults_of_a_custom_resolver() -> None:
    resolver = RegistryResolver()
    assert (resolver.name, resolver.priority) == ("custom_resolver", 50)
    assert (resolver.pattern, resolver.prefix, resolver._compiled_pattern) == (None, None, None)
    assert resolver.can_resolve(HandlerDefinition("anything")) is False
    assert resolver._match_pattern("anything") is None


def test_a_custom_resolver_may_be_named_in_two_ways() -> None:
    assert (Payments().name, Payments().priority) == ("payments", 20)
    assert (Renamed().name, Renamed().priority) == ("renamed", 5)


@pytest.mark.parametrize(
    ("resolver", "text", "can"),
    [
        (ByPattern(), "pay:card", True),
        (ByPattern(), "pay:card and more", True),
        (ByPattern(), "re-pay:card", False),
        (ByPattern(), "other:card", False),
        (ByPrefix(), "pay:card", True),
        (ByPrefix(), "re-pay:card", False),
    ],
)
def test_what_a_custom_resolver_takes(resolver: Payments, text: str, can: bool) -> None:
    assert resolver.can_resolve(HandlerDefinition(text), None) is can


def test_a_custom_resolver_resolves_without_being_asked_whether_it_can() -> None:
    definition = HandlerDefinition("unknown")
    assert ByPrefix().resolve(definition) == ("unknown", {})
    assert ByPrefix().resolve(definition, config={"a": 1}) == ("unknown", {"a": 1})


def test_a_match_of_the_pattern() -> None:
    match = ByPattern()._match_pattern("pay:card")
    assert match is not None
    assert match.group() == "pay:card"
    assert ByPattern()._match_pattern("x") is None


def test_a_custom_resolver_must_be_written() -> None:
    problem = r"^Renamed.resolve_handler\(\) must be implemented$"
    with pytest.raises(NotImplementedError, match=problem):
        Renamed().resolve(HandlerDefinition("x"))


# Explicit mapping (§10.5)


@pytest.fixture
def explicit() -> ExplicitMappingResolver:
    resolver = ExplicitMappingResolver()
    resolver.register("orders", Orders)
    return resolver


def test_the_explicit_resolver(explicit: ExplicitMappingResolver) -> None:
    assert (explicit.name, explicit.priority) == ("explicit_mapping", 10)
    assert ExplicitMappingResolver("own").name == "own"
    assert explicit.registered_callables() == ["orders"]
    assert explicit.can_resolve(HandlerDefinition("orders")) is True
    assert explicit.can_resolve(HandlerDefinition("order"), None) is False


def test_a_class_gives_a_new_instance_each_time(explicit: ExplicitMappingResolver) -> None:
    first, second = (explicit.resolve(HandlerDefinition("orders")) for _ in range(2))
    assert type(first) is type(second) is Orders
    assert first is not second


def test_an_instance_comes_back_identical(explicit: ExplicitMappingResolver) -> None:
    handler = Orders()
    explicit.register("orders", handler)
    assert explicit.resolve(HandlerDefinition("orders")) is handler


def test_a_factory_gets_the_configuration_of_the_resolution(
    explicit: ExplicitMappingResolver,
) -> None:
    explicit.register("made", lambda config: ("made", config))
    definition = HandlerDefinition("made", initialization={"not": "passed"})
    assert explicit.resolve(definition) == ("made", {})
    assert explicit.resolve(definition, {"a": 1}) == ("made", {"a": 1})


def test_entries_are_made_into_handlers_by_the_helper_that_tests_replace(
    explicit: ExplicitMappingResolver,
) -> None:
    definition, entry = HandlerDefinition("orders"), object()
    explicit.register("orders", entry)
    with mock.patch.object(explicit, "_instantiate_handler") as make:
        assert explicit.resolve(definition, {"a": 1}) is make.return_value
    make.assert_called_once_with(entry, definition, {"a": 1})


def test_what_a_factory_raises_is_passed_on(explicit: ExplicitMappingResolver) -> None:
    def fail(config: dict[str, Any]) -> Any:
        raise LookupError("no")

    explicit.register("made", fail)
    with pytest.raises(LookupError):
        explicit.resolve(HandlerDefinition("made"))


def test_a_constructor_that_needs_settings_gets_the_initialization(
    explicit: ExplicitMappingResolver,
) -> None:
    explicit.register("configured", Configured)
    made = explicit.resolve(HandlerDefinition("configured", initialization={"a": 1}))
    assert made.config == {"a": 1}
    assert explicit.resolve(HandlerDefinition("configured")).config == {}


@pytest.mark.parametrize(("parameters", "times"), [("self", 1), ("self, config=None", 2)])
def test_fix_a_type_error_inside_a_constructor_is_not_taken_for_a_missing_argument(
    explicit: ExplicitMappingResolver,
    parameters: str,
    times: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A constructor that has no use for settings was called again with some."""
    calls: list[int] = []
    scope = {"calls": calls}
    exec(f"def init({parameters}): calls.append(1); raise TypeError('inside')", scope)
    explicit.register("odd", type("Odd", (Configured,), {"__init__": scope["init"]}))
    assert explicit.resolve(HandlerDefinition("odd")) is None
    assert len(calls) == times
    assert "Odd for 'odd' cannot be constructed: TypeError: inside" in caplog.text


class Abstract(StepHandler):
    pass


@pytest.mark.parametrize("cls", [Broken, Abstract])
def test_a_class_that_cannot_be_made_gives_nothing_and_says_why(
    explicit: ExplicitMappingResolver, cls: type, caplog: pytest.LogCaptureFixture
) -> None:
    explicit.register("bad", cls)
    assert explicit.resolve(HandlerDefinition("bad")) is None
    assert f"{cls.__name__} for 'bad' cannot be constructed" in caplog.text


def test_unknown_names_and_removed_ones(explicit: ExplicitMappingResolver) -> None:
    assert explicit.resolve(HandlerDefinition("unknown")) is None
    assert explicit.unregister("orders") is True
    assert explicit.unregister("orders") is False
    assert explicit.resolve(HandlerDefinition("orders")) is None


# Class lookup (§10.6)

PATH = "tests.python.core.test_core_registry.Orders"


def lookup(text: str) -> Any:
    return ClassLookupResolver().resolve(HandlerDefinition(text))


def test_the_class_resolver() -> None:
    resolver = ClassLookupResolver()
    assert (resolver.name, resolver.priority) == ("class_lookup", 100)
    assert resolver.registered_callables() == []


@pytest.mark.parametrize(
    ("text", "can"),
    [
        ("module.ClassName", True),
        ("a.b_2.C", True),
        ("no.such.module.Name", True),
        ("my_handler", False),
        ("module.something", False),
        ("ClassName", False),
        ("module..Name", False),
        ("module.Name\n", False),
        ("", False),
    ],
)
def test_what_looks_like_a_class_path(text: str, can: bool) -> None:
    assert ClassLookupResolver().can_resolve(HandlerDefinition(text)) is can


def test_a_class_path_gives_a_new_instance() -> None:
    made = lookup(PATH)
    assert type(made).__name__ == "Orders"
    assert made is not lookup(PATH)


def test_any_importable_class_qualifies() -> None:
    from collections import OrderedDict

    assert type(lookup("collections.OrderedDict")) is OrderedDict


@pytest.mark.parametrize(
    "text",
    ["no_such_module.Name", "collections.NoSuchName", "Name", "os.environ.X"],
)
def test_a_path_to_nothing_gives_nothing(text: str) -> None:
    assert ClassLookupResolver()._import_class(text) is None
    assert lookup(text) is None


def test_a_module_that_breaks_gives_nothing_and_says_why(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "breaks_at_import.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert lookup("breaks_at_import.Name") is None
    assert "ZeroDivisionError" in caplog.text


def test_an_attribute_that_is_no_class_gives_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("has_no_class")
    module.Name = lambda: None  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "has_no_class", module)
    assert ClassLookupResolver()._import_class("has_no_class.Name") is None


def test_instances_are_made_as_by_the_explicit_resolver() -> None:
    resolver = ClassLookupResolver()
    definition = HandlerDefinition("x.X", initialization={"a": 1})
    assert resolver._instantiate_handler(Configured, definition, None).config == {"a": 1}
    assert resolver._instantiate_handler(Broken, definition, None) is None
