"""Users as administrators see and change them."""

from __future__ import annotations

from typing import Any

import pytest

from oneapi_mw.principal import UserStatus
from tests.admin.test_account import BLANK_USER
from tests.admin.world import PASSWORD, UNKNOWN, World

NEW = {"username": "carol", "password": "long enough"}
INVALID = "Invalid input, please check your input: "


async def find(world: World, name: str) -> Any:
    return await world.store.users.find_login(name)


async def names(world: World, **query: Any) -> list[str]:
    reply = await world.get("/api/user/", world["root"].cookie, query=query)
    return [row["username"] for row in reply.data]


async def test_the_list_is_newest_first_and_has_whole_users(world: World) -> None:
    reply = await world.get("/api/user/", world["admin"].cookie)

    assert [row["username"] for row in reply.data] == ["bob", "alice", "peer", "admin", "root"]
    assert reply.json()["total"] == 5
    assert all(row.keys() == BLANK_USER.keys() for row in reply.data)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"p": 0, "size": 2}, ["bob", "alice"]),
        ({"p": 1, "size": 2}, ["peer", "admin"]),
        ({"p": 2, "size": 2}, ["root"]),
        ({"p": 3, "size": 2}, []),
        ({"p": -1, "size": 1}, ["bob"]),
        ({"p": "x", "size": "1"}, ["bob"]),
        ({"p": 10**30, "size": 1}, ["bob"]),
        ({"p": 10**12, "size": 1}, []),
        ({"size": 0}, ["bob", "alice", "peer", "admin", "root"]),
        ({"sort": "username", "order": "asc"}, ["admin", "alice", "bob", "peer", "root"]),
        ({"sort": "username"}, ["root", "peer", "bob", "alice", "admin"]),
        ({"sort": "username", "order": "sideways"}, ["root", "peer", "bob", "alice", "admin"]),
        ({"sort": "password_hash", "order": "asc"}, ["bob", "alice", "peer", "admin", "root"]),
        ({"sort": "id;drop table users"}, ["bob", "alice", "peer", "admin", "root"]),
        ({"sort": "id", "order": "asc", "size": 1}, ["root"]),
        ({"order": "quota", "size": 1}, ["alice"]),
        ({"order": "nothing", "size": 1}, ["bob"]),
    ],
    ids=str,
)
async def test_pages_and_order(world: World, query: dict[str, Any], expected: list[str]) -> None:
    await world.store.users.add_quota(world["alice"].user.id, 5000, kind="topup", key="one")

    assert await names(world, **query) == expected


async def test_a_page_is_never_larger_than_allowed(world: World) -> None:
    world.configure(max_items_per_page=3)

    reply = await world.get("/api/user/", world["root"].cookie, query={"size": 1000})
    assert (len(reply.data), reply.json()["total"]) == (3, 5)


async def test_every_column_can_be_sorted_by(world: World) -> None:
    columns = [
        "id",
        "username",
        "email",
        "display_name",
        "role",
        "status",
        "quota",
        "used_quota",
        "request_count",
        "created_at",
        "updated_at",
    ]
    for column in columns:
        rows = (await world.get("/api/user/", world["root"].cookie, query={"sort": column, "order": "asc"})).data
        if column != "id":
            assert [row[column] for row in rows] == sorted(row[column] for row in rows)


async def test_deleted_users_are_left_out(world: World) -> None:
    (await world.delete(f"/api/user/{world['bob'].user.uuid}", world["admin"].cookie)).done()

    assert "bob" not in " ".join(await names(world))
    assert (await world.get("/api/user/", world["root"].cookie)).json()["total"] == 4


@pytest.mark.parametrize(
    ("actor", "target", "allowed"),
    [
        ("admin", "alice", True),
        ("admin", "peer", False),
        ("admin", "admin", False),
        ("admin", "root", False),
        ("root", "root", True),
        ("root", "admin", True),
    ],
)
async def test_who_sees_and_edits_whom(world: World, actor: str, target: str, allowed: bool) -> None:
    by, uuid = world[actor].cookie, world[target].user.uuid
    seen = await world.get(f"/api/user/{uuid}", by)
    edited = await world.put("/api/user/", by, {"uuid": uuid, "display_name": "D"})
    managed = await world.post("/api/user/manage", by, {"uuid": uuid, "action": "enable"})

    if allowed:
        assert seen.data["username"] == target
        edited.done()
        assert managed.data["status"] == 1
    else:
        seen.refused("No permission to get information of users at the same level or higher")
        edited.refused("No permission to update user information")
        managed.refused("No permission to update user information")
        assert (await world.user(target)).display_name == ""


