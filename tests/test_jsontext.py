"""JSON as the world sends it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oneapi_mw.jsontext import MAX_DEPTH, deeper_than, dumps, dumps_well_formed, loads

ANY_TEXT = st.text(st.characters(codec=None), max_size=5)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT, inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(VALUES)
def test_loads_reverses_dumps(value: object) -> None:
    """Halves of characters included; two halves that meet in one string are one character afterwards."""
    whole = json.loads(json.dumps(value))
    assert loads(dumps(value)) == whole


@given(VALUES)
def test_well_formed_is_well_formed(value: object) -> None:
    text = dumps_well_formed(value).decode()
    assert "\\ud" not in text
    json.loads(text).__class__  # noqa: B018


def test_halves_of_characters() -> None:
    assert loads(b'"a\\ud83d"') == "a\ud83d"
    assert dumps("a\ud83d") == b'"a\\ud83d"'
    assert dumps_well_formed("a\ud83d") == '"a\ufffd"'.encode()
    assert dumps_well_formed("\ud83d\ude00") == '"\U0001f600"'.encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"NaN",
        b"[1e999]",
        b'{"a":NaN,"b":"\\ud83d"}',
        b'{"a":Infinity,"b":"\\ud83d"}',
        b'{"a":-1e999,"b":"\\ud83d"}',
        b'{"a":' + b"9" * 5000 + b',"b":"\\ud83d"}',
        b'"\xff"',
        b'"\xff\\ud83d"',
        b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1),
        b"[" * 100_000,
        b'["\\ud83d",' + b"[" * 100_000 + b"]" * 100_000 + b"]",
        b'{"a":' * 100_000 + b'"\\ud83d"' + b"}" * 100_000,
    ],
    ids=range(14),
)
def test_what_is_not_json_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError):
        loads(data)


def test_what_is_deep_but_not_too_deep() -> None:
    value = loads(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)
    assert dumps(value) == b"[" * MAX_DEPTH + b"]" * MAX_DEPTH
    assert loads(b'{"a":[' + b"{}," * 1000 + b"{}]}")["a"][0] == {}


@pytest.mark.parametrize(("value", "depth"), [(1, 0), ("x", 0), ({}, 1), ([[1]], 2), ({"a": [{"b": 1}], "c": 2}, 3)])
def test_depth(value: object, depth: int) -> None:
    assert not deeper_than(value, depth)
    if depth:
        assert deeper_than(value, depth - 1)


def test_numbers_beyond_64_bits_are_written() -> None:
    assert dumps({"a": 10**30}) == b'{"a":1000000000000000000000000000000}'
