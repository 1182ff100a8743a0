"""Canonical events to the chunks of a client's stream: text alone, its log probabilities in the same chunk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

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
from oneapi_mw.wire.errors import openai_error
from oneapi_mw.wire.framing.sse import encode_sse
from oneapi_mw.wire.openai_chat.content import extras_of
from oneapi_mw.wire.openai_chat.encoder import KEEP_ALIVE
from oneapi_mw.wire.openai_chat.usage import encode_usage
from oneapi_mw.wire.openai_completions.logprobs import encode_logprobs
from oneapi_mw.wire.openai_completions.response import answer_id, echo_of, echoes, finish_word


class _Candidate:
    """What has been said for one candidate."""

    __slots__ = ("offset", "refused")

    def __init__(self, offset: int) -> None:
        self.offset = offset  # characters ahead of the next token with a log probability
        self.refused = False


class CompletionStreamEncoder:
    """See `StreamEncoder`."""

    def __init__(self, call: Call, *, request_id: str = "", created: int = 0) -> None:
        self._call = call
        self._echo = echoes(call)
        self._request_id = request_id
        self._created = created
        self._sequencer = Sequencer()
        self._head: JsonObject = {}
        self._start(Started())
        self._candidates: dict[int, _Candidate] = {}
        self._said: tuple[int, str] | None = None  # text that its log probabilities may follow
        self._usage: UsageReported | None = None
        self._over = False

    def feed(self, events: Sequence[Event]) -> bytes:
        parts = [self._encode(event) for event in self._sequencer.feed(events)]
        return b"".join([*parts, self._flush()])

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
                return self._say(candidate, text)
            case RefusalDelta(candidate, _, text):
                told = self._say(candidate, text)
                self._candidates[candidate].refused = True
                return told
            case LogprobsAdded(candidate, _, logprobs):
                return self._score(candidate, logprobs)
            case Finished():
                return self._flush() + self._finish(event.candidate, event.reason)
            case Started():
                self._start(event)
                return b""
            case UsageReported():
                self._usage = event
                return b""
            case Ended():
                return self._flush() + self._end(event)
            case Failed(error):
                self._over = True
                return self._flush() + encode_sse(dumps(openai_error(error, request_id=self._request_id)))
            case Ping():
                return KEEP_ALIVE
            case (
                BlockStarted()
                | BlockEnded()
                | ReasoningDelta()
                | ArgumentsDelta()
                | AudioDelta()
                | OpaqueDelta()
                | CitationAdded()
                | CodeDelta()
                | PartialImage()
                | HostedProgress()
                | ForeignEvent()
            ):
                return b""  # nothing but text has a place here
            case _:
                assert_never(event)

    def _start(self, event: Started) -> None:
        self._head = {
            "id": answer_id(event.id or self._request_id),
            "object": "text_completion",
            "created": event.created or self._created,
            "model": self._call.model,
        }
        if event.fingerprint is not None:
            self._head["system_fingerprint"] = event.fingerprint
        if event.usage is not None:
            self._usage = UsageReported(event.usage)

    def _say(self, candidate: int, text: str) -> bytes:
        before = self._flush() + self._open(candidate)
        self._said = (candidate, text)
        return before

    def _score(self, candidate: int, logprobs: Sequence[object]) -> bytes:
        before = b""
        if self._said is None or self._said[0] != candidate:
            before = self._flush() + self._open(candidate)
            self._said = (candidate, "")
        state = self._candidates[candidate]
        (_, text), self._said = self._said, None
        entries = [entry for entry in logprobs if isinstance(entry, dict)]
        lists, state.offset = encode_logprobs(entries, state.offset)
        return before + self._chunk(candidate, text, logprobs=lists)

    def _flush(self) -> bytes:
        if self._said is None:
            return b""
        (candidate, text), self._said = self._said, None
        return self._chunk(candidate, text)

    def _open(self, candidate: int) -> bytes:
        """The echo ahead of an answer, once."""
        if candidate in self._candidates:
            return b""
        echo = echo_of(self._echo, candidate, self._call)
        self._candidates[candidate] = _Candidate(len(echo))
        return self._chunk(candidate, echo) if echo else b""

    def _chunk(
        self, candidate: int, text: str, *, logprobs: JsonObject | None = None, finish: str | None = None
    ) -> bytes:
        choice = {"index": candidate, "text": text, "logprobs": logprobs, "finish_reason": finish}
        return encode_sse(dumps({**self._head, "choices": [choice]}))

    def _finish(self, candidate: int, reason: FinishReason) -> bytes:
        opening = self._open(candidate)
        if reason == "error":
            return opening  # an error event says it
        word = finish_word(reason, refused=self._candidates[candidate].refused)
        return opening + self._chunk(candidate, "", finish=word)

    def _end(self, event: Ended) -> bytes:
        blocked = self._finish(0, "content_filter") if event.prompt_block and not self._candidates else b""
        self._over = True
        if self._usage is None or not self._call.usage_wanted:
            return blocked + b"data: [DONE]\n\n"
        usage = encode_usage(self._usage.usage, extras_of(self._usage.extras))
        return blocked + encode_sse(dumps({**self._head, "choices": [], "usage": usage})) + b"data: [DONE]\n\n"
