"""What upstreams say when reasoning of earlier turns is not what they want, and what helps.

One row a wording, the first that fits counts. Seen in the wild as of 2026-11; the sources are issues of public
projects, since vendors document few of these.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal, TypeAlias, get_args

Remedy: TypeAlias = Literal[
    "stop_thinking",
    "forget_thinking",
    "forget_last_thinking",
    "drop_mismatched",
    "sign_calls",
    "forget_signatures",
    "forget_items",
    "forget_ids",
    "fill_reasoning",
    "strip_reasoning",
]
REMEDIES: tuple[Remedy, ...] = get_args(Remedy)
MAX_CHARS = 16 * 1024
"""Of an error body that are looked at."""

_MEMBER = r"(?:reasoning_content|reasoning_details|thinking_blocks)"
_FORBIDDEN = r"(?:unknown|unrecogni[sz]ed|unsupported|not (?:supported|allowed|permitted)|extra_forbidden|forbidden)"


def _rows(*rows: tuple[str, Remedy]) -> tuple[tuple[re.Pattern[str], Remedy], ...]:
    return tuple((re.compile(pattern, re.IGNORECASE | re.DOTALL), remedy) for pattern, remedy in rows)


_ROWS: Mapping[str, tuple[tuple[re.Pattern[str], Remedy], ...]] = {
    "anthropic_messages": _rows(
        # anomalyco/opencode#3077, mastra-ai/mastra#7799, Kilo-Org/kilocode#5219
        (r"expected .?thinking.? or .?redacted_thinking.?, but found", "stop_thinking"),
        # Claude 5.1 and 5.5, whose thinking belongs to everything before it
        (r"(?:signature|data).{0,4} in .?(?:redacted_)?thinking.{0,40}bound to a different conversation",
         "drop_mismatched"),
        # ding113/claude-code-hub#518, kaitranntt/ccs#415, decolua/9router#2227
        (r"invalid .?(?:signature|data).{0,4} in .?(?:redacted_)?thinking", "forget_thinking"),
        (r"thinking.{0,120}blocks.{0,60}cannot be modified", "forget_thinking"),
        (r"thinking\.signature.{0,4}field required|\.signature: field required", "forget_thinking"),
        (r"thinking block must contain thinking", "forget_thinking"),
        # tailcallhq/forgecode#1853
        (r"thinking is disabled, an .?assistant.? message in the final position cannot contain",
         "forget_last_thinking"),
    ),
    "gemini": _rows(
        # langgenius/dify#29187, openclaw/openclaw#72127; the last is our own word for an answer that ends so
        (r"missing an? .?thought_?.?signature|thought signature is missing", "sign_calls"),
        (r"(?:invalid|corrupted) thought.?signature|thought.?signature is (?:not valid|invalid)", "forget_signatures"),
    ),
    "openai_responses": _rows(
        # openai/codex#8145, openai/codex#8126
        (r"invalid_encrypted_content|encrypted content.{0,80}could not be (?:verified|decrypted)", "forget_items"),
        (r"without its required .?(?:reasoning|following).? item", "forget_items"),
        (r"item with id .{1,80}? not found", "forget_ids"),
    ),
    "openai_chat": _rows(
        # earendil-works/pi#3636; DeepSeek and Kimi
        (r"reasoning_content.{0,60}must be passed back", "fill_reasoning"),
        (r"missing .?reasoning_content|reasoning_content.{0,4} is (?:missing|required)", "fill_reasoning"),
        # DeepSeek R1, Mistral, Groq, and OpenAI itself
        (rf"{_MEMBER}.{{0,200}}{_FORBIDDEN}|{_FORBIDDEN}.{{0,200}}{_MEMBER}", "strip_reasoning"),
    ),
}  # fmt: skip


def recognised(wire: str, text: str) -> Remedy | None:
    """What helps an upstream that speaks `wire` and refused with `text` (its message, or all of its body)."""
    text = text[:MAX_CHARS]
    return next((remedy for pattern, remedy in _ROWS.get(wire, ()) if pattern.search(text)), None)
