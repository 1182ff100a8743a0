"""The serving loop over apps that behave badly."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from starlette.types import Receive, Scope, Send

from oneapi_mw import Gateway, Settings
from oneapi_mw.cli.server import Control, serve
from oneapi_mw.middleware.drain import Drain, DrainMiddleware


class Talker:
    """A gateway, as far as the serving loop knows one, whose answers have no end."""

    settings = Settings(shutdown_timeout=1)

    def __init__(self) -> None:
        self._drain = Drain()
        self._app = DrainMiddleware(self._talk, drain=self._drain)
        self.stuck = asyncio.Event()
        self.closed = False

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        yield
        self.closed = True

    async def drain(self) -> bool:
        return await self._drain.finish(60)

    def cut(self) -> None:
        self._drain.cut()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)

    async def _talk(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while True:
            sending = asyncio.ensure_future(
                send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
            )
            await asyncio.wait([sending], timeout=0.2)
            if not sending.done():
                self.stuck.set()
            await sending


async def test_a_client_that_does_not_read_cannot_hold_the_shutdown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oneapi_mw.cli.server.LINGER_SECONDS", 0.05)
    talker, control, up = Talker(), Control(), asyncio.Event()
    with _listener() as listener:
        port = listener.getsockname()[1]
        serving = asyncio.create_task(serve(cast(Gateway, cast(Any, talker)), [listener], control, ready=up.set))
        await up.wait()
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        await talker.stuck.wait()
        control.press()
        control.press()
        assert await serving
        assert talker.closed
        writer.close()
        del reader


def _listener() -> socket.socket:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    return listener
