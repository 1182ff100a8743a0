"""The ledger on PostgreSQL: one statement, hence one round trip, per batch, over asyncpg.

Two connections, so that a long batch of endings does not hold up reservations. Every statement locks holds by
key first, then accounts by user id and token id; nothing else may change balances in another order.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

from oneapi_mw.ids import uuid7s
from oneapi_mw.ledger import clock
from oneapi_mw.ledger.base import REMIND_BELOW, Held
from oneapi_mw.ledger.operation import AS_HELD, OPEN, SETTLED, VOID, Away, Batch, Ending, Extension, Reservation
from oneapi_mw.ledger.rows import (
    ENDED_COLUMNS,
    EVENT_COLUMNS,
    FACT_COLUMNS,
    HOLD_COLUMNS,
    NOTE_COLUMNS,
    REMIND,
    answer_ended,
    fact_row,
    hold_row,
    note_row,
    settled,
    unknown,
)
from oneapi_mw.ledger.sums import Admission, extend_holds

CONNECT_SECONDS = 5.0
COMMAND_SECONDS = 10.0
ATTEMPTS = 3  # at a batch that lost a deadlock, a serialization conflict or a race for a key

_SETTINGS = {
    # plans are made once, while tables may be small: keep those that stay right when they have grown
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "jit": "off",
    "application_name": "oneapi_mw.ledger",
}
_BIGINTS = frozenset(
    {
        "user_id", "token_id", "amount", "fallback", "group_ratio", "started_at", "lease", "final", "channel_id",
        "prompt_tokens", "completion_tokens", "cached_prompt_tokens", "elapsed_time", "by", "mark",
    }
)  # fmt: skip
_OTHER_TYPES = {"state": "smallint", "type": "smallint", "is_stream": "boolean"}


def _operations(columns: Sequence[str]) -> str:
    """The batch as a table: one array parameter per column, in order of arrival."""

    def array(position: int, column: str) -> str:
        kind = "bigint" if column in _BIGINTS else _OTHER_TYPES.get(column, "text")
        return f"${position}::{kind}[]"

    arrays = ", ".join(array(position, column) for position, column in enumerate(columns, 1))
    return f"SELECT * FROM unnest({arrays}) WITH ORDINALITY AS o({', '.join(columns)}, ord)"  # noqa: S608 -- constants


_RESERVED = (*HOLD_COLUMNS, "lease")
_RESERVE = f"""
WITH ops AS MATERIALIZED ({_operations(_RESERVED)}),
known AS MATERIALIZED (SELECT key, amount FROM billing_holds WHERE key = ANY($1)),
acct AS MATERIALIZED (
    SELECT t.id AS tid, u.id AS uid, u.quota, NOT t.unlimited_quota AS limited, t.remain_quota AS remain
    FROM tokens t JOIN users u ON u.id = t.user_id
    WHERE t.id = ANY(${_RESERVED.index("token_id") + 1}) AND u.status = 1 AND t.status = 1 AND NOT t.deleted
    ORDER BY u.id, t.id FOR UPDATE OF u, t),
asked AS (
    SELECT o.*, k.amount AS known_amount, a.*,
        sum(CASE WHEN k.key IS NULL THEN o.amount ELSE 0 END) OVER (PARTITION BY a.uid ORDER BY o.ord) AS of_user,
        sum(CASE WHEN k.key IS NULL THEN o.amount ELSE 0 END) OVER (PARTITION BY a.tid ORDER BY o.ord) AS of_token
    FROM ops o LEFT JOIN known k ON k.key = o.key
    LEFT JOIN acct a ON a.tid = o.token_id AND a.uid = o.user_id),
judged AS MATERIALIZED (
    SELECT *, known_amount IS NULL AND COALESCE(of_user <= quota AND (NOT limited OR of_token <= remain), false) AS fits
    FROM asked),
debit_users AS (
    UPDATE users u SET quota = u.quota - s.total, held = u.held + s.total
    FROM (SELECT uid, sum(amount) AS total FROM judged WHERE fits GROUP BY uid) s WHERE u.id = s.uid),
debit_tokens AS (
    UPDATE tokens t SET remain_quota = t.remain_quota - s.total
    FROM (SELECT tid, sum(amount) AS total FROM judged WHERE fits AND limited GROUP BY tid) s WHERE t.id = s.tid),
