"""Requests to and from Responses: the worked examples, what came in this format, and what it cannot say."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import ResponseInputItemParam
from pydantic import TypeAdapter

from oneapi_mw.canonical.blocks import (
    Audio,
    Block,
    CacheMark,
    Citation,
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
    StreamOptions,
    ToolChoice,
    ToolSearch,
    Turn,
)
from oneapi_mw.errors import InvalidRequest
from oneapi_mw.models.rules import ModelRules
from oneapi_mw.wire.openai_responses import FORMAT
from oneapi_mw.wire.openai_responses.content import VENDOR
from oneapi_mw.wire.target import ConversionOptions, Target
from tests.wire.openai_responses.support import Json
from tests.wire.requests import HI, PNG, WEATHER, asked, assistant, from_chat, user

ITEMS: TypeAdapter[Any] = TypeAdapter(list[ResponseInputItemParam])
OPENAI = Target("m", vendor=VENDOR)
MARKING = Target("m", ModelRules(cache_marks=True), vendor=VENDOR)


def decoded(body: Json) -> Request:
    return FORMAT.decode_request(FORMAT.decode_call(orjson.dumps(body), operation="chat"))


def written(request: Request, target: Target = OPENAI) -> Json:
    return FORMAT.encode_request(request, target).body


def items(*blocks: Block, target: Target = OPENAI, format: str = "anthropic_messages") -> list[Json]:
    """What a turn of the assistant becomes, behind a user's and ahead of another."""
    body = written(asked(HI, assistant(*blocks), HI, format=format), target)
    found: list[Json] = body["input"]
    return found[1:-1]


def dropped(request: Request, target: Target = OPENAI) -> tuple[str, ...]:
    return FORMAT.encode_request(request, target).dropped


# Worked examples.

E1_C: Json = {
    "model": "m",
    "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
    "max_completion_tokens": 100,
    "stop": ["END"],
}
E1_R: Json = {
    "model": "m",
    "instructions": "Be brief.",
    "input": [{"type": "message", "role": "user", "content": "Hi"}],
    "max_output_tokens": 100,
    "store": False,
}
E2_C: Json = {
    "model": "m",
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is it?"},
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}", "detail": "low"}},
            ],
        }
    ],
}
E2_R: Json = {
    "model": "m",
    "input": [
        {
            "type": "message",
            "role": "user",
            "content": [
                {"type": "input_text", "text": "What is it?"},
                {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}", "detail": "low"},
            ],
        }
    ],
    "store": False,
}
E3_C: Json = {
    "model": "m",
    "messages": [{"role": "user", "content": "Oslo?"}],
    "tools": [{"type": "function", "function": {"name": "get_weather", "description": "Now", "parameters": WEATHER}}],
    "tool_choice": {"type": "function", "function": {"name": "get_weather"}},
    "parallel_tool_calls": False,
}
E3_R: Json = {
    "model": "m",
    "input": [{"type": "message", "role": "user", "content": "Oslo?"}],
    "tools": [
        {"type": "function", "name": "get_weather", "description": "Now", "parameters": WEATHER, "strict": False}
    ],
    "tool_choice": {"type": "function", "name": "get_weather"},
    "parallel_tool_calls": False,
    "store": False,
}
SUM = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": False}
E5_C: Json = {
    "model": "m",
    "messages": [{"role": "user", "content": "2+2"}],
    "response_format": {"type": "json_schema", "json_schema": {"name": "sum", "schema": SUM, "strict": True}},
}
E5_R: Json = {
    "model": "m",
    "input": [{"type": "message", "role": "user", "content": "2+2"}],
    "text": {"format": {"type": "json_schema", "name": "sum", "schema": SUM, "strict": True}},
    "store": False,
}
BREAKPOINT = {"mode": "explicit", "ttl": "12h"}
E6_C: Json = {
    "model": "m",
    "messages": [
        {
            "role": "developer",
            "content": [
                {"type": "text", "text": "LONG", "prompt_cache_breakpoint": BREAKPOINT},
                {"type": "text", "text": "Today: Monday."},
            ],
        },
        {"role": "user", "content": "Hi"},
    ],
    "prompt_cache_options": {"mode": "explicit"},
}
E6_R: Json = {
    "model": "m",
    "input": [
        {
            "type": "message",
            "role": "developer",
            "content": [
                {"type": "input_text", "text": "LONG", "prompt_cache_breakpoint": BREAKPOINT},
                {"type": "input_text", "text": "Today: Monday."},
            ],
        },
        {"type": "message", "role": "user", "content": "Hi"},
    ],
    "prompt_cache_options": {"mode": "explicit"},
    "store": False,
}
EXAMPLES = [
    pytest.param(E1_C, E1_R, ("stop=emulated",), id="E1"),
    pytest.param(E2_C, E2_R, (), id="E2"),
    pytest.param(E3_C, E3_R, (), id="E3"),
    pytest.param(E5_C, E5_R, (), id="E5"),
    pytest.param(E6_C, E6_R, (), id="E6"),
]


