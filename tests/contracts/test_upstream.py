"""What every upstream does, against servers that misbehave in every way seen in practice."""

from __future__ import annotations

import asyncio
import gzip
import os
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from oneapi_mw.relay.aiohttp_upstream import AiohttpUpstream
from oneapi_mw.relay.http1_upstream import Http1Upstream
from oneapi_mw.relay.httpx_upstream import HttpxUpstream
from oneapi_mw.relay.upstream import (
    BodyCut,
    BodyTooLarge,
    ClosedBeforeResponse,
    ConnectFailed,
    ConnectTimeout,
    FirstByteTimeout,
    IdleTimeout,
    InvalidResponse,
    Timeouts,
    TotalTimeout,
    Upstream,
    UpstreamFault,
    UpstreamResponse,
)
from tests.support.hostile import (
    HostileServer,
    Peer,
    arrival,
    message,
    respond,
    respond_once,
    self_signed,
    serve,
    unused_port,
)

PATIENT = Timeouts(connect=30, first_byte=30, idle=30, total=60)
SECRET = "sk-very-secret"
HEADERS = [("content-type", "application/json"), ("authorization", f"Bearer {SECRET}")]
BODY = b'{"model":"m"}'
STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
FILES = Path("/proc/self/fd")


def open_sockets() -> int:
    """Sockets this process holds."""
    return sum(os.readlink(file).startswith("socket:") for file in FILES.iterdir() if file.is_symlink())


class Client:
    """An upstream and what a test needs to say to it.

    Args:
        assumes_dispatch: it cannot know beforehand when a request leaves, so it reports that at once.
    """

    def __init__(self, upstream: Upstream, *, assumes_dispatch: bool = False) -> None:
        self.upstream = upstream
        self.dispatches = 0
        self.assumes_dispatch = assumes_dispatch

    async def post(
        self, url: str, timeouts: Timeouts = PATIENT, *, method: str = "POST", body: bytes = BODY
    ) -> UpstreamResponse:
        return await self.upstream.send(
            method, f"{url}/v1/chat?key={SECRET}", HEADERS, body, timeouts, on_dispatch=self._dispatch
        )

    async def fetch(self, url: str) -> bytes:
        response = await self.post(url)
        try:
            return await response.read(1 << 20)
        finally:
            await response.aclose()

    async def fault(self, url: str, timeouts: Timeouts = PATIENT) -> UpstreamFault:
        """How sending fails."""
        self.dispatches = 0
        with pytest.raises(UpstreamFault) as caught:
            await self.post(url, timeouts)
        _tells_nothing(caught.value)
        if self.assumes_dispatch:
            assert self.dispatches == 1
        else:
            assert caught.value.dispatched == bool(self.dispatches)
        return caught.value

    async def body_fault(self, url: str, timeouts: Timeouts = PATIENT) -> tuple[bytes, UpstreamFault]:
        """What is read before reading fails, and how it fails; it goes on failing so."""
        response = await self.post(url, timeouts)
        got = bytearray()
        with pytest.raises(UpstreamFault) as caught:
            await drain(response, got)
        _tells_nothing(caught.value)
        with pytest.raises(type(caught.value)):
            await response.read(1)
        await response.aclose()
        assert caught.value.dispatched
        return bytes(got), caught.value

    def _dispatch(self) -> None:
        self.dispatches += 1


async def drain(response: UpstreamResponse, into: bytearray) -> None:
    async for data in response.chunks():
        into += data


def _tells_nothing(fault: UpstreamFault) -> None:
    text = f"{fault!r} {fault}"
    assert SECRET not in text
    assert "127.0.0.1" not in text
    assert fault.__cause__ is None
    assert fault.__suppress_context__ or fault.__context__ is None


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


@dataclass(frozen=True)
class Engine:
    name: str
    uvloop: bool = True

    def __str__(self) -> str:
        return self.name if self.uvloop else f"{self.name} on asyncio"

    @asynccontextmanager
    async def open(self, *, trust: ssl.SSLContext | None = None) -> AsyncIterator[Client]:
        """A client; `trust` are certificates to trust instead of the system's."""
        verify = True if trust is None else trust
        if self.name == "httpx":
            async with httpx.AsyncHTTPTransport(trust_env=False, verify=verify) as transport:
                yield Client(HttpxUpstream(transport))
        elif self.name == "httpx client":
            async with httpx.AsyncClient(trust_env=False, verify=verify) as owned:
                yield Client(HttpxUpstream(owned), assumes_dispatch=True)
        else:
            upstream = Http1Upstream(tls=trust) if self.name == "http1" else AiohttpUpstream(tls=trust)
            yield Client(upstream)
            await upstream.aclose()


