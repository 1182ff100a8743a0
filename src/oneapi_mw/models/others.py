"""Models of the smaller families, most of them behind the OpenAI wire of several hosts.

How reasoning is asked for differs by host, not by model: `models.hosts`. A row says only whether the model reasons,
whether that can be switched off, and which efforts it tells apart.
"""

from __future__ import annotations

import re
from dataclasses import replace

from oneapi_mw.models.family import Family, Row
from oneapi_mw.models.rules import ModelRules

_LOW_TO_HIGH = ("low", "medium", "high")
_ALL = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
_PENALTIES = frozenset({"frequency_penalty", "presence_penalty"})


def _plain(family: str, source: str) -> ModelRules:
    """A model that does not reason."""
    return ModelRules(family=family, thinking="none", signatures="none", source=source, as_of="2026-11")


def _switched(plain: ModelRules) -> ModelRules:
    """The same as a model that reasons unless told not to."""
    return replace(plain, thinking="switch", thinks_unasked=True, thinking_off="disabled")


def _always(plain: ModelRules) -> ModelRules:
    """The same as a model that cannot be kept from reasoning."""
    return replace(_switched(plain), thinking_off="lowest")


_DEEPSEEK = replace(
    _plain("deepseek", "https://api-docs.deepseek.com/api/create-chat-completion"),
    structured="json",
    structured_with_tools=False,
    max_output=8192,
    refuses=frozenset({"other_tools"}),
)
_DEEPSEEK_R1 = replace(_always(_DEEPSEEK), sampling="fixed", forced_tool="no", max_output=65_536, think_tags="leading")
_DEEPSEEK_HYBRID = replace(
    _switched(_DEEPSEEK),
    thinks_unasked=False,
    thinking_off="omit",
    default_effort="none",
    sampling="at_effort_none",
    forced_tool="not_with_thinking",
    reasoning_history="require",
    template_switch="thinking",
)
_DEEPSEEK_ROWS = (
    Row(("deepseek-chat",), _DEEPSEEK_HYBRID),
    Row(("deepseek-reasoner",), replace(_DEEPSEEK_R1, think_tags="no", reasoning_history="require")),
    Row(("deepseek-r1*",), _DEEPSEEK_R1),
    Row(("deepseek-v2", "deepseek-v2.5"), _DEEPSEEK),
    Row(("deepseek-v3", "deepseek-v3-base"), _DEEPSEEK),
    Row(("deepseek-v3.1", "deepseek-v3-1"), replace(_DEEPSEEK_HYBRID, reasoning_history="drop")),
    Row(("deepseek-v3.2", "deepseek-v3-2"), _DEEPSEEK_HYBRID),
    Row(
        ("deepseek-v4", "deepseek-v4-pro", "deepseek-v4-flash"),
        replace(
            _DEEPSEEK_HYBRID,
            thinking="effort",
            thinks_unasked=True,
            thinking_off="disabled",
            efforts=("high", "max"),
            default_effort="high",
            max_output=None,
        ),
    ),
)

