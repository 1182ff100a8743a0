"""Leases are measured by the database's clock, which must run evenly."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest
from sqlalchemy import literal_column, select, text

from oneapi_mw.ledger import clock
from oneapi_mw.ledger.database import Database
from oneapi_mw.store.dsn import DatabaseUrl
from tests.ledger.bank import SQL_BACKENDS, Bank, open_bank
from tests.support import servers


@pytest.mark.parametrize("backend", SQL_BACKENDS)
async def test_every_database_tells_unix_time(backend: str, tmp_path: Path) -> None:
    async with open_bank(backend, tmp_path) as bank:
        assert isinstance(bank, Bank)
        async with bank.database.snapshot() as connection:
            told = (await connection.execute(select(bank.database.now_ms))).scalar_one()
    assert abs(told / 1000 - time.time()) < 600


@pytest.mark.slow
async def test_the_hour_that_comes_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a MySQL server that lives by a time with summer time."""
    install, daemon = shutil.which("mariadb-install-db"), shutil.which("mariadbd")
    if install is None or daemon is None:
        servers.require("mysql", "install mariadb-server-core")
        return
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    port = servers._start_mariadb(install, daemon)
    address = DatabaseUrl("mysql", host="127.0.0.1", port=port, user="root", database="mysql")
    database = Database(address.sqlalchemy)
    before, after = 1_792_888_200, 1_792_891_800  # 2026-10-25, half past two in the morning, and an hour later

    told: list[int] = []
    async with database.snapshot() as connection:
        for instant in (before, after):
            await connection.execute(text(f"SET timestamp = {instant}"))
            told.append((await connection.execute(select(literal_column(clock.MYSQL)))).scalar_one())
    await database.aclose()

    assert told == [before * 1000, after * 1000]
