"""Requests of other formats for upstreams that speak Chat Completions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.chat import ChatCompletionMessageParam, completion_create_params
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
from oneapi_mw.canonical.call import Outside
from oneapi_mw.canonical.events import ArgumentsDelta, BlockEnded, BlockStarted
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
    StreamOptions,
    ToolChoice,
    ToolSearch,
    Turn,
)
from oneapi_mw.errors import InvalidRequest
from oneapi_mw.models.catalogue import rules_of
from oneapi_mw.models.rules import ModelRules
from oneapi_mw.types import JsonObject
from oneapi_mw.wire import anthropic_messages, gemini, openai_responses
from oneapi_mw.wire.base import Encoded
from oneapi_mw.wire.openai_chat import FORMAT
from oneapi_mw.wire.openai_chat.hosts import host_of
from oneapi_mw.wire.restore import Restorer
from oneapi_mw.wire.target import ConversionOptions, Target
from tests.vendors.direct import ask
from tests.vendors.media import PNG as PNG_PIXEL
from tests.vendors.openai_chat import OpenAIChat
from tests.wire.requests import HI, PNG, WEATHER, asked, assistant, user

Json = dict[str, Any]
PNG_URL = {"url": f"data:image/png;base64,{PNG}"}
SDK_REQUEST: TypeAdapter[Any] = TypeAdapter(completion_create_params.CompletionCreateParams)
SDK_MESSAGE: TypeAdapter[Any] = TypeAdapter(ChatCompletionMessageParam)
SOMEBODY = Target("m")


def openai(model: str = "gpt-4o", **more: Any) -> Target:
    """OpenAI itself."""
    return Target("m", rules_of(model), official=True, provider="openai", **more)


def at(provider: str, model: str = "nobody-knows", **more: Any) -> Target:
    return Target("m", rules_of(model), provider=provider, **more)


def encode(request: Request, target: Target = SOMEBODY) -> Encoded:
    encoded = FORMAT.encode_request(request, target)
    for message in encoded.body["messages"]:
        if not any(word in str(message) for word in ("video_url", "reasoning")):  # vendors' own
            SDK_MESSAGE.validate_python(message)
    return encoded


def body(request: Request, target: Target = SOMEBODY) -> Json:
    return dict(encode(request, target).body)


def dropped(request: Request, target: Target = SOMEBODY) -> tuple[str, ...]:
    return encode(request, target).dropped


def messages(*blocks: Block, role: Any = "user", target: Target = SOMEBODY, **fields: Any) -> list[Json]:
    found: list[Json] = encode(asked(Turn(role, blocks), **fields), target).body["messages"]
    return found


def refusal(request: Request, target: Target = SOMEBODY) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        FORMAT.encode_request(request, target)
    assert caught.value.code in ("unsupported_parameter", "state_not_portable")
    return caught.value


# The worked examples, from each other format.

SUM = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": False}
LONG = {"type": "text", "text": "LONG", "prompt_cache_breakpoint": {"mode": "explicit", "ttl": "12h"}}


def of_messages(**fields: Any) -> Request:
    return decoded(anthropic_messages.FORMAT, {"model": "m", "max_tokens": 100, **fields}, "/v1/messages")


def of_responses(**fields: Any) -> Request:
    return decoded(openai_responses.FORMAT, {"model": "m", **fields}, "/v1/responses")


def of_gemini(**fields: Any) -> Request:
    return decoded(gemini.FORMAT, fields, "/v1beta/models/m:generateContent")


def decoded(wire: Any, body: Json, path: str) -> Request:
    call = wire.decode_call(orjson.dumps(body), operation="chat", outside=Outside(path))
    found: Request = wire.decode_request(call)
    return found


def says(role: str, text: str) -> Json:
    return {"role": role, "content": text}


E1 = {
    "messages": [says("system", "Be brief."), says("user", "Hi")],
    "max_completion_tokens": 100,
    "stop": ["END"],
}
E2_PARTS = [{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": PNG_URL}]
E2_LOW = [E2_PARTS[0], {"type": "image_url", "image_url": {**PNG_URL, "detail": "low"}}]
E3 = {
    "messages": [says("user", "Oslo?")],
    "tools": [{"type": "function", "function": {"name": "get_weather", "description": "Now", "parameters": WEATHER}}],
    "tool_choice": {"type": "function", "function": {"name": "get_weather"}},
}
E4 = [
    says("user", "Oslo, with map"),
    {
        "role": "assistant",
        "content": "Checking.",
        "tool_calls": [
            {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Oslo"}'}},
            {"id": "call_2", "type": "function", "function": {"name": "map", "arguments": "{}"}},
        ],
    },
    {"role": "tool", "tool_call_id": "call_1", "content": "7 C"},
    {"role": "tool", "tool_call_id": "call_2", "content": "Error: low zoom\n[image 1 of call_2 follows]"},
    {
        "role": "user",
        "content": [{"type": "text", "text": "Image 1 of call_2:"}, {"type": "image_url", "image_url": PNG_URL}],
    },
]
E5 = {"type": "json_schema", "json_schema": {"name": "response", "schema": SUM, "strict": True}}
E6 = {
    "messages": [
        {"role": "developer", "content": [LONG, {"type": "text", "text": "Today: Monday."}]},
        says("user", "Hi"),
    ],
    "prompt_cache_options": {"mode": "explicit"},
}
E7 = {
    "messages": [says("user", "2+2"), says("assistant", "4"), says("user", "+1")],
    "reasoning_effort": "high",
}
USER_PNG: Json = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
MARKED = {"type": "text", "text": "LONG", "cache_control": {"type": "ephemeral", "ttl": "1h"}}
E4_CALLS: list[Json] = [
    {"type": "tool_use", "id": "call_1", "name": "weather", "input": {"city": "Oslo"}},
    {"type": "tool_use", "id": "call_2", "name": "map", "input": {}},
]
E4_RESULTS: list[Json] = [
    {"type": "tool_result", "tool_use_id": "call_1", "content": "7 C"},
    {
        "type": "tool_result",
        "tool_use_id": "call_2",
        "is_error": True,
        "content": [{"type": "text", "text": "low zoom"}, USER_PNG],
    },
]


def messages_example(number: int) -> Request:
    """E1 to E7 as a client of Messages writes them."""
    match number:
        case 1:
            return of_messages(system="Be brief.", messages=[says("user", "Hi")], stop_sequences=["END"])
        case 2:
            return of_messages(messages=[{"role": "user", "content": [E2_PARTS[0], USER_PNG]}])
        case 3:
            tool = {"name": "get_weather", "description": "Now", "input_schema": WEATHER}
            choice = {"type": "tool", "name": "get_weather", "disable_parallel_tool_use": True}
            return of_messages(messages=[says("user", "Oslo?")], tools=[tool], tool_choice=choice)
        case 4:
            said = [{"type": "text", "text": "Checking."}, *E4_CALLS]
            turns = [{"role": "assistant", "content": said}, {"role": "user", "content": E4_RESULTS}]
            return of_messages(messages=[says("user", "Oslo, with map"), *turns])
        case 5:
            form = {"format": {"type": "json_schema", "schema": SUM}}
            return of_messages(messages=[says("user", "2+2")], output_config=form)
        case 6:
            system = [MARKED, {"type": "text", "text": "Today: Monday."}]
            return of_messages(system=system, messages=[says("user", "Hi")])
        case _:
            thought = {"type": "thinking", "thinking": "Add.", "signature": "EqQB"}
            said = [thought, {"type": "text", "text": "4"}]
            turns = [says("user", "2+2"), {"role": "assistant", "content": said}, says("user", "+1")]
            thinking: Json = {"type": "adaptive", "display": "summarized"}
            return of_messages(messages=turns, thinking=thinking, output_config={"effort": "high"})


SHOW: Json = {"model": "m", "max_completion_tokens": 100}
MESSAGES_EXAMPLES = [
    (1, openai(), {**SHOW, **E1}, ()),
    (2, openai(), {**SHOW, "messages": [{"role": "user", "content": E2_PARTS}]}, ()),
    (3, openai(), {**SHOW, **E3, "parallel_tool_calls": False}, ()),
    (4, openai(), {**SHOW, "messages": E4}, ("turns[2].image=emulated", "turns[2].is_error=emulated")),
    (5, openai(), {**SHOW, "messages": [says("user", "2+2")], "response_format": E5}, ()),
    (6, openai("gpt-5.6"), {**SHOW, **E6}, ()),
    (7, openai("gpt-5"), {**SHOW, **E7}, ()),
]


@pytest.mark.parametrize(
    ("number", "target", "expected", "lost"), MESSAGES_EXAMPLES, ids=[f"E{case[0]}" for case in MESSAGES_EXAMPLES]
)
def test_examples_of_messages(number: int, target: Target, expected: Json, lost: tuple[str, ...]) -> None:
    encoded = encode(messages_example(number), target)
    assert encoded.body == expected
    assert encoded.dropped == lost
    SDK_REQUEST.validate_python(encoded.body)


def message_item(role: str, text: str) -> Json:
    return {"type": "message", "role": role, "content": text}


RESPONSES_EXAMPLES = [
    pytest.param(
        of_responses(instructions="Be brief.", input=[message_item("user", "Hi")], max_output_tokens=100),
        openai(),
        {"model": "m", "messages": E1["messages"], "max_completion_tokens": 100},
        id="E1",
    ),
    pytest.param(
        of_responses(
            input=[
                {
                    "role": "user",
                    "content": [
                        {"type": "input_text", "text": "What is it?"},
                        {"type": "input_image", "image_url": PNG_URL["url"], "detail": "low"},
                    ],
                }
            ]
        ),
        openai(),
        {"model": "m", "messages": [{"role": "user", "content": E2_LOW}]},
        id="E2",
    ),
    pytest.param(
        of_responses(
            input="Oslo?",
            tools=[
                {
                    "type": "function",
                    "name": "get_weather",
                    "description": "Now",
                    "parameters": WEATHER,
                    "strict": False,
                }
            ],
            tool_choice={"type": "function", "name": "get_weather"},
            parallel_tool_calls=False,
        ),
        openai(),
        {"model": "m", **E3, "parallel_tool_calls": False},
        id="E3",
    ),
    pytest.param(
        of_responses(
            input=[
                message_item("user", "Oslo, with map"),
                message_item("assistant", "Checking."),
                {"type": "function_call", "call_id": "call_1", "name": "weather", "arguments": '{"city":"Oslo"}'},
                {"type": "function_call", "call_id": "call_2", "name": "map", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "call_1", "output": "7 C"},
                {
                    "type": "function_call_output",
                    "call_id": "call_2",
                    "output": [
                        {"type": "input_text", "text": "Error: low zoom"},
                        {"type": "input_image", "image_url": PNG_URL["url"]},
                    ],
                },
            ]
        ),
        openai(),
        {"model": "m", "messages": E4},
        id="E4",
    ),
    pytest.param(
        of_responses(
            input="2+2", text={"format": {"type": "json_schema", "name": "sum", "schema": SUM, "strict": True}}
        ),
        openai(),
        {
            "model": "m",
            "messages": [says("user", "2+2")],
            "response_format": {"type": "json_schema", "json_schema": {"name": "sum", "schema": SUM, "strict": True}},
        },
        id="E5",
    ),
    pytest.param(
        of_responses(
            input=[
                {
                    "role": "developer",
                    "content": [
                        {
                            "type": "input_text",
                            "text": "LONG",
                            "prompt_cache_breakpoint": {"mode": "explicit", "ttl": "12h"},
                        },
                        {"type": "input_text", "text": "Today: Monday."},
                    ],
                },
                message_item("user", "Hi"),
            ],
            prompt_cache_options={"mode": "explicit"},
        ),
        openai("gpt-5.6"),
        {"model": "m", **E6},
        id="E6",
    ),
    pytest.param(
        of_responses(
            input=[
                message_item("user", "2+2"),
                {
                    "type": "reasoning",
                    "id": "rs_1",
                    "summary": [{"type": "summary_text", "text": "Add."}],
                    "encrypted_content": "gAAAA",
                },
                message_item("assistant", "4"),
                message_item("user", "+1"),
            ],
            reasoning={"effort": "high", "summary": "auto"},
        ),
        openai("gpt-5"),
        {"model": "m", **E7},
        id="E7",
    ),
]


@pytest.mark.parametrize(("request_", "target", "expected"), RESPONSES_EXAMPLES)
def test_examples_of_responses(request_: Request, target: Target, expected: Json) -> None:
    assert body(request_, target) == expected


def g_user(*parts: Json) -> Json:
    return {"role": "user", "parts": list(parts)}


GEMINI_EXAMPLES = [
    pytest.param(
        of_gemini(
            systemInstruction={"parts": [{"text": "Be brief."}]},
            contents=[g_user({"text": "Hi"})],
            generationConfig={"maxOutputTokens": 100, "stopSequences": ["END"]},
        ),
        openai(),
        {"model": "m", **E1},
        id="E1",
    ),
    pytest.param(
        of_gemini(
            contents=[
                g_user(
                    {"text": "What is it?"},
                    {
                        "inlineData": {"mimeType": "image/png", "data": PNG},
                        "mediaResolution": {"level": "MEDIA_RESOLUTION_LOW"},
                    },
                )
            ]
        ),
        openai(),
        {"model": "m", "messages": [{"role": "user", "content": E2_LOW}]},
        id="E2",
    ),
    pytest.param(
        of_gemini(
            contents=[g_user({"text": "Oslo?"})],
            tools=[
                {
                    "functionDeclarations": [
                        {"name": "get_weather", "description": "Now", "parametersJsonSchema": WEATHER}
                    ]
                }
            ],
            toolConfig={"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["get_weather"]}},
        ),
        openai(),
        {"model": "m", **E3},
        id="E3",
    ),
    pytest.param(
        of_gemini(
            contents=[
                g_user({"text": "Oslo, with map"}),
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
                g_user(
                    {"functionResponse": {"id": "call_1", "name": "weather", "response": {"output": "7 C"}}},
                    {
                        "functionResponse": {
                            "id": "call_2",
                            "name": "map",
                            "response": {"error": "low zoom"},
                            "parts": [{"inlineData": {"mimeType": "image/png", "data": PNG}}],
                        }
                    },
                ),
            ]
        ),
        openai(),
        {"model": "m", "messages": E4},
        id="E4",
    ),
    pytest.param(
        of_gemini(
            contents=[g_user({"text": "2+2"})],
            generationConfig={"responseMimeType": "application/json", "responseJsonSchema": SUM},
        ),
        openai(),
        {"model": "m", "messages": [says("user", "2+2")], "response_format": E5},
        id="E5",
    ),
    pytest.param(
        of_gemini(
            systemInstruction={"parts": [{"text": "LONG"}, {"text": "Today: Monday."}]},
            contents=[g_user({"text": "Hi"})],
        ),
        openai("gpt-5.6"),
        {
            "model": "m",
            "messages": [says("developer", "LONG"), says("developer", "Today: Monday."), says("user", "Hi")],
        },
        id="E6",
    ),
    pytest.param(
        of_gemini(
            contents=[
                g_user({"text": "2+2"}),
                {"role": "model", "parts": [{"text": "4", "thoughtSignature": "Ci4B"}]},
                g_user({"text": "+1"}),
            ],
            generationConfig={"thinkingConfig": {"thinkingLevel": "HIGH", "includeThoughts": True}},
        ),
        openai("gpt-5"),
        {"model": "m", **E7},
        id="E7",
    ),
]


@pytest.mark.parametrize(("request_", "target", "expected"), GEMINI_EXAMPLES)
def test_examples_of_gemini(request_: Request, target: Target, expected: Json) -> None:
    assert body(request_, target) == expected


# Limits, sampling, stops.


@pytest.mark.parametrize(
    ("target", "field"),
    [
        (SOMEBODY, "max_tokens"),
        (at("custom", "llama-3"), "max_tokens"),
        (at("custom", "gpt-5"), "max_completion_tokens"),
        (at("openai", "gpt-4o"), "max_tokens"),
        (openai("gpt-4o"), "max_completion_tokens"),
        (openai("nobody-knows"), "max_completion_tokens"),
        (at("openrouter", "gpt-5"), "max_tokens"),
        (at("groq"), "max_completion_tokens"),
    ],
)
def test_cv_02_cv_03_the_limit_has_the_name_the_target_knows(target: Target, field: str) -> None:
    found = body(asked(max_output=9), target)
    assert {name: found[name] for name in ("max_tokens", "max_completion_tokens") if name in found} == {field: 9}


@pytest.mark.parametrize("target", [SOMEBODY, openai("gpt-5"), at("custom", "claude-opus-5")])
def test_cv_04_no_limit_is_invented(target: Target) -> None:
    assert body(asked(), target).keys() == {"model", "messages"}


def test_a_limit_above_the_models_is_cut() -> None:
    request = asked(max_output=50_000)
    assert body(request, openai("gpt-4o"))["max_completion_tokens"] == 16_384
    assert dropped(request, openai("gpt-4o")) == ("max_output=emulated",)


SAMPLED = asked(sampling=Sampling(0.5, 0.9, 5, 0.1, repetition_penalty=1.1))


@pytest.mark.parametrize("provider", ["custom", "openai-compatible", "openrouter"])
def test_samplers_of_open_models_go_to_hosts_that_take_them(provider: str) -> None:
    found = body(SAMPLED, at(provider))
    assert (found["top_k"], found["min_p"], found["repetition_penalty"]) == (5, 0.1, 1.1)
    assert dropped(SAMPLED, at(provider)) == ()


@pytest.mark.parametrize("target", [SOMEBODY, openai(), at("openai"), at("xai")])
def test_samplers_of_open_models_go_nowhere_else(target: Target) -> None:
    found = body(SAMPLED, target)
    assert not {"top_k", "min_p", "repetition_penalty"} & found.keys()
    assert (found["temperature"], found["top_p"]) == (0.5, 0.9)
    assert dropped(SAMPLED, target) == ("top_k", "min_p", "repetition_penalty")


def test_settings_at_their_defaults_say_nothing() -> None:
    request = asked(
        sampling=Sampling(min_p=0, repetition_penalty=1),
        candidates=1,
        output=OutputFormat("text"),
        verbosity="medium",
        state=State(store=False, truncation="disabled"),
        service=Service("default", "standard"),
        reasoning=ReasoningAsk(context="auto", mode="standard"),
    )
    assert encode(request) == Encoded({"model": "m", "messages": [says("user", "Hi")]}, restore=None)


@pytest.mark.parametrize(
    ("model", "effort", "lost"),
    [
        ("gpt-5", None, ("temperature",)),
        ("gpt-5.1", None, ()),
        ("gpt-5.1", "high", ("temperature",)),
        ("gpt-5.5", None, ("temperature",)),
        ("gpt-5.5", "none", ()),
        ("gpt-4o", None, ()),
    ],
)
def test_cv_05_cv_06_temperature_and_the_effort_in_force(model: str, effort: str | None, lost: tuple[str, ...]) -> None:
    ask = None if effort is None else ReasoningAsk(effort != "none", effort)
    request = asked(sampling=Sampling(0.5), reasoning=ask)
    assert dropped(request, openai(model)) == lost
    assert ("temperature" in body(request, openai(model))) == (not lost)


def test_stops() -> None:
    five = asked(stop=("a", "b", "c", "d", "e"))
    assert body(five)["stop"] == ["a", "b", "c", "d"]
    assert dropped(five) == ("stop",)
    # the gateway cuts the answer where the model takes no stops
    assert "stop" not in body(five, openai("o3"))
    assert dropped(five, openai("o3")) == ("stop=emulated",)
    assert dropped(five, openai("o3", options=ConversionOptions(emulate_stop=False))) == ("stop",)


def test_log_probabilities_and_candidates() -> None:
    request = asked(logprobs=25, candidates=2, sampling=Sampling(seed=7, logit_bias={"1": 2}))
    found = body(request)
    assert (found["logprobs"], found["top_logprobs"], found["n"]) == (True, 20, 2)
    assert (found["seed"], found["logit_bias"]) == (7, {"1": 2})
    assert "top_logprobs" not in body(asked(logprobs=0))
    assert refusal(request, at("groq")).message.startswith("more than one answer")
    assert dropped(replace(request, candidates=None), at("groq")) == ("logit_bias", "logprobs")
    assert not {"logprobs", "top_logprobs"} & body(replace(request, candidates=None), at("groq")).keys()


# Reasoning.


@pytest.mark.parametrize(
    ("target", "ask", "fields"),
    [
        (openai("gpt-5"), ReasoningAsk(True, "max"), {"reasoning_effort": "high"}),
        (openai("gpt-5.1"), ReasoningAsk(False), {"reasoning_effort": "none"}),
        (openai("gpt-4o"), ReasoningAsk(True, "high"), {}),
        (at("openai", "gpt-5"), ReasoningAsk(budget=1024), {"reasoning_effort": "low"}),
        (at("deepseek", "deepseek-v4"), ReasoningAsk(False), {"thinking": {"type": "disabled"}}),
        (at("openrouter", "claude-opus-5"), ReasoningAsk(budget=2000), {"reasoning": {"max_tokens": 2000}}),
        (at("custom", "qwen3-8b"), ReasoningAsk(False), {"chat_template_kwargs": {"enable_thinking": False}}),
        (SOMEBODY, ReasoningAsk(True, "xhigh"), {"reasoning_effort": "high"}),
    ],
)
def test_reasoning_is_asked_for_in_the_hosts_words(target: Target, ask: ReasoningAsk, fields: Json) -> None:
    found = body(asked(reasoning=ask), target)
    assert {name: value for name, value in found.items() if name not in ("model", "messages")} == fields


def test_what_nobody_here_knows_of_reasoning() -> None:
    ask = ReasoningAsk(effort="low", context="all_turns", mode="pro")
    assert dropped(asked(reasoning=ask)) == ("reasoning.context", "reasoning.mode")
    assert dropped(asked(reasoning=ask), openai("gpt-4o"))[2:] == ("reasoning_effort",)


def test_tools_that_need_effort_none_get_it() -> None:
    """CV-26 sends them to Responses; where only this format is spoken, tools come before reasoning."""
    request = asked(tools=(FunctionTool("f"),), reasoning=ReasoningAsk(True, "high"))
    assert body(request, at("custom", "gpt-5.6"))["reasoning_effort"] == "none"
    assert dropped(request, at("custom", "gpt-5.6")) == ("reasoning_effort",)


# Reasoning in the history.

CLAUDE = Reasoning((ReasoningText("Add."),), ReasoningOpaque("EqQB", "anthropic-claude-v1"))
GOOGLE = ReasoningOpaque("Q2k9", "google-gemini-v1")
PLAIN = Reasoning((ReasoningText("Add."),))
CALL = ToolCall("c", "f", "{}")
ANSWER = ToolResult("c", (Text("r"),))


def loop(*blocks: Block, target: Target) -> Json:
    """The assistant's message in a loop with one call."""
    turns = (HI, assistant(*blocks, CALL), user(ANSWER))
    found: Json = encode(asked(*turns), target).body["messages"][1]
    return found


