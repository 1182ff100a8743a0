"""What hosted tools did is charged, through the whole stack: whoever asks, whatever is reported, however it ends."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from oneapi_mw.ledger.rows import FACT_COLUMNS, fact_row
from oneapi_mw.pricing.recompute import recompute_row
from oneapi_mw.routing.channel import Channel
from oneapi_mw.tokenizer import Tokenizer
from tests.relay.stack import (
    HEADERS,
    MODEL,
    PRICE,
    SSE_TYPE,
    Gate,
    Reply,
    ScriptedUpstream,
    WatchedLedger,
    answer,
    ask,
    begin,
    buffered,
    channel,
    gateway,
    stream,
    streamed,
)
from tests.support.harness import Exchanged, call
from tests.wire.test_tool_usage import (
    CITED,
    MESSAGES,
    RESPONSES,
    SEARCHED,
    Json,
    gemini,
    gemini_events,
    image,
    item,
    message,
    message_events,
    ran,
    response,
    response_events,
    sse,
)

TOOLS = {"web_search": "0.01", "file_search": "0.0025", "code": "0.03"}
CARD = {**PRICE, "tools": TOOLS}
ITEMS = [
    SEARCHED,
    item("file_search", queries=["q"], results=None),
    item("code_interpreter", container_id="a", code="1", outputs=[]),
    item("code_interpreter", container_id="a", code="2", outputs=[]),
    {"type": "message", "id": "m", "role": "assistant", "status": "completed",
     "content": [{"type": "output_text", "text": "hi", "annotations": []}]},
]  # fmt: skip
RAN = 5_000 + 1_250 + 15_000
TOLD = 3 * 1 + 4 * 4
CLIENTS: dict[str, tuple[str, Json]] = {
    "openai_chat": ("/v1/chat/completions", {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 50}),
    "openai_responses": ("/v1/responses", {"input": "hi", "max_output_tokens": 50}),
    "anthropic_messages": ("/v1/messages", {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 50}),
    "gemini": (f"/v1beta/models/{MODEL}:%s", {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}),
}
CHANNELS: dict[str, Json] = {
    RESPONSES: {"config": {"api_format": "response"}},
    MESSAGES: {"type": 14},
    "gemini": {"type": 24},
    "openai_chat": {},
}


def at(upstream: str, card: Json = CARD, **changes: Any) -> Channel:
    return channel(model_configs={MODEL: card}, **CHANNELS[upstream], **changes)


async def asking(
    upstream: ScriptedUpstream, ledger: WatchedLedger, where: Channel, client: str, *, as_stream: bool, **options: Any
) -> Exchanged:
    path, body = CLIENTS[client]
    if client == "gemini":
        path %= "streamGenerateContent" if as_stream else "generateContent"
    else:
        body = {"model": MODEL, **body, "stream": as_stream}
    app = gateway(upstream, ledger, channels=[where], **options)
    return await call(app, "POST", path, json=body, headers=HEADERS, query=b"alt=sse")


def reply(whole: Json, events: list[Json], *, as_stream: bool) -> Reply:
    return Reply(sse(events), headers=SSE_TYPE) if as_stream else buffered(orjson.dumps(whole))


def responses_reply(*, as_stream: bool, output: list[Json] = ITEMS, **fields: Any) -> Reply:
    whole = {**response(output), "error": None, **fields}
    return reply(whole, response_events(output, whole), as_stream=as_stream)


def logged(ledger: WatchedLedger) -> tuple[Json, Json]:
    """The one log row's columns, and how its quota came about."""
    (entry,) = ledger.log
    row = dict(zip(FACT_COLUMNS, fact_row(entry.facts), strict=True))
    metadata = orjson.loads(row["metadata"])
    price = metadata["price"]
    assert recompute_row(row, metadata, {price["card_id"]: orjson.loads(price["card"])}.__getitem__) == entry.quota
    return row, price


@pytest.mark.parametrize("as_stream", [False, True], ids=["buffered", "streamed"])
@pytest.mark.parametrize("client", CLIENTS)
async def test_clients_of_every_format_pay_the_same(client: str, as_stream: bool) -> None:
    upstream, ledger = ScriptedUpstream(responses_reply(as_stream=as_stream)), WatchedLedger()
    exchanged = await asking(upstream, ledger, at(RESPONSES), client, as_stream=as_stream)
    assert exchanged.status == 200, exchanged.body
    assert await ledger.check() == TOLD + RAN
    _, price = logged(ledger)
    assert price["parts"] == {"tokens": TOLD, "media": 0, "tools": RAN}
    assert price["usage"]["hosted"] == {"web_search": 1, "file_search": 1, "code": 1}
    assert "flags" not in price


SEARCH_AND_CODE = [*ran("a", "web_search"), *ran("b", "code_execution")]
GROUNDED: Json = {"groundingMetadata": {"webSearchQueries": ["a", "b"]}}
OTHERS: list[tuple[str, Json, list[Json], int]] = [
    (MESSAGES, message(SEARCH_AND_CODE, {"web_search_requests": 1}),
     message_events(SEARCH_AND_CODE, {"web_search_requests": 1}), 5_000 + 15_000),
    ("gemini", gemini("gemini-2.5-flash", GROUNDED), gemini_events("gemini-2.5-flash", GROUNDED), 5_000),
    ("gemini", gemini("gemini-3-pro-preview", GROUNDED), gemini_events("gemini-3-pro-preview", GROUNDED), 10_000),
]  # fmt: skip


