"""The ledger on SQLite: one writer thread, one connection, one transaction per batch.

What a batch does is in `sqlite_statements`; here is who runs it, and what is told to whom.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from typing import Any, TypeAlias

from oneapi_mw import jsontext
from oneapi_mw.ids import uuid7s
from oneapi_mw.ledger import sqlite_statements as sql
from oneapi_mw.ledger.base import REMIND_BELOW, Denied, Held
from oneapi_mw.ledger.operation import Away, Batch, Ending, Extension, Reservation
from oneapi_mw.ledger.rows import answer_ended, fact_row, hold_row, note_row, settled, unknown
from oneapi_mw.ledger.sums import Admission, extend_holds
from oneapi_mw.types import Quota

OLDEST_SQLITE = (3, 35, 0)  # UPDATE FROM, JSON
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
        self._reminding: Quota | None = None  # the threshold the connection's trigger knows
        self._spoilt = False  # whether the connection may be inside a transaction that could not be undone

    def close(self) -> None:
        self._db.close()

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._path, timeout=BUSY_SECONDS, isolation_level=None, cached_statements=512)
        try:
            for pragma in _PRAGMAS:
                db.execute(f"PRAGMA {pragma}").close()
            db.executescript(sql.SET_UP)
        except BaseException:
            db.close()
            raise
        return db

    def run(self, batch: Batch) -> Exception | None:
        """Carry out `batch`; returns what went wrong, with nothing changed."""
        try:
            if self._spoilt:
                self._db.close()
                self._db, self._spoilt, self._reminding = self._connect(), False, None
            self._remind(self._remind_below())
            self._db.execute("BEGIN IMMEDIATE")
            if batch.endings:
                self._end(batch.endings)
            if batch.extensions:
                self._extend(batch.extensions)
            if batch.reservations:
                self._reserve(batch.reservations)
            done = self._answers()
            self._answer_endings(batch.endings, done)
            self._answer_reservations(batch.reservations, done)
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

    def _remind(self, threshold: Quota) -> None:
        if threshold != self._reminding:
            for statement in sql.reminder(threshold):
                self._db.execute(statement)
            self._reminding = threshold

    def _end(self, endings: list[Ending]) -> None:
        now_ms = time.time_ns() // 1_000_000
        uuids = uuid7s(len(endings))
        rows = [
            (e.key, e.state, e.final, uuid, now_ms, *fact_row(e.facts)) for e, uuid in zip(endings, uuids, strict=True)
        ]
        self._match(sql.END, rows)

    def _answer_endings(self, endings: list[Ending], ended: Mapping[str, Quota]) -> None:
        """From what was `ended` now, and for the rest from what is stored: holds that had ended, or never were."""
        late: dict[str, Ending] = {}
        channels: dict[int, Quota] = defaultdict(int)
        for ending in endings:
            key, facts = ending.key, ending.facts
            if key not in ended:
                late[key] = ending
                ending.answer = unknown(ending)
                continue
            final = ended[key]
            ending.answer = settled(key, ending.state, final, first=True)
            if final and facts is not None and facts.channel_id is not None:
                channels[facts.channel_id] += final
        self._insert(sql.INSERT_OUTBOX, list(channels.items()))
        for key, *found in self._match(sql.ENDED_HOLDS, [(key,) for key in late]):
            answer_ended(late[key], *found)

    def _reserve(self, reservations: list[Reservation]) -> None:
        now_ms = time.time_ns() // 1_000_000
        requests = [reservation.request for reservation in reservations]
        rows = [(*hold_row(r), self._worker, now_ms, r.lease_seconds * 1000) for r in requests]
        self._match(sql.RESERVE, rows)

    def _answer_reservations(self, reservations: list[Reservation], made: Mapping[str, object]) -> None:
        refused, notes = [], []
        for reservation in reservations:
            key, request = reservation.key, reservation.request
            if key not in made:
                refused.append(reservation)
                continue
            reservation.answer = Held(key, request.amount)
            if request.note is not None:
                notes.append(note_row(request, time.time_ns() // 1_000_000))
        self._insert(sql.INSERT_NOTES, notes)
        if refused:
            self._tell_why(refused)

    def _tell_why(self, refused: list[Reservation]) -> None:
        """A hold of that key is there already, or the accounts cannot pay."""
        known = dict(self._match(sql.KNOWN_HOLDS, [(r.key,) for r in refused]))
        admission = self._admission(r.request.token_id for r in refused)
        for reservation in refused:
            key, request = reservation.key, reservation.request
            if key in known:
                reservation.answer = Held(key, known[key])
            else:
                denied = admission.take(request.user_id, request.token_id, request.amount)
                reservation.answer = denied or Denied("state")

    def _extend(self, extensions: list[Extension]) -> None:
        holds = self._match(sql.OPEN_HOLDS, [(extension.key,) for extension in extensions])
        admission = self._admission(hold[2] for hold in holds)
        self._match(sql.EXTEND_HOLDS, extend_holds(extensions, holds, admission))
        self._match(sql.DEBIT_USERS, list(admission.from_users.items()))
        self._match(sql.DEBIT_TOKENS, list(admission.from_tokens.items()))

    def _admission(self, token_ids: Iterable[int]) -> Admission:
        return Admission(self._match(sql.ACCOUNTS, [(token_id,) for token_id in set(token_ids)]))

    def _answers(self) -> dict[str, Quota]:
        """What the triggers have left: key to charge, which is `None` for a hold that was made."""
        (told,) = self._db.execute(sql.TAKE_ANSWERS).fetchone()
        self._db.execute(sql.CLEAR_ANSWERS)
        answers: dict[str, Quota] = jsontext.loads(told.encode())
        return answers

    def _match(self, template: str, rows: Sequence[_Row]) -> list[Any]:
        """Run a statement that may be padded; returns what it returns."""
        found: list[Any] = []
        for start in range(0, len(rows), MAX_ROWS):
            part = rows[start : start + MAX_ROWS]
            width = len(part[0])
            size = 1 << (len(part) - 1).bit_length()
            values = [*chain.from_iterable(part), *([None] * (width * (size - len(part))))]
            found += self._db.execute(sql.with_rows(template, width, size), values).fetchall()
        return found

    def _insert(self, template: str, rows: Sequence[_Row]) -> None:
        """Insert `rows`, in statements of 64, 32, ... 1 rows: few texts to prepare, and few steps."""
        start = 0
        while left := len(rows) - start:
            size = min(MAX_ROWS, 1 << (left.bit_length() - 1))
            part = rows[start : start + size]
            self._db.execute(sql.with_rows(template, len(part[0]), size), list(chain.from_iterable(part)))
            start += size
