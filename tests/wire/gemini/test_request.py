"""Whole requests of generateContent, to and from the canonical model."""

from __future__ import annotations

import base64
import copy
from dataclasses import replace
from typing import Any

import orjson
import pytest
from google.genai import types
from hypothesis import given, settings
from hypothesis import strategies as st

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
    ImageOut,
    McpServer,
    OutputFormat,
    ReasoningAsk,
    Request,
    Safety,
    Sampling,
    Service,
    State,
    ToolChoice,
    ToolSearch,
    Turn,
)
from oneapi_mw.errors import InvalidRequest
from oneapi_mw.models.catalogue import rules_of
from oneapi_mw.models.rules import UNKNOWN, ModelRules
from oneapi_mw.types import JsonObject
from oneapi_mw.wire.gemini import FORMAT
from oneapi_mw.wire.gemini.content import PLACEHOLDER
from oneapi_mw.wire.target import ConversionOptions, Target
from tests.canonical.strategies import blocks as any_block
from tests.wire.requests import HI, PNG, WEATHER, assistant, from_chat, user

VENDOR = "google-gemini-v1"
GEMINI_3 = rules_of("gemini-3-flash")
GEMINI_2_5 = rules_of("gemini-2.5-flash")
GEMINI_1_5 = rules_of("gemini-1.5-pro")


def to(rules: ModelRules = UNKNOWN, **more: Any) -> Target:
    return Target("m", rules, **{"vendor": VENDOR, **more})


def request(*turns: Turn, **more: Any) -> Request:
    return Request(**{"format": "openai_chat", "model": "m", "turns": turns or (HI,), **more})


def encode(asked: Request, target: Target | None = None) -> JsonObject:
    return FORMAT.encode_request(asked, target or to()).body


def dropped(asked: Request, target: Target | None = None) -> tuple[str, ...]:
    return FORMAT.encode_request(asked, target or to()).dropped


def call(body: JsonObject, *, action: str = "generateContent") -> Call:
    outside = Outside(f"/v1beta/models/m:{action}")
    return FORMAT.decode_call(orjson.dumps(body), operation="chat", outside=outside)


def decode(body: JsonObject) -> Request:
    return FORMAT.decode_request(call({"contents": [{"role": "user", "parts": [{"text": "Hi"}]}], **body}))


def contents(*turns: Turn, target: Target | None = None, **more: Any) -> list[Any]:
    found: list[Any] = encode(request(*turns, **more), target)["contents"]
    return found


# The worked examples: conversion.md 3.33.

USER = {"role": "user"}
E: list[tuple[str, JsonObject, JsonObject, ModelRules]] = [
    (
        "E1",
        {
            "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
            "max_completion_tokens": 100,
            "stop": ["END"],
        },
        {
            "systemInstruction": {"parts": [{"text": "Be brief."}]},
            "contents": [{"role": "user", "parts": [{"text": "Hi"}]}],
            "generationConfig": {"maxOutputTokens": 100, "stopSequences": ["END"]},
        },
        UNKNOWN,
    ),
    (
        "E2",
        {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "What is it?"},
                        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}", "detail": "low"}},
                    ],
                }
            ]
        },
        {
            "contents": [
                {
                    "role": "user",
                    "parts": [
                        {"text": "What is it?"},
                        {
                            "inlineData": {"mimeType": "image/png", "data": PNG},
                            "mediaResolution": {"level": "MEDIA_RESOLUTION_LOW"},
                        },
                    ],
                }
            ]
        },
        GEMINI_3,
    ),
    (
        "E3",
        {
            "messages": [{"role": "user", "content": "Oslo?"}],
            "tools": [
                {
                    "type": "function",
                    "function": {"name": "get_weather", "description": "Now", "parameters": WEATHER},
                }
            ],
            "tool_choice": {"type": "function", "function": {"name": "get_weather"}},
            "parallel_tool_calls": False,
        },
        {
            "contents": [{"role": "user", "parts": [{"text": "Oslo?"}]}],
            "tools": [
                {
                    "functionDeclarations": [
                        {"name": "get_weather", "description": "Now", "parametersJsonSchema": WEATHER}
                    ]
                }
            ],
            "toolConfig": {
                "functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["get_weather"]},
            },
        },
        UNKNOWN,
    ),
    (
        "E5",
        {
            "messages": [{"role": "user", "content": "2+2"}],
            "response_format": {
                "type": "json_schema",
                "json_schema": {
                    "name": "sum",
                    "schema": {
                        "type": "object",
                        "properties": {"n": {"type": "integer"}},
                        "required": ["n"],
                        "additionalProperties": False,
                    },
                    "strict": True,
                },
            },
        },
        {
            "contents": [{"role": "user", "parts": [{"text": "2+2"}]}],
            "generationConfig": {
                "responseMimeType": "application/json",
                "responseJsonSchema": {
                    "type": "object",
                    "properties": {"n": {"type": "integer"}},
                    "required": ["n"],
                    "additionalProperties": False,
                },
            },
        },
        UNKNOWN,
    ),
]


@pytest.mark.parametrize(("name", "chat", "gemini", "rules"), E, ids=[entry[0] for entry in E])
def test_worked_examples(name: str, chat: JsonObject, gemini: JsonObject, rules: ModelRules) -> None:
    encoded = FORMAT.encode_request(from_chat(chat), to(rules))
    assert encoded.body == gemini
    assert encoded.dropped == ()


def e4() -> Request:
    image = Image(Inline("image/png", PNG))
    calls = (
        Text("Checking."),
        ToolCall("call_1", "weather", '{"city":"Oslo"}', opaque=ReasoningOpaque("Ci4B", VENDOR)),
        ToolCall("call_2", "map", "{}"),
    )
    results = (ToolResult("call_1", (Text("7 C"),)), ToolResult("call_2", (Text("low zoom"), image), is_error=True))
    return request(user(Text("Oslo, with map")), assistant(*calls), user(*results))


E4 = [
    {"role": "user", "parts": [{"text": "Oslo, with map"}]},
    {
        "role": "model",
        "parts": [
            {"text": "Checking."},
            {
                "functionCall": {"id": "call_1", "name": "weather", "args": {"city": "Oslo"}},
                "thoughtSignature": "Ci4B",
            },
            {"functionCall": {"id": "call_2", "name": "map", "args": {}}},
        ],
    },
    {
        "role": "user",
        "parts": [
            {"functionResponse": {"id": "call_1", "name": "weather", "response": {"output": "7 C"}}},
            {
                "functionResponse": {
                    "id": "call_2",
                    "name": "map",
                    "response": {"error": "low zoom"},
                    "parts": [{"inlineData": {"mimeType": "image/png", "data": PNG}}],
                }
            },
        ],
    },
]


