"""Reasoning between tags is told apart from the answer, however the text is cut."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oneapi_mw.wire.thinktags import MAX_SPACE, Kind, TagMode, ThinkSplitter, joined, split

Pieces = list[tuple[Kind, str]]


def text(said: str) -> Pieces:
    return [("text", said)]


def thought(said: str, *rest: tuple[Kind, str]) -> Pieces:
    return [("reasoning", said), *rest]


def pieces_of(parts: list[str], mode: TagMode = "auto") -> Pieces:
    splitter = ThinkSplitter(mode)
    return joined([*(piece for part in parts for piece in splitter.feed(part)), *splitter.close()])


def test_table_cut_by_cut() -> None:
    splitter = ThinkSplitter("auto")
    chunks: list[tuple[str, Pieces]] = [
        ("\n<thi", []),
        ("nk>\nStep 1", thought("Step 1")),
        (": a < b </th", thought(": a < b ")),
        ("ought? no</", thought("</thought? no")),
        ("think>", []),
        ("\n", []),
        ("\nAns", text("Ans")),
        ("wer: use </think>.", text("wer: use </think>.")),
    ]
    for chunk, emitted in chunks:
        assert joined(splitter.feed(chunk)) == emitted
    assert splitter.over
    assert splitter.close() == []


CASES: list[tuple[TagMode, str, Pieces]] = [
    ("auto", "", []),
    ("auto", "plain", text("plain")),
    ("auto", "  \n plain ", text("  \n plain ")),
    ("auto", "<think>a</think>b", thought("a", ("text", "b"))),
    ("auto", "<think>\n\na\n</think>\n\n\nb", thought("\na\n", ("text", "\nb"))),
    ("auto", "\n \t<think>a</think>b", thought("a", ("text", "b"))),
    ("auto", "<THINK>a</Think>b", thought("a", ("text", "b"))),
    ("auto", "<thinking>a</thinking>b", thought("a", ("text", "b"))),
    ("auto", "<thought>a</thought>b", thought("a", ("text", "b"))),
    ("auto", "<reasoning>a</reasoning>b", thought("a", ("text", "b"))),
    ("auto", "<seed:think>a</seed:think>b", thought("a", ("text", "b"))),
    ("auto", "[THINK]a[/THINK]b", thought("a", ("text", "b"))),
    ("auto", "◁think▷a◁/think▷b", thought("a", ("text", "b"))),
    ("auto", "\\u003cthink\\u003ea\\u003C/think\\u003Eb", thought("a", ("text", "b"))),
    ("auto", "<think>a</thinking></think>b", thought("a</thinking>", ("text", "b"))),
    ("auto", "<think >a</think>", text("<think >a</think>")),
    ("auto", "<think>a<think>b</think>c", thought("a<think>b", ("text", "c"))),
    ("auto", "<think>a</think>\n\n \n<think>b</think>c", thought("ab", ("text", "c"))),
    ("auto", "<think>a</think>\n\n \nb<think>", thought("a", ("text", " \nb<think>"))),
    ("auto", "<think>\n\n</think>\n\nb", text("b")),
    ("auto", "<think></think>", []),
    ("auto", "<think>a", thought("a")),
    ("auto", "<think>a</thi", thought("a</thi")),
    ("auto", "<thi", text("<thi")),
    ("auto", " " * MAX_SPACE + "<think>a</think>", thought("a")),
    ("auto", " " * (MAX_SPACE + 1) + "<think>a", text(" " * (MAX_SPACE + 1) + "<think>a")),
    ("auto", "<think>" + " " * 70 + "</think>b", thought(" " * 70, ("text", "b"))),
    ("auto", "İ<think>", text("İ<think>")),
    ("auto", "<think>İ</think>b", thought("İ", ("text", "b"))),
    ("always", "<think>a</think>b", thought("a", ("text", "b"))),
    ("off", "<think>a</think>b", text("<think>a</think>b")),
    ("prefilled", "a</think>\n\nb", thought("a", ("text", "b"))),
    ("prefilled", "\n a</think>b", thought("\n a", ("text", "b"))),
    ("prefilled", "<think>\na</think>b", thought("a", ("text", "b"))),
    ("prefilled", "</think>b", text("b")),
    ("harmony", "<|channel|>analysis<|message|>a<|end|>b", thought("a", ("text", "b"))),
    ("harmony", "<|channel|>analysis<|message|>a<|channel|>final<|message|>b", thought("a", ("text", "b"))),
    (
        "harmony",
        "<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>final<|message|>b",
        thought("a", ("text", "b")),
    ),
    ("harmony", "<|channel|>final<|message|>b", text("b")),
    ("harmony", "<think>a</think>b", text("<think>a</think>b")),
    ("auto", "<|channel|>analysis<|message|>a<|end|>b", text("<|channel|>analysis<|message|>a<|end|>b")),
]


@pytest.mark.parametrize(("mode", "said", "expected"), CASES)
def test_cv_28_every_cut_gives_the_same(mode: TagMode, said: str, expected: Pieces) -> None:
    assert pieces_of([said], mode) == expected
    assert pieces_of(list(said), mode) == expected
    for place in range(len(said) + 1):
        assert pieces_of([said[:place], said[place:]], mode) == expected


PARTS = [
    "<think>", "</think>", "<thinking>", "</thinking>", "[THINK]", "[/THINK]", "<thi", "</", "nk>", "\n", " ", "a", "<",
    "<|channel|>", "final<|message|>", "analysis<|message|>", "<|end|>", "<|start|>assistant",
]  # fmt: skip
MODES: list[TagMode] = ["auto", "prefilled", "harmony", "off"]


@given(
    st.lists(st.sampled_from(PARTS), max_size=12).map("".join),
    st.sampled_from(MODES),
    st.lists(st.integers(0, 60), max_size=8),
)
def test_cv_28_random_cuts(said: str, mode: TagMode, cuts: list[int]) -> None:
    edges = [0, *sorted(min(cut, len(said)) for cut in cuts), len(said)]
    whole = pieces_of([said], mode)
    assert pieces_of([said[a:b] for a, b in pairwise(edges)], mode) == whole
    assert pieces_of(list(said), mode) == whole


@given(st.text("<think>/ \na", max_size=40))
def test_nothing_but_tags_and_space_is_removed(said: str) -> None:
    kept = "".join(piece for _, piece in pieces_of([said]))
    rest = iter(said)
    assert all(letter in rest for letter in kept), "what comes out is in order, and was there"
    if not said.lstrip().startswith("<think>"):
        assert kept == said


@given(st.lists(st.text("<think>/ \na", max_size=5), max_size=200))
def test_little_is_held(parts: list[str]) -> None:
    splitter = ThinkSplitter("auto")
    for part in parts:
        splitter.feed(part)
        assert sum(len(held) for _, held in _copy(splitter).close()) <= 2 * MAX_SPACE + 32


def _copy(splitter: ThinkSplitter) -> ThinkSplitter:
    twin = ThinkSplitter("auto")
    for name in ThinkSplitter.__slots__:
        setattr(twin, name, getattr(splitter, name))
    return twin


def test_cv_29_a_close_tag_without_an_open_one() -> None:
    assert split("a</think>b", "prefilled") == thought("a", ("text", "b"))
    assert split("a</think>b", "auto") == text("a</think>b")


def test_cv_29_prefilled_without_a_close_tag() -> None:
    assert split("all of it", "prefilled") == text("all of it")
    assert split("cut off", "prefilled", complete=False) == thought("cut off")
    assert pieces_of(["in a ", "stream"], "prefilled") == thought("in a stream")


def test_cv_30_a_literal_tag_stays() -> None:
    for said in ("Use `<think>` like this: <think>x</think>", "```\n<think>\n```"):
        assert pieces_of([said]) == text(said)


@pytest.mark.parametrize(("said", "held"), [("\n<thi", text("\n<thi")), ("<think>a</th", thought("</th"))])
def test_cv_31_what_is_held_comes_out_in_the_end(said: str, held: Pieces) -> None:
    splitter = ThinkSplitter("auto")
    splitter.feed(said)
    assert splitter.close() == held
    assert splitter.feed("<think>") == text("<think>")
    assert splitter.feed("") == []
