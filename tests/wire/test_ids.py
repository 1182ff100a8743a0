from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oneapi_mw.wire.ids import (
    anthropic_id,
    made_id,
    mistral_id,
    openai_id,
    packed_signature,
    synthetic_id,
    unique_id,
    without_composite,
)

ANTHROPIC = re.compile(r"[A-Za-z0-9_-]+")


@pytest.mark.parametrize("legal", ["toolu_01", "call_1", "a-b", "x" * 200])
def test_legal_ids_stay(legal: str) -> None:
    assert anthropic_id(legal) == legal


def test_an_illegal_id_keeps_what_people_recognise() -> None:
    replaced = anthropic_id("functions.get_weather:0")
    assert replaced.startswith("functionsget_weather0_")
    assert len(replaced) <= 40
    assert replaced == anthropic_id("functions.get_weather:0")
    assert replaced != anthropic_id("functions.get_weather:1")


def test_limits() -> None:
    long = "call_" + "x" * 100
    assert len(anthropic_id(long, limit=64)) == 40
    assert len(openai_id(long)) == 40
    assert len(openai_id("x" * 41, limit=40)) == 40
    assert openai_id("any text: even ä") == "any text: even ä"


@given(st.text())
def test_replacements_are_legal_and_stable(call_id: str) -> None:
    assert ANTHROPIC.fullmatch(anthropic_id(call_id))
    assert anthropic_id(anthropic_id(call_id)) == anthropic_id(call_id)
    assert 0 < len(openai_id(call_id)) <= 64
    assert re.fullmatch(r"[A-Za-z0-9]{9}", mistral_id(call_id))
    assert mistral_id(mistral_id(call_id)) == mistral_id(call_id)


@given(st.text(), st.text())
def test_different_ids_stay_different(one: str, other: str) -> None:
    assert (anthropic_id(one) == anthropic_id(other)) == (one == other)
    assert (mistral_id(one) == mistral_id(other)) == (one == other)


def test_synthetic_ids_depend_on_their_place() -> None:
    assert synthetic_id(0, 1, "f") == synthetic_id(0, 1, "f")
    assert (
        len({synthetic_id(0, 1, "f"), synthetic_id(1, 1, "f"), synthetic_id(0, 1, "g"), synthetic_id(0, 11, "f")}) == 4
    )
    assert re.fullmatch(r"call_[0-9a-f]{24}", synthetic_id("a", 2))


def test_unique_ids() -> None:
    assert unique_id("a", set()) == "a"
    assert unique_id("a", {"a"}) == "a_2"
    assert unique_id("a", {"a", "a_2"}) == "a_3"


def test_composite_ids_are_cut() -> None:
    assert without_composite("call_1|fc_2") == "call_1"
    assert without_composite("call_1__thought__AbC=") == "call_1"
    assert without_composite("call_1") == "call_1"
    assert without_composite("|fc_2") == "|fc_2"
    assert packed_signature("call_1__thought__AbC=") == "AbC="
    assert packed_signature("call_1") is None


def test_made_ids() -> None:
    assert re.fullmatch(r"msg_[A-Za-z0-9]{24}", made_id("msg_", "r1", 24))
    assert re.fullmatch(r"resp_[0-9a-f]{48}", made_id("resp_", "r1", 48, hexadecimal=True))
    assert made_id("msg_", "r1", 24) == made_id("msg_", "r1", 24) != made_id("msg_", "r2", 24)
