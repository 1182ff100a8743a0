"""The audit finds what it is there to find."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import text

from tests.ledger.bank import FACTS, SQL_BACKENDS, Bank, open_bank, reserve

DEVIATIONS = [
    ("UPDATE users SET quota = quota + 1", "I-1 user {user}"),
    ("UPDATE users SET held = held + 1", "I-1 user {user}"),
    ("UPDATE tokens SET remain_quota = remain_quota - 1", "I-1 token {token}"),
    ("UPDATE users SET used_quota = used_quota + 1, quota = quota - 1", "I-2 user {user}"),
    ("UPDATE tokens SET used_quota = used_quota + 1", "I-2 token {token}"),
    ("UPDATE logs SET type = 7", "I-2 user {user}"),
    ("DELETE FROM logs", "I-5 hold settled"),
    ("UPDATE logs SET quota = quota + 1", "I-9 hold settled"),
    ("UPDATE billing_holds SET lease_until = 0", "I-6 hold open"),
    ("UPDATE billing_holds SET kind = 'external'", "I-17 hold open"),
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
        assert await ledger.audit() == []

        async with bank.database.writing() as connection:
            await connection.execute(text(spoil))

        subjects = {f"{found.invariant} {found.subject}" for found in await ledger.audit()}
        assert finding.format(user=user, token=token) in subjects