@pytest.mark.parametrize(("source", "expected", "lost"), EXAMPLES)
def test_examples_from_chat(source: Json, expected: Json, lost: tuple[str, ...]) -> None:
    encoded = FORMAT.encode_request(from_chat(source), MARKING)
    assert encoded.body == expected
    assert encoded.dropped == lost
    validate_items(encoded.body["input"])


@pytest.mark.parametrize(("source", "expected", "lost"), EXAMPLES)
def test_examples_come_back_as_they_were(source: Json, expected: Json, lost: tuple[str, ...]) -> None:
    assert written(decoded(expected)) == expected


def validate_items(found: list[Json]) -> None:
    ITEMS.validate_python(found)


def e4() -> Request:
    call_1, call_2 = ToolCall("call_1", "weather", '{"city":"Oslo"}'), ToolCall("call_2", "map", "{}")
    results: tuple[Block, ...] = (
        ToolResult("call_1", (Text("7 C"),)),
        ToolResult("call_2", (Text("low zoom"), Image(Inline("image/png", PNG))), is_error=True),
    )
    return asked(
        user(Text("Oslo, with map")),
        assistant(Text("Checking."), call_1, call_2),
        user(*results),
    )


E4_ITEMS: list[Json] = [
    {"type": "message", "role": "user", "content": "Oslo, with map"},
    {"type": "message", "role": "assistant", "content": "Checking."},
    {"type": "function_call", "call_id": "call_1", "name": "weather", "arguments": '{"city":"Oslo"}'},
    {"type": "function_call", "call_id": "call_2", "name": "map", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "call_1", "output": "7 C"},
    {
        "type": "function_call_output",
        "call_id": "call_2",
        "output": [
            {"type": "input_text", "text": "Error: low zoom"},
            {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}", "detail": "auto"},
        ],
    },
]


def test_example_e4() -> None:
    encoded = FORMAT.encode_request(e4(), OPENAI)
    assert encoded.body == {"model": "m", "input": E4_ITEMS, "store": False}
    assert encoded.dropped == ("turns[2].is_error=emulated",)
    validate_items(E4_ITEMS)
    again = decoded({"model": "m", "input": E4_ITEMS})
    assert [turn.role for turn in again.turns] == ["user", "assistant", "user"]
    assert written(again)["input"] == E4_ITEMS


E7_R: Json = {
    "model": "m",
    "input": [
        {"type": "message", "role": "user", "content": "2+2"},
        {
            "type": "reasoning",
            "id": "rs_1",
            "summary": [{"type": "summary_text", "text": "Add."}],
            "encrypted_content": "gAAAA",
        },
        {
            "type": "message",
            "id": "msg_1",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "4", "annotations": [], "logprobs": []}],
        },
        {"type": "message", "role": "user", "content": "+1"},
    ],
    "reasoning": {"effort": "high", "summary": "auto"},
    "store": False,
    "include": ["reasoning.encrypted_content"],
}


def test_example_e7_comes_back_as_it_was() -> None:
    request = decoded(E7_R)
    reasoning, text = request.turns[1].blocks
    assert isinstance(reasoning, Reasoning)
    assert reasoning.opaque == ReasoningOpaque("gAAAA", "", "encrypted", "rs_1")
    assert text == Text("4", item_id="msg_1")
    assert request.reasoning == ReasoningAsk(True, "high", display="auto")
    assert written(request) == E7_R


def test_example_e7_from_another_format() -> None:
    opaque = ReasoningOpaque("gAAAA", VENDOR, "encrypted", "rs_1")
    blocks = (Reasoning((ReasoningText("Add.", summary=True),), opaque), Text("4"))
    ask = ReasoningAsk(True, "high", display="summarized")
    body = written(asked(HI, assistant(*blocks), HI, reasoning=ask))
    assert body["input"][1:3] == [E7_R["input"][1], {"type": "message", "role": "assistant", "content": "4"}]
    assert body["reasoning"] == {"effort": "high", "summary": "auto"}
    assert body["include"] == ["reasoning.encrypted_content"]
    assert body["store"] is False


# What came in this format.

