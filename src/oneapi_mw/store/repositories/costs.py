"""What a request cost, in an SQL database."""

from __future__ import annotations

from sqlalchemy import select

from oneapi_mw.ids import uuid_of
from oneapi_mw.ledger.base import EXTERNAL
from oneapi_mw.ledger.corrections import entry_key
from oneapi_mw.ledger.operation import OPEN, SETTLED
from oneapi_mw.store.engine import Database
from oneapi_mw.store.records import CostRecord
from oneapi_mw.store.repositories.rows import ENTRIES, HOLDS, USERS


class SqlCosts:
    """Implements `store.base.CostRepository`: a request's hold says what it costs, at every moment. Where that was an
    estimate, there may be an entry that corrects it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, request_id: str) -> CostRecord | None:
        wanted = select(HOLDS, USERS.c.uuid.label("user_uuid")).outerjoin(USERS, USERS.c.id == HOLDS.c.user_id)
        corrected = select(ENTRIES.c.amount, ENTRIES.c.created_at).where(ENTRIES.c.key == entry_key(request_id))
        async with self._database.reading() as connection:
            row = (await connection.execute(wanted.where(HOLDS.c.key == request_id))).one_or_none()
            if row is None:
                return None
            correction = (await connection.execute(corrected)).one_or_none() if row.estimated else None
        adjusted = 0 if correction is None else correction.amount
        state, quota = "void", 0
        if row.state == OPEN:
            state, quota = "pending", row.amount
        elif row.state == SETTLED or adjusted:
            state, quota = "final", (row.final or 0) - adjusted
        return CostRecord(
            uuid=uuid_of(row.key),
            request_id=row.key,
            user_uuid=row.user_uuid or "",
            quota=quota,
            state=state,
            estimated=bool(row.estimated) and correction is None,
            created_time=row.created_at // 1000,
            created_at=row.created_at,
            updated_at=(row.ended_at or row.created_at) if correction is None else correction.created_at,
            guessable=row.kind == EXTERNAL,
            adjusted=adjusted,
        )
