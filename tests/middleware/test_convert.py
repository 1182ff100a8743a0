"""Between the client's bytes and the stages inside."""

from __future__ import annotations

import asyncio
import gzip
from typing import Any

import orjson
import pytest
from starlette.types import Message, Receive, Scope, Send

from oneapi_mw.canonical.call import CALL
from oneapi_mw.canonical.events import Failed
from oneapi_mw.canonical.frames import ANSWER, EVENTS, Answer, Frame, Offer
from oneapi_mw.errors import GatewayError, UpstreamError
from oneapi_mw.exchange import ENDPOINT, EXCHANGE, Endpoint, Exchange
from oneapi_mw.middleware.body import BodyLimits
from oneapi_mw.middleware.convert import ConvertMiddleware
from oneapi_mw.middleware.exchange import UNKNOWN_ENDPOINT
from tests.relay.stack import PATH, answer, body, chunk
from tests.support.harness import Client, Exchanged, call, http_scope

START: Message = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]}


class Echo:
    """A foreign app: answers with the body it was sent, knowing nothing of us."""

    def __init__(self) -> None:
        self.scope: Scope = {}
        self.received: list[Message] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        while not self.received or self.received[-1].get("more_body"):
            self.received.append(await receive())
        data = b"".join(message["body"] for message in self.received)
        await send({**START, "headers": [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(data))]})
        await send({"type": "http.response.body", "body": data[:5], "more_body": True})
        await send({"type": "http.response.body", "body": data[5:]})


def sending(*messages: Message) -> Any:
    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        for message in messages:
            await send(message)

    return inner


async def test_a_foreign_app_reads_the_body_again_and_its_bytes_pass() -> None:
    echo, data = Echo(), orjson.dumps(body())
    client = Client(data, pieces=5)
    scope = http_scope("POST", PATH, headers={"content-length": str(len(data))})
    await ConvertMiddleware(echo)(scope, client.receive, client.send)
    assert client.exchanged.body == data
    assert client.exchanged.headers == {"content-type": "text/plain", "content-length": str(len(data))}
    assert echo.received == [{"type": "http.request", "body": data, "more_body": False}]
    call_seen, offer = CALL.get(echo.scope), Offer.find(echo.scope)
    assert (call_seen.operation, call_seen.format, call_seen.model) == ("chat", "openai_chat", "small")
    assert call_seen.raw == data
    assert offer == Offer("openai_chat")
    assert CALL.name not in scope


async def test_a_foreign_app_is_not_told_of_gzip_that_is_gone() -> None:
    echo, data = Echo(), orjson.dumps(body())
    exchanged = await call(
        ConvertMiddleware(echo),
        "POST",
        PATH,
        body=gzip.compress(data),
        headers={"content-encoding": "gzip", "x-a": "b"},
    )
    assert exchanged.body == data
    assert dict(echo.scope["headers"]) == {b"x-a": b"b", b"content-length": b"%d" % len(data)}


async def test_after_the_body_the_client_is_heard() -> None:
    heard: list[Message] = []

    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        heard.extend([await receive(), await receive()])

    client = Client(orjson.dumps(body()))
    client.leave()
    await ConvertMiddleware(inner)(http_scope("POST", PATH), client.receive, client.send)
    assert [message["type"] for message in heard] == ["http.request", "http.disconnect"]


@pytest.mark.parametrize(("method", "path"), [("GET", PATH), ("POST", "/other"), ("OPTIONS", PATH)])
async def test_alone_it_leaves_everything_else_to_the_host(method: str, path: str) -> None:
    echo = Echo()
    exchanged = await call(ConvertMiddleware(echo), method, path, body=b"not json")
    assert exchanged.body == b"not json"
    assert CALL.find(echo.scope) is None


async def test_below_a_mount() -> None:
    echo = Echo()
    await call(ConvertMiddleware(echo), "POST", PATH, json=body(), root_path="/llm")
    assert CALL.get(echo.scope).model == "small"


async def test_websockets_pass() -> None:
    seen: list[Scope] = []

    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope)

    await ConvertMiddleware(inner)({"type": "websocket", "path": PATH}, Client().receive, Client().send)
    assert seen == [{"type": "websocket", "path": PATH}]


def with_exchange(method: str = "POST", endpoint: Endpoint | None = None, **options: Any) -> tuple[Scope, Exchange]:
    exchange = Exchange("req-1")
    scope = EXCHANGE.put(http_scope(method, PATH, **options), exchange)
    return ENDPOINT.put(scope, endpoint or Endpoint("chat", "openai_chat")), exchange


async def test_behind_an_exchange_stage_the_method_is_checked() -> None:
    scope, exchange = with_exchange("GET")
    with pytest.raises(GatewayError) as caught:
        await ConvertMiddleware(Echo())(scope, Client().receive, Client().send)
    assert caught.value.status == 405
    assert exchange.response_headers == [(b"allow", b"POST")]


async def test_unknown_endpoints_pass() -> None:
    scope, _ = with_exchange(endpoint=UNKNOWN_ENDPOINT)
    client = Client(b"x")
    await ConvertMiddleware(Echo())(scope, client.receive, client.send)
    assert client.exchanged.body == b"x"


@pytest.mark.parametrize("known", [True, False])
async def test_a_client_that_leaves_in_its_body_is_not_answered(known: bool) -> None:
    scope, exchange = with_exchange()
    client = Client()

    async def leave() -> Message:
        return {"type": "http.disconnect"}

    await ConvertMiddleware(Echo())(scope if known else http_scope("POST", PATH), leave, client.send)
    assert client.exchanged.sent == []
    assert exchange.outcome == ("client_gone" if known else "pending")


