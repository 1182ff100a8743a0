"""What one answer consumed, in the one inclusive form that prices are applied to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, TypeAlias

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


def total_usage(usages: Sequence[Usage]) -> Usage:
    """What several answers, at least one, consumed together."""
    if len(usages) == 1:
        return usages[0]
    return Usage(**{field.name: _summed([getattr(usage, field.name) for usage in usages]) for field in fields(Usage)})


def _summed(values: Sequence[Any]) -> Any:
    """One member of all. Counts by kind are added kind by kind; of other words one stands for all or for none."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    if isinstance(known[0], tuple):
        kinds: dict[str, int] = {}
        for kind, count in (pair for value in known for pair in value):
            kinds[kind] = kinds.get(kind, 0) + count
        return tuple(kinds.items())
    if isinstance(known[0], str):
        return known[0] if len(set(known)) == 1 else "mixed"
    return sum(known)


@dataclass(slots=True)
class Produced:
    """What was relayed so far, counted cheaply, for answers whose upstream never reports usage.

    `text_bytes` are UTF-8 bytes of generated text, reasoning and tool arguments.
    """

    text_bytes: int = 0
    events: int = 0
