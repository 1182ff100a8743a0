"""A request whose client lost the reasoning is asked once more: where, when and for how much."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import orjson
import pytest

from oneapi_mw.relay.app import RelayLimits
from oneapi_mw.relay.upstream import Timeouts
from tests.relay.stack import (
    COST,
    Gate,
    Reply,
    ScriptedUpstream,
    WatchedLedger,
    ask,
    begin,
    buffered,
    channel,
    event,
    gateway,
    streamed,
)
from tests.support.harness import Exchanged

WORDS = "The `reasoning_content` in the thinking mode must be passed back to the API."
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
MESSAGES: list[dict[str, Any]] = [
    {"role": "user", "content": "hello"},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "c", "content": "1"},
]
STREAMS = pytest.mark.parametrize("as_stream", [False, True])


def refused(words: str = WORDS, status: int = 400, **changes: Any) -> Reply:
    return buffered(
        orjson.dumps({"error": {"message": words, "type": "invalid_request_error"}}), status=status, **changes
    )


def good(as_stream: bool) -> Reply:
    return streamed() if as_stream else buffered()


async def asked(upstream: ScriptedUpstream, ledger: WatchedLedger, *, retries: int = 2, **changes: Any) -> Exchanged:
    return await ask(gateway(upstream, ledger, retries=retries), messages=MESSAGES, **changes)


def filled(upstream: ScriptedUpstream) -> list[Any]:
    """What each request brought back."""
    return [request.body["messages"][1].get("reasoning_content") for request in upstream.requests]


@pytest.mark.parametrize(
    "first",
    [
        lambda: refused(),
        lambda: refused(status=422),
        lambda: refused(status=500),
        lambda: buffered(orjson.dumps({"error": {"message": WORDS, "code": 400}})),
        lambda: streamed(event({"error": {"message": WORDS}})),
        lambda: buffered(
            orjson.dumps({"detail": [{"msg": "missing", "loc": ["reasoning_content is required"]}]}), status=422
        ),
    ],
    ids=["400", "422", "500", "200", "stream", "list"],
)
@STREAMS
async def test_cv_46_the_same_channel_is_asked_again_and_one_answer_is_charged(first: Any, as_stream: bool) -> None:
    upstream, ledger = ScriptedUpstream(first(), good(as_stream)), WatchedLedger()
    exchanged = await asked(upstream, ledger, stream=as_stream)
    assert exchanged.status == 200
    assert exchanged.headers["x-oneapi-dropped"] == "reasoning=emulated"
    assert filled(upstream) == [None, " "]
    assert len({request.url for request in upstream.requests}) == 1
    assert await ledger.check() == COST
    assert ledger.log[0].facts.channel_id == 1
    assert upstream.all_closed


@pytest.mark.parametrize(
    "second", [lambda: refused(), lambda: refused("Unknown parameter: 'x'."), lambda: refused(status=500)]
)
@STREAMS
async def test_cv_79_a_second_refusal_is_passed_on_and_costs_nothing(second: Any, as_stream: bool) -> None:
    upstream, ledger = ScriptedUpstream(refused(), second(), good(as_stream)), WatchedLedger()
    exchanged = await asked(upstream, ledger, stream=as_stream)
    assert exchanged.status in (400, 500)
    assert filled(upstream) == [None, " "], "CV-87: no other channel is asked"
    assert await ledger.check() == 0


@STREAMS
async def test_a_channel_that_fails_on_the_repaired_request_is_followed_by_the_next(as_stream: bool) -> None:
    failing = buffered(b"{}", status=503)
    upstream, ledger = ScriptedUpstream(refused(), failing, good(as_stream)), WatchedLedger()
    assert (await asked(upstream, ledger, stream=as_stream)).status == 200
    assert filled(upstream) == [None, " ", " "]
    assert [request.url.split("/")[2] for request in upstream.requests] == [
        "upstream-1.test",
        "upstream-1.test",
        "upstream-2.test",
    ]
    assert await ledger.check() == COST
    assert ledger.log[0].facts.channel_id == 2


async def test_asking_again_is_no_retry() -> None:
    """It needs none of the retries, and takes none of them away."""
    upstream = ScriptedUpstream(refused(), buffered())
    assert (await asked(upstream, WatchedLedger(), retries=0)).status == 200
    upstream = ScriptedUpstream(buffered(b"{}", status=503), refused(), buffered(b"{}", status=503), buffered())
    assert (await asked(upstream, WatchedLedger(), retries=2)).status == 200
    assert filled(upstream) == [None, None, " ", " "]


async def test_what_cannot_be_repaired_is_not_sent_again() -> None:
    upstream, ledger = ScriptedUpstream(refused(), buffered()), WatchedLedger()
    exchanged = await ask(gateway(upstream, ledger, retries=2))
    assert (exchanged.status, len(upstream.requests)) == (400, 1)
    assert WORDS in exchanged.json()["error"]["message"]
    assert await ledger.check() == 0


@pytest.mark.parametrize("config", [{"strict_conversion": True}, {"strict_passthrough": True}])
async def test_an_operator_who_wants_nothing_left_out_gets_the_refusal(config: dict[str, Any]) -> None:
    upstream = ScriptedUpstream(refused(), buffered())
    app = gateway(upstream, WatchedLedger(), channels=[channel(1, config=config), channel(2)], retries=2)
    assert (await ask(app, messages=MESSAGES)).status == 400
    assert len(upstream.requests) == 1


async def test_both_requests_share_one_deadline() -> None:
    gate = Gate()
    asyncio.get_running_loop().call_later(0.005, gate.open)  # the loop's clock has milliseconds
    upstream = ScriptedUpstream(refused(waiting=gate), buffered())
    app = gateway(upstream, WatchedLedger(), limits=RelayLimits(Timeouts(total=100)))
    await ask(app, messages=MESSAGES)
    first, second = (request.timeouts.total for request in upstream.requests)
    assert 0 < second < first == 100


async def test_a_client_that_leaves_meanwhile_pays_for_what_was_sent_last() -> None:
    gate = Gate()
    upstream, ledger = ScriptedUpstream(refused(), buffered(waiting=gate)), WatchedLedger()
    asking = begin(gateway(upstream, ledger), messages=MESSAGES)
    await gate.reached.wait()
    asking.client.leave()
    await asking.end()
    assert await ledger.check() > 0


async def test_the_operator_can_read_what_was_done(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "oneapi_mw.relay")
    await asked(ScriptedUpstream(refused(), buffered()), WatchedLedger())
    (line,) = [record.getMessage() for record in caplog.records if record.name == "oneapi_mw.relay"]
    assert "channel=1 asked again" in line
    assert "remedy=fill_reasoning" in line
