"""What one request cost, by its id."""

from __future__ import annotations

import pytest

from oneapi_mw.ledger.base import LogFacts, Reserve
from tests.admin.world import World

PATH = "/api/cost/request/"
ID = "2611270d169axnb5376ktfgrhftlfeja"


async def reserve(world: World, amount: int = 750) -> None:
    alice = world["alice"]
    await (await world.books()).reserve(Reserve(ID, alice.user.id, alice.token.id, amount))


async def settle(world: World, quota: int = 300) -> None:
    await reserve(world)
    await (await world.books()).settle(ID, quota, LogFacts(user_uuid=world["alice"].user.uuid))


async def test_a_request_that_runs_shows_what_is_set_aside(world: World) -> None:
    await reserve(world)
    body = (await world.get(PATH + ID)).json()

    assert (body["state"], body["quota"], body["cost_usd"]) == ("pending", 750, 0.0015)


async def test_a_settled_request_shows_what_was_charged(world: World) -> None:
    await settle(world)
    reply = await world.get(PATH + ID)
    body = reply.json()

    assert reply.status == 200
    assert body.keys() == {
        "uuid",
        "created_time",
        "user_uuid",
        "request_id",
        "quota",
        "cost_usd",
        "state",
        "estimated",
        "adjusted",
        "created_at",
        "updated_at",
    }
    assert (body["state"], body["quota"], body["cost_usd"], body["estimated"]) == ("final", 300, 0.0006, False)
    assert (body["request_id"], body["user_uuid"]) == (ID, world["alice"].user.uuid)
    assert abs(body["created_time"] * 1000 - body["created_at"]) < 2000


async def test_a_request_that_failed_cost_nothing(world: World) -> None:
    await reserve(world)
    await (await world.books()).void(ID)
    body = (await world.get(PATH + ID)).json()

    assert (body["state"], body["quota"], body["cost_usd"]) == ("void", 0, 0)


async def test_a_corrected_estimate_shows_the_cost_and_by_how_much_it_was_wrong(world: World) -> None:
    alice, ledger = world["alice"], await world.books()
    await ledger.reserve(Reserve(ID, alice.user.id, alice.token.id, 750, lease_seconds=0, fallback=700))
    await ledger.sweep()
    body = (await world.get(PATH + ID)).json()
    assert (body["quota"], body["estimated"], body["adjusted"]) == (700, True, 0)

    await ledger.settle(ID, 500, LogFacts())
    body = (await world.get(PATH + ID)).json()
    assert (body["state"], body["quota"], body["cost_usd"]) == ("final", 500, 0.001)
    assert (body["estimated"], body["adjusted"]) == (False, 200)


async def test_a_free_request_has_a_cost_of_nothing(world: World) -> None:
    await reserve(world, 0)
    await (await world.books()).settle(ID, 0, LogFacts())

    assert (await world.get(PATH + ID)).json()["cost_usd"] == 0


@pytest.mark.parametrize("request_id", ["unknown", "0" * 32, "x" * 33, "a b", "a%b", "%F0%9F", "-", "'--"])
async def test_an_unknown_request_is_one_document(world: World, request_id: str) -> None:
    (await world.get(PATH + request_id)).refused("no cost is known")


async def test_the_path_ends_with_the_id(world: World) -> None:
    for path in ("/api/cost/request/", "/api/cost/request", f"/api/cost/request/{ID}/"):
        assert (await world.get(path)).status == 404


async def test_closed_to_owner_and_administrators(world: World) -> None:
    world.configure(public_cost_lookup=False)
    await settle(world)

    for name in ("alice", "admin", "root"):
        for credential in (world[name].cookie, world[name].bearer):
            assert (await world.get(PATH + ID, credential)).json()["quota"] == 300
    assert (await world.get(PATH + ID, world["alice"].key)).json()["quota"] == 300


async def test_closed_to_others_as_if_it_were_not_there(world: World) -> None:
    world.configure(public_cost_lookup=False)
    await settle(world)
    unknown = await world.get(PATH + "0" * 32, world["bob"].cookie)

    for credential in (world["bob"].cookie, world["bob"].bearer, world["bob"].key, world["admin"].key):
        assert (await world.get(PATH + ID, credential)).body == unknown.body


@pytest.mark.parametrize("credential", [{}, {"authorization": "Bearer nonsense"}, {"cookie": "session=x"}], ids=str)
async def test_closed_to_those_without_a_credential(world: World, credential: dict[str, str]) -> None:
    world.configure(public_cost_lookup=False)
    await settle(world)
    reply = await world.get(PATH + ID, credential)

    assert reply.status == 401
    assert reply.json()["success"] is False
