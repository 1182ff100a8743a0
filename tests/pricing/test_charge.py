"""Usage times price, exactly."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oneapi_mw.pricing.card import decode_card
from oneapi_mw.pricing.charge import bill, charge, worst_case
from oneapi_mw.pricing.compile import compile_card
from oneapi_mw.pricing.price import RATIO_SCALE, SCALE, CompiledPrice
from oneapi_mw.usage import Meter, Usage
from tests.pricing import rational
from tests.pricing.strategies import CARDS, COUNTS, INSTANTS, RATIOS, TOOLS, USAGES


def priced(**card: Any) -> CompiledPrice:
    return compile_card(decode_card(card), layer="x")


ONE_DOLLAR = priced(
    input_usd_per_mtok=1,
    output_usd_per_mtok=4,
    cache_read_usd_per_mtok="0.1",
    cache_write_5m_usd_per_mtok="1.25",
    cache_write_1h_usd_per_mtok=2,
)


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


@given(CARDS, USAGES, RATIOS, INSTANTS)
def test_i_08_card_usage_instant_and_group_make_one_integer(
    card: dict[str, Any], usage: Usage, ratio: int, instant: int
) -> None:
    decoded = decode_card(card, bounded=False)
    price = compile_card(decoded, layer="x").at(instant)
    moment = datetime.fromtimestamp(instant // 1000, UTC)
    exact = rational.quota(decoded, usage, group=Fraction(ratio, RATIO_SCALE), instant=moment)
    assert charge(usage, price, group_ratio=ratio) == exact


@given(CARDS, USAGES, RATIOS, INSTANTS, COUNTS, COUNTS)
def test_i_19_the_hold_covers_what_is_within_its_limits(
    card: dict[str, Any], usage: Usage, ratio: int, instant: int, more_in: int, more_out: int
) -> None:
    price = compile_card(decode_card(card, bounded=False), layer="x").at(instant)
    held = worst_case(
        price,
        input_tokens=usage.input_tokens + more_in,
        output_tokens=usage.output_tokens + more_out,
        group_ratio=ratio,
        tools=[(kind, 6) for kind in TOOLS],
    )
    assert charge(usage, price, group_ratio=ratio) <= held
    text = replace(usage, input_audio=0, input_image=0, input_video=0, input_document=0)
    assert charge(text, price, group_ratio=ratio) <= worst_case(
        price,
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        group_ratio=ratio,
        tools=usage.hosted,
        text_only=True,
    )


@given(USAGES, st.integers(0, 10**6))
def test_more_output_never_costs_less(usage: Usage, more: int) -> None:
    longer = replace(usage, output_tokens=usage.output_tokens + more)
    assert charge(longer, ONE_DOLLAR) >= charge(usage, ONE_DOLLAR)


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)), min_size=1, max_size=5))
def test_splitting_saves_nothing(parts: list[tuple[int, int]]) -> None:
    whole = charge(Usage(sum(a for a, _ in parts), sum(b for _, b in parts)), ONE_DOLLAR)
    apart = sum(charge(Usage(a, b), ONE_DOLLAR) for a, b in parts)
    assert whole <= apart <= whole + len(parts)


# Meters.

IMAGES = priced(
    image={
        "usd_per_image": {"standard": {"1024x1024": "0.04"}, "hd": {"1024x1024": "0.08", "default": "0.12"}},
        "default_size": "1024x1024",
        "default_quality": "standard",
    }
)
SOUND = priced(audio={"input_usd_per_second": "0.0001", "round_up_seconds": 1, "minimum_seconds": 10})
VIDEO = priced(video={"usd_per_second": {"1280x720": "0.1", "4k": "0.3"}, "default_resolution": "720x1280"})


@pytest.mark.parametrize(
    ("price", "meter", "quota", "flags"),
    [
        (IMAGES, Meter("images", 2), 40_000, ()),
        (IMAGES, Meter("images", 1, "1024X1024", "HD"), 40_000, ()),
        (IMAGES, Meter("images", 1, "1792x1024", "hd"), 60_000, ()),
        (IMAGES, Meter("images", 1, "1792x1024", "standard"), 60_000, ("unlisted:standard/1792x1024",)),
        (IMAGES, Meter("images", 0), 0, ()),
        (SOUND, Meter("audio_input_ms", 61_300), 3_100, ()),
        (SOUND, Meter("audio_input_ms", 400), 500, ()),
        (VIDEO, Meter("video_ms", 8_000), 400_000, ()),
        (VIDEO, Meter("video_ms", 8_000, "1280x720"), 400_000, ()),
        (VIDEO, Meter("video_ms", 1_000, "4K"), 150_000, ()),
        (VIDEO, Meter("video_ms", 1_000, "8k"), 150_000, ("unlisted:8k",)),
        (priced(video={"usd_per_video": "0.5"}), Meter("video_ms", 9_000), 250_000, ()),
        (priced(usd_per_mchar=15), Meter("characters", 1234), 9_255, ()),
        (priced(usd_per_kpage=1), Meter("pages", 3), 1_500, ()),
        (priced(usd_per_krequest=2), Meter("requests", 1), 1_000, ()),
        (priced(usd_per_krequest="0.0001"), Meter("requests", 1), 1, ()),
        (priced(embedding={"usd_per_video_frame": "0.001"}), Meter("video_frames", 2), 1_000, ()),
        (ONE_DOLLAR, Meter("pages", 3), 1, ("unpriced_meter:pages", "minimum")),
        (SOUND, Meter("pages", 3), 0, ("unpriced_meter:pages",)),
    ],
)
def test_meters(price: CompiledPrice, meter: Meter, quota: int, flags: tuple[str, ...]) -> None:
    made = bill(Usage(meters=(meter,)), price)
    assert (made.quota, made.flags) == (quota, flags)
    if not any(flag.startswith("unlisted") for flag in flags):
        assert worst_case(price, input_tokens=0, output_tokens=0, meters=(meter,)) == quota


def test_what_is_counted_in_tokens_is_not_counted_again() -> None:
    price = priced(input_usd_per_mtok=5, output_image_usd_per_mtok=40, image={"usd_per_image": "0.167"})
    images = (Meter("images", 1),)
    assert charge(Usage(60, 4160, output_image=4160, meters=images), price) == 150 + 83_200
    assert charge(Usage(meters=images), price) == 83_500
    heard = priced(input_usd_per_mtok=2, audio={"input_usd_per_second": "0.001"})
    assert charge(Usage(1_000_000, meters=(Meter("audio_input_ms", 5_000),)), heard) == 1_000_000 + 2_500
    assert bill(Usage(1_000_000, meters=(Meter("audio_input_ms", 5_000),)), ONE_DOLLAR).flags == ()
    assert bill(Usage(meters=(Meter("audio_input_ms", 5_000),)), ONE_DOLLAR).flags[0] == "unpriced_meter:audio_input_ms"
    spoken = priced(input_usd_per_mtok=2, input_audio_usd_per_mtok=4, audio={"input_usd_per_second": "0.001"})
    assert charge(Usage(1_000_000, input_audio=10**6, meters=(Meter("audio_input_ms", 5_000),)), spoken) == 2_000_000


def test_tools() -> None:
    price = priced(input_usd_per_mtok=2, tools={"web_search": "0.01", "code": {"quota_per_call": 7}, "maps": 0})
    assert charge(Usage(10, hosted=(("web_search", 2), ("code", 3), ("maps", 9))), price) == 10 + 10_000 + 21
    made = bill(Usage(10, hosted=(("shell", 1),)), price)
    assert (made.quota, made.flags) == (10, ("unpriced_tool:shell",))
    assert charge(Usage(10, hosted=(("web_search", 1),)), price, group_ratio=500_000) == 5 + 5_000
    grouped = priced(input_usd_per_mtok=2, tools={"web_search": "0.01"}, tools_use_group_ratio=True)
    assert charge(Usage(10, hosted=(("web_search", 1),)), grouped, group_ratio=500_000) == 5 + 2_500


def test_a_tool_that_ran_against_policy_is_charged_and_flagged() -> None:
    price = priced(input_usd_per_mtok=2, tools={"web_search": "0.01"}, allowed_tools=["code_interpreter"])
    made = bill(Usage(0, hosted=(("web_search", 1),)), price)
    assert (made.quota, made.flags) == (5_000, ("forbidden_tool:web_search",))


MADE = Usage(10, hosted=(("image_generation", 3),), meters=(Meter("images", 2, "1024x1024", "hd"), Meter("images", 1)))


@pytest.mark.parametrize(
    ("card", "usage", "quota", "flags"),
    [
        ({"tools": {"image_generation": "0.02"}}, MADE, 30_000, ()),
        ({}, MADE, 0, ("unpriced_tool:image_generation",)),
        ({"image": {"usd_per_image": {"default": {"default": "0.04"}}}}, MADE, 60_000, ()),
        (
            {"image": {"usd_per_image": {"hd": {"1024x1024": "0.1"}, "low": {"1024x1024": "0.01"}}}},
            MADE,
            150_000,
            ("unlisted:default/default",),
        ),
        (
            {"image": {"usd_per_image": {"default": {"default": "0.04"}}}, "tools": {"image_generation": 1}},
            MADE,
            60_000,
            (),
        ),
        (
            {"image": {"usd_per_image": {"default": {"default": "0.04"}}}, "tools": {"image_generation": 1}},
            Usage(10, hosted=(("image_generation", 2),)),
            1_000_000,
            (),
        ),
        ({"allowed_tools": ["code"]}, MADE, 0, ("forbidden_tool:image_generation", "unpriced_tool:image_generation")),
        (
            {"allowed_tools": ["code"], "image": {"usd_per_image": {"default": {"default": "0.04"}}}},
            MADE,
            60_000,
            ("forbidden_tool:image_generation",),
        ),
    ],
)
def test_images_that_a_tool_has_made_are_charged_once(
    card: dict[str, Any], usage: Usage, quota: int, flags: tuple[str, ...]
) -> None:
    price = priced(input_usd_per_mtok=2, **card)
    made = bill(usage, price)
    assert (made.quota, made.media + made.tools, made.flags) == (10 + quota, quota, flags)
    assert worst_case(price, input_tokens=10, output_tokens=0, tools=[("image_generation", 3)]) >= made.quota


@pytest.mark.parametrize("kind", ["mcp", "tool_search", "computer", "bash"])
def test_what_costs_nothing_beside_tokens_is_charged_where_it_is_priced(kind: str) -> None:
    usage = Usage(10, hosted=((kind, 2),))
    assert bill(usage, priced(input_usd_per_mtok=2))[:1] + bill(usage, priced(input_usd_per_mtok=2))[5:] == (10, ())
    assert charge(usage, priced(input_usd_per_mtok=2, tools={kind: {"quota_per_call": 7}})) == 24
    client_runs_it = kind in ("computer", "bash")
    strict = bill(usage, priced(input_usd_per_mtok=2, allowed_tools=["code"]))
    assert strict.flags == (() if client_runs_it else (f"forbidden_tool:{kind}",))


def test_a_card_may_ask_for_more_than_one_unit() -> None:
    price = priced(input_usd_per_mtok=2, minimum_usd="0.001")
    assert bill(Usage(1, 1), price) == (500, 500, 0, 0, 0, ("minimum",))
    assert charge(Usage(1000), price) == 1000
    assert charge(Usage(1, 1), price, group_ratio=100_000) == 50
    assert worst_case(price, input_tokens=1, output_tokens=1) == 500


def test_a_free_group_pays_nothing_for_anything() -> None:
    usage = Usage(9, 9, input_image=5, output_image=5, meters=(Meter("images", 3),))
    price = priced(
        input_usd_per_mtok=5, input_image_usd_per_mtok=9, output_image_usd_per_mtok=9, image={"usd_per_image": 1}
    )
    assert charge(usage, price, group_ratio=0) == 0


@given(st.decimals("0.001", "10000", places=11))
def test_eleven_decimals_are_exact(usd: Any) -> None:
    price = priced(input_usd_per_mtok=usd)
    assert Fraction(price.input, SCALE) == Fraction(usd) / 2