@pytest.mark.parametrize(
    ("model", "blocks", "text"),
    [
        ("llama-3", (PLAIN,), None),
        ("glm-4.6", (PLAIN,), "Add."),
        ("glm-4.6", (CLAUDE,), None),
        ("glm-4.6", (), None),
        ("glm-4.6", (Reasoning(PLAIN.texts, ReasoningOpaque("oa1.x", "")),), None),
        ("deepseek-v4", (PLAIN,), "Add."),
        ("deepseek-v4", (CLAUDE,), " "),
        ("kimi-k2.5", (), " "),
        ("deepseek-r1", (PLAIN,), None),
        ("mistral-large", (PLAIN,), None),
    ],
)
def test_cv_61_reasoning_goes_back_to_models_that_want_it(
    model: str, blocks: tuple[Block, ...], text: str | None
) -> None:
    assert loop(*blocks, target=at("custom", model)).get("reasoning_content") == text


def test_the_field_for_it_is_the_hosts() -> None:
    assert loop(PLAIN, target=at("groq", "gpt-oss-120b"))["reasoning"] == "Add."


def test_reasoning_outside_of_a_loop_is_not_required() -> None:
    (said,) = messages(PLAIN, Text("4"), role="assistant", target=at("custom", "deepseek-v4"))
    assert said == says("assistant", "4")


