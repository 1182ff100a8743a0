"""The order of stages."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.middleware import Middleware
from starlette.types import Receive, Scope, Send

from oneapi_mw.exchange import ENDPOINT, EXCHANGE
from oneapi_mw.ledger.memory import MemoryLedger
from oneapi_mw.middleware.auth import AuthMiddleware
from oneapi_mw.middleware.convert import ConvertMiddleware
from oneapi_mw.middleware.errors import ErrorsMiddleware
from oneapi_mw.middleware.exchange import ExchangeMiddleware
from oneapi_mw.middleware.precharge import PrechargeMiddleware
from oneapi_mw.middleware.ratelimit import RateLimitMiddleware
from oneapi_mw.middleware.route import RouteMiddleware
from oneapi_mw.middleware.settlement import SettlementMiddleware
from oneapi_mw.pipeline import PipelineOrderError, build, check, default_stages
from oneapi_mw.principal import PRINCIPAL
from oneapi_mw.ratelimit.memory import MemoryLimiter
from oneapi_mw.relay.app import Relay, RelayLimits
from oneapi_mw.relay.upstream import Timeouts
from oneapi_mw.routing.live import LiveRouter
from tests.relay.stack import Channels, Keys, ScriptedUpstream
from tests.support.harness import call


def stages(**options: Any) -> list[Middleware]:
    return default_stages(principals=Keys({}), router=LiveRouter(Channels([])), ledger=MemoryLedger(), **options)


def relay() -> Relay:
    return Relay(upstream=ScriptedUpstream(), limits=RelayLimits(Timeouts()))


def classes(chosen: list[Middleware]) -> list[Any]:
    return [stage.cls for stage in chosen]


def stages_without(left_out: object) -> list[Middleware]:
    return [stage for stage in stages() if left_out is not stage.cls]


def test_the_default_order_holds() -> None:
    build(relay(), stages())
    order = classes(stages(limiter=MemoryLimiter(limit=1, seconds=1)))
    build(relay(), stages(limiter=MemoryLimiter(limit=1, seconds=1)))
    assert RateLimitMiddleware in order
    assert RateLimitMiddleware not in classes(stages())
    assert order.index(PrechargeMiddleware) < order.index(SettlementMiddleware)


@pytest.mark.parametrize(
    ("without", "reader", "key"),
    [
        (ExchangeMiddleware, "ErrorsMiddleware", "oneapi_mw.exchange"),
        (AuthMiddleware, "RouteMiddleware", "oneapi_mw.principal"),
        (ConvertMiddleware, "RouteMiddleware", "oneapi_mw.call"),
        (RouteMiddleware, "PrechargeMiddleware", "oneapi_mw.plan"),
        (PrechargeMiddleware, "SettlementMiddleware", "oneapi_mw.hold"),
    ],
)
def test_a_stage_that_is_missing_is_named(without: type, reader: str, key: str) -> None:
    with pytest.raises(PipelineOrderError, match=f"{reader} reads '{key}'"):
        build(relay(), stages_without(without))


@pytest.mark.parametrize("without", [ErrorsMiddleware, SettlementMiddleware])
def test_some_stages_can_be_left_out(without: type) -> None:
    build(relay(), stages_without(without))


def test_any_two_neighbours_that_need_each_other_cannot_swap() -> None:
    for first, second in ((ExchangeMiddleware, ErrorsMiddleware), (PrechargeMiddleware, SettlementMiddleware)):
        order = classes(stages())
        a, b = order.index(first), order.index(second)
        order[a], order[b] = order[b], order[a]
        with pytest.raises(PipelineOrderError):
            check(order)


def test_what_the_host_gives_need_not_be_written() -> None:
    check([RateLimitMiddleware], given=[PRINCIPAL])
    with pytest.raises(PipelineOrderError):
        check([RateLimitMiddleware])


def test_the_terminal_app_is_checked_too() -> None:
    with pytest.raises(PipelineOrderError, match=r"Relay reads 'oneapi_mw\.call'"):
        check([ExchangeMiddleware], relay())


def test_stages_of_ones_own_need_not_declare_anything() -> None:
    class Own:
        def __init__(self, app: Any) -> None:
            self.app = app

    check([Own, ExchangeMiddleware], Own(None))


async def test_the_first_stage_is_the_outermost() -> None:
    order: list[str] = []

    class Named:
        def __init__(self, app: Any, name: str) -> None:
            self.app, self.name = app, name

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            order.append(self.name)
            await self.app(scope, receive, send)

    async def terminal(scope: Scope, receive: Receive, send: Send) -> None:
        order.append("terminal")

    await call(build(terminal, [Middleware(Named, "a"), Middleware(Named, name="b")], given=[EXCHANGE, ENDPOINT]))
    assert order == ["a", "b", "terminal"]
