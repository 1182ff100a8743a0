"""Migrations, on every database."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import inspect, text

from oneapi_mw.store import schema
from oneapi_mw.store.dsn import DatabaseUrl
from oneapi_mw.store.engine import Database
from oneapi_mw.store.tables import metadata
from tests.support import servers


@pytest.fixture
async def database(database_url: DatabaseUrl) -> AsyncIterator[Database]:
    database = Database(database_url)
    await database.start()
    yield database
    await database.aclose()


async def _tables(database: Database) -> set[str]:
    async with database.reading() as connection:
        return set(await connection.run_sync(lambda sync: inspect(sync).get_table_names()))


async def test_migrations_make_the_tables_that_are_declared(database: Database) -> None:
    await schema.upgrade(database)

    assert await schema.check(database) == []
    assert await _tables(database) == {*metadata.tables, schema.VERSION_TABLE}
    await schema.require_current(database)


async def test_what_is_missing_is_named(database: Database) -> None:
    await schema.upgrade(database)
    async with database.writing() as connection:
        await connection.execute(text("ALTER TABLE users DROP COLUMN oidc_id"))

    assert "oidc_id" in str(await schema.check(database))


async def test_upgrading_again_changes_nothing(database: Database) -> None:
    await schema.upgrade(database)
    await schema.upgrade(database)
    assert await schema.check(database) == []


async def test_many_may_upgrade_at_once(database_url: DatabaseUrl) -> None:
    async def start() -> None:
        database = Database(database_url)
        await database.start()
        await schema.upgrade(database)
        await database.aclose()

    await asyncio.gather(*(start() for _ in range(4)))
    database = Database(database_url)
    await database.start()
    assert await schema.check(database) == []
    await database.aclose()


async def test_two_databases_of_one_process_may_upgrade_at_once(database_url: DatabaseUrl, tmp_path: object) -> None:
    other_url = DatabaseUrl("sqlite", path=f"{tmp_path}/other.db")
    databases = [Database(database_url), Database(other_url)]
    for database in databases:
        await database.start()
    await asyncio.gather(*map(schema.upgrade, databases))
    for database in databases:
        assert await schema.check(database) == []
        await database.aclose()


async def test_downgrading_removes_everything(database: Database) -> None:
    await schema.upgrade(database)
    await schema.downgrade(database)

    assert await _tables(database) == {schema.VERSION_TABLE}
    with pytest.raises(schema.SchemaError, match="db upgrade"):
        await schema.require_current(database)
    await schema.upgrade(database)
    assert await schema.check(database) == []


async def test_what_open_holds_have_taken_is_counted_on_the_way_up(database: Database) -> None:
    await schema.upgrade(database)
    users, holds = metadata.tables["users"], metadata.tables["billing_holds"]
    blank = dict.fromkeys(("display_name", "email", "github_id", "wechat_id", "lark_id", "oidc_id", "password"), "")
    async with database.writing() as connection:
        for id_ in (1, 2):
            numbers = dict.fromkeys(("quota", "used_quota", "request_count", "created_at", "updated_at"), 0)
            numbers |= {"id": id_, "role": 1, "status": 1, "held": 99}
            row = {**blank, **numbers, "uuid": f"u{id_}", "username": f"u{id_}", "group": "default"}
            await connection.execute(users.insert().values(row))
        for key, amount, state in (("a", 30, 0), ("b", 12, 0), ("c", 500, 1)):
            names = ("fallback", "group_ratio", "started_at", "lease_until", "created_at", "mark")
            row = {**dict.fromkeys(names, 0), **dict.fromkeys(("card_id", "worker", "body_hash"), "")}
            row |= {"key": key, "kind": "model", "user_id": 1, "token_id": 1, "token_limited": False}
            await connection.execute(
                holds.insert().values({**row, "amount": amount, "state": state, "estimated": False})
            )
    await schema.downgrade(database, "0002")
    await schema.upgrade(database)

    async with database.reading() as connection:
        rows = (await connection.execute(text("SELECT id, held FROM users ORDER BY id"))).all()
    assert [tuple(row) for row in rows] == [(1, 42), (2, 0)]
    assert await schema.check(database) == []


async def test_tables_of_another_program_are_not_touched(database: Database) -> None:
    async with database.writing() as connection:
        await connection.execute(text("CREATE TABLE users (name VARCHAR(9))"))

    with pytest.raises(schema.SchemaError, match=r"another program \(users\)"):
        await schema.upgrade(database)
    assert await _tables(database) == {"users"}


async def test_other_tables_beside_ours_are_left_alone(database: Database) -> None:
    async with database.writing() as connection:
        await connection.execute(text("CREATE TABLE host_things (name VARCHAR(9))"))
    await schema.upgrade(database)

    assert await schema.check(database) == []
    assert "host_things" in await _tables(database)


async def test_a_database_of_a_newer_version_is_refused(database: Database) -> None:
    await schema.upgrade(database)
    async with database.writing() as connection:
        await connection.execute(text(f"UPDATE {schema.VERSION_TABLE} SET version_num = '9999'"))

    with pytest.raises(schema.SchemaError, match="newer version"):
        await schema.upgrade(database)


async def test_logging_is_left_as_it_was(database: Database) -> None:
    root = logging.getLogger()
    before = (root.level, list(root.handlers), logging.getLogger("alembic").level)
    await schema.upgrade(database)
    assert (root.level, list(root.handlers), logging.getLogger("alembic").level) == before


@pytest.mark.parametrize("migrated_url", ["sqlite", "postgresql", "mysql"], indirect=True)
async def test_a_copied_template_has_the_same_tables(migrated_url: DatabaseUrl) -> None:
    database = Database(migrated_url)
    await database.start()
    assert await schema.check(database) == []
    await schema.require_current(database)
    await database.aclose()


def test_a_missing_server_is_a_skip_or_where_required_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ONEAPI_TEST_REQUIRE", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no redis"):
        servers.require("redis", "none")
    monkeypatch.setenv("ONEAPI_TEST_REQUIRE", "all")
    with pytest.raises(pytest.fail.Exception, match="no redis"):
        servers.require("redis", "none")
