"""The client's side of generateContent: paths, what is checked, and what goes on to an upstream unchanged."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from oneapi_mw.canonical.blocks import Text
from oneapi_mw.canonical.call import Call, Outside
from oneapi_mw.canonical.request import FunctionTool, Request, Turn
from oneapi_mw.canonical.response import Response
from oneapi_mw.errors import InvalidJson, InvalidRequest
from oneapi_mw.models.catalogue import rules_of
from oneapi_mw.types import JsonObject
from oneapi_mw.usage import Usage
from oneapi_mw.wire.gemini import FORMAT
from oneapi_mw.wire.gemini.content import PLACEHOLDER
from oneapi_mw.wire.target import ConversionOptions, Target, target_for

HI: list[JsonObject] = [{"role": "user", "parts": [{"text": "Hi"}]}]


def decode(
    body: JsonObject | bytes | None = None,
    *,
    path: str = "/v1beta/models/m:generateContent",
    query: bytes = b"",
    operation: str = "chat",
) -> Call:
    raw = body if isinstance(body, bytes) else orjson.dumps(body if body is not None else {"contents": HI})
    return FORMAT.decode_call(raw, operation=operation, outside=Outside(path, query))


@pytest.mark.parametrize(
    ("path", "operation"),
    [
        ("/v1beta/models/m:generateContent", "chat"),
        ("/v1/models/m:streamGenerateContent", "chat"),
        ("/v1beta/models/deepseek/r1:8b:generateContent", "chat"),
        ("/v1beta/models/m:countTokens", "count_tokens"),
        ("/v1beta/tunedModels/t:generateContent", "chat"),
        ("/v1beta/models/m:embedContent", None),
        ("/v1beta/models/m", None),
        ("/v1beta/models/:generateContent", None),
        ("/v1/chat/completions", None),
        ("/v2/models/m:generateContent", None),
        ("/v1beta/models/m:generateContent/", None),
    ],
)
def test_paths(path: str, operation: str | None) -> None:
    assert FORMAT.operation_at(path) == operation


@pytest.mark.parametrize(
    ("path", "model", "stream"),
    [
        ("/v1beta/models/m:generateContent", "m", False),
        ("/v1/models/m:streamGenerateContent", "m", True),
        ("/v1beta/models/deepseek/r1:8b:streamGenerateContent", "deepseek/r1:8b", True),
        ("/v1beta/tunedModels/t:generateContent", "tunedModels/t", False),
    ],
)
def test_the_model_and_the_stream_are_in_the_path(path: str, model: str, stream: bool) -> None:
    call = decode(path=path)
    assert (call.model, call.stream, call.format, call.usage_wanted) == (model, stream, "gemini", True)


def test_a_body_that_came_to_another_path_names_its_model() -> None:
    assert decode({"model": "models/x", "contents": HI}, path="/v1/chat/completions").model == "x"
    with pytest.raises(InvalidRequest, match="model is required"):
        decode(path="/v1/chat/completions")


@pytest.mark.parametrize(
    ("operation", "model", "stream", "path"),
    [
        ("chat", "m", False, "/v1beta/models/m:generateContent"),
        ("chat", "m", True, "/v1beta/models/m:streamGenerateContent?alt=sse"),
        ("chat", "models/m", False, "/v1beta/models/m:generateContent"),
        ("chat", "tunedModels/t", True, "/v1beta/tunedModels/t:streamGenerateContent?alt=sse"),
        ("count_tokens", "m", False, "/v1beta/models/m:countTokens"),
    ],
)
def test_upstream_paths(operation: str, model: str, stream: bool, path: str) -> None:
    assert FORMAT.upstream_path(operation, model=model, stream=stream) == path


def test_an_operation_it_does_not_have() -> None:
    with pytest.raises(KeyError):
        FORMAT.upstream_path("images", model="m", stream=False)


@pytest.mark.parametrize("spelling", ["generationConfig", "generation_config"])
def test_limits(spelling: str) -> None:
    names = (
        ("maxOutputTokens", "candidateCount")
        if spelling == "generationConfig"
        else (
            "max_output_tokens",
            "candidate_count",
        )
    )
    call = decode({"contents": HI, spelling: {names[0]: 50, names[1]: 2}})
    assert (call.max_output, call.candidates) == (100, 2)
    assert decode({"contents": HI, spelling: {names[0]: 0}}).max_output is None


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "contents"),
        ({"contents": []}, "contents"),
        ({"contents": "Hi"}, "contents"),
        ({"contents": [3]}, "contents[0]"),
        ({"contents": [{"role": "user"}]}, "contents[0].parts"),
        ({"contents": [{"parts": ["Hi"]}]}, "contents[0].parts[0]"),
        ({"contents": HI, "generationConfig": []}, "generationConfig"),
        ({"contents": HI, "generationConfig": {}, "generation_config": {}}, "generationConfig"),
        ({"contents": HI, "generationConfig": {"maxOutputTokens": "9"}}, "generationConfig.maxOutputTokens"),
        ({"contents": HI, "generationConfig": {"maxOutputTokens": -1}}, "generationConfig.maxOutputTokens"),
        ({"contents": HI, "generationConfig": {"candidateCount": 9}}, "generationConfig.candidateCount"),
        ({"contents": HI, "generationConfig": {"temperature": 3}}, "generationConfig.temperature"),
    ],
)
def test_what_is_wrong_is_named(body: JsonObject, param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        decode(body)
    assert caught.value.param == param


def test_what_is_no_json() -> None:
    with pytest.raises(InvalidJson):
        decode(b"{oops")


def test_the_estimate_grows_with_the_prompt() -> None:
    parts: list[Any] = [{"text": "x" * 300}]
    small = decode({"contents": [{"parts": [{"text": "x"}]}]}).input_estimate
    large = decode({"contents": [{"parts": parts}]}).input_estimate
    assert large - small == pytest.approx(100, abs=2)
    for part in (
        {"inlineData": {"mimeType": "image/png", "data": "A"}},
        {"inline_data": {"mime_type": "audio/wav", "data": "A" * 4000}},
        {"inlineData": {"mimeType": "application/pdf", "data": "A" * 400}},
        {"fileData": {"fileUri": "gs://x"}},
        {"functionCall": {"name": "f", "args": {"a": "b" * 60}}},
    ):
        assert decode({"contents": [{"parts": [*parts, part]}]}).input_estimate > large
    tools = [{"functionDeclarations": [{"name": "f"}]}]
    assert decode({"contents": [{"parts": parts}], "tools": tools}).input_estimate > large


# Onwards.


def prepared(call: Call, target: Target | None = None) -> bytes:
    return FORMAT.prepare_upstream(call, target=target or target_for("up"), include_usage=True).body


@pytest.mark.parametrize(
    "raw",
    [
        b'{"contents": [{"role":"user","parts":[{"text":"Hi"}]}], "new_field": 1.0}',
        b'{"contents":[{"role":"user","parts":[{"text":"Hi \\u00e9"}]},{"role":"model","parts":[{"text":"x"}]},'
        b'{"role":"user","parts":[{"text":"y"}]}]}',
        b'{"contents":[{"parts":[{"text":"say \\"generationConfig\\" twice: \\"generationConfig\\""}]}] }',
    ],
)
def test_cv_01_the_clients_own_bytes_go_on(raw: bytes) -> None:
    assert prepared(decode(raw)) == raw


@pytest.mark.parametrize(
    "raw",
    [
        b'{"contents":[{"parts":[{"text":"a"}]}],"generationConfig":{"maxOutputTokens":1,"maxOutputTokens":9}}',
        b'{"contents":[{"parts":[{"text":"a"}]}],"generationConfig":{"max\\u004futputTokens":9}}',
        b'{"contents":[{"parts":[{"text":"a"}]}],"serviceTier":"flex","serviceTier":"priority"}',
    ],
)
def test_keys_that_may_be_repeated_are_written_anew(raw: bytes) -> None:
    call = decode(raw)
    assert prepared(call) == orjson.dumps(call.body)


def test_a_model_in_the_body_is_the_one_in_the_path() -> None:
    call = decode({"model": "models/m", "contents": HI})
    assert orjson.loads(prepared(call)) == {"model": "models/up", "contents": HI}
    assert call.body["model"] == "models/m"
    same = decode(b'{"model": "models/up", "contents": [{"parts":[{"text":"a"}]}]}')
    assert prepared(same) == same.raw


def test_a_changed_body_is_written() -> None:
    call = decode().with_body({"contents": HI, "tools": []})
    assert prepared(call) == orjson.dumps(call.body)


# Calls whose signature the client lost.

GEMINI_3 = Target("up", rules_of("gemini-3-flash-preview"))
ANSWERED: JsonObject = {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {}}}]}


def called(**more: Any) -> JsonObject:
    return {"functionCall": {"name": "f", "args": {"x": 1.50}}, **more}


def stepped(*parts: JsonObject) -> list[JsonObject]:
    return [{"role": "model", "parts": list(parts)}, ANSWERED]


def body_of(*steps: list[JsonObject]) -> bytes:
    return orjson.dumps({"contents": [*HI, *(content for step in steps for content in step)]}) + b" "


def signatures(contents: list[JsonObject]) -> list[list[str | None]]:
    return [[part.get("thoughtSignature") for part in content["parts"]] for content in contents]


def test_cv_56_a_lost_signature_gets_the_placeholder_on_the_first_call_of_each_step() -> None:
    steps = (
        stepped({"text": "Hm."}, called(), called()),
        stepped(called(thoughtSignature="Ci4B"), called()),
        stepped(called(thoughtSignature="")),
    )
    call = decode(body_of(*steps))
    sent = orjson.loads(prepared(call, GEMINI_3))["contents"]
    assert signatures(sent[1::2]) == [[None, PLACEHOLDER, None], ["Ci4B", None], [PLACEHOLDER]]
    assert signatures(call.body["contents"][1:2]) == [[None, None, None]]
    for content in sent[1::2]:
        for part in content["parts"]:
            part.pop("thoughtSignature", None)
    for part in (part for step in steps for part in step[0]["parts"]):
        part.pop("thoughtSignature", None)
    assert sent == [*HI, *(content for step in steps for content in step)]


def test_cv_56_in_either_spelling() -> None:
    part = {"function_call": {"name": "f"}, "thought_signature": None}
    sent = orjson.loads(prepared(decode(body_of(stepped(part))), GEMINI_3))["contents"]
    assert sent[1]["parts"] == [{"function_call": {"name": "f"}, "thoughtSignature": PLACEHOLDER}]
    raw = body_of(stepped({"function_call": {"name": "f"}, "thought_signature": "Ci4B"}))
    assert prepared(decode(raw), GEMINI_3) == raw


def test_cv_56_what_was_sent_does_not_change_when_the_history_grows() -> None:
    steps = [stepped(called()), stepped(called()), [{"role": "model", "parts": [{"text": "7 C"}]}, *HI]]
    sent = [
        orjson.loads(prepared(decode(body_of(*steps[:count])), GEMINI_3))["contents"]
        for count in range(1, len(steps) + 1)
    ]
    assert sent[1][: len(sent[0])] == sent[0]
    assert sent[2][: len(sent[1])] == sent[1]


@pytest.mark.parametrize(
    "target",
    [
        target_for("up"),
        Target("up", rules_of("gemini-2.5-flash")),
        Target("up", rules_of("claude-opus-4-5")),
        Target("up", GEMINI_3.rules, options=ConversionOptions(strict_passthrough=True)),
    ],
    ids=["unknown", "2.5", "claude", "strict"],
)
def test_cv_56_cv_57_no_placeholder_for_others(target: Target) -> None:
    raw = body_of(stepped(called()))
    assert prepared(decode(raw), target) == raw


@pytest.mark.parametrize(
    "raw",
    [
        body_of([{"role": "model", "parts": [{"text": "functionCall"}]}, *HI]),
        body_of(stepped(called(thoughtSignature="Ci4B"), called())),
    ],
    ids=["no calls", "signed"],
)
def test_cv_01_bodies_that_lost_nothing_stay_as_they_are(raw: bytes) -> None:
    assert prepared(decode(raw), GEMINI_3) == raw


# Counting.

COUNT = "/v1beta/models/m:countTokens"


@pytest.mark.parametrize("name", ["generateContentRequest", "generate_content_request"])
def test_counting_reads_the_request_inside(name: str) -> None:
    inner = {"model": "models/m", "contents": HI, "systemInstruction": {"parts": [{"text": "S"}]}}
    call = decode({name: inner}, path=COUNT, operation="count_tokens")
    request = FORMAT.decode_request(call)
    assert request.turns == (Turn("user", (Text("Hi"),)),)
    assert request.system[0].text == "S"
    assert orjson.loads(prepared(call))[name]["model"] == "models/up"


def test_counting_for_another_format() -> None:
    asked = Request("anthropic_messages", "x", (Turn("user", (Text("Hi"),)),), tools=(FunctionTool("f"),))
    call = decode(path=COUNT, operation="count_tokens")
    body = orjson.loads(FORMAT.encode_call(asked, call, target=target_for("up")).body)
    assert body["generateContentRequest"]["model"] == "models/up"
    assert body["generateContentRequest"]["tools"] == [{"functionDeclarations": [{"name": "f"}]}]
    vertex = orjson.loads(FORMAT.encode_call(asked, call, target=Target("up", platform="vertex")).body)
    assert set(vertex) == {"contents", "tools"}


def test_counting_needs_no_signatures() -> None:
    raw = body_of(stepped(called()))
    assert prepared(decode(raw, path=COUNT, operation="count_tokens"), GEMINI_3) == raw


def test_the_answer_of_counting() -> None:
    assert FORMAT.decode_response({"totalTokens": 7}) == Response(usage=Usage(7))
    assert FORMAT.read_usage({"totalTokens": 7, "cachedContentTokenCount": 3}) == Usage(7, cache_read=3)
    call = decode(path=COUNT, operation="count_tokens")
    assert FORMAT.encode_response(Response(usage=Usage(7)), call) == {"totalTokens": 7}
    assert FORMAT.encode_response(Response(), call) == {"totalTokens": 0}
