"""Sliding-window counting: exact in a fresh window, two integers of memory per key."""

from __future__ import annotations

from dataclasses import dataclass

from oneapi_mw.ratelimit.base import Verdict


@dataclass(slots=True)
class Window:
    """Requests of one key: the count of the current fixed window and of the one before it.

    The estimate for the sliding window is the current count plus the share of the previous one that it
    still covers, so a burst at a window's edge cannot double the limit.
    """

    index: int = 0
    current: int = 0
    previous: int = 0

    def take(self, now: float, *, limit: int, seconds: float) -> Verdict:
        """Count one request at `now` (seconds of a steady clock), unless that would exceed `limit`."""
        index, into = divmod(now, seconds)
        if index != self.index:
            self.previous = self.current if index == self.index + 1 else 0
            self.index, self.current = int(index), 0
        used = self.current + self.previous * (1 - into / seconds)
        reset_after = seconds - into
        if used + 1 > limit:
            return Verdict(False, limit, 0, reset_after, self._retry_after(into, limit=limit, seconds=seconds))
        self.current += 1
        return Verdict(True, limit, max(0, int(limit - used - 1)), reset_after)

    def _retry_after(self, into: float, *, limit: int, seconds: float) -> float:
        """Seconds until one more request fits."""
        if self.current + 1 > limit:  # this window alone is full: wait for the next, where it is the previous one
            wait_in_next = seconds * (1 - (limit - 1) / self.current) if self.current else 0.0
            return seconds - into + max(0.0, wait_in_next)
        overlap = (limit - 1 - self.current) / self.previous
        return max(0.0, seconds * (1 - overlap) - into)
