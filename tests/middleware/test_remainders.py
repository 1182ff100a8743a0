"""What requests leave undone is done after them, and settled whatever becomes of it."""

from __future__ import annotations

import asyncio

import pytest

from oneapi_mw.middleware.drain import Drain
from oneapi_mw.middleware.remainders import RemainderTasks


class Rest:
    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.gate, self.settled = asyncio.Event(), asyncio.Event()

    async def work(self) -> None:
        await self.gate.wait()
        if self.error is not None:
            raise self.error

    async def settle(self) -> None:
        self.settled.set()


async def test_room_is_taken_and_given_back() -> None:
    tasks, rest = RemainderTasks(at_once=1), Rest()
    assert tasks.has_room()
    tasks.start([rest.work, rest.work], rest.settle)
    assert not tasks.has_room()
    assert not rest.settled.is_set()
    rest.gate.set()
    await rest.settled.wait()
    await asyncio.sleep(0)
    assert tasks.has_room()


async def test_work_that_fails_is_settled_and_told(caplog: pytest.LogCaptureFixture) -> None:
    drain, rest = Drain(), Rest(OSError("gone"))
    RemainderTasks(drain=drain).start([rest.work], rest.settle)
    rest.gate.set()
    assert await drain.finish(60)
    assert rest.settled.is_set()
    assert "OSError: gone" in caplog.text


async def test_a_drain_waits_for_what_has_not_begun_to_run() -> None:
    drain, rest = Drain(), Rest()
    RemainderTasks(drain=drain).start([rest.work], rest.settle)
    finishing = asyncio.create_task(drain.finish(60))
    await asyncio.sleep(0)
    assert not finishing.done()
    rest.gate.set()
    assert await finishing
    assert rest.settled.is_set()


async def test_a_drain_that_was_cut_before_cuts_it() -> None:
    drain, rest = Drain(), Rest()
    drain.cut()
    RemainderTasks(drain=drain).start([rest.work], rest.settle)
    assert await drain.finish(60)
    assert rest.settled.is_set()
