"""External transactions in an SQL database: what was said when they were made, and their holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, func, literal_column, select

from oneapi_mw.ledger import clock
from oneapi_mw.ledger.base import EXTERNAL, EXTERNAL_USE
from oneapi_mw.ledger.operation import OPEN, VOID
from oneapi_mw.store.engine import Database
from oneapi_mw.store.records import Page, TransactionRecord, TransactionStatus
from oneapi_mw.store.repositories.rows import HOLDS, LOGS, TRANSACTIONS

MOST_LATE = 500
_CHARGED = and_(  # the time because there is an index of it
    LOGS.c.created_at == HOLDS.c.ended_at // 1000,
    LOGS.c.type == EXTERNAL_USE,
    LOGS.c.request_id == TRANSACTIONS.c.hold_key,
)
_OF_HOLD = ("state", "fallback", "final", "estimated", "body_hash", "lease_until", "ended_at")
_WITH_HOLDS = (
    select(
        TRANSACTIONS,
        *(
            HOLDS.c[name]
            for name in ("state", "fallback", "final", "estimated", "body_hash", "lease_until", "ended_at")
        ),
        LOGS.c.uuid.label("log_uuid"),
        LOGS.c.elapsed_time,
    )
    .join(HOLDS, HOLDS.c.key == TRANSACTIONS.c.hold_key)
    .outerjoin(LOGS, _CHARGED)
)


class SqlTransactions:
    """Implements `store.base.TransactionRepository`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, hold_key: str) -> TransactionRecord | None:
        async with self._database.reading() as connection:
            row = (await connection.execute(_WITH_HOLDS.where(TRANSACTIONS.c.hold_key == hold_key))).one_or_none()
        return None if row is None else _record(row)

    async def list(self, token_id: int, page: Page, *, most: int) -> tuple[list[TransactionRecord], int]:
        own = TRANSACTIONS.c.token_id == token_id
        shown = max(0, min(page.limit, most - page.offset))
        wanted = _WITH_HOLDS.where(own).order_by(TRANSACTIONS.c.id.desc()).offset(page.offset).limit(shown)
        counted = select(TRANSACTIONS.c.id).where(own).limit(most).subquery()
        async with self._database.reading() as connection:
            total = await connection.scalar(select(func.count()).select_from(counted))
            rows = (await connection.execute(wanted)).all() if shown else ()
        return [_record(row) for row in rows], int(total or 0)

    async def late(self, token_id: int) -> Sequence[str]:
        now_ms: ColumnElement[int] = literal_column(clock.BY_DIALECT[self._database.dialect])
        is_open = HOLDS.c.state == literal_column(str(OPEN))  # literally: a parameter does not match a partial index
        over = select(HOLDS.c.key).where(is_open, HOLDS.c.lease_until <= now_ms, HOLDS.c.token_id == token_id)
        async with self._database.reading() as connection:
            return (await connection.scalars(over.where(HOLDS.c.kind == EXTERNAL).limit(MOST_LATE))).all()


def _record(row: Row[Any]) -> TransactionRecord:
    pending = row.state == OPEN
    return TransactionRecord(
        hold_key=row.hold_key,
        uuid=row.uuid,
        transaction_id=row.transaction_id,
        token_uuid=row.token_uuid,
        user_uuid=row.user_uuid,
        reason=row.reason,
        request_id=row.request_id,
        trace_id=row.trace_id,
        body_hash=row.body_hash,
        status=_status(row),
        pre_quota=row.fallback,
        final_quota=None if pending else row.final or 0,
        log_uuid=row.log_uuid or "",
        expires_at=row.lease_until // 1000 if pending else 0,
        elapsed_time_ms=row.elapsed_time or row.elapsed_time_ms,
        created_at=row.created_at,
        ended_at=row.ended_at,
    )


def _status(row: Row[Any]) -> TransactionStatus:
    if row.state == OPEN:
        return TransactionStatus.PENDING
    if row.state == VOID:
        return TransactionStatus.CANCELED
    return TransactionStatus.AUTO_CONFIRMED if row.estimated else TransactionStatus.CONFIRMED
