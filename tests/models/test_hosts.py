"""Reasoning in the words of each host: the rows of the conversion table, cell by cell."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oneapi_mw.canonical.request import ReasoningAsk
from oneapi_mw.errors import InvalidRequest
from oneapi_mw.models.catalogue import families, rules_of
from oneapi_mw.models.depth import EFFORTS
from oneapi_mw.models.hosts import HostReasoning, provider_effort
from oneapi_mw.models.rules import UNKNOWN, ModelRules

RULES = [UNKNOWN, *(entry.rules for family in families() for entry in family.entries)]
HOSTS = [
    *("ai360", "ali", "alibailian", "awsclaude", "azure", "baichuan", "baiduv2", "cerebras", "cohere", "copilot"),
    *("deepinfra", "deepseek", "doubao", "fireworks", "geminiopenaicompatible", "groq", "lingyiwanwu", "minimax"),
    *("mistral", "moonshot", "novita", "nvidia", "ollama", "openai", "openaicompatible", "openrouter", "perplexity"),
    *("siliconflow", "stepfun", "togetherai", "xai", "xunfeiv2", "zhipu", "never-heard-of"),
]
STUCK = HostReasoning({}, ("reasoning_effort",), hidden=True)
ON, OFF = ReasoningAsk(on=True), ReasoningAsk(on=False)


def ask(word: str) -> ReasoningAsk:
    return ReasoningAsk(on=word != "none", effort=word)


def fields(provider: str, model: str, wanted: ReasoningAsk) -> dict[str, Any]:
    return provider_effort(provider, wanted, rules_of(model)).fields


# none, then what minimal ... max become
WORDS = [
    ("deepseek", "deepseek-v4-pro", {"thinking": {"type": "disabled"}}, "high high high high max max"),
    ("xai", "grok-3-mini", None, "low low high high high high"),
    ("xai", "grok-4.3", {"reasoning_effort": "none"}, "low low medium high high high"),
    ("xai", "grok-4.20-multi-agent", None, "low low medium high xhigh xhigh"),
    ("xai", "grok-4.6", None, "low low medium high high high"),
    ("mistral", "mistral-medium-3-5", {"reasoning_effort": "none"}, "high high high high high high"),
    ("mistral", "mistral-small-2603", {"reasoning_effort": "none"}, "high high high high high high"),
    ("doubao", "doubao-seed-1-6-250615", {"thinking": {"type": "disabled"}}, "minimal low medium high high high"),
    ("zhipu", "glm-5.2", {"thinking": {"type": "disabled"}}, "minimal low medium high xhigh max"),
    ("fireworks", "kimi-k2-thinking", {"reasoning_effort": "none"}, "low low medium high high high"),
    ("deepinfra", "deepseek-v3.2", {"reasoning_effort": "none"}, "low low medium high high high"),
    ("groq", "qwen3-32b", {"reasoning_effort": "none"}, "default default default default default default"),
    ("openai", "gpt-5.2", {"reasoning_effort": "none"}, "low low medium high xhigh xhigh"),
    ("azure", "gpt-5.2", {"reasoning_effort": "none"}, "low low medium high xhigh xhigh"),
    ("openaicompatible", "gpt-5.2", {"reasoning_effort": "none"}, "low low medium high xhigh xhigh"),
    ("openaicompatible", "claude-opus-4-8", {}, "low low medium high xhigh max"),
    ("openaicompatible", "gemini-2.5-flash", {"reasoning_effort": "none"}, "low low medium high high high"),
    ("openaicompatible", "unheard-of", None, "low low medium high high high"),
    ("doubao", "ep-20250101", {"thinking": {"type": "disabled"}}, "low low medium high high high"),
    ("perplexity", "sonar-deep-research", None, "low low medium high high high"),
    ("stepfun", "step-3.5-flash", None, "low low medium high high high"),
]


@pytest.mark.parametrize(("provider", "model", "off", "sent"), WORDS, ids=[f"{row[0]}-{row[1]}" for row in WORDS])
def test_hosts_with_an_effort(provider: str, model: str, off: dict[str, Any] | None, sent: str) -> None:
    for word, expected in zip(EFFORTS[1:], sent.split(), strict=True):
        assert provider_effort(provider, ask(word), rules_of(model)) == HostReasoning({"reasoning_effort": expected})
    stopped = STUCK if off is None else HostReasoning(off)
    assert provider_effort(provider, ask("none"), rules_of(model)) == stopped
    assert provider_effort(provider, OFF, rules_of(model)) == stopped


@pytest.mark.parametrize(
    ("provider", "hide"),
    [
        ("groq", {"include_reasoning": False}),
        ("cerebras", {"reasoning_format": "hidden"}),
        ("togetherai", {}),
        ("openaicompatible", {}),
        ("awsclaude", {}),
    ],
)
def test_gpt_oss(provider: str, hide: dict[str, Any]) -> None:
    rules = rules_of("openai/gpt-oss-120b")
    for word, sent in zip(EFFORTS[1:], ["low", "low", "medium", "high", "high", "high"], strict=True):
        assert provider_effort(provider, ask(word), rules) == HostReasoning({"reasoning_effort": sent})
    off = HostReasoning({"reasoning_effort": "low", **hide}, ("reasoning_effort",), hidden=True)
    assert provider_effort(provider, OFF, rules) == off
    assert provider_effort(provider, ON, rules) == HostReasoning()


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("xai", "grok-4.3"),
        ("openaicompatible", "claude-opus-5"),
        ("deepseek", "deepseek-v4-pro"),
        ("moonshot", "kimi-k3"),
    ],
)
def test_on_without_depth_leaves_the_effort_to_the_model(provider: str, model: str) -> None:
    assert provider_effort(provider, ON, rules_of(model)) == HostReasoning()


def test_kimi_k3_has_three_efforts_and_no_off() -> None:
    rules = rules_of("kimi-k3")
    sent = [provider_effort("moonshot", ask(word), rules).fields["reasoning_effort"] for word in EFFORTS]
    assert sent == ["low", "low", "low", "high", "high", "max", "max"]
    assert provider_effort("moonshot", OFF, rules).hidden


def test_glm_5_3_cannot_be_switched_off() -> None:
    rules = rules_of("glm-5.3")
    sent = [provider_effort("zhipu", ask(word), rules).fields["reasoning_effort"] for word in EFFORTS]
    assert sent == ["low", "low", "low", "high", "high", "high", "max"]
    assert provider_effort("zhipu", OFF, rules).dropped == ("reasoning_effort",)


def test_ollama() -> None:
    sent = [fields("ollama", "gpt-oss:20b", ask(word))["think"] for word in EFFORTS]
    assert sent == [False, "low", "low", "medium", "high", "high", "high"]
    assert fields("ollama", "gpt-oss:20b", ON) == {"think": "medium"}
    assert fields("ollama", "qwen3:32b", ask("high")) == {"think": True}
    assert fields("ollama", "qwen3:32b", OFF) == {"think": False}
    assert fields("ollama", "unheard-of", OFF) == {"think": False}
    assert provider_effort("ollama", ask("high"), UNKNOWN) == HostReasoning({}, ("reasoning_effort",))
    assert provider_effort("ollama", ON, UNKNOWN) == HostReasoning()
    assert provider_effort("ollama", ask("high"), rules_of("llama3.2:3b")).fields == {}


def test_openrouter() -> None:
    sent = [fields("openrouter", "anthropic/claude-opus-4.6", ask(word))["reasoning"]["effort"] for word in EFFORTS]
    assert sent == ["none", "minimal", "low", "medium", "high", "xhigh", "xhigh"]
    both = ReasoningAsk(on=True, effort="high", budget=3000, display="omitted")
    assert fields("openrouter", "x/y", both) == {"reasoning": {"max_tokens": 3000, "exclude": True}}
    assert fields("openrouter", "x/y", ON) == {"reasoning": {"enabled": True}}


@pytest.mark.parametrize(
    ("provider", "model", "on", "off"),
    [
        ("zhipu", "glm-4.6", {"thinking": {"type": "enabled"}}, {"thinking": {"type": "disabled"}}),
        ("zhipu", "glm-5.1", {"thinking": {"type": "enabled"}}, {"thinking": {"type": "disabled"}}),
        ("moonshot", "kimi-k2.5", {"thinking": {"type": "enabled"}}, {"thinking": {"type": "disabled"}}),
        ("moonshot", "kimi-k2.6", {"thinking": {"type": "enabled"}}, {"thinking": {"type": "disabled"}}),
        ("moonshot", "unheard-of", {"thinking": {"type": "enabled"}}, {"thinking": {"type": "disabled"}}),
        ("deepseek", "deepseek-chat", {"thinking": {"type": "enabled"}}, {}),
        ("togetherai", "deepseek-v3.1", {"reasoning": {"enabled": True}}, {"reasoning": {"enabled": False}}),
        ("openaicompatible", "qwen3-32b", *({"chat_template_kwargs": {"enable_thinking": on}} for on in (True, False))),
        ("openaicompatible", "glm-4.5", *({"chat_template_kwargs": {"enable_thinking": on}} for on in (True, False))),
        ("openaicompatible", "deepseek-v3.1", *({"chat_template_kwargs": {"thinking": on}} for on in (True, False))),
        ("openaicompatible", "granite-3.3-8b", *({"chat_template_kwargs": {"thinking": on}} for on in (True, False))),
        ("nvidia", "deepseek-ai/deepseek-v3.1", *({"chat_template_kwargs": {"thinking": on}} for on in (True, False))),
        ("nvidia", "nemotron-nano-9b", *({"chat_template_kwargs": {"enable_thinking": on}} for on in (True, False))),
        ("novita", "qwen3-32b", {"enable_thinking": True}, {"enable_thinking": False}),
        ("cerebras", "glm-4.6", {}, {"reasoning_effort": "none"}),
    ],
)
def test_hosts_with_a_switch(provider: str, model: str, on: dict[str, Any], off: dict[str, Any]) -> None:
    rules = rules_of(model)
    assert provider_effort(provider, ON, rules) == HostReasoning(on)
    assert provider_effort(provider, ask("high"), rules) == HostReasoning(on)
    assert provider_effort(provider, OFF, rules) == HostReasoning(off)


@pytest.mark.parametrize("provider", ["ali", "alibailian", "siliconflow", "baiduv2"])
def test_hosts_with_a_budget(provider: str) -> None:
    sent = [fields(provider, "qwen3-32b", ask(word)).get("thinking_budget") for word in EFFORTS]
    assert sent == [None, 1024, 1024, 2048, 4096, 8192, 16_384]
    assert fields(provider, "qwen3-32b", OFF) == {"enable_thinking": False}
    assert fields(provider, "qwen3-32b", ON) == {"enable_thinking": True}
    assert fields(provider, "qwen-plus", ReasoningAsk(budget=900)) == {"enable_thinking": True, "thinking_budget": 900}


def test_siliconflow_budget_stays_in_its_range() -> None:
    for tokens, sent in ((5, 128), (99_999, 32_768)):
        assert fields("siliconflow", "qwen3-32b", ReasoningAsk(budget=tokens))["thinking_budget"] == sent


def test_cohere() -> None:
    model = "command-a-reasoning-08-2025"
    sent = [fields("cohere", model, ask(word))["thinking"].get("token_budget") for word in EFFORTS]
    assert sent == [None, 1024, 1024, 2048, 4096, 8192, 16_384]
    assert fields("cohere", model, OFF) == {"thinking": {"type": "disabled"}}
    assert fields("cohere", model, ON) == {"thinking": {"type": "enabled"}}


def test_bedrock_nova() -> None:
    words = [fields("awsclaude", "amazon.nova-2-lite-v1:0", ask(word))["reasoningConfig"] for word in EFFORTS]
    assert words[0] == {"type": "disabled"}
    assert [word["maxReasoningEffort"] for word in words[1:]] == ["low", "low", "medium", "high", "high", "high"]
    assert fields("awsclaude", "amazon.nova-2-lite-v1:0", ON) == {"reasoningConfig": {"type": "enabled"}}


def test_gemini_compatible_endpoint_never_gets_both_forms() -> None:
    found = provider_effort("geminiopenaicompatible", ask("high"), rules_of("gemini-3-pro-preview"))
    config = {"thinking_level": "HIGH", "include_thoughts": True}
    assert found == HostReasoning({"extra_body": {"google": {"thinking_config": config}}})
    found = provider_effort("geminiopenaicompatible", OFF, rules_of("gemini-2.5-flash"))
    assert found.fields == {"extra_body": {"google": {"thinking_config": {"thinking_budget": 0}}}}
    found = provider_effort("geminiopenaicompatible", ask("high"), rules_of("gemini-2.0-flash"))
    assert found == HostReasoning({}, ("reasoning_effort",))


@pytest.mark.parametrize(
    ("provider", "model", "on"),
    [
        ("deepseek", "deepseek-reasoner", {}),
        ("mistral", "magistral-medium-2509", {"prompt_mode": "reasoning"}),
        ("alibailian", "qwq-32b", {"enable_thinking": True}),
        ("alibailian", "qwen3-30b-a3b-thinking-2507", {"enable_thinking": True}),
        ("openaicompatible", "qwen3-30b-a3b-thinking-2507", {}),
        ("moonshot", "kimi-k2-thinking", {}),
        ("moonshot", "kimi-k2.7-code", {}),
        ("minimax", "minimax-m2", {"reasoning_split": True}),
        ("togetherai", "deepseek-r1", {}),
    ],
)
def test_models_that_cannot_be_kept_from_reasoning(provider: str, model: str, on: dict[str, Any]) -> None:
    assert provider_effort(provider, OFF, rules_of(model)) == STUCK
    assert provider_effort(provider, ON, rules_of(model)) == HostReasoning(on)


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("xai", "grok-4-0709"),
        ("xai", "grok-code-fast-1"),
        ("xai", "unheard-of"),
        ("groq", "unheard-of"),
        ("groq", "deepseek-r1-distill-llama-70b"),
        ("cerebras", "unheard-of"),
        ("togetherai", "unheard-of"),
        ("nvidia", "unheard-of"),
        ("novita", "unheard-of"),
        ("mistral", "unheard-of"),
        ("ai360", "qwen3-32b"),
        ("baichuan", "unheard-of"),
        ("lingyiwanwu", "unheard-of"),
        ("xunfeiv2", "unheard-of"),
        ("stepfun", "unheard-of"),
        ("perplexity", "sonar-reasoning-pro"),
        ("openaicompatible", "deepseek-r1"),
    ],
)
def test_effort_is_left_out_where_it_is_refused(provider: str, model: str) -> None:
    assert provider_effort(provider, ask("high"), rules_of(model)) == HostReasoning({}, ("reasoning_effort",))


@pytest.mark.parametrize("provider", HOSTS)
def test_nothing_asked_nothing_added(provider: str) -> None:
    for rules in RULES:
        assert provider_effort(provider, None, rules) == HostReasoning()
        assert provider_effort(provider, ReasoningAsk(), rules) == HostReasoning()


@pytest.mark.parametrize("provider", HOSTS)
def test_model_that_cannot_reason(provider: str) -> None:
    for model in ("gpt-4o", "claude-3-5-haiku", "llama-3.3-70b", "qwen2.5-7b"):
        rules = rules_of(model)
        assert provider_effort(provider, ask("high"), rules) == HostReasoning({}, ("reasoning_effort",))
        assert provider_effort(provider, ON, rules) == HostReasoning({}, ("thinking",))
        assert provider_effort(provider, OFF, rules) == HostReasoning()


@given(
    provider=st.sampled_from(HOSTS),
    rules=st.sampled_from(RULES),
    word=st.sampled_from(EFFORTS[1:]),
    tokens=st.none() | st.integers(1, 70_000),
)
def test_cv_09_no_host_is_told_none_for_a_level(
    provider: str, rules: ModelRules, word: str, tokens: int | None
) -> None:
    found = provider_effort(provider, ReasoningAsk(on=True, effort=word, budget=tokens), rules)
    assert not found.hidden
    said = repr(found.fields)
    assert "'none'" not in said
    assert "False" not in said
    assert "disabled" not in said
    assert found.fields.get("thinking_budget") != 0


@given(provider=st.sampled_from(HOSTS), rules=st.sampled_from(RULES))
def test_off_is_said_or_reported(provider: str, rules: ModelRules) -> None:
    """A model that reasons unasked is told not to, or the client is told that it will."""
    found = provider_effort(provider, OFF, rules)
    if rules.thinks_unasked and rules.thinking != "none":
        assert found.fields or found.hidden
    assert found.hidden == ("reasoning_effort" in found.dropped)


def test_unknown_effort_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="reasoning_effort must be one of"):
        provider_effort("groq", ReasoningAsk(effort="huge"), UNKNOWN)
