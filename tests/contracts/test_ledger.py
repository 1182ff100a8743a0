"""What every ledger does, whatever it keeps its books in."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from oneapi_mw.ledger.base import (
    EXTERNAL,
    Balance,
    Denied,
    ExternalNote,
    Held,
    HoldState,
    Ledger,
    LogFacts,
    OnCrash,
    Settled,
)
from oneapi_mw.ledger.memory import MemoryLedger
from tests.ledger.bank import FACTS, SQL_BACKENDS, Bank, MemoryBank, findings, key, open_bank, reserve


@pytest.fixture(params=["memory", *SQL_BACKENDS])
async def bank(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bank | MemoryBank]:
    """Empty books; whatever a test does, they balance in the end."""
    async with open_bank(request.param, tmp_path) as books:
        yield books
        assert await findings(await books.ledger()) == []


async def test_a_reserve_takes_from_user_and_limited_token(bank: Bank | MemoryBank) -> None:
    ledger = await bank.ledger()
    user = await bank.user(1000)
    token = await bank.token(user, 300)
    request = reserve(user, token, 200)

    assert await ledger.reserve(request) == Held(request.key, 200)
    assert await ledger.user_balance(user) == Balance(800, 0, 0)
    assert await ledger.token_balance(token) == Balance(100, 0)


async def test_i_15_an_unlimited_token_is_not_checked_but_its_use_is_counted(bank: Bank | MemoryBank) -> None:
    ledger = await bank.ledger()
    user = await bank.user(1000)
    token = await bank.token(user)
    request = reserve(user, token, 200)

    await ledger.reserve(request)
    await ledger.settle(request.key, 150, FACTS)

    assert await ledger.user_balance(user) == Balance(850, 150, 1)
    assert await ledger.token_balance(token) == Balance(0, 150)


async def test_who_is_short_is_said_with_what_is_left_and_nothing_is_taken(bank: Bank | MemoryBank) -> None:
    ledger = await bank.ledger()
    user = await bank.user(1000)
    token = await bank.token(user, 300)

    assert await ledger.reserve(reserve(user, token, 1001)) == Denied("user_quota", 1000)
    assert await ledger.reserve(reserve(user, token, 301)) == Denied("token_quota", 300)
    assert await ledger.user_balance(user) == Balance(1000, 0, 0)
    assert await ledger.token_balance(token) == Balance(300, 0)


async def test_disabled_foreign_or_missing_accounts_are_denied(bank: Bank | MemoryBank) -> None:
    ledger = await bank.ledger()
    user, other = await bank.user(1000), await bank.user(1000)
    token, disabled = await bank.token(user), await bank.token(user)
    await bank.change("tokens", disabled, status=2)

    assert await ledger.reserve(reserve(user, disabled, 0)) == Denied("state")
    assert await ledger.reserve(reserve(other, token, 0)) == Denied("state")
    assert await ledger.reserve(reserve(user, 10**9, 0)) == Denied("state")
    await bank.change("users", user, status=2)
    assert await ledger.reserve(reserve(user, token, 0)) == Denied("state")


async def test_i_04_a_negative_balance_admits_nothing(bank: Bank | MemoryBank) -> None:
    ledger = await bank.ledger()
    user = await bank.user(100)
    token = await bank.token(user)
    request = reserve(user, token, 100)
    await ledger.reserve(request)

    assert await ledger.settle(request.key, 130, FACTS) == Settled(request.key, "settled", 130, True)
    assert await ledger.user_balance(user) == Balance(-30, 130, 1)
    assert await ledger.reserve(reserve(user, token, 0)) == Denied("user_quota", -30)


async def test_a_repeated_key_changes_nothing(bank: Bank | MemoryBank) -> None:
    ledger = await bank.ledger()
    user = await bank.user(1000)
    token = await bank.token(user)
    request = reserve(user, token, 200)

    first, second = await asyncio.gather(ledger.reserve(request), ledger.reserve(request))
    third = await ledger.reserve(reserve(user, token, 999_999, key=request.key))

    assert first == second == third == Held(request.key, 200)
    assert await ledger.user_balance(user) == Balance(800, 0, 0)


async def test_a_key_that_two_workers_reserve_at_once_is_one_hold(bank: Bank | MemoryBank) -> None:
    ledgers = [await bank.ledger(f"worker {n}") for n in range(2)]
    user = await bank.user(1000)
    token = await bank.token(user, 1000)

    for _ in range(10):
        request = reserve(user, token, 20)
        answers = await asyncio.gather(*(ledger.reserve(request) for ledger in ledgers))
        assert answers == [Held(request.key, 20)] * 2

    assert await ledgers[0].user_balance(user) == Balance(800, 0, 0)


async def test_i_05_the_first_ending_decides(bank: Bank | MemoryBank) -> None:
    ledger = await bank.ledger()
    user = await bank.user(1000)
    token = await bank.token(user, 1000)
    charged, voided = reserve(user, token, 200), reserve(user, token, 200)
    await ledger.reserve(charged)
    await ledger.reserve(voided)

    assert await ledger.settle(charged.key, 50, FACTS) == Settled(charged.key, "settled", 50, True)
    assert await ledger.settle(charged.key, 70, FACTS) == Settled(charged.key, "settled", 50, False)
    assert await ledger.void(charged.key) == Settled(charged.key, "settled", 50, False)
    assert await ledger.void(voided.key, reason="refused") == Settled(voided.key, "void", 0, True)
    assert await ledger.void(voided.key) == Settled(voided.key, "void", 0, False)
    assert await ledger.settle(voided.key, 70, FACTS) == Settled(voided.key, "void", 0, False)
    assert await ledger.user_balance(user) == Balance(950, 50, 1)
    assert await ledger.token_balance(token) == Balance(950, 50)


async def test_unknown_keys(bank: Bank | MemoryBank) -> None:
    ledger = await bank.ledger()
    unknown = key()

    assert await ledger.void(unknown) == Settled(unknown, "void", 0, False)
    assert await ledger.extend(unknown, 1) == Denied("state")
    with pytest.raises(KeyError, match=unknown):
        await ledger.settle(unknown, 1, FACTS)


async def test_i_16_a_free_request_counts_once(bank: Bank | MemoryBank) -> None:
    ledger = await bank.ledger()
    user = await bank.user(0)
    token = await bank.token(user, 0)
    request = reserve(user, token, 0)

    assert await ledger.reserve(request) == Held(request.key, 0)
    await ledger.settle(request.key, 0, FACTS)
    await ledger.settle(request.key, 0, FACTS)
    assert await ledger.user_balance(user) == Balance(0, 0, 1)


async def test_extend_sets_more_aside_while_it_lasts(bank: Bank | MemoryBank) -> None:
    ledger = await bank.ledger()
    user = await bank.user(1000)
    token = await bank.token(user, 300)
    request = reserve(user, token, 200)
    await ledger.reserve(request)

    assert await ledger.extend(request.key, 60) == Held(request.key, 260)
    assert await ledger.extend(request.key, 41) == Denied("token_quota", 40)
    assert await ledger.extend(request.key, 0, mark=5) == Held(request.key, 260)
    assert await ledger.user_balance(user) == Balance(740, 0, 0)
    await ledger.settle(request.key, 100, FACTS)
    assert await ledger.extend(request.key, 1) == Denied("state")
    assert await ledger.token_balance(token) == Balance(200, 100)


async def test_a_lost_hold_is_settled_at_its_fallback_or_mark(bank: Bank | MemoryBank) -> None:
    ledger = await bank.ledger("lost")
    user = await bank.user(1000)
    token = await bank.token(user, 1000)
    unmarked = reserve(user, token, 200, fallback=30, lease_seconds=0)
    marked = reserve(user, token, 200, fallback=30, lease_seconds=0)
    denied = reserve(user, token, 200, fallback=30, lease_seconds=0)
    living = reserve(user, token, 200, fallback=30)
    for request in (unmarked, marked, denied, living):
        await ledger.reserve(request)
    await ledger.extend(marked.key, 10, mark=70)
    await ledger.extend(marked.key, 10, mark=60)
    assert await ledger.extend(denied.key, 10_000, mark=80) == Denied("user_quota", 180)

    assert await ledger.sweep(limit=2) == 2
    assert await ledger.sweep() == 1
    assert await ledger.sweep() == 0

    assert await ledger.settle(unmarked.key, 30, FACTS) == Settled(unmarked.key, "settled", 30, False)
    assert await ledger.settle(marked.key, 70, FACTS) == Settled(marked.key, "settled", 70, False)
    assert await ledger.settle(denied.key, 80, FACTS) == Settled(denied.key, "settled", 80, False)
    assert await ledger.settle(living.key, 1, FACTS) == Settled(living.key, "settled", 1, True)
    assert await ledger.user_balance(user) == Balance(819, 181, 4)


@pytest.mark.parametrize(
    ("on_crash", "state", "charged"), [("prompt_cost", "settled", 30), ("void", "void", 0), ("hold", "settled", 200)]
)
async def test_what_a_lost_hold_costs_is_a_policy_until_something_is_noted(
    bank: Bank | MemoryBank, on_crash: OnCrash, state: HoldState, charged: int
) -> None:
    ledger = await bank.ledger("lost", on_crash=on_crash)
    user = await bank.user(2000)
    token = await bank.token(user, 2000)
    lost = {"fallback": 30, "lease_seconds": 0}
    unmarked, marked, renewed = (reserve(user, token, 200, **lost) for _ in range(3))
    external = reserve(user, token, 200, **lost, kind=EXTERNAL, note=ExternalNote("t", f"token-{token}", "u", "scan"))
    await ledger.reserve(renewed)
    await ledger.renew({renewed.key: 90})
    for request in (unmarked, marked, external):
        await ledger.reserve(request)
    await ledger.extend(marked.key, 10, mark=70)

    assert await ledger.sweep() == 3

    assert await ledger.settle(unmarked.key, charged, FACTS) == Settled(unmarked.key, state, charged, False)
    assert await ledger.settle(marked.key, 70, FACTS) == Settled(marked.key, "settled", 70, False)
    assert await ledger.settle(external.key, 1, FACTS) == Settled(external.key, "settled", 30, False)
    assert await ledger.void(renewed.key) == Settled(renewed.key, "void", 0, True)
    assert await ledger.user_balance(user) == Balance(1900 - charged, 100 + charged, 2 + (state == "settled"))


async def test_a_renewed_lease_is_not_swept(bank: Bank | MemoryBank) -> None:
    ledger, other = await bank.ledger("living"), await bank.ledger("somebody else")
    user = await bank.user(1000)
    token = await bank.token(user)
    request = reserve(user, token, 200, lease_seconds=0)
    await ledger.reserve(request)

    await other.renew({request.key: 999})
    await ledger.renew({request.key: 40, key(): 1})

    assert await ledger.sweep() == 0
    assert await ledger.settle(request.key, 10, FACTS) == Settled(request.key, "settled", 10, True)


async def test_a_renewal_notes_what_many_holds_owe(bank: Bank | MemoryBank) -> None:
    """Marks only rise, and those of holds that are unknown, ended or somebody else's are passed over."""
    ledger, other = await bank.ledger("lost"), await bank.ledger("somebody else")
    user = await bank.user(5000)
    token = await bank.token(user)
    holds = [reserve(user, token, 200, fallback=30) for _ in range(5)]
    ended, foreign = reserve(user, token, 200), reserve(user, token, 200)
    for request in (*holds, ended):
        await ledger.reserve(request)
    await other.reserve(foreign)
    await ledger.void(ended.key)

    marks = {request.key: 100 + place for place, request in enumerate(holds[:4])}
    await ledger.renew({**marks, ended.key: 99, key(): 1})
    await ledger.renew({holds[0].key: 50, holds[1].key: 150})
    if isinstance(bank, Bank):
        await bank.age_leases()
    else:
        assert isinstance(ledger, MemoryLedger)
        ledger.clock = lambda: math.inf
    assert await ledger.sweep() == 6

    charged = [(await ledger.settle(request.key, 1, FACTS)).charged for request in (*holds, ended, foreign)]
    assert charged == [100, 150, 102, 103, 30, 0, 0]