hold AS (
    INSERT INTO billing_holds ({", ".join(HOLD_COLUMNS)}, token_limited, worker, created_at, lease_until, mark, state,
        estimated)
    SELECT {", ".join(HOLD_COLUMNS)}, limited, ${len(_RESERVED) + 1}::text, ${len(_RESERVED) + 2}::bigint,
        {clock.POSTGRESQL} + lease, -1, {OPEN}, false
    FROM judged WHERE fits)
SELECT fits, known_amount, tid, uid, quota, limited, remain FROM judged ORDER BY ord
"""  # noqa: S608 -- constants

_ENDED = ("key", "state", "final", "log_id", *FACT_COLUMNS)
_NOW = f"${len(_ENDED) + 1}::bigint"  # by our clock, like every other time in the tables it fills
_REMIND_BELOW = f"${len(_ENDED) + 2}::bigint"
_END = f"""
WITH ops AS MATERIALIZED ({_operations(_ENDED)}),
open AS MATERIALIZED (
    SELECT token_id FROM billing_holds WHERE key = ANY($1) AND state = {OPEN} ORDER BY key FOR UPDATE),
acct AS MATERIALIZED (
    SELECT 1 FROM tokens t JOIN users u ON u.id = t.user_id WHERE t.id IN (SELECT token_id FROM open)
    ORDER BY u.id, t.id FOR UPDATE OF u, t),
ended AS (
    UPDATE billing_holds h SET state = o.state, channel_id = o.channel_id, estimated = o.final < 0, ended_at = {_NOW},
        final = CASE WHEN o.final >= 0 THEN o.final WHEN o.state = {VOID} THEN 0
            WHEN o.final = {AS_HELD} AND h.mark < 0 THEN h.amount ELSE greatest(h.mark, h.fallback) END,
        facts = CASE WHEN o.state = {SETTLED} THEN NULL ELSE h.facts END
    FROM ops o
    WHERE h.key = o.key AND h.state = {OPEN}
        AND (o.final >= 0 OR (h.lease_until <= {clock.POSTGRESQL} AND (o.state = {SETTLED} OR h.mark < 0)))
        AND (SELECT count(*) FROM acct) >= 0  -- locked before anything is written
    RETURNING h.user_id, h.token_id, h.token_limited, h.amount, h.final AS charged, o.*),
credit_users AS (
    UPDATE users u SET quota = u.quota + s.returned, used_quota = u.used_quota + s.charged,
        request_count = u.request_count + s.requests, held = u.held - s.held
    FROM (SELECT user_id, sum(amount - charged) AS returned, sum(charged) AS charged, sum(amount) AS held,
            count(*) FILTER (WHERE state = {SETTLED}) AS requests FROM ended GROUP BY user_id) s
    WHERE u.id = s.user_id RETURNING u.id, u.quota + u.held AS unspent, s.charged),
event AS (
    INSERT INTO billing_events ({", ".join(EVENT_COLUMNS)})
    SELECT '{REMIND}', id, unspent, {_REMIND_BELOW}, {_NOW} FROM credit_users
    WHERE unspent < {_REMIND_BELOW} AND unspent + charged >= {_REMIND_BELOW}),
credit_tokens AS (
    UPDATE tokens t SET remain_quota = t.remain_quota + s.returned, used_quota = t.used_quota + s.charged,
        accessed_time = CASE WHEN s.settled THEN greatest(t.accessed_time, {_NOW} / 1000) ELSE t.accessed_time END
    FROM (SELECT token_id, sum(CASE WHEN token_limited THEN amount - charged ELSE 0 END) AS returned,
            sum(charged) AS charged, bool_or(state = {SETTLED}) AS settled FROM ended GROUP BY token_id) s
    WHERE t.id = s.token_id),
log AS (
    INSERT INTO logs (uuid, request_id, user_id, token_id, quota, created_at, updated_at, system_prompt_reset,
        {", ".join(FACT_COLUMNS)})
    SELECT log_id, key, user_id, token_id, charged, {_NOW} / 1000, {_NOW}, false,
        {", ".join(FACT_COLUMNS)}
    FROM ended WHERE state = {SETTLED}),
