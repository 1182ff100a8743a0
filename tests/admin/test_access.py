"""Who may call what: every route with every credential, cookies, and requests from other sites."""

from __future__ import annotations

from typing import Any

import pytest

from oneapi_mw.admin.app import build_from, route_table
from oneapi_mw.admin.endpoint import Access, Call, Endpoint, RouteTableError, check_table
from oneapi_mw.admin.envelope import ok
from oneapi_mw.errors import StoreUnavailable
from oneapi_mw.principal import UserStatus
from tests.admin.world import UNKNOWN, Reply, World
from tests.support import harness

ANYONE, KEY, HOLDER, USER = Access.ANYONE, Access.KEY, Access.HOLDER, Access.USER
ADMIN, ROOT = Access.ADMIN, Access.ROOT
ROUTES: dict[tuple[str, str], Access] = {
    ("GET", "/api/status"): ANYONE,
    ("POST", "/api/user/login"): ANYONE,
    ("GET", "/api/user/logout"): ANYONE,
    ("GET", "/api/cost/request/{request_id}"): ANYONE,
    ("GET", "/api/user/self"): USER,
    ("PUT", "/api/user/self"): USER,
    ("GET", "/api/user/token"): USER,
    ("GET", "/api/user/available_models"): USER,
    ("GET", "/api/token/"): USER,
    ("POST", "/api/token/"): USER,
    ("PUT", "/api/token/"): USER,
    ("GET", "/api/token/search"): USER,
    ("GET", "/api/token/{uuid}"): USER,
    ("DELETE", "/api/token/{uuid}"): USER,
    ("GET", "/api/log/self"): USER,
    ("GET", "/api/log/self/search"): USER,
    ("GET", "/api/token/balance"): KEY,
    ("GET", "/api/token/logs"): KEY,
    ("GET", "/api/token/transactions"): KEY,
    ("GET", "/dashboard/billing/subscription"): KEY,
    ("GET", "/dashboard/billing/usage"): KEY,
    ("GET", "/v1/dashboard/billing/subscription"): KEY,
    ("GET", "/v1/dashboard/billing/usage"): KEY,
    ("POST", "/api/token/consume"): HOLDER,
    ("GET", "/api/user/get-by-token"): KEY,
    ("GET", "/api/available_models"): KEY,
    ("GET", "/api/user/"): ADMIN,
    ("POST", "/api/user/"): ADMIN,
    ("PUT", "/api/user/"): ADMIN,
    ("POST", "/api/user/manage"): ADMIN,
    ("GET", "/api/user/{uuid}"): ADMIN,
    ("DELETE", "/api/user/{uuid}"): ADMIN,
    ("POST", "/api/topup"): ADMIN,
    ("POST", "/api/user/topup"): USER,
    ("GET", "/api/redemption/"): ADMIN,
    ("POST", "/api/redemption/"): ADMIN,
    ("PUT", "/api/redemption/"): ADMIN,
    ("GET", "/api/redemption/search"): ADMIN,
    ("GET", "/api/redemption/{uuid}"): ADMIN,
    ("DELETE", "/api/redemption/{uuid}"): ADMIN,
    ("GET", "/api/admin/tokens/"): ADMIN,
    ("GET", "/api/admin/tokens/search"): ADMIN,
    ("GET", "/api/admin/tokens/{uuid}"): ADMIN,
    ("GET", "/api/channel/"): ADMIN,
    ("POST", "/api/channel/"): ADMIN,
    ("PUT", "/api/channel/"): ADMIN,
    ("GET", "/api/channel/search"): ADMIN,
    ("GET", "/api/channel/{uuid}"): ADMIN,
    ("DELETE", "/api/channel/{uuid}"): ADMIN,
    ("POST", "/api/channel/{uuid}/duplicate"): ADMIN,
    ("GET", "/api/channel/pricing/{uuid}"): ADMIN,
    ("PUT", "/api/channel/pricing/{uuid}"): ADMIN,
    ("GET", "/api/channel/default-pricing"): ADMIN,
    ("GET", "/api/pricing/missing"): ADMIN,
    ("GET", "/api/pricing/overrides"): ADMIN,
    ("PUT", "/api/pricing/overrides"): ROOT,
    ("GET", "/api/pricing/groups"): ADMIN,
    ("PUT", "/api/pricing/groups"): ROOT,
    ("GET", "/api/log/"): ADMIN,
    ("GET", "/api/log/search"): ADMIN,
}
CHANGE_STATE_BY_GET = {"/api/user/logout", "/api/user/token"}
DENIED = "No permission to perform this operation, "
NOT_LOGGED_IN = DENIED + "not logged in and no access token provided"


def concrete(path: str) -> str:
    return path.replace("{uuid}", UNKNOWN).replace("{request_id}", "0" * 32)


