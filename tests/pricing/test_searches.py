"""Searches that cards price apart: which price a declared search is held for and charged at."""

from __future__ import annotations

from typing import Any

import pytest

from oneapi_mw.pricing.book import Overrides, PriceBook
from oneapi_mw.pricing.card import decode_card, stack
from oneapi_mw.pricing.charge import bill, with_searches
from oneapi_mw.pricing.compile import compile_card
from oneapi_mw.pricing.price import CompiledPrice
from oneapi_mw.pricing.table import PriceTable
from oneapi_mw.pricing.tools import declared_calls, declared_searches
from oneapi_mw.usage import Usage

PLAIN, PREVIEW = {"type": "web_search"}, {"type": "web_search_preview_2025_03_11"}
BOTH = {"web_search": "0.01", "web_search_preview": "0.025"}
ENGINES = {"search_std": "0.001", "search_pro": "0.004", "search_pro_quark": "0.007"}
ON_PREVIEW = {"web_search_preview": "0.02"}


def by(engine: Any) -> dict[str, Any]:
    return {"type": "web_search", "web_search": {"enable": True, "search_engine": engine}}


def priced(tools: dict[str, Any], **card: Any) -> CompiledPrice:
    return compile_card(decode_card({"ratio": 1, "tools": tools, **card}), layer="x")


@pytest.mark.parametrize(
    ("prices", "tools", "each", "kind"),
    [
        (BOTH, [PLAIN], 5_000, "web_search"),
        (BOTH, [PREVIEW], 12_500, "web_search_preview"),
        (BOTH, [{"type": "Web-Search-Preview"}], 12_500, "web_search_preview"),
        (BOTH, [PLAIN, PREVIEW], 12_500, "web_search_preview"),
        (BOTH, [{"type": "web_search_20250305", "name": "web_search"}], 5_000, "web_search"),
        (BOTH, [], 5_000, "web_search"),
        ({"web_search": "0.01"}, [PREVIEW], 5_000, "web_search"),
        ({"web_search": "0"}, [PREVIEW], 0, "web_search"),
        (ON_PREVIEW, [PLAIN], 10_000, "web_search"),
        (ENGINES, [by("search_std")], 500, "search_std"),
        (ENGINES, [by("search_pro")], 2_000, "search_pro"),
        (ENGINES, [by("search_std"), by("search_pro")], 2_000, "search_pro"),
        (ENGINES, [PLAIN], 3_500, "web_search"),
        (ENGINES, [by("search_pro_sogou")], 3_500, "web_search"),
        (ENGINES, [by("search_new")], 3_500, "web_search"),
        (ENGINES, [by(None)], 3_500, "web_search"),
        (ENGINES, [by(["search_std"])], 3_500, "web_search"),
        ({**ENGINES, "web_fetch": "0"}, [by("web_fetch")], 3_500, "web_search"),
        ({**ENGINES, "web_search": "0.002"}, [PLAIN], 1_000, "web_search"),
        ({"web_search": "0.01"}, [by("search_pro")], 5_000, "web_search"),
    ],
)  # fmt: skip
def test_the_price_of_a_search(prices: dict[str, Any], tools: list[Any], each: int, kind: str) -> None:
    price, body = priced(prices), {"tools": tools}
    usage = with_searches(Usage(hosted=(("code", 1), ("web_search", 2))), price, declared_searches(body))
    assert usage.hosted == (("code", 1), (kind, 2))
    assert bill(usage, price).tools == 2 * each
    held = {price.of_tool(declared) for declared, _ in declared_calls(body)}
    assert not tools or max(amount for amount in held if amount is not None) == each


def test_a_price_that_nobody_has_is_not_made_up() -> None:
    price = priced({"code": "0.03"})
    usage = with_searches(Usage(hosted=(("web_search", 1),)), price, declared_searches({"tools": [PREVIEW]}))
    assert "unpriced_tool:web_search" in bill(usage, price).flags
    assert priced(BOTH).of_tool("search_files") is None


def test_only_searches_are_renamed() -> None:
    usage = Usage(hosted=(("code", 1),))
    assert with_searches(usage, priced(BOTH), ("web_search_preview",)) is usage


@pytest.mark.parametrize("listed", ["web_search", "web_search_preview", "web-search"])
@pytest.mark.parametrize("kind", ["web_search", "web_search_preview"])
def test_a_whitelist_has_either_by_any_name(listed: str, kind: str) -> None:
    price = priced(BOTH, allowed_tools=[listed])
    assert price.allows(kind)
    assert bill(Usage(hosted=((kind, 1),)), price).flags == ()
    assert not priced(BOTH, allowed_tools=["code"]).allows(kind)


LAYERS: list[tuple[dict[str, Any], dict[str, str]]] = [
    ({"web_search": "0.02"}, {"web_search": "0.02"}),
    ({"web_search_preview": "0.02"}, {"web_search": "0.01", "web_search_preview": "0.02"}),
    ({"web_search": "0.03", "web_search_preview": "0.04"}, {"web_search": "0.03", "web_search_preview": "0.04"}),
    ({}, BOTH),
]


@pytest.mark.parametrize(("own", "found"), LAYERS)
@pytest.mark.parametrize("where", ["replace", "merge", "tooling", "table", "override"])
def test_a_layer_that_prices_searches_prices_all_of_them(
    own: dict[str, str], found: dict[str, str], where: str
) -> None:
    below = decode_card({"ratio": 1, "tools": BOTH})
    above: dict[str, Any] = {"tools": own} if own else {}
    row = {"input": "2", "tools": below["tools"]}
    tools = decode_card({"tools": own}).get("tools", {})
    rows = {"input": "2", **({"tools": tools} if tools else {})}
    expected = decode_card({"tools": found})["tools"]
    if where in ("replace", "merge"):
        assert stack(decode_card({**above, "mode": where}), below)["tools"] == expected
        return
    section: dict[str, Any] = {"models": {"m": row}}
    book, config = PriceBook(PriceTable({"version": 1, "providers": {"openai": section}})), {}
    if where == "tooling":
        config = {"tooling": {"pricing": own}}
    elif where == "table":
        section.update(models={"m": rows}, tools=below["tools"])
    else:
        book = PriceBook(book.table, Overrides(models={"m": decode_card({"ratio": 1, **above})}))
    price = book.price("m", provider="openai", channel_config=config)
    assert price is not None
    assert price.tools == compile_card({"input_usd_per_mtok": "2", "tools": expected}, layer="x").tools
