"""From the configured database to its ledger."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from sqlalchemy import URL

from oneapi_mw.ledger.base import Ledger, OnCrash
from oneapi_mw.ledger.batch import GRACE_SECONDS
from oneapi_mw.ledger.spool import Spooling
from oneapi_mw.ledger.sql import sql_ledger


class DatabaseAddress(Protocol):
    """Where the database is, as the settings say it; `store.dsn.DatabaseUrl` is one."""

    @property
    def sqlalchemy(self) -> URL:
        """With the asyncio driver."""

    def connect_args(self) -> Mapping[str, Any]:
        """What the driver must be told besides: TLS, Unix socket."""


def open_ledger(
    url: DatabaseAddress,
    *,
    worker: str,
    spooling: Spooling | None = None,
    on_crash: OnCrash = "prompt_cost",
    grace_seconds: float = GRACE_SECONDS,
) -> Ledger:
    """The ledger of the database at `url`; call `start` before use.

    Args:
        worker: who this process is, unlike any other at the same database; at most 64 characters.
        spooling, on_crash, grace_seconds: as in `sql_ledger`.

    Raises: `ValueError` for a database there is no ledger for.
    """
    return sql_ledger(
        url.sqlalchemy,
        worker=worker,
        connect=url.connect_args(),
        spooling=spooling,
        on_crash=on_crash,
        grace_seconds=grace_seconds,
    )
