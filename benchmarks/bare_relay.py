"""The bare ASGI relay that every ratio is taken against: bytes from aiohttp to the client, nothing else.

UPSTREAM=http://127.0.0.1:9000 uvicorn benchmarks.bare_relay:app
"""

from __future__ import annotations

import os

import aiohttp
from starlette.types import Receive, Scope, Send

UPSTREAM = os.environ.get("UPSTREAM", "http://127.0.0.1:9000")
_sessions: list[aiohttp.ClientSession] = []
"""The one session, while the server runs."""


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
        return
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    headers = {"content-type": "application/json", "authorization": "Bearer x"}
    async with _sessions[0].post(UPSTREAM + scope["path"], data=body, headers=headers) as response:
        content_type = response.headers["content-type"].encode()
        if content_type.startswith(b"text/event-stream"):
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", content_type)]})
            async for chunk in response.content.iter_any():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
            return
        answer = await response.read()
        fields = [(b"content-type", content_type), (b"content-length", str(len(answer)).encode())]
        await send({"type": "http.response.start", "status": response.status, "headers": fields})
        await send({"type": "http.response.body", "body": answer})


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            connector = aiohttp.TCPConnector(limit=0)
            _sessions.append(aiohttp.ClientSession(connector=connector, auto_decompress=False))
            await send({"type": "lifespan.startup.complete"})
        else:
            await _sessions.pop().close()
            await send({"type": "lifespan.shutdown.complete"})
            return
