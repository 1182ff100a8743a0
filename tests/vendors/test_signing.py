"""A signature is good for one text, at one place, after one prefix, at one vendor."""

from __future__ import annotations

from base64 import b64decode, b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.vendors.signing import Signer, canonical


@given(text=st.text(), place=st.integers(0, 99), prefix=st.text())
def test_good(text: str, place: int, prefix: str) -> None:
    signature = Signer("a").sign(text, place=place, prefix=prefix)
    assert Signer("a").check(signature, text, place=place, prefix=prefix) == "good"
    assert Signer("a").check(signature, text, place=place) == "good"


@given(text=st.text(), bit=st.integers(0, 8 * 39 - 1))
def test_every_bit_matters(text: str, bit: int) -> None:
    signer = Signer("a")
    raw = bytearray(b64decode(signer.sign(text)))
    raw[bit // 8] ^= 1 << bit % 8
    assert signer.check(b64encode(bytes(raw)).decode(), text, prefix="") != "good"


@pytest.mark.parametrize(
    ("signed", "place", "prefix", "verdict"),
    [("text ", 0, "p", "altered"), ("text", 1, "p", "misplaced"), ("text", 0, "q", "other_prefix")],
)
def test_bad(signed: str, place: int, prefix: str, verdict: str) -> None:
    signer = Signer("a")
    assert signer.check(signer.sign("text", prefix="p"), signed, place=place, prefix=prefix) == verdict


def test_other_vendors_and_other_things() -> None:
    signature = Signer("a").sign("text")
    assert Signer("b").check(signature, "text") == "altered"
    assert Signer("a").check("oa1.anthropic.AbCd", "text") == "undecodable"
    assert Signer("a").check(b64encode(b"skip_thought_signature_validator").decode(), "text") == "undecodable"


def test_no_two_are_alike() -> None:
    signer = Signer("a")
    assert signer.sign("text") != signer.sign("text")


def test_canonical_json_knows_no_order() -> None:
    assert canonical({"b": 1, "a": ["é"]}) == canonical({"a": ["é"], "b": 1}) == '{"a":["é"],"b":1}'
