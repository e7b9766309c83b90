"""What a program can see of the installed ``tasker_core``, as JSON in the file FILE.

Usage: python surface.py FILE

It is run by the Python that has the published package and by ours; nothing of
the tests may be imported here. The answer maps a dotted name, such as
``tasker_core.types.StepContext.retry_count``, to a text that says all about it
that a caller can depend on. What a package has for itself alone is left out:
names that begin with an underscore, but for those in ``SEMI_PRIVATE``, which
programs are known to reach for.
"""

from __future__ import annotations

import dataclasses
import enum
import importlib
import inspect
import json
import pkgutil
import sys
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydantic
import tasker_core

# python-api-core §14.1 and python-api-more §0.
SEMI_PRIVATE = {
    "tasker_core.bootstrap": """
        _bootstrap_worker _stop_worker _get_worker_status _transition_to_graceful_shutdown
        _is_worker_running
    """,
    "tasker_core.logging": "_log_error _log_warn _log_info _log_debug _log_trace _normalize_fields",
    "tasker_core.event_poller": """
        _poll_step_events _check_starvation_warnings _get_ffi_dispatch_metrics _cleanup_timeouts
    """,
    "tasker_core.step_execution_subscriber": "_complete_step_event _checkpoint_yield_step_event",
    "tasker_core.errors.error_classifier": "_default_classifier",
    "tasker_core.observability": "_get_health_check _get_metrics _get_worker_config",
    "tasker_core.domain_events": "_poll_in_process_events",
    "tasker_core.step_handler.functional": """
        _wrap_result _wrap_exception _inject_args _make_handler_class
    """,
    "tasker_core.event_bridge.EventBridge": "_instance",
    "tasker_core.event_poller.EventPoller": """
        _poll_loop _process_event _check_starvation _cleanup_timeouts _emit_error
    """,
    "tasker_core.handler.HandlerRegistry": """
        _instance _normalize_to_definition _scan_module_for_handlers
        _register_preloaded_handlers _discover_handlers_from_templates _determine_template_path
        _find_and_load_handler_class _test_environment_active
    """,
    "tasker_core.registry.resolver_chain.ResolverChain": "_resolve_with_hint _resolve_with_chain",
    "tasker_core.registry.registry_resolver.RegistryResolver": "_match_pattern",
    "tasker_core.registry.resolvers.class_lookup.ClassLookupResolver": """
        _import_class _instantiate_handler
    """,
    "tasker_core.registry.resolvers.explicit_mapping.ExplicitMappingResolver": """
        _instantiate_handler
    """,
    "tasker_core.step_execution_subscriber.StepExecutionSubscriber": """
        _get_handler_name _handle_execution_event _execute_handler _run_async_handler
        _create_handler_not_found_result _create_error_result _submit_result
        _submit_checkpoint_yield _build_ffi_safe_failure
    """,
    "tasker_core.step_handler.mixins.api.APIMixin": "_classify_error _format_error_message",
}


def modules() -> Iterator[types.ModuleType]:
    """Yields every module of the package that is not private to it."""
    yield tasker_core
    for info in pkgutil.walk_packages(tasker_core.__path__, "tasker_core."):
        if info.name == "tasker_core._tasker_core" or "._" not in info.name:
            yield importlib.import_module(info.name)


def is_visible(owner: str, name: str) -> bool:
    return not name.startswith("_") or name in SEMI_PRIVATE.get(owner, "").split()


def simple_name(kind: Any) -> str:
    return str(getattr(kind, "__name__", kind))


def text_of_type(annotation: Any) -> str:
    """Writes a type without the modules of its parts, unions in one order."""
    if annotation is type(None):
        return "None"
    if isinstance(annotation, (str, typing.ForwardRef)):
        return str(getattr(annotation, "__forward_arg__", annotation))
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return " | ".join(sorted((text_of_type(each) for each in arguments), key=_none_last))
    if origin is typing.Literal:
        return f"Literal[{', '.join(map(repr, arguments))}]"
    if origin is not None:
        texts = ", ".join(
            "..."
            if each is ...
            else f"[{', '.join(map(text_of_type, each))}]"
            if isinstance(each, list)
            else text_of_type(each)
            for each in arguments
        )
        return f"{simple_name(origin)}[{texts}]"
    return simple_name(annotation)


