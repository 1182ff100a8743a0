"""A bill worked out again from what the log keeps."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given

from oneapi_mw.pricing.card import decode_card
from oneapi_mw.pricing.charge import bill
from oneapi_mw.pricing.compile import compile_card
from oneapi_mw.pricing.facts import price_facts
from oneapi_mw.pricing.recompute import recompute
from oneapi_mw.pricing.services import price_of_service, prices_in_reach, wished_service
from oneapi_mw.pricing.tools import declared_calls, declared_tools, declares_tools, tool_kind
from oneapi_mw.usage import Meter, Usage, service_variant
from tests.pricing.strategies import CARDS, INSTANTS, RATIOS, USAGES


def row(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "cached_prompt_tokens": usage.cache_read,
    }


@given(CARDS, USAGES, RATIOS, INSTANTS)
def test_the_same_sum_comes_out_of_log_and_card(card: dict[str, Any], usage: Usage, ratio: int, instant: int) -> None:
    whole = compile_card(decode_card(card, bounded=False), layer="channel")
    price = whole.at(instant)
    made = bill(usage, price, group_ratio=ratio)
    facts = orjson.loads(orjson.dumps(price_facts(made, price, usage, group_ratio=ratio, archived=False)))
    assert recompute(row(usage), facts, orjson.loads(facts["card"])) == made.quota


CARD = decode_card(
    {
        "input_usd_per_mtok": 2,
        "usd_per_kpage": 1,
        "image": {"usd_per_image": {"hd": {"a": "0.5"}}},
        "tools": {"web_search": "0.01"},
        "time_windows": [{"name": "peak", "overlay": {"input_usd_per_mtok": 4}}],
        "variants": {"flex": {"input_usd_per_mtok": 1}},
    }
)


def test_what_is_kept() -> None:
    price = compile_card(CARD, layer="provider", rule="date").served("flex").at(0)
    usage = Usage(
        100,
        5,
        cache_read=200,
        hosted=(("web_search", 1), ("shell", 1)),
        meters=(Meter("images", 1, "a", "hd"), Meter("video_ms", 5)),
        variant="flex",
    )
    made = bill(usage, price, group_ratio=500_000)
    facts = price_facts(made, price, usage, group_ratio=500_000, archived=True)
    assert facts == {
        "card_id": price.card_id,
        "layer": "provider",
        "group_ratio": 500_000,
        "name_rule": "date",
        "window": "peak",
        "variant": "flex",
        "parts": {"tokens": made.tokens, "media": 125_000, "tools": 5_000},
        "flags": ["unpriced_meter:video_ms", "unpriced_tool:shell", "usage_clamped"],
        "usage": {
            "hosted": {"web_search": 1, "shell": 1},
            "meters": [["images", 1, "a", "hd"], ["video_ms", 5, "", ""]],
        },
    }
    assert recompute(row(usage), facts, CARD) == made.quota
    with pytest.raises(ValueError, match="no time window 'gone'"):
        recompute(row(usage), {**facts, "window": "gone"}, CARD)


def test_a_plain_request_keeps_little() -> None:
    price = compile_card({"input_usd_per_mtok": "2"}, layer="provider")
    usage = Usage(10, 5)
    facts = price_facts(bill(usage, price), price, usage, group_ratio=10**6, archived=True)
    assert facts == {"card_id": price.card_id, "layer": "provider"}


def test_prices_nobody_set_are_marked() -> None:
    price = compile_card({"input_usd_per_mtok": "2"}, layer="default")
    facts = price_facts(bill(Usage(1, 1), price), price, Usage(1, 1), group_ratio=10**6, archived=True)
    assert facts["flags"] == ["price=default"]
    free = compile_card({"input_usd_per_mtok": "0"}, layer="free")
    usage = Usage(1, 1, hosted=(("shell", 1),))
    assert "flags" not in price_facts(bill(usage, free), free, usage, group_ratio=10**6, archived=True)


# Services.

SERVICES = compile_card(
    decode_card(
        {
            "input_usd_per_mtok": 2,
            "variants": {
                "priority": {"input_usd_per_mtok": 4},
                "flex": {"ratio": 0.5},
                "fast": {"input_usd_per_mtok": 4},
            },
        }
    ),
    layer="x",
)


@pytest.mark.parametrize(
    ("body", "wished", "inputs"),
    [
        ({}, "", {1}),
        ({"service_tier": "default"}, "", {1}),
        ({"service_tier": "priority"}, "priority", {1, 2}),
        ({"service_tier": "flex"}, "flex", {1}),
        ({"service_tier": "auto"}, "", {1, 2}),
        ({"speed": "fast", "service_tier": "auto"}, "fast", {1, 2}),
        ({"serviceTier": "PRIORITY"}, "priority", {1, 2}),
        ({"service_tier": 3}, "", {1}),
    ],
)
def test_the_hold_is_for_the_dearest_service_asked_for(body: dict[str, Any], wished: str, inputs: set[int]) -> None:
    assert wished_service(body) == wished
    reach = {price.input // 10**12 for price in prices_in_reach(SERVICES, body, 0)}
    assert inputs <= reach | {0}
    assert max(reach) == max(inputs)


@pytest.mark.parametrize(
    ("told", "wished", "variant"),
    [
        ("", "", ""),
        ("priority", "", "priority"),
        ("", "priority", ""),
        ("", "flex", ""),
        ("", "fast", "fast"),
        ("odd", "flex", ""),
    ],
)
def test_the_answer_says_which_service_it_was(told: str, wished: str, variant: str) -> None:
    assert price_of_service(SERVICES, told=told, wished=wished, instant_ms=0).variant == variant


@pytest.mark.parametrize(
    ("tier", "variant"), [("default", ""), ("Standard", ""), ("priority", "priority"), (None, ""), (3, ""), ("", "")]
)
def test_names_of_services(tier: Any, variant: str) -> None:
    assert service_variant(tier) == variant


# Tools.


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("web_search", "web_search"),
        ("Web-Search", "web_search"),
        ("web_search_preview_2025_03_11", "web_search"),
        ("web_search_20250305", "web_search"),
        ("tool_search_tool_regex_20251119", "web_search"),
        ("tool_search_tool_bm25", "web_search"),
        ("googleSearch", "web_search"),
        ("code_interpreter", "code"),
        ("code_execution_20250825", "code"),
        ("bash_code_execution", "code"),
        ("text_editor_code_execution", "code"),
        ("bash_20250124", "bash"),
        ("file_search", "file_search"),
        ("mcpServers", "mcp"),
        ("tool_search", "tool_search"),
        ("local_shell", "shell"),
        ("computerUse", "computer"),
        ("Unheard", "unheard"),
    ],
)
def test_tools_have_one_name_each(name: str, kind: str) -> None:
    assert tool_kind(name) == kind


@pytest.mark.parametrize(
    ("body", "calls"),
    [
        ({}, ()),
        ({"tools": "x"}, ()),
        ({"tools": [{"type": "function", "name": "f"}, {"name": "g"}, 3]}, ()),
        ({"web_search_options": {}}, (("web_search", 1),)),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search", "max_uses": 5}]}, (("web_search", 5),)),
        ({"max_tool_calls": 3, "tools": [{"type": "web_search"}, {"type": "code_interpreter"}]},
         (("web_search", 3), ("code", 3))),
        ({"tools": [{"googleSearch": {}}, {"functionDeclarations": []}]}, (("web_search", 1),)),
        ({"tools": [{"type": "web_search", "max_uses": 10**9}]}, (("web_search", 1000),)),
    ],
)  # fmt: skip
def test_declared_tools(body: dict[str, Any], calls: tuple[Any, ...]) -> None:
    assert declared_calls(body) == calls


OWN, OF_CLIENT, NO_FEE, FEE = None, (False, False), (True, False), (True, True)
"""(the vendor runs it, calls of it have a fee); of the client's own functions nothing is known."""


