"""Whole requests of Chat Completions, to and from the canonical model."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.chat import (
    ChatCompletionMessageParam,
    ChatCompletionToolUnionParam,
    completion_create_params,
)
from pydantic import TypeAdapter

from oneapi_mw.canonical.blocks import (
    Audio,
    Block,
    CacheMark,
    Document,
    FileRef,
    Image,
    Inline,
    Opaque,
    Reasoning,
    ReasoningOpaque,
    ReasoningText,
    Refusal,
    Text,
    ToolCall,
    ToolResult,
    Url,
    Video,
)
from oneapi_mw.canonical.request import (
    AudioOut,
    CachePlan,
    CustomTool,
    FunctionTool,
    Grammar,
    HostedTool,
    Identity,
    OutputFormat,
    ReasoningAsk,
    Request,
    Sampling,
    Service,
    State,
    StreamOptions,
    Tool,
    ToolChoice,
    Turn,
)
from oneapi_mw.errors import InvalidRequest
from oneapi_mw.jsontext import dumps, loads
from oneapi_mw.types import JsonObject
from oneapi_mw.wire.base import Encoded
from oneapi_mw.wire.openai_chat import FORMAT
from oneapi_mw.wire.openai_chat import request as requests
from oneapi_mw.wire.openai_chat.request import decode_request
from oneapi_mw.wire.target import Target
from tests.wire.golden import Golden, golden, shown

CASES = golden("openai_chat/requests")
SDK_REQUEST: TypeAdapter[Any] = TypeAdapter(completion_create_params.CompletionCreateParams)
SDK_MESSAGE: TypeAdapter[Any] = TypeAdapter(ChatCompletionMessageParam)
SDK_TOOL: TypeAdapter[Any] = TypeAdapter(ChatCompletionToolUnionParam)


def encode_request(request: Request, target: Target = Target("m")) -> Encoded:  # noqa: B008
    return requests.encode_request(request, target)


def decode(body: JsonObject) -> Request:
    return decode_request({"messages": [], **body}, model="m")


@pytest.mark.parametrize("case", CASES, ids=str)
def test_decoded(case: Golden) -> None:
    assert shown(decode_request(case["body"], model="m"))["Request"] == case["request"]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_encoded(case: Golden) -> None:
    encoded = encode_request(decode_request(case["body"], model="m"))
    assert encoded.body == case["encoded"]
    assert encoded.dropped == ()


@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_is_encoded_means_the_same(case: Golden) -> None:
    request = decode_request(case["body"], model="m")
    assert decode_request(encode_request(request).body, model="m") == request


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_request_is_not_changed_by_reading_it(case: Golden) -> None:
    body = case["body"]
    before = repr(body)
    encode_request(decode_request(body, model="m"))
    assert repr(body) == before


@pytest.mark.parametrize("case", CASES, ids=str)
def test_history_that_grows_keeps_its_beginning(case: Golden) -> None:
    """Prompt caches, and signatures that bind what came before, depend on it."""
    request = decode_request(case["body"], model="m")
    whole = encode_request(request).body["messages"]
    for length in range(len(request.turns)):
        part = encode_request(replace(request, turns=request.turns[:length])).body["messages"]
        assert whole[: len(part)] == part


# Wrong types: the field is named, and what to send instead.


def in_message(**members: Any) -> JsonObject:
    return {"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y", **members}]}


def in_part(**part: Any) -> JsonObject:
    return {"messages": [{"role": "user", "content": [part]}]}


def in_tool(**tool: Any) -> JsonObject:
    return {"tools": [tool]}


WRONG = [
    ({"messages": 5}, "messages"),
    ({"messages": [5]}, "messages[0]"),
    ({"messages": [{}]}, "messages[0].role"),
    ({"messages": [{"role": []}]}, "messages[0].role"),
    ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
    ({"messages": [{"role": "user", "content": [5]}]}, "messages[0].content[0]"),
    ({"messages": [{"role": "user", "content": [{}]}]}, "messages[0].content[0]"),
    ({"messages": [{"role": "user", "content": "x", "name": 5}]}, "messages[0].name"),
    ({"messages": [{"role": "system", "content": [{"type": "refusal", "refusal": "x"}]}]}, "messages[0].content"),
    ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id"),
    ({"messages": [{"role": "tool", "content": "x", "tool_call_id": 5}]}, "messages[0].tool_call_id"),
    ({"messages": [{"role": "function", "name": "f", "content": "x"}]}, "messages[0].tool_call_id"),
    (in_message(refusal=5), "messages[1].refusal"),
    (in_message(audio=5), "messages[1].audio"),
    (in_message(audio={"id": 5}), "messages[1].audio.id"),
    (in_message(tool_calls=5), "messages[1].tool_calls"),
    (in_message(tool_calls={"a": 1}), "messages[1].tool_calls"),
    (in_message(tool_calls=[5]), "messages[1].tool_calls[0]"),
    (in_message(tool_calls=[{"id": 5, "function": {"name": "f"}}]), "messages[1].tool_calls[0].id"),
    (in_message(tool_calls=[{"function": 5}]), "messages[1].tool_calls[0].function"),
    (in_message(tool_calls=[{"function": {}}]), "messages[1].tool_calls[0].function.name"),
    (in_message(tool_calls=[{"type": "custom", "custom": {"name": 5}}]), "messages[1].tool_calls[0].custom.name"),
    (in_message(function_call=5), "messages[1].function_call"),
    (in_message(function_call={"arguments": ""}), "messages[1].function_call.function.name"),
    (in_part(type="text"), "messages[0].content[0].text"),
    (in_part(type="text", text=5), "messages[0].content[0].text"),
    (in_part(type="refusal", refusal=None), "messages[0].content[0].refusal"),
    (in_part(type="image_url"), "messages[0].content[0].image_url.url"),
    (in_part(type="image_url", image_url=5), "messages[0].content[0].image_url"),
    (in_part(type="image_url", image_url={"url": 5}), "messages[0].content[0].image_url.url"),
    (in_part(type="image_url", image_url={"url": "data:x"}), "messages[0].content[0].image_url.url"),
    (in_part(type="image_url", image_url={"url": "https://x", "detail": 5}), "messages[0].content[0].image_url.detail"),
    (in_part(type="video_url", video_url={}), "messages[0].content[0].video_url.url"),
    (in_part(type="input_audio"), "messages[0].content[0].input_audio.data"),
    (in_part(type="input_audio", input_audio={"data": "x"}), "messages[0].content[0].input_audio.format"),
    (in_part(type="input_audio", input_audio={"data": "x", "format": {}}), "messages[0].content[0].input_audio.format"),
    (in_part(type="file", file=5), "messages[0].content[0].file"),
    (in_part(type="file", file={}), "messages[0].content[0].file.file_data"),
    (in_part(type="file", file={"file_data": "data:x"}), "messages[0].content[0].file.file_data"),
    (in_part(type="file", file={"file_id": 5}), "messages[0].content[0].file.file_id"),
    (in_part(type="file", file={"file_id": "x", "filename": 5}), "messages[0].content[0].file.filename"),
    ({"max_completion_tokens": "5"}, "max_completion_tokens"),
    ({"max_tokens": 1.5}, "max_tokens"),
    ({"n": True}, "n"),
    *(({name: "x"}, name) for name in ("temperature", "top_p", "min_p", "frequency_penalty", "presence_penalty")),
    ({"repetition_penalty": [1]}, "repetition_penalty"),
    ({"top_k": 1.5}, "top_k"),
    ({"seed": "1"}, "seed"),
    ({"logit_bias": []}, "logit_bias"),
    ({"logit_bias": {"1": "x"}}, "logit_bias"),
    ({"stop": 5}, "stop"),
    ({"stop": [5]}, "stop"),
    ({"stop": {}, "n": 1} | {"stop": {"a": 1}}, "stop"),
    ({"logprobs": 1}, "logprobs"),
    ({"top_logprobs": True}, "top_logprobs"),
    ({"verbosity": 1}, "verbosity"),
    ({"reasoning_effort": 1}, "reasoning_effort"),
    ({"reasoning_effort": {"effort": 1}}, "reasoning_effort.effort"),
    ({"response_format": "json"}, "response_format"),
    ({"response_format": {"type": 1}}, "response_format.type"),
    ({"response_format": {"type": "yaml"}}, "response_format.type"),
    ({"response_format": {"type": "json_schema", "json_schema": 1}}, "response_format.json_schema"),
    (
        {"response_format": {"type": "json_schema", "json_schema": {"schema": 1}}},
        "response_format.json_schema.schema",
    ),
    ({"modalities": "text"}, "modalities"),
    ({"modalities": ["smell"]}, "modalities"),
    ({"audio": 5}, "audio"),
    ({"audio": {"format": 5}}, "audio.format"),
    ({"prediction": 5}, "prediction"),
    ({"metadata": []}, "metadata"),
    ({"metadata": {"a": 1}}, "metadata"),
    *(({name: 5}, name) for name in ("user", "safety_identifier", "prompt_cache_key", "service_tier")),
    ({"prompt_cache_retention": 5}, "prompt_cache_retention"),
    ({"prompt_cache_options": 5}, "prompt_cache_options"),
    ({"prompt_cache_options": {"mode": 5}}, "prompt_cache_options.mode"),
    ({"store": "no"}, "store"),
    ({"moderation": 5}, "moderation"),
    ({"stream": 1}, "stream"),
    ({"stream_options": []}, "stream_options"),
    ({"stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
    ({"web_search_options": 5}, "web_search_options"),
    ({"parallel_tool_calls": 1}, "parallel_tool_calls"),
    ({"tools": 5}, "tools"),
    ({"tools": [5]}, "tools[0]"),
    (in_tool(type=5), "tools[0].type"),
    (in_tool(type="function", function=5), "tools[0].function"),
    (in_tool(type="function", function={}), "tools[0].function.name"),
    (in_tool(type="function"), "tools[0].name"),
    (in_tool(type="function", function={"name": "f", "description": 5}), "tools[0].function.description"),
    (in_tool(type="function", function={"name": "f", "parameters": 5}), "tools[0].function.parameters"),
    (in_tool(type="function", function={"name": "f", "strict": 5}), "tools[0].function.strict"),
    (in_tool(type="custom", custom={}), "tools[0].custom.name"),
    (in_tool(type="custom", custom={"name": "c", "format": 5}), "tools[0].custom.format"),
    (
        in_tool(type="custom", custom={"name": "c", "format": {"type": "grammar", "grammar": 5}}),
        "tools[0].custom.format.grammar",
    ),
    (
        in_tool(type="custom", custom={"name": "c", "format": {"type": "grammar"}}),
        "tools[0].custom.format.syntax",
    ),
    ({"functions": [{}]}, "functions[0].name"),
    ({"tool_choice": 5}, "tool_choice"),
    ({"tool_choice": "some"}, "tool_choice"),
    ({"tool_choice": []}, "tool_choice"),
    ({"tool_choice": {"type": []}}, "tool_choice.type"),
    ({"tool_choice": {"type": "function"}}, "tool_choice"),
    ({"tool_choice": {"type": "allowed_tools", "allowed_tools": 5}}, "tool_choice.allowed_tools"),
    ({"tool_choice": {"type": "allowed_tools", "tools": [5]}}, "tool_choice.tools[0]"),
    ({"tool_choice": {"type": "allowed_tools", "mode": [], "tools": []}}, "tool_choice.mode"),
    ({"function_call": {"name": 5}}, "function_call"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "param"), WRONG, ids=[f"{param}-{index}" for index, (_, param) in enumerate(WRONG)])
def test_a_wrong_field_is_named(body: JsonObject, param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        decode(body)
    assert caught.value.param == param
    assert caught.value.code == "invalid_text_request"
    assert caught.value.message.startswith(param)


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


def planted(value: Any, template: Any, steps: list[Any]) -> Any:
    """`template` with `value` at the place that `steps` leads to."""
    if not steps:
        return value
    step, rest = steps[0], steps[1:]
    if isinstance(template, list):
        return [planted(value, item, rest) if place == step else item for place, item in enumerate(template)]
    return {**template, step: planted(value, template.get(step, {}), rest)}


FULL: JsonObject = {
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "x"},
                {"type": "image_url", "image_url": {"url": "https://a.example/x"}},
                {"type": "file", "file": {"file_id": "f"}},
                {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
            ],
        },
        {
            "role": "assistant",
            "reasoning_details": [{"type": "reasoning.text", "text": "x", "index": 0}],
            "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
            "audio": {"id": "a"},
        },
        {"role": "tool", "tool_call_id": "c", "content": "r"},
    ],
    "tools": [{"type": "function", "function": {"name": "f"}}, {"type": "custom", "custom": {"name": "c"}}],
    "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [{"name": "f"}]}},
    "response_format": {"type": "json_schema", "json_schema": {"name": "n"}},
    "stream_options": {},
    "audio": {},
    "web_search_options": {},
}


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, item in members for place in places(item, (*path, key)))]


TOP_LEVEL = [(name,) for name in ("stop", "n", "metadata", "modalities", "functions", "function_call", "logit_bias")]


@given(st.sampled_from(places(FULL)[1:] + TOP_LEVEL), ANY_JSON)
def test_whatever_is_sent_the_answer_is_a_request_or_a_named_field(place: tuple[Any, ...], value: Any) -> None:
    body = planted(value, FULL, list(place))
    error: InvalidRequest | None = None
    try:
        encode_request(decode(body))
    except InvalidRequest as exc:
        error = exc
    assert error is None or error.param or error.code == "unsupported_parameter"


# What this format can say comes back as it was.

TEXT = st.text(min_size=1, max_size=6)
NAME = st.text("abc_", min_size=1, max_size=4)
EXTRA = st.dictionaries(st.sampled_from(["vendor_a", "vendor_b"]), st.integers(0, 9), max_size=1)
EXTRAS = EXTRA.map(lambda rest: {"openai_chat": rest} if rest else {})
SCHEMA = st.none() | st.just({"type": "object", "properties": {"a": {"type": "string"}}})
OPAQUE = st.builds(ReasoningOpaque, NAME, NAME, st.sampled_from(["signature", "encrypted"]), st.none() | NAME)
TEXTS = st.builds(Text, TEXT, extras=EXTRAS)
MEDIA: st.SearchStrategy[Block] = st.one_of(
    TEXTS,
    st.builds(
        Image, st.just(Inline("image/png", "iVBORw0KGgo=")) | st.just(Url("https://a.example/x")), st.none() | NAME
    ),
    st.builds(Audio, st.builds(Inline, st.sampled_from(["audio/mpeg", "audio/wav"]), st.just("AAAA")), extras=EXTRAS),
    st.builds(Video, st.just(Url("https://a.example/v"))),
    st.builds(Document, st.builds(FileRef, st.just("openai"), NAME), st.none() | NAME),
    st.builds(Document, st.just(Inline("application/pdf", "JVBERi0=")), st.none() | NAME),
    st.builds(lambda kind: Opaque("foreign", "openai_chat", f"x_{kind}", {"type": f"x_{kind}"}), NAME),
)
REASONING = st.builds(
    lambda texts, opaque: Reasoning(tuple(texts), opaque),
    st.lists(st.builds(ReasoningText, TEXT, st.booleans()), max_size=2),
    OPAQUE,
) | st.builds(lambda text: Reasoning((ReasoningText(text),)), TEXT)


@st.composite
def chat_turns(draw: st.DrawFn) -> tuple[Turn, ...]:
    turns: list[Turn] = []
    for number in range(draw(st.integers(0, 3))):
        name = draw(st.none() | NAME)
        turns.append(Turn("user", tuple(draw(st.lists(MEDIA, min_size=1, max_size=3))), name, draw(EXTRAS)))
        reasoning = draw(st.lists(REASONING, max_size=2))
        if len(reasoning) == 2 and not all(block.opaque for block in reasoning):
            reasoning = reasoning[:1]
        said: list[Block] = [*reasoning, *draw(st.lists(TEXTS, max_size=1))]
        said += draw(st.lists(st.builds(Refusal, TEXT), max_size=1))
        calls = [
            ToolCall(
                f"call_{number}_{place}",
                draw(NAME),
                draw(TEXT.filter(str.strip)),
                draw(st.sampled_from(["function", "custom"])),
                opaque=draw(st.none() | st.builds(ReasoningOpaque, NAME, st.just("google-gemini-v1"))),
                extras=draw(EXTRAS),
            )
            for place in range(draw(st.integers(0, 2)))
        ]
        turns.append(Turn("assistant", (*said, *calls), draw(st.none() | NAME), draw(EXTRAS)))
        if calls:
            results = tuple(ToolResult(call.id, (Text(draw(TEXT)),), call.name, extras=draw(EXTRAS)) for call in calls)
            turns.append(Turn("user", results))
    return tuple(turns)


TOOLS: st.SearchStrategy[Tool] = st.one_of(
    st.builds(FunctionTool, NAME, st.none() | TEXT, SCHEMA, st.none() | st.booleans(), extras=EXTRAS),
    st.builds(CustomTool, NAME, st.none() | TEXT, st.none() | st.builds(Grammar, NAME, TEXT), extras=EXTRAS),
    st.builds(lambda kind: HostedTool(f"x_{kind}", f"x_{kind}", "openai_chat", {"type": f"x_{kind}"}), NAME),
)
CHOICES = st.builds(ToolChoice, st.sampled_from(["auto", "none", "required"]), parallel=st.none() | st.booleans()) | (
    st.builds(lambda names: ToolChoice("auto", tuple(("function", name) for name in names)), st.lists(NAME, min_size=1))
)
NUMBER = st.none() | st.floats(0, 2)


INT64 = st.integers(-(2**63), 2**63 - 1)
SAMPLING = st.builds(Sampling, NUMBER, NUMBER, st.none() | st.integers(0, 9), NUMBER, seed=st.none() | INT64)
OUTPUTS = st.sampled_from([OutputFormat("text"), OutputFormat("json")]) | st.builds(
    OutputFormat, st.just("schema"), NAME, SCHEMA, st.none() | st.booleans(), st.none() | TEXT
)
CACHES = st.builds(CachePlan, st.sampled_from([None, "implicit", "explicit"]), *[st.none() | NAME] * 3)
STREAMS = st.just(StreamOptions()) | st.builds(StreamOptions, st.just(True), *[st.none() | st.booleans()] * 2)
SETTINGS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        "max_output": st.integers(1, 99),
        "sampling": SAMPLING,
        "stop": st.lists(TEXT, unique=True, max_size=2).map(tuple),
        "candidates": st.integers(1, 9),
        "logprobs": st.integers(0, 20),
        "output": OUTPUTS,
        "verbosity": NAME,
        "reasoning": st.sampled_from([ReasoningAsk(False, "none"), ReasoningAsk(True, "high")]),
        "modalities": st.just(("text", "audio")),
        "audio": st.builds(AudioOut, NAME, st.none() | NAME),
        "cache": CACHES,
        "state": st.builds(State, st.booleans()),
        "identity": st.builds(Identity, st.none() | TEXT, st.none() | TEXT, st.none() | st.just({"a": "b"})),
        "service": st.builds(Service, NAME),
        "stream": STREAMS,
        "prediction": st.just({"type": "content", "content": "x"}),
        "extras": EXTRAS,
    },
)


@st.composite
def chat_requests(draw: st.DrawFn) -> Request:
    tools = tuple(draw(st.lists(TOOLS, max_size=3)))
    system = tuple(
        Text(draw(TEXT), origin=draw(st.sampled_from(["system", "developer"])), extras=draw(EXTRAS))
        for _ in range(draw(st.integers(0, 2)))
    )
    return Request(
        format="openai_chat",
        model="m",
        turns=draw(chat_turns()),
        system=system,
        tools=tools,
        tool_choice=draw(st.none() | CHOICES) if tools else None,
        **draw(SETTINGS),
    )


@settings(max_examples=60)
@given(chat_requests())
def test_decode_reverses_encode(request: Request) -> None:
    encoded = encode_request(request)
    assert decode_request(loads(dumps(encoded.body)), model="m") == request
    assert encoded.dropped == ()


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_sdk_takes_what_is_encoded(case: Golden) -> None:
    SDK_REQUEST.validate_python(case["encoded"])
    for tool in case["encoded"].get("tools", ()):
        if tool["type"] in ("function", "custom"):
            SDK_TOOL.validate_python(tool)
    for message in case["encoded"]["messages"]:
        if not any(kind in str(message) for kind in ("hologram", "video_url")):  # vendors' own
            SDK_MESSAGE.validate_python(message)


def test_another_gateways_ids_and_signatures_are_taken_apart() -> None:
    """LiteLLM packs a signature into a call's id, or puts it beside the function."""
    call = {"id": "call_1__thought__U2ln", "function": {"name": "f", "arguments": "{}"}}
    beside = {"id": "call_2|fc_9", "function": {"name": "f"}, "provider_specific_fields": {"thought_signature": "T2xk"}}
    assistant = {"role": "assistant", "tool_calls": [call, beside]}
    result = {"role": "tool", "tool_call_id": "call_1__thought__U2ln", "content": "r"}
    said, answered = decode({"messages": [assistant, result]}).turns
    first, second = said.blocks
    assert isinstance(first, ToolCall)
    assert isinstance(second, ToolCall)
    assert (first.id, first.opaque) == ("call_1", ReasoningOpaque("U2ln", "google-gemini-v1"))
    assert (second.id, second.opaque) == ("call_2", ReasoningOpaque("T2xk", "google-gemini-v1"))
    assert answered.blocks == (ToolResult("call_1", (Text("r"),), "f"),)


