"""Reports of usage that come before the end of the text do not cover it, however the network cuts the stream."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from oneapi_mw.canonical.events import UsageReported
from oneapi_mw.canonical.frames import Frame
from oneapi_mw.wire.base import StreamDecoder
from oneapi_mw.wire.openai_chat import produced as produced_module
from oneapi_mw.wire.registry import get_format

Told = dict[str, Any]

CHAT_TOLD: Told = {"usage": {"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14}}
GEMINI_TOLD: Told = {"usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 5, "totalTokenCount": 14}}
GEMINI_PROMPT: Told = {"usageMetadata": {"promptTokenCount": 9, "totalTokenCount": 9}}
GEMINI_TOTAL: Told = {"usageMetadata": {"promptTokenCount": 9, "totalTokenCount": 14}}


def chat(text: str = "", *, finish: str | None = None, **more: Any) -> Told:
    return {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}], **more}


def completion(text: str = "", *, finish: str | None = None, **more: Any) -> Told:
    return {"choices": [{"index": 0, "text": text, "finish_reason": finish}], **more}


def gemini(text: str = "", *, finish: str | None = None, **more: Any) -> Told:
    candidate = {"content": {"role": "model", "parts": [{"text": text}]}}
    return {"candidates": [{**candidate, "finishReason": finish} if finish else candidate], **more}


def messages(*endings: Told) -> list[Told]:
    return [
        {
            "type": "message_start",
            "message": {"id": "m", "content": [], "model": "m", "usage": {"input_tokens": 9, "output_tokens": 2}},
        },
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        *(
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": word}}
            for word in ("one ", "two ", "three")
        ),
        {"type": "content_block_stop", "index": 0},
        *endings,
        {"type": "message_stop"},
    ]


def stopped(usage: Told | None) -> Told:
    return {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, **({} if usage is None else usage)}


def responses(usage: Any) -> list[Told]:
    part = {"type": "output_text", "text": "one "}
    item = {"type": "message", "id": "i", "role": "assistant", "status": "completed", "content": [part]}
    return [
        {"type": "response.created", "response": {"id": "r", "status": "in_progress", "output": [], "usage": None}},
        {"type": "response.output_text.delta", "output_index": 0, "item_id": "i", "content_index": 0, "delta": "one "},
        {
            "type": "response.completed",
            "response": {"id": "r", "status": "completed", "output": [item], "usage": usage},
        },
    ]


WORDS = ("one ", "two ", "three ")
NULL: Told = {"usage": None}
ROWS: list[tuple[str, str, list[Told], bool]] = [
    ("openai_chat", "never", [*map(chat, WORDS), chat(finish="stop")], True),
    ("openai_chat", "at the end", [*map(chat, WORDS), chat(finish="stop"), {"choices": [], **CHAT_TOLD}], False),
    ("openai_chat", "with the finish", [*map(chat, WORDS), chat(finish="stop", **CHAT_TOLD)], False),
    ("openai_chat", "with every chunk", [chat(word, **CHAT_TOLD) for word in WORDS], False),
    ("openai_chat", "with the first", [chat("one ", **CHAT_TOLD), *map(chat, WORDS), chat(finish="stop")], True),
    ("openai_chat", "but for the last", [chat("one "), chat("two ", **CHAT_TOLD), chat("3", finish="stop")], True),
    ("openai_chat", "then nulls", [chat("one "), chat(finish="stop", **CHAT_TOLD), chat(**NULL), chat(**NULL)], False),
    ("openai_chat", "null at the end", [*map(chat, WORDS), chat(finish="stop"), {"choices": [], **NULL}], True),
    ("openai_chat", "unreadable", [*map(chat, WORDS), {"choices": [], "usage": {"prompt_tokens": "9"}}], True),
    ("openai_completions", "never", [*map(completion, WORDS), completion(finish="stop")], True),
    ("openai_completions", "at the end", [*map(completion, WORDS), completion(finish="stop", **CHAT_TOLD)], False),
    ("openai_completions", "with the first", [completion("one ", **CHAT_TOLD), completion("two ")], True),
    ("gemini", "never", [*map(gemini, WORDS), gemini(finish="STOP")], True),
    ("gemini", "with every chunk", [gemini(word, **GEMINI_TOLD) for word in WORDS], False),
    ("gemini", "but for an empty end", [gemini("one ", **GEMINI_TOLD), gemini("", finish="STOP")], False),
    ("gemini", "with the first", [gemini("one ", **GEMINI_TOLD), gemini("two ", finish="STOP")], True),
    ("gemini", "the prompt alone", [gemini("one ", **GEMINI_PROMPT), gemini("two ", finish="STOP")], True),
    ("gemini", "the total alone", [gemini("one ", **GEMINI_TOTAL)], False),
    ("anthropic_messages", "as usual", messages(stopped({"usage": {"output_tokens": 5}})), False),
    ("anthropic_messages", "with the beginning", messages(stopped(None)), True),
    ("anthropic_messages", "unreadable", messages(stopped({"usage": {"output_tokens": "5"}})), True),
    ("anthropic_messages", "twice", messages(stopped({"usage": {"output_tokens": 5}}), stopped(None)), False),
    ("openai_responses", "as usual", responses({"input_tokens": 9, "output_tokens": 5}), False),
]


def sse(event: Told) -> bytes:
    name = f"event: {event['type']}\n".encode() if "type" in event else b""
    return name + b"data: " + orjson.dumps(event) + b"\n\n"


def decoded(name: str, full: bool, pieces: list[bytes]) -> tuple[StreamDecoder, list[Frame]]:
    decoder = get_format(name).stream_decoder(full=full, model=None, hide_usage=False)
    frames = [frame for piece in pieces for frame in decoder.feed(piece)]
    return decoder, [*frames, *decoder.close()]


@pytest.mark.parametrize("fold", [False, True], ids=["unread", "folded"])
@pytest.mark.parametrize("full", [False, True], ids=["skimmed", "full"])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 100_000])
@pytest.mark.parametrize(("name", "when", "events", "expected"), ROWS, ids=[f"{row[0]}: {row[1]}" for row in ROWS])
def test_what_is_not_covered(
    name: str,
    when: str,
    events: list[Told],
    expected: bool,
    size: int,
    full: bool,
    fold: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if fold:
        monkeypatch.setattr(produced_module, "FOLD_BYTES", 1)
        monkeypatch.setattr(produced_module, "KEPT_BYTES", 2)
    whole = [sse(event) for event in events]
    pieces = [b"".join(whole[start : start + size]) for start in range(0, len(whole), size)]
    assert decoded(name, full, pieces)[0].unreported() is expected


def test_a_whole_answer_under_the_type_of_a_stream_tells_all() -> None:
    body = {
        "id": "m",
        "type": "message",
        "content": [{"type": "text", "text": "one two three"}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 9, "output_tokens": 5},
    }
    decoder, frames = decoded("anthropic_messages", True, [orjson.dumps(body)])
    told = [event.usage.output_tokens for frame in frames for event in frame.events if isinstance(event, UsageReported)]
    assert told == [5]
    assert not decoder.unreported()
