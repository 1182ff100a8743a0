"""Cards to integers."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from types import MappingProxyType
from typing import Any

import orjson

from oneapi_mw.pricing.card import BLOCKS, SOURCE_KEYS, Card, has_prices, merge, prices_tokens
from oneapi_mw.pricing.figures import (
    AUDIO_PIECES,
    EMBEDDING_PIECES,
    PART_TOKENS,
    PER_MTOK,
    PIECES,
    TEXT_TOKENS,
    TOKEN_KEYS,
    compiled,
)
from oneapi_mw.pricing.price import NOTHING, SCALE, CompiledPrice, MeterPrices, PartPrices
from oneapi_mw.pricing.window import decode_span

log = logging.getLogger("oneapi_mw.billing")


def canonical(card: Card) -> str:
    """The one spelling of a card: JSON with sorted keys."""
    return orjson.dumps(card, option=orjson.OPT_SORT_KEYS).decode()


def card_id(card: Card) -> str:
    """Sixteen hexadecimal digits that depend on what a card charges, and not on where its figures are from."""
    figures = {key: value for key, value in card.items() if key not in SOURCE_KEYS}
    return hashlib.sha256(canonical(figures).encode()).hexdigest()[:16]


def compile_card(card: Card, *, layer: str, rule: str = "exact") -> CompiledPrice:
    """`card`, as `decode_card` returned it, as integers.

    An absent output price is the input price, an absent cache price likewise. Time windows of a zone that is not
    known on this machine are left out and logged.

    Raises: `ValueError` when the card prices nothing, or prices tokens without an input price.
    """
    if not has_prices(card):
        raise ValueError("a price card needs an input price, or a price of something else")
    base = _leaf(card, CompiledPrice(card_id(card), layer, 0, 0, 0, 0, 0, rule=rule, card=canonical(card)))
    variants = {}
    for name, overlay in card.get("variants", {}).items():
        variant = replace(base, variant=name)
        its_card = _own_tiers(merge(card, overlay), overlay)
        variants[name] = _with_windows(card, _leaf(its_card, variant), overlay)
    whole = _with_windows(card, base, {})
    return replace(whole, variants=MappingProxyType(variants)) if variants else whole


def check_card(card: Card) -> None:
    """Raises `ValueError` saying what `compile_card` would refuse or leave out."""
    for window in card.get("time_windows", ()):
        try:
            decode_span(window, name="")
        except ValueError as exc:
            raise ValueError(f"time window {window['name']!r}: {exc}") from None
    if has_prices(card):
        if prices_tokens(card) and "input" + PER_MTOK not in card:
            raise ValueError(f'a price card needs an input price: add input{PER_MTOK}, or "mode": "merge"')
        compile_card(card, layer="")


def _own_tiers(card: Card, variant: Card) -> Card:
    """`card` with the ladder of a service: its own, else the usual one without the figures that the service names."""
    if "tiers" in variant or "tiers" not in card:
        return card
    tiers = [{key: value for key, value in tier.items() if key not in variant} for tier in card["tiers"]]
    return {**card, "tiers": tiers}


def _with_windows(card: Card, base: CompiledPrice, variant: Card) -> CompiledPrice:
    windows = []
    for window in card.get("time_windows", ()):
        try:
            span = decode_span(window, name=window["name"])
        except ValueError as exc:
            log.error("time window %r of a price is left out: %s", window["name"], exc)
            continue
        its_card = _own_tiers(merge(merge(card, window["overlay"]), variant), variant)
        windows.append((span, _leaf(its_card, replace(base, window=span.name))))
    return replace(base, windows=tuple(windows)) if windows else base


def _leaf(card: Card, base: CompiledPrice) -> CompiledPrice:
    """`base` with the figures of one instant and service, tiers included."""
    price = replace(
        _rates(card, base),
        max_output=card.get("max_output_tokens", 0),
        meters=_meters(card),
        tools=_tools(card),
        tools_grouped=card.get("tools_use_group_ratio", False),
        allowed_tools=frozenset(card["allowed_tools"]) if "allowed_tools" in card else None,
        minimum=-(-compiled(card.get("minimum_usd", "0"), 1) // SCALE),
        counts_tokens=prices_tokens(card),
        tiers=(),
        windows=(),
    )
    tiers = tuple(_ladder(card, price))
    return replace(price, tiers=tiers) if tiers else price


def _rates(card: Card, base: CompiledPrice) -> CompiledPrice:
    usual = card.get("input" + PER_MTOK)
    if usual is None and prices_tokens(card):
        raise ValueError("a price card needs an input price")
    figure = {kind: compiled(card.get(kind + PER_MTOK, usual or "0"), 1_000_000) for kind in TEXT_TOKENS}
    parts = {kind: compiled(card[kind + PER_MTOK], 1_000_000) for kind in PART_TOKENS if kind + PER_MTOK in card}
    return replace(
        base,
        input=figure["input"],
        output=figure["output"],
        cache_read=figure["cache_read"],
        cache_write_5m=figure["cache_write_5m"],
        cache_write_1h=figure["cache_write_1h"],
        parts=PartPrices(**parts) if parts else None,
    )


def _ladder(card: Card, base: CompiledPrice) -> list[tuple[int, int, CompiledPrice]]:
    """Prices by (input, output) bounds such that the last one that fits is right.

    Every tier that fits applies, later ones over earlier ones. With bounds on both sides which ones fit is no simple
    order, so there is a price for each pair of bounds.
    """
    tiers = card.get("tiers", ())
    found = []
    outputs = sorted({0, *(tier["output_tokens_from"] for tier in tiers)})
    for input_from in sorted({0, *(tier["input_tokens_from"] for tier in tiers)}):
        for output_from in outputs:
            reached, highest = dict(card), 0
            for number, tier in enumerate(tiers, 1):
                if tier["input_tokens_from"] <= input_from and tier["output_tokens_from"] <= output_from:
                    reached.update({key: tier[key] for key in TOKEN_KEYS if key in tier})
                    highest = number
            if highest:
                found.append((input_from, output_from, replace(_rates(reached, base), tier=highest)))
    return found


def _tools(card: Card) -> Mapping[str, int]:
    tools = {
        kind: price["quota_per_call"] if "quota_per_call" in price else -(-compiled(price["usd_per_call"], 1) // SCALE)
        for kind, price in card.get("tools", {}).items()
    }
    return MappingProxyType(tools) if tools else NOTHING


def _meters(card: Card) -> MeterPrices | None:
    image, audio, video, embedding = (card.get(name, {}) for name in BLOCKS[:4])
    each: dict[str, int] = {}
    for block, pieces in ((card, PIECES), (embedding, EMBEDDING_PIECES), (audio, AUDIO_PIECES)):
        for key, (kind, per) in pieces.items():
            if key in block:
                each[kind] = compiled(block[key], per)
    images, videos = _images(image.get("usd_per_image")), _videos(video.get("usd_per_second"))
    flat = video.get("usd_per_video")
    if not (each or images or videos or flat is not None):
        return None
    return MeterPrices(
        each=MappingProxyType(each),
        images=MappingProxyType(images),
        default_size=image.get("default_size", ""),
        default_quality=image.get("default_quality", ""),
        video_ms=MappingProxyType(videos),
        default_resolution=video.get("default_resolution", ""),
        video=None if flat is None else compiled(flat, 1),
        round_up_ms=int(Fraction(audio.get("round_up_seconds", "0")) * 1000),
        minimum_ms=int(Fraction(audio.get("minimum_seconds", "0")) * 1000),
    )


def _images(price: Any) -> dict[tuple[str, str], int]:
    if price is None:
        return {}
    if isinstance(price, str):
        return {("default", "default"): compiled(price, 1)}
    return {(quality, size): compiled(usd, 1) for quality, sizes in price.items() for size, usd in sizes.items()}


def _videos(price: Any) -> dict[str, int]:
    if price is None:
        return {}
    if isinstance(price, str):
        return {"default": compiled(price, 1000)}
    return {resolution: compiled(usd, 1000) for resolution, usd in price.items()}
