"""Media by URL put into a request where its upstream needs data: once, in all attempts, or not at all."""

from __future__ import annotations

import asyncio
import base64
from dataclasses import replace
from typing import Any

import orjson
import pytest

from oneapi_mw.pipeline import build, default_stages
from oneapi_mw.providers.base import Provider, ProviderSpec
from oneapi_mw.relay import inlining as module
from oneapi_mw.relay.app import Relay, RelayLimits
from oneapi_mw.relay.fetch import Fetcher, FetchLimits
from oneapi_mw.relay.guard import AllowList, Guard
from oneapi_mw.relay.upstream import Timeouts
from oneapi_mw.routing.live import LiveRouter
from oneapi_mw.routing.plan import Candidate
from oneapi_mw.wire.target import ConversionOptions
from tests.relay.stack import (
    HEADERS,
    KEY,
    MODEL,
    PATH,
    PRICE,
    Channels,
    Keys,
    Reply,
    ScriptedUpstream,
    WatchedLedger,
    answer,
    begin,
    buffered,
    channel,
    principal,
)
from tests.support.harness import Exchanged, call
from tests.support.hostile import HostileServer, Peer, message, respond, respond_once, serve
from tests.support.images import PDF, PNG

QUICK = FetchLimits(max_bytes=1 << 20, failure_seconds=0)
DATA = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
INLINE = {"inline_urls": True}


def fetcher(server: HostileServer, limits: FetchLimits = QUICK) -> Fetcher:
    return Fetcher(Guard(AllowList.of([server.url.removeprefix("http://")])), limits=limits)


def stack(
    upstream: ScriptedUpstream,
    ledger: WatchedLedger,
    fetch: Fetcher | None,
    *channels: Any,
    retries: int = 0,
    options: ConversionOptions | None = None,
) -> Any:
    stages = default_stages(
        principals=Keys({KEY: principal()}),
        router=LiveRouter(Channels(channels or [channel(config=INLINE)]), options=options),
        ledger=ledger,
    )
    limits = RelayLimits(Timeouts(), retries=retries)
    return build(Relay(upstream=upstream, limits=limits, fetcher=fetch), stages)


def images(*urls: str) -> list[Any]:
    return [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}} for url in urls]}]


async def ask(app: Any, *urls: str, **query: Any) -> Exchanged:
    body = {"model": MODEL, "messages": images(*urls), "max_tokens": 50}
    return await call(app, "POST", PATH, json=body, headers=HEADERS, **query)


def sent_urls(upstream: ScriptedUpstream, index: int = -1) -> list[str]:
    content = upstream.requests[index].body["messages"][0]["content"]
    return [part["image_url"]["url"] for part in content]


async def test_data_in_place_of_urls() -> None:
    upstream, ledger = ScriptedUpstream(buffered()), WatchedLedger()
    async with serve(respond(message(PNG))) as server:
        got = await ask(stack(upstream, ledger, fetcher(server)), server.url + "/a", DATA, server.url + "/b")
    assert got.status == 200
    assert sent_urls(upstream) == [DATA] * 3
    assert got.headers["x-oneapi-dropped"] == "messages[].image_url.url=emulated"
    assert sorted(request.target for request in server.received) == ["/a", "/b"]
    await ledger.check()


async def test_upstreams_that_take_urls_get_them() -> None:
    upstream = ScriptedUpstream(buffered())
    async with serve(respond(message(PNG))) as server:
        got = await ask(stack(upstream, WatchedLedger(), fetcher(server), channel()), server.url)
    assert sent_urls(upstream) == [server.url]
    assert "x-oneapi-dropped" not in got.headers
    assert not server.peers


async def test_without_a_fetcher_urls_are_left_alone() -> None:
    upstream = ScriptedUpstream(buffered())
    assert (await ask(stack(upstream, WatchedLedger(), None), "https://e.org/a")).status == 200
    assert sent_urls(upstream) == ["https://e.org/a"]


