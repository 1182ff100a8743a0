"""Natural group commit for rows that many requests add.

Whatever waits is one transaction, and when that has been committed, what came meanwhile is the next. No timer and no
minimum: alone, a row goes at once. The more callers, the larger the batches, and the cost of a commit is shared.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from oneapi_mw.errors import StoreUnavailable

MAX_BATCH = 256
MAX_BATCH_BYTES = 4 * 1024 * 1024
"""A larger member goes alone."""

T = TypeVar("T")


class Gathering(Generic[T]):
    """Members on their way into the database.

    Args:
        run: carries out a batch in one transaction.
        size: bytes of a member.
    """

    def __init__(self, run: Callable[[Sequence[T]], Awaitable[None]], *, size: Callable[[T], int]) -> None:
        self._run = run
        self._size = size
        self._waiting: list[tuple[T, asyncio.Future[None]]] = []
        self._task: asyncio.Task[None] | None = None

    async def put(self, member: T) -> None:
        """Returns once `member` is committed; raises what its transaction raised.

        Whoever is cancelled while waiting may find the member committed or not.
        """
        future = asyncio.get_running_loop().create_future()
        self._waiting.append((member, future))
        if self._task is None:
            self._task = asyncio.create_task(self._drain(), name="oneapi_mw.gathering")
        await future

    async def aclose(self) -> None:
        """Wait for what is on its way."""
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    async def _drain(self) -> None:
        try:
            while self._waiting:
                batch = self._take()
                try:
                    await self._carry_out(batch)
                finally:  # cancelled: nobody must wait for ever
                    _cancel(batch)
        finally:
            self._task = None
            _cancel(self._waiting)

    def _take(self) -> list[tuple[T, asyncio.Future[None]]]:
        batch: list[tuple[T, asyncio.Future[None]]] = []
        size = taken = 0
        for member, future in self._waiting[:MAX_BATCH]:
            size += self._size(member)
            if batch and size > MAX_BATCH_BYTES:
                break
            taken += 1
            if not future.done():  # somebody still waits for it
                batch.append((member, future))
        del self._waiting[:taken]
        return batch

    async def _carry_out(self, batch: list[tuple[T, asyncio.Future[None]]]) -> None:
        if not batch:
            return
        try:
            await self._run([member for member, _ in batch])
        except StoreUnavailable as exc:
            for _, future in batch:
                _answer(future, StoreUnavailable(exc.message, retry_after=exc.retry_after))
        except Exception as exc:  # noqa: BLE001 -- one bad member must not take the others with it
            if len(batch) == 1:
                _answer(batch[0][1], exc)
                return
            for each in batch:
                await self._carry_out([each])
        else:
            for _, future in batch:
                _answer(future, None)


def _answer(future: asyncio.Future[None], fault: Exception | None) -> None:
    if future.done():
        return
    if fault is None:
        future.set_result(None)
    else:
        future.set_exception(fault)


def _cancel(members: Sequence[tuple[object, asyncio.Future[None]]]) -> None:
    for _, future in members:
        future.cancel()
