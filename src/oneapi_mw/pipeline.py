"""The stack as data: which stages a relayed request passes, outermost first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from starlette.middleware import Middleware
from starlette.types import ASGIApp, Scope

from oneapi_mw.ledger.base import Ledger
from oneapi_mw.ledger.hold import RunningCosts
from oneapi_mw.middleware.affinity import AffinityMiddleware
from oneapi_mw.middleware.auth import AuthMiddleware, PrincipalSource
from oneapi_mw.middleware.body import BodyLimits
from oneapi_mw.middleware.convert import ConvertMiddleware, Misrouted
from oneapi_mw.middleware.counting import TokenCounter
from oneapi_mw.middleware.drain import Drain, DrainMiddleware
from oneapi_mw.middleware.errors import ErrorsMiddleware
from oneapi_mw.middleware.exchange import ExchangeMiddleware
from oneapi_mw.middleware.history import StateOptions
from oneapi_mw.middleware.idempotency import CostLookup, IdempotencyMiddleware
from oneapi_mw.middleware.precharge import BACKGROUND_OUTPUT_TOKENS, PrechargeMiddleware
from oneapi_mw.middleware.ratelimit import RateLimitMiddleware
from oneapi_mw.middleware.reasoning import ReasoningMiddleware
from oneapi_mw.middleware.remainders import RemainderTasks
from oneapi_mw.middleware.route import RouteMiddleware, Router
from oneapi_mw.middleware.settlement import SettlementMiddleware
from oneapi_mw.middleware.state import StateMiddleware
from oneapi_mw.pricing.archive import CardArchive
from oneapi_mw.ratelimit.base import Limiter
from oneapi_mw.store.base import IdempotencyKeys, ResponseStates
from oneapi_mw.wire.wish import FieldName


class PipelineOrderError(ValueError):
    """A stage reads a scope key that no stage outside it writes."""


def default_stages(
    *,
    principals: PrincipalSource,
    router: Router,
    ledger: Ledger,
    limiter: Limiter | None = None,
    key_prefix: str = "sk-",
    address_of: Callable[[Scope], str | None] | None = None,
    body_limits: BodyLimits | None = None,
    misrouted: Misrouted = "serve",
    reasoning_field: FieldName | None = None,
    drain: Drain | None = None,
    states: ResponseStates | None = None,
    state_options: StateOptions | None = None,
    idempotency: IdempotencyKeys | None = None,
    costs: CostLookup | None = None,
    cards: CardArchive | None = None,
    remainders: RemainderTasks | None = None,
    counter: TokenCounter | None = None,
    clamp_output: bool = False,
    background_output: int = BACKGROUND_OUTPUT_TOKENS,
    running: RunningCosts | None = None,
) -> list[Middleware]:
    """The stages of a relayed request, outermost first. Without `limiter` nothing is rate limited, without `drain`
    nobody waits for running requests, without `states` answers are not kept to be continued, without `idempotency`
    and `costs` a repeated `Idempotency-Key` means nothing, without `cards` log rows keep the price cards they were
    charged by, without `remainders` nobody waits for answers that are read although their clients have left, and
    without `counter` answers without usage are estimated from their length, and without `running` nobody learns what
    streams under way have cost. `clamp_output` lowers the output limit of
    requests that cannot be paid for, and `background_output` is what those are taken to produce that are worked at in
    the background."""
    limits = [Middleware(RateLimitMiddleware, limiter=limiter)] if limiter is not None else []
    drains = [Middleware(DrainMiddleware, drain=drain)] if drain is not None else []
    once = []
    if idempotency is not None and costs is not None:
        once.append(Middleware(IdempotencyMiddleware, keys=idempotency, costs=costs, limits=body_limits))
    state, affinity = [], []
    if states is not None:
        state.append(Middleware(StateMiddleware, states=states, options=state_options))
        affinity.append(Middleware(AffinityMiddleware))
    return [
        Middleware(ExchangeMiddleware),
        Middleware(ErrorsMiddleware),
        *drains,
        Middleware(AuthMiddleware, principals=principals, key_prefix=key_prefix, address_of=address_of),
        *limits,
        *once,
        Middleware(ConvertMiddleware, limits=body_limits, misrouted=misrouted, reasoning_field=reasoning_field),
        *state,
        Middleware(RouteMiddleware, router=router),
        *affinity,
        Middleware(
            PrechargeMiddleware,
            ledger=ledger,
            cards=cards,
            clamp_output=clamp_output,
            background_output=background_output,
        ),
        Middleware(
            SettlementMiddleware, ledger=ledger, cards=cards, remainders=remainders, counter=counter, running=running
        ),
        Middleware(ReasoningMiddleware),
    ]


def insert_before(stages: Sequence[Middleware], anchor: type, stage: Middleware) -> list[Middleware]:
    """`stages` with `stage` put outside the first one of class `anchor`. Raises `ValueError` when there is none."""
    classes: list[object] = [item.cls for item in stages]
    if anchor not in classes:
        raise ValueError(f"no stage of class {anchor.__name__} is among the stages")
    place = classes.index(anchor)
    return [*stages[:place], stage, *stages[place:]]


def check(stages: Sequence[type], terminal: Any = None, *, given: Iterable[object] = ()) -> None:
    """Refuse an order in which a key is read before it is written.

    Args:
        stages: classes, outermost first; `requires` and `provides` are read where a class states them.
        terminal: the innermost app, checked likewise.
        given: keys that the host writes itself.

    Raises: `PipelineOrderError` naming stage and key.
    """
    written = set(given)
    for stage in (*stages, terminal):
        missing = [key for key in getattr(stage, "requires", ()) if key not in written]
        if missing:
            name = getattr(stage, "__name__", type(stage).__name__)
            raise PipelineOrderError(
                f"{name} reads {missing[0].name!r}, but no stage outside it writes that: "
                "put the middleware that provides it before it"
            )
        written.update(getattr(stage, "provides", ()))


def build(terminal: ASGIApp, stages: Sequence[Middleware], *, given: Iterable[object] = ()) -> ASGIApp:
    """`terminal` wrapped in `stages`, outermost first. Raises `PipelineOrderError`."""
    check([stage.cls for stage in stages], terminal, given=given)  # type: ignore[misc]  # `cls` is a protocol of calls in Starlette
    app = terminal
    for cls, args, kwargs in reversed(stages):
        app = cls(app, *args, **kwargs)
    return app
