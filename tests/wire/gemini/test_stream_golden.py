"""What the worked examples of streams (conversion-answers.md 6) mean when read. `tests.golden` has them all."""

from __future__ import annotations

from dataclasses import replace

import orjson
import pytest

from oneapi_mw.canonical.blocks import Reasoning, ReasoningOpaque, ReasoningText, Text, ToolCall
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
from oneapi_mw.canonical.fold import fold
from oneapi_mw.canonical.response import Candidate
from oneapi_mw.errors import UpstreamError
from oneapi_mw.usage import Usage
from oneapi_mw.wire import openai_chat
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
    sse,
)


def named(events: list[Event]) -> list[Event]:
    """`events` of an answer with the id of the examples."""
    return [replace(event, id="r1") if isinstance(event, Started) else event for event in events]


GEMINI_PLAIN = (
    g_parts({"text": "Hel"})
    + g_parts({"text": "lo."})
    + g_end("STOP", g_usage(120, 3, 123, cachedContentTokenCount=100))
)


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


def test_6_3_the_envelope_is_read_back_into_the_reasoning() -> None:
    blocks = fold(events_of(FORMAT, SEALED)).candidates[0].blocks
    assert [type(block).__name__ for block in blocks] == ["Reasoning", "Text", "ToolCall"]
    assert blocks[0].opaque == ReasoningOpaque("oa1.anthropic.X", "")  # type: ignore[union-attr]
    assert blocks[1] == Text("Checking.")


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
