"""One file of endings that the database has not confirmed: JSON lines, each with a checksum of its own.

    {"crc32":"5d0a2c11","entry":{"database":"sqlite:////srv/one-api.db","worker":"host-1-ab12","since":1790000000000}}
    {"crc32":"90cf31be","entry":{"key":"req-1","final":57,"facts":{"username":"ada"}}}

The first line says whose the file is. Whoever has locked a file may write to it, replay it and remove it; the lock goes
with the process, however that ends. A line that is torn at the end of a file was never promised to anybody.
"""

from __future__ import annotations

import fcntl
import os
import re
import time
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from oneapi_mw import jsontext
from oneapi_mw.immutable import immutable
from oneapi_mw.ledger.base import LogFacts
from oneapi_mw.types import Quota

SUFFIX, REJECTED = ".jsonl", ".rejected"
_START, _MIDDLE, _END = b'{"crc32":"', b'","entry":', b"}"
_CRC_DIGITS = 8
_NO_FACTS = asdict(LogFacts())
_FACT_NAMES = frozenset(field.name for field in fields(LogFacts))


class Damaged(ValueError):
    """A line that is not what was written."""


@immutable
class Kept:
    """An ending as a file keeps it."""

    key: str
    final: Quota
    facts: LogFacts | None
    """`None` for a void."""


@immutable
class Contents:
    """What can be read of a file."""

    database: str
    """Empty when the first line is damaged: then nobody knows whose the endings are."""
    worker: str
    endings: Sequence[Kept]
    damaged: Sequence[bytes]
    """Lines that are not what was written, except a torn last one."""


def line(entry: Mapping[str, Any]) -> bytes:
    """`entry` as a line of a file."""
    text = jsontext.dumps(entry)
    return b"%s%08x%s%s%s\n" % (_START, zlib.crc32(text), _MIDDLE, text, _END)


def entry_of(line: bytes) -> Any:
    """What a line without its end says. Raises `Damaged`."""
    text_at = len(_START) + _CRC_DIGITS + len(_MIDDLE)
    digits, text = line[len(_START) : len(_START) + _CRC_DIGITS], line[text_at : -len(_END)]
    if digits != b"%08x" % zlib.crc32(text):
        raise Damaged("the checksum differs")
    try:
        return jsontext.loads(text)
    except ValueError as exc:
        raise Damaged(str(exc)) from exc


def ending_line(kept: Kept) -> bytes:
    """The line of an ending. Facts that have their default take no room."""
    facts = None
    if kept.facts is not None:
        facts = {name: value for name, value in asdict(kept.facts).items() if value != _NO_FACTS[name]}
    return line({"key": kept.key, "final": kept.final, "facts": facts})


def _kept(entry: Any) -> Kept:
    try:
        facts = entry["facts"]
        if facts is not None:
            facts = LogFacts(**{name: value for name, value in facts.items() if name in _FACT_NAMES})
        return Kept(str(entry["key"]), int(entry["final"]), facts)
    except (KeyError, TypeError, AttributeError) as exc:
        raise Damaged(f"not an ending: {exc}") from exc


def parse(data: bytes) -> Contents:
    """Read a whole file."""
    lines = data.split(b"\n")
    lines.pop()  # what follows the last line's end: nothing, or a torn line
    header: Any = {}
    endings, damaged = list[Kept](), list[bytes]()
    for number, each in enumerate(lines):
        try:
            entry = entry_of(each)
            if number == 0:
                header = entry
            else:
                endings.append(_kept(entry))
        except Damaged:
            if number < len(lines) - 1 or number == 0:
                damaged.append(each)
    return Contents(str(header.get("database", "")), str(header.get("worker", "")), endings, damaged)


class SpoolFile:
    """A file this process has locked. Every method waits for the disk.

    `outstanding` counts the endings in it that the database has not confirmed.
    """

    def __init__(self, path: Path, descriptor: int, size: int) -> None:
        self.path = path
        self.size = size
        self.outstanding = 0
        self._descriptor = descriptor

    @classmethod
    def create(cls, folder: Path, *, database: str, worker: str) -> SpoolFile:
        """A new file, locked before anybody else can see it."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = new_path(folder, worker)
        hidden = path.with_suffix(".new")
        descriptor = os.open(hidden, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            file = cls(path, descriptor, 0)
            file.append([line({"database": database, "worker": worker, "since": time.time_ns() // 1_000_000})])
            hidden.rename(path)
            _sync_folder(folder)
        except BaseException:
            os.close(descriptor)
            hidden.unlink(missing_ok=True)
            raise
        return file

    @classmethod
    def adopt(cls, path: Path) -> SpoolFile | None:
        """The file a dead worker left at `path`; `None` while its worker lives, or when it has just gone."""
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_APPEND)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            found = os.fstat(descriptor)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except BaseException:
            os.close(descriptor)
            raise
        if not found.st_nlink:  # replayed and removed between the two calls
            os.close(descriptor)
            return None
        return cls(path, descriptor, found.st_size)

    def append(self, lines: Iterable[bytes]) -> None:
        """Write `lines`; they are on the disk when this returns. Raises `OSError`, with the file as it was."""
        left = b"".join(lines)
        size = self.size + len(left)
        try:
            while left:
                left = left[os.write(self._descriptor, left) :]
            os.fsync(self._descriptor)
        except OSError:
            os.ftruncate(self._descriptor, self.size)  # half a line would spoil the one written after it
            raise
        self.size = size

    def contents(self) -> Contents:
        return parse(self.path.read_bytes())

    def reject(self, lines: Iterable[bytes]) -> Path:
        """Put what cannot be carried out into a file beside this one, for a person to look at."""
        return reject(self.path, lines)

    def remove(self) -> None:
        """All is confirmed."""
        self.path.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Let go of the lock. What is in the file is whoever's who takes it next."""
        os.close(self._descriptor)


def new_path(folder: Path, worker: str) -> Path:
    """The name of a worker's next file."""
    return folder / f"{re.sub(r'[^A-Za-z0-9._-]', '_', worker)}-{time.time_ns()}{SUFFIX}"


def reject(path: Path, lines: Iterable[bytes]) -> Path:
    """Add `lines` to the file of rejected ones that belongs to `path`. Waits for the disk; raises `OSError`."""
    path = path.with_suffix(REJECTED)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "ab") as file:
        file.write(b"".join(lines))
        file.flush()
        os.fsync(descriptor)
    return path


def _sync_folder(folder: Path) -> None:
    """A file survives a power cut only when its name does."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def paths(folder: Path, suffix: str = SUFFIX) -> list[Path]:
    """The files in `folder`, oldest name first; none when there is no such folder, or none that can be read."""
    try:
        return sorted(path for path in folder.iterdir() if path.suffix == suffix)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return []


def owner(path: Path) -> str:
    """The database a file is for; empty when it cannot be told."""
    try:
        with path.open("rb") as file:
            return parse(file.readline()).database
    except FileNotFoundError:
        return ""


def read(path: Path) -> Contents | None:
    """What is in a file, whoever has locked it; `None` when it has gone."""
    try:
        return parse(path.read_bytes())
    except FileNotFoundError:
        return None
