"""Changes of a user's balance that are not settlements: one entry each, once per key, with what users see of it.

To be carried out in a transaction of the caller, whose other rows it must have locked before: the ledger locks
accounts last, and so does everybody else.
"""

from __future__ import annotations

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from oneapi_mw.immutable import immutable
from oneapi_mw.store.entries import LARGEST_BALANCE, LOG_TYPES
from oneapi_mw.store.records import EntryRecord
from oneapi_mw.store.repositories.rows import ENTRIES, LOGS, USERS, insert_row
from oneapi_mw.store.tables import Entry, Log, now_ms
from oneapi_mw.types import Quota


@immutable
class Credit:
    """An entry to be booked."""

    key: str
    user_id: int
    amount: Quota
    kind: str
    remark: str = ""
    actor_id: int | None = None
    """The administrator whose doing it is."""
    request_id: str = ""
    """Of the request it is about."""


async def book(connection: AsyncConnection, credit: Credit) -> None:
    """Book `credit` and change the balance.

    Raises: `KeyError` for a user that does not exist, `ValueError` for a balance out of range; what the database
    raises for a key that is booked already, which the transaction turns into `Conflict("key")`.
    """
    amount = credit.amount
    entry = Entry(
        key=credit.key,
        user_id=credit.user_id,
        amount=amount,
        kind=credit.kind,
        remark=credit.remark,
        actor_id=credit.actor_id,
    )
    await insert_row(connection, ENTRIES, entry)
    fits = USERS.c.quota.between(-LARGEST_BALANCE - min(amount, 0), LARGEST_BALANCE - max(amount, 0))
    more = update(USERS).where(USERS.c.id == credit.user_id, fits)
    changed = await connection.execute(more.values(quota=USERS.c.quota + amount, updated_at=now_ms()))
    wanted = select(USERS.c.uuid, USERS.c.username).where(USERS.c.id == credit.user_id)
    user = (await connection.execute(wanted)).one_or_none()
    if user is None:
        raise KeyError(credit.user_id)
    if changed.rowcount != 1:
        raise ValueError(f"the balance of user {credit.user_id} would leave the range of {LARGEST_BALANCE} quota units")
    if credit.kind in LOG_TYPES:
        line = Log(
            user_id=credit.user_id,
            user_uuid=user.uuid,
            username=user.username,
            type=LOG_TYPES[credit.kind],
            content=credit.remark,
            quota=amount,
            request_id=credit.request_id,
            created_at=entry.created_at // 1000,
        )
        await insert_row(connection, LOGS, line)


async def booked(connection: AsyncConnection, key: str) -> EntryRecord:
    """What was booked under `key` before."""
    columns = (ENTRIES.c.user_id, ENTRIES.c.amount, ENTRIES.c.kind, ENTRIES.c.remark)
    row = (await connection.execute(select(*columns).where(ENTRIES.c.key == key))).one()
    return EntryRecord(*row, first=False)
