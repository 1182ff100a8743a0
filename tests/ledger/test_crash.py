"""Processes that die in the middle of it, and several on the same books."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from asyncio.subprocess import PIPE, Process
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from oneapi_mw.ledger.base import Balance, Held
from tests.ledger.bank import FACTS, Bank, open_bank, reserve

FUNDS = 10**9
PAIRS = 96


async def _start(bank: Bank, worker: str, user: int, token: int, *pairs: int) -> Process:
    url = json.dumps(asdict(bank.url))
    arguments = ("-m", "tests.ledger.load", url, worker, *map(str, (user, token, *pairs)))
    return await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=PIPE)


async def _kill_after(process: Process, lines: int) -> int:
    """Kill -9 after so many lines of progress; returns how many settlements and voids it reported."""
    assert process.stdout is not None
    for _ in range(lines):
        line = await process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    rest = await process.stdout.read()
    assert await process.wait() == -signal.SIGKILL
    return int((line + rest).split()[-1])


async def _check_books(bank: Bank, user: int, token: int) -> None:
    ledger = await bank.ledger("survivor")
    while await ledger.sweep():
        pass
    assert await ledger.audit() == []
    assert await bank.rows("SELECT 1 AS found FROM billing_holds WHERE state = 0") == []
    (paid,) = await bank.rows("SELECT sum(final) AS total, count(*) AS holds FROM billing_holds WHERE state = 1")
    paid_total = int(paid["total"])
    assert await ledger.user_balance(user) == Balance(FUNDS - paid_total, paid_total, paid["holds"])
    assert await ledger.token_balance(token) == Balance(FUNDS - paid_total, paid_total)


@pytest.mark.parametrize("backend", ["sqlite", "postgresql", "mysql"])
async def test_a_killed_process_leaves_books_that_balance(backend: str, tmp_path: Path) -> None:
    async with open_bank(backend, tmp_path) as bank:
        assert isinstance(bank, Bank)
        user = await bank.user(FUNDS)
        token = await bank.token(user, FUNDS)

        reported = await _kill_after(await _start(bank, "killed", user, token), lines=3)

        await _check_books(bank, user, token)
        (ended,) = await bank.rows("SELECT count(*) AS found FROM billing_holds")
        assert ended["found"] >= reported  # what a caller was told of is there


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["sqlite", "postgresql", "mysql"])
async def test_many_kills_beside_a_living_process(backend: str, tmp_path: Path) -> None:
    async with open_bank(backend, tmp_path) as bank:
        assert isinstance(bank, Bank)
        user = await bank.user(FUNDS)
        token = await bank.token(user, FUNDS)
        living = await _start(bank, "living", user, token)

        for round_ in range(6):
            await _kill_after(await _start(bank, "killed", user, token), lines=1 + round_ % 3)
        living.send_signal(signal.SIGKILL)
        await living.communicate()
        await bank.age_leases()

        await _check_books(bank, user, token)


CUT = {
    "postgresql": "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE application_name = 'oneapi_mw.ledger' AND datname = current_database()",
    "mysql": "SELECT id FROM information_schema.processlist WHERE db = database() AND id <> connection_id()",
}


@pytest.mark.parametrize("backend", ["postgresql", "mysql"])
async def test_lost_connections_are_made_again(backend: str, tmp_path: Path) -> None:
    """Whatever was on its way when the server cut the connections is carried out once."""
    async with open_bank(backend, tmp_path) as bank:
        assert isinstance(bank, Bank)
        user = await bank.user(FUNDS)
        token = await bank.token(user, FUNDS)
        ledger = await bank.ledger()
        some_done = asyncio.Event()

        async def caller() -> None:
            for _ in range(20):
                request = reserve(user, token, 10)
                assert isinstance(await ledger.reserve(request), Held)
                settled = await ledger.settle(request.key, 7, FACTS)
                assert (settled.state, settled.charged) == ("settled", 7)
                some_done.set()

        callers = asyncio.gather(*(caller() for _ in range(10)))
        await some_done.wait()
        async with bank.database.writing() as connection:
            cut = (await connection.execute(text(CUT[backend]))).scalars().all()
            for id_ in cut if backend == "mysql" else ():
                with suppress(DBAPIError):  # it may have gone by itself
                    await connection.execute(text(f"KILL {id_:d}"))
        assert cut
        await callers

        await _check_books(bank, user, token)
        assert (await ledger.user_balance(user)).request_count == 200


async def test_several_processes_on_one_file(tmp_path: Path) -> None:
    async with open_bank("sqlite", tmp_path) as bank:
        assert isinstance(bank, Bank)
        user = await bank.user(FUNDS)
        token = await bank.token(user, FUNDS)

        processes = [await _start(bank, f"worker {n}", user, token, PAIRS) for n in range(3)]
        for process in processes:
            await process.communicate()

        assert [process.returncode for process in processes] == [0, 0, 0]
        await _check_books(bank, user, token)
        (ended,) = await bank.rows("SELECT count(*) AS found FROM billing_holds")
        assert ended["found"] == 3 * PAIRS
