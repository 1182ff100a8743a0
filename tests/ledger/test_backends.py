"""What the SQL ledgers do when their database is busy, gets in their way or says nothing."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncmy.errors
import asyncpg
import pytest

from oneapi_mw.errors import StoreUnavailable
from oneapi_mw.ledger import batch as front
from oneapi_mw.ledger import database, mysql, postgres, sqlite
from oneapi_mw.ledger import lane as lanes
from oneapi_mw.ledger.base import Balance, Held, LogFacts, Settled
from oneapi_mw.ledger.operation import Away, Batch, Reservation
from tests.ledger.bank import FACTS, SQL_BACKENDS, Bank, findings, open_bank, reserve


@pytest.fixture
async def bank(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bank]:
    async with open_bank(request.param, tmp_path) as books:
        assert isinstance(books, Bank)
        yield books
        assert await findings(await books.ledger()) == []


@pytest.mark.parametrize("bank", ["sqlite"], indirect=True)
async def test_a_file_that_another_process_writes_to_is_waited_for(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.01)
    monkeypatch.setattr(lanes, "FIRST_RETRY", 0.001)
    monkeypatch.setattr(front, "TICK_SECONDS", 0.001)
    ledger = await bank.ledger()
    user = await bank.user(1000)
    token = await bank.token(user)
    held, late = reserve(user, token, 100), reserve(user, token, 100)
    await ledger.reserve(held)
    other = sqlite3.connect(str(bank.url.path), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    monkeypatch.setattr(front, "ENDING_PATIENCE", 0.0)
    monkeypatch.setattr(front, "RESERVE_PATIENCE", 0.0)
    for call in (ledger.settle(held.key, 30, FACTS), ledger.reserve(late)):
        with pytest.raises(StoreUnavailable):
            await call
    monkeypatch.undo()
    other.rollback()
    other.close()

    assert await ledger.settle(held.key, 99, FACTS) == Settled(held.key, "settled", 30, False)
    assert (await ledger.void(late.key)).state == "void"
    assert await ledger.user_balance(user) == Balance(970, 30, 1)


@pytest.mark.parametrize("bank", ["sqlite"], indirect=True)
async def test_a_transaction_that_cannot_be_rolled_back_ends_with_its_connection(bank: Bank) -> None:
    class Broken:
        """A connection that no longer ends its transaction."""

        in_transaction = True

        def __init__(self, real: sqlite3.Connection) -> None:
            self.execute_really, self.close = real.execute, real.close

        def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
            if sql in ("COMMIT", "ROLLBACK"):
                raise sqlite3.OperationalError("disk I/O error")
            return self.execute_really(sql, *values)

    user = await bank.user(1000)
    token = await bank.token(user)
    writer = sqlite._Writer(str(bank.url.path), "worker", lambda: 0)
    writer._db = Broken(writer._db)  # type: ignore[assignment]
    reservation = Reservation(reserve(user, token, 100), asyncio.get_running_loop().create_future(), 0.0)

    assert isinstance(writer.run(Batch.of([reservation])), sqlite3.OperationalError)
    assert writer.run(Batch.of([reservation])) is None
    assert reservation.answer == Held(reservation.key, 100)
    writer.close()


@pytest.mark.parametrize(
    ("bank", "owner", "method", "fault"),
    [
        ("mysql", mysql._Transaction, "run", asyncmy.errors.OperationalError(1213, "Deadlock found")),
        ("mysql", mysql._Transaction, "run", asyncmy.errors.OperationalError(1205, "Lock wait timeout exceeded")),
        ("postgresql", postgres.PostgresBackend, "_transact", asyncpg.DeadlockDetectedError("deadlock detected")),
    ],
    indirect=["bank"],
)
@pytest.mark.parametrize("times", [2, 3, 7])
async def test_a_batch_that_loses_a_conflict_is_tried_again(
    bank: Bank, owner: type, method: str, fault: Exception, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once while that may help, then as during an outage; the caller only sees that it took longer."""
    monkeypatch.setattr(lanes, "FIRST_RETRY", 0.001)
    ledger = await bank.ledger()
    user = await bank.user(1000)
    request = reserve(user, await bank.token(user), 100)
    really, left = getattr(owner, method), [fault] * times

    async def sometimes(*arguments: Any) -> None:
        if left:
            raise left.pop()
        await really(*arguments)

    monkeypatch.setattr(owner, method, sometimes)

    assert await ledger.reserve(request) == Held(request.key, 100)
    left += [fault] * times
    assert await ledger.settle(request.key, 40, FACTS) == Settled(request.key, "settled", 40, True)
    assert left == []


def _mysql(code: int) -> tuple[str, type, str, Exception]:
    return "mysql", mysql._Transaction, "run", asyncmy.errors.OperationalError(code, f"error {code}")


def _postgresql(fault: type[Exception]) -> tuple[str, type, str, Exception]:
    return "postgresql", postgres.PostgresBackend, "_transact", fault(fault.__name__)


