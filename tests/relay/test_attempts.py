"""I-7: what a request costs depends on the attempt that served it, whatever failed before."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import product

import orjson
import pytest

from oneapi_mw.relay.upstream import BodyCut, ClosedBeforeResponse, ConnectFailed, FirstByteTimeout, IdleTimeout
from tests.relay.stack import (
    COST,
    FIRST,
    JSON_TYPE,
    PRICE,
    Reply,
    ScriptedUpstream,
    WatchedLedger,
    answer,
    ask,
    buffered,
    channel,
    chunk,
    event,
    gateway,
    streamed,
    usage_chunk,
)

ERROR = {"error": {"message": "overloaded"}}
DEARER = {name: 10 * price for name, price in PRICE.items()}
FAILURES: Mapping[str, Callable[[], Reply]] = {
    "refused-connection": lambda: buffered(connecting=ConnectFailed()),
    "no-answer": lambda: buffered(waiting=FirstByteTimeout()),
    "reset": lambda: buffered(waiting=ClosedBeforeResponse()),
    "status-500": lambda: buffered(b"{}", status=500),
    "status-429": lambda: buffered(b"{}", status=429),
    "half-a-body": lambda: buffered(answer()[:40], BodyCut()),
    "error-with-usage": lambda: Reply((orjson.dumps({**ERROR, "usage": {"prompt_tokens": 500}}),), headers=JSON_TYPE),
    "error-event": lambda: streamed(event(ERROR)),
    "stream-without-a-word": lambda: streamed(IdleTimeout()),
}
PAIRS = [(first, second) for first, second in product(FAILURES, FAILURES)]


@pytest.mark.parametrize("as_stream", [False, True], ids=["buffered", "stream"])
@pytest.mark.parametrize("failures", [(), *((name,) for name in FAILURES), *PAIRS], ids="-then-".join)
async def test_i_07_attempts_before_do_not_matter(failures: tuple[str, ...], as_stream: bool) -> None:
    replies = [FAILURES[name]() for name in failures]
    upstream = ScriptedUpstream(*replies, streamed() if as_stream else buffered())
    ledger = WatchedLedger()
    served = len(failures) + 1
    channels = [channel(n, model_configs={"small": PRICE if n == served else DEARER}) for n in range(1, served + 1)]
    exchanged = await ask(gateway(upstream, ledger, channels=channels, retries=len(failures)), stream=as_stream)
    assert exchanged.status == 200
    assert len(upstream.requests) == served
    assert await ledger.check() == COST
    assert ledger.log[0].facts.channel_id == served


async def test_i_07_what_an_attempt_told_before_it_failed_is_forgotten() -> None:
    """A stream that nobody asked for is read whole before anything is sent: it may fail after its usage."""
    told = streamed(FIRST, chunk({"content": "x" * 350}), usage_chunk({"prompt_tokens": 900, "completion_tokens": 9}))
    silent = buffered(answer("Hi", usage=None))
    upstream, ledger = ScriptedUpstream(told, silent), WatchedLedger()
    assert (await ask(gateway(upstream, ledger, retries=1))).status == 200
    assert ledger.log[0].facts.prompt_tokens < 900
    assert ledger.log[0].facts.completion_tokens == 1
    await ledger.check()
