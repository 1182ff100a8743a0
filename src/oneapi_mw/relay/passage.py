"""Connections to addresses that were checked, and to no others: directly, or through the operator's proxy.

The names in a request serve for TLS and the `Host` field alone. A proxy is told the address, too: resolving the name
once more would undo the check.
"""

from __future__ import annotations

import base64
import ssl
from collections.abc import Iterable, Sequence
from dataclasses import field
from ipaddress import IPv4Address, ip_address
from urllib.parse import unquote, urlsplit

import anyio
import httpcore

from oneapi_mw.immutable import immutable
from oneapi_mw.relay.guard import PORTS, Address

CONNECT_SECONDS = 5.0
"""For one address; the next one is tried after that."""
MAX_ADDRESSES = 4
CLOSE_SECONDS = 1.0
MAX_PROXY_ANSWER_BYTES = 8 * 1024
_SOCKS_PORT = 1080


@immutable
class Proxy:
    """The operator's proxy for fetches."""

    scheme: str
    host: str
    port: int
    user: str = ""
    password: str = field(default="", repr=False)

    @staticmethod
    def of(url: str) -> Proxy | None:
        """From a checked setting; `None` when it is empty."""
        if not url:
            return None
        parts = urlsplit(url)
        port = parts.port or PORTS.get(parts.scheme, _SOCKS_PORT)
        return Proxy(
            parts.scheme, parts.hostname or "", port, unquote(parts.username or ""), unquote(parts.password or "")
        )


class Passage(httpcore.AsyncNetworkBackend):
    """The one connection of one request. Whoever made it closes it."""

    def __init__(
        self,
        addresses: Sequence[Address],
        proxy: Proxy | None = None,
        *,
        tls: ssl.SSLContext,
        network: httpcore.AsyncNetworkBackend | None = None,
    ) -> None:
        """
        Args:
            addresses: checked ones, tried in turn.
            tls: how the proxy proves who it is, where it speaks TLS itself.
            network: what really connects.
        """
        self._addresses = addresses[:MAX_ADDRESSES]
        self._proxy = proxy
        self._tls = tls
        self._network = network or httpcore.AnyIOBackend()
        self._streams: list[httpcore.AsyncNetworkStream] = []

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        failure: Exception = httpcore.ConnectError("no address")
        for address in self._addresses:
            try:
                with anyio.fail_after(CONNECT_SECONDS):
                    return await self._reach(address, port)
            except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProxyError, TimeoutError) as exc:
                failure = exc
        raise httpcore.ConnectError(type(failure).__name__) from None

    async def aclose(self) -> None:
        """Close everything that was opened, also what is no connection yet, and also while being cancelled."""
        for stream in self._streams:
            with anyio.move_on_after(CLOSE_SECONDS, shield=True):
                try:
                    await stream.aclose()
                except (OSError, anyio.ClosedResourceError, anyio.BrokenResourceError):
                    pass  # closed is what it was to be

    async def _reach(self, address: Address, port: int) -> httpcore.AsyncNetworkStream:
        proxy = self._proxy
        if proxy is None:
            stream = await self._dial(str(address), port)
            peer = stream.get_extra_info("server_addr")
            if ip_address(peer[0]) != address:
                raise httpcore.ConnectError("connected to another address")
            return stream
        stream = await self._dial(proxy.host, proxy.port)
        if proxy.scheme == "https":
            stream = await stream.start_tls(self._tls, proxy.host)
        if proxy.scheme == "socks5":
            await _ask_socks(stream, proxy, address, port)
        else:
            await _ask_http(stream, proxy, address, port)
        return stream

    async def _dial(self, host: str, port: int) -> httpcore.AsyncNetworkStream:
        stream = await self._network.connect_tcp(host, port)
        self._streams.append(stream)
        return stream


async def _ask_http(stream: httpcore.AsyncNetworkStream, proxy: Proxy, address: Address, port: int) -> None:
    """A tunnel by CONNECT. RFC 9110, 9.3.6."""
    host = f"{address}:{port}" if isinstance(address, IPv4Address) else f"[{address}]:{port}"
    credentials = ""
    if proxy.user:
        pair = base64.b64encode(f"{proxy.user}:{proxy.password}".encode()).decode()
        credentials = f"proxy-authorization: Basic {pair}\r\n"
    await stream.write(f"CONNECT {host} HTTP/1.1\r\nhost: {host}\r\n{credentials}\r\n".encode())
    answer = b""
    while b"\r\n\r\n" not in answer:
        piece = await stream.read(4096)
        answer += piece
        if not piece or len(answer) > MAX_PROXY_ANSWER_BYTES:
            raise httpcore.ProxyError("the proxy's answer ends early, or never")
    head, _, rest = answer.partition(b"\r\n\r\n")
    if not head.startswith((b"HTTP/1.1 2", b"HTTP/1.0 2")) or rest:  # nobody may speak before we do
        raise httpcore.ProxyError("the proxy refuses")


async def _ask_socks(stream: httpcore.AsyncNetworkStream, proxy: Proxy, address: Address, port: int) -> None:
    """A tunnel by SOCKS 5. RFC 1928, and RFC 1929 for the password."""
    method = 2 if proxy.user else 0
    await stream.write(bytes((5, 1, method)))
    if await _exactly(stream, 2) != bytes((5, method)):
        raise httpcore.ProxyError("the proxy wants another way to sign in")
    if proxy.user:
        user, password = proxy.user.encode()[:255], proxy.password.encode()[:255]
        await stream.write(bytes((1, len(user))) + user + bytes((len(password),)) + password)
        if (await _exactly(stream, 2))[1] != 0:
            raise httpcore.ProxyError("the proxy refuses the password")
    kind = 1 if isinstance(address, IPv4Address) else 4
    await stream.write(bytes((5, 1, 0, kind)) + address.packed + port.to_bytes(2, "big"))
    version, reply, _, bound = await _exactly(stream, 4)
    lengths = {1: 4, 4: 16}
    if version != 5 or reply != 0 or bound not in lengths:
        raise httpcore.ProxyError("the proxy refuses")
    await _exactly(stream, lengths[bound] + 2)


async def _exactly(stream: httpcore.AsyncNetworkStream, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = await stream.read(count - len(data))
        if not piece:
            raise httpcore.ProxyError("the proxy's answer ends early")
        data += piece
    return data
