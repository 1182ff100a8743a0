"""Efforts, budgets and levels: every row of the conversion tables, for Anthropic, Google and OpenAI."""

from __future__ import annotations

from typing import Any

import pytest
from anthropic.types import OutputConfigParam, ThinkingConfigParam
from google.genai.types import ThinkingConfig
from hypothesis import given
from hypothesis import strategies as st
from openai.types.shared_params import Reasoning
from pydantic import TypeAdapter

from oneapi_mw.canonical.request import ReasoningAsk
from oneapi_mw.errors import InvalidRequest
from oneapi_mw.models.catalogue import families, rules_of
from oneapi_mw.models.depth import coarse, wanted_of
from oneapi_mw.models.effort import (
    EFFORTS,
    ClaudeThinking,
    GeminiThinking,
    OpenAIEffort,
    budget_of_effort,
    clamp,
    claude_thinking,
    default_output,
    effort_of_budget,
    gemini_thinking,
    openai_effort,
)
from oneapi_mw.models.rules import UNKNOWN, ModelRules

LEVELS = EFFORTS[1:]
ON, OFF = ReasoningAsk(on=True), ReasoningAsk(on=False)
RULES = [UNKNOWN, *(entry.rules for family in families() for entry in family.entries)]

efforts = st.sampled_from(EFFORTS)
lists = (
    st.sets(efforts, min_size=1)
    .filter(lambda found: found != {"none"})
    .map(lambda s: tuple(sorted(s, key=EFFORTS.index)))
)
asks = st.none() | st.builds(
    ReasoningAsk,
    on=st.sampled_from([None, True, False]),
    effort=st.none() | efforts,
    budget=st.none() | st.integers(-1, 70_000),
    display=st.sampled_from([None, "summarized", "omitted"]),
)


def effort(word: str) -> ReasoningAsk:
    return ReasoningAsk(on=word != "none", effort=word)


def budget(tokens: int) -> ReasoningAsk:
    return ReasoningAsk(on=True, budget=tokens)


def claude(ask: ReasoningAsk | None, model: str, max_output: int | None = None, forced: bool = False) -> ClaudeThinking:
    return claude_thinking(ask, rules_of(model), max_output=max_output, forced_tool=forced)


def adaptive(display: str = "summarized") -> dict[str, Any]:
    return {"type": "adaptive", "display": display}


# 3.5 clamping


@pytest.mark.parametrize(
    ("wanted", "known", "sent"),
    [
        ("medium", "low medium high", "medium"),
        ("minimal", "low medium high", "low"),
        ("medium", "low high", "high"),
        ("low", "none high", "high"),
        ("xhigh", "low medium high max", "high"),
        ("xhigh", "low medium high", "high"),
        ("max", "low medium high", "high"),
        ("max", "low medium high xhigh", "xhigh"),
        ("max", "low high max", "max"),
        ("high", "minimal low", "low"),
        ("high", "none low", "low"),
        ("none", "none low", "none"),
        ("none", "minimal low", "minimal"),
        ("none", "medium", "medium"),
        ("low", "medium high xhigh", "medium"),
        ("low", "max", "max"),
        ("high", "low max", "low"),
        ("high", "", "high"),
    ],
)
def test_clamp(wanted: str, known: str, sent: str) -> None:
    assert clamp(wanted, known.split()) == sent


@given(wanted=efforts, known=lists)
def test_cv_09_no_level_becomes_none_and_none_becomes_no_more_than_it_must(wanted: str, known: tuple[str, ...]) -> None:
    sent = clamp(wanted, known)
    assert sent in known
    if wanted == "none":
        assert sent == known[0]
    else:
        assert sent != "none"
    if sent == "max":
        assert wanted == "max" or set(known) <= {"none", "max"}


@given(one=efforts, other=efforts, known=lists)
def test_clamp_is_monotone(one: str, other: str, known: tuple[str, ...]) -> None:
    low, high = sorted((one, other), key=EFFORTS.index)
    assert EFFORTS.index(clamp(low, known)) <= EFFORTS.index(clamp(high, known))


@given(wanted=efforts, known=lists)
def test_clamp_gives_no_less_than_asked_where_it_can(wanted: str, known: tuple[str, ...]) -> None:
    sent = EFFORTS.index(clamp(wanted, known))
    assert sent >= EFFORTS.index(wanted) or all(
        EFFORTS.index(level) < EFFORTS.index(wanted) for level in known if level != "max"
    )
    assert clamp(clamp(wanted, known), known) == clamp(wanted, known)


