"""The worked examples of usage: each row is one answer, which every wire reports in its own arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import pytest

from oneapi_mw.types import JsonObject
from oneapi_mw.wire.registry import get_format
from tests.golden.conversion import answered, streamed
from tests.golden.notation import C_HEAD, G_HEAD, WIRES, Line, parsed, to_bytes
from tests.wire.anthropic_messages.notation import message
from tests.wire.openai_responses.support import HEAD, ended

C, R, A, G = WIRES.values()


@dataclass(frozen=True)
class Row:
    number: str
    sources: dict[str, JsonObject]
    """What upstreams report, each of which means this row."""
    told: dict[str, JsonObject]
    """What clients are told."""

    def __str__(self) -> str:
        return self.number


def in_chat(prompt: int, completion: int, cached: int = 0, *, reasoning: int | None = None, **more: int) -> JsonObject:
    """Counts of `more` are those of the prompt."""
    usage: JsonObject = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": cached, **more},
    }
    return usage if reasoning is None else {**usage, "completion_tokens_details": {"reasoning_tokens": reasoning}}


def in_responses(given: int, made: int, cached: int = 0, written: int = 0, reasoning: int = 0) -> JsonObject:
    return {
        "input_tokens": given,
        "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": written},
        "output_tokens": made,
        "output_tokens_details": {"reasoning_tokens": reasoning},
        "total_tokens": given + made,
    }


def in_messages(given: int, made: int, read: int = 0, written: int = 0, *, thinking: int | None = None) -> JsonObject:
    usage: JsonObject = {
        "input_tokens": given,
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": read,
        "output_tokens": made,
    }
    return usage if thinking is None else {**usage, "output_tokens_details": {"thinking_tokens": thinking}}


def in_gemini(prompt: int, candidates: int, total: int, **more: int) -> JsonObject:
    return {"promptTokenCount": prompt, "candidatesTokenCount": candidates, "totalTokenCount": total, **more}


SPLIT = {"cache_creation": {"ephemeral_5m_input_tokens": 300, "ephemeral_1h_input_tokens": 200}}
WRITTEN = in_responses(1520, 5, 1000, 500)
WRITTEN["input_tokens_details"] |= {"cache_write_tokens_details": {"ttl_30m_tokens": 300, "ttl_12h_tokens": 200}}
SPOKEN_IN_CHAT = {
    **in_chat(150, 80, audio_tokens=100, text_tokens=50),
    "completion_tokens_details": {"audio_tokens": 50, "text_tokens": 30},
}
SPOKEN_IN_GEMINI = {
    **in_gemini(150, 80, 230),
    "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 50}, {"modality": "AUDIO", "tokenCount": 100}],
    "candidatesTokensDetails": [{"modality": "TEXT", "tokenCount": 30}, {"modality": "AUDIO", "tokenCount": 50}],
}
PREDICTED = {
    **in_chat(400, 200),
    "completion_tokens_details": {"accepted_prediction_tokens": 120, "rejected_prediction_tokens": 30},
}
SEARCHED = {**in_messages(90, 7), "server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 0}}
XAI = {**in_chat(32, 9, reasoning=291), "total_tokens": 332}
DEEPSEEK = {
    "prompt_tokens": 1000,
    "completion_tokens": 50,
    "total_tokens": 1050,
    "prompt_cache_hit_tokens": 896,
    "prompt_cache_miss_tokens": 104,
    "completion_tokens_details": {"reasoning_tokens": 20},
}
PLAIN = {C: in_chat(9, 12), R: in_responses(9, 12), A: in_messages(9, 12), G: in_gemini(9, 12, 21)}
CACHED = {
    C: in_chat(2006, 300, 1920),
    R: in_responses(2006, 300, 1920),
    A: in_messages(86, 300, 1920),
    G: in_gemini(2006, 300, 2306, cachedContentTokenCount=1920),
}
THOUGHT = {
    C: in_chat(31, 62, reasoning=40),
    R: in_responses(31, 62, reasoning=40),
    A: in_messages(31, 62, thinking=40),
    G: in_gemini(31, 22, 93, thoughtsTokenCount=40),
}
ROWS = [
    Row("1 plain", PLAIN, PLAIN),
    Row("2 cache hit", CACHED, CACHED),
    Row(
        "3 cache writes of both terms",
        {A: {**in_messages(20, 5, 1000, 500), **SPLIT}},
        {
            C: in_chat(1520, 5, 1000, cache_write_tokens=500),
            R: WRITTEN,
            A: in_messages(20, 5, 1000, 500),
            G: in_gemini(1520, 5, 1525, cachedContentTokenCount=1000),
        },
    ),
    Row("4 thinking", THOUGHT, THOUGHT),
    Row(
        "5 prompt of a tool",
        {G: in_gemini(20, 30, 160, toolUsePromptTokenCount=100, thoughtsTokenCount=10)},
        {
            C: in_chat(120, 40, reasoning=10),
            R: in_responses(120, 40, reasoning=10),
            A: in_messages(120, 40, thinking=10),
            G: in_gemini(20, 30, 160, toolUsePromptTokenCount=100, thoughtsTokenCount=10),
        },
    ),
    Row(
        "6 audio both ways",
        {C: SPOKEN_IN_CHAT, G: SPOKEN_IN_GEMINI},
        {C: SPOKEN_IN_CHAT, R: in_responses(150, 80), A: in_messages(150, 80), G: SPOKEN_IN_GEMINI},
    ),
    Row(
        "7 reasoning beside the completion",
        {C: XAI},
        {
            C: in_chat(32, 300, reasoning=291),
            R: in_responses(32, 300, reasoning=291),
            A: in_messages(32, 300, thinking=291),
            G: in_gemini(32, 9, 332, thoughtsTokenCount=291),
        },
    ),
    Row(
        "8 hits and misses",
        {C: DEEPSEEK},
        {
            C: {**in_chat(1000, 50, 896, reasoning=20), **DEEPSEEK},
            R: in_responses(1000, 50, 896, reasoning=20),
            A: in_messages(104, 50, 896, thinking=20),
            G: in_gemini(1000, 30, 1050, cachedContentTokenCount=896, thoughtsTokenCount=20),
        },
    ),
    Row(
        "9 predictions",
        {C: PREDICTED},
        {C: PREDICTED, R: in_responses(400, 200), A: in_messages(400, 200), G: in_gemini(400, 200, 600)},
    ),
    Row(
        "10 searches",
        {A: SEARCHED},
        {C: in_chat(90, 7), R: in_responses(90, 7), A: SEARCHED, G: in_gemini(90, 7, 97)},
    ),
]
CASES = [(row, source, target) for row in ROWS for source, target in product(row.sources, WIRES.values())]


def whole(wire: str, usage: JsonObject) -> JsonObject:
    """An answer of an upstream."""
    if wire == C:
        choice = {"index": 0, "message": {"role": "assistant", "content": "a"}, "finish_reason": "stop"}
        return {**C_HEAD, "object": "chat.completion", "choices": [choice], "usage": usage}
    if wire == R:
        return {**HEAD, "status": "completed", "output": [], "usage": usage}
    if wire == A:
        return {**message(usage), "content": [{"type": "text", "text": "a"}], "stop_reason": "end_turn"}
    content = {"role": "model", "parts": [{"text": "a"}]}
    candidate = {"index": 0, "content": content, "finishReason": "STOP"}
    return {"candidates": [candidate], "usageMetadata": usage, **G_HEAD}


def stream(wire: str, usage: JsonObject) -> bytes:
    """The same in pieces, with the usage where an upstream of the wire tells it."""
    lines: list[Line]
    if wire == C:
        choices = [{"index": 0, "delta": {}, "finish_reason": "stop"}]
        lines = [{**C_HEAD, "choices": choices}, {**C_HEAD, "choices": [], "usage": usage}, "[DONE]"]
    elif wire == R:
        lines = [ended("completed", [], usage=usage)]
    elif wire == A:
        said = {name: count for name, count in usage.items() if name != "cache_creation"}
        delta = {"stop_reason": "end_turn", "stop_sequence": None}
        start = {"type": "message_start", "message": message({**usage, "output_tokens": 1})}
        lines = [start, {"type": "message_delta", "delta": delta, "usage": said}, {"type": "message_stop"}]
    else:
        lines = [whole(wire, usage)]
    return to_bytes(wire, lines)


def last_usage(wire: str, data: bytes) -> JsonObject:
    lines = [line for line in parsed(wire, data) if not isinstance(line, str)]
    line = next(
        line["response"] if wire == R else line for line in reversed(lines) if line.get("type") != "message_stop"
    )
    found: JsonObject = line["usageMetadata" if wire == G else "usage"]
    return found


def expected(row: Row, source: str, target: str) -> JsonObject:
    told = row.told[target]
    if target == C and source == R and "completion_tokens_details" not in told:
        return {**told, "completion_tokens_details": {"reasoning_tokens": 0}}  # which that wire always tells
    return told


@pytest.mark.parametrize(("row", "source", "target"), CASES, ids=str)
def test_whole_answers(row: Row, source: str, target: str) -> None:
    response = get_format(source).decode_response(whole(source, row.sources[source]))
    body = answered(source, target, response)
    split = SPLIT if row.number.startswith("3") and target == A else {}
    assert body["usageMetadata" if target == G else "usage"] == {**expected(row, source, target), **split}
    assert get_format(target).read_usage(body) == get_format(target).decode_response(body).usage
    if target == R and row.number.startswith("10"):
        assert body["tool_usage"]["web_search"]["num_requests"] == 2


@pytest.mark.parametrize(("row", "source", "target"), CASES, ids=str)
def test_streams(row: Row, source: str, target: str) -> None:
    found = last_usage(target, streamed(source, target, [stream(source, row.sources[source])]))
    assert found == expected(row, source, target)
