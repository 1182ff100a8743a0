"""Files of endings: what is written is what is read, and nothing half written is taken for an ending."""

from __future__ import annotations

import fcntl
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oneapi_mw.ledger.base import LogFacts
from oneapi_mw.ledger.spool_file import Kept, SpoolFile, ending_line, line, owner, parse, paths, read

HEADER = line({"database": "sqlite:////srv/x.db", "worker": "w", "since": 0})
FACTS = st.builds(
    LogFacts,
    username=st.text(),
    content=st.text(),
    channel_id=st.none() | st.integers(0, 2**63 - 1),
    prompt_tokens=st.integers(0, 2**53),
    is_stream=st.booleans(),
    metadata=st.none() | st.dictionaries(st.text(), st.integers(-(2**53), 2**53) | st.text() | st.lists(st.booleans())),
)
ENDINGS = st.lists(st.builds(Kept, st.text(min_size=1, max_size=32), st.integers(0, 2**53), st.none() | FACTS))


@given(ENDINGS)
def test_endings_come_back_as_they_were(endings: list[Kept]) -> None:
    contents = parse(HEADER + b"".join(map(ending_line, endings)))
    assert (contents.database, contents.worker) == ("sqlite:////srv/x.db", "w")
    assert list(contents.endings) == endings
    assert contents.damaged == []


@given(ENDINGS, st.data())
def test_a_file_cut_anywhere_has_the_endings_before_the_cut(endings: list[Kept], data: st.DataObject) -> None:
    lines = [HEADER, *map(ending_line, endings)]
    whole = b"".join(lines)
    cut = data.draw(st.integers(0, len(whole)))
    contents = parse(whole[:cut])

    complete = sum(len(b"".join(lines[: n + 1])) <= cut for n in range(len(lines)))
    assert list(contents.endings) == endings[: max(complete - 1, 0)]
    assert contents.damaged == []


@given(ENDINGS.filter(bool), st.data())
def test_a_changed_byte_never_becomes_another_ending(endings: list[Kept], data: st.DataObject) -> None:
    lines = [HEADER, *map(ending_line, endings)]
    number = data.draw(st.integers(1, len(endings)))
    spoilt = bytearray(lines[number])
    position = data.draw(st.integers(0, len(spoilt) - 2))
    spoilt[position] ^= data.draw(st.sampled_from([1, 2, 4, 64]))
    if spoilt[position] == 10:
        return  # two lines, of which the test below tells
    contents = parse(b"".join([*lines[:number], bytes(spoilt), *lines[number + 1 :]]))

    left = endings[: number - 1] + endings[number:]
    assert list(contents.endings) in (left, endings)  # a change of what only frames the entry is none
    assert number == len(endings) or len(contents.endings) + len(contents.damaged) == len(endings)


def test_a_damaged_line_in_the_middle_is_named() -> None:
    contents = parse(HEADER + b"garbage\n" + line({"key": "no final"}) + ending_line(Kept("k", 1, None)))
    assert list(contents.endings) == [Kept("k", 1, None)]
    assert len(contents.damaged) == 2


def test_a_damaged_first_line_leaves_the_owner_open(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(b"\x00" * 20 + b"\n" + ending_line(Kept("k", 1, None)))
    assert owner(path) == ""
    assert parse(path.read_bytes()).damaged == [b"\x00" * 20]


def test_an_unknown_fact_of_a_newer_version_is_passed_over() -> None:
    text = line({"key": "k", "final": 3, "facts": {"username": "ada", "mood": "good"}})
    assert list(parse(HEADER + text).endings) == [Kept("k", 3, LogFacts(username="ada"))]


def test_a_file_is_locked_private_and_its_own(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "spool"
    file = SpoolFile.create(folder, database="d", worker="host/1 2")
    file.append([ending_line(Kept("k", 1, None))])

    assert stat.S_IMODE(os.stat(file.path).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700
    assert paths(folder) == [file.path]
    assert owner(file.path) == "d"
    assert SpoolFile.adopt(file.path) is None

    file.close()
    adopted = SpoolFile.adopt(file.path)
    assert adopted is not None
    assert adopted.contents().endings == [Kept("k", 1, None)]
    adopted.append([ending_line(Kept("l", 2, None))])
    assert len(adopted.contents().endings) == 2
    adopted.remove()
    assert paths(folder) == []
    assert read(file.path) is None
    assert SpoolFile.adopt(file.path) is None


def test_a_file_that_goes_between_opening_and_locking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = SpoolFile.create(tmp_path, database="d", worker="w")
    file.close()
    really = fcntl.flock

    def late(descriptor: int, how: int) -> None:
        file.path.unlink()
        really(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", late)
    assert SpoolFile.adopt(file.path) is None


def test_a_full_disk_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = SpoolFile.create(tmp_path, database="d", worker="w")
    file.append([ending_line(Kept("a", 1, None))])
    really = os.write

    def half(descriptor: int, data: bytes) -> int:
        monkeypatch.setattr(os, "write", full)
        return really(descriptor, data[: len(data) // 2])

    def full(descriptor: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", half)
    with pytest.raises(OSError, match="No space"):
        file.append([ending_line(Kept("b", 2, None))])
    monkeypatch.undo()
    file.append([ending_line(Kept("c", 3, None))])

    assert file.contents().endings == [Kept("a", 1, None), Kept("c", 3, None)]
    assert file.path.stat().st_size == file.size
    file.close()


def test_no_folder_has_no_files(tmp_path: Path) -> None:
    assert paths(tmp_path / "nowhere") == []
    assert owner(tmp_path / "nowhere" / "x.jsonl") == ""
