"""The one function that turns usage into quota, and the most that a request can cost by it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

from oneapi_mw.pricing.price import RATIO_SCALE, SCALE, CompiledPrice, MeterPrices, PartPrices
from oneapi_mw.pricing.searches import SEARCH
from oneapi_mw.pricing.tools import IMAGES, TOLD_TO_CLIENTS, USUALLY_FREE
from oneapi_mw.types import Quota
from oneapi_mw.usage import Meter, Usage

_DIVISOR = SCALE * RATIO_SCALE

_TOKENS_INSTEAD = {
    "input_images": ("input_image", "input_image"),
    "audio_input_ms": ("input_audio", "input_audio"),
    "audio_output_ms": ("output_audio", "output_audio"),
    "video_frames": ("input_video", "input_video"),
    "document_pages": ("input_document", "input_document"),
    "images": ("output_image", "output_tokens"),
}
"""Meters that count what tokens count, too: the price and the count by which tokens are charged instead."""

_TOLD_IN_TOKENS = frozenset({"audio_input_ms", "audio_output_ms"})
"""Meters that providers also tell of models that they charge by tokens."""


class Bill(NamedTuple):
    """What a request costs, and how that came about."""

    quota: Quota
    tokens: Quota = 0
    media: Quota = 0
    tools: Quota = 0
    tier: int = 0
    flags: tuple[str, ...] = ()
    """What somebody should look at: `minimum`, `unpriced_meter:...`, `unlisted:...`, `unpriced_tool:...`,
    `forbidden_tool:...`."""


def charge(usage: Usage, price: CompiledPrice, *, group_ratio: int = RATIO_SCALE) -> Quota:
    """Quota owed for `usage`. As `bill`, without the breakdown."""
    return bill(usage, price, group_ratio=group_ratio).quota


def bill(usage: Usage, price: CompiledPrice, *, group_ratio: int = RATIO_SCALE) -> Bill:
    """Quota owed for `usage`, in three parts that are each rounded up once: tokens, media (each meter), tools.

    Args:
        usage: inclusive counts; parts larger than their whole are cut, in the order 1 h write, 5 min write, read.
        price: for the instant and the service of the request; the tier is chosen here.
        group_ratio: millionths.

    Returns: at least 1 quota unit when the input price and the ratio are not zero.
    Raises: `ValueError` when a count or the ratio is negative.
    """
    if usage.input_tokens < 0 or usage.output_tokens < 0 or group_ratio < 0:
        raise ValueError("token counts and group ratio must not be negative")
    if price.tiers:
        price = price.for_size(usage.input_tokens, usage.output_tokens)
    left = usage.input_tokens
    write_1h, write_5m, read = usage.cache_write_1h, usage.cache_write_5m, usage.cache_read
    if write_1h or write_5m or read:
        write_1h = min(max(write_1h, 0), left)
        left -= write_1h
        write_5m = min(max(write_5m, 0), left)
        left -= write_5m
        read = min(max(read, 0), left)
        left -= read
    total = (
        left * price.input
        + read * price.cache_read
        + write_5m * price.cache_write_5m
        + write_1h * price.cache_write_1h
        + usage.output_tokens * price.output
    )
    if price.parts is not None:
        total += _parts_beyond_text(usage, price, price.parts, plain=left, read=read)
    tokens = -(-total * group_ratio // _DIVISOR)
    if not (usage.meters or usage.hosted or price.minimum):
        if tokens == 0 and price.input and group_ratio:
            return Bill(1, 1, 0, 0, price.tier, ("minimum",))
        return Bill(tokens, tokens, 0, 0, price.tier)
    return _whole_bill(usage, price, tokens, group_ratio)


def with_request(usage: Usage, price: CompiledPrice) -> Usage:
    """`usage` of one upstream call, with the request that it is where `price` has a fee for each."""
    if price.meters is None or "requests" not in price.meters.each:
        return usage
    if any(meter.kind == "requests" for meter in usage.meters):
        return usage
    return replace(usage, meters=(*usage.meters, _ONE_REQUEST))


_ONE_REQUEST = Meter("requests", 1)


def with_searches(usage: Usage, price: CompiledPrice, declared: Sequence[str]) -> Usage:
    """`usage` with its searches under the kind that `price` has for them: answers do not tell.

    Args:
        declared: kinds of search that the request declared. Of several the dearest holds.
    """
    kind = max(declared, key=lambda each: price.of_tool(each) or 0, default=SEARCH)
    if kind not in price.tools or all(each != SEARCH for each, _ in usage.hosted):
        return usage
    return replace(usage, hosted=tuple((kind if each == SEARCH else each, count) for each, count in usage.hosted))


def _parts_beyond_text(usage: Usage, price: CompiledPrice, parts: PartPrices, *, plain: int, read: int) -> int:
    """What the parts with prices of their own cost beyond, or below, the price of text they were counted at."""
    total = 0
    whole = usage.input_tokens
    for count, split, its_price, its_read_price in (
        (usage.input_audio, usage.cache_read_audio, parts.input_audio, parts.cache_read_audio),
        (usage.input_image, usage.cache_read_image, parts.input_image, parts.cache_read_image),
        (usage.input_video, None, parts.input_video, None),
        (usage.input_document, None, parts.input_document, None),
    ):
        if count <= 0 or (its_price is None and its_read_price is None):
            continue
        cached = usage.cache_read * count // whole if split is None and whole else (split or 0)
        cached = min(max(cached, 0), read, count)
        fresh = min(count - cached, plain)
        read, plain = read - cached, plain - fresh
        if its_price is not None:
            total += fresh * (its_price - price.input)
        # without a price for cached audio, it is not known to be cheaper than other audio
        total += cached * ((its_price if its_read_price is None else its_read_price) or 0) - cached * price.cache_read
    left = usage.output_tokens
    for count, part_price in (
        (usage.output_audio, parts.output_audio),
        (usage.output_image, parts.output_image),
        (usage.output_video, parts.output_video),
        (usage.reasoning or 0, parts.reasoning),
    ):
        if part_price is not None and count > 0:
            count = min(count, left)
            left -= count
            total += count * (part_price - price.output)
    return total


def _whole_bill(usage: Usage, price: CompiledPrice, tokens: Quota, group_ratio: int) -> Bill:
    flags: list[str] = []
    media = 0
    made = _made_by_a_tool(usage)  # images, which are charged once: each by itself, else as calls
    for meter in usage.meters:
        if not made or price.prices_images or meter.kind != "images":
            media += _media(meter, usage, price, group_ratio, flags)
    tools = 0
    for kind, count in usage.hosted:
        tools += _tool(kind, count, price, group_ratio, flags, free=made and price.prices_images and kind == IMAGES)
    quota = tokens + media + tools
    least = -(-price.minimum * group_ratio // RATIO_SCALE)
    if quota < least:
        tokens, quota = tokens + least - quota, least
        flags.append("minimum")
    elif quota == 0 and price.input and group_ratio:
        tokens = quota = 1
        flags.append("minimum")
    return Bill(quota, tokens, media, tools, price.tier, tuple(flags))


def _made_by_a_tool(usage: Usage) -> bool:
    """Whether the images are those of `image_generation`."""
    called = any(kind == IMAGES for kind, _ in usage.hosted)
    return called and any(meter.kind == "images" for meter in usage.meters)


def _media(meter: Meter, usage: Usage, price: CompiledPrice, group_ratio: int, flags: list[str]) -> Quota:
    prices, kind, count = price.meters, meter.kind, meter.count
    if count <= 0:
        return 0
    instead = _TOKENS_INSTEAD.get(kind)
    if (
        instead is not None
        and price.parts is not None
        and getattr(price.parts, instead[0]) is not None
        and getattr(usage, instead[1])
    ):
        return 0
    if prices is None or not prices.has(kind):
        if kind not in _TOLD_IN_TOKENS or not (usage.total_tokens and price.counts_tokens):
            flags.append(f"unpriced_meter:{kind}")
        return 0
    if kind == "images":
        each = prices.image(meter.size, meter.quality)
        if each is None:  # it was made all the same: at what the dearest one costs
            each = prices.dearest_image
            flags.append(f"unlisted:{meter.quality or 'default'}/{meter.size or 'default'}")
        return count * -(-each * group_ratio // _DIVISOR)
    if kind == "video_ms":
        return _video(meter, prices, group_ratio, flags)
    if kind == "audio_input_ms":
        count = billed_ms(count, prices)
    return -(-count * prices.each[kind] * group_ratio // _DIVISOR)


def billed_ms(milliseconds: int, prices: MeterPrices) -> int:
    """The length of audio that is billed: at least the card's minimum, in whole steps."""
    length = max(milliseconds, prices.minimum_ms)
    step = prices.round_up_ms
    return -(-length // step) * step if step else length


def _video(meter: Meter, prices: MeterPrices, group_ratio: int, flags: list[str]) -> Quota:
    if prices.video is not None:
        return -(-prices.video * group_ratio // _DIVISOR)
    each = prices.video_price(meter.size)
    if each is None:
        each = max(prices.video_ms.values())
        flags.append(f"unlisted:{meter.size or 'default'}")
    return -(-meter.count * each * group_ratio // _DIVISOR)


def _tool(
    kind: str, count: int, price: CompiledPrice, group_ratio: int, flags: list[str], *, free: bool = False
) -> Quota:
    """
    Args:
        free: the calls are charged by what they made.
    """
    if count <= 0:
        return 0
    if not price.allows(kind) and kind not in TOLD_TO_CLIENTS:
        flags.append(f"forbidden_tool:{kind}")  # it ran, and its provider charges for it
    if free:
        return 0
    each = price.of_tool(kind)
    if each is None:
        if kind not in USUALLY_FREE:
            flags.append(f"unpriced_tool:{kind}")
        return 0
    return count * (-(-each * group_ratio // RATIO_SCALE) if price.tools_grouped else each)


def worst_case(
    price: CompiledPrice,
    *,
    input_tokens: int,
    output_tokens: int,
    group_ratio: int = RATIO_SCALE,
    tools: Iterable[tuple[str, int]] = (),
    meters: Iterable[Meter] = (),
    text_only: bool = False,
) -> Quota:
    """Most that a request can cost which takes one upstream call and reads and writes at most so many tokens.

    Every token at the dearest price of its side, in the dearest tier within reach.

    Args:
        price: for the instant and the service of the request.
        tools: calls of hosted tools, at most.
        meters: what else is asked for.
        text_only: whether the input is known to have no audio, images, videos and documents.
    """
    total, priced = _dearest(price, input_tokens, output_tokens, text_only=text_only), price.input
    for input_from, output_from, tier in price.tiers:
        if input_tokens >= input_from and output_tokens >= output_from:
            total = max(total, _dearest(tier, input_tokens, output_tokens, text_only=text_only))
            priced = priced or tier.input
    quota = -(-total * group_ratio // _DIVISOR)
    calls, readings = tuple(tools), tuple(meters)
    if calls and price.meters is not None and price.prices_images:
        each = -(-price.meters.dearest_image * group_ratio // _DIVISOR)
        if each >= _tool(IMAGES, 1, price, group_ratio, []):  # an answer may tell the call, and nothing of its image
            quota += each * sum(count for kind, count in calls if kind == IMAGES)
            calls = tuple(call for call in calls if call[0] != IMAGES)
    beside = with_request(Usage(hosted=calls, meters=readings), price)
    if beside.hosted or beside.meters or price.minimum:
        quota = _whole_bill(beside, price, quota, group_ratio).quota
    return quota or (1 if priced and group_ratio else 0)


def _dearest(price: CompiledPrice, input_tokens: int, output_tokens: int, *, text_only: bool) -> int:
    read = max(price.input, price.cache_read, price.cache_write_5m, price.cache_write_1h)
    written = price.output
    if price.parts is not None:
        written = max(written, price.parts.dearest_output)
        if not text_only:
            read = max(read, price.parts.dearest_input)
    return input_tokens * read + output_tokens * written
