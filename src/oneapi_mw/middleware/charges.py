"""What the upstream calls of a request cost, each at the price of the channel that served it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import NamedTuple

from oneapi_mw.canonical.call import Call
from oneapi_mw.exchange import Attempt, Exchange
from oneapi_mw.ledger.outcome import IMPLAUSIBLE, Owed
from oneapi_mw.pricing.charge import Bill, bill, charge, with_request, with_searches
from oneapi_mw.pricing.price import CompiledPrice
from oneapi_mw.pricing.services import price_of_service, wished_service
from oneapi_mw.pricing.tools import declared_searches
from oneapi_mw.routing.plan import Plan
from oneapi_mw.routing.terms import BillingTerms
from oneapi_mw.types import Quota
from oneapi_mw.usage import Usage

log = logging.getLogger("oneapi_mw.billing")


class Charged(NamedTuple):
    """One upstream call, and what it costs."""

    attempt: Attempt
    usage: Usage
    price: CompiledPrice
    group_ratio: int
    """Millionths."""
    made: Bill


class Prices:
    """The prices one request may be charged at. Each is looked up once: a stream asks for it with every event."""

    __slots__ = ("_call", "_instant_ms", "_known", "_plan")

    def __init__(self, exchange: Exchange, call: Call, plan: Plan) -> None:
        self._call, self._plan = call, plan
        self._instant_ms = int(exchange.started_at * 1000)
        self._known: dict[tuple[int, str], CompiledPrice] = {}

    def charges(self, owed: Sequence[Owed]) -> list[Charged]:
        """What upstream calls cost, each at the price of the channel that served it."""
        charges = []
        for attempt, usage, flag in owed:
            price = self.of(attempt.candidate, usage)
            usage = self._counted(usage, price)
            ratio = self.ratio(attempt)
            made = bill(usage, price, group_ratio=ratio)
            if flag:
                made = made._replace(flags=(*made.flags, flag))
            charges.append(Charged(attempt, usage, price, ratio, made))
        return charges

    def terms(self, attempt: Attempt) -> BillingTerms:
        """What the channel of an attempt says."""
        return self._plan.candidates[attempt.candidate].terms

    def ratio(self, attempt: Attempt) -> int:
        """What the channel of an attempt is charged at, in millionths."""
        return self._plan.ratio_of(self._plan.candidates[attempt.candidate])

    def charge(self, attempt: Attempt, usage: Usage) -> Quota:
        """What one upstream call costs."""
        price = self.of(attempt.candidate, usage)
        return charge(self._counted(usage, price), price, group_ratio=self.ratio(attempt))

    def _counted(self, usage: Usage, price: CompiledPrice) -> Usage:
        """`usage` of one upstream call as `price` counts it."""
        usage = with_request(usage, price)
        return with_searches(usage, price, declared_searches(self._call.body)) if usage.hosted else usage

    def of(self, candidate: int, usage: Usage) -> CompiledPrice:
        """The price of a candidate, for the instant the request began and the service it got."""
        key = (candidate, usage.variant)
        price = self._known.get(key)
        if price is None:
            whole = self._plan.candidates[candidate].price
            price = self._known[key] = price_of_service(
                whole, told=usage.variant, wished=wished_service(self._call.body), instant_ms=self._instant_ms
            )
        return price


def warn(key: str, made: Bill, price: CompiledPrice) -> None:
    """Tell the operator what was served without a price, which must not be free for ever, and what nobody believes."""
    unpriced = [flag for flag in made.flags if flag.startswith(("unpriced", "unlisted"))]
    if unpriced and price.layer != "free":
        log.warning("request_id=%s used what its price card lacks: %s", key, ", ".join(unpriced))
    if IMPLAUSIBLE in made.flags:
        log.warning("request_id=%s: its upstream reported more tokens than can be true; not all are charged", key)
