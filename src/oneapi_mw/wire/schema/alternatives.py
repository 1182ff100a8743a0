"""Alternatives where a target takes them in one form only: each whole, with what else its node says."""

from __future__ import annotations

from typing import Any

from oneapi_mw.types import JsonObject
from oneapi_mw.wire.schema.columns import ARRAY_KEYS, OBJECT_KEYS, Column
from oneapi_mw.wire.schema.merge import merge
from oneapi_mw.wire.schema.notes import Notes
from oneapi_mw.wire.schema.values import is_about, is_kind, is_null


def by_type(node: JsonObject, column: Column) -> JsonObject:
    """A node of several types as one with an alternative for each, every keyword with the type it is about."""
    kinds: list[str] = node["type"]
    shared: JsonObject = {key: node[key] for key in ("title", "description", "default") if key in node}
    if column == "GS":
        shared.pop("default", None)
    branches = []
    for kind in kinds:
        own: JsonObject = {key: value for key, value in node.items() if key not in shared and is_about(key, kind)}
        if "enum" in node:
            values = [value for value in node["enum"] if is_kind(value, kind)]
            own.pop("enum", None)
            if values and kind != "null":
                own["enum"] = values
            elif not values:
                continue
        if column == "GS" and node.get("nullable") is True:
            own["nullable"] = True
        branches.append({**own, "type": kind})
    return {**shared, "anyOf": branches}


def spread(node: JsonObject, notes: Notes) -> tuple[list[Any], bool]:
    """The branches of `anyOf`, each with everything that stands beside it; and whether null is among them.

    Raises: `InvalidRequest` for a branch that is no schema.
    """
    branches = notes.a_list(node["anyOf"], "anyOf")
    rest = {key: value for key, value in node.items() if key not in ("anyOf", "oneOf", "default")}
    if "oneOf" in node:
        notes.tell("oneOf", node["oneOf"])
    if _is_guessed(node):
        rest.pop("type", None)
    if any(is_null(branch) for branch in branches):
        rest["nullable"] = True
    rest = notes.described(rest)
    said = [branch for branch in branches if branch is not False and not is_null(branch)]
    found = [_joined(branch, rest, place, notes) for place, branch in enumerate(said)] if rest else said
    return found, "nullable" in rest


def _is_guessed(node: JsonObject) -> bool:
    """Whether the type beside `anyOf` came from the keywords there and says less than the branches."""
    return not any(key in node for key in OBJECT_KEYS | ARRAY_KEYS) and isinstance(node.get("type"), list)


def _joined(branch: Any, rest: JsonObject, place: int, notes: Notes) -> JsonObject:
    branch = {} if branch is True else branch
    if not isinstance(branch, dict):
        raise notes.wrong("must be an object", f".anyOf[{place}]")
    if isinstance(branch.get("description"), str) and "description" in rest:
        branch = {**branch, "description": f"{rest['description']}\n\n{branch['description']}"}
    return {"allOf": [branch, rest]} if "$ref" in branch or "allOf" in branch else merge(branch, rest)[0]


def nullable(schema: JsonObject) -> JsonObject:
    """A Gemini schema that also takes null."""
    if "anyOf" in schema:
        return {"anyOf": [nullable(branch) for branch in schema["anyOf"]]}
    return {**schema, "nullable": True}
