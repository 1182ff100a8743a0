"""Canonical events to the chunks of a client's stream.

What official clients check decides the details: the role once and first, one call after another with `index` from
0, `finish_reason` in a chunk of its own, usage last, and no `[DONE]` after an error.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

from oneapi_mw.canonical.blocks import Citation, Image, Reasoning, ReasoningOpaque, Text, ToolCall
from oneapi_mw.canonical.call import Call
from oneapi_mw.canonical.events import (
    ArgumentsDelta,
    AudioDelta,
    BlockEnded,
    BlockKind,
    BlockStarted,
    CitationAdded,
    CodeDelta,
    Ended,
    Event,
    Failed,
    Finished,
    FinishReason,
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
from oneapi_mw.jsontext import dumps
from oneapi_mw.types import JsonObject
from oneapi_mw.wire.errors import failed_midway, openai_error
from oneapi_mw.wire.framing.sse import encode_sse
from oneapi_mw.wire.media import encode_url
from oneapi_mw.wire.openai_chat.content import encode_citation, encode_detail, encode_signature, extras_of
from oneapi_mw.wire.openai_chat.finish import encode_finish
from oneapi_mw.wire.openai_chat.response import REASONING, answer_id
from oneapi_mw.wire.openai_chat.usage import encode_usage

KEEP_ALIVE = b": keepalive\n\n"
"""A comment: an event without data is a parse error to official clients."""


class _Candidate:
    """What has been said for one candidate."""

    def __init__(self) -> None:
        self.content_length = 0
        self.text_start = 0  # length of the content before the text block that is open
        self.annotations: list[JsonObject] = []
        self.details = -1  # index in `reasoning_details` of the block that came last
        self.thought = False  # whether there was text of reasoning
        self.has_text = False  # whether the open block of reasoning has any
        self.gap = ""  # what separates the next reasoning from the one before
        self.images = 0
        self.refused = False
        self.open: BlockKind | None = None  # kind of the block that is open
        self.calls = -1  # index of the call that came last
        self.custom = False
        self.arguments = False  # whether that call has had any


class ChatStreamEncoder:
    """See `StreamEncoder`. The stream's first chunk waits for the first thing to say."""

    def __init__(self, call: Call, *, request_id: str = "", created: int = 0, reasoning: str = REASONING) -> None:
        """
        Args:
            reasoning: name of the member with the text of the reasoning.
        """
        self._reasoning = reasoning
        self._model = call.model
        self._usage_wanted = call.usage_wanted
        self._request_id = request_id
        self._created = created
        self._sequencer = Sequencer()
        self._head: JsonObject = {}
        self._start(Started())
        self._candidates: dict[int, _Candidate] = {}
        self._usage: UsageReported | None = None
        self._failed = False  # a candidate ended in an error
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
            case TextDelta(candidate, _, text):
                self._candidates[candidate].content_length += len(text)
                return self._chunk(candidate, {"content": text})
            case ReasoningDelta(candidate, _, text):
                return self._think(candidate, text)
            case ArgumentsDelta(candidate, _, text):
                return self._arguments(candidate, text)
            case BlockStarted():
                return self._begin_block(event)
            case BlockEnded():
                return self._end_block(event)
            case RefusalDelta(candidate, _, text):
                self._candidates[candidate].refused = True
                return self._chunk(candidate, {"refusal": text})
            case OpaqueDelta(candidate, _, opaque):
                return self._sign_call(candidate, opaque)
            case AudioDelta():
                return self._audio(event)
            case LogprobsAdded(candidate, _, logprobs):
                refused = self._candidates[candidate].open == "refusal"
                members = {"content": None, "refusal": list(logprobs)} if refused else {"content": list(logprobs)}
                return self._chunk(candidate, {}, logprobs={"refusal": None, **members})
            case Finished():
                return self._finish(event.candidate, event.reason)
            case Started():
                self._start(event)
                return b""
            case UsageReported():
                self._usage = event
                return b""
            case Ended():
                return self._end(event)
            case Failed(error):
                self._over = True
                return encode_sse(dumps(openai_error(error, request_id=self._request_id)))
            case Ping():
                return KEEP_ALIVE
            case ForeignEvent():
                return encode_sse(dumps(event.data)) if event.format == "openai_chat" else b""
            case CitationAdded() | CodeDelta() | PartialImage() | HostedProgress():
                return b""  # citations are told at the end, the others have no place here
            case _:
                assert_never(event)

    def _start(self, event: Started) -> None:
        self._head = {
            "id": answer_id(event.id or self._request_id),
            "object": "chat.completion.chunk",
            "created": event.created or self._created,
            "model": self._model,
        }
        if event.tier is not None:
            self._head["service_tier"] = event.tier
        if event.fingerprint is not None:
            self._head["system_fingerprint"] = event.fingerprint
        if event.usage is not None:
            self._usage = UsageReported(event.usage)

    def _open(self, index: int) -> bytes:
        """The role chunk of candidates that have none yet; lower ones first, as clients grow their list in order."""
        missing = [number for number in range(index + 1) if number not in self._candidates]
        for number in missing:
            self._candidates[number] = _Candidate()
        return b"".join([self._chunk(number, {"role": "assistant", "content": ""}) for number in missing])

    def _chunk(
        self, candidate: int, delta: JsonObject, *, finish: str | None = None, logprobs: JsonObject | None = None
    ) -> bytes:
        choice: JsonObject = {"index": candidate, "delta": delta, "finish_reason": finish}
        if logprobs is not None:
            choice["logprobs"] = logprobs
        return encode_sse(dumps({**self._head, "choices": [choice]}))

    def _begin_block(self, event: BlockStarted) -> bytes:
        opening = self._open(event.candidate)
        state = self._candidates[event.candidate]
        state.open = event.kind
        if event.kind == "text":
            state.text_start = state.content_length
        elif event.kind == "reasoning":
            state.gap = "\n\n" if state.thought else ""
            state.has_text = False
            state.details += 1
        elif event.kind == "tool_call":
            state.calls += 1
            state.custom, state.arguments = event.tool == "custom", False
            body = {"name": event.name, "input" if state.custom else "arguments": ""}
            call: JsonObject = {"index": state.calls, "id": event.call_id, "type": event.tool, event.tool: body}
            if event.opaque is not None:
                call["extra_content"] = encode_signature(event.opaque)
            return opening + self._chunk(event.candidate, {"tool_calls": [call]})
        return opening

    def _arguments(self, candidate: int, text: str) -> bytes:
        state = self._candidates[candidate]
        state.arguments = True
        body = {"custom": {"input": text}} if state.custom else {"function": {"arguments": text}}
        return self._chunk(candidate, {"tool_calls": [{"index": state.calls, **body}]})

    def _end_block(self, event: BlockEnded) -> bytes:
        state = self._candidates[event.candidate]
        match event.content:
            case Text(citations=citations, opaque=opaque):
                for citation in citations:
                    self._cite(state, citation)
                state.details += opaque is not None
                return self._detail(event.candidate, opaque, told=False)
            case Reasoning(opaque=opaque):
                return self._detail(event.candidate, opaque, told=state.has_text)
            case Image(source=source) if (url := encode_url(source)) is not None:
                image = {"type": "image_url", "image_url": {"url": url}, "index": state.images}
                state.images += 1
                return self._chunk(event.candidate, {"images": [image]})
            case ToolCall(kind="function") if not state.arguments:
                return self._arguments(event.candidate, "{}")
            case _:
                return b""

    def _think(self, candidate: int, text: str) -> bytes:
        state = self._candidates[candidate]
        text, state.gap = state.gap + text, ""
        state.thought = state.has_text = True
        return self._chunk(candidate, {self._reasoning: text})

    def _sign_call(self, candidate: int, opaque: ReasoningOpaque) -> bytes:
        """The signature of the open call, beside it. Any other block's comes with its end, once it is settled."""
        state = self._candidates[candidate]
        if state.open != "tool_call":
            return b""
        body: JsonObject = {"custom": {"input": ""}} if state.custom else {"function": {"arguments": ""}}
        call = {"index": state.calls, **body, "extra_content": encode_signature(opaque)}
        return self._chunk(candidate, {"tool_calls": [call]})

    def _detail(self, candidate: int, opaque: ReasoningOpaque | None, *, told: bool) -> bytes:
        """An opaque part as an entry of its own. `told`: the text it is about has been streamed."""
        if opaque is None:
            return b""
        entry = encode_detail(opaque, self._candidates[candidate].details, None if told else "")
        return self._chunk(candidate, {"reasoning_details": [entry]})

    def _audio(self, event: AudioDelta) -> bytes:
        members = {
            "id": event.audio_id,
            "data": event.data or None,
            "transcript": event.transcript or None,
            "expires_at": event.expires_at,
        }
        audio = {name: value for name, value in members.items() if value is not None}
        return self._chunk(event.candidate, {"audio": audio})

    def _cite(self, state: _Candidate, citation: Citation) -> None:
        annotation = encode_citation(citation, state.text_start, state.content_length - state.text_start)
        if annotation is not None and annotation not in state.annotations:
            state.annotations.append(annotation)

    def _finish(self, candidate: int, reason: FinishReason) -> bytes:
        opening = self._open(candidate)
        if reason == "error":
            self._failed = True
            return opening  # an error event says it
        state = self._candidates[candidate]
        cited = self._chunk(candidate, {"annotations": state.annotations}) if state.annotations else b""
        return opening + cited + self._chunk(candidate, {}, finish=encode_finish(reason, refused=state.refused))

    def _end(self, event: Ended) -> bytes:
        blocked = self._finish(0, "content_filter") if event.prompt_block and not self._candidates else b""
        self._over = True
        if self._failed:
            return encode_sse(dumps(openai_error(failed_midway(), request_id=self._request_id)))
        if self._usage is None or not self._usage_wanted:
            return blocked + b"data: [DONE]\n\n"
        usage = encode_usage(self._usage.usage, extras_of(self._usage.extras))
        return blocked + encode_sse(dumps({**self._head, "choices": [], "usage": usage})) + b"data: [DONE]\n\n"
