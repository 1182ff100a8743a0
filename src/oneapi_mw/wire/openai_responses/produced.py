"""How much text an answer holds, counted without making canonical events of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import orjson

from oneapi_mw.jsontext import dumps, loads
from oneapi_mw.types import JsonObject
from oneapi_mw.wire.framing.sse import parse_block

FOLD_BYTES = 64 * 1024
_SEPARATOR = re.compile(rb"(?:\n\n|\A)(?:event: [^\n]*+\n)?data: ")
_DELTAS = frozenset(
    {
        "response.output_text.delta",
        "response.refusal.delta",
        "response.reasoning_summary_text.delta",
        "response.reasoning_text.delta",
        "response.function_call_arguments.delta",
        "response.custom_tool_call_input.delta",
        "response.mcp_call_arguments.delta",
        "response.code_interpreter_call_code.delta",
    }
)
_TEXTS = ("text", "refusal")
_MEMBERS = ("name", "arguments", "input", "code")


def utf8_length(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def item_bytes(item: Mapping[str, Any]) -> int:
    """UTF-8 bytes of text, reasoning and calls in an item of the output."""
    total = 0
    for name in ("content", "summary"):
        parts = item.get(name)
        for part in parts if isinstance(parts, list) else ():
            if isinstance(part, dict):
                total += sum(_size(part.get(member)) for member in _TEXTS)
    return total + sum(_size(item.get(member)) for member in _MEMBERS)


def answer_bytes(body: Mapping[str, Any]) -> int:
    """`item_bytes` over the output of a buffered answer."""
    output = body.get("output")
    return sum(item_bytes(item) for item in output if isinstance(item, dict)) if isinstance(output, list) else 0


def _size(value: object) -> int:
    if isinstance(value, str):
        return utf8_length(value)
    return utf8_length(dumps(value).decode()) if isinstance(value, dict) else 0


class Tally:
    """Text bytes of a stream, and the items that are finished.

    Blocks that were relayed unread are kept by reference and only read when somebody asks, or when they have
    grown to 64 KiB: a short stream with usage costs nothing, a long one stays within bounds.
    """

    __slots__ = ("_blocks", "_deltas", "_items", "_kept", "_sizes")

    def __init__(self) -> None:
        self._blocks: list[bytes] = []
        self._kept = 0
        self._deltas: dict[object, int] = {}
        self._sizes: dict[object, int] = {}
        self._items: dict[int, JsonObject] = {}

    def keep(self, block: bytes) -> None:
        """Count a block of whole events, later."""
        self._blocks.append(block)
        self._kept += len(block)
        if self._kept > FOLD_BYTES:
            self._fold()

    def note(self, event: Mapping[str, Any]) -> None:
        """Count a parsed event. An item told whole is what counts; deltas where it never is."""
        kind, index = event.get("type"), event.get("output_index")
        index = index if type(index) is int else 0
        if kind in _DELTAS:
            delta = event.get("delta")
            self._deltas[index] = self._deltas.get(index, 0) + (utf8_length(delta) if type(delta) is str else 0)
        elif kind == "response.output_item.done" and isinstance(item := event.get("item"), dict):
            self._items[index] = item
            self._note_item(index, item)
        elif isinstance(response := event.get("response"), dict):
            output = response.get("output")
            for place, item in enumerate(output if isinstance(output, list) else ()):
                if isinstance(item, dict):
                    self._note_item(place, item)

    def _note_item(self, index: int, item: Mapping[str, Any]) -> None:
        self._sizes[index] = max(self._sizes.get(index, 0), item_bytes(item))

    def text_bytes(self) -> int:
        self._fold()
        return sum(max(self._deltas.get(key, 0), self._sizes.get(key, 0)) for key in {*self._deltas, *self._sizes})

    def finished(self) -> list[JsonObject]:
        """The items that were told whole, in order."""
        self._fold()
        return [self._items[index] for index in sorted(self._items)]

    def _fold(self) -> None:
        blocks, self._blocks = self._blocks, []
        self._kept = 0
        if not blocks:
            return
        for event in _parsed(b"".join(blocks)):
            if isinstance(event, dict):
                self.note(event)


def _parsed(block: bytes) -> list[Any]:
    try:  # one parse for all: between the data of two events there is nothing but what separates them
        return orjson.loads(b"[" + _SEPARATOR.sub(b",", block[:-2])[1:] + b"]")  # type: ignore[no-any-return]
    except orjson.JSONDecodeError:
        events = []
        for event in parse_block(block):
            try:
                events.append(loads(event.data))
            except ValueError:
                continue
        return events
