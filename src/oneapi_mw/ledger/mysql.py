"""The ledger on MySQL 8 and MariaDB, over asyncmy: two packets, hence two round trips, per batch.

There is no UPDATE .. RETURNING, so a batch reads its rows under lock, sums in the client, and writes. Locks are
taken on holds by key, then users by id, then tokens by id, each in a statement of its own: within one statement
InnoDB locks rows as it happens to read them, which only along one primary key is a known order.
"""

# ruff: noqa: S608 -- every value that gets into a statement goes through `_Transaction._literal`
from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from oneapi_mw.ids import uuid7s
from oneapi_mw.ledger import clock
from oneapi_mw.ledger.base import REMIND_BELOW, Held
from oneapi_mw.ledger.operation import OPEN, SETTLED, Away, Batch, Ending, Extension, Reservation
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
from oneapi_mw.ledger.sums import Admission, Endings, extend_holds
from oneapi_mw.types import Quota

CONNECT_SECONDS = 5.0
COMMAND_SECONDS = 10.0
ATTEMPTS = 3  # at a batch that lost a deadlock

_LOST_CONFLICT = frozenset({1205, 1213})  # lock wait timeout, deadlock
_SERVER_ERRORS_AWAY = frozenset(
    {
        1021, 1026, 1030, 1037, 1038, 1040, 1041, 1053, 1114, 1129, 1158, 1159, 1160, 1161, 1203, 1226, 1290, 1317,
        1836, 1927, 1969, 3024, 4031,
    }
)  # fmt: skip
"""No memory, no room on its disk, too many connections, no time left, read-only, shutting down."""
_CLIENT_ERRORS = range(2000, 3000)  # cannot connect, connection lost, ...

_HOLD_COLUMNS = (
    ", ".join(f"`{column}`" for column in HOLD_COLUMNS)
    + ", token_limited, worker, created_at, lease_until, mark, state, estimated"
)
_LOG_COLUMNS = "uuid, request_id, user_id, token_id, quota, created_at, updated_at, system_prompt_reset, " + ", ".join(
    FACT_COLUMNS
)

_Row: TypeAlias = Sequence[Any]
_Rows: TypeAlias = Sequence[Any]
_Ended: TypeAlias = tuple[Ending, int, int, Quota]
"""What ended, its user and token, and the charge."""


class MysqlBackend:
    """Implements `ledger.operation.Backend`. Connects again by itself after a fault.

    Args:
        worker: written into every hold, so that `renew` finds them.
        connect: arguments for `asyncmy.connect`.
    """

    lanes = 2

    def __init__(self, *, worker: str, **connect: Any) -> None:
        self.remind_below = REMIND_BELOW
        self._worker = worker
        self._connect_arguments = connect
        self._connections: list[Any] = [None] * self.lanes

    async def start(self) -> None:
        """Raises `Away`; `RuntimeError` when the extra is missing."""
        try:
            import asyncmy
            from asyncmy.constants import CLIENT
        except ImportError as exc:
            raise RuntimeError("MySQL needs the extra 'mysql': pip install 'oneapi-mw[mysql]'") from exc
        self._driver = asyncmy
        self._connect_arguments["client_flag"] = CLIENT.MULTI_STATEMENTS
        self._faults = (asyncmy.errors.MySQLError, OSError, TimeoutError, EOFError)
        for lane in range(self.lanes):
            await self._connection(lane)

    async def aclose(self) -> None:
        for lane, connection in enumerate(self._connections):
            self._connections[lane] = None
            if connection is not None:
                try:
                    async with asyncio.timeout(CONNECT_SECONDS):
                        await connection.ensure_closed()
                except self._faults:
                    connection.close()

    async def run(self, lane: int, batch: Batch) -> None:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                async with asyncio.timeout(COMMAND_SECONDS):
                    await _Transaction(await self._connection(lane), self._worker, self.remind_below).run(batch)
            except self._faults as exc:
                # a fresh connection is the surest way to leave a half-finished transaction
                self._disconnect(lane)
                code = exc.args[0] if isinstance(exc, self._driver.errors.MySQLError) and exc.args else None
                if code in _LOST_CONFLICT and attempt < ATTEMPTS:
                    continue
                if _is_away(exc, code):
                    raise Away(f"{type(exc).__name__}: {exc}") from exc
                raise
            except Away:
                raise
            except BaseException:
                self._disconnect(lane)
                raise
            else:
                return

    async def _connection(self, lane: int) -> Any:
        if self._connections[lane] is None:
            try:
                self._connections[lane] = await self._driver.connect(
                    **self._connect_arguments,
                    connect_timeout=CONNECT_SECONDS,
                    charset="utf8mb4",
                    autocommit=True,
                    sql_mode="'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'",  # the driver does not quote it
                    init_command="SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
                )
            except self._faults as exc:  # a wrong password can be put right, too
                raise Away(f"{type(exc).__name__}: {exc}") from exc
        return self._connections[lane]

    def _disconnect(self, lane: int) -> None:
        connection, self._connections[lane] = self._connections[lane], None
        if connection is not None:
            connection.close()


