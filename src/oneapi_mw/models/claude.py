"""Claude, by Anthropic. Source of each row: the pages named in it and the types of the `anthropic` package 2.14."""

from __future__ import annotations

import re
from dataclasses import replace

from oneapi_mw.models.family import Family, Row
from oneapi_mw.models.rules import ModelRules

_THINKING = "https://platform.claude.com/docs/en/build-with-claude/thinking"
_MODELS = "https://platform.claude.com/docs/en/about-claude/models/overview"
_LOW_TO_MAX = ("low", "medium", "high", "xhigh", "max")

# Temperature and top_p together are refused from 4.1 on and worth nothing before: never both.
_BEFORE_THINKING = ModelRules(
    family="claude",
    thinking="none",
    signatures="none",
    max_output=4096,
    sampling="one_of",
    structured="none",
    strict_tools=False,
    source=_MODELS,
    as_of="2026-11",
)
_MANUAL = replace(
    _BEFORE_THINKING,
    thinking="manual",
    thinking_off="omit",
    signatures="required",
    min_budget=1024,
    max_output=64_000,
    forced_tool="not_with_thinking",
    prefill="not_with_thinking",
    source=_THINKING,
)
_4_5 = replace(_MANUAL, structured="native", strict_tools=True)
_4_6 = replace(
    _4_5,
    thinking="adaptive",
    also_manual=True,
    efforts=("low", "medium", "high", "max"),
    default_effort="high",
    prefill="no",
)
_4_7 = replace(
    _4_6,
    also_manual=False,
    min_budget=0,
    efforts=_LOW_TO_MAX,
    shows_thinking=False,
    sampling="fixed",
    keeps_default_temperature=True,
    max_output=128_000,
)
_4_8 = replace(_4_7, forced_tool="yes", system_between=True)
_5 = replace(_4_8, thinks_unasked=True, thinking_off="disabled", binds_to=frozenset({"model"}))
_ALWAYS = replace(_5, thinking_off="lowest")
_BOUND = replace(_ALWAYS, forced_tool="no", binds_to=frozenset({"model", "prefix"}))

_ROWS = (
    Row(("claude-2*", "claude-v2*", "claude-1*", "claude-instant*"), replace(_BEFORE_THINKING, version=(2,))),
    Row(("claude-3-haiku", "claude-3-sonnet", "claude-3-opus"), _BEFORE_THINKING),
    Row(
        ("claude-3-5-haiku", "claude-3-5-sonnet", "claude-3.5-haiku", "claude-3.5-sonnet"),
        replace(_BEFORE_THINKING, max_output=8192),
    ),
    Row(("claude-3-7-sonnet", "claude-3.7-sonnet"), _MANUAL),
    Row(("claude-sonnet-4", "claude-4-sonnet", "claude-sonnet-4-0"), _MANUAL),
    Row(("claude-opus-4", "claude-4-opus", "claude-opus-4-0"), replace(_MANUAL, max_output=32_000)),
    Row(("claude-opus-4-1", "claude-opus-4.1"), replace(_MANUAL, max_output=32_000)),
    Row(("claude-sonnet-4-5", "claude-sonnet-4.5"), _4_5),
    Row(("claude-haiku-4-5", "claude-haiku-4.5"), _4_5),
    # Effort needs the beta `effort-2025-11-24`; a budget says the same without it.
    Row(("claude-opus-4-5", "claude-opus-4.5"), replace(_4_5, efforts=("low", "medium", "high"))),
    Row(("claude-opus-4-6", "claude-opus-4.6"), replace(_4_6, max_output=128_000)),
    Row(("claude-sonnet-4-6", "claude-sonnet-4.6"), _4_6),
    Row(("claude-opus-4-7", "claude-opus-4.7"), _4_7),
    Row(("claude-opus-4-8", "claude-opus-4.8"), _4_8),
    Row(("claude-opus-5",), replace(_5, off_up_to="high")),
    Row(("claude-sonnet-5",), _5),
    Row(("claude-fable-5",), _ALWAYS),
    Row(("claude-mythos-5",), _ALWAYS),
    Row(("claude-mythos-preview",), _ALWAYS),
    Row(("claude-fable-5-1", "claude-fable-5.1"), _BOUND),
    Row(("claude-mythos-5-1", "claude-mythos-5.1"), _BOUND),
    Row(("claude-fable-5-2", "claude-fable-5.2"), _BOUND),
    Row(("claude-mythos-5-2", "claude-mythos-5.2"), _BOUND),
    # The first of its version is what a line nobody knows inherits: the one that refuses most.
    Row(("claude-opus-5-5", "claude-opus-5.5"), replace(_BOUND, default_effort="medium")),
    Row(
        ("claude-sonnet-5-5", "claude-sonnet-5.5"),
        replace(
            _BOUND,
            thinking_off="between_tools",
            off_up_to="high",
            binds_to=frozenset({"model", "prefix", "account"}),
        ),
    ),
    Row(
        ("claude-haiku-5-5", "claude-haiku-5.5"),
        replace(
            _5,
            default_effort="medium",
            off_up_to="high",
            binds_to=frozenset({"prefix", "account"}),
        ),
    ),
)

FAMILIES = (
    Family(
        # claude-3-7-sonnet, claude-opus-4-20250514, claude-opus-4.5, claude-opus: the digits of a date are no version
        _ROWS,
        re.compile(r"claude\b(?:-[a-z]+)*(?:-v?(?P<major>\d{1,2})(?:[-.](?P<minor>\d{1,2}))?(?=$|-|\.))?"),
        lines=("opus", "sonnet", "haiku", "fable", "mythos", "instant"),
    ),
)
