"""Stop sequences for upstreams that have none: the answer is cut at the first match, wherever deltas divide it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from oneapi_mw.canonical.blocks import Text
from oneapi_mw.canonical.events import (
    BlockEnded,
    BlockStarted,
    CitationAdded,
    Ended,
    Event,
    Failed,
    Finished,
    LogprobsAdded,
    TextDelta,
)
from oneapi_mw.canonical.fold import fold, unfold
from oneapi_mw.canonical.response import Response
from oneapi_mw.canonical.sequence import Sequencer


class StopCutter:
    """Events of one answer, cut at the first of `stops` in the text of each candidate.

    Only text counts: reasoning, refusals and arguments of calls pass. Text that may be the beginning of a stop
    sequence waits until it is known; at most the longest one less a character. The block of the match ends with what
    stood before it, its candidate finishes with `stop_sequence`, and nothing more of it comes out. When all candidates
    have been cut, the answer is over: `Ended` comes at once, `cut` is true, and the upstream may be closed.

    Args:
        candidates: how many answers were asked for.
    """

    def __init__(self, stops: Sequence[str], *, candidates: int = 1) -> None:
        self._stops = tuple(stop for stop in stops if stop)
        self._candidates = candidates
        self._sequencer = Sequencer()
        self._texts: dict[int, _Text] = {}
        self._stopped: set[int] = set()
        self._over = False

    @property
    def cut(self) -> bool:
        """Whether nothing the upstream may still say is wanted."""
        return len(self._stopped) >= self._candidates

    def feed(self, events: Iterable[Event]) -> list[Event]:
        out: list[Event] = []
        for event in self._sequencer.feed(events):
            if not self._over:
                self._pass(event, out)
        return out

    def _pass(self, event: Event, out: list[Event]) -> None:
        candidate = getattr(event, "candidate", None)
        if candidate in self._stopped:
            return
        match event:
            case BlockStarted(kind="text"):
                self._texts[event.candidate] = _Text()
                out.append(event)
            case TextDelta():
                self._text(event, out)
            case LogprobsAdded() if event.candidate in self._texts:
                self._texts[event.candidate].logprobs += event.logprobs
                out.append(event)
            case CitationAdded() if event.candidate in self._texts:
                self._texts[event.candidate].citations.append(event)
            case BlockEnded(content=Text() as content) if event.candidate in self._texts:
                self._end_text(event, content, out)
            case Ended() | Failed():
                self._over = True
                out.append(event)
            case _:
                out.append(event)

    def _text(self, event: TextDelta, out: list[Event]) -> None:
        text = self._texts.setdefault(event.candidate, _Text())
        text.waiting += event.text
        found = self._first_match(text.waiting)
        if found is not None:
            place, stop = found
            self._say(event, text, place, out)
            self._stop(event, text, stop, out)
            return
        self._say(event, text, len(text.waiting) - self._may_begin(text.waiting), out)

    def _say(self, event: TextDelta, text: _Text, length: int, out: list[Event]) -> None:
        said, text.waiting = text.waiting[:length], text.waiting[length:]
        if said:
            text.said.append(said)
            out.append(replace(event, text=said))

    def _first_match(self, waiting: str) -> tuple[int, str] | None:
        """Place and text of the match that is complete first, as if the text came letter by letter; of two that are
        complete together the longer."""
        matches = [(place + len(stop), place, stop) for stop in self._stops if (place := waiting.find(stop)) >= 0]
        if not matches:
            return None
        _, place, stop = min(matches)
        return place, stop

    def _may_begin(self, waiting: str) -> int:
        """Length of the longest end of `waiting` that a stop sequence begins with."""
        longest = max((len(stop) for stop in self._stops), default=1) - 1
        for length in range(min(longest, len(waiting)), 0, -1):
            end = waiting[-length:]
            if any(stop.startswith(end) for stop in self._stops):
                return length
        return 0

    def _stop(self, event: TextDelta, text: _Text, stop: str, out: list[Event]) -> None:
        said = "".join(text.said)
        block = text.cut(said)
        out += (found for found in text.citations if _within(found.citation.end, said))
        out.append(BlockEnded(event.candidate, event.block, block))
        out.append(Finished(event.candidate, "stop_sequence", stop))
        del self._texts[event.candidate]
        self._stopped.add(event.candidate)
        if self.cut:
            self._over = True
            out.append(Ended())

    def _end_text(self, event: BlockEnded, content: Text, out: list[Event]) -> None:
        """The block is over: what waited was no stop sequence after all."""
        text = self._texts[event.candidate]
        if not text.said and not text.waiting and content.text:  # it comes without deltas
            delta = TextDelta(event.candidate, event.block, content.text)
            self._text(delta, out)
            if event.candidate in self._stopped:
                return
        if text.waiting:
            self._say(TextDelta(event.candidate, event.block, ""), text, len(text.waiting), out)
        del self._texts[event.candidate]
        out += text.citations
        out.append(event)


class _Text:
    """A text block as it comes in."""

    __slots__ = ("citations", "logprobs", "said", "waiting")

    def __init__(self) -> None:
        self.said: list[str] = []
        self.waiting = ""
        self.citations: list[CitationAdded] = []  # told when it is known which of them remain
        self.logprobs: list[Mapping[str, Any]] = []

    def cut(self, said: str) -> Text:
        """The block with nothing but `said`, and what belongs to that."""
        citations = tuple(found.citation for found in self.citations if _within(found.citation.end, said))
        kept, length = [], 0
        for entry in self.logprobs:
            length += len(str(entry.get("token", "")))
            if length > len(said):
                break
            kept.append(entry)
        return Text(said, citations, tuple(kept))


def _within(end: int | None, said: str) -> bool:
    return end is None or end <= len(said)


def cut_response(response: Response, stops: Sequence[str]) -> Response:
    """A whole answer cut at the first of `stops` in each candidate's text. What it consumed stays."""
    if not any(stop for stop in stops):
        return response
    cutter = StopCutter(stops, candidates=len(response.candidates))
    cut = fold(cutter.feed(unfold(response)))
    return replace(response, candidates=cut.candidates)
