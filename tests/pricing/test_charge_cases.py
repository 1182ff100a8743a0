"""Sums worked out by hand, one for each way in which a bill or a hold could be off."""

from __future__ import annotations

from typing import Any

import pytest

from oneapi_mw.pricing.card import decode_card
from oneapi_mw.pricing.charge import charge, worst_case
from oneapi_mw.pricing.compile import compile_card
from oneapi_mw.pricing.price import RATIO_SCALE, CompiledPrice
from oneapi_mw.usage import Meter, Usage


def priced(**card: Any) -> CompiledPrice:
    return compile_card(decode_card(card), layer="x")


# 2 US dollars a million tokens are 1 quota unit a token.
SENSES = priced(
    input_usd_per_mtok=2,
    output_usd_per_mtok=8,
    cache_read_usd_per_mtok="0.5",
    input_audio_usd_per_mtok=8,
    input_image_usd_per_mtok=4,
    output_audio_usd_per_mtok=16,
    reasoning_usd_per_mtok=2,
)
CHEAP_SOUND = priced(
    input_usd_per_mtok=2, cache_read_usd_per_mtok="0.5", input_audio_usd_per_mtok=8, cache_read_audio_usd_per_mtok="0.4"
)
OUTPUT_ONLY = priced(input_usd_per_mtok=0, output_usd_per_mtok=8)
PENNY_IMAGES = priced(image={"usd_per_image": "0.000003"})  # 1.5 units each
SLOW_VIDEO = priced(video={"usd_per_second": "0.0000011"})  # 0.55 units a second
FLAT_VIDEO = priced(video={"usd_per_video": "0.000003"})


@pytest.mark.parametrize(
    ("price", "usage", "group", "quota"),
    [
        # 50 fresh, 50 read; of the sound 30 and 30, of the images 20 and 20
        (SENSES, Usage(100, 0, cache_read=50, input_audio=60, input_image=40), 1, 30 * 4 + 20 * 2 + 30 * 4 + 20 * 2),
        # nothing of the sound was read, says the provider: 50 of it are all there is beside the reads
        (SENSES, Usage(100, 0, cache_read=50, input_audio=60, cache_read_audio=0), 1, 213),  # 50 x 4 + 50 x 0.25
        # what is sound is no image, too
        (SENSES, Usage(100, 0, input_audio=100, input_image=100), 1, 400),
        (CHEAP_SOUND, Usage(100, 0, cache_read=50, input_audio=100), 1, 50 * 4 + 10),
        (SENSES, Usage(0, 100, reasoning=60), 1, 40 * 4 + 60),
        (SENSES, Usage(0, 100, output_audio=80, reasoning=60), 1, 80 * 8 + 20),
        (SENSES, Usage(0, 100, output_audio=500), 1, 800),
        # the least of one unit is asked where input has a price and the group pays
        (OUTPUT_ONLY, Usage(9, 0), 1, 0),
        (OUTPUT_ONLY, Usage(9, 0, hosted=(("odd", 1),)), 1, 0),
        (SENSES, Usage(9, 0, hosted=(("odd", 1),)), 0, 0),
        (SENSES, Usage(0, 0, hosted=(("odd", 1),)), 1, 1),
        # each image is rounded up, a video as a whole
        (PENNY_IMAGES, Usage(meters=(Meter("images", 3),)), 1, 6),
        (PENNY_IMAGES, Usage(meters=(Meter("images", 3),)), 2, 9),
        (SLOW_VIDEO, Usage(meters=(Meter("video_ms", 3_000),)), 1, 2),
        (FLAT_VIDEO, Usage(meters=(Meter("video_ms", 3_000),)), 1, 2),
        (FLAT_VIDEO, Usage(meters=(Meter("video_ms", 3_000),)), 3, 5),
        # every meter is rounded by itself, and so are tokens
        (
            priced(input_usd_per_mtok="0.3", usd_per_mchar="0.3", usd_per_kpage="0.0003"),
            Usage(1, 0, meters=(Meter("characters", 1), Meter("pages", 1))),
            1,
            3,
        ),
    ],
)
def test_bills(price: CompiledPrice, usage: Usage, group: int, quota: int) -> None:
    assert charge(usage, price, group_ratio=group * RATIO_SCALE) == quota


LADDER = priced(
    input_usd_per_mtok=2,
    output_usd_per_mtok=8,
    tiers=[
        {"input_tokens_from": 100, "input_usd_per_mtok": 4},
        {"input_tokens_from": 100, "output_tokens_from": 50, "output_usd_per_mtok": 16},
        {"input_tokens_from": 200, "input_usd_per_mtok": 1},
    ],
)
FREE_BELOW = priced(
    input_usd_per_mtok=0, output_usd_per_mtok=0, tiers=[{"input_tokens_from": 2, "input_usd_per_mtok": "0.002"}]
)


@pytest.mark.parametrize(
    ("size", "billed", "held"),
    [
        ((99, 50), 99 + 200, 99 + 200),
        ((100, 49), 200 + 49 * 4, 200 + 49 * 4),
        ((100, 50), 200 + 50 * 8, 200 + 50 * 8),
        # the last tier is cheaper: a request may turn out to be smaller, so the dearest within reach is held
        ((200, 50), 100 + 50 * 8, 400 + 50 * 8),
        ((200, 49), 100 + 49 * 4, 400 + 49 * 4),
    ],
)
def test_tiers(size: tuple[int, int], billed: int, held: int) -> None:
    assert charge(Usage(*size), LADDER) == billed
    assert worst_case(LADDER, input_tokens=size[0], output_tokens=size[1]) == held


def test_holds_of_tiny_requests() -> None:
    assert worst_case(OUTPUT_ONLY, input_tokens=9, output_tokens=0) == 0
    assert worst_case(SENSES, input_tokens=0, output_tokens=0) == 1
    assert worst_case(SENSES, input_tokens=0, output_tokens=0, group_ratio=0) == 0
    assert [worst_case(FREE_BELOW, input_tokens=n, output_tokens=0) for n in (1, 2)] == [0, 1]
    zero = priced(input_usd_per_mtok=0, tiers=[{"input_tokens_from": 0, "input_usd_per_mtok": 2}])
    assert worst_case(zero, input_tokens=0, output_tokens=0) == charge(Usage(0, 0), zero) == 1


def test_the_hold_is_at_the_dearest_token_of_each_side() -> None:
    """Sounds in and out; of a request that is known to be text, what is heard does not count, what is spoken does."""
    assert worst_case(SENSES, input_tokens=10, output_tokens=10) == 10 * 4 + 10 * 8
    assert worst_case(SENSES, input_tokens=10, output_tokens=10, text_only=True) == 10 + 10 * 8
    dear_writes = [
        priced(input_usd_per_mtok=2, output_usd_per_mtok=0, **{f"{kind}_usd_per_mtok": 6})
        for kind in ("cache_read", "cache_write_5m", "cache_write_1h")
    ]
    assert [worst_case(price, input_tokens=10, output_tokens=9) for price in dear_writes] == [30] * 3
    assert worst_case(SENSES, input_tokens=10, output_tokens=0, text_only=True, group_ratio=RATIO_SCALE // 4) == 3