def test_e4_parallel_calls_with_results() -> None:
    assert encode(e4(), to(GEMINI_3))["contents"] == E4


def test_e4_read_back() -> None:
    turns = decode({"contents": E4}).turns
    assert turns[1].blocks == e4().turns[1].blocks
    first, second = turns[2].blocks
    assert first == ToolResult("call_1", (Text("7 C"),), "weather")
    assert second == ToolResult("call_2", (Text("low zoom"), Image(Inline("image/png", PNG))), "map", is_error=True)


def test_e4_for_models_before_3() -> None:
    found = FORMAT.encode_request(e4(), to(GEMINI_2_5))
    *_, model, user = found.body["contents"]
    assert "id" not in model["parts"][1]["functionCall"]
    assert user["parts"] == [
        {"functionResponse": {"name": "weather", "response": {"output": "7 C"}}},
        {"functionResponse": {"name": "map", "response": {"error": "low zoom"}}},
        {"inlineData": {"mimeType": "image/png", "data": PNG}},
    ]
    assert "tool_result.media=emulated" in found.dropped


def test_e6_marks_say_nothing() -> None:
    asked = request(system=(Text("LONG", cache=CacheMark("1h")), Text("Today: Monday.")))
    assert FORMAT.encode_request(asked, to()).dropped == ()
    assert encode(asked)["systemInstruction"] == {"parts": [{"text": "LONG"}, {"text": "Today: Monday."}]}


def test_e7_reasoning_asked_for_with_history() -> None:
    asked = from_chat(
        {
            "reasoning_effort": "high",
            "messages": [
                {"role": "user", "content": "2+2"},
                {
                    "role": "assistant",
                    "content": "4",
                    "reasoning_details": [
                        {"type": "reasoning.text", "text": "Add.", "signature": "EqQB", "format": "anthropic-claude-v1"}
                    ],
                },
                {"role": "user", "content": "+1"},
            ],
        }
    )
    found = encode(asked, to(GEMINI_3))
    assert found["generationConfig"]["thinkingConfig"] == {"thinkingLevel": "HIGH", "includeThoughts": True}
    assert found["contents"][1] == {"role": "model", "parts": [{"text": "4"}]}
    own = assistant(Text("4", opaque=ReasoningOpaque("Ci4B", VENDOR)))
    assert contents(HI, own, HI)[1]["parts"] == [{"text": "4", "thoughtSignature": "Ci4B"}]


# The client's own format, field by field.

NATIVE: list[tuple[str, JsonObject]] = [
    ("system", {"systemInstruction": {"parts": [{"text": "a"}, {"text": "b"}]}}),
    (
        "config",
        {
            "generationConfig": {
                "temperature": 0.5,
                "topP": 0.9,
                "topK": 3,
                "maxOutputTokens": 9,
                "stopSequences": ["x"],
                "candidateCount": 2,
                "seed": 7,
                "presencePenalty": 0.1,
                "frequencyPenalty": 0.2,
                "responseLogprobs": True,
                "logprobs": 3,
                "mediaResolution": "MEDIA_RESOLUTION_LOW",
                "audioTimestamp": True,
            }
        },
    ),
    ("budget", {"generationConfig": {"thinkingConfig": {"thinkingBudget": -1, "includeThoughts": False}}}),
    ("level", {"generationConfig": {"thinkingConfig": {"thinkingLevel": "LOW"}}}),
    (
        "openapi schema",
        {
            "generationConfig": {
                "responseMimeType": "application/json",
                "responseSchema": {"type": "OBJECT", "properties": {"n": {"type": "INTEGER", "nullable": True}}},
            }
        },
    ),
    (
        "enum",
        {
            "generationConfig": {
                "responseMimeType": "text/x.enum",
                "responseSchema": {"type": "STRING", "enum": ["a", "b"]},
            }
        },
    ),
    (
        "speech",
        {
            "generationConfig": {
                "responseModalities": ["AUDIO"],
                "speechConfig": {
                    "voiceConfig": {"prebuiltVoiceConfig": {"voiceName": "Kore"}},
                    "languageCode": "de-DE",
                },
            }
        },
    ),
    (
        "image",
        {
            "generationConfig": {
                "responseModalities": ["TEXT", "IMAGE"],
                "imageConfig": {"aspectRatio": "1:1", "imageSize": "2K", "personGeneration": "ALLOW_ALL"},
            }
        },
    ),
    (
        "tools",
        {
            "tools": [
                {
                    "functionDeclarations": [
                        {"name": "f", "description": "F", "parameters": {"type": "OBJECT", "properties": {}}},
                        {"name": "g", "parametersJsonSchema": WEATHER, "behavior": "BLOCKING"},
                    ]
                },
                {"googleSearch": {"excludeDomains": ["a.example"]}},
                {"codeExecution": {}},
            ],
            "toolConfig": {
                "functionCallingConfig": {"mode": "VALIDATED", "allowedFunctionNames": ["f"]},
                "retrievalConfig": {"languageCode": "en"},
            },
        },
    ),
    (
        "mcp",
        {"tools": [{"mcpServers": [{"name": "s", "streamableHttpTransport": {"url": "https://a.example"}}]}]},
    ),
    (
        "beside",
        {
            "safetySettings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}],
            "cachedContent": "cachedContents/1",
            "labels": {"a_b": "c"},
            "serviceTier": "flex",
            "store": True,
        },
    ),
    (
        "parts",
        {
            "contents": [
                {
                    "role": "user",
                    "parts": [
                        {"inlineData": {"mimeType": "application/pdf", "data": "JVBERi0="}},
                        {
                            "fileData": {"mimeType": "video/mp4", "fileUri": "gs://b/v.mp4"},
                            "videoMetadata": {"startOffset": "1s", "fps": 2.0},
                        },
                        {"fileData": {"fileUri": "https://youtu.be/x"}},
                        {"text": "a", "partMetadata": {"k_1": 1}},
                        {"brandNew": {"x": 1}},
                    ],
                },
                {
                    "role": "model",
                    "parts": [
                        {"text": "t", "thought": True},
                        {"text": "a", "thoughtSignature": "Ci4B"},
                        {"executableCode": {"language": "PYTHON", "code": "1"}},
                        {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1"}},
                        {"text": "", "thoughtSignature": "Q2k9"},
                    ],
                },
                {"role": "user", "parts": [{"text": "b"}]},
            ]
        },
    ),
    ("calls", {"contents": E4}),
]


@pytest.mark.parametrize(("name", "body"), NATIVE, ids=[entry[0] for entry in NATIVE])
def test_its_own_format_comes_back_field_for_field(name: str, body: JsonObject) -> None:
    whole = {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}], **body}
    before = copy.deepcopy(whole)
    asked = FORMAT.decode_request(call(whole))
    encoded = FORMAT.encode_request(asked, to())
    assert encoded.body == whole == before
    assert encoded.dropped == ()
    assert FORMAT.decode_request(call(encoded.body)) == asked


