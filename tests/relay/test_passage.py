"""Connections to checked addresses only, also through proxies."""

from __future__ import annotations

import base64
import ssl
from ipaddress import ip_address
from typing import Any

import anyio
import httpcore
import pytest

from oneapi_mw.relay import passage as module
from oneapi_mw.relay.passage import Passage, Proxy
from tests.support.hostile import Peer, serve, unused_port

TLS = ssl.create_default_context()
LOOPBACK = ip_address("127.0.0.1")


async def echo(peer: Peer) -> None:
    await peer.send(await peer.reader.readexactly(4))


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


async def round_trip(passage: Passage, port: int) -> bytes:
    """What an echoing server says through `passage`. The name must not matter."""
    try:
        stream = await passage.connect_tcp("name.invalid", port)
        await stream.write(b"ping")
        return await stream.read(4)
    finally:
        await passage.aclose()


async def test_the_address_counts_and_not_the_name() -> None:
    async with serve(echo) as server:
        assert await round_trip(Passage([LOOPBACK], tls=TLS), port_of(server.url)) == b"ping"


async def test_the_next_address_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serve(echo) as server:
        addresses = [ip_address("127.0.0.2"), LOOPBACK]  # nobody listens on the first
        assert await round_trip(Passage(addresses, tls=TLS), port_of(server.url)) == b"ping"
        monkeypatch.setattr(module, "MAX_ADDRESSES", 1)
        with pytest.raises(httpcore.ConnectError):
            await round_trip(Passage(addresses, tls=TLS), port_of(server.url))


async def test_nobody_there() -> None:
    with pytest.raises(httpcore.ConnectError):
        await round_trip(Passage([LOOPBACK], tls=TLS), unused_port())
    with pytest.raises(httpcore.ConnectError):
        await round_trip(Passage([], tls=TLS), 443)


async def test_an_address_that_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    class Hanging(httpcore.AnyIOBackend):
        async def connect_tcp(self, *args: Any, **kwargs: Any) -> httpcore.AsyncNetworkStream:
            await anyio.sleep_forever()
            raise AssertionError

    monkeypatch.setattr(module, "CONNECT_SECONDS", 0.01)
    with pytest.raises(httpcore.ConnectError):
        await round_trip(Passage([LOOPBACK], tls=TLS, network=Hanging()), 443)


async def test_a_connection_that_ends_up_elsewhere_is_not_used() -> None:
    class Elsewhere(httpcore.AnyIOBackend):
        async def connect_tcp(self, host: str, *args: Any, **kwargs: Any) -> httpcore.AsyncNetworkStream:
            return await super().connect_tcp("127.0.0.1", *args, **kwargs)

    async def script(peer: Peer) -> None:
        await peer.until_gone()

    async with serve(script) as server:
        with pytest.raises(httpcore.ConnectError):
            await round_trip(Passage([ip_address("8.8.8.8")], tls=TLS, network=Elsewhere()), port_of(server.url))
        await server.peers[0].gone.wait()


@pytest.mark.parametrize(
    ("url", "proxy"),
    [
        ("", None),
        ("http://p", Proxy("http", "p", 80)),
        ("https://p", Proxy("https", "p", 443)),
        ("socks5://p", Proxy("socks5", "p", 1080)),
        ("socks5://[::1]:9", Proxy("socks5", "::1", 9)),
        ("http://u%40x:p%3Aw@p:3128", Proxy("http", "p", 3128, "u@x", "p:w")),
    ],
)
def test_proxies_from_settings(url: str, proxy: Proxy | None) -> None:
    assert Proxy.of(url) == proxy


def test_a_proxys_password_does_not_show() -> None:
    assert "geheim" not in repr(Proxy.of("http://u:geheim@p"))


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:4700::1"])
@pytest.mark.parametrize("user", ["", "u"])
async def test_an_http_proxy_is_told_the_address(address: str, user: str) -> None:
    heads: list[bytes] = []

    async def script(peer: Peer) -> None:
        heads.append(await peer.reader.readuntil(b"\r\n\r\n"))
        await peer.send(b"HTTP/1.1 200 Connection established\r\nvia: x\r\n\r\n")
        await echo(peer)

    async with serve(script) as server:
        proxy = Proxy("http", "127.0.0.1", port_of(server.url), user, "pw" if user else "")
        assert await round_trip(Passage([ip_address(address)], proxy, tls=TLS), 443) == b"ping"
    host = f"[{address}]" if ":" in address else address
    assert heads[0].startswith(f"CONNECT {host}:443 HTTP/1.1\r\nhost: {host}:443\r\n".encode())
    credentials = b"Basic " + base64.b64encode(b"u:pw")
    assert (credentials in heads[0]) is bool(user)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 403 Forbidden\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n",
        b"",
        b"HTTP/1.1 200 OK\r\n\r\nleftover",
        b"SSH-2.0-x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 9000,
    ],
)
async def test_http_proxies_that_refuse_or_talk_nonsense(answer: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        await peer.send(answer)

    async with serve(script) as server:
        proxy = Proxy("http", "127.0.0.1", port_of(server.url))
        with pytest.raises(httpcore.ConnectError):
            await round_trip(Passage([ip_address("8.8.8.8")], proxy, tls=TLS), 443)


@pytest.mark.parametrize(("address", "kind"), [("93.184.216.34", 1), ("2606:4700::1", 4)])
@pytest.mark.parametrize("user", ["", "u"])
async def test_a_socks_proxy_is_told_the_address(address: str, kind: int, user: str) -> None:
    async def script(peer: Peer) -> None:
        read = peer.reader.readexactly
        assert await read(3) == bytes((5, 1, 2 if user else 0))
        await peer.send(bytes((5, 2 if user else 0)))
        if user:
            assert await read(6) == b"\x01\x01u\x02pw"
            await peer.send(b"\x01\x00")
        assert await read(4) == bytes((5, 1, 0, kind))
        packed = ip_address(address).packed
        assert await read(len(packed) + 2) == packed + b"\x01\xbb"
        await peer.send(b"\x05\x00\x00\x01" + bytes(6))
        await echo(peer)

    async with serve(script) as server:
        proxy = Proxy("socks5", "127.0.0.1", port_of(server.url), user, "pw" if user else "")
        assert await round_trip(Passage([ip_address(address)], proxy, tls=TLS), 443) == b"ping"


@pytest.mark.parametrize(
    "answers",
    [
        [b"\x05\xff"],
        [b"\x05\x02", b"\x01\x01"],
        [b"\x05\x02", b"\x01\x00", b"\x05\x05\x00\x01" + bytes(6)],
        [b"\x05\x02", b"\x01\x00", b"\x05\x00\x00\x03" + bytes(6)],
        [b"\x05"],
    ],
)
async def test_socks_proxies_that_refuse_or_talk_nonsense(answers: list[bytes]) -> None:
    async def script(peer: Peer) -> None:
        for answer in answers:
            await peer.reader.read(100)
            await peer.send(answer)

    async with serve(script) as server:
        proxy = Proxy("socks5", "127.0.0.1", port_of(server.url), "u", "pw")
        with pytest.raises(httpcore.ConnectError):
            await round_trip(Passage([ip_address("8.8.8.8")], proxy, tls=TLS), 443)