_GROK = replace(_plain("grok", "https://docs.x.ai/docs/models"), strict_tools=False, refuses=frozenset({"strict"}))
_GROK_4 = replace(_always(_GROK), refuses=_GROK.refuses | _PENALTIES | {"stop", "name"})
_GROK_EFFORTS = replace(_GROK_4, thinking="effort")
_GROK_ROWS = (
    Row(("grok-2*", "grok-3", "grok-3-fast"), _GROK),
    Row(("grok-3-mini", "grok-3-mini-fast"), replace(_GROK_EFFORTS, efforts=("low", "high"), default_effort="low")),
    Row(("grok-4", "grok-4-fast", "grok-4-fast-reasoning"), _GROK_4),
    Row(("grok-4.1-fast", "grok-4-1-fast", "grok-4-1-fast-reasoning"), _GROK_4),
    Row(("grok-4*-non-reasoning*",), replace(_GROK_4, thinking="none", thinks_unasked=False, thinking_off="omit")),
    Row(("grok-code*",), replace(_GROK_4, version=(1,))),
    Row(("grok-build*",), replace(_GROK_4, version=(0, 1))),
    Row(
        ("grok-4.20*",),
        replace(
            _GROK_EFFORTS,
            version=(4, 2),  # older than 4.3, whatever its number says
            thinking_off="none",
            efforts=("none", *_LOW_TO_HIGH),
            default_effort="low",
        ),
    ),
    Row(
        ("grok-4.20-multi-agent*",),
        replace(_GROK_EFFORTS, version=(4, 2), efforts=(*_LOW_TO_HIGH, "xhigh"), default_effort="low"),
    ),
    Row(
        ("grok-4.3",),
        replace(_GROK_EFFORTS, thinking_off="none", efforts=("none", *_LOW_TO_HIGH), default_effort="low"),
    ),
    Row(("grok-4.5",), replace(_GROK_EFFORTS, efforts=_LOW_TO_HIGH, default_effort="high")),
    Row(("grok-4.6",), replace(_GROK_EFFORTS, efforts=_LOW_TO_HIGH, default_effort="high")),
)

_KIMI = _plain("kimi", "https://platform.moonshot.ai/docs/api/chat")
_KIMI_ALWAYS = replace(
    _always(_KIMI),
    sampling="fixed",
    keeps_default_temperature=True,
    reasoning_history="require",
    template_switch="thinking",
)
_KIMI_ROWS = (
    Row(("moonshot-v1*", "kimi-latest"), _KIMI),
    Row(("kimi-k2", "kimi-k2-turbo", "kimi-k2-instruct"), _KIMI),
    Row(("kimi-k2-thinking*",), _KIMI_ALWAYS),
    Row(("kimi-thinking-preview",), replace(_KIMI_ALWAYS, refuses=frozenset({"tools", "tool_choice"}))),
    Row(("kimi-k2.5", "kimi-k2-5"), replace(_KIMI_ALWAYS, thinking_off="disabled")),
    Row(("kimi-k2.6", "kimi-k2-6"), replace(_KIMI_ALWAYS, thinking_off="disabled")),
    Row(("kimi-k2.7", "kimi-k2.7-code", "kimi-k2-7-code"), _KIMI_ALWAYS),
    Row(
        ("kimi-k3",),
        replace(
            _KIMI_ALWAYS,
            thinking="effort",
            efforts=("low", "high", "max"),
            default_effort="max",
            refuses=frozenset({"n"}),
        ),
    ),
)

_GLM = replace(
    _plain("glm", "https://docs.z.ai/api-reference/llm/chat-completion"), structured="json", forced_tool="no"
)
_GLM_HYBRID = replace(_switched(_GLM), reasoning_history="keep", template_switch="enable_thinking")
_GLM_ROWS = (
    Row(("chatglm*", "glm-3*", "glm-4", "glm-4v*", "glm-4-*"), _GLM),
    Row(("glm-z1*", "glm-4.1v-thinking*"), replace(_always(_GLM), think_tags="leading")),
    Row(("glm-4.5", "glm-4.5v", "glm-4.5-air"), _GLM_HYBRID),
    Row(("glm-4.6", "glm-4.6v"), _GLM_HYBRID),
    Row(("glm-4.7", "glm-4.7-flash"), _GLM_HYBRID),
    Row(("glm-5", "glm-5-turbo"), _GLM_HYBRID),
    Row(("glm-5.1",), _GLM_HYBRID),
    Row(("glm-5.2",), replace(_GLM_HYBRID, thinking="effort", efforts=_ALL)),
    Row(
        ("glm-5.3",),
        replace(_GLM_HYBRID, thinking="effort", thinking_off="lowest", efforts=("low", "high", "max")),
    ),
)

