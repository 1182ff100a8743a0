"""Names for plain values that cross every layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

Quota: TypeAlias = int
"""Quota units: 500_000 are one US dollar. Always an integer, 64-bit signed where it is stored."""

QUOTA_PER_USD = 500_000

JsonObject: TypeAlias = dict[str, Any]
"""A parsed JSON object. Never changed in place once another stage has seen it."""

RawHeaders: TypeAlias = Sequence[tuple[bytes, bytes]]
"""Header fields as ASGI has them: lower-case names, order kept."""
