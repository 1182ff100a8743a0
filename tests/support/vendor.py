"""A scripted provider on a real socket, speaking Chat Completions as OpenAI's servers do.

async with vendor() as upstream:
    upstream.answer = stream(chunks("one", "two"), hold=gate)
    ...upstream.url, upstream.requests...
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson

from tests.support.hostile import HostileServer, Peer, Received, message, serve

MODEL = "gpt-4o-mini"
KEY = "sk-mock-upstream"
USAGE = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}

Answer = Callable[[Peer, Received], Awaitable[None]]


@dataclass
class Vendor:
    """What the provider answers next, and what it was asked."""

    server: HostileServer
    answer: Answer
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a request has arrived."""

    @property
    def url(self) -> str:
        return self.server.url

    @property
    def requests(self) -> list[Received]:
        return [request for request in self.server.received if request.method == "POST"]

    def body(self, index: int = -1) -> Any:
        """The JSON of a request."""
        return orjson.loads(self.requests[index].body)


@asynccontextmanager
async def vendor(answer: Answer | None = None) -> AsyncIterator[Vendor]:
    """A provider on a free loopback port. Answers `completion()` unless told otherwise."""

    async def script(peer: Peer) -> None:
        while request := await peer.request():
            provider.asked.set()
            if request.method == "GET":
                await peer.send(message(orjson.dumps({"object": "list", "data": [{"id": MODEL}]}), JSON))
            else:
                await provider.answer(peer, request)

    async with serve(script) as server:
        provider = Vendor(server, answer or buffered(completion()))
        yield provider


JSON = b"content-type: application/json"


def completion(**changes: Any) -> dict[str, Any]:
    """The answer that the acceptance journeys expect: 11 tokens in, 7 out."""
    return {
        "id": "chatcmpl-mock-0001",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": MODEL,
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "mock response"}, "finish_reason": "stop"}
        ],
        "usage": USAGE,
        **changes,
    }


def chunk(delta: dict[str, Any] | None = None, finish: str | None = None, **changes: Any) -> dict[str, Any]:
    """One event of a stream; without `delta` it has no choices."""
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    return {
        "id": "chatcmpl-mock-0001",
        "object": "chat.completion.chunk",
        "created": 1_700_000_000,
        "model": MODEL,
        "choices": choices,
        **changes,
    }


def chunks(*texts: str, usage: dict[str, Any] | None = USAGE) -> list[dict[str, Any]]:
    """A whole stream that says `texts`."""
    events = [chunk({"role": "assistant", "content": ""}), *[chunk({"content": text}) for text in texts]]
    events.append(chunk({}, "stop"))
    if usage is not None:
        events.append(chunk(usage=usage))
    return events


def buffered(body: Any, *, status: bytes = b"200 OK", fields: Sequence[bytes] = ()) -> Answer:
    """Answer with one JSON body."""
    data = message(body if isinstance(body, bytes) else orjson.dumps(body), JSON, *fields, status=status)

    async def answer(peer: Peer, request: Received) -> None:
        await peer.send(data)

    return answer


def sse(events: Sequence[dict[str, Any]], *, done: bool = True) -> bytes:
    """The bytes of a stream."""
    data = b"".join(b"data: " + orjson.dumps(event) + b"\n\n" for event in events)
    return data + b"data: [DONE]\n\n" if done else data


def stream(
    events: Sequence[dict[str, Any]],
    *,
    done: bool = True,
    hold: asyncio.Event | None = None,
    hold_after: int = 0,
    gone: asyncio.Event | None = None,
) -> Answer:
    """Answer with a stream, one chunk an event.

    Args:
        hold: wait for it before the event number `hold_after`.
        gone: set when the gateway closes the connection while `hold` is awaited; the stream ends there.
    """

    async def answer(peer: Peer, request: Received) -> None:
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        for number, event in enumerate(events):
            if hold is not None and number == hold_after and not await _held(peer, hold, gone):
                return
            await peer.send(_framed(b"data: " + orjson.dumps(event) + b"\n\n"))
        if done:
            await peer.send(_framed(b"data: [DONE]\n\n"))
        await peer.send(b"0\r\n\r\n")

    return answer


async def _held(peer: Peer, hold: asyncio.Event, gone: asyncio.Event | None) -> bool:
    """Whether `hold` was set before the other side left."""
    leaving = asyncio.create_task(peer.until_gone())
    holding = asyncio.create_task(hold.wait())
    await asyncio.wait({leaving, holding}, return_when=asyncio.FIRST_COMPLETED)
    for task in (leaving, holding):
        if not task.done():
            task.cancel()
    await asyncio.gather(leaving, holding, return_exceptions=True)
    if peer.gone.is_set() and gone is not None:
        gone.set()
    return not peer.gone.is_set()


def _framed(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)
