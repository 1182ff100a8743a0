"""I-10: wherever a request waits and whatever ends it there, its hold ends once, in memory and on SQLite."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from oneapi_mw.ledger.base import Balance, Denied, Finding, Held, Ledger, LogFacts, Reserve, Settled
from oneapi_mw.middleware.drain import Drain
from oneapi_mw.relay import watch as watch_module
from oneapi_mw.relay.upstream import (
    BodyCut,
    ClosedBeforeResponse,
    ConnectFailed,
    ConnectTimeout,
    FirstByteTimeout,
    IdleTimeout,
    TotalTimeout,
)
from tests.ledger.bank import Bank, MemoryBank, findings, open_bank
from tests.relay.stack import (
    COST,
    DONE,
    FIRST,
    Gate,
    Reply,
    ScriptedUpstream,
    answer,
    begin,
    buffered,
    chunk,
    gateway,
    principal,
    stream,
    streamed,
)

FUNDS = 1_000_000
PROMPT = 10
TEXT = chunk({"content": "x" * 350})  # a hundred tokens
RELAYED = PROMPT + 400
WHOLE = stream("Hello!")
ENDS = ("client-gone", "task-cancelled", "upstream-error", "timeout", "shutdown")


@dataclass(frozen=True)
class Place:
    """Where a request waits, what is owed when it goes no further, and what its upstream can do there."""

    name: str
    script: Callable[[Gate], Reply]
    stream: bool
    owed: int
    error: Exception
    timeout: Exception


PLACES = [
    Place("before-send", lambda gate: buffered(connecting=gate), False, 0, ConnectFailed(), ConnectTimeout()),
    Place("waiting", lambda gate: buffered(waiting=gate), False, PROMPT, ClosedBeforeResponse(), FirstByteTimeout()),
    Place("waiting-for-the-body", lambda gate: buffered(gate, answer()), False, PROMPT, BodyCut(), TotalTimeout()),
    Place("waiting-for-a-stream", lambda gate: streamed(waiting=gate), True, PROMPT, BodyCut(), FirstByteTimeout()),
    Place("mid-stream", lambda gate: streamed(FIRST, TEXT, gate, DONE), True, RELAYED, BodyCut(), IdleTimeout()),
    Place("after-the-last-byte", lambda gate: streamed(*WHOLE, gate), True, COST, BodyCut(), TotalTimeout()),
]


class Counting:
    """A ledger that notes every first ending, and may be slow to answer a reserve."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.remind_below = 0
        self.endings: list[Settled] = []
        self.reserving: Gate | None = None

    async def reserve(self, request: Reserve) -> Held | Denied:
        answer = await self._ledger.reserve(request)
        if self.reserving is not None:
            await self.reserving.wait()
        return answer

    async def extend(self, key: str, by: int, *, mark: int = 0) -> Held | Denied:
        return await self._ledger.extend(key, by, mark=mark)

    async def settle(self, key: str, final: int, facts: LogFacts) -> Settled:
        return await self._note(self._ledger.settle(key, final, facts))

    async def void(self, key: str, *, reason: str = "") -> Settled:
        return await self._note(self._ledger.void(key, reason=reason))

    async def _note(self, ending: Any) -> Settled:
        """The caller may be cancelled, and what it asked for is carried out: so somebody else has to see."""
        waiting = asyncio.ensure_future(ending)
        waiting.add_done_callback(lambda done: self.endings.append(done.result()))
        return await asyncio.shield(waiting)

    async def start(self) -> None:
        await self._ledger.start()

    async def aclose(self) -> None:
        await self._ledger.aclose()

    async def renew(self, marks: Mapping[str, int]) -> None:
        await self._ledger.renew(marks)

    async def sweep(self, *, limit: int = 500) -> int:
        return await self._ledger.sweep(limit=limit)

    async def expire(self, keys: Sequence[str]) -> int:
        return await self._ledger.expire(keys)

    async def user_balance(self, user_id: int) -> Balance:
        return await self._ledger.user_balance(user_id)

    async def token_balance(self, token_id: int) -> Balance:
        return await self._ledger.token_balance(token_id)

    async def audit(self) -> Sequence[Finding]:
        return await self._ledger.audit()


class World:
    def __init__(self, ledger: Ledger, user: int, token: int) -> None:
        self.ledger, self.user, self.token = Counting(ledger), user, token
        self.drain = Drain()

    def begin(self, upstream: ScriptedUpstream, *, as_stream: bool) -> Any:
        who = principal(user_id=self.user, token_id=self.token)
        app = gateway(upstream, self.ledger, who=who, drain=self.drain)
        return begin(app, stream=as_stream)

    async def charged(self) -> int:
        """After everything has ended: what the one request cost."""
        assert await self.drain.finish(60)
        while not self.ledger.endings:
            await asyncio.sleep(0)
        (ending,) = [each for each in self.ledger.endings if each.first]
        balance = await self.ledger.user_balance(self.user)
        assert await findings(self.ledger) == []
        assert balance.quota + balance.used_quota == FUNDS
        assert balance.used_quota == ending.charged
        assert balance.request_count == (1 if ending.state == "settled" else 0)
        return ending.charged


@pytest.fixture(params=["memory", "sqlite"])
async def world(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[World]:
    monkeypatch.setattr(watch_module, "GRACE", 0)
    async with open_bank(request.param, tmp_path) as bank:
        assert isinstance(bank, Bank | MemoryBank)
        user = await bank.user(FUNDS)
        yield World(await bank.ledger(), user, await bank.token(user))


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.name)
async def test_i_10_one_ending(place: Place, end: str, world: World) -> None:
    gate = Gate()
    upstream = ScriptedUpstream(place.script(gate))
    asking = world.begin(upstream, as_stream=place.stream)
    await gate.reached.wait()
    match end:
        case "client-gone":
            asking.client.leave()
        case "task-cancelled":
            asking.task.cancel()
        case "shutdown":
            world.drain.cut()
        case _:
            gate.fail(place.error if end == "upstream-error" else place.timeout)
    await asking.end()
    assert asking.task.cancelled() is (end == "task-cancelled")
    assert upstream.all_closed
    assert len(upstream.requests) == 1
    assert await world.charged() == place.owed


@pytest.mark.parametrize("end", ["client-gone", "task-cancelled", "shutdown"])
async def test_i_10_while_the_hold_is_made(end: str, world: World) -> None:
    gate = world.ledger.reserving = Gate()
    upstream = ScriptedUpstream(buffered())
    asking = world.begin(upstream, as_stream=False)
    await gate.reached.wait()
    if end == "client-gone":
        asking.client.leave()
        gate.open()
    elif end == "shutdown":
        world.drain.cut()
    else:
        asking.task.cancel()
    await asking.end()
    # whoever has been let in is served: that the client has left shows when its answer is waited for
    assert await world.charged() == (COST if upstream.requests else 0)
