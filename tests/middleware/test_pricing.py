"""What the billing stages make of prices: holds, charges, and what the log keeps to work them out again."""

from __future__ import annotations

import logging
from dataclasses import replace
from decimal import Decimal
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Receive, Scope, Send

from oneapi_mw.canonical.call import CALL, Call
from oneapi_mw.errors import StoreUnavailable
from oneapi_mw.exchange import EXCHANGE, Attempt, Exchange
from oneapi_mw.ledger.rows import FACT_COLUMNS, fact_row
from oneapi_mw.middleware.precharge import PrechargeMiddleware, hold_amounts
from oneapi_mw.middleware.settlement import SettlementMiddleware
from oneapi_mw.pricing.card import decode_card
from oneapi_mw.pricing.charge import charge
from oneapi_mw.pricing.compile import compile_card
from oneapi_mw.pricing.price import CompiledPrice
from oneapi_mw.pricing.recompute import recompute
from oneapi_mw.principal import PRINCIPAL
from oneapi_mw.providers.catalogue import get_provider
from oneapi_mw.routing.plan import PLAN, Candidate, Plan
from oneapi_mw.store.memory import MemoryCards
from oneapi_mw.usage import Meter, Usage
from tests.relay.stack import WatchedLedger, channel, principal
from tests.support.harness import Client, http_scope

REQUEST = Call("chat", "openai_chat", "small", False, {}, b"{}", max_output=50, input_estimate=20)
NIGHT = 1_772_000_000.0  # 2026-02-25 06:13 UTC


def priced(**card: Any) -> CompiledPrice:
    return compile_card(decode_card(card), layer="provider")


def plan_of(*prices: CompiledPrice, group_ratio: int = 10**6) -> Plan:
    at = channel()
    provider = get_provider(at.type)
    assert provider is not None
    return Plan(tuple(Candidate.compiled(at, "m", price, provider) for price in prices), "default", group_ratio)


class Archive(MemoryCards):
    """Counts what it is asked to keep, and can be away."""

    def __init__(self, *, away: bool = False) -> None:
        super().__init__()
        self.away = away
        self.kept: list[str] = []

    async def keep(self, card_id: str, card: str) -> None:
        if self.away:
            raise StoreUnavailable("away")
        self.kept.append(card_id)
        await super().keep(card_id, card)


