from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oneapi_mw.canonical.blocks import ToolCall, ToolResult
from oneapi_mw.canonical.request import CustomTool, FunctionTool, Request, ToolChoice, Turn
from oneapi_mw.wire.names import (
    ANTHROPIC_NAMES,
    BEDROCK_NAMES,
    GEMINI_NAMES,
    OPENAI_NAMES,
    NameMap,
    NameRule,
    tool_names,
)

RULES = [OPENAI_NAMES, ANTHROPIC_NAMES, BEDROCK_NAMES, GEMINI_NAMES]


def test_cv_15_names_are_sanitised_and_restored() -> None:
    names = NameMap(["get.weather", "search"], OPENAI_NAMES)
    assert names["get.weather"] == "get_weather"
    assert names["search"] == "search"
    assert names.changed == {"get_weather": "get.weather"}


def test_a_legal_name_is_never_moved_by_an_illegal_one() -> None:
    names = NameMap(["a.b", "a_b", "a b"], OPENAI_NAMES)
    assert names["a_b"] == "a_b"
    assert names["a b"].startswith("a_b_")
    assert names["a.b"].startswith("a_b_")
    assert len({names["a.b"], names["a_b"], names["a b"]}) == 3


def test_the_order_of_the_names_does_not_matter() -> None:
    assert NameMap(["a.b", "a b"], OPENAI_NAMES).changed == NameMap(["a b", "a.b"], OPENAI_NAMES).changed


def test_gemini_begins_with_a_letter() -> None:
    names = NameMap(["1st", "ns:tool.x", "-dash"], GEMINI_NAMES)
    assert names["1st"] == "_1st"
    assert names["ns:tool.x"] == "ns:tool.x"
    assert names["-dash"] == "_-dash"


def test_long_names_are_cut_and_kept_apart() -> None:
    names = NameMap(["x" * 70 + "1", "x" * 70 + "2"], BEDROCK_NAMES)
    assert names["x" * 70 + "1"] == "x" * 64
    assert len(names["x" * 70 + "2"]) == 64
    assert names["x" * 70 + "2"][-9] == "_"


@pytest.mark.parametrize("rule", RULES)
@given(names=st.sets(st.text(max_size=80), max_size=8))
def test_names_are_legal_and_come_back(rule: NameRule, names: set[str]) -> None:
    mapped = NameMap(names, rule)
    legal = [mapped[name] for name in names]
    assert all(rule.accepts(name) for name in legal)
    assert len(set(legal)) == len(names)
    assert {mapped.changed.get(name, name) for name in legal} == names


def test_a_name_nobody_listed_is_made_legal() -> None:
    assert NameMap([], OPENAI_NAMES)["a.b"] == "a_b"


def test_names_of_a_request() -> None:
    request = Request(
        format="openai_responses",
        model="m",
        tools=(FunctionTool("f", namespace="ns"), CustomTool("c")),
        tool_choice=ToolChoice("required", (("function", "chosen"), ("mcp", "not a tool"))),
        turns=(
            Turn("assistant", (ToolCall("1", "gone", "{}"), ToolCall("2", "h", "{}", namespace="ns"))),
            Turn("user", (ToolResult("1", (), name="answered"),)),
        ),
    )
    assert tool_names(request) == {"ns__f", "c", "chosen", "gone", "ns__h", "answered"}
