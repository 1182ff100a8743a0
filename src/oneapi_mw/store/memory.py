"""The store in dictionaries: for single middlewares in front of one's own app, and for fast tests.

Nothing survives the process. Balances are those of a `MemoryLedger`; give the gateway that same one:

    store = MemoryStore()
    Gateway(store=store, ledger=store.ledger)

Every method is one step of the event loop, hence atomic.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import count
from typing import Any

from oneapi_mw.ids import uuid7
from oneapi_mw.ledger.memory import MemoryLedger
from oneapi_mw.pricing.archive import CardArchive
from oneapi_mw.routing.channel import Channel
from oneapi_mw.store.base import (
    ChannelRepository,
    Channels,
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
from oneapi_mw.store.decode import decode_channel
from oneapi_mw.store.entries import check_channel_changes
from oneapi_mw.store.memory_accounts import MemoryPrincipals, MemorySessions, MemoryTokens, MemoryUsers
from oneapi_mw.store.memory_idempotency import MemoryIdempotencyKeys
from oneapi_mw.store.memory_logs import MemoryCosts, MemoryLogs
from oneapi_mw.store.memory_redemptions import MemoryRedemptions
from oneapi_mw.store.memory_responses import MemoryResponses
from oneapi_mw.store.memory_rows import ms, page_of
from oneapi_mw.store.memory_transactions import MemoryTransactions
from oneapi_mw.store.records import ChannelRecord, Page
from oneapi_mw.store.search import CHANNEL_SORTS, as_uuid, check_sort


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
        self.logs: LogRepository = MemoryLogs(self.ledger, users.credits, users)
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
        id_, now = next(self._ids), ms(self._clock)
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
        updated_at = max(ms(self._clock), row.updated_at + 1)
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
        return page_of(rows, page)


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
