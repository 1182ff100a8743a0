"""Canonical events to the events of a client's stream.

What official clients check decides the details: every event named, `message_start` first and once, blocks one after
another with `index` from 0, deltas only into a block of their type, one `message_delta` with the whole usage, and no
`message_stop` after an error.

Moves of the block that is open:

    block begins            -> nothing yet: a block that says nothing is never shown
    delta                   -> the block is begun, then the delta
    reasoning ends          -> signature, end; without one it waits: a call that follows may have brought it
    call begins             -> begun at once; reasoning that waits takes its signature
    any other block ends    -> what was held back, end
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, assert_never

from oneapi_mw.canonical.blocks import (
    Block,
    Citation,
    HostedCall,
    HostedResult,
    Image,
    Opaque,
    Reasoning,
    ReasoningOpaque,
    Text,
    ToolCall,
)
from oneapi_mw.canonical.call import Call
from oneapi_mw.canonical.events import (
    ArgumentsDelta,
    AudioDelta,
    BlockEnded,
    BlockStarted,
    CitationAdded,
    CodeDelta,
    Ended,
    Event,
    Failed,
    Finished,
    ForeignEvent,
    HostedProgress,
    LogprobsAdded,
    OpaqueDelta,
    PartialImage,
    Ping,
    ReasoningDelta,
    RefusalDelta,
    Started,
    TextDelta,
    UsageReported,
)
from oneapi_mw.canonical.sequence import Sequencer
from oneapi_mw.errors import GatewayError
from oneapi_mw.jsontext import dumps
from oneapi_mw.tokens.estimate import estimate_tokens
from oneapi_mw.types import JsonObject
from oneapi_mw.usage import Usage
from oneapi_mw.wire.anthropic_messages.content import encode_citation, extras_of
from oneapi_mw.wire.anthropic_messages.errors import encode_error
from oneapi_mw.wire.anthropic_messages.finish import encode_finish
from oneapi_mw.wire.anthropic_messages.response import (
    answer_id,
    call_id,
    hosted_start,
    image_note,
    is_container,
    is_ours,
    is_redacted,
    knows_compaction,
)
from oneapi_mw.wire.anthropic_messages.usage import encode_usage
from oneapi_mw.wire.arguments import (
    WRAPPER_CLOSES,
    WRAPPER_OPENS,
    ArgumentsFilter,
    arguments_text,
    escaped,
)
from oneapi_mw.wire.envelope_text import TEXT_ALONE
from oneapi_mw.wire.errors import failed_midway
from oneapi_mw.wire.extras import merged
from oneapi_mw.wire.framing.sse import encode_sse
from oneapi_mw.wire.said import utf8_length

_TEXT: JsonObject = {"type": "text", "text": ""}
_THINKING: JsonObject = {"type": "thinking", "thinking": "", "signature": ""}


class _Open:
    """The block that came last, of those that have not ended for the client."""

    def __init__(self, started: BlockStarted) -> None:
        self.started = started
        self.begun = False
        self.filter = ArgumentsFilter() if started.kind == "tool_call" and started.tool == "function" else None
        self.fed = False  # arguments have come
        self.wrapping = False  # the text of a custom tool has begun


class MessagesStreamEncoder:
    """See `StreamEncoder`. The stream begins with the first thing to say; only one candidate has a place in it."""

    def __init__(self, call: Call, *, request_id: str = "") -> None:
        self._call = call
        self._request_id = request_id
        self._sequencer = Sequencer()
        self._started = Started()
        self._begun = False  # `message_start` was sent
        self._index = -1
        self._open: _Open | None = None
        self._waiting = False  # reasoning no vendor has signed is over, but not yet for the client
        self._origin: ReasoningOpaque | None = None  # where the text that waits is from, if nobody signs it
        self._ids: set[str] = set()
        self._spoken = False  # a refusal was said in words
        self._finish: Finished | None = None
        self._usage: UsageReported | None = None
        self._text_bytes = 0
        self._observing = False
        self._over = False

    def feed(self, events: Sequence[Event]) -> bytes:
        out: list[bytes] = []
        for event in self._sequencer.feed(events):
            if not self._over:
                self._encode(event, out)
        return b"".join(out)

    def observe(self, events: Sequence[Event]) -> None:
        self._observing = True
        self.feed(events)
        self._observing = False

    def close(self) -> bytes:
        """Nothing is held back once the stream has ended; one that was abandoned gets no ending here."""
        return b""

    def _encode(self, event: Event, out: list[bytes]) -> None:
        match event:
            case TextDelta(0, _, text) | RefusalDelta(0, _, text):
                self._say(text, out)
            case ReasoningDelta(0, _, text):
                self._think(text, out)
            case ArgumentsDelta(0, _, text):
                self._arguments(text, out)
            case BlockStarted(0):
                self._begin_block(event, out)
            case BlockEnded(0, _, content):
                self._end_block(content, out)
            case CitationAdded(0, _, citation):
                self._cite(citation, out)
            case AudioDelta(0, _, _, transcript):
                self._say(transcript, out)
            case Started():
                self._started = event
                self._begun = self._begun or self._observing
            case UsageReported():
                self._usage = event
            case Finished(0):
                self._settle(out)
                self._finish = event
            case Ended():
                self._end(event, out)
            case Failed(error):
                self._fail(error, out)
            case Ping():
                _emit(out, {"type": "ping"})
            case ForeignEvent():
                if event.format == "anthropic_messages" and isinstance(event.data, dict) and self._begun:
                    out.append(encode_sse(dumps(event.data), event.name.encode()))
            case OpaqueDelta() | CodeDelta() | PartialImage() | HostedProgress() | LogprobsAdded():
                pass  # signatures are told at the end of their block, the others have no place here
            case (
                TextDelta()
                | RefusalDelta()
                | ReasoningDelta()
                | ArgumentsDelta()
                | BlockStarted()
                | BlockEnded()
                | CitationAdded()
                | AudioDelta()
                | Finished()
            ):
                pass  # other candidates
            case _:
                assert_never(event)

    # Beginnings and endings of blocks.

    def _begin_message(self, out: list[bytes]) -> None:
        if self._begun:
            return
        self._begun = True
        usage = self._started.usage
        if usage is None or not usage.input_tokens:  # a zero would empty the context meters of clients
            usage = Usage(max(1, self._call.input_estimate), 1)
        message: JsonObject = {
            "id": answer_id(self._started.id, self._request_id),
            "type": "message",
            "role": "assistant",
            "model": self._call.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": encode_usage(usage),
        }
        _emit(out, {"type": "message_start", "message": merged(message, extras_of(self._started.extras))})

    def _begin_block(self, event: BlockStarted, out: list[bytes]) -> None:
        signature = event.opaque if event.kind == "tool_call" else None
        taken = self._settle(out, signature)
        state = self._open = _Open(event)
        if event.kind == "tool_call":
            if signature is not None and not taken:
                self._start(_THINKING, out)
                self._sign(signature, out)
                self._stop(out)
            block = {"type": "tool_use", "id": call_id(event.call_id or "", self._ids), "name": event.name or ""}
            self._start({**block, "input": {}}, out)
            state.begun = True

    def _settle(self, out: list[bytes], signature: ReasoningOpaque | None = None) -> bool:
        """End the reasoning that waits, with the signature of the call that follows if it has one. Returns whether
        there was any."""
        if not self._waiting:
            return False
        self._waiting = False
        signature, self._origin = signature or self._origin, None
        if signature is not None:
            self._sign(signature, out)
        self._stop(out)
        return True

    def _start(self, block: JsonObject, out: list[bytes]) -> None:
        self._begin_message(out)
        self._index += 1
        _emit(out, {"type": "content_block_start", "index": self._index, "content_block": block})

    def _delta(self, delta: JsonObject, out: list[bytes]) -> None:
        _emit(out, {"type": "content_block_delta", "index": self._index, "delta": delta})

    def _stop(self, out: list[bytes]) -> None:
        _emit(out, {"type": "content_block_stop", "index": self._index})

    def _ensure(self, block: JsonObject, out: list[bytes]) -> None:
        """Begin the open block, unless it has begun."""
        assert self._open is not None, "a delta without a block"
        if not self._open.begun:
            self._open.begun = True
            self._start(block, out)

    def _end_block(self, content: Block, out: list[bytes]) -> None:
        state, self._open = self._open, None
        if state is None:
            return
        match content:
            case Reasoning():
                self._end_reasoning(state, content, out)
                return
            case ToolCall():
                self._end_call(state, content, out)
            case HostedCall() if is_ours(content.id):
                self._show_hosted(state, content, out)
            case HostedResult(format="anthropic_messages", raw=dict(whole)):
                self._show_whole(whole, out)
            case Opaque(format="anthropic_messages", value=dict(whole)):
                self._show_whole(whole, out)
            case Image():
                note = image_note(content)
                self._start(_TEXT, out)
                self._delta({"type": "text_delta", "text": note}, out)
                self._stop(out)
            case _ if state.begun:
                self._stop(out)
            case _ if self._observing and isinstance(content, Text):
                self._index += 1  # the original has shown it all the same
            case _:
                pass

    # What blocks say.

    def _say(self, text: str, out: list[bytes]) -> None:
        if not text or self._open is None:
            return
        self._text_bytes += utf8_length(text)
        self._spoken = self._spoken or self._open.started.kind == "refusal"
        self._ensure(_TEXT, out)
        self._delta({"type": "text_delta", "text": text}, out)

    def _cite(self, citation: Citation, out: list[bytes]) -> None:
        encoded = encode_citation(citation)
        if encoded is not None and self._open is not None:
            self._ensure(_TEXT, out)
            self._delta({"type": "citations_delta", "citation": encoded}, out)

    def _think(self, text: str, out: list[bytes]) -> None:
        if not text:
            return
        self._text_bytes += utf8_length(text)
        self._ensure(_THINKING, out)
        self._delta({"type": "thinking_delta", "thinking": text}, out)

    def _sign(self, opaque: ReasoningOpaque, out: list[bytes]) -> None:
        self._delta({"type": "signature_delta", "signature": opaque.data}, out)

    def _end_reasoning(self, state: _Open, content: Reasoning, out: list[bytes]) -> None:
        if not state.begun and is_redacted(content):
            assert content.opaque is not None
            self._show_whole({"type": "redacted_thinking", "data": content.opaque.data}, out)
            return
        if not state.begun and content.text:  # no deltas came: it is all in the block
            self._open = state
            self._think(content.text, out)
            self._open = None
        if content.opaque is not None and content.opaque.vendor == TEXT_ALONE:
            self._waiting, self._origin = True, content.opaque
        elif content.opaque is not None:
            if not state.begun:
                self._start(_THINKING, out)
            self._sign(content.opaque, out)
            self._stop(out)
        elif state.begun:
            self._waiting = True
        elif self._observing:
            self._index += 1

    def _arguments(self, text: str, out: list[bytes]) -> None:
        state = self._open
        if state is None or state.started.kind != "tool_call":
            return  # of a hosted call: told when it ends
        self._text_bytes += utf8_length(text)
        state.fed = True
        if state.filter is not None:
            text = state.filter.feed(text)
        elif text:
            text = escaped(text) if state.wrapping else WRAPPER_OPENS + escaped(text)
            state.wrapping = True
        if text:
            self._delta({"type": "input_json_delta", "partial_json": text}, out)

    def _end_call(self, state: _Open, content: ToolCall, out: list[bytes]) -> None:
        if not state.fed and content.arguments:  # no deltas came: it is all in the block
            self._open = state
            self._arguments(content.arguments, out)
            self._open = None
        if state.filter is None:
            rest = WRAPPER_CLOSES if state.wrapping else WRAPPER_OPENS + WRAPPER_CLOSES
        else:
            rest = state.filter.close()
        if rest and rest != "{}":  # a call without input has begun with none
            self._delta({"type": "input_json_delta", "partial_json": rest}, out)
        self._stop(out)

    def _show_hosted(self, state: _Open, content: HostedCall, out: list[bytes]) -> None:
        self._start(hosted_start(content), out)
        if content.input:
            self._delta({"type": "input_json_delta", "partial_json": arguments_text(content.input)}, out)
        self._stop(out)

    def _show_whole(self, block: JsonObject, out: list[bytes]) -> None:
        self._start(block, out)
        self._stop(out)

    # Endings.

    def _end(self, event: Ended, out: list[bytes]) -> None:
        finish = self._finish
        if finish is None:
            finish = Finished(0, "content_filter" if event.prompt_block is not None else "unknown")
        if finish.reason == "error":
            self._fail(failed_midway(), out)
            return
        self._settle(out)
        self._begin_message(out)
        delta: Any = encode_finish(
            finish.reason,
            finish.stop_sequence,
            finish.detail,
            finish.explanation,
            spoken=self._spoken,
            blocked=event.prompt_block is not None,
            compaction=knows_compaction(self._call),
        )
        if is_container(event.container):
            delta["container"] = event.container
        delta = merged(delta, extras_of(finish.extras))
        _emit(out, {"type": "message_delta", "delta": delta, "usage": self._final_usage()})
        _emit(out, {"type": "message_stop"})
        self._over = True

    def _final_usage(self) -> JsonObject:
        if self._usage is not None:
            return encode_usage(self._usage.usage, extras_of(self._usage.extras))
        output = estimate_tokens(self._text_bytes)
        return encode_usage(Usage(max(1, self._call.input_estimate), output, source="estimated"))

    def _fail(self, error: GatewayError, out: list[bytes]) -> None:
        """Open blocks stay open: what was said is not all that was to be said."""
        self._over = True
        out.append(stream_error(error, request_id=self._request_id))


def stream_error(error: GatewayError, *, request_id: str) -> bytes:
    """The bytes that end a stream that has already begun."""
    return encode_sse(dumps(encode_error(error, request_id=request_id)), b"error")


def _emit(out: list[bytes], event: JsonObject) -> None:
    out.append(encode_sse(dumps(event), event["type"].encode()))
