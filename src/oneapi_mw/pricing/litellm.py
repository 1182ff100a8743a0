"""Rows of LiteLLM's cost map as price cards.

Prices there are US dollars for one token, second, image, character, query or page. Bounds of tiers are exclusive.

Source: https://github.com/BerriAI/litellm, `model_prices_and_context_window.json` (MIT)
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any

from oneapi_mw.pricing.figures import PER_MTOK, from_fraction, read_number, text
from oneapi_mw.pricing.price import resolution_key

_TOKENS = {
    "input_cost_per_token": "input",
    "output_cost_per_token": "output",
    "cache_read_input_token_cost": "cache_read",
    "cache_creation_input_token_cost": "cache_write_5m",
    "cache_creation_input_token_cost_above_1hr": "cache_write_1h",
    "output_cost_per_reasoning_token": "reasoning",
    "input_cost_per_audio_token": "input_audio",
    "input_cost_per_image_token": "input_image",
    "input_cost_per_video_token": "input_video",
    "cache_read_input_audio_token_cost": "cache_read_audio",
    "cache_read_input_image_token_cost": "cache_read_image",
    "output_cost_per_audio_token": "output_audio",
    "output_cost_per_image_token": "output_image",
    "output_cost_per_video_token": "output_video",
}
_SERVICES = {"_flex": "flex", "_priority": "priority", "_batches": "batch"}
_ABOVE = re.compile(r"(.+)_above_([0-9]+)k_tokens")
_SIZED = re.compile(r"(?:([a-z]+)/)?([0-9]+)-x-([0-9]+)/(.+)")
_RESOLUTION = re.compile(r"output_cost_per_second_([0-9]+p|[0-9]k)")
_NO_OUTPUT = ("embedding", "rerank")


def speaks(given: Mapping[str, Any]) -> bool:
    """Whether `given` looks like a cost map."""
    return any(isinstance(row, Mapping) and "litellm_provider" in row for row in given.values())


def cards(given: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Card by model of a cost map. Rows without a price, or with one for an image of a single size only, have none.
    Raises `ValueError` naming the model and what is wrong."""
    found: dict[str, dict[str, Any]] = {}
    for name, row in given.items():
        if isinstance(row, Mapping) and not _SIZED.fullmatch(name):
            try:
                card = card_of(row)
            except ValueError as exc:
                raise ValueError(f"{name}: {exc}") from None
            if card:
                found[name] = card
    for name, table in image_tables(given).items():
        found.setdefault(name, {})["image"] = {"usd_per_image": table}
    return found


def card_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """The card of one row, without what has no price there. Raises `ValueError` for what is no number."""
    card: dict[str, Any] = {}
    tiers: dict[tuple[str, int], dict[str, Any]] = {}
    services: dict[str, dict[str, Any]] = {}
    for key in row:
        plain, service = _service(key)
        above = _ABOVE.fullmatch(plain)
        kind = _TOKENS.get(above[1] if above else plain)
        price = _mtok(row, key) if kind is not None else None
        if kind is None or price is None:
            continue
        where = services.setdefault(service, {}) if service else card
        if above:
            where = tiers.setdefault((service, int(above[2]) * 1000 + 1), {})
        where[kind + PER_MTOK] = price
    for (service, start), prices in sorted(tiers.items()):
        where = services.setdefault(service, {}) if service else card
        where.setdefault("tiers", []).append({"input_tokens_from": start, "output_tokens_from": 0, **prices})
    _ranges(row, card)
    if row.get("mode") in _NO_OUTPUT and "input" + PER_MTOK in card:
        card.setdefault("output" + PER_MTOK, "0")
    _media(row, card)
    if services and "input" + PER_MTOK in card:
        card["variants"] = services
    limit = row.get("max_output_tokens")
    if type(limit) is int and limit > 0 and row.get("mode") in ("chat", "responses", "completion", None):
        card["max_output_tokens"] = limit
    return _without_zeros_for_unknown(row, card)


def _service(key: str) -> tuple[str, str]:
    for ending, service in _SERVICES.items():
        if key.endswith(ending):
            return key.removesuffix(ending), service
    return key, ""


