"""Build models from values that are known to be right.

Validation is most of what a step costs. Where a value was just made by the
host, or was checked by hand, a model is put together here the way
``model_construct`` does it, without the walk over the fields. The result
cannot be told from a validated one.
"""

from typing import Any, TypeVar
from uuid import UUID

from pydantic import BaseModel

Model = TypeVar("Model", bound=BaseModel)

_new = object.__new__
_set = object.__setattr__
# The member that uuid.UUID() itself takes when it is not told another.
_UNKNOWN_SAFETY = UUID(int=0).is_safe


def construct(cls: type[Model], values: dict[str, Any], fields_set: set[str]) -> Model:
    """Return a model that owns ``values``: every field, in the declared order."""
    model = _new(cls)
    _set(model, "__dict__", values)
    _set(model, "__pydantic_fields_set__", fields_set)
    _set(model, "__pydantic_extra__", None)
    _set(model, "__pydantic_private__", None)
    return model


def trusted_uuid(text: str) -> UUID:
    """Return the UUID of a text that is known to be one."""
    value = _new(UUID)
    _set(value, "int", int(text.replace("-", ""), 16))
    _set(value, "is_safe", _UNKNOWN_SAFETY)
    return value


def has_text_keys(mapping: dict[Any, Any]) -> bool:
    """Return whether every key is a plain ``str``, as JSON objects need."""
    return all(type(key) is str for key in mapping)
