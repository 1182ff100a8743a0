"""One queue of a batched ledger, and the loop that carries it out."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Iterable, Iterator

from oneapi_mw.errors import StoreUnavailable
from oneapi_mw.ledger.operation import Away, Batch, Ending, Operation
from oneapi_mw.ledger.rows import plain

log = logging.getLogger("oneapi_mw.ledger")

MAX_BATCH = 256
TIME_TO_KEEP = 3.0
"""Seconds before the end of its caller's patience when an ending goes to the spool."""
FIRST_RETRY, LAST_RETRY = 0.05, 2.0  # seconds between attempts while the database is away


class Lane:
    """Operations of one database connection, in the order they came.

    Args:
        run: carries out a batch; see `Backend.run`.
        deliver: receives each operation once it has its answer.
        keep: is shown the endings that wait while the database is away, as often as that is found.
        put_aside: is given the endings that the database does not take, and why.
    """

    def __init__(
        self,
        run: Callable[[Batch], Awaitable[None]],
        deliver: Callable[[Operation], None],
        keep: Callable[[Iterable[Ending]], None] = lambda endings: None,
        put_aside: Callable[[Ending, Exception], None] = lambda ending, fault: None,
    ) -> None:
        self._run_batch = run
        self._deliver = deliver
        self._keep = keep
        self._put_aside = put_aside
        self._waiting: list[Operation] = []
        self._running = Batch()
        self._wake = asyncio.Event()
        self.away = False
        """Whether the last attempt did not reach the database."""
        self.back_at = -math.inf
        """When the last outage ended, by the loop's clock."""

    def put(self, operation: Operation) -> None:
        self._waiting.append(operation)
        self._wake.set()
        if self.away and isinstance(operation, Ending):
            self._keep([operation])

    def expire(self, now: float) -> None:
        """Answer callers whose deadline has passed. Of what was not sent yet only endings stay."""
        waiting = self.unanswered()
        self._keep(overdue(waiting, now))
        expire(waiting, now)
        if any(_stale(operation, now) for operation in self._waiting):
            stale = [operation for operation in self._waiting if _stale(operation, now)]
            self._waiting = [operation for operation in self._waiting if not _stale(operation, now)]
            self._refuse(stale)

    def abandon(self) -> list[Operation]:
        """Take out everything unanswered. Only for a lane that runs no more."""
        left = self.unanswered()
        self._running, self._waiting = Batch(), []
        return left

    def unanswered(self) -> list[Operation]:
        running = [operation for operation in self._running if not operation.answered]
        return [*running, *self._waiting]

    async def run(self) -> None:
        """Carry out batch after batch, for ever."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                self._running = self._take()
                await self._carry_out(self._running)
                self._running = Batch()

    def _take(self) -> Batch:
        """The next batch. A second operation on a key is left for the one after, so that its order is kept."""
        batch, keys, left = Batch(), set[str](), list[Operation]()
        for position, operation in enumerate(self._waiting):
            if len(keys) == MAX_BATCH:
                left.extend(self._waiting[position:])
                break
            if operation.key in keys:
                left.append(operation)
            else:
                keys.add(operation.key)
                batch.add(operation)
        self._waiting = left
        return batch

    async def _carry_out(self, batch: Batch) -> None:
        delay = FIRST_RETRY
        while True:
            try:
                await self._run_batch(batch)
            except Away as exc:
                if not self.away:
                    self.away = True
                    log.warning("the ledger's database is away: %s", exc)
                self._keep(operation for operation in self.unanswered() if isinstance(operation, Ending))
                await asyncio.sleep(delay)
                delay = min(2 * delay, LAST_RETRY)
                batch = self._still_wanted(batch)
                if not batch:
                    return
            except Exception as exc:  # noqa: BLE001 -- one bad member must not take the others or the lane with it
                await self._one_by_one(batch, exc)
                return
            else:
                if self.away:
                    self.away, self.back_at = False, asyncio.get_running_loop().time()
                    log.warning("the ledger's database is back")
                for operation in batch:
                    self._deliver(operation)
                return

    async def _one_by_one(self, batch: Batch, fault: Exception) -> None:
        members = list(batch)
        if len(members) > 1:
            for member in members:
                await self._carry_out(Batch.of([member]))
            return
        member = members[0]
        if isinstance(member, Ending) and member.facts is not None:
            facts = plain(member.facts)
            if facts != member.facts:
                member.facts = facts
                await self._carry_out(batch)
                return
        if isinstance(member, Ending):
            log.error("hold %s could not be ended at %d", member.key, member.final, exc_info=fault)
            if not member.swept:
                self._put_aside(member, fault)
        member.answer = fault
        self._deliver(member)

    def _still_wanted(self, batch: Batch) -> Batch:
        now = asyncio.get_running_loop().time()
        self._refuse([operation for operation in batch if _stale(operation, now)])
        return Batch.of([operation for operation in batch if not _stale(operation, now)])

    def _refuse(self, operations: list[Operation]) -> None:
        for operation in operations:
            operation.answer = unavailable()
            self._deliver(operation)


def overdue(operations: Iterable[Operation], now: float) -> Iterator[Ending]:
    """The endings that should have been answered by now, long enough before their callers are told of it."""
    for operation in operations:
        if isinstance(operation, Ending) and operation.deadline <= now + TIME_TO_KEEP:
            yield operation


def expire(operations: Iterable[Operation], now: float) -> None:
    """Tell the callers whose deadline has passed."""
    for operation in operations:
        if operation.deadline <= now and not operation.future.done():
            operation.future.set_exception(unavailable())


def unavailable() -> StoreUnavailable:
    return StoreUnavailable("The ledger's database does not answer: try again", retry_after=1)


def _stale(operation: Operation, now: float) -> bool:
    """Whether nobody wants `operation` any more. An ending is always wanted."""
    return operation.deadline <= now and not isinstance(operation, Ending)
