"""What may be changed and booked, the same in every store."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from oneapi_mw.ledger.limits import MAX_QUOTA
from oneapi_mw.types import Quota

LARGEST_BALANCE = 2**62
"""Balances stay this far from the end of 64 bits, where databases fail in ways of their own."""

LOG_TYPES: Mapping[str, int] = {"topup": 1, "redeem": 1, "adjust": 3, "gift": 4}
"""Kinds of entries to users that show up in the logs, and the type of their row."""

USER_CHANGES = frozenset(
    ["username", "display_name", "email", "password_hash", "group", "role", "status", "access_token"]
)
TOKEN_CHANGES = frozenset(
    ["name", "status", "expired_time", "remain_quota", "more_quota", "unlimited_quota", "models", "subnet"]
)
REDEMPTION_CHANGES = frozenset(["name", "quota", "status"])
CHANNEL_CHANGES = frozenset(
    [
        "type", "key", "status", "name", "weight", "test_time", "response_time", "base_url", "other", "balance",
        "balance_updated_time", "models", "hidden_models", "model_configs", "group", "model_mapping", "priority",
        "config", "ratelimit", "system_prompt", "testing_model", "model_ratio", "completion_ratio",
        "inference_profile_arn_map",
    ]
)  # fmt: skip
"""All but what identifies the row, its times, and `used_quota`, which only settlements change."""


def check_user_changes(names: Iterable[str]) -> None:
    _check("user", names, USER_CHANGES)


def check_token_changes(names: Iterable[str]) -> None:
    _check("token", names, TOKEN_CHANGES)


def check_redemption_changes(names: Iterable[str]) -> None:
    _check("redemption code", names, REDEMPTION_CHANGES)


def check_channel_changes(names: Iterable[str]) -> None:
    _check("channel", names, CHANNEL_CHANGES)


def check_allowance(amount: Quota) -> None:
    """Raises `ValueError` for what no token can be given."""
    if abs(amount) > MAX_QUOTA:
        raise ValueError(f"an amount is at most {MAX_QUOTA} quota units, not {amount}")


def check_entry(amount: Quota, *, kind: str, key: str) -> None:
    """Raises `ValueError` for an entry that does not fit the tables."""
    check_allowance(amount)
    if not 0 < len(key) <= 64:
        raise ValueError(f"the key of an entry has 1 to 64 characters: {key!r}")
    if not 0 < len(kind) <= 16:
        raise ValueError(f"the kind of an entry has 1 to 16 characters: {kind!r}")


def _check(what: str, names: Iterable[str], known: frozenset[str]) -> None:
    unknown = sorted(set(names) - known)
    if unknown:
        raise ValueError(f"a {what} has no {', '.join(unknown)} to set: use {', '.join(sorted(known))}")
