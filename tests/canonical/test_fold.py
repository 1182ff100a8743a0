"""Whole answers and streams of events say the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oneapi_mw.canonical.blocks import Reasoning, ReasoningOpaque, ReasoningText, Text
from oneapi_mw.canonical.events import (
    BlockEnded,
    BlockStarted,
    Ended,
    Event,
    Failed,
    Finished,
    OpaqueDelta,
    ReasoningDelta,
    Started,
    TextDelta,
    UsageReported,
)
from oneapi_mw.canonical.fold import fold, unfold
from oneapi_mw.canonical.response import Candidate, Response
from oneapi_mw.canonical.sequence import Sequencer
from oneapi_mw.errors import UpstreamError
from oneapi_mw.usage import Usage
from tests.canonical.strategies import responses


@given(responses())
def test_fold_reverses_unfold(response: Response) -> None:
    assert fold(unfold(response)) == response


@given(responses())
def test_an_unfolded_answer_is_a_proper_stream(response: Response) -> None:
    """Began once, ended once, every block opened before its deltas and closed after them."""
    events = unfold(response)
    assert isinstance(events[0], Started)
    assert [index for index, event in enumerate(events) if isinstance(event, Ended)] == [len(events) - 1]
    open_block: tuple[int, int] | None = None
    for event in events[1:-1]:
        if isinstance(event, BlockStarted):
            assert open_block is None
            open_block = event.candidate, event.block
        elif isinstance(event, BlockEnded):
            assert open_block == (event.candidate, event.block)
            open_block = None
        elif isinstance(event, (Finished, UsageReported)):
            assert open_block is None
        else:
            assert open_block == (event.candidate, event.block)  # type: ignore[union-attr]


@given(responses())
def test_sequencing_changes_nothing_that_is_in_order(response: Response) -> None:
    events = unfold(response)
    assert Sequencer().feed(events) == events


def test_parts_of_reasoning_are_a_blank_line_apart() -> None:
    block = Reasoning(
        (ReasoningText("One.", summary=True), ReasoningText(""), ReasoningText("Two.")), ReasoningOpaque("s", "v")
    )
    assert block.text == "One.\n\nTwo."
    assert not block.is_summary
    assert unfold(Response(candidates=(Candidate((block,)),)))[2:5] == [
        ReasoningDelta(0, 0, "One.", summary=True),
        ReasoningDelta(0, 0, "\n\nTwo."),
        OpaqueDelta(0, 0, ReasoningOpaque("s", "v")),
    ]


def test_a_failure_is_raised() -> None:
    with pytest.raises(UpstreamError, match="broken"):
        fold([Started(), Failed(UpstreamError("broken"))])


def test_the_last_usage_counts() -> None:
    events: list[Event] = [UsageReported(Usage(1, 1), {"x": {"a": 1}}), UsageReported(Usage(1, 2)), Ended()]
    assert fold(events).usage == Usage(1, 2)
    assert fold(events).usage_extras == {}


def test_a_tier_told_at_the_end_counts() -> None:
    assert fold([Started(tier="flex"), Ended()]).tier == "flex"
    assert fold([Started(tier="auto"), Ended(tier="default")]).tier == "default"


# One block at a time.


def block(number: int, *texts: str, candidate: int = 0, ended: bool = True) -> list[Event]:
    events: list[Event] = [BlockStarted(candidate, number, "text")]
    events += (TextDelta(candidate, number, text) for text in texts)
    if ended:
        events.append(BlockEnded(candidate, number, Text("".join(texts))))
    return events


def test_a_later_block_waits_for_the_open_one() -> None:
    first, second = block(0, "a", "b"), block(1, "c")
    mixed = [first[0], second[0], first[1], second[1], second[2], first[2], first[3]]
    assert Sequencer().feed(mixed) == first + second


def test_what_never_ended_is_released_at_the_finish() -> None:
    first, second = block(0, "a", ended=False), block(1, "b", ended=False)
    events = [*first, *second, Finished(0, "stop")]
    assert Sequencer().feed(events) == events


def test_candidates_do_not_wait_for_each_other() -> None:
    events = [*block(0, "a", ended=False), *block(0, "b", candidate=1)]
    assert Sequencer().feed(events) == events


@given(st.integers(1, 4), st.data())
def test_any_interleaving_comes_out_in_order(count: int, data: st.DataObject) -> None:
    waiting = [block(number, "x", "y") for number in range(count)]
    mixed: list[Event] = [queue.pop(0) for queue in waiting]  # blocks begin in their order
    while any(waiting):
        mixed.append(data.draw(st.sampled_from([queue for queue in waiting if queue])).pop(0))
    sequencer = Sequencer()
    out = [event for event in mixed for event in sequencer.feed([event])]
    assert out == [event for number in range(count) for event in block(number, "x", "y")]
