"""The common front of the SQL ledgers: natural group commit.

Whatever waits is one transaction, and when that has been committed, what came meanwhile is the next. No timer
and no minimum: alone, an operation goes at once. The more callers, the larger the batches, and the cost of a
commit is shared by all of them.

    caller --put--> lane --batch--> backend.run --answers--> callers
                                      |-- database away: the same batch again, later; endings also into the spool
                                      |-- a member is bad: every member by itself
                                      '-- an ending came after a sweep: on to the lane of corrections
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Protocol

from oneapi_mw.errors import NotStarted, StoreUnavailable
from oneapi_mw.ledger.base import LEASE_SECONDS, Balance, Denied, Finding, Held, LogFacts, OnCrash, Reserve, Settled
from oneapi_mw.ledger.lane import Lane, expire, overdue
from oneapi_mw.ledger.limits import check_amounts, check_key
from oneapi_mw.ledger.operation import Away, Backend, Batch, Ending, Extension, Late, Operation, Reservation
from oneapi_mw.ledger.spool import Orphan, Spool
from oneapi_mw.ledger.spool_file import Kept
from oneapi_mw.types import Quota

log = logging.getLogger("oneapi_mw.ledger")

MAX_UNANSWERED = 20_000
"""Operations on their way above which nothing new is reserved: the endings of what runs must still fit."""
RESERVE_PATIENCE = 2.0  # seconds a reserve or extend waits for the database
ENDING_PATIENCE = 5.0  # seconds the caller of an ending waits; the ending itself is never given up
DRAIN_SECONDS = 30.0
GRACE_SECONDS = float(LEASE_SECONDS)
"""How long nothing is swept after a start or an outage: whoever is alive has renewed by then."""
REPLAYED_AT_ONCE = 1000
TICK_SECONDS = 0.25


class Books(Protocol):
    """What is read and kept beside the lanes. Raises `StoreUnavailable`."""

    async def renew(self, marks: Mapping[str, Quota]) -> None: ...
    async def expired(self, limit: int, *, keys: Sequence[str] | None = None) -> Sequence[Late]:
        """Open holds whose lease has ended; of `keys` the external ones."""

    async def correct(self, key: str, cost: Quota) -> Settled:
        """Book, once, what a hold that a sweep has ended should have been charged."""

    async def user_balance(self, user_id: int) -> Balance: ...
    async def token_balance(self, token_id: int) -> Balance: ...
    async def audit(self) -> Sequence[Finding]: ...
    async def aclose(self) -> None: ...


class BatchedLedger:
    """A `Ledger` over any `Backend`.

    While the database is away a reserve or extend raises `StoreUnavailable` after 2 seconds. A settle or void stays
    queued until the database is back. Its caller is answered as soon as it is in the spool; without one it is told
    `StoreUnavailable` after 5 seconds.

    Args:
        spool: where endings are kept meanwhile, closed with the ledger.
        on_crash: what a sweep charges for holds without a mark.
        grace_seconds: how long nothing is swept after a start or an outage.
        drain_seconds: how long `aclose` waits for a database that is away before it gives the endings up.
    """

    def __init__(
        self,
        backend: Backend,
        books: Books,
        *,
        spool: Spool | None = None,
        on_crash: OnCrash = "prompt_cost",
        grace_seconds: float = GRACE_SECONDS,
        drain_seconds: float = DRAIN_SECONDS,
    ) -> None:
        self._backend = backend
        self._books = books
        self._spool = spool
        self._orphans: list[Orphan] = []
        self._replaying = asyncio.Lock()
        self._on_crash = on_crash
        self._grace_seconds = grace_seconds
        self._drain_seconds = drain_seconds
        self._lanes: list[Lane] = []  # those of the backend, and behind them that of corrections
        self._tasks: list[asyncio.Task[None]] = []
        self._reserving: dict[str, Reservation] = {}  # by key, from hand-over to answer
        self._unanswered = 0
        self._idle = asyncio.Event()
        self._ticker: asyncio.TimerHandle | None = None
        self._closing = False
        self._renewed_at: float | None = None  # by the wall clock: a machine that slept has renewed nothing, either
        self._renewals_missed_at = -math.inf
        self._started_at = math.inf

    @property
    def remind_below(self) -> Quota:
        return self._backend.remind_below

    @remind_below.setter
    def remind_below(self, quota: Quota) -> None:
        self._backend.remind_below = quota

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._closing, self._started_at = False, math.inf
        try:
            await self._backend.start()
            lanes = range(self._backend.lanes)
            runs = [partial(self._backend.run, number) for number in lanes]
            self._lanes = [Lane(run, self._deliver, self._keep, self._put_aside) for run in runs]
            self._corrections = Lane(self._correct, self._finish, self._keep, self._put_aside)
            self._reservations, self._endings = self._lanes[0], self._lanes[-1]
            self._lanes.append(self._corrections)
            self._tasks = [asyncio.create_task(lane.run(), name="oneapi_mw.ledger") for lane in self._lanes]
            await self._replay()
            self._started_at = self._loop.time()
        except Away as exc:
            await self._stop()
            raise StoreUnavailable(f"The ledger's database cannot be reached: {exc}", retry_after=1) from exc
        except BaseException:
            await self._stop()
            raise

    async def aclose(self) -> None:
        self._closing = True
        try:
            await self._drain()
        finally:
            await self._stop()

    async def _stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        try:
            await self._backend.aclose()  # before the answers: it may still be at work on a batch
            await self._keep_the_rest()
        finally:
            self._give_up()
            if self._spool is not None:
                await self._spool.aclose()
            await self._books.aclose()

    async def reserve(self, request: Reserve) -> Held | Denied:
        check_amounts(request.amount, request.fallback)
        check_key(request.key)
        loop = self._running_loop()
        if self._closing:
            raise _closed()
        if self._unanswered >= MAX_UNANSWERED:
            raise StoreUnavailable("Too many requests wait for the ledger: try again", retry_after=1)
        if self._spool is not None and self._spool.full:
            raise StoreUnavailable("Too many charges wait for the ledger's database: try again", retry_after=5)
        future: asyncio.Future[Held | Denied] = loop.create_future()
        self._submit(Reservation(request, future, loop.time() + RESERVE_PATIENCE))
        return await future

    async def extend(self, key: str, by: Quota, *, mark: Quota = 0) -> Held | Denied:
        check_amounts(by, mark)
        loop = self._running_loop()
        future: asyncio.Future[Held | Denied] = loop.create_future()
        self._submit(Extension(key, by, mark, future, loop.time() + RESERVE_PATIENCE))
        return await future

    async def settle(self, key: str, final: Quota, facts: LogFacts) -> Settled:
        check_amounts(final)
        return await self._end(key, final, facts)

    async def void(self, key: str, *, reason: str = "") -> Settled:
        if reason:
            log.debug("hold %s is voided: %s", key, reason)
        return await self._end(key, 0, None)

    async def renew(self, marks: Mapping[str, Quota]) -> None:
        check_amounts(*marks.values())
        await self._books.renew(marks)
        now = time.time()
        if self._renewed_at is not None and abs(now - self._renewed_at) >= LEASE_SECONDS:
            self._renewals_missed_at = asyncio.get_running_loop().time()
        self._renewed_at = now

    async def sweep(self, *, limit: int = 500) -> int:
        """As the interface says; but nothing for a grace after a start or an outage, and no hold whose ending is in a
        spool.

        While the database was away nobody could renew, and the workers still know what their requests cost; who
        starts does not know whether it was. The same holds when this machine stood still; whether it did, its own
        renewals tell. What dead workers knew is replayed first, before the grace and after it.
        """
        now = self._running_loop().time()
        waited_since = max(self._started_at, self._renewals_missed_at, *(lane.back_at for lane in self._lanes))
        if any(lane.away for lane in self._lanes) or now < waited_since + self._grace_seconds:
            return 0
        if self._renewed_at is not None and abs(time.time() - self._renewed_at) >= LEASE_SECONDS:
            return 0
        await self._replay()
        if self._spool is not None and self._spool.outstanding:
            return 0
        return await self._end_late(await self._books.expired(limit))

    async def expire(self, keys: Sequence[str]) -> int:
        return await self._end_late(await self._books.expired(len(keys), keys=keys)) if keys else 0

    async def _end_late(self, late: Sequence[Late]) -> int:
        if late and self._spool is not None:
            known = await self._spool.known()
            late = [hold for hold in late if hold.key not in known]
        endings = [self._end(hold.key, *hold.ending(self._on_crash)) for hold in late]
        results = await asyncio.gather(*endings, return_exceptions=True)
        for result in results:
            if isinstance(result, StoreUnavailable):
                raise result
        # what else could not be ended was logged; it must not keep the others, or a start, from going on
        return sum(isinstance(result, Settled) and result.first for result in results)

    async def _replay(self) -> None:
        """Carry out what dead workers left in files. Raises `StoreUnavailable`: the next call goes on from there."""
        if self._spool is None:
            return
        async with self._replaying:
            self._orphans += await self._spool.orphans()
            while self._orphans:
                orphan = self._orphans[0]
                while part := orphan.take(REPLAYED_AT_ONCE):
                    await self._replay_part(orphan, part)
                self._spool.finished(orphan)
                del self._orphans[0]

    async def _replay_part(self, orphan: Orphan, part: Sequence[Kept]) -> None:
        endings = []
        deadline = self._loop.time() + ENDING_PATIENCE
        for kept in part:
            ending = Ending(kept.key, kept.final, kept.facts, self._loop.create_future(), deadline)
            orphan.own(ending)
            endings.append(ending)
            self._submit(ending)
        results = await asyncio.gather(*(ending.future for ending in endings), return_exceptions=True)
        for result in results:  # whatever else went wrong is in a file beside this one
            if isinstance(result, StoreUnavailable | NotStarted):
                raise result

    async def user_balance(self, user_id: int) -> Balance:
        return await self._books.user_balance(user_id)

    async def token_balance(self, token_id: int) -> Balance:
        return await self._books.token_balance(token_id)

    async def audit(self) -> Sequence[Finding]:
        return await self._books.audit()

    async def _end(self, key: str, final: Quota, facts: LogFacts | None) -> Settled:
        loop = self._running_loop()
        future: asyncio.Future[Settled] = loop.create_future()
        self._submit(Ending(key, final, facts, future, loop.time() + ENDING_PATIENCE))
        return await future

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        if not self._lanes:
            raise _closed()
        return self._loop

    def _submit(self, operation: Operation) -> None:
        self._unanswered += 1
        self._queue(operation)
        if self._ticker is None:
            self._ticker = self._loop.call_later(TICK_SECONDS, self._tick)

    def _queue(self, operation: Operation) -> None:
        """Put `operation` into its lane, or behind the reservation of its key while that is on its way."""
        before = self._reserving.get(operation.key)
        if before is not None:
            before.followers.append(operation)
        elif isinstance(operation, Reservation):
            self._reserving[operation.key] = operation
            self._reservations.put(operation)
        else:
            self._endings.put(operation)

    def _deliver(self, operation: Operation) -> None:
        """Hand the answer to the caller; but an ending that came after a sweep is not over yet."""
        if isinstance(operation, Ending) and operation.late:
            self._corrections.put(operation)
        else:
            self._finish(operation)

    async def _correct(self, batch: Batch) -> None:
        """Rare enough for a transaction each."""
        for ending in batch.endings:
            try:
                ending.answer = await self._books.correct(ending.key, ending.final)
            except StoreUnavailable as exc:
                raise Away(str(exc)) from exc

    def _finish(self, operation: Operation) -> None:
        """Hand the answer to the caller, if it still waits."""
        operation.answered = True
        self._unanswered -= 1
        if isinstance(operation, Ending):
            if operation.file is not None:
                assert self._spool is not None
                self._spool.deliver(operation)
            elif isinstance(operation.answer, Settled) and not operation.answer.first:
                _tell_difference(operation, operation.answer)
        future, answer = operation.future, operation.answer
        if not future.done():
            if isinstance(answer, BaseException):
                future.set_exception(answer)
            else:
                future.set_result(answer)
        if isinstance(operation, Reservation):
            self._release(operation)
        if not self._unanswered:
            self._idle.set()

    def _release(self, reservation: Reservation) -> None:
        """Let go what waited for `reservation`, and take back a hold whose caller was told there is none."""
        del self._reserving[reservation.key]
        future = reservation.future
        failed = not future.cancelled() and future.exception() is not None
        unsure = failed and reservation.sent and not isinstance(reservation.answer, Denied)
        for follower in reservation.followers:
            if unsure and isinstance(follower, Reservation):
                follower.sent = True  # what there may be to take back is now its own
            self._queue(follower)
        if unsure and not reservation.followers:
            unheard: asyncio.Future[Settled] = self._loop.create_future()
            unheard.cancel()
            self._submit(Ending(reservation.key, 0, None, unheard, self._loop.time()))

    def _tick(self) -> None:
        """Tell callers whose patience has ended. One timer for all: one per operation would cost as much as it."""
        now = self._loop.time()
        for lane in self._lanes:
            lane.expire(now)
        for reservation in self._reserving.values():
            self._keep(overdue(reservation.followers, now))
            expire(reservation.followers, now)
        self._ticker = self._loop.call_later(TICK_SECONDS, self._tick) if self._unanswered else None

    def _keep(self, endings: Iterable[Ending]) -> None:
        if self._spool is not None:
            self._spool.keep(endings)

    def _put_aside(self, ending: Ending, fault: Exception) -> None:
        if self._spool is not None:
            try:
                self._spool.put_aside(ending, fault)
            except OSError as exc:
                log.error("hold %s could not be put aside, either: %s", ending.key, exc)

    async def _keep_the_rest(self) -> None:
        """Before giving up: what the database did not take goes to the disk."""
        if self._spool is not None:
            left = [operation for lane in self._lanes for operation in lane.unanswered()]
            left += [follower for reservation in self._reserving.values() for follower in reservation.followers]
            self._spool.keep(operation for operation in left if isinstance(operation, Ending))
            await self._spool.flush()

    async def _drain(self) -> None:
        if not self._unanswered:
            return
        self._idle.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._drain_seconds):
                await self._idle.wait()

    def _give_up(self) -> None:
        """Answer what is left, and name the holds that stay open for a sweep to find."""
        while left := [operation for lane in self._lanes for operation in lane.abandon()]:
            for operation in dict.fromkeys(left):  # one that waits for its correction may be in two
                if isinstance(operation, Ending) and operation.file is not None:
                    log.warning("hold %s is to be ended at %d from a file", operation.key, operation.final)
                    operation.file = None
                elif isinstance(operation, Ending) and not operation.swept:
                    log.error("hold %s was not ended at %d before shutdown", operation.key, operation.final)
                operation.answer = _closed()
                self._finish(operation)
        self._tasks, self._lanes, self._orphans = [], [], []
        if self._ticker is not None:
            self._ticker.cancel()
            self._ticker = None


def _tell_difference(ending: Ending, was: Settled) -> None:
    """An ending that comes twice is nothing to speak of, unless it says something else."""
    if was.cost != ending.final and not ending.swept:
        log.warning(
            "hold %s had ended at %d before an ending at %d, which changes nothing", was.key, was.cost, ending.final
        )


def _closed() -> NotStarted:
    return NotStarted("The ledger is not running", retry_after=1)