EVERYTHING: Json = {
    "model": "m",
    "instructions": "Be brief.",
    "input": [
        {"type": "message", "role": "system", "content": "S", "id": "msg_s"},
        {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "D", "x": 1}]},
        {"type": "message", "role": "user", "content": "one"},
        {"type": "message", "role": "user", "content": [{"type": "input_file", "file_id": "file-1"}], "id": "msg_u"},
        {"id": "rs_1", "type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "r"}]},
        {"type": "message", "role": "assistant", "content": "said", "phase": "commentary"},
        {
            "id": "msg_2",
            "type": "message",
            "role": "assistant",
            "status": "incomplete",
            "content": [
                {
                    "type": "output_text",
                    "text": "cited",
                    "annotations": [
                        {
                            "type": "url_citation",
                            "start_index": 0,
                            "end_index": 2,
                            "title": "E",
                            "url": "https://e.org",
                        },
                        {"type": "file_citation", "file_id": "f", "filename": "n", "index": 3},
                    ],
                    "logprobs": [],
                },
                {"type": "refusal", "refusal": "no"},
            ],
            "phase": "final_answer",
        },
        {"id": "fc_1", "type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}", "namespace": "crm"},
        {"type": "custom_tool_call", "call_id": "c2", "name": "apply", "input": "x"},
        {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "q"}},
        {"type": "mcp_approval_request", "id": "mcpr_1", "name": "n", "server_label": "s", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "1", "id": "fco_1", "status": "completed"},
        {
            "type": "custom_tool_call_output",
            "call_id": "c2",
            "output": [{"type": "input_text", "text": t} for t in "23"],
        },
        {"type": "mcp_approval_response", "approval_request_id": "mcpr_1", "approve": True},
        {"type": "message", "role": "developer", "content": "mid"},
        {"type": "item_reference", "id": "msg_9"},
        {"type": "message", "role": "user", "content": "two"},
        {"type": "brand_new", "id": "x"},
    ],
    "tools": [
        {"type": "function", "name": "f", "parameters": WEATHER, "description": "d", "defer_loading": True},
        {"type": "custom", "name": "apply", "format": {"type": "grammar", "syntax": "lark", "definition": "start: x"}},
        {
            "type": "namespace",
            "name": "crm",
            "description": "about customers",
            "tools": [{"type": "function", "name": "g", "strict": True, "allowed_callers": ["direct"]}],
        },
        {"type": "web_search", "filters": {"allowed_domains": ["e.org"]}},
        {
            "type": "mcp",
            "server_label": "s",
            "server_url": "https://s.example",
            "authorization": "t",
            "allowed_tools": {"read_only": True},
            "require_approval": "never",
        },
        {"type": "tool_search", "execution": "client", "description": "find"},
        {"type": "image_generation", "model": "gpt-image-1"},
    ],
    "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]},
    "parallel_tool_calls": False,
    "reasoning": {"effort": "low", "summary": "concise", "context": "all_turns", "mode": "pro"},
    "text": {"format": {"type": "json_object"}, "verbosity": "low"},
    "max_output_tokens": 5,
    "max_tool_calls": 3,
    "temperature": 0.5,
    "top_p": 0.9,
    "top_logprobs": 4,
    "metadata": {"a": "b"},
    "user": "u",
    "safety_identifier": "s",
    "prompt_cache_key": "k",
    "prompt_cache_retention": "24h",
    "prompt_cache_options": {"mode": "implicit", "ttl": "30m", "comparison_response_id": "resp_0"},
    "service_tier": "flex",
    "moderation": {"model": "omni"},
    "store": True,
    "previous_response_id": "resp_0",
    "background": False,
    "truncation": "auto",
    "context_management": [{"type": "compaction", "compact_threshold": 5}],
    "prompt": {"id": "pmpt_1"},
    "include": ["file_search_call.results"],
    "stream": True,
    "stream_options": {"include_obfuscation": False, "new": 1},
    "brand_new": {"x": 1},
}


def test_cv_01_everything_comes_back_field_for_field() -> None:
    assert written(decoded(EVERYTHING)) == EVERYTHING


def test_items_become_turns() -> None:
    request = decoded(EVERYTHING)
    assert [text.origin for text in request.system] == ["instructions", "system", "developer"]
    assert [turn.role for turn in request.turns] == [
        "user",
        "user",
        "assistant",
        "user",
        "system",
        "user",
    ]
    assert [type(block).__name__ for block in request.turns[2].blocks] == [
        "Reasoning",
        "Text",
        "Text",
        "Refusal",
        "ToolCall",
        "ToolCall",
        "HostedCall",
        "Opaque",
    ]
    results = request.turns[3].blocks
    assert [type(block).__name__ for block in results] == ["ToolResult", "ToolResult", "Opaque"]
    reference = request.turns[5].blocks[0]
    assert isinstance(reference, Opaque)
    assert reference.kind == "item_ref"
    assert request.state.previous_id == "resp_0"


