"""Figures on price cards: which there are, in which unit, and how they are read.

A figure is absent (inherit), zero (free) or positive. On a card it is text, so that a decimal stays what somebody
wrote whatever reads it.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Context, Decimal, InvalidOperation
from fractions import Fraction
from functools import lru_cache
from typing import Any

from oneapi_mw.pricing.price import SCALE
from oneapi_mw.types import QUOTA_PER_USD

PER_MTOK = "_usd_per_mtok"
TEXT_TOKENS = ("input", "output", "cache_read", "cache_write_5m", "cache_write_1h")
"""Kinds of tokens every card prices; what is absent costs what `input` does."""
PART_TOKENS = (
    "reasoning",
    "input_audio",
    "input_image",
    "input_video",
    "input_document",
    "cache_read_audio",
    "cache_read_image",
    "output_audio",
    "output_image",
    "output_video",
)
"""Kinds that cost what their side's text costs where a card does not tell them apart."""
TOKEN_KEYS = tuple(kind + PER_MTOK for kind in (*TEXT_TOKENS, *PART_TOKENS))

PIECES: Mapping[str, tuple[str, int]] = {
    "usd_per_mchar": ("characters", 1_000_000),
    "usd_per_kpage": ("pages", 1000),
    "usd_per_ksearch": ("searches", 1000),
    "usd_per_krequest": ("requests", 1000),
}
"""Keys of a card for what is counted in pieces: the meter, and how many pieces the price is for."""
AUDIO_PIECES: Mapping[str, tuple[str, int]] = {
    "input_usd_per_second": ("audio_input_ms", 1000),
    "output_usd_per_second": ("audio_output_ms", 1000),
}
EMBEDDING_PIECES: Mapping[str, tuple[str, int]] = {
    "usd_per_image": ("input_images", 1),
    "usd_per_audio_second": ("audio_input_ms", 1000),
    "usd_per_video_frame": ("video_frames", 1),
    "usd_per_document_page": ("document_pages", 1),
}

LOWEST_USD_PER_MTOK, HIGHEST_USD_PER_MTOK = Decimal("0.001"), Decimal(10_000)
"""A positive price of tokens outside of this range is taken for a mistake in units."""
HIGHEST_USD_PER_PIECE = Decimal(100_000)
MAX_EXPONENT = 30
"""Of ten, either way: further out `Decimal` itself overflows."""

_EXACT = Context(prec=60)


def read_number(config: Mapping[str, Any], key: str) -> Decimal | None:
    """The number under `key`; `None` when it is absent. Raises `ValueError` naming the key."""
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


def check_token_price(key: str, price: Decimal) -> None:
    """Raises `ValueError` for US dollars per million tokens that look like another unit."""
    if price and not LOWEST_USD_PER_MTOK <= price <= HIGHEST_USD_PER_MTOK:
        raise ValueError(
            f"{key} would be {text(price)} US dollars per million tokens; write a price between "
            f"{LOWEST_USD_PER_MTOK} and {HIGHEST_USD_PER_MTOK} (a ratio is the dollar price x 0.5)"
        )


def read_piece_price(config: Mapping[str, Any], key: str) -> Decimal | None:
    """US dollars for something that is not a token. Raises `ValueError` for what is no price."""
    price = read_number(config, key)
    if price is not None and not 0 <= price <= HIGHEST_USD_PER_PIECE:
        raise ValueError(f"{key!r} must be US dollars from 0 to {HIGHEST_USD_PER_PIECE}, not {config[key]!r}")
    return price


def text(figure: Decimal) -> str:
    """The shortest plain spelling."""
    plain = format(figure, "f")
    return plain.rstrip("0").rstrip(".") or "0" if "." in plain else plain


def times(*factors: Decimal) -> Decimal:
    """The exact product, whatever the host's decimal context is, without the dust of binary fractions."""
    product = Fraction(1)
    for factor in factors:
        product *= Fraction(factor)
    return from_fraction(product)


def from_fraction(value: Fraction) -> Decimal:
    """`value` to thirteen decimals."""
    scaled = round(value * 10**13)
    return _EXACT.scaleb(Decimal(scaled), -13).normalize(_EXACT)


@lru_cache(maxsize=8192)
def compiled(usd: str, per: int) -> int:
    """`usd` for `per` pieces as quota units x `SCALE` for one."""
    return round(Fraction(usd) * QUOTA_PER_USD * SCALE / per)
