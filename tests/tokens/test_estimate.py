"""Token estimates: monotonous, cheap, and on the safe side for prompts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oneapi_mw.tokens.estimate import (
    IMAGE_TOKENS,
    MAX_FILE_TOKENS,
    audio_tokens,
    estimate_tokens,
    file_tokens,
    image_tokens,
    json_tokens,
    text_tokens,
)


@pytest.mark.parametrize(("text_bytes", "tokens"), [(0, 0), (1, 1), (3, 1), (4, 2), (7, 2), (8, 3), (350, 100)])
def test_output_is_two_tokens_in_seven_bytes(text_bytes: int, tokens: int) -> None:
    assert estimate_tokens(text_bytes) == tokens


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("", 0), ("a", 1), ("abc", 1), ("abcd", 2), ("\u4f60\u597d", 3), ("\xe9", 1), ("\ud800", 2)],
)
def test_prompts(text: str, tokens: int) -> None:
    assert text_tokens(text) == tokens


@given(st.text(), st.text())
def test_more_text_is_never_less(first: str, second: str) -> None:
    assert 0 <= text_tokens(first) <= text_tokens(first + second) + 1


@pytest.mark.parametrize(
    ("detail", "tokens"),
    [("low", 100), ("high", 1600), (None, 1600), ("odd", 1600), (5, 1600), ([], 1600), ("original", 10_000)],
)
def test_images(detail: object, tokens: int) -> None:
    assert image_tokens(detail) == tokens
    assert IMAGE_TOKENS["auto"] == IMAGE_TOKENS["high"]


def test_sound_and_files() -> None:
    assert (audio_tokens(0), audio_tokens(4000)) == (1, 11)
    assert (file_tokens(0), file_tokens(400), file_tokens(10**9)) == (1, 101, MAX_FILE_TOKENS)


def test_json() -> None:
    assert json_tokens({"a": [1, 2]}) == 4
