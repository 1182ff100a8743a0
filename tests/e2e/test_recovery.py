"""Reasoning that a client lost or changed: the vendor refuses, the gateway repairs and asks once more, and one answer
is paid for. Vendors refuse in their own words, clients are the official SDKs."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from itertools import product
from typing import Any

import pytest

from tests.e2e.talks import CLIENTS, MODELS, TOOLS, Talk, World, channel, served_world
from tests.vendors.scripting import Call, Fault, Json, Scripted
from tests.vendors.signing import Signer

SIGNING = [(upstream, model) for upstream in CLIENTS[1:] for model in MODELS[upstream]]
STREAMS = pytest.mark.parametrize("stream", [False, True], ids=["buffered", "stream"])


@pytest.fixture(scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with served_world(tmp_path_factory.mktemp("recovery")) as world:
        yield world


WORDS = {
    "openai_responses": "could not be verified",
    "anthropic_messages": "Invalid `signature`",
    "gemini": "Thought signature is not valid",
}


@pytest.mark.parametrize(
    ("client", "upstream", "model"),
    [(client, upstream, model) for client, (upstream, model) in product(CLIENTS, SIGNING) if model != "aurora"],
)
@STREAMS
async def test_cv_46_what_another_account_signed_is_forgotten(
    world: World, client: str, upstream: str, model: str, stream: bool
) -> None:
    talk = Talk(world, client, upstream, model, stream=stream)
    await talk.begin()
    talk.vendor.signer = Signer("another account")
    talk.repaired(await talk.ask(), WORDS[upstream])
    if model == "claude-opus-5-5":
        assert talk.sent["thinking"]["type"] == "adaptive"
        assert "block_binding" not in talk.sent["thinking"], "CV-63: only for what followed other words"
    if model == "claude-haiku-4-5":
        assert "thinking" not in talk.sent, "a loop without blocks cannot be told to think"
    if model == "gemini-3-flash-preview":
        assert talk.asked[-1].notes == ["placeholder"], "CV-56: the first call of the step, and only that"


@pytest.mark.parametrize("client", CLIENTS)
@STREAMS
async def test_cv_63_thinking_of_another_prefix_is_dropped_by_the_vendor(
    world: World, client: str, stream: bool
) -> None:
    talk = Talk(world, client, "anthropic_messages", "claude-opus-5-5", stream=stream)
    await talk.begin()
    talk.repaired(await talk.ask(system="Be long."), "bound to a different conversation")
    assert talk.sent["thinking"]["block_binding"] == {"prefix_mismatch_behavior": "drop_block"}
    assert "thinking-binding-controls-2026-08-01" in talk.asked[-1].headers["anthropic-beta"]
    assert talk.asked[-1].notes == ["mismatch"]


@pytest.mark.parametrize("client", CLIENTS)
@STREAMS
async def test_cv_61_a_host_that_wants_reasoning_gets_what_there_is(world: World, client: str, stream: bool) -> None:
    """What went through a conversion is remembered; of bytes that passed nobody knows."""
    talk = Talk(world, client, "deepseek", "gpt-5-mini", stream=stream)
    await talk.begin(whole=False)
    talk.repaired(await talk.ask(), "must be passed back")
    called = next(message for message in talk.sent["messages"] if message.get("tool_calls"))
    assert called["reasoning_content"] == (" " if client == CHAT else "I was asked: hello")


async def _two_steps(talk: Talk) -> None:
    calls = Scripted(tool_calls=[Call("get_weather", {"city": "Oslo"}), Call("get_time", {"zone": "CET"})])
    talk.vendor.script = [calls, calls, Scripted(text="Both said: 7 C and noon")]
    await talk.begin()
    await talk.begin()


async def _no_block(talk: Talk) -> None:
    """Thinking stands in front of the first call of a loop, and not of the second."""
    await _two_steps(talk)
    del talk.history[-2]["content"][0]


async def _other_signature(talk: Talk) -> None:
    await talk.begin()
    block = talk.history[1]["content"][0]
    block["signature"] = "B" + block["signature"][1:]


async def _no_signature(talk: Talk) -> None:
    await talk.begin()
    del talk.history[1]["content"][0]["signature"]


async def _twice(talk: Talk) -> None:
    await talk.begin()
    blocks = talk.history[1]["content"]
    blocks.insert(0, dict(blocks[0]))


async def _begun_answer(talk: Talk) -> None:
    talk.vendor.script = [Scripted(text="Both"), Scripted(text="Both said: 7 C and noon")]
    said = await talk.ask()
    talk.history += talk.client.returned(said, whole=True)


async def _other_ciphertext(talk: Talk) -> None:
    await talk.begin()
    item = talk.history[1]
    item["encrypted_content"] = "B" + item["encrypted_content"][1:]


async def _no_ciphertext(talk: Talk) -> None:
    await _two_steps(talk)
    reasoning = [item for item in talk.history if item.get("type") == "reasoning"]
    del reasoning[1]["encrypted_content"]


async def _no_item(talk: Talk) -> None:
    await talk.begin()
    del talk.history[1]


async def _unsigned_call(talk: Talk) -> None:
    await talk.begin()
    for part in talk.history[1].parts:
        part.thought_signature = None


async def _text_nobody_wants(talk: Talk) -> None:
    talk.history += [
        {"role": "assistant", "content": "Hi", "reasoning_content": "Hm."},
        {"role": "user", "content": "x"},
    ]
    talk.vendor.script = Scripted(text="Both said: 7 C and noon")


@dataclass(frozen=True)
class Row:
    """One way to lose it, with a client that speaks the upstream's format."""

    wire: str
    model: str
    lose: Callable[[Talk], Awaitable[None]]
    words: str
    check: Callable[[Any], bool]
    options: Any = None

    def __str__(self) -> str:
        return f"{self.model}-{self.lose.__name__.strip('_')}"


