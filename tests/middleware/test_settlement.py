"""A settlement that is disturbed, or told nonsense: whatever happens to it, the answer is paid for."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from oneapi_mw.canonical.call import Call
from oneapi_mw.exchange import EXCHANGE, Attempt
from oneapi_mw.middleware.drain import Drain
from oneapi_mw.middleware.precharge import PrechargeMiddleware
from oneapi_mw.middleware.settlement import SettlementMiddleware
from oneapi_mw.pricing.price import SCALE
from oneapi_mw.relay import watch as watch_module
from oneapi_mw.routing.plan import PLAN
from oneapi_mw.routing.terms import TERMS, BillingTerms
from oneapi_mw.usage import Usage
from tests.middleware.test_billing import PLAN_OF_TWO, run, scope_with
from tests.relay.stack import (
    Gate,
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

PROMPT, HUNDRED = 10, "x" * 350  # estimated as a hundred tokens
ESTIMATED = PROMPT + 4 * 100
UNTOLD = stream(HUNDRED, usage=None)


class Hindered:
    """A counter that waits at `gate`, or raises."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.gate = Gate()
        if error is None:
            return
        self.gate.fail(error)  # type: ignore[arg-type]  # a panic in native code is no Exception

    async def count_text(self, text: str, model: str) -> int:
        await self.gate.wait()
        return 70

    async def count_call(self, call: Call, model: str) -> int:
        await self.gate.wait()
        return 5


class Panic(BaseException):
    """As faults of native code come."""


@pytest.mark.parametrize("as_stream", [False, True])
@pytest.mark.parametrize("error", [RuntimeError("boom"), OSError("gone"), MemoryError()], ids=repr)
async def test_a_counter_that_fails_makes_nothing_free(
    error: Exception, as_stream: bool, caplog: pytest.LogCaptureFixture
) -> None:
    reply = streamed(*UNTOLD) if as_stream else buffered(answer(HUNDRED, usage=None))
    ledger = WatchedLedger()
    exchanged = await ask(gateway(ScriptedUpstream(reply), ledger, counter=Hindered(error)), stream=as_stream)
    assert exchanged.status == 200
    assert exchanged.ended
    assert await ledger.check() == ESTIMATED
    assert "could not be counted" in caplog.text


async def test_a_counter_that_panics_makes_nothing_free() -> None:
    ledger = WatchedLedger()
    with pytest.raises(Panic):
        await ask(gateway(ScriptedUpstream(streamed(*UNTOLD)), ledger, counter=Hindered(Panic())), stream=True)
    assert await ledger.check() == ESTIMATED


@pytest.mark.parametrize("times", [1, 2, 3])
@pytest.mark.parametrize("as_stream", [False, True])
async def test_a_count_that_is_cancelled_makes_nothing_free(as_stream: bool, times: int) -> None:
    reply = streamed(*UNTOLD) if as_stream else buffered(answer(HUNDRED, usage=None))
    ledger, counter = WatchedLedger(), Hindered()
    asking = begin(gateway(ScriptedUpstream(reply), ledger, counter=counter), stream=as_stream)
    await counter.gate.reached.wait()
    for _ in range(times):
        asking.task.cancel()
        await asyncio.sleep(0)
    await asking.end()
    assert asking.task.cancelled()
    assert await ledger.check() == ESTIMATED


