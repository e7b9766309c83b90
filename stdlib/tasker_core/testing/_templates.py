"""What running a task in memory needs of a template."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasker_core.step_handler.base import StepHandler

_MAX_ATTEMPTS = 3


@dataclass(frozen=True)
class TemplateStep:
    """One step of a template."""

    name: str
    handler: dict[str, Any]
    dependencies: list[str]
    ancestors: list[str]
    """All steps that come before it, however far."""
    retryable: bool
    max_attempts: int

    @property
    def initialization(self) -> dict[str, Any]:
        """The settings of its handler."""
        initialization: dict[str, Any] = self.handler.get("initialization") or {}
        return initialization


def read_template(template: str | Path | Mapping[str, Any]) -> list[TemplateStep]:
    """Return the steps of a template.

    Raises:
        ValueError: it is none, or has steps that need an engine.
    """
    if isinstance(template, Mapping):
        return _steps(template, str(template.get("name") or "template"))
    import yaml

    try:
        content = yaml.safe_load(Path(template).read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as exc:
        raise ValueError(f"{template}: cannot be read as a template: {exc}") from exc
    if not isinstance(content, dict):
        raise ValueError(f"{template}: a template is a mapping with the key 'steps'")
    return _steps(content, str(template))


def infer_template(handlers: Iterable[type[StepHandler]]) -> list[TemplateStep]:
    """Return a step for each decorated function, with what it depends on.

    Classes do not tell what they depend on, so they are left out.
    """
    steps = [
        {
            "name": handler.handler_name,
            "handler": {"callable": handler.handler_name},
            "type": _STEP_TYPES.get(getattr(handler, "_handler_kind", ""), "standard"),
            "dependencies": list(dict.fromkeys(handler._said.dependencies.values())),
        }
        for handler in handlers
        if hasattr(handler, "_said")
    ]
    if not steps:
        raise ValueError(
            "run_task: give a template, or handlers decorated with @step_handler and @depends_on"
        )
    return _steps({"steps": steps}, "run_task")


_STEP_TYPES = {
    "decision_handler": "decision",
    "batch_analyzer": "batchable",
    "batch_worker": "batch_worker",
}


def _steps(template: Mapping[str, Any], where: str) -> list[TemplateStep]:
    given = template.get("steps")
    if not isinstance(given, list) or not given:
        raise ValueError(f"{where}: a template has at least one step, under the key 'steps'")
    dependencies: dict[str, list[str]] = {}
    for step in given:
        name = _checked(step, where)
        if name in dependencies:
            raise ValueError(f"{where}: step {name!r} is there twice")
        dependencies[name] = list(step.get("dependencies") or step.get("depends_on") or [])
    for name, parents in dependencies.items():
        for parent in parents:
            if parent not in dependencies:
                raise ValueError(f"{where}: step {name!r} depends on {parent!r}, which is no step")
    return [
        TemplateStep(
            name=step["name"],
            handler=step["handler"],
            dependencies=dependencies[step["name"]],
            ancestors=_ancestors(step["name"], dependencies, where),
            retryable=_retry(step, "retryable", True),
            max_attempts=_retry(step, "max_attempts", _MAX_ATTEMPTS),
        )
        for step in given
    ]


def _checked(step: Any, where: str) -> str:
    """Return the name of a step that can be run here."""
    if not isinstance(step, dict) or not isinstance(step.get("name"), str):
        raise ValueError(f"{where}: {step!r} is no step: it needs a 'name' and a 'handler'")
    name: str = step["name"]
    kind = step.get("type") or step.get("step_type") or "standard"
    if kind != "standard":
        raise ValueError(
            f"{where}: step {name!r} is of type {kind!r}; run_task runs standard steps only, "
            "`taskerpy run` runs all of them"
        )
    handler = step.get("handler")
    if not isinstance(handler, dict) or not handler.get("callable"):
        raise ValueError(f"{where}: step {name!r} names no handler: it needs 'handler.callable'")
    return name


def _retry(step: dict[str, Any], key: str, default: Any) -> Any:
    value = (step.get("retry") or {}).get(key)
    return default if value is None else value


def _ancestors(name: str, dependencies: dict[str, list[str]], where: str) -> list[str]:
    found: dict[str, None] = {}
    waiting = list(dependencies[name])
    while waiting:
        parent = waiting.pop()
        if parent == name:
            raise ValueError(f"{where}: step {name!r} depends on itself")
        if parent not in found:
            found[parent] = None
            waiting.extend(dependencies[parent])
    return list(found)
