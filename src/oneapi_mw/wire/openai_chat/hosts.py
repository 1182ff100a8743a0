"""What the hosts of this wire take beside what all of them do, and what they answer 400 to.

By the providers' names in `providers.catalogue`. How they are asked for reasoning: `models.hosts`. Facts: provider
reference 4, as of 2026-11.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal

from oneapi_mw.immutable import immutable
from oneapi_mw.wire.ids import mistral_id, openai_id
from oneapi_mw.wire.switches import switched_off
from oneapi_mw.wire.target import Target

_OLD_ID_LIMIT = 40
_SAMPLERS = frozenset({"top_k", "min_p", "repetition_penalty"})
_PENALTIES = frozenset({"frequency_penalty", "presence_penalty"})


@immutable
class Host:
    """Field values are those of a host nobody knows: what OpenAI alone has is not sent there."""

    openai: bool = False
    """OpenAI itself: custom tools, lists of allowed tools, cache marks, tiers, storage and moderation."""
    samplers: frozenset[str] = frozenset()
    """Sampling settings OpenAI does not have."""
    refuses: frozenset[str] = frozenset()
    """Fields of the body, and `name` of a message."""
    limit: Literal["", "max_completion_tokens", "max_tokens"] = ""
    """The only name of the output limit it knows; empty: the model decides."""
    usage_in_streams: bool = True
    """Whether it has `stream_options`. Others report usage unasked."""
    reasoning: str = "reasoning_content"
    """Member of an assistant message with the text of its reasoning."""
    details: bool = False
    """Whether it reads `reasoning_details`, and passes signatures on to whoever made them."""
    google: bool = False
    """Whether calls carry Google's signatures."""
    cache_control: bool = False
    """Whether it passes Anthropic's cache marks on."""
    files: bool = False
    video: bool = False
    images_out: bool = False
    search: bool = False
    """Whether `web_search_options` work with every model."""
    thinks_in_streams: bool = False
    """Whether it refuses to answer in one piece where a model that thinks only in streams is to think."""
    call_id: Callable[[str], str] = openai_id
    """A call's id as it takes it."""


_OPENAI = Host(openai=True, limit="max_completion_tokens", files=True)
_COMPATIBLE = Host(samplers=_SAMPLERS, video=True, images_out=True)
_UNKNOWN = Host()
_DASHSCOPE = Host(samplers=_SAMPLERS - {"min_p"}, limit="max_tokens", video=True, thinks_in_streams=True)
_HOSTS: Mapping[str, Host] = {
    "ali": _DASHSCOPE,
    "alibailian": _DASHSCOPE,
    "azure": Host(limit="max_completion_tokens", files=True),
    "baichuan": Host(samplers=frozenset({"top_k"}), limit="max_tokens", usage_in_streams=False),
    "cerebras": Host(
        refuses=_PENALTIES | {"logit_bias"}, limit="max_completion_tokens", reasoning="reasoning"
    ),
    "copilot": Host(call_id=partial(openai_id, limit=_OLD_ID_LIMIT)),
    "custom": _COMPATIBLE,
    "fireworks": Host(samplers=frozenset({"top_k", "min_p"}), limit="max_tokens"),
    "geminiopenaicompatible": Host(
        refuses=frozenset({"logit_bias", "store", "metadata", "user", "parallel_tool_calls"}),
        limit="max_tokens",
        google=True,
    ),
    "groq": Host(
        refuses=frozenset({"logprobs", "logit_bias", "n", "name"}),
        limit="max_completion_tokens",
        reasoning="reasoning",
    ),
    "mistral": Host(
        refuses=frozenset({"logprobs", "logit_bias", "user", "store", "seed"}),
        limit="max_tokens",
        usage_in_streams=False,
        call_id=mistral_id,
    ),
    "novita": Host(samplers=frozenset({"min_p", "repetition_penalty"}), limit="max_tokens"),
    "openai-compatible": _COMPATIBLE,
    "openrouter": Host(
        samplers=_SAMPLERS,
        limit="max_tokens",
        reasoning="reasoning",
        details=True,
        cache_control=True,
        files=True,
        images_out=True,
        search=True,
    ),
    "siliconflow": Host(limit="max_tokens", video=True),
    "togetherai": Host(samplers=_SAMPLERS, limit="max_tokens", reasoning="reasoning"),
    "xai": Host(limit="max_completion_tokens"),
    "zhipu": Host(limit="max_tokens", video=True),
}  # fmt: skip


def must_stream(body: Mapping[str, Any], target: Target) -> bool:
    """Whether this body would be refused unless it asks for a stream; its answer is folded for who did not."""
    return not target.rules.thinks_buffered and host_of(target).thinks_in_streams and not switched_off(body)


def host_of(target: Target) -> Host:
    if target.official and target.provider in ("", "openai"):
        return _OPENAI
    return _HOSTS.get(target.provider, _UNKNOWN)


def takes_files(target: Target) -> bool:
    """Whether documents that are no texts may be sent there."""
    return host_of(target).files or target.rules.family == "openai"
