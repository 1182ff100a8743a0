"""What streams under way have cost is known while they run, so that a process that dies does not take it with it."""

from __future__ import annotations

from typing import Any

import pytest

from oneapi_mw.ledger.hold import RunningCosts
from oneapi_mw.ledger.memory import MemoryLedger
from oneapi_mw.middleware.drain import Drain
from oneapi_mw.relay import streaming as streaming_module
from oneapi_mw.relay import watch as watch_module
from oneapi_mw.resources import _renew
from tests.relay.stack import (
    COST,
    Gate,
    ScriptedUpstream,
    WatchedLedger,
    answer,
    begin,
    buffered,
    channel,
    chunk,
    gateway,
    stream,
    streamed,
)
from tests.relay.test_fanout import begin as begin_several

PROMPT = 10
TEXT = chunk({"content": "x" * 350})  # a hundred tokens


@pytest.fixture(autouse=True)
def _counting_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming_module, "CHECKPOINT_BYTES", 1)
    monkeypatch.setattr(watch_module, "GRACE", 0)


async def test_a_stream_is_known_by_what_it_has_cost() -> None:
    running, ledger, gates = RunningCosts(), WatchedLedger(), [Gate(), Gate(), Gate()]
    whole = stream("Hello!")
    events: list[Any] = [gates[0], whole[0], TEXT, gates[1], TEXT, gates[2], *whole[1:]]
    asking = begin(gateway(ScriptedUpstream(streamed(*events)), ledger, running=running), stream=True, max_tokens=9000)
    await gates[0].reached.wait()
    assert running.marks() == {}
    gates[0].open()
    await gates[1].reached.wait()
    assert running.marks() == {ledger.hold.request.key: PROMPT + 400}
    running.note(running.marks())
    assert running.marks() == {}
    gates[1].open()
    await gates[2].reached.wait()
    assert running.marks() == {ledger.hold.request.key: PROMPT + 800}
    gates[2].open()
    await asking.end()
    assert running.marks() == {}
    assert await ledger.check() == COST


async def test_a_dead_process_is_charged_for_what_it_had_relayed() -> None:
    running, ledger, gate, now = RunningCosts(), WatchedLedger(), Gate(), [0.0]
    ledger.clock = lambda: now[0]
    events: list[Any] = [*stream("Hello!")[:1], TEXT, gate]
    asking = begin(gateway(ScriptedUpstream(streamed(*events)), ledger, running=running), stream=True, max_tokens=9000)
    await gate.reached.wait()
    await _renew(ledger, running)
    now[0] += 1000
    assert await ledger.sweep() == 1
    assert ledger.hold.final == PROMPT + 400
    asking.task.cancel()
    await asking.end()


async def test_whole_answers_have_nothing_to_note() -> None:
    running, ledger, gate = RunningCosts(), WatchedLedger(), Gate()
    asking = begin(gateway(ScriptedUpstream(buffered(gate, answer())), ledger, running=running))
    await gate.reached.wait()
    assert running.marks() == {}
    gate.open()
    await asking.end()


async def test_the_calls_of_a_fan_out_together() -> None:
    running, ledger, gates = RunningCosts(), WatchedLedger(), [Gate() for _ in range(3)]
    replies = [streamed(*stream("a")[:1], TEXT, gate, *stream("b")[1:]) for gate in gates]
    asking = begin_several(gateway(ScriptedUpstream(*replies), ledger, running=running), stream=True, max_tokens=9000)
    for gate in gates:
        await gate.reached.wait()
    (mark,) = running.marks().values()
    assert 3 * 400 < mark < 3 * 420
    for gate in gates:
        gate.open()
    await asking.end()
    assert running.marks() == {}


async def test_what_is_read_for_a_client_that_left_runs_on() -> None:
    running, ledger, drain, gate = RunningCosts(), WatchedLedger(), Drain(), Gate()
    made = channel(config={"bills_after_disconnect": True})
    upstream = ScriptedUpstream(streamed(*stream("a")[:1], TEXT, gate, *stream("b")[1:]))
    app = gateway(upstream, ledger, running=running, drain=drain, channels=[made])
    asking = begin(app, stream=True, max_tokens=9000)
    await gate.reached.wait()
    asking.client.leave()
    await asking.end()
    assert running.marks() == {ledger.hold.request.key: PROMPT + 400}
    gate.open()
    assert await drain.finish(60)
    assert running.marks() == {}


async def test_a_cost_that_cannot_be_told_keeps_no_lease_from_being_renewed(caplog: pytest.LogCaptureFixture) -> None:
    class Renewed(MemoryLedger):
        async def renew(self, marks: Any) -> None:
            renewed.append(dict(marks))

    def unknown() -> int:
        raise IndexError("no such price")

    running, renewed = RunningCosts(), list[dict[str, int]]()
    running.watch("k", unknown)
    await _renew(Renewed(), running)
    assert renewed == [{}]
    assert "no such price" in caplog.text


def test_what_has_ended_is_forgotten() -> None:
    running = RunningCosts()
    running.watch("a", lambda: 5)
    marks = running.marks()
    running.forget("a")
    running.forget("a")
    running.note(marks)
    assert running.marks() == {}
