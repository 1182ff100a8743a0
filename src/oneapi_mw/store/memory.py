"""The store in dictionaries: for single middlewares in front of one's own app, and for fast tests.

Nothing survives the process. Balances are those of a `MemoryLedger`; give the gateway that same one:

    store = MemoryStore()
    Gateway(store=store, ledger=store.ledger)

Every method is one step of the event loop, hence atomic.
"""

from __future__ import annotations

import secrets
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import count
from operator import attrgetter
from typing import Any, TypeVar

from oneapi_mw.ids import uuid7, uuid_of
from oneapi_mw.ledger.base import EXTERNAL
from oneapi_mw.ledger.limits import check_amounts
from oneapi_mw.ledger.memory import LogEntry, MemoryLedger
from oneapi_mw.pricing.archive import CardArchive
from oneapi_mw.principal import Principal, TokenStatus, UserStatus
from oneapi_mw.routing.channel import Channel
from oneapi_mw.store.base import (
    ChannelRepository,
    Channels,
    Conflict,
    CostRepository,
    IdempotencyKeys,
    LogRepository,
    OptionRepository,
    Principals,
    RedemptionRepository,
    ResponseStates,
    SessionRepository,
    TokenRepository,
    TransactionRepository,
    UserRepository,
)
from oneapi_mw.store.cache import ChannelTable
from oneapi_mw.store.decode import allowed_models, decode_channel, split_list
from oneapi_mw.store.entries import (
    LARGEST_BALANCE,
    LOG_TYPES,
    check_allowance,
    check_channel_changes,
    check_entry,
    check_token_changes,
    check_user_changes,
)
from oneapi_mw.store.memory_idempotency import MemoryIdempotencyKeys
from oneapi_mw.store.memory_redemptions import MemoryRedemptions
from oneapi_mw.store.memory_responses import MemoryResponses
from oneapi_mw.store.memory_transactions import MemoryTransactions
from oneapi_mw.store.records import (
    ChannelRecord,
    CostRecord,
    EntryRecord,
    LogFilter,
    LogRecord,
    Page,
    TokenRecord,
    UserRecord,
)
from oneapi_mw.store.search import CHANNEL_SORTS, LOG_SORTS, TOKEN_SORTS, USER_SORTS, as_uuid, check_sort
from oneapi_mw.types import Quota

R = TypeVar("R")
REMEMBER_CREDITS = 100_000
"""Log rows of credits that are kept."""


class MemoryStore:
    """Implements `store.base.Store`.

    Args:
        ledger: whose balances these are; users and tokens made here are opened there.
        clock: Unix seconds.
    """

    def __init__(self, ledger: MemoryLedger | None = None, *, clock: Callable[[], float] = time.time) -> None:
        self.ledger = ledger or MemoryLedger()
        users = MemoryUsers(self.ledger, clock)
        tokens = MemoryTokens(self.ledger, clock)
        channels = MemoryChannels(clock)
        self._table = channels.table
        self.users: UserRepository = users
        self.tokens: TokenRepository = tokens
        self.channels: ChannelRepository = channels
        self.logs: LogRepository = MemoryLogs(self.ledger, users.credits)
        self.costs: CostRepository = MemoryCosts(self.ledger, users)
        self.transactions: TransactionRepository = MemoryTransactions(self.ledger)
        self.redemptions: RedemptionRepository = MemoryRedemptions(users, clock)
        self.options: OptionRepository = MemoryOptions()
        self.cards: CardArchive = MemoryCards()
        self.sessions: SessionRepository = MemorySessions(clock)
        self.responses: ResponseStates = MemoryResponses(clock)
        self.idempotency: IdempotencyKeys = MemoryIdempotencyKeys(clock)
        self.principals: Principals = MemoryPrincipals(users, tokens)
        self.channel_table: Channels = self._table

    async def start(self) -> None:
        """Nothing to connect to."""

    async def aclose(self) -> None:
        """Nothing to close."""


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
        id_, now = next(self._ids), _ms(self._clock)
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
            row = self._rows[user_id] = replace(row, updated_at=_ms(self._clock), **values)
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
        now = _ms(self._clock)
        self._rows[user_id] = replace(row, updated_at=now)
        if kind in LOG_TYPES:
            self.credits.append(_credit_row(row, amount, LOG_TYPES[kind], entry.remark, now))
        return entry

    async def list(self, page: Page) -> tuple[list[UserRecord], int]:
        check_sort(page, USER_SORTS)
        there = [await self._shown(row) for row in self._rows.values() if row.status != UserStatus.DELETED]
        return _page(there, page)

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
        id_, now = next(self._ids), _ms(self._clock)
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
            row = self._rows[row.id] = replace(row, updated_at=_ms(self._clock), **values)
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
        return _page(rows, page, first=("unlimited_quota",) if column == "remain_quota" else ())

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


