"""The relay over real connections, with an upstream that does on the wire what it is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from starlette.types import ASGIApp

from oneapi_mw.middleware.drain import Drain
from oneapi_mw.relay import watch as watch_module
from oneapi_mw.relay.aiohttp_upstream import AiohttpUpstream
from oneapi_mw.relay.app import RelayLimits
from oneapi_mw.relay.http1_upstream import Http1Upstream
from oneapi_mw.relay.httpx_upstream import HttpxUpstream
from oneapi_mw.relay.upstream import Timeouts, Upstream
from tests.relay.stack import (
    COST,
    DONE,
    FIRST,
    WatchedLedger,
    answer,
    ask,
    begin,
    channel,
    chunk,
    gateway,
    stream,
    usage_chunk,
)
from tests.support.hostile import HostileServer, Peer, Script, message, serve, unused_port

JSON = b"content-type: application/json"
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
LAST = b"0\r\n\r\n"
TEXT = chunk({"content": "x" * 350})
SOON = 0.05  # seconds, for the one fault that is a matter of time


def framed(*pieces: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)


def sends(*parts: bytes) -> Script:
    """Answer each request with the same bytes, and keep the connection."""

    async def script(peer: Peer) -> None:
        while await peer.request():
            for part in parts:
                await peer.send(part)

    return script


@asynccontextmanager
async def stack(script: Script, **options: Any) -> AsyncIterator[tuple[ASGIApp, WatchedLedger, HostileServer]]:
    ledger, upstream = WatchedLedger(), options.pop("upstream", None) or Http1Upstream()
    config = options.pop("config", {})
    async with serve(script) as server:
        dead = channel(1, base_url=f"http://127.0.0.1:{unused_port()}")
        channels = [dead] if options.pop("dead_first", False) else []
        channels.append(channel(2, base_url=server.url, config=config))
        try:
            yield gateway(upstream, ledger, channels=channels, **options), ledger, server
        finally:
            await upstream.aclose()


async def test_buffered() -> None:
    async with stack(sends(message(answer(), JSON))) as (app, ledger, server):
        exchanged = await ask(app)
        assert exchanged.body == answer()
        assert await ledger.check() == COST
        (request,) = server.received
        assert (request.method, request.target) == ("POST", "/v1/chat/completions")
        assert request.header("authorization") == "Bearer sk-secret-2"
        assert request.header("accept-encoding") == "identity"


async def test_streams_use_one_connection_again() -> None:
    whole = stream("Hel", "lo!")
    async with stack(sends(HEAD, framed(*whole), LAST)) as (app, ledger, server):
        for _ in range(3):
            exchanged = await ask(app, stream=True, stream_options={"include_usage": True})
            assert exchanged.body == b"".join(whole)
        assert len(server.peers) == 1
        assert [entry.quota for entry in ledger.log] == [COST] * 3


async def test_an_upstream_that_closes_after_done() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(HEAD + framed(*stream("Hello!")))

    async with stack(script) as (app, ledger, _):
        exchanged = await ask(app, stream=True)
        assert exchanged.body.endswith(DONE)
        assert await ledger.check() == COST


def cut(peer: Peer) -> None:
    """End the connection in good order."""


@pytest.mark.parametrize("how", [cut, Peer.reset], ids=["closed", "reset"])
async def test_a_stream_that_is_cut(how: Callable[[Peer], None]) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(HEAD + framed(FIRST, TEXT))
        await relayed.wait()
        how(peer)

    relayed = asyncio.Event()
    async with stack(script, retries=1) as (app, ledger, server):
        asking = begin(app, stream=True)
        await asking.client.until(lambda exchanged: b"xxx" in exchanged.body)
        relayed.set()
        exchanged = await asking.end()
        assert b'"error"' in exchanged.body
        assert b"[DONE]" not in exchanged.body
        assert await ledger.check() == 10 + 400
        assert len(server.received) == 1


async def test_a_stream_that_stalls() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(HEAD + framed(FIRST, TEXT))
        await peer.until_gone()

    async with stack(script, limits=RelayLimits(Timeouts(idle=SOON))) as (app, ledger, server):
        exchanged = await ask(app, stream=True)
        assert b"upstream_timeout" in exchanged.body
        assert await ledger.check() == 10 + 400
        await server.peers[0].gone.wait()


async def test_a_channel_that_is_down_is_passed_over() -> None:
    async with stack(sends(message(answer(), JSON)), retries=1, dead_first=True) as (app, ledger, server):
        assert (await ask(app)).status == 200
        assert len(server.received) == 1
        assert await ledger.check() == COST
        assert ledger.log[0].facts.channel_id == 2


@pytest.mark.parametrize("how", ["leaves", "cancelled"])
@pytest.mark.parametrize("before", [b"", HEAD, HEAD + framed(FIRST, TEXT)], ids=["headers", "first event", "stream"])
async def test_the_upstream_hears_of_a_client_that_left(
    how: str, before: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(before)
        asked.set()
        await peer.until_gone()

    monkeypatch.setattr(watch_module, "GRACE", 0)
    asked = asyncio.Event()
    async with stack(script, retries=1) as (app, ledger, server):
        asking = begin(app, stream=True)
        await asked.wait()
        if TEXT in before:
            await asking.client.until(lambda exchanged: b"xxx" in exchanged.body)
        if how == "leaves":
            asking.client.leave()
        else:
            asking.task.cancel()
        await asking.end()
        await server.peers[0].gone.wait()
        assert len(server.received) == 1
        assert await ledger.check() == (10 + 400 if TEXT in before else 10)


ENGINES: dict[str, Callable[[], Upstream]] = {
    "http1": Http1Upstream,
    "aiohttp": AiohttpUpstream,
    "httpx": lambda: HttpxUpstream(httpx.AsyncHTTPTransport()),
}


@pytest.mark.parametrize("before", [b"", HEAD, HEAD + framed(FIRST, TEXT)], ids=["headers", "first event", "stream"])
@pytest.mark.parametrize("engine", ENGINES)
async def test_the_rest_of_a_stream_is_read_for_a_client_that_left(
    engine: str, before: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the provider charges for it anyway, the connection stays open until its usage is known."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(before)
        asked.set()
        await left.wait()
        await peer.send(whole[len(before) :])
        await peer.until_gone()

    monkeypatch.setattr(watch_module, "GRACE", 0)
    told = {"prompt_tokens": 11, "completion_tokens": 900, "total_tokens": 911}
    whole = HEAD + framed(FIRST, TEXT, TEXT, chunk({}, "stop"), usage_chunk(told), DONE) + LAST
    asked, left, drain = asyncio.Event(), asyncio.Event(), Drain()
    config = {"bills_after_disconnect": True}
    async with stack(script, upstream=ENGINES[engine](), config=config, drain=drain) as (app, ledger, server):
        asking = begin(app, stream=True)
        await asked.wait()
        if TEXT in before:
            await asking.client.until(lambda exchanged: b"xxx" in exchanged.body)
        asking.client.leave()
        await asking.end()
        assert ledger.hold.state == "open"
        left.set()
        assert await drain.finish(60)
        assert await ledger.check() == 11 + 4 * 900
        assert len(server.received) == 1
