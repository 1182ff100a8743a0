"""What both engines of ours promise beyond the contract: exact news about connections, no answer that is not ours."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from oneapi_mw.relay.aiohttp_upstream import AiohttpUpstream
from oneapi_mw.relay.http1_upstream import Http1Upstream
from oneapi_mw.relay.upstream import (
    MAX_INTERIM_RESPONSES,
    BodyCut,
    ClosedBeforeResponse,
    ConnectTimeout,
    InvalidResponse,
    Timeouts,
    TotalTimeout,
    Upstream,
    UpstreamResponse,
)
from tests.support.hostile import Peer, arrival, message, respond, serve

PATIENT = Timeouts(connect=30, first_byte=30, idle=30, total=60)
STREAM_HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


Engine = type[Http1Upstream] | type[AiohttpUpstream]


@pytest.fixture(params=[True, False], ids=["uvloop", "asyncio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    return ("asyncio", {"use_uvloop": request.param})


@pytest.fixture(params=[Http1Upstream, AiohttpUpstream], ids=["http1", "aiohttp"])
def engine(request: pytest.FixtureRequest) -> Engine:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
async def upstream(engine: Engine) -> AsyncIterator[Upstream]:
    upstream = engine()
    yield upstream
    await upstream.aclose()


async def post(upstream: Upstream, url: str, timeouts: Timeouts = PATIENT, body: bytes = b"{}") -> UpstreamResponse:
    return await upstream.send("POST", url, [("content-type", "application/json")], body, timeouts)


async def fetch(upstream: Upstream, url: str) -> bytes:
    response = await post(upstream, url)
    try:
        return await response.read(1 << 20)
    finally:
        await response.aclose()


async def test_a_reused_connection_that_says_nothing_is_reported_as_such(upstream: Upstream) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(message(b"first"))
        await peer.request()

    async with serve(script) as server:
        assert await fetch(upstream, server.url) == b"first"
        with pytest.raises(ClosedBeforeResponse) as caught:
            await post(upstream, server.url)
    assert caught.value.reused
    assert caught.value.dispatched
    assert len(server.peers) == 1


async def test_a_reused_connection_that_has_begun_to_answer_is_not(upstream: Upstream) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(message(b"first"))
        await peer.request()
        await peer.send(b"H")

    async with serve(script) as server:
        assert await fetch(upstream, server.url) == b"first"
        with pytest.raises(ClosedBeforeResponse) as caught:
            await post(upstream, server.url)
    assert not caught.value.reused


async def test_an_answer_nobody_asked_for_is_nobodys_answer(upstream: Upstream) -> None:
    stray = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(message(b"mine"))
        await stray.wait()
        await peer.send(message(b"somebody else's"))
        await peer.until_gone()

    async with serve(script) as server:
        assert await fetch(upstream, server.url) == b"mine"
        stray.set()
        await arrival()
        assert await fetch(upstream, server.url) == b"mine"
        await server.peers[0].gone.wait()
    assert len(server.peers) == 2


async def test_two_answers_in_one_segment(upstream: Upstream) -> None:
    async with serve(respond(message(b"mine") + message(b"somebody else's"))) as server:
        assert await fetch(upstream, server.url) == b"mine"
        assert await fetch(upstream, server.url) == b"mine"
    assert len(server.peers) == 2


async def test_interim_responses_have_an_end(upstream: Upstream) -> None:
    interim = b"HTTP/1.1 102 Processing\r\n\r\n"
    async with serve(respond(interim * MAX_INTERIM_RESPONSES + message(b"hello"))) as server:
        assert await fetch(upstream, server.url) == b"hello"
    async with serve(respond(interim * (MAX_INTERIM_RESPONSES + 1) + message(b"hello"))) as server:
        with pytest.raises(InvalidResponse):
            await post(upstream, server.url)


async def test_waiting_for_a_place_counts_as_connecting(engine: Engine) -> None:
    upstream = engine(connections_per_host=1)

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(STREAM_HEAD)
        await peer.until_gone()

    async with serve(script) as server:
        first = await post(upstream, server.url)
        with pytest.raises(ConnectTimeout) as caught:
            await post(upstream, server.url, Timeouts(connect=0.05))
        assert not caught.value.dispatched

        second = asyncio.create_task(post(upstream, server.url))
        await asyncio.sleep(0)
        await first.aclose()
        await (await second).aclose()
        await upstream.aclose()
    assert len(server.peers) == 2


async def test_the_total_limit_holds_while_nobody_reads(upstream: Upstream) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(STREAM_HEAD + b"1\r\na\r\n")
        await peer.until_gone()

    async with serve(script) as server:
        response = await post(upstream, server.url, Timeouts(total=0.5))
        await server.peers[0].gone.wait()
        with pytest.raises(TotalTimeout):
            await response.read(1)


async def test_a_complete_answer_outlives_the_total_limit(upstream: Upstream) -> None:
    async with serve(respond(message(b"hello"))) as server:
        response = await post(upstream, server.url, Timeouts(total=0.2))
        await asyncio.sleep(0.3)  # longer than the limit: no event tells that nothing happened
        assert await response.read(5) == b"hello"
        await response.aclose()


async def test_an_answer_that_comes_before_the_request_is_written(upstream: Upstream) -> None:
    async def script(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        await peer.send(message(b"too large", status=b"413 Content Too Large"))
        await peer.until_gone()

    async with serve(script) as server:
        response = await post(upstream, server.url, body=bytes(30_000_000))
        assert response.status == 413
        assert await response.read(100) == b"too large"
        await response.aclose()
        await server.peers[0].gone.wait()


async def test_a_chunk_that_breaks_right_behind_the_headers(upstream: Upstream) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        peer.writer.write(STREAM_HEAD)
        await asyncio.sleep(0)
        await peer.send(b"zz\r\n")
        await peer.until_gone()

    async with serve(script) as server:
        with pytest.raises((InvalidResponse, BodyCut)):
            await fetch(upstream, server.url)
        await server.peers[0].gone.wait()


async def test_the_pool_can_be_opened_again(engine: Engine) -> None:
    upstream = engine()
    await upstream.aclose()
    async with serve(respond(message(b"hello"))) as server:
        assert await fetch(upstream, server.url) == b"hello"
        await upstream.aclose()
        assert await fetch(upstream, server.url) == b"hello"
        await upstream.aclose()
    assert len(server.peers) == 2


async def test_nothing_is_left_running(upstream: Upstream) -> None:
    before = asyncio.all_tasks()
    writing = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.reader.read(1)
        writing.set()
        await peer.until_gone()

    async with serve(script) as server:
        task = asyncio.create_task(post(upstream, server.url, body=bytes(30_000_000)))
        await writing.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await server.peers[0].gone.wait()
    assert asyncio.all_tasks() == before


@pytest.mark.parametrize("seconds", [0, -1, float("inf"), float("nan")])
def test_no_limit_is_unlimited(seconds: float) -> None:
    with pytest.raises(ValueError, match="'idle'"):
        Timeouts(idle=seconds)
