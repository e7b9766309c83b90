"""The ``handler`` section of a template's step."""

from dataclasses import dataclass, field
from typing import Any

__all__ = ["HandlerDefinition"]


@dataclass
class HandlerDefinition:
    """Which handler a step wants, which method of it, and its settings.

    >>> HandlerDefinition.from_dict({"callable": "orders", "method": "refund"}).effective_method()
    'refund'
    """

    callable: str
    handler_method: str | None = None
    resolver: str | None = None
    initialization: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_callable(cls, callable_str: str) -> "HandlerDefinition":
        """Return a definition that says nothing but a name."""
        return cls(callable_str)

    @classmethod
    def from_dict(cls, data: dict[str, Any] | None) -> "HandlerDefinition":
        """Return the definition of a ``handler`` section (key ``method``)."""
        data = data or {}
        return cls(
            callable=data.get("callable") or "",
            handler_method=data.get("method"),
            resolver=data.get("resolver"),
            initialization=data.get("initialization") or {},
        )

    def effective_method(self) -> str:
        """Return the method to call."""
        return self.handler_method or "call"

    def uses_method_dispatch(self) -> bool:
        """Return whether a method was named other than ``call``."""
        return self.handler_method is not None and self.handler_method != "call"

    def has_resolver_hint(self) -> bool:
        """Return whether one resolver was named that shall be asked."""
        return bool(self.resolver)
