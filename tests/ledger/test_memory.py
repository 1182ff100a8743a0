"""What only the ledger in memory promises."""

from __future__ import annotations

from oneapi_mw.ledger.base import Settled
from oneapi_mw.ledger.memory import MemoryLedger
from tests.ledger.bank import FACTS, reserve


async def test_living_holds_are_renewed() -> None:
    now = 0.0
    ledger = MemoryLedger(clock=lambda: now)
    ledger.open_account(1, 1000)
    ledger.open_token(1, 1, unlimited=True)
    streaming = reserve(1, 1, 100, fallback=50)
    await ledger.reserve(streaming)

    for _ in range(3):
        now += 40.0
        await ledger.renew({})
        assert await ledger.sweep() == 0
    assert await ledger.settle(streaming.key, 10, FACTS) == Settled(streaming.key, "settled", 10, True)
    assert await ledger.audit() == []
