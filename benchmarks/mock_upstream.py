"""A provider that costs almost nothing: canned Chat Completions answers straight from an asyncio protocol.

    python -m benchmarks.mock_upstream --port 9000 --chunks 50 --gap 0

A body with `"stream":true` is answered with a stream of `--chunks` content chunks, `--gap` seconds apart,
every other body with one buffered answer.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from typing import Any, cast

MODEL = "gpt-4o-mini"
USAGE = {"prompt_tokens": 11, "completion_tokens": 50, "total_tokens": 61}


def _answer() -> bytes:
    message = {"role": "assistant", "content": "word " * 50}
    body: dict[str, Any] = {
        "id": "chatcmpl-mock-0001",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": MODEL,
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": USAGE,
    }
    data = json.dumps(body).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(data), data)


def _events(chunks: int) -> list[bytes]:
    head: dict[str, Any] = {
        "id": "chatcmpl-mock-0001",
        "object": "chat.completion.chunk",
        "created": 1_700_000_000,
        "model": MODEL,
    }

    def event(choices: list[Any], **extra: Any) -> bytes:
        return b"data: " + json.dumps({**head, "choices": choices, **extra}).encode() + b"\n\n"

    def choice(delta: dict[str, Any], finish: str | None = None) -> list[dict[str, Any]]:
        return [{"index": 0, "delta": delta, "finish_reason": finish}]

    return [
        event(choice({"role": "assistant", "content": ""})),
        *[event(choice({"content": "word "})) for _ in range(chunks)],
        event(choice({}, "stop")),
        event([], usage=USAGE),
        b"data: [DONE]\n\n",
    ]


def _chunked(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


class Mock(asyncio.Protocol):
    """One client connection; keep-alive, no pipelining."""

    answer = _answer()
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    events: tuple[bytes, ...] = ()
    gap = 0.0

    def __init__(self) -> None:
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        lower = head.lower()
        at = lower.find(b"content-length:")
        length = int(lower[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(rest) < length:
            return
        self._buffer = rest[length:]
        if b'"stream":true' in rest or b'"stream": true' in rest:
            if self.gap:
                self._task = asyncio.ensure_future(self._paced())
            else:
                for event in (self.head, *self.events):
                    self._transport.write(event)
        else:
            self._transport.write(self.answer)

    async def _paced(self) -> None:
        self._transport.write(self.head)
        for event in self.events:
            self._transport.write(event)
            await asyncio.sleep(self.gap)


async def serve(port: int, chunks: int, gap: float) -> None:
    Mock.events = (*map(_chunked, _events(chunks)), b"0\r\n\r\n")
    Mock.gap = gap
    server = await asyncio.get_running_loop().create_server(Mock, "127.0.0.1", port, backlog=1024)
    async with server:
        await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=9000)
    parser.add_argument("--chunks", type=int, default=50)
    parser.add_argument("--gap", type=float, default=0.0, help="seconds between chunks")
    options = parser.parse_args()
    try:
        import uvloop

        uvloop.run(serve(options.port, options.chunks, options.gap))
    except ImportError:
        asyncio.run(serve(options.port, options.chunks, options.gap))


if __name__ == "__main__":
    main()
