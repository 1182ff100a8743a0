"""What conversion leaves out is said, or refused; what it emulates comes back as it was asked for."""

from __future__ import annotations

from typing import Any

import anthropic
import httpx
import openai
import pytest

from tests.support.serving import Site
from tests.support.vendor import Vendor, chunks, completion, stream
from tests.support.vendor import buffered as answered

MESSAGES: Any = [{"role": "user", "content": "hello"}]
TOP_K = {"model": "gpt-4o-mini", "max_tokens": 50, "top_k": 5, "messages": MESSAGES}


async def messages(gateway: Site, body: Any, *, path: str = "/v1/messages", query: str = "") -> httpx.Response:
    headers = {"x-api-key": gateway.key, "anthropic-version": "2023-06-01"}
    return await gateway.http.post(f"{gateway.base}{path}{query}", json=body, headers=headers)


async def test_what_is_left_out_is_named(gateway: Site, upstream: Vendor) -> None:
    answer = await messages(gateway, TOP_K)
    assert answer.status_code == 200
    assert answer.headers["x-oneapi-dropped"] == "top_k"
    assert "top_k" not in upstream.body()


async def test_a_stream_names_it_too(gateway: Site, upstream: Vendor) -> None:
    upstream.answer = stream(chunks("hello"))
    answer = await messages(gateway, {**TOP_K, "stream": True})
    assert answer.headers["x-oneapi-dropped"] == "top_k"
    assert answer.text.endswith('event: message_stop\ndata: {"type":"message_stop"}\n\n')


async def test_strict_refuses_in_the_clients_envelope(gateway: Site, upstream: Vendor) -> None:
    before = (await gateway.get("/api/user/self"))["quota"]
    answer = await messages(gateway, TOP_K, query="?strict=true")
    assert answer.status_code == 400
    assert answer.json()["type"] == "error"
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert "top_k" in answer.json()["error"]["message"]
    assert not upstream.requests
    assert (await gateway.get("/api/user/self"))["quota"] == before


async def test_same_format_is_never_refused_by_strict(gateway: Site, upstream: Vendor) -> None:
    async with openai.AsyncOpenAI(base_url=gateway.base + "/v1", api_key=gateway.key, max_retries=0) as client:
        await client.chat.completions.create(
            model="gpt-4o-mini", messages=MESSAGES, extra_body={"top_k": 5}, extra_query={"strict": "true"}
        )
    assert upstream.body()["top_k"] == 5


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/v1/responses"])
async def test_a_body_at_the_wrong_path_is_served_in_its_own_format(gateway: Site, upstream: Vendor, path: str) -> None:
    body = {"model": "gpt-4o-mini", "max_tokens": 50, "messages": [{"role": "user", "content": [
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "hello"}},
        {"type": "text", "text": "What does it say?"},
    ]}]}  # fmt: skip
    answer = await messages(gateway, body, path=path)
    assert answer.status_code == 200
    assert answer.json()["type"] == "message"
    assert answer.json()["content"] == [{"type": "text", "text": "mock response"}]


async def test_errors_of_a_misrouted_body_are_in_its_format(gateway: Site) -> None:
    body = {"model": "no-such-model", "max_tokens": 50, "stop_sequences": ["x"], "messages": MESSAGES}
    answer = await messages(gateway, body, path="/v1/chat/completions")
    assert answer.status_code in (503, 529)
    assert answer.json()["type"] == "error"


async def test_mixed_bodies_are_refused(gateway: Site) -> None:
    body = {**TOP_K, "input": "x", "stop_sequences": ["x"], "frequency_penalty": 1}
    answer = await messages(gateway, body, path="/v1/responses")
    assert answer.status_code == 400
    assert "mixes" in answer.json()["error"]["message"]


async def test_a_renamed_tool_comes_back_under_its_own_name(gateway: Site, upstream: Vendor) -> None:
    """Chat Completions allows 64 characters in a tool's name, Messages 128."""
    name = "get_" + "weather_" * 12
    called: list[str] = []

    async def answer(peer: Any, request: Any) -> None:
        sent = upstream.body()["tools"][0]["function"]["name"]
        called.append(sent)
        call = {"id": "call_1", "type": "function", "function": {"name": sent, "arguments": "{}"}}
        message = {"role": "assistant", "content": None, "tool_calls": [call]}
        choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
        await answered(completion(choices=[choice]))(peer, request)

    upstream.answer = answer
    async with anthropic.AsyncAnthropic(base_url=gateway.base, api_key=gateway.key, max_retries=0) as client:
        got = await client.messages.create(
            model="gpt-4o-mini",
            max_tokens=50,
            messages=MESSAGES,
            tools=[{"name": name, "input_schema": {"type": "object", "properties": {}}}],
        )
    assert len(called[0]) <= 64
    assert [block.name for block in got.content if block.type == "tool_use"] == [name]
