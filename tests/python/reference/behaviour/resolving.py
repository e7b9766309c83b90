"""Resolvers and the registry: which handler a name stands for."""

from __future__ import annotations

import sys
import types
from typing import Any

from tasker_core import (
    BaseResolver,
    ClassLookupResolver,
    ExplicitMappingResolver,
    HandlerDefinition,
    HandlerRegistry,
    HandlerWrapper,
    MethodDispatchWrapper,
    RegistryResolver,
    ResolverChain,
    StepContext,
    StepHandler,
    StepHandlerResult,
)

from tests.python.reference import sample
from tests.python.reference.recording import Recording

seen = Recording()
context = sample.context()


class Pay(StepHandler):
    handler_name = "pay"
    handler_version = "2.0.0"

    def call(self, context: StepContext) -> StepHandlerResult:
        return self.success({"by": "call"})

    def refund(self, context: StepContext) -> StepHandlerResult:
        return self.success({"by": "refund"})


class Configured(StepHandler):
    handler_name = "configured"

    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config

    def call(self, context: StepContext) -> StepHandlerResult:
        return self.success({"config": self.config})


class Broken(StepHandler):
    handler_name = "broken"

    def __init__(self) -> None:
        raise RuntimeError("cannot be made")

    def call(self, context: StepContext) -> StepHandlerResult:
        return self.success({})


class Unfinished(StepHandler):
    handler_name = "unfinished"


class Plain:
    pass


module = types.ModuleType("resolving_handlers")
module.Pay, module.Plain, module.number, module.Broken = Pay, Plain, 5, Broken  # type: ignore[attr-defined]
sys.modules["resolving_handlers"] = module


class ByPrefix(RegistryResolver):
    _name = "by_prefix"
    _priority = 20
    prefix = "shop."

    def resolve_handler(self, definition: HandlerDefinition, config: dict[str, Any]) -> Any:
        return Pay() if definition.callable == "shop.pay" else None


class ByPattern(RegistryResolver):
    _name = "by_pattern"
    pattern = r"^orders:(?P<name>\w+)$"

    def resolve_handler(self, definition: HandlerDefinition, config: dict[str, Any]) -> Any:
        found = self._match_pattern(definition.callable)
        return Pay() if found and found["name"] == "pay" else None


class Bare(RegistryResolver):
    pass


class Handmade(BaseResolver):
    @property
    def name(self) -> str:
        return "handmade"

    @property
    def priority(self) -> int:
        return 5

    def can_resolve(
        self, definition: HandlerDefinition, config: dict[str, Any] | None = None
    ) -> bool:
        return definition.callable == "handmade"

    def resolve(self, definition: HandlerDefinition, config: dict[str, Any] | None = None) -> Any:
        return Pay()


definitions = {
    "name": HandlerDefinition("pay"),
    "method": HandlerDefinition("pay", "refund"),
    "call method": HandlerDefinition("pay", "call"),
    "empty method": HandlerDefinition("pay", ""),
    "no such method": HandlerDefinition("pay", "nothing"),
    "configured": HandlerDefinition("configured", initialization={"a": 1}),
    "broken": HandlerDefinition("broken"),
    "unfinished": HandlerDefinition("unfinished"),
    "factory": HandlerDefinition("factory", initialization={"a": 1}),
    "instance": HandlerDefinition("instance"),
    "dotted": HandlerDefinition("resolving_handlers.Pay"),
    "dotted method": HandlerDefinition("resolving_handlers.Pay", "refund"),
    "dotted plain": HandlerDefinition("resolving_handlers.Plain"),
    "dotted number": HandlerDefinition("resolving_handlers.number"),
    "dotted broken": HandlerDefinition("resolving_handlers.Broken"),
    "dotted nothing": HandlerDefinition("resolving_handlers.Nothing"),
    "no module": HandlerDefinition("resolving_nothing.Pay"),
    "prefix": HandlerDefinition("shop.pay"),
    "prefix of nothing": HandlerDefinition("shop.nothing"),
    "pattern": HandlerDefinition("orders:pay"),
    "handmade": HandlerDefinition("handmade"),
    "hint": HandlerDefinition("shop.pay", resolver="by_prefix"),
    "hint with method": HandlerDefinition("shop.pay", "refund", "by_prefix"),
    "hint that cannot": HandlerDefinition("pay", resolver="by_prefix"),
    "hint of nobody": HandlerDefinition("pay", resolver="nobody"),
    "empty hint": HandlerDefinition("pay", resolver=""),
    "empty": HandlerDefinition(""),
}
for name, definition in definitions.items():
    seen.note(
        f"definition {name}",
        [
            definition,
            definition.effective_method(),
            definition.uses_method_dispatch(),
            definition.has_resolver_hint(),
        ],
    )
for name, given in {
    "none": None,
    "empty": {},
    "whole": {"callable": "c", "method": "m", "resolver": "r", "initialization": {"a": 1}},
    "nulls": {"callable": "c", "method": None, "resolver": None, "initialization": None},
    "handler_method": {"callable": "c", "handler_method": "m"},
}.items():
    seen.call(f"definition from {name}", HandlerDefinition.from_dict, given)
seen.call("definition from a callable", HandlerDefinition.from_callable, "c")

instance = Pay()


