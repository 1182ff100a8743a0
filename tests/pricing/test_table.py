"""The shipped table: every card, how it came about, and how it is built anew."""

from __future__ import annotations

import datetime
import subprocess
import sys
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from oneapi_mw.cli.prices_build import build_now, dump, read_supplements
from oneapi_mw.pricing import litellm
from oneapi_mw.pricing.build import build_table, differences, figures, jumps
from oneapi_mw.pricing.card import Card, decode_card, prices_tokens
from oneapi_mw.pricing.charge import charge
from oneapi_mw.pricing.compile import compile_card
from oneapi_mw.pricing.genai import card_of, rule_of
from oneapi_mw.pricing.shipped import read_shipped, shipped_table
from oneapi_mw.pricing.table import GLOBAL_ORDER, PriceTable, lengthened, shortened
from oneapi_mw.usage import Usage

TODAY = datetime.date(2026, 11, 27)
CARDS = {(provider, model): card for provider, model, card in shipped_table().cards()}

WAS_BUILT_IN = {
    # US dollars per million tokens: input, output, cached input, cache writes; then the longest answer in tokens
    "gpt-4o": ("2.5", "10", "1.25", None, None, 16_384),
    "gpt-4o-mini": ("0.15", "0.6", "0.075", None, None, 16_384),
    "gpt-4.1": ("2", "8", "0.5", None, None, 32_768),
    "gpt-4.1-mini": ("0.4", "1.6", "0.1", None, None, 32_768),
    "gpt-4.1-nano": ("0.1", "0.4", "0.025", None, None, 32_768),
    "gpt-5": ("1.25", "10", "0.125", None, None, 128_000),
    "gpt-5-mini": ("0.25", "2", "0.025", None, None, 128_000),
    "gpt-5-nano": ("0.05", "0.4", "0.005", None, None, 128_000),
    "claude-sonnet-4-5": ("3", "15", "0.3", "3.75", "6", 64_000),
    "claude-haiku-4-5": ("1", "5", "0.1", "1.25", "2", 64_000),
    "claude-opus-4-5": ("5", "25", "0.5", "6.25", "10", 64_000),
    "deepseek-chat": ("0.28", "0.42", "0.028", None, None, 8_192),
    "deepseek-reasoner": ("0.28", "0.42", "0.028", None, None, 65_536),
}


@pytest.mark.parametrize("model", WAS_BUILT_IN)
def test_prices_of_the_best_known_models(model: str) -> None:
    found = shipped_table().find(model, "custom")
    assert found is not None
    kinds = ("input", "output", "cache_read", "cache_write_5m", "cache_write_1h")
    figures_of = tuple(found.card.get(f"{kind}_usd_per_mtok") for kind in kinds)
    assert (*figures_of, found.card["max_output_tokens"]) == WAS_BUILT_IN[model]
    assert "time_windows" not in found.card


def test_every_card_has_a_source_and_a_date_and_compiles() -> None:
    for where, card in CARDS.items():
        assert "://" in card["source"], where
        assert datetime.date.fromisoformat(card["date"]) <= TODAY, where
        price = compile_card(card, layer="provider")
        assert price.cache_read >= 0, where
        assert len(price.variants) == len(card.get("variants", {})), where
        assert len(price.windows) == len(card.get("time_windows", ())), where


def test_prices_are_within_reason() -> None:
    """A slip of units makes a price a thousand or a million times another."""
    for where, card in CARDS.items():
        for place, price in figures(card):
            if place.endswith("_usd_per_mtok"):
                assert 0 <= price <= 1_000, (where, place)
            else:
                assert 0 <= price <= 5_000, (where, place)


def test_nothing_is_free_that_does_not_say_so() -> None:
    free = [
        (provider, model)
        for (provider, model), card in CARDS.items()
        if prices_tokens(card) and not any(price for _, price in figures({**card, "tools": {}}))
    ]
    assert all(
        model.endswith((":free", "-free")) or "flash" in model or "lite" in model or provider in ("zai", "openrouter")
        for provider, model in free
        if (provider, model) not in FREE_BY_NAME
    ), [item for item in free if item not in FREE_BY_NAME]


FREE_BY_NAME = {("openai", "moderation")}


def test_tiers_begin_one_above_an_exclusive_bound() -> None:
    bounds = {
        tier["input_tokens_from"]
        for (provider, _), card in CARDS.items()
        for tier in card.get("tiers", ())
        if provider in ("openai", "anthropic", "gemini")
    }
    assert bounds
    assert all(bound % 1000 == 1 for bound in bounds), bounds


