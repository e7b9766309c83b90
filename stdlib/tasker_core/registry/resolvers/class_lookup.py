"""Handlers that are named by the path of their class."""

import importlib
import re
from typing import Any

from tasker_core.logging import log_debug, log_warn
from tasker_core.registry.base_resolver import BaseResolver
from tasker_core.registry.handler_definition import HandlerDefinition
from tasker_core.registry.resolvers._instantiation import instantiate

__all__ = ["ClassLookupResolver"]

_PRIORITY = 100


class ClassLookupResolver(BaseResolver):
    """Imports ``package.module.ClassName`` and makes an instance of it.

    >>> ClassLookupResolver().can_resolve(HandlerDefinition("shop.orders.ChargeCard"))
    True
    >>> ClassLookupResolver().can_resolve(HandlerDefinition("charge_card"))
    False
    """

    CLASS_PATTERN = re.compile(r"^[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*\.[A-Z]\w*\Z")

    @property
    def name(self) -> str:
        """The name by which a step can ask for this resolver alone."""
        return "class_lookup"

    @property
    def priority(self) -> int:
        """When to ask: lower numbers come first."""
        return _PRIORITY

    def can_resolve(
        self, definition: HandlerDefinition, config: dict[str, Any] | None = None
    ) -> bool:
        """Return whether the callable looks like a class path. Imports nothing."""
        return self.CLASS_PATTERN.match(definition.callable) is not None

    def resolve(self, definition: HandlerDefinition, config: dict[str, Any] | None = None) -> Any:
        """Return a new instance of the class, or ``None``."""
        handler_class = self._import_class(definition.callable)
        if handler_class is None:
            return None
        return self._instantiate_handler(handler_class, definition, config)

    def _import_class(self, class_path: str) -> type | None:
        module_name, _, class_name = class_path.rpartition(".")
        if not module_name:
            return None
        try:
            found = getattr(importlib.import_module(module_name), class_name, None)
        except ModuleNotFoundError as exc:
            # Most often the path is simply not one of ours to find.
            log_debug(f"Handler class {class_path!r} not found: {exc}")
            return None
        except Exception as exc:
            log_warn(
                f"Module {module_name!r} of handler class {class_path!r} cannot be imported: "
                f"{type(exc).__name__}: {exc}"
            )
            return None
        return found if isinstance(found, type) else None

    def _instantiate_handler(
        self,
        handler_class: type,
        definition: HandlerDefinition,
        config: dict[str, Any] | None = None,
    ) -> Any:
        return instantiate(handler_class, definition)