def test_coarse() -> None:
    assert [coarse(word) for word in LEVELS] == ["low", "low", "medium", "high", "high", "high"]


# 3.3 budgets


@pytest.mark.parametrize(
    ("tokens", "word"),
    [
        (-1, None),
        (0, "none"),
        (1, "minimal"),
        (1023, "minimal"),
        (1024, "low"),
        (2047, "low"),
        (2048, "medium"),
        (4095, "medium"),
        (4096, "high"),
        (8191, "high"),
        (8192, "xhigh"),
        (16_383, "xhigh"),
        (16_384, "max"),
        (64_000, "max"),
    ],
)
def test_effort_of_budget(tokens: int, word: str | None) -> None:
    assert effort_of_budget(tokens) == word


def test_effort_and_back() -> None:
    assert {word: effort_of_budget(budget_of_effort(word)) for word in EFFORTS} == {
        **{word: word for word in EFFORTS},
        "minimal": "low",
    }


@given(st.integers(0, 100_000), st.integers(0, 100_000))
def test_more_budget_is_no_less_effort(one: int, other: int) -> None:
    low, high = (EFFORTS.index(effort_of_budget(tokens) or "") for tokens in sorted((one, other)))
    assert low <= high


# What was asked


@pytest.mark.parametrize(
    ("ask", "on", "off"),
    [
        (None, False, False),
        (ReasoningAsk(), False, False),
        (ReasoningAsk(effort="default"), False, False),
        (ReasoningAsk(display="summarized"), False, False),
        (ReasoningAsk(effort="low"), True, False),
        (ReasoningAsk(budget=2000), True, False),
        (ReasoningAsk(budget=-1), True, False),
        (ReasoningAsk(budget=0), False, True),
        (ReasoningAsk(effort="none"), False, True),
        (ReasoningAsk(on=False), False, True),
        (ReasoningAsk(on=False, effort="high"), False, True),
        (ReasoningAsk(on=True), True, False),
        (ReasoningAsk(effort="high", budget=0), True, False),
    ],
)
def test_on_and_off(ask: ReasoningAsk | None, on: bool, off: bool) -> None:
    want = wanted_of(ask)
    assert (want.on, want.off) == (on, off)


def test_effort_that_is_none_of_ours_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="none, minimal, low, medium, high, xhigh, max") as caught:
        wanted_of(ReasoningAsk(on=True, effort="huge"))
    assert (caught.value.param, caught.value.code) == ("reasoning_effort", "invalid_value")


@given(asks, st.sampled_from(RULES), st.none() | st.integers(1, 100_000), st.booleans())
def test_results_are_sound(ask: ReasoningAsk | None, rules: ModelRules, max_output: int | None, forced: bool) -> None:
    try:
        found = claude_thinking(ask, rules, max_output=max_output, forced_tool=forced)
    except InvalidRequest:
        assert max_output is not None
        assert max_output <= 1024
    else:
        _claude_is_sound(found, rules, max_output)
    config = gemini_thinking(ask, rules).config
    if config is not None:
        ThinkingConfig.model_validate(config)
        assert not {"thinkingBudget", "thinkingLevel"} <= set(config), "CV-68"
        if rules.thinking == "budget" and config.get("thinkingBudget", -1) > 0:
            assert rules.min_budget <= config["thinkingBudget"] <= rules.max_budget
        if rules.thinking == "level" and "thinkingLevel" in config:
            assert config["thinkingLevel"].lower() in rules.efforts
    told = openai_effort(ask, rules)
    members = {"effort": told.effort, "summary": told.summary}
    TypeAdapter(Reasoning).validate_python({name: value for name, value in members.items() if value})
    assert told.effort is None or not rules.efforts or told.effort in rules.efforts
    if rules.thinking == "none":
        assert (config, told.effort, told.summary) == (None, None, None)


