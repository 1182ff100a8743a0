"""Where a price comes from, and under which name it is found."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from oneapi_mw.pricing.book import FREE, REFERENCE, PriceBook, decode_overrides, is_free_channel
from oneapi_mw.pricing.card import decode_card
from oneapi_mw.pricing.charge import charge
from oneapi_mw.pricing.compile import compile_card
from oneapi_mw.pricing.groups import decode_group_ratios
from oneapi_mw.pricing.live import LivePrices
from oneapi_mw.pricing.price import SCALE, CompiledPrice
from oneapi_mw.pricing.table import PriceTable, section_of
from oneapi_mw.usage import Usage

TABLE = PriceTable(
    {
        "version": 1,
        "sources": ["https://prices.test"],
        "providers": {
            "openai": {
                "models": {
                    "gpt-4o": {"input": "2.5", "output": "10", "cache_read": "1.25", "at": [0, "2026-11-01"]},
                    "dall-e-3": {"image": {"usd_per_image": "0.04"}},
                },
                "match": [["gpt-4o", ["^", "gpt-4o"]]],
                "tools": {"web_search": {"usd_per_call": "0.01"}},
            },
            "deepseek": {"models": {"chat": {"input": "1"}}},
            "resale": {"models": {"gpt-4o": {"input": "3"}, "own": {"input": "4"}}},
        },
    }
)
OWN = {"gpt-4o": {"input_usd_per_mtok": 7}}


def price(model: str, book: PriceBook | None = None, **at: Any) -> CompiledPrice:
    found = (book or PriceBook(TABLE)).price(model, **at)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("model", "provider", "layer", "rule", "usd"),
    [
        ("gpt-4o", "openai", "provider", "exact", "2.5"),
        ("GPT-4o", "openai", "provider", "lower", "2.5"),
        ("openai/gpt-4o", "openai", "provider", "vendor", "2.5"),
        ("models/openai/gpt-4o", "openai", "provider", "vendor", "2.5"),
        ("gpt-4o-2024-08-06", "openai", "provider", "date", "2.5"),
        ("OpenAI/gpt-4o-20240806", "openai", "provider", "date", "2.5"),
        ("gpt-4o-latest", "openai", "provider", "matcher", "2.5"),
        ("gpt-4o", "re-sale", "provider", "exact", "3"),
        ("own", "resale", "provider", "exact", "4"),
        ("chat", "custom", "global", "exact", "1"),
        ("gpt-4o", "custom", "global", "exact", "2.5"),
        ("gpt-4o-latest", "custom", "global", "matcher", "2.5"),
    ],
)
def test_the_table(model: str, provider: str, layer: str, rule: str, usd: str) -> None:
    found = price(model, provider=provider)
    assert (found.layer, found.rule, found.input) == (layer, rule, int(float(usd) * SCALE) // 2)


def test_a_name_that_only_looks_like_a_known_one_has_no_price() -> None:
    assert PriceBook(TABLE).price("gpt-4o-odd", provider="openai") is None
    assert PriceBook(TABLE).price("gpt-4o-odd", provider="custom") is None


def test_what_others_resell_is_theirs_alone() -> None:
    assert PriceBook(TABLE).price("own", provider="custom") is None


def test_the_channels_card_comes_first() -> None:
    own = price("gpt-4o", provider="openai", model_configs=OWN)
    assert (own.layer, own.input, own.cache_read) == ("channel", 7 * SCALE // 2, 7 * SCALE // 2)
    assert own.tools == {"web_search": 5_000}
    merged = price("gpt-4o", provider="openai", model_configs={"gpt-4o": {**OWN["gpt-4o"], "mode": "merge"}})
    assert (merged.layer, merged.cache_read) == ("channel", SCALE * 5 // 8)
    for configs in ({}, {"gpt-4o": {"max_tokens": 5}}, {"gpt-4o": None}, {"GPT-4o": OWN["gpt-4o"]}):
        assert price("gpt-4o", provider="openai", model_configs=configs).layer == "provider"
    assert price("gpt-4o", model_configs={"gpt-4o": {"max_tokens": 5}}).max_output == 5
    free = price("gpt-4o", model_configs={"gpt-4o": {"input_usd_per_mtok": 0}})
    assert charge(Usage(10**6, 10**6), free) == 0


OVERRIDES = decode_overrides(
    '{"models": {"gpt-4o": {"input_usd_per_mtok": 5}}, "providers": {"re-sale": {"gpt-4o": {"ratio": 3}}},'
    ' "default": {"input_usd_per_mtok": 9}}'
)


def test_the_operators_cards_come_before_the_table() -> None:
    book = PriceBook(TABLE, OVERRIDES)
    assert (price("gpt-4o", book, provider="openai").layer, price("gpt-4o", book).input) == ("override", 5 * SCALE // 2)
    assert price("gpt-4o", book, provider="resale").input == 3 * SCALE
    assert price("gpt-4o", book, model_configs=OWN).layer == "channel"
    assert book.price("nobody") is None


def test_models_nobody_knows() -> None:
    free = {"unknown_model_policy": "free"}
    assert PriceBook(TABLE).price("x") is None
    assert PriceBook(TABLE).price("x", channel_config=free) is FREE
    assert PriceBook(TABLE, policy="reference").price("x") is REFERENCE
    assert PriceBook(TABLE, policy="reference").price("x", channel_config=free) is FREE
    assert price("x", PriceBook(TABLE, OVERRIDES, policy="default_price")).layer == "default"
    assert PriceBook(TABLE, policy="default_price").price("x") is None
    assert FREE.is_free
    assert not price("dall-e-3").is_free
    assert is_free_channel(free)
    assert not is_free_channel({})


def test_i_20_what_has_no_price_for_its_unit_is_not_charged_as_free() -> None:
    image = price("dall-e-3")
    assert not image.covers("tokens")
    assert image.covers("images")
    assert price("gpt-4o").covers("tokens")
    assert compile_card(decode_card({"usd_per_krequest": 1}), layer="x").covers("tokens")


def test_tooling_of_a_channel() -> None:
    config = {"tooling": {"whitelist": ["web-search"], "pricing": {"code_interpreter": {"quota_per_call": 3}}}}
    found = price("gpt-4o", provider="openai", channel_config=config)
    assert found.tools == {"web_search": 5_000, "code": 3}
    assert found.allowed_tools == frozenset({"web_search"})
    assert price("gpt-4o", PriceBook(TABLE, tools_use_group_ratio=True)).tools_grouped


def test_tooling_of_a_channel_whose_models_nobody_knows() -> None:
    tooling = {"whitelist": ["web_search"], "pricing": {"web_search": {"quota_per_call": 3}}}
    free = price("x", channel_config={"tooling": tooling, "unknown_model_policy": "free"})
    reference = price("x", PriceBook(TABLE, policy="reference"), channel_config={"tooling": tooling})
    for found, layer in ((free, "free"), (reference, "reference")):
        assert (found.layer, found.tools, found.allowed_tools) == (layer, {"web_search": 3}, frozenset({"web_search"}))
    assert (free.input, reference.input) == (0, REFERENCE.input)


def test_a_price_is_compiled_once() -> None:
    book = PriceBook(TABLE)
    assert book.price("gpt-4o", provider="openai") is book.price("gpt-4o", provider="OpenAI")
    assert book.price("gpt-4o", model_configs=OWN) is not book.price("gpt-4o")


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oneapi_mw.pricing.book.MAX_REMEMBERED", 2)
    book = PriceBook(TABLE)
    first = book.price("gpt-4o")
    for model in ("chat", "dall-e-3"):
        book.price(model)
    assert book.price("gpt-4o") is not first


def test_a_malformed_card_is_no_price() -> None:
    with pytest.raises(ValueError, match="ratio"):
        PriceBook(TABLE).price("gpt-4o", model_configs={"gpt-4o": {"ratio": "odd"}})


@pytest.mark.parametrize(
    "text",
    ["[", "[]", '{"model": {}}', '{"models": 3}', '{"models": {"a": 3}}', '{"models": {"a": {"ratio": -1}}}',
     '{"models": {"": {"ratio": 1}}}', '{"models": {"a": {"output_usd_per_mtok": 1}}}', '{"providers": {"openai": 3}}'],
)  # fmt: skip
def test_overrides_are_checked(text: str) -> None:
    with pytest.raises(ValueError, match=r"PriceOverrides|a: "):
        decode_overrides(text)


def test_a_table_of_another_version() -> None:
    with pytest.raises(ValueError, match="prices build"):
        PriceTable({"version": 9, "providers": {}})


@pytest.mark.parametrize(
    ("name", "section"),
    [("OpenAI", "openai"), ("vertextai", "gemini"), ("alibailian", "ali"), ("x-ai", "xai"), ("aws-claude", "aws")],
)
def test_sections(name: str, section: str) -> None:
    assert section_of(name) == section


@pytest.mark.parametrize(
    ("text", "ratios"),
    [
        ('{"default": 1, "vip": 0.8}', {"default": 10**6, "vip": 800_000}),
        ('{"a": 0, "b": "0.000001"}', {"a": 0, "b": 1}),
    ],
)
def test_group_ratios(text: str, ratios: dict[str, int]) -> None:
    assert decode_group_ratios(text) == ratios


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"a": -1}', '{"a": "x"}', '{"a": null}', '{"a": 1e-7}', '{"a": 1001}', '{"a": true}']
)
def test_wrong_group_ratios_change_nothing(text: str, caplog: pytest.LogCaptureFixture) -> None:
    prices = LivePrices(TABLE)
    prices.take({"GroupRatio": '{"vip": 0.5}'})
    before = prices.version
    with caplog.at_level(logging.ERROR, "oneapi_mw.billing"):
        prices.take({"GroupRatio": text})
        prices.take({"GroupRatio": text})
    assert (prices.group_ratios, prices.version) == ({"vip": 500_000}, before)
    assert len(caplog.records) == 1


def test_options_are_taken_over_when_they_change() -> None:
    prices = LivePrices(TABLE, policy="reference", tools_use_group_ratio=True)
    assert prices.group_ratios == {"default": 10**6, "vip": 10**6, "svip": 10**6}
    options = {"PriceOverrides": '{"models": {"new": {"ratio": 1}}}', "Other": "x"}
    for _ in range(2):
        prices.take(options)
    assert prices.version == 1
    assert price("new", prices.book).layer == "override"
    assert price("new", prices.book).tools_grouped
    assert price("nobody", prices.book).layer == "reference"
    assert price("gpt-4o", prices.book).layer == "global"
