"""Requirements of conversion that hold for every pair of formats, shown through the codecs."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from oneapi_mw.canonical.blocks import Reasoning, Text
from oneapi_mw.canonical.events import Ended, Failed, ReasoningDelta
from oneapi_mw.canonical.request import FunctionTool, OutputFormat, ReasoningAsk, Request, Turn
from oneapi_mw.errors import InvalidRequest
from oneapi_mw.models.catalogue import rules_of
from oneapi_mw.models.depth import EFFORTS
from oneapi_mw.types import JsonObject
from oneapi_mw.wire.base import Encoded
from oneapi_mw.wire.registry import get_format
from oneapi_mw.wire.target import ConversionOptions, Target

CHAT, RESPONSES, MESSAGES, GEMINI = "openai_chat", "openai_responses", "anthropic_messages", "gemini"
HI = (Turn("user", (Text("Hi"),)),)


def encode(to: str, model: str, provider: str = "", **changes: Any) -> Encoded:
    wire = get_format(to)
    client = CHAT if to != CHAT else MESSAGES
    target = Target(model, rules_of(model), wire.vendor, provider=provider)
    return wire.encode_request(Request(**{"format": client, "model": model, "turns": HI, **changes}), target)


# Efforts.

REASONERS = [
    (CHAT, "gpt-5.4", "openai"),
    (CHAT, "gpt-5", "openai"),
    (CHAT, "o3", "openai"),
    (CHAT, "deepseek-v4", "deepseek"),
    (CHAT, "gpt-oss-120b", "groq"),
    (CHAT, "qwen3-32b", "groq"),
    (CHAT, "grok-4.3", "xai"),
    (CHAT, "kimi-k3", "moonshot"),
    (CHAT, "mistral-medium-3.5", "mistral"),
    (CHAT, "nobody-knows", "openai-compatible"),
    (RESPONSES, "gpt-5.6-sol", "openai"),
    (RESPONSES, "gpt-5-codex", "openai"),
    (MESSAGES, "claude-sonnet-4-5", ""),
    (MESSAGES, "claude-opus-4-6", ""),
    (MESSAGES, "claude-opus-5-5", ""),
    (GEMINI, "gemini-2.5-pro", ""),
    (GEMINI, "gemini-2.5-flash-lite", ""),
    (GEMINI, "gemini-3.7-flash", ""),
]


def efforts_in(body: JsonObject) -> Iterator[str]:
    """Every word in a body that says how much to reason."""
    yield from (body[name] for name in ("reasoning_effort",) if isinstance(body.get(name), str))
    for place in ("reasoning", "output_config"):
        if isinstance(body.get(place), dict) and "effort" in body[place]:
            yield body[place]["effort"]
    level = body.get("generationConfig", {}).get("thinkingConfig", {}).get("thinkingLevel")
    if level is not None:
        yield level.lower()


def is_off(body: JsonObject) -> bool:
    config = body.get("generationConfig", {}).get("thinkingConfig", {})
    return (
        "none" in efforts_in(body)
        or body.get("thinking", {}).get("type") == "disabled"
        or config.get("thinkingBudget") == 0
        or body.get("enable_thinking") is False
    )


@pytest.mark.parametrize(("format", "model", "provider"), REASONERS)
@pytest.mark.parametrize("effort", EFFORTS)
def test_cv_09_none_stays_none_and_no_level_becomes_it(format: str, model: str, provider: str, effort: str) -> None:
    encoded = encode(format, model, provider, reasoning=ReasoningAsk(effort != "none", effort))
    if effort != "none":
        assert not is_off(encoded.body)
        return
    # Off, or nothing said where that is off, or the least there is with its text hidden: never more than asked.
    rules = rules_of(model)
    least = {"none", *rules.efforts[:1], "low", "minimal"}
    assert set(efforts_in(encoded.body)) <= least
    assert is_off(encoded.body) or encoded.hidden or not rules.thinks_unasked


@pytest.mark.parametrize("effort", ["xhigh", "max"])
@pytest.mark.parametrize("model", ["claude-opus-5", "claude-haiku-5-5", "claude-sonnet-5-5"])
def test_cv_66_an_off_form_never_goes_with_xhigh_or_max(model: str, effort: str) -> None:
    body = encode(MESSAGES, model, reasoning=ReasoningAsk(False, effort)).body
    assert body["thinking"]["type"] in ("disabled", "between_tools")
    assert body["output_config"]["effort"] == "high"


# Hosts that think in streams only.

QWEN = Target("qwen3-8b", rules_of("qwen3-8b"), provider="ali")


@pytest.mark.parametrize(
    ("more", "target", "streams"),
    [
        ({}, QWEN, True),
        ({"enable_thinking": True}, QWEN, True),
        ({"enable_thinking": False}, QWEN, False),
        ({}, Target("qwen-plus", rules_of("qwen-plus"), provider="ali"), False),
        ({}, Target("qwen3-8b", rules_of("qwen3-8b"), provider="openai-compatible"), False),
        ({}, Target(QWEN.model, QWEN.rules, provider="ali", options=ConversionOptions(strict_passthrough=True)), False),
    ],
)
def test_cv_42_who_refuses_to_think_at_once_is_asked_for_a_stream(more: Any, target: Target, streams: bool) -> None:
    """The relay folds a stream for a client that did not ask for one."""
    body = {"model": target.model, "messages": [{"role": "user", "content": "Hi"}], **more}
    call = get_format(CHAT).decode_call(orjson.dumps(body), operation="chat")
    sent = orjson.loads(get_format(CHAT).prepare_upstream(call, target=target, include_usage=True).body)
    assert sent.get("stream", False) is streams
    assert sent.get("stream_options") == ({"include_usage": True} if streams else None)


def test_cv_42_whoever_asks() -> None:
    assert encode(CHAT, "qwen3-8b", "ali").body["stream"] is True
    assert "stream" not in encode(CHAT, "qwen3-8b", "ali", reasoning=ReasoningAsk(False)).body
    assert "stream" not in encode(CHAT, "qwen-plus", "ali").body


# What nobody knows.

NEWS = {
    CHAT: b'data: {"object":"news","x":1}\n\n',
    RESPONSES: b'event: response.news\ndata: {"type":"response.news","sequence_number":1,"x":1}\n\n',
    MESSAGES: b'event: news\ndata: {"type":"news","x":1}\n\n',
    GEMINI: b'data: {"news":1}\n\n',
}
HEADS = {
    CHAT: b'data: {"id":"1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,'
    b'"delta":{"role":"assistant","content":"Hi"},"finish_reason":null}]}\n\n',
    RESPONSES: b'event: response.created\ndata: {"type":"response.created","sequence_number":0,"response":{'
    b'"id":"resp_1","object":"response","created_at":1,"status":"in_progress","model":"m","output":[]}}\n\n',
    MESSAGES: b'event: message_start\ndata: {"type":"message_start","message":{"id":"msg_1","type":"message",'
    b'"role":"assistant","model":"m","content":[],"usage":{"input_tokens":1,"output_tokens":0}}}\n\n',
    GEMINI: b'data: {"candidates":[{"content":{"role":"model","parts":[{"text":"Hi"}]}}],"modelVersion":"m"}\n\n',
}
TAILS = {
    CHAT: b'data: {"id":"1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{},'
    b'"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n',
    RESPONSES: b'event: response.completed\ndata: {"type":"response.completed","sequence_number":2,"response":{'
    b'"id":"resp_1","object":"response","created_at":1,"status":"completed","model":"m","output":[]}}\n\n',
    MESSAGES: b'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{'
    b'"output_tokens":1}}\n\nevent: message_stop\ndata: {"type":"message_stop"}\n\n',
    GEMINI: b'data: {"candidates":[{"content":{"role":"model","parts":[{"text":""}]},"finishReason":"STOP"}],'
    b'"modelVersion":"m"}\n\n',
}


@pytest.mark.parametrize("format", [CHAT, RESPONSES, MESSAGES, GEMINI])
def test_cv_39_unknown_events_stay_in_their_format_and_stop_nobody_else(format: str) -> None:
    wire, data = get_format(format), HEADS[format] + NEWS[format] + TAILS[format]
    same = wire.stream_decoder(full=False, model=None, hide_usage=False)
    frames = [*same.feed(data), *same.close()]
    assert b"".join(frame.raw or b"" for frame in frames) == data

    for client in {CHAT, RESPONSES, MESSAGES, GEMINI} - {format}:
        decoder = wire.stream_decoder(full=True, model=None, hide_usage=False)
        events = [event for frame in [*decoder.feed(data), *decoder.close()] for event in frame.events]
        assert isinstance(events[-1], Ended)
        assert not any(isinstance(event, Failed) for event in events)
        call = get_format(CHAT).decode_call(
            orjson.dumps({"model": "m", "messages": [{"role": "user", "content": "Hi"}]}), operation="chat"
        )
        told = get_format(client).stream_encoder(call).feed(events)
        assert b"news" not in told


def test_cv_40_two_names_of_one_text_are_counted_once() -> None:
    wire = get_format(CHAT)
    both = {"reasoning": "Hm.", "reasoning_content": "Hm."}
    choice = {"index": 0, "message": {**both, "content": "2"}, "finish_reason": "stop"}
    body = {"id": "1", "choices": [choice]}
    assert wire.answer_said(body).text_bytes == len("Hm.2")
    thoughts = [block.text for block in wire.decode_response(body).candidates[0].blocks if isinstance(block, Reasoning)]
    assert thoughts == ["Hm."]

    head = {"id": "1", "object": "chat.completion.chunk", "model": "m"}
    chunk = {**head, "choices": [{"index": 0, "delta": both, "finish_reason": None}]}
    data = b"data: " + orjson.dumps(chunk) + b"\n\n" + TAILS[CHAT]
    for full in (True, False):
        decoder = wire.stream_decoder(full=full, model=None, hide_usage=False)
        events = [event for frame in [*decoder.feed(data), *decoder.close()] for event in frame.events]
        assert decoder.text_bytes() == len("Hm.")
        if full:
            assert [event.text for event in events if isinstance(event, ReasoningDelta)] == ["Hm."]


# Schemas.

NASTY: JsonObject = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "name": {"type": ["string", "null"], "minLength": 3, "default": None},
        "default": {"type": "string"},
        "additionalProperties": {"type": "string"},
        "tags": {"type": "array"},
        "either": {"title": "E", "description": "one", "anyOf": [{"type": "string"}, {"type": "integer"}]},
        "node": {"$ref": "#/$defs/node"},
        "count": {"type": "integer", "minimum": 1, "maximum": 5},
    },
    "propertyNames": {"pattern": "^[a-z]+$"},
    "required": ["name"],
    "$defs": {"node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}, "propertyNames": {}}},
}
CLIENTS = [CHAT, RESPONSES, MESSAGES]


def gemini_schemas(format: str, model: str) -> tuple[JsonObject, JsonObject]:
    """A tool's parameters and the schema of the answer, in Google's older dialect."""
    wire = get_format(GEMINI)
    target = Target(model, rules_of(model), wire.vendor, options=ConversionOptions(gemini_schema="openapi"))
    asked = Request(format=format, model=model, turns=HI, tools=(FunctionTool("f", parameters=NASTY),))
    body = wire.encode_request(asked, target).body
    tool = body["tools"][0]["functionDeclarations"][0]["parameters"]
    asked = Request(format=format, model=model, turns=HI, output=OutputFormat("schema", schema=NASTY))
    return tool, wire.encode_request(asked, target).body["generationConfig"]["responseSchema"]


def schemas_in(schema: JsonObject) -> Iterator[JsonObject]:
    yield schema
    for inner in (schema.get("properties") or {}).values():
        yield from schemas_in(inner)
    for inner in (schema.get("items"), *schema.get("anyOf", ())):
        if isinstance(inner, dict):
            yield from schemas_in(inner)


@pytest.mark.parametrize("format", CLIENTS)
@pytest.mark.parametrize("model", ["gemini-2.5-pro", "gemini-3-pro"])
def test_cv_69_cv_70_cv_71_cv_73_cv_74_schemas_that_gemini_takes(format: str, model: str) -> None:
    for schema in gemini_schemas(format, model):
        assert {"default", "additionalProperties"} <= set(schema["properties"]), "CV-74: names are no keywords"
        assert "items" in schema["properties"]["tags"], "CV-70"
        for inner in schemas_in(schema):
            refused = {"additionalProperties", "propertyNames", "$schema", "$ref", "$defs"} & set(inner)
            assert not refused, "CV-69, and CV-73: references have an end"
            assert isinstance(inner.get("type", ""), str), "CV-69: no lists of types"
            if "anyOf" in inner:
                assert set(inner) <= {"anyOf", "nullable"}, "CV-71"


TARGETS = [(CHAT, "gpt-5.4"), (RESPONSES, "gpt-5.4"), (MESSAGES, "claude-sonnet-4-5"), (GEMINI, "gemini-3-pro")]


@pytest.mark.parametrize("strict", [True, False, None])
@pytest.mark.parametrize(
    ("format", "target", "model"),
    [(client, target, model) for client in CLIENTS for target, model in TARGETS if client != target],
)
def test_cv_73_cv_75_cv_76_schemas_to_every_format(format: str, strict: bool | None, target: str, model: str) -> None:
    before = copy.deepcopy(NASTY)
    changes: Any = {
        "format": format,
        "tools": (FunctionTool("f", parameters=NASTY, strict=strict),),
        "output": OutputFormat("schema", "n", NASTY, strict),
    }
    first, second = encode(target, model, **changes), encode(target, model, **changes)
    assert before == NASTY, "CV-75: the client's own object stays as it is"
    assert orjson.dumps(first.body) == orjson.dumps(second.body), "CV-75"
    text = orjson.dumps(first.body)
    assert len(text) < 20_000, "CV-73: circles end"
    for schema in declared_in(first.body, target):
        count = schema["properties"]["count"]
        assert "count" not in schema.get("required", ()), "CV-76: what was optional stays so"
        assert count.get("nullable") is None, "CV-76"
        assert count["type"] in ("integer", "INTEGER"), "CV-76"


def declared_in(body: JsonObject, format: str) -> Iterator[JsonObject]:
    """Schemas of the tools in a body."""
    for tool in body.get("tools", ()):
        match format:
            case "openai_chat":
                yield tool["function"]["parameters"]
            case "openai_responses":
                yield tool["parameters"]
            case "anthropic_messages":
                yield tool["input_schema"]
            case _:
                for declaration in tool["functionDeclarations"]:
                    yield declaration.get("parametersJsonSchema") or declaration["parameters"]


# Hosted tools that are left out.


@pytest.mark.parametrize(
    ("format", "model"),
    [(CHAT, "gpt-4o"), (MESSAGES, "claude-sonnet-4-5"), (GEMINI, "gemini-3-pro")],
)
def test_cv_21_the_choice_of_a_tool_that_is_left_out_goes_with_it(format: str, model: str) -> None:
    body = {
        "model": model,
        "input": "Hi",
        "tools": [
            {"type": "function", "name": "f", "parameters": {}},
            {"type": "file_search", "vector_store_ids": ["v"]},
        ],
        "tool_choice": {"type": "file_search"},
    }
    call = get_format(RESPONSES).decode_call(orjson.dumps(body), operation="chat")
    wire = get_format(format)
    target = Target(model, rules_of(model), wire.vendor, options=ConversionOptions(drop_hosted_tools=True))
    encoded = wire.encode_request(get_format(RESPONSES).decode_request(call), target)
    assert {"tools[1]", "tool_choice"} <= set(encoded.dropped)
    assert "tool_choice" not in encoded.body
    assert "functionCallingConfig" not in encoded.body.get("toolConfig", {})
    assert len(encoded.body["tools"]) == 1


def test_a_refusal_by_responses_names_the_clients_field() -> None:
    for client, changes, param in (
        (CHAT, {"candidates": 2}, "n"),
        (GEMINI, {"candidates": 2}, "generationConfig.candidateCount"),
        (GEMINI, {"modalities": ("video",)}, "generationConfig.responseModalities"),
    ):
        with pytest.raises(InvalidRequest) as caught:
            encode(RESPONSES, "gpt-5.4", format=client, **changes)
        assert caught.value.param == param