outbox AS (
    INSERT INTO billing_outbox (channel_id, quota)
    SELECT channel_id, sum(charged) FROM ended WHERE state = {SETTLED} AND channel_id IS NOT NULL
    GROUP BY channel_id HAVING sum(charged) > 0)
SELECT key, charged FROM ended
"""  # noqa: S608 -- constants
_ENDED_HOLDS = f"SELECT key, {ENDED_COLUMNS} FROM billing_holds WHERE key = ANY($1::text[])"  # noqa: S608 -- constants

_OPEN_HOLDS = f"""
SELECT key, user_id, token_id, token_limited, amount FROM billing_holds
WHERE key = ANY($1::text[]) AND state = {OPEN} ORDER BY key FOR UPDATE
"""  # noqa: S608 -- constants
_ACCOUNTS = """
SELECT t.id, u.id, u.quota, NOT t.unlimited_quota, t.remain_quota FROM tokens t JOIN users u ON u.id = t.user_id
WHERE t.id = ANY($1::bigint[]) AND u.status = 1 AND t.status = 1 AND NOT t.deleted
ORDER BY u.id, t.id FOR UPDATE OF u, t
"""
_EXTEND_HOLD = "UPDATE billing_holds SET amount = amount + $2, mark = greatest(mark, $3) WHERE key = $1"
_DEBIT_USER = "UPDATE users SET quota = quota - $2, held = held + $2 WHERE id = $1"
_DEBIT_TOKEN = "UPDATE tokens SET remain_quota = remain_quota - $2 WHERE id = $1"  # noqa: S105 -- SQL
_INSERT_NOTE = f"""
INSERT INTO token_transactions ({", ".join(NOTE_COLUMNS)})
VALUES ({", ".join(f"${position}" for position in range(1, len(NOTE_COLUMNS) + 1))})
"""  # noqa: S608 -- constants


class PostgresBackend:
    """Implements `ledger.operation.Backend`. Connects again by itself after a fault.

    Args:
        worker: written into every hold, so that `renew` finds them.
        connect: arguments for `asyncpg.connect`.
    """

    lanes = 2

    def __init__(self, *, worker: str, **connect: Any) -> None:
        self.remind_below = REMIND_BELOW
        self._worker = worker
        self._connect_arguments = {
            **connect,
            "timeout": CONNECT_SECONDS,
            "command_timeout": COMMAND_SECONDS,
            "server_settings": {**_SETTINGS, **connect.get("server_settings", {})},
        }
        self._connections: list[Any] = [None] * self.lanes

    async def start(self) -> None:
        """Raises `Away`; `RuntimeError` when the extra is missing."""
        try:
            import asyncpg
        except ImportError as exc:
            raise RuntimeError("PostgreSQL needs the extra 'postgres': pip install 'oneapi-mw[postgres]'") from exc
        self._driver = asyncpg
        self._away = (
            asyncpg.PostgresConnectionError,
            asyncpg.InterfaceError,
            asyncpg.OperatorInterventionError,
            asyncpg.InsufficientResourcesError,
            asyncpg.PostgresSystemError,
            asyncpg.ReadOnlySQLTransactionError,
            asyncpg.LockNotAvailableError,
            asyncpg.IdleInTransactionSessionTimeoutError,
            asyncpg.InternalClientError,  # asked while the server says goodbye
            asyncpg.InvalidCachedStatementError,  # a table has changed
            asyncpg.InvalidSQLStatementNameError,  # a pooler has given us another session
            OSError,
            TimeoutError,
        )
        for lane in range(self.lanes):
            await self._connection(lane)

    async def aclose(self) -> None:
        for lane, connection in enumerate(self._connections):
            self._connections[lane] = None
            if connection is not None:
                try:
                    await connection.close(timeout=CONNECT_SECONDS)
                except self._away:
                    connection.terminate()

    async def run(self, lane: int, batch: Batch) -> None:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                connection = await self._connection(lane)
                await self._transact(connection, batch)
            except self._driver.TransactionRollbackError as exc:
                if attempt == ATTEMPTS:
                    raise Away(str(exc)) from exc
            except self._driver.UniqueViolationError:
                # another worker reserved one of these keys since the statement began: the next one sees its hold
                if attempt == ATTEMPTS:
                    raise
            except self._away as exc:
                self._disconnect(lane)
                raise Away(f"{type(exc).__name__}: {exc}") from exc
            else:
                return

    async def _connection(self, lane: int) -> Any:
        if self._connections[lane] is None:
            try:
                self._connections[lane] = await self._driver.connect(**self._connect_arguments)
            except (self._driver.PostgresError, *self._away) as exc:  # a wrong password can be put right, too
                raise Away(f"{type(exc).__name__}: {exc}") from exc
        return self._connections[lane]

    def _disconnect(self, lane: int) -> None:
        connection, self._connections[lane] = self._connections[lane], None
        if connection is not None:
            connection.terminate()

    async def _transact(self, connection: Any, batch: Batch) -> None:
        if batch.reservations:  # in a lane of their own
            if any(reservation.request.note is not None for reservation in batch.reservations):
                async with connection.transaction():
                    await self._reserve(connection, batch.reservations)
            else:
                await self._reserve(connection, batch.reservations)
        elif batch.endings and batch.extensions:
            async with connection.transaction():
                await self._end(connection, batch.endings)
                await self._extend(connection, batch.extensions)
        elif batch.endings:
            await self._end(connection, batch.endings)
        else:
            async with connection.transaction():
                await self._extend(connection, batch.extensions)

    async def _reserve(self, connection: Any, reservations: Sequence[Reservation]) -> None:
        """The running sum of the statement counts members that were denied before. Those that fit into what was
        left all the same are asked again, so that a batch never refuses what would have been admitted alone."""
        while reservations:
            rows = [(*hold_row(r.request), r.request.lease_seconds * 1000) for r in reservations]
            found = await connection.fetch(_RESERVE, *_columns(rows), self._worker, _now_ms())
            noted = [r.request for r, row in zip(reservations, found, strict=True) if r.request.note and row["fits"]]
            notes = [note_row(request, _now_ms()) for request in noted]
            if notes:  # rare enough for a round trip each
                await connection.executemany(_INSERT_NOTE, notes)
            reservations = _answer(reservations, found)

    async def _end(self, connection: Any, endings: list[Ending]) -> None:
        uuids = iter(uuid7s(len(endings)))
        rows = [(e.key, e.state, e.final, next(uuids), *fact_row(e.facts)) for e in endings]
        charged: dict[str, int] = dict(await connection.fetch(_END, *_columns(rows), _now_ms(), self.remind_below))
        late = {}
        for ending in endings:
            if ending.key in charged:
                ending.answer = settled(ending.key, ending.state, charged[ending.key], first=True)
            else:
                ending.answer = unknown(ending)
                late[ending.key] = ending
        if late:
            for key, *found in await connection.fetch(_ENDED_HOLDS, list(late)):
                answer_ended(late[key], *found)

    async def _extend(self, connection: Any, extensions: list[Extension]) -> None:
        """Rare enough for a round trip per step."""
        holds = await connection.fetch(_OPEN_HOLDS, [extension.key for extension in extensions])
        admission = Admission(await connection.fetch(_ACCOUNTS, list({hold["token_id"] for hold in holds})))
        changes = extend_holds(extensions, holds, admission)
        await connection.executemany(_EXTEND_HOLD, changes)
        await connection.executemany(_DEBIT_USER, admission.from_users.items())
        await connection.executemany(_DEBIT_TOKEN, admission.from_tokens.items())


def _answer(reservations: Sequence[Reservation], rows: Iterable[Any]) -> list[Reservation]:
    """Answer what is decided; returns the denied members that fit into what the admitted ones left."""
    judged = list(zip(reservations, rows, strict=True))
    admission = Admission(
        (row["tid"], row["uid"], row["quota"], row["limited"], row["remain"]) for _, row in judged if row["tid"]
    )
    denied = []
    for reservation, row in judged:
        request = reservation.request
        if row["known_amount"] is not None:
            reservation.answer = Held(request.key, row["known_amount"])
        elif row["fits"]:
            admission.take(request.user_id, request.token_id, request.amount)
            reservation.answer = Held(request.key, request.amount)
        else:
            denied.append(reservation)
    again = []
    for reservation in denied:
        request = reservation.request
        reservation.answer = admission.take(request.user_id, request.token_id, request.amount)
        if reservation.answer is None:
            again.append(reservation)
    return again


def _columns(rows: Iterable[Sequence[Any]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
