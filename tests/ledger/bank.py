"""Throw-away books on every backend, with the accounts a test needs."""

from __future__ import annotations

import asyncio
import atexit
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any, cast

from sqlalchemy import delete, insert, text, update

from oneapi_mw.ledger.base import Finding, Ledger, LogFacts, OnCrash, Reserve
from oneapi_mw.ledger.batch import BatchedLedger
from oneapi_mw.ledger.database import Database
from oneapi_mw.ledger.memory import MemoryLedger
from oneapi_mw.ledger.open import open_ledger
from oneapi_mw.ledger.spool import Spooling
from oneapi_mw.store.dsn import DatabaseUrl, Dialect
from oneapi_mw.store.tables import metadata
from tests.support.servers import drop_database, migrated_database

SQL_BACKENDS = ("sqlite", "postgresql", "mysql")
FACTS = LogFacts(username="alice", token_name="default", model_name="m", prompt_tokens=7, channel_id=3)

_TABLES = (
    "billing_holds",
    "billing_entries",
    "billing_outbox",
    "billing_events",
    "token_transactions",
    "logs",
    "tokens",
    "users",
    "channels",
)
"""What a test of the ledger may leave behind."""
_made: dict[Dialect, DatabaseUrl] = {}
_numbers = count(1)


class Bank:
    """One database of an SQL backend."""

    def __init__(self, url: DatabaseUrl) -> None:
        self.url = url
        self.database = Database(url.sqlalchemy, url.connect_args())
        self._opened: list[Ledger] = []

    async def ledger(
        self,
        worker: str = "worker",
        *,
        on_crash: OnCrash = "prompt_cost",
        spooling: Spooling | None = None,
        grace_seconds: float = 0.0,
    ) -> Ledger:
        """Another ledger on the same books, started. Closed by the fixture. It sweeps as soon as it is asked to."""
        ledger = open_ledger(self.url, worker=worker, spooling=spooling, on_crash=on_crash, grace_seconds=grace_seconds)
        await ledger.start()
        self._opened.append(ledger)
        return ledger

    async def crash(self, ledger: Ledger) -> None:
        """Stop `ledger` without letting it carry out what it was handed."""
        self._opened.remove(ledger)
        assert isinstance(ledger, BatchedLedger)
        ledger._drain_seconds = 0.0
        await ledger.aclose()

    async def empty(self) -> None:
        async with self.database.writing() as connection:
            for table in _TABLES:
                await connection.execute(delete(metadata.tables[table]))

    async def user(self, quota: int) -> int:
        """A new user with `quota`; returns the id."""
        id_ = next(_numbers)
        async with self.database.writing() as connection:
            await connection.execute(insert(metadata.tables["users"]).values(user_row(id_, quota)))
            await connection.execute(insert(metadata.tables["billing_entries"]).values(entry_row(id_, None, quota)))
        return id_

    async def token(self, user_id: int, remain_quota: int | None = None) -> int:
        """A new token of a user, unlimited without `remain_quota`; returns the id."""
        id_ = next(_numbers)
        async with self.database.writing() as connection:
            await connection.execute(insert(metadata.tables["tokens"]).values(token_row(id_, user_id, remain_quota)))
            entry = entry_row(user_id, id_, remain_quota or 0)
            await connection.execute(insert(metadata.tables["billing_entries"]).values(entry))
        return id_

    async def channels(self, *ids: int) -> None:
        async with self.database.writing() as connection:
            await connection.execute(insert(metadata.tables["channels"]), [channel_row(id_) for id_ in ids])

    async def credit(self, user_id: int, amount: int) -> None:
        users = metadata.tables["users"]
        async with self.database.writing() as connection:
            more = update(users).where(users.c.id == user_id).values(quota=users.c.quota + amount)
            await connection.execute(more)
            await connection.execute(
                insert(metadata.tables["billing_entries"]).values(entry_row(user_id, None, amount))
            )

    async def change(self, table: str, id_: int, **values: Any) -> None:
        rows = metadata.tables[table]
        async with self.database.writing() as connection:
            await connection.execute(update(rows).where(rows.c.id == id_).values(values))

    async def age_leases(self) -> None:
        """Let the lease of every hold end now."""
        async with self.database.writing() as connection:
            await connection.execute(update(metadata.tables["billing_holds"]).values(lease_until=0))

    async def rows(self, sql: str, **values: Any) -> list[dict[str, Any]]:
        async with self.database.snapshot() as connection:
            return [dict(row) for row in (await connection.execute(text(sql), values)).mappings()]

    async def charges(self) -> list[tuple[int, int, int]]:
        """User, token and quota of every charge, as the log has them."""
        charges = await self.rows("SELECT * FROM logs WHERE type <> 3")
        return [(row["user_id"], row["token_id"], row["quota"]) for row in charges]

    async def adjustments(self) -> list[tuple[int, int | None, int]]:
        """User, token and amount of every entry that corrects a hold, those of users first."""
        entries = await self.rows("SELECT * FROM billing_entries WHERE kind = 'adjust' ORDER BY id")
        found = [(row["user_id"], row["token_id"], row["amount"]) for row in entries]
        return sorted(found, key=lambda entry: entry[1] is not None)

    async def told(self) -> list[tuple[int, str, int]]:
        """User, request and quota of the log rows of corrections."""
        rows = await self.rows("SELECT user_id, request_id, quota FROM logs WHERE type = 3 ORDER BY id")
        return [(row["user_id"], row["request_id"], row["quota"]) for row in rows]

    async def aclose(self) -> None:
        for ledger in self._opened:
            await ledger.aclose()
        await self.database.aclose()


