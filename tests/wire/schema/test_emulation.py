"""Structured output where a target has none: wrapping, fences, and the way back."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oneapi_mw.canonical.blocks import Reasoning, ReasoningOpaque, ReasoningText, Text, ToolCall
from oneapi_mw.canonical.events import ArgumentsDelta, BlockEnded, BlockStarted, Event, Finished, TextDelta
from oneapi_mw.canonical.fold import unfold
from oneapi_mw.canonical.response import Candidate, Response
from oneapi_mw.wire.schema import (
    AnswerRestorer,
    Emulation,
    Unfencer,
    Unwrapper,
    from_openapi,
    instruction,
    json_tool_name,
    object_root,
    restore_response,
    unwrap_text,
    wrap,
)

TEXT = {"type": "string"}


def through(machine: Unwrapper | Unfencer, text: str, cuts: list[int]) -> str:
    edges = [0, *sorted(cuts), len(text)]
    return "".join(machine.feed(text[start:end]) for start, end in pairwise(edges)) + machine.close()


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ('{"value":[1,2]}', "[1,2]"),
        (' {\n "value" : {"a": 1} } \n', '{"a": 1}'),
        ('{"value":"}"}', '"}"'),
        ('{"value":', '{"value":'),
        ('{"value":[1,', "[1,"),
        ('{"other":1}', '{"other":1}'),
        ("plain", "plain"),
        ("", ""),
        (" " * 300 + '{"value":1}', " " * 300 + '{"value":1}'),
    ],
)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_the_value_in_a_wrapper(text: str, want: str, data: st.DataObject) -> None:
    cuts = data.draw(st.lists(st.integers(0, len(text)), max_size=6))
    assert through(Unwrapper(), text, cuts) == want
    assert unwrap_text(text) == want


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ('```json\n{"a":1}\n```', '{"a":1}'),
        ("```\n[1]\n```\n", "[1]"),
        ("\n``` \n1```", "1"),
        ('{"a":"```"}', '{"a":"```"}'),
        ("```json\n[1", "[1"),
        ("``not a fence", "``not a fence"),
        ("a ``` b", "a ``` b"),
        ("```js `x` ```", "```js `x` ```"),
    ],
)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_one_fence_around_all(text: str, want: str, data: st.DataObject) -> None:
    cuts = data.draw(st.lists(st.integers(0, len(text)), max_size=6))
    assert through(Unfencer(), text, cuts) == want


@settings(max_examples=60, deadline=None)
@given(value=st.recursive(st.none() | st.integers(-9, 9) | st.text(), lambda inner: st.lists(inner, max_size=3)))
def test_wrapping_a_value_and_taking_it_out(value: Any) -> None:
    assert orjson.loads(unwrap_text(orjson.dumps({"value": value}).decode())) == value


def test_an_object_around_a_schema() -> None:
    schema = {"type": "array", "items": {"$ref": "#/$defs/a"}, "$defs": {"a": {"$ref": "#"}}}
    assert wrap(schema) == {
        "type": "object",
        "properties": {"value": {"type": "array", "items": {"$ref": "#/$defs/a"}}},
        "required": ["value"],
        "additionalProperties": False,
        "$defs": {"a": {"$ref": "#/properties/value"}},
    }


@pytest.mark.parametrize(
    ("schema", "want", "wrapped"),
    [
        (None, {"type": "object", "properties": {}}, False),
        ({"type": "object", "x": 1}, {"type": "object", "x": 1}, False),
        ({"properties": {}}, {"type": "object", "properties": {}}, False),
        ({"$ref": "#/$defs/a"}, {"type": "object", "$ref": "#/$defs/a"}, False),
        ({"type": ["object", "null"]}, {"type": "object"}, False),
        (TEXT, wrap(TEXT), True),
        ({"enum": ["a"]}, wrap({"enum": ["a"]}), True),
    ],
)
def test_parameters_with_an_object_at_the_root(schema: Any, want: Any, wrapped: bool) -> None:
    assert object_root(schema) == (want, wrapped)


def test_the_openapi_dialect_in_json_schema() -> None:
    schema = {
        "type": "OBJECT",
        "properties": {
            "n": {"type": "INTEGER", "nullable": True, "format": "int32"},
            "e": {"type": "STRING", "enum": ["a"], "format": "enum", "nullable": True},
            "any_of": {"any_of": [{"type": "STRING"}], "nullable": True},
        },
        "property_ordering": ["n"],
        "minProperties": "1",
    }
    assert from_openapi(schema) == {
        "type": "object",
        "properties": {
            "n": {"type": ["integer", "null"], "format": "int32"},
            "e": {"type": ["string", "null"], "enum": ["a", None]},
            "any_of": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        },
        "minProperties": 1,
    }


def test_words() -> None:
    assert instruction({"a": 1}).endswith('nothing else: {"a":1}')
    assert json_tool_name({"x"}) == "json_tool_call"
    assert json_tool_name({"json_tool_call", "json_tool_call_2"}) == "json_tool_call_3"


def run(events: list[Event], emulation: Emulation) -> list[Event]:
    machine = AnswerRestorer(emulation)
    return [restored for event in events for restored in machine.feed([event])]


def tool_call(block: int, *pieces: str, name: str = "json_tool_call") -> list[Event]:
    arguments = "".join(pieces)
    return [
        BlockStarted(0, block, "tool_call", call_id="c", name=name),
        *(ArgumentsDelta(0, block, piece) for piece in pieces),
        BlockEnded(0, block, ToolCall("c", name, arguments)),
    ]


def test_cv_77_the_input_of_the_tool_is_the_answer_as_it_comes() -> None:
    events = [*tool_call(0, '{"n"', ":4}"), Finished(0, "tool_calls")]
    assert run(events, Emulation("json_tool_call")) == [
        BlockStarted(0, 0, "text"),
        TextDelta(0, 0, '{"n"'),
        TextDelta(0, 0, ":4}"),
        BlockEnded(0, 0, Text('{"n":4}')),
        Finished(0, "stop"),
    ]


def test_cv_77_a_wrapped_answer() -> None:
    events = [*tool_call(0, '{"val', 'ue":[1', "]}"), Finished(0, "tool_calls")]
    found = run(events, Emulation("json_tool_call", wrapped=True))
    assert "".join(event.text for event in found if isinstance(event, TextDelta)) == "[1]"
    assert BlockEnded(0, 0, Text("[1]")) in found


def test_cv_77_other_calls_win() -> None:
    others = tool_call(0, "{}", name="f")
    found = run([*others, *tool_call(1, "{}"), Finished(0, "tool_calls")], Emulation("json_tool_call"))
    assert found == [*others, Finished(0, "tool_calls")]
    later = run(
        [*tool_call(0, "{}"), *tool_call(1, "{}", name="f"), Finished(0, "tool_calls")], Emulation("json_tool_call")
    )
    assert later[-1] == Finished(0, "tool_calls")


def test_cv_78_a_refusal_is_not_made_into_json() -> None:
    response = Response(candidates=(Candidate((Text("I cannot."),), "refusal"),))
    assert restore_response(response, Emulation(wrapped=True, fenced=True)) == response
    assert restore_response(response, Emulation("json_tool_call")) == response


def test_a_fenced_and_wrapped_answer_beside_reasoning() -> None:
    reasoning = Reasoning((ReasoningText("t"),), ReasoningOpaque("s", "v"))
    response = Response("r", candidates=(Candidate((reasoning, Text('```json\n{"value": 3}\n```')), "stop"),))
    restored = restore_response(response, Emulation(wrapped=True, fenced=True))
    assert restored.candidates[0].blocks == (reasoning, Text("3"))
    assert restored.id == "r"


def test_a_stream_is_restored_like_a_whole_answer() -> None:
    response = Response(candidates=(Candidate((ToolCall("c", "json_tool_call", '{"a":1}'),), "tool_calls"),))
    emulation = Emulation("json_tool_call")
    streamed = [event for event in run(unfold(response), emulation) if isinstance(event, BlockEnded)]
    assert streamed == [BlockEnded(0, 0, restore_response(response, emulation).candidates[0].blocks[0])]
