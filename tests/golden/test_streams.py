"""The worked examples of answers: from the wire of the upstream to each client wire, event for event."""

from __future__ import annotations

from itertools import product

import orjson
import pytest

from oneapi_mw.canonical.fold import fold
from oneapi_mw.errors import UpstreamError
from oneapi_mw.wire.registry import get_format
from tests.golden.conversion import answered, comparable, events_of, relayed, streamed
from tests.golden.notation import WIRES, StreamExample, stream_examples, to_bytes

EXAMPLES = stream_examples()
FAILING = ("6.8", "6.9")
WHOLE = [example for example in EXAMPLES if example.number not in FAILING]
EVERY = list(product(EXAMPLES, WIRES.values()))


@pytest.mark.parametrize(("example", "target"), EVERY, ids=str)
def test_worked_example(example: StreamExample, target: str) -> None:
    out = streamed(example.source, target, [example.given()], estimate=example.estimate)
    assert comparable(target, out) == example.expected(target)


@pytest.mark.parametrize(("example", "target"), EVERY, ids=str)
def test_worked_example_byte_by_byte(example: StreamExample, target: str) -> None:
    given = example.given()
    pieces = [given[place : place + 1] for place in range(len(given))]
    whole = streamed(example.source, target, [given], estimate=example.estimate)
    assert streamed(example.source, target, pieces, estimate=example.estimate) == whole


@pytest.mark.parametrize("example", EXAMPLES, ids=str)
def test_between_equals_the_bytes_are_the_upstreams(example: StreamExample) -> None:
    """Where it broke off, one line says so."""
    given, out = example.given(), relayed(example.source, [example.given()])
    if example.number not in FAILING:
        assert out == given
        return
    *_, last = comparable(example.source, out)
    assert last == example.expected(example.source)[-1]
    cut = given if example.number == "6.9" else to_bytes(example.source, example.wires[example.source][:-1])
    assert out == cut + to_bytes(example.source, [last])


@pytest.mark.parametrize(("example", "wire"), list(product(WHOLE, WIRES.values())), ids=str)
def test_what_we_write_comes_back(example: StreamExample, wire: str) -> None:
    """Each wire's own writing of an example is what it is written as again."""
    given = example.expected(wire)
    found = comparable(wire, streamed(wire, wire, [to_bytes(wire, given)]))
    if (example.number, wire) == ("6.7", "anthropic_messages"):
        # a refusal in words has become a refusal like any other: Messages has one ending for both
        end = found[-2]
        assert not isinstance(end, str)
        assert end["delta"].pop("stop_details") == {"type": "refusal", "category": None, "explanation": None}
    assert found == given


@pytest.mark.parametrize(("example", "target"), list(product(WHOLE, WIRES.values())), ids=str)
def test_the_whole_answer_says_what_the_stream_says(example: StreamExample, target: str) -> None:
    response = fold(events_of(example.source, [example.given()]))
    whole = get_format(target).decode_response(answered(example.source, target, response))
    assert whole == fold(events_of(target, [streamed(example.source, target, [example.given()])]))


@pytest.mark.parametrize("example", WHOLE, ids=str)
def test_a_whole_answer_of_responses_is_the_last_word_of_its_stream(example: StreamExample) -> None:
    name = "openai_responses"
    last = example.expected(name)[-1]
    assert not isinstance(last, str)
    response = fold(events_of(example.source, [example.given()]))
    body = orjson.dumps({"type": last["type"], "response": answered(example.source, name, response)})
    found = comparable(name, b"event: %s\ndata: %s\n\n" % (last["type"].encode(), _numbered(body)))
    assert found == [{**last, "sequence_number": 0}]


def _numbered(event: bytes) -> bytes:
    return orjson.dumps({**orjson.loads(event), "sequence_number": 0})


@pytest.mark.parametrize("number", FAILING)
def test_a_failure_is_no_answer(number: str) -> None:
    example = next(example for example in EXAMPLES if example.number == number)
    with pytest.raises(UpstreamError):
        fold(events_of(example.source, [example.given()]))
