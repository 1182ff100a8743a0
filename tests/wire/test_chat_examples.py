"""The worked examples of streams towards Chat Completions clients (reference for answers, section 6).

They are written with the field `reasoning_content`, which a client gets who names it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest
from openai.types.chat import ChatCompletionChunk

from oneapi_mw.canonical.call import Call
from oneapi_mw.canonical.events import Event
from oneapi_mw.canonical.fold import fold
from oneapi_mw.wire import anthropic_messages, gemini, openai_responses
from oneapi_mw.wire.openai_chat import FORMAT
from oneapi_mw.wire.openai_chat.encoder import ChatStreamEncoder
from oneapi_mw.wire.wish import ReasoningWish
from tests.wire.anthropic_messages import notation, streams
from tests.wire.gemini.wires import events_of, g_end, g_parts, g_usage, sealed, sse
from tests.wire.openai_responses.support import custom_item, refusal_item, text_item, to_bytes, usage, whole

Json = dict[str, Any]
CALL = Call("chat", "openai_chat", "m", True, {}, None)
ROLE: Json = {"role": "assistant", "content": ""}


def from_messages(text: str) -> list[Event]:
    return events_of(anthropic_messages.FORMAT, notation.stream(text))


def from_responses(*groups: list[Json], **ending: Any) -> list[Event]:
    return events_of(openai_responses.FORMAT, to_bytes(whole(*groups, **ending)))


def from_gemini(*chunks: bytes) -> list[Event]:
    return events_of(gemini.FORMAT, b"".join(chunks))


def said(events: list[Event], **names: str) -> list[Any]:
    """What a client is told: deltas, endings as their word, usage as its object, other lines as they are."""
    encoder = ChatStreamEncoder(CALL, created=1, **names)
    data = b"".join([encoder.feed([event]) for event in events]) + encoder.close()
    found: list[Any] = []
    for block in data.split(b"\n\n")[:-1]:
        line = block.removeprefix(b"data: ")
        if line == b"[DONE]":
            found.append("[DONE]")
            continue
        chunk = orjson.loads(line)
        if "error" in chunk:
            found.append(chunk["error"])
            continue
        if "custom" not in str(chunk):  # the SDK knows no calls of custom tools in chunks
            ChatCompletionChunk.model_validate(chunk)
        if not chunk["choices"]:
            found.append(chunk["usage"])
            continue
        (choice,) = chunk["choices"]
        ending = choice["finish_reason"]
        assert ending is None or choice["delta"] == {}
        found.append(ending or choice["delta"])
    return found


def told(prompt: int, completion: int, cached: int = 0, reasoning: int | None = None, written: int = 0) -> Json:
    """Usage. What the source does not say of reasoning is unknown, not none."""
    report: Json = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": cached, **({"cache_write_tokens": written} if written else {})},
    }
    if reasoning is not None:
        report["completion_tokens_details"] = {"reasoning_tokens": reasoning}
    return report


def called(index: int, call_id: str, name: str, *arguments: str, **beside: Any) -> list[Json]:
    opened = {"index": index, "id": call_id, "type": "function", "function": {"name": name, "arguments": ""}, **beside}
    pieces: list[Json] = [{"index": index, "function": {"arguments": text}} for text in arguments]
    return [{"tool_calls": [entry]} for entry in [opened, *pieces]]


def details(data: str) -> Json:
    entry = {"type": "reasoning.text", "signature": data, "format": "anthropic-claude-v1", "index": 0}
    return {"reasoning_details": [entry]}


THINKING = [
    ROLE,
    {"reasoning_content": "Need weather."},
    details("oa1.anthropic.X"),
    {"content": "Checking."},
    *called(0, "toolu_1", "get_weather", '{"city":', '"Oslo"}'),
    "tool_calls",
    told(60, 45, reasoning=12),
    "[DONE]",
]
CITATION = {"start_index": 0, "end_index": 12, "title": "E", "url": "https://e.org"}
OVERLOADED = {"message": "Overloaded", "type": "server_error", "param": None, "code": "overloaded"}
CUSTOM = {"index": 0, "id": "call_p", "type": "custom", "custom": {"name": "apply", "input": ""}}
PLAIN_ENDING = ["stop", told(120, 3, 100), "[DONE]"]
CASES = [
    pytest.param(
        from_messages(streams.PLAIN), [ROLE, {"content": "Hel"}, {"content": "lo."}, *PLAIN_ENDING], id="6.1 messages"
    ),
    pytest.param(
        from_gemini(
            g_parts({"text": "Hel"}),
            g_parts({"text": "lo."}),
            g_end("STOP", g_usage(120, 3, 123, cachedContentTokenCount=100)),
        ),
        [ROLE, {"content": "Hel"}, {"content": "lo."}, *PLAIN_ENDING],
        id="6.1 gemini",
    ),
    pytest.param(
        from_messages(streams.PARALLEL),
        [
            ROLE,
            *called(0, "call_a", "f", '{"x":', "1}"),
            *called(1, "call_b", "g", '{"y"', ":2}"),
            "tool_calls",
            told(50, 20),
            "[DONE]",
        ],
        id="6.2 messages",
    ),
    pytest.param(sealed(from_messages(streams.REASONING), "oa1.anthropic.X"), THINKING, id="6.3 messages"),
    pytest.param(
        from_messages(streams.STOP_SEQUENCE),
        [ROLE, {"content": "A, B"}, "stop", told(1320, 5, 1000, written=300), "[DONE]"],
        id="6.4 messages",
    ),
    pytest.param(
        from_responses(
            text_item("msg_1", 0, "incomplete", "Once upon"),
            kind="incomplete",
            usage=usage(9, 0, 0, 2, 0, 11),
            incomplete_details={"reason": "max_output_tokens"},
        ),
        [ROLE, {"content": "Once upon"}, "length", told(9, 2, reasoning=0), "[DONE]"],
        id="6.5 responses",
    ),
    pytest.param(
        from_messages(streams.CLASSIFIER),
        [ROLE, {"content": "Step 1"}, "content_filter", told(15, 4), "[DONE]"],
        id="6.6 messages",
    ),
    pytest.param(
        from_responses(refusal_item("msg_1", 0, "I cannot help."), usage=usage(11, 0, 0, 4, 0, 15)),
        [ROLE, {"refusal": "I cannot help."}, "stop", told(11, 4, reasoning=0), "[DONE]"],
        id="6.7 responses",
    ),
    pytest.param(from_messages(streams.FAILED), [ROLE, {"content": "Hi"}, OVERLOADED], id="6.8 messages"),
    pytest.param(
        from_gemini(
            g_parts({"text": "Look it up.", "thought": True}),
            g_parts(
                {
                    "functionCall": {"id": "call_1", "name": "get_weather", "args": {"city": "Oslo"}},
                    "thoughtSignature": "Q2k9",
                }
            ),
            g_end("STOP", g_usage(31, 22, 93, thoughtsTokenCount=40)),
        ),
        [
            ROLE,
            {"reasoning_content": "Look it up."},
            *called(
                0,
                "call_1",
                "get_weather",
                '{"city":"Oslo"}',
                extra_content={"google": {"thought_signature": "Q2k9"}},
            ),
            "tool_calls",
            told(31, 62, reasoning=40),
            "[DONE]",
        ],
        id="6.10 gemini",
    ),
    pytest.param(
        from_responses(custom_item("ctc_1", 0, "call_p", "apply", 'a "b"', "\nc"), usage=usage(40, 0, 0, 6, 0, 46)),
        [
            ROLE,
            {"tool_calls": [CUSTOM]},
            {"tool_calls": [{"index": 0, "custom": {"input": 'a "b"'}}]},
            {"tool_calls": [{"index": 0, "custom": {"input": "\nc"}}]},
            "tool_calls",
            told(40, 6, reasoning=0),
            "[DONE]",
        ],
        id="6.11 responses",
    ),
    pytest.param(
        from_messages(streams.CITED),
        [
            ROLE,
            {"content": "Paris \u00e9 "},
            {"content": "big."},
            {"annotations": [{"type": "url_citation", "url_citation": CITATION}]},
            "stop",
            told(90, 7),
            "[DONE]",
        ],
        id="6.12 messages",
    ),
    pytest.param(
        from_gemini(
            sse(
                {
                    "promptFeedback": {"blockReason": "SAFETY"},
                    "usageMetadata": {"promptTokenCount": 7, "totalTokenCount": 7},
                    "modelVersion": "m",
                    "responseId": "r1",
                }
            )
        ),
        [ROLE, "content_filter", told(7, 0), "[DONE]"],
        id="6.13 gemini",
    ),
]


@pytest.mark.parametrize(("events", "expected"), CASES)
def test_worked_examples(events: list[Event], expected: list[Any]) -> None:
    found = said(events, reasoning="reasoning_content")
    assert [_without_unknown_parts(line) for line in found] == expected


def _without_unknown_parts(line: Any) -> Any:
    if isinstance(line, dict) and "prompt_tokens_details" in line:
        known = ("cached_tokens", "cache_write_tokens")
        parts = {name: count for name, count in line["prompt_tokens_details"].items() if name in known}
        return {**line, "prompt_tokens_details": parts}
    return line


def test_a_stream_that_is_cut_off_is_no_success() -> None:
    """6.9"""
    lines = notation.events(streams.PLAIN)[:3]
    role, content, error = said(events_of(anthropic_messages.FORMAT, notation.wire(lines)))
    assert (role, content) == (ROLE, {"content": "Hel"})
    assert (error["type"], error["code"]) == ("upstream_error", "upstream_stream_truncated")


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning", "thinking"])
def test_reasoning_has_the_name_the_client_gave_it(field: str) -> None:
    events = from_messages(streams.REASONING)
    assert said(events, reasoning=field)[1] == {field: "Need weather."}


def test_cv_32_reasoning_of_another_format_is_called_reasoning() -> None:
    """No delta of it has content, too, and none is empty."""
    encoder = FORMAT.stream_encoder(CALL)
    data = encoder.feed(from_messages(streams.REASONING))
    deltas = [orjson.loads(line[6:])["choices"] for line in data.split(b"\n\n")[:-2]]
    found = [choices[0]["delta"] for choices in deltas if choices and "reasoning" in choices[0]["delta"]]
    assert found == [{"reasoning": "Need weather."}]


def test_cv_50_redacted_and_empty_signed_blocks_reach_the_client() -> None:
    text = """