@pytest.mark.parametrize("words", [("audio", "realtime")])
def test_models_that_hear_or_speak_price_audio(words: tuple[str, ...]) -> None:
    silent = [
        model
        for (provider, model), card in CARDS.items()
        if provider == "openai"
        and any(word in model for word in words)
        and prices_tokens(card)
        and not {"input_audio_usd_per_mtok", "output_audio_usd_per_mtok"} <= card.keys()
    ]
    assert not silent


def test_weekends_are_off_peak_at_deepseek() -> None:
    price = compile_card(CARDS["deepseek", "deepseek-v4-flash"], layer="provider")
    monday, saturday = (
        int(datetime.datetime(2026, 11, day, 2, tzinfo=datetime.UTC).timestamp() * 1000) for day in (23, 28)
    )
    usage = Usage(1_000_000)
    assert charge(usage, price.at(monday)) == 2 * charge(usage, price.at(saturday))


def test_figures_in_yuan_were_converted_at_the_rate_the_supplement_names() -> None:
    supplement = next(file for file in read_supplements() if "stepfun" in file["providers"])
    rate = Fraction(supplement["per_usd"]["CNY"]["rate"])
    assert supplement["per_usd"]["CNY"]["date"]
    row = supplement["providers"]["stepfun"]["models"]["step-3"]
    card = CARDS["stepfun", "step-3"]
    assert abs(Fraction(card["input_usd_per_mtok"]) - Fraction(row["input"]) / rate) < Fraction(1, 10**12)
    assert abs(Fraction(card["tiers"][0]["output_usd_per_mtok"]) - Fraction(10) / rate) < Fraction(1, 10**12)
    assert CARDS["zhipu", "GLM-4.7"]["tools"]["search_std"]["usd_per_call"].startswith("0.00142857")


@pytest.mark.parametrize(
    ("provider", "model", "tools"),
    [
        ("openai", "gpt-5", {"web_search": "0.01", "file_search": "0.0025", "code": "0.03"}),
        ("openai", "gpt-4o", {"web_search": "0.01", "web_search_preview": "0.025"}),
        ("openai", "gpt-4o-2024-05-13", {"web_search": "0.01", "web_search_preview": "0.025"}),
        ("openai", "gpt-4.1-nano", {"web_search": "0.01", "web_search_preview": "0.025"}),
        ("openai", "ft:gpt-4.1", {"web_search": "0.01", "web_search_preview": "0.025"}),
        ("openai", "gpt-4o-search-preview", {"web_search": "0.025"}),
        ("openai", "gpt-4o-mini-search-preview", {"web_search": "0.025"}),
        ("openai", "gpt-4o-mini-search-preview-2025-03-11", {"web_search": "0.025"}),
        ("openai", "gpt-5-search-api", {"web_search": "0.01"}),
        ("anthropic", "claude-sonnet-4-5", {"web_search": "0.01", "web_fetch": "0"}),
        ("gemini", "gemini-2.5-pro", {"web_search": "0.035", "web_fetch": "0", "code": "0"}),
        ("gemini", "gemini-3-pro-preview", {"web_search": "0.014", "web_fetch": "0", "code": "0"}),
        ("perplexity", "sonar", {"web_search": "0"}),
        ("perplexity", "sonar-deep-research", {"web_search": "0.005"}),
        ("xai", "grok-4-0709", {"web_search": "0.005", "x_search": "0.005", "code": "0.005"}),
    ],
)
def test_calls_of_the_best_known_tools(provider: str, model: str, tools: dict[str, str]) -> None:
    found = {kind: price["usd_per_call"] for kind, price in CARDS[provider, model]["tools"].items()}
    assert found.items() >= tools.items()


def test_previews_of_search_cost_models_that_reason_no_more_than_others() -> None:
    for model in ("gpt-5", "gpt-5-mini", "o3", "o4-mini", "o4-mini-deep-research"):
        assert "web_search_preview" not in CARDS["openai", model]["tools"]


def test_supplements_say_where_they_are_from() -> None:
    for file in read_supplements():
        for name, section in file["providers"].items():
            assert section.get("source") or file["source"], name
            assert datetime.date.fromisoformat(section.get("date") or file["date"]) <= TODAY, name


def test_the_global_prices_are_those_of_providers_in_the_table() -> None:
    assert set(GLOBAL_ORDER) <= set(shipped_table().providers())


