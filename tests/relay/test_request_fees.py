"""A fee per request, through the whole stack: one for each upstream call that is charged."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from oneapi_mw.ledger.rows import FACT_COLUMNS, fact_row
from oneapi_mw.pricing.card import decode_card
from oneapi_mw.pricing.recompute import recompute_row
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
