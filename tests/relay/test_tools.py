"""Hosted tools at admission, through the whole stack: refused before anything is held or sent, or routed where they are
allowed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
import pytest

from oneapi_mw.principal import Role
from oneapi_mw.routing.channel import Channel
from tests.relay.stack import (
    HEADERS,
    MODEL,
    PRICE,
    ScriptedUpstream,
    WatchedLedger,
    answer,
    buffered,
    channel,
    gateway,
    principal,
)
from tests.support.harness import Exchanged, call

Body = dict[str, Any]

CHAT = ("/v1/chat/completions", {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 50})
RESPONSES = ("/v1/responses", {"input": "hi", "max_output_tokens": 50})
MESSAGES = ("/v1/messages", {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 50})
GEMINI = (f"/v1beta/models/{MODEL}:generateContent", {"contents": [{"parts": [{"text": "hi"}]}]})
CLAUDE: Body = {"type": 14}
RESPONSE: Body = {"config": {"api_format": "response"}}


def at(number: int = 1, *, tooling: Body | None = None, tools: Body | None = None, **changes: Any) -> Channel:
    """A channel with `tooling` in its config and prices of `tools` on its card."""
    config = {**changes.pop("config", {}), **({} if tooling is None else {"tooling": tooling})}
    return channel(number, config=config, model_configs={MODEL: {**PRICE, "tools": tools or {}}}, **changes)


async def ask(
    asked: tuple[str, Body], upstream: ScriptedUpstream, ledger: WatchedLedger, channels: Sequence[Channel], **body: Any
) -> Exchanged:
    path, usual = asked
    app = gateway(upstream, ledger, channels=channels, retries=len(channels) - 1)
    return await call(app, "POST", path, json={"model": MODEL, **usual, **body}, headers=HEADERS)


def error_of(exchanged: Exchanged) -> Body:
    found: Body = orjson.loads(exchanged.body)["error"]
    return found


DECLARED: list[Any] = [
    pytest.param(CHAT, {}, {"web_search_options": {}}, "web_search", "web_search_options", id="chat"),
    pytest.param(RESPONSES, RESPONSE, {"tools": [{"type": "web_search"}]}, "web_search", "tools[0]", id="responses"),
    pytest.param(RESPONSES, RESPONSE, {"tools": [{"type": "image_generation"}]}, "image_generation", "tools[0]",
                 id="responses-image"),
    pytest.param(RESPONSES, RESPONSE, {"tools": [{"type": "function", "name": "f", "parameters": {}},
                                                 {"type": "code_interpreter", "container": {"type": "auto"}}]},
                 "code", "tools[1]", id="responses-code"),
    pytest.param(MESSAGES, CLAUDE, {"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "web_search",
                 "tools[0]", id="messages"),
    pytest.param(MESSAGES, CLAUDE, {"tools": [{"type": "code_execution_20250825", "name": "code_execution"}]}, "code",
                 "tools[0]", id="messages-code"),
    pytest.param(GEMINI, {"type": 24}, {"tools": [{"googleSearch": {}}]}, "web_search", "tools[0]", id="gemini"),
    pytest.param(GEMINI, {"type": 24}, {"tools": [{"code_execution": {}}]}, "code", "tools[0]", id="gemini-snake"),
    pytest.param(MESSAGES, {}, {"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "web_search",
                 "tools[0]", id="messages-over-chat"),
]  # fmt: skip


@pytest.mark.parametrize(("asked", "where", "body", "kind", "param"), DECLARED)
@pytest.mark.parametrize("reason", ["price", "whitelist"])
async def test_a_tool_is_refused_before_anything_is_held_or_sent(
    asked: Any, where: Body, body: Body, kind: str, param: str, reason: str
) -> None:
    upstream, ledger = ScriptedUpstream(), WatchedLedger()
    made = at(**where) if reason == "price" else at(tooling={"whitelist": ["nothing"]}, tools={kind: 0}, **where)
    exchanged = await ask(asked, upstream, ledger, [made], **body)
    assert (exchanged.status, upstream.requests, ledger.holds) == (400, [], {})
    error = error_of(exchanged)
    assert f"'{kind}' added to the {'pricing' if reason == 'price' else 'whitelist'} in the tooling" in error["message"]
    if asked is GEMINI:
        assert error["status"] == "INVALID_ARGUMENT"
    elif asked is MESSAGES:
        assert orjson.loads(exchanged.body)["type"] == "error"
        assert error["type"] == "invalid_request_error"
    else:
        assert (error["code"], error["param"], error["type"]) == ("tool_not_allowed", param, "invalid_request_error")


@pytest.mark.parametrize(
    ("tooling", "tools"),
    [
        (None, {"web_search": 0.01}),
        ({"pricing": {"web_search_preview": {"quota_per_call": 5000}}}, {}),
        ({"whitelist": ["Web-Search"]}, {"web_search": 0.01}),
        ({"whitelist": ["web_search"], "pricing": {"web_search": {"usd_per_call": 0.01}}}, {"web_search": 1}),
    ],
    ids=["card", "tooling", "whitelist", "both"],
)
async def test_a_tool_with_a_price_is_held_for_and_sent(tooling: Body | None, tools: Body) -> None:
    upstream, ledger = ScriptedUpstream(buffered()), WatchedLedger()
    exchanged = await ask(CHAT, upstream, ledger, [at(tooling=tooling, tools=tools)], web_search_options={})
    assert exchanged.status == 200
    assert upstream.requests[0].body["web_search_options"] == {}
    assert ledger.hold.amount > 5_000


async def test_zero_is_a_price() -> None:
    upstream, ledger = ScriptedUpstream(buffered()), WatchedLedger()
    assert (await ask(CHAT, upstream, ledger, [at(tools={"web_search": 0})], web_search_options={})).status == 200


@pytest.mark.parametrize(
    "config",
    [{"unknown_model_policy": "free"}, {"unknown_model_policy": "free", "tooling": {"whitelist": ["web_search"]}}],
)
async def test_a_self_hosted_channel_runs_what_nobody_has_priced(config: Body) -> None:
    upstream, ledger = ScriptedUpstream(buffered()), WatchedLedger()
    own = channel(config=config, model_configs={})
    assert (await ask(CHAT, upstream, ledger, [own], web_search_options={})).status == 200
    assert await ledger.check() == 0


async def test_a_self_hosted_channel_has_a_whitelist_too() -> None:
    upstream, ledger = ScriptedUpstream(), WatchedLedger()
    own = channel(config={"unknown_model_policy": "free", "tooling": {"whitelist": ["code"]}}, model_configs={})
    assert (await ask(CHAT, upstream, ledger, [own], web_search_options={})).status == 400


async def test_a_channel_that_allows_it_is_asked_instead() -> None:
    """The others are no candidates for this request at all: neither for retries, nor for what is held."""
    upstream, ledger = ScriptedUpstream(buffered(b"{}", status=500), buffered()), WatchedLedger()
    channels = [
        at(1),
        at(2, tooling={"whitelist": ["code"]}, tools={"web_search": 1}),
        at(3, tools={"web_search": 0.01}),
        at(4),
        at(5, tools={"web_search": 0.02}),
    ]
    exchanged = await ask(CHAT, upstream, ledger, channels, web_search_options={})
    assert exchanged.status == 200
    assert [request.url.split("/")[2] for request in upstream.requests] == ["upstream-3.test", "upstream-5.test"]
    assert 10_000 < ledger.hold.amount < 11_000


async def test_every_tool_must_be_allowed_by_one_channel() -> None:
    upstream, ledger = ScriptedUpstream(), WatchedLedger()
    channels = [at(1, tools={"web_search": 1}, **RESPONSE), at(2, tools={"file_search": 1}, **RESPONSE)]
    tools = [{"type": "web_search"}, {"type": "file_search", "vector_store_ids": ["v"]}]
    exchanged = await ask(RESPONSES, upstream, ledger, channels, tools=tools)
    assert (exchanged.status, error_of(exchanged)["param"], upstream.requests) == (400, "tools[1]", [])


async def test_a_pinned_channel_is_no_exception() -> None:
    upstream, ledger = ScriptedUpstream(), WatchedLedger()
    who = principal(channel_pin="1", role=Role.ADMIN)
    app = gateway(upstream, ledger, channels=[at(1), at(2, tools={"web_search": 1})], who=who)
    body = {"model": MODEL, **CHAT[1], "web_search_options": {}}
    assert (await call(app, "POST", CHAT[0], json=body, headers=HEADERS)).status == 400


@pytest.mark.parametrize(
    ("asked", "where", "tool"),
    [
        (CHAT, {}, {"type": "function", "function": {"name": "web_search", "parameters": {"type": "object"}}}),
        (RESPONSES, RESPONSE, {"type": "function", "name": "web_search", "parameters": {"type": "object"}}),
        (RESPONSES, RESPONSE, {"type": "custom", "name": "apply_patch"}),
        (RESPONSES, RESPONSE, {"type": "local_shell"}),
        (RESPONSES, RESPONSE, {"type": "apply_patch"}),
        (MESSAGES, CLAUDE, {"name": "web_search", "input_schema": {"type": "object"}}),
        (MESSAGES, CLAUDE, {"type": "custom", "name": "f", "input_schema": {"type": "object"}}),
        (MESSAGES, CLAUDE, {"type": "bash_20250124", "name": "bash"}),
        (MESSAGES, CLAUDE, {"type": "computer_20250124", "name": "computer", "display_width_px": 1,
                            "display_height_px": 1}),
        (GEMINI, {"type": 24}, {"functionDeclarations": [{"name": "f"}]}),
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("tooling", [None, {"whitelist": ["code"]}], ids=["no-price", "whitelist"])
async def test_what_the_client_runs_itself_is_nobody_elses_business(
    asked: Any, where: Body, tool: Body, tooling: Body | None
) -> None:
    """The upstream is asked; what it answers does not matter here."""
    upstream, ledger = ScriptedUpstream(buffered(b"{}", status=400)), WatchedLedger()
    await ask(asked, upstream, ledger, [at(tooling=tooling, **where)], tools=[tool])
    (request,) = upstream.requests
    assert len(request.body["tools"]) == 1


@pytest.mark.parametrize(("whitelist", "status"), [([], 200), (["mcp"], 200), (["web_search"], 400)])
async def test_what_has_no_fee_needs_no_price_but_is_seen_by_a_whitelist(whitelist: list[str], status: int) -> None:
    done: Body = {
        "id": "resp_1",
        "object": "response",
        "status": "completed",
        "model": MODEL,
        "output": [],
        "error": None,
    }
    upstream, ledger = ScriptedUpstream(buffered(orjson.dumps(done))), WatchedLedger()
    tools = [{"type": "mcp", "server_label": "x", "server_url": "https://x.test", "require_approval": "never"}]
    made = at(tooling={"whitelist": whitelist}, **RESPONSE)
    assert (await ask(RESPONSES, upstream, ledger, [made], tools=tools)).status == status


async def test_what_is_left_out_on_the_way_needs_no_price() -> None:
    upstream, ledger = ScriptedUpstream(buffered(answer())), WatchedLedger()
    made = at(config={"drop_hosted_tools": True})
    tools = [{"type": "file_search", "vector_store_ids": ["v"]}]
    assert (await ask(RESPONSES, upstream, ledger, [made], tools=tools)).status == 200
    assert "tools" not in upstream.requests[0].body


async def test_a_stream_is_refused_as_a_whole() -> None:
    upstream, ledger = ScriptedUpstream(), WatchedLedger()
    exchanged = await ask(CHAT, upstream, ledger, [at()], web_search_options={}, stream=True)
    assert (exchanged.status, error_of(exchanged)["code"]) == (400, "tool_not_allowed")


async def test_tools_that_come_with_the_input_are_declared_too() -> None:
    upstream, ledger = ScriptedUpstream(), WatchedLedger()
    later = {"type": "additional_tools", "role": "developer", "tools": [{"type": "web_search"}]}
    exchanged = await ask(RESPONSES, upstream, ledger, [at(**RESPONSE)], input=[later])
    assert (exchanged.status, error_of(exchanged)["param"]) == (400, "input[0].tools[0]")
