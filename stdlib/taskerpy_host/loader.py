"""Imports a user's handlers and tells what there is to call."""

from __future__ import annotations

import gc
import importlib
import importlib.util
import inspect
import json
import reprlib
import stat
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

from tasker_core._execution import find_handler
from tasker_core.handler import HandlerRegistry, StepHandler, _handler_class_of, _is_subclass
from tasker_core.types import StepContext

# Files beside handlers that are not handlers.
_SKIPPED = ("conftest.py", "setup.py")

# The folder of this package and of tasker_core.
_OWN = str(Path(__file__).parents[1])


def load(request: bytes) -> bytes:
    """Imports files, directories and dotted module names, and registers handlers.

    Request: ``{"paths": [...]}``. Answer: ``{"handlers": [...], "problems":
    [...], "modules": [...], "subscribers": bool}``; see the Go package ``handlers`` for the fields.
    """
    modules: list[ModuleType] = []
    problems: list[dict[str, Any]] = []
    for path in json.loads(request)["paths"]:
        for module in _import(path, problems):
            if module not in modules:
                modules.append(module)
    found: list[tuple[type, dict[str, Any]]] = []
    registry = HandlerRegistry.instance(skip_bootstrap=True)
    for module in modules:
        found.extend(_describe(module, problems))
        # A name that is no text, which is a problem, may not even be hashable.
        with suppress(TypeError):
            registry._scan_module_for_handlers(module, StepHandler)
    classes = [cls for cls, _ in found]
    return json.dumps(
        {
            "handlers": [entry for cls, entry in found if not _is_mere_base(cls, classes)],
            "problems": problems,
            "modules": [m.__name__ for m in modules],
            "subscribers": _have_subscribers(),
        },
        default=str,
    ).encode()


def _is_mere_base(cls: type, others: list[type]) -> bool:
    """Whether a class is there to derive handlers from, not to be called itself."""
    if getattr(cls, "handler_name", ""):
        return False
    return inspect.isabstract(cls) or any(
        other is not cls and issubclass(other, cls) for other in others
    )


def _have_subscribers() -> bool:
    events = sys.modules.get("tasker_core.domain_events")
    if events is None:
        return False
    registered = events.SubscriberRegistry.instance().list_registered()
    return bool(registered["classes"] or registered["instances"])


def resolve(request: bytes) -> bytes:
    """Tells which step definitions have a handler.

    Request: a list of ``handler`` maps as templates have them. Answer: a list
    of ``null`` (found) or of a text that says what is wrong.
    """
    return json.dumps([_missing(spec) for spec in json.loads(request)]).encode()


def _missing(spec: dict[str, Any]) -> str | None:
    name = spec.get("callable") or ""
    try:
        handler = find_handler(HandlerRegistry.instance(), spec, name)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    if handler is not None:
        return None
    return _why_not(name)


def _why_not(name: str) -> str:
    registry = HandlerRegistry.instance()
    cls = registry.get_handler_class(name)
    module_name, _, attribute = name.rpartition(".")
    if cls is None and module_name:
        module = sys.modules.get(module_name)
        if module is None:
            return "no handler is registered under this name and no module of it is loaded"
        cls = getattr(module, attribute, None)
        if cls is None:
            return f"module {module_name} has no {attribute}"
    if cls is None:
        return "no handler is registered under this name"
    if inspect.isabstract(cls):
        return f"class {cls.__name__} does not define call()"
    try:
        cls()
    except Exception as error:
        return f"class {cls.__name__} cannot be made: {type(error).__name__}: {error}"
    return "its resolver gives no handler"


def _import(path: str, problems: list[dict[str, Any]]) -> list[ModuleType]:
    file = Path(path)
    if file.is_dir():
        try:
            return _import_directory(file.resolve(), problems)
        except OSError as error:
            problems.append(_trouble(file, f"cannot be searched for handlers: {_reason(error)}"))
            return []
    if file.suffix == ".py" or file.is_file():
        return _try(path, problems, _import_file, file.resolve())
    return _import_dotted(path, problems)


def _try(path: str, problems: list[dict[str, Any]], importer: Any, *args: Any) -> list[ModuleType]:
    try:
        return [importer(*args)]
    except BaseException as error:  # a module may call sys.exit(); signals come to the host
        problems.append(_problem(path, error))
        return []