async def test_one_fetch_for_all_attempts_and_places() -> None:
    upstream = ScriptedUpstream(Reply(status=503), Reply(status=500), buffered())
    channels = [channel(1, config=INLINE), channel(2), channel(3, config=INLINE)]
    async with serve(respond(message(PNG))) as server:
        fetch = fetcher(server)
        app = stack(upstream, WatchedLedger(), fetch, *channels, retries=2)
        fetch._recent.keep = lambda *_: None  # type: ignore[method-assign]  # the request remembers by itself
        got = await ask(app, server.url, server.url)
        assert got.status == 200
        assert len(server.received) == 1
        assert [sent_urls(upstream, index)[0] for index in range(3)] == [DATA, server.url, DATA]
        assert upstream.requests[0].body == upstream.requests[2].body
        assert got.headers["x-oneapi-dropped"] == "messages[].image_url.url=emulated"


async def test_what_was_sent_does_not_change_when_the_history_grows() -> None:
    upstream = ScriptedUpstream(buffered(), buffered())
    async with serve(respond(message(PNG))) as server:
        app = stack(upstream, WatchedLedger(), fetcher(server))
        await ask(app, server.url + "/a")
        await ask(app, server.url + "/a", server.url + "/b")
        first, second = (request.body["messages"][0]["content"] for request in upstream.requests)
        assert second[:1] == first
        assert len(server.received) == 2


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        (message(b"", status=b"404 Not Found"), "status"),
        (message(b"<html>"), "type"),
        (message(PNG + bytes(2 << 20)), "size"),
        (message(b"", b"location: http://169.254.169.254/", status=b"302 Found"), "address"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_failure_names_the_part_and_is_nobody_elses_fault(response: bytes, reason: str) -> None:
    upstream, ledger = ScriptedUpstream(), WatchedLedger()

    async def script(peer: Peer) -> None:
        while request := await peer.request():
            await peer.send(message(PNG) if request.target == "/good" else response)

    channels = [channel(1, config=INLINE), channel(2, config=INLINE)]
    async with serve(script) as server:
        app = stack(upstream, ledger, fetcher(server), *channels, retries=1)
        got = await ask(app, server.url + "/good", server.url + "/bad", server.url + "/worse")
    error = got.json()["error"]
    assert (got.status, error["code"], error["type"]) == (400, "url_fetch_failed", "invalid_request_error")
    assert error["param"] == "messages[0].content[1].image_url.url"
    assert error["message"].startswith("messages[0].content[1].image_url.url: no file could be fetched from this URL.")
    assert "127.0.0.1" not in error["message"]
    assert reason == "size" or reason not in error["message"]
    assert got.headers["x-should-retry"] == "false"
    assert not upstream.requests
    assert await ledger.check() == 0


async def test_every_failure_has_the_same_words() -> None:
    texts = set()
    for response in (message(b"", status=b"404 Not Found"), message(b"<html>"), b"", b"SSH-2.0\r\n"):
        async with serve(respond_once(response)) as server:
            got = await ask(stack(ScriptedUpstream(), WatchedLedger(), fetcher(server)), server.url)
        texts.add(got.json()["error"]["message"].partition(" (request")[0])
    assert len(texts) == 1


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/a",
        "https://10.0.0.1/a",
        "ftp://e.org/a",
        "https://u:p@e.org/a",
        "https://e.org:22/a",
        "nonsense",
    ],
)
async def test_urls_that_are_not_fetched(url: str) -> None:
    upstream, ledger = ScriptedUpstream(), WatchedLedger()
    got = await ask(stack(upstream, ledger, Fetcher(limits=QUICK)), url)
    error = got.json()["error"]
    assert (got.status, error["code"]) == (400, "url_not_allowed")
    assert error["param"] == "messages[0].content[0].image_url.url"
    assert url not in error["message"]
    assert await ledger.check() == 0