@pytest.fixture(
    params=[
        Engine("http1"),
        Engine("http1", uvloop=False),
        Engine("aiohttp"),
        Engine("httpx"),
        Engine("httpx client"),
    ],
    ids=str,
)
def engine(request: pytest.FixtureRequest) -> Engine:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def anyio_backend(engine: Engine) -> tuple[str, dict[str, bool]]:
    return ("asyncio", {"use_uvloop": engine.uvloop})


@pytest.fixture
async def client(engine: Engine) -> AsyncIterator[Client]:
    async with engine.open() as client:
        yield client


# --- what goes out


async def test_a_request_goes_out_as_it_was_given(client: Client) -> None:
    async with serve(respond(message(b"hello"))) as server:
        assert await client.fetch(server.url) == b"hello"

    (request,) = server.received
    assert (request.method, request.target, request.body) == ("POST", f"/v1/chat?key={SECRET}", BODY)
    fields = {name.lower(): value for name, value in request.headers}
    assert fields == {
        "host": server.url.removeprefix("http://"),
        "content-type": "application/json",
        "authorization": f"Bearer {SECRET}",
        "accept-encoding": "identity",
        "content-length": str(len(BODY)),
    }
    assert client.dispatches == 1


async def test_a_get_has_no_body(client: Client) -> None:
    async with serve(respond(message(b"hello"))) as server:
        response = await client.upstream.send("GET", server.url + "/v1/models", [], b"", PATIENT)
        assert await response.read(5) == b"hello"
        await response.aclose()

    assert {name.lower() for name, _ in server.received[0].headers} == {"host", "accept-encoding"}


async def test_an_accept_encoding_given_is_kept(client: Client) -> None:
    async with serve(respond(message(b""))) as server:
        response = await client.upstream.send("GET", server.url, [("Accept-Encoding", "gzip")], b"", PATIENT)
        await response.aclose()

    assert server.received[0].header("accept-encoding") == "gzip"


async def test_large_bodies_arrive_whole(client: Client) -> None:
    body = bytes(range(256)) * 20_000
    async with serve(respond(message(b"ok"))) as server:
        response = await client.post(server.url, body=body)
        assert await response.read(2) == b"ok"
        await response.aclose()

    assert server.received[0].body == body


@pytest.mark.parametrize("value", ["a\r\nx: y", "a\nb", "a\rb", "a\0b", "schlüssel", "a\x7fb"])
async def test_unsafe_header_values_are_refused_without_being_repeated(client: Client, value: str) -> None:
    with pytest.raises(ValueError, match="'x-key'") as caught:
        await client.upstream.send("GET", "http://127.0.0.1:9/", [("x-key", value)], b"", PATIENT)
    assert value not in str(caught.value)


@pytest.mark.parametrize("name", ["a\r\nb", "a b", "a:b", "", "Transfer-Encoding", "content-length", "Connection"])
async def test_unsafe_header_names_are_refused(client: Client, name: str) -> None:
    with pytest.raises(ValueError, match="header name"):
        await client.upstream.send("GET", "http://127.0.0.1:9/", [(name, "1")], b"", PATIENT)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:9/a\r\nx: y",
        "http://127.0.0.1:9/a b",
        "http://127.0.0.1:9/ä",
        "ftp://127.0.0.1/",
        "127.0.0.1/path",
        "/path",
        "http://",
        "http://127.0.0.1:99999999/",
    ],
)
async def test_unsafe_urls_are_refused_without_being_repeated(client: Client, url: str) -> None:
    with pytest.raises(ValueError, match="URL") as caught:
        await client.upstream.send("GET", url, [], b"", PATIENT)
    assert url not in str(caught.value)


# --- no connection


async def test_refused(client: Client) -> None:
    fault = await client.fault(f"http://127.0.0.1:{unused_port()}")
    assert isinstance(fault, ConnectFailed)
    assert not fault.dispatched


@pytest.mark.parametrize("host", ["does-not-exist.invalid", "a" * 70 + ".invalid", "a..b"])
async def test_unknown_host(client: Client, host: str) -> None:
    fault = await client.fault(f"http://{host}")
    assert isinstance(fault, ConnectFailed)
    assert not fault.dispatched


