"""Requests to and from the canonical model: the worked examples, and what Claude insists on."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from anthropic.types import message_create_params
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from oneapi_mw.canonical.blocks import (
    Audio,
    Block,
    CacheMark,
    CloudUri,
    ContainerFile,
    Document,
    FileRef,
    HostedCall,
    HostedResult,
    Image,
    Inline,
    Nested,
    Opaque,
    PlainText,
    Reasoning,
    ReasoningOpaque,
    ReasoningText,
    Refusal,
    SearchResult,
    Text,
    ToolCall,
    ToolResult,
    Url,
    Video,
)
from oneapi_mw.canonical.call import Call, Outside
from oneapi_mw.canonical.request import (
    AudioOut,
    CachePlan,
    CustomTool,
    FunctionTool,
    Grammar,
    HostedTool,
    Identity,
    McpServer,
    OutputFormat,
    ReasoningAsk,
    Request,
    Safety,
    Sampling,
    Service,
    State,
    Tool,
    ToolChoice,
    ToolSearch,
    Turn,
)
from oneapi_mw.errors import InvalidRequest
from oneapi_mw.models.catalogue import rules_of
from oneapi_mw.wire.anthropic_messages import FORMAT
from oneapi_mw.wire.base import Encoded
from oneapi_mw.wire.restore import Restoration
from oneapi_mw.wire.schema import Emulation
from oneapi_mw.wire.target import ConversionOptions, Target
from tests.wire.requests import HI, PNG, WEATHER, asked, assistant, from_chat, user

VENDOR = "anthropic-claude-v1"
SONNET_45, OPUS_41, OPUS_46, OPUS_47 = "claude-sonnet-4-5", "claude-opus-4-1", "claude-opus-4-6", "claude-opus-4-7"
OPUS_48, OPUS_5, OPUS_55 = "claude-opus-4-8", "claude-opus-5", "claude-opus-5-5"
BODY: TypeAdapter[Any] = TypeAdapter(message_create_params.MessageCreateParamsNonStreaming)


def target(model: str = SONNET_45, **rest: Any) -> Target:
    return Target(model, rules_of(model), VENDOR, **rest)


def options(**rest: Any) -> dict[str, Any]:
    return {"options": ConversionOptions(**rest)}


def messages_call(body: dict[str, Any], *, betas: bytes = b"", operation: str = "chat") -> Call:
    outside = Outside(headers=((b"anthropic-beta", betas),) if betas else ())
    return FORMAT.decode_call(json.dumps({"model": "m", **body}).encode(), operation=operation, outside=outside)


def messages(body: dict[str, Any], **rest: Any) -> Request:
    return FORMAT.decode_request(messages_call(body, **rest))


def request(*turns: Turn, format: str = "openai_responses", **rest: Any) -> Request:
    return asked(*turns, format=format, **rest)


def encode(made: Request, model: str = SONNET_45, **rest: Any) -> Encoded:
    encoded = FORMAT.encode_request(made, target(model, **rest))
    json.dumps(encoded.body)
    return encoded


def body_of(made: Request, model: str = SONNET_45, **rest: Any) -> dict[str, Any]:
    return encode(made, model, **rest).body


def content_of(made: Request, model: str = SONNET_45, **rest: Any) -> Any:
    return [message["content"] for message in body_of(made, model, **rest)["messages"]]


def refusal(made: Request, model: str = SONNET_45, **rest: Any) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        encode(made, model, **rest)
    return caught.value


# The worked examples.

SUM = {
    "type": "object",
    "properties": {"n": {"type": "integer"}},
    "required": ["n"],
    "additionalProperties": False,
}
E1 = {
    "model": "m",
    "max_tokens": 100,
    "system": "Be brief.",
    "messages": [{"role": "user", "content": "Hi"}],
    "stop_sequences": ["END"],
}
E2 = {
    "model": "m",
    "max_tokens": 32000,
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is it?"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
            ],
        }
    ],
}
E3 = {
    "model": "m",
    "max_tokens": 32000,
    "messages": [{"role": "user", "content": "Oslo?"}],
    "tools": [{"name": "get_weather", "description": "Now", "input_schema": WEATHER}],
    "tool_choice": {"type": "tool", "name": "get_weather", "disable_parallel_tool_use": True},
}
E4 = {
    "model": "m",
    "max_tokens": 32000,
    "messages": [
        {"role": "user", "content": "Oslo, with map"},
        {
            "role": "assistant",
            "content": [
                {"type": "text", "text": "Checking."},
                {"type": "tool_use", "id": "call_1", "name": "weather", "input": {"city": "Oslo"}},
                {"type": "tool_use", "id": "call_2", "name": "map", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "call_1", "content": "7 C"},
                {
                    "type": "tool_result",
                    "tool_use_id": "call_2",
                    "is_error": True,
                    "content": [
                        {"type": "text", "text": "low zoom"},
                        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
                    ],
                },
            ],
        },
    ],
    "tools": [
        {"name": "weather", "input_schema": {"type": "object", "properties": {}}},
        {"name": "map", "input_schema": {"type": "object", "properties": {}}},
    ],
}
E5 = {
    "model": "m",
    "max_tokens": 32000,
    "messages": [{"role": "user", "content": "2+2"}],
    "output_config": {"format": {"type": "json_schema", "schema": SUM}},
}
E6 = {
    "model": "m",
    "max_tokens": 32000,
    "system": [
        {"type": "text", "text": "LONG", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
        {"type": "text", "text": "Today: Monday."},
    ],
    "messages": [{"role": "user", "content": "Hi"}],
}
E7 = {
    "model": "m",
    "max_tokens": 32000,
    "thinking": {"type": "adaptive", "display": "summarized"},
    "output_config": {"effort": "high"},
    "messages": [
        {"role": "user", "content": "2+2"},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "Add.", "signature": "EqQB"},
                {"type": "text", "text": "4"},
            ],
        },
        {"role": "user", "content": "+1"},
    ],
}
EXAMPLES = {"E1": E1, "E2": E2, "E3": E3, "E4": E4, "E5": E5, "E6": E6, "E7": E7}


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_come_back(name: str) -> None:
    example = EXAMPLES[name]
    encoded = encode(messages(example))
    assert encoded.body == example
    assert encoded.dropped == ()
    BODY.validate_python(encoded.body)


def test_e1_from_chat() -> None:
    source = {
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
        "max_completion_tokens": 100,
        "stop": ["END"],
    }
    assert body_of(from_chat(source)) == E1


def test_e2_from_chat() -> None:
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}", "detail": "low"}}
    encoded = encode(
        from_chat({"messages": [{"role": "user", "content": [{"type": "text", "text": "What is it?"}, image]}]})
    )
    assert encoded.body == E2
    assert encoded.dropped == ("turns[0].detail",)


def test_cv_22_e3_from_chat_and_parallel_false() -> None:
    function = {"name": "get_weather", "description": "Now", "parameters": WEATHER}
    source = {
        "messages": [{"role": "user", "content": "Oslo?"}],
        "tools": [{"type": "function", "function": function}],
        "tool_choice": {"type": "function", "function": {"name": "get_weather"}},
        "parallel_tool_calls": False,
    }
    assert body_of(from_chat(source)) == E3
    del source["tool_choice"]
    assert body_of(from_chat(source))["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}
    assert "tool_choice" not in body_of(from_chat({**source, "parallel_tool_calls": True}))


def test_e4_from_canonical() -> None:
    made = request(
        user(Text("Oslo, with map")),
        assistant(Text("Checking."), ToolCall("call_1", "weather", '{"city":"Oslo"}'), ToolCall("call_2", "map", "{}")),
        user(
            ToolResult("call_1", (Text("7 C"),)),
            ToolResult("call_2", (Text("low zoom"), Image(Inline("image/png", PNG))), is_error=True),
        ),
        tools=(FunctionTool("weather"), FunctionTool("map")),
    )
    assert body_of(made) == E4


def test_e5_from_chat() -> None:
    form = {"type": "json_schema", "json_schema": {"name": "sum", "schema": SUM, "strict": True}}
    encoded = encode(from_chat({"messages": [{"role": "user", "content": "2+2"}], "response_format": form}))
    assert encoded.body == E5
    assert encoded.restore is None


def test_e6_from_chat() -> None:
    mark = {"mode": "explicit", "ttl": "12h"}
    parts = [
        {"type": "text", "text": "LONG", "prompt_cache_breakpoint": mark},
        {"type": "text", "text": "Today: Monday."},
    ]
    source = {
        "messages": [{"role": "developer", "content": parts}, {"role": "user", "content": "Hi"}],
        "prompt_cache_options": {"mode": "explicit"},
    }
    assert body_of(from_chat(source)) == E6


def test_e7_from_chat() -> None:
    detail = {"type": "reasoning.text", "text": "Add.", "signature": "EqQB", "format": VENDOR, "index": 0}
    source = {
        "reasoning_effort": "high",
        "messages": [
            {"role": "user", "content": "2+2"},
            {"role": "assistant", "content": "4", "reasoning_details": [detail]},
            {"role": "user", "content": "+1"},
        ],
    }
    assert body_of(from_chat(source), OPUS_5) == E7


# Reading what clients of this format send.


def test_everything_a_client_can_say_comes_back() -> None:
    body = {
        "model": "m",
        "max_tokens": 9,
        "system": [{"type": "text", "text": "S", "cache_control": {"type": "ephemeral"}}],
        "temperature": 0.5,
        "top_k": 3,
        "stop_sequences": ["a"],
        "stream": True,
        "metadata": {"user_id": "u1"},
        "service_tier": "standard_only",
        "speed": "fast",
        "inference_geo": "eu",
        "container": {"id": "c", "skills": [{"type": "anthropic", "skill_id": "x"}]},
        "cache_control": {"type": "ephemeral", "ttl": "1h"},
        "context_management": {"edits": [{"type": "clear_thinking_20251015"}]},
        "thinking": {"type": "between_tools"},
        "output_config": {"effort": "low", "task_budget": {"type": "tokens", "total": 5}},
        "diagnostics": {"previous_message_id": "msg_0"},
        "thread": {"type": "create"},
        "tool_choice": {"type": "any", "disable_parallel_tool_use": False},
        "mcp_servers": [{"type": "url", "name": "s", "url": "https://s.example", "authorization_token": "t"}],
        "tools": [
            {
                "name": "f",
                "type": "custom",
                "description": "F",
                "input_schema": {"type": "object", "$defs": {"x": {}}},
                "input_examples": [{}],
                "strict": True,
                "defer_loading": True,
                "allowed_callers": ["direct"],
                "eager_input_streaming": True,
                "cache_control": {"type": "ephemeral", "ttl": "5m"},
            },
            {"type": "web_search_20260318", "name": "web_search", "max_uses": 2, "response_inclusion": "x"},
            {"type": "tool_search_tool_regex_20251119", "name": "tool_search_tool_regex"},
            {
                "type": "mcp_toolset",
                "mcp_server_name": "s",
                "default_config": {"enabled": False, "defer_loading": True},
                "configs": {"t": {"enabled": True}},
            },
        ],
        "messages": [
            {
                "role": "user",
                "content": [
                    {
                        "type": "document",
                        "source": {"type": "text", "media_type": "text/plain", "data": "D"},
                        "title": "T",
                        "context": "C",
                        "citations": {"enabled": True},
                    },
                    {"type": "document", "source": {"type": "url", "url": "https://d.example/x.pdf"}},
                    {"type": "document", "source": {"type": "file", "file_id": "f1"}},
                    {
                        "type": "document",
                        "source": {"type": "content", "content": [{"type": "text", "text": "N"}]},
                    },
                    {"type": "image", "source": {"type": "url", "url": "http://i.example"}, "transformations": {}},
                    {
                        "type": "search_result",
                        "source": "s",
                        "title": "t",
                        "content": [{"type": "text", "text": "x"}],
                        "citations": {"enabled": False},
                    },
                    {"type": "container_upload", "file_id": "f2"},
                    {"type": "news", "x": 1},
                ],
            },
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "", "signature": "EqQB"},
                    {"type": "redacted_thinking", "data": "AAAA"},
                    {
                        "type": "text",
                        "text": "says",
                        "citations": [
                            {
                                "type": "char_location",
                                "document_index": 0,
                                "document_title": "T",
                                "start_char_index": 0,
                                "end_char_index": 1,
                                "cited_text": "D",
                            },
                            {
                                "type": "web_search_result_location",
                                "url": "https://e.org",
                                "title": "E",
                                "encrypted_index": "enc",
                                "cited_text": "x",
                            },
                        ],
                    },
                    {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "q"}},
                    {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []},
                    {
                        "type": "mcp_tool_use",
                        "id": "mcptoolu_1",
                        "name": "t",
                        "server_name": "s",
                        "input": {"a": [1]},
                    },
                    {"type": "mcp_tool_result", "tool_use_id": "mcptoolu_1", "is_error": False, "content": "r"},
                    {"type": "compaction", "content": "Sum", "encrypted_content": "enc"},
                    {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"b": 1.5, "a": None}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {
                        "type": "tool_result",
                        "tool_use_id": "toolu_1",
                        "content": [{"type": "tool_reference", "tool_name": "f"}, {"type": "text", "text": "x"}],
                        "cache_control": {"type": "ephemeral"},
                    }
                ],
            },
            {"role": "system", "content": "Later.", "clear_at": "x"},
        ],
    }
    made = messages(body, betas=b"Context-1M-2025-08-07, files-api-2025-04-14")
    encoded = encode(made)
    tool = body["tools"][0]  # type: ignore[index]
    del tool["type"]
    assert encoded.body == body
    assert encoded.dropped == ()
    betas = encoded.headers[0][1].split(",")
    assert encoded.headers[0][0] == "anthropic-beta"
    assert betas[:2] == ["context-1m-2025-08-07", "files-api-2025-04-14"]
    assert set(betas) >= {"fast-mode-2026-02-01", "task-budgets-2026-03-13", "skills-2025-10-02"}
    assert len(betas) == len(set(betas))


def test_words_of_other_formats_are_understood() -> None:
    body = {
        "max_tokens": 1,
        "messages": [{"role": "user", "content": "Hi"}],
        "stop": "END",
        "tool_choice": "auto",
        "tools": [
            {"type": "function", "function": {"name": "f", "parameters": WEATHER}},
            {"name": "g", "parameters": WEATHER},
        ],
        "output_format": {"type": "json_schema", "schema": SUM},
    }
    made = messages(body)
    assert made.stop == ("END",)
    assert made.tool_choice == ToolChoice("auto")
    assert [tool.parameters for tool in made.tools if isinstance(tool, FunctionTool)] == [WEATHER, WEATHER]
    assert made.output == OutputFormat("schema", schema=SUM)
    assert made.extras == {}


def test_identity_of_a_client_becomes_a_cache_key() -> None:
    made = messages({"messages": [{"role": "user", "content": "Hi"}], "metadata": {"user_id": "u1"}})
    assert made.identity == Identity(safety_id="u1")
    assert made.cache.key is not None
    assert len(made.cache.key) == 32


@pytest.mark.parametrize(
    ("thinking", "config", "ask"),
    [
        ({"type": "enabled", "budget_tokens": 2000}, {}, ReasoningAsk(True, budget=2000)),
        ({"type": "adaptive", "display": "omitted"}, {}, ReasoningAsk(True, display="omitted")),
        ({"type": "disabled"}, {"effort": "low"}, ReasoningAsk(False, "low")),
        ({"type": "between_tools"}, {}, ReasoningAsk(False)),
        (None, {"effort": "max"}, ReasoningAsk(effort="max")),
        (None, {}, None),
    ],
)
def test_what_is_asked_of_reasoning(thinking: Any, config: Any, ask: ReasoningAsk | None) -> None:
    body = {"messages": [{"role": "user", "content": "Hi"}], "thinking": thinking, "output_config": config}
    assert messages(body).reasoning == ask


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "x"}}]}]},
            "messages[0].content[0].source.type",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "tool_result", "content": 7, "tool_use_id": "x"}]}]},
            "messages[0].content[0].content",
        ),
        ({"system": [{"type": "image"}]}, "system[0].source.type"),
        ({"system": [{"type": "redacted_thinking", "data": "x"}]}, "system[0]"),
        ({"tools": [{"input_schema": {}}]}, "tools[0].name"),
        ({"tool_choice": {"type": "x"}}, "tool_choice.type"),
        ({"tool_choice": 7}, "tool_choice"),
        ({"output_config": {"format": {"type": "x"}}}, "output_config.format.type"),
    ],
)
def test_what_is_wrong_is_named(body: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        messages({"messages": [{"role": "user", "content": "Hi"}], **body})
    assert caught.value.param == param


# Turns.


def test_the_user_speaks_first() -> None:
    encoded = encode(request(assistant(Text("Hello")), HI))
    assert [message["role"] for message in encoded.body["messages"]] == ["user", "assistant", "user"]
    assert encoded.body["messages"][0]["content"] == "."
    assert encoded.dropped == ("turns[0]=emulated",)


def test_sides_take_turns() -> None:
    made = request(user(Text("a")), user(Text("b")), assistant(Text("c")), assistant(Text("d")), user(Text("e")))
    assert content_of(made) == [
        [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
        [{"type": "text", "text": "c"}, {"type": "text", "text": "d"}],
        "e",
    ]


def test_empty_texts_and_turns() -> None:
    made = request(user(Text("a"), Text(" ")), assistant(Text("")), user(), assistant(Text("b")), user(Text("\n")))
    assert content_of(made) == ["a", "b", "."]


def test_only_instructions() -> None:
    encoded = encode(Request("openai_chat", "m", (), (Text("Be brief."),)))
    assert encoded.body["messages"] == [{"role": "user", "content": "Be brief."}]
    assert "system" not in encoded.body
    assert encoded.dropped == ("system=emulated",)


def test_cv_12_system_blocks_keep_their_order() -> None:
    texts = tuple(Text(text, origin="developer") for text in ("a", "", "b"))
    assert body_of(request(system=texts))["system"] == [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]


@pytest.mark.parametrize(
    ("turns", "expected"),
    [
        ("uS", [("user", "u"), ("system", "S")]),
        ("uSu", [("user", "uu"), ("system", "S")]),
        ("uaSu", [("user", "u"), ("assistant", "a"), ("user", "u"), ("system", "S")]),
        ("uSSau", [("user", "u"), ("system", "SS"), ("assistant", "a"), ("user", "u")]),
        ("uaSau", [("user", "u"), ("assistant", "a"), ("user", "S"), ("assistant", "a"), ("user", "u")]),
    ],
)
def test_instructions_in_mid_conversation(turns: str, expected: list[tuple[str, str]]) -> None:
    roles: dict[str, Any] = {"u": "user", "a": "assistant", "S": "system"}
    made = request(*(Turn(roles[letter], (Text(letter),)) for letter in turns))
    found = body_of(made, OPUS_48)["messages"]
    assert [(message["role"], joined(message["content"])) for message in found] == expected


def joined(content: Any) -> str:
    return content if isinstance(content, str) else "".join(block["text"] for block in content)


def test_instructions_in_mid_conversation_of_an_older_model() -> None:
    encoded = encode(request(user(Text("u")), assistant(Text("a")), Turn("system", (Text("S"),)), user(Text("v"))))
    assert encoded.body["messages"][2] == {
        "role": "user",
        "content": [{"type": "text", "text": "[system] S"}, {"type": "text", "text": "v"}],
    }
    assert encoded.dropped == ("turns[2].system=emulated",)


def test_cv_16_results_come_first_and_none_is_missing() -> None:
    made = request(
        user(Text("u")),
        assistant(ToolCall("1", "f", ""), ToolCall("2", "f", "")),
        Turn("system", (Text("S"),)),
        user(Text("v"), ToolResult("2", ()), ToolResult("9", (Text("lost"),))),
        tools=(FunctionTool("f"),),
    )
    encoded = encode(made)
    assert encoded.body["messages"][2]["content"] == [
        {"type": "tool_result", "tool_use_id": "2"},
        {"type": "tool_result", "tool_use_id": "1", "is_error": True, "content": "No result was provided."},
        {"type": "text", "text": "[system] S"},
        {"type": "text", "text": "v"},
        {"type": "text", "text": "Result of tool call 9: lost"},
    ]
    assert set(encoded.dropped) == {
        "turns[2].system=emulated",
        "turns[1].missing_result=emulated",
        "turns[3].orphan_result=emulated",
    }


def test_cv_14_a_prefill_the_model_cannot_do() -> None:
    made = from_chat({"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Well, "}]})
    assert content_of(made, SONNET_45) == ["Hi", "Well,"]
    error = refusal(made, OPUS_46)
    assert (error.status, error.param) == (400, "messages")
    assert content_of(made, OPUS_46, **options(emulate_prefill=True))[-1] == "Continue."
    thinking = replace(made, reasoning=ReasoningAsk(True, budget=2000))
    assert refusal(thinking, SONNET_45).code == "unsupported_parameter"
    empty = from_chat({"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": ""}]})
    assert content_of(empty, OPUS_46) == ["Hi"]


def test_names_of_speakers_are_lost() -> None:
    assert encode(request(user(Text("Hi"), name="Ann"))).dropped == ("turns[0].name",)


def test_pictures_of_the_assistant_move_to_the_user() -> None:
    made = request(
        user(Text("Draw")),
        assistant(Text("Here"), Image(Inline("image/png", PNG)), ToolCall("1", "f", "")),
        user(ToolResult("1", (Text("ok"),)), Text("Nice")),
        tools=(FunctionTool("f"),),
    )
    encoded = encode(made)
    kinds = [[block["type"] for block in message["content"]] for message in encoded.body["messages"][1:]]
    assert kinds == [["text", "tool_use"], ["tool_result", "text", "image", "text"]]
    assert encoded.dropped == ("turns[1].image=emulated",)


# Reasoning in the history.

SIGNED = Reasoning((ReasoningText("Add."),), ReasoningOpaque("EqQB", VENDOR))
UNSIGNED = Reasoning((ReasoningText("Add."),))
FOREIGN = Reasoning((ReasoningText("Add."),), ReasoningOpaque("gAAA", "openai-responses-v1", "encrypted"))
SEALED = Reasoning((), ReasoningOpaque("oa1.gemini.X", ""))
REDACTED = Reasoning((), ReasoningOpaque("AAAA", VENDOR, "encrypted"))
SIGNATURE_ONLY = Reasoning((), ReasoningOpaque("EqQB", VENDOR))


def history(*blocks: Block, **rest: Any) -> Request:
    return request(user(Text("2+2")), assistant(*blocks, Text("4")), user(Text("+1")), **rest)


def kinds_of(made: Request, model: str = OPUS_5, **rest: Any) -> list[str]:
    content = content_of(made, model, **rest)[1]
    return ["text"] if isinstance(content, str) else [block["type"] for block in content]


def test_cv_50_signed_blocks_go_back_even_when_they_are_empty() -> None:
    made = history(SIGNED, REDACTED, SIGNATURE_ONLY)
    assert content_of(made, OPUS_5)[1][:3] == [
        {"type": "thinking", "thinking": "Add.", "signature": "EqQB"},
        {"type": "redacted_thinking", "data": "AAAA"},
        {"type": "thinking", "thinking": "", "signature": "EqQB"},
    ]


@pytest.mark.parametrize("block", [UNSIGNED, FOREIGN, SEALED])
def test_cv_51_cv_52_cv_57_only_its_own_signed_reasoning_reaches_claude(block: Reasoning) -> None:
    assert kinds_of(history(block)) == ["text"]
    native = history(block, format="anthropic_messages")
    assert kinds_of(native) == ["text"]


def test_a_signature_of_unknown_origin_on_its_own_wire() -> None:
    block = Reasoning((), ReasoningOpaque("EqQB", ""))
    assert kinds_of(history(block, format="anthropic_messages")) == ["thinking", "text"]
    assert kinds_of(history(block)) == ["text"]


def test_another_vendor_behind_this_wire() -> None:
    encoded = FORMAT.encode_request(history(SIGNED), Target("deepseek-chat", vendor=""))
    assert encoded.body["messages"][1]["content"] == "4"


def test_lost_reasoning_as_text() -> None:
    content = content_of(history(FOREIGN), OPUS_5, **options(reasoning_lost="text"))[1]
    assert content[0]["text"] == "<think>Add.</think>\n\n"


def test_cv_55_no_thinking_blocks_while_thinking_is_off() -> None:
    assert kinds_of(history(SIGNED), SONNET_45) == ["text"]
    assert kinds_of(history(SIGNED, reasoning=ReasoningAsk(True, budget=2000)), SONNET_45) == ["thinking", "text"]
    assert kinds_of(history(SIGNED, reasoning=ReasoningAsk(False)), OPUS_5) == ["text"]
    assert kinds_of(history(SIGNED, reasoning=ReasoningAsk(False)), "claude-sonnet-5-5") == ["thinking", "text"]


def test_cv_54_a_tool_loop_that_began_without_thinking() -> None:
    def loop(*blocks: Block) -> Request:
        return request(
            user(Text("u")),
            assistant(*blocks, ToolCall("1", "f", "")),
            user(ToolResult("1", ())),
            tools=(FunctionTool("f"),),
            reasoning=ReasoningAsk(True, "medium"),
        )

    encoded = encode(loop(), SONNET_45)
    assert "thinking" not in encoded.body
    assert "thinking" in encoded.dropped
    assert encode(loop(SIGNED), SONNET_45).body["thinking"]["type"] == "enabled"
    assert encode(loop(), OPUS_46).body["thinking"]["type"] == "adaptive"


# Thinking asked for.


def test_cv_64_cv_65_thinking_by_model() -> None:
    ask = request(reasoning=ReasoningAsk(True, "high"))
    manual = body_of(ask, SONNET_45)
    assert manual["thinking"] == {"type": "enabled", "budget_tokens": 4096}
    adaptive = body_of(ask, OPUS_47)
    assert adaptive["thinking"] == {"type": "adaptive", "display": "summarized"}
    assert adaptive["output_config"] == {"effort": "high"}


def test_thinking_forced_tools() -> None:
    tools = (FunctionTool("f"),)
    forced = ToolChoice("required", (("function", "f"),))
    implied = request(tools=tools, tool_choice=forced, reasoning=ReasoningAsk(True, "high"))
    body = body_of(implied, SONNET_45)
    assert "thinking" not in body
    assert body["tool_choice"] == {"type": "tool", "name": "f"}
    explicit = replace(implied, reasoning=ReasoningAsk(True, budget=2000))
    encoded = encode(explicit, SONNET_45)
    assert encoded.body["tool_choice"] == {"type": "auto"}
    assert encoded.body["system"] == "You must call the tool f."
    assert "tool_choice=emulated" in encoded.dropped


def test_cv_20_models_that_refuse_to_be_forced() -> None:
    made = request(tools=(FunctionTool("f"),), tool_choice=ToolChoice("required", parallel=False))
    encoded = encode(made, OPUS_55)
    assert encoded.body["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}
    assert encoded.body["system"] == "You must call one of the tools."
    assert encode(made, OPUS_5).body["tool_choice"]["type"] == "any"


def test_cv_04_the_default_limit() -> None:
    assert body_of(request(), SONNET_45)["max_tokens"] == 32000
    assert body_of(request(), "nobody-knows")["max_tokens"] == 8192
    assert body_of(request(), "claude-3-haiku")["max_tokens"] == 4096
    assert body_of(request(), SONNET_45, **options(default_max_output=77))["max_tokens"] == 77
    encoded = encode(request(max_output=10**6), SONNET_45)
    assert (encoded.body["max_tokens"], encoded.dropped) == (64000, ("max_output=emulated",))


# Settings.


def test_cv_07_sampling() -> None:
    both = request(sampling=Sampling(0.5, 0.9, 5))
    encoded = encode(both, SONNET_45)
    assert (encoded.body["temperature"], encoded.body["top_k"]) == (0.5, 5)
    assert "top_p" not in encoded.body
    assert encoded.dropped == ("top_p",)
    fixed = encode(both, OPUS_47)
    assert not {"temperature", "top_p", "top_k"} & set(fixed.body)
    assert set(fixed.dropped) == {"temperature", "top_p", "top_k"}
    hot = encode(request(sampling=Sampling(1.5)), SONNET_45)
    assert (hot.body["temperature"], hot.dropped) == (1, ("temperature=emulated",))
    assert "top_p" not in body_of(both, "nobody-knows")


def test_cv_13_blank_stop_sequences() -> None:
    encoded = encode(request(stop=("\n", "END", "END")))
    assert (encoded.body["stop_sequences"], encoded.dropped) == (["END"], ("stop",))


def test_what_has_no_counterpart_is_named() -> None:
    made = request(
        sampling=Sampling(min_p=0.1, frequency_penalty=1, presence_penalty=1, repetition_penalty=2, seed=1),
        logprobs=2,
        verbosity="low",
        prediction={"type": "content"},
        safety=Safety(settings=[{}], moderation={"model": "x", "policy": {"input": {"mode": "score"}}}),
        identity=Identity(metadata={"a": "b"}, labels={"c": "d"}),
        state=State(store=True, truncation="auto"),
        cache=CachePlan(key="k", retention="24h"),
        service=Service("flex"),
        max_hosted_calls=3,
        reasoning=ReasoningAsk(context="all_turns", mode="pro"),
        extras={"openai_responses": {"image": {}}},
    )
    assert set(encode(made).dropped) == {
        "min_p",
        "frequency_penalty",
        "presence_penalty",
        "repetition_penalty",
        "seed",
        "logprobs",
        "verbosity",
        "prediction",
        "safety.settings",
        "safety.moderation",
        "identity.metadata",
        "identity.labels",
        "state.store",
        "state.truncation",
        "cache.key",
        "cache.retention",
        "service.tier",
        "max_hosted_calls",
        "reasoning.context",
        "reasoning.mode",
        "image",
    }


def test_defaults_are_dropped_without_a_word() -> None:
    made = request(
        sampling=Sampling(frequency_penalty=0, presence_penalty=0, repetition_penalty=1),
        candidates=1,
        verbosity="medium",
        state=State(store=False, truncation="disabled", include=("x",)),
        modalities=("text",),
        output=OutputFormat("text"),
    )
    assert encode(made).dropped == ()


@pytest.mark.parametrize(
    ("format", "rest", "param"),
    [
        ("openai_chat", {"candidates": 2}, "n"),
        ("gemini", {"candidates": 2}, "generationConfig.candidateCount"),
        ("openai_responses", {"state": State(background=True)}, "background"),
        ("openai_responses", {"state": State(previous_id="resp_1")}, "previous_response_id"),
        ("openai_responses", {"state": State(conversation="conv_1")}, "conversation"),
        ("openai_responses", {"prompt_template": {"id": "x"}}, "prompt"),
        ("gemini", {"cache": CachePlan(resource="cachedContents/1")}, "cachedContent"),
        ("openai_responses", {"container": "cntr_1"}, "tools"),
        ("openai_chat", {"modalities": ("text", "audio")}, "modalities"),
        ("openai_chat", {"audio": AudioOut("alloy", "wav")}, "modalities"),
        ("gemini", {"modalities": ("image",)}, "generationConfig.responseModalities"),
        ("openai_chat", {"safety": Safety(moderation={"policy": {"input": {"mode": "block"}}})}, "moderation"),
    ],
)
def test_what_nobody_may_leave_out_is_refused(format: str, rest: dict[str, Any], param: str) -> None:
    error = refusal(request(format=format, **rest))
    assert (error.status, error.code, error.param) == (400, "unsupported_parameter", param)


@pytest.mark.parametrize(
    ("identity", "sent"),
    [
        (Identity("u1"), "u1"),
        (Identity(None, "s1"), "s1"),
        (Identity("u1", "s1"), "u1"),
        (Identity("ann@example.org"), None),
        (Identity("+47 22 33 44 55"), None),
        (Identity("x" * 300), None),
    ],
)
def test_persons_are_not_named(identity: Identity, sent: str | None) -> None:
    user_id = body_of(request(identity=identity))["metadata"]["user_id"]
    if sent is not None:
        assert user_id == sent
    else:
        assert user_id.startswith("u_")
        assert len(user_id) == 34
        assert user_id == body_of(request(identity=identity))["metadata"]["user_id"]


@pytest.mark.parametrize(
    ("tier", "sent"), [("auto", "auto"), ("default", "standard_only"), ("priority", "auto"), ("scale", None)]
)
def test_service_tiers(tier: str, sent: str | None) -> None:
    assert body_of(request(service=Service(tier))).get("service_tier") == sent


def test_compaction_thresholds_of_responses() -> None:
    edits = [{"type": "compaction", "compact_threshold": 1000}]
    encoded = encode(request(state=State(context_edits=edits)))
    compact = {"type": "compact_20260112", "trigger": {"type": "input_tokens", "value": 1000}}
    assert encoded.body["context_management"] == {"edits": [compact]}
    assert encoded.headers == (("anthropic-beta", "compact-2026-01-12"),)


# Content.


def block_of(block: Block, **rest: Any) -> Any:
    return body_of(request(user(Text("See"), block), **rest))["messages"][0]["content"][1]


def test_documents() -> None:
    pdf = Inline("application/octet-stream", "JVBERi0xLjQ=")
    assert block_of(Document(pdf, "a.pdf", context="C")) == {
        "type": "document",
        "source": {"type": "base64", "media_type": "application/pdf", "data": pdf.data},
        "title": "a.pdf",
        "context": "C",
    }
    plain = {"type": "text", "media_type": "text/plain", "data": "a,b"}
    assert block_of(Document(Inline("text/csv", "YSxi")))["source"] == plain
    assert block_of(Document(PlainText("a,b", "text/csv"), title="T")) == {
        "type": "document",
        "source": plain,
        "title": "T",
    }
    nested = block_of(Document(Nested((Text("x"),)), cite=True))
    assert nested["source"] == {"type": "content", "content": [{"type": "text", "text": "x"}]}
    assert nested["citations"] == {"enabled": True}
    url = block_of(Document(Url("https://d.example/x.pdf")))
    assert url["source"] == {"type": "url", "url": "https://d.example/x.pdf"}


def test_citations_do_not_go_with_a_form() -> None:
    made = request(
        user(Document(PlainText("x"), cite=True), Text("?")), output=OutputFormat("schema", schema=dict(SUM))
    )
    encoded = encode(made)
    assert "citations" not in encoded.body["messages"][0]["content"][0]
    assert encoded.dropped == ("turns[0].citations",)


def test_files_need_their_beta() -> None:
    encoded = encode(request(user(Image(FileRef("anthropic", "file_1")), Text("?"))))
    assert encoded.body["messages"][0]["content"][0]["source"] == {"type": "file", "file_id": "file_1"}
    assert encoded.headers == (("anthropic-beta", "files-api-2025-04-14"),)


def test_images() -> None:
    jpeg = Inline("image/jpg", "/9j/4AAQ")
    assert block_of(Image(jpeg))["source"]["media_type"] == "image/jpeg"
    assert block_of(Image(Inline("image/jpeg", PNG)))["source"]["media_type"] == "image/png"
    svg = Inline("image/svg+xml", "PHN2Zy8+")
    assert block_of(Image(svg)) == {"type": "text", "text": "<svg/>"}
    assert block_of(Image(Url("https://i.example/a.png"))) == {
        "type": "image",
        "source": {"type": "url", "url": "https://i.example/a.png"},
    }


def test_search_results() -> None:
    result = SearchResult("https://s.example", "T", (Text("x"),), cite=True)
    assert block_of(result) == {
        "type": "search_result",
        "source": "https://s.example",
        "title": "T",
        "content": [{"type": "text", "text": "x"}],
        "citations": {"enabled": True},
    }


@pytest.mark.parametrize(
    "block",
    [
        Audio(Inline("audio/wav", "UklG")),
        Video(Url("https://v.example")),
        Image(FileRef("openai", "file-1")),
        Image(CloudUri("gs://b/x")),
        Image(Inline("image/tiff", "AAAA")),
        Image(Url("http://i.example")),
        Document(Inline("application/msword", "AAAA")),
        ContainerFile("cfile_1"),
    ],
)
def test_content_nobody_may_leave_out_is_refused(block: Block) -> None:
    error = refusal(request(user(block), format="openai_chat"))
    assert (error.code, error.param) == ("unsupported_parameter", "messages")


@pytest.mark.parametrize("platform", ["bedrock", "vertex"])
def test_urls_are_not_fetched_there(platform: str) -> None:
    assert refusal(request(user(Image(Url("https://i.example")))), platform=platform).code == "unsupported_parameter"


def test_words_where_there_is_no_block() -> None:
    made = request(user(Audio(transcript="Hi")), assistant(Refusal("No.")), user(Text("Why?")))
    encoded = encode(made)
    assert [message["content"] for message in encoded.body["messages"]] == ["Hi", "No.", "Why?"]
    assert encoded.dropped == ("turns[0].audio=emulated", "turns[1].refusal=emulated")


def test_items_of_other_formats() -> None:
    program = Opaque("program", "openai_responses", "program", {})
    assert encode(history(program)).dropped == ("turns[1].program",)
    summary = Opaque("compaction", "openai_responses", "compaction", {"content": "Sum"})
    assert content_of(history(summary))[1][0]["text"] == "Sum"
    sealed = Opaque("compaction", "openai_responses", "compaction", {"encrypted_content": "x"})
    assert (refusal(history(sealed)).status, refusal(history(sealed)).code) == (409, "state_not_portable")
    assert refusal(history(Opaque("item_ref", "openai_responses", "item_reference", {}))).param == "input"


def test_tool_results() -> None:
    made = request(
        assistant(*(ToolCall(str(number), "f", "") for number in range(4))),
        user(
            ToolResult("0", (Text("a"), Text("b"))),
            ToolResult("1", (), is_error=True),
            ToolResult("2", (), is_error=False),
            ToolResult("3", (Image(Inline("image/png", PNG), detail="high"),)),
        ),
        tools=(FunctionTool("f"),),
    )
    encoded = encode(made)
    results = encoded.body["messages"][2]["content"]
    assert results[0]["content"] == [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert results[1] == {"type": "tool_result", "tool_use_id": "1", "is_error": True, "content": "error"}
    assert "content" not in results[2]
    assert results[3]["content"][0]["type"] == "image"
    assert "turns[1].detail" in encoded.dropped


def test_cv_18_arguments_in_the_history() -> None:
    texts = ["", "nope", "[1]", '{"n":12345678901234567890123}']
    made = request(
        assistant(*(ToolCall(str(number), "f", text) for number, text in enumerate(texts))),
        user(Text("go")),
        tools=(FunctionTool("f"),),
    )
    inputs = [block["input"] for block in body_of(made)["messages"][1]["content"]]
    assert inputs == [{}, {"_raw": "nope"}, {"value": [1]}, {"n": 12345678901234567890123}]


def test_hosted_calls_of_others_in_words() -> None:
    call = HostedCall("web_search", "ws_1", "web_search", {"query": "oslo"})
    result = HostedResult("ws_1", "web_search", format="openai_responses", raw={})
    encoded = encode(history(call, result))
    assert encoded.body["messages"][1]["content"][0] == {"type": "text", "text": "Searched: oslo"}
    assert encoded.dropped == ("turns[1].hosted_calls=emulated",)


def test_hosted_calls_of_claude_go_back_in_pairs() -> None:
    raw = {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []}
    call = HostedCall("web_search", "srvtoolu_1", "web_search", {"query": "q"})
    result = HostedResult("srvtoolu_1", "web_search", format="anthropic_messages", raw=raw)
    native: dict[str, Any] = {"format": "anthropic_messages"}
    assert kinds_of(history(call, result, **native)) == ["server_tool_use", "web_search_tool_result", "text"]
    assert kinds_of(history(call, **native)) == ["text"]
    assert kinds_of(history(result, **native)) == ["text"]
    paused = request(user(Text("u")), assistant(Text("a"), call), **native)
    assert body_of(paused, OPUS_5)["messages"][-1]["content"][-1]["type"] == "server_tool_use"


def test_a_citation_made_by_a_gateway_does_not_go_back() -> None:
    location = {"type": "web_search_result_location", "url": "https://e.org", "title": "E", "cited_text": "x"}
    citations = [{**location, "encrypted_index": ""}, {**location, "encrypted_index": "enc"}]
    body = {
        "messages": [
            {"role": "user", "content": "u"},
            {"role": "assistant", "content": [{"type": "text", "text": "a", "citations": citations}]},
            {"role": "user", "content": "v"},
        ]
    }
    found = content_of(messages(body))[1][0]["citations"]
    assert [citation["encrypted_index"] for citation in found] == ["enc"]


# Cache marks.


def marks_of(body: dict[str, Any]) -> list[str]:
    return [part.split('"')[0] for part in json.dumps(body).split('"cache_control": {"type": "ephemeral"')[1:]]


def test_at_most_four_marks_and_the_first_ones_go() -> None:
    turns = [
        turn for number in range(4) for turn in (user(Text(f"u{number}", cache=CacheMark("5m"))), assistant(Text("a")))
    ]
    made = request(*turns, user(Text("end")), system=(Text("S", cache=CacheMark("12h")),))
    encoded = encode(made)
    assert encoded.dropped == ("cache_marks",)
    marked = [
        "cache_control" in message["content"][0]
        for message in encoded.body["messages"][::2]
        if isinstance(message["content"], list)
    ]
    assert marked == [False, True, True, True]
    assert encoded.body["messages"][0]["content"] == [{"type": "text", "text": "u0"}]
    assert encoded.body["system"][0]["cache_control"] == {"type": "ephemeral", "ttl": "1h"}


def test_an_hour_never_follows_five_minutes() -> None:
    made = request(
        user(Text("a", cache=CacheMark("30m")), Text("b", cache=CacheMark("24h")), Text(" ", cache=CacheMark())),
    )
    encoded = encode(made)
    found = [block["cache_control"] for block in encoded.body["messages"][0]["content"]]
    assert found == [{"type": "ephemeral", "ttl": "5m"}] * 2
    assert encoded.dropped == ("cache_marks=emulated",)


def test_caching_of_the_last_block() -> None:
    assert body_of(request(cache=CachePlan("auto_last", "1h")))["cache_control"] == {"type": "ephemeral", "ttl": "1h"}
    assert body_of(request(cache=CachePlan("implicit")))["cache_control"] == {"type": "ephemeral"}
    assert "cache_control" not in body_of(request(cache=CachePlan("explicit")))


# Tools.


def tools_of(*tools: Tool, model: str = SONNET_45, **rest: Any) -> Any:
    return body_of(request(tools=tools, **rest), model)["tools"]


def test_cv_15_names_are_mapped_and_the_way_back_is_told() -> None:
    made = request(
        user(Text("u")),
        assistant(ToolCall("c:1", "get.weather", "{}")),
        user(ToolResult("c:1", ())),
        tools=(FunctionTool("get.weather"), FunctionTool("f", namespace="ns"), CustomTool("patch")),
        tool_choice=ToolChoice("required", (("function", "get.weather"),)),
    )
    encoded = encode(made)
    assert [tool["name"] for tool in encoded.body["tools"]] == ["get_weather", "ns__f", "patch"]
    assert encoded.body["tool_choice"]["name"] == "get_weather"
    use, result = encoded.body["messages"][1]["content"][0], encoded.body["messages"][2]["content"][0]
    assert use["name"] == "get_weather"
    assert use["id"] == result["tool_use_id"]
    assert ":" not in use["id"]
    assert encoded.restore == Restoration(
        names={"get_weather": "get.weather", "ns__f": "f"},
        namespaces={"ns__f": "ns"},
        custom=frozenset({"patch"}),
    )


def test_bedrock_has_shorter_names_and_ids() -> None:
    name, call_id = "n" * 100, "c" * 100
    made = request(assistant(ToolCall(call_id, name, "")), user(ToolResult(call_id, ())), tools=(FunctionTool(name),))
    body = body_of(made, platform="bedrock")
    assert len(body["tools"][0]["name"]) == 64
    assert len(body["messages"][1]["content"][0]["id"]) == 40
    assert body_of(made)["tools"][0]["name"] == name


def test_cv_24_cv_25_schemas() -> None:
    schema = {
        "properties": {"a": {"$ref": "#/$defs/x"}},
        "$defs": {"x": {"minLength": 2}},
        "additionalProperties": False,
    }
    none, kept = tools_of(FunctionTool("f"), FunctionTool("g", "", schema))
    assert none == {"name": "f", "input_schema": {"type": "object", "properties": {}}}
    assert kept == {"name": "g", "input_schema": {"type": "object", **schema}}


def test_parameters_that_are_no_object() -> None:
    encoded = encode(request(tools=(FunctionTool("f", parameters={"type": "array", "items": {"type": "string"}}),)))
    assert encoded.body["tools"][0]["input_schema"]["required"] == ["value"]
    assert encoded.restore is not None
    assert encoded.restore.wrapped == frozenset({"f"})
    assert encoded.dropped == ("tools[0].parameters=emulated",)


def test_cv_72_strict_tools() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 1}}, "required": ["n"]}
    (strict,) = tools_of(FunctionTool("f", parameters=schema, strict=True))
    assert strict["strict"] is True
    assert strict["input_schema"]["additionalProperties"] is False
    assert "minimum" not in strict["input_schema"]["properties"]["n"]
    encoded = encode(request(tools=(FunctionTool("f", parameters=schema, strict=True),)), OPUS_41)
    assert encoded.body["tools"][0] == {"name": "f", "input_schema": schema}
    assert encoded.dropped == ("tools[0].strict",)
    many = tuple(FunctionTool(f"f{number}", parameters=schema, strict=True) for number in range(21))
    assert [tool.get("strict") for tool in tools_of(*many)] == [True] * 20 + [None]


def test_options_of_tools() -> None:
    tool = FunctionTool("f", examples=({"a": 1},), defer=True, callers=("direct", "programmatic"), eager=True)
    encoded = encode(request(tools=(replace(tool, output_schema={}), ToolSearch("server"))))
    assert encoded.body["tools"] == [
        {
            "name": "f",
            "input_schema": {"type": "object", "properties": {}},
            "input_examples": [{"a": 1}],
            "defer_loading": True,
            "allowed_callers": ["direct"],
            "eager_input_streaming": True,
        },
        {"type": "tool_search_tool_bm25_20251119", "name": "tool_search_tool_bm25"},
    ]
    assert encoded.dropped == ("tools[0].callers", "tools[0].output_schema")
    assert set(encoded.headers[0][1].split(",")) == {
        "advanced-tool-use-2025-11-20",
        "fine-grained-tool-streaming-2025-05-14",
    }
    alone = encode(request(tools=(FunctionTool("f", defer=True), ToolSearch("client"))))
    assert "defer_loading" not in alone.body["tools"][0]
    assert alone.dropped == ("tools[0].defer=emulated", "tools[1]=emulated")


def test_custom_tools() -> None:
    tool = CustomTool("patch", "Patch it.", Grammar("lark", "start: X"))
    encoded = encode(
        request(
            assistant(ToolCall("1", "patch", 'a "b"', "custom")),
            user(ToolResult("1", ())),
            tools=(tool,),
            tool_choice=ToolChoice("required", (("custom", "patch"),)),
        )
    )
    assert encoded.body["tools"] == [
        {
            "name": "patch",
            "description": "Patch it.\n\nThe input must match this lark grammar:\nstart: X",
            "input_schema": {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]},
        }
    ]
    assert encoded.body["tool_choice"] == {"type": "tool", "name": "patch"}
    assert encoded.body["messages"][1]["content"][0]["input"] == {"input": 'a "b"'}
    assert "tools[0].grammar=emulated" in encoded.dropped


def test_hosted_tools() -> None:
    search = HostedTool(
        "web_search",
        "web_search",
        "openai_responses",
        {"type": "web_search"},
        options={"size": "low", "allowed_domains": ["e.org"]},
    )
    made = request(tools=(search,), tool_choice=ToolChoice("required", (("web_search", ""),)), max_hosted_calls=7)
    body = body_of(made)
    assert body["tools"] == [
        {"type": "web_search_20250305", "name": "web_search", "max_uses": 1, "allowed_domains": ["e.org"]}
    ]
    assert body["tool_choice"] == {"type": "tool", "name": "web_search"}
    files = HostedTool("file_search", "file_search", "openai_responses", {"type": "file_search"})
    assert refusal(request(tools=(files,))).code == "unsupported_parameter"
    assert encode(request(tools=(files,)), **options(drop_hosted_tools=True)).dropped == ("tools[0]",)


def test_mcp_servers() -> None:
    server = McpServer(
        "s",
        "https://s.example",
        headers={"Authorization": "Bearer t", "X-Other": "x"},
        allowed=("a",),
        approval="never",
    )
    encoded = encode(request(tools=(server,)))
    assert encoded.body["mcp_servers"] == [
        {"type": "url", "name": "s", "url": "https://s.example", "authorization_token": "t"}
    ]
    assert encoded.body["tools"] == [
        {
            "type": "mcp_toolset",
            "mcp_server_name": "s",
            "default_config": {"enabled": False},
            "configs": {"a": {"enabled": True}},
        }
    ]
    assert encoded.dropped == ("tools[0].headers",)
    assert encoded.headers == (("anthropic-beta", "mcp-client-2025-11-20"),)
    assert refusal(request(tools=(replace(server, approval="always"),))).param == "tools"
    assert refusal(request(tools=(McpServer("s", connector="c"),))).param == "tools"


def test_only_allowed_tools_are_sent() -> None:
    tools = (FunctionTool("a"), FunctionTool("b"), FunctionTool("c"))
    only = (("function", "a"), ("function", "c"))
    encoded = encode(request(tools=tools, tool_choice=ToolChoice("required", only)))
    assert [tool["name"] for tool in encoded.body["tools"]] == ["a", "c"]
    assert encoded.body["tool_choice"] == {"type": "any"}
    assert encoded.dropped == ("tool_choice=emulated",)
    assert encode(request(tools=tools, tool_choice=ToolChoice("auto", only))).body["tool_choice"] == {"type": "auto"}


def test_choices() -> None:
    tools = (FunctionTool("a"),)
    for mode, word in (("auto", "auto"), ("none", "none"), ("required", "any")):
        choice = ToolChoice(mode)  # type: ignore[arg-type]
        assert body_of(request(tools=tools, tool_choice=choice))["tool_choice"] == {"type": word}
    none = ToolChoice("none", parallel=False)
    assert body_of(request(tools=tools, tool_choice=none))["tool_choice"] == {"type": "none"}
    assert "tool_choice" not in body_of(request(tool_choice=ToolChoice("required")))
    error = refusal(request(tools=tools, tool_choice=ToolChoice("required", (("function", "z"),))))
    assert error.param == "tool_choice"


def test_duplicate_names() -> None:
    assert len(tools_of(FunctionTool("a"), FunctionTool("a"))) == 1
    assert refusal(request(tools=(FunctionTool("a"), FunctionTool("a", "other")))).param == "tools"
    assert refusal(request(tools=(FunctionTool("a"), CustomTool("a")))).param == "tools"


def test_a_history_with_calls_needs_tools() -> None:
    made = request(assistant(ToolCall("1", "f.g", "")), user(ToolResult("1", ())))
    encoded = encode(made)
    assert encoded.body["tools"] == [{"name": "f_g", "input_schema": {"type": "object", "properties": {}}}]
    assert encoded.body["tool_choice"] == {"type": "none"}
    assert "tools=emulated" in encoded.dropped


# Structured output.


def asking(kind: Any, schema: Any = None, **rest: Any) -> Request:
    return request(output=OutputFormat(kind, schema=schema), **rest)


def test_json_without_a_schema() -> None:
    encoded = encode(asking("json", system=(Text("S"),)))
    assert encoded.body["system"][1]["text"] == "Answer with one JSON object and nothing else."
    assert encoded.dropped == ("output=emulated",)


def test_a_schema_before_4_5_is_a_forced_tool() -> None:
    encoded = encode(asking("schema", SUM), OPUS_41)
    assert encoded.body["tools"] == [{"name": "json_tool_call", "description": "The answer.", "input_schema": SUM}]
    assert encoded.body["tool_choice"] == {"type": "tool", "name": "json_tool_call"}
    assert encoded.restore == Restoration(Emulation("json_tool_call"))
    assert encoded.dropped == ("output=emulated",)


def test_a_schema_as_a_tool_among_others() -> None:
    tools = (FunctionTool("json_tool_call"),)
    encoded = encode(asking("schema", {"type": "array", "items": {"type": "string"}}, tools=tools), OPUS_41)
    assert [tool["name"] for tool in encoded.body["tools"]] == ["json_tool_call", "json_tool_call_2"]
    assert encoded.body["tool_choice"] == {"type": "auto"}
    assert encoded.body["system"] == "Give your final answer by calling the tool json_tool_call_2."
    assert encoded.restore == Restoration(Emulation("json_tool_call_2", wrapped=True))


def test_a_schema_with_thinking_asked_for_by_name() -> None:
    encoded = encode(asking("schema", SUM, reasoning=ReasoningAsk(True, budget=2000)), OPUS_41)
    assert encoded.body["thinking"]["type"] == "enabled"
    assert encoded.body["tool_choice"] == {"type": "auto"}
    assert encoded.body["system"] == "You must call the tool json_tool_call."
    implied = encode(asking("schema", SUM, reasoning=ReasoningAsk(True, "high")), OPUS_41)
    assert "thinking" not in implied.body


def test_cv_27_a_forced_tool_stays_a_tool() -> None:
    made = request(
        tools=(FunctionTool("f", parameters=SUM, strict=True),),
        tool_choice=ToolChoice("required", (("function", "f"),)),
    )
    body = body_of(made)
    assert "output_config" not in body
    assert body["tool_choice"] == {"type": "tool", "name": "f"}


def test_an_enum_is_wrapped() -> None:
    encoded = encode(asking("enum", {"type": "string", "enum": ["a", "b"]}))
    assert encoded.body["output_config"]["format"]["schema"]["properties"]["value"]["enum"] == ["a", "b"]
    assert encoded.restore == Restoration(Emulation(wrapped=True))


def test_a_schema_no_grammar_can_hold_is_emulated() -> None:
    recursive = {
        "type": "object",
        "properties": {"next": {"$ref": "#"}},
        "required": ["next"],
        "additionalProperties": False,
    }
    encoded = encode(asking("schema", recursive))
    assert encoded.body["tools"][0]["input_schema"] == recursive
    assert encode(asking("schema", recursive), OPUS_55).body["system"].startswith("Answer with one JSON value")


# Hosts, betas, counting.


def test_hosts_that_name_the_model_elsewhere() -> None:
    made = request(HI, betas=("context-1m-2025-08-07", "odd-2025-01-01"))
    bedrock = encode(made, platform="bedrock")
    assert bedrock.body["anthropic_version"] == "bedrock-2023-05-31"
    assert bedrock.body["anthropic_beta"] == ["context-1m-2025-08-07"]
    assert not {"model", "stream"} & set(bedrock.body)
    assert bedrock.headers == ()
    assert bedrock.dropped == ("betas.odd-2025-01-01",)
    vertex = encode(made, platform="vertex")
    assert vertex.body["anthropic_version"] == "vertex-2023-10-16"
    assert vertex.headers == (("anthropic-beta", "context-1m-2025-08-07"),)
    search = encode(request(tools=(ToolSearch("server"),)), platform="bedrock")
    assert search.body["anthropic_beta"] == ["tool-search-tool-2025-10-19"]
    assert encode(made, platform="azure").headers[0][1] == "context-1m-2025-08-07,odd-2025-01-01"


def test_manual_thinking_with_tools_needs_a_beta() -> None:
    made = request(tools=(FunctionTool("f"),), reasoning=ReasoningAsk(True, "low"))
    assert encode(made, SONNET_45).headers == (("anthropic-beta", "interleaved-thinking-2025-05-14"),)
    assert encode(made, OPUS_5).headers == ()


def test_counting_tokens() -> None:
    source = from_chat({"messages": [{"role": "user", "content": "Hi"}], "stop": "x", "user": "u", "temperature": 0.5})
    call = messages_call({"messages": [{"role": "user", "content": "Hi"}]}, operation="count_tokens")
    outgoing = FORMAT.encode_call(source, call, target=target())
    assert json.loads(outgoing.body) == {"model": SONNET_45, "messages": [{"role": "user", "content": "Hi"}]}


# Properties.

TEXTS = st.sampled_from(["a", "b ", " "])
CALL_IDS = st.sampled_from(["1", "2", "x:y"])
RESULTS = st.builds(ToolResult, CALL_IDS, st.lists(st.builds(Text, TEXTS), max_size=2).map(tuple))
SAID = st.one_of(
    st.builds(Text, TEXTS),
    st.just(Refusal("no")),
    st.sampled_from([SIGNED, UNSIGNED, FOREIGN, REDACTED]),
    st.builds(ToolCall, CALL_IDS, st.sampled_from(["f", "g.h"]), st.sampled_from(["", "{}", "x"])),
    st.just(Image(Inline("image/png", PNG))),
    st.just(HostedCall("code", "ci_1", "code_interpreter", {"code": "1"})),
)
REPLIED = st.one_of(st.builds(Text, TEXTS), RESULTS, st.just(Image(Inline("image/png", PNG))))
STEPS = st.lists(
    st.tuples(
        st.lists(SAID, max_size=3),
        st.lists(st.builds(Turn, st.just("system"), st.just((Text("S"),))), max_size=1),
        st.lists(REPLIED, min_size=1, max_size=3),
    ),
    min_size=1,
    max_size=4,
)


def flat(body: dict[str, Any]) -> list[tuple[str, Any]]:
    """The conversation as one list of blocks with their roles."""
    return [
        (message["role"], block)
        for message in body["messages"]
        for block in (
            [{"type": "text", "text": message["content"]}]
            if isinstance(message["content"], str)
            else message["content"]
        )
    ]


@settings(deadline=None)
@given(steps=STEPS, model=st.sampled_from([SONNET_45, OPUS_48, OPUS_55]))
def test_cv_62_a_longer_conversation_begins_as_the_shorter_one(steps: Any, model: str) -> None:
    before: list[tuple[str, Any]] = []
    turns: list[Turn] = []
    # instructions stay behind what the user said before them only where the assistant has answered that
    answer = [Text("r")] if rules_of(model).system_between else []
    for said, between, replied in steps:
        turns += [assistant(*said, *answer), *between, user(*replied)]
        body = body_of(request(*turns, tools=(FunctionTool("f"), FunctionTool("g.h"))), model)
        found = flat(body)
        assert found[: len(before)] == before
        assert_accepted(body)
        before = found


def assert_accepted(body: dict[str, Any]) -> None:
    """What a vendor refuses."""
    BODY.validate_python(body)
    turns = body["messages"]
    assert turns[0]["role"] == "user"
    ids: set[str] = set()
    asked: list[str] = []
    for before, turn in zip([None, *turns], turns, strict=False):
        assert before is None or before["role"] != turn["role"]
        if turn["role"] == "system":
            assert before is not None
            assert before["role"] == "user"
            continue
        blocks = turn["content"] if isinstance(turn["content"], list) else []
        assert turn["content"]
        assert all(block["text"].strip() for block in blocks if block["type"] == "text")
        results = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
        assert [block["type"] for block in blocks[: len(results)]] == ["tool_result"] * len(results)
        assert sorted(results) == sorted(asked)
        asked = [block["id"] for block in blocks if block["type"] == "tool_use"]
        assert not ids & set(asked)
        assert len(set(asked)) == len(asked)
        assert all(part.isalnum() or part in "_-" for call_id in asked for part in call_id)
        ids |= set(asked)
    assert not asked


NATIVE_BLOCKS = st.one_of(
    st.builds(Text, st.sampled_from(["a", "b "]), cache=st.none() | st.just(CacheMark("1h"))),
    st.builds(Image, st.sampled_from([Inline("image/png", PNG), Url("https://a.example"), FileRef("anthropic", "f")])),
    st.builds(
        Document,
        st.sampled_from([PlainText("x"), Nested((Text("y"),)), Inline("application/pdf", "JVBERi0=")]),
        title=st.none() | st.just("t"),
        context=st.none() | st.just("c"),
        cite=st.none() | st.booleans(),
    ),
    st.builds(SearchResult, st.just("s"), st.just("t"), st.just((Text("x"),)), st.none() | st.booleans()),
    st.builds(ContainerFile, st.just("f")),
)


@settings(deadline=None)
@given(
    blocks=st.lists(NATIVE_BLOCKS, min_size=1, max_size=4),
    made=st.builds(
        Request,
        st.just("anthropic_messages"),
        st.just("m"),
        max_output=st.integers(0, 9),
        system=st.lists(st.builds(Text, st.just("S"), origin=st.just("system")), max_size=2).map(tuple),
        sampling=st.builds(Sampling, st.none() | st.just(0.5), st.none() | st.just(0.9), st.none() | st.just(3)),
        stop=st.sampled_from([(), ("a", "b")]),
        output=st.none() | st.just(OutputFormat("schema", schema=SUM)),
        reasoning=st.sampled_from(
            [None, ReasoningAsk(True, "low", display="omitted"), ReasoningAsk(True, budget=9), ReasoningAsk(False)]
        ),
        service=st.builds(Service, st.sampled_from([None, "auto", "default"]), st.sampled_from([None, "fast"])),
        tool_choice=st.sampled_from([None, ToolChoice("auto"), ToolChoice("required", parallel=False)]),
        tools=st.just((FunctionTool("f", "F", {"type": "object"}, True),)),
        extras=st.sampled_from([{}, {"anthropic_messages": {"diagnostics": {"x": 1}}}]),
    ),
)
def test_requests_of_this_format_come_back(blocks: list[Block], made: Request) -> None:
    made = replace(made, turns=(user(*blocks),))
    assert messages(body_of(made)) == made


# Corners.


def test_thinking_of_a_client_with_betas() -> None:
    thinking = {"type": "adaptive", "display": "updates", "block_binding": {"prefix_mismatch_behavior": "drop_block"}}
    body = {"max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}], "thinking": thinking}
    encoded = encode(messages(body))
    assert encoded.body["thinking"] == thinking
    assert encoded.headers == (
        (
            "anthropic-beta",
            "thinking-display-updates-2026-08-18,thinking-binding-controls-2026-08-01",
        ),
    )


def test_a_thread_that_goes_on_is_no_business_of_others() -> None:
    thread = {"type": "continue", "previous_message_id": "msg_0"}
    made = messages({"max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}], "thread": thread})
    assert made.state.conversation == thread
    assert encode(made).body["thread"] == thread


def test_callers_and_allowed_tools_of_the_old_form() -> None:
    use = {"type": "tool_use", "id": "1", "name": "f", "input": {}, "caller": {"type": "direct"}}
    server = {
        "type": "url",
        "name": "s",
        "url": "https://s.example",
        "tool_configuration": {"enabled": True, "allowed_tools": ["t"]},
    }
    body = {
        "max_tokens": 9,
        "mcp_servers": [server],
        "messages": [
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": [use]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1"}]},
        ],
    }
    made = messages(body)
    assert made.tools == (McpServer("s", "https://s.example", allowed=("t",), approval="never"),)
    assert content_of(made)[1] == [use]


def test_sound_in_the_history_is_its_words() -> None:
    encoded = encode(history(Audio(transcript="four", audio_id="a1")))
    assert encoded.body["messages"][1]["content"][0]["text"] == "four"
    assert encoded.dropped == ("turns[1].audio=emulated",)
    assert refusal(history(Audio(audio_id="a1"))).code == "unsupported_parameter"


def test_foreign_items_of_the_user() -> None:
    opaque = Opaque("foreign", "openai_chat", "news", {"type": "news"})
    assert encode(request(user(Text("Hi"), opaque))).dropped == ("turns[0].news",)


def test_a_broken_document_is_refused() -> None:
    assert refusal(request(user(Document(Inline("text/plain", "a"))))).status == 400


def test_a_prefill_that_ends_in_a_call_of_claude() -> None:
    raw = {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []}
    call = HostedCall("web_search", "srvtoolu_1", "web_search", {"query": "q"})
    result = HostedResult("srvtoolu_1", "web_search", format="anthropic_messages", raw=raw)
    body = body_of(request(user(Text("u")), assistant(call, result)), OPUS_5)
    assert [block["type"] for block in body["messages"][-1]["content"]] == ["server_tool_use", "web_search_tool_result"]


def test_a_prefill_that_ends_in_reasoning() -> None:
    made = request(user(Text("u")), assistant(Text("a"), SIGNED), reasoning=None)
    target_ = Target("nobody-knows", vendor=VENDOR)
    assert FORMAT.encode_request(made, target_).body["messages"][-1]["content"][-1]["type"] == "thinking"


def test_a_form_that_is_described() -> None:
    made = request(output=OutputFormat("schema", schema=dict(SUM), description="The sum."))
    assert body_of(made)["output_config"]["format"]["schema"]["description"] == "The sum."


def test_a_schema_as_a_tool_after_other_calls() -> None:
    made = request(
        assistant(ToolCall("1", "f", "")), user(ToolResult("1", ())), output=OutputFormat("schema", schema=dict(SUM))
    )
    body = body_of(made, OPUS_41)
    assert [tool["name"] for tool in body["tools"]] == ["json_tool_call"]
    assert body["tool_choice"] == {"type": "tool", "name": "json_tool_call"}


def test_edits_nobody_knows() -> None:
    assert encode(request(state=State(context_edits=[{"type": "odd"}]))).dropped == ("state.context_edits",)


def test_allowed_tools_of_every_kind() -> None:
    search = HostedTool("web_search", "web_search", "openai_responses", {"type": "web_search"})
    tools = (CustomTool("c"), CustomTool("d"), search, McpServer("s", "https://s.example"), ToolSearch("server"))
    only = (("custom", "c"), ("mcp", "s"))
    kept = body_of(request(tools=tools, tool_choice=ToolChoice("auto", only)))["tools"]
    assert [tool.get("name") or tool["mcp_server_name"] for tool in kept] == ["c", "s", "tool_search_tool_bm25"]


def test_client_tools_of_others_as_functions() -> None:
    shell = HostedTool("shell", "shell", "openai_responses", {"type": "shell"})
    encoded = encode(request(tools=(shell,)), **options(emulate_client_tools=True))
    assert encoded.body["tools"][0]["name"] == "shell"
    assert encoded.dropped == ("tools[0]=emulated",)


def test_a_choice_within_a_namespace() -> None:
    made = request(tools=(FunctionTool("f", namespace="ns"),), tool_choice=ToolChoice("required", (("function", "f"),)))
    assert body_of(made)["tool_choice"] == {"type": "tool", "name": "ns__f"}
