"""`$ref`: where one points, and which of them turn in circles."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote

from oneapi_mw.types import JsonObject

MAPS = ("properties", "patternProperties", "dependentSchemas")
LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
SINGLE = frozenset(
    {
        "items",
        "additionalProperties",
        "additionalItems",
        "not",
        "if",
        "then",
        "else",
        "contains",
        "propertyNames",
        "unevaluatedItems",
        "unevaluatedProperties",
    }
)
"""Keywords whose values hold schemas, besides definitions."""
_MISSING = object()


def resolve(root: Any, pointer: str) -> Any:
    """What `pointer` (`#`, `#/$defs/a`) names in `root`. Raises `KeyError` when there is no such place."""
    value = root
    for step in pointer[1:].split("/")[1:]:
        step = unquote(step).replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict):
            value = value.get(step, _MISSING)
        elif isinstance(value, list) and step.isdecimal() and len(step) < 6 and int(step) < len(value):
            value = value[int(step)]
        else:
            value = _MISSING
        if value is _MISSING:
            raise KeyError(pointer)
    return value


def is_local(pointer: str) -> bool:
    """Whether it points into the same document, by path."""
    return pointer == "#" or pointer.startswith("#/")


def subschemas(node: Mapping[str, Any]) -> Iterator[tuple[Any, bool]]:
    """The schemas directly below `node`, and whether an instance can do without what they describe."""
    required = node.get("required")
    needed = required if isinstance(required, list) else ()
    for keyword in MAPS:
        members = node.get(keyword)
        if isinstance(members, dict):
            for name, member in members.items():
                yield member, keyword != "properties" or name not in needed
    for keyword in LISTS:
        members = node.get(keyword)
        if isinstance(members, list):
            for member in members:
                yield member, False
    for keyword in SINGLE:
        member = node.get(keyword)
        for entry in member if isinstance(member, list) else (member,):
            yield entry, False


def unavoidable_circles(root: JsonObject) -> frozenset[str]:
    """Pointers whose schema contains itself with no optional property in between."""
    edges: dict[str, set[str]] = {}
    waiting = ["#"]
    while waiting:
        pointer = waiting.pop()
        if pointer in edges:
            continue
        found: set[str] = set()
        try:
            _collect(resolve(root, pointer), found, waiting)
        except KeyError:
            pass  # whoever cleans the schema reports it
        edges[pointer] = found
    return frozenset(pointer for pointer in edges if reaches(edges, pointer))


def _collect(schema: Any, needed: set[str], all_pointers: list[str]) -> None:
    """The pointers below `schema`; into `needed` those that an instance cannot avoid."""
    stack = [(schema, False)]
    while stack:
        node, optional = stack.pop()
        if not isinstance(node, dict):
            continue
        pointer = node.get("$ref")
        if isinstance(pointer, str) and is_local(pointer):
            all_pointers.append(pointer)
            if not optional:
                needed.add(pointer)
        stack += ((member, optional or avoidable) for member, avoidable in subschemas(node))


def reaches(edges: Mapping[str, set[str]], start: str) -> bool:
    """Whether `start` leads back to itself."""
    seen: set[str] = set()
    waiting = list(edges.get(start, ()))
    while waiting:
        pointer = waiting.pop()
        if pointer == start:
            return True
        if pointer not in seen:
            seen.add(pointer)
            waiting += edges.get(pointer, ())
    return False
