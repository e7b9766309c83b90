"""The chain of resolvers (§10.7, 10.8)."""

from typing import Any

import pytest
from tasker_core import (
    BaseResolver,
    HandlerDefinition,
    ResolverChain,
    ResolverNotFoundError,
)

from tests.python.core.test_core_registry import Orders


class Fixed(BaseResolver):
    """A resolver that gives what it is told to, and counts how often it is asked."""

    def __init__(self, name: str, priority: int, handler: Any, can: bool = True) -> None:
        self._own_name, self._own_priority = name, priority
        self.handler, self.can, self.asked = handler, can, 0

    @property
    def name(self) -> str:
        return self._own_name

    @property
    def priority(self) -> int:
        return self._own_priority

    def can_resolve(
        self, definition: HandlerDefinition, config: dict[str, Any] | None = None
    ) -> bool:
        return self.can

    def resolve(self, definition: HandlerDefinition, config: dict[str, Any] | None = None) -> Any:
        self.asked += 1
        return self.handler

    def registered_callables(self) -> list[str]:
        return ["orders", self._own_name]


def test_the_default_chain() -> None:
    chain = ResolverChain.default()
    assert chain.resolver_names == ["explicit_mapping", "class_lookup"]
    assert chain.list_resolvers() == [("explicit_mapping", 10), ("class_lookup", 100)]
    assert len(chain) == 2
    assert chain.explicit_resolver is not ResolverChain.default().explicit_resolver


def test_an_empty_chain() -> None:
    chain = ResolverChain()
    assert (len(chain), chain.resolver_names, chain.explicit_resolver) == (0, [], None)
    assert chain.resolve(HandlerDefinition("x")) is None
    assert chain.can_resolve(HandlerDefinition("x")) is False
    with pytest.raises(RuntimeError, match=r"^No ExplicitMappingResolver in chain$"):
        chain.register("x", Orders)


def test_resolvers_stand_in_the_order_of_their_priorities() -> None:
    chain = ResolverChain()
    for name, priority in [("c", 30), ("a", 10), ("b1", 20), ("b2", 20)]:
        assert chain.add_resolver(Fixed(name, priority, None)) is chain
    assert chain.resolver_names == ["a", "b1", "b2", "c"]


def test_resolvers_are_found_and_removed_by_name() -> None:
    resolver = Fixed("own", 1, None)
    chain = ResolverChain.default().add_resolver(resolver)
    assert chain.get_resolver("own") is resolver
    assert chain.remove_resolver("own") is resolver
    assert chain.remove_resolver("own") is None
    assert chain.get_resolver("own") is None
    assert chain.resolver_names == ["explicit_mapping", "class_lookup"]


def test_a_name_that_is_there_twice_can_be_removed_twice() -> None:
    first, second = Fixed("own", 1, "first"), Fixed("own", 2, "second")
    chain = ResolverChain().add_resolver(first).add_resolver(second)
    assert (len(chain), chain.get_resolver("own")) == (2, second)
    assert chain.remove_resolver("own") is second
    assert chain.get_resolver("own") is first
    assert chain.remove_resolver("own") is first
    assert len(chain) == 0


def test_registering_goes_to_the_explicit_resolver() -> None:
    chain = ResolverChain.default()
    assert chain.register("orders", Orders) is chain
    assert chain.explicit_resolver is not None
    assert chain.explicit_resolver.registered_callables() == ["orders"]


class Table(Fixed):
    """A resolver of a program that takes the place of the explicit one."""

    def __init__(self) -> None:
        super().__init__("explicit_mapping", 10, None)
        self.table: dict[str, Any] = {}

    def register(self, key: str, handler: Any) -> None:
        self.table[key] = handler

    def unregister(self, key: str) -> bool:
        return self.table.pop(key, None) is not None


def test_registering_goes_to_whatever_has_the_name_of_the_explicit_resolver() -> None:
    table = Table()
    chain = ResolverChain().add_resolver(table)
    assert chain.explicit_resolver is table
    assert chain.register("orders", Orders) is chain
    assert table.table == {"orders": Orders}


