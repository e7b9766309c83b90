"""Make a handler of its class."""

from typing import Any

from tasker_core.logging import log_warn
from tasker_core.registry.handler_definition import HandlerDefinition


def instantiate(handler_class: type, definition: HandlerDefinition) -> Any:
    """Return a new instance, or ``None`` if the constructor raises.

    A constructor that does not do without arguments gets the step's
    ``initialization`` as ``config``. Why a constructor failed is logged: the
    step that needed the handler only learns that there is none.
    """
    try:
        try:
            return handler_class()
        except TypeError:
            return handler_class(config=definition.initialization or {})
    except Exception as exc:
        first = "" if exc.__context__ is None else f" (without arguments: {exc.__context__})"
        log_warn(
            f"Handler class {handler_class.__module__}.{handler_class.__qualname__} "
            f"for {definition.callable!r} cannot be constructed: "
            f"{type(exc).__name__}: {exc}{first}",
            {"callable": definition.callable, "error_type": type(exc).__name__},
        )
        return None
