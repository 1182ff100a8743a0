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

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
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
from oneapi_mw.wire.arguments import parsed
from oneapi_mw.wire.errors import failed_midway
from oneapi_mw.wire.extras import merged
from oneapi_mw.wire.media import encode_url
from oneapi_mw.wire.openai_responses.content import (
    NAME,
    answer_id,
    delta_logprobs,
    digest,
    encode_annotations,
    extras_of,
)
from oneapi_mw.wire.openai_responses.finish import encode_failure, encode_finish
from oneapi_mw.wire.openai_responses.items import IMAGE, PREFIXES, call_item, message_item, output_part
from oneapi_mw.wire.openai_responses.produced import utf8_length
from oneapi_mw.wire.openai_responses.snapshot import snapshot
from oneapi_mw.wire.openai_responses.usage import encode_tool_usage, encode_usage

_UNFINISHED = ("length", "context_window", "pause", "compaction", "continuation", "content_filter", "refusal")


@dataclass(slots=True)
class _Message:
    """A message item that is open, and the parts of it that are told."""

    id: str
    index: int
    upstream_id: str | None
    parts: list[Text | Refusal] = field(default_factory=list)
    said: list[str] = field(default_factory=list)  # of the part that is open
    refusal: bool | None = None  # kind of the open part; `None` when none is
    logprobs: list[Mapping[str, Any]] = field(default_factory=list)


@dataclass(slots=True)
class _Thought:
    """A reasoning item that is open."""

    id: str
    index: int
    said: list[str] = field(default_factory=list)
    opaque: ReasoningOpaque | None = None
    content: Reasoning | None = None  # once its block has ended


@dataclass(slots=True)
class _Calling:
    """A call that is open."""

    id: str
    index: int
    call: ToolCall
    said: list[str] = field(default_factory=list)
    content: ToolCall | None = None


@dataclass(slots=True)
class _Picture:
    id: str
    index: int


@dataclass(slots=True)
class _Hosted:
    """A hosted call whose result may follow."""

    call: HostedCall
    result: HostedResult | None = None


