"""How much text an answer holds, counted without making events of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from oneapi_mw.jsontext import dumps, loads

FOLD_BYTES = 64 * 1024


def utf8_length(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def content_bytes(content: object) -> int:
    """UTF-8 bytes of text, reasoning and tool arguments in the blocks of a whole answer."""
    return sum(_block_bytes(block) for block in content if isinstance(block, dict)) if isinstance(content, list) else 0


def _block_bytes(block: Mapping[str, Any]) -> int:
    total = sum(utf8_length(value) for name in ("text", "thinking") if isinstance(value := block.get(name), str))
    if isinstance(block.get("name"), str):  # a call, by the client or the vendor
        total += utf8_length(block["name"])
        if block.get("input"):
            total += len(dumps(block["input"]))
    return total


def _event_bytes(event: Mapping[str, Any]) -> int:
    delta = event.get("delta")
    if isinstance(delta, dict):
        for name in ("text", "thinking", "partial_json"):
            value = delta.get(name)
            if isinstance(value, str):
                return utf8_length(value)
        return 0
    block = event.get("content_block")
    if isinstance(block, dict):
        return _block_bytes(block)
    message = event.get("message") if event.get("type") == "message_start" else event
    return content_bytes(message.get("content")) if isinstance(message, dict) else 0


class Tally:
    """Text bytes of a stream.

    Blocks that were relayed unread are kept by reference and only read when somebody asks, or when they have
    grown to 64 KiB: a short stream with usage costs nothing, a long one stays within bounds.
    """

    __slots__ = ("_blocks", "_kept", "_total")

    def __init__(self) -> None:
        self._blocks: list[bytes] = []
        self._kept = 0
        self._total = 0

    def keep(self, block: bytes) -> None:
        """Count a block of whole events, later."""
        self._blocks.append(block)
        self._kept += len(block)
        if self._kept > FOLD_BYTES:
            self._fold()

    def note(self, event: Mapping[str, Any]) -> None:
        """Count a parsed event."""
        self._total += _event_bytes(event)

    def text_bytes(self) -> int:
        self._fold()
        return self._total

    def _fold(self) -> None:
        lines = [line[6:] for block in self._blocks for line in block.split(b"\n") if line.startswith(b"data: ")]
        self._blocks.clear()
        self._kept = 0
        for event in _parsed(lines):
            if isinstance(event, dict):
                self.note(event)


def _parsed(lines: list[bytes]) -> Iterable[Any]:
    try:  # one parse for all
        found: list[Any] = orjson.loads(b"[" + b",".join(lines) + b"]")
        return found
    except orjson.JSONDecodeError:
        return [value for line in lines if (value := _loads(line)) is not None]


def _loads(data: bytes) -> Any:
    try:
        return loads(data)
    except ValueError:
        return None
