"""Text completions with the official SDK, over upstreams that know them and upstreams that do not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest

from oneapi_mw.store.dsn import DatabaseUrl
from tests.support.hostile import Peer, Received
from tests.support.serving import Site, site
from tests.support.vendor import USAGE, Answer, Vendor, buffered, chunks, completion, stream


@pytest.fixture
async def client(gateway: Site) -> AsyncIterator[openai.AsyncOpenAI]:
    async with sdk(gateway) as ready:
        yield ready


def sdk(gateway: Site) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=gateway.base + "/v1", api_key=gateway.key, max_retries=0)


async def last_row(gateway: Site) -> dict[str, Any]:
    row: dict[str, Any] = (await gateway.get("/api/log/", p=0))[0]
    return row


def by_prompt(**answers: Answer) -> Answer:
    """Answer as the user's message says."""

    async def answer(peer: Peer, request: Received) -> None:
        name = next(name for name in answers if f'"content":"{name}"'.encode() in request.body)
        await answers[name](peer, request)

    return answer


def says(text: str, prompt: int = 11, output: int = 7) -> Answer:
    body = completion(usage={"prompt_tokens": prompt, "completion_tokens": output, "total_tokens": prompt + output})
    body["choices"][0]["message"]["content"] = text
    return buffered(body)


# Over a chat.


async def test_a_completion(client: openai.AsyncOpenAI, upstream: Vendor, gateway: Site) -> None:
    answer = await client.completions.create(model="gpt-4o-mini", prompt="Once", echo=True, stop="END", user="ada")
    assert answer.object == "text_completion"
    assert answer.id.startswith("cmpl-")
    assert (answer.choices[0].text, answer.choices[0].finish_reason) == ("Oncemock response", "stop")
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (11, 7)
    body = upstream.body()
    assert body["messages"] == [{"role": "user", "content": "Once"}]
    assert 16 in (body.get("max_tokens"), body.get("max_completion_tokens"))
    row = await last_row(gateway)
    assert (row["prompt_tokens"], row["completion_tokens"]) == (11, 7)


async def test_a_stream(client: openai.AsyncOpenAI, upstream: Vendor) -> None:
    upstream.answer = stream(chunks("Hel", "lo ", "\U0001f600"))
    answer = await client.completions.create(
        model="gpt-4o-mini", prompt="Once", stream=True, stream_options={"include_usage": True}
    )
    events = [event async for event in answer]
    finishes: list[str | None] = [choice.finish_reason for event in events for choice in event.choices]
    assert "".join(choice.text for event in events for choice in event.choices) == "Hello \U0001f600"
    assert [word for word in finishes if word is not None] == ["stop"]
    assert events[-1].usage is not None
    assert (events[-1].usage.total_tokens, events[-1].choices) == (18, [])
    assert {event.object for event in events} == {"text_completion"}


async def test_logprobs(client: openai.AsyncOpenAI, upstream: Vendor) -> None:
    top = [{"token": "Hi", "logprob": -0.1, "bytes": [72, 105]}, {"token": "Yo", "logprob": -2.5, "bytes": [89, 111]}]
    body = completion()
    body["choices"][0] |= {"message": {"role": "assistant", "content": "Hi"}}
    body["choices"][0]["logprobs"] = {"content": [{**top[0], "top_logprobs": top}], "refusal": None}
    upstream.answer = buffered(body)
    answer = await client.completions.create(model="gpt-4o-mini", prompt="Once", logprobs=2)
    assert (upstream.body()["logprobs"], upstream.body()["top_logprobs"]) == (True, 2)
    scores = answer.choices[0].logprobs
    assert scores is not None
    assert (scores.tokens, scores.token_logprobs, scores.text_offset) == (["Hi"], [-0.1], [0])
    assert scores.top_logprobs == [{"Hi": -0.1, "Yo": -2.5}]


