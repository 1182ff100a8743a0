"""Answers in both directions: whole, streamed, and cut wherever a network can cut them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import Completion

from oneapi_mw.canonical.blocks import Reasoning, ReasoningText, Refusal, Text
from oneapi_mw.canonical.call import Call
from oneapi_mw.canonical.events import (
    BlockEnded,
    BlockStarted,
    Ended,
    Event,
    Failed,
    Finished,
    FinishReason,
    LogprobsAdded,
    Ping,
    ReasoningDelta,
    RefusalDelta,
    Started,
    TextDelta,
    UsageReported,
)
from oneapi_mw.canonical.fold import fold, unfold
from oneapi_mw.canonical.frames import Frame
from oneapi_mw.canonical.response import Candidate, Response
from oneapi_mw.errors import UpstreamError, UpstreamInvalidResponse
from oneapi_mw.usage import Usage
from oneapi_mw.wire.openai_completions import FORMAT
from oneapi_mw.wire.openai_completions.logprobs import decode_logprobs, encode_logprobs
from tests.wire.test_chat_stream import bytewise, chunks_of, events_of, raw_of, seen, significant

HEAD = {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": "m"}
DONE = b"data: [DONE]\n\n"
USAGE = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}


def call(**fields: Any) -> Call:
    return FORMAT.decode_call(orjson.dumps({"model": "m", "prompt": "Once", **fields}), operation="chat")


def choice(text: str, index: int = 0, finish: str | None = None, **more: Any) -> dict[str, Any]:
    return {"index": index, "text": text, "logprobs": None, "finish_reason": finish, **more}


def event(*choices: Any, **more: Any) -> bytes:
    return b"data: " + orjson.dumps({**HEAD, "choices": choices, **more}) + b"\n\n"


END = choice("", finish="stop")
SCORES = {
    "tokens": [" up", "on"],
    "token_logprobs": [-0.5, -1.5],
    "top_logprobs": [{" up": -0.5, " in": -2.0}, {"on": -1.5}],
    "text_offset": [0, 3],
}

STREAMS: dict[str, tuple[bytes, ...]] = {
    "plain": (event(choice(" up")), event(choice("on")), event(END), DONE),
    "one at once": (
        event(choice(" up"), choice(" in", 1)),
        event(choice("", 0, "stop"), choice("", 1, "length")),
        DONE,
    ),
    "usage": (event(choice("a")), event(choice("b", finish="length")), event(usage=USAGE), DONE),
    "usage is null": (event(choice("a"), usage=None), event(choice("é€😀", finish="stop"), usage=None), DONE),
    "logprobs": (event(choice(" upon", logprobs=SCORES)), event(choice("", finish="stop")), DONE),
    "a comment": (b": wait\n\n", event(choice("a")), b": wait\n\n", event(choice("", finish="stop")), DONE),
    "no end": (event(choice("a")), event(choice("b"))),
    "an end without done": (event(choice("a")), event(choice("b", finish="stop"))),
    "an error": (event(choice("a")), b'data: {"error":{"message":"no","code":500}}\n\n'),
    "nothing": (DONE,),
    "unknown members": (event(choice("a", x=1), x=[1]), event(choice("", finish="stop")), DONE),
}

each_stream = pytest.mark.parametrize("parts", STREAMS.values(), ids=list(STREAMS))


def decode(pieces: Iterable[bytes], *, full: bool = True, model: str | None = None, hide: bool = False) -> list[Frame]:
    decoder = FORMAT.stream_decoder(full=full, model=model, hide_usage=hide)
    return [frame for piece in pieces for frame in decoder.feed(piece)] + decoder.close()


@each_stream
def test_every_cut_gives_the_same(parts: tuple[bytes, ...]) -> None:
    data = b"".join(parts)
    whole = decode([data])
    for place in range(len(data) + 1):
        pieces = [data[:place], data[place:]]
        assert seen(events_of(decode(pieces))) == seen(events_of(whole))
        assert raw_of(decode(pieces, full=False)) == raw_of(whole)
    assert seen(events_of(decode(bytewise(data)))) == seen(events_of(whole))


@each_stream
def test_readers_agree(parts: tuple[bytes, ...]) -> None:
    everything = seen(significant(events_of(decode([b"".join(parts)]))))
    for pieces in (parts, [b"".join(parts)]):
        assert seen(significant(events_of(decode(pieces, full=False)))) == everything


@each_stream
@pytest.mark.parametrize("full", [True, False])
def test_text_is_counted(parts: tuple[bytes, ...], full: bool) -> None:
    expected = sum(
        len(entry["text"].encode())
        for part in parts
        if part.startswith(b"data: {")
        for entry in orjson.loads(part[6:]).get("choices", ())
    )
    decoder = FORMAT.stream_decoder(full=full, model=None, hide_usage=False)
    for part in parts:
        decoder.feed(part)
    decoder.close()
    assert decoder.text_bytes() == expected


def test_bytes_pass_untouched_and_the_model_is_renamed() -> None:
    data = b"".join([event(choice(word)) for word in ("a", "b", "c\n", "d", "e")] + [event(choice("", finish="stop"))])
    assert raw_of(decode([data + DONE], full=False)) == data + DONE
    renamed = raw_of(decode([event(choice(word)) for word in "abcde"] + [DONE], full=False, model="mine"))
    assert renamed.count(b'"model":"mine"') == 5
    assert b'"model":"m"' not in renamed


def test_usage_that_nobody_asked_for_is_hidden() -> None:
    frames = decode(STREAMS["usage"], full=False, hide=True)
    assert b'"usage"' not in raw_of(frames)
    assert [e.usage for e in events_of(frames) if isinstance(e, UsageReported)] == [Usage(3, 4)]


@pytest.mark.parametrize(
    ("name", "error"), [("no end", "upstream_stream_truncated"), ("nothing", "upstream_invalid_response")]
)
def test_a_stream_without_its_end_is_a_failure(name: str, error: str) -> None:
    last = events_of(decode(STREAMS[name]))[-1]
    assert isinstance(last, Failed)
    assert last.error.code == error


def test_the_events() -> None:
    frames = decode(STREAMS["logprobs"])
    entries = decode_logprobs(SCORES)
    assert events_of(frames) == [
        Started("cmpl-1", "m", 1, extras=events_of(frames)[0].extras),  # type: ignore[union-attr]
        BlockStarted(0, 0, "text"),
        TextDelta(0, 0, " upon"),
        LogprobsAdded(0, 0, tuple(entries)),
        BlockEnded(0, 0, Text(" upon", (), tuple(entries))),
        Finished(0, "stop"),
        Ended(),
    ]


# To clients.


def encode(events: Sequence[Event], asked: Call) -> bytes:
    encoder = FORMAT.stream_encoder(asked, request_id="r", created=9)
    return b"".join([encoder.feed([event]) for event in events]) + encoder.close()


def texts(data: bytes) -> dict[int, str]:
    found: dict[int, str] = {}
    for chunk in chunks_of(data):
        for entry in chunk["choices"] if isinstance(chunk, dict) and "choices" in chunk else ():
            found[entry["index"]] = found.get(entry["index"], "") + entry["text"]
    return found


RESPONSE = Response(
    "cmpl-1",
    "m",
    1,
    (Candidate((Text("one"),), "stop", 0), Candidate((Text("two"), Text("!")), "length", 1)),
    Usage(3, 4),
)


@pytest.mark.parametrize("echo", [False, True])
def test_stream_and_whole_answer_agree(echo: bool) -> None:
    asked = call(prompt=["A ", "B "], echo=echo, stream=True, stream_options={"include_usage": True})
    whole = FORMAT.encode_response(RESPONSE, asked)
    data = encode(unfold(RESPONSE), asked)
    assert data.endswith(DONE)
    chunks = [chunk for chunk in chunks_of(data) if isinstance(chunk, dict)]
    assert texts(data) == {entry["index"]: entry["text"] for entry in whole["choices"]}
    assert texts(data) == ({0: "A one", 1: "B two!"} if echo else {0: "one", 1: "two!"})
    assert [entry["finish_reason"] for chunk in chunks for entry in chunk["choices"] if entry["finish_reason"]] == [
        "stop",
        "length",
    ]
    assert chunks[-1]["usage"] == whole["usage"]
    assert chunks[-1]["choices"] == []
    Completion.model_validate(whole)


def test_the_whole_answer() -> None:
    assert FORMAT.encode_response(RESPONSE, call(n=2)) == {
        **HEAD,
        "choices": [choice("one", 0, "stop"), choice("two!", 1, "length")],
        "usage": {**USAGE, "prompt_tokens_details": {"cached_tokens": 0}},
    }


def test_echoes_of_several_answers_to_several_prompts() -> None:
    candidates = tuple(Candidate((Text(str(index)),), "stop", index) for index in range(4))
    asked = call(prompt=["A", "B"], n=2, echo=True)
    answer = FORMAT.encode_response(Response("x", candidates=candidates), asked, request_id="r", created=9)
    assert [entry["text"] for entry in answer["choices"]] == ["A0", "A1", "B2", "B3"]
    assert answer["created"] == 9
    assert answer["id"].startswith("cmpl-")


def test_an_echo_comes_once_and_even_without_an_answer() -> None:
    asked = call(echo=True, stream=True)
    assert texts(encode([Started(), Finished(0, "stop"), Ended()], asked)) == {0: "Once"}


def test_token_ids_are_echoed_by_nobody_but_who_reads_them() -> None:
    asked = call(prompt=[[1, 2], [3]], echo=True, stream=True)
    assert texts(encode(unfold(RESPONSE), asked)) == {0: "one", 1: "two!"}


def test_usage_is_told_to_those_who_ask() -> None:
    assert b"usage" not in encode(unfold(RESPONSE), call(stream=True))


def test_reasoning_has_no_place_and_refusals_are_text() -> None:
    blocks = (Reasoning((ReasoningText("hm"),)), Refusal("No."))
    response = Response("x", "m", 1, (Candidate(blocks, "refusal"),))
    events: list[Event] = [
        Started("x"),
        BlockStarted(0, 0, "reasoning"),
        ReasoningDelta(0, 0, "hm"),
        BlockEnded(0, 0, blocks[0]),
        Ping(),
        BlockStarted(0, 1, "refusal"),
        RefusalDelta(0, 1, "No."),
        BlockEnded(0, 1, blocks[1]),
        Finished(0, "refusal"),
        Ended(),
    ]
    data = encode(events, call(stream=True))
    assert texts(data) == {0: "No."}
    assert b"hm" not in data
    assert b": keepalive\n\n" in data
    assert FORMAT.encode_response(response, call())["choices"] == [choice("No.", 0, "stop")]


@pytest.mark.parametrize(
    ("reason", "word"),
    [
        ("stop", "stop"),
        ("stop_sequence", "stop"),
        ("length", "length"),
        ("content_filter", "content_filter"),
        ("tool_calls", "stop"),
        ("context_window", "length"),
        ("unknown", "stop"),
    ],
)
def test_endings(reason: FinishReason, word: str) -> None:
    response = Response("x", "m", 1, (Candidate((Text("a"),), reason),))
    assert FORMAT.encode_response(response, call())["choices"][0]["finish_reason"] == word
    data = encode(unfold(response), call(stream=True))
    assert [c["choices"][0]["finish_reason"] for c in chunks_of(data)[:-1]] == [None, word]


def test_a_blocked_prompt() -> None:
    response = Response("x", "m", 1, prompt_block="SAFETY")
    assert FORMAT.encode_response(response, call())["choices"] == [choice("", 0, "content_filter")]
    assert b'"finish_reason":"content_filter"' in encode(unfold(response), call(stream=True))


def test_a_failure_ends_the_stream_without_success() -> None:
    error = UpstreamError("it broke", code="broken")
    data = encode([Started(), BlockStarted(0, 0, "text"), TextDelta(0, 0, "a"), Failed(error)], call(stream=True))
    assert DONE not in data
    assert chunks_of(data)[-1]["error"]["code"] == "broken"
    assert texts(data) == {0: "a"}


def test_logprobs_stand_beside_their_text() -> None:
    entries = tuple(decode_logprobs(SCORES))
    content = Text(" upon", (), entries)
    events: list[Event] = [
        Started(),
        BlockStarted(0, 0, "text"),
        TextDelta(0, 0, " upon"),
        LogprobsAdded(0, 0, entries),
    ]
    encoder = FORMAT.stream_encoder(call(stream=True, echo=True))
    chunks = chunks_of(encoder.feed([*events, LogprobsAdded(0, 0, entries[:1])]))
    shifted = {**SCORES, "text_offset": [4, 7]}
    more = {
        "tokens": [" up"],
        "token_logprobs": [-0.5],
        "top_logprobs": [{" up": -0.5, " in": -2.0}],
        "text_offset": [9],
    }
    assert [(c["choices"][0]["text"], c["choices"][0]["logprobs"]) for c in chunks] == [
        ("Once", None),
        (" upon", shifted),
        ("", more),
    ]
    whole = FORMAT.encode_response(Response("x", candidates=(Candidate((content,), "stop"),)), call())
    assert whole["choices"][0]["logprobs"] == SCORES


@given(
    st.lists(
        st.tuples(
            st.text(max_size=4), st.none() | st.floats(-9, 0), st.dictionaries(st.text(max_size=3), st.floats(-9, 0))
        )
    )
)
def test_logprobs_round_trip(rows: list[tuple[str, float | None, dict[str, float]]]) -> None:
    others = [top for _, _, top in rows]
    offsets = [sum(len(token) for token, _, _ in rows[:index]) for index in range(len(rows))]
    lists = {
        "tokens": [token for token, _, _ in rows],
        "token_logprobs": [score for _, score, _ in rows],
        "text_offset": offsets,
        "top_logprobs": others if any(others) else None,
    }
    assert encode_logprobs(decode_logprobs(lists), 0)[0] == lists


def test_malformed_logprobs_are_read_as_far_as_they_go() -> None:
    lists = {"tokens": ["a", 1, "b"], "token_logprobs": [-1.0], "top_logprobs": [None]}
    entries = decode_logprobs(lists)
    assert [(entry["token"], entry["logprob"], entry["top_logprobs"]) for entry in entries] == [
        ("a", -1.0, []),
        ("b", None, []),
    ]
    assert decode_logprobs({"tokens": None}) == decode_logprobs(None) == []
    odd = [{"token": 1, "logprob": -1.0, "top_logprobs": [{"token": 2}, "x", {"token": "y"}]}]
    assert encode_logprobs(odd, 3) == (
        {"tokens": [""], "token_logprobs": [-1.0], "text_offset": [3], "top_logprobs": [{"y": None}]},
        3,
    )


said = st.lists(st.text(min_size=1, max_size=6), max_size=4)
ends = st.sampled_from(["stop", "length", "content_filter"])


@given(answers=st.lists(st.tuples(said, ends), min_size=1, max_size=4), usage=st.none() | st.just(Usage(3, 4)))
def test_round_trip(answers: list[tuple[list[str], FinishReason]], usage: Usage | None) -> None:
    candidates = tuple(
        Candidate((Text("".join(texts)),) if texts else (), finish, index)
        for index, (texts, finish) in enumerate(answers)
    )
    response = Response("cmpl-1", "m", 1, candidates, usage)
    asked = call(n=len(answers), stream=True, stream_options={"include_usage": True})
    decoded = FORMAT.decode_response(orjson.loads(orjson.dumps(FORMAT.encode_response(response, asked))))
    streamed = fold(events_of(decode([encode(unfold(response), asked)])))
    for read in (decoded, streamed):
        assert read.usage == usage
        assert [(c.index, c.finish, c.blocks) for c in read.candidates] == [
            (c.index, c.finish, c.blocks) for c in candidates
        ]


@pytest.mark.parametrize("body", [{}, {"choices": None}, {"choices": [1]}, {"choices": []}], ids=str)
def test_what_is_no_answer(body: dict[str, Any]) -> None:
    with pytest.raises(UpstreamInvalidResponse):
        FORMAT.decode_response({**HEAD, **body})


def test_a_buffered_answer_is_counted_and_renamed() -> None:
    from oneapi_mw.canonical.frames import Answer

    body = {**HEAD, "choices": [choice("é", 0, "stop"), choice("ab", 1, "stop")], "usage": USAGE}
    assert FORMAT.answer_said(body).text_bytes == 4
    assert FORMAT.read_usage(body) == Usage(3, 4)
    answer = Answer(FORMAT.name, orjson.dumps(body), body)
    assert orjson.loads(FORMAT.restore_model(answer, "mine").raw) == {**body, "model": "mine"}
    assert FORMAT.restore_model(answer, "m") is answer


def test_finishes_from_servers_that_say_more() -> None:
    body = {**HEAD, "choices": [choice("a", 0, "stop", stop_reason="END")]}
    (candidate,) = FORMAT.decode_response(body).candidates
    assert (candidate.finish, candidate.stop_sequence) == ("stop_sequence", "END")
    assert replace(candidate, stop_sequence=None, finish="stop") == Candidate((Text("a"),), "stop")
