"""The request's id, what the response says about it, and the access log."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from oneapi_mw.exchange import ENDPOINT, EXCHANGE, Attempt, Exchange
from oneapi_mw.middleware.exchange import ExchangeMiddleware
from tests.support.harness import Client, call, http_scope


class Inner:
    """Answers with nothing, after doing something to the exchange."""

    def __init__(self, **fields: Any) -> None:
        self.fields = fields
        self.exchange: Exchange
        self.endpoint: Any = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.exchange, self.endpoint = EXCHANGE.get(scope), ENDPOINT.get(scope)
        for name, value in self.fields.items():
            setattr(self.exchange, name, value)
        await send({"type": "http.response.start", "status": 201, "headers": [(b"x-inner", b"1")]})
        await send({"type": "http.response.body", "body": b""})


async def test_every_answer_is_named() -> None:
    inner = Inner()
    exchanged = await call(ExchangeMiddleware(inner), headers={"x-oneapi-request-id": "mine"})
    assert exchanged.headers == {"x-inner": "1", "x-oneapi-request-id": inner.exchange.request_id}
    assert inner.exchange.request_id != "mine"
    assert len(inner.exchange.request_id) == 32
    assert (inner.exchange.status, inner.exchange.outcome) == (201, "complete")


async def test_what_inner_stages_report() -> None:
    attempt = Attempt(1, "", "", "m", "", "openai_chat", started_at=1.0, first_byte_at=1.0125)
    inner = Inner(
        response_headers=[(b"x-ratelimit-limit-requests", b"5")], dropped=["seed", "top_k"], attempts=[attempt]
    )
    exchanged = await call(ExchangeMiddleware(inner, new_id=lambda: "r1"))
    assert exchanged.headers == {
        "x-inner": "1",
        "x-oneapi-request-id": "r1",
        "x-ratelimit-limit-requests": "5",
        "x-oneapi-dropped": "seed, top_k",
        "server-timing": "upstream;dur=12.5",
    }


@pytest.mark.parametrize(
    ("path", "root", "operation"),
    [
        ("/v1/chat/completions", "", "chat"),
        ("/v1/chat/completions", "/llm", "chat"),
        ("/v1/chat/completions/", "", "unknown"),
        ("/", "", "unknown"),
    ],
)
async def test_the_endpoint_is_found_below_the_mount(path: str, root: str, operation: str) -> None:
    inner = Inner()
    await call(ExchangeMiddleware(inner), "POST", path, root_path=root)
    assert inner.endpoint.operation == operation
    assert inner.endpoint.format == "openai_chat"


async def test_the_hosts_scope_stays_as_it_is() -> None:
    scope = http_scope()
    before = dict(scope)
    client = Client()
    await ExchangeMiddleware(Inner())(scope, client.receive, client.send)
    assert scope == before


async def test_the_access_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "oneapi_mw.access")
    inner = Inner(charged=7, code="x", outcome="failed", attempts=[Attempt(3, "", "", "m", "", "openai_chat")])
    await call(ExchangeMiddleware(inner, new_id=lambda: "r1"), "POST", "/v1/chat/completions")
    (record,) = caplog.records
    assert record.getMessage().startswith(
        "request_id=r1 method=POST operation=chat status=201 outcome=failed code=x channel=3 attempts=1 charged=7 ms="
    )


@pytest.mark.parametrize("outcome", ["cancelled", "complete"])
async def test_a_cancelled_request_is_logged_too(outcome: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "oneapi_mw.access")

    async def cancelled(scope: Scope, receive: Receive, send: Send) -> None:
        if outcome == "complete":
            EXCHANGE.get(scope).outcome = outcome
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await call(ExchangeMiddleware(cancelled))
    assert f"outcome={outcome} " in caplog.text


async def test_other_scopes_pass() -> None:
    seen: list[Scope] = []

    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope)

    await ExchangeMiddleware(inner)({"type": "websocket"}, Client().receive, Client().send)
    assert seen == [{"type": "websocket"}]
