"""What one answer consumed, in the one inclusive form that prices are applied to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

UsageSource: TypeAlias = Literal["upstream", "counted", "estimated", "mixed"]


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts of one answer.

    `input_tokens` holds everything the model read, `output_tokens` everything it generated, reasoning
    included. The other counts are parts of these two and never added on top.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read: int = 0
    cache_write_5m: int = 0
    """Writes at the short term's price: 5 minutes at Anthropic, 30 at OpenAI."""
    cache_write_1h: int = 0
    """Writes at the long term's price: one hour at Anthropic, twelve at OpenAI."""
    input_audio: int = 0
    input_image: int = 0
    reasoning: int | None = None
    """Part of `output_tokens`; `None` when the upstream does not tell."""
    output_audio: int = 0
    output_image: int = 0
    tool_prompt: int = 0
    """Part of `input_tokens`: what hosted tools put into the prompt (Gemini)."""
    hosted: tuple[tuple[str, int], ...] = ()
    """Calls of hosted tools by kind (`web_search`, ...): they have prices of their own."""
    source: UsageSource = "upstream"

    @property
    def total_tokens(self) -> int:
        return self.input_tokens + self.output_tokens


@dataclass(slots=True)
class Produced:
    """What was relayed so far, counted cheaply, for answers whose upstream never reports usage.

    `text_bytes` are UTF-8 bytes of generated text, reasoning and tool arguments.
    """

    text_bytes: int = 0
    events: int = 0
