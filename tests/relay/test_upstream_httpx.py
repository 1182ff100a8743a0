"""Transports and clients of somebody else, and how far their words are trusted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from oneapi_mw.relay.httpx_upstream import HttpxResponse, HttpxUpstream
from oneapi_mw.relay.upstream import (
    BodyCut,
    ClosedBeforeResponse,
    ConnectFailed,
    ConnectTimeout,
    FirstByteTimeout,
    IdleTimeout,
    InvalidResponse,
    Timeouts,
    TotalTimeout,
    UpstreamFault,
)
from tests.support.hostile import message, respond, serve

URL = "http://provider.test/v1/chat"


class Foreign(httpx.AsyncBaseTransport):
    """A transport that is not httpx's own and knows no trace."""

    def __init__(self, failure: Exception) -> None:
        self.failure = failure
        self.closed = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        raise self.failure

    async def aclose(self) -> None:
        self.closed = True


async def post(
    transport: httpx.AsyncBaseTransport | httpx.AsyncClient, timeouts: Timeouts | None = None, url: str = URL
) -> HttpxResponse:
    headers = [("content-type", "application/json")]
    return await HttpxUpstream(transport).send("POST", url, headers, b"{}", timeouts or Timeouts())


def mock(failure: Exception) -> httpx.MockTransport:
    def handle(request: httpx.Request) -> httpx.Response:
        raise failure

    return httpx.MockTransport(handle)


async def test_mock_transport() -> None:
    def handle(request: httpx.Request) -> httpx.Response:
        return httpx.Response(201, headers={"X-Seen": request.url.path}, content=request.content)

    response = await post(httpx.MockTransport(handle))
    assert response.status == 201
    assert (b"x-seen", b"/v1/chat") in response.headers
    assert await response.read(2) == b"{}"
    await response.aclose()


async def test_mock_transport_streams() -> None:
    async def parts() -> AsyncIterator[bytes]:
        yield b"one"
        yield b""
        yield b"two"

    response = await post(httpx.MockTransport(lambda request: httpx.Response(200, content=parts())))
    assert [chunk async for chunk in response.chunks()] == [b"one", b"two"]
    await response.aclose()


async def test_an_app_of_ones_own() -> None:
    async def echo(request: Request) -> Response:
        return Response(await request.body(), headers={"x-method": request.method})

    app = Starlette(routes=[Route("/v1/chat", echo, methods=["POST"])])
    response = await post(httpx.ASGITransport(app))
    assert response.status == 200
    assert (b"x-method", b"POST") in response.headers
    assert await response.read(100) == b"{}"
    await response.aclose()


@pytest.mark.parametrize(
    ("failure", "kind", "dispatched"),
    [
        (httpx.ConnectError("x"), ConnectFailed, False),
        (httpx.ConnectTimeout("x"), ConnectTimeout, False),
        (httpx.PoolTimeout("x"), ConnectTimeout, False),
        (httpx.ProxyError("x"), ConnectFailed, False),
        (httpx.ReadTimeout("x"), FirstByteTimeout, True),
        (httpx.WriteTimeout("x"), FirstByteTimeout, True),
        (httpx.ReadError("x"), ClosedBeforeResponse, True),
        (httpx.RemoteProtocolError("illegal status line"), InvalidResponse, True),
        (ConnectionResetError("x"), ClosedBeforeResponse, True),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
async def test_errors(failure: Exception, kind: type[UpstreamFault], dispatched: bool) -> None:
    with pytest.raises(kind) as caught:
        await post(mock(failure))
    assert caught.value.dispatched is dispatched

    with pytest.raises(kind) as caught:
        await post(Foreign(failure))
    assert caught.value.dispatched, "a connect error of an unknown transport may have come after the request"


async def test_an_error_of_no_kind_we_know_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        await post(mock(ZeroDivisionError()))


async def test_what_was_handed_in_is_not_closed() -> None:
    transport = Foreign(httpx.ReadError("x"))
    upstream = HttpxUpstream(transport)
    with pytest.raises(ClosedBeforeResponse):
        await upstream.send("GET", URL, [], b"", Timeouts())
    await upstream.aclose()
    assert not transport.closed


async def test_a_transport_that_never_answers() -> None:
    async def handle(request: httpx.Request) -> httpx.Response:
        await asyncio.Event().wait()
        raise AssertionError

    with pytest.raises(FirstByteTimeout):
        await post(httpx.MockTransport(handle), Timeouts(connect=0.02, first_byte=0.02))
    with pytest.raises(TotalTimeout) as caught:
        await post(httpx.MockTransport(handle), Timeouts(total=0.02))
    assert caught.value.dispatched


@pytest.mark.parametrize(
    ("failure", "kind"),
    [(httpx.ReadError("x"), BodyCut), (httpx.ReadTimeout("x"), IdleTimeout), (ConnectionResetError(), BodyCut)],
)
async def test_errors_in_a_body(failure: Exception, kind: type[UpstreamFault]) -> None:
    async def parts() -> AsyncIterator[bytes]:
        yield b"one"
        raise failure

    response = await post(httpx.MockTransport(lambda request: httpx.Response(200, content=parts())))
    assert await anext(response.chunks()) == b"one"
    with pytest.raises(kind):
        await response.read(10)
    with pytest.raises(kind):
        await response.read(10)


async def test_the_total_limit_is_noticed_at_the_next_chunk() -> None:
    async def parts() -> AsyncIterator[bytes]:
        yield b"one"
        await asyncio.Event().wait()

    response = await post(
        httpx.MockTransport(lambda request: httpx.Response(200, content=parts())), Timeouts(total=0.1)
    )
    assert await anext(response.chunks()) == b"one"
    with pytest.raises(TotalTimeout):
        await response.read(10)


async def test_a_clients_habits_stay_out_and_its_authentication_stays() -> None:
    moved = message(b"", b"location: /elsewhere", b"set-cookie: a=b; path=/", status=b"307 Temporary Redirect")
    async with serve(respond(moved)) as server:
        client = httpx.AsyncClient(
            follow_redirects=True, headers={"x-mine": "1"}, auth=("user", "secret"), trust_env=False
        )
        async with client:
            for _ in range(2):
                response = await post(client, url=server.url + "/v1/chat")
                assert response.status == 307
                await response.aclose()

    assert len(server.received) == 2
    for request in server.received:
        assert request.header("x-mine") is None
        assert request.header("cookie") is None
        assert request.header("user-agent") is None
        assert request.header("authorization") == "Basic dXNlcjpzZWNyZXQ="