def _import_dotted(name: str, problems: list[dict[str, Any]]) -> list[ModuleType]:
    if "" not in sys.path:
        sys.path.insert(0, "")
    modules = _try(name, problems, importlib.import_module, name)
    for module in list(modules):
        for folder in getattr(module, "__path__", []):
            with _passing_over(Path(folder), problems):
                modules += _import_tree(Path(folder), module.__name__, problems)
    return modules


def _import_file(file: Path) -> ModuleType:
    """Imports a file under its dotted name, if it is in a package."""
    folder, parts = file.parent, [file.stem]
    while (folder / "__init__.py").is_file():
        parts.insert(0, folder.name)
        folder = folder.parent
    if parts[-1] == "__init__":
        parts.pop()
    _prepend(folder)
    name = ".".join(parts)
    loaded = sys.modules.get(name)
    if loaded is not None and _same_file(loaded, file):
        return loaded
    if loaded is None:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.origin and Path(spec.origin).resolve() == file:
            return importlib.import_module(name)
    # The name belongs to another module (``json.py``, or two folders with a
    # ``handlers.py`` each): load this one under a name of its own.
    return _load_as(f"{folder.name}_{name}".replace("-", "_"), file)


def _same_file(module: ModuleType, file: Path) -> bool:
    origin = getattr(module, "__file__", None)
    return origin is not None and Path(origin).resolve() == file


def _load_as(name: str, file: Path, package: Path | None = None) -> ModuleType:
    loaded = sys.modules.get(name)
    if loaded is not None and _same_file(loaded, file):
        return loaded
    spec = importlib.util.spec_from_file_location(
        name, file, submodule_search_locations=[str(package)] if package else None
    )
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module


def _import_directory(folder: Path, problems: list[dict[str, Any]]) -> list[ModuleType]:
    """Imports a directory as the package of its name (python-api-more §11)."""
    _prepend(folder)
    name = folder.name
    if not name.isidentifier() or _taken(name, folder):
        return _import_loose(folder, problems)
    if name not in sys.modules:
        init = folder / "__init__.py"
        if init.is_file():
            if not _try(str(init), problems, _load_as, name, init, folder):
                return []
        else:
            package = ModuleType(name)
            package.__path__ = [str(folder)]
            sys.modules[name] = package
    package = sys.modules[name]
    return [package, *_import_tree(folder, name, problems)]


def _taken(name: str, folder: Path) -> bool:
    """Whether the name already means something else than this folder."""
    loaded = sys.modules.get(name)
    if loaded is not None:
        return str(folder) not in list(getattr(loaded, "__path__", []))
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return False
    if spec is None:
        return False
    places = [Path(p).resolve() for p in spec.submodule_search_locations or []]
    return folder not in places


def _import_loose(folder: Path, problems: list[dict[str, Any]]) -> list[ModuleType]:
    modules = []
    packages, files = _search(folder, problems)
    for file in files:
        modules += _try(str(file), problems, _import_file, file)
    for package in packages:
        modules += _import_dotted(package.name, problems)
    return modules


def _import_tree(folder: Path, name: str, problems: list[dict[str, Any]]) -> list[ModuleType]:
    modules = []
    packages, files = _search(folder, problems)
    for package in packages:
        dotted = f"{name}.{package.name}"
        got = _try(str(package), problems, importlib.import_module, dotted)
        modules += got
        if got:
            with _passing_over(package, problems):
                modules += _import_tree(package, dotted, problems)
    for file in files:
        modules += _try(str(file), problems, importlib.import_module, f"{name}.{file.stem}")
    return modules


def _search(folder: Path, problems: list[dict[str, Any]]) -> tuple[list[Path], list[Path]]:
    """The packages and the module files in a folder.

    Hidden files are none: editors and file systems leave them behind.
    """
    packages, files = [], []
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith((".", "_")):
            continue
        with _passing_over(entry, problems):
            if _is_file(entry / "__init__.py"):
                packages.append(entry)
            elif _is_named_as_handlers(entry.name) and _is_file(entry):
                files.append(entry)
    return packages, files


def _is_named_as_handlers(name: str) -> bool:
    if name.startswith("test_") or name.endswith("_test.py") or name in _SKIPPED:
        return False
    return name.endswith(".py")


