"""How many requests a second a ledger keeps the books for: hold, settlement, log row, cost row, outbox.

    python -m benchmarks.ledger --backend sqlite --callers 32 --users 64 --seconds 5

Makes a throw-away database: a file in the temporary folder, or one named `oneapi_mw_bench` on a server on loopback.
Prints pairs (hold and settlement) per second, latency of a pair, CPU of this process per pair, and operations per
batch; exits with 1 when the books do not balance afterwards.
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

from sqlalchemy import URL, insert, text
from sqlalchemy.ext.asyncio import create_async_engine

from oneapi_mw.ids import request_id
from oneapi_mw.ledger.base import Held, Ledger, LogFacts, Reserve
from oneapi_mw.ledger.operation import Backend, Batch
from oneapi_mw.ledger.sql import sql_ledger
from oneapi_mw.store.tables import metadata

QUOTA = 10**15
SERVERS = {
    "postgres": URL.create("postgresql+asyncpg", "postgres", None, "127.0.0.1", 5432, "postgres"),
    "mysql": URL.create("mysql+asyncmy", "root", None, "127.0.0.1", 3306, "mysql"),
}
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

    def __str__(self) -> str:
        pairs = len(self.latencies)
        ordered = sorted(self.latencies)
        return (
            f"{pairs / self.seconds:9,.0f} pairs/s   p50 {ordered[pairs // 2] * 1e3:6.2f} ms   "
            f"p99 {ordered[int(pairs * 0.99)] * 1e3:6.2f} ms   {self.cpu / pairs * 1e6:6.1f} us CPU/pair   "
            f"{self.batches:,} batches of {2 * pairs / self.batches:.1f}"
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


async def measure(url: URL, *, callers: int, users: int, seconds: float) -> tuple[Result, int]:
    """Returns the result and how many findings the audit had."""
    await _fill(url, users)
    result = Result()
    ledger = sql_ledger(url, worker="bench")
    ledger._backend = Counted(ledger._backend, result)
    await ledger.start()
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


async def _fill(url: URL, users: int) -> None:
    """Tables, and as many users with a token each."""
    engine = create_async_engine(url)
    async with engine.begin() as connection:
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
async def _database(backend: str) -> AsyncIterator[URL]:
    if backend == "sqlite":
        with tempfile.TemporaryDirectory() as folder:
            yield URL.create("sqlite+aiosqlite", database=str(Path(folder) / "ledger.db"))
        return
    server, name = SERVERS[backend], "oneapi_mw_bench"
    await _execute(server, f"DROP DATABASE IF EXISTS {name}", f"CREATE DATABASE {name}")
    try:
        yield server.set(database=name)
    finally:
        await _execute(server, f"DROP DATABASE {name}")


async def _execute(url: URL, *statements: str) -> None:
    engine = create_async_engine(url, isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        for statement in statements:
            await connection.execute(text(statement))
    await engine.dispose()


async def run(options: argparse.Namespace) -> int:
    async with _database(options.backend) as url:
        result, findings = await measure(url, callers=options.callers, users=options.users, seconds=options.seconds)
    print(f"{options.backend}, {options.callers} callers, {options.users} users: {result}")
    if findings:
        print(f"the books do not balance: {findings} findings", file=sys.stderr)
    return 1 if findings else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", choices=["sqlite", *SERVERS], default="sqlite")
    parser.add_argument("--callers", type=int, default=32, help="how many ask at once (default %(default)s)")
    parser.add_argument("--users", type=int, default=64, help="accounts they share (default %(default)s)")
    parser.add_argument("--seconds", type=float, default=5.0)
    options = parser.parse_args()
    try:
        import uvloop
    except ImportError:
        return asyncio.run(run(options))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run(options))


if __name__ == "__main__":
    sys.exit(main())
