"""Repairs of Responses bodies.

Items of one answer name each other by their ids: where a reasoning item goes or loses its id, those of the items
beside it mean nothing any more and are refused.
"""

from __future__ import annotations

from oneapi_mw.types import JsonObject
from oneapi_mw.wire.recovery.edits import each, lost_text, without
from oneapi_mw.wire.target import Target

_NAMED = ("function_call", "custom_tool_call")
"""Items of the model, beside its messages, that are taken without an id."""


def without_reasoning(body: JsonObject, target: Target) -> JsonObject:
    """No reasoning items, and no ids that lead to them."""
    return each(body, "input", lambda item: _forgotten(item, target))


def without_ids(body: JsonObject, target: Target) -> JsonObject:
    """Reasoning that is in the items themselves, and none that only the vendor's memory has."""

    def edit(item: JsonObject) -> JsonObject | None:
        if item.get("type") == "reasoning" and item.get("encrypted_content"):
            return without(item, "id")
        return _forgotten(item, target)

    return each(body, "input", edit)


def _forgotten(item: JsonObject, target: Target) -> JsonObject | None:
    kind = item.get("type")
    if kind == "reasoning":
        text = lost_text(_text(item), target)
        return None if text is None else {"type": "message", "role": "assistant", "content": text}
    if kind in (None, "item_reference") and "role" not in item and str(item.get("id")).startswith("rs_"):
        return None
    if kind in (None, "message") and item.get("role") == "assistant":
        return _said(item)
    return without(item, "id") if kind in _NAMED else item


def _said(message: JsonObject) -> JsonObject:
    """A message of the model as one that has no id: its text alone, where it is nothing but text."""
    if "id" not in message:
        return message
    content = message.get("content")
    parts = content if isinstance(content, list) else []
    said = [part for part in parts if isinstance(part, dict) and part.get("type") == "output_text"]
    texts = [part["text"] for part in said if isinstance(part.get("text"), str)]
    if not parts or len(texts) < len(parts):
        return without(message, "id")
    phase = {"phase": message["phase"]} if message.get("phase") else {}
    return {"type": "message", "role": "assistant", "content": "".join(texts), **phase}


def _text(item: JsonObject) -> str:
    """All that can be read of a reasoning item, the parts a blank line apart."""
    parts = [part for name in ("summary", "content") for part in item.get(name) or () if isinstance(part, dict)]
    return "\n\n".join(part["text"] for part in parts if isinstance(part.get("text"), str) and part["text"])
