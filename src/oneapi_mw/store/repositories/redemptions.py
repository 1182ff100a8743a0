"""Redemption codes in an SQL database. A code is found by its digest and shown from its sealed copy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Row, delete, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from oneapi_mw.ids import uuid7
from oneapi_mw.ledger.credits import Credit, book
from oneapi_mw.store.base import Conflict
from oneapi_mw.store.engine import Database
from oneapi_mw.store.entries import check_redemption_changes
from oneapi_mw.store.keyring import KeyRing
from oneapi_mw.store.records import Page, RedemptionRecord, RedemptionStatus
from oneapi_mw.store.repositories.rows import REDEMPTIONS, columns_of, read_page, starts_with
from oneapi_mw.store.search import REDEMPTION_SORTS, as_uuid, check_sort
from oneapi_mw.store.tables import Redemption, now_ms
from oneapi_mw.types import Quota

COLUMN = "redemptions.key"
_UNUSED = REDEMPTIONS.c.status != int(RedemptionStatus.USED)


class SqlRedemptions:
    """Implements `store.base.RedemptionRepository`."""

    def __init__(self, database: Database, keyring: KeyRing) -> None:
        self._database = database
        self._keyring = keyring

    async def create(self, *, user_id: int, user_uuid: str, name: str, quota: Quota, keys: Sequence[str]) -> None:
        now = now_ms()
        rows = [
            Redemption(
                uuid=(uuid := uuid7()),
                user_id=user_id,
                user_uuid=user_uuid,
                key_digest=self._keyring.digest("redemption", key),
                key_sealed=self._keyring.seal(key, column=COLUMN, row=uuid),
                name=name,
                quota=quota,
                created_time=now // 1000,
                created_at=now,
                updated_at=now,
            )
            for key in keys
        ]
        async with self._database.writing() as connection:
            await connection.execute(REDEMPTIONS.insert(), [columns_of(row) for row in rows])

    async def get(self, uuid: str) -> RedemptionRecord | None:
        async with self._database.reading() as connection:
            return await self._find(connection, REDEMPTIONS.c.uuid == uuid)

    async def update(self, uuid: str, changes: Mapping[str, Any]) -> RedemptionRecord | None:
        check_redemption_changes(changes)
        change = update(REDEMPTIONS).where(REDEMPTIONS.c.uuid == uuid)
        if changes.keys() & {"quota", "status"}:  # of a code that was redeemed they are history
            change = change.where(_UNUSED)
        async with self._database.writing() as connection:
            changed = await connection.execute(change.values(**changes, updated_at=now_ms()))
            found = await self._find(connection, REDEMPTIONS.c.uuid == uuid)
        if found is not None and not changed.rowcount:
            raise Conflict("status")
        return found

    async def delete(self, uuid: str) -> bool:
        async with self._database.writing() as connection:
            gone = await connection.execute(delete(REDEMPTIONS).where(REDEMPTIONS.c.uuid == uuid))
        return bool(gone.rowcount)

    async def redeem(self, key: str, *, user_id: int, user_uuid: str) -> RedemptionRecord | None:
        """The one that turns the row is the one whose user is credited."""
        now = now_ms()
        this = REDEMPTIONS.c.key_digest.in_(self._keyring.digests("redemption", key))
        used = update(REDEMPTIONS).where(this, REDEMPTIONS.c.status == int(RedemptionStatus.ENABLED))
        used = used.values(
            status=int(RedemptionStatus.USED), redeemed_time=now // 1000, redeemed_by=user_uuid, updated_at=now
        )
        async with self._database.writing() as connection:
            if (await connection.execute(used)).rowcount != 1:
                return None
            found = await self._find(connection, this)
            assert found is not None
            remark = f"redemption code {found.name}"
            await book(connection, Credit(f"redeem-{found.uuid}", user_id, found.quota, "redeem", remark))
        return found

    async def list(self, page: Page, *, keyword: str = "") -> tuple[list[RedemptionRecord], int]:
        check_sort(page, REDEMPTION_SORTS)
        where: list[ColumnElement[bool]] = []
        uuid = as_uuid(keyword)
        if uuid is not None:
            where.append(or_(REDEMPTIONS.c.uuid == uuid, REDEMPTIONS.c.user_uuid == uuid))
        elif keyword:
            where.append(starts_with(REDEMPTIONS.c.name, keyword))
        async with self._database.reading() as connection:
            rows, total = await read_page(connection, REDEMPTIONS, where, page)
        return [self._record(row) for row in rows], total

    async def _find(self, connection: AsyncConnection, *where: ColumnElement[bool]) -> RedemptionRecord | None:
        row = (await connection.execute(select(REDEMPTIONS).where(*where))).one_or_none()
        return None if row is None else self._record(row)

    def _record(self, row: Row[Any]) -> RedemptionRecord:
        return RedemptionRecord(
            id=row.id,
            uuid=row.uuid,
            user_uuid=row.user_uuid,
            key=self._keyring.unseal(row.key_sealed, column=COLUMN, row=row.uuid),
            status=row.status,
            name=row.name,
            quota=row.quota,
            created_time=row.created_time,
            redeemed_time=row.redeemed_time,
            redeemed_by=row.redeemed_by,
            created_at=row.created_at,
            updated_at=row.updated_at,
        )