async def test_a_list_of_prompts(client: openai.AsyncOpenAI, upstream: Vendor, gateway: Site) -> None:
    upstream.answer = by_prompt(A=says("one", 3, 4), B=says("two", 5, 6), C=says("three", 7, 8))
    before = (await gateway.get("/api/user/self"))["request_count"]
    answer = await client.completions.create(model="gpt-4o-mini", prompt=["A", "B", "C"])
    assert [(choice.index, choice.text) for choice in answer.choices] == [(0, "one"), (1, "two"), (2, "three")]
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (15, 18)
    row = await last_row(gateway)
    assert (row["prompt_tokens"], row["completion_tokens"]) == (15, 18)
    assert (await gateway.get("/api/user/self"))["request_count"] == before + 1


async def test_a_list_of_prompts_as_a_stream(client: openai.AsyncOpenAI, upstream: Vendor, gateway: Site) -> None:
    upstream.answer = by_prompt(A=stream(chunks("o", "ne")), B=stream(chunks("t", "wo")))
    answer = await client.completions.create(model="gpt-4o-mini", prompt=["A", "B"], stream=True)
    texts: dict[int, str] = {}
    async for event in answer:
        for choice in event.choices:
            texts[choice.index] = texts.get(choice.index, "") + choice.text
    assert texts == {0: "one", 1: "two"}
    row = await last_row(gateway)
    assert (row["prompt_tokens"], row["completion_tokens"]) == (22, 14)


async def test_a_client_that_leaves_ends_every_call(
    client: openai.AsyncOpenAI, upstream: Vendor, gateway: Site
) -> None:
    gone = [asyncio.Event(), asyncio.Event()]
    never = asyncio.Event()
    upstream.answer = by_prompt(
        A=stream(chunks("x" * 35, "b"), hold=never, hold_after=2, gone=gone[0]),
        B=stream(chunks("y" * 35, "d"), hold=never, hold_after=2, gone=gone[1]),
    )
    answer = await client.completions.create(model="gpt-4o-mini", prompt=["A", "B"], stream=True)
    seen = set()
    async for event in answer:
        seen |= {choice.index for choice in event.choices if choice.text}
        if len(seen) == 2:
            break
    await answer.close()
    async with asyncio.timeout(10):
        await gone[0].wait()
        await gone[1].wait()
        while (await gateway.get("/api/log/", p=0)) == []:
            await asyncio.sleep(0)
    assert (await last_row(gateway))["completion_tokens"] == 20


