"""Counting tokens with the SDKs that can, without asking anybody and without a bill."""

from __future__ import annotations

import anthropic
import httpx2
import openai
import pytest
from google import genai

from oneapi_mw.store.dsn import DatabaseUrl
from tests.support.serving import Site, site
from tests.support.vendor import Vendor


async def test_anthropic(gateway: Site, upstream: Vendor) -> None:
    before = (await gateway.get("/api/user/self"))["quota"]
    async with anthropic.AsyncAnthropic(base_url=gateway.base, api_key=gateway.key, max_retries=0) as client:
        short = await client.messages.count_tokens(
            model="claude-sonnet-4-5", messages=[{"role": "user", "content": "Hi"}]
        )
        long = await client.messages.count_tokens(
            model="claude-sonnet-4-5", messages=[{"role": "user", "content": "Hi " * 1000}]
        )
    assert 0 < short.input_tokens < 50
    assert long.input_tokens > 900
    assert not upstream.requests
    assert (await gateway.get("/api/user/self"))["quota"] == before


async def test_gemini(gateway: Site) -> None:
    transport = {"transport": httpx2.AsyncHTTPTransport()}
    options = genai.types.HttpOptions(base_url=gateway.base, async_client_args=transport)
    client = genai.Client(api_key=gateway.key, http_options=options)
    counted = await client.aio.models.count_tokens(model="gemini-2.5-flash", contents="Hi there")
    assert counted.total_tokens is not None
    assert 0 < counted.total_tokens < 50
    await client.aio.aclose()


async def test_a_key_is_needed(gateway: Site) -> None:
    answer = await gateway.http.post(gateway.base + "/v1/messages/count_tokens", json={"model": "m", "messages": []})
    assert answer.status_code == 401
    assert answer.json()["type"] == "error"


def sdk(gateway: Site) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=gateway.base + "/v1", api_key=gateway.key, max_retries=0)


async def test_responses(gateway: Site, upstream: Vendor) -> None:
    before = (await gateway.get("/api/user/self"))["quota"]
    async with sdk(gateway) as client:
        short = await client.responses.input_tokens.count(model="gpt-4o-mini", input="Hi")
        long = await client.responses.input_tokens.count(
            model="gpt-4o-mini", input=[{"role": "user", "content": "Hi " * 1000}], instructions="Be brief."
        )
    assert short.object == "response.input_tokens"
    assert 0 < short.input_tokens < 50
    assert long.input_tokens > 900
    assert not upstream.requests
    assert (await gateway.get("/api/user/self"))["quota"] == before


async def test_what_a_response_continues_is_counted(gateway: Site, upstream: Vendor) -> None:
    await gateway.add_channel(upstream.url, type=50, models="gpt-4o")  # speaks Chat Completions alone
    async with sdk(gateway) as client:
        first = await client.responses.create(model="gpt-4o", input="Hi " * 500)
        alone = await client.responses.input_tokens.count(model="gpt-4o", input="And now?")
        whole = await client.responses.input_tokens.count(
            model="gpt-4o", input="And now?", previous_response_id=first.id
        )
        again = await client.responses.input_tokens.count(
            model="gpt-4o", input="And now?", previous_response_id=first.id
        )
        with pytest.raises(openai.BadRequestError) as caught:
            await client.responses.input_tokens.count(
                model="gpt-4o", input="x", previous_response_id="resp_oa" + "0" * 32
            )
    assert whole.input_tokens > alone.input_tokens + 450
    assert again == whole  # nothing was kept
    assert caught.value.code == "previous_response_not_found"


async def test_a_conversation_is_counted_and_not_written_to(gateway: Site) -> None:
    async with sdk(gateway) as client:
        talk = await client.conversations.create(items=[{"type": "message", "role": "user", "content": "Hi " * 500}])
        counted = await client.responses.input_tokens.count(model="gpt-4o", input="And now?", conversation=talk.id)
        items = await client.conversations.items.list(talk.id)
    assert counted.input_tokens > 450
    assert len(items.data) == 1


async def test_state_that_is_not_known_cannot_be_counted(sqlite_url: DatabaseUrl) -> None:
    async with site(sqlite_url, response_state_enabled=False) as gateway, sdk(gateway) as client:
        with pytest.raises(openai.BadRequestError) as caught:
            await client.responses.input_tokens.count(model="gpt-4o", input="x", previous_response_id="resp_1")
    assert caught.value.param == "previous_response_id"
