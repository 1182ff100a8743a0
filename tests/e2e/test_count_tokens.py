"""Counting tokens with the SDKs that can, without asking anybody and without a bill."""

from __future__ import annotations

import anthropic
import httpx2
from google import genai

from tests.support.serving import Site
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