@pytest.mark.parametrize(
    ("tool", "kind", "standing"),
    [
        ({"type": "function", "function": {"name": "web_search"}}, "", OWN),
        ({"type": "function", "name": "web_search", "parameters": {}}, "", OWN),
        ({"type": "custom", "name": "shell"}, "", OWN),
        ({"name": "web_search", "input_schema": {"type": "object"}}, "", OWN),
        ({"functionDeclarations": [{"name": "googleSearch"}]}, "", OWN),
        ({"function_declarations": [{"name": "googleSearch"}], "googleSearch": None}, "", OWN),
        ({"type": "namespace", "name": "n", "tools": [{"type": "function", "name": "f"}]}, "", OWN),
        ({"type": "tool_search", "execution": "client"}, "", OWN),
        ({"type": "Function", "function": {"name": "f"}}, "", OWN),
        ({"type": "object", "parameters": {"type": "object"}}, "", OWN),
        ({"type": 3}, "", OWN),
        ({"type": "bash_20250124", "name": "bash"}, "bash", OF_CLIENT),
        ({"type": "text_editor_20250728", "name": "str_replace_based_edit_tool"}, "text_editor", OF_CLIENT),
        ({"type": "memory_20250818", "name": "memory"}, "memory", OF_CLIENT),
        ({"type": "computer_20250124", "name": "computer"}, "computer", OF_CLIENT),
        ({"type": "computer_use_preview"}, "computer", OF_CLIENT),
        ({"type": "browser_toolset_20260801"}, "browser", OF_CLIENT),
        ({"computerUse": {"environment": "ENVIRONMENT_BROWSER"}}, "computer", OF_CLIENT),
        ({"type": "local_shell"}, "shell", OF_CLIENT),
        ({"type": "shell", "environment": {"type": "local"}}, "shell", OF_CLIENT),
        ({"type": "shell", "environment": {"type": "container_auto"}}, "shell", FEE),
        ({"type": "apply_patch"}, "apply_patch", OF_CLIENT),
        ({"type": "mcp", "server_label": "x"}, "mcp", NO_FEE),
        ({"type": "mcp_toolset", "mcp_server_name": "x"}, "mcp", NO_FEE),
        ({"mcpServers": [{}]}, "mcp", NO_FEE),
        ({"type": "tool_search"}, "tool_search", NO_FEE),
        ({"type": "tool_search_tool_bm25_20251119", "name": "tool_search_tool_bm25"}, "web_search", NO_FEE),
        ({"type": "web_search"}, "web_search", FEE),
        ({"type": "web_search", "parameters": {}}, "web_search", FEE),
        ({"type": "web_search", "function": {"description": "x"}}, "web_search", FEE),
        ({"type": "builtin_function", "function": {"name": "$web_search"}}, "web_search", FEE),
        ({"type": "web_search_20250305", "name": "web_search"}, "web_search", FEE),
        ({"type": "code_interpreter", "container": {"type": "auto"}}, "code", FEE),
        ({"type": "file_search"}, "file_search", FEE),
        ({"type": "image_generation"}, "image_generation", FEE),
        ({"type": "advisor_20260301"}, "advisor", FEE),
        ({"googleSearch": {}}, "web_search", FEE),
        ({"google_search": {}, "functionDeclarations": []}, "web_search", FEE),
        ({"codeExecution": {}}, "code", FEE),
        ({"googleMaps": {}}, "maps", FEE),
        ({"type": "namespace", "name": "n", "tools": [{"type": "file_search"}]}, "file_search", FEE),
        ({"type": "x_search"}, "x_search", FEE),
    ],
    ids=str,
)
def test_what_is_declared(tool: dict[str, Any], kind: str, standing: tuple[bool, bool] | None) -> None:
    body = {"tools": [{"type": "function", "name": "f"}, tool]}
    assert declares_tools(body)
    found = [(each.kind, (each.hosted, each.has_fee)) for each in declared_tools(body)]
    assert found == ([] if standing is OWN else [(kind, standing)])


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ({"web_search_options": {}}, [("web_search", "web_search_options")]),
        ({"web_search_options": None}, []),
        ({"mcp_servers": [{"url": "x"}]}, [("mcp", "mcp_servers")]),
        ({"mcp_servers": []}, []),
        ({"tools": [3, {"type": "file_search"}]}, [("file_search", "tools[1]")]),
        ({"tools": [{"googleSearch": {}, "urlContext": {}}]}, [("web_search", "tools[0]"), ("web_fetch", "tools[0]")]),
        (
            {"input": ["x", {"type": "message"}, {"type": "additional_tools", "tools": [{"type": "web_search"}]}]},
            [("web_search", "input[2].tools[0]")],
        ),
        ({"tools": [{"type": "namespace", "tools": [{"type": "web_search"}]}]}, [("web_search", "tools[0].tools[0]")]),
    ],
)
def test_where_tools_are_declared(body: dict[str, Any], found: list[tuple[str, str]]) -> None:
    assert [(tool.kind, tool.where) for tool in declared_tools(body)] == found


def test_names_are_cut() -> None:
    (tool,) = declared_tools({"tools": [{"type": "x" * 10_000}]})
    assert (tool.name, tool.kind) == ("x" * 64, "x" * 64)


def test_most_requests_declare_nothing() -> None:
    assert not declares_tools({"messages": [], "input": "x"})
