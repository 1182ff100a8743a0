"""Answers whose clients have left and which are read to their end all the same: so many at once, for so long."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import nullcontext, suppress

from oneapi_mw.errors import Draining
from oneapi_mw.middleware.drain import Drain, Visit

log = logging.getLogger("oneapi_mw.billing")

Work = Callable[[], Awaitable[None]]


class RemainderTasks:
    """Runs what requests have left undone, each in a task of its own that no end of its request can cancel.

    A drain waits for these tasks as it does for requests, and cuts them likewise. Where there is none they live as
    long as the event loop does.
    """

    def __init__(self, *, seconds: float = 120.0, at_once: int = 64, drain: Drain | None = None) -> None:
        """
        Args:
            seconds: after so long the rest of an answer is given up.
            at_once: answers that are read at the same time.
        """
        self._seconds = seconds
        self._at_once = at_once
        self._drain = drain
        self._tasks: set[asyncio.Task[None]] = set()

    def has_room(self) -> bool:
        """See `exchange.Remainders`."""
        return len(self._tasks) < self._at_once

    def start(self, work: Sequence[Work], settle: Work) -> None:
        """Do all of `work` at once, then `settle`, whatever has become of the work. Counted from now on."""
        visit = None if self._drain is None else self._drain.visit()
        task = asyncio.create_task(self._run(work, settle, visit), name="oneapi_mw.remainder")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if visit is not None:
            visit.announce(task)

    async def _run(self, work: Sequence[Work], settle: Work, visit: Visit | None) -> None:
        with suppress(Draining), nullcontext() if visit is None else visit:  # cut, it is settled on the way out
            try:
                await self._do(work)
            finally:
                await settle()

    async def _do(self, work: Sequence[Work]) -> None:
        try:
            async with asyncio.timeout(self._seconds):
                results = await asyncio.gather(*[each() for each in work], return_exceptions=True)
        except TimeoutError:
            log.warning("an answer whose client has left went on for more than %g s and is given up", self._seconds)
            return
        for result in results:
            if isinstance(result, Exception):
                log.warning("an answer whose client has left broke off: %s: %s", type(result).__name__, result)
