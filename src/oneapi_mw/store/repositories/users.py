"""Users in an SQL database."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, Row, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from oneapi_mw.ledger.credits import Credit, book, booked
from oneapi_mw.ledger.limits import check_amounts
from oneapi_mw.principal import UserStatus
from oneapi_mw.store.base import Conflict
from oneapi_mw.store.cache import PrincipalCache
from oneapi_mw.store.engine import Database
from oneapi_mw.store.entries import check_entry, check_user_changes
from oneapi_mw.store.keyring import KeyRing
from oneapi_mw.store.records import EntryRecord, Page, UserRecord
from oneapi_mw.store.repositories.rows import ENTRIES, USERS, insert_row, read_page, stored_json
from oneapi_mw.store.search import USER_SORTS, check_sort
from oneapi_mw.store.tables import Entry, User, now_ms
from oneapi_mw.types import Quota

_NOT_DELETED = USERS.c.status != int(UserStatus.DELETED)


class SqlUsers:
    """Implements `store.base.UserRepository`."""

    def __init__(self, database: Database, keyring: KeyRing, principals: PrincipalCache) -> None:
        self._database = database
        self._keyring = keyring
        self._principals = principals

    async def count(self) -> int:
        async with self._database.reading() as connection:
            return int(await connection.scalar(select(func.count()).select_from(USERS)) or 0)

    async def create(
        self,
        *,
        username: str,
        password_hash: str,
        display_name: str = "",
        role: int = 1,
        email: str = "",
        group: str = "default",
        quota: Quota = 0,
        access_token: str | None = None,
    ) -> UserRecord:
        check_amounts(quota)
        row = User(
            username=username,
            password=password_hash,
            display_name=display_name,
            role=role,
            email=email,
            group=group,
            quota=quota,
            access_token_digest=None if access_token is None else self._access_digest(access_token),
        )
        async with self._database.writing() as connection:
            id_ = await insert_row(connection, USERS, row)
            if quota:
                entry = Entry(key=f"initial-{row.uuid}", user_id=id_, amount=quota, kind="initial")
                await insert_row(connection, ENTRIES, entry)
            created = await _find(connection, USERS.c.id == id_)
        assert created is not None
        return created

    async def get(self, uuid: str) -> UserRecord | None:
        async with self._database.reading() as connection:
            return await _find(connection, USERS.c.uuid == uuid)

    async def get_by_id(self, user_id: int) -> UserRecord | None:
        async with self._database.reading() as connection:
            return await _find(connection, USERS.c.id == user_id)

    async def find_login(self, name: str) -> UserRecord | None:
        if not name:
            return None
        wanted = select(USERS).where(or_(USERS.c.username == name, USERS.c.email == name), _NOT_DELETED)
        async with self._database.reading() as connection:
            rows = (await connection.execute(wanted.order_by(USERS.c.id))).all()
        # compared once more: MySQL overlooks spaces at the end
        found = [row for row in rows if row.username == name] or [row for row in rows if row.email == name]
        return _record(found[0], with_password=True) if found else None

    async def find_access_token(self, access_token: str) -> UserRecord | None:
        digests = self._keyring.digests("access_token", access_token)
        async with self._database.reading() as connection:
            return await _find(connection, USERS.c.access_token_digest.in_(digests), _NOT_DELETED)

    async def update(self, user_id: int, changes: Mapping[str, Any]) -> UserRecord | None:
        check_user_changes(changes)
        values = dict(changes)
        if "password_hash" in values:
            values["password"] = values.pop("password_hash")
        if "access_token" in values:
            token = values.pop("access_token")
            values["access_token_digest"] = None if token is None else self._access_digest(token)
        try:
            async with self._database.writing() as connection:
                if values:
                    values["updated_at"] = now_ms()
                    await connection.execute(update(USERS).where(USERS.c.id == user_id).values(values))
                return await _find(connection, USERS.c.id == user_id)
        finally:
            self._principals.forget_user(user_id)

    async def add_quota(
        self, user_id: int, amount: Quota, *, kind: str, key: str, remark: str = "", actor_id: int | None = None
    ) -> EntryRecord:
        check_entry(amount, kind=kind, key=key)
        credit = Credit(key, user_id, amount, kind, remark[:255], actor_id)
        try:
            async with self._database.writing() as connection:
                await book(connection, credit)
        except Conflict as exc:
            if str(exc) != "key":
                raise
            async with self._database.reading() as connection:
                return await booked(connection, key)
        return EntryRecord(user_id, amount, kind, credit.remark)

    async def list(self, page: Page) -> tuple[list[UserRecord], int]:
        check_sort(page, USER_SORTS)
        async with self._database.reading() as connection:
            rows, total = await read_page(connection, USERS, [_NOT_DELETED], page)
        return [_record(row) for row in rows], total

    def _access_digest(self, access_token: str) -> str:
        return self._keyring.digest("access_token", access_token)


async def _find(connection: AsyncConnection, *where: ColumnElement[bool]) -> UserRecord | None:
    row = (await connection.execute(select(USERS).where(*where))).one_or_none()
    return None if row is None else _record(row)


def _record(row: Row[Any], *, with_password: bool = False) -> UserRecord:
    known = row._mapping
    blacklist, meta = stored_json(known["mcp_tool_blacklist"]), stored_json(known["metadata"])
    return UserRecord(
        id=known["id"],
        uuid=known["uuid"],
        username=known["username"],
        display_name=known["display_name"],
        role=known["role"],
        status=known["status"],
        email=known["email"],
        github_id=known["github_id"],
        wechat_id=known["wechat_id"],
        lark_id=known["lark_id"],
        oidc_id=known["oidc_id"],
        quota=known["quota"],
        used_quota=known["used_quota"],
        request_count=known["request_count"],
        group=known["group"],
        aff_code=known["aff_code"] or "",
        inviter_uuid=known["inviter_uuid"],
        mcp_tool_blacklist=tuple(map(str, blacklist)) if isinstance(blacklist, list) else (),
        metadata=meta if isinstance(meta, dict) else {},
        created_at=known["created_at"],
        updated_at=known["updated_at"],
        password_hash=known["password"] if with_password else "",
    )
