"""What settlements have to tell somebody, from the table it was written into to whoever tells it.

An event is claimed for a while, told, and removed. Whoever fails or dies leaves it to be told again when the claim has
ended: a listener may hear of an event twice, and can know it by its id.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Protocol

from sqlalchemy import delete, select, update

from oneapi_mw.immutable import immutable
from oneapi_mw.ledger.database import Database
from oneapi_mw.ledger.open import DatabaseAddress
from oneapi_mw.store.tables import metadata
from oneapi_mw.types import Quota

log = logging.getLogger("oneapi_mw.billing")

TOLD_AT_ONCE = 100
CLAIM_MS = 60_000
_EVENTS = metadata.tables["billing_events"]
_COLUMNS = ("id", "kind", "user_id", "quota", "threshold", "created_at")


@immutable
class LedgerEvent:
    """Something that happened to an account."""

    id: int
    kind: str
    """`quota_remind`: a settlement took what the user has not spent below the threshold."""
    user_id: int
    quota: Quota
    """What was left."""
    threshold: Quota
    created_at: int
    """Unix milliseconds."""


class EventListener(Protocol):
    """Tells somebody of events: by mail, by a message to the operator."""

    async def tell(self, event: LedgerEvent) -> None:
        """Raises anything to be asked again later."""


class LogListener:
    """Writes events into the log."""

    async def tell(self, event: LedgerEvent) -> None:
        log.warning(
            "user_id=%d has %d quota units left, less than %d: top up", event.user_id, event.quota, event.threshold
        )


class Delivery:
    """The periodic task: connects when first run. Several workers may run it."""

    def __init__(self, url: DatabaseAddress, listener: EventListener | None = None) -> None:
        self._database = Database(url.sqlalchemy, url.connect_args())
        self._listener = listener or LogListener()

    async def run(self) -> int:
        """Tell of everything that waits; returns how many events that was. Raises `StoreUnavailable`."""
        total = 0
        while events := await self._claim():
            told = [event.id for event in events if await self._tell(event)]
            await self._remove(told)
            total += len(told)
        return total

    async def aclose(self) -> None:
        await self._database.aclose()

    async def _claim(self) -> Sequence[LedgerEvent]:
        waiting = (
            select(*(_EVENTS.c[name] for name in _COLUMNS))
            .where(_EVENTS.c.claimed_until <= self._database.now_ms)
            .order_by(_EVENTS.c.id)
            .limit(TOLD_AT_ONCE)
        )
        async with self._database.snapshot() as connection:  # mostly there is nothing, and no need to write
            if (await connection.execute(waiting.limit(1))).first() is None:
                return ()
        async with self._database.writing() as connection:
            rows = (await connection.execute(waiting.with_for_update(skip_locked=True))).all()
            mine = update(_EVENTS).where(_EVENTS.c.id.in_([row.id for row in rows]))
            if rows:
                await connection.execute(mine.values(claimed_until=self._database.now_ms + CLAIM_MS))
        return [LedgerEvent(*row) for row in rows]

    async def _tell(self, event: LedgerEvent) -> bool:
        try:
            await self._listener.tell(event)
        except Exception:  # one event that cannot be told must not keep the others
            log.exception("event %d could not be told, will try again", event.id)
            return False
        return True

    async def _remove(self, ids: Sequence[int]) -> None:
        if ids:
            async with self._database.writing() as connection:
                await connection.execute(delete(_EVENTS).where(_EVENTS.c.id.in_(ids)))
