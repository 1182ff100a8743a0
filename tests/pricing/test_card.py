"""Cards as operators write them, in our words and in One API's."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oneapi_mw.pricing.card import decode_card, merge, stack
from oneapi_mw.pricing.charge import charge
from oneapi_mw.pricing.compile import canonical, card_id, check_card, compile_card
from oneapi_mw.pricing.price import SCALE
from oneapi_mw.usage import Usage
from tests.pricing.strategies import CARDS

FIVE = ("input", "output", "cache_read", "cache_write_5m", "cache_write_1h")


def usd(card: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(card.get(f"{kind}_usd_per_mtok") for kind in FIVE)


@pytest.mark.parametrize(
    ("config", "prices"),
    [
        ({}, (None, None, None, None, None)),
        ({"input_usd_per_mtok": 2.5, "output_usd_per_mtok": "10"}, ("2.5", "10", None, None, None)),
        ({"input_usd_per_mtok": 0}, ("0", None, None, None, None)),
        ({"input_usd_per_mtok": 1, "output_usd_per_mtok": 0}, ("1", "0", None, None, None)),
        ({"input_usd_per_mtok": 1, "ratio": 7}, ("1", None, None, None, None)),
        ({"ratio": 1.25}, ("2.5", "2.5", None, None, None)),
        ({"ratio": 1.25, "completion_ratio": 4}, ("2.5", "10", None, None, None)),
        ({"ratio": 0, "completion_ratio": 4}, (None, None, None, None, None)),
        ({"ratio": 1, "completion_ratio": 0}, ("2", "2", None, None, None)),
        ({"ratio": 1, "cached_input_ratio": 0.1}, ("2", "2", "0.2", None, None)),
        ({"ratio": 1, "cached_input_ratio": 0}, ("2", "2", None, None, None)),
        ({"ratio": 1, "cached_input_ratio": -1}, ("2", "2", "0", None, None)),
        ({"ratio": 1, "cache_write_5m_ratio": 1.25, "cache_write_1h_ratio": 2}, ("2", "2", None, "2.5", "4")),
    ],
)
def test_both_spellings(config: dict[str, Any], prices: tuple[Any, ...]) -> None:
    assert usd(decode_card(config)) == prices


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"ratio": -1}, "ratio"),
        ({"ratio": 1, "completion_ratio": -2}, "completion_ratio"),
        ({"ratio": True}, "ratio"),
        ({"ratio": "much"}, "ratio"),
        ({"ratio": []}, "ratio"),
        ({"ratio": "NaN"}, "ratio"),
        ({"ratio": float("inf")}, "ratio"),
        ({"ratio": "9e999999"}, "ratio"),
        ({"ratio": "1e-999999"}, "ratio"),
        ({"ratio": 1e-9}, "usd_per_mtok"),
        ({"ratio": 2.5, "completion_ratio": 1e6}, "usd_per_mtok"),
        ({"input_usd_per_mtok": -1}, "usd_per_mtok"),
        ({"input_usd_per_mtok": 1e6}, "usd_per_mtok"),
        ({"input_usd_per_mtok": 0.0000025}, "usd_per_mtok"),
        ({"inptu_usd_per_mtok": 1}, "is not a price this version knows"),
        ({"usd_per_mchar": -1}, "from 0 to"),
        ({"usd_per_kpage": 1e9}, "from 0 to"),
        ({"input_usd_per_mtok": 1, "mode": "patch"}, "replace or merge"),
        ({"image": 4}, "object"),
        ({"image": {"usd_per_image": {"hd": 3}}}, "usd_per_image"),
        ({"image": {"usd_per_image": 1, "min_images": 4, "max_images": 2}}, "max_images"),
        ({"image": {"price_per_image_usd": 1, "size_multipliers": {"a": 0}}}, "above 0"),
        ({"image": {"price_per_image_usd": 1, "size_multipliers": 3}}, "size_multipliers"),
        ({"image": {"price_per_image_usd": -1}}, "negative"),
        ({"audio": {"prompt_ratio": 16}}, "input_audio_usd_per_mtok"),
        ({"audio": {"input_usd_per_second": 1, "round_up_seconds": -1}}, "round_up_seconds"),
        ({"tools": {"web_search": {}}}, "usd_per_call"),
        ({"tools": {"web_search": {"quota_per_call": -1}}}, "quota_per_call"),
        ({"input_usd_per_mtok": 1, "tiers": {"a": 1}}, "list of objects"),
        ({"input_usd_per_mtok": 1, "tiers": [{}] * 65}, "64"),
        ({"input_usd_per_mtok": 1, "tiers": [{"input_tokens_from": -1}]}, "whole number of tokens"),
        ({"ratio": 1, "tiers": [{"ratio": 2, "input_token_threshold": 0.5}]}, "whole number of tokens"),
        ({"input_usd_per_mtok": 1, "time_windows": [{"name": "x"}]}, "overlay"),
        ({"input_usd_per_mtok": 1, "time_windows": [{"overlay": {"time_windows": [1]}}]}, "neither"),
        ({"input_usd_per_mtok": 1, "variants": [1]}, "variants must be"),
        ({"input_usd_per_mtok": 1, "variants": {"flex": {"variants": {"a": 1}}}}, "of its own"),
    ],
)
def test_what_is_no_price(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        decode_card(config)


@pytest.mark.parametrize(
    ("zone", "message"),
    [
        ({"timezone": "Mars/Olympus"}, "Asia/Shanghai"),
        ({"timezone": 3}, "text"),
        ({"ranges": [{"start": "24:00", "end": "01:00"}]}, "23:59"),
        ({"ranges": [{"start": "1:00", "end": "01:00"}]}, "23:59"),
        ({"ranges": [3]}, "18:00"),
        ({"ranges": 3}, "list"),
        ({"days_of_week": [7]}, "Sunday"),
        ({"date_from": "2026-13-01"}, "2026-08-17"),
        ({"date_from": "2026-08-17", "date_to": "2026-08-17"}, "later than date_from"),
    ],
)
def test_windows_are_checked_when_they_are_saved(zone: dict[str, Any], message: str) -> None:
    card = decode_card({"ratio": 1, "time_windows": [{**zone, "overlay": {"ratio": 2}}]})
    with pytest.raises(ValueError, match=message):
        check_card(card)
    price = compile_card(card, layer="x")  # and left out when they slipped in all the same
    assert price.windows == ()
    assert price.input == SCALE


def test_every_block_of_one_api() -> None:
    card = decode_card(
        {
            "ratio": 1.25,
            "completion_ratio": 4,
            "max_tokens": 100,
            "audio": {
                "prompt_ratio": 16,
                "completion_ratio": 2,
                "prompt_tokens_per_second": 10,
                "completion_tokens_per_second": 20,
                "usd_per_second": 0.0001,
            },
            "image": {
                "price_per_image_usd": 0.011,
                "default_size": "1024x1024",
                "default_quality": "high",
                "min_images": 1,
                "max_images": 4,
                "prompt_token_limit": 400,
                "size_multipliers": {"1024x1024": 1, "1536x1024": 1.5},
                "quality_multipliers": {"low": 1, "high": 2},
                "quality_size_multipliers": {"high": {"1024x1024": 15.181818181818182}},
            },
            "video": {"per_second_usd": 0.1, "base_resolution": "720x1280", "resolution_multipliers": {"4k": 3}},
            "embedding": {"image_token_ratio": 2, "usd_per_video_frame": 0.5, "usd_per_image": 0},
            "per_call": {"usd_per_thousand_calls": 2},
        }
    )
    assert card == {
        "input_usd_per_mtok": "2.5",
        "output_usd_per_mtok": "10",
        "input_audio_usd_per_mtok": "40",
        "input_image_usd_per_mtok": "4",
        "output_audio_usd_per_mtok": "80",
        "usd_per_krequest": "2",
        "max_output_tokens": 100,
        "audio": {
            "input_usd_per_second": "0.0001",
            "input_tokens_per_second": "10",
            "output_tokens_per_second": "20",
        },
        "image": {
            "usd_per_image": {
                "low": {"1024x1024": "0.011", "1536x1024": "0.0165"},
                "high": {"1024x1024": "0.167", "1536x1024": "0.033"},
            },
            "default_size": "1024x1024",
            "default_quality": "high",
            "min_images": "1",
            "max_images": "4",
            "prompt_token_limit": "400",
        },
        "video": {"usd_per_second": {"4k": "0.3", "1280x720": "0.1"}, "default_resolution": "1280x720"},
        "embedding": {"usd_per_video_frame": "0.5"},
    }


def test_one_apis_tiers_and_windows_are_multiplied_out() -> None:
    card = decode_card(
        {
            "ratio": 1,
            "completion_ratio": 3,
            "tiers": [
                {"input_token_threshold": 300, "completion_ratio": 5},
                {"input_token_threshold": 200, "ratio": 2, "cached_input_ratio": -1},
            ],
            "time_windows": [
                {"name": "night", "overlay": {"ratio": 0.5, "completion_ratio": 2}},
                {"name": "night", "overlay": {"cached_input_ratio": 0.25}},
            ],
        }
    )
    assert [(tier["input_tokens_from"], usd(tier)) for tier in card["tiers"]] == [
        (200, ("4", "12", "0", None, None)),
        (300, ("4", "20", None, None, None)),  # the ratio is the one reached below
    ]
    assert [window["name"] for window in card["time_windows"]] == ["night", "night 2"]
    assert usd(card["time_windows"][0]["overlay"]) == ("1", "2", None, None, None)
    assert usd(card["time_windows"][1]["overlay"]) == (None, None, "0.5", None, None)


@given(CARDS)
def test_what_was_read_reads_the_same_again(card: dict[str, Any]) -> None:
    once = decode_card(card, bounded=False)
    assert decode_card(once, bounded=False) == once
    assert compile_card(once, layer="x").card == canonical(once)


@given(st.floats(0.001, 4000), st.floats(0.01, 100))
def test_ratios_are_half_the_price(ratio: float, completion: float) -> None:
    card = decode_card({"ratio": ratio, "completion_ratio": completion}, bounded=False)
    price = compile_card(card, layer="x")
    assert abs(Fraction(price.input, SCALE) - Fraction(str(ratio))) <= Fraction(1, 10**12)
    assert abs(Fraction(price.output, SCALE) - Fraction(str(ratio)) * Fraction(str(completion))) <= Fraction(1, 10**12)


@pytest.mark.parametrize(("value", "limit"), [(100, 100), (0, 0), (-5, 0), (True, 0), ("100", 0), (1.5, 0), (None, 0)])
def test_the_longest_answer(value: Any, limit: int) -> None:
    assert compile_card(decode_card({"ratio": 1, "max_tokens": value}), layer="x").max_output == limit


def test_what_a_card_leaves_out_is_the_input_price() -> None:
    price = compile_card({"input_usd_per_mtok": "2"}, layer="channel")
    assert {price.input, price.output, price.cache_read, price.cache_write_5m, price.cache_write_1h} == {SCALE}
    for card in (
        {},
        {"output_usd_per_mtok": "2"},
        {"max_output_tokens": 5},
        {"tools": {"code": {"quota_per_call": 1}}},
    ):
        with pytest.raises(ValueError, match="input price"):
            compile_card(card, layer="channel")
    with pytest.raises(ValueError, match="merge"):
        check_card({"output_usd_per_mtok": "2"})


def test_a_card_is_known_by_its_figures() -> None:
    one = card_id({"input_usd_per_mtok": "1", "source": "a"})
    same = card_id({"source": "b", "date": "2026-01-01", "input_usd_per_mtok": "1"})
    other = card_id({"input_usd_per_mtok": "2", "source": "a"})
    assert one == same != other
    assert len(one) == 16


LOWER = {
    "input_usd_per_mtok": "2",
    "cache_read_usd_per_mtok": "1",
    "tiers": [{"input_tokens_from": 5, "output_tokens_from": 0, "input_usd_per_mtok": "4"}],
    "image": {"usd_per_image": "0.1", "default_size": "a"},
    "tools": {"web_search": {"usd_per_call": "1"}, "code": {"usd_per_call": "2"}},
    "max_output_tokens": 9,
}


def test_an_entry_replaces_all_prices_of_tokens_and_leaves_the_rest() -> None:
    entry = decode_card({"input_usd_per_mtok": 3, "tools": {"code": 5}, "image": {"usd_per_image": 7}})
    assert stack(entry, LOWER) == {
        "input_usd_per_mtok": "3",
        "image": {"usd_per_image": "7"},
        "tools": {"web_search": {"usd_per_call": "1"}, "code": {"usd_per_call": "5"}},
        "max_output_tokens": 9,
    }
    assert stack(decode_card({"usd_per_kpage": 1}), LOWER) == {**LOWER, "usd_per_kpage": "1"}
    assert stack(entry, None) == entry


def test_an_entry_that_merges_changes_single_figures() -> None:
    merged = stack(decode_card({"mode": "merge", "output_usd_per_mtok": 0, "image": {"default_size": "b"}}), LOWER)
    assert merged == {
        **LOWER,
        "output_usd_per_mtok": "0",
        "mode": "merge",
        "image": {"usd_per_image": "0.1", "default_size": "b"},
    }
    assert charge(Usage(0, 10**6), compile_card(merged, layer="x")) == 1  # output is free; the least is not
    assert merge({"a": 1}, {"a": {"b": 2}}) == {"a": {"b": 2}}


def test_tiers_with_bounds_on_both_sides() -> None:
    card = decode_card(
        {
            "input_usd_per_mtok": 2,
            "output_usd_per_mtok": 2,
            "tiers": [
                {"output_tokens_from": 10, "output_usd_per_mtok": 6},
                {"input_tokens_from": 10, "input_usd_per_mtok": 4},
            ],
        }
    )
    price = compile_card(card, layer="x")
    cases = {(9, 9): 18, (9, 10): 9 + 30, (10, 9): 20 + 9, (10, 10): 20 + 30}
    assert {sizes: charge(Usage(*sizes), price) for sizes in cases} == cases


def test_a_card_in_our_words_may_have_overlays_in_ratios() -> None:
    overlay = {"ratio": 3, "completion_ratio": 2, "cached_input_ratio": -1}
    card = decode_card(
        {"input_usd_per_mtok": 2, "time_windows": [{"overlay": overlay}], "variants": {"flex": {"ratio": 0.5}}}
    )
    assert usd(card["time_windows"][0]["overlay"]) == ("6", "12", "0", None, None)
    assert usd(card["variants"]["flex"]) == ("1", "1", None, None, None)


def test_the_cards_in_the_manual_are_cards() -> None:
    manual = (Path(__file__).parents[2] / "docs" / "prices.md").read_text()
    cards = json.loads(manual.split("```json")[1].split("```")[0])
    for config in cards.values():
        card = decode_card(config)
        check_card(card)
        assert {key for key in config if key not in card} == set()


def test_services_have_their_own_figures_and_ladder() -> None:
    card = decode_card(
        {
            "input_usd_per_mtok": 2,
            "output_usd_per_mtok": 8,
            "tiers": [{"input_tokens_from": 10, "input_usd_per_mtok": 4}],
            "time_windows": [{"name": "later", "date_from": "2030-01-01", "overlay": {"output_usd_per_mtok": 10}}],
            "variants": {"priority": {"input_usd_per_mtok": 6}, "flex": {"cache_read_usd_per_mtok": 1}},
        }
    )
    price = compile_card(card, layer="x")
    priority = price.served("priority")
    assert (priority.variant, charge(Usage(10), priority), charge(Usage(0, 10), priority)) == ("priority", 30, 40)
    assert price.served("unheard") is price
    later = priority.at(2_000_000_000_000)
    assert (later.window, charge(Usage(0, 10), later), charge(Usage(10), later)) == ("later", 50, 30)
    assert price.at(1_700_000_000_000) is price
