"""Password hashing: argon2id, in threads, and never so much at once that requests suffer."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from anyio import CapacityLimiter, to_thread
from pwdlib import PasswordHash
from pwdlib.exceptions import UnknownHashError
from pwdlib.hashers.argon2 import Argon2Hasher

from oneapi_mw.errors import RateLimited

MEMORY_KIB, PASSES, LANES = 47_104, 2, 1
"""One lane: a hash occupies one core, about 0.1 s. Above OWASP's minimum for argon2id (2025)."""
AT_ONCE = 2
LONGEST_QUEUE = 32

T = TypeVar("T")


def make_hasher(*, memory_kib: int = MEMORY_KIB, passes: int = PASSES) -> PasswordHash:
    """argon2id at a cost. Verifying goes by the cost a hash was made with."""
    return PasswordHash((Argon2Hasher(time_cost=passes, memory_cost=memory_kib, parallelism=LANES),))


class Argon2Passwords:
    """Implements `admin.services.Passwords`. Used in one event loop.

    Raises `RateLimited` when too many hashes wait already: a flood of logins must not take all cores.

    Args:
        at_once: threads that hash.
        queue: how many calls may wait for one of them.
    """

    def __init__(
        self, hasher: PasswordHash | None = None, *, at_once: int = AT_ONCE, queue: int = LONGEST_QUEUE
    ) -> None:
        self._hasher = hasher or make_hasher()
        self._threads = CapacityLimiter(at_once)
        self._longest = at_once + queue
        self._inside = 0

    async def hash(self, password: str) -> str:
        """A salted hash in argon2's own text form."""
        return await self._in_thread(lambda: self._hasher.hash(_bytes(password)))

    async def verify(self, password: str, hashed: str) -> bool:
        """Whether `password` is the one `hashed` was made from; `False` for text that is no hash of ours."""
        return await self._in_thread(lambda: _verify(self._hasher, password, hashed))

    async def _in_thread(self, work: Callable[[], T]) -> T:
        if self._inside >= self._longest:
            raise RateLimited("Too many passwords are being checked: try again in a moment", retry_after=1)
        self._inside += 1
        try:
            return await to_thread.run_sync(work, limiter=self._threads)
        finally:
            self._inside -= 1


async def hash_password(password: str) -> str:
    """One hash, off the event loop."""
    return await Argon2Passwords().hash(password)


async def verify_password(password: str, hashed: str) -> bool:
    """One verification, off the event loop."""
    return await Argon2Passwords().verify(password, hashed)


def _verify(hasher: PasswordHash, password: str, hashed: str) -> bool:
    try:
        return hasher.verify(_bytes(password), hashed)
    except UnknownHashError:
        return False


def _bytes(password: str) -> bytes:
    return password.encode("utf-8", "surrogatepass")