def blocks_of(body: Json) -> list[Json]:
    return [
        block for message in body["messages"] if isinstance(message["content"], list) for block in message["content"]
    ]


def thoughts(body: Json) -> int:
    return sum(block["type"] == "thinking" for block in blocks_of(body))


def items(body: Json, kind: str) -> list[Json]:
    return [item for item in body["input"] if item.get("type") == kind]


CLAUDE, RESPONSES, GEMINI, CHAT = "anthropic_messages", "openai_responses", "gemini", "openai_chat"
ROWS = (
    Row(CLAUDE, "claude-haiku-4-5", _no_block, "Expected `thinking`", lambda body: "thinking" not in body),
    Row(CLAUDE, "claude-haiku-4-5", _other_signature, "Invalid `signature`", lambda body: not thoughts(body)),
    Row(CLAUDE, "claude-opus-5-5", _other_signature, "Invalid `signature`", lambda body: not thoughts(body)),
    Row(CLAUDE, "claude-haiku-4-5", _no_signature, "signature: Field required", lambda body: not thoughts(body)),
    Row(CLAUDE, "claude-haiku-4-5", _twice, "cannot be modified", lambda body: not thoughts(body)),
    Row(CLAUDE, "claude-haiku-4-5", _begun_answer, "in the final position", lambda body: not thoughts(body),
        {"thinks": False}),
    Row(RESPONSES, "gpt-5-mini", _other_ciphertext, "could not be verified",
        lambda body: not items(body, "reasoning") and not any("id" in item for item in body["input"])),
    Row(RESPONSES, "gpt-5-mini", _no_ciphertext, "not found",
        lambda body: [item.keys() & {"id", "encrypted_content"} for item in items(body, "reasoning")]
        == [{"encrypted_content"}]),
    Row(RESPONSES, "gpt-5-mini", _no_item, "without its required 'reasoning' item",
        lambda body: not any("id" in item for item in body["input"])),
    Row(GEMINI, "aurora", _unsigned_call, "missing a thought_signature",
        lambda body: sum("thoughtSignature" in part for part in body["contents"][1]["parts"]) == 1),
    Row(CHAT, "gpt-5-mini", _text_nobody_wants, "reasoning_content",
        lambda body: not any("reasoning_content" in message for message in body["messages"])),
)  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=str)
@STREAMS
async def test_cv_79_in_the_vendors_own_format(world: World, row: Row, stream: bool) -> None:
    talk = Talk(world, row.wire, row.wire, row.model, stream=stream)
    await row.lose(talk)
    talk.repaired(await talk.ask(**(row.options or {})), row.words)
    assert row.check(talk.sent), talk.sent


LOST = "messages.1.content.0: Invalid `signature` in `thinking` block"
FINE = Scripted(text="Both said: 7 C and noon")


@pytest.mark.parametrize("client", ["openai_chat", "anthropic_messages"])
@STREAMS
async def test_cv_79_a_second_refusal_is_passed_on(world: World, client: str, stream: bool) -> None:
    talk = Talk(world, client, CLAUDE, "claude-haiku-4-5", stream=stream)
    await talk.begin()
    talk.vendor.script = Fault(400, LOST)
    await talk.refused(LOST)
    assert len(talk.asked) == 2, "CV-87: no other channel is asked"
    assert [thoughts(request.body) for request in talk.asked] == [1, 0]


@STREAMS
async def test_where_nothing_can_be_repaired_nothing_is_asked_again(world: World, stream: bool) -> None:
    talk = Talk(world, CLAUDE, CLAUDE, "claude-opus-5-5", stream=stream)
    talk.vendor.script = Fault(400, LOST)
    await talk.refused(LOST)
    assert len(talk.asked) == 1


@pytest.mark.parametrize("client", ["openai_chat", "anthropic_messages"])
@STREAMS
async def test_a_repaired_request_stays_so_on_the_next_channel(world: World, client: str, stream: bool) -> None:
    talk = Talk(world, client, CLAUDE, "claude-haiku-4-5", stream=stream)
    await talk.begin()
    talk.vendor.script = [Fault(400, LOST), Fault(503), FINE]
    assert (await talk.ask()).text == FINE.text
    assert [thoughts(request.body) for request in talk.asked] == [1, 0, 0]


