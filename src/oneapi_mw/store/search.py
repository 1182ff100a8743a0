"""How lists are searched and sorted, the same in every store."""

from __future__ import annotations

import re

from oneapi_mw.store.records import Page

USER_SORTS = frozenset(
    ["id", "username", "email", "display_name", "role", "status", "quota", "used_quota", "request_count", "created_at",
     "updated_at"]
)  # fmt: skip
TOKEN_SORTS = frozenset(
    ["id", "uuid", "name", "status", "expired_time", "remain_quota", "used_quota", "created_at", "updated_at"]
)
CHANNEL_SORTS = frozenset(
    ["id", "name", "type", "status", "response_time", "test_time", "priority", "weight", "used_quota", "created_at",
     "updated_at"]
)  # fmt: skip
REDEMPTION_SORTS = frozenset(
    ["id", "name", "status", "quota", "created_time", "redeemed_time", "created_at", "updated_at"]
)
LOG_SORTS = frozenset(["id", "created_at", "prompt_tokens", "completion_tokens", "quota", "elapsed_time"])

_UUID = re.compile(r"([0-9a-f]{8})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{12})")


def as_uuid(keyword: str) -> str | None:
    """The canonical form of a keyword that is a UUID, with hyphens or without, in any case."""
    match = _UUID.fullmatch(keyword.strip().lower())
    return "-".join(match.groups()) if match else None


def check_sort(page: Page, columns: frozenset[str]) -> str:
    """The column to sort by. Raises `ValueError` for one that lists cannot be sorted by."""
    if page.sort not in columns:
        raise ValueError(f"cannot sort by {page.sort!r}: use one of {', '.join(sorted(columns))}")
    return page.sort