def _claude_is_sound(found: ClaudeThinking, rules: ModelRules, max_output: int | None) -> None:
    assert found.max_output is not None
    if max_output is not None:
        assert found.max_output == max_output, "the client's own limit stays"
    elif rules.max_output:
        assert found.max_output <= rules.max_output
    if rules.thinking == "none":
        assert (found.thinking, found.effort) == (None, None)
    if found.effort is not None:
        assert found.effort in rules.efforts
        TypeAdapter(OutputConfigParam).validate_python({"effort": found.effort})
    if found.thinking is None:
        return
    TypeAdapter(ThinkingConfigParam).validate_python(found.thinking)
    kind = found.thinking["type"]
    if kind == "enabled":
        assert 1024 <= found.thinking["budget_tokens"] < found.max_output
        assert rules.thinking != "adaptive" or rules.also_manual, "CV-64"
    elif kind == "adaptive":
        assert rules.thinking == "adaptive", "CV-64"
    else:
        assert kind == rules.thinking_off or rules.thinking != "adaptive"
        assert found.effort not in ("xhigh", "max") or rules.off_up_to is None, "CV-66"


# 3.1 Anthropic


@pytest.mark.parametrize("model", ["claude-3-7-sonnet", "claude-opus-4-1", "claude-sonnet-4-5", "claude-opus-4-5"])
@pytest.mark.parametrize(
    ("word", "tokens"),
    [("minimal", 1024), ("low", 1024), ("medium", 2048), ("high", 4096), ("xhigh", 8192), ("max", 16_384)],
)
def test_claude_manual_efforts(model: str, word: str, tokens: int) -> None:
    assert claude(effort(word), model) == ClaudeThinking(
        {"type": "enabled", "budget_tokens": tokens}, max_output=32_000
    )


@pytest.mark.parametrize(
    ("model", "sent"),
    [
        ("claude-opus-4-6", "low low medium high high max"),
        ("claude-sonnet-4-6", "low low medium high high max"),
        ("claude-opus-4-7", "low low medium high xhigh max"),
        ("claude-opus-5", "low low medium high xhigh max"),
        ("claude-opus-5-5", "low low medium high xhigh max"),
        ("claude-haiku-5-5", "low low medium high xhigh max"),
    ],
)
def test_claude_adaptive_efforts(model: str, sent: str) -> None:
    for word, expected in zip(LEVELS, sent.split(), strict=True):
        assert claude(effort(word), model) == ClaudeThinking(adaptive(), expected, 32_000)


def test_claude_on_without_depth() -> None:
    assert claude(ON, "claude-sonnet-4-5").thinking == {"type": "enabled", "budget_tokens": 4096}
    assert claude(ON, "claude-opus-5-5") == ClaudeThinking(adaptive(), None, 32_000)
    assert claude(budget(-1), "claude-opus-5-5") == ClaudeThinking(adaptive(), None, 32_000)


def test_claude_nothing_asked_nothing_added() -> None:
    for model in ("claude-3-haiku", "claude-sonnet-4-5", "claude-opus-4-8", "claude-opus-5-5", "unheard-of"):
        assert claude(None, model, 500) == ClaudeThinking(max_output=500)
        assert claude(ReasoningAsk(), model, 500) == ClaudeThinking(max_output=500)


def test_claude_that_cannot_think() -> None:
    assert claude(effort("high"), "claude-3-5-haiku", 500) == ClaudeThinking(None, None, 500, ("reasoning_effort",))
    assert claude(budget(2000), "claude-3-5-haiku", 500).dropped == ("reasoning.budget",)
    assert claude(ON, "claude-3-5-haiku", 500).dropped == ("thinking",)
    assert claude(OFF, "claude-3-5-haiku", 500) == ClaudeThinking(max_output=500)


def test_cv_64_enabled_becomes_adaptive_and_back() -> None:
    assert claude(budget(5000), "claude-opus-4-7") == ClaudeThinking(adaptive(), "high", 32_000)
    assert claude(budget(5000), "claude-opus-4-9") == ClaudeThinking(adaptive(), "high", 32_000)
    assert claude(ON, "claude-opus-4-1").thinking == {"type": "enabled", "budget_tokens": 4096}
    # 4.6 takes both: the budget asked for is sent as it is, an effort beats it.
    assert claude(budget(5000), "claude-opus-4-6").thinking == {"type": "enabled", "budget_tokens": 5000}
    both = ReasoningAsk(on=True, effort="low", budget=5000)
    assert claude(both, "claude-opus-4-6") == ClaudeThinking(adaptive(), "low", 32_000)
    assert claude(both, "claude-sonnet-4-5").thinking == {"type": "enabled", "budget_tokens": 5000}


