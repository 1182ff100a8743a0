"""Stop sequences carried out here: the same cut wherever deltas divide the text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oneapi_mw.canonical.blocks import Block, Citation, Reasoning, ReasoningText, Text, ToolCall
from oneapi_mw.canonical.events import (
    BlockEnded,
    BlockStarted,
    CitationAdded,
    Ended,
    Event,
    Failed,
    Finished,
    LogprobsAdded,
    Started,
    TextDelta,
    UsageReported,
)
from oneapi_mw.canonical.response import Candidate, Response
from oneapi_mw.errors import UpstreamError
from oneapi_mw.usage import Usage
from oneapi_mw.wire.stopper import StopCutter, cut_response
from tests.canonical import strategies

TAIL: list[Event] = [Finished(0, "stop"), UsageReported(Usage(1, 2)), Ended()]


def answer(*deltas: str, candidate: int = 0) -> list[Event]:
    return [
        BlockStarted(candidate, 0, "text"),
        *(TextDelta(candidate, 0, delta) for delta in deltas),
        BlockEnded(candidate, 0, Text("".join(deltas))),
    ]


def cut(events: list[Event], *stops: str, candidates: int = 1) -> list[Event]:
    cutter = StopCutter(stops, candidates=candidates)
    return [found for event in events for found in cutter.feed([event])]


def said(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def expected(text: str, stops: tuple[str, ...]) -> str:
    """What stands before the stop that a reader of single letters sees first."""
    for end in range(len(text) + 1):
        found = [stop for stop in stops if text[:end].endswith(stop)]
        if found:
            return text[: end - max(map(len, found))]
    return text


@given(
    st.lists(st.text("ab\n", max_size=4), max_size=8),
    st.lists(st.text("ab\n", min_size=1, max_size=3), min_size=1, max_size=3).map(tuple),
)
def test_the_cut_is_where_the_whole_text_has_it(deltas: list[str], stops: tuple[str, ...]) -> None:
    events = cut([Started("x"), *answer(*deltas), *TAIL], *stops)
    text = "".join(deltas)
    wanted = expected(text, stops)
    assert said(events) == wanted
    (block,) = [event.content for event in events if isinstance(event, BlockEnded)]
    assert block == Text(wanted)
    (finished,) = [event for event in events if isinstance(event, Finished)]
    assert finished.reason == ("stop_sequence" if wanted != text else "stop")
    assert events[-1] == Ended()
    assert sum(isinstance(event, Ended) for event in events) == 1


def test_the_stop_that_is_complete_first_counts() -> None:
    finished = [event for event in cut(answer("xENDE"), "ENDE", "END") if isinstance(event, Finished)]
    assert finished == [Finished(0, "stop_sequence", "END")]


def test_text_waits_only_while_it_may_be_a_stop() -> None:
    cutter = StopCutter(["</end>"])
    assert said(cutter.feed(answer("a <")[:2])) == "a "
    assert said(cutter.feed([TextDelta(0, 0, "b")])) == "<b"


def test_the_answer_is_over_at_once() -> None:
    cutter = StopCutter(["END"])
    before = cutter.cut
    events = cutter.feed([Started("x"), *answer("a EN", "D b")[:3]])
    assert (before, cutter.cut) == (False, True)
    assert events[-3:] == [BlockEnded(0, 0, Text("a ")), Finished(0, "stop_sequence", "END"), Ended()]
    assert cutter.feed([TextDelta(0, 0, "more"), *TAIL]) == []


def test_every_candidate_is_cut_by_itself() -> None:
    cutter = StopCutter(["END"], candidates=2)
    first = cutter.feed([*answer("aEND", "x"), *answer("b", candidate=1)[:2]])
    assert Finished(0, "stop_sequence", "END") in first
    between = cutter.cut
    second = cutter.feed([TextDelta(1, 0, "cEND"), TextDelta(0, 0, "late")])
    assert (between, cutter.cut) == (False, True)
    assert second[-2:] == [Finished(1, "stop_sequence", "END"), Ended()]


def test_only_text_counts() -> None:
    blocks: tuple[Block, ...] = (Reasoning((ReasoningText("END"),)), ToolCall("c", "f", '{"a":"END"}'), Text("x"))
    response = Response(candidates=(Candidate(blocks, "tool_calls"),))
    assert cut_response(response, ["END"]) == response


def test_what_belongs_to_the_rest_goes_with_it() -> None:
    inside, across = Citation("url", url="a", start=0, end=1), Citation("url", url="b", start=0, end=4)
    tokens = tuple({"token": token, "logprob": -1.0} for token in ("a", "b", "END"))
    events: list[Event] = [
        BlockStarted(0, 0, "text"),
        CitationAdded(0, 0, inside),
        CitationAdded(0, 0, across),
        LogprobsAdded(0, 0, tokens),
        TextDelta(0, 0, "abEND"),
    ]
    (block,) = [event.content for event in cut(events, "END") if isinstance(event, BlockEnded)]
    assert block == Text("ab", (inside,), tokens[:2])


def test_a_block_without_deltas_is_cut_as_well() -> None:
    events = cut([BlockStarted(0, 0, "text"), BlockEnded(0, 0, Text("aENDb"))], "END")
    assert said(events) == "a"
    assert events[-1] == Ended()


def test_failures_pass() -> None:
    failed = Failed(UpstreamError("x"))
    assert cut([*answer("a EN")[:2], failed], "END")[-1] is failed


def test_later_blocks_are_dropped_and_consumption_stays() -> None:
    response = Response(
        "x", "m", 1, (Candidate((Text("aENDb"), ToolCall("c", "f", "{}")), "tool_calls"),), Usage(1, 2), completed=3
    )
    found = cut_response(response, ["END", ""])
    assert found.candidates == (Candidate((Text("a"),), "stop_sequence", stop_sequence="END"),)
    assert (found.usage, found.completed, found.id) == (Usage(1, 2), 3, "x")


@pytest.mark.parametrize("stops", [[], [""]])
def test_nothing_to_look_for(stops: list[str]) -> None:
    response = Response(candidates=(Candidate((Text("a"),), "stop"),))
    assert cut_response(response, stops) is response


@given(strategies.responses())
def test_an_answer_without_a_match_stays_as_it_is(response: Response) -> None:
    assert cut_response(response, ["\0never\0"]).candidates == response.candidates
