"""How many requests a second a ledger keeps the books for: hold, settlement, log row, outbox.

    python -m benchmarks.ledger                                      # SQLite: 1, 32 and 128 callers, one user and 64
    python -m benchmarks.ledger --backend postgres --callers 32 --users 1 --seconds 5

Makes a throw-away database: a file in the temporary folder, or one on a server that is found or started as the tests
do (`tests.support.servers`, with the packages the tests need).
Prints pairs (hold and settlement) per second, latency of a pair, CPU of this process per pair, operations per batch
and round trips to the server per batch; exits with 1 when the books do not balance afterwards. PostgreSQL and MySQL do
their work in processes of their own, whose CPU is not counted.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import create_async_engine

from oneapi_mw.ids import request_id
from oneapi_mw.ledger import mysql
from oneapi_mw.ledger.base import Held, Ledger, LogFacts, Reserve
from oneapi_mw.ledger.mysql import MysqlBackend
from oneapi_mw.ledger.operation import Backend, Batch
from oneapi_mw.ledger.postgres import PostgresBackend
from oneapi_mw.ledger.sql import sql_ledger
from oneapi_mw.process import tune_memory
from oneapi_mw.store.dsn import DatabaseUrl, Dialect
from oneapi_mw.store.tables import metadata

QUOTA = 10**15
SERVERS: dict[str, Dialect] = {"postgres": "postgresql", "mysql": "mysql"}
NOTED = {
    "user_uuid": "01a20e24-6be5-7ccf-b221-0e4de92b9dae",
    "username": "alice",
    "token_uuid": "01a20e24-6be5-7ccf-b221-0e4de92b9daf",
    "token_name": "default",
    "channel_id": 3,
    "channel_uuid": "01a20e24-6be5-7ccf-b221-0e4de92b9dba",
    "channel_name": "openai main",
    "model_name": "gpt-4o-mini",
    "origin_model_name": "gpt-4o-mini",
    "prompt_tokens": 100,
    "is_stream": True,
}
FACTS: dict[str, Any] = {
    **NOTED,
    "completion_tokens": 50,
    "elapsed_time": 800,
    "content": "model rate 0.07, group rate 1.00, completion rate 4.00, cached_prompt 0, cache_write_5m 0, "
    "cache_write_1h 0",
    "metadata": {
        "user_api_format": "openai_chat",
        "upstream_api_format": "openai_chat",
        "upstream_endpoint": "https://api.openai.com/v1/chat/completions",
    },
}


@dataclass
class Result:
    latencies: list[float] = field(default_factory=list)
    seconds: float = 0.0
    cpu: float = 0.0
    batches: int = 0
    round_trips: int = 0

    def __str__(self) -> str:
        pairs = len(self.latencies)
        ordered = sorted(self.latencies)
        return (
            f"{pairs / self.seconds:9,.0f} pairs/s   p50 {ordered[pairs // 2] * 1e3:6.2f} ms   "
            f"p99 {ordered[int(pairs * 0.99)] * 1e3:6.2f} ms   {self.cpu / pairs * 1e6:6.1f} us CPU/pair   "
            f"batches of {2 * pairs / self.batches:5.1f}   {self.round_trips / self.batches:.2f} round trips/batch"
        )


class Counted:
    """A backend that counts its batches."""

    def __init__(self, backend: Backend, result: Result) -> None:
        self.lanes, self.remind_below = backend.lanes, backend.remind_below
        self.start, self.aclose = backend.start, backend.aclose
        self._run, self._result = backend.run, result

    async def run(self, lane: int, batch: Batch) -> None:
        self._result.batches += 1
        await self._run(lane, batch)


class CountedConnection:
    """A connection of asyncpg that counts what is sent to the server: one message each, as long as results fit."""

    def __init__(self, connection: Any, result: Result) -> None:
        self._connection, self._result = connection, result

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._connection, name)
        if name in ("fetch", "execute", "executemany"):
            self._result.round_trips += 1
        elif name == "transaction":  # its beginning and its end
            self._result.round_trips += 2
        return found


def count_round_trips(backend: Backend, result: Result) -> None:
    """SQLite is in this process and has none."""
    if isinstance(backend, PostgresBackend):
        connections = backend._connections
        connections[:] = [CountedConnection(connection, result) for connection in connections]
    elif isinstance(backend, MysqlBackend):
        read = mysql._Transaction._read

        async def counted(transaction: mysql._Transaction, *statements: str) -> Any:
            result.round_trips += 1
            return await read(transaction, *statements)

        mysql._Transaction._read = counted  # type: ignore[method-assign, assignment]


async def measure(url: DatabaseUrl, *, callers: int, users: int, seconds: float) -> tuple[Result, int]:
    """Returns the result and how many findings the audit had."""
    await _fill(url, users)
    result = Result()
    ledger = sql_ledger(url.sqlalchemy, worker="bench", connect=url.connect_args())
    tune_memory()  # as the gateway's own process does
    backend = ledger._backend
    ledger._backend = Counted(backend, result)
    await ledger.start()
    count_round_trips(backend, result)
    try:
        began, cpu = time.perf_counter(), time.process_time()
        deadline = began + seconds
        await asyncio.gather(*(_caller(ledger, users, deadline, result.latencies) for _ in range(callers)))
        result.seconds, result.cpu = time.perf_counter() - began, time.process_time() - cpu
        return result, len(await ledger.audit())
    finally:
        await ledger.aclose()


async def _caller(ledger: Ledger, users: int, deadline: float, latencies: list[float]) -> None:
    while (began := time.perf_counter()) < deadline:
        key, account = request_id(), random.randint(1, users)
        answer = await ledger.reserve(Reserve(key, account, account, 400, fallback=20, started_at=1, log=NOTED))
        assert isinstance(answer, Held)
        await ledger.settle(key, 250, LogFacts(**FACTS))
        latencies.append(time.perf_counter() - began)


async def _fill(url: DatabaseUrl, users: int) -> None:
    """As many users with a token each."""
    engine = create_async_engine(url.sqlalchemy, connect_args=dict(url.connect_args()))
    async with engine.begin() as connection:
        if url.dialect == "sqlite":  # the others come with tables
            await connection.run_sync(metadata.create_all)
        numbers = count(1)
        for account in range(1, users + 1):
            for table, values in _rows(account):
                if table == "billing_entries":
                    values = {**values, "key": f"initial {next(numbers)}"}
                await connection.execute(insert(metadata.tables[table]).values(values))
    await engine.dispose()


def _rows(account: int) -> list[tuple[str, dict[str, Any]]]:
    texts = ("password", "display_name", "email", "github_id", "wechat_id", "lark_id", "oidc_id")
    times = {"created_at": 0, "updated_at": 0}
    user = {"id": account, "uuid": f"user {account}", "username": f"user{account}", "role": 1, "status": 1}
    token = {"id": account, "uuid": f"token {account}", "user_id": account, "user_uuid": "", "status": 1, "name": ""}
    entry = {"user_id": account, "amount": QUOTA, "kind": "initial", "remark": "", "created_at": 0}
    return [
        ("users", {**user, **dict.fromkeys(texts, ""), "quota": QUOTA, "used_quota": 0, "request_count": 0,
                   "group": "default", **times}),
        ("tokens", {**token, "key_digest": f"digest {account}", "key_sealed": b"", "created_time": 0,
                    "accessed_time": 0, "expired_time": -1, "remain_quota": QUOTA, "unlimited_quota": False,
                    "used_quota": 0, "deleted": False, **times}),
        ("billing_entries", entry),
        ("billing_entries", {**entry, "token_id": account}),
    ]  # fmt: skip


@asynccontextmanager
async def _database(backend: str) -> AsyncIterator[DatabaseUrl]:
    if backend == "sqlite":
        with tempfile.TemporaryDirectory() as folder:
            yield DatabaseUrl("sqlite", path=f"{folder}/ledger.db")
        return
    from tests.support.servers import drop_database, migrated_database

    with tempfile.TemporaryDirectory() as folder:
        url = await migrated_database(SERVERS[backend], Path(folder))
    try:
        yield url
    finally:
        await drop_database(url)


async def run(options: argparse.Namespace) -> int:
    unbalanced = 0
    for users in options.users or (64, 1):
        for callers in options.callers or (1, 32, 128):
            async with _database(options.backend) as url:
                result, findings = await measure(url, callers=callers, users=users, seconds=options.seconds)
            print(f"{options.backend}, {callers:3} callers, {users:2} users: {result}", flush=True)
            unbalanced += findings
    if unbalanced:
        print(f"the books do not balance: {unbalanced} findings", file=sys.stderr)
    return 1 if unbalanced else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", choices=["sqlite", *SERVERS], default="sqlite")
    parser.add_argument("--callers", type=int, action="append", help="how many ask at once (default 1, 32 and 128)")
    parser.add_argument("--users", type=int, action="append", help="accounts they share (default 64 and 1)")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each (default %(default)s)")
    options = parser.parse_args()
    try:
        import uvloop
    except ImportError:
        return asyncio.run(run(options))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run(options))


if __name__ == "__main__":
    sys.exit(main())
