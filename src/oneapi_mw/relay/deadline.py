"""The time limits of one upstream call, for engines that do their own waiting."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Any

from oneapi_mw.relay.upstream import (
    ConnectTimeout,
    FirstByteTimeout,
    IdleTimeout,
    Timeouts,
    TotalTimeout,
    UpstreamFault,
)

CLOCK_SLACK = 0.002
"""Seconds a timer may fire early: uvloop rounds to milliseconds."""


class Deadline:
    """The time limits of one call, watched by one timer.

    connecting (`connect`) -> dispatched (`first_byte`) -> reading (`idle`), and `total` over all of them.

    `due` may be put off as often as one likes at no cost: a timer that fires too early is set again. Until the
    response is there its task is cancelled, as `asyncio.timeout` does; later the response is told.
    """

    __slots__ = (
        "_cancelling",
        "_dispatched",
        "_expire",
        "_expired",
        "_late",
        "_loop",
        "_patience",
        "_task",
        "_timeouts",
        "_timer",
        "_total_at",
        "due",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, timeouts: Timeouts) -> None:
        now = loop.time()
        task = asyncio.current_task()
        assert task is not None
        self._loop, self._timeouts = loop, timeouts
        self._task: asyncio.Task[Any] = task
        self._cancelling = task.cancelling()
        self._dispatched = False
        self._expire: Callable[[UpstreamFault], None] | None = None
        self._expired: UpstreamFault | None = None
        self._late: type[UpstreamFault] = ConnectTimeout
        self._patience = timeouts.connect
        self._total_at = now + timeouts.total
        self.due = now + timeouts.connect
        self._timer = loop.call_at(min(self.due, self._total_at), self._fire)

    def dispatch(self) -> None:
        """The request begins to leave."""
        self._dispatched = True
        self._enter(FirstByteTimeout, self._timeouts.first_byte)

    def guard_body(self, expire: Callable[[UpstreamFault], None]) -> None:
        """The headers have come; from now on a late byte is `expire`'s business."""
        self._expire = expire
        self._enter(IdleTimeout, self._timeouts.idle)
        self.due = math.inf

    def await_byte(self) -> None:
        """A byte of the body is awaited from now on, until `due` is put to infinity."""
        self.due = self._loop.time() + self._patience

    def stop(self) -> None:
        """The call is over, or all of its answer has come."""
        self._timer.cancel()
        self._expire = None

    def raise_if_ours(self) -> None:
        """Turn the cancellation being handled into the fault it stands for, unless somebody else cancelled too."""
        if self._expired is not None and self._task.uncancel() <= self._cancelling:
            raise self._expired from None

    def _enter(self, late: type[UpstreamFault], patience: float) -> None:
        self._late, self._patience = late, patience
        self.due = self._loop.time() + patience
        if self.due < self._timer.when():
            self._timer.cancel()
            self._timer = self._loop.call_at(self.due, self._fire)

    def _fire(self) -> None:
        now = self._loop.time()
        late = now + CLOCK_SLACK
        if late < self._total_at and late < self.due:
            self._timer = self._loop.call_at(min(self.due, self._total_at, now + self._patience), self._fire)
            return
        fault = TotalTimeout(dispatched=self._dispatched) if late >= self._total_at else self._late()
        if self._expire is not None:
            self._expire(fault)
        else:
            self._expired = fault
            self._task.cancel()
