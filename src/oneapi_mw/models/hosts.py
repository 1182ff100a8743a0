"""Reasoning in the words of OpenAI-wire hosts, which agree on chat and on little else.

Providers by the names of `providers.catalogue`. Facts: conversion reference for reasoning 1.1, 3.2 and 3.6, and the
provider reference 4, as of 2026-11.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field
from typing import TypeAlias

from oneapi_mw.canonical.request import ReasoningAsk
from oneapi_mw.immutable import immutable
from oneapi_mw.models.depth import Wanted, clamp, coarse, wanted_of
from oneapi_mw.models.effort import gemini_thinking, openai_effort
from oneapi_mw.models.rules import ModelRules
from oneapi_mw.types import JsonObject


@immutable
class HostReasoning:
    """Fields for the top level of a chat body."""

    fields: JsonObject = field(default_factory=dict)
    dropped: tuple[str, ...] = ()
    hidden: bool = False
    """Reasoning could not be switched off: its text shall not be shown."""


Host: TypeAlias = Callable[[Wanted, ModelRules], HostReasoning]

_STUCK = HostReasoning({}, ("reasoning_effort",), hidden=True)
"""Off was asked for, and there is no off."""

_LOW_TO_HIGH = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "high", "max": "high"}
_DEEPSEEK = {"minimal": "high", "low": "high", "medium": "high", "high": "high", "xhigh": "max", "max": "max"}
_KIMI = {"minimal": "low", "low": "low", "medium": "high", "high": "high", "xhigh": "max", "max": "max"}
_DOUBAO = {**_LOW_TO_HIGH, "minimal": "minimal"}
_XAI = {"minimal": "low", "max": "xhigh"}
_MIN_BUDGET, _MAX_BUDGET = 128, 32_768
"""Range of SiliconFlow's `thinking_budget`."""


def provider_effort(provider: str, ask: ReasoningAsk | None, rules: ModelRules) -> HostReasoning:
    """Body fields that ask `provider` for this much reasoning; a provider without words of its own takes OpenAI's.

    Raises: `InvalidRequest` for an effort that is no effort.
    """
    want = wanted_of(ask)
    if provider in _OPENAI:
        found = openai_effort(ask, rules)
        return HostReasoning({"reasoning_effort": found.effort} if found.effort else {}, found.dropped, found.hidden)
    if provider == "geminiopenaicompatible":
        return _gemini(ask, rules)
    if rules.thinking == "none":
        return HostReasoning(dropped=want.lost())
    if not want.on and not want.off:
        return HostReasoning()
    return _HOSTS.get(provider, _self_hosted)(want, rules)


# Forms several hosts share.


def _words(want: Wanted, words: Mapping[str, str], *, off: HostReasoning) -> HostReasoning:
    """`reasoning_effort` in the words of a host. On without a depth needs none."""
    if want.off:
        return off
    return HostReasoning({"reasoning_effort": words[want.depth]} if want.depth else {})


def _gpt_oss(want: Wanted, hide: JsonObject | None = None) -> HostReasoning:
    off = HostReasoning({"reasoning_effort": "low", **(hide or {})}, ("reasoning_effort",), hidden=True)
    return _words(want, _LOW_TO_HIGH, off=off)


def _switch(want: Wanted, rules: ModelRules) -> HostReasoning:
    """`thinking {type}`, left out where it is on or off anyway."""
    if rules.thinking_off == "lowest":
        return _STUCK if want.off else HostReasoning()
    if want.off and rules.known and not rules.thinks_unasked:
        return HostReasoning()
    return HostReasoning({"thinking": {"type": "disabled" if want.off else "enabled"}})


def _budgeted(want: Wanted, rules: ModelRules) -> HostReasoning:
    """`enable_thinking` and `thinking_budget` of DashScope and its likes."""
    if rules.thinking_off == "lowest":
        if want.off:
            return _STUCK
    elif want.off:
        return HostReasoning({"enable_thinking": False})
    fields: JsonObject = {"enable_thinking": True}
    if want.tokens:
        fields["thinking_budget"] = want.tokens
    return HostReasoning(fields)


def _unknown(want: Wanted) -> HostReasoning:
    """A model nobody knows, behind a host that may serve any: three words, and no way to say none."""
    if want.off:
        return _STUCK
    return HostReasoning({"reasoning_effort": coarse(want.depth)} if want.depth else {})


def _refuses(want: Wanted, rules: ModelRules) -> HostReasoning:
    """A host that knows no such field."""
    return _STUCK if want.off and rules.thinks_unasked else HostReasoning(dropped=want.lost())


