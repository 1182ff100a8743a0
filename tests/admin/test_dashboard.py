"""The balances that clients of OpenAI ask for."""

from __future__ import annotations

from typing import Any

import pytest

from oneapi_mw.ids import request_id
from oneapi_mw.ledger.base import LogFacts, Reserve
from oneapi_mw.store.records import TokenRecord
from tests.admin.world import World

PREFIXES = ("", "/v1")


async def spend(world: World, token: TokenRecord, quota: int) -> None:
    ledger, key = await world.books(), request_id()
    await ledger.reserve(Reserve(key, token.user_id, token.id, quota))
    await ledger.settle(key, quota, LogFacts())


async def read(world: World, name: str, token: TokenRecord, prefix: str = "") -> Any:
    reply = await world.get(f"{prefix}/dashboard/billing/{name}", {"authorization": f"Bearer sk-{token.key}"})
    assert reply.status == 200
    return reply.json()


@pytest.mark.parametrize("prefix", PREFIXES)
async def test_a_limited_key(world: World, prefix: str) -> None:
    token = await world.token(world["alice"].user, remain_quota=900, expired_time=1_900_000_000)
    await spend(world, token, 300)

    limit = 900 / 500_000
    assert await read(world, "subscription", token, prefix) == {
        "object": "billing_subscription",
        "has_payment_method": True,
        "soft_limit_usd": limit,
        "hard_limit_usd": limit,
        "system_hard_limit_usd": limit,
        "access_until": 1_900_000_000,
    }
    assert await read(world, "usage", token, prefix) == {"object": "list", "total_usage": 0.06}


async def test_an_unlimited_key(world: World) -> None:
    token = world["alice"].token
    await spend(world, token, 300)

    shown = await read(world, "subscription", token)
    assert (shown["hard_limit_usd"], shown["access_until"]) == (100_000_000, 0)
    assert (await read(world, "usage", token))["total_usage"] == 0.06


async def test_the_figures_of_the_user(world: World) -> None:
    """What was used counts: what there is in all does not shrink by using it."""
    await world.store.options.set("DisplayTokenStatEnabled", "false")
    await spend(world, world["alice"].token, 300)
    other = await world.token(world["alice"].user, remain_quota=5)

    for token in (world["alice"].token, other):
        assert (await read(world, "subscription", token))["hard_limit_usd"] == 1000 / 500_000
        assert (await read(world, "usage", token))["total_usage"] == 0.06


async def test_quota_units(world: World) -> None:
    await world.store.options.set("DisplayInCurrencyEnabled", "false")
    token = await world.token(world["alice"].user, remain_quota=900)
    await spend(world, token, 300)

    assert (await read(world, "subscription", token))["hard_limit_usd"] == 900
    assert (await read(world, "usage", token))["total_usage"] == 30_000


class Nobody:
    async def get_by_id(self, id_: int) -> None:
        return None


@pytest.mark.parametrize(("name", "kind"), [("subscription", "upstream_error"), ("usage", "one_api_error")])
@pytest.mark.parametrize("gone", ["tokens", "users"])
async def test_a_key_that_was_deleted_a_moment_ago(
    world: World, monkeypatch: pytest.MonkeyPatch, name: str, kind: str, gone: str
) -> None:
    await world.store.options.set("DisplayTokenStatEnabled", "false")
    monkeypatch.setattr(world.store, gone, Nobody())
    answer = await read(world, name, world["bob"].token)
    assert answer["error"]["type"] == kind


async def test_without_a_key(world: World) -> None:
    reply = await world.get("/dashboard/billing/usage")
    assert reply.status == 401
    assert reply.json()["error"]["type"] == "one_api_error"
