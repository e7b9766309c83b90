"""Handlers that were registered by name."""

import threading
from typing import Any

from tasker_core.registry.base_resolver import BaseResolver
from tasker_core.registry.handler_definition import HandlerDefinition
from tasker_core.registry.resolvers._instantiation import instantiate

__all__ = ["ExplicitMappingResolver"]

_PRIORITY = 10


class ExplicitMappingResolver(BaseResolver):
    """A table of names; entries are classes, factories or finished handlers.

    May be used by several threads at once.

    >>> resolver = ExplicitMappingResolver()
    >>> resolver.register("charge_card", lambda config: "a handler")
    >>> resolver.resolve(HandlerDefinition("charge_card"))
    'a handler'
    """

    def __init__(self, name: str = "explicit_mapping") -> None:
        self._name = name
        self._handlers: dict[str, Any] = {}
        # For what takes several looks at the table; one look is atomic.
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """The name by which a step can ask for this resolver alone."""
        return self._name

    @property
    def priority(self) -> int:
        """When to ask: lower numbers come first."""
        return _PRIORITY

    def register(self, key: str, handler: Any) -> None:
        """Enter a class, a factory or a handler; replaces what was there.

        A callable without a ``call`` attribute is a factory and is called
        with the configuration of the resolution.
        """
        with self._lock:
            self._handlers[key] = handler

    def unregister(self, key: str) -> bool:
        """Remove an entry; ``False`` if there was none."""
        with self._lock:
            if key not in self._handlers:
                return False
            del self._handlers[key]
            return True

    def can_resolve(
        self, definition: HandlerDefinition, config: dict[str, Any] | None = None
    ) -> bool:
        """Return whether the callable is the name of an entry."""
        return definition.callable in self._handlers

    def resolve(self, definition: HandlerDefinition, config: dict[str, Any] | None = None) -> Any:
        """Return a handler made from the entry, or ``None``.

        A class gives a new instance each time. What a factory raises is
        passed on.
        """
        return self._instantiate_handler(
            self._handlers.get(definition.callable), definition, config
        )

    def registered_callables(self) -> list[str]:
        """Return the names of the entries."""
        with self._lock:
            return list(self._handlers)

    def _instantiate_handler(
        self, entry: Any, definition: HandlerDefinition, config: dict[str, Any] | None = None
    ) -> Any:
        if isinstance(entry, type):
            return instantiate(entry, definition)
        if callable(entry) and not hasattr(entry, "call"):
            return entry(config or {})
        return entry
