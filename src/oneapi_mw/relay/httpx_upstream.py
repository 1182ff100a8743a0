"""An `Upstream` over whatever speaks httpx: proxies, HTTP/2, `MockTransport`, an ASGI app, a transport of one's own.

The only module that knows httpx on the relay's path; imported by those who use it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, cast

import anyio
import httpx

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
    UpstreamFault,
    check_request,
    lowered_headers,
)

CLOCK_SLACK = 0.002
"""Seconds a timer may fire early: uvloop rounds to milliseconds."""

CLOSE_SECONDS = 1.0
"""How long closing a response may take; a transport that hangs there is left alone after that."""

_NO_ANSWER = "Server disconnected without sending a response."
"""httpcore's words, the only thing that tells this from a malformed answer: both are `RemoteProtocolError`."""

_OWN_TRANSPORTS = (httpx.AsyncHTTPTransport, httpx.MockTransport, httpx.ASGITransport)


class HttpxUpstream:
    """Calls upstreams through a transport or client that belongs to somebody else, who also closes it.

    A transport is called directly; a client through `AsyncClient.send`, for its proxies, authentication and
    hooks (its default headers, cookies and redirects stay out).

    Whether a request has begun to leave is read from httpcore's `trace` extension. A transport that knows
    nothing of it is taken at its word only when it is httpx's own: others report a connection that was closed
    *after* the request as a connect error, so every fault of theirs counts as dispatched.

    Three things are coarser than with `AiohttpUpstream`: a reused connection is never reported as such, a total
    timeout is noticed when the next chunk is asked for, and how much of what follows a complete message may be
    taken for the next one is up to the transport.
    """

    def __init__(self, transport: httpx.AsyncBaseTransport | httpx.AsyncClient) -> None:
        self._transport = transport
        self._traces = isinstance(transport, httpx.AsyncHTTPTransport)
        self._trusted = isinstance(transport, _OWN_TRANSPORTS)

    async def send(
        self,
        method: str,
        url: str,
        headers: Sequence[tuple[str, str]],
        body: bytes,
        timeouts: Timeouts,
        *,
        on_dispatch: Callable[[], None] | None = None,
    ) -> HttpxResponse:
        """See `Upstream.send`."""
        check_request(url, headers)
        call = _Call(timeouts, on_dispatch, traced=self._traces)
        request = _request(method, url, headers, body, call)
        try:
            async with asyncio.timeout_at(call.send_by()) as call.clock:
                response = await self._send(request)
        except (httpx.RequestError, OSError) as exc:
            raise self._fault(exc, call) from None
        finally:
            await call.close_unfinished()
        try:
            return HttpxResponse(response, call)
        except UpstreamFault:
            await _close(response)
            raise

    async def aclose(self) -> None:
        """Nothing: the transport is its owner's to close."""

    async def _send(self, request: httpx.Request) -> httpx.Response:
        if isinstance(self._transport, httpx.AsyncClient):
            return await self._transport.send(request, stream=True, follow_redirects=False)
        return await self._transport.handle_async_request(request)

    def _fault(self, exc: Exception, call: _Call) -> Exception:
        dispatched = call.dispatched if call.traced else not self._trusted
        match exc:
            case TimeoutError() if call.clock is not None and call.clock.expired():
                return call.late(FirstByteTimeout if call.dispatched else ConnectTimeout)
            case httpx.ConnectTimeout() | httpx.PoolTimeout():
                return ConnectTimeout(dispatched=dispatched)
            case httpx.ConnectError() | httpx.ProxyError():
                return ConnectFailed(dispatched=dispatched)
            case httpx.UnsupportedProtocol() | httpx.LocalProtocolError():
                return ValueError("the upstream request cannot be sent as HTTP")
            case httpx.TimeoutException():
                return FirstByteTimeout()
            case httpx.RemoteProtocolError() if str(exc) != _NO_ANSWER:
                return InvalidResponse()
            case _ if call.traced and not call.dispatched:
                return ConnectFailed()
            case _:
                return ClosedBeforeResponse()


