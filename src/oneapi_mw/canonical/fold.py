"""Between a stream of events and a whole answer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from oneapi_mw.canonical.blocks import (
    Audio,
    Block,
    HostedCall,
    HostedResult,
    Image,
    Inline,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    Video,
)
from oneapi_mw.canonical.events import (
    ArgumentsDelta,
    AudioDelta,
    BlockEnded,
    BlockKind,
    BlockStarted,
    CitationAdded,
    Ended,
    Event,
    Failed,
    Finished,
    LogprobsAdded,
    OpaqueDelta,
    ReasoningDelta,
    RefusalDelta,
    Started,
    TextDelta,
    UsageReported,
)
from oneapi_mw.canonical.response import Candidate, Response


def fold(events: Iterable[Event]) -> Response:
    """The answer that a whole stream amounts to. Raises the `UpstreamError` of a `Failed`.

    Blocks are taken as their `BlockEnded` has them, in the order they began.
    """
    response = Response()
    blocks: dict[int, dict[int, Block]] = {}
    endings: dict[int, Finished] = {}
    for event in events:
        match event:
            case BlockEnded(candidate, block, content):
                blocks.setdefault(candidate, {})[block] = content
            case Started():
                response = replace(
                    response,
                    id=event.id,
                    model=event.model,
                    created=event.created,
                    fingerprint=event.fingerprint,
                    tier=event.tier,
                    usage=event.usage,
                    extras=event.extras,
                )
            case UsageReported(usage, rest):
                response = replace(response, usage=usage, usage_extras=rest)
            case Finished(candidate):
                endings[candidate] = event
            case Ended():
                response = replace(
                    response,
                    completed=event.completed,
                    status=event.status,
                    tier=event.tier or response.tier,
                    prompt_block=event.prompt_block,
                    container=event.container,
                )
            case Failed(error):
                raise error
            case _:
                pass  # deltas are in the blocks already
    candidates = tuple(
        _candidate(index, blocks.get(index, {}), endings.get(index)) for index in sorted({*blocks, *endings})
    )
    return replace(response, candidates=candidates)


def _candidate(index: int, blocks: dict[int, Block], ending: Finished | None) -> Candidate:
    content = tuple(blocks[block] for block in sorted(blocks))
    if ending is None:
        return Candidate(content, index=index)
    return Candidate(
        content,
        ending.reason,
        index,
        ending.stop_sequence,
        ending.detail,
        ending.explanation,
        ending.safety,
        ending.grounding,
        ending.extras,
    )


def unfold(response: Response) -> list[Event]:
    """The events of a stream that brings `response` at once: one delta for each block."""
    events: list[Event] = [
        Started(
            response.id,
            response.model,
            response.created,
            response.fingerprint,
            response.tier,
            extras=response.extras,
        )
    ]
    for candidate in response.candidates:
        for number, block in enumerate(candidate.blocks):
            events += _unfold_block(candidate.index, number, block)
        events.append(
            Finished(
                candidate.index,
                candidate.finish,
                candidate.stop_sequence,
                candidate.finish_detail,
                candidate.explanation,
                candidate.safety,
                candidate.grounding,
                candidate.extras,
            )
        )
    if response.usage is not None:
        events.append(UsageReported(response.usage, response.usage_extras))
    events.append(
        Ended(response.completed, response.status, prompt_block=response.prompt_block, container=response.container)
    )
    return events


def _unfold_block(candidate: int, number: int, block: Block) -> list[Event]:
    started = BlockStarted(candidate, number, _kind(block))
    deltas: list[Event] = []
    match block:
        case Text(text, citations, logprobs):
            started = replace(started, item_id=block.item_id)
            if text:
                deltas.append(TextDelta(candidate, number, text))
            deltas += (CitationAdded(candidate, number, citation) for citation in citations)
            if logprobs:
                deltas.append(LogprobsAdded(candidate, number, logprobs))
            if block.opaque is not None:
                deltas.append(OpaqueDelta(candidate, number, block.opaque))
        case Refusal(text, logprobs):
            started = replace(started, item_id=block.item_id)
            deltas.append(RefusalDelta(candidate, number, text))
            if logprobs:
                deltas.append(LogprobsAdded(candidate, number, logprobs))
        case Reasoning(opaque=opaque):
            started = replace(started, item_id=block.item_id)
            deltas += _reasoning_deltas(candidate, number, block)
            if opaque is not None:
                deltas.append(OpaqueDelta(candidate, number, opaque))
        case ToolCall(call_id, name, arguments, kind):
            started = replace(
                started, item_id=block.item_id, call_id=call_id, name=name, tool=kind, opaque=block.opaque
            )
            if arguments:
                deltas.append(ArgumentsDelta(candidate, number, arguments))
        case Audio(source, transcript, audio_id, expires_at):
            data = source.data if isinstance(source, Inline) else ""
            deltas.append(AudioDelta(candidate, number, data, transcript or "", audio_id, expires_at))
        case HostedCall(kind=kind, id=call_id, name=name, opaque=opaque):
            started = replace(started, call_id=call_id, name=name, hosted=kind, opaque=opaque)
        case HostedResult(call_id=call_id, kind=kind):
            started = replace(started, call_id=call_id, hosted=kind)
        case Image(item_id=item_id, opaque=opaque):
            started = replace(started, item_id=item_id, opaque=opaque)
        case _:
            pass  # comes whole with `BlockEnded`
    return [started, *deltas, BlockEnded(candidate, number, block)]


def _reasoning_deltas(candidate: int, number: int, block: Reasoning) -> list[Event]:
    """One delta for each part that can be read, the parts a blank line apart."""
    deltas: list[Event] = []
    for part in block.texts:
        if part.text:
            deltas.append(ReasoningDelta(candidate, number, "\n\n" * bool(deltas) + part.text, part.summary))
    return deltas


def _kind(block: Block) -> BlockKind:
    match block:
        case Text():
            return "text"
        case Refusal():
            return "refusal"
        case Reasoning():
            return "reasoning"
        case ToolCall():
            return "tool_call"
        case Image():
            return "image"
        case Audio():
            return "audio"
        case Video():
            return "video"
        case HostedCall():
            return "hosted_call"
        case HostedResult():
            return "hosted_result"
        case _:
            return "opaque"
