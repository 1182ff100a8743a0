"""Connections and transactions, on every database."""

from __future__ import annotations

import asyncio
import socket
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import func, insert, select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError

from oneapi_mw.errors import NotStarted, StoreUnavailable
from oneapi_mw.store import engine as module
from oneapi_mw.store.base import Conflict
from oneapi_mw.store.dsn import DatabaseUrl
from oneapi_mw.store.engine import Database, EngineOptions
from oneapi_mw.store.tables import metadata
from tests.support import servers

OPTIONS = metadata.tables["options"]
SHORT = EngineOptions(busy_timeout=0.05, transaction_timeout=0.3)


@asynccontextmanager
async def opened(url: DatabaseUrl, options: EngineOptions | None = None) -> AsyncIterator[Database]:
    database = Database(url, options)
    await database.start()
    try:
        yield database
    finally:
        await database.aclose()


@pytest.fixture
async def database(migrated_url: DatabaseUrl) -> AsyncIterator[Database]:
    async with opened(migrated_url) as database:
        yield database


def option(key: str, value: str = "0") -> dict[str, object]:
    return {"key": key, "value": value, "created_at": 0, "updated_at": 0}


async def values(database: Database) -> dict[str, str]:
    async with database.reading() as connection:
        return {row.key: row.value for row in await connection.execute(select(OPTIONS))}


async def _write_two_and_fail(database: Database, second: dict[str, object]) -> None:
    async with database.writing() as connection:
        await connection.execute(insert(OPTIONS).values(option("b")))
        await connection.execute(insert(OPTIONS).values(second))
        raise LookupError


async def test_a_transaction_is_kept_whole_or_not_at_all(database: Database) -> None:
    async with database.writing() as connection:
        await connection.execute(insert(OPTIONS).values(option("a")))
    for second, error in ((option("a"), Conflict), (option("d"), LookupError)):
        with pytest.raises(error):
            await _write_two_and_fail(database, second)
    assert await values(database) == {"a": "0"}


async def test_what_a_writer_reads_stays_true_until_it_commits(database: Database) -> None:
    """On SQLite by its lock, elsewhere where a row is locked."""
    async with database.writing() as connection:
        await connection.execute(insert(OPTIONS).values(option("n")))

    async def add_one() -> None:
        async with database.writing() as connection:
            row = (await connection.execute(select(OPTIONS).where(OPTIONS.c.key == "n").with_for_update())).one()
            await asyncio.sleep(0)
            await connection.execute(update(OPTIONS).values(value=str(int(row.value) + 1)))

    await asyncio.gather(*(add_one() for _ in range(20)))
    assert await values(database) == {"n": "20"}


async def test_a_cancelled_transaction_leaves_nothing_behind(database: Database) -> None:
    inside = asyncio.Event()

    async def never_ends() -> None:
        async with database.writing() as connection:
            await connection.execute(insert(OPTIONS).values(option("a")))
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(never_ends())
    await inside.wait()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    async with database.writing() as connection:
        await connection.execute(insert(OPTIONS).values(option("a", "again")))
    assert await values(database) == {"a": "again"}


async def test_a_value_that_is_taken_is_a_conflict_named_for_its_field(database: Database) -> None:
    sessions = metadata.tables["sessions"]
    row = {"id_digest": "d", "user_id": 1, "created_at": 0, "seen_at": 0, "expires_at": 0}
    entry = {"key": "k", "user_id": 1, "amount": 1, "kind": "topup", "remark": "", "created_at": 0}
    for table, content, field in (
        (metadata.tables["billing_entries"], entry, "key"),
        (sessions, row, "id|PRIMARY|pk_sessions"),
    ):
        async with database.writing() as connection:
            await connection.execute(insert(table).values(content))
        with pytest.raises(Conflict, match=f"^({field})$"):
            async with database.writing() as connection:
                await connection.execute(insert(table).values(content))


async def test_our_own_mistakes_are_not_hidden_and_show_no_values(database: Database) -> None:
    with pytest.raises(IntegrityError) as missing:
        async with database.writing() as connection:
            await connection.execute(insert(OPTIONS).values(key="secret key", value=None, created_at=0, updated_at=0))
    with pytest.raises(DBAPIError) as wrong:
        async with database.writing() as connection:
            await connection.execute(text("SELECT nonsense FROM options WHERE value = :v"), {"v": "secret value"})
    assert "parameters hidden" in str(missing.value)
    assert "secret value" not in str(wrong.value)


async def test_before_the_start_and_after_the_end_nothing_works(migrated_url: DatabaseUrl) -> None:
    database = Database(migrated_url)
    for _ in range(2):
        with pytest.raises(NotStarted):
            await values(database)
        await database.start()
        assert await values(database) == {}
        await database.aclose()
        await database.aclose()


@pytest.mark.parametrize("migrated_url", ["postgresql", "mysql"], indirect=True)
async def test_what_takes_too_long_is_given_up(migrated_url: DatabaseUrl) -> None:
    sleep = {"postgresql": "SELECT pg_sleep(60)", "mysql": "SELECT SLEEP(60)"}[migrated_url.dialect]
    async with opened(migrated_url, replace(SHORT, max_connections=1, connections=1)) as database:
        with pytest.raises(StoreUnavailable, match="does not answer") as caught:
            async with database.reading() as connection:
                await connection.execute(text(sleep))
        assert caught.value.retry_after == 1
        assert await values(database) == {}, "the connection was replaced"


