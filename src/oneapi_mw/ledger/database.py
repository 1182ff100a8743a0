"""A small engine for the ledger's unhurried work: transactions that either read one snapshot or write."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from sqlalchemy import URL, ColumnElement, Connection, Engine, event, literal_column
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from oneapi_mw.errors import StoreUnavailable
from oneapi_mw.ledger import clock

TRANSACTION_SECONDS = 10.0


class Database:
    """Connects when first used, with two connections at most. Raises `StoreUnavailable`.

    Args:
        url: with an asyncio driver.
        connect: further arguments for the driver's `connect`: TLS, Unix socket.
    """

    def __init__(self, url: URL, connect: Mapping[str, Any] | None = None) -> None:
        options: dict[str, Any] = {"connect_args": dict(connect or {}), "pool_size": 1, "max_overflow": 1}
        if url.get_backend_name() in ("mysql", "mariadb"):
            options["isolation_level"] = "READ COMMITTED"  # as the ledger: locks on gaps would deadlock with it
        self._engine = create_async_engine(url, pool_pre_ping=True, **options)
        self._is_sqlite = self._engine.dialect.name == "sqlite"
        self.now_ms: ColumnElement[int] = literal_column(clock.BY_DIALECT[self._engine.dialect.name])
        """The database's clock in Unix milliseconds, as an expression."""
        if self._is_sqlite:
            _begin_explicitly(self._engine.sync_engine)

    def snapshot(self, *, unhurried: bool = False) -> AbstractAsyncContextManager[AsyncConnection]:
        """A transaction whose reads all see the same committed state; `unhurried` ones may take any time."""
        options = {} if self._is_sqlite else {"isolation_level": "REPEATABLE READ"}
        return self._transaction(options, None if unhurried else TRANSACTION_SECONDS)

    def writing(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A transaction that may write. On SQLite it has the write lock from the beginning."""
        return self._transaction({"oneapi_mw_writes": True}, TRANSACTION_SECONDS)

    async def aclose(self) -> None:
        await self._engine.dispose()

    @asynccontextmanager
    async def _transaction(self, options: dict[str, Any], seconds: float | None) -> AsyncIterator[AsyncConnection]:
        try:
            # a peer that went without a word would be waited for much longer than a lease lasts
            async with asyncio.timeout(seconds), self._engine.connect() as connection:
                await connection.execution_options(**options)
                async with connection.begin():
                    yield connection
        except (DBAPIError, PoolTimeout, OSError, TimeoutError) as exc:
            said = str(exc) or type(exc).__name__
            raise StoreUnavailable(f"The ledger's database does not answer: {said}", retry_after=1) from exc


def _begin_explicitly(engine: Engine) -> None:
    """Keep the driver from starting transactions: it would take the write lock too late, after the first read."""

    @event.listens_for(engine, "connect")
    def autocommit(connection: Any, record: object) -> None:
        connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("oneapi_mw_writes")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
