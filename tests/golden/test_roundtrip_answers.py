"""What a wire can say in answers comes back as it was, whole and streamed; what it cannot is in the table."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oneapi_mw.canonical.fold import fold, unfold
from oneapi_mw.canonical.response import Response
from oneapi_mw.errors import UpstreamError
from oneapi_mw.wire.registry import get_format
from tests.golden.conversion import client, events_of
from tests.golden.expressible_answers import ANSWER_ROWS, AnswerRow, answer, apart, plain
from tests.golden.notation import WIRES

LETTERS = {name: letter for letter, name in WIRES.items()}


def again(wire: str, response: Response, *, stream: bool) -> Response:
    """`response` written in a wire and read back."""
    codec = get_format(wire)
    if not stream:
        return codec.decode_response(codec.encode_response(response, client(wire), request_id="req_1", created=1))
    encoder = codec.stream_encoder(client(wire), request_id="req_1", created=1)
    return fold(events_of(wire, [encoder.feed(unfold(response)) + encoder.close()]))


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(("row", "wire"), list(product(ANSWER_ROWS, WIRES.values())), ids=str)
def test_each_row_is_true(row: AnswerRow, wire: str, stream: bool) -> None:
    response = answer(wire, [row])
    try:
        same = plain(wire, again(wire, response, stream=stream)) == plain(wire, response)
    except UpstreamError:
        same = False
    assert same == row.comes_back(LETTERS[wire], stream=stream)
    assert same or row.why


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("wire", WIRES.values())
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_what_a_wire_can_say_comes_back(wire: str, stream: bool, data: st.DataObject) -> None:
    sayable = [row for row in ANSWER_ROWS if row.comes_back(LETTERS[wire], stream=stream)]
    rows = data.draw(st.lists(st.sampled_from(sayable), unique_by=str, max_size=12))
    response = answer(wire, apart(rows))
    assert plain(wire, again(wire, response, stream=stream)) == plain(wire, response)


@pytest.mark.parametrize("wire", WIRES.values())
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_stream_says_what_the_whole_answer_says(wire: str, data: st.DataObject) -> None:
    """Of everything that comes back of either."""
    letter = LETTERS[wire]
    sayable = [row for row in ANSWER_ROWS if all(row.comes_back(letter, stream=stream) for stream in (False, True))]
    rows = data.draw(st.lists(st.sampled_from(sayable), unique_by=str, max_size=12))
    response = answer(wire, apart(rows))
    whole, streamed = (again(wire, response, stream=stream) for stream in (False, True))
    assert whole.id == streamed.id
    assert plain(wire, whole) == plain(wire, streamed)
