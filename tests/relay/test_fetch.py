"""Fetching from servers that behave, and from those that do not."""

from __future__ import annotations

import asyncio
import base64
import gzip
import logging
import ssl
import zlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from oneapi_mw.errors import RateLimited
from oneapi_mw.relay import fetch as module
from oneapi_mw.relay.fetch import Budget, Fetcher, FetchFailed, FetchLimits
from oneapi_mw.relay.guard import AllowList, Guard, UrlRefused
from oneapi_mw.relay.lookup import LookupFailed
from oneapi_mw.relay.passage import Proxy
from oneapi_mw.wire.url_media import Kind
from tests.support.hostile import HostileServer, Peer, Script, message, respond, self_signed, serve
from tests.support.images import JPEG, MP3, PDF, PNG, png_that_claims

QUICK = FetchLimits(failure_seconds=0)


class Names:
    """A resolver that answers what it is told, in turn; the last answer stands."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self._answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, host: str) -> Sequence[str]:
        self.asked.append(host)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if not answer:
            raise LookupFailed(host)
        return answer


def at(server: HostileServer, path: str = "/a.png", host: str = "media.example") -> str:
    return f"http://{host}:{server.url.rpartition(':')[2]}{path}"


def fetcher(*servers: HostileServer, names: Names | None = None, **changes: Any) -> Fetcher:
    """One to whom the ports of these servers on loopback are open."""
    ports = [server.url.rpartition(":")[2] for server in servers]
    guard = Guard(AllowList.of(f"127.0.0.1:{port}" for port in ports))
    return Fetcher(guard, **{"limits": QUICK, "resolve": names or Names(["127.0.0.1"]), **changes})


async def fetched(fetch: Fetcher, url: str, kind: Kind = "image", *, left: int = 1 << 25, user: str = "u") -> bytes:
    found = await fetch.fetch(url, kind, user=user, budget=Budget(left))
    return base64.b64decode(found.data, validate=True)


async def failure(fetch: Fetcher, url: str, kind: Kind = "image", **changes: Any) -> str:
    """The category a fetch fails with."""
    with pytest.raises(FetchFailed) as failed:
        await fetched(fetch, url, kind, **changes)
    return str(failed.value)


@asynccontextmanager
async def serving(body: bytes, *fields: bytes, status: bytes = b"200 OK") -> AsyncIterator[HostileServer]:
    async with serve(respond(message(body, *fields, status=status))) as server:
        yield server


@pytest.mark.parametrize(
    ("kind", "body", "media_type"),
    [
        ("image", PNG, "image/png"),
        ("image", JPEG, "image/jpeg"),
        ("document", PDF, "application/pdf"),
        ("audio", MP3, "audio/mpeg"),
        ("any", PDF, "application/pdf"),
        ("image", PNG + bytes(100_000), "image/png"),
    ],
)
async def test_a_file(kind: Kind, body: bytes, media_type: str) -> None:
    async with serving(body, b"content-type: text/html") as server:
        found = await fetcher(server).fetch(at(server), kind, user="u", budget=Budget(1 << 20))
        assert (found.media_type, base64.b64decode(found.data)) == (media_type, body)


async def test_what_is_sent_is_plain() -> None:
    async with serving(PNG, b"set-cookie: a=b") as server:
        fetch = fetcher(server)
        await fetched(fetch, at(server, "/a%20b?c=d#e"))
        await fetched(fetch, at(server, "/two"))
        first, second = server.received
    assert (first.method, first.target, first.body) == ("GET", "/a%20b?c=d", b"")
    names = [name.lower() for name, _ in first.headers]
    assert sorted(names) == ["accept", "accept-encoding", "connection", "host", "user-agent"]
    assert first.header("host") == f"media.example:{server.url.rpartition(':')[2]}"
    assert first.header("accept-encoding") == "identity"
    assert (first.header("user-agent") or "").startswith("oneapi-mw/")
    assert second.header("cookie") is None
    assert len(server.peers) == 2  # no connection serves two fetches


async def test_proxies_of_the_environment_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with serving(PNG) as server:
        assert await fetched(fetcher(server), at(server)) == PNG


# Names and addresses.


async def test_refused_at_once_and_nobody_asked() -> None:
    names = Names(["127.0.0.1"])
    async with serving(PNG) as server:
        for url in ("http://127.0.0.1/", "https://[::1]/", "https://127.1/", "file:///etc/passwd"):
            with pytest.raises(UrlRefused):
                await fetched(fetcher(server, names=names), url)
    assert not names.asked


@pytest.mark.parametrize(
    "addresses",
    [
        ["10.0.0.1"],
        ["127.0.0.2", "10.0.0.1"],
        ["8.8.8.8", "127.0.0.1"],
        ["127.0.0.1", "169.254.169.254"],
        ["::ffff:127.0.0.1"],
        ["fe80::1%lo"],
        ["0.0.0.0"],
    ],
)
async def test_one_forbidden_address_is_enough(addresses: list[str], caplog: pytest.LogCaptureFixture) -> None:
    """Also where others of the same name would be fine."""
    async with serving(PNG) as server:
        with caplog.at_level(logging.INFO, "oneapi_mw.fetch"):
            assert await failure(fetcher(server, names=Names(addresses)), at(server)) == "address"
        assert not server.peers
    blocked = [record for record in caplog.records if record.getMessage().startswith("ssrf.blocked")]
    assert [record.levelname for record in blocked] == ["WARNING"]
    assert not any(address in caplog.text for address in addresses)


async def test_a_name_is_looked_up_once() -> None:
    """A name that leads elsewhere a moment later is not asked again: the connection goes to what was checked."""
    names = Names(["127.0.0.1"], ["10.0.0.1"])
    async with serving(PNG) as server:
        assert await fetched(fetcher(server, names=names), at(server)) == PNG
    assert names.asked == ["media.example"]


async def test_a_name_without_an_address() -> None:
    async with serving(PNG) as server:
        assert await failure(fetcher(server, names=Names([])), at(server)) == "name"


async def test_nobody_listens() -> None:
    async with serving(PNG) as server:
        pass
    assert await failure(fetcher(server), at(server)) == "ConnectError"


# Redirects.


def redirect(location: str, status: str = "302 Found") -> bytes:
    return message(b"", b"location: " + location.encode(), status=status.encode())


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Same", "308 Same"])
async def test_redirects_are_followed(status: str) -> None:
    async def script(peer: Peer) -> None:
        request = await peer.request()
        assert request is not None
        await peer.send(redirect("/b.png", status) if request.target == "/a.png" else message(PNG))

    names = Names(["127.0.0.1"])
    async with serve(script) as server:
        assert await fetched(fetcher(server, names=names), at(server)) == PNG
        assert [request.target for request in server.received] == ["/a.png", "/b.png"]
    assert len(names.asked) == 2  # each step is checked anew


async def test_redirects_end() -> None:
    async with serve(respond(redirect("/a.png"))) as server:
        assert await failure(fetcher(server), at(server)) == "redirects"
        assert len(server.received) == 1 + module.MAX_REDIRECTS


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.1/",
        "http://169.254.169.254/latest/meta-data/",
        "http://[::1]/",
        "http://2130706433/",
        "file:///etc/passwd",
        "gopher://media.example/",
        "http://u:p@media.example/",
        "",
    ],
)
async def test_redirects_to_forbidden_places(location: str) -> None:
    async with serve(respond(redirect(location))) as server:
        assert await failure(fetcher(server), at(server)) in ("redirect", "redirects")


async def test_a_redirect_to_a_name_that_leads_inside() -> None:
    names = Names(["127.0.0.1"], ["10.0.0.1"])
    async with serving(PNG) as inside, serve(respond(redirect(at(inside)))) as server:
        assert await failure(fetcher(server, inside, names=names), at(server)) == "address"
        assert not inside.peers


# Answers.


@pytest.mark.parametrize(
    ("answer", "category"),
    [
        (message(PNG, status=b"404 Not Found"), "status"),
        (message(PNG, status=b"206 Partial Content"), "status"),
        (message(b"", status=b"304 Not Modified"), "status"),
        (message(b"<html>" * 10, b"content-type: image/png"), "type"),
        (message(b"<svg xmlns='http://www.w3.org/2000/svg'/>"), "type"),
        (message(b""), "type"),
        (message(PDF), "type"),
        (message(gzip.compress(PNG)), "type"),
        (message(gzip.compress(PNG), b"content-encoding: gzip"), "encoding"),
        (message(PNG, b"content-encoding: br"), "encoding"),
        (message(png_that_claims(50_000, 50_000)), "pixels"),
        (message(png_that_claims(2**31 - 1, 2**31 - 1)), "pixels"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\n" + PNG, "too_large"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 17000000\r\n\r\n" + PNG, "too_large"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n" + PNG, "RemoteProtocolError"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n" + PNG, "RemoteProtocolError"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "RemoteProtocolError"),
        (b"+PONG\r\n", "RemoteProtocolError"),
        (b"", "RemoteProtocolError"),
        (b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 40_000 + b"\r\n", "RemoteProtocolError"),
    ],
)
async def test_answers_that_are_no_image(answer: bytes, category: str) -> None:
    async def script(peer: Peer) -> None:
        if await peer.request() and answer:
            await peer.send(answer)

    async with serve(script) as server:
        assert await failure(fetcher(server), at(server)) == category


def endless(piece: bytes, head: bytes = b"") -> Script:
    """An answer without an end."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n" + PNG)
        while not peer.writer.is_closing():
            await peer.send(piece)

    return script


