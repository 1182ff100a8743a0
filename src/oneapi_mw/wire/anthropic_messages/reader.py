"""Events of a stream to canonical events.

`SignificantReader` finds what every stage needs to know: that the answer began, its usage, how it ended.
`MessageReader` finds all of it. Both judge beginning, usage and ending by the same code, so they agree.

Moves of `MessageReader`:

    message_start          -> the answer begins; a second one only reports usage
    anything else before   -> the answer begins without a name
    content_block_start    -> a block of that index that is still open ends; a block begins
    content_block_delta    -> into the block of its index; one that does not fit ends it and begins its own
    content_block_stop     -> the block ends
    message_delta          -> usage; what is still open ends once it says how the answer ended
    message_stop           -> told by the decoder: the ending, and `Ended`
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from oneapi_mw.canonical.blocks import (
    Block,
    Citation,
    Extras,
    HostedCall,
    Reasoning,
    ReasoningText,
    Text,
    ToolCall,
)
from oneapi_mw.canonical.events import (
    ArgumentsDelta,
    BlockEnded,
    BlockKind,
    BlockStarted,
    CitationAdded,
    Ended,
    Event,
    Finished,
    ForeignEvent,
    OpaqueDelta,
    Ping,
    ReasoningDelta,
    Started,
    TextDelta,
    UsageReported,
)
from oneapi_mw.errors import InvalidRequest
from oneapi_mw.jsontext import loads
from oneapi_mw.usage import Usage
from oneapi_mw.wire.anthropic_messages.content import (
    CODE,
    NAME,
    decode_block,
    decode_citation,
    decode_hosted_result,
    extras,
    is_hosted_call,
    is_hosted_result,
    opaque,
)
from oneapi_mw.wire.anthropic_messages.finish import decode_finish, with_calls
from oneapi_mw.wire.anthropic_messages.usage import decode_usage, merge_reports, says_zero, tier_of, unmapped_usage
from oneapi_mw.wire.arguments import arguments_text
from oneapi_mw.wire.counts import read_count
from oneapi_mw.wire.extras import mapped
from oneapi_mw.wire.fields import Fields
from oneapi_mw.wire.ids import synthetic_id, unique_id

MAX_BLOCKS = 10_000
"""Blocks beyond this are an attack on whoever keeps a list of them."""
MAX_ACCUMULATED_CHARS = 32 * 1024 * 1024

_MESSAGE = mapped(
    "id",
    "type",
    "role",
    "model",
    "content",
    "stop_reason",
    "stop_sequence",
    "stop_details",
    "usage",
    "container",
)
_DELTA = mapped("stop_reason", "stop_sequence", "stop_details", "container")
_TEXTS: Mapping[str, tuple[BlockKind, str]] = {
    "text_delta": ("text", "text"),
    "thinking_delta": ("reasoning", "thinking"),
}


class MalformedEventError(ValueError):
    """An event of a known kind with a value that cannot be."""


class SignificantReader:
    """Beginning, usage and ending of a stream; its content is not looked at.

    Args:
        model: name to report in place of the upstream's.
    """

    def __init__(self, model: str | None = None) -> None:
        self._model = model
        self._report: Mapping[str, Any] = {}
        self._usage: Usage | None = None
        self._zero = False
        self._finish: Finished | None = None
        self._container: Any = None
        self.started = False
        self.reports_output = False
        """Whether it was told how much there is in the end. What the beginning tells is a first few tokens."""

    @property
    def finished(self) -> bool:
        """Whether the answer has said how it ended."""
        return self._finish is not None

    def read(self, event: Mapping[str, Any]) -> list[Event]:
        """Events of one parsed event, in order. Raises `MalformedEventError`."""
        kind = event.get("type")
        events: list[Event] = []
        if kind == "message_start":
            self._message(_object(event, "message"), events)
        elif kind == "ping":
            self._ping(events)
        elif kind == "message_delta":
            self._begin({}, events)
            self._message_delta(_object(event, "delta"), event.get("usage"), events)
        else:
            self._other(kind, event, events)
        return events

    def _message(self, message: Mapping[str, Any], events: list[Event]) -> None:
        report: list[Event] = []
        usage = message.get("usage")
        if isinstance(usage, dict):
            self._note_usage(usage, report)
        self._begin(message, events)
        events += report
        if message.get("container") is not None:
            self._container = message["container"]

    def _begin(self, message: Mapping[str, Any], events: list[Event]) -> None:
        if self.started:
            return
        self.started = True
        text = {key: value for key, value in message.items() if isinstance(value, str)}
        events.append(
            Started(
                text.get("id", ""),
                self._model if self._model is not None else text.get("model", ""),
                tier=tier_of(self._report),
                usage=self._usage,
                extras=extras(message, _MESSAGE),
            )
        )

    def _message_delta(self, delta: Mapping[str, Any], usage: object, events: list[Event]) -> None:
        self._finish = decode_finish(delta) or self._finish
        rest = extras(delta, _DELTA)
        if rest and self._finish is not None:
            self._finish = replace(self._finish, extras=rest)
        if delta.get("container") is not None:
            self._container = delta["container"]
        if isinstance(usage, dict):
            self.reports_output = self.reports_output or read_count(usage.get("output_tokens")) is not None
            self._note_usage(usage, events)
            self._zero = says_zero(self._report)

    @property
    def says_zero(self) -> bool:
        """Whether the usage that was reported in the end is that there was none. Some proxies begin with zeros: alone
        these mean nothing."""
        return self._zero and self._usage is None

    @property
    def report(self) -> Mapping[str, Any]:
        """Usage as the upstream has told it by now."""
        return self._report

    def _note_usage(self, report: Mapping[str, Any], events: list[Event]) -> None:
        self._report = merge_reports(self._report, report)
        usage = decode_usage(self._report)
        if usage is None or usage == self._usage:
            return
        self._usage = usage
        rest = unmapped_usage(self._report)
        usage_extras: Extras = {NAME: rest} if rest else {}
        events.append(UsageReported(usage, usage_extras))

    def _ping(self, events: list[Event]) -> None:
        """Nobody needs to know."""

    def _other(self, kind: object, event: Mapping[str, Any], events: list[Event]) -> None:
        if kind in ("content_block_start", "content_block_delta"):
            self._begin({}, events)

    def end(self) -> list[Event]:
        """The stream is complete: how the answer ended, and `Ended`."""
        finish = self._finish or Finished(0, "unknown")
        return [finish, Ended(tier=tier_of(self._report), container=self._container)]


class MessageReader(SignificantReader):
    """Every event of a stream."""

    def __init__(self, model: str | None = None) -> None:
        super().__init__(model)
        self._open: dict[int, _Block] = {}
        self._blocks = 0
        self._ids: set[str] = set()
        self._size = 0
        self._complete_call = False
        self._any_call = False

    def _message(self, message: Mapping[str, Any], events: list[Event]) -> None:
        first = not self.started
        super()._message(message, events)
        content = message.get("content") if first else None
        for index, block in enumerate(content if isinstance(content, list) else ()):
            if not isinstance(block, dict):
                raise MalformedEventError("a block is not an object")
            self._start(index, block, events)
            self._stop(index, events)

    def _message_delta(self, delta: Mapping[str, Any], usage: object, events: list[Event]) -> None:
        super()._message_delta(delta, usage, events)
        if self._finish is not None:
            self._stop_all(events)

    def _ping(self, events: list[Event]) -> None:
        if self.started:
            events.append(Ping())

    def _other(self, kind: object, event: Mapping[str, Any], events: list[Event]) -> None:
        super()._other(kind, event, events)
        if kind == "content_block_start":
            self._start(_index(event), _object(event, "content_block"), events)
        elif kind == "content_block_delta":
            self._delta(_index(event), _object(event, "delta"), events)
        elif kind == "content_block_stop":
            self._stop(_index(event), events)
        elif kind != "message_stop" and isinstance(kind, str) and self.started:
            events.append(ForeignEvent(NAME, kind, dict(event)))

    def _start(self, index: int, block: Mapping[str, Any], events: list[Event]) -> None:
        if self._finish is not None:
            return  # what comes after the ending is nobody's
        if block.get("type") == "tool_use" and not block.get("name"):
            return  # a call of nothing cannot be made
        self._stop_all(events)  # blocks follow one another; whoever forgot to say so has ended by now
        self._open[index] = self._new(block, events)

    def _new(self, block: Mapping[str, Any], events: list[Event]) -> _Block:
        self._blocks += 1
        if self._blocks > MAX_BLOCKS:
            raise MalformedEventError("too many blocks")
        kind = block.get("type")
        if not isinstance(kind, str):
            raise MalformedEventError("a block without a type")
        if kind == "tool_use" or is_hosted_call(kind):
            call_id = block.get("id")
            if not isinstance(call_id, str) or not call_id:
                call_id = synthetic_id(self._report, self._blocks, block.get("name"))
            call_id = unique_id(call_id, self._ids)
            self._ids.add(call_id)
            block = {**block, "id": call_id}
        begun = _block(kind, self._blocks - 1, block)
        events.append(begun.started())
        begun.initial(events)
        self._count(begun)
        return begun

    def _delta(self, index: int, delta: Mapping[str, Any], events: list[Event]) -> None:
        if self._finish is not None:
            return
        kind = delta.get("type")
        block = self._open.get(index)
        if block is None or not block.takes(kind):
            shape = _SHAPES.get(kind) if isinstance(kind, str) else None
            if shape is None:
                return  # a delta nobody knows, or arguments of a call that was never named
            self._stop_all(events)
            block = self._open[index] = self._new(shape, events)
        block.delta(delta, events)
        self._count(block)

    def _count(self, block: _Block) -> None:
        self._size += block.grown
        block.grown = 0
        if self._size > MAX_ACCUMULATED_CHARS:
            raise MalformedEventError("the answer is too large to convert")

    def _stop(self, index: int, events: list[Event]) -> None:
        block = self._open.pop(index, None)
        if block is None:
            return
        content = block.ended(events)
        if isinstance(content, ToolCall):
            self._any_call = True
            self._complete_call = self._complete_call or _is_object(content.arguments)
        events.append(BlockEnded(0, block.number, content))

    def _stop_all(self, events: list[Event]) -> None:
        for index in list(self._open):
            self._stop(index, events)

    def end(self) -> list[Event]:
        events: list[Event] = []
        self._stop_all(events)
        finish, ended = super().end()
        assert isinstance(finish, Finished)
        judged = with_calls(finish, complete=self._complete_call, any_call=self._any_call)
        return [*events, replace(judged, extras=finish.extras), ended]


_SHAPES: Mapping[str, Mapping[str, Any]] = {
    "text_delta": {"type": "text"},
    "citations_delta": {"type": "text"},
    "thinking_delta": {"type": "thinking"},
    "signature_delta": {"type": "thinking"},
}
"""The block a delta needs, should nobody have begun it."""


def _object(event: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = event.get(name)
    if not isinstance(value, dict):
        raise MalformedEventError(f"{name} is not an object")
    return value


def _index(event: Mapping[str, Any]) -> int:
    index = event.get("index", 0)
    if type(index) is not int:
        raise MalformedEventError("the index of a block is not a number")
    return index


def _is_object(text: str) -> bool:
    try:
        return isinstance(loads(text.encode("utf-8", "surrogatepass")), dict)
    except ValueError:
        return False


def _block(kind: str, number: int, block: Mapping[str, Any]) -> _Block:
    if kind == "text":
        return _Text(number, block)
    if kind in ("thinking", "redacted_thinking"):
        return _Thinking(number, block)
    if kind == "tool_use" or is_hosted_call(kind):
        return _Call(number, block)
    return _Whole(number, block)


class _Block:
    """A block that is open."""

    def __init__(self, number: int, block: Mapping[str, Any]) -> None:
        self.number = number
        self.block = block
        self.grown = 0
        """Characters since they were counted last."""

    def started(self) -> BlockStarted:
        """How it begins."""
        raise NotImplementedError  # every kind of block has its own

    def initial(self, events: list[Event]) -> None:
        """What the block had from the start."""

    def takes(self, kind: object) -> bool:
        """Whether a delta of `kind` belongs into it."""
        return False

    def delta(self, delta: Mapping[str, Any], events: list[Event]) -> None:
        """A delta it takes."""

    def ended(self, events: list[Event]) -> Block:
        """What it has come to; adds what was held back to `events`."""
        raise NotImplementedError  # every kind of block has its own


class _Text(_Block):
    def __init__(self, number: int, block: Mapping[str, Any]) -> None:
        super().__init__(number, block)
        self._parts: list[str] = []
        self._citations: list[Citation] = []

    def started(self) -> BlockStarted:
        return BlockStarted(0, self.number, "text")

    def initial(self, events: list[Event]) -> None:
        self._say(self.block.get("text"), events)
        citations = self.block.get("citations")
        for citation in citations if isinstance(citations, list) else ():
            self._cite(citation, events)

    def takes(self, kind: object) -> bool:
        return kind in ("text_delta", "citations_delta")

    def delta(self, delta: Mapping[str, Any], events: list[Event]) -> None:
        if delta["type"] == "text_delta":
            self._say(delta.get("text"), events)
        else:
            self._cite(delta.get("citation"), events)

    def _say(self, text: object, events: list[Event]) -> None:
        if isinstance(text, str) and text:
            self._parts.append(text)
            self.grown += len(text)
            events.append(TextDelta(0, self.number, text))

    def _cite(self, value: object, events: list[Event]) -> None:
        citation = decode_citation(value)
        if citation is not None:
            self._citations.append(citation)
            events.append(CitationAdded(0, self.number, citation))

    def ended(self, events: list[Event]) -> Text:
        return Text("".join(self._parts), tuple(self._citations))


class _Thinking(_Block):
    """Reasoning that can be read, signed at its end; or redacted, whole from the start."""

    def __init__(self, number: int, block: Mapping[str, Any]) -> None:
        super().__init__(number, block)
        self._parts: list[str] = []
        data = block.get("data")
        self._redacted = isinstance(data, str) and bool(data)
        self._opaque = opaque(str(data), "encrypted") if self._redacted else None

    def started(self) -> BlockStarted:
        return BlockStarted(0, self.number, "reasoning", opaque=self._opaque)

    def initial(self, events: list[Event]) -> None:
        self._think(self.block.get("thinking"), events)
        self._sign(self.block.get("signature"), events)

    def takes(self, kind: object) -> bool:
        return not self._redacted and kind in ("thinking_delta", "signature_delta")

    def delta(self, delta: Mapping[str, Any], events: list[Event]) -> None:
        if delta["type"] == "thinking_delta":
            self._think(delta.get("thinking"), events)
        else:
            self._sign(delta.get("signature"), events)

    def _think(self, text: object, events: list[Event]) -> None:
        if isinstance(text, str) and text:
            self._parts.append(text)
            self.grown += len(text)
            events.append(ReasoningDelta(0, self.number, text))

    def _sign(self, signature: object, events: list[Event]) -> None:
        if isinstance(signature, str) and signature:
            self.grown += len(signature)
            self._opaque = opaque(signature, "signature")
            events.append(OpaqueDelta(0, self.number, self._opaque))

    def ended(self, events: list[Event]) -> Reasoning:
        text = "".join(self._parts)
        return Reasoning((ReasoningText(text),) if text else (), self._opaque)


class _Call(_Block):
    """A call by the client's tool or the vendor's. The input it began with counts when no other comes."""

    def __init__(self, number: int, block: Mapping[str, Any]) -> None:
        super().__init__(number, block)
        self._parts: list[str] = []
        self._decoded = _decoded(block)

    def started(self) -> BlockStarted:
        call = self._decoded
        if isinstance(call, HostedCall):
            return BlockStarted(0, self.number, "hosted_call", call_id=call.id, name=call.name, hosted=call.kind)
        assert isinstance(call, ToolCall)
        return BlockStarted(0, self.number, "tool_call", call_id=call.id, name=call.name)

    def takes(self, kind: object) -> bool:
        return kind == "input_json_delta"

    def delta(self, delta: Mapping[str, Any], events: list[Event]) -> None:
        text = delta.get("partial_json")
        if isinstance(text, str) and text:
            self._parts.append(text)
            self.grown += len(text)
            events.append(ArgumentsDelta(0, self.number, text))

    def ended(self, events: list[Event]) -> Block:
        text = "".join(self._parts)
        if not text:
            text = arguments_text(self.block.get("input") or {})
            events.append(ArgumentsDelta(0, self.number, text))
        if isinstance(self._decoded, ToolCall):
            return replace(self._decoded, arguments=text)
        assert isinstance(self._decoded, HostedCall)
        try:
            return replace(self._decoded, input=loads(text.encode("utf-8", "surrogatepass")))
        except ValueError:
            return replace(self._decoded, input=text)


class _Whole(_Block):
    """A block that comes whole: results of hosted tools, and kinds nobody here knows."""

    def started(self) -> BlockStarted:
        kind = str(self.block["type"])
        if is_hosted_result(kind) and isinstance(self.block.get("tool_use_id"), str):
            result = decode_hosted_result(self.block)
            return BlockStarted(0, self.number, "hosted_result", call_id=result.call_id, hosted=result.kind)
        return BlockStarted(0, self.number, "opaque")

    def takes(self, kind: object) -> bool:
        # the only such block that grows, and only by whole members
        return isinstance(kind, str) and kind == f"{self.block['type']}_delta"

    def delta(self, delta: Mapping[str, Any], events: list[Event]) -> None:
        grown = dict(self.block)
        for name, value in delta.items():
            if name == "type" or value is None:
                continue
            known = grown.get(name)
            if isinstance(known, str) and isinstance(value, str) and name == "content":
                value = known + value
            grown[name] = value
            self.grown += len(value) if isinstance(value, str) else 0
        self.block = grown

    def ended(self, events: list[Event]) -> Block:
        return _decoded(self.block)


def _decoded(block: Mapping[str, Any]) -> Block:
    try:
        return decode_block(Fields(dict(block), "content", code=CODE))
    except InvalidRequest as exc:
        raise MalformedEventError(exc.message) from None
