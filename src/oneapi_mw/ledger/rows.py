"""Rows of the ledger's tables, as every SQL backend writes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from typing import Any, TypeAlias

from oneapi_mw import jsontext
from oneapi_mw.ids import uuid7
from oneapi_mw.ledger.base import CONSUMED, EXTERNAL, LogFacts, Reserve, Settled
from oneapi_mw.ledger.operation import SETTLED, VOID, Ending
from oneapi_mw.types import Quota

REMIND = "quota_remind"
"""`billing_events.kind` of a balance that fell below the threshold."""

HOLD_COLUMNS = (
    "key", "kind", "user_id", "token_id", "amount", "fallback", "card_id", "group_ratio", "started_at",
    "body_hash", "facts",
)  # fmt: skip
"""What a reservation itself says about its hold; the backend adds `token_limited`, worker, lease and time."""

FACT_COLUMNS = (
    "user_uuid", "token_uuid", "channel_id", "channel_uuid", "channel_name", "content", "username", "token_name",
    "model_name", "origin_model_name", "prompt_tokens", "completion_tokens", "cached_prompt_tokens", "trace_id",
    "elapsed_time", "is_stream", "metadata", "type",
)  # fmt: skip
"""What `LogFacts` says in a log row; the backend adds key, accounts, quota and time."""

NOTE_COLUMNS = (
    "hold_key", "uuid", "transaction_id", "token_id", "token_uuid", "user_id", "user_uuid", "reason", "request_id",
    "trace_id", "elapsed_time_ms", "created_at",
)  # fmt: skip
"""The columns of `token_transactions`."""
EVENT_COLUMNS = ("kind", "user_id", "quota", "threshold", "created_at")
"""The columns of `billing_events` that a settlement writes."""

ENDED_COLUMNS = f"state, final, estimated AND kind <> '{EXTERNAL}'"
"""What `answer_ended` has to know of a hold: what the time of an external one is up at was agreed, and no estimate."""

HoldRow: TypeAlias = tuple[Any, ...]
FactRow: TypeAlias = tuple[Any, ...]
NoteRow: TypeAlias = tuple[Any, ...]
EventRow: TypeAlias = tuple[str, int, int, int, int]

_MAX_COUNT = 2**53
_FACT_NAMES = frozenset(field.name for field in fields(LogFacts))
_NO_FACTS: FactRow = ("", "", None, None, "", "", "", "", "", "", 0, 0, 0, "", 0, False, None, CONSUMED)


def hold_row(request: Reserve) -> HoldRow:
    return (
        request.key,
        request.kind,
        request.user_id,
        request.token_id,
        request.amount,
        request.fallback,
        request.card_id[:64],
        request.group_ratio,
        request.started_at,
        request.body_hash,
        _json(request.log) if request.log else None,
    )


def fact_row(facts: LogFacts | None) -> FactRow:
    """The columns of `FACT_COLUMNS`, cut to the lengths the tables have: a long name must not undo a charge."""
    if facts is None:
        return _NO_FACTS
    return (
        facts.user_uuid[:36],
        facts.token_uuid[:36],
        facts.channel_id,
        facts.channel_uuid,
        facts.channel_name[:255],
        facts.content,
        facts.username[:64],
        facts.token_name[:255],
        facts.model_name[:255],
        facts.origin_model_name[:255],
        facts.prompt_tokens,
        facts.completion_tokens,
        facts.cached_prompt_tokens,
        facts.trace_id[:64],
        facts.elapsed_time,
        facts.is_stream,
        _json(facts.metadata) if facts.metadata else None,
        facts.type,
    )


def note_row(request: Reserve, created_at: int) -> NoteRow:
    """The columns of `NOTE_COLUMNS`, for a request that has a note."""
    note = request.note
    assert note is not None, "only external holds have a note"
    return (
        request.key,
        uuid7(),
        note.transaction_id,
        request.token_id,
        note.token_uuid,
        request.user_id,
        note.user_uuid,
        note.reason,
        note.request_id[:32],
        note.trace_id[:64],
        note.elapsed_time_ms,
        created_at,
    )


def event_rows(
    unspent: Iterable[tuple[int, int]], charged: Mapping[int, int], threshold: int, created_at: int
) -> list[EventRow]:
    """The rows of `EVENT_COLUMNS` for users who fell below `threshold`.

    Args:
        unspent: (user id, what is not spent after the batch).
        charged: what the batch took, by user id.
    """
    return [
        (REMIND, user_id, left, threshold, created_at)
        for user_id, left in unspent
        if left < threshold <= left + charged[user_id]
    ]


def plain(facts: LogFacts) -> LogFacts:
    """`facts` without what a database may refuse: NUL, lone surrogates, counts past 53 bits, odd metadata.

    Only used after a row was refused: the charge matters more than the exact text beside it.
    """
    changes: dict[str, Any] = {"metadata": None}
    for field in fields(LogFacts):
        value = getattr(facts, field.name)
        if isinstance(value, str):
            changes[field.name] = value.replace("\x00", "").encode("utf-8", "replace").decode()
        elif isinstance(value, int) and not isinstance(value, bool):
            changes[field.name] = min(max(value, 0), _MAX_COUNT)
    return replace(facts, **changes)


def stored_facts(text: str | None) -> LogFacts:
    """The log facts in `billing_holds.facts`, for a hold that its worker could not end."""
    return estimated_facts(jsontext.loads(text.encode()) if text else {})


def estimated_facts(noted: Mapping[str, Any]) -> LogFacts:
    """Log facts of a sweep from what was noted at admission (`Reserve.log`)."""
    known = {name: value for name, value in noted.items() if name in _FACT_NAMES}
    unless_noted = {"content": "estimated: the worker was lost", "metadata": {"usage_source": "estimated"}}
    return LogFacts(**{**unless_noted, **known})


def correction_remark(key: str, estimate: Quota, cost: Quota) -> str:
    """What a user reads about a request that a sweep had ended."""
    return f"request {key}: {estimate} was charged by estimate, it cost {cost}"


def settled(key: str, state: int, final: int | None, *, first: bool) -> Settled:
    """The answer to an ending, from its hold row."""
    if state == SETTLED:
        return Settled(key, "settled", final or 0, first)
    return Settled(key, "void" if state == VOID else "open", 0, first)


def answer_ended(ending: Ending, state: int, final: int | None, estimated: object) -> None:
    """Answer an ending whose hold had ended before, from the `ENDED_COLUMNS` of its row."""
    ending.answer = settled(ending.key, state, final, first=False)
    ending.late = bool(estimated) and not ending.swept


def unknown(ending: Ending) -> Settled | KeyError:
    """The answer to an ending whose key was never reserved."""
    return KeyError(ending.key) if ending.state == SETTLED else Settled(ending.key, "void", 0, False)


def _json(value: Any) -> str:
    return jsontext.dumps(value).decode()
