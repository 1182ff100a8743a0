"""Channel totals: what settlements noted in the outbox is added to the channels now and then.

A channel's row is shared by everybody, so settlements do not touch it.
"""

from __future__ import annotations

from collections import defaultdict

from sqlalchemy import case, delete, select, update

from oneapi_mw.ledger.database import Database
from oneapi_mw.ledger.open import DatabaseAddress
from oneapi_mw.store.tables import metadata
from oneapi_mw.types import Quota

ROLLED_AT_ONCE = 500

_OUTBOX, _CHANNELS = metadata.tables["billing_outbox"], metadata.tables["channels"]


class Rollup:
    """The periodic task: connects when first run."""

    def __init__(self, url: DatabaseAddress) -> None:
        self._database = Database(url.sqlalchemy, url.connect_args())

    async def run(self) -> int:
        """Move everything that waits; returns how many outbox rows that was. Raises `StoreUnavailable`."""
        total = 0
        while moved := await roll_up(self._database):
            total += moved
        return total

    async def aclose(self) -> None:
        await self._database.aclose()


async def roll_up(database: Database) -> int:
    """Move up to 500 outbox rows into `channels.used_quota`; returns how many. Several workers may run it."""
    waiting = (
        select(_OUTBOX.c.id, _OUTBOX.c.channel_id, _OUTBOX.c.quota)
        .order_by(_OUTBOX.c.id)
        .limit(ROLLED_AT_ONCE)
        .with_for_update(skip_locked=True)
    )
    async with database.writing() as connection:
        rows = (await connection.execute(waiting)).all()
        if not rows:
            return 0
        totals: dict[int, Quota] = defaultdict(int)
        for _, channel_id, quota in rows:
            totals[channel_id] += quota
        locked = select(_CHANNELS.c.id).where(_CHANNELS.c.id.in_(totals)).order_by(_CHANNELS.c.id)
        await connection.execute(locked.with_for_update())
        total = case(totals, value=_CHANNELS.c.id)
        grown = update(_CHANNELS).where(_CHANNELS.c.id.in_(totals))
        await connection.execute(grown.values(used_quota=_CHANNELS.c.used_quota + total))
        await connection.execute(delete(_OUTBOX).where(_OUTBOX.c.id.in_([row.id for row in rows])))
    return len(rows)