M u(1,0,0,1)
B0 {"type":"redacted_thinking","data":"RED"}
E0
B1 {"type":"thinking","thinking":"","signature":""}
d1 {"type":"signature_delta","signature":"EqQB"}
E1
X {"stop_reason":"end_turn","stop_sequence":null} u(1,0,0,1)
S
"""
    claude = {"format": "anthropic-claude-v1"}
    entries = [
        {"type": "reasoning.encrypted", "data": "RED", **claude, "index": 0},
        {"type": "reasoning.text", "text": "", "signature": "EqQB", **claude, "index": 1},
    ]
    assert said(from_messages(text))[1:3] == [{"reasoning_details": [entry]} for entry in entries]


@pytest.mark.parametrize(
    ("wish", "field"),
    [(ReasoningWish(format="thinking"), "thinking"), (ReasoningWish(fallback="reasoning_content"), "reasoning_content"),
     (ReasoningWish(format="raw"), "reasoning"), (None, "reasoning")],
)  # fmt: skip
def test_a_wish_names_the_field_in_streams_and_answers(wish: ReasoningWish | None, field: str) -> None:
    call, events = replace(CALL, wish=wish), from_messages(streams.REASONING)
    assert b'"delta":{"%s":"Need weather."}' % field.encode() in FORMAT.stream_encoder(call).feed(events)
    assert FORMAT.encode_response(fold(events), call)["choices"][0]["message"][field] == "Need weather."
