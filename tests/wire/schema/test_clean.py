"""Schemas as each kind of target takes them: conversion-reasoning.md 6.2 row by row, and what holds for all."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from anthropic.lib._parse._transform import transform_schema
from google.genai import types as google
from hypothesis import given, settings
from hypothesis import strategies as st

from oneapi_mw.errors import InvalidRequest
from oneapi_mw.jsontext import dumps
from oneapi_mw.types import JsonObject
from oneapi_mw.wire.schema import MAX_NODES, Column, clean
from oneapi_mw.wire.schema.cache import MAX_ENTRIES, MAX_ENTRY_BYTES, Cache

COLUMNS: tuple[Column, ...] = ("OS", "ON", "AN", "GS", "GJ")


def inside(schema: Any, column: Column) -> Any:
    """The schema of a required property after cleaning."""
    whole = {"type": "object", "properties": {"p": schema}, "required": ["p"]}
    return clean(whole, column).schema["properties"]["p"]


def is_strict(schema: Any) -> bool:
    return clean({"type": "object", "properties": {"p": schema}, "required": ["p"]}, "OS").strict_possible


# One row of the table each: keyword, then OS, ON, AN, GS, GJ.

TEXT = {"type": "string"}
ROWS: list[tuple[str, Any, dict[Column, Any]]] = [
    (
        "type string",
        TEXT,
        {"OS": TEXT, "ON": TEXT, "AN": TEXT, "GS": {"type": "STRING"}, "GJ": TEXT},
    ),
    (
        "type or null",
        {"type": ["string", "null"]},
        {
            "OS": {"type": ["string", "null"]},
            "ON": {"type": ["string", "null"]},
            "AN": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            "GS": {"type": "STRING", "nullable": True},
            "GJ": {"type": ["string", "null"]},
        },
    ),
    (
        "several types",
        {"type": ["object", "array"], "properties": {"a": TEXT}, "items": TEXT, "description": "d"},
        {
            "AN": {
                "description": "d",
                "anyOf": [
                    {"properties": {"a": TEXT}, "type": "object", "additionalProperties": False},
                    {"items": TEXT, "type": "array"},
                ],
            },
            "GS": {
                "anyOf": [
                    {
                        "properties": {"a": {"type": "STRING"}},
                        "type": "OBJECT",
                        "description": "d",
                        "propertyOrdering": ["a"],
                    },
                    {"items": {"type": "STRING"}, "type": "ARRAY", "description": "d"},
                ]
            },
        },
    ),
    (
        "missing type",
        {"properties": {"a": TEXT}, "required": ["a"]},
        {
            "OS": {
                "type": "object",
                "properties": {"a": TEXT},
                "required": ["a"],
                "additionalProperties": False,
            },
            "ON": {"properties": {"a": TEXT}, "required": ["a"]},
            "GS": {
                "type": "OBJECT",
                "properties": {"a": {"type": "STRING"}},
                "required": ["a"],
                "propertyOrdering": ["a"],
            },
        },
    ),
    ("no properties", {"type": "object", "properties": {}, "required": ["x"]}, {"GS": {"type": "OBJECT"}}),
    (
        "unknown required",
        {"type": "object", "properties": {"a": TEXT}, "required": ["a", "x"]},
        {
            "GS": {
                "type": "OBJECT",
                "properties": {"a": {"type": "STRING"}},
                "required": ["a"],
                "propertyOrdering": ["a"],
            }
        },
    ),
    (
        "free map",
        {"type": "object", "additionalProperties": TEXT},
        {
            "ON": {"type": "object", "additionalProperties": TEXT},
            "AN": {
                "type": "object",
                "additionalProperties": False,
                "description": '{"additionalProperties":{"type":"string"}}',
            },
            "GS": {"type": "OBJECT", "description": '{"additionalProperties":{"type":"string"}}'},
            "GJ": {"type": "object", "additionalProperties": TEXT},
        },
    ),
    (
        "enum of strings",
        {"type": "string", "enum": ["a", "", "b"]},
        {
            "OS": {"type": "string", "enum": ["a", "", "b"]},
            "GS": {"type": "STRING", "enum": ["a", "b"], "format": "enum"},
            "GJ": {"type": "string", "enum": ["a", "", "b"]},
        },
    ),
    (
        "enum of numbers",
        {"type": "integer", "enum": [1, 2]},
        {
            "AN": {"type": "integer", "enum": [1, 2]},
            "GS": {"type": "INTEGER", "description": '{"enum":[1,2]}'},
            "GJ": {"type": "integer", "enum": [1, 2]},
        },
    ),
    (
        "enum of both",
        {"enum": ["a", 1]},
        {"GS": {"type": "STRING", "enum": ["a", "1"], "format": "enum"}},
    ),
    (
        "enum with null",
        {"enum": ["a", None]},
        {
            "GS": {"type": "STRING", "enum": ["a"], "format": "enum", "nullable": True},
            "GJ": {"type": ["string", "null"], "enum": ["a"]},
        },
    ),
    (
        "enum of truth values",
        {"type": "boolean", "enum": [True]},
        {
            "OS": {"type": "boolean", "enum": [True]},
            "GS": {"type": "BOOLEAN", "description": '{"enum":[true]}'},
            "GJ": {"type": "boolean", "description": '{"enum":[true]}'},
        },
    ),
    (
        "const",
        {"const": "a"},
        {
            "OS": {"type": "string", "const": "a"},
            "GS": {"type": "STRING", "enum": ["a"], "format": "enum"},
            "GJ": {"type": "string", "enum": ["a"]},
        },
    ),
    (
        "oneOf",
        {"oneOf": [TEXT, {"type": "integer"}]},
        {
            "OS": {"anyOf": [TEXT, {"type": "integer"}]},
            "ON": {"oneOf": [TEXT, {"type": "integer"}]},
            "AN": {"anyOf": [TEXT, {"type": "integer"}]},
            "GS": {"anyOf": [{"type": "STRING"}, {"type": "INTEGER"}]},
            "GJ": {"oneOf": [TEXT, {"type": "integer"}]},
        },
    ),
    (
        "allOf of one",
        {"allOf": [{"type": "string", "title": "t"}], "description": "d"},
        {
            "OS": {"type": "string", "title": "t", "description": "d"},
            "AN": {"type": "string", "title": "t", "description": "d"},
            "GS": {"type": "STRING", "title": "t", "description": "d"},
        },
    ),
    (
        "allOf of several",
        {
            "allOf": [
                {"type": "object", "properties": {"a": TEXT}, "required": ["a"]},
                {"properties": {"b": TEXT}, "required": ["b"]},
            ]
        },
        {
            "OS": {
                "type": "object",
                "properties": {"a": TEXT, "b": TEXT},
                "required": ["a", "b"],
                "additionalProperties": False,
            },
            "GJ": {"type": "object", "properties": {"a": TEXT, "b": TEXT}, "required": ["a", "b"]},
        },
    ),
    (
        "not",
        {"type": "string", "not": {"const": "a"}},
        {
            "ON": {"type": "string", "not": {"const": "a"}},
            "AN": {"type": "string", "description": '{"not":{"const":"a"}}'},
            "GS": {"type": "STRING", "description": '{"not":{"const":"a"}}'},
            "GJ": {"type": "string", "description": '{"not":{"const":"a"}}'},
        },
    ),
    (
        "nullable",
        {"type": "string", "nullable": True, "enum": ["a"]},
        {
            "OS": {"type": ["string", "null"], "enum": ["a", None]},
            "ON": {"type": ["string", "null"], "enum": ["a", None]},
            "GS": {"type": "STRING", "nullable": True, "enum": ["a"], "format": "enum"},
            "GJ": {"type": ["string", "null"], "enum": ["a"]},
        },
    ),
    (
        "default",
        {"type": "string", "default": "x", "examples": ["y"]},
        {
            "OS": TEXT,
            "ON": {"type": "string", "default": "x", "examples": ["y"]},
            "AN": {"type": "string", "description": '{"default":"x","examples":["y"]}'},
            "GS": {"type": "STRING", "default": "x"},
            "GJ": {"type": "string", "description": '{"default":"x","examples":["y"]}'},
        },
    ),
    (
        "default null",
        {"type": "string", "default": None},
        {"OS": TEXT, "AN": TEXT, "GS": {"type": "STRING"}, "GJ": TEXT},
    ),
    (
        "format",
        {"type": "string", "format": "uri"},
        {
            "OS": {"type": "string", "description": '{"format":"uri"}'},
            "AN": {"type": "string", "format": "uri"},
            "GS": {"type": "STRING", "description": '{"format":"uri"}'},
            "GJ": {"type": "string", "description": '{"format":"uri"}'},
        },
    ),
    (
        "format of a number",
        {"type": "integer", "format": "int32"},
        {"GS": {"type": "INTEGER", "format": "int32"}, "AN": {"type": "integer", "description": '{"format":"int32"}'}},
    ),
    (
        "pattern and lengths",
        {"type": "string", "pattern": "^a", "minLength": 1, "description": "d"},
        {
            "OS": {"type": "string", "pattern": "^a", "description": 'd\n\n{"minLength":1}'},
            "AN": {"type": "string", "description": 'd\n\n{"pattern":"^a","minLength":1}'},
            "GS": {"type": "STRING", "description": 'd\n\n{"pattern":"^a","minLength":1}'},
            "GJ": {"type": "string", "description": 'd\n\n{"pattern":"^a","minLength":1}'},
        },
    ),
    (
        "bounds",
        {"type": "integer", "minimum": 1, "exclusiveMaximum": 9},
        {
            "OS": {"type": "integer", "minimum": 1, "exclusiveMaximum": 9},
            "AN": {"type": "integer", "description": '{"minimum":1,"exclusiveMaximum":9}'},
            "GS": {"type": "INTEGER", "minimum": 1, "maximum": 8},
            "GJ": {"type": "integer", "minimum": 1, "description": '{"exclusiveMaximum":9}'},
        },
    ),
    (
        "items",
        {"type": "array", "items": TEXT, "minItems": 2, "maxItems": 3, "uniqueItems": True},
        {
            "OS": {
                "type": "array",
                "items": TEXT,
                "minItems": 2,
                "maxItems": 3,
                "description": '{"uniqueItems":true}',
            },
            "AN": {
                "type": "array",
                "items": TEXT,
                "description": '{"minItems":2,"maxItems":3,"uniqueItems":true}',
            },
            "GS": {
                "type": "ARRAY",
                "items": {"type": "STRING"},
                "minItems": 2,
                "maxItems": 3,
                "description": '{"uniqueItems":true}',
            },
        },
    ),
    (
        "one item",
        {"type": "array", "items": TEXT, "minItems": 1},
        {"AN": {"type": "array", "items": TEXT, "minItems": 1}},
    ),
    (
        "tuple",
        {"type": "array", "prefixItems": [TEXT]},
        {
            "OS": {"type": "array", "items": TEXT, "description": '{"prefixItems":[{"type":"string"}]}'},
            "GS": {
                "type": "ARRAY",
                "items": {"type": "STRING"},
                "description": '{"prefixItems":[{"type":"string"}]}',
            },
            "GJ": {"type": "array", "prefixItems": [TEXT]},
        },
    ),
    (
        "names of properties",
        {"type": "object", "propertyNames": {"pattern": "^a"}},
        {"GS": {"type": "OBJECT", "description": '{"propertyNames":{"pattern":"^a"}}'}},
    ),
    ("anything", True, {"ON": True, "GS": {"type": "OBJECT"}, "GJ": True}),
    (
        "anything as an object",
        {},
        {"AN": {"type": "string", "description": '{"type":"any"}'}, "GS": {"type": "OBJECT"}},
    ),
    (
        "bookkeeping",
        {"type": "string", "$schema": "x", "$id": "y", "$comment": "z", "strict": True},
        {"OS": TEXT, "ON": TEXT, "AN": TEXT, "GS": {"type": "STRING"}, "GJ": TEXT},
    ),
    (
        "unknown keyword",
        {"type": "string", "x-order": 1},
        {"ON": {"type": "string", "x-order": 1}, "GS": {"type": "STRING"}, "GJ": {"type": "string", "x-order": 1}},
    ),
]
CELLS = [(name, schema, column, want) for name, schema, row in ROWS for column, want in row.items()]


@pytest.mark.parametrize(("name", "schema", "column", "want"), CELLS, ids=[f"{name}-{c}" for name, _, c, _ in CELLS])
def test_row(name: str, schema: Any, column: Column, want: Any) -> None:
    assert inside(schema, column) == want


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"a": TEXT}},
        {"type": "object", "additionalProperties": True},
        {"type": "object", "patternProperties": {"a": TEXT}},
        {"type": "string", "not": {"const": "a"}},
        {"allOf": [{"type": "string"}, {"type": "integer"}]},
        True,
        {},
        {"description": "whatever"},
    ],
)
def test_what_no_strict_grammar_holds(schema: Any) -> None:
    assert not is_strict(schema)


def test_what_a_strict_grammar_holds() -> None:
    assert is_strict({"type": "object", "properties": {"a": TEXT}, "required": ["a"], "additionalProperties": False})


@pytest.mark.parametrize("root", [{"type": "array", "items": TEXT}, {"anyOf": [TEXT, {"type": "null"}]}, TEXT])
def test_a_root_that_is_no_object_is_wrapped_for_strict_output(root: JsonObject) -> None:
    cleaned = clean(root, "OS")
    assert cleaned.wrapped
    assert cleaned.schema == {
        "type": "object",
        "properties": {"value": root},
        "required": ["value"],
        "additionalProperties": False,
    }
    assert not clean(root, "GJ").wrapped


@pytest.mark.parametrize("column", COLUMNS)
def test_parameters_are_an_object_everywhere(column: Column) -> None:
    cleaned = clean({"type": "array", "items": TEXT}, column, use="tool")
    assert cleaned.wrapped
    assert cleaned.schema["type"].lower() == "object"
    assert set(cleaned.schema["properties"]) == {"value"}
    typeless = clean({"properties": {"a": TEXT}}, column, use="tool")
    assert not typeless.wrapped
    assert typeless.schema["type"].lower() == "object"


@pytest.mark.parametrize("size", [9, 10, 11])
def test_levels_of_a_strict_schema(size: int) -> None:
    schema: JsonObject = TEXT
    for _ in range(size):
        schema = {"type": "object", "properties": {"a": schema}, "required": ["a"]}
    assert clean(schema, "OS").strict_possible is (size <= 10)


def test_limits_of_anthropic() -> None:
    fits = {"type": "object", "properties": {f"p{n}": TEXT for n in range(24)}}
    cleaned = clean(fits, "AN")
    assert cleaned.optional == 24
    assert cleaned.strict_possible
    assert not clean({"type": "object", "properties": {f"p{n}": TEXT for n in range(25)}}, "AN").strict_possible
    unions = {"type": "object", "properties": {f"p{n}": {"type": ["string", "null"]} for n in range(17)}}
    unions["required"] = list(unions["properties"])
    assert clean(unions, "AN").unions == 17
    assert not clean(unions, "AN").strict_possible


# References.

NODE = {
    "$defs": {"node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}, "v": TEXT}}},
    "type": "object",
    "properties": {"head": {"$ref": "#/$defs/node"}},
    "required": ["head"],
}
USED = {
    "definitions": {"a": TEXT, "unused": TEXT},
    "type": "object",
    "properties": {"x": {"$ref": "#/definitions/a"}, "y": {"$ref": "#/definitions/a", "description": "Y"}},
    "required": ["x", "y"],
}


@pytest.mark.parametrize("column", ["OS", "AN", "GJ"])
def test_references_stay_and_stand_alone(column: Column) -> None:
    cleaned = clean(USED, column).schema
    assert cleaned["properties"] == {"x": {"$ref": "#/$defs/a"}, "y": {"type": "string", "description": "Y"}}
    assert cleaned["$defs"] == {"a": TEXT}


def test_references_are_written_out_for_the_openapi_dialect() -> None:
    cleaned = clean(USED, "GS").schema
    assert cleaned["properties"] == {"x": {"type": "STRING"}, "y": {"type": "STRING", "description": "Y"}}
    assert "$defs" not in cleaned


def test_references_stay_where_they_are_for_loose_targets() -> None:
    assert clean(USED, "ON").schema == USED


def test_recursion_stays_where_a_grammar_holds_it() -> None:
    assert clean(NODE, "OS").schema["$defs"]["node"]["properties"]["next"] == {"$ref": "#/$defs/node"}
    assert clean(NODE, "GJ").schema["$defs"]["node"]["properties"]["next"] == {"$ref": "#/$defs/node"}
    assert not clean(NODE, "AN").strict_possible


def test_recursion_through_required_properties_is_cut_for_gemini() -> None:
    node = {"type": "object", "properties": {"next": {"$ref": "#/$defs/n"}}, "required": ["next"]}
    cleaned = clean({"$defs": {"n": node}, "$ref": "#/$defs/n"}, "GJ")
    assert "$ref" not in dumps(cleaned.schema).decode().replace('{\\"$ref\\"', "")


def test_a_reference_to_the_root() -> None:
    schema = {"type": "object", "properties": {"child": {"$ref": "#"}}, "required": ["child"]}
    cleaned = clean(schema, "OS").schema
    assert cleaned["properties"]["child"] == {"$ref": "#/$defs/root"}
    assert cleaned["$defs"]["root"]["properties"]["child"] == {"$ref": "#/$defs/root"}


def test_a_wrapped_schema_keeps_its_references_right() -> None:
    schema = {"type": "array", "items": {"$ref": "#/items/anyOf/0"}, "$defs": {}}
    assert clean({"type": "array", "items": {"$ref": "#"}}, "ON", use="tool").schema["properties"]["value"] == {
        "type": "array",
        "items": {"$ref": "#/properties/value"},
    }
    with pytest.raises(InvalidRequest):
        clean(schema, "OS")


@pytest.mark.parametrize("column", COLUMNS)
def test_references_to_elsewhere_are_refused(column: Column) -> None:
    schema = {"type": "object", "properties": {"a": {"$ref": "https://example.com/s.json"}}}
    with pytest.raises(InvalidRequest, match="outside of it") as caught:
        clean(schema, column, where="tools[0].parameters")
    assert caught.value.param == "tools[0].parameters"


# CV-69 and on.


def keys(value: Any) -> set[str]:
    """Keywords of all schemas in a Gemini schema."""
    if not isinstance(value, dict):
        return set()
    found = set(value)
    for member in [*value.get("properties", {}).values(), *value.get("anyOf", ()), value.get("items")]:
        found |= keys(member)
    return found


HARD: JsonObject = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "additionalProperties": False,
    "propertyNames": {"pattern": "^[a-z]+$"},
    "properties": {
        "default": {"type": "string", "minLength": 1, "maxLength": 5},
        "n": {"type": ["integer", "null"], "exclusiveMinimum": 0, "multipleOf": 2},
        "list": {"type": "array"},
        "pick": {"anyOf": [TEXT, {"type": "integer"}], "title": "T", "description": "D"},
        "type": {"type": "string"},
    },
    "required": ["default"],
}


def test_cv_69_nothing_gemini_refuses_reaches_its_dialect() -> None:
    cleaned = clean(HARD, "GS").schema
    assert not keys(cleaned) & {"additionalProperties", "propertyNames", "$schema", "$defs", "$ref", "oneOf", "allOf"}
    google.Schema.model_validate(cleaned, extra="forbid")


def test_cv_70_an_array_without_items_gets_one_for_gemini() -> None:
    assert clean(HARD, "GS").schema["properties"]["list"] == {"type": "ARRAY", "items": {"type": "STRING"}}


def test_cv_71_any_of_stands_alone_for_gemini() -> None:
    assert clean(HARD, "GS").schema["properties"]["pick"] == {
        "anyOf": [
            {"type": "STRING", "title": "T", "description": "D"},
            {"type": "INTEGER", "title": "T", "description": "D"},
        ]
    }


def test_cv_71_a_null_branch_is_said_by_nullable() -> None:
    assert inside({"anyOf": [TEXT, {"type": "null"}], "title": "T"}, "GS") == {
        "type": "STRING",
        "title": "T",
        "nullable": True,
    }


def test_cv_71_what_stands_beside_goes_into_the_branches() -> None:
    schema = {
        "type": "object",
        "properties": {"a": TEXT, "b": TEXT},
        "anyOf": [{"required": ["a"]}, {"required": ["b"]}],
    }
    branches = inside(schema, "GS")["anyOf"]
    assert [branch["required"] for branch in branches] == [["a"], ["b"]]
    assert all(set(branch["properties"]) == {"a", "b"} for branch in branches)


def test_cv_72_numbers_and_lengths_are_said_to_claude() -> None:
    found = clean(HARD, "AN").schema["properties"]
    assert found["default"] == {"type": "string", "description": '{"minLength":1,"maxLength":5}'}
    assert clean(HARD, "AN").dropped[:2] == ("propertyNames", "default.minLength")


@pytest.mark.parametrize("column", COLUMNS)
def test_cv_73_circles_end(column: Column) -> None:
    """Forty schemas that all contain one another: bounded work, in time and in size."""
    names = [f"d{n}" for n in range(40)]
    everything = {name: {"$ref": f"#/$defs/{name}"} for name in names}
    definitions = {name: {"type": "object", "properties": everything, "required": names} for name in names}
    schema = {"$defs": definitions, "$ref": "#/$defs/d0"}
    if column in ("GS", "GJ"):
        with pytest.raises(InvalidRequest, match="too large"):
            clean(schema, column)
    else:
        assert len(dumps(clean(schema, column).schema)) < 100 * MAX_NODES


@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("pointer", ["#", "#/$defs/a", "#/properties/p"])
def test_cv_73_a_reference_that_is_all_there_is(column: Column, pointer: str) -> None:
    schema = {"$defs": {"a": {"$ref": "#/$defs/a"}}, "properties": {"p": {"$ref": pointer}}, "type": "object"}
    clean(schema, column)
    clean({"$ref": "#"}, column)


@pytest.mark.parametrize("column", COLUMNS)
def test_cv_74_properties_named_like_keywords(column: Column) -> None:
    found = clean(HARD, column).schema["properties"]
    assert list(found) == ["default", "n", "list", "pick", "type"]


def schemas() -> st.SearchStrategy[Any]:
    leaf = st.one_of(
        st.sampled_from([True, False, {}, TEXT, {"type": "null"}, {"const": 1}, {"enum": ["a", 1, None, True]}]),
        st.sampled_from([{"$ref": "#"}, {"$ref": "#/$defs/d"}, {"type": ["string", "null"]}, {"description": "x"}]),
        st.sampled_from(
            [{"type": "integer", "exclusiveMinimum": 3, "minimum": 9}, {"type": "STRING", "nullable": True}]
        ),
        st.sampled_from([{"format": "uri"}, {"minItems": 3}, {"type": "array", "minLength": 1}, {"enum": [""]}]),
    )

    def grow(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        several = st.lists(inner, min_size=1, max_size=3)
        keywords = {
            "type": st.sampled_from(["object", "array", "string", ["object", "array", "null"], ["integer", "string"]]),
            "properties": st.dictionaries(st.sampled_from(["a", "b", "default"]), inner, max_size=3),
            "required": st.just(["a"]),
            "items": inner | several,
            "anyOf": several,
            "oneOf": several,
            "allOf": several,
            "additionalProperties": inner,
            "not": inner,
            "prefixItems": several,
            "$ref": st.sampled_from(["#", "#/$defs/d"]),
            "description": st.just("d"),
            "title": st.just("t"),
            "default": st.none() | st.just(1),
            "enum": st.just(["a", None, 2]),
            "nullable": st.booleans(),
            "uniqueItems": st.booleans(),
            "x": st.just(1),
        }
        return st.fixed_dictionaries({}, optional=keywords)

    return st.recursive(leaf, grow, max_leaves=8)


roots = st.builds(
    lambda root, definition: {**(root if isinstance(root, dict) else {}), "$defs": {"d": definition}},
    schemas(),
    schemas(),
)


@pytest.mark.parametrize("column", COLUMNS)
@settings(max_examples=60, deadline=None)
@given(schema=roots, use=st.sampled_from(["tool", "output"]))
def test_cv_75_cleaning_is_deterministic_and_changes_nothing(column: Column, schema: JsonObject, use: Any) -> None:
    before = copy.deepcopy(schema)
    cleaned = clean(schema, column, use=use)
    assert schema == before
    fresh = clean(copy.deepcopy(schema), column, use=use)
    assert dumps(cleaned.schema) == dumps(fresh.schema)
    assert cleaned == fresh


@pytest.mark.parametrize("column", COLUMNS)
@settings(max_examples=120, deadline=None)
@given(schema=roots, use=st.sampled_from(["tool", "output"]))
def test_what_is_clean_stays_as_it_is(column: Column, schema: JsonObject, use: Any) -> None:
    once = clean(schema, column, use=use).schema
    again = clean(once, column, use=use).schema
    assert again == once


@settings(max_examples=150, deadline=None)
@given(schema=roots)
def test_gemini_takes_every_result(schema: JsonObject) -> None:
    google.Schema.model_validate(clean(schema, "GS").schema, extra="forbid")


def test_anthropic_leaves_our_result_alone() -> None:
    cleaned = clean(HARD, "AN").schema
    assert transform_schema(copy.deepcopy(cleaned))["properties"]["n"] == cleaned["properties"]["n"]


def test_cv_76_optional_properties_stay_optional() -> None:
    schema = {"type": "object", "properties": {"a": TEXT, "b": TEXT}, "required": ["a"]}
    for column in COLUMNS:
        cleaned = clean(schema, column).schema
        assert cleaned["required"] == ["a"]
        assert cleaned["properties"]["b"] in (TEXT, {"type": "STRING"})


# Size.


def test_too_many_nodes_are_refused() -> None:
    wide = {"type": "object", "properties": {f"p{n}": TEXT for n in range(MAX_NODES)}}
    for column in COLUMNS:
        with pytest.raises(InvalidRequest, match="too large"):
            clean(wide, column)


def test_too_deep_is_refused() -> None:
    deep: JsonObject = TEXT
    for _ in range(70):
        deep = {"type": "array", "items": deep}
    for column in COLUMNS:
        with pytest.raises(InvalidRequest, match="too large"):
            clean(deep, column)


@pytest.mark.parametrize("schema", [{"properties": []}, {"type": 7}, {"type": "thing"}, {"anyOf": {}}, {"items": 3}])
def test_keywords_of_the_wrong_type_are_named(schema: JsonObject) -> None:
    with pytest.raises(InvalidRequest, match="must"):
        clean({"type": "object", "properties": {"p": schema}}, "GS")


def test_the_cache_is_bounded_and_keeps_what_is_used() -> None:
    cache: Cache[int] = Cache()
    for number in range(3 * MAX_ENTRIES):
        cache.put(b"%d" % number, number, 1)
        assert cache.get(b"0") == 0
    assert cache.get(b"1") is None
    assert cache.get(b"%d" % (3 * MAX_ENTRIES - 1)) == 3 * MAX_ENTRIES - 1
    assert sum(cache.get(b"%d" % number) is not None for number in range(3 * MAX_ENTRIES)) <= MAX_ENTRIES


def test_the_cache_is_bounded_in_bytes() -> None:
    cache: Cache[int] = Cache()
    cache.put(b"large", 1, MAX_ENTRY_BYTES + 1)
    assert cache.get(b"large") is None
    for number in range(100):
        cache.put(b"%d" % number, number, MAX_ENTRY_BYTES)
    assert cache.get(b"0") is None
    assert cache.get(b"99") == 99


def test_order_of_keys_tells_schemas_apart() -> None:
    first = clean({"type": "object", "properties": {"a": TEXT, "b": TEXT}}, "GS").schema
    second = clean({"type": "object", "properties": {"b": TEXT, "a": TEXT}}, "GS").schema
    assert first["propertyOrdering"] == ["a", "b"]
    assert second["propertyOrdering"] == ["b", "a"]
