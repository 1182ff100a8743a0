"""Reasoning of recent answers, in this process's memory."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from oneapi_mw.wire.reasoning_cache import Kept


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasoningLimits:
    seconds: float = 24 * 3600.0
    """Of an entry's life after it was last used."""
    max_entries: int = 10_000
    max_entry_bytes: int = 64 * 1024
    max_bytes: int = 64 * 1024 * 1024
    """Of all entries together."""


@dataclass(slots=True)
class _Entry:
    kept: Kept | None
    """`None`: two answers have the same key, and nobody can tell which one is meant."""
    size: int
    expires: float


class MemoryReasoningCache:
    """Implements `wire.reasoning_cache.ReasoningCache`. What was used longest ago makes room.

    Args:
        clock: seconds; only differences matter.
    """

    def __init__(self, limits: ReasoningLimits | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits or ReasoningLimits()
        self._clock = clock
        self._entries: OrderedDict[bytes, _Entry] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: bytes) -> Kept | None:
        self._expire()
        entry = self._entries.get(key)
        if entry is None:
            return None
        self._use(key, entry)
        return entry.kept

    def put(self, key: bytes, kept: Kept) -> None:
        self._expire()
        entry = self._entries.get(key)
        if entry is None:
            if kept.size > self._limits.max_entry_bytes:
                return
            self._entries[key] = entry = _Entry(kept, kept.size, 0)
            self._bytes += entry.size
        elif entry.kept != kept:
            self._bytes -= entry.size
            entry.kept, entry.size = None, 0
        self._use(key, entry)
        while len(self._entries) > self._limits.max_entries or self._bytes > self._limits.max_bytes:
            self._drop_oldest()

    def _use(self, key: bytes, entry: _Entry) -> None:
        entry.expires = self._clock() + self._limits.seconds
        self._entries.move_to_end(key)

    def _expire(self) -> None:
        """Every use moves an entry to the end: those that expire first are at the front."""
        now = self._clock()
        while self._entries and next(iter(self._entries.values())).expires <= now:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        _, entry = self._entries.popitem(last=False)
        self._bytes -= entry.size
