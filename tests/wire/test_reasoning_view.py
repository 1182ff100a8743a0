"""Reasoning as the client asked for it: on events and answers of any format, and on the JSON of chat answers."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oneapi_mw.canonical.blocks import (
    Block,
    Citation,
    Reasoning,
    ReasoningOpaque,
    ReasoningText,
    Text,
    ToolCall,
)
from oneapi_mw.canonical.call import Call
from oneapi_mw.canonical.events import (
    BlockEnded,
    BlockStarted,
    CitationAdded,
    Ended,
    Event,
    Failed,
    Finished,
    FinishReason,
    ForeignEvent,
    OpaqueDelta,
    ReasoningDelta,
    Started,
    TextDelta,
    UsageReported,
)
from oneapi_mw.canonical.fold import fold, unfold
from oneapi_mw.canonical.response import Candidate, Response
from oneapi_mw.errors import UpstreamError
from oneapi_mw.usage import Usage
from oneapi_mw.wire.chat_reasoning import ChatReasoningRewriter, ChatReasoningStream, rewrite_answer
from oneapi_mw.wire.envelope import Courier, Envelopes
from oneapi_mw.wire.framing.sse import encode_sse, parse_block
from oneapi_mw.wire.openai_chat import FORMAT as CHAT
from oneapi_mw.wire.reasoning_view import EventView, view_response
from oneapi_mw.wire.view import ReasoningView
from oneapi_mw.wire.wish import FieldName, ReasoningFormat, ReasoningWish
from tests.canonical import strategies

View = ReasoningView
CLAUDE = "anthropic-claude-v1"
SIGNATURE = ReasoningOpaque("EqQB", CLAUDE)
CALL = Call("chat", "openai_chat", "m", False, {}, None)


def thought(*texts: str, opaque: ReasoningOpaque | None = None) -> Reasoning:
    return Reasoning(tuple(ReasoningText(text) for text in texts), opaque)


def viewed(view: ReasoningView, *blocks: Block, finish: FinishReason = "stop") -> tuple[Block, ...]:
    response = Response(candidates=(Candidate(blocks, finish),), usage=Usage(9, 12, reasoning=6))
    found = view_response(response, view)
    assert found.usage == response.usage, "CV-45: what is hidden is billed and reported all the same"
    streamed = fold(EventView(view).feed(unfold(response)))
    if view.tags != "prefilled":
        assert streamed.candidates == found.candidates
    return found.candidates[0].blocks


# Events and answers of any format.


@pytest.mark.parametrize(
    ("blocks", "expected"),
    [
        ((thought("Hm."), Text("2.")), (Text("2."),)),
        ((thought("Hm.", opaque=SIGNATURE), Text("2.")), (thought(opaque=SIGNATURE), Text("2."))),
        ((thought(opaque=SIGNATURE), Text("2.")), (thought(opaque=SIGNATURE), Text("2."))),
        ((thought("Hm."),), ()),
    ],
)
def test_hidden(blocks: tuple[Block, ...], expected: tuple[Block, ...]) -> None:
    assert viewed(View("hidden"), *blocks) == expected


@pytest.mark.parametrize(
    ("blocks", "expected"),
    [
        ((thought("Hm."), Text("2.")), (Text("<think>\nHm.\n</think>\n\n"), Text("2."))),
        ((thought("Hm."),), (Text("<think>\nHm.\n</think>\n\n"),)),
        (
            (thought("One.", opaque=SIGNATURE), thought("Two."), Text("2.")),
            (Text("<think>\nOne.\n\nTwo.\n</think>\n\n"), thought(opaque=SIGNATURE), Text("2.")),
        ),
        ((thought(opaque=SIGNATURE), Text("2.")), (thought(opaque=SIGNATURE), Text("2."))),
        (
            (thought("Hm."), ToolCall("1", "f", "{}")),
            (Text("<think>\nHm.\n</think>\n\n"), ToolCall("1", "f", "{}")),
        ),
        (
            (thought("Hm."), Text("a"), thought("So."), Text("b")),
            (Text("<think>\nHm.\n</think>\n\n"), Text("a"), Text("<think>\nSo.\n</think>\n\n"), Text("b")),
        ),
    ],
)
def test_cv_33_raw(blocks: tuple[Block, ...], expected: tuple[Block, ...]) -> None:
    assert viewed(View("raw"), *blocks) == expected


def test_cv_33_raw_in_a_stream_opens_once_and_closes_once() -> None:
    events: list[Event] = [
        Started(),
        BlockStarted(0, 0, "reasoning"),
        *(ReasoningDelta(0, 0, word) for word in ("Add ", "the ", "units.")),
        BlockEnded(0, 0, thought("Add the units.")),
        BlockStarted(0, 1, "text"),
        TextDelta(0, 1, "2."),
        BlockEnded(0, 1, Text("2.")),
        Finished(0, "stop"),
        Ended(),
    ]
    view = EventView(View("raw"))
    out = [event for single in events for event in view.feed([single])]
    said = [event.text for event in out if isinstance(event, TextDelta)]
    assert said == ["<think>\nAdd ", "the ", "units.", "\n</think>\n\n", "2."]


TAGGED = "<think>\nHm.\n</think>\n\n2."


@pytest.mark.parametrize(
    ("blocks", "expected"),
    [
        ((Text(TAGGED),), (thought("Hm.\n"), Text("2."))),
        ((Text(TAGGED, item_id="i"),), (thought("Hm.\n"), Text("2.", item_id="i"))),
        ((Text("plain"),), (Text("plain"),)),
        ((Text(""),), (Text(""),)),
        ((Text("", opaque=SIGNATURE),), (Text("", opaque=SIGNATURE),)),
        ((Text("<think>\n\n</think>\n\n2."),), (Text("2."),)),
        ((Text("<think>Hm."),), (thought("Hm."),)),
        ((Text("<thi"),), (Text("<thi"),)),
        # an answer with reasoning of its own has none between tags
        ((thought("Own."), Text(TAGGED)), (thought("Own."), Text(TAGGED))),
        ((Text("a"), Text(TAGGED)), (Text("a"), Text(TAGGED))),
        (
            (Text("<think>Hm.</think>2.", (Citation("url", start=18, end=20), Citation("file"))),),
            (thought("Hm."), Text("2.", (Citation("url", start=0, end=2), Citation("file")))),
        ),
        (
            (Text("<think>Hm."), ToolCall("1", "f", "{}"), Text("b")),
            (thought("Hm."), ToolCall("1", "f", "{}"), Text("b")),
        ),
    ],
)
def test_tags_become_reasoning(blocks: tuple[Block, ...], expected: tuple[Block, ...]) -> None:
    assert viewed(View(tags="auto"), *blocks) == expected


def test_text_that_comes_whole() -> None:
    events: list[Event] = [BlockStarted(0, 0, "text"), BlockEnded(0, 0, Text(TAGGED))]
    out = EventView(View(tags="auto")).feed(events)
    assert [event.content for event in out if isinstance(event, BlockEnded)] == [thought("Hm.\n"), Text("2.")]


def test_citations_of_text_without_tags_stay() -> None:
    block = Text("plain", (Citation("url", start=1, end=3),))
    assert viewed(View(tags="auto"), block) == (block,)


def test_tags_and_hidden() -> None:
    assert viewed(View("hidden", "auto"), Text(TAGGED)) == (Text("2."),)


def test_cv_29_prefilled_answers() -> None:
    view = View(tags="prefilled")
    assert viewed(view, Text("Hm.</think>\n\n2.")) == (thought("Hm."), Text("2."))
    assert viewed(view, Text("The answer.")) == (Text("The answer."),)
    assert viewed(view, Text("Cut o"), finish="length") == (thought("Cut o"),)


def test_tags_in_citations_of_a_stream() -> None:
    citation = Citation("url", url="https://a", start=18, end=20)
    events: list[Event] = [
        BlockStarted(0, 0, "text"),
        TextDelta(0, 0, "<think>Hm.</think>2."),
        CitationAdded(0, 0, citation),
        BlockEnded(0, 0, Text("<think>Hm.</think>2.", (citation,))),
    ]
    out = EventView(View(tags="auto")).feed(events)
    moved = replace(citation, start=0, end=2)
    assert CitationAdded(0, 1, moved) in out
    assert out[-1] == BlockEnded(0, 1, Text("2.", (moved,)))


@pytest.mark.parametrize(
    ("blocks", "finish", "expected"),
    [
        ((thought("The answer."),), "stop", (Text("The answer."),)),
        ((thought("The "), thought("answer.")), "stop", (Text("The answer."),)),
        ((thought("Hm."), Text("2.")), "stop", (Text("2."),)),
        ((Text("2."), thought("Hm.")), "stop", (Text("2."),)),
        ((thought("Hm."),), "length", ()),
        ((thought("Hm."), ToolCall("1", "f", "{}")), "tool_calls", (ToolCall("1", "f", "{}"),)),
        ((thought("Hm.", opaque=SIGNATURE), Text("2.")), "stop", (thought(opaque=SIGNATURE), Text("2."))),
        ((Text("<think>The answer."),), "stop", (Text("The answer."),)),
    ],
)
def test_cv_41_told_not_to_reason(blocks: tuple[Block, ...], finish: FinishReason, expected: tuple[Block, ...]) -> None:
    assert viewed(View(off=True, tags="auto"), *blocks, finish=finish) == expected


def test_cv_31_held_text_comes_before_a_failure() -> None:
    failed = Failed(UpstreamError("broken"))
    view = EventView(View(tags="auto"))
    view.feed([BlockStarted(0, 0, "text"), TextDelta(0, 0, "<thi")])
    out = view.feed([BlockEnded(0, 0, Text("<thi")), failed])
    assert TextDelta(0, 0, "<thi") in out
    assert out[-1] == failed
    view = EventView(View("raw"))
    view.feed([BlockStarted(0, 0, "reasoning"), ReasoningDelta(0, 0, "Hm.")])
    assert [type(event) for event in view.feed([failed])] == [TextDelta, BlockEnded, Failed]


VIEWS = st.builds(
    View,
    st.sampled_from([None, "hidden", "raw", "reasoning"]),
    st.sampled_from(["off", "auto", "prefilled"]),
    st.booleans(),
)


@settings(max_examples=40)
@given(strategies.responses(), VIEWS)
def test_any_stream_stays_well_formed(response: Response, view: ReasoningView) -> None:
    open_blocks: set[tuple[int, int]] = set()
    begun: list[tuple[int, int]] = []
    for event in EventView(view).feed(unfold(response)):
        key = (getattr(event, "candidate", -1), getattr(event, "block", -1))
        if isinstance(event, BlockStarted):
            begun.append(key)
            open_blocks.add(key)
        elif key[1] >= 0:
            assert key in open_blocks
            if isinstance(event, BlockEnded):
                open_blocks.remove(key)
    assert not open_blocks
    for candidate in {candidate for candidate, _ in begun}:
        numbers = [block for index, block in begun if index == candidate]
        assert numbers == list(range(len(numbers)))


@settings(max_examples=30)
@given(strategies.responses())
def test_a_view_that_changes_nothing(response: Response) -> None:
    assert not View("reasoning").changes_events
    assert view_response(response, View("reasoning")).candidates == response.candidates


def test_events_of_no_block_pass() -> None:
    events: list[Event] = [Started("x"), UsageReported(Usage(1, 1)), ForeignEvent("gemini", "x", 1), Ended()]
    assert EventView(View("hidden")).feed(events) == events


def test_a_signature_ahead_of_its_text_is_carried_by_hidden_reasoning() -> None:
    events: list[Event] = [
        BlockStarted(0, 0, "reasoning"),
        OpaqueDelta(0, 0, SIGNATURE),
        ReasoningDelta(0, 0, "Hm."),
        BlockEnded(0, 0, thought("Hm.", opaque=SIGNATURE)),
    ]
    assert EventView(View("hidden")).feed(events) == [
        BlockStarted(0, 0, "reasoning"),
        OpaqueDelta(0, 0, SIGNATURE),
        BlockEnded(0, 0, thought(opaque=SIGNATURE)),
    ]


# Chat answers.

ENVELOPES = Envelopes([b"a secret of thirty-two characters"])


def claude_answer() -> dict[str, Any]:
    """One signed Claude block and a text, as a chat client is answered before its wish is looked at."""
    response = Response("1", "m", 1, (Candidate((thought("Add the units.", opaque=SIGNATURE), Text("2.")), "stop"),))
    courier = Courier(ENVELOPES, tenant="u", served=lambda: ("claude", "1"), client="openai_chat")
    return CHAT.encode_response(courier.seal_response(response), CALL)


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        ("reasoning_content", {"content": "2.", "reasoning_content": "Add the units."}),
        ("reasoning", {"content": "2.", "reasoning": "Add the units."}),
        ("thinking", {"content": "2.", "thinking": "Add the units.", "signature": "EqQB"}),
        ("raw", {"content": "<think>\nAdd the units.\n</think>\n\n2."}),
        ("hidden", {"content": "2."}),
    ],
)
def test_cv_48_shapes_of_a_message(shown: ReasoningFormat, expected: dict[str, Any]) -> None:
    body = claude_answer()
    before = orjson.dumps(body)
    message = rewrite_answer(body, View(shown))["choices"][0]["message"]
    assert orjson.dumps(body) == before
    (detail,) = message.pop("reasoning_details")
    signature = detail.pop("signature")
    assert signature.startswith("oa1.anthropic.")
    text = "" if shown == "hidden" else "Add the units."
    assert detail == {"type": "reasoning.text", "text": text, "format": CLAUDE, "index": 0}
    assert {name: value for name, value in message.items() if value not in (None, [])} == {
        "role": "assistant",
        **expected,
    }


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning", "thinking"])
def test_shapes_of_a_stream(field: FieldName) -> None:
    response = Response(
        "chatcmpl-1",
        "m",
        1,
        (Candidate((thought("Add the units.", opaque=SIGNATURE), Text("2.")), "stop"),),
        Usage(9, 12, reasoning=6),
    )
    courier = Courier(ENVELOPES, tenant="u", served=lambda: ("claude", "1"), client="openai_chat")
    call = replace(CALL, stream=True, wish=ReasoningWish(format=field))
    events = parse_block(CHAT.stream_encoder(call).feed(courier.seal_events(unfold(response))))
    assert events.pop().data == b"[DONE]"
    chunks = [orjson.loads(event.data) for event in events]
    usage = chunks.pop()
    assert usage["usage"]["completion_tokens_details"] == {"reasoning_tokens": 6}
    assert [found["choices"][0]["finish_reason"] for found in chunks] == [None, None, None, None, "stop"]
    deltas = [found["choices"][0]["delta"] for found in chunks]
    (detail,) = deltas[2]["reasoning_details"]
    assert detail.pop("signature").startswith("oa1.anthropic.")
    assert deltas == [
        {"role": "assistant", "content": ""},
        {field: "Add the units."},
        {"reasoning_details": [{"type": "reasoning.text", "format": CLAUDE, "index": 0}]},
        {"content": "2."},
        {},
    ]
    whole = CHAT.encode_response(response, call)["choices"][0]["message"]
    assert whole[field] == "Add the units."


def rewritten(message: dict[str, Any], view: ReasoningView, finish: str = "stop", **choice: Any) -> dict[str, Any]:
    body = {"choices": [{"index": 0, "message": message, "finish_reason": finish, **choice}], "x": 1}
    shown = rewrite_answer(body, view)
    assert shown["x"] == 1
    if shown["choices"][0]["message"] == message:
        assert shown is body, "what does not change is the same"
    found: dict[str, Any] = shown["choices"][0]["message"]
    return found


@pytest.mark.parametrize(
    ("message", "view", "expected"),
    [
        # both fields, an object, a list: one text in one field
        (
            {"content": "a", "reasoning": "t", "reasoning_content": "t"},
            View("reasoning"),
            {"content": "a", "reasoning": "t"},
        ),
        ({"content": "a", "reasoning": {"content": "t"}}, View("thinking"), {"content": "a", "thinking": "t"}),
        ({"content": "a", "reasoning": {"text": "t"}}, View("thinking"), {"content": "a", "thinking": "t"}),
        (
            {"content": "a", "reasoning_text": "t", "x": 1},
            View("reasoning"),
            {"content": "a", "reasoning": "t", "x": 1},
        ),
        ({"content": "a", "reasoning": "", "reasoning_content": None}, View("reasoning"), {"content": "a"}),
        (
            {"content": "a", "reasoning_details": [{"text": "t"}, {"summary": "u"}, {"data": "d"}]},
            View("reasoning"),
            {
                "content": "a",
                "reasoning": "t\n\nu",
                "reasoning_details": [{"text": "t"}, {"summary": "u"}, {"data": "d"}],
            },
        ),
        (
            {"content": "a", "reasoning_details": [{"text": "t"}, {"text": "u", "signature": "s"}]},
            View("hidden"),
            {"content": "a", "reasoning_details": [{"text": "", "signature": "s"}]},
        ),
        ({"content": "a", "reasoning_details": [{"text": "t"}]}, View("hidden"), {"content": "a"}),
        (
            {
                "content": [
                    {"type": "thinking", "thinking": [{"type": "text", "text": "t"}]},
                    {"type": "text", "text": "a"},
                ]
            },
            View("reasoning"),
            {"content": "a", "reasoning": "t"},
        ),
        ({"content": [{"type": "text", "text": "a"}]}, View("reasoning"), {"content": [{"type": "text", "text": "a"}]}),
        # tags
        ({"content": TAGGED}, View(tags="auto"), {"content": "2.", "reasoning_content": "Hm.\n"}),
        ({"content": TAGGED}, View("thinking", "auto"), {"content": "2.", "thinking": "Hm.\n"}),
        ({"content": TAGGED}, View("reasoning"), {"content": TAGGED}),
        ({"content": "<think>\n\n</think>\n\na"}, View(tags="auto"), {"content": "a"}),
        ({"content": "<think>t"}, View(tags="auto"), {"content": "", "reasoning_content": "t"}),
        ({"content": TAGGED, "reasoning": "own"}, View(tags="auto"), {"content": TAGGED, "reasoning": "own"}),
        ({"content": "t</think>a"}, View(tags="prefilled"), {"content": "a", "reasoning_content": "t"}),
        ({"content": "the answer"}, View(tags="prefilled"), {"content": "the answer"}),
        ({"content": "see <think>"}, View(tags="auto"), {"content": "see <think>"}),
        ({"content": None, "tool_calls": [1]}, View("reasoning", "auto"), {"content": None, "tool_calls": [1]}),
        # told not to reason
        ({"content": None, "reasoning": "the answer"}, View(off=True), {"content": "the answer"}),
        ({"content": "", "reasoning": "t", "tool_calls": [1]}, View(off=True), {"content": "", "tool_calls": [1]}),
        ({"content": "a", "reasoning_content": "t"}, View(off=True), {"content": "a"}),
        ({"content": "a", "reasoning_content": "t"}, View(), {"content": "a", "reasoning_content": "t"}),
        ({"content": None, "reasoning_content": "t"}, View("raw"), {"content": "<think>\nt\n</think>\n\n"}),
    ],
)
def test_messages(message: dict[str, Any], view: ReasoningView, expected: dict[str, Any]) -> None:
    assert rewritten(message, view) == expected


def test_what_depends_on_the_rest_of_a_choice() -> None:
    scored = rewritten({"content": TAGGED}, View(tags="auto"), logprobs={"content": []} | {"x": 1})
    assert scored == {"content": TAGGED}, "text with scores cannot be taken apart"
    assert rewritten({"content": "cut o"}, View(tags="prefilled"), "length")["reasoning_content"] == "cut o"
    assert rewritten({"content": "", "reasoning": "cut o"}, View(off=True), "length") == {"content": ""}


def test_cv_48_a_signature_is_shown_where_one_block_is_signed() -> None:
    def details(*entries: dict[str, Any]) -> dict[str, Any]:
        return rewritten({"content": "a", "reasoning": "t", "reasoning_details": list(entries)}, View("thinking"))

    mine = {"signature": "EqQB", "format": CLAUDE}
    assert details(mine)["signature"] == "EqQB"
    assert "signature" not in details(mine, mine)
    assert "signature" not in details({"signature": "x", "format": "google-gemini-v1"})
    assert "signature" not in details({"text": "t"})


@pytest.mark.parametrize("body", [{}, {"choices": None}, {"choices": [None, {"message": None}]}, {"error": {}}])
def test_odd_answers_pass(body: dict[str, Any]) -> None:
    assert rewrite_answer(body, View("raw", "auto", True)) is body


# Chat streams.

Deltas = list[dict[str, Any]]


def chunk(delta: dict[str, Any], finish: str | None = None, index: int = 0, **members: Any) -> dict[str, Any]:
    choice = {"index": index, "delta": delta, "finish_reason": finish}
    return {"id": "1", "model": "m", "choices": [choice], **members}


def streamed(view: ReasoningView, *deltas: dict[str, Any], finish: str | None = "stop") -> Deltas:
    """The deltas that come out, without the last one when it only tells the end."""
    rewriter = ChatReasoningRewriter(view)
    chunks = [chunk(delta) for delta in deltas] + ([chunk({}, finish)] if finish else [])
    out = [shown for given_chunk in chunks for shown in rewriter.feed(given_chunk)] + rewriter.close()
    assert all(shown["id"] == "1" for shown in out)
    found = [shown["choices"][0]["delta"] for shown in out]
    assert all(shown["choices"][0]["finish_reason"] is None for shown in out[:-1])
    if finish:
        assert out[-1]["choices"][0]["finish_reason"] == finish
        assert found.pop() == {}
    for delta in found:
        assert not (
            "content" in delta and any(delta.get(name) for name in ("reasoning", "reasoning_content", "thinking"))
        )
    return found


ROLE = {"role": "assistant", "content": ""}


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning", "thinking"])
@pytest.mark.parametrize("given_as", ["reasoning_content", "reasoning", "thinking", "reasoning_text"])
def test_cv_48_streams_have_one_field(given_as: str, field: Any) -> None:
    out = streamed(View(field), ROLE, {given_as: "Add the "}, {given_as: "units."}, {"content": "2."})
    assert out == [ROLE, {field: "Add the "}, {field: "units."}, {"content": "2."}]


@pytest.mark.parametrize(
    ("deltas", "view", "expected"),
    [
        # CV-32: no content beside reasoning, no reasoning that says nothing
        (
            [{"role": "assistant", "content": "", "reasoning_content": "t"}],
            View("reasoning"),
            [{"role": "assistant", "reasoning": "t"}],
        ),
        (
            [{"content": None, "reasoning": "t"}, {"content": "a", "reasoning": ""}],
            View("reasoning"),
            [{"reasoning": "t"}, {"content": "a"}],
        ),
        ([{"reasoning": ""}, {"reasoning": None, "content": "a"}], View("reasoning"), [{"content": "a"}]),
        ([{**ROLE, "reasoning_content": None}], View("reasoning"), [ROLE]),
        # both at once: reasoning first
        (
            [{"role": "assistant", "content": "a", "reasoning": "t", "x": 1}],
            View("thinking"),
            [{"role": "assistant", "thinking": "t"}, {"content": "a", "x": 1}],
        ),
        # CV-40: two names for one text, decided by the first that says something
        (
            [{"reasoning": "t", "reasoning_content": "t"}, {"reasoning": "u", "reasoning_content": "u"}],
            View("thinking"),
            [{"thinking": "t"}, {"thinking": "u"}],
        ),
        # details are kept, their text counts once
        (
            [
                {"reasoning": "t", "reasoning_details": [{"text": "t"}]},
                {"reasoning_details": [{"signature": "s"}]},
                {"content": "a"},
            ],
            View("reasoning_content"),
            [
                {"reasoning_content": "t", "reasoning_details": [{"text": "t"}]},
                {"reasoning_details": [{"signature": "s"}]},
                {"content": "a"},
            ],
        ),
        (
            [
                {"reasoning": "t", "reasoning_details": [{"text": "t"}]},
                {"reasoning_details": [{"text": "u", "signature": "s"}]},
                {"content": "a"},
            ],
            View("hidden"),
            [{"reasoning_details": [{"text": "", "signature": "s"}]}, {"content": "a"}],
        ),
        # interleaved: as it comes
        (
            [{"reasoning": "t"}, {"content": "a"}, {"reasoning": "u"}],
            View("thinking"),
            [{"thinking": "t"}, {"content": "a"}, {"thinking": "u"}],
        ),
        # Mistral
        (
            [
                {
                    "content": [
                        {"type": "thinking", "thinking": [{"type": "text", "text": "t"}]},
                        {"type": "text", "text": "a"},
                    ]
                }
            ],
            View("reasoning"),
            [{"reasoning": "t"}, {"content": "a"}],
        ),
        ([{"reasoning": "t", "tool_calls": [1]}], View("thinking"), [{"thinking": "t"}, {"tool_calls": [1]}]),
        # raw: CV-33
        (
            [ROLE, {"reasoning": "t"}, {"reasoning": "u"}, {"content": "a"}],
            View("raw"),
            [ROLE, {"content": "<think>\nt"}, {"content": "u"}, {"content": "\n</think>\n\n"}, {"content": "a"}],
        ),
        (
            [{"reasoning": "t"}, {"tool_calls": [{"index": 0}]}],
            View("raw"),
            [{"content": "<think>\nt"}, {"content": "\n</think>\n\n", "tool_calls": [{"index": 0}]}],
        ),
        ([{"reasoning": "t"}], View("raw"), [{"content": "<think>\nt"}, {"content": "\n</think>\n\n"}]),
        # tags
        (
            [ROLE, {"content": "\n<thi"}, {"content": "nk>\nt"}, {"content": "</think>\n"}, {"content": "\na"}],
            View(tags="auto"),
            [ROLE, {"reasoning_content": "t"}, {"content": "a"}],
        ),
        ([{"content": "<think>t</think>a"}], View("thinking", "auto"), [{"thinking": "t"}, {"content": "a"}]),
        ([{"content": "<thi"}], View(tags="auto"), [{"content": "<thi"}]),
        ([{"content": "<think>t</thi"}], View("hidden", "auto"), []),
        (
            [{"content": "<think>t</thi"}],
            View("raw", "auto"),
            [{"content": "<think>\nt"}, {"content": "</thi"}, {"content": "\n</think>\n\n"}],
        ),
        (
            [{"reasoning": "own"}, {"content": "<think>t"}],
            View(tags="auto"),
            [{"reasoning": "own"}, {"content": "<think>t"}],
        ),
        (
            [{"content": "<think>t"}, {"tool_calls": [1]}, {"content": "</think>"}],
            View(tags="auto"),
            [{"reasoning_content": "t"}, {"tool_calls": [1]}, {"content": "</think>"}],
        ),
        ([{"content": "<thi"}, {"tool_calls": [1]}], View(tags="auto"), [{"content": "<thi"}, {"tool_calls": [1]}]),
        ([{"content": "t</think>a"}], View("reasoning", "prefilled"), [{"reasoning": "t"}, {"content": "a"}]),
        # CV-41
        ([ROLE, {"reasoning": "the "}, {"reasoning": "answer"}], View(off=True), [ROLE, {"content": "the answer"}]),
        ([ROLE, {"reasoning": "t"}, {"content": "a"}, {"reasoning": "u"}], View(off=True), [ROLE, {"content": "a"}]),
        ([{"reasoning": "t"}, {"tool_calls": [1]}], View(off=True), [{"tool_calls": [1]}]),
    ],
)
def test_streams(deltas: Deltas, view: ReasoningView, expected: Deltas) -> None:
    before = repr(deltas)
    assert streamed(view, *deltas) == expected
    assert repr(deltas) == before


def test_without_a_wish_chunks_are_the_same() -> None:
    rewriter = ChatReasoningRewriter(View())
    for delta in ({"reasoning": "t", "content": "", "reasoning_content": "t"}, {"content": "<think>a"}, {}):
        given_chunk = chunk(delta)
        assert rewriter.feed(given_chunk)[0] is given_chunk


def test_what_a_chunk_has_beside_its_choices_stays() -> None:
    rewriter = ChatReasoningRewriter(View("thinking", "auto"))
    both = chunk({"reasoning": "t", "content": "a"}, "stop", usage={"x": 1}, x_groq=2)
    both["choices"][0] |= {"stop_reason": 5, "logprobs": {"content": [1]}}
    first, last = rewriter.feed(both)
    assert first == chunk({"thinking": "t"}, x_groq=2)
    assert last["usage"] == {"x": 1}
    assert last["choices"] == [
        {"index": 0, "delta": {"content": "a"}, "finish_reason": "stop", "stop_reason": 5, "logprobs": {"content": [1]}}
    ]
    empty = chunk({"reasoning": ""}, usage={"x": 1})
    assert rewriter.feed(empty) == [{**empty, "choices": []}]
    usage: dict[str, Any] = {"choices": [], "usage": {}}
    assert rewriter.feed(usage) == [usage]


def test_odd_chunks_pass() -> None:
    rewriter = ChatReasoningRewriter(View("raw"))
    rewriter.feed(chunk({"reasoning": "t"}))
    empty = chunk({})
    assert rewriter.feed(empty) == [empty]
    odd = {"choices": [None, {"index": "x", "delta": None}]}
    assert rewriter.feed(odd) == [odd]
    parts: list[Any] = [None, {"type": "thinking", "thinking": "t"}]
    assert rewriter.feed(chunk({"content": parts})) == [chunk({"content": "t"})]


def test_several_choices_in_one_chunk() -> None:
    rewriter = ChatReasoningRewriter(View("thinking"))
    given_chunk = chunk({"reasoning": "t", "content": "a"})
    given_chunk["choices"].append({"index": 1, "delta": {"reasoning": "u"}, "finish_reason": "length"})
    first, last = rewriter.feed(given_chunk)
    assert [(choice["index"], choice["delta"]) for choice in first["choices"]] == [(0, {"thinking": "t"})]
    assert [(choice["index"], choice["delta"], choice["finish_reason"]) for choice in last["choices"]] == [
        (0, {"content": "a"}, None),
        (1, {"thinking": "u"}, "length"),
    ]


def test_an_ending_with_words_in_it() -> None:
    for view, delta, expected in (
        (View("raw"), {"reasoning": "t"}, ["<think>\nt", "\n</think>\n\n"]),
        (View("raw"), {"reasoning": "t", "content": "a"}, ["<think>\nt", "\n</think>\n\n", "a"]),
    ):
        shown = ChatReasoningRewriter(view).feed(chunk(delta, "stop"))
        assert [found["choices"][0]["delta"]["content"] for found in shown] == expected
        assert [found["choices"][0]["finish_reason"] for found in shown] == [None] * (len(expected) - 1) + ["stop"]


def test_cv_31_a_stream_without_an_end() -> None:
    assert streamed(View(tags="auto"), {"content": "<thi"}, finish=None) == [{"content": "<thi"}]
    assert streamed(View(tags="auto"), {"content": "<think>t</"}, finish=None) == [
        {"reasoning_content": "t"},
        {"reasoning_content": "</"},
    ]
    assert streamed(View("raw"), {"reasoning": "t"}, finish=None) == [
        {"content": "<think>\nt"},
        {"content": "\n</think>\n\n"},
    ]
    rewriter = ChatReasoningRewriter(View(tags="auto"))
    rewriter.feed(chunk({"content": "<thi"}))
    error = {"error": {"message": "broken"}}
    assert rewriter.feed(error) == [chunk({"content": "<thi"}), error]


WORDS = ["<think>", "</think>", "\n", "a", "<thi", "nk>", " "]


@given(
    st.lists(st.sampled_from(WORDS), max_size=8).map("".join),
    st.lists(st.integers(0, 30), max_size=6),
    st.sampled_from(["off", "auto"]),
    st.sampled_from([None, "reasoning", "hidden", "raw"]),
)
def test_cv_28_streams_and_answers_agree(text: str, cuts: list[int], tags: Any, shown: Any) -> None:
    view = View(shown, tags)
    edges = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    deltas = streamed(view, *({"content": text[a:b]} for a, b in pairwise(edges)))
    message = rewritten({"content": text}, view)
    for field in ("content", "reasoning", "reasoning_content"):
        whole = "".join(delta.get(field, "") for delta in deltas)
        assert whole == (message.get(field) or "")


# The same on bytes.


def block(*chunks: dict[str, Any]) -> bytes:
    return b"".join(encode_sse(orjson.dumps(found)) for found in chunks)


DONE = b"data: [DONE]\n\n"


def test_bytes_that_say_nothing_of_reasoning_are_the_same() -> None:
    stream = ChatReasoningStream(View("thinking"))
    for data in (block(chunk(ROLE)), block(chunk({"content": "a"}), chunk({"content": "b"})), DONE, b": ping\n\n"):
        assert stream.feed(data) is data
    assert stream.close() == b""


def test_bytes_are_rewritten_where_reasoning_is() -> None:
    stream = ChatReasoningStream(View("thinking"))
    text = b'data:  {"choices": [ {"index":0,"delta":{"content":"a"}} ]}\n\n'
    out = stream.feed(block(chunk({"reasoning": "t"})) + text + b"data: not json\n\n: reasoning\n\ndata: [1]\n\n")
    assert out == block(chunk({"thinking": "t"})) + text + b"data: not json\n\n: reasoning\n\ndata: [1]\n\n"


def test_names_of_events_stay() -> None:
    stream = ChatReasoningStream(View("thinking"))
    named = encode_sse(orjson.dumps(chunk({"reasoning": "t"})), b"x")
    assert stream.feed(named) == encode_sse(orjson.dumps(chunk({"thinking": "t"})), b"x")


def test_tags_across_blocks_of_bytes() -> None:
    stream = ChatReasoningStream(View(tags="auto"))
    out = b"".join(stream.feed(block(chunk({"content": part}))) for part in ("<th", "ink>t", "</think>", "\n\na", "b"))
    texts = [orjson.loads(event.data)["choices"][0]["delta"] for event in parse_block(out)]
    assert texts == [{"reasoning_content": "t"}, {"content": "a"}, {"content": "b"}]
    data = block(chunk({"content": "<think>"}))
    assert stream.feed(data) is data, "once the answer has begun its text is not looked at"


def test_cv_31_held_text_comes_before_the_end() -> None:
    for ending in (DONE, block({"error": {"message": "x"}})):
        stream = ChatReasoningStream(View(tags="auto"))
        assert stream.feed(block(chunk({"content": "<thi"}))) == b""
        assert stream.feed(ending) == block(chunk({"content": "<thi"})) + ending
    stream = ChatReasoningStream(View(tags="auto"))
    stream.feed(block(chunk({"content": "<thi"})))
    assert stream.close() == block(chunk({"content": "<thi"}))


def test_several_candidates_may_each_begin_with_a_tag() -> None:
    stream = ChatReasoningStream(View(tags="auto", candidates=2))
    stream.feed(block(chunk({"content": "a"})))
    out = stream.feed(block(chunk({"content": "<think>t</think>"}, index=1)))
    assert orjson.loads(out[6:])["choices"][0]["delta"] == {"reasoning_content": "t"}


def test_cv_41_on_bytes() -> None:
    answer = ChatReasoningStream(View(off=True))
    out = answer.feed(block(chunk(ROLE))) + answer.feed(block(chunk({"reasoning": "the answer"}), chunk({}, "stop")))
    assert out == block(chunk(ROLE), chunk({"content": "the answer"}), chunk({}, "stop"))
    said = ChatReasoningStream(View(off=True))
    out = said.feed(block(chunk({"content": "a"}))) + said.feed(block(chunk({"reasoning": "t"}), chunk({}, "stop")))
    assert out == block(chunk({"content": "a"}), chunk({}, "stop"))
