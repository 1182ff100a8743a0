"""Endings kept on the local disk while the database is away, so that they outlast the process.

    ending --database away, or silent--> file, fsynced --> its caller is answered
       |                                  |
       |                                  '-- this process dies: whoever comes next on this machine replays the file
       '--database back--> carried out --> all of a file confirmed: the file is removed

There is no file and no cost while the database answers. An ending is idempotent by the key of its hold: what was
carried out already and is replayed changes nothing.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from oneapi_mw.immutable import immutable
from oneapi_mw.ledger.base import HoldState, Settled
from oneapi_mw.ledger.operation import SETTLED, Ending
from oneapi_mw.ledger.rows import plain
from oneapi_mw.ledger.spool_file import (
    REJECTED,
    Kept,
    SpoolFile,
    ending_line,
    line,
    new_path,
    owner,
    paths,
    read,
    reject,
)

log = logging.getLogger("oneapi_mw.ledger")


@immutable
class Spooling:
    """Where endings are kept while the database is away, and how much of them."""

    folder: Path
    max_bytes: int

    def open(self, database: str, worker: str) -> Spool:
        return Spool(self.folder, database=database, worker=worker, max_bytes=self.max_bytes)


class Spool:
    """The files of one worker: its own, and those of dead workers it has taken over.

    Args:
        folder: on a local disk; made when first needed. Several workers and databases may share it.
        database: which database the endings are for, without credentials. Files of others are not touched.
        max_bytes: from this size on `full` says that nothing new may be begun. Endings of what has begun still
            go into the file: there are no more of them than open holds.
    """

    def __init__(self, folder: Path, *, database: str, worker: str, max_bytes: int) -> None:
        self.folder = folder
        self._database = database
        self._worker = worker
        self._max_bytes = max_bytes
        self._own: SpoolFile | None = None
        self._adopted: list[SpoolFile] = []
        self._pending: list[Ending] = []
        self._first: dict[str, Ending] = {}  # by key: what a hold ends with, as long as only the file knows
        self._done: list[SpoolFile] = []
        self._writing: asyncio.Task[None] | None = None
        self._failing = False
        self.full = False

    @property
    def outstanding(self) -> int:
        """Endings in files of ours that the database has not confirmed."""
        waiting = sum(not ending.answered for ending in self._pending)
        return waiting + sum(file.outstanding for file in self._files())

    def keep(self, endings: Iterable[Ending]) -> None:
        """Put `endings` into the file, each once, and then answer their callers. Sweeps are not kept."""
        for ending in endings:
            if not (ending.spooled or ending.swept):
                ending.spooled = True
                self._pending.append(ending)
        if self._pending:
            self._write_soon()

    def deliver(self, ending: Ending) -> None:
        """Take note that `ending`, which is in a file, has been answered by the database."""
        file = ending.file
        if file is None:
            return
        decided = self._first.get(ending.key, ending) is ending
        if decided:
            self._first.pop(ending.key, None)
        if isinstance(ending.answer, Settled):
            if decided and not ending.answer.first and ending.answer.cost != ending.final:
                log.warning(
                    "hold %s had ended at %d before the ending at %d that was kept for it in %s",
                    ending.key, ending.answer.cost, ending.final, file.path.name,
                )  # fmt: skip
        else:
            self._put_aside(file.path, ending, ending.answer)
        ending.file = None
        file.outstanding -= 1
        self._release(file)

    def put_aside(self, ending: Ending, fault: Exception) -> None:
        """Keep `ending`, which is in no file and which the database does not take, for a person to look at."""
        if ending.file is None:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._put_aside(new_path(self.folder, self._worker), ending, fault)

    def _put_aside(self, path: Path, ending: Ending, fault: object) -> None:
        reason = f"{type(fault).__name__}: {fault}"
        kept = reject(path, [line({"key": ending.key, "final": ending.final, "why": reason}), _line(ending)])
        log.error("hold %s could not be ended at %d (%s): see %s", ending.key, ending.final, reason, kept)

    async def flush(self) -> None:
        """Return when everything handed over is on the disk, or could not be put there."""
        while self._writing is not None:
            await asyncio.wait({self._writing})

    async def aclose(self) -> None:
        """Let go of the files. What is not confirmed stays in them."""
        await self.flush()
        for file in self._files():
            file.close()
        self._own, self._adopted = None, []
        self._first.clear()
        self._measure()

    async def orphans(self) -> Sequence[Orphan]:
        """Take over the files that dead workers left for this database."""
        adopting = asyncio.ensure_future(asyncio.to_thread(self._adopt))
        try:
            found = await asyncio.shield(adopting)
        except asyncio.CancelledError:
            adopting.add_done_callback(_let_go)  # locked by a process that knows nothing of it nobody could replay it
            raise
        self._adopted += [orphan.file for orphan in found]
        self._measure()
        return found

    async def known(self) -> frozenset[str]:
        """The keys of holds whose endings are in any file of this machine for this database."""
        return await asyncio.to_thread(self._keys)

    def finished(self, orphan: Orphan) -> None:
        """Everything in `orphan` has been handed over: its file goes as soon as that is confirmed."""
        orphan.file.outstanding -= 1  # the reader's own share
        self._release(orphan.file)

    def _files(self) -> list[SpoolFile]:
        return [*([self._own] if self._own else []), *self._adopted]

    def _release(self, file: SpoolFile) -> None:
        if file.outstanding == 0:
            self._done.append(file)
            self._write_soon()

    def _write_soon(self) -> None:
        if self._writing is None:
            self._writing = asyncio.create_task(self._write(), name="oneapi_mw.spool")

    async def _write(self) -> None:
        """Append whatever waits, remove what is done with, repeat."""
        try:
            while self._pending or self._done:
                if not await self._append():
                    break
                await self._remove()
        finally:
            self._writing = None
            self._measure()

    async def _append(self) -> bool:
        endings = [ending for ending in self._pending if not ending.answered]
        self._pending = []
        if not endings:
            return True
        if self._own is not None:
            self._own.outstanding += len(endings)  # so that it is not removed before
        try:
            self._own = await asyncio.to_thread(self._append_now, self._own, [_line(ending) for ending in endings])
        except OSError as exc:
            self._refuse(endings, exc)
            return False
        if self._failing:
            self._failing = False
            log.warning("endings can be kept in %s again", self.folder)
        for ending in endings:
            if ending.answered:  # meanwhile, by the database
                self._own.outstanding -= 1
            else:
                ending.file = self._own
                first = self._first.setdefault(ending.key, ending)
                if not ending.future.done():
                    ending.future.set_result(_answer(first, first=first is ending))
        self._release(self._own)
        return True

    def _append_now(self, file: SpoolFile | None, lines: Sequence[bytes]) -> SpoolFile:
        if file is not None:
            file.append(lines)
            return file
        file = SpoolFile.create(self.folder, database=self._database, worker=self._worker)
        try:
            file.append(lines)
        except OSError:
            file.remove()
            raise
        file.outstanding = len(lines)
        return file

    def _refuse(self, endings: Sequence[Ending], fault: OSError) -> None:
        """They stay in memory as if there were no spool, and are handed over again while the database is away."""
        if self._own is not None:
            self._own.outstanding -= len(endings)
            self._release(self._own)
        for ending in endings:
            ending.spooled = False
        if not self._failing:
            self._failing = True
            log.error("endings cannot be kept in %s, only in memory: %s", self.folder, fault)

    async def _remove(self) -> None:
        done, self._done = self._done, []
        for file in dict.fromkeys(done):
            if file.outstanding == 0:
                if file is self._own:
                    self._own = None
                else:
                    self._adopted.remove(file)
                await asyncio.to_thread(file.remove)

    def _measure(self) -> None:
        self.full = sum(file.size for file in self._files()) >= self._max_bytes

    def _adopt(self) -> list[Orphan]:
        found = []
        for path in paths(self.folder):
            try:
                orphan = self._adopt_one(path)
            except OSError as exc:  # one file, of another user perhaps, must keep nobody from starting
                log.warning("%s cannot be taken over: %s", path, exc)
                continue
            if orphan is not None:
                found.append(orphan)
        return found

    def _adopt_one(self, path: Path) -> Orphan | None:
        file = SpoolFile.adopt(path) if owner(path) == self._database else None
        if file is None:
            return None
        try:
            contents = file.contents()
            if contents.damaged:
                kept = file.reject(each + b"\n" for each in contents.damaged)
                log.error("%s has %d damaged lines: see %s", path, len(contents.damaged), kept)
        except BaseException:
            file.close()
            raise
        log.warning("%s has %d endings of worker %s", path, len(contents.endings), contents.worker)
        file.outstanding = 1  # the reader's own share, until all has been handed over
        return Orphan(file, contents.endings)

    def _keys(self) -> frozenset[str]:
        keys = set[str]()
        for path in paths(self.folder):
            try:
                contents = read(path)
            except OSError as exc:
                log.warning("%s cannot be read, so its holds may be ended by estimate: %s", path, exc)
                continue
            if contents is not None and contents.database == self._database:
                keys.update(ending.key for ending in contents.endings)
        return frozenset(keys)


@dataclass(slots=True)
class Orphan:
    """A file of a dead worker, and how far it has been handed over."""

    file: SpoolFile
    endings: Sequence[Kept]
    position: int = 0

    def take(self, limit: int) -> Sequence[Kept]:
        """The next endings, empty after the last."""
        part = self.endings[self.position : self.position + limit]
        self.position += len(part)
        return part

    def own(self, ending: Ending) -> None:
        """Remember that `ending` is one of this file."""
        ending.spooled, ending.file = True, self.file
        self.file.outstanding += 1


def _let_go(adopting: asyncio.Future[list[Orphan]]) -> None:
    if not adopting.cancelled() and adopting.exception() is None:
        for orphan in adopting.result():
            orphan.file.close()


def _answer(ending: Ending, *, first: bool) -> Settled:
    state: HoldState = "settled" if ending.state == SETTLED else "void"
    return Settled(ending.key, state, ending.final, first, spooled=True)


def _line(ending: Ending) -> bytes:
    try:
        return ending_line(Kept(ending.key, ending.final, ending.facts))
    except (TypeError, ValueError, RecursionError):  # metadata that JSON has no word for; the charge matters more
        assert ending.facts is not None
        return ending_line(Kept(ending.key, ending.final, plain(ending.facts)))


@immutable
class FileState:
    """A file as somebody from outside finds it."""

    path: Path
    database: str
    """Empty when it cannot be read or its first line is damaged: then nobody replays it."""
    worker: str
    living: bool
    """Whether a process has it locked, which replays it itself."""
    size: int
    endings: int
    damaged: int


def hindrance(folder: Path) -> str | None:
    """Why no file could be made in `folder`, which need not be there yet; `None` when one could."""
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not nearest.is_dir():
        return f"{str(nearest)!r} is not a folder"
    return None if os.access(nearest, os.W_OK | os.X_OK) else f"{str(nearest)!r} is not writable"


def survey(folder: Path) -> list[FileState]:
    """The files in `folder`, of all databases. Waits for the disk."""
    return [state for path in paths(folder) if (state := _state(path)) is not None]


def _state(path: Path) -> FileState | None:
    try:
        file = SpoolFile.adopt(path)
        if file is not None:
            file.close()
        contents, size = read(path), path.stat().st_size
    except FileNotFoundError:
        return None
    except OSError:
        return FileState(path, "", "", False, 0, 0, 0)
    if contents is None:
        return None
    endings, damaged = len(contents.endings), len(contents.damaged)
    return FileState(path, contents.database, contents.worker, file is None, size, endings, damaged)


def put_aside(folder: Path) -> list[Path]:
    """Files with what could not be carried out."""
    return paths(folder, REJECTED)
