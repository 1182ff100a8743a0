"""The generateContent stand-in works with the official SDK, and refuses what Google refuses."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import httpx
import orjson
import pytest
from google import genai
from google.genai import errors, types

from tests.vendors.app import Json, Vendor
from tests.vendors.direct import ask, credentials, refusal, two_calls
from tests.vendors.gemini import Gemini
from tests.vendors.media import PNG
from tests.vendors.scripting import Call, Citation, Fault, Scripted, Tokens
from tests.vendors.server import vendor_server

OLD = "gemini-2.5-flash"
NEW = "gemini-3-flash-preview"
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
USER: Json = {"role": "user", "parts": [{"text": "hello"}]}


def tools(*functions: Json) -> Json:
    return {"tools": [{"functionDeclarations": list(functions)}]}


def function(name: str = "get_weather", schema: Any = CITY, **more: Any) -> Json:
    return {"name": name, **({"parametersJsonSchema": schema} if schema else {}), **more}


@pytest.fixture(scope="module")
async def served() -> AsyncIterator[Vendor]:
    async with vendor_server("gemini") as vendor:
        yield vendor


@pytest.fixture
async def vendor(served: Vendor) -> Vendor:
    served.script = None
    return served


@pytest.fixture
async def models(vendor: Vendor) -> AsyncIterator[Any]:
    async with aiohttp.ClientSession() as session:  # the SDK would derive a class from it, which is deprecated
        options = types.HttpOptions(base_url=vendor.url, aiohttp_client=session)
        async with genai.Client(api_key=vendor.key, http_options=options).aio as client:
            yield client.models


async def generate(models: Any, streams: bool, **call: Any) -> tuple[list[Any], Any]:
    """All parts, and the last object."""
    call = {"model": NEW, "contents": "hello", **call}
    if not streams:
        answer = await models.generate_content(**call)
        return answer.candidates[0].content.parts, answer
    parts = []
    async for answer in await models.generate_content_stream(**call):
        parts += answer.candidates[0].content.parts
    return parts, answer


@pytest.mark.parametrize("streams", [False, True])
async def test_echo(models: Any, streams: bool) -> None:
    parts, last = await generate(models, streams, model="gemini-2.0-flash")
    assert "".join(part.text for part in parts) == "You said: hello."
    usage = last.usage_metadata
    assert (usage.prompt_token_count, usage.candidates_token_count, usage.total_token_count) == (1, 3, 4)
    assert last.candidates[0].finish_reason == "STOP"


@pytest.mark.parametrize("model", [OLD, NEW])
@pytest.mark.parametrize("streams", [False, True])
async def test_tool_loop_with_thoughts(models: Any, vendor: Vendor, model: str, streams: bool) -> None:
    vendor.script = two_calls
    config: Any = {
        **tools(function(), function("get_time", {"type": "object", "properties": {"zone": {"type": "string"}}})),
        "thinkingConfig": {"includeThoughts": True},
        "automaticFunctionCalling": {"disable": True},
    }
    parts, _ = await generate(models, streams, model=model, config=config)
    calls = [part for part in parts if part.function_call]
    assert "".join(part.text for part in parts if part.thought) == "I was asked: hello"
    assert [part.thought_signature is not None for part in calls] == [True, False]
    assert [part.function_call.id is not None for part in calls] == [model == NEW] * 2
    results = [
        types.Part(function_response=types.FunctionResponse(id=call.id, name=call.name, response={"output": "7"}))
        for call in (part.function_call for part in calls)
    ]
    kept = [part for part in parts if part.text != "" or part.thought_signature]
    contents = [
        types.Content(role="user", parts=[types.Part(text="hello")]),
        types.Content(role="model", parts=kept),
        types.Content(role="user", parts=results),
    ]
    parts, _ = await generate(models, streams, model=model, contents=contents, config=config)
    assert "".join(part.text for part in parts if not part.thought) == "Both said: 7 and 7"


async def test_stream_without_events_is_an_array(vendor: Vendor) -> None:
    url = f"{vendor.url}/v1beta/models/{OLD}:streamGenerateContent"
    async with httpx.AsyncClient(trust_env=False) as http:
        answer = await http.post(url, json={"contents": [USER]}, headers=credentials(vendor))
        broken = await http.post(url, json={"contents": []}, headers=credentials(vendor))
    assert answer.headers["content-type"] == "application/json"
    texts = [part.get("text") for chunk in answer.json() for part in chunk["candidates"][0]["content"]["parts"]]
    assert "".join(texts) == "You said: hello."
    assert broken.json()[0]["error"]["code"] == 400


async def test_script(models: Any, vendor: Vendor) -> None:
    vendor.script = [
        Scripted(text="é there.", citations=[Citation("https://e.org", "E", 2, 7)]),
        Scripted(text="Hi", usage=Tokens(100, 9, cached=64, reasoning=4)),
        Scripted(text="Hm", finish="content_filter"),
    ]
    _, cited = await generate(models, True, model=OLD)
    segment = cited.candidates[0].grounding_metadata.grounding_supports[0].segment
    assert (segment.start_index, segment.end_index, segment.text) == (3, 8, "there")
    _, counted = await generate(models, False, model=OLD)
    usage = counted.usage_metadata
    assert (usage.cached_content_token_count, usage.candidates_token_count, usage.thoughts_token_count) == (64, 5, 4)
    _, filtered = await generate(models, False, model=OLD)
    assert filtered.candidates[0].finish_reason == "SAFETY"


async def test_limits(models: Any) -> None:
    config: Any = {"maxOutputTokens": 2}
    parts, cut = await generate(models, True, model="gemini-2.0-flash", config=config)
    assert ("".join(part.text for part in parts), cut.candidates[0].finish_reason) == ("You said: ", "MAX_TOKENS")
    config = {"stopSequences": ["hello"]}
    parts, _ = await generate(models, False, model="gemini-2.0-flash", config=config)
    assert parts[0].text == "You said: "


async def test_image_and_structured_output(models: Any) -> None:
    image = types.Part.from_bytes(data=base64.b64decode(PNG), mime_type="image/png")
    parts, _ = await generate(models, False, contents=["look", image])
    assert parts[-1].text == "You said: look. I see image/png."
    config: Any = {"responseMimeType": "application/json", "responseJsonSchema": CITY}
    parts, _ = await generate(models, False, config=config)
    assert parts[-1].text == '{"city":"city"}'
    config = {
        "responseMimeType": "application/json",
        "responseSchema": {"type": "OBJECT", "properties": {"n": {"type": "INTEGER"}}},
    }
    parts, _ = await generate(models, False, config=config)
    assert parts[-1].text == '{"n":1}'


async def test_count_tokens(models: Any) -> None:
    assert (await models.count_tokens(model=OLD, contents="one two")).total_tokens == 2


async def test_faults(models: Any, vendor: Vendor) -> None:
    vendor.script = [Fault(429, "Slow down", retry_after=3), Fault(after=1)]
    with pytest.raises(errors.ClientError, match="RESOURCE_EXHAUSTED"):
        await generate(models, False)
    with pytest.raises(errors.ServerError, match="overloaded"):
        await generate(models, True)


def call(name: str = "get_weather", **more: Any) -> Json:
    return {"functionCall": {"name": name, "args": {}, **more}}


def response(name: str = "get_weather", **more: Any) -> Json:
    return {"functionResponse": {"name": name, "response": {"output": "7"}, **more}}


def contents(*parts: list[Json], **more: Any) -> Json:
    """A user turn, then turns that alternate beginning with the model's."""
    roles = ["model", "user"]
    turns = [{"role": roles[place % 2], "parts": one} for place, one in enumerate(parts)]
    return {"contents": [USER, *turns], **tools(function()), **more}


