"""What a request costs, worked out a second time: from the card itself, with exact fractions and nothing compiled."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

from oneapi_mw.usage import Meter, Usage

UNITS = 500_000


def rate(card: Mapping[str, Any], kind: str, *, otherwise: str | None = None) -> Fraction | None:
    found = card.get(f"{kind}_usd_per_mtok")
    if found is None and otherwise is not None:
        return rate(card, otherwise)
    return None if found is None else Fraction(found) * UNITS / 1_000_000


def in_window(window: Mapping[str, Any], instant: datetime) -> bool:
    """By brute force: the local minute is one of those that the ranges list."""
    local = instant.astimezone(ZoneInfo(window.get("timezone") or "UTC"))
    days = window.get("days_of_week")
    if days and (local.weekday() + 1) % 7 not in days:
        return False
    if window.get("date_from") and local.date().isoformat() < window["date_from"]:
        return False
    if window.get("date_to") and local.date().isoformat() >= window["date_to"]:
        return False
    minutes: set[int] = set()
    for item in window.get("ranges") or [{"start": "00:00", "end": "00:00"}]:
        start, end = (int(text[:2]) * 60 + int(text[3:]) for text in (item["start"], item["end"]))
        step = start
        while True:
            minutes.add(step)
            step = (step + 1) % 1440
            if step == end:
                break
    return local.hour * 60 + local.minute in minutes


def effective(card: Mapping[str, Any], usage: Usage, instant: datetime | None) -> dict[str, Any]:
    now = dict(card)
    if instant is not None:
        for window in card.get("time_windows", ()):
            if in_window(window, instant):
                now.update(window["overlay"])
                break
    for tier in sorted(now.get("tiers", ()), key=lambda t: (t["input_tokens_from"], t["output_tokens_from"])):
        if usage.input_tokens >= tier["input_tokens_from"] and usage.output_tokens >= tier["output_tokens_from"]:
            now.update({key: value for key, value in tier.items() if key.endswith("_mtok")})
    return now


def tokens(card: Mapping[str, Any], usage: Usage, instant: datetime | None = None) -> Fraction:
    """Quota units before the group ratio and before rounding."""
    now = effective(card, usage, instant)
    left = usage.input_tokens
    total = Fraction()

    def part(count: int, price: Fraction | None) -> int:
        nonlocal total
        assert price is not None
        total += count * price
        return count

    cut = min(usage.cache_write_1h, left)
    left -= part(cut, rate(now, "cache_write_1h", otherwise="input"))
    cut = min(usage.cache_write_5m, left)
    left -= part(cut, rate(now, "cache_write_5m", otherwise="input"))
    read = min(usage.cache_read, left)
    left -= read
    for kind in ("audio", "image", "video", "document"):
        count = getattr(usage, f"input_{kind}")
        price, cached_price = rate(now, f"input_{kind}"), rate(now, f"cache_read_{kind}")
        if not count or (price is None and cached_price is None):
            continue
        split = getattr(usage, f"cache_read_{kind}", None)
        whole = usage.input_tokens or 1
        cached = math.floor(Fraction(usage.cache_read * count, whole)) if split is None else split
        cached = min(cached, read, count)
        fresh = min(count - cached, left)
        part(cached, price if cached_price is None else cached_price)
        part(fresh, rate(now, "input") if price is None else price)
        read, left = read - cached, left - fresh
    part(read, rate(now, "cache_read", otherwise="input"))
    part(left, rate(now, "input"))
    out = usage.output_tokens
    for kind in ("output_audio", "output_image", "output_video", "reasoning"):
        price = rate(now, kind)
        if price is not None:
            out -= part(min(getattr(usage, kind) or 0, out), price)
    part(out, rate(now, "output", otherwise="input"))
    return total


def image(prices: Mapping[str, Mapping[str, Any]], meter: Meter) -> Fraction:
    """USD for one image: of its quality and size, else of either whatever the other, else as the dearest."""
    for quality in (meter.quality, "default"):
        for size in (meter.size, "default"):
            found = prices.get(quality, {}).get(size)
            if found is not None:
                return Fraction(found)
    return max(Fraction(price) for sizes in prices.values() for price in sizes.values())


def quota(
    card: Mapping[str, Any], usage: Usage, *, group: Fraction = Fraction(1), instant: datetime | None = None
) -> int:
    """Tokens, tools and images that tools have made; the least is 1 where input has a price."""
    owed = math.ceil(tokens(card, usage, instant) * group)
    by_image = card.get("image", {}).get("usd_per_image") if usage.meters else None
    for kind, count in usage.hosted:
        price = card.get("tools", {}).get(kind)
        if price is not None and not (by_image and kind == "image_generation"):
            owed += count * math.ceil(Fraction(price["usd_per_call"]) * UNITS)
    if by_image and not (usage.output_tokens and rate(effective(card, usage, instant), "output_image") is not None):
        owed += sum(meter.count * math.ceil(image(by_image, meter) * UNITS * group) for meter in usage.meters)
    if owed == 0 and rate(effective(card, usage, instant), "input") and group:
        return 1
    return owed
