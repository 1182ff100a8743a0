"""How much text an answer holds, counted without making events of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from oneapi_mw.jsontext import dumps, loads
from oneapi_mw.wire.framing.sse import parse_block

REASONING_FIELDS = ("reasoning_content", "reasoning", "reasoning_text", "thinking")
"""Names of the field with reasoning text, in the order they are believed. Several hold the same text."""
FOLD_BYTES = 64 * 1024


def utf8_length(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def message_bytes(message: Mapping[str, Any]) -> int:
    """UTF-8 bytes of text, reasoning and tool arguments in a message or a delta."""
    if len(message) == 1:  # a delta of text, like nearly all of them
        content = message.get("content")
        if type(content) is str:
            return utf8_length(content)
    total = _text_bytes(message.get("content")) + _text_bytes(message.get("refusal"))
    total += next((size for name in REASONING_FIELDS if (size := _text_bytes(message.get(name)))), 0) or _text_bytes(
        message.get("reasoning_details")
    )
    calls = message.get("tool_calls")
    if isinstance(calls, list):
        for call in calls:
            if isinstance(call, dict):
                total += _call_bytes(call.get("function")) + _call_bytes(call.get("custom"))
    total += _call_bytes(message.get("function_call"))
    audio = message.get("audio")
    return total + _text_bytes(audio.get("transcript")) if isinstance(audio, dict) else total


def answer_bytes(body: Mapping[str, Any]) -> int:
    """`message_bytes` over all choices of a buffered answer."""
    tally = Tally()
    tally.note(body)
    return tally.text_bytes()


def _text_bytes(value: object) -> int:
    if isinstance(value, str):
        return utf8_length(value)
    if isinstance(value, list):  # parts; Mistral's reasoning nests a second list in them
        return sum(
            _text_bytes(part.get("text") or part.get("thinking") or part.get("summary") or part.get("refusal"))
            for part in value
            if isinstance(part, dict)
        )
    return 0


def _call_bytes(call: object) -> int:
    if not isinstance(call, dict):
        return 0
    arguments = call.get("arguments") or call.get("input")
    if isinstance(arguments, dict):
        arguments = dumps(arguments).decode()
    return _text_bytes(call.get("name")) + _text_bytes(arguments)


class Tally:
    """Text bytes of a stream, and which choices have begun.

    Blocks that were relayed unread are kept by reference and only read when somebody asks, or when they have
    grown to 64 KiB: a short stream with usage costs nothing, a long one stays within bounds.
    """

    __slots__ = ("_blocks", "_choices", "_kept", "_messages", "_total")

    def __init__(self) -> None:
        self._blocks: list[bytes] = []
        self._kept = 0
        self._total = 0
        self._choices: set[int] = set()
        self._messages: dict[int, int] = {}

    def keep(self, block: bytes) -> None:
        """Count a block of whole events, later."""
        self._blocks.append(block)
        self._kept += len(block)
        if self._kept > FOLD_BYTES:
            self._fold()

    def note(self, chunk: Mapping[str, Any]) -> None:
        """Count a parsed chunk."""
        choices = chunk.get("choices")
        if not isinstance(choices, list):
            return
        for choice in choices:
            if not isinstance(choice, dict):
                continue
            index = choice.get("index", 0)
            if type(index) is not int:
                continue
            self._choices.add(index)
            delta = choice.get("delta")
            if isinstance(delta, dict):
                self._total += message_bytes(delta)
            elif isinstance(message := choice.get("message"), dict):
                # a whole message in every chunk repeats what came before
                size, known = message_bytes(message), self._messages.get(index, 0)
                self._total += max(0, size - known)
                self._messages[index] = max(size, known)
            else:  # a completion, which has its text in the choice
                self._total += _text_bytes(choice.get("text"))

    def text_bytes(self) -> int:
        self._fold()
        return self._total

    def choices(self) -> set[int]:
        self._fold()
        return self._choices

    def _fold(self) -> None:
        block = b"".join(self._blocks)
        self._blocks.clear()
        self._kept = 0
        if not block:
            return
        try:  # one parse for all: between events of one line each there is nothing but a separator
            chunks = orjson.loads(b"[" + block[6:-2].replace(b"\n\ndata: ", b",") + b"]")
        except orjson.JSONDecodeError:
            chunks = [_parsed(event.data) for event in parse_block(block)]
        for chunk in chunks:
            if isinstance(chunk, dict):
                self.note(chunk)


def _parsed(data: bytes) -> Any:
    try:
        return loads(data)
    except ValueError:
        return None
