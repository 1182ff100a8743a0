"""Idempotency keys in a dictionary."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from oneapi_mw.store.key_records import KEPT_MS, KeyClaim, KeyRecord, KeyState, key_id
from oneapi_mw.store.state_records import Owner

MOST_KEYS, MOST_BYTES = 100_000, 64 * 1024 * 1024
"""Of all tokens: keys, and what was answered to them. Of the oldest only the key is kept, then nothing."""


@dataclass(slots=True)
class _Key:
    claim: KeyClaim
    busy_until: float
    expires_at: float
    state: KeyState = KeyState.RUNNING
    content: bytes | None = None


class MemoryIdempotencyKeys:
    """Implements `store.base.IdempotencyKeys`. Args: clock: Unix seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._keys: OrderedDict[str, _Key] = OrderedDict()  # oldest first
        self._size = 0

    async def claim(self, owner: Owner, key: str, claim: KeyClaim) -> KeyRecord | None:
        found, now = self._keys.get(key_id(owner, key)), self._clock()
        if found is None or found.expires_at <= now:
            self._put(owner, key, claim)
            return None
        return KeyRecord(
            found.claim.fingerprint, found.claim.request_id, found.state, found.busy_until > now, found.content
        )

    async def take_over(self, owner: Owner, key: str, claim: KeyClaim, *, lost: str) -> bool:
        if self._running(owner, key, lost) is None:
            return False
        self._put(owner, key, claim)
        return True

    async def finish(self, owner: Owner, key: str, *, request_id: str, content: bytes | None) -> None:
        found = self._running(owner, key, request_id)
        if found is None:
            return
        found.state = KeyState.ENDED if content is None else KeyState.ANSWERED
        found.content = content
        self._size += len(content or b"")
        if self._size > MOST_BYTES:
            self._make_room()

    async def release(self, owner: Owner, key: str, *, request_id: str) -> None:
        if self._running(owner, key, request_id) is not None:
            self._remove(key_id(owner, key))

    async def sweep(self) -> int:
        now = self._clock()
        late = [id_ for id_, key in self._keys.items() if key.expires_at <= now]
        for id_ in late:
            self._remove(id_)
        return len(late)

    def _make_room(self) -> None:
        for key in self._keys.values():
            if key.content is not None:
                self._size -= len(key.content)
                key.state, key.content = KeyState.ENDED, None
                if self._size <= MOST_BYTES:
                    return

    def _remove(self, id_: str) -> None:
        self._size -= len(self._keys.pop(id_).content or b"")

    def _put(self, owner: Owner, key: str, claim: KeyClaim) -> None:
        now, id_ = self._clock(), key_id(owner, key)
        if id_ in self._keys:
            self._remove(id_)
        self._keys[id_] = _Key(claim, now + claim.busy_seconds, now + KEPT_MS / 1000)
        if len(self._keys) > MOST_KEYS:
            self._remove(next(iter(self._keys)))

    def _running(self, owner: Owner, key: str, request_id: str) -> _Key | None:
        found = self._keys.get(key_id(owner, key))
        if found is None or found.claim.request_id != request_id or found.state is not KeyState.RUNNING:
            return None
        return found
