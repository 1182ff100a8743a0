"""Events on their way from the settlement to whoever tells them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import text

from oneapi_mw.ledger.events import Delivery, LedgerEvent
from tests.ledger.bank import FACTS, SQL_BACKENDS, Bank, open_bank, reserve


class Listener:
    def __init__(self, fails: int = 0) -> None:
        self.heard: list[LedgerEvent] = []
        self.fails = fails

    async def tell(self, event: LedgerEvent) -> None:
        if self.fails:
            self.fails -= 1
            raise ConnectionError("the mail server is away")
        self.heard.append(event)


@pytest.fixture(params=SQL_BACKENDS)
async def bank(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bank]:
    async with open_bank(request.param, tmp_path) as books:
        assert isinstance(books, Bank)
        yield books


async def exhaust(bank: Bank) -> int:
    """A user who has just fallen below the threshold."""
    ledger = await bank.ledger()
    user = await bank.user(1005)
    request = reserve(user, await bank.token(user), 10)
    await ledger.reserve(request)
    await ledger.settle(request.key, 10, FACTS)
    return user


async def test_events_are_told_in_order_and_removed(bank: Bank) -> None:
    users = [await exhaust(bank) for _ in range(3)]
    listener = Listener()
    delivery = Delivery(bank.url, listener)

    assert await delivery.run() == 3
    assert await delivery.run() == 0
    await delivery.aclose()

    assert [(event.kind, event.user_id, event.quota, event.threshold) for event in listener.heard] == [
        ("quota_remind", user, 995, 1000) for user in users
    ]
    assert await bank.rows("SELECT * FROM billing_events") == []


async def test_what_could_not_be_told_waits_and_holds_nothing_up(bank: Bank) -> None:
    first, second = await exhaust(bank), await exhaust(bank)
    listener = Listener(fails=1)
    delivery = Delivery(bank.url, listener)

    assert await delivery.run() == 1
    assert [event.user_id for event in listener.heard] == [second]
    assert await delivery.run() == 0
    async with bank.database.writing() as connection:
        await connection.execute(text("UPDATE billing_events SET claimed_until = 0"))
    assert await delivery.run() == 1
    assert [event.user_id for event in listener.heard] == [second, first]
    await delivery.aclose()


async def test_several_workers_tell_each_event_once(bank: Bank) -> None:
    users = [await exhaust(bank) for _ in range(6)]
    listener = Listener()
    deliveries = [Delivery(bank.url, listener) for _ in range(3)]

    told = await asyncio.gather(*(delivery.run() for delivery in deliveries))

    assert sum(told) == 6
    assert sorted(event.user_id for event in listener.heard) == users
    for delivery in deliveries:
        await delivery.aclose()


async def test_by_default_they_go_into_the_log(bank: Bank, caplog: pytest.LogCaptureFixture) -> None:
    user = await exhaust(bank)
    delivery = Delivery(bank.url)
    with caplog.at_level(logging.WARNING, "oneapi_mw.billing"):
        await delivery.run()
    await delivery.aclose()
    assert f"user_id={user} has 995 quota units left" in caplog.text
