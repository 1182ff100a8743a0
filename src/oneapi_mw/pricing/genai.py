"""Models of the package `genai-prices` as price cards.

Its objects are read by their attributes and the package is not imported. What it says differently: tiers begin above
their bound, of several prices the last that applies counts, usage that prices leave out is not free but unknown.

Source: https://github.com/pydantic/genai-prices
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any

from oneapi_mw.pricing.card import merge
from oneapi_mw.pricing.figures import PER_MTOK, TOKEN_KEYS, from_fraction, text

_TOKENS = {
    "input_mtok": "input",
    "output_mtok": "output",
    "cache_read_mtok": "cache_read",
    "cache_write_mtok": "cache_write_5m",
    "cache_write_5m_mtok": "cache_write_5m",
    "cache_write_1h_mtok": "cache_write_1h",
    "output_reasoning_mtok": "reasoning",
    "input_audio_mtok": "input_audio",
    "input_image_mtok": "input_image",
    "input_video_mtok": "input_video",
    "cache_audio_read_mtok": "cache_read_audio",
    "cache_image_read_mtok": "cache_read_image",
    "output_audio_mtok": "output_audio",
    "output_image_mtok": "output_image",
    "output_video_mtok": "output_video",
}
_PIECES = {
    "input_mchars": "usd_per_mchar",
    "input_document_kpages": "usd_per_kpage",
    "requests_kcount": "usd_per_krequest",
}
_TOOLS = {"web_searches_kcount": "web_search", "storage_searches_kcount": "file_search"}
_IGNORED = frozenset({"audio_hours", "input_annotated_document_kpages", "output_citation_mtok"})
"""Hours are read where there is a price for hours of input; the others have no counterpart in usage."""


def card_of(model: Any, *, today: date) -> dict[str, Any] | None:
    """The card of a `ModelInfo`; `None` when it has no price, or one in units that no usage here is counted in.

    Prices that were replaced before `today` are left out, those that begin later become time windows.
    """
    conditional = model.prices if isinstance(model.prices, Sequence) else [model]
    base: dict[str, Any] | None = None
    windows: list[dict[str, Any]] = []
    for entry in conditional:
        card = _card(entry.prices)
        if card is None:
            return None
        constraint = getattr(entry, "constraint", None)
        if constraint is None or (hasattr(constraint, "start_date") and constraint.start_date <= today):
            base, windows = card, []  # whatever was said before, this one is said later
        else:
            windows.insert(0, {**_times(constraint), "overlay": card})
    if not base and windows:
        return None
    if not base:
        return {"input" + PER_MTOK: "0", "output" + PER_MTOK: "0"} if model.id.endswith(":free") else None
    variants = _variants(model, base, today)
    named = [{"name": f"window {place}", **window} for place, window in enumerate(windows, 1)]
    return {**base, **({"time_windows": named} if named else {}), **({"variants": variants} if variants else {})}


def _card(prices: Any) -> dict[str, Any] | None:
    """One `ModelPrice`. Empty when it says nothing, `None` when it says what cannot be charged here."""
    card: dict[str, Any] = {}
    tiered: dict[str, Any] = {}
    for key, price in vars(prices).items():
        if price is None or key.startswith("_") or key in _IGNORED:
            continue
        if key in _TOKENS:
            name = _TOKENS[key] + PER_MTOK
            card[name] = text(getattr(price, "base", price))
            if hasattr(price, "tiers"):
                tiered[name] = price.tiers
        elif key in _PIECES:
            card[_PIECES[key]] = text(_flat(price))
        elif key in _TOOLS:
            card.setdefault("tools", {})[_TOOLS[key]] = {"usd_per_call": _per(price, 1000)}
        elif key == "input_audio_hours":
            card["audio"] = {"input_usd_per_second": _per(price, 3600)}
        else:
            return None
    if tiered:
        card["tiers"] = _ladder(tiered)
    return card


def _flat(price: Any) -> Decimal:
    return Decimal(getattr(price, "base", price))


def _per(price: Any, count: int) -> str:
    return text(from_fraction(Fraction(_flat(price)) / count))


def _ladder(tiered: Mapping[str, Any]) -> list[dict[str, Any]]:
    starts = sorted({tier.start for tiers in tiered.values() for tier in tiers})
    ladder = []
    for start in starts:
        prices = {name: text(tier.price) for name, tiers in tiered.items() for tier in tiers if tier.start == start}
        ladder.append({"input_tokens_from": start + 1, "output_tokens_from": 0, **prices})
    return ladder


def _times(constraint: Any) -> dict[str, Any]:
    if hasattr(constraint, "start_date"):
        return {"date_from": constraint.start_date.isoformat()}
    start, end = constraint.start_time, constraint.end_time
    zones = {str(time.tzinfo) for time in (start, end)}
    if zones != {"UTC"}:
        raise ValueError(f"a price for a time of day in {zones} needs its zone to be read: only UTC was known so far")
    return {"ranges": [{"start": start.strftime("%H:%M"), "end": end.strftime("%H:%M")}]}


def _variants(model: Any, base: Mapping[str, Any], today: date) -> dict[str, Any]:
    variants: dict[str, Any] = {}
    for variant in model.price_variants or ():
        name = _service(variant.when)
        if name is None or (variant.constraint is not None and variant.constraint.start_date > today):
            continue
        overlay = _card(variant.prices)
        if overlay:
            variants[name] = _whole(base, overlay)
    return variants


def _service(when: Mapping[str, str]) -> str | None:
    """`batch`, `priority`, ...; `None` for the usual service and for what is no service."""
    (key, value), *more = when.items()
    if more or key not in ("service_tier", "processing", "speed") or value in ("default", "standard"):
        return None
    return value


def _whole(base: Mapping[str, Any], overlay: dict[str, Any]) -> dict[str, Any]:
    """A service's own figures, and its ladder with the base's for figures it says nothing of."""
    ladder: dict[int, dict[str, Any]] = {}
    for tier in overlay.pop("tiers", ()):
        ladder[tier["input_tokens_from"]] = dict(tier)
    for tier in base.get("tiers", ()):
        inherited = {key: price for key, price in tier.items() if key not in TOKEN_KEYS or key not in overlay}
        if inherited.keys() & set(TOKEN_KEYS):
            start = tier["input_tokens_from"]
            ladder[start] = {**inherited, **ladder.get(start, {})}
    if ladder:
        overlay["tiers"] = [ladder[start] for start in sorted(ladder)]
    return overlay


def rule_of(clause: Any) -> Any:
    """A `match` of the package as `names.fits` reads it. Raises `ValueError` for a kind it does not know."""
    for attribute, kind in (
        ("equals", "="),
        ("starts_with", "^"),
        ("ends_with", "$"),
        ("contains", "*"),
        ("regex", "~"),
    ):
        if hasattr(clause, attribute):
            value = getattr(clause, attribute)
            return [kind, getattr(value, "pattern", value)]
    for attribute, kind in (("or_", "|"), ("and_", "&")):
        if hasattr(clause, attribute):
            return [kind, [rule_of(part) for part in getattr(clause, attribute)]]
    raise ValueError(f"a model is matched in a way that is not known here: {clause!r}")


def overlaid(card: Mapping[str, Any], supplement: Mapping[str, Any]) -> dict[str, Any]:
    """A card with a supplement's figures on top, field by field."""
    return merge(card, supplement)
