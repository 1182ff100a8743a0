"""What is read and kept beside the lanes: balances, leases, the audit. The same on every database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice

from sqlalchemy import bindparam, case, literal_column, select, update

from oneapi_mw.ledger.base import EXTERNAL, LEASE_SECONDS, Balance, Finding, Settled
from oneapi_mw.ledger.corrections import correct
from oneapi_mw.ledger.database import Database
from oneapi_mw.ledger.examine import examine
from oneapi_mw.ledger.operation import OPEN, Late
from oneapi_mw.ledger.rows import stored_facts
from oneapi_mw.store.tables import metadata
from oneapi_mw.types import Quota

RENEWED_AT_ONCE = 500

_HOLDS, _USERS, _TOKENS = (metadata.tables[name] for name in ("billing_holds", "users", "tokens"))
_OPEN = _HOLDS.c.state == literal_column(str(OPEN))  # literally: a parameter does not match a partial index


class SqlBooks:
    """Implements `ledger.batch.Books`."""

    def __init__(self, database: Database, *, worker: str) -> None:
        self._database = database
        self._worker = worker

    async def renew(self, marks: Mapping[str, Quota]) -> None:
        """Holds that are being ended at this moment are passed over: waiting for them would invite deadlocks."""
        mine = select(_HOLDS.c.key).where(_OPEN, _HOLDS.c.worker == self._worker, _HOLDS.c.kind != EXTERNAL)
        mine = mine.order_by(_HOLDS.c.key)
        async with self._database.writing() as connection:
            keys = (await connection.scalars(mine.with_for_update(skip_locked=True))).all()
            lease_until = self._database.now_ms + LEASE_SECONDS * 1000
            longer = case((_HOLDS.c.lease_until < lease_until, lease_until), else_=_HOLDS.c.lease_until)
            remaining = iter(keys)
            while part := list(islice(remaining, RENEWED_AT_ONCE)):
                await connection.execute(update(_HOLDS).where(_HOLDS.c.key.in_(part)).values(lease_until=longer))
            owed = [{"held": key, "owed": marks[key]} for key in keys if key in marks]
            if owed:
                marked = update(_HOLDS).where(_HOLDS.c.key == bindparam("held"), _HOLDS.c.mark < bindparam("owed"))
                await connection.execute(marked.values(mark=bindparam("owed")), owed)

    async def expired(self, limit: int, *, keys: Sequence[str] | None = None) -> list[Late]:
        late = (
            select(_HOLDS.c.key, _HOLDS.c.facts, _HOLDS.c.mark, _HOLDS.c.kind)
            .where(_OPEN, _HOLDS.c.lease_until <= self._database.now_ms)
            .order_by(_HOLDS.c.lease_until)
            .limit(limit)
        )
        if keys is not None:
            late = late.where(_HOLDS.c.key.in_(keys), _HOLDS.c.kind == EXTERNAL)
        async with self._database.snapshot() as connection:
            rows = (await connection.execute(late)).all()
        return [Late(key, stored_facts(facts), mark < 0 and kind != EXTERNAL) for key, facts, mark, kind in rows]

    async def correct(self, key: str, cost: Quota) -> Settled:
        async with self._database.writing() as connection:
            return await correct(connection, key, cost)

    async def user_balance(self, user_id: int) -> Balance:
        columns = (_USERS.c.quota, _USERS.c.used_quota, _USERS.c.request_count)
        async with self._database.snapshot() as connection:
            row = (await connection.execute(select(*columns).where(_USERS.c.id == user_id))).one_or_none()
        if row is None:
            raise KeyError(user_id)
        return Balance(*row)

    async def token_balance(self, token_id: int) -> Balance:
        columns = (_TOKENS.c.remain_quota, _TOKENS.c.used_quota)
        async with self._database.snapshot() as connection:
            row = (await connection.execute(select(*columns).where(_TOKENS.c.id == token_id))).one_or_none()
        if row is None:
            raise KeyError(token_id)
        return Balance(*row)

    async def audit(self) -> list[Finding]:
        return (await examine(self._database)).findings

    async def aclose(self) -> None:
        await self._database.aclose()
