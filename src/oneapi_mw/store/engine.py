"""Connections to the database, and the one place where its faults become ours.

`reading()` and `writing()` each give one connection for one transaction. Nothing else opens connections.
"""

from __future__ import annotations

import asyncio
import re
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import DBAPIError, IntegrityError, InvalidatePoolError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from oneapi_mw.errors import NotStarted, StoreUnavailable
from oneapi_mw.store.base import Conflict
from oneapi_mw.store.dsn import DatabaseUrl, Dialect

OLDEST_SQLITE = (3, 35, 0)
CONNECT_SECONDS = 5.0
SWITCH_PAUSE = 0.02
_EXTRA = {"postgresql": "postgres", "mysql": "mysql"}
_WRITES = "oneapi_mw_writes"

# which unique constraint refused a row: constraint name, or table.column on SQLite
_REFUSED = re.compile(
    r"UNIQUE constraint failed: (?:\w+\.)?(\w+)"
    r'|unique constraint "(\w+)"'
    r"|Duplicate entry .* for key '(?:\w+\.)?(\w+)'",
    re.S,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """How many connections, and how long anything may take. Times are seconds."""

    connections: int = 5
    """Connections that are kept open when idle."""
    max_connections: int = 20
    lifetime: float = 300.0
    """Connections older than this are replaced, so that a moved server is noticed."""
    busy_timeout: float = 10.0
    """How long SQLite waits for another writer; on servers, how long a row lock is waited for."""
    transaction_timeout: float = 30.0
    """How long one transaction may take, waiting for a connection included."""


class Database:
    """One database. Nothing is opened before `start`.

    Everything here raises `StoreUnavailable` when the database cannot be reached or does not answer in time, and
    `Conflict` when a unique value is taken already.
    """

    def __init__(self, url: DatabaseUrl, options: EngineOptions | None = None) -> None:
        self.url = url
        self.options = options or EngineOptions()
        self._engine: AsyncEngine | None = None

    @property
    def dialect(self) -> Dialect:
        return self.url.dialect

    async def start(self) -> None:
        """Connect once, to fail now rather than at the first request.

        Raises: `StoreUnavailable`; `RuntimeError` when the driver is not installed.
        """
        self._check_folder()
        try:
            self._engine = _create_engine(self.url, self.options)
        except ModuleNotFoundError as exc:
            extra = _EXTRA.get(self.dialect, "all")
            raise RuntimeError(f"{self.dialect} needs the extra {extra!r}: pip install 'oneapi-mw[{extra}]'") from exc
        try:
            async with self.reading() as connection:
                await connection.exec_driver_sql("SELECT 1")
        except BaseException:
            await self.aclose()
            raise

    async def aclose(self) -> None:
        engine, self._engine = self._engine, None
        if engine is not None:
            await engine.dispose()

    def reading(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A connection for reads. On PostgreSQL each statement is a transaction of its own: one round trip."""
        options = {"isolation_level": "AUTOCOMMIT"} if self.dialect == "postgresql" else {}
        return self._transaction(options, timeout=self.options.transaction_timeout)

    def writing(self, *, timeout: float | None = None) -> AbstractAsyncContextManager[AsyncConnection]:
        """A transaction that may write: committed at the end, rolled back on any exception.

        On SQLite it has the write lock from its beginning, so what it reads stays true until it commits.
        `timeout` in seconds replaces the usual one.
        """
        return self._transaction({_WRITES: True}, timeout=timeout or self.options.transaction_timeout)

    @asynccontextmanager
    async def _transaction(self, options: dict[str, Any], *, timeout: float) -> AsyncIterator[AsyncConnection]:
        if self._engine is None:
            raise NotStarted("The store is not started: call `await store.start()` first", retry_after=1)
        try:
            async with asyncio.timeout(timeout), self._engine.connect() as connection:
                await connection.execution_options(**options)
                async with connection.begin():
                    yield connection
        except IntegrityError as exc:
            refused = _REFUSED.search(str(exc.orig))
            if refused is None:
                raise
            raise Conflict(_field(next(filter(None, refused.groups())))) from exc
        except (DBAPIError, PoolTimeout, InvalidatePoolError, OSError, TimeoutError) as exc:
            if isinstance(exc, DBAPIError) and not _is_away(exc):
                raise
            raise StoreUnavailable(f"The database does not answer: {_first_line(exc)}", retry_after=1) from exc

    def _check_folder(self) -> None:
        if self.url.path is None:
            return
        folder = Path(self.url.path).absolute().parent
        if not folder.is_dir():
            raise StoreUnavailable(f"The folder {str(folder)!r} of the SQLite file does not exist: create it")
        if sqlite3.sqlite_version_info < OLDEST_SQLITE:
            raise StoreUnavailable(f"SQLite {sqlite3.sqlite_version} is too old: 3.35 or newer is needed")


def _is_away(exc: DBAPIError) -> bool:
    """Whether trying again later may help: the server or file is away, busy, or another transaction was first.

    A statement that is wrong in itself is a fault of ours and is not hidden.
    """
    if exc.connection_invalidated:
        return True
    orig = exc.orig
    code = getattr(orig, "sqlite_errorname", None)
    if code is not None:
        return not code.startswith(("SQLITE_ERROR", "SQLITE_MISMATCH", "SQLITE_RANGE", "SQLITE_CONSTRAINT"))
    args = getattr(orig, "args", ())
    if args and isinstance(args[0], int):  # MySQL, whose SQL states say too little: HY000 for a lock that stays taken
        return args[0] in _MYSQL_AWAY or 2000 <= args[0] < 3000
    state = getattr(orig, "sqlstate", None)
    if state is not None:  # connection, rollback, resources, operator, system; a wrong password can be put right
        return state[:2] in ("08", "28", "3D", "40", "53", "55", "57", "58")
    return True


_MYSQL_AWAY = frozenset(
    {
        1021, 1037, 1038, 1040, 1041, 1042, 1043, 1044, 1045, 1049, 1053, 1077, 1078, 1079, 1080, 1129, 1130, 1152,
        1158, 1159, 1160, 1161, 1184, 1203, 1205, 1206, 1213, 1226, 1290, 1317, 1836, 1927, 1969, 3024, 4031,
    }
)  # fmt: skip


def _first_line(exc: BaseException) -> str:
    """What the driver said, without the statement: its values are none of the client's business."""
    orig = exc.orig if isinstance(exc, DBAPIError) else exc
    text = str(orig).strip() or type(orig).__name__
    return text.splitlines()[0][:200]


def _field(constraint: str) -> str:
    """`username` of `uq_users_username`; what SQLite says is a column's name already."""
    named = re.fullmatch(r"uq_(?:billing_entries|[a-z]+)_(\w+)", constraint)
    name = named[1] if named else constraint
    return name.removesuffix("_digest")


def _create_engine(url: DatabaseUrl, options: EngineOptions) -> AsyncEngine:
    engine = create_async_engine(
        url.sqlalchemy,
        connect_args=_connect_args(url, options),
        pool_size=options.connections,
        max_overflow=max(0, options.max_connections - options.connections),
        pool_timeout=options.transaction_timeout,
        pool_recycle=int(options.lifetime),
        pool_pre_ping=url.dialect != "sqlite",
        hide_parameters=True,  # statements are logged and raised without digests, sealed keys and prompts
        **({} if url.dialect == "sqlite" else {"isolation_level": "READ COMMITTED"}),
    )
    if url.dialect == "sqlite":
        _prepare_sqlite(engine.sync_engine, options)
    return engine


def _connect_args(url: DatabaseUrl, options: EngineOptions) -> dict[str, Any]:
    args = url.connect_args()
    if url.dialect == "postgresql":
        args["timeout"] = CONNECT_SECONDS
        args["server_settings"] = {
            "application_name": "oneapi_mw",
            "lock_timeout": str(int(options.busy_timeout * 1000)),
            "statement_timeout": str(int(options.transaction_timeout * 1000)),
            **args.get("server_settings", {}),
        }
    elif url.dialect == "mysql":
        args["charset"] = "utf8mb4"
        args["connect_timeout"] = CONNECT_SECONDS
        args["init_command"] = (
            "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', time_zone = '+00:00', "
            f"innodb_lock_wait_timeout = {max(1, int(options.busy_timeout))}"
        )
    else:
        args["timeout"] = _busy_timeout(url, options)
    return args


def _busy_timeout(url: DatabaseUrl, options: EngineOptions) -> float:
    """Seconds. The file's own query, which the reference knows too, wins."""
    milliseconds = url.options.get("_busy_timeout", "")
    return int(milliseconds) / 1000 if milliseconds.isascii() and milliseconds.isdecimal() else options.busy_timeout


async def _keep_a_log(driver: Any, seconds: float) -> None:
    """Have a SQLite file keep a write-ahead log. A new one is switched once, and for that SQLite does not wait as it
    does for all else when another process is at it: so we do."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            await (await driver.execute("PRAGMA journal_mode = WAL")).close()
            return
        except sqlite3.OperationalError as exc:
            if exc.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() >= deadline:
                raise
        await asyncio.sleep(SWITCH_PAUSE)


def _prepare_sqlite(engine: Engine, options: EngineOptions) -> None:
    """Transactions are begun by us: the driver would take the write lock only at the first write, and by then
    what was read may no longer be true."""

    @event.listens_for(engine, "connect")
    def connected(connection: Any, record: object) -> None:
        connection.isolation_level = None
        connection.run_async(lambda driver: _keep_a_log(driver, options.busy_timeout))
        cursor = connection.cursor()
        for pragma in ("synchronous = FULL", "foreign_keys = ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get(_WRITES)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
