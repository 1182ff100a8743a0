"""A balance that is short lowers the output limit of a request, where the operator wants that."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from starlette.types import Receive, Scope, Send

from oneapi_mw.canonical.call import CALL, Call, Outside
from oneapi_mw.errors import GatewayError, InsufficientTokenQuota, InsufficientUserQuota
from oneapi_mw.exchange import EXCHANGE
from oneapi_mw.ledger.base import Denied, Held, Reserve
from oneapi_mw.ledger.hold import HOLD
from oneapi_mw.middleware.precharge import PrechargeMiddleware, affordable, hold_amounts
from oneapi_mw.wire.registry import get_format
from tests.middleware.test_billing import PLAN_OF_TWO, Inner, run, scope_with
from tests.relay.stack import ScriptedUpstream, WatchedLedger, ask, body, buffered, gateway
from tests.relay.stack import answer as an_answer

TURN = [{"role": "user", "content": "hi"}]
CHAT: dict[str, Any] = {"model": "m", "messages": TURN}
GEMINI: dict[str, Any] = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
THINKS = {"type": "enabled", "budget_tokens": 1024}


def call(name: str, body: dict[str, Any]) -> Call:
    operation = "completions" if name == "openai_completions" else "chat"
    outside = Outside("/v1beta/models/m:generateContent") if name == "gemini" else Outside()
    return get_format(name).decode_call(orjson.dumps(body), operation=operation, outside=outside)


@pytest.mark.parametrize(
    ("name", "given", "total", "changed"),
    [
        ("openai_chat", {**CHAT, "max_tokens": 500}, 70, {"max_tokens": 70}),
        ("openai_chat", {**CHAT, "max_completion_tokens": 500, "x": 1}, 70, {"max_completion_tokens": 70}),
        ("openai_chat", {**CHAT, "max_tokens": 9, "max_completion_tokens": 500}, 70, {"max_tokens": 70, "max_completion_tokens": 70}),  # noqa: E501
        ("openai_chat", CHAT, 70, {"max_tokens": 70}),
        ("openai_chat", {**CHAT, "n": 3, "max_tokens": 500}, 70, {"max_tokens": 23}),
        ("openai_chat", {**CHAT, "n": 3, "max_tokens": 500}, 2, None),
        ("openai_completions", {"model": "m", "prompt": ["a", "b"], "max_tokens": 500}, 71, {"max_tokens": 35}),
        ("openai_completions", {"model": "m", "prompt": "a", "best_of": 7}, 70, {"max_tokens": 10}),
        ("openai_responses", {"model": "m", "input": "hi", "max_output_tokens": 500}, 70, {"max_output_tokens": 70}),
        ("openai_responses", {"model": "m", "input": "hi"}, 16, {"max_output_tokens": 16}),
        ("openai_responses", {"model": "m", "input": "hi"}, 15, None),
        ("anthropic_messages", {**CHAT, "max_tokens": 500}, 70, {"max_tokens": 70}),
        ("anthropic_messages", {**CHAT, "max_tokens": 5000, "thinking": THINKS}, 1024, None),
        ("anthropic_messages", {**CHAT, "max_tokens": 5000, "thinking": THINKS}, 1025, {"max_tokens": 1025}),
        ("gemini", GEMINI, 70, {"generationConfig": {"maxOutputTokens": 70}}),
        (
            "gemini",
            {**GEMINI, "generationConfig": {"maxOutputTokens": 500, "topK": 3, "candidateCount": 2}},
            70,
            {"generationConfig": {"maxOutputTokens": 35, "topK": 3, "candidateCount": 2}},
        ),
        (
            "gemini",
            {**GEMINI, "generation_config": {"max_output_tokens": 500}},
            70,
            {"generation_config": {"max_output_tokens": 70}},
        ),
    ],
)  # fmt: skip
def test_only_the_limit_is_edited(name: str, given: Any, total: int, changed: Any) -> None:
    limited = get_format(name).limit_output(call(name, given), total)
    if changed is None:
        assert limited is None
        return
    assert limited is not None
    assert limited.body == {**given, **changed}
    assert call(name, limited.body).max_output == limited.max_output
    assert limited.max_output is not None
    assert limited.max_output <= total


@pytest.mark.parametrize("funds", [*range(190, 260), 1_000, 10**9])
@pytest.mark.parametrize("limit", [None, 50])
def test_the_highest_limit_that_can_be_paid(funds: int, limit: int | None) -> None:
    """The dearest candidate reads for 10 a token and writes for 40."""
    asked = call("openai_chat", CHAT if limit is None else {**CHAT, "max_tokens": limit})
    limited = affordable(asked, PLAN_OF_TWO, funds)
    prompt = 10 * asked.input_estimate
    most = min((funds - prompt) // 40, limit or 4096)
    if most < 1:
        assert limited is None
        return
    assert limited is not None
    assert limited.max_output == most
    assert hold_amounts(limited, PLAN_OF_TWO)[0] <= funds


LEFT = 200 + 7 * 40  # the prompt of 20 tokens, and 7 tokens of output
REQUEST = Call(
    "chat", "openai_chat", "small", False, {**CHAT, "max_tokens": 50}, b"{}", max_output=50, input_estimate=20
)


@pytest.mark.parametrize("token", [None, LEFT])
async def test_let_in_with_less(token: int | None) -> None:
    ledger = WatchedLedger(LEFT if token is None else 10**9, token=token)
    inner, scope = Inner(), scope_with(REQUEST)
    await run(PrechargeMiddleware(inner, ledger=ledger, clamp_output=True), scope)
    assert CALL.get(inner.scope).body == {**CHAT, "max_tokens": 7}
    assert CALL.get(inner.scope).raw is None
    assert CALL.get(scope) is REQUEST
    assert HOLD.get(inner.scope).amount == LEFT
    assert EXCHANGE.get(scope).response_headers == [(b"x-oneapi-output-limit", b"7")]


@pytest.mark.parametrize(
    ("funds", "token", "clamp", "error"),
    [
        (LEFT, None, False, InsufficientUserQuota),
        (10**9, LEFT, False, InsufficientTokenQuota),
        (239, None, True, InsufficientUserQuota),
        (10**9, 239, True, InsufficientTokenQuota),
    ],
)
async def test_refused(funds: int, token: int | None, clamp: bool, error: type[GatewayError]) -> None:
    inner, ledger = Inner(), WatchedLedger(funds, token=token)
    with pytest.raises(error):
        await run(PrechargeMiddleware(inner, ledger=ledger, clamp_output=clamp), scope_with(REQUEST))
    assert inner.scope == {}
    assert ledger.holds == {}


async def test_somebody_else_was_faster() -> None:
    class Raced(WatchedLedger):
        async def reserve(self, request: Reserve) -> Held | Denied:
            answer = await super().reserve(request)
            self._users[1].quota = 0
            return answer

    inner = Inner()
    with pytest.raises(InsufficientUserQuota):
        await run(PrechargeMiddleware(inner, ledger=Raced(LEFT), clamp_output=True), scope_with(REQUEST))
    assert inner.scope == {}


async def test_the_upstream_is_asked_for_less_and_the_client_told() -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14}
    upstream, ledger = ScriptedUpstream(buffered(an_answer(usage=usage))), WatchedLedger(10 + 4 * 5 + 3)
    exchanged = await ask(gateway(upstream, ledger, clamp_output=True), seed=3)
    assert exchanged.status == 200
    assert exchanged.headers["x-oneapi-output-limit"] == "5"
    assert upstream.requests[0].body == body(seed=3, max_tokens=5)
    assert await ledger.check() == 9 + 4 * 5


async def test_nothing_changes_for_those_who_can_pay() -> None:
    seen: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope)

    scope = scope_with(REQUEST)
    await run(PrechargeMiddleware(app, ledger=WatchedLedger(), clamp_output=True), scope)
    assert CALL.get(seen[0]) is REQUEST
    assert EXCHANGE.get(scope).response_headers == []
