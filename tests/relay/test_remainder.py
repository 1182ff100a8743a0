"""Channels whose provider charges whatever becomes of the connection: answers are read for clients that have left."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from oneapi_mw.middleware.drain import Drain
from oneapi_mw.middleware.remainders import RemainderTasks
from oneapi_mw.relay import remainder as remainder_module
from oneapi_mw.relay import watch as watch_module
from oneapi_mw.relay.upstream import BodyCut, ClosedBeforeResponse, ConnectFailed
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
    channel,
    chunk,
    event,
    gateway,
    streamed,
    usage_chunk,
)

PROMPT = 10
TEXT = chunk({"content": "x" * 350})  # a hundred tokens
LONG = {"prompt_tokens": 11, "completion_tokens": 150, "total_tokens": 161}
REST = (TEXT, chunk({}, "stop"), usage_chunk(LONG), DONE)
WHOLE, RELAYED = 11 + 4 * 150, PROMPT + 4 * 100


@pytest.fixture(autouse=True)
def _watching_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_module, "GRACE", 0)


class World:
    """One request whose client leaves while the upstream waits at `gate`."""

    def __init__(self, reply: Reply, gate: Gate, *, as_stream: bool, **options: Any) -> None:
        self.gate = gate
        self.upstream, self.ledger, self.drain = ScriptedUpstream(reply), WatchedLedger(), Drain()
        config = {"bills_after_disconnect": True, **options.pop("config", {})}
        self.remainders = RemainderTasks(drain=self.drain, **options.pop("tasks", {}))
        self.app = gateway(
            self.upstream,
            self.ledger,
            channels=[channel(config=config)],
            drain=self.drain,
            remainders=self.remainders,
            **options,
        )
        self.asking: Asking = begin(self.app, stream=as_stream)

    async def left(self) -> None:
        """The client is gone, and its request has ended."""
        await self.gate.reached.wait()
        self.asking.client.leave()
        await self.asking.task

    async def settled(self) -> int:
        """What was charged, once everything has ended."""
        assert await self.drain.finish(60)
        assert self.upstream.all_closed
        assert not [task for task in asyncio.all_tasks() if task.get_name() == "oneapi_mw.chunk"]
        return await self.ledger.check()

    @property
    def metadata(self) -> Any:
        return self.ledger.log[0].facts.metadata


def in_mid_stream(gate: Gate, *rest: Any) -> Reply:
    return streamed(FIRST, TEXT, gate, *(rest or REST))


async def test_client_gone_in_mid_stream_is_read_to_the_final_usage() -> None:
    gate = Gate()
    world = World(in_mid_stream(gate), gate, as_stream=True)
    await world.left()
    assert world.ledger.hold.state == "open"
    assert not world.upstream.all_closed
    gate.open()
    assert await world.settled() == WHOLE
    assert world.metadata["outcome"] == "client_gone"
    assert "usage_source" not in world.metadata


@pytest.mark.parametrize(
    "steps", [lambda gate: (gate, answer()), lambda gate: (answer()[:20], gate, answer()[20:])], ids=["none", "some"]
)
async def test_client_gone_before_a_buffered_answer(steps: Any) -> None:
    gate = Gate()
    world = World(buffered(*steps(gate)), gate, as_stream=False)
    await world.left()
    assert world.ledger.hold.state == "open"
    gate.open()
    assert await world.settled() == COST


@pytest.mark.parametrize("as_stream", [False, True])
async def test_client_gone_before_the_headers(as_stream: bool) -> None:
    gate = Gate()
    reply = streamed(FIRST, TEXT, *REST, waiting=gate) if as_stream else buffered(waiting=gate)
    world = World(reply, gate, as_stream=as_stream)
    await world.left()
    gate.open()
    assert await world.settled() == (WHOLE if as_stream else COST)


async def test_client_gone_while_connecting_is_not_asked_for() -> None:
    gate = Gate()
    world = World(buffered(connecting=gate), gate, as_stream=False)
    await world.left()
    assert await world.settled() == 0
    assert world.ledger.hold.state == "void"


@pytest.mark.parametrize(
    ("rest", "charged"),
    [
        ((TEXT, BodyCut()), PROMPT + 4 * 200),
        ((TEXT, event({"error": {"message": "overloaded"}})), PROMPT + 4 * 200),
        ((usage_chunk(LONG), BodyCut()), WHOLE),
        ((chunk({}, "stop"), DONE), RELAYED),
    ],
    ids=["cut", "error", "usage-then-cut", "no-usage"],
)
async def test_the_rest_of_an_answer_breaks_off(rest: Any, charged: int) -> None:
    gate = Gate()
    world = World(in_mid_stream(gate, *rest), gate, as_stream=True)
    await world.left()
    gate.open()
    assert await world.settled() == charged


@pytest.mark.parametrize(("ambiguous", "charged"), [("void", 0), ("prompt_cost", PROMPT), ("hold", PROMPT + 4 * 50)])
async def test_no_byte_ever_comes(ambiguous: str, charged: int) -> None:
    gate = Gate()
    world = World(buffered(waiting=gate), gate, as_stream=False, config={"ambiguous": ambiguous}, retries=2)
    await world.left()
    gate.fail(ClosedBeforeResponse())
    assert await world.settled() == charged
    assert len(world.upstream.requests) == 1  # nobody waits for another attempt
    assert world.ledger.hold.state == ("void" if ambiguous == "void" else "settled")
    if ambiguous != "void":
        assert world.metadata["price"]["flags"] == [f"ambiguous:{ambiguous}"]


async def test_a_refusal_after_the_client_left_is_not_billed() -> None:
    gate = Gate()
    world = World(buffered(b"{}", status=500, waiting=gate), gate, as_stream=False)
    await world.left()
    gate.open()
    assert await world.settled() == 0


async def test_too_many_at_once_are_cut_off(caplog: pytest.LogCaptureFixture) -> None:
    gate = Gate()
    world = World(in_mid_stream(gate), gate, as_stream=True, tasks={"at_once": 0})
    await world.left()
    assert world.upstream.all_closed
    assert await world.settled() == RELAYED
    assert "DISCONNECT_DRAIN_AT_ONCE" in caplog.text


async def test_a_rest_that_takes_too_long_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    gate = Gate()
    world = World(in_mid_stream(gate), gate, as_stream=True, tasks={"seconds": 0.01})
    await world.left()
    assert await world.settled() == RELAYED
    assert "is given up" in caplog.text


async def test_a_rest_that_is_too_large_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remainder_module, "REMAINDER_BYTES", 0)
    monkeypatch.setattr("oneapi_mw.relay.streaming.REMAINDER_BYTES", 0)
    gate = Gate()
    world = World(in_mid_stream(gate), gate, as_stream=True)
    await world.left()
    gate.open()
    assert await world.settled() == RELAYED


async def test_shutdown_waits_and_then_cuts() -> None:
    gate = Gate()
    world = World(in_mid_stream(gate), gate, as_stream=True)
    await world.left()
    finishing = asyncio.create_task(world.drain.finish(60))
    await asyncio.sleep(0)
    assert not finishing.done()
    world.drain.cut()
    assert await finishing
    assert await world.settled() == RELAYED


@pytest.mark.parametrize("as_stream", [False, True])
async def test_the_server_cancels_and_nothing_outlives_it(as_stream: bool) -> None:
    gate = Gate()
    reply = in_mid_stream(gate) if as_stream else buffered(gate, answer())
    world = World(reply, gate, as_stream=as_stream)
    await gate.reached.wait()
    world.asking.task.cancel()
    await world.asking.end()
    assert world.asking.task.cancelled()
    assert await world.settled() == (RELAYED if as_stream else PROMPT)


@pytest.mark.parametrize("as_stream", [False, True])
async def test_a_client_that_stays_notices_nothing(as_stream: bool) -> None:
    gate = Gate()
    reply = streamed(gate, FIRST, TEXT, *REST) if as_stream else buffered(gate, answer())
    world = World(reply, gate, as_stream=as_stream)
    await gate.reached.wait()
    gate.open()
    assert (await world.asking.end()).ended
    assert await world.settled() == (WHOLE if as_stream else COST)


async def test_attempts_fail_as_they_do_elsewhere() -> None:
    upstream, ledger = ScriptedUpstream(buffered(connecting=ConnectFailed()), buffered()), WatchedLedger()
    config = {"bills_after_disconnect": True}
    app = gateway(upstream, ledger, channels=[channel(n, config=config) for n in (1, 2)], retries=1)
    assert (await begin(app).end()).status == 200
    assert await ledger.check() == COST


async def test_all_calls_of_a_fan_out_are_read() -> None:
    gates = [Gate(), Gate()]
    upstream, ledger, drain = ScriptedUpstream(*(buffered(waiting=gate) for gate in gates)), WatchedLedger(), Drain()
    made = channel(
        models=("o1-mini",),
        model_configs={"o1-mini": {"input_usd_per_mtok": 2, "output_usd_per_mtok": 8}},
        config={"bills_after_disconnect": True},
    )
    app = gateway(upstream, ledger, channels=[made], drain=drain, fan_out_n=True)
    asking = begin(app, model="o1-mini", n=2)
    for gate in gates:
        await gate.reached.wait()
    asking.client.leave()
    await asking.task
    for gate in gates:
        gate.open()
    assert await drain.finish(60)
    assert await ledger.check() == 2 * COST