async def test_no_tls_on_the_other_side(client: Client) -> None:
    async def script(peer: Peer) -> None:
        await peer.reader.read(1)
        await peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with serve(script) as server:
        fault = await client.fault(server.url.replace("http", "https"))
    assert isinstance(fault, ConnectFailed)
    assert not fault.dispatched


async def test_a_certificate_nobody_signed(client: Client, tmp_path: Path) -> None:
    context, _ = self_signed(tmp_path)
    async with serve(respond(message(b"")), tls=context) as server:
        fault = await client.fault(server.url)
    assert isinstance(fault, ConnectFailed)
    assert not fault.dispatched
    assert server.received == []


async def test_a_tls_handshake_that_stalls(engine: Engine) -> None:
    trust = ssl.create_default_context()  # loaded here, not within the limit
    async with serve(Peer.until_gone) as server, engine.open(trust=trust) as client:
        fault = await client.fault(server.url.replace("http", "https"), Timeouts(connect=0.2))
        assert isinstance(fault, ConnectTimeout)
        assert not fault.dispatched
        await server.peers[0].gone.wait()


# --- a connection, but no answer


async def test_accepts_and_never_answers(client: Client) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.until_gone()

    async with serve(script) as server:
        fault = await client.fault(server.url, Timeouts(first_byte=0.05))
        assert isinstance(fault, FirstByteTimeout)
        assert fault.dispatched
        await server.peers[0].gone.wait()


async def test_the_total_limit_ends_the_wait_for_an_answer(client: Client) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.until_gone()

    async with serve(script) as server:
        fault = await client.fault(server.url, Timeouts(total=0.5))
        assert isinstance(fault, TotalTimeout)
        assert fault.dispatched
        await server.peers[0].gone.wait()


async def test_closes_before_the_request_is_read(client: Client) -> None:
    async def script(peer: Peer) -> None:
        peer.reset()

    async with serve(script) as server:
        fault = await client.fault(server.url)
    # Whether the connection was there for a moment is not the same on each run.
    assert isinstance(fault, (ClosedBeforeResponse, ConnectFailed))
    assert fault.dispatched == isinstance(fault, ClosedBeforeResponse)


@pytest.mark.parametrize("end", [lambda peer: None, Peer.reset], ids=["fin", "rst"])
async def test_closes_after_the_request_was_read(client: Client, end: Callable[[Peer], None]) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        end(peer)

    async with serve(script) as server:
        fault = await client.fault(server.url)
    assert isinstance(fault, ClosedBeforeResponse)
    assert fault.dispatched
    assert not fault.reused
    assert len(server.received) == 1


async def test_get_requests_are_not_repeated_either(client: Client) -> None:
    async with serve(respond_once(b"")) as server:
        with pytest.raises(ClosedBeforeResponse):
            await client.post(server.url, method="GET", body=b"")
    assert len(server.received) == 1


@pytest.mark.parametrize("head", [b"HTTP/1.1", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\ncontent-le"])
async def test_partial_headers_then_close(client: Client, head: bytes) -> None:
    async with serve(respond_once(head)) as server:
        fault = await client.fault(server.url)
    assert isinstance(fault, (ClosedBeforeResponse, InvalidResponse))
    assert fault.dispatched


async def test_headers_that_stall(client: Client) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-ty")
        await peer.until_gone()

    async with serve(script) as server:
        fault = await client.fault(server.url, Timeouts(first_byte=0.05))
        assert isinstance(fault, FirstByteTimeout)
        await server.peers[0].gone.wait()


async def test_headers_that_drip_do_not_put_off_the_limit(client: Client) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n")
        gone = asyncio.create_task(peer.until_gone())
        while not peer.gone.is_set():
            await peer.send(b"x: y\r\n")
            await asyncio.wait([gone], timeout=0.01)

    async with serve(script) as server:
        fault = await client.fault(server.url, Timeouts(first_byte=0.2))
        assert isinstance(fault, FirstByteTimeout)


@pytest.mark.skipif(not FILES.exists(), reason="open sockets are counted in /proc")
async def test_a_server_that_does_not_take_the_request(client: Client) -> None:
    async def script(peer: Peer) -> None:
        await asyncio.Event().wait()

    before = open_sockets()
    async with serve(script) as server:
        with pytest.raises(FirstByteTimeout):
            await client.post(server.url, Timeouts(first_byte=0.1), body=bytes(30_000_000))
        await arrival()
        # The listening socket and the server's end: ours does not wait until the rest has been taken.
        assert open_sockets() == before + 2
    assert server.peers


# --- answers that are none


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon here\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: five\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nx: " + b"a" * 200_000 + b"\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"x: %s\r\n" % (b"a" * 700) * 100 + b"content-length: 9\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
        b"HTTP/1.1 600 Odd\r\ncontent-length: 9\r\n\r\n",
    ],
    ids=["not http", "status", "no colon", "length", "long field", "large block", "101", "600"],
)
async def test_invalid_answers(client: Client, answer: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer)
        await peer.until_gone()

    async with serve(script) as server:
        fault = await client.fault(server.url)
        assert isinstance(fault, InvalidResponse)
        assert fault.dispatched
        await server.peers[0].gone.wait()


