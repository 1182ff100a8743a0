"""A client that leaves in mid-stream: the provider is told at once, and what was produced is paid once."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import urlsplit

import orjson
import pytest

from oneapi_mw.store.dsn import DatabaseUrl
from tests.support.hostile import Peer, Received
from tests.support.serving import Server, Site, site
from tests.support.vendor import Vendor, chunks, stream

WORDS = ["word "] * 50
SECONDS = 5.0
"""Far more than closing takes; only a gateway that does not close at all runs into it."""


@pytest.mark.parametrize("server", ["hypercorn", "uvicorn"])
async def test_client_leaves_in_mid_stream(sqlite_url: DatabaseUrl, upstream: Vendor, server: Server) -> None:
    never, gone = asyncio.Event(), asyncio.Event()
    upstream.answer = stream(chunks(*WORDS), hold=never, hold_after=41, gone=gone)
    async with site(sqlite_url, server=server) as ready:
        await ready.add_channel(upstream.url)
        await read_and_leave(ready, until=b"word " * 1, times=40)
        async with asyncio.timeout(SECONDS):
            await gone.wait()
            row = await settled_row(ready)
        assert row["is_stream"] is True
        assert row["quota"] > 0
        # 40 words of five letters were relayed: by estimate, as no usage came
        assert 40 <= row["completion_tokens"] <= 100
        assert row["metadata"]["outcome"] == "client_gone"
        assert not await ready.gateway.ledger.audit()
        assert len(await ready.get("/api/log/", p=0, type=2)) == 1


async def test_client_leaves_before_the_answer_begins(gateway: Site, upstream: Vendor) -> None:
    """The prompt was sent, so the prompt is owed; the connection upstream is closed."""
    gone = asyncio.Event()

    async def silent(peer: Peer, request: Received) -> None:
        await peer.until_gone()
        gone.set()

    upstream.answer = silent
    writer = await ask(gateway)
    await upstream.asked.wait()
    writer.close()
    async with asyncio.timeout(SECONDS):
        await gone.wait()
        row = await settled_row(gateway)
    assert row["completion_tokens"] == 0
    assert row["prompt_tokens"] > 0
    assert not await gateway.gateway.ledger.audit()


async def settled_row(ready: Site) -> Any:
    """The consume row, once it is there."""
    while not (rows := await ready.get("/api/log/", p=0, type=2)):
        await asyncio.sleep(0.01)
    return rows[0]


async def ask(ready: Site) -> asyncio.StreamWriter:
    """Send a streaming request on a socket of our own."""
    _, writer = await send_request(ready)
    return writer


async def send_request(ready: Site) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    address = urlsplit(ready.base)
    body = orjson.dumps({"model": "gpt-4o-mini", "stream": True, "messages": [{"role": "user", "content": "hello"}]})
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    head = f"POST {address.path}/v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {ready.key}\r\n"
    writer.write(head.encode() + b"content-length: %d\r\n\r\n" % len(body) + body)
    return reader, writer


async def read_and_leave(ready: Site, *, until: bytes, times: int) -> None:
    """Read a stream until `until` has come `times` times, then close the socket."""
    reader, writer = await send_request(ready)
    seen = b""
    while seen.count(until) < times:
        data = await reader.read(65536)
        assert data, seen
        seen += data
    writer.close()
