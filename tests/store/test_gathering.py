"""Natural group commit of rows that many requests add."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from oneapi_mw.errors import StoreUnavailable
from oneapi_mw.store import gathering
from oneapi_mw.store.gathering import Gathering


class Table:
    """What was committed, batch by batch. The first batch waits until it is let go on."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.begun = asyncio.Event()
        self.go_on = asyncio.Event()
        self.away = False
        self.gathering = Gathering(self.commit, size=len)
        self.first = asyncio.create_task(self.gathering.put("first"))

    async def commit(self, members: Sequence[str]) -> None:
        self.begun.set()
        await self.go_on.wait()
        if self.away:
            raise StoreUnavailable("away", retry_after=2)
        if "bad" in members:
            raise ValueError("bad")
        self.batches.append(list(members))

    async def put(self, *members: str) -> list[asyncio.Task[None]]:
        """Tasks that wait; what they bring is queued."""
        tasks = [asyncio.create_task(self.gathering.put(member)) for member in members]
        await asyncio.sleep(0)  # they run up to their waiting
        return tasks


@pytest.fixture
async def table() -> Table:
    """A table whose first batch, `first`, has begun and waits."""
    table = Table()
    await table.begun.wait()
    return table


async def test_what_came_meanwhile_is_the_next_batch(table: Table) -> None:
    tasks = await table.put("a", "b", "c")
    assert not any(task.done() for task in tasks)
    table.go_on.set()
    await asyncio.gather(*tasks)
    assert table.batches == [["first"], ["a", "b", "c"]]
    await table.gathering.put("d")
    assert table.batches[2:] == [["d"]]


async def test_a_bad_member_goes_alone(table: Table) -> None:
    tasks = await table.put("a", "bad", "b")
    table.go_on.set()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(each) for each in done] == [type(None), ValueError, type(None)]
    assert table.batches == [["first"], ["a"], ["b"]]


async def test_a_database_that_is_away_is_told_to_all(table: Table) -> None:
    table.away = True
    tasks = await table.put("a", "b")
    table.go_on.set()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert [getattr(each, "retry_after", None) for each in done] == [2, 2]
    assert done[0] is not done[1]
    await asyncio.gather(table.first, return_exceptions=True)
    table.away = False
    await table.gathering.put("c")
    assert table.batches == [["c"]]


async def test_who_waits_no_more_is_left_out(table: Table) -> None:
    tasks = await table.put("a", "b")
    tasks[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        await tasks[0]
    table.go_on.set()
    await tasks[1]
    assert table.batches == [["first"], ["b"]]


async def test_who_leaves_a_batch_that_runs_stops_no_other(table: Table) -> None:
    tasks = await table.put("a", "b")
    table.go_on.set()
    table.first.cancel()
    await asyncio.gather(*tasks)
    assert table.batches == [["first"], ["a", "b"]]


async def test_batches_have_limits(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "MAX_BATCH", 3)
    monkeypatch.setattr(gathering, "MAX_BATCH_BYTES", 5)
    tasks = await table.put("a", "b", "c", "d", "x" * 9, "eee", "fff")
    table.go_on.set()
    await asyncio.gather(*tasks)
    assert table.batches[1:] == [["a", "b", "c"], ["d"], ["x" * 9], ["eee"], ["fff"]]


async def test_closing_waits_for_what_is_on_its_way(table: Table) -> None:
    closing = asyncio.create_task(table.gathering.aclose())
    tasks = await table.put("a")
    assert not closing.done()
    table.go_on.set()
    await closing
    await asyncio.gather(*tasks)
    assert table.batches == [["first"], ["a"]]
    await table.gathering.aclose()


async def test_nobody_waits_for_ever_for_what_was_cancelled(table: Table) -> None:
    tasks = await table.put("a")
    assert table.gathering._task is not None
    table.gathering._task.cancel()
    done = await asyncio.gather(table.first, *tasks, return_exceptions=True)
    assert [type(each) for each in done] == [asyncio.CancelledError] * 2
