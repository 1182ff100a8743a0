"""Which keyword of JSON Schema each kind of target takes. Facts: conversion-reasoning.md 6.2.

`OS` OpenAI strict, `ON` OpenAI non-strict and most hosts of its wires, `AN` Anthropic's format and strict tools,
`GS` Gemini's `responseSchema` and `parameters`, `GJ` Gemini's `responseJsonSchema` and `parametersJsonSchema`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

Column: TypeAlias = Literal["OS", "ON", "AN", "GS", "GJ"]
Use: TypeAlias = Literal["tool", "output"]
"""Parameters of a tool, which must be an object; or the form of an answer."""
Action: TypeAlias = Literal["keep", "remove", "tell", "loose", "vertex"]
"""`tell`: removed and said in the description. `loose`: told, and no grammar can hold the rest. `vertex`: kept
there, told elsewhere."""

_LETTERS: Mapping[str, Action] = {"K": "keep", "X": "remove", "D": "tell", "L": "loose", "V": "vertex"}
_ORDER: tuple[Column, ...] = ("OS", "AN", "GS", "GJ")
_TABLE = {
    "title": "KKKK",
    "description": "KKKK",
    "default": "XDKD",
    "examples": "XDXD",
    "pattern": "KDVD",
    "minLength": "DDVD",
    "maxLength": "DDVD",
    "minimum": "KDKK",
    "maximum": "KDKK",
    "exclusiveMinimum": "KDDD",
    "exclusiveMaximum": "KDDD",
    "multipleOf": "KDDD",
    "minItems": "KDKK",
    "maxItems": "KDKK",
    "uniqueItems": "DDDD",
    "contains": "DDDD",
    "minContains": "DDDD",
    "maxContains": "DDDD",
    "prefixItems": "DDDK",
    "additionalItems": "DDDD",
    "patternProperties": "LDDD",
    "propertyNames": "LDDD",
    "minProperties": "LDDD",
    "maxProperties": "LDDD",
    "not": "LDDD",
    "if": "LDDD",
    "then": "LDDD",
    "else": "LDDD",
    "dependencies": "LDDD",
    "dependentRequired": "LDDD",
    "dependentSchemas": "LDDD",
    "unevaluatedItems": "LDDD",
    "unevaluatedProperties": "LDDD",
    "propertyOrdering": "XXKK",
    # the cleaner has put these into the column's form before it comes here
    "type": "KKKK",
    "enum": "KKKK",
    "const": "KKDD",
    "format": "KKKK",
    "nullable": "XXKX",
    "properties": "KKKK",
    "required": "KKKK",
    "items": "KKKK",
    "additionalProperties": "KDDK",
    "anyOf": "KKKK",
    "oneOf": "LDDK",
    "allOf": "LDDD",
}
_RULES: Mapping[Column, Mapping[str, Action]] = {
    column: {keyword: _LETTERS[letters[place]] for keyword, letters in _TABLE.items()}
    for place, column in enumerate(_ORDER)
}

NEVER = frozenset({"$schema", "$id", "$comment", "strict", "$defs", "definitions"})
"""Left out of every node; definitions that are still referred to are written at the root."""
FORMATS: Mapping[Column, frozenset[str]] = {
    "OS": frozenset({"date-time", "date", "time", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"}),
    "AN": frozenset({"date-time", "date", "time", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri"}),
    "GJ": frozenset({"date-time", "date", "time"}),
    "GS": frozenset({"date-time", "enum", "int32", "int64", "float", "double"}),
}

OBJECT_KEYS = frozenset(
    {
        "properties",
        "required",
        "additionalProperties",
        "patternProperties",
        "propertyNames",
        "minProperties",
        "maxProperties",
        "propertyOrdering",
        "dependentRequired",
        "dependentSchemas",
        "unevaluatedProperties",
    }
)
ARRAY_KEYS = frozenset(
    {
        "items",
        "prefixItems",
        "minItems",
        "maxItems",
        "uniqueItems",
        "contains",
        "minContains",
        "maxContains",
        "additionalItems",
        "unevaluatedItems",
    }
)
STRING_KEYS = frozenset({"minLength", "maxLength", "pattern", "contentEncoding", "contentMediaType"})
NUMBER_KEYS = frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"})
NUMBER_FORMATS = frozenset({"int32", "int64", "float", "double"})
KEYS_OF_TYPE: Mapping[str, frozenset[str]] = {
    "object": OBJECT_KEYS,
    "array": ARRAY_KEYS,
    "string": STRING_KEYS,
    "number": NUMBER_KEYS,
    "integer": NUMBER_KEYS,
}
TYPES = frozenset({"object", "array", "string", "number", "integer", "boolean", "null"})


def action(column: Column, keyword: str, *, vertex: bool) -> Action:
    """What becomes of a keyword. Unknown ones are kept where the dialect is open."""
    found = _RULES[column].get(keyword)
    if found is None:
        return "remove" if column == "GS" else "keep"
    if found == "vertex":
        return "keep" if vertex else "tell"
    return found