@pytest.mark.parametrize("migrated_url", ["postgresql", "mysql"], indirect=True)
async def test_a_row_that_stays_locked_is_not_waited_for_long(migrated_url: DatabaseUrl) -> None:
    locked = select(OPTIONS).with_for_update()
    async with opened(migrated_url, replace(SHORT, transaction_timeout=20)) as database:
        async with database.writing() as connection:
            await connection.execute(insert(OPTIONS).values(option("a")))
        async with database.writing() as first:
            await first.execute(locked)
            with pytest.raises(StoreUnavailable):
                async with database.writing() as second:
                    await second.execute(locked)


@pytest.mark.parametrize("migrated_url", ["postgresql", "mysql"], indirect=True)
async def test_a_connection_that_was_cut_is_replaced(migrated_url: DatabaseUrl) -> None:
    ids = {"postgresql": "SELECT pg_backend_pid()", "mysql": "SELECT CONNECTION_ID()"}[migrated_url.dialect]
    cut = {"postgresql": "SELECT pg_terminate_backend({})", "mysql": "KILL {}"}[migrated_url.dialect]
    async with opened(migrated_url, EngineOptions(connections=1)) as database:
        async with database.reading() as connection:
            id_ = await connection.scalar(text(ids))
        async with opened(migrated_url) as other, other.reading() as connection:
            await connection.execute(text(cut.format(id_)))
        assert await values(database) == {}


@pytest.mark.parametrize("dialect", ["postgresql", "mysql"])
async def test_a_server_that_is_not_there(dialect: str) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        url = DatabaseUrl(
            dialect,  # type: ignore[arg-type]
            host="127.0.0.1",
            port=port,
            user="u",
            password="hunter2",
            database="d",
        )
        database = Database(url)
        with pytest.raises(StoreUnavailable) as caught:
            await database.start()
    assert "hunter2" not in str(caught.value)
    with pytest.raises(NotStarted):
        await values(database)


@pytest.mark.parametrize("dialect", ["postgresql", "mysql"])
async def test_a_database_that_is_not_there(dialect: str) -> None:
    url = replace(servers.server(dialect), database="oneapi_mw_no_such_database")  # type: ignore[arg-type]
    with pytest.raises(StoreUnavailable, match="oneapi_mw_no_such_database"):
        await Database(url).start()


@pytest.mark.parametrize(("dialect", "driver"), [("postgresql", "asyncpg"), ("mysql", "asyncmy")])
async def test_a_missing_driver_names_its_extra(dialect: str, driver: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, driver, None)
    url = DatabaseUrl(dialect, host="127.0.0.1", database="d")  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match=r"pip install 'oneapi-mw\[(postgres|mysql)\]'"):
        await Database(url).start()


async def test_sqlite_is_durable_and_readers_wait_for_nobody(tmp_path: Path) -> None:
    pragmas = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
    tables = select(func.count()).select_from(text("sqlite_master"))
    async with opened(DatabaseUrl("sqlite", path=str(tmp_path / "x.db"))) as database:
        async with database.reading() as connection:
            assert [await connection.scalar(text(f"PRAGMA {pragma}")) for pragma in pragmas] == ["wal", 2, 1, 10_000]
            assert await connection.scalar(tables) == 0
            async with database.writing() as other:
                await other.execute(text("CREATE TABLE t (x INTEGER)"))
            assert await connection.scalar(tables) == 0, "a reader sees one state"
        async with database.reading() as connection:
            assert await connection.scalar(tables) == 1


@pytest.mark.parametrize("ends", [True, False], ids=["ends", "stays"])
async def test_a_new_sqlite_file_is_waited_for_while_another_process_is_at_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends: bool
) -> None:
    """SQLite itself does not wait when a file is to keep a log and somebody writes."""
    path = tmp_path / "new.db"
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    paused = asyncio.sleep

    async def pause(seconds: float) -> None:
        if ends and other.in_transaction:
            other.execute("COMMIT")
        await paused(0)

    monkeypatch.setattr(asyncio, "sleep", pause)
    database = Database(DatabaseUrl("sqlite", path=str(path)), EngineOptions(busy_timeout=5.0 if ends else 0.05))
    if ends:
        await database.start()
        async with database.reading() as connection:
            assert await connection.scalar(text("PRAGMA journal_mode")) == "wal"
    else:
        with pytest.raises(StoreUnavailable, match="locked"):
            await database.start()
    await database.aclose()
    other.close()


async def test_a_busy_sqlite_file_is_unavailable(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    async with opened(DatabaseUrl("sqlite", path=str(path), options={"_busy_timeout": "20"})) as database:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match="locked"):
            async with database.writing():
                pass
        other.close()
        async with database.writing():
            pass


async def test_a_sqlite_file_that_cannot_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StoreUnavailable, match="does not exist: create it"):
        await Database(DatabaseUrl("sqlite", path=str(tmp_path / "none" / "x.db"))).start()
    (tmp_path / "text.db").write_text("this is no database, " * 100)
    with pytest.raises(StoreUnavailable, match="not a database"):
        await Database(DatabaseUrl("sqlite", path=str(tmp_path / "text.db"))).start()
    monkeypatch.setattr(module, "OLDEST_SQLITE", (99,))
    with pytest.raises(StoreUnavailable, match="too old"):
        await Database(DatabaseUrl("sqlite", path=str(tmp_path / "x.db"))).start()