async def test_interim_responses_are_skipped(client: Client) -> None:
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"
    async with serve(respond(interim + message(b"hello"))) as server:
        assert await client.fetch(server.url) == b"hello"
        assert await client.fetch(server.url) == b"hello"


async def test_redirects_are_not_followed(client: Client) -> None:
    async with serve(respond(message(b"", b"location: /elsewhere", status=b"307 Temporary Redirect"))) as server:
        response = await client.post(server.url)
        assert response.status == 307
        assert (b"location", b"/elsewhere") in response.headers
        await response.aclose()
    assert len(server.received) == 1


async def test_cookies_are_not_kept(client: Client) -> None:
    async with serve(respond(message(b"", b"set-cookie: session=1; path=/"))) as server:
        await client.fetch(server.url)
        await client.fetch(server.url)
    assert [request.header("cookie") for request in server.received] == [None, None]


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
async def test_answers_without_a_body(client: Client, status: bytes) -> None:
    async with serve(respond(b"HTTP/1.1 " + status + b"\r\n\r\n")) as server:
        for _ in range(2):
            response = await client.post(server.url)
            assert response.status == int(status[:3])
            assert await response.read(0) == b""
            await response.aclose()
    assert len(server.peers) == 1


async def test_header_names_are_lower_case_and_repeats_are_kept(client: Client) -> None:
    async with serve(respond(message(b"", b"X-One: 1", b"x-one: 2", b"Content-Type: a/b"))) as server:
        response = await client.post(server.url)
        await response.aclose()
    headers = [field for field in response.headers if field[0] != b"content-length"]
    assert headers == [(b"x-one", b"1"), (b"x-one", b"2"), (b"content-type", b"a/b")]


# --- bodies


async def test_chunks_arrive_as_they_are_sent(client: Client) -> None:
    taken = asyncio.Queue[None]()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(STREAM_HEAD)
        for data in (b"one", b"two", b"three"):
            await peer.send(chunk(data))
            await taken.get()  # nothing more is sent before this piece has come through
        await peer.send(b"0\r\n\r\n")
        await peer.until_gone()

    async with serve(script) as server:
        response = await client.post(server.url)
        got = []
        async for data in response.chunks():
            got.append(data)
            taken.put_nowait(None)
        assert got == [b"one", b"two", b"three"]
        assert await response.read(0) == b""
        await response.aclose()


async def test_iterating_goes_on_where_it_stopped(client: Client) -> None:
    async with serve(respond(STREAM_HEAD + chunk(b"a" * 10) + b"0\r\n\r\n")) as server:
        response = await client.post(server.url)
        async for data in response.chunks():
            assert data == b"a" * 10
            break
        assert [data async for data in response.chunks()] == []
        await response.aclose()


async def test_compressed_bodies_pass_untouched(client: Client) -> None:
    packed = gzip.compress(b"hello" * 100)
    async with serve(respond(message(packed, b"content-encoding: gzip"))) as server:
        assert await client.fetch(server.url) == packed


async def test_a_body_that_ends_with_its_connection(client: Client) -> None:
    async with serve(respond_once(b"HTTP/1.1 200 OK\r\n\r\nhello")) as server:
        assert await client.fetch(server.url) == b"hello"


async def test_a_body_that_would_end_with_its_connection_but_is_reset(client: Client) -> None:
    opened = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\nhello")
        await opened.wait()
        peer.reset()

    async with serve(script) as server:
        response = await client.post(server.url)
        assert await anext(response.chunks()) == b"hello"
        opened.set()
        with pytest.raises(BodyCut):
            await response.read(100)
        await response.aclose()