async def test_switched_off() -> None:
    upstream, ledger = ScriptedUpstream(buffered()), WatchedLedger()
    async with serve(respond(message(PNG))) as server:
        options = ConversionOptions(fetches_urls=False)
        app = stack(upstream, ledger, fetcher(server), options=options)
        got = await ask(app, server.url)
        assert (got.status, got.json()["error"]["code"]) == (400, "url_not_allowed")
        assert got.json()["error"]["param"] == "messages[0].content[0].image_url.url"
        assert "base64" in got.json()["error"]["message"]
        assert (await ask(app, DATA)).status == 200
    assert not server.peers


async def test_strict_conversion_fetches_nothing() -> None:
    async with serve(respond(message(PNG))) as server:
        got = await ask(stack(ScriptedUpstream(), WatchedLedger(), fetcher(server)), server.url, query=b"strict=true")
    assert (got.status, got.json()["error"]["code"]) == (400, "unsupported_parameter")
    assert not server.peers


async def test_too_many_urls() -> None:
    upstream = ScriptedUpstream(buffered())
    async with serve(respond(message(PNG))) as server:
        app = stack(upstream, WatchedLedger(), fetcher(server))
        urls = [f"{server.url}/{number}" for number in range(module.MAX_URLS)]
        assert (await ask(app, *urls, urls[0])).status == 200
        got = await ask(app, *urls, server.url + "/more")
    assert (got.status, got.json()["error"]["code"]) == (400, "url_not_allowed")
    assert len(server.received) == module.MAX_URLS


async def test_all_files_together_have_a_limit() -> None:
    async with serve(respond(message(PNG + bytes(1000)))) as server:
        limits = replace(QUICK, max_bytes=len(PNG) + 1000)
        app = stack(ScriptedUpstream(buffered()), WatchedLedger(), fetcher(server, limits))
        assert (await ask(app, server.url + "/1", server.url + "/2")).status == 200
        got = await ask(app, *(f"{server.url}/{number}" for number in range(3)))
    assert (got.status, got.json()["error"]["code"]) == (400, "url_fetch_failed")


async def test_a_user_over_his_limit_is_told_to_wait() -> None:
    async with serve(respond(message(PNG))) as server:
        app = stack(ScriptedUpstream(), WatchedLedger(), fetcher(server, replace(QUICK, per_minute=1)))
        got = await ask(app, server.url + "/1", server.url + "/2")
    assert (got.status, got.json()["error"]["code"]) == (429, "rate_limited")
    assert int(got.headers["retry-after"]) > 0


async def test_a_client_that_leaves_stops_the_fetch() -> None:
    arrived = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        arrived.set()
        await peer.until_gone()

    upstream, ledger = ScriptedUpstream(), WatchedLedger()
    async with serve(script) as server:
        asking = begin(stack(upstream, ledger, fetcher(server)), messages=images(server.url))
        await arrived.wait()
        asking.client.leave()
        await server.peers[0].gone.wait()
        await asking.end()
    assert not upstream.requests
    assert await ledger.check() == 0


GEMINI_ANSWER = orjson.dumps(
    {
        "candidates": [{"content": {"role": "model", "parts": [{"text": "Hi"}]}, "finishReason": "STOP", "index": 0}],
        "usageMetadata": {"promptTokenCount": 11, "candidatesTokenCount": 7, "totalTokenCount": 18},
    }
)
OLD, NEW = "gemini-2.0-flash", "gemini-2.5-flash"


def gemini_channel() -> Any:
    return channel(type=24, models=(OLD, NEW), model_configs={OLD: PRICE, NEW: PRICE})


def document(url: str) -> dict[str, tuple[str, Any]]:
    """The same PDF as clients of each format name it: path, and body."""
    text = {"role": "user", "content": "Sum it up"}
    file = {"type": "input_file", "file_url": url}
    block = {"type": "document", "source": {"type": "url", "url": url}}
    part = {"fileData": {"fileUri": url, "mimeType": "application/pdf"}}
    return {
        "openai_responses": ("/v1/responses", {"input": [text, {"role": "user", "content": [file]}]}),
        "anthropic_messages": ("/v1/messages", {"max_tokens": 9, "messages": [{"role": "user", "content": [block]}]}),
        "gemini": (f"/v1beta/models/{OLD}:generateContent", {"contents": [{"role": "user", "parts": [part]}]}),
    }


