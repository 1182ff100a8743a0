"""What was computed for a text before, by its digest."""

from __future__ import annotations

from typing import Generic, TypeVar

T = TypeVar("T")

MAX_ENTRIES = 512
MAX_ENTRY_BYTES = 256 * 1024
MAX_BYTES = 8 * 1024 * 1024
"""Of JSON text; the objects behind it take several times as much."""


class Cache(Generic[T]):
    """Values by digest, in two generations: when the young one is full the old one goes, and what was used meanwhile
    has become young again. Threads may share it: at worst they compute a value twice."""

    def __init__(self) -> None:
        self._young: dict[bytes, tuple[T, int]] = {}
        self._old: dict[bytes, tuple[T, int]] = {}
        self._size = 0

    def get(self, key: bytes) -> T | None:
        found = self._young.get(key)
        if found is None:
            found = self._old.get(key)
            if found is None:
                return None
            self.put(key, *found)
        return found[0]

    def put(self, key: bytes, value: T, size: int) -> None:
        """`size` in bytes: what is too large is not kept."""
        if size > MAX_ENTRY_BYTES:
            return
        if len(self._young) >= MAX_ENTRIES // 2 or self._size + size > MAX_BYTES // 2:
            self._old, self._young, self._size = self._young, {}, 0
        self._young[key] = (value, size)
        self._size += size
