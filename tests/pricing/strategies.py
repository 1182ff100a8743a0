"""Random cards and usages."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from oneapi_mw.pricing.figures import PART_TOKENS, PER_MTOK, TEXT_TOKENS
from oneapi_mw.usage import Meter, Usage

COUNTS = st.integers(0, 2_000_000)
FIGURES = st.one_of(st.just("0"), st.decimals("0.001", "5000", places=6).map(lambda price: format(price, "f")))
ZONES = ("", "UTC", "Asia/Shanghai", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe")
TOOLS = ("web_search", "code", "image_generation", "mcp", "unheard_of")


def token_prices(*, whole: bool) -> st.SearchStrategy[dict[str, Any]]:
    optional = {kind + PER_MTOK: FIGURES for kind in (*TEXT_TOKENS[1:], *PART_TOKENS)}
    usual = {"input" + PER_MTOK: FIGURES}
    if whole:
        return st.fixed_dictionaries(usual, optional=optional)
    return st.fixed_dictionaries({}, optional={**usual, **optional})


BOUNDS = st.one_of(st.just(0), st.integers(0, 2_000_000))
TIERS = st.lists(
    st.builds(
        lambda prices, read, written: {**prices, "input_tokens_from": read, "output_tokens_from": written},
        token_prices(whole=False),
        BOUNDS,
        BOUNDS,
    ),
    max_size=3,
)
CLOCKS = st.builds(lambda hour, minute: f"{hour:02}:{minute:02}", st.integers(0, 23), st.integers(0, 59))
RANGES = st.lists(st.fixed_dictionaries({"start": CLOCKS, "end": CLOCKS}), max_size=3)
WINDOWS = st.lists(
    st.fixed_dictionaries(
        {"timezone": st.sampled_from(ZONES), "overlay": token_prices(whole=False)},
        optional={
            "ranges": RANGES,
            "days_of_week": st.lists(st.integers(0, 6), max_size=4),
            "date_from": st.dates().filter(lambda day: 2020 < day.year < 2030).map(str),
        },
    ),
    max_size=3,
)
USD = st.decimals("0", "1", places=6).map(lambda price: format(price, "f"))
TOOL_PRICES = st.dictionaries(
    st.sampled_from(TOOLS[:4]),
    USD.map(lambda price: {"usd_per_call": price}),
)
IMAGE_PRICES = st.dictionaries(
    st.sampled_from(("high", "default")),
    st.dictionaries(st.sampled_from(("1024x1024", "default")), USD, min_size=1),
    min_size=1,
)
CARDS = st.builds(
    lambda prices, tiers, windows, tools, images: {
        **prices,
        "tiers": tiers,
        "time_windows": windows,
        "tools": tools,
        **({"image": {"usd_per_image": images}} if images else {}),
    },
    token_prices(whole=True),
    TIERS,
    WINDOWS,
    TOOL_PRICES,
    st.one_of(st.none(), IMAGE_PRICES),
)
TOKENS = st.builds(
    Usage,
    COUNTS,
    COUNTS,
    cache_read=COUNTS,
    cache_write_5m=COUNTS,
    cache_write_1h=COUNTS,
    input_audio=COUNTS,
    input_image=COUNTS,
    input_video=COUNTS,
    input_document=COUNTS,
    cache_read_audio=st.one_of(st.none(), COUNTS),
    cache_read_image=st.one_of(st.none(), COUNTS),
    reasoning=st.one_of(st.none(), COUNTS),
    output_audio=COUNTS,
    output_image=COUNTS,
    output_video=COUNTS,
    hosted=st.lists(st.tuples(st.sampled_from(TOOLS), st.integers(0, 5)), max_size=2, unique_by=lambda t: t[0]).map(
        tuple
    ),
)
MADE = st.lists(
    st.builds(
        Meter,
        st.just("images"),
        st.integers(1, 3),
        st.sampled_from(("", "1024x1024", "1536x1024")),
        st.sampled_from(("", "high", "low")),
    ),
    max_size=2,
    unique_by=lambda meter: (meter.size, meter.quality),
)


def with_images(usage: Usage, made: list[Meter]) -> Usage:
    """`usage` with images that a tool has made, each by a call."""
    if not made:
        return usage
    others = [call for call in usage.hosted if call[0] != "image_generation"]
    calls = ("image_generation", sum(meter.count for meter in made))
    return replace(usage, hosted=(*others, calls), meters=tuple(made))


USAGES = st.builds(with_images, TOKENS, MADE)
INSTANTS = st.integers(1_500_000_000_000, 1_900_000_000_000)
RATIOS = st.integers(0, 100_000_000)
