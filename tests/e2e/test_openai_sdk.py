"""The official SDK as client: what the upstream sent arrives field for field, and errors are errors it knows."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest

from tests.support.hostile import unused_port
from tests.support.serving import Site
from tests.support.vendor import USAGE, Vendor, buffered, chunk, chunks, completion, stream

MESSAGES: Any = [{"role": "user", "content": "hello"}]
TOOLS: Any = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        },
    }
]


@pytest.fixture
async def client(gateway: Site) -> AsyncIterator[openai.AsyncOpenAI]:
    async with sdk(gateway, gateway.key) as ready:
        yield ready


def sdk(gateway: Site, key: str) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=gateway.base + "/v1", api_key=key, max_retries=0)


UNKNOWN = {
    "x_vendor": {"trace": [1, None, "ü"], "nested": {"deep": True}},
    "system_fingerprint": "fp_1",
    "service_tier": "default",
}


async def test_completion(client: openai.AsyncOpenAI, upstream: Vendor) -> None:
    sent = completion(**UNKNOWN)
    sent["choices"][0]["message"] |= {"refusal": None, "annotations": [], "x_mood": "sunny"}
    upstream.answer = buffered(sent)
    answer = await client.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES)
    assert answer.to_dict() == sent


async def test_request_reaches_the_upstream_field_for_field(client: openai.AsyncOpenAI, upstream: Vendor) -> None:
    await client.chat.completions.create(
        model="gpt-4o-mini",
        messages=MESSAGES,
        temperature=0.5,
        logit_bias={"50256": -100},
        extra_body={"x_unknown": {"kept": [1, 2.5, "ü"]}, "top_k": 40},
        extra_headers={"x-secret-of-client": "1", "cookie": "session=1"},
    )
    assert upstream.body() == {
        "model": "gpt-4o-mini",
        "messages": MESSAGES,
        "temperature": 0.5,
        "logit_bias": {"50256": -100},
        "x_unknown": {"kept": [1, 2.5, "ü"]},
        "top_k": 40,
    }
    received = {name.lower(): value for name, value in upstream.requests[-1].headers}
    assert received["authorization"] == "Bearer sk-mock-upstream"
    assert not received.keys() & {"cookie", "x-secret-of-client", "x-stainless-lang"}


async def test_stream(client: openai.AsyncOpenAI, upstream: Vendor) -> None:
    sent = [{**event, **UNKNOWN} for event in chunks("Hel", "lo ", "\U0001f600", "\u2028end")]
    upstream.answer = stream(sent)
    answer = await client.chat.completions.create(
        model="gpt-4o-mini", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
    )
    assert [event.to_dict() async for event in answer] == sent


async def test_usage_nobody_asked_for_stays_here(client: openai.AsyncOpenAI, upstream: Vendor, gateway: Site) -> None:
    sent = chunks("hello")
    upstream.answer = stream(sent)
    answer = await client.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES, stream=True)
    assert [event.to_dict() async for event in answer] == sent[:-1]
    assert upstream.body()["stream_options"] == {"include_usage": True}
    row = (await gateway.get("/api/log/", p=0))[0]
    assert (row["prompt_tokens"], row["completion_tokens"]) == (11, 7)


def tool_message() -> dict[str, Any]:
    call = {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city":"Paris"}'}}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


async def test_tool_call(client: openai.AsyncOpenAI, upstream: Vendor) -> None:
    sent = completion()
    sent["choices"] = [{"index": 0, "message": tool_message(), "finish_reason": "tool_calls", "logprobs": None}]
    upstream.answer = buffered(sent)
    answer = await client.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES, tools=TOOLS)
    assert answer.to_dict() == sent
    assert upstream.body()["tools"] == TOOLS


async def test_streamed_parallel_tool_calls(client: openai.AsyncOpenAI, upstream: Vendor) -> None:
    def part(index: int, **function: str) -> dict[str, Any]:
        begin = {"id": f"call_{index}", "type": "function"} if "name" in function else {}
        return chunk({"tool_calls": [{"index": index, **begin, "function": function}]})

    sent = [
        chunk({"role": "assistant", "content": None}),
        part(0, name="get_weather", arguments=""),
        part(0, arguments='{"city":'),
        part(1, name="get_weather", arguments=""),
        part(0, arguments='"Paris"}'),
        part(1, arguments='{"city":"Oslo"}'),
        chunk({}, "tool_calls"),
        chunk(usage=USAGE),
    ]
    upstream.answer = stream(sent)
    answer = await client.chat.completions.create(
        model="gpt-4o-mini", messages=MESSAGES, tools=TOOLS, stream=True, stream_options={"include_usage": True}
    )
    assert [event.to_dict() async for event in answer] == sent


async def test_wrong_key(gateway: Site, upstream: Vendor) -> None:
    async with sdk(gateway, "sk-" + "x" * 48) as client:
        with pytest.raises(openai.AuthenticationError) as caught:
            await client.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES)
    check_envelope(caught.value, code="invalid_api_key")
    assert not upstream.requests


async def test_exhausted_token(gateway: Site, upstream: Vendor) -> None:
    token = await gateway.add_token(remain_quota=0)
    async with sdk(gateway, token["key"]) as client:
        with pytest.raises(openai.AuthenticationError) as caught:
            await client.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES)
    check_envelope(caught.value, code="token_exhausted")
    assert not upstream.requests


async def test_token_that_cannot_pay_this_request(gateway: Site, upstream: Vendor) -> None:
    token = await gateway.add_token(remain_quota=1)
    async with sdk(gateway, token["key"]) as client:
        with pytest.raises(openai.PermissionDeniedError) as caught:
            await client.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES, max_tokens=1000)
    check_envelope(caught.value, code="pre_consume_token_quota_failed", kind="insufficient_quota")
    assert not upstream.requests


async def test_unknown_model(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.InternalServerError) as caught:
        await client.chat.completions.create(model="no-such-model", messages=MESSAGES)
    assert caught.value.status_code == 503
    assert "No available channels for Model no-such-model under Group default" in caught.value.message
    check_envelope(caught.value, code="no_channel_available")


async def test_malformed_body(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await client.chat.completions.create(model="gpt-4o-mini", messages="hello")  # type: ignore[arg-type]
    check_envelope(caught.value, kind="invalid_request_error", param="messages")


async def test_body_that_is_not_json(gateway: Site) -> None:
    headers = {"authorization": f"Bearer {gateway.key}", "content-type": "application/json"}
    answer = await gateway.http.post(gateway.base + "/v1/chat/completions", content=b'{"model":', headers=headers)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["type"], error["code"]) == ("invalid_request_error", "invalid_json")
    assert answer.headers["x-oneapi-request-id"] in error["message"]


async def test_dead_upstream(gateway: Site, client: openai.AsyncOpenAI) -> None:
    await gateway.add_channel(f"http://127.0.0.1:{unused_port()}", models="gpt-4o", name="dead")
    before = (await gateway.get("/api/user/self"))["quota"]
    with pytest.raises(openai.InternalServerError) as caught:
        await client.chat.completions.create(model="gpt-4o", messages=MESSAGES)
    assert caught.value.status_code == 500
    check_envelope(caught.value, code="do_request_failed")
    assert (await gateway.get("/api/user/self"))["quota"] == before


async def test_upstream_refuses(client: openai.AsyncOpenAI, upstream: Vendor, gateway: Site) -> None:
    refusal = {"message": "Unknown parameter: 'x'.", "type": "invalid_request_error", "param": "x", "code": "unknown"}
    upstream.answer = buffered({"error": refusal}, status=b"400 Bad Request")
    before = (await gateway.get("/api/user/self"))["quota"]
    with pytest.raises(openai.BadRequestError) as caught:
        await client.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES)
    check_envelope(caught.value, code="unknown", kind="invalid_request_error", param="x")
    assert (await gateway.get("/api/user/self"))["quota"] == before


async def test_cut_stream_is_an_error(client: openai.AsyncOpenAI, upstream: Vendor) -> None:
    upstream.answer = stream(chunks("Hel", "lo")[:-2], done=False)
    answer = await client.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES, stream=True)
    texts: list[str | None] = []
    with pytest.raises(openai.APIError):
        await collect(answer, texts)
    assert texts == ["", "Hel", "lo"]


async def collect(answer: openai.AsyncStream[Any], texts: list[str | None]) -> None:
    async for event in answer:
        texts.append(event.choices[0].delta.content)


async def test_models(client: openai.AsyncOpenAI) -> None:
    assert [model.id async for model in client.models.list()] == ["gpt-4o-mini"]
    assert (await client.models.retrieve("gpt-4o-mini")).owned_by
    with pytest.raises(openai.NotFoundError):
        await client.models.retrieve("no-such-model")


def check_envelope(error: openai.APIStatusError, **expected: str) -> None:
    """The SDK reads message, type, param and code; the request id is in message and header."""
    body: Any = error.body
    names = {"kind": "type"}
    assert {names.get(name, name): body[names.get(name, name)] for name in expected} == {
        names.get(name, name): value for name, value in expected.items()
    }
    assert error.response.headers["x-oneapi-request-id"] in error.message
