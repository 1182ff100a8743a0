"""Official SDKs name files by URL, and models that take data alone see them."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anthropic
import httpx2
import openai
import pytest
from google import genai
from google.genai import types

from oneapi_mw.store.dsn import DatabaseUrl
from tests.support.hostile import HostileServer, Peer, message, serve
from tests.support.images import PDF, PNG
from tests.support.serving import Site, site
from tests.vendors.app import KEY, Vendor
from tests.vendors.server import vendor_server

MODEL = "gemini-2.0-flash"
FILES = {"/a.png": message(PNG, b"content-type: image/png"), "/a.pdf": message(PDF)}
MISSING = message(b"<html>", b"content-type: text/html", status=b"404 Not Found")


@pytest.fixture
async def files() -> AsyncIterator[HostileServer]:
    async def script(peer: Peer) -> None:
        while request := await peer.request():
            await peer.send(FILES.get(request.target, MISSING))

    async with serve(script) as server:
        yield server


@pytest.fixture
async def gemini() -> AsyncIterator[Vendor]:
    async with vendor_server("gemini") as vendor:
        yield vendor


@asynccontextmanager
async def gateway_for(database: DatabaseUrl, vendor: Vendor, **changes: Any) -> AsyncIterator[Site]:
    async with site(database, **changes) as ready:
        config = json.dumps({"unknown_model_policy": "free"})
        await ready.add_channel(vendor.url, type=24, key=KEY, models=MODEL, config=config)
        yield ready


Ask = Callable[[Site, str], Awaitable[str | None]]


async def of_chat(gateway: Site, url: str) -> str | None:
    async with openai.AsyncOpenAI(base_url=gateway.base + "/v1", api_key=gateway.key, max_retries=0) as client:
        content: Any = [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": url}}]
        got = await client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": content}])
        return got.choices[0].message.content


async def of_responses(gateway: Site, url: str) -> str | None:
    async with openai.AsyncOpenAI(base_url=gateway.base + "/v1", api_key=gateway.key, max_retries=0) as client:
        content: Any = [{"type": "input_text", "text": "look"}, {"type": "input_file", "file_url": url}]
        got = await client.responses.create(model=MODEL, input=[{"role": "user", "content": content}])
        return got.output_text


async def of_messages(gateway: Site, url: str) -> str | None:
    async with anthropic.AsyncAnthropic(base_url=gateway.base, api_key=gateway.key, max_retries=0) as client:
        content: Any = [{"type": "text", "text": "look"}, {"type": "document", "source": {"type": "url", "url": url}}]
        got = await client.messages.create(model=MODEL, max_tokens=99, messages=[{"role": "user", "content": content}])
        return "".join(block.text for block in got.content if block.type == "text")


async def of_gemini(gateway: Site, url: str) -> str | None:
    transport = {"transport": httpx2.AsyncHTTPTransport()}
    options = types.HttpOptions(base_url=gateway.base, async_client_args=transport)
    async with genai.Client(api_key=gateway.key, http_options=options).aio as client:
        part = types.Part.from_uri(file_uri=url, mime_type="image/png")
        return (await client.models.generate_content(model=MODEL, contents=["look", part])).text


@pytest.mark.parametrize(
    ("ask", "path", "body"),
    [(of_chat, "/a.png", PNG), (of_responses, "/a.pdf", PDF), (of_messages, "/a.pdf", PDF), (of_gemini, "/a.png", PNG)],
    ids=["chat", "responses", "messages", "gemini"],
)
async def test_a_model_without_urls_gets_the_data(
    sqlite_url: DatabaseUrl, files: HostileServer, gemini: Vendor, ask: Ask, path: str, body: bytes
) -> None:
    allowed = (files.url.removeprefix("http://"),)
    async with gateway_for(sqlite_url, gemini, user_content_request_allowlist=allowed) as gateway:
        assert "You said: look." in (await ask(gateway, files.url + path) or "")
    parts = [part for content in gemini.requests[0].body["contents"] for part in content["parts"]]
    data = [part["inlineData"]["data"] for part in parts if "inlineData" in part]
    assert data == [base64.b64encode(body).decode()]
    [fetched] = files.received
    assert not {"authorization", "x-api-key", "x-goog-api-key", "cookie"} & {
        name.lower() for name, _ in fetched.headers
    }


async def test_this_machine_is_closed_unless_it_is_opened(
    sqlite_url: DatabaseUrl, files: HostileServer, gemini: Vendor
) -> None:
    async with gateway_for(sqlite_url, gemini) as gateway:
        before = (await gateway.get("/api/user/self"))["quota"]
        with pytest.raises(openai.BadRequestError) as refused:
            await of_chat(gateway, files.url + "/a.png")
        assert refused.value.code == "url_not_allowed"
        assert refused.value.param == "messages[0].content[1].image_url.url"
        with pytest.raises(anthropic.BadRequestError) as refused_messages:
            await of_messages(gateway, files.url.replace("http", "https") + "/a.pdf")
        assert "messages[0].content[1].source.url" in str(refused_messages.value)
        assert (await gateway.get("/api/user/self"))["quota"] == before
    assert not files.peers
    assert not gemini.requests


@pytest.mark.parametrize("switch", [{"user_content_request_enabled": False}, {"max_inline_image_size_mb": 0}])
async def test_switched_off(
    sqlite_url: DatabaseUrl, files: HostileServer, gemini: Vendor, switch: dict[str, Any]
) -> None:
    allowed = (files.url.removeprefix("http://"),)
    async with gateway_for(sqlite_url, gemini, user_content_request_allowlist=allowed, **switch) as gateway:
        with pytest.raises(openai.BadRequestError, match="does not fetch files") as refused:
            await of_chat(gateway, files.url + "/a.png")
        assert refused.value.code == "url_not_allowed"
        with pytest.raises(genai.errors.ClientError, match=r"fileData\.file_uri"):
            await of_gemini(gateway, files.url + "/a.png")
    assert not files.peers


async def test_a_missing_file_is_the_clients_affair(
    sqlite_url: DatabaseUrl, files: HostileServer, gemini: Vendor
) -> None:
    allowed = (files.url.removeprefix("http://"),)
    async with gateway_for(sqlite_url, gemini, user_content_request_allowlist=allowed) as gateway:
        with pytest.raises(openai.BadRequestError) as refused:
            await of_chat(gateway, files.url + "/missing.png")
        assert refused.value.code == "url_fetch_failed"
        assert "You said: look." in (await of_chat(gateway, files.url + "/a.png") or "")  # the channel serves on
    assert len(gemini.requests) == 1


async def test_a_channel_may_say_that_it_takes_no_urls(sqlite_url: DatabaseUrl, files: HostileServer) -> None:
    async with vendor_server("openai_chat") as vendor:
        allowed = (files.url.removeprefix("http://"),)
        async with site(sqlite_url, user_content_request_allowlist=allowed) as gateway:
            config = json.dumps({"unknown_model_policy": "free", "inline_urls": True})
            mapping = json.dumps({MODEL: "gpt-4o-mini"})
            await gateway.add_channel(vendor.url, type=50, key=KEY, models=MODEL, model_mapping=mapping, config=config)
            assert "I see image/png" in (await of_chat(gateway, files.url + "/a.png") or "")
    [sent] = vendor.requests
    url = sent.body["messages"][0]["content"][1]["image_url"]["url"]
    assert url == f"data:image/png;base64,{base64.b64encode(PNG).decode()}"


async def test_a_proxy_and_limits_of_the_operator(sqlite_url: DatabaseUrl, gemini: Vendor) -> None:
    asked: list[bytes] = []

    async def script(peer: Peer) -> None:
        asked.append((await peer.reader.readuntil(b"\r\n\r\n")).partition(b"\r\n")[0])
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
        request = await peer.request()
        assert request is not None
        await peer.send(message(PNG if request.target == "/a.png" else PNG + bytes(1024 * 1024)))

    async with serve(script) as proxy:
        changes = {
            "user_content_request_proxy": proxy.url,
            "user_content_request_allow_http": True,
            "user_content_request_timeout": 7,
            "max_inline_image_size_mb": 1,
        }
        async with gateway_for(sqlite_url, gemini, **changes) as gateway:
            assert "You said: look." in (await of_chat(gateway, "http://93.184.216.34/a.png") or "")
            with pytest.raises(openai.BadRequestError, match=r"7 seconds .* at most 1 MiB"):
                await of_chat(gateway, "http://93.184.216.34/large.png")
    assert asked == [b"CONNECT 93.184.216.34:80 HTTP/1.1"] * 2
