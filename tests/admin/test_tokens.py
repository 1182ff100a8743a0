"""API keys: their owner's, everybody's as administrators see them, and what a key sees of itself."""

from __future__ import annotations

import time
from typing import Any

import pytest

from oneapi_mw.principal import TokenStatus
from oneapi_mw.store.records import TokenRecord
from tests.admin.world import UNKNOWN, Reply, World

KEYS = {
    "uuid",
    "user_uuid",
    "key",
    "status",
    "name",
    "created_time",
    "accessed_time",
    "expired_time",
    "remain_quota",
    "unlimited_quota",
    "used_quota",
    "created_at",
    "updated_at",
    "models",
    "subnet",
}
PAST, FUTURE = 1_600_000_000, 2_000_000_000
"""Seconds, seen from the clock of the tests."""


async def make(world: World, **body: Any) -> dict[str, Any]:
    """A key of alice, made through the API."""
    reply = await world.post("/api/token/", world["alice"].cookie, {"name": "new", **body})
    made: dict[str, Any] = reply.data
    return made


async def put(world: World, body: Any, **rest: Any) -> Reply:
    return await world.put("/api/token/", world["alice"].cookie, body, **rest)


async def row(world: World, uuid: str) -> TokenRecord:
    found = await world.store.tokens.get(uuid)
    assert found is not None
    return found


async def test_a_new_key_and_what_it_is_without_wishes(world: World) -> None:
    made = await make(world)

    assert made.keys() == {*KEYS, "remain_quota_read"}
    expected = {
        "user_uuid": world["alice"].user.uuid,
        "status": 1,
        "name": "new",
        "expired_time": -1,
        "remain_quota": 0,
        "unlimited_quota": False,
        "used_quota": 0,
        "models": None,
        "subnet": "",
    }
    assert {key: made[key] for key in expected} == expected
    assert made["key"].startswith("sk-")
    assert len(made["key"]) == 51
    assert made["created_time"] == made["accessed_time"]
    assert abs(made["created_time"] * 1000 - made["created_at"]) < 2000


async def test_a_new_key_as_asked_for(world: World) -> None:
    asked = {
        "name": " mine ",
        "remain_quota": 500000,
        "expired_time": FUTURE,
        "unlimited_quota": True,
        "models": " gpt-4o , ,o1,",
        "subnet": "10.0.0.0/8, 2001:db8::/32 ",
    }
    made = await make(world, **asked)

    expected = {**asked, "name": "mine", "models": "gpt-4o,o1", "subnet": "10.0.0.0/8,2001:db8::/32"}
    assert {key: made[key] for key in asked} == expected


async def test_nulls_and_zeros_of_a_new_key_mean_not_given(world: World) -> None:
    nothing = dict.fromkeys(("remain_quota", "expired_time", "unlimited_quota", "models", "subnet"))
    made = await make(world, **nothing)
    assert (made["remain_quota"], made["expired_time"], made["unlimited_quota"]) == (0, -1, False)
    assert (made["models"], made["subnet"]) == (None, "")
    assert (await make(world, expired_time=0))["expired_time"] == -1


async def test_a_key_works_at_once_with_any_prefix(world: World) -> None:
    made = await make(world, unlimited_quota=True)

    for key in (made["key"], "sk-" + made["key"], made["key"].removeprefix("sk-"), "Bearer " + made["key"]):
        reply = await world.get("/api/token/balance", {"authorization": key})
        assert reply.data == {"remain_quota": 0, "used_quota": 0, "unlimited_quota": True}


async def test_only_what_is_named_can_be_assigned(world: World) -> None:
    wish = {
        "user_id": world["bob"].user.id,
        "user_uuid": UNKNOWN,
        "key": "mine",
        "used_quota": -5,
        "status": 2,
        "id": 1,
    }
    made = await make(world, **wish)

    assert (made["user_uuid"], made["used_quota"], made["status"]) == (world["alice"].user.uuid, 0, 1)
    assert made["key"] != "sk-mine"


