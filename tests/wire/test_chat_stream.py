"""The stream codec of Chat Completions, on golden cases and on every way a network can cut them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletionChunk

from oneapi_mw.canonical.call import Call
from oneapi_mw.canonical.events import Ended, Event, Failed, Finished, Started, TextDelta, UsageReported
from oneapi_mw.canonical.frames import Frame
from oneapi_mw.canonical.sequence import Sequencer
from oneapi_mw.wire.base import StreamDecoder
from oneapi_mw.wire.framing.sse import SseDecoder
from oneapi_mw.wire.openai_chat import FORMAT
from oneapi_mw.wire.openai_chat.stream import ChatStreamDecoder, says_only_text
from oneapi_mw.wire.said import KEPT_BYTES
from tests.wire.golden import HEAD, Golden, golden, shown, stream_bytes

CASES = golden("openai_chat/streams")
BY_NAME = {case.name: case for case in CASES}
WHOLE = [case for case in CASES if "Ended" in case["events"][-1]]
DONE = b"data: [DONE]\n\n"
CALL = Call(operation="chat", format="openai_chat", model="m", stream=True, body={}, raw=b"{}")


def decode(
    pieces: Iterable[bytes], *, full: bool = True, model: str | None = None, hide_usage: bool = False
) -> list[Frame]:
    decoder = FORMAT.stream_decoder(full=full, model=model, hide_usage=hide_usage)
    return feed_all(decoder, pieces)


def feed_all(decoder: StreamDecoder, pieces: Iterable[bytes]) -> list[Frame]:
    frames = [frame for piece in pieces for frame in decoder.feed(piece)]
    return frames + decoder.close()


def events_of(frames: Iterable[Frame]) -> list[Event]:
    return [event for frame in frames for event in frame.events]


def seen(events: Iterable[Event]) -> list[Any]:
    """Events in a form that compares errors by what they say."""
    return [shown(event) for event in events]


def chunks_of(data: bytes) -> list[Any]:
    return [event.data if event.data == b"[DONE]" else orjson.loads(event.data) for event in SseDecoder().feed(data)]


def raw_of(frames: Iterable[Frame]) -> bytes:
    return b"".join([frame.raw for frame in frames if frame.raw is not None])


def bytewise(data: bytes) -> list[bytes]:
    return [data[index : index + 1] for index in range(len(data))]


def significant(events: Iterable[Event]) -> list[Event]:
    """What a reader of significant events tells, without what only content decides."""
    return [event for event in events if isinstance(event, (UsageReported, Ended, Failed))]


# Golden cases.


@pytest.mark.parametrize("case", CASES, ids=str)
def test_events(case: Golden) -> None:
    assert seen(events_of(decode([stream_bytes(case["lines"])]))) == case["events"]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_events_byte_by_byte(case: Golden) -> None:
    data = stream_bytes(case["lines"])
    assert seen(events_of(decode(bytewise(data)))) == seen(events_of(decode([data])))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_significant_events_agree_with_all_events(case: Golden) -> None:
    data = stream_bytes(case["lines"])
    everything = seen(significant(events_of(decode([data]))))
    for pieces in ([data], bytewise(data), data.splitlines(keepends=True)):
        assert seen(significant(events_of(decode(pieces, full=False)))) == everything


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("full", [True, False])
def test_text_is_counted_alike_however_it_was_read(case: Golden, full: bool) -> None:
    data = stream_bytes(case["lines"])
    for pieces in ([data], bytewise(data), data.splitlines(keepends=True)):
        decoder = FORMAT.stream_decoder(full=full, model=None, hide_usage=False)
        feed_all(decoder, pieces)
        assert decoder.text_bytes() == case["text_bytes"]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_encoded(case: Golden) -> None:
    encoder = FORMAT.stream_encoder(CALL)
    encoded = b"".join(encoder.feed([event]) for event in events_of(decode([stream_bytes(case["lines"])])))
    expected = [
        line.encode() if isinstance(line, str) else line if "error" in line else orjson.loads(stream_bytes([line])[6:])
        for line in case["encoded"]
    ]
    assert chunks_of(encoded + encoder.close()) == expected


@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_is_encoded_satisfies_the_sdk(case: Golden) -> None:
    for line in case["encoded"]:
        if isinstance(line, list) and "custom" not in orjson.dumps(line).decode():
            ChatCompletionChunk.model_validate({**HEAD, "choices": line})


@pytest.mark.parametrize("case", WHOLE, ids=str)
def test_encoding_keeps_the_meaning(case: Golden) -> None:
    """What was encoded decodes to the blocks, usage and endings it was made from, each block by itself."""
    events = events_of(decode([stream_bytes(case["lines"])]))
    encoder = FORMAT.stream_encoder(CALL)
    again = events_of(decode([encoder.feed(events)]))
    usage = [event.usage for event in again if isinstance(event, UsageReported)]
    assert usage == [event.usage for event in events if isinstance(event, UsageReported)][-1:]
    assert [event for event in again if isinstance(event, TextDelta)] == [
        event for event in Sequencer().feed(events) if isinstance(event, TextDelta)
    ]


# Bytes between two of the same format.


@pytest.mark.parametrize("case", WHOLE, ids=str)
@pytest.mark.parametrize("full", [True, False])
def test_bytes_pass_untouched(case: Golden, full: bool) -> None:
    data = stream_bytes(case["lines"])
    expected = data[: data.find(DONE)] + DONE if DONE in data else data + DONE
    for pieces in ([data], bytewise(data), [line + b"\n\n" for line in data.split(b"\n\n") if line]):
        assert raw_of(decode(pieces, full=full)) == expected


UNKNOWN = (
    b'data: {"id":"x","object":"chat.completion.chunk","created":1,"model":"m","vendor":{"a":[1,2]},'
    b'"choices":[{"index":0,"delta":{"role":"assistant","content":"","vendor_delta":null},"finish_reason":null}]}\n\n'
    b'data: {"id":"x","choices":[{"index":0,"delta":{"content":"a"},"vendor_choice":12345678901234567890123}]}\n\n'
    b'data: {"id":"x","choices":[{"index":0,"delta":{"content":"b"},"vendor_choice":1.10}],"obfuscation":"zz"}\n\n'
    b'data: { "choices" : [ {"index":0, "delta":{}, "finish_reason":"stop", "matched": "\\u2028" } ] }\n\n'
    b'data: {"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3,"cost":0.010}}\n\n'
    b"data: [DONE]\n\n"
)


@given(st.lists(st.integers(0, len(UNKNOWN)), max_size=12), st.booleans())
def test_unknown_fields_survive_wherever_it_is_cut(cuts: list[int], full: bool) -> None:
    edges = [0, *sorted(cuts), len(UNKNOWN)]
    assert raw_of(decode((UNKNOWN[a:b] for a, b in pairwise(edges)), full=full)) == UNKNOWN


def test_unknown_events_and_comments_pass() -> None:
    opening, rest = UNKNOWN.split(b"\n\n", 1)
    data = opening + b"\n\n: waiting\n\ndata: hello\n\nevent: news\ndata: {}\n\n" + rest
    for pieces in ([data], bytewise(data)):
        assert raw_of(decode(pieces, full=False)) == data


def test_a_comment_ahead_of_the_answer_is_not_shown() -> None:
    """The client has not been told yet that an answer comes: another channel may still be tried."""
    assert not FORMAT.stream_decoder(full=False, model=None, hide_usage=False).feed(b": processing\n\n")


@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize("bytes_each", [1, 7, 100, 10_000])
def test_model_is_renamed_and_nothing_else(full: bool, bytes_each: int) -> None:
    case = BY_NAME["plain text, cached prompt"]
    data = stream_bytes(case["lines"])
    pieces = [data[start : start + bytes_each] for start in range(0, len(data), bytes_each)]
    frames = decode(pieces, full=full, model="alias/ü")
    assert raw_of(frames) == data.replace(b'"model":"m"', '"model":"alias/ü"'.encode())
    assert isinstance(frames[0].events[0], Started)
    assert frames[0].events[0].model == "alias/ü"


def test_model_in_the_text_is_not_renamed() -> None:
    says = '"model":"m"'
    data = stream_bytes(
        [
            [{"index": 0, "delta": {"content": "x"}, "finish_reason": None}],
            [{"index": 0, "delta": {"content": says}, "finish_reason": None}],
            [{"index": 0, "delta": {"content": "y", "model": "m"}, "finish_reason": None}],
            [{"index": 0, "delta": {}, "finish_reason": "stop"}],
            "[DONE]",
        ]
    )
    chunks = [orjson.loads(event.data) for event in SseDecoder().feed(raw_of(decode([data], model="alias")))[:-1]]
    assert [chunk["model"] for chunk in chunks] == ["alias"] * 4
    assert chunks[1]["choices"][0]["delta"]["content"] == says
    assert chunks[2]["choices"][0]["delta"]["model"] == "m"


@pytest.mark.parametrize("full", [True, False])
def test_usage_nobody_asked_for_is_hidden_but_told(full: bool) -> None:
    data = stream_bytes(BY_NAME["plain text, cached prompt"]["lines"])
    frames = decode([data], full=full, hide_usage=True)
    assert b"prompt_tokens" not in raw_of(frames)
    assert any(isinstance(event, UsageReported) for event in events_of(frames))


# The way unread blocks are recognised.

PLAIN = b'data: {"id":"x","choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}],"usage":null}\n\n'


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (PLAIN, True),
        (PLAIN * 3, True),
        (PLAIN.replace(b":null", b": null"), True),
        (PLAIN.replace(b'"a"', b'"\\"usage\\":1, [\\"error\\"]"'), True),
        (PLAIN.replace(b'"a"', '"é\u2028"'.encode()), True),
        (PLAIN.replace(b'"a"', b'"\xc3"'), False),
        (PLAIN.replace(b'"finish_reason":null', b'"finish_reason":"stop"'), False),
        (PLAIN.replace(b'"usage":null', b'"usage":{}'), False),
        (PLAIN + b'data: {"error":{"message":"x"}}\n\n', False),
        (PLAIN + b'data: {"success":false,"message":"x"}\n\n', False),
        (PLAIN + b'data: {"code":500,"message":"x"}\n\n', False),
        (PLAIN + DONE, False),
        (PLAIN + b": comment\n\n", False),
    ],
)
def test_says_only_text(block: bytes, expected: bool) -> None:
    assert says_only_text(block) is expected


def chunk(text: str, *, finish: str | None = None, **more: Any) -> bytes:
    return stream_bytes([{"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}], **more}])


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.sampled_from(
    ['"', "\\", "\n", "[DONE]", '"error"', '"finish_reason":"stop"', "data: x\n\n", "é", "\u2028", "\x7f", "\x00", '"}']
)


@given(st.lists(TEXTS, max_size=12), st.booleans(), st.sampled_from([None, "alias"]), st.data())
def test_skimming_is_exact(texts: list[str], escaped: bool, model: str | None, data: st.DataObject) -> None:
    """Whatever is said: every byte arrives, every byte is counted, and the ending is found."""

    def event(text: str, finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
        return b"data: " + json.dumps({**HEAD, "choices": [choice]}, ensure_ascii=escaped).encode() + b"\n\n"

    stream = b"".join([event(""), *map(event, texts), event("", "stop"), DONE])
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=8))
    edges = [0, *sorted(cuts), len(stream)]
    decoder = FORMAT.stream_decoder(full=False, model=model, hide_usage=False)
    frames = feed_all(decoder, (stream[a:b] for a, b in pairwise(edges)))
    said = [orjson.loads(found.data) for found in SseDecoder().feed(raw_of(frames))[:-1]]
    assert [found["choices"][0]["delta"]["content"] for found in said] == ["", *texts, ""]
    assert all(found["model"] == (model or "m") for found in said)
    assert decoder.text_bytes() == sum(len(text.encode()) for text in texts)
    assert [type(event) for event in events_of(frames)] == [Started, Finished, Ended]
    if model is None:
        assert raw_of(frames) == stream


def test_pattern_is_not_fooled_by_what_follows_a_known_beginning() -> None:
    first, second = chunk("a"), chunk("b")
    before, after = second.split(b'"b"')
    evil = [
        before + b'"x","finish_reason":"stop","y":"' + after[1:],
        before + b'"' + after[1:],
        before + b'"x\n\ndata: [DONE]\n\ndata: y"' + after,
        before[:-1] + after,
    ]
    for block in evil:
        pieces = [first, second, second, block]
        skimmed, whole = events_of(decode(pieces, full=False)), events_of(decode(pieces))
        assert seen(significant(skimmed)) == seen(significant(whole))


def test_an_error_without_its_key_is_not_shown_raw() -> None:
    secret = b'data: {"success":false,"message":"bad key sk-abcdefgh12345678"}\n\n'
    frames = decode([chunk("a"), chunk("b"), secret], full=False)
    last = events_of(frames)[-1]
    assert isinstance(last, Failed)
    assert last.error.message == "bad key ***"
    assert b"sk-" not in raw_of(frames)


def test_characters_cut_apart_are_replaced() -> None:
    broken = chunk("aXb").replace(b"X", b"\xe2\x82")
    for full in (True, False):
        decoder = FORMAT.stream_decoder(full=full, model=None, hide_usage=False)
        frames = feed_all(decoder, [chunk("a"), broken, chunk("", finish="stop"), DONE])
        assert raw_of(frames) == chunk("a") + chunk("a\ufffdb") + chunk("", finish="stop") + DONE
        assert decoder.text_bytes() == len("aa\ufffdb".encode())


def test_surrogates_cut_apart_pass_and_count() -> None:
    halves = [chunk("X").replace(b"X", half) for half in (b"\\ud83d", b"\\ude00")]
    data = b"".join([chunk("a"), *halves, chunk("", finish="stop"), DONE])
    for full in (True, False):
        decoder = FORMAT.stream_decoder(full=full, model=None, hide_usage=False)
        frames = feed_all(decoder, [data])
        assert raw_of(frames) == data
        assert decoder.text_bytes() == 7
    encoder = FORMAT.stream_encoder(CALL)
    said = b"".join(encoder.feed([event]) for event in events_of(decode([data])))
    assert b"\\ud83d" in said
    assert b"\\ude00" in said


# Streams that are cut.


def finish_seen(data: bytes) -> bool:
    """Whether the whole events in `data` (the last may lack its blank line) hold a finish."""
    for lines in data.split(b"\n\n"):
        try:
            choices = orjson.loads(lines.removeprefix(b"data: "))["choices"]
        except (orjson.JSONDecodeError, TypeError):
            continue
        if choices and choices[0]["finish_reason"]:
            return True
    return False


@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize("name", ["plain text, cached prompt", "parallel tools, interleaved", "refusal"])
def test_a_stream_cut_anywhere_has_one_ending(name: str, full: bool) -> None:
    data = stream_bytes(BY_NAME[name]["lines"])
    for end in range(len(data) + 1):
        events = events_of(decode([data[:end]], full=full))
        endings = [event for event in events if isinstance(event, (Ended, Failed))]
        assert len(endings) == 1
        assert events[-1] is endings[0]
        assert isinstance(endings[0], Ended) == finish_seen(data[:end])


@pytest.mark.parametrize("full", [True, False])
def test_a_stream_cut_anywhere_shows_whole_events_only(full: bool) -> None:
    data = stream_bytes(BY_NAME["plain text, cached prompt"]["lines"])
    for end in range(len(data)):
        shown_bytes = raw_of(decode([data[:end]], full=full)).removesuffix(DONE)
        whole = data[: data.rfind(b"\n\n", 0, end) + 2] if b"\n\n" in data[:end] else b""
        assert shown_bytes in (whole.removesuffix(DONE), data[:end].rstrip(b"\n") + b"\n\n")


def test_what_was_said_before_the_cut_is_counted() -> None:
    for full in (True, False):
        decoder = FORMAT.stream_decoder(full=full, model=None, hide_usage=False)
        feed_all(decoder, [chunk("ab"), chunk("cé"), chunk("de"), chunk("never whole")[:-20]])
        assert decoder.text_bytes() == 7


def test_nothing_follows_the_end() -> None:
    decoder = FORMAT.stream_decoder(full=False, model=None, hide_usage=False)
    decoder.feed(chunk("a", finish="stop") + DONE)
    assert decoder.feed(chunk("b")) == []
    assert decoder.close() == []


@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize("line_end", [b"\r\n", b"\r", b"\n"])
@pytest.mark.parametrize("ahead", [b"", b"\xef\xbb\xbf", b"\n\n"])
def test_line_ends_do_not_matter(full: bool, line_end: bytes, ahead: bytes) -> None:
    data = stream_bytes(BY_NAME["parallel tools, interleaved"]["lines"])
    foreign = ahead + data.replace(b"\n", line_end)
    for pieces in ([foreign], bytewise(foreign)):
        assert events_of(decode(pieces, full=full)) == events_of(decode([data], full=full))
        assert raw_of(decode(pieces, full=full)) == data


# Bodies that are no event stream.


def answer(**more: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": "Hello."}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], **more}


def test_a_whole_answer_in_place_of_a_stream() -> None:
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    data = orjson.dumps(answer(usage=usage))
    for full in (True, False):
        for pieces in ([data], bytewise(data)):
            frames = decode(pieces, full=full, model="alias")
            assert all(frame.raw is None for frame in frames)
            events = events_of(frames)
            assert events[0] == Started("chatcmpl-1", "alias", 1)
            assert TextDelta(0, 0, "Hello.") in events
            assert isinstance(events[-1], Ended)


def test_chunks_on_lines_without_framing() -> None:
    lines = b"\n".join(
        orjson.dumps({**HEAD, "choices": choices})
        for choices in (
            [{"index": 0, "delta": {"content": "a"}}],
            [{"index": 0, "delta": {"content": "b"}, "finish_reason": "stop"}],
        )
    )
    events = events_of(decode([lines], full=False))
    assert [event.text for event in events if isinstance(event, TextDelta)] == ["a", "b"]
    assert isinstance(events[-1], Ended)
    assert isinstance(events_of(decode([lines[:-3]], full=False))[-1], Failed)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "The upstream's stream holds no answer"),
        (b"<html>Bad gateway</html>", "The upstream's stream holds no answer"),
        (b"data: {}\n\n", "The upstream's stream holds no answer"),
        (b'data: {"choices":[]}\n\n' + DONE, "The upstream's stream holds no answer"),
        (b"[]", "The upstream's stream holds no answer"),
        (b'{"error":{"message":"no","code":"x"}}', "no"),
        (b'data: {"error":"no"}\n\n', "no"),
        (b'data: {"type":"error","error":{"type":"overloaded_error","message":"no"}}\n\n', "no"),
        (b'event: error\ndata: {"type":"error","message":"no"}\n\n', "no"),
        (b'data: {"choices":5}\n\n', "The upstream sent a malformed chunk: choices is not a list"),
        (b'data: {"choices":[5]}\n\n', "The upstream sent a malformed chunk: a choice is not an object"),
        (b'data: {"choices":[{"index":"a"}]}\n\n', "The upstream sent a malformed chunk: the index of a choice is"),
    ],
)
@pytest.mark.parametrize("full", [True, False])
def test_no_answer(body: bytes, message: str, full: bool) -> None:
    for pieces in ([body], bytewise(body)):
        frames = decode(pieces, full=full)
        (event,) = events_of(frames)
        assert isinstance(event, Failed)
        assert event.error.message.startswith(message)
        assert raw_of(frames) == b""


@pytest.mark.parametrize(
    "delta",
    [
        5,
        {"content": 5},
        {"content": [5]},
        {"tool_calls": 5},
        {"tool_calls": [5]},
        {"tool_calls": [{"index": -1, "function": {"name": "f"}}]},
        {"tool_calls": [{"index": 10**9, "function": {"name": "f"}}]},
    ],
)
def test_a_chunk_that_cannot_be_ends_the_stream(delta: Any) -> None:
    data = stream_bytes([[{"index": 0, "delta": {"content": "a"}}], [{"index": 0, "delta": delta}], "[DONE]"])
    events = events_of(decode([data]))
    assert isinstance(events[-1], Failed)
    assert "malformed chunk" in events[-1].error.message


@pytest.mark.parametrize(
    "delta",
    [
        {"content": [{"type": "text", "text": 5}], "refusal": 5, "reasoning_content": 5, "reasoning": [1]},
        {"reasoning_details": [5, {"type": "reasoning.text", "text": 5, "signature": 5, "index": [1]}]},
        {"tool_calls": [{"index": 0, "id": 5, "function": {"name": 5, "arguments": 5}}]},
        {"tool_calls": [{"index": 0, "function": 5, "custom": 5}], "function_call": 5},
        {"audio": {"data": 5, "transcript": [], "id": 5, "expires_at": "x"}, "images": [5, {"image_url": 5}]},
        {"annotations": [5, {"type": "url_citation"}, {"type": "url_citation", "url_citation": {"url": 5}}]},
        {"images": [{"image_url": {"url": "data:no-comma"}}]},
    ],
)
def test_values_of_odd_types_are_passed_over(delta: Any) -> None:
    data = stream_bytes([[{"index": 0, "delta": delta, "logprobs": 5}], [{"index": 0, "finish_reason": "stop"}]])
    for full in (True, False):
        decoder = FORMAT.stream_decoder(full=full, model=None, hide_usage=False)
        assert isinstance(events_of(feed_all(decoder, [data]))[-1], Ended)
        decoder.text_bytes()


def test_deep_nesting_is_no_event() -> None:
    deep = b'data: {"choices":[{"index":0,"delta":{"content":' + b'[{"thinking":' * 400 + b'"x"' + b"}]" * 400
    data = chunk("a") + deep + b"}}]}\n\n" + chunk("", finish="stop") + DONE
    for full in (True, False):
        decoder = FORMAT.stream_decoder(full=full, model="alias", hide_usage=False)
        assert isinstance(events_of(feed_all(decoder, [data]))[-1], Ended)
        assert decoder.text_bytes() == 1


# Limits.


@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize("ahead", [b"", chunk("a") + chunk("b")])
@pytest.mark.parametrize("endless", [b"data: " + b"x" * 2000, b"{" + b"x" * 2000])
def test_an_endless_event_fails(full: bool, ahead: bytes, endless: bytes) -> None:
    decoder = ChatStreamDecoder(full=full, model=None, hide_usage=False, max_event_bytes=1000)
    frames = feed_all(decoder, [ahead, endless, chunk("c"), DONE])
    events = events_of(frames)
    assert isinstance(events[-1], Failed)
    assert events[-1].error.message == "The upstream sent an event that is too large"
    assert sum(isinstance(event, Failed) for event in events) == 1


def test_a_long_stream_stays_within_bounds() -> None:
    """Only the beginning of what was relayed is kept, in case that nobody tells its tokens."""
    decoder = ChatStreamDecoder(full=False, model=None, hide_usage=False)
    for _ in range(8000):
        decoder.feed(chunk("x" * 100) + chunk("\n" * 50))
    assert decoder._tally._size < 128 * 1024
    assert len(decoder._tally.kept) < KEPT_BYTES + 128 * 1024
    assert decoder.text_bytes() == 8000 * 150
    assert len(decoder.text()) == KEPT_BYTES


def test_an_answer_too_large_to_convert_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oneapi_mw.wire.openai_chat.reader.MAX_ACCUMULATED_CHARS", 100)
    events = events_of(decode([chunk("x" * 60), chunk("x" * 60), DONE]))
    assert isinstance(events[-1], Failed)
    assert "too large to convert" in events[-1].error.message


def test_too_many_calls_fail() -> None:
    calls = [{"id": f"c{number}", "function": {"name": "f", "arguments": "{}"}} for number in range(200)]
    events = events_of(decode([stream_bytes([[{"index": 0, "delta": {"tool_calls": calls}}], "[DONE]"])]))
    assert isinstance(events[-1], Failed)
