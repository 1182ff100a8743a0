"""The ledger on SQLite: one writer thread, one connection, one transaction per batch.

Set statements with many rows each: the interpreter lock is given up and taken back for every step of a
statement, so a batch must take few steps, or a busy event loop would be waited for at each of them.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import lru_cache
from itertools import chain
from typing import Any, TypeAlias

from oneapi_mw.ids import uuid7s
from oneapi_mw.ledger import clock
from oneapi_mw.ledger.base import REMIND_BELOW, Held
from oneapi_mw.ledger.operation import SETTLED, Away, Batch, Ending, Extension, Reservation
from oneapi_mw.ledger.rows import (
    EVENT_COLUMNS,
    FACT_COLUMNS,
    HOLD_COLUMNS,
    NOTE_COLUMNS,
    event_rows,
    fact_row,
    hold_row,
    note_row,
    settled,
    unknown,
)
from oneapi_mw.ledger.sums import Admission, Endings, extend_holds

OLDEST_SQLITE = (3, 35, 0)  # RETURNING
BUSY_SECONDS = 5.0
MAX_ROWS = 64
"""Rows of one statement: their values stay below SQLite's limit of 32,766 parameters."""
_PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", "wal_autocheckpoint=4000", "temp_store=MEMORY", "cache_size=-16000")

_AWAY = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PROTOCOL,
    }
)

# {rows} is one parenthesis of parameters per row. Rows of a read or an update may be padded with NULLs, which match
# nothing; those of an INSERT may not. OR FAIL spares SQLite a copy of every page a statement touches, which it would
# need to undo that statement alone; we undo the whole transaction.

_END_HOLDS = f"""
WITH v(k, s, f, c, t) AS (VALUES {{rows}})
UPDATE OR FAIL billing_holds SET state = v.s, channel_id = v.c, estimated = v.f < 0, ended_at = v.t,
    final = CASE WHEN v.f < 0 THEN max(mark, fallback) ELSE v.f END,
    facts = CASE WHEN v.s = {SETTLED} THEN NULL ELSE facts END
FROM v WHERE key = v.k AND state = 0 AND (v.f >= 0 OR lease_until <= {clock.SQLITE})
RETURNING key, user_id, token_id, token_limited, amount, final
"""  # noqa: S608 -- constants
_ENDED_HOLDS = "SELECT key, state, final FROM billing_holds WHERE key IN (VALUES {rows})"
_CREDIT_USERS = """
WITH v(i, a, f, n, h) AS (VALUES {rows})
UPDATE OR FAIL users SET quota = quota + v.a, used_quota = used_quota + v.f, request_count = request_count + v.n,
    held = held - v.h
FROM v WHERE id = v.i
RETURNING id, quota + held
"""
_CREDIT_TOKENS = """
WITH v(i, a, f, t) AS (VALUES {rows})
UPDATE OR FAIL tokens SET remain_quota = remain_quota + v.a, used_quota = used_quota + v.f,
    accessed_time = max(accessed_time, v.t)
FROM v WHERE id = v.i
"""
_INSERT_LOGS = f"""
INSERT OR FAIL INTO logs (uuid, request_id, user_id, token_id, quota, created_at, updated_at, system_prompt_reset,
    {", ".join(FACT_COLUMNS)}) VALUES {{rows}}
"""  # noqa: S608 -- constants
_LOG_ROW = f"(?, ?, ?, ?, ?, ?, ?, 0, {', '.join('?' * len(FACT_COLUMNS))})"
_INSERT_COSTS = """
INSERT OR FAIL INTO user_request_costs (uuid, request_id, user_id, user_uuid, quota, created_time, created_at,
    updated_at) VALUES {rows}
"""
_INSERT_OUTBOX = "INSERT OR FAIL INTO billing_outbox (channel_id, quota) VALUES {rows}"
_INSERT_EVENTS = f"INSERT OR FAIL INTO billing_events ({', '.join(EVENT_COLUMNS)}) VALUES {{rows}}"  # noqa: S608 -- constants

_OPEN_HOLDS = """
SELECT key, user_id, token_id, token_limited, amount FROM billing_holds WHERE state = 0 AND key IN (VALUES {rows})
"""
_EXTEND_HOLDS = """
WITH v(k, a, m) AS (VALUES {rows})
UPDATE OR FAIL billing_holds SET amount = amount + v.a, mark = max(mark, v.m) FROM v WHERE key = v.k
"""

