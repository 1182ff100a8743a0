"""Holds of the external billing API and reminders: what every ledger does, whatever it keeps its books in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from oneapi_mw.ledger.base import (
    EXTERNAL,
    EXTERNAL_USE,
    Balance,
    Denied,
    ExternalNote,
    Held,
    LogFacts,
    Reserve,
    Settled,
)
from tests.ledger.bank import FACTS, SQL_BACKENDS, Bank, MemoryBank, findings, key, open_bank, reserve

USE = replace(FACTS, channel_id=None, type=EXTERNAL_USE, model_name="scan")


@pytest.fixture(params=["memory", *SQL_BACKENDS])
async def bank(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bank | MemoryBank]:
    """Empty books; whatever a test does, they balance in the end."""
    async with open_bank(request.param, tmp_path) as books:
        yield books
        assert await findings(await books.ledger()) == []


def external(user: int, token: int, amount: int, *, seconds: int = 600, **fields: Any) -> Reserve:
    note = ExternalNote(fields.pop("transaction_id", key()), "token-uuid", "user-uuid", "scan", request_id="req")
    log = {"type": EXTERNAL_USE, "content": "scan", "model_name": "scan", "metadata": {"auto_confirmed": True}}
    return reserve(
        user, token, amount, kind=EXTERNAL, fallback=amount, lease_seconds=seconds, note=note, log=log, **fields
    )


async def reminders(bank: Bank | MemoryBank) -> list[tuple[int, int, int]]:
    if isinstance(bank, MemoryBank):
        return [(event.user_id, event.quota, event.threshold) for event in bank.only.reminders]
    rows = await bank.rows("SELECT * FROM billing_events ORDER BY id")
    assert all(row["kind"] == "quota_remind" and row["claimed_until"] == 0 for row in rows)
    return [(row["user_id"], row["quota"], row["threshold"]) for row in rows]


async def test_a_hold_whose_time_is_over_is_charged_in_full(bank: Bank | MemoryBank) -> None:
    ledger = await bank.ledger()
    user = await bank.user(1000)
    token = await bank.token(user, 500)
    late, running = external(user, token, 200, seconds=0), external(user, token, 100)
    for request in (late, running):
        assert await ledger.reserve(request) == Held(request.key, request.amount)

    assert await ledger.sweep() == 1
    assert await ledger.settle(late.key, 5, USE) == Settled(late.key, "settled", 200, False)
    assert await ledger.settle(running.key, 5, USE) == Settled(running.key, "settled", 5, True)
    assert await ledger.user_balance(user) == Balance(795, 205, 2)
    assert await ledger.token_balance(token) == Balance(295, 205)


async def test_nobody_renews_an_external_hold(bank: Bank | MemoryBank) -> None:
    ledger = await bank.ledger()
    user = await bank.user(1000)
    token = await bank.token(user)
    request = external(user, token, 200, seconds=0)
    await ledger.reserve(request)

    await ledger.renew({request.key: 7})

    assert await ledger.sweep() == 1
    assert await ledger.user_balance(user) == Balance(800, 200, 1)


async def test_expiring_ends_only_external_holds_that_are_late(bank: Bank | MemoryBank) -> None:
    ledger = await bank.ledger()
    user = await bank.user(1000)
    token = await bank.token(user)
    late, running = external(user, token, 200, seconds=0), external(user, token, 100)
    model = reserve(user, token, 50, lease_seconds=0)
    for request in (late, running, model):
        await ledger.reserve(request)

    assert await ledger.expire([]) == 0
    assert await ledger.expire([late.key, running.key, model.key, key()]) == 1
    assert await ledger.expire([late.key]) == 0
    assert await ledger.void(running.key) == Settled(running.key, "void", 0, True)
    assert await ledger.void(model.key) == Settled(model.key, "void", 0, True)


async def test_post_cancel_and_expiry_race_for_one_hold(bank: Bank | MemoryBank) -> None:
    ledgers = [await bank.ledger(f"worker {n}") for n in range(3)]
    user = await bank.user(10_000)
    token = await bank.token(user, 10_000)
    requests = [external(user, token, 100, seconds=0) for _ in range(20)]
    await asyncio.gather(*(ledgers[0].reserve(request) for request in requests))

    total = 0
    for request in requests:
        post, cancel, _ = await asyncio.gather(
            ledgers[0].settle(request.key, 130, USE), ledgers[1].void(request.key), ledgers[2].expire([request.key])
        )
        assert (post.state, post.charged) == (cancel.state, cancel.charged)
        assert post.charged in (130, 0, 100)
        assert (post.first, cancel.first) == (post.charged == 130, post.state == "void")
        total += post.charged

    assert (await ledgers[0].user_balance(user)).quota == 10_000 - total
    assert await ledgers[0].token_balance(token) == Balance(10_000 - total, total)


async def test_one_key_reserves_and_charges_once_however_often_it_is_asked(bank: Bank | MemoryBank) -> None:
    ledgers = [await bank.ledger(f"worker {n}") for n in range(4)]
    user = await bank.user(10_000)
    token = await bank.token(user, 10_000)
    request = external(user, token, 70)

    async def single(ledger: Any) -> Settled:
        assert await ledger.reserve(request) == Held(request.key, 70)
        settled: Settled = await ledger.settle(request.key, 70, USE)
        return settled

    answers = await asyncio.gather(*(single(ledgers[n % 4]) for n in range(32)))

    assert [answer.first for answer in answers].count(True) == 1
    assert await ledgers[0].user_balance(user) == Balance(9930, 70, 1)


async def test_who_is_denied_leaves_nothing_behind(bank: Bank | MemoryBank) -> None:
    ledger = await bank.ledger()
    user = await bank.user(100)
    token = await bank.token(user)
    denied, admitted = external(user, token, 101), external(user, token, 100)

    answers = (await ledger.reserve(denied), await ledger.reserve(admitted))

    assert answers == (Denied("user_quota", 100), Held(admitted.key, 100))
    if isinstance(bank, Bank):
        assert [row["hold_key"] for row in await bank.rows("SELECT * FROM token_transactions")] == [admitted.key]


@pytest.mark.parametrize("amount", [0, 1, 2**31 - 1, 2**31, 2**32, 2**53 - 1, 2**53])
async def test_large_amounts_are_exact(bank: Bank | MemoryBank, amount: int) -> None:
    ledger = await bank.ledger()
    user = await bank.user(2**60)
    token = await bank.token(user, 2**60)
    request = external(user, token, amount)
    await ledger.reserve(request)

    await ledger.settle(request.key, amount, USE)

    assert await ledger.user_balance(user) == Balance(2**60 - amount, amount, 1)
    assert await ledger.token_balance(token) == Balance(2**60 - amount, amount)


async def test_the_rows_of_an_external_hold(bank: Bank | MemoryBank) -> None:
    if isinstance(bank, MemoryBank):
        return  # nothing is written there
    ledger = await bank.ledger()
    user = await bank.user(1000)
    token = await bank.token(user)
    request = external(user, token, 200, seconds=0, transaction_id="it's \U0001f642")
    await ledger.reserve(request)
    await ledger.sweep()

    (note,) = await bank.rows("SELECT * FROM token_transactions")
    assert (note["hold_key"], note["transaction_id"]) == (request.key, "it's \U0001f642")
    assert (note["token_id"], note["user_id"], note["reason"]) == (token, user, "scan")
    assert (note["request_id"], note["elapsed_time_ms"]) == ("req", None)
    (log,) = await bank.rows("SELECT * FROM logs")
    assert (log["type"], log["quota"], log["content"], log["model_name"]) == (7, 200, "scan", "scan")
    (hold,) = await bank.rows("SELECT * FROM billing_holds")
    assert (hold["kind"], hold["state"], hold["final"], bool(hold["estimated"])) == ("external", 1, 200, True)
    assert hold["ended_at"] > 1_600_000_000_000
    assert await ledger.audit() == []


async def test_a_reminder_is_written_once_at_each_crossing(bank: Bank | MemoryBank) -> None:
    ledger = await bank.ledger()
    assert ledger.remind_below == 1000
    ledger.remind_below = 500
    user = await bank.user(1000)
    token = await bank.token(user)

    async def spend(final: int) -> None:
        request = reserve(user, token, final)
        await ledger.reserve(request)
        await ledger.settle(request.key, final, FACTS)

    await spend(500)
    assert await reminders(bank) == []
    await spend(1)
    await spend(100)
    assert await reminders(bank) == [(user, 499, 500)]
    if isinstance(bank, MemoryBank):
        bank.only.open_account(user, 601)
    else:
        await bank.credit(user, 601)
    await spend(1000)
    assert await reminders(bank) == [(user, 499, 500), (user, 0, 500)]


async def test_what_is_only_held_reminds_nobody(bank: Bank | MemoryBank) -> None:
    ledger = await bank.ledger()
    ledger.remind_below = 500
    user = await bank.user(1000)
    token = await bank.token(user)
    held, used, voided = (reserve(user, token, amount) for amount in (300, 300, 300))
    for request in (held, used, voided):
        await ledger.reserve(request)
    await ledger.extend(held.key, 50)

    await ledger.settle(used.key, 10, FACTS)
    await ledger.void(voided.key)

    assert await reminders(bank) == []
    await ledger.settle(held.key, 600, FACTS)
    assert await reminders(bank) == [(user, 390, 500)]


async def test_a_storm_crosses_once(bank: Bank | MemoryBank) -> None:
    ledgers = [await bank.ledger(f"worker {n}") for n in range(3)]
    for ledger in ledgers:
        ledger.remind_below = 500
    users = [await bank.user(1000) for _ in range(3)]
    tokens = [await bank.token(user) for user in users]

    async def spend(n: int) -> None:
        ledger, request = ledgers[n % 3], reserve(users[n // 3 % 3], tokens[n // 3 % 3], 20)
        if isinstance(await ledger.reserve(request), Held):
            await ledger.settle(request.key, 17, FACTS)

    await asyncio.gather(*(spend(n) for n in range(3 * 3 * 17)))

    found = await reminders(bank)
    assert sorted(user for user, _, _ in found) == sorted(users)
    assert all(left < 500 for _, left, _ in found)


async def test_no_reminders_when_they_are_off(bank: Bank | MemoryBank) -> None:
    ledger = await bank.ledger()
    ledger.remind_below = 0
    user = await bank.user(10)
    token = await bank.token(user)
    request = reserve(user, token, 10)
    await ledger.reserve(request)
    await ledger.settle(request.key, 10, LogFacts())

    assert await reminders(bank) == []
