"""How the input of a task becomes the model that a handler asks for."""

from contextlib import suppress
from typing import Any

from pydantic import AliasChoices, AliasPath, BaseModel, ValidationError

from tasker_core.types import StepContext


def build_inputs(model: type[BaseModel], context: StepContext) -> BaseModel:
    """Return the task's input as a model.

    A value that is missing is left to the field's default, if it has one,
    and is ``None`` otherwise. It is ``None`` for a default of ``None`` too,
    which validators can tell from nothing, unless the model refuses that.
    """
    # Stand-ins for a context that tests make may have get_input() alone.
    input_data = getattr(context, "input_data", None)
    by_name, by_alias = _validates_by(model)
    values: dict[str, Any] = {}
    nulls: dict[str, Any] = {}
    for name, info in model.model_fields.items():
        aliases = (_aliases(info.validation_alias) if by_alias else []) or [name]
        usual = name if by_name else aliases[0]
        for key in dict.fromkeys((name, *aliases)):
            value = context.get_input(key)
            if value is not None or (isinstance(input_data, dict) and key in input_data):
                values[usual if key == name else key] = value
                break
        else:
            if info.is_required():
                values[usual] = None
            elif info.default is None:
                nulls[usual] = None
    if nulls:
        with suppress(ValidationError):
            return model(**{**nulls, **values})
    return model(**values)


def _validates_by(model: type[BaseModel]) -> tuple[bool, bool]:
    """Return whether a model reads its fields by their names, and by their aliases."""
    config = getattr(model, "model_config", {})
    by_alias = config.get("validate_by_alias") is not False
    by_name = config.get("validate_by_name") or config.get("populate_by_name")
    return bool(by_name) or not by_alias, by_alias


def _aliases(alias: str | AliasPath | AliasChoices | None) -> list[str]:
    """Return the input keys that a field can be read from besides its name."""
    if isinstance(alias, str):
        return [alias]
    if isinstance(alias, AliasPath):
        return [str(alias.path[0])]
    if isinstance(alias, AliasChoices):
        return [key for choice in alias.choices for key in _aliases(choice)]
    return []
