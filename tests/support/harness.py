"""Driving ASGI apps as a server does, message by message.

Unlike the transports of HTTP clients, nothing is buffered: a test sees each message when it is sent, may hold
the app back, and may leave at any point.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send


def http_scope(
    method: str = "GET",
    path: str = "/",
    *,
    headers: Mapping[str, str] | None = None,
    root_path: str = "",
    query: bytes = b"",
    client: tuple[str, int] | None = ("127.0.0.1", 40000),
) -> Scope:
    """A scope as HTTP servers make it."""
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": root_path + path,
        "raw_path": (root_path + path).encode(),
        "root_path": root_path,
        "query_string": query,
        "headers": [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()],
        "client": client,
        "server": ("127.0.0.1", 80),
    }


@dataclass
class Sent:
    """One message the app sent, and when (`time.perf_counter` seconds)."""

    message: Message
    at: float


@dataclass
class Exchanged:
    """A conversation with an app."""

    sent: list[Sent] = field(default_factory=list)

    @property
    def started(self) -> bool:
        return any(item.message["type"] == "http.response.start" for item in self.sent)

    @property
    def ended(self) -> bool:
        bodies = [item.message for item in self.sent if item.message["type"] == "http.response.body"]
        return bool(bodies) and not bodies[-1].get("more_body", False)

    @property
    def status(self) -> int:
        return next(int(s.message["status"]) for s in self.sent if s.message["type"] == "http.response.start")

    @property
    def headers(self) -> dict[str, str]:
        start = next(s.message for s in self.sent if s.message["type"] == "http.response.start")
        return {name.decode(): value.decode() for name, value in start.get("headers", ())}

    @property
    def body(self) -> bytes:
        return b"".join(s.message.get("body", b"") for s in self.sent if s.message["type"] == "http.response.body")

    def json(self) -> Any:
        return orjson.loads(self.body)


class Client:
    """The server's and client's side of one request.

    Args:
        pause_after: stop taking messages after this many body messages: `send` then waits, as it does when a
            client does not read (back-pressure), until `resume()`.
        leave_after: disconnect after this many body messages.
    """

    def __init__(
        self, body: bytes = b"", *, pieces: int = 1, pause_after: int | None = None, leave_after: int | None = None
    ) -> None:
        size = max(1, -(-len(body) // pieces))
        self._incoming = [body[i : i + size] for i in range(0, len(body), size)] or [b""]
        self._pause_after, self._leave_after = pause_after, leave_after
        self._bodies = 0
        self.gone = asyncio.Event()
        self.resumed = asyncio.Event()
        self.paused = asyncio.Event()
        self.exchanged = Exchanged()
        self._arrived = asyncio.Condition()

    async def receive(self) -> Message:
        if self._incoming:
            piece = self._incoming.pop(0)
            return {"type": "http.request", "body": piece, "more_body": bool(self._incoming)}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if self.gone.is_set():
            return  # as hypercorn does: silently
        self.exchanged.sent.append(Sent(message, time.perf_counter()))
        async with self._arrived:
            self._arrived.notify_all()
        if message["type"] == "http.response.body":
            self._bodies += 1
            if self._bodies == self._leave_after:
                self.gone.set()
            if self._bodies == self._pause_after:
                self.paused.set()
                await self.resumed.wait()

    async def until(self, condition: Callable[[Exchanged], bool]) -> None:
        """Wait until `condition` holds for what was sent so far."""
        async with self._arrived:
            await self._arrived.wait_for(lambda: condition(self.exchanged))

    def leave(self) -> None:
        """Disconnect."""
        self.gone.set()


async def call(
    app: ASGIApp,
    method: str = "GET",
    path: str = "/",
    *,
    body: bytes = b"",
    json: Any = None,
    headers: Mapping[str, str] | None = None,
    **scope: Any,
) -> Exchanged:
    """One whole request. The client stays until the app returns."""
    fields = dict(headers or {})
    if json is not None:
        body = orjson.dumps(json)
        fields.setdefault("content-type", "application/json")
    client = Client(body)
    await app(http_scope(method, path, headers=fields, **scope), client.receive, client.send)
    return client.exchanged


@asynccontextmanager
async def lifespan(app: ASGIApp) -> AsyncIterator[None]:
    """Run an app's lifespan as a server does. Raises when start-up or shutdown is reported as failed."""
    incoming: asyncio.Queue[Message] = asyncio.Queue()
    outgoing: asyncio.Queue[Message] = asyncio.Queue()
    task = asyncio.create_task(_run(app, incoming.get, outgoing.put))
    try:
        await incoming.put({"type": "lifespan.startup"})
        await _expect("lifespan.startup.complete", outgoing, task)
        yield
        await incoming.put({"type": "lifespan.shutdown"})
        await _expect("lifespan.shutdown.complete", outgoing, task)
        await task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _run(app: ASGIApp, receive: Receive, send: Send) -> None:
    await app({"type": "lifespan", "asgi": {"version": "3.0"}}, receive, send)


async def _expect(kind: str, outgoing: asyncio.Queue[Message], task: asyncio.Task[None]) -> None:
    getting = asyncio.create_task(outgoing.get())
    await asyncio.wait({getting, task}, return_when=asyncio.FIRST_COMPLETED)
    if not getting.done():
        getting.cancel()
        raise RuntimeError(f"the app's lifespan ended without {kind}")
    message = getting.result()
    if message["type"] != kind:
        raise RuntimeError(message.get("message", message["type"]))