@pytest.mark.parametrize(
    ("target", "details"),
    [
        (at("openrouter", "claude-opus-5"), True),
        (at("openrouter", "gemini-3-pro"), False),
        (at("openrouter"), False),
        (at("custom", "claude-opus-5"), False),
        (openai("gpt-5"), False),
    ],
)
def test_cv_52_signatures_go_only_to_who_made_them(target: Target, details: bool) -> None:
    entry = {"type": "reasoning.text", "text": "Add.", "signature": "EqQB", "format": "anthropic-claude-v1", "index": 0}
    said = loop(CLAUDE, replace(CLAUDE, opaque=ReasoningOpaque("oa1.x", "anthropic-claude-v1")), target=target)
    assert said.get("reasoning_details") == ([entry] if details else None)
    assert "reasoning_content" not in said


def test_signatures_of_calls_go_to_google_alone() -> None:
    turns = (HI, assistant(replace(CALL, opaque=GOOGLE)), user(ANSWER))

    def call_at(target: Target) -> Json:
        call: Json = encode(asked(*turns), target).body["messages"][1]["tool_calls"][0]
        return call

    google = call_at(at("geminiopenaicompatible", "gemini-3-pro"))
    assert google["extra_content"] == {"google": {"thought_signature": "Q2k9"}}
    assert "extra_content" not in call_at(at("custom", "gemini-3-pro"))