async def test_the_table_is_the_one_written_here(world: World) -> None:
    table = {(endpoint.method, endpoint.path): endpoint.access for endpoint in route_table(world.services)}

    assert table == ROUTES


async def test_everything_that_changes_state_is_guarded_against_other_sites(world: World) -> None:
    for endpoint in route_table(world.services):
        assert endpoint.guarded is (endpoint.method != "GET" or endpoint.path in CHANGE_STATE_BY_GET), endpoint.path


async def test_every_route_with_every_credential(world: World) -> None:
    alice, admin, root = world["alice"], world["admin"], world["root"]
    let_in: dict[str, tuple[dict[str, str], set[Access]]] = {
        "nobody": ({}, {ANYONE}),
        "session of a user": (alice.cookie, {ANYONE, USER}),
        "access token of a user": (alice.bearer, {ANYONE, USER}),
        "session of an administrator": (admin.cookie, {ANYONE, USER, ADMIN}),
        "access token of an administrator": (admin.bearer, {ANYONE, USER, ADMIN}),
        "session of root": (root.cookie, {ANYONE, USER, ADMIN, ROOT}),
        "API key of root": (root.key, {ANYONE, KEY, HOLDER}),
        "garbage": ({"authorization": "Bearer x", "cookie": "session=x"}, {ANYONE}),
    }
    for (method, path), access in ROUTES.items():
        if path in CHANGE_STATE_BY_GET:
            continue  # they would take away the credentials the loop goes on with
        for name, (credential, reaches) in let_in.items():
            reply = await world.call(method, concrete(path), credential, json={} if method in ("POST", "PUT") else None)
            expected = 200 if access in reaches else 403 if _signed_in(name) and access in (ADMIN, ROOT) else 401
            assert reply.status == expected, f"{name}: {method} {path}: {reply.body!r}"
            assert_envelope(reply, access, expected)


def _signed_in(name: str) -> bool:
    return name.endswith(("of a user", "of an administrator"))


def assert_envelope(reply: Reply, access: Access, status: int) -> None:
    """Refused keys are answered as on relay routes, everything else as One API's management does."""
    body = reply.json()
    if status == 200:
        return
    if access in (KEY, HOLDER):
        assert body.keys() == {"error"}
        assert body["error"].keys() == {"message", "type"}
        assert body["error"]["type"] == "one_api_error"
        assert f"(request id: {reply.headers['x-oneapi-request-id']})" in body["error"]["message"]
    else:
        assert body.keys() == {"success", "message"}
        assert body["success"] is False


@pytest.mark.parametrize(
    ("credential", "message"),
    [
        ({}, NOT_LOGGED_IN),
        ({"authorization": ""}, NOT_LOGGED_IN),
        ({"cookie": "session=unknown"}, NOT_LOGGED_IN),
        ({"cookie": "session="}, NOT_LOGGED_IN),
        ({"cookie": "session=" + "x" * 5000}, NOT_LOGGED_IN),
        ({"cookie": "session=\u00e9; ===;;"}, NOT_LOGGED_IN),
        ({"cookie": "other=x"}, NOT_LOGGED_IN),
        ({"authorization": "Bearer nonsense"}, DENIED + "access token is invalid"),
        ({"authorization": "nonsense"}, DENIED + "access token is invalid"),
        ({"authorization": "Bearer " + "x" * 5000}, DENIED + "access token is invalid"),
        ({"authorization": "Bearer \u00e9"}, DENIED + "access token is invalid"),
        ({"authorization": "bearer alice-access-token"}, DENIED + "access token is invalid"),
        ({"x-api-key": "alice-access-token"}, NOT_LOGGED_IN),
    ],
)
async def test_what_is_no_credential(world: World, credential: dict[str, str], message: str) -> None:
    reply = await world.get("/api/user/self", credential)

    assert (reply.status, reply.json()) == (401, {"success": False, "message": message})
    assert ("set-cookie" in reply.headers) is ("session=" in credential.get("cookie", "")), "a dead cookie is cleared"


async def test_an_access_token_needs_no_bearer(world: World) -> None:
    reply = await world.get("/api/user/self", {"authorization": "alice-access-token"})

    assert reply.data["username"] == "alice"


async def test_the_session_goes_before_the_access_token(world: World) -> None:
    reply = await world.get("/api/user/self", {**world["alice"].cookie, **world["bob"].bearer})

    assert reply.data["username"] == "alice"


async def test_a_dead_session_gives_way_to_the_access_token(world: World) -> None:
    reply = await world.get("/api/user/self", {"cookie": "session=gone", **world["bob"].bearer})

    assert reply.data["username"] == "bob"


async def test_a_session_ends_when_its_time_is_over(world: World) -> None:
    session = await world.store.sessions.create(world["alice"].user.id, max_age=-1)

    assert (await world.get("/api/user/self", {"cookie": f"session={session}"})).status == 401


