"""A price card: what one model costs, in the units people quote prices in.

A card is a JSON object. Tokens:  `input_usd_per_mtok`, `output_usd_per_mtok`, ... (`figures.TOKEN_KEYS`). Pieces:
`usd_per_mchar`, `usd_per_kpage`, `usd_per_ksearch`, `usd_per_krequest`. And, where they apply,

    image          {"usd_per_image": 0.04, or {quality: {size: 0.04}}, "default_size", "default_quality",
                    "min_images", "max_images", "prompt_token_limit"}
    audio          {"input_usd_per_second", "output_usd_per_second", "round_up_seconds", "minimum_seconds",
                    "input_tokens_per_second", "output_tokens_per_second"}
    video          {"usd_per_second": 0.1, or {resolution: 0.1}, "default_resolution", "usd_per_video"}
    embedding      {"usd_per_image", "usd_per_audio_second", "usd_per_video_frame", "usd_per_document_page"}
    tools          {kind: 0.01, or {"usd_per_call": 0.01}, or {"quota_per_call": 5000}}
    tiers          [{"input_tokens_from": 200001, "output_tokens_from": 0, token prices}], for the whole request
    time_windows   [{"name", "timezone", "ranges": [{"start", "end"}], "days_of_week", "date_from", "date_to",
                    "overlay": card}], the first that covers the start of the request
    variants       {"priority": card}, of which the card's own figures hold where it has none

and `minimum_usd`, `max_output_tokens`, `tools_use_group_ratio`, `allowed_tools`, `mode` (`replace` or `merge`),
`source`, `date`. A figure is absent (inherit), zero (free) or positive.

Cards are written like this or in the ratios of One API's `model_configs` (`one_api`); `decode_card` reads both and
returns the first form, figures as text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from oneapi_mw.pricing import one_api
from oneapi_mw.pricing.figures import (
    AUDIO_PIECES,
    EMBEDDING_PIECES,
    PIECES,
    TOKEN_KEYS,
    check_token_price,
    read_number,
    read_piece_price,
    text,
)
from oneapi_mw.pricing.price import resolution_key
from oneapi_mw.pricing.searches import prices_over
from oneapi_mw.pricing.tools import priced_kind, tool_kind

Card: TypeAlias = Mapping[str, Any]

MODES = ("replace", "merge")
SOURCE_KEYS = ("source", "date", "mode")
"""What a card says about itself, and not about prices."""
TOKEN_PART = frozenset({*TOKEN_KEYS, "tiers", "time_windows", "variants"})
"""What a card with prices of tokens replaces as a whole."""
_COUNTS = {
    "image": ("min_images", "max_images", "prompt_token_limit"),
    "audio": ("round_up_seconds", "minimum_seconds", "input_tokens_per_second", "output_tokens_per_second"),
}
_MAX_LIST = 64
"""Tiers, windows and variants of one card, at most."""


def decode_card(config: Mapping[str, Any], *, bounded: bool = True) -> dict[str, Any]:
    """The card in one entry of `model_configs`, in either spelling.

    Args:
        bounded: refuse prices of tokens that look like another unit. Off for tables that were checked before.

    Raises: `ValueError` naming the key, what is wrong and what would be right.
    """
    _refuse_unknown_prices(config)
    if one_api.speaks(config):
        config = one_api.translate(config)
    card = _decode_prices(config, bounded=bounded)
    for key, decode in (("tiers", _tiers), ("time_windows", _windows), ("variants", _variants)):
        if config.get(key):
            card[key] = decode(config[key], bounded)
    return card


def _decode_prices(config: Mapping[str, Any], *, bounded: bool) -> dict[str, Any]:
    card: dict[str, Any] = {}
    for key in TOKEN_KEYS:
        price = read_number(config, key)
        if price is not None:
            if price < 0:
                raise ValueError(f"{key!r} must not be negative; 0 is free")
            if bounded:
                check_token_price(key, price)
            card[key] = text(price)
    _pieces(config, (*PIECES, "minimum_usd"), card)
    for name, decode in _BLOCKS.items():
        block = config.get(name)
        if block is None:
            continue
        if not isinstance(block, Mapping):
            raise ValueError(f"{name!r} must be an object")
        decoded = decode(block)
        if decoded:
            card[name] = decoded
    _manners(config, card)
    return card


def _manners(config: Mapping[str, Any], card: dict[str, Any]) -> None:
    """What a card says beside figures."""
    limit = config.get("max_output_tokens", config.get("max_tokens"))
    if type(limit) is int and limit > 0:
        card["max_output_tokens"] = limit
    if config.get("tools_use_group_ratio") is True:
        card["tools_use_group_ratio"] = True
    allowed = config.get("allowed_tools")
    if isinstance(allowed, list):
        card["allowed_tools"] = sorted({tool_kind(str(name)) for name in allowed})
    mode = config.get("mode")
    if mode is not None and mode not in MODES:
        raise ValueError(f"mode must be replace or merge, not {mode!r}")
    for key in SOURCE_KEYS:
        if config.get(key):
            card[key] = str(config[key])


def _refuse_unknown_prices(config: Mapping[str, Any]) -> None:
    for key in config:
        if "usd_per_" in key and key not in TOKEN_KEYS and key not in PIECES:
            known = ", ".join((*TOKEN_KEYS, *PIECES))
            raise ValueError(f"{key!r} is not a price this version knows: write one of {known}")


def _pieces(config: Mapping[str, Any], keys: tuple[str, ...], card: dict[str, Any]) -> None:
    for key in keys:
        price = read_piece_price(config, key)
        if price is not None:
            card[key] = text(price)


def _counts(block: Mapping[str, Any], name: str, decoded: dict[str, Any]) -> None:
    for key in _COUNTS.get(name, ()):
        number = read_number(block, key)
        if number is None:
            continue
        if number < 0:
            raise ValueError(f"{key!r} of {name} must not be negative")
        decoded[key] = text(number)


def _words(block: Mapping[str, Any], keys: tuple[str, ...], decoded: dict[str, Any]) -> None:
    for key in keys:
        if block.get(key):
            decoded[key] = str(block[key]).lower()


def _image(block: Mapping[str, Any]) -> dict[str, Any]:
    decoded: dict[str, Any] = {}
    price = block.get("usd_per_image")
    if isinstance(price, Mapping):
        qualities: dict[str, dict[str, str]] = {}
        for quality, sizes in price.items():
            if not isinstance(sizes, Mapping):
                raise ValueError('usd_per_image must be a number, or {"standard": {"1024x1024": 0.04}}')
            qualities[quality.lower() or "default"] = _prices(sizes, str.lower)
        decoded["usd_per_image"] = qualities
    else:
        _pieces(block, ("usd_per_image",), decoded)
    _words(block, ("default_size", "default_quality"), decoded)
    _counts(block, "image", decoded)
    least, most = (read_number(decoded, key) for key in ("min_images", "max_images"))
    if least is not None and most is not None and most < least:
        raise ValueError("max_images must be at least min_images")
    return decoded


def _audio(block: Mapping[str, Any]) -> dict[str, Any]:
    decoded: dict[str, Any] = {}
    _pieces(block, tuple(AUDIO_PIECES), decoded)
    _counts(block, "audio", decoded)
    return decoded


def _video(block: Mapping[str, Any]) -> dict[str, Any]:
    decoded: dict[str, Any] = {}
    price = block.get("usd_per_second")
    if isinstance(price, Mapping):
        decoded["usd_per_second"] = _prices(price, resolution_key)
    else:
        _pieces(block, ("usd_per_second",), decoded)
    _pieces(block, ("usd_per_video",), decoded)
    if block.get("default_resolution"):
        decoded["default_resolution"] = resolution_key(str(block["default_resolution"]))
    return decoded


def _embedding(block: Mapping[str, Any]) -> dict[str, Any]:
    decoded: dict[str, Any] = {}
    _pieces(block, tuple(EMBEDDING_PIECES), decoded)
    return decoded


def _tools(block: Mapping[str, Any]) -> dict[str, Any]:
    """One price per kind of tool. A tool without a price in here has none."""
    decoded: dict[str, Any] = {}
    for name, price in block.items():
        given = price if isinstance(price, Mapping) else {"usd_per_call": price}
        quota = given.get("quota_per_call")
        usd = read_piece_price(given, "usd_per_call")
        if usd is not None:
            decoded[priced_kind(name)] = {"usd_per_call": text(usd)}
        elif type(quota) is int and quota >= 0:
            decoded[priced_kind(name)] = {"quota_per_call": quota}
        else:
            raise ValueError(f"tool {name!r} needs usd_per_call, or quota_per_call as a whole number from 0 up")
    return decoded


def _prices(given: Mapping[str, Any], name: Callable[[str], str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for key in given:
        price = read_piece_price(given, key)
        if price is not None:
            found[name(key) or "default"] = text(price)
    return found


_BLOCKS: Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "image": _image,
    "audio": _audio,
    "video": _video,
    "embedding": _embedding,
    "tools": _tools,
}
BLOCKS = tuple(_BLOCKS)


def _tiers(given: Any, bounded: bool) -> list[dict[str, Any]]:
    tiers = []
    for tier in _list(given, "tiers"):
        decoded: dict[str, Any] = {
            key: price for key, price in _decode_prices(tier, bounded=bounded).items() if key in TOKEN_KEYS
        }
        for key in ("input_tokens_from", "output_tokens_from"):
            bound = tier.get(key) or 0
            if type(bound) is not int or bound < 0:
                raise ValueError(f"{key} of a tier must be a whole number of tokens, not {bound!r}")
            decoded[key] = bound
        tiers.append(decoded)
    return sorted(tiers, key=lambda tier: (tier["input_tokens_from"], tier["output_tokens_from"]))


def _windows(given: Any, bounded: bool) -> list[dict[str, Any]]:
    windows: list[dict[str, Any]] = []
    for place, window in enumerate(_list(given, "time_windows"), 1):
        overlay = window.get("overlay")
        if not isinstance(overlay, Mapping):
            raise ValueError('each of time_windows needs an "overlay" with the prices it changes')
        if overlay.get("time_windows") or overlay.get("variants"):
            raise ValueError("the overlay of a time window can have neither time_windows nor variants")
        name = str(window.get("name") or f"window {place}")[:64]
        taken = {other["name"] for other in windows}
        kept = {key: value for key, value in window.items() if value and key in _WINDOW_KEYS}
        windows.append(
            {**kept, "name": name if name not in taken else f"{name} {place}", "overlay": _overlay(overlay, bounded)}
        )
    return windows


_WINDOW_KEYS = ("timezone", "ranges", "days_of_week", "date_from", "date_to")


def _variants(given: Any, bounded: bool) -> dict[str, Any]:
    if not isinstance(given, Mapping) or len(given) > _MAX_LIST:
        raise ValueError('variants must be an object of cards such as {"priority": {"input_usd_per_mtok": 4.25}}')
    variants = {}
    for name, overlay in given.items():
        if not isinstance(overlay, Mapping) or overlay.get("variants") or overlay.get("time_windows"):
            raise ValueError(f"variant {name!r} must be a card without time_windows and variants of its own")
        variants[name] = _overlay(overlay, bounded)
    return variants


def _overlay(given: Mapping[str, Any], bounded: bool) -> dict[str, Any]:
    _refuse_unknown_prices(given)
    if one_api.speaks(given):
        given = one_api.translate(given)
    overlay = _decode_prices(given, bounded=bounded)
    if given.get("tiers"):
        overlay["tiers"] = _tiers(given["tiers"], bounded)
    return overlay


def _list(given: Any, key: str) -> list[Mapping[str, Any]]:
    if not isinstance(given, list) or not all(isinstance(item, Mapping) for item in given):
        raise ValueError(f"{key} must be a list of objects")
    if len(given) > _MAX_LIST:
        raise ValueError(f"{key} may have {_MAX_LIST} entries at most")
    return given


def prices_tokens(card: Card) -> bool:
    return any(key in card for key in TOKEN_KEYS)


def has_prices(card: Card) -> bool:
    """Whether a card prices anything at all."""
    return prices_tokens(card) or any(key in card for key in (*PIECES, "image", "video")) or _block_prices(card)


def _block_prices(card: Card) -> bool:
    return any(key in card.get("audio", ()) for key in AUDIO_PIECES) or bool(card.get("embedding"))


def merge(base: Card, overlay: Card) -> dict[str, Any]:
    """`base` with what `overlay` says: field by field, maps key by key, lists as a whole."""
    merged = dict(base)
    for key, value in overlay.items():
        below = merged.get(key)
        if isinstance(value, Mapping) and isinstance(below, Mapping):
            merged[key] = merge(below, value)
        else:
            merged[key] = value
    return merged


def stack(entry: Card, below: Card | None) -> dict[str, Any]:
    """The card of a layer over that of the next lower one.

    `merge` changes single figures. `replace`, which is what One API does, takes over nothing of the lower card's
    prices of tokens once the entry has one; blocks that the entry lacks, tools and the output limit stay.
    """
    if below is None:
        return dict(entry)
    tools = prices_over(below.get("tools", {}), entry.get("tools", {}))
    if entry.get("mode") == "merge":
        return {**merge(below, entry), "tools": tools} if tools else merge(below, entry)
    kept = {key: value for key, value in below.items() if not (prices_tokens(entry) and key in TOKEN_PART)}
    stacked = {**kept, **entry}
    if tools:
        stacked["tools"] = tools
    return stacked
