"""What requests look up without asking the database: principals by API key, and all channels."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Protocol

from oneapi_mw.errors import StoreUnavailable
from oneapi_mw.principal import Principal
from oneapi_mw.routing.channel import Channel

log = logging.getLogger("oneapi_mw.store")


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheLimits:
    """Times are seconds."""

    fresh: float = 5.0
    """How long a principal is used without asking again: how late another worker's change may be seen."""
    stale: float = 60.0
    """How old a principal may be while the store does not answer. No money is at stake: the ledger asks itself."""
    unknown: float = 5.0
    """How long a key stays unknown."""
    retry: float = 1.0
    """How long a stale principal is used before the store is tried again."""
    load: float = 3.0
    """How long a look-up may take."""
    max_found: int = 50_000
    max_unknown: int = 10_000
    """Kept apart, so that a flood of random keys neither grows memory nor drives out good ones."""


@dataclass(slots=True)
class _Entry:
    principal: Principal
    fresh_until: float
    stale_until: float


class PrincipalCache:
    """Implements `store.base.Principals` over a slow look-up.

    Callers that ask for the same key at once share one look-up, which outlives those that are cancelled.

    Args:
        load: the look-up in the store.
        clock: seconds; only differences matter.
    """

    def __init__(
        self,
        *,
        load: Callable[[str], Awaitable[Principal | None]],
        limits: CacheLimits | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._secret = os.urandom(32)
        self._source = load
        self._limits = limits or CacheLimits()
        self._clock = clock
        self._found: OrderedDict[bytes, _Entry] = OrderedDict()
        self._unknown: OrderedDict[bytes, float] = OrderedDict()
        self._flights: dict[bytes, asyncio.Task[Principal | None]] = {}
        self._tasks: set[asyncio.Task[Principal | None]] = set()
        self._generation = 0

    async def find(self, key: str) -> Principal | None:
        digest, now = self._digest(key), self._clock()
        entry = self._found.get(digest)
        if entry is not None and now < entry.fresh_until:
            self._found.move_to_end(digest)
            return entry.principal
        if now < self._unknown.get(digest, now):
            return None
        flight = self._flights.get(digest)
        if flight is None:
            flight = self._start(digest, key)
        return await asyncio.shield(flight)

    def _digest(self, key: str) -> bytes:
        """What a key is remembered by: keys themselves are not kept. A quicker one than that of the database."""
        return blake2b(key.encode("utf-8", "surrogatepass"), digest_size=16, key=self._secret).digest()

    def forget_user(self, user_id: int) -> None:
        """Ask again for every key of a user."""
        self._forget([digest for digest, entry in self._found.items() if entry.principal.user_id == user_id])

    def forget_token(self, token_id: int) -> None:
        self._forget([digest for digest, entry in self._found.items() if entry.principal.token_id == token_id])

    def forget_key(self, key: str) -> None:
        """Ask again for a key that may have been unknown."""
        digest = self._digest(key)
        self._unknown.pop(digest, None)
        self._forget([digest])

    async def aclose(self) -> None:
        """Cancel look-ups that are on their way."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _forget(self, digests: Iterable[bytes]) -> None:
        for digest in digests:
            self._found.pop(digest, None)
        self._generation += 1  # what is being read now may be from before the change: it is not remembered ...
        self._flights.clear()  # ... and nobody else may join it

    def _start(self, digest: bytes, key: str) -> asyncio.Task[Principal | None]:
        flight = asyncio.create_task(self._load(digest, key), name="oneapi_mw.principal")
        self._flights[digest] = flight
        self._tasks.add(flight)

        def landed(task: asyncio.Task[Principal | None]) -> None:
            self._tasks.discard(task)
            if self._flights.get(digest) is task:
                del self._flights[digest]
            if not task.cancelled():
                task.exception()  # retrieved, even when everybody who waited was cancelled

        flight.add_done_callback(landed)
        return flight

    async def _load(self, digest: bytes, key: str) -> Principal | None:
        generation = self._generation
        try:
            async with asyncio.timeout(self._limits.load):
                principal = await self._source(key)
        except (StoreUnavailable, TimeoutError) as exc:
            entry, now = self._found.get(digest), self._clock()
            if entry is not None and now < entry.stale_until:
                entry.fresh_until = now + self._limits.retry
                return entry.principal
            if isinstance(exc, StoreUnavailable):
                raise
            raise StoreUnavailable("The database does not answer in time", retry_after=1) from exc
        if generation == self._generation:
            self._remember(digest, principal)
        return principal

    def _remember(self, digest: bytes, principal: Principal | None) -> None:
        now, limits = self._clock(), self._limits
        if principal is None:
            self._found.pop(digest, None)
            self._unknown[digest] = now + limits.unknown
            self._unknown.move_to_end(digest)
            if len(self._unknown) > limits.max_unknown:
                self._unknown.popitem(last=False)
            return
        self._unknown.pop(digest, None)
        self._found[digest] = _Entry(principal, now + limits.fresh, now + limits.stale)
        self._found.move_to_end(digest)
        if len(self._found) > limits.max_found:
            self._found.popitem(last=False)


class ChannelRows(Protocol):
    """Where a channel table is loaded from."""

    async def stamps(self) -> Mapping[int, int]:
        """Id to a number that changes with the row, for all channels."""

    async def decoded(self, ids: Sequence[int]) -> Mapping[int, Channel | ValueError]:
        """These channels; for one that cannot be read, why."""


class ChannelTable:
    """Implements `store.base.Channels`: reloads what changed, and keeps what it has when the store is away.

    A channel that cannot be read is left out and logged once per change; the others are not disturbed.
    """

    def __init__(self, rows: ChannelRows) -> None:
        self._rows = rows
        self._lock = asyncio.Lock()
        self._stamps: dict[int, int] = {}
        self._channels: dict[int, Channel] = {}
        self._snapshot: tuple[Channel, ...] = ()
        self._version = 0

    def snapshot(self) -> Sequence[Channel]:
        return self._snapshot

    def version(self) -> int:
        return self._version

    async def reload(self) -> None:
        """Take over what changed in the store. Raises `StoreUnavailable`, having changed nothing."""
        async with self._lock:
            stamps = dict(await self._rows.stamps())
            changed = [id_ for id_, stamp in stamps.items() if self._stamps.get(id_) != stamp]
            if not changed and len(stamps) == len(self._stamps):
                return
            found = await self._rows.decoded(changed) if changed else {}
            kept = {id_: channel for id_, channel in self._channels.items() if id_ in stamps and id_ not in found}
            for id_, channel in found.items():
                if isinstance(channel, Channel):
                    kept[id_] = channel
                else:
                    log.error("channel %d is left out of routing: %s", id_, channel)
            # a row that went away between the two reads is seen as gone next time
            self._stamps, self._channels = stamps, kept
            self._snapshot = tuple(kept[id_] for id_ in sorted(kept))
            self._version += 1

    async def changed(self) -> None:
        """Reload after a change of ours. The change is stored: a reload that fails now is made up for later."""
        try:
            await self.reload()
        except StoreUnavailable as exc:
            log.warning("a changed channel is not in use yet, will try again: %s", exc)