THOUGHTS: list[JsonObject] = [{"text": "a ", "thought": True}, {"text": "b", "thought": True}]
SIGNED = {"text": "", "thought": True, "thoughtSignature": "Ci4B"}
OPAQUE = ReasoningOpaque("Ci4B", VENDOR)


@pytest.mark.parametrize(
    ("parts", "blocks"),
    [
        (THOUGHTS, (Reasoning((ReasoningText("a b"),)),)),
        ([*THOUGHTS, SIGNED], (Reasoning((ReasoningText("a b"),), OPAQUE),)),
        (
            [*THOUGHTS, SIGNED, *THOUGHTS],
            (Reasoning((ReasoningText("a b"),), OPAQUE), Reasoning((ReasoningText("a b"),))),
        ),
        (
            [*THOUGHTS, {"text": "x", "thoughtSignature": base64.b64encode(b"oa1.y").decode()}],
            (Reasoning((ReasoningText("a b"),), ReasoningOpaque("oa1.y", "")), Text("x")),
        ),
        ([{"text": "x"}, {"text": "y"}, *THOUGHTS[:1], {"text": "z"}], None),
        ([{"text": "x"}, {"text": "y"}], (Text("xy"),)),
        ([{"text": "x"}, {"text": "y", "thoughtSignature": "Ci4B"}], (Text("x"), Text("y", opaque=OPAQUE))),
        ([{"text": "x", "thoughtSignature": "Ci4B"}, {"text": "y"}], (Text("x", opaque=OPAQUE), Text("y"))),
        (
            [{"text": "x"}, {"text": "y", "partMetadata": {"k": 1}}],
            (Text("x"), Text("y", extras={"gemini": {"partMetadata": {"k": 1}}})),
        ),
    ],
    ids=["thoughts", "signed", "signed twice", "enveloped", "mixed", "texts", "signed text", "after it", "extras"],
)
def test_parts_of_one_stretch_are_one_block(parts: list[JsonObject], blocks: tuple[Block, ...] | None) -> None:
    asked = decode({"contents": [{"parts": [{"text": "p"}, {"text": "q"}]}, {"role": "model", "parts": parts}]})
    assert asked.turns[0].blocks == (Text("p"), Text("q"))
    assert asked.turns[1].blocks == (blocks or (Text("xy"), Reasoning((ReasoningText("a "),)), Text("z")))


def test_underscores_mean_the_same() -> None:
    snake = {
        "system_instruction": {"parts": [{"text": "a"}]},
        "generation_config": {"max_output_tokens": 9, "thinking_config": {"thinking_budget": 5}},
        "tools": [{"function_declarations": [{"name": "f", "parameters": {"type": "OBJECT", "any_of": []}}]}],
        "tool_config": {"function_calling_config": {"mode": "any", "allowed_function_names": ["f"]}},
        "contents": [
            {"role": "user", "parts": [{"inline_data": {"mime_type": "image/png", "data": PNG}}]},
            {"role": "model", "parts": [{"function_call": {"name": "f", "args": {"snake_case": 1}}}]},
        ],
    }
    asked = decode(snake)
    assert asked.system == (Text("a", origin="system"),)
    assert (asked.max_output, asked.reasoning) == (9, ReasoningAsk(on=True, budget=5))
    assert asked.tool_choice == ToolChoice("required", (("function", "f"),))
    assert asked.turns[1].blocks[0].arguments == '{"snake_case":1}'  # type: ignore[union-attr]
    tool = asked.tools[0]
    assert isinstance(tool, FunctionTool)
    assert tool.parameters == {"type": "object", "anyOf": []}


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"contents": [{"role": "system", "parts": [{"text": "a"}]}]}, "contents[0].role"),
        ({"contents": [{"role": "user", "parts": [{}]}]}, "contents[0].parts[0]"),
        ({"contents": [{"parts": [{"text": "a", "fileData": {"fileUri": "x"}}]}]}, "contents[0].parts[0]"),
        ({"contents": [{"parts": [{"inlineData": {"mimeType": "a/b"}}]}]}, "contents[0].parts[0].inlineData.data"),
        ({"contents": [{"parts": [{"functionCall": {"args": {}}}]}]}, "contents[0].parts[0].functionCall.name"),
        ({"tools": [{"functionDeclarations": [{}]}]}, "tools[0].functionDeclarations[0].name"),
        ({"toolConfig": {"functionCallingConfig": {"mode": "X"}}}, "toolConfig.functionCallingConfig.mode"),
        ({"systemInstruction": {"parts": [{"inlineData": {}}]}}, "systemInstruction.parts[0].text"),
        ({"generationConfig": {"responseModalities": ["SMELL"]}}, "generationConfig.responseModalities"),
    ],
)
def test_what_is_wrong_is_named(body: JsonObject, param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        decode(body)
    assert caught.value.param == param


def test_results_without_ids_answer_by_name_and_order() -> None:
    def response(name: str, value: int) -> JsonObject:
        return {"functionResponse": {"name": name, "response": {"output": value}}}

    turns = decode(
        {
            "contents": [
                {"role": "user", "parts": [{"text": "a"}]},
                {"role": "model", "parts": [{"functionCall": {"name": name}} for name in ("f", "g", "f")]},
                {"role": "function", "parts": [response("f", 1), response("f", 3), response("g", 2)]},
            ]
        }
    ).turns
    calls = [block.id for block in turns[1].blocks if isinstance(block, ToolCall)]
    results = [block.call_id for block in turns[2].blocks if isinstance(block, ToolResult)]
    assert len(set(calls)) == 3
    assert results == [calls[0], calls[2], calls[1]]
    again = encode(request(*turns), to(GEMINI_2_5))["contents"][2]["parts"]
    assert again == [response("f", 1), response("g", 2), response("f", 3)]


def test_made_ids_do_not_change_when_the_history_grows() -> None:
    history = [
        {"role": "user", "parts": [{"text": "a"}]},
        {"role": "model", "parts": [{"functionCall": {"name": "f"}}]},
        {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {}}}]},
    ]
    longer = [*history, {"role": "model", "parts": [{"text": "b"}]}]
    assert decode({"contents": longer}).turns[:3] == decode({"contents": history}).turns


