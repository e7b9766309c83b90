"""Writes down what a piece of ``tasker_core`` does, so that two packages can be compared.

It runs in the published package's Python too: nothing of ours but this file.
"""

from __future__ import annotations

import dataclasses
import datetime
import enum
import json
import re
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydantic

# What is new each time is not what is compared.
_CHANGING = (
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(\+00:00|Z)?"), "<time>"),
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"), "<uuid>"),
    (re.compile(r" at 0x[0-9a-f]+"), ""),
    (re.compile(r"Traceback \(most recent call last\):.*", re.DOTALL), "<traceback>"),
    (re.compile(r"https://errors\.pydantic\.dev\S*"), ""),
)


class Recording:
    """What was seen, by name."""

    def __init__(self) -> None:
        self.seen: dict[str, Any] = {}

    def note(self, name: str, value: Any) -> None:
        """Keep a value."""
        if name in self.seen:
            raise ValueError(f"{name} was noted before")
        self.seen[name] = plain(value)

    def call(self, name: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Keep what a call returns or raises, and return it if it returned."""
        try:
            value = function(*args, **kwargs)
        except Exception as exc:
            self.note(name, exc)
            return None
        self.note(name, value)
        return value

    def write(self) -> None:
        """Write what was seen to the file that the command line names."""
        Path(sys.argv[1]).write_text(json.dumps(self.seen, indent=1), encoding="utf-8")


def plain(value: Any) -> Any:
    """Returns a value as JSON would have it, with the names of the classes it is made of."""
    if isinstance(value, enum.Enum):
        return f"{type(value).__name__}.{value.name}"
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, str):
        for pattern, word in _CHANGING:
            value = pattern.sub(word, value)
        return value
    if isinstance(value, (uuid.UUID, Path, datetime.datetime)):
        return f"{type(value).__name__} {plain(str(value))}"
    if isinstance(value, pydantic.ValidationError):
        problems = [f"{'.'.join(map(str, e['loc']))}: {e['type']}" for e in value.errors()]
        return {"raises": "ValidationError", "problems": sorted(problems)}
    if isinstance(value, BaseException):
        return {"raises": type(value).__name__, "text": plain(str(value))}
    if isinstance(value, pydantic.BaseModel):
        return {"model": type(value).__name__, **plain(value.model_dump(mode="json"))}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {"dataclass": type(value).__name__, **fields}
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted(map(plain, value), key=repr)
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, type):
        return f"class {value.__name__}"
    return f"a {type(value).__name__}"
