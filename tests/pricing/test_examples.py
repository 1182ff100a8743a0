"""The worked examples of prices: what each is to cost, to the unit."""

from __future__ import annotations

from datetime import datetime
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from oneapi_mw.pricing.book import PriceBook
from oneapi_mw.pricing.card import decode_card
from oneapi_mw.pricing.charge import charge, worst_case
from oneapi_mw.pricing.compile import compile_card
from oneapi_mw.pricing.shipped import shipped_table
from oneapi_mw.usage import Meter, Usage
from oneapi_mw.wire.anthropic_messages import FORMAT as MESSAGES
from oneapi_mw.wire.openai_chat import FORMAT as CHAT
from oneapi_mw.wire.openai_responses import FORMAT as RESPONSES


def tokens(usd_in: Any, usd_out: Any, cached: Any = None, **more: Any) -> dict[str, Any]:
    card = {"input_usd_per_mtok": usd_in, "output_usd_per_mtok": usd_out, **more}
    return card if cached is None else {**card, "cache_read_usd_per_mtok": cached}


GPT_4O, MINI, GPT_5 = tokens("2.5", 10, "1.25"), tokens("0.15", "0.60", "0.075"), tokens("1.25", 10)
CLAUDE = tokens(3, 15, "0.30", cache_write_5m_usd_per_mtok="3.75", cache_write_1h_usd_per_mtok=6)
GEMINI = tokens("1.25", 10, "0.125", tiers=[{"input_tokens_from": 200_001, **tokens("2.5", 15, "0.25")}])
AUDIO = tokens("2.5", 10, input_audio_usd_per_mtok=40, output_audio_usd_per_mtok=80)
DALL_E = {
    "image": {
        "price_per_image_usd": 0.04,
        "default_size": "1024x1024",
        "default_quality": "standard",
        "quality_size_multipliers": {
            "standard": {"1024x1024": 1, "1024x1792": 2},
            "hd": {"1024x1024": 2, "1024x1792": 3},
        },
    }
}
GPT_IMAGE = {
    **tokens(5, 40, "1.25", input_image_usd_per_mtok=10, output_image_usd_per_mtok=40),
    "image": {"usd_per_image": {"high": {"1024x1024": "0.167"}, "low": {"1024x1024": "0.011"}}},
}
OFF_PEAK = [{"start": "18:00", "end": "09:00"}, {"start": "12:00", "end": "14:00"}]
DEEPSEEK = tokens(
    "0.44",
    "1.32",
    time_windows=[{"timezone": "Asia/Shanghai", "ranges": OFF_PEAK, "overlay": tokens("0.22", "0.66")}],
)
CLAUDE_USAGE = Usage(12_000, 700, cache_read=9_000, cache_write_5m=2_000, cache_write_1h=500)
BEFORE_NINE = int(datetime(2026, 8, 18, 8, 59, 59, tzinfo=ZoneInfo("Asia/Shanghai")).timestamp() * 1000)

