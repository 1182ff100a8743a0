"""Structured output for targets that have none: how to ask, and how to read the answer back.

The answer of a forced tool comes back as text with the ending of a text, piece by piece as it comes. Nothing is
parsed or repaired on the way.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import Any

from oneapi_mw.canonical.blocks import Text, ToolCall
from oneapi_mw.canonical.events import (
    ArgumentsDelta,
    BlockEnded,
    BlockStarted,
    Event,
    Finished,
    OpaqueDelta,
    TextDelta,
)
from oneapi_mw.canonical.fold import fold, unfold
from oneapi_mw.canonical.response import Response
from oneapi_mw.immutable import immutable
from oneapi_mw.jsontext import dumps, well_formed
from oneapi_mw.wire.schema.wrap import Unfencer, Unwrapper

ANY_OBJECT = "Answer with one JSON object and nothing else."
JSON_TOOL = "json_tool_call"


def instruction(schema: Any) -> str:
    """What to tell a model that cannot be held to `schema`."""
    text = well_formed(dumps(schema).decode())
    return f"Answer with one JSON value that matches this JSON Schema and nothing else: {text}"


def json_tool_name(taken: Collection[str]) -> str:
    """A name for the tool whose input is the answer, unlike those in `taken`."""
    name, number = JSON_TOOL, 2
    while name in taken:
        name, number = f"{JSON_TOOL}_{number}", number + 1
    return name


@immutable
class Emulation:
    """How the output was asked for, as far as the answer must be changed back."""

    tool: str | None = None
    """Name of the tool whose input is the answer."""
    wrapped: bool = False
    """The answer is the member `value` of an object."""
    fenced: bool = False
    """The model was only asked, and may put a Markdown fence around its answer."""


class _Open:
    """A block whose text is being changed."""

    def __init__(self, emulation: Emulation) -> None:
        self._machines: list[Unfencer | Unwrapper] = []
        if emulation.fenced:
            self._machines.append(Unfencer())
        if emulation.wrapped:
            self._machines.append(Unwrapper())
        self.parts: list[str] = []

    def feed(self, text: str) -> str:
        for machine in self._machines:
            text = machine.feed(text)
        self.parts.append(text)
        return text

    def close(self) -> str:
        text = ""
        for machine in self._machines:
            text = machine.feed(text) + machine.close()
        self.parts.append(text)
        return text


class AnswerRestorer:
    """Events of an answer to an emulated request, as those of the answer that was asked for."""

    def __init__(self, emulation: Emulation) -> None:
        self._emulation = emulation
        self._open: dict[tuple[int, int], _Open] = {}
        self._answered: set[int] = set()  # candidates whose answer came as the tool
        self._called: set[int] = set()  # candidates that called another tool
        self._left_out: set[tuple[int, int]] = set()  # blocks nobody will see

    def feed(self, events: Iterable[Event]) -> list[Event]:
        out: list[Event] = []
        for event in events:
            self._restore(event, out)
        return out

    def _restore(self, event: Event, out: list[Event]) -> None:
        match event:
            case BlockStarted(candidate, block, "tool_call") if event.name == self._emulation.tool:
                if candidate in self._called:  # other calls came first: they win
                    self._left_out.add((candidate, block))
                    return
                self._answered.add(candidate)
                self._open[candidate, block] = _Open(self._emulation)
                out.append(BlockStarted(candidate, block, "text"))
            case BlockStarted(candidate, block, "tool_call"):
                self._called.add(candidate)
                out.append(event)
            case BlockStarted(candidate, block, "text"):
                if self._emulation.tool is None:
                    self._open[candidate, block] = _Open(self._emulation)
                out.append(event)
            case ArgumentsDelta() | OpaqueDelta() | BlockEnded() if (event.candidate, event.block) in self._left_out:
                pass
            case ArgumentsDelta(candidate, block, text) | TextDelta(candidate, block, text):
                state = self._open.get((candidate, block))
                if state is None:
                    out.append(event)
                elif shown := state.feed(text):
                    out.append(TextDelta(candidate, block, shown))
            case OpaqueDelta(candidate, block) if (candidate, block) in self._open and self._emulation.tool:
                pass  # a signature of the call that is none any more
            case BlockEnded():
                self._end(event, out)
            case Finished(candidate, "tool_calls") if candidate in self._answered - self._called:
                out.append(replace(event, reason="stop"))
            case _:
                out.append(event)

    def _end(self, event: BlockEnded, out: list[Event]) -> None:
        candidate, block, content = event.candidate, event.block, event.content
        state = self._open.pop((candidate, block), None)
        if state is None:
            out.append(event)
            return
        if not state.parts:  # no deltas: the text is in the block alone
            whole = content.arguments if isinstance(content, ToolCall) else getattr(content, "text", "")
            if first := state.feed(whole):
                out.append(TextDelta(candidate, block, first))
        if rest := state.close():
            out.append(TextDelta(candidate, block, rest))
        text = "".join(state.parts)
        restored = replace(content, text=text) if isinstance(content, Text) else Text(text)
        out.append(BlockEnded(candidate, block, restored))


def restore_response(response: Response, emulation: Emulation) -> Response:
    """The same for a whole answer."""
    restored = fold(AnswerRestorer(emulation).feed(unfold(response)))
    return replace(response, candidates=restored.candidates)
