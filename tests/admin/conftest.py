"""One fixture for every store the management API runs on."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from oneapi_mw.ledger.open import open_ledger
from oneapi_mw.store.dsn import DatabaseUrl
from oneapi_mw.store.keyring import KeyRing
from oneapi_mw.store.memory import MemoryStore
from oneapi_mw.store.sql import SqlStore
from tests.admin.world import Person, World
from tests.support import servers

KEYRING = KeyRing([b"a secret of the tests"])


@pytest.fixture(scope="session")
async def populated(tmp_path_factory: pytest.TempPathFactory) -> tuple[DatabaseUrl, dict[str, Person]]:
    """A database with people in it, to copy: making them takes longer than most tests."""
    url = await servers.migrated_database("sqlite", tmp_path_factory.mktemp("populated"))
    store = SqlStore(url, KEYRING, migrate=False)
    await store.start()
    world = World(store)
    await world.populate()
    await store.aclose()
    return url, world.people


@pytest.fixture(params=["memory", "sqlite"])
async def world(
    request: pytest.FixtureRequest, tmp_path: Path, populated: tuple[DatabaseUrl, dict[str, Person]]
) -> AsyncIterator[World]:
    """A store of each kind with people in it, and the management API over it."""
    if request.param == "memory":
        memory = MemoryStore()
        made = World(memory, memory.ledger)
        await made.populate()
        yield made
        return
    template, people = populated
    path = tmp_path / "test.db"
    shutil.copyfile(str(template.path), path)
    url = replace(template, path=str(path))
    async with AsyncExitStack() as stack:
        store = SqlStore(url, KEYRING, migrate=False)
        await store.start()
        stack.push_async_callback(store.aclose)
        ledger = open_ledger(url, worker="test", grace_seconds=0)
        stack.push_async_callback(ledger.aclose)
        yield World(store, ledger, people=dict(people))
