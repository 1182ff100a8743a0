"""The audit finds what it is there to find."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from oneapi_mw.ledger.audit import CHECKS, explain
from oneapi_mw.ledger.base import EXTERNAL, ExternalNote
from oneapi_mw.ledger.examine import Standing, examine, standing
from tests.ledger.bank import FACTS, SQL_BACKENDS, Bank, open_bank, reserve

DEVIATIONS = [
    ("UPDATE users SET quota = quota + 1", "I-1 user {user}"),
    ("UPDATE users SET held = held + 1", "I-1 user {user}"),
    ("UPDATE tokens SET remain_quota = remain_quota - 1", "I-1 token {token}"),
    ("UPDATE users SET used_quota = used_quota + 1, quota = quota - 1", "I-2 user {user}"),
    ("UPDATE tokens SET used_quota = used_quota + 1", "I-2 token {token}"),
    ("UPDATE logs SET type = 7", "I-2 user {user}"),
    ("UPDATE users SET request_count = request_count - 1", "I-2 user {user}"),
    ("UPDATE channels SET used_quota = 1", "I-2 channel 3"),
    ("UPDATE users SET quota = -1", "I-4 user {user}"),
    ("DELETE FROM logs", "I-5 hold settled"),
    ("UPDATE logs SET quota = quota + 1", "I-9 hold settled"),
    ("UPDATE billing_holds SET lease_until = 0", "I-6 hold open"),
    ("UPDATE billing_holds SET kind = 'external'", "I-17 hold open"),
    ("UPDATE billing_holds SET estimated = (state = 9)", "I-18 entry hold-user-swept"),
    ("UPDATE billing_holds SET final = 1", "I-18 entry hold-user-swept"),
    ("UPDATE billing_entries SET kind = 'gift' WHERE token_id IS NULL", "I-18 entry hold-user-swept"),
    ("UPDATE billing_entries SET amount = amount + 1 WHERE kind = 'adjust' AND token_id IS NULL", "I-18 hold swept"),
    ("DELETE FROM billing_entries WHERE kind = 'adjust' AND token_id IS NOT NULL", "I-18 hold swept"),
]
"""A statement that spoils the books, and the finding it must lead to."""


@pytest.mark.parametrize("backend", SQL_BACKENDS)
@pytest.mark.parametrize(("spoil", "finding"), DEVIATIONS)
async def test_every_deviation_is_found(backend: str, spoil: str, finding: str, tmp_path: Path) -> None:
    async with open_bank(backend, tmp_path) as bank:
        assert isinstance(bank, Bank)
        ledger = await bank.ledger()
        user = await bank.user(1000)
        token = await bank.token(user, 500)
        for key in ("settled", "open"):
            await ledger.reserve(reserve(user, token, 100, key=key))
        await ledger.settle("settled", 60, FACTS)
        await ledger.reserve(reserve(user, token, 100, key="swept", fallback=20, lease_seconds=0))
        await ledger.sweep()
        await ledger.settle("swept", 15, FACTS)
        await bank.channels(3)
        assert await ledger.audit() == []

        async with bank.database.writing() as connection:
            await connection.execute(text(spoil))

        subjects = {f"{found.invariant} {found.subject}" for found in await ledger.audit()}
        assert finding.format(user=user, token=token) in subjects


def test_every_check_is_explained() -> None:
    for check in CHECKS:
        assert explain(check).means
        assert explain(check).advice


@pytest.mark.parametrize("backend", SQL_BACKENDS)
async def test_i_04_a_balance_below_zero_is_explained_by_what_was_charged_above_the_hold(
    backend: str, tmp_path: Path
) -> None:
    async with open_bank(backend, tmp_path) as bank:
        assert isinstance(bank, Bank)
        ledger = await bank.ledger()
        user = await bank.user(100)
        request = reserve(user, await bank.token(user), 100)
        await ledger.reserve(request)
        await ledger.settle(request.key, 130, FACTS)
        await bank.credit(user, -10)
        assert (await ledger.user_balance(user)).quota == -40
        assert await ledger.audit() == []


async def test_deviations_beyond_the_limit_are_counted(tmp_path: Path) -> None:
    async with open_bank("sqlite", tmp_path) as bank:
        assert isinstance(bank, Bank)
        for _ in range(5):
            await bank.user(10)
        async with bank.database.writing() as connection:
            await connection.execute(text("UPDATE users SET quota = quota + 1"))
        told: list[tuple[int, str]] = []

        audit = await examine(bank.database, most=2, progress=lambda done, check: told.append((done, check.invariant)))

        (spoilt,) = (examined for examined in audit.checks if examined.findings)
        assert (len(spoilt.findings), spoilt.unnamed) == (2, 3)
        assert audit.rows["users"] == 5
        assert told == [(number, check.invariant) for number, check in enumerate(CHECKS)]


@pytest.mark.parametrize("backend", SQL_BACKENDS)
async def test_how_the_ledger_stands(backend: str, tmp_path: Path) -> None:
    async with open_bank(backend, tmp_path) as bank:
        assert isinstance(bank, Bank)
        ledger = await bank.ledger()
        user = await bank.user(5000)
        token = await bank.token(user)
        note = ExternalNote("t", f"token-{token}", f"user-{user}", "scan")
        for request in (
            reserve(user, token, 100, key="old"),
            reserve(user, token, 200, key="late", lease_seconds=0),
            reserve(user, token, 300, kind=EXTERNAL, note=note),
            reserve(user, token, 4300, key="settled"),
        ):
            await ledger.reserve(request)
        await ledger.settle("settled", 4300, FACTS)
        async with bank.database.writing() as connection:
            await connection.execute(
                text("UPDATE billing_holds SET created_at = created_at - 9000000 WHERE amount IN (100, 300)")
            )

        stands = await standing(bank.database)

        assert stands.oldest_seconds > 8000
        assert replace(stands, oldest_seconds=0) == Standing(3, 1, 600, 0, 1, 1, 1)


async def test_books_without_anything_open(tmp_path: Path) -> None:
    async with open_bank("sqlite", tmp_path) as bank:
        assert isinstance(bank, Bank)
        assert await standing(bank.database) == Standing(0, 0, 0, 0.0, 0, 0, 0)
