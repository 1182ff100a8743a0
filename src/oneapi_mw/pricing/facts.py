"""What a log row keeps of a price, so that the same sum can be worked out again (`recompute`) from row and card."""

from __future__ import annotations

from operator import attrgetter

from oneapi_mw.pricing.charge import Bill
from oneapi_mw.pricing.price import RATIO_SCALE, CompiledPrice
from oneapi_mw.types import JsonObject
from oneapi_mw.usage import Usage

PRICE = "price"
"""Key in a log row's metadata."""
CALLS = "upstream_calls"
"""In its place where a request took several: a list of `call_facts`."""
COLUMNS = ("prompt_tokens", "completion_tokens", "cached_prompt_tokens")
PARTS = (
    "cache_write_5m",
    "cache_write_1h",
    "input_audio",
    "input_image",
    "input_video",
    "input_document",
    "reasoning",
    "output_audio",
    "output_image",
    "output_video",
    "cache_read_audio",
    "cache_read_image",
)
"""Counts that have no column of their own in the log."""
_counts_of = attrgetter(*PARTS)


def price_facts(made: Bill, price: CompiledPrice, usage: Usage, *, group_ratio: int, archived: bool) -> JsonObject:
    """The part of a log row's metadata that tells how its quota came about.

    Args:
        price: for the instant and the service of the request.
        group_ratio: millionths.
        archived: whether the card can be found by its id; otherwise it is kept here.
    """
    facts: JsonObject = {"card_id": price.card_id, "layer": price.layer}
    if group_ratio != RATIO_SCALE:
        facts["group_ratio"] = group_ratio
    if price.rule != "exact":
        facts["name_rule"] = price.rule
    if price.window:
        facts["window"] = price.window
    if price.variant:
        facts["variant"] = price.variant
    if made.tier:
        facts["tier"] = made.tier
    if made.media or made.tools:
        facts["parts"] = {"tokens": made.tokens, "media": made.media, "tools": made.tools}
    flags = _flags(made, price, usage)
    if flags:
        facts["flags"] = flags
    if not archived and price.card:
        facts["card"] = price.card
    usage_facts = _usage_facts(usage)
    if usage_facts:
        facts["usage"] = usage_facts
    return facts


def call_facts(usage: Usage, price: JsonObject) -> JsonObject:
    """One of several upstream calls: what the row's columns say of all, and its `price_facts`."""
    counts = (usage.input_tokens, usage.output_tokens, usage.cache_read)
    return {**dict(zip(COLUMNS, counts, strict=True)), PRICE: price}


def _flags(made: Bill, price: CompiledPrice, usage: Usage) -> list[str]:
    flags = [] if price.layer == "free" else list(made.flags)
    read, short, long = usage.cache_read, usage.cache_write_5m, usage.cache_write_1h
    if (read or short or long) and (read + short + long > usage.input_tokens or min(read, short, long) < 0):
        flags.append("usage_clamped")
    if price.layer == "default":
        flags.append("price=default")
    return flags


def _usage_facts(usage: Usage) -> JsonObject:
    counts = _counts_of(usage)
    facts: JsonObject = {name: count for name, count in zip(PARTS, counts, strict=True) if count} if any(counts) else {}
    if usage.cache_read_audio == 0:  # of these two zero says something: none is not the same as nobody knows
        facts["cache_read_audio"] = 0
    if usage.cache_read_image == 0:
        facts["cache_read_image"] = 0
    if usage.hosted:
        facts["hosted"] = dict(usage.hosted)
    if usage.meters:
        facts["meters"] = [[meter.kind, meter.count, meter.size, meter.quality] for meter in usage.meters]
    return facts