def test_cv_65_visible_thinking_asks_for_summaries() -> None:
    for model in ("claude-opus-4-6", "claude-opus-4-7", "claude-sonnet-5"):
        assert claude(ON, model).thinking == adaptive()
        assert claude(ReasoningAsk(on=True, display="omitted"), model).thinking == adaptive("omitted")
    shown = ReasoningAsk(display="summarized")
    assert claude(shown, "claude-opus-5-5").thinking == adaptive()
    assert claude(shown, "claude-opus-4-8").thinking is None, "off by default and nobody asked for it"


@pytest.mark.parametrize("word", EFFORTS)
def test_cv_66_off_forms_never_go_with_xhigh_or_max(word: str) -> None:
    ask = ReasoningAsk(on=False, effort=word)
    level = None if word == "none" else clamp(word, ("low", "medium", "high"))
    for model, kind in (
        ("claude-sonnet-5-5", "between_tools"),
        ("claude-haiku-5-5", "disabled"),
        ("claude-opus-5", "disabled"),
    ):
        found = claude(ask, model)
        assert (found.thinking, found.effort) == ({"type": kind}, level)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("claude-3-5-sonnet", ClaudeThinking(None)),
        ("claude-sonnet-4-5", ClaudeThinking(None)),
        ("claude-opus-4-6", ClaudeThinking(None)),
        ("claude-opus-4-7", ClaudeThinking(None)),
        ("claude-opus-4-8", ClaudeThinking(None)),
        ("claude-opus-5", ClaudeThinking({"type": "disabled"})),
        ("claude-sonnet-5", ClaudeThinking({"type": "disabled"})),
        ("claude-haiku-5-5", ClaudeThinking({"type": "disabled"})),
        ("claude-sonnet-5-5", ClaudeThinking({"type": "between_tools"}, hidden=True)),
        ("claude-opus-5-5", ClaudeThinking(None, "low", None, ("reasoning_effort",), hidden=True)),
        ("claude-fable-5", ClaudeThinking(None, "low", None, ("reasoning_effort",), hidden=True)),
        ("claude-mythos-preview", ClaudeThinking(None, "low", None, ("reasoning_effort",), hidden=True)),
    ],
)
def test_claude_off(model: str, expected: ClaudeThinking) -> None:
    for ask in (OFF, effort("none"), ReasoningAsk(budget=0)):
        found = claude(ask, model, 5000)
        assert (found.thinking, found.effort, found.dropped, found.hidden, found.max_output) == (
            expected.thinking,
            expected.effort,
            expected.dropped,
            expected.hidden,
            5000,
        )


@pytest.mark.parametrize(
    ("ask", "limit", "tokens"),
    [
        (effort("high"), 32_000, 4096),
        (effort("high"), 5000, 4000),
        (effort("max"), 2000, 1600),
        (effort("max"), 1200, 1024),
        (effort("low"), 1025, 1024),
        (budget(10_000), 8000, 6400),
    ],
)
def test_budget_leaves_room_within_the_clients_limit(ask: ReasoningAsk, limit: int, tokens: int) -> None:
    found = claude(ask, "claude-sonnet-4-5", limit)
    assert found == ClaudeThinking({"type": "enabled", "budget_tokens": tokens}, max_output=limit)


def test_limit_too_small_to_think() -> None:
    assert claude(effort("high"), "claude-sonnet-4-5", 1024) == ClaudeThinking(None, None, 1024, ("reasoning_effort",))
    for ask in (budget(2000), ON):
        with pytest.raises(InvalidRequest, match="max_tokens must be greater than 1024") as caught:
            claude(ask, "claude-sonnet-4-5", 1024)
        assert caught.value.param == "max_tokens"
    assert claude(effort("high"), "claude-opus-5", 100) == ClaudeThinking(adaptive(), "high", 100)


def test_limit_the_client_did_not_give() -> None:
    assert default_output(rules_of("claude-opus-4-1")) == 32_000
    assert default_output(rules_of("claude-3-haiku")) == 4096
    assert default_output(UNKNOWN) == 8192
    assert default_output(UNKNOWN, 700) == 700
    assert claude(None, "claude-3-haiku").max_output == 4096
    assert claude(budget(60_000), "claude-sonnet-4-5") == ClaudeThinking(
        {"type": "enabled", "budget_tokens": 51_200}, max_output=64_000
    )
    small = claude_thinking(
        effort("high"), rules_of("claude-sonnet-4-5"), max_output=None, forced_tool=False, operator_output=2000
    )
    assert small == ClaudeThinking({"type": "enabled", "budget_tokens": 4096}, max_output=8192)