@pytest.mark.parametrize("format", ["openai_responses", "anthropic_messages", "gemini"])
async def test_every_client_reaches_an_old_gemini(format: str) -> None:
    upstream = ScriptedUpstream(Reply((GEMINI_ANSWER,)))
    async with serve(respond(message(PDF))) as server:
        app = stack(upstream, WatchedLedger(), fetcher(server), gemini_channel())
        path, body = document(server.url)[format]
        got = await call(app, "POST", path, json={"model": OLD, **body}, headers=HEADERS)
    assert got.status == 200, got.body
    parts = [part for content in upstream.requests[0].body["contents"] for part in content["parts"]]
    data = {"mimeType": "application/pdf", "data": base64.b64encode(PDF).decode()}
    assert [part["inlineData"] for part in parts if "inlineData" in part] == [data]
    assert "fileData" not in orjson.dumps(parts).decode()


@pytest.mark.parametrize("format", ["openai_responses", "anthropic_messages", "gemini"])
async def test_every_format_says_which_part_failed(format: str) -> None:
    async with serve(respond(message(b"", status=b"404 Not Found"))) as server:
        app = stack(ScriptedUpstream(), WatchedLedger(), fetcher(server), gemini_channel())
        path, body = document(server.url)[format]
        got = await call(app, "POST", path, json={"model": OLD, **body}, headers=HEADERS)
    fields = {
        "openai_responses": "input[1].content[0].file_url",
        "anthropic_messages": "messages[0].content[0].source.url",
        "gemini": "contents[0].parts[0].fileData.fileUri",
    }
    assert got.status == 400
    assert got.json()["error"]["message"].startswith(fields[format] + ": no file could be fetched")
    marks = {"openai_responses": "param", "anthropic_messages": "type", "gemini": "status"}
    assert marks[format] in got.json()["error"]


async def test_a_newer_gemini_fetches_itself() -> None:
    upstream = ScriptedUpstream(Reply((GEMINI_ANSWER,)))
    app = stack(upstream, WatchedLedger(), Fetcher(limits=QUICK), gemini_channel())
    body = {"model": NEW, "messages": images("https://e.org/a.png")}
    assert (await call(app, "POST", PATH, json=body, headers=HEADERS)).status == 200
    file = upstream.requests[0].body["contents"][0]["parts"][0]["fileData"]
    assert file == {"fileUri": "https://e.org/a.png", "mimeType": "image/png"}


async def test_a_document_for_a_chat_only_upstream() -> None:
    upstream = ScriptedUpstream(buffered(answer()))
    async with serve(respond(message(PDF))) as server:
        mapped = channel(model_mapping={MODEL: "gpt-4o"}, model_configs={"gpt-4o": PRICE})
        app = stack(upstream, WatchedLedger(), fetcher(server), mapped)
        path, body = document(server.url)["openai_responses"]
        got = await call(app, "POST", path, json={"model": MODEL, **body}, headers=HEADERS)
    assert got.status == 200
    part = upstream.requests[0].body["messages"][1]["content"][0]
    data = f"data:application/pdf;base64,{base64.b64encode(PDF).decode()}"
    assert part == {"type": "file", "file": {"file_data": data, "filename": "file-1.pdf"}}


@pytest.mark.parametrize(
    ("url_media", "config", "inline_urls"),
    [(True, {}, False), (False, {}, True), (True, INLINE, True), (False, {"inline_urls": False}, False)],
)
def test_the_providers_row_and_the_channel_say_who_takes_urls(
    url_media: bool, config: dict[str, bool], inline_urls: bool
) -> None:
    spec = ProviderSpec(
        999, "x", "https://x.example", ("openai_chat",), frozenset({"chat"}), "https://x.example", url_media
    )
    candidate = Candidate.compiled(channel(config=config), MODEL, None, Provider(spec))  # type: ignore[arg-type]
    assert candidate.routes["openai_chat"].target.options.inline_urls is inline_urls
