"""The worked examples of whole requests, E-23 to E-28: what is set aside, charged and given back."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from starlette.types import Receive, Scope, Send

from oneapi_mw.canonical.call import CALL, Call
from oneapi_mw.errors import InsufficientUserQuota
from oneapi_mw.exchange import EXCHANGE, Attempt, Exchange
from oneapi_mw.middleware.drain import Drain
from oneapi_mw.middleware.precharge import PrechargeMiddleware
from oneapi_mw.middleware.remainders import RemainderTasks
from oneapi_mw.middleware.settlement import SettlementMiddleware
from oneapi_mw.pricing.card import decode_card
from oneapi_mw.pricing.compile import compile_card
from oneapi_mw.principal import PRINCIPAL
from oneapi_mw.providers.catalogue import get_provider
from oneapi_mw.routing.plan import PLAN, Candidate, Plan
from oneapi_mw.usage import Usage
from oneapi_mw.wire.openai_chat import FORMAT as CHAT
from tests.ledger.bank import Bank, findings, open_bank, reserve
from tests.relay.stack import ScriptedUpstream, WatchedLedger, answer, ask, body, buffered, channel, gateway, principal
from tests.support.harness import Client, http_scope

GPT_4O = {"input_usd_per_mtok": "2.5", "output_usd_per_mtok": 10}
REQUEST = Call("chat", "openai_chat", "gpt-4o", True, {}, b"{}", max_output=2000, input_estimate=1500)
TOKENS_137 = 479  # text bytes that are counted as so many tokens


def stages(inner: Any, ledger: WatchedLedger, **settlement: Any) -> PrechargeMiddleware:
    return PrechargeMiddleware(SettlementMiddleware(inner, ledger=ledger, **settlement), ledger=ledger)


def scope_of(request: Call, number: int = 1) -> Scope:
    made = channel()
    provider = get_provider(made.type)
    assert provider is not None
    price = compile_card(decode_card(GPT_4O), layer="x")
    plan = Plan((Candidate.compiled(made, "gpt-4o", price, provider),), "default", 10**6)
    scope = EXCHANGE.put(PRINCIPAL.put(http_scope(), principal()), Exchange(f"req-{number}"))
    return CALL.put(PLAN.put(scope, plan), request)


async def served(inner: Any, ledger: WatchedLedger, request: Call = REQUEST, **settlement: Any) -> None:
    client = Client()
    await stages(inner, ledger, **settlement)(scope_of(request), client.receive, client.send)


def attempt(**fields: Any) -> Attempt:
    return Attempt(1, "c-1", "one", "gpt-4o", "https://up", "openai_chat", dispatched=True, status=200, **fields)


def answers(usage: Usage) -> Any:
    """An upstream that reports `usage`."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        exchange = EXCHANGE.get(scope)
        exchange.attempts.append(attempt())
        exchange.usage, exchange.outcome = usage, "complete"
        await send({"type": "http.response.body", "body": b"end"})

    return app


async def test_e_23a_aborted_after_137_tokens() -> None:
    async def aborted(scope: Scope, receive: Receive, send: Send) -> None:
        exchange = EXCHANGE.get(scope)
        exchange.attempts.append(attempt())
        exchange.usage, exchange.produced.text_bytes = Usage(1000, 1), TOKENS_137
        exchange.outcome = "client_gone"

    ledger = WatchedLedger()
    await served(aborted, ledger)
    assert ledger.hold.amount == 11_875
    assert await ledger.check() == 1_935
    assert ledger.hold.amount - ledger.hold.final == 9_940


async def test_e_23b_aborted_and_read_to_the_final_usage() -> None:
    async def outliving(scope: Scope, receive: Receive, send: Send) -> None:
        exchange = EXCHANGE.get(scope)
        exchange.attempts.append(attempt())
        exchange.usage, exchange.produced.text_bytes = Usage(1000, 1), TOKENS_137
        exchange.outcome = "client_gone"

        async def rest() -> None:
            exchange.usage, exchange.attempts[-1].whole = Usage(1000, 900), True

        exchange.unfinished.append(rest)

    ledger, drain = WatchedLedger(), Drain()
    await served(outliving, ledger, remainders=RemainderTasks(drain=drain))
    assert ledger.hold.state == "open"
    assert await drain.finish(60)
    assert await ledger.check() == 5_750
    assert ledger.hold.amount - ledger.hold.final == 6_125


