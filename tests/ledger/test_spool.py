"""I-11: endings outlast an outage and the process, in a file that is there only while it is needed."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url

from oneapi_mw.errors import StoreUnavailable
from oneapi_mw.ledger import batch as front
from oneapi_mw.ledger import lane as lanes
from oneapi_mw.ledger import sqlite
from oneapi_mw.ledger.base import Balance, Held, LogFacts, Settled
from oneapi_mw.ledger.batch import BatchedLedger
from oneapi_mw.ledger.operation import Away, Batch
from oneapi_mw.ledger.spool import Spool, Spooling
from oneapi_mw.ledger.spool_file import Kept, SpoolFile, ending_line, paths, read
from oneapi_mw.ledger.sql import spool_name, sql_ledger
from tests.ledger.bank import FACTS, Bank, findings, open_bank, reserve
from tests.ledger.test_batch import NoBooks, Script, late

MAX_BYTES = 2**20


def away(batch: Batch) -> Exception | None:
    return Away("no route")


def contents(path: Path) -> Sequence[Kept]:
    found = read(path)
    return found.endings if found is not None else ()


def in_files(folder: Path) -> dict[str, int]:
    return {ending.key: ending.final for path in paths(folder) for ending in contents(path)}


def spool(folder: Path, worker: str = "w", database: str = "d") -> Spool:
    return Spool(folder, database=database, worker=worker, max_bytes=MAX_BYTES)


@pytest.fixture
def backend() -> Script:
    return Script()


@pytest.fixture
async def ledger(backend: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[BatchedLedger]:
    monkeypatch.setattr(lanes, "FIRST_RETRY", 0.001)
    monkeypatch.setattr(lanes, "LAST_RETRY", 0.001)
    monkeypatch.setattr(front, "TICK_SECONDS", 0.001)
    started = BatchedLedger(backend, NoBooks(), spool=spool(tmp_path), grace_seconds=0.0, drain_seconds=0.05)
    await started.start()
    yield started
    backend.gate.set()
    await started.aclose()


async def back(ledger: BatchedLedger, backend: Script) -> None:
    """The database is back, and everything that waited for it has been carried out."""
    backend.fault = lambda batch: None
    await ledger._drain()
    assert ledger._spool is not None
    await ledger._spool.flush()


async def test_i_11_the_caller_is_answered_from_the_file(
    backend: Script, ledger: BatchedLedger, tmp_path: Path
) -> None:
    backend.fault = away
    calls = (ledger.settle("a", 5, FACTS), ledger.void("b"), ledger.settle("c", 7, FACTS))
    answers: list[Settled] = list(await asyncio.gather(*calls))

    assert answers == [
        Settled("a", "settled", 5, True, spooled=True),
        Settled("b", "void", 0, True, spooled=True),
        Settled("c", "settled", 7, True, spooled=True),
    ]
    assert in_files(tmp_path) == {"a": 5, "b": 0, "c": 7}
    (path,) = paths(tmp_path)
    assert {ending.key: ending.facts for ending in contents(path)} == {"a": FACTS, "b": None, "c": FACTS}

    await back(ledger, backend)
    assert backend.batches[-1] == ["Ending a", "Ending b", "Ending c"]
    assert paths(tmp_path) == []


async def test_nothing_is_written_while_the_database_answers(ledger: BatchedLedger, tmp_path: Path) -> None:
    await ledger.settle("a", 5, FACTS)
    await ledger.sweep()
    assert list(tmp_path.iterdir()) == []


async def test_what_comes_during_an_outage_goes_to_the_same_file(
    backend: Script, ledger: BatchedLedger, tmp_path: Path
) -> None:
    backend.fault = away
    await ledger.settle("a", 5, FACTS)
    (first,) = paths(tmp_path)
    await ledger.settle("b", 6, FACTS)

    assert paths(tmp_path) == [first]
    assert in_files(tmp_path) == {"a": 5, "b": 6}


async def test_a_silent_database_is_as_good_as_away(
    backend: Script, ledger: BatchedLedger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes, "TIME_TO_KEEP", front.ENDING_PATIENCE)
    backend.gate.clear()
    assert (await ledger.settle("a", 5, FACTS)).spooled
    assert in_files(tmp_path) == {"a": 5}

    backend.gate.set()
    await back(ledger, backend)
    assert paths(tmp_path) == []


async def test_the_ending_behind_a_stuck_reserve_is_kept(
    backend: Script, ledger: BatchedLedger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes, "TIME_TO_KEEP", front.ENDING_PATIENCE)
    backend.gate.clear()
    reserving = asyncio.ensure_future(ledger.reserve(reserve(1, 1, 1, key="a")))
    await backend.arrived.wait()
    assert await ledger.void("a") == Settled("a", "void", 0, True, spooled=True)
    assert in_files(tmp_path) == {"a": 0}

    backend.gate.set()
    await reserving
    await back(ledger, backend)
    assert backend.batches == [["Reservation a"], ["Ending a"]]


async def test_a_full_spool_refuses_reserves_until_it_drains(
    backend: Script, ledger: BatchedLedger, tmp_path: Path
) -> None:
    assert ledger._spool is not None
    ledger._spool._max_bytes = 200
    backend.fault = away
    await ledger.settle("a", 5, FACTS)
    with pytest.raises(StoreUnavailable, match="Too many charges"):
        await ledger.reserve(reserve(1, 1, 1))
    assert (await ledger.settle("b", 5, FACTS)).spooled  # what has begun still ends

    await back(ledger, backend)
    assert isinstance(await ledger.reserve(reserve(1, 1, 1)), Held)


async def test_a_disk_that_cannot_be_written_leaves_memory(
    backend: Script, ledger: BatchedLedger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    monkeypatch.setattr(front, "ENDING_PATIENCE", 0.05)
    full = OSError(28, "No space left on device")
    really, faults = SpoolFile.append, [full] * 10_000

    def sometimes(file: SpoolFile, lines: Any) -> None:
        if faults:
            raise faults.pop()
        really(file, lines)

    monkeypatch.setattr(SpoolFile, "append", sometimes)
    backend.fault = away
    with pytest.raises(StoreUnavailable):
        await ledger.settle("a", 5, FACTS)
    assert paths(tmp_path) == []

    monkeypatch.setattr(front, "ENDING_PATIENCE", 60.0)
    faults.clear()
    assert (await ledger.settle("b", 6, FACTS)).spooled
    assert ledger._spool is not None
    await ledger._spool.flush()
    while len(in_files(tmp_path)) < 2:  # the first one is handed over again at the next attempt
        await asyncio.sleep(0)
    said = [record.getMessage() for record in caplog.records if "kept in" in record.getMessage()]
    assert len(said) == 2
    assert "only in memory" in said[0]
    assert said[1].endswith("again")

    await back(ledger, backend)
    assert backend.batches[-2:] == [["Ending a"], ["Ending b"]]
    assert paths(tmp_path) == []


async def test_answered_by_the_database_while_it_is_being_written(
    backend: Script, ledger: BatchedLedger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writing, may_end, really = asyncio.Event(), threading.Event(), SpoolFile.append
    loop = asyncio.get_running_loop()

    def slowly(file: SpoolFile, lines: Any) -> None:
        loop.call_soon_threadsafe(writing.set)
        may_end.wait()
        really(file, lines)

    monkeypatch.setattr(SpoolFile, "append", slowly)
    backend.fault = away
    settling = asyncio.ensure_future(ledger.settle("a", 5, FACTS))
    await writing.wait()
    backend.fault = lambda batch: None
    assert await settling == Settled("a", "settled", 5, True)
    may_end.set()
    await back(ledger, backend)
    assert paths(tmp_path) == []


async def test_i_11_a_dead_worker_s_file_is_replayed_at_the_start(
    backend: Script, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    left_behind(tmp_path, "dead", [Kept("a", 5, FACTS), Kept("b", 0, None)])
    left_behind(tmp_path, "of another database", [Kept("c", 5, FACTS)], database="other")

    ledger = BatchedLedger(backend, NoBooks(), spool=spool(tmp_path))
    await ledger.start()
    await back(ledger, backend)

    assert backend.batches == [["Ending a", "Ending b"]]
    assert in_files(tmp_path) == {"c": 5}
    await ledger.aclose()
    assert "2 endings of worker dead" in caplog.text


async def test_a_file_is_never_replayed_twice(tmp_path: Path) -> None:
    left_behind(tmp_path, "dead", [Kept(str(n), n, FACTS) for n in range(50)])
    backends = [Script() for _ in range(4)]
    ledgers = [BatchedLedger(each, NoBooks(), spool=spool(tmp_path, f"w{n}")) for n, each in enumerate(backends)]

    await asyncio.gather(*(ledger.start() for ledger in ledgers))
    await asyncio.gather(*(ledger.aclose() for ledger in ledgers))

    assert sorted(name for each in backends for batch in each.batches for name in batch) == sorted(
        f"Ending {n}" for n in range(50)
    )
    assert paths(tmp_path) == []


async def test_a_file_that_cannot_be_read_keeps_nobody_from_starting(
    backend: Script, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    left_behind(tmp_path, "dead", [Kept("a", 5, FACTS)])
    (tmp_path / "folder.jsonl").mkdir()
    books = NoBooks()
    books.late = [late("b")]
    ledger = BatchedLedger(backend, books, spool=spool(tmp_path), grace_seconds=0.0)
    await ledger.start()
    assert await ledger.sweep() == 1
    await ledger.aclose()

    assert backend.batches == [["Ending a"], ["Ending b"]]
    assert "folder.jsonl cannot be taken over" in caplog.text
    assert "folder.jsonl cannot be read" in caplog.text


async def test_a_start_that_is_cancelled_leaves_the_files_to_others(
    backend: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left_behind(tmp_path, "dead", [Kept("a", 5, FACTS)])
    adopting, may_end, really = asyncio.Event(), threading.Event(), Spool._adopt
    loop = asyncio.get_running_loop()

    def slowly(spool: Spool) -> Any:
        loop.call_soon_threadsafe(adopting.set)
        may_end.wait()
        return really(spool)

    monkeypatch.setattr(Spool, "_adopt", slowly)
    starting = asyncio.ensure_future(BatchedLedger(backend, NoBooks(), spool=spool(tmp_path)).start())
    await adopting.wait()
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    may_end.set()
    monkeypatch.undo()

    other = Script()
    while not other.batches:  # until the thread that was left alone has ended
        ledger = BatchedLedger(other, NoBooks(), spool=spool(tmp_path))
        await ledger.start()
        await ledger.aclose()
    assert other.batches == [["Ending a"]]
    assert paths(tmp_path) == []


async def test_a_replay_goes_on_after_another_outage(
    backend: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(front, "REPLAYED_AT_ONCE", 2)
    monkeypatch.setattr(front, "ENDING_PATIENCE", 0.0)
    monkeypatch.setattr(front, "TICK_SECONDS", 0.001)
    monkeypatch.setattr(lanes, "FIRST_RETRY", 0.001)
    ledger = BatchedLedger(backend, NoBooks(), spool=spool(tmp_path), grace_seconds=0.0)
    await ledger.start()
    left_behind(tmp_path, "dead", [Kept(str(n), n, FACTS) for n in range(5)])
    backend.fault = away
    with pytest.raises(StoreUnavailable):
        await ledger.sweep()
    assert len(in_files(tmp_path)) == 5
    monkeypatch.setattr(front, "ENDING_PATIENCE", 60.0)
    await back(ledger, backend)
    assert len(in_files(tmp_path)) == 5  # two are confirmed, three have not been handed over

    await ledger.sweep()
    await back(ledger, backend)
    assert backend.batches[-3:] == [["Ending 0", "Ending 1"], ["Ending 2", "Ending 3"], ["Ending 4"]]
    assert paths(tmp_path) == []
    await ledger.aclose()


async def test_what_cannot_be_carried_out_is_put_aside(
    backend: Script, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    left_behind(tmp_path, "dead", [Kept("bad", 5, FACTS), Kept("good", 6, FACTS)], garbage=b"garbage\n")
    backend.fault = lambda batch: KeyError("bad") if any(member.key == "bad" for member in batch) else None
    ledger = BatchedLedger(backend, NoBooks(), spool=spool(tmp_path))
    await ledger.start()
    await ledger.aclose()

    assert paths(tmp_path) == []
    (aside,) = paths(tmp_path, ".rejected")
    text = aside.read_text()
    assert "garbage\n" in text
    assert '"key":"bad"' in text
    assert '"why":"KeyError' in text
    assert '"key":"good"' not in text
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert any("1 damaged lines" in error for error in errors)
    assert any("hold bad could not be ended at 5" in error and str(aside) in error for error in errors)


@pytest.mark.parametrize("blocked", [False, True], ids=["kept", "no-disk"])
async def test_what_the_database_does_not_take_is_put_aside_at_once(
    backend: Script, tmp_path: Path, caplog: pytest.LogCaptureFixture, blocked: bool
) -> None:
    """Its caller hears of it, and its charge is not only in a log."""
    backend.fault = lambda batch: OverflowError("too much") if any(member.key == "bad" for member in batch) else None
    folder = tmp_path / "spool"
    ledger = BatchedLedger(backend, NoBooks(), spool=spool(folder))
    await ledger.start()
    if blocked:
        folder.write_text("a file where the folder should be")
    with pytest.raises(OverflowError):
        await ledger.settle("bad", 5, FACTS)
    await ledger.settle("good", 6, FACTS)
    await ledger.aclose()

    assert paths(folder) == []
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    if blocked:
        assert any("hold bad could not be put aside" in error for error in errors)
        return
    (aside,) = paths(folder, ".rejected")
    why, ending = aside.read_text().splitlines()
    assert '"why":"OverflowError: too much"' in why
    assert '"final":5' in ending
    assert any("hold bad could not be ended at 5" in error and str(aside) in error for error in errors)


async def test_a_hold_that_ended_otherwise_is_said(
    backend: Script, ledger: BatchedLedger, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    backend.fault = away
    await ledger.settle("a", 5, FACTS)

    async def swept(lane: int, batch: Batch) -> None:
        for ending in batch.endings:
            ending.answer = Settled(ending.key, "settled", 30, False)

    backend.run = swept  # type: ignore[method-assign]
    ledger._lanes[0]._run_batch = lambda batch: swept(0, batch)
    await back(ledger, backend)
    assert "hold a had ended at 30 before the ending at 5" in caplog.text


async def test_closing_during_an_outage_leaves_the_file_to_the_next(
    backend: Script, ledger: BatchedLedger, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    backend.fault = away
    await ledger.settle("a", 5, FACTS)
    await ledger.aclose()
    assert in_files(tmp_path) == {"a": 5}
    assert "hold a is to be ended at 5 from a file" in caplog.text
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]

    backend.fault = lambda batch: None
    await ledger.start()
    await back(ledger, backend)
    assert backend.batches[-1] == ["Ending a"]
    assert paths(tmp_path) == []


async def test_closing_keeps_what_a_silent_database_did_not_take(
    backend: Script, ledger: BatchedLedger, tmp_path: Path
) -> None:
    backend.gate.clear()
    settling = asyncio.ensure_future(ledger.settle("a", 5, FACTS))
    await backend.arrived.wait()
    await ledger.aclose()
    assert (await settling).spooled
    assert in_files(tmp_path) == {"a": 5}


async def test_the_sweep_leaves_alone_what_is_in_a_file(
    backend: Script, ledger: BatchedLedger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One file is that of a worker that lives: it replays it itself."""
    living = left_behind(tmp_path, "living", [Kept("a", 5, FACTS)], dead=False)
    books = NoBooks()
    books.late = [late("a"), late("b")]
    monkeypatch.setattr(ledger, "_books", books)

    assert await ledger.sweep() == 1
    assert backend.batches == [["Ending b"]]
    living.close()


