"""Usage times price, exactly."""

from __future__ import annotations

import math
from decimal import Decimal, localcontext
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oneapi_mw.pricing.card import PriceCard, compile_card
from oneapi_mw.pricing.charge import charge, worst_case
from oneapi_mw.pricing.price import RATIO_SCALE, SCALE, CompiledPrice
from oneapi_mw.usage import Usage

COUNTS = st.integers(0, 10**9)
FIGURES = st.integers(0, 5_000 * SCALE)
RATIOS = st.integers(0, 100 * RATIO_SCALE)
PRICES = st.builds(
    CompiledPrice,
    card_id=st.just(""),
    layer=st.just(""),
    input=FIGURES,
    output=FIGURES,
    cache_read=FIGURES,
    cache_write_5m=FIGURES,
    cache_write_1h=FIGURES,
)
USAGES = st.builds(Usage, COUNTS, COUNTS, cache_read=COUNTS, cache_write_5m=COUNTS, cache_write_1h=COUNTS)
ONE_DOLLAR = compile_card(PriceCard(Decimal(1), Decimal(4), Decimal("0.1"), Decimal("1.25"), Decimal(2)), layer="x")


@pytest.mark.parametrize(
    ("usage", "ratio", "quota"),
    [
        (Usage(1_000_000, 0), 1, 500_000),
        (Usage(0, 1_000_000), 1, 2_000_000),
        (Usage(1_000_000, 1_000_000), 2, 5_000_000),
        (Usage(1_000_000, 0, cache_read=1_000_000), 1, 50_000),
        (Usage(1_000_000, 0, cache_read=400_000), 1, 320_000),
        (Usage(1_000_000, 0, cache_write_5m=1_000_000), 1, 625_000),
        (Usage(1_000_000, 0, cache_write_1h=1_000_000), 1, 1_000_000),
        (Usage(3, 0), 1, 2),
        (Usage(1, 0), 1, 1),
        (Usage(0, 0), 1, 1),
        (Usage(0, 0), 0, 0),
        (Usage(1_000_000, 1_000_000), 0, 0),
        # parts larger than their whole are cut: one hour first, then five minutes, then reads
        (Usage(10, 0, cache_write_1h=10**9, cache_write_5m=10**9, cache_read=10**9), 1, 10),
        (Usage(1_000_000, 0, cache_read=2_000_000), 1, 50_000),
        (Usage(1_000_000, 0, cache_read=-5, cache_write_5m=-5, cache_write_1h=-5), 1, 500_000),
    ],
)
def test_examples(usage: Usage, ratio: int, quota: int) -> None:
    assert charge(usage, ONE_DOLLAR, group_ratio=ratio * RATIO_SCALE) == quota


@pytest.mark.parametrize("bad", [(Usage(-1, 0), 1), (Usage(0, -1), 1), (Usage(0, 0), -1)])
def test_what_cannot_be(bad: tuple[Usage, int]) -> None:
    with pytest.raises(ValueError, match="negative"):
        charge(bad[0], ONE_DOLLAR, group_ratio=bad[1])


@given(USAGES, PRICES, RATIOS)
def test_it_is_the_rational_result_rounded_up_once(usage: Usage, price: CompiledPrice, ratio: int) -> None:
    write_1h = min(usage.cache_write_1h, usage.input_tokens)
    write_5m = min(usage.cache_write_5m, usage.input_tokens - write_1h)
    read = min(usage.cache_read, usage.input_tokens - write_1h - write_5m)
    parts = (
        (usage.input_tokens - write_1h - write_5m - read, price.input),
        (read, price.cache_read),
        (write_5m, price.cache_write_5m),
        (write_1h, price.cache_write_1h),
        (usage.output_tokens, price.output),
    )
    exact = sum((count * Fraction(figure, SCALE) for count, figure in parts), Fraction()) * Fraction(ratio, RATIO_SCALE)
    least = 1 if price.input and ratio else 0
    assert charge(usage, price, group_ratio=ratio) == max(math.ceil(exact), least)


@given(USAGES, PRICES, RATIOS, COUNTS, COUNTS)
def test_no_answer_of_a_size_costs_more_than_the_worst_case(
    usage: Usage, price: CompiledPrice, ratio: int, more_in: int, more_out: int
) -> None:
    held = worst_case(
        price,
        input_tokens=usage.input_tokens + more_in,
        output_tokens=usage.output_tokens + more_out,
        group_ratio=ratio,
    )
    assert charge(usage, price, group_ratio=ratio) <= held


@given(USAGES, PRICES, RATIOS, COUNTS)
def test_more_output_never_costs_less(usage: Usage, price: CompiledPrice, ratio: int, more: int) -> None:
    longer = Usage(usage.input_tokens, usage.output_tokens + more, cache_read=usage.cache_read)
    shorter = Usage(usage.input_tokens, usage.output_tokens, cache_read=usage.cache_read)
    assert charge(longer, price, group_ratio=ratio) >= charge(shorter, price, group_ratio=ratio)


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)), min_size=1, max_size=5), PRICES)
def test_splitting_saves_nothing(parts: list[tuple[int, int]], price: CompiledPrice) -> None:
    whole = charge(Usage(sum(a for a, _ in parts), sum(b for _, b in parts)), price)
    apart = sum(charge(Usage(a, b), price) for a, b in parts)
    assert whole <= apart <= whole + len(parts)


@given(st.decimals("0.001", "10000", places=11))
def test_eleven_decimals_are_exact(usd: Decimal) -> None:
    with localcontext(prec=5):  # the host may have set what it likes
        price = compile_card(PriceCard(usd), layer="x")
    assert Fraction(price.input, SCALE) == Fraction(usd) / 2


@pytest.mark.parametrize(("figure", "free"), [("input", False), ("cache_write_1h", False), (None, True)])
def test_free_is_when_nothing_costs(figure: str | None, free: bool) -> None:
    figures = {"input": 0, "output": 0, "cache_read": 0, "cache_write_5m": 0, "cache_write_1h": 0}
    if figure:
        figures[figure] = 1
    assert CompiledPrice("", "", **figures).is_free is free