async def test_e_24_more_than_was_set_aside() -> None:
    ledger = WatchedLedger()
    await served(answers(Usage(1000, 1500)), ledger, replace(REQUEST, max_output=0))
    assert ledger.hold.amount == 1_875
    assert await ledger.check() == 8_750 == 1_875 + 6_875


async def test_e_25_an_unlimited_token_counts_what_it_used() -> None:
    ledger = WatchedLedger(10_000_000)
    await served(answers(Usage(1000, 500)), ledger)
    user, token = await ledger.user_balance(1), await ledger.token_balance(1)
    assert (user.quota, user.used_quota) == (10_000_000 - 3_750, 3_750)
    assert (token.quota, token.used_quota) == (0, 3_750)


async def test_e_26_a_retry_on_a_dearer_channel() -> None:
    dearer = {"input_usd_per_mtok": 3, "output_usd_per_mtok": 12}
    usage = {"prompt_tokens": 1000, "completion_tokens": 500, "total_tokens": 1500}
    upstream = ScriptedUpstream(buffered(b"{}", status=503), buffered(answer(usage=usage)))
    ledger = WatchedLedger()
    channels = [channel(1, model_configs={"small": GPT_4O}), channel(2, model_configs={"small": dearer})]
    # text for an estimate of exactly 1500 tokens
    fields: dict[str, Any] = {"messages": [{"role": "user", "content": ""}], "max_tokens": 2000}
    empty = CHAT.decode_call(orjson.dumps(body(**fields)), operation="chat").input_estimate
    fields["messages"][0]["content"] = "x" * (3 * (1500 - empty))
    assert CHAT.decode_call(orjson.dumps(body(**fields)), operation="chat").input_estimate == 1500
    exchanged = await ask(gateway(upstream, ledger, channels=channels, retries=1), **fields)
    assert exchanged.status == 200
    assert ledger.hold.amount == 14_250
    assert await ledger.check() == 4_500
    assert ledger.log[0].facts.channel_id == 2


async def test_e_27_a_thousand_at_once_on_a_balance_for_114() -> None:
    admitted, denied = asyncio.Semaphore(0), 0
    gate = asyncio.Event()

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        admitted.release()
        await gate.wait()
        await answers(Usage(1000, 1500))(scope, receive, send)

    async def one(number: int) -> None:
        nonlocal denied
        client = Client()
        try:
            await stages(slow, ledger)(scope_of(request, number), client.receive, client.send)
        except InsufficientUserQuota:
            denied += 1
            if denied == 1000 - 114:
                gate.set()

    ledger = WatchedLedger(1_000_000)
    request = replace(REQUEST, max_output=1500, input_estimate=1000)
    await asyncio.gather(*(one(number) for number in range(1000)))
    assert denied == 1000 - 114
    assert [hold.request.amount for hold in ledger.holds.values()] == [8_750] * 114
    balance = await ledger.user_balance(1)
    assert (balance.quota, balance.used_quota) == (1_000_000 - 114 * 8_750, 114 * 8_750)
    assert list(await ledger.audit()) == []


@pytest.mark.parametrize("mark", [1_935, 0])
async def test_e_28_a_worker_is_killed(mark: int, tmp_path: Path) -> None:
    """With a mark, at the mark; without, at the price of the prompt."""
    async with open_bank("sqlite", tmp_path) as bank:
        assert isinstance(bank, Bank)
        user = await bank.user(100_000)
        ledger = await bank.ledger("killed")
        request = reserve(user, await bank.token(user), 11_875, fallback=1_250, log={"model_name": "gpt-4o"})
        await ledger.reserve(request)
        if mark:
            await ledger.extend(request.key, 0, mark=mark)
        await bank.crash(ledger)
        other = await bank.ledger("other")
        await bank.age_leases()
        assert await other.sweep() == 1
        (hold,) = await bank.rows("SELECT final FROM billing_holds")
        assert hold["final"] == (mark or 1_250)
        assert (await other.user_balance(user)).quota == 100_000 - (mark or 1_250)
        (row,) = await bank.rows("SELECT quota, metadata FROM logs")
        assert row["quota"] == (mark or 1_250)
        assert "estimated" in row["metadata"]
        assert await findings(other) == []
