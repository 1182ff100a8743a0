"""What only a store on a database can do or get wrong: secrets at rest, other workers, faults."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import text

from oneapi_mw.errors import NotStarted, StoreUnavailable
from oneapi_mw.store import schema
from oneapi_mw.store.cache import CacheLimits
from oneapi_mw.store.dsn import DatabaseUrl
from oneapi_mw.store.engine import Database
from oneapi_mw.store.keyring import KeyRing, WrongKey
from oneapi_mw.store.records import Page
from oneapi_mw.store.sql import SqlStore
from oneapi_mw.store.tables import metadata
from tests.support import servers

FIRST, SECOND = b"the first secret of all", b"the second secret of all"
RING = KeyRing([FIRST])
CANARY = "canary-that-must-not-be-stored"


@pytest.fixture
async def url(tmp_path: Path) -> DatabaseUrl:
    return await servers.migrated_database("sqlite", tmp_path)


@asynccontextmanager
async def opened(url: DatabaseUrl, ring: KeyRing = RING, **options: object) -> AsyncIterator[SqlStore]:
    store = SqlStore(url, ring, **{"channel_seconds": 3600, **options})  # type: ignore[arg-type]
    await store.start()
    try:
        yield store
    finally:
        await store.aclose()


async def fill(store: SqlStore) -> str:
    """A user, a session, a token and a channel whose secrets all contain the canary; returns the session."""
    user = await store.users.create(username="alice", password_hash="h", access_token=f"{CANARY} access")
    await store.tokens.create(user_id=user.id, user_uuid=user.uuid, name="n", key=f"{CANARY} key")
    await store.channels.create({"name": "main", "key": f"{CANARY} provider"})
    return await store.sessions.create(user.id, max_age=60)


async def execute(url: DatabaseUrl, statement: str) -> None:
    database = Database(url)
    await database.start()
    async with database.writing() as connection:
        await connection.execute(text(statement))
    await database.aclose()


async def test_no_secret_can_be_read_from_the_database(url: DatabaseUrl) -> None:
    async with opened(url) as store:
        session = await fill(store)
        token = (await store.tokens.list(Page()))[0][0]
        assert token.key == f"{CANARY} key"
        await store.tokens.delete(token.uuid)
        database = Database(url)
        await database.start()
        async with database.reading() as connection:
            rows = [
                repr(tuple(row)) for table in metadata.sorted_tables for row in await connection.execute(table.select())
            ]
            sealed = (await connection.execute(text("SELECT key_sealed FROM tokens"))).scalar_one()
        await database.aclose()
    assert len(rows) >= 4
    assert not [row for row in rows if CANARY in row or session in row]
    assert sealed == b"", "of a deleted key nothing is left"


async def test_a_key_moved_to_another_row_does_not_open(url: DatabaseUrl, caplog: pytest.LogCaptureFixture) -> None:
    async with opened(url) as store:
        first = await store.channels.create({"name": "first", "key": "a"})
        second = await store.channels.create({"name": "second", "key": "b"})
        await execute(
            url,
            "UPDATE channels SET updated_at = updated_at + 1, "
            f"key_sealed = (SELECT key_sealed FROM channels c WHERE c.id = {first.id}) WHERE id = {second.id}",
        )
        with pytest.raises(WrongKey, match="was changed in the database"):
            await store.channels.get(second.uuid)
        await store._channel_table.reload()
        assert [channel.name for channel in store.channel_table.snapshot()] == ["first"]
        assert "is left out of routing" in caplog.text


@pytest.mark.parametrize("what", ["tokens", "channels"])
async def test_another_secret_is_noticed_at_the_start(url: DatabaseUrl, what: str) -> None:
    async with opened(url) as store:
        await fill(store)
    await execute(url, f"DELETE FROM {what}")
    with pytest.raises(WrongKey, match="set ONEAPI_SECRET_KEY"):
        async with opened(url, KeyRing([SECOND])):
            pass


async def test_an_old_secret_behind_a_new_one_keeps_everything_working(url: DatabaseUrl) -> None:
    async with opened(url) as store:
        session = await fill(store)
    async with opened(url, KeyRing([SECOND, FIRST])) as store:
        user = await store.users.find_access_token(f"{CANARY} access")
        assert user is not None
        assert await store.sessions.find(session) == user.id
        assert await store.principals.find(f"{CANARY} key") is not None
        assert (await store.tokens.list(Page()))[0][0].key == f"{CANARY} key"
        assert [channel.key for channel in store.channel_table.snapshot()] == [f"{CANARY} provider"]
        await store.tokens.create(user_id=user.id, user_uuid=user.uuid, name="new", key="a new key")
        await store.sessions.delete(session)
        assert await store.sessions.find(session) is None
    await execute(url, "DELETE FROM tokens WHERE name = 'n'")
    await execute(url, "DELETE FROM channels")
    async with opened(url, KeyRing([SECOND])) as store:
        assert await store.principals.find("a new key") is not None


async def test_another_workers_change_to_a_channel_arrives(url: DatabaseUrl) -> None:
    async with opened(url) as here, opened(url, channel_seconds=0.01) as there:
        made = await here.channels.create({"name": "main"})
        await _until(lambda: [c.name for c in there.channel_table.snapshot()] == ["main"])
        version = there.channel_table.version()
        await here.channels.update(made.uuid, {"name": "other"})
        await _until(lambda: [c.name for c in there.channel_table.snapshot()] == ["other"])
        assert there.channel_table.version() > version


async def test_another_workers_change_to_a_key_arrives_with_its_time(url: DatabaseUrl) -> None:
    async with opened(url) as here, opened(url, limits=CacheLimits(fresh=0)) as there:
        user = await here.users.create(username="alice", password_hash="h")
        await here.tokens.create(user_id=user.id, user_uuid=user.uuid, name="n", key="k")
        assert await there.principals.find("k") is not None
        await here.users.update(user.id, {"status": 2})
        principal = await there.principals.find("k")
        assert principal is not None
        assert principal.user_status == 2


async def test_while_the_database_is_away_a_known_key_still_works_and_an_unknown_one_is_not_refused(
    url: DatabaseUrl, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(url, limits=CacheLimits(fresh=0)) as store:
        user = await store.users.create(username="alice", password_hash="h")
        await store.tokens.create(user_id=user.id, user_uuid=user.uuid, name="n", key="k")
        await store.channels.create({"name": "main"})
        known = await store.principals.find("k")
        monkeypatch.setattr(store._database, "reading", _unavailable)
        assert await store.principals.find("k") == known
        with pytest.raises(StoreUnavailable):
            await store.principals.find("unknown")
        with pytest.raises(StoreUnavailable):
            await store.users.get_by_id(user.id)
        assert [channel.name for channel in store.channel_table.snapshot()] == ["main"]


async def test_a_change_that_is_stored_succeeds_though_the_table_cannot_follow(
    url: DatabaseUrl, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(url) as store:
        made = await store.channels.create({"name": "main"})
        with monkeypatch.context() as patched:
            patched.setattr(store._database, "reading", _unavailable)
            changed = await store.channels.update(made.uuid, {"name": "other"})
        assert changed is not None
        assert changed.name == "other"
        assert [channel.name for channel in store.channel_table.snapshot()] == ["main"]
        await store._channel_table.reload()
        assert [channel.name for channel in store.channel_table.snapshot()] == ["other"]


def _unavailable(*args: object, **kwargs: object) -> None:
    raise StoreUnavailable("away")


async def test_a_start_makes_the_tables_unless_told_not_to(tmp_path: Path) -> None:
    url = DatabaseUrl("sqlite", path=str(tmp_path / "new.db"))
    with pytest.raises(schema.SchemaError, match="is needed: run"):
        async with opened(url, migrate=False):
            pass
    async with opened(url) as store:
        assert await store.users.count() == 0
    async with opened(url, migrate=False):
        pass


async def test_a_start_that_fails_leaves_nothing_open(url: DatabaseUrl) -> None:
    await execute(url, f"UPDATE {schema.VERSION_TABLE} SET version_num = '9999'")
    store = SqlStore(url, RING)
    with pytest.raises(schema.SchemaError, match="newer version"):
        await store.start()
    with pytest.raises(NotStarted):
        await store.users.count()
    await store.aclose()


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.005)