def test_lost_reasoning_is_text_where_the_operator_wants_it() -> None:
    target = at("custom", options=ConversionOptions(reasoning_lost="text"))
    assert messages(CLAUDE, Text("4"), role="assistant", target=target) == [
        says("assistant", "<think>Add.</think>\n\n4")
    ]
    assert messages(CLAUDE, role="assistant") == []


# Tools.


def tools(*declared: Any, target: Target = SOMEBODY, **fields: Any) -> Json:
    found = body(asked(tools=declared, **fields), target)
    return {name: found[name] for name in ("tools", "tool_choice", "parallel_tool_calls") if name in found}


def function(name: str, parameters: Json | None = None, **members: Any) -> Json:
    parameters = {"type": "object", "properties": {}} if parameters is None else parameters
    described = {"description": members.pop("description")} if "description" in members else {}
    return {"type": "function", "function": {"name": name, **described, "parameters": parameters, **members}}


def test_a_function_with_everything() -> None:
    tool = FunctionTool(
        "f", "Does.", WEATHER, True, {"type": "object"}, ({"city": "Oslo"},), True, ("code",), True, "maps"
    )
    encoded = encode(asked(tools=(tool, ToolSearch("server"))))
    description = 'Does.\n\nExamples:\n{"city":"Oslo"}'
    assert encoded.body["tools"] == [function("maps__f", WEATHER, description=description, strict=True)]
    assert encoded.dropped == (
        "tools[0].examples=emulated",
        "tools[0].defer=emulated",
        "tools[0].namespace=emulated",
        "tools[0].callers",
        "tools[0].output_schema",
        "tools[1]=emulated",
    )


@pytest.mark.parametrize("parameters", [None, {}, {"type": "object"}])
def test_cv_24_a_function_without_parameters_has_an_empty_object(parameters: JsonObject | None) -> None:
    assert tools(FunctionTool("f", parameters=parameters)) == {"tools": [function("f")]}


def test_parameters_that_are_no_object_are_put_into_one() -> None:
    request = asked(
        assistant(ToolCall("c", "f", '{"value":"a"}')),
        tools=(FunctionTool("f", parameters={"type": "string"}),),
    )
    encoded = encode(request)
    assert encoded.body["tools"][0]["function"]["parameters"]["required"] == ["value"]
    assert encoded.body["messages"][0]["tool_calls"][0]["function"]["arguments"] == '{"value":"a"}'
    assert "tools[0].parameters=emulated" in encoded.dropped
    assert encoded.restore is not None
    assert encoded.restore.wrapped == {"f"}


STRICT = FunctionTool("f", parameters=WEATHER, strict=True)
OPTIONAL = FunctionTool("f", parameters={**WEATHER, "required": []}, strict=True)


def test_strict_tools() -> None:
    closed = {**WEATHER, "additionalProperties": False}
    assert tools(STRICT, target=openai())["tools"] == [function("f", closed, strict=True)]
    # a grammar of OpenAI's cannot leave a member out
    assert "strict" not in tools(OPTIONAL, target=openai())["tools"][0]["function"]
    assert dropped(asked(tools=(OPTIONAL,)), openai()) == ("tools[0].strict",)
    # the same vendor's own dialect is not touched
    of_openai = asked(tools=(OPTIONAL,), format="openai_responses")
    assert body(of_openai, openai())["tools"] == [function("f", OPTIONAL.parameters, strict=True)]
    assert tools(STRICT, target=at("custom"))["tools"] == [function("f", WEATHER, strict=True)]


def test_cv_23_strict_is_removed_where_it_is_refused() -> None:
    target = at("xai", "grok-4")
    assert tools(STRICT, target=target)["tools"] == [function("f", WEATHER)]
    assert dropped(asked(tools=(STRICT,)), target) == ("tools[0].strict",)


LONG_NAME = "get_" + "weather_" * 12


def test_cv_15_names_are_made_legal_everywhere_and_restored() -> None:
    history = (HI, assistant(ToolCall("c", LONG_NAME, "{}")), user(ANSWER))
    choice = ToolChoice("required", (("function", LONG_NAME),))
    encoded = encode(asked(*history, tools=(FunctionTool(LONG_NAME), FunctionTool("a.b")), tool_choice=choice))
    names = [tool["function"]["name"] for tool in encoded.body["tools"]]
    assert names == [LONG_NAME[:64], "a_b"]
    assert encoded.body["tool_choice"]["function"]["name"] == names[0]
    assert encoded.body["messages"][1]["tool_calls"][0]["function"]["name"] == names[0]
    assert encoded.restore is not None
    assert encoded.restore.names == {names[0]: LONG_NAME, "a_b": "a.b"}


def test_two_tools_of_one_name() -> None:
    assert tools(FunctionTool("f"), FunctionTool("f")) == {"tools": [function("f")]}
    error = refusal(asked(tools=(FunctionTool("f"), CustomTool("f"))))
    assert error.param == "tools"
    assert "'f'" in error.message


PATCH = CustomTool("patch", "Edits.", Grammar("lark", "start: /x/"))
WRAPPED = {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]}


def test_custom_tools_are_openais() -> None:
    custom = {
        "name": "patch",
        "description": "Edits.",
        "format": {"type": "grammar", "grammar": {"syntax": "lark", "definition": "start: /x/"}},
    }
    history = (HI, assistant(ToolCall("c", "patch", 'a "b"', "custom")), user(ANSWER))
    choice = ToolChoice("required", (("custom", "patch"),))
    encoded = encode(asked(*history, tools=(PATCH,), tool_choice=choice), openai("gpt-5"))
    assert encoded.body["tools"] == [{"type": "custom", "custom": custom}]
    assert encoded.body["tool_choice"] == {"type": "custom", "custom": {"name": "patch"}}
    assert encoded.body["messages"][1]["tool_calls"] == [
        {"id": "c", "type": "custom", "custom": {"name": "patch", "input": 'a "b"'}}
    ]
    assert encoded.dropped == ()
    assert encoded.restore is None


def test_custom_tools_are_functions_elsewhere_and_come_back() -> None:
    history = (HI, assistant(ToolCall("c", "patch", 'a "b"', "custom")), user(ANSWER))
    choice = ToolChoice("required", (("custom", "patch"),))
    encoded = encode(asked(*history, tools=(PATCH, CustomTool("say")), tool_choice=choice), at("custom"))
    description = "Edits.\n\nThe input follows this lark grammar:\nstart: /x/"
    assert encoded.body["tools"] == [function("patch", WRAPPED, description=description), function("say", WRAPPED)]
    assert encoded.body["tool_choice"] == {"type": "function", "function": {"name": "patch"}}
    call = encoded.body["messages"][1]["tool_calls"][0]
    assert call["function"] == {"name": "patch", "arguments": '{"input":"a \\"b\\""}'}
    assert encoded.dropped == ("tools[0].grammar=emulated", "tools[1]=emulated")
    assert encoded.restore is not None
    events = Restorer(encoded.restore).feed(
        [
            BlockStarted(0, 0, "tool_call", call_id="x", name="patch"),
            ArgumentsDelta(0, 0, '{"input":"n'),
            ArgumentsDelta(0, 0, 'ew"}'),
            BlockEnded(0, 0, ToolCall("x", "patch", '{"input":"new"}')),
        ]
    )
    assert events[-1] == BlockEnded(0, 0, ToolCall("x", "patch", "new", "custom"))


A, B = FunctionTool("a"), FunctionTool("b")
SPACED = FunctionTool("f", namespace="n")


def choice_at(choice: ToolChoice, target: Target = SOMEBODY, *declared: FunctionTool) -> Any:
    return tools(*(declared or (A, B)), target=target, tool_choice=choice).get("tool_choice")


