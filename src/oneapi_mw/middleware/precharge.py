"""Quota set aside before anything goes upstream."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace

from starlette.types import ASGIApp, Receive, Scope, Send

from oneapi_mw.canonical.call import CALL, Call
from oneapi_mw.errors import (
    GatewayError,
    InsufficientTokenQuota,
    InsufficientUserQuota,
    StoreUnavailable,
    TokenExhausted,
    Unauthorized,
)
from oneapi_mw.exchange import EXCHANGE, Exchange
from oneapi_mw.ledger.base import Denied, Held, Ledger, Reserve
from oneapi_mw.ledger.hold import HOLD, Hold
from oneapi_mw.ledger.limits import MAX_QUOTA
from oneapi_mw.pricing.archive import CardArchive
from oneapi_mw.pricing.charge import worst_case
from oneapi_mw.pricing.price import CompiledPrice
from oneapi_mw.pricing.searches import SEARCH, is_search
from oneapi_mw.pricing.services import prices_in_reach
from oneapi_mw.pricing.tools import declared_calls, declares_tools
from oneapi_mw.principal import PRINCIPAL, Principal
from oneapi_mw.routing.parts import parts_of
from oneapi_mw.routing.plan import PLAN, Plan
from oneapi_mw.types import Quota
from oneapi_mw.wire.registry import get_format

log = logging.getLogger("oneapi_mw.billing")

OUTPUT_LIMIT = b"x-oneapi-output-limit"
BACKGROUND_OUTPUT_TOKENS = 15_000
"""Output assumed for the hold of a request that is worked at in the background and names no limit."""
UNKNOWN_OUTPUT_TOKENS = 4096
"""Output assumed for the hold when neither the client nor the price card names a limit, and at most then."""
_NOT_TEXT = (b"audio", b"image", b"video", b"file", b"document", b"previous_response_id", b"conversation")
"""One of these is in every request whose input is more than text, or is kept elsewhere."""


class PrechargeMiddleware:
    """Hold the most this request can cost at its dearest candidate, and give back whatever is not settled.

    Reads `EXCHANGE`, `PRINCIPAL`, `CALL` and `PLAN`; provides `HOLD`. Raises `InsufficientUserQuota`,
    `InsufficientTokenQuota` or `TokenExhausted` before the inner app has been called.

    With `clamp_output` a request that may cost more than is left is let in with a lower output limit, which inner
    stages see in `CALL`, and the client in `X-Oneapi-Output-Limit`.
    """

    requires, provides = (EXCHANGE, PRINCIPAL, CALL, PLAN), (HOLD,)

    def __init__(
        self,
        app: ASGIApp,
        *,
        ledger: Ledger,
        cards: CardArchive | None = None,
        clamp_output: bool = False,
        background_output: int = BACKGROUND_OUTPUT_TOKENS,
    ) -> None:
        """
        Args:
            cards: keeps every card before anything is charged by it. Without, log rows keep the cards themselves.
            background_output: output tokens to set aside for a request that is worked at in the background, and to
                charge for it when its end is not seen, unless it names a limit.
        """
        self.app = app
        self._ledger = ledger
        self._cards = cards
        self._clamp_output = clamp_output
        self._background_output = background_output

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        call = CALL.find(scope)
        if call is None:
            await self.app(scope, receive, send)
            return
        principal, exchange = PRINCIPAL.get(scope), EXCHANGE.get(scope)
        plan = PLAN.get(scope)
        if call.max_output is None and get_format(call.format).goes_on(call):
            call = replace(call, max_output=self._background_output)
        request = reserve_for(call, plan, principal, exchange)
        if self._cards is not None:
            await keep_cards(plan, self._cards)
        answer = await self._reserve(request)
        if isinstance(answer, Denied) and self._clamp_output and answer.reason != "state":
            clamped = affordable(call, plan, answer.remaining, instant_ms=request.started_at)
            if clamped is not None:
                request = reserve_for(clamped, plan, principal, exchange)
                answer = await self._reserve(request)  # whoever was faster leaves less: then it is refused
                exchange.response_headers.append((OUTPUT_LIMIT, b"%d" % (clamped.max_output or 0)))
                scope = CALL.put(scope, clamped)
        if isinstance(answer, Denied):
            raise refusal(answer, principal)
        assert isinstance(answer, Held)
        hold = Hold(answer.key, answer.amount)
        try:
            await self.app(HOLD.put(scope, hold), receive, send)
        finally:
            if not hold.closed:
                hold.closed = True
                await self._void(hold.key, exchange.code or exchange.outcome)

    async def _reserve(self, request: Reserve) -> Held | Denied:
        try:
            return await self._ledger.reserve(request)
        except asyncio.CancelledError:
            # the reserve is carried out all the same: hand over its ending, too
            await self._void(request.key, "cancelled")
            raise

    async def _void(self, key: str, reason: str) -> None:
        """End a hold. What ends the request is what its client hears of, not that the ledger is late."""
        try:
            await self._ledger.void(key, reason=reason)
        except StoreUnavailable as exc:
            log.warning("request_id=%s is voided as soon as the ledger is back: %s", key, exc)


async def keep_cards(plan: Plan, cards: CardArchive) -> None:
    """Keep the cards of a plan. A process waits for this once per card; when it fails, the log row keeps the card."""
    for candidate in plan.candidates:
        price = candidate.price
        if price.card and not cards.has(price.card_id):
            try:
                await cards.keep(price.card_id, price.card)
            except StoreUnavailable as exc:
                log.warning("price card %s could not be kept, log rows keep it meanwhile: %s", price.card_id, exc)
                return


def reserve_for(call: Call, plan: Plan, principal: Principal, exchange: Exchange) -> Reserve:
    """What to reserve for `call`: enough for the dearest candidate of the plan."""
    amount, fallback = hold_amounts(call, plan, instant_ms=int(exchange.started_at * 1000))
    first = plan.candidates[0]
    return Reserve(
        key=exchange.request_id,
        user_id=principal.user_id,
        token_id=principal.token_id,
        amount=amount,
        fallback=fallback,
        card_id=first.price.card_id,
        group_ratio=plan.ratio_of(first),
        started_at=int(exchange.started_at * 1000),
        log={
            "user_uuid": principal.user_uuid,
            "username": principal.username,
            "token_uuid": principal.token_uuid,
            "token_name": principal.token_name,
            "channel_id": first.channel.id,
            "channel_uuid": first.channel.uuid,
            "channel_name": first.channel.name,
            "model_name": first.model,
            "origin_model_name": call.model,
            "prompt_tokens": call.input_estimate,
            "is_stream": call.stream,
        },
    )


def hold_amounts(call: Call, plan: Plan, *, instant_ms: int = 0) -> tuple[Quota, Quota]:
    """(worst case over all candidates, price of the prompt alone at the first one); the sum of both over the calls
    that a request takes.

    Args:
        instant_ms: when the request began, Unix milliseconds.
    """
    parts = parts_of(call, plan)
    if not parts:
        return _amounts(call, plan, instant_ms)
    amounts = [_amounts(part.call, plan, instant_ms) for part in parts]
    return min(sum(amount for amount, _ in amounts), MAX_QUOTA), min(sum(least for _, least in amounts), MAX_QUOTA)


def affordable(call: Call, plan: Plan, funds: Quota, *, instant_ms: int = 0) -> Call | None:
    """`call` with the highest output limit that `funds` cover at every candidate; `None` when there is none.

    Whoever may answer as long as he likes is taken to have asked for what would be set aside.
    """
    wire = get_format(call.format)
    most = call.max_output
    if most is None:
        most = UNKNOWN_OUTPUT_TOKENS * wire.answers_made(call)
    low, high = 0, most  # `low` can be paid, or is nothing
    while low < high:
        middle = (low + high + 1) // 2
        amount, _ = hold_amounts(replace(call, max_output=middle), plan, instant_ms=instant_ms)
        low, high = (middle, high) if amount <= funds else (low, middle - 1)
    return wire.limit_output(call, low) if low else None


def _amounts(call: Call, plan: Plan, instant_ms: int) -> tuple[Quota, Quota]:
    amount = 0
    tools = declared_calls(call.body) if declares_tools(call.body) else ()
    for candidate in plan.candidates:
        price, ratio = candidate.price, plan.ratio_of(candidate)
        output = call.max_output
        if output is None:
            output = min(price.max_output or UNKNOWN_OUTPUT_TOKENS, UNKNOWN_OUTPUT_TOKENS) * call.candidates
        calls = tools
        if candidate.rules.always_searches and not any(is_search(kind) for kind, _ in tools):
            calls = (*tools, (SEARCH, 1))
        for likely in prices_in_reach(price, call.body, instant_ms):
            most = worst_case(
                likely,
                input_tokens=call.input_estimate,
                output_tokens=output,
                group_ratio=ratio,
                tools=calls,
                text_only=_reads_only_text(likely, call),
            )
            amount = max(amount, most)
    first = plan.candidates[0].price.at(instant_ms)
    fallback = worst_case(
        first,
        input_tokens=call.input_estimate,
        output_tokens=0,
        group_ratio=plan.ratio_of(plan.candidates[0]),
        text_only=_reads_only_text(first, call),
    )
    return min(amount, MAX_QUOTA), min(amount, fallback, MAX_QUOTA)


def _reads_only_text(price: CompiledPrice, call: Call) -> bool:
    """Whether the input is known to be text. Asked only where other input has a price of its own."""
    if price.parts is None:
        return True
    raw = call.raw
    return raw is not None and not any(word in raw for word in _NOT_TEXT)


def refusal(denied: Denied, principal: Principal) -> GatewayError:
    """What the client hears of a hold that was denied."""
    if denied.reason == "user_quota":
        return InsufficientUserQuota("User quota is not enough for this request: top up, or ask for fewer tokens")
    if denied.reason == "token_quota":
        if denied.remaining <= 0:
            return TokenExhausted(
                f"The quota of API key {principal.token_name!r} is used up: raise it, or use another key"
            )
        return InsufficientTokenQuota(
            f"The quota left on API key {principal.token_name!r} is not enough for this request: "
            "raise it, or ask for fewer tokens"
        )
    return Unauthorized("This API key or its user was disabled a moment ago")
