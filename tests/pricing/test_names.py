"""Which card a name leads to: names as people write them on channels, at whom, and whose card that is.

A name that leads to the card of another model is the worst that can happen here: it is billed wrongly, and nobody is
told. A name that leads to none is refused with a word on what to do.
"""

from __future__ import annotations

from typing import Any

import pytest

from oneapi_mw.pricing.names import aliases, fits, spellings
from oneapi_mw.pricing.shipped import read_shipped, shipped_table
from oneapi_mw.pricing.table import GLOBAL_ORDER, PriceTable

FOUND: dict[str, dict[str, str]] = {
    # provider: {name on the channel: the card, of the provider itself unless a slash says whose}
    "openai": {
        "gpt-4o": "gpt-4o",
        "GPT-4o": "gpt-4o",
        "openai/gpt-4o": "gpt-4o",
        "gpt-4o-2024-05-13": "gpt-4o-2024-05-13",
        "gpt-4o-2024-08-06": "gpt-4o",
        "gpt-4o-2024-11-20": "gpt-4o",
        "chatgpt-4o-latest": "chatgpt-4o-latest",
        "gpt-4o-mini": "gpt-4o-mini",
        "gpt-4o-mini-2024-07-18": "gpt-4o-mini",
        "gpt-4o-audio-preview": "gpt-4o-audio-preview",
        "gpt-4o-audio-preview-2024-12-17": "gpt-4o-audio-preview-2024-12-17",
        "gpt-4o-mini-audio-preview": "gpt-4o-mini-audio-preview",
        "gpt-4o-realtime-preview-2025-06-03": "gpt-4o-realtime-preview",
        "gpt-4o-mini-realtime-preview": "gpt-4o-mini-realtime-preview",
        "gpt-realtime-2025-08-28": "gpt-realtime-2025-08-28",
        "gpt-4o-transcribe": "gpt-4o-transcribe",
        "gpt-4o-mini-tts": "gpt-4o-mini-tts",
        "gpt-4o-search-preview-2025-03-11": "gpt-4o-search-preview",
        "gpt-4.1-2025-04-14": "gpt-4.1",
        "gpt-4.1-nano": "gpt-4.1-nano",
        "gpt-4.5-preview-2025-02-27": "gpt-4.5-preview",
        "gpt-4-0613": "gpt-4",
        "gpt-4-32k-0613": "gpt-4-32k",
        "gpt-4-turbo-preview": "gpt-4-turbo",
        "gpt-4-1106-preview": "gpt-4-turbo",
        "gpt-4-1106-vision-preview": "gpt-4-vision-preview",
        "gpt-3.5-turbo-0125": "gpt-3.5-turbo",
        "gpt-3.5-turbo-0301": "gpt-3.5-0301",
        "gpt-3.5-turbo-0613": "gpt-3.5-turbo-0613",
        "gpt-3.5-turbo-1106": "gpt-3.5-turbo-1106",
        "gpt-3.5-turbo-16k-0613": "gpt-3.5-turbo-16k",
        "gpt-3.5-turbo-instruct-0914": "gpt-3.5-turbo-instruct",
        "gpt-5-2025-08-07": "gpt-5",
        "gpt-5-chat-latest": "gpt-5",
        "gpt-5-codex": "gpt-5",
        "gpt-5-mini-2025-08-07": "gpt-5-mini",
        "gpt-5-nano-2025-08-07": "gpt-5-nano",
        "gpt-5-pro-2025-10-06": "gpt-5-pro",
        "gpt-5.1-codex-mini": "gpt-5.1-codex-mini",
        "gpt-5.2-pro": "gpt-5.2-pro",
        "o1-2024-12-17": "o1",
        "o1-pro-2025-03-19": "o1-pro",
        "o3-mini-2025-01-31": "o3-mini",
        "o3-pro": "o3-pro",
        "o3-deep-research-2025-06-26": "o3-deep-research",
        "o4-mini-2025-04-16": "o4-mini",
        "o4-mini-deep-research": "o4-mini-deep-research",
        "codex-mini-latest": "codex-mini",
        "computer-use-preview-2025-03-11": "computer-use",
        "text-embedding-3-large": "text-embedding-3-large",
        "text-embedding-ada-002-v2": "text-embedding-ada-002",
        "tts-1-hd": "tts-1-hd",
        "whisper-1": "whisper-1",
        "dall-e-3": "dall-e-3",
        "gpt-image-1-mini": "gpt-image-1-mini",
        "sora-2-pro": "sora-2-pro",
        "ft:gpt-4o-2024-08-06:acme::abc123": "ft:gpt-4o",
        "ft:gpt-4o-mini-2024-07-18:acme:mine:abc123": "ft:gpt-4o-mini",
        "ft:gpt-4.1-mini-2025-04-14:acme::abc123": "ft:gpt-4.1-mini",
        "ft:gpt-3.5-turbo-0125:acme::abc123": "ft:gpt-3.5-turbo-",
        "ft:gpt-4-0613:acme::abc123": "gpt-4",
        "gpt-4o-mini-2024-07-18.ft-0123456789abcdef": "gpt-4o-mini-2024-07-18.ft-",
    },
    "azure": {
        "gpt-4o": "openai/gpt-4o",
        "gpt-35-turbo": "openai/gpt-3.5-turbo",
        "o3-mini": "o3-mini",
        "o4-mini-deep-research": "openai/o4-mini-deep-research",
        "Phi-4": "phi-4",
    },
    "anthropic": {
        "claude-3-opus-20240229": "claude-3-opus-latest",
        "claude-3-haiku-20240307": "claude-3-haiku",
        "claude-3-5-sonnet-20240620": "claude-3-5-sonnet",
        "claude-3-5-sonnet-latest": "claude-3-5-sonnet",
        "claude-3.5-sonnet": "claude-3-5-sonnet",
        "claude-3-5-haiku-20241022": "claude-3-5-haiku-latest",
        "claude-3-7-sonnet-20250219": "claude-3-7-sonnet-latest",
        "claude-3-7-sonnet-20250219-thinking": "claude-3-7-sonnet-latest",
        "claude-sonnet-4-20250514": "claude-sonnet-4-0",
        "claude-4-sonnet-20250514": "claude-sonnet-4-0",
        "claude-opus-4-20250514": "claude-opus-4-0",
        "claude-opus-4-1-20250805": "claude-opus-4-1",
        "claude-sonnet-4-5-20250929": "claude-sonnet-4-5",
        "claude-sonnet-4-5-20250929-thinking": "claude-sonnet-4-5",
        "claude-sonnet-4.5": "claude-sonnet-4-5",
        "CLAUDE-SONNET-4-5": "claude-sonnet-4-5",
        "anthropic/claude-sonnet-4.5": "claude-sonnet-4-5",
        "claude-haiku-4-5-20251001": "claude-haiku-4-5",
        "claude-opus-4-5-20251101": "claude-opus-4-5",
        "claude-opus-4-6": "claude-opus-4-6",
        "claude-2.1": "claude-2",
    },
    "vertexai": {
        "claude-3-5-sonnet-v2@20241022": "claude-3-5-sonnet",
        "claude-sonnet-4@20250514": "claude-4-sonnet",
        "claude-sonnet-4-5@20250929": "claude-sonnet-4-5",
        "claude-haiku-4-5@20251001": "claude-haiku-4-5",
        "publishers/anthropic/models/claude-opus-4-5@20251101": "claude-opus-4-5",
        "gemini-2.5-pro": "gemini-2.5-pro",
    },
    "aws": {
        "anthropic.claude-3-haiku-20240307-v1:0": "regional.anthropic.claude-3-haiku-20240307-v1:0",
        "us.anthropic.claude-3-5-sonnet-20241022-v2:0": "regional.anthropic.claude-3-5-sonnet-20241022-v2:0",
        "eu.anthropic.claude-sonnet-4-20250514-v1:0": "regional.anthropic.claude-sonnet-4-20250514-v1:0",
        "us.anthropic.claude-sonnet-4-5-20250929-v1:0": "regional.anthropic.claude-sonnet-4-5-20250929-v1:0",
        "ca.anthropic.claude-sonnet-4-5-20250929-v1:0": "regional.anthropic.claude-sonnet-4-5-20250929-v1:0",
        "anthropic.claude-sonnet-4-5-20250929-v1:0": "regional.anthropic.claude-sonnet-4-5-20250929-v1:0",
        "global.anthropic.claude-sonnet-4-5-20250929-v1:0": "global.anthropic.claude-sonnet-4-5-20250929-v1:0",
        "global.anthropic.claude-opus-4-5-20251101-v1:0": "global.anthropic.claude-opus-4-5-v1:0",
        "global.anthropic.claude-opus-4-6-v1": "global.anthropic.claude-opus-4-6-v1:0",
        "claude-opus-4-20250514": "regional.anthropic.claude-opus-4-20250514-v1:0",
        "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-opus-4-1-20250805-v1:0": (
            "regional.anthropic.claude-opus-4-1-20250805-v1:0"
        ),
        "arn:aws:bedrock:us-east-1:123456789012:inference-profile/global.zai.glm-5.3": "global.zai.glm-5.3",
        "us.amazon.nova-lite-v1:0": "amazon.nova-lite-v1:0",
        "us.meta.llama3-3-70b-instruct-v1:0": "meta.llama3-3-70b-instruct-v1:0",
        "us.deepseek.r1-v1:0": "deepseek.r1-v1:0",
        "openai.gpt-oss-120b-1:0": "openai.gpt-oss-120b-1:0",
        "cohere.command-r-plus-v1:0": "cohere.command-r-plus-v1:0",
        "cohere.command-r-v1:0": "cohere.command-r-v1:0",
        "cohere.rerank-v3-5:0": "cohere.rerank-v3-5:0",
    },
    "gemini": {
        "gemini-2.5-pro": "gemini-2.5-pro",
        "models/gemini-2.5-pro": "gemini-2.5-pro",
        "publishers/google/models/gemini-2.5-flash": "gemini-2.5-flash",
        "gemini-2.5-pro-preview-05-06": "gemini-2.5-pro",
        "gemini-2.5-pro-exp-03-25": "gemini-2.5-pro",
        "gemini-2.5-flash-preview-09-2025": "gemini-2.5-flash",
        "gemini-2.5-flash-lite-preview-06-17": "gemini-2.5-flash-lite",
        "gemini-2.5-flash-image-preview": "gemini-2.5-flash-image",
        "gemini-2.5-pro-preview-tts": "gemini-2.5-pro-tts",
        "gemini-2.5-flash-preview-tts": "gemini-2.5-flash-preview-tts",
        "gemini-live-2.5-flash-preview": "gemini-live-2.5-flash",
        "gemini-2.5-flash-native-audio-preview-09-2025": "gemini-live-2.5-flash",
        "gemini-2.0-flash-001": "gemini-2.0-flash",
        "gemini-2.0-flash-lite-preview-02-05": "gemini-2.0-flash-lite",
        "gemini-1.5-pro-002": "gemini-1.5-pro",
        "gemini-3-pro-image-preview": "gemini-3-pro-image-preview",
        "gemini-3.1-pro-preview-customtools": "gemini-3.1-pro-preview",
        "gemini-embedding-001": "gemini-embedding-001",
        "veo-3.0-generate-001": "veo-3.0-generate-001",
    },
    "openrouter": {
        "anthropic/claude-sonnet-4.5": "anthropic/claude-sonnet-4.5",
        "anthropic/claude-sonnet-4-5": "anthropic/claude-sonnet-4-5",
        "anthropic/claude-opus-4.6-fast": "anthropic/claude-opus-4.6-fast",
        "openai/gpt-4o": "openai/gpt-4o",
        "openai/gpt-4o:extended": "openai/gpt-4o:extended",
        "deepseek/deepseek-r1": "deepseek/deepseek-r1",
        "deepseek/deepseek-r1:free": "deepseek/deepseek-r1:free",
        "qwen/qwen3-coder": "qwen/qwen3-coder",
        "qwen/qwen3-coder:free": "qwen/qwen3-coder:free",
        "google/gemini-2.5-pro": "google/gemini-2.5-pro",
    },
    "deepseek": {
        "deepseek-chat": "deepseek-chat",
        "deepseek-reasoner": "deepseek-reasoner",
        "deepseek-v4-pro-0813": "deepseek-v4-pro",
    },
    "mistral": {
        "mistral-large-2411": "mistral-large",
        "mistral-large-2512": "mistral-large-2512",
        "mistral-medium-2505": "mistral-medium-3-1",
        "mistral-medium-2312": "mistral-medium-2312",
        "codestral-2508": "codestral-2508",
        "open-mixtral-8x22b": "mixtral-8x22b-instruct",
        "magistral-medium-2506": "magistral-medium",
        "mistral-ocr-2505": "mistral-ocr-2505",
    },
    "cohere": {
        "command-r-08-2024": "command-r",
        "command-r7b-12-2024": "command-r7b",
        "command-a-03-2025": "command-a",
        "rerank-v3.5": "rerank-v3.5",
        "rerank-multilingual-v3.0": "rerank-multilingual-v3.0",
    },
    "groq": {
        "llama-3.3-70b-versatile": "llama-3.3-70b-versatile",
        "openai/gpt-oss-120b": "openai/gpt-oss-120b",
        "moonshotai/kimi-k2-instruct-0905": "moonshotai/kimi-k2-instruct",
        "whisper-large-v3-turbo": "whisper-large-v3-turbo",
    },
    "xai": {
        "grok-4": "grok-4-0709",
        "x-ai/grok-4": "grok-4-0709",
        "grok-4-fast": "grok-4-fast-reasoning",
        "grok-3-fast": "grok-3-fast",
        "grok-2-latest": "grok-2-1212",
    },
    "ali": {"Qwen-Max": "qwen-max", "qwen3-coder-plus": "qwen3-coder-plus"},
    "zhipu": {"glm-4.6": "glm-4.6", "GLM-4.6": "glm-4.6", "glm-4.5-flash": "glm-4.5-flash"},
    "zai": {"glm-4.5-flash": "zhipu/glm-4.5-flash"},
    "moonshot": {"kimi-k2-0905-preview": "kimi-k2-0905-preview", "kimi-k2-thinking-turbo": "kimi-k2-thinking-turbo"},
    "minimax": {"minimax-m2": "MiniMax-M2", "MiniMax-M1": "minimax-m1"},
    "together": {"meta-llama/llama-3.3-70b-instruct-turbo": "meta-llama/Llama-3.3-70B-Instruct-Turbo"},
    "fireworks": {"accounts/fireworks/models/qwen3-235b-a22b": "qwen3-235b-a22b"},
    "baichuan": {"baichuan4-turbo": "Baichuan4-Turbo"},
    "custom": {
        "gpt-4o-2024-08-06": "openai/gpt-4o",
        "anthropic/claude-3.5-sonnet": "anthropic/claude-3-5-sonnet",
        "us.anthropic.claude-sonnet-4-5-20250929-v1:0": "anthropic/claude-sonnet-4-5",
        "vertex_ai/gemini-2.5-pro": "gemini/gemini-2.5-pro",
        "deepseek-r1-distill-llama-70b": "groq/deepseek-r1-distill-llama-70b",
        "grok-4": "xai/grok-4-0709",
        "whisper-large-v3": "groq/whisper-large-v3",
    },
}

