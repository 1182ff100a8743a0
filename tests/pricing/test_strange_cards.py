"""What people may write into a card: it has a price, or it is refused with a word on what is wrong; nothing else."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oneapi_mw.pricing import litellm
from oneapi_mw.pricing.book import decode_overrides
from oneapi_mw.pricing.card import decode_card, has_prices
from oneapi_mw.pricing.charge import bill, worst_case
from oneapi_mw.pricing.compile import compile_card
from oneapi_mw.usage import Meter, Usage

WORDS = (
    "input_usd_per_mtok", "output_usd_per_mtok", "cache_read_usd_per_mtok", "ratio", "completion_ratio",
    "cached_input_ratio", "tiers", "time_windows", "variants", "image", "audio", "video", "embedding", "tools",
    "per_call", "max_tokens", "mode", "minimum_usd", "allowed_tools", "usd_per_image", "usd_per_second", "prompt_ratio",
    "price_per_image_usd", "size_multipliers", "per_second_usd", "resolution_multipliers", "overlay", "ranges", "start",
    "end", "timezone", "days_of_week", "date_from", "input_token_threshold", "input_tokens_from", "usd_per_call",
    "quota_per_call", "usd_per_thousand_calls", "text_token_ratio", "input_usd_per_second", "round_up_seconds",
)  # fmt: skip
THEIRS = (
    "mode", "input_cost_per_token", "output_cost_per_token", "cache_read_input_token_cost", "tiered_pricing", "range",
    "input_cost_per_token_above_200k_tokens", "input_cost_per_token_priority", "search_context_cost_per_query",
    "search_context_size_medium", "max_output_tokens", "input_cost_per_second", "output_cost_per_second_4k",
    "output_cost_per_image", "input_cost_per_image", "ocr_cost_per_page", "input_cost_per_query",
)  # fmt: skip
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**63), st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["", "x", "1", "-0", "1e5", "NaN", "12:00", "2026-01-01", "merge", "1280x720", "rerank"]),
)  # fmt: skip


def values(words: tuple[str, ...]) -> st.SearchStrategy[Any]:
    return st.recursive(
        LEAVES,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(words), inner, max_size=4),
        max_leaves=12,
    )


CARDS = st.dictionaries(st.sampled_from(WORDS), values(WORDS), max_size=5)
USAGE = Usage(10, 10, meters=(Meter("images", 2), Meter("video_ms", 3)), hosted=(("web_search", 1),))


@given(CARDS)
def test_a_card_has_a_price_or_is_refused(given: dict[str, Any]) -> None:
    try:
        card = decode_card(given)
        price = compile_card(card, layer="x") if has_prices(card) else None
    except ValueError:
        return
    if price is not None:
        assert bill(USAGE, price).quota >= 0
        assert worst_case(price, input_tokens=10, output_tokens=10, meters=USAGE.meters, tools=USAGE.hosted) >= 0


@given(st.dictionaries(st.sampled_from(["models", "providers", "default", "other"]), values((*WORDS, "a"))))
def test_overrides_are_taken_or_refused(given: dict[str, Any]) -> None:
    with suppress(ValueError):
        decode_overrides(json.dumps(given))


@given(st.dictionaries(st.sampled_from(THEIRS), values(THEIRS), max_size=6), st.sampled_from(["a", "1-x-1/a"]))
def test_rows_of_a_cost_map_are_cards_or_refused(row: dict[str, Any], name: str) -> None:
    try:
        cards = litellm.cards({name: {**row, "litellm_provider": "x"}})
        for card in cards.values():
            decode_card(card)
    except ValueError:
        return


@pytest.mark.parametrize("key", ["tiers", "time_windows"])
@pytest.mark.parametrize("price", [{"ratio": 1}, {"input_usd_per_mtok": 1}, {}])
@pytest.mark.parametrize("value", [3, "x", {"a": 1}, [3], True])
def test_lists_that_are_none(key: str, price: dict[str, Any], value: Any) -> None:
    with pytest.raises(ValueError, match="list of objects"):
        decode_card({**price, key: value})
