"""Reasoning in chat answers, from the fields a host put it in to the representation the client asked for.

Works on the JSON of chunks and answers, so that fields nobody here knows come through. What is not about reasoning is
not looked at, and chunks in which nothing changes stay the bytes they were.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeGuard

from oneapi_mw.jsontext import dumps, loads
from oneapi_mw.types import JsonObject
from oneapi_mw.wire.envelope_text import vendor_value
from oneapi_mw.wire.framing.sse import encode_sse, parse_event
from oneapi_mw.wire.thinktags import Pieces, ThinkSplitter, split
from oneapi_mw.wire.view import THINK_CLOSE, THINK_OPEN, ReasoningView

__all__ = ["ChatReasoningRewriter", "ChatReasoningStream", "rewrite_answer"]

TEXT_FIELDS = ("reasoning_content", "reasoning", "reasoning_text", "thinking")
"""Where hosts put the text, in the order they are believed. Several hold the same text."""
DETAILS = "reasoning_details"
_TAGGED_FIELD = "reasoning_content"
"""Where text found between tags goes when nobody named a field."""
_CLAUDE = "anthropic-claude-v1"
_SAYING = ("tool_calls", "function_call", "refusal", "audio", "images")
"""Members that end a stretch of reasoning."""
_MENTIONS = re.compile(rb'"(?:reasoning|thinking)')
_SAYS = re.compile(rb'"(?:content|refusal)"\s*:\s*"[^"]|"(?:tool_calls|function_call|audio)"\s*:\s*[\[{]')

Deltas = list[JsonObject]


# Reading.


def _text_in(value: object) -> str:
    """Text of a reasoning field; some hosts wrap it in an object."""
    if isinstance(value, dict):
        value = value.get("content") or value.get("text")
    return value if isinstance(value, str) else ""


def _joined(value: object) -> str:
    """Text of a string, or of a list of parts."""
    if isinstance(value, list):
        return "".join(_joined(part.get("text")) for part in value if isinstance(part, dict))
    return value if isinstance(value, str) else ""


def _entries(message: Mapping[str, Any]) -> list[JsonObject]:
    details = message.get(DETAILS)
    return [entry for entry in details if isinstance(entry, dict)] if isinstance(details, list) else []


def _entry_text(entry: Mapping[str, Any]) -> str:
    value = entry.get("text") or entry.get("summary")
    return value if isinstance(value, str) else ""


def _without_text(entries: Iterable[JsonObject]) -> list[JsonObject]:
    """Entries of `reasoning_details` that say nothing, and still carry what must come back."""
    return [
        {name: "" if name in ("text", "summary") else value for name, value in entry.items()}
        for entry in entries
        if entry.get("signature") or entry.get("data")
    ]


def _thinks(content: object) -> TypeGuard[list[object]]:
    """Whether content is a list with reasoning among its parts (Mistral)."""
    return isinstance(content, list) and any(
        isinstance(part, dict) and part.get("type") == "thinking" for part in content
    )


def _pieces_of_parts(parts: Sequence[object]) -> Pieces:
    pieces: Pieces = []
    for part in parts:
        if not isinstance(part, dict):
            continue
        if part.get("type") == "thinking":
            pieces.append(("reasoning", _joined(part.get("thinking"))))
        else:
            pieces.append(("text", _joined(part.get("text"))))
    return [(kind, text) for kind, text in pieces if text]


# Streams.


class _Choice:
    """One choice of a stream."""

    __slots__ = ("_held", "_in_tag", "_said", "_source", "_splitter", "_view")

    def __init__(self, view: ReasoningView, *, said: bool) -> None:
        self._view = view
        self._splitter = ThinkSplitter(view.tags)
        self._source: str | None = None  # the first field that had any text
        self._in_tag = False  # raw: the tag is open
        self._held: list[str] = []  # not to be shown, unless it turns out to be the answer
        self._said = said

    @property
    def idle(self) -> bool:
        """Whether chunks that do not mention reasoning need not be looked at."""
        return self._splitter.over and not self._in_tag and not self._held

    def read(self, choice: JsonObject) -> list[JsonObject]:
        """`choice` as it is shown: none, itself, or several in its place."""
        delta = choice.get("delta")
        if not isinstance(delta, dict):
            return [choice]
        finish = choice.get("finish_reason")
        if choice.get("logprobs"):
            flushed = self._deltas(self._splitter.close())  # text with scores cannot be taken apart
        elif finish is None and not self._touches(delta):
            return [choice]
        else:
            flushed = []
        deltas = [*flushed, *self._rewritten(delta)]
        if finish is not None:
            ending = self._end(finish)
            deltas = [*deltas, *ending] if _speaks(delta) else [*ending, *(deltas or [{}])]
        if deltas == [delta]:
            return [choice]
        if not deltas:
            if delta and finish is None and not choice.get("logprobs"):
                return []
            deltas = [{}]
        between = {name: value for name, value in choice.items() if name not in ("logprobs", "stop_reason")}
        shown = [{**between, "delta": piece, "finish_reason": None} for piece in deltas[:-1]]
        return [*shown, {**choice, "delta": deltas[-1]}]

    def close(self) -> Deltas:
        """What is held when the stream ends without saying so."""
        return [*self._deltas(self._splitter.close()), *self._leave_tag()]

    def _touches(self, delta: JsonObject) -> bool:
        if not self.idle or self._view.off:
            return True
        return DETAILS in delta or any(name in delta for name in TEXT_FIELDS) or _thinks(delta.get("content"))

    def _rewritten(self, delta: JsonObject) -> Deltas:
        thought = self._native(delta)
        content = delta.get("content")
        pieces: Pieces = []
        if thought or any(delta.get(name) for name in _SAYING):
            pieces += self._splitter.close()
        if self._view.leaves_fields and not _thinks(content):
            if isinstance(content, str) and content and not self._splitter.over:
                pieces += self._splitter.feed(content)
                if pieces == [("text", content)]:
                    return [delta]
                rest = {name: value for name, value in delta.items() if name != "content"}
                return self._assembled(rest, pieces)
            return [*self._deltas(pieces), delta]
        if thought:
            pieces.append(("reasoning", thought))
        if _thinks(content):
            pieces += _pieces_of_parts(content)
        elif isinstance(content, str) and content:
            pieces += self._splitter.feed(content)
        rest = {name: value for name, value in delta.items() if name not in TEXT_FIELDS and name != DETAILS}
        if pieces or (isinstance(content, str) and content):
            rest.pop("content", None)
        details = _entries(delta)
        if self._view.hides:
            details = _without_text(details)
        return self._assembled(rest, pieces, details)

    def _native(self, delta: JsonObject) -> str:
        """New text in the field this stream uses."""
        if self._source is None:
            if any(_entry_text(entry) for entry in _entries(delta)):
                self._source = DETAILS
            else:
                self._source = next((name for name in TEXT_FIELDS if _text_in(delta.get(name))), None)
        if self._source is None:
            return ""
        if self._source == DETAILS:
            return "".join(_entry_text(entry) for entry in _entries(delta))
        return _text_in(delta.get(self._source))

    def _assembled(self, rest: JsonObject, pieces: Pieces, details: Sequence[JsonObject] = ()) -> Deltas:
        """Deltas for `pieces`, with the role in the first of them and everything else in the last."""
        deltas = self._deltas(pieces)
        if details:
            named = next((delta for delta in reversed(deltas) if "content" not in delta), None)
            if named is not None:
                named[DETAILS] = list(details)
            else:
                deltas.insert(0, {DETAILS: list(details)})
        role = {"role": rest["role"]} if "role" in rest else {}
        tail = {name: value for name, value in rest.items() if name != "role"}
        if any(tail.get(name) for name in _SAYING):
            self._said = True
            deltas += self._leave_tag()
        if not deltas:
            return [{**role, **tail}] if role or tail else []
        if any(value is not None for value in tail.values()) and "content" not in deltas[-1]:
            deltas.append(tail)
        else:
            deltas[-1].update(tail)
        deltas[0] = {**role, **deltas[0]}
        return deltas

    def _deltas(self, pieces: Pieces) -> Deltas:
        deltas: Deltas = []
        for kind, text in pieces:
            if kind == "reasoning":
                deltas += self._reason(text)
            else:
                self._said = True
                deltas += self._leave_tag()
                deltas.append({"content": text})
        return deltas

    def _reason(self, text: str) -> Deltas:
        view = self._view
        if view.hides:
            if view.off and not self._said:
                self._held.append(text)
            return []
        if view.shown == "raw":
            opening, self._in_tag = "" if self._in_tag else THINK_OPEN, True
            return [{"content": opening + text}]
        return [{view.shown or _TAGGED_FIELD: text}]

    def _leave_tag(self) -> Deltas:
        """What ends a stretch of reasoning that something else follows."""
        if self._said:
            self._held.clear()
        if not self._in_tag:
            return []
        self._in_tag = False
        return [{"content": THINK_CLOSE}]

    def _end(self, finish: object) -> Deltas:
        deltas = [*self._deltas(self._splitter.close()), *self._leave_tag()]
        if self._held and not self._said and finish == "stop":
            # told not to reason, a host put the whole answer where reasoning goes
            deltas.append({"content": "".join(self._held)})
        self._held.clear()
        return deltas


def _says(delta: JsonObject) -> bool:
    return any(delta.get(name) for name in ("content", *_SAYING))


def _speaks(delta: JsonObject) -> bool:
    return _says(delta) or any(delta.get(name) for name in (*TEXT_FIELDS, DETAILS))


class ChatReasoningRewriter:
    """Chunks of one stream: parsed ones in, parsed ones out.

    One delta has reasoning or content, never both, and exactly one field has the text.
    """

    def __init__(self, view: ReasoningView) -> None:
        self._view = view
        self._choices: dict[object, _Choice] = {}
        self._head: JsonObject = {}
        self._said = False

    @property
    def idle(self) -> bool:
        """Whether chunks that do not mention reasoning may pass unread."""
        if self._view.tags != "off" and len(self._choices) < self._view.candidates:
            return False
        return all(choice.idle for choice in self._choices.values())

    def passed(self) -> None:
        """Something was said in chunks that passed unread."""
        self._said = True

    def feed(self, chunk: JsonObject) -> list[JsonObject]:
        """What to show in place of `chunk`; itself when nothing changes."""
        choices = chunk.get("choices")
        if chunk.get("error"):
            return [*self.close(), chunk]
        if not isinstance(choices, list) or not choices:
            return [chunk]
        self._head = chunk
        rows = [self._read(choice) if isinstance(choice, dict) else [choice] for choice in choices]
        if all(len(row) == 1 and row[0] is choice for row, choice in zip(rows, choices, strict=True)):
            return [chunk]
        length = max(map(len, rows))
        if not length:
            return [{**chunk, "choices": []}] if chunk.get("usage") else []
        # the last of each choice ends it, so it goes into the last chunk
        shown = []
        for place in range(length):
            found = [row[place - length + len(row)] for row in rows if place - length + len(row) >= 0]
            shown.append({**chunk, "choices": found})
        for early in shown[:-1]:
            early.pop("usage", None)
        return shown

    def close(self) -> list[JsonObject]:
        """What is held when the stream is over, whether or not it was complete."""
        choices = [
            {"index": index, "delta": delta, "finish_reason": None}
            for index, choice in self._choices.items()
            for delta in choice.close()
        ]
        head = {name: value for name, value in self._head.items() if name != "usage"}
        return [{**head, "choices": [choice]} for choice in choices]

    def _read(self, choice: JsonObject) -> list[JsonObject]:
        index = choice.get("index", 0)
        index = index if type(index) is int else 0
        known = self._choices.get(index)
        if known is None:
            known = self._choices[index] = _Choice(self._view, said=self._said)
        return known.read(choice)


class ChatReasoningStream:
    """The same on bytes: blocks of whole events, as `SseCutter` makes them."""

    def __init__(self, view: ReasoningView) -> None:
        self._rewriter = ChatReasoningRewriter(view)
        self._watches = view.off

    def feed(self, block: bytes) -> bytes:
        """What to show in place of `block`; the very same bytes when nothing changes."""
        if self._rewriter.idle and _MENTIONS.search(block) is None:
            if self._watches and _SAYS.search(block) is not None:
                self._rewriter.passed()
                self._watches = False
            return block
        events = block.split(b"\n\n")
        shown = [self._event(lines + b"\n\n") for lines in events if lines]
        return b"".join(shown)

    def close(self) -> bytes:
        """What was held back, for a stream that ended without an end."""
        return _encoded(self._rewriter.close())

    def _event(self, raw: bytes) -> bytes:
        event = parse_event(raw[:-2])
        if event is None or not event.data:
            return raw
        if event.data.startswith(b"[DONE]"):
            return self.close() + raw
        try:
            chunk = loads(event.data)
        except ValueError:
            return raw
        if not isinstance(chunk, dict):
            return raw
        shown = self._rewriter.feed(chunk)
        if shown and shown[-1] is chunk:
            return _encoded(shown[:-1]) + raw
        return _encoded(shown, event.event)


def _encoded(chunks: Iterable[JsonObject], name: bytes | None = None) -> bytes:
    return b"".join([encode_sse(dumps(chunk), name) for chunk in chunks])


# Whole answers.


def rewrite_answer(body: JsonObject, view: ReasoningView) -> JsonObject:
    """A buffered answer as it is shown; the same object when nothing changes."""
    choices = body.get("choices")
    if not isinstance(choices, list):
        return body
    shown = [_rewritten_choice(choice, view) if isinstance(choice, dict) else choice for choice in choices]
    if all(new is old for new, old in zip(shown, choices, strict=True)):
        return body
    return {**body, "choices": shown}


def _rewritten_choice(choice: JsonObject, view: ReasoningView) -> JsonObject:
    message = choice.get("message")
    if not isinstance(message, dict):
        return choice
    finish = choice.get("finish_reason")
    shown = _message(message, view, finished=finish == "stop", splits=not choice.get("logprobs"))
    return choice if shown is message else {**choice, "message": shown}


def _message(message: JsonObject, view: ReasoningView, *, finished: bool, splits: bool) -> JsonObject:
    thought = next((text for name in TEXT_FIELDS if (text := _text_in(message.get(name)))), "")
    thought = thought or "\n\n".join([text for entry in _entries(message) if (text := _entry_text(entry))])
    content = message.get("content")
    pieces: Pieces | None = None
    if _thinks(content) and not view.leaves_everything:
        pieces = _pieces_of_parts(content)
    elif isinstance(content, str) and not thought and splits and view.tags != "off":
        pieces = split(content, view.tags, complete=finished)
    if pieces is not None:
        found = [text for kind, text in pieces if kind == "reasoning"]
        if not found and isinstance(content, str) and content == "".join(text for _, text in pieces):
            pieces = None
        else:
            thought = "".join([thought, *found])
            content = "".join([text for kind, text in pieces if kind == "text"])
    if view.leaves_fields and pieces is None:
        return message
    rest = {name: value for name, value in message.items() if name not in TEXT_FIELDS}
    if pieces is not None:
        rest["content"] = content
    if view.hides:
        rest = _hidden(rest, thought, view, finished=finished)
    elif thought and view.shown == "raw":
        rest["content"] = f"{THINK_OPEN}{thought}{THINK_CLOSE}{content if isinstance(content, str) else ''}"
    elif thought:
        rest[view.shown or _TAGGED_FIELD] = thought
        if view.shown == "thinking" and (signature := _one_signature(message)) is not None:
            rest["signature"] = signature
    return message if rest == message else rest


def _hidden(message: JsonObject, thought: str, view: ReasoningView, *, finished: bool) -> JsonObject:
    if DETAILS in message:
        details = _without_text(_entries(message))
        message = {**message, DETAILS: details}
        if not details:
            del message[DETAILS]
    if view.off and finished and thought and not message.get("content") and not _says(message):
        return {**message, "content": thought}
    return message


def _one_signature(message: JsonObject) -> str | None:
    """Claude's own signature, where exactly one block is signed."""
    signed = [entry for entry in _entries(message) if isinstance(entry.get("signature"), str) and entry["signature"]]
    if len(signed) != 1 or signed[0].get("format") != _CLAUDE:
        return None
    return vendor_value(signed[0]["signature"])
