"""What is set aside covers what the upstream is asked for, in whatever words the client said it."""

from __future__ import annotations

from typing import Any

import pytest

from oneapi_mw.middleware.precharge import UNKNOWN_OUTPUT_TOKENS
from tests.relay.stack import HEADERS, ScriptedUpstream, WatchedLedger, buffered, gateway
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
