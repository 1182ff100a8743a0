"""Every place a request can wait, times everything that can go wrong there: one ending of the hold, exact totals,
and no connection left open."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from oneapi_mw.ledger.base import Denied, Held, Reserve
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
from tests.relay.stack import (
    COST,
    DONE,
    FIRST,
    Asking,
    Gate,
    Reply,
    ScriptedUpstream,
    WatchedLedger,
    answer,
    begin,
    buffered,
    chunk,
    gateway,
    stream,
    streamed,
)

PROMPT = 10
TEXT = chunk({"content": "x" * 350})  # a hundred tokens
RELAYED = PROMPT + 400


@pytest.fixture(autouse=True)
def _watching_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_module, "GRACE", 0)


@dataclass(frozen=True)
class Place:
    """Where a request waits, and what is owed when it goes no further."""

    name: str
    script: Callable[[Gate], Reply]
    stream: bool
    owed: int
    failure: Exception
    lateness: Exception


WHOLE = stream("Hello!")
PLACES = [
    Place("connecting", lambda gate: buffered(connecting=gate), False, 0, ConnectFailed(), ConnectTimeout()),
    Place("headers", lambda gate: buffered(waiting=gate), False, PROMPT, ClosedBeforeResponse(), FirstByteTimeout()),
    Place("body", lambda gate: buffered(answer()[:20], gate, answer()[20:]), False, PROMPT, BodyCut(), TotalTimeout()),
    Place("connecting-s", lambda gate: streamed(connecting=gate), True, 0, ConnectFailed(), ConnectTimeout()),
    Place("headers-s", lambda gate: streamed(waiting=gate), True, PROMPT, ClosedBeforeResponse(), FirstByteTimeout()),
    Place("first-event", lambda gate: streamed(gate, *WHOLE), True, PROMPT, BodyCut(), IdleTimeout()),
    Place("mid-stream", lambda gate: streamed(FIRST, TEXT, gate, DONE), True, RELAYED, BodyCut(), IdleTimeout()),
    Place("folding", lambda gate: streamed(FIRST, TEXT, gate, DONE), False, PROMPT, BodyCut(), IdleTimeout()),
]


async def _arrive(place: Place, retries: int = 0) -> tuple[Asking, Gate, ScriptedUpstream, WatchedLedger]:
    gate = Gate()
    upstream, ledger = ScriptedUpstream(place.script(gate)), WatchedLedger()
    asking = begin(gateway(upstream, ledger, retries=retries), stream=place.stream)
    await gate.reached.wait()
    return asking, gate, upstream, ledger


each_place = pytest.mark.parametrize("place", PLACES, ids=lambda place: place.name)


@each_place
async def test_the_client_leaves(place: Place) -> None:
    asking, _, upstream, ledger = await _arrive(place, retries=2)
    seen = len(asking.exchanged.sent)
    asking.client.leave()
    await asking.task
    assert await ledger.check() == place.owed
    assert upstream.all_closed
    assert len(upstream.requests) == 1
    assert len(asking.exchanged.sent) == seen
    if ledger.log:
        assert (ledger.log[0].facts.metadata or {})["outcome"] == "client_gone"


@each_place
async def test_the_server_cancels(place: Place) -> None:
    asking, _, upstream, ledger = await _arrive(place, retries=2)
    asking.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking.task
    assert await ledger.check() == place.owed
    assert upstream.all_closed
    assert len(upstream.requests) == 1
    if ledger.log:
        assert (ledger.log[0].facts.metadata or {})["outcome"] == "cancelled"


@each_place
async def test_the_server_cancels_a_client_that_left(place: Place) -> None:
    asking, _, upstream, ledger = await _arrive(place)
    asking.client.leave()
    asking.task.cancel()
    await asking.end()
    assert asking.task.cancelled()
    assert await ledger.check() == place.owed
    assert upstream.all_closed


@each_place
@pytest.mark.parametrize("kind", ["failure", "lateness"])
async def test_the_upstream_fails(place: Place, kind: str) -> None:
    asking, gate, upstream, ledger = await _arrive(place)
    gate.fail(place.failure if kind == "failure" else place.lateness)
    exchanged = await asking.end()
    assert asking.task.exception() is None
    assert exchanged.ended
    assert b"[DONE]" not in exchanged.body
    assert await ledger.check() == place.owed
    assert upstream.all_closed


@each_place
async def test_the_upstream_fails_while_the_client_leaves(place: Place) -> None:
    asking, gate, upstream, ledger = await _arrive(place)
    asking.client.leave()
    gate.fail(place.failure)
    await asking.end()
    assert asking.task.exception() is None
    assert await ledger.check() == place.owed
    assert upstream.all_closed


@pytest.mark.parametrize("how", ["leaves", "cancelled"])
async def test_after_the_last_byte(how: str) -> None:
    """The answer is out and charged; only the connection is waited for."""
    gate = Gate()
    upstream, ledger = ScriptedUpstream(streamed(*WHOLE, gate)), WatchedLedger()
    asking = begin(gateway(upstream, ledger), stream=True)
    await gate.reached.wait()
    assert asking.exchanged.ended
    _end(asking, how)
    await asking.end()
    assert await ledger.check() == COST
    assert upstream.all_closed


@pytest.mark.parametrize("error", [BodyCut(), IdleTimeout(), TotalTimeout()], ids=lambda error: type(error).__name__)
async def test_the_upstream_fails_after_the_last_byte(error: Exception) -> None:
    gate = Gate()
    upstream, ledger = ScriptedUpstream(streamed(*WHOLE, gate)), WatchedLedger()
    asking = begin(gateway(upstream, ledger), stream=True)
    await gate.reached.wait()
    gate.fail(error)
    await asking.end()
    assert asking.task.exception() is None
    assert await ledger.check() == COST
    assert upstream.all_closed


@pytest.mark.parametrize("how", ["leaves", "cancelled"])
@pytest.mark.parametrize("as_stream", [False, True])
async def test_while_the_charge_is_written(how: str, as_stream: bool) -> None:
    gate = Gate()
    upstream, ledger = ScriptedUpstream(streamed() if as_stream else buffered()), WatchedLedger()
    ledger.settling = gate
    asking = begin(gateway(upstream, ledger), stream=as_stream)
    await gate.reached.wait()
    _end(asking, how)
    if how == "leaves":
        gate.open()
    await asking.end()
    assert await ledger.check() == COST
    assert upstream.all_closed


async def test_cancelled_again_while_cancelled_work_is_charged() -> None:
    gate, settling = Gate(), Gate()
    upstream, ledger = ScriptedUpstream(streamed(FIRST, TEXT, gate)), WatchedLedger()
    ledger.settling = settling
    asking = begin(gateway(upstream, ledger), stream=True)
    await gate.reached.wait()
    asking.task.cancel()
    await settling.reached.wait()
    asking.task.cancel()
    await asking.end()
    assert asking.task.cancelled()
    assert await ledger.check() == RELAYED
    assert upstream.all_closed


def _end(asking: Asking, how: str) -> None:
    if how == "leaves":
        asking.client.leave()
    else:
        asking.task.cancel()


both_ways = pytest.mark.parametrize("how", ["leaves", "cancelled"])


@both_ways
async def test_while_a_client_does_not_read(how: str) -> None:
    upstream, ledger = ScriptedUpstream(streamed(FIRST, TEXT, TEXT, DONE)), WatchedLedger()
    asking = begin(gateway(upstream, ledger), pause_after=2, stream=True)
    await asking.client.paused.wait()
    _end(asking, how)
    await asking.end()
    assert await ledger.check() == RELAYED
    assert upstream.all_closed


@both_ways
async def test_while_a_second_attempt_waits(how: str) -> None:
    gate = Gate()
    upstream, ledger = ScriptedUpstream(buffered(b"{}", status=500), buffered(waiting=gate)), WatchedLedger()
    asking = begin(gateway(upstream, ledger, retries=1))
    await gate.reached.wait()
    _end(asking, how)
    await asking.end()
    assert await ledger.check() == PROMPT
    assert upstream.all_closed


@both_ways
async def test_while_an_error_of_the_upstream_is_read(how: str) -> None:
    gate = Gate()
    upstream, ledger = ScriptedUpstream(buffered(b'{"error"', gate, status=500)), WatchedLedger()
    asking = begin(gateway(upstream, ledger, retries=1))
    await gate.reached.wait()
    _end(asking, how)
    await asking.end()
    assert await ledger.check() == 0
    assert upstream.all_closed


async def test_cancelled_while_the_hold_is_made() -> None:
    class Slow(WatchedLedger):
        async def reserve(self, request: Reserve) -> Held | Denied:
            held = await super().reserve(request)
            await gate.wait()
            return held

    gate = Gate()
    upstream, ledger = ScriptedUpstream(), Slow()
    asking = begin(gateway(upstream, ledger))
    await gate.reached.wait()
    asking.task.cancel()
    await asking.end()
    assert asking.task.cancelled()
    assert await ledger.check() == 0
    assert ledger.hold.state == "void"
    assert upstream.requests == []
