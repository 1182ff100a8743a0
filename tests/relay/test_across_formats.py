"""Requirements of conversion that only a whole pipeline shows: a client of one format, an upstream of another."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from oneapi_mw.wire.framing.sse import parse_block
from tests.relay.stack import (
    HEADERS,
    MODEL,
    PRICE,
    SSE_TYPE,
    Reply,
    ScriptedUpstream,
    WatchedLedger,
    channel,
    chunk,
    gateway,
)
from tests.relay.test_losses import CHAT, GEMINI, HI, MESSAGES, RESPONSES, SAYS, ask, to
from tests.support.harness import call

SUM = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": False}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}


def events(body: bytes) -> list[dict[str, Any]]:
    return [orjson.loads(event.data) for event in parse_block(body) if event.data != b"[DONE]"]


async def streamed(path: str, *deltas: bytes, type: int = 50, **more: Any) -> tuple[list[Any], ScriptedUpstream]:
    """What a client of `path` sees of a chat upstream's stream."""
    upstream = ScriptedUpstream(Reply([*deltas, b"data: [DONE]\n\n"], headers=SSE_TYPE))
    app = gateway(upstream, WatchedLedger(), channels=[to(type)])
    told = await call(app, "POST", path, json={**HI[path], "stream": True, **more}, headers=HEADERS)
    return events(told.body), upstream


# Wishes.

MODELS = [
    (50, "qwen3-8b"),
    (50, "gpt-oss-120b"),
    (14, "claude-sonnet-4-5"),
    (14, "claude-opus-4-8"),
    (24, "gemini-2.5-flash"),
]


def switched_on(body: dict[str, Any]) -> bool:
    config = body.get("generationConfig", {}).get("thinkingConfig", {})
    return (
        body.get("thinking", {}).get("type") in ("enabled", "adaptive")
        or body.get("chat_template_kwargs", {}).get("enable_thinking") is True
        or body.get("reasoning_effort") not in (None, "none", "low")
        or bool(config.get("thinkingBudget") or config.get("includeThoughts"))
    )


@pytest.mark.parametrize("path", [CHAT, RESPONSES, MESSAGES, GEMINI])
@pytest.mark.parametrize(("type", "model"), MODELS)
async def test_cv_10_thinking_false_switches_nothing_on(path: str, type: int, model: str) -> None:
    _, upstream = await ask(path, to(type, model), "thinking=false")
    assert not switched_on(upstream.requests[0].body)
    _, upstream = await ask(path, to(type, model), "thinking=true")
    assert switched_on(upstream.requests[0].body) or model == "gpt-oss-120b"  # which has no other way than its own


@pytest.mark.parametrize("path", [CHAT, RESPONSES, MESSAGES, GEMINI])
@pytest.mark.parametrize(("type", "model"), MODELS)
async def test_cv_11_an_effort_needs_no_thinking_beside_it(path: str, type: int, model: str) -> None:
    _, upstream = await ask(path, to(type, model), "reasoning_effort=high")
    assert switched_on(upstream.requests[0].body)


@pytest.mark.parametrize("path", [CHAT, RESPONSES, MESSAGES, GEMINI])
async def test_cv_47_an_unknown_format_is_refused_before_anything_is_held(path: str) -> None:
    upstream, ledger = ScriptedUpstream(), WatchedLedger()
    app = gateway(upstream, ledger, channels=[to(50)])
    told = await call(app, "POST", path, json=HI[path], headers=HEADERS, query=b"reasoning_format=xml")
    assert told.status == 400
    assert "reasoning_format must be one of reasoning_content, reasoning, thinking" in told.json()["error"]["message"]
    assert not ledger.holds


# Tools.


@pytest.mark.parametrize("finish", ["stop", "", "tool_calls"])
async def test_cv_19_calls_end_in_tool_calls_whatever_the_host_says(finish: str) -> None:
    made = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    seen, _ = await streamed(MESSAGES, chunk({"tool_calls": [made]}), chunk({}, finish))
    assert [event["delta"]["stop_reason"] for event in seen if event["type"] == "message_delta"] == ["tool_use"]

    choice = {"index": 0, "message": {"content": None, "tool_calls": [made]}, "finish_reason": finish}
    upstream = ScriptedUpstream(Reply([orjson.dumps({"id": "1", "choices": [choice]})]))
    app = gateway(upstream, WatchedLedger(), channels=[to(50)])
    told = await call(app, "POST", MESSAGES, json=HI[MESSAGES], headers=HEADERS)
    assert told.json()["stop_reason"] == "tool_use"