def test_an_input_of_text_is_one_message() -> None:
    assert decoded({"model": "m", "input": "Hi"}).turns == (HI,)


def test_parts_of_chat_are_understood() -> None:
    content = [
        {"type": "text", "text": "x"},
        {"type": "image_url", "image_url": {"url": "https://e.org/i.png", "detail": "high"}},
        {"type": "file", "file": {"file_data": "JVBERi0=", "filename": "a.pdf"}},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
    ]
    (turn,) = decoded({"model": "m", "input": [{"role": "user", "content": content}]}).turns
    assert turn.blocks == (
        Text("x"),
        Image(Url("https://e.org/i.png"), "high"),
        Document(Inline("application/pdf", "JVBERi0="), "a.pdf"),
        Audio(Inline("audio/wav", "AAAA")),
    )


GRAMMAR = {"syntax": "regex", "definition": "."}


def test_nested_tools_of_chat_are_understood() -> None:
    tools = [
        {"type": "function", "function": {"name": "f", "parameters": WEATHER}},
        {"type": "custom", "custom": {"name": "g", "format": {"type": "grammar", "grammar": GRAMMAR}}},
    ]
    assert decoded({"model": "m", "input": "x", "tools": tools}).tools == (
        FunctionTool("f", parameters=WEATHER, strict=False),
        CustomTool("g", grammar=Grammar("regex", ".")),
    )