@pytest.mark.parametrize(
    ("model", "ask", "thinks", "dropped", "relaxed"),
    [
        ("claude-sonnet-4-5", None, False, (), False),
        ("claude-sonnet-4-5", effort("high"), False, ("thinking",), False),
        ("claude-sonnet-4-5", budget(2000), True, (), True),
        ("claude-sonnet-4-5", OFF, False, (), False),
        ("claude-opus-4-7", effort("high"), False, ("thinking",), False),
        ("claude-opus-4-7", ON, True, (), True),
        ("claude-opus-4-8", effort("high"), True, (), False),
        ("claude-sonnet-5", ON, True, (), False),
        ("claude-haiku-5-5", effort("high"), True, (), False),
        ("claude-opus-5-5", None, False, (), True),
        ("claude-opus-5-5", effort("high"), True, (), True),
        ("claude-fable-5-1", OFF, False, ("reasoning_effort",), True),
    ],
)
def test_cv_20_forced_tool_and_thinking(
    model: str, ask: ReasoningAsk | None, thinks: bool, dropped: tuple[str, ...], relaxed: bool
) -> None:
    found = claude(ask, model, 9000, forced=True)
    assert (found.on, found.dropped, found.relax_choice) == (thinks, dropped, relaxed)
    assert not claude(ask, model, 9000).relax_choice


def test_thinking_by_default_yields_to_a_forced_tool() -> None:
    """DeepSeek's own Messages endpoint: thinks unasked, and refuses a forced tool while it does."""
    assert claude(None, "deepseek-v4-pro", 9000, forced=True).thinking == {"type": "disabled"}
    assert claude(None, "deepseek-v4-pro", 9000).thinking is None


def test_other_vendors_behind_the_messages_format() -> None:
    assert claude(effort("max"), "unheard-of").thinking == {"type": "enabled", "budget_tokens": 4096}
    assert claude(budget(9000), "unheard-of").thinking == {"type": "enabled", "budget_tokens": 9000}
    assert claude(OFF, "unheard-of").thinking == {"type": "disabled"}
    assert claude(OFF, "glm-4.6").thinking == {"type": "disabled"}
    assert claude(OFF, "deepseek-chat").thinking is None
    stuck = claude(OFF, "minimax-m2")
    assert (stuck.thinking, stuck.dropped, stuck.hidden) == (None, ("reasoning_effort",), True)


# 3.4 Google


@pytest.mark.parametrize(
    ("model", "sent"),
    [
        ("gemini-2.5-pro", (128, 1024, 2048, 4096, 8192, 32_768)),
        ("gemini-2.5-flash", (1, 1024, 2048, 4096, 8192, 24_576)),
        ("gemini-2.5-flash-lite", (512, 1024, 2048, 4096, 8192, 24_576)),
        ("gemini-robotics-er-1.6-preview", (1, 1024, 2048, 4096, 8192, 24_576)),
    ],
)
def test_gemini_budgets(model: str, sent: tuple[int, ...]) -> None:
    rules = rules_of(model)
    for word, tokens in zip(LEVELS, sent, strict=True):
        config = {"thinkingBudget": tokens, "includeThoughts": True}
        assert gemini_thinking(effort(word), rules) == GeminiThinking(config)
        assert gemini_thinking(ReasoningAsk(on=True, effort=word, budget=700), rules).config == {
            "thinkingBudget": 700,
            "includeThoughts": True,
        }, "the budget wins"


def test_gemini_budget_stays_in_its_range() -> None:
    for model, asked, sent in (
        ("gemini-2.5-pro", 5, 128),
        ("gemini-2.5-pro", 99_999, 32_768),
        ("gemini-2.5-flash-lite", 100, 512),
        ("gemini-2.5-flash", 99_999, 24_576),
    ):
        config = gemini_thinking(budget(asked), rules_of(model)).config
        assert config == {"thinkingBudget": sent, "includeThoughts": True}