BAD_FIELDS: list[tuple[dict[str, Any], str]] = [
    ({"name": 5}, "invalid token: name must be a string"),
    ({"name": "x" * 31}, "invalid token: Token name is too long"),
    ({"name": "\u00e9" * 16}, "invalid token: Token name is too long"),
    ({"remain_quota": -1}, "invalid token: remain_quota must be at least 0"),
    ({"remain_quota": 1.5}, "invalid token: remain_quota must be a whole number"),
    ({"remain_quota": "1"}, "invalid token: remain_quota must be a whole number"),
    ({"remain_quota": True}, "invalid token: remain_quota must be a whole number"),
    ({"remain_quota": 2**63}, "invalid token: remain_quota must be"),
    ({"expired_time": -2}, "invalid token: expired_time must be at least -1"),
    ({"expired_time": 1e3}, "invalid token: expired_time must be a whole number"),
    ({"unlimited_quota": 1}, "invalid token: unlimited_quota must be true or false"),
    ({"models": ["gpt-4o"]}, "invalid token: models must be a string, not a list"),
    ({"models": "a\x00"}, "invalid token: models must not contain NUL"),
    ({"subnet": "10.0.0.0"}, "invalid token: invalid network segment: '10.0.0.0'"),
    ({"subnet": "10.0.0.0/33"}, "invalid token: invalid network segment"),
    ({"subnet": "10.0.0.0/8,nowhere/8"}, "invalid token: invalid network segment: 'nowhere/8'"),
    ({"subnet": 10}, "invalid token: subnet must be a string"),
]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        *BAD_FIELDS,
        ({"name": ""}, "Token name is required"),
        ({"name": "  "}, "Token name is required"),
        ({"name": None}, "invalid token: name must be a string, not null"),
    ],
    ids=str,
)
async def test_keys_that_are_not_created(world: World, body: dict[str, Any], words: str) -> None:
    (await world.post("/api/token/", world["alice"].cookie, {"name": "new", **body})).refused(words)

    assert (await world.get("/api/token/", world["alice"].cookie)).json()["total"] == 1


@pytest.mark.parametrize(
    ("body", "words"),
    [*BAD_FIELDS, ({"name": ""}, "Token name cannot be empty"), ({"status": 0}, "status must be 1, 2, 3 or 4"),
     ({"status": True}, "status must be"), ({"status": "1"}, "status must be")],
    ids=str,
)  # fmt: skip
async def test_changes_that_are_refused(world: World, body: dict[str, Any], words: str) -> None:
    before = world["alice"].token
    (await put(world, {"uuid": before.uuid, **body})).refused(words)

    assert await row(world, before.uuid) == before


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_bodies_that_are_no_token(world: World, method: str) -> None:
    for body in (b"", b"{", b"[]", b"5"):
        (await world.call(method, "/api/token/", world["alice"].cookie, body=body)).refused("invalid token: ")


async def test_an_absent_field_keeps_its_value(world: World) -> None:
    made = await make(world, remain_quota=7, expired_time=FUTURE, unlimited_quota=True, models="a", subnet="10.0.0.0/8")
    changed = (await put(world, {"uuid": made["uuid"], "name": "renamed", "status": 1})).data

    assert {**changed, "updated_at": 0} == {**made, "name": "renamed", "updated_at": 0}


async def test_an_explicit_null_or_zero_resets(world: World) -> None:
    given = {"remain_quota": 7, "expired_time": FUTURE, "unlimited_quota": True, "models": "a", "subnet": "10.0.0.0/8"}
    nulls = await make(world, **given)
    changed = (await put(world, {"uuid": nulls["uuid"], **dict.fromkeys(given)})).data
    assert {key: changed[key] for key in given} == {
        "remain_quota": 0, "expired_time": -1, "unlimited_quota": False, "models": None, "subnet": None,
    }  # fmt: skip

    zeros = await make(world, **given)
    blank = {"remain_quota": 0, "expired_time": 0, "unlimited_quota": False, "models": "", "subnet": ""}
    changed = (await put(world, {"uuid": zeros["uuid"], **blank})).data
    assert {key: changed[key] for key in given} == {**blank, "expired_time": -1}


async def test_a_quota_below_zero_is_kept_when_it_is_sent_back(world: World) -> None:
    token = world["alice"].token
    await world.store.tokens.update(token.uuid, {"remain_quota": -5})

    assert (await put(world, {"uuid": token.uuid, "remain_quota": -5, "name": "n"})).data["remain_quota"] == -5
    (await put(world, {"uuid": token.uuid, "remain_quota": -4})).refused("remain_quota must be at least 0")


