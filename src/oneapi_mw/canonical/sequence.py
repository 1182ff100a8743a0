"""One open block at a time, for wires and clients that cannot interleave them."""

from __future__ import annotations

from collections.abc import Iterable

from oneapi_mw.canonical.events import (
    ArgumentsDelta,
    AudioDelta,
    BlockEnded,
    BlockStarted,
    CitationAdded,
    CodeDelta,
    Event,
    Finished,
    HostedProgress,
    LogprobsAdded,
    OpaqueDelta,
    PartialImage,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
)

_OF_A_BLOCK = (
    TextDelta,
    ReasoningDelta,
    ArgumentsDelta,
    BlockStarted,
    BlockEnded,
    RefusalDelta,
    OpaqueDelta,
    LogprobsAdded,
    CitationAdded,
    AudioDelta,
    CodeDelta,
    PartialImage,
    HostedProgress,
)


class Sequencer:
    """Orders the events of each candidate so that blocks follow one another.

    The block that began first passes live; events of later ones queue until it has ended. Nothing is lost or
    changed; what never ended is released when its candidate finishes. The queue is at most the answer itself.
    """

    def __init__(self) -> None:
        self._lines: dict[int, _Line] = {}

    def feed(self, events: Iterable[Event]) -> list[Event]:
        out: list[Event] = []
        for event in events:
            if isinstance(event, _OF_A_BLOCK):
                line = self._lines.get(event.candidate)
                if line is None:
                    line = self._lines[event.candidate] = _Line()
                line.feed(event.block, event, out)
            elif isinstance(event, Finished):
                line = self._lines.get(event.candidate)
                if line is not None:
                    line.release(out)
                out.append(event)
            else:
                out.append(event)
        return out


class _Line:
    """The blocks of one candidate: one live, the others waiting in the order they began."""

    __slots__ = ("_live", "_waiting")

    def __init__(self) -> None:
        self._live: int | None = None
        self._waiting: dict[int, list[Event]] = {}

    def feed(self, block: int, event: Event, out: list[Event]) -> None:
        if self._live is None:
            self._live = block
        if block != self._live:
            self._waiting.setdefault(block, []).append(event)
            return
        out.append(event)
        if isinstance(event, BlockEnded):
            self._advance(out)

    def _advance(self, out: list[Event]) -> None:
        """The live block has ended: those that waited follow, up to the first that is still open."""
        self._live = None
        while self._waiting:
            block = next(iter(self._waiting))
            events = self._waiting.pop(block)
            out += events
            if not isinstance(events[-1], BlockEnded):
                self._live = block
                return

    def release(self, out: list[Event]) -> None:
        while self._waiting:
            self._advance(out)
        self._live = None
