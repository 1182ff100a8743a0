"""The Chat Completions stand-in works with the official SDK, and refuses what OpenAI refuses."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest

from tests.vendors.app import Json, Vendor
from tests.vendors.direct import ask, refusal, two_calls
from tests.vendors.media import PNG
from tests.vendors.openai_chat import OpenAIChat
from tests.vendors.scripting import Call, Citation, Fault, Scripted, Tokens
from tests.vendors.server import vendor_server

MODEL = "gpt-4o-mini"
ASK: Any = [{"role": "user", "content": "hello there"}]
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
STRICT = {**CITY, "additionalProperties": False}


def tool(name: str = "get_weather", schema: Json | None = CITY, **more: Any) -> Any:
    return {"type": "function", "function": {"name": name, "parameters": schema, **more}}


@pytest.fixture(scope="module")
async def served() -> AsyncIterator[Vendor]:
    async with vendor_server("openai_chat") as vendor:
        yield vendor


@pytest.fixture
async def vendor(served: Vendor) -> Vendor:
    served.script = None
    return served


@pytest.fixture
async def client(vendor: Vendor) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=vendor.url + "/v1", api_key=vendor.key, max_retries=0) as sdk:
        yield sdk


async def test_echo(client: openai.AsyncOpenAI, vendor: Vendor) -> None:
    answer = await client.chat.completions.with_raw_response.create(model=MODEL, messages=ASK)
    completion = answer.parse()
    assert completion.choices[0].message.content == "You said: hello there."
    assert completion.choices[0].finish_reason == "stop"
    assert completion.usage is not None
    assert (completion.usage.prompt_tokens, completion.usage.completion_tokens) == (2, 4)
    assert vendor.ledger[answer.headers["x-request-id"]] == Tokens(input=2, output=4)
    assert vendor.requests[-1].body["messages"] == ASK


async def test_stream(client: openai.AsyncOpenAI) -> None:
    async with client.chat.completions.stream(
        model=MODEL, messages=ASK, stream_options={"include_usage": True}
    ) as stream:
        final = await stream.get_final_completion()
    assert final.choices[0].message.content == "You said: hello there."
    assert final.usage is not None
    assert final.usage.total_tokens == 6


@pytest.mark.parametrize("streams", [False, True])
async def test_tool_loop(client: openai.AsyncOpenAI, vendor: Vendor, streams: bool) -> None:
    vendor.script = two_calls
    tools = [tool(), tool("get_time", {"type": "object", "properties": {"zone": {"type": "string"}}})]
    message = await _message(client, ASK, tools, streams)
    calls = message["tool_calls"]
    assert [call["function"]["arguments"] for call in calls] == ['{"city":"Oslo"}', '{"zone":"CET"}']
    results = [
        {"role": "tool", "tool_call_id": calls[0]["id"], "content": "7 C"},
        {"role": "tool", "tool_call_id": calls[1]["id"], "content": "noon"},
    ]
    told = await _message(client, [*ASK, message, *results], tools, streams)
    assert told["content"] == "Both said: 7 C and noon"


async def _message(client: openai.AsyncOpenAI, messages: Any, tools: Any, streams: bool) -> Json:
    if not streams:
        answer = await client.chat.completions.create(model=MODEL, messages=messages, tools=tools)
        return answer.choices[0].message.to_dict(exclude_unset=True)
    async with client.chat.completions.stream(model=MODEL, messages=messages, tools=tools) as stream:
        found = (await stream.get_final_completion()).choices[0].message
    calls = [
        {
            "id": call.id,
            "type": "function",
            "function": {"name": call.function.name, "arguments": call.function.arguments},
        }
        for call in found.tool_calls or ()
    ]
    return {"role": "assistant", "content": found.content, **({"tool_calls": calls} if calls else {})}


async def test_first_tool_is_called_without_a_script(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(model=MODEL, messages=ASK, tools=[tool()])
    assert answer.choices[0].finish_reason == "tool_calls"
    assert answer.choices[0].message.to_dict()["tool_calls"][0]["function"]["arguments"] == '{"city":"city"}'  # type: ignore[index]


async def test_structured_output(client: openai.AsyncOpenAI) -> None:
    wanted: Any = {"type": "json_schema", "json_schema": {"name": "c", "schema": STRICT, "strict": True}}
    answer = await client.chat.completions.create(model=MODEL, messages=ASK, response_format=wanted)
    assert answer.choices[0].message.content == '{"city":"city"}'


async def test_image(client: openai.AsyncOpenAI) -> None:
    content = [
        {"type": "text", "text": "look"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
    ]
    answer = await client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": content}])  # type: ignore[misc,list-item]
    assert answer.choices[0].message.content == "You said: look. I see image/png."


async def test_limits(client: openai.AsyncOpenAI) -> None:
    cut = await client.chat.completions.create(model=MODEL, messages=ASK, max_completion_tokens=2)
    assert (cut.choices[0].message.content, cut.choices[0].finish_reason) == ("You said: ", "length")
    stopped = await client.chat.completions.create(model=MODEL, messages=ASK, stop=["hello"])
    assert (stopped.choices[0].message.content, stopped.choices[0].finish_reason) == ("You said: ", "stop")


async def test_script(client: openai.AsyncOpenAI, vendor: Vendor) -> None:
    vendor.script = [
        Scripted(refusal="No."),
        Scripted(text="See there.", citations=[Citation("https://e.org", "E", 4, 9)], usage=Tokens(100, 9, cached=64)),
    ]
    refused = await client.chat.completions.create(model=MODEL, messages=ASK)
    assert (refused.choices[0].message.content, refused.choices[0].message.refusal) == (None, "No.")
    cited = await client.chat.completions.create(model=MODEL, messages=ASK)
    assert cited.choices[0].message.annotations is not None
    assert cited.choices[0].message.annotations[0].url_citation.url == "https://e.org"
    assert cited.usage is not None
    assert cited.usage.prompt_tokens_details is not None
    assert cited.usage.prompt_tokens_details.cached_tokens == 64
    assert (await client.chat.completions.create(model=MODEL, messages=ASK)).choices[0].message.content


async def test_reasoning_is_counted_and_not_told(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(model="gpt-5-mini", messages=ASK)
    assert answer.usage is not None
    assert answer.usage.completion_tokens_details is not None
    assert answer.usage.completion_tokens_details.reasoning_tokens == 5
    assert not [name for name in answer.choices[0].message.to_dict() if "reasoning" in name]


async def test_reasoning_field_of_a_vendor_like_it() -> None:
    vendor = OpenAIChat(reasoning_field="reasoning_content", script=Scripted(text="4", reasoning="Add."))
    answer = (await ask(vendor, {"model": "gpt-5-mini", "messages": ASK})).json()
    message = answer["choices"][0]["message"]
    assert message["reasoning_content"] == "Add."
    again = {"model": "gpt-5-mini", "messages": [*ASK, {**_said(message)}, *ASK]}
    assert (await ask(vendor, again)).status_code == 200


async def test_a_vendor_that_wants_reasoning_back() -> None:
    vendor = OpenAIChat(reasoning_field="reasoning_content", wants_reasoning=True)
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    called = {"role": "assistant", "content": None, "tool_calls": [call]}
    result = {"role": "tool", "tool_call_id": "c", "content": "1"}
    body = {"model": "gpt-5-mini", "messages": [*ASK, called, result]}
    assert "must be passed back" in (await refusal(vendor, body))["message"]
    called["reasoning_content"] = " "
    assert (await ask(vendor, body)).status_code == 200


def _said(message: Json) -> Json:
    return {name: message[name] for name in ("role", "content", "reasoning_content")}


async def test_faults(client: openai.AsyncOpenAI, vendor: Vendor) -> None:
    vendor.script = [Fault(429, "Slow down", retry_after=3), Fault(after=3), Fault(after=3, cut=True)]
    with pytest.raises(openai.RateLimitError) as caught:
        await client.chat.completions.create(model=MODEL, messages=ASK)
    assert caught.value.response.headers["retry-after"] == "3"
    with pytest.raises(openai.APIError, match="overloaded"):
        [chunk async for chunk in await client.chat.completions.create(model=MODEL, messages=ASK, stream=True)]
    cut = [chunk async for chunk in await client.chat.completions.create(model=MODEL, messages=ASK, stream=True)]
    assert [chunk.choices[0].finish_reason for chunk in cut] == [None] * 3


CALL = {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}
CALLED = {"role": "assistant", "content": None, "tool_calls": [CALL]}
RESULT = {"role": "tool", "tool_call_id": "call_1", "content": "7 C"}
REASONS = {"model": "gpt-5-mini"}


def history(*messages: Json) -> Json:
    return {"messages": [*ASK, *messages], "tools": [tool()]}


REFUSED: list[tuple[str, Json, str]] = [
    ("unknown field", {"foo": 1}, "Unknown parameter: 'foo'."),
    (
        "unknown field in a message",
        {"messages": [{**ASK[0], "reasoning_content": "x"}]},
        "'messages[0].reasoning_content'",
    ),
    ("unknown field in a tool", {"tools": [tool(examples=[])]}, "'tools[0].function.examples'"),
    ("missing field", {"messages": [{"role": "user"}]}, "Missing required parameter: 'messages[0].content'."),
    ("wrong type", {"temperature": "warm"}, "Invalid type for 'temperature': expected a decimal, but got a string"),
    ("wrong role", {"messages": [{"role": "model", "content": "x"}]}, "Invalid value: 'model'"),
    ("no messages", {"messages": []}, "empty array"),
    ("unknown model", {"model": "claude-5"}, "does not exist"),
    ("max_tokens of a reasoning model", {**REASONS, "max_tokens": 5}, "Use 'max_completion_tokens' instead."),
    ("both limits", {"max_tokens": 5, "max_completion_tokens": 5}, "at the same time"),
    ("temperature of a reasoning model", {**REASONS, "temperature": 0.5}, "Only the default (1) value"),
    (
        "temperature at an effort",
        {"model": "gpt-5.1", "reasoning_effort": "low", "temperature": 0},
        "does not support 0",
    ),
    ("top_p of a reasoning model", {**REASONS, "top_p": 0.5}, "Unsupported parameter: 'top_p'"),
    ("stop of a reasoning model", {**REASONS, "stop": ["x"]}, "Unsupported parameter: 'stop'"),
    ("effort without reasoning", {"reasoning_effort": "low"}, "Unsupported parameter: 'reasoning_effort'"),
    ("effort the model lacks", {**REASONS, "reasoning_effort": "none"}, "'minimal', 'low', 'medium', 'high'"),
    ("tools at an effort", {"model": "gpt-5.6", "tools": [tool()]}, "Please use /v1/responses instead."),
    ("model of Responses only", {"model": "gpt-5-codex"}, "v1/responses and not in v1/chat/completions"),
    ("temperature out of range", {"temperature": 3}, "above maximum"),
    ("penalty out of range", {"presence_penalty": -3}, "below minimum"),
    ("five stops", {"stop": list("abcde")}, "maximum length 4"),
    ("top_logprobs alone", {"top_logprobs": 2}, "'logprobs'"),
    ("stream options without a stream", {"stream_options": {"include_usage": True}}, "only allowed when 'stream'"),
    ("metadata without store", {"metadata": {"a": "b"}}, "only allowed when 'store'"),
    ("verbosity", {"verbosity": "low"}, "'medium'"),
    ("choice without tools", {"tool_choice": "auto"}, "only allowed when 'tools'"),
    ("parallel without tools", {"parallel_tool_calls": False}, "only allowed when 'tools'"),
    (
        "unknown choice",
        {"tools": [tool()], "tool_choice": {"type": "function", "function": {"name": "x"}}},
        "'x' is not",
    ),
    ("tool name", {"tools": [tool("get weather")]}, "does not match pattern"),
    ("tool twice", {"tools": [tool(), tool()]}, "Duplicate tool name"),
    ("schema that is no object", {"tools": [tool(schema={"type": "string"})]}, "got 'type: \"string\"'"),
    (
        "array without items",
        {"tools": [tool(schema={"type": "object", "properties": {"a": {"type": "array"}}})]},
        "array schema missing items",
    ),
    ("strict schema that is open", {"tools": [tool(strict=True)]}, "'additionalProperties' is required"),
    (
        "strict with a keyword",
        {"tools": [tool(schema={**STRICT, "minProperties": 1}, strict=True)]},
        "'minProperties' is not permitted",
    ),
    (
        "strict with an optional field",
        {"tools": [tool(schema={**STRICT, "required": []}, strict=True)]},
        "Missing 'city'",
    ),
    (
        "strict output",
        {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": CITY, "strict": True}}},
        "response_format 'a'",
    ),
    ("json without the word", {"response_format": {"type": "json_object"}}, "must contain the word 'json'"),
    ("call without result", history(CALLED), "did not have response messages: call_1"),
    ("call answered by words", history(CALLED, *ASK, RESULT), "did not have response messages: call_1"),
    ("result without call", history(RESULT), "must be a response to a preceeding message"),
    ("result twice", history(CALLED, RESULT, RESULT), "must be a response to a preceeding message"),
    ("call id twice", history({**CALLED, "tool_calls": [CALL, CALL]}, RESULT), "Duplicate value"),
    ("long call id", history({**CALLED, "tool_calls": [{**CALL, "id": "c" * 65}]}), "maximum length 64"),
    ("empty calls", history({**CALLED, "tool_calls": []}), "empty array"),
    ("assistant without anything", history({"role": "assistant", "content": None}), "got null"),
    (
        "image in a result",
        history(CALLED, {**RESULT, "content": [{"type": "image_url", "image_url": {"url": "https://e.org/x.png"}}]}),
        "Invalid value: 'image_url'",
    ),
    (
        "image that is not base64",
        {
            "messages": [
                {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,?"}}]}
            ]
        },
        "Invalid base64",
    ),
    (
        "image that is none",
        {
            "messages": [
                {
                    "role": "user",
                    "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,aGVsbG8="}}],
                }
            ]
        },
        "unsupported image",
    ),
]


@pytest.mark.parametrize(("body", "words"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
async def test_refused(body: Json, words: str) -> None:
    error = await refusal(OpenAIChat(), {"model": MODEL, "messages": ASK, **body})
    assert words in error["message"]
    assert error["type"] == "invalid_request_error"


async def test_credentials() -> None:
    vendor = OpenAIChat()
    for headers in ({}, {"authorization": "Bearer sk-wrong"}, {"x-api-key": vendor.key}):
        answer = await ask(vendor, {"model": MODEL, "messages": ASK}, headers=headers)
        assert answer.status_code == 401
    assert (await ask(vendor, {}, path="/v1/messages")).status_code == 404


async def test_custom_tool() -> None:
    vendor = OpenAIChat(script=Scripted(tool_calls=[Call("apply", "a b")]))
    tools = [{"type": "custom", "custom": {"name": "apply"}}]
    answer = (await ask(vendor, {"model": MODEL, "messages": ASK, "tools": tools})).json()
    assert answer["choices"][0]["message"]["tool_calls"][0]["custom"] == {"name": "apply", "input": "a b"}
