"""What a request cost, in an SQL database."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from oneapi_mw.ledger.base import EXTERNAL
from oneapi_mw.ledger.operation import OPEN, SETTLED
from oneapi_mw.store.engine import Database
from oneapi_mw.store.records import CostRecord
from oneapi_mw.store.repositories.rows import COSTS, HOLDS, USERS


class SqlCosts:
    """Implements `store.base.CostRepository`: the cost row once there is one, until then the hold."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, request_id: str) -> CostRecord | None:
        async with self._database.reading() as connection:
            # in this order: a settlement between the two is found by the second
            return await _settled(connection, request_id) or await _held(connection, request_id)


async def _settled(connection: AsyncConnection, request_id: str) -> CostRecord | None:
    wanted = select(COSTS, HOLDS.c.estimated, HOLDS.c.kind).outerjoin(HOLDS, HOLDS.c.key == COSTS.c.request_id)
    row = (await connection.execute(wanted.where(COSTS.c.request_id == request_id))).one_or_none()
    if row is None:
        return None
    return CostRecord(
        uuid=row.uuid,
        request_id=row.request_id,
        user_uuid=row.user_uuid,
        quota=row.quota,
        state="final",
        estimated=bool(row.estimated),
        created_time=row.created_time,
        created_at=row.created_at,
        updated_at=row.updated_at,
        guessable=row.kind == EXTERNAL,
    )


async def _held(connection: AsyncConnection, request_id: str) -> CostRecord | None:
    """From the hold alone. There is no cost row, hence no uuid."""
    wanted = select(HOLDS, USERS.c.uuid.label("user_uuid")).outerjoin(USERS, USERS.c.id == HOLDS.c.user_id)
    row = (await connection.execute(wanted.where(HOLDS.c.key == request_id))).one_or_none()
    if row is None:
        return None
    state, quota = "void", 0
    if row.state == OPEN:
        state, quota = "pending", row.amount
    elif row.state == SETTLED:
        state, quota = "final", row.final or 0
    return CostRecord(
        uuid="",
        request_id=row.key,
        user_uuid=row.user_uuid or "",
        quota=quota,
        state=state,
        estimated=row.estimated,
        created_time=row.created_at // 1000,
        created_at=row.created_at,
        updated_at=row.ended_at or row.created_at,
        guessable=row.kind == EXTERNAL,
    )