@pytest.mark.parametrize(
    ("uuid", "words"),
    [
        ("does-not-exist", "invalid resource reference"),
        ("1", "invalid resource reference"),
        ("0" * 32, "invalid resource reference"),
        (UNKNOWN, "resource reference not found"),
    ],
)
async def test_references_to_nobody(world: World, uuid: str, words: str) -> None:
    by = world["root"].cookie

    (await world.get(f"/api/user/{uuid}", by)).refused(words)
    (await world.delete(f"/api/user/{uuid}", by)).refused(words)
    (await world.put("/api/user/", by, {"uuid": uuid})).refused(words)
    (await world.post("/api/user/manage", by, {"uuid": uuid, "action": "disable"})).refused(words)
    (await world.post("/api/topup", by, {"user_uuid": uuid, "quota": 1})).refused(words)


async def test_a_reference_may_be_in_capitals(world: World) -> None:
    assert (await world.get(f"/api/user/{world['bob'].user.uuid.upper()}", world["root"].cookie)).status == 200


async def test_a_new_user_is_common_and_has_a_key(world: World) -> None:
    (await world.post("/api/user/", world["admin"].cookie, NEW)).done()

    carol = await find(world, "carol")
    assert (carol.role, carol.status, carol.quota, carol.group, carol.display_name) == (1, 1, 0, "default", "carol")
    login = await world.post("/api/user/login", json=NEW)
    key = (await world.get("/api/token/", {"cookie": f"session={login.set_cookie()['session']}"})).data[0]
    assert (key["name"], key["unlimited_quota"], key["expired_time"], key["status"]) == ("default", True, -1, 1)
    assert (await world.get("/api/token/balance", {"authorization": key["key"]})).status == 200


async def test_a_new_user_as_asked_for(world: World) -> None:
    asked = {"display_name": " Carol ", "email": "c@example.com", "quota": 5, "group": "vip"}
    (await world.post("/api/user/", world["root"].cookie, {**NEW, **asked, "role": 10})).done()

    carol = await find(world, "carol")
    assert (carol.display_name, carol.email, carol.quota, carol.group) == ("Carol", "c@example.com", 5, "vip")
    assert carol.role == 1, "a role is checked and never given"


async def test_a_long_name_is_cut_for_display(world: World) -> None:
    (await world.post("/api/user/", world["root"].cookie, {**NEW, "username": "c" * 30})).done()

    assert (await find(world, "c" * 30)).display_name == "c" * 20


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"username": None}, "username must be a string, not null"),
        ({"username": 999}, "username must be a string, not a number"),
        ({"username": "  "}, INVALID + "username"),
        ({"username": "x" * 31}, INVALID + "username"),
        ({"username": "a\nb"}, INVALID + "username"),
        ({"username": "alice"}, "Username already exists"),
        ({"password": "x"}, INVALID + "password"),
        ({"password": "x" * 129}, INVALID + "password"),
        ({"display_name": "x" * 21}, INVALID + "display_name"),
        ({"email": "nobody"}, INVALID + "email"),
        ({"email": "x" * 40 + "@example.com"}, INVALID + "email"),
        ({"group": "x" * 33}, INVALID + "group"),
        ({"group": " "}, INVALID + "group"),
        ({"quota": -1}, "quota must be at least 0"),
        ({"quota": 1.5}, "quota must be a whole number"),
        ({"quota": 1e30}, "quota must be a whole number of at most 64 bits"),
        ({"quota": True}, "quota must be a whole number, not true or false"),
        ({"quota": "1"}, "quota must be a whole number, not a string"),
        ({"quota": 2**53}, "quota must be at most 9007199254740991"),
        ({"role": 0}, "role must be 1, 10 or 100"),
        ({"role": 2}, "role must be"),
        ({"role": "100"}, "role must be"),
        ({"role": True}, "role must be"),
        ({"role": 10.0}, "role must be"),
        ({"role": 10}, "Unable to create users with permissions greater than or equal to your own"),
        ({"role": 100}, "Unable to create users with permissions greater than or equal to your own"),
    ],
    ids=str,
)
async def test_users_that_are_not_created(world: World, changes: dict[str, Any], words: str) -> None:
    (await world.post("/api/user/", world["admin"].cookie, {**NEW, **changes})).refused(words)

    assert (await world.get("/api/user/", world["root"].cookie)).json()["total"] == 5
    assert world.passwords.hashed == (1 if words == "Username already exists" else 0), "work comes after the checks"


