"""From usage to a charge, committed before the client sees the end of its answer."""

from __future__ import annotations

import logging
from functools import partial

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from oneapi_mw.canonical.call import CALL
from oneapi_mw.canonical.frames import ANSWER, EVENTS
from oneapi_mw.errors import StoreUnavailable
from oneapi_mw.exchange import EXCHANGE
from oneapi_mw.ledger.base import Denied, Ledger, LogFacts
from oneapi_mw.ledger.hold import HOLD, Hold, RunningCosts
from oneapi_mw.ledger.limits import MAX_QUOTA
from oneapi_mw.ledger.outcome import AT_LEAST_THE_HOLD, calls_so_far, owed_calls
from oneapi_mw.middleware.charges import Prices, warn
from oneapi_mw.middleware.consumption import HOLD_CHARGED, log_facts, unexplained
from oneapi_mw.middleware.counting import TokenCounter, count_untold
from oneapi_mw.middleware.precharge import refusal
from oneapi_mw.middleware.remainders import RemainderTasks
from oneapi_mw.pricing.archive import CardArchive
from oneapi_mw.pricing.price import CompiledPrice
from oneapi_mw.principal import PRINCIPAL
from oneapi_mw.routing.plan import PLAN
from oneapi_mw.types import Quota
from oneapi_mw.usage import NO_TOOLS

log = logging.getLogger("oneapi_mw.billing")


