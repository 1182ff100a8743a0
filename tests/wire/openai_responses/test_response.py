"""Whole answers, usage, errors and the members of the format."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oneapi_mw.canonical.blocks import (
    Block,
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
from oneapi_mw.canonical.frames import Answer
from oneapi_mw.canonical.response import Candidate, Response
from oneapi_mw.errors import NotFound, UpstreamError, UpstreamInvalidResponse
from oneapi_mw.usage import Usage, with_tools
from oneapi_mw.wire.openai_responses import FORMAT
from oneapi_mw.wire.openai_responses.content import VENDOR
from oneapi_mw.wire.openai_responses.usage import decode_usage, encode_usage
from tests.wire.openai_responses.support import HEAD, Json, call_of, function_item, text_item, usage, whole

STREAM = whole(
    text_item("msg_1", 0, "completed", "Hello."),
    function_item("fc_1", 1, "call_a", "f", "{}"),
    usage=usage(9, 1, 2, 12, 4, 21),
)
BODY: Json = {**STREAM[-1]["response"], "service_tier": "flex", "completed_at": 5}


def test_a_whole_answer() -> None:
    response = FORMAT.decode_response(BODY)
    assert (response.id, response.model, response.created, response.completed) == ("resp_1", "m", 1, 5)
    assert response.tier == "flex"
    assert response.candidates == (
        Candidate((Text("Hello.", item_id="msg_1"), ToolCall("call_a", "f", "{}", item_id="fc_1")), "tool_calls"),
    )
    assert response.usage == Usage(9, 12, 1, 2, reasoning=4, variant="flex")


def test_an_answer_comes_back_as_it_was() -> None:
    again = FORMAT.encode_response(FORMAT.decode_response(BODY), call_of())
    assert {name: again[name] for name in BODY} == BODY


def test_fields_nobody_knows_come_back() -> None:
    body = {**BODY, "input_transformations": [{"id": "x"}]}
    assert FORMAT.encode_response(FORMAT.decode_response(body), call_of())["input_transformations"] == [{"id": "x"}]


cited = st.builds(
    Citation, st.just("url"), st.just("https://e.org"), title=st.just("E"), start=st.just(0), end=st.just(1)
)
texts = st.builds(Text, st.text(min_size=1, max_size=4), st.lists(cited, max_size=1).map(tuple))
opaques = st.builds(ReasoningOpaque, st.text(min_size=1, max_size=4), st.just(VENDOR), st.just("encrypted"))
summaries = st.builds(ReasoningText, st.text(min_size=1, max_size=4), st.just(True))
expressible: st.SearchStrategy[Block] = st.one_of(
    texts,
    st.builds(Refusal, st.text(min_size=1, max_size=4)),
    st.builds(Reasoning, st.tuples(summaries), st.none() | opaques),
    st.builds(Reasoning, st.just(()), opaques),
    st.builds(ToolCall, st.text("ab", min_size=1), st.text("fg", min_size=1), st.just('{"a":1}')),
    st.builds(ToolCall, st.text("ab", min_size=1), st.text("fg", min_size=1), st.text(max_size=4), st.just("custom")),
    st.builds(Image, st.just(Inline("image/png", "iVBORw0KGgo="))),
)


def bare(block: Block) -> Any:
    """A block without the ids and states that only this format gives it."""
    match block:
        case Text():
            return (block.text, block.citations)
        case Refusal():
            return block.text
        case Reasoning():
            return (block.texts, block.opaque and block.opaque.data)
        case ToolCall():
            return (block.id, block.name, block.arguments, block.kind)
        case Image():
            return block.source
        case _:
            raise AssertionError(block)


@given(st.lists(expressible, max_size=5))
def test_what_is_encoded_is_decoded(blocks: list[Block]) -> None:
    response = Response("resp_1", "m", 1, (Candidate(tuple(blocks), "stop"),), Usage(1, 2, reasoning=0))
    body = FORMAT.encode_response(response, call_of())
    again = FORMAT.decode_response(body)
    assert [bare(block) for block in again.candidates[0].blocks] == [bare(block) for block in blocks]
    assert again.usage == with_tools(Usage(1, 2, reasoning=0), FORMAT.read_tools(body))


def test_hosted_items_come_back_as_they_were() -> None:
    item = {"id": "fs_1", "type": "file_search_call", "status": "completed", "queries": ["q"], "results": [
        {"file_id": "f", "filename": "n", "text": "t", "score": 0.5}]}  # fmt: skip
    mcp = {"id": "mcp_1", "type": "mcp_call", "name": "n", "arguments": "{}", "server_label": "s", "output": "o"}
    opaque = {"id": "sh_1", "type": "shell_call", "call_id": "c", "action": {"commands": []}, "status": "completed"}
    body = {**BODY, "output": [item, mcp, opaque]}
    blocks = FORMAT.decode_response(body).candidates[0].blocks
    assert [type(block) for block in blocks] == [HostedCall, HostedResult, HostedCall, HostedResult, Opaque]
    assert FORMAT.encode_response(FORMAT.decode_response(body), call_of())["output"] == [item, mcp, opaque]


@pytest.mark.parametrize("status", ["queued", "in_progress", "cancelled"])
def test_answers_that_are_not_there_yet(status: str) -> None:
    with pytest.raises(UpstreamInvalidResponse):
        FORMAT.decode_response({**BODY, "status": status})
    raw = orjson.dumps({**BODY, "status": status})
    assert FORMAT.read_error(200, raw) is None, "between two of this format it passes"


def test_an_answer_without_output() -> None:
    with pytest.raises(UpstreamInvalidResponse):
        FORMAT.decode_response({"id": "x"})


def test_an_answer_that_failed() -> None:
    body = {**HEAD, "status": "failed", "output": [], "error": {"code": "rate_limit_exceeded", "message": "x"}}
    with pytest.raises(UpstreamError) as caught:
        FORMAT.decode_response(body)
    assert caught.value.status == 429
    error = FORMAT.read_error(200, orjson.dumps(body))
    assert error is not None
    assert error.status == 429


def test_errors_that_are_none_and_errors_that_are() -> None:
    assert FORMAT.read_error(200, orjson.dumps({**BODY, "error": None})) is None
    text = [{"type": "message", "content": [{"type": "output_text", "text": '{"error": "x"} "failed"'}]}]
    assert FORMAT.read_error(200, orjson.dumps({**BODY, "error": None, "output": text})) is None
    found = FORMAT.read_error(200, b'{"output":[],"error":{"message":"sad"}}')
    assert found is not None
    refused = FORMAT.read_error(400, b'{"error":{"message":"sad","code":"x"}}')
    assert refused is not None
    assert refused.status == 400


def test_errors_to_clients() -> None:
    body = FORMAT.encode_error(NotFound("no"), request_id="r")
    assert body["error"]["code"] == "not_found"


def test_the_model_is_restored() -> None:
    answer = FORMAT.restore_model(Answer(FORMAT.name, b"", {"model": "up", "x": 1}), "alias")
    assert orjson.loads(answer.raw) == answer.body == {"model": "alias", "x": 1}
    same = Answer(FORMAT.name, b"raw", {"model": "alias"})
    assert FORMAT.restore_model(same, "alias") is same


def test_members() -> None:
    assert FORMAT.operation_at("/v1/responses") == "chat"
    assert FORMAT.operation_at("/v1/responses/resp_1") is None
    assert FORMAT.upstream_path("chat", model="m", stream=True) == "/v1/responses"
    assert FORMAT.answer_said(BODY).text_bytes == len("Hello.f{}")
    assert FORMAT.read_usage(BODY) == Usage(9, 12, 1, 2, reasoning=4, variant="flex")


# Usage: the worked rows, and lies.


@pytest.mark.parametrize(
    ("record", "told"),
    [
        (Usage(9, 12), usage(9, 0, 0, 12, 0, 21)),
        (Usage(2006, 300, 1920), usage(2006, 1920, 0, 300, 0, 2306)),
        (Usage(31, 62, reasoning=40), usage(31, 0, 0, 62, 40, 93)),
        (Usage(120, 40, reasoning=10, tool_prompt=100), usage(120, 0, 0, 40, 10, 160)),
        (Usage(1000, 50, 896, reasoning=20), usage(1000, 896, 0, 50, 20, 1050)),
    ],
)
def test_worked_rows(record: Usage, told: Json) -> None:
    assert encode_usage(record) == told
    again = decode_usage({"usage": told})
    assert again is not None
    assert encode_usage(again) == told


def test_writes_of_both_terms() -> None:
    told = encode_usage(Usage(1520, 5, 1000, 300, 200))
    assert told["input_tokens_details"]["cache_write_tokens"] == 500
    assert told["total_tokens"] == 1525
    again = decode_usage({"usage": told})
    assert again is not None
    assert (again.cache_write_5m, again.cache_write_1h) == (300, 200)


@pytest.mark.parametrize(
    "told",
    [None, {}, {"input_tokens": "9"}, {"input_tokens": 0, "output_tokens": 0}, {"input_tokens": 10**12}],
)
def test_no_usage(told: Any) -> None:
    assert decode_usage({"usage": told}) is None


def test_parts_never_exceed_their_whole() -> None:
    told = usage(10, 8, 99, 5, 9, 15)
    assert decode_usage({"usage": told}) == Usage(10, 5, 8, 2, reasoning=5)


def test_searches_are_counted_where_nobody_told() -> None:
    search = {"type": "web_search_call", "action": {"type": "search", "query": "q"}}
    opened = {"type": "web_search_call", "action": {"type": "open_page", "url": "u"}}
    body: Json = {"usage": usage(1, 0, 0, 1, 0, 2), "output": [search, search, opened]}
    found = decode_usage(body)
    assert found is not None
    assert found.hosted == (("web_search", 2),)
    told = decode_usage({**body, "tool_usage": {"web_search": {"num_requests": 5}}})
    assert told is not None
    assert told.hosted == (("web_search", 5),)
