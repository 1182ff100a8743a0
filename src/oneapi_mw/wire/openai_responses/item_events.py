"""Events that tell of an item, by their type, and what each of them says to its reader."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from oneapi_mw.canonical.events import Event, LogprobsAdded
from oneapi_mw.wire.openai_responses.content import decode_logprobs
from oneapi_mw.wire.openai_responses.event import MalformedEventError
from oneapi_mw.wire.openai_responses.item_reader import ItemReader
from oneapi_mw.wire.openai_responses.items import HOSTED, IMAGE, text

Handler: TypeAlias = Callable[[ItemReader, Mapping[str, Any], list[Event]], None]


def _added(item: ItemReader, event: Mapping[str, Any], events: list[Event]) -> None:
    found = event.get("item")
    if not isinstance(found, dict):
        raise MalformedEventError("an item is not an object")
    item.announce(found, events)


def _done(item: ItemReader, event: Mapping[str, Any], events: list[Event]) -> None:
    found = event.get("item")
    if not isinstance(found, dict):
        raise MalformedEventError("an item is not an object")
    item.done(found, events)


def _part_told(item: ItemReader, event: Mapping[str, Any], events: list[Event]) -> None:
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


def _text_delta(item: ItemReader, event: Mapping[str, Any], events: list[Event]) -> None:
    part = item.part(event, events, refusal=False)
    item.say(part, text(event, "delta"), events)
    entries = decode_logprobs(event.get("logprobs"))
    if entries and not part.ended:
        part.logprobs += entries
        events.append(LogprobsAdded(0, part.block, entries))


def _text_done(item: ItemReader, event: Mapping[str, Any], events: list[Event]) -> None:
    item.said(item.part(event, events, refusal=False), text(event, "text"), events)


def _refusal_delta(item: ItemReader, event: Mapping[str, Any], events: list[Event]) -> None:
    item.say(item.part(event, events, refusal=True), text(event, "delta"), events)


def _refusal_done(item: ItemReader, event: Mapping[str, Any], events: list[Event]) -> None:
    item.said(item.part(event, events, refusal=True), text(event, "refusal"), events)


def _annotation(item: ItemReader, event: Mapping[str, Any], events: list[Event]) -> None:
    item.cite(item.part(event, events, refusal=False), event.get("annotation"), events)


def _summary_part(item: ItemReader, event: Mapping[str, Any], events: list[Event]) -> None:
    part = event.get("part")
    item.thought(event, text(part, "text") if isinstance(part, dict) else "", events, summary=True)


def _summary_delta(item: ItemReader, event: Mapping[str, Any], events: list[Event]) -> None:
    item.think(event, text(event, "delta"), events, summary=True)


def _summary_done(item: ItemReader, event: Mapping[str, Any], events: list[Event]) -> None:
    item.thought(event, text(event, "text"), events, summary=True)


def _thought_delta(item: ItemReader, event: Mapping[str, Any], events: list[Event]) -> None:
    item.think(event, text(event, "delta"), events, summary=False)


def _thought_done(item: ItemReader, event: Mapping[str, Any], events: list[Event]) -> None:
    item.thought(event, text(event, "text"), events, summary=False)


def _arguments_delta(item: ItemReader, event: Mapping[str, Any], events: list[Event]) -> None:
    item.argue(text(event, "delta"), events)


def _arguments_done(item: ItemReader, event: Mapping[str, Any], events: list[Event]) -> None:
    item.argued(text(event, "arguments") or text(event, "input"), events)


def _code_delta(item: ItemReader, event: Mapping[str, Any], events: list[Event]) -> None:
    item.code(text(event, "delta"), events)


def _code_done(item: ItemReader, event: Mapping[str, Any], events: list[Event]) -> None:
    item.code(text(event, "code"), events, whole=True)


def _preview(item: ItemReader, event: Mapping[str, Any], events: list[Event]) -> None:
    item.preview(event, events)


def is_progress(kind: str) -> bool:
    """Whether an event of a type that has no handler tells how far a hosted call is."""
    family = kind.removeprefix("response.").partition(".")[0]
    return family in HOSTED or family == IMAGE


def read_progress(item: ItemReader, event: Mapping[str, Any], events: list[Event]) -> None:
    item.progress(event["type"].rpartition(".")[2], events)


HANDLERS: Mapping[str, Handler] = {
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
