"""External holds under any order of calls, with amounts up to the edges."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oneapi_mw.ledger.base import EXTERNAL_USE, ExternalNote, Held, LogFacts
from oneapi_mw.ledger.external import external_facts, external_reserve, hold_key
from oneapi_mw.ledger.memory import MemoryLedger
from oneapi_mw.ledger.rows import estimated_facts
from tests.relay.stack import principal

EDGES = [0, 1, 2**31 - 1, 2**31, 2**32 + 1, 2**53 - 1, 2**53]
FUNDS = 3 * 2**53
WHO = principal()
Step: TypeAlias = tuple[str, int, int]
"""What, for which transaction, and how much."""

steps = st.lists(
    st.tuples(st.sampled_from(["pre", "post", "cancel", "expire", "sweep"]), st.integers(0, 2), st.sampled_from(EDGES)),
    max_size=30,
)


@given(steps, st.booleans())
def test_no_order_of_calls_creates_or_loses_quota(calls: list[Step], limited: bool) -> None:
    async def run() -> None:
        now = 0.0
        ledger = MemoryLedger(clock=lambda: now)
        ledger.open_account(1, FUNDS)
        ledger.open_token(1, 1, FUNDS if limited else 0, unlimited=not limited)
        ends: dict[str, int] = {}
        for what, number, amount in calls:
            key = hold_key(1, f"t{number}")
            hold = ledger.holds.get(key)
            was_open = hold is not None and hold.state == "open"
            if what == "pre":
                note = ExternalNote(f"t{number}", "t", "u", "r")
                request = external_reserve(WHO, amount, note, seconds=10, body_hash="", started_at=0)
                answer = await ledger.reserve(request)
                assert isinstance(answer, Held) or hold is None
            elif what == "post" and hold is not None:
                settled = await ledger.settle(key, amount, external_facts(WHO, f"t{number}", "r"))
                assert settled.first is was_open
                ends.setdefault(key, settled.charged)
            elif what == "cancel" and hold is not None:
                assert (await ledger.void(key)).first is was_open
                ends.setdefault(key, 0 if was_open else ledger.holds[key].final)
            elif what in ("expire", "sweep"):
                now += 11
                await (ledger.expire([key]) if what == "expire" else ledger.sweep())
        for key, charged in ends.items():
            assert ledger.holds[key].final == charged
        balance = await ledger.user_balance(1)
        open_amounts = sum(hold.amount for hold in ledger.holds.values() if hold.state == "open")
        assert balance.quota + balance.used_quota + open_amounts == FUNDS
        assert balance.used_quota == sum(entry.quota for entry in ledger.log)
        assert all(entry.facts.type == EXTERNAL_USE for entry in ledger.log)
        assert list(await ledger.audit()) == []

    asyncio.run(run())


@given(st.integers(1, 2**40), st.integers(1, 2**40), st.text(max_size=128), st.text(max_size=128))
def test_keys_of_holds_differ_as_their_transactions_do(token: int, other: int, id_: str, other_id: str) -> None:
    key = hold_key(token, id_)
    assert len(key) == 32
    assert int(key, 16) >= 0
    assert (key == hold_key(other, other_id)) is ((token, id_) == (other, other_id))


@pytest.mark.parametrize("elapsed", [None, 12])
def test_what_a_sweep_logs_is_what_was_noted(elapsed: int | None) -> None:
    note = ExternalNote("t", "t", "u", "scan", elapsed_time_ms=elapsed)
    request = external_reserve(WHO, 5, note, seconds=10, body_hash="", started_at=0)
    charged = external_facts(WHO, "t", "scan", elapsed_ms=elapsed)

    swept = estimated_facts(request.log)
    assert swept == replace(charged, metadata={"transaction_id": "t", "auto_confirmed": True})
    assert estimated_facts({"username": "ada"}) == LogFacts(
        username="ada", content="estimated: the worker was lost", metadata={"usage_source": "estimated"}
    )