class MemoryChannels:
    """Implements `store.base.ChannelRepository` and `store.cache.ChannelRows`; `table` is what is routed over."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._ids = count(1)
        self._rows: dict[int, ChannelRecord] = {}
        self.table = ChannelTable(self)

    async def stamps(self) -> Mapping[int, int]:
        return {id_: row.updated_at for id_, row in self._rows.items()}

    async def decoded(self, ids: Sequence[int]) -> Mapping[int, Channel | ValueError]:
        found: dict[int, Channel | ValueError] = {}
        for id_ in ids:
            try:
                found[id_] = decode_channel(self._rows[id_])
            except ValueError as exc:
                found[id_] = exc
        return found

    async def create(self, values: Mapping[str, Any]) -> ChannelRecord:
        check_channel_changes(values)
        id_, now = next(self._ids), _ms(self._clock)
        blank = replace(_BLANK_CHANNEL, id=id_, uuid=uuid7(), created_time=now // 1000, created_at=now, updated_at=now)
        row = self._rows[id_] = replace(blank, **values)
        await self.table.changed()
        return row

    async def get(self, uuid: str) -> ChannelRecord | None:
        return next((row for row in self._rows.values() if row.uuid == uuid), None)

    async def update(self, uuid: str, changes: Mapping[str, Any]) -> ChannelRecord | None:
        check_channel_changes(changes)
        row = await self.get(uuid)
        if row is None:
            return None
        # always another number than before: the channel table goes by it
        updated_at = max(_ms(self._clock), row.updated_at + 1)
        row = self._rows[row.id] = replace(row, updated_at=updated_at, **changes)
        await self.table.changed()
        return row

    async def delete(self, uuid: str) -> bool:
        row = await self.get(uuid)
        if row is None:
            return False
        del self._rows[row.id]
        await self.table.changed()
        return True

    async def list(self, page: Page, *, keyword: str = "") -> tuple[list[ChannelRecord], int]:
        check_sort(page, CHANNEL_SORTS)
        uuid = as_uuid(keyword)
        rows = [row for row in self._rows.values() if (row.uuid == uuid if uuid else row.name.startswith(keyword))]
        return _page(rows, page)


class MemoryLogs:
    """Implements `store.base.LogRepository` over what the ledger has settled and the users were credited."""

    def __init__(self, ledger: MemoryLedger, credits: deque[LogRecord]) -> None:
        self._ledger = ledger
        self._credits = credits

    async def list(self, where: LogFilter, page: Page) -> tuple[list[LogRecord], int]:
        column = check_sort(page, LOG_SORTS)
        rows = sorted([*map(_consume_row, self._ledger.log), *self._credits], key=attrgetter("updated_at"))
        rows = [row for row in rows if _matches(row, where)]
        if page.descending:
            rows.reverse()
        if column != "id":  # stable: equal rows stay in the order of their making
            rows.sort(key=attrgetter(column), reverse=page.descending)
        return rows[page.offset : page.offset + page.limit], len(rows)


class MemoryCosts:
    """Implements `store.base.CostRepository` over the ledger's holds."""

    def __init__(self, ledger: MemoryLedger, users: UserRepository) -> None:
        self._ledger = ledger
        self._users = users

    async def get(self, request_id: str) -> CostRecord | None:
        hold = self._ledger.holds.get(request_id)
        if hold is None:
            return None
        user = await self._users.get_by_id(hold.request.user_id)
        entry = hold.entry
        state, quota = ("pending", hold.amount) if hold.state == "open" else ("void", 0)
        if entry is not None:
            state, quota = "final", entry.quota
        ended_at = hold.created_at if hold.ended_at is None else hold.ended_at
        return CostRecord(
            uuid=uuid_of(request_id),
            request_id=request_id,
            user_uuid="" if user is None else user.uuid,
            quota=quota,
            state=state,
            estimated=entry is not None and entry.estimated,
            created_time=int(hold.created_at),
            created_at=int(hold.created_at * 1000),
            updated_at=int(ended_at * 1000),
            guessable=hold.request.kind == EXTERNAL,
        )


