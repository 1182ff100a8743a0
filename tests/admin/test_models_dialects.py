"""Lists of models in the shapes of Anthropic's and Google's SDKs, page by page, and errors in their envelopes."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from tests.admin.world import Reply, World

NAMES = [f"m{number:02}" for number in range(25)]
ROOTS = ["/v1/models", "/v1beta/models"]


def anthropic(world: World) -> dict[str, str]:
    return {"x-api-key": "sk-" + world["alice"].token.key, "anthropic-version": "2023-06-01"}


def google(world: World) -> dict[str, str]:
    return {"x-goog-api-key": "sk-" + world["alice"].token.key}


async def anthropic_page(world: World, **query: Any) -> dict[str, Any]:
    reply = await world.get("/v1/models", anthropic(world), query=query)
    assert reply.status == 200, reply.json()
    body: dict[str, Any] = reply.json()
    return body


def ids(page: dict[str, Any]) -> list[str]:
    return [entry["id"] for entry in page["data"]]


# Who is asking.


@pytest.mark.parametrize(
    ("path", "headers", "key"),
    [
        ("/v1/models", {"anthropic-version": "2023-06-01"}, "has_more"),
        ("/v1/models", {"x-api-key": "{key}"}, "has_more"),
        ("/v1/models", {"x-goog-api-key": "{key}"}, "models"),
        ("/v1/models", {"x-goog-api-key": "{key}", "anthropic-version": "2023-06-01"}, "models"),
        ("/v1/models", {}, "object"),
        ("/v1/models", {"x-goog-api-key": "", "x-api-key": ""}, "object"),
        ("/v1beta/models", {}, "models"),
        ("/v1beta/models", {"x-api-key": "{key}"}, "models"),
    ],
)
async def test_the_shape_goes_by_path_and_key(world: World, path: str, headers: dict[str, str], key: str) -> None:
    secret = "sk-" + world["alice"].token.key
    sent = {name: value.format(key=secret) for name, value in headers.items()}
    reply = await world.get(path, {**sent, "authorization": f"Bearer {secret}"})
    assert (reply.status, key in reply.json()) == (200, True)


async def test_the_shapes_do_not_mix(world: World) -> None:
    await world.channel(models="gpt-4o")
    for _ in range(2):
        assert "id" in (await world.get("/v1/models/gpt-4o", world["alice"].key)).json()
        assert "lifecycle" in (await world.get("/v1/models/gpt-4o", anthropic(world))).json()
        assert "displayName" in (await world.get("/v1/models/gpt-4o", google(world))).json()


# Anthropic.

CLAUDE = {
    "type": "model",
    "id": "claude-sonnet-4-5",
    "display_name": "claude-sonnet-4-5",
    "created_at": "1970-01-01T00:00:00Z",
    "lifecycle": "active",
    "max_tokens": 64_000,
}


async def test_anthropics_list(world: World) -> None:
    await world.channel(models="claude-sonnet-4-5,z")
    page = await anthropic_page(world)
    assert page == {
        "data": [CLAUDE, {**CLAUDE, "id": "z", "display_name": "z", "max_tokens": None}],
        "has_more": False,
        "first_id": "claude-sonnet-4-5",
        "last_id": "z",
    }


async def test_anthropics_empty_list(world: World) -> None:
    assert await anthropic_page(world) == {"data": [], "has_more": False, "first_id": None, "last_id": None}


@pytest.mark.parametrize(
    ("query", "expected", "more"),
    [
        ({}, NAMES[:20], True),
        ({"limit": 25}, NAMES, False),
        ({"limit": 24}, NAMES[:24], True),
        ({"limit": 1000}, NAMES, False),
        ({"after_id": "m19"}, NAMES[20:], False),
        ({"after_id": "m03", "limit": 2}, ["m04", "m05"], True),
        ({"after_id": "m03-gone", "limit": 2}, ["m04", "m05"], True),
        ({"after_id": "m24"}, [], False),
        ({"before_id": "m03"}, NAMES[:3], False),
        ({"before_id": "m03", "limit": 2}, ["m01", "m02"], True),
        ({"before_id": "m00"}, [], False),
        ({"before_id": "z", "limit": 1}, ["m24"], True),
        ({"lifecycle": "active", "limit": 1}, ["m00"], True),
        ({"lifecycle[]": "retired"}, [], False),
        ({"lifecycle": "deprecated"}, [], False),
    ],
)
async def test_anthropics_pages(world: World, query: dict[str, Any], expected: list[str], more: bool) -> None:
    await world.channel(models=",".join(NAMES))
    page = await anthropic_page(world, **query)
    assert (ids(page), page["has_more"]) == (expected, more)
    assert [page["first_id"], page["last_id"]] == ([expected[0], expected[-1]] if expected else [None, None])


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 1001}, "limit"),
        ({"limit": "many"}, "limit"),
        ({"limit": "-1"}, "limit"),
        ({"after_id": "a", "before_id": "b"}, "after_id"),
    ],
)
async def test_anthropics_bad_page(world: World, query: dict[str, Any], param: str) -> None:
    reply = await world.get("/v1/models", anthropic(world), query=query)
    assert (reply.status, reply.json()["type"]) == (400, "error")
    assert reply.json()["error"]["type"] == "invalid_request_error"
    assert param in reply.json()["error"]["message"]


async def test_one_of_anthropics_in_any_case(world: World) -> None:
    await world.channel(models="claude-sonnet-4-5")
    reply = await world.get("/v1/models/Claude-Sonnet-4-5", anthropic(world))
    assert reply.json() == CLAUDE


# Google.

GEMINI = {
    "name": "models/gemini-2.5-pro",
    "displayName": "gemini-2.5-pro",
    "supportedGenerationMethods": ["generateContent", "countTokens"],
    "outputTokenLimit": 65_536,
    "thinking": True,
}
UNKNOWN = {"name": "models/z", "displayName": "z", "supportedGenerationMethods": ["generateContent", "countTokens"]}


@pytest.mark.parametrize("path", ROOTS)
async def test_googles_list(world: World, path: str) -> None:
    await world.channel(models="gemini-2.5-pro,z,gpt-4o")
    body = (await world.get(path, google(world))).json()
    plain = {**GEMINI, "name": "models/gpt-4o", "displayName": "gpt-4o", "outputTokenLimit": 16_384, "thinking": False}
    assert body == {"models": [GEMINI, plain, UNKNOWN]}


async def test_googles_empty_list(world: World) -> None:
    assert (await world.get("/v1beta/models", google(world))).json() == {"models": []}


@pytest.mark.parametrize(("size", "sizes"), [(None, [25]), (0, [25]), (10, [10, 10, 5]), (25, [25]), (5000, [25])])
async def test_googles_pages(world: World, size: int | None, sizes: list[int]) -> None:
    await world.channel(models=",".join(NAMES))
    found: list[list[str]] = []
    query: dict[str, Any] = {} if size is None else {"pageSize": size}
    while True:
        body = (await world.get("/v1beta/models", google(world), query=query)).json()
        found.append([entry["name"] for entry in body["models"]])
        if "nextPageToken" not in body:
            break
        query["pageToken"] = body["nextPageToken"]
    assert [len(page) for page in found] == sizes
    assert [name for page in found for name in page] == [f"models/{name}" for name in NAMES]


async def test_googles_usual_page_has_fifty(world: World) -> None:
    await world.channel(models=",".join(f"m{number}" for number in range(51)))
    body = (await world.get("/v1beta/models", google(world))).json()
    assert (len(body["models"]), "nextPageToken" in body) == (50, True)


async def test_a_page_goes_on_behind_a_model_that_is_gone(world: World) -> None:
    await world.channel(models="a,c")
    token = base64.urlsafe_b64encode(b"b").decode()
    body = (await world.get("/v1beta/models", google(world), query={"pageToken": token})).json()
    assert [entry["name"] for entry in body["models"]] == ["models/c"]


@pytest.mark.parametrize("query", [{"pageSize": "many"}, {"pageSize": "-1"}, {"pageToken": "!"}, {"pageToken": "_w=="}])
async def test_googles_bad_page(world: World, query: dict[str, str]) -> None:
    reply = await world.get("/v1beta/models", google(world), query=query)
    assert reply.status == 400
    assert reply.json()["error"]["status"] == "INVALID_ARGUMENT"
    assert next(iter(query)) in reply.json()["error"]["message"]


@pytest.mark.parametrize("root", ROOTS)
@pytest.mark.parametrize(("asked", "name"), [("GEMINI-2.5-pro", "gemini-2.5-pro"), ("org/m:v1", "org/m:v1")])
async def test_one_of_googles(world: World, root: str, asked: str, name: str) -> None:
    await world.channel(models="gemini-2.5-pro,org/m:v1")
    assert (await world.get(f"{root}/{asked}", google(world))).json()["name"] == f"models/{name}"


# Errors.


def check_anthropic(reply: Reply, status: int, kind: str) -> None:
    body = reply.json()
    assert (reply.status, body["type"], body["error"]["type"]) == (status, "error", kind)
    assert body["request_id"] == reply.headers["x-oneapi-request-id"]


def check_google(reply: Reply, status: int, word: str) -> None:
    error = reply.json()["error"]
    assert (reply.status, error["code"], error["status"]) == (status, status, word)


async def test_a_model_that_does_not_exist(world: World) -> None:
    await world.channel(models="vip-only", group="vip")
    for name in ("nope", "vip-only"):
        reply = await world.get(f"/v1/models/{name}", anthropic(world))
        check_anthropic(reply, 404, "not_found_error")
        assert f"model: {name}" in reply.json()["error"]["message"]
        for root in ROOTS:
            reply = await world.get(f"{root}/{name}", google(world))
            check_google(reply, 404, "NOT_FOUND")
            assert f"models/{name} is not found" in reply.json()["error"]["message"]


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/gpt-4o"])
async def test_a_wrong_key(world: World, path: str) -> None:
    wrong = "sk-" + "x" * 48
    check_anthropic(await world.get(path, {"x-api-key": wrong}), 401, "authentication_error")
    check_anthropic(await world.get(path, {"anthropic-version": "2023-06-01"}), 401, "authentication_error")
    check_google(await world.get(path, {"x-goog-api-key": wrong}), 401, "UNAUTHENTICATED")
    check_google(await world.get(path.replace("/v1/", "/v1beta/")), 401, "UNAUTHENTICATED")
    assert (await world.get(path, {"authorization": wrong})).json()["error"]["code"] == "invalid_api_key"


async def test_unknown_methods(world: World) -> None:
    check_anthropic(await world.post("/v1/models", anthropic(world), {}), 404, "not_found_error")
    check_google(await world.post("/v1beta/models/m:unheardOf", google(world), {}), 404, "NOT_FOUND")


async def test_under_a_mount(world: World) -> None:
    world.root_path = "/llm"
    await world.channel(models="gpt-4o")
    assert ids(await anthropic_page(world)) == ["gpt-4o"]
    assert (await world.get("/v1beta/models/gpt-4o", google(world))).json()["name"] == "models/gpt-4o"
