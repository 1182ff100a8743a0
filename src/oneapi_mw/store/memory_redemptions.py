"""Redemption codes in a dictionary."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import count
from operator import attrgetter
from typing import Any

from oneapi_mw.ids import uuid7
from oneapi_mw.store.base import Conflict, UserRepository
from oneapi_mw.store.entries import check_redemption_changes
from oneapi_mw.store.records import Page, RedemptionRecord, RedemptionStatus
from oneapi_mw.store.search import REDEMPTION_SORTS, as_uuid, check_sort
from oneapi_mw.types import Quota


class MemoryRedemptions:
    """Implements `store.base.RedemptionRepository`. Args: clock: Unix seconds."""

    def __init__(self, users: UserRepository, clock: Callable[[], float]) -> None:
        self._users = users
        self._clock = clock
        self._ids = count(1)
        self._rows: dict[str, RedemptionRecord] = {}

    async def create(self, *, user_id: int, user_uuid: str, name: str, quota: Quota, keys: Sequence[str]) -> None:
        del user_id
        if len(set(keys)) < len(keys) or any(self._by_key(key) for key in keys):
            raise Conflict("key")
        now = int(self._clock() * 1000)
        for key in keys:
            row = RedemptionRecord(
                id=next(self._ids),
                uuid=uuid7(),
                user_uuid=user_uuid,
                key=key,
                status=int(RedemptionStatus.ENABLED),
                name=name,
                quota=quota,
                created_time=now // 1000,
                redeemed_time=0,
                redeemed_by=None,
                created_at=now,
                updated_at=now,
            )
            self._rows[row.uuid] = row

    async def get(self, uuid: str) -> RedemptionRecord | None:
        return self._rows.get(uuid)

    async def update(self, uuid: str, changes: Mapping[str, Any]) -> RedemptionRecord | None:
        check_redemption_changes(changes)
        row = self._rows.get(uuid)
        if row is None:
            return None
        if row.status == RedemptionStatus.USED and changes.keys() & {"quota", "status"}:
            raise Conflict("status")
        row = self._rows[uuid] = replace(row, **changes, updated_at=int(self._clock() * 1000))
        return row

    async def delete(self, uuid: str) -> bool:
        return self._rows.pop(uuid, None) is not None

    async def redeem(self, key: str, *, user_id: int, user_uuid: str) -> RedemptionRecord | None:
        row = self._by_key(key)
        if row is None or row.status != RedemptionStatus.ENABLED:
            return None
        remark = f"redemption code {row.name}"
        await self._users.add_quota(user_id, row.quota, kind="redeem", key=f"redeem-{row.uuid}", remark=remark)
        now = int(self._clock() * 1000)
        row = self._rows[row.uuid] = replace(
            row,
            status=int(RedemptionStatus.USED),
            redeemed_time=now // 1000,
            redeemed_by=user_uuid,
            updated_at=now,
        )
        return row

    async def list(self, page: Page, *, keyword: str = "") -> tuple[list[RedemptionRecord], int]:
        column = check_sort(page, REDEMPTION_SORTS)
        uuid = as_uuid(keyword)
        rows = [
            row
            for row in self._rows.values()
            if (uuid in (row.uuid, row.user_uuid) if uuid else row.name.startswith(keyword))
        ]
        rows.sort(key=attrgetter(column, "id"), reverse=page.descending)
        return rows[page.offset : page.offset + page.limit], len(rows)

    def _by_key(self, key: str) -> RedemptionRecord | None:
        return next(
            (row for row in self._rows.values() if secrets.compare_digest(row.key.encode(), key.encode())), None
        )
