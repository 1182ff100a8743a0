"""Noticing that the client has left."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from starlette.types import Message

from oneapi_mw.errors import UpstreamError
from oneapi_mw.relay import watch as watch_module
from oneapi_mw.relay.watch import ClientGone, DisconnectWatch


@pytest.fixture(autouse=True)
def _watching_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_module, "GRACE", 0)


class Line:
    """A server's `receive` that tells of the disconnect once, as hypercorn's does."""

    def __init__(self, *messages: Message) -> None:
        self.messages: asyncio.Queue[Message] = asyncio.Queue()
        for message in messages:
            self.messages.put_nowait(message)

    def leave(self) -> None:
        self.messages.put_nowait({"type": "http.disconnect"})

    async def receive(self) -> Message:
        return await self.messages.get()


async def forever() -> None:
    await asyncio.Event().wait()


async def test_the_await_ends_when_the_client_leaves() -> None:
    line = Line({"type": "http.request"})
    line.leave()
    with pytest.raises(ClientGone), DisconnectWatch(line.receive):
        await forever()
    assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]


async def test_nothing_happens_while_it_stays() -> None:
    with DisconnectWatch(Line().receive):
        await asyncio.sleep(0)
    watchers = [task for task in asyncio.all_tasks() if task.get_name() == "oneapi_mw.disconnect"]
    assert all(task.cancelling() for task in watchers)


async def test_within_the_grace_period_there_is_no_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_module, "GRACE", 60)
    before = asyncio.all_tasks()
    with DisconnectWatch(Line().receive):
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == before


async def test_it_can_be_entered_again() -> None:
    line = Line()
    watch = DisconnectWatch(line.receive)
    with watch:
        await asyncio.sleep(0)
    line.leave()
    with pytest.raises(ClientGone), watch:
        await forever()


def raises(error: BaseException) -> Callable[[], None]:
    def act() -> None:
        raise error

    return act


@pytest.mark.parametrize(
    ("then", "seen"),
    [
        (raises(UpstreamError("cut")), ClientGone),
        (raises(RuntimeError("a fault of ours")), RuntimeError),
    ],
)
async def test_what_the_cancellation_turned_into(then: Callable[[], None], seen: type[Exception]) -> None:
    line = Line()
    line.leave()

    async def work() -> None:
        with DisconnectWatch(line.receive):
            try:
                await forever()
            except asyncio.CancelledError:
                then()

    with pytest.raises(seen):
        await work()


async def test_work_that_was_done_all_the_same_is_kept_and_the_next_fails() -> None:
    line = Line()
    line.leave()
    watch = DisconnectWatch(line.receive)
    with watch:
        try:
            await forever()
        except asyncio.CancelledError:
            result = "done"
    assert result == "done"
    assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]
    with pytest.raises(ClientGone), watch:
        raise AssertionError("not entered")


async def test_a_cancellation_from_outside_stays_one() -> None:
    line = Line()
    entered = asyncio.Event()

    async def work() -> None:
        with DisconnectWatch(line.receive):
            entered.set()
            await forever()

    for leaving in (False, True):
        entered.clear()
        task = asyncio.create_task(work())
        await entered.wait()
        if leaving:
            line.leave()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
