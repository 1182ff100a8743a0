"""Rules by name: every row, every way a name is written, and names that appear after the catalogue was made."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oneapi_mw.models.catalogue import families, rules_of
from oneapi_mw.models.depth import EFFORTS
from oneapi_mw.models.family import Family
from oneapi_mw.models.names import forms_of
from oneapi_mw.models.rules import UNKNOWN, ModelRules

ENTRIES = [entry for family in families() for entry in family.entries]
LOW_TO_HIGH = ("low", "medium", "high")
NONE_TO_XHIGH = ("none", "low", "medium", "high", "xhigh")
LOW_TO_MAX = ("low", "medium", "high", "xhigh", "max")
REFUSABLE = {
    *("temperature", "top_p", "top_k", "frequency_penalty", "presence_penalty", "logit_bias", "logprobs", "seed"),
    *("stop", "reasoning_effort", "verbosity", "parallel", "strict", "n", "tools", "tool_choice", "output_format"),
    *("system", "name", "images", "modalities", "prediction", "metadata", "other_tools"),
}


@pytest.mark.parametrize("family", families(), ids=lambda family: family.entries[0].pattern)
def test_rows_are_sound(family: Family) -> None:
    for entry in family.entries:
        rules = entry.rules
        assert rules.known, entry
        assert rules.source.startswith("https://"), entry
        assert re.fullmatch(r"20\d\d-\d\d", rules.as_of), entry
        assert list(rules.efforts) == sorted(rules.efforts, key=EFFORTS.index), f"lowest first: {entry}"
        assert rules.default_effort in (None, "none", *rules.efforts), entry
        assert rules.off_up_to in (None, *rules.efforts), entry
        assert rules.refuses <= REFUSABLE, entry
        assert (rules.thinking == "budget") == (rules.max_budget > 0), entry
        assert rules.thinking_off != "none" or "none" in rules.efforts, entry
        assert rules.thinking_off != "minimal" or rules.efforts[0] == "minimal", entry
        assert entry.pattern == entry.pattern.lower()


def test_no_pattern_twice() -> None:
    patterns = [entry.pattern for entry in ENTRIES]
    assert len(patterns) == len(set(patterns))


FORMS = ("{}", "vendor/{}", "{}-2026-01-31", "{}-20260131", "{}-latest", "{}-preview", "{}:free", "{}@20260131")


@pytest.mark.parametrize("family", families(), ids=lambda family: family.entries[0].pattern)
def test_exact_pattern_finds_its_row(family: Family) -> None:
    for entry in family.entries:
        for form in FORMS if "*" not in entry.pattern else ():
            name = form.format(entry.pattern)
            if name != "o1-preview":  # a model of its own
                assert rules_of(name) == entry.rules, name


CLAUDE_CONTROL = {
    "claude-2.1": ("none", "omit", False),
    "claude-instant-1.2": ("none", "omit", False),
    "claude-3-haiku": ("none", "omit", False),
    "claude-3-opus": ("none", "omit", False),
    "claude-3-5-sonnet": ("none", "omit", False),
    "claude-3-7-sonnet": ("manual", "omit", False),
    "claude-sonnet-4": ("manual", "omit", False),
    "claude-opus-4": ("manual", "omit", False),
    "claude-opus-4-1": ("manual", "omit", False),
    "claude-sonnet-4-5": ("manual", "omit", False),
    "claude-haiku-4-5": ("manual", "omit", False),
    "claude-opus-4-5": ("manual", "omit", False),
    "claude-opus-4-6": ("adaptive", "omit", False),
    "claude-sonnet-4-6": ("adaptive", "omit", False),
    "claude-opus-4-7": ("adaptive", "omit", False),
    "claude-opus-4-8": ("adaptive", "omit", False),
    "claude-opus-5": ("adaptive", "disabled", True),
    "claude-sonnet-5": ("adaptive", "disabled", True),
    "claude-fable-5": ("adaptive", "lowest", True),
    "claude-mythos-5": ("adaptive", "lowest", True),
    "claude-mythos-preview": ("adaptive", "lowest", True),
    "claude-fable-5-1": ("adaptive", "lowest", True),
    "claude-mythos-5-1": ("adaptive", "lowest", True),
    "claude-fable-5-2": ("adaptive", "lowest", True),
    "claude-opus-5-5": ("adaptive", "lowest", True),
    "claude-sonnet-5-5": ("adaptive", "between_tools", True),
    "claude-haiku-5-5": ("adaptive", "disabled", True),
}
CLAUDE_EFFORTS: dict[str, tuple[tuple[str, ...], str | None]] = {
    "claude-3-5-sonnet": ((), None),
    "claude-sonnet-4-5": ((), None),
    "claude-opus-4-5": (LOW_TO_HIGH, None),
    "claude-opus-4-6": ((*LOW_TO_HIGH, "max"), "high"),
    "claude-sonnet-4-6": ((*LOW_TO_HIGH, "max"), "high"),
    "claude-opus-4-7": (LOW_TO_MAX, "high"),
    "claude-opus-4-8": (LOW_TO_MAX, "high"),
    "claude-opus-5": (LOW_TO_MAX, "high"),
    "claude-fable-5": (LOW_TO_MAX, "high"),
    "claude-opus-5-5": (LOW_TO_MAX, "medium"),
    "claude-sonnet-5-5": (LOW_TO_MAX, "high"),
    "claude-haiku-5-5": (LOW_TO_MAX, "medium"),
}
CLAUDE_LIMITS = {  # forced tool, prefill, structured output, sampling, what blocks are bound to
    "claude-3-haiku": ("yes", "yes", "none", "one_of", set()),
    "claude-3-7-sonnet": ("not_with_thinking", "not_with_thinking", "none", "one_of", set()),
    "claude-opus-4-1": ("not_with_thinking", "not_with_thinking", "none", "one_of", set()),
    "claude-sonnet-4-5": ("not_with_thinking", "not_with_thinking", "native", "one_of", set()),
    "claude-opus-4-6": ("not_with_thinking", "no", "native", "one_of", set()),
    "claude-opus-4-7": ("not_with_thinking", "no", "native", "fixed", set()),
    "claude-opus-4-8": ("yes", "no", "native", "fixed", set()),
    "claude-sonnet-5": ("yes", "no", "native", "fixed", {"model"}),
    "claude-fable-5": ("yes", "no", "native", "fixed", {"model"}),
    "claude-fable-5-1": ("no", "no", "native", "fixed", {"model", "prefix"}),
    "claude-mythos-5-2": ("no", "no", "native", "fixed", {"model", "prefix"}),
    "claude-opus-5-5": ("no", "no", "native", "fixed", {"model", "prefix"}),
    "claude-sonnet-5-5": ("no", "no", "native", "fixed", {"model", "prefix", "account"}),
    "claude-haiku-5-5": ("yes", "no", "native", "fixed", {"prefix", "account"}),
}


@pytest.mark.parametrize("model", CLAUDE_CONTROL)
def test_claude_thinking(model: str) -> None:
    rules = rules_of(model)
    assert (rules.thinking, rules.thinking_off, rules.thinks_unasked) == CLAUDE_CONTROL[model]
    assert rules.also_manual == (model in ("claude-opus-4-6", "claude-sonnet-4-6"))
    assert rules.shows_thinking == (rules.version < (4, 7) and model != "claude-mythos-preview")
    assert rules.strict_tools == (rules.structured == "native")


@pytest.mark.parametrize("model", CLAUDE_EFFORTS)
def test_claude_efforts(model: str) -> None:
    rules = rules_of(model)
    assert (rules.efforts, rules.default_effort) == CLAUDE_EFFORTS[model]


@pytest.mark.parametrize("model", CLAUDE_LIMITS)
def test_claude_limits(model: str) -> None:
    rules = rules_of(model)
    found = (rules.forced_tool, rules.prefill, rules.structured, rules.sampling, set(rules.binds_to))
    assert found == CLAUDE_LIMITS[model]
    assert rules.system_between == (rules.version >= (4, 8))


OPENAI = {
    "gpt-3.5-turbo": ((), None, "free"),
    "gpt-4o": ((), None, "free"),
    "gpt-4.1-mini": ((), None, "free"),
    "chatgpt-4o-latest": ((), None, "free"),
    "o1": (LOW_TO_HIGH, "medium", "fixed"),
    "o3": (LOW_TO_HIGH, "medium", "fixed"),
    "o3-mini": (LOW_TO_HIGH, "medium", "fixed"),
    "o4-mini": (LOW_TO_HIGH, "medium", "fixed"),
    "o1-mini": ((), None, "fixed"),
    "o1-preview": ((), None, "fixed"),
    "o1-pro": (LOW_TO_HIGH, "medium", "fixed"),
    "o3-deep-research": (("medium",), "medium", "fixed"),
    "gpt-5": (("minimal", *LOW_TO_HIGH), "medium", "fixed"),
    "gpt-5-mini": (("minimal", *LOW_TO_HIGH), "medium", "fixed"),
    "gpt-5-nano": (("minimal", *LOW_TO_HIGH), "medium", "fixed"),
    "gpt-5-codex": (LOW_TO_HIGH, "medium", "fixed"),
    "gpt-5.1-codex": (LOW_TO_HIGH, "medium", "fixed"),
    "gpt-5.1-codex-max": ((*LOW_TO_HIGH, "xhigh"), "medium", "fixed"),
    "gpt-5.2-codex": ((*LOW_TO_HIGH, "xhigh"), "medium", "fixed"),
    "gpt-5.3-codex": (NONE_TO_XHIGH, "medium", "at_effort_none"),
    "gpt-5-pro": (("high",), "high", "fixed"),
    "gpt-5.2-pro": (("medium", "high", "xhigh"), "high", "fixed"),
    "gpt-5.4-pro": (("medium", "high", "xhigh"), "high", "fixed"),
    "gpt-5.5-pro": (("medium", "high", "xhigh"), "high", "fixed"),
    "gpt-5-chat-latest": ((), None, "free"),
    "gpt-5.1-chat-latest": (("medium",), "medium", "fixed"),
    "gpt-5.1": (("none", *LOW_TO_HIGH), "none", "at_effort_none"),
    "gpt-5.2": (NONE_TO_XHIGH, "none", "at_effort_none"),
    "gpt-5.4-mini": (NONE_TO_XHIGH, "none", "at_effort_none"),
    "gpt-5.5": (NONE_TO_XHIGH, "medium", "at_effort_none"),
    "gpt-5.6-terra": (NONE_TO_XHIGH, "medium", "at_effort_none"),
    "gpt-5.6-sol": (("none", *LOW_TO_MAX), "medium", "at_effort_none"),
    "gpt-6-sol": (("none", *LOW_TO_MAX), "medium", "at_effort_none"),
    "gpt-6-luna": (("none", *LOW_TO_MAX), "medium", "at_effort_none"),
    "gpt-6-astra": (LOW_TO_MAX, "medium", "fixed"),
    "gpt-6.1-sol": (LOW_TO_MAX, "medium", "fixed"),
    "gpt-6.2-astra-law": (LOW_TO_MAX, "medium", "fixed"),
    "gpt-4o-mini-search-preview": ((), None, "free"),
    "gpt-5-search-api": ((), None, "free"),
    "gpt-audio-mini": ((), None, "free"),
    "computer-use-preview": (LOW_TO_HIGH, "medium", "fixed"),
    "codex-mini-latest": (LOW_TO_HIGH, "medium", "fixed"),
    "gpt-oss-120b": (LOW_TO_HIGH, "medium", "free"),
}
RESPONSES_ONLY = {
    *("o1-pro", "o3-deep-research", "gpt-5-codex", "gpt-5.1-codex", "gpt-5.1-codex-max", "gpt-5.2-codex"),
    *("gpt-5.3-codex", "gpt-5-pro", "gpt-5.2-pro", "gpt-5.4-pro", "gpt-5.5-pro", "computer-use-preview"),
    "codex-mini-latest",
}
TAKES_STOP = {
    *("gpt-3.5-turbo", "gpt-4o", "gpt-4.1-mini", "chatgpt-4o-latest", "o1", "o1-mini", "o1-preview", "o1-pro"),
    *("o3-mini", "gpt-5-chat-latest", "gpt-audio-mini", "gpt-oss-120b"),
}


@pytest.mark.parametrize("model", OPENAI)
def test_openai(model: str) -> None:
    rules = rules_of(model)
    assert (rules.efforts, rules.default_effort, rules.sampling) == OPENAI[model]
    assert rules.responses_only == (model in RESPONSES_ONLY)
    assert ("stop" not in rules.refuses) == (model in TAKES_STOP)
    assert rules.thinking == ("effort" if rules.efforts else "none")


@pytest.mark.parametrize("model", ["gpt-5.6", "gpt-5.6-sol", "gpt-6-sol", "gpt-6-astra", "gpt-6.1-sol", "gpt-5.9"])
def test_cv_26_tools_need_effort_none_from_5_6_on(model: str) -> None:
    assert rules_of(model).tools_need_effort_none
    assert not rules_of("gpt-5.5").tools_need_effort_none
    assert rules_of(model).cache_marks
    assert not rules_of("gpt-5.5").cache_marks


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("gpt-4o", "max_tokens"),
        ("gpt-oss-20b", "max_tokens"),
        ("o1", "max_completion_tokens"),
        ("o1-mini", "max_completion_tokens"),
        ("o4-mini", "max_completion_tokens"),
        ("gpt-5", "max_completion_tokens"),
        ("gpt-5.9", "max_completion_tokens"),
        ("gpt-6-astra", "max_completion_tokens"),
        ("deepseek-chat", "max_tokens"),
        ("unheard-of", "max_tokens"),
    ],
)
def test_cv_02_name_of_the_output_limit(model: str, name: str) -> None:
    assert rules_of(model).output_limit == name


def test_cv_12_role_of_instructions() -> None:
    roles = {model: rules_of(model).system_role for model in ("gpt-4o", "o1", "gpt-5.2", "o1-mini", "o1-preview")}
    assert roles == {
        "gpt-4o": "system",
        "o1": "developer",
        "gpt-5.2": "developer",
        "o1-mini": "user",
        "o1-preview": "user",
    }
    assert {"tools", "n", "parallel", "output_format"} <= rules_of("o1-mini").refuses


def test_special_openai_models() -> None:
    search = rules_of("gpt-4o-search-preview")
    assert {"temperature", "top_p", "presence_penalty", "frequency_penalty", "n", "tools"} <= search.refuses
    assert not {"output_format", "verbosity"} & search.refuses
    audio = rules_of("gpt-4o-audio-preview")
    assert audio.modalities == ("text", "audio")
    assert {"images", "output_format"} <= audio.refuses
    assert "verbosity" in rules_of("gpt-4o").refuses
    assert "verbosity" not in rules_of("gpt-5").refuses


GEMINI: dict[str, tuple[Any, ...]] = {
    "gemini-1.5-pro": ("none", (), None, (0, 0), "omit"),
    "gemini-2.0-flash": ("none", (), None, (0, 0), "omit"),
    "gemini-2.5-pro": ("budget", (), None, (128, 32_768), "lowest"),
    "gemini-2.5-flash": ("budget", (), None, (1, 24_576), "zero"),
    "gemini-2.5-flash-lite": ("budget", (), None, (512, 24_576), "zero"),
    "gemini-robotics-er-1.6-preview": ("budget", (), None, (1, 24_576), "zero"),
    "gemini-3-pro-preview": ("level", ("low", "high"), "high", (0, 0), "lowest"),
    "gemini-3.1-pro-preview": ("level", LOW_TO_HIGH, "high", (0, 0), "lowest"),
    "gemini-3-flash-preview": ("level", ("minimal", *LOW_TO_HIGH), "high", (0, 0), "minimal"),
    "gemini-3.1-flash-lite": ("level", ("minimal", *LOW_TO_HIGH), "minimal", (0, 0), "minimal"),
    "gemini-3.5-flash-lite": ("level", ("minimal", *LOW_TO_HIGH), "minimal", (0, 0), "minimal"),
    "gemini-3.5-flash": ("level", ("minimal", *LOW_TO_HIGH), "medium", (0, 0), "minimal"),
    "gemini-3.6-flash": ("level", ("minimal", *LOW_TO_HIGH), "medium", (0, 0), "minimal"),
    "gemini-3.7-flash": ("level", LOW_TO_HIGH, "medium", (0, 0), "lowest"),
    "gemini-3.8-flash": ("level", LOW_TO_HIGH, "medium", (0, 0), "lowest"),
    "gemini-4-argon": ("level", LOW_TO_HIGH, None, (0, 0), "lowest"),
    "gemini-2.5-flash-image": ("none", (), None, (0, 0), "omit"),
    "gemini-3-pro-image-preview": ("none", (), None, (0, 0), "omit"),
    "gemini-nano-banana-2.1": ("none", (), None, (0, 0), "omit"),
    "gemini-2.5-flash-preview-tts": ("none", (), None, (0, 0), "omit"),
    "gemma-3-27b-it": ("none", (), None, (0, 0), "omit"),
    "gemma-4-31b-it": ("none", (), None, (0, 0), "omit"),
}


@pytest.mark.parametrize("model", GEMINI)
def test_gemini(model: str) -> None:
    rules = rules_of(model)
    budget = (rules.min_budget, rules.max_budget)
    assert (rules.thinking, rules.efforts, rules.default_effort, budget, rules.thinking_off) == GEMINI[model]


@pytest.mark.parametrize("model", ["gemini-3-pro", "gemini-3.8-flash", "gemini-4-argon", "gemini-3.9-flash"])
def test_gemini_3_and_newer(model: str) -> None:
    rules = rules_of(model)
    assert (rules.signatures, rules.call_ids, rules.media_in_results) == ("required", True, True)
    assert (rules.structured_with_tools, rules.hosted_with_functions) == (True, True)
    older = rules_of("gemini-2.5-flash")
    assert (older.signatures, older.call_ids, older.media_in_results) == ("optional", False, False)
    assert (older.structured_with_tools, older.hosted_with_functions) == (False, False)


def test_gemini_schemas_and_prefill() -> None:
    dialects = {m: (rules_of(m).schema, rules_of(m).output_schema) for m in ("gemini-1.5-pro", "gemini-2.0-flash")}
    assert dialects == {"gemini-1.5-pro": ("openapi", "openapi"), "gemini-2.0-flash": ("openapi", "json")}
    assert (rules_of("gemini-2.5-pro").schema, rules_of("gemini-2.5-pro").output_schema) == ("json", "json")
    refusing = [m for m in GEMINI if rules_of(m).prefill == "no"]
    assert refusing == ["gemini-3.5-flash-lite", "gemini-3.7-flash", "gemini-3.8-flash", "gemini-4-argon"]
    penalised = {"frequency_penalty", "presence_penalty"}
    assert penalised <= rules_of("gemini-2.5-pro").refuses
    assert penalised <= rules_of("gemini-3.7-flash").refuses
    assert not penalised & rules_of("gemini-2.0-flash").refuses
    assert {"system", "tools"} <= rules_of("gemma-3-27b").refuses
    assert "system" not in rules_of("gemma-4-31b").refuses
    assert rules_of("gemini-2.5-flash-image").modalities == ("text", "image")
    assert rules_of("gemini-2.5-pro-tts").modalities == ("audio",)


OTHERS: dict[str, tuple[str, str, bool]] = {
    "deepseek-chat": ("switch", "omit", False),
    "deepseek-reasoner": ("switch", "lowest", True),
    "deepseek-r1-distill-llama-70b": ("switch", "lowest", True),
    "deepseek-v3": ("none", "omit", False),
    "deepseek-v3.2": ("switch", "omit", False),
    "deepseek-v4-pro": ("effort", "disabled", True),
    "grok-3": ("none", "omit", False),
    "grok-3-mini": ("effort", "lowest", True),
    "grok-4-0709": ("switch", "lowest", True),
    "grok-4-fast-non-reasoning": ("none", "omit", False),
    "grok-4.3": ("effort", "none", True),
    "grok-4.20-0309-reasoning": ("effort", "none", True),
    "grok-4.20-multi-agent-0309": ("effort", "lowest", True),
    "grok-4.5": ("effort", "lowest", True),
    "grok-code-fast-1": ("switch", "lowest", True),
    "grok-build-0.1": ("switch", "lowest", True),
    "kimi-k2-0905-preview": ("none", "omit", False),
    "kimi-k2-thinking": ("switch", "lowest", True),
    "kimi-k2.5": ("switch", "disabled", True),
    "kimi-k2.7-code": ("switch", "lowest", True),
    "kimi-k3": ("effort", "lowest", True),
    "glm-4-plus": ("none", "omit", False),
    "glm-4.5-air": ("switch", "disabled", True),
    "glm-5.1": ("switch", "disabled", True),
    "glm-5.2": ("effort", "disabled", True),
    "glm-5.3": ("effort", "lowest", True),
    "qwen2.5-72b-instruct": ("none", "omit", False),
    "qwen3-32b": ("switch", "disabled", True),
    "qwen3:32b": ("switch", "disabled", True),
    "qwen3-235b-a22b-thinking-2507": ("switch", "lowest", True),
    "qwen3-235b-a22b-instruct-2507": ("none", "omit", False),
    "qwen3-coder-480b-a35b": ("none", "omit", False),
    "qwen-plus": ("switch", "disabled", False),
    "qwen3-max": ("switch", "disabled", False),
    "qwq-32b": ("switch", "lowest", True),
    "mistral-large-2411": ("none", "omit", False),
    "mistral-large-4": ("effort", "none", False),
    "mistral-small-2506": ("none", "omit", False),
    "mistral-small-2603": ("effort", "none", False),
    "mistral-medium-3-5": ("effort", "none", False),
    "mistral-medium-2508": ("none", "omit", False),
    "magistral-medium-2509": ("switch", "lowest", True),
    "doubao-1-5-pro-32k": ("none", "omit", False),
    "doubao-seed-1-6-250615": ("effort", "disabled", True),
    "doubao-seed-2-0-pro": ("effort", "disabled", True),
    "minimax-m2": ("switch", "lowest", True),
    "command-a-reasoning-08-2025": ("switch", "disabled", True),
    "command-r-plus": ("none", "omit", False),
    "sonar": ("none", "omit", False),
    "sonar-reasoning-pro": ("switch", "lowest", True),
    "sonar-deep-research": ("effort", "lowest", True),
    "amazon.nova-2-lite-v1:0": ("effort", "disabled", False),
    "us.amazon.nova-pro-v1:0": ("none", "omit", False),
    "llama-3.3-70b": ("none", "omit", False),
}


@pytest.mark.parametrize("model", OTHERS)
def test_others(model: str) -> None:
    rules = rules_of(model)
    assert (rules.thinking, rules.thinking_off, rules.thinks_unasked) == OTHERS[model]


def test_other_refusals() -> None:
    for model in ("grok-3-mini", "grok-4", "grok-code-fast-1", "grok-build-0.1"):
        assert {"stop", "presence_penalty", "frequency_penalty", "strict", "name"} <= rules_of(model).refuses
    assert "stop" not in rules_of("grok-3").refuses
    assert {"tools", "stop"} <= rules_of("sonar-pro").refuses
    assert "tools" in rules_of("kimi-thinking-preview").refuses
    assert (rules_of("glm-4.6").forced_tool, rules_of("deepseek-reasoner").forced_tool) == ("no", "no")
    assert rules_of("deepseek-v4-pro").forced_tool == "not_with_thinking"
    assert rules_of("deepseek-chat").structured == "json"


def test_cv_61_who_wants_reasoning_text_back() -> None:
    wanted = {
        m: rules_of(m).reasoning_history for m in ("deepseek-v4-pro", "kimi-k2-thinking", "deepseek-r1", "glm-4.6")
    }
    assert wanted == {
        "deepseek-v4-pro": "require",
        "kimi-k2-thinking": "require",
        "deepseek-r1": "drop",
        "glm-4.6": "keep",
    }


def test_cv_42_qwen_that_thinks_only_in_streams() -> None:
    found = {m: rules_of(m).thinks_buffered for m in ("qwen3-32b", "qwq-plus", "qwen-plus", "gpt-5", "unheard-of")}
    assert found == {"qwen3-32b": False, "qwq-plus": False, "qwen-plus": True, "gpt-5": True, "unheard-of": True}


def test_cv_29_think_tags_without_the_opening_one() -> None:
    found = {m: rules_of(m).think_tags for m in ("qwq-32b", "qwen3-32b", "deepseek-r1", "gpt-5")}
    assert found == {"qwq-32b": "prefilled", "qwen3-32b": "leading", "deepseek-r1": "leading", "gpt-5": "no"}


@pytest.mark.parametrize(
    ("newer", "like"),
    [
        ("claude-opus-4-9", "claude-opus-4-8"),
        ("claude-opus-4.9", "claude-opus-4-8"),
        ("claude-sonnet-4-9", "claude-opus-4-8"),
        ("claude-haiku-5", "claude-opus-5"),
        ("claude-sonnet-5-6", "claude-sonnet-5-5"),
        ("claude-opus-6", "claude-opus-5-5"),
        ("claude-saga-6", "claude-opus-5-5"),
        ("us.anthropic.claude-opus-4-9-20270101-v1:0", "claude-opus-4-8"),
        ("gpt-5.9", "gpt-5.6"),
        ("gpt-5.9-mini", "gpt-5.6"),
        ("gpt-5.3", "gpt-5.2"),
        ("gpt-5.9-pro", "gpt-5.5-pro"),
        ("gpt-5.9-codex-max", "gpt-5.3-codex"),
        ("gpt-6-rosalind", "gpt-6-astra"),
        ("gpt-7", "gpt-6.2-astra"),
        ("o5", "o4-mini"),
        ("o5-mini", "o4-mini"),
        ("gemini-3.9-flash", "gemini-3.8-flash"),
        ("gemini-3.9-pro", "gemini-3.8-flash"),
        ("gemini-3.2-pro", "gemini-3.1-pro"),
        ("gemini-4-neon", "gemini-4-argon"),
        ("gemini-5-pro-preview-01-27", "gemini-4-argon"),
        ("deepseek-v5", "deepseek-v4"),
        ("grok-4.7", "grok-4.6"),
        ("grok-5", "grok-4.6"),
        ("kimi-k4", "kimi-k3"),
        ("glm-6", "glm-5.3"),
        ("qwen4-32b", "qwen3-32b"),
    ],
)
def test_cv_67_newer_names_work_the_day_they_appear(newer: str, like: str) -> None:
    found, row = rules_of(newer), rules_of(like)
    assert {f.name: getattr(found, f.name) for f in fields(ModelRules) if f.name != "version"} == {
        f.name: getattr(row, f.name) for f in fields(ModelRules) if f.name != "version"
    }
    assert found.version >= row.version


@pytest.mark.parametrize(
    ("alias", "like"),
    [
        ("claude-opus", "claude-opus-5-5"),
        ("claude-haiku-latest", "claude-haiku-5-5"),
        ("gemini-flash-latest", "gemini-3.8-flash"),
        ("gemini-flash-lite-latest", "gemini-3.5-flash-lite"),
        ("gemini-pro-latest", "gemini-3.1-pro"),
    ],
)
def test_alias_without_version_is_the_newest_of_its_line(alias: str, like: str) -> None:
    assert rules_of(alias) == rules_of(like)


@pytest.mark.parametrize(
    ("written", "plain"),
    [
        ("Claude-Sonnet-4-5", "claude-sonnet-4-5"),
        (" claude-sonnet-4-5 ", "claude-sonnet-4-5"),
        ("anthropic/claude-sonnet-4.5", "claude-sonnet-4-5"),
        ("anthropic/claude-3.7-sonnet:thinking", "claude-3-7-sonnet"),
        ("claude-sonnet-4-5[1m]", "claude-sonnet-4-5"),
        ("claude-sonnet-4@20250514", "claude-sonnet-4"),
        ("claude-sonnet-4-20250514", "claude-sonnet-4"),
        ("anthropic.claude-3-haiku-20240307-v1:0", "claude-3-haiku"),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "claude-sonnet-4-5"),
        ("us-gov.anthropic.claude-3-7-sonnet-20250219-v1:0", "claude-3-7-sonnet"),
        ("global.anthropic.claude-opus-4-6-v1", "claude-opus-4-6"),
        ("databricks-claude-3-7-sonnet", "claude-3-7-sonnet"),
        ("models/gemini-2.5-pro", "gemini-2.5-pro"),
        ("publishers/google/models/gemini-2.5-pro-preview-05-06", "gemini-2.5-pro"),
        ("gemini-2.5-flash-preview-09-2025", "gemini-2.5-flash"),
        ("gemini-2.0-flash-001", "gemini-2.0-flash"),
        ("openai/gpt-5-2025-08-07", "gpt-5"),
        ("ft:gpt-4.1-mini-2025-04-14:acme::AbC", "gpt-4.1-mini"),
        ("openai.gpt-oss-120b-1:0", "gpt-oss-120b"),
        ("gpt-oss:20b", "gpt-oss-20b"),
        ("@cf/openai/gpt-oss-120b", "gpt-oss-120b"),
        ("deepseek/deepseek-r1:free", "deepseek-r1"),
        ("us.deepseek.r1-v1:0", "deepseek-r1"),
        ("accounts/fireworks/models/deepseek-v3p2", "deepseek-v3.2"),
        ("x-ai/grok-4-0709", "grok-4"),
        ("moonshotai/kimi-k2-thinking", "kimi-k2-thinking"),
    ],
)
def test_ways_to_write_a_name(written: str, plain: str) -> None:
    assert rules_of(plain).known
    assert rules_of(written) == rules_of(plain)


@pytest.mark.parametrize(
    ("older", "like"), [("gpt-3", "gpt-3.5-turbo"), ("kimi-k1", "kimi-k2"), ("gemini-0.5", "gemini-1.0-pro")]
)
def test_name_older_than_every_row_inherits_the_oldest(older: str, like: str) -> None:
    assert rules_of(older) == replace(rules_of(like), version=rules_of(older).version)


def test_line_without_rows_inherits_nothing() -> None:
    """A model that only shares its maker with the others: embeddings, live audio."""
    for model in ("gemini-embedding-2", "gemini-live-2.5-flash", "gemini-omni-1.2-flash"):
        assert rules_of(model) is UNKNOWN


def test_forms_get_shorter() -> None:
    assert forms_of("openai/o1-preview-2024-09-12") == ("o1-preview-2024-09-12", "o1-preview", "o1")


@pytest.mark.parametrize(
    "model",
    [
        "",
        "my-deployment",
        "llm",
        "text-embedding-3-small",
        "omni-moderation-latest",
        "opus",
        "gpt",
        "o",
        "o-1",
        "/",
        "@",
    ],
)
def test_unknown_has_no_rules(model: str) -> None:
    assert rules_of(model) is UNKNOWN
    assert not rules_of(model).known


@given(st.text(max_size=40) | st.text("abcdefgopqrst0123456789.-:/@[]", max_size=40))
def test_any_text_is_a_name(model: str) -> None:
    rules = rules_of(model)
    assert rules is rules_of(model), "cached"
    assert rules.known or rules is UNKNOWN


@given(major=st.integers(4, 12), minor=st.integers(0, 12), tier=st.sampled_from(["opus", "sonnet", "haiku", "saga"]))
def test_no_claude_loses_what_an_older_one_has(major: int, minor: int, tier: str) -> None:
    """A number above 4.6 never brings back what 4.7 stopped taking."""
    rules = rules_of(f"claude-{tier}-{major}-{minor}")
    assert rules.family == "claude"
    assert (rules.thinking == "adaptive") == ((major, minor) >= (4, 6))
    assert (rules.sampling == "fixed") == ((major, minor) >= (4, 7))


@pytest.mark.parametrize(
    ("model", "limit"),
    [
        ("claude-3-haiku-20240307", 4096),
        ("claude-3-5-haiku", 8192),
        ("claude-opus-4-1", 32_000),
        ("claude-sonnet-4-5", 64_000),
        ("claude-opus-4-6", 128_000),
        ("claude-opus-5-5", 128_000),
        ("gpt-4", 8192),
        ("gpt-4o", 16_384),
        ("gpt-4.1", 32_768),
        ("o3", 100_000),
        ("gpt-5", 128_000),
        ("gpt-6-sol", 128_000),
        ("gemini-2.0-flash", 8192),
        ("gemini-3.8-flash", 65_536),
        ("unheard-of", None),
    ],
)
def test_longest_answer(model: str, limit: int | None) -> None:
    assert rules_of(model).max_output == limit
