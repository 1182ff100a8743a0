"""Exceptions to answers, in the dialect of the endpoint the client called."""

from __future__ import annotations

import logging
import math

import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from oneapi_mw.errors import GatewayError, InternalError
from oneapi_mw.exchange import ENDPOINT, EXCHANGE, Exchange
from oneapi_mw.wire.base import WireFormat
from oneapi_mw.wire.registry import get_format

log = logging.getLogger("oneapi_mw.errors")

RETRY_WORTHWHILE = frozenset(
    {
        "rate_limited",
        "no_channel_available",
        "idempotency_in_progress",
        "store_unavailable",
        "state_store_unavailable",
        "not_started",
        "draining",
    }
)
"""Codes after which a client may simply ask again, as long as nothing was sent upstream."""

POLICY_VIOLATION = 1008  # the close code of a websocket that is refused


class ErrorsMiddleware:
    """Answer what inner stages raise; end a stream that has begun with the format's own error, in its own framing.

    Reads `ENDPOINT` and `EXCHANGE`. Everything that is not a `GatewayError` is logged with its traceback and
    shown as an internal error without detail. A body that has begun and is no stream cannot tell of its failure:
    then the error goes on to the server, which breaks the connection, so that half an answer does not look whole.
    A websocket is closed with the error's code.
    """

    requires, provides = (EXCHANGE, ENDPOINT), ()

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._guard_websocket(scope, receive, send)
            return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        exchange = EXCHANGE.get(scope)
        begun = _Begun(send)
        try:
            await self.app(scope, receive, begun.send)
        except GatewayError as error:
            await self._answer(error, scope, exchange, begun)
        except Exception as exc:
            log.exception("request_id=%s failed: %s", exchange.request_id, type(exc).__name__)
            internal = InternalError("The gateway failed to handle this request; its log has the details")
            await self._answer(internal, scope, exchange, begun)

    async def _answer(self, error: GatewayError, scope: Scope, exchange: Exchange, begun: _Begun) -> None:
        exchange.code = error.code
        if exchange.outcome == "pending":
            exchange.outcome = "failed"
        wire = get_format(exchange.format or ENDPOINT.get(scope).format)
        if not begun.started:
            sent = any(attempt.dispatched for attempt in exchange.attempts)
            retry = error.code in RETRY_WORTHWHILE and not sent
            await send_error(begun.send, error, wire=wire, request_id=exchange.request_id, retry=retry)
        elif not begun.ended:
            if exchange.end_stream is not None:
                tail = exchange.end_stream(error)
            elif begun.streaming:
                tail = wire.encode_stream_error(error, request_id=exchange.request_id)
            else:
                raise error
            await begun.send({"type": "http.response.body", "body": tail})

    async def _guard_websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self.app(scope, receive, send)
        except GatewayError as error:
            await send({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": error.code})


class _Begun:
    """How far a response has come."""

    __slots__ = ("_send", "_start", "ended")

    def __init__(self, send: Send) -> None:
        self._send = send
        self._start: Message | None = None
        self.ended = False

    @property
    def started(self) -> bool:
        return self._start is not None

    @property
    def streaming(self) -> bool:
        """Whether it is a stream of events, which can still end in one that tells of an error."""
        return any(
            name == b"content-type" and value.startswith(b"text/event-stream")
            for name, value in (self._start or {}).get("headers", ())
        )

    async def send(self, message: Message) -> None:
        kind = message["type"]
        if kind == "http.response.start":
            self._start = message
        elif kind == "http.response.body":
            self.ended = not message.get("more_body", False)
        await self._send(message)


async def send_error(
    send: Send, error: GatewayError, *, wire: WireFormat, request_id: str, retry: bool | None = None
) -> None:
    """Send `error` as a whole response in `wire`'s envelope.

    Args:
        retry: whether the client's SDK should simply ask again; by default what the error's code says.
    """
    if retry is None:
        retry = error.code in RETRY_WORTHWHILE
    body = orjson.dumps(wire.encode_error(error, request_id=request_id))
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"x-should-retry", b"true" if retry else b"false"),
    ]
    if error.retry_after is not None:
        # official SDKs ignore a Retry-After above 60 seconds
        seconds = min(60, max(1, math.ceil(error.retry_after)))
        headers.append((b"retry-after", str(seconds).encode()))
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