EXAMPLES: list[tuple[str, dict[str, Any], Usage, str, int]] = [
    ("E-1", GPT_4O, Usage(1000, 500), "1", 3_750),
    ("E-2", MINI, Usage(7, 3), "1", 2),
    ("E-3", MINI, Usage(1, 0), "1", 1),
    ("E-4", GPT_4O, Usage(10_000, 300, cache_read=8_000), "1", 9_000),
    ("E-5", CLAUDE, CLAUDE_USAGE, "1", 12_600),
    ("E-6a", GEMINI, Usage(200_000, 1_000), "1", 130_000),
    ("E-6b", GEMINI, Usage(200_001, 1_000), "1", 257_502),
    ("E-6c", GEMINI, Usage(250_000, 2_000, cache_read=200_000), "1", 102_500),
    ("E-8a", GPT_4O, Usage(1000, 500), "0.8", 3_000),
    ("E-8b", MINI, Usage(1234, 567), "1.5", 394),
    ("E-8c", GPT_4O, Usage(1000, 500), "0", 0),
    ("E-9", GPT_5, Usage(1000, 2000, reasoning=1536), "1", 10_625),
    ("E-11", AUDIO, Usage(500, 450, input_audio=300, output_audio=400), "1", 22_500),
    ("E-12", {**GPT_4O, "tools": {"web_search": 0.01}}, Usage(3000, 400, hosted=(("web_search", 2),)), "1", 15_750),
    ("E-13a", DALL_E, Usage(meters=(Meter("images", 1, "1024x1792", "hd"),)), "1", 60_000),
    ("E-13b", DALL_E, Usage(meters=(Meter("images", 2),)), "0.5", 20_000),
    ("E-14", GPT_IMAGE, Usage(60, 4160, output_image=4160, meters=(Meter("images", 1),)), "1", 83_350),
    ("E-15", tokens("0.02", 0), Usage(8191), "1", 82),
    ("E-16", {"usd_per_ksearch": 2}, Usage(meters=(Meter("searches", 1),)), "0.8", 800),
    ("E-17a", {"usd_per_mchar": 15}, Usage(meters=(Meter("characters", 1234),)), "1", 9_255),
    ("E-17b", {"usd_per_mchar": 15}, Usage(meters=(Meter("characters", 10),)), "1", 75),
    (
        "E-18",
        {"audio": {"input_usd_per_second": 0.0001, "round_up_seconds": 1}},
        Usage(meters=(Meter("audio_input_ms", 61_300),)),
        "1",
        3_100,
    ),
    ("E-19", {"video": {"usd_per_second": 0.1}}, Usage(meters=(Meter("video_ms", 8_000),)), "1", 400_000),
    ("E-20", DEEPSEEK, Usage(100_000, 20_000), "1", 17_600),
    ("E-22", CLAUDE, Usage(3_810, 355), "0.8", 6_702),
]


@pytest.mark.parametrize(
    ("card", "usage", "group", "quota"), [row[1:] for row in EXAMPLES], ids=[row[0] for row in EXAMPLES]
)
def test_example(card: dict[str, Any], usage: Usage, group: str, quota: int) -> None:
    price = compile_card(decode_card(card), layer="x").at(BEFORE_NINE)
    assert charge(usage, price, group_ratio=int(Fraction(group) * 10**6)) == quota


def test_the_peak_is_dearer_and_the_start_decides() -> None:
    price = compile_card(decode_card(DEEPSEEK), layer="x")
    assert charge(Usage(100_000, 20_000), price.at(BEFORE_NINE + 1_000)) == 35_200


def test_e_7_the_wire_decides_whether_cached_tokens_are_within() -> None:
    """The same answer in two formats, of which one counts cached tokens outside of the prompt."""
    claude = MESSAGES.read_usage(
        {
            "usage": {
                "input_tokens": 500,
                "output_tokens": 700,
                "cache_read_input_tokens": 9_000,
                "cache_creation_input_tokens": 2_500,
                "cache_creation": {"ephemeral_5m_input_tokens": 2_000, "ephemeral_1h_input_tokens": 500},
            }
        }
    )
    chat = CHAT.read_usage(
        {
            "usage": {
                "prompt_tokens": 12_000,
                "completion_tokens": 700,
                "total_tokens": 12_700,
                "prompt_tokens_details": {"cached_tokens": 9_000},
            }
        }
    )
    price = compile_card(decode_card(CLAUDE), layer="x")
    assert claude is not None
    assert chat is not None
    assert charge(claude, price) == 12_600
    assert (chat.input_tokens, chat.cache_read) == (12_000, 9_000)  # writes are not told there
    assert charge(chat, price) == 4_500 + 1_350 + 5_250


LASTING = {"ephemeral_5m_input_tokens": 2_000, "ephemeral_1h_input_tokens": 500}


@pytest.mark.parametrize(
    ("told", "quota"),
    [
        ({"cache_write_tokens_details": {"ttl_30m_tokens": 2_000, "ttl_12h_tokens": 500}}, 12_600),
        ({"cache_write_tokens": 2_500}, 12_038),  # for how long is not told: at the price of the short term
    ],
)
def test_e_7_writes_that_are_told_are_charged_by_how_long_they_last(told: dict[str, Any], quota: int) -> None:
    price, parts = compile_card(decode_card(CLAUDE), layer="x"), {"cached_tokens": 9_000, **told}
    usage = {"input_tokens": 12_000, "output_tokens": 700, "total_tokens": 12_700, "input_tokens_details": parts}
    inclusive = RESPONSES.read_usage({"usage": usage})
    assert inclusive is not None
    assert charge(inclusive, price) == quota


