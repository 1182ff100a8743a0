"""Counts in reports of usage, as odd as servers write them."""

from __future__ import annotations

from typing import Any

import pytest

from oneapi_mw.wire.counts import MAX_TOKENS, object_in, read_count


@pytest.mark.parametrize(
    ("written", "count"),
    [
        (0, 0),
        (7, 7),
        (-3, 0),
        (MAX_TOKENS, MAX_TOKENS),
        (MAX_TOKENS + 1, None),
        (True, None),
        (7.0, 7),
        (7.5, None),
        (-3.0, 0),
        (1e18, None),
        (float("inf"), None),
        (float("nan"), None),
        ("7", None),
        (None, None),
    ],
)
def test_counts(written: Any, count: int | None) -> None:
    assert read_count(written) == count


@pytest.mark.parametrize(("value", "found"), [({"a": 1}, {"a": 1}), (None, {}), ([], {}), ("x", {}), (3, {})])
def test_parts_of_a_report(value: Any, found: dict[str, Any]) -> None:
    assert object_in({"details": value}, "details") == found
    assert object_in({}, "details") == {}