def test_the_table_in_the_package_is_what_is_built() -> None:
    """Run `oneapi-mw prices build --today 2026-11-27` after a change of the supplement."""
    pytest.importorskip("genai_prices")
    shipped = read_shipped()
    made = build_now(datetime.date.fromisoformat(shipped["generated"]))
    if made["genai_prices"] != shipped["genai_prices"]:
        pytest.skip(f"built from genai-prices {shipped['genai_prices']}")
    assert orjson.loads(dump(made)) == shipped


def test_importing_the_package_does_not_load_the_table() -> None:
    code = (
        "import sys, oneapi_mw, oneapi_mw.middleware.settlement, oneapi_mw.pricing.book; "
        "assert 'oneapi_mw.pricing.shipped' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_reading_the_table_needs_no_pydantic() -> None:
    code = (
        "import sys; from oneapi_mw.pricing.shipped import shipped_table; shipped_table(); "
        "assert not {'pydantic', 'genai_prices', 'httpx'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_short_rows_are_whole_cards() -> None:
    for card in list(CARDS.values())[:200]:
        assert lengthened(shortened(card)) == card


# Building.


@dataclass
class Model:
    """A `ModelInfo`."""

    id: str
    prices: Any
    price_variants: Any = None
    match: Any = field(default_factory=lambda: SimpleNamespace(equals="m"))


def prices(**given: Any) -> SimpleNamespace:
    return SimpleNamespace(**given)


def tiered(base: str, **tiers: str) -> SimpleNamespace:
    steps = [SimpleNamespace(start=int(start[1:]), price=Decimal(price)) for start, price in tiers.items()]
    return SimpleNamespace(base=Decimal(base), tiers=steps)


def since(day: str | None, **given: Any) -> SimpleNamespace:
    constraint = None if day is None else SimpleNamespace(start_date=datetime.date.fromisoformat(day))
    return SimpleNamespace(constraint=constraint, prices=prices(**given))


def daily(start: str, end: str, **given: Any) -> SimpleNamespace:
    times = [datetime.time.fromisoformat(text).replace(tzinfo=datetime.UTC) for text in (start, end)]
    return SimpleNamespace(constraint=SimpleNamespace(start_time=times[0], end_time=times[1]), prices=prices(**given))


@pytest.mark.parametrize(
    ("model", "card"),
    [
        (Model("a", prices(input_mtok=Decimal("1.50"))), {"input_usd_per_mtok": "1.5"}),
        (Model("a", prices(input_mtok=None)), None),
        (Model("a:free", prices()), {"input_usd_per_mtok": "0", "output_usd_per_mtok": "0"}),
        (Model("a", prices(input_text_messages_kcount=Decimal(4))), None),
        (
            Model("a", prices(input_mtok=tiered("1", _200000="2"), output_mtok=Decimal(5))),
            {
                "input_usd_per_mtok": "1",
                "output_usd_per_mtok": "5",
                "tiers": [{"input_tokens_from": 200_001, "output_tokens_from": 0, "input_usd_per_mtok": "2"}],
            },
        ),
        (
            Model("a", [since(None, input_mtok=Decimal(1)), since("2026-11-01", input_mtok=Decimal(2))]),
            {"input_usd_per_mtok": "2"},
        ),
        (  # what is said later goes before what was said of times of day
            Model(
                "a",
                [
                    since(None, input_mtok=Decimal(1)),
                    daily("01:00", "04:00", input_mtok=Decimal(3)),
                    since("2026-11-01", input_mtok=Decimal(2)),
                ],
            ),
            {"input_usd_per_mtok": "2"},
        ),
        (
            Model(
                "a",
                [
                    since(None, input_mtok=Decimal(1)),
                    since("2027-01-01", input_mtok=Decimal(2)),
                    daily("01:00", "04:00", input_mtok=Decimal(3)),
                ],
            ),
            {
                "input_usd_per_mtok": "1",
                "time_windows": [  # of theirs the last wins, of ours the first
                    {
                        "name": "window 1",
                        "ranges": [{"start": "01:00", "end": "04:00"}],
                        "overlay": {"input_usd_per_mtok": "3"},
                    },
                    {"name": "window 2", "date_from": "2027-01-01", "overlay": {"input_usd_per_mtok": "2"}},
                ],
            },
        ),
        (
            Model("a", prices(input_audio_hours=Decimal("0.36"), web_searches_kcount=Decimal(10))),
            {"audio": {"input_usd_per_second": "0.0001"}, "tools": {"web_search": {"usd_per_call": "0.01"}}},
        ),
        (
            Model(
                "a",
                prices(input_mtok=tiered("1", _9="2"), output_mtok=tiered("5", _9="6")),
                [
                    SimpleNamespace(when={"service_tier": "default"}, prices=prices(), constraint=None),
                    SimpleNamespace(
                        when={"service_tier": "flex"}, prices=prices(input_mtok=Decimal("0.5")), constraint=None
                    ),
                    SimpleNamespace(
                        when={"processing": "batch"},
                        prices=prices(input_mtok=Decimal(3)),
                        constraint=SimpleNamespace(start_date=datetime.date(2027, 1, 1)),
                    ),
                ],
            ),
            {
                "input_usd_per_mtok": "1",
                "output_usd_per_mtok": "5",
                "tiers": [
                    {
                        "input_tokens_from": 10,
                        "output_tokens_from": 0,
                        "input_usd_per_mtok": "2",
                        "output_usd_per_mtok": "6",
                    }
                ],
                "variants": {
                    "flex": {
                        "input_usd_per_mtok": "0.5",
                        "tiers": [{"input_tokens_from": 10, "output_tokens_from": 0, "output_usd_per_mtok": "6"}],
                    }
                },
            },
        ),
    ],
)
def test_models_of_genai_prices(model: Any, card: Card | None) -> None:
    assert card_of(model, today=TODAY) == card


def test_times_of_day_in_another_zone_are_not_guessed() -> None:
    odd = daily("01:00", "04:00", input_mtok=Decimal(3))
    odd.constraint.start_time = odd.constraint.start_time.replace(tzinfo=datetime.timezone(datetime.timedelta(hours=8)))
    with pytest.raises(ValueError, match="UTC"):
        card_of(Model("a", [since(None, input_mtok=Decimal(1)), odd]), today=TODAY)


def test_matches_are_translated() -> None:
    clause = SimpleNamespace(
        or_=[SimpleNamespace(equals="a"), SimpleNamespace(and_=[SimpleNamespace(starts_with="b")])]
    )
    assert rule_of(clause) == ["|", [["=", "a"], ["&", [["^", "b"]]]]]
    with pytest.raises(ValueError, match="not known"):
        rule_of(SimpleNamespace(sounds_like="a"))


def test_the_supplement_wins_field_by_field() -> None:
    provider = SimpleNamespace(
        id="openai",
        pricing_urls=["https://openai.test"],
        models=[Model("m", prices(input_mtok=Decimal(1), output_mtok=Decimal(2), cache_read_mtok=Decimal("0.5")))],
    )
    supplement = {
        "source": "https://ours.test",
        "date": "2026-11-01",
        "per_usd": {"CNY": {"rate": "7"}},
        "providers": {
            "openai": {
                "models": {"m": {"output": "3", "cache_read": None}, "new": {"image": {"usd_per_image": "1"}}},
                "limits": {"m": 99, "unknown": 5},
                "tools": {"web_search": {"usd_per_call": "0.01"}},
                "match": [["new", ["^", "new"]]],
            },
            "stepfun": {"currency": "CNY", "models": {"s": {"input": "7", "image": {"usd_per_image": "14"}}}},
        },
    }
    other = SimpleNamespace(id="nobody", models=[], pricing_urls=[])
    table = PriceTable(build_table([provider, other], [supplement], version="9", today=TODAY))
    found = {(provider, model): card for provider, model, card in table.cards()}
    assert found["openai", "m"] == {
        "input_usd_per_mtok": "1",
        "output_usd_per_mtok": "3",
        "max_output_tokens": 99,
        "tools": {"web_search": {"usd_per_call": "0.01"}},
        "source": "https://ours.test",
        "date": "2026-11-01",
    }
    assert found["stepfun", "s"]["input_usd_per_mtok"] == "1"
    assert found["stepfun", "s"]["image"] == {"usd_per_image": "2"}
    matched = table.find("new-latest", "openai")
    assert matched is not None
    assert matched.model == "new"


def test_differences_and_jumps() -> None:
    def table(**rows: Any) -> PriceTable:
        return PriceTable({"version": 1, "providers": {"p": {"models": rows}}})

    found = list(differences(table(a={"input": "1"}, b={"input": "1"}), table(a={"input": "2.5"}, c={"input": "1"})))
    assert found == [
        ("p", "a", "input_usd_per_mtok", Fraction(1), Fraction(5, 2)),
        ("p", "b", "input_usd_per_mtok", Fraction(1), None),
        ("p", "c", "input_usd_per_mtok", None, Fraction(1)),
    ]
    assert [jumps(before, after) for *_, before, after in found] == [True, True, False]
    cases = [(2, 1), (2, 4), (2, 5), (5, 2), (0, 1), (1, 0), (1, 1)]
    assert [jumps(Fraction(a), Fraction(b)) for a, b in cases] == [False, False, True, True, True, True, False]


# LiteLLM's cost map.


@pytest.mark.parametrize(
    ("row", "card"),
    [
        (
            {
                "mode": "chat",
                "input_cost_per_token": 3e-06,
                "output_cost_per_token": 1.5e-05,
                "cache_read_input_token_cost": 3e-07,
                "cache_creation_input_token_cost_above_1hr": 6e-06,
                "input_cost_per_token_above_200k_tokens": 6e-06,
                "input_cost_per_token_priority": 5e-06,
                "output_cost_per_token_above_200k_tokens_priority": 4e-05,
                "search_context_cost_per_query": {"search_context_size_medium": 0.01, "search_context_size_high": 0.02},
                "max_output_tokens": 64000,
            },
            {
                "input_usd_per_mtok": "3",
                "output_usd_per_mtok": "15",
                "cache_read_usd_per_mtok": "0.3",
                "cache_write_1h_usd_per_mtok": "6",
                "tiers": [{"input_tokens_from": 200_001, "output_tokens_from": 0, "input_usd_per_mtok": "6"}],
                "variants": {
                    "priority": {
                        "input_usd_per_mtok": "5",
                        "tiers": [{"input_tokens_from": 200_001, "output_tokens_from": 0, "output_usd_per_mtok": "40"}],
                    }
                },
                "tools": {"web_search": {"usd_per_call": "0.01"}},
                "max_output_tokens": 64000,
            },
        ),
        (
            {
                "mode": "chat",
                "tiered_pricing": [
                    {"input_cost_per_token": 5e-08, "range": [0, 256000.0]},
                    {"input_cost_per_token": 2.5e-07, "range": [256000.0, 1e6]},
                ],
            },
            {
                "input_usd_per_mtok": "0.05",
                "tiers": [{"input_tokens_from": 256_001, "output_tokens_from": 0, "input_usd_per_mtok": "0.25"}],
            },
        ),
        ({"mode": "chat", "input_cost_per_token": 0.0, "output_cost_per_token": 0.0}, {}),
        ({"mode": "rerank", "input_cost_per_query": 0.002, "input_cost_per_token": 0.0}, {"usd_per_ksearch": "2"}),
        ({"mode": "rerank", "input_cost_per_token": 5e-8}, {"input_usd_per_mtok": "0.05", "output_usd_per_mtok": "0"}),
        ({"mode": "audio_speech", "input_cost_per_character": 1.5e-05}, {"usd_per_mchar": "15"}),
        (
            {"mode": "audio_transcription", "input_cost_per_second": 0.0001},
            {"audio": {"input_usd_per_second": "0.0001"}},
        ),
        ({"mode": "image_generation", "output_cost_per_image": 0.02}, {"image": {"usd_per_image": "0.02"}}),
        (
            {"mode": "video_generation", "output_cost_per_second": 0.1, "output_cost_per_second_4k": 0.3},
            {"video": {"usd_per_second": {"default": "0.1", "4k": "0.3"}}},
        ),
        ({"mode": "ocr", "ocr_cost_per_page": 0.001}, {"usd_per_kpage": "1"}),
    ],
)
def test_rows_of_litellm(row: dict[str, Any], card: dict[str, Any]) -> None:
    assert litellm.card_of(row) == card
    if card:
        decode_card(card)


def test_sizes_of_litellm_become_one_card() -> None:
    given = {
        "high/1024-x-1536/gpt-image-1": {"litellm_provider": "openai", "input_cost_per_image": 0.25},
        "256-x-256/dall-e-2": {"litellm_provider": "openai", "input_cost_per_image": 0.016},
        "gpt-4o": {"litellm_provider": "openai", "input_cost_per_token": 2.5e-06},
        "nothing": {"litellm_provider": "openai"},
    }
    assert litellm.speaks(given)
    assert litellm.cards(given) == {
        "gpt-4o": {"input_usd_per_mtok": "2.5"},
        "gpt-image-1": {"image": {"usd_per_image": {"high": {"1024x1536": "0.25"}}}},
        "dall-e-2": {"image": {"usd_per_image": {"default": {"256x256": "0.016"}}}},
    }
    assert not litellm.speaks({"gpt-4o": {"ratio": 1.25}})
