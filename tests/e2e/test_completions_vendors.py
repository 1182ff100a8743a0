"""Text completions over strict stand-ins of every vendor: what is billed is what the vendors counted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import openai
import pytest

from tests.e2e.test_matrix import FORMATS, MODELS, alias, channel
from tests.support import servers
from tests.support.serving import Site, site
from tests.vendors.app import Vendor
from tests.vendors.scripting import Json
from tests.vendors.server import vendor_server

World = tuple[Site, dict[str, Vendor], openai.AsyncOpenAI]


@pytest.fixture(scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        url = await servers.migrated_database("sqlite", tmp_path_factory.mktemp("completions"))
        gateway = await stack.enter_async_context(site(url, fan_out_n=True))
        vendors = {name: await stack.enter_async_context(vendor_server(name)) for name in FORMATS}
        for name, vendor in vendors.items():
            await gateway.add_channel(vendor.url, **channel(name))
        sdk = openai.AsyncOpenAI(base_url=gateway.base + "/v1", api_key=gateway.key, max_retries=0)
        yield gateway, vendors, await stack.enter_async_context(sdk)


PAIRS = [(name, model) for name in FORMATS for model in MODELS[name]]


@pytest.mark.parametrize("as_stream", [False, True])
@pytest.mark.parametrize(("name", "model"), PAIRS)
async def test_prompts_times_answers(world: World, name: str, model: str, as_stream: bool) -> None:
    gateway, vendors, client = world
    counted = vendors[name].ledger
    before = set(counted)
    each = 1 if name == "gemini" else 2  # its stand-in gives one, however many it is asked for
    fields: Json = {"prompt": ["hello", "goodbye"], "n": each, "max_tokens": 3000, "echo": True}
    texts, usage = await ask(client, as_stream, model=alias(name, model), **fields)
    expected_texts = [f"{word}You said: {word}." for word in ("hello", "goodbye") for _ in range(each)]
    assert texts == dict(enumerate(expected_texts))
    new = [counted[key] for key in counted if key not in before]
    expected = (sum(tokens.input for tokens in new), sum(tokens.output for tokens in new))
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens) == expected
    row = (await gateway.get("/api/log/", p=0))[0]
    assert (row["prompt_tokens"], row["completion_tokens"]) == expected
    assert not await gateway.gateway.ledger.audit()


async def ask(client: openai.AsyncOpenAI, as_stream: bool, **fields: Any) -> tuple[dict[int, str], Any]:
    if not as_stream:
        answer = await client.completions.create(**fields)
        return {choice.index: choice.text for choice in answer.choices}, answer.usage
    texts: dict[int, str] = {}
    usage = None
    async for event in await client.completions.create(**fields, stream=True, stream_options={"include_usage": True}):
        usage = event.usage or usage
        for choice in event.choices:
            texts[choice.index] = texts.get(choice.index, "") + choice.text
    return texts, usage
