"""Top-ups and adjustments: entries of the ledger that never overwrite what is spent meanwhile."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from oneapi_mw.ids import request_id
from oneapi_mw.ledger.base import LogFacts, Reserve
from tests.admin.world import UNKNOWN, Reply, World

TOPUP = "/api/topup"


async def top_up(world: World, quota: Any = 500, *, key: str | None = None, **body: Any) -> Reply:
    headers = {} if key is None else {"idempotency-key": key}
    body = {"user_uuid": world["alice"].user.uuid, "quota": quota, **body}
    return await world.post(TOPUP, world["admin"].cookie, body, headers=headers)


async def test_a_top_up(world: World) -> None:
    (await top_up(world)).done()
    (await top_up(world, 0, remark="nothing")).done()

    assert (await world.user("alice")).quota == 1500
    rows = (await world.get("/api/log/self", world["alice"].cookie)).data
    assert [(row["type"], row["quota"], row["content"]) for row in rows] == [
        (1, 0, "nothing"),
        (1, 500, "top-up by admin"),
    ]
    assert await (await world.books()).audit() == []


@pytest.mark.parametrize("key", [None, "k"])
async def test_a_repeated_top_up(world: World, key: str | None) -> None:
    replies = [await top_up(world, key=key) for _ in range(3)]

    for reply in replies:
        reply.done()
    assert (await world.user("alice")).quota == (1500 if key else 2500)
    assert ["idempotent-replayed" in reply.headers for reply in replies] == [False, bool(key), bool(key)]


async def test_a_key_is_of_one_top_up_of_one_administrator(world: World) -> None:
    (await top_up(world, key="k")).done()

    for body in ({"quota": 501}, {"user_uuid": world["bob"].user.uuid}, {"remark": "other"}):
        (await top_up(world, key="k", **{"quota": 500, **body})).refused("belongs to a top-up that said something else")
    other: dict[str, Any] = {"user_uuid": world["alice"].user.uuid, "quota": 7}
    (await world.post(TOPUP, world["peer"].cookie, other, headers={"idempotency-key": "k"})).done()
    assert ((await world.user("alice")).quota, (await world.user("bob")).quota) == (1507, 1000)
    world.configure(strict_http_status=True)
    strict = await top_up(world, 501, key="k")
    assert (strict.status, strict.json()["code"]) == (409, "idempotency_key_reused")


async def test_one_key_credits_once_under_parallel_calls(world: World) -> None:
    for reply in await asyncio.gather(*(top_up(world, key="k") for _ in range(32))):
        reply.done()
    assert (await world.user("alice")).quota == 1500


@pytest.mark.parametrize("quota", [-1, 2**53, 2**63, 1.5, "5", None, True])
async def test_amounts_that_are_refused(world: World, quota: Any) -> None:
    (await top_up(world, quota)).refused("quota must be")
    assert (await world.user("alice")).quota == 1000


async def test_users_that_are_not_there(world: World) -> None:
    (await top_up(world, user_uuid=UNKNOWN)).refused("not found")
    (await top_up(world, user_uuid="5")).refused("invalid resource reference")
    (await top_up(world, key="a b")).refused("Idempotency-Key must have")


class Spender:
    """Spends one unit after the other, and knows how many."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.spent = 0

    async def spend(self, times: int = 1) -> None:
        ledger, alice = await self.world.books(), self.world["alice"]
        for _ in range(times):
            key = request_id()
            await ledger.reserve(Reserve(key, alice.user.id, self.token_id, 3))
            await ledger.settle(key, 1, LogFacts())
            self.spent += 1

    token_id = 0


async def test_i_14_renaming_a_key_in_a_storm_restores_nothing(world: World) -> None:
    """A form that was filled in before the storm is sent back as it is, again and again while it lasts."""
    token = await world.token(world["alice"].user, remain_quota=500)
    spender = Spender(world)
    spender.token_id = token.id
    form = (await world.get(f"/api/token/{token.uuid}", world["alice"].cookie)).data
    storm = asyncio.create_task(spender.spend(60))

    names = [f"name {n}" for n in range(20)]
    for name in names:
        body = {**form, "name": name}
        assert (await world.put("/api/token/", world["alice"].cookie, body)).data["name"] == name
        assert (await world.put("/api/token/", world["alice"].cookie, {"uuid": token.uuid, "name": name})).data
    await storm

    ledger = await world.books()
    assert (await ledger.token_balance(token.id)).quota == 500 - spender.spent
    assert (await ledger.user_balance(world["alice"].user.id)).quota == 1000 - spender.spent
    assert await ledger.audit() == []


@pytest.mark.parametrize(("seen", "wanted"), [(500, 500), (500, 800), (500, 100)])
async def test_a_form_changes_a_key_by_what_was_changed_in_it(world: World, seen: int, wanted: int) -> None:
    token = await world.token(world["alice"].user, remain_quota=500)
    spender = Spender(world)
    spender.token_id = token.id
    await spender.spend(30)

    body = {"uuid": token.uuid, "remain_quota": wanted, "remain_quota_read": seen}
    changed = (await world.put("/api/token/", world["alice"].cookie, body)).data
    assert changed["remain_quota"] == 470 + wanted - seen
    assert await (await world.books()).audit() == []


async def test_a_used_up_key_is_enabled_by_what_is_added(world: World) -> None:
    token = await world.token(world["alice"].user, remain_quota=0)
    await world.store.tokens.update(token.uuid, {"status": 4})

    body = {"uuid": token.uuid, "status": 1, "remain_quota": 0, "remain_quota_read": 0}
    (await world.put("/api/token/", world["alice"].cookie, body)).refused("is used up")
    body["remain_quota"] = 5
    changed = (await world.put("/api/token/", world["alice"].cookie, body)).data
    assert (changed["status"], changed["remain_quota"]) == (1, 5)


async def test_a_form_changes_a_user_by_what_was_changed_in_it(world: World) -> None:
    spender = Spender(world)
    spender.token_id = world["alice"].token.id
    await spender.spend(30)
    uuid = world["alice"].user.uuid

    for wanted in (1000, 1500):
        body = {"uuid": uuid, "quota": wanted, "quota_read": 1000}
        (await world.put("/api/user/", world["root"].cookie, body)).done()
    assert (await world.user("alice")).quota == 970 + 500
    (await world.put("/api/user/", world["root"].cookie, {"uuid": uuid, "quota": 200})).done()
    assert (await world.user("alice")).quota == 200
    assert await (await world.books()).audit() == []