@pytest.mark.parametrize(
    ("terms", "wanted", "status"),
    [
        ({"unlimited_quota": True}, 1, 1),
        ({"unlimited_quota": True}, 2, 2),
        ({"unlimited_quota": True}, 3, 1),
        ({"unlimited_quota": True}, 4, 1),
        ({"remain_quota": 5}, 4, 1),
        ({"remain_quota": 0}, 4, 4),
        ({"unlimited_quota": True, "expired_time": FUTURE}, 3, 1),
        ({"unlimited_quota": True, "expired_time": PAST}, 3, 3),
        ({"remain_quota": 0, "expired_time": PAST}, 2, 2),
    ],
    ids=str,
)
async def test_a_status_that_does_not_fit_the_terms_becomes_enabled(
    world: World, terms: dict[str, Any], wanted: int, status: int
) -> None:
    made = await make(world, **terms)

    assert (await put(world, {"uuid": made["uuid"], "status": wanted})).data["status"] == status


@pytest.mark.parametrize(
    ("terms", "words", "cure"),
    [
        ({"unlimited_quota": True, "expired_time": PAST}, "has expired", {"expired_time": -1}),
        ({"unlimited_quota": True, "expired_time": PAST}, "has expired", {"expired_time": FUTURE}),
        ({"remain_quota": 0}, "used up", {"remain_quota": 1}),
        ({"remain_quota": 0}, "used up", {"unlimited_quota": True}),
    ],
    ids=str,
)
async def test_enabling_needs_the_cause_removed(
    world: World, terms: dict[str, Any], words: str, cure: dict[str, Any]
) -> None:
    uuid = (await make(world, **terms))["uuid"]
    await world.store.tokens.update(uuid, {"status": int(TokenStatus.DISABLED)})

    (await put(world, {"uuid": uuid, "status": 1})).refused(words)
    (await put(world, {"uuid": uuid, "status": 1}, query={"status_only": "1"})).refused(words)
    assert (await put(world, {"uuid": uuid, "status": 1, **cure})).data["status"] == 1


async def test_status_only_changes_nothing_else(world: World) -> None:
    token = world["alice"].token
    body = {"uuid": token.uuid, "status": 2, "name": "other", "remain_quota": 9, "unlimited_quota": False}

    changed = (await put(world, body, query={"status_only": "x"})).data

    assert (changed["status"], changed["name"], changed["unlimited_quota"]) == (2, token.name, True)
    (await put(world, {"uuid": token.uuid}, query={"status_only": "x"})).refused("status is required")


async def test_a_disabled_key_is_out_at_once(world: World) -> None:
    alice = world["alice"]
    assert (await world.get("/api/token/balance", alice.key)).status == 200
    await put(world, {"uuid": alice.token.uuid, "status": 2})

    reply = await world.get("/api/token/balance", alice.key)
    assert reply.status == 401
    assert reply.json()["error"].keys() == {"message", "type"}


async def test_a_deleted_key_is_gone(world: World) -> None:
    alice = world["alice"]
    (await world.delete(f"/api/token/{alice.token.uuid}", alice.cookie)).done()

    assert (await world.get("/api/token/balance", alice.key)).status == 401
    (await world.get(f"/api/token/{alice.token.uuid}", alice.cookie)).refused("resource reference not found")
    (await world.delete(f"/api/token/{alice.token.uuid}", alice.cookie)).refused("resource reference not found")
    assert (await world.get("/api/token/", alice.cookie)).data == []


async def test_another_users_key_and_none_get_the_same_bytes(world: World) -> None:
    token, by = world["bob"].token, world["alice"].cookie
    for uuid, other in ((token.uuid, UNKNOWN), (world["root"].token.uuid, UNKNOWN)):
        for method, path, body in (
            ("GET", "/api/token/{}", None),
            ("DELETE", "/api/token/{}", None),
            ("PUT", "/api/token/", {"status": 2}),
            ("PUT", "/api/token/", {"name": "taken over"}),
        ):
            replies = []
            for asked in (uuid, other):
                json = None if body is None else {**body, "uuid": asked}
                replies.append(await world.call(method, path.format(asked), by, json=json))
            assert replies[0].body == replies[1].body
            replies[0].refused("resource reference not found")
    assert await row(world, token.uuid) == token


@pytest.mark.parametrize(
    ("uuid", "words"),
    [("does-not-exist", "invalid resource reference"), ("7", "invalid resource reference"), (UNKNOWN, "not found")],
)
async def test_references_to_nothing(world: World, uuid: str, words: str) -> None:
    by = world["root"].cookie
    for path in (f"/api/token/{uuid}", f"/api/admin/tokens/{uuid}"):
        (await world.get(path, by)).refused(words)
    (await world.put("/api/token/", by, {"uuid": uuid, "status": 1})).refused(words)