class SettlementMiddleware:
    """Settle the hold when the last message of the answer comes by, or when the request ends without one.

    Reads `EXCHANGE`, `PRINCIPAL`, `CALL`, `PLAN` and `HOLD`. The message that ends the answer is sent on only
    after the charge is committed. A request that owes nothing leaves the hold open for the precharge stage to void.

    A long stream raises its hold before it has used it up. When the balance is too short for that, the stream ends
    with the error a new request would get, and what was relayed is charged.

    An answer whose client has left may be read to its end in a task of its own: then it is settled there.

    Raises `StoreUnavailable` in place of the last message when the charge cannot be confirmed in time: the ledger
    charges it all the same, later.
    """

    requires, provides = (EXCHANGE, PRINCIPAL, CALL, PLAN, HOLD), ()

    def __init__(
        self,
        app: ASGIApp,
        *,
        ledger: Ledger,
        cards: CardArchive | None = None,
        remainders: RemainderTasks | None = None,
        counter: TokenCounter | None = None,
        running: RunningCosts | None = None,
    ) -> None:
        """
        Args:
            cards: where the precharge stage keeps the cards that are charged by.
            remainders: runs what is left of answers whose clients have left.
            counter: counts answers whose upstreams told no usage; without it they are estimated from their length.
            running: learns what streams under way have cost.
        """
        self.app = app
        self._ledger = ledger
        self._cards = cards
        self._remainders = remainders or RemainderTasks()
        self._counter = counter
        self._running = running

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        hold = HOLD.find(scope)
        if hold is None:
            await self.app(scope, receive, send)
            return

        exchange, call = EXCHANGE.get(scope), CALL.get(scope)
        exchange.remainders = self._remainders
        prices = Prices(exchange, call, PLAN.get(scope))
        running = self._running if call.stream else None
        covered, tools = 0, NO_TOOLS  # text bytes and calls the hold was last found to cover

        async def send_after_settling(message: Message) -> None:
            nonlocal covered, tools
            if not hold.closed:
                produced = exchange.produced
                if _is_last(message):
                    await self._settle(scope, hold, prices)
                elif produced.text_bytes > covered or produced.tools is not tools:
                    covered, tools = produced.text_bytes, produced.tools
                    await self._cover(scope, hold, prices)
            await send(message)

        if running is not None:
            running.watch(hold.key, partial(_relayed, scope, prices))
        try:
            await self.app(scope, receive, send_after_settling)
        finally:
            exchange.remainders = None
            if running is not None and not exchange.unfinished:
                running.forget(hold.key)
            if hold.closed:
                pass
            elif exchange.unfinished:
                hold.closed = True
                self._remainders.start(exchange.unfinished, partial(self._settle_late, scope, hold, prices))
            else:
                await self._settle_unseen(scope, hold, prices)

    async def _settle_unseen(self, scope: Scope, hold: Hold, prices: Prices) -> None:
        """Settle a request that has ended: nobody waits for it, and what ended it must stay visible."""
        try:
            await self._settle(scope, hold, prices)
        except StoreUnavailable as exc:
            log.warning("request_id=%s is charged as soon as the ledger is back: %s", hold.key, exc)

    async def _settle_late(self, scope: Scope, hold: Hold, prices: Prices) -> None:
        """Settle a request whose stages have been left long ago."""
        hold.closed = False
        if self._running is not None:
            self._running.forget(hold.key)
        await self._settle_unseen(scope, hold, prices)
        if not hold.closed:
            hold.closed = True
            try:
                await self._ledger.void(hold.key, reason=EXCHANGE.get(scope).outcome)
            except StoreUnavailable as exc:
                log.warning("request_id=%s is voided as soon as the ledger is back: %s", hold.key, exc)

    async def _settle(self, scope: Scope, hold: Hold, prices: Prices) -> None:
        exchange = EXCHANGE.get(scope)
        try:
            if self._counter is not None and (exchange.produced.text or exchange.parts):
                await self._count(scope, self._counter)
        finally:  # a count that is cancelled, or fails, leaves an estimate
            await self._charge(scope, hold, prices)

    async def _count(self, scope: Scope, counter: TokenCounter) -> None:
        """Count what no upstream has told. Raises `CancelledError`, and whatever is no `Exception`."""
        exchange = EXCHANGE.get(scope)
        try:
            await count_untold(exchange, CALL.get(scope), PLAN.get(scope), counter)
        except Exception:  # a counter is anybody's: its faults must not make answers free
            log.exception("request_id=%s could not be counted: it is charged by an estimate", exchange.request_id)

    async def _charge(self, scope: Scope, hold: Hold, prices: Prices) -> None:
        exchange = EXCHANGE.get(scope)
        try:
            made = self._worked_out(scope, hold, prices)
        except Exception:  # a fault in what stages inside have noted must not make answers free
            log.exception("request_id=%s: its cost cannot be worked out, so its hold is charged", hold.key)
            made = hold.amount, unexplained(exchange, CALL.get(scope), PRINCIPAL.get(scope))
        if made is None:
            return
        final, facts = made
        hold.closed = True  # before waiting: the ledger carries it out even when this task is cancelled
        exchange.owed = final
        try:
            settled = await self._ledger.settle(hold.key, final, facts)
        except StoreUnavailable as exc:
            raise StoreUnavailable(
                "The charge for this answer could not be confirmed in time, so its end is held back: it will be "
                "charged once; asking again is charged again",
                retry_after=exc.retry_after,
            ) from exc
        exchange.charged = settled.cost

    def _worked_out(self, scope: Scope, hold: Hold, prices: Prices) -> tuple[Quota, LogFacts] | None:
        """What to charge, and what to log of it; `None` when nothing is owed."""
        exchange, call, plan = EXCHANGE.get(scope), CALL.get(scope), PLAN.get(scope)
        limit = call.max_output or 0
        owed = owed_calls(exchange, input_estimate=call.input_estimate, output_limit=limit, terms=prices.terms)
        if not owed:
            return None
        charges = prices.charges(owed)
        final = sum([charged.made.quota for charged in charges])
        for one in owed:
            if one.flag in AT_LEAST_THE_HOLD:
                final = max(final, hold.amount)
        if final > MAX_QUOTA:
            log.error(
                "request_id=%s would cost %d: its hold is charged instead, check usage and price", hold.key, final
            )
            final = hold.amount
            charges = [
                charged._replace(made=charged.made._replace(flags=(*charged.made.flags, HOLD_CHARGED)))
                for charged in charges
            ]
        facts = log_facts(exchange, call, plan, PRINCIPAL.get(scope), charges, archived=self._is_kept)
        for charged in charges:
            if charged.made.flags:
                warn(hold.key, charged.made, charged.price)
        return final, facts

    def _is_kept(self, price: CompiledPrice) -> bool:
        """Whether the price's card can be found by its id."""
        return self._cards is not None and self._cards.has(price.card_id)

    async def _cover(self, scope: Scope, hold: Hold, prices: Prices) -> None:
        """See that the hold covers what a stream has cost so far. Raises what a denied hold is answered with."""
        exchange = EXCHANGE.get(scope)
        cost = _cost_so_far(scope, prices)
        if cost * 5 <= hold.amount * 4:
            return
        try:
            denied = await self._extend(hold, cost, cost)
            if denied is not None and denied.remaining > 0:
                await self._extend(hold, denied.remaining, cost)
        except StoreUnavailable:
            if cost > hold.amount:
                raise
            return
        if denied is not None and (cost > hold.amount or denied.reason == "state"):
            error = refusal(denied, PRINCIPAL.get(scope))
            exchange.outcome, exchange.code = "failed", error.code
            raise error

    async def _extend(self, hold: Hold, by: Quota, owed: Quota) -> Denied | None:
        answer = await self._ledger.extend(hold.key, by, mark=owed)
        if isinstance(answer, Denied):
            return answer
        hold.amount = answer.amount
        return None


def _cost_so_far(scope: Scope, prices: Prices) -> Quota:
    call = CALL.get(scope)
    calls = calls_so_far(EXCHANGE.get(scope), input_estimate=call.input_estimate, output_limit=call.max_output or 0)
    return min(sum(prices.charge(attempt, usage) for attempt, usage in calls), MAX_QUOTA)


def _relayed(scope: Scope, prices: Prices) -> Quota:
    """What a stream has cost once something of it was relayed."""
    return _cost_so_far(scope, prices) if EXCHANGE.get(scope).produced.text_bytes else 0


def _is_last(message: Message) -> bool:
    kind = message["type"]
    if kind == EVENTS or kind == "http.response.body":
        return not message.get("more_body", False)
    return bool(kind == ANSWER)
