"""API keys in an SQL database."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, Row, false, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from oneapi_mw.ids import uuid7
from oneapi_mw.store.cache import PrincipalCache
from oneapi_mw.store.engine import Database
from oneapi_mw.store.entries import check_allowance, check_token_changes
from oneapi_mw.store.keyring import KeyRing
from oneapi_mw.store.records import Page, TokenRecord
from oneapi_mw.store.repositories.rows import ENTRIES, TOKENS, insert_row, read_page, starts_with
from oneapi_mw.store.search import TOKEN_SORTS, as_uuid, check_sort
from oneapi_mw.store.tables import Entry, Token, now_ms
from oneapi_mw.types import Quota

COLUMN = "tokens.key"
_THERE = TOKENS.c.deleted == false()


class SqlTokens:
    """Implements `store.base.TokenRepository`."""

    def __init__(self, database: Database, keyring: KeyRing, principals: PrincipalCache) -> None:
        self._database = database
        self._keyring = keyring
        self._principals = principals

    async def create(
        self,
        *,
        user_id: int,
        user_uuid: str,
        name: str,
        key: str,
        remain_quota: Quota = 0,
        unlimited_quota: bool = False,
        expired_time: int = -1,
        models: str | None = None,
        subnet: str | None = "",
    ) -> TokenRecord:
        check_allowance(remain_quota)
        uuid, now = uuid7(), now_ms()
        row = Token(
            uuid=uuid,
            user_id=user_id,
            user_uuid=user_uuid,
            key_digest=self._keyring.digest("api_key", key),
            key_sealed=self._keyring.seal(key, column=COLUMN, row=uuid),
            name=name,
            created_time=now // 1000,
            accessed_time=now // 1000,
            expired_time=expired_time,
            remain_quota=remain_quota,
            unlimited_quota=unlimited_quota,
            models=models,
            subnet=subnet,
            created_at=now,
            updated_at=now,
        )
        async with self._database.writing() as connection:
            id_ = await insert_row(connection, TOKENS, row)
            if remain_quota:
                await _book(connection, user_id, id_, remain_quota, kind="initial", key=f"initial-{uuid}")
            created = await self._find(connection, TOKENS.c.id == id_)
        self._principals.forget_key(key)
        assert created is not None
        return created

    async def get(self, uuid: str, *, user_id: int | None = None) -> TokenRecord | None:
        async with self._database.reading() as connection:
            return await self._find(connection, *_one(uuid, user_id))

    async def get_by_id(self, token_id: int) -> TokenRecord | None:
        async with self._database.reading() as connection:
            return await self._find(connection, TOKENS.c.id == token_id, _THERE)

    async def update(self, uuid: str, changes: Mapping[str, Any], *, user_id: int | None = None) -> TokenRecord | None:
        check_token_changes(changes)
        values = dict(changes)
        token_id: int | None = None
        try:
            async with self._database.writing() as connection:
                row = await _locked(connection, uuid, user_id)
                if row is None:
                    return None
                token_id = row.id
                more = values.pop("remain_quota", row.remain_quota) - row.remain_quota + values.pop("more_quota", 0)
                if more:
                    check_allowance(row.remain_quota + more)
                    values["remain_quota"] = TOKENS.c.remain_quota + more
                    await _book(connection, row.user_id, row.id, more, kind="adjust", key=f"adjust-{uuid7()}")
                if values:
                    values["updated_at"] = now_ms()
                    await connection.execute(update(TOKENS).where(TOKENS.c.id == row.id).values(values))
                return await self._find(connection, TOKENS.c.id == row.id)
        finally:
            if token_id is not None:
                self._principals.forget_token(token_id)

    async def delete(self, uuid: str, *, user_id: int | None = None) -> bool:
        """The row stays for its logs and balances; of the key nothing is left, and it may be used anew."""
        token_id: int | None = None
        try:
            async with self._database.writing() as connection:
                row = await _locked(connection, uuid, user_id)
                if row is None:
                    return False
                token_id = row.id
                gone = {
                    "deleted": True,
                    "key_digest": f"deleted-{row.uuid}",
                    "key_sealed": b"",
                    "updated_at": now_ms(),
                }
                await connection.execute(update(TOKENS).where(TOKENS.c.id == row.id).values(gone))
            return True
        finally:
            if token_id is not None:
                self._principals.forget_token(token_id)

    async def list(self, page: Page, *, user_id: int | None = None, keyword: str = "") -> tuple[list[TokenRecord], int]:
        column = check_sort(page, TOKEN_SORTS)
        where: list[ColumnElement[bool]] = [_THERE]
        if user_id is not None:
            where.append(TOKENS.c.user_id == user_id)
        uuid = as_uuid(keyword)
        if uuid is not None:
            where.append(or_(TOKENS.c.uuid == uuid, TOKENS.c.user_uuid == uuid))
        elif keyword:
            where.append(starts_with(TOKENS.c.name, keyword))
        # nothing has more left than an unlimited key
        first = ("unlimited_quota",) if column == "remain_quota" else ()
        async with self._database.reading() as connection:
            rows, total = await read_page(connection, TOKENS, where, page, first=first)
        return [self._record(row) for row in rows], total

    async def _find(self, connection: AsyncConnection, *where: ColumnElement[bool]) -> TokenRecord | None:
        row = (await connection.execute(select(TOKENS).where(*where))).one_or_none()
        return None if row is None else self._record(row)

    def _record(self, row: Row[Any]) -> TokenRecord:
        return TokenRecord(
            id=row.id,
            uuid=row.uuid,
            user_id=row.user_id,
            user_uuid=row.user_uuid,
            key=self._keyring.unseal(row.key_sealed, column=COLUMN, row=row.uuid),
            status=row.status,
            name=row.name,
            created_time=row.created_time,
            accessed_time=row.accessed_time,
            expired_time=row.expired_time,
            remain_quota=row.remain_quota,
            unlimited_quota=row.unlimited_quota,
            used_quota=row.used_quota,
            models=row.models,
            subnet=row.subnet,
            created_at=row.created_at,
            updated_at=row.updated_at,
        )


def _one(uuid: str, user_id: int | None) -> list[ColumnElement[bool]]:
    """One token, for `user_id` only when that user owns it."""
    where: list[ColumnElement[bool]] = [TOKENS.c.uuid == uuid, _THERE]
    return where if user_id is None else [*where, TOKENS.c.user_id == user_id]


async def _locked(connection: AsyncConnection, uuid: str, user_id: int | None) -> Row[Any] | None:
    """The row, kept as it is until the transaction ends: what it holds and what is booked must agree."""
    return (await connection.execute(select(TOKENS).where(*_one(uuid, user_id)).with_for_update())).one_or_none()


async def _book(
    connection: AsyncConnection, user_id: int, token_id: int, amount: Quota, *, kind: str, key: str
) -> None:
    await insert_row(connection, ENTRIES, Entry(key=key, user_id=user_id, token_id=token_id, amount=amount, kind=kind))
