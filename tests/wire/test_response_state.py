"""What is remembered of requests and answers, as far as it can be computed."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oneapi_mw.canonical.events import Ended, Started
from oneapi_mw.errors import InvalidRequest
from oneapi_mw.wire.response_state import (
    CONVERSATION,
    ITEM,
    RESPONSE,
    Asked,
    Kept,
    Signature,
    asked_of,
    expanded,
    is_ours,
    is_usable,
    item_ids,
    normal,
    output_items,
    own_items,
    replayed,
    resolved,
    said,
    terminal_response,
    without_bound,
)

HEX = "0123456789abcdef" * 2
REFERENCE = {"type": "item_reference", "id": "msg_1"}


@pytest.mark.parametrize(
    ("body", "asked"),
    [
        ({}, Asked(keep=True)),
        ({"store": None}, Asked(keep=True)),
        ({"store": False}, Asked()),
        ({"store": True, "background": True}, Asked()),
        ({"previous_response_id": "a"}, Asked(previous="a", keep=True)),
        ({"conversation": "c"}, Asked(conversation="c", keep=True)),
        ({"conversation": {"id": "c"}}, Asked(conversation="c", keep=True)),
        ({"input": [REFERENCE, {"role": "user", "content": "Hi"}]}, Asked(references=("msg_1",), keep=True)),
    ],
    ids=str,
)
def test_what_a_request_asks_for(body: dict[str, Any], asked: Asked) -> None:
    assert asked_of(body) == asked
    assert asked.remembers is any(name in body for name in ("previous_response_id", "conversation", "input"))


@pytest.mark.parametrize("body", [{"conversation": {}}, {"input": [{"type": "item_reference"}]}], ids=str)
def test_a_selector_that_selects_nothing(body: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest) as caught:
        asked_of(body)
    assert caught.value.code == "invalid_state_selector"
    assert caught.value.param in ("conversation.id", "input[0].id")


def test_a_body_is_said_in_full() -> None:
    body = {"model": "m", "input": "b", "previous_response_id": "a", "conversation": None, "news": 1}
    own = own_items(body)
    assert expanded(body, [{"id": "x"}], own) == {
        "model": "m",
        "news": 1,
        "input": [{"id": "x"}, {"role": "user", "content": "b"}],
    }
    assert own_items({"input": None}) == []


def test_references_that_are_known_are_put_in() -> None:
    other = {"type": "item_reference", "id": "msg_2"}
    assert resolved([REFERENCE, other], {"msg_1": {"id": "msg_1"}}) == [{"id": "msg_1"}, other]


@pytest.mark.parametrize("prefix", [RESPONSE, CONVERSATION, ITEM])
def test_our_ids(prefix: str) -> None:
    assert is_ours(prefix + HEX, prefix)
    for other in (HEX, prefix, prefix + HEX + "a", prefix + HEX[1:], prefix + HEX.upper(), prefix + HEX[:-1] + "\n"):
        assert not is_ours(other, prefix)


@pytest.mark.parametrize("value", ["", "a" * 65, "\0", "ü", "\ud800", None, 1])
def test_ids_that_are_of_no_use(value: Any) -> None:
    assert not is_usable(value)
    assert normal({"id": value, "type": "x"}, "item_1") == {"id": "item_1", "type": "x"}
    assert list(item_ids([{"id": value}, {}, {"id": "a" * 64}])) == ["a" * 64]


@pytest.mark.parametrize(
    ("item", "kept"),
    [
        (
            {"role": "user", "content": "Hi"},
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
        ),
        (
            {"role": "assistant", "content": "Hi", "status": "incomplete"},
            {
                "type": "message",
                "role": "assistant",
                "content": [{"type": "output_text", "text": "Hi", "annotations": []}],
                "status": "incomplete",
            },
        ),
        ({"type": "message", "role": "user", "content": [1]}, {"type": "message", "role": "user", "content": [1]}),
        ({"type": "reasoning", "content": "x"}, {"type": "reasoning", "content": "x"}),
    ],
)
def test_the_form_items_are_kept_in(item: dict[str, Any], kept: dict[str, Any]) -> None:
    status = {"status": "completed"} if kept["type"] == "message" else {}
    assert normal(item, "item_1") == {"id": "item_1", **status, **kept}
    assert normal({**item, "id": "msg_1"}, "item_1")["id"] == "msg_1"


def test_what_is_sent_again_has_no_ids_of_ours() -> None:
    assert replayed([{"id": ITEM + HEX, "type": "x"}, {"id": "msg_1"}, {}]) == [{"type": "x"}, {"id": "msg_1"}, {}]


def test_reasoning_at_the_end_is_not_sent_again() -> None:
    thought, text = {"type": "reasoning"}, {"type": "message"}
    assert said({"output": [thought, text, thought, thought]}) == [thought, text]
    assert said({"output": [thought]}) == []
    assert output_items({"output": [1, text]}) == [text]
    assert output_items({"output": None}) == []


def test_reasoning_that_is_looked_up_is_left_out_elsewhere() -> None:
    free, empty = {"type": "reasoning", "encrypted_content": "x"}, {"type": "reasoning", "encrypted_content": None}
    assert without_bound([free, empty, {"type": "reasoning"}, {"type": "message"}]) == [free, {"type": "message"}]


def test_a_turn_comes_back_as_it_was() -> None:
    turn = Kept([{"id": ITEM + HEX, "type": "x", "text": "\ud83d"}], {"output": [{"type": "y"}]})
    assert Kept.read(turn.written()) == turn
    assert turn.history() == [{"type": "x", "text": "\ud83d"}, {"type": "y"}]


@given(st.text(), st.sampled_from(["resp_1", 'resp_"1"', "x"]))
def test_nothing_that_was_said_is_taken_for_an_id(text: str, upstream_id: str) -> None:
    said = f'"{upstream_id}" "previous_response_id":null {text} "conversation": null'
    body = {"id": upstream_id, "previous_response_id": None, "conversation": None, "text": said}
    signature = Signature("resp_2", Asked("resp_0", "conv_0"))
    signed = orjson.loads(signature.on_bytes(orjson.dumps(body), upstream_id))
    assert signed == {**signature.on_response(body), "text": said}
    assert (signed["id"], signed["previous_response_id"], signed["conversation"]) == (
        "resp_2",
        "resp_0",
        {"id": "conv_0"},
    )


def test_without_an_id_an_answer_keeps_its_own() -> None:
    signature, body, events = Signature(None, Asked()), {"id": "a"}, [Started("a")]
    assert signature.on_response(body) == body
    assert signature.on_bytes(b'"a"', "a") == b'"a"'
    assert signature.on_events(events) is events
    assert Signature("b", Asked()).on_events([Started("a"), Ended()]) == [Started("b"), Ended()]
    assert Signature("b", Asked()).on_bytes(b'""', "") == b'""'


def test_spaces_after_colons() -> None:
    signature = Signature("b", Asked("p"))
    assert signature.on_bytes(b'{"id": "a", "previous_response_id": null}', "a") == (
        b'{"id": "b", "previous_response_id": "p"}'
    )


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        (b'data: {"type":"response.completed","response":{"id":"a"}}\n\n: bye\n\n', {"id": "a"}),
        (b'data: {"type":"response.incomplete","response":{"id":"a"}}\n\ndata: [DONE]\n\n', {"id": "a"}),
        (b'data: {"type":"response.created","response":{"id":"a"}}\n\n', None),
        (b'data: {"type":"response.completed","response":null}\n\n', None),
        (b"data: {\n\ndata: 1\n\n", None),
        (b"", None),
    ],
)
def test_the_response_in_the_last_event(raw: bytes, found: Any) -> None:
    assert terminal_response(raw) == found
