"""The Responses stand-in works with the official SDK, and refuses what OpenAI refuses."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest

from tests.vendors.app import Json, Vendor
from tests.vendors.direct import ask, refusal, two_calls
from tests.vendors.media import PNG
from tests.vendors.openai_responses import OpenAIResponses
from tests.vendors.scripting import Call, Citation, Fault, Scripted, Tokens
from tests.vendors.server import vendor_server

MODEL = "gpt-4o-mini"
REASONS: dict[str, Any] = {
    "model": "gpt-5-mini",
    "store": False,
    "include": ["reasoning.encrypted_content"],
    "reasoning": {"effort": "low", "summary": "auto"},
}
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
STRICT = {**CITY, "additionalProperties": False}
USER = {"role": "user", "content": "hello"}


def tool(name: str = "get_weather", schema: Json | None = CITY, **more: Any) -> Any:
    return {"type": "function", "name": name, "parameters": schema, "strict": False, **more}


@pytest.fixture(scope="module")
async def served() -> AsyncIterator[Vendor]:
    async with vendor_server("openai_responses") as vendor:
        yield vendor


@pytest.fixture
async def vendor(served: Vendor) -> Vendor:
    served.script = None
    return served


@pytest.fixture
async def client(vendor: Vendor) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=vendor.url + "/v1", api_key=vendor.key, max_retries=0) as sdk:
        yield sdk


async def respond(client: openai.AsyncOpenAI, streams: bool, **body: Any) -> Any:
    if not streams:
        return await client.responses.create(**body)
    async with client.responses.stream(**body) as stream:
        return await stream.get_final_response()


@pytest.mark.parametrize("streams", [False, True])
async def test_echo(client: openai.AsyncOpenAI, streams: bool) -> None:
    answer = await respond(client, streams, model=MODEL, input="hello there", instructions="Be brief.")
    assert answer.output_text == "You said: hello there."
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (4, 4)


@pytest.mark.parametrize("streams", [False, True])
async def test_tool_loop_with_reasoning(client: openai.AsyncOpenAI, vendor: Vendor, streams: bool) -> None:
    vendor.script = two_calls
    tools = [tool(), tool("get_time", {"type": "object", "properties": {"zone": {"type": "string"}}})]
    first = await respond(client, streams, **REASONS, input=[USER], tools=tools)
    items = [item.to_dict() for item in first.output]
    assert [item["type"] for item in items] == ["reasoning", "message", "function_call", "function_call"]
    assert items[0]["summary"] == [{"type": "summary_text", "text": "I was asked: hello"}]
    results = [
        {"type": "function_call_output", "call_id": item["call_id"], "output": f"result {place}"}
        for place, item in enumerate(items[2:])
    ]
    second = await respond(client, streams, **REASONS, input=[USER, *map(_input, items), *results], tools=tools)
    assert second.output_text == "Both said: result 0 and result 1"


def _input(item: Json) -> Json:
    """An output item as input: the helper of the SDK adds fields of its own."""
    return {name: value for name, value in item.items() if name not in ("parsed_arguments",)} | (
        {"content": [{k: v for k, v in part.items() if k != "parsed"} for part in item["content"]]}
        if item["type"] == "message"
        else {}
    )


async def test_stored_responses(client: openai.AsyncOpenAI) -> None:
    first = await client.responses.create(model=MODEL, input="one", tools=[tool()])
    call: Any = first.output[0]
    output: Any = [{"type": "function_call_output", "call_id": call.call_id, "output": "7 C"}]
    second = await client.responses.create(model=MODEL, input=output, tools=[tool()], previous_response_id=first.id)
    assert second.output_text == "The tools said: 7 C"
    with pytest.raises(openai.BadRequestError, match="not found"):
        await client.responses.create(model=MODEL, input="x", previous_response_id="resp_unknown")


async def test_script(client: openai.AsyncOpenAI, vendor: Vendor) -> None:
    vendor.script = [
        Scripted(refusal="No."),
        Scripted(text="See there.", citations=[Citation("https://e.org", "E", 4, 9)], usage=Tokens(100, 9, cached=64)),
        Scripted(text="So far", finish="content_filter"),
    ]
    refused = await client.responses.create(model=MODEL, input="x")
    assert refused.output[0].to_dict()["content"] == [{"type": "refusal", "refusal": "No."}]
    cited: Any = await respond(client, True, model=MODEL, input="x")
    assert cited.output[0].content[0].annotations[0].url == "https://e.org"
    assert cited.usage.input_tokens_details.cached_tokens == 64
    filtered = await client.responses.create(model=MODEL, input="x")
    assert filtered.incomplete_details is not None
    assert filtered.incomplete_details.reason == "content_filter"


async def test_limit(client: openai.AsyncOpenAI, vendor: Vendor) -> None:
    vendor.script = Scripted(text="word " * 30)
    cut = await client.responses.create(model=MODEL, input="x", max_output_tokens=16)
    assert (cut.status, cut.output_text) == ("incomplete", "word " * 16)


async def test_image_and_structured_output(client: openai.AsyncOpenAI) -> None:
    content = [
        {"type": "input_text", "text": "look"},
        {"type": "input_image", "detail": "auto", "image_url": f"data:image/png;base64,{PNG}"},
    ]
    seen = await client.responses.create(model=MODEL, input=[{"role": "user", "content": content}])  # type: ignore[list-item,misc]
    assert seen.output_text == "You said: look. I see image/png."
    wanted: Any = {"format": {"type": "json_schema", "name": "c", "schema": STRICT, "strict": True}}
    assert (await client.responses.create(model=MODEL, input="x", text=wanted)).output_text == '{"city":"city"}'


async def test_faults(client: openai.AsyncOpenAI, vendor: Vendor) -> None:
    vendor.script = [Fault(500, "Broken"), Fault(after=4)]
    with pytest.raises(openai.InternalServerError, match="Broken"):
        await client.responses.create(model=MODEL, input="x")
    events = [event.type async for event in await client.responses.create(model=MODEL, input="x", stream=True)]
    assert events[-1] == "response.failed"


CALL = {"type": "function_call", "call_id": "call_1", "name": "get_weather", "arguments": "{}"}
OUTPUT = {"type": "function_call_output", "call_id": "call_1", "output": "7 C"}
THOUGHT = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAAAforeign"}


def items(*more: Json) -> Json:
    return {"input": [USER, *more], "tools": [tool()]}


def text_format(**format: Any) -> Json:
    return {"text": {"format": format}}


REFUSED: list[tuple[str, Json, str]] = [
    ("unknown field", {"max_tokens": 20}, "Unknown parameter: 'max_tokens'."),
    ("stop", {"stop": ["x"]}, "Unknown parameter: 'stop'."),
    ("unknown field in an item", items({**CALL, "foo": 1}, OUTPUT), "'input[1].foo'"),
    ("unknown item", {"input": [{"type": "thought", "text": "x"}]}, "Invalid value: 'thought'"),
    ("no input", {"input": None}, "got null instead"),
    ("empty input", {"input": ""}, "non-empty"),
    ("little output", {"max_output_tokens": 5}, "Expected a value >= 16"),
    ("chat tools", {"tools": [{"type": "function", "function": {"name": "f"}}]}, "'tools[0].name'"),
    (
        "chat content",
        {"input": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]},
        "Invalid value: 'text'",
    ),
    (
        "input_text of an assistant",
        items({"role": "assistant", "content": [{"type": "input_text", "text": "x"}]}),
        "'output_text', 'refusal'",
    ),
    ("reasoning of a model without", {"reasoning": {"effort": "low"}}, "'reasoning.effort' is not supported"),
    (
        "ciphertext of a model without",
        {"include": ["reasoning.encrypted_content"]},
        "Encrypted content is not supported",
    ),
    (
        "effort the model lacks",
        {**REASONS, "reasoning": {"effort": "none"}},
        "'reasoning.effort' does not support 'none'",
    ),
    ("temperature of a reasoning model", {**REASONS, "temperature": 0.1}, "Only the default (1) value"),
    ("choice without tools", {"tool_choice": "required"}, "only allowed when 'tools'"),
    ("unknown choice", {"tools": [tool()], "tool_choice": {"type": "function", "name": "x"}}, "'x' not found"),
    ("strict schema that is open", {"tools": [tool(strict=True)]}, "'additionalProperties' is required"),
    ("tool twice", {"tools": [tool(), tool()]}, "Duplicate tool name"),
    ("json without the word", text_format(type="json_object"), "must contain the word 'json'"),
    ("strict output", text_format(type="json_schema", name="a", schema=CITY, strict=True), "response_format 'a'"),
    ("call without output", items(CALL), "No tool output found for function call call_1."),
    ("output without call", items(OUTPUT), "No tool call found for function call output with call_id call_1."),
    ("output before its call", items(OUTPUT, CALL), "No tool call found"),
    ("output twice", items(CALL, OUTPUT, OUTPUT), "No tool call found"),
    ("call twice", items(CALL, CALL, OUTPUT), "Duplicate call_id"),
    ("long call id", items({**CALL, "call_id": "c" * 65}), "maximum length 64"),
    ("item id of another kind", items({**CALL, "id": "call_1"}, OUTPUT), "Expected an ID that begins with 'fc'."),
    (
        "item twice",
        items({**CALL, "id": "fc_1"}, OUTPUT, {**CALL, "id": "fc_1", "call_id": "b"}),
        "Duplicate item found",
    ),
    ("item reference", items({"type": "item_reference", "id": "rs_1"}), "Item with id 'rs_1' not found."),
    ("foreign ciphertext", items(THOUGHT, CALL, OUTPUT), "could not be verified"),
    (
        "reasoning without ciphertext",
        items({"type": "reasoning", "id": "rs_1", "summary": []}, CALL, OUTPUT),
        "Item with id 'rs_1' not found.",
    ),
    ("reasoning alone", items(THOUGHT), "without its required following item"),
    (
        "stream options without a stream",
        {"stream_options": {"include_obfuscation": False}},
        "only allowed when 'stream'",
    ),
]


@pytest.mark.parametrize(("body", "words"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
async def test_refused(body: Json, words: str) -> None:
    error = await refusal(OpenAIResponses(), {"model": MODEL, "input": "x", **body})
    assert words in error["message"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda items: items[0]["summary"][0].update(text="Altered."), "could not be verified"),
        (lambda items: items[0].update(id="rs_other"), "could not be verified"),
        (lambda items: items[1].update(call_id="call_other"), "could not be verified"),
        (lambda items: items.pop(0), "without its required 'reasoning' item"),
        (lambda items: items.insert(1, {"role": "assistant", "content": "x"}), "could not be verified"),
    ],
    ids=["summary", "id", "follower", "missing", "moved"],
)
async def test_reasoning_comes_back_as_it_was(change: Any, words: str) -> None:
    vendor = OpenAIResponses(script=[Scripted(tool_calls=[Call("get_weather", {"city": "Oslo"})])])
    body = {**REASONS, "input": [USER], "tools": [tool()]}
    output = (await ask(vendor, body)).json()["output"]
    result = {"type": "function_call_output", "call_id": output[1]["call_id"], "output": "7 C"}
    assert (await ask(vendor, {**body, "input": [USER, *output, result]})).status_code == 200
    change(output)
    result["call_id"] = next(item["call_id"] for item in output if "call_id" in item)
    assert words in (await refusal(vendor, {**body, "input": [USER, *output, result]}))["message"]


async def test_a_ciphertext_needs_no_id() -> None:
    vendor = OpenAIResponses()
    body = {**REASONS, "input": [USER]}
    reasoning, message = (await ask(vendor, body)).json()["output"]
    del reasoning["id"]
    said = {"role": "assistant", "content": message["content"][0]["text"]}
    assert (await ask(vendor, {**body, "input": [USER, reasoning, said, USER]})).status_code == 200
    del reasoning["encrypted_content"]
    assert "not found" in (await refusal(vendor, {**body, "input": [USER, reasoning, said, USER]}))["message"]


async def test_ciphertext_comes_only_when_asked() -> None:
    body = {**REASONS, "input": "x", "include": []}
    output = (await ask(OpenAIResponses(), body)).json()["output"]
    assert "encrypted_content" not in output[0]


async def test_stored_reasoning_needs_no_ciphertext() -> None:
    vendor = OpenAIResponses()
    body = {"model": "gpt-5-mini", "input": [USER]}
    output = (await ask(vendor, body)).json()["output"]
    assert (await ask(vendor, {**body, "input": [USER, *output, USER]})).status_code == 200


async def test_custom_tool(client: openai.AsyncOpenAI, vendor: Vendor) -> None:
    vendor.script = Scripted(tool_calls=[Call("apply", "a b")])
    answer = await respond(client, True, model=MODEL, input="x", tools=[{"type": "custom", "name": "apply"}])
    assert answer.output[0].input == "a b"
