"""Processes that die in the middle of it, and several on the same books."""

from __future__ import annotations

import asyncio
import random
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from oneapi_mw.ledger.base import Balance, Held, Ledger
from tests.ledger.bank import FACTS, SQL_BACKENDS, Bank, findings, open_bank, reserve
from tests.ledger.load import AMOUNT, arguments

FUNDS = 10**9
PAIRS = 96
DAY = 86_400.0


async def _start(bank: Bank, worker: str, user: int, token: int, **load: Any) -> Process:
    words = arguments(bank.url, worker, user, token, **load)
    return await asyncio.create_subprocess_exec(sys.executable, *words, stdout=PIPE)


async def _kill_after(process: Process, lines: int, delay: float) -> int:
    """Kill -9 so many seconds after so many lines of progress; returns how many settlements and voids it reported."""
    assert process.stdout is not None
    for _ in range(lines):
        line = await process.stdout.readline()
    await asyncio.sleep(delay)  # a line is always printed at the same step of the work
    process.send_signal(signal.SIGKILL)
    rest = await process.stdout.read()
    assert await process.wait() == -signal.SIGKILL
    return int((line + rest).split()[-1])


async def _sweep_all(sweepers: list[Ledger]) -> int:
    """All of them at once, until none finds anything; returns how many holds they ended."""
    total = 0
    while swept := sum(await asyncio.gather(*(sweeper.sweep() for sweeper in sweepers))):
        total += swept
    return total


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


async def _kill_loop(bank: Bank, rounds: int, *, beside_a_living_one: bool) -> Counter[str]:
    """Kill a process `rounds` times at any moment; competing sweepers clear up after each."""
    dice = random.Random(rounds)
    user = await bank.user(FUNDS)
    token = await bank.token(user, FUNDS)
    sweepers = [await bank.ledger(f"sweeper {n}") for n in range(3)]
    living = await _start(bank, "living", user, token) if beside_a_living_one else None
    numbers: Counter[str] = Counter(rounds=rounds)
    for _ in range(rounds):
        process = await _start(bank, "killed", user, token, lease_seconds=0)
        numbers["reported"] += await _kill_after(process, dice.randint(1, 3), dice.uniform(0, 0.05))
        (left,) = await bank.rows("SELECT count(*) AS found FROM billing_holds WHERE state = 0 AND worker = 'killed'")
        numbers["left open"] += left["found"]
        numbers["swept"] += await _sweep_all(sweepers)
        assert await bank.rows("SELECT 1 AS found FROM billing_holds WHERE state = 0 AND worker = 'killed'") == []
    if living is not None:
        living.send_signal(signal.SIGKILL)
        await living.communicate()
        await bank.age_leases()
        numbers["swept"] += await _sweep_all(sweepers)

    await _check_books(bank, user, token)
    (ended,) = (
        await bank.rows("SELECT count(*) AS holds, sum(state = 1) AS settled FROM billing_holds")
        if (bank.url.dialect != "postgresql")
        else await bank.rows("SELECT count(*) AS holds, sum((state = 1)::int) AS settled FROM billing_holds")
    )
    (logged,) = await bank.rows("SELECT count(*) AS found FROM logs")
    assert int(ended["settled"]) == logged["found"]
    (killed,) = await bank.rows("SELECT count(*) AS found FROM billing_holds WHERE worker = 'killed'")
    assert killed["found"] >= numbers["reported"]  # what a caller was told of is there
    numbers.update({"holds": ended["holds"], "settled": int(ended["settled"])})
    return numbers


@pytest.mark.parametrize("backend", SQL_BACKENDS)
async def test_i_06_killed_processes_leave_books_that_balance(backend: str, tmp_path: Path) -> None:
    async with open_bank(backend, tmp_path) as bank:
        assert isinstance(bank, Bank)
        await _kill_loop(bank, 3, beside_a_living_one=False)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("backend", SQL_BACKENDS)
async def test_i_06_many_kills(backend: str, tmp_path: Path) -> None:
    async with open_bank(backend, tmp_path) as bank:
        assert isinstance(bank, Bank)
        numbers = await _kill_loop(bank, 25, beside_a_living_one=True)
    print(backend, dict(numbers))


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


@pytest.mark.parametrize("backend", SQL_BACKENDS)
async def test_i_13_four_processes_whose_clocks_differ(backend: str, tmp_path: Path) -> None:
    """Leases, admission and endings go by the database: no process ends what another still serves."""
    async with open_bank(backend, tmp_path) as bank:
        assert isinstance(bank, Bank)
        user = await bank.user(FUNDS)
        token = await bank.token(user, FUNDS)
        ledger = await bank.ledger("reserves what all of them settle")
        shared = [reserve(user, token, 10) for _ in range(20)]
        await asyncio.gather(*(ledger.reserve(request) for request in shared))
        keys = [request.key for request in shared]
        short = await bank.user(50 * AMOUNT)
        rich = await bank.user(FUNDS)
        hoards = ((short, await bank.token(short)), (rich, await bank.token(rich, 50 * AMOUNT)))

        common = {"pairs": PAIRS, "sweeps": True, "shared": keys, "hoards": hoards}
        processes = [
            await _start(bank, f"worker {n}", user, token, clock_ahead=ahead, ours=n, **common)
            for n, ahead in enumerate((0.0, DAY, -DAY, 3600.0))
        ]
        outputs = [(await process.communicate())[0].decode().splitlines() for process in processes]

        assert [process.returncode for process in processes] == [0, 0, 0, 0]
        words = [line.split() for output in outputs for line in output]
        for hoarder in (short, rich):  # I-3, by the user's limit and by the token's
            assert sum(int(line[2]) for line in words if line[:2] == ["held", str(hoarder)]) == 50
        ended = [line for line in words if line[0] == "ended"]
        for key in keys:
            answers = [(charged, first) for _, found, charged, first in ended if found == key]
            assert len(answers) == 4
            assert len({charged for charged, _ in answers}) == 1  # I-5
            assert [first for _, first in answers].count("True") == 1
        (still_open,) = await bank.rows("SELECT count(*) AS found FROM billing_holds WHERE state = 0")
        assert still_open["found"] == 2 * 50
        assert await bank.rows("SELECT 1 AS found FROM billing_holds WHERE estimated") == []
        (ended_by_their_own,) = await bank.rows("SELECT count(*) AS found FROM billing_holds WHERE state <> 0")
        assert ended_by_their_own["found"] == 4 * PAIRS + len(keys)
        assert await findings(ledger) == []
        await bank.age_leases()
        assert await _sweep_all([ledger, await bank.ledger("another sweeper")]) == 100
        assert await ledger.audit() == []
