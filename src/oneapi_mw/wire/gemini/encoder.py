"""Canonical events to the chunks of a client's stream.

What Google's SDK checks decides the details: `data: ` with its space and nothing else of server-sent events, a part
and a role in every chunk, calls whole, the ending and usage together in the last chunk, and `error` as the first key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, assert_never

from oneapi_mw.canonical.blocks import Block, Citation, Opaque, Reasoning, ReasoningOpaque, Refusal, Text, ToolCall
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
from oneapi_mw.canonical.response import Candidate
from oneapi_mw.canonical.sequence import Sequencer
from oneapi_mw.errors import GatewayError
from oneapi_mw.jsontext import dumps_well_formed
from oneapi_mw.types import JsonObject
from oneapi_mw.wire.arguments import answer_object
from oneapi_mw.wire.errors import failed_midway
from oneapi_mw.wire.extras import merged
from oneapi_mw.wire.framing.sse import encode_sse
from oneapi_mw.wire.gemini.call import wants_sse, wants_thoughts
from oneapi_mw.wire.gemini.content import NAME, encode_signature, extras_of, is_enveloped
from oneapi_mw.wire.gemini.errors import encode_error
from oneapi_mw.wire.gemini.finish import encode_finish
from oneapi_mw.wire.gemini.grounding import encode_grounding
from oneapi_mw.wire.gemini.response import EMPTY, PartWriter, answer_id, endings, is_blocked, prompt_feedback
from oneapi_mw.wire.gemini.usage import encode_usage

KEEP_ALIVE = b"\n"
"""A bare blank line: comments and other fields of server-sent events are errors to the SDK."""


class _Framing:
    """Chunks as server-sent events."""

    def chunk(self, body: JsonObject) -> bytes:
        return encode_sse(dumps_well_formed(body))

    def end(self) -> bytes:
        return b""


class _ArrayFraming(_Framing):
    """Chunks as elements of one JSON array."""

    def __init__(self) -> None:
        self._begun = False

    def chunk(self, body: JsonObject) -> bytes:
        lead = b",\r\n" if self._begun else b"["
        self._begun = True
        return lead + dumps_well_formed(body)

    def end(self) -> bytes:
        return b"]" if self._begun else b"[]"


class _CandidateState:
    """What has been said for one candidate."""

    def __init__(self, *, thoughts: bool) -> None:
        self.writer = PartWriter(thoughts=thoughts)
        self.cited: list[tuple[int, int, str, Sequence[Citation]]] = []
        self.text_bytes = 0
        self.logprobs: list[Mapping[str, Any]] = []
        self.opaque: ReasoningOpaque | None = None  # of the block that is open
        self.held: list[ToolCall] = []  # from the first call on whose arguments are not whole: the ending decides
        self.refused = False
        self.said = False


def _is_malformed(call: ToolCall) -> bool:
    return call.kind == "function" and "_malformed_arguments" in answer_object(call.arguments)


class GeminiStreamEncoder:
    """See `StreamEncoder`."""

    def __init__(self, call: Call, *, request_id: str = "") -> None:
        self._model = call.model
        self._request_id = request_id
        self._thoughts = wants_thoughts(call)
        self._framing = _Framing() if wants_sse(call) else _ArrayFraming()
        self._sequencer = Sequencer()
        self._head: JsonObject = {}
        self._start(Started())
        self._candidates: dict[int, _CandidateState] = {}
        self._endings: dict[int, Finished] = {}
        self._usage: UsageReported | None = None
        self._tier: str | None = None
        self._over = False

    def feed(self, events: Sequence[Event]) -> bytes:
        return b"".join([self._encode(event) for event in self._sequencer.feed(events)])

    def observe(self, events: Sequence[Event]) -> None:
        self.feed(events)

    def close(self) -> bytes:
        """Nothing is held back once the stream has ended; one that was abandoned gets no ending here."""
        return b""

    def _encode(self, event: Event) -> bytes:
        if self._over:
            return b""
        match event:
            case TextDelta(candidate, _, text) | RefusalDelta(candidate, _, text):
                return self._text(candidate, text)
            case ReasoningDelta(candidate, _, text):
                return self._think(candidate, text)
            case BlockStarted():
                self._state(event.candidate).opaque = event.opaque
                return b""
            case BlockEnded():
                return self._end_block(event)
            case OpaqueDelta(candidate, _, opaque):
                self._state(candidate).opaque = opaque
                return b""
            case LogprobsAdded(candidate, _, logprobs):
                self._state(candidate).logprobs += logprobs
                return b""
            case Finished():
                self._endings[event.candidate] = event
                return self._end_candidate(event)
            case Started():
                self._start(event)
                return b""
            case UsageReported():
                self._usage = event
                return b""
            case Ended():
                return self._end(event)
            case Failed(error):
                return self._fail(error)
            case Ping():
                return KEEP_ALIVE
            case ForeignEvent():
                known = event.format == NAME and isinstance(event.data, dict)
                return self._framing.chunk(event.data) if known else b""
            case ArgumentsDelta() | AudioDelta() | CodeDelta() | CitationAdded() | PartialImage() | HostedProgress():
                return b""  # comes whole at the end of its block, or with the ending
            case _:
                assert_never(event)

    def _start(self, event: Started) -> None:
        self._head = {"modelVersion": self._model, "responseId": answer_id(event.id or self._request_id)}
        self._tier = event.tier
        if event.usage is not None:
            self._usage = UsageReported(event.usage)

    def _state(self, candidate: int) -> _CandidateState:
        state = self._candidates.get(candidate)
        if state is None:
            state = self._candidates[candidate] = _CandidateState(thoughts=self._thoughts)
        return state

    def _chunk(self, candidate: int, parts: list[JsonObject]) -> bytes:
        if not parts:
            return b""
        self._state(candidate).said = True
        content = {"role": "model", "parts": parts}
        return self._framing.chunk({"candidates": [{"index": candidate, "content": content}], **self._head})

    def _parts(self, candidate: int, block: Block) -> bytes:
        writer = self._state(candidate).writer
        parts = writer.write(block)
        writer.parts.clear()
        return self._chunk(candidate, parts)

    # Blocks.

    def _text(self, candidate: int, text: str) -> bytes:
        return self._parts(candidate, Text(text)) if text else b""

    def _think(self, candidate: int, text: str) -> bytes:
        return self._chunk(candidate, [{"text": text, "thought": True}]) if self._thoughts and text else b""

    def _end_block(self, event: BlockEnded) -> bytes:
        state, candidate = self._state(event.candidate), event.candidate
        opaque, state.opaque = state.opaque, None
        match event.content:
            case Text(text=text, citations=citations):
                state.cited.append((0, state.text_bytes, text, citations))
                state.text_bytes += len(text.encode("utf-8", "surrogatepass"))
                return self._signed(candidate, event.content.opaque or opaque)
            case Refusal():
                state.refused = True
                return b""
            case Reasoning():
                opaque = event.content.opaque or opaque
                if opaque is None:
                    return b""
                if self._thoughts and event.content.text and not is_enveloped(opaque):
                    return self._sign_thought(candidate, opaque)
                state.writer.hold(opaque)
                return b""
            case ToolCall() as call if state.held or _is_malformed(call):
                state.held.append(call)
                return b""
            case Opaque(format="gemini") | _:
                return self._parts(candidate, event.content)

    def _signed(self, candidate: int, opaque: ReasoningOpaque | None) -> bytes:
        """The signature of a text that has been sent: on an empty text behind it."""
        if opaque is None or is_enveloped(opaque):
            return b""
        return self._parts(candidate, Text("", opaque=opaque))

    def _sign_thought(self, candidate: int, opaque: ReasoningOpaque) -> bytes:
        """Gemini's own signature of a thought that has been sent, on an empty piece of it."""
        signature = encode_signature(opaque)
        if signature is None:
            return b""
        return self._chunk(candidate, [{"text": "", "thought": True, "thoughtSignature": signature}])

    # Endings.

    def _end_candidate(self, event: Finished) -> bytes:
        state = self._state(event.candidate)
        held, state.held = state.held, []
        if event.reason in ("length", "content_filter"):  # a call that was cut off must not run
            held = [call for call in held if not _is_malformed(call)]
        return b"".join([self._parts(event.candidate, call) for call in held])

    def _end(self, event: Ended) -> bytes:
        self._over = True
        body: JsonObject = {}
        endings = [self._endings[index] for index in sorted(self._endings)]
        if any(ending.reason == "error" for ending in endings):
            return self._fail(failed_midway())
        candidates = [self._ending(ending) for ending in endings or [Finished(0, "unknown")]]
        said = any(state.said for state in self._candidates.values())
        said = said or any(candidate["content"]["parts"] != [EMPTY] for candidate in candidates)
        found = [
            Candidate(finish=ending.reason, finish_detail=ending.detail, index=ending.candidate) for ending in endings
        ]
        if not said and is_blocked(event.prompt_block, found):
            explanation = next((ending.explanation for ending in endings), None)
            body["promptFeedback"] = prompt_feedback(event.prompt_block, explanation)
        else:
            body["candidates"] = candidates
        if self._usage is not None:
            tier = event.tier or self._tier
            body["usageMetadata"] = encode_usage(self._usage.usage, extras_of(self._usage.extras), tier)
        return self._framing.chunk({**body, **self._head}) + self._framing.end()

    def _ending(self, ending: Finished) -> JsonObject:
        state = self._state(ending.candidate)
        signed = state.writer.close()
        body: JsonObject = {
            "index": ending.candidate,
            "content": {"role": "model", "parts": signed or [EMPTY]},
            "finishReason": encode_finish(ending.reason, ending.detail, refused=state.refused),
        }
        grounding = ending.grounding or encode_grounding(state.cited)
        body.update(endings(ending.explanation, ending.safety, grounding, state.logprobs))
        return merged(body, extras_of(ending.extras))

    def _fail(self, error: GatewayError) -> bytes:
        self._over = True
        body = encode_error(error, request_id=self._request_id, streaming=True)
        return self._framing.chunk(body) + self._framing.end()
