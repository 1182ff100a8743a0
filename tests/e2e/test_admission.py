"""A balance admits exactly what it can pay, however many ask at once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from oneapi_mw.store.dsn import DatabaseUrl
from tests.support.hostile import Peer, Received
from tests.support.serving import Site, site
from tests.support.vendor import Vendor

BODY: dict[str, Any] = {"max_tokens": 7, "messages": [{"role": "user", "content": "hello"}]}
CHARGED = 3
ADMITTED, ASKED = 100, 200


@pytest.mark.parametrize("redis", ["", "redis://127.0.0.1:1/0"], ids=["without Redis", "with a Redis that is away"])
async def test_i_03_i_12_a_balance_for_100_admits_100_of_200(
    migrated_url: DatabaseUrl, upstream: Vendor, redis: str
) -> None:
    """The provider keeps everybody waiting until all are admitted or refused: no settlement makes room for others.
    Balances are the database's alone, so that a Redis makes no difference."""
    gate = asyncio.Event()
    answer = upstream.answer

    async def held(peer: Peer, request: Received) -> None:
        await gate.wait()
        await answer(peer, request)

    upstream.answer = held
    async with site(migrated_url, redis_conn_string=redis) as ready:
        await ready.add_channel(upstream.url)
        hold = await hold_of_one(ready, upstream, gate)
        gate.clear()
        token = await ready.add_token(name="crowded", remain_quota=ADMITTED * hold)
        asking = [asyncio.create_task(ready.chat(token["key"], **BODY)) for _ in range(ASKED)]
        refused = 0
        for ended in asyncio.as_completed(asking):
            response = await ended
            if response.status_code != 200:
                assert response.json()["error"]["code"] in ("token_exhausted", "pre_consume_token_quota_failed")
                refused += 1
                if refused == ASKED - ADMITTED:
                    gate.set()
        assert refused == ASKED - ADMITTED
        assert len(upstream.requests) == 1 + ADMITTED
        left = await quota_of(ready, "crowded")
        assert left == {"used_quota": CHARGED * ADMITTED, "remain_quota": (hold - CHARGED) * ADMITTED}
        assert not await ready.gateway.ledger.audit()


async def hold_of_one(ready: Site, upstream: Vendor, gate: asyncio.Event) -> int:
    """What one such request sets aside: the token's balance while the provider has not answered."""
    token = await ready.add_token(name="measuring")
    asking = asyncio.create_task(ready.chat(token["key"], **BODY))
    await upstream.asked.wait()
    hold = 500_000 - (await quota_of(ready, "measuring"))["remain_quota"]
    gate.set()
    assert (await asking).status_code == 200
    assert hold >= CHARGED
    return hold


async def quota_of(ready: Site, name: str) -> dict[str, int]:
    [token] = await ready.get("/api/token/search", keyword=name)
    return {column: token[column] for column in ("used_quota", "remain_quota")}
