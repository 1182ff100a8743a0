"""What is set aside covers what the upstream is asked for, in whatever words the client said it."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from oneapi_mw.canonical.frames import ANSWER, EVENTS
from oneapi_mw.middleware.precharge import UNKNOWN_OUTPUT_TOKENS, PrechargeMiddleware
from oneapi_mw.middleware.reasoning import ReasoningMiddleware
from oneapi_mw.middleware.settlement import SettlementMiddleware
from oneapi_mw.pipeline import build, default_stages, insert_before
from oneapi_mw.relay.app import Relay, RelayLimits
from oneapi_mw.relay.upstream import Timeouts
from oneapi_mw.routing.live import LiveRouter
from tests.relay.stack import (
    COST,
    HEADERS,
    KEY,
    Channels,
    Keys,
    ScriptedUpstream,
    WatchedLedger,
    ask,
    buffered,
    channel,
    gateway,
    principal,
    streamed,
)
from tests.relay.test_losses import CHAT, GEMINI, HI, MESSAGES, RESPONSES, to
from tests.support.harness import call

LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens", "maxOutputTokens")


def limit_in(body: dict[str, Any]) -> int:
    """Output tokens that a body as it was sent allows, by any of its limits; what is assumed where it has none."""
    given = {**body, **body.get("generationConfig", {})}
    return max([given.get(name) or 0 for name in LIMITS]) or UNKNOWN_OUTPUT_TOKENS


@pytest.mark.parametrize("type", [1, 14, 24, 50])
@pytest.mark.parametrize(
    ("path", "limits"),
    [
        (CHAT, {"max_tokens": 7}),
        (CHAT, {"max_tokens": 7, "max_completion_tokens": 100_000}),
        (CHAT, {"max_tokens": 100_000, "max_completion_tokens": 7}),
        (CHAT, {"max_tokens": 0}),
        (CHAT, {"max_tokens": 0, "max_completion_tokens": 0}),
        (MESSAGES, {"max_tokens": 7}),
        (RESPONSES, {"max_output_tokens": 70}),
        (RESPONSES, {"max_output_tokens": 0}),
        (GEMINI, {"generationConfig": {"maxOutputTokens": 7}}),
        (GEMINI, {"generationConfig": {"maxOutputTokens": 0}}),
    ],
    ids=str,
)
async def test_limits(path: str, limits: dict[str, Any], type: int) -> None:
    upstream, ledger = ScriptedUpstream(buffered(b"{}", status=500)), WatchedLedger()
    await call(
        gateway(upstream, ledger, channels=[to(type)]), "POST", path, json={**HI[path], **limits}, headers=HEADERS
    )
    if not upstream.requests:  # no such limit can be said there
        assert ledger.hold.state == "void"
        return
    sent = upstream.requests[0].body
    default = 8192 if type == 14 else 0  # that upstream demands a limit: long streams raise their hold
    asked = limit_in(sent)
    assert ledger.hold.request.amount > 4 * (UNKNOWN_OUTPUT_TOKENS if asked == default else asked)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        *((method, path, 405) for method in ("GET", "HEAD", "OPTIONS", "PUT", "DELETE") for path in (CHAT, MESSAGES)),
        *(
            ("POST", f"/v1/{path}", 404)
            for path in (
                "embeddings",
                "moderations",
                "rerank",
                "images/generations",
                "images/edits",
                "audio/speech",
                "audio/transcriptions",
                "audio/translations",
                "videos",
                "realtime",
            )
        ),
    ],
)
async def test_what_is_not_served_holds_nothing(method: str, path: str, status: int) -> None:
    upstream, ledger = ScriptedUpstream(), WatchedLedger()
    app = gateway(upstream, ledger)
    assert (await call(app, method, path, json={**HI[CHAT], "input": "a"}, headers=HEADERS)).status == status
    assert ledger.holds == {}
    assert upstream.requests == []


@pytest.mark.parametrize("as_stream", [False, True])
@pytest.mark.parametrize("outside_of", [PrechargeMiddleware, SettlementMiddleware, ReasoningMiddleware])
@pytest.mark.parametrize("kind", ["http.response.start", "http.response.body", ANSWER, EVENTS])
async def test_a_stage_of_somebody_else_that_raises_costs_what_was_asked_for(
    kind: str, outside_of: type, as_stream: bool
) -> None:
    """Wherever it stands: the upstream has read the prompt, or has answered."""

    class Faulty:
        def __init__(self, app: ASGIApp) -> None:
            self.app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            async def failing(message: Message) -> None:
                if message["type"] == kind:
                    raise RuntimeError("a fault of theirs")
                await send(message)

            await self.app(scope, receive, failing)

    ledger, upstream = WatchedLedger(), ScriptedUpstream(streamed() if as_stream else buffered())
    router = LiveRouter(Channels([channel()]), group_ratios={"default": 10**6})
    stages = default_stages(principals=Keys({KEY: principal()}), router=router, ledger=ledger)
    app = build(
        Relay(upstream=upstream, limits=RelayLimits(Timeouts())), insert_before(stages, outside_of, Middleware(Faulty))
    )
    await ask(app, stream=as_stream)
    assert upstream.all_closed
    assert await ledger.check() in ((COST,) if not as_stream else (10, COST))
    assert ledger.hold.state == "settled"