async def test_trailers_are_dropped(client: Client) -> None:
    async with serve(respond(STREAM_HEAD + chunk(b"hello") + b"0\r\nx-trailer: 1\r\n\r\n")) as server:
        assert await client.fetch(server.url) == b"hello"
        assert await client.fetch(server.url) == b"hello"
    assert len(server.peers) == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello",
        STREAM_HEAD + chunk(b"hello"),
        STREAM_HEAD + chunk(b"hello") + b"a\r\n",
        STREAM_HEAD + chunk(b"hello") + b"zz\r\n",
    ],
    ids=["length", "between chunks", "in a chunk", "bad chunk size"],
)
@pytest.mark.parametrize("end", [lambda peer: None, Peer.reset], ids=["fin", "rst"])
async def test_bodies_cut_short(client: Client, answer: bytes, end: Callable[[Peer], None]) -> None:
    head, _, rest = answer.partition(b"\r\n\r\n")
    opened = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(head + b"\r\n\r\n")
        await opened.wait()  # so that the cut is in the body, however the segments travel
        await peer.send(rest)
        end(peer)

    async with serve(script) as server:
        response = await client.post(server.url)
        opened.set()
        got = bytearray()
        with pytest.raises(BodyCut):
            await drain(response, got)
        with pytest.raises(BodyCut):
            await response.read(100)
        await response.aclose()
    assert b"hello".startswith(got)


async def test_stalls_in_the_middle_of_a_body(client: Client) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(STREAM_HEAD + chunk(b"hello"))
        await peer.until_gone()

    async with serve(script) as server:
        got, fault = await client.body_fault(server.url, Timeouts(idle=0.05))
        assert isinstance(fault, IdleTimeout)
        assert got == b"hello"
        await server.peers[0].gone.wait()


async def test_dripping_ends_at_the_total_limit(client: Client) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(STREAM_HEAD)
        gone = asyncio.create_task(peer.until_gone())
        while not peer.gone.is_set():
            await peer.send(chunk(b"."))
            await asyncio.wait([gone], timeout=0.01)

    async with serve(script) as server:
        got, fault = await client.body_fault(server.url, Timeouts(idle=10, total=0.3))
        assert isinstance(fault, TotalTimeout)
        assert set(got) == {ord(".")}
        await server.peers[0].gone.wait()


async def test_dripping_faster_than_idle_is_no_fault(client: Client) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(STREAM_HEAD)
        for _ in range(10):
            await peer.send(chunk(b"."))
            await asyncio.sleep(0.06)  # ten of them outlast the limit
        await peer.send(b"0\r\n\r\n")

    async with serve(script) as server:
        response = await client.post(server.url, Timeouts(idle=0.5))
        assert await response.read(10) == b"." * 10
        await response.aclose()


async def test_a_slow_reader_is_not_an_idle_upstream(client: Client) -> None:
    reading, going_on = asyncio.Event(), asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(STREAM_HEAD)
        await reading.wait()  # so that the first piece has been waited for
        await peer.send(chunk(b"a"))
        await going_on.wait()
        await peer.send(chunk(b"b") + b"0\r\n\r\n")

    async with serve(script) as server:
        response = await client.post(server.url, Timeouts(idle=0.3))
        reading.set()
        assert await anext(response.chunks()) == b"a"
        await asyncio.sleep(0.4)  # longer than the limit: no event tells that nothing happened
        going_on.set()
        assert await response.read(1) == b"b"
        await response.aclose()


@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_reading_stops_above_its_limit(client: Client, framing: str) -> None:
    answer = message(b"a" * 101) if framing == "length" else STREAM_HEAD + chunk(b"a" * 101)

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer)
        await peer.until_gone()

    async with serve(script) as server:
        response = await client.post(server.url)
        with pytest.raises(BodyTooLarge):
            await response.read(100)
        await response.aclose()


# --- connections


async def test_a_connection_is_used_again_after_a_clean_end(client: Client) -> None:
    async with serve(respond(message(b"hello"))) as server:
        for _ in range(3):
            assert await client.fetch(server.url) == b"hello"
    assert len(server.peers) == 1
    assert len(server.received) == 3


