"""What is booked when the true charge of a hold comes after a sweep has ended the hold at an estimate.

The worker was alive and only cut off from the database. What it says when it is back is the first ending of the hold
that knows: from then on the request has cost that, and later endings change nothing, as ever. The hold, its log row
and the counters stay; the difference is an entry of the user, and one more of the token when it was limited. An
estimate that was right gets its entry, too, of 0: it says that the hold is corrected.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from oneapi_mw.ledger.base import Settled
from oneapi_mw.ledger.credits import Credit, book
from oneapi_mw.ledger.rows import correction_remark, settled
from oneapi_mw.store.repositories.rows import ENTRIES, HOLDS, TOKENS, insert_row
from oneapi_mw.store.tables import Entry
from oneapi_mw.types import Quota

log = logging.getLogger("oneapi_mw.ledger")

KIND = "adjust"
OF_USER, OF_TOKEN = "hold-user-", "hold-token-"
"""What the keys of entries begin with; the key of the hold follows."""


def entry_key(hold_key: str) -> str:
    """The key of the user's entry."""
    return OF_USER + hold_key


async def correct(connection: AsyncConnection, hold_key: str, cost: Quota) -> Settled:
    """Book what the estimate of a swept hold is off by, unless it was corrected before; returns how it stands.

    To be carried out in a transaction of its own. Raises `ValueError` for a balance out of range.
    """
    columns = (HOLDS.c.user_id, HOLDS.c.token_id, HOLDS.c.token_limited, HOLDS.c.state, HOLDS.c.final)
    wanted = select(*columns).where(HOLDS.c.key == hold_key)
    hold = (await connection.execute(wanted.with_for_update())).one()  # whoever else corrects it waits here
    adjusted = await connection.scalar(select(ENTRIES.c.amount).where(ENTRIES.c.key == entry_key(hold_key)))
    if adjusted is None:
        adjusted = hold.final - cost
        log.warning("hold %s had been ended by estimate at %d and cost %d", hold_key, hold.final, cost)
        await _book(connection, hold_key, hold, adjusted)
    return replace(settled(hold_key, hold.state, hold.final, first=False), adjusted=adjusted)


async def _book(connection: AsyncConnection, hold_key: str, hold: Any, amount: Quota) -> None:
    says = correction_remark(hold_key, hold.final, hold.final - amount)
    entry = Entry(key=entry_key(hold_key), user_id=hold.user_id, amount=amount, kind=KIND, remark=says)
    if not amount:
        await insert_row(connection, ENTRIES, entry)
        return
    await book(connection, Credit(entry.key, hold.user_id, amount, KIND, says, request_id=hold_key))
    if hold.token_limited:
        entry.key, entry.token_id = OF_TOKEN + hold_key, hold.token_id
        await insert_row(connection, ENTRIES, entry)
        more = update(TOKENS).where(TOKENS.c.id == hold.token_id)
        await connection.execute(more.values(remain_quota=TOKENS.c.remain_quota + amount))
