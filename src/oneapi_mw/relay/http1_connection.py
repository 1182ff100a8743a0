"""One HTTP/1.1 connection to an upstream: what arrives on it goes to whoever awaits a response there.

    idle -> asked (a request is being written) -> answering (its response's head has come) -> idle, or closed

Anything out of turn closes the connection: a byte while it is idle, one behind the end of a message, a message
that is not one. Parsing is llhttp's, through `httptools`; what llhttp leaves open is limited here.
"""

from __future__ import annotations

import asyncio
import re
from typing import NamedTuple, Protocol, cast

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from oneapi_mw.relay.upstream import (
    MAX_HEADER_BYTES,
    MAX_INTERIM_RESPONSES,
    BodyCut,
    ClosedBeforeResponse,
    InvalidResponse,
    UpstreamFault,
)
from oneapi_mw.types import RawHeaders

JOINED_BYTES = 64 * 1024
"""Up to this size a body is copied behind its head: cheaper than handing the transport two pieces."""

LARGE_BODY_BYTES = 1024 * 1024
"""Above this a body is written in slices, so that encrypting it does not hold up the event loop."""

SLICE_BYTES = 256 * 1024

MAX_BARREN_BYTES = 2 * MAX_HEADER_BYTES
"""Received in a row without a byte of a body: heads, trailers, chunk extensions. llhttp sets them no limit."""

_TIMEOUT_HINT = re.compile(rb"timeout\s*=\s*(\d{1,6})", re.IGNORECASE)


class Origin(NamedTuple):
    """Whom a connection may be used for. `host` is a name or an address, without brackets."""

    host: str
    port: int
    tls: bool


class Receiver(Protocol):
    """Who awaits a response. Called in this order; after `finish` or `fail` no more."""

    head_only: bool
    """The request was a HEAD: there is no body, whatever the fields say."""

    def begin(self, status: int, headers: RawHeaders) -> None: ...

    def feed(self, data: bytes) -> None: ...

    def finish(self) -> None: ...

    def fail(self, fault: UpstreamFault) -> None: ...


class Owner(Protocol):
    """Who lends connections out."""

    def release(self, connection: Connection, *, reusable: bool) -> None:
        """Nobody uses it any more. Called once each time it was lent out (`Connection.lent`)."""

    def forget(self, connection: Connection) -> None:
        """It is gone."""


class _Enough(Exception):
    """What follows belongs to no message of ours."""


