"""Looking up names: seldom, once at a time, and never for longer than somebody waits."""

from __future__ import annotations

import asyncio
import socket
from typing import Any, cast

import pytest

from oneapi_mw.relay import resolve
from oneapi_mw.relay.resolve import Resolver
from oneapi_mw.relay.upstream import ConnectFailed

FOUND = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 80))]


class Loop:
    """An event loop's clock and resolver. A lookup ends when `answer` has something."""

    def __init__(self) -> None:
        self.now = 100.0
        self.asked: list[str] = []
        self.answer = asyncio.Queue[Any]()

    def time(self) -> float:
        return self.now

    async def getaddrinfo(self, host: str, port: int, **_: Any) -> Any:
        self.asked.append(host)
        answer = await self.answer.get()
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture
def resolver(loop: Loop) -> Resolver:
    return Resolver(cast(asyncio.AbstractEventLoop, loop), ttl=30)


async def begun(*tasks: asyncio.Task[Any]) -> None:
    """Let tasks run until they wait."""
    for _ in range(5):
        await asyncio.sleep(0)
    assert not any(task.done() for task in tasks)


@pytest.mark.parametrize(
    ("host", "family", "address"),
    [
        ("127.0.0.1", socket.AF_INET, ("127.0.0.1", 80)),
        ("::1", socket.AF_INET6, ("::1", 80, 0, 0)),
    ],
)
async def test_addresses_are_not_asked_for(
    resolver: Resolver, loop: Loop, host: str, family: int, address: tuple[Any, ...]
) -> None:
    (found,) = await resolver.lookup(host, 80)
    assert (found[0], found[4]) == (family, address)
    assert loop.asked == []


async def test_an_answer_is_used_until_it_is_old(resolver: Resolver, loop: Loop) -> None:
    loop.answer.put_nowait(FOUND)
    assert await resolver.lookup("a.test", 80) == FOUND
    loop.now += 29
    assert await resolver.lookup("a.test", 80) == FOUND
    loop.now += 2
    loop.answer.put_nowait(FOUND * 2)
    assert await resolver.lookup("a.test", 80) == FOUND * 2
    assert loop.asked == ["a.test"] * 2


async def test_those_who_ask_together_get_one_answer(resolver: Resolver, loop: Loop) -> None:
    tasks = [asyncio.create_task(resolver.lookup("a.test", 80)) for _ in range(3)]
    await begun(*tasks)
    loop.now += 1
    loop.answer.put_nowait(FOUND)
    assert await asyncio.gather(*tasks) == [FOUND] * 3
    assert loop.asked == ["a.test"]


@pytest.mark.parametrize("answer", [socket.gaierror(), UnicodeError(), []])
async def test_those_who_ask_together_fail_together(resolver: Resolver, loop: Loop, answer: Any) -> None:
    tasks = [asyncio.create_task(resolver.lookup("a.test", 80)) for _ in range(3)]
    await begun(*tasks)
    loop.now += 1
    loop.answer.put_nowait(answer)
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        assert isinstance(result, ConnectFailed)
        assert result.__context__ is None or result.__suppress_context__
    assert loop.asked == ["a.test"]

    loop.answer.put_nowait(FOUND)
    assert await resolver.lookup("a.test", 80) == FOUND, "a failure is not remembered"


async def test_the_next_in_line_takes_over_from_one_that_is_cancelled(resolver: Resolver, loop: Loop) -> None:
    first, second = (asyncio.create_task(resolver.lookup("a.test", 80)) for _ in range(2))
    await begun(first, second)
    first.cancel()
    await begun(second)
    assert first.cancelled()
    loop.answer.put_nowait(FOUND)
    assert await second == FOUND
    assert loop.asked == ["a.test"] * 2


async def test_it_remembers_only_so_many(resolver: Resolver, loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolve, "MAX_NAMES", 2)
    for host in ("a.test", "b.test", "c.test", "c.test", "b.test", "a.test"):
        loop.answer.put_nowait(FOUND)
        await resolver.lookup(host, 80)
    assert loop.asked == ["a.test", "b.test", "c.test", "a.test"]