@pytest.mark.parametrize("amount", [-1, 2**53 + 1])
async def test_i_18_amounts_out_of_range_are_refused(bank: Bank | MemoryBank, amount: int) -> None:
    ledger = await bank.ledger()

    for call in (
        ledger.reserve(reserve(1, 1, amount)),
        ledger.reserve(reserve(1, 1, 0, fallback=amount)),
        ledger.extend("k", amount),
        ledger.extend("k", 0, mark=amount),
        ledger.settle("k", amount, LogFacts()),
        ledger.renew({"k": amount}),
    ):
        with pytest.raises(ValueError, match="quota units"):
            await call
    with pytest.raises(ValueError, match="32 characters"):
        await ledger.reserve(reserve(1, 1, 0, key="k" * 33))


async def test_i_18_the_largest_amounts_are_exact(bank: Bank | MemoryBank) -> None:
    ledger = await bank.ledger()
    user = await bank.user(2**60)
    token = await bank.token(user)
    requests = [reserve(user, token, 2**53) for _ in range(100)]

    await asyncio.gather(*(ledger.reserve(request) for request in requests))
    await asyncio.gather(*(ledger.settle(request.key, 2**53 - 1, FACTS) for request in requests))

    assert await ledger.user_balance(user) == Balance(2**60 - 100 * (2**53 - 1), 100 * (2**53 - 1), 100)


