"""Build models from values that are known to be right.

Validation is most of what a step costs. Where a value was just made by the
host, or was checked by hand, a model is put together here the way
``model_construct`` does it, without the walk over the fields. The result
cannot be told from a validated one.
"""

from collections.abc import Iterable
from typing import Any, TypeVar
from uuid import UUID

from pydantic import BaseModel

Model = TypeVar("Model", bound=BaseModel)

_new = object.__new__
# The slots of a model and of a UUID: both refuse plain assignment.
_set_values = BaseModel.__dict__["__dict__"].__set__
_set_fields_set = BaseModel.__dict__["__pydantic_fields_set__"].__set__
_set_extra = BaseModel.__dict__["__pydantic_extra__"].__set__
_set_private = BaseModel.__dict__["__pydantic_private__"].__set__
_set_int = UUID.__dict__["int"].__set__
_set_is_safe = UUID.__dict__["is_safe"].__set__
# The member that uuid.UUID() itself takes when it is not told another.
_UNKNOWN_SAFETY = UUID(int=0).is_safe


def construct(cls: type[Model], values: dict[str, Any], fields_set: set[str]) -> Model:
    """Return a model that owns ``values``: every field, in the declared order."""
    model = _new(cls)
    _set_values(model, values)
    _set_fields_set(model, fields_set)
    _set_extra(model, None)
    _set_private(model, None)
    return model


def trusted_uuid(text: str) -> UUID:
    """Return the UUID of a text that is known to be one."""
    value = _new(UUID)
    _set_int(value, int(text.replace("-", ""), 16))
    _set_is_safe(value, _UNKNOWN_SAFETY)
    return value


def has_text_keys(mapping: Iterable[Any]) -> bool:
    """Return whether every key is a plain ``str``, as JSON objects need."""
    # A loop, because a generator costs more than looking at a few keys.
    for key in mapping:  # noqa: SIM110
        if type(key) is not str:
            return False
    return True
