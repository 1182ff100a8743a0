"""What a ledger accepts, whatever its backend."""

from __future__ import annotations

from oneapi_mw.types import Quota

MAX_QUOTA = 2**53
"""Largest amount of one operation: sums over a whole batch stay within 64 bits."""
MAX_KEY_LENGTH = 32


def check_amounts(*amounts: Quota) -> None:
    """Raises `ValueError` for an amount outside 0..2^53."""
    for amount in amounts:
        if not 0 <= amount <= MAX_QUOTA:
            raise ValueError(f"an amount is between 0 and {MAX_QUOTA} quota units, not {amount}")


def check_key(key: str) -> None:
    """Raises `ValueError` for a key that does not fit the tables."""
    if not 0 < len(key) <= MAX_KEY_LENGTH:
        raise ValueError(f"the key of a hold has 1 to {MAX_KEY_LENGTH} characters: {key!r}")
