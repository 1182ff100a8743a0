"""The official SDKs list the models of one gateway, each in its own shape."""

from __future__ import annotations

from collections.abc import AsyncIterator

import anthropic
import google.genai
import google.genai.errors
import httpx2
import openai
import pytest
from google.genai.types import HttpOptions

from tests.support.serving import Site
from tests.support.vendor import Vendor

WRONG = "sk-" + "x" * 48
MANY = [f"m{number:02}" for number in range(45)]


@pytest.fixture
async def listing(gateway: Site, upstream: Vendor) -> Site:
    """A gateway with models of several vendors."""
    await gateway.add_channel(upstream.url, name="many", models=",".join(["claude-opus-4-7", "gemini-2.5-pro", *MANY]))
    return gateway


NAMES = sorted(["gpt-4o-mini", "claude-opus-4-7", "gemini-2.5-pro", *MANY])


def genai(site: Site, version: str | None, key: str | None = None) -> google.genai.Client:
    transport = httpx2.AsyncHTTPTransport()  # with aiohttp the SDK does what aiohttp warns of
    options = HttpOptions(base_url=site.base, api_version=version, async_client_args={"transport": transport})
    return google.genai.Client(api_key=key or site.key, http_options=options)


@pytest.fixture
async def claude(listing: Site) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with anthropic.AsyncAnthropic(base_url=listing.base, api_key=listing.key, max_retries=0) as client:
        yield client


async def test_openai(listing: Site) -> None:
    async with openai.AsyncOpenAI(base_url=listing.base + "/v1", api_key=listing.key, max_retries=0) as client:
        assert [model.id async for model in client.models.list()] == NAMES
        assert (await client.models.retrieve("gpt-4o-mini")).owned_by == "openai"
        with pytest.raises(openai.NotFoundError) as caught:
            await client.models.retrieve("nope")
    assert caught.value.code == "model_not_found"


async def test_anthropic(claude: anthropic.AsyncAnthropic) -> None:
    page = await claude.models.list()
    assert (len(page.data), page.has_more) == (20, True)
    models = [model async for model in claude.models.list(limit=7)]
    assert [model.id for model in models] == NAMES
    assert {(model.type, model.lifecycle, model.created_at.year) for model in models} == {("model", "active", 1970)}


async def test_anthropic_backwards(claude: anthropic.AsyncAnthropic) -> None:
    pages = [page async for page in (await claude.models.list(before_id="m03", limit=2)).iter_pages()]
    assert [[model.id for model in page.data] for page in pages] == [
        ["m01", "m02"],
        ["gpt-4o-mini", "m00"],
        ["claude-opus-4-7", "gemini-2.5-pro"],
    ]


async def test_anthropic_with_a_bearer_token(listing: Site) -> None:
    async with anthropic.AsyncAnthropic(base_url=listing.base, auth_token=listing.key, max_retries=0) as client:
        assert [model.id async for model in client.models.list()] == NAMES


async def test_one_of_anthropics(claude: anthropic.AsyncAnthropic) -> None:
    model = await claude.models.retrieve("claude-opus-4-7")
    assert (model.id, model.display_name, model.max_tokens) == ("claude-opus-4-7", "claude-opus-4-7", 128_000)


async def test_anthropic_errors(listing: Site, claude: anthropic.AsyncAnthropic) -> None:
    with pytest.raises(anthropic.NotFoundError) as missing:
        await claude.models.retrieve("nope")
    assert missing.value.type == "not_found_error"
    with pytest.raises(anthropic.BadRequestError) as bad:
        await claude.models.list(limit=5000)
    assert bad.value.type == "invalid_request_error"
    async with anthropic.AsyncAnthropic(base_url=listing.base, api_key=WRONG, max_retries=0) as stranger:
        with pytest.raises(anthropic.AuthenticationError) as wrong:
            await stranger.models.list()
    assert wrong.value.type == "authentication_error"


@pytest.mark.parametrize("version", ["v1beta", "v1", None])
async def test_google(listing: Site, version: str | None) -> None:
    async with genai(listing, version).aio as client:
        models = [model async for model in await client.models.list(config={"page_size": 20})]
        assert [model.name for model in models] == [f"models/{name}" for name in NAMES]
        model = await client.models.get(model="gemini-2.5-pro")
    assert (model.name, model.output_token_limit, model.thinking) == ("models/gemini-2.5-pro", 65_536, True)
    assert model.supported_actions == ["generateContent", "countTokens"]


@pytest.mark.parametrize("version", ["v1beta", "v1"])
async def test_google_errors(listing: Site, version: str) -> None:
    async with genai(listing, version).aio as client:
        with pytest.raises(google.genai.errors.ClientError) as missing:
            await client.models.get(model="nope")
    assert (missing.value.code, missing.value.status) == (404, "NOT_FOUND")
    async with genai(listing, version, WRONG).aio as client:
        with pytest.raises(google.genai.errors.ClientError) as wrong:
            await client.models.list()
    assert (wrong.value.code, wrong.value.status) == (401, "UNAUTHENTICATED")
