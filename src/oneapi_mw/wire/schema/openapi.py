"""Gemini's `Schema`, an OpenAPI subset, as the JSON Schema it means."""

from __future__ import annotations

from typing import Any

from oneapi_mw.types import JsonObject

_COUNTS = frozenset({"minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties"})
_SNAKE = {
    "any_of": "anyOf",
    "min_items": "minItems",
    "max_items": "maxItems",
    "min_length": "minLength",
    "max_length": "maxLength",
    "min_properties": "minProperties",
    "max_properties": "maxProperties",
    "property_ordering": "propertyOrdering",
    "additional_properties": "additionalProperties",
}


def from_openapi(schema: Any) -> Any:
    """The same in JSON Schema: types in lower case, `nullable` as a type, counts as numbers.

    `schema` is left as it is. Depth is bounded by what a body may have.
    """
    if not isinstance(schema, dict):
        return schema
    found: JsonObject = {}
    for name, value in schema.items():
        key = str(_SNAKE.get(name, name))
        match key:
            case "type" if value is not None:
                found[key] = value.lower() if isinstance(value, str) else value
            case "properties" if isinstance(value, dict):
                found[key] = {member: from_openapi(value[member]) for member in value}
            case "items" | "additionalProperties":
                found[key] = from_openapi(value)
            case "anyOf" if isinstance(value, list):
                found[key] = [from_openapi(member) for member in value]
            case "nullable" | "propertyOrdering":
                pass
            case "format" if value == "enum":
                pass
            case _ if key in _COUNTS and isinstance(value, str) and value.isdecimal():
                found[key] = int(value)  # int64 is text in protobuf's JSON
            case _:
                found[key] = value
    return _nullable(found) if schema.get("nullable") is True else found


def _nullable(schema: JsonObject) -> JsonObject:
    kind = schema.get("type")
    if isinstance(kind, str) and kind != "null":
        schema["type"] = [kind, "null"]
        if isinstance(schema.get("enum"), list) and None not in schema["enum"]:
            schema["enum"] = [*schema["enum"], None]
    elif isinstance(schema.get("anyOf"), list):
        schema["anyOf"] = [*schema["anyOf"], {"type": "null"}]
    return schema