class MemoryCards:
    """Implements `pricing.archive.CardArchive`."""

    def __init__(self) -> None:
        self._cards: dict[str, str] = {}

    def has(self, card_id: str) -> bool:
        return card_id in self._cards

    async def keep(self, card_id: str, card: str) -> None:
        self._cards.setdefault(card_id, card)

    async def find(self, card_id: str) -> str | None:
        return self._cards.get(card_id)


class MemoryOptions:
    """Implements `store.base.OptionRepository`."""

    def __init__(self) -> None:
        self._values: dict[str, str] = {}

    async def all(self) -> dict[str, str]:
        return dict(self._values)

    async def set(self, key: str, value: str) -> None:
        self._values[key] = value


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


_BLANK_CHANNEL = ChannelRecord(
    id=0,
    uuid="",
    type=0,
    key="",
    status=1,
    name="",
    weight=0,
    created_time=0,
    test_time=0,
    response_time=0,
    base_url="",
    other=None,
    balance="0",
    balance_updated_time=0,
    models="",
    hidden_models=None,
    model_configs=None,
    group="default",
    used_quota=0,
    model_mapping=None,
    priority=0,
    config="",
    ratelimit=0,
    system_prompt=None,
    testing_model=None,
    model_ratio=None,
    completion_ratio=None,
    inference_profile_arn_map=None,
    created_at=0,
    updated_at=0,
)


def _ms(clock: Callable[[], float]) -> int:
    return int(clock() * 1000)


def _page(rows: list[R], page: Page, *, first: Sequence[str] = ()) -> tuple[list[R], int]:
    """The rows of a page and how many there are in all; equal rows are in the order of their ids."""
    ordered = sorted(rows, key=attrgetter(*first, page.sort, "id"), reverse=page.descending)
    return ordered[page.offset : page.offset + page.limit], len(rows)


def _matches(row: LogRecord, where: LogFilter) -> bool:
    equal = (
        (where.type, row.type),
        (where.username, row.username),
        (where.token_name, row.token_name),
        (where.model_name, row.model_name),
        (where.channel_uuid, row.channel_uuid),
    )
    uuid = as_uuid(where.keyword)
    return (
        where.user_id in (None, row.user_id)
        and where.token_id in (None, row.token_id)
        and all(wanted in (0, "", value) for wanted, value in equal)
        and row.created_at >= where.start
        and (not where.end or row.created_at <= where.end)
        and (
            uuid in (row.uuid, row.user_uuid, row.token_uuid, row.channel_uuid)
            if uuid
            else where.keyword in row.content
        )
    )


def _consume_row(entry: LogEntry) -> LogRecord:
    facts = entry.facts
    return LogRecord(
        uuid=entry.uuid,
        user_id=entry.user_id,
        user_uuid=facts.user_uuid,
        token_id=entry.token_id,
        token_uuid=facts.token_uuid,
        channel_uuid=facts.channel_uuid,
        channel_name=facts.channel_name,
        created_at=int(entry.created_at),
        type=facts.type,
        content=facts.content,
        username=facts.username,
        token_name=facts.token_name,
        model_name=facts.model_name,
        origin_model_name=facts.origin_model_name,
        quota=entry.quota,
        prompt_tokens=facts.prompt_tokens,
        completion_tokens=facts.completion_tokens,
        cached_prompt_tokens=facts.cached_prompt_tokens,
        request_id=entry.key,
        trace_id=facts.trace_id,
        elapsed_time=facts.elapsed_time,
        is_stream=facts.is_stream,
        system_prompt_reset=False,
        metadata=dict(facts.metadata) if facts.metadata else None,
        updated_at=int(entry.created_at * 1000),
    )


def _credit_row(user: UserRecord, amount: Quota, kind: int, remark: str, now: int) -> LogRecord:
    return LogRecord(
        uuid=uuid7(),
        user_id=user.id,
        user_uuid=user.uuid,
        token_id=None,
        token_uuid=None,
        channel_uuid=None,
        channel_name="",
        created_at=now // 1000,
        type=kind,
        content=remark,
        username=user.username,
        token_name="",
        model_name="",
        origin_model_name="",
        quota=amount,
        prompt_tokens=0,
        completion_tokens=0,
        cached_prompt_tokens=0,
        request_id="",
        trace_id="",
        elapsed_time=0,
        is_stream=False,
        system_prompt_reset=False,
        metadata=None,
        updated_at=now,
    )
