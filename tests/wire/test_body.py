"""Bodies of clients: parsed within limits, refused in words that say what to change."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oneapi_mw.errors import InvalidJson, InvalidRequest, RequestTooLarge
from oneapi_mw.wire.body import MAX_DEPTH, check_model, may_repeat, parse_object, unrepeated


@pytest.mark.parametrize(
    ("raw", "where"),
    [
        (b"", "line 1 column 1"),
        (b"{", "line 1 column 2"),
        (b'{"a":1,}', "line 1 column 7"),
        (b'{\n"a": NaN}', "line 2 column 6"),
        (b'{"a":Infinity}', "line 1 column 6"),
        (b'{"a":1e999}', "line 1"),
        (b'{"a":"\xff"}', "line 1"),
        (b'\xef\xbb\xbf{"a":1}', "line 1 column 1"),
        (b'{"a":1}{"a":2}', "line 1 column 8"),
        (b"{'a':1}", "line 1 column 2"),
        (b'{"a":"\\ud83d","b":NaN}', "line 1"),
        (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "line 1"),
        (b'{"b":"\\ud83d","a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "line 1"),
    ],
    ids=range(13),
)
def test_what_is_not_json_is_told_by_its_place(raw: bytes, where: str) -> None:
    with pytest.raises(InvalidJson) as caught:
        parse_object(raw)
    assert where in caught.value.message
    assert caught.value.message.endswith("Send one JSON object in UTF-8")


@pytest.mark.parametrize("raw", [b"[]", b"null", b'"x"', b"5", b"true"])
def test_only_objects_are_requests(raw: bytes) -> None:
    with pytest.raises(InvalidRequest, match="must be a JSON object"):
        parse_object(raw)


def test_halves_of_characters_are_accepted() -> None:
    assert parse_object(b'{"a":"x\\ud83d"}') == {"a": "x\ud83d"}


def nested(levels: int) -> bytes:
    return b'{"a":' + b"[" * (levels - 1) + b"]" * (levels - 1) + b"}"


def test_depth_is_bounded() -> None:
    parse_object(nested(MAX_DEPTH))
    with pytest.raises(InvalidJson, match="nested deeper than 64 levels"):
        parse_object(nested(MAX_DEPTH + 1))


def test_many_brackets_are_not_depth() -> None:
    assert len(parse_object(b'{"a":[' + b"[]," * 1000 + b"[]]}")["a"]) == 1001


def test_elements_are_bounded() -> None:
    with pytest.raises(RequestTooLarge, match="more than 200000 elements"):
        parse_object(b'{"a":[' + b"1," * 200_001 + b"1]}")
    text = b'{"a":"' + b'{,\\"' * 200_001 + b'"}'
    assert len(parse_object(text)["a"]) == 3 * 200_001


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b'{"model":"a","x":1}', False),
        (b'{"model":"a","model":"b"}', True),
        (b'{"model":"a","x":{"model":"b"}}', True),
        (b'{"model":"a","x":"\\"model\\""}', False),
        (b'{"model":"a","mod\\u0065l":"b"}', True),
        (b'{"model":"a","mod\\u006Cl":"b"}', True),
        (b'{"model":"a","x":"\\u00e9"}', False),
    ],
)
def test_keys_that_may_repeat(raw: bytes, expected: bool) -> None:
    assert may_repeat(raw, (b'"model"',)) is expected


@given(st.lists(st.sampled_from([b"model", b"mode\\u006c", b"\\u006dodel", b"models", b"x"]), min_size=2, max_size=4))
def test_a_repeated_key_is_never_overlooked(keys: list[bytes]) -> None:
    raw = b"{" + b",".join(b'"%s":1' % key for key in keys) + b"}"
    spelled = [orjson.loads(b'"%s"' % key) for key in keys]
    if spelled.count("model") > 1:
        assert may_repeat(raw, (b'"model"',))


_MODEL = (b'"model"',)
_MEMBERS = st.tuples(
    st.sampled_from([b"model", b"mode\\u006c", b"x", b"\\u0022y"]),
    st.sampled_from([b"1", b'"a"', b'"\\u0022"', b'"\\\\u0022"', b'"\\""', b'{"model": 2}', b'["", ""]']),
)


@pytest.mark.parametrize(
    ("raw", "kept"),
    [
        (b'{"model": "a", "x": 1.00}', True),
        (b'{"model": "a", "x": {"model": "b"}}', True),
        (b'{"model": "a", "x": "\\u00e9\\u0022"}', True),
        (b'{"model": "a", "model": "b"}', False),
        (b'{"model": "a", "mod\\u0065l": "b"}', False),
        (b'{"model": "a", "model": "\\u0022\\u0022\\u0022\\u0022"}', False),
        (b'{"model": "a", "x": "\\u0022", "model": 1, "y": "\\u0022"}', False),
    ],
)
def test_bytes_pass_unless_a_key_is_repeated(raw: bytes, kept: bool) -> None:
    written = orjson.dumps(orjson.loads(raw))
    assert unrepeated(raw, written, _MODEL) == (raw if kept else written)
    assert unrepeated(None, written, _MODEL) == written


@given(st.lists(_MEMBERS, min_size=1, max_size=5))
def test_bytes_with_a_repeated_key_never_pass(members: list[tuple[bytes, bytes]]) -> None:
    raw = b"{" + b", ".join(b'"%s": %s' % member for member in members) + b"}"
    spelled = [orjson.loads(b'"%s"' % key) for key, _ in members]
    written = orjson.dumps(orjson.loads(raw))
    if spelled.count("model") > 1:
        assert unrepeated(raw, written, _MODEL) == written


@pytest.mark.parametrize("model", ["gpt-4o", "a/b:c@d", "模型", "x" * 256])
def test_models(model: str) -> None:
    assert check_model(model, code="c") == model


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (None, "model is required: name the model to use"),
        ("", "model is required: name the model to use"),
        (5, "model must be a string"),
        (["gpt-4o"], "model must be a string"),
        (" x", "printable text without spaces around it"),
        ("a\nb", "printable"),
        ("a\u202eb", "printable"),
        ("a\ud83d", "printable"),
        ("x" * 257, "at most 256 bytes"),
        ("é" * 129, "at most 256 bytes"),
    ],
)
def test_models_that_are_none(model: object, says: str) -> None:
    with pytest.raises(InvalidRequest, match=says) as caught:
        check_model(model, code="c")
    assert caught.value.param == "model"
