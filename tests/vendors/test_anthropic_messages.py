"""The Messages stand-in works with the official SDK, and refuses what Anthropic refuses."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anthropic
import pytest

from tests.vendors.anthropic_messages import AnthropicMessages
from tests.vendors.app import Json, Vendor
from tests.vendors.direct import ask, credentials, refusal, two_calls
from tests.vendors.media import PNG
from tests.vendors.scripting import Call, Citation, Fault, Scripted, Tokens
from tests.vendors.server import vendor_server

MODEL = "claude-haiku-4-5"
NEW = "claude-opus-5-5"
USER = {"role": "user", "content": "hello"}
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
STRICT = {**CITY, "additionalProperties": False}
THINKS: dict[str, Any] = {"thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 4096}


def tool(name: str = "get_weather", schema: Json = CITY, **more: Any) -> Any:
    return {"name": name, "input_schema": schema, **more}


@pytest.fixture(scope="module")
async def served() -> AsyncIterator[Vendor]:
    async with vendor_server("anthropic_messages") as vendor:
        yield vendor


@pytest.fixture
async def vendor(served: Vendor) -> Vendor:
    served.script = None
    return served


@pytest.fixture
async def client(vendor: Vendor) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with anthropic.AsyncAnthropic(base_url=vendor.url, api_key=vendor.key, max_retries=0) as sdk:
        yield sdk


async def say(client: anthropic.AsyncAnthropic, streams: bool, **body: Any) -> Any:
    body = {"model": MODEL, "max_tokens": 1000, "messages": [USER], **body}
    if not streams:
        return await client.messages.create(**body)
    async with client.messages.stream(**body) as stream:
        return await stream.get_final_message()


@pytest.mark.parametrize("streams", [False, True])
async def test_echo(client: anthropic.AsyncAnthropic, vendor: Vendor, streams: bool) -> None:
    answer = await say(client, streams, system="Be brief.")
    assert answer.content[0].text == "You said: hello."
    assert (answer.stop_reason, answer.usage.input_tokens, answer.usage.output_tokens) == ("end_turn", 3, 3)
    assert Tokens(3, 3) in vendor.ledger.values()


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("model", [MODEL, NEW])
async def test_tool_loop_with_thinking(
    client: anthropic.AsyncAnthropic, vendor: Vendor, streams: bool, model: str
) -> None:
    vendor.script = two_calls
    thinks = THINKS if model == MODEL else {"thinking": {"type": "adaptive", "display": "summarized"}}
    tools = [tool(), tool("get_time", {"type": "object", "properties": {"zone": {"type": "string"}}})]
    first = await say(client, streams, model=model, tools=tools, **thinks)
    assert [block.type for block in first.content] == ["thinking", "text", "tool_use", "tool_use"]
    assert first.content[0].thinking == "I was asked: hello"
    assert first.content[2].input == {"city": "Oslo"}
    said = [block.to_dict() for block in first.content]
    results = [{"type": "tool_result", "tool_use_id": block["id"], "content": "7"} for block in said[2:]]
    messages = [USER, {"role": "assistant", "content": said}, {"role": "user", "content": results}]
    second = await say(client, streams, model=model, tools=tools, messages=messages, **thinks)
    assert second.content[-1].text == "Both said: 7 and 7"


async def test_thinking_without_text(client: anthropic.AsyncAnthropic) -> None:
    answer = await say(client, False, model=NEW)
    assert answer.content[0].thinking == ""
    messages = [USER, {"role": "assistant", "content": [block.to_dict() for block in answer.content]}, USER]
    assert (await say(client, False, model=NEW, messages=messages)).content[1].text == "You said: hello."


async def test_script(client: anthropic.AsyncAnthropic, vendor: Vendor) -> None:
    vendor.script = [
        Scripted(refusal="No."),
        Scripted(text="See there.", citations=[Citation("https://e.org", "E", 4, 9)]),
        Scripted(text="Hi", usage=Tokens(100, 9, cached=64, written=16, reasoning=4)),
    ]
    refused = await say(client, False)
    assert (refused.stop_reason, refused.content[0].text) == ("refusal", "No.")
    cited = await say(client, True)
    assert cited.content[0].citations[0].url == "https://e.org"
    counted = (await say(client, True)).usage
    assert (counted.input_tokens, counted.cache_read_input_tokens, counted.cache_creation_input_tokens) == (20, 64, 16)


async def test_limits(client: anthropic.AsyncAnthropic) -> None:
    cut = await say(client, True, max_tokens=2)
    assert (cut.content[0].text, cut.stop_reason) == ("You said: ", "max_tokens")
    stopped = await say(client, False, stop_sequences=["hello"])
    assert (stopped.stop_reason, stopped.stop_sequence) == ("stop_sequence", "hello")


async def test_image_and_structured_output(client: anthropic.AsyncAnthropic) -> None:
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
    seen = await say(client, False, messages=[{"role": "user", "content": [image, {"type": "text", "text": "look"}]}])
    assert seen.content[0].text == "You said: look. I see image/png."
    wanted = await say(client, False, output_config={"format": {"type": "json_schema", "schema": STRICT}})
    assert wanted.content[0].text == '{"city":"city"}'


async def test_count_tokens(client: anthropic.AsyncAnthropic) -> None:
    counted = await client.messages.count_tokens(model=MODEL, messages=[{"role": "user", "content": "one two"}])
    assert counted.input_tokens == 2


async def test_faults(client: anthropic.AsyncAnthropic, vendor: Vendor) -> None:
    vendor.script = [Fault(), Fault(after=4), Fault(after=4, cut=True)]
    with pytest.raises(anthropic.APIStatusError) as caught:
        await say(client, False)
    assert caught.value.status_code == 529
    with pytest.raises(anthropic.APIStatusError, match="overloaded"):
        await say(client, True)
    assert (await say(client, True)).stop_reason is None


def text(words: str, **more: Any) -> Json:
    return {"type": "text", "text": words, **more}


def use(identity: str = "toolu_1") -> Json:
    return {"type": "tool_use", "id": identity, "name": "get_weather", "input": {}}


def result(identity: str = "toolu_1", **more: Any) -> Json:
    return {"type": "tool_result", "tool_use_id": identity, "content": "7 C", **more}


def turns(*contents: Any, first: str = "user", **more: Any) -> Json:
    """Alternating messages, with a tool declared."""
    roles = ["user", "assistant"] if first == "user" else ["assistant", "user"]
    messages = [{"role": roles[place % 2], "content": content} for place, content in enumerate(contents)]
    return {"messages": messages, "tools": [tool()], **more}


def output(schema: Json) -> Json:
    return {"output_config": {"format": {"type": "json_schema", "schema": schema}}}


def image(**source: Any) -> Json:
    return {"type": "image", "source": source}


MARK = {"cache_control": {"type": "ephemeral"}}
HOUR = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
FORCED = {"tools": [tool()], "tool_choice": {"type": "any"}}
THOUGHT = {"type": "thinking", "thinking": "x", "signature": "c2lnbmF0dXJl"}
PROPERTY = {"type": "object", "additionalProperties": False, "properties": {"n": {"type": "integer", "minimum": 1}}}

REFUSED: list[tuple[str, Json, str]] = [
    ("no max_tokens", {"max_tokens": None}, "max_tokens: Input should be a valid integer"),
    ("unknown field", {"seed": 1}, "seed: Extra inputs are not permitted"),
    ("unknown field in a block", turns([text("x", foo=1)]), "messages.0.content.0.foo: Extra inputs are not permitted"),
    ("unknown field in a tool", {"tools": [tool(parameters={})]}, "tools.0.parameters: Extra inputs are not permitted"),
    ("beta field without its header", {"context_management": {"edits": []}}, "context_management: Extra inputs"),
    ("wrong role", {"messages": [{"role": "tool", "content": "x"}]}, "messages.0.role: Input should be 'user'"),
    ("system turn of an older model", {"messages": [USER, {"role": "system", "content": "x"}]}, "messages.1.role"),
    ("no messages", {"messages": []}, "at least one message is required"),
    ("assistant first", turns("x", "y", first="assistant"), 'first message must use the "user" role'),
    ("unknown model", {"model": "gpt-4o"}, "model: gpt-4o"),
    ("more than the model says", {"max_tokens": 99_999}, "maximum allowed number of output tokens"),
    ("temperature above one", {"temperature": 1.5}, "temperature: range: 0..1"),
    ("temperature and top_p", {"temperature": 0.5, "top_p": 0.5}, "cannot both be specified"),
    ("temperature of a new model", {"model": NEW, "temperature": 0.5}, "`temperature` is deprecated"),
    ("top_k of a new model", {"model": NEW, "top_k": 5}, "`top_k` is deprecated"),
    ("temperature while thinking", {**THINKS, "temperature": 0.5}, "may only be set to 1"),
    ("top_k while thinking", {**THINKS, "top_k": 5}, "`top_k` must be unset"),
    ("small budget", {"thinking": {"type": "enabled", "budget_tokens": 512}}, "greater than or equal to 1024"),
    ("budget above the limit", {**THINKS, "max_tokens": 1024}, "`max_tokens` must be greater than"),
    ("budget of a new model", {**THINKS, "model": NEW}, '"thinking.type.enabled" is not supported'),
    ("adaptive of an old model", {"thinking": {"type": "adaptive"}}, '"thinking.type.adaptive" is not supported'),
    ("off where it cannot be", {"model": NEW, "thinking": {"type": "disabled"}}, '"thinking.type.disabled" is not'),
    ("effort of an old model", {"output_config": {"effort": "low"}}, "does not support the effort parameter"),
    ("effort the model lacks", {"model": "claude-sonnet-4-6", "output_config": {"effort": "xhigh"}}, "'xhigh' is not"),
    (
        "calm only",
        {"model": "claude-haiku-5-5", "thinking": {"type": "disabled"}, "output_config": {"effort": "max"}},
        "at effort 'max'",
    ),
    ("white space as stop", {"stop_sequences": ["\n"]}, "must contain non-whitespace"),
    ("address as user", {"metadata": {"user_id": "a@example.com"}}, "email address"),
    ("format of an old model", {"model": "claude-opus-4-1", **output(STRICT)}, "does not support output format"),
    ("open schema", output(CITY), "'additionalProperties' must be explicitly set to false"),
    ("keyword in a schema", output(PROPERTY), "properties.n: For 'integer' type, property 'minimum' is not supported"),
    ("type list", output({"type": ["object", "null"]}), "must be a single type"),
    (
        "circle",
        output(
            {
                "$ref": "#/$defs/a",
                "$defs": {
                    "a": {"type": "object", "additionalProperties": False, "properties": {"b": {"$ref": "#/$defs/a"}}}
                },
            }
        ),
        "Circular reference",
    ),
    ("strict tool", {"tools": [tool(strict=True)]}, "'additionalProperties' must be explicitly"),
    ("tool without type", {"tools": [tool(schema={"properties": {}})]}, "input_schema.type: Field required"),
    ("tool with a union", {"tools": [tool(schema={"type": "object", "anyOf": [CITY]})]}, "at the top level"),
    ("tool name", {"tools": [tool("get weather")]}, "tools.0.custom.name: String should match"),
    ("tool twice", {"tools": [tool(), tool()]}, "Tool names must be unique."),
    ("choice without tools", {"tool_choice": {"type": "auto"}}, "only be specified while providing tools"),
    ("unknown choice", {"tools": [tool()], "tool_choice": {"type": "tool", "name": "x"}}, "Tool 'x' not found"),
    ("forced while thinking", {**THINKS, **FORCED}, "may not be enabled when tool_choice forces"),
    ("forced where it cannot be", {"model": NEW, **FORCED}, '"tool_choice.type.any" is not supported'),
    ("five marks", turns([text("x", **MARK) for _ in range(5)]), "Found 5."),
    ("mark on nothing", turns([text("", **MARK)]), "cannot be set for empty text blocks"),
    ("long mark after a short one", turns([text("x", **MARK), text("y", **HOUR)]), "must not come after"),
    ("empty system text", {"system": [text("")]}, "system: text content blocks must be non-empty"),
    ("empty text", turns([text("")]), "messages: text content blocks must be non-empty"),
    ("white space", turns([text(" \n")]), "must contain non-whitespace text"),
    ("white space as a string", turns("  "), "must contain non-whitespace text"),
    ("no content", turns([], "x", "y"), "must have non-empty content"),
    (
        "prefill of a newer model",
        turns("x", "y", model="claude-sonnet-4-6"),
        "does not support assistant message prefill",
    ),
    ("prefill while thinking", turns("x", "y", **THINKS), "must end with a `user` message"),
    ("prefill that ends in space", turns("x", "y "), "cannot end with trailing whitespace"),
    ("call of a user", turns([use()]), "can only be in `assistant` messages"),
    ("image of an assistant", turns("x", [image(type="url", url="https://e.org/a.png")], "y"), "can only be in `user`"),
    ("image by http", turns([image(type="url", url="http://e.org/a.png")]), "Only HTTPS URLs"),
    (
        "image of another type",
        turns([image(type="base64", media_type="image/jpeg", data=PNG)]),
        "appears to be a image/png",
    ),
    (
        "image that is none",
        turns([image(type="base64", media_type="image/png", data="aGk=")]),
        "Could not process image",
    ),
    (
        "call without result",
        turns("x", [use()], "y"),
        "were found without `tool_result` blocks immediately after: toolu_1",
    ),
    ("call at the end", turns("x", [use()]), "were found without `tool_result` blocks"),
    ("one of two results", turns("x", [use(), use("b")], [result()]), "immediately after: b"),
    ("result behind words", turns("x", [use()], [text("y"), result()]), "were found without `tool_result` blocks"),
    ("result without call", turns("x", "y", [result()]), "unexpected `tool_use_id` found"),
    ("result twice", turns("x", [use()], [result(), result()]), "Found multiple `tool_result` blocks"),
    ("call id twice", turns("x", [use()], [result()], [use()], [result()]), "`tool_use` ids must be unique"),
    ("call id with a dot", turns("x", [use("a.b")], [result("a.b")]), "String should match pattern"),
    ("error without words", turns("x", [use()], [result(content="", is_error=True)]), "content cannot be empty if"),
    ("calls without tools", {**turns("x", [use()], [result()]), "tools": []}, "must define tools"),
    ("unsigned thinking", turns("x", [{"type": "thinking", "thinking": "x"}], "y"), "signature: Field required"),
    ("foreign signature", turns("x", [THOUGHT, text("y")], "z"), "Invalid `signature` in `thinking` block"),
    (
        "loop without thinking",
        turns("x", [use()], [result()], **THINKS),
        "Expected `thinking` or `redacted_thinking`, but found `tool_use`",
    ),
]


@pytest.mark.parametrize(("body", "words"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
async def test_refused(body: Json, words: str) -> None:
    error = await refusal(AnthropicMessages(), {"model": MODEL, "max_tokens": 2000, "messages": [USER], **body})
    assert words in error["message"]


async def test_output_limit_is_required() -> None:
    error = await refusal(AnthropicMessages(), {"model": MODEL, "messages": [USER]})
    assert error == {"type": "invalid_request_error", "message": "max_tokens: Field required"}


async def thought(vendor: Vendor, model: str = MODEL) -> tuple[Json, list[Json]]:
    """A request whose answer thinks and calls, and the history it leads to."""
    vendor.script = [Scripted(tool_calls=[Call("get_weather", {"city": "Oslo"})])]
    thinks = (
        THINKS if model == MODEL else {"max_tokens": 2000, "thinking": {"type": "adaptive", "display": "summarized"}}
    )
    body = {"model": model, "messages": [USER], "tools": [tool()], "system": "Be brief.", **thinks}
    content = (await ask(vendor, body)).json()["content"]
    results = [result(content[-1]["id"])]
    return body, [USER, {"role": "assistant", "content": content}, {"role": "user", "content": results}]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda blocks: blocks[0].update(thinking=blocks[0]["thinking"] + " "), "Invalid `signature`"),
        (lambda blocks: blocks[0].update(signature="A" + blocks[0]["signature"][1:]), "Invalid `signature`"),
        (lambda blocks: blocks.pop(0), "Expected `thinking`"),
        (lambda blocks: blocks.insert(0, text("Hm.")), "Expected `thinking`"),
        (lambda blocks: blocks.insert(0, dict(blocks[0])), "cannot be modified"),
    ],
    ids=["text", "signature", "missing", "moved", "twice"],
)
async def test_thinking_comes_back_as_it_was(change: Any, words: str) -> None:
    vendor = AnthropicMessages()
    body, messages = await thought(vendor)
    assert (await ask(vendor, {**body, "messages": messages})).status_code == 200
    change(messages[1]["content"])
    assert words in (await refusal(vendor, {**body, "messages": messages}))["message"]


@pytest.mark.parametrize(
    "change", [{"system": "Be long."}, {"tools": [tool(description="Now")]}], ids=["system", "tools"]
)
async def test_newer_models_bind_thinking_to_its_prefix(change: Json) -> None:
    vendor = AnthropicMessages()
    body, messages = await thought(vendor, NEW)
    assert (await ask(vendor, {**body, "messages": messages})).status_code == 200
    error = await refusal(vendor, {**body, "messages": messages, **change})
    assert "bound to a different conversation" in error["message"]
    old, messages = await thought(vendor)
    assert (await ask(vendor, {**old, "messages": messages, **change})).status_code == 200


async def test_thinking_of_another_prefix_is_dropped_where_that_is_asked_for() -> None:
    vendor = AnthropicMessages()
    body, messages = await thought(vendor, NEW)
    binding = {"prefix_mismatch_behavior": "drop_block"}
    body = {
        **body,
        "messages": messages,
        "system": "Be long.",
        "thinking": {"type": "adaptive", "block_binding": binding},
    }
    assert "Extra inputs are not permitted" in (await refusal(vendor, body))["message"]
    headers = {**credentials(vendor), "anthropic-beta": "thinking-binding-controls-2026-08-01"}
    assert (await ask(vendor, body, headers=headers)).status_code == 200
    assert vendor.requests[-1].notes == ["mismatch"]
    messages[1]["content"][0]["signature"] = "B" + messages[1]["content"][0]["signature"][1:]
    assert "Invalid `signature`" in (await refusal(vendor, body, headers=headers))["message"]


async def test_credentials() -> None:
    vendor = AnthropicMessages()
    body = {"model": MODEL, "max_tokens": 10, "messages": [USER]}
    for headers in ({}, {"authorization": "Bearer wrong"}, {"x-api-key": "wrong"}):
        assert (await ask(vendor, body, headers=headers)).status_code == 401
    error = await refusal(vendor, body, headers={"x-api-key": vendor.key})
    assert error["message"] == "anthropic-version: header is required"
    assert (await ask(vendor, body, path="/v1/chat/completions")).status_code == 404


async def test_beta_fields_with_their_header() -> None:
    vendor = AnthropicMessages()
    headers = {**credentials(vendor), "anthropic-beta": "context-management-2025-06-27"}
    edits = {"edits": [{"type": "clear_tool_uses_20250919"}]}
    body = {"model": MODEL, "max_tokens": 10, "messages": [USER], "context_management": edits}
    assert (await ask(vendor, body, headers=headers)).status_code == 200
