"""What the tests of every codec ask: turns, and the odds and ends that stand in them."""

from __future__ import annotations

from typing import Any

import orjson

from oneapi_mw.canonical.blocks import Block, Text
from oneapi_mw.canonical.request import Request, Turn
from oneapi_mw.types import JsonObject
from oneapi_mw.wire.openai_chat import FORMAT as CHAT

PNG = "iVBORw0KGgo="
"""The beginning of a picture, which is enough to know its kind."""
WEATHER: JsonObject = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


def user(*blocks: Block, **more: Any) -> Turn:
    return Turn("user", blocks, **more)


def assistant(*blocks: Block, **more: Any) -> Turn:
    return Turn("assistant", blocks, **more)


HI = user(Text("Hi"))


def asked(*turns: Turn, format: str = "anthropic_messages", **members: Any) -> Request:
    """A request of a client of `format`; greets where nothing else is said."""
    return Request(format, "m", turns or (HI,), **members)


def from_chat(body: JsonObject) -> Request:
    """A request as a client of Chat Completions wrote it, but for the model."""
    return CHAT.decode_request(CHAT.decode_call(orjson.dumps({"model": "m", **body}), operation="chat"))
