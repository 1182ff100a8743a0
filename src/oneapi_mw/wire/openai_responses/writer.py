"""Canonical events to the events of a response, as objects without framing.

What official clients check decides the details: `response.created` first, one item after another with `output_index`
from 0, each added once and done once under the same ids, exactly one terminal event with the whole response in it.

Moves of the one open item:

    first delta of a text or refusal  -> into the open message; else end the open item, begin a message
    reasoning, a call                 -> end the open item, begin one; it stays open when its block has ended, as only
                                         what comes next tells whether a signature joins it, or a limit has cut it
    a hosted call                     -> waits for its result, then is told at once
    finish                            -> the open item ends, incomplete if it was cut
    failure                           -> the open item stays open
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from typing import Any, assert_never

from oneapi_mw.canonical.blocks import (
    Audio,
    Block,
    HostedCall,
    HostedResult,
    Image,
    Inline,
    Opaque,
    Reasoning,
    ReasoningOpaque,
    Refusal,
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
from oneapi_mw.tokens.estimate import estimate_tokens
from oneapi_mw.types import JsonObject
from oneapi_mw.usage import Usage
from oneapi_mw.wire.errors import failed_midway
from oneapi_mw.wire.extras import merged
from oneapi_mw.wire.media import encode_url
from oneapi_mw.wire.openai_responses.content import NAME, answer_id, extras_of
from oneapi_mw.wire.openai_responses.finish import encode_failure, encode_finish
from oneapi_mw.wire.openai_responses.open_items import (
    OpenCall,
    OpenHosted,
    OpenItem,
    OpenMessage,
    OpenPicture,
    OpenThought,
)
from oneapi_mw.wire.openai_responses.output import Output
from oneapi_mw.wire.openai_responses.snapshot import snapshot
from oneapi_mw.wire.openai_responses.usage import encode_tool_usage, encode_usage
from oneapi_mw.wire.said import utf8_length

_UNFINISHED = ("length", "context_window", "pause", "compaction", "continuation", "content_filter", "refusal")


class ResponseWriter:
    """One answer to `call`. Only the first candidate is told: this format has no more."""

    def __init__(self, call: Call, *, request_id: str = "", created: int = 0) -> None:
        self._call = call
        self._request_id = request_id
        self._created = created
        self._sequencer = Sequencer()
        self._started = Started()
        self._response: JsonObject = {}  # empty until the answer is announced
        self._output = Output()
        self._open: OpenItem | None = None
        self._block: BlockStarted | None = None
        self._usage: UsageReported | None = None
        self._finished: Finished | None = None
        self._text_bytes = 0
        self.over = False

    def feed(self, events: Iterable[Event]) -> list[JsonObject]:
        return [written for event in _paired(self._sequencer.feed(events)) for written in self._write(event)]

    # Moves.

    def _write(self, event: Event | tuple[TextDelta, LogprobsAdded]) -> Iterator[JsonObject]:
        if self.over:
            return
        if isinstance(event, tuple):
            yield from self._say(event[0].text, refusal=False, logprobs=event[1].logprobs)
            return
        if getattr(event, "candidate", 0) != 0:
            return
        match event:
            case TextDelta(text=text):
                yield from self._say(text, refusal=False)
            case RefusalDelta(text=text):
                yield from self._say(text, refusal=True)
            case ReasoningDelta(text=text):
                yield from self._think(text)
            case ArgumentsDelta(text=text):
                yield from self._argue(text)
            case BlockStarted():
                yield from self._begin_block(event)
            case BlockEnded(content=content):
                yield from self._end_block(content)
            case AudioDelta(transcript=transcript):
                yield from self._say(transcript, refusal=False)
            case LogprobsAdded(logprobs=logprobs):
                if isinstance(self._open, OpenMessage):
                    self._open.note(logprobs)
            case PartialImage():
                yield from self._preview(event)
            case Started():
                self._started = event
            case UsageReported():
                self._usage = event
            case Finished():
                self._finished = event
                yield from self._announce()
                yield from self._close(cut=self._is_cut(event))
            case Ended():
                yield from self._end(event)
            case Failed(error):
                yield from self.fail(error)
            case ForeignEvent():
                yield from self._foreign(event)
            case OpaqueDelta() | CitationAdded() | CodeDelta() | HostedProgress() | Ping():
                pass  # in the whole block, or of no use to this client
            case _:
                assert_never(event)

    def _announce(self) -> Iterator[JsonObject]:
        if self._response:
            return
        started = self._started
        response_id = answer_id(started.id or self._request_id)
        self._response = snapshot(self._call, response_id, started.created or self._created)
        if started.tier is not None:
            self._response["service_tier"] = started.tier
        self._response = merged(self._response, extras_of(started.extras))
        self._output.response_id = self._response["id"]
        if started.usage is not None:
            self._usage = self._usage or UsageReported(started.usage)
        yield self._output.event("created", response=dict(self._response))
        yield self._output.event("in_progress", response=dict(self._response))

    def _make_way(self) -> Iterator[JsonObject]:
        """All that has to be told before an item begins."""
        yield from self._announce()
        yield from self._close()

    def _close(self, *, cut: bool = False) -> Iterator[JsonObject]:
        """End the open item."""
        item, self._open = self._open, None
        if item is not None:
            yield from item.close(cut=cut)

    def _upstream_id(self) -> str | None:
        """The id of the upstream's item that the open block is of."""
        return self._block.item_id if self._block is not None else None

    def _begin_block(self, event: BlockStarted) -> Iterator[JsonObject]:
        self._block = event
        if event.kind == "tool_call":
            yield from self._begin_call(event)

    # Text and refusals.

    def _say(self, text: str, *, refusal: bool, logprobs: Sequence[Mapping[str, Any]] = ()) -> Iterator[JsonObject]:
        if not text:
            return
        message, block = self._open, self._block
        upstream_id = block.item_id if block is not None else None
        if not isinstance(message, OpenMessage) or (upstream_id is not None and upstream_id != message.upstream_id):
            yield from self._make_way()
            message = self._open = OpenMessage(self._output, upstream_id)
            yield from message.begin()
        self._text_bytes += utf8_length(text)
        yield from message.say(text, refusal=refusal, logprobs=logprobs)

    def _end_part(self, content: Text | Refusal) -> Iterator[JsonObject]:
        if isinstance(self._open, OpenMessage):
            yield from self._open.end_part(content)

    def _whole_text(self, text: str, *, refusal: bool = False) -> Iterator[JsonObject]:
        if text:
            yield from self._say(text, refusal=refusal)
            yield from self._end_part(Refusal(text) if refusal else Text(text))

    # Reasoning.

    def _think(self, text: str) -> Iterator[JsonObject]:
        if not text:
            return
        thought = self._open
        if not isinstance(thought, OpenThought) or thought.ended:
            thought = yield from self._begin_thought()
        self._text_bytes += utf8_length(text)
        yield from thought.think(text)

    def _begin_thought(self) -> Generator[JsonObject, None, OpenThought]:
        yield from self._make_way()
        thought = self._open = OpenThought(self._output, self._upstream_id())
        yield from thought.begin()
        return thought

    def _end_thought(self, content: Reasoning) -> Iterator[JsonObject]:
        thought = self._open
        if not isinstance(thought, OpenThought) or thought.ended:
            if not content.text and content.opaque is None:
                return
            thought = yield from self._begin_thought()
            yield from self._think(content.text)
        thought.end(content)

    # Calls.

    def _begin_call(self, event: BlockStarted) -> Iterator[JsonObject]:
        yield from self._announce()
        if event.opaque is not None:
            yield from self._sign(event.opaque)
        yield from self._close()
        call = ToolCall(event.call_id or "", event.name or "", "", event.tool)
        calling = self._open = OpenCall(self._output, call, event.item_id)
        yield from calling.begin()

    def _sign(self, opaque: ReasoningOpaque) -> Iterator[JsonObject]:
        """A call's signature goes with the reasoning ahead of it, or with an empty one."""
        thought = self._open
        if not isinstance(thought, OpenThought) or thought.signed:
            yield from self._close()
            self._block = None
            thought = yield from self._begin_thought()
        thought.sign(opaque)

    def _argue(self, text: str) -> Iterator[JsonObject]:
        if text and isinstance(self._open, OpenCall):
            self._text_bytes += utf8_length(text)
            yield self._open.argue(text)

    # Hosted calls, pictures, and what is told whole.

    def _preview(self, event: PartialImage) -> Iterator[JsonObject]:
        picture = yield from self._enter_picture()
        yield from picture.preview(event)

    def _enter_picture(self) -> Generator[JsonObject, None, OpenPicture]:
        picture = self._open
        if not isinstance(picture, OpenPicture):
            yield from self._make_way()
            picture = self._open = OpenPicture(self._output, self._upstream_id())
            yield from picture.begin()
        return picture

    def _end_picture(self, image: Image) -> Iterator[JsonObject]:
        source = image.source
        if not isinstance(source, Inline):  # an address has no place in the item
            url = encode_url(source)
            yield from self._whole_text(f"![image]({url})" if url is not None else "")
            return
        picture = yield from self._enter_picture()
        self._open = None
        yield from picture.finish(image, source)

    def _end_hosted(self, content: HostedCall | HostedResult) -> Iterator[JsonObject]:
        if isinstance(content, HostedCall):
            yield from self._make_way()
            self._open = OpenHosted(self._output, content)
        elif isinstance(self._open, OpenHosted):
            self._open.answer(content)

    def _end_opaque(self, block: Opaque) -> Iterator[JsonObject]:
        if block.format != NAME or not isinstance(block.value, dict):
            return
        yield from self._make_way()
        index = self._output.next_index
        yield self._output.added(index, block.value)
        yield self._output.done(index, block.value)

    # Ends.

    def _end_block(self, content: Block) -> Iterator[JsonObject]:
        match content:
            case Text() | Refusal():
                if not isinstance(self._open, OpenMessage) or not self._open.in_part:
                    yield from self._say(content.text, refusal=isinstance(content, Refusal))
                yield from self._end_part(content)
            case Audio(transcript=transcript):
                yield from self._end_part(Text(transcript or ""))
            case Reasoning():
                yield from self._end_thought(content)
            case ToolCall():
                if isinstance(self._open, OpenCall):
                    yield from self._open.end(content)
            case HostedCall() | HostedResult():
                yield from self._end_hosted(content)
            case Image():
                yield from self._end_picture(content)
            case Opaque():
                yield from self._end_opaque(content)
            case _:
                pass  # blocks of requests
        self._block = None

    def _is_cut(self, finished: Finished) -> bool:
        return finished.reason in _UNFINISHED and not (finished.reason == "refusal" and self._output.refused)

    def _end(self, event: Ended) -> Iterator[JsonObject]:
        finished = self._finished or Finished(0, "content_filter" if event.prompt_block else "unknown")
        yield from self._announce()
        yield from self._close()
        if finished.reason == "refusal" and not self._output.items and finished.explanation:
            yield from self._whole_text(finished.explanation, refusal=True)
            yield from self._close()
        reason = encode_finish(finished.reason, refused=self._output.refused, detail=finished.detail)
        if finished.reason in ("error", "cancelled"):
            yield from self.fail(failed_midway())
            return
        usage = self._usage or UsageReported(self._estimate())
        kind = "completed" if reason is None else "incomplete"
        response: JsonObject = {
            **self._response,
            "status": kind,
            "incomplete_details": None if reason is None else {"reason": reason},
            "output": self._output.items,
            "usage": encode_usage(usage.usage, extras_of(usage.extras)),
        }
        if event.tier is not None:
            response["service_tier"] = event.tier
        if kind == "completed":
            response["completed_at"] = event.completed
        if (tools := encode_tool_usage(usage.usage)) is not None:
            response["tool_usage"] = tools
        self.over = True
        yield self._output.event(kind, response=response)

    def _estimate(self) -> Usage:
        """What clients that insist on usage get where nobody told any."""
        return Usage(self._call.input_estimate, estimate_tokens(self._text_bytes), source="estimated")

    def fail(self, error: GatewayError) -> Iterator[JsonObject]:
        """The failure that ends the answer."""
        yield from self._announce()
        self.over = True
        response: JsonObject = {
            **self._response,
            "status": "failed",
            "error": encode_failure(error, request_id=self._request_id),
            "output": self._output.items,
        }
        if self._usage is not None:
            response["usage"] = encode_usage(self._usage.usage, extras_of(self._usage.extras))
        yield self._output.event("failed", response=response)

    def _foreign(self, event: ForeignEvent) -> Iterator[JsonObject]:
        """What only this format knows. Ahead of the announcement it would break clients."""
        if event.format == NAME and self._response and isinstance(event.data, dict):
            yield self._output.foreign(event.data)


def _paired(events: Iterable[Event]) -> Iterator[Event | tuple[TextDelta, LogprobsAdded]]:
    """Log probabilities that directly follow their text go out in one event with it."""
    last: TextDelta | None = None
    for event in events:
        if last is not None:
            if isinstance(event, LogprobsAdded) and event.block == last.block and event.candidate == last.candidate:
                pair, last = last, None
                if event.candidate == 0:
                    yield pair, event
                continue
            yield last
            last = None
        if isinstance(event, TextDelta):
            last = event
        else:
            yield event
    if last is not None:
        yield last
