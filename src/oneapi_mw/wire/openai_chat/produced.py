"""The text that an answer holds, found without making events of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import Any

import orjson

from oneapi_mw.jsontext import dumps, loads
from oneapi_mw.wire.framing.sse import parse_block
from oneapi_mw.wire.openai_chat.tool_usage import MARKS, ToolTally
from oneapi_mw.wire.said import KEPT_BYTES, Said
from oneapi_mw.wire.zero import holds_nothing

REASONING_FIELDS = ("reasoning_content", "reasoning", "reasoning_text", "thinking")
"""Names of the field with reasoning text, in the order they are believed. Several hold the same text."""
FOLD_BYTES = 64 * 1024
CHUNK_BYTES = 1024
"""What a parsed chunk is taken to hold."""


def message_texts(message: Mapping[str, Any]) -> list[str]:
    """Text, reasoning and tool arguments in a message or a delta."""
    if len(message) == 1:  # a delta of text, like nearly all of them
        content = message.get("content")
        if type(content) is str:
            return [content]
    texts = [*_texts(message.get("content")), *_texts(message.get("refusal"))]
    reasoning = (found for name in REASONING_FIELDS if any(found := _texts(message.get(name))))
    texts += next(reasoning, []) or _texts(message.get("reasoning_details"))
    calls = message.get("tool_calls")
    if isinstance(calls, list):
        for call in calls:
            if isinstance(call, dict):
                texts += [*_call_texts(call.get("function")), *_call_texts(call.get("custom"))]
    texts += _call_texts(message.get("function_call"))
    audio = message.get("audio")
    return [*texts, *_texts(audio.get("transcript"))] if isinstance(audio, dict) else texts


def answer_said(body: Mapping[str, Any]) -> Said:
    """`message_texts` over all choices of a buffered answer."""
    tally = Tally()
    tally.note(body)
    said = Said()
    said.add_bytes(bytes(tally.kept))
    return said


def delivers_nothing(body: Mapping[str, Any]) -> bool:
    """Whether a buffered answer is empty: no choice holds anything."""
    tally = Tally()
    tally.note(body)
    return not tally.delivered()


def _texts(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, list):  # parts; Mistral's reasoning nests a second list in them
        return [
            text
            for part in value
            if isinstance(part, dict)
            for text in _texts(part.get("text") or part.get("thinking") or part.get("summary") or part.get("refusal"))
        ]
    return []


def _call_texts(call: object) -> list[str]:
    if not isinstance(call, dict):
        return []
    arguments = call.get("arguments") or call.get("input")
    if isinstance(arguments, dict):
        arguments = dumps(arguments).decode()
    return [*_texts(call.get("name")), *_texts(arguments)]


class Tally:
    """The text of a stream, and which choices have begun.

    Blocks that were relayed unread are kept by reference and only read when somebody asks, or when they have
    grown to 64 KiB: a short stream with usage costs nothing, a long one stays within bounds.
    """

    __slots__ = (
        "_beyond",
        "_choices",
        "_messages",
        "_more",
        "_reported_bytes",
        "_reported_place",
        "_size",
        "_tools",
        "_unread",
        "kept",
    )

    def __init__(self) -> None:
        self.kept = bytearray()
        """Text in UTF-8. Whoever finds some without reading what is around it adds it here; always the same object."""
        self._beyond = 0  # bytes that were said, too, and are not kept
        self._more = False  # something came that is no text
        self._unread: list[tuple[int, bytes | Mapping[str, Any]]] = []  # and how much had been said before each
        self._size = 0
        self._choices: set[int] = set()
        self._messages: dict[int, int] = {}
        self._tools = ToolTally()
        self._reported_place = (0, 0)  # how much was kept, and unread, when usage was reported last
        self._reported_bytes: int | None = None  # all that had been said by then, once that is read

    def keep(self, block: bytes) -> None:
        """Count a block of whole events, later."""
        self._put_off(block, len(block))

    def note(self, chunk: Mapping[str, Any]) -> None:
        """Count a parsed chunk."""
        if self._unread:  # in its turn
            self._put_off(chunk, CHUNK_BYTES)
        else:
            self._note(chunk)

    def _put_off(self, entry: bytes | Mapping[str, Any], size: int) -> None:
        self._unread.append((len(self.kept), entry))
        self._size += size
        if self._size > FOLD_BYTES:
            self._fold()

    def text_bytes(self) -> int:
        self._fold()
        return len(self.kept) + self._beyond

    def text(self) -> str:
        self._fold()
        return self.kept.decode("utf-8", "replace")

    def delivered(self) -> bool:
        """Whether anything was: text, a call, media."""
        self._fold()
        return bool(self.kept) or self._more

    def note_report(self) -> None:
        """Usage is reported for all there is so far."""
        self._reported_place, self._reported_bytes = (len(self.kept), len(self._unread)), None
        if not self._unread:
            self._reported_bytes = len(self.kept) + self._beyond

    def unreported(self) -> bool:
        """Whether something was said after the last report."""
        if self._reported_bytes is None and self._reported_place == (len(self.kept), len(self._unread)):
            return False  # nothing at all came after it: what is unread may stay so
        said = self.text_bytes()
        return said > (self._reported_bytes or 0)

    def choices(self) -> set[int]:
        self._fold()
        return self._choices

    def tools(self) -> ToolTally:
        """What hosted tools did. Blocks are only read when they show a call."""
        if self._unread:
            blocks = b"".join(entry for _, entry in self._unread if isinstance(entry, bytes))
            if any(mark in blocks for mark in MARKS):
                self._fold()
            for _, entry in self._unread:
                if not isinstance(entry, bytes):
                    self._tools.note(entry)
        return self._tools

    def _note(self, chunk: Mapping[str, Any]) -> None:
        if "web_search" in chunk:
            self._tools.note(chunk)
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
                if len(delta) > 1 or "tool_calls" in delta:
                    self._tools.note_message(index, delta)
                said = _utf8(message_texts(delta))
                self.kept += said
                self._more = self._more or not (said or holds_nothing(delta))
            elif isinstance(message := choice.get("message"), dict):
                self._tools.note_message(index, message)
                # a whole message in every chunk repeats what came before
                known = self._messages.get(index, 0)
                whole = _utf8(message_texts(message))
                self.kept += whole[known:]
                self._messages[index] = max(len(whole), known)
                self._more = self._more or not (whole or holds_nothing(message))
            else:  # a completion, which has its text in the choice
                self.kept += _utf8(_texts(choice.get("text")))

    def _fold(self) -> None:
        """Read what is unread, put its text where it belongs, and forget what is too much."""
        if self._unread:
            unread, self._unread, self._size = self._unread, [], 0
            before = bytes(self.kept)
            self.kept.clear()
            place = 0
            kept, covered = self._reported_place if self._reported_bytes is None else (0, 0)
            for (offset, is_block, reported), numbered in groupby(
                enumerate(unread), key=lambda entry: (entry[1][0], type(entry[1][1]) is bytes, entry[0] < covered)
            ):
                self.kept += before[place:offset]
                place = offset
                found = [entry for _, (_, entry) in numbered]
                for chunk in _chunks(b"".join(found)) if is_block else found:  # type: ignore[arg-type]  # all bytes
                    if isinstance(chunk, dict):
                        self._note(chunk)
                if reported:
                    self._reported_bytes = len(self.kept) - place + kept + self._beyond
            self.kept += before[place:]
        if len(self.kept) > KEPT_BYTES:
            self._beyond += len(self.kept) - KEPT_BYTES
            del self.kept[KEPT_BYTES:]


def _utf8(texts: Iterable[str]) -> bytes:
    return "".join(texts).encode("utf-8", "surrogatepass")


def _chunks(block: bytes) -> list[Any]:
    try:  # one parse for all: between events of one line each there is nothing but a separator
        found: list[Any] = orjson.loads(b"[" + block[6:-2].replace(b"\n\ndata: ", b",") + b"]")
        return found
    except orjson.JSONDecodeError:
        return [_parsed(event.data) for event in parse_block(block)]


def _parsed(data: bytes) -> Any:
    try:
        return loads(data)
    except ValueError:
        return None
