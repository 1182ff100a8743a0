"""Charges that come after a sweep has ended their hold by estimate: DP-19, a host that alone was cut off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from oneapi_mw.ledger.base import EXTERNAL, Balance, ExternalNote, HoldState, OnCrash, Settled
from oneapi_mw.ledger.batch import BatchedLedger
from oneapi_mw.ledger.operation import Away, Batch
from oneapi_mw.ledger.spool import Spooling
from oneapi_mw.ledger.spool_file import Kept, SpoolFile, ending_line, paths
from oneapi_mw.ledger.sql import spool_name
from tests.ledger.bank import FACTS, SQL_BACKENDS, Bank, MemoryBank, findings, open_bank, reserve

AMOUNT, FALLBACK, FUNDS = 200, 30, 1000


@pytest.fixture(params=["memory", *SQL_BACKENDS])
async def bank(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bank | MemoryBank]:
    """Empty books; whatever a test does, they balance in the end."""
    async with open_bank(request.param, tmp_path) as books:
        yield books
        assert await findings(await books.ledger()) == []


SWEPT: list[tuple[OnCrash, HoldState, int]] = [
    ("prompt_cost", "settled", FALLBACK),
    ("void", "void", 0),
    ("hold", "settled", AMOUNT),
]
"""What a sweep makes of a hold."""
COSTS = (None, 0, 7, FALLBACK, AMOUNT, 450)
"""What its worker says when it is back. `None`: nothing is owed, the request had failed."""


@pytest.mark.parametrize("limited", [True, False], ids=["limited", "unlimited"])
@pytest.mark.parametrize(("on_crash", "state", "estimate"), SWEPT)
async def test_what_an_estimate_was_off_by_is_booked_once(
    bank: Bank | MemoryBank, on_crash: OnCrash, state: HoldState, estimate: int, limited: bool
) -> None:
    ledger = await bank.ledger("cut off", on_crash=on_crash)
    user = await bank.user(10 * FUNDS)
    token = await bank.token(user, 10 * FUNDS if limited else None)
    told = []
    for cost in COSTS:
        request = reserve(user, token, AMOUNT, fallback=FALLBACK, lease_seconds=0)
        await ledger.reserve(request)
        assert await ledger.sweep() == 1

        answers = [await (ledger.void(request.key) if cost is None else ledger.settle(request.key, cost, FACTS))]
        answers += [await ledger.settle(request.key, 99, FACTS), await ledger.void(request.key)]

        adjusted = estimate - (cost or 0)
        assert answers == [Settled(request.key, state, estimate, False, adjusted=adjusted)] * 3
        assert answers[0].cost == (cost or 0)
        told.append((user, request.key, adjusted))

    # estimates stay in the counters and in the log
    cost, used, requests = sum(cost or 0 for cost in COSTS), len(COSTS) * estimate, len(COSTS) * (state == "settled")
    assert await ledger.user_balance(user) == Balance(10 * FUNDS - cost, used, requests)
    assert await ledger.token_balance(token) == Balance(10 * FUNDS - cost if limited else 0, used)
    assert await bank.charges() == [(user, token, estimate)] * requests
    assert await bank.told() == [line for line in told if line[2]]
    of_user, of_token = [(user, None, line[2]) for line in told], [(user, token, line[2]) for line in told if line[2]]
    assert await bank.adjustments() == (of_user + of_token if limited else of_user)


async def test_a_mark_is_an_estimate_too(bank: Bank | MemoryBank) -> None:
    ledger = await bank.ledger()
    user = await bank.user(FUNDS)
    request = reserve(user, await bank.token(user), AMOUNT, fallback=FALLBACK, lease_seconds=0)
    await ledger.reserve(request)
    await ledger.extend(request.key, 0, mark=70)
    await ledger.sweep()

    assert (await ledger.settle(request.key, 90, FACTS)).cost == 90
    assert await ledger.user_balance(user) == Balance(FUNDS - 90, 70, 1)


async def test_what_its_own_worker_has_ended_is_never_adjusted(bank: Bank | MemoryBank) -> None:
    ledger, other = await bank.ledger("worker"), await bank.ledger("other")
    user = await bank.user(FUNDS)
    token = await bank.token(user, FUNDS)
    settled, voided = (reserve(user, token, AMOUNT, lease_seconds=0) for _ in range(2))
    for request in (settled, voided):
        await ledger.reserve(request)
    await ledger.settle(settled.key, 50, FACTS)
    await ledger.void(voided.key)
    await other.sweep()

    for each in (ledger, other):
        assert await each.settle(settled.key, 70, FACTS) == Settled(settled.key, "settled", 50, False)
        assert await each.void(settled.key) == Settled(settled.key, "settled", 50, False)
        assert await each.settle(voided.key, 70, FACTS) == Settled(voided.key, "void", 0, False)
        assert await each.void(voided.key) == Settled(voided.key, "void", 0, False)
    assert await ledger.user_balance(user) == Balance(FUNDS - 50, 50, 1)
    assert await bank.adjustments() == []
    assert await bank.told() == []


async def test_the_time_of_an_external_hold_was_agreed(bank: Bank | MemoryBank) -> None:
    """I-17: what is charged when it is up is no estimate, and who comes later comes too late."""
    ledger = await bank.ledger()
    user = await bank.user(FUNDS)
    token = await bank.token(user, FUNDS)
    note = ExternalNote("t", f"token-{token}", f"user-{user}", "scan")
    request = reserve(user, token, AMOUNT, fallback=AMOUNT, lease_seconds=0, kind=EXTERNAL, note=note)
    await ledger.reserve(request)
    assert await ledger.expire([request.key]) == 1

    assert await ledger.settle(request.key, 7, FACTS) == Settled(request.key, "settled", AMOUNT, False)
    assert await ledger.void(request.key) == Settled(request.key, "settled", AMOUNT, False)
    assert await bank.adjustments() == []


async def test_i_05_many_that_come_late_at_once_are_one(bank: Bank | MemoryBank) -> None:
    ledgers = [await bank.ledger(f"worker {n}") for n in range(3)]
    user = await bank.user(100 * FUNDS)
    token = await bank.token(user, 100 * FUNDS)
    requests = [reserve(user, token, AMOUNT, fallback=FALLBACK, lease_seconds=0) for _ in range(20)]
    await asyncio.gather(*(ledgers[0].reserve(request) for request in requests))
    await ledgers[1].sweep()

    costs = []
    for request in requests:
        endings = [each.settle(request.key, 40 + n, FACTS) for n, each in enumerate(ledgers)]
        answers = await asyncio.gather(*endings, *(each.void(request.key) for each in ledgers))
        assert len(set(answers)) == 1
        costs.append(answers[0].cost)

    assert set(costs) <= {40, 41, 42}
    assert await ledgers[0].user_balance(user) == Balance(100 * FUNDS - sum(costs), 20 * FALLBACK, 20)
    assert len(await bank.adjustments()) == 2 * 20


@pytest.mark.parametrize("bank", SQL_BACKENDS, indirect=True)
async def test_a_worker_that_alone_was_cut_off(
    bank: Bank | MemoryBank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its clients are answered, others sweep its holds, and when it is back everything costs what it cost."""
    assert isinstance(bank, Bank)
    monkeypatch.setattr("oneapi_mw.ledger.lane.FIRST_RETRY", 0.001)
    ledger, other = await bank.ledger("cut off", spooling=Spooling(tmp_path / "spool", 2**20)), await bank.ledger("on")
    assert isinstance(ledger, BatchedLedger)
    user = await bank.user(FUNDS)
    token = await bank.token(user, FUNDS)
    answered, failed, running = (reserve(user, token, AMOUNT, fallback=FALLBACK) for _ in range(3))
    for request in (answered, failed, running):
        await ledger.reserve(request)

    async def no_route(batch: Batch) -> None:
        raise Away("no route")

    with monkeypatch.context() as partition:
        for lane in ledger._lanes:
            partition.setattr(lane, "_run_batch", no_route)
        assert await ledger.settle(answered.key, 55, FACTS) == Settled(answered.key, "settled", 55, True, spooled=True)
        assert (await ledger.void(failed.key)).spooled
        await bank.age_leases()
        assert await other.sweep() == 3
        assert await other.user_balance(user) == Balance(FUNDS - 3 * FALLBACK, 3 * FALLBACK, 3)

    assert (await ledger.settle(running.key, 10, FACTS)).cost == 10
    await ledger._drain()
    assert await other.user_balance(user) == Balance(FUNDS - 65, 3 * FALLBACK, 3)
    assert await other.token_balance(token) == Balance(FUNDS - 65, 3 * FALLBACK)
    assert ledger._spool is not None
    await ledger._spool.flush()
    assert paths(tmp_path / "spool") == []