@pytest.mark.parametrize(
    ("data", "headers", "status", "words"),
    [
        (b"", {}, 400, "not valid JSON"),
        (b"{", {}, 400, "line 1 column"),
        (b"null", {}, 400, "must be a JSON object"),
        (b"[]", {}, 400, "must be a JSON object"),
        (b'{"model": NaN}', {}, 400, "not valid JSON"),
        (b'{"model": "\xff"}', {}, 400, "not valid JSON"),
        (b"\xef\xbb\xbf{}", {}, 400, "not valid JSON"),
        (b'{"a":' * 100 + b"1" + b"}" * 100, {}, 400, "nested deeper|not valid JSON"),
        (b"{}", {}, 400, "model"),
        (b'{"model": 5}', {}, 400, "model"),
        (b'{"model": "m", "stream": "yes"}', {}, 400, "must be true or false"),
        (b'{"model": "m", "n": true}', {}, 400, "must be an integer"),
        (b'{"model": "m", "max_tokens": -1}', {}, 400, "must be an integer"),
        (b'{"model": "m", "max_tokens": 1e99}', {}, 400, "must be an integer"),
        (b"{}", {"content-type": "text/plain"}, 415, "application/json"),
        (b"x" * 2000, {}, 413, "larger than"),
    ],
)
async def test_what_is_wrong_with_a_request(data: bytes, headers: dict[str, str], status: int, words: str) -> None:
    app = ConvertMiddleware(Echo(), limits=BodyLimits(max_bytes=1000))
    with pytest.raises(GatewayError, match=words) as caught:
        await call(app, "POST", PATH, body=data, headers=headers)
    assert caught.value.status == status


# The way out.

FRAME = Frame((), chunk({"content": "a"}), "openai_chat")


async def output(*messages: Message, as_stream: bool = True) -> Exchanged:
    return await call(ConvertMiddleware(sending(*messages)), "POST", PATH, json=body(stream=as_stream))


async def test_original_bytes_pass_and_the_type_is_a_streams() -> None:
    exchanged = await output(
        START,
        {"type": EVENTS, "frames": [FRAME, FRAME], "more_body": True},
        {"type": EVENTS, "frames": [], "more_body": True},
        {"type": EVENTS, "frames": [FRAME], "more_body": False},
    )
    assert exchanged.headers == {
        "content-type": "text/event-stream; charset=utf-8",
        "cache-control": "no-cache",
        "x-accel-buffering": "no",
    }
    assert exchanged.body == (FRAME.raw or b"") * 3
    assert len(exchanged.sent) == 3, "frames that arrived together leave together, and none leaves empty"


async def test_a_stream_without_a_last_frame_is_ended() -> None:
    exchanged = await output(START, {"type": EVENTS, "frames": [], "more_body": False})
    assert exchanged.ended


async def test_events_are_encoded_and_errors_name_the_request() -> None:
    scope, _ = with_exchange()
    client = Client(orjson.dumps(body(stream=True)))
    failed = Frame((Failed(UpstreamError("broken")),))
    inner = sending(START, {"type": EVENTS, "frames": [FRAME, failed], "more_body": False})
    await ConvertMiddleware(inner)(scope, client.receive, client.send)
    tail = client.exchanged.body.removeprefix(FRAME.raw or b"")
    assert orjson.loads(tail.removeprefix(b"data: "))["error"]["message"] == "broken (request id: req-1)"


async def test_an_answer_gets_its_length() -> None:
    raw = answer()
    message = {"type": ANSWER, "answer": Answer("openai_chat", raw, orjson.loads(raw))}
    stale = {**START, "headers": [(b"content-length", b"5"), (b"content-type", b"application/json")]}
    exchanged = await output(stale, message, as_stream=False)
    assert exchanged.body == raw
    assert exchanged.headers == {"content-type": "application/json", "content-length": str(len(raw))}
    assert exchanged.ended


async def test_the_start_waits_for_what_comes_after_it() -> None:
    gate = asyncio.Event()

    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        gate.set()
        await asyncio.Event().wait()

    client = Client(orjson.dumps(body()))
    task = asyncio.ensure_future(ConvertMiddleware(inner)(http_scope("POST", PATH), client.receive, client.send))
    await gate.wait()
    assert not client.exchanged.started, "an error can still take its place"
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/v1/responses/input_tokens", {"input": "Hi"}),
        ("/v1/messages/count_tokens", {"messages": [{"role": "user", "content": "Hi"}]}),
    ],
)
async def test_an_app_that_speaks_one_format_has_its_operations_alone(path: str, fields: dict[str, Any]) -> None:
    app = ConvertMiddleware(Echo(), speaks="openai_chat")
    with pytest.raises(GatewayError) as caught:
        await call(app, "POST", path, json={"model": "m", **fields})
    assert (caught.value.status, path in caught.value.message) == (404, True)


async def test_an_app_that_speaks_chats_continues_texts() -> None:
    head: Message = {**START, "headers": [(b"content-type", b"application/json")]}
    inner = sending(head, {"type": "http.response.body", "body": answer(" upon a time")})
    app = ConvertMiddleware(inner, speaks="openai_chat")
    exchanged = await call(app, "POST", "/v1/completions", json={"model": "m", "prompt": "Once", "echo": True})
    assert exchanged.json()["choices"][0]["text"] == "Once upon a time"
    assert exchanged.json()["object"] == "text_completion"
