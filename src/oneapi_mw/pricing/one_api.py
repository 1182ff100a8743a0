"""Entries of One API's `model_configs` as price cards.

A ratio is quota units per token, half the price in US dollars per million tokens. 0 and absent both mean "inherit",
a negative cache ratio means free. `completion_ratio` is the price of output in terms of that of input; the cache
ratios are prices of their own. What One API multiplies at run time is multiplied here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from oneapi_mw.pricing.figures import PER_MTOK, TEXT_TOKENS, TOKEN_KEYS, read_number, text, times
from oneapi_mw.pricing.price import resolution_key

_CACHES = (
    ("cached_input_ratio", "cache_read"),
    ("cache_write_5m_ratio", "cache_write_5m"),
    ("cache_write_1h_ratio", "cache_write_1h"),
)
_RATIOS = ("ratio", "completion_ratio", *(name for name, _ in _CACHES))
_MODALITIES = ("text", "image", "audio", "video", "document")
_USD_OF_RATIO = Decimal(2)


def speaks(config: Mapping[str, Any]) -> bool:
    """Whether `config` is in One API's words: a price of tokens in ours decides that it is not."""
    if any(config.get(key) is not None for key in TOKEN_KEYS):
        return False
    blocks = (("image", "price_per_image_usd"), ("video", "per_second_usd"), ("audio", "usd_per_second"))
    return (
        any(config.get(key) is not None for key in _RATIOS)
        or bool(config.get("per_call"))
        or any(_block(config, name).get(key) is not None for name, key in blocks)
        or any(_block(config, "embedding").get(f"{kind}_token_ratio") for kind in _MODALITIES)
        or any(_block(config, "audio").get(key) for key in ("prompt_ratio", "prompt_tokens_per_second"))
        or any(_ratio_overlay(window) for window in _objects(config.get("time_windows")))
        or any("input_token_threshold" in tier for tier in _objects(config.get("tiers")))
    )


