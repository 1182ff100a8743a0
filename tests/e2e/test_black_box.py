"""The gateway as a process of its own, judged by its clients, its provider's record and its database alone."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import orjson
import pytest

from oneapi_mw import Gateway
from oneapi_mw.ledger.open import open_ledger
from oneapi_mw.pricing.book import PriceBook
from oneapi_mw.pricing.charge import charge
from oneapi_mw.pricing.shipped import shipped_table
from oneapi_mw.store.dsn import DatabaseUrl
from oneapi_mw.tokens.estimate import estimate_tokens
from oneapi_mw.usage import Usage
from tests.e2e.test_books import rows
from tests.e2e.test_crash import KEY, a_minute_passes, environment
from tests.support import servers
from tests.support.hostile import Peer, Received
from tests.support.process import Running, running
from tests.support.serving import Site, logged_in, settings_for
from tests.support.vendor import Vendor, buffered, chunks, completion, stream

STREAMS = 50
SECONDS = 20.0
"""Far more than closing takes, also on a machine that is busy; only a gateway that does not close runs into it."""
HEAD = "POST {path}/v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n"
MODEL = "gpt-4o-mini"


@pytest.fixture(params=["sqlite", "postgresql"])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[DatabaseUrl]:
    url = await servers.migrated_database(request.param, tmp_path)
    yield url
    await servers.drop_database(url)


@asynccontextmanager
async def served(database: DatabaseUrl, folder: Path) -> AsyncIterator[tuple[Running, Site]]:
    """A server process, and its administrator."""
    gateway = Gateway(settings_for(database, initial_root_token=KEY))  # only for its settings
    async with running("serve", "--bind", "127.0.0.1:0", cwd=folder, env=environment(database)) as server:
        base = (await server.until(r"(http://127\.0\.0\.1:\d+)"))[1]
        async with logged_in(base, gateway) as site:
            yield server, site


def price_of(prompt: int, output: int) -> int:
    price = PriceBook(shipped_table()).price(MODEL, provider="openai")
    assert price is not None
    return charge(Usage(prompt, output), price)


async def balance(database: DatabaseUrl) -> int:
    [root] = await rows(database, "SELECT quota FROM users WHERE username = 'root'")
    return int(root["quota"])


async def logged(database: DatabaseUrl) -> list[dict[str, Any]]:
    return await rows(
        database, "SELECT request_id, quota, prompt_tokens, completion_tokens, metadata FROM logs WHERE type = 2"
    )


# Streams that are cut.


async def test_fifty_streams_are_cut_after_three_chunks(
    database: DatabaseUrl, upstream: Vendor, tmp_path: Path
) -> None:
    gone = asyncio.Semaphore(0)
    never = asyncio.Event()
    three = stream(chunks(*["word "] * 9), hold=never, hold_after=4)

    async def answer(peer: Peer, request: Received) -> None:
        await three(peer, request)
        assert peer.gone.is_set()
        gone.release()

    upstream.answer = answer
    async with served(database, tmp_path) as (_, site):
        await site.add_channel(upstream.url)
        before = await balance(database)
        await asyncio.gather(*(three_chunks(site) for _ in range(STREAMS)))
        async with asyncio.timeout(SECONDS):
            for _ in range(STREAMS):
                await gone.acquire()
            while len(settled := await logged(database)) < STREAMS:
                await asyncio.sleep(0.05)
        output = estimate_tokens(3 * len("word "))
        assert len({row["request_id"] for row in settled}) == STREAMS
        assert {row["completion_tokens"] for row in settled} == {output}
        assert {row["quota"] for row in settled} == {price_of(settled[0]["prompt_tokens"], output)}
        assert before - await balance(database) == sum(row["quota"] for row in settled)


async def three_chunks(site: Site) -> None:
    """Read three words of a stream, then hang up."""
    address = urlsplit(site.base)
    body = orjson.dumps({"model": MODEL, "stream": True, "messages": [{"role": "user", "content": "hello"}]})
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    head = HEAD.format(path=address.path, key=site.key) + f"content-length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    seen = b""
    while seen.count(b"word ") < 3:
        data = await reader.read(65536)
        assert data, seen
        seen += data
    writer.close()


# Kills.

CALLERS = 12


@dataclass
class Record:
    """What the provider knows: it numbers its answers, and tells the number as the tokens it has read."""

    numbers: Iterator[int] = field(default_factory=lambda: count(1))
    asked: int = 0
    given: dict[int, int] = field(default_factory=dict)
    """Output tokens of answers that left whole, by the tokens of their prompt."""
    progress: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def answer(self, peer: Peer, request: Received) -> None:
        self.asked += 1
        number = next(self.numbers)
        prompt, output = 1000 + number, 1 + number % 50
        usage = {"prompt_tokens": prompt, "completion_tokens": output, "total_tokens": prompt + output}
        kind = orjson.loads(request.body)["seed"] % 4
        if kind == 0:  # never comes to its end
            await stream(chunks("word ", "word "), hold=asyncio.Event(), hold_after=2)(peer, request)
            return
        if kind == 1:
            await stream(chunks(*["word "] * 5, usage=usage))(peer, request)
        else:
            await buffered(completion(usage=usage))(peer, request)
        self.given[prompt] = output
        async with self.progress:
            self.progress.notify_all()

    async def until(self, answers: int) -> None:
        async with self.progress:
            await self.progress.wait_for(lambda: len(self.given) >= answers)


async def call(base: str, key: str, heard: list[int], rng: random.Random) -> None:
    """Ask until nobody answers; note the prompt tokens of every answer that came whole."""
    headers = {"authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(trust_env=False, timeout=60) as http:
        for number in count():
            seed = rng.choice((1, 1, 2, 2, 2, 2, 3, 3, 0 if number > 6 else 1))
            body = {
                "model": MODEL,
                "seed": seed,
                "stream": seed % 4 < 2,
                "stream_options": {"include_usage": True},
                "messages": [{"role": "user", "content": "hello"}],
            }
            if not body["stream"]:
                del body["stream_options"]
            try:
                response = await http.post(base + "/v1/chat/completions", json=body, headers=headers)
            except httpx.TransportError:
                return
            assert response.status_code == 200, response.text
            if body["stream"]:
                events = [line[6:] for line in response.content.split(b"\n\n") if line.startswith(b"data: {")]
                assert b"[DONE]" in response.content
                heard.append(orjson.loads(events[-1])["usage"]["prompt_tokens"])
            else:
                heard.append(response.json()["usage"]["prompt_tokens"])


async def kill_under_load(database: DatabaseUrl, upstream: Vendor, folder: Path, *, kills: int) -> None:
    record, heard, rng = Record(), list[int](), random.Random(20261127)
    upstream.answer = record.answer
    before: int | None = None
    for kill in range(kills):
        async with served(database, folder) as (server, site):
            if before is None:
                await site.add_channel(upstream.url)
                before = await balance(database)
            calling = [
                asyncio.create_task(call(site.base, site.key, heard, random.Random(kill * 100 + n)))
                for n in range(CALLERS)
            ]
            await record.until(len(record.given) + rng.randrange(20, 60))
            server.signal(signal.SIGKILL)
            await server.ended()
            await asyncio.gather(*calling)
        await a_minute_passes(database)
        await reckon(database, record, heard, before, kills=kill + 1)


async def reckon(database: DatabaseUrl, record: Record, heard: list[int], before: int, *, kills: int) -> None:
    """After a sweep: everything has its row, and the rows have been paid."""
    ledger = open_ledger(database, worker="sweeper", grace_seconds=0)
    await ledger.start()
    try:
        await ledger.sweep()
        assert not await ledger.audit()
    finally:
        await ledger.aclose()
    settled = await logged(database)
    known = {row["prompt_tokens"]: row for row in settled if "estimated" not in (row["metadata"] or "")}
    estimated = [row for row in settled if "estimated" in (row["metadata"] or "")]
    assert set(heard) <= known.keys() <= record.given.keys()
    for prompt, row in known.items():
        assert row["completion_tokens"] == record.given[prompt]
        assert row["quota"] == price_of(prompt, record.given[prompt])
    # whoever was reserved for was asked for, except where the kill came in between
    assert record.asked <= len(settled) <= record.asked + CALLERS * kills
    assert all(row["quota"] == price_of(row["prompt_tokens"], 0) for row in estimated)
    assert len(estimated) <= CALLERS * kills
    assert before - await balance(database) == sum(row["quota"] for row in settled)
    [holds] = await rows(database, "SELECT COUNT(*) AS n FROM billing_holds WHERE state = 0")
    assert holds["n"] == 0


async def test_four_kills_under_load(database: DatabaseUrl, upstream: Vendor, tmp_path: Path) -> None:
    await kill_under_load(database, upstream, tmp_path, kills=4)


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_many_kills_under_load(database: DatabaseUrl, upstream: Vendor, tmp_path: Path) -> None:
    await kill_under_load(database, upstream, tmp_path, kills=25)
