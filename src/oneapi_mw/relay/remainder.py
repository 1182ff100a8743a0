"""Answers that outlive their clients: for providers that charge for the whole of them, hung up on or not."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from functools import partial
from typing import Any, Protocol, TypeVar

from oneapi_mw.errors import UpstreamError
from oneapi_mw.exchange import Exchange
from oneapi_mw.relay.upstream import UpstreamFault
from oneapi_mw.relay.watch import ClientGone, DisconnectWatch

log = logging.getLogger("oneapi_mw.relay")

REMAINDER_BYTES = 16 * 1024 * 1024
"""How much of an answer is read after its client has left."""


class Remainder(Protocol):
    """An answer that is not through yet."""

    async def finish(self, exchange: Exchange) -> None:
        """Read it to its end for the usage alone, at most `REMAINDER_BYTES`, and close it."""

    async def abandon(self) -> None:
        """Close it as it is."""


class Unhurried:
    """Chunks of an upstream that goes on when a reader is cancelled: the next one gets what comes.

    Cancelling whoever reads an upstream closes its connection, so a task of its own does that, for each chunk. Only
    for answers that may outlive their clients.
    """

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks
        self._reading: asyncio.Task[bytes | None] | None = None

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self._reading is None:
            self._reading = asyncio.create_task(self._read(), name="oneapi_mw.chunk")
        try:
            chunk = await asyncio.shield(self._reading)
        except UpstreamFault:
            self._reading = None
            raise
        self._reading = None
        if chunk is None:
            raise StopAsyncIteration
        return chunk

    async def _read(self) -> bytes | None:
        async for chunk in self._chunks:
            return chunk
        return None

    async def aclose(self) -> None:
        """Stop reading."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait([self._reading])


R = TypeVar("R", bound=Remainder)


async def outlive(begin: Callable[[], Coroutine[Any, Any, R]], exchange: Exchange, watch: DisconnectWatch) -> R:
    """What `begin` returns, an answer, unless the client leaves: then it goes on as a remainder of `exchange`.

    Raises: as `begin`, and `ClientGone`.
    """
    known = len(exchange.attempts)
    opening: asyncio.Task[R] | None = None
    try:
        with watch:
            opening = asyncio.create_task(begin(), name="oneapi_mw.attempt")
            return await asyncio.shield(opening)
    except ClientGone:
        sent = len(exchange.attempts) > known and exchange.attempts[-1].dispatched
        if opening is not None and not (sent and _leave(partial(_finish, opening, exchange), exchange)):
            await _abandon(opening)
        raise
    except asyncio.CancelledError:
        if opening is not None:
            await _abandon(opening)
        raise


def leave(answer: Remainder, exchange: Exchange) -> bool:
    """Leave `answer` to whoever settles `exchange`. Returns whether there is somebody; if not, close it."""
    attempt = exchange.attempts[-1]
    return attempt.outlives and _leave(partial(answer.finish, exchange), exchange)


def _leave(work: Callable[[], Coroutine[Any, Any, None]], exchange: Exchange) -> bool:
    remainders = exchange.remainders
    if remainders is None:
        return False
    if not remainders.has_room():
        log.warning(
            "request_id=%s channel=%s is cut off with its client, as too many answers are read for clients that have "
            "left: what was relayed is charged, raise DISCONNECT_DRAIN_AT_ONCE",
            exchange.request_id,
            exchange.attempts[-1].channel_id,
        )
        return False
    exchange.unfinished.append(work)
    return True


async def _finish(opening: asyncio.Task[R], exchange: Exchange) -> None:
    """Go on from where an attempt waits for its answer. When it fails there is no other: nobody waits for one."""
    attempt = exchange.attempts[-1]
    try:
        answer = await opening
    except UpstreamError as failed:
        attempt.error = failed.code
        return
    await answer.finish(exchange)


async def _abandon(opening: asyncio.Task[R]) -> None:
    opening.cancel()
    await asyncio.wait([opening])
    if not opening.cancelled() and opening.exception() is None:
        await opening.result().abandon()