async def test_an_endless_body_is_cut() -> None:
    async with serve(endless(bytes(65536))) as server:
        limits = FetchLimits(max_bytes=1 << 20, failure_seconds=0)
        assert await failure(fetcher(server, limits=limits), at(server)) == "too_large"


async def test_a_bomb_is_not_unpacked() -> None:
    bomb = zlib.compressobj(wbits=31)
    packed = bomb.compress(bytes(50_000_000)) + bomb.flush()
    async with serving(packed, b"content-encoding: gzip") as server:
        assert await failure(fetcher(server), at(server)) == "encoding"


async def test_all_files_of_a_request_share_a_budget() -> None:
    async with serving(PNG) as server:
        fetch, budget = fetcher(server), Budget(2 * len(PNG))
        for path in ("/1", "/2"):
            await fetch.fetch(at(server, path), "image", user="u", budget=budget)
        with pytest.raises(FetchFailed):
            await fetch.fetch(at(server, "/3"), "image", user="u", budget=budget)
        with pytest.raises(FetchFailed):  # what is known already counts, too
            await fetch.fetch(at(server, "/1"), "image", user="u", budget=budget)


@pytest.mark.parametrize("silent_after", ["connecting", "head", "body"])
async def test_slow_servers_are_left(silent_after: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        if silent_after != "connecting":
            await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
        if silent_after == "body":
            await peer.send(PNG)
        await peer.until_gone()

    async with serve(script) as server:
        for seconds in (0.05, 0.5, 5):  # a busy machine may need longer to get there at all
            limits = FetchLimits(seconds=seconds, failure_seconds=0)
            assert await failure(fetcher(server, limits=limits), at(server)) == "timeout"
            if server.received:
                break
        assert server.received
        for peer in server.peers:
            await peer.gone.wait()


async def test_a_drip_counts_against_the_whole_time() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\n" + PNG)
        while not peer.writer.is_closing():
            await peer.send(b"x")
            await asyncio.sleep(0.001)

    async with serve(script) as server:
        limits = FetchLimits(seconds=0.1, failure_seconds=0)
        assert await failure(fetcher(server, limits=limits), at(server)) == "timeout"


async def test_who_is_cancelled_leaves_nothing_open() -> None:
    arrived = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        arrived.set()
        await peer.until_gone()

    async with serve(script) as server:
        task = asyncio.create_task(fetched(fetcher(server), at(server)))
        await arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await server.peers[0].gone.wait()


# TLS.


async def test_the_certificate_is_for_the_name_and_nothing_is_sent_to_another(tmp_path: Path) -> None:
    context, chain = self_signed(tmp_path)  # for 127.0.0.1
    names: list[str | None] = []
    context.sni_callback = lambda sock, name, _: names.append(name)
    async with serve(respond(message(PNG)), tls=context) as server:
        trusting = ssl.create_default_context(cafile=chain)
        port = server.url.rpartition(":")[2]
        fetch = fetcher(server, tls=trusting)
        assert await fetched(fetch, f"https://127.0.0.1:{port}/") == PNG
        assert await failure(fetch, f"https://media.example:{port}/") == "ConnectError"
        assert await failure(fetcher(server), f"https://127.0.0.1:{port}/") == "ConnectError"
        assert len(server.received) == 1
    assert "media.example" in names


async def test_from_https_to_http_is_no_way(tmp_path: Path) -> None:
    context, chain = self_signed(tmp_path)
    async with serving(PNG) as plain, serve(respond(redirect(at(plain))), tls=context) as server:
        fetch = fetcher(plain, server, tls=ssl.create_default_context(cafile=chain))
        assert await failure(fetch, f"https://127.0.0.1:{server.url.rpartition(':')[2]}/") == "redirect"
        assert not plain.peers


# Proxies.


async def test_a_proxy_gets_addresses_that_were_checked() -> None:
    asked: list[bytes] = []

    async def script(peer: Peer) -> None:
        asked.append((await peer.reader.readuntil(b"\r\n\r\n")).partition(b"\r\n")[0])
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
        await peer.request()
        await peer.send(message(PNG))

    async with serve(script) as server:
        proxy = Proxy.of(server.url)
        guard = Guard(allow_http=True)
        fetch = Fetcher(guard, limits=QUICK, proxy=proxy, resolve=Names(["93.184.216.34"]))
        assert await fetched(fetch, "http://media.example/a.png") == PNG
        assert server.received[0].header("host") == "media.example"
        fetch = Fetcher(guard, limits=QUICK, proxy=proxy, resolve=Names(["10.0.0.1"]))
        assert await failure(fetch, "http://media.example/a.png") == "address"
    assert asked == [b"CONNECT 93.184.216.34:80 HTTP/1.1"]


# Limits on users, and what is kept.


async def test_a_user_may_fetch_so_much_a_minute() -> None:
    async with serving(PNG) as server:
        fetch = fetcher(server, limits=FetchLimits(per_minute=2, failure_seconds=0))
        await fetched(fetch, at(server, "/1"))
        await fetched(fetch, at(server, "/2"))
        with pytest.raises(RateLimited) as limited:
            await fetched(fetch, at(server, "/3"))
        assert (limited.value.retry_after or 0) > 0
        await fetched(fetch, at(server, "/1"))  # is here already
        await fetched(fetch, at(server, "/3"), user="another")


async def test_a_user_has_so_many_fetches_at_once() -> None:
    waiting, go = asyncio.Semaphore(0), asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        waiting.release()
        await go.wait()
        await peer.send(message(PNG))

    async with serve(script) as server:
        limits = FetchLimits(at_once=3, at_once_per_user=2, failure_seconds=0)
        fetch = fetcher(server, limits=limits)
        tasks = [asyncio.create_task(fetched(fetch, at(server, f"/{n}"))) for n in range(4)]
        tasks += [asyncio.create_task(fetched(fetch, at(server, f"/{n}"), user="v")) for n in range(2)]
        for _ in range(3):
            await waiting.acquire()
        assert len(server.peers) == 3
        go.set()
        assert await asyncio.gather(*tasks) == [PNG] * 6
    assert not fetch._turns._users


async def test_a_file_is_kept_for_its_user_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(PNG) as server:
        fetch = fetcher(server)
        for _ in range(2):
            await fetched(fetch, at(server, "/a#1"))
        assert len(server.received) == 1
        await fetched(fetch, at(server), user="another")
        assert len(server.received) == 2
        assert await failure(fetch, at(server), "document") == "type"
        monkeypatch.setattr(module, "RECENT_SECONDS", 0)
        fetch = fetcher(server)
        for _ in range(2):
            await fetched(fetch, at(server))
        assert len(server.received) == 5
        assert not fetch._recent._files


async def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    size = len(base64.b64encode(PNG))
    monkeypatch.setattr(module, "MAX_RECENT_CHARS", 2 * size)
    async with serving(PNG) as server:
        fetch = fetcher(server)
        for path in ("/1", "/2", "/3"):
            await fetched(fetch, at(server, path))
        assert fetch._recent._chars == 2 * size
        assert [url.rpartition("/")[2] for _, url in fetch._recent._files] == ["2", "3"]
        monkeypatch.setattr(module, "MAX_RECENT_CHARS", size - 1)
        await fetched(fetch, at(server, "/4"))  # larger than all there is room for
        assert (fetch._recent._chars, len(fetch._recent._files)) == (0, 0)


async def test_no_failure_is_told_sooner_than_another() -> None:
    loop = asyncio.get_running_loop()
    async with serving(PNG, status=b"404 Not Found") as server:
        for names in (Names([]), Names(["10.0.0.1"]), Names(["127.0.0.1"])):
            fetch = fetcher(server, names=names, limits=FetchLimits(failure_seconds=0.05))
            begun = loop.time()
            await failure(fetch, at(server))
            assert loop.time() - begun >= 0.045
