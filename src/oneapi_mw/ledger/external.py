"""Holds of the external billing API: a trusted service books its own consumption on an API key."""

from __future__ import annotations

import hashlib

from oneapi_mw.ledger.base import EXTERNAL, EXTERNAL_USE, ExternalNote, LogFacts, Reserve
from oneapi_mw.ledger.limits import MAX_KEY_LENGTH
from oneapi_mw.principal import Principal
from oneapi_mw.types import Quota


def hold_key(token_id: int, transaction_id: str) -> str:
    """The key of a transaction's hold: the same one for the same id of the same API key, so that a repeated call finds
    the hold there is, and no other key ever finds it."""
    return derived_id(f"hold\0{token_id}\0{transaction_id}")


def derived_id(text: str) -> str:
    """32 hexadecimal digits made from `text`."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:MAX_KEY_LENGTH]


def external_reserve(
    principal: Principal, amount: Quota, note: ExternalNote, *, seconds: int, body_hash: str, started_at: int
) -> Reserve:
    """What to reserve. When the time is over before anybody ends it, `amount` is charged.

    Args:
        started_at: Unix milliseconds.
    """
    ended = external_facts(principal, note.transaction_id, note.reason, elapsed_ms=note.elapsed_time_ms)
    names = ("user_uuid", "username", "token_uuid", "token_name", "model_name", "content", "elapsed_time", "type")
    return Reserve(
        key=hold_key(principal.token_id, note.transaction_id),
        user_id=principal.user_id,
        token_id=principal.token_id,
        amount=amount,
        kind=EXTERNAL,
        lease_seconds=seconds,
        fallback=amount,
        started_at=started_at,
        body_hash=body_hash,
        log={
            **{name: getattr(ended, name) for name in names},
            "metadata": {"transaction_id": note.transaction_id, "auto_confirmed": True},
        },
        note=note,
    )


def external_facts(
    principal: Principal, transaction_id: str, reason: str, *, elapsed_ms: int | None = None
) -> LogFacts:
    """The log row of a transaction that was charged."""
    return LogFacts(
        user_uuid=principal.user_uuid,
        username=principal.username,
        token_uuid=principal.token_uuid,
        token_name=principal.token_name,
        model_name=reason,
        content=f"external billing: {reason}",
        elapsed_time=elapsed_ms or 0,
        metadata={"transaction_id": transaction_id},
        type=EXTERNAL_USE,
    )