@pytest.mark.parametrize("mode", ["auto", "none", "required"])
def test_plain_choices(mode: Any) -> None:
    assert choice_at(ToolChoice(mode)) == mode
    assert "tool_choice" not in body(asked(tool_choice=ToolChoice(mode)))


def test_allowed_tools_are_openais_and_a_subset_elsewhere() -> None:
    allowed = ToolChoice("auto", (("function", "a"),))
    reference = {"type": "function", "function": {"name": "a"}}
    assert choice_at(allowed, openai()) == {
        "type": "allowed_tools",
        "allowed_tools": {"mode": "auto", "tools": [reference]},
    }
    assert tools(A, B, tool_choice=allowed) == {"tools": [function("a")], "tool_choice": "auto"}
    assert dropped(asked(tools=(A, B), tool_choice=allowed)) == ("tool_choice=emulated",)
    assert choice_at(ToolChoice("required", (("function", "f"),)), SOMEBODY, SPACED) == {
        "type": "function",
        "function": {"name": "n__f"},
    }


def test_choices_of_what_is_not_there_are_refused() -> None:
    assert refusal(asked(tools=(A,), tool_choice=ToolChoice("required", (("function", "x"),)))).param == "tool_choice"
    assert refusal(asked(tools=(A,), tool_choice=ToolChoice("required", (("mcp", "x"),)))).param == "tool_choice"


def test_parallel_calls() -> None:
    assert tools(A, tool_choice=ToolChoice(parallel=False))["parallel_tool_calls"] is False
    assert "parallel_tool_calls" not in tools(A, tool_choice=ToolChoice(parallel=True))
    assert "parallel_tool_calls" not in body(asked(tool_choice=ToolChoice(parallel=False)))
    refusing = Target("m", ModelRules(refuses=frozenset({"parallel", "tool_choice"})))
    request = asked(tools=(A,), tool_choice=ToolChoice("required", parallel=False))
    assert dropped(request, refusing) == ("tool_choice.parallel", "tool_choice")
    assert dropped(request, at("geminiopenaicompatible")) == ("tool_choice.parallel",)


@pytest.mark.parametrize(
    ("only", "sentence"),
    [
        ((), "You must call a tool."),
        ((("function", "a"),), "You must call the tool a."),
        ((("function", "a"), ("function", "b")), "You must call one of the tools a, b."),
    ],
)
def test_cv_20_a_model_that_cannot_be_forced_is_told(only: Any, sentence: str) -> None:
    encoded = encode(asked(tools=(A, B), tool_choice=ToolChoice("required", only)), at("custom", "glm-4.6"))
    assert encoded.body["tool_choice"] == "auto"
    assert encoded.body["messages"][0] == says("system", sentence)
    assert "tool_choice=emulated" in encoded.dropped


FORCED = ToolChoice("required")


@pytest.mark.parametrize(
    ("ask", "choice", "switch", "lost"),
    [
        (None, "required", {"enable_thinking": False}, ()),
        (ReasoningAsk(effort="high"), "required", {"enable_thinking": False}, ("thinking",)),
        (ReasoningAsk(True), "auto", {"enable_thinking": True}, ("tool_choice=emulated",)),
        (ReasoningAsk(False), "required", {"enable_thinking": False}, ()),
    ],
)
def test_a_forced_tool_comes_before_reasoning_nobody_asked_for(
    ask: ReasoningAsk | None, choice: str, switch: Json, lost: tuple[str, ...]
) -> None:
    encoded = encode(asked(tools=(A,), tool_choice=FORCED, reasoning=ask), at("custom", "qwen3-8b"))
    assert encoded.body["tool_choice"] == choice
    assert encoded.body["chat_template_kwargs"] == switch
    assert encoded.dropped == lost


def test_models_without_tools() -> None:
    request = asked(tools=(A,), tool_choice=FORCED)
    assert tools(A, target=openai("gpt-4o-search-preview"), tool_choice=FORCED) == {}
    assert dropped(request, openai("gpt-4o-search-preview")) == ("tools",)


SEARCH = HostedTool(
    "web_search", "web_search_20250305", "anthropic_messages", {}, options={"max_uses": 5, "allowed_domains": ["a"]}
)
BASH = HostedTool("bash", "bash_20250124", "anthropic_messages", {}, "bash")


@pytest.mark.parametrize("target", [openai("gpt-4o-search-preview"), at("custom", "sonar"), at("openrouter")])
def test_web_search_is_for_models_that_search(target: Target) -> None:
    encoded = encode(asked(tools=(SEARCH,)), target)
    assert encoded.body["web_search_options"] == {"search_context_size": "medium"}
    assert encoded.dropped == ("tools[0].allowed_domains",)


@pytest.mark.parametrize(
    ("tool", "param"),
    [(SEARCH, "tools[0]"), (BASH, "tools[0]"), (McpServer("docs"), "tools")],
    ids=["search", "bash", "mcp"],
)
def test_hosted_tools_the_model_has_not_are_refused_or_left_out(tool: Any, param: str) -> None:
    assert refusal(asked(tools=(tool,)), openai()).param == param
    assert dropped(asked(tools=(tool,)), openai(options=ConversionOptions(drop_hosted_tools=True))) == ("tools[0]",)


def test_client_tools_can_be_functions() -> None:
    encoded = encode(asked(tools=(BASH,)), openai(options=ConversionOptions(emulate_client_tools=True)))
    assert encoded.body["tools"][0]["function"]["name"] == "bash"
    assert encoded.dropped == ("tools[0]=emulated",)


# The form of the answer.

JSON, SCHEMA = OutputFormat("json"), OutputFormat("schema", schema=SUM, description="A sum.")
OPEN = {"type": "object", "properties": {"n": {"type": "integer"}}}


def test_json_mode_names_json() -> None:
    found = body(asked(output=JSON))
    assert found["response_format"] == {"type": "json_object"}
    assert found["messages"][0] == says("system", "Answer with one JSON object and nothing else.")
    named = asked(user(Text("as json")), output=JSON)
    assert body(named)["messages"] == [says("user", "as json")]


@pytest.mark.parametrize(
    ("target", "schema", "expected", "strict"),
    [
        (openai(), SUM, SUM, True),
        (openai(), OPEN, OPEN, False),
        (at("custom"), OPEN, OPEN, None),
        (at("custom"), {**SUM, "$schema": "x"}, SUM, None),
    ],
)
def test_schemas(target: Target, schema: JsonObject, expected: JsonObject, strict: bool | None) -> None:
    form = body(asked(output=OutputFormat("schema", schema=schema)), target)["response_format"]
    assert form["json_schema"]["schema"] == expected
    assert form["json_schema"].get("strict") is strict


def test_a_name_is_made_legal() -> None:
    form = body(asked(output=replace(SCHEMA, name="a sum!")))["response_format"]
    assert (form["json_schema"]["name"], form["json_schema"]["description"]) == ("a_sum_", "A sum.")


def test_an_enum_is_the_member_of_an_object() -> None:
    output = OutputFormat("enum", schema={"type": "string", "enum": ["a", "b"]})
    encoded = encode(asked(output=output, format="gemini"), openai())
    spec = encoded.body["response_format"]["json_schema"]
    assert spec["schema"]["properties"] == {"value": {"type": "string", "enum": ["a", "b"]}}
    assert spec["strict"] is True
    assert encoded.dropped == ("output=emulated",)
    assert encoded.restore is not None
    assert encoded.restore.output is not None
    assert encoded.restore.output.wrapped


@pytest.mark.parametrize(
    ("target", "output", "declared", "form"),
    [
        (at("deepseek", "deepseek-chat"), SCHEMA, (), {"type": "json_object"}),
        (at("deepseek", "deepseek-chat"), SCHEMA, (A,), None),
        (at("deepseek", "deepseek-chat"), JSON, (A,), None),
        (openai("gpt-4o-audio-preview"), SCHEMA, (), None),
        (openai("gpt-4o-audio-preview"), JSON, (), None),
    ],
)
def test_structured_output_where_there_is_none_is_asked_for(
    target: Target, output: OutputFormat, declared: tuple[FunctionTool, ...], form: Json | None
) -> None:
    encoded = encode(asked(output=output, tools=declared), target)
    assert encoded.body.get("response_format") == form
    assert encoded.body["messages"][0]["content"].startswith("Answer with one JSON")
    assert encoded.dropped == ("output=emulated",)
    assert encoded.restore is not None
    assert encoded.restore.output is not None
    assert encoded.restore.output.fenced


