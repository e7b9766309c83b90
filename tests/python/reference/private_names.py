"""The private names of classes that programs may derive from, as JSON in the file FILE.

Usage: python -m tests.python.reference.private_names FILE

A member of a program's own class takes the place of one with the same name.
What the package calls ``__name`` cannot collide, and is left out. It is run by
the Python that has the published package and by ours; nothing of the tests but
``surface.py`` may be imported here.
"""

from __future__ import annotations

import enum
import json
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pydantic
import tasker_core
from tasker_core.step_execution_subscriber import StepExecutionSubscriber
from tasker_core.step_handler.mixins.api import ApiResponse

from tests.python.reference.surface import exports, modules

# Classes whose constructor cannot do without arguments.
MADE_WITH: dict[str, Callable[[], tuple[Any, ...]]] = {
    ApiResponse.__name__: lambda: (httpx.Response(200),),
    StepExecutionSubscriber.__name__: lambda: (
        tasker_core.EventBridge(),
        tasker_core.HandlerRegistry(),
        "worker",
    ),
}


def classes() -> Iterator[type]:
    """Yields every public class that has members of its own to take the place of."""
    seen: set[type] = set()
    for module in modules():
        for name, value in exports(module).items():
            if isinstance(value, types.GenericAlias):  # to Python 3.10, a class
                continue
            if isinstance(value, type) and not name.startswith("_") and value not in seen:
                seen.add(value)
                if not issubclass(value, (enum.Enum, pydantic.BaseModel, BaseException)):
                    yield value


def instance_of(kind: type) -> Any:
    """Makes an instance of a class derived from ``kind``; of what cannot be made, the class."""
    missing = getattr(kind, "__abstractmethods__", ())
    derived = type("Derived", (kind,), {name: lambda self: None for name in missing})
    try:
        return derived(*MADE_WITH.get(kind.__name__, tuple)())
    except TypeError:
        return derived


def private_names(kind: type) -> list[str]:
    mangled = tuple(f"_{base.__name__.lstrip('_')}__" for base in kind.__mro__)
    return [
        name
        for name in dir(instance_of(kind))
        if name.startswith("_") and not name.startswith(("__", "_abc_impl", *mangled))
    ]


if __name__ == "__main__":
    names = {kind.__name__: private_names(kind) for kind in classes()}
    Path(sys.argv[1]).write_text(json.dumps(names, indent=1, sort_keys=True), encoding="utf-8")
