"""Users, their keys and sessions in dictionaries."""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from itertools import count
from typing import Any

from oneapi_mw.ids import uuid7
from oneapi_mw.ledger.limits import check_amounts
from oneapi_mw.ledger.memory import MemoryLedger
from oneapi_mw.principal import Principal, TokenStatus, UserStatus
from oneapi_mw.store.base import Conflict, UserRepository
from oneapi_mw.store.decode import allowed_models, split_list
from oneapi_mw.store.entries import (
    LARGEST_BALANCE,
    LOG_TYPES,
    check_allowance,
    check_entry,
    check_token_changes,
    check_user_changes,
)
from oneapi_mw.store.memory_logs import REMEMBER_CREDITS, credit_row
from oneapi_mw.store.memory_rows import ms, page_of
from oneapi_mw.store.records import EntryRecord, LogRecord, Page, TokenRecord, UserRecord
from oneapi_mw.store.search import TOKEN_SORTS, USER_SORTS, as_uuid, check_sort
from oneapi_mw.types import Quota


class MemoryUsers:
    """Implements `store.base.UserRepository`. `credits` has the log rows of credits, newest last."""

    def __init__(self, ledger: MemoryLedger, clock: Callable[[], float]) -> None:
        self._ledger = ledger
        self._clock = clock
        self._ids = count(1)
        self._rows: dict[int, UserRecord] = {}
        self._access_tokens: dict[int, str] = {}
        self._booked: dict[str, EntryRecord] = {}
        self.credits: deque[LogRecord] = deque(maxlen=REMEMBER_CREDITS)

    async def count(self) -> int:
        return len(self._rows)

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
        self._check_unique(0, username, access_token)
        id_, now = next(self._ids), ms(self._clock)
        self._rows[id_] = UserRecord(
            id=id_,
            uuid=uuid7(),
            username=username,
            display_name=display_name,
            role=role,
            status=int(UserStatus.ENABLED),
            email=email,
            github_id="",
            wechat_id="",
            lark_id="",
            oidc_id="",
            quota=0,
            used_quota=0,
            request_count=0,
            group=group,
            aff_code="",
            inviter_uuid=None,
            mcp_tool_blacklist=(),
            metadata={},
            created_at=now,
            updated_at=now,
            password_hash=password_hash,
        )
        if access_token is not None:
            self._access_tokens[id_] = access_token
        self._ledger.open_account(id_, quota)
        return await self._shown(self._rows[id_])

    async def get(self, uuid: str) -> UserRecord | None:
        return await self._first(row for row in self._rows.values() if row.uuid == uuid)

    async def get_by_id(self, user_id: int) -> UserRecord | None:
        row = self._rows.get(user_id)
        return None if row is None else await self._shown(row)

    async def find_login(self, name: str) -> UserRecord | None:
        there = [row for row in self._rows.values() if row.status != UserStatus.DELETED]
        named = [row for row in there if row.username == name] or [row for row in there if row.email == name]
        if not name or not named:
            return None
        return replace(await self._shown(named[0]), password_hash=named[0].password_hash)

    async def find_access_token(self, access_token: str) -> UserRecord | None:
        return await self._first(
            self._rows[id_]
            for id_, known in self._access_tokens.items()
            if secrets.compare_digest(known.encode(), access_token.encode())
            and self._rows[id_].status != UserStatus.DELETED
        )

    async def update(self, user_id: int, changes: Mapping[str, Any]) -> UserRecord | None:
        check_user_changes(changes)
        row = self._rows.get(user_id)
        if row is None:
            return None
        values = dict(changes)
        self._check_unique(user_id, values.get("username", row.username), values.get("access_token"))
        if "access_token" in values:
            token = values.pop("access_token")
            self._access_tokens.pop(user_id, None)
            if token is not None:
                self._access_tokens[user_id] = token
        if changes:
            row = self._rows[user_id] = replace(row, updated_at=ms(self._clock), **values)
            self._ledger.set_enabled(user_id=user_id, enabled=row.status == UserStatus.ENABLED)
        return await self._shown(row)

    async def add_quota(
        self, user_id: int, amount: Quota, *, kind: str, key: str, remark: str = "", actor_id: int | None = None
    ) -> EntryRecord:
        del actor_id  # nobody reads it here
        check_entry(amount, kind=kind, key=key)
        if key in self._booked:
            return replace(self._booked[key], first=False)
        row = self._rows[user_id]
        if abs((await self._shown(row)).quota + amount) > LARGEST_BALANCE:
            raise ValueError(f"the balance of user {user_id} would leave the range of {LARGEST_BALANCE} quota units")
        entry = self._booked[key] = EntryRecord(user_id, amount, kind, remark[:255])
        self._ledger.open_account(user_id, amount)
        now = ms(self._clock)
        self._rows[user_id] = replace(row, updated_at=now)
        if kind in LOG_TYPES:
            self.credits.append(credit_row(row, amount, LOG_TYPES[kind], entry.remark, now))
        return entry

    async def list(self, page: Page) -> tuple[list[UserRecord], int]:
        check_sort(page, USER_SORTS)
        there = [await self._shown(row) for row in self._rows.values() if row.status != UserStatus.DELETED]
        return page_of(there, page)

    def _check_unique(self, user_id: int, username: str, access_token: str | None) -> None:
        others = [row for row in self._rows.values() if row.id != user_id]
        if any(row.username == username for row in others):
            raise Conflict("username")
        if access_token is not None and any(self._access_tokens.get(row.id) == access_token for row in others):
            raise Conflict("access_token")

    async def _first(self, rows: Iterable[UserRecord]) -> UserRecord | None:
        row = next(iter(rows), None)
        return None if row is None else await self._shown(row)

    async def _shown(self, row: UserRecord) -> UserRecord:
        """The row with its balance, and without the password."""
        balance = await self._ledger.user_balance(row.id)
        return replace(
            row,
            quota=balance.quota,
            used_quota=balance.used_quota,
            request_count=balance.request_count,
            password_hash="",
        )