def _objects(value: Any) -> Iterable[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def _ratio_overlay(window: Mapping[str, Any]) -> bool:
    overlay = window.get("overlay")
    return isinstance(overlay, Mapping) and speaks(overlay)


def translate(config: Mapping[str, Any]) -> dict[str, Any]:
    """The same prices in unit-named keys. Raises `ValueError` naming the key that is wrong."""
    ratio, completion = _positive(config, "ratio"), _positive(config, "completion_ratio") or Decimal(1)
    card = {key: value for key, value in config.items() if key not in _TRANSLATED}
    base = (ratio, completion)
    card.update(_tokens(config, base))
    _embedding(config, card)
    if ratio is None and _block(config, "image").get("prompt_ratio"):
        base = (_positive(config["image"], "prompt_ratio"), completion)
        card.update(_tokens({"ratio": base[0]}, base))
    _audio(config, card, base[0])
    if config.get("image"):
        card["image"] = _image(_block(config, "image"))
    if config.get("video"):
        card["video"] = _video(_block(config, "video"))
    calls = read_number(_block(config, "per_call"), "usd_per_thousand_calls")
    if calls:
        card["usd_per_krequest"] = calls
    if config.get("tiers"):
        card["tiers"] = list(_tiers(config["tiers"], base))
    if config.get("time_windows"):
        card["time_windows"] = list(_windows(config["time_windows"], base))
    return card


_TRANSLATED = frozenset({*_RATIOS, "image", "audio", "video", "embedding", "per_call", "tiers", "time_windows"})

_Base = tuple[Decimal | None, Decimal]
"""Ratio and completion ratio, as far as they are known."""


def _tokens(config: Mapping[str, Any], base: _Base) -> dict[str, Any]:
    ratio, completion = base
    prices: dict[str, Any] = {}
    if ratio is not None:
        prices["input" + PER_MTOK] = times(ratio, _USD_OF_RATIO)
        prices["output" + PER_MTOK] = times(ratio, completion, _USD_OF_RATIO)
    for theirs, ours in _CACHES:
        value = read_number(config, theirs)
        if value:
            prices[ours + PER_MTOK] = times(max(value, Decimal(0)), _USD_OF_RATIO)
    return prices


def _positive(config: Mapping[str, Any], key: str) -> Decimal | None:
    """A number above zero; `None` for zero and absent."""
    value = read_number(config, key)
    if value is not None and value < 0:
        raise ValueError(f"{key!r} must not be negative, got {value}")
    return value or None


def _embedding(config: Mapping[str, Any], card: dict[str, Any]) -> None:
    block = _block(config, "embedding")
    if not block:
        return
    for kind in _MODALITIES:
        value = _positive(block, f"{kind}_token_ratio")
        if value is not None:
            key = ("input" if kind == "text" else f"input_{kind}") + PER_MTOK
            card.setdefault(key, times(value, _USD_OF_RATIO))
    rest = {key: value for key, value in block.items() if key.startswith("usd_per_") and value}
    if rest:
        card["embedding"] = rest


def _audio(config: Mapping[str, Any], card: dict[str, Any], ratio: Decimal | None) -> None:
    """`prompt_ratio` is in terms of the price of text, `completion_ratio` in terms of that of heard audio."""
    block = _block(config, "audio")
    prompt = _positive(block, "prompt_ratio")
    if prompt is not None:
        if ratio is None:
            raise ValueError("audio.prompt_ratio needs a ratio beside it, or write input_audio_usd_per_mtok")
        completion = _positive(block, "completion_ratio") or Decimal(1)
        card["input_audio" + PER_MTOK] = times(ratio, prompt, _USD_OF_RATIO)
        card["output_audio" + PER_MTOK] = times(ratio, prompt, completion, _USD_OF_RATIO)
    names = (
        ("usd_per_second", "input_usd_per_second"),
        ("prompt_tokens_per_second", "input_tokens_per_second"),
        ("completion_tokens_per_second", "output_tokens_per_second"),
    )
    translated = {ours: block[theirs] for theirs, ours in names if block.get(theirs)}
    if translated:
        card["audio"] = translated


def _image(block: Mapping[str, Any]) -> dict[str, Any]:
    names = ("default_size", "default_quality", "prompt_token_limit", "min_images", "max_images")
    image = {key: block[key] for key in names if block.get(key)}
    price = _positive(block, "price_per_image_usd")
    if price is None:
        return image
    sizes = _multipliers(block.get("size_multipliers"), "size_multipliers")
    qualities = _multipliers(block.get("quality_multipliers"), "quality_multipliers")
    table = {
        quality: {size: text(times(price, by_quality, by_size)) for size, by_size in sizes.items()}
        for quality, by_quality in qualities.items()
    }
    for quality, its_sizes in _block(block, "quality_size_multipliers").items():
        its_table = table.setdefault(quality or "default", {})
        for size, factor in _multipliers(its_sizes, "quality_size_multipliers").items():
            its_table[size] = text(times(price, factor))
    image["usd_per_image"] = table
    return image


def _multipliers(given: Any, key: str) -> dict[str, Decimal]:
    if not given:
        return {"default": Decimal(1)}
    if not isinstance(given, Mapping):
        raise ValueError(f"{key} must be an object of numbers")
    factors = {}
    for name in given:
        factor = read_number(given, name)
        if factor is None or factor <= 0:
            raise ValueError(f"{key}: {name!r} must be above 0")
        factors[name or "default"] = factor
    return factors


def _video(block: Mapping[str, Any]) -> dict[str, Any]:
    price = _positive(block, "per_second_usd")
    if price is None:
        return {}
    resolutions = {
        resolution_key(name): text(times(price, factor))
        for name, factor in _multipliers(block.get("resolution_multipliers"), "resolution_multipliers").items()
    }
    base = resolution_key(str(block.get("base_resolution") or ""))
    if base:
        resolutions.setdefault(base, text(price))
    return {"usd_per_second": resolutions, **({"default_resolution": base} if base else {})}


def _tiers(tiers: Any, base: _Base) -> Iterable[dict[str, Any]]:
    """Each tier changes what the ones below it reached."""
    if not isinstance(tiers, list) or not all(isinstance(tier, Mapping) for tier in tiers):
        raise ValueError("tiers must be a list of objects")
    bounds = ("input_token_threshold", "output_token_threshold")
    ratio, completion = base
    for tier in sorted(tiers, key=lambda tier: tuple(read_number(tier, key) or 0 for key in bounds)):
        changed = _positive(tier, "ratio"), _positive(tier, "completion_ratio")
        ratio, completion = changed[0] or ratio, changed[1] or completion
        translated = _tokens(tier, (ratio, completion) if any(changed) else (None, completion))
        for theirs, ours in zip(bounds, ("input_tokens_from", "output_tokens_from"), strict=True):
            bound = read_number(tier, theirs) or Decimal(0)
            if bound < 0 or bound != bound.to_integral_value():
                raise ValueError(f"{theirs} must be a whole number of tokens, not {tier[theirs]!r}")
            translated[ours] = int(bound)
        yield translated


def _windows(windows: Any, base: _Base) -> Iterable[dict[str, Any]]:
    if not isinstance(windows, list) or not all(isinstance(window, Mapping) for window in windows):
        raise ValueError("time_windows must be a list of objects")
    for window in windows:
        overlay = _block(window, "overlay")
        ratio, completion = _positive(overlay, "ratio"), _positive(overlay, "completion_ratio")
        whole = (ratio or base[0], completion or base[1])
        translated = translate({**overlay, "ratio": whole[0], "completion_ratio": whole[1]})
        if ratio is None and completion is None:
            for kind in TEXT_TOKENS[:2]:
                translated.pop(kind + PER_MTOK, None)
        yield {**window, "overlay": translated}


def _block(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    block = config.get(name) or {}
    if not isinstance(block, Mapping):
        raise ValueError(f"{name!r} must be an object")
    return block