@pytest.mark.parametrize("body", [{}, {"id": 1, "status": 1}, {"uuid": ""}, {"uuid": None}])
async def test_an_update_needs_a_uuid(world: World, body: dict[str, Any]) -> None:
    (await put(world, body)).refused("resource uuid is required")


async def test_lists_are_ones_own_newest_first(world: World) -> None:
    for name in ("b", "a", "c"):
        await make(world, name=name)

    reply = await world.get("/api/token/", world["alice"].cookie)
    assert [item["name"] for item in reply.data] == ["c", "a", "b", "alice-key"]
    assert reply.json()["total"] == 4
    assert all(item.keys() == KEYS for item in reply.data)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"p": 1, "size": 2}, ["a", "alice-key"]),
        ({"p": 9}, []),
        ({"sort": "name", "order": "asc"}, ["a", "alice-key", "b", "c"]),
        ({"sort": "key"}, ["c", "b", "a", "alice-key"]),
        ({"order": "remain_quota"}, ["alice-key", "a", "b", "c"]),
        ({"sort": "remain_quota", "order": "desc"}, ["alice-key", "a", "b", "c"]),
        ({"order": "name"}, ["c", "b", "a", "alice-key"]),
    ],
    ids=str,
)
async def test_pages_and_order(world: World, query: dict[str, Any], expected: list[str]) -> None:
    for name, quota in (("a", 3), ("b", 2), ("c", 1)):
        await make(world, name=name, remain_quota=quota)

    reply = await world.get("/api/token/", world["alice"].cookie, query=query)
    assert [item["name"] for item in reply.data] == expected
    assert reply.json()["total"] == 4


async def test_every_column_can_be_sorted_by(world: World) -> None:
    columns = ["id", "uuid", "name", "status", "expired_time", "remain_quota", "used_quota", "created_at", "updated_at"]
    for column in columns:
        for path in ("/api/token/", "/api/token/search", "/api/admin/tokens/", "/api/admin/tokens/search"):
            assert (await world.get(path, world["root"].cookie, query={"sort": column})).data


@pytest.mark.parametrize(
    ("keyword", "expected"),
    [("", 3), ("te", 2), ("test-1", 1), ("est", 0), ("%", 0), ("te_t", 0), (" te ", 2), ("TE", 0)],
)
async def test_a_search_goes_by_the_beginning_of_the_name(world: World, keyword: str, expected: int) -> None:
    for name in ("test-1", "test-2"):
        await make(world, name=name)

    reply = await world.get("/api/token/search", world["alice"].cookie, query={"keyword": keyword})
    assert (len(reply.data), reply.json()["total"]) == (expected, expected)


async def test_a_search_by_uuid_is_exact_and_ones_own(world: World) -> None:
    alice, bob = world["alice"], world["bob"]
    for keyword in (alice.token.uuid, alice.token.uuid.upper(), alice.token.uuid.replace("-", ""), alice.user.uuid):
        found = (await world.get("/api/token/search", alice.cookie, query={"keyword": keyword})).data
        assert [item["uuid"] for item in found] == [alice.token.uuid]
    for keyword in (bob.token.uuid, bob.user.uuid):
        assert (await world.get("/api/token/search", alice.cookie, query={"keyword": keyword})).data == []


@pytest.mark.parametrize(("keyword", "words"), [("x" * 65, "keyword is too long"), ("a\0b", "NUL")])
async def test_searches_that_are_refused(world: World, keyword: str, words: str) -> None:
    for path in ("/api/token/search", "/api/admin/tokens/search", "/api/channel/search", "/api/log/search"):
        (await world.get(path, world["root"].cookie, query={"keyword": keyword})).refused(words)


async def test_administrators_see_all_keys_or_one_users(world: World) -> None:
    by, bob = world["admin"].cookie, world["bob"]

    everything = await world.get("/api/admin/tokens/", by)
    assert (len(everything.data), everything.json()["total"]) == (5, 5)
    for path in ("/api/admin/tokens/", "/api/admin/tokens/search"):
        bobs = await world.get(path, by, query={"user_id": bob.user.uuid, "keyword": "b"})
        assert [item["key"] for item in bobs.data] == ["sk-" + bob.token.key]
        (await world.get(path, by, query={"user_id": UNKNOWN})).refused("resource reference not found")
        (await world.get(path, by, query={"user_id": "3"})).refused("invalid resource reference")
    found = await world.get("/api/admin/tokens/search", by, query={"keyword": "alice"})
    assert [item["name"] for item in found.data] == ["alice-key"]
    assert (await world.get(f"/api/admin/tokens/{bob.token.uuid}", by)).data["name"] == "bob-key"


