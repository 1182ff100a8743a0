"""An `Upstream` over aiohttp's client engine, one level below `ClientSession`.

Connector, request and response of aiohttp are used directly. What the session adds (cookies, redirects, retries
of idempotent requests, proxies from the environment, timeouts of its own) is not wanted here, and without it the
moment at which a request begins to leave is a line in `send` rather than something to be guessed from an error.
"""

from __future__ import annotations

import asyncio
import errno
import functools
import io
import math
import ssl
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any, cast

from aiohttp import (
    ClientConnectorCertificateError,
    ClientConnectorDNSError,
    ClientConnectorSSLError,
    ClientError,
    ClientPayloadError,
    ClientRequest,
    ClientResponse,
    ClientResponseError,
    ClientTimeout,
    StreamReader,
    TCPConnector,
    hdrs,
)
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.helpers import TimerNoop
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import RawResponseMessage
from yarl import URL

from oneapi_mw.relay.deadline import Deadline
from oneapi_mw.relay.upstream import (
    MAX_INTERIM_RESPONSES,
    BodyCut,
    BodyTooLarge,
    ClosedBeforeResponse,
    ConnectFailed,
    ConnectTimeout,
    InvalidResponse,
    Timeouts,
    UpstreamFault,
    check_request,
    lowered_headers,
)

READ_BUFFER_BYTES = 64 * 1024
"""Reading from a connection pauses when twice this much waits to be taken."""

_UNTIMED = ClientTimeout(total=None, connect=None, sock_connect=None, sock_read=None)
_NO_TIMER = TimerNoop()
_TRANSPORT_ERRORS = (ClientError, HttpProcessingError, OSError, RuntimeError)
"""What aiohttp raises while a body is read; `RuntimeError` is its word for a connection already gone."""

LARGE_BODY_BYTES = 1024 * 1024
"""Above this a body is written in slices, so that encrypting it does not hold up the event loop."""


