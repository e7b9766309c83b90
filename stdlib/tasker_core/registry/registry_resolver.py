"""A base for resolvers that go by what a callable's name looks like."""

import re
from typing import Any

from tasker_core.registry.base_resolver import BaseResolver
from tasker_core.registry.handler_definition import HandlerDefinition

__all__ = ["RegistryResolver"]


class RegistryResolver(BaseResolver):
    """Derive from it, set ``pattern`` or ``prefix``, write ``resolve_handler``.

    >>> class Payments(RegistryResolver):
    ...     _name = "payments"
    ...     prefix = "pay:"
    ...     def resolve_handler(self, definition, config):
    ...         return f"handler for {definition.callable}"
    >>> Payments().resolve(HandlerDefinition("pay:card"))
    'handler for pay:card'
    """

    _name: str = "custom_resolver"
    _priority: int = 50
    pattern: str | None = None
    """A regular expression that the start of the callable must match."""
    prefix: str | None = None
    """What the callable must start with; not looked at if there is a pattern."""

    def __init__(self) -> None:
        self._compiled_pattern: re.Pattern[str] | None = (
            re.compile(self.pattern) if self.pattern else None
        )

    @property
    def name(self) -> str:
        """The name by which a step can ask for this resolver alone."""
        return self._name

    @property
    def priority(self) -> int:
        """When to ask: lower numbers come first."""
        return self._priority

    def can_resolve(
        self, definition: HandlerDefinition, config: dict[str, Any] | None = None
    ) -> bool:
        """Return whether the callable looks like one of this resolver's."""
        if self._compiled_pattern is not None:
            return self._match_pattern(definition.callable) is not None
        return bool(self.prefix) and definition.callable.startswith(str(self.prefix))

    def resolve(self, definition: HandlerDefinition, config: dict[str, Any] | None = None) -> Any:
        """Return what :meth:`resolve_handler` gives."""
        return self.resolve_handler(definition, config or {})

    def resolve_handler(self, definition: HandlerDefinition, config: dict[str, Any]) -> Any:
        """Return a handler, or ``None`` to let the next resolver try."""
        raise NotImplementedError(f"{type(self).__name__}.resolve_handler() must be implemented")

    def _match_pattern(self, text: str) -> "re.Match[str] | None":
        if self._compiled_pattern is None:
            return None
        return self._compiled_pattern.match(text)