def _is_file(path: Path) -> bool:
    """``Path.is_file``, which in some releases of Python hides that one may not look."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


@contextmanager
def _passing_over(path: Path, problems: list[dict[str, Any]]) -> Iterator[None]:
    """Turns into a warning that something among the handlers cannot be read.

    It may well be somebody else's, as the folder of a database is.
    """
    try:
        yield
    except OSError as error:
        message = f"is passed over in the search for handlers: {_reason(error)}"
        problems.append(_trouble(path, message, warning=True))


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def _trouble(path: Path, message: str, warning: bool = False) -> dict[str, Any]:
    return {"path": str(path), "file": str(path), "message": message, "warning": warning}


def _prepend(folder: Path) -> None:
    text = str(folder)
    if text not in sys.path:
        sys.path.insert(0, text)


def _problem(path: str, error: BaseException) -> dict[str, Any]:
    """Where and why an import failed: the innermost place in the user's code."""
    file, line = path, 0
    if isinstance(error, SyntaxError):
        file, line = error.filename or path, error.lineno or 0
    else:
        for frame in traceback.extract_tb(error.__traceback__):
            if not frame.filename.startswith(("<frozen", _OWN, importlib.__file__)):
                file, line = frame.filename, frame.lineno or 0
    summary = traceback.format_exception_only(type(error), error)[-1].strip()
    return {
        "path": path,
        "file": file,
        "line": line,
        "message": summary,
        "missing": error.name if isinstance(error, ModuleNotFoundError) else None,
        "traceback": "".join(traceback.format_exception(type(error), error, error.__traceback__)),
    }


class _Misdeclared(Exception):
    """What a handler says of itself makes no sense."""


def _describe(
    module: ModuleType, problems: list[dict[str, Any]]
) -> list[tuple[type, dict[str, Any]]]:
    """The handlers that a module itself defines, in the order of its lines."""
    found = []
    for name, value in list(vars(module).items()):
        cls = _handler_class_of(module, name)
        if not _is_subclass(cls, StepHandler) or cls is StepHandler:
            continue
        if getattr(value, "__module__", None) != module.__name__:
            continue
        place = _place(cls if value is cls else inspect.unwrap(value))
        try:
            entry = _describe_class(cls) if value is cls else _describe_function(value, cls)
        except _Misdeclared as error:
            problems.append({**_trouble(Path(place["file"]), str(error)), **place})
            continue
        found.append((cls, {**entry, **place, "module": module.__name__, "attribute": name}))
    return sorted(found, key=lambda pair: pair[1]["line"])


def _describe_class(cls: type) -> dict[str, Any]:
    name = getattr(cls, "handler_name", "")
    if not name or hasattr(name, "__get__"):  # only instances know
        name = f"{cls.__module__}.{cls.__qualname__}"
    return {
        "name": _text(name, f"handler_name of {cls.__name__}"),
        "kind": "class",
        "abstract": inspect.isabstract(cls),
    }


def _describe_function(function: Any, cls: Any) -> dict[str, Any]:
    kind = getattr(cls, "_handler_kind", "step_handler")
    depends_on = getattr(function, "_depends_on", {}).values()
    return {
        "name": _text(cls.handler_name, f"the name in @{kind}"),
        "kind": kind,
        "worker_template": _text(
            getattr(cls, "_worker_template", None), f"worker_template in @{kind}"
        ),
        "version": str(cls.handler_version or ""),
        "doc": inspect.getdoc(function) or "",
        "depends_on": list(
            dict.fromkeys(_text(step, "the step in @depends_on") for step in depends_on)
        ),
    }


def _text(value: Any, what: str) -> str | None:
    if value is None or isinstance(value, str):
        return value
    number = isinstance(value, int | float) and not isinstance(value, bool)
    kind = "number" if number else type(value).__name__
    raise _Misdeclared(f"{what} must be text, not the {kind} {reprlib.repr(value)}")


def _place(value: Any) -> dict[str, Any]:
    try:
        file = inspect.getsourcefile(value) or ""
        line = inspect.getsourcelines(value)[1]
    except (OSError, TypeError):
        file, line = "", 0
    return {"file": file, "line": line}


def unload(request: bytes) -> bytes:
    """Takes modules and handlers out again, for tests.

    Request: ``{"modules": [...], "handlers": [...]}``.
    """
    names = json.loads(request)
    registry = HandlerRegistry.instance(skip_bootstrap=True)
    for name in names["handlers"] or []:
        registry.unregister(name)
    for name in names["modules"] or []:
        sys.modules.pop(name, None)
    return b"null"


def alive(_: bytes) -> bytes:
    """Counts the step contexts that something still refers to, for tests."""
    gc.collect()
    return str(sum(type(o) is StepContext for o in gc.get_objects())).encode()
