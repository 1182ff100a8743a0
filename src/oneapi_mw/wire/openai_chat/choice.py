"""What one choice of a stream says, as the blocks of a candidate.

Moves:

    delta with text, refusal or reasoning  -> into the open run of that kind; else end the open run, begin one
    another run or call begins             -> calls whose arguments are a whole object end
    delta of a call                        -> into the calls; the open run ends when one begins
    finish_reason                          -> everything but audio ends; later text is ignored
    end of the stream                      -> audio ends
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from typing import Any, Literal

from oneapi_mw.canonical.blocks import (
    Audio,
    Block,
    Citation,
    Extras,
    Image,
    Inline,
    Reasoning,
    ReasoningOpaque,
    ReasoningText,
    Refusal,
    Text,
)
from oneapi_mw.canonical.events import (
    AudioDelta,
    BlockEnded,
    BlockStarted,
    CitationAdded,
    Event,
    LogprobsAdded,
    OpaqueDelta,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
)
from oneapi_mw.wire.media import decode_url
from oneapi_mw.wire.openai_chat.call_deltas import Calls, call_deltas
from oneapi_mw.wire.openai_chat.chunk import MalformedChunkError
from oneapi_mw.wire.openai_chat.content import (
    decode_citation,
    detail_opaque,
    detail_text,
    joined_text,
    reasoning_source,
    reasoning_text,
)

ANY_AUDIO = "audio/*"
"""Chunks do not name the format of their sound; the request did."""

RunKind = Literal["text", "refusal", "reasoning"]


class _Run:
    """A stretch of text, refusal or reasoning."""

    __slots__ = ("block", "citations", "key", "kind", "logprobs", "opaque", "parts", "summary")

    def __init__(self, kind: RunKind, block: int, key: object = None) -> None:
        self.kind = kind
        self.block = block
        self.key = key  # index of the entry in `reasoning_details`
        self.parts: list[str] = []
        self.citations: list[Citation] = []
        self.logprobs: list[Mapping[str, Any]] = []
        self.opaque: ReasoningOpaque | None = None
        self.summary = False

    def content(self) -> Block:
        text = "".join(self.parts)
        if self.kind == "text":
            return Text(text, tuple(self.citations), tuple(self.logprobs))
        if self.kind == "refusal":
            return Refusal(text, tuple(self.logprobs))
        return Reasoning((ReasoningText(text, self.summary),) if text else (), self.opaque)


class _Sound:
    """Audio of an answer, and the words in it."""

    __slots__ = ("audio_id", "block", "data", "expires_at", "transcript")

    def __init__(self, block: int) -> None:
        self.block = block
        self.data: list[str] = []
        self.transcript: list[str] = []
        self.audio_id: str | None = None
        self.expires_at: int | None = None

    def content(self) -> Audio:
        data = "".join(self.data)
        source = Inline(ANY_AUDIO, data) if data else None
        return Audio(source, "".join(self.transcript) or None, self.audio_id, self.expires_at)


class Choice:
    """The blocks of one candidate.

    Args:
        answer: what tells this answer from the next: ids of calls are made from it.
    """

    def __init__(self, index: int, answer: tuple[object, ...]) -> None:
        self._index = index
        self._new_block = count().__next__
        self._run: _Run | None = None
        self.calls = Calls(index, answer, self._new_block)
        self._reasoning_source: str | None = None
        self._sound: _Sound | None = None
        self._said = ""  # content so far, kept only for servers that repeat it in every chunk
        self._done = False
        self.size = 0
        self.extras: Extras = {}

    def read(self, choice: Mapping[str, Any], events: list[Event]) -> None:
        delta = choice.get("delta")
        if delta is None:
            delta = self._from_message(choice.get("message"))
        if not isinstance(delta, dict):
            if delta is None:
                return
            raise MalformedChunkError("delta is not an object")
        self._audio_delta(delta.get("audio"), events)
        if self._done:
            return
        self._reasoning(delta, events)
        self._content(delta.get("content"), events)
        self._annotations(delta.get("annotations"), events)
        logprobs = choice.get("logprobs")
        self._logprobs("text", logprobs, events)
        self._images(delta.get("images"), events)
        refusal = delta.get("refusal")
        if isinstance(refusal, str) and refusal:
            self._say("refusal", refusal, events)
        self._logprobs("refusal", logprobs, events)
        for call in call_deltas(delta):
            self._call(call, events)

    def finish(self, events: list[Event]) -> None:
        """Nothing more will be said: everything but audio ends, in the order it began."""
        if self._done:
            return
        self._done = True
        self._end_run(events)
        self.calls.finish(events)

    def _call(self, delta: Mapping[str, Any], events: list[Event]) -> None:
        before = self.calls.size
        begun = self.calls.feed(delta, events)
        self.size += self.calls.size - before
        if begun is not None:
            self._end_run(events)
            self.calls.begin(begun, events)

    def end_audio(self, events: list[Event]) -> None:
        sound, self._sound = self._sound, None
        if sound is not None:
            events.append(BlockEnded(self._index, sound.block, sound.content()))

    # Runs.

    def _open(self, kind: RunKind, events: list[Event], key: object = None) -> _Run:
        run = self._run
        if run is not None and run.kind == kind and (key is None or run.key is None or run.key == key):
            if run.key is None:
                run.key = key
            return run
        self._end_run(events)
        self.calls.settle(events)
        run = self._run = _Run(kind, self._new_block(), key)
        events.append(BlockStarted(self._index, run.block, kind))
        return run

    def _say(self, kind: RunKind, text: str, events: list[Event]) -> None:
        run = self._open(kind, events)
        run.parts.append(text)
        self.size += len(text)
        event: Event = (
            TextDelta(self._index, run.block, text) if kind == "text" else RefusalDelta(self._index, run.block, text)
        )
        events.append(event)

    def _end_run(self, events: list[Event]) -> None:
        run, self._run = self._run, None
        if run is not None:
            events.append(BlockEnded(self._index, run.block, run.content()))

    def _content(self, content: object, events: list[Event]) -> None:
        if content is None or content == "":
            return
        if isinstance(content, str):
            self._say("text", content, events)
            return
        if not isinstance(content, list):
            raise MalformedChunkError("content is neither text nor a list of parts")
        for part in content:
            if not isinstance(part, dict):
                raise MalformedChunkError("a part of the content is not an object")
            match part.get("type"):
                case "text" if isinstance(part.get("text"), str) and part["text"]:
                    self._say("text", part["text"], events)
                case "thinking" if text := joined_text(part.get("thinking")):
                    self._think(text, events)
                case "image_url":
                    self._images([part], events)

    def _think(self, text: str, events: list[Event], *, key: object = None, summary: bool = False) -> None:
        run = self._open("reasoning", events, key)
        run.parts.append(text)
        run.summary = run.summary or summary
        self.size += len(text)
        events.append(ReasoningDelta(self._index, run.block, text, summary))

    def _reasoning(self, delta: Mapping[str, Any], events: list[Event]) -> None:
        """Text from the first field that had any, whatever the others repeat; signatures from the details."""
        if self._reasoning_source is None:
            self._reasoning_source = reasoning_source(delta)
        source = self._reasoning_source
        if source is not None and source != "reasoning_details":
            text = reasoning_text(delta, source)
            if text:
                self._think(text, events)
        details = delta.get("reasoning_details")
        for entry in details if isinstance(details, list) else ():
            if not isinstance(entry, dict):
                continue
            key = entry.get("index")
            text = detail_text(entry)
            if text and source == "reasoning_details":
                self._think(text, events, key=key, summary=entry.get("type") == "reasoning.summary")
            opaque = detail_opaque(entry)
            if opaque is not None:
                run = self._open("reasoning", events, key)
                run.opaque = opaque
                events.append(OpaqueDelta(self._index, run.block, opaque))

    def _annotations(self, annotations: object, events: list[Event]) -> None:
        for annotation in annotations if isinstance(annotations, list) else ():
            citation = decode_citation(annotation)
            if citation is not None:
                run = self._open("text", events)
                run.citations.append(citation)
                events.append(CitationAdded(self._index, run.block, citation))

    def _logprobs(self, kind: RunKind, logprobs: object, events: list[Event]) -> None:
        run = self._run
        if not isinstance(logprobs, dict) or run is None or run.kind != kind:
            return
        entries = logprobs.get("refusal" if kind == "refusal" else "content")
        if isinstance(entries, list) and entries:
            found = tuple(entry for entry in entries if isinstance(entry, dict))
            run.logprobs += found
            events.append(LogprobsAdded(self._index, run.block, found))

    def _images(self, images: object, events: list[Event]) -> None:
        for image in images if isinstance(images, list) else ():
            value = image.get("image_url") if isinstance(image, dict) else None
            url = value.get("url") if isinstance(value, dict) else value
            if not isinstance(url, str):
                continue
            try:
                source = decode_url(url)
            except ValueError:
                continue
            self._end_run(events)
            self.size += len(url)
            block = self._new_block()
            events += (BlockStarted(self._index, block, "image"), BlockEnded(self._index, block, Image(source)))

    def _audio_delta(self, audio: object, events: list[Event]) -> None:
        if not isinstance(audio, dict):
            return
        sound = self._sound
        if sound is None:
            sound = self._sound = _Sound(self._new_block())
            events.append(BlockStarted(self._index, sound.block, "audio"))
        data, transcript, audio_id, expires = (audio.get(key) for key in ("data", "transcript", "id", "expires_at"))
        new = AudioDelta(
            self._index,
            sound.block,
            data if isinstance(data, str) else "",
            transcript if isinstance(transcript, str) else "",
            audio_id if isinstance(audio_id, str) else None,
            expires if type(expires) is int else None,
        )
        sound.data.append(new.data)
        sound.transcript.append(new.transcript)
        sound.audio_id = new.audio_id or sound.audio_id
        sound.expires_at = new.expires_at or sound.expires_at
        self.size += len(new.data) + len(new.transcript)
        events.append(new)

    def _from_message(self, message: object) -> Any:
        """A whole message where a delta belongs: what is new in it, should it repeat what was said."""
        if not isinstance(message, dict):
            return None
        content = message.get("content")
        if not isinstance(content, str):
            return message
        if self._said and content.startswith(self._said):
            new = content[len(self._said) :]
            self._said = content
            return {"content": new} if not self._done else None
        self._said += content
        return message