class AiohttpUpstream:
    """Calls upstreams through a pool of kept-alive connections.

    The pool belongs to the event loop in which the first request is made, and is opened by it.
    """

    def __init__(
        self,
        *,
        connections_per_host: int = 0,
        keepalive: float = 15.0,
        dns_ttl: int = 30,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """
        Args:
            connections_per_host: at most this many at once, further requests wait (`Timeouts.connect`); 0: no limit.
            keepalive: seconds an idle connection is kept.
            dns_ttl: seconds a looked-up address is used.
            tls: trust other certificates than the system does. Certificates are always verified by default.
        """
        self._connections_per_host = connections_per_host
        self._keepalive = keepalive
        self._dns_ttl = dns_ttl
        self._tls = tls
        self._connector: _Connector | None = None

    async def send(
        self,
        method: str,
        url: str,
        headers: Sequence[tuple[str, str]],
        body: bytes,
        timeouts: Timeouts,
        *,
        on_dispatch: Callable[[], None] | None = None,
    ) -> AiohttpResponse:
        """See `Upstream.send`."""
        loop = asyncio.get_running_loop()
        connector = self._connector or self._open()
        request = _request(loop, method, url, headers, body)
        deadline = Deadline(loop, timeouts)
        connection: Connection | None = None
        wire: _Wire | None = None
        response: ClientResponse | None = None
        try:
            connection, wire = await _connect(connector, request)
            deadline.dispatch()
            if on_dispatch is not None:
                on_dispatch()
            response = await request.send(connection)
            await response.start(connection)
            return AiohttpResponse(response, wire, deadline)
        except BaseException as exc:
            deadline.stop()
            _abort(connection, response)
            if isinstance(exc, asyncio.CancelledError):
                deadline.raise_if_ours()
                raise
            raise (_connect_fault(exc) if wire is None else _answer_fault(exc, wire)) from None

    async def aclose(self) -> None:
        """See `Upstream.aclose`. A later request opens a new pool."""
        connector, self._connector = self._connector, None
        if connector is not None:
            await connector.close()

    def _open(self) -> _Connector:
        self._connector = _Connector(
            limit=0,
            limit_per_host=self._connections_per_host,
            keepalive_timeout=self._keepalive,
            ttl_dns_cache=self._dns_ttl,
            ssl=self._tls if self._tls is not None else True,
        )
        return self._connector


class AiohttpResponse:
    """See `UpstreamResponse`. Is its own iterator: a generator would leave its clean-up to a later task."""

    __slots__ = ("_content", "_deadline", "_fault", "_open", "_response", "headers", "status")

    def __init__(self, response: ClientResponse, wire: _Wire, deadline: Deadline) -> None:
        """Raises: `InvalidResponse`; the caller then closes `response`."""
        self.status = response.status
        if not 200 <= self.status < 600:
            raise InvalidResponse(f"status {self.status}")
        self.headers = lowered_headers(response.raw_headers)
        self._response = response
        self._content = response.content
        self._open = True
        self._fault: UpstreamFault | None = None
        self._deadline = deadline
        deadline.guard_body(self._expire)
        wire.carry(response.content)

    def chunks(self) -> AsyncIterator[bytes]:
        return self

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        chunk = await self._next()
        if not chunk:
            raise StopAsyncIteration
        return chunk

    async def read(self, limit: int) -> bytes:
        chunks = []
        size = 0
        while chunk := await self._next():
            size += len(chunk)
            if size > limit:
                self._abort(BodyCut())
                raise BodyTooLarge(f"more than {limit} bytes")
            chunks.append(chunk)
        return b"".join(chunks)

    async def aclose(self) -> None:
        self._abort(BodyCut())

    async def _next(self) -> bytes:
        """What has arrived, waiting for it if need be; empty at the clean end of the message."""
        if not self._open:
            if self._fault is not None:
                raise self._fault
            return b""
        deadline = self._deadline
        deadline.await_byte()
        try:
            chunk = await self._content.readany()
        except BaseException as exc:
            self._abort(BodyCut())
            if isinstance(exc, _TRANSPORT_ERRORS):
                assert self._fault is not None
                raise self._fault from None
            raise
        deadline.due = math.inf
        if not chunk:
            self._open = False
            deadline.stop()
        return chunk

    def _expire(self, fault: UpstreamFault) -> None:
        if not self._content.is_eof():  # else nothing is awaited from the upstream, only our reader is slow
            self._abort(fault)

    def _abort(self, fault: UpstreamFault) -> None:
        """Close the connection, if this response still has one; reading further raises `fault`."""
        if not self._open:
            return
        self._open, self._fault = False, fault
        self._deadline.stop()
        _abort(self._response.connection, self._response)


class _Wire(ResponseHandler):
    """One connection; knows how often it was used and whether anything was heard since its last request.

    It also tells the reader of a body about each way in which that body can break. aiohttp does so when the
    connection ends, but not for a malformed chunk (the reader would wait for ever), and it takes a reset for the
    end of a body that lasts until its connection is closed.
    """

    requests = 0
    heard = False
    interim = 0
    body: StreamReader | None = None

    def begin(self) -> None:
        """A request is about to be written."""
        self.requests += 1
        self.heard = False
        self.interim = 0
        self.body = None

    def carry(self, body: StreamReader) -> None:
        """The response's headers are there, and `body` is being read."""
        self.body = body
        failure = self.exception()
        if failure is not None:
            self._break_body(failure)

    def data_received(self, data: bytes) -> None:
        self.heard = True
        super().data_received(data)

    def set_exception(self, exc: BaseException, *cause: BaseException) -> None:
        super().set_exception(exc, *cause)
        self._break_body(exc)

    def connection_lost(self, exc: BaseException | None) -> None:
        if exc is not None:
            self._break_body(ClientPayloadError())
        super().connection_lost(exc)

    def _break_body(self, exc: BaseException) -> None:
        if self.body is not None and not self.body.is_eof():
            self.body.set_exception(exc)

    def feed_data(self, data: tuple[RawResponseMessage, StreamReader], size: int = 0) -> None:
        """Takes a parsed response head. 1xx ones are skipped by the reader, but not without end."""
        if data[0].code < 200:
            self.interim += 1
        if self.interim <= MAX_INTERIM_RESPONSES:
            super().feed_data(data, size)
        elif self.exception() is None:
            self.set_exception(HttpProcessingError(message="too many interim responses"))


class _Connector(TCPConnector):
    """A pool of `_Wire` connections."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        # There is no public hook for this; `_connect` would notice if it stopped working.
        self._factory = cast("functools.partial[ResponseHandler]", functools.partial(_Wire, loop=self._loop))


class _Request(ClientRequest):
    """A request with no header fields but its own, `Host` and `Content-Length`."""

    def update_auto_headers(self, skip_auto_headers: Iterable[str] | None) -> None:
        self.headers.setdefault(hdrs.ACCEPT_ENCODING, "identity")


def _request(
    loop: asyncio.AbstractEventLoop, method: str, url: str, headers: Sequence[tuple[str, str]], body: bytes
) -> _Request:
    check_request(url, headers)
    try:
        target = URL(url, encoded=True)
        if target.scheme not in ("http", "https"):
            raise ValueError(target.scheme)
        data = body if len(body) <= LARGE_BODY_BYTES else io.BytesIO(body)
        return _Request(method, target, headers=headers, data=data or None, loop=loop, timer=_NO_TIMER)
    except ValueError:
        raise ValueError("the upstream URL must be absolute, http or https, with a valid host and port") from None


async def _connect(connector: _Connector, request: ClientRequest) -> tuple[Connection, _Wire]:
    """A connection on which `request` may be written now."""
    while True:
        connection = await connector.connect(request, traces=[], timeout=_UNTIMED)
        wire = connection.protocol
        assert isinstance(wire, _Wire)
        if wire.requests and wire.should_close:
            # Something came while it was idle: whatever that is, it answers no request of ours.
            connection.close()
            continue
        wire.begin()
        wire.set_response_params(
            timer=_NO_TIMER,
            skip_payload=request.method == hdrs.METH_HEAD,
            read_until_eof=True,
            auto_decompress=False,
            read_bufsize=READ_BUFFER_BYTES,
        )
        return connection, wire


def _abort(connection: Connection | None, response: ClientResponse | None) -> None:
    """Close at once, without flushing what could not be written. A connection given back already is left alone."""
    if connection is not None and connection.transport is not None:
        connection.transport.abort()
    if response is not None:
        response.close()
    if connection is not None:
        connection.close()


def _connect_fault(exc: BaseException) -> BaseException:
    match exc:
        case ClientConnectorDNSError() | UnicodeError():  # the latter: a name that no DNS name can be
            return ConnectFailed("name not resolved")
        case ClientConnectorCertificateError():
            return ConnectFailed("certificate not trusted")
        case ClientConnectorSSLError():
            return ConnectFailed("no TLS")
        case TimeoutError():
            return ConnectTimeout()
        case OSError(errno=errno.ECONNREFUSED):
            return ConnectFailed("refused")
        case ClientError() | OSError():
            return ConnectFailed()
        case _:
            return exc


def _answer_fault(exc: BaseException, wire: _Wire) -> BaseException:
    match exc:
        case ClientResponseError() | HttpProcessingError():
            return InvalidResponse()
        case ClientError() | OSError():
            return ClosedBeforeResponse(reused=wire.requests > 1 and not wire.heard)
        case _:
            return exc
