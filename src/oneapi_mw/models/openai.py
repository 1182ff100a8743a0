"""OpenAI's own models. Source of each row: the page named in it and the types of the `openai` package 3.57."""

from __future__ import annotations

import re
from dataclasses import replace

from oneapi_mw.models.family import Family, Row
from oneapi_mw.models.rules import ModelRules

_MODELS = "https://developers.openai.com/api/docs/models"
_REASONING = "https://developers.openai.com/api/docs/guides/reasoning"
_SEARCH = "https://developers.openai.com/api/docs/guides/tools-web-search"
_AUDIO = "https://developers.openai.com/api/docs/guides/audio"
_LOW_TO_HIGH = ("low", "medium", "high")
_NONE_TO_XHIGH = ("none", "low", "medium", "high", "xhigh")
_LOW_TO_MAX = ("low", "medium", "high", "xhigh", "max")

_PLAIN = ModelRules(
    family="openai",
    thinking="none",
    signatures="none",
    refuses=frozenset({"reasoning_effort", "verbosity"}),
    source=_MODELS,
    as_of="2026-11",
)
_REASONS = ModelRules(
    family="openai",
    thinking="effort",
    thinks_unasked=True,
    thinking_off="lowest",
    efforts=_LOW_TO_HIGH,
    default_effort="medium",
    shows_thinking=False,
    max_output=100_000,
    output_limit="max_completion_tokens",
    sampling="fixed",
    keeps_default_temperature=True,
    system_role="developer",
    source=_REASONING,
    as_of="2026-11",
)
_O1 = replace(_REASONS, refuses=frozenset({"verbosity"}))
_O3 = replace(_REASONS, refuses=frozenset({"verbosity", "stop"}))
_O1_EARLY = replace(
    _REASONS,
    thinking="none",
    efforts=(),
    default_effort=None,
    refuses=frozenset(
        {
            "reasoning_effort",
            "verbosity",
            "tools",
            "tool_choice",
            "parallel",
            "n",
            "output_format",
        }
    ),
    structured="none",
    system_role="user",
)
_DEEP_RESEARCH = replace(_REASONS, efforts=("medium",), responses_only=True, refuses=frozenset({"verbosity", "stop"}))

_5 = replace(
    _REASONS,
    thinking_off="minimal",
    efforts=("minimal", *_LOW_TO_HIGH),
    max_output=128_000,
    refuses=frozenset({"stop"}),
)
_CODEX = replace(_5, thinking_off="lowest", efforts=_LOW_TO_HIGH, responses_only=True)
_PRO = replace(_CODEX, efforts=("medium", "high", "xhigh"), default_effort="high")
_5_CHAT = replace(_5, thinking_off="lowest", efforts=("medium",), max_output=16_384)
_5_1 = replace(
    _5,
    thinks_unasked=False,
    thinking_off="none",
    efforts=("none", *_LOW_TO_HIGH),
    default_effort="none",
    sampling="at_effort_none",
)
_5_2 = replace(_5_1, efforts=_NONE_TO_XHIGH)
_5_5 = replace(_5_2, thinks_unasked=True, default_effort="medium")
_5_6 = replace(_5_5, tools_need_effort_none=True, cache_marks=True)
_6 = replace(_5_6, efforts=("none", *_LOW_TO_MAX))
# No effort none: tools go to Responses always.
_6_ASTRA = replace(_6, thinking_off="lowest", efforts=_LOW_TO_MAX, sampling="fixed")

_SEARCH_MODEL = replace(
    _PLAIN,
    refuses=frozenset(
        {
            "reasoning_effort",
            "temperature",
            "top_p",
            "top_k",
            "frequency_penalty",
            "presence_penalty",
            "logit_bias",
            "logprobs",
            "seed",
            "stop",
            "n",
            "tools",
            "tool_choice",
            "parallel",
            "modalities",
            "prediction",
            "metadata",
        }
    ),
    max_output=16_384,
    searches=True,
    always_searches=True,
    source=_SEARCH,
)
_AUDIO_MODEL = replace(
    _PLAIN,
    refuses=_PLAIN.refuses | {"output_format", "images"},
    structured="none",
    modalities=("text", "audio"),
    max_output=16_384,
    source=_AUDIO,
)

_COMPLETES = replace(_PLAIN, completes_only=True, max_output=4096)

