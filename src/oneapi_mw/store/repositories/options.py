"""Options in an SQL database."""

from __future__ import annotations

from sqlalchemy import select, update

from oneapi_mw.store.base import Conflict
from oneapi_mw.store.engine import Database
from oneapi_mw.store.repositories.rows import OPTIONS, columns_of
from oneapi_mw.store.tables import Option, now_ms


class SqlOptions:
    """Implements `store.base.OptionRepository`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self) -> dict[str, str]:
        async with self._database.reading() as connection:
            rows = await connection.execute(select(OPTIONS.c.key, OPTIONS.c.value))
            return {row.key: row.value for row in rows}

    async def set(self, key: str, value: str) -> None:
        try:
            changed = await self._change(key, value)
            if not changed:
                async with self._database.writing() as connection:
                    await connection.execute(OPTIONS.insert().values(columns_of(Option(key=key, value=value))))
        except Conflict:  # another worker was first with this key
            await self._change(key, value)

    async def _change(self, key: str, value: str) -> bool:
        change = update(OPTIONS).where(OPTIONS.c.key == key).values(value=value, updated_at=now_ms())
        async with self._database.writing() as connection:
            return bool((await connection.execute(change)).rowcount)
