"""Every keyword that is kept or not, in every column: conversion-reasoning.md 6.2. What is written in another way is in
`test_clean`."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from oneapi_mw.jsontext import dumps
from oneapi_mw.types import JsonObject
from oneapi_mw.wire.schema import Column, clean

COLUMNS: tuple[Column, ...] = ("OS", "ON", "AN", "GS", "GJ")
TEXT: JsonObject = {"type": "string"}
WORD, NUMBER, LIST = {"type": "string"}, {"type": "number"}, {"type": "array", "items": TEXT}
OBJECT: JsonObject = {
    "type": "object",
    "properties": {"a": TEXT},
    "required": ["a"],
    "additionalProperties": False,
}

# K kept, D said in the description, X left out, L said and no strict grammar holds it; OS, ON, AN, GS, GJ.
ROWS: list[tuple[str, Any, JsonObject, str]] = [
    ("title", "t", WORD, "KKKKK"),
    ("default", "x", WORD, "XKDKD"),
    ("default", None, WORD, "XKXXX"),
    ("examples", ["x"], WORD, "XKDXD"),
    ("pattern", "^a", WORD, "KKDDD"),
    ("minLength", 1, WORD, "DKDDD"),
    ("maxLength", 9, WORD, "DKDDD"),
    *(("format", name, WORD, "KKKDK") for name in ("date", "time")),
    ("format", "date-time", WORD, "KKKKK"),
    *(("format", name, WORD, "KKKDD") for name in ("duration", "email", "hostname", "ipv4", "ipv6", "uuid")),
    ("format", "uri", WORD, "DKKDD"),
    ("format", "regex", WORD, "DKDDD"),
    *(("format", name, {"type": "integer"}, "DKDKD") for name in ("int32", "int64")),
    *(("format", name, NUMBER, "DKDKD") for name in ("float", "double")),
    ("minimum", 1, NUMBER, "KKDKK"),
    ("maximum", 9, NUMBER, "KKDKK"),
    ("exclusiveMinimum", 1, NUMBER, "KKDDD"),
    ("exclusiveMaximum", 9, NUMBER, "KKDDD"),
    ("multipleOf", 2, NUMBER, "KKDDD"),
    ("minItems", 0, LIST, "KKKKK"),
    ("minItems", 1, LIST, "KKKKK"),
    ("minItems", 2, LIST, "KKDKK"),
    ("maxItems", 2, LIST, "KKDKK"),
    ("uniqueItems", True, LIST, "DKDDD"),
    ("contains", TEXT, LIST, "DKDDD"),
    ("patternProperties", {"^x": TEXT}, OBJECT, "LKDDD"),
    ("propertyNames", {"pattern": "^a"}, OBJECT, "LKDDD"),
    ("minProperties", 1, OBJECT, "LKDDD"),
    ("maxProperties", 9, OBJECT, "LKDDD"),
    ("dependentRequired", {"a": ["b"]}, OBJECT, "LKDDD"),
    ("dependentSchemas", {"a": TEXT}, OBJECT, "LKDDD"),
    ("unevaluatedProperties", False, OBJECT, "LKDDD"),
    ("not", {"const": "x"}, WORD, "LKDDD"),
    ("if", {"const": "x"}, WORD, "LKDDD"),
    ("then", {"const": "x"}, WORD, "LKDDD"),
    ("else", {"const": "x"}, WORD, "LKDDD"),
    *((name, "x", WORD, "XXXXX") for name in ("$schema", "$id", "$comment")),
    ("strict", True, WORD, "XXXXX"),
    ("propertyOrdering", ["a"], OBJECT, "XXXKK"),
    ("x-unknown", 1, WORD, "KKKXK"),
]
CELLS = [(*row[:3], column, row[3][COLUMNS.index(column)]) for row, column in product(ROWS, COLUMNS)]


def cleaned(schema: JsonObject, column: Column) -> tuple[JsonObject, bool]:
    """The schema of a property, and whether a strict grammar can hold it."""
    found = clean(
        {"type": "object", "properties": {"p": schema}, "required": ["p"], "additionalProperties": False}, column
    )
    inner: JsonObject = found.schema["properties"]["p"]
    return inner, found.strict_possible


@pytest.mark.parametrize(
    ("keyword", "value", "base", "column", "letter"), CELLS, ids=[f"{c[0]} {c[1]} {c[3]}" for c in CELLS]
)
def test_keyword(keyword: str, value: Any, base: JsonObject, column: Column, letter: str) -> None:
    plain, _ = cleaned(base, column)
    found, strict = cleaned({**base, keyword: value}, column)
    said = dumps({keyword: value}).decode()
    if letter == "K":
        plain = {**plain, keyword: value}
    elif letter in "DL":
        plain = {**plain, "description": said}
    if keyword == "propertyOrdering" and letter == "K":
        assert found[keyword] == value
    else:
        assert found == plain
    if column == "OS":
        assert strict == (letter != "L")


@pytest.mark.parametrize("keyword", ["pattern", "minLength", "maxLength"])
def test_vertex_takes_what_the_other_host_does_not(keyword: str) -> None:
    value: Any = "^a" if keyword == "pattern" else 1
    schema = {"type": "object", "properties": {"p": {"type": "string", keyword: value}}, "required": ["p"]}
    assert clean(schema, "GS", vertex=True).schema["properties"]["p"] == {"type": "STRING", keyword: value}


@pytest.mark.parametrize("column", COLUMNS)
def test_what_is_not_said_twice(column: Column) -> None:
    """Words of a description stand in front of what could not be kept."""
    found, _ = cleaned({"type": "string", "description": "d", "minLength": 1}, column)
    if column == "ON":
        assert found == {"type": "string", "description": "d", "minLength": 1}
    else:
        assert found["description"] == 'd\n\n{"minLength":1}'