async def test_i_05_three_settlements_at_once_are_one(bank: Bank | MemoryBank) -> None:
    ledgers = [await bank.ledger(f"worker {n}") for n in range(3)]
    user = await bank.user(10_000)
    token = await bank.token(user)
    requests = [reserve(user, token, 100) for _ in range(30)]
    await asyncio.gather(*(ledgers[0].reserve(request) for request in requests))

    for request in requests:
        answers = await asyncio.gather(*(each.settle(request.key, 10 + n, FACTS) for n, each in enumerate(ledgers)))
        assert [answer.first for answer in answers].count(True) == 1
        assert len({(answer.state, answer.charged) for answer in answers}) == 1
    assert (await ledgers[0].user_balance(user)).request_count == 30


async def test_extend_and_endings_race(bank: Bank | MemoryBank) -> None:
    ledger, other = await bank.ledger("one"), await bank.ledger("other")
    user = await bank.user(2000)
    token = await bank.token(user, 1500)
    requests = [reserve(user, token, 50) for _ in range(20)]
    await asyncio.gather(*(ledger.reserve(request) for request in requests))

    def racing(n: int, request_key: str) -> list[asyncio.Future[object]]:
        ending = ledger.settle(request_key, 60, FACTS) if n % 2 else ledger.void(request_key)
        calls = (other.extend(request_key, 20, mark=n), ending, ledger.extend(request_key, 30))
        return [asyncio.ensure_future(call) for call in calls]

    await asyncio.gather(*(call for n, request in enumerate(requests) for call in racing(n, request.key)))

    assert await ledger.user_balance(user) == Balance(1400, 600, 10)
    assert await ledger.token_balance(token) == Balance(900, 600)