async def test_cv_15_deltas_have_the_clients_own_names() -> None:
    name = "get_" + "weather_" * 12
    tools = [{"name": name, "input_schema": {"type": "object"}}]
    choice = {"type": "tool", "name": name}
    _, upstream = await streamed(MESSAGES, chunk({}, "stop"), tools=tools, tool_choice=choice)
    sent = upstream.requests[0].body
    legal = sent["tools"][0]["function"]["name"]
    assert len(legal) <= 64
    assert sent["tool_choice"]["function"]["name"] == legal
    made = {"index": 0, "id": "c", "type": "function", "function": {"name": legal, "arguments": "{}"}}
    seen, _ = await streamed(
        MESSAGES, chunk({"tool_calls": [made]}), chunk({}, "tool_calls"), tools=tools, tool_choice=choice
    )
    begun = [event["content_block"] for event in seen if event["type"] == "content_block_start"]
    assert [block["name"] for block in begun] == [name]


@pytest.mark.parametrize(
    ("model", "more", "path"),
    [
        ("gpt-5.6", {"tools": [TOOL], "reasoning_effort": "low"}, "/v1/responses"),
        ("gpt-5.6", {"tools": [TOOL]}, "/v1/responses"),
        ("gpt-6-sol", {"tools": [TOOL], "reasoning_effort": "high"}, "/v1/responses"),
        ("gpt-5.6", {"tools": [TOOL], "reasoning_effort": "none"}, "/v1/chat/completions"),
        ("gpt-5.6", {"reasoning_effort": "low"}, "/v1/chat/completions"),
        ("gpt-5.4", {"tools": [TOOL], "reasoning_effort": "low"}, "/v1/chat/completions"),
    ],
)
async def test_cv_26_tools_and_effort_go_out_as_responses(model: str, more: dict[str, Any], path: str) -> None:
    said = {"id": "msg_1", "type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hi"}]}
    whole = {"id": "resp_1", "object": "response", "status": "completed", "output": [said]}
    upstream = ScriptedUpstream(Reply([orjson.dumps(whole if path == "/v1/responses" else SAYS[8])]))
    served = channel(
        type=1,
        base_url="https://api.openai.com",
        model_mapping={MODEL: model},
        model_configs={model: PRICE, MODEL: PRICE},
    )
    app = gateway(upstream, WatchedLedger(), channels=[served])
    told = await call(app, "POST", CHAT, json={**HI[CHAT], **more}, headers=HEADERS)
    assert told.json()["choices"][0]["message"]["content"] == "Hi"
    assert upstream.requests[0].url == f"https://api.openai.com{path}"


async def test_cv_17_results_of_one_turn_are_one_turn_again() -> None:
    made = [{"id": f"c{n}", "type": "function", "function": {"name": "f", "arguments": "{}"}} for n in (1, 2, 3)]
    said = [{"role": "tool", "tool_call_id": f"c{n}", "content": str(n)} for n in (1, 3, 2)]
    history = [*HI[CHAT]["messages"], {"role": "assistant", "tool_calls": made}, *said]
    _, upstream = await ask(CHAT, to(14, "claude-sonnet-4-5"), messages=history, tools=[TOOL])
    *_, asked, results = upstream.requests[0].body["messages"]
    assert [block["id"] for block in asked["content"]] == ["c1", "c2", "c3"]
    assert results["role"] == "user"
    assert sorted(block["tool_use_id"] for block in results["content"]) == ["c1", "c2", "c3"]
    assert {block["tool_use_id"]: block["content"] for block in results["content"]} == {"c1": "1", "c2": "2", "c3": "3"}

    _, upstream = await ask(CHAT, to(24, "gemini-3-pro"), messages=history, tools=[TOOL])
    *_, asked, results = upstream.requests[0].body["contents"]
    assert [part["functionCall"]["id"] for part in asked["parts"]] == ["c1", "c2", "c3"]
    assert sorted(part["functionResponse"]["id"] for part in results["parts"]) == ["c1", "c2", "c3"]