def _is_away(exc: Exception, code: object) -> bool:
    if not isinstance(code, int):
        return True
    return code in _CLIENT_ERRORS or code in _SERVER_ERRORS_AWAY or code in _LOST_CONFLICT


class _Transaction:
    """One batch. Statements whose result nobody needs travel with the next one that is read."""

    def __init__(self, connection: Any, worker: str, remind_below: Quota) -> None:
        self._connection = connection
        self._remind_below = remind_below
        self._escape = connection.escape
        self._worker = worker
        self._pending = ["START TRANSACTION"]
        self._now_ms = time.time_ns() // 1_000_000  # of all of it: log rows are found by the time of their hold

    async def run(self, batch: Batch) -> None:
        if batch.endings:
            await self._end(batch.endings)
        if batch.extensions:
            await self._extend(batch.extensions)
        if batch.reservations:
            await self._reserve(batch.reservations)
        await self._read("COMMIT")

    async def _end(self, endings: list[Ending]) -> None:
        by_key = {ending.key: ending for ending in endings}
        (held,) = await self._read(
            "SELECT `key`, user_id, token_id, token_limited, amount, mark, fallback, "
            f"lease_until <= {clock.MYSQL} FROM billing_holds FORCE INDEX (PRIMARY) "
            f"WHERE `key` IN {self._tuple(by_key)} AND state = {OPEN} ORDER BY `key` FOR UPDATE"
        )
        sums, ended = Endings(), list[_Ended]()
        for key, user_id, token_id, limited, amount, mark, fallback, late in held:
            ending = by_key[key]
            final: Quota | None = ending.final
            if ending.swept:
                final = ending.estimate(amount=amount, mark=mark, fallback=fallback) if late else None
            if final is None:
                continue
            sums.add(ending, user_id, token_id, limited=bool(limited), amount=amount, final=final)
            ended.append((by_key.pop(key), user_id, token_id, final))
        if by_key:
            await self._answer_ended(by_key)
        if ended:
            self._end_holds(ended)
            self._record(ended)
            self._credit(sums)

    async def _answer_ended(self, endings: dict[str, Ending]) -> None:
        """The stored result for holds that had ended before, or never were."""
        for ending in endings.values():
            ending.answer = unknown(ending)
        (rows,) = await self._read(
            f"SELECT `key`, {ENDED_COLUMNS} FROM billing_holds WHERE `key` IN {self._tuple(endings)}"
        )
        for key, *found in rows:
            answer_ended(endings[key], *found)

    def _end_holds(self, ended: Sequence[_Ended]) -> None:
        states = {ending.key: ending.state for ending, *_ in ended}
        finals = {ending.key: final for ending, _, _, final in ended}
        estimated = {ending.key: int(ending.swept) for ending, *_ in ended}
        channels = {e.key: e.facts.channel_id for e, *_ in ended if e.facts is not None}
        self._pending.append(  # assigned from left to right: `facts` goes by the new state
            f"UPDATE billing_holds SET state = {self._case('`key`', states)}, final = {self._case('`key`', finals)}, "
            f"estimated = {self._case('`key`', estimated)}, channel_id = {self._case('`key`', channels, 'NULL')}, "
            f"ended_at = {self._now_ms}, "
            f"facts = CASE state WHEN {SETTLED} THEN NULL ELSE facts END WHERE `key` IN {self._tuple(states)}"
        )

    def _record(self, ended: Sequence[_Ended]) -> None:
        """Log rows of what was settled."""
        now_ms, now = self._now_ms, self._now_ms // 1000
        logs, uuids = list[_Row](), iter(uuid7s(len(ended)))
        for ending, user_id, token_id, final in ended:
            key, facts = ending.key, ending.facts
            ending.answer = settled(key, ending.state, final, first=True)
            if facts is not None:
                logs.append((next(uuids), key, user_id, token_id, final, now, now_ms, 0, *fact_row(facts)))
        self._insert("logs", _LOG_COLUMNS, logs)

    def _credit(self, sums: Endings) -> None:
        now = int(time.time())
        users, tokens = sums.users.items(), sums.tokens.items()
        self._pending.append(
            f"UPDATE users SET quota = quota + {self._case('id', {key: sum_[0] for key, sum_ in users})}, "
            f"used_quota = used_quota + {self._case('id', {key: sum_[1] for key, sum_ in users})}, "
            f"request_count = request_count + {self._case('id', {key: sum_[2] for key, sum_ in users})}, "
            f"held = held - {self._case('id', {key: sum_[3] for key, sum_ in users})} "
            f"WHERE id IN {self._tuple(sums.users)}"
        )
        self._remind(sums)
        accessed = {key: now if sum_[2] else 0 for key, sum_ in tokens}
        self._pending.append(
            f"UPDATE tokens SET remain_quota = remain_quota + {self._case('id', {k: sum_[0] for k, sum_ in tokens})}, "
            f"used_quota = used_quota + {self._case('id', {key: sum_[1] for key, sum_ in tokens})}, "
            f"accessed_time = GREATEST(accessed_time, {self._case('id', accessed)}) "
            f"WHERE id IN {self._tuple(sums.tokens)}"
        )
        self._insert("billing_outbox", "channel_id, quota", list(sums.channels.items()))

    def _remind(self, sums: Endings) -> None:
        """Events for the users who fell below the threshold, read where they were just written: no trip for it."""
        below, now_ms = self._remind_below, time.time_ns() // 1_000_000
        charged = {user_id: quota for user_id, quota in sums.charged.items() if quota}
        if charged:
            self._pending.append(
                f"INSERT INTO billing_events ({', '.join(EVENT_COLUMNS)}) "
                f"SELECT '{REMIND}', id, quota + held, {below:d}, {now_ms} FROM users FORCE INDEX (PRIMARY) "
                f"WHERE id IN {self._tuple(charged)} AND quota + held < {below:d} "
                f"AND quota + held + {self._case('id', charged)} >= {below:d}"
            )

    async def _extend(self, extensions: list[Extension]) -> None:
        keys = self._tuple(extension.key for extension in extensions)
        (holds,) = await self._read(
            "SELECT `key`, user_id, token_id, token_limited, amount FROM billing_holds FORCE INDEX (PRIMARY) "
            f"WHERE `key` IN {keys} AND state = {OPEN} ORDER BY `key` FOR UPDATE"
        )
        (rows,) = await self._read_accounts({hold[1] for hold in holds}, {hold[2] for hold in holds})
        admission = Admission(rows)
        changes = extend_holds(extensions, holds, admission)
        if changes:
            added = self._case("`key`", {key: by for key, by, _ in changes})
            marks = self._case("`key`", {key: mark for key, _, mark in changes})
            self._pending.append(
                f"UPDATE billing_holds SET amount = amount + {added}, mark = GREATEST(mark, {marks}) "
                f"WHERE `key` IN {self._tuple(key for key, _, _ in changes)}"
            )
            self._debit(admission)

    async def _reserve(self, reservations: list[Reservation]) -> None:
        requests = [reservation.request for reservation in reservations]
        rows, held = await self._read_accounts(
            {request.user_id for request in requests},
            {request.token_id for request in requests},
            f"SELECT `key`, amount FROM billing_holds WHERE `key` IN {self._tuple(r.key for r in requests)}",
        )
        admission, known, holds, notes = Admission(rows), dict[str, Quota](held), list[_Row](), list[_Row]()
        now_ms = time.time_ns() // 1_000_000
        for reservation in reservations:
            key, request = reservation.key, reservation.request
            if key in known:
                reservation.answer = Held(key, known[key])
                continue
            denied = admission.take(request.user_id, request.token_id, request.amount)
            reservation.answer = denied or Held(key, request.amount)
            if denied is None:
                limited, lease = int(admission.limited(request.token_id)), request.lease_seconds * 1000
                lease_until = _Sql(f"{clock.MYSQL} + {lease:d}")
                holds.append((*hold_row(request), limited, self._worker, now_ms, lease_until, -1, OPEN, 0))
                if request.note is not None:
                    notes.append(note_row(request, now_ms))
        self._debit(admission)
        self._insert("billing_holds", _HOLD_COLUMNS, holds)
        self._insert("token_transactions", ", ".join(NOTE_COLUMNS), notes)

    async def _read_accounts(self, user_ids: Iterable[int], token_ids: Iterable[int], *more: str) -> list[_Rows]:
        """Lock the accounts and read those that may spend, as rows for `Admission`; then what `more` reads."""
        users, tokens, *others = await self._read(
            "SELECT id, quota, status FROM users FORCE INDEX (PRIMARY) "
            f"WHERE id IN {self._tuple(user_ids)} ORDER BY id FOR UPDATE",
            "SELECT id, user_id, unlimited_quota, remain_quota, status, deleted FROM tokens FORCE INDEX (PRIMARY) "
            f"WHERE id IN {self._tuple(token_ids)} ORDER BY id FOR UPDATE",
            *more,
        )
        quota = {user_id: quota for user_id, quota, status in users if status == 1}
        accounts = [
            (token_id, user_id, quota[user_id], not unlimited, remain)
            for token_id, user_id, unlimited, remain, status, deleted in tokens
            if status == 1 and not deleted and user_id in quota
        ]
        return [accounts, *others]

    def _debit(self, admission: Admission) -> None:
        users, tokens = admission.from_users, admission.from_tokens
        if users:
            taken = self._case("id", users)
            self._pending.append(
                f"UPDATE users SET quota = quota - {taken}, held = held + {taken} WHERE id IN {self._tuple(users)}"
            )
        if tokens:
            left = f"remain_quota - {self._case('id', tokens)}"
            self._pending.append(f"UPDATE tokens SET remain_quota = {left} WHERE id IN {self._tuple(tokens)}")

    async def _read(self, *statements: str) -> list[_Rows]:
        """Send what is pending and `statements` in one packet; returns the rows of each of `statements`."""
        packet = [*self._pending, *statements]
        self._pending = []
        async with self._connection.cursor() as cursor:
            await cursor.execute(";\n".join(packet))
            results: list[_Rows] = [await cursor.fetchall()]
            while await cursor.nextset():
                results.append(await cursor.fetchall())
        return results[-len(statements) :]

    def _insert(self, table: str, columns: str, rows: Iterable[_Row]) -> None:
        values = ", ".join(map(self._tuple, rows))
        if values:
            self._pending.append(f"INSERT INTO {table} ({columns}) VALUES {values}")

    def _tuple(self, values: Iterable[Any]) -> str:
        """`values` as a list of literals; one NULL, which equals nothing, when there are none."""
        return f"({', '.join(map(self._literal, values)) or 'NULL'})"

    def _case(self, column: str, values: Mapping[Any, Any], otherwise: str = "0") -> str:
        """An expression that picks the value by `column`."""
        if not values:
            return otherwise
        cases = " ".join(f"WHEN {self._literal(key)} THEN {self._literal(value)}" for key, value in values.items())
        return f"CASE {column} {cases} ELSE {otherwise} END"

    def _literal(self, value: Any) -> str:
        if isinstance(value, _Sql):
            return value.text
        if isinstance(value, int):
            return str(int(value))
        literal: str = self._escape(value)
        return literal


class _Sql:
    """An expression among values."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text
