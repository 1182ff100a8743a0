"""Channels in an SQL database: the rows for administrators, and what the channel table is loaded from."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any

from sqlalchemy import Row, case, delete, select, update

from oneapi_mw.ids import uuid7
from oneapi_mw.routing.channel import Channel
from oneapi_mw.store.decode import decode_channel
from oneapi_mw.store.engine import Database
from oneapi_mw.store.entries import check_channel_changes
from oneapi_mw.store.keyring import KeyRing
from oneapi_mw.store.records import ChannelRecord, Page
from oneapi_mw.store.repositories.rows import CHANNELS, insert_row, read_page, starts_with
from oneapi_mw.store.search import CHANNEL_SORTS, as_uuid, check_sort
from oneapi_mw.store.tables import ChannelRow, now_ms

COLUMN = "channels.key"
READ_AT_ONCE = 200
_COLUMNS = tuple(field.name for field in fields(ChannelRecord) if field.name != "key")


class SqlChannelRows:
    """Implements `store.cache.ChannelRows`."""

    def __init__(self, database: Database, keyring: KeyRing) -> None:
        self._database = database
        self._keyring = keyring

    async def stamps(self) -> Mapping[int, int]:
        async with self._database.reading() as connection:
            rows = await connection.execute(select(CHANNELS.c.id, CHANNELS.c.updated_at))
            return {row.id: row.updated_at for row in rows}

    async def decoded(self, ids: Sequence[int]) -> Mapping[int, Channel | ValueError]:
        found: dict[int, Channel | ValueError] = {}
        async with self._database.reading() as connection:
            for start in range(0, len(ids), READ_AT_ONCE):
                wanted = select(CHANNELS).where(CHANNELS.c.id.in_(ids[start : start + READ_AT_ONCE]))
                for row in await connection.execute(wanted):
                    try:
                        found[row.id] = decode_channel(self.record(row))
                    except ValueError as exc:
                        found[row.id] = exc
        return found

    def record(self, row: Row[Any]) -> ChannelRecord:
        """Raises `WrongKey`."""
        known = row._mapping
        key = self._keyring.unseal(known["key_sealed"], column=COLUMN, row=known["uuid"])
        return ChannelRecord(key=key, **{name: known[name] for name in _COLUMNS})


class SqlChannels:
    """Implements `store.base.ChannelRepository`.

    Args:
        changed: awaited after each change, once it is stored.
    """

    def __init__(
        self, database: Database, keyring: KeyRing, rows: SqlChannelRows, changed: Callable[[], Awaitable[None]]
    ) -> None:
        self._database = database
        self._keyring = keyring
        self._rows = rows
        self._changed = changed

    async def create(self, values: Mapping[str, Any]) -> ChannelRecord:
        check_channel_changes(values)
        given = dict(values)
        uuid, now = uuid7(), now_ms()
        sealed = self._keyring.seal(given.pop("key", ""), column=COLUMN, row=uuid)
        channel = ChannelRow(
            uuid=uuid, key_sealed=sealed, created_time=now // 1000, created_at=now, updated_at=now, **given
        )
        async with self._database.writing() as connection:
            id_ = await insert_row(connection, CHANNELS, channel)
            row = (await connection.execute(select(CHANNELS).where(CHANNELS.c.id == id_))).one()
        await self._changed()
        return self._rows.record(row)

    async def get(self, uuid: str) -> ChannelRecord | None:
        async with self._database.reading() as connection:
            row = (await connection.execute(select(CHANNELS).where(CHANNELS.c.uuid == uuid))).one_or_none()
        return None if row is None else self._rows.record(row)

    async def update(self, uuid: str, changes: Mapping[str, Any]) -> ChannelRecord | None:
        check_channel_changes(changes)
        values, now = dict(changes), now_ms()
        if "key" in values:
            values["key_sealed"] = self._keyring.seal(values.pop("key"), column=COLUMN, row=uuid)
        # always another number than before: the channel tables of all workers go by it
        values["updated_at"] = case((CHANNELS.c.updated_at < now, now), else_=CHANNELS.c.updated_at + 1)
        async with self._database.writing() as connection:
            await connection.execute(update(CHANNELS).where(CHANNELS.c.uuid == uuid).values(values))
            row = (await connection.execute(select(CHANNELS).where(CHANNELS.c.uuid == uuid))).one_or_none()
        if row is None:
            return None
        await self._changed()
        return self._rows.record(row)

    async def delete(self, uuid: str) -> bool:
        async with self._database.writing() as connection:
            gone = (await connection.execute(delete(CHANNELS).where(CHANNELS.c.uuid == uuid))).rowcount == 1
        if gone:
            await self._changed()
        return gone

    async def list(self, page: Page, *, keyword: str = "") -> tuple[list[ChannelRecord], int]:
        check_sort(page, CHANNEL_SORTS)
        uuid = as_uuid(keyword)
        if uuid is not None:
            where = [CHANNELS.c.uuid == uuid]
        else:
            where = [starts_with(CHANNELS.c.name, keyword)] if keyword else []
        async with self._database.reading() as connection:
            rows, total = await read_page(connection, CHANNELS, where, page)
        return [self._rows.record(row) for row in rows], total