@pytest.mark.parametrize(
    ("model", "sent"),
    [
        ("gemini-3-pro-preview", "LOW LOW HIGH HIGH HIGH HIGH"),
        ("gemini-3.1-pro-preview", "LOW LOW MEDIUM HIGH HIGH HIGH"),
        ("gemini-3-flash-preview", "MINIMAL LOW MEDIUM HIGH HIGH HIGH"),
        ("gemini-3.1-flash-lite", "MINIMAL LOW MEDIUM HIGH HIGH HIGH"),
        ("gemini-3.5-flash-lite", "MINIMAL LOW MEDIUM HIGH HIGH HIGH"),
        ("gemini-3.6-flash", "MINIMAL LOW MEDIUM HIGH HIGH HIGH"),
        ("gemini-3.7-flash", "LOW LOW MEDIUM HIGH HIGH HIGH"),
        ("gemini-3.8-flash", "LOW LOW MEDIUM HIGH HIGH HIGH"),
        ("gemini-4-argon", "LOW LOW MEDIUM HIGH HIGH HIGH"),
        ("gemini-3.9-flash", "LOW LOW MEDIUM HIGH HIGH HIGH"),
        ("unheard-of", "LOW LOW MEDIUM HIGH HIGH HIGH"),
    ],
)
def test_gemini_levels(model: str, sent: str) -> None:
    for word, level in zip(LEVELS, sent.split(), strict=True):
        config = {"thinkingLevel": level, "includeThoughts": True}
        assert gemini_thinking(effort(word), rules_of(model)) == GeminiThinking(config)


@pytest.mark.parametrize(
    ("model", "config", "honest"),
    [
        ("gemini-2.5-pro", {"thinkingBudget": 128}, False),
        ("gemini-2.5-flash", {"thinkingBudget": 0}, True),
        ("gemini-2.5-flash-lite", {"thinkingBudget": 0}, True),
        ("gemini-3-pro", {"thinkingLevel": "LOW"}, False),
        ("gemini-3.1-pro", {"thinkingLevel": "LOW"}, False),
        ("gemini-3-flash", {"thinkingLevel": "MINIMAL"}, False),
        ("gemini-3.5-flash-lite", {"thinkingLevel": "MINIMAL"}, False),
        ("gemini-3.8-flash", {"thinkingLevel": "LOW"}, False),
        ("gemini-4-argon", {"thinkingLevel": "LOW"}, False),
        ("gemini-2.0-flash", None, True),
        ("unheard-of", None, False),
    ],
)
def test_gemini_off(model: str, config: dict[str, Any] | None, honest: bool) -> None:
    lost = () if honest else ("reasoning_effort",)
    for ask in (OFF, effort("none"), ReasoningAsk(budget=0)):
        assert gemini_thinking(ask, rules_of(model)) == GeminiThinking(config, lost, hidden=not honest)


def test_gemini_on_without_depth() -> None:
    shown = {"includeThoughts": True}
    for model in ("gemini-2.5-pro", "gemini-3-pro", "gemini-3.8-flash"):
        assert gemini_thinking(ON, rules_of(model)).config == shown
        assert gemini_thinking(budget(-1), rules_of(model)).config == shown
    assert gemini_thinking(ON, rules_of("gemini-2.5-flash-lite")).config == {"thinkingBudget": -1, **shown}


def test_gemini_thoughts_are_asked_for_only_when_seen() -> None:
    rules = rules_of("gemini-3-pro")
    assert gemini_thinking(None, rules) == GeminiThinking()
    assert gemini_thinking(ReasoningAsk(display="summarized"), rules).config == {"includeThoughts": True}
    hidden = ReasoningAsk(on=True, effort="high", display="omitted")
    assert gemini_thinking(hidden, rules).config == {"thinkingLevel": "HIGH"}


@pytest.mark.parametrize(
    "model",
    [
        "gemini-1.5-pro",
        "gemini-2.0-flash",
        "gemma-3-27b",
        "gemma-4-31b",
        "gemini-2.5-flash-image",
        "gemini-2.5-pro-tts",
    ],
)
def test_gemini_without_thinking_gets_no_config(model: str) -> None:
    assert gemini_thinking(effort("high"), rules_of(model)) == GeminiThinking(None, ("reasoning_effort",))


@given(asks, st.sampled_from(RULES))
def test_cv_68_never_both_budget_and_level(ask: ReasoningAsk | None, rules: ModelRules) -> None:
    assert not {"thinkingBudget", "thinkingLevel"} <= set(gemini_thinking(ask, rules).config or {})


