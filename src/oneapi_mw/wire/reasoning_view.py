"""Reasoning in the representation the client asked for, on canonical events and answers.

    hidden  text of reasoning goes; opaque parts stay, as they have to come back
    raw     reasoning becomes text between tags, opened and closed once for each stretch
    tags    text between tags becomes reasoning
    off     hidden; but what a host said as reasoning alone, told not to reason, is the answer

Blocks are numbered anew, because one may become two.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TypeAlias

from oneapi_mw.canonical.blocks import Block, Citation, Reasoning, ReasoningText, Text
from oneapi_mw.canonical.events import (
    ArgumentsDelta,
    AudioDelta,
    BlockEnded,
    BlockKind,
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
from oneapi_mw.canonical.fold import fold, unfold
from oneapi_mw.canonical.response import Candidate, Response
from oneapi_mw.canonical.sequence import Sequencer
from oneapi_mw.wire.thinktags import Pieces, ThinkSplitter, split
from oneapi_mw.wire.view import THINK_CLOSE, THINK_OPEN, ReasoningView

__all__ = ["EventView", "view_response"]

_Passing: TypeAlias = (
    ArgumentsDelta
    | AudioDelta
    | CitationAdded
    | CodeDelta
    | HostedProgress
    | LogprobsAdded
    | OpaqueDelta
    | PartialImage
    | RefusalDelta
)
"""Events of a block that pass, but for its number."""


class EventView:
    """Events of one stream as they are shown. See the module."""

    def __init__(self, view: ReasoningView) -> None:
        self._view = view
        self._sequencer = Sequencer()
        self._candidates: dict[int, _Candidate] = {}

    def feed(self, events: Iterable[Event]) -> list[Event]:
        out: list[Event] = []
        for event in self._sequencer.feed(events):
            match event:
                case BlockStarted(candidate):
                    self._of(candidate).begin(event, out)
                case TextDelta(candidate, _, text):
                    self._of(candidate).text(text, out)
                case ReasoningDelta(candidate):
                    self._of(candidate).reasoning(event, out)
                case BlockEnded(candidate):
                    self._of(candidate).end(event, out)
                case Finished(candidate):
                    self._of(candidate).finish(event, out)
                case Ended() | Failed():
                    for state in self._candidates.values():
                        state.abandon(out)
                    out.append(event)
                case Started() | UsageReported() | Ping() | ForeignEvent():
                    out.append(event)
                case _:
                    self._of(event.candidate).other(event, out)
        return out

    def _of(self, candidate: int) -> _Candidate:
        state = self._candidates.get(candidate)
        if state is None:
            state = self._candidates[candidate] = _Candidate(candidate, self._view)
        return state


class _Shown:
    """A block that is being shown."""

    __slots__ = ("kind", "number", "parts")

    def __init__(self, number: int, kind: BlockKind) -> None:
        self.number = number
        self.kind = kind
        self.parts: list[str] = []


class _Candidate:
    """One answer. Its blocks come one after another."""

    def __init__(self, index: int, view: ReasoningView) -> None:
        self._index = index
        self._view = view
        self._next = 0
        self._begun: BlockStarted | None = None  # the original block that is open
        self._shown: _Shown | None = None  # what of it is shown at the moment
        self._raw: _Shown | None = None  # the text block with the tag that is open
        self._carried: list[Reasoning] = []  # parts that go behind it
        self._gap = ""  # between the last reasoning in the tag and the next
        self._splitter = ThinkSplitter(view.tags)
        self._looked = False  # whether tags were looked for in the open text block
        self._fed = 0  # characters of the open text block
        self._held: list[str] = []  # not to be shown, unless it turns out to be the answer
        self._said = False

    # What comes.

    def begin(self, event: BlockStarted, out: list[Event]) -> None:
        self._begun = event
        self._looked, self._fed = False, 0
        if event.kind == "reasoning":
            self._splitter.close()  # an answer with reasoning of its own has none between tags
            if self._view.hides or self._view.shown == "raw":
                return
        else:
            self._leave_tag(out)
            if event.kind == "text" and not self._splitter.over:
                return
            self._said = self._said or event.kind != "text"
        self._open(event.kind, out, event)

    def text(self, text: str, out: list[Event]) -> None:
        if self._shown is not None and self._splitter.over and not self._looked:
            self._said = self._said or bool(text)
            out.append(TextDelta(self._index, self._shown.number, text))
            return
        self._looked = True
        self._fed += len(text)
        self._say(self._splitter.feed(text), out)

    def reasoning(self, event: ReasoningDelta, out: list[Event]) -> None:
        if self._view.hides:
            if self._view.off and not self._said:
                self._held.append(event.text)
        elif self._view.shown == "raw":
            self._into_tag(event.text, out)
        elif self._shown is not None:
            out.append(replace(event, block=self._shown.number))

    def other(self, event: _Passing, out: list[Event]) -> None:
        if isinstance(event, OpaqueDelta) and self._kind == "reasoning" and self._shown is None:
            return  # comes with the end
        shown = self._shown or self._open(self._kind, out, self._begun)
        if isinstance(event, CitationAdded) and self._looked:
            event = replace(event, citation=_moved(event.citation, self._fed - sum(map(len, shown.parts))))
        out.append(replace(event, block=shown.number))

    def end(self, event: BlockEnded, out: list[Event]) -> None:
        content = event.content
        if isinstance(content, Reasoning) and (self._view.hides or self._view.shown == "raw"):
            self._end_thought(content, out)
        elif isinstance(content, Text) and (self._looked or self._shown is None):
            self._end_text(content, out)
        else:
            shown = self._shown or self._open(self._kind, out, self._begun)
            out.append(BlockEnded(self._index, shown.number, content))
        self._begun = self._shown = None

    def finish(self, event: Finished, out: list[Event]) -> None:
        self.abandon(out)
        if self._held and not self._said and event.reason == "stop":
            shown = self._open("text", out)
            self._piece(shown, "".join(self._held), out)
            self._close(shown, out)
        self._held.clear()
        out.append(event)

    def abandon(self, out: list[Event]) -> None:
        """Show what is held: nothing more will come."""
        self._say(self._splitter.close(), out)
        self._leave_tag(out)

    # What is shown.

    @property
    def _kind(self) -> BlockKind:
        return self._begun.kind if self._begun is not None else "text"

    def _open(self, kind: BlockKind, out: list[Event], like: BlockStarted | None = None) -> _Shown:
        shown = self._shown = _Shown(self._next, kind)
        self._next += 1
        started = BlockStarted(self._index, shown.number, kind)
        if like is not None and like.kind == kind:
            started = replace(like, block=shown.number)
        out.append(started)
        return shown

    def _say(self, pieces: Pieces, out: list[Event]) -> None:
        """Text of the open text block, as blocks of what it is."""
        for kind, text in pieces:
            if kind == "reasoning" and self._view.hides:
                if self._view.off and not self._said:
                    self._held.append(text)
                continue
            self._said = self._said or kind == "text"
            shown = self._shown
            if shown is None or shown.kind != kind:
                if shown is not None:
                    self._close(shown, out)
                shown = self._open(kind, out, self._begun)
            self._piece(shown, text, out)

    def _piece(self, shown: _Shown, text: str, out: list[Event]) -> None:
        shown.parts.append(text)
        delta: Event = (
            ReasoningDelta(self._index, shown.number, text)
            if shown.kind == "reasoning"
            else TextDelta(self._index, shown.number, text)
        )
        out.append(delta)

    def _close(self, shown: _Shown, out: list[Event], like: Text | None = None) -> None:
        text = "".join(shown.parts)
        content: Block
        if shown.kind == "reasoning":
            content = Reasoning((ReasoningText(text),))
        else:
            content = Text(text) if like is None else _shortened(like, text)
        out.append(BlockEnded(self._index, shown.number, content))
        self._shown = None

    def _end_text(self, content: Text, out: list[Event]) -> None:
        """The end of a text block that tags were looked for in, or that came without deltas."""
        if not self._fed and content.text:
            self.text(content.text, out)
        self._say(self._splitter.close(), out)
        shown = self._shown
        if shown is not None and shown.kind == "text":
            self._close(shown, out, content)
            return
        if shown is not None:
            self._close(shown, out)
        if content.opaque is not None or not content.text:
            self._close(self._open("text", out, self._begun), out, content)

    def _end_thought(self, content: Reasoning, out: list[Event]) -> None:
        if content.opaque is None:
            if self._raw is not None and content.text:
                self._gap = "\n\n"
            return
        part = replace(content, texts=())
        if self._raw is not None:
            self._carried.append(part)
            self._gap = "\n\n"
        else:
            self._carry(part, out)

    def _carry(self, part: Reasoning, out: list[Event]) -> None:
        """A block that says nothing, for the sake of what must come back."""
        shown = self._open("reasoning", out)
        assert part.opaque is not None
        out.append(OpaqueDelta(self._index, shown.number, part.opaque))
        out.append(BlockEnded(self._index, shown.number, part))
        self._shown = None

    # Raw.

    def _into_tag(self, text: str, out: list[Event]) -> None:
        if self._raw is None:
            self._raw, self._gap = self._open("text", out), THINK_OPEN
            self._shown = None
        said, self._gap = self._gap + text, ""
        self._piece(self._raw, said, out)

    def _leave_tag(self, out: list[Event]) -> None:
        raw, self._raw = self._raw, None
        if raw is not None:
            self._piece(raw, THINK_CLOSE, out)
            self._close(raw, out)
        carried, self._carried = self._carried, []
        for part in carried:
            self._carry(part, out)


def _shortened(block: Text, text: str) -> Text:
    """`block` with only `text` left of it, which is its end."""
    missing = len(block.text) - len(text)
    return replace(block, text=text, citations=tuple(_moved(citation, missing) for citation in block.citations))


def _moved(citation: Citation, by: int) -> Citation:
    """`citation` of a text that has lost its first characters."""
    if not by:
        return citation
    start = max(0, citation.start - by) if citation.start is not None else None
    end = max(0, citation.end - by) if citation.end is not None else None
    return replace(citation, start=start, end=end)


def view_response(response: Response, view: ReasoningView) -> Response:
    """A whole answer, by the same machine."""
    candidates = tuple(_view_candidate(candidate, view) for candidate in response.candidates)
    return replace(response, candidates=candidates)


def _view_candidate(candidate: Candidate, view: ReasoningView) -> Candidate:
    if view.tags == "prefilled" and candidate.finish == "stop":
        text = next((block.text for block in candidate.blocks if isinstance(block, Text)), "")
        if all(kind == "text" for kind, _ in split(text, "prefilled")):
            view = replace(view, tags="off")  # closed no tag: it has not reasoned at all
    folded = fold(EventView(view).feed(unfold(Response(candidates=(candidate,)))))
    return folded.candidates[0]