# Hosts.


def _deepseek(want: Wanted, rules: ModelRules) -> HostReasoning:
    if rules.thinking == "switch":
        return _switch(want, rules)
    return _words(want, _DEEPSEEK, off=HostReasoning({"thinking": {"type": "disabled"}}))


def _openrouter(want: Wanted, rules: ModelRules) -> HostReasoning:
    """OpenRouter clamps for each model itself; `effort` and `max_tokens` exclude each other."""
    reasoning: JsonObject
    if want.off:
        reasoning = {"effort": "none"}
    elif want.budget:
        reasoning = {"max_tokens": want.budget}
    elif want.effort:
        reasoning = {"effort": "xhigh" if want.effort == "max" else want.effort}
    else:
        reasoning = {"enabled": True}
    if want.hidden and not want.off:
        reasoning["exclude"] = True
    return HostReasoning({"reasoning": reasoning})


def _xai(want: Wanted, rules: ModelRules) -> HostReasoning:
    if not rules.efforts:
        return _refuses(want, rules)
    if want.off:
        return HostReasoning({"reasoning_effort": "none"}) if "none" in rules.efforts else _STUCK
    if not want.depth:
        return HostReasoning()
    return HostReasoning({"reasoning_effort": clamp(_XAI.get(want.depth, want.depth), rules.efforts)})


def _groq(want: Wanted, rules: ModelRules) -> HostReasoning:
    if rules.family == "gpt-oss":
        return _gpt_oss(want, {"include_reasoning": False})
    if rules.family == "qwen":
        return HostReasoning({"reasoning_effort": "none" if want.off else "default"})
    return _refuses(want, rules)


def _cerebras(want: Wanted, rules: ModelRules) -> HostReasoning:
    if rules.family == "gpt-oss":
        return _gpt_oss(want, {"reasoning_format": "hidden"})
    if rules.family == "glm":
        return HostReasoning({"reasoning_effort": "none"} if want.off else {})
    return _refuses(want, rules)


def _together(want: Wanted, rules: ModelRules) -> HostReasoning:
    if rules.family == "gpt-oss":
        return _gpt_oss(want)
    if rules.thinking_off == "lowest":
        return _STUCK if want.off else HostReasoning()
    return HostReasoning({"reasoning": {"enabled": want.on}}) if rules.known else _refuses(want, rules)


def _mistral(want: Wanted, rules: ModelRules) -> HostReasoning:
    if rules.thinking == "effort":
        return HostReasoning({"reasoning_effort": "none" if want.off else "high"})
    if rules.thinking == "switch":  # magistral
        return _STUCK if want.off else HostReasoning({"prompt_mode": "reasoning"})
    return _refuses(want, rules)


def _kimi(want: Wanted, rules: ModelRules) -> HostReasoning:
    if rules.thinking == "effort":
        off = HostReasoning({"reasoning_effort": "low"}, ("reasoning_effort",), hidden=True)
        return _words(want, _KIMI, off=off)
    return _switch(want, rules)


def _doubao(want: Wanted, rules: ModelRules) -> HostReasoning:
    if not rules.known:  # an endpoint id says nothing about the model
        return HostReasoning({"thinking": {"type": "disabled"}}) if want.off else _unknown(want)
    if rules.thinking == "effort" and want.depth and not want.off:
        return _words(want, _DOUBAO, off=_STUCK)
    return _switch(want, rules)


def _glm(want: Wanted, rules: ModelRules) -> HostReasoning:
    if rules.thinking == "effort" and want.depth and not want.off:
        return HostReasoning({"reasoning_effort": clamp(want.depth, rules.efforts)})
    if rules.thinking == "effort" and want.off and rules.thinking_off == "lowest":
        return HostReasoning({"reasoning_effort": rules.efforts[0]}, ("reasoning_effort",), hidden=True)
    return _switch(want, rules)


def _minimax(want: Wanted, rules: ModelRules) -> HostReasoning:
    return _STUCK if want.off else HostReasoning({"reasoning_split": True})


def _ollama(want: Wanted, rules: ModelRules) -> HostReasoning:
    if rules.family == "gpt-oss":
        depth = want.depth or "medium"
        return HostReasoning({"think": False if want.off else _LOW_TO_HIGH[depth]})
    if want.on and not rules.known:  # on is the default, and refused by models that cannot
        return HostReasoning(dropped=("reasoning_effort",) if want.effort else ())
    return HostReasoning({"think": want.on})


