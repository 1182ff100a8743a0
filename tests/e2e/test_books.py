"""What the tables say of the same request, and edits while there is spending: over real sockets and databases."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from oneapi_mw.store.dsn import DatabaseUrl
from tests.e2e.test_disconnect import read_and_leave
from tests.support.hostile import Peer, Received
from tests.support.serving import Site, site
from tests.support.vendor import Vendor, buffered, chunks, stream

COST = 3
"""Quota units of one usual answer."""
EDITS = 12


async def rows(database: DatabaseUrl, statement: str) -> list[dict[str, Any]]:
    engine = create_async_engine(database.sqlalchemy, connect_args=database.connect_args())
    try:
        async with engine.connect() as connection:
            return [dict(row) for row in (await connection.execute(text(statement))).mappings()]
    finally:
        await engine.dispose()


async def test_i_09_cost_log_and_hold_say_the_same(migrated_url: DatabaseUrl, upstream: Vendor) -> None:
    """Answers of every kind: whole, cut, refused, never given, left by their client."""
    never = asyncio.Event()
    upstream_gone = asyncio.Event()
    kinds = {
        0: buffered({"error": {"message": "no"}}, status=b"500 Internal Server Error"),
        1: upstream.answer,
        2: stream(chunks(*["word "] * 20)),
        3: stream(chunks("a ", "b ", usage=None)[:2], done=False),
        4: stream(chunks(*["word "] * 50), hold=never, hold_after=41, gone=upstream_gone),
    }

    async def answer(peer: Peer, request: Received) -> None:
        kind = next((n for n in kinds if b'"seed":%d' % n in request.body), 4)
        await kinds[kind](peer, request)

    async def silent(peer: Peer, request: Received) -> None:
        peer.reset()

    kinds[5] = silent
    upstream.answer = answer
    async with site(migrated_url) as ready:
        await ready.add_channel(upstream.url)
        for seed in (0, 1, 2, 3, 5):
            await ready.chat(seed=seed, stream=seed in (2, 3))
        await read_and_leave(ready, until=b"word ", times=40)
        while len(await ready.get("/api/log/", p=0, size=100, type=2)) < 5:
            await asyncio.sleep(0.01)
        assert not await ready.gateway.ledger.audit()
        joined = await rows(
            migrated_url,
            "SELECT h.key AS request_id, h.state, h.final, l.quota FROM billing_holds h "
            "LEFT JOIN logs l ON l.request_id = h.key AND l.type = 2",
        )
        assert len(joined) == 6
        for row in joined:
            cost = (await ready.http.get(f"{ready.base}/api/cost/request/{row['request_id']}")).json()
            assert cost["quota"] == row["final"] == (row["quota"] or 0)
            assert cost["state"] == ("void" if row["quota"] is None else "final")
        assert sum(row["quota"] is None for row in joined) == 1  # the one that was refused
        assert all(row["quota"] > 0 for row in joined if row["quota"] is not None)


async def test_i_14_edits_do_not_overwrite_spending(migrated_url: DatabaseUrl, upstream: Vendor) -> None:
    async with site(migrated_url) as ready:
        await ready.add_channel(upstream.url)
        token = await ready.add_token(name="busy", remain_quota=500_000)
        edited = asyncio.Event()
        spending = asyncio.create_task(spend(ready, token["key"], until=edited))
        await rename(ready, token, times=EDITS)
        edited.set()
        requests = await spending
        [after] = await ready.get("/api/token/search", keyword="name")
        assert after["remain_quota"] == 500_000 - COST * requests
        assert after["used_quota"] == COST * requests
        assert not await ready.gateway.ledger.audit()


async def spend(ready: Site, key: str, *, until: asyncio.Event) -> int:
    """Ask, eight at a time; returns how often."""
    for requests in itertools.count(8, 8):
        answers = await asyncio.gather(*(ready.chat(key) for _ in range(8)))
        assert [answer.status_code for answer in answers] == [200] * 8
        if until.is_set():
            return requests
    raise AssertionError


async def rename(ready: Site, token: dict[str, Any], *, times: int) -> None:
    """Give a token and its user one name after the other."""
    for number in range(times):
        for path, body in (
            ("/api/token/", {"uuid": token["uuid"], "name": f"name-{number}"}),
            ("/api/user/self", {"display_name": f"root {number}"}),
        ):
            response = await ready.http.put(ready.base + path, json=body)
            assert response.json()["success"], response.text