@pytest.mark.parametrize("limit", ["user", "token"])
async def test_i_03_admission_is_exact(bank: Bank | MemoryBank, limit: str) -> None:
    """A balance for exactly so many holds admits exactly so many, however many ask at once, through any worker."""
    ledgers = [await bank.ledger(f"worker {n}") for n in range(2)]
    fits, asked = (100, 400) if limit == "user" else (7, 300)
    user = await bank.user(100 * 9 if limit == "user" else 10**9)
    token = await bank.token(user, 7 * 9 if limit == "token" else None)

    answers = await asyncio.gather(*(ledgers[n % 2].reserve(reserve(user, token, 9)) for n in range(asked)))

    assert sum(isinstance(answer, Held) for answer in answers) == fits
    assert {answer.reason for answer in answers if isinstance(answer, Denied)} == {f"{limit}_quota"}


async def test_a_large_request_does_not_crowd_out_the_small_ones_behind_it(bank: Bank | MemoryBank) -> None:
    ledger = await bank.ledger()
    user = await bank.user(100)
    token = await bank.token(user)
    amounts = [1000, 40, 1000, 30, 50, 30]

    answers = await asyncio.gather(*(ledger.reserve(reserve(user, token, amount)) for amount in amounts))

    assert [isinstance(answer, Held) for answer in answers] == [False, True, False, True, False, True]
    assert await ledger.user_balance(user) == Balance(0, 0, 0)


