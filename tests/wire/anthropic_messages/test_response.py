"""Whole answers, both ways, and errors."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from anthropic.types import Message
from hypothesis import given, settings
from hypothesis import strategies as st

from oneapi_mw.canonical.blocks import (
    Citation,
    Reasoning,
    ReasoningOpaque,
    ReasoningText,
    Refusal,
    Text,
    ToolCall,
)
from oneapi_mw.canonical.call import Call
from oneapi_mw.canonical.fold import fold
from oneapi_mw.canonical.response import Candidate, Response
from oneapi_mw.errors import (
    GatewayError,
    InsufficientUserQuota,
    InvalidRequest,
    ModelNotFound,
    RateLimited,
    Unauthorized,
    UpstreamError,
    UpstreamInvalidResponse,
)
from oneapi_mw.usage import Usage
from oneapi_mw.wire.anthropic_messages import FORMAT
from oneapi_mw.wire.anthropic_messages.stream import MessagesStreamDecoder
from tests.canonical.strategies import responses
from tests.wire.anthropic_messages import streams
from tests.wire.anthropic_messages.notation import stream

VENDOR = "anthropic-claude-v1"
CALL = Call("chat", "anthropic_messages", "m", False, {}, None, input_estimate=7)


def encoded(response: Response, call: Call = CALL) -> dict[str, Any]:
    return FORMAT.encode_response(response, call, request_id="r1")


def answer(*blocks: Any, finish: Any = "stop", **rest: Any) -> Response:
    return Response("msg_1", "m", 0, (Candidate(blocks, finish),), Usage(9, 3), **rest)


BODY: dict[str, Any] = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "m",
    "content": [
        {"type": "thinking", "thinking": "Add.", "signature": "EqQB"},
        {"type": "redacted_thinking", "data": "AAAA"},
        {
            "type": "text",
            "text": "4",
            "citations": [
                {
                    "type": "page_location",
                    "document_index": 0,
                    "document_title": "T",
                    "start_page_number": 1,
                    "end_page_number": 2,
                    "cited_text": "x",
                    "file_id": "f",
                },
                {
                    "type": "search_result_location",
                    "source": "https://s.example",
                    "title": "S",
                    "search_result_index": 0,
                    "start_block_index": 0,
                    "end_block_index": 1,
                    "cited_text": "y",
                },
            ],
        },
        {"type": "server_tool_use", "id": "srvtoolu_1", "name": "code_execution", "input": {"code": "1"}},
        {
            "type": "code_execution_tool_result",
            "tool_use_id": "srvtoolu_1",
            "content": {
                "type": "code_execution_result",
                "stdout": "1",
                "stderr": "",
                "return_code": 0,
                "content": [],
            },
        },
        {"type": "container_upload", "file_id": "f"},
        {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"b": 1, "a": "ä"}, "caller": {"type": "direct"}},
    ],
    "stop_reason": "tool_use",
    "stop_sequence": None,
    "container": {"id": "c", "expires_at": "2026-11-01T00:00:00Z"},
    "diagnostics": {"cache_miss_reason": None},
    "usage": {
        "input_tokens": 20,
        "cache_creation_input_tokens": 500,
        "cache_read_input_tokens": 1000,
        "cache_creation": {"ephemeral_5m_input_tokens": 300, "ephemeral_1h_input_tokens": 200},
        "output_tokens": 5,
        "service_tier": "standard",
        "inference_geo": "eu",
    },
}


def test_an_answer_comes_back() -> None:
    response = FORMAT.decode_response(BODY)
    expected = {**BODY, "content": [block for block in BODY["content"] if block["type"] != "container_upload"]}
    assert encoded(response) == expected
    assert response.usage == Usage(1520, 5, cache_read=1000, cache_write_5m=300, cache_write_1h=200)
    assert response.tier == "default"


def test_documents_and_search_results_that_are_cited() -> None:
    text = FORMAT.decode_response(BODY).candidates[0].blocks[2]
    assert isinstance(text, Text)
    page, found = text.citations
    assert (page.kind, page.title, page.file_id, page.url) == ("document", "T", "f", None)
    assert (found.kind, found.title, found.url) == ("search_result", "S", "https://s.example")


@pytest.mark.parametrize("name", streams.COMPLETE)
def test_a_stream_and_a_whole_answer_say_the_same(name: str) -> None:
    decoder = MessagesStreamDecoder(full=True, model=None)
    frames = decoder.feed(stream(streams.COMPLETE[name])) + decoder.close()
    folded = fold([event for frame in frames for event in frame.events])
    body = encoded(folded)
    Message.model_validate(body)
    again = FORMAT.decode_response(body)
    assert again.candidates == folded.candidates
    assert again.usage == folded.usage


@pytest.mark.parametrize("body", [{}, {"content": "x"}, {"content": ["x"]}, {"content": [{"x": 1}]}, {"error": "x"}])
def test_what_is_no_answer(body: dict[str, Any]) -> None:
    with pytest.raises(UpstreamInvalidResponse):
        FORMAT.decode_response(body)


@pytest.mark.parametrize(
    ("reason", "expected"),
    [("end_turn", "stop"), ("refusal", "refusal"), ("pause_turn", "pause"), (None, "unknown"), ("new", "unknown")],
)
def test_endings(reason: str | None, expected: str) -> None:
    body = {**BODY, "content": [], "stop_reason": reason}
    assert FORMAT.decode_response(body).candidates[0].finish == expected


def test_a_call_at_the_end_turn_is_to_be_run() -> None:
    assert FORMAT.decode_response({**BODY, "stop_reason": "end_turn"}).candidates[0].finish == "tool_calls"


def test_no_text_at_all() -> None:
    assert encoded(answer(Text("")))["content"] == []


def test_ids() -> None:
    assert encoded(answer())["id"] == "msg_1"
    foreign = encoded(replace(answer(), id="chatcmpl-1"))
    assert foreign["id"] == encoded(replace(answer(), id="resp_1"))["id"]
    assert len(foreign["id"]) == len("msg_") + 24


def test_the_prompt_was_blocked() -> None:
    body = encoded(Response(usage=Usage(7, 0), prompt_block="SAFETY"))
    assert body["content"] == []
    assert body["stop_reason"] == "refusal"
    assert body["stop_details"] == {"type": "refusal", "category": None, "explanation": None}
    Message.model_validate(body)


def test_a_refusal_in_words() -> None:
    body = encoded(answer(Refusal("No."), finish="refusal"))
    assert (body["content"], body["stop_reason"]) == ([{"type": "text", "text": "No."}], "refusal")
    assert "stop_details" not in body


def test_usage_is_estimated_where_nobody_told() -> None:
    usage = encoded(replace(answer(Text("Hello there")), usage=None))["usage"]
    assert usage["input_tokens"] == 7
    assert usage["output_tokens"] > 1


@pytest.mark.parametrize(
    ("call", "finish", "expected"),
    [
        (ToolCall("c", "f", '{"a":1,"b":"unfinis'), "length", {"a": 1}),
        (ToolCall("c", "f", '{"a":1,"b":"unfinis'), "stop", {"_malformed_arguments": '{"a":1,"b":"unfinis'}),
        (ToolCall("c", "f", ""), "tool_calls", {}),
        (ToolCall("c", "f", "[1]"), "tool_calls", {"input": [1]}),
        (ToolCall("c", "f", 'a "b"', "custom"), "tool_calls", {"input": 'a "b"'}),
    ],
)
def test_arguments(call: ToolCall, finish: str, expected: Any) -> None:
    assert encoded(answer(call, finish=finish))["content"][0]["input"] == expected


def test_the_signature_of_a_call_joins_the_reasoning_before_it() -> None:
    signature = ReasoningOpaque("oa1.gemini.Y", "google-gemini-v1")
    call = ToolCall("c", "f", "{}", opaque=signature)
    thought = Reasoning((ReasoningText("x"),))
    signed = Reasoning((ReasoningText("x"),), ReasoningOpaque("EqQB", VENDOR))
    assert [block.get("signature") for block in encoded(answer(thought, call))["content"]] == ["oa1.gemini.Y", None]
    assert [block.get("signature") for block in encoded(answer(signed, call))["content"]] == [
        "EqQB",
        "oa1.gemini.Y",
        None,
    ]


def test_citations_without_an_address_are_lost() -> None:
    citations = (Citation("file", file_id="f"), Citation("url", url="https://e.org", title="E", start=0, end=1))
    (block,) = encoded(answer(Text("x", citations)))["content"]
    assert [citation["url"] for citation in block["citations"]] == ["https://e.org"]


def test_counting() -> None:
    counting = replace(CALL, operation="count_tokens")
    response = FORMAT.decode_response({"input_tokens": 12})
    assert encoded(response, counting) == {"input_tokens": 12}
    assert encoded(Response(), counting) == {"input_tokens": 7}
    assert FORMAT.read_usage({"input_tokens": 12}) is None


def test_text_bytes_and_usage_of_an_answer() -> None:
    assert FORMAT.answer_said(BODY).text_bytes == len("Add.4code_execution") + 12 + len('f{"b":1,"a":"ä"}'.encode())
    assert FORMAT.answer_said({}).text_bytes == 0
    usage = FORMAT.read_usage(BODY)
    assert usage is not None
    assert usage.total_tokens == 1525


@settings(deadline=None)
@given(responses())
def test_whatever_is_said_the_official_type_takes_it(response: Response) -> None:
    Message.model_validate(encoded(response))


ANSWER_BLOCKS = st.one_of(
    st.builds(Text, st.text(min_size=1, max_size=5)),
    st.builds(
        Reasoning,
        st.just((ReasoningText("x"),)),
        st.none() | st.just(ReasoningOpaque("EqQB", VENDOR)),
    ),
    st.just(Reasoning((), ReasoningOpaque("AAAA", VENDOR, "encrypted"))),
    st.just(Reasoning((), ReasoningOpaque("EqQB", VENDOR))),
)


@settings(deadline=None)
@given(
    st.lists(ANSWER_BLOCKS, max_size=4),
    st.sampled_from(["stop", "length", "refusal", "pause", "context_window"]),
    st.none() | st.just("default"),
)
def test_answers_of_this_format_come_back(blocks: list[Any], finish: Any, tier: str | None) -> None:
    response = answer(*blocks, finish=finish, tier=tier)
    assert FORMAT.decode_response(encoded(response)) == response


# Errors.


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (InvalidRequest("x", param="model"), "invalid_request_error"),
        (Unauthorized("x"), "authentication_error"),
        (InsufficientUserQuota("x"), "billing_error"),
        (GatewayError("x", status=403), "permission_error"),
        (ModelNotFound("x"), "not_found_error"),
        (GatewayError("x", status=408), "timeout_error"),
        (GatewayError("x", status=409), "conflict_error"),
        (GatewayError("x", status=413), "request_too_large"),
        (GatewayError("x", status=422), "invalid_request_error"),
        (GatewayError("x", status=418), "invalid_request_error"),
        (RateLimited("x"), "rate_limit_error"),
        (GatewayError("x"), "api_error"),
        (GatewayError("x", status=501), "api_error"),
        (UpstreamError("x"), "api_error"),
        (GatewayError("x", status=503), "overloaded_error"),
        (GatewayError("x", status=529), "overloaded_error"),
        (GatewayError("x", status=504), "timeout_error"),
    ],
)
def test_error_envelopes(error: GatewayError, kind: str) -> None:
    body = FORMAT.encode_error(error, request_id="r1")
    assert body == {
        "type": "error",
        "error": {"type": kind, "message": "x (request id: r1)", "param": error.param, "code": error.code},
        "request_id": "r1",
    }
    data = FORMAT.encode_stream_error(error, request_id="")
    name, line, *_ = data.split(b"\n")
    assert name == b"event: error"
    assert json.loads(line.removeprefix(b"data: "))["error"]["message"] == "x"


def test_clients_look_for_the_words_of_a_prompt_that_is_too_long() -> None:
    error = UpstreamError("max 8192 tokens", status=400, code="context_length_exceeded")
    assert FORMAT.encode_error(error, request_id="")["error"]["message"] == "prompt is too long: max 8192 tokens"


@pytest.mark.parametrize(
    ("status", "kind", "message", "code", "type"),
    [
        (400, "invalid_request_error", "No", "upstream_error", "invalid_request_error"),
        (400, "invalid_request_error", "prompt is too long: 9 > 8", "context_length_exceeded", "invalid_request_error"),
        (404, "not_found_error", "model: x", "model_not_found", "invalid_request_error"),
        (529, "overloaded_error", "Overloaded", "overloaded", "server_error"),
        (500, "api_error", "Oops", "upstream_error", "server_error"),
    ],
)
def test_errors_of_upstreams(status: int, kind: str, message: str, code: str, type: str) -> None:
    body = json.dumps({"type": "error", "error": {"type": kind, "message": message}}).encode()
    error = FORMAT.read_error(status, body)
    assert error is not None
    assert (error.status, error.message, error.code, error.type) == (status, message, code, type)


def test_answers_that_are_no_errors() -> None:
    assert FORMAT.read_error(200, json.dumps(BODY).encode()) is None
    assert FORMAT.read_error(200, b'{"input_tokens":1}') is None
    assert FORMAT.read_error(200, b'{"type":"error","error":{"type":"api_error","message":"x"}}') is not None
