"""Ending in good order: the requests inside a gateway are counted, waited for and, past a deadline, cut."""

from __future__ import annotations

import asyncio
import logging
from types import TracebackType

from starlette.types import ASGIApp, Receive, Scope, Send

from oneapi_mw.errors import Draining

log = logging.getLogger("oneapi_mw.drain")

CUT_SECONDS = 6.0
"""How long requests that were cut may take to settle: longer than the ledger lets a caller wait for its database."""


class Drain:
    """The requests inside one gateway.

    open --close--> closed: nothing new is let in --cut--> what is still inside ends with `Draining`
    """

    def __init__(self) -> None:
        self.closed = False
        """Whether new requests are to be refused."""
        self._visits: set[Visit] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._hurry = asyncio.Event()

    def visit(self) -> Visit:
        """What a request enters (`with`) for as long as it runs."""
        return Visit(self)

    def cut(self) -> None:
        """End every request inside with `Draining`, also those that come later."""
        self._hurry.set()
        for visit in self._visits:
            visit.cut()

    async def finish(self, timeout: float) -> bool:
        """Let nothing new in, wait up to `timeout` seconds for what is inside, cut the rest.

        A call of `cut` ends the waiting. Returns whether nothing is inside any more.
        """
        self.closed = True
        await _first(self._idle, self._hurry, timeout=timeout)
        if self._visits:
            log.warning("%d requests still run and are cut now", len(self._visits))
            self.cut()
            await _first(self._idle, timeout=CUT_SECONDS)
        if self._visits:
            log.error("%d requests did not end within %g s of being cut", len(self._visits), CUT_SECONDS)
        return not self._visits

    def enter(self, visit: Visit) -> None:
        self._visits.add(visit)
        self._idle.clear()
        if self._hurry.is_set():
            visit.cut()

    def leave(self, visit: Visit) -> None:
        self._visits.discard(visit)
        if not self._visits:
            self._idle.set()


class Visit:
    """One request inside, entered and left by one task.

    Cutting works like `asyncio.timeout`: the task is cancelled, and on the way out our own cancellation, and no
    other, becomes `Draining`. So stages inside settle as they do for any cancelled request.
    """

    __slots__ = ("_cancelling", "_cut", "_drain", "_task")

    def __init__(self, drain: Drain) -> None:
        self._drain = drain
        self._task: asyncio.Task[object] | None = None
        self._cancelling = 0
        self._cut = False

    def announce(self, task: asyncio.Task[object]) -> None:
        """Count the request as inside although `task`, which will enter, has not begun to run."""
        self._drain.enter(self)
        # a task that is cancelled before it runs never comes to leave
        task.add_done_callback(lambda _: self._drain.leave(self))

    def __enter__(self) -> Visit:
        task = asyncio.current_task()
        assert task is not None
        self._task, self._cancelling = task, task.cancelling()
        self._drain.enter(self)
        return self

    def cut(self) -> None:
        """Interrupt the request, once."""
        if not self._cut and self._task is not None:
            self._cut = True
            self._task.cancel()

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._drain.leave(self)
        task, self._task = self._task, None
        assert task is not None
        if not self._cut:
            return
        ours_alone = task.uncancel() <= self._cancelling
        if ours_alone and kind is not None and issubclass(kind, asyncio.CancelledError):
            raise Draining("The gateway is shutting down and had to end this request", retry_after=1) from exc


class DrainMiddleware:
    """Count the request as inside until everything owed for it is settled.

    Raises `Draining` in a request that is cut; stands inside the stage that turns errors into answers.
    """

    requires, provides = (), ()

    def __init__(self, app: ASGIApp, *, drain: Drain) -> None:
        self.app = app
        self._drain = drain

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._drain.visit():
            await self.app(scope, receive, send)


async def _first(*events: asyncio.Event, timeout: float) -> None:
    """Return when one of `events` is set, or after `timeout` seconds."""
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
