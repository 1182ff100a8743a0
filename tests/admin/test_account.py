"""Login and logout, and what a user sees and changes of himself."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from oneapi_mw.admin.throttle import FIRST_DELAY, FREE_FAILURES
from oneapi_mw.principal import UserStatus
from tests.admin.world import PASSWORD, World

WRONG = "Username or password is wrong, or user has been banned"
BLANK_USER: dict[str, Any] = {
    "uuid": "",
    "username": "",
    "display_name": "",
    "email": "",
    "role": 0,
    "status": 0,
    "github_id": "",
    "wechat_id": "",
    "lark_id": "",
    "oidc_id": "",
    "quota": 0,
    "used_quota": 0,
    "request_count": 0,
    "group": "",
    "aff_code": "",
    "inviter_uuid": None,
    "mcp_tool_blacklist": [],
    "metadata": {},
    "created_at": 0,
    "updated_at": 0,
}


def alices(**changes: Any) -> dict[str, Any]:
    return {"username": "alice", "password": PASSWORD, **changes}


async def login(world: World, body: Any, **rest: Any) -> Any:
    return await world.post("/api/user/login", json=body, **rest)


@pytest.mark.parametrize("name", ["alice", "alice@example.com"])
async def test_a_login_tells_who_one_is_and_no_more(world: World, name: str) -> None:
    reply = await login(world, alices(username=name))

    identity = {"uuid": world["alice"].user.uuid, "username": "alice", "role": 1, "status": 1}
    assert reply.data == {**BLANK_USER, **identity}


async def test_a_login_opens_a_session(world: World) -> None:
    world.configure(cookie_max_age=1234)
    reply = await login(world, alices())

    cookie = reply.set_cookie()
    session = cookie.pop("session")
    assert cookie == {"max-age": "1234", "path": "/", "secure": "", "httponly": "", "samesite": "lax"}
    assert (await world.get("/api/user/self", {"cookie": f"session={session}"})).data["username"] == "alice"


async def test_secure_can_be_switched_off_for_plain_http(world: World) -> None:
    world.configure(cookie_secure=False)

    assert "secure" not in (await login(world, alices())).set_cookie()


async def test_a_session_planted_before_the_login_is_worth_nothing_after_it(world: World) -> None:
    planted = world["bob"].session
    reply = await login(world, alices(), headers={"cookie": f"session={planted}"})

    assert reply.set_cookie()["session"] != planted
    assert await world.store.sessions.find(planted) is None


async def test_an_unknown_session_id_is_not_adopted(world: World) -> None:
    reply = await login(world, alices(), headers={"cookie": "session=chosen-by-somebody"})

    assert reply.set_cookie()["session"] != "chosen-by-somebody"
    assert await world.store.sessions.find("chosen-by-somebody") is None


@pytest.mark.parametrize(
    "body",
    [
        alices(password="wrong"),
        alices(username="nobody"),
        alices(username="bob", password=PASSWORD + " "),
        alices(username="x" * 65),
        alices(password="x" * 129),
        alices(username="alice "),
        alices(username="ali%"),
    ],
    ids=lambda body: f"{body['username'][:8]}-{body['password'][:8]}",
)
async def test_what_is_wrong_is_not_told(world: World, body: dict[str, Any]) -> None:
    reply = await login(world, body)

    assert (reply.status, reply.json()) == (200, {"success": False, "message": WRONG})
    assert "set-cookie" not in reply.headers


@pytest.mark.parametrize("status", [UserStatus.DISABLED, UserStatus.DELETED])
async def test_a_disabled_user_with_the_right_password_looks_like_a_wrong_one(world: World, status: UserStatus) -> None:
    await world.store.users.update(world["alice"].user.id, {"status": int(status)})

    reply = await login(world, alices())

    assert reply.json() == {"success": False, "message": WRONG}


async def test_unknown_names_cost_the_same_work(world: World) -> None:
    await login(world, alices(username="nobody"))
    before = world.passwords.verified
    for name in ("nobody", "alice"):
        await login(world, alices(username=name, password="wrong"))

    assert world.passwords.verified == before + 2
    assert world.passwords.hashed == 1, "the decoy is made once"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b'{"username": "\\ud800", "password": "x"}', "not valid JSON"),
        (b"[]", "must be a JSON object, not a list"),
        (b"null", "must be a JSON object, not null"),
        (b'"x"', "must be a JSON object, not a string"),
        (b"1", "must be a JSON object, not a number"),
        (b"true", "must be a JSON object, not true or false"),
        (b'{"username": 12345}', "username must be a string, not a number"),
        (b'{"username": "a", "password": ["x"]}', "password must be a string, not a list"),
        (b'{"username": "a\\u0000", "password": "x"}', "username must not contain NUL"),
        (b"{}", "username and password are required"),
        (b'{"username": "alice"}', "username and password are required"),
        (b'{"username": "", "password": "x"}', "username and password are required"),
        (b'{"username": null, "password": null}', "username and password are required"),
    ],
)
async def test_bodies_that_are_no_login(world: World, body: bytes, words: str) -> None:
    reply = await world.call("POST", "/api/user/login", body=body)

    reply.refused("invalid parameter: ", words)


async def test_the_content_type_does_not_matter_and_unknown_fields_neither(world: World) -> None:
    body = b'{"username": "alice", "password": "correct horse", "totp_code": 5, "x": {}}'
    reply = await world.call("POST", "/api/user/login", body=body, headers={"content-type": "text/plain"})

    assert reply.data["username"] == "alice"


async def test_a_wrong_value_is_never_quoted(world: World) -> None:
    reply = await login(world, {"username": "alice", "password": {"sesame": 1}})

    reply.refused("password must be a string, not an object")
    assert b"sesame" not in reply.body


async def test_bodies_too_large_or_compressed(world: World) -> None:
    large = await world.call("POST", "/api/user/login", body=b" " * (1024 * 1024 + 1))
    assert (large.status, large.json()["code"]) == (413, "request_too_large")
    announced = await world.call("POST", "/api/user/login", headers={"content-length": "9" * 9})
    assert announced.status == 413
    zipped = await world.call("POST", "/api/user/login", body=b"x", headers={"content-encoding": "gzip"})
    assert (zipped.status, zipped.json()["code"]) == (415, "unsupported_content_encoding")
    assert "with gzip" not in zipped.message


async def test_guessing_is_slowed_down_even_for_the_right_password(world: World) -> None:
    for _ in range(FREE_FAILURES):
        assert (await login(world, alices(password="wrong"))).status == 200
    reply = await login(world, alices())

    assert reply.status == 429
    assert reply.json()["code"] == "login_throttled"
    assert reply.headers["retry-after"] == str(int(FIRST_DELAY))
    assert (await login(world, alices(username="bob"))).status == 200, "another account is not held up"
    assert (await login(world, alices(), client=("198.51.100.7", 1))).status == 200, "nor is the owner elsewhere"
    world.clock.pass_(FIRST_DELAY)
    assert (await login(world, alices())).data["username"] == "alice"


async def test_a_hundred_guesses_at_once_are_no_more_than_five(world: World) -> None:
    replies = await asyncio.gather(*(login(world, alices(password=f"guess {n}")) for n in range(100)))

    assert sorted(reply.status for reply in replies) == [200] * FREE_FAILURES + [429] * (100 - FREE_FAILURES)
    assert world.passwords.verified == FREE_FAILURES


async def test_a_logout_ends_the_session(world: World) -> None:
    alice = world["alice"]
    reply = await world.get("/api/user/logout", alice.cookie)

    reply.done()
    assert reply.set_cookie()["max-age"] == "0"
    assert (await world.get("/api/user/self", alice.cookie)).status == 401


@pytest.mark.parametrize("headers", [{}, {"cookie": "session=unknown"}, {"cookie": "session=" + "x" * 999}])
async def test_a_logout_always_succeeds(world: World, headers: dict[str, str]) -> None:
    (await world.get("/api/user/logout", headers)).done()


async def test_one_sees_oneself_whole(world: World) -> None:
    alice = world["alice"].user
    data = (await world.get("/api/user/self", world["alice"].cookie)).data

    shown = {"uuid": alice.uuid, "username": "alice", "email": "alice@example.com", "role": 1, "status": 1}
    expected = {**BLANK_USER, **shown, "quota": 1000, "group": "default"}
    generated = ("created_at", "updated_at", "aff_code")
    assert data.keys() == BLANK_USER.keys()
    assert {**data, **dict.fromkeys(generated, 0)} == {**expected, **dict.fromkeys(generated, 0)}
    assert data["created_at"] > 1_600_000_000_000, "milliseconds"


async def test_names_are_changed_and_cleared(world: World) -> None:
    alice = world["alice"]
    (await world.put("/api/user/self", alice.cookie, {"username": " alicia ", "display_name": "Alice A."})).done()
    row = await world.user("alice")
    assert (row.username, row.display_name) == ("alicia", "Alice A.")

    (await world.put("/api/user/self", alice.cookie, {"username": "", "display_name": ""})).done()
    row = await world.user("alice")
    assert (row.username, row.display_name) == ("alicia", "")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"username": None, "display_name": None, "password": None},
        {"username": "alice"},
        {"username": "  ", "password": ""},
        {"email": 5, "unknown": []},
        {
            "role": 100,
            "status": 2,
            "quota": 9,
            "group": "vip",
            "access_token": "x",
            "used_quota": 1,
            "id": 1,
            "uuid": "x",
        },
    ],
)
async def test_what_changes_nothing(world: World, body: dict[str, Any]) -> None:
    before = await world.user("alice")
    (await world.put("/api/user/self", world["alice"].cookie, body)).done()
    after = await world.user("alice")

    assert (after.username, after.role, after.status, after.quota, after.group, after.email, after.used_quota) == (
        (before.username, before.role, before.status, before.quota, before.group, before.email, before.used_quota)
    )
    assert (await world.get("/api/user/self", world["alice"].bearer)).status == 200
    assert (await login(world, alices())).data["username"] == "alice"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"display_name": 12345}, "invalid parameter: display_name must be a string"),
        ({"display_name": "x" * 21}, "Input is illegal: display_name"),
        ({"username": "ab"}, "Input is illegal: username"),
        ({"username": "x" * 31}, "Input is illegal: username"),
        ({"username": "a\u200bb\u202ec"}, "Input is illegal: username"),
        ({"password": "short"}, "Input is illegal: password"),
        ({"password": "x" * 129}, "Input is illegal: password"),
        ({"password": "\u00e9" * 65}, "Input is illegal: password"),
        ({"username": "bob"}, "Username already exists"),
    ],
)
async def test_what_one_may_not_become(world: World, body: dict[str, Any], words: str) -> None:
    (await world.put("/api/user/self", world["alice"].cookie, body)).refused(words)

    assert (await world.user("alice")).username == "alice"


async def test_a_new_password_ends_all_sessions_but_gives_this_browser_a_new_one(world: World) -> None:
    alice = world["alice"]
    elsewhere = await world.store.sessions.create(alice.user.id, max_age=3600)

    reply = await world.put("/api/user/self", alice.cookie, {"password": "a new password"})

    reply.done()
    fresh = reply.set_cookie()["session"]
    found = [await world.store.sessions.find(session) for session in (alice.session, elsewhere, fresh)]
    assert found == [None, None, alice.user.id]
    (await login(world, alices())).refused(WRONG)
    assert (await login(world, alices(password="a new password"))).data["username"] == "alice"


async def test_a_new_password_by_access_token_opens_no_session(world: World) -> None:
    reply = await world.put("/api/user/self", world["alice"].bearer, {"password": "a new password"})

    reply.done()
    assert "set-cookie" not in reply.headers
    assert await world.store.sessions.find(world["alice"].session) is None


async def test_a_new_access_token_replaces_the_old_one(world: World) -> None:
    alice = world["alice"]
    token = (await world.get("/api/user/token", alice.cookie)).data

    assert len(token) == 32
    assert int(token, 16)
    assert (await world.get("/api/user/self", {"authorization": token})).data["username"] == "alice"
    assert (await world.get("/api/user/self", alice.bearer)).status == 401


async def test_the_models_of_ones_group(world: World) -> None:
    await world.channel(models="b,a,hidden", hidden_models='["hidden"]')
    await world.channel(models="vip-only", group="vip")

    assert (await world.get("/api/user/available_models", world["alice"].cookie)).data == ["a", "b"]
