"""Searches that a card prices apart, through the whole stack: what a request declares is held for and charged."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from tests.relay.stack import (
    DONE,
    HEADERS,
    MODEL,
    PRICE,
    ScriptedUpstream,
    WatchedLedger,
    answer,
    buffered,
    channel,
    gateway,
    streamed,
)
from tests.relay.test_tool_charges import CLIENTS, TOLD, at, logged, responses_reply
from tests.support.harness import Exchanged, call
from tests.wire.test_tool_usage import RESPONSES, SEARCHED, Json, sse

CARD = {**PRICE, "tools": {"web_search": "0.01", "web_search_preview": "0.025"}}
ENGINES = {"search_std": "0.001", "search_pro": "0.004"}
FOUND = {"web_search": [{"title": "t", "link": "https://x.test"}]}
ZHIPU = "https://open.bigmodel.cn"
TOKENS = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}


async def asked(client: str, where: Any, upstream: ScriptedUpstream, ledger: WatchedLedger, **body: Any) -> Exchanged:
    path, usual = CLIENTS[client]
    app = gateway(upstream, ledger, channels=[where])
    return await call(app, "POST", path, json={"model": MODEL, **usual, **body}, headers=HEADERS)


@pytest.mark.parametrize("as_stream", [False, True], ids=["buffered", "streamed"])
@pytest.mark.parametrize(
    ("name", "kind", "each"),
    [("web_search", "web_search", 5_000), ("web_search_preview", "web_search_preview", 12_500)],
)
async def test_the_search_that_was_declared_is_charged(name: str, kind: str, each: int, as_stream: bool) -> None:
    upstream = ScriptedUpstream(responses_reply(as_stream=as_stream, output=[SEARCHED, SEARCHED]))
    ledger = WatchedLedger()
    where = at(RESPONSES, CARD, priority=1)
    told = await asked(RESPONSES, where, upstream, ledger, tools=[{"type": name}], max_tool_calls=2, stream=as_stream)
    assert told.status == 200, told.body
    assert await ledger.check() == TOLD + 2 * each <= ledger.hold.request.amount < TOLD + 2 * each + 1_000
    _, price = logged(ledger)
    assert price["usage"]["hosted"] == {kind: 2}
    assert "flags" not in price


@pytest.mark.parametrize("listed", ["web_search", "web_search_preview"])
async def test_a_whitelist_may_have_either_name(listed: str) -> None:
    upstream, ledger = ScriptedUpstream(responses_reply(as_stream=False, output=[SEARCHED])), WatchedLedger()
    card = {**CARD, "allowed_tools": [listed]}
    preview = [{"type": "web_search_preview"}]
    assert (await asked(RESPONSES, at(RESPONSES, card), upstream, ledger, tools=preview)).status == 200
    assert await ledger.check() == TOLD + 12_500
    assert "flags" not in logged(ledger)[1]


def zhipu(tools: Json) -> Any:
    return channel(base_url=ZHIPU, model_configs={MODEL: {**PRICE, "tools": tools}})


@pytest.mark.parametrize("as_stream", [False, True], ids=["buffered", "streamed"])
@pytest.mark.parametrize(
    ("options", "each"),
    [({"search_engine": "search_std"}, 500), ({"search_engine": "search_pro"}, 2_000), ({}, 2_000)],
)
async def test_a_search_costs_what_its_engine_does(options: Json, each: int, as_stream: bool) -> None:
    delta, end = {"index": 0, "delta": {"content": "hi"}}, {"index": 0, "delta": {}, "finish_reason": "stop"}
    parts: list[Json] = [{"choices": [delta]}, {"choices": [end], "usage": TOKENS, **FOUND}]
    whole = {**orjson.loads(answer("hi", usage=TOKENS)), **FOUND}
    reply = streamed(*sse(parts), DONE) if as_stream else buffered(orjson.dumps(whole))
    upstream, ledger = ScriptedUpstream(reply), WatchedLedger()
    search = {"type": "web_search", "web_search": {"enable": True, **options}}
    told = await asked("openai_chat", zhipu(ENGINES), upstream, ledger, tools=[search], stream=as_stream)
    assert told.status == 200, told.body
    assert upstream.requests[0].body["tools"] == [search]
    assert await ledger.check() == TOLD + each <= ledger.hold.request.amount < TOLD + each + 1_000
    logged(ledger)


async def test_a_search_that_nobody_has_priced_is_refused() -> None:
    upstream, ledger = ScriptedUpstream(), WatchedLedger()
    search = {"type": "web_search", "web_search": {"search_engine": "search_pro"}}
    told = await asked("openai_chat", zhipu({"web_fetch": 0}), upstream, ledger, tools=[search])
    assert (told.status, upstream.requests) == (400, [])
