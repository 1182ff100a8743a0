"""What the rate-limit stage needs of a limiter."""

from __future__ import annotations

from typing import Protocol

from oneapi_mw.immutable import immutable


@immutable
class Verdict:
    """What a limiter says of one request."""

    allowed: bool
    limit: int
    """Requests per window."""
    remaining: int
    reset_after: float
    """Seconds until the window is empty again."""
    retry_after: float = 0.0
    """Seconds until the next request is allowed; 0 when this one was."""


class Limiter(Protocol):
    async def take(self, key: str) -> Verdict:
        """Count one request of `key`, unless it is over the limit."""