async def test_a_user_is_changed_where_the_body_says_so(world: World) -> None:
    body = {
        "uuid": world["alice"].user.uuid,
        "username": "alicia",
        "display_name": "",
        "email": "new@example.com",
        "group": "vip",
        "quota": 77,
        "role": None,
        "status": None,
        "password": None,
    }
    (await world.put("/api/user/", world["admin"].cookie, body)).done()

    row = await world.user("alice")
    assert (row.username, row.display_name, row.email, row.group, row.quota) == (
        ("alicia", "", "new@example.com", "vip", 77)
    )
    assert (row.role, row.status) == (1, 1)
    assert await world.store.sessions.find(world["alice"].session) is not None


async def test_only_what_is_named_can_be_assigned(world: World) -> None:
    before = await world.user("alice")
    forbidden = {
        "used_quota": 1,
        "request_count": 1,
        "aff_code": "xxxx",
        "inviter_uuid": UNKNOWN,
        "created_at": 1,
        "access_token": "taken",
        "password_hash": "quick:x",
        "github_id": "x",
        "id": 1,
    }
    (await world.put("/api/user/", world["root"].cookie, {"uuid": before.uuid, **forbidden})).done()

    assert await world.user("alice") == before
    assert (await world.get("/api/user/self", {"authorization": "taken"})).status == 401


@pytest.mark.parametrize("change", [{"role": 10}, {"status": 2}, {"password": "another password"}], ids=str)
async def test_new_powers_or_a_new_password_end_the_sessions(world: World, change: dict[str, Any]) -> None:
    (await world.put("/api/user/", world["root"].cookie, {"uuid": world["alice"].user.uuid, **change})).done()

    assert await world.store.sessions.find(world["alice"].session) is None


@pytest.mark.parametrize(
    ("actor", "target", "body", "words"),
    [
        ("admin", "alice", {"role": 10}, "No permission to give a role"),
        ("admin", "alice", {"role": 100}, "No permission to give a role"),
        ("admin", "alice", {"role": 5}, "role must be"),
        ("admin", "alice", {"status": 0}, "status must be"),
        ("admin", "alice", {"status": "1"}, "status must be"),
        ("admin", "alice", {"quota": -1}, "quota must be"),
        ("admin", "alice", {"username": "ab"}, INVALID + "username"),
        ("admin", "alice", {"username": "bob"}, "Username already exists"),
        ("admin", "alice", {"group": ""}, INVALID + "group"),
        ("admin", "alice", {"email": "x"}, INVALID + "email"),
        ("admin", "alice", {"password": "short"}, INVALID + "password"),
        ("root", "root", {"role": 1}, "or to take root's away"),
        ("root", "root", {"status": 2}, "Unable to disable super administrator user"),
    ],
)
async def test_changes_that_are_refused(
    world: World, actor: str, target: str, body: dict[str, Any], words: str
) -> None:
    before = await world.user(target)
    (await world.put("/api/user/", world[actor].cookie, {"uuid": before.uuid, **body})).refused(words)

    assert await world.user(target) == before


async def test_an_update_needs_a_uuid(world: World) -> None:
    (await world.put("/api/user/", world["root"].cookie, {"id": 1, "role": 1})).refused("resource uuid is required")


