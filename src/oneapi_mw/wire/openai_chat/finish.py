"""Why an answer ended, in this format's words and in ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from oneapi_mw.canonical.events import Finished, FinishReason

_DECODED: Mapping[str, FinishReason] = {
    "stop": "stop",
    "eos": "stop",
    "eos_token": "stop",
    "normal": "stop",
    "end_turn": "stop",
    "COMPLETE": "stop",
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "tool_use": "tool_calls",
    "content_filter": "content_filter",
    "sensitive": "content_filter",
    "content_filtered": "content_filter",
    "guardrail_intervened": "content_filter",
    "insufficient_system_resource": "error",
    "error": "error",
    "network_error": "error",
    "abort": "error",
}
_ENCODED: Mapping[FinishReason, str] = {
    "stop": "stop",
    "stop_sequence": "stop",
    "tool_calls": "tool_calls",
    "length": "length",
    "context_window": "length",
    "pause": "length",
    "compaction": "length",
    "continuation": "length",
    "refusal": "content_filter",
    "content_filter": "content_filter",
    "malformed_call": "stop",
    "unknown": "stop",
    "error": "stop",
    "cancelled": "stop",
}
_VAGUE = ("stop", "unknown")


def decode_finish(choice: Mapping[str, Any], index: int) -> Finished | None:
    """How a choice says it ended; `None` while it has not."""
    word = choice.get("finish_reason")
    if not isinstance(word, str) or word in ("", "null"):
        return None
    reason = _DECODED.get(word, "unknown")
    stopped_by = choice.get("stop_reason", choice.get("matched_stop"))  # vLLM, SGLang
    if reason == "stop" and isinstance(stopped_by, str) and stopped_by:
        return Finished(index, "stop_sequence", stopped_by)
    return Finished(index, reason, detail=word if _ENCODED[reason] != word else None)


def prefer(known: Finished | None, new: Finished) -> Finished:
    """Of two endings of one candidate, the first that says something definite."""
    if known is None or (known.reason in _VAGUE and new.reason not in _VAGUE):
        return new
    return known


def with_calls(finished: Finished, *, complete: bool, any_call: bool) -> Finished:
    """The ending in the light of the calls that came.

    Some servers say `stop` after a call; clients would not run it. A call that was cut by the limit must not run,
    so a definite reason stays. `tool_calls` without a call would leave the client waiting.
    """
    if complete and finished.reason in ("stop", "stop_sequence", "unknown"):
        return Finished(finished.candidate, "tool_calls", detail=finished.detail)
    if finished.reason == "tool_calls" and not any_call:
        return Finished(finished.candidate, "stop", detail=finished.detail)
    return finished


def encode_finish(reason: FinishReason, *, refused: bool = False) -> str:
    """`finish_reason`. `refused`: the answer holds a refusal in words, which is an answer like any other."""
    return "stop" if reason == "refusal" and refused else _ENCODED[reason]
