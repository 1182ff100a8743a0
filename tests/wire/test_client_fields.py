"""What clients are told of their requests is in their own words."""

from __future__ import annotations

from typing import Any

import pytest

from oneapi_mw.canonical.call import Call
from oneapi_mw.wire.client_fields import client_field, client_fields
from oneapi_mw.wire.wish import ReasoningWish

CHAT, RESPONSES, MESSAGES, GEMINI = "openai_chat", "openai_responses", "anthropic_messages", "gemini"


def told(format: str, path: str, *, wish: ReasoningWish | None = None, **body: Any) -> str:
    (found,) = client_fields(Call("chat", format, "m", False, body, None, wish=wish), (path,))
    return found


@pytest.mark.parametrize(
    ("path", "chat", "responses", "messages", "gemini"),
    [
        ("temperature", "temperature", "temperature", "temperature", "generationConfig.temperature"),
        ("top_k", "top_k", "top_k", "top_k", "generationConfig.topK"),
        ("stop=emulated", "stop=emulated", None, "stop_sequences=emulated", "generationConfig.stopSequences=emulated"),
        (
            "max_output=emulated",
            "max_completion_tokens=emulated",
            "max_output_tokens=emulated",
            "max_tokens=emulated",
            "generationConfig.maxOutputTokens=emulated",
        ),
        (
            "output",
            "response_format",
            "text.format",
            "output_config.format",
            "generationConfig.responseMimeType",
        ),
        (
            "output.schema.properties.n.minimum",
            "response_format.json_schema.schema.properties.n.minimum",
            "text.format.schema.properties.n.minimum",
            "output_config.format.schema.properties.n.minimum",
            "generationConfig.responseSchema.properties.n.minimum",
        ),
        (
            "tool_choice.parallel",
            "parallel_tool_calls",
            "parallel_tool_calls",
            "tool_choice.disable_parallel_tool_use",
            None,
        ),
        ("tool_choice", "tool_choice", "tool_choice", "tool_choice", "toolConfig"),
        ("service.tier", "service_tier", "service_tier", "service_tier", "serviceTier"),
        ("state.store", "store", "store", None, "store"),
        ("identity.metadata", "metadata", "metadata", None, None),
        ("identity.safety_id", "safety_identifier", "safety_identifier", "metadata.user_id", None),
        ("turns[3].detail", "messages[].detail", "input[].detail", "messages[].detail", "contents[].detail"),
        ("turns[0]=emulated", "messages[]=emulated", "input[]=emulated", "messages[]=emulated", "contents[]=emulated"),
        ("safety.settings", None, None, None, "safetySettings"),
        ("state.context_edits[1]", None, "context_management[1]", None, None),
        ("state.context_edits", None, None, "context_management", None),
        ("betas.odd-2026-01-01", None, None, "betas.odd-2026-01-01", None),
        ("x_unknown", "x_unknown", "x_unknown", "x_unknown", "x_unknown"),
    ],
)
def test_names(path: str, chat: str | None, responses: str | None, messages: str | None, gemini: str | None) -> None:
    """`None`: no client of the format can have said it."""
    for format, name in ((CHAT, chat), (RESPONSES, responses), (MESSAGES, messages), (GEMINI, gemini)):
        if name is not None:
            assert told(format, path) == name, format


FUNCTION = {"type": "function", "name": "f"}


@pytest.mark.parametrize(
    ("format", "body", "path", "name"),
    [
        (CHAT, {"tools": [{}, {}]}, "tools[1].strict", "tools[1].function.strict"),
        (CHAT, {"tools": [{}]}, "tools[0].parameters.a.b", "tools[0].function.parameters.a.b"),
        (CHAT, {"tools": [{}]}, "tools[0].grammar=emulated", "tools[0].custom.format=emulated"),
        (CHAT, {"functions": [{}, {}]}, "tools[1].parameters", "functions[1].parameters"),
        (CHAT, {"tools": [{}], "web_search_options": {}}, "tools[1]", "web_search_options"),
        (RESPONSES, {"tools": [FUNCTION]}, "tools[0].strict", "tools[0].strict"),
        (RESPONSES, {"tools": [{"type": "namespace"}, FUNCTION]}, "tools[2].strict", "tools[].strict"),
        (MESSAGES, {"tools": [{}]}, "tools[0].parameters", "tools[0].input_schema"),
        (MESSAGES, {"tools": [{}]}, "tools[0].callers", "tools[0].allowed_callers"),
        (MESSAGES, {"tools": [], "mcp_servers": [{}]}, "tools[0].headers", "mcp_servers.headers"),
        (GEMINI, {"tools": [{"functionDeclarations": [{}, {}]}]}, "tools[1].parameters", "tools[].parameters"),
    ],
)
def test_tools(format: str, body: Any, path: str, name: str) -> None:
    assert told(format, path, **body) == name


