"""A value inside an object, for targets that take only objects; and out of it again.

Nothing is repaired on the way back: what is no wrapper is passed on as it came.
"""

from __future__ import annotations

import re
from typing import Any

from oneapi_mw.types import JsonObject
from oneapi_mw.wire.schema.columns import ARRAY_KEYS, NUMBER_KEYS, STRING_KEYS
from oneapi_mw.wire.schema.references import is_local

MEMBER = "value"
_BELOW = f"#/properties/{MEMBER}"
_DEFINITIONS = ("$defs", "definitions")
_OPENING = re.compile(r'\s*\{\s*"value"\s*:\s*')
_WHITE = " \t\r\n"
_FENCE = re.compile(r"\s*```[A-Za-z0-9]*[ \t]*\n")
MAX_HELD_CHARS = 256
"""White space and all: what has not become a wrapper or a fence by then is none."""


def wrap(schema: Any) -> JsonObject:
    """An object whose only member is what `schema` describes. References stay right."""
    inner = _moved(schema)
    wrapper: JsonObject = {
        "type": "object",
        "properties": {MEMBER: inner},
        "required": [MEMBER],
        "additionalProperties": False,
    }
    if isinstance(inner, dict):
        for name in _DEFINITIONS:
            if name in inner:
                wrapper[name] = inner[name]
        wrapper["properties"] = {MEMBER: {key: item for key, item in inner.items() if key not in _DEFINITIONS}}
    return wrapper


def _moved(value: Any) -> Any:
    """`value` with every reference to a place outside the definitions one object deeper."""
    if isinstance(value, list):
        return [_moved(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    moved = {key: _moved(entry) for key, entry in value.items()}
    pointer = value.get("$ref")
    if isinstance(pointer, str) and is_local(pointer) and not pointer.startswith(("#/$defs/", "#/definitions/")):
        moved["$ref"] = _BELOW + pointer[1:]
    return moved


def object_root(schema: JsonObject | None) -> tuple[JsonObject, bool]:
    """The parameters of a tool with an object at the root and nothing else changed, and whether that took wrapping."""
    if not schema:
        return {"type": "object", "properties": {}}, False
    kind = schema.get("type")
    if kind == "object":
        return schema, False
    if is_untyped_object(schema):
        return {"type": "object", **schema}, False
    if isinstance(kind, list) and "object" in kind:
        return {**schema, "type": "object"}, False
    return wrap(schema), True


def is_untyped_object(schema: JsonObject) -> bool:
    """Whether a schema names no type and says nothing that is plainly not about an object."""
    if schema.get("type") is not None:
        return False
    if any(key in schema for key in ("properties", "required", "additionalProperties", "patternProperties")):
        return True
    return not {"enum", "const", *ARRAY_KEYS, *STRING_KEYS, *NUMBER_KEYS} & schema.keys()


def unwrap_text(text: str) -> str:
    """The value in a wrapper's text: an answer, or the arguments of a call."""
    machine = Unwrapper()
    return machine.feed(text) + machine.close()


class Unwrapper:
    """Cuts `{"value":` and the last `}` off a text that streams in.

    OPENING   holds what may still become the wrapper
    INSIDE    passes text on, but for a closing brace that may be the last and white space around it
    PLAIN     it was no wrapper: everything passes
    """

    __slots__ = ("_held", "_state")

    def __init__(self) -> None:
        self._state = "opening"
        self._held = ""

    def feed(self, text: str) -> str:
        if self._state == "plain":
            return text
        text, self._held = self._held + text, ""
        if self._state == "opening":
            opening = _OPENING.match(text)
            if opening is None or opening.end() == len(text) or opening.end() > MAX_HELD_CHARS:
                if _may_become_wrapper(text):
                    self._held = text
                    return ""
                self._state = "plain"
                return text
            self._state, text = "inside", text[opening.end() :]
        end = len(text.rstrip(_WHITE))
        if text[:end].endswith("}"):
            end = len(text[: end - 1].rstrip(_WHITE))
        if len(text) - end > MAX_HELD_CHARS:
            return text
        self._held = text[end:]
        return text[:end]

    def close(self) -> str:
        """What is left: nothing, where the wrapper was whole."""
        held, self._held = self._held, ""
        if self._state == "inside":
            return held.replace("}", "", 1).strip(_WHITE)
        return held


_SKELETON = '{"value":'


def _may_become_wrapper(text: str) -> bool:
    if len(text) > MAX_HELD_CHARS:
        return False
    return _SKELETON.startswith("".join(text.split()))


class Unfencer:
    """Takes away one Markdown fence around the whole of a text that streams in."""

    __slots__ = ("_held", "_state")

    def __init__(self) -> None:
        self._state = "opening"
        self._held = ""

    def feed(self, text: str) -> str:
        if self._state == "plain":
            return text
        text, self._held = self._held + text, ""
        if self._state == "opening":
            opening = _FENCE.match(text)
            if opening is None or opening.end() > MAX_HELD_CHARS:
                start = text.lstrip(_WHITE)
                if len(text) <= MAX_HELD_CHARS and "```".startswith(start[:3]) and "\n" not in start:
                    self._held = text
                    return ""
                self._state = "plain"
                return text
            self._state, text = "inside", text[opening.end() :]
        # the closing fence and white space around it may be the end
        end = len(text.rstrip(_WHITE))
        while end and text[end - 1] == "`" and len(text) - end < MAX_HELD_CHARS:
            end -= 1
        end = len(text[:end].rstrip(_WHITE))
        self._held = text[end:]
        return text[:end]

    def close(self) -> str:
        held, self._held = self._held, ""
        return "" if self._state == "inside" and held.strip(_WHITE) in ("```", "") else held
