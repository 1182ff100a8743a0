"""Every way a request can end, through the whole stack: what is charged, how the hold ends, what the log says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest

from oneapi_mw.errors import StoreUnavailable
from oneapi_mw.relay.upstream import (
    BodyCut,
    ClosedBeforeResponse,
    ConnectFailed,
    ConnectTimeout,
    FirstByteTimeout,
    IdleTimeout,
)
from tests.relay.stack import (
    COST,
    DONE,
    FIRST,
    JSON_TYPE,
    Gate,
    Reply,
    ScriptedUpstream,
    WatchedLedger,
    answer,
    ask,
    begin,
    buffered,
    channel,
    chunk,
    event,
    gateway,
    stream,
    streamed,
    usage_chunk,
)

PROMPT = 10
HOLD = PROMPT + 4 * 50
TEXT = chunk({"content": "x" * 350})  # a hundred tokens
HI = chunk({"content": "Hi"})
ERROR = event({"error": {"message": "no"}})
NO_OUTPUT = {"prompt_tokens": 11, "completion_tokens": 0, "total_tokens": 11}
ZERO = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
POLICIES: tuple[tuple[str | None, int], ...] = ((None, PROMPT), ("void", 0), ("prompt_cost", PROMPT), ("hold", HOLD))
UNHEARD: tuple[Exception, ...] = (ClosedBeforeResponse(), FirstByteTimeout())


@dataclass(frozen=True)
class Row:
    """What the upstream does, and what becomes of it."""

    name: str
    replies: Callable[[], tuple[Reply, ...]]
    charged: int
    stream: bool = False
    config: dict[str, Any] = field(default_factory=dict)
    status: int = 200
    flags: tuple[str, ...] = ()
    source: str | None = None
    body: dict[str, Any] = field(default_factory=dict)
    logged: bool = True

    def __str__(self) -> str:
        return self.name


def one(make: Callable[[], Reply]) -> Callable[[], tuple[Reply, ...]]:
    return lambda: (make(),)


def void(name: str, make: Callable[[], Reply] | None, status: int, **more: Any) -> Row:
    return Row(name, one(make) if make else tuple, 0, status=status, logged=False, **more)


def unheard(fault: Exception, policy: str | None, charged: int) -> Row:
    status = 504 if isinstance(fault, FirstByteTimeout) else 502
    name = f"sent, then {type(fault).__name__}: {policy or 'default'}"
    return Row(
        name,
        one(lambda: buffered(waiting=fault)),
        charged,
        config={} if policy is None else {"ambiguous": policy},
        status=status,
        flags=(f"ambiguous:{policy or 'prompt_cost'}",),
        source="estimated",
        logged=policy != "void",
    )


def mid_stream(name: str, *ending: Any) -> Row:
    return Row(name, one(lambda: streamed(FIRST, TEXT, *ending)), PROMPT + 400, stream=True, source="counted")


FAILED = orjson.dumps({"error": {"message": "overloaded", "type": "server_error"}, "usage": {"prompt_tokens": 9}})
ROWS = [
    void("rejected before send: validation", None, 400, body={"messages": 1}),
    void("rejected before send: no channel", None, 503, body={"model": "unknown"}),
    void("connect refused", lambda: buffered(connecting=ConnectFailed()), 500),
    void("connect timed out", lambda: buffered(connecting=ConnectTimeout()), 504),
    void("upstream answered 400", lambda: buffered(b'{"error":{"message":"no"}}', status=400), 400),
    void("upstream answered 429", lambda: buffered(b"{}", status=429), 429),
    void("upstream answered 500", lambda: buffered(b"{}", status=500), 500),
    void("error as the first event of a stream", lambda: streamed(ERROR), 502, stream=True),
    *(unheard(fault, *policy) for fault in UNHEARD for policy in POLICIES),
    Row(
        "headers, then nothing",
        one(lambda: buffered(BodyCut())),
        PROMPT,
        status=502,
        config={"ambiguous": "void"},
        source="estimated",
    ),
    mid_stream("error frame in mid-stream", ERROR),
    mid_stream("cut in mid-stream", BodyCut()),
    mid_stream("silent in mid-stream", IdleTimeout()),
    mid_stream("a stream without its end"),
    Row("cut after usage", one(lambda: streamed(FIRST, HI, usage_chunk(), BodyCut())), COST, stream=True),
    Row("2xx with usage", one(buffered), COST),
    Row("2xx with usage, streamed", one(streamed), COST, stream=True),
    Row("explicit zero output", one(lambda: buffered(answer("", usage=NO_OUTPUT))), 11),
    Row("explicit zero output, streamed", one(lambda: streamed(*stream(usage=NO_OUTPUT))), 11, stream=True),
    Row("explicit zero usage", one(lambda: buffered(answer("", usage=ZERO))), 1, flags=("minimum",)),
    Row(
        "explicit zero usage, streamed", one(lambda: streamed(*stream(usage=ZERO))), 1, stream=True, flags=("minimum",)
    ),
    Row(
        "explicit zero usage, but output came",
        one(lambda: buffered(answer("x" * 350, usage=ZERO))),
        PROMPT + 400,
        source="counted",
    ),
    Row("failed attempts: not billed", lambda: (Reply((FAILED,), headers=JSON_TYPE), buffered()), COST),
    Row(
        "failed attempts: billed",
        lambda: (Reply((FAILED,), headers=JSON_TYPE), buffered()),
        COST + 9,
        config={"bill_failed_attempts": True},
        flags=("failed_attempt",),
    ),
    Row(
        "failed attempts: billed, and nothing else came",
        lambda: (Reply((FAILED,), headers=JSON_TYPE), buffered(b"{}", status=500)),
        9,
        config={"bill_failed_attempts": True},
        flags=("failed_attempt",),
        status=500,
    ),
    Row(
        "failed attempts: refusals have no usage",
        lambda: (buffered(b"{}", status=500), buffered()),
        COST,
        config={"bill_failed_attempts": True},
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=str)
async def test_outcome(row: Row) -> None:
    upstream, ledger = ScriptedUpstream(*row.replies()), WatchedLedger()
    channels = [channel(n, config=row.config) for n in (1, 2)]
    app = gateway(upstream, ledger, channels=channels, retries=1 if len(row.replies()) > 1 else 0)
    exchanged = await ask(app, stream=row.stream, **row.body)
    assert exchanged.status == row.status
    assert upstream.all_closed
    if not upstream.requests:
        assert ledger.holds == {}  # it never came to that
        return
    assert await ledger.check() == row.charged
    assert ledger.hold.state == ("settled" if row.logged else "void")
    if not row.logged:
        return
    metadata: Any = ledger.log[0].facts.metadata
    assert metadata.get("usage_source") == row.source
    prices = [call["price"] for call in metadata.get("upstream_calls", [])] or [metadata["price"]]
    assert [flag for price in prices for flag in price.get("flags", ())] == list(row.flags)


async def test_hold_of_an_ambiguous_call_among_several() -> None:
    """All that was set aside, and not less than what the others cost."""
    upstream, ledger = ScriptedUpstream(buffered(), buffered(waiting=ClosedBeforeResponse())), WatchedLedger()
    models = {"o1-mini": {"input_usd_per_mtok": 2, "output_usd_per_mtok": 8}}
    made = channel(models=("o1-mini",), model_configs=models, config={"ambiguous": "hold"})
    app = gateway(upstream, ledger, channels=[made], fan_out_n=True, at_once=1)
    asking = begin(app, model="o1-mini", n=2, max_tokens=None, max_completion_tokens=100)
    assert (await asking.end()).status == 502
    assert await ledger.check() == ledger.hold.request.amount


@pytest.mark.parametrize("as_stream", [False, True])
async def test_the_database_is_down_at_settlement(as_stream: bool) -> None:
    """The charge is made all the same, once; the client is not told of an end that is not paid for."""
    upstream, ledger = ScriptedUpstream(streamed() if as_stream else buffered()), WatchedLedger()
    ledger.away = StoreUnavailable("away")
    exchanged = await ask(gateway(upstream, ledger), stream=as_stream)
    assert DONE not in exchanged.body
    assert exchanged.status == (200 if as_stream else 503)
    assert await ledger.check() == COST


@pytest.mark.parametrize("which", [{"user_id": 1}, {"token_id": 1}], ids=["user", "token"])
async def test_an_account_is_disabled_while_a_hold_is_open(which: Any) -> None:
    gate = Gate()
    sent = stream("Hello!")
    upstream, ledger = ScriptedUpstream(streamed(*sent[:2], gate, *sent[2:])), WatchedLedger()
    asking = begin(gateway(upstream, ledger), stream=True)
    await gate.reached.wait()
    ledger.set_enabled(**which, enabled=False)
    gate.open()
    assert (await asking.end()).ended
    assert await ledger.check() == COST