async def settled(
    plan: Plan, usage: Usage | None, *, call: Call = REQUEST, archive: Archive | None = None, candidate: int = 0
) -> WatchedLedger:
    """The ledger after one request that used `usage`."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        exchange = EXCHANGE.get(scope)
        exchange.attempts.append(
            Attempt(1, "c-1", "one", "m", "https://up", "openai_chat", dispatched=True, candidate=candidate)
        )
        exchange.usage, exchange.outcome = usage, "complete"
        await send({"type": "http.response.body", "body": b"b"})

    ledger, client = WatchedLedger(), Client()
    scope = EXCHANGE.put(PRINCIPAL.put(http_scope(), principal()), Exchange("req-1", started_at=NIGHT))
    scope = CALL.put(PLAN.put(scope, plan), call)
    app = PrechargeMiddleware(SettlementMiddleware(answer, ledger=ledger, cards=archive), ledger=ledger, cards=archive)
    await app(scope, client.receive, client.send)
    return ledger


def facts_of(ledger: WatchedLedger) -> dict[str, Any]:
    (entry,) = ledger.log
    metadata = fact_row(entry.facts)[FACT_COLUMNS.index("metadata")]  # as a log row has it
    stored: dict[str, Any] = orjson.loads(metadata)["price"]
    return stored


def row_of(ledger: WatchedLedger) -> dict[str, int]:
    facts = ledger.log[0].facts
    return {name: getattr(facts, name) for name in ("prompt_tokens", "completion_tokens", "cached_prompt_tokens")}


RICH = priced(
    input_usd_per_mtok=2,
    output_usd_per_mtok=8,
    cache_read_usd_per_mtok="0.5",
    input_audio_usd_per_mtok=40,
    usd_per_kpage=1,
    tools={"web_search": "0.01"},
    tiers=[{"input_tokens_from": 1000, "input_usd_per_mtok": 4}],
    time_windows=[{"name": "early", "ranges": [{"start": "06:00", "end": "07:00"}], "overlay": {"ratio": 3}}],
    variants={"priority": {"output_usd_per_mtok": 16}},
)


@pytest.mark.parametrize("archived", [True, False])
async def test_a_bill_can_be_worked_out_again_from_log_and_archive(archived: bool) -> None:
    archive = Archive(away=not archived)
    usage = Usage(
        5000, 70, cache_read=300, cache_write_5m=7, input_audio=40, hosted=(("web_search", 2),),
        meters=(Meter("pages", 3),), variant="priority",
    )  # fmt: skip
    ledger = await settled(plan_of(RICH, group_ratio=500_000), usage, archive=archive)
    facts = facts_of(ledger)
    assert (facts["window"], facts["variant"], facts["tier"], facts["group_ratio"]) == ("early", "priority", 1, 500_000)
    assert ("card" in facts) is not archived
    card = await archive.find(facts["card_id"]) if archived else facts["card"]
    assert recompute(row_of(ledger), facts, orjson.loads(card or "")) == ledger.log[0].quota > 10_000


async def test_cards_are_kept_before_anything_is_held_and_once() -> None:
    archive, other = Archive(), priced(input_usd_per_mtok=1)
    for _ in range(2):
        await settled(plan_of(RICH, other), Usage(1, 1), archive=archive)
    assert archive.kept == [RICH.card_id, other.card_id]
    assert orjson.loads(await archive.find(RICH.card_id) or "") == orjson.loads(RICH.card)


async def test_without_an_archive_the_log_keeps_the_card() -> None:
    ledger = await settled(plan_of(RICH), Usage(1, 1))
    assert facts_of(ledger)["card"] == RICH.card


async def test_the_attempt_that_served_decides() -> None:
    ledger = await settled(plan_of(priced(ratio=5), priced(ratio=1)), Usage(10, 10), candidate=1)
    assert ledger.log[0].quota == 20


@pytest.mark.parametrize(
    "plan", [plan_of(priced(input_usd_per_mtok=0)), plan_of(priced(ratio=1), group_ratio=0)], ids=["model", "group"]
)
async def test_i_16_what_is_free_is_held_logged_and_counted(plan: Plan) -> None:
    ledger = await settled(plan, Usage(1000, 1000, hosted=()))
    assert ledger.hold.amount == 0
    assert ledger.hold.state == "settled"
    assert [entry.quota for entry in ledger.log] == [0]
    assert (await ledger.user_balance(1)).request_count == 1


async def test_i_20_what_the_card_lacks_is_told(caplog: pytest.LogCaptureFixture) -> None:
    usage = Usage(1, 1, hosted=(("web_search", 1),), meters=(Meter("images", 1),))
    with caplog.at_level(logging.WARNING, "oneapi_mw.billing"):
        ledger = await settled(plan_of(priced(ratio=1)), usage)
    assert facts_of(ledger)["flags"] == ["unpriced_meter:images", "unpriced_tool:web_search"]
    assert "unpriced_tool:web_search" in caplog.text


async def test_i_20_an_answer_without_usage_is_charged() -> None:
    ledger = await settled(plan_of(priced(ratio=1)), None)
    assert ledger.log[0].quota == 20
    assert (ledger.log[0].facts.metadata or {})["usage_source"] == "estimated"


PER_REQUEST = priced(ratio=1, usd_per_krequest=12)


@pytest.mark.parametrize("usage", [Usage(10, 10), Usage(0, 0), Usage(10, 10, meters=(Meter("requests", 1),)), None])
async def test_a_fee_per_request_is_charged_once_and_explained(usage: Usage | None) -> None:
    ledger = await settled(plan_of(PER_REQUEST, group_ratio=500_000), usage)
    facts = facts_of(ledger)
    assert facts["parts"]["media"] == 3_000
    assert facts["usage"]["meters"] == [["requests", 1, "", ""]]
    assert ledger.log[0].quota == 3_000 + facts["parts"]["tokens"]
    assert recompute(row_of(ledger), facts, orjson.loads(facts["card"])) == ledger.log[0].quota


async def test_a_request_without_a_fee_is_no_reading() -> None:
    facts = facts_of(await settled(plan_of(priced(ratio=1, usd_per_kpage=1)), Usage(10, 10)))
    assert "usage" not in facts


# Holds.


def held(price: CompiledPrice, **changes: Any) -> int:
    return hold_amounts(replace(REQUEST, **changes), plan_of(price), instant_ms=int(NIGHT * 1000))[0]


def test_i_19_the_hold_is_for_the_price_at_the_start() -> None:
    price = priced(ratio=1, time_windows=[{"date_from": "2026-01-01", "overlay": {"ratio": 3}}])
    assert held(price) == 3 * 70


def test_i_19_the_hold_is_for_the_dearest_service_asked_for() -> None:
    price = priced(input_usd_per_mtok=2, variants={"priority": {"input_usd_per_mtok": 4, "output_usd_per_mtok": 4}})
    assert held(price) == 70
    assert held(price, body={"service_tier": "priority"}) == 140
    assert held(price, body={"service_tier": "auto"}) == 140


def test_i_19_the_hold_is_for_the_tools_that_are_declared() -> None:
    price = priced(ratio=1, tools={"web_search": "0.01"})
    tool = {"type": "web_search_20250305", "name": "web_search", "max_uses": 3}
    assert held(price, body={"tools": [tool, {"type": "mcp"}]}) == 70 + 15_000
    assert held(price, body={"web_search_options": {}}) == 70 + 5_000
    later = {"type": "additional_tools", "role": "developer", "tools": [{"type": "web_search"}]}
    assert held(price, body={"input": [later]}) == 70 + 5_000


def test_i_19_the_hold_is_for_the_request_too() -> None:
    assert held(PER_REQUEST) == 6_000 + 70
    assert hold_amounts(REQUEST, plan_of(PER_REQUEST)) == (6_000 + 70, 6_000 + 20)


@pytest.mark.parametrize(
    ("raw", "hold"), [(b"{}", 70), (b'{"type": "input_audio"}', 20 * 10 + 50), (None, 20 * 10 + 50)]
)
def test_i_19_input_that_may_be_dearer_than_text(raw: bytes | None, hold: int) -> None:
    assert held(priced(input_usd_per_mtok=2, input_audio_usd_per_mtok=20), raw=raw) == hold


CANDIDATE = st.tuples(st.integers(0, 10**7), st.integers(0, 10**7), st.none() | st.integers(0, 3 * 10**6))
"""Prices of tokens in and out in US dollars per million times 1000, and the ratio of its channel."""


@given(st.lists(CANDIDATE, min_size=1, max_size=4), st.integers(0, 3 * 10**6), st.integers(0, 20), st.integers(0, 50))
def test_i_19_the_hold_covers_whichever_channel_answers(
    candidates: list[tuple[int, int, int | None]], group_ratio: int, read: int, written: int
) -> None:
    """Whether the group decides the ratio or each channel does."""
    prices = [
        priced(input_usd_per_mtok=str(Decimal(usd_in) / 1000), output_usd_per_mtok=str(Decimal(usd_out) / 1000))
        for usd_in, usd_out, _ in candidates
    ]
    plan = plan_of(*prices, group_ratio=group_ratio)
    own = [replace(each, group_ratio=ratio) for each, (_, _, ratio) in zip(plan.candidates, candidates, strict=True)]
    plan = replace(plan, candidates=tuple(own))
    amount, fallback = hold_amounts(REQUEST, plan)
    assert fallback <= amount
    for each in plan.candidates:
        assert charge(Usage(read, written), each.price, group_ratio=plan.ratio_of(each)) <= amount


def test_the_longest_answer_of_the_card_bounds_the_hold() -> None:
    assert held(priced(ratio=1, max_tokens=100), max_output=None) == 120
    assert held(priced(ratio=1, max_tokens=100_000), max_output=None) == 20 + 4096
