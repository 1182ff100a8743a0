"""Whose group ratio a request is charged at, through the whole stack."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from oneapi_mw.ledger.rows import FACT_COLUMNS, fact_row
from oneapi_mw.pricing.groups import GroupRatioMode
from oneapi_mw.pricing.recompute import recompute_row
from tests.relay.stack import COST, PRICE, ScriptedUpstream, WatchedLedger, ask, buffered, channel, gateway, streamed

RATIOS = {"default": 2_000_000, "vip": 500_000, "svip": 250_000}
HOLD = 10 + 4 * 50
"""At list price; both channels ask it."""
SHARED, DEAR = ("default", "vip"), ("default",)


def logged(ledger: WatchedLedger) -> tuple[dict[str, Any], dict[str, Any]]:
    """The one log row's columns and metadata."""
    (entry,) = ledger.log
    row = dict(zip(FACT_COLUMNS, fact_row(entry.facts), strict=True))
    return row, orjson.loads(row["metadata"])


def recomputed(ledger: WatchedLedger) -> int:
    row, metadata = logged(ledger)
    calls = metadata.get("upstream_calls") or [metadata]
    cards = {call["price"]["card_id"]: orjson.loads(call["price"]["card"]) for call in calls}
    return recompute_row(row, metadata, cards.__getitem__)


@pytest.mark.parametrize(
    ("mode", "groups", "failures", "hold", "charged"),
    [
        ("user", (SHARED, DEAR), 0, HOLD * 2, COST * 2),
        ("user", (SHARED, DEAR), 1, HOLD * 2, COST * 2),
        ("channel_min", (SHARED, DEAR), 0, HOLD * 2, COST // 2 + 1),
        ("channel_min", (SHARED, DEAR), 1, HOLD * 2, COST * 2),
        ("channel_min", (DEAR, SHARED), 0, HOLD * 2, COST * 2),
        ("channel_min", (DEAR, SHARED), 1, HOLD * 2, COST // 2 + 1),
        ("channel_min", (SHARED, SHARED), 0, HOLD // 2, COST // 2 + 1),
        ("channel_min", (SHARED, (*DEAR, "svip")), 1, HOLD // 2, COST // 4 + 1),
    ],
)
@pytest.mark.parametrize("as_stream", [False, True], ids=["buffered", "streamed"])
async def test_the_hold_is_for_the_dearest_and_the_charge_for_who_answered(
    mode: GroupRatioMode, groups: tuple[tuple[str, ...], ...], failures: int, hold: int, charged: int, as_stream: bool
) -> None:
    replies = [buffered(b"{}", status=500)] * failures + [streamed() if as_stream else buffered()]
    upstream, ledger = ScriptedUpstream(*replies), WatchedLedger()
    channels = [channel(number, groups=listed) for number, listed in enumerate(groups, 1)]
    app = gateway(upstream, ledger, channels=channels, retries=1, group_ratios=RATIOS, group_ratio_mode=mode)
    assert (await ask(app, stream=as_stream)).status == 200
    assert ledger.hold.amount == hold
    assert await ledger.check() == charged <= hold
    assert recomputed(ledger) == charged


async def test_calls_of_several_channels_are_each_charged_at_their_own_ratio() -> None:
    """A failed attempt that is passed on, and the one that served; both are in the log with what they cost."""
    failed = orjson.dumps({"error": {"message": "no", "type": "server_error"}, "usage": {"prompt_tokens": 8}})
    upstream, ledger = ScriptedUpstream(buffered(failed), buffered()), WatchedLedger()
    channels = [
        channel(number, groups=groups, config={"bill_failed_attempts": True})
        for number, groups in enumerate((SHARED, DEAR), 1)
    ]
    app = gateway(upstream, ledger, channels=channels, retries=1, group_ratios=RATIOS, group_ratio_mode="channel_min")
    assert (await ask(app)).status == 200
    assert await ledger.check() == 8 // 2 + COST * 2 == recomputed(ledger)
    _, metadata = logged(ledger)
    assert [call["price"]["group_ratio"] for call in metadata["upstream_calls"]] == [500_000, 2_000_000]


async def test_a_hold_that_cannot_be_paid_at_every_channel_is_refused() -> None:
    upstream, ledger = ScriptedUpstream(buffered()), WatchedLedger(HOLD)
    channels = [channel(1, groups=SHARED), channel(2, groups=DEAR)]
    app = gateway(upstream, ledger, channels=channels, group_ratios=RATIOS, group_ratio_mode="channel_min")
    assert (await ask(app)).status == 403
    assert not upstream.requests


async def test_output_is_clamped_to_what_can_be_paid_at_every_channel() -> None:
    upstream, ledger = ScriptedUpstream(buffered()), WatchedLedger(100)
    channels = [channel(1, groups=SHARED), channel(2, groups=DEAR)]
    app = gateway(
        upstream, ledger, channels=channels, group_ratios=RATIOS, group_ratio_mode="channel_min", clamp_output=True
    )
    assert (await ask(app)).status == 200
    assert upstream.requests[0].body["max_tokens"] == (100 // 2 - 10) // 4


@pytest.mark.parametrize(("grouped", "charged"), [(False, 5_000), (True, 2_500)])
async def test_tools_are_multiplied_only_where_that_is_asked_for(grouped: bool, charged: int) -> None:
    card = {**PRICE, "tools": {"web_search": "0.01"}, "tools_use_group_ratio": grouped}
    answer = {
        "id": "resp_1", "object": "response", "status": "completed", "model": "small", "error": None,
        "output": [{"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search"}}],
        "usage": {"input_tokens": 2, "output_tokens": 2, "total_tokens": 4},
    }  # fmt: skip
    upstream, ledger = ScriptedUpstream(buffered(orjson.dumps(answer))), WatchedLedger()
    at = channel(groups=SHARED, model_configs={"small": card}, config={"api_format": "response"})
    app = gateway(upstream, ledger, channels=[at], group_ratios=RATIOS, group_ratio_mode="channel_min")
    assert (await ask(app, web_search_options={})).status == 200
    assert await ledger.check() == 5 + charged <= ledger.hold.amount
    assert recomputed(ledger) == 5 + charged