@pytest.mark.parametrize(
    ("format", "body", "path", "name"),
    [
        (CHAT, {"max_tokens": 9}, "max_output", "max_tokens"),
        (CHAT, {"max_tokens": 9, "max_completion_tokens": 9}, "max_output", "max_completion_tokens"),
        (MESSAGES, {"output_format": {}}, "output", "output_format"),
    ],
)
def test_things_with_two_names_have_the_one_that_was_used(format: str, body: Any, path: str, name: str) -> None:
    assert told(format, path, **body) == name


ON = ReasoningWish(thinking=True)


@pytest.mark.parametrize(
    ("format", "body", "path", "name"),
    [
        (CHAT, {"reasoning_effort": "none"}, "reasoning_effort", "reasoning_effort"),
        (CHAT, {"thinking": {"type": "enabled"}}, "thinking", "thinking"),
        (CHAT, {"reasoning": {"max_tokens": 9}}, "reasoning.budget", "reasoning"),
        (CHAT, {"extra_body": {"enable_thinking": True}}, "thinking", "extra_body.enable_thinking"),
        (RESPONSES, {"reasoning": {"effort": "none"}}, "reasoning_effort", "reasoning.effort"),
        (RESPONSES, {"reasoning": {"summary": "auto"}}, "thinking", "reasoning"),
        (MESSAGES, {"thinking": {"type": "enabled", "budget_tokens": 9}}, "thinking", "thinking"),
        (MESSAGES, {"thinking": {"type": "disabled"}}, "reasoning_effort", "thinking"),
        (MESSAGES, {"output_config": {"effort": "low"}}, "reasoning_effort", "output_config.effort"),
        (MESSAGES, {"thinking": {"budget_tokens": 9}}, "reasoning.budget", "thinking.budget_tokens"),
        (
            GEMINI,
            {"generationConfig": {"thinkingConfig": {"thinkingBudget": 0}}},
            "reasoning_effort",
            "generationConfig.thinkingConfig.thinkingBudget",
        ),
        (
            GEMINI,
            {"generation_config": {"thinking_config": {"thinking_level": "low"}}},
            "reasoning_effort",
            "generationConfig.thinkingConfig.thinkingLevel",
        ),
        (GEMINI, {}, "thinking", "generationConfig.thinkingConfig"),
    ],
)
def test_reasoning_that_the_body_asked_for(format: str, body: Any, path: str, name: str) -> None:
    assert told(format, path, **body) == name


@pytest.mark.parametrize("format", [CHAT, RESPONSES, MESSAGES, GEMINI])
@pytest.mark.parametrize(
    ("wish", "path", "name"),
    [
        (ON, "thinking", "thinking"),
        (ON, "reasoning_effort", "thinking"),
        (ReasoningWish(thinking=False), "reasoning_effort", "thinking"),
        (ReasoningWish(effort="low"), "thinking", "reasoning_effort"),
        (ReasoningWish(effort="none"), "reasoning_effort", "reasoning_effort"),
    ],
)
def test_reasoning_that_was_wished_for_beside_the_body(format: str, wish: ReasoningWish, path: str, name: str) -> None:
    assert told(format, path, wish=wish) == name


def test_a_wish_for_reasoning_leaves_how_much_to_the_body() -> None:
    assert told(CHAT, "reasoning_effort", wish=ON, reasoning={"effort": "low"}) == "reasoning"
    assert told(CHAT, "reasoning_effort", wish=ReasoningWish(format="raw"), reasoning_effort="low") == (
        "reasoning_effort"
    )


def test_each_is_named_once() -> None:
    call = Call("chat", GEMINI, "m", False, {}, None)
    assert client_fields(call, ("turns[0].name", "turns[1].name", "seed")) == (
        "contents[].name",
        "generationConfig.seed",
    )


def test_without_a_request_the_usual_name_is_told() -> None:
    assert client_field(CHAT, "max_output") == "max_completion_tokens"
    assert client_field("no_format", "max_output") == "max_output"
