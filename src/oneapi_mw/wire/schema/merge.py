"""Two schemas an instance must match both of, as one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from oneapi_mw.types import JsonObject

_LARGER = frozenset({"minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties", "minContains"})
_SMALLER = frozenset({"maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties", "maxContains"})
_SAID = frozenset({"title", "description", "default", "examples", "$comment", "deprecated", "readOnly", "writeOnly"})
"""Of these the first counts; a difference is no contradiction."""


def merge(first: Mapping[str, Any], second: Mapping[str, Any]) -> tuple[JsonObject, bool]:
    """Both as one schema, and whether nothing was lost. Of keywords that cannot be joined the first is kept."""
    both = dict(first)
    whole = True
    for key, value in second.items():
        if key not in both or both[key] == value:
            both[key] = value
            continue
        joined = _join(key, both[key], value)
        if joined is not None:
            both[key] = joined
        elif key not in _SAID:
            whole = False
    return both, whole


def _join(key: str, first: Any, second: Any) -> Any:
    """`None` when the two cannot be joined."""
    if key in ("properties", "patternProperties") and isinstance(first, dict) and isinstance(second, dict):
        return {**first, **{name: _both(first[name], sub) if name in first else sub for name, sub in second.items()}}
    if key == "items" and isinstance(first, dict) and isinstance(second, dict):
        return _both(first, second)
    if key in ("required", "allOf") and isinstance(first, list) and isinstance(second, list):
        return first + [entry for entry in second if entry not in first]
    if key == "enum" and isinstance(first, list) and isinstance(second, list):
        return [entry for entry in first if entry in second] or None
    if key == "type":
        return _types(first, second)
    if key == "additionalProperties" and False in (first, second):
        return False
    if key in _LARGER | _SMALLER and type(first) in (int, float) and type(second) in (int, float):
        return max(first, second) if key in _LARGER else min(first, second)
    return None


def _both(first: Any, second: Any) -> Any:
    return first if first == second else {"allOf": [first, second]}


def _types(first: Any, second: Any) -> Any:
    left, right = (value if isinstance(value, list) else [value] for value in (first, second))
    common = [name for name in left if name in right or (name == "integer" and "number" in right)]
    common += [name for name in right if name == "integer" and "number" in left and name not in common]
    return (common[0] if len(common) == 1 else common) or None
