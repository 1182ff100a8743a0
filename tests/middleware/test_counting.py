"""Answers whose upstreams told no usage are counted by a tokenizer, in every format, whole and streamed alike."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from oneapi_mw.canonical.call import Call
from oneapi_mw.errors import InvalidRequest
from oneapi_mw.exchange import Attempt, Exchange
from oneapi_mw.ledger.outcome import billable_usage
from oneapi_mw.middleware.counting import count_untold
from oneapi_mw.routing.plan import Plan
from oneapi_mw.tokenizer import Tokenizer, load_encoding
from oneapi_mw.usage import Meter, Produced, Usage
from oneapi_mw.wire import said as said_module
from oneapi_mw.wire.registry import get_format
from oneapi_mw.wire.said import Said
from tests.relay.stack import (
    ScriptedUpstream,
    WatchedLedger,
    answer,
    ask,
    body,
    buffered,
    gateway,
    stream,
    streamed,
)
from tests.relay.test_fanout import begin

WORDS = ["Counting ", "tokens ", "by ", "their ", "bytes ", "überschätzt ", "12345 ", "many.\n"]
TEXT = "".join(WORDS)
MODEL = "gpt-4o"


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer()


def exact(text: str) -> int:
    return len(load_encoding("o200k_base").encode_ordinary(text))


# The text of an answer.

SSE: dict[str, list[dict[str, Any]]] = {
    "openai_chat": [{"choices": [{"index": 0, "delta": {"content": word}}]} for word in WORDS],
    "openai_completions": [{"choices": [{"index": 0, "text": word}]} for word in WORDS],
    "openai_responses": [
        {"type": "response.output_text.delta", "output_index": 0, "item_id": "m", "content_index": 0, "delta": word}
        for word in WORDS
    ],
    "anthropic_messages": [
        {"type": "message_start", "message": {"id": "m", "content": [], "model": MODEL}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        *({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": word}} for word in WORDS),
    ],
    "gemini": [{"candidates": [{"content": {"role": "model", "parts": [{"text": word}]}}]} for word in WORDS],
}
WHOLE: dict[str, dict[str, Any]] = {
    "openai_chat": {"choices": [{"index": 0, "message": {"role": "assistant", "content": TEXT}}]},
    "openai_completions": {"choices": [{"index": 0, "text": TEXT}]},
    "openai_responses": {"output": [{"type": "message", "content": [{"type": "output_text", "text": TEXT}]}]},
    "anthropic_messages": {"content": [{"type": "text", "text": TEXT}]},
    "gemini": {"candidates": [{"content": {"parts": [{"text": TEXT}]}}]},
}


def sse(event: dict[str, Any]) -> bytes:
    name = f"event: {event['type']}\n".encode() if "type" in event else b""
    return name + b"data: " + orjson.dumps(event) + b"\n\n"


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("at_once", [1, 3, 100])
@pytest.mark.parametrize("name", SSE)
def test_the_text_of_a_stream(name: str, at_once: int, full: bool) -> None:
    decoder = get_format(name).stream_decoder(full=full, model=None, hide_usage=False)
    events = [sse(event) for event in SSE[name]]
    for start in range(0, len(events), at_once):
        decoder.feed(b"".join(events[start : start + at_once]))
    assert decoder.text_bytes() == len(TEXT.encode())
    assert decoder.text() == TEXT


@pytest.mark.parametrize("name", WHOLE)
def test_the_text_of_an_answer(name: str) -> None:
    said = get_format(name).answer_said(WHOLE[name])
    assert (said.text(), said.text_bytes) == (TEXT, len(TEXT.encode()))


def test_only_so_much_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(said_module, "KEPT_BYTES", 4)
    said = Said(["abc", "dé\ud800", "later"])
    assert said.text_bytes == 3 + 6 + 5
    assert said.text().startswith("abcdé")
    assert "later" not in said.text()


# Counting.


def untold(
    text: str | None = TEXT, usage: Usage | None = None, beyond: int = 0, *, unreported: bool = False
) -> Exchange:
    size = len((text or "").encode()) + beyond
    attempt = Attempt(1, "c-1", "one", MODEL, "https://up", "openai_chat", dispatched=True)
    produced = Produced(size, text=text, unreported=unreported)
    return Exchange("r", attempts=[attempt], outcome="complete", usage=usage, produced=produced)


ASKED = Call("chat", "openai_chat", MODEL, False, {"model": MODEL, "messages": body()["messages"]}, None)
NOWHERE = Plan((), "default", 10**6)


@pytest.mark.parametrize(
    ("exchange", "output", "source"),
    [
        (untold(), exact(TEXT), "counted"),
        (untold(TEXT * 1000), exact(TEXT * 1000), "counted"),
        (untold(beyond=350), exact(TEXT) + 100, "counted"),
        (untold(usage=Usage(0, 0)), exact(TEXT), "counted"),
        (untold(usage=Usage(70, 0)), exact(TEXT), "mixed"),
        (untold(usage=Usage(70, 5)), 5, "upstream"),
        (untold(usage=Usage(0, 5)), 5, "mixed"),
        (untold(usage=Usage(70, 5), unreported=True), exact(TEXT), "mixed"),
        (untold(usage=Usage(70, 5000), unreported=True), 5000, "mixed"),
        (untold(usage=Usage(0, 5), unreported=True), exact(TEXT), "counted"),
    ],
    ids=[
        "no-usage",
        "in-a-thread",
        "beyond-what-is-kept",
        "zero-usage",
        "zero-output",
        "told",
        "no-prompt",
        "too-early",
        "too-early-but-enough",
        "too-early-without-prompt",
    ],
)
async def test_what_was_not_told(exchange: Exchange, output: int, source: str, tokenizer: Tokenizer) -> None:
    told = exchange.usage
    await count_untold(exchange, ASKED, NOWHERE, tokenizer)
    assert exchange.usage is not None
    assert (exchange.usage.output_tokens, exchange.usage.source) == (output, source)
    prompt = told.input_tokens if told and told.input_tokens else await tokenizer.count_call(ASKED, MODEL)
    assert exchange.usage.input_tokens == prompt
    assert billable_usage(exchange, input_estimate=1) == exchange.usage


@pytest.mark.parametrize("prompt", [0, 70])
async def test_what_was_told_of_tools_and_of_the_service_stays(prompt: int, tokenizer: Tokenizer) -> None:
    told = Usage(prompt, 0, hosted=(("web_search", 2),), meters=(Meter("images", 1),), variant="flex")
    exchange = untold(usage=told)
    await count_untold(exchange, ASKED, NOWHERE, tokenizer)
    assert exchange.usage is not None
    kept = (exchange.usage.hosted, exchange.usage.meters, exchange.usage.variant)
    assert kept == (told.hosted, told.meters, told.variant)


async def test_nothing_was_said(tokenizer: Tokenizer) -> None:
    for exchange in (untold(None), untold(""), untold("", Usage(70, 0))):
        before = exchange.usage
        await count_untold(exchange, ASKED, NOWHERE, tokenizer)
        assert exchange.usage is before


async def test_a_request_that_cannot_be_read_is_estimated() -> None:
    class Unreadable:
        async def count_text(self, text: str, model: str) -> int:
            return 3

        async def count_call(self, call: Call, model: str) -> int:
            raise InvalidRequest("no")

    exchange = untold()
    await count_untold(
        exchange, Call("chat", "openai_chat", MODEL, False, {}, None, input_estimate=9), NOWHERE, Unreadable()
    )
    assert exchange.usage == Usage(9, 3, source="counted")


@pytest.mark.parametrize("as_stream", [False, True])
async def test_2xx_without_usage(as_stream: bool, tokenizer: Tokenizer) -> None:
    reply = streamed(*stream(*WORDS, usage=None)) if as_stream else buffered(answer(TEXT, usage=None))
    ledger = WatchedLedger()
    app = gateway(ScriptedUpstream(reply), ledger, counter=tokenizer)
    assert (await ask(app, stream=as_stream)).status == 200
    output = exact(TEXT)
    facts = ledger.log[0].facts
    prompt = await tokenizer.count_call(ASKED, "small")
    assert (facts.prompt_tokens, facts.completion_tokens) == (prompt, output)
    assert (facts.metadata or {})["usage_source"] == "counted"
    assert await ledger.check() == prompt + 4 * output


async def test_answers_of_a_fan_out_are_counted_one_by_one(tokenizer: Tokenizer) -> None:
    replies = [buffered(answer(text, usage=None)) for text in (TEXT, "two", "three")]
    ledger = WatchedLedger()
    app = gateway(ScriptedUpstream(*replies), ledger, counter=tokenizer, at_once=1)
    assert (await begin(app).end()).status == 200
    calls: Any = (ledger.log[0].facts.metadata or {})["upstream_calls"]
    assert [call["completion_tokens"] for call in calls] == [exact(text) for text in (TEXT, "two", "three")]
    await ledger.check()
