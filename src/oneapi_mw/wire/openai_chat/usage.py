"""Usage as Chat Completions servers report it, to and from the inclusive record.

The official API is inclusive already. Servers that only resemble it are told apart by whether their own total
adds up, never by the model's name. Lies are clamped: no report makes a part larger than its whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from oneapi_mw.types import JsonObject
from oneapi_mw.usage import Usage
from oneapi_mw.wire.counts import object_in, read_count
from oneapi_mw.wire.extras import mapped, merged, unmapped
from oneapi_mw.wire.openai_chat.tool_usage import told_calls
from oneapi_mw.wire.tool_counts import hosted_calls
from oneapi_mw.wire.zero import is_zero


def find_usage(document: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The usage object of an answer or a chunk, wherever its server puts it; `None` when there is none."""
    usage = document.get("usage")
    if isinstance(usage, dict):
        return usage
    groq = document.get("x_groq")
    usage = groq.get("usage") if isinstance(groq, dict) else None
    if isinstance(usage, dict):
        return usage
    choices = document.get("choices")
    if isinstance(choices, list) and choices and isinstance(choices[0], dict):
        usage = choices[0].get("usage")  # Moonshot
        if isinstance(usage, dict):
            return usage
    return None


def decode_usage(usage: Mapping[str, Any]) -> Usage | None:
    """The report as a record; `None` when it says nothing or its main counts are no counts."""
    prompt, completion = read_count(usage.get("prompt_tokens")), read_count(usage.get("completion_tokens"))
    if prompt is None and completion is None:
        return None
    prompt, completion = prompt or 0, completion or 0
    total = read_count(usage.get("total_tokens"))
    if total == prompt + completion and total and usage.keys() <= _PLAIN:
        return Usage(prompt, completion)
    prompt_parts, completion_parts = (
        object_in(usage, "prompt_tokens_details"),
        object_in(usage, "completion_tokens_details"),
    )

    cache_read = _first(
        prompt_parts.get("cached_tokens"),
        usage.get("prompt_cache_hit_tokens"),
        usage.get("cached_tokens"),
        usage.get("cache_read_input_tokens"),
    )
    cache_write = _first(
        prompt_parts.get("cache_write_tokens"),
        prompt_parts.get("cache_creation_tokens"),
        usage.get("cache_creation_input_tokens"),
    )
    outside = _cached_outside(usage, total, prompt + completion)
    prompt += outside
    output, reasoning = _with_reasoning(completion, completion_parts.get("reasoning_tokens"), total, prompt)
    if not prompt and not output:
        return None

    # Whatever does not fit is cut from the writes first: they are the dearest part.
    cache_read = min(cache_read, prompt)
    cache_write = min(cache_write, prompt - cache_read)
    cache_write_1h = min(_lasting(prompt_parts), cache_write)
    told = told_calls(usage)
    return Usage(
        input_tokens=prompt,
        output_tokens=output,
        cache_read=cache_read,
        cache_write_5m=cache_write - cache_write_1h,
        cache_write_1h=cache_write_1h,
        input_audio=_part(prompt_parts, "audio_tokens", prompt),
        input_image=_part(prompt_parts, "image_tokens", prompt),
        reasoning=None if reasoning is None else min(reasoning, output),
        output_audio=_part(completion_parts, "audio_tokens", output),
        output_image=_part(completion_parts, "image_tokens", output),
        hosted=hosted_calls(told, {}) if told else (),
    )


_PLAIN = frozenset({"prompt_tokens", "completion_tokens", "total_tokens"})
"""All that many servers report, and nothing to find out about."""


def _lasting(prompt_parts: Mapping[str, Any]) -> int:
    """Cache writes for an hour, as gateways in front of Claude tell them: part of all writes."""
    return read_count(object_in(prompt_parts, "cache_creation_token_details").get("ephemeral_1h_input_tokens")) or 0


def says_zero(usage: Mapping[str, Any]) -> bool:
    """Whether the report is that nothing was consumed."""
    return is_zero(usage.get("prompt_tokens")) and is_zero(usage.get("completion_tokens")) and not decode_usage(usage)


def _cached_outside(usage: Mapping[str, Any], total: int | None, sum_: int) -> int:
    """Cached tokens that a server in front of Claude left out of `prompt_tokens`, shown by its own total."""
    read, written = usage.get("cache_read_input_tokens"), usage.get("cache_creation_input_tokens")
    if not read and not written:
        return 0
    apart = (read_count(read) or 0) + (read_count(written) or 0)
    return apart if total == sum_ + apart else 0


def _with_reasoning(completion: int, reported: object, total: int | None, prompt: int) -> tuple[int, int | None]:
    """(output with reasoning inside, reasoning). xAI and Gemini's compatible endpoint report it beside."""
    reasoning = read_count(reported)
    if total is None or total <= prompt + completion:
        return completion, reasoning
    missing = total - prompt - completion
    if reasoning == missing:
        return completion + missing, reasoning
    if not reasoning:
        return completion + missing, missing
    return completion, reasoning


def encode_usage(usage: Usage, rest: Mapping[str, Any] | None = None) -> JsonObject:
    """The record as the official API writes it; `rest`, the unmapped part of the original, is kept."""
    prompt_parts: JsonObject = {"cached_tokens": usage.cache_read}
    writes = usage.cache_write_5m + usage.cache_write_1h
    for name, count in (
        ("cache_write_tokens", writes),
        ("audio_tokens", usage.input_audio),
        ("image_tokens", usage.input_image),
    ):
        if count:
            prompt_parts[name] = count
    completion_parts: JsonObject = {}
    if usage.reasoning is not None:
        completion_parts["reasoning_tokens"] = usage.reasoning
    if usage.output_audio:
        completion_parts["audio_tokens"] = usage.output_audio
    if usage.output_image:
        completion_parts["image_tokens"] = usage.output_image
    body: JsonObject = {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": prompt_parts,
    }
    if completion_parts:
        body["completion_tokens_details"] = completion_parts
    return merged(merged(body, rest or {}), _text_parts(usage))


def _text_parts(usage: Usage) -> JsonObject:
    """What is left for text where other modalities are told."""
    parts: JsonObject = {}
    if usage.input_audio or usage.input_image:
        rest = usage.input_tokens - usage.input_audio - usage.input_image
        parts["prompt_tokens_details"] = {"text_tokens": max(0, rest)}
    if usage.output_audio or usage.output_image:
        rest = usage.output_tokens - usage.output_audio - usage.output_image - (usage.reasoning or 0)
        parts["completion_tokens_details"] = {"text_tokens": max(0, rest)}
    return parts


_MAPPED = mapped(
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
    prompt_tokens_details=mapped("cached_tokens", "cache_write_tokens", "audio_tokens", "image_tokens"),
    completion_tokens_details=mapped("reasoning_tokens", "audio_tokens", "image_tokens"),
)


def unmapped_usage(usage: Mapping[str, Any]) -> JsonObject:
    """What of a usage object the record has no place for (`cost`, `accepted_prediction_tokens`, ...)."""
    return unmapped(usage, _MAPPED)


def _part(parts: Mapping[str, Any], name: str, whole: int) -> int:
    count = parts.get(name)
    return min(read_count(count) or 0, whole) if count else 0


def _first(*values: object) -> int:
    for value in values:
        if value is not None and (count := read_count(value)) is not None:
            return count
    return 0
