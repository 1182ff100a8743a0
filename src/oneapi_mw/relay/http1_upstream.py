"""The default `Upstream`: an HTTP/1.1 client that does what the relay needs and nothing else.

Per request one write, one timer and one wake-up; per network read one piece of the body, however many chunk frames
it held. No task is ever started. Measured against `AiohttpUpstream`: `python -m benchmarks.upstream`.
"""

from __future__ import annotations

import asyncio
import functools
import math
import re
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from urllib.parse import urlsplit

from oneapi_mw.immutable import immutable
from oneapi_mw.relay.deadline import Deadline
from oneapi_mw.relay.http1_connection import Connection, Origin
from oneapi_mw.relay.http1_pool import ConnectionPool
from oneapi_mw.relay.upstream import BodyCut, BodyTooLarge, Timeouts, UpstreamFault, check_request
from oneapi_mw.types import RawHeaders

READ_BUFFER_BYTES = 256 * 1024
"""Reading from a connection pauses when more than this waits to be taken."""

_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"[0-9A-Za-z._-]+|[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*")
_METHOD = re.compile(r"[A-Z]+")
_WITHOUT_BODY = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
"""Methods for which no `content-length` means no body; any other would have to say 0 (RFC 9110, 8.6)."""


class Http1Upstream:
    """Calls upstreams through a pool of kept-alive connections.

    The pool belongs to the event loop in which the first request is made, and is opened by it.
    """

    def __init__(
        self,
        *,
        connections_per_host: int = 0,
        keepalive: float = 15.0,
        dns_ttl: float = 30.0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """
        Args:
            connections_per_host: at most this many at once, further requests wait (`Timeouts.connect`); 0: no limit.
            keepalive: seconds an idle connection is kept, or fewer when the upstream says so.
            dns_ttl: seconds a looked-up address is used.
            tls: trust other certificates than the system does. Certificates are always verified by default.
        """
        self._connections_per_host = connections_per_host
        self._keepalive = keepalive
        self._dns_ttl = dns_ttl
        self._tls = tls
        self._pool: ConnectionPool | None = None

    async def send(
        self,
        method: str,
        url: str,
        headers: Sequence[tuple[str, str]],
        body: bytes,
        timeouts: Timeouts,
        *,
        on_dispatch: Callable[[], None] | None = None,
    ) -> Http1Response:
        """See `Upstream.send`."""
        check_request(url, headers)
        target = _target(method, url)
        head = _head(target, headers, body)
        loop = asyncio.get_running_loop()
        pool = self._pool or self._open(loop)
        deadline = Deadline(loop, timeouts)
        connection: Connection | None = None
        response: Http1Response | None = None
        try:
            connection = pool.take(target.origin) or await pool.acquire(target.origin)
            deadline.dispatch()
            if on_dispatch is not None:
                on_dispatch()
            response = Http1Response(loop, connection, deadline, head_only=method == "HEAD")
            connection.send(response, head, body)
            await response.head()
            return response
        except BaseException as exc:
            deadline.stop()
            if response is not None:
                response.abandon(BodyCut())
            elif connection is not None:
                connection.abort()
            if isinstance(exc, asyncio.CancelledError):
                deadline.raise_if_ours()
            raise

    async def aclose(self) -> None:
        """See `Upstream.aclose`. A later request opens a new pool."""
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.aclose()

    def _open(self, loop: asyncio.AbstractEventLoop) -> ConnectionPool:
        self._pool = ConnectionPool(
            loop,
            connections_per_host=self._connections_per_host,
            keepalive=self._keepalive,
            dns_ttl=self._dns_ttl,
            tls=self._tls,
        )
        return self._pool


class Http1Response:
    """See `UpstreamResponse`. Is its own iterator, and the `Receiver` of its connection.

    It has a connection as long as more may come. What has come whole is kept here, the connection serving others.
    """

    __slots__ = (
        "_buffered",
        "_chunks",
        "_connection",
        "_deadline",
        "_fault",
        "_loop",
        "_paused",
        "_waiter",
        "head_only",
        "headers",
        "status",
    )

    def __init__(
        self, loop: asyncio.AbstractEventLoop, connection: Connection, deadline: Deadline, *, head_only: bool
    ) -> None:
        self.status = 0
        self.headers: RawHeaders = ()
        self.head_only = head_only
        self._loop = loop
        self._connection: Connection | None = connection
        self._deadline = deadline
        self._fault: UpstreamFault | None = None
        self._chunks: list[bytes] = []
        self._buffered = 0
        self._paused = False
        self._waiter: asyncio.Future[None] | None = None

    # --- for the reader

    async def head(self) -> None:
        """Wait until `status` and `headers` are there. Raises as `Upstream.send` does."""
        self._waiter = self._loop.create_future()
        await self._waiter
        self._waiter = None
        if not self.status:
            assert self._fault is not None
            raise self._fault
        if self._connection is not None:
            self._deadline.guard_body(self.abandon)

    def chunks(self) -> AsyncIterator[bytes]:
        return self

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        while not self._chunks:
            if self._is_over():
                raise StopAsyncIteration
            await self._more()
        return self._take()

    async def read(self, limit: int) -> bytes:
        chunks = []
        size = 0
        while True:
            while self._chunks:
                chunk = self._take()
                size += len(chunk)
                if size > limit:
                    self.abandon(BodyCut())
                    raise BodyTooLarge(f"more than {limit} bytes")
                chunks.append(chunk)
            if self._is_over():
                return b"".join(chunks)
            await self._more()

    async def aclose(self) -> None:
        self.abandon(BodyCut())

    def abandon(self, fault: UpstreamFault) -> None:
        """Close the connection, if there still is one; reading further raises `fault` unless all has been read."""
        connection = self._connection
        if connection is None and not self._chunks:
            return
        self._chunks.clear()
        if connection is not None:
            connection.abort()
        self.fail(fault)

    # --- for the connection

    def begin(self, status: int, headers: RawHeaders) -> None:
        self.status, self.headers = status, headers
        self._wake()

    def feed(self, data: bytes) -> None:
        self._chunks.append(data)
        self._buffered += len(data)
        if self._buffered > READ_BUFFER_BYTES and not self._paused and self._connection is not None:
            self._paused = True
            self._connection.pause_reading()
        self._wake()

    def finish(self) -> None:
        if self._paused:
            self._resume()
        self._connection = None
        self._deadline.stop()
        self._wake()

    def fail(self, fault: UpstreamFault) -> None:
        self._fault = fault
        self._connection = None
        self._deadline.stop()
        self._wake()

    # ---

    def _is_over(self) -> bool:
        """Whether the message has ended cleanly. Raises the fault if it has ended otherwise."""
        if self._connection is not None:
            return False
        if self._fault is not None:
            raise self._fault from None
        return True

    def _take(self) -> bytes:
        """All that has come and was not taken yet."""
        chunks = self._chunks
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        self._buffered = 0
        if self._paused:
            self._resume()
        return data

    def _resume(self) -> None:
        self._paused = False
        if self._connection is not None:
            self._connection.resume_reading()

    async def _more(self) -> None:
        """Wait until something comes, or nothing will any more."""
        self._waiter = self._loop.create_future()
        self._deadline.await_byte()
        try:
            await self._waiter
        except BaseException:
            self.abandon(BodyCut())
            raise
        finally:
            self._waiter = None
            self._deadline.due = math.inf

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


@immutable
class _Target:
    """What a method and a URL say about a request."""

    origin: Origin
    start: str
    """The request line, with its line end."""
    host: str
    """The `Host` field, with its line end."""
    sends_length: bool
    """Even without a body."""


@functools.lru_cache(maxsize=512)
def _target(method: str, url: str) -> _Target:
    """Raises: `ValueError`, not naming the URL."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        usual = _PORTS[parts.scheme]
        if not _HOST.fullmatch(host) or port == 0:
            raise ValueError(host)
    except (ValueError, KeyError):
        raise ValueError("the upstream URL must be absolute, http or https, with a valid host and port") from None
    if "@" in parts.netloc:
        raise ValueError("the upstream URL must not contain a user: send an authorization header instead")
    if not _METHOD.fullmatch(method):
        raise ValueError(f"{method!r} is no request method")
    path = (parts.path or "/") + ("?" + parts.query if parts.query else "")
    authority = f"[{host}]" if ":" in host else host
    if port is not None and port != usual:
        authority += f":{port}"
    return _Target(
        Origin(host, port or usual, parts.scheme == "https"),
        f"{method} {path} HTTP/1.1\r\n",
        f"host: {authority}\r\n",
        method not in _WITHOUT_BODY,
    )


def _head(target: _Target, headers: Sequence[tuple[str, str]], body: bytes) -> bytes:
    """Request line and header fields."""
    names = [name.lower() for name, _ in headers]
    host = "" if "host" in names else target.host
    encoding = "" if "accept-encoding" in names else "accept-encoding: identity\r\n"
    length = f"content-length: {len(body)}\r\n" if body or target.sends_length else ""
    fields = "".join([f"{name}: {value}\r\n" for name, value in headers])
    return f"{target.start}{host}{fields}{encoding}{length}\r\n".encode("ascii")