def _self_hosted(want: Wanted, rules: ModelRules) -> HostReasoning:
    """vLLM, SGLang and whatever else is behind a compatible channel."""
    if rules.family == "gpt-oss":
        return _gpt_oss(want)
    if rules.template_switch:
        if rules.thinking_off == "lowest":
            return _STUCK if want.off else HostReasoning()
        return HostReasoning({"chat_template_kwargs": {rules.template_switch: want.on}})
    if not rules.known:
        return _unknown(want)
    if rules.thinking in ("switch", "unknown"):
        return _refuses(want, rules)
    if want.off:
        if "none" in rules.efforts or rules.thinking_off == "zero":
            return HostReasoning({"reasoning_effort": "none"})
        return _STUCK if rules.thinks_unasked else HostReasoning()
    if not want.depth:
        return HostReasoning()
    depth = clamp(want.depth, rules.efforts) if rules.efforts else coarse(want.depth)
    return HostReasoning({"reasoning_effort": depth})


def _nvidia(want: Wanted, rules: ModelRules) -> HostReasoning:
    return _self_hosted(want, rules) if rules.template_switch else _refuses(want, rules)


def _fireworks(want: Wanted, rules: ModelRules) -> HostReasoning:
    return _words(want, _LOW_TO_HIGH, off=HostReasoning({"reasoning_effort": "none"}))


def _novita(want: Wanted, rules: ModelRules) -> HostReasoning:
    if not rules.known or rules.thinking_off == "lowest":
        return _refuses(want, rules)
    return HostReasoning({"enable_thinking": want.on})


def _siliconflow(want: Wanted, rules: ModelRules) -> HostReasoning:
    found = _budgeted(want, rules)
    budget = found.fields.get("thinking_budget")
    if budget is None:
        return found
    return HostReasoning({**found.fields, "thinking_budget": min(max(budget, _MIN_BUDGET), _MAX_BUDGET)})


def _cohere(want: Wanted, rules: ModelRules) -> HostReasoning:
    if want.off:
        return HostReasoning({"thinking": {"type": "disabled"}})
    thinking: JsonObject = {"type": "enabled"}
    if want.tokens:
        thinking["token_budget"] = want.tokens
    return HostReasoning({"thinking": thinking})


def _bedrock(want: Wanted, rules: ModelRules) -> HostReasoning:
    """For `additionalModelRequestFields` of Converse; Claude has a format of its own."""
    if rules.family == "gpt-oss":
        return _gpt_oss(want)
    if rules.family != "nova":
        return _refuses(want, rules)
    config: JsonObject = {"type": "disabled" if want.off else "enabled"}
    if want.on and want.depth:
        config["maxReasoningEffort"] = _LOW_TO_HIGH[want.depth]
    return HostReasoning({"reasoningConfig": config})


def _native_words(want: Wanted, rules: ModelRules) -> HostReasoning:
    """Hosts that pass OpenAI's word to the models that list efforts and know nothing else."""
    return _self_hosted(want, rules) if rules.thinking == "effort" else _refuses(want, rules)


def _gemini(ask: ReasoningAsk | None, rules: ModelRules) -> HostReasoning:
    """Google's compatible endpoint; its own `thinking_config` says more than `reasoning_effort`, never both."""
    found = gemini_thinking(ask, rules)
    if found.config is None:
        return HostReasoning({}, found.dropped, found.hidden)
    names = {
        "thinkingBudget": "thinking_budget",
        "thinkingLevel": "thinking_level",
        "includeThoughts": "include_thoughts",
    }
    config = {names[name]: value for name, value in found.config.items()}
    return HostReasoning({"extra_body": {"google": {"thinking_config": config}}}, found.dropped, found.hidden)


_OPENAI = frozenset({"openai", "azure", "copilot"})
_HOSTS: Mapping[str, Host] = {
    "ai360": _refuses,
    "ali": _budgeted,
    "alibailian": _budgeted,
    "awsclaude": _bedrock,
    "baichuan": _refuses,
    "baiduv2": _budgeted,
    "cerebras": _cerebras,
    "cohere": _cohere,
    "deepinfra": _fireworks,
    "deepseek": _deepseek,
    "doubao": _doubao,
    "fireworks": _fireworks,
    "groq": _groq,
    "lingyiwanwu": _refuses,
    "minimax": _minimax,
    "mistral": _mistral,
    "moonshot": _kimi,
    "novita": _novita,
    "nvidia": _nvidia,
    "ollama": _ollama,
    "openrouter": _openrouter,
    "perplexity": _native_words,
    "siliconflow": _siliconflow,
    "stepfun": _native_words,
    "togetherai": _together,
    "xai": _xai,
    "xunfeiv2": _refuses,
    "zhipu": _glm,
}
