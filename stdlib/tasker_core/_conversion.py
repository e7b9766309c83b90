"""Values on their way between Python and the host, which speaks JSON."""

import json
import re
from collections.abc import Callable
from json.encoder import encode_basestring as _quote
from math import isfinite
from typing import Any

# Python refuses to read or write integers of more digits than this at once.
_DIGITS_AT_ONCE = 4000
_CHUNK = 10**_DIGITS_AT_ONCE
# An int of no more bits than this has fewer digits than that.
_SMALL_BITS = 13_000

_HYPHENATED = "[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
_UUID = re.compile(rf"{_HYPHENATED}|urn:uuid:{_HYPHENATED}|\{{{_HYPHENATED}\}}|[0-9a-fA-F]{{32}}")


class InconvertibleError(ValueError):
    """A value that JSON cannot carry; ``path`` leads to it, inside out."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.path: list[str] = []

    def __str__(self) -> str:
        where = "".join(reversed(self.path)).lstrip(".")
        problem = str(self.args[0])
        return f"{where}: {problem}" if where else problem


def encode(value: Any) -> bytes:
    """Return a value as JSON.

    Integers may be of any size; NaN and the infinities become null.

    Raises:
        InconvertibleError: the value holds something else than dicts with
            ``str`` keys, lists, tuples, str, int, float, bool and None, or it
            holds itself.
    """
    pieces: list[str] = []
    try:
        _write(value, pieces.append)
        return "".join(pieces).encode("utf-8")
    except RecursionError:
        raise InconvertibleError("nested too deeply, or containing itself") from None
    except UnicodeEncodeError as exc:
        raise InconvertibleError(f"text that is not valid Unicode: {exc.reason}") from None


def decode(data: bytes) -> Any:
    """Return the value of a JSON text. Integers keep their exact value."""
    text = data.decode("utf-8")
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        raise
    except ValueError:
        # An integer of thousands of digits.
        return json.loads(text, parse_int=_read_int)


def uuid_text(text: str) -> str:
    """Return a UUID in its usual spelling: lower case, hyphenated.

    Raises:
        ValueError: the text is none of the four spellings of a UUID.
    """
    if _UUID.fullmatch(text) is None:
        raise ValueError(f"{text!r} is not a UUID")
    digits = text.removeprefix("urn:uuid:").strip("{}").replace("-", "").lower()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def text_of(value: Any) -> str:
    """Return ``str(value)``, or what is wrong with it: log lines must not fail."""
    try:
        return str(value)
    except Exception as exc:
        return f"<{type(value).__name__}: str() raised {type(exc).__name__}>"


def _write(value: Any, out: Callable[[str], None]) -> None:
    if value is None:
        out("null")
    elif value is True:
        out("true")
    elif value is False:
        out("false")
    elif isinstance(value, str):
        out(_quote(value))
    elif isinstance(value, int):
        out(_int_text(value))
    elif isinstance(value, float):
        out(float.__repr__(value) if isfinite(value) else "null")
    elif isinstance(value, dict):
        _write_dict(value, out)
    elif isinstance(value, (list, tuple)):
        _write_items(value, out)
    else:
        raise InconvertibleError(f"a value of type {type(value).__name__} has no form in JSON")


def _write_dict(value: dict[Any, Any], out: Callable[[str], None]) -> None:
    before = "{"
    for key, item in value.items():
        if not isinstance(key, str):
            raise InconvertibleError(f"the key {key!r} is {type(key).__name__}, it must be str")
        out(before)
        out(_quote(key))
        out(":")
        try:
            _write(item, out)
        except InconvertibleError as exc:
            exc.path.append(f".{key}")
            raise
        before = ","
    out("}" if value else "{}")


def _write_items(value: list[Any] | tuple[Any, ...], out: Callable[[str], None]) -> None:
    before = "["
    for index, item in enumerate(value):
        out(before)
        try:
            _write(item, out)
        except InconvertibleError as exc:
            exc.path.append(f"[{index}]")
            raise
        before = ","
    out("]" if value else "[]")


def _int_text(value: int) -> str:
    if value.bit_length() <= _SMALL_BITS:
        return int.__repr__(value)
    rest = abs(int(value))
    chunks: list[str] = []
    while rest >= _CHUNK:
        rest, chunk = divmod(rest, _CHUNK)
        chunks.append(str(chunk).zfill(_DIGITS_AT_ONCE))
    chunks.append(f"-{rest}" if value < 0 else str(rest))
    return "".join(reversed(chunks))


def _read_int(text: str) -> int:
    if len(text) <= _DIGITS_AT_ONCE:
        return int(text)
    digits = text.removeprefix("-")
    value = 0
    for start in range(0, len(digits), _DIGITS_AT_ONCE):
        chunk = digits[start : start + _DIGITS_AT_ONCE]
        value = value * 10 ** len(chunk) + int(chunk)
    return -value if text.startswith("-") else value