_GPT = (
    Row(("gpt-3.5*", "gpt-35-turbo*"), replace(_PLAIN, max_output=4096)),
    Row(("gpt-3.5-turbo-instruct*",), _COMPLETES),
    Row(("gpt-4*",), replace(_PLAIN, max_output=8192)),
    Row(("gpt-4-turbo*", "gpt-4-1106*", "gpt-4-0125*", "gpt-4-vision*"), replace(_PLAIN, max_output=4096)),
    Row(("gpt-4o*", "chatgpt-4o*"), replace(_PLAIN, max_output=16_384)),
    Row(("gpt-4.1*",), replace(_PLAIN, max_output=32_768)),
    Row(("gpt-4.5*",), replace(_PLAIN, max_output=16_384)),
    Row(("gpt-4o*-audio*", "gpt-audio*"), _AUDIO_MODEL),
    Row(("gpt-4o*-search-preview*", "gpt-*-search-preview*", "gpt-*-search-api*"), _SEARCH_MODEL),
    Row(("gpt-5", "gpt-5-mini", "gpt-5-nano"), _5),
    Row(("gpt-5-codex",), _CODEX),
    Row(("gpt-5.1-codex", "gpt-5.1-codex-mini"), _CODEX),
    Row(("gpt-5.1-codex-max",), replace(_CODEX, efforts=(*_LOW_TO_HIGH, "xhigh"))),
    Row(("gpt-5.2-codex",), replace(_CODEX, efforts=(*_LOW_TO_HIGH, "xhigh"))),
    Row(("gpt-5.3-codex",), replace(_CODEX, thinking_off="none", efforts=_NONE_TO_XHIGH, sampling="at_effort_none")),
    Row(("gpt-5-pro",), replace(_CODEX, efforts=("high",), default_effort="high", max_output=272_000)),
    Row(("gpt-5.2-pro",), _PRO),
    Row(("gpt-5.4-pro",), _PRO),
    Row(("gpt-5.5-pro",), _PRO),
    Row(
        ("gpt-5-chat",),
        replace(
            _PLAIN,
            refuses=frozenset({"reasoning_effort"}),
            max_output=16_384,
            output_limit="max_completion_tokens",
            system_role="developer",
        ),
    ),
    Row(("gpt-5.1-chat",), _5_CHAT),
    Row(("gpt-5.1",), _5_1),
    Row(("gpt-5.2",), _5_2),
    Row(("gpt-5.4",), _5_2),
    Row(("gpt-5.5",), _5_5),
    Row(("gpt-5.6", "gpt-5.6-terra", "gpt-5.6-luna", "gpt-5.6-cyber"), _5_6),
    Row(("gpt-5.6-sol",), replace(_5_6, efforts=("none", *_LOW_TO_MAX))),
    # The first of its version is what a variant nobody knows inherits: the one that refuses most.
    Row(("gpt-6", "gpt-6-astra"), _6_ASTRA),
    Row(("gpt-6-sol",), _6),
    Row(("gpt-6-luna",), _6),
    Row(("gpt-6.1", "gpt-6.1-sol", "gpt-6.1-terra"), _6_ASTRA),
    Row(("gpt-6.2", "gpt-6.2-astra", "gpt-6.2-sol"), _6_ASTRA),
)
_O = (
    Row(("o1-mini",), replace(_O1_EARLY, max_output=65_536)),
    Row(("o1-preview",), replace(_O1_EARLY, max_output=32_768)),
    Row(("o1",), _O1),
    Row(("o1-pro",), replace(_O1, responses_only=True)),
    Row(("o3-mini",), _O1),
    Row(("o3",), _O3),
    Row(("o3-pro",), replace(_O3, responses_only=True)),
    Row(("o4-mini",), _O3),
)
_ALONE = (
    Row(("babbage-002", "davinci-002"), replace(_COMPLETES, max_output=16_384)),
    Row(("*deep-research*",), _DEEP_RESEARCH),
    Row(("codex-*",), replace(_O3, responses_only=True)),
    Row(("computer-use-preview*",), replace(_O3, responses_only=True, max_output=None)),
)

FAMILIES = (
    Family(
        _GPT,
        re.compile(r"(?:chat)?gpt-(?:(?P<major>\d+)(?:\.(?P<minor>\d+))?(?=$|-)|4o|audio)"),
        lines=("search", "audio", "codex", "chat", "pro"),
        apart=frozenset({"search", "audio", "codex", "chat", "pro"}),
    ),
    Family(
        _O,
        re.compile(r"o(?P<major>\d+)(?=$|-)"),
        lines=("preview", "pro"),
        apart=frozenset({"preview", "pro"}),
    ),
    Family(_ALONE),
)
