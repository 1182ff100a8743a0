"""The notation of the worked examples, expanded to the bytes of each wire."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson

from oneapi_mw.canonical.blocks import Reasoning, ReasoningOpaque
from oneapi_mw.canonical.call import Call, Outside
from oneapi_mw.canonical.events import BlockEnded, Event, OpaqueDelta
from oneapi_mw.types import JsonObject
from oneapi_mw.wire.gemini import FORMAT
from oneapi_mw.wire.wish import read_wish

CHAT_HEAD = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}


def sse(body: Any) -> bytes:
    return b"data: " + orjson.dumps(body) + b"\n\n"


# Chat Completions.


def c_delta(delta: JsonObject) -> bytes:
    return sse({**CHAT_HEAD, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]})


def c_finish(reason: str) -> bytes:
    return sse({**CHAT_HEAD, "choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})


def c_usage(prompt: int, completion: int, total: int, cached: int, reasoning: int) -> bytes:
    usage = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": total,
        "prompt_tokens_details": {"cached_tokens": cached},
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    }
    return sse({**CHAT_HEAD, "choices": [], "usage": usage})


DONE = b"data: [DONE]\n\n"


# Gemini.


def g_parts(*parts: JsonObject) -> bytes:
    candidate = {"index": 0, "content": {"role": "model", "parts": list(parts)}}
    return sse({"candidates": [candidate], "modelVersion": "m", "responseId": "r1"})


def g_end(reason: str, usage: JsonObject, more: JsonObject | None = None) -> bytes:
    candidate = {
        "index": 0,
        "content": {"role": "model", "parts": [{"text": ""}]},
        "finishReason": reason,
        **(more or {}),
    }
    return sse({"candidates": [candidate], "usageMetadata": usage, "modelVersion": "m", "responseId": "r1"})


def g_usage(prompt: int, said: int, total: int, **more: Any) -> JsonObject:
    return {"promptTokenCount": prompt, "candidatesTokenCount": said, "totalTokenCount": total, **more}


# Both ways.

SHOWN = {"generationConfig": {"thinkingConfig": {"includeThoughts": True}}}


def call(body: JsonObject | None = None, *, query: bytes = b"alt=sse", stream: bool = True) -> Call:
    """A client's call of this format that asks for thoughts."""
    action = "streamGenerateContent" if stream else "generateContent"
    whole = {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}], **(SHOWN if body is None else body)}
    outside = Outside(f"/v1beta/models/m:{action}", query)
    asked = FORMAT.decode_call(orjson.dumps(whole), operation="chat", outside=outside)
    return replace(asked, wish=read_wish(outside, whole))  # as the convert stage does


def events_of(wire: Any, data: bytes) -> list[Event]:
    """The events in a stream of another format."""
    decoder = wire.stream_decoder(full=True, model=None, hide_usage=False)
    frames = [*decoder.feed(data), *decoder.close()]
    return [event for frame in frames for event in frame.events]


def sealed(events: list[Event], data: str) -> list[Event]:
    """`events` with signatures as they leave the gateway: in an envelope."""

    def seal(event: Event) -> Event:
        if isinstance(event, OpaqueDelta):
            return replace(event, opaque=ReasoningOpaque(data, event.opaque.vendor))
        if isinstance(event, BlockEnded) and isinstance(event.content, Reasoning) and event.content.opaque:
            opaque = ReasoningOpaque(data, event.content.opaque.vendor)
            return replace(event, content=replace(event.content, opaque=opaque))
        return event

    return [seal(event) for event in events]


def encoded(events: list[Event], *, query: bytes = b"alt=sse", request_id: str = "") -> bytes:
    """What a client of this format gets, with the id `r1`."""
    encoder = FORMAT.stream_encoder(call(query=query), request_id=request_id)
    return encoder.feed(events) + encoder.close()