_QWEN = _plain("qwen", "https://www.alibabacloud.com/help/en/model-studio/deep-thinking")
_QWEN_OPEN = replace(
    _switched(_QWEN),
    forced_tool="not_with_thinking",
    think_tags="leading",
    template_switch="enable_thinking",
    thinks_buffered=False,
)
_QWEN_COMMERCIAL = replace(_QWEN_OPEN, thinks_unasked=False, think_tags="no", thinks_buffered=True)
_QWEN_ALWAYS = replace(_QWEN_OPEN, thinking_off="lowest", think_tags="prefilled")
_QWEN_ROWS = (
    Row(("qwen-*", "qwen1*", "qwen2*", "qwen-max*", "codeqwen*"), _QWEN),
    Row(("qwen-plus*", "qwen-turbo*", "qwen-flash*"), _QWEN_COMMERCIAL),
    Row(("qwen3*",), _QWEN_OPEN),
    Row(("qwen3*-instruct*", "qwen3*-coder*"), _QWEN),
    Row(("qwen3*-max*", "qwen3*-plus*", "qwen3*-flash*"), _QWEN_COMMERCIAL),
    Row(("qwen3*-thinking*", "qwq*", "qvq*"), _QWEN_ALWAYS),
)

_MISTRAL = _plain("mistral", "https://docs.mistral.ai/capabilities/reasoning")
_MISTRAL_EFFORT = replace(
    _MISTRAL,
    thinking="effort",
    thinking_off="none",
    efforts=("none", "high"),
    default_effort="none",
)
_MISTRAL_ROWS = (
    Row(("mistral*", "open-mistral*", "open-mixtral*", "mixtral*", "pixtral*", "codestral*", "devstral*"), _MISTRAL),
    Row(("ministral*", "mistral-small-2[45]*", "labs-devstral*"), _MISTRAL),
    Row(("magistral*",), replace(_always(_MISTRAL), think_tags="leading")),
    Row(("mistral-small", "mistral-small-4*"), _MISTRAL_EFFORT),
    Row(("mistral-small-24*", "mistral-small-25*", "mistral-small-3*"), _MISTRAL),
    Row(("mistral-medium", "mistral-medium-3.5*", "mistral-medium-3-5*"), _MISTRAL_EFFORT),
    Row(("mistral-medium-23*", "mistral-medium-25*"), _MISTRAL),
    Row(("mistral-large", "mistral-large-4*"), _MISTRAL_EFFORT),
    Row(("mistral-large-24*", "mistral-large-25*"), _MISTRAL),
)

_DOUBAO = _plain("doubao", "https://www.volcengine.com/docs/82379/1449737")
_DOUBAO_SEED = replace(_switched(_DOUBAO), thinking="effort", efforts=("minimal", *_LOW_TO_HIGH))
_DOUBAO_ROWS = (
    Row(("doubao-*",), _DOUBAO),
    Row(("doubao-1.5-thinking*", "doubao-1-5-thinking*"), _switched(_DOUBAO)),
    Row(("doubao-seed-1.6", "doubao-seed-1-6", "doubao-seed-1-6-flash", "doubao-seed-1-6-vision"), _DOUBAO_SEED),
    Row(("doubao-seed-*",), replace(_DOUBAO_SEED, version=(1, 6))),
    Row(("doubao-seed-1.6-thinking*", "doubao-seed-1-6-thinking*"), replace(_DOUBAO_SEED, thinking_off="lowest")),
    Row(
        ("seed-oss*",),
        replace(_always(_plain("seed", "https://github.com/ByteDance-Seed/seed-oss")), think_tags="leading"),
    ),
)

