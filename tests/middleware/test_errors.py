"""What a client sees of an exception, before and after its answer has begun."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from oneapi_mw.errors import GatewayError, InvalidRequest, NoChannelAvailable, RateLimited, StoreUnavailable
from oneapi_mw.exchange import ENDPOINT, EXCHANGE, Attempt, Endpoint, Exchange
from oneapi_mw.middleware.errors import ErrorsMiddleware
from tests.support.harness import Client, Exchanged, http_scope

START = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]}
JSON_START = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]}


def failing(error: BaseException, *messages: Message) -> ASGIApp:
    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        for message in messages:
            await send(message)
        raise error

    return inner


async def run(inner: ASGIApp, exchange: Exchange | None = None) -> Exchanged:
    scope = EXCHANGE.put(http_scope("POST"), exchange or Exchange("req-1"))
    client = Client()
    await ErrorsMiddleware(inner)(ENDPOINT.put(scope, Endpoint("chat", "openai_chat")), client.receive, client.send)
    return client.exchanged


async def test_an_error_in_the_clients_dialect() -> None:
    exchange = Exchange("req-1")
    exchanged = await run(failing(InvalidRequest("seed is odd: make it even", param="seed")), exchange)
    assert exchanged.status == 400
    assert exchanged.json() == {
        "error": {
            "message": "seed is odd: make it even (request id: req-1)",
            "type": "invalid_request_error",
            "param": "seed",
            "code": "invalid_request",
        }
    }
    assert exchanged.headers == {
        "content-type": "application/json",
        "content-length": str(len(exchanged.body)),
        "x-should-retry": "false",
    }
    assert (exchange.code, exchange.outcome) == ("invalid_request", "failed")


@pytest.mark.parametrize(
    ("error", "dispatched", "retry", "after"),
    [
        (RateLimited("wait", retry_after=0.2), False, "true", "1"),
        (RateLimited("wait", retry_after=59.1), False, "true", "60"),
        (RateLimited("wait", retry_after=600), False, "true", "60"),
        (NoChannelAvailable("none"), False, "true", None),
        (StoreUnavailable("away", retry_after=1), False, "true", "1"),
        (StoreUnavailable("away", retry_after=1), True, "false", "1"),
        (GatewayError("no"), False, "false", None),
    ],
)
async def test_whether_to_ask_again(error: GatewayError, dispatched: bool, retry: str, after: str | None) -> None:
    exchange = Exchange("r")
    exchange.attempts.append(Attempt(1, "", "", "m", "", "openai_chat", dispatched=dispatched))
    exchanged = await run(failing(error), exchange)
    assert exchanged.headers["x-should-retry"] == retry
    assert exchanged.headers.get("retry-after") == after


@pytest.mark.parametrize("error", [RuntimeError("secret"), ExceptionGroup("secret", [ValueError()])])
async def test_what_nobody_expected_is_logged_and_not_shown(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    exchanged = await run(failing(error))
    assert exchanged.status == 500
    assert exchanged.json()["error"]["code"] == "internal_error"
    assert b"secret" not in exchanged.body
    assert "request_id=req-1" in caplog.text
    assert "secret" in caplog.text


async def test_cancellation_is_no_error() -> None:
    with pytest.raises(asyncio.CancelledError):
        await run(failing(asyncio.CancelledError()))


@pytest.mark.parametrize("error", [StoreUnavailable("away"), RuntimeError("secret")])
async def test_a_stream_that_has_begun_ends_in_an_error_event(error: Exception) -> None:
    exchanged = await run(failing(error, START, {"type": "http.response.body", "body": b"a", "more_body": True}))
    assert exchanged.status == 200
    assert exchanged.ended
    tail = exchanged.body.removeprefix(b"a")
    assert tail.startswith(b"data: ")
    assert orjson.loads(tail[6:])["error"]["message"].endswith("(request id: req-1)")
    assert b"[DONE]" not in tail
    assert b"secret" not in tail


async def test_a_whole_answer_is_not_added_to() -> None:
    exchanged = await run(failing(RuntimeError(), START, {"type": "http.response.body", "body": b"a"}))
    assert exchanged.body == b"a"


async def test_half_a_body_is_broken_off() -> None:
    body = {"type": "http.response.body", "body": b'{"a":', "more_body": True}
    with pytest.raises(GatewayError):
        await run(failing(RuntimeError(), JSON_START, body))


async def test_messages_of_other_kinds_are_neither_start_nor_end() -> None:
    hint = {"type": "http.response.early_hint", "links": []}
    exchanged = await run(failing(InvalidRequest("no"), hint))
    assert exchanged.status == 400
    exchanged = await run(failing(InvalidRequest("no"), START, {"type": "http.response.debug", "info": {}}))
    assert b'"error"' in exchanged.body


@pytest.mark.parametrize("error", [None, InvalidRequest("no", code="duplicate_header")])
async def test_a_websocket_is_closed(error: Any) -> None:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def accept(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})

    inner = accept if error is None else failing(error)
    await ErrorsMiddleware(inner)({"type": "websocket"}, Client().receive, send)
    closed = {"type": "websocket.close", "code": 1008, "reason": "duplicate_header"}
    assert sent == [{"type": "websocket.accept"} if error is None else closed]


async def test_lifespan_is_not_ours() -> None:
    with pytest.raises(RuntimeError, match="start"):
        await ErrorsMiddleware(failing(RuntimeError("start")))({"type": "lifespan"}, Client().receive, Client().send)