# Instructions.


@pytest.mark.parametrize(
    ("target", "role"),
    [
        (openai("gpt-5"), "developer"),
        (openai("gpt-4o"), "system"),
        (at("custom", "gpt-5"), "system"),
        (openai("o1-mini"), "user"),
    ],
)
def test_cv_12_instructions_keep_their_order_in_the_models_role(target: Target, role: str) -> None:
    system = (Text("x-anthropic-billing-header: 1"), Text("One."), Text("Two.", origin="developer"))
    between = Turn("system", (Text("Now."),))
    said = encode(asked(HI, between, HI, system=system), target)
    assert [(message["role"], message["content"]) for message in said.body["messages"]] == [
        (role, "One."),
        (role, "Two."),
        ("user", "Hi"),
        (role, "Now."),
        ("user", "Hi"),
    ]
    assert ("system=emulated" in said.dropped) == (role == "user")


def test_instructions_of_models_without_any_are_said_by_the_user() -> None:
    target = Target("m", ModelRules(refuses=frozenset({"system"})))
    request = asked(system=(Text("One."),))
    assert body(request, target)["messages"][0]["content"] == [
        {"type": "text", "text": "One."},
        {"type": "text", "text": "Hi"},
    ]
    assert dropped(request, target) == ("system=emulated",)
    alone = Request("gemini", "m", system=(Text("One."),))
    assert body(alone, target)["messages"] == [says("user", "One.")]


# Results.


def test_cv_16_results_follow_their_calls() -> None:
    first, second = ToolCall("a", "f", ""), ToolCall("b", "g", "{}")
    turns = (
        assistant(first, second),
        user(Text("Wait."), ToolResult("b", (Text("1"), Text("2")), "g"), ToolResult("x", (Text("?"),))),
    )
    encoded = encode(asked(*turns))
    assert encoded.body["messages"][1:] == [
        {"role": "tool", "tool_call_id": "b", "content": "1\n2"},
        {"role": "tool", "tool_call_id": "a", "content": "Error: No result was provided."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Wait."},
                {"type": "text", "text": "Result of tool call x: ?"},
            ],
        },
    ]
    calls = encoded.body["messages"][0]["tool_calls"]
    assert [call["function"]["arguments"] for call in calls] == ["{}", "{}"]
    assert "turns[0].missing_result=emulated" in encoded.dropped
    assert "turns[1].orphan_result=emulated" in encoded.dropped


def test_several_texts_of_a_result_stay_apart_at_openai() -> None:
    turns = (assistant(CALL), user(ToolResult("c", (Text("1"), Text("2")))))
    content = encode(asked(*turns), openai()).body["messages"][1]["content"]
    assert content == [{"type": "text", "text": "1"}, {"type": "text", "text": "2"}]


def test_what_a_result_holds_besides_text() -> None:
    blocks = (
        Document(PlainText("abc"), title="A"),
        SearchResult("https://a.example", "T", (Text("found"),)),
        Image(Url("https://a.example/1.png")),
        Document(Inline("application/pdf", "JVBERi0=")),
    )
    turns = (assistant(CALL), user(ToolResult("c", blocks), Text("And?")))
    _, result, shown, after = encode(asked(*turns), openai()).body["messages"]
    assert result["content"] == (
        '<document title="A">\nabc\n</document>\nT - https://a.example\nfound\n'
        "[image 1 of c follows]\n[attachment 2 of c follows]"
    )
    file = {"file_data": "data:application/pdf;base64,JVBERi0=", "filename": "file-1.pdf"}
    assert shown["content"] == [
        {"type": "text", "text": "Image 1 of c:"},
        {"type": "image_url", "image_url": {"url": "https://a.example/1.png"}},
        {"type": "text", "text": "Attachment 2 of c:"},
        {"type": "file", "file": file},
    ]
    assert after == says("user", "And?")


@pytest.mark.parametrize(
    ("blocks", "content"),
    [((), "Error:"), ((Text("Error: x"),), "Error: x"), ((Text("x"),), "Error: x"), ((Text("Error:x"),), "Error:x")],
)
def test_errors_are_said_in_front(blocks: tuple[Block, ...], content: str) -> None:
    turns = (assistant(CALL), user(ToolResult("c", blocks, is_error=True)))
    assert encode(asked(*turns)).body["messages"][1]["content"] == content


@pytest.mark.parametrize(
    ("target", "length"), [(SOMEBODY, 40), (at("mistral"), 9), (at("copilot"), 40), (openai(), 40)]
)
def test_ids_are_made_legal_for_the_host(target: Target, length: int) -> None:
    long = "x" * 70
    turns = (assistant(ToolCall(long, "f", "{}")), user(ToolResult(long, (Text("r"),))))
    call, result = encode(asked(*turns), target).body["messages"]
    assert call["tool_calls"][0]["id"] == result["tool_call_id"]
    assert len(result["tool_call_id"]) == length


# What the user says.


def test_documents_and_search_results_become_text() -> None:
    blocks = (
        Document(PlainText("abc"), title="A", context="Read this."),
        Document(Nested((Text("x"), Text("y")))),
        Document(Inline("text/csv", "YSxi"), filename="t.csv", cite=True),
        SearchResult("https://a.example", "T", (Text("found"),)),
    )
    request = asked(user(*blocks))
    assert [part["text"] for part in body(request)["messages"][0]["content"]] == [
        "Read this.",
        '<document title="A">\nabc\n</document>',
        "x",
        "y",
        '<document title="t.csv">\na,b\n</document>',
        "T - https://a.example",
        "found",
    ]
    assert dropped(request) == ("turns[0].document=emulated", "turns[0].citations", "turns[0].search_result=emulated")


PDF = Document(Inline("application/pdf", "JVBERi0="), title="a.pdf")


@pytest.mark.parametrize(
    "target", [openai("nobody-knows"), at("openai", "gpt-4o"), at("openrouter"), at("azure")], ids=str
)
def test_files_go_to_openai_and_its_likes(target: Target) -> None:
    (message,) = messages(PDF, target=target)
    assert message["content"] == [
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,JVBERi0=", "filename": "a.pdf"}}
    ]


def test_svg_is_sent_as_the_text_it_is() -> None:
    assert messages(Image(Inline("image/svg+xml", "PHN2Zy8+")), Text("?"))[0]["content"][0] == {
        "type": "text",
        "text": "<svg/>",
    }


@pytest.mark.parametrize(
    ("media_type", "form"), [("audio/mpeg", "mp3"), ("audio/mp3", "mp3"), ("audio/wav", "wav"), ("audio/x-wav", "wav")]
)
def test_sound_that_can_be_heard(media_type: str, form: str) -> None:
    (message,) = messages(Audio(Inline(media_type, "AAAA")))
    assert message["content"] == [{"type": "input_audio", "input_audio": {"data": "AAAA", "format": form}}]


def test_video_is_for_hosts_that_show_it() -> None:
    (message,) = messages(Video(Url("https://a.example/v.mp4")), target=at("custom"))
    assert message["content"] == [{"type": "video_url", "video_url": {"url": "https://a.example/v.mp4"}}]


@pytest.mark.parametrize(
    ("block", "target", "what"),
    [
        (Image(FileRef("anthropic", "f")), SOMEBODY, "an image uploaded to another vendor"),
        (Image(CloudUri("gs://b/x.png")), SOMEBODY, "an image uploaded to another vendor"),
        (Image(Inline("image/heic", "AAAA")), openai(), "an image of type image/heic"),
        (Image(Inline("image/png", PNG)), at("groq", "gpt-oss-120b"), "an image"),
        (Image(Inline("image/svg+xml", "A")), SOMEBODY, "a text that is no base64"),
        (Document(FileRef("anthropic", "f")), openai(), "a file uploaded to another vendor"),
        (Document(FileRef("openai", "f")), SOMEBODY, "a file uploaded to another vendor"),
        (Document(Url("https://a.example/a.pdf")), openai(), "a document that is named by its address"),
        (PDF, SOMEBODY, "a document of type application/pdf"),
        (Audio(Inline("audio/ogg", "AAAA")), SOMEBODY, "sound that is neither WAV nor MP3"),
        (Audio(Url("https://a.example/a.wav")), SOMEBODY, "sound that is neither WAV nor MP3"),
        (Video(Url("https://a.example/v.mp4")), openai(), "a video"),
        (Video(CloudUri("gs://b/v.mp4")), at("custom"), "a video"),
        (ContainerFile("f"), SOMEBODY, "a file in another vendor's container"),
        (Opaque("item_ref", "openai_responses", "item_reference", {}), SOMEBODY, "a reference to a stored item"),
    ],
)
def test_what_cannot_be_shown_is_refused(block: Block, target: Target, what: str) -> None:
    error = refusal(asked(user(block)), target)
    assert error.message.startswith(f"{what} cannot")
    assert error.param == "messages"