CLAUDE = Reasoning((ReasoningText("Add."),), ReasoningOpaque("EqQB", "anthropic-claude-v1"))
REDACTED = Reasoning((), ReasoningOpaque("RED", "anthropic-claude-v1", "encrypted"))


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (
            {"thinking_blocks": [
                {"type": "thinking", "thinking": "Add.", "signature": "EqQB"},
                {"type": "redacted_thinking", "data": "RED"}, {"type": "thinking"}, 5,
            ]},
            [CLAUDE, REDACTED],
        ),
        ({"thinking": "Add.", "signature": "EqQB"}, [CLAUDE]),
        ({"reasoning_content": "Add.", "signature": "oa1.x"}, [replace(CLAUDE, opaque=ReasoningOpaque("oa1.x", ""))]),
        ({"reasoning_content": "Add.", "signature": 5}, [replace(CLAUDE, opaque=None)]),
    ],
)  # fmt: skip
def test_claudes_blocks_are_read_where_others_put_them(message: JsonObject, expected: list[Reasoning]) -> None:
    (turn,) = decode({"messages": [{"role": "assistant", **message}]}).turns
    assert list(turn.blocks) == expected


def test_claudes_blocks_among_the_content() -> None:
    content = [
        {"type": "thinking", "thinking": "Add.", "signature": "EqQB"},
        {"type": "redacted_thinking", "data": "RED"},
        {"type": "text", "text": "4"},
    ]
    (turn,) = decode({"messages": [{"role": "assistant", "content": content}]}).turns
    assert turn.blocks[1:] == (REDACTED, Text("4"))
    assert isinstance(turn.blocks[0], Reasoning)
    assert replace(turn.blocks[0], extras={}) == CLAUDE


def test_a_call_of_another_format_is_sent_as_valid_text() -> None:
    """Halves of characters are replaced: the upstream's parser may refuse them."""
    call = FORMAT.decode_call(b'{"model":"m","messages":[{"role":"user","content":"x"}]}', operation="chat")
    said = Turn("user", (Text("a\ud83d"), Text("\ud83d\ude00")))
    outgoing = FORMAT.encode_call(Request("gemini", "m", (said,)), call, target=Target("upstream"))
    body = orjson.loads(outgoing.body)
    assert body["model"] == "upstream"
    assert [part["text"] for part in body["messages"][0]["content"]] == ["a\ufffd", "\U0001f600"]


def test_cache_marks_are_read_in_both_spellings() -> None:
    for member in ({"cache_control": {"type": "ephemeral", "ttl": "1h"}}, {"prompt_cache_breakpoint": {"ttl": "1h"}}):
        body = {"messages": [{"role": "user", "content": [{"type": "text", "text": "x", **member}]}]}
        (turn,) = decode(body).turns
        assert turn.blocks[0] == Text("x", cache=CacheMark("1h"), extras={"openai_chat": member})