_KNOWN_HOLDS = "SELECT key, amount FROM billing_holds WHERE key IN (VALUES {rows})"
_ACCOUNTS = """
SELECT t.id, u.id, u.quota, NOT t.unlimited_quota, t.remain_quota FROM tokens t JOIN users u ON u.id = t.user_id
WHERE t.id IN (VALUES {rows}) AND u.status = 1 AND t.status = 1 AND NOT t.deleted
"""
_DEBIT_USERS = """
WITH v(i, a) AS (VALUES {rows}) UPDATE OR FAIL users SET quota = quota - v.a, held = held + v.a FROM v WHERE id = v.i
"""
_DEBIT_TOKENS = """
WITH v(i, a) AS (VALUES {rows}) UPDATE OR FAIL tokens SET remain_quota = remain_quota - v.a FROM v WHERE id = v.i
"""
_INSERT_HOLDS = f"""
INSERT OR FAIL INTO billing_holds ({", ".join(HOLD_COLUMNS)}, token_limited, worker, created_at, lease_until, mark,
    state, estimated) VALUES {{rows}}
"""  # noqa: S608 -- constants
_HOLD_ROW = f"({', '.join('?' * len(HOLD_COLUMNS))}, ?, ?, ?, {clock.SQLITE} + ?, -1, 0, 0)"
_INSERT_NOTES = f"INSERT OR FAIL INTO token_transactions ({', '.join(NOTE_COLUMNS)}) VALUES {{rows}}"  # noqa: S608 -- constants

_Row: TypeAlias = Sequence[Any]


