"""Chunks of a stream to canonical events.

`SignificantReader` finds what every stage needs to know: that the answer began, its usage, how it ended.
`ChunkReader` finds all of it. Both judge beginning, usage and ending by the same code, so they agree.

Moves of one choice in `ChunkReader`:

    delta with text, refusal or reasoning  -> into the open run of that kind; else end the open run, begin one
    another run or call begins             -> calls whose arguments are a whole object end
    delta of a call                        -> by index, id or position; begins when its name is settled
    finish_reason                          -> everything but audio ends; later text is ignored
    end of the stream                      -> audio ends, endings are told
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
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
    ToolCall,
)
from oneapi_mw.canonical.events import (
    ArgumentsDelta,
    AudioDelta,
    BlockEnded,
    BlockStarted,
    CitationAdded,
    Ended,
    Event,
    Finished,
    LogprobsAdded,
    OpaqueDelta,
    ReasoningDelta,
    RefusalDelta,
    Started,
    TextDelta,
    UsageReported,
)
from oneapi_mw.jsontext import loads
from oneapi_mw.usage import Usage, service_variant
from oneapi_mw.wire.extras import mapped
from oneapi_mw.wire.ids import synthetic_id
from oneapi_mw.wire.media import decode_url
from oneapi_mw.wire.openai_chat.content import (
    NAME,
    arguments_text,
    call_signature,
    decode_citation,
    detail_opaque,
    detail_text,
    extras,
    joined_text,
    reasoning_source,
    reasoning_text,
)
from oneapi_mw.wire.openai_chat.finish import decode_finish, prefer, with_calls
from oneapi_mw.wire.openai_chat.usage import decode_usage, find_usage, unmapped_usage

MAX_INDEX = 128
"""Choices and calls beyond this are an attack on whoever keeps a list of them."""
MAX_ACCUMULATED_CHARS = 32 * 1024 * 1024

ANY_AUDIO = "audio/*"
"""Chunks do not name the format of their sound; the request did."""

RunKind = Literal["text", "refusal", "reasoning"]

_ENVELOPE = mapped("id", "object", "created", "model", "choices", "usage", "system_fingerprint", "service_tier")
_CHOICE = mapped("index", "delta", "message", "finish_reason", "logprobs", "stop_reason", "matched_stop")


class MalformedChunkError(ValueError):
    """A chunk of a known kind with a value that cannot be."""


class SignificantReader:
    """Beginning, usage and ending of a stream; its content is not looked at.

    Args:
        model: name to report in place of the upstream's.
    """

    def __init__(self, model: str | None = None) -> None:
        self._model = model
        self._identity: dict[str, Any] = {}
        self._usage: Usage | None = None
        self._finishes: dict[int, Finished] = {}
        self.started = False

    def read(self, chunk: Mapping[str, Any]) -> list[Event]:
        """Events of one parsed chunk, in order. Raises `MalformedChunkError`."""
        for key in ("id", "model", "created", "system_fingerprint", "service_tier"):
            if not self._identity.get(key) and (value := chunk.get(key)):
                self._identity[key] = value
        events: list[Event] = []
        choices, usage = chunk.get("choices"), find_usage(chunk)
        if choices is not None and not isinstance(choices, list):
            raise MalformedChunkError("choices is not a list")
        if not self.started and (choices or usage is not None):
            self.started = True
            events.append(self._start(chunk))
        for choice in choices or ():
            if not isinstance(choice, dict):
                raise MalformedChunkError("a choice is not an object")
            index = choice.get("index")
            index = 0 if index is None else index
            if type(index) is not int or not 0 <= index <= MAX_INDEX:
                raise MalformedChunkError("the index of a choice is out of range")
            self._choice(index, choice, events)
        if usage is not None:
            self._report(usage, events)
        return events

    def _start(self, chunk: Mapping[str, Any]) -> Started:
        text = {key: value for key, value in self._identity.items() if isinstance(value, str)}
        created = self._identity.get("created")
        return Started(
            id=text.get("id", ""),
            model=self._model if self._model is not None else text.get("model", ""),
            created=created if type(created) is int else 0,
            fingerprint=text.get("system_fingerprint"),
            tier=text.get("service_tier"),
        )

    def _choice(self, index: int, choice: Mapping[str, Any], events: list[Event]) -> None:
        finished = decode_finish(choice, index)
        if finished is not None:
            self._finishes[index] = prefer(self._finishes.get(index), finished)

    def _report(self, report: Mapping[str, Any], events: list[Event]) -> None:
        usage = decode_usage(report)
        variant = service_variant(self._identity.get("service_tier"))
        if usage is not None and variant:
            usage = replace(usage, variant=variant)
        if usage is None or usage == self._usage:
            return
        self._usage = usage
        rest = unmapped_usage(report)
        extras: Extras = {NAME: rest} if rest else {}
        events.append(UsageReported(usage, extras))

    def finished(self) -> set[int]:
        """Choices that have said how they ended."""
        return set(self._finishes)

    def end(self) -> list[Event]:
        """The stream is complete: what was kept until now, and `Ended`."""
        return [*(self._finishes[index] for index in sorted(self._finishes)), Ended()]


class ChunkReader(SignificantReader):
    """Every event of a stream."""

    def __init__(self, model: str | None = None) -> None:
        super().__init__(model)
        self._choices: dict[int, _Choice] = {}
        self._size = 0

    def _start(self, chunk: Mapping[str, Any]) -> Started:
        return replace(super()._start(chunk), extras=extras(chunk, _ENVELOPE))

    def _choice(self, index: int, choice: Mapping[str, Any], events: list[Event]) -> None:
        machine = self._choices.get(index)
        if machine is None:
            machine = self._choices[index] = _Choice(index, (self._identity.get("id"), self._identity.get("created")))
        before = machine.size
        machine.read(choice, events)
        self._size += machine.size - before
        if self._size > MAX_ACCUMULATED_CHARS:
            raise MalformedChunkError("the answer is too large to convert")
        super()._choice(index, choice, events)
        if index in self._finishes:
            machine.finish(events)
            machine.extras = machine.extras or extras(choice, _CHOICE)

    def started_choices(self) -> set[int]:
        return set(self._choices)

    def end(self) -> list[Event]:
        events: list[Event] = []
        for index in sorted(self._choices):
            machine = self._choices[index]
            machine.finish(events)
            machine.end_audio(events)
            finished = self._finishes.get(index) or Finished(index, "unknown")
            finished = with_calls(finished, complete=machine.complete_call, any_call=machine.any_call)
            events.append(replace(finished, extras=machine.extras) if machine.extras else finished)
        events.append(Ended())
        return events


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


class _Call:
    """A tool call as it comes in. It begins when its name cannot grow any more."""

    __slots__ = ("_checked", "_whole", "arguments", "block", "custom", "ended", "id", "name", "opaque", "size")

    def __init__(self) -> None:
        self.id = ""
        self.name = ""
        self.custom = False
        self.arguments: list[str] = []
        self.size = 0
        self.opaque: ReasoningOpaque | None = None
        self.block: int | None = None
        self.ended = False
        self._checked = 0  # size at which `_whole` was found out
        self._whole = False

    def is_whole(self) -> bool:
        """Whether the arguments are a complete object: the call can end as soon as something else begins."""
        if self.size != self._checked:
            self._checked = self.size
            text = "".join(self.arguments)
            self.arguments = [text]
            self._whole = not self.custom and text.rstrip().endswith("}") and _is_object(text)
        return self._whole

    def content(self) -> ToolCall:
        kind: Literal["function", "custom"] = "custom" if self.custom else "function"
        return ToolCall(self.id, self.name, "".join(self.arguments), kind, opaque=self.opaque)


def _is_object(text: str) -> bool:
    try:
        return isinstance(loads(text.encode("utf-8", "surrogatepass")), dict)
    except ValueError:
        return False


class _Choice:
    """The blocks of one candidate."""

    def __init__(self, index: int, answer: tuple[object, ...]) -> None:
        self._index = index
        self._answer = answer  # what tells this answer from the next: ids of calls are made from it
        self._next_block = 0
        self._run: _Run | None = None
        self._calls: list[_Call] = []
        self._slots: dict[int, _Call] = {}
        self._ids: set[str] = set()
        self._reasoning_source: str | None = None
        self._sound: _Sound | None = None
        self._said = ""  # content so far, kept only for servers that repeat it in every chunk
        self._done = False
        self.size = 0
        self.extras: Extras = {}
        self.complete_call = False
        self.any_call = False

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
        for call in self._call_deltas(delta):
            self._call_delta(call, events)

    def finish(self, events: list[Event]) -> None:
        """Nothing more will be said: everything but audio ends, in the order it began."""
        if self._done:
            return
        self._done = True
        self._end_run(events)
        for call in self._calls:
            self._begin_call(call, events)
            self._end_call(call, events)

    def end_audio(self, events: list[Event]) -> None:
        sound, self._sound = self._sound, None
        if sound is not None:
            events.append(BlockEnded(self._index, sound.block, sound.content()))

    # Runs.

    def _new_block(self) -> int:
        self._next_block += 1
        return self._next_block - 1

    def _open(self, kind: RunKind, events: list[Event], key: object = None) -> _Run:
        run = self._run
        if run is not None and run.kind == kind and (key is None or run.key is None or run.key == key):
            if run.key is None:
                run.key = key
            return run
        self._end_run(events)
        self._settle_calls(events)
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

    # Calls.

    def _call_deltas(self, delta: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        calls = delta.get("tool_calls")
        if calls is not None and not isinstance(calls, list):
            raise MalformedChunkError("tool_calls is not a list")
        for call in calls or ():
            if not isinstance(call, dict):
                raise MalformedChunkError("a tool call is not an object")
            yield call
        legacy = delta.get("function_call")
        if isinstance(legacy, dict):
            yield {"index": 0, "function": legacy}

    def _call_delta(self, delta: Mapping[str, Any], events: list[Event]) -> None:
        custom = isinstance(delta.get("custom"), dict)
        body = delta.get("custom" if custom else "function")
        fields: Mapping[str, Any] = body if isinstance(body, dict) else {}
        call_id, name = delta.get("id"), fields.get("name")
        call_id = call_id if isinstance(call_id, str) else ""
        name = name if isinstance(name, str) else ""
        call = self._find_call(delta.get("index"), call_id, name)
        if call.ended:
            return
        call.custom = call.custom or custom
        if call.block is None:
            call.id = call.id or call_id
            if name != call.name and not (call.name and call.size):
                call.name += name
        signature = call_signature(delta)
        if signature is not None:
            call.opaque = signature
            if call.block is not None:
                events.append(OpaqueDelta(self._index, call.block, signature))
        text = arguments_text(fields.get("input" if custom else "arguments"))
        if text:
            call.arguments.append(text)
            call.size += len(text)
            self.size += len(text)
        if call.block is None:
            if call.size:
                self._begin_call(call, events)
        elif text:
            events.append(ArgumentsDelta(self._index, call.block, text))

    def _find_call(self, index: object, call_id: str, name: str) -> _Call:
        """The call a delta belongs to; a new one when it belongs to none."""
        if index is None:
            known = next((call for call in self._calls if call_id and call.id == call_id), None)
            last = self._calls[-1] if self._calls else None
            if known is None and not call_id and last is not None and not (name and (last.ended or last.is_whole())):
                known = last
            return known or self._new_call()
        if type(index) is not int or not 0 <= index <= MAX_INDEX:
            raise MalformedChunkError("the index of a tool call is out of range")
        call = self._slots.get(index)
        # several servers number every call 0: another id with a name is another call
        if call is None or (call_id and call.id and call_id != call.id and name):
            call = self._slots[index] = self._new_call()
        return call

    def _new_call(self) -> _Call:
        if len(self._calls) > MAX_INDEX:
            raise MalformedChunkError("too many tool calls")
        call = _Call()
        self._calls.append(call)
        return call

    def _begin_call(self, call: _Call, events: list[Event]) -> None:
        """A call without a name cannot be made; it waits, and is dropped in the end."""
        if call.block is not None or not call.name:
            return
        self._end_run(events)
        self._settle_calls(events, before=call)
        self._begin_alone(call, events)

    def _unique(self, call_id: str) -> str:
        unique, number = call_id, 2
        while unique in self._ids:
            unique = f"{call_id}_{number}"
            number += 1
        self._ids.add(unique)
        return unique

    def _settle_calls(self, events: list[Event], before: _Call | None = None) -> None:
        """Something else begins. Calls that lack nothing are over, so that a client can have them; those that
        have only a name so far begin, so that order is kept."""
        for call in self._calls:
            if call is before:
                break
            if call.ended:
                continue
            if call.block is None and call.name:
                self._begin_alone(call, events)
            if call.is_whole():
                self._end_call(call, events)

    def _begin_alone(self, call: _Call, events: list[Event]) -> None:
        call.id = self._unique(call.id or synthetic_id(*self._answer, self._index, len(self._ids), call.name))
        call.block = self._new_block()
        tool: Literal["function", "custom"] = "custom" if call.custom else "function"
        events.append(
            BlockStarted(
                self._index,
                call.block,
                "tool_call",
                call_id=call.id,
                name=call.name,
                tool=tool,
                opaque=call.opaque,
            )
        )
        if call.size:
            events.append(ArgumentsDelta(self._index, call.block, "".join(call.arguments)))

    def _end_call(self, call: _Call, events: list[Event]) -> None:
        if call.ended or call.block is None:
            return
        call.ended = True
        self.any_call = True
        self.complete_call = self.complete_call or call.custom or not call.size or call.is_whole()
        events.append(BlockEnded(self._index, call.block, call.content()))