async def test_a_low_role_is_told_so(world: World) -> None:
    reply = await world.get("/api/user/", world["alice"].cookie)

    assert (reply.status, reply.json()) == (
        403,
        {"success": False, "message": DENIED + "insufficient permissions"},
    )


async def test_a_demoted_administrator_loses_power_in_the_middle_of_a_session(world: World) -> None:
    assert (await world.get("/api/user/", world["admin"].cookie)).status == 200
    await world.store.users.update(world["admin"].user.id, {"role": 1})

    assert (await world.get("/api/user/", world["admin"].cookie)).status == 403


@pytest.mark.parametrize("credential", ["cookie", "bearer"])
@pytest.mark.parametrize("status", [UserStatus.DISABLED, UserStatus.DELETED])
async def test_a_disabled_user_is_shut_out_at_once(world: World, credential: str, status: UserStatus) -> None:
    alice = world["alice"]
    await world.store.users.update(alice.user.id, {"status": int(status)})

    reply = await world.get("/api/user/self", getattr(alice, credential))

    if status is UserStatus.DELETED and credential == "bearer":
        assert reply.status == 401, "the access tokens of deleted users are forgotten"
        return
    assert (reply.status, reply.json()) == (403, {"success": False, "message": "User has been banned"})
    if credential == "cookie":
        assert reply.set_cookie()["max-age"] == "0"
        assert await world.store.sessions.find(alice.session) is None


async def test_a_disabled_users_key_is_shut_out(world: World) -> None:
    await world.store.users.update(world["alice"].user.id, {"status": int(UserStatus.DISABLED)})

    reply = await world.get("/api/token/balance", world["alice"].key)

    assert reply.status == 403
    assert reply.json()["error"]["message"].startswith("User has been banned (request id: ")


SAME_SITE: list[dict[str, str]] = [
    {},
    {"sec-fetch-site": "same-origin", "origin": "https://rewritten.example"},
    {"sec-fetch-site": "none"},
    {"origin": "https://gateway.example"},
    {"origin": "http://gateway.example:80"},
    {"origin": "https://GATEWAY.example:443"},
]
CROSS_SITE: list[dict[str, str]] = [
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site", "origin": "https://gateway.example"},
    {"sec-fetch-site": ""},
    {"origin": "https://evil.example"},
    {"origin": "https://gateway.example.evil.example"},
    {"origin": "https://gateway.example:8443"},
    {"origin": "null"},
    {"origin": ""},
    {"origin": "https://[gateway.example"},
]


@pytest.mark.parametrize("headers", SAME_SITE, ids=str)
async def test_requests_of_this_site_and_of_scripts_may_change_state(world: World, headers: dict[str, str]) -> None:
    (await world.put("/api/user/self", world["alice"].cookie, {"display_name": "A"}, headers=headers)).done()


@pytest.mark.parametrize("headers", CROSS_SITE, ids=str)
async def test_other_sites_change_nothing_by_a_cookie(world: World, headers: dict[str, str]) -> None:
    reply = await world.put("/api/user/self", world["alice"].cookie, {"display_name": "A"}, headers=headers)

    assert reply.status == 403
    assert reply.json()["code"] == "csrf_failed"
    assert (await world.user("alice")).display_name == ""


@pytest.mark.parametrize("path", sorted(CHANGE_STATE_BY_GET))
async def test_other_sites_change_nothing_by_get(world: World, path: str) -> None:
    reply = await world.get(path, world["alice"].cookie, headers=CROSS_SITE[0])

    assert reply.status == 403
    assert await world.store.sessions.find(world["alice"].session) is not None
    assert (await world.get("/api/user/self", world["alice"].bearer)).status == 200


async def test_other_sites_log_nobody_in(world: World) -> None:
    body = {"username": "alice", "password": "correct horse"}
    reply = await world.post("/api/user/login", json=body, headers=CROSS_SITE[0])

    assert reply.status == 403
    assert "set-cookie" not in reply.headers


async def test_reading_and_explicit_credentials_may_come_from_anywhere(world: World) -> None:
    alice, headers = world["alice"], CROSS_SITE[0]

    assert (await world.get("/api/user/self", alice.cookie, headers=headers)).status == 200
    (await world.put("/api/user/self", alice.bearer, {"display_name": "A"}, headers=headers)).done()
    assert (await world.get("/api/token/balance", alice.key, headers=headers)).status == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api"),
        ("GET", "/api/"),
        ("GET", "/api/nothing"),
        ("GET", "/api/token"),
        ("GET", "/api/status/"),
        ("POST", "/api/status"),
        ("HEAD", "/api/status"),
        ("HEAD", "/api/user/token"),
        ("OPTIONS", "/api/user/login"),
        ("PATCH", "/api/user/self"),
        ("GET", f"/api/token/{UNKNOWN}/"),
        ("GET", "/API/status"),
        ("GET", "/api//status"),
    ],
)
async def test_unknown_paths_and_methods(world: World, method: str, path: str) -> None:
    reply = await world.call(method, path, world["root"].cookie)

    message = f"Invalid URL ({method} {path})"
    assert reply.status == 404
    assert reply.json() == {"error": {"message": message, "type": "invalid_request_error", "param": "", "code": ""}}


