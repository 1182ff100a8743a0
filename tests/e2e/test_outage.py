"""I-11, end to end: PostgreSQL is killed under HTTP load and comes back."""

from __future__ import annotations

import asyncio
from collections import Counter
from itertools import count
from pathlib import Path

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from oneapi_mw.ledger.spool_file import paths
from oneapi_mw.store.dsn import DatabaseUrl
from tests.support.hostile import Peer, Received
from tests.support.outage import own_server
from tests.support.serving import Site, site
from tests.support.vendor import Vendor, chunks, stream

CALLERS = 8
BEFORE, DURING, AFTER = 40, 16, 40


class Load:
    """Clients that ask again and again, streaming or not, each time with a number of its own."""

    def __init__(self, ready: Site) -> None:
        self.ready = ready
        self.answers: dict[int, tuple[int, str]] = {}
        """Status and request id, by number."""
        self.statuses: Counter[int] = Counter()
        self.closed = False
        self._numbers = count(1)
        self._news = asyncio.Condition()

    async def ask(self) -> None:
        while not self.closed:
            number = next(self._numbers)
            response = await self.ready.chat(seed=number, stream=number % 2 == 0)
            self.answers[number] = response.status_code, response.headers["x-oneapi-request-id"]
            if response.status_code == 200:
                whole = response.text.rstrip().endswith("data: [DONE]") if number % 2 == 0 else response.json()["usage"]
                assert whole, response.text
            async with self._news:
                self.statuses[response.status_code] += 1
                self._news.notify_all()

    async def until(self, status: int, times: int) -> None:
        async with self._news:
            await self._news.wait_for(lambda: self.statuses[status] >= times)


async def test_i_11_the_database_dies_under_load_and_comes_back(upstream: Vendor, tmp_path: Path) -> None:
    server = await own_server("postgresql")
    url = await server.new_database()
    held = asyncio.Event()
    plain, half = upstream.answer, stream(chunks("one ", "two "), hold=held, hold_after=2)
    whole = stream(chunks("one ", "two "))
    begun = asyncio.Semaphore(0)

    async def answer(peer: Peer, request: Received) -> None:
        body = orjson.loads(request.body)
        if body["seed"] <= 0:
            begun.release()
            await half(peer, request)
        else:
            await (whole if body.get("stream") else plain)(peer, request)

    upstream.answer = answer
    spool = tmp_path / "spool"
    async with site(url, billing_spool_path=str(spool)) as ready:
        await ready.add_channel(upstream.url)
        load = Load(ready)
        asking = [asyncio.create_task(load.ask()) for _ in range(CALLERS)]
        await load.until(200, BEFORE)
        streaming = [asyncio.create_task(ready.chat(seed=-n, stream=True)) for n in range(6)]
        for _ in streaming:
            await begun.acquire()

        server.kill()
        await load.until(503, DURING)
        held.set()  # these streams began before, and end in the middle of the outage
        for n, response in enumerate(await asyncio.gather(*streaming)):
            assert response.status_code == 200
            assert response.text.rstrip().endswith("data: [DONE]")
            load.answers[-n] = 200, response.headers["x-oneapi-request-id"]
        assert len(paths(spool)) == 1
        await server.start()
        await load.until(200, load.statuses[200] + AFTER)
        load.closed = True
        await asyncio.gather(*asking)
        assert set(load.statuses) == {200, 503}

    settled = await _settled(url)
    called = [orjson.loads(request.body)["seed"] for request in upstream.requests]
    assert len(called) == len(set(called))
    assert {load.answers[number][1] for number in called} == set(settled)
    assert {id_ for status, id_ in load.answers.values() if status == 200} <= set(settled)
    assert len(set(settled.values())) == 1  # all of them cost the same
    assert paths(spool) == []


async def _settled(url: DatabaseUrl) -> dict[str, int]:
    """What was charged, by request id; nothing is open."""
    engine = create_async_engine(url.sqlalchemy, connect_args=url.connect_args())
    try:
        async with engine.connect() as connection:
            rows = (await connection.execute(text("SELECT key, state, final FROM billing_holds"))).all()
            logged = (await connection.execute(text("SELECT request_id, quota FROM logs WHERE type = 2"))).all()
    finally:
        await engine.dispose()
    assert all(state != 0 for _, state, _ in rows)
    settled = {key: final for key, state, final in rows if state == 1}
    assert dict(logged) == settled
    assert len(logged) == len(settled)
    return settled
