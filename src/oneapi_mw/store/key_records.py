"""What the repository of idempotency keys takes and returns."""

from __future__ import annotations

import hashlib
from dataclasses import field
from enum import IntEnum

from oneapi_mw.immutable import immutable
from oneapi_mw.store.state_records import Owner

KEPT_MS = 24 * 3600 * 1000
"""How long a key is kept after its request came."""
MOST_ANSWERS = 1000
"""Answers of one token that are kept. Of the older ones only the key is: repeating them is refused, not charged."""
CHECK_EVERY = 64
"""Answers after which a token's are counted."""


class KeyState(IntEnum):
    """States of a key's request, as they are stored."""

    RUNNING = 0
    ANSWERED = 1
    ENDED = 2
    """Without an answer that could be repeated."""


@immutable
class KeyClaim:
    """A request that wants a key."""

    fingerprint: str
    """Of everything that was asked: 64 hexadecimal digits."""
    request_id: str
    busy_seconds: float
    """How long the request may go without a hold before it is taken for lost."""


@immutable
class KeyRecord:
    """The request that has a key."""

    fingerprint: str
    request_id: str
    state: KeyState
    busy: bool
    """Whether it cannot be lost yet."""
    content: bytes | None = field(default=None, repr=False)
    """What `finish` was given."""


def key_id(owner: Owner, key: str) -> str:
    """What a key is stored by: never the same for two tokens."""
    return hashlib.sha256(f"{owner.token_id}\0{key}".encode()).hexdigest()