class ResponseWriter:
    """One answer to `call`. Only the first candidate is told: this format has no more."""

    def __init__(self, call: Call, *, request_id: str = "", created: int = 0) -> None:
        self._call = call
        self._request_id = request_id
        self._created = created
        self._sequencer = Sequencer()
        self._started = Started()
        self._response: JsonObject = {}  # empty until the answer is announced
        self._number = 0
        self._output: list[JsonObject] = []
        self._open: _Message | _Thought | _Calling | _Picture | _Hosted | None = None
        self._block: BlockStarted | None = None
        self._usage: UsageReported | None = None
        self._finished: Finished | None = None
        self._refused = False
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
                if isinstance(self._open, _Message) and self._open.refusal is not None:
                    self._open.logprobs += logprobs
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

    def _event(self, kind: str, **members: Any) -> JsonObject:
        event = {"type": f"response.{kind}", "sequence_number": self._number, **members}
        self._number += 1
        return event

    def _announce(self) -> Iterator[JsonObject]:
        if self._response:
            return
        started = self._started
        response_id = answer_id(started.id or self._request_id)
        self._response = snapshot(self._call, response_id, started.created or self._created)
        if started.tier is not None:
            self._response["service_tier"] = started.tier
        self._response = merged(self._response, extras_of(started.extras))
        if started.usage is not None:
            self._usage = self._usage or UsageReported(started.usage)
        yield self._event("created", response=dict(self._response))
        yield self._event("in_progress", response=dict(self._response))

    def _new_id(self, kind: str, upstream_id: str | None = None) -> str:
        """The upstream's id when it is one of this format, else one made of the answer's and the place in it."""
        prefix = PREFIXES[kind]
        if upstream_id is not None and upstream_id.startswith(prefix) and upstream_id not in self._ids():
            return upstream_id
        return prefix + digest(self._response["id"], len(self._output))[:48]

    def _ids(self) -> list[Any]:
        return [item.get("id") for item in self._output]

    def _begin_block(self, event: BlockStarted) -> Iterator[JsonObject]:
        self._block = event
        if event.kind == "tool_call":
            yield from self._begin_call(event)

    # Text and refusals.

    def _say(self, text: str, *, refusal: bool, logprobs: Sequence[Mapping[str, Any]] = ()) -> Iterator[JsonObject]:
        if not text:
            return
        yield from self._enter_part(refusal=refusal)
        message = self._open
        assert isinstance(message, _Message)
        self._text_bytes += utf8_length(text)
        message.said.append(text)
        message.logprobs += logprobs
        if refusal:
            yield self._event("refusal.delta", **self._place(message), delta=text)
        else:
            entries = delta_logprobs(logprobs) if logprobs else []
            yield self._event("output_text.delta", **self._place(message), delta=text, logprobs=entries)

    def _enter_part(self, *, refusal: bool) -> Iterator[JsonObject]:
        """Open the message and the part that a text goes into, if they are not open."""
        message, upstream_id = self._open, self._block.item_id if self._block is not None else None
        if not isinstance(message, _Message) or (upstream_id is not None and upstream_id != message.upstream_id):
            yield from self._announce()
            yield from self._close()
            message = _Message(self._new_id("message", upstream_id), len(self._output), upstream_id)
            self._open = message
            item: JsonObject = {
                "id": message.id,
                "type": "message",
                "status": "in_progress",
                "role": "assistant",
                "content": [],
            }
            yield self._event("output_item.added", output_index=message.index, item=item)
        if message.refusal is None:
            message.refusal = refusal
            part = output_part(Refusal("") if refusal else Text(""))
            yield self._event("content_part.added", **self._place(message), part=part)

    def _place(self, message: _Message) -> JsonObject:
        return {"item_id": message.id, "output_index": message.index, "content_index": len(message.parts)}

    def _end_part(self, content: Text | Refusal) -> Iterator[JsonObject]:
        """The text of the deltas counts: it is what the client has seen."""
        message = self._open
        if not isinstance(message, _Message) or message.refusal is None:
            return
        said, logprobs = "".join(message.said), tuple(message.logprobs)
        place = self._place(message)
        if isinstance(content, Refusal):
            self._refused = True
            part: Text | Refusal = replace(content, text=said, logprobs=logprobs)
            yield self._event("refusal.done", **place, refusal=said)
        else:
            part = replace(content, text=said, logprobs=logprobs)
            for number, annotation in enumerate(encode_annotations(content.citations, len(said))):
                yield self._event(
                    "output_text.annotation.added", **place, annotation_index=number, annotation=annotation
                )
            yield self._event("output_text.done", **place, text=said, logprobs=delta_logprobs(logprobs))
        yield self._event("content_part.done", **place, part=output_part(part))
        message.parts.append(part)
        message.said, message.logprobs, message.refusal = [], [], None

    # Reasoning.

    def _think(self, text: str) -> Iterator[JsonObject]:
        if not text:
            return
        yield from self._enter_thought()
        thought = self._open
        assert isinstance(thought, _Thought)
        if not thought.said:
            part = {"type": "summary_text", "text": ""}
            yield self._event("reasoning_summary_part.added", **self._summary(thought), part=part)
        thought.said.append(text)
        self._text_bytes += utf8_length(text)
        yield self._event("reasoning_summary_text.delta", **self._summary(thought), delta=text)

    def _enter_thought(self) -> Iterator[JsonObject]:
        if isinstance(self._open, _Thought) and self._open.content is None:
            return
        yield from self._announce()
        yield from self._close()
        upstream_id = self._block.item_id if self._block is not None else None
        thought = self._open = _Thought(self._new_id("reasoning", upstream_id), len(self._output))
        item: JsonObject = {"id": thought.id, "type": "reasoning", "status": "in_progress", "summary": []}
        yield self._event("output_item.added", output_index=thought.index, item=item)

    def _summary(self, thought: _Thought) -> JsonObject:
        return {"item_id": thought.id, "output_index": thought.index, "summary_index": 0}

    # Calls.

    def _begin_call(self, event: BlockStarted) -> Iterator[JsonObject]:
        yield from self._announce()
        if event.opaque is not None:
            yield from self._sign(event.opaque)
        yield from self._close()
        call = ToolCall(event.call_id or "", event.name or "", "", event.tool)
        kind = "custom_tool_call" if call.kind == "custom" else "function_call"
        call_id = self._new_id(kind, event.item_id)
        calling = self._open = _Calling(call_id, len(self._output), call)
        item = {**call_item(call, item_id=call_id, status="in_progress"), _arguments(call): ""}
        yield self._event("output_item.added", output_index=calling.index, item=item)

    def _sign(self, opaque: ReasoningOpaque) -> Iterator[JsonObject]:
        """A call's signature goes with the reasoning ahead of it, or with an empty one."""
        thought = self._open
        if not isinstance(thought, _Thought) or thought.opaque is not None:
            yield from self._close()
            self._block = None
            yield from self._enter_thought()
            thought = self._open
            assert isinstance(thought, _Thought)
        thought.opaque = opaque
        thought.content = thought.content or Reasoning()

    def _argue(self, text: str) -> Iterator[JsonObject]:
        calling = self._open
        if not isinstance(calling, _Calling) or not text:
            return
        calling.said.append(text)
        self._text_bytes += utf8_length(text)
        yield self._arguments_delta(calling, text)

    def _arguments_delta(self, calling: _Calling, text: str) -> JsonObject:
        kind = "custom_tool_call_input" if calling.call.kind == "custom" else "function_call_arguments"
        return self._event(f"{kind}.delta", item_id=calling.id, output_index=calling.index, delta=text)

    def _end_call(self, calling: _Calling, content: ToolCall) -> Iterator[JsonObject]:
        """The arguments are whole; the item stays open."""
        said = "".join(calling.said)
        arguments = said or content.arguments
        if calling.call.kind == "function" and not arguments.strip():
            arguments = "{}"
        new = arguments.removeprefix(said)
        if new:
            yield self._arguments_delta(calling, new)
        known = calling.call
        calling.content = replace(content, id=known.id, name=known.name, kind=known.kind, arguments=arguments)

    # Hosted calls, pictures, and what is told whole.

    def _preview(self, event: PartialImage) -> Iterator[JsonObject]:
        if not isinstance(self._open, _Picture):
            yield from self._begin_picture()
        picture = self._open
        assert isinstance(picture, _Picture)
        yield self._event(
            "image_generation_call.partial_image",
            item_id=picture.id,
            output_index=picture.index,
            partial_image_index=event.index,
            partial_image_b64=event.data,
        )

    def _begin_picture(self) -> Iterator[JsonObject]:
        yield from self._announce()
        yield from self._close()
        upstream_id = self._block.item_id if self._block is not None else None
        picture = self._open = _Picture(self._new_id(IMAGE, upstream_id), len(self._output))
        item: JsonObject = {"id": picture.id, "type": IMAGE, "status": "in_progress", "result": None}
        yield self._event("output_item.added", output_index=picture.index, item=item)
        for step in ("in_progress", "generating"):
            yield self._event(f"{IMAGE}.{step}", item_id=picture.id, output_index=picture.index)

    def _end_picture(self, image: Image) -> Iterator[JsonObject]:
        if not isinstance(image.source, Inline):  # an address has no place in the item
            url = encode_url(image.source)
            yield from self._whole_text(f"![image]({url})" if url is not None else "")
            return
        if not isinstance(self._open, _Picture):
            yield from self._begin_picture()
        picture, self._open = self._open, None
        assert isinstance(picture, _Picture)
        yield self._event(f"{IMAGE}.completed", item_id=picture.id, output_index=picture.index)
        item: JsonObject = {"id": picture.id, "type": IMAGE, "status": "completed", "result": image.source.data}
        form = image.source.media_type.partition("/")[2]
        if form in ("png", "webp", "jpeg", "gif"):
            item["output_format"] = form
        yield self._done(picture.index, merged(item, extras_of(image.extras)))

    def _end_hosted(self, content: HostedCall | HostedResult) -> Iterator[JsonObject]:
        waiting = self._open
        if isinstance(content, HostedResult):
            if isinstance(waiting, _Hosted) and waiting.call.id == content.call_id:
                waiting.result = content
            return
        yield from self._announce()
        yield from self._close()
        self._open = _Hosted(content)

    def _tell_hosted(self, hosted: _Hosted) -> Iterator[JsonObject]:
        item = _hosted_item(hosted)
        if item is None:
            return
        kind = str(item["type"])
        known = item.get("id")
        if kind in PREFIXES:
            item["id"] = self._new_id(kind, known if isinstance(known, str) else None)
        place = {"item_id": item["id"], "output_index": len(self._output)}
        begun = {**item, "status": "in_progress"}
        begun |= {name: None for name in ("outputs", "results", "output") if name in begun}
        yield self._event("output_item.added", output_index=len(self._output), item=begun)
        steps = _STEPS.get(kind, ())
        for step in steps[:-1]:
            yield self._event(f"{kind}.{step}", **place)
            if step == "in_progress" and item.get("code"):
                yield self._event("code_interpreter_call_code.delta", **place, delta=item["code"])
                yield self._event("code_interpreter_call_code.done", **place, code=item["code"])
        if steps:
            yield self._event(f"{kind}.{steps[-1]}", **place)
        yield self._done(len(self._output), item)

    def _end_opaque(self, block: Opaque) -> Iterator[JsonObject]:
        if block.format != NAME or not isinstance(block.value, dict):
            return
        yield from self._announce()
        yield from self._close()
        index = len(self._output)
        yield self._event("output_item.added", output_index=index, item=block.value)
        yield self._done(index, block.value)

    def _whole_text(self, text: str, *, refusal: bool = False) -> Iterator[JsonObject]:
        if text:
            yield from self._say(text, refusal=refusal)
            yield from self._end_part(Refusal(text) if refusal else Text(text))

    # Ends.

    def _end_block(self, content: Block) -> Iterator[JsonObject]:
        match content:
            case Text() | Refusal():
                message = self._open
                if not isinstance(message, _Message) or message.refusal is None:
                    yield from self._say(content.text, refusal=isinstance(content, Refusal))
                yield from self._end_part(content)
            case Audio(transcript=transcript):
                yield from self._end_part(Text(transcript or ""))
            case Reasoning():
                yield from self._end_thought(content)
            case ToolCall():
                if isinstance(self._open, _Calling):
                    yield from self._end_call(self._open, content)
            case HostedCall() | HostedResult():
                yield from self._end_hosted(content)
            case Image():
                yield from self._end_picture(content)
            case Opaque():
                yield from self._end_opaque(content)
            case _:
                pass  # blocks of requests
        self._block = None

    def _end_thought(self, content: Reasoning) -> Iterator[JsonObject]:
        open_ = isinstance(self._open, _Thought) and self._open.content is None
        if not open_:
            if not content.text and content.opaque is None:
                return
            yield from self._think(content.text)
            yield from self._enter_thought()
        thought = self._open
        assert isinstance(thought, _Thought)
        thought.content, thought.opaque = content, content.opaque

    def _close(self, *, cut: bool = False) -> Iterator[JsonObject]:
        """End the open item."""
        item, self._open = self._open, None
        status = "incomplete" if cut else "completed"
        match item:
            case _Message():
                self._open = item
                if item.refusal is not None:
                    yield from self._end_part(Refusal("") if item.refusal else Text(""))
                self._open = None
                yield self._done(item.index, message_item(item.parts, item.id, status=status))
            case _Thought():
                yield from self._close_thought(item, status)
            case _Calling():
                yield from self._close_call(item, cut=cut)
            case _Hosted():
                yield from self._tell_hosted(item)
            case _Picture():
                failed: JsonObject = {"id": item.id, "type": IMAGE, "status": "failed", "result": None}
                yield self._done(item.index, failed)
            case None:
                pass

    def _close_thought(self, thought: _Thought, status: str) -> Iterator[JsonObject]:
        said = "".join(thought.said)
        item: JsonObject = {"id": thought.id, "type": "reasoning", "status": status, "summary": []}
        if said:
            part = {"type": "summary_text", "text": said}
            yield self._event("reasoning_summary_text.done", **self._summary(thought), text=said)
            yield self._event("reasoning_summary_part.done", **self._summary(thought), part=part)
            item["summary"] = [part]
        if thought.opaque is not None:
            item["encrypted_content"] = thought.opaque.data
        rest = extras_of(thought.content.extras) if thought.content is not None else {}
        yield self._done(thought.index, merged(item, rest))

    def _close_call(self, calling: _Calling, *, cut: bool) -> Iterator[JsonObject]:
        if calling.content is None:
            yield from self._end_call(calling, calling.call)
        call = calling.content or calling.call
        name = _arguments(call)
        kind = "custom_tool_call_input" if call.kind == "custom" else "function_call_arguments"
        members: JsonObject = {name: call.arguments}
        if call.kind == "function":
            members["name"] = call.name
        yield self._event(f"{kind}.done", item_id=calling.id, output_index=calling.index, **members)
        cut = cut and (call.kind == "custom" or not _is_whole(call.arguments))
        item = call_item(call, item_id=calling.id, status="incomplete" if cut else "completed")
        yield self._done(calling.index, item)

    def _done(self, index: int, item: JsonObject) -> JsonObject:
        self._output.append(item)
        return self._event("output_item.done", output_index=index, item=item)

    def _is_cut(self, finished: Finished) -> bool:
        return finished.reason in _UNFINISHED and not (finished.reason == "refusal" and self._refused)

    def _end(self, event: Ended) -> Iterator[JsonObject]:
        finished = self._finished or Finished(0, "content_filter" if event.prompt_block else "unknown")
        yield from self._announce()
        yield from self._close()
        if finished.reason == "refusal" and not self._output and finished.explanation:
            yield from self._whole_text(finished.explanation, refusal=True)
            yield from self._close()
        reason = encode_finish(finished.reason, refused=self._refused, detail=finished.detail)
        if finished.reason in ("error", "cancelled"):
            yield from self.fail(failed_midway())
            return
        usage = self._usage or UsageReported(self._estimate())
        kind = "completed" if reason is None else "incomplete"
        response: JsonObject = {
            **self._response,
            "status": kind,
            "incomplete_details": None if reason is None else {"reason": reason},
            "output": self._output,
            "usage": encode_usage(usage.usage, extras_of(usage.extras)),
        }
        if event.tier is not None:
            response["service_tier"] = event.tier
        if kind == "completed":
            response["completed_at"] = event.completed
        if (tools := encode_tool_usage(usage.usage)) is not None:
            response["tool_usage"] = tools
        self.over = True
        yield self._event(kind, response=response)

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
            "output": self._output,
        }
        if self._usage is not None:
            response["usage"] = encode_usage(self._usage.usage, extras_of(self._usage.extras))
        yield self._event("failed", response=response)

    def _foreign(self, event: ForeignEvent) -> Iterator[JsonObject]:
        """What only this format knows. Ahead of the announcement it would break clients."""
        if event.format == NAME and self._response and isinstance(event.data, dict):
            yield {**event.data, "sequence_number": self._number}
            self._number += 1


