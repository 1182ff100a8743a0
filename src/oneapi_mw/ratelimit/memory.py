"""A limiter in this process's memory."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

from oneapi_mw.ratelimit.base import Verdict
from oneapi_mw.ratelimit.window import Window


class MemoryLimiter:
    """At most `limit` requests of a key in any `seconds`.

    Keeps at most `max_keys` keys; the least recently used is forgotten first, so that a flood of keys
    cannot grow memory.
    """

    def __init__(
        self, *, limit: int, seconds: float, max_keys: int = 100_000, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limit = limit
        self._seconds = seconds
        self._max_keys = max_keys
        self._clock = clock
        self._windows: OrderedDict[str, Window] = OrderedDict()

    async def take(self, key: str) -> Verdict:
        window = self._windows.get(key)
        if window is None:
            window = self._windows[key] = Window()
            if len(self._windows) > self._max_keys:
                self._windows.popitem(last=False)
        else:
            self._windows.move_to_end(key)
        return window.take(self._clock(), limit=self._limit, seconds=self._seconds)
