"""Which tokenizer counts for which model."""

from __future__ import annotations

import pytest

from oneapi_mw.models.catalogue import rules_of
from oneapi_mw.tokens.encodings import Scale, scale_of


@pytest.mark.parametrize(
    ("model", "encoding", "percent"),
    [
        ("gpt-4o", "o200k_base", 100),
        ("gpt-4o-mini-2024-07-18", "o200k_base", 100),
        ("gpt-4.1-nano", "o200k_base", 100),
        ("gpt-6.2-sol", "o200k_base", 100),
        ("o3", "o200k_base", 100),
        ("gpt-oss-120b", "o200k_base", 100),
        ("ft:gpt-4o:org::id", "o200k_base", 100),
        ("gpt-4", "cl100k_base", 100),
        ("openai/gpt-4-turbo", "cl100k_base", 100),
        ("gpt-35-turbo", "cl100k_base", 100),
        ("gpt-3.5-turbo-0125", "cl100k_base", 100),
        ("text-embedding-3-large", "cl100k_base", 100),
        ("ft:gpt-4:org::id", "cl100k_base", 100),
        ("claude-3-5-sonnet-latest", "o200k_base", 120),
        ("anthropic.claude-opus-4-6-v1:0", "o200k_base", 120),
        ("claude-opus-4-7", "o200k_base", 155),
        ("claude-sonnet-5", "o200k_base", 155),
        ("gemini-3-pro", "o200k_base", 110),
        ("deepseek-chat", "o200k_base", 110),
        ("a-name-nobody-knows", "o200k_base", 100),
        ("", "o200k_base", 100),
    ],
)
def test_encoding_and_factor(model: str, encoding: str, percent: int) -> None:
    assert scale_of(model, rules_of(model)) == Scale(encoding, percent)  # type: ignore[arg-type]


@pytest.mark.parametrize(("tokens", "scaled"), [(0, 0), (1, 2), (100, 155), (101, 157)])
def test_the_scaled_count_is_rounded_up(tokens: int, scaled: int) -> None:
    assert Scale("o200k_base", 155).scaled(tokens) == scaled
