"""The fields of a channel that hold JSON as text: what each may hold, checked before it is stored."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from oneapi_mw.admin.channel_config import check_config, check_tooling
from oneapi_mw.admin.envelope import Refusal
from oneapi_mw.pricing.card import decode_card
from oneapi_mw.pricing.compile import check_card


def check_json(field: str, text: str) -> None:
    """Refuse `text` when `field` holds JSON and `text` is not what it may hold. Blank is always allowed.

    Raises: `Refusal` naming the field and what to write.
    """
    rule = _RULES.get(field)
    if rule is None or not text.strip():
        return
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise Refusal(f"{field} must hold {rule[0]} as text; it is not valid JSON") from None
    try:
        fits = rule[1](value)
    except ValueError as exc:
        raise Refusal(f"{field}: {exc}") from None
    if not fits:
        raise Refusal(f"{field} must hold {rule[0]} as text")


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _is_mapping(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(name, str) for name in value.values())


def _is_ratios(value: Any) -> bool:
    return isinstance(value, dict) and all(_is_price(ratio) for ratio in value.values())


def _is_price(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0


def _is_model_configs(value: Any) -> bool:
    """Whether every entry compiles to a price. Raises `ValueError` with the model and what is wrong."""
    if not isinstance(value, dict):
        return False
    for model, config in value.items():
        if not isinstance(config, dict):
            return False
        if not model.strip():
            raise ValueError("a price card is of a model: write its name before the card")
        try:
            card = decode_card(config)
            if card.get("mode") != "merge":
                check_card(card)
        except ValueError as exc:
            raise ValueError(f"{model}: {exc}") from None
    return True


_RULES: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "hidden_models": ('a JSON list of model names such as ["gpt-4o"]', _is_names),
    "model_mapping": ('a JSON object of names such as {"gpt-4": "gpt-4o"}', _is_mapping),
    "model_configs": ('a JSON object of objects such as {"gpt-4o": {"ratio": 1.25}}', _is_model_configs),
    "config": ("a JSON object", check_config),
    "tooling": ("a JSON object", check_tooling),
    "model_ratio": ('a JSON object of numbers from 0 up such as {"gpt-4o": 1.25}', _is_ratios),
    "completion_ratio": ('a JSON object of numbers from 0 up such as {"gpt-4o": 4}', _is_ratios),
    "inference_profile_arn_map": ("a JSON object of ARNs by model name", _is_mapping),
}
