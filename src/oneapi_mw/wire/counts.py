"""Numbers in reports of usage, whoever wrote them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MAX_TOKENS = 1_000_000_000
"""More of anything in one answer is a fault of who reports it."""


def read_count(value: object) -> int | None:
    """A well-formed count. Negative ones are cut to zero; absurd or mistyped ones are none.

    `7.0` is well-formed: in JSON it is the same number as `7`, and some languages write every number so.
    """
    if type(value) is int:
        return None if value > MAX_TOKENS else value if value > 0 else 0
    if type(value) is float and value.is_integer():
        return read_count(int(value))
    return None


def object_in(report: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A part of a report; an empty one where it has none of that name."""
    value = report.get(name)
    return value if isinstance(value, dict) else {}
