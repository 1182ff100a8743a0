"""Calls of hosted tools are charged however an answer ends, and whatever its upstream tells of usage."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from oneapi_mw.relay import watch as watch_module
from oneapi_mw.relay.upstream import BodyCut
from oneapi_mw.wire.registry import get_format
from tests.relay.stack import (
    HEADERS,
    MODEL,
    PRICE,
    SSE_TYPE,
    Gate,
    Reply,
    ScriptedUpstream,
    WatchedLedger,
    buffered,
    channel,
    gateway,
)
from tests.relay.test_losses import HI, MESSAGES, RESPONSES
from tests.support.harness import Client, call, http_scope

CENT = 5000
KINDS = ("web_search", "file_search", "code", "image_generation")
PRICED = {**PRICE, "tools": {kind: {"usd_per_call": 0.01} for kind in KINDS}}

SEARCH = {"type": "web_search_call", "id": "ws", "status": "completed", "action": {"type": "search", "query": "x"}}
OPENED = {"type": "web_search_call", "id": "wo", "status": "completed", "action": {"type": "open_page", "url": "x"}}
FILES = {"type": "file_search_call", "id": "fs", "status": "completed", "queries": ["x"]}
CODE = {"type": "code_interpreter_call", "id": "ci", "status": "completed", "code": "", "container_id": "c1"}
IMAGE = {"type": "image_generation_call", "id": "ig", "status": "completed", "result": "AAAA"}
SAID = {"type": "message", "id": "m", "role": "assistant", "content": [{"type": "output_text", "text": "Hi"}]}
TOLD = {"input_tokens": 11, "output_tokens": 7}


def response(items: list[Any], usage: Any, status: str = "completed") -> dict[str, Any]:
    return {"id": "r", "object": "response", "status": status, "model": MODEL, "output": items, "usage": usage}


def sse(event: dict[str, Any]) -> bytes:
    return f"event: {event['type']}\n".encode() + b"data: " + orjson.dumps(event) + b"\n\n"


def to_responses() -> Any:
    return channel(type=1, model_configs={MODEL: PRICED})


def to_messages() -> Any:
    return channel(type=14, model_configs={MODEL: PRICED})


def hosted(ledger: WatchedLedger) -> Any:
    metadata: Any = ledger.log[0].facts.metadata
    return metadata["price"].get("usage", {}).get("hosted")


@pytest.mark.parametrize("usage", [TOLD, None, {}], ids=["told", "null", "empty"])
@pytest.mark.parametrize(
    ("items", "calls"),
    [
        ([SEARCH], {"web_search": 1}),
        ([SEARCH, OPENED, SEARCH], {"web_search": 2}),
        ([FILES, FILES], {"file_search": 2}),
        ([CODE, CODE], {"code": 1}),
        ([CODE, {**CODE, "container_id": "c2"}], {"code": 2}),
        ([{**CODE, "container_id": None}, {**CODE, "container_id": 7}], {"code": 2}),
        ([IMAGE], {"image_generation": 1}),
        ([SEARCH, FILES, CODE, IMAGE], dict.fromkeys(KINDS, 1)),
        ([OPENED, {"type": ["web_search_call"]}, {}, "web_search_call", None], {}),
    ],
    ids=[
        "search",
        "pages",
        "files",
        "one-container",
        "two-containers",
        "no-container",
        "image",
        "all",
        "nothing",
    ],
)
async def test_a_whole_response(items: list[Any], calls: dict[str, int], usage: Any) -> None:
    ledger = WatchedLedger()
    upstream = ScriptedUpstream(buffered(orjson.dumps(response([*items, SAID], usage))))
    app = gateway(upstream, ledger, channels=[to_responses()])
    assert (await call(app, "POST", RESPONSES, json=HI[RESPONSES], headers=HEADERS)).status == 200
    assert (hosted(ledger) or {}) == calls
    made = ledger.log[0].facts
    assert await ledger.check() == made.prompt_tokens + 4 * made.completion_tokens + CENT * sum(calls.values())


def test_searches_are_as_many_as_are_told() -> None:
    told = {**response([SEARCH, FILES], TOLD), "tool_usage": {"web_search": {"num_requests": 3}}}
    usage = get_format("openai_responses").read_usage(told)
    assert usage is not None
    assert usage.hosted == (("web_search", 3), ("file_search", 1))


# Streams that do not come to the report at their end.

RESPONSE_STREAM = [
    sse({"type": "response.created", "response": response([], None, "in_progress")}),
    sse({"type": "response.output_text.delta", "output_index": 0, "item_id": "m", "content_index": 0, "delta": "Hi"}),
    sse({"type": "response.output_item.added", "output_index": 1, "item": {**SEARCH, "status": "in_progress"}}),
    sse({"type": "response.output_item.done", "output_index": 1, "item": SEARCH}),
    sse({"type": "response.output_item.done", "output_index": 2, "item": FILES}),
]
STARTED = {"id": "m", "content": [], "model": MODEL, "usage": {"input_tokens": 11, "output_tokens": 1}}
USED = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}
FOUND = {"type": "web_search_tool_result", "tool_use_id": "s", "content": []}
MESSAGE_STREAM = [
    sse({"type": "message_start", "message": STARTED}),
    sse({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "Hi"}}),
    sse({"type": "content_block_stop", "index": 0}),
    sse({"type": "content_block_start", "index": 1, "content_block": USED}),
    sse({"type": "content_block_stop", "index": 1}),
    sse({"type": "content_block_start", "index": 2, "content_block": FOUND}),
    sse({"type": "content_block_stop", "index": 2}),
    sse({"type": "content_block_start", "index": 3, "content_block": {**USED, "id": "c", "name": "code_execution"}}),
    sse({"type": "content_block_stop", "index": 3}),
    sse({"type": "content_block_start", "index": 4, "content_block": {**USED, "id": "f", "type": "tool_use"}}),
    sse({"type": "content_block_stop", "index": 4}),
]
UNTOLD_END = [
    sse({"type": "message_delta", "delta": {"stop_reason": "end_turn"}}),
    sse({"type": "message_stop"}),
]
STREAMS = [
    (RESPONSES, to_responses, RESPONSE_STREAM, {"web_search": 1, "file_search": 1}),
    (MESSAGES, to_messages, MESSAGE_STREAM, {"web_search": 1}),
]


@pytest.mark.parametrize("full", [False, True], ids=["skimmed", "full"])
@pytest.mark.parametrize("size", [1, 2, 100])
@pytest.mark.parametrize(
    ("name", "events", "calls"),
    [
        ("openai_responses", RESPONSE_STREAM, {"web_search": 1, "file_search": 1}),
        ("anthropic_messages", MESSAGE_STREAM, {"web_search": 1}),
    ],
)
def test_what_a_decoder_has_seen(name: str, events: list[bytes], calls: dict[str, int], size: int, full: bool) -> None:
    decoder = get_format(name).stream_decoder(full=full, model=None, hide_usage=False)
    for start in range(0, len(events), size):
        decoder.feed(b"".join(events[start : start + size]))
    assert dict(decoder.tools().hosted) == calls


@pytest.mark.parametrize("at_once", [False, True], ids=["in-pieces", "at-once"])
@pytest.mark.parametrize(("path", "to", "events", "calls"), STREAMS, ids=["responses", "messages"])
async def test_a_stream_that_is_cut(
    path: str, to: Any, events: list[bytes], calls: dict[str, int], at_once: bool
) -> None:
    ledger = WatchedLedger()
    pieces = [b"".join(events)] if at_once else events
    upstream = ScriptedUpstream(Reply([*pieces, BodyCut()], headers=SSE_TYPE))
    app = gateway(upstream, ledger, channels=[to()])
    told = await call(app, "POST", path, json={**HI[path], "stream": True}, headers=HEADERS)
    assert told.status == 200
    assert hosted(ledger) == calls
    assert await ledger.check() >= CENT * sum(calls.values())


@pytest.mark.parametrize(("path", "to", "events", "calls"), STREAMS, ids=["responses", "messages"])
async def test_a_client_that_leaves_before_the_end(
    path: str, to: Any, events: list[bytes], calls: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_module, "GRACE", 0)
    gate, ledger = Gate(), WatchedLedger()
    app = gateway(ScriptedUpstream(Reply([*events, gate], headers=SSE_TYPE)), ledger, channels=[to()])
    client = Client(orjson.dumps({**HI[path], "stream": True}))

    async def leave() -> None:
        await gate.reached.wait()
        client.leave()

    async with asyncio.TaskGroup() as group:
        group.create_task(leave())
        await app(http_scope("POST", path, headers=HEADERS), client.receive, client.send)
    assert hosted(ledger) == calls
    assert await ledger.check() >= CENT * sum(calls.values())


@pytest.mark.parametrize("counted", [False, True], ids=["estimated", "counted"])
async def test_a_message_whose_end_tells_no_usage(counted: bool) -> None:
    class Counter:
        async def count_text(self, text: str, model: str) -> int:
            return 70

        async def count_call(self, call: Any, model: str) -> int:
            return 5

    ledger = WatchedLedger()
    upstream = ScriptedUpstream(Reply([*MESSAGE_STREAM, *UNTOLD_END], headers=SSE_TYPE))
    app = gateway(upstream, ledger, channels=[to_messages()], counter=Counter() if counted else None)
    told = await call(app, "POST", MESSAGES, json={**HI[MESSAGES], "stream": True}, headers=HEADERS)
    assert told.status == 200
    assert hosted(ledger) == {"web_search": 1}


async def test_a_whole_message_without_usage() -> None:
    ledger = WatchedLedger()
    said = {"type": "message", "role": "assistant", "content": [USED, FOUND, {"type": "text", "text": "Hi"}]}
    upstream = ScriptedUpstream(buffered(orjson.dumps({**said, "stop_reason": "end_turn"})))
    app = gateway(upstream, ledger, channels=[to_messages()])
    assert (await call(app, "POST", MESSAGES, json=HI[MESSAGES], headers=HEADERS)).status == 200
    assert hosted(ledger) == {"web_search": 1}
