"""Bringing the database's tables to the form this version needs.

The migrations live in the package (`store/migrations/versions`) and are run at start-up. Any number of workers may
start at once: one migrates, the others wait for it.
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, inspect, text
from sqlalchemy.ext.asyncio import AsyncConnection

from oneapi_mw.errors import StoreUnavailable
from oneapi_mw.store.engine import Database
from oneapi_mw.store.tables import metadata

VERSION_TABLE = "oneapi_mw_version"
UPGRADE_SECONDS = 600.0
"""How long an upgrade may take, or be waited for."""
_LOCK_ID = 0x6F6E6561  # PostgreSQL: advisory locks are numbers, per database

_MIGRATIONS = Path(__file__).parent / "migrations"
_alembic = threading.Lock()  # Alembic keeps the migration that runs in globals of the process

T = TypeVar("T")


class SchemaError(RuntimeError):
    """The tables are not what this version can work with; the message says what to do."""


async def upgrade(database: Database) -> None:
    """Create or upgrade the tables. Does nothing when they are up to date.

    Raises: `SchemaError` for a database of a newer version or of another program; `StoreUnavailable`.
    """
    await _migrate(database, _upgrade)


async def downgrade(database: Database, revision: str = "base") -> None:
    """Go back to an older revision; `base` removes every table and all that is in them."""
    await _migrate(database, lambda connection: command.downgrade(_config(connection), revision))


async def check(database: Database) -> list[str]:
    """How the tables differ from what this version expects, in words; empty when they agree."""
    async with database.reading() as connection:
        return await connection.run_sync(_differences)


async def require_current(database: Database) -> None:
    """Raises `SchemaError` when a migration is missing."""
    async with database.reading() as connection:
        found = await connection.run_sync(_revision)
    wanted = ScriptDirectory(str(_MIGRATIONS)).get_current_head()
    if found != wanted:
        raise SchemaError(f"The database is at revision {found}, but {wanted} is needed: run 'oneapi-mw db upgrade'")


def context_options() -> dict[str, Any]:
    """How Alembic has to look at the database: our tables, and no other program's beside them."""
    ours = set(metadata.tables)

    def include_name(name: str | None, kind: str, parents: object) -> bool:
        return kind != "table" or name in ours

    return {
        "target_metadata": metadata,
        "version_table": VERSION_TABLE,
        "include_name": include_name,
        "render_as_batch": True,  # SQLite cannot change a column: the table is copied
        "transaction_per_migration": False,
    }


async def _migrate(database: Database, work: Callable[[Connection], None]) -> None:
    async with database.writing(timeout=UPGRADE_SECONDS) as connection, _locked(connection, database):
        while not _alembic.acquire(blocking=False):  # noqa: ASYNC110 -- other threads have other event loops
            await asyncio.sleep(0.02)
        try:
            await connection.run_sync(work)
        except CommandError as exc:
            raise SchemaError(
                f"The database was made by a newer version of oneapi-mw: upgrade the package ({exc})"
            ) from exc
        finally:
            _alembic.release()


@asynccontextmanager
async def _locked(connection: AsyncConnection, database: Database) -> AsyncIterator[None]:
    """Keep other workers from migrating. SQLite needs nothing: the transaction has the write lock."""
    if database.dialect == "postgresql":
        await connection.execute(text("SET LOCAL statement_timeout = 0"))
        await connection.execute(text("SET LOCAL lock_timeout = 0"))
        await connection.execute(text("SELECT pg_advisory_xact_lock(:id)"), {"id": _LOCK_ID})
        yield
    elif database.dialect == "mysql":
        # server-wide, hence named for the database; ends with the connection at the latest
        name = "oneapi_mw." + hashlib.sha256((database.url.database or "").encode()).hexdigest()[:32]
        seconds = int(UPGRADE_SECONDS)
        taken = await connection.scalar(text("SELECT GET_LOCK(:name, :seconds)"), {"name": name, "seconds": seconds})
        if taken != 1:
            raise StoreUnavailable("Another worker is still migrating the database: try again later", retry_after=10)
        try:
            yield
        finally:
            await connection.execute(text("SELECT RELEASE_LOCK(:name)"), {"name": name})
    else:
        yield


def _upgrade(connection: Connection) -> None:
    tables = set(inspect(connection).get_table_names())
    if VERSION_TABLE not in tables and tables & set(metadata.tables):
        found = ", ".join(sorted(tables & set(metadata.tables)))
        raise SchemaError(f"The database holds tables of another program ({found}): give oneapi-mw one of its own")
    if _revision(connection) != ScriptDirectory(str(_MIGRATIONS)).get_current_head():
        command.upgrade(_config(connection), "head")


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection, opts=context_options()).get_current_revision()


def _differences(connection: Connection) -> list[str]:
    context = MigrationContext.configure(connection, opts=context_options())
    return [repr(difference) for difference in compare_metadata(context, metadata)]
