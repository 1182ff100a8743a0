"""A price card: what one model costs, in the units people quote prices in.

Each figure is absent (`None`: inherit), zero (free) or positive. Two spellings are read: our own with
the unit in the name (`input_usd_per_mtok`), and the ratios of One API's `model_configs`. A ratio is quota
units per token, which is half the price in US dollars per million tokens.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Any

from oneapi_mw.pricing.price import SCALE, CompiledPrice
from oneapi_mw.types import QUOTA_PER_USD

LOWEST_USD_PER_MTOK, HIGHEST_USD_PER_MTOK = Decimal("0.001"), Decimal(10_000)
"""A positive price outside of this range is taken for a mistake in units."""
MAX_EXPONENT = 30
"""Of ten, either way: further out `Decimal` itself overflows."""


@dataclass(frozen=True, slots=True)
class PriceCard:
    """US dollars per million tokens."""

    input_usd_per_mtok: Decimal | None = None
    output_usd_per_mtok: Decimal | None = None
    cache_read_usd_per_mtok: Decimal | None = None
    cache_write_5m_usd_per_mtok: Decimal | None = None
    cache_write_1h_usd_per_mtok: Decimal | None = None
    max_output_tokens: int = 0
    """Most tokens one answer can have; 0 when unknown."""
    source: str = ""
    """Page or file the figures are from."""
    date: str = ""
    """When they were read there, `YYYY-MM-DD`."""


_OWN_KEYS = (
    "input_usd_per_mtok",
    "output_usd_per_mtok",
    "cache_read_usd_per_mtok",
    "cache_write_5m_usd_per_mtok",
    "cache_write_1h_usd_per_mtok",
)


def _number(config: Mapping[str, Any], key: str) -> Decimal | None:
    value = config.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float, str, Decimal)):
        raise ValueError(f"{key!r} must be a number, not {value!r}")
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        raise ValueError(f"{key!r} must be a number, not {value!r}") from None
    if not number.is_finite():
        raise ValueError(f"{key!r} must be finite, not {value!r}")
    if number and abs(number.adjusted()) > MAX_EXPONENT:
        raise ValueError(f"{key!r} is out of all proportion: {value!r}")
    return number


def decode_card(config: Mapping[str, Any]) -> PriceCard:
    """The card in one entry of a channel's `model_configs`.

    Ratios are quota units per token. In ratios, 0 and absent both mean "inherit" and a negative cache ratio
    means free, as One API has it; in the unit-named keys 0 means free.
    Raises: `ValueError` naming the key, what is wrong and what would be right.
    """
    if any(config.get(key) is not None for key in _OWN_KEYS):
        prices = {key: _number(config, key) for key in _OWN_KEYS}
    else:
        prices = _from_ratios(config)
    for key, price in prices.items():
        if price is None or price == 0:
            continue
        if not LOWEST_USD_PER_MTOK <= price <= HIGHEST_USD_PER_MTOK:
            raise ValueError(
                f"{key} would be {price} US dollars per million tokens; write a price between "
                f"{LOWEST_USD_PER_MTOK} and {HIGHEST_USD_PER_MTOK} (a ratio is the dollar price x 0.5)"
            )
    return PriceCard(
        prices.get("input_usd_per_mtok"),
        prices.get("output_usd_per_mtok"),
        prices.get("cache_read_usd_per_mtok"),
        prices.get("cache_write_5m_usd_per_mtok"),
        prices.get("cache_write_1h_usd_per_mtok"),
        max_output_tokens=_max_output(config.get("max_tokens")),
        source="channel",
    )


def _max_output(value: object) -> int:
    """Tokens; 0, which is unknown, for anything but a positive integer."""
    return value if type(value) is int and value > 0 else 0


def _from_ratios(config: Mapping[str, Any]) -> dict[str, Decimal | None]:
    ratio = _number(config, "ratio") or None
    if ratio is None:
        return {}
    if ratio < 0:
        raise ValueError(f"'ratio' must not be negative, got {ratio}")
    completion = _number(config, "completion_ratio") or Decimal(1)
    if completion < 0:
        raise ValueError(f"'completion_ratio' must not be negative, got {completion}")
    prices: dict[str, Decimal | None] = {
        "input_usd_per_mtok": ratio * 2,
        "output_usd_per_mtok": ratio * completion * 2,
    }
    for theirs, ours in (
        ("cached_input_ratio", "cache_read_usd_per_mtok"),
        ("cache_write_5m_ratio", "cache_write_5m_usd_per_mtok"),
        ("cache_write_1h_ratio", "cache_write_1h_usd_per_mtok"),
    ):
        value = _number(config, theirs)
        if value:
            prices[ours] = max(value * 2, Decimal(0))
    return prices


def compile_card(card: PriceCard, *, layer: str) -> CompiledPrice:
    """`card` as integers. An absent output price is the input price, an absent cache price likewise.

    Raises: `ValueError` when the card has no input price.
    """
    if card.input_usd_per_mtok is None:
        raise ValueError("a price card needs an input price")

    def compiled(price: Decimal | None) -> int:
        chosen = card.input_usd_per_mtok if price is None else price
        assert chosen is not None
        return int(Fraction(chosen) * QUOTA_PER_USD * SCALE / 1_000_000)  # whatever the host's decimal context is

    figures = (
        compiled(card.input_usd_per_mtok),
        compiled(card.output_usd_per_mtok),
        compiled(card.cache_read_usd_per_mtok),
        compiled(card.cache_write_5m_usd_per_mtok),
        compiled(card.cache_write_1h_usd_per_mtok),
    )
    digest = hashlib.sha256(repr((figures, card.max_output_tokens)).encode()).hexdigest()[:16]
    return CompiledPrice(digest, layer, *figures, max_output=card.max_output_tokens)
