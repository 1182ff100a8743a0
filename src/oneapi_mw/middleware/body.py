"""Reading a request's body within limits: size, time, and what gzip may grow it to."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Mapping
from types import TracebackType

from starlette.types import Message, Receive, Scope

from oneapi_mw.errors import (
    InvalidRequest,
    RequestTimeout,
    RequestTooLarge,
    UnsupportedContentEncoding,
    UnsupportedMediaType,
)
from oneapi_mw.immutable import immutable
from oneapi_mw.scope import header

MAX_MESSAGES = 65_536
"""A body in more pieces than this is an attack: each piece costs a trip through the event loop."""


INLINE_BYTES = 20 * 1024
"""Compressed bodies above this are decompressed in a thread."""


_FRAMING = frozenset({b"content-length", b"transfer-encoding", b"content-encoding"})


@immutable
class BodyLimits:
    """`max_bytes` counts after decompression; `max_ratio` is decompressed over compressed size."""

    max_bytes: int = 32 * 1024 * 1024
    timeout: float = 60.0
    """Seconds for the whole body to arrive."""
    max_ratio: int = 20
    allow_gzip: bool = True


class ClientDisconnected(Exception):
    """The client left before its request was complete: there is nobody to answer."""


async def read_body(scope: Scope, receive: Receive, limits: BodyLimits) -> bytes:
    """The whole body, decompressed.

    Raises: `RequestTooLarge`, `RequestTimeout`, `UnsupportedContentEncoding`, `InvalidRequest` for broken gzip,
    `ClientDisconnected`.
    """
    framing = {name: value for name, value in reversed(scope["headers"]) if name in _FRAMING}  # the first one counts
    _check_announced_length(framing, limits)
    encoding = framing.get(b"content-encoding", b"identity").strip().lower()
    if encoding not in (b"identity", b"") and not (encoding == b"gzip" and limits.allow_gzip):
        raise UnsupportedContentEncoding("Content-Encoding is not supported: send the body plain or with gzip")

    body = await _receive_all(receive, limits)
    if encoding != b"gzip":
        return body
    return await asyncio.to_thread(_inflate, body, limits) if len(body) > INLINE_BYTES else _inflate(body, limits)


def as_replayed(scope: Scope, body: bytes) -> Scope:
    """`scope` with the header fields of the plain body, for an app that reads it again."""
    if header(scope, b"content-encoding") is None:
        return scope
    headers = [field for field in scope["headers"] if field[0] not in (b"content-encoding", b"content-length")]
    return {**scope, "headers": [*headers, (b"content-length", b"%d" % len(body))]}


class Replay:
    """`receive` for the inner app: the body once more, whole and plain, then what the server says."""

    __slots__ = ("_body", "_receive")

    def __init__(self, body: bytes, receive: Receive) -> None:
        self._body: bytes | None = body
        self._receive = receive

    async def __call__(self) -> Message:
        body, self._body = self._body, None
        if body is not None:
            return {"type": "http.request", "body": body, "more_body": False}
        return await self._receive()


def check_json_type(scope: Scope) -> None:
    """Raises `UnsupportedMediaType` for a body that calls itself something else than JSON; silence will do."""
    kind = header(scope, b"content-type")
    if not kind or kind == b"application/json":
        return
    kind = kind.partition(b";")[0].strip().lower()
    if kind != b"application/json" and not (kind.startswith(b"application/") and kind.endswith(b"+json")):
        raise UnsupportedMediaType("Content-Type is not supported here: send the body as application/json")


async def _receive_all(receive: Receive, limits: BodyLimits) -> bytes:
    pieces: list[bytes] = []
    size = 0
    try:
        with _Patience(limits.timeout):
            for _ in range(MAX_MESSAGES):
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientDisconnected
                piece = message.get("body", b"")
                size += len(piece)
                if size > limits.max_bytes:
                    raise _too_large(limits)
                pieces.append(piece)
                if not message.get("more_body", False):
                    return piece if len(pieces) == 1 else b"".join(pieces)
    except TimeoutError:
        raise RequestTimeout(f"The request body did not arrive within {limits.timeout:g} s: send it faster") from None
    raise RequestTooLarge("The request body came in too many pieces: send larger chunks")


class _Patience:
    """`asyncio.timeout` in a plain `with`, at a fourth of its price: every request comes by here."""

    __slots__ = ("_cancelling", "_expired", "_task", "_timer")

    def __init__(self, seconds: float) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task: asyncio.Task[object] = task
        self._cancelling = task.cancelling()
        self._expired = False
        self._timer = asyncio.get_running_loop().call_later(seconds, self._expire)

    def _expire(self) -> None:
        self._expired = True
        self._task.cancel()

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._timer.cancel()
        if not self._expired:
            return
        ours_alone = self._task.uncancel() <= self._cancelling
        if ours_alone and kind is not None and issubclass(kind, asyncio.CancelledError):
            raise TimeoutError from exc


def _check_announced_length(framing: Mapping[bytes, bytes], limits: BodyLimits) -> None:
    """Refuse what is announced to be too large before waiting for any of it."""
    length = framing.get(b"content-length")
    if length is None:
        return
    if b"transfer-encoding" in framing:
        raise InvalidRequest("Content-Length and Transfer-Encoding are both sent: send one")
    if not length.isdigit():
        raise InvalidRequest("Content-Length must be a number of bytes")
    if len(length) > 18 or int(length) > limits.max_bytes:
        raise _too_large(limits)


def _too_large(limits: BodyLimits) -> RequestTooLarge:
    return RequestTooLarge(
        f"The request body is larger than {limits.max_bytes} bytes: shorten it, or raise MAX_BODY_MB on the gateway"
    )


def _inflate(body: bytes, limits: BodyLimits) -> bytes:
    """One gzip member, at most `max_bytes` and `max_ratio` times its size (small bodies may grow to 1 MiB)."""
    allowed = min(limits.max_bytes, max(1024 * 1024, len(body) * limits.max_ratio))
    inflater = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        plain = inflater.decompress(body, allowed + 1)
    except zlib.error:
        raise InvalidRequest("The request body is not valid gzip, though Content-Encoding says so") from None
    if len(plain) > allowed:
        raise RequestTooLarge("The request body grows too much when decompressed: send it plain")
    if not inflater.eof:
        raise InvalidRequest("The request body's gzip data is cut off: send all of it")
    if inflater.unused_data:
        raise InvalidRequest("The request body has data after its gzip stream: send one gzip member")
    return plain
