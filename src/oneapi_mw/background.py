"""Tasks that run beside the requests of one gateway: named, restarted after a fault, all stopped together."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable

log = logging.getLogger("oneapi_mw.background")


class Background:
    """The periodic tasks of one gateway."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []

    def every(self, seconds: float, name: str, work: Callable[[], Awaitable[object]]) -> None:
        """Run `work` about every `seconds`, a tenth more or less so that workers do not march in step.

        A fault of `work` is logged and the next turn comes as usual: one bad minute must not end a sweeper.
        """
        self._tasks.append(asyncio.create_task(self._loop(seconds, name, work), name=f"oneapi_mw.{name}"))

    async def _loop(self, seconds: float, name: str, work: Callable[[], Awaitable[object]]) -> None:
        while True:
            await asyncio.sleep(seconds * random.uniform(0.9, 1.1))  # noqa: S311 -- jitter
            try:
                await work()
            except Exception as exc:  # noqa: BLE001 -- this loop must outlive a bad turn
                log.warning("background task %s failed, will try again: %s: %s", name, type(exc).__name__, exc)

    async def aclose(self) -> None:
        """Cancel all tasks and wait until they have ended."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