class SqliteBackend:
    """Implements `ledger.operation.Backend`.

    Args:
        path: the database file; its folder must be on a local disk.
        worker: written into every hold, so that `renew` finds them.
    """

    lanes = 1

    def __init__(self, path: str, *, worker: str) -> None:
        self.remind_below = REMIND_BELOW
        self._path = path
        self._worker = worker
        self._jobs: queue.SimpleQueue[tuple[Batch, asyncio.Future[None]] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    async def start(self) -> None:
        if sqlite3.sqlite_version_info < OLDEST_SQLITE:
            raise Away(f"SQLite {sqlite3.sqlite_version} is too old: 3.35 or newer is needed")
        loop = asyncio.get_running_loop()
        opened: asyncio.Future[None] = loop.create_future()
        self._thread = threading.Thread(
            target=self._serve, args=(loop, opened), name="oneapi_mw.ledger.sqlite", daemon=True
        )
        self._thread.start()
        await opened

    async def aclose(self) -> None:
        if self._thread is not None:
            self._jobs.put(None)
            await asyncio.to_thread(self._thread.join)
            self._thread = None

    async def run(self, lane: int, batch: Batch) -> None:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._jobs.put((batch, done))
        await done

    def _serve(self, loop: asyncio.AbstractEventLoop, opened: asyncio.Future[None]) -> None:
        """The writer thread: one batch after the other, each answered with one call into the loop."""
        with suppress(RuntimeError):  # the loop was closed without `aclose`: nobody is left to answer
            try:
                writer = _Writer(self._path, self._worker, lambda: self.remind_below)
            except Exception as exc:  # noqa: BLE001 -- raised by `start`
                loop.call_soon_threadsafe(_resolve, opened, Away(f"cannot open {self._path!r}: {exc}"))
                return
            loop.call_soon_threadsafe(_resolve, opened, None)
            while (job := self._jobs.get()) is not None:
                batch, done = job
                loop.call_soon_threadsafe(_resolve, done, writer.run(batch))
            writer.close()


def _resolve(future: asyncio.Future[None], fault: Exception | None) -> None:
    if future.done():
        return
    if fault is None:
        future.set_result(None)
    else:
        future.set_exception(fault)


class _Writer:
    """The writer thread's connection. Used by that thread alone."""

    def __init__(self, path: str, worker: str, remind_below: Callable[[], int]) -> None:
        self._path = path
        self._worker = worker
        self._remind_below = remind_below
        self._db = self._connect()
        self._spoilt = False  # whether the connection may be inside a transaction that could not be undone

    def close(self) -> None:
        self._db.close()

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._path, timeout=BUSY_SECONDS, isolation_level=None, cached_statements=512)
        try:
            for pragma in _PRAGMAS:
                db.execute(f"PRAGMA {pragma}").close()
        except BaseException:
            db.close()
            raise
        return db

    def run(self, batch: Batch) -> Exception | None:
        """Carry out `batch`; returns what went wrong, with nothing changed."""
        try:
            if self._spoilt:
                self._db.close()
                self._db, self._spoilt = self._connect(), False
            self._db.execute("BEGIN IMMEDIATE")
            if batch.endings:
                self._end(batch.endings)
            if batch.extensions:
                self._extend(batch.extensions)
            if batch.reservations:
                self._reserve(batch.reservations)
            self._db.execute("COMMIT")
        except Exception as exc:  # noqa: BLE001 -- handed to the lane, which decides
            self._undo()
            # an error that did not come from SQLite itself has no code
            if isinstance(exc, sqlite3.OperationalError) and getattr(exc, "sqlite_errorcode", 0) & 0xFF in _AWAY:
                return Away(str(exc))
            return exc
        return None

    def _undo(self) -> None:
        """Leave the transaction. Closing the connection always does."""
        try:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
        except sqlite3.Error:
            self._spoilt = True

    def _end(self, endings: list[Ending]) -> None:
        by_key = {ending.key: ending for ending in endings}
        now_ms = time.time_ns() // 1_000_000
        now = now_ms // 1000
        ended = self._match(
            _END_HOLDS,
            [(e.key, e.state, e.final, e.facts.channel_id if e.facts is not None else None, now_ms) for e in endings],
        )
        sums, logs, costs, uuids = Endings(), [], [], iter(uuid7s(2 * len(ended)))
        for key, user_id, token_id, limited, amount, final in ended:
            ending = by_key.pop(key)
            facts = ending.facts
            ending.answer = settled(key, ending.state, final, first=True)
            sums.add(ending, user_id, token_id, limited=limited, amount=amount, final=final)
            if facts is not None:
                logs.append((next(uuids), key, user_id, token_id, final, now, now_ms, *fact_row(facts)))
                costs.append((next(uuids), key, user_id, facts.user_uuid, final, now, now_ms, now_ms))
        unspent = self._match(_CREDIT_USERS, [(id_, *sum_) for id_, sum_ in sums.users.items()])
        self._insert(_INSERT_EVENTS, event_rows(unspent, sums.charged, self._remind_below(), now_ms))
        self._match(_CREDIT_TOKENS, [(id_, a, f, now if n else 0) for id_, (a, f, n) in sums.tokens.items()])
        self._insert(_INSERT_LOGS, logs, _LOG_ROW)
        self._insert(_INSERT_COSTS, costs)
        self._insert(_INSERT_OUTBOX, list(sums.channels.items()))
        if by_key:
            self._answer_ended(by_key)

    def _answer_ended(self, endings: dict[str, Ending]) -> None:
        """The stored result for holds that had ended before, or never were."""
        for ending in endings.values():
            ending.answer = unknown(ending)
        for key, state, final in self._match(_ENDED_HOLDS, [(key,) for key in endings]):
            endings[key].answer = settled(key, state, final, first=False)

    def _extend(self, extensions: list[Extension]) -> None:
        holds = self._match(_OPEN_HOLDS, [(extension.key,) for extension in extensions])
        admission = self._admission(hold[2] for hold in holds)
        self._match(_EXTEND_HOLDS, extend_holds(extensions, holds, admission))
        self._debit(admission)

    def _reserve(self, reservations: list[Reservation]) -> None:
        known = dict(self._match(_KNOWN_HOLDS, [(r.key,) for r in reservations]))
        admission = self._admission(r.request.token_id for r in reservations)
        now_ms = time.time_ns() // 1_000_000
        rows, notes = [], []
        for reservation in reservations:
            key, request = reservation.key, reservation.request
            if key in known:
                reservation.answer = Held(key, known[key])
                continue
            denied = admission.take(request.user_id, request.token_id, request.amount)
            reservation.answer = denied or Held(key, request.amount)
            if denied is None:
                limited, lease = admission.limited(request.token_id), request.lease_seconds * 1000
                rows.append((*hold_row(request), limited, self._worker, now_ms, lease))
                if request.note is not None:
                    notes.append(note_row(request, now_ms))
        self._debit(admission)
        self._insert(_INSERT_HOLDS, rows, _HOLD_ROW)
        self._insert(_INSERT_NOTES, notes)

    def _admission(self, token_ids: Iterable[int]) -> Admission:
        return Admission(self._match(_ACCOUNTS, [(token_id,) for token_id in set(token_ids)]))

    def _debit(self, admission: Admission) -> None:
        self._match(_DEBIT_USERS, list(admission.from_users.items()))
        self._match(_DEBIT_TOKENS, list(admission.from_tokens.items()))

    def _match(self, template: str, rows: Sequence[_Row]) -> list[Any]:
        """Run a statement that looks its rows up by their first value; returns what it returns."""
        found: list[Any] = []
        for start in range(0, len(rows), MAX_ROWS):
            part = rows[start : start + MAX_ROWS]
            width = len(part[0])
            size = 1 << (len(part) - 1).bit_length()
            values = [*chain.from_iterable(part), *([None] * (width * (size - len(part))))]
            found += self._db.execute(_statement(template, _parameters(width), size), values).fetchall()
        return found

    def _insert(self, template: str, rows: Sequence[_Row], row: str = "") -> None:
        """Insert `rows`, in statements of 64, 32, ... 1 rows: few texts to prepare, and few steps."""
        start = 0
        while left := len(rows) - start:
            size = min(MAX_ROWS, 1 << (left.bit_length() - 1))
            part = rows[start : start + size]
            sql = _statement(template, row or _parameters(len(part[0])), size)
            self._db.execute(sql, list(chain.from_iterable(part)))
            start += size


def _parameters(width: int) -> str:
    return f"({', '.join('?' * width)})"


@lru_cache(maxsize=512)
def _statement(template: str, row: str, size: int) -> str:
    return template.format(rows=", ".join([row] * size))