async def test_other_peoples_keys_can_be_masked_for_administrators(world: World) -> None:
    world.configure(mask_admin_token_keys=True)
    admin, bob = world["admin"], world["bob"]

    shown = (await world.get(f"/api/admin/tokens/{bob.token.uuid}", admin.cookie)).data["key"]
    assert shown == f"sk-{bob.token.key[:4]}...{bob.token.key[-4:]}"
    listed = (await world.get("/api/admin/tokens/", admin.cookie)).data
    whole = {item["name"]: item["key"] for item in listed}
    assert whole.pop("admin-key") == "sk-" + admin.token.key
    assert all("..." in key for key in whole.values())
    assert (await world.get("/api/token/", bob.cookie)).data[0]["key"] == "sk-" + bob.token.key


async def test_keys_are_shown_with_the_prefix_of_the_gateway(world: World) -> None:
    world.configure(token_key_prefix="our-")

    assert (await world.get("/api/token/", world["alice"].cookie)).data[0]["key"] == "our-" + world["alice"].token.key


@pytest.mark.parametrize("header", ["authorization", "x-api-key", "api-key", "x-goog-api-key"])
async def test_the_balance_of_a_key(world: World, header: str) -> None:
    token = await world.token(world["alice"].user, remain_quota=42)

    reply = await world.get("/api/token/balance", {header: "sk-" + token.key})
    assert reply.data == {"remain_quota": 42, "used_quota": 0, "unlimited_quota": False}


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"status": 2}, 401),
        ({"status": 3}, 401),
        ({"status": 4}, 401),
        ({"expired_time": 1}, 401),
        ({"subnet": "10.0.0.0/8"}, 403),
    ],
    ids=str,
)
async def test_keys_that_may_not_be_used(world: World, changes: dict[str, Any], status: int) -> None:
    alice = world["alice"]
    await world.store.tokens.update(alice.token.uuid, changes)

    for path in ("/api/token/balance", "/api/token/logs", "/api/user/get-by-token", "/api/available_models"):
        reply = await world.get(path, alice.key)
        assert reply.status == status
        assert reply.json()["error"].keys() == {"message", "type"}
        assert alice.token.key not in reply.body.decode()


async def test_a_key_and_its_owner_for_other_services(world: World) -> None:
    alice = world["alice"]
    await world.store.tokens.update(alice.token.uuid, {"models": "gpt-4o"})
    data = (await world.get("/api/user/get-by-token", alice.key)).data

    assert data["user"].keys() == {
        "uuid",
        "username",
        "display_name",
        "role",
        "status",
        "group",
        "quota",
        "used_quota",
        "created_at",
        "updated_at",
    }
    assert data["token"].keys() == KEYS - {"key"} | {"available_models"}
    assert data["token"]["available_models"] == data["token"]["models"] == "gpt-4o"
    flat = "name status used_quota remain_quota unlimited_quota created_time updated_at accessed_time expired_time uuid"
    for key in (*flat.split(), "available_models"):
        assert data.pop(f"token_{key}") == data["token"][key]
    assert (data.pop("user_uuid"), data.pop("username")) == (alice.user.uuid, "alice")
    assert data.keys() == {"user", "token"}


async def test_the_models_of_a_key(world: World) -> None:
    alice = world["alice"]
    await world.channel(models="a,b,hidden", hidden_models='["hidden"]')
    await world.channel(models="vip", group="vip")

    reply = await world.get("/api/available_models", alice.key)
    nothing = {"available": None, "enabled": True}
    assert reply.json() == {"success": False, "message": "the token has no available models", "data": nothing}

    await world.store.tokens.update(alice.token.uuid, {"models": "b,vip,a,hidden,unknown"})
    assert (await world.get("/api/available_models", alice.key)).data == {"available": ["b", "a"], "enabled": True}


async def test_expiry_goes_by_the_clock_of_the_gateway(world: World) -> None:
    world.configure(clock=time.time)
    uuid = (await make(world, unlimited_quota=True, expired_time=int(time.time()) - 10))["uuid"]

    (await put(world, {"uuid": uuid, "status": 1})).refused("has expired")
