"""Values between Python and the host's JSON (§2.13)."""

import json
import math
from typing import Any

import pytest
from tasker_core._conversion import InconvertibleError, decode, encode, text_of, uuid_text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (False, "false"),
        (1, "1"),
        (-(2**63), "-9223372036854775808"),
        (2**64 - 1, "18446744073709551615"),
        (1.5, "1.5"),
        (1e300, "1e+300"),
        (math.nan, "null"),
        (math.inf, "null"),
        (-math.inf, "null"),
        ('quote " and ü', '"quote \\" and ü"'),
        ([], "[]"),
        ((1, "a"), '[1,"a"]'),
        ({}, "{}"),
        ({"b": [1], "a": {}}, '{"b":[1],"a":{}}'),
    ],
)
def test_values_and_their_json(value: Any, text: str) -> None:
    assert encode(value) == text.encode()


@pytest.mark.parametrize(("base", "exponent"), [(10, 4000), (-7, 9001), (7, 30_000)])
def test_integers_of_any_size_keep_their_value(base: int, exponent: int) -> None:
    number = base**exponent
    assert decode(encode({"n": [number, 1]})) == {"n": [number, 1]}


def test_small_and_large_integers_may_stand_together() -> None:
    assert decode(encode([5, -(3**20_000)])) == [5, -(3**20_000)]


def test_fractions_and_exponents_are_floats() -> None:
    assert [type(number) for number in decode(b"[1, 1.0, 1e3]")] == [int, float, float]


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ({"a": [1, {"b": object()}]}, "a[1].b: a value of type object has no form in JSON"),
        ({"a": b"bytes"}, "a: a value of type bytes has no form in JSON"),
        ({"a": {1: 2}}, "a: the key 1 is int, it must be str"),
        (object(), "a value of type object has no form in JSON"),
        ({"a": "\ud800"}, "text that is not valid Unicode"),
    ],
)
def test_what_json_cannot_carry_is_named_with_its_place(value: Any, problem: str) -> None:
    with pytest.raises(InconvertibleError) as caught:
        encode(value)
    assert problem in str(caught.value)


def test_a_value_that_holds_itself_is_refused() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(InconvertibleError, match="containing itself"):
        encode(value)


def test_broken_json_is_an_error() -> None:
    with pytest.raises(json.JSONDecodeError):
        decode(b"{")


def test_subclasses_of_plain_types_are_plain_values() -> None:
    class Text(str):
        pass

    class Number(int):
        pass

    assert encode([Text("a"), Number(5)]) == b'["a",5]'


def test_a_uuid_has_one_spelling() -> None:
    assert uuid_text("{018F0000-0000-7000-8000-000000000001}") == (
        "018f0000-0000-7000-8000-000000000001"
    )


@pytest.mark.parametrize("text", ["", "x", "018f00000000-7000-8000-000000000001", "{018f}"])
def test_what_is_no_uuid_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a UUID"):
        uuid_text(text)


def test_the_text_of_a_value() -> None:
    assert text_of(5) == "5"
