"""The text that an answer holds, found without making canonical events of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import orjson

from oneapi_mw.jsontext import dumps, loads
from oneapi_mw.types import JsonObject
from oneapi_mw.wire.framing.sse import parse_block
from oneapi_mw.wire.said import Said
from oneapi_mw.wire.zero import holds_nothing

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


def item_texts(item: Mapping[str, Any]) -> list[str]:
    """Text, reasoning and calls in an item of the output."""
    texts = []
    for name in ("content", "summary"):
        parts = item.get(name)
        for part in parts if isinstance(parts, list) else ():
            if isinstance(part, dict):
                texts += [_text(part.get(member)) for member in _TEXTS]
    return texts + [_text(item.get(member)) for member in _MEMBERS]


def answer_said(body: Mapping[str, Any]) -> Said:
    """`item_texts` over the output of a buffered answer."""
    output = body.get("output")
    items = [item for item in output if isinstance(item, dict)] if isinstance(output, list) else []
    return Said(text for item in items for text in item_texts(item))


def delivers_nothing(body: Mapping[str, Any]) -> bool:
    """Whether a buffered answer is empty: no item holds anything."""
    output = body.get("output")
    return not any(_delivers(item) for item in output if isinstance(item, dict)) if isinstance(output, list) else True


def _delivers(item: Mapping[str, Any]) -> bool:
    """Whether an item holds anything. A call does by itself."""
    return item.get("type") not in ("message", "reasoning") or not holds_nothing(item)


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    return dumps(value).decode() if isinstance(value, dict) else ""


class Tally:
    """The text of a stream, and the items that are finished.

    Blocks that were relayed unread are kept by reference and only read when somebody asks, or when they have
    grown to 64 KiB: a short stream with usage costs nothing, a long one stays within bounds.
    """

    __slots__ = ("_blocks", "_deltas", "_items", "_kept", "_more", "_told")

    def __init__(self) -> None:
        self._blocks: list[bytes] = []
        self._kept = 0
        self._deltas: dict[int, Said] = {}
        self._told: dict[int, Said] = {}
        self._items: dict[int, JsonObject] = {}
        self._more = False  # something came, be it no text

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
            self._deltas.setdefault(index, Said()).add([delta] if type(delta) is str else [])
        elif kind == "response.output_item.done" and isinstance(item := event.get("item"), dict):
            self._items[index] = item
            self._note_item(index, item)
        elif isinstance(response := event.get("response"), dict):
            output = response.get("output")
            for place, item in enumerate(output if isinstance(output, list) else ()):
                if isinstance(item, dict):
                    self._note_item(place, item)

        elif kind == "response.output_item.added" and isinstance(item := event.get("item"), dict):
            self._more = self._more or _delivers(item)

    def _note_item(self, index: int, item: Mapping[str, Any]) -> None:
        self._more = self._more or _delivers(item)
        told, before = Said(item_texts(item)), self._told.get(index)
        if before is None or told.text_bytes > before.text_bytes:
            self._told[index] = told

    def delivered(self) -> bool:
        """Whether anything was: text, a call, media."""
        return bool(self.text_bytes()) or self._more

    def text_bytes(self) -> int:
        return sum(said.text_bytes for said in self._said())

    def text(self) -> str:
        return "".join(said.text() for said in self._said())

    def _said(self) -> list[Said]:
        """Of each item the longer telling, in the order of the items."""
        self._fold()
        known = [
            [said for said in (self._told.get(key), self._deltas.get(key)) if said is not None]
            for key in sorted({*self._deltas, *self._told})
        ]
        return [max(tellings, key=lambda said: said.text_bytes) for tellings in known]

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
        found: list[Any] = orjson.loads(b"[" + _SEPARATOR.sub(b",", block[:-2])[1:] + b"]")
        return found
    except orjson.JSONDecodeError:
        events = []
        for event in parse_block(block):
            try:
                events.append(loads(event.data))
            except ValueError:
                continue
        return events
