"""Values and the types they are of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from oneapi_mw.jsontext import dumps
from oneapi_mw.wire.schema.columns import ARRAY_KEYS, FORMATS, KEYS_OF_TYPE, NUMBER_KEYS, OBJECT_KEYS, STRING_KEYS


def inferred(node: Mapping[str, Any]) -> list[str]:
    """The types a schema without `type` is about, by its values, else by its keywords."""
    alternatives = "anyOf" in node or "oneOf" in node
    if alternatives and not any(key in node for key in ("properties", "items", "prefixItems")):
        return []
    values = node.get("enum") if isinstance(node.get("enum"), list) else [node["const"]] if "const" in node else None
    if values:
        return list(dict.fromkeys(kind_of(value) for value in values))
    for kind, keys in (
        ("object", OBJECT_KEYS),
        ("array", ARRAY_KEYS),
        ("string", STRING_KEYS),
        ("number", NUMBER_KEYS),
    ):
        if any(key in node for key in keys):
            return [kind]
    form = node.get("format")
    return ["string"] if form in FORMATS["AN"] or form == "enum" else []


def kind_of(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
        case _:
            return "object"


def is_kind(value: Any, kind: str) -> bool:
    found = kind_of(value)
    return found == kind or (kind == "number" and found == "integer")


def is_about(key: str, kind: str) -> bool:
    """Whether a keyword says something about values of a type."""
    if key in ("type", "anyOf", "nullable"):
        return False
    if key == "format":
        return kind in ("string", "number", "integer")
    owners = [name for name, keys in KEYS_OF_TYPE.items() if key in keys]
    return not owners or kind in owners


def is_null(branch: Any) -> bool:
    if not isinstance(branch, dict):
        return False
    kind = branch.get("type")
    return isinstance(kind, str) and kind.lower() == "null"


def as_text(value: Any) -> str:
    return value if isinstance(value, str) else dumps(value).decode()
