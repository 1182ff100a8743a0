"""The figures in the shipped table: of the best-known models against their makers' lists, and of all against each
other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import pytest

from oneapi_mw.pricing.build import build_table
from oneapi_mw.pricing.card import Card
from oneapi_mw.pricing.figures import PER_MTOK
from oneapi_mw.pricing.shipped import shipped_table
from oneapi_mw.pricing.table import GLOBAL_ORDER, PriceTable
from tests.pricing.test_table import TODAY, Model, prices

CARDS = {(provider, model): card for provider, model, card in shipped_table().cards()}

TOKENS: dict[str, dict[str, str]] = {
    # US dollars per million tokens: input / output / cached input [/ writes for 5 minutes / for an hour]
    "openai": {
        "gpt-4o": "2.5 10 1.25", "gpt-4o-2024-05-13": "5 15 -", "gpt-4o-mini": "0.15 0.6 0.075",
        "gpt-4.1": "2 8 0.5", "gpt-4.1-mini": "0.4 1.6 0.1", "gpt-4.1-nano": "0.1 0.4 0.025",
        "gpt-4.5-preview": "75 150 37.5", "gpt-4-turbo": "10 30 -", "gpt-4": "30 60 -", "gpt-4-32k": "60 120 -",
        "gpt-3.5-turbo": "0.5 1.5 -", "gpt-3.5-turbo-0301": "1.5 2 -", "gpt-3.5-turbo-16k": "3 4 -",
        "gpt-5": "1.25 10 0.125", "gpt-5-mini": "0.25 2 0.025", "gpt-5-nano": "0.05 0.4 0.005",
        "gpt-5-pro": "15 120 -", "gpt-5.2": "1.75 14 0.175", "gpt-5.2-pro": "21 168 -",
        "o1": "15 60 7.5", "o1-pro": "150 600 -", "o1-mini": "1.1 4.4 0.55", "o3": "2 8 0.5", "o3-pro": "20 80 -",
        "o3-mini": "1.1 4.4 0.55", "o4-mini": "1.1 4.4 0.275", "o3-deep-research": "10 40 2.5",
        "codex-mini-latest": "1.5 6 0.375", "computer-use-preview": "3 12 -", "ft:gpt-4o-mini": "0.3 1.2 0.15",
        "ft:gpt-4o": "3.75 15 1.875", "ft:gpt-4.1": "3 12 0.75",
        "text-embedding-3-small": "0.02 - -", "text-embedding-3-large": "0.13 - -", "text-embedding-ada-002": "0.1 - -",
        "gpt-4o-transcribe": "2.5 10 -", "gpt-4o-mini-transcribe": "1.25 5 -", "gpt-image-1": "5 40 1.25",
        "gpt-4o-realtime-preview": "5 20 2.5", "gpt-realtime": "4 16 0.4", "gpt-realtime-mini": "0.6 2.4 0.06",
    },
    "anthropic": {
        "claude-3-opus-20240229": "15 75 1.5 18.75 30", "claude-3-haiku-20240307": "0.25 1.25 0.03 0.3 0.5",
        "claude-3-5-sonnet-20241022": "3 15 0.3 3.75 6", "claude-3-5-haiku-20241022": "0.8 4 0.08 1 1.6",
        "claude-3-7-sonnet-20250219": "3 15 0.3 3.75 6", "claude-sonnet-4-20250514": "3 15 0.3 3.75 6",
        "claude-opus-4-20250514": "15 75 1.5 18.75 30", "claude-opus-4-1": "15 75 1.5 18.75 30",
        "claude-sonnet-4-5": "3 15 0.3 3.75 6", "claude-haiku-4-5": "1 5 0.1 1.25 2",
        "claude-opus-4-5": "5 25 0.5 6.25 10", "claude-opus-4-6": "5 25 0.5 6.25 10",
    },
    "vertexai": {"claude-sonnet-4@20250514": "3 15 0.3 3.75 6", "claude-opus-4-1@20250805": "15 75 1.5 18.75 30"},
    "aws": {
        "global.anthropic.claude-sonnet-4-5-20250929-v1:0": "3 15 0.3 3.75 6",
        "us.anthropic.claude-sonnet-4-5-20250929-v1:0": "3.3 16.5 0.33 4.125 6.6",
        "us.anthropic.claude-sonnet-4-20250514-v1:0": "3 15 0.3 3.75 6",
        "anthropic.claude-3-haiku-20240307-v1:0": "0.25 1.25 -", "amazon.nova-pro-v1:0": "0.8 3.2 0.2",
        "amazon.nova-micro-v1:0": "0.035 0.14 0.00875", "cohere.command-r-plus-v1:0": "3 15 -",
        "cohere.command-r-v1:0": "0.5 1.5 -", "deepseek.r1-v1:0": "1.35 5.4 -",
        "meta.llama3-3-70b-instruct-v1:0": "0.72 0.72 -",
    },
    "gemini": {
        "gemini-2.5-pro": "1.25 10 0.125", "gemini-2.5-flash": "0.3 2.5 0.03", "gemini-2.5-flash-lite": "0.1 0.4 0.01",
        "gemini-2.0-flash": "0.1 0.4 0.025", "gemini-2.0-flash-lite": "0.075 0.3 -", "gemini-1.5-pro": "1.25 5 -",
        "gemini-3-pro-preview": "2 12 0.2", "gemini-2.5-flash-preview-tts": "0.5 10 -",
        "gemini-2.5-pro-preview-tts": "1 20 -", "gemini-embedding-001": "0.15 - -",
    },
    "openrouter": {"anthropic/claude-sonnet-4.5": "3 15 0.3 3.75 6", "google/gemini-2.5-pro": "1.25 10 0.125 1.625"},
    "deepseek": {"deepseek-chat": "0.28 0.42 0.028", "deepseek-reasoner": "0.28 0.42 0.028"},
    "mistral": {"mistral-large-2411": "2 6 -", "codestral-2508": "0.3 0.9 0.03", "open-mistral-nemo": "0.15 0.15 -"},
    "cohere": {
        "command-r-08-2024": "0.15 0.6 -", "command-r-plus-08-2024": "2.5 10 -", "command-a-03-2025": "2.5 10 -",
        "command-r7b-12-2024": "0.0375 0.15 -", "embed-v4.0": "0.12 - -",
    },
    "groq": {
        "llama-3.3-70b-versatile": "0.59 0.79 -", "llama-3.1-8b-instant": "0.05 0.08 -",
        "openai/gpt-oss-120b": "0.15 0.6 0.075",
    },
    "xai": {
        "grok-4": "3 15 0.75", "grok-3": "3 15 0.75", "grok-3-mini": "0.3 0.5 0.075", "grok-4-fast": "0.2 0.5 0.05",
    },
    "moonshot": {"kimi-k2-0905-preview": "0.6 2.5 0.15", "kimi-k2-turbo-preview": "1.15 8 0.15"},
    "zai": {"glm-4.6": "0.6 2.2 0.11", "glm-4.5": "0.6 2.2 0.11", "GLM-4.5-Air": "0.2 1.1 0.03"},
    "ali": {"qwen-max": "1.6 6.4 -", "qwen-plus": "0.4 1.2 -"},
    "minimax": {"MiniMax-M2": "0.3 1.2 0.03 0.375"},
}  # fmt: skip
KINDS = ("input", "output", "cache_read", "cache_write_5m", "cache_write_1h")

OTHER: dict[tuple[str, str], dict[str, str]] = {
    ("openai", "gpt-4o-audio-preview"): {"input_audio": "40", "output_audio": "80"},
    ("openai", "gpt-4o-mini-audio-preview"): {"input_audio": "10", "output_audio": "20"},
    ("openai", "gpt-4o-realtime-preview"): {"input_audio": "40", "output_audio": "80", "cache_read_audio": "2.5"},
    ("openai", "gpt-realtime"): {"input_audio": "32", "output_audio": "64", "cache_read_audio": "0.4"},
    ("openai", "gpt-realtime-mini"): {"input_audio": "10", "output_audio": "20", "cache_read_audio": "0.3"},
    ("openai", "gpt-4o-mini-tts"): {"output_audio": "12"},
    ("openai", "gpt-image-1"): {"input_image": "10", "output_image": "40", "cache_read_image": "2.5"},
    ("gemini", "gemini-2.5-flash"): {"input_audio": "1", "cache_read_audio": "0.1"},
    ("gemini", "gemini-2.5-flash-lite"): {"input_audio": "0.3", "cache_read_audio": "0.03"},
    ("gemini", "gemini-2.0-flash"): {"input_audio": "0.7"},
    ("gemini", "gemini-2.5-flash-image"): {"output_image": "30"},
}

PIECES: dict[tuple[str, str], dict[str, Any]] = {
    ("openai", "tts-1"): {"usd_per_mchar": "15"},
    ("openai", "tts-1-hd"): {"usd_per_mchar": "30"},
    ("openai", "whisper-1"): {"audio": {"input_usd_per_second": "0.0001", "round_up_seconds": "1"}},
    ("openai", "sora-2"): {"video": {"usd_per_second": {"default": "0.1"}}},
    ("cohere", "rerank-v3.5"): {"usd_per_ksearch": "2"},
    ("aws", "cohere.rerank-v3-5:0"): {"usd_per_ksearch": "2"},
    ("mistral", "mistral-ocr-2505"): {"usd_per_kpage": "1"},
}

WEB_SEARCH = {
    ("openai", "gpt-4o"): "0.01",
    ("anthropic", "claude-sonnet-4-5"): "0.01",
    ("gemini", "gemini-2.5-pro"): "0.035",
    ("gemini", "gemini-3-pro-preview"): "0.014",
}

LONG: dict[tuple[str, str], tuple[int, str]] = {
    # input tokens from which the whole request costs so much
    ("gemini", "gemini-2.5-pro"): (200_001, "2.5 15 0.25"),
    ("gemini", "gemini-3-pro-preview"): (200_001, "4 18 0.4"),
    ("anthropic", "claude-sonnet-4-5"): (200_001, "6 22.5 0.6 7.5 12"),
    ("openrouter", "anthropic/claude-sonnet-4.5"): (200_001, "6 22.5 0.6 7.5 12"),
    ("openrouter", "google/gemini-2.5-pro"): (200_001, "2.5 15 0.25 2.875"),
    ("vertexai", "claude-sonnet-4-5@20250929"): (200_001, "6 22.5 0.6 7.5 12"),
}


def card_of(provider: str, model: str) -> Card:
    found = shipped_table().find(model, provider)
    assert found is not None
    assert found.layer == "provider"
    return found.card


def said(card: Mapping[str, Any]) -> dict[str, str]:
    return {kind: card[kind + PER_MTOK] for kind in KINDS if card.get(kind + PER_MTOK, "0") != "0"}


def meant(figures: str) -> dict[str, str]:
    return {kind: figure for kind, figure in zip(KINDS, figures.split(), strict=False) if figure != "-"}


@pytest.mark.parametrize(
    ("provider", "model", "figures"),
    [(provider, model, figures) for provider, models in TOKENS.items() for model, figures in models.items()],
)
def test_tokens_of_well_known_models(provider: str, model: str, figures: str) -> None:
    card, wanted = card_of(provider, model), meant(figures)
    if "output" not in wanted:  # of embeddings it makes no difference
        wanted["output"] = said(card).get("output", "")
        wanted = {kind: figure for kind, figure in wanted.items() if figure}
    assert said(card) == wanted


@pytest.mark.parametrize(("where", "figures"), OTHER.items(), ids=str)
def test_sounds_and_images_of_well_known_models(where: tuple[str, str], figures: dict[str, str]) -> None:
    card = card_of(*where)
    assert {kind: card.get(kind + PER_MTOK) for kind in figures} == figures


@pytest.mark.parametrize(("where", "pieces"), PIECES.items(), ids=str)
def test_pieces_of_well_known_models(where: tuple[str, str], pieces: dict[str, Any]) -> None:
    card = card_of(*where)
    assert {key: card.get(key) for key in pieces} == pieces


@pytest.mark.parametrize(("where", "usd"), WEB_SEARCH.items(), ids=str)
def test_searches_of_well_known_models(where: tuple[str, str], usd: str) -> None:
    assert card_of(*where)["tools"]["web_search"] == {"usd_per_call": usd}


@pytest.mark.parametrize(("where", "long"), LONG.items(), ids=str)
def test_long_requests_of_well_known_models(where: tuple[str, str], long: tuple[int, str]) -> None:
    (tier,) = card_of(*where)["tiers"]
    assert (tier["input_tokens_from"], tier["output_tokens_from"], said(tier)) == (long[0], 0, meant(long[1]))


def test_answers_above_200_tokens_cost_more_at_zhipu() -> None:
    """Its list counts in thousands: [0, 32) input and [0, 0.2) output are the first step."""
    bounds = [(tier["input_tokens_from"], tier["output_tokens_from"]) for tier in CARDS["zhipu", "glm-4.6"]["tiers"]]
    assert bounds == [(0, 200), (32_000, 0)]


# Of all cards.


def steps(card: Card) -> Iterator[tuple[str, dict[str, Fraction]]]:
    """Prices of tokens of a card, of each of its tiers, windows and services."""
    usual = rates(card)
    yield "", usual
    for tier in card.get("tiers", ()):
        yield f"from {tier['input_tokens_from']}", {**usual, **rates(tier)}
    for window in card.get("time_windows", ()):
        yield window["name"], {**usual, **rates(window["overlay"])}
    for name, overlay in card.get("variants", {}).items():
        yield name, {**usual, **rates(overlay)}


def rates(card: Mapping[str, Any]) -> dict[str, Fraction]:
    return {key.removesuffix(PER_MTOK): Fraction(card[key]) for key in card if key.endswith(PER_MTOK)}


STEPS = [(where, step, figures) for where, card in CARDS.items() for step, figures in steps(card) if "input" in figures]

CHEAPER_WRITES = {"MiniMax-M2.1-highspeed", "MiniMax-M2.5-highspeed", "MiniMax-M2.7-highspeed"}
"""As its maker lists them."""
DEARER_READS = {"~deepseek/deepseek-pro-latest"}
"""A name that OpenRouter points at the newest of several models, whose list of prices is an average."""


def test_what_comes_from_a_cache_is_not_dearer() -> None:
    for where, step, figures in STEPS:
        if where[1] not in DEARER_READS:
            assert figures.get("cache_read", 0) <= figures["input"], (where, step)
        heard = figures.get("input_audio")
        if heard is not None:
            assert figures.get("cache_read_audio", 0) <= heard, (where, step)


def test_what_goes_into_a_cache_is_not_cheaper() -> None:
    for where, step, figures in STEPS:
        short = figures.get("cache_write_5m")
        if short is not None and where[1] not in CHEAPER_WRITES:
            assert short >= figures["input"], (where, step)
        if short is not None and "cache_write_1h" in figures:
            assert figures["cache_write_1h"] > short, (where, step)


def test_whoever_serves_claude_prices_writes_for_an_hour() -> None:
    missing = [
        (where, step)
        for where, step, figures in STEPS
        if "claude" in where[1]
        and "cache_write_5m" in figures
        and figures.get("cache_write_1h") != 2 * figures["input"]
    ]
    assert not missing


def test_answers_are_not_cheaper_than_questions() -> None:
    for where, step, figures in STEPS:
        if figures.get("output") and where[1].split("/")[-1] not in ("llama-guard-3-8b", "gpt-5-image-mini"):
            assert figures["output"] >= figures["input"], (where, step)


def test_services_are_cheaper_or_dearer_as_they_say() -> None:
    for where, card in CARDS.items():
        usual = rates(card)
        for name, overlay in card.get("variants", {}).items():
            assert name in ("batch", "flex", "priority", "fast"), where
            for kind, price in rates(overlay).items():
                if kind in usual:
                    better = price <= usual[kind] if name in ("batch", "flex") else price >= usual[kind]
                    assert better, (where, name, kind)


def test_long_requests_are_not_cheaper() -> None:
    for where, card in CARDS.items():
        usual = rates(card)
        for tier in card.get("tiers", ()):
            for kind, price in rates(tier).items():
                assert price >= usual.get(kind, 0), (where, kind)
            assert not {"cache_write_5m", "cache_write_1h"} & usual.keys() - rates(tier).keys(), where


def test_no_maker_gives_away_what_others_do() -> None:
    assert not [where for where in CARDS if where[0] in GLOBAL_ORDER and where[1].endswith(":free")]


# How the table comes to them.


def built(rows: list[Any], provider: str = "openai", **supplement: Any) -> PriceTable:
    given = SimpleNamespace(id=provider, pricing_urls=["https://x.test"], models=rows)
    extra = {"source": "https://ours.test", "date": "2026-11-01", "providers": {provider: supplement}}
    return PriceTable(build_table([given], [extra] if supplement else [], version="9", today=TODAY))


def test_a_row_that_the_provider_does_not_sell_is_taken_out() -> None:
    match = SimpleNamespace(or_=[SimpleNamespace(starts_with="m"), SimpleNamespace(equals="n")])
    rows = [
        Model("m", prices(input_mtok=Decimal("1")), match=match),
        Model("o", prices(input_mtok=Decimal("2")), match=match),
    ]
    without_row = built(rows, models={"m": None, "never-there": None})
    assert [model for _, model, _ in without_row.cards()] == ["o"]
    found = without_row.find("n", "openai")
    assert found is not None
    assert found.model == "o"
    without_rules = built(rows, no_match=["m", "o"])
    assert without_rules.find("m", "openai") is not None
    assert without_rules.find("n", "openai") is None


def test_a_supplement_in_another_case_is_of_the_same_model() -> None:
    table = built(
        [Model("GLM-5", prices(input_mtok=Decimal("1"), cache_read_mtok=Decimal("0.1")))],
        models={"glm-5": {"input": "2"}},
    )
    assert {model: rates(card) for _, model, card in table.cards()} == {
        "GLM-5": {"input": 2, "cache_read": Fraction(1, 10)}
    }


def tiered(base: str, above: str) -> Any:
    return SimpleNamespace(base=Decimal(base), tiers=[SimpleNamespace(start=200_000, price=Decimal(above))])


def test_writes_of_claude_for_an_hour_are_worked_out() -> None:
    rows = [
        Model("claude-x", prices(input_mtok=tiered("3", "6"), cache_write_mtok=tiered("3.75", "7.5"))),
        Model("claude-y", prices(input_mtok=Decimal("3"))),
        Model("other", prices(input_mtok=Decimal("3"), cache_write_mtok=Decimal("3.75"))),
    ]
    cards = {model: card for _, model, card in built(rows).cards()}
    assert cards["claude-x"]["cache_write_1h_usd_per_mtok"] == "6"
    assert cards["claude-x"]["tiers"][0]["cache_write_1h_usd_per_mtok"] == "12"
    assert "cache_write_1h_usd_per_mtok" not in {**cards["claude-y"], **cards["other"]}


def test_writes_of_gemini_at_openrouter_cost_the_input_and_its_storage() -> None:
    rows = [
        Model("google/g", prices(input_mtok=tiered("1.25", "2.5"), cache_write_mtok=Decimal("0.375"))),
        Model("google/whole", prices(input_mtok=Decimal("1.25"), cache_write_mtok=Decimal("1.625"))),
        Model("mini/m", prices(input_mtok=Decimal("0.6"), cache_write_mtok=Decimal("0.375"))),
    ]
    cards = {model: card for _, model, card in built(rows, "openrouter").cards()}
    written = {model: card["cache_write_5m_usd_per_mtok"] for model, card in cards.items()}
    assert written == {"google/g": "1.625", "google/whole": "1.625", "mini/m": "0.375"}
    assert cards["google/g"]["tiers"][0]["cache_write_5m_usd_per_mtok"] == "2.875"
