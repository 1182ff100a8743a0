"""Identifiers."""

from __future__ import annotations

import os
import re
import time
import uuid

import pytest

from oneapi_mw import ids


def test_request_ids_sort_by_time_and_have_a_fixed_form(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = [0, 1, 999, 1000, 60_000, 86_399_999, 86_400_000, 40 * 86_400_000 + 5]
    made = []
    for milliseconds in moments:
        nanoseconds = (1_764_000_000_000 // 86_400_000 * 86_400_000 + milliseconds) * 1_000_000
        monkeypatch.setattr(time, "time_ns", lambda now=nanoseconds: now)
        made.append(ids.request_id())

    assert [id_[:12] for id_ in made] == sorted({id_[:12] for id_ in made})
    assert all(re.fullmatch(r"\d{6}[0-9a-v]{6}[0-9a-v]{20}", id_) for id_ in made)


def test_request_ids_of_one_millisecond_differ() -> None:
    assert len({ids.request_id() for _ in range(1000)}) == 1000


def test_uuids_are_version_7() -> None:
    before = time.time_ns() // 1_000_000
    made = [*ids.uuid7s(50), ids.uuid7()]

    assert len(set(made)) == 51
    for text in made:
        value = uuid.UUID(text)
        assert (str(value), value.version, value.variant) == (text, 7, uuid.RFC_4122)
        assert before <= value.int >> 80 <= time.time_ns() // 1_000_000


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_forked_processes_make_different_ids() -> None:
    ids.request_id()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, ids.request_id().encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 32).decode()[12:] != ids.request_id()[12:]
    os.close(reading)
    os.close(writing)
