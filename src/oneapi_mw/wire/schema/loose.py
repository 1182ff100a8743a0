"""Schemas for targets that take nearly everything: only what is wrong in JSON Schema itself is put right."""

from __future__ import annotations

from typing import Any

from oneapi_mw.errors import InvalidRequest
from oneapi_mw.types import JsonObject
from oneapi_mw.wire.schema.columns import TYPES
from oneapi_mw.wire.schema.references import LISTS, MAPS, SINGLE, is_local

_MAPS = frozenset({*MAPS, "$defs", "definitions"})
_REMOVED = frozenset({"$schema", "$id", "$comment", "strict", "propertyOrdering"})


def loosened(schema: JsonObject, *, where: str, max_nodes: int, max_depth: int) -> tuple[JsonObject, tuple[str, ...]]:
    """`schema` as any reader of JSON Schema takes it, and nothing that was dropped.

    Raises: `InvalidRequest` for references to other documents and for too large a schema.
    """
    walker = _Walker(where, max_nodes, max_depth)
    return walker.walk(schema, 0), ()


class _Walker:
    def __init__(self, where: str, max_nodes: int, max_depth: int) -> None:
        self._where = where
        self._left = max_nodes
        self._max_depth = max_depth

    def walk(self, node: Any, depth: int) -> Any:
        self._left -= 1
        if self._left < 0 or depth > self._max_depth:
            raise self._wrong("schema is too large")
        if not isinstance(node, dict):
            return node
        found: JsonObject = {}
        for key, value in node.items():
            if key in _REMOVED:
                continue
            if key in _MAPS and isinstance(value, dict):
                value = {name: self.walk(member, depth + 1) for name, member in value.items()}
            elif key in LISTS and isinstance(value, list):
                value = [self.walk(member, depth + 1) for member in value]
            elif key in SINGLE:
                entries = isinstance(value, list)
                value = [self.walk(m, depth + 1) for m in value] if entries else self.walk(value, depth + 1)
            elif key == "$ref" and isinstance(value, str) and not is_local(value) and not value.startswith("#"):
                raise self._wrong(f"refers to {value[:100]!r}, which is outside of it: write it out")
            elif key == "type":
                value = _lower(value)
            found[key] = value
        return _without_nullable(found)

    def _wrong(self, what: str) -> InvalidRequest:
        return InvalidRequest(f"{self._where}: {what}", param=self._where, code="unsupported_parameter")


def _lower(kind: Any) -> Any:
    if isinstance(kind, list):
        return [_lower(entry) for entry in kind]
    return kind.lower() if isinstance(kind, str) and kind.lower() in TYPES else kind


def _without_nullable(node: JsonObject) -> JsonObject:
    """OpenAPI's `nullable` as a type."""
    if type(node.get("nullable")) is not bool:
        return node
    nullable = node.pop("nullable")
    kinds = node.get("type")
    if not nullable:
        return node
    if kinds is not None:
        listed = kinds if isinstance(kinds, list) else [kinds]
        if "null" not in listed:
            node["type"] = [*listed, "null"]
        if isinstance(node.get("enum"), list) and None not in node["enum"]:
            node["enum"] = [*node["enum"], None]
    elif isinstance(node.get("anyOf"), list):
        if {"type": "null"} not in node["anyOf"]:
            node["anyOf"] = [*node["anyOf"], {"type": "null"}]
    elif "$ref" in node:
        return {"anyOf": [node, {"type": "null"}]}
    return node
