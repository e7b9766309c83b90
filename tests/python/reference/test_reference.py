"""``tasker_core`` beside the published package: what there is, and what it does."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

from tests.python.reference.allowed import BEHAVIOUR, SURFACE

Both = Callable[[str], tuple[dict[str, Any], dict[str, Any]]]

SCRIPTS = sorted(path.stem for path in (Path(__file__).parent / "behaviour").glob("[a-z]*.py"))
# What is seen of the published package at the least; fewer means that a script looks past it.
FEWEST_NAMES = 1_500

_MISSING = "<nothing>"


def differences(theirs: Any, ours: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    """Yields where two answers differ: the path, what the published package has, what we have."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        for key in {**theirs, **ours}:
            yield from differences(
                theirs.get(key, _MISSING), ours.get(key, _MISSING), f"{path}/{key}"
            )
    elif isinstance(theirs, list) and isinstance(ours, list) and len(theirs) == len(ours):
        for number, (their, our) in enumerate(zip(theirs, ours, strict=True)):
            yield from differences(their, our, f"{path}/{number}")
    elif theirs != ours:
        yield path, theirs, ours


def unexplained(
    found: list[tuple[str, Any, Any]], allowed: dict[str, str]
) -> tuple[list[str], list[str]]:
    """Returns the differences that no pattern allows, and the patterns that allow none."""
    lines = [
        f"{name}\n    published: {_short(theirs)}\n    ours:      {_short(ours)}"
        for name, theirs, ours in found
        if not any(fnmatchcase(name, pattern) for pattern in allowed)
    ]
    unused = [
        pattern
        for pattern in allowed
        if not any(fnmatchcase(name, pattern) for name, _, _ in found)
    ]
    return lines, unused


def _short(value: Any) -> str:
    return json.dumps(value)[:400]


def test_the_public_surface_is_that_of_the_published_package(both: Both) -> None:
    theirs, ours = both("surface")
    assert len(theirs) > FEWEST_NAMES
    found = [
        (name, theirs.get(name, _MISSING), ours.get(name, _MISSING))
        for name in sorted({*theirs, *ours})
        if theirs.get(name) != ours.get(name)
        # What a module of ours uses itself, and theirs does not, is nobody's business.
        and not (name not in theirs and ours[name] == "import")
    ]
    lines, unused = unexplained(found, {**SURFACE})
    assert not lines, "\n".join(["differs from the published package:", *lines])
    assert not unused, f"allowed, but no different: {unused}"


def test_members_of_a_programs_classes_take_the_place_of_none_of_ours(both: Both) -> None:
    theirs, ours = both("private_names")
    taken = {name: sorted({*ours[name]} - {*private}) for name, private in theirs.items()}
    assert {name: more for name, more in taken.items() if more} == {}


@pytest.mark.parametrize("script", SCRIPTS)
def test_both_packages_do_the_same(both: Both, script: str) -> None:
    theirs, ours = both(f"behaviour.{script}")
    assert theirs, "the script saw nothing"
    found = [
        (f"{script}: {path}", their, our)
        for name in {**theirs, **ours}
        for path, their, our in differences(
            theirs.get(name, _MISSING), ours.get(name, _MISSING), name
        )
    ]
    here = {key: why for key, why in BEHAVIOUR.items() if key.startswith(f"{script}: ")}
    lines, unused = unexplained(found, here)
    assert not lines, "\n".join(["does something else than the published package:", *lines])
    assert not unused, f"allowed, but no different: {unused}"