@pytest.mark.parametrize(
    ("response", "texts", "structured", "error"),
    [
        ({"output": "7"}, ["7"], None, None),
        ({"output": {"a": 1}}, ['{"a":1}'], None, None),
        ({"temperature": 7}, ['{"temperature":7}'], {"temperature": 7}, None),
        ({"error": "no"}, ["no"], None, True),
        ({"error": "no", "output": "x"}, ['{"error":"no","output":"x"}'], {"error": "no", "output": "x"}, None),
        ({}, [], None, None),
    ],
)
def test_what_a_tool_said(response: JsonObject, texts: list[str], structured: Any, error: bool | None) -> None:
    call_part = {"functionCall": {"name": "f"}}
    body = [
        {"role": "model", "parts": [call_part]},
        {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": response}}]},
    ]
    result = decode({"contents": body}).turns[1].blocks[0]
    assert isinstance(result, ToolResult)
    assert [block.text for block in result.blocks if isinstance(block, Text)] == texts
    assert (result.structured, result.is_error) == (structured, error)


@pytest.mark.parametrize(
    ("text", "response"),
    [
        ("7 C", {"output": "7 C"}),
        ('{"a": 1}', {"a": 1}),
        ('{"output": 1}', {"output": {"output": 1}}),
        ('{"error": 1}', {"output": {"error": 1}}),
        ("[1]", {"output": [1]}),
        ("42", {"output": 42}),
        ("2024-01-02", {"output": "2024-01-02"}),
        ("{oops", {"output": "{oops"}),
        ("", {"output": ""}),
    ],
)
def test_what_a_tool_said_is_an_object(text: str, response: JsonObject) -> None:
    turns = (HI, assistant(ToolCall("c", "f", "{}")), user(ToolResult("c", (Text(text),))))
    assert contents(*turns)[2]["parts"][0]["functionResponse"]["response"] == response


# What other formats say.


def test_signatures_travel_with_their_call_only_to_their_vendor() -> None:
    call_ = ToolCall("c", "f", "{}", opaque=ReasoningOpaque("EqQB", "anthropic-claude-v1"))
    turns = (HI, assistant(call_), user(ToolResult("c", (Text("x"),))))
    assert "thoughtSignature" not in contents(*turns)[1]["parts"][0]
    sealed = replace(call_, opaque=ReasoningOpaque("oa1.gemini.x", ""))
    assert "thoughtSignature" not in contents(HI, assistant(sealed), turns[2])[1]["parts"][0]


def step(*calls: ToolCall) -> tuple[Turn, Turn]:
    return assistant(*calls), Turn("user", tuple(ToolResult(entry.id, (Text("x"),)) for entry in calls))


def test_cv_56_the_first_call_of_each_step_has_a_signature() -> None:
    signed = ToolCall("a", "f", "{}", opaque=ReasoningOpaque("Ci4B", VENDOR))
    lost, second = ToolCall("b", "f", "{}"), ToolCall("c", "f", "{}")
    turns = (HI, *step(signed, ToolCall("d", "f", "{}")), *step(lost, second))
    found = contents(*turns, target=to(GEMINI_3))
    assert [part.get("thoughtSignature") for part in found[1]["parts"]] == ["Ci4B", None]
    assert [part.get("thoughtSignature") for part in found[3]["parts"]] == [PLACEHOLDER, None]
    for rules in (GEMINI_2_5, UNKNOWN):
        assert "thoughtSignature" not in contents(*turns, target=to(rules))[3]["parts"][0]


def test_cv_57_claude_behind_this_wire_gets_no_placeholder() -> None:
    found = contents(HI, *step(ToolCall("b", "f", "{}")), target=to(rules_of("claude-opus-4-5")))
    assert "thoughtSignature" not in found[1]["parts"][0]


def test_a_signature_that_reasoning_carried_comes_back_to_the_call() -> None:
    carried = Reasoning((ReasoningText("t"),), ReasoningOpaque("Ci4B", VENDOR))
    found = contents(
        HI, assistant(carried, *step(ToolCall("a", "f", "{}"))[0].blocks), step(ToolCall("a", "f", "{}"))[1]
    )
    assert found[1]["parts"] == [
        {"text": "t", "thought": True},
        {"functionCall": {"id": "a", "name": "f", "args": {}}, "thoughtSignature": "Ci4B"},
    ]
    named = Reasoning((), ReasoningOpaque("Ci4B", VENDOR, id="b"))
    calls = (ToolCall("a", "f", "{}"), ToolCall("b", "f", "{}"))
    found = contents(HI, assistant(named, *calls), step(*calls)[1])
    assert [part.get("thoughtSignature") for part in found[1]["parts"]] == [None, "Ci4B"]
    alone = contents(HI, assistant(Text("a"), Reasoning((), ReasoningOpaque("Ci4B", VENDOR))), HI)
    assert alone[1]["parts"] == [{"text": "a"}, {"text": "", "thoughtSignature": "Ci4B"}]


def test_lost_reasoning_is_left_out_or_said() -> None:
    turn = assistant(Reasoning((ReasoningText("t"),)), Text("a"))
    assert contents(HI, turn, HI)[1]["parts"] == [{"text": "a"}]
    kept = to(options=ConversionOptions(reasoning_lost="text"))
    assert contents(HI, turn, HI, target=kept)[1]["parts"] == [{"text": "<think>t</think>\n\n"}, {"text": "a"}]


def test_cv_17_results_stand_alone_in_one_content_and_in_order() -> None:
    calls = (ToolCall("a", "f", "{}"), ToolCall("b", "g", "{}"))
    results = user(ToolResult("b", (Text("2"),)), Text("and?"), ToolResult("a", (Text("1"),)))
    found = contents(HI, assistant(*calls), results)
    assert [list(part) for part in found[2]["parts"]] == [["functionResponse"], ["functionResponse"]]
    assert [part["functionResponse"]["name"] for part in found[2]["parts"]] == ["f", "g"]
    assert found[3] == {"role": "user", "parts": [{"text": "and?"}]}


def test_cv_16_missing_and_orphan_results() -> None:
    turns = (HI, assistant(ToolCall("a", "f", "{}")), user(ToolResult("x", (Text("?"),))))
    found = FORMAT.encode_request(request(*turns), to())
    assert found.body["contents"][2]["parts"][0]["functionResponse"]["response"] == {"error": "No result was provided."}
    assert found.body["contents"][3]["parts"] == [{"text": "Result of tool call x: ?"}]
    assert len([path for path in found.dropped if path.endswith("=emulated")]) == 2


@pytest.mark.parametrize(
    ("arguments", "args"),
    [("", {}), ('{"a":1}', {"a": 1}), ("{oops", {"_raw": "{oops"}), ("[1]", {"value": [1]})],
)
def test_cv_18_arguments_are_an_object(arguments: str, args: JsonObject) -> None:
    found = contents(HI, *step(ToolCall("a", "f", arguments)))
    assert found[1]["parts"][0]["functionCall"]["args"] == args


def test_sides_and_texts() -> None:
    turns = (
        assistant(Text("Hello"), Text(""), Refusal("No.")),
        Turn("system", (Text("Be brief."),)),
        user(Text("a\0b"), name="Ann"),
        assistant(),
        user(Text("")),
    )
    encoded = FORMAT.encode_request(request(*turns), to())
    assert encoded.body["contents"] == [
        {"role": "user", "parts": [{"text": "."}]},
        {"role": "model", "parts": [{"text": "Hello"}, {"text": "No."}]},
        {"role": "user", "parts": [{"text": "[system] Be brief."}, {"text": "ab"}]},
    ]
    assert set(encoded.dropped) == {
        "turns[0].refusal=emulated",
        "turns[1].system=emulated",
        "turns[2].name",
        "turns[0]=emulated",
    }


def test_a_model_without_instructions_reads_them_in_front() -> None:
    encoded = FORMAT.encode_request(request(system=(Text("S"),)), to(rules_of("gemma-3-27b-it")))
    assert encoded.body == {"contents": [{"role": "user", "parts": [{"text": "S"}, {"text": "Hi"}]}]}
    assert encoded.dropped == ("system=emulated",)


def test_instructions_alone_become_what_the_user_says() -> None:
    asked = Request("openai_chat", "m", system=(Text("S"),))
    assert encode(asked) == {"contents": [{"role": "user", "parts": [{"text": "S"}]}]}
    assert dropped(asked) == ("system=emulated",)


def test_cv_14_what_the_assistant_said_last() -> None:
    turns = (HI, assistant(Text("One")))
    new = rules_of("gemini-3.7-flash")
    assert contents(*turns)[-1] == {"role": "model", "parts": [{"text": "One"}]}
    with pytest.raises(InvalidRequest) as caught:
        encode(request(*turns), to(new))
    assert (caught.value.code, caught.value.param) == ("unsupported_parameter", "messages")
    asked_on = to(new, options=ConversionOptions(emulate_prefill=True))
    assert contents(*turns, target=asked_on)[-1] == {"role": "user", "parts": [{"text": "Continue."}]}


MEDIA: list[tuple[Block, JsonObject]] = [
    (
        Image(Url("https://a.example/x.webp")),
        {"fileData": {"fileUri": "https://a.example/x.webp", "mimeType": "image/webp"}},
    ),
    (Image(CloudUri("gs://b/x", "image/png")), {"fileData": {"fileUri": "gs://b/x", "mimeType": "image/png"}}),
    (Image(FileRef("google", "files/1")), {"fileData": {"fileUri": "files/1"}}),
    (Audio(Inline("audio/mpeg", "AAAA")), {"inlineData": {"mimeType": "audio/mp3", "data": "AAAA"}}),
    (Audio(transcript="hello", audio_id="a"), {"text": "hello"}),
    (
        Video(Url("https://a.example/v.mp4"), "1s", "2s", 1.5),
        {
            "fileData": {"fileUri": "https://a.example/v.mp4", "mimeType": "video/mp4"},
            "videoMetadata": {"startOffset": "1s", "endOffset": "2s", "fps": 1.5},
        },
    ),
    (
        Document(Inline("application/pdf", "JVBERi0=")),
        {"inlineData": {"mimeType": "application/pdf", "data": "JVBERi0="}},
    ),
    (Document(PlainText("é")), {"inlineData": {"mimeType": "text/plain", "data": "w6k="}}),
    (Document(Nested((Text("a"),))), {"text": "a"}),
    (Opaque("foreign", "gemini", "x", {"x": {}}), {"x": {}}),
]


@pytest.mark.parametrize(("block", "part"), MEDIA)
def test_media(block: Block, part: JsonObject) -> None:
    assert contents(user(block))[0]["parts"] == [part]


def test_documents_and_search_results() -> None:
    document = Document(PlainText("x"), title="T", context="C", cite=True)
    found = SearchResult("https://a.example", "A", (Text("text"),))
    encoded = FORMAT.encode_request(request(user(document, found)), to())
    assert [part.get("text") for part in encoded.body["contents"][0]["parts"]] == [
        "C",
        None,
        "A - https://a.example",
        "text",
    ]
    assert encoded.dropped == (
        "turns[0].title",
        "turns[0].citations",
        "turns[0].context=emulated",
        "turns[0].search_result=emulated",
    )


@pytest.mark.parametrize(
    "block",
    [
        Image(FileRef("openai", "file-1")),
        ContainerFile("f"),
        Opaque("item_ref", "openai_responses", "item_reference", {}),
    ],
)
def test_what_only_another_vendor_has_is_refused(block: Block) -> None:
    with pytest.raises(InvalidRequest) as caught:
        encode(request(user(block)))
    assert (caught.value.code, caught.value.param) == ("unsupported_parameter", "messages")


def test_a_compaction_nobody_can_read() -> None:
    secret = Opaque("compaction", "openai_responses", "compaction", {"encrypted_content": "x"})
    with pytest.raises(InvalidRequest) as caught:
        encode(request(assistant(secret), HI))
    assert caught.value.status == 409
    readable = Opaque("compaction", "anthropic_messages", "compaction", {"content": "So far: x"})
    assert contents(HI, assistant(readable), HI)[1]["parts"] == [{"text": "So far: x"}]


def test_hosted_calls_of_others_in_words() -> None:
    call_ = HostedCall("web_search", "s", "web_search", {"query": "q"})
    result = HostedResult("s", "web_search", blocks=(SearchResult("https://a.example", "A", ()),))
    encoded = FORMAT.encode_request(request(HI, assistant(call_, result, Text("a")), HI), to())
    assert encoded.body["contents"][1]["parts"][0] == {"text": "Searched: q\n- A: https://a.example"}
    assert encoded.dropped == ("turns[1].hosted_calls=emulated",)


@pytest.mark.parametrize(
    ("details", "resolution"), [(["low"], "MEDIA_RESOLUTION_LOW"), (["low", "original"], "MEDIA_RESOLUTION_HIGH")]
)
def test_before_3_all_images_have_one_resolution(details: list[str], resolution: str) -> None:
    images = tuple(Image(Inline("image/png", PNG), detail=detail) for detail in details)
    encoded = FORMAT.encode_request(request(user(*images)), to(GEMINI_2_5))
    assert encoded.body["generationConfig"] == {"mediaResolution": resolution}
    assert encoded.dropped == ("detail=emulated",)
    assert "generationConfig" not in encode(request(user(replace(images[0], detail="auto"))), to(GEMINI_2_5))


# Tools.


def declared(*tools: Any, target: Target | None = None, **more: Any) -> list[Any]:
    found: list[Any] = encode(request(tools=tools, **more), target)["tools"]
    return found


def test_cv_24_functions_without_parameters() -> None:
    empty = {"type": "object", "properties": {}}
    found = declared(FunctionTool("f"), FunctionTool("g", "", empty), FunctionTool("h", "H", {}))
    assert found == [{"functionDeclarations": [{"name": "f"}, {"name": "g"}, {"name": "h", "description": "H"}]}]


def test_dialects_of_schemas() -> None:
    tool = FunctionTool("f", parameters={**WEATHER, "additionalProperties": False})
    openapi = {
        "type": "OBJECT",
        "properties": {"city": {"type": "STRING"}},
        "required": ["city"],
    }
    assert declared(tool, target=to(GEMINI_1_5)) == [{"functionDeclarations": [{"name": "f", "parameters": openapi}]}]
    (entry,) = declared(tool, target=to(GEMINI_2_5))
    assert entry["functionDeclarations"][0]["parametersJsonSchema"] == tool.parameters
    forced = to(GEMINI_2_5, options=ConversionOptions(gemini_schema="openapi"))
    assert declared(tool, target=forced)[0]["functionDeclarations"][0]["parameters"] == openapi


def test_cv_15_names_and_wrapped_parameters_are_restored() -> None:
    tools = (
        FunctionTool("1 tool", parameters={"type": "array", "items": {"type": "string"}}),
        FunctionTool("add", namespace="math", parameters=WEATHER),
        CustomTool("patch", "Apply", Grammar("lark", "start: x")),
    )
    history = step(ToolCall("a", "1 tool", "{}"), ToolCall("b", "patch", "text", "custom"))
    encoded = FORMAT.encode_request(
        request(HI, *history, tools=tools, tool_choice=ToolChoice("required", (("function", "1 tool"),))), to()
    )
    names = [entry["name"] for entry in encoded.body["tools"][0]["functionDeclarations"]]
    assert names == ["_1_tool", "math__add", "patch"]
    assert encoded.body["toolConfig"]["functionCallingConfig"]["allowedFunctionNames"] == ["_1_tool"]
    parts = encoded.body["contents"][1]["parts"]
    assert [part["functionCall"]["name"] for part in parts] == ["_1_tool", "patch"]
    assert parts[1]["functionCall"]["args"] == {"input": "text"}
    assert [part["functionResponse"]["name"] for part in encoded.body["contents"][2]["parts"]] == ["_1_tool", "patch"]
    restore = encoded.restore
    assert restore is not None
    assert restore.names == {"_1_tool": "1 tool", "math__add": "add"}
    assert restore.namespaces == {"math__add": "math"}
    assert (set(restore.custom), set(restore.wrapped)) == ({"patch"}, {"_1_tool"})
    assert encoded.dropped == (
        "tools[0].parameters=emulated",
        "tools[1].namespace=emulated",
        "tools[2].grammar=emulated",
    )
    patch = encoded.body["tools"][0]["functionDeclarations"][2]
    assert "lark grammar:\nstart: x" in patch["description"]


@pytest.mark.parametrize(
    ("choice", "config", "lost"),
    [
        (ToolChoice("auto"), {"mode": "AUTO"}, ()),
        (ToolChoice("none"), {"mode": "NONE"}, ()),
        (ToolChoice("required"), {"mode": "ANY"}, ()),
        (
            ToolChoice("auto", (("function", "f"), ("function", "g"))),
            {"mode": "VALIDATED", "allowedFunctionNames": ["f", "g"]},
            (),
        ),
        (
            ToolChoice("required", (("function", "f"), ("function", "g"))),
            {"mode": "ANY", "allowedFunctionNames": ["f", "g"]},
            (),
        ),
        (ToolChoice(parallel=False), None, ("tool_choice.parallel",)),
        (ToolChoice(parallel=True), None, ()),
    ],
)
def test_choice(choice: ToolChoice, config: JsonObject | None, lost: tuple[str, ...]) -> None:
    asked = request(tools=(FunctionTool("f"), FunctionTool("g")), tool_choice=choice)
    found = FORMAT.encode_request(asked, to())
    assert found.body.get("toolConfig", {}).get("functionCallingConfig") == config
    assert found.dropped == lost


def test_choices_that_cannot_be() -> None:
    for choice in (
        ToolChoice("required", (("web_search", "web_search"),)),
        ToolChoice("required", (("function", "x"),)),
    ):
        with pytest.raises(InvalidRequest) as caught:
            encode(request(tools=(FunctionTool("f"),), tool_choice=choice))
        assert caught.value.param == "tool_choice"
    assert "toolConfig" not in encode(request(tool_choice=ToolChoice("required")))


def test_cv_23_strict_is_a_mode() -> None:
    tool = FunctionTool("f", parameters=WEATHER, strict=True)
    encoded = FORMAT.encode_request(request(tools=(tool,)), to())
    assert b"strict" not in orjson.dumps(encoded.body)
    assert encoded.body["toolConfig"] == {"functionCallingConfig": {"mode": "VALIDATED"}}
    assert encoded.dropped == ("tools.strict=emulated",)
    assert dropped(request(tools=(tool,)), to(GEMINI_2_5)) == ("tools[0].strict",)


def test_more_about_tools() -> None:
    tool = FunctionTool(
        "f",
        "F",
        WEATHER,
        output_schema=WEATHER,
        examples=({"city": "Oslo"},),
        defer=True,
        callers=("code",),
        eager=True,
    )
    encoded = FORMAT.encode_request(request(tools=(tool, ToolSearch("server"))), to())
    (function,) = encoded.body["tools"][0]["functionDeclarations"]
    assert function["description"] == 'F\n\nExamples:\n{"city":"Oslo"}'
    assert function["responseJsonSchema"] == WEATHER
    assert encoded.dropped == (
        "tools[0].examples=emulated",
        "tools[0].defer=emulated",
        "tools[0].callers",
        "tools[1]=emulated",
    )


def test_tools_of_one_name() -> None:
    assert len(declared(FunctionTool("f"), FunctionTool("f"))[0]["functionDeclarations"]) == 1
    with pytest.raises(InvalidRequest):
        declared(FunctionTool("f"), FunctionTool("f", "other"))


SEARCH = HostedTool("web_search", "web_search", "openai_responses", {"type": "web_search"})


def test_hosted_tools() -> None:
    assert encode(request(tools=(SEARCH,))) == {"contents": contents(), "tools": [{"googleSearch": {}}]}
    both = encode(request(tools=(SEARCH, FunctionTool("f"))), to(GEMINI_3))
    assert both["toolConfig"] == {"includeServerSideToolInvocations": True}
    assert both["tools"] == [{"googleSearch": {}}, {"functionDeclarations": [{"name": "f"}]}]
    with pytest.raises(InvalidRequest, match="together with functions"):
        encode(request(tools=(SEARCH, FunctionTool("f"))), to(GEMINI_2_5))
    with pytest.raises(InvalidRequest, match="MCP server s"):
        encode(request(tools=(McpServer("s", "https://a.example"),)))
    lenient = to(options=ConversionOptions(drop_hosted_tools=True))
    assert dropped(request(tools=(McpServer("s", "https://a.example"),)), lenient) == ("tools[0]",)


def test_a_tool_that_makes_images_on_a_model_that_does() -> None:
    tool = HostedTool("image_generation", "image_generation", "openai_responses", {"type": "image_generation"})
    with pytest.raises(InvalidRequest):
        encode(request(tools=(tool,)))
    rules = replace(UNKNOWN, modalities=("text", "image"))
    found = FORMAT.encode_request(request(tools=(tool,)), to(rules))
    assert found.body["generationConfig"] == {"responseModalities": ["TEXT", "IMAGE"]}
    assert found.dropped == ("tools[0]=emulated",)


def test_a_model_without_tools() -> None:
    found = FORMAT.encode_request(request(tools=(FunctionTool("f"),)), to(rules_of("gemma-3-27b-it")))
    assert "tools" not in found.body
    assert found.dropped == ("tools",)


# Settings.


def config(target: Target | None = None, **more: Any) -> JsonObject:
    found: JsonObject = encode(request(**more), target).get("generationConfig", {})
    return found


def test_settings() -> None:
    sampling = Sampling(0.5, 0.9, 3, frequency_penalty=0.5, presence_penalty=0, seed=2**40 + 5)
    assert config(sampling=sampling, candidates=2, logprobs=5, max_output=9) == {
        "temperature": 0.5,
        "topP": 0.9,
        "topK": 3,
        "frequencyPenalty": 0.5,
        "seed": 5,
        "candidateCount": 2,
        "responseLogprobs": True,
        "logprobs": 5,
        "maxOutputTokens": 9,
    }
    assert config(candidates=1, logprobs=0) == {"responseLogprobs": True}


def test_settings_a_model_refuses_or_nobody_takes() -> None:
    sampling = Sampling(top_p=0, min_p=0.1, logit_bias={"1": 2}, frequency_penalty=1, repetition_penalty=1.1)
    asked = request(sampling=sampling, stop=("a", "b", "c", "d", "e", "f"), verbosity="low", prediction={"x": 1})
    found = FORMAT.encode_request(asked, to(GEMINI_3))
    assert found.body["generationConfig"] == {"stopSequences": ["a", "b", "c", "d", "e"]}
    assert set(found.dropped) == {
        "min_p",
        "repetition_penalty",
        "logit_bias",
        "verbosity",
        "prediction",
        "frequency_penalty",
        "top_p",
        "stop",
    }


def test_a_limit_above_the_models_own() -> None:
    assert config(to(GEMINI_1_5), max_output=10**6) == {"maxOutputTokens": 8192}
    assert dropped(request(max_output=10**6), to(GEMINI_1_5)) == ("max_output=emulated",)


@pytest.mark.parametrize(
    ("rules", "ask", "want", "lost"),
    [
        (GEMINI_2_5, ReasoningAsk(on=True, budget=2000), {"thinkingBudget": 2000, "includeThoughts": True}, ()),
        (GEMINI_2_5, ReasoningAsk(on=False), {"thinkingBudget": 0}, ()),
        (GEMINI_3, ReasoningAsk(effort="low"), {"thinkingLevel": "LOW", "includeThoughts": True}, ()),
        (GEMINI_3, ReasoningAsk(effort="none"), {"thinkingLevel": "MINIMAL"}, ("reasoning_effort",)),
        (GEMINI_1_5, ReasoningAsk(effort="high"), None, ("reasoning_effort",)),
        (GEMINI_3, None, None, ()),
    ],
)
def test_thinking(rules: ModelRules, ask: ReasoningAsk | None, want: JsonObject | None, lost: tuple[str, ...]) -> None:
    found = FORMAT.encode_request(request(reasoning=ask), to(rules))
    assert found.body.get("generationConfig", {}).get("thinkingConfig") == want
    assert found.dropped == lost


def test_cv_68_budget_and_level_are_never_made_together() -> None:
    for rules in (GEMINI_1_5, GEMINI_2_5, GEMINI_3, UNKNOWN):
        for ask in (ReasoningAsk(on=True, effort="high", budget=5000), ReasoningAsk(budget=9), ReasoningAsk(on=True)):
            found = config(to(rules), reasoning=ask).get("thinkingConfig", {})
            assert not {"thinkingBudget", "thinkingLevel"} <= found.keys()


SUM = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


def test_output_formats() -> None:
    assert config(output=OutputFormat("text")) == {}
    assert config(output=OutputFormat("json")) == {"responseMimeType": "application/json"}
    described = config(output=OutputFormat("schema", schema=SUM, description="A sum"))
    assert described["responseJsonSchema"] == {**SUM, "description": "A sum"}
    old = config(to(GEMINI_1_5), output=OutputFormat("schema", schema=SUM))
    assert old["responseSchema"]["type"] == "OBJECT"
    google = types.Schema.model_validate(old["responseSchema"])
    assert google.property_ordering == ["n"]


def test_json_beside_tools_is_asked_for_in_words_before_3() -> None:
    asked = request(output=OutputFormat("schema", schema=SUM), tools=(FunctionTool("f"),))
    assert "responseJsonSchema" in encode(asked, to(GEMINI_3))["generationConfig"]
    found = FORMAT.encode_request(asked, to(GEMINI_2_5))
    assert "generationConfig" not in found.body
    assert found.body["systemInstruction"]["parts"][-1]["text"].startswith("Answer with one JSON value")
    assert found.dropped == ("output=emulated",)
    assert found.restore is not None
    assert found.restore.output is not None
    assert found.restore.output.fenced


def test_models_that_take_less_than_a_schema() -> None:
    asked = request(output=OutputFormat("schema", schema=SUM))
    half = FORMAT.encode_request(asked, to(replace(UNKNOWN, structured="json")))
    assert half.body["generationConfig"] == {"responseMimeType": "application/json"}
    assert "systemInstruction" in half.body
    none = FORMAT.encode_request(asked, to(replace(UNKNOWN, structured="none")))
    assert "generationConfig" not in none.body
    plain = FORMAT.encode_request(request(output=OutputFormat("json")), to(replace(UNKNOWN, structured="none")))
    assert plain.body["systemInstruction"]["parts"] == [{"text": "Answer with one JSON object and nothing else."}]


def test_modalities() -> None:
    assert config(modalities=("text",)) == {}
    assert config(modalities=("text", "audio"), audio=AudioOut("Kore", "pcm16")) == {
        "responseModalities": ["AUDIO"],
        "speechConfig": {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": "Kore"}}},
    }
    assert config(modalities=("image",), image=ImageOut("2K", "1:1", "high"))["imageConfig"] == {
        "aspectRatio": "1:1",
        "imageSize": "2K",
    }
    assert config(to(rules_of("gemini-2.5-flash-preview-tts"))) == {"responseModalities": ["AUDIO"]}
    assert dropped(request(audio=AudioOut({"id": "v"}, "mp3"))) == ("audio.format", "audio.voice")


def test_safety() -> None:
    strict = to(options=ConversionOptions(gemini_safety="BLOCK_NONE"))
    found = encode(request(), strict)["safetySettings"]
    assert len(found) == 5
    assert {entry["threshold"] for entry in found} == {"BLOCK_NONE"}
    assert "safetySettings" not in encode(request())
    own = [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "OFF"}]
    assert encode(request(format="gemini", safety=Safety(own)), strict)["safetySettings"] == own
    assert "safetySettings" not in encode(request(format="gemini"), strict)


def test_beside() -> None:
    asked = request(
        identity=Identity("u", "s", {"Team": "A b"}),
        service=Service("priority", "fast", "eu"),
        state=State(store=True, truncation="auto"),
        max_hosted_calls=3,
        reasoning=ReasoningAsk(context="all_turns", mode="pro"),
        extras={"openai_chat": {"top_a": 1}},
    )
    found = FORMAT.encode_request(asked, to())
    assert found.body["serviceTier"] == "priority"
    assert set(found.dropped) == {
        "identity.end_user",
        "identity.safety_id",
        "identity.metadata",
        "service.speed",
        "service.geo",
        "state.store",
        "state.truncation",
        "max_hosted_calls",
        "reasoning.context",
        "reasoning.mode",
        "top_a",
    }
    vertex = FORMAT.encode_request(asked, to(platform="vertex"))
    assert vertex.body["labels"] == {"team": "a_b"}
    assert dropped(request(service=Service("scale"))) == ("service.tier",)


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"format": "openai_responses", "state": State(background=True)}, "background"),
        ({"format": "openai_responses", "state": State(previous_id="resp_1")}, "previous_response_id"),
        ({"format": "openai_responses", "state": State(conversation="c")}, "conversation"),
        ({"format": "openai_responses", "prompt_template": {"id": "p"}}, "prompt"),
        ({"format": "anthropic_messages", "container": "c"}, "container"),
        ({"format": "anthropic_messages", "max_output": 0}, "max_tokens"),
        ({"safety": Safety(moderation={"policy": {"input": {"mode": "block"}}})}, "moderation"),
    ],
)
def test_what_nobody_may_leave_out_is_refused(more: JsonObject, param: str | None) -> None:
    with pytest.raises(InvalidRequest) as caught:
        encode(request(**more))
    assert (caught.value.code, caught.value.param) == ("unsupported_parameter", param)
    assert dropped(request(safety=Safety(moderation={"mode": "score"}))) == ("safety.moderation",)


