"""Objects cut out of a JSON array, lines, or whatever else strings them together."""

from __future__ import annotations

from itertools import pairwise

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oneapi_mw.wire.framing.json_stream import ObjectCutter
from oneapi_mw.wire.framing.sse import EventTooLargeError

OBJECTS = [{"a": '}"{[\\'}, {}, {"b": [{"c": "]é"}], "d": 'x\\"}'}, {"e": {"f": [1, [2]]}}]
ARRAY = b"[" + b",\r\n".join(orjson.dumps(entry, option=orjson.OPT_INDENT_2) for entry in OBJECTS) + b"\n]\n"
LINES = b"\n".join(orjson.dumps(entry) for entry in OBJECTS)


@pytest.mark.parametrize("data", [ARRAY, LINES, b"\xef\xbb\xbf" + ARRAY], ids=["array", "lines", "bom"])
@settings(max_examples=60, deadline=None)
@given(cuts=st.lists(st.integers(0, len(ARRAY)), max_size=12))
def test_split_points_do_not_matter(data: bytes, cuts: list[int]) -> None:
    cutter = ObjectCutter()
    edges = [0, *sorted(cuts), max(len(data), *cuts, 0)]
    found = [orjson.loads(entry) for start, end in pairwise(edges) for entry in cutter.feed(data[start:end])]
    assert found == OBJECTS
    assert not cutter.cut


def test_byte_by_byte() -> None:
    cutter = ObjectCutter()
    found = [orjson.loads(entry) for byte in ARRAY for entry in cutter.feed(bytes([byte]))]
    assert found == OBJECTS


def test_an_object_that_was_cut_is_known() -> None:
    for length in range(len(ARRAY)):
        cutter = ObjectCutter()
        cutter.feed(ARRAY[:length])
        assert cutter.cut is (_depth(ARRAY[:length]) > 0), length


def _depth(data: bytes) -> int:
    """Objects that are open at the end of `data`."""
    depth, quoted, escaped = 0, False, False
    for char in data.decode("latin-1"):
        if quoted:
            quoted = char != '"' or escaped
            escaped = char == "\\" and not escaped
        elif char == '"':
            quoted = True
        elif char in "{}":
            depth += 1 if char == "{" else -1
    return depth


def test_what_is_no_object_ends_it() -> None:
    cutter = ObjectCutter()
    assert cutter.feed(b'{"a":1} nonsense {"b":2}') == [b'{"a":1}']
    assert cutter.broken
    assert cutter.feed(b'{"c":3}') == []


def test_a_large_object_is_refused() -> None:
    cutter = ObjectCutter(max_object_bytes=10)
    with pytest.raises(EventTooLargeError):
        cutter.feed(b'{"a":"' + b"x" * 10)
