"""A load client for buffered and streamed answers: raw asyncio protocols, one request at a time per connection."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import cast


@dataclass
class Result:
    """What one run measured. Times are seconds."""

    seconds: float = 0.0
    answers: int = 0
    failed: int = 0
    chunks: int = 0
    latencies: list[float] = field(default_factory=list)
    first_bytes: list[float] = field(default_factory=list)

    def percentile(self, share: float, *, first_byte: bool = False) -> float:
        values = sorted(self.first_bytes if first_byte else self.latencies)
        return values[min(len(values) - 1, int(len(values) * share))] if values else float("nan")


class _Client(asyncio.Protocol):
    def __init__(self, request: bytes, result: Result, deadline: float) -> None:
        self._request, self._result, self._deadline = request, result, deadline
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        self._next()

    def _next(self) -> None:
        if time.perf_counter() >= self._deadline:
            self._transport.close()
            return
        self._buffer = bytearray()
        self._length: int | None = None
        self._sent_at, self._first_at = time.perf_counter(), 0.0
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if not self._first_at:
            self._first_at = time.perf_counter()
        self._buffer += data
        if self._length is None:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = bytes(self._buffer[:end]).lower()
            at = head.find(b"content-length:")
            self._length = end + 4 + int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        finished = len(self._buffer) >= self._length if self._length else self._buffer.endswith(b"0\r\n\r\n")
        if finished:
            self._finish()

    def _finish(self) -> None:
        now, result = time.perf_counter(), self._result
        if b" 200 " in self._buffer[:20]:
            result.answers += 1
            result.chunks += self._buffer.count(b"data: ")
            result.latencies.append(now - self._sent_at)
            result.first_bytes.append(self._first_at - self._sent_at)
        else:
            result.failed += 1
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(None)


def request_bytes(port: int, path: str, key: str, body: bytes) -> bytes:
    head = (
        f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\ncontent-type: application/json\r\n"
        f"authorization: Bearer {key}\r\nuser-agent: bench\r\naccept: */*\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def run(port: int, request: bytes, *, connections: int, seconds: float) -> Result:
    """Send `request` over and over on `connections` connections for `seconds`."""
    result = Result()
    started = time.perf_counter()
    loop = asyncio.get_running_loop()
    clients = []
    for _ in range(connections):
        _, client = await loop.create_connection(lambda: _Client(request, result, started + seconds), "127.0.0.1", port)
        clients.append(client.done)
    await asyncio.gather(*clients)
    result.seconds = time.perf_counter() - started
    return result