# 3.2, 3.6 and 7.1 OpenAI


@pytest.mark.parametrize(
    ("model", "sent"),
    [
        ("o1", "low low medium high high high"),
        ("o4-mini", "low low medium high high high"),
        ("o3-deep-research", "medium medium medium medium medium medium"),
        ("gpt-5", "minimal low medium high high high"),
        ("gpt-5.1", "low low medium high high high"),
        ("gpt-5.1-codex-max", "low low medium high xhigh xhigh"),
        ("gpt-5-pro", "high high high high high high"),
        ("gpt-5.2-pro", "medium medium medium high xhigh xhigh"),
        ("gpt-5.1-chat-latest", "medium medium medium medium medium medium"),
        ("gpt-5.2", "low low medium high xhigh xhigh"),
        ("gpt-5.6-terra", "low low medium high xhigh xhigh"),
        ("gpt-5.6-sol", "low low medium high xhigh max"),
        ("gpt-6-sol", "low low medium high xhigh max"),
        ("gpt-6-astra", "low low medium high xhigh max"),
        ("unheard-of", "low low medium high high high"),
    ],
)
def test_openai_efforts(model: str, sent: str) -> None:
    for word, expected in zip(LEVELS, sent.split(), strict=True):
        assert openai_effort(effort(word), rules_of(model)) == OpenAIEffort(expected, "auto")


@pytest.mark.parametrize(
    ("model", "sent", "honest"),
    [
        *((model, "none", True) for model in ("gpt-5.1", "gpt-5.2", "gpt-5.4", "gpt-5.5", "gpt-5.6", "gpt-5.3-codex")),
        *((model, "none", True) for model in ("gpt-6-sol", "gpt-6-luna", "gemini-2.5-flash")),
        *((model, "minimal", False) for model in ("gpt-5", "gpt-5-mini", "gpt-5-nano")),
        *((model, "low", False) for model in ("o3", "gpt-5-codex", "gpt-6-astra", "gpt-6.1-sol")),
        ("gpt-5-pro", "high", False),
        ("gpt-5.5-pro", "medium", False),
        ("unheard-of", None, False),
        ("gpt-4o", None, True),
        ("o1-mini", None, True),
        ("claude-opus-4-8", None, True),
        ("qwen3-32b", None, False),
    ],
)
def test_openai_off(model: str, sent: str | None, honest: bool) -> None:
    lost = () if honest else ("reasoning_effort",)
    for ask in (OFF, effort("none"), ReasoningAsk(budget=0)):
        assert openai_effort(ask, rules_of(model)) == OpenAIEffort(sent, None, lost, hidden=not honest)


def test_openai_on_without_depth() -> None:
    assert openai_effort(ON, rules_of("gpt-5")) == OpenAIEffort(None, "auto")
    assert openai_effort(ON, rules_of("gpt-5.2")) == OpenAIEffort("high", "auto"), "left out it would be none"
    assert openai_effort(ON, UNKNOWN) == OpenAIEffort()
    assert openai_effort(None, rules_of("gpt-5.2")) == OpenAIEffort()


def test_openai_budgets_and_summaries() -> None:
    assert openai_effort(budget(2500), rules_of("gpt-5")) == OpenAIEffort("medium", "auto")
    both = ReasoningAsk(on=True, effort="low", budget=50_000, display="detailed")
    assert openai_effort(both, rules_of("gpt-5")) == OpenAIEffort("low", "detailed")
    hidden = ReasoningAsk(on=True, effort="low", display="omitted")
    assert openai_effort(hidden, rules_of("gpt-5")) == OpenAIEffort("low")
    assert openai_effort(ReasoningAsk(display="summarized"), rules_of("gpt-5")) == OpenAIEffort(None, "auto")


@pytest.mark.parametrize("model", ["gpt-4o", "gpt-3.5-turbo", "gpt-5-chat-latest", "o1-mini", "qwen3-32b"])
def test_openai_field_is_left_out_where_it_is_refused(model: str) -> None:
    assert openai_effort(effort("high"), rules_of(model)) == OpenAIEffort(dropped=("reasoning_effort",))
    assert openai_effort(ON, rules_of(model)) == OpenAIEffort(dropped=("thinking",))
