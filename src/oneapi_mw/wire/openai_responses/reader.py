"""Events of a stream, or a whole response, to canonical events.

`SignificantReader` finds what every stage needs to know: that the answer began, its usage, how it ended.
`EventReader` finds all of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from typing import Any

from oneapi_mw.canonical.blocks import Extras, Refusal, ToolCall
from oneapi_mw.canonical.events import (
    ArgumentsDelta,
    CodeDelta,
    Ended,
    Event,
    ForeignEvent,
    ReasoningDelta,
    RefusalDelta,
    Started,
    TextDelta,
    UsageReported,
)
from oneapi_mw.usage import Usage
from oneapi_mw.wire.extras import mapped
from oneapi_mw.wire.openai_responses.content import NAME, extras
from oneapi_mw.wire.openai_responses.event import MAX_INDEX, MalformedEventError
from oneapi_mw.wire.openai_responses.finish import decode_finish
from oneapi_mw.wire.openai_responses.item_events import HANDLERS, is_progress, read_progress
from oneapi_mw.wire.openai_responses.item_reader import ItemReader
from oneapi_mw.wire.openai_responses.items import CALLS, text
from oneapi_mw.wire.openai_responses.usage import decode_usage, unmapped_usage

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
        any_call = any(item.get("type") in CALLS and item.get("status") != "incomplete" for item in items)
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
        self._items: dict[int, ItemReader] = {}
        self._new_block = count().__next__
        self._size = 0

    def _start(self, response: Mapping[str, Any]) -> Started:
        started = super()._start(response)
        rest = extras(response, _RESPONSE)
        return Started(started.id, started.model, started.created, tier=started.tier, extras=rest)

    def _content(self, event: Mapping[str, Any], events: list[Event]) -> None:
        kind = event.get("type")
        if not isinstance(kind, str):
            return
        handler = HANDLERS.get(kind)
        if handler is None and is_progress(kind):
            handler = read_progress
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

    def _item(self, event: Mapping[str, Any], kind: str) -> ItemReader:
        index = event.get("output_index")
        index = self._index_of(event) if index is None else index
        if type(index) is not int or not 0 <= index <= MAX_INDEX:
            raise MalformedEventError("the index of an item is out of range")
        item = self._items.get(index)
        if item is None:
            item = self._items[index] = ItemReader(self._new_block)
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

    def read_item(self, index: int, item: Mapping[str, Any], events: list[Event]) -> None:
        """A whole item that no event has told of; nothing when it is known."""
        known = self._items.get(index)
        if known is None:
            known = self._items[index] = ItemReader(self._new_block)
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
