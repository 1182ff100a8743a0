"""Answers and conversations that later requests continue, in an SQL database.

Contents are sealed for their row and its owner: a row that was given to somebody else in the database does not open.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Row, Select, delete, func, literal_column, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from oneapi_mw.immutable import immutable
from oneapi_mw.store.base import StateBusy
from oneapi_mw.store.engine import Database
from oneapi_mw.store.gathering import Gathering
from oneapi_mw.store.keyring import KeyRing, WrongKey
from oneapi_mw.store.repositories.rows import columns_of
from oneapi_mw.store.state_limits import check_conversation, check_conversations
from oneapi_mw.store.state_records import (
    ALL_ITEMS,
    ConversationLimits,
    ConversationRecord,
    ItemRange,
    ItemRecord,
    Owner,
    ResponseLink,
    ResponseRecord,
)
from oneapi_mw.store.tables import Conversation, metadata, now_ms

log = logging.getLogger("oneapi_mw.store")

RESPONSES, ANSWER_ITEMS, CONVERSATIONS, ITEMS = (
    metadata.tables[name] for name in ("responses", "response_items", "conversations", "conversation_items")
)
INLINE_BYTES = 20 * 1024
"""Contents above this are sealed and opened in a thread."""
BATCH = 500
"""Rows that are removed in one transaction."""
MOST_AT_ONCE = 10_000
"""Ids that fit into one statement everywhere."""
REMEMBERED_USERS = 10_000

_LINK = (
    "id",
    "previous_id",
    "conversation_id",
    "position",
    "channel_id",
    "item_count",
    "size",
    "created_at",
    "expires_at",
)

T = TypeVar("T")


@immutable
class _Addition:
    """An answer on its way in."""

    owner: Owner
    link: ResponseLink
    sealed: bytes
    item_ids: tuple[str, ...]
    renew: tuple[str, ...]
    most: int

    def row(self) -> dict[str, Any]:
        values = {name: getattr(self.link, name) for name in _LINK}
        return {**values, "user_id": self.owner.user_id, "token_id": self.owner.token_id, "sealed": self.sealed}

    def index(self) -> list[dict[str, Any]]:
        user_id = self.owner.user_id
        return [{"response_id": self.link.id, "item_id": item_id, "user_id": user_id} for item_id in self.item_ids]


class SqlResponses:
    """Implements `store.base.ResponseStates`."""

    def __init__(self, database: Database, keyring: KeyRing) -> None:
        self._database = database
        self._keyring = keyring
        self._adding = Gathering(self._add_all, size=lambda addition: len(addition.sealed))
        self._room: dict[int, int] = {}  # answers a user may add before they are counted again

    # Answers.

    async def add(
        self,
        owner: Owner,
        response: ResponseRecord,
        *,
        item_ids: Sequence[str] = (),
        renew: Sequence[str] = (),
        most: int,
    ) -> None:
        link = response.link
        sealed = await _apart(
            len(response.content),
            lambda: self._seal(RESPONSES.name, owner, link.id, response.content.decode()),
        )
        await self._adding.put(_Addition(owner, link, sealed, tuple(dict.fromkeys(item_ids)), tuple(renew), most))

    async def _add_all(self, additions: Sequence[_Addition]) -> None:
        index = [row for addition in additions for row in addition.index()]
        async with self._database.writing() as connection:
            await connection.execute(RESPONSES.insert(), [addition.row() for addition in additions])
            if index:
                await connection.execute(ANSWER_ITEMS.insert(), index)
            crowded: dict[int, int] = {}
            for addition in additions:
                await _renew(connection, addition)
                if not self._takes_room(addition.owner.user_id):
                    crowded[addition.owner.user_id] = addition.most
            for user_id, most in crowded.items():
                await self._make_room(connection, user_id, most)

    async def aclose(self) -> None:
        """Wait for what is on its way."""
        await self._adding.aclose()

    def _takes_room(self, user_id: int) -> bool:
        room = self._room.get(user_id, 0)
        self._room[user_id] = room - 1
        return room > 0

    async def _make_room(self, connection: AsyncConnection, user_id: int, most: int) -> None:
        """Count a user's answers, and remove what is too many. Not at every answer: other workers may therefore
        pass the limit by an eighth for a while."""
        theirs = RESPONSES.c.user_id == user_id
        found = await connection.scalar(select(func.count()).select_from(RESPONSES).where(theirs)) or 0
        if found > most:
            oldest = select(RESPONSES.c.id).where(theirs).order_by(RESPONSES.c.expires_at, RESPONSES.c.id)
            found -= await _remove(connection, oldest.limit(min(found - most + most // 64, MOST_AT_ONCE)))
        if len(self._room) > REMEMBERED_USERS:
            self._room.clear()
        self._room[user_id] = min(most - found, most // 8)

    async def links(self, owner: Owner, response_id: str, *, most: int) -> list[ResponseLink]:
        columns = [RESPONSES.c[name] for name in _LINK]
        found = select(*columns, literal_column("1").label("depth"))
        chain = found.where(RESPONSES.c.id == response_id, *_own(RESPONSES, owner)).cte("chain", recursive=True)
        older = RESPONSES.alias("older")
        step = select(*(older.c[name] for name in _LINK), chain.c.depth + 1).where(
            older.c.id == chain.c.previous_id, chain.c.depth < most, *_own(older, owner)
        )
        chain = chain.union_all(step)
        async with self._database.reading() as connection:
            rows = await connection.execute(select(chain).order_by(chain.c.depth))
            return [_link(row) for row in rows]

    async def read(self, owner: Owner, response_ids: Sequence[str]) -> dict[str, ResponseRecord]:
        wanted = select(RESPONSES).where(RESPONSES.c.id.in_(response_ids), *_own(RESPONSES, owner))
        async with self._database.reading() as connection:
            rows = (await connection.execute(wanted)).all()
        size = sum(row.size for row in rows)
        contents = await _apart(size, lambda: [self._open(RESPONSES.name, owner, row.id, row.sealed) for row in rows])
        return {
            row.id: ResponseRecord(_link(row), content)
            for row, content in zip(rows, contents, strict=True)
            if content is not None
        }

    async def find_items(self, owner: Owner, item_ids: Sequence[str]) -> list[ResponseLink]:
        holding = select(ANSWER_ITEMS.c.response_id).where(
            ANSWER_ITEMS.c.user_id == owner.user_id, ANSWER_ITEMS.c.item_id.in_(item_ids)
        )
        wanted = select(*(RESPONSES.c[name] for name in _LINK)).where(RESPONSES.c.id.in_(holding))
        order = (RESPONSES.c.created_at, RESPONSES.c.id)
        async with self._database.reading() as connection:
            return [
                _link(row) for row in await connection.execute(wanted.where(*_own(RESPONSES, owner)).order_by(*order))
            ]

    async def delete(self, owner: Owner, response_id: str) -> bool:
        wanted = select(RESPONSES.c.id).where(RESPONSES.c.id == response_id, *_own(RESPONSES, owner))
        async with self._database.writing() as connection:
            return bool(await _remove(connection, wanted))

    # Conversations.

    async def create_conversation(
        self,
        owner: Owner,
        conversation_id: str,
        *,
        metadata: str,
        items: Sequence[ItemRecord] = (),
        expires_at: int,
        limits: ConversationLimits,
    ) -> ConversationRecord:
        size = sum(len(item.content) for item in items)
        check_conversation(len(items), size, limits)
        row = Conversation(
            id=conversation_id,
            user_id=owner.user_id,
            token_id=owner.token_id,
            item_count=len(items),
            size=size,
            next_position=len(items),
            sealed=self._seal(CONVERSATIONS.name, owner, conversation_id, metadata),
            expires_at=expires_at,
        )
        values = {**columns_of(row), "id": conversation_id}
        sealed = await self._sealed_items(owner, conversation_id, items, 0)
        async with self._database.writing() as connection:
            count, total = await _totals(connection, owner)
            check_conversations(count + 1, total + size, limits)
            await connection.execute(CONVERSATIONS.insert(), [values])
            if sealed:
                await connection.execute(ITEMS.insert(), sealed)
        return ConversationRecord(
            conversation_id, metadata, None, len(items), size, len(items), row.created_at, expires_at
        )

    async def conversation(self, owner: Owner, conversation_id: str) -> ConversationRecord | None:
        async with self._database.reading() as connection:
            return self._conversation(await _find(connection, owner, conversation_id), owner)

    async def set_metadata(self, owner: Owner, conversation_id: str, metadata: str) -> ConversationRecord | None:
        sealed = self._seal(CONVERSATIONS.name, owner, conversation_id, metadata)
        async with self._database.writing() as connection:
            change = update(CONVERSATIONS).where(*_one(owner, conversation_id)).values(sealed=sealed)
            await connection.execute(change)
            return self._conversation(await _find(connection, owner, conversation_id), owner)

    async def delete_conversation(self, owner: Owner, conversation_id: str) -> bool:
        async with self._database.writing() as connection:
            gone = await connection.execute(delete(CONVERSATIONS).where(*_one(owner, conversation_id)))
            if gone.rowcount:
                await connection.execute(delete(ITEMS).where(ITEMS.c.conversation_id == conversation_id))
            return bool(gone.rowcount)

    async def claim(
        self, owner: Owner, conversation_id: str, *, holder: str, seconds: float
    ) -> ConversationRecord | None:
        now = now_ms()
        async with self._database.writing() as connection:
            change = update(CONVERSATIONS).where(*_one(owner, conversation_id), _free(holder, now))
            taken = await connection.execute(change.values(busy_by=holder, busy_until=now + int(seconds * 1000)))
            row = await _find(connection, owner, conversation_id)
        if row is not None and not taken.rowcount:
            raise StateBusy
        return self._conversation(row, owner)

    async def release(self, owner: Owner, conversation_id: str, *, holder: str) -> None:
        held = (*_one(owner, conversation_id), CONVERSATIONS.c.busy_by == holder)
        async with self._database.writing() as connection:
            await connection.execute(update(CONVERSATIONS).where(*held).values(busy_by="", busy_until=0))

    async def append(
        self,
        owner: Owner,
        conversation_id: str,
        items: Sequence[ItemRecord],
        *,
        holder: str = "",
        channel_id: int | None = None,
        expires_at: int,
        limits: ConversationLimits,
    ) -> bool:
        size = sum(len(item.content) for item in items)
        async with self._database.writing() as connection:
            row = await _locked(connection, owner, conversation_id)
            if row is None:
                return False
            if row.busy_by != holder and (holder or row.busy_until > now_ms()):
                raise StateBusy
            check_conversation(row.item_count + len(items), row.size + size, limits)
            count, total = await _totals(connection, owner)
            check_conversations(count, total + size, limits)
            values = {
                "item_count": row.item_count + len(items),
                "size": row.size + size,
                "next_position": row.next_position + len(items),
                "channel_id": row.channel_id if channel_id is None else channel_id,
                "busy_by": "",
                "busy_until": 0,
                "expires_at": expires_at,
            }
            await connection.execute(update(CONVERSATIONS).where(CONVERSATIONS.c.id == row.id).values(values))
            sealed = await self._sealed_items(owner, conversation_id, items, row.next_position)
            if sealed:
                await connection.execute(ITEMS.insert(), sealed)
        return True

    async def items(self, owner: Owner, conversation_id: str, which: ItemRange = ALL_ITEMS) -> list[ItemRecord] | None:
        async with self._database.reading() as connection:
            if await _find(connection, owner, conversation_id) is None:
                return None
            place = ITEMS.c.position
            wanted = select(ITEMS).where(ITEMS.c.conversation_id == conversation_id)
            if which.before is not None:
                wanted = wanted.where(place < which.before)
            if which.after is not None:
                edge = await connection.scalar(_positions(conversation_id, which.after))
                if edge is None:
                    return []
                wanted = wanted.where(place < edge if which.descending else place > edge)
            wanted = wanted.order_by(place.desc() if which.descending else place).limit(which.limit)
            rows = (await connection.execute(wanted)).all()
        return await self._opened_items(owner, rows)

    async def item(self, owner: Owner, conversation_id: str, item_id: str) -> ItemRecord | None:
        async with self._database.reading() as connection:
            if await _find(connection, owner, conversation_id) is None:
                return None
            at = _positions(conversation_id, item_id).scalar_subquery()
            wanted = select(ITEMS).where(ITEMS.c.conversation_id == conversation_id, ITEMS.c.position == at)
            rows = (await connection.execute(wanted)).all()
        found = await self._opened_items(owner, rows)
        return found[0] if found else None

    async def delete_item(self, owner: Owner, conversation_id: str, item_id: str) -> bool:
        async with self._database.writing() as connection:
            row = await _locked(connection, owner, conversation_id)
            if row is None:
                return False
            if row.busy_until > now_ms():
                raise StateBusy
            named = (ITEMS.c.conversation_id == conversation_id, ITEMS.c.item_id == item_id)
            totals = select(func.count(), func.coalesce(func.sum(ITEMS.c.size), 0)).where(*named)
            count, size = (await connection.execute(totals)).one()
            if count:
                await connection.execute(delete(ITEMS).where(*named))
                values = {"item_count": row.item_count - count, "size": row.size - int(size)}
                await connection.execute(update(CONVERSATIONS).where(CONVERSATIONS.c.id == row.id).values(values))
        return bool(count)

    # Expiry.

    async def sweep(self) -> int:
        now, swept = now_ms(), 0
        ended = (
            select(RESPONSES.c.id).where(RESPONSES.c.expires_at <= now).limit(BATCH),
            select(CONVERSATIONS.c.id).where(CONVERSATIONS.c.expires_at <= now).limit(BATCH),
        )
        for wanted, remove in zip(ended, (_remove, _remove_conversations), strict=True):
            removed = BATCH
            while removed == BATCH:
                async with self._database.writing() as connection:
                    removed = await remove(connection, wanted)
                swept += removed
        return swept

    # Sealing.

    def _seal(self, table: str, owner: Owner, row: str, text: str) -> bytes:
        return self._keyring.seal(text, column=f"{table}.sealed", row=_place(owner, row))

    def _open(self, table: str, owner: Owner, row: str, sealed: bytes) -> bytes | None:
        """What was sealed; `None` when it cannot be opened any more, which is as good as gone."""
        try:
            return self._keyring.unseal(sealed, column=f"{table}.sealed", row=_place(owner, row)).encode()
        except WrongKey as exc:
            log.warning("%s %s cannot be read: %s", table, row, exc)
            return None

    async def _sealed_items(
        self, owner: Owner, conversation_id: str, items: Sequence[ItemRecord], first: int
    ) -> list[dict[str, Any]]:
        def seal(place: int, item: ItemRecord) -> dict[str, Any]:
            row = f"{conversation_id}/{place}"
            return {
                "conversation_id": conversation_id,
                "position": place,
                "item_id": item.id,
                "size": len(item.content),
                "sealed": self._seal(ITEMS.name, owner, row, item.content.decode()),
            }

        size = sum(len(item.content) for item in items)
        return await _apart(size, lambda: [seal(first + place, item) for place, item in enumerate(items)])

    async def _opened_items(self, owner: Owner, rows: Sequence[Row[Any]]) -> list[ItemRecord]:
        def opened() -> list[tuple[str, bytes | None]]:
            return [
                (row.item_id, self._open(ITEMS.name, owner, f"{row.conversation_id}/{row.position}", row.sealed))
                for row in rows
            ]

        found = await _apart(sum(row.size for row in rows), opened)
        return [ItemRecord(item_id, content) for item_id, content in found if content is not None]

    def _conversation(self, row: Row[Any] | None, owner: Owner) -> ConversationRecord | None:
        metadata = None if row is None else self._open(CONVERSATIONS.name, owner, row.id, row.sealed)
        if row is None or metadata is None:
            return None
        return ConversationRecord(
            row.id,
            metadata.decode(),
            row.channel_id,
            row.item_count,
            row.size,
            row.next_position,
            row.created_at,
            row.expires_at,
        )


async def _apart(size: int, work: Callable[[], T]) -> T:
    return await asyncio.to_thread(work) if size > INLINE_BYTES else work()


def _place(owner: Owner, row: str) -> str:
    return f"{owner.user_id}/{owner.token_id}/{row}"


def _own(table: Any, owner: Owner) -> tuple[ColumnElement[bool], ...]:
    """What `owner` may see of it: their own, as long as it has not expired."""
    return (table.c.user_id == owner.user_id, table.c.token_id == owner.token_id, table.c.expires_at > now_ms())


def _one(owner: Owner, conversation_id: str) -> tuple[ColumnElement[bool], ...]:
    return (CONVERSATIONS.c.id == conversation_id, *_own(CONVERSATIONS, owner))


def _free(holder: str, now: int) -> ColumnElement[bool]:
    return (CONVERSATIONS.c.busy_until <= now) | (CONVERSATIONS.c.busy_by == holder)


def _positions(conversation_id: str, item_id: str) -> Select[tuple[int | None]]:
    """The place of the newest item of that id."""
    named = (ITEMS.c.conversation_id == conversation_id, ITEMS.c.item_id == item_id)
    return select(func.max(ITEMS.c.position)).where(*named)


async def _find(connection: AsyncConnection, owner: Owner, conversation_id: str) -> Row[Any] | None:
    return (await connection.execute(select(CONVERSATIONS).where(*_one(owner, conversation_id)))).one_or_none()


async def _locked(connection: AsyncConnection, owner: Owner, conversation_id: str) -> Row[Any] | None:
    """The row, kept as it is until the transaction ends."""
    wanted = select(CONVERSATIONS).where(*_one(owner, conversation_id)).with_for_update()
    return (await connection.execute(wanted)).one_or_none()


async def _totals(connection: AsyncConnection, owner: Owner) -> tuple[int, int]:
    """How many conversations the user has, and their bytes."""
    totals = select(func.count(), func.coalesce(func.sum(CONVERSATIONS.c.size), 0))
    count, size = (await connection.execute(totals.where(CONVERSATIONS.c.user_id == owner.user_id))).one()
    return count, int(size)


async def _renew(connection: AsyncConnection, addition: _Addition) -> None:
    """What an answer continues lives as long as it does."""
    if addition.renew:
        expires_at = addition.link.expires_at
        older = (RESPONSES.c.id.in_(addition.renew), RESPONSES.c.expires_at < expires_at)
        change = update(RESPONSES).where(*older, *_own(RESPONSES, addition.owner)).values(expires_at=expires_at)
        await connection.execute(change)


async def _remove(connection: AsyncConnection, wanted: Select[tuple[str]]) -> int:
    """Remove answers; returns how many."""
    ids = list(await connection.scalars(wanted))
    if ids:
        await connection.execute(delete(ANSWER_ITEMS).where(ANSWER_ITEMS.c.response_id.in_(ids)))
        await connection.execute(delete(RESPONSES).where(RESPONSES.c.id.in_(ids)))
    return len(ids)


async def _remove_conversations(connection: AsyncConnection, wanted: Select[tuple[str]]) -> int:
    ids = list(await connection.scalars(wanted))
    if ids:
        await connection.execute(delete(ITEMS).where(ITEMS.c.conversation_id.in_(ids)))
        await connection.execute(delete(CONVERSATIONS).where(CONVERSATIONS.c.id.in_(ids)))
    return len(ids)


def _link(row: Row[Any]) -> ResponseLink:
    return ResponseLink(*(getattr(row, name) for name in _LINK))
