"""Hosted tools between formats: their kinds, their options, and what history says of their calls."""

from __future__ import annotations

from typing import Any

import pytest

from oneapi_mw.canonical.blocks import CacheMark, HostedCall, HostedResult, SearchResult, Text
from oneapi_mw.canonical.request import HostedTool
from oneapi_mw.errors import InvalidRequest
from oneapi_mw.wire.hosted import (
    CHAT,
    GEMINI,
    MESSAGES,
    RESPONSES,
    declare,
    hosted_tool,
    is_client_tool,
    kind_of,
    spoken,
)
from oneapi_mw.wire.target import ConversionOptions

DEFAULT = ConversionOptions()
OSLO = {"city": "Oslo", "country": "NO"}


def tool(format: str, type: str, **raw: Any) -> HostedTool:
    if format == GEMINI:
        return hosted_tool(format, type, {type: raw})
    return hosted_tool(format, type, raw if format == CHAT else {"type": type, **raw})


@pytest.mark.parametrize(
    ("format", "type", "kind"),
    [
        (CHAT, "web_search_options", "web_search"),
        (RESPONSES, "web_search", "web_search"),
        (RESPONSES, "web_search_preview_2025_03_11", "web_search"),
        (RESPONSES, "code_interpreter", "code"),
        (RESPONSES, "computer_use_preview", "computer"),
        (RESPONSES, "local_shell", "shell"),
        (RESPONSES, "mcp", "mcp"),
        (RESPONSES, "brand_new", "brand_new"),
        (MESSAGES, "web_search_20260318", "web_search"),
        (MESSAGES, "web_fetch_20991231", "web_fetch"),
        (MESSAGES, "code_execution_20250825", "code"),
        (MESSAGES, "text_editor_20250728", "text_editor"),
        (MESSAGES, "tool_search_tool_bm25_20251119", "tool_search"),
        (GEMINI, "googleSearch", "web_search"),
        (GEMINI, "googleSearchRetrieval", "web_search"),
        (GEMINI, "urlContext", "web_fetch"),
        (GEMINI, "codeExecution", "code"),
        (GEMINI, "googleMaps", "maps"),
        ("else", "x", "x"),
    ],
)
def test_kinds(format: str, type: str, kind: str) -> None:
    assert kind_of(format, type) == kind


def test_a_tool_goes_back_to_its_own_format_as_it_came() -> None:
    raw = {"type": "web_search_20250305", "name": "web_search", "odd": 1}
    found = hosted_tool(MESSAGES, "web_search_20250305", raw, name="web_search", cache=CacheMark("5m"))
    assert (found.name, found.cache) == ("web_search", CacheMark("5m"))
    declared = declare(found, MESSAGES, "tools[0]", DEFAULT)
    assert (declared.raw, declared.dropped) == (raw, ())


SEARCHES = [
    (
        tool(CHAT, "web_search_options", search_context_size="high", user_location={"approximate": OSLO}),
        RESPONSES,
        {"type": "web_search", "search_context_size": "high", "user_location": {"type": "approximate", **OSLO}},
        (),
    ),
    (
        tool(
            RESPONSES,
            "web_search",
            search_context_size="low",
            filters={"allowed_domains": ["e.org"]},
            user_location=OSLO,
        ),
        CHAT,
        {"search_context_size": "low", "user_location": {"type": "approximate", "approximate": OSLO}},
        ("tools[0].allowed_domains",),
    ),
    (
        tool(RESPONSES, "web_search", search_context_size="medium", filters={"allowed_domains": ["e.org"]}),
        MESSAGES,
        {"type": "web_search_20250305", "name": "web_search", "max_uses": 5, "allowed_domains": ["e.org"]},
        (),
    ),
    (
        tool(MESSAGES, "web_search_20260318", max_uses=7, blocked_domains=["b.org"]),
        RESPONSES,
        {"type": "web_search", "search_context_size": "high"},
        ("tools[0].blocked_domains",),
    ),
    (
        tool(MESSAGES, "web_search_20260318", max_uses=1, blocked_domains=["b.org"]),
        GEMINI,
        {"googleSearch": {"excludeDomains": ["b.org"]}},
        ("tools[0].max_uses",),
    ),
    (
        tool(GEMINI, "googleSearch", excludeDomains=["b.org"], timeRangeFilter={"startTime": "x"}),
        MESSAGES,
        {"type": "web_search_20250305", "name": "web_search", "blocked_domains": ["b.org"]},
        ("tools[0].time_range",),
    ),
    (
        tool(RESPONSES, "web_search", user_location=OSLO),
        MESSAGES,
        {"type": "web_search_20250305", "name": "web_search", "user_location": {"type": "approximate", **OSLO}},
        (),
    ),
    (tool(MESSAGES, "web_fetch_20250910", max_uses=2), GEMINI, {"urlContext": {}}, ("tools[0].max_uses",)),
    (tool(GEMINI, "urlContext"), MESSAGES, {"type": "web_fetch_20250910", "name": "web_fetch"}, ()),
    (tool(GEMINI, "codeExecution"), RESPONSES, {"type": "code_interpreter", "container": {"type": "auto"}}, ()),
    (
        tool(RESPONSES, "code_interpreter", container={"type": "auto", "memory_limit": "4g"}),
        MESSAGES,
        {"type": "code_execution_20250825", "name": "code_execution"},
        ("tools[0].memory_limit",),
    ),
    (tool(MESSAGES, "code_execution_20250825"), GEMINI, {"codeExecution": {}}, ()),
]


