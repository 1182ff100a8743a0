"""How rows are found: by pattern, and for names newer than the catalogue by family and version."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import field, replace

from oneapi_mw.immutable import immutable
from oneapi_mw.models.rules import ModelRules


@immutable
class Row:
    """Names (`*` stands for anything) and what they take. The first name tells line and version of the row."""

    patterns: tuple[str, ...]
    rules: ModelRules


@immutable
class Place:
    """Where a name stands within its family."""

    line: str
    version: tuple[int, ...]
    """Empty for a name without one, which means the newest."""


@immutable
class Entry:
    """One pattern of a row."""

    pattern: str
    line: str
    rules: ModelRules

    @property
    def literal(self) -> int:
        """Characters that have to be there; the most specific pattern has the most."""
        return len(self.pattern.replace("*", ""))


@immutable
class Family:
    """Rows whose names are built alike."""

    rows: tuple[Row, ...]
    name: re.Pattern[str] | None = None
    """Matches the beginning of every name, with groups `major` and `minor`; `None` where versions say nothing."""
    lines: tuple[str, ...] = ()
    """Words that tell the lines of a family apart, tested in this order."""
    apart: frozenset[str] = frozenset()
    """Lines that share nothing with the rest: neither inherits from the other."""
    entries: tuple[Entry, ...] = field(init=False)
    """Every pattern with the place of its row."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "entries", tuple(self._entries()))

    def place(self, name: str) -> Place | None:
        found = self.name.match(name) if self.name else None
        if found is None:
            return None
        numbers = found.groupdict()
        version = tuple(int(part) for part in (numbers.get("major"), numbers.get("minor")) if part)
        line = next((word for word in self.lines if re.search(rf"(?:^|-){word}(?:-|$)", name)), "")
        return Place(line, version)

    def _entries(self) -> Iterator[Entry]:
        for row in self.rows:
            place = self.place(row.patterns[0].rstrip("*").rstrip("-")) or Place("", ())
            rules = replace(row.rules, version=row.rules.version or place.version)
            for pattern in row.patterns:
                yield Entry(pattern, place.line, rules)

    def newest(self, place: Place) -> ModelRules | None:
        """The row a name at `place` inherits: the newest that is not newer than the name itself.

        Among rows of one version the one of the same line comes first, then the one listed first.
        """
        rows = [entry for entry in self.entries if entry.rules.version]
        alike = [
            entry
            for entry in rows
            if (entry.line == place.line if place.line in self.apart else entry.line not in self.apart)
        ]
        if not alike:
            return None
        older = [entry for entry in alike if not place.version or entry.rules.version <= place.version]
        if not older:
            return min(alike, key=lambda entry: entry.rules.version).rules
        same_line = [entry for entry in older if entry.line == place.line]
        if not place.version and same_line:
            older = same_line  # an alias such as `claude-haiku` names the line, not the newest of all
        return max(older, key=lambda entry: (entry.rules.version, entry.line == place.line)).rules
