"""Usage as Gemini reports it, to and from the inclusive record.

`promptTokenCount` includes what was cached; thoughts and what tools put into the prompt are counted beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from oneapi_mw.types import JsonObject
from oneapi_mw.usage import Usage, service_variant
from oneapi_mw.wire.counts import read_count
from oneapi_mw.wire.extras import mapped, merged, unmapped
from oneapi_mw.wire.zero import is_zero

_COUNTS = (
    "promptTokenCount",
    "cachedContentTokenCount",
    "candidatesTokenCount",
    "thoughtsTokenCount",
    "toolUsePromptTokenCount",
    "totalTokenCount",
)
_DETAILS = ("promptTokensDetails", "toolUsePromptTokensDetails", "candidatesTokensDetails")
_MAPPED = mapped(*_COUNTS, *_DETAILS, "trafficType", "serviceTier")
_TIERS = {
    "ON_DEMAND": "default",
    "ON_DEMAND_PRIORITY": "priority",
    "ON_DEMAND_FLEX": "flex",
    "PROVISIONED_THROUGHPUT": "scale",
}
_TRAFFIC = {tier: word for word, tier in _TIERS.items()}


def merge_usage(known: Mapping[str, Any], report: Mapping[str, Any]) -> JsonObject:
    """Reports of a stream are cumulative: of each field the last one counts."""
    return {**known, **{name: value for name, value in report.items() if value is not None}}


def decode_usage(usage: Mapping[str, Any], hosted: tuple[tuple[str, int], ...] = ()) -> Usage | None:
    """The report as a record; `None` when it says nothing."""
    prompt, cached, said, thoughts, tool, total = (read_count(usage.get(name)) for name in _COUNTS)
    if prompt is None and said is None and total is None and thoughts is None:
        return None
    tool_prompt = tool or 0
    read, output = (prompt or 0) + tool_prompt, (said or 0) + (thoughts or 0)
    reasoning = thoughts
    if total is not None and thoughts and total == read + (said or 0):
        output = said or 0  # thoughts are among the candidates' tokens already
    elif total is not None and total > read + output and prompt is not None:
        reasoning = (reasoning or 0) + total - read - output
        output = total - read
    elif total is not None and prompt is None:
        read = max(read, total - output)
    if not read and not output:
        return None
    given = _modalities(usage, "promptTokensDetails", "toolUsePromptTokensDetails")
    made = _modalities(usage, "candidatesTokensDetails")
    return Usage(
        input_tokens=read,
        output_tokens=output,
        cache_read=min(cached or 0, read),
        input_audio=min(given.get("AUDIO", 0), read),
        input_image=min(given.get("IMAGE", 0), read),
        reasoning=None if reasoning is None else min(reasoning, output),
        output_audio=min(made.get("AUDIO", 0), output),
        output_image=min(made.get("IMAGE", 0), output),
        tool_prompt=min(tool_prompt, read),
        hosted=hosted,
        variant=service_variant(decode_tier(usage)),
    )


def says_zero(usage: Mapping[str, Any]) -> bool:
    """Whether the report is that nothing was consumed. It leaves out what nobody said."""
    told = is_zero(usage.get("promptTokenCount")) or is_zero(usage.get("totalTokenCount"))
    return told and not decode_usage(usage)


def decode_tier(usage: Mapping[str, Any]) -> str | None:
    """The tier, in OpenAI's words."""
    traffic = usage.get("trafficType")
    return _TIERS.get(traffic) if isinstance(traffic, str) else None


def encode_usage(usage: Usage, rest: Mapping[str, Any] | None = None, tier: str | None = None) -> JsonObject:
    """The record as the API writes it; `rest`, the unmapped part of the original, is kept."""
    reasoning = usage.reasoning or 0
    body: JsonObject = {
        "promptTokenCount": usage.input_tokens - usage.tool_prompt,
        "candidatesTokenCount": usage.output_tokens - reasoning,
        "totalTokenCount": usage.total_tokens,
    }
    for name, count in (
        ("cachedContentTokenCount", usage.cache_read),
        ("thoughtsTokenCount", reasoning),
        ("toolUsePromptTokenCount", usage.tool_prompt),
    ):
        if count:
            body[name] = count
    given = _details(usage.input_tokens - usage.tool_prompt, usage.input_audio, usage.input_image)
    made = _details(usage.output_tokens - reasoning, usage.output_audio, usage.output_image)
    if given:
        body["promptTokensDetails"] = given
    if made:
        body["candidatesTokensDetails"] = made
    if tier in _TRAFFIC:
        body["trafficType"] = _TRAFFIC[tier]
    return merged(body, rest or {})


def unmapped_usage(usage: Mapping[str, Any]) -> JsonObject:
    """What of a report the record has no place for."""
    return unmapped(usage, _MAPPED)


def hosted_searches(grounding: object, *, per_query: bool) -> int:
    """Web searches behind an answer: Gemini 3 bills each query, older models each grounded answer."""
    if not isinstance(grounding, dict):
        return 0
    queries = grounding.get("webSearchQueries")
    count = len(queries) if isinstance(queries, list) else 0
    return count if per_query else min(count, 1)


def _details(whole: int, audio: int, image: int) -> list[JsonObject]:
    """Counts by modality; none where everything is text."""
    if not audio and not image:
        return []
    parts = (("TEXT", max(0, whole - audio - image)), ("AUDIO", audio), ("IMAGE", image))
    return [{"modality": name, "tokenCount": count} for name, count in parts if count]


def _modalities(usage: Mapping[str, Any], *names: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for name in names:
        entries = usage.get(name)
        for entry in entries if isinstance(entries, list) else ():
            if isinstance(entry, dict) and isinstance(entry.get("modality"), str):
                count = read_count(entry.get("tokenCount")) or 0
                found[entry["modality"]] = found.get(entry["modality"], 0) + count
    return found