def _none_last(text: str) -> tuple[bool, str]:
    return text == "None", text


def text_of_value(value: Any) -> str:
    """Writes a value so that equal ones of two packages have equal texts."""
    if isinstance(value, enum.Enum):
        return f"{type(value).__name__}.{value.name}"
    if isinstance(value, type):
        return f"class {value.__name__}"
    if isinstance(value, (list, tuple)):
        return f"{type(value).__name__}({', '.join(map(text_of_value, value))})"
    if isinstance(value, (set, frozenset)):
        return f"{type(value).__name__}({', '.join(sorted(map(text_of_value, value)))})"
    if isinstance(value, dict):
        items = (f"{text_of_value(key)}: {text_of_value(item)}" for key, item in value.items())
        return f"{type(value).__name__}({', '.join(items)})"
    if value is None or isinstance(value, (bool, int, float, str, bytes)):
        return repr(value)
    if callable(value):
        return "a callable"
    return f"a {type(value).__name__}"


def text_of_signature(function: Any) -> str:
    """Writes names, kinds and defaults of the parameters; a default of None as itself."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return "(unknown)"
    parts: list[str] = []
    kind = None
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and kind not in (
            parameter.KEYWORD_ONLY,
            parameter.VAR_POSITIONAL,
        ):
            parts.append("*")
        if kind is parameter.POSITIONAL_ONLY and parameter.kind is not kind:
            parts.append("/")
        kind = parameter.kind
        # Nobody can use the names of *args and **kwargs.
        stars: dict[Any, str] = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}
        text = stars.get(kind, parameter.name)
        if parameter.default is not parameter.empty:
            text += f"={text_of_value(parameter.default)}"
        parts.append(text)
    return f"({', '.join(parts)})"


def text_of_callable(function: Any) -> str:
    kind = "async function" if inspect.iscoroutinefunction(function) else "function"
    return f"{kind} {text_of_signature(function)}"


def text_of_default(field: Any, missing: Any) -> str:
    """Writes a field's default, and what its factory makes unless that is new each time."""
    if field.default is not missing and field.default is not ...:
        return text_of_value(field.default)
    factory = field.default_factory
    if factory is None or factory is missing:
        return "required"
    first, second = text_of_value(factory()), text_of_value(factory())
    return first if first == second else f"a new {type(factory()).__name__}"


def is_public(base: type) -> bool:
    """Tells whether a base class can be named by a program."""
    if base in (object, typing.Generic) or base.__name__.startswith("_"):
        return False
    home = home_of(base)
    return not home or getattr(sys.modules[home], base.__name__, None) is base


def describe_class(name: str, kind: type, into: dict[str, str]) -> None:
    bases = [base.__name__ for base in kind.__mro__[1:] if is_public(base)]
    into[name] = f"class of {', '.join(bases)}" if bases else "class"
    fields: set[str] = set()
    if issubclass(kind, enum.Enum):
        for member in kind:
            into[f"{name}.{member.name}"] = f"member {member.value!r}"
        fields.update(kind.__members__)
    elif issubclass(kind, pydantic.BaseModel):
        config = {key: kind.model_config.get(key) for key in ("extra", "frozen", "strict")}
        into[f"{name}(config)"] = text_of_value(
            {
                "extra": config["extra"] or "ignore",
                "frozen": bool(config["frozen"]),
                "strict": bool(config["strict"]),
                "populate_by_name": bool(kind.model_config.get("populate_by_name")),
                "arbitrary_types": bool(kind.model_config.get("arbitrary_types_allowed")),
            }
        )
        undefined = pydantic.fields.PydanticUndefined  # type: ignore[attr-defined]
        for key, field in kind.model_fields.items():
            limits = "".join(f" {limit!r}" for limit in field.metadata)
            alias = f" alias {field.alias}" if field.alias else ""
            into[f"{name}.{key}"] = (
                f"field {text_of_type(field.annotation)} = {text_of_default(field, undefined)}"
                f"{limits}{alias}"
            )
        into[f"{name}(order)"] = ", ".join(kind.model_fields)
        fields.update(kind.model_fields)
    elif dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        parameters = kind.__dataclass_params__  # type: ignore[attr-defined]
        into[f"{name}(dataclass)"] = f"frozen={parameters.frozen} eq={parameters.eq}"
        for dataclass_field in dataclasses.fields(kind):
            into[f"{name}.{dataclass_field.name}"] = (
                f"field {text_of_type(hints[dataclass_field.name])}"
                f" = {text_of_default(dataclass_field, dataclasses.MISSING)}"
            )
            fields.add(dataclass_field.name)
    if not issubclass(kind, (enum.Enum, pydantic.BaseModel)):
        into[f"{name}(...)"] = text_of_signature(kind)
    describe_members(name, kind, fields, into)


