"""Name lookups: bounded in time and number, remembered, and never the reason a process cannot end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest

from oneapi_mw.relay import lookup as module
from oneapi_mw.relay.lookup import Lookup, LookupFailed


class Names:
    """A resolver whose answers a test can hold back."""

    def __init__(self, **known: Sequence[str]) -> None:
        self.known = known
        self.asked: list[str] = []
        self.go = threading.Event()
        self.go.set()
        self.begun = threading.Event()
        self.threads: set[str] = set()

    def __call__(self, host: str) -> Sequence[str]:
        self.asked.append(host)
        self.threads.add(threading.current_thread().name)
        self.begun.set()
        self.go.wait(60)
        if host not in self.known:
            raise OSError(host)
        return self.known[host]


async def test_answers_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    names = Names(a=["8.8.8.8"])
    lookup = Lookup(names)
    assert await lookup("a") == await lookup("a") == ["8.8.8.8"]
    for _ in range(2):
        with pytest.raises(LookupFailed):
            await lookup("b")
    assert names.asked == ["a", "b"]
    assert names.threads == {"oneapi_mw.lookup"}
    monkeypatch.setattr(module, "FOUND_SECONDS", 0)
    await Lookup(names)("a")
    lookup = Lookup(names)
    await lookup("a")
    await lookup("a")
    assert names.asked[2:] == ["a", "a", "a"]


async def test_a_slow_resolver_is_not_waited_for_and_counts_until_it_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AT_ONCE", 1)
    names = Names(a=["8.8.8.8"], b=["9.9.9.9"])
    lookup = Lookup(names, seconds=0.01)
    names.go.clear()
    with pytest.raises(LookupFailed):
        await lookup("a")
    with pytest.raises(LookupFailed):
        await lookup("b")
    await asyncio.to_thread(names.begun.wait)
    assert names.asked == ["a"]
    names.go.set()
    while lookup._running:
        await asyncio.sleep(0)
    lookup = Lookup(names)
    assert await lookup("b") == ["9.9.9.9"]


async def test_being_cancelled_is_normal() -> None:
    names = Names(a=["8.8.8.8"])
    lookup = Lookup(names)
    names.go.clear()
    task = asyncio.create_task(lookup("a"))
    while not names.asked:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    names.go.set()
    while lookup._running:
        await asyncio.sleep(0)
    assert await lookup("a") == ["8.8.8.8"]


async def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_NAMES", 2)
    lookup = Lookup(Names(a=["1.1.1.1"], b=["1.1.1.2"], c=["1.1.1.3"]))
    for host in "abc":
        await lookup(host)
    assert list(lookup._known) == ["b", "c"]


async def test_a_loop_that_ended_meanwhile_is_no_error() -> None:
    names = Names(a=["8.8.8.8"])
    names.go.clear()

    async def ask() -> None:
        with pytest.raises(LookupFailed):
            await Lookup(names, seconds=0.01)("a")

    await asyncio.to_thread(asyncio.run, ask())
    thread = next(each for each in threading.enumerate() if each.name == "oneapi_mw.lookup")
    names.go.set()
    await asyncio.to_thread(thread.join)


async def test_the_systems_resolver_knows_this_machine_and_no_nonsense() -> None:
    lookup = Lookup()
    assert "127.0.0.1" in await lookup("127.0.0.1")
    with pytest.raises(LookupFailed):
        await lookup("a" * 64 + ".example")