class HttpxResponse:
    """See `UpstreamResponse`."""

    __slots__ = ("_call", "_chunks", "_fault", "_open", "_response", "headers", "status")

    def __init__(self, response: httpx.Response, call: _Call) -> None:
        """Raises: `InvalidResponse`; the caller then closes `response`."""
        self.status = response.status_code
        if not 200 <= self.status < 600:
            raise InvalidResponse(f"status {self.status}")
        self.headers = lowered_headers(response.headers.raw)
        self._response = response
        # Not `aiter_raw`: that needs the request and counts bytes, which is the client's business.
        self._chunks = aiter(cast(httpx.AsyncByteStream, response.stream))
        self._call = call
        self._open = True
        self._fault: UpstreamFault | None = None

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
                await self._end(BodyCut())
                raise BodyTooLarge(f"more than {limit} bytes")
            chunks.append(chunk)
        return b"".join(chunks)

    async def aclose(self) -> None:
        await self._end(BodyCut())

    async def _next(self) -> bytes:
        """What has arrived, waiting for it if need be; empty at the clean end of the message."""
        if not self._open:
            if self._fault is not None:
                raise self._fault
            return b""
        try:
            async with asyncio.timeout_at(self._call.byte_by()) as clock:
                async for chunk in self._chunks:
                    if chunk:
                        return chunk
        except (httpx.RequestError, httpx.StreamError, OSError) as exc:
            fault: UpstreamFault = BodyCut()
            if isinstance(exc, TimeoutError) and clock.expired():
                fault = self._call.late(IdleTimeout)
            elif isinstance(exc, httpx.TimeoutException):
                fault = IdleTimeout()
            await self._end(fault)
            raise fault from None
        except BaseException:
            await self._end(BodyCut())
            raise
        await self._end(None)
        return b""

    async def _end(self, fault: UpstreamFault | None) -> None:
        """Hand the connection back to the transport, which closes it unless the message was complete."""
        if not self._open:
            return
        self._open, self._fault = False, fault
        await _close(self._response)


class _Call:
    """One call's limits, and how far it has come. Times are the event loop's."""

    def __init__(self, timeouts: Timeouts, on_dispatch: Callable[[], None] | None, *, traced: bool) -> None:
        self._now = asyncio.get_running_loop().time
        self._timeouts = timeouts
        self._on_dispatch = on_dispatch
        self._connect_by = self._now() + timeouts.connect
        self._total_at = self._now() + timeouts.total
        self.clock: asyncio.Timeout | None = None
        self.traced = traced
        self.dispatched = False
        self._unfinished: Any = None
        if not traced:
            self._dispatch()

    def send_by(self) -> float:
        """When the headers must be there; moved by the trace of a transport that has one."""
        if self.traced:
            return min(self._connect_by, self._total_at)
        return min(self._connect_by + self._timeouts.first_byte, self._total_at)

    def byte_by(self) -> float:
        """When the next byte of the body must be there."""
        return min(self._now() + self._timeouts.idle, self._total_at)

    def late(self, fault: type[UpstreamFault]) -> UpstreamFault:
        """`fault`, or the total timeout when it is that which has passed."""
        if self._now() + CLOCK_SLACK >= self._total_at:
            return TotalTimeout(dispatched=self.dispatched)
        return fault()

    async def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """httpcore's callback. A tunnel's CONNECT is not the request."""
        if not self.traced:
            self.traced, self.dispatched = True, False
            self._limit(self._connect_by)
        if event.endswith("connect_tcp.complete"):
            self._unfinished = info["return_value"]
        elif event.endswith("start_tls.complete"):
            self._unfinished = None
        elif event.endswith("send_request_headers.started") and info["request"].method != b"CONNECT":
            self._unfinished = None
            self._dispatch()
            self._limit(self._now() + self._timeouts.first_byte)

    async def close_unfinished(self) -> None:
        """Close a connection whose handshake was interrupted: httpcore leaves it open when it is cancelled there."""
        if self._unfinished is not None:
            with anyio.move_on_after(CLOSE_SECONDS, shield=True):
                await self._unfinished.aclose()

    def _dispatch(self) -> None:
        self.dispatched = True
        if self._on_dispatch is not None:
            self._on_dispatch()
            self._on_dispatch = None

    def _limit(self, at: float) -> None:
        if self.clock is not None and not self.clock.expired():
            self.clock.reschedule(min(at, self._total_at))


def _request(method: str, url: str, headers: Sequence[tuple[str, str]], body: bytes, call: _Call) -> httpx.Request:
    """A request with no header fields but its own, `Host` and `Content-Length`."""
    fields = list(headers)
    if not any(name.lower() == "accept-encoding" for name, _ in fields):
        fields.append(("accept-encoding", "identity"))
    timeouts = {"connect": None, "pool": None, "read": None, "write": None}  # `_Call` watches them all
    extensions = {"trace": call.trace, "timeout": timeouts}
    try:
        request = httpx.Request(method, url, headers=fields, content=body or None, extensions=extensions)
    except (httpx.InvalidURL, UnicodeError):
        request = None
    if (
        request is None
        or request.url.scheme not in ("http", "https")
        or not request.url.host
        or (request.url.port or 1) > 65535
    ):
        raise ValueError("the upstream URL must be absolute, http or https, with a valid host and port")
    return request


async def _close(response: httpx.Response) -> None:
    """Close, also while being cancelled."""
    with anyio.move_on_after(CLOSE_SECONDS, shield=True):
        try:
            await response.aclose()
        except (httpx.HTTPError, OSError):
            pass  # how the call went is known already; that its connection was no good any more adds nothing