async def test_a_cancelled_reserve_is_undone_by_the_void_behind_it(bank: Bank | MemoryBank) -> None:
    ledger = await bank.ledger()
    user = await bank.user(1000)
    token = await bank.token(user, 1000)

    async def request(seconds: float) -> None:
        request = reserve(user, token, 10)
        try:
            async with asyncio.timeout(seconds):
                await ledger.reserve(request)
                await asyncio.Event().wait()
        finally:
            await ledger.void(request.key)

    tasks = [asyncio.create_task(request(n / 10_000)) for n in range(40)]
    await asyncio.gather(*tasks, return_exceptions=True)

    assert await ledger.user_balance(user) == Balance(1000, 0, 0)
    assert await ledger.token_balance(token) == Balance(1000, 0)


async def test_a_cancelled_settle_is_carried_out(bank: Bank | MemoryBank) -> None:
    ledger = await bank.ledger()
    user = await bank.user(1000)
    token = await bank.token(user)
    request = reserve(user, token, 10)
    await ledger.reserve(request)

    task = asyncio.create_task(ledger.settle(request.key, 4, FACTS))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert await ledger.void(request.key) == Settled(request.key, "settled", 4, False)


async def test_an_ending_waits_for_its_reserve(bank: Bank | MemoryBank) -> None:
    ledger = await bank.ledger()
    user = await bank.user(1000)
    token = await bank.token(user)
    requests = [reserve(user, token, 10) for _ in range(20)]

    def pair(n: int, ledger: Ledger) -> list[asyncio.Future[object]]:
        request = requests[n]
        ending = ledger.settle(request.key, 3, FACTS) if n % 2 else ledger.void(request.key)
        return [asyncio.ensure_future(ledger.reserve(request)), asyncio.ensure_future(ending)]

    answers = await asyncio.gather(*(call for n in range(20) for call in pair(n, ledger)))

    assert all(answer.first for answer in answers if isinstance(answer, Settled))
    assert await ledger.user_balance(user) == Balance(970, 30, 10)


async def test_i_06_several_sweepers_share_the_work(bank: Bank | MemoryBank) -> None:
    ledgers = [await bank.ledger(f"worker {n}") for n in range(3)]
    user = await bank.user(10_000)
    token = await bank.token(user, 10_000)
    lost = [reserve(user, token, 100, fallback=7, lease_seconds=0) for _ in range(60)]
    await asyncio.gather(*(ledgers[0].reserve(request) for request in lost))

    swept = await asyncio.gather(*(each.sweep() for each in ledgers))

    assert sum(swept) == 60
    assert await ledgers[0].user_balance(user) == Balance(10_000 - 420, 420, 60)
    assert await ledgers[0].audit() == []


async def test_balances_of_unknown_accounts(bank: Bank | MemoryBank) -> None:
    ledger = await bank.ledger()
    for read in (ledger.user_balance(10**9), ledger.token_balance(10**9)):
        with pytest.raises(KeyError):
            await read
