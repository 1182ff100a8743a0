"""What the SQL ledgers write beside the balances."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from oneapi_mw.ledger.base import LogFacts
from oneapi_mw.ledger.database import Database
from oneapi_mw.ledger.rollup import roll_up
from tests.ledger.bank import FACTS, SQL_BACKENDS, Bank, findings, open_bank, reserve


@pytest.fixture(params=SQL_BACKENDS)
async def bank(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bank]:
    async with open_bank(request.param, tmp_path) as books:
        assert isinstance(books, Bank)
        yield books
        assert await findings(await books.ledger()) == []


async def test_the_rows_of_a_settlement(bank: Bank) -> None:
    ledger = await bank.ledger()
    user = await bank.user(1000)
    token = await bank.token(user, 1000)
    request = reserve(user, token, 200, card_id="card", group_ratio=500_000, started_at=77, log={"username": "alice"})
    facts = LogFacts(
        user_uuid="u" * 36,
        username="alice",
        token_uuid="t" * 36,
        token_name="default",
        channel_id=3,
        channel_uuid="c" * 36,
        channel_name="main",
        model_name="gpt-4o-mini",
        origin_model_name="mini",
        prompt_tokens=11,
        completion_tokens=12,
        cached_prompt_tokens=5,
        content="it's 100 % \\ fine \U0001f642; --",
        trace_id="trace",
        elapsed_time=321,
        is_stream=True,
        metadata={"k": {"n": 1}},
    )
    await ledger.reserve(request)
    (held,) = await bank.rows("SELECT * FROM billing_holds")
    await ledger.settle(request.key, 150, facts)

    (log,) = await bank.rows("SELECT * FROM logs")
    written = {name: log[name] for name in LogFacts.__dataclass_fields__ if name != "metadata"}
    assert written == {name: getattr(facts, name) for name in written}
    assert json.loads(log["metadata"]) == {"k": {"n": 1}}
    assert (log["type"], log["quota"], log["request_id"]) == (2, 150, request.key)
    assert (log["user_id"], log["token_id"], bool(log["system_prompt_reset"])) == (user, token, False)
    assert uuid.UUID(log["uuid"]).version == 7
    assert log["updated_at"] // 1000 == log["created_at"]
    (hold,) = await bank.rows("SELECT * FROM billing_holds")
    assert (held["state"], held["final"], json.loads(held["facts"])) == (0, None, {"username": "alice"})
    assert (hold["state"], hold["final"], hold["facts"], bool(hold["estimated"])) == (1, 150, None, False)
    assert (hold["card_id"], hold["group_ratio"], hold["started_at"], hold["worker"]) == ("card", 500_000, 77, "worker")
    assert hold["channel_id"] == 3
    (used,) = await bank.rows("SELECT accessed_time FROM tokens")
    assert used["accessed_time"] == log["created_at"]


async def test_a_void_leaves_only_its_hold(bank: Bank) -> None:
    ledger = await bank.ledger()
    user = await bank.user(1000)
    request = reserve(user, await bank.token(user), 200, log={"username": "alice"})
    await ledger.reserve(request)
    await ledger.void(request.key)

    for table in ("logs", "billing_outbox"):
        assert await bank.rows(f"SELECT id FROM {table}") == []
    (hold,) = await bank.rows("SELECT state, final FROM billing_holds")
    assert hold == {"state": 2, "final": 0}


async def test_a_swept_hold_has_a_log_row_that_says_so(bank: Bank) -> None:
    ledger = await bank.ledger()
    user = await bank.user(1000)
    noted = {"username": "alice", "model_name": "m", "channel_id": 8, "prompt_tokens": 9, "unknown": [1]}
    request = reserve(user, await bank.token(user), 200, lease_seconds=0, fallback=25, log=noted)
    bare = reserve(user, await bank.token(user), 200, lease_seconds=0, log={"username": "half \ud83d an emoji"})
    await ledger.reserve(request)
    await ledger.reserve(bare)
    assert await ledger.sweep() == 2

    (log,) = await bank.rows("SELECT * FROM logs WHERE request_id = :key", key=request.key)
    assert (log["username"], log["model_name"], log["channel_id"], log["prompt_tokens"]) == ("alice", "m", 8, 9)
    assert (log["quota"], json.loads(log["metadata"])) == (25, {"usage_source": "estimated"})
    (hold,) = await bank.rows("SELECT estimated, final FROM billing_holds WHERE final > 0")
    assert (bool(hold["estimated"]), hold["final"]) == (True, 25)


async def test_text_that_does_not_fit_never_undoes_a_charge(bank: Bank) -> None:
    ledger = await bank.ledger()
    user = await bank.user(10_000)
    token = await bank.token(user)
    odd = [
        LogFacts(content="nul \x00 inside", model_name="m" * 999, trace_id="t" * 99, username="\x00"),
        LogFacts(content="half \ud83d an emoji", metadata={"text": "\ud83d"}),
        LogFacts(prompt_tokens=2**70, completion_tokens=-1),
    ]
    requests = [reserve(user, token, 100) for _ in range(6)]
    await asyncio.gather(*(ledger.reserve(request) for request in requests))

    facts = [*odd, FACTS, FACTS, FACTS]
    answers = await asyncio.gather(
        *(ledger.settle(request.key, 10, fact) for request, fact in zip(requests, facts, strict=True))
    )

    assert all(answer.first for answer in answers)
    assert (await ledger.user_balance(user)).used_quota == 60


async def test_channel_totals_are_rolled_up_once(bank: Bank) -> None:
    ledger = await bank.ledger()
    user = await bank.user(10_000)
    token = await bank.token(user)
    await bank.channels(3, 4)
    requests = [reserve(user, token, 100) for _ in range(20)]
    await asyncio.gather(*(ledger.reserve(request) for request in requests))
    for n, request in enumerate(requests):
        await ledger.settle(request.key, 10 + n, LogFacts(channel_id=(3, 4, 5, None)[n % 4]))
    databases = [Database(bank.url.sqlalchemy, bank.url.connect_args()) for _ in range(3)]

    moved = await asyncio.gather(*(roll_up(database) for database in databases))
    moved.append(await roll_up(databases[0]))

    assert sum(moved) == 15
    assert await bank.rows("SELECT id FROM billing_outbox") == []
    totals = await bank.rows("SELECT id, used_quota FROM channels ORDER BY id")
    assert totals == [{"id": 3, "used_quota": 90}, {"id": 4, "used_quota": 95}]
    for database in databases:
        await database.aclose()
