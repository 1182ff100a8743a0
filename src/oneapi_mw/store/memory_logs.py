"""Log rows and costs, as a ledger in memory knows them."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from operator import attrgetter

from oneapi_mw.ids import uuid7, uuid_of
from oneapi_mw.ledger.base import EXTERNAL
from oneapi_mw.ledger.memory import Correction, LogEntry, MemoryLedger
from oneapi_mw.ledger.rows import correction_remark
from oneapi_mw.store.base import UserRepository
from oneapi_mw.store.entries import LOG_TYPES
from oneapi_mw.store.records import CostRecord, LogFilter, LogRecord, Page, UserRecord
from oneapi_mw.store.search import LOG_SORTS, as_uuid, check_sort
from oneapi_mw.types import Quota

REMEMBER_CREDITS = 100_000
"""Log rows of credits that are kept."""


class MemoryLogs:
    """Implements `store.base.LogRepository` over what the ledger has settled and the users were credited."""

    def __init__(self, ledger: MemoryLedger, credits: deque[LogRecord], users: UserRepository) -> None:
        self._ledger = ledger
        self._credits = credits
        self._users = users

    async def list(self, where: LogFilter, page: Page) -> tuple[list[LogRecord], int]:
        column = check_sort(page, LOG_SORTS)
        corrected = [await self._correction_row(each) for each in self._ledger.corrections if each.amount]
        rows = [*map(_consume_row, self._ledger.log), *corrected, *self._credits]
        rows.sort(key=attrgetter("updated_at"))
        rows = [row for row in rows if _matches(row, where)]
        if page.descending:
            rows.reverse()
        if column != "id":  # stable: equal rows stay in the order of their making
            rows.sort(key=attrgetter(column), reverse=page.descending)
        return rows[page.offset : page.offset + page.limit], len(rows)

    async def _correction_row(self, correction: Correction) -> LogRecord:
        user = await self._users.get_by_id(correction.user_id)
        assert user is not None, "rows of users stay"
        says = correction_remark(correction.key, correction.estimate, correction.cost)
        now = int(correction.created_at * 1000)
        row = credit_row(user, correction.amount, LOG_TYPES["adjust"], says, now)
        return replace(row, uuid=correction.uuid, request_id=correction.key)


class MemoryCosts:
    """Implements `store.base.CostRepository` over the ledger's holds."""

    def __init__(self, ledger: MemoryLedger, users: UserRepository) -> None:
        self._ledger = ledger
        self._users = users

    async def get(self, request_id: str) -> CostRecord | None:
        hold = self._ledger.holds.get(request_id)
        if hold is None:
            return None
        user = await self._users.get_by_id(hold.request.user_id)
        entry = hold.entry
        correction = hold.correction
        state, quota = ("pending", hold.amount) if hold.state == "open" else ("void", 0)
        if entry is not None:
            state, quota = "final", entry.quota
        ended_at = hold.created_at if hold.ended_at is None else hold.ended_at
        if correction is not None:
            ended_at = correction.created_at
            if correction.amount:
                state, quota = "final", quota - correction.amount
        return CostRecord(
            uuid=uuid_of(request_id),
            request_id=request_id,
            user_uuid="" if user is None else user.uuid,
            quota=quota,
            state=state,
            estimated=hold.estimated and correction is None,
            created_time=int(hold.created_at),
            created_at=int(hold.created_at * 1000),
            updated_at=int(ended_at * 1000),
            guessable=hold.request.kind == EXTERNAL,
            adjusted=0 if correction is None else correction.amount,
        )


def _matches(row: LogRecord, where: LogFilter) -> bool:
    equal = (
        (where.type, row.type),
        (where.username, row.username),
        (where.token_name, row.token_name),
        (where.model_name, row.model_name),
        (where.channel_uuid, row.channel_uuid),
    )
    uuid = as_uuid(where.keyword)
    return (
        where.user_id in (None, row.user_id)
        and where.token_id in (None, row.token_id)
        and all(wanted in (0, "", value) for wanted, value in equal)
        and row.created_at >= where.start
        and (not where.end or row.created_at <= where.end)
        and (
            uuid in (row.uuid, row.user_uuid, row.token_uuid, row.channel_uuid)
            if uuid
            else where.keyword in row.content
        )
    )


def _consume_row(entry: LogEntry) -> LogRecord:
    facts = entry.facts
    return LogRecord(
        uuid=entry.uuid,
        user_id=entry.user_id,
        user_uuid=facts.user_uuid,
        token_id=entry.token_id,
        token_uuid=facts.token_uuid,
        channel_uuid=facts.channel_uuid,
        channel_name=facts.channel_name,
        created_at=int(entry.created_at),
        type=facts.type,
        content=facts.content,
        username=facts.username,
        token_name=facts.token_name,
        model_name=facts.model_name,
        origin_model_name=facts.origin_model_name,
        quota=entry.quota,
        prompt_tokens=facts.prompt_tokens,
        completion_tokens=facts.completion_tokens,
        cached_prompt_tokens=facts.cached_prompt_tokens,
        request_id=entry.key,
        trace_id=facts.trace_id,
        elapsed_time=facts.elapsed_time,
        is_stream=facts.is_stream,
        system_prompt_reset=False,
        metadata=dict(facts.metadata) if facts.metadata else None,
        updated_at=int(entry.created_at * 1000),
    )


def credit_row(user: UserRecord, amount: Quota, kind: int, remark: str, now: int) -> LogRecord:
    return LogRecord(
        uuid=uuid7(),
        user_id=user.id,
        user_uuid=user.uuid,
        token_id=None,
        token_uuid=None,
        channel_uuid=None,
        channel_name="",
        created_at=now // 1000,
        type=kind,
        content=remark,
        username=user.username,
        token_name="",
        model_name="",
        origin_model_name="",
        quota=amount,
        prompt_tokens=0,
        completion_tokens=0,
        cached_prompt_tokens=0,
        request_id="",
        trace_id="",
        elapsed_time=0,
        is_stream=False,
        system_prompt_reset=False,
        metadata=None,
        updated_at=now,
    )
