"""What commands print: tables for people, JSON for machines."""

from __future__ import annotations

import json
import time
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from oneapi_mw.types import QUOTA_PER_USD, Quota


def print_json(value: object) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))


def print_rows(rows: Sequence[Mapping[str, Any]], *, as_json: bool, nothing: str) -> None:
    """One row a line under the keys as headings, or a JSON list. `nothing` is said of an empty table."""
    if as_json:
        print_json(rows)
    elif rows:
        print(table(rows))
    else:
        print(nothing)


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Columns as wide as their widest cell; numbers to the right."""
    headings = list(rows[0])
    cells = [[_printable(row[heading]) for heading in headings] for row in rows]
    widths = [max(map(_width, column)) for column in zip(headings, *cells, strict=True)]
    numbers = [all(isinstance(row[heading], int | float) for row in rows) for heading in headings]
    lines = []
    for line in [[heading.upper() for heading in headings], *cells]:
        padded = [
            " " * (width - _width(cell)) + cell if right else cell + " " * (width - _width(cell))
            for cell, width, right in zip(line, widths, numbers, strict=True)
        ]
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)


def _printable(value: object) -> str:
    """Text that stays on its line and sends the terminal no commands."""
    text = "" if value is None else str(value)
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def _width(text: str) -> int:
    """Columns on a terminal."""
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )


def dollars(units: Quota) -> str:
    return f"${units / QUOTA_PER_USD:.4f}"


def moment(seconds: int) -> str:
    """A Unix time as UTC; nothing for none."""
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(seconds)) if seconds > 0 else ""
