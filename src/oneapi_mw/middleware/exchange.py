"""The outermost stage: gives a request its id and its `Exchange`, and reports how it ended."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from oneapi_mw.exchange import ENDPOINT, EXCHANGE, Endpoint, Exchange
from oneapi_mw.ids import request_id
from oneapi_mw.scope import route_path
from oneapi_mw.wire.registry import endpoint_for

access_log = logging.getLogger("oneapi_mw.access")

MAX_DROPPED_CHARS = 1000

UNKNOWN_ENDPOINT = Endpoint("unknown", "openai_chat")
"""Paths that belong to no operation: their errors have OpenAI's shape."""


class ExchangeMiddleware:
    """Create the `Exchange`, recognise the endpoint, name the request in the response, write the access log.

    Provides `EXCHANGE` and `ENDPOINT`. Adds `X-Oneapi-Request-Id` to every response, `X-Oneapi-Dropped` when
    something could not be expressed upstream, and `Server-Timing` with the wait for the upstream's first byte.
    """

    requires, provides = (), (EXCHANGE, ENDPOINT)

    def __init__(
        self,
        app: ASGIApp,
        *,
        resolve: Callable[[str], Endpoint | None] = endpoint_for,
        new_id: Callable[[], str] = request_id,
    ) -> None:
        """
        Args:
            new_id: makes request ids of at most 32 characters. Holds and charges go by them, so no two requests may
                have the same one, and no client may choose its own.
        """
        self.app = app
        self._resolve = resolve
        self._new_id = new_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        exchange = Exchange(self._new_id())
        endpoint = self._resolve(route_path(scope)) or UNKNOWN_ENDPOINT

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                exchange.status = message["status"]
                message = {**message, "headers": [*message.get("headers", ()), *_report(exchange)]}
            await send(message)

        try:
            await self.app({**scope, EXCHANGE.name: exchange, ENDPOINT.name: endpoint}, receive, send_with_id)
            if exchange.outcome == "pending":  # an app that has no upstream
                exchange.outcome = "complete"
        except asyncio.CancelledError:
            if exchange.outcome == "pending":
                exchange.outcome = "cancelled"
            raise
        finally:
            if access_log.isEnabledFor(logging.INFO):
                _log(scope, exchange, endpoint)


def _report(exchange: Exchange) -> list[tuple[bytes, bytes]]:
    headers = [(b"x-oneapi-request-id", exchange.request_id.encode())]
    headers += exchange.response_headers
    if exchange.dropped:
        headers.append((b"x-oneapi-dropped", _shortened(exchange.dropped)))
    if exchange.attempts:
        attempt = exchange.attempts[-1]
        if attempt.first_byte_at is not None:
            waited = (attempt.first_byte_at - attempt.started_at) * 1000
            headers.append((b"server-timing", b"upstream;dur=%.1f" % waited))
    return headers


def _shortened(names: Sequence[str]) -> bytes:
    text = ", ".join(names)
    if len(text) > MAX_DROPPED_CHARS:
        text = text[:MAX_DROPPED_CHARS].rpartition(", ")[0] + ", ..."
    return text.encode("latin-1", "replace")


def _log(scope: Scope, exchange: Exchange, endpoint: Endpoint) -> None:
    attempt = exchange.attempts[-1] if exchange.attempts else None
    access_log.info(
        "request_id=%s method=%s operation=%s status=%d outcome=%s code=%s channel=%s attempts=%d charged=%s ms=%d",
        exchange.request_id,
        scope["method"],
        endpoint.operation,
        exchange.status,
        exchange.outcome,
        exchange.code,
        attempt.channel_id if attempt else None,
        len(exchange.attempts),
        exchange.charged,
        exchange.elapsed_ms,
    )
