"""Streams of generateContent, in both directions: cuts, framings, what vendors and their SDK do to a stream."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import httpx
import orjson
import pytest
from google import genai
from google.genai import types
from hypothesis import given, settings
from hypothesis import strategies as st

from oneapi_mw.canonical.blocks import (
    Audio,
    HostedCall,
    HostedResult,
    Image,
    Inline,
    Opaque,
    Reasoning,
    ReasoningOpaque,
    ReasoningText,
    Text,
    ToolCall,
)
from oneapi_mw.canonical.events import (
    ArgumentsDelta,
    BlockStarted,
    Ended,
    Event,
    Failed,
    Finished,
    Ping,
    Started,
    TextDelta,
    UsageReported,
)
from oneapi_mw.canonical.fold import fold, unfold
from oneapi_mw.canonical.frames import Frame
from oneapi_mw.canonical.response import Candidate, Response
from oneapi_mw.errors import UpstreamAuthFailed, UpstreamError
from oneapi_mw.types import JsonObject
from oneapi_mw.usage import Usage
from oneapi_mw.wire.gemini import FORMAT
from oneapi_mw.wire.gemini.stream import GeminiStreamDecoder
from tests.canonical.strategies import responses
from tests.wire.gemini.wires import SHOWN, call, encoded, events_of, g_end, g_parts, g_usage, sse

VENDOR = "google-gemini-v1"
STREAM = (
    g_parts({"text": "Think é.", "thought": True})
    + g_parts({"text": "Sol 🌞"})
    + g_parts({"functionCall": {"name": "f", "args": {"x": "}{"}}, "thoughtSignature": "Q2k9"})
    + g_end("STOP", g_usage(5, 4, 12, thoughtsTokenCount=3))
)
ARRAY = b"[" + b",\r\n".join(event[6:] for event in STREAM.split(b"\n\n") if event) + b"]"


def run(data: bytes, cuts: list[int] | None = None, *, full: bool = True, model: str | None = None) -> list[Frame]:
    decoder = FORMAT.stream_decoder(full=full, model=model, hide_usage=False)
    edges = [0, *sorted(cuts or ()), len(data)]
    frames = [frame for start, end in pairwise(edges) for frame in decoder.feed(data[start:end])]
    return frames + decoder.close()


def events(frames: list[Frame]) -> list[Event]:
    return [event for frame in frames for event in frame.events]


def raw(frames: list[Frame]) -> bytes:
    return b"".join(frame.raw or b"" for frame in frames)


def candidate_of(*parts: JsonObject, **more: Any) -> JsonObject:
    return {"candidates": [{"content": {"role": "model", "parts": list(parts)}, **more}]}


def stop(**more: Any) -> bytes:
    return sse(candidate_of({"text": ""}, finishReason="STOP", **more))


# Cuts.


@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize("data", [STREAM, ARRAY], ids=["events", "array"])
def test_every_cut_ends_once_and_never_in_a_success(data: bytes, full: bool) -> None:
    whole = data.rstrip(b"]\n")
    for length in range(len(data) + 1):
        found = events(run(data[:length], full=full))
        terminal = [event for event in found if isinstance(event, (Ended, Failed))]
        assert len(terminal) == 1
        assert found[-1] is terminal[0]
        assert isinstance(terminal[0], Ended) is (length >= len(whole)), length


@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize("data", [STREAM, ARRAY, STREAM.replace(b"\n", b"\r\n")], ids=["events", "array", "crlf"])
@settings(max_examples=50, deadline=None)
@given(cuts=st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_split_points_do_not_matter(data: bytes, full: bool, cuts: list[int]) -> None:
    cuts = [cut for cut in cuts if cut <= len(data)]
    assert events(run(data, cuts, full=full)) == events(run(data, full=full))
    assert raw(run(data, cuts, full=full)) == raw(run(data, full=full))


def test_an_array_means_the_same_as_events() -> None:
    assert events(run(ARRAY)) == events(run(STREAM))
    assert raw(run(ARRAY)) == STREAM  # to a client that asked for events


@pytest.mark.parametrize("full", [True, False])
def test_every_frame_of_an_answer_says_what_a_client_of_the_same_format_gets(full: bool) -> None:
    """The end of the body is no event of its own: nobody has to make bytes for it."""
    data = g_parts({"text": "a"}) + stop()
    found = run(data, full=full)
    assert isinstance(events(found)[-1], Ended)
    assert [frame.raw for frame in found] == [data, b""]


def test_what_is_passed_on_unread_has_the_same_meaning() -> None:
    significant = (Started, UsageReported, Finished, Ended, Failed)
    full = [event for event in events(run(STREAM)) if isinstance(event, significant)]
    skimmed = events(run(STREAM, full=False))
    assert [type(event) for event in skimmed] == [type(event) for event in full]
    assert [event for event in skimmed if isinstance(event, UsageReported)] == [
        event for event in full if isinstance(event, UsageReported)
    ]
    assert raw(run(STREAM, full=False)) == STREAM


@pytest.mark.parametrize("spelled", [b'"modelVersion":"m"', b'"modelVersion": "m"', b'"model\\u0056ersion":"m"'])
def test_the_model_is_the_one_the_client_asked_for(spelled: bytes) -> None:
    data = STREAM.replace(b'"modelVersion":"m"', spelled)
    shown = raw(run(data, full=False, model="my-model"))
    names = [orjson.loads(event[6:])["modelVersion"] for event in shown.split(b"\n\n") if event]
    assert names == ["my-model"] * 4
    first = events(run(data, model="my-model"))[0]
    assert isinstance(first, Started)
    assert first.model == "my-model"


def test_text_is_counted_for_answers_without_usage() -> None:
    decoder = FORMAT.stream_decoder(full=False, model=None, hide_usage=False)
    decoder.feed(STREAM)
    assert decoder.text_bytes() == len("Think é.Sol 🌞".encode()) + len('f{"x":"}{"}')


# What comes in.


def blocks(*chunks: bytes) -> tuple[Any, ...]:
    found = fold(events(run(b"".join(chunks))))
    return found.candidates[0].blocks


def test_thoughts_text_and_calls_are_blocks_of_their_own() -> None:
    assert blocks(STREAM) == (
        Reasoning((ReasoningText("Think é."),)),
        Text("Sol 🌞"),
        ToolCall(blocks(STREAM)[2].id, "f", '{"x":"}{"}', opaque=ReasoningOpaque("Q2k9", VENDOR)),
    )


def test_cv_19_stop_after_a_call_is_tool_calls_however_late() -> None:
    first = sse(candidate_of({"functionCall": {"name": "f", "args": {}}}, finishReason="STOP"))
    late = sse(candidate_of({"text": ""}, finishReason="STOP"))
    for data in (first, first + late, sse(candidate_of({"functionCall": {"name": "f", "args": {}}})) + late):
        assert fold(events(run(data))).candidates[0].finish == "tool_calls"


def test_a_limit_wins_over_calls() -> None:
    data = sse(candidate_of({"functionCall": {"name": "f", "args": {}}}, finishReason="MAX_TOKENS"))
    assert fold(events(run(data))).candidates[0].finish == "length"


def test_a_finish_on_every_chunk_does_not_end_the_content() -> None:
    data = b"".join(sse(candidate_of({"text": text}, finishReason="STOP")) for text in ("a", "b"))
    assert blocks(data) == (Text("ab"),)


def test_parallel_calls_without_ids_get_ids_of_their_own() -> None:
    data = (
        sse(candidate_of({"functionCall": {"name": "f"}}, {"functionCall": {"name": "f", "args": {"a": 1}}})) + stop()
    )
    first, second = blocks(data)
    assert first.id != second.id
    assert first.id.startswith("call_")
    assert (first.arguments, second.arguments) == ("{}", '{"a":1}')
    assert blocks(data) == blocks(data)


def test_ids_that_repeat_are_told_apart() -> None:
    data = sse(candidate_of(*[{"functionCall": {"id": "x", "name": "f", "args": {}}}] * 2)) + stop()
    assert [block.id for block in blocks(data)] == ["x", "x_2"]


def test_a_call_without_a_name_is_dropped() -> None:
    assert blocks(sse(candidate_of({"functionCall": {"args": {}}}, {"text": "a"})) + stop()) == (Text("a"),)


@pytest.mark.parametrize(
    ("parts", "want"),
    [
        (
            [{"text": "a"}, {"text": "", "thoughtSignature": "Ci4B"}],
            (Text("a", opaque=ReasoningOpaque("Ci4B", VENDOR)),),
        ),
        ([{"text": "", "thoughtSignature": "Ci4B"}], (Text("", opaque=ReasoningOpaque("Ci4B", VENDOR)),)),
        (
            [{"text": "a", "thoughtSignature": "Ci4B"}, {"text": "b", "thoughtSignature": "Q2k9"}],
            (
                Text("a", opaque=ReasoningOpaque("Ci4B", VENDOR)),
                Text("b", opaque=ReasoningOpaque("Q2k9", VENDOR)),
            ),
        ),
        (
            [{"text": "t", "thought": True, "thoughtSignature": "Ci4B"}],
            (Reasoning((ReasoningText("t"),), ReasoningOpaque("Ci4B", VENDOR)),),
        ),
        ([{"thoughtSignature": "Ci4B"}], (Text("", opaque=ReasoningOpaque("Ci4B", VENDOR)),)),
        ([{"text": ""}, {"text": "", "thought": True}], ()),
    ],
)
def test_signatures_stay_on_their_part(parts: list[JsonObject], want: tuple[Any, ...]) -> None:
    assert blocks(b"".join(sse(candidate_of(part)) for part in parts) + stop()) == want


def test_media_code_and_what_is_new() -> None:
    data = sse(
        candidate_of(
            {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}},
            {"inlineData": {"mimeType": "audio/L16;rate=24000", "data": "AAAA"}},
            {"executableCode": {"language": "PYTHON", "code": "1+1"}},
            {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "2"}},
            {"somethingNew": {"a": 1}},
        )
    )
    image, audio, code, result, new = blocks(data + stop())
    assert image == Image(Inline("image/png", "iVBORw0KGgo="))
    assert audio == Audio(Inline("audio/L16;rate=24000", "AAAA"))
    assert isinstance(code, HostedCall)
    assert code.input == {"code": "1+1", "language": "python"}
    assert isinstance(result, HostedResult)
    assert result.call_id == code.id
    assert result.blocks == (Text("2"),)
    assert new == Opaque("foreign", "gemini", "somethingNew", {"somethingNew": {"a": 1}})


def test_names_with_underscores_are_taken_too() -> None:
    data = sse(
        {
            "candidates": [
                {
                    "content": {"parts": [{"function_call": {"name": "f", "args": {"snake_case": 1}}}]},
                    "finish_reason": "STOP",
                }
            ],
            "usage_metadata": {"prompt_token_count": 3, "candidates_token_count": 2, "total_token_count": 5},
            "model_version": "m",
        }
    )
    found = fold(events(run(data)))
    assert found.candidates[0].blocks[0] == ToolCall(found.candidates[0].blocks[0].id, "f", '{"snake_case":1}')  # type: ignore[union-attr]
    assert found.usage == Usage(3, 2)
    assert b"_" not in raw(run(data)).replace(b"snake_case", b"")


def test_partial_arguments_of_vertex() -> None:
    def call_chunk(**call: Any) -> bytes:
        return sse(candidate_of({"functionCall": call}))

    data = (
        call_chunk(name="f", willContinue=True)
        + call_chunk(partialArgs=[{"jsonPath": "$.city", "stringValue": "Os", "willContinue": True}], willContinue=True)
        + call_chunk(partialArgs=[{"jsonPath": "$.city", "stringValue": "lo"}], willContinue=True)
        + call_chunk(
            partialArgs=[
                {"jsonPath": "$.days[1]['a.b']", "numberValue": 2},
                {"jsonPath": "$.on", "boolValue": True},
                {"jsonPath": "$.none", "nullValue": "NULL_VALUE"},
            ],
            willContinue=True,
        )
        + call_chunk()
        + call_chunk(name="g", args={})
    )
    first, second = blocks(data + stop())
    assert orjson.loads(first.arguments) == {"city": "Oslo", "days": [None, {"a.b": 2}], "on": True, "none": None}
    assert (first.name, second.name, second.arguments) == ("f", "g", "{}")


@pytest.mark.parametrize("path", ["", "$", "$[0]", "$.a[99999]", "$.a..b", "$.a[-1]", 7])
def test_a_path_that_leads_nowhere_fails(path: Any) -> None:
    piece = {"jsonPath": path, "numberValue": 1}
    data = sse(candidate_of({"functionCall": {"name": "f", "partialArgs": [piece], "willContinue": True}}))
    assert isinstance(events(run(data + stop()))[-1], Failed)


def test_log_probabilities() -> None:
    result = {
        "chosenCandidates": [{"token": "é", "logProbability": -0.5}],
        "topCandidates": [{"candidates": [{"token": "e", "logProbability": -1}]}],
    }
    (text,) = blocks(sse(candidate_of({"text": "é"}, finishReason="STOP", logprobsResult=result)))
    assert text.logprobs == (
        {
            "token": "é",
            "logprob": -0.5,
            "bytes": [195, 169],
            "top_logprobs": [{"token": "e", "logprob": -1, "bytes": [101]}],
        },
    )


def test_usage_is_merged_field_by_field_and_told_with_the_ending() -> None:
    data = (
        sse({**candidate_of({"text": "a"}), "usageMetadata": {"promptTokenCount": 5, "trafficType": "ON_DEMAND_FLEX"}})
        + sse({**candidate_of({"text": "b"}), "usageMetadata": {"candidatesTokenCount": 1}})
        + sse({**candidate_of({"text": ""}, finishReason="STOP"), "usageMetadata": {"candidatesTokenCount": 2}})
    )
    found = events(run(data))
    assert [event.usage for event in found if isinstance(event, UsageReported)] == [
        Usage(5, variant="flex"),
        Usage(5, 2, variant="flex"),
    ]
    assert isinstance(found[0], Started)
    assert found[0].tier == "flex"


@pytest.mark.parametrize(("version", "searches"), [("gemini-3-pro", 2), ("gemini-2.5-flash", 1)])
def test_searches_are_counted_as_they_are_billed(version: str, searches: int) -> None:
    chunk = candidate_of({"text": "a"}, finishReason="STOP", groundingMetadata={"webSearchQueries": ["x", "y"]})
    body = {**chunk, "usageMetadata": g_usage(1, 1, 2), "modelVersion": version}
    usage = FORMAT.read_usage(body)
    assert usage is not None
    assert usage.hosted == (("web_search", searches),)
    assert fold(events(run(sse(body)))).usage == usage


def test_several_candidates() -> None:
    data = sse(
        {
            "candidates": [
                {"index": 1, "content": {"parts": [{"text": "b"}]}},
                {"index": 0, "content": {"parts": [{"text": "a"}]}, "finishReason": "STOP"},
            ]
        }
    )
    assert isinstance(events(run(data))[-1], Failed)  # one has not said how it ended
    data += sse({"candidates": [{"index": 1, "finishReason": "MAX_TOKENS"}]})
    found = fold(events(run(data)))
    assert [(entry.blocks, entry.finish) for entry in found.candidates] == [
        ((Text("a"),), "stop"),
        ((Text("b"),), "length"),
    ]


# What goes wrong.

QUOTA = {
    "error": {
        "code": 429,
        "message": "Quota exceeded",
        "status": "RESOURCE_EXHAUSTED",
        "details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "36s"}],
    }
}


@pytest.mark.parametrize("data", [sse(QUOTA), sse([QUOTA]), orjson.dumps([QUOTA]), orjson.dumps(QUOTA)])
@pytest.mark.parametrize("full", [True, False])
def test_an_error_first_can_be_retried(data: bytes, full: bool) -> None:
    (frame,) = run(data, full=full)
    (failed,) = frame.events
    assert isinstance(failed, Failed)
    assert failed.error.status == 429
    assert failed.error.retry_after == 36.0
    assert frame.raw is None


def test_an_error_later_ends_the_stream() -> None:
    frames = run(g_parts({"text": "a"}) + sse(QUOTA) + g_parts({"text": "b"}), full=False)
    assert raw(frames) == g_parts({"text": "a"})
    assert [type(event) for event in events(frames)] == [Started, Failed]


def test_a_key_that_is_refused_is_the_channels_own() -> None:
    error = {"code": 400, "message": "API key not valid", "status": "INVALID_ARGUMENT"}
    body = orjson.dumps({"error": {**error, "details": [{"reason": "API_KEY_INVALID"}]}})
    assert isinstance(FORMAT.read_error(400, body), UpstreamAuthFailed)


@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize("word", ["MALFORMED_FUNCTION_CALL", "MALFORMED_RESPONSE", "MISSING_THOUGHT_SIGNATURE"])
def test_cv_81_an_excuse_is_no_answer(word: str, full: bool) -> None:
    data = sse({"candidates": [{"finishReason": word, "content": {}}], "usageMetadata": g_usage(9, 0, 9)})
    (frame,) = run(data, full=full)
    (failed,) = frame.events
    assert isinstance(failed, Failed)
    assert failed.error.status == (400 if word.startswith("MISSING") else 502)


def test_a_malformed_call_after_text_is_told_as_it_is() -> None:
    data = sse(candidate_of({"text": "a"})) + sse({"candidates": [{"finishReason": "MALFORMED_FUNCTION_CALL"}]})
    assert fold(events(run(data))).candidates[0].finish == "malformed_call"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"data: [DONE]\n\n",
        b": hello\n\n",
        b"data: {}\n\n",
        b"<html>",
        b"[]",
        b"\n\n",
        b'data: {"candidates":3}\n\n',
    ],
)
def test_what_is_no_answer_fails(data: bytes) -> None:
    assert [type(event) for event in events(run(data))] == [Failed]


def test_one_bad_event_between_good_ones_is_skipped() -> None:
    first, *rest = STREAM.split(b"\n\n")
    data = first + b"\n\ndata: {oops\n\n: comment\n\nevent: x\n\n" + b"\n\n".join(rest)
    assert events(run(data)) == events(run(STREAM))
    assert raw(run(data)) == STREAM  # its SDK would trip over the others


def test_an_event_that_is_too_large_fails() -> None:
    for data in (b"data: " + b"x" * 99, b'[{"a":"' + b"x" * 99):
        decoder = GeminiStreamDecoder(full=True, model=None, max_event_bytes=50)
        found = decoder.feed(data) + decoder.feed(data) + decoder.close()
        assert [type(event) for event in events(found)] == [Failed]


@pytest.mark.parametrize(
    "chunk",
    [
        {"candidates": [3]},
        {"candidates": [{"index": -1}]},
        {"candidates": [{"index": 999}]},
        {"candidates": [{"content": {"parts": 3}}]},
        {"candidates": [{"content": {"parts": [3]}}]},
        candidate_of({"functionCall": {"name": "f", "args": []}}),
        candidate_of({"inlineData": {"data": 3}}),
        candidate_of({"fileData": {}}),
    ],
)
def test_values_that_cannot_be_fail(chunk: JsonObject) -> None:
    found = events(run(sse(chunk) + stop()))
    assert isinstance(found[-1], Failed)
    assert found[-1].error.code == "upstream_invalid_response"


# What goes out.


def chunks(data: bytes) -> list[JsonObject]:
    return [orjson.loads(event.removeprefix(b"data: ")) for event in data.split(b"\n\n") if event.strip()]


def without_extras(response: Response) -> Response:
    """`response` without the fields that are carried unread."""
    candidates = tuple(replace(entry, extras={}, safety=None, grounding=None) for entry in response.candidates)
    return replace(response, extras={}, usage_extras={}, candidates=candidates)


succeeded = responses().filter(lambda response: all(entry.finish != "error" for entry in response.candidates))


@settings(max_examples=60, deadline=None)
@given(response=succeeded)
def test_the_sdk_takes_every_chunk(response: Response) -> None:
    found = chunks(encoded(unfold(without_extras(response))))
    for chunk in found:
        known = types.GenerateContentResponse.model_validate(chunk)
        for candidate in known.candidates or ():
            assert candidate.content is not None
            assert candidate.content.role == "model"
            assert candidate.content.parts
    assert sum("usageMetadata" in chunk for chunk in found) <= 1
    last = found[-1]
    blocked = "promptFeedback" in last
    assert blocked or all("finishReason" in candidate for candidate in last["candidates"])


@settings(max_examples=60, deadline=None)
@given(response=succeeded)
def test_a_collected_stream_equals_the_buffered_answer(response: Response) -> None:
    whole = FORMAT.encode_response(response, call(), request_id="x")
    collected = fold(events_of(FORMAT, encoded(unfold(response), request_id="x")))
    assert said_in(collected) == said_in(FORMAT.decode_response(whole))
    assert collected.usage == FORMAT.decode_response(whole).usage


def said_in(response: Response) -> list[Any]:
    """Text, thoughts and calls of an answer, however they were divided, and its endings."""
    return [
        (
            "".join(block.text for block in candidate.blocks if isinstance(block, Text)),
            "".join(block.text for block in candidate.blocks if isinstance(block, Reasoning)).replace("\n", ""),
            [(block.name, block.arguments) for block in candidate.blocks if isinstance(block, ToolCall)],
            candidate.finish,
        )
        for candidate in response.candidates
    ]


def test_an_empty_answer_is_one_chunk_with_a_part() -> None:
    response = Response("r1", candidates=(Candidate((), "stop"),), usage=Usage(3, 0))
    assert encoded(unfold(response)) == g_end("STOP", g_usage(3, 0, 3))


def test_thoughts_are_hidden_from_clients_that_did_not_ask() -> None:
    response = Response(
        "r1",
        candidates=(Candidate((Reasoning((ReasoningText("t"),), ReasoningOpaque("oa1.x", "")), Text("a")), "stop"),),
    )
    asked = call({})
    encoder = FORMAT.stream_encoder(asked)
    assert [part for chunk in chunks(encoder.feed(unfold(response))) for part in parts_of(chunk)] == [
        {"text": "a", "thoughtSignature": "b2ExLng="},
        {"text": ""},
    ]
    body = FORMAT.encode_response(response, asked)
    assert parts_of(body) == [{"text": "a", "thoughtSignature": "b2ExLng="}]


@pytest.mark.parametrize(
    ("body", "query", "shown"),
    [
        ({}, b"thinking=1", True),
        ({}, b"reasoning_effort=low", True),
        ({}, b"reasoning_format=reasoning", True),
        ({}, b"reasoning_format=hidden", False),
        ({}, b"thinking=0", False),
        (SHOWN, b"", True),
        (SHOWN, b"thinking=0", False),
        (SHOWN, b"reasoning_effort=none", False),
        (SHOWN, b"thinking=1&reasoning_format=hidden", False),
    ],
)
def test_a_wish_beats_what_the_body_says_of_thoughts(body: JsonObject, query: bytes, shown: bool) -> None:
    response = Response("r1", candidates=(Candidate((Reasoning((ReasoningText("t"),)), Text("a")), "stop"),))
    asked = call(body, query=b"alt=sse&" + query)
    buffered = parts_of(FORMAT.encode_response(response, asked))
    stream = chunks(FORMAT.stream_encoder(asked).feed(unfold(response)))
    streamed = [part for chunk in stream for part in parts_of(chunk)]
    for parts in (buffered, streamed):
        assert ({"text": "t", "thought": True} in parts) == shown


def parts_of(chunk: JsonObject) -> list[JsonObject]:
    found: list[JsonObject] = chunk["candidates"][0]["content"]["parts"]
    return found


def test_a_signature_nothing_follows_stands_on_the_last_part() -> None:
    blocks = (Text("a"), Reasoning((), ReasoningOpaque("oa1.x", "")))
    response = Response("r1", candidates=(Candidate(blocks, "stop"),))
    assert parts_of(chunks(encoded(unfold(response)))[-1]) == [{"text": "", "thoughtSignature": "b2ExLng="}]


@pytest.mark.parametrize(("finish", "parts"), [("length", []), ("tool_calls", [{"_malformed_arguments": '{"x":'}])])
def test_a_call_that_was_cut_by_the_limit_must_not_run(finish: Any, parts: list[JsonObject]) -> None:
    response = Response("r1", candidates=(Candidate((ToolCall("c", "f", '{"x":'),), finish),))
    for found in (chunks(encoded(unfold(response))), [FORMAT.encode_response(response, call())]):
        calls = [part["functionCall"] for chunk in found for part in parts_of(chunk) if "functionCall" in part]
        assert [entry["args"] for entry in calls] == parts


@pytest.mark.parametrize(("finish", "names"), [("length", ["a", "c"]), ("tool_calls", ["a", "b", "c"])])
def test_calls_behind_a_malformed_one_do_not_overtake_it(finish: Any, names: list[str]) -> None:
    calls = (ToolCall("1", "a", "{}"), ToolCall("2", "b", '{"x":'), ToolCall("3", "c", "{}"))
    response = Response("r1", candidates=(Candidate(calls, finish),))
    for found in (chunks(encoded(unfold(response))), [FORMAT.encode_response(response, call())]):
        parts = [part for chunk in found for part in parts_of(chunk)]
        assert [part["functionCall"]["name"] for part in parts if "functionCall" in part] == names


def test_without_alt_sse_the_stream_is_one_array() -> None:
    response = Response("r1", candidates=(Candidate((Text("a"), ToolCall("c", "f", "{}")), "tool_calls"),))
    asked = call(query=b"")
    encoder = FORMAT.stream_encoder(asked)
    pieces = [encoder.feed([event]) for event in unfold(response)]
    assert FORMAT.stream_type(asked) == "application/json"
    assert not FORMAT.passes_frames(asked)
    assert FORMAT.passes_frames(call())
    assert orjson.loads(b"".join(pieces)) == chunks(encoded(unfold(response)))
    assert next(piece for piece in pieces if piece).startswith(b"[{")
    assert pieces[-1].endswith(b"}]")


def test_an_error_in_an_array_is_its_last_element() -> None:
    encoder = FORMAT.stream_encoder(call(query=b""))
    data = encoder.feed([BlockStarted(0, 0, "text"), TextDelta(0, 0, "a"), Failed(UpstreamError("no"))])
    assert orjson.loads(data)[-1]["error"]["code"] == 502
    alone = FORMAT.stream_encoder(call(query=b"")).feed([Failed(UpstreamError("no"))])
    assert orjson.loads(alone)[0]["error"]["status"] == "UNAVAILABLE"


def test_keep_alives_are_blank_lines() -> None:
    assert encoded([Ping()]) == b"\n"


def test_nothing_follows_the_end() -> None:
    encoder = FORMAT.stream_encoder(call())
    encoder.feed([Started(), Ended()])
    assert encoder.feed([TextDelta(0, 0, "late"), ArgumentsDelta(0, 0, "x")]) == b"" == encoder.close()


# The SDK itself.


def sdk(body: bytes) -> genai.Client:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"content-type": "text/event-stream"}, content=body)

    client = httpx.Client(transport=httpx.MockTransport(answer))
    return genai.Client(api_key="k", http_options=types.HttpOptions(base_url="http://gateway", httpx_client=client))


def test_the_sdk_reads_our_stream() -> None:
    response = Response(
        "r1",
        candidates=(
            Candidate(
                (Reasoning((ReasoningText("t"),)), Text("a\u2028b"), ToolCall("c", "f", '{"x":1}')), "tool_calls"
            ),
        ),
        usage=Usage(3, 4, reasoning=1),
    )
    events_ = unfold(response)
    found = list(
        sdk(encoded([Ping(), *events_[:3], Ping(), *events_[3:]])).models.generate_content_stream(
            model="m", contents="Hi"
        )
    )
    texts = [part.text for chunk in found for part in chunk.candidates[0].content.parts if part.text]  # type: ignore[index, union-attr]
    assert texts == ["t", "a\u2028b"]
    calls = [entry for chunk in found for entry in chunk.function_calls or ()]
    assert [(entry.name, entry.args, entry.id) for entry in calls] == [("f", {"x": 1}, "c")]
    assert found[-1].candidates[0].finish_reason == types.FinishReason.STOP  # type: ignore[index]
    assert found[-1].usage_metadata.total_token_count == 7  # type: ignore[union-attr]


def test_the_sdk_raises_our_errors() -> None:
    data = encoded([BlockStarted(0, 0, "text"), TextDelta(0, 0, "a"), Failed(UpstreamError("no", status=529))])
    with pytest.raises(genai.errors.ServerError) as caught:
        list(sdk(data).models.generate_content_stream(model="m", contents="Hi"))
    assert caught.value.code == 503
    assert caught.value.message == "no"


def test_the_sdk_keeps_our_answer_in_a_chat() -> None:
    response = Response("r1", candidates=(Candidate((), "stop"),))
    chat = sdk(encoded(unfold(response))).chats.create(model="m")
    list(chat.send_message_stream("Hi"))
    assert len(chat.get_history(curated=True)) == 2