async def test_one_call_of_several_fails(client: openai.AsyncOpenAI, upstream: Vendor, gateway: Site) -> None:
    refusal = buffered({"error": {"message": "too long", "type": "invalid_request_error"}}, status=b"400 Bad Request")
    first = asyncio.Event()

    async def answered(peer: Peer, request: Received) -> None:
        await says("one")(peer, request)
        first.set()

    async def refused(peer: Peer, request: Received) -> None:
        await first.wait()
        await refusal(peer, request)

    upstream.answer = by_prompt(A=answered, B=refused)
    with pytest.raises(openai.BadRequestError, match="too long"):
        await client.completions.create(model="gpt-4o-mini", prompt=["A", "B"])
    row = await last_row(gateway)
    assert (row["prompt_tokens"], row["completion_tokens"]) == (11, 7)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt": [1, 2]}, "prompt"),
        ({"prompt": "a", "suffix": "b"}, "suffix"),
        ({"prompt": "a", "best_of": 2}, "best_of"),
        ({"prompt": ["a", 1]}, "prompt"),
        ({"prompt": None}, "prompt"),
    ],
    ids=str,
)
async def test_what_a_chat_cannot_be_asked(
    client: openai.AsyncOpenAI, upstream: Vendor, fields: dict[str, Any], param: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await client.completions.create(model="gpt-4o-mini", **fields)
    assert caught.value.param == param
    assert not upstream.requests


async def test_a_prompt_on_the_chat_path(gateway: Site, upstream: Vendor) -> None:
    headers = {"authorization": f"Bearer {gateway.key}"}
    body = {"model": "gpt-4o-mini", "prompt": "hi"}
    answer = await gateway.http.post(gateway.base + "/v1/chat/completions", json=body, headers=headers)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "messages"
    assert "/v1/completions" in answer.json()["error"]["message"]


# Over upstreams of the same format.

NATIVE = {
    "type": 50,
    "models": "base",
    "config": '{"supported_endpoints": ["completions"], "unknown_model_policy": "free"}',
}


async def test_a_native_channel(client: openai.AsyncOpenAI, upstream: Vendor, gateway: Site) -> None:
    await gateway.add_channel(upstream.url, **NATIVE)
    sent = {
        "id": "cmpl-up",
        "object": "text_completion",
        "created": 5,
        "model": "base",
        "choices": [{"index": i, "text": str(i), "logprobs": None, "finish_reason": "stop"} for i in range(2)],
        "usage": {**USAGE, "x_cost": 1.5},
        "x_vendor": [1, None],
    }
    upstream.answer = buffered(sent)
    answer = await client.completions.create(
        model="base", prompt=[[1, 2], [3]], suffix="z", best_of=3, extra_body={"x_unknown": 1}
    )
    assert answer.to_dict() == sent
    assert upstream.requests[-1].target == "/v1/completions"
    assert upstream.body() == {
        "model": "base",
        "prompt": [[1, 2], [3]],
        "suffix": "z",
        "best_of": 3,
        "x_unknown": 1,
    }
    row = await last_row(gateway)
    assert (row["prompt_tokens"], row["completion_tokens"]) == (11, 7)


async def test_a_native_stream(client: openai.AsyncOpenAI, upstream: Vendor, gateway: Site) -> None:
    await gateway.add_channel(upstream.url, **NATIVE, model_mapping='{"base": "upstream-base"}')
    head = {"id": "cmpl-up", "object": "text_completion", "created": 5, "model": "upstream-base"}
    texts = ["a", "b", "\u2028", "d", "e"]
    sent = [{**head, "choices": [{"index": 0, "text": t, "logprobs": None, "finish_reason": None}]} for t in texts]
    sent.append({**head, "choices": [{"index": 0, "text": "", "logprobs": None, "finish_reason": "length"}]})
    usage = {**head, "choices": [], "usage": USAGE}
    upstream.answer = stream([*sent, usage])
    answer = await client.completions.create(model="base", prompt="Once", stream=True)
    assert [event.to_dict() async for event in answer] == [{**event, "model": "base"} for event in sent]
    assert upstream.body()["model"] == "upstream-base"
    assert upstream.body()["stream_options"] == {"include_usage": True}
    row = await last_row(gateway)
    assert (row["prompt_tokens"], row["completion_tokens"]) == (11, 7)


# Several answers.


def claude(text: str) -> dict[str, Any]:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-4-5",
        "content": [{"type": "text", "text": text}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 9, "output_tokens": 2},
    }


async def test_several_answers_from_a_model_that_gives_one(sqlite_url: DatabaseUrl, upstream: Vendor) -> None:
    async with site(sqlite_url, fan_out_n=True) as gateway, sdk(gateway) as client:
        await gateway.add_channel(upstream.url, type=14, models="claude-sonnet-4-5")
        upstream.answer = buffered(claude("hm"))
        chat = await client.chat.completions.create(
            model="claude-sonnet-4-5", messages=[{"role": "user", "content": "hello"}], n=3
        )
        assert [(choice.index, choice.message.content) for choice in chat.choices] == [(n, "hm") for n in range(3)]
        assert chat.usage is not None
        assert (chat.usage.prompt_tokens, chat.usage.completion_tokens) == (27, 6)
        row = await last_row(gateway)
        assert (row["prompt_tokens"], row["completion_tokens"]) == (27, 6)
        text = await client.completions.create(model="claude-sonnet-4-5", prompt=["A", "B"], n=2, stream=True)
        found = {choice.index: choice.text async for event in text for choice in event.choices if choice.text}
        assert found == dict.fromkeys(range(4), "hm")
        row = await last_row(gateway)
        assert (row["prompt_tokens"], row["completion_tokens"]) == (36, 8)


async def test_several_answers_are_refused_unless_the_operator_allows_them(
    client: openai.AsyncOpenAI, upstream: Vendor, gateway: Site
) -> None:
    await gateway.add_channel(upstream.url, type=14, models="claude-sonnet-4-5")
    with pytest.raises(openai.BadRequestError) as caught:
        await client.completions.create(model="claude-sonnet-4-5", prompt="A", n=2)
    assert caught.value.param == "n"
    assert not upstream.requests
