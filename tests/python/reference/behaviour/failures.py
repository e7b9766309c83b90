"""Errors: their attributes, and what classifiers make of them."""

from __future__ import annotations

import builtins
from typing import Any

import tasker_core
from tasker_core import ErrorClassifier, StepExecutionError, errors, exceptions
from tasker_core.errors import error_classifier

from tests.python.reference.recording import Recording

seen = Recording()
classifiers = {
    "retryable": ErrorClassifier(),
    "permanent": ErrorClassifier(default_retryable=False),
}

for name in errors.__all__:
    kind = getattr(errors, name)
    made = {
        "alone": lambda kind=kind: kind("no"),
        "with all": lambda kind=kind: kind(
            "no",
            retryable=False,
            metadata={"a": 1},
            error_code="E1",
            retry_after=2.5,
            context={"b": 2},
        ),
        "with a clash": lambda kind=kind: kind("no", error_code="E1", context={"error_code": "E2"}),
        "retryable": lambda kind=kind: kind("no", retryable=True),
        "positional": lambda kind=kind: kind("no", True),
        "of nothing": lambda kind=kind: kind(),
    }
    for way, make in made.items():
        error = seen.call(f"{name} {way}", make)
        if error is None:
            continue
        seen.note(f"{name} {way}: args", list(error.args))
        seen.note(f"{name} {way}: dict", error.to_dict())
        attributes = ("message", "retryable", "metadata", "error_code", "retry_after")
        seen.note(f"{name} {way}: attributes", {key: getattr(error, key) for key in attributes})
        for default, classifier in classifiers.items():
            seen.note(f"{name} {way}: {default} by default", classifier.classify(error))

others: dict[str, BaseException] = {
    name: kind("no")
    for name, kind in vars(builtins).items()
    if isinstance(kind, type)
    and issubclass(kind, Exception)
    and not issubclass(kind, UnicodeError)
    and not name.endswith("Group")
}
others["UnicodeDecodeError"] = UnicodeDecodeError("utf-8", b"x", 0, 1, "no")
others["KeyboardInterrupt"] = KeyboardInterrupt()
others["StepExecutionError"] = StepExecutionError("no")
others["StepExecutionError permanent"] = StepExecutionError("no", "kind", False)
for name in exceptions.__all__:
    others[f"exceptions.{name}"] = getattr(exceptions, name)("no")


class Odd(Exception):
    retryable: Any = "yes"


others["an attribute that is no bool"] = Odd()
for name, given in others.items():
    for default, classifier in classifiers.items():
        seen.note(f"{name}: {default} by default", classifier.classify(given))
    seen.note(
        f"{name}: functions", [tasker_core.is_retryable(given), tasker_core.is_permanent(given)]
    )
    seen.note(f"{name}: methods", [classifiers["permanent"].retryable(given)])

seen.note("one classifier", tasker_core.get_classifier() is error_classifier.get_classifier())
step_error = StepExecutionError("no", "kind", False)
seen.note("step execution error", [str(step_error), step_error.error_type, step_error.retryable])

seen.write()
