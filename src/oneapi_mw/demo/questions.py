"""What the demo asks: the same things in every format a client may speak, whole and streamed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from oneapi_mw.canonical.blocks import Text, ToolCall
from oneapi_mw.canonical.fold import fold
from oneapi_mw.canonical.response import Response
from oneapi_mw.demo.provider import MODEL
from oneapi_mw.errors import UpstreamError
from oneapi_mw.wire.registry import get_format

CHAT, RESPONSES, MESSAGES = "/v1/chat/completions", "/v1/responses", "/v1/messages"
GEMINI = f"/v1beta/models/{MODEL}"
HELLO = "Hello, who are you?"
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = "The weather in a city"


@dataclass(frozen=True)
class Question:
    """One request of the demo."""

    title: str
    format: str
    path: str
    body: dict[str, Any]
    stream: bool = False

    def read(self, answer: bytes) -> str:
        """What was answered, in words. Raises `ValueError` for an answer that is not whole."""
        wire = get_format(self.format)
        if not self.stream:
            return _words(wire.decode_response(json.loads(answer)))
        decoder = wire.stream_decoder(full=True, model=None, hide_usage=False)
        frames = [*decoder.feed(answer), *decoder.close()]
        try:
            return _words(fold(event for frame in frames for event in frame.events))
        except UpstreamError as exc:
            raise ValueError(exc.message) from exc


def questions() -> list[Question]:
    """In each format: a question, the same one streamed, and one that is answered with a tool call."""
    said = [{"role": "user", "content": HELLO}]
    function = {"name": "get_weather", "description": WEATHER, "parameters": CITY}
    chat = {"model": MODEL, "messages": said}
    responses = {"model": MODEL, "input": HELLO}
    messages = {"model": MODEL, "max_tokens": 200, "messages": said}
    gemini = {"contents": [{"role": "user", "parts": [{"text": HELLO}]}]}
    return [
        *_asked("Chat Completions", "openai_chat", CHAT, chat, {"tools": [{"type": "function", "function": function}]}),
        *_asked("Responses", "openai_responses", RESPONSES, responses, {"tools": [{"type": "function", **function}]}),
        *_asked(
            "Claude Messages",
            "anthropic_messages",
            MESSAGES,
            messages,
            {"tools": [{"name": "get_weather", "description": WEATHER, "input_schema": CITY}]},
        ),
        Question("Gemini", "gemini", f"{GEMINI}:generateContent", gemini),
        Question("Gemini, streamed", "gemini", f"{GEMINI}:streamGenerateContent?alt=sse", gemini, stream=True),
        Question(
            "Gemini, a tool call",
            "gemini",
            f"{GEMINI}:generateContent",
            {**gemini, "tools": [{"functionDeclarations": [function]}]},
        ),
    ]


def _asked(title: str, format: str, path: str, body: dict[str, Any], tools: dict[str, Any]) -> list[Question]:
    streamed = {**body, "stream": True}
    return [
        Question(title, format, path, body),
        Question(f"{title}, streamed", format, path, streamed, stream=True),
        Question(f"{title}, a tool call", format, path, {**streamed, **tools}, stream=True),
    ]


def _words(response: Response) -> str:
    blocks = response.candidates[0].blocks if response.candidates else ()
    calls = [f"tool call: {block.name}{block.arguments}" for block in blocks if isinstance(block, ToolCall)]
    return "; ".join(calls) or "".join(block.text for block in blocks if isinstance(block, Text))
