"""A ledger on an SQL database, put together from its address."""

from __future__ import annotations

from collections.abc import Mapping
from os.path import realpath
from typing import Any

from sqlalchemy import URL

from oneapi_mw.ledger.base import OnCrash
from oneapi_mw.ledger.batch import GRACE_SECONDS, BatchedLedger
from oneapi_mw.ledger.books import SqlBooks
from oneapi_mw.ledger.database import Database
from oneapi_mw.ledger.mysql import MysqlBackend
from oneapi_mw.ledger.operation import Backend
from oneapi_mw.ledger.postgres import PostgresBackend
from oneapi_mw.ledger.spool import Spooling
from oneapi_mw.ledger.sqlite import SqliteBackend


def sql_ledger(
    url: URL,
    *,
    worker: str,
    connect: Mapping[str, Any] | None = None,
    spooling: Spooling | None = None,
    on_crash: OnCrash = "prompt_cost",
    grace_seconds: float = GRACE_SECONDS,
) -> BatchedLedger:
    """The ledger of the database at `url`, a SQLAlchemy URL whose driver is asyncio's. Nothing is opened yet.

    Args:
        worker: who this process is, unlike any other at the same database; at most 64 characters.
        connect: what the driver must be told besides: TLS, Unix socket.
        spooling: where endings outlast this process while the database is away. `None`: nowhere.
        on_crash: what is charged for holds whose worker was lost before it noted what they cost.
        grace_seconds: how long nothing is swept after a start or an outage. Less than a lease only where no other
            process, here or elsewhere, can be at work on the same database.

    Raises: `ValueError` for a database there is no ledger for.
    """
    return BatchedLedger(
        _backend(url, worker, connect or {}),
        SqlBooks(Database(url, connect), worker=worker),
        spool=spooling.open(spool_name(url), worker) if spooling is not None else None,
        on_crash=on_crash,
        grace_seconds=grace_seconds,
    )


def spool_name(url: URL) -> str:
    """How files of a spool name their database: without credentials, a SQLite file by its whole path."""
    where = realpath(url.database or "") if url.get_backend_name() == "sqlite" else url.database
    name = URL.create(url.get_backend_name(), host=url.host, port=url.port, database=where)
    return name.render_as_string()


def _backend(url: URL, worker: str, connect: Mapping[str, Any]) -> Backend:
    name = url.get_backend_name()
    if name == "sqlite":
        if url.database in (None, "", ":memory:"):
            raise ValueError("the ledger needs a SQLite file: a database in memory cannot be shared with the store")
        return SqliteBackend(str(url.database), worker=worker)
    server = {"host": url.host, "port": url.port, "user": url.username, "password": url.password}
    given = {**connect, **{key: value for key, value in server.items() if value is not None}}
    if name == "postgresql":
        return PostgresBackend(worker=worker, database=url.database, **given)
    if name in ("mysql", "mariadb"):
        return MysqlBackend(worker=worker, database=url.database, **given)
    raise ValueError(f"there is no ledger for {name!r}: use SQLite, PostgreSQL, MySQL or MariaDB")
