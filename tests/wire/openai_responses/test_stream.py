"""Responses streams as canonical events, on every way a network can cut them and every liberty servers take."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oneapi_mw.canonical.blocks import (
    Block,
    HostedCall,
    HostedResult,
    Image,
    Opaque,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
)
from oneapi_mw.canonical.events import (
    ArgumentsDelta,
    BlockEnded,
    BlockStarted,
    CodeDelta,
    Ended,
    Failed,
    Finished,
    ForeignEvent,
    HostedProgress,
    PartialImage,
    ReasoningDelta,
    Started,
    TextDelta,
    UsageReported,
)
from oneapi_mw.canonical.frames import Frame
from oneapi_mw.wire.openai_responses import FORMAT
from oneapi_mw.wire.openai_responses.content import VENDOR
from oneapi_mw.wire.openai_responses.stream import ResponsesStreamDecoder, says_only_content
from tests.wire.golden import shown
from tests.wire.openai_responses.support import (
    HEAD,
    Json,
    at,
    begun,
    bytewise,
    custom_item,
    decode,
    ended,
    events_of,
    function_item,
    parsed,
    raw_of,
    reasoning_item,
    refusal_item,
    text_item,
    to_bytes,
    usage,
    whole,
)

RICH = whole(
    reasoning_item("rs_1", 0, "Thïnk.", "gAAA"),
    text_item("msg_1", 1, "completed", "Hel", "lo \u2028."),
    function_item("fc_1", 2, "call_a", "f", '{"x":', "1}"),
    custom_item("ctc_1", 3, "call_b", "apply", "a\n"),
    usage=usage(50, 10, 5, 20, 7, 70),
)
DATA = to_bytes(RICH)


def blocks_of(events: list[Json]) -> list[Block]:
    return [event.content for event in events_of(decode([to_bytes(events)])) if isinstance(event, BlockEnded)]


def finish_of(events: list[Json]) -> Finished:
    (finished,) = [event for event in events_of(decode([to_bytes(events)])) if isinstance(event, Finished)]
    return finished


def texts_of(frames: list[Frame]) -> str:
    return "".join(event.text for event in events_of(frames) if isinstance(event, TextDelta))


def seen(frames: list[Frame]) -> list[Any]:
    return [shown(event) for event in events_of(frames)]


def test_every_kind_of_item() -> None:
    events = events_of(decode([DATA]))
    assert events[0] == Started("resp_1", "m", 1, extras=events[0].extras)  # type: ignore[union-attr]
    reasoning, said, call, custom = blocks_of(RICH)
    assert isinstance(reasoning, Reasoning)
    assert reasoning.text == "Thïnk."
    assert reasoning.is_summary
    assert reasoning.opaque is not None
    assert (reasoning.opaque.data, reasoning.opaque.vendor, reasoning.opaque.id) == ("gAAA", VENDOR, "rs_1")
    assert said == Text("Hello \u2028.", item_id="msg_1")
    assert call == ToolCall("call_a", "f", '{"x":1}', item_id="fc_1")
    assert custom == ToolCall("call_b", "apply", "a\n", "custom", item_id="ctc_1")
    (told,) = [event for event in events if isinstance(event, UsageReported)]
    assert (told.usage.input_tokens, told.usage.cache_read, told.usage.cache_write_5m) == (50, 10, 5)
    assert (told.usage.output_tokens, told.usage.reasoning) == (20, 7)
    assert events[-2:] == [Finished(0, "tool_calls"), Ended(status="completed")]


@pytest.mark.parametrize(
    ("details", "reason"),
    [
        ({"reason": "max_output_tokens"}, "length"),
        ({"reason": "max_messages"}, "length"),
        ({"reason": "content_filter"}, "content_filter"),
        ({"reason": "steered"}, "pause"),
        ({"reason": "something new"}, "length"),
        (None, "length"),
    ],
)
def test_incomplete_answers(details: Json | None, reason: str) -> None:
    stream = whole(text_item("msg_1", 0, "incomplete", "x"), kind="incomplete", incomplete_details=details)
    assert finish_of(stream).reason == reason


def test_a_limit_wins_over_calls() -> None:
    stream = whole(function_item("fc_1", 0, "c", "f", '{"a'), kind="incomplete", incomplete_details=None)
    assert finish_of(stream).reason == "length"


def test_a_refusal() -> None:
    stream = whole(refusal_item("msg_1", 0, "I cannot help."))
    assert blocks_of(stream) == [Refusal("I cannot help.", item_id="msg_1")]
    assert finish_of(stream).reason == "refusal"


def test_cv_38_ciphertext_is_that_of_the_finished_item() -> None:
    stream = whole(reasoning_item("rs_1", 0, "x", "final"))
    stream[2]["item"]["encrypted_content"] = "partial"
    (block,) = blocks_of(stream)
    assert isinstance(block, Reasoning)
    assert block.opaque is not None
    assert block.opaque.data == "final"


def test_parts_of_a_summary_are_a_blank_line_apart() -> None:
    summary = [{"type": "summary_text", "text": text} for text in ("One.", "Two.")]
    item = {"id": "rs_1", "type": "reasoning", "summary": summary}
    told = [
        {"type": "response.reasoning_summary_text.delta", **at("rs_1", 0), "summary_index": number, "delta": text}
        for number, text in enumerate(("One.", "Two."))
    ]
    stream = whole(told, [{"type": "response.output_item.done", "output_index": 0, "item": item}])
    events = events_of(decode([to_bytes(stream)]))
    assert "".join(event.text for event in events if isinstance(event, ReasoningDelta)) == "One.\n\nTwo."
    (block,) = blocks_of(stream)
    assert isinstance(block, Reasoning)
    assert [entry.text for entry in block.texts] == ["One.", "Two."]


def test_raw_reasoning() -> None:
    told = [{"type": "response.reasoning_text.delta", **at("rs_1", 0), "content_index": 0, "delta": "raw"}]
    (block,) = blocks_of(whole(told))
    assert isinstance(block, Reasoning)
    assert (block.text, block.is_summary) == ("raw", False)


# Liberties.


@pytest.mark.parametrize(
    "kind", ["reasoning_summary_text.delta", "reasoning_summary_text.done", "reasoning_text.delta"]
)
def test_reasoning_that_comes_behind_its_item_is_left_out(kind: str) -> None:
    """Its block has ended: to clients whose blocks follow one another nothing can be added to it."""
    late = {"type": f"response.{kind}", **at("rs_1", 0), "summary_index": 1, "delta": "Late.", "text": "Late."}
    stream = whole(reasoning_item("rs_1", 0, "Thought.", None), [late], text_item("msg_1", 1, "completed", "Said."))
    events = events_of(decode([to_bytes(stream)]))
    assert "".join(event.text for event in events if isinstance(event, ReasoningDelta)) == "Thought."
    assert [type(block) for block in blocks_of(stream)] == [Reasoning, Text]


def without(stream: list[Json], *kinds: str) -> list[Json]:
    return [event for event in stream if event["type"].removeprefix("response.") not in kinds]


@pytest.mark.parametrize(
    "missing",
    [
        ("created", "in_progress"),
        ("output_item.added",),
        ("output_item.added", "content_part.added", "reasoning_summary_part.added"),
        ("output_text.delta", "function_call_arguments.delta", "custom_tool_call_input.delta"),
        ("reasoning_summary_text.delta", "reasoning_summary_text.done", "reasoning_summary_part.done"),
        ("output_text.done", "content_part.done", "function_call_arguments.done", "custom_tool_call_input.done"),
        tuple({event["type"].removeprefix("response.") for event in RICH} - {"created", "in_progress", "completed"}),
    ],
    ids=lambda missing: str(len(missing)) + missing[0],
)
def test_events_may_be_missing(missing: tuple[str, ...]) -> None:
    assert blocks_of(without(RICH, *missing)) == blocks_of(RICH)
    assert finish_of(without(RICH, *missing)) == finish_of(RICH)


def test_done_events_may_be_missing_where_the_output_is_empty() -> None:
    stream = without(RICH, "output_item.done")
    stream[-1] = ended("completed", [])
    reasoning, *others = blocks_of(stream)
    assert isinstance(reasoning, Reasoning)
    assert reasoning.text == "Thïnk."
    assert [type(block) for block in others] == [Text, ToolCall, ToolCall]


def test_what_was_sent_stays_when_a_whole_text_contradicts_it() -> None:
    stream = whole(text_item("msg_1", 0, "completed", "abc"))
    for event in stream:
        if event["type"] == "response.output_text.done":
            event["text"] = "xyz"
    assert texts_of(decode([to_bytes(stream)])) == "abc"


def test_a_whole_text_completes_its_deltas() -> None:
    stream = whole(text_item("msg_1", 0, "completed", "abc"))
    for event in stream:
        if event["type"] == "response.output_text.delta":
            event["delta"] = "ab"
    assert texts_of(decode([to_bytes(stream)])) == "abc"


def test_annotations_may_be_known_only_in_the_end() -> None:
    annotation = {"type": "url_citation", "url": "https://e.org", "title": "E", "start_index": 0, "end_index": 1}
    stream = whole(text_item("msg_1", 0, "completed", "x", annotations=[annotation]))
    with_event, told_late = blocks_of(stream), blocks_of(without(stream, "output_text.annotation.added"))
    assert with_event == told_late
    assert isinstance(told_late[0], Text)
    assert [citation.url for citation in told_late[0].citations] == ["https://e.org"]


def test_interleaved_items() -> None:
    first, second = text_item("msg_1", 0, "completed", "a", "b"), function_item("fc_1", 1, "c", "f", "{", "}")
    mixed = [event for pair in zip(first, second, strict=False) for event in pair] + first[len(second) :]
    said, call = sorted(
        blocks_of([*begun(), *mixed, ended("completed", mixed)]), key=lambda block: type(block).__name__
    )
    assert said == Text("ab", item_id="msg_1")
    assert isinstance(call, ToolCall)
    assert call.arguments == "{}"


def test_indexes_and_type_may_be_missing() -> None:
    stream = whole(text_item("msg_1", 0, "completed", "abc"))
    for event in stream[2:-1]:
        event.pop("output_index")
    named = b"".join(
        b"event: %s\ndata: %s\n\n"
        % (event["type"].encode(), orjson.dumps({k: v for k, v in event.items() if k != "type"}))
        for event in stream
    )
    assert texts_of(decode([named])) == "abc"
    assert isinstance(events_of(decode([named]))[-1], Ended)


def test_unknown_events_are_foreign() -> None:
    stream = [*begun(), {"type": "response.new_thing", "output_index": 0}, ended("completed", [])]
    (foreign,) = [event for event in events_of(decode([to_bytes(stream)])) if isinstance(event, ForeignEvent)]
    assert foreign.name == "response.new_thing"


def test_hosted_calls() -> None:
    search = {
        "id": "ws_1",
        "type": "web_search_call",
        "status": "completed",
        "action": {"type": "search", "query": "oslo", "sources": [{"type": "url", "url": "https://e.org"}]},
    }
    code = {
        "id": "ci_1",
        "type": "code_interpreter_call",
        "status": "completed",
        "code": "print(1)",
        "container_id": "cntr",
        "outputs": [{"type": "logs", "logs": "1"}],
    }
    told = [
        {"type": "response.output_item.added", "output_index": 0, "item": {**search, "status": "in_progress"}},
        {"type": "response.web_search_call.searching", **at("ws_1", 0)},
        {"type": "response.output_item.done", "output_index": 0, "item": search},
        {"type": "response.output_item.added", "output_index": 1, "item": {**code, "code": "", "outputs": None}},
        {"type": "response.code_interpreter_call_code.delta", **at("ci_1", 1), "delta": "print"},
        {"type": "response.code_interpreter_call_code.done", **at("ci_1", 1), "code": "print(1)"},
        {"type": "response.output_item.done", "output_index": 1, "item": code},
    ]
    events = events_of(decode([to_bytes(whole(told))]))
    assert "".join(event.text for event in events if isinstance(event, CodeDelta)) == "print(1)"
    assert HostedProgress(0, 0, "searching") in events
    searched, found, ran, printed = blocks_of(whole(told))
    assert isinstance(searched, HostedCall)
    assert searched.input == {"type": "search", "query": "oslo"}
    assert isinstance(ran, HostedCall)
    assert ran.extras == {FORMAT.name: code}
    assert isinstance(found, HostedResult)
    assert isinstance(printed, HostedResult)
    assert printed.blocks == (Text("1"),)
    assert finish_of(whole(told)).reason == "stop"
    started = [event.block for event in events if isinstance(event, BlockStarted)]
    assert started == [event.block for event in events if isinstance(event, BlockEnded)] == [0, 1, 2, 3]


def test_a_picture() -> None:
    item = {"id": "ig_1", "type": "image_generation_call", "status": "completed", "result": "iVBORw0KGgo="}
    told = [
        {"type": "response.output_item.added", "output_index": 0, "item": {**item, "result": None}},
        {
            "type": "response.image_generation_call.partial_image",
            **at("ig_1", 0),
            "partial_image_index": 0,
            "partial_image_b64": "AAAA",
        },
        {"type": "response.output_item.done", "output_index": 0, "item": item},
    ]
    assert PartialImage(0, 0, 0, "AAAA") in events_of(decode([to_bytes(whole(told))]))
    (image,) = blocks_of(whole(told))
    assert isinstance(image, Image)


def test_items_nobody_else_knows_are_opaque() -> None:
    item = {"id": "cmp_1", "type": "compaction", "encrypted_content": "x"}
    (block,) = blocks_of(whole([{"type": "response.output_item.done", "output_index": 0, "item": item}]))
    assert block == Opaque("compaction", FORMAT.name, "compaction", item)


def test_a_call_without_a_name_is_dropped() -> None:
    stream = whole(function_item("fc_1", 0, "c", "", "{}"))
    assert blocks_of(stream) == []
    assert finish_of(stream).reason == "stop"


# Failures.


FAILURES: list[Json] = [
    {"type": "response.failed", "response": {**HEAD, "error": {"code": "server_error", "message": "sad"}}},
    {"type": "error", "code": "server_error", "message": "sad", "param": None},
    {"type": "error", "error": {"type": "server_error", "code": None, "message": "sad"}},
    {"error": {"code": "server_error", "message": "sad"}, "type": ""},
]


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("full", [True, False])
def test_failures_flat_and_nested(failure: Json, full: bool) -> None:
    stream = [*begun(), *text_item("msg_1", 0, "completed", "Hi")[:3], failure]
    data = to_bytes(stream)
    for pieces in ([data], bytewise(data)):
        frames = decode(pieces, full=full)
        last = events_of(frames)[-1]
        assert isinstance(last, Failed)
        assert (last.error.status, last.error.message) == (500, "sad")
        written = parsed(raw_of(frames))
        assert written[-1]["type"] == "response.failed"
        assert written[-1]["response"]["id"] == "resp_1"
        assert written[-1]["response"]["error"] == {"code": "server_error", "message": "sad"}
        assert [event["sequence_number"] for event in written] == list(range(len(written)))


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        ({"code": "rate_limit_exceeded", "message": "try again in 11.5s"}, 429, "rate_limit_exceeded"),
        ({"code": "insufficient_quota", "message": "pay"}, 502, "upstream_auth_failed"),
        ({"code": "invalid_prompt", "message": "bad"}, 400, "invalid_prompt"),
        ({"code": "vector_store_timeout", "message": "slow"}, 500, "vector_store_timeout"),
        ({"type": "overloaded_error", "message": "later"}, 503, "upstream_error"),
        ({"code": "503", "message": "later"}, 503, "upstream_error"),
        ({"message": "?"}, 502, "upstream_error"),
    ],
)
def test_failures_by_their_code(error: Json, status: int, code: str) -> None:
    stream = [*begun(), {"type": "response.failed", "response": {**HEAD, "error": error}}]
    (failed,) = events_of(decode([to_bytes(stream)]))
    assert isinstance(failed, Failed), "nothing was said: another upstream may be tried"
    assert (failed.error.status, failed.error.code) == (status, code)


def test_a_failure_tells_the_usage_and_the_finished_items() -> None:
    item = text_item("msg_1", 0, "completed", "Hi")
    response = {**HEAD, "error": {"code": "server_error", "message": "x"}, "usage": usage(3, 0, 0, 2, 0, 5)}
    data = to_bytes([*begun(), *item, {"type": "response.failed", "response": response}])
    for full in (True, False):
        frames = decode(bytewise(data), full=full)
        assert isinstance(events_of(frames)[-2], UsageReported)
        failed = parsed(raw_of(frames))[-1]["response"]
        assert failed["output"] == [item[-1]["item"]]
        assert failed["usage"]["total_tokens"] == 5


def test_malformed_events_fail() -> None:
    for bad in (
        {"type": "response.output_item.added", "output_index": 0, "item": 1},
        {"type": "response.output_item.added", "output_index": -1, "item": {}},
        {"type": "response.output_text.delta", "output_index": 0, "content_index": 10**6, "delta": "x"},
        {"type": "response.completed", "response": None},
    ):
        assert isinstance(events_of(decode([to_bytes([*begun(), bad])]))[-1], Failed)


@pytest.mark.parametrize("full", [True, False])
def test_a_stream_cut_anywhere_fails(full: bool) -> None:
    """Only with its last event is it a success; without the blank line behind that, too."""
    last = len(DATA) - len(to_bytes(RICH[-1:])) + 2  # the number of the event is longer there
    for end in range(0, len(DATA), 3):
        events = events_of(decode([DATA[:end]], full=full))
        terminal = [event for event in events if isinstance(event, (Ended, Failed))]
        assert terminal == events[-1:]
        if end < last:
            assert isinstance(terminal[0], Failed)
    assert isinstance(events_of(decode([DATA[:-2]], full=full))[-1], Ended)
    assert isinstance(events_of(decode([DATA[:-3]], full=full))[-1], Failed)


def test_done_alone_is_no_end() -> None:
    data = to_bytes([*begun(), *text_item("msg_1", 0, "completed", "Hi")]) + b"data: [DONE]\n\n"
    last = events_of(decode([data]))[-1]
    assert isinstance(last, Failed)
    assert last.error.code == "upstream_stream_truncated"


def test_nothing_follows_the_end() -> None:
    frames = decode([DATA + b"data: [DONE]\n\n" + DATA])
    assert sum(isinstance(event, Ended) for event in events_of(frames)) == 1
    assert raw_of(frames) == DATA


def test_an_event_may_not_be_too_large() -> None:
    decoder = ResponsesStreamDecoder(full=True, model=None, max_event_bytes=100)
    (frame,) = decoder.feed(b"data: " + b"x" * 200)
    assert isinstance(frame.events[0], Failed)
    assert decoder.feed(b"x") == decoder.close() == []


# Bodies without framing.


def test_a_whole_answer_in_place_of_a_stream() -> None:
    body = orjson.dumps({**RICH[-1]["response"], "model": "upstream"})
    (frame,) = decode(bytewise(body), model="alias")
    assert frame.raw is None
    assert isinstance(frame.events[0], Started)
    assert frame.events[0].model == "alias"
    assert [event.content for event in frame.events if isinstance(event, BlockEnded)] == blocks_of(RICH)
    assert isinstance(frame.events[-1], Ended)


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "sad", "code": "server_error"}},
        {**HEAD, "status": "failed", "error": {"message": "sad", "code": "server_error"}},
        {**HEAD, "status": "in_progress", "output": []},
        {"hello": 1},
    ],
)
def test_errors_in_place_of_a_stream(body: Json) -> None:
    (event,) = events_of(decode([orjson.dumps(body)]))
    assert isinstance(event, Failed)


# Cuts, and bytes between two of the same format.


@given(st.lists(st.integers(0, len(DATA)), max_size=12), st.booleans())
def test_cuts_do_not_matter(cuts: list[int], full: bool) -> None:
    edges = [0, *sorted(cuts), len(DATA)]
    frames = decode((DATA[a:b] for a, b in pairwise(edges)), full=full)
    assert raw_of(frames) == DATA
    assert seen(frames) == seen(decode([DATA], full=full))


@pytest.mark.parametrize("full", [True, False])
def test_text_is_counted_alike_however_it_was_read(full: bool) -> None:
    for pieces in ([DATA], bytewise(DATA), DATA.splitlines(keepends=True)):
        decoder = FORMAT.stream_decoder(full=full, model=None, hide_usage=False)
        for piece in pieces:
            decoder.feed(piece)
        decoder.close()
        assert decoder.text_bytes() == len('Thïnk.Hello \u2028.f{"x":1}applya\n'.encode())


def test_text_is_counted_before_its_item_is_whole() -> None:
    decoder = FORMAT.stream_decoder(full=False, model=None, hide_usage=False)
    stream = [*begun(), *text_item("msg_1", 0, "completed", "abc", "é")[:4]]
    for piece in bytewise(to_bytes(stream)):
        decoder.feed(piece)
    assert decoder.text_bytes() == 5


def test_significant_events_alone() -> None:
    events = events_of(decode(DATA.splitlines(keepends=True), full=False))
    assert [type(event) for event in events] == [Started, UsageReported, Finished, Ended]
    assert events[2] == Finished(0, "tool_calls")


def test_unknown_fields_and_comments_pass() -> None:
    stream = whole(text_item("msg_1", 0, "completed", "x"))
    stream[4]["obfuscation"] = "zz"
    first, second = to_bytes(stream[:3]), to_bytes(stream)[len(to_bytes(stream[:3])) :]
    data = first + b": waiting\n\ndata: hello\n\n" + second
    for pieces in ([data], bytewise(data)):
        assert raw_of(decode(pieces, full=False)) == data


@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize("size", [1, 50, 100_000])
def test_model_is_renamed_and_nothing_else(full: bool, size: int) -> None:
    pieces = [DATA[start : start + size] for start in range(0, len(DATA), size)]
    expected = DATA.replace(b'"model":"m"', '"model":"alias/ü"'.encode())
    assert raw_of(decode(pieces, full=full, model="alias/ü")) == expected


def test_the_model_of_a_tool_is_not_renamed() -> None:
    tool = {"type": "image_generation", "model": "m"}
    stream = whole(text_item("msg_1", 0, "completed", "x"))
    for event in stream:
        if "response" in event:
            event["response"] = {**event["response"], "tools": [tool]}
    for event in parsed(raw_of(decode([to_bytes(stream)], model="alias"))):
        if "response" in event:
            assert event["response"]["model"] == "alias"
            assert event["response"]["tools"] == [tool]


def test_what_only_announces_an_answer_is_held() -> None:
    decoder = FORMAT.stream_decoder(full=False, model=None, hide_usage=False)
    stream = whole(text_item("msg_1", 0, "completed", "x"))
    assert decoder.feed(to_bytes(stream[:2])) == []
    (frame,) = decoder.feed(to_bytes(stream)[len(to_bytes(stream[:2])) :][:400])
    assert frame.raw is not None
    assert frame.raw.startswith(b"event: response.created\n")


def test_text_is_told_from_events_that_matter() -> None:
    delta = to_bytes([{"type": "response.output_text.delta", "delta": 'say "response" and "error"'}])
    assert says_only_content(delta)
    for event in (RICH[0], RICH[-1], {"type": "error", "message": "x"}):
        assert not says_only_content(to_bytes([event]))


def test_broken_characters_are_replaced() -> None:
    data = DATA.replace("ï".encode(), b"\xff")
    for full in (True, False):
        raw_of(decode([data], full=full)).decode()


def test_arguments_ahead_of_their_call() -> None:
    item = function_item("fc_1", 0, "c", "f", '{"a":', "1}")
    stream = [*begun(), *item[1:3], item[0], *item[3:], ended("completed", item)]
    events = events_of(decode([to_bytes(stream)]))
    assert "".join(event.text for event in events if isinstance(event, ArgumentsDelta)) == '{"a":1}'
