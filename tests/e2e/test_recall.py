"""Clients that return nothing but texts and calls: the gateway puts back what the model thought, for the user it
thought it for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from itertools import product
from typing import Any

import httpx
import pytest

from tests.e2e.clients import Client, all_clients
from tests.e2e.talks import CLIENTS, MODELS, Talk, World, served_world
from tests.vendors.scripting import Call, Json, Scripted

STREAMS = pytest.mark.parametrize("stream", [False, True], ids=["buffered", "stream"])
CONVERTED = [
    (client, upstream, model)
    for client, upstream in product(CLIENTS, CLIENTS[1:])
    for model in MODELS[upstream]
    if client != upstream
]


@pytest.fixture(scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with served_world(tmp_path_factory.mktemp("recall")) as world:
        yield world


@pytest.fixture(scope="module")
async def strangers(world: World) -> AsyncIterator[dict[str, Client]]:
    """The SDKs of another user."""
    async with AsyncExitStack() as stack:
        key = await another_key(world)
        yield await stack.enter_async_context(all_clients(world.gateway.base, key))


async def another_key(world: World) -> str:
    login = {"username": "stranger", "password": "a stranger's password"}
    await world.gateway.post("/api/user/", {**login, "quota": 10_000_000})
    async with httpx.AsyncClient(trust_env=False) as http:
        theirs = replace(world.gateway, http=http)
        await theirs.post("/api/user/login", login)
        key: str = (await theirs.add_token(unlimited_quota=True))["key"]
        return key


def signed(upstream: str, body: Json) -> list[int]:
    """How many signed parts each turn of the model's brings back."""
    match upstream:
        case "openai_responses":
            return [sum(bool(item.get("encrypted_content")) for item in body["input"])]
        case "anthropic_messages":
            turns = [message["content"] for message in body["messages"] if message["role"] == "assistant"]
            return [sum(block["type"] == "thinking" for block in turn if isinstance(block, dict)) for turn in turns]
        case _:
            turns = [content["parts"] for content in body["contents"] if content["role"] == "model"]
            return [sum("thoughtSignature" in part for part in turn) for turn in turns]


@pytest.mark.parametrize(("client", "upstream", "model"), CONVERTED)
@STREAMS
async def test_cv_56_what_a_bare_client_drops_is_put_back(
    world: World, client: str, upstream: str, model: str, stream: bool
) -> None:
    talk = Talk(world, client, upstream, model, stream=stream)
    words = f"Both told {client} so, says {model}, {'bit by bit' if stream else 'at once'}."  # once: see the last test
    calls = Scripted(tool_calls=[Call("get_weather", {"city": "Oslo"}), Call("get_time", {"zone": "CET"})])
    talk.vendor.script = [calls, Scripted(text=words), Scripted(text="Goodbye.")]
    await talk.begin(whole=False)
    said = await talk.ask()
    assert said.text == words
    assert signed(upstream, talk.sent)[0], "the calls bring their reasoning back"
    talk.history += [*talk.client.returned(said, whole=False), talk.client.user("and now?")]
    assert (await talk.ask()).text == "Goodbye."
    found = signed(upstream, talk.sent)
    assert found == [2] if upstream == "openai_responses" else all(found), "so does the text"
    assert talk.asked[-1].notes == [], "nothing was pretended"
    assert not any(request.refusal for request in talk.asked)


@pytest.mark.parametrize(("client", "upstream", "model"), [one for one in CONVERTED if one[0] == "openai_chat"])
async def test_nobody_elses_reasoning_is_put_back(
    world: World, strangers: dict[str, Client], client: str, upstream: str, model: str
) -> None:
    talk = Talk(world, client, upstream, model, stream=False)
    await talk.begin(whole=False)
    stranger = Talk(world, client, upstream, model, stream=False)
    stranger.client, stranger.history = strangers[client], talk.history
    said = await stranger.say()
    assert said.text == "Both said: 7 C and noon"
    if upstream == "gemini" and model != "gemini-2.5-flash":
        assert stranger.asked[-1].notes == ["placeholder"]
    else:
        assert not any(signed(upstream, stranger.sent))


async def test_cv_61_a_host_gets_the_least_where_nothing_is_known(world: World, strangers: dict[str, Client]) -> None:
    talk = Talk(world, "anthropic_messages", "deepseek", "gpt-5-mini", stream=False)
    await talk.begin(whole=False)
    talk.client = strangers["anthropic_messages"]
    assert (await talk.say()).text == "Both said: 7 C and noon"
    called = next(message for message in talk.sent["messages"] if message.get("tool_calls"))
    assert called["reasoning_content"] == " "


async def test_a_text_that_was_said_twice_tells_nothing(world: World) -> None:
    """Two answers with the same words and other signatures: neither is put back."""
    bodies: list[Any] = []
    for _ in range(2):
        talk = Talk(world, "openai_chat", "anthropic_messages", "claude-opus-5-5", stream=False)
        talk.vendor.script = Scripted(text="Twice the same.")
        said = await talk.ask()
        talk.history += [*talk.client.returned(said, whole=False), talk.client.user("and now?")]
        await talk.ask()
        bodies.append(signed("anthropic_messages", talk.sent))
    assert bodies == [[1], [0]]