def config(**fields: Any) -> Json:
    return {"generationConfig": fields}


def schema(**words: Any) -> Json:
    """A tool with Google's own kind of schema."""
    return tools({"name": "f", "parameters": words})


JSON = {"responseMimeType": "application/json"}

REFUSED: list[tuple[str, str, Json, str]] = [
    ("unknown field", OLD, {"max_tokens": 5}, 'Unknown name "max_tokens": Cannot find field.'),
    ("model in the body", OLD, {"model": OLD}, 'Unknown name "model"'),
    (
        "unknown field in a part",
        OLD,
        {"contents": [{"role": "user", "parts": [{"text": "x", "foo": 1}]}]},
        "Unknown name \"foo\" at 'contents[0].parts[0]'",
    ),
    ("unknown field of the config", OLD, config(maxTokens=5), "at 'generation_config'"),
    ("field of Vertex", OLD, config(audioTimestamp=True), 'Unknown name "audioTimestamp"'),
    ("wrong type", OLD, config(temperature="warm"), "(TYPE_DOUBLE)"),
    (
        "bytes",
        OLD,
        {"contents": [{"role": "user", "parts": [{"inlineData": {"mimeType": "image/png", "data": "?"}}]}]},
        "Base64 decoding failed",
    ),
    ("category", OLD, {"safetySettings": [{"category": "HARM", "threshold": "OFF"}]}, "(TYPE_ENUM)"),
    ("unknown model", "gpt-4o", {}, "is not found for API version v1beta"),
    ("no contents", OLD, {"contents": []}, "contents is not specified"),
    ("no parts", OLD, {"contents": [{"role": "user"}]}, "contents.parts must not be empty"),
    ("empty text", OLD, {"contents": [{"role": "user", "parts": [{"text": ""}]}]}, "must have one initialized field"),
    (
        "two data",
        OLD,
        {
            "contents": [
                {"role": "user", "parts": [{"text": "x", "inlineData": {"mimeType": "image/png", "data": PNG}}]}
            ]
        },
        "must have one initialized field",
    ),
    ("wrong role", OLD, {"contents": [{"role": "assistant", "parts": [{"text": "x"}]}]}, "Please use a valid role"),
    (
        "model first",
        OLD,
        {"contents": [{"role": "model", "parts": [{"text": "x"}]}, USER]},
        "alternate between user and model",
    ),
    ("model last", "gemini-3.8-flash", contents([{"text": "x"}]), "must not have the role model"),
    (
        "call first",
        OLD,
        {"contents": [{"role": "model", "parts": [call()]}, {"role": "user", "parts": [response()]}]},
        "function call turn comes immediately after a user turn",
    ),
    ("call without response", OLD, contents([call()], [{"text": "x"}]), "number of function response parts is equal"),
    ("call at the end", OLD, contents([call()]), "number of function response parts is equal"),
    (
        "one of two responses",
        OLD,
        contents([call(), call("b")], [response()]),
        "number of function response parts is equal",
    ),
    (
        "responses in another order",
        OLD,
        contents([call("a"), call("b")], [response("b"), response("a")]),
        "in the order of the calls",
    ),
    ("response to another id", NEW, contents([call(id="a")], [response(id="b")]), "does not answer function call"),
    ("response without call", OLD, contents([{"text": "x"}], [response()]), "immediately after a function call turn"),
    ("words beside a response", OLD, contents([call()], [response(), {"text": "x"}]), "nothing but function responses"),
    ("id for an older model", OLD, contents([call(id="a")], [response(id="a")]), 'Unknown name "id"'),
    (
        "image in a result of an older model",
        OLD,
        contents([call()], [response(parts=[{"inlineData": {"mimeType": "image/png", "data": PNG}}])]),
        "Multimodal function responses",
    ),
    ("response that is text", OLD, contents([call()], [response(response="7")]), "(TYPE_MESSAGE)"),
    (
        "call without signature",
        NEW,
        contents([call()], [response()]),
        "is missing a thought_signature in functionCall parts",
    ),
    (
        "foreign signature",
        OLD,
        contents([{**call(), "thoughtSignature": "c2ln"}], [response()]),
        "Thought signature is not valid",
    ),
    ("function name", OLD, tools(function("get weather")), "Invalid function name"),
    ("function twice", OLD, tools(function(), function()), "Duplicate function declaration"),
    ("empty description", OLD, tools(function(description="")), "description: must not be empty"),
    ("OpenAI's tools", OLD, {"tools": [{"type": "function", "function": {"name": "f"}}]}, "at 'tools[0]'"),
    (
        "two schemas",
        OLD,
        tools(function(parameters={"type": "OBJECT", "properties": {"a": {"type": "STRING"}}})),
        "Only one of parameters",
    ),
    ("JSON Schema for an older model", "gemini-2.0-flash", tools(function()), "parameters_json_schema: not supported"),
    (
        "keyword of JSON Schema",
        OLD,
        tools(function(schema={**CITY, "$schema": "x"})),
        "keyword '$schema' is not supported",
    ),
    (
        "closed object",
        OLD,
        schema(type="OBJECT", properties={"a": {"type": "STRING"}}, additionalProperties=False),
        'Unknown name "additionalProperties"',
    ),
    ("small type", OLD, schema(type="object", properties={"a": {"type": "STRING"}}), "(TYPE_ENUM)"),
    ("type list", OLD, schema(type=["OBJECT"]), "(TYPE_ENUM)"),
    ("object without properties", OLD, schema(type="OBJECT"), "should be non-empty for OBJECT type"),
    (
        "array without items",
        OLD,
        schema(type="OBJECT", properties={"a": {"type": "ARRAY"}}),
        "parameters.properties[a].items: missing field.",
    ),
    (
        "union beside words",
        OLD,
        schema(type="OBJECT", properties={"a": {"anyOf": [{"type": "STRING"}], "description": "x"}}),
        "any_of: when using any_of",
    ),
    (
        "numbers as enum",
        OLD,
        schema(type="OBJECT", properties={"a": {"type": "INTEGER", "enum": ["1"]}}),
        "only allowed for STRING type",
    ),
    (
        "empty enum value",
        OLD,
        schema(type="OBJECT", properties={"a": {"type": "STRING", "enum": [""]}}),
        "cannot be empty",
    ),
    (
        "format of a string",
        OLD,
        schema(type="OBJECT", properties={"a": {"type": "STRING", "format": "uuid"}}),
        "only 'enum' and 'date-time'",
    ),
    (
        "required without property",
        OLD,
        schema(type="OBJECT", properties={"a": {"type": "STRING"}}, required=["b"]),
        "property is not defined",
    ),
    (
        "choice without functions",
        OLD,
        {"toolConfig": {"functionCallingConfig": {"mode": "ANY"}}},
        "without function_declarations",
    ),
    (
        "names with auto",
        OLD,
        {
            **tools(function()),
            "toolConfig": {"functionCallingConfig": {"mode": "AUTO", "allowedFunctionNames": ["get_weather"]}},
        },
        "only supported with mode ANY",
    ),
    (
        "undeclared name",
        OLD,
        {**tools(function()), "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["x"]}}},
        "undeclared function x",
    ),
    (
        "search beside functions",
        OLD,
        {"tools": [{"functionDeclarations": [function()]}, {"googleSearch": {}}]},
        "unsupported by the model",
    ),
    (
        "search beside functions, unasked",
        NEW,
        {"tools": [{"functionDeclarations": [function()]}, {"googleSearch": {}}]},
        "include_server_side_tool_invocations",
    ),
    ("schema without type", OLD, config(responseJsonSchema=CITY), "mime type text/plain is unsupported"),
    (
        "both schemas",
        OLD,
        config(**JSON, responseJsonSchema=CITY, responseSchema={"type": "STRING"}),
        "Only one of response_schema",
    ),
    ("JSON beside functions", OLD, {**config(**JSON), **tools(function())}, "'application/json' is unsupported"),
    ("budget and level", NEW, config(thinkingConfig={"thinkingBudget": 5, "thinkingLevel": "LOW"}), "only set one of"),
    (
        "level of an older model",
        OLD,
        config(thinkingConfig={"thinkingLevel": "LOW"}),
        "Thinking level is not supported",
    ),
    (
        "level the model lacks",
        "gemini-3-pro-preview",
        config(thinkingConfig={"thinkingLevel": "MEDIUM"}),
        "MEDIUM is not supported",
    ),
    (
        "off where it cannot be",
        "gemini-2.5-pro",
        config(thinkingConfig={"thinkingBudget": 0}),
        "only works in thinking mode",
    ),
    ("budget out of range", OLD, config(thinkingConfig={"thinkingBudget": 99_999}), "between 0 and 24576"),
    (
        "thinking without thoughts",
        "gemini-2.0-flash",
        config(thinkingConfig={"includeThoughts": True}),
        "Thinking is not enabled",
    ),
    ("penalty", NEW, config(presencePenalty=0.5), "Penalty is not enabled"),
    ("six stops", OLD, config(stopSequences=list("abcdef")), "at most 5"),
    ("temperature out of range", OLD, config(temperature=3), "must be in the range [0, 2]"),
    ("empty instruction", OLD, {"systemInstruction": {"parts": [{"text": ""}]}}, "system_instruction.parts"),
    (
        "image that is none",
        OLD,
        {"contents": [{"role": "user", "parts": [{"inlineData": {"mimeType": "image/png", "data": "aGk="}}]}]},
        "Unable to process input image",
    ),
]


@pytest.mark.parametrize(("model", "body", "words"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
async def test_refused(model: str, body: Json, words: str) -> None:
    error = await refusal(Gemini(), {"contents": [USER], **body}, model=model)
    assert words in error["message"]
    assert error["status"] == ("NOT_FOUND" if error["code"] == 404 else "INVALID_ARGUMENT")


async def called(model: str = NEW) -> tuple[Vendor, Json, list[Json]]:
    """A request whose answer is two calls, and the history it leads to."""
    vendor = Gemini(script=[Scripted(tool_calls=[Call("get_weather", {"city": "Oslo"}), Call("get_time")])])
    body = {"contents": [USER], **tools(function(), function("get_time"))}
    content = (await ask(vendor, body, model=model)).json()["candidates"][0]["content"]
    own = [part["functionCall"] for part in content["parts"]]
    results = [response(one["name"], id=one["id"]) for one in own]
    return vendor, body, [USER, content, {"role": "user", "parts": results}]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda parts: parts[0]["functionCall"]["args"].update(city="Bergen"), "Thought signature is not valid"),
        (lambda parts: parts[0].update(thoughtSignature="A" + parts[0]["thoughtSignature"][1:]), "is not valid"),
        (lambda parts: parts[0].pop("thoughtSignature"), "is missing a thought_signature"),
        (
            lambda parts: parts[1].update(thoughtSignature=parts[0].pop("thoughtSignature")),
            "is missing a thought_signature",
        ),
        (
            lambda parts: parts[1].update(thoughtSignature=parts[0]["thoughtSignature"]),
            "Thought signature is not valid",
        ),
    ],
    ids=["arguments", "signature", "missing", "moved", "repeated"],
)
async def test_signatures_come_back_as_they_were(change: Any, words: str) -> None:
    vendor, body, history = await called()
    assert (await ask(vendor, {**body, "contents": history}, model=NEW)).status_code == 200
    change(history[1]["parts"])
    assert words in (await refusal(vendor, {**body, "contents": history}, model=NEW))["message"]


