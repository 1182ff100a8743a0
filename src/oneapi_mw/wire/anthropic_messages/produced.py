"""The text that an answer holds, found without making events of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from oneapi_mw.jsontext import dumps, loads
from oneapi_mw.wire.said import Said
from oneapi_mw.wire.zero import holds_nothing

FOLD_BYTES = 64 * 1024


def content_said(content: object) -> Said:
    """Text, reasoning and tool arguments in the blocks of a whole answer."""
    return Said(_content_texts(content))


def _content_texts(content: object) -> list[str]:
    blocks = [block for block in content if isinstance(block, dict)] if isinstance(content, list) else []
    return [text for block in blocks for text in _block_texts(block)]


def _block_texts(block: Mapping[str, Any]) -> list[str]:
    texts = [value for name in ("text", "thinking") if isinstance(value := block.get(name), str)]
    if isinstance(block.get("name"), str):  # a call, by the client or the vendor
        texts.append(block["name"])
        if block.get("input"):
            texts.append(dumps(block["input"]).decode())
    return texts


def _event_texts(event: Mapping[str, Any]) -> list[str]:
    delta = event.get("delta")
    if isinstance(delta, dict):
        for name in ("text", "thinking", "partial_json"):
            value = delta.get(name)
            if isinstance(value, str):
                return [value]
        return []
    block = event.get("content_block")
    if isinstance(block, dict):
        return _block_texts(block)
    message = event.get("message") if event.get("type") == "message_start" else event
    return _content_texts(message.get("content")) if isinstance(message, dict) else []


def _event_content(event: Mapping[str, Any]) -> object:
    """What an event delivers, whatever it is."""
    match event.get("type"):
        case "content_block_delta":
            return event.get("delta")
        case "content_block_start":
            return event.get("content_block")
        case "message_start":
            message = event.get("message")
            return message.get("content") if isinstance(message, dict) else None
        case _:
            return event.get("content")


class Tally:
    """The text of a stream.

    Blocks that were relayed unread are kept by reference and only read when somebody asks, or when they have
    grown to 64 KiB: a short stream with usage costs nothing, a long one stays within bounds.
    """

    __slots__ = ("_blocks", "_kept", "_more", "_said")

    def __init__(self) -> None:
        self._blocks: list[bytes] = []
        self._kept = 0
        self._more = False  # something came that is no text
        self._said = Said()

    def keep(self, block: bytes) -> None:
        """Count a block of whole events, later."""
        self._blocks.append(block)
        self._kept += len(block)
        if self._kept > FOLD_BYTES:
            self._fold()

    def note(self, event: Mapping[str, Any]) -> None:
        """Count a parsed event."""
        texts = _event_texts(event)
        self._said.add(texts)
        self._more = self._more or not (any(texts) or holds_nothing(_event_content(event)))

    def delivered(self) -> bool:
        """Whether anything was: text, a call, what a vendor's tool found."""
        return bool(self.said().text_bytes) or self._more

    def said(self) -> Said:
        self._fold()
        return self._said

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
