"""Calls of hosted tools in what vendors report, by the kinds that price cards know."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

from oneapi_mw.pricing.tools import MAX_NAME_CHARS, tool_kind
from oneapi_mw.wire.counts import read_count

SEARCH = "web_search"
MAX_COUNTERS = 64
"""Of one report: nobody has so many tools."""
_AFFIXES = ("server_side_tool_", "_requests", "_calls", "_call")
_WITHOUT_FEE = "tool_search"
"""How names begin of a search among tools, which is no search of the web."""


def kind_called(name: str) -> str:
    """The kind of tool behind the name of its calls: `web_search_requests`, `SERVER_SIDE_TOOL_X_SEARCH`."""
    name = name[:MAX_NAME_CHARS].lower()
    name = name.removeprefix(_AFFIXES[0])
    for suffix in _AFFIXES[1:]:
        name = name.removesuffix(suffix)
    return _WITHOUT_FEE if name.startswith(_WITHOUT_FEE) else tool_kind(name)


def told_counts(report: object, *, ending: str = "") -> dict[str, int]:
    """Counters by name, as counts by kind, zeros included; members whose name does not end so are no counters."""
    counts: dict[str, int] = {}
    for name, value in islice(report.items(), MAX_COUNTERS) if isinstance(report, dict) else ():
        count = read_count(value)
        if count is not None and name.endswith(ending):
            kind = kind_called(name)
            counts[kind] = counts.get(kind, 0) + count
    return counts


def seen_counts(kinds: Iterable[str]) -> dict[str, int]:
    """How often each kind was seen."""
    counts: dict[str, int] = {}
    for kind in kinds:
        counts[kind] = counts.get(kind, 0) + 1
    return counts


def hosted_calls(
    told: Mapping[str, int], seen: Mapping[str, int], *, final: bool = True
) -> tuple[tuple[str, int], ...]:
    """What is charged: of a kind that the vendor counts its count, of others what was seen.

    Args:
        final: the vendor has counted at the end. Counts of a stream that has not ended may be behind.
    """
    counts = {**seen, **told}
    if not final:
        counts = {kind: max(count, seen.get(kind, 0)) for kind, count in counts.items()}
    return tuple((kind, count) for kind, count in counts.items() if count)


def members(value: object) -> list[Mapping[str, Any]]:
    """The objects of a list."""
    return [member for member in value if isinstance(member, dict)] if isinstance(value, list) else []
