"""What a resolver is."""

from abc import ABC, abstractmethod
from typing import Any

from tasker_core.registry.handler_definition import HandlerDefinition

__all__ = ["BaseResolver"]


class BaseResolver(ABC):
    """Finds handlers in one way. A :class:`ResolverChain` asks several.

    >>> class Shop(BaseResolver):
    ...     name = "shop"
    ...     priority = 20
    ...
    ...     def can_resolve(self, definition, config=None):
    ...         return definition.callable.startswith("shop:")
    ...
    ...     def resolve(self, definition, config=None):
    ...         return None  # make the handler here
    >>> from tasker_core import ResolverChain
    >>> ResolverChain.default().add_resolver(Shop()).resolver_names
    ['explicit_mapping', 'shop', 'class_lookup']
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """The name by which a step can ask for this resolver alone."""

    @property
    @abstractmethod
    def priority(self) -> int:
        """When to ask: lower numbers come first."""

    @abstractmethod
    def can_resolve(
        self, definition: HandlerDefinition, config: dict[str, Any] | None = None
    ) -> bool:
        """Return whether it is worth asking :meth:`resolve`."""

    @abstractmethod
    def resolve(self, definition: HandlerDefinition, config: dict[str, Any] | None = None) -> Any:
        """Return a handler, or ``None`` to let the next resolver try."""

    def registered_callables(self) -> list[str]:
        """Return the names this resolver knows, as far as it can tell."""
        return []