@pytest.mark.parametrize(("source", "format", "raw", "dropped"), SEARCHES)
def test_options_between_formats(source: HostedTool, format: str, raw: Any, dropped: tuple[str, ...]) -> None:
    declared = declare(source, format, "tools[0]", DEFAULT)
    assert (declared.raw, declared.dropped) == (raw, dropped)


REFUSED = [
    (tool(RESPONSES, "file_search", vector_store_ids=["v"]), GEMINI),
    (tool(RESPONSES, "code_interpreter", container="cntr_1"), MESSAGES),
    (tool(RESPONSES, "code_interpreter", container={"type": "auto", "file_ids": ["f"]}), GEMINI),
    (tool(RESPONSES, "image_generation"), MESSAGES),
    (tool(MESSAGES, "web_fetch_20250910"), RESPONSES),
    (tool(MESSAGES, "code_execution_20250825"), CHAT),
    (tool(MESSAGES, "bash_20250124"), CHAT),
    (tool(GEMINI, "googleMaps"), RESPONSES),
]


@pytest.mark.parametrize(("source", "format"), REFUSED)
def test_what_a_vendor_does_not_have_is_refused_or_left_out(source: HostedTool, format: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        declare(source, format, "tools[2]", DEFAULT)
    assert (caught.value.param, caught.value.code) == ("tools[2]", "unsupported_parameter")
    assert source.type in caught.value.message
    left_out = declare(source, format, "tools[2]", ConversionOptions(drop_hosted_tools=True))
    assert (left_out.raw, left_out.function, left_out.dropped) == (None, None, ("tools[2]",))


@pytest.mark.parametrize(
    ("source", "name", "argument"),
    [
        (tool(MESSAGES, "bash_20250124"), "bash", "command"),
        (tool(MESSAGES, "text_editor_20250728"), "text_editor", "old_str"),
        (tool(MESSAGES, "memory_20250818"), "memory", "new_path"),
        (tool(RESPONSES, "shell"), "shell", "commands"),
        (tool(RESPONSES, "apply_patch"), "apply_patch", "diff"),
    ],
)
def test_what_the_client_carries_out_may_become_a_function(source: HostedTool, name: str, argument: str) -> None:
    declared = declare(source, GEMINI, "tools[0]", ConversionOptions(emulate_client_tools=True))
    assert is_client_tool(source)
    assert declared.raw is None
    assert declared.dropped == ("tools[0]=emulated",)
    assert declared.function is not None
    assert declared.function.name == name
    assert declared.function.parameters is not None
    assert argument in declared.function.parameters["properties"]


def test_a_function_keeps_the_name_of_its_tool() -> None:
    source = hosted_tool(MESSAGES, "text_editor_20250728", {}, name="str_replace_based_edit_tool")
    declared = declare(source, CHAT, "tools[0]", ConversionOptions(emulate_client_tools=True))
    assert declared.function is not None
    assert declared.function.name == "str_replace_based_edit_tool"


def test_what_history_says() -> None:
    search = HostedCall("web_search", "s", "web_search", {"query": "oslo"})
    pages = HostedResult("s", "web_search", blocks=(SearchResult("https://e.org", "E", ()),))
    assert spoken(search, pages) == "Searched: oslo\n- E: https://e.org"
    assert spoken(HostedCall("web_search", "s", "x", {"queries": ["a", "b"]})) == "Searched: a, b"
    code = HostedCall("code", "c", "x", {"code": "print(1)"})
    assert spoken(code) == "```python\nprint(1)\n```"
    assert spoken(code, HostedResult("c", "code", blocks=(Text("1"),))).endswith("Output:\n```\n1\n```")
    assert spoken(HostedCall("file_search", "f", "file_search")) == "Used the tool file_search."