def describe_members(name: str, kind: type, known: set[str], into: dict[str, str]) -> None:
    for key in dir(kind):
        if key in ("model_config", "model_rebuild"):
            continue  # what of them is for callers is told above
        if key in known or not is_visible(name, key):
            continue
        value = inspect.getattr_static(kind, key)
        owner = next(base for base in kind.__mro__ if key in base.__dict__)
        if not owner.__module__.startswith("tasker_core"):
            continue  # what classes have from Python and from pydantic
        full = f"{name}.{key}"
        abstract = "abstract " if getattr(value, "__isabstractmethod__", False) else ""
        if isinstance(value, property):
            settable = " settable" if value.fset else ""
            into[full] = f"{abstract}property{settable}"
        elif isinstance(value, staticmethod):
            into[full] = f"{abstract}static {text_of_callable(value.__func__)}"
        elif isinstance(value, classmethod):
            into[full] = f"{abstract}class {text_of_callable(value.__func__)}"
        elif isinstance(value, types.FunctionType):
            into[full] = abstract + text_of_callable(value)
        else:
            into[full] = f"value {text_of_value(value)}"


def home_of(value: Any) -> str:
    """Names the module that a value of the package belongs to; else returns ``""``."""
    home = getattr(value, "__module__", None)
    if not isinstance(home, str) or not home.startswith("tasker_core"):
        return ""
    return home if home == "tasker_core._tasker_core" else home.partition("._")[0]


def exports(module: types.ModuleType) -> dict[str, Any]:
    """Returns what a module offers, by name, without what it only uses itself."""
    listed = set(getattr(module, "__all__", ()))
    semi_private = SEMI_PRIVATE.get(module.__name__, "").split()
    found = {name: getattr(module, name) for name in sorted({*listed, *semi_private})}
    for name, value in vars(module).items():
        constant = isinstance(value, (bool, int, float, str, tuple, list, dict, set, frozenset))
        if name.startswith("_") or name == "TYPE_CHECKING":
            continue
        if home_of(value) == module.__name__ or (constant and name.isupper()):
            found[name] = value
    return found


def imports(module: types.ModuleType, offered: dict[str, Any]) -> Iterator[str]:
    """Yields the names of the package that a module uses: tests may put others there."""
    for name, value in vars(module).items():
        if not name.startswith("_") and name not in offered and home_of(value):
            yield name


def describe_module(module: types.ModuleType, seen: dict[int, str], into: dict[str, str]) -> None:
    name_of_module = module.__name__
    into[name_of_module] = "module"
    if hasattr(module, "__all__"):
        into[f"{name_of_module}(all)"] = " ".join(sorted(set(module.__all__)))
    offered = exports(module)
    for name, value in offered.items():
        full = f"{name_of_module}.{name}"
        if isinstance(value, types.ModuleType):
            into[full] = "module"
        elif isinstance(value, type):
            if id(value) in seen:
                into[full] = f"the class {seen[id(value)]}"
            else:
                seen[id(value)] = full
                describe_class(full, value, into)
        elif isinstance(value, (types.FunctionType, types.BuiltinFunctionType)):
            into[full] = text_of_callable(value)
        elif typing.get_origin(value) is not None:
            into[full] = f"type {text_of_type(value)}"
        else:
            into[full] = f"value {text_of_value(value)}"
    for name in imports(module, offered):
        into[f"{name_of_module}.{name}"] = "import"


def describe() -> dict[str, str]:
    into: dict[str, str] = {}
    seen: dict[int, str] = {}
    first, *rest = modules()
    for module in (*rest, first):
        describe_module(module, seen, into)
    return into


if __name__ == "__main__":
    # Not on stdout: the published package writes there when it is imported.
    Path(sys.argv[1]).write_text(json.dumps(describe(), indent=1, sort_keys=True))
