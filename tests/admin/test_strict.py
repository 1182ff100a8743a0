"""`STRICT_HTTP_STATUS`: real statuses for refusals, and nothing else is different."""

from __future__ import annotations

from typing import Any

import pytest

from tests.admin.world import PASSWORD, UNKNOWN, World

NEW = {"username": "new", "password": PASSWORD}
TOO_LONG = {"sort": "id", "start_timestamp": 1, "end_timestamp": 10**9}
REFUSALS: list[tuple[str, str, str, Any, dict[str, Any], int, str]] = [
    ("alice", "POST", "/api/token/", b"{", {}, 400, "invalid_request"),
    ("alice", "POST", "/api/token/", b"[]", {}, 400, "invalid_request"),
    ("alice", "POST", "/api/token/", {"name": ""}, {}, 422, "validation_failed"),
    ("alice", "POST", "/api/token/", {"name": 5}, {}, 422, "validation_failed"),
    ("alice", "GET", "/api/token/7", None, {}, 400, "invalid_request"),
    ("alice", "GET", f"/api/token/{UNKNOWN}", None, {}, 404, "not_found"),
    ("alice", "PUT", "/api/token/", {"status": 1}, {}, 400, "invalid_request"),
    ("alice", "PUT", "/api/user/self", {"username": "bob"}, {}, 409, "conflict"),
    ("nobody", "POST", "/api/user/login", {"username": "alice", "password": "wrong"}, {}, 422, "validation_failed"),
    ("nobody", "GET", "/api/cost/request/unknown", None, {}, 404, "not_found"),
    ("admin", "POST", "/api/user/", {**NEW, "role": 100}, {}, 403, "permission_denied"),
    ("admin", "POST", "/api/user/", {**NEW, "username": "bob"}, {}, 409, "conflict"),
    ("admin", "POST", "/api/user/manage", {"username": "root", "action": "delete"}, {}, 403, "permission_denied"),
    ("admin", "POST", "/api/user/manage", {"username": "nobody", "action": "delete"}, {}, 404, "not_found"),
    ("admin", "GET", "/api/log/", None, TOO_LONG, 422, "validation_failed"),
    ("admin", "GET", "/api/channel/search", None, {"keyword": "x" * 65}, 422, "validation_failed"),
]  # fmt: skip
ALWAYS: list[tuple[str, str, str, int]] = [
    ("nobody", "GET", "/api/user/self", 401),
    ("alice", "GET", "/api/user/", 403),
    ("alice", "GET", "/api/token/balance", 401),
    ("alice", "GET", "/api/nothing", 404),
    ("alice", "GET", "/api/user/self", 200),
]


@pytest.mark.parametrize(("who", "method", "path", "body", "query", "status", "code"), REFUSALS, ids=str)
async def test_a_refusal_both_ways(
    world: World, who: str, method: str, path: str, body: Any, query: dict[str, Any], status: int, code: str
) -> None:
    by = world[who].cookie if who != "nobody" else None
    request = {"body": body} if isinstance(body, bytes) else {"json": body}
    lenient = await world.call(method, path, by, query=query, **request)
    world.configure(strict_http_status=True)
    strict = await world.call(method, path, by, query=query, **request)

    lenient.refused()
    assert (strict.status, strict.json()) == (status, {**lenient.json(), "code": code})


@pytest.mark.parametrize(("who", "method", "path", "status"), ALWAYS)
async def test_what_has_its_own_status_anyway(world: World, who: str, method: str, path: str, status: int) -> None:
    by = world[who].cookie if who != "nobody" else None
    for strict in (False, True):
        world.configure(strict_http_status=strict)
        assert (await world.call(method, path, by)).status == status


async def test_a_move_without_the_key_is_a_conflict(world: World) -> None:
    world.configure(strict_http_status=True)
    channel = await world.channel()
    body = {"uuid": channel.uuid, "base_url": "https://elsewhere.example"}

    reply = await world.put("/api/channel/", world["admin"].cookie, body)
    assert (reply.status, reply.json()["code"]) == (409, "conflict")
