"""Choosing the channels that may serve a request."""

from __future__ import annotations

from typing import Protocol

from starlette.types import ASGIApp, Receive, Scope, Send

from oneapi_mw.canonical.call import CALL, Call
from oneapi_mw.errors import ModelNotAllowed
from oneapi_mw.principal import PRINCIPAL, Principal
from oneapi_mw.routing.plan import PLAN, Plan


class Router(Protocol):
    def plan(self, principal: Principal, call: Call) -> Plan:
        """Candidate channels, best first. Raises `NoChannelAvailable`, `ModelPriceMissing` or `ToolNotAllowed`."""


class RouteMiddleware:
    """Plan which channels are tried, in which order and at which price.

    Reads `PRINCIPAL` and `CALL`, provides `PLAN`. Raises `ModelNotAllowed` when the token may not use the model.
    """

    requires, provides = (PRINCIPAL, CALL), (PLAN,)

    def __init__(self, app: ASGIApp, *, router: Router) -> None:
        self.app = app
        self._router = router

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        call = CALL.find(scope)
        if call is None:
            await self.app(scope, receive, send)
            return
        principal = PRINCIPAL.get(scope)
        if principal.models is not None and call.model not in principal.models:
            raise ModelNotAllowed(
                f"This API key does not have permission to use the model: {call.model}", param="model"
            )
        await self.app(PLAN.put(scope, self._router.plan(principal, call)), receive, send)
