"""Prices compiled to integers."""

from __future__ import annotations

from dataclasses import dataclass

SCALE = 10**12
"""Compiled prices are quota units x SCALE per token, so USD prices per million tokens with up to eleven
decimals, and ratios with up to twelve, are exact."""

RATIO_SCALE = 10**6
"""Group ratios are millionths."""


@dataclass(frozen=True, slots=True)
class CompiledPrice:
    """Price of one model at one instant. Each figure is quota units x `SCALE` per token."""

    card_id: str
    """Hash of the card it was compiled from: a bill can be recomputed from it."""
    layer: str
    """Which layer knew the model: `channel`, `builtin`, `free` or `default`."""
    input: int
    output: int
    cache_read: int
    cache_write_5m: int
    cache_write_1h: int
    max_output: int = 0
    """Most tokens the model generates in one answer; 0 when unknown."""

    @property
    def is_free(self) -> bool:
        return not (self.input or self.output or self.cache_read or self.cache_write_5m or self.cache_write_1h)
