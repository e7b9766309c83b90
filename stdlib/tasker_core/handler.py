"""The handlers of a worker, by name."""

import importlib
import os
import pkgutil
import sys
import threading
from pathlib import Path
from typing import Any

# A module, and not what is in it: tests of programs put mocks there.
from tasker_core import template_discovery
from tasker_core.logging import log_debug, log_error, log_info, log_warn
from tasker_core.models import HandlerWrapper
from tasker_core.registry import HandlerDefinition, ResolverChain
from tasker_core.step_handler.base import StepHandler

__all__ = ["HandlerRegistry", "StepHandler"]

HandlerSpec = str | HandlerDefinition | HandlerWrapper
"""How a handler can be asked for."""

# In the test environment the handlers of modules named like this are found.
_PRELOADED_NAME_PARTS = ("handlers", "step_handler", "workflow", "test")
_NOT_PRELOADED_PREFIXES = ("_", "builtins", "typing")


class HandlerRegistry:
    """Knows handler classes by name and makes handlers of them.

    >>> class Ping(StepHandler):
    ...     handler_name = "ping"
    ...     def call(self, context):
    ...         return self.success({"pong": True})
    >>> registry = HandlerRegistry()
    >>> registry.register("ping", Ping)
    >>> registry.resolve("ping")
    Ping(name='ping', version='1.0.0')
    """

    _instance: "HandlerRegistry | None" = None
    __instance_lock = threading.RLock()

    def __init__(self) -> None:
        self._handlers: dict[str, type[StepHandler]] = {}
        self._bootstrapped = False
        self._resolver_chain = ResolverChain.default()

    @classmethod
    def instance(cls, skip_bootstrap: bool = False) -> "HandlerRegistry":
        """Return the registry of this process.

        Making it looks for handlers, unless ``skip_bootstrap`` is true.
        """
        with HandlerRegistry.__instance_lock:
            if cls._instance is None:
                cls._instance = cls()
                if not skip_bootstrap:
                    cls._instance.bootstrap_handlers()
            return cls._instance

    @classmethod
    def reset_instance(cls) -> None:
        """Forget the registry of this process; :meth:`instance` makes another."""
        with HandlerRegistry.__instance_lock:
            cls._instance = None

    def register(self, name: str, handler_class: type[StepHandler]) -> None:
        """Enter a class under a name; replaces what was there.

        Raises:
            ValueError: it is not a class derived from :class:`StepHandler`.
        """
        if not _is_subclass(handler_class, StepHandler):
            raise ValueError(f"handler_class must be a StepHandler subclass, got {handler_class!r}")
        known = self._handlers.get(name)
        if known is not None and known is not handler_class:
            log_warn(
                f"Handler {name!r}: {_path(handler_class)} replaces {_path(known)}",
                {"handler_name": name},
            )
        self._handlers[name] = handler_class
        # Programs may have put another resolver there, or none.
        if hasattr(self._resolver_chain.explicit_resolver, "register"):
            self._resolver_chain.register(name, handler_class)

    def unregister(self, name: str) -> bool:
        """Remove a name; ``False`` if it was not there."""
        if self._handlers.pop(name, None) is None:
            return False
        unregister = getattr(self._resolver_chain.explicit_resolver, "unregister", None)
        if unregister is not None:
            unregister(name)
        return True

    def resolve(self, handler_spec: HandlerSpec) -> Any:
        """Return a new handler, or ``None`` if there is none.

        If the spec names a method, ``call`` of the handler reaches it.

        Raises:
            ResolverNotFoundError: the spec names an unknown resolver.
        """
        definition = self._normalize_to_definition(handler_spec)
        if definition is None:
            return None
        return self._resolver_chain.resolve(definition)

    def get_handler_class(self, name: str) -> type[StepHandler] | None:
        """Return the class that was entered under a name, or ``None``."""
        return self._handlers.get(name)

    def is_registered(self, name: str) -> bool:
        """Return whether a class was entered under a name."""
        return name in self._handlers

    def list_handlers(self) -> list[str]:
        """Return the names in the order they were entered."""
        return list(self._handlers)

    def handler_count(self) -> int:
        """Return how many names there are."""
        return len(self._handlers)

    def clear(self) -> None:
        """Forget all handlers, added resolvers too, and that they were looked for."""
        self._handlers.clear()
        self._bootstrapped = False
        self._resolver_chain = ResolverChain.default()

    @property
    def resolver_chain(self) -> ResolverChain:
        """The chain that resolves; resolvers may be added to it."""
        return self._resolver_chain

    def discover_handlers(self, package_name: str, base_class: type | None = None) -> int:
        """Import a package or module and enter the handlers found in it.

        Returns how many were entered. What cannot be imported is logged and
        skipped.
        """
        base = StepHandler if base_class is None else base_class
        try:
            root = importlib.import_module(package_name)
        except Exception as exc:
            log_error(
                f"Handler package {package_name!r} cannot be imported: {type(exc).__name__}: {exc}",
                {"package": package_name, "error_type": type(exc).__name__},
            )
            return 0
        count = self._scan_module_for_handlers(root, base)
        return count + self.__discover_submodules(root, base)

    def __discover_submodules(self, package: Any, base: type) -> int:
        count = 0
        path = getattr(package, "__path__", None)
        if path is None:
            return 0
        for info in pkgutil.iter_modules(path, f"{package.__name__}."):
            # Importing __main__ would run the program that it is.
            if info.name.endswith(".__main__"):
                continue
            try:
                module = importlib.import_module(info.name)
                count += self._scan_module_for_handlers(module, base)
            except Exception as exc:
                log_warn(
                    f"Module {info.name!r} is left out: {type(exc).__name__}: {exc}",
                    {"module": info.name, "error_type": type(exc).__name__},
                )
                continue
            if info.ispkg:
                count += self.__discover_submodules(module, base)
        return count

    def _scan_module_for_handlers(self, module: Any, base: type) -> int:
        count = 0
        for attribute in dir(module):
            candidate = _handler_class_of(module, attribute)
            if not _is_subclass(candidate, base) or candidate is base:
                continue
            handler_name = getattr(candidate, "handler_name", None)
            if handler_name:
                self.register(handler_name, candidate)
                count += 1
        return count

    def bootstrap_handlers(self) -> int:
        """Look for handlers, once; return how many were entered.

        In the test environment they are taken from the modules that are
        loaded already; otherwise, or if that gives none, from what the
        templates name. Nothing that is missing or broken raises.
        """
        if self._bootstrapped:
            return self.handler_count()
        count = 0
        if self._test_environment_active():
            count = self._register_preloaded_handlers()
        if count == 0:
            count = self._discover_handlers_from_templates()
        self._bootstrapped = True
        log_debug(f"{count} handlers found", {"count": count})
        return count

    def template_discovery_info(self) -> dict[str, Any]:
        """Return where templates were looked for and which handlers they name."""
        path = self._determine_template_path()
        files: list[str] = []
        handlers: list[str] = []
        by_namespace: dict[str, list[str]] = {}
        if path is not None:
            discovery = template_discovery.HandlerDiscovery
            found = template_discovery.TemplatePath.discover_template_files(Path(path))
            files = [str(file) for file in found]
            handlers = discovery.discover_all_handlers(Path(path))
            by_namespace = discovery.discover_handlers_by_namespace(Path(path))
        return {
            "template_path": None if path is None else str(path),
            "template_files": files,
            "discovered_handlers": handlers,
            "handlers_by_namespace": by_namespace,
            "environment": os.environ.get("TASKER_ENV") or "development",
            "bootstrapped": self._bootstrapped,
        }

    def _normalize_to_definition(self, handler_spec: Any) -> HandlerDefinition | None:
        if isinstance(handler_spec, str):
            return HandlerDefinition(handler_spec)
        if isinstance(handler_spec, HandlerDefinition):
            return handler_spec
        if isinstance(handler_spec, HandlerWrapper):
            return HandlerDefinition(
                callable=handler_spec.callable,
                handler_method=handler_spec.handler_method,
                resolver=handler_spec.resolver,
                initialization=handler_spec.initialization,
            )
        log_warn(
            "A handler is asked for by a str, HandlerDefinition or HandlerWrapper, "
            f"not by {type(handler_spec).__name__}"
        )
        return None

    def _test_environment_active(self) -> bool:
        return os.environ.get("TASKER_ENV") == "test"

    def _register_preloaded_handlers(self) -> int:
        count = 0
        for name, module in list(sys.modules.items()):
            if name.startswith(_NOT_PRELOADED_PREFIXES):
                continue
            if not any(part in name for part in _PRELOADED_NAME_PARTS):
                continue
            try:
                count += self._scan_module_for_handlers(module, StepHandler)
            except Exception as exc:
                log_debug(f"Module {name!r} is left out: {type(exc).__name__}: {exc}")
        return count

    def _discover_handlers_from_templates(self) -> int:
        path = self._determine_template_path()
        if path is None:
            log_warn(
                "No task templates found; set TASKER_TEMPLATE_PATH to the directory that has them"
            )
            return 0
        count = 0
        discovery = template_discovery.HandlerDiscovery
        for handler_callable in discovery.discover_all_handlers(Path(path)):
            handler_class = self._find_and_load_handler_class(handler_callable)
            if handler_class is None:
                handler_class = _class_of_function(handler_callable)
                if handler_class is not None and handler_class.handler_name != handler_callable:
                    # Unlike a class, a function is not looked up by its path.
                    self.register(handler_callable, handler_class)
            if handler_class is not None and handler_class.handler_name:
                self.register(handler_class.handler_name, handler_class)
                count += 1
        log_info(f"{count} handlers found through templates", {"template_path": str(path)})
        return count

    def _determine_template_path(self) -> Path | None:
        configured = os.environ.get("TASKER_TEMPLATE_PATH")
        if configured and Path(configured).is_dir():
            return Path(configured)
        if self._test_environment_active():
            fixtures = template_discovery.TemplatePath._find_test_template_path()
            if fixtures is not None:
                return fixtures
        return template_discovery.TemplatePath.find_template_config_directory()

    def _find_and_load_handler_class(self, callable_name: str) -> type[StepHandler] | None:
        module_name, _, class_name = (callable_name or "").rpartition(".")
        if not module_name:
            return None
        try:
            found = getattr(importlib.import_module(module_name), class_name, None)
        except ModuleNotFoundError as exc:
            log_debug(f"Handler {callable_name!r} is not an importable class: {exc}")
            return None
        except Exception as exc:
            log_warn(
                f"Module {module_name!r} of handler {callable_name!r} cannot be imported: "
                f"{type(exc).__name__}: {exc}"
            )
            return None
        return found if _is_subclass(found, StepHandler) else None


def _class_of_function(callable_name: str) -> type[StepHandler] | None:
    """Return what the decorated function with this path, in a loaded module, carries."""
    module_name, _, name = callable_name.rpartition(".")
    module = sys.modules.get(module_name)
    if module is None or isinstance(getattr(module, name, None), type):
        return None
    found = _handler_class_of(module, name)
    return found if _is_subclass(found, StepHandler) else None


def _handler_class_of(module: Any, attribute: str) -> Any:
    """Return what an attribute is or, if it is a decorated function, carries."""
    try:
        value = getattr(module, attribute)
        if not isinstance(value, type) and callable(value):
            return getattr(value, "_handler_class", None)
        return value
    except Exception as exc:
        # Modules hold proxies that complain when they are looked at too early.
        log_debug(f"{attribute!r} of {module!r} is left out: {type(exc).__name__}: {exc}")
        return None


def _is_subclass(candidate: Any, base: type) -> bool:
    try:
        return isinstance(candidate, type) and issubclass(candidate, base)
    except TypeError:
        # Some generic aliases call themselves classes.
        return False


def _path(handler_class: type) -> str:
    return f"{handler_class.__module__}.{handler_class.__qualname__}"
