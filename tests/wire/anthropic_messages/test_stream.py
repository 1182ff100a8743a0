"""A stream's bytes to frames: what is decoded, what passes untouched, and how it ends."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oneapi_mw.canonical.blocks import (
    Citation,
    HostedCall,
    HostedResult,
    Opaque,
    Reasoning,
    ReasoningOpaque,
    ReasoningText,
    SearchResult,
    Text,
    ToolCall,
)
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
from oneapi_mw.canonical.fold import fold
from oneapi_mw.canonical.frames import Frame
from oneapi_mw.canonical.response import Response
from oneapi_mw.errors import UpstreamAuthFailed, UpstreamError
from oneapi_mw.usage import Usage
from oneapi_mw.wire.anthropic_messages import FORMAT
from oneapi_mw.wire.anthropic_messages.stream import STOP, says_only_content
from tests.wire.anthropic_messages import streams
from tests.wire.anthropic_messages.notation import stream

SIGNATURE = ReasoningOpaque("EqQB", "anthropic-claude-v1")


def frames_of(*chunks: bytes, full: bool = True, model: str | None = None) -> list[Frame]:
    decoder = FORMAT.stream_decoder(full=full, model=model, hide_usage=False)
    return [frame for chunk in chunks for frame in decoder.feed(chunk)] + decoder.close()


def events_of(data: bytes) -> list[Event]:
    return [event for frame in frames_of(data) for event in frame.events]


def raw_of(frames: list[Frame]) -> bytes:
    return b"".join(frame.raw or b"" for frame in frames)


def answer(text: str) -> Response:
    return fold(events_of(stream(text)))


def test_every_event_of_an_answer() -> None:
    thought, said = "Need weather.", "Checking."
    assert events_of(stream(streams.REASONING)) == [
        Started("msg_1", "m", usage=Usage(60, 1)),
        UsageReported(Usage(60, 1)),
        BlockStarted(0, 0, "reasoning"),
        ReasoningDelta(0, 0, thought),
        OpaqueDelta(0, 0, SIGNATURE),
        BlockEnded(0, 0, Reasoning((ReasoningText(thought),), SIGNATURE)),
        BlockStarted(0, 1, "text"),
        TextDelta(0, 1, said),
        BlockEnded(0, 1, Text(said)),
        BlockStarted(0, 2, "tool_call", call_id="toolu_1", name="get_weather"),
        ArgumentsDelta(0, 2, '{"city":'),
        ArgumentsDelta(0, 2, '"Oslo"}'),
        BlockEnded(0, 2, ToolCall("toolu_1", "get_weather", '{"city":"Oslo"}')),
        UsageReported(Usage(60, 45, reasoning=12)),
        Finished(0, "tool_calls"),
        Ended(),
    ]


def test_cv_44_reasoning_tokens() -> None:
    usage = answer(streams.REASONING).usage
    assert usage is not None
    assert usage.reasoning == 12


def test_6_4_stop_sequence_and_cache() -> None:
    found = answer(streams.STOP_SEQUENCE)
    assert found.candidates[0].finish == "stop_sequence"
    assert found.candidates[0].stop_sequence == "END"
    assert found.usage == Usage(1320, 5, cache_read=1000, cache_write_5m=300)


def test_6_6_classifier_refusal() -> None:
    found = answer(streams.CLASSIFIER).candidates[0]
    assert (found.finish, found.finish_detail, found.explanation) == ("refusal", "bio", "Declined.")


def test_6_12_citation() -> None:
    citation = Citation("url", url="https://e.org", title="E", cited_text="Paris is big", opaque="enc")
    events = events_of(stream(streams.CITED))
    assert CitationAdded(0, 0, citation) in events
    assert BlockEnded(0, 0, Text("Paris é big.", (citation,))) in events
    assert fold(events).usage == Usage(90, 7, hosted=(("web_search", 1),))


def test_hosted_tools_and_redacted_thinking() -> None:
    call, result, redacted, signed, text = answer(streams.SERVER_TOOL).candidates[0].blocks
    assert call == HostedCall("web_search", "srvtoolu_1", "web_search", {"query": "oslo"})
    assert isinstance(result, HostedResult)
    assert (result.call_id, result.kind, result.format) == ("srvtoolu_1", "web_search", "anthropic_messages")
    assert result.raw["content"][0]["encrypted_content"] == "enc"
    assert result.blocks == (SearchResult("https://e.org", "E", ()),)
    assert redacted == Reasoning((), ReasoningOpaque("AAAA", "anthropic-claude-v1", "encrypted"))
    assert signed == Reasoning((), SIGNATURE)
    assert text == Text("Done.")


def test_a_foreign_signature_has_no_vendor_yet() -> None:
    text = streams.REASONING.replace('"EqQB"', '"oa1.gemini.Y"')
    block = answer(text).candidates[0].blocks[0]
    assert isinstance(block, Reasoning)
    assert block.opaque == ReasoningOpaque("oa1.gemini.Y", "")


# What proxies get wrong.


def blocks_of(*lines: str) -> tuple[Any, ...]:
    return answer("\n".join([*lines, 'X {"stop_reason":"end_turn"} u(1,0,0,1)', "S"])).candidates[0].blocks


START = "M u(1,0,0,1)"


def test_content_before_message_start() -> None:
    events = events_of(stream('d0 {"type":"text_delta","text":"Hi"}\nX {"stop_reason":"end_turn"} u(1,0,0,1)\nS'))
    assert events[0] == Started()
    assert fold(events).candidates[0].blocks == (Text("Hi"),)


def test_message_start_twice_is_usage() -> None:
    events = events_of(stream(f"{START}\nM u(7,0,0,1)\n" + 'X {"stop_reason":"end_turn"} u(0,0,0,2)\nS'))
    assert sum(isinstance(event, Started) for event in events) == 1
    assert [event.usage for event in events if isinstance(event, UsageReported)][-1] == Usage(7, 2)


def test_a_repeated_index_and_a_missing_stop() -> None:
    assert blocks_of(
        START,
        'B0 {"type":"text","text":"a"}',
        'B0 {"type":"text","text":""}',
        'd0 {"type":"text_delta","text":"b"}',
    ) == (Text("a"), Text("b"))


def test_a_delta_that_does_not_fit_opens_its_own_block() -> None:
    assert blocks_of(
        START,
        'B0 {"type":"text","text":""}',
        'd0 {"type":"text_delta","text":"a"}',
        'd0 {"type":"thinking_delta","thinking":"b"}',
        'd5 {"type":"text_delta","text":"c"}',
        'd6 {"type":"input_json_delta","partial_json":"{}"}',
    ) == (Text("a"), Reasoning((ReasoningText("b"),)), Text("c"))


def test_the_last_signature_counts() -> None:
    (block,) = blocks_of(
        START,
        'B0 {"type":"thinking","thinking":"x","signature":""}',
        'd0 {"type":"signature_delta","signature":"one"}',
        'd0 {"type":"signature_delta","signature":"EqQB"}',
        "E0",
    )
    assert block == Reasoning((ReasoningText("x"),), SIGNATURE)


@pytest.mark.parametrize(
    ("lines", "arguments"),
    [
        (['B0 {"type":"tool_use","id":"c","name":"f","input":{"a":1}}'], '{"a":1}'),
        (
            [
                'B0 {"type":"tool_use","id":"c","name":"f","input":{"a":1}}',
                r'd0 {"type":"input_json_delta","partial_json":"{\"b\":2}"}',
            ],
            '{"b":2}',
        ),
        (['B0 {"type":"tool_use","id":"c","name":"f","input":{}}'], "{}"),
    ],
)
def test_arguments(lines: list[str], arguments: str) -> None:
    assert blocks_of(START, *lines, "E0") == (ToolCall("c", "f", arguments),)


def test_calls_without_an_id_or_a_name() -> None:
    (call,) = blocks_of(
        START,
        'B0 {"type":"tool_use","name":"f","input":{}}',
        "E0",
        'B1 {"type":"tool_use","id":"c","input":{}}',
        'd1 {"type":"input_json_delta","partial_json":"{}"}',
        "E1",
    )
    assert call.id.startswith("call_")


def test_two_calls_with_one_id() -> None:
    use = '{"type":"tool_use","id":"c","name":"f","input":{}}'
    assert [call.id for call in blocks_of(START, f"B0 {use}", "E0", f"B1 {use}", "E1")] == ["c", "c_2"]


def test_blocks_nobody_knows_and_compaction() -> None:
    blocks = blocks_of(
        START,
        'B0 {"type":"compaction","content":null}',
        'd0 {"type":"compaction_delta","content":"Sum","encrypted_content":"enc"}',
        "E0",
        'B1 {"type":"news","x":1}',
        "E1",
    )
    value = {"type": "compaction", "content": "Sum", "encrypted_content": "enc"}
    assert blocks == (
        Opaque("compaction", "anthropic_messages", "compaction", value),
        Opaque("foreign", "anthropic_messages", "news", {"type": "news", "x": 1}),
    )


def test_cv_39_unknown_events_are_kept_for_this_format() -> None:
    text = START + '\n{"type":"news","x":1}\n{"type":"ping"}\n' + 'X {"stop_reason":"end_turn"} u(1,0,0,1)\nS'
    events = events_of(stream(text))
    assert ForeignEvent("anthropic_messages", "news", {"type": "news", "x": 1}) in events
    assert Ping() in events
    assert b'"news"' in raw_of(frames_of(stream(text), full=False))


@pytest.mark.parametrize(
    ("reason", "calls", "expected"),
    [
        ("end_turn", True, "tool_calls"),
        ("max_tokens", True, "length"),
        ("refusal", True, "refusal"),
        ("tool_use", False, "stop"),
        ("pause_turn", False, "pause"),
        ("model_context_window_exceeded", False, "context_window"),
        ("compaction", False, "compaction"),
        ("whatever", False, "unknown"),
    ],
)
def test_cv_19_endings(reason: str, calls: bool, expected: str) -> None:
    call = 'B0 {"type":"tool_use","id":"c","name":"f","input":{}}\nE0\n' if calls else ""
    text = f'{START}\n{call}X {{"stop_reason":"{reason}","stop_sequence":null}} u(1,0,0,1)\nS'
    assert answer(text).candidates[0].finish == expected


def test_missing_event_lines_are_added_for_clients() -> None:
    bare = b"".join(line + b"\n\n" for line in stream(streams.PLAIN).split(b"\n") if line.startswith(b"data: "))
    frames = frames_of(bare, full=False)
    assert raw_of(frames) == stream(streams.PLAIN)
    assert isinstance(frames[-1].events[-1], Ended)


def test_done_is_ignored() -> None:
    data = stream(streams.PLAIN)
    assert raw_of(frames_of(data[: -len(STOP)] + b"data: [DONE]\n\n" + STOP, full=False)) == data


# Endings.


def last(frames: list[Frame]) -> Event:
    return frames[-1].events[-1]


def test_a_stream_that_said_how_it_ends_is_complete_without_its_stop() -> None:
    data = stream(streams.PLAIN)
    frames = frames_of(data[: -len(STOP)], full=False)
    assert isinstance(last(frames), Ended)
    assert raw_of(frames) == data


@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize("name", streams.COMPLETE)
def test_every_cut_ends_once_and_only_the_whole_in_success(name: str, full: bool) -> None:
    data = stream(streams.COMPLETE[name])
    told = data.index(b"event: message_delta")
    complete = data.index(b"\n\n", told)
    for end in range(len(data) + 1):
        frames = frames_of(data[:end], full=full)
        terminal = [event for frame in frames for event in frame.events if isinstance(event, Ended | Failed)]
        assert len(terminal) == 1
        assert last(frames) is terminal[0]
        if isinstance(terminal[0], Ended):
            assert end >= complete
        else:
            assert end < complete + 2


@given(cuts=st.lists(st.integers(0, len(stream(streams.REASONING))), max_size=9), full=st.booleans())
def test_split_points_do_not_matter(cuts: list[int], full: bool) -> None:
    data = stream(streams.REASONING)
    edges = [0, *sorted(cuts), len(data)]
    whole, cut = frames_of(data, full=full), frames_of(*(data[a:b] for a, b in pairwise(edges)), full=full)
    assert [event for frame in cut for event in frame.events] == [event for frame in whole for event in frame.events]
    assert raw_of(cut) == raw_of(whole) == data


def test_significant_events_are_those_of_the_full_decoder() -> None:
    kinds = (Started, UsageReported, Ended)
    for text in streams.COMPLETE.values():
        data = stream(text)
        full = [event for frame in frames_of(data) for event in frame.events if isinstance(event, kinds)]
        few = [event for frame in frames_of(data, full=False) for event in frame.events if isinstance(event, kinds)]
        assert full == few


def test_nothing_after_the_end_counts() -> None:
    data = stream(streams.PLAIN)
    decoder = FORMAT.stream_decoder(full=True, model=None, hide_usage=False)
    assert isinstance(last(decoder.feed(data)), Ended)
    assert decoder.feed(data) == []
    assert decoder.close() == []


def test_text_after_the_ending_is_dropped() -> None:
    text = f'{START}\nX {{"stop_reason":"end_turn"}} u(1,0,0,1)\nB0 {{"type":"text","text":"late"}}\nS'
    assert answer(text).candidates[0].blocks == ()


# Passing through.


def test_names_are_the_clients() -> None:
    data = stream(streams.PLAIN)
    shown = raw_of(frames_of(data, full=False, model="mine"))
    assert shown == data.replace(b'"model":"m"', b'"model":"mine"')
    assert raw_of(frames_of(data, full=False, model="m")) == data


def test_what_comes_ahead_of_the_answer_waits_for_it() -> None:
    ping = stream('{"type":"ping"}')
    decoder = FORMAT.stream_decoder(full=False, model=None, hide_usage=False)
    assert decoder.feed(ping) == []
    frames = decoder.feed(stream(streams.PLAIN))
    assert raw_of(frames) == ping + stream(streams.PLAIN)


DELTA = stream('d0 {"type":"text_delta","text":"Hi"}')


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (DELTA, True),
        (DELTA * 3, True),
        (stream('d0 {"type":"text_delta","text":"say \\"message_stop\\""}'), True),
        (stream("E0") + stream('B1 {"type":"text","text":""}'), True),
        (stream('{"type":"ping"}'), True),
        (DELTA + stream("S"), False),
        (stream('{"type":"error","error":{}}'), False),
        (b": comment\n\n", False),
        (DELTA.partition(b"\n")[2], False),
        (DELTA[:-2] + b"\ndata: {}\n\n", False),
        (DELTA.replace(b"Hi", b"\xff"), False),
    ],
)
def test_blocks_that_say_only_content(block: bytes, expected: bool) -> None:
    assert says_only_content(block) is expected


def test_text_is_counted_without_being_decoded() -> None:
    for full in (True, False):
        decoder = FORMAT.stream_decoder(full=full, model=None, hide_usage=False)
        for event in stream(streams.REASONING).split(b"\n\n"):
            decoder.feed(event + b"\n\n")
        # reasoning, text, name and arguments of the call
        assert decoder.text_bytes() == len("Need weather.Checking.get_weather") + len('{"city":"Oslo"}')


def test_characters_that_were_cut_apart_are_replaced() -> None:
    data = stream(streams.PLAIN).replace(b"lo.", b"lo\xff")
    for full in (True, False):
        assert "lo\ufffd" in raw_of(frames_of(data, full=full)).decode()


# Errors.


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        ("overloaded_error", 529, "overloaded"),
        ("api_error", 500, "upstream_error"),
        ("rate_limit_error", 429, "rate_limit_exceeded"),
        ("invalid_request_error", 400, "upstream_error"),
        ("not_found_error", 404, "model_not_found"),
        ("request_too_large", 413, "request_too_large"),
        ("timeout_error", 504, "upstream_timeout"),
        ("made_up_error", 500, "upstream_error"),
    ],
)
@pytest.mark.parametrize("named", [True, False])
def test_error_events(kind: str, status: int, code: str, named: bool) -> None:
    body = json.dumps({"type": "error", "error": {"type": kind, "message": "No"}}).encode()
    data = (b"event: error\n" if named else b"") + b"data: " + body + b"\n\n"
    for frames in (frames_of(data), frames_of(stream(START) + data)):
        failed = last(frames)
        assert isinstance(failed, Failed)
        assert (failed.error.status, failed.error.code) == (status, code)


def test_the_upstreams_account_is_none_of_the_clients_business() -> None:
    body = {"type": "error", "error": {"type": "authentication_error", "message": "invalid x-api-key"}}
    failed = last(frames_of(stream(json.dumps(body))))
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, UpstreamAuthFailed)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<html>",
        b"event: ping\n\n",
        b"data: {}\n\n",
        b"[1]",
        b'{"a":1}',
        b'{"type":"message","content":[]}',
        b"{broken",
        stream('B0 {"x":1}'),
        stream(START) + b'event: content_block_start\ndata: {"type":"content_block_start","index":"a"}\n\n',
        stream(START) + b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0}\n\n',
        stream(START + '\nB0 {"type":"image"}\nE0'),
    ],
)
def test_nonsense_is_a_failure(data: bytes) -> None:
    failed = last(frames_of(data))
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, UpstreamError)


def test_a_whole_answer_where_a_stream_was_asked_for() -> None:
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [{"type": "text", "text": "Hi"}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 3, "output_tokens": 1},
    }
    for full in (True, False):
        frames = frames_of(json.dumps(message).encode(), full=full, model="mine")
        assert [frame.raw for frame in frames] == [None]
        response = fold(frames[0].events)
        assert response.candidates[0].blocks == (Text("Hi"),)
        assert (response.model, response.usage) == ("mine", Usage(3, 1))


def test_too_large_an_event() -> None:
    from oneapi_mw.wire.anthropic_messages.stream import MessagesStreamDecoder

    for data in (b"data: " + b"x" * 200, b"{" + b"x" * 200):
        decoder = MessagesStreamDecoder(full=True, model=None, max_event_bytes=100)
        assert isinstance(last(decoder.feed(data)), Failed)


def test_compaction_that_comes_in_pieces() -> None:
    (block,) = blocks_of(
        START,
        'B0 {"type":"compaction","content":"S"}',
        'd0 {"type":"compaction_delta","content":"um"}',
        "E0",
    )
    assert block.value == {"type": "compaction", "content": "Sum"}


def test_input_of_a_hosted_tool_that_is_no_json() -> None:
    (call,) = blocks_of(
        START,
        'B0 {"type":"server_tool_use","id":"srvtoolu_1","name":"web_search","input":{}}',
        'd0 {"type":"input_json_delta","partial_json":"{oops"}',
        "E0",
    )
    assert call.input == "{oops"


def test_a_call_with_half_its_arguments_is_no_reason_to_run_it() -> None:
    use = '{"type":"tool_use","id":"c","name":"f","input":{}}'
    half = r'{"type":"input_json_delta","partial_json":"{\"a\":"}'
    text = f'{START}\nB0 {use}\nd0 {half}\nE0\nX {{"stop_reason":"end_turn"}} u(1,0,0,1)\nS'
    assert answer(text).candidates[0].finish == "stop"


def test_what_the_ending_brings_beside_it() -> None:
    delta = '{"stop_reason":"end_turn","container":{"id":"c","expires_at":"x"},"news":1}'
    found = answer(f"{START}\nX {delta} u(1,0,0,1)\nS")
    assert found.container == {"id": "c", "expires_at": "x"}
    assert found.candidates[0].extras == {"anthropic_messages": {"news": 1}}


def test_a_delta_after_the_ending_is_dropped() -> None:
    late = 'd0 {"type":"text_delta","text":"late"}'
    text = f'{START}\nB0 {{"type":"text","text":"a"}}\nX {{"stop_reason":"end_turn"}} u(1,0,0,1)\n{late}\nS'
    assert answer(text).candidates[0].blocks == (Text("a"),)


def test_comments_keep_a_client_waiting_and_odd_events_pass() -> None:
    data = (
        stream(START) + b": wait\n\n" + b"event: odd\ndata: not json\n\n" + stream(streams.PLAIN)[len(stream(START)) :]
    )
    shown = raw_of(frames_of(data, full=False))
    assert b": wait\n\n" in shown
    assert b"event: odd\ndata: not json\n\n" in shown


def test_events_that_only_their_name_explains() -> None:
    data = stream(START) + b'event: error\ndata: {"type":"overloaded_error","message":"No"}\n\n'
    failed = last(frames_of(data))
    assert isinstance(failed, Failed)
    assert failed.error.code == "overloaded"
    named = stream(START) + b'event: content_block_start\ndata: {"content_block":{"type":"text","text":"a"}}\n\n'
    assert any(isinstance(event, BlockStarted) for frame in frames_of(named) for event in frame.events)


@pytest.mark.parametrize(
    "body",
    [
        b'{"type":"error","error":{"type":"overloaded_error","message":"No"}}',
        b'{"type":"message","content":[7]}',
        b'{"type":"message","content":[{"type":"text","text":"cut"}]}',
    ],
)
def test_json_in_place_of_a_stream_that_is_no_answer(body: bytes) -> None:
    assert isinstance(last(frames_of(body)), Failed)


def test_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oneapi_mw.wire.anthropic_messages.reader.MAX_BLOCKS", 1)
    assert isinstance(last(frames_of(stream(streams.REASONING))), Failed)
    monkeypatch.setattr("oneapi_mw.wire.anthropic_messages.reader.MAX_ACCUMULATED_CHARS", 3)
    assert isinstance(last(frames_of(stream(streams.PLAIN))), Failed)


def test_a_large_stream_is_counted_in_between(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oneapi_mw.wire.anthropic_messages.produced.FOLD_BYTES", 10)
    decoder = FORMAT.stream_decoder(full=False, model=None, hide_usage=False)
    decoder.feed(stream(START))
    for _ in range(3):
        decoder.feed(DELTA)
    decoder.feed(DELTA.replace(b'"Hi"', b"Hi"))  # passed on, whatever it is
    assert decoder.text_bytes() == 6


def test_web_pages_that_were_read() -> None:
    content = {
        "type": "web_fetch_result",
        "url": "https://e.org",
        "content": {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "Page"}},
    }
    block = {"type": "web_fetch_tool_result", "tool_use_id": "srvtoolu_1", "content": content}
    (result,) = blocks_of(START, f"B0 {json.dumps(block)}", "E0")
    assert (result.kind, result.blocks, result.is_error) == ("web_fetch", (Text("Page"),), False)
    failed = {**block, "content": {"type": "web_fetch_tool_result_error", "error_code": "unavailable"}}
    (result,) = blocks_of(START, f"B0 {json.dumps(failed)}", "E0")
    assert (result.blocks, result.is_error) == ((Text("unavailable"),), True)


def test_citations_nobody_knows() -> None:
    (text,) = blocks_of(START, 'B0 {"type":"text","text":"a","citations":[{"type":"news"},7]}', "E0")
    assert text == Text("a")
