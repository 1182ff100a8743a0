"""External transactions over the holds of a ledger in memory."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence

from oneapi_mw.ledger.base import EXTERNAL
from oneapi_mw.ledger.memory import MemoryHold, MemoryLedger
from oneapi_mw.store.records import Page, TransactionRecord, TransactionStatus


class MemoryTransactions:
    """Implements `store.base.TransactionRepository`."""

    def __init__(self, ledger: MemoryLedger) -> None:
        self._ledger = ledger

    async def get(self, hold_key: str) -> TransactionRecord | None:
        hold = self._ledger.holds.get(hold_key)
        return None if hold is None or hold.request.note is None else self._record(hold)

    async def list(self, token_id: int, page: Page, *, most: int) -> tuple[list[TransactionRecord], int]:
        newest = [hold for hold in reversed(self._ledger.holds.values()) if _is_of(hold, token_id)][:most]
        return [self._record(hold) for hold in newest[page.offset : page.offset + page.limit]], len(newest)

    async def late(self, token_id: int) -> Sequence[str]:
        now = self._ledger.clock()
        return [
            key
            for key, hold in self._ledger.holds.items()
            if _is_of(hold, token_id) and hold.state == "open" and hold.lease_until <= now
        ]

    def _record(self, hold: MemoryHold) -> TransactionRecord:
        request, entry = hold.request, hold.entry
        note = request.note
        assert note is not None, "only external holds are shown"
        pending = hold.state == "open"
        left = hold.lease_until - self._ledger.clock()
        return TransactionRecord(
            hold_key=request.key,
            uuid=str(uuid.uuid5(uuid.NAMESPACE_OID, request.key)),
            transaction_id=note.transaction_id,
            token_uuid=note.token_uuid,
            user_uuid=note.user_uuid,
            reason=note.reason,
            request_id=note.request_id,
            trace_id=note.trace_id,
            body_hash=request.body_hash,
            status=_status(hold),
            pre_quota=request.fallback,
            final_quota=None if pending else hold.final,
            log_uuid="" if entry is None else entry.uuid,
            expires_at=int(time.time() + left) if pending else 0,
            elapsed_time_ms=(entry.facts.elapsed_time if entry else 0) or note.elapsed_time_ms,
            created_at=int(hold.created_at * 1000),
            ended_at=None if hold.ended_at is None else int(hold.ended_at * 1000),
        )


def _is_of(hold: MemoryHold, token_id: int) -> bool:
    return hold.request.kind == EXTERNAL and hold.request.token_id == token_id


def _status(hold: MemoryHold) -> TransactionStatus:
    if hold.state == "open":
        return TransactionStatus.PENDING
    if hold.state == "void":
        return TransactionStatus.CANCELED
    estimated = hold.entry is not None and hold.entry.estimated
    return TransactionStatus.AUTO_CONFIRMED if estimated else TransactionStatus.CONFIRMED
