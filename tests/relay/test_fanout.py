"""Requests that take several upstream calls: one answer, one hold, one charge, and nothing left running."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any, cast

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.types import ASGIApp

from oneapi_mw.pricing.card import decode_card
from oneapi_mw.pricing.recompute import recompute_row
from oneapi_mw.relay import watch as watch_module
from oneapi_mw.relay.upstream import BodyCut, ClosedBeforeResponse, ConnectFailed
from oneapi_mw.wire.framing.sse import SseDecoder
from tests.relay.stack import (
    DONE,
    FIRST,
    HEADERS,
    PRICE,
    Asking,
    Gate,
    Reply,
    ScriptedUpstream,
    WatchedLedger,
    answer,
    buffered,
    channel,
    chunk,
    gateway,
    stream,
    streamed,
)
from tests.support.harness import Client, Exchanged, http_scope

PROMPTS = ["A", "B", "C"]
ONE_AT_A_TIME = "o1-mini"
"""A model that refuses `n`."""


@pytest.fixture(autouse=True, scope="module")
def _watching_at_once() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(watch_module, "GRACE", 0)
        yield


def begin(app: ASGIApp, *, pause_after: int | None = None, **fields: Any) -> Asking:
    """Start a request for text completions."""
    body = {"model": "small", "prompt": PROMPTS, "max_tokens": 50, **fields}
    client = Client(orjson.dumps(body), pause_after=pause_after)
    scope = http_scope("POST", "/v1/completions", headers=HEADERS)
    return Asking(app, client, asyncio.ensure_future(app(scope, client.receive, client.send)))


async def ask(app: ASGIApp, **fields: Any) -> Exchanged:
    return await begin(app, **fields).end()


def chat(app: ASGIApp, **fields: Any) -> Asking:
    """Start a chat with a model that gives one answer at a time."""
    body = {"model": ONE_AT_A_TIME, "messages": [{"role": "user", "content": "Say hello"}], **fields}
    client = Client(orjson.dumps(body))
    scope = http_scope("POST", "/v1/chat/completions", headers=HEADERS)
    return Asking(app, client, asyncio.ensure_future(app(scope, client.receive, client.send)))


def single(number: int = 1, **changes: Any) -> Any:
    """A channel with that model."""
    return channel(number, models=(ONE_AT_A_TIME,), model_configs={ONE_AT_A_TIME: PRICE}, **changes)


def usage(prompt: int, completion: int) -> dict[str, int]:
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def said(exchanged: Exchanged) -> dict[int, str]:
    """The text of each choice of a stream."""
    found: dict[int, str] = {}
    for event in SseDecoder().feed(exchanged.body):
        chunk = {} if event.data == b"[DONE]" else orjson.loads(event.data)
        for choice in chunk.get("choices", ()):
            found[choice["index"]] = found.get(choice["index"], "") + choice["text"]
    return found


# One answer.


async def test_a_list_of_prompts_is_one_answer_in_their_order() -> None:
    gate = Gate()  # the first one is the last to come
    replies = (
        buffered(gate, answer("one", usage=usage(5, 1))),
        buffered(answer("two", usage=usage(6, 2))),
        buffered(answer("three", usage=usage(7, 3))),
    )
    upstream, ledger = ScriptedUpstream(*replies), WatchedLedger()
    asking = begin(gateway(upstream, ledger))
    await gate.reached.wait()
    gate.open()
    body = (await asking.end()).json()
    assert [(choice["index"], choice["text"]) for choice in body["choices"]] == [(0, "one"), (1, "two"), (2, "three")]
    assert body["object"] == "text_completion"
    assert {name: body["usage"][name] for name in usage(0, 0)} == usage(18, 6)
    assert [request.body["messages"][0]["content"] for request in upstream.requests] == PROMPTS
    assert await ledger.check() == 18 * 1 + 6 * 4
    assert upstream.all_closed
    (row,) = ledger.log
    assert (row.facts.prompt_tokens, row.facts.completion_tokens) == (18, 6)
    metadata = cast(dict[str, Any], row.facts.metadata)
    assert [call["completion_tokens"] for call in metadata["upstream_calls"]] == [1, 2, 3]
    assert recompute_row({}, metadata, lambda _: decode_card(PRICE)) == row.quota


async def test_streams_interleave() -> None:
    gates = [Gate(), Gate()]
    replies = (
        streamed(FIRST, chunk({"content": "a1"}), gates[0], chunk({"content": "a2"}), *_ending(4, 1)),
        streamed(FIRST, chunk({"content": "b1"}), gates[1], chunk({"content": "b2"}), *_ending(5, 2)),
    )
    upstream, ledger = ScriptedUpstream(*replies), WatchedLedger()
    asking = begin(gateway(upstream, ledger), prompt=["A", "B"], stream=True, stream_options={"include_usage": True})
    await gates[0].reached.wait()
    await gates[1].reached.wait()
    assert said(asking.exchanged) == {0: "a1", 1: "b1"}
    gates[1].open()
    await asking.client.until(lambda exchanged: "b2" in said(exchanged).get(1, ""))
    gates[0].open()
    exchanged = await asking.end()
    assert said(exchanged) == {0: "a1a2", 1: "b1b2"}
    assert exchanged.body.count(b"[DONE]") == 1
    assert await ledger.check() == 9 * 1 + 3 * 4
    assert len({data["id"] for data in _chunks(exchanged)}) == 1
    assert {name: _chunks(exchanged)[-1]["usage"][name] for name in usage(0, 0)} == usage(9, 3)


def _ending(prompt: int, completion: int) -> list[bytes]:
    tail = stream(usage=usage(prompt, completion))
    return tail[1:]


def _chunks(exchanged: Exchanged) -> list[dict[str, Any]]:
    events = SseDecoder().feed(exchanged.body)
    return [orjson.loads(event.data) for event in events if event.data != b"[DONE]"]


@pytest.mark.parametrize("as_stream", [False, True])
async def test_several_answers_to_several_prompts(as_stream: bool) -> None:
    def reply(name: str) -> Reply:
        two = {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": "small",
            "choices": [
                {"index": index, "message": {"role": "assistant", "content": f"{name}{index}"}, "finish_reason": "stop"}
                for index in (0, 1, 2)  # one more than was asked for
            ],
            "usage": usage(5, 4),
        }
        return buffered(orjson.dumps(two))

    upstream, ledger = ScriptedUpstream(reply("a"), reply("b")), WatchedLedger()
    exchanged = await ask(gateway(upstream, ledger), prompt=["A", "B"], n=2, echo=True, stream=as_stream)
    assert [request.body["n"] for request in upstream.requests] == [2, 2]
    expected = {0: "Aa0", 1: "Aa1", 2: "Bb0", 3: "Bb1"}
    if as_stream:
        assert said(exchanged) == expected
    else:
        assert {choice["index"]: choice["text"] for choice in exchanged.json()["choices"]} == expected
    assert await ledger.check() == 2 * (5 * 1 + 4 * 4)


async def test_several_answers_are_refused_unless_the_switch_is_on() -> None:
    refusing = ScriptedUpstream(
        buffered(b'{"error":{"message":"n must be 1","type":"invalid_request_error"}}', status=400)
    )
    ledger = WatchedLedger()
    exchanged = await chat(gateway(refusing, ledger, channels=[single()]), n=3).end()
    assert exchanged.status == 400
    assert len(refusing.requests) == 1
    assert await ledger.check() == 0

    upstream, ledger = ScriptedUpstream(*(buffered(answer(word)) for word in ("x", "y", "z"))), WatchedLedger()
    exchanged = await chat(gateway(upstream, ledger, channels=[single()], fan_out_n=True), n=3, seed=5).end()
    choices = exchanged.json()["choices"]
    assert [(choice["index"], choice["message"]["content"]) for choice in choices] == [(0, "x"), (1, "y"), (2, "z")]
    assert [request.body["seed"] for request in upstream.requests] == [5, 6, 7]
    assert all("n" not in request.body for request in upstream.requests)
    assert await ledger.check() == 3 * (11 + 28)


async def test_a_channel_may_switch_it_on() -> None:
    upstream, ledger = ScriptedUpstream(buffered(), buffered()), WatchedLedger()
    app = gateway(upstream, ledger, channels=[single(config={"fan_out_n": True})])
    assert len((await chat(app, n=2).end()).json()["choices"]) == 2


async def test_upstreams_that_give_several_are_asked_once() -> None:
    upstream, ledger = ScriptedUpstream(buffered()), WatchedLedger()
    await ask(gateway(upstream, ledger, fan_out_n=True), prompt="A", n=3)
    assert [request.body["n"] for request in upstream.requests] == [3]


async def test_a_native_upstream_gets_all_prompts_at_once() -> None:
    native = channel(config={"supported_endpoints": ["completions"]})
    whole = {"id": "cmpl-9", "object": "text_completion", "created": 1, "model": "small", "x": 1.0, "choices": []}
    raw = orjson.dumps({**whole, "choices": [{"index": 0, "text": "t", "finish_reason": "stop"}], "usage": usage(4, 2)})
    upstream, ledger = ScriptedUpstream(buffered(raw)), WatchedLedger()
    exchanged = await ask(gateway(upstream, ledger, channels=[native]), prompt=[[1, 2], [3]], suffix="z", best_of=2)
    assert exchanged.body == raw
    assert upstream.requests[0].body["prompt"] == [[1, 2], [3]]
    assert upstream.requests[0].url.endswith("/v1/completions")
    assert await ledger.check() == 4 + 2 * 4


async def test_no_channel_is_tried_that_could_not_answer_the_whole() -> None:
    native = channel(1, config={"supported_endpoints": ["completions"]})
    upstream, ledger = ScriptedUpstream(buffered(b"{}", status=500)), WatchedLedger()
    exchanged = await ask(gateway(upstream, ledger, channels=[native, channel(2)], retries=1))
    assert exchanged.status == 500
    assert len(upstream.requests) == 1
    assert await ledger.check() == 0


async def test_a_prompt_that_was_refused_among_others() -> None:
    def gemini(**more: Any) -> bytes:
        return orjson.dumps({"modelVersion": "small", "usageMetadata": {"promptTokenCount": 4}, **more})

    parts = {"content": {"role": "model", "parts": [{"text": "fine"}]}, "finishReason": "STOP", "index": 0}
    replies = (buffered(gemini(promptFeedback={"blockReason": "SAFETY"})), buffered(gemini(candidates=[parts])))
    upstream, ledger = ScriptedUpstream(*replies), WatchedLedger()
    exchanged = await ask(gateway(upstream, ledger, channels=[channel(type=24)]), prompt=["A", "B"])
    found = [(choice["text"], choice["finish_reason"]) for choice in exchanged.json()["choices"]]
    assert found == [("", "content_filter"), ("fine", "stop")]


# Money.


async def test_the_hold_is_enough_for_every_call() -> None:
    gate = Gate()
    upstream = ScriptedUpstream(buffered(gate, answer()), buffered(), buffered())
    ledger = WatchedLedger()
    asking = begin(gateway(upstream, ledger))
    await gate.reached.wait()
    assert ledger.hold.amount == 3 * (8 * 1 + 50 * 4)
    gate.open()
    await asking.end()

    upstream, ledger = ScriptedUpstream(buffered(), buffered(), buffered()), WatchedLedger(funds=3 * 220 - 1)
    app = gateway(upstream, ledger, channels=[single()], fan_out_n=True)
    exchanged = await chat(app, n=3, max_completion_tokens=53).end()
    assert exchanged.status == 403
    assert upstream.requests == []


async def test_each_call_has_the_price_of_the_channel_that_served_it() -> None:
    dear = channel(2, model_configs={"small": {"input_usd_per_mtok": 20, "output_usd_per_mtok": 80}})
    replies = (buffered(b"{}", status=500), buffered(answer("b")), buffered(answer("a")))
    upstream, ledger = ScriptedUpstream(*replies), WatchedLedger()
    exchanged = await ask(gateway(upstream, ledger, channels=[channel(1), dear], retries=1), prompt=["A", "B"])
    assert [choice["text"] for choice in exchanged.json()["choices"]] == ["b", "a"]
    assert [request.url[:18] for request in upstream.requests] == [f"http://upstream-{n}." for n in (1, 2, 1)]
    assert await ledger.check() == 10 * (11 + 28) + (11 + 28)


async def test_an_answer_without_usage_is_counted() -> None:
    replies = (buffered(answer("x" * 35, usage=None)), buffered(answer("b", usage=usage(4, 2))))
    upstream, ledger = ScriptedUpstream(*replies), WatchedLedger()
    exchanged = await ask(gateway(upstream, ledger), prompt=["A", "B"])
    assert "usage" not in exchanged.json()
    assert await ledger.check() == (8 + 10 * 4) + (4 + 2 * 4)
    assert (ledger.log[0].facts.metadata or {})["usage_source"] == "mixed"


@settings(max_examples=40, deadline=None)
@given(
    counts=st.lists(st.tuples(st.integers(1, 1000), st.integers(1, 50)), min_size=2, max_size=20),
    as_stream=st.booleans(),
    at_once=st.integers(1, 5),
)
def test_what_is_billed_is_what_the_upstream_has_told(
    counts: list[tuple[int, int]], as_stream: bool, at_once: int
) -> None:
    def reply(told: dict[str, int]) -> Reply:
        return streamed(*stream("x", usage=told)) if as_stream else buffered(answer(usage=told))

    async def billed() -> int:
        upstream = ScriptedUpstream(*(reply(usage(*count)) for count in counts))
        ledger = WatchedLedger()
        app = gateway(upstream, ledger, at_once=at_once)
        exchanged = await ask(app, prompt=["A"] * len(counts), stream=as_stream)
        assert exchanged.status == 200
        assert upstream.all_closed
        return await ledger.check()

    assert asyncio.run(billed()) == sum(prompt + 4 * completion for prompt, completion in counts)


async def test_only_so_many_calls_are_under_way_at_once() -> None:
    gates = [Gate() for _ in range(5)]
    upstream = ScriptedUpstream(*(buffered(gate, answer(str(number))) for number, gate in enumerate(gates)))
    asking = begin(gateway(upstream, WatchedLedger(), at_once=2), prompt=["A"] * 5)
    for number, gate in enumerate(gates):
        await gate.reached.wait()
        assert len(upstream.requests) <= number + 2
        gate.open()
    exchanged = await asking.end()
    assert [choice["text"] for choice in exchanged.json()["choices"]] == list("01234")


async def test_a_long_answer_raises_the_hold() -> None:
    text = chunk({"content": "x" * 70_000})
    tail = [text, text, chunk({}, "stop"), DONE]
    upstream, ledger = ScriptedUpstream(streamed(FIRST, *tail), streamed(FIRST, *tail)), WatchedLedger()
    await ask(gateway(upstream, ledger), prompt=["A", "B"], stream=True)
    assert await ledger.check() == 2 * (8 + 40_000 * 4)
    assert ledger.hold.amount > 2 * (8 + 50 * 4)


async def test_a_stream_ends_when_the_balance_does() -> None:
    text = chunk({"content": "x" * 70_000})
    endless = [text] * 20
    upstream = ScriptedUpstream(streamed(FIRST, *endless, DONE), streamed(FIRST, *endless, DONE))
    ledger = WatchedLedger(funds=300_000)
    exchanged = await ask(gateway(upstream, ledger), prompt=["A", "B"], stream=True)
    assert exchanged.ended
    assert b"insufficient" in exchanged.body
    assert b"[DONE]" not in exchanged.body
    assert await ledger.check() > 0
    assert upstream.all_closed


# What can go wrong, at every place a part can wait.

TEXT = chunk({"content": "x" * 350})
PROMPT = 8
PLACES: dict[str, tuple[Callable[[Gate], Reply], bool, int, Exception]] = {
    "connecting": (lambda gate: buffered(connecting=gate), False, 0, ConnectFailed()),
    "headers": (lambda gate: buffered(waiting=gate), False, PROMPT, ClosedBeforeResponse()),
    "body": (lambda gate: buffered(answer()[:20], gate, answer()[20:]), False, PROMPT, BodyCut()),
    "first-event": (lambda gate: streamed(gate, *stream("x")), True, PROMPT, BodyCut()),
    "mid-stream": (lambda gate: streamed(FIRST, TEXT, gate, DONE), True, PROMPT + 400, BodyCut()),
}
SERVED = 11 + 28
each_place = pytest.mark.parametrize("place", PLACES)


async def arrive(place: str) -> tuple[Asking, Gate, ScriptedUpstream, WatchedLedger, int]:
    """One part has been answered, and the others wait at `place`; what is owed for all by then."""
    script, as_stream, owed, _ = PLACES[place]
    gate, other = Gate(), Gate()
    done = streamed() if as_stream else buffered()
    upstream, ledger = ScriptedUpstream(done, script(gate), script(other)), WatchedLedger()
    asking = begin(gateway(upstream, ledger), stream=as_stream)
    await gate.reached.wait()
    await other.reached.wait()
    if as_stream:
        await asking.client.until(lambda exchanged: said(exchanged).get(0) == "Hello!")
    return asking, gate, upstream, ledger, SERVED + 2 * owed


@each_place
async def test_the_client_leaves(place: str) -> None:
    asking, _, upstream, ledger, owed = await arrive(place)
    seen = len(asking.exchanged.sent)
    asking.client.leave()
    await asking.task
    assert await ledger.check() == owed
    assert upstream.all_closed
    assert len(asking.exchanged.sent) == seen
    assert (ledger.log[0].facts.metadata or {})["outcome"] == "client_gone"


@each_place
async def test_the_server_cancels(place: str) -> None:
    asking, _, upstream, ledger, owed = await arrive(place)
    asking.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking.task
    assert await ledger.check() == owed
    assert upstream.all_closed
    assert (ledger.log[0].facts.metadata or {})["outcome"] == "cancelled"


@each_place
async def test_one_part_fails(place: str) -> None:
    """The others are cancelled, the client gets an error, and what was produced is charged."""
    _, as_stream, _, failure = PLACES[place]
    asking, gate, upstream, ledger, owed = await arrive(place)
    gate.fail(failure)
    exchanged = await asking.end()
    assert asking.task.exception() is None
    assert exchanged.ended
    assert b"[DONE]" not in exchanged.body
    assert b'"error"' in exchanged.body
    assert exchanged.status == 200 if as_stream else exchanged.status >= 500
    assert await ledger.check() == owed
    assert upstream.all_closed
    assert (ledger.log[0].facts.metadata or {})["outcome"] == "failed"


async def test_a_part_that_fails_before_anything_was_said_costs_nothing() -> None:
    upstream = ScriptedUpstream(*(buffered(b'{"error":{"message":"no"}}', status=400) for _ in PROMPTS))
    ledger = WatchedLedger()
    exchanged = await ask(gateway(upstream, ledger))
    assert exchanged.status == 400
    assert await ledger.check() == 0


@pytest.mark.parametrize("as_stream", [False, True])
async def test_a_fault_of_the_gateway_itself_ends_every_part(as_stream: bool) -> None:
    gate = Gate()
    waiting = streamed(FIRST, TEXT, gate) if as_stream else buffered(waiting=gate)
    upstream, ledger = ScriptedUpstream(waiting, buffered(waiting=gate)), WatchedLedger()
    asking = begin(gateway(upstream, ledger), prompt=["A", "B"], stream=as_stream)
    await gate.reached.wait()
    if as_stream:
        await asking.client.until(lambda exchanged: b"xxx" in exchanged.body)
    gate.fail(ZeroDivisionError())
    exchanged = await asking.end()
    assert exchanged.status == (200 if as_stream else 500)
    assert b"internal_error" in exchanged.body
    assert await ledger.check() == 2 * PROMPT + (400 if as_stream else 0)
    assert upstream.all_closed


async def test_a_refusal_of_the_gateway_itself() -> None:
    upstream, ledger = ScriptedUpstream(), WatchedLedger()
    exchanged = await ask(gateway(upstream, ledger), suffix="the end")
    assert exchanged.status == 400
    assert exchanged.json()["error"]["param"] == "suffix"
    assert upstream.requests == []
    assert await ledger.check() == 0


@pytest.mark.parametrize("how", ["leaves", "cancelled"])
async def test_while_the_client_does_not_read(how: str) -> None:
    replies = (streamed(FIRST, TEXT, TEXT, DONE), streamed(FIRST, TEXT, TEXT, DONE))
    upstream, ledger = ScriptedUpstream(*replies), WatchedLedger()
    asking = begin(gateway(upstream, ledger), pause_after=1, prompt=["A", "B"], stream=True)
    await asking.client.paused.wait()
    if how == "leaves":
        asking.client.leave()
    else:
        asking.task.cancel()
    await asking.end()
    assert await ledger.check() >= 2 * PROMPT
    assert upstream.all_closed


@pytest.mark.parametrize("as_stream", [False, True])
async def test_while_the_charge_is_written(as_stream: bool) -> None:
    gate = Gate()
    reply = streamed if as_stream else buffered
    upstream, ledger = ScriptedUpstream(reply(), reply()), WatchedLedger()
    ledger.settling = gate
    asking = begin(gateway(upstream, ledger), prompt=["A", "B"], stream=as_stream)
    await gate.reached.wait()
    assert not asking.exchanged.ended
    assert b"[DONE]" not in asking.exchanged.body
    asking.client.leave()
    gate.open()
    await asking.end()
    assert await ledger.check() == 2 * SERVED
    assert upstream.all_closed


async def test_parts_that_have_not_begun_are_left_out_when_the_client_leaves() -> None:
    gate = Gate()
    upstream, ledger = ScriptedUpstream(buffered(waiting=gate)), WatchedLedger()
    asking = begin(gateway(upstream, ledger, at_once=1))
    await gate.reached.wait()
    asking.client.leave()
    await asking.end()
    assert len(upstream.requests) == 1
    assert await ledger.check() == PROMPT


async def test_a_server_that_fails_to_send_is_a_client_that_left() -> None:
    upstream, ledger = ScriptedUpstream(streamed(), streamed()), WatchedLedger()
    app = gateway(upstream, ledger)
    body = {"model": "small", "prompt": ["A", "B"], "stream": True}
    client = Client(orjson.dumps(body))

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            raise OSError("gone")

    await app(http_scope("POST", "/v1/completions", headers=HEADERS), client.receive, send)
    assert await ledger.check() > 0
    assert upstream.all_closed


async def test_what_a_model_is_not_asked_is_told_in_the_clients_words() -> None:
    claude = {"id": "m", "type": "message", "role": "assistant", "model": "small", "stop_reason": "end_turn"}
    reply = buffered(orjson.dumps({**claude, "content": [], "usage": {"input_tokens": 4, "output_tokens": 1}}))
    upstream, ledger = ScriptedUpstream(reply, reply), WatchedLedger()
    app = gateway(upstream, ledger, channels=[channel(type=14)])
    exchanged = await ask(app, prompt=["A", "B"], logprobs=1, seed=4, x_own=True)
    assert exchanged.headers["x-oneapi-dropped"] == "seed, logprobs, x_own"
    assert await ledger.check() == 2 * (4 + 4)


@pytest.mark.parametrize(
    ("query", "dropped"), [(b"reasoning_effort=low", "reasoning_effort"), (b"thinking=1", "thinking")]
)
async def test_a_text_completion_model_cannot_be_asked_to_reason(query: bytes, dropped: str) -> None:
    whole = {"id": "cmpl-9", "object": "text_completion", "created": 1, "model": "small"}
    raw = orjson.dumps({**whole, "choices": [{"index": 0, "text": "t", "finish_reason": "stop"}]})
    upstream = ScriptedUpstream(buffered(raw))
    native = channel(config={"supported_endpoints": ["completions"]})
    client = Client(orjson.dumps({"model": "small", "prompt": "A", "reasoning_format": "hidden"}))
    scope = http_scope("POST", "/v1/completions", headers=HEADERS, query=query)
    await gateway(upstream, WatchedLedger(), channels=[native])(scope, client.receive, client.send)
    assert client.exchanged.headers["x-oneapi-dropped"] == dropped
    assert upstream.requests[0].body == {"model": "small", "prompt": "A"}