async def test_no_answer_may_be_kept_or_read_by_other_sites(world: World) -> None:
    for path in ("/api/status", "/api/user/self", "/api/user/", "/api/nothing"):
        reply = await world.get(path, world["alice"].cookie, headers={"origin": "https://evil.example"})
        assert reply.headers["cache-control"] == "no-store"
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert reply.headers["content-type"] == "application/json"
        assert not [name for name in reply.headers if name.startswith("access-control-")]


class Broken:
    """A repository whose database is away, or which is wrong."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    async def find(self, *_: Any, **__: Any) -> Any:
        raise self._error

    find_access_token = find


@pytest.mark.parametrize("credential", ["cookie", "bearer"])
async def test_a_store_that_is_away_is_503_and_never_401(
    world: World, monkeypatch: pytest.MonkeyPatch, credential: str
) -> None:
    for repository in ("users", "sessions"):
        monkeypatch.setattr(world.store, repository, Broken(StoreUnavailable("The database is away")))

    reply = await world.get("/api/user/self", getattr(world["alice"], credential))

    assert reply.status == 503
    assert reply.json() == {"success": False, "message": "The database is away", "code": "store_unavailable"}
    assert "set-cookie" not in reply.headers


async def test_a_fault_of_ours_is_500_without_detail(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(world.store, "sessions", Broken(ZeroDivisionError("secret detail")))

    reply = await world.get("/api/user/self", world["alice"].cookie)

    assert (reply.status, reply.json()["code"]) == (500, "internal_error")
    assert b"detail" not in reply.body.replace(b"has the details", b"")
    assert reply.headers["x-oneapi-request-id"] in caplog.text
    assert world["alice"].session not in caplog.text


async def test_under_a_mount_paths_and_cookie_are_below_it(world: World) -> None:
    world.root_path = "/my llm"

    assert (await world.get("/api/user/self", world["alice"].cookie)).data["username"] == "alice"
    login = await world.post("/api/user/login", json={"username": "bob", "password": "correct horse"})
    assert login.set_cookie()["path"] == "/my%20llm"
    assert (await world.get("/api/user/logout", world["bob"].cookie)).set_cookie()["path"] == "/my%20llm"
    assert (await world.get("/api/nothing")).json()["error"]["message"] == "Invalid URL (GET /api/nothing)"


async def test_two_gateways_on_one_host_have_two_cookies(world: World) -> None:
    world.configure(cookie_name="second")
    session = world["alice"].session

    assert (await world.get("/api/user/self", {"cookie": f"session={session}"})).status == 401
    assert (await world.get("/api/user/self", {"cookie": f"session=x; second={session}"})).status == 200


async def test_the_access_log_says_how_a_call_ended(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "oneapi_mw.access")
    await world.get("/api/status")
    await world.get("/api/user/self")
    await world.get("/api/token/balance")
    await world.get(f"/api/token/{UNKNOWN}", world["alice"].cookie)

    ended = [record.getMessage().split("outcome=")[1].split(" channel")[0] for record in caplog.records]
    assert ended == [
        "complete code=None",
        "failed code=session_required",
        "failed code=invalid_api_key",
        "failed code=not_found",
    ]


async def _answer(call: Call) -> Any:
    return ok(call.user.username)


async def test_root_alone_reaches_what_is_roots(world: World) -> None:
    app = build_from([Endpoint("GET", "/api/only-root", Access.ROOT, _answer)], world.services)

    statuses = {}
    for name in ("alice", "admin", "root"):
        statuses[name] = (await harness.call(app, "GET", "/api/only-root", headers=world[name].cookie)).status
    assert statuses == {"alice": 403, "admin": 403, "root": 200}


@pytest.mark.parametrize(
    ("endpoints", "complaint"),
    [
        ([Endpoint("GET", "/api/x", None, _answer)], "does not declare who may call it"),  # type: ignore[arg-type]
        ([Endpoint("GET", "/x", Access.USER, _answer)], "is not below /api/"),
        ([Endpoint("GET", "/api/x", Access.USER, _answer)] * 2, "is declared twice"),
    ],
)
def test_a_table_with_a_hole_is_refused(endpoints: list[Endpoint], complaint: str) -> None:
    with pytest.raises(RouteTableError, match=complaint):
        check_table(endpoints)
