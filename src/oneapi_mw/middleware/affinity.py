"""A conversation goes on where it began, if that is still possible."""

from __future__ import annotations

from dataclasses import replace

from starlette.types import ASGIApp, Receive, Scope, Send

from oneapi_mw.canonical.call import CALL, Call
from oneapi_mw.routing.origin import ORIGIN
from oneapi_mw.routing.plan import PLAN, Plan
from oneapi_mw.wire.response_state import NAME, without_bound


class AffinityMiddleware:
    """Try the channel first that made what a request continues: what only its account can read is of use there, and
    its prompt cache is warm.

    Reads `ORIGIN` and `PLAN`, provides `PLAN` in another order; the channel is no longer a candidate: reasoning that
    only its account could look up is left out of `CALL`.
    """

    requires, provides = (CALL, PLAN), (CALL, PLAN)

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        origin = ORIGIN.find(scope)
        if origin is not None:
            plan = PLAN.get(scope)
            if any(candidate.channel.id == origin for candidate in plan.candidates):
                scope = PLAN.put(scope, _preferring(plan, origin))
            else:
                scope = CALL.put(scope, _portable(CALL.get(scope)))
        await self.app(scope, receive, send)


def _preferring(plan: Plan, origin: int) -> Plan:
    ordered = sorted(plan.candidates, key=lambda candidate: candidate.channel.id != origin)  # stable
    return replace(plan, candidates=tuple(ordered))


def _portable(call: Call) -> Call:
    items = call.body.get("input")
    if call.format != NAME or not isinstance(items, list):
        return call
    kept = without_bound(items)
    return call if len(kept) == len(items) else call.with_body({**call.body, "input": kept})
