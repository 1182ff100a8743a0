"""What one answer consumed, in the one inclusive form that prices are applied to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, TypeAlias

from oneapi_mw.immutable import immutable

UsageSource: TypeAlias = Literal["upstream", "counted", "estimated", "mixed"]

MeterKind: TypeAlias = Literal[
    "images",
    "characters",
    "audio_input_ms",
    "audio_output_ms",
    "video_ms",
    "pages",
    "searches",
    "requests",
    "input_images",
    "video_frames",
    "document_pages",
]
"""What is counted beside tokens. `characters` are Unicode code points; the last three are inputs of embeddings."""


@immutable
class Meter:
    """One reading: how many pieces, or milliseconds where the kind says so."""

    kind: MeterKind
    count: int
    size: str = ""
    """Of images `1024x1024`, of videos the resolution; empty where the answer does not tell."""
    quality: str = ""


@immutable
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
    input_video: int = 0
    input_document: int = 0
    output_video: int = 0
    cache_read_audio: int | None = None
    """Part of `cache_read` and of `input_audio`; `None` when the upstream does not split: pro rata then."""
    cache_read_image: int | None = None
    meters: tuple[Meter, ...] = ()
    """What is not counted in tokens."""
    variant: str = ""
    """The service the upstream says it gave, where that has a price of its own: `priority`, `flex`, `batch`, `fast`.
    Empty: the usual one, or it does not tell."""

    @property
    def total_tokens(self) -> int:
        return self.input_tokens + self.output_tokens


NOTHING = Usage()
"""What an answer consumed whose upstream says so."""


@immutable
class ToolUsage:
    """What hosted tools did for one answer, as its upstream tells it or as the answer shows."""

    hosted: tuple[tuple[str, int], ...] = ()
    """As `Usage.hosted`."""
    meters: tuple[Meter, ...] = ()
    """Pieces that have a size: images."""


NO_TOOLS = ToolUsage()


def with_tools(usage: Usage, tools: ToolUsage) -> Usage:
    """`usage` with the calls of an answer: these say more than its report does, which may not count all of them."""
    if not tools.hosted and not tools.meters:
        return usage
    known = {kind for kind, _ in tools.hosted}
    hosted = (*tools.hosted, *(call for call in usage.hosted if call[0] not in known))
    return replace(usage, hosted=hosted, meters=tools.meters or usage.meters)


def total_usage(usages: Sequence[Usage]) -> Usage:
    """What several answers, at least one, consumed together."""
    if len(usages) == 1:
        return usages[0]
    hosted: dict[str, int] = {}
    for kind, count in (call for usage in usages for call in usage.hosted):
        hosted[kind] = hosted.get(kind, 0) + count
    sources, variants = {usage.source for usage in usages}, {usage.variant for usage in usages}
    counts: dict[str, Any] = {name: _summed([getattr(usage, name) for usage in usages]) for name in _COUNTS}
    return Usage(
        **counts,
        hosted=tuple(hosted.items()),
        meters=tuple(meter for usage in usages for meter in usage.meters),
        source=sources.pop() if len(sources) == 1 else "mixed",
        variant=variants.pop() if len(variants) == 1 else "",
    )


_COUNTS = [field.name for field in fields(Usage) if field.name not in ("hosted", "meters", "source", "variant")]


def _summed(counts: Sequence[int | None]) -> int | None:
    """`None` when no answer tells."""
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def service_variant(tier: object) -> str:
    """`Usage.variant` for an upstream's name of the service it gave: empty for the usual one and what is no name."""
    if not isinstance(tier, str):
        return ""
    name = tier.lower()
    return "" if name in _USUAL_SERVICE else name


_USUAL_SERVICE = frozenset({"", "auto", "default", "standard", "standard_only"})


@dataclass(slots=True)
class Produced:
    """What was relayed so far, counted cheaply, for answers whose upstream never reports usage.

    `text_bytes` are UTF-8 bytes of generated text, reasoning and tool arguments.
    """

    text_bytes: int = 0
    events: int = 0
    text: str | None = None
    """The text itself, or its beginning, of a complete answer whose upstream told nothing of it."""
    unreported: bool = False
    """Some of it came after the last report of usage, which therefore does not cover it."""
    tools: ToolUsage = NO_TOOLS
    """What hosted tools did by now."""
