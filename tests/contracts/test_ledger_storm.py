"""What holds of the books whatever happens at once: storms of every operation, watched from another connection."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oneapi_mw.ledger.base import Balance, Denied, Held, Ledger
from oneapi_mw.ledger.memory import MemoryLedger
from oneapi_mw.ledger.rollup import Rollup
from tests.ledger.bank import FACTS, SQL_BACKENDS, Bank, MemoryBank, findings, open_bank, reserve

CALLERS, ROUNDS = 8, 12
FUNDS = 3000


@pytest.fixture(params=["memory", *SQL_BACKENDS])
async def bank(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bank | MemoryBank]:
    async with open_bank(request.param, tmp_path) as books:
        yield books
        assert await findings(await books.ledger()) == []


@dataclass
class Account:
    user: int
    token: int


async def accounts(bank: Bank | MemoryBank) -> list[Account]:
    """Limited and unlimited API keys, two of them of the same user."""
    users = [await bank.user(FUNDS) for _ in range(3)]
    kinds = [(users[0], None), (users[0], 900), (users[1], 2000), (users[2], None)]
    return [Account(user, await bank.token(user, limit)) for user, limit in kinds]


async def storm(bank: Bank | MemoryBank, ledgers: Sequence[Ledger], chosen: Sequence[Account]) -> dict[str, int]:
    """Everything at once; returns what was charged, by key of the hold."""
    charged: dict[str, int] = {}

    async def caller(seed: int) -> None:
        dice = random.Random(seed)
        for _ in range(ROUNDS):
            account = dice.choice(chosen)
            lost = dice.random() < 0.1
            amount = dice.choice([0, 1, 20, 60])
            request = reserve(
                account.user, account.token, amount, fallback=amount // 2, lease_seconds=0 if lost else 60
            )
            ledger = dice.choice(ledgers)
            if isinstance(await ledger.reserve(request), Denied):
                await bank.credit(account.user, 50)
                continue
            if dice.random() < 0.4:
                await dice.choice(ledgers).extend(request.key, dice.randrange(30), mark=dice.randrange(40))
            if lost:
                await ledger.sweep()
            final = dice.choice([0, amount, amount + 25])
            voids = dice.random() < 0.3
            endings = [
                each.void(request.key) if voids else each.settle(request.key, final + n, FACTS)
                for n, each in enumerate(ledgers)
            ]
            answers = await asyncio.gather(*endings)
            assert len({(answer.state, answer.charged, answer.adjusted) for answer in answers}) == 1
            assert [answer.first for answer in answers].count(True) == (0 if lost else 1)
            charged[request.key] = answers[0].charged

    await asyncio.gather(*(caller(seed) for seed in range(CALLERS)))
    return charged


async def test_i_01_the_books_balance_at_every_moment(bank: Bank | MemoryBank) -> None:
    ledgers, auditor = [await bank.ledger(f"worker {n}") for n in range(2)], await bank.ledger("auditor")
    chosen = await accounts(bank)

    raging = asyncio.ensure_future(storm(bank, ledgers, chosen))
    looks = 0
    while not raging.done():
        assert await findings(auditor) == []
        looks += 1
        await asyncio.sleep(0)
    await raging
    assert looks > 3 or isinstance(bank, MemoryBank)


async def test_i_02_what_was_used_is_what_was_logged(bank: Bank | MemoryBank) -> None:
    """And nothing else: the sum of the answers is the sum of the rows, per user, API key and channel."""
    ledgers = [await bank.ledger(f"worker {n}") for n in range(3)]
    chosen = await accounts(bank)
    charged = await storm(bank, ledgers, chosen)

    by_user = dict.fromkeys((account.user for account in chosen), 0)
    by_token = dict.fromkeys((account.token for account in chosen), 0)
    for user, token, quota in await bank.charges():
        by_user[user] += quota
        by_token[token] += quota
    assert {user: (await ledgers[0].user_balance(user)).used_quota for user in by_user} == by_user
    assert {token: (await ledgers[0].token_balance(token)).used_quota for token in by_token} == by_token
    assert sum(by_user.values()) == sum(charged.values())
    if isinstance(bank, Bank):
        await bank.channels(3)
        rollup = Rollup(bank.url)
        await rollup.run()
        await rollup.aclose()
        (channel,) = await bank.rows("SELECT used_quota FROM channels")
        (logged,) = await bank.rows("SELECT sum(quota) AS total FROM logs WHERE channel_id = 3")
        assert channel["used_quota"] == int(logged["total"])


@pytest.mark.parametrize("bank", SQL_BACKENDS, indirect=True)
async def test_i_05_no_key_has_two_rows(bank: Bank | MemoryBank) -> None:
    assert isinstance(bank, Bank)
    await storm(bank, [await bank.ledger(f"worker {n}") for n in range(3)], await accounts(bank))
    assert await bank.rows("SELECT request_id FROM logs GROUP BY request_id, type HAVING COUNT(*) > 1") == []
    (settled,) = await bank.rows("SELECT COUNT(*) AS found FROM billing_holds WHERE state = 1")
    (logged,) = await bank.rows("SELECT COUNT(*) AS found FROM logs WHERE type = 2")
    assert settled == logged


async def test_i_04_the_floor_is_what_was_charged_above_the_holds(bank: Bank | MemoryBank) -> None:
    """Requests in flight together when the balance ran out; nothing is refused for it, and nothing follows it."""
    ledgers = [await bank.ledger(f"worker {n}") for n in range(2)]
    user = await bank.user(1000)
    token = await bank.token(user)
    requests = [reserve(user, token, 100) for _ in range(30)]
    answers = await asyncio.gather(*(ledgers[n % 2].reserve(request) for n, request in enumerate(requests)))
    running = [request for request, answer in zip(requests, answers, strict=True) if isinstance(answer, Held)]
    assert len(running) == 10

    over = [0, 7, 300, 0, 1, 2**40, 0, 0, 50, 13]
    settled = await asyncio.gather(
        *(ledgers[n % 2].settle(request.key, 100 + over[n], FACTS) for n, request in enumerate(running))
    )

    assert [answer.charged for answer in settled] == [100 + more for more in over]
    assert (await ledgers[0].user_balance(user)).quota == -sum(over)
    for amount in (0, 1, 100):
        denied = await ledgers[1].reserve(reserve(user, token, amount))
        assert denied == Denied("user_quota", -sum(over))
    await bank.credit(user, sum(over) + 5)
    assert isinstance(await ledgers[0].reserve(reserve(user, token, 5)), Held)


@given(
    st.integers(0, 500),
    st.lists(st.tuples(st.integers(0, 120), st.integers(0, 400), st.booleans()), max_size=40),
)
def test_i_04_any_mix_stays_above_the_floor(funds: int, steps: list[tuple[int, int, bool]]) -> None:
    """Amount, final, and whether a running request ends before the next one comes."""

    async def run() -> None:
        ledger = MemoryLedger()
        ledger.open_account(1, funds)
        ledger.open_token(1, 1, unlimited=True)
        running: list[tuple[str, int]] = []
        over = 0
        for amount, final, ends in steps:
            before = (await ledger.user_balance(1)).quota
            request = reserve(1, 1, amount)
            answer = await ledger.reserve(request)
            assert isinstance(answer, Held) is (amount <= before)
            if isinstance(answer, Held):
                running.append((request.key, amount))
            if ends and running:
                key, held = running.pop(0)
                over += max(0, final - held)
                assert (await ledger.settle(key, final, FACTS)).charged == final
            assert (await ledger.user_balance(1)).quota >= -over
        assert list(await ledger.audit()) == []

    asyncio.run(run())


async def test_i_18_counters_never_decrease(bank: Bank | MemoryBank) -> None:
    ledger, watcher = await bank.ledger("worker"), await bank.ledger("watcher")
    chosen = await accounts(bank)
    raging = asyncio.ensure_future(storm(bank, [ledger], chosen))
    before = [(0, 0)] * len(chosen)
    while not raging.done():
        now = [await watcher.user_balance(account.user) for account in chosen]
        counters = [(balance.used_quota, balance.request_count) for balance in now]
        assert all(new[0] >= old[0] and new[1] >= old[1] for new, old in zip(counters, before, strict=True))
        before = counters
        await asyncio.sleep(0)
    await raging


@pytest.mark.parametrize("bank", SQL_BACKENDS, indirect=True)
async def test_i_18_a_counter_that_would_leave_its_range_is_not_changed(bank: Bank | MemoryBank) -> None:
    """Neither clamped nor, as one database would, turned into a floating point number."""
    assert isinstance(bank, Bank)
    ledger = await bank.ledger()
    user = await bank.user(1000)
    request = reserve(user, await bank.token(user), 10)
    await ledger.reserve(request)
    await bank.change("users", user, used_quota=2**63 - 5)

    with pytest.raises(Exception, match=r"(?i)range|overflow|constraint|integer"):
        await ledger.settle(request.key, 10, FACTS)
    (row,) = await bank.rows("SELECT quota, used_quota FROM users")
    assert row == {"quota": 990, "used_quota": 2**63 - 5}

    await bank.change("users", user, used_quota=0)
    assert (await ledger.settle(request.key, 10, FACTS)).first


async def test_i_15_and_i_16_in_one_batch(bank: Bank | MemoryBank) -> None:
    """Free and paid, limited and unlimited: each keeps to its own rule beside the others."""
    ledger = await bank.ledger()
    user = await bank.user(100)
    unlimited, limited = await bank.token(user), await bank.token(user, 30)
    requests = [reserve(user, token, amount) for token in (unlimited, limited) for amount in (0, 20)]
    answers = await asyncio.gather(*(ledger.reserve(request) for request in requests))
    assert [type(answer) for answer in answers] == [Held] * 4
    await asyncio.gather(*(ledger.settle(request.key, request.amount, FACTS) for request in requests))

    assert await ledger.user_balance(user) == Balance(60, 40, 4)
    assert await ledger.token_balance(unlimited) == Balance(0, 20)
    assert await ledger.token_balance(limited) == Balance(10, 20)
    assert len(await bank.charges()) == 4
