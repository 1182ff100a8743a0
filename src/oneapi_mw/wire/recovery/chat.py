"""Repairs of Chat Completions bodies, whose hosts have reasoning as text or not at all."""

from __future__ import annotations

from oneapi_mw.types import JsonObject
from oneapi_mw.wire.recovery.edits import each, lost_text, without
from oneapi_mw.wire.target import Target

_REASONING = "reasoning_content"
_TEXTS = (_REASONING, "reasoning", "reasoning_text", "thinking")
"""Where clients keep the text of reasoning, the host's own name first."""
_MEMBERS = (*_TEXTS, "reasoning_details", "thinking_blocks", "signature")
_LEAST = " "
"""What a host accepts that wants text and looks at none of it (DeepSeek, Kimi)."""


def with_reasoning(body: JsonObject, target: Target) -> JsonObject:
    """Text of reasoning on every message that called tools; on all of the assistant's where those have theirs."""
    edited = each(body, "messages", lambda message: _filled(message) if message.get("tool_calls") else message)
    return each(body, "messages", _filled) if edited is body else edited


def _filled(message: JsonObject) -> JsonObject:
    if message.get("role") != "assistant" or message.get(_REASONING):
        return message
    return {**message, _REASONING: _text(message) or _LEAST}


def without_reasoning(body: JsonObject, target: Target) -> JsonObject:
    """Nothing of the sort: the host refuses to be sent it."""
    return each(body, "messages", lambda message: _stripped(message, target))


def _stripped(message: JsonObject, target: Target) -> JsonObject:
    edited = without(message, *_MEMBERS) if message.get("role") == "assistant" else message
    text = lost_text(_text(message), target) if edited is not message else None
    content = edited.get("content") or ""
    return edited if text is None or not isinstance(content, str) else {**edited, "content": text + content}


def _text(message: JsonObject) -> str:
    texts = (message.get(name) for name in _TEXTS)
    return next((text for text in texts if isinstance(text, str) and text), "")
