"""What only the default engine promises: its pool, its limits, and that it leaves nothing behind."""

from __future__ import annotations

import asyncio
import os
import ssl
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from oneapi_mw.relay import http1_pool, http1_upstream
from oneapi_mw.relay.http1_connection import SLICE_BYTES
from oneapi_mw.relay.http1_upstream import READ_BUFFER_BYTES, Http1Response, Http1Upstream
from oneapi_mw.relay.upstream import BodyCut, ConnectFailed, ConnectTimeout, FirstByteTimeout, Timeouts
from tests.support.hostile import HostileServer, Peer, arrival, message, respond, self_signed, serve, unused_port

PATIENT = Timeouts(connect=30, first_byte=30, idle=30, total=60)
STREAM_HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
FILES = Path("/proc/self/fd")


@pytest.fixture(params=[True, False], ids=["uvloop", "asyncio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    return ("asyncio", {"use_uvloop": request.param})


@pytest.fixture
async def upstream() -> AsyncIterator[Http1Upstream]:
    upstream = Http1Upstream()
    yield upstream
    await upstream.aclose()


async def post(
    upstream: Http1Upstream,
    url: str,
    timeouts: Timeouts = PATIENT,
    *,
    method: str = "POST",
    headers: tuple[tuple[str, str], ...] = (),
    body: bytes = b"{}",
) -> Http1Response:
    return await upstream.send(method, url, headers, body, timeouts)


async def fetch(upstream: Http1Upstream, url: str, *, method: str = "POST") -> bytes:
    response = await post(upstream, url, method=method)
    try:
        return await response.read(1 << 20)
    finally:
        await response.aclose()


def frame(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def open_sockets() -> int:
    return sum(os.readlink(file).startswith("socket:") for file in FILES.iterdir() if file.is_symlink())


# --- requests


@pytest.mark.parametrize(
    ("url", "target"), [("{}", "/"), ("{}?a=1", "/?a=1"), ("{}/a%20b/?x=%2F#part", "/a%20b/?x=%2F")]
)
async def test_what_of_the_url_is_sent(upstream: Http1Upstream, url: str, target: str) -> None:
    async with serve(respond(message(b""))) as server:
        await fetch(upstream, url.format(server.url))
    assert server.received[0].target == target
    assert server.received[0].header("host") == server.url.removeprefix("http://")


@pytest.mark.parametrize(
    ("url", "origin", "host"),
    [
        ("http://a.test:80/", ("a.test", 80, False), b"a.test"),
        ("https://A.test:443/", ("a.test", 443, True), b"a.test"),
        ("https://a.test:80/", ("a.test", 80, True), b"a.test:80"),
        ("http://[::1]:8080/", ("::1", 8080, False), b"[::1]:8080"),
        ("http://[::1]/", ("::1", 80, False), b"[::1]"),
    ],
)
def test_whom_a_url_means(url: str, origin: tuple[str, int, bool], host: bytes) -> None:
    target = http1_upstream._target("GET", url)
    assert target.origin == origin
    assert http1_upstream._head(target, [], b"").split(b"\r\n")[1] == b"host: " + host


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
async def test_an_empty_body_has_a_length_where_one_is_expected(upstream: Http1Upstream, method: str) -> None:
    async with serve(respond(message(b""))) as server:
        response = await post(upstream, server.url, method=method, body=b"")
        await response.aclose()
    assert server.received[0].header("content-length") == "0"


async def test_a_host_that_is_given_replaces_ours(upstream: Http1Upstream) -> None:
    async with serve(respond(message(b""))) as server:
        response = await post(upstream, server.url, headers=(("Host", "virtual.test"),))
        await response.aclose()
    hosts = [value for name, value in server.received[0].headers if name.lower() == "host"]
    assert hosts == ["virtual.test"]


@pytest.mark.parametrize(
    "url",
    [
        "http://user:secret@127.0.0.1/",
        "http://good.test\\@127.0.0.1/",
        "http://[::1/",
        "http://a:b/",
        "http://a:0/",
        "http://a<b/",
        "http://[a]/",
    ],
)
async def test_urls_that_are_refused(upstream: Http1Upstream, url: str) -> None:
    with pytest.raises(ValueError, match="URL") as caught:
        await post(upstream, url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("method", ["", "GE T", "GET\r\n", "get"])
async def test_methods_that_are_refused(upstream: Http1Upstream, method: str) -> None:
    with pytest.raises(ValueError, match="method"):
        await post(upstream, "http://127.0.0.1:9/", method=method)


async def test_a_dispatch_that_is_refused_sends_nothing(upstream: Http1Upstream) -> None:
    class Refused(Exception):
        pass

    def refuse() -> None:
        raise Refused

    async with serve(Peer.until_gone) as server:
        with pytest.raises(Refused):
            await upstream.send("POST", server.url, [], b"{}", PATIENT, on_dispatch=refuse)
        await arrival()
        await server.peers[0].gone.wait()


# --- bodies


async def test_frames_that_come_together_are_one_piece(upstream: Http1Upstream) -> None:
    async with serve(respond(STREAM_HEAD + frame(b"one ") + frame(b"two ") + frame(b"three") + b"0\r\n\r\n")) as server:
        response = await post(upstream, server.url)
        assert [piece async for piece in response.chunks()] == [b"one two three"]
        await response.aclose()


async def test_a_head_request(upstream: Http1Upstream) -> None:
    async with serve(respond(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n")) as server:
        for _ in range(2):
            assert await fetch(upstream, server.url, method="HEAD") == b""


async def test_a_reader_that_takes_its_time_holds_the_upstream_up(upstream: Http1Upstream) -> None:
    """The last frame is only written when all before it has left, which it cannot unless it is read."""
    piece = frame(b"a" * 65_536)
    count = 800
    written = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(STREAM_HEAD)
        for _ in range(count):
            await peer.send(piece)
        written.set()
        await peer.send(b"0\r\n\r\n")
        await peer.until_gone()

    async with serve(script) as server:
        response = await post(upstream, server.url)
        largest = size = 0
        async for data in response.chunks():
            size += len(data)
            largest = max(largest, len(data))
            if size < 65_536 * count // 4:
                for _ in range(50):  # as many turns of the loop as would fill any buffer without a limit
                    await asyncio.sleep(0)
                assert not written.is_set()
        assert size == 65_536 * count
        assert largest <= 2 * READ_BUFFER_BYTES
        await response.aclose()


async def test_a_complete_answer_does_not_need_its_connection(upstream: Http1Upstream) -> None:
    async def script(peer: Peer) -> None:
        while request := await peer.request():
            await peer.send(message(request.body * 1000))

    async with serve(script) as server:
        first = await post(upstream, server.url, body=b"first")
        second = await post(upstream, server.url, body=b"second")
        assert await first.read(1 << 20) == b"first" * 1000
        assert await second.read(1 << 20) == b"second" * 1000
        await first.aclose()
        await second.aclose()
    assert len(server.peers) == 1


async def test_an_answer_larger_than_its_buffer_leaves_a_usable_connection(upstream: Http1Upstream) -> None:
    body = bytes(range(256)) * (3 * READ_BUFFER_BYTES // 256)
    async with serve(respond(message(body))) as server:
        for _ in range(3):
            response = await post(upstream, server.url)
            await arrival()
            assert await response.read(len(body)) == body
            await response.aclose()
    assert len(server.peers) == 1


async def test_a_body_closed_unread_is_gone(upstream: Http1Upstream) -> None:
    async with serve(respond(message(b"hello"))) as server:
        response = await post(upstream, server.url)
        await response.aclose()
        with pytest.raises(BodyCut):
            await response.read(5)
        assert await fetch(upstream, server.url) == b"hello"
    assert len(server.peers) == 1


# --- the pool


async def test_the_connection_used_last_is_used_first(upstream: Http1Upstream) -> None:
    going_on = [asyncio.Event(), asyncio.Event()]

    async def script(peer: Peer) -> None:
        allowed = going_on[server.peers.index(peer)]
        while await peer.request():
            await peer.send(STREAM_HEAD)
            await allowed.wait()
            await peer.send(b"0\r\n\r\n")

    async with serve(script) as server:
        responses = [await post(upstream, server.url) for _ in range(2)]
        for number in (1, 0):
            going_on[number].set()
            assert await responses[number].read(0) == b""
        for _ in range(3):
            assert await fetch(upstream, server.url) == b""
    assert [len(peer.received) for peer in server.peers] == [4, 1]


async def test_idle_connections_expire() -> None:
    upstream = Http1Upstream(keepalive=0.05)
    async with serve(respond(message(b"hello"))) as server:
        for number in range(2):
            assert await fetch(upstream, server.url) == b"hello"
            await server.peers[number].gone.wait()
    await upstream.aclose()
    assert len(server.peers) == 2


async def test_an_upstream_that_does_not_wait_is_not_kept_waiting(upstream: Http1Upstream) -> None:
    async with serve(respond(message(b"hello", b"keep-alive: timeout=1"))) as server:
        assert await fetch(upstream, server.url) == b"hello"
        assert await fetch(upstream, server.url) == b"hello"
    assert len(server.peers) == 2


async def test_closing_the_pool_closes_what_is_still_being_read(upstream: Http1Upstream) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(STREAM_HEAD + frame(b"hello"))
        await peer.until_gone()

    async with serve(script) as server:
        response = await post(upstream, server.url)
        assert await anext(response.chunks()) == b"hello"
        await upstream.aclose()
        await server.peers[0].gone.wait()
        with pytest.raises(BodyCut):
            await anext(response.chunks())
        await response.aclose()


@pytest.mark.skipif(not FILES.exists(), reason="open sockets are counted in /proc")
async def test_a_closed_pool_has_closed_its_sockets(tmp_path: Path) -> None:
    context, certificate = self_signed(tmp_path)
    before = open_sockets()
    async with serve(respond(message(b"hello")), tls=context) as server:
        upstream = Http1Upstream(tls=ssl.create_default_context(cafile=certificate))
        assert await fetch(upstream, server.url) == b"hello"
        await upstream.aclose()
        assert open_sockets() <= before + 2  # the listening socket, and the server's end if it has not noticed yet


async def test_a_place_is_given_back_however_a_call_ends() -> None:
    upstream = Http1Upstream(connections_per_host=1)
    async with serve(respond(message(b"hello"))) as server:
        blocked = await post(upstream, server.url)
        assert await blocked.read(5) == b"hello"  # complete: its place is free
        for _ in range(3):
            assert await fetch(upstream, server.url) == b"hello"
    assert len(server.peers) == 1

    refused = f"http://127.0.0.1:{unused_port()}"
    for _ in range(3):
        with pytest.raises(ConnectFailed):
            await post(upstream, refused, Timeouts(connect=5))

    async with serve(Peer.until_gone) as silent:
        for _ in range(3):
            task = asyncio.create_task(post(upstream, silent.url))
            waiting = asyncio.create_task(post(upstream, silent.url))
            await arrival()
            waiting.cancel()
            task.cancel()
            await asyncio.gather(task, waiting, return_exceptions=True)
        for _ in range(3):
            with pytest.raises(ConnectTimeout):
                await post(upstream, silent.url.replace("http", "https"), Timeouts(connect=0.02))
    await upstream.aclose()


async def test_a_name_with_several_addresses(upstream: Http1Upstream) -> None:
    """`localhost` is also `::1` nearly everywhere, where nobody listens."""
    async with serve(respond(message(b"hello"))) as server:
        assert await fetch(upstream, server.url.replace("127.0.0.1", "localhost")) == b"hello"
    assert server.received[0].header("host") == server.url.replace("http://127.0.0.1", "localhost")


# --- TLS


async def test_answers_over_tls(tmp_path: Path) -> None:
    context, certificate = self_signed(tmp_path)
    body = bytes(range(256)) * 20_000

    async def script(peer: Peer) -> None:
        while request := await peer.request():
            await peer.send(STREAM_HEAD + frame(request.body) + b"0\r\n\r\n")

    upstream = Http1Upstream(tls=ssl.create_default_context(cafile=certificate))
    async with serve(script, tls=context) as server:
        for _ in range(2):
            response = await post(upstream, server.url, body=body)
            assert await response.read(len(body)) == body
            await response.aclose()
        await upstream.aclose()
    assert len(server.peers) == 1


async def test_a_body_over_tls_that_ends_with_its_connection(tmp_path: Path) -> None:
    context, certificate = self_signed(tmp_path)

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\nhello")

    upstream = Http1Upstream(tls=ssl.create_default_context(cafile=certificate))
    async with serve(script, tls=context) as server:
        assert await fetch(upstream, server.url) == b"hello"
        await upstream.aclose()


async def test_the_name_is_asked_for_and_checked(tmp_path: Path) -> None:
    context, certificate = self_signed(tmp_path)
    asked: list[str | None] = []
    context.sni_callback = lambda _socket, name, _context: asked.append(name)
    upstream = Http1Upstream(tls=ssl.create_default_context(cafile=certificate))
    async with serve(respond(message(b"")), tls=context) as server:
        with pytest.raises(ConnectFailed, match="certificate not trusted"):
            await post(upstream, server.url.replace("127.0.0.1", "localhost"))
        await upstream.aclose()
    assert asked == ["localhost"]
    assert server.received == []


async def test_trust_is_loaded_once_and_not_in_the_loop(
    upstream: Http1Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, _ = self_signed(tmp_path)
    threads: list[threading.Thread] = []
    load = http1_pool._verifying_context

    def loading() -> ssl.SSLContext:
        threads.append(threading.current_thread())
        return load()

    monkeypatch.setattr(http1_pool, "_verifying_context", loading)
    async with serve(respond(message(b"")), tls=context) as server:
        calls = [post(upstream, server.url) for _ in range(3)]
        for result in await asyncio.gather(*calls, return_exceptions=True):
            assert isinstance(result, ConnectFailed)
    assert len(threads) == 1
    assert threads[0] is not threading.main_thread()


# --- nothing is left behind


async def echo_slowly(peer: Peer) -> None:
    """An answer in many pieces, with a turn of the loop between them."""
    while request := await peer.request():
        head = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(request.body)
        for at in range(0, len(head), 20):
            await peer.send(head[at : at + 20])
            await asyncio.sleep(0)
        for at in range(0, len(request.body), SLICE_BYTES):
            await peer.send(request.body[at : at + SLICE_BYTES])
            await asyncio.sleep(0)


async def whole(upstream: Http1Upstream, server: HostileServer, body: bytes) -> bytes:
    response = await post(upstream, server.url.replace("127.0.0.1", "localhost"), body=body)
    try:
        return await response.read(len(body))
    finally:
        await response.aclose()


@pytest.mark.skipif(not FILES.exists(), reason="open sockets are counted in /proc")
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_cancelled_after_any_number_of_steps(tls: bool, tmp_path: Path) -> None:
    context, certificate = self_signed(tmp_path)
    trust = ssl.create_default_context(cafile=certificate)
    trust.check_hostname = False  # the name is `localhost`, so that looking it up is cancelled as well
    before = open_sockets()
    tasks = asyncio.all_tasks()
    body = bytes(6 * SLICE_BYTES)
    completed = steps = 0
    async with serve(echo_slowly, tls=context if tls else None) as server:
        while completed < 3:
            upstream = Http1Upstream(tls=trust)
            task = asyncio.create_task(whole(upstream, server, body))
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            try:
                assert await task == body
                completed += 1
            except asyncio.CancelledError:
                pass
            await upstream.aclose()
            steps += 1 + steps // 8
        assert steps > 20
    await arrival()
    assert asyncio.all_tasks() == tasks
    assert open_sockets() == before


async def test_a_limit_that_passes_in_the_same_moment_as_the_answer_comes(upstream: Http1Upstream) -> None:
    """Whichever wins, the connection is either whole or closed, and the next request has its own answer."""

    async def script(peer: Peer) -> None:
        while request := await peer.request():
            await asyncio.sleep(0.01)
            await peer.send(message(request.body))

    async with serve(script) as server:
        for number in range(20):
            body = b"%d" % number
            try:
                response = await post(upstream, server.url, Timeouts(first_byte=0.008 + number / 4000), body=body)
                assert await response.read(9) == body
                await response.aclose()
            except FirstByteTimeout:
                pass
            assert await whole(upstream, server, b"after") == b"after"