@pytest.mark.parametrize(
    ("told", "quota"),
    [
        ({"cache_write_tokens": 2_500}, 12_038),
        ({"cache_creation_tokens": 2_500}, 12_038),
        ({"cache_write_tokens": 2_500, "cache_creation_token_details": LASTING}, 12_600),
        ({"cache_creation_tokens": 2_500, "cache_creation_token_details": LASTING}, 12_600),
        ({"cache_write_tokens": 0, "cache_creation_token_details": LASTING}, 11_100),
        ({"cache_write_tokens": 2_500, "cache_creation_token_details": {"ephemeral_1h_input_tokens": "500"}}, 12_038),
        ({"cache_write_tokens": 2_500, "cache_creation_token_details": None}, 12_038),
    ],
)
def test_e_7_writes_in_chat_as_gateways_in_front_of_claude_tell_them(told: dict[str, Any], quota: int) -> None:
    parts = {"cached_tokens": 9_000, **told}
    usage = {"prompt_tokens": 12_000, "completion_tokens": 700, "prompt_tokens_details": parts}
    chat = CHAT.read_usage({"usage": usage})
    assert chat is not None
    assert charge(chat, compile_card(decode_card(CLAUDE), layer="x")) == quota


def test_e_10_nobody_is_billed_by_a_guess() -> None:
    assert PriceBook(shipped_table()).price("nobody-knows-this", provider="openai") is None
    reference = PriceBook(shipped_table(), policy="reference").price("nobody-knows-this", provider="openai")
    assert reference is not None
    assert charge(Usage(1000, 1000), reference) == 2_500


def test_e_14_the_hold_is_by_the_image() -> None:
    price = compile_card(decode_card(GPT_IMAGE), layer="x")
    image = Meter("images", 1, "1024x1024", "high")
    assert worst_case(price, input_tokens=0, output_tokens=0, meters=(image,)) == 83_500


def test_e_21_ours_holds_what_the_prompt_and_the_limit_cost() -> None:
    price = compile_card(decode_card(GPT_4O), layer="x")
    assert worst_case(price, input_tokens=1500, output_tokens=2000) == 11_875


@pytest.mark.parametrize(
    ("model", "provider", "usage", "quota"),
    [
        ("gpt-4o", "openai", Usage(1000, 500), 3_750),
        ("claude-sonnet-4-5", "anthropic", CLAUDE_USAGE, 12_600),
        ("gemini-2.5-pro", "gemini", Usage(200_001, 1_000), 257_502),
        ("gpt-4o-audio-preview", "openai", Usage(500, 450, input_audio=300, output_audio=400), 22_500),
        ("gpt-4o", "openai", Usage(3000, 400, hosted=(("web_search", 2),)), 15_750),
        ("dall-e-3", "openai", Usage(meters=(Meter("images", 1, "1024x1792", "hd"),)), 60_000),
        ("gpt-image-1", "openai", Usage(60, 4160, output_image=4160, meters=(Meter("images", 1),)), 83_350),
        ("text-embedding-3-small", "openai", Usage(8191), 82),
        ("rerank-v3.5", "cohere", Usage(meters=(Meter("searches", 1),)), 1_000),
        ("tts-1", "openai", Usage(meters=(Meter("characters", 1234),)), 9_255),
        ("whisper-1", "openai", Usage(meters=(Meter("audio_input_ms", 61_300),)), 3_100),
        ("sora-2", "openai", Usage(meters=(Meter("video_ms", 8_000),)), 400_000),
    ],
)
def test_the_shipped_prices_give_the_same(model: str, provider: str, usage: Usage, quota: int) -> None:
    price = PriceBook(shipped_table()).price(model, provider=provider)
    assert price is not None
    assert charge(usage, price) == quota
