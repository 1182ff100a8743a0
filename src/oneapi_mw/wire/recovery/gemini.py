"""Repairs of generateContent bodies. Members have two spellings."""

from __future__ import annotations

from oneapi_mw.types import JsonObject
from oneapi_mw.wire.gemini.call import with_signed_call
from oneapi_mw.wire.gemini.content import takes_placeholder
from oneapi_mw.wire.recovery.edits import each, lost_text, without
from oneapi_mw.wire.target import Target

_SIGNATURES = ("thoughtSignature", "thought_signature")


def with_signed_calls(body: JsonObject, target: Target) -> JsonObject:
    """The documented stand-in on the first call of every step that has no signature. Claude, which some hosts serve
    in this format, takes it for a forgery."""
    if target.rules.family == "claude":
        return body
    return each(body, "contents", lambda content: with_signed_call(content) if _is_models(content) else content)


def without_signatures(body: JsonObject, target: Target) -> JsonObject:
    """Neither signatures nor the thoughts they are about; stand-ins where the model demands one."""
    edited = each(body, "contents", lambda content: _unsigned(content, target) if _is_models(content) else content)
    if edited is body or not takes_placeholder(target.rules):
        return edited
    return with_signed_calls(edited, target)


def _is_models(content: JsonObject) -> bool:
    return content.get("role") == "model" and isinstance(content.get("parts"), list)


def _unsigned(content: JsonObject, target: Target) -> JsonObject | None:
    edited = each(content, "parts", lambda part: _unsigned_part(part, target))
    return edited if edited is content or edited["parts"] else None


def _unsigned_part(part: JsonObject, target: Target) -> JsonObject | None:
    if part.get("thought") is True:
        text = lost_text(part.get("text"), target)
        return None if text is None else {"text": text}
    edited = without(part, *_SIGNATURES)
    return None if edited is not part and edited in ({}, {"text": ""}) else edited
