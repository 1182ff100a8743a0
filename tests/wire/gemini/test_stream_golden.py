"""The worked examples of streams: conversion-answers.md 6, towards Gemini clients and from Gemini upstreams."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest

from oneapi_mw.canonical.blocks import Reasoning, ReasoningOpaque, ReasoningText, Refusal, Text, ToolCall
from oneapi_mw.canonical.events import (
    BlockEnded,
    Ended,
    Event,
    Failed,
    Finished,
    OpaqueDelta,
    Started,
    TextDelta,
    UsageReported,
)
from oneapi_mw.canonical.fold import fold, unfold
from oneapi_mw.canonical.response import Candidate, Response
from oneapi_mw.errors import UpstreamError
from oneapi_mw.types import JsonObject
from oneapi_mw.usage import Usage
from oneapi_mw.wire import anthropic_messages, openai_chat
from oneapi_mw.wire.gemini import FORMAT
from tests.wire.gemini.wires import (
    DONE,
    c_delta,
    c_finish,
    c_usage,
    call,
    encoded,
    events_of,
    g_end,
    g_parts,
    g_usage,
    sealed,
    sse,
)


def a_event(body: JsonObject) -> bytes:
    return b"event: " + str(body["type"]).encode() + b"\n" + sse(body)


def a_usage(given: int, written: int, read: int, made: int, **more: Any) -> JsonObject:
    return {
        "input_tokens": given,
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": read,
        "output_tokens": made,
        **more,
    }


def a_start(usage: JsonObject) -> bytes:
    message: JsonObject = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [],
        "stop_reason": None,
    }
    return a_event({"type": "message_start", "message": {**message, "stop_sequence": None, "usage": usage}})


def a_block(index: int, block: JsonObject, *deltas: JsonObject) -> bytes:
    return (
        a_event({"type": "content_block_start", "index": index, "content_block": block})
        + b"".join(a_event({"type": "content_block_delta", "index": index, "delta": delta}) for delta in deltas)
        + a_event({"type": "content_block_stop", "index": index})
    )


def a_end(delta: JsonObject, usage: JsonObject) -> bytes:
    return a_event({"type": "message_delta", "delta": delta, "usage": usage}) + a_event({"type": "message_stop"})


def a_text(index: int, *texts: str) -> bytes:
    return a_block(index, {"type": "text", "text": ""}, *({"type": "text_delta", "text": text} for text in texts))


def named(events: list[Event]) -> list[Event]:
    """`events` of an answer with the id of the examples."""
    return [replace(event, id="r1") if isinstance(event, Started) else event for event in events]


CHAT_PLAIN = (
    c_delta({"role": "assistant", "content": ""})
    + c_delta({"content": "Hel"})
    + c_delta({"content": "lo."})
    + c_finish("stop")
    + c_usage(120, 3, 123, 100, 0)
    + DONE
)
GEMINI_PLAIN = (
    g_parts({"text": "Hel"})
    + g_parts({"text": "lo."})
    + g_end("STOP", g_usage(120, 3, 123, cachedContentTokenCount=100))
)


def test_6_1_plain_text() -> None:
    assert encoded(named(events_of(openai_chat.FORMAT, CHAT_PLAIN))) == GEMINI_PLAIN


def test_6_1_read_back() -> None:
    found = fold(events_of(FORMAT, GEMINI_PLAIN))
    assert found.candidates == (Candidate((Text("Hello."),), "stop"),)
    assert found.usage == Usage(120, 3, cache_read=100)


def test_6_2_parallel_tools_interleaved() -> None:
    def piece(index: int, text: str, **more: str) -> bytes:
        function = {"name": more["name"], "arguments": text} if more else {"arguments": text}
        known = {"id": more["id"], "type": "function"} if more else {}
        return c_delta({"tool_calls": [{"index": index, **known, "function": function}]})

    source = (
        c_delta({"role": "assistant", "content": None})
        + piece(0, '{"x":', id="call_a", name="f")
        + piece(1, '{"y"', id="call_b", name="g")
        + piece(0, "1}")
        + piece(1, ":2}")
        + c_finish("tool_calls")
        + c_usage(50, 20, 70, 0, 0)
        + DONE
    )
    target = (
        g_parts({"functionCall": {"id": "call_a", "name": "f", "args": {"x": 1}}})
        + g_parts({"functionCall": {"id": "call_b", "name": "g", "args": {"y": 2}}})
        + g_end("STOP", g_usage(50, 20, 70))
    )
    assert encoded(named(events_of(openai_chat.FORMAT, source))) == target
    candidate = fold(events_of(FORMAT, target)).candidates[0]
    assert candidate.finish == "tool_calls"
    assert candidate.blocks == (ToolCall("call_a", "f", '{"x":1}'), ToolCall("call_b", "g", '{"y":2}'))


SEALED = (
    g_parts({"text": "Need weather.", "thought": True})
    + g_parts({"text": "Checking.", "thoughtSignature": "b2ExLmFudGhyb3BpYy5Y"})
    + g_parts({"functionCall": {"id": "toolu_1", "name": "get_weather", "args": {"city": "Oslo"}}})
    + g_end("STOP", g_usage(60, 33, 105, thoughtsTokenCount=12))
)


def test_6_3_reasoning_with_signature_text_tool() -> None:
    source = (
        a_start(a_usage(60, 0, 0, 1))
        + a_block(
            0,
            {"type": "thinking", "thinking": "", "signature": ""},
            {"type": "thinking_delta", "thinking": "Need weather."},
            {"type": "signature_delta", "signature": "EqQB"},
        )
        + a_text(1, "Checking.")
        + a_block(
            2,
            {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {}},
            {"type": "input_json_delta", "partial_json": '{"city":'},
            {"type": "input_json_delta", "partial_json": '"Oslo"}'},
        )
        + a_end(
            {"stop_reason": "tool_use", "stop_sequence": None},
            a_usage(60, 0, 0, 45, output_tokens_details={"thinking_tokens": 12}),
        )
    )
    events = sealed(named(events_of(anthropic_messages.FORMAT, source)), "oa1.anthropic.X")
    assert encoded(events) == SEALED


def test_6_3_the_envelope_is_read_back_into_the_reasoning() -> None:
    blocks = fold(events_of(FORMAT, SEALED)).candidates[0].blocks
    assert [type(block).__name__ for block in blocks] == ["Reasoning", "Text", "ToolCall"]
    assert blocks[0].opaque == ReasoningOpaque("oa1.anthropic.X", "")  # type: ignore[union-attr]
    assert blocks[1] == Text("Checking.")


def test_6_4_stop_sequence_and_cache() -> None:
    source = (
        a_start(a_usage(20, 300, 1000, 1))
        + a_text(0, "A, B")
        + a_end({"stop_reason": "stop_sequence", "stop_sequence": "END"}, a_usage(20, 300, 1000, 5))
    )
    target = g_parts({"text": "A, B"}) + g_end("STOP", g_usage(1320, 5, 1325, cachedContentTokenCount=1000))
    assert encoded(named(events_of(anthropic_messages.FORMAT, source))) == target


@pytest.mark.parametrize(
    ("finish", "word", "usage"),
    [("length", "MAX_TOKENS", (9, 2)), ("content_filter", "SAFETY", (15, 4)), ("refusal", "SAFETY", (15, 4))],
)
def test_6_5_and_6_6_answers_that_end_early(finish: str, word: str, usage: tuple[int, int]) -> None:
    candidate = Candidate((Text("Once upon"),), finish)  # type: ignore[arg-type]
    response = Response("r1", candidates=(candidate,), usage=Usage(*usage))
    target = g_parts({"text": "Once upon"}) + g_end(word, g_usage(*usage, sum(usage)))
    assert encoded(unfold(response)) == target


def test_6_7_a_refusal_in_words_is_an_answer() -> None:
    candidate = Candidate((Refusal("I cannot help."),), "refusal")
    response = Response("r1", candidates=(candidate,), usage=Usage(11, 4))
    assert encoded(unfold(response)) == g_parts({"text": "I cannot help."}) + g_end("STOP", g_usage(11, 4, 15))


@pytest.mark.parametrize(
    ("error", "code"), [(UpstreamError("Overloaded", status=529), 503), (UpstreamError("closed", status=502), 502)]
)
def test_6_8_and_6_9_errors_in_the_middle(error: UpstreamError, code: int) -> None:
    events: list[Event] = [Started("r1"), TextDelta(0, 0, "Hi"), Failed(error)]
    last = encoded(events).removeprefix(g_parts({"text": "Hi"}))
    assert last == sse({"error": {"code": code, "message": error.message, "status": "UNAVAILABLE"}})


def test_6_9_a_truncated_stream_is_no_success() -> None:
    events = events_of(FORMAT, g_parts({"text": "Hi"}))
    assert isinstance(events[-1], Failed)
    assert events[-1].error.code == "upstream_stream_truncated"
    assert not any(isinstance(event, (BlockEnded, Ended)) for event in events)


def test_6_10_thoughts_and_the_signature_of_a_call() -> None:
    source = (
        g_parts({"text": "Look it up.", "thought": True})
        + g_parts(
            {
                "functionCall": {"id": "call_1", "name": "get_weather", "args": {"city": "Oslo"}},
                "thoughtSignature": "Q2k9",
            }
        )
        + g_end("STOP", g_usage(31, 22, 93, thoughtsTokenCount=40))
    )
    events = events_of(FORMAT, source)
    signature = ReasoningOpaque("Q2k9", "google-gemini-v1")
    assert fold(events).candidates == (
        Candidate(
            (
                Reasoning((ReasoningText("Look it up."),)),
                ToolCall("call_1", "get_weather", '{"city":"Oslo"}', opaque=signature),
            ),
            "tool_calls",
        ),
    )
    usage = next(event.usage for event in reversed(events) if isinstance(event, UsageReported))
    assert usage == Usage(31, 62, reasoning=40)
    assert encoded(events) == source


def test_6_11_custom_tool() -> None:
    custom = ToolCall("call_p", "apply", 'a "b"\nc', "custom")
    response = Response("r1", candidates=(Candidate((custom,), "tool_calls"),), usage=Usage(40, 6))
    target = g_parts({"functionCall": {"id": "call_p", "name": "apply", "args": {"input": 'a "b"\nc'}}})
    assert encoded(unfold(response)) == target + g_end("STOP", g_usage(40, 6, 46))


GROUNDED = (
    g_parts({"text": "Paris é "})
    + g_parts({"text": "big."})
    + g_end(
        "STOP",
        g_usage(90, 7, 97),
        {
            "groundingMetadata": {
                "groundingChunks": [{"web": {"uri": "https://e.org", "title": "E"}}],
                "groundingSupports": [
                    {
                        "segment": {"startIndex": 0, "endIndex": 13, "text": "Paris é big."},
                        "groundingChunkIndices": [0],
                    }
                ],
            }
        },
    )
)


def test_6_12_citation() -> None:
    citation = {
        "type": "web_search_result_location",
        "url": "https://e.org",
        "title": "E",
        "encrypted_index": "enc",
        "cited_text": "Paris is big",
    }
    source = (
        a_start(a_usage(90, 0, 0, 1))
        + a_block(
            0,
            {"type": "text", "text": ""},
            {"type": "text_delta", "text": "Paris é "},
            {"type": "text_delta", "text": "big."},
            {"type": "citations_delta", "citation": citation},
        )
        + a_end({"stop_reason": "end_turn", "stop_sequence": None}, a_usage(90, 0, 0, 7))
    )
    assert encoded(named(events_of(anthropic_messages.FORMAT, source))) == GROUNDED


def test_6_12_bytes_become_code_points() -> None:
    block = fold(events_of(FORMAT, GROUNDED)).candidates[0].blocks[0]
    assert isinstance(block, Text)
    assert [(found.url, found.title, found.start, found.end) for found in block.citations] == [
        ("https://e.org", "E", 0, 12)
    ]


BLOCKED = sse(
    {
        "promptFeedback": {"blockReason": "SAFETY"},
        "usageMetadata": {"promptTokenCount": 7, "totalTokenCount": 7},
        "modelVersion": "m",
        "responseId": "r1",
    }
)


def test_6_13_blocked_prompt() -> None:
    events = events_of(FORMAT, BLOCKED)
    assert [event for event in events if isinstance(event, Finished)] == [
        Finished(0, "content_filter", detail="SAFETY")
    ]
    assert events[-1] == Ended(prompt_block="SAFETY")
    again = orjson.loads(encoded(events)[6:])
    assert again["promptFeedback"] == {"blockReason": "SAFETY"}
    assert "candidates" not in again
    assert again["usageMetadata"]["promptTokenCount"] == 7
    chat = openai_chat.FORMAT.encode_response(fold(events), call())
    assert [(choice["finish_reason"], choice["message"]["content"]) for choice in chat["choices"]] == [
        ("content_filter", "")
    ]


def test_a_signature_of_our_own_wire_comes_back_where_it_was() -> None:
    source = (
        g_parts({"text": "4"}) + g_parts({"text": "", "thoughtSignature": "Ci4B"}) + g_end("STOP", g_usage(3, 1, 4))
    )
    events = events_of(FORMAT, source)
    assert OpaqueDelta(0, 0, ReasoningOpaque("Ci4B", "google-gemini-v1")) in events
    assert encoded(events) == source
