"""Which public tokenizer counts a model's text, and by how much the model's own differs from it.

OpenAI's encodings are public and exact. Everybody else's count is o200k_base times a factor: closer than any
estimate from lengths, which is off by two on JSON and on Cyrillic.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

from oneapi_mw.immutable import immutable
from oneapi_mw.models.names import forms_of
from oneapi_mw.models.rules import ModelRules

EncodingName: TypeAlias = Literal["o200k_base", "cl100k_base"]

_CL100K = ("gpt-4", "gpt-3.5", "gpt-35", "text-embedding-", "davinci-002", "babbage-002")
"""OpenAI's names up to 2024. Names that merely begin alike are in `_NOT_CL100K`."""
_NOT_CL100K = ("gpt-4o", "gpt-4.")

_PERCENT: Mapping[str, int] = {"openai": 100, "gpt-oss": 100, "claude": 120}
"""Of the count in o200k_base. Claude 3 to 4.6: 16 % more for prose, 21 % for mathematics, 30 % for code (published
comparison of GPT-4o and Claude 3.5, 2025-05)."""
_CLAUDE_NEW = (4, 7)
_CLAUDE_NEW_PERCENT = 155
"""Claude 4.7 and newer: about 30 % more than the ones before (https://platform.claude.com/docs/en/build-with-claude/
token-counting, 2026-11)."""
_OTHERS_PERCENT = 110
"""Vocabularies of 128,000 to 262,000 entries: a little less dense than OpenAI's 200,000."""


@immutable
class Scale:
    """How to count a model's text: tokens in `encoding`, times `percent` / 100."""

    encoding: EncodingName
    percent: int = 100

    def scaled(self, tokens: int) -> int:
        return -(-tokens * self.percent // 100)


def scale_of(model: str, rules: ModelRules) -> Scale:
    """How to count text for `model`, whose rules are `rules`. A name nobody knows counts like OpenAI's newest."""
    name = forms_of(model)[0]
    if name.startswith(_CL100K) and not name.startswith(_NOT_CL100K):
        return Scale("cl100k_base")
    if rules.family == "claude" and rules.version >= _CLAUDE_NEW:
        return Scale("o200k_base", _CLAUDE_NEW_PERCENT)
    return Scale("o200k_base", _PERCENT.get(rules.family, _OTHERS_PERCENT if rules.known else 100))
