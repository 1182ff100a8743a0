"""Shapes read the SDKs' types, and a wrong value is told at its place."""

from __future__ import annotations

from typing import Any

import pytest
from anthropic.types import message_create_params as anthropic
from google.genai import types as google
from openai.types.chat import completion_create_params as chat
from openai.types.responses import response_create_params as responses

from tests.vendors.schemas import sample
from tests.vendors.shapes import Mismatch, Shape

CHAT = chat.CompletionCreateParamsNonStreaming
RESPONSES = responses.ResponseCreateParamsNonStreaming
MESSAGES = anthropic.MessageCreateParamsNonStreaming
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/bmp", "data": "QQ=="}}


@pytest.mark.parametrize(
    ("hint", "value", "kind", "place"),
    [
        (CHAT, {"model": "m"}, "missing", ("messages",)),
        (CHAT, {"model": "m", "messages": [], "n": True}, "type", ("n",)),
        (CHAT, {"model": "m", "messages": [], "stream": 1}, "value", ("stream",)),
        (CHAT, {"model": "m", "messages": [{"content": "x"}]}, "missing", ("messages", 0, "role")),
        (CHAT, {"model": "m", "messages": [], "logit_bias": {"1": "x"}}, "type", ("logit_bias", "1")),
        (RESPONSES, {"input": 5}, "type", ("input",)),
        (RESPONSES, {"input": [{"type": "x"}]}, "value", ("input", 0, "type")),
        (MESSAGES, {"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": [IMAGE]}]}, "value",
         ("messages", 0, "content", 0, "source", "media_type")),
        (google.Part, {"functionCall": {"nam": "f"}}, "unknown", ("functionCall", "nam")),
        (google.Part, {"inlineData": {"data": "?"}}, "type", ("inlineData", "data")),
        (google.GenerationConfig, {"thinkingConfig": {"thinkingLevel": "EXTREME"}}, "value",
         ("thinkingConfig", "thinkingLevel")),
    ],
)  # fmt: skip
def test_mismatch(hint: Any, value: Any, kind: str, place: tuple[Any, ...]) -> None:
    with pytest.raises(Mismatch) as caught:
        Shape().check(value, hint)
    assert (caught.value.kind, caught.value.place) == (kind, place)


@pytest.mark.parametrize(
    ("hint", "value"),
    [
        (CHAT, {"model": "m", "messages": [{"role": "assistant", "content": None}], "temperature": 1, "stop": None}),
        (RESPONSES, {"input": [{"role": "user", "content": [{"type": "input_text", "text": "x"}]}]}),
        (google.Content, {"role": "user", "parts": [{"inline_data": {"mimeType": "image/png", "data": "QQ=="}}]}),
        (google.GenerationConfig, {"thinkingConfig": {"thinkingLevel": "LOW"}, "top_p": 0.5}),
    ],
)
def test_match(hint: Any, value: Any) -> None:
    Shape().check(value, hint)


def test_options() -> None:
    shape = Shape(
        relaxed={"FunctionToolParam": frozenset({"strict"})},
        forbidden={"ResponseCreateParamsNonStreaming": frozenset({"user"})},
        extra={"ResponseCreateParamsNonStreaming": {"seed": int}},
    )
    shape.check({"seed": 1, "tools": [{"type": "function", "name": "f", "parameters": None}]}, RESPONSES)
    with pytest.raises(Mismatch):
        shape.check({"user": "x"}, RESPONSES)


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "object", "properties": {"a": {"type": "integer"}, "b": {"enum": ["x"]}}}, {"a": 1, "b": "x"}),
        ({"type": "OBJECT", "properties": {"a": {"type": "ARRAY", "items": {"type": "NUMBER"}}}}, {"a": [0.5]}),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"anyOf": [{"type": "null"}, {"type": "boolean"}]}}}, True),
        ({"type": ["null", "string"]}, "value"),
        ({"type": "object"}, {}),
    ],
)
def test_samples(schema: Any, value: Any) -> None:
    assert sample(schema) == value
