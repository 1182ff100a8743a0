"""From settings to a ledger."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL

from oneapi_mw import Gateway, Settings
from oneapi_mw.errors import StoreUnavailable
from oneapi_mw.ledger.base import Balance
from oneapi_mw.ledger.mysql import MysqlBackend
from oneapi_mw.ledger.open import open_ledger
from oneapi_mw.ledger.postgres import PostgresBackend
from oneapi_mw.ledger.rollup import Rollup
from oneapi_mw.ledger.sql import sql_ledger
from oneapi_mw.resources import spooling
from oneapi_mw.store.dsn import DatabaseUrl, parse_dsn
from tests.ledger.bank import Bank, open_bank
from tests.support.servers import migrated_database
from tests.support.serving import settings_for


async def test_a_ledger_and_its_rollup_from_an_address(tmp_path: Path) -> None:
    async with open_bank("sqlite", tmp_path) as bank:
        assert isinstance(bank, Bank)
        user = await bank.user(5)
        ledger, rollup = open_ledger(bank.url, worker="w"), Rollup(bank.url)
        await ledger.start()

        assert await ledger.user_balance(user) == Balance(5, 0)
        assert await rollup.run() == 0
        await rollup.aclose()
        await ledger.aclose()


@pytest.mark.parametrize(
    ("dsn", "driver", "told"),
    [
        ("postgres://u:p%40%2Fss@db:99/d?sslmode=require", "asyncpg", {"ssl": "require"}),
        ("postgres://u:p%40%2Fss@db:99/d?application_name=mine", "asyncpg", {}),
        ("mysql://u:p%40%2Fss@db:99/d?unix_socket=/run/my.sock", "asyncmy", {"unix_socket": "/run/my.sock"}),
    ],
)
async def test_a_server_is_addressed_as_the_settings_say(
    dsn: str, driver: str, told: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []

    async def connect(**arguments: Any) -> None:
        asked.append(arguments)
        raise OSError("no route")

    monkeypatch.setattr(f"{driver}.connect", connect)
    ledger = open_ledger(parse_dsn(dsn, sqlite_path=""), worker="w")
    for use in (ledger.start, lambda: ledger.user_balance(1)):
        with pytest.raises(StoreUnavailable, match="no route"):
            await use()
    for arguments in asked:
        where = {name: arguments[name] for name in ("host", "port", "user", "password")}
        assert where == {"host": "db", "port": 99, "user": "u", "password": "p@/ss"}
        assert told.items() <= arguments.items()


def test_an_application_name_of_the_settings_is_kept() -> None:
    given = PostgresBackend(worker="w", server_settings={"application_name": "mine"})
    assert given._connect_arguments["server_settings"]["application_name"] == "mine"


def test_a_database_in_memory_is_refused() -> None:
    with pytest.raises(ValueError, match="SQLite file"):
        sql_ledger(URL.create("sqlite+aiosqlite", database=":memory:"), worker="w")


def test_an_unknown_database_is_refused() -> None:
    with pytest.raises(ValueError, match="mssql"):
        sql_ledger(URL.create("mssql"), worker="w")


async def test_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    ledger = open_ledger(DatabaseUrl("sqlite", path=str(tmp_path / "missing" / "x.db")), worker="w")
    with pytest.raises(StoreUnavailable, match="unable to open"):
        await ledger.start()


@pytest.mark.parametrize("driver", ["postgresql+asyncpg", "mysql+asyncmy"])
async def test_nobody_listens(driver: str) -> None:
    ledger = sql_ledger(URL.create(driver, "nobody", "secret", "127.0.0.1", 1, "none"), worker="w")
    with pytest.raises(StoreUnavailable) as caught:
        await ledger.start()
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("backend", "module", "extra"), [(PostgresBackend, "asyncpg", "postgres"), (MysqlBackend, "asyncmy", "mysql")]
)
async def test_a_missing_driver_names_its_extra(
    backend: Any, module: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(RuntimeError, match=rf"oneapi-mw\[{extra}\]"):
        await backend(worker="w").start()


@pytest.mark.parametrize(
    ("changes", "folder"),
    [
        ({}, Path("one-api.spool")),
        ({"sqlite_path": "/srv/gateway.db"}, Path("/srv/gateway.spool")),
        ({"billing_spool_path": "/var/spool/oneapi"}, Path("/var/spool/oneapi")),
        ({"billing_spool_max_mb": 0}, None),
    ],
)
def test_where_charges_wait(changes: dict[str, Any], folder: Path | None) -> None:
    found = spooling(Settings(**changes))
    assert (found.folder if found is not None else None) == folder
    assert found is None or found.max_bytes == 64 * 2**20


async def test_a_gateway_says_that_charges_could_not_wait(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    database = await migrated_database("sqlite", tmp_path)
    settings = settings_for(database, billing_spool_path=str(tmp_path / "file" / "spool"))
    async with Gateway(settings).lifespan():
        pass
    assert "is not a folder; set BILLING_SPOOL_PATH" in caplog.text
