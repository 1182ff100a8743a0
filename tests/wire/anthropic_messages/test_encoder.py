"""Canonical events to a client's stream, and what official clients insist on. The worked examples are in
`tests.golden`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import httpx2
import pytest
from anthropic import Anthropic
from anthropic.types import Message, RawMessageStreamEvent
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from oneapi_mw.canonical.blocks import (
    Citation,
    HostedCall,
    HostedResult,
    Image,
    Inline,
    Opaque,
    Reasoning,
    ReasoningOpaque,
    ReasoningText,
    Refusal,
    Text,
    ToolCall,
)
from oneapi_mw.canonical.call import Call, Outside
from oneapi_mw.canonical.events import (
    ArgumentsDelta,
    BlockEnded,
    BlockStarted,
    CitationAdded,
    Ended,
    Event,
    Failed,
    Finished,
    ForeignEvent,
    OpaqueDelta,
    Ping,
    ReasoningDelta,
    Started,
    TextDelta,
    UsageReported,
)
from oneapi_mw.canonical.fold import fold, unfold
from oneapi_mw.canonical.response import Candidate, Response
from oneapi_mw.errors import UpstreamError
from oneapi_mw.usage import Usage
from oneapi_mw.wire.anthropic_messages import FORMAT
from oneapi_mw.wire.anthropic_messages.response import encode_content
from oneapi_mw.wire.envelope_text import TEXT_ALONE
from tests.canonical.strategies import responses
from tests.wire.anthropic_messages import streams
from tests.wire.anthropic_messages.notation import events as noted
from tests.wire.anthropic_messages.notation import parsed, stream

EVENTS: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)


def call(estimate: int = 1, *, betas: bytes = b"") -> Call:
    headers = ((b"anthropic-beta", betas),) if betas else ()
    outside = Outside(headers=headers)
    return Call("chat", "anthropic_messages", "m", True, {}, None, input_estimate=estimate, outside=outside)


def encoded(events: Sequence[Event], *, estimate: int = 1, betas: bytes = b"") -> list[dict[str, Any]]:
    encoder = FORMAT.stream_encoder(call(estimate, betas=betas), request_id="")
    return parsed(encoder.feed(events) + encoder.close())


def collected(data: bytes) -> Message:
    """What the official client makes of a stream."""
    transport = httpx2.MockTransport(
        lambda request: httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=data)
    )
    with Anthropic(api_key="k", http_client=httpx2.Client(transport=transport), max_retries=0) as client:
        arguments: dict[str, Any] = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
        with client.messages.stream(**arguments) as answer:
            return answer.get_final_message()


def text_block(number: int, *deltas: str) -> list[Event]:
    return [
        BlockStarted(0, number, "text"),
        *(TextDelta(0, number, text) for text in deltas),
        BlockEnded(0, number, Text("".join(deltas))),
    ]


def tool_block(number: int, call_id: str, name: str, *deltas: str) -> list[Event]:
    return [
        BlockStarted(0, number, "tool_call", call_id=call_id, name=name),
        *(ArgumentsDelta(0, number, text) for text in deltas),
        BlockEnded(0, number, ToolCall(call_id, name, "".join(deltas))),
    ]


STARTED = Started("msg_1", "upstream")


def ending(reason: Any, usage: Usage | None = None, **rest: Any) -> list[Event]:
    report: list[Event] = [] if usage is None else [UsageReported(usage)]
    return [Finished(0, reason, **rest), *report, Ended()]


def test_6_8_error_in_the_middle() -> None:
    error = UpstreamError("Overloaded", status=529)
    found = encoded([STARTED, *text_block(0, "Hi")[:2], Failed(error), *text_block(1, "more"), Ended()], estimate=8)
    for name in ("code", "param"):
        del found[-1]["error"][name]
    assert found == noted(streams.FAILED)


def test_6_10_the_signature_of_a_call_joins_the_reasoning_before_it() -> None:
    signature = ReasoningOpaque("oa1.gemini.Y", "google-gemini-v1")
    thought = "Look it up."
    source = [
        STARTED,
        BlockStarted(0, 0, "reasoning"),
        ReasoningDelta(0, 0, thought),
        BlockEnded(0, 0, Reasoning((ReasoningText(thought),))),
        BlockStarted(0, 1, "tool_call", call_id="call_1", name="get_weather", opaque=signature),
        ArgumentsDelta(0, 1, '{"city":"Oslo"}'),
        BlockEnded(0, 1, ToolCall("call_1", "get_weather", '{"city":"Oslo"}', opaque=signature)),
        *ending("tool_calls", Usage(31, 62, reasoning=40)),
    ]
    assert encoded(source, estimate=31) == noted(streams.SIGNED_CALL)


def test_a_note_of_where_a_text_is_from_yields_to_the_signature_of_a_call() -> None:
    origin = ReasoningOpaque("oa1.text.Z", TEXT_ALONE)
    thought: list[Event] = [
        BlockStarted(0, 0, "reasoning"),
        ReasoningDelta(0, 0, "Look it up."),
        OpaqueDelta(0, 0, origin),
        BlockEnded(0, 0, Reasoning((ReasoningText("Look it up."),), origin)),
    ]
    signature = ReasoningOpaque("oa1.gemini.Y", "google-gemini-v1")
    call = ToolCall("c", "f", "{}", opaque=signature)
    signed: list[Event] = [
        BlockStarted(0, 1, "tool_call", call_id="c", name="f", opaque=signature),
        BlockEnded(0, 1, call),
    ]
    for after, wanted in ((signed, "oa1.gemini.Y"), (text_block(1, "4"), "oa1.text.Z")):
        found = encoded([STARTED, *thought, *after, *ending("stop")])
        signatures = [
            (event["index"], event["delta"]["signature"]) for event in found if "signature" in event.get("delta", {})
        ]
        assert signatures == [(0, wanted)]
    whole = encode_content([Reasoning((ReasoningText("Look it up."),), origin), call])
    assert [block.get("signature") for block in whole] == ["oa1.gemini.Y", None]
    whole = encode_content([Reasoning((ReasoningText("Look it up."),), origin), Text("4"), call])
    assert [block.get("signature") for block in whole] == ["oa1.text.Z", None, "oa1.gemini.Y", None]


def test_a_signed_call_without_reasoning_before_it() -> None:
    signature = ReasoningOpaque("oa1.gemini.Y", "google-gemini-v1")
    begun = BlockStarted(0, 0, "tool_call", call_id="c", name="f", opaque=signature)
    source = [STARTED, begun, BlockEnded(0, 0, ToolCall("c", "f", "", opaque=signature)), *ending("tool_calls")]
    assert [(item["type"], item.get("index")) for item in encoded(source)[1:7]] == [
        ("content_block_start", 0),
        ("content_block_delta", 0),
        ("content_block_stop", 0),
        ("content_block_start", 1),
        ("content_block_stop", 1),
        ("message_delta", None),
    ]


@pytest.mark.parametrize("name", streams.COMPLETE)
def test_our_own_streams_come_back(name: str) -> None:
    source = streams.COMPLETE[name]
    decoder = FORMAT.stream_decoder(full=True, model=None, hide_usage=False)
    frames = decoder.feed(stream(source)) + decoder.close()
    assert encoded([event for frame in frames for event in frame.events]) == noted(source)


@pytest.mark.parametrize("name", streams.COMPLETE)
def test_sdk_types_validate_what_we_send(name: str) -> None:
    for event in noted(streams.COMPLETE[name]):
        EVENTS.validate_python(event)


def test_cv_34_the_signature_is_the_last_delta_of_its_block() -> None:
    first, last = ReasoningOpaque("one", "anthropic-claude-v1"), ReasoningOpaque("two", "anthropic-claude-v1")
    source = [
        STARTED,
        BlockStarted(0, 0, "reasoning"),
        OpaqueDelta(0, 0, first),
        ReasoningDelta(0, 0, "Hm"),
        OpaqueDelta(0, 0, last),
        BlockEnded(0, 0, Reasoning((ReasoningText("Hm"),), last)),
        *ending("stop"),
    ]
    assert [item["delta"] for item in encoded(source) if item["type"] == "content_block_delta"] == [
        {"type": "thinking_delta", "thinking": "Hm"},
        {"type": "signature_delta", "signature": "two"},
    ]


def test_cv_35_a_block_that_is_only_a_signature() -> None:
    opaque = ReasoningOpaque("EqQB", "anthropic-claude-v1")
    source = [
        STARTED,
        BlockStarted(0, 0, "reasoning"),
        OpaqueDelta(0, 0, opaque),
        BlockEnded(0, 0, Reasoning((), opaque)),
        *ending("stop"),
    ]
    assert [item["type"] for item in encoded(source)[1:4]] == [
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
    ]


def test_ciphertext_of_another_vendor_is_a_signed_thinking_block() -> None:
    opaque = ReasoningOpaque("oa1.responses.X", "openai-responses-v1", "encrypted")
    block = Reasoning((ReasoningText("Sum", summary=True),), opaque)
    response = Response(candidates=(Candidate((block, Reasoning((), opaque)), "stop"),))
    body = FORMAT.encode_response(response, call())
    assert [(item["type"], item["thinking"], item["signature"]) for item in body["content"]] == [
        ("thinking", "Sum", "oa1.responses.X"),
        ("thinking", "", "oa1.responses.X"),
    ]


def test_cv_36_cv_37_reasoning_after_text_opens_a_new_block() -> None:
    source = [
        STARTED,
        BlockStarted(0, 0, "reasoning"),
        ReasoningDelta(0, 0, "a"),
        BlockEnded(0, 0, Reasoning((ReasoningText("a"),))),
        *text_block(1, "b"),
        BlockStarted(0, 2, "reasoning"),
        ReasoningDelta(0, 2, "c"),
        BlockEnded(0, 2, Reasoning((ReasoningText("c"),))),
        *ending("stop"),
    ]
    begun = [item for item in encoded(source) if item["type"] == "content_block_start"]
    assert [(item["index"], item["content_block"]["type"]) for item in begun] == [
        (0, "thinking"),
        (1, "text"),
        (2, "thinking"),
    ]


def test_blocks_that_say_nothing_are_not_shown() -> None:
    empty: list[Event] = [BlockStarted(0, 0, "reasoning"), BlockEnded(0, 0, Reasoning())]
    found = encoded([STARTED, *empty, *text_block(1), *ending("stop")])
    assert [item["type"] for item in found] == ["message_start", "message_delta", "message_stop"]


@pytest.mark.parametrize(
    ("deltas", "input_text"),
    [
        (["{}", '{"a":1}'], '{"a":1}'),
        (['{"a":1}', " and more"], '{"a":1}'),
        (["[1]"], '{"input":[1]}'),
        (["oops"], '{"_malformed_arguments":"oops"}'),
        ([], ""),
        (["{}"], ""),
    ],
)
def test_arguments_are_what_a_client_can_parse(deltas: list[str], input_text: str) -> None:
    found = encoded([STARTED, *tool_block(0, "c", "f", *deltas), *ending("tool_calls")])
    parts = [item["delta"]["partial_json"] for item in found if item["type"] == "content_block_delta"]
    assert "".join(parts) == input_text


def test_usage_is_never_zero_at_the_start_and_estimated_where_nobody_told() -> None:
    found = encoded([STARTED, *text_block(0, "Hello there"), *ending("stop")], estimate=0)
    assert found[0]["message"]["usage"]["input_tokens"] == 1
    assert found[-2]["usage"]["input_tokens"] == 1
    assert found[-2]["usage"]["output_tokens"] > 1


def test_a_usage_known_at_the_start_is_told_there() -> None:
    started = Started("msg_1", usage=Usage(120, 1, cache_read=100))
    found = encoded([started, *text_block(0, "x"), *ending("stop", Usage(120, 3, cache_read=100))], estimate=7)
    assert found[0]["message"]["usage"]["input_tokens"] == 20
    assert found[0]["message"]["usage"]["cache_read_input_tokens"] == 100


@pytest.mark.parametrize(
    ("reason", "rest", "word"),
    [
        ("stop", {}, "end_turn"),
        ("stop_sequence", {"stop_sequence": "END"}, "stop_sequence"),
        ("stop_sequence", {}, "end_turn"),
        ("tool_calls", {}, "tool_use"),
        ("length", {}, "max_tokens"),
        ("context_window", {}, "model_context_window_exceeded"),
        ("pause", {}, "pause_turn"),
        ("compaction", {}, "pause_turn"),
        ("continuation", {}, "pause_turn"),
        ("refusal", {}, "refusal"),
        ("content_filter", {}, "refusal"),
        ("malformed_call", {}, "end_turn"),
        ("unknown", {}, "end_turn"),
    ],
)
def test_stop_reasons(reason: str, rest: dict[str, Any], word: str) -> None:
    delta = encoded([STARTED, *text_block(0, "x"), *ending(reason, **rest)])[-2]["delta"]
    assert delta["stop_reason"] == word
    assert delta["stop_sequence"] == (rest.get("stop_sequence") if word == "stop_sequence" else None)
    assert ("stop_details" in delta) == (reason == "refusal")


def test_a_client_with_the_beta_hears_of_compaction() -> None:
    source = [STARTED, *text_block(0, "x"), *ending("compaction")]
    assert encoded(source, betas=b"compact-2026-01-12")[-2]["delta"]["stop_reason"] == "compaction"


def test_an_answer_that_ended_in_an_error_is_no_success() -> None:
    found = encoded([STARTED, *text_block(0, "x"), Finished(0, "error"), Ended()])
    assert [item["type"] for item in found[-2:]] == ["content_block_stop", "error"]


def test_pings_and_events_of_this_format_pass() -> None:
    foreign = ForeignEvent("anthropic_messages", "news", {"type": "news", "x": 1})
    other = ForeignEvent("openai_chat", "news", {"type": "news"})
    found = encoded([Ping(), STARTED, *text_block(0, "x"), foreign, other, *ending("stop")])
    assert found[0] == {"type": "ping"}
    assert {"type": "news", "x": 1} in found
    assert len([item for item in found if item["type"] == "news"]) == 1


def test_other_candidates_have_no_place() -> None:
    found = encoded(
        [STARTED, *text_block(0, "x"), BlockStarted(1, 0, "text"), TextDelta(1, 0, "unseen"), *ending("stop")]
    )
    assert "unseen" not in json.dumps(found)


def test_images_and_hosted_tools_of_others() -> None:
    blocks = (
        Image(Inline("image/png", "A" * 65536)),
        HostedCall("web_search", "ws_1", "web_search", {"query": "q"}),
        HostedResult("ws_1", "web_search", format="openai_responses", raw={}),
    )
    found = encoded(unfold(Response(id="msg_1", candidates=(Candidate(blocks, "stop"),))))
    shown = [item["delta"]["text"] for item in found if item["type"] == "content_block_delta"]
    assert shown == ["[image image/png 48 kB omitted]"]


def test_citations_of_others_have_an_empty_index() -> None:
    citation = Citation("url", url="https://e.org", title="E", start=0, end=2)
    block: list[Event] = [BlockStarted(0, 0, "text"), CitationAdded(0, 0, citation), TextDelta(0, 0, "Hi")]
    found = encoded([STARTED, *block, BlockEnded(0, 0, Text("Hi", (citation,))), *ending("stop")])
    assert found[2]["delta"]["citation"] == {
        "type": "web_search_result_location",
        "url": "https://e.org",
        "title": "E",
        "encrypted_index": "",
        "cited_text": "",
    }


def test_observed_events_move_the_index() -> None:
    encoder = FORMAT.stream_encoder(call())
    encoder.observe([STARTED, *text_block(0), *text_block(1, "seen")])
    found = parsed(encoder.feed([*text_block(2, "ours"), *ending("stop")]))
    assert [item.get("index") for item in found] == [2, 2, 2, None, None]


def test_call_ids_are_legal_and_unique() -> None:
    events = [STARTED, *tool_block(0, "a:1", "f"), *tool_block(1, "b", "f"), *tool_block(2, "b", "f")]
    begun = [item for item in encoded([*events, *ending("tool_calls")]) if item["type"] == "content_block_start"]
    ids = [item["content_block"]["id"] for item in begun]
    assert ids[1:] == ["b", "b_2"]
    assert ":" not in ids[0]


@settings(deadline=None)
@given(responses())
def test_whatever_is_said_the_official_types_take_it(response: Response) -> None:
    found = encoded(unfold(response))
    check_grammar(found)
    for event in found:
        if event["type"] != "error":
            EVENTS.validate_python(event)


def check_grammar(found: list[dict[str, Any]]) -> None:
    assert found[-1]["type"] in ("message_stop", "error")
    kinds = [item["type"] for item in found]
    assert kinds.count("message_start") == (kinds[0] == "message_start")
    assert kinds.count("message_stop") + kinds.count("error") == 1
    place, index, inside = 0, -1, False
    for place, item in enumerate(found):
        kind = item["type"]
        if kind == "content_block_start":
            assert not inside
            index, inside = index + 1, True
            assert item["index"] == index
        elif kind in ("content_block_delta", "content_block_stop"):
            assert inside
            assert item["index"] == index
            inside = kind == "content_block_delta"
        elif kind == "message_delta":
            assert not inside
            assert found[place + 1]["type"] == "message_stop"


ANSWERS = st.lists(
    st.one_of(
        st.builds(Text, st.text(min_size=1, max_size=5)),
        st.builds(Refusal, st.text(min_size=1, max_size=5)),
        st.builds(
            Reasoning,
            st.text(min_size=1, max_size=5).map(lambda text: (ReasoningText(text),)),
            st.none() | st.just(ReasoningOpaque("EqQB", "anthropic-claude-v1")),
        ),
        st.builds(
            ToolCall,
            st.sampled_from(["a", "b"]),
            st.just("f"),
            st.sampled_from(["", "{}", '{"x":[1,"}"]}', '{}{"y":2}', '"{\\"z\\":3}"', "[4]", "oops"]),
        ),
        st.builds(ToolCall, st.just("c"), st.just("g"), st.text(max_size=6), st.just("custom")),
    ),
    max_size=4,
)


@settings(deadline=None, max_examples=40)
@given(ANSWERS)
def test_a_collected_stream_is_the_buffered_answer(blocks: list[Any]) -> None:
    response = Response("msg_1", "m", 1, (Candidate(tuple(blocks), "stop"),), Usage(9, 3))
    encoder = FORMAT.stream_encoder(call(9))
    message = collected(encoder.feed(unfold(response)) + encoder.close())
    body = FORMAT.encode_response(response, call(9))
    assert (
        json.loads(message.model_dump_json(exclude_unset=True))["content"]
        == json.loads(Message.model_validate(body).model_dump_json(exclude_unset=True))["content"]
    )
    assert fold(unfold(response)).usage == Usage(9, 3)
    assert message.usage.input_tokens == body["usage"]["input_tokens"]


def test_blocks_without_deltas_are_all_in_their_end() -> None:
    thought = Reasoning((ReasoningText("Hm"),))
    source = [
        STARTED,
        BlockStarted(0, 0, "reasoning"),
        BlockEnded(0, 0, thought),
        BlockStarted(0, 1, "tool_call", call_id="c", name="f"),
        BlockEnded(0, 1, ToolCall("c", "f", '{"a":1}')),
        *ending("tool_calls"),
    ]
    deltas = [item["delta"] for item in encoded(source) if item["type"] == "content_block_delta"]
    assert deltas == [
        {"type": "thinking_delta", "thinking": "Hm"},
        {"type": "input_json_delta", "partial_json": '{"a":1}'},
    ]


def test_what_belongs_to_this_format_alone() -> None:
    compaction = Opaque("compaction", "anthropic_messages", "compaction", {"type": "compaction", "content": "Sum"})
    container = {"id": "c", "expires_at": "2026-11-01T00:00:00Z"}
    response = Response("msg_1", candidates=(Candidate((compaction,), "stop"),), container=container)
    found = encoded(unfold(response))
    assert found[1]["content_block"] == compaction.value
    assert found[-2]["delta"]["container"] == container
    assert FORMAT.encode_response(response, call())["content"] == [compaction.value]
    odd = Response("msg_1", candidates=response.candidates, container="cntr_1")
    assert "container" not in encoded(unfold(odd))[-2]["delta"]
    assert "container" not in FORMAT.encode_response(odd, call())


def test_an_end_without_a_beginning_says_nothing() -> None:
    found = encoded([STARTED, BlockEnded(0, 0, Text("x")), *ending("stop")])
    assert [item["type"] for item in found] == ["message_start", "message_delta", "message_stop"]


def test_observed_reasoning_that_said_nothing() -> None:
    encoder = FORMAT.stream_encoder(call())
    encoder.observe([STARTED, BlockStarted(0, 0, "reasoning"), BlockEnded(0, 0, Reasoning())])
    assert parsed(encoder.feed(text_block(1, "x")))[0]["index"] == 1
