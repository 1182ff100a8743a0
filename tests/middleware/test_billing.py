"""Route, precharge and settlement by themselves: what each hands on, and what it leaves alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from oneapi_mw.canonical.call import CALL, Call
from oneapi_mw.errors import GatewayError, NoChannelAvailable
from oneapi_mw.exchange import EXCHANGE, Attempt, Exchange
from oneapi_mw.ledger.base import Denied
from oneapi_mw.ledger.hold import HOLD, Hold
from oneapi_mw.ledger.limits import MAX_QUOTA
from oneapi_mw.middleware.charges import Charged
from oneapi_mw.middleware.consumption import describe_price, log_facts
from oneapi_mw.middleware.precharge import UNKNOWN_OUTPUT_TOKENS, PrechargeMiddleware, hold_amounts, refusal
from oneapi_mw.middleware.route import RouteMiddleware
from oneapi_mw.middleware.settlement import SettlementMiddleware
from oneapi_mw.pricing.charge import bill
from oneapi_mw.pricing.price import SCALE, CompiledPrice
from oneapi_mw.principal import PRINCIPAL, Principal
from oneapi_mw.providers.catalogue import get_provider
from oneapi_mw.routing.channel import Channel
from oneapi_mw.routing.plan import PLAN, Candidate, Plan
from oneapi_mw.scope import MissingStage
from oneapi_mw.usage import Usage
from tests.relay.stack import WatchedLedger, channel, principal
from tests.support.harness import Client, http_scope

PRICE = CompiledPrice("card", "channel", SCALE, 4 * SCALE, SCALE // 10, SCALE, SCALE, max_output=1000)
DEAR = replace(PRICE, input=10 * SCALE, output=40 * SCALE)


def candidate(at: Channel, model: str, price: CompiledPrice) -> Candidate:
    provider = get_provider(at.type)
    assert provider is not None
    return Candidate.compiled(at, model, price, provider)


PLAN_OF_TWO = Plan((candidate(channel(1), "a", PRICE), candidate(channel(2), "b", DEAR)), "default", 10**6)
REQUEST = Call("chat", "openai_chat", "small", False, {}, b"{}", max_output=50, input_estimate=20)


class Inner:
    def __init__(self, error: BaseException | None = None) -> None:
        self.scope: Scope = {}
        self.error = error

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        if self.error is not None:
            raise self.error


def scope_with(call: Call | None = REQUEST, who: Principal | None = None) -> Scope:
    scope = EXCHANGE.put(PRINCIPAL.put(http_scope(), who or principal()), Exchange("req-1"))
    return scope if call is None else CALL.put(PLAN.put(scope, PLAN_OF_TWO), call)


async def run(app: Any, scope: Scope) -> None:
    client = Client()
    await app(scope, client.receive, client.send)


# Route.


class Fixed:
    def __init__(self) -> None:
        self.asked: list[tuple[Principal, Call]] = []

    def plan(self, principal: Principal, call: Call) -> Plan:
        self.asked.append((principal, call))
        return PLAN_OF_TWO


@pytest.mark.parametrize("models", [None, frozenset({"small"})])
async def test_a_plan_is_made(models: frozenset[str] | None) -> None:
    inner, router, who = Inner(), Fixed(), principal(models=models)
    await run(RouteMiddleware(inner, router=router), scope_with(who=who))
    assert PLAN.get(inner.scope) is PLAN_OF_TWO
    assert router.asked == [(who, REQUEST)]


@pytest.mark.parametrize("models", [frozenset[str](), frozenset({"Small"}), frozenset({"small "})])
async def test_a_model_the_key_may_not_use(models: frozenset[str]) -> None:
    router = Fixed()
    with pytest.raises(GatewayError, match="permission to use the model: small") as caught:
        await run(RouteMiddleware(Inner(), router=router), scope_with(who=principal(models=models)))
    assert (caught.value.status, caught.value.code, caught.value.param) == (403, "model_not_allowed", "model")
    assert router.asked == []


# Precharge.


@pytest.mark.parametrize(
    ("changes", "amount"),
    [
        ({}, 20 * 10 + 50 * 40),
        ({"max_output": None}, 20 * 10 + 1000 * 40),
        ({"max_output": None, "candidates": 3}, 20 * 10 + 3000 * 40),
        ({"max_output": 10**15}, MAX_QUOTA),
    ],
)
def test_the_hold_is_for_the_dearest_candidate(changes: dict[str, Any], amount: int) -> None:
    assert hold_amounts(replace(REQUEST, **changes), PLAN_OF_TWO) == (amount, 20)


def test_models_without_a_known_limit() -> None:
    plan = Plan((candidate(channel(), "a", replace(PRICE, max_output=0)),), "default", 10**6)
    assert hold_amounts(replace(REQUEST, max_output=None), plan) == (20 + 4 * UNKNOWN_OUTPUT_TOKENS, 20)


async def test_the_hold_is_made_and_given_back() -> None:
    inner, ledger = Inner(), WatchedLedger()
    await run(PrechargeMiddleware(inner, ledger=ledger), scope_with())
    assert HOLD.get(inner.scope) == Hold("req-1", 2200, closed=True)
    assert await ledger.check() == 0
    request = ledger.hold.request
    assert (request.key, request.card_id, request.fallback, request.group_ratio) == ("req-1", "card", 20, 10**6)
    assert request.log["origin_model_name"] == "small"
    assert request.log["channel_id"] == 1


async def test_the_hold_is_given_back_after_an_error() -> None:
    ledger = WatchedLedger()
    with pytest.raises(NoChannelAvailable):
        await run(PrechargeMiddleware(Inner(NoChannelAvailable("none")), ledger=ledger), scope_with())
    assert await ledger.check() == 0


@pytest.mark.parametrize(
    ("denied", "status", "code"),
    [
        (Denied("user_quota", 5), 403, "insufficient_user_quota"),
        (Denied("token_quota", 5), 403, "pre_consume_token_quota_failed"),
        (Denied("token_quota", 0), 401, "token_exhausted"),
        (Denied("state"), 401, "invalid_api_key"),
    ],
)
async def test_what_a_denied_hold_is_answered_with(denied: Denied, status: int, code: str) -> None:
    class Strict(WatchedLedger):
        async def reserve(self, request: Any) -> Denied:
            return denied

    inner = Inner()
    with pytest.raises(GatewayError) as caught:
        await run(PrechargeMiddleware(inner, ledger=Strict()), scope_with())
    assert (caught.value.status, caught.value.code) == (status, code)
    assert inner.scope == {}
    assert str(refusal(denied, principal())) == str(caught.value)


async def test_a_ledger_must_be_passed_what_it_needs() -> None:
    with pytest.raises(MissingStage, match=r"oneapi_mw\.plan"):
        await run(PrechargeMiddleware(Inner(), ledger=WatchedLedger()), CALL.put(scope_with(None), REQUEST))


# Settlement.


async def test_without_a_request_to_a_model_nothing_is_billed() -> None:
    for stage in (
        lambda app: RouteMiddleware(app, router=Fixed()),
        lambda app: PrechargeMiddleware(app, ledger=WatchedLedger()),
        lambda app: SettlementMiddleware(app, ledger=WatchedLedger()),
    ):
        inner = Inner()
        scope = scope_with(None)
        await run(stage(inner), scope)
        assert inner.scope is scope


async def test_bytes_of_a_foreign_app_are_charged_by_what_the_exchange_says() -> None:
    ledger = WatchedLedger()
    seen: list[bool] = []

    async def foreign(scope: Scope, receive: Receive, send: Send) -> None:
        exchange = EXCHANGE.get(scope)
        exchange.attempts.append(Attempt(2, "c-2", "two", "b", "url", "openai_chat", dispatched=True, candidate=1))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"a", "more_body": True})
        seen.append(HOLD.get(scope).closed)
        exchange.usage, exchange.outcome = Usage(7, 3), "complete"
        await send({"type": "http.response.body", "body": b"b"})
        seen.append(HOLD.get(scope).closed)

    scope = scope_with()
    await run(PrechargeMiddleware(SettlementMiddleware(foreign, ledger=ledger), ledger=ledger), scope)
    assert seen == [False, True]
    assert await ledger.check() == 7 * 10 + 3 * 40
    assert EXCHANGE.get(scope).charged == 190


def test_the_log_row() -> None:
    exchange = Exchange("req-1", outcome="client_gone")
    exchange.attempts.append(Attempt(2, "c-2", "two", "b", "https://up/v1", "openai_chat", candidate=1))
    usage = Usage(100, 30, cache_read=40, cache_write_5m=5, cache_write_1h=6, source="mixed")
    charged = Charged(exchange.attempts[0], usage, DEAR, 1_000_000, bill(usage, DEAR))
    facts = log_facts(exchange, REQUEST, PLAN_OF_TWO, principal(), [charged], archived=lambda _: True)
    assert (facts.channel_id, facts.channel_uuid, facts.model_name, facts.origin_model_name) == (2, "c-2", "b", "small")
    assert (facts.prompt_tokens, facts.completion_tokens, facts.cached_prompt_tokens) == (100, 30, 40)
    assert facts.metadata == {
        "user_api_format": "openai_chat",
        "upstream_api_format": "openai_chat",
        "upstream_endpoint": "https://up/v1",
        "cache_write_tokens": {"ephemeral_5m": 5, "ephemeral_1h": 6},
        "usage_source": "mixed",
        "outcome": "client_gone",
        "price": {"card_id": "card", "layer": "channel", "usage": {"cache_write_5m": 5, "cache_write_1h": 6}},
    }


def test_prices_in_words() -> None:
    words = describe_price(PRICE, Usage(10, 3, cache_read=4), group_ratio=500_000)
    assert words.startswith("model rate 1.00, group rate 0.50, completion rate 4.00, cached_prompt 4,")
    assert "completion rate 0.00" in describe_price(replace(PRICE, input=0), Usage(), group_ratio=10**6)