@pytest.mark.parametrize(
    "choice",
    [
        "none",
        "auto",
        "required",
        {"type": "function", "name": "f"},
        {"type": "custom", "name": "g"},
        {"type": "mcp", "server_label": "s"},
        {"type": "mcp", "server_label": "s", "name": "n"},
        {"type": "web_search_preview"},
        {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": n} for n in "fg"]},
    ],
)
def test_choices_come_back(choice: Any) -> None:
    body = {"model": "m", "input": "x", "tools": [{"type": "function", "name": "f"}], "tool_choice": choice}
    assert written(decoded(body))["tool_choice"] == choice


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"input": [{"role": "robot", "content": "x"}]}, "input[0].role"),
        ({"input": [{"role": "user", "content": [{"text": "x"}]}]}, "input[0].content[0]"),
        ({"input": [{"role": "user", "content": [{"type": "input_text"}]}]}, "input[0].content[0].text"),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "input[0].content[0].image_url"),
        ({"input": [{"role": "developer", "content": [{"type": "input_image", "file_id": "f"}]}]}, "input[0].content"),
        ({"input": [{"role": "assistant", "content": None}]}, "input[0].content"),
        ({"input": [{"type": "function_call", "name": "f"}]}, "input[0].call_id"),
        ({"input": [{"type": "function_call_output", "output": "x"}]}, "input[0].call_id"),
        ({"input": [{"type": "function_call_output", "call_id": "c", "output": 1}]}, "input[0].output"),
        ({"input": [{"x": 1}]}, "input[0].type"),
        ({"input": "x", "tools": [{"type": "function"}]}, "tools[0].name"),
        ({"input": "x", "tools": [{"type": "mcp"}]}, "tools[0].server_label"),
        ({"input": "x", "tool_choice": 1}, "tool_choice"),
        ({"input": "x", "tool_choice": {"type": "function"}}, "tool_choice.name"),
        ({"input": "x", "text": {"format": {"type": "xml"}}}, "text.format.type"),
        ({"input": "x", "reasoning": "high"}, "reasoning"),
        ({"input": "x", "metadata": {"a": 1}}, "metadata"),
        ({"input": "x", "include": "all"}, "include"),
    ],
)
def test_mistakes_are_named(body: Json, param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        decoded({"model": "m", **body})
    assert caught.value.param == param


# From other formats.


def test_cv_04_no_limit_is_invented() -> None:
    assert "max_output_tokens" not in written(asked())


@pytest.mark.parametrize(("asked_for", "sent"), [(1, 16), (16, 16), (17, 17), (999, 500)])
def test_the_limit_stays_in_range(asked_for: int, sent: int) -> None:
    target = Target("m", ModelRules(max_output=500))
    encoded = FORMAT.encode_request(asked(max_output=asked_for), target)
    assert encoded.body["max_output_tokens"] == sent
    assert encoded.dropped == (("max_output=emulated",) if asked_for > 500 else ())


def test_a_limit_of_zero_warms_the_cache() -> None:
    body = written(asked(max_output=0))
    assert body["prompt_cache_options"] == {"prewarm": True}
    assert "max_output_tokens" not in body


def test_cv_05_cv_06_sampling_of_models_that_reason() -> None:
    rules = ModelRules(
        family="openai", thinking="effort", efforts=("none", "low"), default_effort="low", sampling="at_effort_none"
    )
    request = asked(sampling=Sampling(temperature=0.5, top_p=1))
    encoded = FORMAT.encode_request(request, Target("m", rules))
    assert "temperature" not in encoded.body
    assert "top_p" not in encoded.body
    assert encoded.dropped == ("temperature",)
    free = replace(request, reasoning=ReasoningAsk(False, "none"))
    assert written(free, Target("m", rules))["temperature"] == 0.5


def test_what_the_format_has_no_field_for_is_named() -> None:
    request = asked(
        sampling=Sampling(top_k=1, frequency_penalty=0.5, presence_penalty=0, seed=1, logit_bias={"1": 2}),
        stop=("END",),
        prediction={"type": "content"},
        safety=Safety(settings=[1]),
        service=Service("standard", "fast"),
        state=State(store=True),
        extras={"anthropic_messages": {"odd": 1}},
    )
    encoded = FORMAT.encode_request(request, OPENAI)
    assert set(encoded.dropped) == {
        "top_k", "frequency_penalty", "seed", "logit_bias", "stop=emulated", "prediction", "safety.settings",
        "service.speed", "state.store", "odd",
    }  # fmt: skip
    assert encoded.body["service_tier"] == "default"
    assert encoded.body["store"] is False


def test_stop_is_lost_where_it_may_not_be_emulated() -> None:
    target = Target("m", options=ConversionOptions(emulate_stop=False))
    assert dropped(asked(stop=("x",)), target) == ("stop",)


@pytest.mark.parametrize(
    "members",
    [
        {"candidates": 2},
        {"state": State(background=True)},
        {"state": State(previous_id="x")},
        {"state": State(conversation="x")},
        {"prompt_template": {"id": "x"}},
        {"container": "x"},
        {"cache": CachePlan(resource="x")},
        {"audio": AudioOut("a")},
        {"modalities": ("video",)},
    ],
)
def test_what_nobody_may_leave_out_is_refused(members: Json) -> None:
    with pytest.raises(InvalidRequest) as caught:
        written(asked(**members))
    assert caught.value.code == "unsupported_parameter"


@pytest.mark.parametrize(
    "block",
    [
        Video(Url("https://e.org/v.mp4")),
        Image(FileRef("anthropic", "file_1")),
        Document(FileRef("anthropic", "file_1")),
        Audio(Inline("audio/flac", "AAAA")),
        ContainerFile("f"),
    ],
)
def test_content_that_cannot_be_sent_is_refused(block: Block) -> None:
    with pytest.raises(InvalidRequest):
        written(asked(user(Text("x"), block)))


def test_documents() -> None:
    blocks = (
        Document(Inline("application/pdf", "JVBERi0="), title="T", context="about", cite=True),
        Document(PlainText("plain")),
        Document(Url("https://e.org/a.pdf")),
        Document(Nested((Text("inner"),))),
        SearchResult("https://e.org", "E", (Text("found"),)),
    )
    encoded = FORMAT.encode_request(asked(user(*blocks)), OPENAI)
    content = encoded.body["input"][0]["content"]
    assert [entry.get("text") or entry.get("filename") or entry.get("file_url") for entry in content] == [
        "about",
        "T",
        "file-1.txt",
        "https://e.org/a.pdf",
        "inner",
        "https://e.org"[:0] + "E - https://e.org",
        "found",
    ]
    assert "turns[0].citations" in encoded.dropped
    assert "turns[0].search_result=emulated" in encoded.dropped
    validate_items(encoded.body["input"])


def test_cv_12_instructions_keep_their_order() -> None:
    system = (Text("one"), Text("two", cache=CacheMark("1h")), Text("three"))
    mid = Turn("system", (Text("mid", origin="system"),))
    body = written(asked(HI, assistant(Text("a")), mid, HI, system=system), MARKING)
    assert body["instructions"] == "one"
    assert [(item["role"], item["content"]) for item in body["input"]] == [
        (
            "developer",
            [
                {"type": "input_text", "text": "two", "prompt_cache_breakpoint": {"mode": "explicit", "ttl": "12h"}},
                {"type": "input_text", "text": "three"},
            ],
        ),
        ("user", "Hi"),
        ("assistant", "a"),
        ("developer", "mid"),
        ("user", "Hi"),
    ]
    assert body["prompt_cache_options"] == {"mode": "explicit"}


def test_marks_are_left_out_for_models_without_them() -> None:
    body = written(asked(system=(Text("one", cache=CacheMark()),)))
    assert body["instructions"] == "one"
    assert "prompt_cache_options" not in body


def test_no_more_than_four_marks() -> None:
    texts = tuple(Text(str(number), cache=CacheMark("5m")) for number in range(6))
    body = written(asked(user(*texts), system=(Text("s", cache=CacheMark()),)), MARKING)
    marked = [part["text"] for item in body["input"] for part in item["content"] if "prompt_cache_breakpoint" in part]
    assert marked == ["s", "3", "4", "5"]


def test_what_claude_code_tells_anthropic_is_left_out() -> None:
    system = (Text("x-anthropic-billing-header: cc_version=1"), Text("You are."))
    assert written(asked(system=system))["instructions"] == "You are."


def test_instructions_alone_are_said_by_the_user() -> None:
    encoded = FORMAT.encode_request(Request("openai_chat", "m", (), (Text("S"),)), OPENAI)
    assert encoded.body["input"] == [{"type": "message", "role": "user", "content": "S"}]
    assert encoded.dropped == ("system=emulated",)


def test_cv_52_reasoning_of_another_vendor_is_left_out() -> None:
    foreign = ReasoningOpaque("sig", "anthropic-claude-v1")
    own = ReasoningOpaque("data", VENDOR, "encrypted", "rs_1")
    blocks = (
        Reasoning((ReasoningText("a"),), foreign),
        Reasoning((ReasoningText("b"),)),
        Reasoning((ReasoningText("c", summary=True),), own),
        Text("said"),
    )
    found = items(*blocks)
    assert [item["type"] for item in found] == ["reasoning", "message"]
    assert found[0]["summary"] == [{"type": "summary_text", "text": "c"}]
    assert items(*blocks, target=Target("m")) == [{"type": "message", "role": "assistant", "content": "said"}]


def test_lost_reasoning_may_be_sent_as_text() -> None:
    target = Target("m", options=ConversionOptions(reasoning_lost="text"))
    found = items(Reasoning((ReasoningText("a"),)), Text("said"), target=target)
    assert [item["content"] for item in found] == ["<think>a</think>\n\n", "said"]


def test_cv_58_ciphertexts_stay_apart() -> None:
    one, two = (ReasoningOpaque(data, VENDOR, "encrypted") for data in ("1", "2"))
    found = items(Reasoning((), one), Reasoning((), two), Text("x"))
    assert [item.get("encrypted_content") for item in found] == ["1", "2", None]


def test_cv_60_reasoning_without_what_it_led_to_is_left_out() -> None:
    assert items(Text("x"), Reasoning((), ReasoningOpaque("1", VENDOR, "encrypted")))[-1]["type"] == "message"


def test_one_message_for_each_text_and_a_part_for_refusals() -> None:
    found = items(Text("a", (Citation("url", "https://e.org"),)), Text("b"), Refusal("no"))
    assert [item["content"] for item in found[:2]] == ["a", "b"]
    assert found[2]["content"] == [{"type": "refusal", "refusal": "no"}]
    assert found[2]["id"].startswith("msg_")
    validate_items(found)


def test_hosted_calls_of_others_are_told_in_words() -> None:
    found = items(
        HostedCall("web_search", "s", "web_search", {"query": "q"}),
        HostedResult("s", "web_search", blocks=(SearchResult("https://e.org", "E", ()),)),
        Text("x"),
    )
    assert found[0]["content"] == "Searched: q\n- E: https://e.org"


def test_pictures_of_the_assistant_are_shown_by_the_user() -> None:
    blocks: tuple[Block, ...] = (Image(Inline("image/png", PNG)), ToolCall("c", "f", "{}"))
    answer = user(ToolResult("c", (Text("1"),)), Text("next"))
    body = written(asked(HI, assistant(*blocks), answer))
    kinds = [item.get("role") or item["type"] for item in body["input"]]
    assert kinds == ["user", "function_call", "function_call_output", "user", "user"]
    assert body["input"][3]["content"][0]["text"] == "Image from the assistant:"


def test_compaction_of_another_vendor() -> None:
    told = Opaque("compaction", "anthropic_messages", "compaction", {"content": "So far: x"})
    assert items(told, Text("x"))[0]["content"] == "So far: x"
    with pytest.raises(InvalidRequest) as caught:
        items(replace(told, value={"encrypted_content": "y"}))
    assert (caught.value.status, caught.value.code) == (409, "state_not_portable")


def test_cv_16_every_call_is_answered() -> None:
    call = assistant(ToolCall("c1", "f", "{}"), ToolCall("c2", "f", "{}"))
    late = user(Text("and?"), ToolResult("c1", (Text("1"),)), ToolResult("gone", (Text("2"),)))
    encoded = FORMAT.encode_request(asked(HI, call, late), OPENAI)
    outputs = [item for item in encoded.body["input"] if item["type"] == "function_call_output"]
    assert [(item["call_id"], item["output"]) for item in outputs] == [
        ("c1", "1"),
        ("c2", "Error: No result was provided."),
    ]
    assert any("orphan" in path for path in encoded.dropped)


def test_long_ids_and_names_are_made_legal_alike() -> None:
    name, call_id = "wéather", "i" * 80
    turns = (
        HI,
        assistant(ToolCall(call_id, name, "{}")),
        user(ToolResult(call_id, (Text("1"),))),
    )
    tools = (FunctionTool(name),)
    choice = ToolChoice("required", (("function", name),))
    body = written(asked(*turns, tools=tools, tool_choice=choice))
    call, output = body["input"][1:]
    assert call["call_id"] == output["call_id"]
    assert len(call["call_id"]) <= 64
    assert call["name"] == body["tools"][0]["name"] == body["tool_choice"]["name"] == "w_ather"
    restore = FORMAT.encode_request(asked(*turns, tools=tools, tool_choice=choice), OPENAI).restore
    assert restore is not None
    assert restore.names == {"w_ather": name}


def test_cv_77_what_was_wrapped_is_named_to_be_changed_back() -> None:
    tools = (FunctionTool("f", parameters={"type": "array", "items": {"type": "string"}}),)
    output = OutputFormat("enum", schema={"type": "string", "enum": ["a"]})
    encoded = FORMAT.encode_request(asked(tools=tools, output=output), OPENAI)
    assert encoded.restore is not None
    assert encoded.restore.wrapped == {"f"}
    assert encoded.restore.output is not None
    assert encoded.restore.output.wrapped
    assert {"tools[0].parameters=emulated", "output=emulated"} <= set(encoded.dropped)
    assert FORMAT.encode_request(asked(), OPENAI).restore is None


def test_custom_tools_and_their_results() -> None:
    turns = (
        HI,
        assistant(ToolCall("c", "apply", "x", "custom")),
        user(ToolResult("c", (Text("ok"),))),
    )
    tools = (CustomTool("apply", "d", Grammar("regex", ".")),)
    body = written(asked(*turns, tools=tools, format="openai_chat"))
    assert [item["type"] for item in body["input"][1:]] == ["custom_tool_call", "custom_tool_call_output"]
    assert body["tools"] == [
        {
            "type": "custom",
            "name": "apply",
            "description": "d",
            "format": {"type": "grammar", "syntax": "regex", "definition": "."},
        }
    ]
    validate_items(body["input"])


def test_tools_of_other_formats() -> None:
    tools = (
        FunctionTool("a", examples=({"x": 1},), callers=("code_execution_20250825",), defer=True),
        FunctionTool("b", parameters={"type": "object", "properties": {}}, strict=True),
        FunctionTool("c", parameters={"type": "object", "properties": {"x": {"not": {}}}}, strict=True),
        HostedTool("web_search", "web_search_20250305", "anthropic_messages", {"max_uses": 5}),
        McpServer("s", "https://s.example", auth="t", allowed=("x",)),
        ToolSearch("server", "regex"),
    )
    encoded = FORMAT.encode_request(asked(tools=tools), OPENAI)
    first, second, third, search, mcp, found = encoded.body["tools"]
    assert first == {
        "type": "function",
        "name": "a",
        "description": 'Examples:\n{"x":1}',
        "parameters": {"type": "object", "properties": {}},
        "strict": False,
        "defer_loading": True,
    }
    assert (second["strict"], third["strict"]) == (True, False)
    assert search == {"type": "web_search", "search_context_size": "medium"}
    assert mcp["require_approval"] == "never"
    assert found == {"type": "tool_search"}
    assert {"tools[0].callers", "tools[0].examples=emulated", "tools[2].strict", "tools[5].variant"} <= set(
        encoded.dropped
    )


def test_cv_27_a_forced_tool_stays_a_tool() -> None:
    choice = ToolChoice("required", (("function", "f"),))
    body = written(asked(tools=(FunctionTool("f", parameters=WEATHER, strict=True),), tool_choice=choice))
    assert body["tool_choice"] == {"type": "function", "name": "f"}
    assert "text" not in body


def test_choices_without_tools_and_of_unknown_tools() -> None:
    assert "tool_choice" not in written(asked(tool_choice=ToolChoice("auto", parallel=True)))
    with pytest.raises(InvalidRequest) as caught:
        written(asked(tools=(FunctionTool("f"),), tool_choice=ToolChoice("required", (("function", "g"),))))
    assert caught.value.param == "tool_choice"


def test_tools_of_one_name() -> None:
    assert len(written(asked(tools=(FunctionTool("f"), FunctionTool("f"))))["tools"]) == 1
    with pytest.raises(InvalidRequest):
        written(asked(tools=(FunctionTool("f"), FunctionTool("f", "other"))))


def test_output_of_other_formats() -> None:
    def format_of(output: OutputFormat) -> Any:
        return written(asked(output=output))["text"]["format"]

    assert format_of(OutputFormat("json")) == {"type": "json_object"}
    qualified = format_of(OutputFormat("schema", schema=SUM))
    assert (qualified["name"], qualified["strict"], qualified["schema"]) == ("response", True, SUM)
    optional = {"type": "object", "properties": {"n": {"type": "integer"}}}
    assert format_of(OutputFormat("schema", schema=optional))["strict"] is False
    picked = format_of(OutputFormat("enum", schema={"type": "string", "enum": ["a"]}))
    assert picked["schema"]["properties"] == {"value": {"type": "string", "enum": ["a"]}}
    assert "text" not in written(asked(output=OutputFormat("text")))


def test_identity_of_an_anthropic_client() -> None:
    body = written(asked(identity=Identity("user-1")))
    assert body["safety_identifier"] == "user-1"
    assert len(body["prompt_cache_key"]) == 32
    assert "user" not in body


def test_log_probabilities() -> None:
    body = written(asked(logprobs=0))
    assert body["include"] == ["message.output_text.logprobs"]
    assert "top_logprobs" not in body
    assert written(asked(logprobs=3))["top_logprobs"] == 3
    assert dropped(asked(logprobs=3), Target("m", ModelRules(refuses=frozenset({"logprobs"})))) == ("logprobs",)


def test_pictures_as_output_are_made_by_a_tool() -> None:
    assert written(asked(modalities=("text", "image")))["tools"] == [{"type": "image_generation"}]


def test_compaction_of_anthropic() -> None:
    edits = {
        "edits": [
            {"type": "compact_20260112", "trigger": {"type": "input_tokens", "value": 9}},
            {"type": "clear_tool_uses_20250919"},
        ]
    }
    encoded = FORMAT.encode_request(asked(state=State(context_edits=edits)), OPENAI)
    assert encoded.body["context_management"] == [{"type": "compaction", "compact_threshold": 9}]
    assert encoded.dropped == ("state.context_edits[1]",)


def test_streams() -> None:
    assert written(asked(stream=StreamOptions(True, include_usage=True)))["stream"] is True
    official = Target("m", official=True)
    assert written(asked(stream=StreamOptions(True)), official)["stream_options"] == {"include_obfuscation": False}


def test_cv_14_a_beginning_of_the_answer() -> None:
    turns = (HI, assistant(Text("{")))
    assert written(asked(*turns))["input"][-1]["role"] == "assistant"
    never = Target("m", ModelRules(prefill="no"))
    with pytest.raises(InvalidRequest):
        written(asked(*turns), never)
    emulating = replace(never, options=ConversionOptions(emulate_prefill=True))
    assert written(asked(*turns), emulating)["input"][-1]["content"] == "Continue."
    assert len(written(asked(turns[0], assistant(Text(" "))), never)["input"]) == 1


def test_a_pause_after_a_hosted_call_cannot_be_resumed() -> None:
    turns = (HI, assistant(HostedCall("web_search", "s", "web_search")))
    with pytest.raises(InvalidRequest):
        written(asked(*turns))


# Histories that grow.

said = st.builds(Text, st.text("ab ", max_size=3))
calls = st.builds(ToolCall, st.sampled_from(["c1", "c2"]), st.sampled_from(["f", "g é"]), st.just("{}"))
results = st.builds(ToolResult, st.sampled_from(["c1", "c2"]), st.tuples(said), is_error=st.booleans())
reasonings = st.builds(
    Reasoning,
    st.just(()),
    st.builds(ReasoningOpaque, st.just("d"), st.sampled_from([VENDOR, "x"]), st.just("encrypted"), st.just("rs_1")),
)
user_turns = st.builds(Turn, st.just("user"), st.lists(said | results, min_size=1, max_size=3).map(tuple))
model_turns = st.builds(Turn, st.just("assistant"), st.lists(said | calls | reasonings, max_size=3).map(tuple))


@given(st.lists(st.tuples(user_turns, model_turns), min_size=2, max_size=4), user_turns)
def test_cv_62_a_longer_history_begins_as_the_shorter_one(pairs: list[tuple[Turn, Turn]], last: Turn) -> None:
    turns = [turn for pair in pairs for turn in pair]
    shorter = written(asked(*turns[:-2], last))["input"]
    longer = written(asked(*turns, last))["input"]
    kept = len(written(asked(*turns[:-3], user(Text("x"))))["input"]) - 1
    assert longer[:kept] == shorter[:kept]
    validate_items(longer)
