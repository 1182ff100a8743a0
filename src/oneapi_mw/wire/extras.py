"""Members of JSON objects that a decoder has no place for: found, carried, and written back where they were."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from oneapi_mw.types import JsonObject

Mapped: TypeAlias = "Mapping[str, Mapped | None]"
"""Members a decoder maps: whole ones with `None`, objects it maps only in part with what it maps of them."""


def mapped(*names: str, **inner: Mapped) -> Mapped:
    return {**dict.fromkeys(names), **inner}


def unmapped(value: Mapping[str, Any], known: Mapped) -> JsonObject:
    """What is in `value` beside `known`, nested as it was."""
    rest: JsonObject = {}
    for key, item in value.items():
        if key not in known:
            rest[key] = item
        elif (inner := known[key]) is not None and isinstance(item, dict) and (below := unmapped(item, inner)):
            rest[key] = below
    return rest


def merged(body: JsonObject, rest: Mapping[str, Any]) -> JsonObject:
    """`body` with the members of `rest` it lacks, at every level."""
    if not rest:
        return body
    both = dict(body)
    for key, item in rest.items():
        if key not in both:
            both[key] = item
        elif isinstance(item, dict) and isinstance(both[key], dict):
            both[key] = merged(both[key], item)
    return both
