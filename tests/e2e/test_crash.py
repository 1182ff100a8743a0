"""`kill -9` in mid-flight: after a restart and one sweep nothing is open and nothing is lost."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import httpx
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from oneapi_mw import Gateway
from oneapi_mw.ledger.batch import BatchedLedger
from oneapi_mw.store.dsn import DatabaseUrl
from tests.support.hostile import Peer, Received
from tests.support.process import running
from tests.support.serving import ROOT_PASSWORD, SECRET, dsn, logged_in, serving, settings_for
from tests.support.vendor import Vendor, chunks, stream

KEY = "crash0crash0crash0crash0crash0crash0crash0crash0"
ANSWERED, STREAMING, WAITING = 10, 10, 10


async def test_kill_in_mid_flight(migrated_url: DatabaseUrl, upstream: Vendor, tmp_path: Path) -> None:
    """Three kinds of requests at the moment of the kill: answered, in the middle of a stream, not yet answered."""
    never = asyncio.Event()
    begun = asyncio.Semaphore(0)
    plain = upstream.answer
    half = stream(chunks("word ", "word "), hold=never, hold_after=2)

    async def answer(peer: Peer, request: Received) -> None:
        if b'"seed":1' in request.body:
            await plain(peer, request)
            return
        begun.release()
        if b'"seed":2' in request.body:
            await half(peer, request)
        else:
            await peer.until_gone()

    upstream.answer = answer
    settings = settings_for(migrated_url, initial_root_token=KEY)
    async with running("serve", "--bind", "127.0.0.1:0", cwd=tmp_path, env=environment(migrated_url)) as server:
        base = (await server.until(r"(http://127\.0\.0\.1:\d+)"))[1]
        gateway = Gateway(settings)  # only for its settings: the server is the other process
        async with logged_in(base, gateway) as site:
            await site.add_channel(upstream.url)
            before = await site.get("/api/user/self")
            kinds = [1] * ANSWERED + [2] * STREAMING + [3] * WAITING
            asking = [asyncio.create_task(ask(base, site.key, kind)) for kind in kinds]
            for _ in range(STREAMING + WAITING):
                await begun.acquire()
            await asyncio.wait(asking[:ANSWERED])
            server.signal(signal.SIGKILL)
            await server.ended()
            await asyncio.gather(*asking, return_exceptions=True)

    await a_minute_passes(migrated_url)
    gateway = Gateway(settings)
    async with serving(gateway) as base, logged_in(base, gateway) as site:
        await swept(gateway)
        rows = await site.get("/api/log/", p=0, size=100, type=2)
        after = await site.get("/api/user/self")
        assert len(rows) == ANSWERED + STREAMING + WAITING
        assert len({row["request_id"] for row in rows}) == len(rows)
        assert before["quota"] - after["quota"] == sum(row["quota"] for row in rows) > 0
        assert await open_holds(migrated_url) == 0
        assert not await gateway.ledger.audit()
        assert await gateway.ledger.sweep() == 0


def environment(database: DatabaseUrl) -> dict[str, str]:
    where = {"SQLITE_PATH": database.path} if database.path is not None else {"SQL_DSN": dsn(database)}
    return {
        **where,
        "ONEAPI_SECRET_KEY": SECRET,
        "INITIAL_ROOT_PASSWORD": ROOT_PASSWORD,
        "INITIAL_ROOT_TOKEN": KEY,
        "ENABLE_COOKIE_SECURE": "false",
    }


async def ask(base: str, key: str, kind: int) -> None:
    """`seed` tells the provider what to do."""
    body = {
        "model": "gpt-4o-mini",
        "seed": kind,
        "stream": kind == 2,
        "messages": [{"role": "user", "content": "hello"}],
    }
    async with httpx.AsyncClient(trust_env=False, timeout=60) as http:
        await http.post(base + "/v1/chat/completions", json=body, headers={"authorization": f"Bearer {key}"})


async def a_minute_passes(database: DatabaseUrl) -> None:
    """For the leases: their end is moved instead of waited for."""
    await execute(database, "UPDATE billing_holds SET lease_until = lease_until - 61000")


async def swept(gateway: Gateway) -> None:
    """Sweep without the grace that a start is followed by: nobody else is there to be waited for."""
    assert isinstance(gateway.ledger, BatchedLedger)
    gateway.ledger._grace_seconds = 0.0
    await gateway.ledger.sweep()


async def open_holds(database: DatabaseUrl) -> int:
    return int(await execute(database, "SELECT COUNT(*) FROM billing_holds WHERE state = 0"))


async def execute(database: DatabaseUrl, statement: str) -> int:
    engine = create_async_engine(database.sqlalchemy, connect_args=database.connect_args())
    try:
        async with engine.begin() as connection:
            result = await connection.execute(text(statement))
            return int(result.scalar_one()) if result.returns_rows else result.rowcount
    finally:
        await engine.dispose()