@pytest.mark.parametrize(
    ("path", "type", "model"),
    [(CHAT, 14, "claude-sonnet-4-5"), (CHAT, 24, "gemini-3-pro"), (MESSAGES, 50, "gpt-4o"), (RESPONSES, 50, "gpt-4o")],
)
async def test_cv_27_one_forced_tool_is_no_form_of_the_answer(path: str, type: int, model: str) -> None:
    tools: dict[str, Any] = {
        CHAT: {"type": "function", "function": {"name": "f", "parameters": SUM, "strict": True}},
        RESPONSES: {"type": "function", "name": "f", "parameters": SUM, "strict": True},
        MESSAGES: {"name": "f", "input_schema": SUM, "strict": True},
    }
    choices: dict[str, Any] = {
        CHAT: {"type": "function", "function": {"name": "f"}},
        RESPONSES: {"type": "function", "name": "f"},
        MESSAGES: {"type": "tool", "name": "f"},
    }
    _, upstream = await ask(path, to(type, model), tools=[tools[path]], tool_choice=choices[path])
    body = upstream.requests[0].body
    assert len(body["tools"]) == 1
    assert not {"response_format", "output_config", "output_format"} & set(body)
    assert "responseMimeType" not in body.get("generationConfig", {})
    assert body.get("tool_choice") or body["toolConfig"]["functionCallingConfig"]["mode"] == "ANY"


# Structured output where the model has none: the input of a tool is the answer.

FORM = {"response_format": {"type": "json_schema", "json_schema": {"name": "sum", "schema": SUM}}}
EMULATING = to(14, "claude-sonnet-4")


def claude(*content: dict[str, Any], stop: str) -> Reply:
    return Reply([orjson.dumps({**SAYS[14], "content": list(content), "stop_reason": stop})])


async def emulated(reply: Reply, **more: Any) -> bytes:
    app = gateway(ScriptedUpstream(reply), WatchedLedger(), channels=[EMULATING])
    return (await call(app, "POST", CHAT, json={**HI[CHAT], **FORM, **more}, headers=HEADERS)).body


USED: dict[str, Any] = {"type": "tool_use", "id": "t", "name": "json_tool_call", "input": {"n": 4}}


async def test_cv_77_the_answer_is_text_that_ends_in_stop() -> None:
    (choice,) = orjson.loads(await emulated(claude(USED, stop="tool_use")))["choices"]
    assert (choice["message"]["content"], choice["finish_reason"]) == ('{"n":4}', "stop")
    assert "tool_calls" not in choice["message"]


async def test_cv_77_it_is_streamed_as_it_comes() -> None:
    block = {"type": "content_block_start", "index": 0, "content_block": {**USED, "input": {}}}
    parts = [{"type": "input_json_delta", "partial_json": text} for text in ('{"n"', ":4", "}")]
    steps: list[dict[str, Any]] = [
        {"type": "message_start", "message": {**SAYS[14], "content": [], "stop_reason": None}},
        block,
        *({"type": "content_block_delta", "index": 0, "delta": part} for part in parts),
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 1}},
        {"type": "message_stop"},
    ]
    data = [b"event: %s\ndata: %s\n\n" % (step["type"].encode(), orjson.dumps(step)) for step in steps]
    seen = events(await emulated(Reply(data, headers=SSE_TYPE), stream=True))
    choices = [choice for event in seen for choice in event["choices"]]
    assert [choice["delta"]["content"] for choice in choices if choice["delta"].get("content")] == ['{"n"', ":4", "}"]
    assert [choice["finish_reason"] for choice in choices if choice["finish_reason"]] == ["stop"]


async def test_cv_78_what_is_no_answer_is_not_made_into_json() -> None:
    text = {"type": "text", "text": "I will not."}
    (refused,) = orjson.loads(await emulated(claude(text, stop="refusal")))["choices"]
    assert refused["finish_reason"] == "content_filter"
    assert "n" not in (refused["message"].get("content") or "")[:1]
    (cut,) = orjson.loads(await emulated(claude({"type": "text", "text": '{"n": '}, stop="max_tokens")))["choices"]
    assert (cut["message"]["content"], cut["finish_reason"]) == ('{"n": ', "length")