async def test_a_quota_is_set_as_a_difference(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    booked: list[int] = []
    original = world.store.users.add_quota

    async def note(user_id: int, amount: int, **rest: Any) -> Any:
        booked.append(amount)
        return await original(user_id, amount, **rest)

    monkeypatch.setattr(world.store.users, "add_quota", note)
    for quota in (400, 400, 0):
        (await world.put("/api/user/", world["root"].cookie, {"uuid": world["alice"].user.uuid, "quota": quota})).done()

    assert booked == [-600, -400]
    assert (await world.user("alice")).quota == 0


async def test_deletion_is_soft_and_final_for_credentials(world: World) -> None:
    alice = world["alice"]
    (await world.delete(f"/api/user/{alice.user.uuid}", world["admin"].cookie)).done()

    row = await world.user("alice")
    assert (row.username, row.status) == ("deleted_" + alice.user.uuid.replace("-", ""), UserStatus.DELETED)
    assert (await world.get("/api/user/self", alice.cookie)).status == 401
    assert (await world.get("/api/user/self", alice.bearer)).status == 401
    assert (await world.get("/api/token/balance", alice.key)).status == 403
    assert (await world.post("/api/user/login", json={"username": "alice@example.com", "password": PASSWORD})).json()[
        "success"
    ] is False
    (await world.post("/api/user/", world["admin"].cookie, {**NEW, "username": "alice"})).done()


@pytest.mark.parametrize(
    ("actor", "target"), [("admin", "admin"), ("admin", "peer"), ("admin", "root"), ("root", "root")]
)
async def test_nobody_deletes_a_peer(world: World, actor: str, target: str) -> None:
    reply = await world.delete(f"/api/user/{world[target].user.uuid}", world[actor].cookie)

    reply.refused("No permission to delete users with the same or higher level")
    assert (await world.user(target)).status == UserStatus.ENABLED


@pytest.mark.parametrize(
    ("actor", "target", "action", "role", "status"),
    [
        ("admin", "alice", "disable", 1, 2),
        ("admin", "alice", "enable", 1, 1),
        ("admin", "alice", "delete", 1, 3),
        ("admin", "alice", "dance", 1, 1),
        ("root", "alice", "promote", 10, 1),
        ("root", "admin", "demote", 1, 1),
        ("root", "root", "enable", 100, 1),
    ],
)
async def test_managing(world: World, actor: str, target: str, action: str, role: int, status: int) -> None:
    body = {"uuid": world[target].user.uuid, "action": action}
    reply = await world.post("/api/user/manage", world[actor].cookie, body)

    assert reply.data == {**BLANK_USER, "role": role, "status": status}
    row = await world.user(target)
    assert (row.role, row.status) == (role, status)


@pytest.mark.parametrize(
    ("actor", "body", "words"),
    [
        ("root", {"username": "root", "action": "disable"}, "Unable to disable super administrator user"),
        ("root", {"username": "root", "action": "delete"}, "Unable to delete super administrator user"),
        ("root", {"username": "root", "action": "demote"}, "Unable to demote super administrator user"),
        ("root", {"username": "admin", "action": "promote"}, "already an administrator"),
        ("root", {"username": "alice", "action": "demote"}, "already a common user"),
        ("admin", {"username": "alice", "action": "promote"}, "Only root can promote"),
        ("admin", {"username": "root", "action": "enable"}, "No permission to update user information"),
        ("admin", {"username": "nobody", "action": "enable"}, "User does not exist"),
        ("admin", {"username": "alice@example.com", "action": "disable"}, "User does not exist"),
        ("admin", {"username": "", "action": "disable"}, "uuid or username is required"),
        ("admin", {"action": "disable"}, "uuid or username is required"),
        ("admin", {"username": 1, "action": "disable"}, "username must be a string"),
    ],
    ids=str,
)
async def test_managing_that_is_refused(world: World, actor: str, body: dict[str, Any], words: str) -> None:
    (await world.post("/api/user/manage", world[actor].cookie, body)).refused(words)

    for name in ("root", "admin", "alice"):
        assert await world.user(name) == world[name].user


async def test_managing_by_name(world: World) -> None:
    reply = await world.post("/api/user/manage", world["admin"].cookie, {"username": "bob", "action": "disable"})

    assert reply.data["status"] == 2
    assert (await world.user("bob")).status == 2


async def test_a_top_up_adds(world: World) -> None:
    body = {"user_uuid": world["alice"].user.uuid, "quota": 25, "remark": "r" * 1000}
    for _ in range(2):
        (await world.post("/api/topup", world["admin"].cookie, body)).done()

    assert (await world.user("alice")).quota == 1050


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"quota": 5}, "user_uuid is required"),
        ({"user_uuid": UNKNOWN}, "quota is required"),
        ({"user_uuid": UNKNOWN, "quota": -5}, "quota must be at least 0"),
        ({"user_uuid": UNKNOWN, "quota": None}, "quota must be a whole number, not null"),
        ({"user_uuid": 5, "quota": 5}, "user_uuid must be a string"),
    ],
    ids=str,
)
async def test_top_ups_that_are_refused(world: World, body: dict[str, Any], words: str) -> None:
    (await world.post("/api/topup", world["admin"].cookie, body)).refused("invalid parameter: ", words)


async def test_no_secret_is_ever_shown(world: World) -> None:
    by = world["root"].cookie
    for path in ("/api/user/", "/api/user/self", f"/api/user/{world['alice'].user.uuid}"):
        body = (await world.get(path, by)).body
        for secret in (b"quick:", b"access-token", b"password_hash", b'"password"', b'"access_token"', b'"id"'):
            assert secret not in body, path


async def test_a_difference_too_large_to_book_is_refused(world: World) -> None:
    alice = world["alice"].user
    await world.store.users.add_quota(alice.id, -(2**53), kind="adjust", key="debt")

    body = {"uuid": alice.uuid, "quota": 2**53 - 1}
    (await world.put("/api/user/", world["root"].cookie, body)).refused(INVALID + "quota: ")
    assert (await world.user("alice")).quota == 1000 - 2**53
