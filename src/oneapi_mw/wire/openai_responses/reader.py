"""Events of a stream, or a whole response, to canonical events.

Moves of one item in `EventReader`:

    output_item.added, or the first event of an item nobody announced  -> the item is known; calls, reasoning and
                                                                          hosted calls begin a block
    content_part.added, or the first delta of a part                   -> a block of text or refusal begins, the
                                                                          part before it ends
    *.delta                                                            -> into its block
    *.done with a text                                                 -> what the deltas have not said
    output_item.done                                                   -> what is known only now; every block ends
    response.completed, .incomplete                                    -> items not seen are told whole, open ones end
    response.failed, error                                             -> nothing more; open blocks stay open
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from oneapi_mw.canonical.blocks import (
    Block,
    Citation,
    Extras,
    HostedCall,
    HostedResult,
    Image,
    Opaque,
    Reasoning,
    ReasoningOpaque,
    ReasoningText,
    Refusal,
    Text,
    ToolCall,
)
from oneapi_mw.canonical.events import (
    ArgumentsDelta,
    BlockEnded,
    BlockKind,
    BlockStarted,
    CitationAdded,
    CodeDelta,
    Ended,
    Event,
    ForeignEvent,
    HostedProgress,
    LogprobsAdded,
    OpaqueDelta,
    PartialImage,
    ReasoningDelta,
    RefusalDelta,
    Started,
    TextDelta,
    UsageReported,
)
from oneapi_mw.usage import Usage
from oneapi_mw.wire.extras import mapped
from oneapi_mw.wire.openai_responses.content import NAME, VENDOR, decode_annotation, decode_logprobs, extras
from oneapi_mw.wire.openai_responses.finish import decode_finish
from oneapi_mw.wire.openai_responses.items import (
    HOSTED,
    IMAGE,
    decode_call,
    decode_item,
    decode_message,
    decode_reasoning,
    text,
)
from oneapi_mw.wire.openai_responses.usage import decode_usage, unmapped_usage

MAX_INDEX = 1024
"""Items and parts beyond this are an attack on whoever keeps a list of them."""
MAX_ACCUMULATED_CHARS = 32 * 1024 * 1024

LIFECYCLE = frozenset({"response.created", "response.queued", "response.in_progress"})
TERMINAL = frozenset({"response.completed", "response.incomplete"})
_RESPONSE = mapped(
    "id",
    "object",
    "created_at",
    "completed_at",
    "status",
    "model",
    "output",
    "usage",
    "error",
    "incomplete_details",
    "service_tier",
    "tool_usage",
)
_CALLS = ("function_call", "custom_tool_call")


class MalformedEventError(ValueError):
    """An event of a known kind with a value that cannot be."""


class SignificantReader:
    """Beginning, usage and ending of a stream; its content is not looked at.

    Args:
        model: name to report in place of the upstream's.
    """

    def __init__(self, model: str | None = None) -> None:
        self._model = model
        self.started = False
        self.said = False
        """Whether anything came beyond the announcement of an answer."""

    def read(self, event: Mapping[str, Any]) -> list[Event]:
        """Events of one parsed event, in order. Raises `MalformedEventError`."""
        response, kind = event.get("response"), event.get("type")
        events: list[Event] = []
        if not self.started:
            if not isinstance(kind, str) or not kind.startswith("response."):
                return []  # a sign of life
            self.started = True
            events.append(self._start(response if isinstance(response, dict) else {}))
        if kind in LIFECYCLE:
            return events
        self.said = True
        if kind in TERMINAL:
            if not isinstance(response, dict):
                raise MalformedEventError("the response is not an object")
            self._finish(response, events)
        else:
            self._content(event, events)
        return events

    def _start(self, response: Mapping[str, Any]) -> Started:
        return Started(
            id=text(response, "id"),
            model=self._model if self._model is not None else text(response, "model"),
            created=_seconds(response.get("created_at")) or 0,
            tier=_tier(response),
        )

    def _content(self, event: Mapping[str, Any], events: list[Event]) -> None:
        pass

    def _finish(self, response: Mapping[str, Any], events: list[Event]) -> None:
        output = response.get("output")
        items = [item for item in output if isinstance(item, dict)] if isinstance(output, list) else []
        refused = any(_refuses(item) for item in items)
        any_call = any(item.get("type") in _CALLS and item.get("status") != "incomplete" for item in items)
        self._report(response, events)
        events.append(decode_finish(response, refused=refused, any_call=any_call))
        events.append(self._end(response))

    def _report(self, response: Mapping[str, Any], events: list[Event]) -> Usage | None:
        usage = decode_usage(response)
        if usage is not None:
            rest = unmapped_usage(response)
            kept: Extras = {NAME: rest} if rest else {}
            events.append(UsageReported(usage, kept))
        return usage

    def _end(self, response: Mapping[str, Any]) -> Ended:
        completed = _seconds(response.get("completed_at"))
        return Ended(completed=completed, status=text(response, "status") or None, tier=_tier(response))


def _seconds(value: object) -> int | None:
    return int(value) if isinstance(value, int | float) else None


def _tier(response: Mapping[str, Any]) -> str | None:
    """The tier that served; `auto` only repeats the request."""
    tier = text(response, "service_tier")
    return tier if tier and tier != "auto" else None


def _refuses(item: Mapping[str, Any]) -> bool:
    content = item.get("content")
    return isinstance(content, list) and any(
        isinstance(part, dict) and part.get("type") == "refusal" for part in content
    )


class EventReader(SignificantReader):
    """Every event of a stream."""

    def __init__(self, model: str | None = None) -> None:
        super().__init__(model)
        self._items: dict[int, _Item] = {}
        self._next_block = 0
        self._size = 0

    def _start(self, response: Mapping[str, Any]) -> Started:
        started = super()._start(response)
        rest = extras(response, _RESPONSE)
        return Started(started.id, started.model, started.created, tier=started.tier, extras=rest)

    def _content(self, event: Mapping[str, Any], events: list[Event]) -> None:
        kind = event.get("type")
        if not isinstance(kind, str):
            return
        handler = _HANDLERS.get(kind)
        if handler is None:
            handler = _progress if _is_progress(kind) else None
        if handler is None:
            events.append(ForeignEvent(NAME, kind, event))
            return
        before = len(events)
        handler(self._item(event, kind), event, events)
        for made in events[before:]:
            if isinstance(made, (TextDelta, RefusalDelta, ReasoningDelta, ArgumentsDelta, CodeDelta)):
                self._size += len(made.text)
        if self._size > MAX_ACCUMULATED_CHARS:
            raise MalformedEventError("the answer is too large to convert")

    def _item(self, event: Mapping[str, Any], kind: str) -> _Item:
        index = event.get("output_index")
        index = self._index_of(event) if index is None else index
        if type(index) is not int or not 0 <= index <= MAX_INDEX:
            raise MalformedEventError("the index of an item is out of range")
        item = self._items.get(index)
        if item is None:
            item = self._items[index] = _Item(self._new_block)
        return item

    def _index_of(self, event: Mapping[str, Any]) -> int:
        """Some servers leave the index out: then the id tells, and the last item is meant where there is none."""
        wanted = event.get("item_id")
        announced = event.get("item")
        if wanted is None and isinstance(announced, dict):
            wanted = announced.get("id")
        for index, item in self._items.items():
            if wanted is not None and item.id == wanted:
                return index
        last = max(self._items, default=-1)
        return last + 1 if last < 0 or event.get("type") == "response.output_item.added" else last

    def _new_block(self) -> int:
        self._next_block += 1
        return self._next_block - 1

    def read_item(self, index: int, item: Mapping[str, Any], events: list[Event]) -> None:
        """A whole item that no event has told of; nothing when it is known."""
        known = self._items.get(index)
        if known is None:
            known = self._items[index] = _Item(self._new_block)
        known.done(item, events)

    def _finish(self, response: Mapping[str, Any], events: list[Event]) -> None:
        output = response.get("output")
        for index, item in enumerate(output if isinstance(output, list) else ()):
            if isinstance(item, dict) and index <= MAX_INDEX:
                self.read_item(index, item, events)
        for item in self._items.values():
            item.end(events)
        self._report(response, events)
        blocks = [block for item in self._items.values() for block in item.ended]
        refused = any(isinstance(block, Refusal) for block in blocks)
        any_call = any(isinstance(block, ToolCall) for block in blocks)
        events.append(decode_finish(response, refused=refused, any_call=any_call))
        events.append(self._end(response))


class _Part:
    """A block of text or refusal as it comes in."""

    __slots__ = ("block", "citations", "ended", "logprobs", "refusal", "said")

    def __init__(self, block: int, *, refusal: bool) -> None:
        self.block = block
        self.refusal = refusal
        self.said: list[str] = []
        self.citations: list[Citation] = []
        self.logprobs: list[Mapping[str, Any]] = []
        self.ended = False


class _Item:
    """One item of the output, and the blocks it becomes."""

    def __init__(self, new_block: Callable[[], int]) -> None:
        self._new_block = new_block
        self._announced: Mapping[str, Any] = {}
        self._type = ""
        self._parts: dict[int, _Part] = {}
        self._thoughts: dict[tuple[bool, int], list[str]] = {}
        self._arguments: list[str] = []
        self._code: list[str] = []
        self._block: int | None = None
        self._over = False
        self.ended: list[Block] = []

    @property
    def id(self) -> str | None:
        value = self._announced.get("id")
        return value if isinstance(value, str) else None

    # Beginnings.

    def announce(self, item: Mapping[str, Any], events: list[Event]) -> None:
        if self._type or self._over:
            return
        self._announced, self._type = item, text(item, "type") or "message"
        if self._type == "reasoning":
            self._begin("reasoning", events)
        elif self._type in _CALLS and text(item, "name"):
            self._begin_call(item, events)
        elif self._type == IMAGE:
            self._begin("image", events)
        elif self._type in HOSTED:
            self._begin("hosted_call", events)

    def _begin(self, kind: BlockKind, events: list[Event]) -> int:
        if self._block is None:
            self._block = self._new_block()
            events.append(self._opening(kind, self._block, self._announced))
        return self._block

    def _opening(self, kind: BlockKind, block: int, item: Mapping[str, Any]) -> BlockStarted:
        item_id = text(item, "id") or None
        if kind == "hosted_call":
            hosted, name = HOSTED.get(self._type, ("image_generation", "image_generation"))
            return BlockStarted(0, block, kind, item_id, item_id, name or text(item, "name"), hosted=hosted)
        return BlockStarted(0, block, kind, item_id)

    def _begin_call(self, item: Mapping[str, Any], events: list[Event]) -> int:
        if self._block is None:
            self._block = self._new_block()
            call = decode_call(item)
            events.append(BlockStarted(0, self._block, "tool_call", call.item_id, call.id, call.name, tool=call.kind))
            if self._arguments:
                events.append(ArgumentsDelta(0, self._block, "".join(self._arguments)))
        return self._block

    # Text and refusals.

    def part(self, event: Mapping[str, Any], events: list[Event], *, refusal: bool) -> _Part:
        """The part an event is about. The one before it is over."""
        index = event.get("content_index", 0)
        if type(index) is not int or not 0 <= index <= MAX_INDEX:
            raise MalformedEventError("the index of a part is out of range")
        part = self._parts.get(index)
        if part is None:
            self._type = self._type or "message"
            for earlier in self._parts.values():
                self._end_part(earlier, events)
            part = self._parts[index] = _Part(self._new_block(), refusal=refusal)
            item_id = self.id or text(event, "item_id") or None
            events.append(BlockStarted(0, part.block, "refusal" if refusal else "text", item_id))
        return part

    def say(self, part: _Part, said: str, events: list[Event]) -> None:
        if said and not part.ended:
            part.said.append(said)
            events.append(RefusalDelta(0, part.block, said) if part.refusal else TextDelta(0, part.block, said))

    def said(self, part: _Part, whole: str, events: list[Event]) -> None:
        """The whole text is told: what the deltas left out."""
        self.say(part, _missing(part.said, whole), events)

    def cite(self, part: _Part, annotation: object, events: list[Event]) -> None:
        citation = decode_annotation(annotation)
        if citation is not None and citation not in part.citations and not part.ended:
            part.citations.append(citation)
            events.append(CitationAdded(0, part.block, citation))

    def _end_part(self, part: _Part, events: list[Event], final: Text | Refusal | None = None) -> None:
        if part.ended:
            return
        part.ended = True
        said, item_id = "".join(part.said), self.id
        kept: Extras = final.extras if final is not None else {}
        block: Block
        if part.refusal:
            block = Refusal(said, tuple(part.logprobs), item_id, extras=kept)
        else:
            phase = final.phase if isinstance(final, Text) else text(self._announced, "phase") or None
            citations = tuple(part.citations)
            block = Text(said, citations, tuple(part.logprobs), item_id=item_id, phase=phase, extras=kept)
        self._finish_block(part.block, block, events)

    def _finish_block(self, number: int, block: Block, events: list[Event]) -> None:
        self.ended.append(block)
        events.append(BlockEnded(0, number, block))

    # Reasoning, calls, hosted calls.

    def think(self, event: Mapping[str, Any], said: str, events: list[Event], *, summary: bool) -> None:
        """More of a part of reasoning. Parts are a blank line apart."""
        index = event.get("summary_index" if summary else "content_index", 0)
        if type(index) is not int or not 0 <= index <= MAX_INDEX:
            raise MalformedEventError("the index of a part is out of range")
        self._type = self._type or "reasoning"
        block = self._begin("reasoning", events)
        if not said:
            return
        if (summary, index) not in self._thoughts:
            if self._thoughts:
                events.append(ReasoningDelta(0, block, "\n\n", summary))
            self._thoughts[summary, index] = []
        self._thoughts[summary, index].append(said)
        events.append(ReasoningDelta(0, block, said, summary))

    def thought(self, event: Mapping[str, Any], whole: str, events: list[Event], *, summary: bool) -> None:
        index = event.get("summary_index" if summary else "content_index", 0)
        known = self._thoughts.get((summary, index), []) if type(index) is int else []
        self.think(event, _missing(known, whole), events, summary=summary)

    def argue(self, said: str, events: list[Event]) -> None:
        if not said or self._over:
            return
        self._arguments.append(said)
        if self._block is not None:
            events.append(ArgumentsDelta(0, self._block, said))

    def argued(self, whole: str, events: list[Event]) -> None:
        self.argue(_missing(self._arguments, whole), events)

    def code(self, said: str, events: list[Event], *, whole: bool = False) -> None:
        said = _missing(self._code, said) if whole else said
        if said and self._block is not None and not self._over:
            self._code.append(said)
            events.append(CodeDelta(0, self._block, said))

    def progress(self, status: str, events: list[Event]) -> None:
        if self._block is not None and not self._over:
            events.append(HostedProgress(0, self._block, status))

    def preview(self, event: Mapping[str, Any], events: list[Event]) -> None:
        index = event.get("partial_image_index", 0)
        if self._block is not None and type(index) is int and not self._over:
            events.append(PartialImage(0, self._block, index, text(event, "partial_image_b64")))

    # Endings.

    def done(self, item: Mapping[str, Any], events: list[Event]) -> None:
        """The item is told whole: what is not known yet, and the ends of its blocks."""
        if self._over:
            return
        self._type = self._type or text(item, "type") or "message"
        self._announced = {**self._announced, **item}
        if self._type == "message":
            self._done_message(item, events)
        elif self._type == "reasoning":
            self._done_reasoning(item, events)
        elif self._type in _CALLS:
            self._done_call(events)
        else:
            self._done_whole(events)
        self._over = True

    def _done_message(self, item: Mapping[str, Any], events: list[Event]) -> None:
        for index, block in enumerate(decode_message(item)):
            if not isinstance(block, Text | Refusal):
                continue
            part = self.part({"content_index": index}, events, refusal=isinstance(block, Refusal))
            self.said(part, block.text, events)
            if isinstance(block, Text):
                for citation in block.citations:
                    if citation not in part.citations and not part.ended:
                        part.citations.append(citation)
                        events.append(CitationAdded(0, part.block, citation))
            if block.logprobs and not part.logprobs:
                part.logprobs += block.logprobs
                events.append(LogprobsAdded(0, part.block, block.logprobs))
            self._end_part(part, events, block)
        for part in self._parts.values():
            self._end_part(part, events)

    def _done_reasoning(self, item: Mapping[str, Any], events: list[Event]) -> None:
        block = decode_reasoning(item, vendor=VENDOR)
        places = {True: 0, False: 0}
        for part in block.texts:
            name = "summary_index" if part.summary else "content_index"
            self.thought({name: places[part.summary]}, part.text, events, summary=part.summary)
            places[part.summary] += 1
        number = self._begin("reasoning", events)
        if not block.texts and self._thoughts:
            block = Reasoning(self._told(), block.opaque, block.item_id, block.status, block.extras)
        if block.opaque is not None:
            events.append(OpaqueDelta(0, number, block.opaque))
        self._finish_block(number, block, events)

    def _told(self) -> tuple[ReasoningText, ...]:
        return tuple(ReasoningText("".join(said), summary) for (summary, _), said in self._thoughts.items())

    def _done_call(self, events: list[Event]) -> None:
        """The arguments of the whole item count; those of the deltas where it has none."""
        name = "input" if self._type == "custom_tool_call" else "arguments"
        item = {**self._announced, "type": self._type}
        if not item.get(name):
            item[name] = "".join(self._arguments)
        call = decode_call(item)
        if not call.name:
            return  # nobody can make it
        block = self._begin_call(item, events)
        self.argued(call.arguments, events)
        self._finish_block(block, call, events)

    def _done_whole(self, events: list[Event]) -> None:
        for block in decode_item({**self._announced, "type": self._type}, vendor=VENDOR):
            number = self._block if not self.ended and self._block is not None else self._new_block()
            if number != self._block or self._block is None:
                events.append(self._opening(_kind(block), number, self._announced))
            self._finish_block(number, block, events)

    def end(self, events: list[Event]) -> None:
        """The answer is complete, though nobody has said so of this item."""
        if self._over or not self._type:
            return
        if self._type == "reasoning":
            opaque = text(self._announced, "encrypted_content")
            self._over = True
            number = self._begin("reasoning", events)
            kept = ReasoningOpaque(opaque, VENDOR, "encrypted", self.id) if opaque else None
            self._finish_block(number, Reasoning(self._told(), kept, self.id), events)
        elif self._type == "message":
            self._over = True
            for part in self._parts.values():
                self._end_part(part, events)
        else:
            self.done({}, events)


def _missing(known: list[str], whole: str) -> str:
    """What `whole` says beyond what is known; nothing where they contradict, as what was sent cannot be unsent."""
    said = "".join(known)
    return whole[len(said) :] if whole.startswith(said) else ""


def _kind(block: Block) -> BlockKind:
    match block:
        case Image():
            return "image"
        case HostedCall():
            return "hosted_call"
        case HostedResult():
            return "hosted_result"
        case Opaque():
            return "opaque"
        case _:
            return "text"


# Events by their type.


_Handler = Callable[[_Item, Mapping[str, Any], list[Event]], None]


def _added(item: _Item, event: Mapping[str, Any], events: list[Event]) -> None:
    found = event.get("item")
    if not isinstance(found, dict):
        raise MalformedEventError("an item is not an object")
    item.announce(found, events)


def _done(item: _Item, event: Mapping[str, Any], events: list[Event]) -> None:
    found = event.get("item")
    if not isinstance(found, dict):
        raise MalformedEventError("an item is not an object")
    item.done(found, events)


def _part_told(item: _Item, event: Mapping[str, Any], events: list[Event]) -> None:
    """A part is added, or told whole."""
    part = event.get("part")
    if not isinstance(part, dict) or part.get("type") == "reasoning_text":
        return
    refusal = part.get("type") == "refusal"
    known = item.part(event, events, refusal=refusal)
    item.said(known, text(part, "refusal" if refusal else "text"), events)
    annotations = part.get("annotations")
    for annotation in annotations if isinstance(annotations, list) else ():
        item.cite(known, annotation, events)


def _text_delta(item: _Item, event: Mapping[str, Any], events: list[Event]) -> None:
    part = item.part(event, events, refusal=False)
    item.say(part, text(event, "delta"), events)
    entries = decode_logprobs(event.get("logprobs"))
    if entries and not part.ended:
        part.logprobs += entries
        events.append(LogprobsAdded(0, part.block, entries))


def _text_done(item: _Item, event: Mapping[str, Any], events: list[Event]) -> None:
    item.said(item.part(event, events, refusal=False), text(event, "text"), events)


def _refusal_delta(item: _Item, event: Mapping[str, Any], events: list[Event]) -> None:
    item.say(item.part(event, events, refusal=True), text(event, "delta"), events)


def _refusal_done(item: _Item, event: Mapping[str, Any], events: list[Event]) -> None:
    item.said(item.part(event, events, refusal=True), text(event, "refusal"), events)


def _annotation(item: _Item, event: Mapping[str, Any], events: list[Event]) -> None:
    item.cite(item.part(event, events, refusal=False), event.get("annotation"), events)


def _summary_part(item: _Item, event: Mapping[str, Any], events: list[Event]) -> None:
    part = event.get("part")
    item.thought(event, text(part, "text") if isinstance(part, dict) else "", events, summary=True)


def _summary_delta(item: _Item, event: Mapping[str, Any], events: list[Event]) -> None:
    item.think(event, text(event, "delta"), events, summary=True)


def _summary_done(item: _Item, event: Mapping[str, Any], events: list[Event]) -> None:
    item.thought(event, text(event, "text"), events, summary=True)


def _thought_delta(item: _Item, event: Mapping[str, Any], events: list[Event]) -> None:
    item.think(event, text(event, "delta"), events, summary=False)


def _thought_done(item: _Item, event: Mapping[str, Any], events: list[Event]) -> None:
    item.thought(event, text(event, "text"), events, summary=False)


def _arguments_delta(item: _Item, event: Mapping[str, Any], events: list[Event]) -> None:
    item.argue(text(event, "delta"), events)


def _arguments_done(item: _Item, event: Mapping[str, Any], events: list[Event]) -> None:
    item.argued(text(event, "arguments") or text(event, "input"), events)


def _code_delta(item: _Item, event: Mapping[str, Any], events: list[Event]) -> None:
    item.code(text(event, "delta"), events)


def _code_done(item: _Item, event: Mapping[str, Any], events: list[Event]) -> None:
    item.code(text(event, "code"), events, whole=True)


def _preview(item: _Item, event: Mapping[str, Any], events: list[Event]) -> None:
    item.preview(event, events)


def _is_progress(kind: str) -> bool:
    family = kind.removeprefix("response.").partition(".")[0]
    return family in HOSTED or family == IMAGE


def _progress(item: _Item, event: Mapping[str, Any], events: list[Event]) -> None:
    item.progress(event["type"].rpartition(".")[2], events)


_HANDLERS: Mapping[str, _Handler] = {
    "response.output_item.added": _added,
    "response.output_item.done": _done,
    "response.content_part.added": _part_told,
    "response.content_part.done": _part_told,
    "response.output_text.delta": _text_delta,
    "response.output_text.done": _text_done,
    "response.output_text.annotation.added": _annotation,
    "response.refusal.delta": _refusal_delta,
    "response.refusal.done": _refusal_done,
    "response.reasoning_summary_part.added": _summary_part,
    "response.reasoning_summary_part.done": _summary_part,
    "response.reasoning_summary_text.delta": _summary_delta,
    "response.reasoning_summary_text.done": _summary_done,
    "response.reasoning_text.delta": _thought_delta,
    "response.reasoning_text.done": _thought_done,
    "response.function_call_arguments.delta": _arguments_delta,
    "response.function_call_arguments.done": _arguments_done,
    "response.custom_tool_call_input.delta": _arguments_delta,
    "response.custom_tool_call_input.done": _arguments_done,
    "response.mcp_call_arguments.delta": _arguments_delta,
    "response.mcp_call_arguments.done": _arguments_done,
    "response.code_interpreter_call_code.delta": _code_delta,
    "response.code_interpreter_call_code.done": _code_done,
    "response.image_generation_call.partial_image": _preview,
}