def test_what_the_assistant_did_elsewhere() -> None:
    blocks = (
        Reasoning((), ReasoningOpaque("RED", "anthropic-claude-v1", "encrypted")),
        Text("a"),
        HostedCall("web_search", "ws", "web_search", {"query": "q"}),
        HostedResult("ws", "web_search", format="anthropic_messages"),
        ContainerFile("f"),
        Opaque("compaction", "anthropic_messages", "compaction", {"content": "Before."}),
        Opaque("foreign", "anthropic_messages", "advisor", {}),
        Refusal("No."),
        Audio(transcript="heard"),
        Text("b"),
    )
    request = asked(assistant(*blocks), HI)
    said, _ = body(request)["messages"]
    assert said == {**says("assistant", "a\n\nSearched: q\n\nBefore.\n\nheard\n\nb"), "refusal": "No."}
    assert dropped(request) == (
        "turns[0].hosted_calls=emulated",
        "turns[0].container_file",
        "turns[0].compaction=emulated",
        "turns[0].advisor",
        "turns[0].audio=emulated",
    )


def test_a_sealed_compaction_cannot_be_carried_over() -> None:
    sealed = Opaque("compaction", "openai_responses", "compaction", {"encrypted_content": "x"})
    error = refusal(asked(assistant(sealed)))
    assert (error.status, error.code) == (409, "state_not_portable")


def test_pictures_of_the_assistant_are_shown_by_the_user_behind_its_results() -> None:
    picture = Image(Inline("image/png", PNG))
    turns = (assistant(Text("See."), picture, CALL), user(ANSWER, Text("Nice.")))
    _, result, shown, said = encode(asked(*turns)).body["messages"]
    assert result["role"] == "tool"
    assert shown["content"] == [
        {"type": "text", "text": "Image from the assistant:"},
        {"type": "image_url", "image_url": PNG_URL},
    ]
    assert said == says("user", "Nice.")


def test_names_of_speakers() -> None:
    named = asked(Turn("user", (Text("Hi"),), "ann"))
    assert body(named)["messages"] == [{**says("user", "Hi"), "name": "ann"}]
    for target in (at("custom", "grok-4"), at("groq")):
        assert body(named, target)["messages"] == [says("user", "Hi")]
        assert dropped(named, target) == ("turns[0].name",)


def test_turns_that_say_nothing_are_left_out() -> None:
    nothing = Opaque("foreign", "anthropic_messages", "x", {})
    empty = asked(HI, assistant(), user(Text("")), user(nothing))
    assert body(empty)["messages"] == [says("user", "Hi"), says("user", "")]


# Prefill.

BEGUN = assistant(Text("The answer"))
NO_PREFILL = ModelRules(prefill="no")


def test_cv_14_a_beginning_of_the_answer() -> None:
    assert body(asked(HI, BEGUN))["messages"][-1] == says("assistant", "The answer")
    refusing = Target("m", NO_PREFILL)
    assert refusal(asked(HI, BEGUN), refusing).message.startswith("a beginning of the answer")
    emulating = Target("m", NO_PREFILL, options=ConversionOptions(emulate_prefill=True))
    assert body(asked(HI, BEGUN), emulating)["messages"][-1] == says("user", "Continue.")
    assert dropped(asked(HI, BEGUN), emulating) == ("prefill=emulated",)
    assert body(asked(HI, assistant(Text(" "))), refusing)["messages"] == [says("user", "Hi")]
    paused = asked(HI, assistant(HostedCall("web_search", "w", "web_search")))
    assert refusal(paused).message.startswith("an answer to be continued")


# Cache marks.


def test_marks_are_written_where_they_are_read() -> None:
    marked = asked(
        user(Text("Hi", cache=CacheMark())),
        assistant(Text("Yes.", cache=CacheMark("5m"))),
        HI,
        system=(Text("LONG", cache=CacheMark("1h")),),
    )
    official = body(marked, openai("gpt-5.6"))
    assert official["messages"][1]["content"][0]["prompt_cache_breakpoint"] == {"mode": "explicit"}
    assert official["messages"][2]["content"][0]["prompt_cache_breakpoint"] == {"mode": "explicit", "ttl": "30m"}
    assert official["prompt_cache_options"] == {"mode": "explicit"}
    router = body(marked, at("openrouter", "claude-opus-5"))
    assert router["messages"][0]["content"][0]["cache_control"] == {"type": "ephemeral", "ttl": "1h"}
    assert router["messages"][1]["content"][0]["cache_control"] == {"type": "ephemeral"}
    for target in (openai("gpt-5"), at("openrouter", "llama-3"), SOMEBODY):
        assert "cache" not in str(body(marked, target))
        assert dropped(marked, target) == ()


def test_four_marks_at_most_the_last_of_the_instructions_among_them() -> None:
    turns = [user(Text(f"{number}", cache=CacheMark())) for number in range(5)]
    marked = asked(*turns, system=(Text("s1", cache=CacheMark()), Text("s2", cache=CacheMark())))
    found = body(marked, openai("gpt-5.6"))["messages"]
    texts = [
        part["text"]
        for message in found
        if isinstance(message["content"], list)
        for part in message["content"]
        if "prompt_cache_breakpoint" in part
    ]
    assert texts == ["s2", "2", "3", "4"]


def test_the_cache_plan_is_openais() -> None:
    plan = asked(cache=CachePlan("auto_last", "1h", "k", "24h"), format="openai_responses")
    found = body(plan, openai("gpt-5.6"))
    assert found["prompt_cache_options"] == {"mode": "implicit"}
    assert (found["prompt_cache_key"], found["prompt_cache_retention"]) == ("k", "24h")
    explicit = asked(cache=CachePlan("explicit", "30m"))
    assert body(explicit, openai("gpt-5.6"))["prompt_cache_options"] == {"mode": "explicit", "ttl": "30m"}
    assert dropped(plan) == ("cache.key", "cache.retention")
    assert dropped(replace(plan, format="anthropic_messages")) == ("cache.retention",)


# Settings.


def test_who_asks() -> None:
    both = asked(identity=Identity("u" * 70, "s", {"a": "b"}), state=State(store=True))
    found = body(both, openai())
    assert (found["user"], found["safety_identifier"], found["metadata"]) == ("u" * 64, "s", {"a": "b"})
    assert found["store"] is True
    assert body(asked(identity=Identity(safety_id="s")))["user"] == "s"
    assert "safety_identifier" not in body(both)
    assert dropped(both) == ("state.store", "identity.metadata")
    assert dropped(replace(both, state=State()), openai()) == ("identity.metadata",)
    assert dropped(asked(identity=Identity("u")), at("mistral")) == ("identity.end_user",)


@pytest.mark.parametrize(
    ("tier", "official", "lost"),
    [
        ("auto", None, ()),
        ("standard_only", "default", ()),
        ("priority", "priority", ("service.tier",)),
        ("ultrafast", None, ("service.tier",)),
    ],
)
def test_tiers_are_openais(tier: str, official: str | None, lost: tuple[str, ...]) -> None:
    request = asked(service=Service(tier))
    assert body(request, openai()).get("service_tier") == official
    assert "service_tier" not in body(request)
    assert dropped(request) == lost


def test_verbosity_is_openais() -> None:
    request = asked(verbosity="low")
    assert body(request, at("custom", "gpt-5"))["verbosity"] == "low"
    assert dropped(request, openai("gpt-4o")) == ("verbosity",)
    assert dropped(request) == ("verbosity",)


def test_moderation() -> None:
    blocking, scoring = ({"policy": {"input": {"mode": mode}}} for mode in ("block", "score"))
    assert body(asked(safety=Safety(moderation=blocking)), openai())["moderation"] == blocking
    assert refusal(asked(safety=Safety(moderation=blocking))).message.startswith("blocking moderation")
    assert dropped(asked(safety=Safety(moderation=scoring))) == ("safety.moderation",)


