"""Responses that are worked at in the background: their end does not pass by here, and they are paid for."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from oneapi_mw.middleware.precharge import BACKGROUND_OUTPUT_TOKENS
from oneapi_mw.relay.upstream import BodyCut, ClosedBeforeResponse, ConnectFailed
from tests.relay.stack import (
    HEADERS,
    MODEL,
    PRICE,
    SSE_TYPE,
    Reply,
    ScriptedUpstream,
    WatchedLedger,
    buffered,
    channel,
    gateway,
)
from tests.support.harness import Exchanged, call

SAID = {"type": "message", "id": "m", "role": "assistant", "content": [{"type": "output_text", "text": "Hi"}]}
TOLD = {"input_tokens": 11, "output_tokens": 7}


def response(items: list[Any], usage: Any, status: str = "completed") -> dict[str, Any]:
    return {"id": "r", "object": "response", "status": status, "model": MODEL, "output": items, "usage": usage}


def sse(event: dict[str, Any]) -> bytes:
    return f"event: {event['type']}\n".encode() + b"data: " + orjson.dumps(event) + b"\n\n"


ASKED: dict[str, Any] = {"model": MODEL, "input": "Hi", "background": True}
COST = 11 + 4 * 7
QUEUED = buffered(orjson.dumps(response([], None, "queued")))
BEGUN = [
    sse({"type": "response.created", "response": response([], None, "in_progress")}),
    sse({"type": "response.output_text.delta", "output_index": 0, "item_id": "m", "content_index": 0, "delta": "Hi"}),
]


async def ask(reply: Reply, ledger: WatchedLedger, *, config: Any = None, **changes: Any) -> Exchanged:
    made = channel(type=1, model_configs={MODEL: PRICE}, config=config or {})
    options = {"background_output": changes.pop("background_output")} if "background_output" in changes else {}
    app = gateway(ScriptedUpstream(reply), ledger, channels=[made], **options)
    return await call(app, "POST", "/v1/responses", json={**ASKED, **changes}, headers=HEADERS)


@pytest.mark.parametrize(
    ("changes", "output"),
    [
        ({}, BACKGROUND_OUTPUT_TOKENS),
        ({"background_output": 70}, 70),
        ({"max_output_tokens": 50_000}, 50_000),
        ({"max_output_tokens": 100}, 100),
    ],
    ids=str,
)
@pytest.mark.parametrize("status", ["queued", "in_progress"])
async def test_what_has_only_begun_costs_what_was_set_aside(status: str, changes: Any, output: int) -> None:
    ledger = WatchedLedger()
    reply = buffered(orjson.dumps(response([], None, status)))
    assert (await ask(reply, ledger, **changes)).status == 200
    held = ledger.hold.request.amount
    assert 4 * output < held < 4 * output + 20
    assert await ledger.check() == held
    metadata: Any = ledger.log[0].facts.metadata
    assert metadata["price"]["flags"] == ["background"]
    assert metadata["usage_source"] == "estimated"


async def test_a_stream_that_is_left_or_cut() -> None:
    ledger = WatchedLedger()
    told = await ask(Reply([*BEGUN, BodyCut()], headers=SSE_TYPE), ledger, stream=True)
    assert told.status == 200
    assert await ledger.check() == ledger.hold.request.amount


@pytest.mark.parametrize("as_stream", [False, True])
async def test_what_comes_to_its_end_costs_what_is_told(as_stream: bool) -> None:
    whole = response([SAID], TOLD)
    end = sse({"type": "response.completed", "response": whole})
    reply = Reply([*BEGUN, end], headers=SSE_TYPE) if as_stream else buffered(orjson.dumps(whole))
    ledger = WatchedLedger()
    assert (await ask(reply, ledger, stream=as_stream)).status == 200
    assert await ledger.check() == COST


@pytest.mark.parametrize(
    ("reply", "ambiguous", "charged"),
    [
        (buffered(b"{}", status=500), "hold", False),
        (buffered(connecting=ConnectFailed()), "hold", False),
        (buffered(waiting=ClosedBeforeResponse()), "void", False),
        (buffered(waiting=ClosedBeforeResponse()), "hold", True),
    ],
    ids=["refused", "unreachable", "unheard: void", "unheard: hold"],
)
async def test_what_was_never_begun(reply: Reply, ambiguous: str, charged: bool) -> None:
    ledger = WatchedLedger()
    assert (await ask(reply, ledger, config={"ambiguous": ambiguous})).status >= 500
    assert await ledger.check() == (ledger.hold.request.amount if charged else 0)


@pytest.mark.parametrize("background", [False, None])
async def test_in_the_foreground_all_is_as_ever(background: Any) -> None:
    ledger = WatchedLedger()
    await ask(buffered(orjson.dumps(response([SAID], TOLD))), ledger, background=background)
    assert ledger.hold.request.amount < 4 * BACKGROUND_OUTPUT_TOKENS
    assert await ledger.check() == COST


async def test_a_balance_that_is_too_small() -> None:
    ledger = WatchedLedger(4 * BACKGROUND_OUTPUT_TOKENS)
    assert (await ask(QUEUED, ledger)).status == 403
    assert not ledger.holds