async def test_a_drain_that_cuts_a_count_makes_nothing_free(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a rest that is read for a client that has left: nobody else would ever end its hold."""
    monkeypatch.setattr(watch_module, "GRACE", 0)
    ledger, counter, drain, gate = WatchedLedger(), Hindered(), Drain(), Gate()
    made = channel(config={"bills_after_disconnect": True})
    upstream = ScriptedUpstream(streamed(*UNTOLD[:1], gate, *UNTOLD[1:]))
    asking = begin(gateway(upstream, ledger, counter=counter, drain=drain, channels=[made]), stream=True)
    await gate.reached.wait()
    asking.client.leave()
    await asking.end()
    gate.open()
    await counter.gate.reached.wait()
    drain.cut()
    assert await drain.finish(60)
    assert await ledger.check() == ESTIMATED


# Holds that are raised, and such as are charged whole. The hold is for 20 tokens read and 50 written, at one unit each.

PLAIN = replace(PLAN_OF_TWO.candidates[0].price, output=SCALE)
HOLD = 20 + 50


def scope_of(terms: BillingTerms = TERMS) -> Scope:
    only = replace(PLAN_OF_TWO.candidates[0], price=PLAIN, terms=terms)
    return PLAN.put(scope_with(), replace(PLAN_OF_TWO, candidates=(only,)))


@pytest.mark.parametrize(
    ("cost", "raised"), [(2, 0), (HOLD * 4 // 5 - 1, 0), (HOLD * 4 // 5, 0), (HOLD * 4 // 5 + 1, 57), (HOLD, HOLD)]
)
async def test_a_hold_is_raised_once_four_fifths_of_it_are_used(cost: int, raised: int) -> None:
    """By what the answer has cost so far, which is noted as well, should this process crash."""
    seen: list[tuple[int, int]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        exchange = EXCHANGE.get(scope)
        exchange.attempts.append(Attempt(1, "c-1", "one", "a", "url", "openai_chat", dispatched=True))
        exchange.usage, exchange.produced.text_bytes = Usage(cost - 1, 1), 1
        await send({"type": "http.response.body", "body": b"a", "more_body": True})
        seen.append((ledger.hold.amount, ledger.hold.mark))
        exchange.outcome = "complete"
        await send({"type": "http.response.body", "body": b"b"})

    ledger = WatchedLedger()
    await run(PrechargeMiddleware(SettlementMiddleware(app, ledger=ledger), ledger=ledger), scope_of())
    assert seen == [(HOLD + raised, raised or -1)]  # -1: nothing noted
    assert await ledger.check() == cost


@pytest.mark.parametrize(
    ("attempt", "usage", "terms", "charged", "flags"),
    [
        ({"goes_on": True}, None, TERMS, HOLD, ["background"]),
        ({"goes_on": True}, Usage(10, 10), TERMS, HOLD, ["background"]),
        ({"goes_on": True}, Usage(60, 40), TERMS, 100, ["background"]),
        ({"error": "reset"}, None, BillingTerms(ambiguous="hold"), HOLD, ["ambiguous:hold"]),
        ({"error": "reset"}, None, BillingTerms(ambiguous="prompt_cost"), 20, ["ambiguous:prompt_cost"]),
        ({"status": 200}, Usage(10, 10), BillingTerms(ambiguous="hold"), 20, []),
    ],
    ids=["untold", "less", "more", "hold", "prompt", "known"],
)
async def test_at_least_the_hold_is_charged_where_nobody_knows_more(
    attempt: Any, usage: Usage | None, terms: BillingTerms, charged: int, flags: list[str]
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        exchange = EXCHANGE.get(scope)
        exchange.attempts.append(Attempt(1, "c-1", "one", "a", "url", "openai_chat", dispatched=True, **attempt))
        exchange.usage, exchange.outcome = usage, "failed"

    ledger = WatchedLedger()
    await run(PrechargeMiddleware(SettlementMiddleware(app, ledger=ledger), ledger=ledger), scope_of(terms))
    assert ledger.hold.request.amount == HOLD
    assert await ledger.check() == charged
    metadata: Any = ledger.log[0].facts.metadata
    assert metadata["price"].get("flags", []) == flags


# Nonsense from a stage inside.


@pytest.mark.parametrize(
    ("usage", "candidate", "price"),
    [
        (Usage(-5, 3), 0, SCALE),
        (Usage(5, -3), 0, SCALE),
        (Usage(2_000_000, 3), 0, SCALE * 10**10),
        (Usage(5, 3), 7, SCALE),
    ],
    ids=["negative-input", "negative-output", "overflow", "no-such-candidate"],
)
async def test_nonsense_is_charged_what_was_set_aside(
    usage: Usage, candidate: int, price: int, caplog: pytest.LogCaptureFixture
) -> None:
    async def foreign(scope: Scope, receive: Receive, send: Send) -> None:
        exchange = EXCHANGE.get(scope)
        attempt = Attempt(1, "c-1", "one", "a", "url", "openai_chat", dispatched=True, candidate=candidate)
        exchange.attempts.append(attempt)
        exchange.usage, exchange.outcome = usage, "complete"
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"a"})

    first = PLAN_OF_TWO.candidates[0]
    dear = replace(PLAN_OF_TWO, candidates=(replace(first, price=replace(first.price, input=price)),))
    ledger, scope = WatchedLedger(10**15), PLAN.put(scope_with(), dear)
    await run(PrechargeMiddleware(SettlementMiddleware(foreign, ledger=ledger), ledger=ledger), scope)
    assert await ledger.check() == ledger.hold.request.amount
    metadata: Any = ledger.log[0].facts.metadata
    assert metadata["price"]["flags"] == ["hold_charged"]
    assert "hold is charged" in caplog.text


async def test_nonsense_of_what_never_was_sent_costs_nothing() -> None:
    async def foreign(scope: Scope, receive: Receive, send: Send) -> None:
        exchange = EXCHANGE.get(scope)
        exchange.attempts.append(Attempt(1, "c-1", "one", "a", "url", "openai_chat"))
        exchange.usage = Usage(-5, -3)
        raise OSError("gone")

    ledger = WatchedLedger()
    with pytest.raises(OSError, match="gone"):
        await run(PrechargeMiddleware(SettlementMiddleware(foreign, ledger=ledger), ledger=ledger), scope_with())
    assert await ledger.check() == 0
