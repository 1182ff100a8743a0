"""Cards as operators write them, and where a price comes from."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from oneapi_mw.pricing.book import FREE, REFERENCE, is_free_channel, resolve_price
from oneapi_mw.pricing.builtin import BUILTIN
from oneapi_mw.pricing.card import PriceCard, compile_card, decode_card
from oneapi_mw.pricing.price import SCALE


def usd(card: PriceCard) -> tuple[Any, ...]:
    return (
        card.input_usd_per_mtok,
        card.output_usd_per_mtok,
        card.cache_read_usd_per_mtok,
        card.cache_write_5m_usd_per_mtok,
        card.cache_write_1h_usd_per_mtok,
    )


@pytest.mark.parametrize(
    ("config", "prices"),
    [
        ({}, (None, None, None, None, None)),
        ({"input_usd_per_mtok": 2.5, "output_usd_per_mtok": "10"}, (Decimal("2.5"), Decimal(10), None, None, None)),
        ({"input_usd_per_mtok": 0}, (0, None, None, None, None)),
        ({"input_usd_per_mtok": 1, "ratio": 7}, (1, None, None, None, None)),
        ({"ratio": 1.25}, (Decimal("2.5"), Decimal("2.5"), None, None, None)),
        ({"ratio": 1.25, "completion_ratio": 4}, (Decimal("2.5"), 10, None, None, None)),
        ({"ratio": 0, "completion_ratio": 4}, (None, None, None, None, None)),
        ({"ratio": 1, "completion_ratio": 0}, (2, 2, None, None, None)),
        ({"ratio": 1, "cached_input_ratio": 0.1}, (2, 2, Decimal("0.2"), None, None)),
        ({"ratio": 1, "cached_input_ratio": 0}, (2, 2, None, None, None)),
        ({"ratio": 1, "cached_input_ratio": -1}, (2, 2, 0, None, None)),
        (
            {"ratio": 1, "cache_write_5m_ratio": 1.25, "cache_write_1h_ratio": 2},
            (2, 2, None, Decimal("2.5"), 4),
        ),
    ],
)
def test_both_spellings(config: dict[str, Any], prices: tuple[Any, ...]) -> None:
    assert usd(decode_card(config)) == prices


@pytest.mark.parametrize(
    "config",
    [
        {"ratio": -1},
        {"ratio": 1, "completion_ratio": -2},
        {"ratio": True},
        {"ratio": "much"},
        {"ratio": []},
        {"ratio": "NaN"},
        {"ratio": float("inf")},
        {"ratio": "9e999999"},
        {"ratio": "1e-999999"},
        {"ratio": 1e-9},
        {"ratio": 2.5, "completion_ratio": 1e6},
        {"input_usd_per_mtok": -1},
        {"input_usd_per_mtok": 1e6},
        {"input_usd_per_mtok": 0.0000025},
    ],
)
def test_what_is_no_price(config: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"ratio|usd_per_mtok"):
        decode_card(config)


@pytest.mark.parametrize(("value", "limit"), [(100, 100), (0, 0), (-5, 0), (True, 0), ("100", 0), (1.5, 0), (None, 0)])
def test_the_longest_answer(value: Any, limit: int) -> None:
    assert decode_card({"ratio": 1, "max_tokens": value}).max_output_tokens == limit


def test_what_a_card_leaves_out_is_the_input_price() -> None:
    price = compile_card(PriceCard(Decimal(2)), layer="channel")
    assert {price.input, price.output, price.cache_read, price.cache_write_5m, price.cache_write_1h} == {SCALE}
    with pytest.raises(ValueError, match="input price"):
        compile_card(PriceCard(None, Decimal(2)), layer="channel")


def test_a_card_is_known_by_its_figures() -> None:
    cards = [PriceCard(Decimal(1), source="a"), PriceCard(Decimal(1), source="b"), PriceCard(Decimal(2), source="a")]
    one, same, other = (compile_card(card, layer="x") for card in cards)
    assert one.card_id == same.card_id != other.card_id
    assert len(one.card_id) == 16


OWN = {"gpt-4o": {"input_usd_per_mtok": 7}}


def test_the_channels_card_comes_first_and_then_ours() -> None:
    own = resolve_price("gpt-4o", model_configs=OWN, channel_config={})
    assert own is not None
    assert (own.layer, own.input) == ("channel", 7 * SCALE // 2)
    for configs in ({}, {"gpt-4o": {"max_tokens": 5}}, {"gpt-4o": None}):
        ours = resolve_price("gpt-4o", model_configs=configs, channel_config={})
        assert ours is not None
        assert ours.layer == "builtin"


def test_models_nobody_knows() -> None:
    free = {"unknown_model_policy": "free"}
    assert resolve_price("x", model_configs={}, channel_config={}) is None
    assert resolve_price("x", model_configs={}, channel_config=free) is FREE
    assert resolve_price("x", model_configs={}, channel_config={}, policy="reference") is REFERENCE
    assert resolve_price("x", model_configs={}, channel_config=free, policy="reference") is FREE
    assert FREE.is_free
    assert is_free_channel(free)
    assert not is_free_channel({})


@pytest.mark.parametrize("model", BUILTIN)
def test_every_price_of_ours_is_sourced_and_within_reason(model: str) -> None:
    card = BUILTIN[model]
    assert card.source.startswith("https://")
    assert len(card.date) == 10
    assert card.max_output_tokens > 0
    price = compile_card(card, layer="builtin")
    assert price.cache_read <= price.input <= price.output
