"""Usage as Responses servers report it, to and from the inclusive record.

Lies are clamped: no report makes a part larger than its whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from oneapi_mw.types import JsonObject
from oneapi_mw.usage import Usage, service_variant
from oneapi_mw.wire.counts import object_in, read_count
from oneapi_mw.wire.extras import mapped, merged, unmapped
from oneapi_mw.wire.openai_responses.tool_usage import tool_usage
from oneapi_mw.wire.zero import is_zero

_MAPPED = mapped(
    "input_tokens",
    "output_tokens",
    "total_tokens",
    input_tokens_details=mapped("cached_tokens", "cache_write_tokens", "cache_write_tokens_details"),
    output_tokens_details=mapped("reasoning_tokens"),
)


def decode_usage(response: Mapping[str, Any]) -> Usage | None:
    """What a whole response consumed; `None` when it tells nothing or its main counts are no counts."""
    usage = response.get("usage")
    if not isinstance(usage, dict):
        return None
    prompt, output = read_count(usage.get("input_tokens")), read_count(usage.get("output_tokens"))
    if not prompt and not output:
        return None
    prompt, output = prompt or 0, output or 0
    prompt_parts, output_parts = object_in(usage, "input_tokens_details"), object_in(usage, "output_tokens_details")
    cache_read = min(read_count(prompt_parts.get("cached_tokens")) or 0, prompt)
    short, long = _writes(prompt_parts)
    # Whatever does not fit is cut from the writes first: they are the dearest part.
    long = min(long, prompt - cache_read)
    short = min(short, prompt - cache_read - long)
    reasoning, tools = read_count(output_parts.get("reasoning_tokens")), tool_usage(response)
    return Usage(
        input_tokens=prompt,
        output_tokens=output,
        cache_read=cache_read,
        cache_write_5m=short,
        cache_write_1h=long,
        reasoning=None if reasoning is None else min(reasoning, output),
        hosted=tools.hosted,
        meters=tools.meters,
        variant=service_variant(response.get("service_tier")),
    )


def says_zero(response: Mapping[str, Any]) -> bool:
    """Whether a whole response tells that nothing was consumed."""
    usage = object_in(response, "usage")
    return is_zero(usage.get("input_tokens")) and is_zero(usage.get("output_tokens"))


def _writes(parts: Mapping[str, Any]) -> tuple[int, int]:
    """Cache writes for 30 minutes and for 12 hours."""
    split = object_in(parts, "cache_write_tokens_details")
    short, long = read_count(split.get("ttl_30m_tokens")), read_count(split.get("ttl_12h_tokens"))
    if short is None and long is None:
        return read_count(parts.get("cache_write_tokens")) or 0, 0
    return short or 0, long or 0


def encode_usage(usage: Usage, rest: Mapping[str, Any] | None = None) -> JsonObject:
    """The record with every member official clients require; `rest`, the unmapped part of the original, is kept."""
    writes = usage.cache_write_5m + usage.cache_write_1h
    prompt_parts: JsonObject = {"cached_tokens": usage.cache_read, "cache_write_tokens": writes}
    if usage.cache_write_1h:
        prompt_parts["cache_write_tokens_details"] = {
            "ttl_30m_tokens": usage.cache_write_5m,
            "ttl_12h_tokens": usage.cache_write_1h,
        }
    body: JsonObject = {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": prompt_parts,
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning or 0},
        "total_tokens": usage.total_tokens,
    }
    return merged(body, rest or {})


def encode_tool_usage(usage: Usage) -> JsonObject | None:
    """`tool_usage` of a response; `None` when no web search was made."""
    searches = dict(usage.hosted).get("web_search", 0)
    if not searches:
        return None
    none: JsonObject = {"image_tokens": 0, "text_tokens": 0}
    images = {"input_tokens": 0, "input_tokens_details": none, "output_tokens": 0, "total_tokens": 0}
    return {"image_gen": images, "web_search": {"num_requests": searches}}


def unmapped_usage(response: Mapping[str, Any]) -> JsonObject:
    """What of a response's usage the record has no place for."""
    usage = response.get("usage")
    return unmapped(usage, _MAPPED) if isinstance(usage, dict) else {}