_GPT_OSS = replace(
    _plain("gpt-oss", "https://github.com/openai/gpt-oss"),
    thinking="effort",
    thinks_unasked=True,
    thinking_off="lowest",
    efforts=_LOW_TO_HIGH,
    default_effort="medium",
    reasoning_history="keep",
    refuses=frozenset({"images"}),
)
_MINIMAX = _plain("minimax", "https://platform.minimax.io/docs/api-reference/text-openai-api")
_COHERE = _plain("cohere", "https://docs.cohere.com/docs/reasoning")
_SONAR = replace(
    _plain("sonar", "https://docs.perplexity.ai/api-reference"),
    refuses=frozenset({"tools", "tool_choice", "stop"}),
    searches=True,
)
_NOVA = _plain("nova", "https://docs.aws.amazon.com/nova/latest/nova2-userguide/extended-thinking.html")
_NEMOTRON = _plain("nemotron", "https://docs.api.nvidia.com/nim/reference/llm-apis")
_STEP = _plain("step", "https://platform.stepfun.com/docs/api-reference/chat")
_GRANITE = _plain("granite", "https://www.ibm.com/granite/docs/models/granite")
_LLAMA = _plain("llama", "https://www.llama.com/docs")

_MIXED = (
    Row(("gpt-oss*",), _GPT_OSS),
    Row(("abab*", "minimax-text*"), _MINIMAX),
    Row(("minimax-m*",), replace(_always(_MINIMAX), think_tags="leading", reasoning_history="keep")),
    Row(("command*", "c4ai*"), _COHERE),
    Row(("command-a-reasoning*",), _switched(_COHERE)),
    Row(("sonar*",), _SONAR),
    Row(("sonar-reasoning*",), replace(_always(_SONAR), think_tags="leading")),
    Row(
        ("sonar-deep-research*",),
        replace(_always(_SONAR), thinking="effort", efforts=_LOW_TO_HIGH, think_tags="leading"),
    ),
    Row(("nova-*",), _NOVA),
    Row(
        ("nova-2-*",),
        replace(_NOVA, thinking="effort", thinking_off="disabled", efforts=_LOW_TO_HIGH),
    ),
    Row(("nemotron-*", "nvidia-nemotron-*"), replace(_switched(_NEMOTRON), template_switch="enable_thinking")),
    Row(("step-*",), _STEP),
    Row(
        ("step-3.5*",),
        replace(_STEP, thinking="effort", thinks_unasked=True, thinking_off="lowest", efforts=_LOW_TO_HIGH),
    ),
    Row(("granite*",), _GRANITE),
    Row(
        ("granite-3.2*", "granite-3.3*"),
        replace(_GRANITE, thinking="switch", thinking_off="omit", template_switch="thinking"),
    ),
    Row(("llama*", "meta-llama*"), _LLAMA),
)

FAMILIES = (
    Family(_DEEPSEEK_ROWS, re.compile(r"deepseek-v(?P<major>\d+)(?:[.-](?P<minor>\d))?(?=$|-)")),
    Family(
        _GROK_ROWS,
        re.compile(r"grok-(?:[a-z]+-)*(?P<major>\d)(?:[.-](?P<minor>\d{1,2}))?(?=$|-)"),
        lines=("mini", "code", "build", "multi-agent"),
        apart=frozenset({"mini", "code", "build", "multi-agent"}),
    ),
    Family(
        _KIMI_ROWS,
        re.compile(r"kimi-k(?P<major>\d)(?:[.-](?P<minor>\d))?(?=$|-)"),
        lines=("thinking",),
        apart=frozenset({"thinking"}),
    ),
    Family(_GLM_ROWS, re.compile(r"glm-(?P<major>\d)(?:[.-](?P<minor>\d))?v?(?=$|-)")),
    Family(_QWEN_ROWS, re.compile(r"qwen-?(?P<major>\d)(?:\.(?P<minor>\d))?(?=$|-)")),
    Family(_MISTRAL_ROWS),
    Family(_DOUBAO_ROWS, re.compile(r"doubao-seed-(?P<major>\d)(?:[.-](?P<minor>\d))?(?=$|-)")),
    Family(_MIXED),
)
