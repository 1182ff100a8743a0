from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oneapi_mw.wire.arguments import (
    ArgumentsFilter,
    TextUnwrapper,
    answer_object,
    arguments_text,
    escaped,
    history_object,
    parsed,
    partial_object,
    text_for_clients,
    unwrapped_text,
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
json_objects = st.dictionaries(st.text(max_size=4), json_values, max_size=3)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("  \n", {}),
        ("null", {}),
        ('{"a": 1}', {"a": 1}),
        ('{"a":1} and so on', {"a": 1}),
        ('{}{"a":1}', {"a": 1}),
        ('"{\\"a\\":1}"', {"a": 1}),
        ("[1,2]", {"input": [1, 2]}),
        ("7", {"input": 7}),
        ('"words"', {"input": "words"}),
        ("{a: 1}", {"_malformed_arguments": "{a: 1}"}),
        ('{"a":', {"_malformed_arguments": '{"a":'}),
        ('{"id":12345678901234567890123}', {"id": 12345678901234567890123}),
    ],
)
def test_answer_objects(text: str, expected: object) -> None:
    assert answer_object(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a":1,"b":', {"a": 1}),
        ('{"a":1,"b":"unfinis', {"a": 1}),
        ('{"a":[1,2,{"b":"x"', {"a": [1, 2, {"b": "x"}]}),
        ('{"a":"x","b":tr', {"a": "x"}),
        ('{"a":"x"', {"a": "x"}),
        ('{"a', {}),
        ("{", {}),
        ('{"a":{"b":[', {"a": {"b": []}}),
        ('{"a":"x\\"}', {}),
    ],
)
def test_what_is_certain_of_a_cut_object(text: str, expected: object) -> None:
    assert answer_object(text, cut=True) == expected


@given(json_objects, st.data())
def test_every_beginning_of_an_object_can_be_read(value: dict[str, Any], data: st.DataObject) -> None:
    text = json.dumps(value)
    part = partial_object(text[: data.draw(st.integers(0, len(text)))])
    assert set(part) <= set(value)
    assert partial_object(text) == value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("null", {}),
        ('{"a":1}', {"a": 1}),
        ("not json", {"_raw": "not json"}),
        ("[1]", {"value": [1]}),
        ('"x"', {"value": "x"}),
        ("[" * 5000, {"_raw": "[" * 5000}),
        ("1" * 17 + "[" * 5000, {"_raw": "1" * 17 + "[" * 5000}),
    ],
)
def test_cv_18_history_objects(text: str, expected: object) -> None:
    assert history_object(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", "{}"), (" null ", "{}"), ('{}{"a":1}', '{"a":1}'), ('{"a":1}', '{"a":1}'), ("{}", "{}"), ("oops", "oops")],
)
def test_text_for_clients(text: str, expected: str) -> None:
    assert text_for_clients(text) == expected


@given(json_objects)
def test_objects_cross_as_text(value: dict[str, Any]) -> None:
    assert parsed(arguments_text(value)) == value
    assert history_object(arguments_text(value)) == answer_object(arguments_text(value)) == value


def test_objects_are_written_compactly_and_in_their_order() -> None:
    assert arguments_text({"b": "ä", "a": [1]}) == '{"b":"ä","a":[1]}'
    assert arguments_text(None) == "{}"


def pieces_of(data: st.DataObject, text: str) -> list[str]:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    return [text[a:b] for a, b in pairwise([0, *cuts, len(text)])]


def filtered(pieces: list[str], *, cut: bool = False) -> str:
    through = ArgumentsFilter()
    return "".join([*map(through.feed, pieces), through.close(cut=cut)])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "{}"),
        ('{"a": "}"}', '{"a": "}"}'),
        ('{"a":"\\"}"} trailing', '{"a":"\\"}"}'),
        ('{}{"a":1}', '{"a":1}'),
        (' { } {"a":[{}]}', '{"a":[{}]}'),
        ("{}", "{}"),
        ("{} junk", "{}"),
        ("[1]", '{"input":[1]}'),
        ('"{\\"a\\":1}"', '{"a":1}'),
        ("nonsense", '{"_malformed_arguments":"nonsense"}'),
        ('{"a":1', '{"a":1'),
    ],
)
@given(data=st.data())
def test_filter(text: str, expected: str, data: st.DataObject) -> None:
    assert filtered(pieces_of(data, text)) == expected


def test_the_filter_passes_on_what_came() -> None:
    through = ArgumentsFilter()
    assert [through.feed(piece) for piece in ('{"x":', "1}", "{}")] == ['{"x":', "1}", ""]
    assert through.close() == ""


@given(st.text(), st.data())
def test_wrapped_text_comes_back_from_every_cut(text: str, data: st.DataObject) -> None:
    for wrapped in (json.dumps({"input": text}), '{"input":"' + escaped(text) + '"}'):
        unwrapper = TextUnwrapper()
        assert "".join([*map(unwrapper.feed, pieces_of(data, wrapped)), unwrapper.close()]) == text
        assert unwrapped_text(wrapped) == text


@pytest.mark.parametrize("text", ['{"other":1}', "free text", '{"input":7}', ""])
def test_another_shape_is_the_text_itself(text: str) -> None:
    unwrapper = TextUnwrapper()
    assert unwrapper.feed(text) + unwrapper.close() == text == unwrapped_text(text)


def test_wrapped_text_streams() -> None:
    unwrapper = TextUnwrapper()
    assert [unwrapper.feed(piece) for piece in ('{"input":"a \\"b', '\\"\\', "nc\\ud83d", '\\ude00"}')] == [
        'a "b',
        '"',
        "\nc",
        "😀",
    ]


def test_cutting_apart_takes_linear_time() -> None:
    text = '{"a":[' + '"x",' * 200_000
    assert len(partial_object(text)["a"]) == 200_000


@pytest.mark.parametrize("text", ['{"n":1111111111111111111,"x":NaN}', "{'a':1}", '{"a":1}}}', '{"a":]'])
def test_text_that_only_looks_like_json(text: str) -> None:
    answer_object(text)
    partial_object(text)
    assert history_object(text) == {"_raw": text}


def test_broken_escapes_end_somewhere() -> None:
    for text in ('{"input":"a\\uZZZZb"}', '{"input":"\\ud83dx"}', '{"input":"\\ud83d\\uZZZZ"}', "{" + " " * 300):
        unwrapper = TextUnwrapper()
        assert unwrapper.feed(text) + unwrapper.close()


def test_arguments_that_are_text_already() -> None:
    assert arguments_text('{"a": 1}') == '{"a": 1}'
