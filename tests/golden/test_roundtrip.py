"""What a wire can say comes back as it was; what it cannot is written down, in `docs/conversion.md` too.

With `ONEAPI_WRITE_CONVERSION=1` the run writes that page.
"""

from __future__ import annotations

import os
from dataclasses import fields, is_dataclass, replace
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oneapi_mw.canonical.call import Outside
from oneapi_mw.canonical.request import Request
from oneapi_mw.errors import InvalidRequest
from oneapi_mw.jsontext import dumps
from oneapi_mw.models.catalogue import rules_of
from oneapi_mw.wire.registry import get_format
from oneapi_mw.wire.target import Target
from tests.golden.expressible import ROWS, Row, apart, made
from tests.golden.expressible_answers import ANSWER_ROWS
from tests.golden.notation import WIRES

LETTERS = {name: letter for letter, name in WIRES.items()}
MODELS = {"anthropic_messages": "claude-opus-4-6", "gemini": "gemini-3-flash"}
PAGE = Path(__file__).parents[2] / "docs" / "conversion.md"


def says(row: Row, wire: str) -> bool:
    return LETTERS[wire] in row.said


def again(request: Request) -> Request:
    """`request` written in its own wire and read back."""
    wire = get_format(request.format)
    target = Target("m", rules_of(MODELS.get(wire.name, "gpt-5.6")), wire.vendor, official=True, provider="openai")
    encoded = wire.encode_request(request, target)
    action = "streamGenerateContent" if request.stream.on else "generateContent"
    path = f"/v1beta/models/m:{action}" if wire.name == "gemini" else ""
    headers = [(name.encode(), value.encode()) for name, value in encoded.headers]
    call = wire.decode_call(dumps(encoded.body), operation="chat", outside=Outside(path, headers=headers))
    return sorted_betas(wire.decode_request(call))


def sorted_betas(request: Request) -> Request:
    return replace(request, betas=tuple(sorted(set(request.betas))))


@pytest.mark.parametrize(("row", "wire"), list(product(ROWS, WIRES.values())), ids=str)
def test_each_row_is_true(row: Row, wire: str) -> None:
    request = sorted_betas(made(wire, [row]))
    try:
        same = again(request) == request
    except InvalidRequest:
        same = False
    assert same == says(row, wire)
    assert same or row.why


@pytest.mark.parametrize("wire", WIRES.values())
@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_what_a_wire_can_say_comes_back(wire: str, data: st.DataObject) -> None:
    sayable = [row for row in ROWS if says(row, wire)]
    rows = data.draw(st.lists(st.sampled_from(sayable), unique_by=str, max_size=20))
    request = sorted_betas(made(wire, apart(rows, wire)))
    assert again(request) == request


# Every field of a request has a row.

WHOLE = ("turns", "system", "tools", "tool_choice", "output", "reasoning", "audio", "image")
"""Whose parts have rows of their own."""


def paths() -> set[str]:
    found = {"stream.on"}
    for entry in fields(Request):
        value = getattr(Request("", ""), entry.name)
        inner = fields(value) if is_dataclass(value) else ()
        found |= {f"{entry.name}.{part.name}" for part in inner} or {entry.name}
    return found - {"format", "model"}


def test_every_field_of_a_request_has_a_row() -> None:
    known = {path for row, wire in product(ROWS, WIRES.values()) for path in row.values(wire)}
    assert set(WHOLE) < known
    assert paths() == known


# The page.

TITLES = {"C": "Chat Completions", "R": "Responses", "A": "Messages", "G": "generateContent"}
INTRODUCTION = """\
# What each wire format cannot say

A request goes through one model that is richer than any wire format. Each row is something a request can hold; a dash
says that the format's own form of it comes back as it was. Where it does not, the row tells what becomes of it; a
client reads the names of what was left out or said by other means in `X-Oneapi-Dropped`. Written by
`ONEAPI_WRITE_CONVERSION=1 pytest tests/golden/test_roundtrip.py`; what is here is tested there.

"""


ANSWERS = """
## Answers

`whole` says that it comes back of a whole answer and not of a stream, `stream` the other way round. Ids, states and
what an answer repeats of its request are each format's own.

"""


def table(head: str, rows: list[list[str]]) -> str:
    lines = [[head, *TITLES.values(), "Otherwise"], ["---"] * (len(TITLES) + 2), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def page() -> str:
    asked = [[row.name, *("-" if letter in row.said else "no" for letter in TITLES), row.why] for row in ROWS]
    said = [
        [row.name, *(CELLS[row.comes_back(x, stream=False), row.comes_back(x, stream=True)] for x in TITLES), row.why]
        for row in ANSWER_ROWS
    ]
    lost = [[line for line in rows if set(line[1:-1]) != {"-"}] for rows in (asked, said)]
    return INTRODUCTION + table("Request", lost[0]) + ANSWERS + table("Answer", lost[1])


CELLS = {(True, True): "-", (True, False): "whole", (False, True): "stream", (False, False): "no"}


def test_the_page_tells_the_same() -> None:
    if os.environ.get("ONEAPI_WRITE_CONVERSION"):
        PAGE.write_text(page())
    assert PAGE.read_text() == page()