async def test_an_answer_closed_early_closes_its_connection(client: Client) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(STREAM_HEAD + chunk(b"first"))
        await peer.until_gone()

    async with serve(script) as server:
        response = await client.post(server.url)
        assert await anext(response.chunks()) == b"first"
        await response.aclose()
        await response.aclose()
        await server.peers[0].gone.wait()
        with pytest.raises(BodyCut):
            await anext(response.chunks())

        other = await client.post(server.url)
        assert await anext(other.chunks()) == b"first"
        await other.aclose()
    assert len(server.peers) == 2


async def test_an_unread_answer_closes_its_connection(client: Client) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(STREAM_HEAD)
        await peer.until_gone()

    async with serve(script) as server:
        response = await client.post(server.url)
        await response.aclose()
        await server.peers[0].gone.wait()


async def test_an_idle_connection_closed_by_the_server(client: Client) -> None:
    async with serve(respond_once(message(b"hello"))) as server:
        for _ in range(3):
            assert await client.fetch(server.url) == b"hello"
            await arrival()
    assert len(server.peers) == 3


async def test_connection_close_is_honoured(client: Client) -> None:
    async with serve(respond(message(b"hello", b"connection: close"))) as server:
        assert await client.fetch(server.url) == b"hello"
        assert await client.fetch(server.url) == b"hello"
    assert len(server.peers) == 2


async def test_bytes_after_the_end_of_a_message_are_never_shown(client: Client) -> None:
    async with serve(respond(message(b"hello") + b"stray bytes")) as server:
        for _ in range(3):
            try:
                assert await client.fetch(server.url) == b"hello"
            except (InvalidResponse, BodyCut):
                pass
    assert all(len(peer.received) <= 2 for peer in server.peers)


async def test_fifty_at_once_get_their_own_answers(client: Client) -> None:
    async def script(peer: Peer) -> None:
        while request := await peer.request():
            half = len(request.body) // 2
            await peer.send(STREAM_HEAD + chunk(request.body[:half]))
            await peer.send(chunk(request.body[half:]) + b"0\r\n\r\n")

    async def one(server: HostileServer, body: bytes) -> bytes:
        response = await client.post(server.url, body=body)
        try:
            return await response.read(1 << 20)
        finally:
            await response.aclose()

    bodies = [b"%d" % number * 1000 for number in range(10, 60)]
    async with serve(script) as server:
        assert await asyncio.gather(*(one(server, body) for body in bodies)) == bodies


# --- cancellation


async def test_cancelled_while_connecting(client: Client) -> None:
    greeted = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.reader.read(1)
        greeted.set()
        await peer.until_gone()

    async with serve(script) as server:
        task = asyncio.create_task(client.post(server.url.replace("http", "https")))
        await greeted.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await server.peers[0].gone.wait()
    assert client.dispatches == int(client.assumes_dispatch)


async def test_cancelled_while_waiting_for_an_answer(client: Client) -> None:
    read = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        read.set()
        await peer.until_gone()

    async with serve(script) as server:
        task = asyncio.create_task(client.post(server.url))
        await read.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await server.peers[0].gone.wait()
    assert client.dispatches == 1


async def test_cancelled_in_the_middle_of_a_body(client: Client) -> None:
    reading = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(STREAM_HEAD + chunk(b"first"))
        await peer.until_gone()

    async def read(server: HostileServer) -> None:
        response = await client.post(server.url)
        async for _ in response.chunks():
            reading.set()

    async with serve(script) as server:
        task = asyncio.create_task(read(server))
        await reading.wait()
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await server.peers[0].gone.wait()


async def test_a_limit_of_our_own_leaves_the_task_uncancelled(client: Client) -> None:
    async with serve(Peer.until_gone) as server:
        task = asyncio.current_task()
        assert task is not None
        await client.fault(server.url, Timeouts(first_byte=0.02))
        assert task.cancelling() == 0
        async with asyncio.timeout(10):
            await asyncio.sleep(0)


# --- TLS that works


async def test_a_certificate_that_is_trusted(engine: Engine, tmp_path: Path) -> None:
    context, certificate = self_signed(tmp_path)
    async with (
        serve(respond(message(b"hello")), tls=context) as server,
        engine.open(trust=ssl.create_default_context(cafile=certificate)) as client,
    ):
        assert await client.fetch(server.url) == b"hello"
        assert await client.fetch(server.url) == b"hello"
    assert len(server.peers) == 1