_STEPS: Mapping[str, tuple[str, ...]] = {
    "web_search_call": ("in_progress", "searching", "completed"),
    "file_search_call": ("in_progress", "searching", "completed"),
    "code_interpreter_call": ("in_progress", "interpreting", "completed"),
    "mcp_call": ("in_progress", "completed"),
}


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


def _arguments(call: ToolCall) -> str:
    return "input" if call.kind == "custom" else "arguments"


def _is_whole(arguments: str) -> bool:
    try:
        return isinstance(parsed(arguments), dict)
    except ValueError:
        return False


def _hosted_item(hosted: _Hosted) -> JsonObject | None:
    """The item of a hosted call; `None` for those that only their vendor can tell."""
    call, result = hosted.call, hosted.result
    own = extras_of(call.extras)
    if own:
        return dict(own)
    status = "failed" if result is not None and result.is_error else "completed"
    asked = call.input if isinstance(call.input, dict) else {}
    if call.kind == "web_search":
        query = asked.get("query")
        action: JsonObject = {"type": "search", "query": query if isinstance(query, str) else ""}
        return {"id": None, "type": "web_search_call", "status": status, "action": action}
    if call.kind == "code":
        code = asked.get("code")
        logs = [block.text for block in result.blocks if isinstance(block, Text)] if result is not None else []
        return {
            "id": None,
            "type": "code_interpreter_call",
            "status": status,
            "code": code if isinstance(code, str) else "",
            "container_id": "",
            "outputs": [{"type": "logs", "logs": text} for text in logs],
        }
    return None