@pytest.mark.parametrize("bank", SQL_BACKENDS, indirect=True)
async def test_a_file_that_is_replayed_after_the_sweep(bank: Bank | MemoryBank, tmp_path: Path) -> None:
    """However often, and whatever more of it there is: here two workers have left the same ending."""
    assert isinstance(bank, Bank)
    spooling = Spooling(tmp_path / "spool", 2**20)
    other = await bank.ledger("on another host")
    user = await bank.user(FUNDS)
    token = await bank.token(user, FUNDS)
    request = reserve(user, token, AMOUNT, fallback=FALLBACK, lease_seconds=0)
    await other.reserve(request)
    assert await other.sweep() == 1
    for cost in (12, 13):
        name = spool_name(bank.url.sqlalchemy)
        file = SpoolFile.create(spooling.folder, database=name, worker=f"dead {cost}")
        file.append([ending_line(Kept(request.key, cost, FACTS))])
        file.close()

    for n in range(2):
        await bank.ledger(f"next {n}", spooling=spooling)

    assert await other.user_balance(user) == Balance(FUNDS - 12, FALLBACK, 1)
    assert await bank.adjustments() == [(user, None, 18), (user, token, 18)]


@pytest.mark.parametrize("bank", SQL_BACKENDS, indirect=True)
async def test_a_balance_at_the_end_of_its_range_keeps_the_estimate(bank: Bank | MemoryBank) -> None:
    assert isinstance(bank, Bank)
    ledger = await bank.ledger()
    user = await bank.user(2**62)
    request = reserve(user, await bank.token(user), AMOUNT, fallback=FALLBACK, lease_seconds=0)
    await ledger.reserve(request)
    await ledger.sweep()
    await bank.credit(user, FALLBACK)

    with pytest.raises(ValueError, match="would leave the range"):
        await ledger.void(request.key)
    assert await ledger.user_balance(user) == Balance(2**62, FALLBACK, 1)
    assert await bank.adjustments() == []
