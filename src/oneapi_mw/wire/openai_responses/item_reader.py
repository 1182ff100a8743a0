"""One item of an answer as its events tell it, to the canonical events of its blocks.

Moves:

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
)
from oneapi_mw.canonical.events import (
    ArgumentsDelta,
    BlockEnded,
    BlockKind,
    BlockStarted,
    CitationAdded,
    CodeDelta,
    Event,
    HostedProgress,
    LogprobsAdded,
    OpaqueDelta,
    PartialImage,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
)
from oneapi_mw.wire.openai_responses.content import VENDOR, decode_annotation
from oneapi_mw.wire.openai_responses.event import MAX_INDEX, MalformedEventError
from oneapi_mw.wire.openai_responses.items import (
    CALLS,
    HOSTED,
    IMAGE,
    decode_call,
    decode_item,
    decode_message,
    decode_reasoning,
    text,
)


class Part:
    """A block of text or refusal as it comes in."""

    __slots__ = ("block", "citations", "ended", "logprobs", "refusal", "said")

    def __init__(self, block: int, *, refusal: bool) -> None:
        self.block = block
        self.refusal = refusal
        self.said: list[str] = []
        self.citations: list[Citation] = []
        self.logprobs: list[Mapping[str, Any]] = []
        self.ended = False


class ItemReader:
    """One item of the output, and the blocks it becomes."""

    def __init__(self, new_block: Callable[[], int]) -> None:
        self._new_block = new_block
        self._announced: Mapping[str, Any] = {}
        self._type = ""
        self._parts: dict[int, Part] = {}
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
        elif self._type in CALLS and text(item, "name"):
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

    def part(self, event: Mapping[str, Any], events: list[Event], *, refusal: bool) -> Part:
        """The part an event is about. The one before it is over."""
        index = event.get("content_index", 0)
        if type(index) is not int or not 0 <= index <= MAX_INDEX:
            raise MalformedEventError("the index of a part is out of range")
        part = self._parts.get(index)
        if part is None:
            self._type = self._type or "message"
            for earlier in self._parts.values():
                self._end_part(earlier, events)
            part = self._parts[index] = Part(self._new_block(), refusal=refusal)
            item_id = self.id or text(event, "item_id") or None
            events.append(BlockStarted(0, part.block, "refusal" if refusal else "text", item_id))
        return part

    def say(self, part: Part, said: str, events: list[Event]) -> None:
        if said and not part.ended:
            part.said.append(said)
            events.append(RefusalDelta(0, part.block, said) if part.refusal else TextDelta(0, part.block, said))

    def said(self, part: Part, whole: str, events: list[Event]) -> None:
        """The whole text is told: what the deltas left out."""
        self.say(part, _missing(part.said, whole), events)

    def cite(self, part: Part, annotation: object, events: list[Event]) -> None:
        citation = decode_annotation(annotation)
        if citation is not None and citation not in part.citations and not part.ended:
            part.citations.append(citation)
            events.append(CitationAdded(0, part.block, citation))

    def _end_part(self, part: Part, events: list[Event], final: Text | Refusal | None = None) -> None:
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
        if self._over:
            return
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
        elif self._type in CALLS:
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
