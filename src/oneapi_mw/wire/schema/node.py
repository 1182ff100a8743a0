"""One node of a schema in the form of a column: its alternatives, its types, its values. What is below it stays."""

from __future__ import annotations

from typing import Any

from oneapi_mw.types import JsonObject
from oneapi_mw.wire.schema.columns import FORMATS, NUMBER_FORMATS, TYPES, Column
from oneapi_mw.wire.schema.notes import Notes
from oneapi_mw.wire.schema.values import as_text, inferred


def formed(node: JsonObject, column: Column, notes: Notes) -> JsonObject:
    """Raises `InvalidRequest` for a type that is none, and for an `enum` that is no list."""
    return _valued(_typed(_named(node, column), column, notes), column, notes)


def _named(node: JsonObject, column: Column) -> JsonObject:
    """`oneOf` as `anyOf`, `items` of a tuple as `prefixItems`."""
    if "oneOf" in node and "anyOf" not in node and column != "GJ":
        node = {"anyOf" if key == "oneOf" else key: value for key, value in node.items()}
    if isinstance(node.get("items"), list):
        entries = node["items"]
        node = {key: value for key, value in node.items() if key != "items"} | {"prefixItems": entries}
    if isinstance(node.get("prefixItems"), list) and column == "OS" and node["prefixItems"]:
        members = node["prefixItems"]
        node = {**node, "items": members[0] if len(members) == 1 else {"anyOf": members}}
    return node


# Types.


def _typed(node: JsonObject, column: Column, notes: Notes) -> JsonObject:
    """`type` in lower case, as a list only where it names several; `nullable` in the column's form."""
    node = dict(node)
    kinds = _kinds(node.get("type"), notes) or inferred(node)
    nullable = node.pop("nullable", None) is True
    if not kinds and "anyOf" not in node and "oneOf" not in node:
        match column:
            case "GS":
                kinds = ["object"]
            case "AN":
                kinds = ["string"]
                notes.tell("type", "any")
            case "OS":
                notes.loosen()
    if "null" in kinds and column == "GS" and len(kinds) > 1:
        kinds = [kind for kind in kinds if kind != "null"]
        nullable = True
    if nullable:
        kinds = _nullable(node, kinds, column)
    if kinds:
        value = kinds[0] if len(kinds) == 1 else kinds
        node = {**node, "type": value} if "type" in node else {"type": value, **node}
    return node


def _kinds(declared: Any, notes: Notes) -> list[str]:
    names = declared if isinstance(declared, list) else [] if declared is None else [declared]
    kinds = [name.lower() for name in names if isinstance(name, str)]
    if len(kinds) != len(names) or not TYPES.issuperset(kinds):
        raise notes.wrong("must name types of JSON Schema", ".type")
    return list(dict.fromkeys(kinds))


def _nullable(node: JsonObject, kinds: list[str], column: Column) -> list[str]:
    """Lets `node` be null as well; returns its types."""
    if column == "GS":
        node["nullable"] = True
    elif kinds and "null" not in kinds:
        kinds = [*kinds, "null"]
        if isinstance(node.get("enum"), list) and None not in node["enum"]:
            node["enum"] = [*node["enum"], None]
    elif not kinds and isinstance(node.get("anyOf"), list) and {"type": "null"} not in node["anyOf"]:
        node["anyOf"] = [*node["anyOf"], {"type": "null"}]
    return kinds


# Values.


def _valued(node: JsonObject, column: Column, notes: Notes) -> JsonObject:
    """`enum`, `const`, `format` and exclusive bounds in the column's form."""
    node = dict(node)
    if column in ("GS", "GJ"):
        if "const" in node:
            node.setdefault("enum", [node.pop("const")])
            node.pop("const", None)
        if "enum" in node:
            _google_enum(node, column, notes)
    if column == "GS":
        _inclusive(node)
    form = node.get("format")
    if "format" in node and not _takes_format(form, node.get("type"), column):
        del node["format"]
        if form != "enum":
            notes.tell("format", form)
    return node


def _takes_format(form: Any, kinds: Any, column: Column) -> bool:
    if not isinstance(form, str) or form not in FORMATS[column]:
        return False
    if column != "GS":
        return True
    kinds = kinds if isinstance(kinds, list) else [kinds]
    if form in NUMBER_FORMATS:
        return "integer" in kinds or "number" in kinds
    return "string" in kinds


def _google_enum(node: JsonObject, column: Column, notes: Notes) -> None:
    """Gemini's dialect has enums of strings alone, its JSON Schema those of strings and numbers."""
    values = notes.a_list(node["enum"], "enum")
    said = [value for value in values if value is not None]
    kinds = node.get("type")
    listed = kinds if isinstance(kinds, list) else [kinds] if kinds else []
    nullable = len(said) < len(values)
    if column == "GJ":
        fits = all(isinstance(value, str) or type(value) in (int, float) for value in said)
    else:
        said = [value for value in said if value != ""]
        scalars = all(isinstance(value, (str, int, float)) for value in said)
        fits = scalars and [kind for kind in listed if kind != "null"] in (["string"], ["integer", "string"])
        fits = fits or (scalars and "string" in listed)
    if not fits or not said:
        if said or column == "GS":
            notes.tell("enum", node["enum"])
        del node["enum"]
        if not said and nullable and not listed:
            node["type"] = "null"
        return
    if column == "GS":
        node["enum"] = list(dict.fromkeys(as_text(value) for value in said))
        node["type"], node["format"] = "string", "enum"
        if nullable:
            node["nullable"] = True
        return
    node["enum"] = said
    if nullable and "null" not in listed:
        node["type"] = [*listed, "null"] if listed else node.get("type")


def _inclusive(node: JsonObject) -> None:
    """Exclusive bounds of integers as inclusive ones."""
    for exclusive, inclusive, step in (("exclusiveMinimum", "minimum", 1), ("exclusiveMaximum", "maximum", -1)):
        bound = node.get(exclusive)
        if type(bound) is not int or node.get("type") != "integer":
            continue
        del node[exclusive]
        known = node.get(inclusive)
        bound += step
        if isinstance(known, (int, float)):
            bound = max(known, bound) if step > 0 else min(known, bound)
        node[inclusive] = bound
