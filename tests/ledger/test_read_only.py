"""A database that still answers but takes nothing: demoted to read-only, or its disk is full. It counts as away."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from oneapi_mw.errors import StoreUnavailable
from oneapi_mw.ledger import batch as front
from oneapi_mw.ledger import lane as lanes
from oneapi_mw.ledger import sqlite
from oneapi_mw.ledger.base import Balance, Denied, Held
from oneapi_mw.ledger.batch import BatchedLedger
from oneapi_mw.ledger.operation import Batch
from oneapi_mw.ledger.spool import Spooling
from oneapi_mw.ledger.spool_file import paths
from tests.ledger.bank import FACTS, Bank, findings, open_bank, reserve

FUNDS = 1_000_000
FINAL = 120


class Refusing:
    """Makes SQLite refuse writes by what it is told of the database, in the thread that writes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, refuse: str, again: str) -> None:
        self._refuse, self._again = refuse, again
        self._refusing = False
        writes = sqlite._Writer.run

        def run(writer: sqlite._Writer, batch: Batch) -> Exception | None:
            writer._db.execute(self._refuse if self._refusing else self._again).close()
            return writes(writer, batch)

        monkeypatch.setattr(sqlite._Writer, "run", run)

    @asynccontextmanager
    async def broken(self, bank: Bank) -> AsyncIterator[None]:
        self._refusing = True
        yield
        self._refusing = False


class Demoted:
    """Turns a PostgreSQL database into what a failover leaves of the old primary: sessions end, new ones only read."""

    @asynccontextmanager
    async def broken(self, bank: Bank) -> AsyncIterator[None]:
        name = bank.url.sqlalchemy.database
        async with bank.database.writing() as connection:
            await connection.execute(text(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on'))
        ended = (
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name AND pid <> pg_backend_pid()"
        )
        async with bank.database.writing() as connection:
            await connection.execute(text(ended), {"name": name})
        try:
            yield
        finally:
            async with bank.database.writing() as connection:
                await connection.execute(text("SET TRANSACTION READ WRITE"))
                await connection.execute(text(f'ALTER DATABASE "{name}" RESET default_transaction_read_only'))


class World:
    def __init__(self, bank: Bank, broken: AbstractAsyncContextManager[None]) -> None:
        self.bank, self.broken = bank, broken


@pytest.fixture(params=["sqlite: read-only", "sqlite: full", "postgresql: read-only"])
async def world(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[World]:
    backend, _, how = request.param.partition(": ")
    made: Any = Demoted()
    if backend == "sqlite" and how == "full":
        made = Refusing(monkeypatch, "PRAGMA max_page_count = 1", "PRAGMA max_page_count = 1073741823")
    elif backend == "sqlite":
        made = Refusing(monkeypatch, "PRAGMA query_only = 1", "PRAGMA query_only = 0")
    async with open_bank(backend, tmp_path) as bank:
        assert isinstance(bank, Bank)
        yield World(bank, made.broken(bank))


async def test_nothing_is_let_in_and_no_ending_is_lost(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(front, "RESERVE_PATIENCE", 0.2)
    monkeypatch.setattr(lanes, "TIME_TO_KEEP", front.ENDING_PATIENCE)
    bank, folder = world.bank, tmp_path / "spool"
    user = await bank.user(FUNDS)
    token = await bank.token(user, FUNDS)
    ledger = await bank.ledger(spooling=Spooling(folder, 2**20))
    assert isinstance(ledger, BatchedLedger)
    # log rows need room, so that a full disk shows
    facts = [FACTS.__class__(content="x" * 4000) for _ in range(50)]
    running = [reserve(user, token, 200) for _ in facts]
    for request in running:
        assert isinstance(await ledger.reserve(request), Held)
    fresh = reserve(user, token, 200, log={"content": "x" * 4000})

    async with world.broken:
        answers = [await ledger.settle(request.key, FINAL, each) for request, each in zip(running, facts, strict=True)]
        assert any(answer.spooled for answer in answers)
        with pytest.raises(StoreUnavailable):
            await ledger.reserve(fresh)
        assert len(paths(folder)) == 1

    await ledger._drain()
    assert await ledger.user_balance(user) == Balance(FUNDS - 50 * FINAL, 50 * FINAL, 50)
    assert await ledger.extend(fresh.key, 1) == Denied("state")
    assert isinstance(await ledger.reserve(reserve(user, token, 200)), Held)
    assert await findings(ledger) == []
    await ledger.aclose()
    assert paths(folder) == []