async def test_the_sweep_waits_for_the_file_to_drain(
    backend: Script, ledger: BatchedLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend.fault = away
    await ledger.settle("a", 5, FACTS)
    books = NoBooks()
    books.late = [late("a")]
    monkeypatch.setattr(ledger, "_books", books)
    ledger._lanes[0].away = False  # as if another lane's outage had ended first
    assert await ledger.sweep() == 0
    assert books.late == [late("a")]


def left_behind(
    folder: Path, worker: str, endings: list[Kept], *, database: str = "d", garbage: bytes = b"", dead: bool = True
) -> SpoolFile:
    """A file as a worker leaves it."""
    file = SpoolFile.create(folder, database=database, worker=worker)
    file.append([garbage, *map(ending_line, endings)])
    if dead:
        file.close()
    return file


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("postgresql+asyncpg://u:p@db:5/x", "postgresql://db:5/x"),
        ("mysql+asyncmy://u:p@db/x", "mysql://db/x"),
        ("sqlite+aiosqlite:////srv/x.db", "sqlite:////srv/x.db"),
    ],
)
def test_a_database_is_named_without_credentials(url: str, name: str) -> None:
    assert spool_name(make_url(url)) == name


async def test_i_11_a_locked_sqlite_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Answered while somebody else has the file, carried out when it is free again."""
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.01)
    monkeypatch.setattr(lanes, "FIRST_RETRY", 0.001)
    async with open_bank("sqlite", tmp_path) as bank:
        assert isinstance(bank, Bank)
        ledger, folder = opened(bank, tmp_path)
        await ledger.start()
        user = await bank.user(1000)
        request = reserve(user, await bank.token(user), 100)
        await ledger.reserve(request)
        other = sqlite3.connect(str(bank.url.path), isolation_level=None)
        other.execute("BEGIN IMMEDIATE")

        assert await ledger.settle(request.key, 30, FACTS) == Settled(request.key, "settled", 30, True, spooled=True)
        assert in_files(folder) == {request.key: 30}
        assert await ledger.void(request.key) == Settled(request.key, "settled", 30, False, spooled=True)
        other.rollback()
        other.close()

        await ledger._drain()
        assert await ledger.void(request.key) == Settled(request.key, "settled", 30, False)
        assert await ledger.user_balance(user) == Balance(970, 30, 1)
        await ledger.aclose()
        assert paths(folder) == []
        assert await findings(await bank.ledger()) == []


async def test_i_11_a_full_sqlite_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file may not grow: everything is as if the database were away, and the next process finds what was kept."""
    monkeypatch.setattr(lanes, "FIRST_RETRY", 0.001)
    async with open_bank("sqlite", tmp_path) as bank:
        assert isinstance(bank, Bank)
        user = await bank.user(1000)
        request = reserve(user, await bank.token(user), 100)
        await (await bank.ledger()).reserve(request)
        with sqlite3.connect(str(bank.url.path)) as database:
            (pages,) = database.execute("PRAGMA page_count").fetchone()
        database.close()
        with monkeypatch.context() as patch:
            patch.setattr(sqlite, "_PRAGMAS", (*sqlite._PRAGMAS, f"max_page_count={pages}"))
            full, folder = opened(bank, tmp_path)
            full._drain_seconds = 0.0
            await full.start()
            facts = LogFacts(username="alice", content="x" * 100_000)
            assert (await full.settle(request.key, 30, facts)).spooled
            await full.aclose()
        assert in_files(folder) == {request.key: 30}

        roomy, _ = opened(bank, tmp_path)
        await roomy.start()
        assert await roomy.settle(request.key, 99, FACTS) == Settled(request.key, "settled", 30, False)
        await roomy.aclose()
        assert paths(folder) == []
        assert await findings(await bank.ledger()) == []


def opened(bank: Bank, folder: Path) -> tuple[BatchedLedger, Path]:
    spooling = Spooling(folder / "spool", MAX_BYTES)
    return sql_ledger(bank.url.sqlalchemy, worker="w", spooling=spooling), spooling.folder