def fill(chain: Any) -> Any:
    for name, entry in {
        "pay": Pay,
        "configured": Configured,
        "broken": Broken,
        "unfinished": Unfinished,
        "factory": lambda config: Configured(config),
        "instance": instance,
    }.items():
        chain.register(name, entry)
    return chain


def describe(handler: Any) -> Any:
    if handler is None or not hasattr(handler, "call"):
        return handler
    answer = handler.call(context)
    return [handler.name, handler.version, answer.result]


chain = ResolverChain.default()
fill(chain)
seen.note("chain: default", [chain.resolver_names, chain.list_resolvers(), len(chain)])
for resolver in (ByPattern(), ByPrefix(), Handmade(), Bare()):
    chain.add_resolver(resolver)
seen.note("chain: filled", [chain.resolver_names, chain.list_resolvers(), chain.chain_info()])
seen.note("chain: callables", sorted(chain.registered_callables()))
for name, definition in definitions.items():
    seen.call(f"chain: {name}", lambda d=definition: describe(chain.resolve(d)))
    seen.call(f"chain: can {name}", chain.can_resolve, definition)
    seen.call(
        f"chain: wrap {name}",
        lambda d=definition: describe(chain.wrap_for_method_dispatch(instance, d)),
    )
seen.note("chain: same instance", chain.resolve(definitions["instance"]) is instance)
seen.note(
    "chain: new each time", chain.resolve(definitions["name"]) is chain.resolve(definitions["name"])
)
seen.call("chain: with config", lambda: describe(chain.resolve(definitions["factory"], {"c": 1})))
seen.call("chain: remove", chain.remove_resolver, "by_prefix")
seen.call("chain: remove again", chain.remove_resolver, "by_prefix")
seen.note("chain: get", [chain.get_resolver("handmade"), chain.get_resolver("by_prefix")])
seen.call("chain: register without resolvers", ResolverChain().register, "a", Pay)
seen.note("chain: without resolvers", [len(ResolverChain()), ResolverChain().explicit_resolver])
seen.call("bare resolver", Bare().resolve, definitions["name"])
seen.note("bare resolver: can", Bare().can_resolve(definitions["name"]))

explicit = fill(ExplicitMappingResolver())
seen.note("explicit", [explicit.name, explicit.priority, explicit.registered_callables()])
seen.note("explicit: unregister", [explicit.unregister("pay"), explicit.unregister("pay")])
lookup = ClassLookupResolver()
seen.note("lookup", [lookup.name, lookup.priority, lookup.registered_callables()])
for text in (
    "module.ClassName",
    "my_handler",
    "module.something",
    "ClassName",
    "a.b.C",
    "a..C",
    "1a.C",
    "a.C.d",
    "a.Ä",
    "a.C1_x",
    "",
    ".C",
):
    seen.note(f"lookup: can {text!r}", lookup.can_resolve(HandlerDefinition(text)))
    seen.call(f"lookup: import {text!r}", lookup._import_class, text)

wrapper = MethodDispatchWrapper(instance, "refund")
seen.note(
    "wrapper", [repr(wrapper), wrapper.target_method, wrapper.unwrap() is instance, wrapper.name]
)
seen.note("wrapper: call", wrapper.call(context))
seen.call("wrapper of nothing", MethodDispatchWrapper, instance, "nothing")
seen.call("wrapper: attribute", getattr, wrapper, "nothing")

registry = HandlerRegistry()
seen.call("registry: register", registry.register, "pay", Pay)
kinds: dict[str, Any] = {"configured": Configured, "broken": Broken, "unfinished": Unfinished}
for name, kind in kinds.items():
    registry.register(name, kind)
no_handlers: dict[str, Any] = {"no class": 5, "plain": Plain, "an instance": instance}
for name, kind in no_handlers.items():
    seen.call(f"registry: register {name}", registry.register, name, kind)
for name, definition in definitions.items():
    seen.call(f"registry: {name}", lambda d=definition: describe(registry.resolve(d)))
for spec in ("pay", "nothing", "resolving_handlers.Pay", "", "resolving_handlers.Plain"):
    seen.call(f"registry: text {spec!r}", lambda s=spec: describe(registry.resolve(s)))
seen.call(
    "registry: wrapper",
    lambda: describe(registry.resolve(HandlerWrapper("pay", {}, "refund", None))),
)
for odd in (None, 5, {"callable": "pay"}):
    seen.call(f"registry: {odd!r}", registry.resolve, odd)
seen.note(
    "registry: lists",
    [
        registry.list_handlers(),
        registry.handler_count(),
        registry.is_registered("pay"),
        registry.is_registered("nothing"),
        registry.get_handler_class("pay"),
        registry.get_handler_class("nothing"),
    ],
)
seen.note("registry: unregister", [registry.unregister("pay"), registry.unregister("pay")])
seen.call("registry: discover nothing", registry.discover_handlers, "no.such.package")
seen.call("registry: discover types", registry.discover_handlers, "tasker_core.types")
seen.call("registry: discover", registry.discover_handlers, "resolving_handlers")
seen.note("registry: after discovery", registry.list_handlers())
registry.clear()
seen.note("registry: cleared", [registry.handler_count(), registry.resolver_chain.resolver_names])

seen.write()