async def test_a_refusal_where_the_stream_would_begin_is_repaired_too(world: World) -> None:
    talk = Talk(world, "openai_chat", RESPONSES, "gpt-5-mini", stream=True)
    await talk.begin()
    words = "The encrypted content gAAA...YQ== could not be verified."
    talk.vendor.script = [Fault(400, words, after=0), FINE]
    assert (await talk.ask()).text == FINE.text
    assert [len(items(request.body, "reasoning")) for request in talk.asked] == [1, 0]


@pytest.mark.parametrize("stream", [False, True])
async def test_what_was_left_out_is_named_and_strict_clients_are_refused(world: World, stream: bool) -> None:
    talk = Talk(world, CLAUDE, CLAUDE, "claude-haiku-4-5", stream=stream)
    await _other_signature(talk)
    body = {"model": f"{CLAUDE}.claude-haiku-4-5", "max_tokens": 4000, "messages": talk.history, "stream": stream,
            "tools": [{"name": name, "input_schema": schema} for name, schema in TOOLS]}  # fmt: skip
    headers = {"x-api-key": talk.gateway.key, "anthropic-version": "2023-06-01"}
    answer = await talk.gateway.http.post(f"{talk.gateway.base}/v1/messages", json=body, headers=headers)
    assert (answer.status_code, answer.headers["x-oneapi-dropped"]) == (200, "reasoning=lost")
    before = len(talk.vendor.requests)
    answer = await talk.gateway.http.post(f"{talk.gateway.base}/v1/messages?strict=true", json=body, headers=headers)
    assert (answer.status_code, len(talk.vendor.requests) - before) == (400, 1)
    assert "Invalid `signature`" in answer.json()["error"]["message"]


@pytest.mark.parametrize("client", CLIENTS)
@STREAMS
async def test_cv_80_upstream_words_reach_the_client_without_envelopes_and_keys(
    world: World, client: str, stream: bool
) -> None:
    talk = Talk(world, client, CLAUDE, "claude-haiku-4-5", stream=stream)
    said = await talk.ask()
    envelope = "oa1.anthropic.AQFhYmNkZWZnaGlqa2xtbm9wcXJzdHV2d3h5eg"
    talk.vendor.script = Fault(400, f"messages.0.foo: {envelope} and sk-ant-api03-abcdefgh12345678 are not permitted")
    words = await talk.refused("messages.0.foo: *** and *** are not permitted")
    assert said.text
    assert "oa1." not in words
    assert "abcdefgh" not in words


@pytest.mark.parametrize("client", ["openai_chat", "anthropic_messages"])
async def test_an_operator_may_want_lost_reasoning_as_text(world: World, client: str) -> None:
    names = {"told": "claude-haiku-4-5"}
    await world.gateway.add_channel(world.vendors[CLAUDE].url, **{
        **channel(CLAUDE, 3, ("claude-haiku-4-5",)),
        "models": "told",
        "model_mapping": json.dumps(names),
        "config": json.dumps({"reasoning_lost": "text"}),
        "name": f"told-{client}",
    })  # fmt: skip
    talk = Talk(world, client, CLAUDE, "claude-haiku-4-5", stream=False, name="told")
    await talk.begin()
    talk.vendor.signer = Signer("another account")
    talk.repaired(await talk.ask(), WORDS[CLAUDE])
    said = next(message for message in talk.sent["messages"] if message["role"] == "assistant")
    assert said["content"][0] == {"type": "text", "text": "<think>I was asked: hello</think>\n\n"}


# What is known to be refused is not sent at all.


@pytest.mark.parametrize("client", CLIENTS)
@STREAMS
async def test_cv_54_a_loop_without_thinking_is_not_told_to_think(world: World, client: str, stream: bool) -> None:
    talk = Talk(world, client, CLAUDE, "claude-haiku-4-5", stream=stream)
    await talk.begin(whole=False, thinks=False)
    assert (await talk.ask()).text == FINE.text
    assert [request.refusal for request in talk.asked] == [None]
    assert "thinking" not in talk.sent


async def test_cv_55_a_begun_answer_brings_no_thinking_where_it_is_off(world: World) -> None:
    talk = Talk(world, CHAT, CLAUDE, "claude-haiku-4-5", stream=False)
    talk.vendor.script = [Scripted(text="Both"), FINE]
    talk.history += talk.client.returned(await talk.ask(), whole=True)
    assert (await talk.ask(thinks=False)).text == FINE.text
    assert [request.refusal for request in talk.asked] == [None]
    assert talk.sent["messages"][-1] == {"role": "assistant", "content": "Both"}


async def test_cv_51_unsigned_reasoning_never_reaches_claude(world: World) -> None:
    talk = Talk(world, CHAT, CLAUDE, "claude-haiku-4-5", stream=False)
    talk.history += [{"role": "assistant", "content": "Hi", "reasoning_content": "Hm."}, talk.client.user("x")]
    await talk.ask()
    assert [request.refusal for request in talk.asked] == [None]
    assert "Hm." not in json.dumps(talk.sent)
