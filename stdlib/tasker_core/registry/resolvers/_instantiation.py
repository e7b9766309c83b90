"""Make a handler of its class."""

import inspect
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
            if not _takes_config(handler_class):
                raise
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


def _takes_config(handler_class: type) -> bool:
    try:
        parameters = inspect.signature(handler_class).parameters.values()
    except (TypeError, ValueError):
        return True  # one of C; trying is the only way to know
    return any(p.name == "config" or p.kind is p.VAR_KEYWORD for p in parameters)
