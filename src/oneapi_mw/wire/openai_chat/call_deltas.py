"""The tool calls of one candidate, from their deltas.

Moves of a call:

    its first delta         -> it is known from now on by its index, id or position
    arguments               -> its name is settled: it begins; what else comes of them goes into it
    something else begins   -> it begins, and ends if its arguments are a whole object
    the choice is finished  -> it ends; one without a name is dropped
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

from oneapi_mw.canonical.blocks import ReasoningOpaque, ToolCall
from oneapi_mw.canonical.events import ArgumentsDelta, BlockEnded, BlockStarted, Event, OpaqueDelta
from oneapi_mw.jsontext import loads
from oneapi_mw.wire.ids import synthetic_id
from oneapi_mw.wire.openai_chat.chunk import MAX_INDEX, MalformedChunkError
from oneapi_mw.wire.openai_chat.content import arguments_text, call_signature


class IncomingCall:
    """A tool call as it comes in. It begins when its name cannot grow any more."""

    __slots__ = ("_checked", "_whole", "arguments", "block", "custom", "ended", "id", "name", "opaque", "size")

    def __init__(self) -> None:
        self.id = ""
        self.name = ""
        self.custom = False
        self.arguments: list[str] = []
        self.size = 0
        self.opaque: ReasoningOpaque | None = None
        self.block: int | None = None
        self.ended = False
        self._checked = 0  # size at which `_whole` was found out
        self._whole = False

    def is_whole(self) -> bool:
        """Whether the arguments are a complete object: the call can end as soon as something else begins."""
        if self.size != self._checked:
            self._checked = self.size
            text = "".join(self.arguments)
            self.arguments = [text]
            self._whole = not self.custom and text.rstrip().endswith("}") and _is_object(text)
        return self._whole

    def content(self) -> ToolCall:
        kind: Literal["function", "custom"] = "custom" if self.custom else "function"
        return ToolCall(self.id, self.name, "".join(self.arguments), kind, opaque=self.opaque)


def _is_object(text: str) -> bool:
    try:
        return isinstance(loads(text.encode("utf-8", "surrogatepass")), dict)
    except ValueError:
        return False


class Calls:
    """The calls of one candidate, in the order they came in. What is said beside them has to end before one begins."""

    def __init__(self, candidate: int, answer: tuple[object, ...], new_block: Callable[[], int]) -> None:
        self._candidate = candidate
        self._answer = answer  # what tells this answer from the next: ids of calls are made from it
        self._new_block = new_block
        self._known: list[IncomingCall] = []
        self._slots: dict[int, IncomingCall] = {}
        self._ids: set[str] = set()
        self.size = 0
        """Characters of arguments so far."""
        self.complete = False
        """Whether a call has ended that can be made."""
        self.any = False
        """Whether any call has ended."""

    def feed(self, delta: Mapping[str, Any], events: list[Event]) -> IncomingCall | None:
        """Take a delta of a call. Returns the call if it is to begin now. Raises `MalformedChunkError`."""
        custom = isinstance(delta.get("custom"), dict)
        body = delta.get("custom" if custom else "function")
        fields: Mapping[str, Any] = body if isinstance(body, dict) else {}
        call_id, name = delta.get("id"), fields.get("name")
        call_id = call_id if isinstance(call_id, str) else ""
        name = name if isinstance(name, str) else ""
        call = self._find(delta.get("index"), call_id, name)
        if call.ended:
            return None
        call.custom = call.custom or custom
        if call.block is None:
            call.id = call.id or call_id
            if name != call.name and not (call.name and call.size):
                call.name += name
        signature = call_signature(delta)
        if signature is not None:
            call.opaque = signature
            if call.block is not None:
                events.append(OpaqueDelta(self._candidate, call.block, signature))
        text = arguments_text(fields.get("input" if custom else "arguments"))
        if text:
            call.arguments.append(text)
            call.size += len(text)
            self.size += len(text)
        if call.block is None:
            return call if call.size and call.name else None
        if text:
            events.append(ArgumentsDelta(self._candidate, call.block, text))
        return None

    def _find(self, index: object, call_id: str, name: str) -> IncomingCall:
        """The call a delta belongs to; a new one when it belongs to none."""
        if index is None:
            known = next((call for call in self._known if call_id and call.id == call_id), None)
            last = self._known[-1] if self._known else None
            if known is None and not call_id and last is not None and not (name and (last.ended or last.is_whole())):
                known = last
            return known or self._new()
        if type(index) is not int or not 0 <= index <= MAX_INDEX:
            raise MalformedChunkError("the index of a tool call is out of range")
        call = self._slots.get(index)
        # several servers number every call 0: another id with a name is another call
        if call is None or (call_id and call.id and call_id != call.id and name):
            call = self._slots[index] = self._new()
        return call

    def _new(self) -> IncomingCall:
        if len(self._known) > MAX_INDEX:
            raise MalformedChunkError("too many tool calls")
        call = IncomingCall()
        self._known.append(call)
        return call

    def begin(self, call: IncomingCall, events: list[Event]) -> None:
        """`call` begins, behind the ones that came before it."""
        self.settle(events, before=call)
        self._begin_alone(call, events)

    def settle(self, events: list[Event], before: IncomingCall | None = None) -> None:
        """Something else begins. Calls that lack nothing are over, so that a client can have them; those that
        have only a name so far begin, so that order is kept."""
        for call in self._known:
            if call is before:
                break
            if call.ended:
                continue
            if call.block is None and call.name:
                self._begin_alone(call, events)
            if call.is_whole():
                self._end(call, events)

    def finish(self, events: list[Event]) -> None:
        """No more of any call will come. One without a name cannot be made: it is dropped."""
        for call in self._known:
            if call.block is None and call.name:
                self.begin(call, events)
            self._end(call, events)

    def _begin_alone(self, call: IncomingCall, events: list[Event]) -> None:
        call.id = self._unique(call.id or synthetic_id(*self._answer, self._candidate, len(self._ids), call.name))
        call.block = self._new_block()
        tool: Literal["function", "custom"] = "custom" if call.custom else "function"
        events.append(
            BlockStarted(
                self._candidate,
                call.block,
                "tool_call",
                call_id=call.id,
                name=call.name,
                tool=tool,
                opaque=call.opaque,
            )
        )
        if call.size:
            events.append(ArgumentsDelta(self._candidate, call.block, "".join(call.arguments)))

    def _unique(self, call_id: str) -> str:
        unique, number = call_id, 2
        while unique in self._ids:
            unique = f"{call_id}_{number}"
            number += 1
        self._ids.add(unique)
        return unique

    def _end(self, call: IncomingCall, events: list[Event]) -> None:
        if call.ended or call.block is None:
            return
        call.ended = True
        self.any = True
        self.complete = self.complete or call.custom or not call.size or call.is_whole()
        events.append(BlockEnded(self._candidate, call.block, call.content()))


def call_deltas(delta: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """What a delta of a choice says of calls, the older form as the newer. Raises `MalformedChunkError`."""
    calls = delta.get("tool_calls")
    if calls is not None and not isinstance(calls, list):
        raise MalformedChunkError("tool_calls is not a list")
    for call in calls or ():
        if not isinstance(call, dict):
            raise MalformedChunkError("a tool call is not an object")
        yield call
    legacy = delta.get("function_call")
    if isinstance(legacy, dict):
        yield {"index": 0, "function": legacy}
