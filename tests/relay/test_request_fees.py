"""A fee per request, through the whole stack: one for each upstream call that is charged."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from oneapi_mw.ledger.rows import FACT_COLUMNS, fact_row
from oneapi_mw.pricing.card import decode_card
from oneapi_mw.pricing.recompute import recompute_row
from oneapi_mw.pricing.shipped import shipped_table
from tests.relay.stack import (
    COST,
    MODEL,
    PRICE,
    ScriptedUpstream,
    WatchedLedger,
    answer,
    ask,
    buffered,
    channel,
    gateway,
    streamed,
)
from tests.relay.test_fanout import PROMPTS
from tests.relay.test_fanout import ask as complete

FEE = 6_000
CARD: dict[str, Any] = {**PRICE, "usd_per_krequest": 12}


def at(number: int = 1) -> Any:
    return channel(number, model_configs={MODEL: CARD})


def recomputed(ledger: WatchedLedger) -> int:
    (entry,) = ledger.log
    row = dict(zip(FACT_COLUMNS, fact_row(entry.facts), strict=True))
    return recompute_row(row, orjson.loads(row["metadata"]), lambda _: decode_card(CARD))


@pytest.mark.parametrize("as_stream", [False, True], ids=["buffered", "streamed"])
@pytest.mark.parametrize("refusals", [0, 1])
async def test_one_answer_is_one_fee_however_often_it_was_tried(refusals: int, as_stream: bool) -> None:
    replies = [buffered(b"{}", status=500)] * refusals + [streamed() if as_stream else buffered()]
    upstream, ledger = ScriptedUpstream(*replies), WatchedLedger()
    app = gateway(upstream, ledger, channels=[at(1), at(2)], retries=1)
    assert (await ask(app, stream=as_stream)).status == 200
    assert await ledger.check() == COST + FEE == recomputed(ledger)
    assert COST + FEE <= ledger.hold.amount < COST + 2 * FEE


async def test_a_refusal_has_no_fee() -> None:
    upstream, ledger = ScriptedUpstream(buffered(b"{}", status=500)), WatchedLedger()
    assert (await ask(gateway(upstream, ledger, channels=[at()]))).status == 500
    assert await ledger.check() == 0


async def test_each_of_several_calls_has_its_fee() -> None:
    used = {"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 6}
    upstream = ScriptedUpstream(*(buffered(answer("hi", usage=used)) for _ in PROMPTS))
    ledger = WatchedLedger()
    assert (await complete(gateway(upstream, ledger, channels=[at()]))).status == 200
    assert await ledger.check() == len(PROMPTS) * (9 + FEE) == recomputed(ledger)
    assert ledger.hold.amount >= len(PROMPTS) * (9 + FEE)


async def test_who_cannot_pay_the_fee_is_not_served() -> None:
    upstream, ledger = ScriptedUpstream(buffered()), WatchedLedger(FEE)
    assert (await ask(gateway(upstream, ledger, channels=[at()]))).status == 403
    assert not upstream.requests


@pytest.mark.parametrize(
    ("model", "tokens", "fee"), [("sonar", (18 + 1) // 2, 6_000), ("sonar-pro", 69, 7_000)], ids=["sonar", "sonar-pro"]
)
@pytest.mark.parametrize("size", ["low", "high"])
async def test_a_shipped_fee_is_for_the_searches_of_the_request(model: str, tokens: int, fee: int, size: str) -> None:
    used = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18, "num_search_queries": 3}
    upstream, ledger = ScriptedUpstream(buffered(answer("hi", usage=used, model=model))), WatchedLedger()
    found = shipped_table().find(model, "")
    assert found is not None
    where = channel(models=(model,), model_configs={model: found.card}, base_url="https://api.perplexity.ai")
    app = gateway(upstream, ledger, channels=[where])
    told = await ask(app, model=model, web_search_options={"search_context_size": size})
    assert told.status == 200, told.body
    assert upstream.requests[0].body["web_search_options"] == {"search_context_size": size}
    assert await ledger.check() == tokens + fee <= ledger.hold.amount
    metadata: Any = ledger.log[0].facts.metadata
    assert "flags" not in metadata["price"]