class Connection(asyncio.Protocol):
    """See the module. Everything public here is the owner's and the sender's; `on_*` is the parser's."""

    __slots__ = (
        "_answering",
        "_barren",
        "_ended",
        "_frames",
        "_gone",
        "_headers",
        "_heard",
        "_interim",
        "_keep_alive",
        "_loop",
        "_owner",
        "_parser",
        "_receiver",
        "_requests",
        "_transport",
        "_unsent",
        "_write_paused",
        "idle_until",
        "lent",
        "on_body",
        "origin",
        "patience",
    )

    _transport: asyncio.Transport

    def __init__(self, owner: Owner, origin: Origin, loop: asyncio.AbstractEventLoop) -> None:
        self.origin = origin
        self._owner = owner
        self._loop = loop
        self._receiver: Receiver | None = None
        self._frames: list[bytes] = []
        # A Python function here, called for every HTTP chunk frame, would be most of what a stream costs.
        self.on_body = self._frames.append
        self._headers: list[tuple[bytes, bytes]] = []
        self._answering = self._ended = self._keep_alive = self._heard = False
        self._requests = self._interim = self._barren = 0
        self._unsent: memoryview | None = None
        self._write_paused = False
        self._gone: asyncio.Future[None] = loop.create_future()
        self.lent = False
        self.idle_until = 0.0
        self.patience: float | None = None
        """Seconds the upstream says it keeps an idle connection."""
        self._parser = HttpResponseParser(self)
        # Both are read the same way by everybody, and seen in the wild: bare LF (RFC 9112, 2.2), padded chunk sizes.
        self._parser.set_dangerous_leniencies(lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True)

    # --- for the sender and the owner

    @property
    def closing(self) -> bool:
        """It can take no request."""
        return self._transport.is_closing()

    def send(self, receiver: Receiver, head: bytes, body: bytes) -> None:
        """Write a request, whose response is `receiver`'s."""
        self._receiver = receiver
        self._requests += 1
        self._headers = []
        self._answering = self._ended = self._heard = False
        self._interim = self._barren = 0
        size = len(body)
        if size <= JOINED_BYTES:
            self._transport.write(head + body)
        elif size <= LARGE_BODY_BYTES:
            self._transport.writelines((head, body))
        else:
            self._transport.write(head)
            self._unsent = memoryview(body)
            self._write_on()

    def pause_reading(self) -> None:
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def abort(self) -> None:
        """Close at once, without flushing what could not be written. Its receiver is told nothing any more."""
        self._receiver = self._unsent = None
        self._transport.abort()
        if self.lent:
            self._owner.release(self, reusable=False)

    def cut(self) -> None:
        """Close at once: this is the end of whatever was being received, and its receiver is told."""
        reused = self._requests > 1 and not self._heard
        self._fail(BodyCut() if self._answering else ClosedBeforeResponse(reused=reused))

    async def wait_gone(self) -> None:
        """Wait until the socket is closed."""
        await self._gone

    # --- for the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass

    def data_received(self, data: bytes) -> None:
        receiver = self._receiver
        if receiver is None:
            # Whatever it is, it answers no request of ours.
            self.abort()
            return
        self._heard = True
        self._barren += len(data)
        failure: Exception | None = None
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as exc:
            failure = exc
        frames = self._frames
        if frames:
            self._barren = 0
            chunk = frames[0] if len(frames) == 1 else b"".join(frames)
            frames.clear()
            receiver.feed(chunk)
        if self._ended:
            self._finish(reusable=self._keep_alive and failure is None)
        elif failure is not None or self._barren > MAX_BARREN_BYTES:
            self._fail(BodyCut() if self._answering else _invalid(failure))

    def eof_received(self) -> None:
        """The one clean end of a connection. Returns `None`: the transport then closes."""
        if self._receiver is not None and self._answering and self._lasts_until_closed():
            self._finish(reusable=False)
        else:
            self.cut()

    def connection_lost(self, exc: Exception | None) -> None:
        self.cut()
        del self._parser  # it refers to our methods
        self._owner.forget(self)
        self._gone.set_result(None)

    def pause_writing(self) -> None:
        self._write_paused = True

    def resume_writing(self) -> None:
        self._write_paused = False
        self._write_on()

    # --- for the parser; what is raised here stops it, and comes out of `feed_data`

    def on_message_begin(self) -> None:
        if self._ended:
            raise _Enough

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._answering:  # else it is a trailer
            self._headers.append((name.lower(), value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if 100 <= status < 200 and status != 101:
            self._interim += 1
            if self._interim > MAX_INTERIM_RESPONSES:
                raise InvalidResponse("too many interim responses")
            return
        if not 200 <= status < 600:
            raise InvalidResponse(f"status {status}")
        headers = self._headers
        if self._barren > MAX_HEADER_BYTES and sum([len(n) + len(v) for n, v in headers]) > MAX_HEADER_BYTES:
            raise InvalidResponse("header block too large")
        receiver = self._receiver
        assert receiver is not None
        self._answering = True
        receiver.begin(status, headers)
        if receiver.head_only:
            # llhttp cannot be told so and would wait for a body. Stopped here it is of no use for another message.
            self._ended = True
            raise _Enough

    def on_message_complete(self) -> None:
        if self._answering:
            self._ended = True
            self._keep_alive = self._parser.should_keep_alive()
        else:  # an interim response
            self._headers = []
            self._frames.clear()

    # --- ends

    def _finish(self, *, reusable: bool) -> None:
        """The message has been received whole."""
        receiver, transport = self._receiver, self._transport
        assert receiver is not None
        self._receiver = None
        receiver.finish()
        if reusable and not transport.is_closing() and not self._is_writing():
            if self._requests == 1:
                self.patience = _patience(self._headers)
            self._owner.release(self, reusable=True)
        else:
            self.abort()

    def _fail(self, fault: UpstreamFault) -> None:
        receiver = self._receiver
        self.abort()
        if receiver is not None:
            receiver.fail(fault)

    def _lasts_until_closed(self) -> bool:
        """Whether the body has no other end than its connection's (RFC 9112, 6.3)."""
        return not any(
            name == b"content-length" or (name == b"transfer-encoding" and b"chunked" in value.lower())
            for name, value in self._headers
        )

    # --- writing

    def _is_writing(self) -> bool:
        """The upstream has answered without having read all of the request: it may never do so."""
        return self._unsent is not None or self._transport.get_write_buffer_size() > 0

    def _write_on(self) -> None:
        if self._unsent is None or self._write_paused:
            return
        piece = self._unsent[:SLICE_BYTES]
        self._unsent = self._unsent[SLICE_BYTES:] if len(self._unsent) > SLICE_BYTES else None
        self._transport.write(piece)
        if self._unsent is not None and not self._write_paused:
            self._loop.call_soon(self._write_on)


def _invalid(failure: Exception | None) -> InvalidResponse:
    """What was raised in a callback is the context of what the parser raises."""
    told = failure and failure.__context__
    return told if isinstance(told, InvalidResponse) else InvalidResponse()


def _patience(headers: RawHeaders) -> float | None:
    """What the upstream's `Keep-Alive` field promises, less the second it may take to notice that it is over."""
    for name, value in headers:
        if name == b"keep-alive" and (hint := _TIMEOUT_HINT.search(value)):
            return float(hint[1]) - 1
    return None
