from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oneapi_mw.canonical.blocks import Image, Text, ToolCall, ToolResult, Url
from oneapi_mw.canonical.request import Turn
from oneapi_mw.wire.repair import NO_RESULT, merge_turns, pair_results


def user(*blocks: Text | ToolResult | Image) -> Turn:
    return Turn("user", blocks)


def assistant(*blocks: Text | ToolCall) -> Turn:
    return Turn("assistant", blocks)


def call(call_id: str) -> ToolCall:
    return ToolCall(call_id, "f", "{}")


def result(call_id: str, text: str = "ok") -> ToolResult:
    return ToolResult(call_id, (Text(text),))


def missing(call_id: str) -> ToolResult:
    return ToolResult(call_id, (Text(NO_RESULT),), is_error=True)


HI, BYE = Text("hi"), Text("bye")


@pytest.mark.parametrize(
    ("turns", "expected", "reported"),
    [
        pytest.param(
            [user(HI), assistant(call("1")), user(result("1"))],
            [user(HI), assistant(call("1")), user(result("1"))],
            (),
            id="nothing to do",
        ),
        pytest.param(
            [assistant(call("1"), call("2")), user(HI, result("2"), BYE, result("1"))],
            [assistant(call("1"), call("2")), user(result("2"), result("1")), user(HI, BYE)],
            (),
            id="cv_17 results first, order kept",
        ),
        pytest.param(
            [assistant(call("1"), call("2")), user(HI, result("2"))],
            [assistant(call("1"), call("2")), user(result("2"), missing("1")), user(HI)],
            ("turns[0].missing_result=emulated",),
            id="cv_16 missing result",
        ),
        pytest.param(
            [assistant(call("1"))],
            [assistant(call("1")), user(missing("1"))],
            ("turns[0].missing_result=emulated",),
            id="unanswered at the end",
        ),
        pytest.param(
            [user(HI), assistant(BYE), user(result("9", "42"), HI)],
            [user(HI), assistant(BYE), user(Text("Result of tool call 9: 42"), HI)],
            ("turns[2].orphan_result=emulated",),
            id="cv_16 orphan",
        ),
        pytest.param(
            [user(ToolResult("9", (Image(Url("https://a.example")),)))],
            [user(Text("Result of tool call 9:"), Image(Url("https://a.example")))],
            ("turns[0].orphan_result=emulated",),
            id="orphan with an image",
        ),
        pytest.param(
            [assistant(call("1")), user(result("1", "old"), result("1", "new"))],
            [assistant(call("1")), user(result("1", "new"))],
            ("turns[1].duplicate_result",),
            id="duplicate result",
        ),
        pytest.param(
            [assistant(call("1")), user(HI), user(result("1"))],
            [assistant(call("1")), user(result("1")), user(HI)],
            (),
            id="later than the user's text",
        ),
        pytest.param(
            [assistant(call("1")), Turn("system", (HI,)), user(result("1"))],
            [assistant(call("1")), user(result("1")), Turn("system", (HI,))],
            (),
            id="instructions between call and result",
        ),
        pytest.param(
            [assistant(call("1")), user(HI), assistant(BYE), user(result("1"))],
            [
                assistant(call("1")),
                user(missing("1")),
                user(HI),
                assistant(BYE),
                user(Text("Result of tool call 1: ok")),
            ],
            ("turns[0].missing_result=emulated", "turns[3].orphan_result=emulated"),
            id="too late",
        ),
        pytest.param(
            [assistant(call("1")), assistant(call("2")), user(result("1"), result("2"))],
            [assistant(call("1"), call("2")), user(result("1"), result("2"))],
            (),
            id="calls of two turns",
        ),
        pytest.param(
            [assistant(call("0")), user(result("0")), assistant(call("0")), user(result("0", "again"))],
            [assistant(call("0")), user(result("0")), assistant(call("0_2")), user(result("0_2", "again"))],
            (),
            id="an id used again",
        ),
        pytest.param(
            [assistant(call("0"), call("0")), user(result("0", "a"), result("0", "b"))],
            [assistant(call("0"), call("0_2")), user(result("0", "a"), result("0_2", "b"))],
            (),
            id="one id for two calls",
        ),
    ],
)
def test_pair_results(turns: Sequence[Turn], expected: Sequence[Turn], reported: tuple[str, ...]) -> None:
    repaired = pair_results(turns)
    assert list(repaired.turns) == list(expected)
    assert repaired.reported == reported


def test_calls_of_two_turns_can_stay_apart() -> None:
    turns = [assistant(call("1")), assistant(call("2")), user(result("1"), result("2"))]
    repaired = pair_results(turns, join_calls=False)
    assert list(repaired.turns) == [assistant(call("1")), user(result("1")), assistant(call("2")), user(result("2"))]


def test_orphans_can_stay() -> None:
    assert pair_results([user(result("1"))], keep_orphans=True).turns == (user(result("1")),)


def test_merging() -> None:
    turns = [user(result("1")), user(HI), user(BYE), assistant(HI)]
    assert merge_turns(turns) == (user(result("1"), HI, BYE), assistant(HI))
    assert merge_turns(turns, results_apart=True) == (user(result("1")), user(HI, BYE), assistant(HI))


ids = st.sampled_from(["1", "2", "3"])
steps = st.lists(
    st.tuples(
        st.lists(st.one_of(st.builds(call, ids), st.just(HI)), max_size=3),
        st.lists(st.one_of(st.builds(result, ids), st.just(HI)), min_size=1, max_size=4),
    ),
    max_size=4,
)


@given(steps)
def test_cv_62_a_longer_history_begins_as_before(
    found: list[tuple[list[Text | ToolCall], list[Text | ToolResult]]],
) -> None:
    before: tuple[Turn, ...] = ()
    for end in range(len(found) + 1):
        turns = [turn for said, replied in found[:end] for turn in (assistant(HI, *said), user(*replied))]
        repaired = pair_results(turns).turns
        assert repaired[: len(before)] == before
        assert_paired(repaired)
        before = repaired


def assert_paired(turns: Sequence[Turn]) -> None:
    seen: set[str] = set()
    for place, turn in enumerate(turns):
        calls = [block.id for block in turn.blocks if isinstance(block, ToolCall)]
        assert not seen & set(calls)
        assert len(set(calls)) == len(calls)
        seen |= set(calls)
        results = [block for block in turn.blocks if isinstance(block, ToolResult)]
        if results:
            asked = {block.id for block in turns[place - 1].blocks if isinstance(block, ToolCall)}
            assert {block.call_id for block in results} == asked
            assert len(results) == len(asked)
        if calls:
            assert any(isinstance(block, ToolResult) for block in turns[place + 1].blocks)
