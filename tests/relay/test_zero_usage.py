"""Answers whose upstream says that they consumed nothing: believed where nothing was delivered, counted otherwise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson
import pytest
from starlette.types import ASGIApp

from oneapi_mw.canonical.events import UsageReported
from oneapi_mw.usage import NOTHING, Usage
from oneapi_mw.wire.registry import get_format
from oneapi_mw.wire.zero import holds_nothing
from tests.relay.stack import HEADERS, JSON_TYPE, SSE_TYPE, Reply, ScriptedUpstream, WatchedLedger, channel, gateway
from tests.support.harness import Exchanged, call

Body = dict[str, Any]


def event(data: Body, *, named: bool = False) -> bytes:
    return (b"event: %s\n" % data["type"].encode() if named else b"") + b"data: " + orjson.dumps(data) + b"\n\n"


@dataclass(frozen=True)
class Wire:
    """How one format says things."""

    name: str
    channel: dict[str, Any]
    zero: Body
    """A report of no usage."""
    told: Body
    """One of 11 tokens read and 7 written."""
    answer: Callable[[Any, Body | None], Body]
    """A whole answer, of its content and its report."""
    stream: Callable[[Any, Body | None], list[bytes]]
    delivered: dict[str, Any]
    """Contents that are something, by what they are."""
    empty: dict[str, Any]
    """Contents that are nothing."""

    def __str__(self) -> str:
        return self.name


def chat_answer(message: Body, usage: Body | None) -> Body:
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": "stop", "logprobs": None}
    whole = {"id": "c-1", "object": "chat.completion", "created": 1, "model": "small", "choices": [choice]}
    return whole if usage is None else {**whole, "usage": usage}


def chat_stream(message: Body, usage: Body | None) -> list[bytes]:
    head = {"id": "c-1", "object": "chat.completion.chunk", "created": 1, "model": "small"}
    if "tool_calls" in message:
        message = {**message, "tool_calls": [{"index": 0, **call} for call in message["tool_calls"]]}
    deltas: list[tuple[Body, str | None]] = [({"role": "assistant", **message}, None), ({}, "stop")]
    chunks = [{**head, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]} for delta, finish in deltas]
    chunks += [] if usage is None else [{**head, "choices": [], "usage": usage}]
    return [*(event(chunk) for chunk in chunks), b"data: [DONE]\n\n"]


def text_answer(text: str, usage: Body | None) -> Body:
    choice = {"index": 0, "text": text, "finish_reason": "stop", "logprobs": None}
    whole = {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": "small", "choices": [choice]}
    return whole if usage is None else {**whole, "usage": usage}


def text_stream(text: str, usage: Body | None) -> list[bytes]:
    return [event(text_answer(text, None)), event({**text_answer("", usage), "choices": []}), b"data: [DONE]\n\n"]


def responses_answer(output: list[Body], usage: Body | None) -> Body:
    return {
        "id": "resp_1", "object": "response", "status": "completed", "model": "small", "error": None,
        "output": output, "usage": usage,
    }  # fmt: skip


def responses_stream(output: list[Body], usage: Body | None) -> list[bytes]:
    begun = {**responses_answer([], None), "status": "in_progress"}
    events: list[Body] = [{"type": "response.created", "response": begun}]
    for place, item in enumerate(output):
        events += [
            {"type": "response.output_item.added", "output_index": place, "item": item},
            {"type": "response.output_item.done", "output_index": place, "item": item},
        ]
    events.append({"type": "response.completed", "response": responses_answer(output, usage)})
    return [event({**each, "sequence_number": n}, named=True) for n, each in enumerate(events)]


def messages_answer(content: list[Body], usage: Body | None) -> Body:
    whole = {"id": "msg_1", "type": "message", "role": "assistant", "model": "small", "content": content}
    ending = {"stop_reason": "end_turn", "stop_sequence": None}
    return {**whole, **ending} if usage is None else {**whole, **ending, "usage": usage}


def messages_stream(content: list[Body], usage: Body | None) -> list[bytes]:
    message = {**messages_answer([], usage), "stop_reason": None}
    events: list[Body] = [{"type": "message_start", "message": message}]
    for place, block in enumerate(content):
        events.append({"type": "content_block_start", "index": place, "content_block": block})
        events.append({"type": "content_block_stop", "index": place})
    ending = {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}}
    events.append(ending if usage is None else {**ending, "usage": {"output_tokens": usage["output_tokens"]}})
    return [event(each, named=True) for each in (*events, {"type": "message_stop"})]


def gemini_answer(parts: list[Body], usage: Body | None) -> Body:
    candidate = {"content": {"role": "model", "parts": parts}, "finishReason": "STOP", "index": 0}
    whole = {"candidates": [candidate], "modelVersion": "small", "responseId": "r-1"}
    return whole if usage is None else {**whole, "usageMetadata": usage}


def gemini_stream(parts: list[Body], usage: Body | None) -> list[bytes]:
    return [event(gemini_answer(parts, usage))]


CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": ""}}
PIXEL = "iVBORw0KGgo="
OPENAI_ZERO = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
OPENAI_TOLD = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
TOKENS_ZERO, TOKENS_TOLD = {"input_tokens": 0, "output_tokens": 0}, {"input_tokens": 11, "output_tokens": 7}
WIRES = [
    Wire(
        "openai_chat",
        {},
        OPENAI_ZERO,
        OPENAI_TOLD,
        chat_answer,
        chat_stream,
        delivered={
            "text": {"content": "Hello"},
            "reasoning": {"content": "", "reasoning_content": "hm"},
            "call": {"content": None, "tool_calls": [CALL]},
            "image": {"content": "", "images": [{"type": "image_url", "image_url": {"url": f"data:;base64,{PIXEL}"}}]},
            "audio": {"content": None, "audio": {"id": "a", "data": PIXEL, "transcript": ""}},
        },
        empty={"text": {"content": ""}, "nothing": {"content": None, "refusal": None, "annotations": []}},
    ),
    Wire(
        "openai_completions",
        {"config": {"supported_endpoints": ["completions"]}},
        OPENAI_ZERO,
        OPENAI_TOLD,
        text_answer,
        text_stream,
        delivered={"text": "Hello"},
        empty={"text": ""},
    ),
    Wire(
        "openai_responses",
        {"config": {"api_format": "response"}},
        {**TOKENS_ZERO, "total_tokens": 0},
        {**TOKENS_TOLD, "total_tokens": 18},
        responses_answer,
        responses_stream,
        delivered={
            "text": [{"type": "message", "id": "m", "role": "assistant", "status": "completed",
                      "content": [{"type": "output_text", "text": "Hello", "annotations": []}]}],
            "reasoning": [{"type": "reasoning", "id": "rs", "summary": [], "encrypted_content": "x"}],
            "call": [{"type": "function_call", "id": "f", "call_id": "c", "name": "f", "arguments": "{}",
                      "status": "completed"}],
            "search": [{"type": "web_search_call", "id": "ws", "status": "completed"}],
            "image": [{"type": "image_generation_call", "id": "ig", "status": "completed", "result": PIXEL}],
        },
        empty={
            "nothing": [],
            "text": [{"type": "message", "id": "m", "role": "assistant", "status": "completed",
                      "content": [{"type": "output_text", "text": "", "annotations": []}]}],
        },
    ),
    Wire(
        "anthropic_messages",
        {"type": 14},
        TOKENS_ZERO,
        TOKENS_TOLD,
        messages_answer,
        messages_stream,
        delivered={
            "text": [{"type": "text", "text": "Hello"}],
            "reasoning": [{"type": "thinking", "thinking": "hm", "signature": ""}],
            "redacted": [{"type": "redacted_thinking", "data": "x"}],
            "call": [{"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}],
        },
        empty={"nothing": [], "text": [{"type": "text", "text": ""}]},
    ),
    Wire(
        "gemini",
        {"type": 24},
        {"promptTokenCount": 0, "totalTokenCount": 0},
        {"promptTokenCount": 11, "candidatesTokenCount": 7, "totalTokenCount": 18},
        gemini_answer,
        gemini_stream,
        delivered={
            "text": [{"text": "Hello"}],
            "reasoning": [{"text": "hm", "thought": True}],
            "signature": [{"text": "", "thoughtSignature": "x"}],
            "call": [{"functionCall": {"name": "f", "args": {}}}],
            "image": [{"inlineData": {"mimeType": "image/png", "data": PIXEL}}],
        },
        empty={"nothing": [], "text": [{"text": ""}]},
    ),
]  # fmt: skip
DELIVERED = [pytest.param(wire, each, id=f"{wire}-{name}") for wire in WIRES for name, each in wire.delivered.items()]
EMPTY = [pytest.param(wire, each, id=f"{wire}-{name}") for wire in WIRES for name, each in wire.empty.items()]


def reported(wire: Wire, chunks: list[bytes], *, full: bool) -> Usage | None:
    """The last usage that a stream is found to tell."""
    decoder = get_format(wire.name).stream_decoder(full=full, model=None, hide_usage=False)
    frames = [frame for chunk in chunks for frame in decoder.feed(chunk)] + decoder.close()
    found = [each.usage for frame in frames for each in frame.events if isinstance(each, UsageReported)]
    return found[-1] if found else None


def everywhere(wire: Wire, content: Any, usage: Body | None) -> list[Usage | None]:
    """What is found in the answer however it comes."""
    body, chunks, format = wire.answer(content, usage), wire.stream(content, usage), get_format(wire.name)
    streams = [reported(wire, sent, full=full) for sent in (chunks, [b"".join(chunks)]) for full in (False, True)]
    return [format.read_usage(body), format.decode_response(body).usage, *streams]


@pytest.mark.parametrize(("wire", "content"), EMPTY)
def test_zeros_are_a_report_where_nothing_was_delivered(wire: Wire, content: Any) -> None:
    assert everywhere(wire, content, wire.zero) == [NOTHING] * 6


@pytest.mark.parametrize(("wire", "content"), DELIVERED)
def test_zeros_are_none_where_something_was(wire: Wire, content: Any) -> None:
    assert everywhere(wire, content, wire.zero) == [None] * 6


@pytest.mark.parametrize("wire", WIRES, ids=str)
def test_a_report_that_says_nothing_is_none(wire: Wire) -> None:
    nothing = next(iter(wire.empty.values()))
    assert everywhere(wire, nothing, None) == [None] * 6


@pytest.mark.parametrize("wire", WIRES, ids=str)
def test_what_is_told_counts_whatever_was_delivered(wire: Wire) -> None:
    nothing = next(iter(wire.empty.values()))
    assert {usage.total_tokens for usage in everywhere(wire, nothing, wire.told) if usage is not None} == {18}


@pytest.mark.parametrize("full", [False, True])
def test_zeros_after_a_report_change_nothing(full: bool) -> None:
    chat = WIRES[0]
    *chunks, done = chat_stream({"content": ""}, OPENAI_TOLD)
    zeros = chat_stream({"content": ""}, OPENAI_ZERO)[-2]
    told = reported(chat, [*chunks, zeros, done], full=full)
    assert told is not None
    assert told.total_tokens == 18


@pytest.mark.parametrize("full", [False, True])
def test_zeros_at_the_beginning_alone_mean_nothing(full: bool) -> None:
    """Some proxies in front of Claude begin every stream with them."""
    messages = WIRES[3]
    begun = messages_stream([], TOKENS_ZERO)[0]
    assert reported(messages, [begun, *messages_stream([], None)[1:]], full=full) is None


def test_content_of_any_depth_is_something_at_last() -> None:
    deep: Any = []
    for _ in range(500):
        deep = [deep]
    assert not holds_nothing(deep)


# Through the whole stack.

PROMPT = 10
CLIENTS = {
    "openai_chat": "/v1/chat/completions",
    "openai_responses": "/v1/responses",
    "anthropic_messages": "/v1/messages",
    "gemini": "/v1beta/models/small:",
}


async def ask(app: ASGIApp, client: str, *, as_stream: bool) -> Exchanged:
    path, body = CLIENTS[client], {"model": "small", "stream": as_stream}
    talk = [{"role": "user", "content": "Say hello"}]
    match client:
        case "openai_chat":
            body |= {"messages": talk, "max_tokens": 50}
        case "openai_responses":
            body |= {"input": "Say hello", "max_output_tokens": 50}
        case "anthropic_messages":
            body |= {"messages": talk, "max_tokens": 50}
        case _:
            path += "streamGenerateContent" if as_stream else "generateContent"
            body = {"contents": [{"parts": [{"text": "Say hello"}]}], "generationConfig": {"maxOutputTokens": 50}}
    return await call(app, "POST", path, json=body, headers=HEADERS, query=b"alt=sse" if as_stream else b"")


async def charged(wire: Wire, content: Any, client: str, *, as_stream: bool, answered: bool = False) -> WatchedLedger:
    """The ledger after one request.

    Args:
        answered: the upstream answers a stream with a whole answer, or the other way round.
    """
    if as_stream != answered:
        reply = Reply(wire.stream(content, wire.zero), headers=SSE_TYPE)
    else:
        reply = Reply([orjson.dumps(wire.answer(content, wire.zero))], headers=JSON_TYPE)
    ledger = WatchedLedger()
    app = gateway(ScriptedUpstream(reply), ledger, channels=[channel(**wire.channel)])
    assert (await ask(app, client, as_stream=as_stream)).status == 200
    await ledger.check()
    return ledger


TALKING = [wire for wire in WIRES if wire.name in CLIENTS]


@pytest.mark.parametrize("wire", TALKING, ids=str)
@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("as_stream", [False, True], ids=["buffered", "streamed"])
async def test_nothing_consumed_is_the_minimum(wire: Wire, client: str, as_stream: bool) -> None:
    nothing = next(iter(wire.empty.values()))
    ledger = await charged(wire, nothing, client, as_stream=as_stream)
    facts: Any = ledger.log[0].facts
    assert (ledger.hold.final, facts.prompt_tokens, facts.completion_tokens) == (1, 0, 0)
    assert facts.metadata["price"]["flags"] == ["minimum"]
    assert "usage_source" not in facts.metadata


@pytest.mark.parametrize("wire", TALKING, ids=str)
@pytest.mark.parametrize("as_stream", [False, True], ids=["buffered", "streamed"])
async def test_it_does_not_matter_that_the_upstream_answers_otherwise(wire: Wire, as_stream: bool) -> None:
    nothing = next(iter(wire.empty.values()))
    assert (await charged(wire, nothing, wire.name, as_stream=as_stream, answered=True)).hold.final == 1


@pytest.mark.parametrize(("wire", "content"), [param for param in DELIVERED if param.values[0] in TALKING])
@pytest.mark.parametrize("as_stream", [False, True], ids=["buffered", "streamed"])
async def test_what_was_delivered_is_counted(wire: Wire, content: Any, as_stream: bool) -> None:
    ledger = await charged(wire, content, wire.name, as_stream=as_stream)
    assert (ledger.hold.final or 0) >= PROMPT
    facts: Any = ledger.log[0].facts
    assert facts.metadata["usage_source"] in ("counted", "estimated")


async def test_a_free_model_stays_free() -> None:
    ledger = WatchedLedger()
    reply = Reply([orjson.dumps(chat_answer({"content": ""}, OPENAI_ZERO))], headers=JSON_TYPE)
    free = channel(model_configs={"small": {"input_usd_per_mtok": 0, "output_usd_per_mtok": 0}})
    app = gateway(ScriptedUpstream(reply), ledger, channels=[free])
    assert (await ask(app, "openai_chat", as_stream=False)).status == 200
    assert await ledger.check() == 0


async def test_a_client_that_leaves_after_zeros_pays_its_prompt() -> None:
    """Nothing has ended: what a stream has told by then is no last word."""
    head = {"id": "c-1", "object": "chat.completion.chunk", "created": 1, "model": "small"}
    first = {**head, "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}], "usage": OPENAI_ZERO}
    ledger = WatchedLedger()
    app = gateway(ScriptedUpstream(Reply([event(first)], headers=SSE_TYPE)), ledger)
    await ask(app, "openai_chat", as_stream=True)
    assert await ledger.check() == PROMPT


async def test_a_failed_attempt_of_no_usage_costs_nothing() -> None:
    error = {"error": {"message": "no", "type": "server_error"}, "usage": OPENAI_ZERO}
    ledger = WatchedLedger()
    failing = channel(config={"bill_failed_attempts": True})
    app = gateway(ScriptedUpstream(Reply([orjson.dumps(error)], headers=JSON_TYPE)), ledger, channels=[failing])
    assert (await ask(app, "openai_chat", as_stream=False)).status == 502
    assert await ledger.check() == 0
