"""Prices known without an operator's help. Dated rows: a new price is a new row, an old row is never edited."""

from __future__ import annotations

from decimal import Decimal

from oneapi_mw.pricing.card import PriceCard

_OPENAI = "https://platform.openai.com/docs/pricing"
_ANTHROPIC = "https://docs.anthropic.com/en/docs/about-claude/pricing"
_DEEPSEEK = "https://api-docs.deepseek.com/quick_start/pricing"


def _card(
    source: str,
    usd_in: str,
    usd_out: str,
    cached: str | None,
    max_output: int,
    *,
    write_5m: str | None = None,
    write_1h: str | None = None,
) -> PriceCard:
    return PriceCard(
        Decimal(usd_in),
        Decimal(usd_out),
        Decimal(cached) if cached is not None else None,
        Decimal(write_5m) if write_5m is not None else None,
        Decimal(write_1h) if write_1h is not None else None,
        max_output_tokens=max_output,
        source=source,
        date="2026-11-01",
    )


# US dollars per million tokens: input, output, cached input; then the longest answer in tokens
BUILTIN: dict[str, PriceCard] = {
    "gpt-4o": _card(_OPENAI, "2.50", "10", "1.25", 16_384),
    "gpt-4o-mini": _card(_OPENAI, "0.15", "0.60", "0.075", 16_384),
    "gpt-4.1": _card(_OPENAI, "2", "8", "0.50", 32_768),
    "gpt-4.1-mini": _card(_OPENAI, "0.40", "1.60", "0.10", 32_768),
    "gpt-4.1-nano": _card(_OPENAI, "0.10", "0.40", "0.025", 32_768),
    "gpt-5": _card(_OPENAI, "1.25", "10", "0.125", 128_000),
    "gpt-5-mini": _card(_OPENAI, "0.25", "2", "0.025", 128_000),
    "gpt-5-nano": _card(_OPENAI, "0.05", "0.40", "0.005", 128_000),
    "claude-sonnet-4-5": _card(_ANTHROPIC, "3", "15", "0.30", 64_000, write_5m="3.75", write_1h="6"),
    "claude-haiku-4-5": _card(_ANTHROPIC, "1", "5", "0.10", 64_000, write_5m="1.25", write_1h="2"),
    "claude-opus-4-5": _card(_ANTHROPIC, "5", "25", "0.50", 64_000, write_5m="6.25", write_1h="10"),
    "deepseek-chat": _card(_DEEPSEEK, "0.28", "0.42", "0.028", 8_192),
    "deepseek-reasoner": _card(_DEEPSEEK, "0.28", "0.42", "0.028", 65_536),
}