async def test_placeholders_are_noted() -> None:
    vendor, body, history = await called()
    history[1]["parts"][0]["thoughtSignature"] = base64.b64encode(b"skip_thought_signature_validator").decode()
    assert (await ask(vendor, {**body, "contents": history}, model=NEW)).status_code == 200
    assert vendor.requests[-1].notes == ["placeholder"]


async def test_earlier_turns_are_not_validated() -> None:
    vendor, body, history = await called()
    del history[1]["parts"][0]["thoughtSignature"]
    model: Json = {"role": "model", "parts": [{"text": "Cold."}]}
    assert (await ask(vendor, {**body, "contents": [*history, model, USER]}, model=NEW)).status_code == 200


async def test_snake_case_is_read() -> None:
    body = {
        "contents": [USER],
        "generation_config": {"max_output_tokens": 2},
        "system_instruction": {"parts": [{"text": "x"}]},
    }
    answer = (await ask(Gemini(), body, model="gemini-2.0-flash")).json()
    assert answer["candidates"][0]["finishReason"] == "MAX_TOKENS"
    assert (await refusal(Gemini(), {**body, "generationConfig": {}}, model=OLD))["message"].endswith("is set twice.")


async def test_credentials() -> None:
    vendor = Gemini()
    missing = await ask(vendor, {"contents": [USER]}, model=OLD, headers={"authorization": f"Bearer {vendor.key}"})
    assert (missing.status_code, missing.json()["error"]["status"]) == (403, "PERMISSION_DENIED")
    wrong = await ask(vendor, {"contents": [USER]}, model=OLD, headers={"x-goog-api-key": "wrong"})
    assert (wrong.status_code, wrong.json()["error"]["details"][0]["reason"]) == (400, "API_KEY_INVALID")
    assert orjson.loads(missing.content)["error"]["code"] == 403
