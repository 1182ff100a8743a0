"""The client's side of a Responses request: what is checked, estimated, and sent on."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from oneapi_mw.canonical.call import Call
from oneapi_mw.canonical.response import Response
from oneapi_mw.errors import InvalidJson, InvalidRequest
from oneapi_mw.usage import Usage
from oneapi_mw.wire.openai_responses import FORMAT
from oneapi_mw.wire.target import target_for
from tests.wire.openai_responses.support import Json


def call_of(body: Json | bytes) -> Call:
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    return FORMAT.decode_call(raw, operation="chat")


def sent(body: Json | bytes, model: str = "up") -> bytes:
    return FORMAT.prepare_upstream(call_of(body), target=target_for(model), include_usage=True).body


def test_what_is_read() -> None:
    call = call_of({"model": "m", "input": "Hi", "stream": True, "max_output_tokens": 20})
    assert (call.operation, call.format, call.model, call.stream) == ("chat", "openai_responses", "m", True)
    assert (call.max_output, call.candidates, call.usage_wanted) == (20, 1, True)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"input": "x"}, "model"),
        ({"model": "m"}, "input"),
        ({"model": "m", "input": 1}, "input"),
        ({"model": "m", "input": [1]}, "input[0]"),
        ({"model": "m", "input": [{"type": 1}]}, "input[0].type"),
        ({"model": "m", "input": [{"role": "user", "content": ["x"]}]}, "input[0].content[0]"),
        ({"model": "m", "input": "x", "stream": 1}, "stream"),
        ({"model": "m", "input": "x", "max_output_tokens": -1}, "max_output_tokens"),
        ({"model": "m", "input": "x", "max_output_tokens": "9"}, "max_output_tokens"),
        ({"model": "m", "input": "x", "temperature": 3}, "temperature"),
        ({"model": "m", "input": "x", "instructions": []}, "instructions"),
        ({"model": "m", "input": "x", "background": 1}, "background"),
        ({"model": "m", "input": "x", "previous_response_id": 1}, "previous_response_id"),
        ({"model": "m", "input": "x", "conversation": 1}, "conversation"),
    ],
)
def test_mistakes_are_named(body: Json, param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        call_of(body)
    assert caught.value.param == param


def test_two_states_exclude_each_other() -> None:
    with pytest.raises(InvalidRequest) as caught:
        call_of({"model": "m", "input": "x", "previous_response_id": "a", "conversation": "b"})
    assert caught.value.code == "invalid_state_selector"


def test_no_json() -> None:
    with pytest.raises(InvalidJson):
        call_of(b"{")


@pytest.mark.parametrize("state", [{"previous_response_id": "r"}, {"conversation": "c"}, {"prompt": {"id": "p"}}])
def test_state_stands_for_input(state: Json) -> None:
    assert call_of({"model": "m", **state}).model == "m"


def test_zero_is_no_limit() -> None:
    assert call_of({"model": "m", "input": "x", "max_output_tokens": 0}).max_output is None


def test_everything_the_model_reads_is_estimated() -> None:
    def estimate(**members: Any) -> int:
        return call_of({"model": "m", "input": "x", **members}).input_estimate

    def of_item(**item: Any) -> int:
        return estimate(input=[item])

    nothing = estimate()
    long = "word " * 300
    assert estimate(instructions=long) > nothing + 300
    assert estimate(input=long) > nothing + 300
    assert estimate(tools=[{"type": "function", "name": "f", "description": long}]) > nothing + 300
    assert estimate(text={"format": {"type": "json_schema", "schema": {"description": long}}}) > nothing + 300
    assert of_item(role="user", content=[{"type": "input_text", "text": long}]) > nothing + 300
    assert of_item(role="user", content=[{"type": "input_image", "image_url": "data:" + "x" * 10**5}]) < 3000
    assert of_item(role="user", content=[{"type": "input_image", "detail": "low"}]) < nothing + 200
    assert of_item(role="user", content=[{"type": "input_file", "file_id": "f"}]) > nothing + 1000
    assert of_item(role="user", content=[{"type": "input_file", "file_data": "x" * 40_000}]) > nothing + 9000
    assert of_item(role="user", content=[{"type": "input_audio", "input_audio": {"data": "x" * 40_000}}]) > nothing + 90
    assert of_item(role="user", content=[{"type": "new", "x": long}]) > nothing + 300
    assert of_item(type="function_call", call_id="c", name="f", arguments=long) > nothing + 300
    assert of_item(type="function_call_output", call_id="c", output=long) > nothing + 300
    assert of_item(type="reasoning", summary=[{"text": long}], encrypted_content="x" * 4000) > nothing + 1300


# Sent on.


ODD = b'{ "model" : "alias", "input": "x", "n": 1.10, "big": 12345678901234567890123, "u": "\\u00e9" }'


def test_cv_01_bytes_are_kept_but_for_the_model() -> None:
    assert sent(ODD, "alias") == ODD
    assert sent(ODD) == ODD.replace(b'"model" : "alias"', b'"model":"up"')


def test_repeated_keys_are_written_anew() -> None:
    repeated = b'{"model":"a","model":"b","input":"x","big":1}'
    assert orjson.loads(sent(repeated)) == {"model": "up", "input": "x", "big": 1}
    assert sent(repeated).count(b'"model"') == 1
    assert sent(repeated, "b").count(b'"model"') == 1


def test_the_model_of_a_tool_is_not_renamed() -> None:
    tool = {"type": "image_generation", "model": "gpt-image-1"}
    body = {"tools": [tool], "model": "m", "input": "x"}
    assert orjson.loads(sent(body)) == {**body, "model": "up"}


def test_a_changed_body_is_what_is_sent() -> None:
    call = call_of({"model": "m", "input": "x"}).with_body({"model": "m", "input": "y"})
    prepared = FORMAT.prepare_upstream(call, target=target_for("m"), include_usage=True)
    assert orjson.loads(prepared.body) == {"model": "m", "input": "y"}


def test_encode_call_names_the_upstream_model() -> None:
    call = call_of({"model": "m", "input": "x"})
    outgoing = FORMAT.encode_call(FORMAT.decode_request(call), call, target=target_for("up"))
    assert orjson.loads(outgoing.body)["model"] == "up"


# Counting.


def counted(**fields: Any) -> Call:
    return FORMAT.decode_call(orjson.dumps({"model": "m", **fields}), operation="count_tokens")


def test_a_count_neither_streams_nor_says_anything() -> None:
    call = counted(input="Hi", stream=True, max_output_tokens=20)
    assert (call.operation, call.stream, call.max_output) == ("count_tokens", False, 0)
    response = Response(usage=Usage(input_tokens=7))
    assert FORMAT.encode_response(response, call) == {"object": "response.input_tokens", "input_tokens": 7}
    assert FORMAT.encode_response(Response(), call)["input_tokens"] == 0
    assert FORMAT.decode_request(call).turns


@pytest.mark.parametrize("fields", [{"previous_response_id": "r"}, {"conversation": "c"}, {"prompt": {"id": "p"}}])
def test_what_is_not_known_is_not_counted(fields: Json) -> None:
    call = counted(input="Hi", **fields)
    with pytest.raises(InvalidRequest) as caught:
        FORMAT.decode_request(call)
    assert caught.value.param == next(iter(fields))
