"""Why an answer ended, in this format's words and in ours."""

from __future__ import annotations

from collections.abc import Mapping

from oneapi_mw.canonical.events import Finished, FinishReason

_FILTERED = (
    "SAFETY",
    "RECITATION",
    "LANGUAGE",
    "BLOCKLIST",
    "PROHIBITED_CONTENT",
    "SPII",
    "OTHER",
    "ESCALATION",
    "PUP_LIMITED_DISABLED",
    "MODEL_ARMOR",
    "IMAGE_SAFETY",
    "IMAGE_PROHIBITED_CONTENT",
    "IMAGE_RECITATION",
    "IMAGE_OTHER",
    "NO_IMAGE",
)
_MALFORMED = ("MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS", "MALFORMED_RESPONSE")
_DECODED: Mapping[str, FinishReason] = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    **dict.fromkeys(_FILTERED, "content_filter"),
    **dict.fromkeys(_MALFORMED, "malformed_call"),
    "MISSING_THOUGHT_SIGNATURE": "error",
    "CONTINUATION": "continuation",
}
_ENCODED: Mapping[FinishReason, str] = {
    "stop": "STOP",
    "stop_sequence": "STOP",
    "tool_calls": "STOP",
    "length": "MAX_TOKENS",
    "context_window": "MAX_TOKENS",
    "pause": "MAX_TOKENS",
    "compaction": "MAX_TOKENS",
    "continuation": "MAX_TOKENS",
    "refusal": "SAFETY",
    "content_filter": "SAFETY",
    "malformed_call": "MALFORMED_FUNCTION_CALL",
    "unknown": "OTHER",
    "error": "OTHER",
    "cancelled": "OTHER",
}
_KEPT = frozenset({*_FILTERED, *_MALFORMED})
"""Words of the vendor that say more than ours."""
FAILED = "MISSING_THOUGHT_SIGNATURE"


def decode_finish(word: object) -> tuple[FinishReason, str | None] | None:
    """The reason, and the vendor's word where the reason loses it; `None` while an answer goes on."""
    if not isinstance(word, str) or not word:
        return None
    reason = _DECODED.get(word, "unknown")
    return reason, None if _ENCODED[reason] == word else word


def with_calls(finished: Finished, *, any_call: bool) -> Finished:
    """The ending in the light of the calls that came: this format says `STOP` after a call.

    A limit or a filter wins over calls. Calls come whole, so that none was cut.
    """
    if any_call and finished.reason in ("stop", "unknown"):
        return Finished(
            finished.candidate,
            "tool_calls",
            detail=finished.detail,
            explanation=finished.explanation,
            safety=finished.safety,
            grounding=finished.grounding,
            extras=finished.extras,
        )
    return finished


def encode_finish(reason: FinishReason, detail: str | None = None, *, refused: bool = False) -> str:
    """`finishReason`. `refused`: the answer holds a refusal in words, which is an answer like any other."""
    if reason == "refusal" and refused:
        return "STOP"
    if detail in _KEPT and _DECODED[detail] == reason:
        return detail
    return _ENCODED[reason]
