"""Usage told in odd ways, through the whole stack: no part of an answer is free because of how it is reported."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest

from tests.relay.stack import (
    DONE,
    FIRST,
    HEADERS,
    SSE_TYPE,
    Reply,
    ScriptedUpstream,
    WatchedLedger,
    answer,
    ask,
    buffered,
    channel,
    chunk,
    gateway,
    stream,
    streamed,
    usage_chunk,
)
from tests.relay.test_losses import CHAT, GEMINI, HI, MESSAGES, RESPONSES, to
from tests.support.harness import call

PROMPT = 10  # as estimated
TEXT = "x" * 350  # a hundred tokens, as estimated


class Counter:
    """Counts 70 tokens in any text and 5 in any request."""

    async def count_text(self, text: str, model: str) -> int:
        return 70

    async def count_call(self, call: Any, model: str) -> int:
        return 5


@pytest.mark.parametrize("as_stream", [False, True], ids=["whole", "streamed"])
async def test_a_report_that_cannot_be_true_empties_no_balance(
    as_stream: bool, caplog: pytest.LogCaptureFixture
) -> None:
    usage = {"prompt_tokens": 10**9, "completion_tokens": 7}
    reply = streamed(*stream(TEXT, usage=usage)) if as_stream else buffered(answer(TEXT, usage=usage))
    ledger = WatchedLedger()
    assert (await ask(gateway(ScriptedUpstream(reply), ledger), stream=as_stream)).status == 200
    assert await ledger.check() == 2_000_000 + 4 * 7
    facts: Any = ledger.log[0].facts
    assert facts.metadata["price"]["flags"] == ["implausible"]
    assert "more tokens than can be true" in caplog.text


@pytest.mark.parametrize("counted", [False, True], ids=["estimated", "counted"])
@pytest.mark.parametrize("as_stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(
    ("usage", "prompt", "output", "source"),
    [
        ({"prompt_tokens": 11, "completion_tokens": 7}, 11, 7, None),
        ({"prompt_tokens": 11.0, "completion_tokens": 7.0}, 11, 7, None),
        ({"completion_tokens": 7}, None, 7, "mixed"),
        ({"prompt_tokens": None, "completion_tokens": 7}, None, 7, "mixed"),
        ({"prompt_tokens": "11", "completion_tokens": 7}, None, 7, "mixed"),
        ({"prompt_tokens": 0, "completion_tokens": 7}, None, 7, "mixed"),
        ({"prompt_tokens": -11, "completion_tokens": 7}, None, 7, "mixed"),
        ({"prompt_tokens": 10**18, "completion_tokens": 7}, None, 7, "mixed"),
        ({"prompt_tokens": 11}, 11, None, "mixed"),
        ({"prompt_tokens": 11, "completion_tokens": 7.5}, 11, None, "mixed"),
        ({"prompt_tokens": 11, "completion_tokens": "7"}, 11, None, "mixed"),
        ({"prompt_tokens": 11, "completion_tokens": -7}, 11, None, "mixed"),
        ({"prompt_tokens": 11, "completion_tokens": 10**18}, 11, None, "mixed"),
        ({"prompt_tokens": "11", "completion_tokens": "7"}, None, None, "counted"),
        ({}, None, None, "counted"),
        ([11, 7], None, None, "counted"),
        ("18", None, None, "counted"),
    ],
    ids=str,
)
async def test_counts_as_odd_servers_write_them(
    usage: Any, prompt: int | None, output: int | None, source: str | None, as_stream: bool, counted: bool
) -> None:
    reply = streamed(*stream(TEXT, usage=usage)) if as_stream else buffered(answer(TEXT, usage=usage))
    ledger = WatchedLedger()
    app = gateway(ScriptedUpstream(reply), ledger, counter=Counter() if counted else None)
    assert (await ask(app, stream=as_stream)).status == 200
    prompt = prompt if prompt is not None else 5 if counted else PROMPT
    output = output if output is not None else 70 if counted else 100
    assert await ledger.check() == prompt + 4 * output
    facts: Any = ledger.log[0].facts
    assert (facts.prompt_tokens, facts.completion_tokens) == (prompt, output)
    assert facts.metadata.get("usage_source") == source


# Reports that come too early.

EARLY = {"prompt_tokens": 11, "completion_tokens": 1, "total_tokens": 12}
MORE = {"prompt_tokens": 11, "completion_tokens": 500, "total_tokens": 511}  # with reasoning that nobody sees


@pytest.mark.parametrize(
    ("events", "output", "source"),
    [
        ([usage_chunk(EARLY), chunk({"content": TEXT}), chunk({}, "stop")], 100, "mixed"),
        ([usage_chunk(MORE), chunk({"content": TEXT}), chunk({}, "stop")], 500, None),
        ([usage_chunk(EARLY), chunk({"content": TEXT}), chunk({}, "stop"), usage_chunk()], 7, None),
        ([usage_chunk(), usage_chunk(), chunk({}, "stop"), usage_chunk()], 7, None),
    ],
    ids=["too-little", "enough", "once-more", "repeated"],
)
@pytest.mark.parametrize("at_once", [False, True], ids=["in-pieces", "at-once"])
async def test_text_after_a_report(events: list[bytes], output: int, source: str | None, at_once: bool) -> None:
    events = [FIRST, *events, DONE]
    ledger = WatchedLedger()
    app = gateway(ScriptedUpstream(streamed(*([b"".join(events)] if at_once else events))), ledger)
    assert (await ask(app, stream=True)).status == 200
    assert await ledger.check() == 11 + 4 * output
    metadata: Any = ledger.log[0].facts.metadata
    assert metadata.get("usage_source") == source


def named(*events: dict[str, Any]) -> list[bytes]:
    return [f"event: {event['type']}\n".encode() + b"data: " + orjson.dumps(event) + b"\n\n" for event in events]


def unnamed(*events: dict[str, Any]) -> list[bytes]:
    return [b"data: " + orjson.dumps(event) + b"\n\n" for event in events]


SEED = {"input_tokens": 11, "output_tokens": 1}
SEEDED = named(
    {"type": "message_start", "message": {"id": "m", "content": [], "model": "m", "usage": SEED}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": TEXT}},
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}},
    {"type": "message_stop"},
)
FIRST_OF_GEMINI = unnamed(
    {
        "candidates": [{"content": {"role": "model", "parts": [{"text": "x"}]}}],
        "usageMetadata": {"promptTokenCount": 11, "candidatesTokenCount": 1, "totalTokenCount": 12},
    },
    {"candidates": [{"content": {"role": "model", "parts": [{"text": TEXT[1:]}]}, "finishReason": "STOP"}]},
)


@pytest.mark.parametrize("at_once", [False, True], ids=["in-pieces", "at-once"])
@pytest.mark.parametrize("wanted", [True, False], ids=["streamed", "folded"])
@pytest.mark.parametrize("path", [CHAT, MESSAGES, GEMINI])
@pytest.mark.parametrize(("type", "events"), [(14, SEEDED), (24, FIRST_OF_GEMINI)], ids=["anthropic", "gemini"])
async def test_a_first_report_is_not_the_last_word(
    type: int, events: list[bytes], path: str, wanted: bool, at_once: bool
) -> None:
    ledger = WatchedLedger()
    upstream = ScriptedUpstream(Reply([b"".join(events)] if at_once else events, headers=SSE_TYPE))
    app = gateway(upstream, ledger, channels=[to(type)])
    body = dict(HI[path])
    if path == GEMINI:
        path = path.replace(":generateContent", ":streamGenerateContent") if wanted else path
    elif wanted:
        body["stream"] = True
    told = await call(app, "POST", path, json=body, headers=HEADERS)
    assert told.status == 200, told.body
    facts: Any = ledger.log[0].facts
    assert (facts.prompt_tokens, facts.completion_tokens) == (11, 100)


# Answers that nobody can be given.

FAILED = {
    "error": ([{"index": 0, "message": {"content": "x"}, "finish_reason": "error"}], 50),
    "no content": (None, 14),
    "malformed call": ([{"finishReason": "MALFORMED_FUNCTION_CALL"}], 24),
}


def unusable(content: Any, type: int) -> bytes:
    if type == 14:
        return orjson.dumps({"type": "message", "content": content, "usage": {"input_tokens": 11, "output_tokens": 7}})
    if type == 24:
        usage = {"promptTokenCount": 11, "thoughtsTokenCount": 7, "totalTokenCount": 18}
        return orjson.dumps({"candidates": content, "usageMetadata": usage})
    return orjson.dumps({"id": "x", "choices": content, "usage": {"prompt_tokens": 11, "completion_tokens": 7}})


@pytest.mark.parametrize(("content", "type"), FAILED.values(), ids=FAILED)
async def test_an_answer_that_cannot_be_converted_costs_what_it_tells(content: Any, type: int) -> None:
    path = MESSAGES if type != 14 else CHAT
    ledger, upstream = WatchedLedger(), ScriptedUpstream(buffered(unusable(content, type)))
    told = await call(gateway(upstream, ledger, channels=[to(type)]), "POST", path, json=HI[path], headers=HEADERS)
    assert told.status == 502
    assert await ledger.check() == 11 + 4 * 7


@pytest.mark.parametrize("billed", [False, True])
@pytest.mark.parametrize(("content", "type"), FAILED.values(), ids=FAILED)
async def test_and_so_it_does_as_a_failed_attempt(content: Any, type: int, billed: bool) -> None:
    path = MESSAGES if type != 14 else CHAT
    upstream = ScriptedUpstream(buffered(unusable(content, type)), buffered(b"{}", status=500))
    ledger, served = WatchedLedger(), to(type, bill_failed_attempts=billed)
    app = gateway(upstream, ledger, channels=[served, replace(served, id=2)], retries=1)
    told = await call(app, "POST", path, json=HI[path], headers=HEADERS)
    assert (told.status, len(upstream.requests)) == (500, 2)
    assert await ledger.check() == (11 + 4 * 7 if billed else 0)


BROKEN: dict[str, Any] = {"id": "r", "object": "response", "model": "small", "output": [], "status": "in_progress"}
ENDED = {
    **BROKEN,
    "status": "failed",
    "error": {"code": "server_error", "message": "no"},
    "usage": {"input_tokens": 11, "output_tokens": 7, "total_tokens": 18},
}


@pytest.mark.parametrize("path", [RESPONSES, CHAT, MESSAGES])
@pytest.mark.parametrize(
    ("as_stream", "in_events"),
    [(False, False), (True, True), (False, True), (True, False)],
    ids=["buffered", "streamed", "folded", "unfolded"],
)
@pytest.mark.parametrize(("billed", "charged"), [(False, 0), (True, 11 + 4 * 7)])
async def test_a_response_that_failed_before_any_text_costs_what_it_tells(
    path: str, as_stream: bool, in_events: bool, billed: bool, charged: int
) -> None:
    failing = Reply(response_events(BROKEN, ENDED), headers=SSE_TYPE) if in_events else buffered(orjson.dumps(ENDED))
    upstream, ledger = ScriptedUpstream(failing, buffered(b"{}", status=500)), WatchedLedger()
    served = channel(config={"api_format": "response", "bill_failed_attempts": billed})
    app = gateway(upstream, ledger, channels=[served, replace(served, id=2)], retries=1)
    body = {**HI[path], "stream": as_stream}
    told = await call(app, "POST", path, json=body, headers=HEADERS)
    assert (told.status, len(upstream.requests)) == (500, 2)
    assert await ledger.check() == charged
    assert ledger.hold.state == ("settled" if billed else "void")


def response_events(*responses: Any) -> list[bytes]:
    kinds = {"in_progress": "response.created", "failed": "response.failed"}
    events = [{"type": kinds[each["status"]], "response": each} for each in responses]
    return [b"event: %s\ndata: %s\n\n" % (event["type"].encode(), orjson.dumps(event)) for event in events]
