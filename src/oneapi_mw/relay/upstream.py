"""What the relay needs from an HTTP client: one narrow protocol, and the ways a call can fail.

The relay decides from a fault whether another channel may be tried and whether something may be owed, so the
difference between "not sent" and "sent, no answer" must be exact: `UpstreamFault.dispatched` is false only when
it is certain that no byte of the request has left.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import fields
from typing import Protocol

from oneapi_mw.immutable import immutable
from oneapi_mw.types import RawHeaders

MAX_HEADER_BYTES = 64 * 1024
"""Names and values of all response header fields together."""

MAX_INTERIM_RESPONSES = 16
"""1xx responses skipped before a final one."""

FRAMING_HEADERS = frozenset({"connection", "content-length", "expect", "te", "transfer-encoding", "upgrade"})
"""Request fields that say where a message ends or what becomes of its connection: the client engine's alone."""


@immutable
class Timeouts:
    """How long to wait for an upstream, in seconds. Each is finite and above zero: there is no "unlimited"."""

    connect: float = 5.0
    """Name lookup, a free place in the pool, TCP and TLS together."""
    first_byte: float = 60.0
    """From the moment the request begins to be written until the response's headers are complete."""
    idle: float = 60.0
    """Without a byte of the body while one is awaited; a reader that takes its time is not counted."""
    total: float = 1800.0
    """From the call until the last byte of the body, everything included."""

    def __post_init__(self) -> None:
        for field in fields(self):
            seconds = getattr(self, field.name)
            if not 0 < seconds < math.inf:
                raise ValueError(f"timeout {field.name!r} must be a finite number of seconds above 0, not {seconds!r}")


class UpstreamResponse(Protocol):
    """A response whose headers have arrived. The caller owns it and must call `aclose`."""

    @property
    def status(self) -> int:
        """200 to 599."""

    @property
    def headers(self) -> RawHeaders:
        """As received, names in lower case. Untrusted."""

    def chunks(self) -> AsyncIterator[bytes]:
        """The body as it arrives: not cut anew, not decompressed, never an empty chunk.

        One iterator per response: a second call goes on where the first one stopped. It stops only at the
        clean end of the message.

        Raises: `BodyCut`, `IdleTimeout`, `TotalTimeout`.
        """

    async def read(self, limit: int) -> bytes:
        """The (rest of the) body. Raises as `chunks` does, and `BodyTooLarge` above `limit` bytes."""

    async def aclose(self) -> None:
        """Done with it. The connection is closed unless the message has been received to its clean end."""


class Upstream(Protocol):
    """An HTTP client without habits: no redirects, cookies, retries, decompression, environment."""

    async def send(
        self,
        method: str,
        url: str,
        headers: Sequence[tuple[str, str]],
        body: bytes,
        timeouts: Timeouts,
        *,
        on_dispatch: Callable[[], None] | None = None,
    ) -> UpstreamResponse:
        """Send one request and wait for the headers of its response.

        Cancelling closes the connection at once, here and while the body is read.

        Args:
            url: absolute, http or https, already percent-encoded; goes out as it is.
            headers: `str` pairs, which is what both engines take without a copy; in printable ASCII.
                `accept-encoding: identity` is added when absent, `host` and `content-length` always.
            on_dispatch: called just before the first byte is written; a caller that is cancelled knows from
                it whether something may be owed.

        Raises: `UpstreamFault`; `ValueError` for a URL or header that cannot be sent, naming the header only.
        """

    async def aclose(self) -> None:
        """Close idle connections. To be called after the last response has been closed."""


class UpstreamFault(Exception):
    """A call that got no complete response. The text names no address, header or library."""

    summary = "the upstream failed"
    dispatched: bool = True
    """Whether at least one byte of the request may have reached the upstream."""

    def __init__(self, detail: str = "", *, dispatched: bool | None = None) -> None:
        super().__init__(f"{self.summary}: {detail}" if detail else self.summary)
        if dispatched is not None:
            self.dispatched = dispatched


class ConnectFailed(UpstreamFault):
    """Refused, unreachable, unknown name, or no trust in its certificate."""

    summary, dispatched = "no connection to the upstream", False


class ConnectTimeout(UpstreamFault):
    summary, dispatched = "the upstream did not accept a connection in time", False


class FirstByteTimeout(UpstreamFault):
    summary = "the upstream did not begin its answer in time"


class IdleTimeout(UpstreamFault):
    summary = "the upstream went silent in the middle of its answer"


class TotalTimeout(UpstreamFault):
    """`dispatched` depends on how far the call had come."""

    summary = "the upstream did not finish in time"


class ClosedBeforeResponse(UpstreamFault):
    """The connection ended before the response's headers were complete."""

    summary = "the upstream closed the connection without an answer"

    def __init__(self, detail: str = "", *, reused: bool = False, dispatched: bool | None = None) -> None:
        super().__init__(detail, dispatched=dispatched)
        self.reused = reused
        """It was a kept-alive connection and no byte of a response came: most likely the upstream had dropped
        it before the request arrived, the one case in which the same request may be sent again."""


class BodyCut(UpstreamFault):
    """The connection ended, or its framing broke, before the message did."""

    summary = "the upstream cut its answer short"


class InvalidResponse(UpstreamFault):
    """Not HTTP, too large a header, or a status that answers nothing (1xx, above 599)."""

    summary = "the upstream's answer is not valid HTTP"


class BodyTooLarge(UpstreamFault):
    summary = "the upstream's answer is too large"


_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


@functools.lru_cache(maxsize=512)
def _sendable_name(name: str) -> bool:
    return _TOKEN.fullmatch(name) is not None and name.lower() not in FRAMING_HEADERS


def check_request(url: str, headers: Sequence[tuple[str, str]]) -> None:
    """Refuse what could end a line early or move the end of the message.

    Neither client library checks all of this itself, and a key pasted with its newline must not split a request.

    Raises: `ValueError`, naming the header but neither its value nor the URL.
    """
    if not (url.isascii() and url.isprintable()) or " " in url:
        raise ValueError("the upstream URL must be percent-encoded printable ASCII")
    for name, value in headers:
        if not _sendable_name(name):
            raise ValueError(f"header name {name!r} cannot be sent upstream")
        if not (value.isascii() and (value.isprintable() or value.replace("\t", "").isprintable())):
            raise ValueError(f"the value of header {name!r} must be printable ASCII")


def lowered_headers(raw: RawHeaders) -> list[tuple[bytes, bytes]]:
    """Header fields with lower-case names. Raises `InvalidResponse` above `MAX_HEADER_BYTES`."""
    headers = [(name.lower(), value) for name, value in raw]
    if sum([len(name) + len(value) for name, value in headers]) > MAX_HEADER_BYTES:
        raise InvalidResponse("header block too large")
    return headers