# Streams.


@pytest.mark.parametrize("path", [MESSAGES, RESPONSES])
async def test_cv_30_a_literal_tag_later_in_the_text_stays(path: str) -> None:
    text = "Use <think> and </think> for that."
    seen, _ = await streamed(path, chunk({"content": text[:7]}), chunk({"content": text[7:]}), chunk({}, "stop"))
    deltas = [event.get("delta") for event in seen if "delta" in event]
    said = "".join(delta if isinstance(delta, str) else delta.get("text", "") for delta in deltas)
    assert said == text
    choice = {"index": 0, "message": {"content": text}, "finish_reason": "stop"}
    app = gateway(
        ScriptedUpstream(Reply([orjson.dumps({"id": "1", "choices": [choice]})])), WatchedLedger(), channels=[to(50)]
    )
    assert text.encode() in (await call(app, "POST", path, json=HI[path], headers=HEADERS)).body


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
async def test_cv_36_reasoning_of_a_chat_is_thinking_to_a_messages_client(field: str) -> None:
    seen, _ = await streamed(
        MESSAGES, chunk({field: "Hm"}), chunk({field: "."}), chunk({"content": "2"}), chunk({}, "stop")
    )
    deltas = [event["delta"] for event in seen if event["type"] == "content_block_delta"]
    assert [delta for delta in deltas if delta["type"] == "thinking_delta"] == [
        {"type": "thinking_delta", "thinking": "Hm"},
        {"type": "thinking_delta", "thinking": "."},
    ]
    assert [delta["text"] for delta in deltas if delta["type"] == "text_delta"] == ["2"]


async def test_cv_37_thinking_after_text_has_an_index_of_its_own() -> None:
    seen, _ = await streamed(
        MESSAGES,
        chunk({"reasoning": "a"}),
        chunk({"content": "b"}),
        chunk({"reasoning": "c"}),
        chunk({"content": "d"}),
        chunk({}, "stop"),
    )
    begun = [
        (event["index"], event["content_block"]["type"]) for event in seen if event["type"] == "content_block_start"
    ]
    assert begun == [(0, "thinking"), (1, "text"), (2, "thinking"), (3, "text")]
    ended = [event["index"] for event in seen if event["type"] == "content_block_stop"]
    assert ended == [0, 1, 2, 3]


async def test_cv_40_two_names_of_one_text_are_shown_once() -> None:
    both = {"reasoning": "Hm", "reasoning_content": "Hm"}
    seen, _ = await streamed(MESSAGES, chunk(both), chunk(both), chunk({"content": "2"}), chunk({}, "stop"))
    deltas = [event["delta"] for event in seen if event["type"] == "content_block_delta"]
    assert [delta["thinking"] for delta in deltas if delta["type"] == "thinking_delta"] == ["Hm", "Hm"]


# Misrouted bodies.


@pytest.mark.parametrize("path", [RESPONSES, MESSAGES])
async def test_cv_83_a_chat_at_another_path_is_served_as_chat(path: str) -> None:
    body = {**HI[CHAT], "messages": [{"role": "system", "content": "S"}, *HI[CHAT]["messages"]], "n": 1}
    upstream = ScriptedUpstream(Reply([orjson.dumps(SAYS[8])]))
    app = gateway(upstream, WatchedLedger(), channels=[to(8)])
    told = await call(app, "POST", path, json=body, headers=HEADERS)
    assert told.json()["choices"][0]["message"]["content"] == "Hi"
    assert upstream.requests[0].url.endswith("/v1/chat/completions")
    assert len(upstream.requests) == 1


async def test_cv_86_a_mixed_body_is_told_of_both_formats() -> None:
    body = {**HI[MESSAGES], "stop_sequences": ["x"], "frequency_penalty": 1, "input": "x"}
    upstream = ScriptedUpstream()
    app = gateway(upstream, WatchedLedger(), channels=[to(8)])
    told = await call(app, "POST", RESPONSES, json=body, headers=HEADERS)
    assert told.status == 400
    message = told.json()["error"]["message"]
    assert "OPENAI_CHAT" in message
    assert "ANTHROPIC_MESSAGES" in message
    assert not upstream.requests