def _mtok(row: Mapping[str, Any], key: str) -> str | None:
    price = read_number(row, key)
    return None if price is None else text(from_fraction(Fraction(price) * 1_000_000))


def _ranges(row: Mapping[str, Any], card: dict[str, Any]) -> None:
    """`tiered_pricing`: the first range is the base."""
    ladder = row.get("tiered_pricing")
    if not isinstance(ladder, list):
        return
    for step in ladder:
        bounds = step.get("range", [0]) if isinstance(step, Mapping) else None
        if not isinstance(bounds, list) or not bounds or not isinstance(bounds[0], (int, float)):
            raise ValueError(
                'tiered_pricing must be a list such as [{"range": [0, 256000], "input_cost_per_token": 1e-7}]'
            )
        prices = {kind + PER_MTOK: price for key, kind in _TOKENS.items() if (price := _mtok(step, key)) is not None}
        start = int(bounds[0])
        if start:
            card.setdefault("tiers", []).append({"input_tokens_from": start + 1, "output_tokens_from": 0, **prices})
        else:
            card.update(prices)


def _media(row: Mapping[str, Any], card: dict[str, Any]) -> None:
    mode = row.get("mode")
    per_image = read_number(row, "output_cost_per_image")
    if per_image and mode in ("image_generation", "image_edit") and "output_image" + PER_MTOK not in card:
        card["image"] = {"usd_per_image": text(per_image)}
    for key, name, factor in (
        ("input_cost_per_character", "usd_per_mchar", 1_000_000),
        ("input_cost_per_query", "usd_per_ksearch", 1000),
        ("ocr_cost_per_page", "usd_per_kpage", 1000),
    ):
        price = read_number(row, key)
        if price:
            card[name] = text(from_fraction(Fraction(price) * factor))
    heard = read_number(row, "input_cost_per_second")
    if heard and mode == "audio_transcription" and "input" + PER_MTOK not in card:
        card["audio"] = {"input_usd_per_second": text(heard)}
    if mode == "video_generation":
        _video(row, card)
    searches = row.get("search_context_cost_per_query")
    if isinstance(searches, Mapping):
        dearest = max((read_number(searches, size) or Decimal(0) for size in searches), default=Decimal(0))
        usual = read_number(searches, "search_context_size_medium") or dearest
        if usual:
            card["tools"] = {"web_search": {"usd_per_call": text(usual)}}


def _video(row: Mapping[str, Any], card: dict[str, Any]) -> None:
    usual = read_number(row, "output_cost_per_video_per_second") or read_number(row, "output_cost_per_second")
    sizes = {
        resolution_key(found[1]): text(price)
        for key in row
        if (found := _RESOLUTION.fullmatch(key)) and (price := read_number(row, key))
    }
    if usual:
        sizes["default"] = text(usual)
    if sizes:
        card["video"] = {"usd_per_second": sizes}


def _without_zeros_for_unknown(row: Mapping[str, Any], card: dict[str, Any]) -> dict[str, Any]:
    """Nothing when all there is are zeros: that map writes them for prices it does not know."""
    tokens = {key: price for key, price in card.items() if key.endswith(PER_MTOK)}
    others = any(
        key in card for key in ("tiers", "image", "audio", "video", "usd_per_mchar", "usd_per_ksearch", "usd_per_kpage")
    )
    if any(price != "0" for price in tokens.values()):
        return card
    if not others:
        return {}
    return {key: value for key, value in card.items() if key not in tokens}


def image_tables(given: Iterable[str] | Mapping[str, Any]) -> dict[str, dict[str, dict[str, str]]]:
    """{model: {quality: {size: US dollars}}} from rows such as `high/1024-x-1536/gpt-image-1`."""
    tables: dict[str, dict[str, dict[str, str]]] = {}
    if isinstance(given, Mapping):
        for name, row in given.items():
            found = _SIZED.fullmatch(name)
            price = read_number(row, "input_cost_per_image") if found and isinstance(row, Mapping) else None
            if found and price:
                sizes = tables.setdefault(found[4], {}).setdefault(found[1] or "default", {})
                sizes[f"{found[2]}x{found[3]}"] = text(price)
    return tables