def test_streams_report_usage_and_are_not_padded() -> None:
    request = asked(stream=StreamOptions(True))
    assert body(request)["stream_options"] == {"include_usage": True}
    assert body(request, openai())["stream_options"] == {"include_usage": True, "include_obfuscation": False}
    padded = asked(stream=StreamOptions(True, obfuscation=True))
    assert body(padded, openai())["stream_options"]["include_obfuscation"] is True
    assert "stream_options" not in body(request, at("mistral"))
    assert body(request, at("mistral"))["stream"] is True


def test_sound_and_pictures_as_output() -> None:
    speech = asked(modalities=("audio",), audio=AudioOut("Kore", language="de", speakers=("a",)), format="gemini")
    found = body(speech, openai("gpt-audio"))
    assert (found["modalities"], found["audio"]) == (["text", "audio"], {"voice": "Kore", "format": "pcm16"})
    assert dropped(speech, openai("gpt-audio")) == ("audio.speakers", "audio.language")
    custom = replace(speech, audio=AudioOut({"id": "v"}, "wav"))
    assert body(custom, openai())["audio"] == {"voice": {"id": "v"}, "format": "wav"}
    assert body(custom)["audio"] == {"voice": "alloy", "format": "wav"}
    pictures = asked(modalities=("text", "image"), image=ImageOut("1K"), format="gemini")
    assert body(pictures, at("openrouter"))["modalities"] == ["image", "text"]
    assert dropped(pictures, at("openrouter")) == ("image",)
    error = refusal(pictures, openai())
    assert error.message.startswith("an image as output")
    assert error.param == "generationConfig.responseModalities"


def test_what_this_format_cannot_say_is_named() -> None:
    request = asked(
        max_hosted_calls=3,
        state=State(truncation="auto", context_edits=[1]),
        identity=Identity(labels={"a": "b"}),
        service=Service(speed="fast", geo="eu"),
        safety=Safety([1]),
        prediction={"type": "content", "content": "x"},
        extras={"anthropic_messages": {"unknown": 1}, "openai_chat": {"kept": 2}},
    )
    encoded = encode(request)
    assert encoded.body == {
        "model": "m",
        "messages": [says("user", "Hi")],
        "prediction": {"type": "content", "content": "x"},
        "kept": 2,
    }
    assert encoded.dropped == (
        "max_hosted_calls",
        "state.truncation",
        "state.context_edits",
        "identity.labels",
        "service.speed",
        "service.geo",
        "safety.settings",
        "unknown",
    )


@pytest.mark.parametrize(
    ("fields", "what", "format", "param"),
    [
        ({"state": State(background=True)}, "background work", "openai_responses", "background"),
        ({"state": State(previous_id="r")}, "a stored response", "openai_responses", "previous_response_id"),
        ({"state": State(conversation="c")}, "a stored conversation", "anthropic_messages", "thread"),
        ({"prompt_template": {"id": "p"}}, "a prompt template", "openai_responses", "prompt"),
        ({"cache": CachePlan(resource="cachedContents/1")}, "a cached content", "gemini", "cachedContent"),
        ({"container": {"id": "c"}}, "a container", "anthropic_messages", "container"),
        ({"max_output": 0}, "a request that only warms the cache", "anthropic_messages", "max_tokens"),
        ({"modalities": ("video",)}, "video as output", "gemini", "generationConfig.responseModalities"),
    ],
)
def test_what_nobody_may_leave_out_is_refused(fields: Json, what: str, format: str, param: str) -> None:
    error = refusal(asked(format=format, **fields))
    assert error.message.startswith(f"{what} cannot")
    assert error.param == param


def test_every_host_is_what_its_table_says() -> None:
    assert host_of(openai()).openai
    assert not host_of(replace(openai(), provider="deepseek")).openai
    assert not host_of(at("azure")).openai
    assert host_of(SOMEBODY) == host_of(at("no-such-provider"))


# Histories of any kind.

TEXT = st.text("ab ", min_size=1, max_size=3).map(Text)
SHOWN: st.SearchStrategy[Block] = TEXT | st.just(Image(Inline("image/png", PNG)))
THOUGHTS = st.sampled_from([PLAIN, CLAUDE])
CALLS = st.builds(ToolCall, st.sampled_from(["c1", "c2", "x" * 70]), st.sampled_from(["f", "g.h"]), st.just("{}"))
RESULTS = st.builds(
    ToolResult,
    st.sampled_from(["c1", "c2", "x" * 70]),
    st.lists(SHOWN, max_size=2).map(tuple),
    is_error=st.sampled_from([None, True]),
)
USER = st.lists(SHOWN | RESULTS, min_size=1, max_size=3).map(lambda blocks: Turn("user", tuple(blocks)))
ASSISTANT = st.lists(SHOWN | THOUGHTS | CALLS, min_size=1, max_size=4).map(
    lambda blocks: Turn("assistant", tuple(blocks))
)
SYSTEM = st.lists(TEXT, min_size=1, max_size=2).map(lambda blocks: Turn("system", tuple(blocks)))
HISTORY = st.lists(USER | ASSISTANT | SYSTEM, max_size=6).map(tuple)
TARGETS = st.sampled_from([SOMEBODY, openai("gpt-5.6"), at("custom", "deepseek-v4"), at("openrouter", "claude-opus-5")])


@settings(max_examples=150, deadline=None)
@given(HISTORY, TARGETS)
def test_every_call_is_answered_right_behind_it(turns: tuple[Turn, ...], target: Target) -> None:
    open_calls: list[str] = []
    for message in encode(asked(*turns, HI), target).body["messages"]:
        if message["role"] == "tool":
            open_calls.remove(message["tool_call_id"])
            continue
        assert not open_calls
        open_calls = [call["id"] for call in message.get("tool_calls", ())]
        assert len(set(open_calls)) == len(open_calls)
        assert message["role"] != "assistant" or message["content"] is not None or open_calls
    assert not open_calls


@settings(max_examples=100, deadline=None)
@given(HISTORY, TARGETS)
def test_cv_62_a_history_that_grows_keeps_its_beginning(turns: tuple[Turn, ...], target: Target) -> None:
    """Whatever was asked when it was the user's turn to have spoken."""
    tools_ = (FunctionTool("f"), FunctionTool("g.h"))
    turns = (*turns, HI)
    request = asked(*turns, tools=tools_, system=(Text("s"),))
    whole = encode(request, target).body["messages"]
    for length in range(1, len(turns)):
        last, following = turns[length - 1], turns[length]
        if last.role == "user" and following.role == "assistant":
            part = encode(replace(request, turns=turns[:length]), target).body["messages"]
            assert whole[: len(part)] == part


# A vendor as strict as OpenAI takes it.


async def accepted(request: Request, model: str) -> None:
    target = replace(openai(model), model=model)
    encoded = encode(replace(request, model=model), target)
    answer = await ask(OpenAIChat(), encoded.body)
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("number", range(1, 8))
@pytest.mark.parametrize("model", ["gpt-4o-mini", "gpt-5", "gpt-5.6"])
async def test_openai_takes_the_examples(number: int, model: str) -> None:
    request = messages_example(number)
    # gpt-5.6 takes tools with effort none only, on this path
    await accepted(request, model)


async def test_openai_takes_whatever_a_client_of_another_format_asks() -> None:
    request = asked(
        user(Text("See", cache=CacheMark("1h")), Image(Inline("image/png", PNG_PIXEL))),
        assistant(
            CLAUDE,
            Text("Well."),
            ToolCall("x" * 70, LONG_NAME, ""),
            ToolCall("c", "patch", "x", "custom"),
        ),
        user(ToolResult("c", (Text("1"), Text("2")), is_error=True)),
        system=(Text("One.", cache=CacheMark()), Text("Two.")),
        tools=(FunctionTool(LONG_NAME), STRICT, PATCH, FunctionTool("g", parameters={"type": "string"})),
        tool_choice=ToolChoice("auto", (("function", "f"), ("custom", "patch")), parallel=False),
        max_output=100,
        sampling=Sampling(0.5, 0.9, 5, 0.1, 0, 0, 1.1, 7),
        stop=("a", "b", "c", "d", "e"),
        output=OutputFormat("enum", schema={"type": "string", "enum": ["a", "b"]}),
        reasoning=ReasoningAsk(True, "high"),
        identity=Identity("me@example.com", "s", {"a": "b"}),
        service=Service("standard"),
        stream=StreamOptions(True),
        verbosity="low",
    )
    await accepted(request, "gpt-5")
    await accepted(replace(request, output=JSON), "gpt-5.6")
