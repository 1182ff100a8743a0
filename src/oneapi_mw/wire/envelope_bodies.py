"""Envelopes in a body that goes to an upstream of its own format: parts of another vendor, made while another channel
served the conversation. No upstream can read them, and some refuse the whole request for one."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from typing import Any

from oneapi_mw.types import JsonObject
from oneapi_mw.wire.envelope_text import is_envelope

__all__ = ["may_hold_envelopes", "without_envelopes"]

_IN_BASE64 = "b2Ex"
"""How a prefix of `oa1` begins where the field is bytes."""


def may_hold_envelopes(raw: bytes) -> bool:
    """Whether a look into the body is worth it. Costs one search."""
    return b'"oa1.' in raw or b'"b2Ex' in raw


def without_envelopes(format: str, body: JsonObject) -> JsonObject:
    """`body` without envelopes, and without the reasoning text they belonged to; the same object when it has none."""
    if format not in _EDITS:  # no history, hence nobody's parts
        return body
    name, edit = _EDITS[format]
    entries = body.get(name)
    if not isinstance(entries, list):
        return body
    edited = _edited_list(entries, edit)
    return body if edited is entries else {**body, name: edited}


def _edited_list(entries: list[Any], edit: Callable[[JsonObject], JsonObject | None]) -> list[Any]:
    """`entries` with `edit` applied to the objects among them; those it returns `None` for are left out."""
    edited = [edit(entry) if isinstance(entry, dict) else entry for entry in entries]
    if all(new is old for new, old in zip(edited, entries, strict=True)):
        return entries
    return [new for new, old in zip(edited, entries, strict=True) if new is not None or old is None]


def _inside(value: JsonObject, name: str, edit: Callable[[JsonObject], JsonObject | None]) -> JsonObject:
    """`value` with `edit` applied to the objects in the list `name`."""
    entries = value.get(name)
    if not isinstance(entries, list):
        return value
    edited = _edited_list(entries, edit)
    return value if edited is entries else {**value, name: edited}


def _sealed(value: object) -> bool:
    return isinstance(value, str) and is_envelope(value)


# Chat Completions


def _chat_message(message: JsonObject) -> JsonObject:
    edited = _inside(message, "reasoning_details", _chat_detail)
    edited = _inside(edited, "tool_calls", _chat_call)
    if edited.get("reasoning_details") == []:
        edited = {name: value for name, value in edited.items() if name != "reasoning_details"}
    if _sealed(edited.get("signature")):
        edited = {name: value for name, value in edited.items() if name != "signature"}
    return edited


def _chat_detail(entry: JsonObject) -> JsonObject | None:
    return None if _sealed(entry.get("signature")) or _sealed(entry.get("data")) else entry


def _chat_call(call: JsonObject) -> JsonObject:
    extra = call.get("extra_content")
    google = extra.get("google") if isinstance(extra, dict) else None
    if not isinstance(google, dict) or not _sealed(google.get("thought_signature")):
        return call
    return {name: value for name, value in call.items() if name != "extra_content"}


# Messages


def _messages_message(message: JsonObject) -> JsonObject | None:
    """A message that held nothing else goes, too: an empty one is refused."""
    edited = _inside(message, "content", _messages_block)
    return None if edited is not message and not edited["content"] else edited


def _messages_block(block: JsonObject) -> JsonObject | None:
    kind = block.get("type")
    if kind == "thinking" and _sealed(block.get("signature")):
        return None
    return None if kind == "redacted_thinking" and _sealed(block.get("data")) else block


# Responses


def _responses_item(item: JsonObject) -> JsonObject | None:
    return None if item.get("type") == "reasoning" and _sealed(item.get("encrypted_content")) else item


# Gemini


def _gemini_content(content: JsonObject) -> JsonObject | None:
    edited = _inside(content, "parts", _gemini_part)
    return None if edited is not content and not edited["parts"] else edited


def _gemini_part(part: JsonObject) -> JsonObject | None:
    name = next((name for name in ("thoughtSignature", "thought_signature") if _sealed_bytes(part.get(name))), None)
    if name is None:
        return part
    rest = {key: value for key, value in part.items() if key != name}
    return None if rest.get("thought") is True or rest in ({}, {"text": ""}) else rest


def _sealed_bytes(value: object) -> bool:
    if not isinstance(value, str) or not value.startswith(_IN_BASE64):
        return False
    try:
        return is_envelope(base64.b64decode(value + "=" * (-len(value) % 4), altchars=b"-_").decode("ascii"))
    except (binascii.Error, ValueError):
        return False


_EDITS: Mapping[str, tuple[str, Callable[[JsonObject], JsonObject | None]]] = {
    "openai_chat": ("messages", _chat_message),
    "anthropic_messages": ("messages", _messages_message),
    "openai_responses": ("input", _responses_item),
    "gemini": ("contents", _gemini_content),
}