def test_a_resolver_that_cannot_be_registered_with_is_none_for_registered_names() -> None:
    chain = ResolverChain().add_resolver(Fixed("explicit_mapping", 10, None))
    with pytest.raises(RuntimeError, match=r"^No ExplicitMappingResolver in chain$"):
        chain.register("orders", Orders)


def test_what_the_chain_tells_about_itself() -> None:
    chain = ResolverChain.default().register("orders", Orders).add_resolver(Fixed("own", 50, None))
    assert sorted(chain.registered_callables()) == ["orders", "own"]
    assert chain.chain_info() == [
        {"name": "explicit_mapping", "priority": 10, "callables": 1},
        {"name": "own", "priority": 50, "callables": 2},
        {"name": "class_lookup", "priority": 100, "callables": 0},
    ]


def test_the_first_that_resolves_wins() -> None:
    cannot = Fixed("cannot", 1, "wrong", can=False)
    nothing = Fixed("nothing", 2, None)
    gives = Fixed("gives", 3, "handler")
    later = Fixed("later", 4, "other")
    chain = ResolverChain()
    for resolver in (later, gives, nothing, cannot):
        chain.add_resolver(resolver)
    assert chain.resolve(HandlerDefinition("x")) == "handler"
    assert [r.asked for r in (cannot, nothing, gives, later)] == [0, 1, 1, 0]


def test_a_hint_asks_one_resolver_alone_whether_it_can_or_not() -> None:
    cannot = Fixed("own", 50, "handler", can=False)
    chain = ResolverChain.default().register("orders", Orders).add_resolver(cannot)
    definition = HandlerDefinition("orders", resolver="own")
    assert chain.resolve(definition) == "handler"
    assert chain.can_resolve(definition) is False


def test_a_hint_to_a_resolver_that_gives_nothing_gives_nothing() -> None:
    chain = ResolverChain.default().register("orders", Orders)
    assert chain.resolve(HandlerDefinition("orders", resolver="class_lookup")) is None


def test_an_unknown_hint_raises_only_when_resolving() -> None:
    chain = ResolverChain.default().register("orders", Orders)
    definition = HandlerDefinition("orders", resolver="unknown")
    with pytest.raises(ResolverNotFoundError, match=r"^Unknown resolver: 'unknown'$"):
        chain.resolve(definition)
    assert chain.can_resolve(definition) is False


def test_whether_anyone_can() -> None:
    chain = ResolverChain.default().register("orders", Orders)
    assert chain.can_resolve(HandlerDefinition("orders")) is True
    assert chain.can_resolve(HandlerDefinition("unknown")) is False
    assert chain.can_resolve(HandlerDefinition("orders", resolver="explicit_mapping")) is True


def test_the_configuration_reaches_the_resolvers() -> None:
    chain = ResolverChain.default().register("made", lambda config: ("made", config))
    assert chain.resolve(HandlerDefinition("made"), {"a": 1}) == ("made", {"a": 1})


def test_dispatch_of_a_resolved_handler() -> None:
    chain = ResolverChain.default().register("orders", Orders)
    made = chain.resolve(HandlerDefinition("orders", "refund"))
    assert made.call("A-1") == "refund A-1"
    assert isinstance(made.unwrap(), Orders)


def test_a_missing_method_ends_the_search() -> None:
    other = Fixed("later", 50, Orders())
    chain = ResolverChain.default().register("orders", Orders).add_resolver(other)
    assert chain.resolve(HandlerDefinition("orders", "cancel")) is None
    assert other.asked == 0


def test_wrapping_for_dispatch() -> None:
    chain, handler = ResolverChain(), Orders()
    wrap = chain.wrap_for_method_dispatch
    assert wrap(handler, HandlerDefinition("orders")) is handler
    assert wrap(handler, HandlerDefinition("orders", "cancel")) is None
    once = wrap(handler, HandlerDefinition("orders", "refund"))
    twice = wrap(once, HandlerDefinition("orders", "refund"))
    assert twice.call("A-1") == "refund A-1"
    assert (twice.name, twice.version, twice.target_method) == ("orders", "1.0.0", "refund")
