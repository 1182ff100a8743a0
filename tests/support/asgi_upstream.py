"""An `Upstream` whose hosts are ASGI apps in the same process: thousands of requests take seconds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message

from oneapi_mw.relay.upstream import BodyCut, BodyTooLarge, ClosedBeforeResponse, Timeouts
from oneapi_mw.types import RawHeaders


class AsgiUpstream:
    """Sends each request to the app of its host.

    An app that raises before it begins to answer has closed the connection; what it has begun is given out whole,
    message by message, with a turn of the event loop before each.
    """

    def __init__(self, apps: Mapping[str, ASGIApp]) -> None:
        self._apps = apps
        self.open = 0
        """Responses that were not closed yet."""

    async def send(
        self,
        method: str,
        url: str,
        headers: Sequence[tuple[str, str]],
        body: bytes,
        timeouts: Timeouts,
        *,
        on_dispatch: Callable[[], None] | None = None,
    ) -> AsgiResponse:
        """See `Upstream.send`."""
        parts = urlsplit(url)
        scope = {
            "type": "http",
            "method": method,
            "path": parts.path,
            "query_string": parts.query.encode(),
            "headers": [(name.lower().encode(), value.encode()) for name, value in headers],
        }
        sent: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": body}

        async def send(message: Message) -> None:
            sent.append(message)

        if on_dispatch is not None:
            on_dispatch()
        for _ in range(3):
            await asyncio.sleep(0)
        fault: Exception | None = None
        try:
            await self._apps[str(parts.hostname)](scope, receive, send)
        except Exception as exc:
            if not sent:
                raise ClosedBeforeResponse from exc
            fault = BodyCut()
        await asyncio.sleep(0)
        self.open += 1
        return AsgiResponse(self, sent, fault)

    async def aclose(self) -> None:
        """Nothing is kept."""


class AsgiResponse:
    """See `UpstreamResponse`."""

    def __init__(self, upstream: AsgiUpstream, sent: Sequence[Message], fault: Exception | None) -> None:
        self._upstream: AsgiUpstream | None = upstream
        self.status: int = sent[0]["status"]
        self.headers: RawHeaders = sent[0]["headers"]
        self._left: list[bytes] = [message["body"] for message in sent[1:] if message.get("body")]
        self._fault = fault

    def chunks(self) -> AsyncIterator[bytes]:
        return self

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        await asyncio.sleep(0)
        if self._left:
            return self._left.pop(0)
        if self._fault is not None:
            raise self._fault
        raise StopAsyncIteration

    async def read(self, limit: int) -> bytes:
        body = b"".join([chunk async for chunk in self])
        if len(body) > limit:
            raise BodyTooLarge
        return body

    async def aclose(self) -> None:
        if self._upstream is not None:
            self._upstream.open -= 1
            self._upstream = None
