"""`GET /v1/models`, behind an API key."""

from __future__ import annotations

import pytest

from tests.admin.world import World

PERMISSION = {
    "id": "modelperm-LwHkVFn8AcMItP432fKKDIKJ",
    "object": "model_permission",
    "created": 1626777600,
    "allow_create_engine": True,
    "allow_sampling": True,
    "allow_logprobs": True,
    "allow_search_indices": False,
    "allow_view": True,
    "allow_fine_tuning": False,
    "organization": "*",
    "group": None,
    "is_blocking": False,
}
HEADERS = ["authorization", "api-key"]
"""Of OpenAI's SDK, and of Azure's. The others have lists of their own: see `test_models_dialects.py`."""


async def ids(world: World) -> list[str]:
    body = (await world.get("/v1/models", world["alice"].key)).json()
    return [entry["id"] for entry in body["data"]]


@pytest.mark.parametrize("header", HEADERS)
async def test_the_list_with_the_key_in_any_header(world: World, header: str) -> None:
    await world.channel(models="gpt-4o")
    reply = await world.get("/v1/models", {header: "sk-" + world["alice"].token.key})

    assert reply.status == 200
    entry = {
        "id": "gpt-4o",
        "object": "model",
        "created": 1626777600,
        "owned_by": "openai",
        "permission": [PERMISSION],
        "root": "gpt-4o",
        "parent": None,
    }
    assert reply.json() == {"object": "list", "data": [entry]}


async def test_the_list_is_sorted_and_is_the_groups(world: World) -> None:
    await world.channel(models="b,Hidden,a", hidden_models='["hIDDEN"]')
    await world.channel(models="a,c", group="vip,default")
    await world.channel(models="vip-only", group="vip")
    await world.channel(models="off", status=2)

    assert await ids(world) == ["a", "b", "c"]


async def test_hidden_in_one_channel_and_served_by_another_is_shown(world: World) -> None:
    await world.channel(models="a", hidden_models='["a"]')
    await world.channel(models="a")

    assert await ids(world) == ["a"]


async def test_the_keys_own_list_is_not_applied(world: World) -> None:
    await world.channel(models="a,b")
    await world.store.tokens.update(world["alice"].token.uuid, {"models": "a"})

    assert await ids(world) == ["a", "b"]


async def test_a_change_of_channels_shows_at_once(world: World) -> None:
    assert await ids(world) == []
    channel = await world.channel(models="a")
    assert await ids(world) == ["a"]
    await world.store.channels.update(channel.uuid, {"models": "b"})
    assert await ids(world) == ["b"]
    await world.store.channels.update(channel.uuid, {"group": "vip"})
    assert await ids(world) == []
    await world.store.users.update(world["alice"].user.id, {"group": "vip"})
    assert await ids(world) == ["b"]
    await world.store.channels.delete(channel.uuid)
    assert await ids(world) == []


async def test_the_owner_is_the_provider_that_is_tried_first(world: World) -> None:
    await world.channel(models="a", type=50)
    await world.channel(models="a", type=1, priority=5)
    await world.channel(models="b", type=999)

    body = (await world.get("/v1/models", world["alice"].key)).json()
    assert [(entry["id"], entry["owned_by"]) for entry in body["data"]] == [("a", "openai"), ("b", "custom")]


async def test_a_coding_client_gets_the_key_it_reads(world: World) -> None:
    reply = await world.get("/v1/models", world["alice"].key, query={"client_version": "1"})
    assert reply.json() == {"object": "list", "data": [], "models": []}


@pytest.mark.parametrize("name", ["gpt-4o", "GPT-4O", "org/model:v1", "ORG/model:V1"])
async def test_one_model_in_any_case(world: World, name: str) -> None:
    await world.channel(models="gpt-4o,org/model:v1")
    reply = await world.get(f"/v1/models/{name}", world["alice"].key)

    assert reply.json()["id"] == name.lower()
    assert reply.json()["permission"] == [PERMISSION]


async def test_the_exact_name_goes_first(world: World) -> None:
    await world.channel(models="Model,model")

    for name, expected in (("model", "model"), ("Model", "Model"), ("MODEL", "Model")):
        assert (await world.get(f"/v1/models/{name}", world["alice"].key)).json()["id"] == expected


@pytest.mark.parametrize("name", ["unknown", "vip-only", "hidden", "", "a/../b", "\u00e9"])
async def test_a_model_one_cannot_ask_for_does_not_exist(world: World, name: str) -> None:
    await world.channel(models="a,hidden", hidden_models='["hidden"]')
    await world.channel(models="vip-only", group="vip")
    reply = await world.get(f"/v1/models/{name}", world["alice"].key)

    error = {
        "message": f"The model '{name}' does not exist",
        "type": "invalid_request_error",
        "param": "model",
        "code": "model_not_found",
    }
    assert (reply.status, reply.json()) == (404, {"error": error})


@pytest.mark.parametrize("credential", ["nothing", "cookie", "bearer"])
@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/gpt-4o"])
async def test_a_key_is_needed(world: World, path: str, credential: str) -> None:
    reply = await world.get(path, getattr(world["root"], credential, {}))

    assert (reply.status, reply.json()["error"]["code"]) == (401, "invalid_api_key")


async def test_unknown_methods_and_paths(world: World) -> None:
    for method, path in (("POST", "/v1/models"), ("HEAD", "/v1/models"), ("DELETE", "/v1/models/a")):
        reply = await world.call(method, path, world["alice"].key)
        assert reply.status == 404
        assert reply.json()["error"]["message"] == f"Invalid URL ({method} {path})"


async def test_under_a_mount(world: World) -> None:
    world.root_path = "/llm"
    await world.channel(models="gpt-4o")

    assert await ids(world) == ["gpt-4o"]
    assert (await world.get("/v1/models/gpt-4o", world["alice"].key)).json()["id"] == "gpt-4o"