def test_a_cached_content_is_its_own() -> None:
    assert encode(request(format="gemini", cache=CachePlan(resource="cachedContents/1")))["cachedContent"]


# Properties.


def plain(block: Any) -> Any:
    """`block` without fields that are carried unread."""
    changes: dict[str, Any] = {"extras": {}} if hasattr(block, "extras") else {}
    if isinstance(block, (SearchResult, ToolResult, HostedResult)):
        changes["blocks"] = tuple(plain(inner) for inner in block.blocks)
    elif isinstance(block, Document) and isinstance(block.source, Nested):
        changes["source"] = Nested(tuple(plain(inner) for inner in block.source.blocks))
    return replace(block, **changes)


def histories(least: int) -> st.SearchStrategy[list[Turn]]:
    said = st.lists(any_block.map(plain), min_size=least, max_size=3).map(tuple)
    return st.lists(st.builds(Turn, st.sampled_from(["user", "assistant", "system"]), said), max_size=4)


@settings(max_examples=100, deadline=None)
@given(turns=histories(0), rules=st.sampled_from([UNKNOWN, GEMINI_1_5, GEMINI_2_5, GEMINI_3]))
def test_every_history_makes_contents_the_sdk_takes(turns: list[Turn], rules: ModelRules) -> None:
    try:
        body = encode(request(*turns, user(Text("end"))), to(rules))
    except InvalidRequest:
        return
    for content in body["contents"]:
        known = types.Content.model_validate(content)
        assert known.role in ("user", "model")
        assert known.parts
        for part in content["parts"]:
            assert len(part.keys() & {"text", "inlineData", "fileData", "functionCall", "functionResponse"}) <= 1
    assert body["contents"][0]["role"] == "user"


@settings(max_examples=60, deadline=None)
@given(turns=histories(1), rules=st.sampled_from([UNKNOWN, GEMINI_2_5, GEMINI_3]))
def test_cv_62_a_history_that_grows_keeps_its_beginning(turns: list[Turn], rules: ModelRules) -> None:
    """Wherever the assistant was to speak, what had been said stays as it was."""
    try:
        whole = parts_of(turns, rules)
        for length in range(1, len(turns)):
            if turns[length].role == "assistant" and turns[length - 1].role == "user":
                before = parts_of(turns[:length], rules)
                assert whole[: len(before)] == before
    except InvalidRequest:
        return


def parts_of(turns: list[Turn], rules: ModelRules) -> list[tuple[str, JsonObject]]:
    found = encode(request(*turns, HI), to(rules))["contents"]
    assert found[-1]["parts"][-1] == {"text": "Hi"}
    return [(content["role"], part) for content in found for part in content["parts"]][:-1]