@pytest.mark.parametrize(
    ("bank", "owner", "method", "fault"),
    [
        _postgresql(asyncpg.InternalClientError),  # a query at the very moment the server says goodbye
        _postgresql(asyncpg.AdminShutdownError),
        _postgresql(asyncpg.ConnectionDoesNotExistError),
        _postgresql(asyncpg.ReadOnlySQLTransactionError),
        _postgresql(asyncpg.DiskFullError),
        _postgresql(asyncpg.PostgresIOError),
        _postgresql(asyncpg.LockNotAvailableError),
        _postgresql(asyncpg.IdleInTransactionSessionTimeoutError),
        _postgresql(asyncpg.InvalidCachedStatementError),  # a table has changed
        _postgresql(asyncpg.InvalidSQLStatementNameError),  # a pooler has changed the session
        *map(_mysql, (1021, 1026, 1030, 1037, 1041, 1053, 1114, 1290, 1836, 1969, 2006, 2013, 3024)),
    ],
    ids=lambda value: f"{type(value).__name__}{value.args[:1]}" if isinstance(value, Exception) else "",
    indirect=["bank"],
)
async def test_a_database_in_trouble_is_waited_for(
    bank: Bank, owner: type, method: str, fault: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such a fault says nothing of the batch: an ending that was given up for it would never be charged."""
    monkeypatch.setattr(lanes, "FIRST_RETRY", 0.001)
    ledger = await bank.ledger()
    user = await bank.user(1000)
    request = reserve(user, await bank.token(user), 100)
    really, left = getattr(owner, method), list[Exception]()

    async def sometimes(*arguments: Any) -> None:
        if left:
            raise left.pop()
        await really(*arguments)

    monkeypatch.setattr(owner, method, sometimes)
    assert await ledger.reserve(request) == Held(request.key, 100)
    left += [fault] * 3
    assert await ledger.settle(request.key, 40, FACTS) == Settled(request.key, "settled", 40, True)
    assert left == []


@pytest.mark.parametrize("bank", SQL_BACKENDS, indirect=True)
async def test_a_database_that_says_nothing_is_not_waited_for(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    user = await bank.user(1000)
    with monkeypatch.context() as patch:
        patch.setattr(database, "TRANSACTION_SECONDS", 0.01)
        with pytest.raises(StoreUnavailable, match="TimeoutError"):
            async with bank.database.writing():
                await asyncio.Event().wait()

    assert await (await bank.ledger()).user_balance(user) == Balance(1000, 0, 0)


@pytest.mark.parametrize("bank", SQL_BACKENDS, indirect=True)
async def test_who_starts_sweeps_nothing_that_a_living_worker_may_still_renew(bank: Bank) -> None:
    """A machine that slept, a database that was away: nobody who starts knows whether leases could be renewed."""
    living = await bank.ledger("living")
    user = await bank.user(1000)
    token = await bank.token(user)
    known, lost = (reserve(user, token, 100, fallback=30, lease_seconds=0) for _ in range(2))
    for request in (known, lost):
        await living.reserve(request)

    starting = await bank.ledger("starting", grace_seconds=front.GRACE_SECONDS)
    assert isinstance(starting, front.BatchedLedger)
    assert await starting.sweep() == 0
    assert await living.settle(known.key, 20, FACTS) == Settled(known.key, "settled", 20, True)
    starting._started_at -= front.GRACE_SECONDS
    assert await starting.sweep() == 1
    assert await living.user_balance(user) == Balance(950, 50, 2)


@pytest.mark.parametrize("driver", ["asyncpg", "asyncmy"])
async def test_who_cannot_connect_on_every_lane_is_away(driver: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lane that could is closed by the ledger, whose start has failed."""
    closed = []

    class Connection:
        async def close(self, timeout: float) -> None:
            closed.append(self)

        async def ensure_closed(self) -> None:
            closed.append(self)

    answers: list[Any] = [Connection(), OSError("too many connections")]

    async def connect(**arguments: Any) -> Any:
        answer = answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer

    monkeypatch.setattr(f"{driver}.connect", connect)
    backend: Any = (postgres.PostgresBackend if driver == "asyncpg" else mysql.MysqlBackend)(worker="w")
    with pytest.raises(Away, match="too many"):
        await backend.start()
    await backend.aclose()
    assert len(closed) == 1


ODD_FACTS = {
    "half a pair": LogFacts(content="a\ud800b", model_name="m\udfff"),
    "NUL": LogFacts(content="a\x00b", username="\x00"),
    "too large": LogFacts(prompt_tokens=2**70, completion_tokens=2**64),
    "negative": LogFacts(prompt_tokens=-(2**70)),
    "half a pair in JSON": LogFacts(metadata={"a": "\ud800"}),
    "NUL in JSON": LogFacts(metadata={"a\x00": "\x00"}),
    "no JSON": LogFacts(metadata={"a": {1, 2}}),
}


@pytest.mark.parametrize("facts", ODD_FACTS.values(), ids=ODD_FACTS)
@pytest.mark.parametrize("backend", SQL_BACKENDS)
async def test_what_a_log_row_cannot_hold_costs_nobody_a_charge(backend: str, facts: LogFacts, tmp_path: Path) -> None:
    async with open_bank(backend, tmp_path) as bank:
        assert isinstance(bank, Bank)
        ledger = await bank.ledger()
        user = await bank.user(10_000)
        token = await bank.token(user)
        requests = [reserve(user, token, 200) for _ in range(5)]
        await asyncio.gather(*map(ledger.reserve, requests))
        told = [FACTS, facts, FACTS, facts, FACTS]
        ended = [ledger.settle(request.key, 70, each) for request, each in zip(requests, told, strict=True)]
        assert [answer.charged for answer in await asyncio.gather(*ended)] == [70] * 5
        assert await ledger.user_balance(user) == Balance(10_000 - 350, 350, 5)
        assert len(await bank.rows("SELECT request_id FROM logs")) == 5
