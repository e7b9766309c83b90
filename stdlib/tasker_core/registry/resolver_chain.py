"""Several resolvers, asked one after the other."""

import threading
from typing import TYPE_CHECKING, Any

from tasker_core._patchable import patchable
from tasker_core.registry.base_resolver import BaseResolver
from tasker_core.registry.handler_definition import HandlerDefinition
from tasker_core.registry.method_dispatch_wrapper import MethodDispatchWrapper
from tasker_core.registry.resolvers.class_lookup import ClassLookupResolver
from tasker_core.registry.resolvers.explicit_mapping import ExplicitMappingResolver

__all__ = ["ResolutionError", "ResolverChain", "ResolverNotFoundError"]

_EXPLICIT = "explicit_mapping"


class ResolverNotFoundError(Exception):
    """A step asks for a resolver that is not in the chain.

    >>> definition = HandlerDefinition("orders", resolver="missing")
    >>> ResolverChain.default().resolve(definition)
    Traceback (most recent call last):
        ...
    tasker_core.registry.resolver_chain.ResolverNotFoundError: Unknown resolver: 'missing'
    """


class ResolutionError(Exception):
    """For resolvers of users that want to say why they failed.

    >>> str(ResolutionError("orders cannot be resolved"))
    'orders cannot be resolved'
    """


class ResolverChain:
    """Resolvers in the order of their priorities.

    >>> ResolverChain.default().resolver_names
    ['explicit_mapping', 'class_lookup']
    """

    def __init__(self) -> None:
        # Replaced, never changed in place: a thread that resolves goes
        # through the list it has found.
        self._resolvers: list[BaseResolver] = []
        self._resolvers_by_name: dict[str, BaseResolver] = {}
        self._lock = threading.Lock()

    @classmethod
    def default(cls) -> "ResolverChain":
        """Return a new chain: registered names first, then class paths."""
        return cls().add_resolver(ExplicitMappingResolver()).add_resolver(ClassLookupResolver())

    def add_resolver(self, resolver: BaseResolver) -> "ResolverChain":
        """Add a resolver behind those of the same priority. Returns the chain."""
        with self._lock:
            self._resolvers = sorted([*self._resolvers, resolver], key=lambda r: r.priority)
            self._resolvers_by_name[resolver.name] = resolver
        return self

    def remove_resolver(self, name: str) -> BaseResolver | None:
        """Remove and return the resolver of that name, or return ``None``.

        Of several with one name the one added last goes, and the one added
        before it can be found by the name again.
        """
        with self._lock:
            removed = self._resolvers_by_name.pop(name, None)
            if removed is None:
                return None
            self._resolvers = [r for r in self._resolvers if r is not removed]
            for resolver in self._resolvers:
                if resolver.name == name:
                    self._resolvers_by_name[name] = resolver
            return removed

    def get_resolver(self, name: str) -> BaseResolver | None:
        """Return the resolver of that name, or ``None``."""
        return self._resolvers_by_name.get(name)

    @property
    def explicit_resolver(self) -> BaseResolver | None:
        """The resolver that :meth:`register` enters handlers into.

        It goes by its name: programs may put one of their own in its place.
        """
        return self._resolvers_by_name.get(_EXPLICIT)

    def resolve(self, definition: HandlerDefinition, config: dict[str, Any] | None = None) -> Any:
        """Return a handler whose ``call`` is the wanted method, or ``None``.

        Raises:
            ResolverNotFoundError: the definition names an unknown resolver.
        """
        if definition.has_resolver_hint():
            handler = self._resolve_with_hint(definition, config)
        else:
            handler = self._resolve_with_chain(definition, config)
        if handler is None:
            return None
        return self.wrap_for_method_dispatch(handler, definition)

    def can_resolve(
        self, definition: HandlerDefinition, config: dict[str, Any] | None = None
    ) -> bool:
        """Return whether a resolver thinks that it can resolve."""
        if definition.has_resolver_hint():
            resolver = self.get_resolver(str(definition.resolver))
            return resolver is not None and resolver.can_resolve(definition, config or {})
        return any(resolver.can_resolve(definition, config or {}) for resolver in self._resolvers)

    def register(self, key: str, handler: Any) -> "ResolverChain":
        """Enter a handler under a name. Returns the chain.

        Raises:
            RuntimeError: the chain has no resolver for registered names.
        """
        register = getattr(self.explicit_resolver, "register", None)
        if register is None:
            raise RuntimeError("No ExplicitMappingResolver in chain")
        register(key, handler)
        return self

    def registered_callables(self) -> list[str]:
        """Return the names that the resolvers know, each once."""
        known = (name for resolver in self._resolvers for name in resolver.registered_callables())
        return list(dict.fromkeys(known))

    def chain_info(self) -> list[dict[str, Any]]:
        """Return name, priority and number of known names of each resolver."""
        return [
            {
                "name": resolver.name,
                "priority": resolver.priority,
                "callables": len(resolver.registered_callables()),
            }
            for resolver in self._resolvers
        ]

    def list_resolvers(self) -> list[tuple[str, int]]:
        """Return name and priority of each resolver."""
        return [(resolver.name, resolver.priority) for resolver in self._resolvers]

    @property
    def resolver_names(self) -> list[str]:
        """The names of the resolvers in the order they are asked."""
        return [resolver.name for resolver in self._resolvers]

    def __len__(self) -> int:
        return len(self._resolvers)

    def wrap_for_method_dispatch(self, handler: Any, definition: HandlerDefinition) -> Any:
        """Return the handler so that ``call`` is the wanted method.

        ``None`` if the handler does not have that method.
        """
        if not definition.uses_method_dispatch():
            return handler
        method = definition.effective_method()
        if not hasattr(handler, method):
            return None
        return MethodDispatchWrapper(handler, method)

    def _resolve_with_hint(
        self, definition: HandlerDefinition, config: dict[str, Any] | None = None
    ) -> Any:
        resolver = self.get_resolver(str(definition.resolver))
        if resolver is None:
            raise ResolverNotFoundError(f"Unknown resolver: {definition.resolver!r}")
        # Never None: a resolver may look into it without asking.
        return resolver.resolve(definition, config or {})

    def _resolve_with_chain(
        self, definition: HandlerDefinition, config: dict[str, Any] | None = None
    ) -> Any:
        given = config or {}
        for resolver in self._resolvers:
            if resolver.can_resolve(definition, given):
                handler = resolver.resolve(definition, given)
                if handler is not None:
                    return handler
        return None


if not TYPE_CHECKING:
    __getattr__ = patchable(
        __name__,
        {"log_debug": "tasker_core.logging:log_debug", "log_warn": "tasker_core.logging:log_warn"},
    )
