"""I-11: a database that is killed or falls silent under load. No call without a durable hold, and no ending lost."""

from __future__ import annotations

import asyncio
import signal
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from oneapi_mw.errors import StoreUnavailable
from oneapi_mw.ledger import batch as front
from oneapi_mw.ledger import lane as lanes
from oneapi_mw.ledger import mysql, postgres
from oneapi_mw.ledger.base import Held
from oneapi_mw.ledger.batch import BatchedLedger
from oneapi_mw.ledger.spool import Spooling
from oneapi_mw.ledger.spool_file import paths
from tests.ledger.bank import FACTS, Bank, reserve
from tests.ledger.load import CALLERS, FINAL, arguments
from tests.support.outage import OwnServer, own_server

FUNDS = 10**9
BEFORE, DURING, AFTER = 100, 10, 100
"""Requests served before the outage, refused during it, and served after it."""


@pytest.fixture(params=["postgresql", "mysql"])
async def server(request: pytest.FixtureRequest) -> OwnServer:
    return await own_server(request.param)


@pytest.fixture
async def bank(server: OwnServer) -> AsyncIterator[Bank]:
    books = Bank(server.url)
    await books.empty()
    yield books
    await server.recover()  # a failed test may have left it dead, and ledgers would wait for it
    await books.aclose()


class Shop:
    """Callers that do as the stages of a request do: hold, then go upstream, then settle."""

    def __init__(self, ledger: BatchedLedger, user: int, token: int) -> None:
        self.ledger, self.user, self.token = ledger, user, token
        self.upstream: list[str] = []
        self.refused: list[str] = []
        self.closed = False
        self._news = asyncio.Condition()

    async def serve(self) -> None:
        while not self.closed:
            request = reserve(self.user, self.token, 10, fallback=3)
            try:
                answer = await self.ledger.reserve(request)
            except StoreUnavailable:
                self.refused.append(request.key)
            else:
                assert isinstance(answer, Held)
                self.upstream.append(request.key)
                await self.ledger.settle(request.key, FINAL, FACTS)
            async with self._news:
                self._news.notify_all()

    async def until(self, *, served: int = 0, refused: int = 0) -> None:
        async with self._news:
            await self._news.wait_for(lambda: len(self.upstream) >= served and len(self.refused) >= refused)


@pytest.mark.parametrize("how", ["killed", "silent"])
async def test_i_11_an_outage_under_load(
    server: OwnServer, bank: Bank, how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(front, "RESERVE_PATIENCE", 0.3)
    monkeypatch.setattr(lanes, "TIME_TO_KEEP", front.ENDING_PATIENCE - 0.3)
    monkeypatch.setattr(postgres, "COMMAND_SECONDS", 1.0)
    monkeypatch.setattr(mysql, "COMMAND_SECONDS", 1.0)
    user = await bank.user(FUNDS)
    token = await bank.token(user, FUNDS)
    ledger = await bank.ledger(spooling=Spooling(tmp_path, 2**20), grace_seconds=front.GRACE_SECONDS)
    assert isinstance(ledger, BatchedLedger)
    running = [reserve(user, token, 10, fallback=3) for _ in range(20)]
    for request in running:
        assert isinstance(await ledger.reserve(request), Held)
    shop = Shop(ledger, user, token)
    serving = asyncio.gather(*(shop.serve() for _ in range(CALLERS)))

    await shop.until(served=BEFORE)
    (server.kill if how == "killed" else server.pause)()
    answers = await asyncio.gather(*(ledger.settle(request.key, FINAL, FACTS) for request in running))
    assert all(answer.spooled for answer in answers)
    await shop.until(refused=DURING)
    served = len(shop.upstream)
    assert len(paths(tmp_path)) == 1
    if how == "killed":
        await server.start()
    else:
        server.resume()
    await shop.until(served=served + AFTER)
    shop.closed = True
    await serving
    await ledger._drain()

    await bank.age_leases()
    assert await ledger.sweep() == 0  # others may not have said yet what they know
    await _check(bank, {*shop.upstream, *(request.key for request in running)}, set(shop.refused))
    await ledger.aclose()
    assert paths(tmp_path) == []


async def test_i_11_a_worker_killed_during_the_outage(server: OwnServer, bank: Bank, tmp_path: Path) -> None:
    """Whoever comes next on the machine charges what the dead worker said, not what a sweep would guess."""
    user = await bank.user(FUNDS)
    token = await bank.token(user, FUNDS)
    words = arguments(bank.url, "killed", user, token, waits=True, spool=str(tmp_path))
    process = await asyncio.create_subprocess_exec(sys.executable, *words, stdin=PIPE, stdout=PIPE, stderr=PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    assert await process.stdout.readline() == b"waiting\n"

    server.kill()
    process.stdin.write(b"\n")
    kept = [(await process.stdout.readline()).decode().split() for _ in range(CALLERS)]
    assert [(word, spooled) for word, _, spooled in kept] == [("kept", "True")] * CALLERS
    process.send_signal(signal.SIGKILL)
    await process.communicate()
    await server.start()
    await bank.age_leases()

    spooling = Spooling(tmp_path, 2**20)
    ledgers = await asyncio.gather(*(bank.ledger(f"next {n}", spooling=spooling) for n in range(3)))
    for ledger in ledgers:
        assert await ledger.sweep() == 0
    await _check(bank, {key for _, key, _ in kept}, set())
    assert paths(tmp_path) == []


async def _check(bank: Bank, upstream: set[str], refused: set[str]) -> None:
    """Every call had a hold and was charged what it cost, once; what was refused holds nothing."""
    holds = {row["key"]: row for row in await bank.rows("SELECT * FROM billing_holds")}
    for key in upstream:
        assert (holds[key]["state"], holds[key]["final"], bool(holds[key]["estimated"])) == (1, FINAL, False)
    assert all(holds[key]["state"] == 2 for key in refused if key in holds)
    assert set(holds) <= upstream | refused
    logged = [row["request_id"] for row in await bank.rows("SELECT request_id FROM logs")]
    assert sorted(logged) == sorted(upstream)
    auditor = await bank.ledger("auditor")
    assert await auditor.audit() == []