@pytest.mark.parametrize("as_stream", [False, True], ids=["buffered", "streamed"])
@pytest.mark.parametrize("client", ["openai_chat", "same"])
@pytest.mark.parametrize(("wire", "whole", "events", "tools"), OTHERS)
async def test_upstreams_of_other_formats(
    wire: str, whole: Json, events: list[Json], tools: int, client: str, as_stream: bool
) -> None:
    upstream, ledger = ScriptedUpstream(reply(whole, events, as_stream=as_stream)), WatchedLedger()
    exchanged = await asking(upstream, ledger, at(wire), wire if client == "same" else client, as_stream=as_stream)
    assert exchanged.status == 200, exchanged.body
    assert await ledger.check() == TOLD + tools
    logged(ledger)


@pytest.mark.parametrize("as_stream", [False, True], ids=["buffered", "streamed"])
@pytest.mark.parametrize(
    ("message", "usage", "tools"),
    [
        (CITED, {}, 5_000),
        ({}, {"server_tool_use": {"web_search_requests": 3}}, 15_000),
        ({}, {"server_side_tool_usage_details": {"web_search_calls": 1, "code_interpreter_calls": 1}}, 20_000),
        ({}, {"num_search_queries": 2}, 10_000),
        ({}, {"num_sources_used": 2}, 0),
    ],
)
async def test_hosts_of_chat(message: Json, usage: Json, tools: int, as_stream: bool) -> None:
    told = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7, **usage}
    if as_stream:
        first, *rest = stream("hi", usage=told)
        found = {"choices": [{"index": 0, "delta": {"content": "", **message}}]}
        steps = [first, *sse([found]), *rest]
    whole = answer("hi", usage=told, **message)
    upstream = ScriptedUpstream(streamed(*steps) if as_stream else buffered(whole))
    ledger = WatchedLedger()
    exchanged = await asking(upstream, ledger, at("openai_chat"), "openai_chat", as_stream=as_stream)
    assert exchanged.status == 200
    assert await ledger.check() == TOLD + tools
    _, price = logged(ledger)
    assert price.get("flags", []) == ([] if tools else ["unpriced_tool:live_search"])


@pytest.mark.parametrize("as_stream", [False, True], ids=["buffered", "streamed"])
@pytest.mark.parametrize("counted", [False, True])
@pytest.mark.parametrize("usage", [None, {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}])
@pytest.mark.parametrize("client", [RESPONSES, MESSAGES])
async def test_calls_are_charged_whatever_is_reported_of_tokens(
    client: str, usage: Json | None, counted: bool, as_stream: bool
) -> None:
    upstream = ScriptedUpstream(responses_reply(as_stream=as_stream, usage=usage))
    ledger = WatchedLedger()
    counter = Tokenizer() if counted else None
    await asking(upstream, ledger, at(RESPONSES), client, as_stream=as_stream, counter=counter)
    row, price = logged(ledger)
    assert (row["prompt_tokens"] > 0, row["completion_tokens"] > 0) == (True, True)
    assert price["parts"]["tools"] == RAN
    assert await ledger.check() == row["prompt_tokens"] + 4 * row["completion_tokens"] + RAN


async def test_zero_usage_and_calls_alone() -> None:
    whole = message([], {"web_search_requests": 2}, input_tokens=0, output_tokens=0)
    upstream, ledger = ScriptedUpstream(buffered(orjson.dumps(whole))), WatchedLedger()
    await asking(upstream, ledger, at(MESSAGES), MESSAGES, as_stream=False)
    assert await ledger.check() == 10_000


async def test_a_client_that_leaves_pays_what_was_seen_by_then() -> None:
    gate = Gate()
    events = sse(response_events(ITEMS, response(ITEMS)))
    upstream, ledger = ScriptedUpstream(Reply([*events[:5], gate, *events[5:]], headers=SSE_TYPE)), WatchedLedger()
    path, body = CLIENTS[RESPONSES]
    client = begin(gateway(upstream, ledger, channels=[at(RESPONSES)]), path=path, model=MODEL, stream=True, **body)
    await gate.reached.wait()
    client.client.leave()
    await client.end()
    charged = await ledger.check()
    _, price = logged(ledger)
    assert price["usage"]["hosted"] == {"web_search": 1, "file_search": 1}
    assert charged == price["parts"]["tokens"] + 5_000 + 1_250


async def test_an_upstream_that_fails_is_paid_for_what_it_ran() -> None:
    events = sse(
        response_events(ITEMS, {"id": "r", "status": "failed", "error": {"code": "server_error"}}, kind="failed")
    )
    upstream, ledger = ScriptedUpstream(Reply(events, headers=SSE_TYPE)), WatchedLedger()
    await asking(upstream, ledger, at(RESPONSES), RESPONSES, as_stream=True)
    await ledger.check()
    _, price = logged(ledger)
    assert price["parts"]["tools"] == RAN