class MemoryTokens:
    """Implements `store.base.TokenRepository`."""

    def __init__(self, ledger: MemoryLedger, clock: Callable[[], float]) -> None:
        self._ledger = ledger
        self._clock = clock
        self._ids = count(1)
        self._rows: dict[int, TokenRecord] = {}
        self._by_key: dict[str, int] = {}

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
        if key in self._by_key:
            raise Conflict("key")
        id_, now = next(self._ids), ms(self._clock)
        self._rows[id_] = TokenRecord(
            id=id_,
            uuid=uuid7(),
            user_id=user_id,
            user_uuid=user_uuid,
            key=key,
            status=int(TokenStatus.ENABLED),
            name=name,
            created_time=now // 1000,
            accessed_time=now // 1000,
            expired_time=expired_time,
            remain_quota=0,
            unlimited_quota=unlimited_quota,
            used_quota=0,
            models=models,
            subnet=subnet,
            created_at=now,
            updated_at=now,
        )
        self._by_key[key] = id_
        self._ledger.open_token(id_, user_id, remain_quota, unlimited=unlimited_quota)
        return await self._shown(self._rows[id_])

    def by_key(self, key: str) -> TokenRecord | None:
        """The row of a key, without its balance."""
        id_ = self._by_key.get(key)
        return None if id_ is None else self._rows[id_]

    async def get(self, uuid: str, *, user_id: int | None = None) -> TokenRecord | None:
        row = self._find(uuid, user_id)
        return None if row is None else await self._shown(row)

    async def get_by_id(self, token_id: int) -> TokenRecord | None:
        row = self._rows.get(token_id)
        return None if row is None else await self._shown(row)

    async def update(self, uuid: str, changes: Mapping[str, Any], *, user_id: int | None = None) -> TokenRecord | None:
        check_token_changes(changes)
        row = self._find(uuid, user_id)
        if row is None:
            return None
        values = dict(changes)
        if "remain_quota" in values or "more_quota" in values:
            there = (await self._shown(row)).remain_quota
            wanted = values.pop("remain_quota", there) + values.pop("more_quota", 0)
            check_allowance(wanted)
            self._ledger.open_token(row.id, row.user_id, wanted - there)
        if changes:
            row = self._rows[row.id] = replace(row, updated_at=ms(self._clock), **values)
            self._ledger.set_enabled(token_id=row.id, enabled=row.status == TokenStatus.ENABLED)
            self._ledger.set_limited(row.id, limited=not row.unlimited_quota)
        return await self._shown(row)

    async def delete(self, uuid: str, *, user_id: int | None = None) -> bool:
        row = self._find(uuid, user_id)
        if row is None:
            return False
        del self._rows[row.id], self._by_key[row.key]
        self._ledger.set_enabled(token_id=row.id, enabled=False)
        return True

    async def list(self, page: Page, *, user_id: int | None = None, keyword: str = "") -> tuple[list[TokenRecord], int]:
        column = check_sort(page, TOKEN_SORTS)
        uuid = as_uuid(keyword)
        rows = [
            await self._shown(row)
            for row in self._rows.values()
            if user_id in (None, row.user_id)
            and (uuid in (row.uuid, row.user_uuid) if uuid else row.name.startswith(keyword))
        ]
        return page_of(rows, page, first=("unlimited_quota",) if column == "remain_quota" else ())

    def _find(self, uuid: str, user_id: int | None) -> TokenRecord | None:
        return next((row for row in self._rows.values() if row.uuid == uuid and user_id in (None, row.user_id)), None)

    async def _shown(self, row: TokenRecord) -> TokenRecord:
        """The row with its balance."""
        balance = await self._ledger.token_balance(row.id)
        return replace(row, remain_quota=balance.quota, used_quota=balance.used_quota)


class MemoryPrincipals:
    """Implements `store.base.Principals`."""

    def __init__(self, users: UserRepository, tokens: MemoryTokens) -> None:
        self._users = users
        self._tokens = tokens

    async def find(self, key: str) -> Principal | None:
        token = self._tokens.by_key(key)
        user = None if token is None else await self._users.get_by_id(token.user_id)
        if token is None or user is None:
            return None
        return Principal(
            user_id=user.id,
            user_uuid=user.uuid,
            username=user.username,
            group=user.group,
            role=user.role,
            user_status=user.status,
            token_id=token.id,
            token_uuid=token.uuid,
            token_name=token.name,
            token_status=token.status,
            expires_at=token.expired_time,
            unlimited=token.unlimited_quota,
            models=allowed_models(token.models),
            subnets=split_list(token.subnet),
        )


class MemorySessions:
    """Implements `store.base.SessionRepository`."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._rows: dict[str, tuple[int, float]] = {}

    async def create(self, user_id: int, *, max_age: int) -> str:
        now = self._clock()
        self._rows = {id_: row for id_, row in self._rows.items() if row[1] > now}
        session_id = secrets.token_urlsafe(32)
        self._rows[session_id] = (user_id, now + max_age)
        return session_id

    async def find(self, session_id: str) -> int | None:
        user_id, end = self._rows.get(session_id, (None, 0.0))
        return user_id if end > self._clock() else None

    async def delete(self, session_id: str) -> None:
        self._rows.pop(session_id, None)

    async def delete_user(self, user_id: int) -> None:
        self._rows = {id_: row for id_, row in self._rows.items() if row[0] != user_id}
