"""Price cards in an SQL database."""

from __future__ import annotations

from sqlalchemy import select

from oneapi_mw.store.base import Conflict
from oneapi_mw.store.engine import Database
from oneapi_mw.store.repositories.rows import CARDS
from oneapi_mw.store.tables import now_ms

MAX_KNOWN = 100_000


class SqlCards:
    """Implements `pricing.archive.CardArchive`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: set[str] = set()

    def has(self, card_id: str) -> bool:
        return card_id in self._known

    async def keep(self, card_id: str, card: str) -> None:
        if await self.find(card_id) is None:
            try:
                async with self._database.writing() as connection:
                    await connection.execute(CARDS.insert().values(id=card_id, card=card, first_used=now_ms()))
            except Conflict:  # another worker was first with this card
                pass
        if len(self._known) >= MAX_KNOWN:
            self._known.clear()
        self._known.add(card_id)

    async def find(self, card_id: str) -> str | None:
        async with self._database.reading() as connection:
            card: str | None = await connection.scalar(select(CARDS.c.card).where(CARDS.c.id == card_id))
        return card
