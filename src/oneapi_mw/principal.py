"""Who a request acts for: a token and the user who owns it."""

from __future__ import annotations

from enum import IntEnum

from oneapi_mw.immutable import immutable
from oneapi_mw.scope import ScopeKey


class Role(IntEnum):
    """Numbers as One API stores them."""

    GUEST = 0
    COMMON = 1
    ADMIN = 10
    ROOT = 100


class UserStatus(IntEnum):
    ENABLED = 1
    DISABLED = 2
    DELETED = 3


class TokenStatus(IntEnum):
    ENABLED = 1
    DISABLED = 2
    EXPIRED = 3
    EXHAUSTED = 4


@immutable
class Principal:
    """A token and its owner as they were when last read from the store (seconds ago at most).

    Balances are not here on purpose: only the ledger knows them.
    """

    user_id: int
    user_uuid: str
    username: str
    group: str
    role: int
    user_status: int
    token_id: int
    token_uuid: str
    token_name: str
    token_status: int
    expires_at: int = -1
    """Unix seconds; -1 is never."""
    unlimited: bool = False
    models: frozenset[str] | None = None
    """Models the token may ask for; `None` is all."""
    subnets: tuple[str, ...] = ()
    """CIDR blocks the client's address must be in; empty is anywhere."""
    channel_pin: str | None = None
    """Channel uuid or id that the key's suffix asked for."""


PRINCIPAL: ScopeKey[Principal] = ScopeKey("oneapi_mw.principal")
