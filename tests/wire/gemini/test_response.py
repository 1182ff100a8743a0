"""Whole answers, usage and errors of generateContent."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from google.genai import types
from hypothesis import given, settings

from oneapi_mw.canonical.blocks import (
    Audio,
    Citation,
    HostedCall,
    HostedResult,
    Image,
    Inline,
    Reasoning,
    ReasoningOpaque,
    ReasoningText,
    Text,
    ToolCall,
    Url,
)
from oneapi_mw.canonical.frames import Answer
from oneapi_mw.canonical.response import Candidate, Response
from oneapi_mw.errors import (
    GatewayError,
    InsufficientUserQuota,
    InvalidRequest,
    RateLimited,
    UpstreamError,
    UpstreamInvalidResponse,
)
from oneapi_mw.types import JsonObject
from oneapi_mw.usage import Usage
from oneapi_mw.wire.gemini import FORMAT
from oneapi_mw.wire.gemini.usage import decode_usage, encode_usage
from tests.canonical.strategies import responses
from tests.wire.gemini.test_stream import without_extras
from tests.wire.gemini.wires import call, g_usage

VENDOR = "google-gemini-v1"


def answer(*parts: JsonObject, **more: Any) -> JsonObject:
    candidate = {"index": 0, "content": {"role": "model", "parts": list(parts)}, "finishReason": "STOP", **more}
    return {"candidates": [candidate], "modelVersion": "m", "responseId": "r1"}


def encode(response: Response) -> JsonObject:
    return FORMAT.encode_response(response, call(), request_id="req-1")


ANSWERS: list[JsonObject] = [
    {**answer({"text": "Hi"}), "usageMetadata": g_usage(3, 2, 5)},
    answer({"text": "t", "thought": True}, {"text": "a", "thoughtSignature": "Ci4B"}),
    answer(
        {"functionCall": {"id": "c", "name": "f", "args": {"x": 1}}, "thoughtSignature": "Q2k9"},
        {"functionCall": {"id": "d", "name": "f", "args": {}}},
    ),
    answer({"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}, "thoughtSignature": "Q2k9"}),
    answer({"executableCode": {"language": "PYTHON", "code": "1"}}, {"codeExecutionResult": {"outcome": "OUTCOME_OK"}}),
    answer({"text": "a"}, finishReason="RECITATION", finishMessage="m", avgLogprobs=-1.5, safetyRatings=[]),
    answer({"text": "a"}, groundingMetadata={"webSearchQueries": ["q"]}),
    {
        "promptFeedback": {"blockReason": "SAFETY", "blockReasonMessage": "no"},
        "usageMetadata": g_usage(7, 0, 7),
        "modelVersion": "m",
        "responseId": "r1",
    },
]


@pytest.mark.parametrize("body", ANSWERS)
def test_an_answer_of_this_format_comes_back_field_for_field(body: JsonObject) -> None:
    response = FORMAT.decode_response(body)
    assert encode(response) == body
    assert FORMAT.decode_response(encode(response)) == response


@pytest.mark.parametrize(
    "body", [{}, {"candidates": []}, {"usageMetadata": {"promptTokenCount": 1}}, {"candidates": 3}]
)
def test_what_is_no_answer(body: JsonObject) -> None:
    with pytest.raises(UpstreamInvalidResponse):
        FORMAT.decode_response(body)


@pytest.mark.parametrize("word", ["MALFORMED_FUNCTION_CALL", "MISSING_THOUGHT_SIGNATURE"])
def test_cv_81_an_excuse_is_no_answer(word: str) -> None:
    with pytest.raises(UpstreamError):
        FORMAT.decode_response({"candidates": [{"finishReason": word}]})


FINISHES = [
    ("STOP", "stop"),
    ("MAX_TOKENS", "length"),
    ("FINISH_REASON_UNSPECIFIED", "unknown"),
    ("CONTINUATION", "continuation"),
    ("BRAND_NEW", "unknown"),
    *((word, "content_filter") for word in ("SAFETY", "RECITATION", "SPII", "OTHER", "IMAGE_SAFETY", "NO_IMAGE")),
    *((word, "malformed_call") for word in ("MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL")),
]


@pytest.mark.parametrize(("word", "reason"), FINISHES)
def test_endings(word: str, reason: str) -> None:
    candidate = FORMAT.decode_response(answer({"text": "a"}, finishReason=word)).candidates[0]
    assert candidate.finish == reason
    if reason in ("content_filter", "malformed_call", "stop", "length"):
        assert encode(Response(candidates=(candidate,)))["candidates"][0]["finishReason"] == word


def test_cv_78_a_continuation_is_never_invented() -> None:
    body = encode(Response(candidates=(Candidate((Text("a"),), "continuation"),)))
    assert body["candidates"][0]["finishReason"] == "MAX_TOKENS"


def test_reasoning_of_another_vendor() -> None:
    reasoning = Reasoning((ReasoningText("t"),), ReasoningOpaque("oa1.anthropic.X", ""))
    body = encode(Response(candidates=(Candidate((reasoning, Text("2.")), "stop"),)))
    assert body["candidates"][0]["content"]["parts"] == [
        {"text": "t", "thought": True},
        {"text": "2.", "thoughtSignature": "b2ExLmFudGhyb3BpYy5Y"},
    ]
    back = FORMAT.decode_response(body).candidates[0].blocks
    assert back == (reasoning, Text("2."))
    raw = Reasoning((ReasoningText("t"),), ReasoningOpaque("EqQB", "anthropic-claude-v1"))
    body = encode(Response(candidates=(Candidate((raw, Text("2.")), "stop"),)))
    assert body["candidates"][0]["content"]["parts"][1] == {"text": "2."}


def test_two_signatures_are_never_merged_into_one_part() -> None:
    blocks = (
        Reasoning((), ReasoningOpaque("oa1.x", "")),
        ToolCall("c", "f", "{}", opaque=ReasoningOpaque("Ci4B", VENDOR)),
    )
    parts = encode(Response(candidates=(Candidate(blocks, "tool_calls"),)))["candidates"][0]["content"]["parts"]
    assert [part["thoughtSignature"] for part in parts] == ["b2ExLng=", "Ci4B"]


def test_media_and_code_of_other_vendors() -> None:
    blocks = (
        Image(Url("https://a.example/x.png", "image/png")),
        Audio(Inline("audio/*", "AAAA"), "hello"),
        Audio(transcript="hello"),
        HostedCall("code", "c", "code_interpreter", {"code": "1+1"}),
        HostedResult("c", "code", is_error=True, blocks=(Text("boom"),)),
        HostedCall("web_search", "s", "web_search", {"query": "q"}),
        HostedResult("s", "web_search"),
    )
    parts = encode(Response(candidates=(Candidate(blocks, "stop"),)))["candidates"][0]["content"]["parts"]
    assert parts == [
        {"fileData": {"fileUri": "https://a.example/x.png", "mimeType": "image/png"}},
        {"inlineData": {"mimeType": "audio/wav", "data": "AAAA"}},
        {"text": "hello"},
        {"executableCode": {"language": "PYTHON", "code": "1+1"}},
        {"codeExecutionResult": {"outcome": "OUTCOME_FAILED", "output": "boom"}},
    ]


def test_an_answer_without_anything_has_a_part() -> None:
    assert encode(Response())["candidates"][0]["content"] == {"role": "model", "parts": [{"text": ""}]}


def test_the_id_is_made_from_the_requests_where_none_was_told() -> None:
    made = encode(Response())["responseId"]
    assert made == encode(Response())["responseId"] == "req-1"
    foreign = encode(Response("msg_1"))["responseId"]
    assert len(foreign) == 22
    assert foreign == encode(Response("msg_1"))["responseId"]


@settings(max_examples=60, deadline=None)
@given(response=responses())
def test_the_sdk_takes_every_answer(response: Response) -> None:
    types.GenerateContentResponse.model_validate(encode(without_extras(response)))


# Citations.

SOURCES = [{"web": {"uri": "https://e.org", "title": "E"}}, {"web": {"uri": "https://f.org"}}]


def grounded(supports: list[JsonObject], *texts: str, **more: Any) -> tuple[Any, ...]:
    metadata = {"groundingChunks": SOURCES, "groundingSupports": supports}
    parts = [{"text": text} for text in texts]
    blocks = FORMAT.decode_response(answer(*parts, groundingMetadata=metadata)).candidates[0].blocks
    return tuple(
        (citation.url, block.text[citation.start : citation.end])
        for block in blocks
        if isinstance(block, Text)
        for citation in block.citations
    )


def support(start: int, end: int, *sources: int, **more: Any) -> JsonObject:
    return {"segment": {"startIndex": start, "endIndex": end, **more}, "groundingChunkIndices": list(sources)}


def test_each_pair_of_support_and_source_is_a_citation() -> None:
    found = grounded([support(3, 8, 0, 1), support(0, 2, 1, 7)], "é 🌞 x")
    assert found == (("https://e.org", "🌞 "), ("https://f.org", "🌞 "), ("https://f.org", "é"))


def test_offsets_count_within_their_part() -> None:
    assert grounded([support(0, 2, 0, partIndex=1)], "one ", "two") == (("https://e.org", "tw"),)


def test_a_wrong_range_is_found_by_its_text() -> None:
    assert grounded([support(0, 3, 0, text="two")], "one two") == (("https://e.org", "two"),)


@pytest.mark.parametrize("entry", [{"groundingChunkIndices": [0]}, support(-5, 999, 0), support(5, 1, 0), 3])
def test_odd_supports_do_no_harm(entry: Any) -> None:
    assert len(grounded([entry], "text")) <= 1


def test_citations_of_files() -> None:
    sources = [{"retrievedContext": {"uri": "gs://x", "title": "X"}}]
    metadata = {"groundingChunks": sources, "groundingSupports": [support(0, 4, 0)]}
    block = FORMAT.decode_response(answer({"text": "text"}, groundingMetadata=metadata)).candidates[0].blocks[0]
    assert isinstance(block, Text)
    assert block.citations == (Citation("file", "gs://x", title="X", filename="X", start=0, end=4),)


def test_citations_of_others_become_grounding() -> None:
    texts = (
        Text("é one", (Citation("url", "https://e.org", title="E", start=2, end=5),)),
        Text("two", (Citation("url", "https://e.org", title="E"), Citation("document"))),
    )
    body = encode(Response(candidates=(Candidate(texts, "stop"),)))
    assert body["candidates"][0]["groundingMetadata"] == {
        "groundingChunks": [{"web": {"uri": "https://e.org", "title": "E"}}],
        "groundingSupports": [
            {"segment": {"startIndex": 3, "endIndex": 6, "text": "one"}, "groundingChunkIndices": [0]},
            {"segment": {"startIndex": 0, "endIndex": 3, "partIndex": 1, "text": "two"}, "groundingChunkIndices": [0]},
        ],
    }
    back = FORMAT.decode_response(body).candidates[0].blocks
    spans = [
        (citation.start, citation.end) for block in back if isinstance(block, Text) for citation in block.citations
    ]
    assert spans == [(2, 5), (5, 8)]  # parts in a row are one text


# Usage: the rows of conversion-answers.md 3.3.

ROWS: list[tuple[str, JsonObject, Usage]] = [
    ("plain", g_usage(9, 12, 21), Usage(9, 12)),
    ("cache", g_usage(2006, 300, 2306, cachedContentTokenCount=1920), Usage(2006, 300, cache_read=1920)),
    ("thinking", g_usage(31, 22, 93, thoughtsTokenCount=40), Usage(31, 62, reasoning=40)),
    (
        "tool prompt",
        g_usage(20, 30, 160, thoughtsTokenCount=10, toolUsePromptTokenCount=100),
        Usage(120, 40, reasoning=10, tool_prompt=100),
    ),
    (
        "audio",
        {
            **g_usage(150, 80, 230),
            "promptTokensDetails": [
                {"modality": "TEXT", "tokenCount": 50},
                {"modality": "AUDIO", "tokenCount": 100},
            ],
            "candidatesTokensDetails": [
                {"modality": "TEXT", "tokenCount": 30},
                {"modality": "AUDIO", "tokenCount": 50},
            ],
        },
        Usage(150, 80, input_audio=100, output_audio=50),
    ),
    (
        "more thoughts than words",
        g_usage(1000, 30, 1050, cachedContentTokenCount=896, thoughtsTokenCount=20),
        Usage(1000, 50, cache_read=896, reasoning=20),
    ),
]


@pytest.mark.parametrize(("name", "report", "usage"), ROWS, ids=[row[0] for row in ROWS])
def test_cv_43_usage_both_ways(name: str, report: JsonObject, usage: Usage) -> None:
    assert decode_usage(report) == usage
    assert encode_usage(usage) == report


def details(**counts: int) -> list[JsonObject]:
    return [{"modality": name, "tokenCount": count} for name, count in counts.items()]


@pytest.mark.parametrize(
    ("report", "usage"),
    [
        ({}, None),
        ({"trafficType": "ON_DEMAND"}, None),
        (g_usage(0, 0, 0), None),
        ({"promptTokenCount": 5}, Usage(5)),
        (g_usage(10, 30, 40, thoughtsTokenCount=20), Usage(10, 30, reasoning=20)),  # thoughts are inside
        (g_usage(10, 30, 55), Usage(10, 45, reasoning=15)),  # the difference is reasoning
        (g_usage(10, 5, 15, cachedContentTokenCount=99), Usage(10, 5, cache_read=10)),
        (g_usage(-3, 5, 5), Usage(0, 5)),
        ({"promptTokenCount": "9", "candidatesTokenCount": 2}, Usage(0, 2)),
        ({"promptTokenCount": 10**12, "candidatesTokenCount": 2}, Usage(0, 2)),
        (
            g_usage(
                100,
                0,
                100,
                cachedContentTokenCount=40,
                promptTokensDetails=details(AUDIO=60, VIDEO=30, DOCUMENT=10),
                cacheTokensDetails=details(AUDIO=25, TEXT=15),
            ),
            Usage(
                100,
                cache_read=40,
                input_audio=60,
                input_video=30,
                input_document=10,
                cache_read_audio=25,
                cache_read_image=0,
            ),
        ),
        (
            g_usage(10, 0, 10, cachedContentTokenCount=5, cacheTokensDetails=details(IMAGE=9)),
            Usage(10, cache_read=5, cache_read_audio=0, cache_read_image=5),
        ),
    ],
)
def test_reports_that_do_not_add_up(report: JsonObject, usage: Usage | None) -> None:
    assert decode_usage(report) == usage


def test_unmapped_counts_are_kept() -> None:
    body = {**answer({"text": "a"}), "usageMetadata": {**g_usage(3, 2, 5), "trafficType": "ON_DEMAND", "new": 1}}
    response = FORMAT.decode_response(body)
    assert response.tier == "default"
    assert encode(response)["usageMetadata"] == body["usageMetadata"]


@pytest.mark.parametrize(
    ("told", "tier", "variant"),
    [
        ({"trafficType": "ON_DEMAND_PRIORITY"}, "priority", "priority"),
        ({"serviceTier": "priority"}, "priority", "priority"),
        ({"serviceTier": "FLEX"}, "flex", "flex"),
        ({"serviceTier": "standard"}, "default", ""),
        ({"serviceTier": "odd"}, None, ""),
    ],
)
def test_the_service_that_was_given(told: JsonObject, tier: str | None, variant: str) -> None:
    """It has a price of its own. The Gemini API tells it as `serviceTier`, Vertex as `trafficType`."""
    body = {**answer({"text": "a"}), "usageMetadata": {**g_usage(3, 2, 5), **told}}
    usage = FORMAT.read_usage(body)
    assert usage is not None
    assert usage.variant == variant
    response = FORMAT.decode_response(body)
    assert response.tier == tier
    assert encode(response)["usageMetadata"] == body["usageMetadata"]


def test_text_is_counted_for_answers_without_usage() -> None:
    parts: list[JsonObject] = [{"text": "é"}, {"functionCall": {"name": "f", "args": {"a": 1}}}]
    parts.append({"executableCode": {"code": "1+1"}})
    assert FORMAT.answer_said(answer(*parts)).text_bytes == 2 + len('f{"a":1}') + 3
    assert FORMAT.read_usage(answer()) is None
    assert FORMAT.read_usage({"candidates": 3}) is None


def test_the_model_is_the_one_the_client_asked_for() -> None:
    body = answer({"text": "a"})
    changed = FORMAT.restore_model(Answer("gemini", orjson.dumps(body), body), "mine")
    assert orjson.loads(changed.raw) == changed.body == {**body, "modelVersion": "mine"}
    same = Answer("gemini", b"raw", body)
    assert FORMAT.restore_model(same, "m") is same
    assert FORMAT.restore_model(Answer("gemini", b"raw", {}), "m").raw == b"raw"


# Errors.


@pytest.mark.parametrize(
    ("error", "code", "word"),
    [
        (InvalidRequest("no"), 400, "INVALID_ARGUMENT"),
        (GatewayError("no", status=401), 401, "UNAUTHENTICATED"),
        (InsufficientUserQuota("no"), 403, "RESOURCE_EXHAUSTED"),
        (GatewayError("no", status=404), 404, "NOT_FOUND"),
        (GatewayError("no", status=409), 409, "ABORTED"),
        (GatewayError("no", status=418), 418, "INVALID_ARGUMENT"),
        (GatewayError("no", status=501), 501, "UNIMPLEMENTED"),
        (UpstreamError("no"), 502, "UNAVAILABLE"),
        (GatewayError("no", status=504), 504, "DEADLINE_EXCEEDED"),
        (GatewayError("no", status=599), 599, "INTERNAL"),
    ],
)
def test_errors_in_googles_words(error: GatewayError, code: int, word: str) -> None:
    body = FORMAT.encode_error(error, request_id="r")
    assert body == {"error": {"code": code, "message": "no (request id: r)", "status": word}}


def test_when_to_try_again() -> None:
    body = FORMAT.encode_error(RateLimited("no", retry_after=1.5), request_id="")
    assert body["error"]["details"] == [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "1.5s"}]
    again = FORMAT.read_error(429, orjson.dumps(body))
    assert again is not None
    assert again.retry_after == 1.5


def test_an_error_that_ends_a_stream_is_an_event_of_its_own() -> None:
    data = FORMAT.encode_stream_error(UpstreamError("no", status=529), request_id="")
    assert data == b'data: {"error":{"code":503,"message":"no","status":"UNAVAILABLE"}}\n\n'


@pytest.mark.parametrize("body", [b'{"candidates":[]}', b'{"error":null,"candidates":[]}'])
def test_an_answer_is_no_error(body: bytes) -> None:
    assert FORMAT.read_error(200, body) is None


@pytest.mark.parametrize("body", [b"<html>", b"", b"3", b"[]"])
def test_errors_nobody_can_read(body: bytes) -> None:
    error = FORMAT.read_error(503, body)
    assert error is not None
    assert error.status == 503


@pytest.mark.parametrize(
    ("status", "word", "told"),
    [
        (400, "INVALID_ARGUMENT", ("invalid_request_error", "upstream_error")),
        (404, "NOT_FOUND", ("invalid_request_error", "model_not_found")),
        (503, "UNAVAILABLE", ("server_error", "overloaded")),
        (504, "DEADLINE_EXCEEDED", ("timeout", "upstream_timeout")),
        (400, "SOMETHING_NEW", ("upstream_error", "upstream_error")),
        (400, None, ("upstream_error", "upstream_error")),
        (599, "INTERNAL", ("upstream_error", "upstream_invalid_response")),
        (429, "RESOURCE_EXHAUSTED", ("rate_limit_error", "rate_limit_exceeded")),
    ],
)
def test_googles_word_for_an_error_in_ours(status: int, word: str | None, told: tuple[str, str]) -> None:
    error = FORMAT.read_error(status, orjson.dumps({"error": {"code": status, "message": "No.", "status": word}}))
    assert error is not None
    assert (error.type, error.code) == told
