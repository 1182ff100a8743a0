"""A limit on requests per API key."""

from __future__ import annotations

import math

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from oneapi_mw.errors import RateLimited
from oneapi_mw.exchange import EXCHANGE
from oneapi_mw.principal import PRINCIPAL
from oneapi_mw.ratelimit.base import Limiter, Verdict


class RateLimitMiddleware:
    """Refuse a token's requests past its limit, and tell the client what is left.

    Reads `PRINCIPAL`. Adds `x-ratelimit-limit-requests`, `-remaining-requests` and `-reset-requests` to the
    response. Raises `RateLimited` before the inner app has been called.
    """

    requires, provides = (PRINCIPAL,), ()

    def __init__(self, app: ASGIApp, *, limiter: Limiter) -> None:
        self.app = app
        self._limiter = limiter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        verdict = await self._limiter.take(str(PRINCIPAL.get(scope).token_id))
        headers = _headers(verdict)
        exchange = EXCHANGE.find(scope)
        if exchange is not None:  # the exchange stage writes them: one wrapper less around `send`
            exchange.response_headers += headers
        if not verdict.allowed:
            raise RateLimited(
                f"Rate limit of {verdict.limit} requests reached: wait {_whole(verdict.retry_after)} s",
                retry_after=verdict.retry_after,
            )
        if exchange is not None:
            await self.app(scope, receive, send)
            return

        async def send_with_limits(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), *headers]}
            await send(message)

        await self.app(scope, receive, send_with_limits)


def _headers(verdict: Verdict) -> list[tuple[bytes, bytes]]:
    headers = [
        (b"x-ratelimit-limit-requests", b"%d" % verdict.limit),
        (b"x-ratelimit-remaining-requests", b"%d" % verdict.remaining),
        (b"x-ratelimit-reset-requests", b"%ds" % math.ceil(verdict.reset_after)),
    ]
    if not verdict.allowed:
        headers += [
            (b"ratelimit-limit", b"%d" % verdict.limit),
            (b"ratelimit-remaining", b"0"),
            (b"ratelimit-reset", b"%d" % _whole(verdict.retry_after)),
        ]
    return headers


def _whole(seconds: float) -> int:
    """Seconds to tell a client: never zero, which would have it ask again at once."""
    return max(1, math.ceil(seconds))
