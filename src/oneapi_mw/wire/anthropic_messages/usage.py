"""Usage as Anthropic reports it, to and from the inclusive record.

`input_tokens` is what was neither read from the cache nor written to it; the record holds all of it. Lies are
clamped: no report makes a part larger than its whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from oneapi_mw.types import JsonObject
from oneapi_mw.usage import Usage, service_variant
from oneapi_mw.wire.anthropic_messages.tool_usage import told_calls
from oneapi_mw.wire.counts import object_in, read_count
from oneapi_mw.wire.extras import mapped, merged, unmapped
from oneapi_mw.wire.tool_counts import hosted_calls
from oneapi_mw.wire.zero import is_zero

_INPUT_SIDE = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
_HOSTED = (("web_search", "web_search_requests"), ("web_fetch", "web_fetch_requests"))
_MAPPED = mapped(
    *_INPUT_SIDE,
    "output_tokens",
    "service_tier",
    cache_creation=mapped("ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens"),
    output_tokens_details=mapped("thinking_tokens"),
    server_tool_use=mapped("web_search_requests", "web_fetch_requests"),
)
_TIERS = {"standard": "default", "priority": "priority", "batch": "default"}
_TIERS_BACK = {"default": "standard", "priority": "priority"}


def merge_reports(known: Mapping[str, Any], report: Mapping[str, Any]) -> JsonObject:
    """The reports of one stream as one. Each is cumulative: what it leaves out stays. The input side of a later one
    counts unless it is all zero, as some proxies write it; gateways begin with an estimate and correct it."""
    new = {key: value for key, value in report.items() if value is not None}
    if not any(read_count(new.get(name)) for name in _INPUT_SIDE):
        new = {key: value for key, value in new.items() if key not in _INPUT_SIDE or key not in known}
    return {**known, **new}


def decode_usage(report: Mapping[str, Any]) -> Usage | None:
    """The report as a record; `None` when it says nothing or its main counts are no counts."""
    fresh, output = read_count(report.get("input_tokens")), read_count(report.get("output_tokens"))
    if fresh is None and output is None:
        return None
    read = read_count(report.get("cache_read_input_tokens")) or 0
    short, long = _writes(report)
    prompt, output = (fresh or 0) + read + short + long, output or 0
    more_prompt, more_output = _compaction(report.get("iterations"))
    prompt, output = prompt + more_prompt, output + more_output
    if not prompt and not output:
        return None
    details = object_in(report, "output_tokens_details")
    reasoning = read_count(details.get("thinking_tokens"))
    return Usage(
        input_tokens=prompt,
        output_tokens=output,
        cache_read=read,
        cache_write_5m=short,
        cache_write_1h=long,
        reasoning=None if reasoning is None else min(reasoning, output),
        hosted=hosted_calls(told_calls(report), {}),
        variant=service_variant(report.get("speed")) or service_variant(report.get("service_tier")),
    )


def says_zero(report: Mapping[str, Any]) -> bool:
    """Whether the report is that nothing was consumed."""
    return is_zero(report.get("input_tokens")) and is_zero(report.get("output_tokens")) and not decode_usage(report)


def _writes(report: Mapping[str, Any]) -> tuple[int, int]:
    """Cache writes for five minutes and for an hour. What the split leaves out is of the short kind."""
    split = object_in(report, "cache_creation")
    short = read_count(split.get("ephemeral_5m_input_tokens")) or 0
    long = read_count(split.get("ephemeral_1h_input_tokens")) or 0
    whole = read_count(report.get("cache_creation_input_tokens")) or 0
    return (short + max(0, whole - short - long), long)


def _compaction(iterations: object) -> tuple[int, int]:
    """Tokens of compaction runs: the only ones that the counts of the whole leave out."""
    prompt = output = 0
    for entry in iterations if isinstance(iterations, list) else ():
        if isinstance(entry, dict) and entry.get("type") == "compaction":
            prompt += sum(read_count(entry.get(name)) or 0 for name in _INPUT_SIDE)
            output += read_count(entry.get("output_tokens")) or 0
    return prompt, output


def tier_of(report: Mapping[str, Any]) -> str | None:
    """The tier that served, in OpenAI's words."""
    tier = report.get("service_tier")
    return _TIERS.get(tier, tier) if isinstance(tier, str) else None


def unmapped_usage(report: Mapping[str, Any]) -> JsonObject:
    """What of a report the record has no place for (`inference_geo`, `speed`, `iterations`, ...)."""
    return unmapped(report, _MAPPED)


def encode_usage(
    usage: Usage, rest: Mapping[str, Any] | None = None, *, tier: str | None = None, buffered: bool = False
) -> JsonObject:
    """The record as Anthropic writes it; `rest`, the unmapped part of the original, is kept.

    Args:
        buffered: of a whole answer, which tells cache writes by their term; a stream has no place for that.
    """
    writes = usage.cache_write_5m + usage.cache_write_1h
    body: JsonObject = {
        "input_tokens": max(0, usage.input_tokens - usage.cache_read - writes),
        "cache_creation_input_tokens": writes,
        "cache_read_input_tokens": usage.cache_read,
        "output_tokens": usage.output_tokens,
    }
    if buffered and writes:
        body["cache_creation"] = {
            "ephemeral_5m_input_tokens": usage.cache_write_5m,
            "ephemeral_1h_input_tokens": usage.cache_write_1h,
        }
    if usage.reasoning:
        body["output_tokens_details"] = {"thinking_tokens": usage.reasoning}
    hosted = dict(usage.hosted)
    if any(hosted.get(kind) for kind, _ in _HOSTED):
        body["server_tool_use"] = {name: hosted.get(kind, 0) for kind, name in _HOSTED}
    if buffered and tier in _TIERS_BACK:
        body["service_tier"] = _TIERS_BACK[tier]
    return merged(body, rest or {})
