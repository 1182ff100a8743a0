"""Redemption codes: made by administrators, redeemed by users, once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.admin.world import UNKNOWN, World

CODES, REDEEM = "/api/redemption/", "/api/user/topup"
KEYS = {
    "uuid", "user_uuid", "key", "status", "name", "quota", "created_time", "redeemed_time", "count", "created_at",
    "updated_at",
}  # fmt: skip


async def make(world: World, **body: Any) -> list[str]:
    reply = await world.post(CODES, world["admin"].cookie, {"name": "gift", "count": 1, **body})
    codes: list[str] = reply.data
    return codes


async def listed(world: World) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = (await world.get(CODES, world["admin"].cookie)).data
    return rows


async def test_a_batch_of_codes(world: World) -> None:
    codes = await make(world, quota=250, count=3)

    assert len(set(codes)) == 3
    assert all(len(code) == 32 and int(code, 16) for code in codes)
    reply = await world.get(CODES, world["admin"].cookie)
    assert reply.json()["total"] == 3
    assert [row["key"] for row in reply.data] == list(reversed(codes))
    row = reply.data[0]
    assert row.keys() == KEYS
    assert (row["status"], row["quota"], row["name"], row["count"], row["redeemed_time"]) == (1, 250, "gift", 0, 0)
    assert row["user_uuid"] == world["admin"].user.uuid
    assert (await world.get(CODES + row["uuid"], world["admin"].cookie)).data == row


@pytest.mark.parametrize("quota", [None, 0])
async def test_without_a_quota_a_code_is_worth_the_usual(world: World, quota: int | None) -> None:
    await make(world, quota=quota)
    assert [row["quota"] for row in await listed(world)] == [100]


@pytest.mark.parametrize(
    "body",
    [{"count": 0}, {"count": 101}, {"count": None}, {"count": True}, {"name": ""}, {"name": " "}, {"name": "n" * 21},
     {"name": "\u00e9" * 11}, {"quota": -1}, {"quota": 2**53}, {"quota": "1"}, {"name": 5}],
)  # fmt: skip
async def test_codes_that_are_not_made(world: World, body: dict[str, Any]) -> None:
    (await world.post(CODES, world["admin"].cookie, {"name": "gift", "count": 1, **body})).refused()
    assert await listed(world) == []


async def test_searching(world: World) -> None:
    await make(world, name="Summer", quota=1)
    await make(world, name="summer", quota=3)
    await make(world, name="summer", quota=2)

    async def found(**query: Any) -> list[int]:
        reply = await world.get(CODES + "search", world["admin"].cookie, query=query)
        assert reply.json()["total"] >= len(reply.data)
        return [row["quota"] for row in reply.data]

    assert await found(keyword="summ") == [2, 3]
    assert await found(keyword="summ", sort="quota", order="asc") == [2, 3]
    assert await found(sort="quota", order="desc") == [3, 2, 1]
    assert await found(keyword=world["admin"].user.uuid, size=1) == [2]
    assert await found(keyword=(await listed(world))[2]["uuid"]) == [1]


async def test_changes(world: World) -> None:
    await make(world, quota=250)
    (row,) = await listed(world)
    by = world["admin"].cookie

    changed = (await world.put(CODES, by, {"uuid": row["uuid"], "name": "new", "status": 2})).data
    assert (changed["name"], changed["quota"], changed["status"]) == ("new", 250, 1)
    assert (await world.put(CODES, by, {"uuid": row["uuid"], "quota": 7})).data["quota"] == 7
    assert (await world.put(CODES, by, {"uuid": row["uuid"], "quota": 0})).data["quota"] == 100
    only = {"query": {"status_only": "1"}}
    assert (await world.put(CODES, by, {"uuid": row["uuid"], "status": 2, "name": "x"}, **only)).data["status"] == 2
    assert (await listed(world))[0]["name"] == "new"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"name": "n"}, "resource uuid is required"),
        ({"uuid": UNKNOWN, "name": "n"}, "resource reference not found"),
        ({"uuid": "does-not-exist"}, "invalid resource reference"),
        ({"name": ""}, "Redemption name cannot be empty"),
        ({"name": None}, "Redemption name cannot be empty"),
        ({"quota": -1}, "quota must be at least 0"),
        ({"quota": "many"}, "quota must be a whole number"),
    ],
)
async def test_changes_that_are_refused(world: World, body: dict[str, Any], words: str) -> None:
    await make(world)
    (row,) = await listed(world)
    body = body if "uuid" in body or words.startswith("resource uuid") else {"uuid": row["uuid"], **body}

    (await world.put(CODES, world["admin"].cookie, body)).refused(words)
    assert await listed(world) == [row]


@pytest.mark.parametrize("status", [None, 0, 3, 4])
async def test_statuses_nobody_can_set(world: World, status: int | None) -> None:
    await make(world)
    (row,) = await listed(world)
    only = {"query": {"status_only": "1"}}
    (await world.put(CODES, world["admin"].cookie, {"uuid": row["uuid"], "status": status}, **only)).refused("1 to")


async def test_deletion(world: World) -> None:
    codes = await make(world, count=2)
    row = (await listed(world))[1]
    (await world.delete(CODES + row["uuid"], world["admin"].cookie)).done()
    (await world.delete(CODES + row["uuid"], world["admin"].cookie)).refused("not found")

    assert [left["key"] for left in await listed(world)] == [codes[1]]
    (await world.post(REDEEM, world["alice"].cookie, {"key": row["key"]})).refused("Redeem failed")


async def test_redeeming(world: World) -> None:
    (code,) = await make(world, quota=250)
    assert (await world.post(REDEEM, world["alice"].cookie, {"key": f" {code} "})).data == 250

    assert (await world.user("alice")).quota == 1250
    (row,) = await listed(world)
    assert row.keys() == KEYS | {"redeemed_by"}
    assert (row["status"], row["redeemed_by"]) == (3, world["alice"].user.uuid)
    assert row["redeemed_time"] >= row["created_time"]
    (line,) = (await world.get("/api/log/self", world["alice"].cookie)).data
    assert (line["type"], line["quota"], line["content"]) == (1, 250, "redemption code gift")
    for name in ("alice", "bob"):
        (await world.post(REDEEM, world[name].cookie, {"key": code})).refused("Redeem failed")
    assert await (await world.books()).audit() == []


async def test_what_was_redeemed_cannot_be_redeemed_again_by_changing_it(world: World) -> None:
    (code,) = await make(world)
    await world.post(REDEEM, world["alice"].cookie, {"key": code})
    (row,) = await listed(world)
    by = world["admin"].cookie

    enable = {"uuid": row["uuid"], "status": 1}
    (await world.put(CODES, by, enable, query={"status_only": "1"})).refused("redeemed already")
    (await world.put(CODES, by, {"uuid": row["uuid"], "quota": 5})).refused("redeemed already")
    assert (await world.put(CODES, by, {"uuid": row["uuid"], "name": "old"})).data["name"] == "old"


async def test_a_disabled_code(world: World) -> None:
    (code,) = await make(world)
    (row,) = await listed(world)
    disable = {"uuid": row["uuid"], "status": 2}
    await world.put(CODES, world["admin"].cookie, disable, query={"status_only": "1"})

    (await world.post(REDEEM, world["alice"].cookie, {"key": code})).refused("Redeem failed")
    assert (await world.user("alice")).quota == 1000


async def test_many_redeem_one_code_at_once(world: World) -> None:
    world.configure(redeem_failures=0)
    (code,) = await make(world, quota=250)
    calls = [world.post(REDEEM, world[name].cookie, {"key": code}) for name in ("alice", "bob") * 25]

    replies = await asyncio.gather(*calls)

    assert [reply.json()["success"] for reply in replies].count(True) == 1
    assert (await world.user("alice")).quota + (await world.user("bob")).quota == 2250


async def test_a_balance_that_is_full_leaves_the_code_as_it_is(world: World) -> None:
    (code,) = await make(world, quota=5)
    alice = world["alice"].user
    for n in range(512):
        try:
            await world.store.users.add_quota(alice.id, 2**53, kind="adjust", key=f"{n}")
        except ValueError:
            break
    rest = 2**62 - (await world.user("alice")).quota
    await world.store.users.add_quota(alice.id, rest, kind="adjust", key="rest")

    (await world.post(REDEEM, world["alice"].cookie, {"key": code})).refused("Redeem failed", "range")
    assert (await world.post(REDEEM, world["bob"].cookie, {"key": code})).data == 5


@pytest.mark.parametrize("body", [{}, {"key": ""}, {"key": "  "}, {"key": None}, {"key": 5}])
async def test_no_code(world: World, body: dict[str, Any]) -> None:
    (await world.post(REDEEM, world["alice"].cookie, body)).refused("invalid parameter")


async def test_guessing_is_slowed_down(world: World) -> None:
    (code,) = await make(world, quota=250)
    guesses = ["x", "0" * 32, "\u00e9", "y" * 5000, "z"]
    for guess in guesses:
        (await world.post(REDEEM, world["alice"].cookie, {"key": guess})).refused("Redeem failed")

    refused = await world.post(REDEEM, world["alice"].cookie, {"key": code})
    assert refused.status == 429
    assert refused.json()["success"] is False
    assert 0 < int(refused.headers["retry-after"]) <= 600
    assert (await world.post(REDEEM, world["bob"].cookie, {"key": code})).data == 250
    world.clock.pass_(601)
    (await world.post(REDEEM, world["alice"].cookie, {"key": code})).refused("Redeem failed")


async def test_right_codes_are_no_guesses(world: World) -> None:
    for code in await make(world, quota=1, count=12):
        assert (await world.post(REDEEM, world["alice"].cookie, {"key": code})).data == 1
