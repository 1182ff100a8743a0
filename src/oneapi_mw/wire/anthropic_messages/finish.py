"""Why an answer ended, in this format's words and in ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from oneapi_mw.canonical.events import Finished, FinishReason
from oneapi_mw.types import JsonObject

_DECODED: Mapping[str, FinishReason] = {
    "end_turn": "stop",
    "max_tokens": "length",
    "stop_sequence": "stop_sequence",
    "tool_use": "tool_calls",
    "pause_turn": "pause",
    "refusal": "refusal",
    "model_context_window_exceeded": "context_window",
    "compaction": "compaction",
}
_ENCODED: Mapping[FinishReason, str] = {
    "stop": "end_turn",
    "stop_sequence": "stop_sequence",
    "tool_calls": "tool_use",
    "length": "max_tokens",
    "context_window": "model_context_window_exceeded",
    "pause": "pause_turn",
    "compaction": "pause_turn",
    "continuation": "pause_turn",
    "refusal": "refusal",
    "content_filter": "refusal",
    "malformed_call": "end_turn",
    "unknown": "end_turn",
    "error": "end_turn",
    "cancelled": "end_turn",
}
_CATEGORIES = ("cyber", "bio", "frontier_llm", "reasoning_extraction", "general_harms")
"""Of a refusal. Official clients know no others."""


def decode_finish(delta: Mapping[str, Any]) -> Finished | None:
    """How a message, or the delta of one, says it ended; `None` while it has not."""
    word = delta.get("stop_reason")
    if not isinstance(word, str) or not word:
        return None
    reason = _DECODED.get(word, "unknown")
    if reason == "refusal":
        details = delta.get("stop_details")
        details = details if isinstance(details, dict) else {}
        return Finished(0, reason, detail=_text(details, "category"), explanation=_text(details, "explanation"))
    sequence = _text(delta, "stop_sequence") if reason == "stop_sequence" else None
    return Finished(0, reason, sequence, word if _ENCODED[reason] != word else None)


def _text(value: Mapping[str, Any], name: str) -> str | None:
    text = value.get(name)
    return text if isinstance(text, str) and text else None


def with_calls(finished: Finished, *, complete: bool, any_call: bool) -> Finished:
    """The ending in the light of the calls that came: a whole call is to be run, no call is not waited for."""
    if complete and finished.reason in ("stop", "stop_sequence", "unknown"):
        return Finished(0, "tool_calls", detail=finished.detail)
    if finished.reason == "tool_calls" and not any_call:
        return Finished(0, "stop", detail=finished.detail)
    return finished


def encode_finish(
    reason: FinishReason,
    stop_sequence: str | None = None,
    detail: str | None = None,
    explanation: str | None = None,
    *,
    spoken: bool = False,
    blocked: bool = False,
    compaction: bool = False,
) -> JsonObject:
    """`stop_reason` and what belongs to it.

    Args:
        spoken: the answer holds a refusal in words.
        blocked: the prompt itself was refused.
        compaction: the client knows `compaction`.
    """
    if reason == "stop_sequence" and stop_sequence is None:
        reason = "stop"  # which one it was is never guessed
    word = "compaction" if reason == "compaction" and compaction else _ENCODED[reason]
    body: JsonObject = {
        "stop_reason": word,
        "stop_sequence": stop_sequence if word == "stop_sequence" else None,
    }
    category = detail if detail in _CATEGORIES else None
    classified = blocked or explanation is not None or category is not None or (reason == "refusal" and not spoken)
    if word == "refusal" and classified:
        body["stop_details"] = {"type": "refusal", "category": category, "explanation": explanation}
    return body
