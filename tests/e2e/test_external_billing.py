"""External billing, codes and top-ups over real sockets and databases, with two gateways on one database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from oneapi_mw.store.dsn import DatabaseUrl
from tests.support.serving import Site, site

KEY = "twice0twice0twice0twice0twice0twice0twice0twice0"
"""One key at every gateway of a database."""


@pytest.fixture
async def workers(migrated_url: DatabaseUrl) -> AsyncIterator[list[Site]]:
    """Two gateways; whatever a test does, the books balance in the end."""
    async with AsyncExitStack() as stack:
        sites = [await stack.enter_async_context(site(migrated_url, initial_root_token=KEY)) for _ in range(2)]
        yield sites
        assert not await sites[0].gateway.ledger.audit()


async def consume(worker: Site, key: str | None = None, **body: Any) -> dict[str, Any]:
    headers = {"authorization": f"Bearer {worker.key}"}
    if key:
        headers["idempotency-key"] = key
    url = worker.base + "/api/token/consume"
    response = await worker.http.post(url, json={"add_reason": "scan", **body}, headers=headers)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


async def quota(worker: Site) -> int:
    left: int = (await worker.get("/api/user/self"))["quota"]
    return left


async def test_i_17_one_key_charges_once_whoever_is_asked(workers: list[Site]) -> None:
    before = await quota(workers[0])
    for phase in ("single", "pre"):
        calls = [consume(workers[n % 2], phase, phase=phase, add_used_quota=1000) for n in range(32)]
        answers = await asyncio.gather(*calls)
        assert all(answer["success"] for answer in answers), answers
        assert len({answer["transaction"]["uuid"] for answer in answers}) == 1
    assert before - await quota(workers[0]) == 2000


async def test_i_17_the_ends_of_a_transaction_race(workers: list[Site]) -> None:
    for _ in range(5):
        before = await quota(workers[0])
        id_ = (await consume(workers[0], phase="pre", add_used_quota=1000))["transaction"]["transaction_id"]
        calls = [
            consume(workers[n % 2], phase="post" if n % 3 else "cancel", transaction_id=id_, final_used_quota=1000 + n)
            for n in range(8)
        ]
        won = [answer["transaction"] for answer in await asyncio.gather(*calls) if answer["success"]]
        assert len(won) == 1
        assert before - await quota(workers[0]) == won[0]["final_quota"]


async def test_one_code_is_redeemed_once_whoever_is_asked(workers: list[Site]) -> None:
    (code,) = await workers[0].post("/api/redemption/", {"name": "gift", "quota": 5000, "count": 1})
    before = await quota(workers[0])

    async def redeem(worker: Site) -> bool:
        response = await worker.http.post(worker.base + "/api/user/topup", json={"key": code})
        return response.status_code == 200 and bool(response.json()["success"])

    redeemed = await asyncio.gather(*(redeem(workers[n % 2]) for n in range(32)))

    assert redeemed.count(True) == 1
    assert await quota(workers[0]) - before == 5000


async def test_one_top_up_is_booked_once_whoever_is_asked(workers: list[Site]) -> None:
    me = await workers[0].get("/api/user/self")

    async def top_up(worker: Site) -> bool:
        body = {"user_uuid": me["uuid"], "quota": 7000}
        response = await worker.http.post(worker.base + "/api/topup", json=body, headers={"idempotency-key": "k"})
        return bool(response.json()["success"])

    assert all(await asyncio.gather(*(top_up(workers[n % 2]) for n in range(16))))
    assert await quota(workers[0]) - me["quota"] == 7000


async def test_the_legacy_paths_of_balances(gateway: Site) -> None:
    token = await gateway.add_token(remain_quota=1000)
    headers = {"authorization": f"Bearer {token['key']}"}
    for prefix in ("", "/v1"):
        url = f"{gateway.base}{prefix}/dashboard/billing/"
        subscription = (await gateway.http.get(url + "subscription", headers=headers)).json()
        assert subscription["hard_limit_usd"] == 1000 / 500_000
        assert (await gateway.http.get(url + "usage", headers=headers)).json() == {"object": "list", "total_usage": 0}
        assert (await gateway.http.get(url + "nothing", headers=headers)).status_code == 404
