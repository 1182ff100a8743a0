"""Answers to converted requests, changed back."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from oneapi_mw.canonical.blocks import Text, ToolCall
from oneapi_mw.canonical.events import ArgumentsDelta, BlockEnded, BlockStarted, Event, Finished, TextDelta
from oneapi_mw.canonical.fold import unfold
from oneapi_mw.canonical.request import CustomTool, FunctionTool, Request
from oneapi_mw.canonical.response import Candidate, Response
from oneapi_mw.wire.names import OPENAI_NAMES, NameMap, tool_names
from oneapi_mw.wire.restore import NOTHING, Restoration, Restorer, restoration_of_tools, restored
from oneapi_mw.wire.schema import Emulation


def answer(*blocks: Any, finish: Any = "tool_calls") -> Response:
    return Response(candidates=(Candidate(blocks, finish),))


def call_events(name: str, *deltas: str) -> list[Event]:
    return [
        BlockStarted(0, 0, "tool_call", call_id="c", name=name),
        *(ArgumentsDelta(0, 0, text) for text in deltas),
        BlockEnded(0, 0, ToolCall("c", name, "".join(deltas))),
    ]


def test_nothing_to_restore() -> None:
    response = answer(ToolCall("c", "f", "{}"))
    assert not NOTHING
    assert restored(response, NOTHING) is response
    assert Restorer(NOTHING).feed(unfold(response)) == unfold(response)


def test_what_a_request_has_renamed() -> None:
    request = Request("openai_responses", "m", tools=(FunctionTool("a.b"), FunctionTool("f", namespace="ns")))
    names = NameMap(tool_names(request), OPENAI_NAMES)
    restoration = restoration_of_tools(request, names, wrapped=["a_b"])
    assert restoration == Restoration(
        names={"a_b": "a.b", "ns__f": "f"}, namespaces={"ns__f": "ns"}, wrapped=frozenset({"a_b"})
    )
    custom = Request("openai_chat", "m", tools=(CustomTool("c.d"),))
    names = NameMap(tool_names(custom), OPENAI_NAMES)
    assert restoration_of_tools(custom, names).custom == frozenset({"c_d"})
    assert restoration_of_tools(custom, names, custom=False).custom == frozenset()


def test_names_come_back() -> None:
    restoration = Restoration(names={"a_b": "a.b", "ns__f": "f"}, namespaces={"ns__f": "ns"})
    blocks = (ToolCall("1", "a_b", "{}"), ToolCall("2", "ns__f", "{}"), ToolCall("3", "other", "{}"))
    assert restored(answer(*blocks), restoration).candidates[0].blocks == (
        ToolCall("1", "a.b", "{}"),
        ToolCall("2", "f", "{}", namespace="ns"),
        ToolCall("3", "other", "{}"),
    )
    started = Restorer(restoration).feed(call_events("a_b"))[0]
    assert started == BlockStarted(0, 0, "tool_call", call_id="c", name="a.b")


def test_free_text_comes_out_as_it_comes() -> None:
    restorer = Restorer(Restoration(names={"c_d": "c.d"}, custom=frozenset({"c_d"})))
    assert restorer.feed(call_events("c_d", '{"input": "a \\"', 'b\\"\\', 'nc"}')) == [
        BlockStarted(0, 0, "tool_call", call_id="c", name="c.d", tool="custom"),
        ArgumentsDelta(0, 0, 'a "'),
        ArgumentsDelta(0, 0, 'b"'),
        ArgumentsDelta(0, 0, "\nc"),
        BlockEnded(0, 0, ToolCall("c", "c.d", 'a "b"\nc', "custom")),
    ]


def test_another_shape_is_the_text_itself() -> None:
    restoration = Restoration(custom=frozenset({"c"}))
    (call,) = restored(answer(ToolCall("1", "c", '{"other":1}')), restoration).candidates[0].blocks
    assert call == ToolCall("1", "c", '{"other":1}', "custom")


@given(value=st.recursive(st.none() | st.integers() | st.text(), lambda inner: st.lists(inner)), data=st.data())
def test_wrapped_parameters_come_out_of_every_cut(value: Any, data: st.DataObject) -> None:
    text = json.dumps({"value": value})
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    deltas = [text[a:b] for a, b in pairwise([0, *cuts, len(text)])]
    events = Restorer(Restoration(wrapped=frozenset({"f"}))).feed(call_events("f", *deltas))
    said = "".join(event.text for event in events if isinstance(event, ArgumentsDelta))
    ended = events[-1]
    assert isinstance(ended, BlockEnded)
    assert isinstance(ended.content, ToolCall)
    assert json.loads(said) == json.loads(ended.content.arguments) == value


def test_cv_77_the_answer_that_came_as_a_tool() -> None:
    restoration = Restoration(Emulation("json_tool_call"))
    response = restored(answer(ToolCall("1", "json_tool_call", '{"n":4}')), restoration)
    assert response.candidates == (Candidate((Text('{"n":4}'),), "stop"),)
    events = Restorer(restoration).feed([*call_events("json_tool_call", '{"n":', "4}"), Finished(0, "tool_calls")])
    assert [event.text for event in events if isinstance(event, TextDelta)] == ['{"n":', "4}"]
    assert events[-1] == Finished(0, "stop")
