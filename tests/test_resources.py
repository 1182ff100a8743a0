"""What a running gateway keeps up to date."""

from __future__ import annotations

import pytest

from oneapi_mw.resources import apply_options
from oneapi_mw.store.memory import MemoryStore


@pytest.mark.parametrize(
    ("value", "threshold"), [(None, 1000), ("5000", 5000), (" 7 ", 7), ("0", 0), ("-5", 0), ("9" * 30, 2**53)]
)
async def test_the_threshold_of_reminders_is_an_option(value: str | None, threshold: int) -> None:
    store = MemoryStore()
    if value is not None:
        await store.options.set("QuotaRemindThreshold", value)
    await apply_options(store, store.ledger)
    assert store.ledger.remind_below == threshold


@pytest.mark.parametrize("value", ["", "many", "1.5"])
async def test_a_threshold_that_is_no_number_changes_nothing(value: str, caplog: pytest.LogCaptureFixture) -> None:
    store = MemoryStore()
    store.ledger.remind_below = 77
    await store.options.set("QuotaRemindThreshold", value)
    await apply_options(store, store.ledger)
    assert store.ledger.remind_below == 77
    assert "QuotaRemindThreshold is not a whole number" in caplog.text
