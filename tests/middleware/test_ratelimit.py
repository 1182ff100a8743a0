"""The limit on requests of a key."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from oneapi_mw.errors import RateLimited
from oneapi_mw.exchange import EXCHANGE, Exchange
from oneapi_mw.middleware.ratelimit import RateLimitMiddleware
from oneapi_mw.principal import PRINCIPAL
from oneapi_mw.ratelimit.base import Verdict
from tests.relay.stack import principal
from tests.support.harness import Client, Exchanged, http_scope


class Fixed:
    def __init__(self, verdict: Verdict) -> None:
        self.verdict = verdict
        self.keys: list[str] = []

    async def take(self, key: str) -> Verdict:
        self.keys.append(key)
        return self.verdict


async def ok(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": b"ok"})


ALLOWED = Verdict(True, 5, 4, 9.2)
REFUSED = Verdict(False, 5, 0, 9.2, 3.1)
TOLD = {
    "x-ratelimit-limit-requests": "5",
    "x-ratelimit-remaining-requests": "4",
    "x-ratelimit-reset-requests": "10s",
}


async def run(verdict: Verdict, scope: Scope) -> tuple[Exchanged, Fixed]:
    limiter, client = Fixed(verdict), Client()
    await RateLimitMiddleware(ok, limiter=limiter)(PRINCIPAL.put(scope, principal()), client.receive, client.send)
    return client.exchanged, limiter


async def test_alone_it_writes_its_own_headers() -> None:
    exchanged, limiter = await run(ALLOWED, http_scope())
    assert exchanged.headers == TOLD
    assert exchanged.body == b"ok"
    assert limiter.keys == ["1"]


async def test_behind_an_exchange_stage_that_one_writes_them() -> None:
    exchange = Exchange("r")
    exchanged, _ = await run(ALLOWED, EXCHANGE.put(http_scope(), exchange))
    assert exchanged.headers == {}
    assert {name.decode(): value.decode() for name, value in exchange.response_headers} == TOLD


@pytest.mark.parametrize(("wait", "told"), [(3.1, 4), (0.0, 1), (0.001, 1)])
async def test_past_the_limit(wait: float, told: int) -> None:
    exchange = Exchange("r")
    verdict = Verdict(False, 5, 0, 9.2, wait)
    with pytest.raises(RateLimited, match=f"of 5 requests reached: wait {told} s") as caught:
        await run(verdict, EXCHANGE.put(http_scope(), exchange))
    assert caught.value.retry_after == wait
    headers = dict(exchange.response_headers)
    assert headers[b"ratelimit-limit"] == b"5"
    assert headers[b"ratelimit-remaining"] == b"0"
    assert headers[b"ratelimit-reset"] == b"%d" % told


async def test_websockets_count_and_other_scopes_do_not() -> None:
    scope: dict[str, Any] = {"type": "websocket"}
    with pytest.raises(RateLimited):
        await run(REFUSED, scope)
    _, limiter = await run(REFUSED, {"type": "lifespan"})
    assert limiter.keys == []