@pytest.mark.parametrize(
    ("card", "tools", "flags"),
    [
        ({**PRICE, "tools": {}}, 0, ["unpriced_tool:web_search", "unpriced_tool:file_search", "unpriced_tool:code"]),
        ({**CARD, "allowed_tools": ["web_search"]}, RAN, ["forbidden_tool:file_search", "forbidden_tool:code"]),
        (
            {**PRICE, "tools": {"code": "0.03"}, "allowed_tools": ["web_search", "file_search"]},
            15_000,
            ["unpriced_tool:web_search", "unpriced_tool:file_search", "forbidden_tool:code"],
        ),
    ],
    ids=["unpriced", "not-listed", "both"],
)
async def test_tools_that_nobody_allowed_are_charged_where_they_are_priced(
    card: Json, tools: int, flags: list[str]
) -> None:
    upstream, ledger = ScriptedUpstream(responses_reply(as_stream=True)), WatchedLedger()
    await asking(upstream, ledger, at(RESPONSES, card), RESPONSES, as_stream=True)
    assert await ledger.check() == TOLD + tools
    _, price = logged(ledger)
    assert price["flags"] == flags


@pytest.mark.parametrize("as_stream", [False, True], ids=["buffered", "streamed"])
@pytest.mark.parametrize(
    ("prices", "charged"),
    [
        ({"tools": {"image_generation": "0.02"}}, 20_000),
        ({"image": {"usd_per_image": {"high": {"1024x1024": "0.1"}, "default": {"default": "0.04"}}}}, 70_000),
    ],
    ids=["as-calls", "as-images"],
)
async def test_images_are_charged_by_their_size_where_they_have_prices(
    prices: Json, charged: int, as_stream: bool
) -> None:
    output = [image(size="1024x1024", quality="high"), image(size="1536x1024", quality="low"), image("failed")]
    upstream, ledger = ScriptedUpstream(responses_reply(as_stream=as_stream, output=output)), WatchedLedger()
    path, body = CLIENTS[RESPONSES]
    tools = {"tools": [{"type": "image_generation"}], "max_tool_calls": 2, "stream": as_stream}
    app = gateway(upstream, ledger, channels=[at(RESPONSES, {**PRICE, **prices})])
    exchanged = await call(app, "POST", path, json={"model": MODEL, **body, **tools}, headers=HEADERS)
    assert exchanged.status == 200, exchanged.body
    assert await ledger.check() == TOLD + charged <= ledger.hold.amount
    logged(ledger)


async def test_what_was_replayed_is_no_call() -> None:
    plain = response(ITEMS[-1:])
    upstream, ledger = ScriptedUpstream(buffered(orjson.dumps({**plain, "error": None}))), WatchedLedger()
    path, body = CLIENTS[RESPONSES]
    history = [*ITEMS, {"role": "user", "content": "again"}]
    app = gateway(upstream, ledger, channels=[at(RESPONSES)])
    await call(app, "POST", path, json={"model": MODEL, **body, "input": history}, headers=HEADERS)
    assert len(upstream.requests[0].body["input"]) == len(history)
    assert await ledger.check() == TOLD


# The hold.

SEARCHER = "gpt-4o-search-preview"


async def test_the_search_of_a_model_that_always_searches_is_held_for() -> None:
    told = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
    upstream, ledger = ScriptedUpstream(buffered(answer(usage=told, model=SEARCHER))), WatchedLedger()
    where = channel(models=(SEARCHER,), model_configs={SEARCHER: CARD})
    assert (await ask(gateway(upstream, ledger, channels=[where]), model=SEARCHER)).status == 200
    assert await ledger.check() == TOLD + 5_000 <= ledger.hold.amount


SEARCHES = [{**SEARCHED, "action": {"type": "search", "query": "x" * 500}}] * 30


def searching() -> Reply:
    return Reply(sse(response_events(SEARCHES, response(SEARCHES))), headers=SSE_TYPE)


async def searched(ledger: WatchedLedger) -> Exchanged:
    path, body = CLIENTS[RESPONSES]
    app = gateway(ScriptedUpstream(searching()), ledger, channels=[at(RESPONSES)])
    asked = {"model": MODEL, **body, "tools": [{"type": "web_search"}], "stream": True}
    return await call(app, "POST", path, json=asked, headers=HEADERS)


async def test_calls_beyond_those_declared_raise_the_hold() -> None:
    ledger = WatchedLedger()
    assert b"response.completed" in (await searched(ledger)).body
    assert await ledger.check() == TOLD + 30 * 5_000
    assert ledger.hold.mark > 20 * 5_000


async def test_calls_end_when_the_balance_does() -> None:
    funds = 12 * 5_000
    ledger = WatchedLedger(funds=funds)
    exchanged = await searched(ledger)
    assert b"insufficient_user_quota" in exchanged.body or b"insufficient_quota" in exchanged.body
    assert b"response.completed" not in exchanged.body
    assert funds < await ledger.check() <= funds + 8 * 5_000