MISSING: dict[str, tuple[str, ...]] = {
    # what is no name of any model in the table, however much it looks like one
    "openai": (
        "gpt-4o-odd", "gpt-4o-all", "my-gpt-4o-proxy", "gpt-5-ultra", "gpt-4.5-preview-pro", "o1-ultra", "o3-max",
        "gpt-4-gizmo-g-abc", "gpt-3.5-turbo-instruct-x", "dall-e-3-hd", "tts-1-hd-2", "ft:davinci-002:acme::abc",
        "computer-use-max", "gpt-oss-120b",
    ),
    "azure": ("my-deployment", "gpt-4o-deployment", "DeepSeek-R1"),
    "anthropic": (
        "claude-opus-4-6-fast", "claude-opus-4-8-fast", "claude-sonnet-4-5:free", "claude-sonnet-4-50",
        "claude-opus-4-10", "claude-haiku-9", "claude-opus",
    ),
    "aws": ("amazon.nova-pro-max-v1:0", "evil.us.anthropic.claude-sonnet-4-5-20250929-v1:0"),
    "gemini": (
        "gemini-1.5-flash-8b", "gemini-2.5-pro-image", "gemini-3.6-flash-tts", "gemini-3.6-flash-image",
        "gemini-3.7-flash-live", "gemini-3.5-flash-lite-image", "gemini-3.8-flash-lite", "gemini-1.0-pro",
    ),
    "openrouter": ("openai/gpt-4o-mini:online", "x-ai/grok-4-fast:free", "moonshotai/kimi-k2:free"),
    "deepseek": ("deepseek-r1", "deepseek-chat-lora-mine", "deepseek-chat:free", "deepseek-v3.2"),
    "cohere": ("command-r-03-2024", "command-r-plus-04-2024"),
    "mistral": ("mistral-small-2402", "codestral-2405", "mistral-nemo:free"),
    "ali": ("deepseek-r1",),
    "custom": (
        "deepseek-r1", "deepseek-r1:8b", "deepseek-r1-distill-qwen-7b", "DeepSeek-R1-0528-Qwen3-8B", "gpt-oss-120b",
        "llama3", "qwen2.5:7b", "mistral", "gpt-4o:free", "deepseek-chat-free", "claude-3-7-sonnet-fast", "kimi-k2",
        "mistral-nemo:free", "gemini-2.5-pro-thinking-128",
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("provider", "model", "card"),
    [(provider, model, card) for provider, names in FOUND.items() for model, card in names.items()],
)
def test_names_that_people_use(provider: str, model: str, card: str) -> None:
    found = shipped_table().find(model, provider)
    assert found is not None
    names = {f"{found.provider}/{found.model}"}
    if found.layer == "provider":
        names.add(found.model)
    assert card in names


@pytest.mark.parametrize(
    ("provider", "model"), [(provider, model) for provider, names in MISSING.items() for model in names]
)
def test_names_of_no_known_model(provider: str, model: str) -> None:
    assert shipped_table().find(model, provider) is None


def test_every_row_and_every_whole_name_of_a_rule_leads_to_its_own_card() -> None:
    """Also in capitals, as some write them: there a row of another case may be the one."""
    data = read_shipped()["providers"]
    for provider, section in data.items():
        for row in section["models"]:
            for name in (row, row.upper(), row.lower()):
                found = shipped_table().find(name, provider)
                assert found is not None
                assert (found.provider, found.model) == (provider, row), (provider, name)
        for row, rule in section["match"]:
            for name in aliases(rule):
                found = shipped_table().find(name, provider)
                assert found is not None
                if name not in {other.lower() for other in section["models"]}:
                    assert (found.provider, found.model) == (provider, row), (provider, name)


@pytest.mark.parametrize("ending", ["-turbo", "-fast", "-7b", ":free", "9"])
def test_another_word_is_another_model(ending: str) -> None:
    """No row is found by a name with a word more, unless that is a row or a name of its own."""
    data = read_shipped()["providers"]
    known = {row.lower() for section in data.values() for row in section["models"]}
    known |= {text.lower() for section in data.values() for _, rule in section["match"] for text in texts(rule)}
    for provider in (*GLOBAL_ORDER, "aws", "azure", "openrouter"):
        for row in data[provider]["models"]:
            name = row.lower() + ending
            if "ft:" not in name and ".ft-" not in name and not known & {spelled for _, spelled in spellings(name)}:
                assert shipped_table().find(name, provider) is None, (provider, name)


def texts(rule: Any) -> list[str]:
    """Every text in a rule."""
    _, what = rule
    return [what] if isinstance(what, str) else [text for part in what for text in texts(part)]


@pytest.mark.parametrize(
    ("rule", "name", "named"),
    [
        (["=", "abc"], "abc", True),
        (["=", "ab"], "abc", False),
        (["^", "ab"], "ab", True),
        (["^", "ab"], "ab-2025-01-31", True),
        (["^", "ab"], "ab@20250131", True),
        (["^", "ab"], "ab-preview-05-06", True),
        (["^", "ab"], "ab-08-2024", True),
        (["^", "ab"], "ab-001", True),
        (["^", "ab"], "ab-v2:0", True),
        (["^", "ab"], "ab-latest", True),
        (["^", "ab-2025"], "ab-20250131", True),
        (["^", "ab-1"], "ab-10", False),
        (["^", "ab"], "abc", False),
        (["^", "ab"], "ab-pro", False),
        (["^", "ab"], "ab-7b", False),
        (["^", "ab"], "ab-32768", False),
        (["^", "ab"], "ab:free", False),
        (["^", "ab"], "openai/ab", False),
        (["$", "bc"], "bc", True),
        (["$", "bc"], "us.meta.bc", True),
        (["$", "bc"], "abc", False),
        (["*", "bc"], "bc", True),
        (["*", "bc"], "us.meta.bc-v1:0", True),
        (["*", "bc"], "models/openai/bc-2025-01-31", True),
        (["*", "bc"], "my-bc", False),
        (["*", "bc"], "us.meta.bc-pro", False),
        (["~", "^a.c$"], "abc", True),
        (["~", r"^ab-\d"], "ab-001", True),
        (["~", r"^ab-\d"], "ab-7b", False),
        (["|", [["=", "x"], ["^", "ab"]]], "ab", True),
        (["&", [["^", "ab"], ["~", "^(?!.*tts)"]]], "ab-latest", True),
        (["&", [["^", "ab"], ["~", "^(?!.*latest)"]]], "ab-latest", False),
        (["&", [["=", "x"], ["^", "ab"]]], "ab", False),
    ],
)
def test_rules_of_the_catalogue(rule: Any, name: str, named: bool) -> None:
    assert fits(rule, name) is named


def test_a_rule_of_an_unknown_kind() -> None:
    with pytest.raises(ValueError, match="unknown kind"):
        fits(["?", ""], "abc")


@pytest.mark.parametrize(
    ("name", "spelled"),
    [
        (
            "us.Anthropic.claude-x-20250101-v1:0",
            [
                ("lower", "us.anthropic.claude-x-20250101-v1:0"),
                ("vendor", "anthropic.claude-x-20250101-v1:0"),
                ("vendor", "claude-x-20250101-v1:0"),
                ("date", "claude-x"),
            ],
        ),
        ("openai/", []),
        ("ft:gpt-x-2025-01-31:acme::1", [("date", "ft:gpt-x-2025-01-31"), ("date", "ft:gpt-x")]),
        ("gpt-x.ft-12", [("date", "gpt-x.ft-")]),
        ("embed-v4", []),
        ("gpt-x@20250131", [("date", "gpt-x")]),
        ("gpt-x-0131", [("date", "gpt-x")]),
        ("gpt-x-8192", []),
    ],
)
def test_spellings(name: str, spelled: list[tuple[str, str]]) -> None:
    assert list(spellings(name)) == [("exact", name), *spelled]


def test_a_name_of_a_rule_goes_before_what_is_left_without_its_date() -> None:
    table = PriceTable(
        {
            "version": 1,
            "providers": {
                "openai": {"models": {"gpt": {"input": "1"}, "gpt-old": {"input": "9"}}, "match": [
                    ["gpt", ["^", "gpt"]], ["gpt-old", ["=", "gpt-0301"]]
                ]}
            },
        }
    )  # fmt: skip
    found = [table.find(name, provider) for provider in ("openai", "custom") for name in ("gpt-0301", "gpt-0302")]
    assert [item and item.model for item in found] == ["gpt-old", "gpt", "gpt-old", "gpt"]