class MemoryBank:
    """The same for the ledger in memory."""

    def __init__(self) -> None:
        self.only = MemoryLedger()

    async def ledger(self, worker: str = "worker", *, on_crash: OnCrash = "prompt_cost") -> Ledger:
        self.only.worker, self.only.on_crash = worker, on_crash
        return self.only

    async def user(self, quota: int) -> int:
        id_ = next(_numbers)
        self.only.open_account(id_, quota)
        return id_

    async def token(self, user_id: int, remain_quota: int | None = None) -> int:
        id_ = next(_numbers)
        self.only.open_token(id_, user_id, remain_quota or 0, unlimited=remain_quota is None)
        return id_

    async def change(self, table: str, id_: int, *, status: int) -> None:
        key = "user_id" if table == "users" else "token_id"
        self.only.set_enabled(**{key: id_}, enabled=status == 1)

    async def credit(self, user_id: int, amount: int) -> None:
        self.only.open_account(user_id, amount)

    async def charges(self) -> list[tuple[int, int, int]]:
        return [(entry.user_id, entry.token_id, entry.quota) for entry in self.only.log]

    async def adjustments(self) -> list[tuple[int, int | None, int]]:
        found: list[tuple[int, int | None, int]] = [(each.user_id, None, each.amount) for each in self.only.corrections]
        for each in self.only.corrections:
            hold = self.only.holds[each.key]
            if hold.limited and each.amount:
                found.append((each.user_id, hold.request.token_id, each.amount))
        return found

    async def told(self) -> list[tuple[int, str, int]]:
        return [(each.user_id, each.key, each.amount) for each in self.only.corrections if each.amount]

    async def aclose(self) -> None:
        await self.only.aclose()


def key() -> str:
    return secrets.token_hex(16)


def reserve(user_id: int, token_id: int, amount: int, **fields: Any) -> Reserve:
    return Reserve(fields.pop("key", None) or key(), user_id, token_id, amount, **fields)


async def findings(ledger: Ledger) -> list[Finding]:
    """What is wrong with the books, open holds past their lease excepted: some tests leave those on purpose."""
    return [finding for finding in await ledger.audit() if finding.invariant != "I-6"]


def user_row(id_: int, quota: int) -> dict[str, Any]:
    return {
        **dict.fromkeys(("display_name", "email", "github_id", "wechat_id", "lark_id", "oidc_id", "password"), ""),
        "id": id_,
        "uuid": f"user-{id_}",
        "username": f"user{id_}",
        "role": 1,
        "status": 1,
        "quota": quota,
        "used_quota": 0,
        "request_count": 0,
        "group": "default",
        "created_at": 0,
        "updated_at": 0,
    }


def token_row(id_: int, user_id: int, remain_quota: int | None) -> dict[str, Any]:
    return {
        "id": id_,
        "uuid": f"token-{id_}",
        "user_id": user_id,
        "user_uuid": f"user-{user_id}",
        "status": 1,
        "key_digest": f"digest-{id_}",
        "key_sealed": b"",
        "name": "default",
        "expired_time": -1,
        "deleted": False,
        **dict.fromkeys(("created_time", "accessed_time", "used_quota", "created_at", "updated_at"), 0),
        "remain_quota": remain_quota or 0,
        "unlimited_quota": remain_quota is None,
    }


def channel_row(id_: int) -> dict[str, Any]:
    texts = dict.fromkeys(("name", "base_url", "models", "config"), "")
    times = ("created_time", "test_time", "response_time", "balance_updated_time", "created_at", "updated_at")
    numbers = dict.fromkeys((*times, "type", "weight", "used_quota", "priority", "ratelimit"), 0)
    fixed = {"key_sealed": b"", "status": 1, "balance": "0", "group": "default"}
    return {"id": id_, "uuid": f"channel-{id_}", **texts, **numbers, **fixed}


def entry_row(user_id: int, token_id: int | None, amount: int) -> dict[str, Any]:
    return {
        "key": key(),
        "user_id": user_id,
        "token_id": token_id,
        "amount": amount,
        "kind": "initial",
        "remark": "",
        "created_at": 0,
    }


@asynccontextmanager
async def open_bank(backend: str, folder: Path) -> AsyncIterator[Bank | MemoryBank]:
    """Empty books on `backend`. The test is skipped when its server cannot be reached."""
    if backend == "memory":
        yield MemoryBank()
        return
    bank = Bank(await _database(cast(Dialect, backend), folder))
    try:
        if backend != "sqlite":
            await bank.empty()
        yield bank
    finally:
        await bank.aclose()


async def _database(dialect: Dialect, folder: Path) -> DatabaseUrl:
    """A file for each test; one database per server and test run, because making them takes longer than most tests."""
    if dialect == "sqlite":
        return await migrated_database(dialect, folder)
    if dialect not in _made:
        url = _made[dialect] = await migrated_database(dialect, folder)
        atexit.register(lambda: asyncio.run(drop_database(url)))
    return _made[dialect]
